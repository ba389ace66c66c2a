"""Scores of answers at every step, by how old the deciding input is, and the trivial answers they are compared with."""

import math
import warnings
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from scipy.special import log_softmax

from rnnscope.core.interfaces import ModelResult, Scores
from rnnscope.core.step_data import StepData, StepSet
from rnnscope.core.system import SequenceModel
from rnnscope.numerics.regression import ridge

MOST_ROWS = 100_000  # steps on which a trivial answer is fitted
MOST_SYMBOLS = 20_000  # of them, where symbols are asked for and the fit is a logistic regression
MOST_STEPS = 1 << 16  # steps that a network answers at a time
MOST_BINS, FEWEST = 25, 100  # of the curve over ages: bins, and targets in a bin that is shown
RULE, CONSTANT = "rule", "constant"
ERRORS = {"mse": "mean squared error", "cross_entropy": "cross-entropy"}  # by which answers are judged: key -> label
MOST_PAIRS = 2000  # targets and answers kept for a figure
SURE, RARE = 1e-12, 1e-6  # least probabilities: of a rule that is certain, and of a symbol never seen
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


def fit_short_memory(part: StepSet, latest: int, strength: float, exclusive: bool = False) -> ShortMemory:
    """Ridge regression of the targets on the K latest inputs, on (the first) sequences of a part.

    Args:
        exclusive: targets are one-hot, and the outputs are to be logits: logistic regression instead.
    """
    kept = max(1, MOST_ROWS // part.num_steps)
    targets = part.targets[:kept].numpy(force=True).astype(np.float64)
    counted = np.isfinite(targets).all(-1)
    rows = recent_inputs(part.inputs[:kept].numpy(force=True), latest)[counted]
    if exclusive:
        return ShortMemory(*symbol_logits(rows[:MOST_SYMBOLS], targets[counted][:MOST_SYMBOLS], strength), latest)
    return ShortMemory(*ridge(rows, targets[counted], strength), latest)


def symbol_logits(
    rows: Float[np.ndarray, "N P"], symbols: Float[np.ndarray, "N C"], strength: float
) -> tuple[Float[np.ndarray, "C P"], Float[np.ndarray, " C"]]:
    """W, b of a multinomial logistic regression of one-hot symbols, logits W f + b; features that do not vary have no weight."""
    from sklearn.linear_model import LogisticRegression  # imported here: half a second that most uses do not need

    shares = np.log(np.maximum(symbols.mean(0), RARE))
    weights = np.zeros((symbols.shape[1], rows.shape[1]))
    varies = rows.std(0) > 0 if rows.shape[1] else np.zeros(0, bool)
    present = np.flatnonzero(symbols.any(0))
    if not varies.any() or len(present) < 2:
        return weights, shares
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a fit that has not quite converged is still a baseline
        penalty = max(strength, RARE) * len(rows)
        fitted = LogisticRegression(C=1 / penalty, max_iter=200).fit(rows[:, varies], symbols.argmax(1))
    two = len(present) == 2  # then there is one margin instead of a logit each
    weights[np.ix_(present[1:] if two else present, varies)] = fitted.coef_
    shares[present] = [0.0, float(fitted.intercept_[0])] if two else fitted.intercept_
    return weights, shares


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
        judged = judge(outputs, part, data)
        scores[name] = part_scores(judged, part, data)
        arrays[f"{name}_sequence_error"] = judged.errors.sum((1, 2)) / judged.counted.sum((1, 2))
        arrays[f"{name}_example"] = outputs[0]
        if judged.right is None:
            pairs = np.stack([part.targets.numpy(force=True)[judged.counted], outputs[judged.counted]])
            arrays[f"{name}_pairs"] = pairs[:, :: max(1, pairs.shape[1] // MOST_PAIRS)]
        if judged.age is not None:
            shown = judged.errors if judged.right is None else judged.right.astype(np.float64)
            found = by_age(shown[judged.counted], judged.age[judged.counted])
            arrays[f"{name}_by_age"], arrays[f"{name}_age_edges"] = found
    return ModelResult(scores, arrays)


@dataclass(frozen=True)
class Judged:
    """Answers beside what was asked. E is the number of outputs, or 1 where they are logits of symbols of which one is right.

    Attributes:
        counted: which answers are asked for. errors: squared, or -log of the right symbol's probability; 0 where nothing is asked.
        right: which answers decide right; None where targets are any numbers. age: see `StepSet`.
    """

    counted: Bool[np.ndarray, "N T E"]
    errors: Float[np.ndarray, "N T E"]
    right: Bool[np.ndarray, "N T E"] | None
    age: Int[np.ndarray, "N T E"] | None


def judge(outputs: Float[np.ndarray, "N T Y"], part: StepSet, data: StepData) -> Judged:
    """Errors and decisions of outputs on a part."""
    counted = counted_targets(part)
    if not data.exclusive:
        return Judged(counted, squared_errors(outputs, part), right_answers(outputs, part, data.levels), part.age)
    targets = np.where(counted, part.targets.numpy(force=True), 0.0)
    lost = -(targets * log_softmax(outputs.astype(np.float64), axis=-1)).sum(-1, keepdims=True)
    right = (outputs.argmax(-1) == targets.argmax(-1))[..., None]
    return Judged(counted[..., :1], lost, right, None if part.age is None else part.age[..., :1])


def part_scores(judged: Judged, part: StepSet, data: StepData) -> Scores:
    """Scores on one part, over the targets that count.

    Returns:
        mse, or cross_entropy (nats) of symbols. Where targets are any numbers also r2 = 1 - mse / variance of the targets, where
        they vary. Else also accuracy (share of targets decided right), whole (share of sequences without a mistake) and beyond
        (accuracy on targets whose deciding input is older than any in training, where there are at least 100).
    """
    counted, right = judged.counted, judged.right
    error = float(judged.errors.sum() / counted.sum())
    if right is None:
        targets = part.targets.numpy(force=True).astype(np.float64)
        variance = float(np.nanmean((targets - np.nanmean(targets, (0, 1))) ** 2))
        return {"mse": error} | ({"r2": 1 - error / variance} if variance > 0 else {})
    found = {"cross_entropy" if data.exclusive else "mse": error, "accuracy": float(right[counted].mean())}
    found["whole"] = float((right | ~counted).all((1, 2)).mean())
    if judged.age is not None and data.train.age is not None:
        older = counted & (judged.age > data.train.age.max())
        if older.sum() >= FEWEST:
            found["beyond"] = float(right[older].mean())
    return found


def error_key(scores: Scores) -> str:
    """By which error answers are judged: a key of `ERRORS`."""
    return next(key for key in ERRORS if key in scores)


def certain(solution: Float[np.ndarray, "N T Y"], data: StepData) -> Float[np.ndarray, "N T Y"]:
    """A rule's answers as outputs: themselves, or logits of its symbols."""
    return np.log(np.maximum(solution, SURE)) if data.exclusive else solution


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
    """Means of values over at most 25 bins of age, fewer where there are few values; bins with fewer than 100 of them are NaN.

    Returns:
        means (bins,) and edges (bins + 1,): bin m holds ages edges[m] … edges[m + 1] - 1.
    """
    oldest = int(ages.max())
    width = -(-(oldest + 1) // max(1, min(MOST_BINS, len(ages) // (2 * FEWEST))))
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
    key = error_key(references[CONSTANT].scores[part])
    return min((n for n in references if n != RULE), key=lambda n: references[n].scores[part][key])


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
    return clearly_better(result.arrays[f"{part}_sequence_error"], rival.arrays[f"{part}_sequence_error"])
