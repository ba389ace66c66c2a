"""Decisions on labelled sequences: of a network, of baselines, of a task's rules; their scores and how they compare."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from rnnscope.core.interfaces import ModelResult, Scores
from rnnscope.core.labelled import LabelledData, LabelledSet, class_probabilities
from rnnscope.core.system import SequenceModel
from rnnscope.numerics.classification_metrics import (
    confusion_matrix,
    decision_scores,
    independence_p,
    paired_p,
    probability_scores,
)

CLEAR = 0.01  # p-value below which a difference is called one
MAJORITY, SUMMARIES = "majority", "summaries"


@dataclass(frozen=True)
class Answers:
    """What one classifier says of one part. Attributes: decided (N,), numbers of classes; probabilities (N, C), where it gives any."""

    decided: Int[np.ndarray, " N"]
    probabilities: Float[np.ndarray, "N C"] | None = None


def network_answers(model: SequenceModel, part: LabelledSet) -> Answers:
    """Class probabilities from the logits after each sequence's last step."""
    model.eval()
    probabilities = np.nan_to_num(class_probabilities(model, part), nan=0.0)
    return Answers(probabilities.argmax(1), probabilities)


def result_of(answers: dict[str, Answers], data: LabelledData, rng: np.random.Generator, draws: int) -> ModelResult:
    """Scores and arrays of one classifier; `answers` by the name of the part."""
    scores: dict[str, Scores] = {}
    arrays: dict[str, np.ndarray] = {}
    for name, found in answers.items():
        part = data.parts()[name]
        labels = part.labels.numpy(force=True)
        confusion = confusion_matrix(labels, found.decided, len(data.class_names))
        scores[name] = decision_scores(confusion)
        if found.probabilities is not None:
            scores[name] |= probability_scores(labels, found.probabilities)
            arrays[f"{name}_probabilities"] = found.probabilities
        arrays[f"{name}_decided"] = found.decided
        if name in data.tests:
            scores[name]["p_independent"] = independence_p(confusion, draws, rng)
            by_kind = kind_scores(found.decided == labels, part, data)
            if by_kind:
                scores[f"{name} by kind"] = by_kind
                scores[name]["worst_kind"] = min(by_kind.values())
    for name in data.tests:
        if "train" in scores:
            scores[name]["train_accuracy"] = scores["train"]["accuracy"]
    return ModelResult(scores, arrays)


def kind_scores(right: np.ndarray, part: LabelledSet, data: LabelledData) -> Scores:
    """Share decided right of each kind of example, by its name, where there are at least two."""
    found = {name: float(right[rows].mean()) for name, rows in rows_by_kind(part, data)}
    return found if len(found) > 1 else {}


def rows_by_kind(part: LabelledSet, data: LabelledData) -> Iterator[tuple[str, np.ndarray]]:
    """Name and sequence numbers of every kind that occurs in a part."""
    if part.kinds is None or not data.kind_names:
        return
    for number in np.unique(part.kinds):
        yield data.kind_names[number], np.flatnonzero(part.kinds == number)


def label(name: str) -> str:
    """A baseline's name in words."""
    if name.startswith("latest"):
        number = int(name.removeprefix("latest"))
        return f"logistic regression on the {f'{number} latest inputs' if number > 1 else 'last input'}"
    return {MAJORITY: "majority class", SUMMARIES: "logistic regression on summaries"}.get(name, name)


def trivial(references: dict[str, ModelResult], data: LabelledData) -> list[str]:
    """The references that compete: all but the exact rule."""
    return [name for name in references if name != data.exact]


def best_trivial(part: str, references: dict[str, ModelResult], data: LabelledData) -> str:
    """The baseline or simple rule with the highest balanced accuracy on a part; the simplest one where several share it."""
    return max(trivial(references, data), key=lambda n: round(references[n].scores[part]["balanced_accuracy"], 9))


def difference(own: ModelResult, other: ModelResult, part: str, data: LabelledData) -> tuple[float, float]:
    """How much higher the one's balanced accuracy is than the other's on the same sequences, and the p-value."""
    labels = data.tests[part].labels.numpy(force=True)
    right = [(r.arrays[f"{part}_decided"] == labels).astype(int) for r in (own, other)]
    return paired_p(labels, *right)


def standing(result: ModelResult, references: dict[str, ModelResult], part: str, data: LabelledData) -> int:
    """1: clearly better than the best baseline on a part; -1: clearly worse; 0: neither."""
    rival = references[best_trivial(part, references, data)]
    gain, p = difference(result, rival, part, data)
    return 0 if p >= CLEAR else 1 if gain > 0 else -1


def beats_trivial(result: ModelResult, references: dict[str, ModelResult], data: LabelledData) -> bool:
    """Whether a network is clearly better than every baseline on every test part."""
    return all(standing(result, references, part, data) > 0 for part in data.tests)
