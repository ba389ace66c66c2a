"""Scores of answers at every step, by how old the deciding input is, and the trivial answers they are compared with."""

import math
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int

from rnnscope.core.interfaces import ModelResult, Scores
from rnnscope.core.step_data import StepData, StepSet
from rnnscope.core.system import SequenceModel
from rnnscope.numerics.regression import ridge

MOST_ROWS = 100_000  # steps on which a trivial answer is fitted
MOST_STEPS = 1 << 16  # steps that a network answers at a time
MOST_BINS, FEWEST = 25, 100  # of the curve over ages: bins, and targets in a bin that is shown
RULE, CONSTANT = "rule", "constant"
CLEAR = 2.0  # standard errors of the mean paired difference


@dataclass(frozen=True)
class ShortMemory:
    """y_t = b + Σ_{k<K} W_k x_{t-k}, inputs before the first being zero: the best linear answer from the K latest inputs.

    Attributes:
        weights: (Y, K·X), newest input first; K = 0 leaves the constant. intercept: (Y,). latest: K.
    """

    weights: Float[np.ndarray, "Y P"]
    intercept: Float[np.ndarray, " Y"]
    latest: int

    def answers(self, inputs: Float[np.ndarray, "N T X"]) -> Float[np.ndarray, "N T Y"]:
        """Outputs for every step of every sequence."""
        return recent_inputs(inputs, self.latest) @ self.weights.T + self.intercept


def recent_inputs(inputs: Float[np.ndarray, "N T X"], latest: int) -> Float[np.ndarray, "N T P"]:
    """x_t, x_{t-1}, …, x_{t-K+1} side by side, (N, T, K·X); zeros before the first."""
    count, steps, width = inputs.shape
    found = np.zeros((count, steps, latest * width))
    for k in range(min(latest, steps)):
        found[:, k:, k * width : (k + 1) * width] = inputs[:, : steps - k]
    return found


def fit_short_memory(part: StepSet, latest: int, strength: float) -> ShortMemory:
    """Ridge regression of the targets on the K latest inputs, on (the first) sequences of a part."""
    kept = max(1, MOST_ROWS // part.num_steps)
    targets = part.targets[:kept].numpy(force=True).astype(np.float64)
    counted = np.isfinite(targets).all(-1)
    rows = recent_inputs(part.inputs[:kept].numpy(force=True), latest)[counted]
    return ShortMemory(*ridge(rows, targets[counted], strength), latest)


@torch.no_grad()
def network_answers(model: SequenceModel, inputs: torch.Tensor) -> Float[np.ndarray, "N T Y"]:
    """Outputs for every step of every sequence, each from the initial state."""
    model.eval()
    size = max(1, MOST_STEPS // inputs.shape[1])
    return np.concatenate([model(piece).numpy(force=True) for piece in inputs.split(size)]).astype(np.float64)


def decide(values: np.ndarray, levels: tuple[float, ...]) -> np.ndarray:
    """Number of the level nearest to each value; levels ascend."""
    edges = (np.array(levels[1:]) + np.array(levels[:-1])) / 2
    return np.searchsorted(edges, values)


def result_of(answers: dict[str, np.ndarray], data: StepData) -> ModelResult:
    """Scores and arrays of one answerer: `answers` holds its outputs (N, T, Y) by the name of the test part."""
    scores: dict[str, Scores] = {}
    arrays: dict[str, np.ndarray] = {}
    for name, outputs in answers.items():
        part = data.tests[name]
        counted, errors = counted_targets(part), squared_errors(outputs, part)
        right = right_answers(outputs, part, data.levels)
        scores[name] = part_scores(outputs, part, right, data.train.age)
        arrays[f"{name}_sequence_mse"] = errors.sum((1, 2)) / counted.sum((1, 2))
        arrays[f"{name}_example"] = outputs[0]
        if part.age is not None:
            shown = errors if right is None else right.astype(np.float64)
            arrays[f"{name}_by_age"], arrays[f"{name}_age_edges"] = by_age(shown[counted], part.age[counted])
    return ModelResult(scores, arrays)


def part_scores(
    outputs: Float[np.ndarray, "N T Y"],
    part: StepSet,
    right: Bool[np.ndarray, "N T Y"] | None,
    trained_age: Int[np.ndarray, "M U Y"] | None,
) -> Scores:
    """Scores on one part, over the targets that count.

    Args:
        right: which outputs decide for the right level; None where there are no levels.
        trained_age: ages in the training part.

    Returns:
        mse. Without levels also r2 = 1 - mse / variance of the targets, where they vary. With levels also accuracy (share of
        targets decided right), whole (share of sequences without a mistake) and beyond (accuracy on targets whose deciding
        input is older than any in training, where there are at least 100).
    """
    counted = counted_targets(part)
    mse = float(squared_errors(outputs, part).sum() / counted.sum())
    if right is None:
        targets = part.targets.numpy(force=True).astype(np.float64)
        variance = float(np.nanmean((targets - np.nanmean(targets, (0, 1))) ** 2))
        return {"mse": mse} | ({"r2": 1 - mse / variance} if variance > 0 else {})
    found = {"mse": mse, "accuracy": float(right[counted].mean()), "whole": float((right | ~counted).all((1, 2)).mean())}
    if part.age is not None and trained_age is not None:
        older = counted & (part.age > trained_age.max())
        if older.sum() >= FEWEST:
            found["beyond"] = float(right[older].mean())
    return found


def counted_targets(part: StepSet) -> Bool[np.ndarray, "N T Y"]:
    """Which targets count."""
    return torch.isfinite(part.targets).numpy(force=True)


def squared_errors(outputs: Float[np.ndarray, "N T Y"], part: StepSet) -> Float[np.ndarray, "N T Y"]:
    """(output - target)², 0 where the target does not count."""
    return np.where(counted_targets(part), outputs - part.targets.numpy(force=True), 0.0) ** 2


def right_answers(
    outputs: Float[np.ndarray, "N T Y"], part: StepSet, levels: tuple[float, ...]
) -> Bool[np.ndarray, "N T Y"] | None:
    """Which outputs are nearest to their target's level; None where there are no levels."""
    return decide(outputs, levels) == decide(part.targets.numpy(force=True), levels) if levels else None


def by_age(values: Float[np.ndarray, " M"], ages: Int[np.ndarray, " M"]) -> tuple[np.ndarray, np.ndarray]:
    """Means of values over bins of age; bins with fewer than 100 of them are NaN.

    Returns:
        means (bins,) and edges (bins + 1,): bin m holds ages edges[m] … edges[m + 1] - 1.
    """
    oldest = int(ages.max())
    width = -(-(oldest + 1) // MOST_BINS)
    edges = np.arange(0, oldest + width + 1, width)
    which, bins = ages // width, len(edges) - 1
    counts = np.bincount(which, minlength=bins)
    totals = np.bincount(which, weights=values, minlength=bins)
    return np.where(counts >= FEWEST, totals / np.maximum(counts, 1), np.nan), edges


def label(name: str) -> str:
    """An answerer's name in tables and legends."""
    if name.startswith("latest"):
        number = int(name.removeprefix("latest"))
        return "readout of the present input" if number == 1 else f"readout of the {number} latest inputs"
    return {RULE: "the task's own rule", CONSTANT: "constant"}.get(name, name)


def best_trivial(part: str, references: dict[str, ModelResult]) -> str:
    """The trivial answer with the smallest error on a part."""
    return min((n for n in references if n != RULE), key=lambda n: references[n].scores[part]["mse"])


def clearly_better(own: np.ndarray, other: np.ndarray) -> int:
    """1: smaller errors, by two standard errors of the mean paired difference over sequences; -1: larger; 0: neither.

    Errors that left the finite numbers are larger than any.
    """
    if not np.isfinite(own).all():
        return -1
    difference = other - own
    mean = float(difference.mean())
    error = float(difference.std(ddof=1)) / math.sqrt(len(difference)) if len(difference) > 1 else math.inf
    return int(np.sign(mean)) if abs(mean) > CLEAR * error else 0


def standing(result: ModelResult, references: dict[str, ModelResult], part: str) -> int:
    """`clearly_better` of a network against the best trivial answer."""
    rival = references[best_trivial(part, references)]
    return clearly_better(result.arrays[f"{part}_sequence_mse"], rival.arrays[f"{part}_sequence_mse"])
