"""Tests and intervals for comparing forecasts."""

import numpy as np
from jaxtyping import Float
from scipy import stats


def diebold_mariano(loss_a: Float[np.ndarray, " N"], loss_b: Float[np.ndarray, " N"]) -> tuple[float, float]:
    """Is forecast a better than b? The mean loss difference over its Newey-West standard error, two-sided.

    The bandwidth is floor(4 (N/100)^(2/9)) lags with Bartlett weights, and the statistic is referred to Student's t with
    N - 1 degrees of freedom (Diebold & Mariano 1995; Harvey, Leybourne & Newbold 1997).

    Args:
        loss_a, loss_b: losses of the same steps, e.g. squared errors; N >= 3.

    Returns:
        statistic (negative: a is better) and p-value; (0, 1) where the losses are equal throughout.
    """
    difference = loss_a - loss_b
    count = len(difference)
    if count < 3 or not np.any(difference):
        return 0.0, 1.0
    centered = difference - difference.mean()
    variance = float(centered @ centered) / count
    lags = int(4 * (count / 100) ** (2 / 9))
    for lag in range(1, min(lags, count - 1) + 1):
        variance += 2 * (1 - lag / (lags + 1)) * float(centered[lag:] @ centered[:-lag]) / count
    if variance <= 0:
        return 0.0, 1.0
    statistic = float(difference.mean() / np.sqrt(variance / count))
    return statistic, float(2 * stats.t.sf(abs(statistic), count - 1))


def conformal_quantile(scores: Float[np.ndarray, " N"], level: float) -> float:
    """The ceil((N + 1)·level)-th smallest score: split-conformal coverage >= level for exchangeable data.

    Infinite where N is too small for the level (Vovk et al. 2005; Lei et al. 2018). level <= 0 gives 0, level >= 1 infinity.
    """
    rank = int(np.ceil((len(scores) + 1) * level))
    if rank <= 0:
        return 0.0
    return float(np.partition(scores, rank - 1)[rank - 1]) if rank <= len(scores) else float("inf")


def adaptive_halfwidths(
    past: Float[np.ndarray, " M"], errors: Float[np.ndarray, " N"], level: float, rate: float = 0.05, memory: int = 500
) -> Float[np.ndarray, " N"]:
    """Half-widths of one-step intervals that adapt to what was observed (Gibbs & Candès 2021).

    At step t the half-width is the quantile 1 - a_t of the latest `memory` absolute errors before t; then
    a_{t+1} = a_t + rate·(1 - level - miss_t). Where a_t falls below zero, the largest of these errors times 1 - 10 a_t is
    taken, so that misses cannot go on for ever: long-run coverage tends to `level` whatever the errors do.

    Args:
        past: absolute errors before the first step (calibration), at least one. errors: absolute errors of the steps, in
            order; the half-width of a step uses only earlier ones. level: in (0, 1). rate: > 0.
    """
    known = np.concatenate([past[-memory:], errors])
    allowed = 1 - level
    widths = np.empty(len(errors))
    for t, error in enumerate(errors):
        end = len(known) - len(errors) + t
        recent = known[max(0, end - memory) : end]
        highest = len(recent) / (len(recent) + 1)
        widths[t] = conformal_quantile(recent, min(1 - allowed, highest)) * (1 + 10 * max(0.0, -allowed))
        allowed = min(1.0, allowed + rate * (1 - level - float(error > widths[t])))
    return widths
