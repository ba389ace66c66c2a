"""Whole sequences with a target at every step, or at some: the shared ground of step-by-step tasks, their trainers and scores.

A task that asks something at each step (remember a bit, add two numbers, copy, spot a pattern) fills `StepSet`s and hands them
over as one `StepData`; training and scores need to know no more of it.
"""

import dataclasses
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from rnnscope.core.errors import DataError, ShapeError
from rnnscope.core.fingerprint import digest
from rnnscope.core.interfaces import Batch, BatchSource, Signature, Stream, SupervisedData
from rnnscope.core.parts import moved_parts, named_parts


@dataclass(frozen=True)
class StepSet(BatchSource):
    """The sequences of one part, made by `step_set`.

    Attributes:
        inputs: (N, T, X) float32. targets: (N, T, Y) float32, NaN where nothing is asked: such steps count neither in the loss
            nor in scores.
        age: (N, T, Y), how many steps ago the input came that decides each target, where the task knows.
        solution: (N, T, Y), what the task's own rule answers when it sees the same inputs, where there is such a rule.
        title: what these sequences are, in words.
    """

    inputs: Float[Tensor, "N T X"]
    targets: Float[Tensor, "N T Y"]
    age: Int[np.ndarray, "N T Y"] | None = None
    solution: Float[np.ndarray, "N T Y"] | None = None
    title: str = ""

    def __len__(self) -> int:
        return len(self.inputs)

    @property
    def num_steps(self) -> int:
        """T."""
        return int(self.inputs.shape[1])

    def gather(self, indices: np.ndarray) -> Batch:
        rows = torch.from_numpy(indices.astype(np.int64)).to(self.inputs.device)
        return Batch(self.inputs[rows], self.targets[rows], self.num_steps)

    def to(self, device: torch.device) -> "StepSet":
        return dataclasses.replace(self, inputs=self.inputs.to(device), targets=self.targets.to(device))


def step_set(
    inputs: np.ndarray,
    targets: np.ndarray,
    *,
    lengths: np.ndarray | None = None,
    mask: np.ndarray | None = None,
    age: np.ndarray | None = None,
    solution: np.ndarray | None = None,
    title: str = "",
) -> StepSet:
    """Sequences from arrays, checked.

    Args:
        inputs: (N, T, X), finite; sequences shorter than T are padded at their end, with any finite number.
        targets: (N, T, Y), finite wherever they count.
        lengths: (N,), in 1 … T: steps of each sequence; the targets after them do not count. All T when None.
        mask: (N, T), true at steps whose targets count, e.g. only the last one; all when None.
        age, solution, title: see `StepSet`.

    Raises:
        ShapeError: the arrays do not fit one another. DataError: numbers that are not finite, lengths outside 1 … T, or a
            sequence in which no target counts.

    Example:
        >>> import numpy as np
        >>> found = step_set(np.zeros((2, 5, 1)), np.ones((2, 5, 1)), lengths=np.array([5, 3]))
        >>> found.targets[:, :, 0].isfinite().sum(1).tolist()
        [5, 3]
    """
    if inputs.ndim != 3 or targets.ndim != 3 or inputs.shape[:2] != targets.shape[:2] or 0 in inputs.shape[:2]:
        raise ShapeError(
            f"inputs {inputs.shape} and targets {targets.shape}", "(N, T, X) and (N, T, Y), N and T >= 1", "align them"
        )
    shape = targets.shape
    for name, array, wanted in (
        ("lengths", lengths, shape[:1]),
        ("mask", mask, shape[:2]),
        ("age", age, shape),
        ("solution", solution, shape),
    ):
        if array is not None and array.shape != wanted:
            raise ShapeError(f"{name} {array.shape} beside targets {shape}", f"{wanted}", f"give {name} that shape")
    counts = counted_steps(shape[0], shape[1], lengths, mask)
    if not np.isfinite(inputs).all() or not np.isfinite(targets[counts]).all():
        raise DataError("inputs or targets are NaN or infinite", "finite numbers", "leave steps out with mask or lengths")
    return StepSet(
        torch.from_numpy(inputs.astype(np.float32)),
        torch.from_numpy(np.where(counts[:, :, None], targets, np.nan).astype(np.float32)),
        age,
        None if solution is None else solution.astype(np.float32),
        title,
    )


def counted_steps(count: int, steps: int, lengths: np.ndarray | None, mask: np.ndarray | None) -> np.ndarray:
    """(N, T) truth values: the steps within each sequence's length that the mask lets through."""
    counts = np.ones((count, steps), bool) if mask is None else mask.astype(bool)
    if lengths is not None:
        if lengths.min() < 1 or lengths.max() > steps:
            raise DataError(f"lengths from {lengths.min()} to {lengths.max()}", f"1 to {steps}", "correct the lengths")
        counts = counts & (np.arange(steps) < lengths[:, None])
    empty = np.flatnonzero(~counts.any(1))
    if len(empty):
        raise DataError(f"no target of sequence {empty[0]} counts", "at least one in each", "correct the mask, or leave it out")
    return counts


@dataclass(frozen=True)
class StepData(SupervisedData):
    """Sequences in their parts. The loss is the mean over the targets that count: squared error, or cross-entropy of symbols.

    Attributes:
        train, validation: what training sees and what it is chosen by.
        tests: name -> sequences that training did not see; "test" is the main one, drawn like the training part.
        levels: the values that targets can take, ascending, e.g. (-1, 1): an output decides for the nearest one. Empty where
            targets are any numbers; then there are errors, but no right and wrong.
        exclusive: whether the outputs are logits of symbols of which one is right: then `output_names` are the symbols, targets
            are one-hot vectors (NaN where nothing is asked) and the loss is the cross-entropy in nats, a mean over steps.
        input_names, output_names: one per feature. rule: what a target is, in words.
    """

    train: StepSet
    validation: StepSet | None
    tests: dict[str, StepSet]
    input_names: tuple[str, ...]
    output_names: tuple[str, ...]
    levels: tuple[float, ...] = ()
    exclusive: bool = False
    rule: str = ""
    notes: tuple[str, ...] = field(default=())

    def __post_init__(self) -> None:
        assert "test" in self.tests
        assert all(p.inputs.shape[2] == len(self.input_names) for p in self.parts().values())
        assert all(p.targets.shape[2] == len(self.output_names) for p in self.parts().values())
        assert len(self.levels) != 1
        assert list(self.levels) == sorted(set(self.levels))
        assert not (self.levels and self.exclusive)

    @property
    def signature(self) -> Signature:  # type: ignore[override]
        return Signature(len(self.input_names), len(self.output_names), self.input_names)

    @property
    def monitor(self) -> StepSet:  # type: ignore[override]
        return self.tests["test"]

    @property
    def feedback(self) -> None:  # type: ignore[override]
        """Outputs are answers, not the next inputs: there is no closed loop."""
        return

    def parts(self) -> dict[str, StepSet]:
        """Every part by name."""
        return named_parts(self.train, self.validation, self.tests)

    def to(self, device: torch.device) -> "StepData":
        return dataclasses.replace(self, **moved_parts(self.train, self.validation, self.tests, device))

    def streams(self) -> list[Stream]:
        """None: each sequence starts from the initial state, and no state is carried from one to the next."""
        return []

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        seen = torch.isfinite(targets)
        if self.exclusive:
            lost = -(targets.nan_to_num() * outputs.log_softmax(-1)).sum()
            return lost / seen[..., 0].sum().clamp(min=1)
        error = torch.where(seen, outputs - targets.nan_to_num(), 0.0)
        return error.square().sum() / seen.sum().clamp(min=1)

    def tally(self, outputs: Tensor, targets: Tensor) -> Tensor | None:
        """How many answers are the right symbol, and how many are asked for."""
        if not self.exclusive:
            return None
        asked = torch.isfinite(targets[..., 0])
        right = asked & (outputs.argmax(-1) == targets.nan_to_num().argmax(-1))
        return torch.stack([right.sum(), asked.sum()])

    def rates(self, tally: Tensor) -> dict[str, float]:
        """accuracy: the share of answers that are the right symbol."""
        return {"accuracy": float(tally[0] / tally[1].clamp(min=1))}

    def describe(self) -> dict[str, Any]:
        parts = self.parts()
        targets = {name: part.targets.numpy(force=True) for name, part in parts.items()}
        found: dict[str, Any] = {
            "rule": self.rule,
            "inputs": list(self.input_names),
            "outputs": list(self.output_names),
            "sequences": {name: len(part) for name, part in parts.items()},
            "steps per sequence": {name: part.num_steps for name, part in parts.items()},
            "targets that count": {name: self._counted(values) for name, values in targets.items()},
            "target values": self._values(targets["train"]),
            "oldest deciding input, steps ago": {n: int(p.age.max()) for n, p in parts.items() if p.age is not None},
            "test parts": {name: part.title for name, part in self.tests.items()},
            "fingerprint": self.fingerprint(),
            "notes": list(self.notes),
        }
        return {key: value for key, value in found.items() if value not in ("", {})}

    def _counted(self, targets: np.ndarray) -> int:
        return int(np.isfinite(targets[..., :1] if self.exclusive else targets).sum())

    def _values(self, targets: np.ndarray) -> str:
        if self.exclusive:
            return f"one of {len(self.output_names)} symbols"
        return ", ".join(f"{v:g}" for v in self.levels) or f"{np.nanmin(targets):.4g} to {np.nanmax(targets):.4g}"

    def fingerprint(self) -> str:
        """First 16 digits of the SHA-256 of all inputs and targets."""
        return digest(v for part in self.parts().values() for v in (part.inputs, part.targets))

    def arrays(self) -> dict[str, np.ndarray]:
        kept: dict[str, np.ndarray] = {}
        for name, part in self.parts().items():
            targets = part.targets.numpy(force=True)
            counted = np.isfinite(targets)
            kept[f"{name}_inputs"] = part.inputs.numpy(force=True)
            kept[f"{name}_targets"] = np.where(counted, targets, 0).astype(np.float32)
            if not counted.all():
                kept[f"{name}_counted"] = counted
        return kept
