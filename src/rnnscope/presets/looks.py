"""Which analyses suit which kind of preset, and why."""

from rnnscope.analysis.attractors import AttractorMap
from rnnscope.analysis.fixed_points import FixedPointSearch
from rnnscope.analysis.lyapunov import LyapunovExponents
from rnnscope.analysis.memory import Memory
from rnnscope.analysis.reconstruction import Reconstruction
from rnnscope.analysis.state_space import StateSpace
from rnnscope.core.interfaces import AnalysisSpec


def forecaster() -> dict[str, AnalysisSpec]:
    """A network whose outputs become its inputs is a model of the signal: what does it do when it runs on by itself?"""
    return {
        # where free runs end: on a cycle as the signal does, at a dead point, in chaos
        "attractors": AttractorMap(),
        # whether errors of a forecast die out, stay or grow, and how fast
        "lyapunov": LyapunovExponents(),
        # what a free run turns around
        "fixed_points": FixedPointSearch(),
        # how much of the past a forecast can rest on
        "memory": Memory(),
        "state_space": StateSpace(),
    }


def simulator(lyapunov_time: float | None = None) -> dict[str, AnalysisSpec]:
    """A forecaster trained on a simulated system, long and clean enough to ask whether it generates the same attractor.

    Args:
        lyapunov_time: 1 / largest exponent of the system, in its unit of time, where it is known.
    """
    # the score that forecasts do not give: where free runs go and how they move, for as long as one likes
    return {**forecaster(), "reconstruction": Reconstruction(lyapunov_time=lyapunov_time)}


def holder() -> dict[str, AnalysisSpec]:
    """A network that must hold values while nothing happens: its memories are the stable states under zero input."""
    return {
        "fixed_points": FixedPointSearch(),
        # each memory's basin: what the network falls back to from any state
        "attractors": AttractorMap(),
        "memory": Memory(),
        "lyapunov": LyapunovExponents(),
        "state_space": StateSpace(),
    }
