"""Sinusoids: many waves of which a few points are shown (Finn et al. 2017), or one wave that is asked for with another phase."""

import math
from typing import Annotated, Any

import numpy as np
from jaxtyping import Float
from pydantic import Field

from rnnscope.core.errors import ConfigError
from rnnscope.core.interfaces import TaskSpec
from rnnscope.core.random import Streams
from rnnscope.core.spec import NonNegativeFloat, Positive
from rnnscope.core.task_family import FamilyData, TaskFamily, draw_episodes

Range = tuple[float, float]


class SineFamily(TaskFamily):
    """y = a sin(x + φ) with a, φ and x uniform.

    Args:
        amplitude, phase, x: (low, high) of each; low = high fixes the number.

    Example:
        >>> import numpy as np
        >>> waves = SineFamily((2.0, 2.0), (np.pi / 2, np.pi / 2), (-5.0, 5.0))
        >>> waves.answers(np.array([[2.0, np.pi / 2]]), np.array([[0.0]])).tolist()
        [[2.0]]
    """

    names = ("amplitude", "phase")

    def __init__(self, amplitude: Range, phase: Range, x: Range) -> None:
        self.ranges, self.x = (amplitude, phase), x

    def draw(self, num_tasks: int, rng: np.random.Generator) -> Float[np.ndarray, "N P"]:
        low, high = np.array(self.ranges, float).T
        return low + (high - low) * rng.random((num_tasks, 2))

    def inputs(self, num_tasks: int, num_points: int, rng: np.random.Generator) -> Float[np.ndarray, "N K"]:
        return self.x[0] + (self.x[1] - self.x[0]) * rng.random((num_tasks, num_points))

    def answers(self, parameters: Float[np.ndarray, "N P"], inputs: Float[np.ndarray, "N K"]) -> Float[np.ndarray, "N K"]:
        return parameters[:, :1] * np.sin(inputs + parameters[:, 1:])

    def fitted(
        self, inputs: Float[np.ndarray, "N K"], targets: Float[np.ndarray, "N K"], queries: Float[np.ndarray, "N Q"]
    ) -> Float[np.ndarray, "N Q"]:
        """a sin(x + φ) = b sin x + c cos x, linear in b and c; with a single example the smallest that fit."""
        rows = np.stack([np.sin(inputs), np.cos(inputs)], -1)
        found = np.linalg.pinv(rows, rcond=1e-6) @ targets[..., None]
        return (np.stack([np.sin(queries), np.cos(queries)], -1) @ found)[..., 0]


class Sinusoids(TaskSpec):
    """From K points of a wave a sin(x + φ), tell the others. Every wave is a task; amplitude and phase are new in each.

    Fields:
        amplitude, phase, x: (low, high) of each, uniform; phase in radians. Amplitudes >= 0, phases and x low <= high, x low < high.
        test_amplitude, test_phase: of the test tasks, the same when None.
        shots: numbers K of examples, ascending, each at least 1. A wave has two unknowns: one example does not determine it.
        num_points: points of each task of the training and validation part, more than the largest K. num_queries: further
            points of a test task, on which it is scored.
        num_train, num_validation, num_test: tasks. Trainers of kind meta draw new ones for every step; the fixed training
            tasks are for those that read sequences.
        noise_sd: of Gaussian noise on all targets but those of the test queries.
    """

    amplitude: Range = (0.1, 5.0)
    phase: Range = (0.0, math.pi)
    x: Range = (-5.0, 5.0)
    test_amplitude: Range | None = None
    test_phase: Range | None = None
    shots: Annotated[tuple[Positive, ...], Field(min_length=1)] = (5, 10)
    num_points: Annotated[int, Field(ge=2)] = 20
    num_queries: Positive = 100
    num_train: Positive = 20_000
    num_validation: Positive = 200
    num_test: Positive = 600
    noise_sd: NonNegativeFloat = 0.0

    def model_post_init(self, context: Any) -> None:
        check_ranges(self, ("amplitude", "phase", "x", "test_amplitude", "test_phase"))
        check_shots(self.shots, self.num_points)

    def prepare(self, streams: Streams) -> FamilyData:
        family = SineFamily(self.amplitude, self.phase, self.x)
        test = SineFamily(self.test_amplitude or self.amplitude, self.test_phase or self.phase, self.x)
        return prepared(self, family, test, streams, "y = a sin(x + φ), told from a few points of the wave")


class SineShift(TaskSpec):
    """Learn one wave, sin(x + φ), and be asked for it with another phase: what a network that learned a single task carries over.

    Fields:
        phase, shift: the test wave is sin(x + phase + shift), radians.
        x: (low, high), uniform. num_points: of the training wave, more than the largest of `shots`.
        shots: numbers of examples of the test wave from which adaptation is tried, ascending. num_queries: points on which
            it is scored. num_test: draws of examples and queries.
        noise_sd: of Gaussian noise on all targets but those of the test queries.
    """

    phase: float = 0.0
    shift: float = math.pi / 2
    x: Range = (-5.0, 5.0)
    num_points: Annotated[int, Field(ge=2)] = 100
    shots: Annotated[tuple[Positive, ...], Field(min_length=1)] = (5, 10)
    num_queries: Positive = 100
    num_validation: Positive = 20
    num_test: Positive = 600
    noise_sd: NonNegativeFloat = 0.0

    def model_post_init(self, context: Any) -> None:
        check_ranges(self, ("x",))
        check_shots(self.shots, self.num_points)

    def prepare(self, streams: Streams) -> FamilyData:
        moved = self.phase + self.shift
        family = SineFamily((1.0, 1.0), (self.phase, self.phase), self.x)
        test = SineFamily((1.0, 1.0), (moved, moved), self.x)
        rule = f"sin(x + {self.phase:.4g}) in training, sin(x + {moved:.4g}) in the test"
        return prepared(self, family, test, streams, rule, num_train=1)


def prepared(
    spec: Sinusoids | SineShift,
    family: SineFamily,
    test_family: SineFamily,
    streams: Streams,
    rule: str,
    num_train: int | None = None,
) -> FamilyData:
    """All parts drawn from independent streams."""
    at = streams.at("data")
    count = num_train if num_train is not None else spec.num_train if isinstance(spec, Sinusoids) else 1
    noise, most = spec.noise_sd, max(spec.shots)
    shown = most + spec.num_queries
    return FamilyData(
        family,
        test_family,
        train=draw_episodes(family, count, spec.num_points, at.at("train").numpy(), noise),
        validation=draw_episodes(family, spec.num_validation, spec.num_points, at.at("validation").numpy(), noise),
        test=draw_episodes(test_family, spec.num_test, shown, at.at("test").numpy(), noise, most),
        shots=spec.shots,
        noise_sd=noise,
        rule=rule,
    )


def check_ranges(spec: Sinusoids | SineShift, names: tuple[str, ...]) -> None:
    """Refuse a range that is upside down, an amplitude below 0, or x without extent."""
    for name in names:
        found = getattr(spec, name)
        if found is None:
            continue
        low, high = found
        if low > high or (name == "x" and low == high):
            raise ConfigError(f"{name} is [{low:g}, {high:g}]", "[low, high] with low below high", f"correct task.{name}")
        if "amplitude" in name and low < 0:
            raise ConfigError(f"{name} is [{low:g}, {high:g}]", "amplitudes of at least 0", f"correct task.{name}")


def check_shots(shots: tuple[int, ...], num_points: int) -> None:
    """Refuse numbers of examples that repeat or descend, or that leave no point to be asked."""
    if list(shots) != sorted(set(shots)):
        raise ConfigError(f"shots is {list(shots)}", "different numbers, ascending", "give task.shots=[5,10]")
    if num_points <= shots[-1]:
        raise ConfigError(
            f"num_points is {num_points} and the largest of shots is {shots[-1]}: no point is left to be asked",
            f"num_points of at least {shots[-1] + 1}",
            f"set task.num_points={2 * shots[-1]}, or fewer task.shots",
        )
