"""The flip-flop memory: several bits, each set by rare pulses and to be held until the next one (Sussillo & Barak 2013)."""

from typing import Annotated, Any

import numpy as np
from jaxtyping import Float, Int
from pydantic import Field

from rnnscope.core.errors import ConfigError
from rnnscope.core.interfaces import TaskSpec
from rnnscope.core.random import Streams
from rnnscope.core.spec import NonNegative, NonNegativeFloat, Positive
from rnnscope.core.step_data import StepData, StepSet, step_set

PulseProbability = Annotated[float, Field(gt=0.0, le=1.0)]


class FlipFlop(TaskSpec):
    """Remember the sign of the latest pulse of every channel.

    At each step each of `num_bits` channels has a pulse with probability p, +1 or -1 with equal odds, and else 0. The target of
    a channel is the sign of its latest pulse, the present step included. At the first step every channel has a pulse, so that
    there is always one to remember (as in the FixedPointFinder examples: 3 bits, 64 steps, p = 0.5).

    Fields:
        num_bits: channels, 1 to 8. num_steps: T >= 2 of every sequence. pulse_probability: p in (0, 1].
        num_train, num_validation, num_test: sequences, independent draws.
        noise_sd: of Gaussian noise on the inputs; the targets are those of the pulses without it.
        num_long: sequences of a further test set, "long", on which holding matters more; 0: none. long_steps: their length;
            10 T when None. long_pulse_probability: their p.
    """

    num_bits: Annotated[int, Field(ge=1, le=8)] = 3
    num_steps: Annotated[int, Field(ge=2)] = 64
    pulse_probability: PulseProbability = 0.5
    num_train: Positive = 1024
    num_validation: Positive = 256
    num_test: Positive = 512
    noise_sd: NonNegativeFloat = 0.0
    num_long: NonNegative = 128
    long_steps: Positive | None = None
    long_pulse_probability: PulseProbability = 0.05

    def model_post_init(self, context: Any) -> None:
        if self.long_steps is not None and self.long_steps < 2:
            raise ConfigError("task.long_steps is 1", "at least 2", "give task.long_steps such a value")

    def prepare(self, streams: Streams) -> StepData:
        at = streams.at("data")
        length, p = self.num_steps, self.pulse_probability
        tests = {"test": self._draw(self.num_test, length, p, at.at("test").numpy())}
        if self.num_long:
            steps, rare = self.long_steps or 10 * length, self.long_pulse_probability
            tests["long"] = self._draw(self.num_long, steps, rare, at.at("long").numpy())
        return StepData(
            train=self._draw(self.num_train, length, p, at.at("train").numpy()),
            validation=self._draw(self.num_validation, length, p, at.at("validation").numpy()),
            tests=tests,
            input_names=tuple(f"pulse {i + 1}" for i in range(self.num_bits)),
            output_names=tuple(f"bit {i + 1}" for i in range(self.num_bits)),
            levels=(-1.0, 1.0),
            rule="the sign of each channel's latest pulse",
        )

    def _draw(self, count: int, steps: int, probability: float, rng: np.random.Generator) -> StepSet:
        pulses = draw_pulses(count, steps, self.num_bits, probability, rng)
        targets, age = latch(pulses)
        seen = pulses
        if self.noise_sd:
            seen = pulses + self.noise_sd * rng.standard_normal(pulses.shape, np.float32)
        title = f"{steps} steps, pulses with probability {probability:g}"
        return step_set(seen, targets, age=age, solution=latch(seen)[0], title=title)


def draw_pulses(
    count: int, steps: int, num_bits: int, probability: float, rng: np.random.Generator
) -> Float[np.ndarray, "N T B"]:
    """Inputs of the flip-flop task: 0, or with the given probability +1 or -1; at the first step always a pulse."""
    shape = (count, steps, num_bits)
    there = rng.random(shape) < probability
    there[:, 0] = True
    signs = 2 * rng.integers(0, 2, shape, np.int8) - 1
    return np.where(there, signs, 0).astype(np.float32)


def latch(inputs: Float[np.ndarray, "N T B"]) -> tuple[Float[np.ndarray, "N T B"], Int[np.ndarray, "N T B"]]:
    """The automaton that solves the task: the sign of the latest input beyond 1/2 in size, and how many steps ago it came.

    The first step's input counts whatever its size. Without noise on the inputs the answers are the targets.

    Example:
        >>> import numpy as np
        >>> signs, age = latch(np.array([[[-1.0], [0.0], [0.0], [1.0], [0.0]]], np.float32))
        >>> signs[0, :, 0].tolist(), age[0, :, 0].tolist()
        ([-1.0, -1.0, -1.0, 1.0, 1.0], [0, 1, 2, 0, 1])
    """
    steps = np.arange(inputs.shape[1])[:, None]
    latest = np.maximum.accumulate(np.where(np.abs(inputs) > 0.5, steps, 0), axis=1)
    signs = np.where(np.take_along_axis(inputs, latest, 1) < 0, -1.0, 1.0).astype(np.float32)
    return signs, steps - latest
