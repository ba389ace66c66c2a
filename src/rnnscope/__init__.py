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
    "find_fixed_points": "rnnscope.dynamics.fixed_points",
    "FixedPoints": "rnnscope.dynamics.fixed_points",
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
    from rnnscope.analysis.reverse_engineering import ReverseEngineering
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
    from rnnscope.core.loops import AffineFeedback, close_loop, free_run, hold_input, with_noise
    from rnnscope.core.random import Streams
    from rnnscope.core.series import Series
    from rnnscope.core.system import DynamicalSystem, Rollout, SequenceModel, System, rollout
    from rnnscope.dynamics.fixed_points import FixedPoints, find_fixed_points
    from rnnscope.evaluation.emulation import Emulation
    from rnnscope.evaluation.forecasting import Forecasting
    from rnnscope.experiment import Experiment, preset
    from rnnscope.markov.alignment import align
    from rnnscope.markov.belief import BeliefFilter
    from rnnscope.markov.families import emission_matrix, transition_matrix
    from rnnscope.markov.generation import generate
    from rnnscope.markov.hmm import HMM, GaussianHMM
    from rnnscope.markov.interchange import from_hmmlearn, to_hmmlearn
    from rnnscope.markov.selection import select_num_states
    from rnnscope.models.recurrent import GRU, LSTM, Elman
    from rnnscope.models.wrap import as_system
    from rnnscope.numerics.matching import match_sequences
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
