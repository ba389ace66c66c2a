"""How well scores and alarms fit the steps that are marked as anomalous."""

import numpy as np
from jaxtyping import Bool, Float
from scipy import stats
from sklearn.metrics import average_precision_score, precision_recall_curve

CUTS = 250
FEWEST_RANGES, FEWEST_BLOCKS, MOST_BLOCKS = 5, 8, 25


def ranges_of(marks: Bool[np.ndarray, " T"]) -> list[tuple[int, int]]:
    """Runs of marked steps as (first, one past the last).

    Example:
        >>> import numpy as np
        >>> ranges_of(np.array([False, True, True, False, True]))
        [(1, 3), (4, 5)]
    """
    edges = np.flatnonzero(np.diff(np.concatenate([[False], marks, [False]]).astype(np.int8)))
    return list(zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True))


def alarm_scores(alarms: Bool[np.ndarray, " T"], marks: Bool[np.ndarray, " T"]) -> dict[str, float]:
    """Precision, recall and F1 of alarms, step by step and by range, and how many marked ranges were met at all.

    By range (Tatbul et al. 2018, without a bonus for mere existence or position): recall is the mean over marked ranges of their
    share that is alarmed, precision the mean over runs of alarms of their share that is marked, each divided by the number of
    runs on the other side that it is torn into. Without alarms precision is 0; so is F1.

    Example:
        >>> import numpy as np
        >>> found = alarm_scores(np.array([0, 1, 1, 0, 0, 1], bool), np.array([0, 0, 1, 1, 0, 0], bool))
        >>> found["precision"], found["recall"], found["ranges_found"]
        (0.3333333333333333, 0.5, 1.0)
    """
    both = int((alarms & marks).sum())
    precision, recall = both / max(1, int(alarms.sum())), both / max(1, int(marks.sum()))
    runs, true = ranges_of(alarms), ranges_of(marks)
    range_precision, range_recall = _overlap(runs, true), _overlap(true, runs)
    return {
        "precision": precision,
        "recall": recall,
        "f1": _f1(precision, recall),
        "range_precision": range_precision,
        "range_recall": range_recall,
        "range_f1": _f1(range_precision, range_recall),
        "ranges_found": sum(bool(alarms[a:b].any()) for a, b in true) / max(1, len(true)),
    }


def _f1(precision: float, recall: float) -> float:
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


def _overlap(ranges: list[tuple[int, int]], others: list[tuple[int, int]]) -> float:
    """Mean over ranges of their share covered by the others, over the number of these that touch it."""
    shares = []
    for a, b in ranges:
        covered = [max(0, min(b, d) - max(a, c)) for c, d in others]
        touching = sum(part > 0 for part in covered)
        shares.append(sum(covered) / (b - a) / max(1, touching))
    return float(np.mean(shares)) if shares else 0.0


def ranking_scores(scores: Float[np.ndarray, " T"], marks: Bool[np.ndarray, " T"], buffer: int) -> dict[str, float]:
    """How well a score ranks marked steps first, without a threshold.

    `average_precision` is Σ (R_n - R_{n-1}) P_n over thresholds (scikit-learn's); `vus_pr` see there; `best_f1` is the highest F1 over
    all thresholds, which only someone who knows the marks can choose: an oracle's.

    Args:
        scores: finite. marks: at least one step marked and one not. buffer: longest one of `vus_pr`, in steps.
    """
    precision, recall, _ = precision_recall_curve(marks, scores)
    f1 = 2 * precision * recall / np.maximum(precision + recall, 1e-300)
    return {
        "average_precision": float(average_precision_score(marks, scores)),
        "vus_pr": vus_pr(scores, marks, buffer),
        "best_f1": float(f1.max()),
    }


def vus_pr(scores: Float[np.ndarray, " T"], marks: Bool[np.ndarray, " T"], buffer: int, cuts: int = CUTS) -> float:
    """Volume under the surface of precision, recall and buffer length (Paparrizos et al. 2022).

    For a buffer of ℓ steps, a step at distance d <= ℓ/2 beside a marked range counts as marked with weight sqrt(1 - d/ℓ). With
    these weights w, alarms a and P = (Σ marks + Σ w)/2: precision Σ w a / Σ a; recall min(1, Σ w a / P) times the share of (widened)
    ranges that hold an alarm. The area under precision over recall is averaged over ℓ = 0 … `buffer`.

    Args:
        buffer: longest ℓ; the usual choice is the period of the series. cuts: thresholds, evenly spaced in rank.

    Example:
        >>> import numpy as np
        >>> marks = np.arange(100) // 10 == 4
        >>> round(vus_pr(marks + 0.0, marks, 0), 3), vus_pr(1.0 - marks, marks, 0) < 0.2
        (1.0, True)
    """
    order = np.sort(scores)[::-1]
    places = np.unique(np.linspace(0, len(scores) - 1, min(cuts, len(scores))).astype(int))
    thresholds = order[places]
    sizes = np.searchsorted(-order, -thresholds, side="right")  # alarms at each threshold, ties included
    first = np.argsort(-scores, kind="stable")
    areas = []
    for length in range(buffer + 1):
        weights = widened(marks, length)
        hits = np.cumsum(weights[first])[sizes - 1]
        peaks = np.array([scores[a:b].max() for a, b in ranges_of(weights > 0)])
        met = (peaks[:, None] >= thresholds).mean(0)
        recall = np.minimum(hits / ((marks.sum() + weights.sum()) / 2), 1.0) * met
        areas.append(float(np.diff(recall, prepend=0.0) @ (hits / sizes)))
    return float(np.mean(areas))


def widened(marks: Bool[np.ndarray, " T"], length: int) -> Float[np.ndarray, " T"]:
    """Weights of steps: 1 where marked, sqrt(1 - d/ℓ) at distance d <= ℓ/2 from a marked range, the sum at most 1."""
    weights = marks.astype(float)
    half = length // 2
    if half == 0:
        return weights
    slope = np.sqrt(1 - np.arange(1, half + 1) / length)
    for a, b in ranges_of(marks):
        after = min(half, len(marks) - b)
        before = min(half, a)
        weights[b : b + after] += slope[:after]
        weights[a - before : a] += slope[:before][::-1]
    return np.minimum(weights, 1.0)


def precision_gap(
    scores: Float[np.ndarray, " T"], others: Float[np.ndarray, " T"], marks: Bool[np.ndarray, " T"], reach: int
) -> tuple[float, float] | None:
    """95 % interval of the difference of two scores' average precisions, by the jackknife over blocks of steps.

    d ± t · sqrt((K - 1)/K · Σ_k (d_k - mean d)²), d_k the difference without the k-th of K blocks, t the quantile of Student's law with
    K - 1 degrees of freedom.

    Args:
        scores, others: (T,), finite. marks: (T,). reach: steps over which one anomaly is felt; a block is at least so long as that and the
            longest marked range together, so that blocks have little to do with one another.

    Returns:
        (low, high); None with fewer than 5 marked ranges, or no room for 8 blocks: then there is nothing to judge the scatter by.

    Source: Künsch (1989), the delete-a-group form.

    Example:
        >>> import numpy as np
        >>> rng, marks = np.random.default_rng(0), np.arange(2000) % 100 < 5
        >>> low, high = precision_gap(marks + rng.normal(size=2000), rng.normal(size=2000), marks, 5)
        >>> 0 < low < high
        True
    """
    ranges = ranges_of(marks)
    if len(ranges) < FEWEST_RANGES:
        return None
    blocks = min(MOST_BLOCKS, len(marks) // (reach + max(b - a for a, b in ranges)))
    if blocks < FEWEST_BLOCKS:
        return None
    steps = np.arange(len(marks)) * blocks // len(marks)
    left = []
    for block in range(blocks):
        kept = steps != block
        left.append(average_precision_score(marks[kept], scores[kept]) - average_precision_score(marks[kept], others[kept]))
    found = average_precision_score(marks, scores) - average_precision_score(marks, others)
    half = stats.t.ppf(0.975, blocks - 1) * np.sqrt((blocks - 1) * np.var(left))
    return float(max(-1.0, found - half)), float(min(1.0, found + half))
