"""What is usual: how likely a value as far out as this one is where nothing is wrong, its p-value."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np
from jaxtyping import Float
from scipy import special, stats

from rnnscope.numerics.normal_extremes import LARGEST, MAD_TO_SD, Estimator, any_of, normal_extremes
from rnnscope.numerics.pareto_tail import ParetoTail, fit_pareto_tail

Method = Literal["three-sigma", "mad", "quantile", "pot"]
METHODS: tuple[Method, ...] = ("three-sigma", "mad", "quantile", "pot")
Side = Literal["both", "upper"]
MAD_EFFICIENCY = 0.3675  # of the median absolute deviation against the standard deviation, normal values
FEWEST = 8


class Null(ABC):
    """What is usual, learned from calibration values.

    Attributes:
        side: whether values are unusual on both sides, or only where they are large. count: calibration values.
    """

    side: Side
    count: int

    @abstractmethod
    def p_values(self, values: Float[np.ndarray, " N"]) -> Float[np.ndarray, " N"]:
        """Of values that were not among the calibration values."""

    @abstractmethod
    def own_p_values(self) -> Float[np.ndarray, " M"]:
        """Of the calibration values themselves, in their order."""

    @abstractmethod
    def bounds(self, level: float, *, own: bool = False) -> tuple[float, float]:
        """(lower, upper): values beyond them have p-values below the level; infinite where none can be that unusual."""

    def any_alarm(self, level: float, count: int, *, own: bool = False) -> float:
        """Probability that `count` values, where nothing is wrong, hold one with a p-value at or below the level."""
        return float(any_of(level, count))

    def set_level(self, rate: float, count: int, *, own: bool = False) -> float:
        """The level at which `count` values, where nothing is wrong, hold an alarm with this probability."""
        return float(-np.expm1(np.log1p(-rate) / count))

    def stated(self, level: float, *, own: bool = False) -> float:
        """Probability that one value has such a p-value."""
        return level


@dataclass(frozen=True)
class NormalNull(Null):
    """Normal values with an estimated centre and scale.

    The p-value is that of z = (x - centre)/scale: from the normal law for the calibration values themselves where `own_dof` is
    infinite (the textbook's k sigma), else from Student's t, which allows for the estimated scale. For fresh values z is divided by
    sqrt(1 + `shift`), which allows for the estimated centre. Probabilities of any alarm in a set are those of `normal_extremes`.

    Attributes:
        estimator: of centre and scale. dof, own_dof: of Student's t, for fresh values and for the calibration values; infinite for
            the normal law. shift: variance of the centre in units of the values' own.
    """

    values: Float[np.ndarray, " M"]
    estimator: Estimator
    centre: float
    scale: float
    dof: float
    own_dof: float
    shift: float
    side: Side = "both"

    @property
    def count(self) -> int:  # type: ignore[override]
        return len(self.values)

    def _p(self, z: np.ndarray, dof: float) -> np.ndarray:
        return 2 * stats.t.sf(np.abs(z), dof) if self.side == "both" else stats.t.sf(z, dof)

    def p_values(self, values: np.ndarray) -> np.ndarray:
        return self._p((values - self.centre) / (self.scale * np.sqrt(1 + self.shift)), self.dof)

    def own_p_values(self) -> np.ndarray:
        return self._p((self.values - self.centre) / self.scale, self.own_dof)

    def _reach(self, level: float, own: bool) -> float:
        """How many scales from the centre the bounds lie."""
        z = stats.t.isf(level / 2 if self.side == "both" else level, self.own_dof if own else self.dof)
        return float(z * (1.0 if own else np.sqrt(1 + self.shift)))

    def bounds(self, level: float, *, own: bool = False) -> tuple[float, float]:
        reach = self.scale * self._reach(level, own)
        return (self.centre - reach if self.side == "both" else -np.inf), self.centre + reach

    def any_alarm(self, level: float, count: int, *, own: bool = False) -> float:
        extremes = normal_extremes(self.estimator, self.count)
        if extremes is None:
            return super().any_alarm(level, count)
        reach = self._reach(level, own)
        if not own:
            return extremes.fresh_beyond(reach, count, self.side)
        some = extremes.own_beyond(reach, self.side)
        return 1 - (1 - some) ** (count / self.count)

    def set_level(self, rate: float, count: int, *, own: bool = False) -> float:
        if self.count > LARGEST:
            return super().set_level(rate, count)
        return _normal_set_level(self.estimator, self.side, self.count, rate, count, own)


@dataclass(frozen=True)
class EmpiricalNull(Null):
    """No assumption but that values are exchangeable: the p-value is the rank.

    For a fresh value (1 + #{calibration values at least as far out}) / (M + 1), one of split-conformal prediction (Vovk et al.
    2005); for a calibration value the share of them, itself included, that lie at least as far out. On both sides the smaller of
    the two ranks counts twice.
    """

    values: Float[np.ndarray, " M"]
    side: Side = "both"

    @property
    def count(self) -> int:  # type: ignore[override]
        return len(self.values)

    def _ranks(self, values: np.ndarray) -> np.ndarray:
        """How many calibration values lie at least as far out, on the rarer side."""
        ordered = np.sort(self.values)
        above = self.count - np.searchsorted(ordered, values, side="left")
        if self.side == "upper":
            return above
        return np.minimum(above, np.searchsorted(ordered, values, side="right"))

    @property
    def _sides(self) -> int:
        return 2 if self.side == "both" else 1

    def p_values(self, values: np.ndarray) -> np.ndarray:
        return np.minimum(1.0, self._sides * (1 + self._ranks(values)) / (self.count + 1))

    def own_p_values(self) -> np.ndarray:
        return np.minimum(1.0, self._sides * self._ranks(self.values) / self.count)

    def _allowed(self, level: float, own: bool) -> int:
        """How many of the most extreme values of a side have p-values at or below the level."""
        total = self.count if own else self.count + 1
        return int(np.floor(level * total / self._sides * (1 + 1e-12)))

    def bounds(self, level: float, *, own: bool = False) -> tuple[float, float]:
        k = self._allowed(level, own)
        ordered = np.sort(self.values)
        if k == 0:
            return -np.inf, np.inf
        if own:  # half-way between the last value that is an alarm and the first that is none
            upper = ordered[-min(k, self.count) - 1 :][:2].mean() if k < self.count else -np.inf
            lower = ordered[k - 1 : k + 1].mean() if k < self.count else np.inf
        else:
            upper, lower = ordered[-k], ordered[k - 1]
        return (float(lower) if self.side == "both" else -np.inf), float(upper)

    def stated(self, level: float, *, own: bool = False) -> float:
        return self._sides * self._allowed(level, own) / (self.count if own else self.count + 1)

    def any_alarm(self, level: float, count: int, *, own: bool = False) -> float:
        """For the calibration values themselves 1 or 0: a quantile of a set always cuts off the same number of it."""
        k = self._allowed(level, own)
        if k == 0:
            return 0.0
        if own:
            return 1.0
        cut = self._sides * k  # values that lie beyond the bounds, of M + count exchangeable ones
        none = special.betaln(self.count - cut + 1 + count, cut) - special.betaln(self.count - cut + 1, cut)
        return float(-np.expm1(none)) if cut <= self.count else 1.0


@dataclass(frozen=True)
class TailNull(Null):
    """Ranks in the bulk, generalised Pareto tails beyond: peaks over a threshold.

    Attributes:
        upper, lower: the tails (the lower one of the mirrored values; None where only large values are unusual).
    """

    values: Float[np.ndarray, " M"]
    upper: ParetoTail
    lower: ParetoTail | None

    @property
    def side(self) -> Side:  # type: ignore[override]
        return "upper" if self.lower is None else "both"

    @property
    def count(self) -> int:  # type: ignore[override]
        return len(self.values)

    def p_values(self, values: np.ndarray) -> np.ndarray:
        above = self.upper.p_values(values)
        return above if self.lower is None else np.minimum(1.0, 2 * np.minimum(above, self.lower.p_values(-values)))

    def own_p_values(self) -> np.ndarray:
        above = self.upper.own_p_values(self.values)
        return above if self.lower is None else np.minimum(1.0, 2 * np.minimum(above, self.lower.own_p_values(-self.values)))

    def bounds(self, level: float, *, own: bool = False) -> tuple[float, float]:
        if self.lower is None:
            return -np.inf, self.upper.bound(level)
        return -self.lower.bound(level / 2), self.upper.bound(level / 2)

    def any_alarm(self, level: float, count: int, *, own: bool = False) -> float:
        """Steps share one fitted tail: for fresh values the mean over what it may be.

        For the calibration values themselves the tail follows them, so that sets without any alarm are rarer than for independent
        steps: 1 - exp(-λ - 0.65 λ²) a side, λ the expected number (fitted to simulations of normal, exponential and t_3 values).
        """
        sides = [tail for tail in (self.upper, self.lower) if tail is not None]
        none = 1.0
        for tail in sides:
            expected = count * level / len(sides)
            none *= np.exp(-expected - 0.65 * expected**2) if own else 1 - tail.any_beyond(level / len(sides), count)
        return float(1 - none)


def fit_null(values: Float[np.ndarray, " M"], method: Method, side: Side = "both") -> Null:
    """What is usual, from calibration values.

    Args:
        values: (M,), finite, not all equal, at least 8. method: `three-sigma`: mean and standard deviation, normal values; `mad`: median
            and 1.4826 x the median absolute deviation, normal but for outliers; `quantile`: ranks, nothing assumed; `pot`: ranks,
            and generalised Pareto tails beyond the most extreme 1.6 sqrt(M) values of a side (Siffer et al. 2017).
        side: both, or upper for scores, which are only unusual where large.

    Raises:
        ValueError: too few values, not finite, or no spread to judge by.

    Example:
        >>> import numpy as np
        >>> null = fit_null(np.arange(101.0), "mad")
        >>> null.centre, round(null.scale, 2)
        (50.0, 37.07)
    """
    if len(values) < FEWEST or not np.isfinite(values).all():
        raise ValueError(f"{len(values)} values, or some not finite: at least {FEWEST} finite ones are needed")
    count = len(values)
    if method == "quantile":
        return EmpiricalNull(values, side)
    if method == "pot":
        lower = fit_pareto_tail(-values) if side == "both" else None
        return TailNull(values, fit_pareto_tail(values), lower)
    if method == "mad":
        centre = float(np.median(values))
        scale = MAD_TO_SD * float(np.median(np.abs(values - centre)))
    else:
        centre, scale = float(values.mean()), float(values.std())
    if not scale > 1e-12 * max(float(np.abs(values).max()), 1e-300):
        raise ValueError(f"no spread: {'more than half of' if method == 'mad' else 'all of'} the values are equal")
    return NormalNull(values, method, centre, scale, *_laws(method, count), side)


def _laws(estimator: Estimator, count: int) -> tuple[float, float, float]:
    """(dof, own_dof, shift) of `NormalNull`."""
    if estimator == "mad":
        return MAD_EFFICIENCY * count, MAD_EFFICIENCY * count, np.pi / 2 / count
    return count - 1.0, np.inf, 2 / count  # a fresh value's variance over that of `std`, to first order


@lru_cache(maxsize=256)
def _normal_set_level(estimator: Estimator, side: Side, learned: int, rate: float, count: int, own: bool) -> float:
    """The level of `NormalNull.set_level`: any_alarm(level) = rate, by bisection over ln level."""
    null = NormalNull(np.empty(learned), estimator, 0.0, 1.0, *_laws(estimator, learned), side)
    low, high = np.log(rate / count) - 30.0, np.log(rate)
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (low, middle) if null.any_alarm(float(np.exp(middle)), count, own=own) > rate else (middle, high)
    return float(np.exp(low))
