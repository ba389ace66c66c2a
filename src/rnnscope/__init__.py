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
    "compare": "rnnscope.comparison",
    "StudyRun": "rnnscope.comparison",
    "Experiment": "rnnscope.experiment",
    "Study": "rnnscope.experiment",
    "study": "rnnscope.experiment",
    "preset": "rnnscope.experiment",
    "DynamicalSystem": "rnnscope.core.system",
    "SequenceModel": "rnnscope.core.system",
    "System": "rnnscope.core.system",
    "Rollout": "rnnscope.core.system",
    "rollout": "rnnscope.core.system",
    "close_loop": "rnnscope.core.closing",
    "hold_input": "rnnscope.core.loops",
    "with_noise": "rnnscope.core.loops",
    "free_run": "rnnscope.core.loops",
    "AffineFeedback": "rnnscope.core.loops",
    "as_system": "rnnscope.models.wrap",
    "elman_matrices": "rnnscope.models.wrap",
    "from_torch": "rnnscope.models.foreign_torch",
    "to_torch": "rnnscope.models.foreign_torch",
    "from_keras": "rnnscope.models.foreign_keras",
    "to_keras": "rnnscope.models.foreign_keras_export",
    "from_reservoirpy": "rnnscope.models.foreign_reservoir",
    "to_onnx": "rnnscope.models.foreign_onnx",
    "Imported": "rnnscope.models.foreign",
    "Untrained": "rnnscope.training.untrained",
    "Layered": "rnnscope.models.layered",
    "Layer": "rnnscope.models.layered",
    "Dense": "rnnscope.models.layered",
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
    "limiting_rays": "rnnscope.dynamics.limiting_rays",
    "LimitingRays": "rnnscope.dynamics.limiting_rays",
    "PiecewiseLinear": "rnnscope.core.piecewise",
    "AffineReadout": "rnnscope.core.piecewise",
    "FusedForcing": "rnnscope.core.forcing",
    "forced_rollout": "rnnscope.core.forcing",
    "forcing_weights": "rnnscope.core.forcing",
    "PLRNN": "rnnscope.models.plrnn",
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
    "integrated_gradients": "rnnscope.analysis.attribution",
    "Attribution": "rnnscope.analysis.attribution",
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
    "Saliency": "rnnscope.analysis.saliency",
    "Steps": "rnnscope.evaluation.steps",
    "Classification": "rnnscope.evaluation.classification",
    "FewShot": "rnnscope.evaluation.few_shot",
    "MLP": "rnnscope.models.mlp",
    "Logistic": "rnnscope.models.logistic",
    "Meta": "rnnscope.training.meta",
    "Newton": "rnnscope.training.newton",
    "HessianFree": "rnnscope.training.hessian_free",
    "Sinusoids": "rnnscope.tasks.sinusoids",
    "SineShift": "rnnscope.tasks.sinusoids",
    "Complexity": "rnnscope.tasks.complexity",
    "LogisticBoundary": "rnnscope.analysis.logistic_boundary",
    "TaskFamily": "rnnscope.core.task_family",
    "FamilyData": "rnnscope.core.task_family",
    "draw_episodes": "rnnscope.core.task_family",
    "fit_logistic": "rnnscope.numerics.logistic",
    "separable": "rnnscope.numerics.logistic",
    "labelled_set": "rnnscope.core.labelled",
    "LabelledData": "rnnscope.core.labelled",
    "AnalyticJacobian": "rnnscope.core.system",
    "Elman": "rnnscope.models.recurrent",
    "GRU": "rnnscope.models.recurrent",
    "EchoState": "rnnscope.models.reservoir",
    "ReservoirSystem": "rnnscope.models.reservoir_system",
    "SantaFeLaser": "rnnscope.tasks.laser",
    "LSTM": "rnnscope.models.recurrent",
    "CNNRNN": "rnnscope.models.cnn_rnn",
    "Classifier": "rnnscope.models.classifier",
    "Labelled": "rnnscope.tasks.labelled",
    "Evidence": "rnnscope.analysis.evidence",
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
    "Ridge": "rnnscope.training.ridge",
    "search": "rnnscope.tuning",
    "Search": "rnnscope.tuning",
    "Trial": "rnnscope.tuning",
    "Transport": "rnnscope.training.transport",
    "Stage": "rnnscope.training.transport",
    "Streams": "rnnscope.core.random",
    "Forecasting": "rnnscope.evaluation.forecasting",
    "Emulation": "rnnscope.evaluation.emulation",
    "ReverseEngineering": "rnnscope.analysis.reverse_engineering",
    "HiddenMarkov": "rnnscope.tasks.hidden_markov",
    "FlipFlop": "rnnscope.tasks.flip_flop",
    "Adding": "rnnscope.tasks.long_range",
    "Copy": "rnnscope.tasks.long_range",
    "MemoryDelay": "rnnscope.tasks.long_range",
    "TemporalOrder": "rnnscope.tasks.long_range",
    "Characters": "rnnscope.tasks.text",
    "Text": "rnnscope.tasks.text",
    "TextData": "rnnscope.core.text",
    "text_data": "rnnscope.core.text",
    "needed_memory": "rnnscope.core.text",
    "fit_ngrams": "rnnscope.numerics.ngrams",
    "Embedding": "rnnscope.models.embedding",
    "TextScores": "rnnscope.evaluation.text",
    "AutomatonExtraction": "rnnscope.analysis.automaton",
    "StateEvolution": "rnnscope.analysis.state_evolution",
    "extract_automaton": "rnnscope.dynamics.automaton",
    "Automaton": "rnnscope.dynamics.automaton",
    "Pattern": "rnnscope.tasks.patterns",
    "TriggerAction": "rnnscope.tasks.trigger_action",
    "FramesRandom": "rnnscope.tasks.frames",
    "FramesMotion": "rnnscope.tasks.frames_moving",
    "FramesSpeed": "rnnscope.tasks.frames_moving",
    "Frames": "rnnscope.tasks.frames_given",
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
    "detect": "rnnscope.detection",
    "Detected": "rnnscope.detection",
    "StreamingDetector": "rnnscope.evaluation.streaming",
    "Detection": "rnnscope.evaluation.detection",
    "Emergence": "rnnscope.tasks.marked_series",
    "PlantedAnomalies": "rnnscope.tasks.marked_series",
    "MarkedFile": "rnnscope.tasks.marked_series",
    "raise_alarms": "rnnscope.numerics.thresholds",
    "Alarms": "rnnscope.numerics.thresholds",
    "matrix_profile": "rnnscope.numerics.anomaly_scores",
    "vus_pr": "rnnscope.numerics.detection_metrics",
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
    from rnnscope.analysis.attribution import Attribution as Attribution
    from rnnscope.analysis.attribution import integrated_gradients as integrated_gradients
    from rnnscope.analysis.automaton import AutomatonExtraction as AutomatonExtraction
    from rnnscope.analysis.bifurcations import Bifurcations as Bifurcations
    from rnnscope.analysis.evidence import Evidence as Evidence
    from rnnscope.analysis.fixed_points import FixedPointSearch as FixedPointSearch
    from rnnscope.analysis.logistic_boundary import LogisticBoundary as LogisticBoundary
    from rnnscope.analysis.lyapunov import LyapunovExponents as LyapunovExponents
    from rnnscope.analysis.memory import Memory as Memory
    from rnnscope.analysis.reverse_engineering import ReverseEngineering
    from rnnscope.analysis.saliency import Saliency as Saliency
    from rnnscope.analysis.state_evolution import StateEvolution as StateEvolution
    from rnnscope.analysis.state_space import StateSpace as StateSpace
    from rnnscope.api import run as run
    from rnnscope.comparison import StudyRun as StudyRun
    from rnnscope.comparison import compare as compare
    from rnnscope.core.closing import close_loop
    from rnnscope.core.errors import (
        ConfigError,
        DataError,
        Interrupted,
        RnnscopeError,
        RunFolderError,
        ShapeError,
        TrainingError,
    )
    from rnnscope.core.forcing import FusedForcing as FusedForcing
    from rnnscope.core.forcing import forced_rollout as forced_rollout
    from rnnscope.core.forcing import forcing_weights as forcing_weights
    from rnnscope.core.jacobians import input_jacobians as input_jacobians
    from rnnscope.core.jacobians import readout_jacobians as readout_jacobians
    from rnnscope.core.jacobians import state_jacobians as state_jacobians
    from rnnscope.core.labelled import LabelledData as LabelledData
    from rnnscope.core.labelled import labelled_set as labelled_set
    from rnnscope.core.loops import AffineFeedback, free_run, hold_input, with_noise
    from rnnscope.core.piecewise import AffineReadout as AffineReadout
    from rnnscope.core.piecewise import PiecewiseLinear as PiecewiseLinear
    from rnnscope.core.random import Streams
    from rnnscope.core.series import Series
    from rnnscope.core.system import AnalyticJacobian as AnalyticJacobian
    from rnnscope.core.system import DynamicalSystem, Rollout, SequenceModel, System, rollout
    from rnnscope.core.task_family import FamilyData as FamilyData
    from rnnscope.core.task_family import TaskFamily as TaskFamily
    from rnnscope.core.task_family import draw_episodes as draw_episodes
    from rnnscope.core.text import TextData as TextData
    from rnnscope.core.text import needed_memory as needed_memory
    from rnnscope.core.text import text_data as text_data
    from rnnscope.detection import Detected as Detected
    from rnnscope.detection import detect as detect
    from rnnscope.dynamics.attractors import Attractors as Attractors
    from rnnscope.dynamics.attractors import attractors as attractors
    from rnnscope.dynamics.automaton import Automaton as Automaton
    from rnnscope.dynamics.automaton import extract_automaton as extract_automaton
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
    from rnnscope.dynamics.limiting_rays import LimitingRays as LimitingRays
    from rnnscope.dynamics.limiting_rays import limiting_rays as limiting_rays
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
    from rnnscope.evaluation.classification import Classification as Classification
    from rnnscope.evaluation.detection import Detection as Detection
    from rnnscope.evaluation.emulation import Emulation
    from rnnscope.evaluation.few_shot import FewShot as FewShot
    from rnnscope.evaluation.forecasting import Forecasting
    from rnnscope.evaluation.steps import Steps as Steps
    from rnnscope.evaluation.streaming import StreamingDetector as StreamingDetector
    from rnnscope.evaluation.text import TextScores as TextScores
    from rnnscope.experiment import Experiment, Study, preset, study
    from rnnscope.markov.alignment import align
    from rnnscope.markov.belief import BeliefFilter
    from rnnscope.markov.families import emission_matrix, transition_matrix
    from rnnscope.markov.generation import generate
    from rnnscope.markov.hmm import HMM, GaussianHMM
    from rnnscope.markov.interchange import from_hmmlearn, to_hmmlearn
    from rnnscope.markov.selection import select_num_states
    from rnnscope.models.classifier import Classifier as Classifier
    from rnnscope.models.cnn_rnn import CNNRNN as CNNRNN
    from rnnscope.models.embedding import Embedding as Embedding
    from rnnscope.models.foreign import Imported as Imported
    from rnnscope.models.foreign_keras import from_keras as from_keras
    from rnnscope.models.foreign_keras_export import to_keras as to_keras
    from rnnscope.models.foreign_onnx import to_onnx as to_onnx
    from rnnscope.models.foreign_reservoir import from_reservoirpy as from_reservoirpy
    from rnnscope.models.foreign_torch import from_torch as from_torch
    from rnnscope.models.foreign_torch import to_torch as to_torch
    from rnnscope.models.layered import Dense as Dense
    from rnnscope.models.layered import Layer as Layer
    from rnnscope.models.layered import Layered as Layered
    from rnnscope.models.logistic import Logistic as Logistic
    from rnnscope.models.mlp import MLP as MLP
    from rnnscope.models.plrnn import PLRNN as PLRNN
    from rnnscope.models.recurrent import GRU, LSTM, Elman
    from rnnscope.models.reservoir import EchoState
    from rnnscope.models.reservoir_system import ReservoirSystem
    from rnnscope.models.wrap import as_system, elman_matrices
    from rnnscope.numerics.anomaly_scores import matrix_profile as matrix_profile
    from rnnscope.numerics.backpropagation import backpropagate as backpropagate
    from rnnscope.numerics.detection_metrics import vus_pr as vus_pr
    from rnnscope.numerics.logistic import fit_logistic as fit_logistic
    from rnnscope.numerics.logistic import separable as separable
    from rnnscope.numerics.matching import match_sequences
    from rnnscope.numerics.ngrams import fit_ngrams as fit_ngrams
    from rnnscope.numerics.reconstruction import reconstruction_scores
    from rnnscope.numerics.thresholds import Alarms as Alarms
    from rnnscope.numerics.thresholds import raise_alarms as raise_alarms
    from rnnscope.numerics.transport import sinkhorn_divergence
    from rnnscope.results import Run, open_run
    from rnnscope.tasks.complexity import Complexity as Complexity
    from rnnscope.tasks.flip_flop import FlipFlop as FlipFlop
    from rnnscope.tasks.forecasting import ForecastTask, Recording
    from rnnscope.tasks.frames import FramesRandom as FramesRandom
    from rnnscope.tasks.frames_given import Frames as Frames
    from rnnscope.tasks.frames_moving import FramesMotion as FramesMotion
    from rnnscope.tasks.frames_moving import FramesSpeed as FramesSpeed
    from rnnscope.tasks.hidden_markov import HiddenMarkov
    from rnnscope.tasks.labelled import Labelled as Labelled
    from rnnscope.tasks.laser import SantaFeLaser
    from rnnscope.tasks.long_range import Adding as Adding
    from rnnscope.tasks.long_range import Copy as Copy
    from rnnscope.tasks.long_range import MemoryDelay as MemoryDelay
    from rnnscope.tasks.long_range import TemporalOrder as TemporalOrder
    from rnnscope.tasks.marked_series import Emergence as Emergence
    from rnnscope.tasks.marked_series import MarkedFile as MarkedFile
    from rnnscope.tasks.marked_series import PlantedAnomalies as PlantedAnomalies
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
    from rnnscope.tasks.patterns import Pattern as Pattern
    from rnnscope.tasks.sinusoids import SineShift as SineShift
    from rnnscope.tasks.sinusoids import Sinusoids as Sinusoids
    from rnnscope.tasks.split import Split
    from rnnscope.tasks.table import Embedded, Table
    from rnnscope.tasks.text import Characters as Characters
    from rnnscope.tasks.text import Text as Text
    from rnnscope.tasks.trigger_action import TriggerAction as TriggerAction
    from rnnscope.training.gradient import BPTT
    from rnnscope.training.hessian_free import HessianFree as HessianFree
    from rnnscope.training.meta import Meta as Meta
    from rnnscope.training.newton import Newton as Newton
    from rnnscope.training.ridge import Ridge as Ridge
    from rnnscope.training.transport import Stage, Transport
    from rnnscope.training.untrained import Untrained as Untrained
    from rnnscope.tuning import Search as Search
    from rnnscope.tuning import Trial as Trial
    from rnnscope.tuning import search as search


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module 'rnnscope' has no attribute '{name}'")
    return getattr(importlib.import_module(_PUBLIC[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
