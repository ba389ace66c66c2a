"""From values, or scores, to alarms with a stated false-alarm rate.

A `Null` says how likely a value as far out as this one is where nothing is wrong: its p-value. An alarm is a p-value at or below
a level, and the level decides what is promised: so many false alarms per step, so many sets (series) with any, or so large a
share of false ones among all alarms.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float
from scipy import stats

from rnnscope.numerics.nulls import Method, Side, fit_null

Control = Literal["step", "set", "fdr"]
CONTROLS: tuple[Control, ...] = ("step", "set", "fdr")
THREE_SIGMA = float(2 * stats.norm.sf(3.0))  # 0.0027


@dataclass(frozen=True)
class Alarms:
    """Which steps raise an alarm, and what was promised where nothing is wrong.

    Attributes:
        p_values: (T,), NaN where a step cannot be judged. alarms: (T,).
        lower, upper: bounds of the values at the level, for fresh values where there are such.
        level: a step alarms where its p-value is at most this. rate, control: as asked for.
        stated_step: probability of a false alarm at a step. stated_set: probability that a set of as many steps as were judged
            holds any, were they independent. count: steps judged.
    """

    p_values: Float[np.ndarray, " T"]
    alarms: Bool[np.ndarray, " T"]
    lower: float
    upper: float
    level: float
    rate: float
    control: Control
    stated_step: float
    stated_set: float
    count: int

    @property
    def found(self) -> int:
        """Number of alarms."""
        return int(self.alarms.sum())

    @property
    def expected(self) -> float:
        """Alarms to be expected where nothing is wrong."""
        return self.count * self.stated_step

    @property
    def chance(self) -> float:
        """Probability of so many alarms or more by chance, were the steps independent."""
        return float(stats.binom.sf(self.found - 1, self.count, min(self.stated_step, 1.0)))


def raise_alarms(
    values: Float[np.ndarray, " T"],
    method: Method = "three-sigma",
    *,
    calibration: slice | None = None,
    judged: slice | None = None,
    side: Side = "both",
    control: Control = "step",
    rate: float = THREE_SIGMA,
) -> Alarms:
    """Which values are unusual, at a stated false-alarm rate.

    Args:
        values: (T,); NaN where a step has none. method: see `fit_null`. calibration: the steps from which to learn what is usual; the
            judged ones themselves when None. judged: the steps that may raise alarms; all when None, and calibration steps
            among them are judged as what they are, values that were learned from.
        control: what `rate` promises: `step`: probability of a false alarm at each step; `set`: probability that there is any
            (see `Null.set_level`); `fdr`: expected share of false ones among the alarms
            (Benjamini & Hochberg 1995), which is the probability of any where nothing is wrong.
        rate: in (0, 1); 0.0027, that of three standard deviations.

    Returns:
        `Alarms`.

    Raises:
        ValueError: see `fit_null`.

    Example:
        >>> import numpy as np
        >>> x = np.random.default_rng(1).normal(50, 5, 1000)
        >>> x[500] = 90
        >>> found = raise_alarms(x, "mad", control="fdr", rate=0.05)
        >>> np.flatnonzero(found.alarms).tolist()
        [500]
    """
    steps = np.arange(len(values))
    looked = np.zeros(len(values), bool)
    looked[judged or slice(None)] = True
    known = np.isfinite(values)
    learned = np.zeros(len(values), bool)
    learned[calibration or judged or slice(None)] = True
    learned &= known
    null = fit_null(values[learned], method, side)
    p = np.full(len(values), np.nan)
    p[steps[learned]] = null.own_p_values()
    fresh = looked & known & ~learned
    if fresh.any():
        p[fresh] = null.p_values(values[fresh])
    p[~looked] = np.nan
    count = int((looked & known).sum())
    own = not fresh.any()
    level = rate
    if control != "step":
        level = null.set_level(rate, max(1, count), own=own) if control == "set" else fdr_level(p[looked & known], rate)
    alarms = np.where(np.isnan(p), 1.0, p) <= level * (1 + 1e-12)
    lower, upper = null.bounds(level, own=own) if level > 0 else (-np.inf, np.inf)
    # where nothing is wrong, fdr comes down to rate / N at each step
    base = rate / max(1, count) if control == "fdr" else level
    stated = null.stated(base, own=own), null.any_alarm(base, count, own=own)
    return Alarms(p, alarms, lower, upper, level, rate, control, *stated, count)


def fdr_level(p_values: Float[np.ndarray, " N"], rate: float) -> float:
    """The p-value at or below which a step raises an alarm, such that at most this share of all alarms is false on average.

    It is k·rate/N, k the number of alarms, and rate/N where there is none (Benjamini & Hochberg 1995).

    Example:
        >>> import numpy as np
        >>> fdr_level(np.array([0.001, 0.02, 0.5, 0.9]), 0.05)
        0.025
    """
    adjusted = stats.false_discovery_control(p_values) if len(p_values) else p_values
    return max(1, int((adjusted <= rate * (1 + 1e-12)).sum())) * rate / max(1, len(p_values))
