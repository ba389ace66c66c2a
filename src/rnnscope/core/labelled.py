"""Sequences with one label each: the shared ground of classification tasks, their trainers and scores.

A task that asks for the class of a whole sequence fills `LabelledSet`s and hands them over as one `LabelledData`. A frame of an
image sequence is one input, flattened; `frame` tells its shape.
"""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import cross_entropy

from rnnscope.core.errors import DataError, ShapeError
from rnnscope.core.fingerprint import digest
from rnnscope.core.interfaces import Batch, BatchSource, Probe, Signature, Stream, SupervisedData
from rnnscope.core.parts import moved_parts, named_parts
from rnnscope.core.system import SequenceModel

MOST_VALUES = 1 << 22  # input values that a network reads at a time


@dataclass(frozen=True)
class LabelledSet(BatchSource):
    """The sequences of one part, made by `labelled_set`.

    Attributes:
        inputs: (N, T, X) float32, zeros after the end of a shorter sequence. labels: (N,), number of each one's class.
        lengths: (N,), steps of each; None: all T.
        kinds: (N,), which kind of example each one is (a planted pattern, a decoy, …), where the task tells; scores are then
            given by kind.
        rules: name -> (N,) labels that a simple rule of the task gives these sequences, for comparison.
        title: what these sequences are, in words.
    """

    inputs: Float[Tensor, "N T X"]
    labels: Int[Tensor, " N"]
    lengths: Int[Tensor, " N"] | None = None
    kinds: Int[np.ndarray, " N"] | None = None
    rules: dict[str, np.ndarray] = field(default_factory=dict)
    title: str = ""

    def __len__(self) -> int:
        return len(self.inputs)

    @property
    def num_steps(self) -> int:
        """T, steps of the longest sequence."""
        return int(self.inputs.shape[1])

    def gather(self, indices: np.ndarray) -> Batch:
        rows = torch.from_numpy(indices.astype(np.int64)).to(self.inputs.device)
        inputs, labels = self.inputs[rows], self.labels[rows][:, None]
        if self.lengths is None:
            return Batch(inputs, labels)
        lengths = self.lengths[rows]
        return Batch(inputs[:, : int(lengths.max())], labels, lengths=lengths)

    def take(self, indices: np.ndarray) -> "LabelledSet":
        """The sequences with these numbers, as a set."""
        rows = torch.from_numpy(np.asarray(indices, np.int64)).to(self.inputs.device)
        return dataclasses.replace(
            self,
            inputs=self.inputs[rows],
            labels=self.labels[rows],
            lengths=None if self.lengths is None else self.lengths[rows],
            kinds=None if self.kinds is None else self.kinds[indices],
            rules={name: answers[indices] for name, answers in self.rules.items()},
        )

    def to(self, device: torch.device) -> "LabelledSet":
        lengths = None if self.lengths is None else self.lengths.to(device)
        return dataclasses.replace(self, inputs=self.inputs.to(device), labels=self.labels.to(device), lengths=lengths)


def labelled_set(
    inputs: np.ndarray,
    labels: np.ndarray,
    *,
    lengths: np.ndarray | None = None,
    kinds: np.ndarray | None = None,
    rules: dict[str, np.ndarray] | None = None,
    title: str = "",
) -> LabelledSet:
    """Sequences from arrays, checked.

    Args:
        inputs: (N, T, X), finite; what stands after the end of a shorter sequence is set to zero.
        labels: (N,), whole numbers from 0. lengths: (N,), in 1 … T; all T when None. kinds, rules, title: see `LabelledSet`.

    Raises:
        ShapeError: the arrays do not fit one another. DataError: numbers that are not finite, labels below 0, lengths outside
            1 … T.

    Example:
        >>> import numpy as np
        >>> found = labelled_set(np.ones((2, 5, 1)), np.array([0, 1]), lengths=np.array([5, 3]))
        >>> found.inputs[1, :, 0].tolist()
        [1.0, 1.0, 1.0, 0.0, 0.0]
    """
    if inputs.ndim != 3 or 0 in inputs.shape:
        raise ShapeError(f"inputs of shape {inputs.shape}", "(sequences, steps, features), none of them 0", "arrange them so")
    count, steps = inputs.shape[:2]
    beside = {"labels": labels, "lengths": lengths, "kinds": kinds, **(rules or {})}
    for name, array in beside.items():
        if array is not None and array.shape != (count,):
            raise ShapeError(f"{name} of shape {array.shape} beside {count} sequences", f"({count},)", "give one per sequence")
    if labels.min() < 0:
        raise DataError(f"the label {labels.min()}", "numbers from 0", "number the classes from 0")
    values = inputs.astype(np.float32)
    if lengths is not None:
        if lengths.min() < 1 or lengths.max() > steps:
            raise DataError(f"lengths from {lengths.min()} to {lengths.max()}", f"1 to {steps}", "correct the lengths")
        values[np.arange(steps) >= lengths[:, None]] = 0.0
    if not np.isfinite(values).all():
        raise DataError("inputs are NaN or infinite", "finite numbers", "fill in what is missing, or leave those sequences out")
    return LabelledSet(
        torch.from_numpy(values),
        torch.from_numpy(labels.astype(np.int64)),
        None if lengths is None else torch.from_numpy(lengths.astype(np.int64)),
        kinds,
        rules or {},
        title,
    )


@torch.no_grad()
def class_probabilities(model: SequenceModel, part: LabelledSet) -> Float[np.ndarray, "N C"]:
    """Softmax, in float64, of a network's logits after each sequence's last step.

    Args:
        model: in evaluation mode. part: its sequences, read in pieces of a size that memory bears.
    """
    size = max(1, MOST_VALUES // (part.num_steps * part.inputs.shape[2]))
    found = [model(b.inputs, b.lengths, last=1)[:, -1].double().softmax(-1) for b in part.batches(size)]
    return torch.cat(found).numpy(force=True)


@dataclass(frozen=True)
class LabelledData(SupervisedData):
    """Labelled sequences in their parts. The loss is the cross-entropy of the class logits, in nats.

    Attributes:
        train, validation: what training sees and what it is chosen by.
        tests: name -> sequences that training did not see; "test" is the main one, drawn like the training part.
        class_names: one per class. input_names: one per feature.
        kind_names: of the kinds of examples, where the task tells them apart.
        exact: name of the rule that is right by definition, a ceiling; "" where there is none.
        frame: (channels, height, width) where every input is a flattened image; () otherwise.
        class_weights: weight of each class in the loss; () for equal ones.
        mean, sd: (X,), what was subtracted from raw inputs and what they were then divided by (fitted on the training part), so
            that new sequences can be scaled alike.
        rule: what a label means, in words. notes: for the data report.
        boundary: (w_1 … w_X, c) where the second class is w·x > c of the last raw input; () where the rule is another.
        boundary_width: of the transition, σ((w·x - c) / width); 0 where it is sharp.
    """

    train: LabelledSet
    validation: LabelledSet | None
    tests: dict[str, LabelledSet]
    class_names: tuple[str, ...]
    input_names: tuple[str, ...]
    kind_names: tuple[str, ...] = ()
    exact: str = ""
    frame: tuple[int, ...] = ()
    class_weights: tuple[float, ...] = ()
    mean: np.ndarray | None = None
    sd: np.ndarray | None = None
    rule: str = ""
    notes: tuple[str, ...] = ()
    boundary: tuple[float, ...] = ()
    boundary_width: float = 0.0

    def __post_init__(self) -> None:
        assert "test" in self.tests
        assert len(self.boundary) in (0, len(self.input_names) + 1)
        assert all(p.inputs.shape[2] == len(self.input_names) for p in self.parts().values())
        assert all(int(p.labels.max()) < len(self.class_names) for p in self.parts().values())
        assert len(self.class_weights) in (0, len(self.class_names))
        present = torch.unique(self.train.labels).tolist()
        if len(present) < 2:
            raise DataError(
                f"every sequence of the training part is of class '{self.class_names[present[0]]}'",
                "at least two classes",
                "give sequences of other classes, or another split",
            )
        for name, part in self.parts().items():
            unseen = sorted({*torch.unique(part.labels).tolist()} - {*present})
            if unseen:
                names = ", ".join(f"'{self.class_names[k]}'" for k in unseen)
                raise DataError(
                    f"the {name} part has sequences of class {names}, and the training part has none",
                    "every class in the training part",
                    "leave that class out, or split so that every part has every class",
                )

    @property
    def signature(self) -> Signature:  # type: ignore[override]
        return Signature(len(self.input_names), len(self.class_names), self.input_names, self.frame)

    @property
    def monitor(self) -> LabelledSet:  # type: ignore[override]
        return self.tests["test"]

    @property
    def feedback(self) -> None:  # type: ignore[override]
        """Logits are no inputs: there is no closed loop."""
        return

    def parts(self) -> dict[str, LabelledSet]:
        """Every part by name."""
        return named_parts(self.train, self.validation, self.tests)

    def to(self, device: torch.device) -> "LabelledData":
        return dataclasses.replace(self, **moved_parts(self.train, self.validation, self.tests, device))

    def streams(self) -> list[Stream]:
        """None: each sequence starts from the initial state, and no state is carried from one to the next."""
        return []

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        weights = outputs.new_tensor(self.class_weights) if self.class_weights else None
        losses = cross_entropy(outputs.reshape(-1, outputs.shape[-1]), targets.reshape(-1), weights, reduction="none")
        # not divided by the batch's sum of weights, as torch does: batches without the rare class would then count in full
        return losses.mean()

    def tally(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Who was taken for whom, (C, C): rows true classes, columns decisions."""
        size = outputs.shape[-1]
        cells = targets.reshape(-1) * size + outputs.detach().reshape(-1, size).argmax(1)
        return outputs.new_zeros(size * size).index_add_(0, cells, outputs.new_ones(len(cells))).reshape(size, size)

    def rates(self, tally: Tensor) -> dict[str, float]:
        """accuracy, and recall averaged over the classes that occur (macro recall, balanced accuracy)."""
        right, counts = tally.diagonal(), tally.sum(1)
        recalls = right[counts > 0] / counts[counts > 0]
        return {"accuracy": float(right.sum() / counts.sum()), "recall": float(recalls.mean())}

    def probe(self, num_sequences: int, rng: torch.Generator) -> Probe:
        """Sequences of the training part at their full length: the longest ones first where lengths differ.

        They are cut to the shortest of them then, so that their last step is not the one whose class is asked for: no targets.
        """
        chosen = torch.randperm(len(self.train), generator=rng)
        if self.train.lengths is not None:
            chosen = chosen[self.train.lengths.cpu()[chosen].argsort(descending=True, stable=True)]
        rows = chosen[:num_sequences].to(self.train.inputs.device)
        inputs = self.train.inputs[rows].cpu()
        if self.train.lengths is None:
            return Probe(inputs, self.train.labels[rows, None].cpu())
        return Probe(inputs[:, : int(self.train.lengths.cpu()[chosen[:num_sequences]].min())])

    def describe(self) -> dict[str, Any]:
        parts = self.parts()
        found: dict[str, Any] = {
            "rule": self.rule,
            "classes": list(self.class_names),
            "inputs": list(self.input_names) if len(self.input_names) <= 20 else len(self.input_names),
            "frames (channels, height, width)": list(self.frame),
            "sequences": {name: len(part) for name, part in parts.items()},
            "steps per sequence": {name: _lengths(part) for name, part in parts.items()},
            "sequences per class": {name: {_spoken(c): n for c, n in self.counts(p).items()} for name, p in parts.items()},
            "test parts": {name: part.title for name, part in self.tests.items() if part.title},
            "fingerprint": self.fingerprint(),
            "notes": list(self.notes),
        }
        return {key: value for key, value in found.items() if value not in ("", {}, [])}

    def counts(self, part: LabelledSet) -> dict[str, int]:
        """Class name -> how many sequences of a part are of that class."""
        numbers = torch.bincount(part.labels, minlength=len(self.class_names)).tolist()
        return dict(zip(self.class_names, numbers, strict=True))

    def fingerprint(self) -> str:
        """First 16 digits of the SHA-256 of all inputs and labels."""
        return digest(v for part in self.parts().values() for v in (part.inputs, part.labels))

    def arrays(self) -> dict[str, np.ndarray]:
        kept: dict[str, np.ndarray] = {}
        for name, part in self.parts().items():
            kept[f"{name}_inputs"] = part.inputs.numpy(force=True)
            kept[f"{name}_labels"] = part.labels.numpy(force=True)
            if part.lengths is not None:
                kept[f"{name}_lengths"] = part.lengths.numpy(force=True)
            if part.kinds is not None:
                kept[f"{name}_kinds"] = part.kinds
        return kept


ClassWeights = Literal["none", "balanced"]


def class_weights(labels: Int[np.ndarray, " N"], num_classes: int, choice: ClassWeights = "balanced") -> tuple[float, ...]:
    """Weights of classes in a loss: N / (C n_c), so that each class counts alike; () for "none".

    Args:
        labels: of the training part. num_classes: C; a class without sequences gets weight 0.

    Example:
        >>> import numpy as np
        >>> class_weights(np.array([0, 1, 1, 1]), 2)
        (2.0, 0.6666666666666666)
    """
    if choice == "none":
        return ()
    counts = np.bincount(labels, minlength=num_classes)
    present = int((counts > 0).sum())
    return tuple(float(len(labels) / (present * n)) if n else 0.0 for n in counts)


def stratified_parts(
    groups: Int[np.ndarray, " N"], shares: Sequence[float], rng: np.random.Generator
) -> list[Int[np.ndarray, " M"]]:
    """Numbers 0 … N-1 dealt out so that every group has (nearly) the same share in each part; each part in random order.

    A group too small for its share in every part still gives its first sequences to the first part with a share.

    Args:
        groups: by what to stratify, e.g. the labels. shares: of the parts, in order; they sum to 1.

    Example:
        >>> import numpy as np
        >>> parts = stratified_parts(np.array([0] * 10 + [1] * 20), (0.8, 0.2), np.random.default_rng(0))
        >>> [len(part) for part in parts]
        [24, 6]
    """
    edges = np.cumsum(np.asarray(shares, float))[:-1]
    dealt: list[list[np.ndarray]] = [[] for _ in shares]
    for group in np.unique(groups):
        members = rng.permutation(np.flatnonzero(groups == group))
        cuts = np.maximum(np.round(edges * len(members)).astype(int), 1)
        for part, piece in zip(dealt, np.split(members, cuts), strict=True):
            part.append(piece)
    return [rng.permutation(np.concatenate(part)) for part in dealt]


def _spoken(name: str) -> str:
    """A class's name beside a number: one that is a number itself is called "class 1"."""
    return f"class {name}" if name.lstrip("+-").replace(".", "", 1).isdigit() else name


def _lengths(part: LabelledSet) -> str:
    if part.lengths is None:
        return str(part.num_steps)
    shortest, longest = int(part.lengths.min()), int(part.lengths.max())
    return str(longest) if shortest == longest else f"{shortest} to {longest}"
