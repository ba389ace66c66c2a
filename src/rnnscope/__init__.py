"""rnnscope: train recurrent networks on sequences, then see what they learned.

    import rnnscope as rs
    run = rs.run("sine", models={"gru": rs.GRU(hidden_size=32)}, seed=3)
    run.verdict, run.metrics, run.history, run.model("gru"), run.forecast(500)

Names are loaded when first used, so that importing the package costs next to nothing.
"""

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_PUBLIC = {
    "run": "rnnscope.api",
    "open_run": "rnnscope.results",
    "Run": "rnnscope.results",
    "compare": "rnnscope.api",
    "Experiment": "rnnscope.experiment",
    "preset": "rnnscope.experiment",
    "DynamicalSystem": "rnnscope.core.system",
    "SequenceModel": "rnnscope.core.system",
    "System": "rnnscope.core.system",
    "Rollout": "rnnscope.core.system",
    "rollout": "rnnscope.core.system",
    "close_loop": "rnnscope.core.loops",
    "hold_input": "rnnscope.core.loops",
    "with_noise": "rnnscope.core.loops",
    "free_run": "rnnscope.core.loops",
    "AffineFeedback": "rnnscope.core.loops",
    "as_system": "rnnscope.models.wrap",
    "elman_matrices": "rnnscope.models.wrap",
    "find_fixed_points": "rnnscope.dynamics.fixed_points",
    "FixedPoints": "rnnscope.dynamics.fixed_points",
    "find_cycles": "rnnscope.dynamics.cycles",
    "Cycles": "rnnscope.dynamics.cycles",
    "attractors": "rnnscope.dynamics.attractors",
    "Attractors": "rnnscope.dynamics.attractors",
    "continue_fixed_point": "rnnscope.dynamics.continuation",
    "Branch": "rnnscope.dynamics.continuation",
    "bifurcation_diagram": "rnnscope.dynamics.bifurcations",
    "piecewise_linear_cycles": "rnnscope.dynamics.periodic_regions",
    "PiecewiseLinear": "rnnscope.core.piecewise",
    "lyapunov_spectrum": "rnnscope.dynamics.lyapunov",
    "LyapunovSpectrum": "rnnscope.dynamics.lyapunov",
    "flow_map": "rnnscope.dynamics.flows",
    "task_flow": "rnnscope.dynamics.flows",
    "forgetting": "rnnscope.dynamics.forgetting",
    "Forgetting": "rnnscope.dynamics.forgetting",
    "sensitivity": "rnnscope.dynamics.sensitivity",
    "Sensitivity": "rnnscope.dynamics.sensitivity",
    "memory_capacity": "rnnscope.dynamics.memory_capacity",
    "linear_memory_capacity": "rnnscope.dynamics.memory_capacity",
    "MemoryCapacity": "rnnscope.dynamics.memory_capacity",
    "gradient_flow": "rnnscope.dynamics.gradient_flow",
    "GradientFlow": "rnnscope.dynamics.gradient_flow",
    "trajectories": "rnnscope.dynamics.trajectories",
    "Trajectories": "rnnscope.dynamics.trajectories",
    "state_jacobians": "rnnscope.core.jacobians",
    "input_jacobians": "rnnscope.core.jacobians",
    "readout_jacobians": "rnnscope.core.jacobians",
    "backpropagate": "rnnscope.numerics.backpropagation",
    "FixedPointSearch": "rnnscope.analysis.fixed_points",
    "AttractorMap": "rnnscope.analysis.attractors",
    "Bifurcations": "rnnscope.analysis.bifurcations",
    "LyapunovExponents": "rnnscope.analysis.lyapunov",
    "Memory": "rnnscope.analysis.memory",
    "StateSpace": "rnnscope.analysis.state_space",
    "Steps": "rnnscope.evaluation.steps",
    "AnalyticJacobian": "rnnscope.core.system",
    "Elman": "rnnscope.models.recurrent",
    "GRU": "rnnscope.models.recurrent",
    "LSTM": "rnnscope.models.recurrent",
    "Oscillation": "rnnscope.tasks.oscillation",
    "Table": "rnnscope.tasks.table",
    "Embedded": "rnnscope.tasks.table",
    "DrivenOscillator": "rnnscope.tasks.ode",
    "Pendulum": "rnnscope.tasks.ode",
    "VanDerPol": "rnnscope.tasks.ode",
    "Duffing": "rnnscope.tasks.ode",
    "Lorenz63": "rnnscope.tasks.ode",
    "Rossler": "rnnscope.tasks.ode",
    "Lorenz96": "rnnscope.tasks.ode",
    "MackeyGlass": "rnnscope.tasks.ode",
    "ODETask": "rnnscope.tasks.ode",
    "ForecastTask": "rnnscope.tasks.forecasting",
    "Recording": "rnnscope.tasks.forecasting",
    "Split": "rnnscope.tasks.split",
    "Series": "rnnscope.core.series",
    "BPTT": "rnnscope.training.gradient",
    "Transport": "rnnscope.training.transport",
    "Stage": "rnnscope.training.transport",
    "Streams": "rnnscope.core.random",
    "Forecasting": "rnnscope.evaluation.forecasting",
    "Emulation": "rnnscope.evaluation.emulation",
    "ReverseEngineering": "rnnscope.analysis.reverse_engineering",
    "HiddenMarkov": "rnnscope.tasks.hidden_markov",
    "FlipFlop": "rnnscope.tasks.flip_flop",
    "HMM": "rnnscope.markov.hmm",
    "GaussianHMM": "rnnscope.markov.hmm",
    "BeliefFilter": "rnnscope.markov.belief",
    "transition_matrix": "rnnscope.markov.families",
    "emission_matrix": "rnnscope.markov.families",
    "select_num_states": "rnnscope.markov.selection",
    "align": "rnnscope.markov.alignment",
    "generate": "rnnscope.markov.generation",
    "from_hmmlearn": "rnnscope.markov.interchange",
    "to_hmmlearn": "rnnscope.markov.interchange",
    "sinkhorn_divergence": "rnnscope.numerics.transport",
    "match_sequences": "rnnscope.numerics.matching",
    "reconstruction_scores": "rnnscope.numerics.reconstruction",
    "RnnscopeError": "rnnscope.core.errors",
    "ConfigError": "rnnscope.core.errors",
    "DataError": "rnnscope.core.errors",
    "ShapeError": "rnnscope.core.errors",
    "RunFolderError": "rnnscope.core.errors",
    "TrainingError": "rnnscope.core.errors",
    "Interrupted": "rnnscope.core.errors",
}
__all__ = ["__version__", *_PUBLIC]

if TYPE_CHECKING:
    from rnnscope.analysis.attractors import AttractorMap as AttractorMap
    from rnnscope.analysis.bifurcations import Bifurcations as Bifurcations
    from rnnscope.analysis.fixed_points import FixedPointSearch as FixedPointSearch
    from rnnscope.analysis.lyapunov import LyapunovExponents as LyapunovExponents
    from rnnscope.analysis.memory import Memory as Memory
    from rnnscope.analysis.reverse_engineering import ReverseEngineering
    from rnnscope.analysis.state_space import StateSpace as StateSpace
    from rnnscope.api import compare as compare
    from rnnscope.api import run as run
    from rnnscope.core.errors import (
        ConfigError,
        DataError,
        Interrupted,
        RnnscopeError,
        RunFolderError,
        ShapeError,
        TrainingError,
    )
    from rnnscope.core.jacobians import input_jacobians as input_jacobians
    from rnnscope.core.jacobians import readout_jacobians as readout_jacobians
    from rnnscope.core.jacobians import state_jacobians as state_jacobians
    from rnnscope.core.loops import AffineFeedback, close_loop, free_run, hold_input, with_noise
    from rnnscope.core.piecewise import PiecewiseLinear as PiecewiseLinear
    from rnnscope.core.random import Streams
    from rnnscope.core.series import Series
    from rnnscope.core.system import AnalyticJacobian as AnalyticJacobian
    from rnnscope.core.system import DynamicalSystem, Rollout, SequenceModel, System, rollout
    from rnnscope.dynamics.attractors import Attractors as Attractors
    from rnnscope.dynamics.attractors import attractors as attractors
    from rnnscope.dynamics.bifurcations import bifurcation_diagram as bifurcation_diagram
    from rnnscope.dynamics.continuation import Branch as Branch
    from rnnscope.dynamics.continuation import continue_fixed_point as continue_fixed_point
    from rnnscope.dynamics.cycles import Cycles as Cycles
    from rnnscope.dynamics.cycles import find_cycles as find_cycles
    from rnnscope.dynamics.fixed_points import FixedPoints, find_fixed_points
    from rnnscope.dynamics.flows import flow_map as flow_map
    from rnnscope.dynamics.flows import task_flow as task_flow
    from rnnscope.dynamics.forgetting import Forgetting as Forgetting
    from rnnscope.dynamics.forgetting import forgetting as forgetting
    from rnnscope.dynamics.gradient_flow import GradientFlow as GradientFlow
    from rnnscope.dynamics.gradient_flow import gradient_flow as gradient_flow
    from rnnscope.dynamics.lyapunov import LyapunovSpectrum as LyapunovSpectrum
    from rnnscope.dynamics.lyapunov import lyapunov_spectrum as lyapunov_spectrum
    from rnnscope.dynamics.memory_capacity import MemoryCapacity as MemoryCapacity
    from rnnscope.dynamics.memory_capacity import linear_memory_capacity as linear_memory_capacity
    from rnnscope.dynamics.memory_capacity import memory_capacity as memory_capacity
    from rnnscope.dynamics.periodic_regions import piecewise_linear_cycles as piecewise_linear_cycles
    from rnnscope.dynamics.sensitivity import Sensitivity as Sensitivity
    from rnnscope.dynamics.sensitivity import sensitivity as sensitivity
    from rnnscope.dynamics.trajectories import Trajectories as Trajectories
    from rnnscope.dynamics.trajectories import trajectories as trajectories
    from rnnscope.evaluation.emulation import Emulation
    from rnnscope.evaluation.forecasting import Forecasting
    from rnnscope.evaluation.steps import Steps as Steps
    from rnnscope.experiment import Experiment, preset
    from rnnscope.markov.alignment import align
    from rnnscope.markov.belief import BeliefFilter
    from rnnscope.markov.families import emission_matrix, transition_matrix
    from rnnscope.markov.generation import generate
    from rnnscope.markov.hmm import HMM, GaussianHMM
    from rnnscope.markov.interchange import from_hmmlearn, to_hmmlearn
    from rnnscope.markov.selection import select_num_states
    from rnnscope.models.recurrent import GRU, LSTM, Elman
    from rnnscope.models.wrap import as_system, elman_matrices
    from rnnscope.numerics.backpropagation import backpropagate as backpropagate
    from rnnscope.numerics.matching import match_sequences
    from rnnscope.numerics.reconstruction import reconstruction_scores
    from rnnscope.numerics.transport import sinkhorn_divergence
    from rnnscope.results import Run, open_run
    from rnnscope.tasks.flip_flop import FlipFlop
    from rnnscope.tasks.forecasting import ForecastTask, Recording
    from rnnscope.tasks.hidden_markov import HiddenMarkov
    from rnnscope.tasks.ode import (
        DrivenOscillator,
        Duffing,
        Lorenz63,
        Lorenz96,
        MackeyGlass,
        ODETask,
        Pendulum,
        Rossler,
        VanDerPol,
    )
    from rnnscope.tasks.oscillation import Oscillation
    from rnnscope.tasks.split import Split
    from rnnscope.tasks.table import Embedded, Table
    from rnnscope.training.gradient import BPTT
    from rnnscope.training.transport import Stage, Transport


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module 'rnnscope' has no attribute '{name}'")
    return getattr(importlib.import_module(_PUBLIC[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
