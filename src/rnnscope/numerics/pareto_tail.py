"""The tail of a distribution beyond a high threshold: a generalised Pareto law with its uncertainty."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Float

SHAPES = np.linspace(-0.8, 1.6, 41) + 1e-7  # never exactly 0, where the law is the limit, an exponential
SPREAD, WIDTHS = 6.0, np.linspace(-1.0, 1.0, 31)
EXCESSES = 1.6  # times sqrt(M)


@dataclass(frozen=True)
class ParetoTail:
    """P(x > z) = share · ∫ (1 + γ (z - u)/σ)^(-1/γ) dP(γ, σ | excesses), beyond the threshold u; ranks below it.

    The integral is over the posterior of shape γ and scale σ for a flat prior in (γ, ln σ), on a grid. The plug-in form with the
    most likely γ and σ (Siffer et al. 2017) raises false alarms too often far out, since it takes both for known.

    Attributes:
        threshold: u. ordered: the calibration values, ascending. excesses: of those beyond u, ascending.
        shapes, scales: grid points (G,). log_densities: (G, k) of each excess; -inf where it lies outside the law's support.
    """

    threshold: float
    ordered: Float[np.ndarray, " M"]
    excesses: Float[np.ndarray, " k"]
    shapes: Float[np.ndarray, " G"]
    scales: Float[np.ndarray, " G"]
    log_densities: Float[np.ndarray, "G k"]

    @property
    def shape(self) -> float:
        """Posterior mean of γ: above 0 a heavy tail, below 0 a bounded one."""
        return float(self._weights @ self.shapes)

    def p_values(self, values: Float[np.ndarray, " N"]) -> Float[np.ndarray, " N"]:
        """P(X >= x) of fresh values."""
        count, k = len(self.ordered), len(self.excesses)
        above = count - np.searchsorted(self.ordered, values, side="left")
        p = (1 + above) / (count + 1)
        far = np.flatnonzero(values > self.threshold)
        size = max(1, 4_000_000 // len(self.shapes))
        weights = self._weights
        for start in range(0, len(far), size):
            rows = far[start : start + size]
            p[rows] = (k + 1) / (count + 1) * (weights @ self._survival(values[rows] - self.threshold))
        return p

    def own_p_values(self, values: Float[np.ndarray, " M"]) -> Float[np.ndarray, " M"]:
        """Of the calibration values: each beyond u is judged by the law of the others."""
        count, k = len(self.ordered), len(self.excesses)
        p = (count - np.searchsorted(self.ordered, values, side="left")) / count
        outside = np.isneginf(self.log_densities)
        finite = np.where(outside, 0.0, self.log_densities)
        total, misfits = finite.sum(1), outside.sum(1)
        others = np.where(misfits[:, None] - outside == 0, total[:, None] - finite, -np.inf)
        weights = _normalised(others)
        own = k / count * (weights * self._survival(self.excesses)).sum(0)
        far = values > self.threshold
        p[far] = own[np.searchsorted(self.excesses, values[far] - self.threshold)]
        return p

    def bound(self, level: float) -> float:
        """The value whose p-value is the level."""
        count, k = len(self.ordered), len(self.excesses)
        if level >= (k + 1) / (count + 1):
            return float(self.ordered[-min(count, int(level * (count + 1) * (1 + 1e-12)))])
        low, high = 0.0, float(self.excesses[-1])
        while self._tail(high) > level and high < 1e12 * self.excesses[-1]:
            high *= 2
        for _ in range(60):
            middle = (low + high) / 2
            low, high = (middle, high) if self._tail(middle) > level else (low, middle)
        return self.threshold + high

    def any_beyond(self, level: float, count: int) -> float:
        """Probability that `count` fresh values hold one beyond `bound(level)`, the mean over the posterior."""
        share = (len(self.excesses) + 1) / (len(self.ordered) + 1)
        if level >= share:
            return float(-np.expm1(count * np.log1p(-min(level, 1 - 1e-12))))
        beyond = share * self._survival(np.array([self.bound(level) - self.threshold]))[:, 0]
        return float(self._weights @ -np.expm1(count * np.log1p(-np.minimum(beyond, 1 - 1e-12))))

    def _tail(self, excess: float) -> float:
        share = (len(self.excesses) + 1) / (len(self.ordered) + 1)
        return share * float(self._weights @ self._survival(np.array([excess]))[:, 0])

    @cached_property
    def _weights(self) -> np.ndarray:
        return _normalised(self.log_densities.sum(1)[:, None])[:, 0]

    def _survival(self, excesses: np.ndarray) -> np.ndarray:
        inside = np.maximum(1 + self.shapes[:, None] * excesses / self.scales[:, None], 0.0)
        with np.errstate(divide="ignore"):  # a bounded law beyond its end: 0 to a positive power
            return inside ** (-1 / self.shapes[:, None])


def _normalised(log_weights: np.ndarray) -> np.ndarray:
    weights = np.exp(log_weights - log_weights.max(0))
    return weights / weights.sum(0)


def fit_pareto_tail(values: Float[np.ndarray, " M"]) -> ParetoTail:
    """The upper tail of calibration values: the 1.6 sqrt(M) largest, at least 5 and at most a quarter of them.

    Few enough that the law holds beyond the threshold, many enough to fit it; with this number the false-alarm rates of normal,
    exponential and heavy-tailed values (300 and 1000 of them) come out as stated.

    Raises:
        ValueError: the largest values are all equal.

    Example:
        >>> import numpy as np
        >>> tail = fit_pareto_tail(np.random.default_rng(0).exponential(size=2000))
        >>> abs(tail.shape) < 0.3, 0.5 < tail.p_values(np.array([7.0]))[0] / np.exp(-7) < 2
        (True, np.True_)
    """
    ordered = np.sort(values)
    count = len(ordered)
    k = min(max(5, round(EXCESSES * np.sqrt(count))), count // 4 or 1)
    threshold = float(ordered[-k - 1])
    excesses = ordered[ordered > threshold] - threshold
    if not len(excesses):
        raise ValueError(f"no spread: the {k + 1} largest values are equal")
    k, mean = len(excesses), float(excesses.mean())
    middle = np.log(mean) + np.log(np.clip(1 - SHAPES, 0.25, 2.0))  # the mean of the law is σ / (1 - γ)
    scales = np.exp(middle[:, None] + 1.2 * SPREAD * WIDTHS / np.sqrt(k)).ravel()
    shapes = np.repeat(SHAPES, len(WIDTHS))
    inside = 1 + shapes[:, None] * excesses / scales[:, None]
    fits = inside > 0
    log_densities = -np.log(scales)[:, None] - (1 + 1 / shapes[:, None]) * np.log(np.where(fits, inside, 1.0))
    return ParetoTail(threshold, ordered, excesses, shapes, scales, np.where(fits, log_densities, -np.inf))
