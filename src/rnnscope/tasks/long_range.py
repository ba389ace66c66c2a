"""Tasks whose answer depends on inputs that came long ago: adding, copying, temporal order, delayed memory.

They show over how many steps a way of training reaches: the time between a question and its answer is a field.
"""

from abc import abstractmethod
from itertools import product
from typing import Annotated, Any

import numpy as np
from jaxtyping import Float, Int
from pydantic import Field

from rnnscope.core.errors import ConfigError
from rnnscope.core.interfaces import TaskSpec
from rnnscope.core.labelled import LabelledData, LabelledSet, labelled_set
from rnnscope.core.random import Streams
from rnnscope.core.spec import NonNegative, Positive, Spec
from rnnscope.core.step_data import StepData, StepSet, step_set

SYMBOLS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
RELEVANT, DISTRACTORS = ("X", "Y"), ("a", "b", "c", "d")
BEGIN, END = "begin", "end"


class LongRange(Spec):
    """Common fields of long-range tasks.

    Fields: num_train, num_validation, num_test (sequences, independent draws), num_longer (sequences of a further test part,
    "longer"; 0: none), longer (their `length`; twice the training's when None). A network that found the rule, and not a
    clock that fits one length, answers there as well.
    """

    num_train: Positive = 10_000
    num_validation: Positive = 1000
    num_test: Positive = 1000
    num_longer: NonNegative = 500
    longer: Positive | None = None

    def parts(self, length: int) -> dict[str, tuple[int, int]]:
        """Name -> number of sequences and their length; the test parts come after train and validation."""
        sizes = {
            "train": (self.num_train, length),
            "validation": (self.num_validation, length),
            "test": (self.num_test, length),
        }
        if self.num_longer:
            sizes["longer"] = (self.num_longer, self.longer or 2 * length)
        return sizes

    def refuse_short(self, least: int) -> None:
        """Refuse a `longer` below the least length of the task."""
        if self.longer is not None and self.longer < least:
            raise ConfigError(f"task.longer is {self.longer}", f"at least {least}", "give task.longer such a value")


class LongRangeSteps(LongRange, TaskSpec):
    """A long-range task whose answers are asked for at steps."""

    def data(self, length: int, streams: Streams, **about: Any) -> StepData:
        """Every part, each from its own stream of random numbers.

        Args:
            length: of training. about: names, levels and rule of `StepData`.
        """
        at = streams.at("data")
        drawn = {name: self.draw(n, steps, at.at(name).numpy()) for name, (n, steps) in self.parts(length).items()}
        return StepData(train=drawn.pop("train"), validation=drawn.pop("validation"), tests=drawn, **about)

    @abstractmethod
    def draw(self, count: int, length: int, rng: np.random.Generator) -> StepSet:
        """So many sequences of a length."""


class Adding(LongRangeSteps):
    """The adding problem: the sum of the two marked numbers of a long sequence (Hochreiter & Schmidhuber 1997).

    At each of T steps the inputs are a number u_t ~ U(0, 1) and a mark m_t. One mark is set in the first half, one in the second,
    each place with equal odds (as in Martens & Sutskever 2011). At the last step Σ_t m_t u_t is asked for. The constant 1 has the
    error 1/6 = 0.167, the variance of the sum.

    Fields:
        length: T >= 2.
    """

    length: Annotated[int, Field(ge=2)] = 100

    def model_post_init(self, context: Any) -> None:
        self.refuse_short(2)

    def prepare(self, streams: Streams) -> StepData:
        return self.data(
            self.length,
            streams,
            input_names=("number", "mark"),
            output_names=("sum",),
            rule="the sum of the two marked numbers, at the last step",
        )

    def draw(self, count: int, length: int, rng: np.random.Generator) -> StepSet:
        numbers = rng.random((count, length))
        first = rng.integers(0, length // 2, count)
        second = rng.integers(length // 2, length, count)
        marks = np.zeros((count, length))
        marks[np.arange(count), first] = marks[np.arange(count), second] = 1.0
        inputs = np.stack([numbers, marks], 2).astype(np.float32)
        return step_set(
            inputs,
            _at_end(marked_sum(inputs), length),
            mask=_last(count, length),
            age=_at_end((length - 1 - first)[:, None], length).astype(int),
            solution=_at_end(marked_sum(inputs), length),
            title=f"{length} steps",
        )


def marked_sum(inputs: Float[np.ndarray, "N T 2"]) -> Float[np.ndarray, "N 1"]:
    """Σ_t m_t u_t of numbers u and marks m, the rule of the adding problem.

    Example:
        >>> import numpy as np
        >>> marked_sum(np.array([[[0.25, 1.0], [0.5, 0.0], [0.5, 1.0]]])).tolist()
        [[0.75]]
    """
    found: np.ndarray = inputs.prod(2, dtype=np.float64).sum(1, keepdims=True)
    return found


class Copy(LongRangeSteps):
    """Copying: K symbols, T blank steps, a cue, and then the symbols are to be said again in their order (Hochreiter & Schmidhuber 1997; Arjovsky et al. 2016).

    Inputs are one-hot: a channel per symbol, one for blank, one for the cue. After the K symbols there are T - 1 blanks and the
    cue; at the K steps after the cue, whose inputs are blank, the symbols are asked for. Each is drawn from all with equal odds,
    so that an answer without memory is right in 1 of `num_symbols` and has the cross-entropy ln(num_symbols).

    Fields:
        length: T >= 1, from the last symbol to the cue; every symbol is to be held for T + K steps.
        num_copied: K >= 1. num_symbols: 2 to 26.
    """

    length: Positive = 100
    num_copied: Positive = 10
    num_symbols: Annotated[int, Field(ge=2, le=26)] = 8

    def prepare(self, streams: Streams) -> StepData:
        names = tuple(SYMBOLS[: self.num_symbols])
        return self.data(
            self.length,
            streams,
            input_names=(*names, "blank", "cue"),
            output_names=names,
            exclusive=True,
            rule=f"the first {self.num_copied} symbols in their order, after the cue",
        )

    def draw(self, count: int, length: int, rng: np.random.Generator) -> StepSet:
        kept, symbols = self.num_copied, self.num_symbols
        drawn = rng.integers(0, symbols, (count, kept))
        steps = 2 * kept + length
        read = np.full((count, steps), symbols)
        read[:, :kept] = drawn
        read[:, kept + length - 1] = symbols + 1
        targets = np.zeros((count, steps, symbols), np.float32)
        targets[:, -kept:] = np.eye(symbols, dtype=np.float32)[drawn]
        mask = np.zeros((count, steps), bool)
        mask[:, -kept:] = True
        return step_set(
            np.eye(symbols + 2, dtype=np.float32)[read],
            targets,
            mask=mask,
            age=np.where(mask[:, :, None], length + kept, 0) * np.ones(symbols, int),
            solution=targets,
            title=f"{length} steps between",
        )


class TemporalOrder(LongRange, TaskSpec):
    """Temporal order: in which order did two (or three) symbols X or Y come, far apart among distractors? (Hochreiter & Schmidhuber 1997)

    A sequence of T steps starts with `begin` and ends with `end`; else there is one of four distractors, drawn with equal odds,
    but for two places with an X or a Y: one within T/10 … 2T/10, one within 5T/10 … 6T/10 (three: also T/3 … 4T/10, and then
    6T/10 … 7T/10). Their order is the class: XX, XY, YX, YY, or the eight of three. Inputs are one-hot. Every part has exactly as many
    sequences of each class, but for a remainder of one. The answer is asked for at the end.

    Fields:
        length: T >= 10. num_relevant: symbols that decide, 2 or 3.
    """

    length: Annotated[int, Field(ge=10)] = 100
    num_relevant: Annotated[int, Field(ge=2, le=3)] = 2

    def model_post_init(self, context: Any) -> None:
        self.refuse_short(10)

    def prepare(self, streams: Streams) -> LabelledData:
        at = streams.at("data")
        drawn = {n: self.draw(c, steps, at.at(n).numpy()) for n, (c, steps) in self.parts(self.length).items()}
        return LabelledData(
            train=drawn.pop("train"),
            validation=drawn.pop("validation"),
            tests=drawn,
            class_names=self.classes,
            input_names=(*DISTRACTORS, *RELEVANT, BEGIN, END),
            exact="the order of X and Y",
            rule=f"the {self.num_relevant} symbols X or Y in the order in which they came",
        )

    @property
    def classes(self) -> tuple[str, ...]:
        """XX, XY, …"""
        return tuple("".join(order) for order in product(RELEVANT, repeat=self.num_relevant))

    def draw(self, count: int, length: int, rng: np.random.Generator) -> LabelledSet:
        """So many sequences of a length, classes alike."""
        labels = rng.permutation(np.arange(count) % len(self.classes))
        read = rng.integers(0, len(DISTRACTORS), (count, length))
        read[:, 0], read[:, -1] = len(DISTRACTORS) + 2, len(DISTRACTORS) + 3
        for k, (first, after) in enumerate(order_places(length, self.num_relevant)):
            which = labels >> (self.num_relevant - 1 - k) & 1
            read[np.arange(count), rng.integers(first, after, count)] = len(DISTRACTORS) + which
        return labelled_set(
            np.eye(len(DISTRACTORS) + 4, dtype=np.float32)[read],
            labels,
            rules={"the order of X and Y": seen_order(read, self.num_relevant)},
            title=f"{length} steps",
        )


def order_places(length: int, relevant: int) -> list[tuple[int, int]]:
    """Where the symbols that decide may stand in the temporal-order task: first place and the one after the last, each.

    Example:
        >>> order_places(100, 2), order_places(100, 3)
        ([(10, 20), (50, 60)], [(10, 20), (33, 40), (60, 70)])
    """
    shares = ((1, 10, 2, 10), (5, 10, 6, 10)) if relevant == 2 else ((1, 10, 2, 10), (1, 3, 4, 10), (6, 10, 7, 10))
    places = [(max(1, length * a // b), length * c // d) for a, b, c, d in shares]
    return [(first, max(after, first + 1)) for first, after in places]


def seen_order(read: Int[np.ndarray, "N T"], relevant: int) -> Int[np.ndarray, " N"]:
    """The class that the symbols X and Y of sequences of symbol numbers say, by reading them: the task's rule."""
    found = read - len(DISTRACTORS)
    decides = (found == 0) | (found == 1)
    return found[decides].reshape(len(read), relevant) @ (1 << np.arange(relevant)[::-1])


class MemoryDelay(LongRangeSteps):
    """Delayed memory: y_t = x_{t-k}, the input of k steps ago, at every step (Jaeger 2001).

    Inputs are drawn from U(-1, 1), or are signs, independent from step to step, so that no input tells of another, and k numbers
    must be held at any time: a constant has the error Var x = 1/3 (1 for signs).

    Fields:
        length: k >= 1. num_steps: of a sequence; 3k + 20 when None. Answers are asked for from step k on.
        signs: inputs -1 or 1 instead of numbers, so that answers are right or wrong.
        longer: num_steps of the further test part; the delay is the same there.
    """

    length: Positive = 20
    num_steps: Positive | None = None
    signs: bool = False

    def model_post_init(self, context: Any) -> None:
        if self.num_steps is not None and self.num_steps <= self.length:
            raise ConfigError(
                f"task.num_steps is {self.num_steps} with a delay of {self.length}: no answer is asked for",
                f"at least {self.length + 1}",
                "raise task.num_steps, or lower task.length",
            )
        self.refuse_short(self.length + 1)

    def prepare(self, streams: Streams) -> StepData:
        return self.data(
            self.num_steps or 3 * self.length + 20,
            streams,
            input_names=("input",),
            output_names=(f"input of {self.length} steps ago",),
            levels=(-1.0, 1.0) if self.signs else (),
            rule=f"the input of {self.length} steps ago",
        )

    def draw(self, count: int, length: int, rng: np.random.Generator) -> StepSet:
        shape = (count, length, 1)
        inputs = 2.0 * rng.integers(0, 2, shape) - 1 if self.signs else rng.uniform(-1, 1, shape)
        inputs = inputs.astype(np.float32)
        targets = np.zeros_like(inputs)
        targets[:, self.length :] = inputs[:, : -self.length]
        mask = np.arange(length) >= self.length
        age = np.broadcast_to(np.where(mask, self.length, 0)[:, None], shape)
        title = f"{length} steps, each asked for {self.length} steps later"
        return step_set(inputs, targets, mask=np.tile(mask, (count, 1)), age=age, solution=targets, title=title)


def _last(count: int, length: int) -> np.ndarray:
    """(N, T): true at the last step."""
    return np.tile(np.arange(length) == length - 1, (count, 1))


def _at_end(values: np.ndarray, length: int) -> np.ndarray:
    """(N, T, Y): values (N, Y) at the last step, 0 before."""
    found = np.zeros((len(values), length, values.shape[1]), values.dtype)
    found[:, -1] = values
    return found
