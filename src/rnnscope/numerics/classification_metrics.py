"""Scores of class decisions and of class probabilities, and the tests and intervals that belong to them.

Confusion matrices have a row for each true class and a column for each decision. Means over classes are over those that occur.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from scipy import stats
from scipy.signal import fftconvolve

LEAST = 1e-12  # probabilities are not taken for less in a logarithm
GRID = 20_000  # of the distribution of a mean difference, per class
CONFIDENCE_BINS = 10


def confusion_matrix(labels: Int[np.ndarray, " N"], decided: Int[np.ndarray, " N"], num_classes: int) -> Int[np.ndarray, "C C"]:
    """How often each class (row) was taken for each (column).

    Example:
        >>> import numpy as np
        >>> confusion_matrix(np.array([0, 0, 1]), np.array([0, 1, 1]), 2).tolist()
        [[1, 1], [0, 1]]
    """
    return np.bincount(labels * num_classes + decided, minlength=num_classes**2).reshape(num_classes, num_classes)


@dataclass(frozen=True)
class ClassReport:
    """Scores of each class. Attributes: precision TP/(TP+FP), recall TP/(TP+FN), f1 (harmonic mean), support (sequences); (C,) each."""

    precision: Float[np.ndarray, " C"]
    recall: Float[np.ndarray, " C"]
    f1: Float[np.ndarray, " C"]
    support: Int[np.ndarray, " C"]


def class_report(confusion: Int[np.ndarray, "C C"]) -> ClassReport:
    """Precision, recall and F1 of each class; 0 where they would be 0/0 (never decided, or not there).

    Example:
        >>> import numpy as np
        >>> class_report(np.array([[3, 1], [0, 4]])).precision.tolist()
        [1.0, 0.8]
    """
    right = confusion.diagonal().astype(float)
    support, decided = confusion.sum(1), confusion.sum(0)
    precision, recall = right / np.maximum(decided, 1), right / np.maximum(support, 1)
    return ClassReport(precision, recall, 2 * right / np.maximum(decided + support, 1), support)


def decision_scores(confusion: Int[np.ndarray, "C C"]) -> dict[str, float]:
    """Accuracy with its Wilson interval, balanced accuracy, macro precision and F1, Matthews' correlation.

    balanced_accuracy is the mean recall over the classes that occur (macro recall). mcc is Gorodkin's (2004) correlation of
    C x C tables, Matthews' for C = 2; 0 where all decisions, or all labels, are the same.

    Example:
        >>> import numpy as np
        >>> found = decision_scores(np.array([[5, 0], [95, 0]]))
        >>> found["accuracy"], found["balanced_accuracy"], found["mcc"]
        (0.05, 0.5, 0.0)
    """
    report, total = class_report(confusion), int(confusion.sum())
    there = report.support > 0
    right = int(confusion.trace())
    low, high = wilson_interval(right, total)
    truth, decided = report.support.astype(float), confusion.sum(0).astype(float)
    spread = np.sqrt(float((total**2 - decided @ decided) * (total**2 - truth @ truth)))
    return {
        "accuracy": right / total,
        "accuracy_low": low,
        "accuracy_high": high,
        "balanced_accuracy": float(report.recall[there].mean()),
        "mcc": float((right * total - truth @ decided) / spread) if spread else 0.0,
        "macro_precision": float(report.precision[there].mean()),
        "macro_f1": float(report.f1[there].mean()),
    }


def wilson_interval(right: int, total: int, level: float = 0.95) -> tuple[float, float]:
    """Wilson's (1927) interval of a share.

    Example:
        >>> [round(end, 4) for end in wilson_interval(10, 10)]
        [0.7225, 1.0]
    """
    found = stats.binomtest(right, total).proportion_ci(level, method="wilson")
    return float(found.low), float(found.high)


def independence_p(confusion: Int[np.ndarray, "C C"], draws: int, rng: np.random.Generator) -> float:
    """p-value that decisions and labels are independent: how often shuffled labels give a balanced accuracy as high.

    Shuffled labels leave both margins of the table as they are, so tables with these margins are drawn (Patefield 1981).

    Args:
        draws: shuffles, D. The least p-value is 1/(D + 1).

    Example:
        >>> import numpy as np
        >>> independence_p(np.array([[50, 0], [0, 50]]), 999, np.random.default_rng(0))
        0.001
    """
    rows, columns = confusion.sum(1), confusion.sum(0)
    used_rows, used_columns = np.flatnonzero(rows), np.flatnonzero(columns)
    if len(used_rows) < 2 or len(used_columns) < 2:
        return 1.0
    tables = stats.random_table(rows[used_rows], columns[used_columns]).rvs(draws, random_state=rng)
    both = np.intersect1d(used_rows, used_columns)
    at, to = np.searchsorted(used_rows, both), np.searchsorted(used_columns, both)
    shuffled = (tables[:, at, to] / rows[both]).sum(1)
    seen = float((confusion[both, both] / rows[both]).sum())
    return float((1 + (shuffled >= seen - 1e-9).sum()) / (draws + 1))


def paired_p(labels: Int[np.ndarray, " N"], right: Int[np.ndarray, " N"], other: Int[np.ndarray, " N"]) -> tuple[float, float]:
    """Do two classifiers differ in balanced accuracy on the same sequences? McNemar's sign test, stratified by class.

    Of the sequences that only one of them gets right, each is as likely the one's as the other's if they are equally good. So
    the gains in class c are binomial, and their mean over classes of gains minus losses per sequence has a known distribution.

    Args:
        labels: true classes. right, other: 1 where the first, the second, decides right, else 0.

    Returns:
        the difference of balanced accuracy and its two-sided p-value.

    Example:
        >>> import numpy as np
        >>> labels, right = np.zeros(10, int), np.ones(10, int)
        >>> difference, p = paired_p(labels, right, np.repeat([0, 1], [6, 4]))
        >>> round(difference, 2), round(p, 6)  # two sides of 0.5^6
        (0.6, 0.03125)
    """
    density, difference = np.ones(1), 0.0
    classes = np.unique(labels)
    for number in classes:
        rows = labels == number
        gains, losses = int((right > other)[rows].sum()), int((right < other)[rows].sum())
        differing = gains + losses
        difference += (gains - losses) / rows.sum()
        if differing:
            wins = np.arange(differing + 1)
            places = np.round((2 * wins - differing) / rows.sum() * GRID).astype(int) + GRID
            own = np.bincount(places, stats.binom.pmf(wins, differing, 0.5), minlength=2 * GRID + 1)
            density = fftconvolve(density, own)
    middle = (len(density) - 1) / 2
    size = np.abs(np.arange(len(density)) - middle)
    p = float(density[size >= abs(difference) * GRID - len(classes)].sum())
    return float(difference) / len(classes), min(1.0, max(p, 0.0))


def probability_scores(labels: Int[np.ndarray, " N"], probabilities: Float[np.ndarray, "N C"]) -> dict[str, float]:
    """Cross-entropy in nats, area under the ROC curve and expected calibration error of class probabilities.

    auc is the mean over classes of "this class or another" (one against the rest), where both occur; one curve for C = 2.
    calibration_error is Σ_bins share · |accuracy - confidence| over ten bins of the highest probability (Guo et al. 2017).
    """
    chosen = probabilities[np.arange(len(labels)), labels]
    areas = [area for area in class_areas(labels, probabilities) if np.isfinite(area)]
    confidence, accuracy, share = reliability(labels, probabilities)
    found = {
        "cross_entropy": float(-np.log(np.maximum(chosen, LEAST)).mean()),
        "calibration_error": round(float(np.nansum(share * np.abs(accuracy - confidence))), 12),  # less is rounding
    }
    return found | ({"auc": float(np.mean(areas))} if areas else {})


def class_areas(labels: Int[np.ndarray, " N"], probabilities: Float[np.ndarray, "N C"]) -> Float[np.ndarray, " C"]:
    """Area under the ROC curve of each class against the rest: P(its probability is higher in it than outside), ties half.

    NaN for a class that does not occur, or has no rest.
    """
    found = np.full(probabilities.shape[1], np.nan)
    for number in range(len(found)):
        inside = labels == number
        count = int(inside.sum())
        if 0 < count < len(labels):
            ranks = stats.rankdata(probabilities[:, number])
            found[number] = (ranks[inside].sum() - count * (count + 1) / 2) / (count * (len(labels) - count))
    return found


def reliability(
    labels: Int[np.ndarray, " N"], probabilities: Float[np.ndarray, "N C"]
) -> tuple[Float[np.ndarray, " K"], Float[np.ndarray, " K"], Float[np.ndarray, " K"]]:
    """Mean highest probability, share decided right and share of all sequences, in ten bins of the highest probability."""
    highest, right = probabilities.max(1), probabilities.argmax(1) == labels
    bins = np.minimum((highest * CONFIDENCE_BINS).astype(int), CONFIDENCE_BINS - 1)
    counts = np.bincount(bins, minlength=CONFIDENCE_BINS)
    safe = np.where(counts > 0, counts, np.nan)
    confidence = np.bincount(bins, highest, CONFIDENCE_BINS) / safe
    accuracy = np.bincount(bins, right.astype(float), CONFIDENCE_BINS) / safe
    return confidence, accuracy, counts / len(labels)
