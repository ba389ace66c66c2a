"""Does a generated series come from the same attractor? Scores of where it goes, how it moves, and how long it stays true.

Where: D_stsp, a divergence of the distributions in state space, blind to time. How: D_H, a distance of power spectra, blind to
phases. A truth shuffled in time has D_stsp 0, a surrogate with the same spectrum D_H 0: only both together say something, and
each only beside its floor, the same score between stretches of the truth.

Axis names: B sequences, T steps, D variables, P pieces of equal length L, F frequencies.
"""

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float
from torch import Tensor

from rnnscope.numerics.reconstruction_measures import (
    MOST_BINS,
    Cells,
    Measure,
    Mixtures,
    Spectra,
    after_divergence,
    cut,
    phase_surrogate,
    resolvable_bins,
)

MOST_GRID = 3  # variables up to which the whole grid of cells is counted
NUM_SPLITS = 6
SHORTEST = 16  # points of a stretch

Sequences = Float[np.ndarray, "*B T D"] | Float[Tensor, "*B T D"]


@dataclass(frozen=True)
class Score:
    """A score, lower is better, and what to read it beside.

    Attributes:
        value: of all generated against all true points: the number that the literature gives.
        matched: its mean over stretches with as many points as the floor's: compare this with the floor.
        floor, floor_sd: the same score between disjoint stretches of the truth, mean and standard deviation over the splits.
        failures: the score of the truth made wrong in a known way, of all its points: its mean (constant), 1.5 times as wide (stretched
            by half), a linear process of the same spectra (phases shuffled), without order (shuffled in time).
    """

    value: float
    matched: float
    floor: float
    floor_sd: float
    failures: dict[str, float]

    @property
    def at_floor(self) -> bool:
        """Whether it cannot be told from a stretch of the truth: matched <= floor + 2 floor_sd."""
        return self.matched <= self.floor + 2 * self.floor_sd

    @property
    def excess(self) -> float:
        """Where it stands between the floor (0) and the mildest of the failures that leave the floor (1); nan where none does."""
        wrong = [v for v in self.failures.values() if v > self.floor + 2 * self.floor_sd]
        return (self.matched - self.floor) / (min(wrong) - self.floor) if wrong else math.nan


@dataclass(frozen=True)
class PredictionTime:
    """For how long forecasts are valid, over many starts.

    Attributes:
        steps: valid steps of each start, (B,); num_steps for those that never failed.
        num_steps: length of the forecasts. threshold: of the normalised error.
        median, lower, upper: of `steps` with its quartiles; where one equals num_steps, it is a lower bound.
        share_never: share of starts whose forecast never failed.
        failures: median valid steps of forecasts that know nothing: the first true value held, the mean, another start's truth.
        time, lyapunov_times: the median in units of time and in Lyapunov times; None where these are not known.
        errors: normalised error of each start and step, (B, T).
    """

    steps: Float[np.ndarray, " B"]
    num_steps: int
    threshold: float
    median: float
    lower: float
    upper: float
    share_never: float
    failures: dict[str, float]
    time: float | None
    lyapunov_times: float | None
    errors: Float[np.ndarray, "B T"]

    @property
    def summary(self) -> str:
        """The median with its quartiles, and what chance reaches."""
        bound = "at least " if self.median >= self.num_steps else ""
        units = f", {self.lyapunov_times:.3g} Lyapunov times" if self.lyapunov_times is not None else ""
        chance = max(self.failures.items(), key=lambda one: one[1])
        return (
            f"valid for {bound}{self.median:.4g} steps{units} (median of {len(self.steps)} starts, quartiles "
            f"{self.lower:.4g} and {self.upper:.4g}; {chance[0]}: {chance[1]:.4g})"
        )


@dataclass(frozen=True)
class ReconstructionScores:
    """How alike a generated and a true series are.

    Attributes:
        d_stsp: KL(true || generated) of the distributions in state space, nats. d_h: mean Hellinger distance of the spectra, 0 … 1.
        prediction_time: where forecasts were given, else None.
        num_true, num_generated: points. num_matched: points on each side of a floor.
        num_bins: cells per variable; None where mixtures were compared.
        diverged_at: first step at which a generated sequence left the finite numbers; None where none did.
        diverged_share: share of generated points from there on.
    """

    d_stsp: Score
    d_h: Score
    prediction_time: PredictionTime | None
    num_true: int
    num_generated: int
    num_matched: int
    num_bins: int | None
    diverged_at: int | None
    diverged_share: float

    @property
    def summary(self) -> str:
        """All scores in one line, each beside its floor."""
        told = [
            f"{name} {s.value:.3g} ({s.matched:.3g} on {self.num_matched} points, where the truth has {s.floor:.3g} ± {s.floor_sd:.2g})"
            for name, s in (("D_stsp", self.d_stsp), ("D_H", self.d_h))
        ]
        if self.prediction_time is not None:
            told.append(self.prediction_time.summary)
        if self.diverged_at is not None:
            told.append(f"the generated series leaves the finite numbers at step {self.diverged_at}")
        return "; ".join(told)


def reconstruction_scores(
    true: Sequences,
    generated: Sequences,
    *,
    forecasts: tuple[Sequences, Sequences] | None = None,
    num_bins: int | None = MOST_BINS,
    mixture_variance: float = 1.0,
    smoothing: float = 20.0,
    threshold: float = 0.4,
    dt: float | None = None,
    lyapunov_time: float | None = None,
    rng: np.random.Generator | None = None,
) -> ReconstructionScores:
    """Compare what a model generates with the system it was trained on.

    D_stsp = Σ_k p_k ln(p_k/q_k) over the cells of a grid, p true, q generated, with p_k = (n_k + α)/(n + α K), α = 1e-5: 30 bins
    a variable from min - 0.1 sd to max + 0.1 sd of the truth; what the model puts outside counts in one more cell. For more than
    three variables cells are too many: p and q are then Gaussian mixtures with a centre on every (of at most 4000) z-scored
    points, and D_stsp = 1/n Σ ln(p(x_i)/(q(x_i) + α/m p(x_i))) over 1000 draws x_i from p, m centres. That one stays small: read it beside its
    failures.

    D_H = mean over variables of sqrt(1 - Σ_f sqrt(p_f q_f)), p, q the power spectra of the centred series, smoothed by a Gaussian
    and normalised to sum 1, so that their scale does not count. Its width is 20 bins in the spectrum of a whole true sequence, and the
    same frequencies in those of its parts. Sequences of unlike length are cut to the shorter.

    Both are 0 for equal distributions and depend on how many points there are. The floor therefore compares halves of the truth,
    made of quarters in every way, and `matched` compares the same halves with as many generated points.

    Args:
        true, generated: (T, D), or (B, T, D) for several sequences; at least 64 true and 16 generated steps; true ones finite and not constant.
        forecasts: true and forecast paths, both (B, T, D), B starts: gives the valid prediction time.
        num_bins: cells per variable, >= 2; None: see `resolvable_bins`.
        mixture_variance: of each centre's Gaussian, z-scored units, > 0. smoothing: standard deviation in bins of a true
            sequence's spectrum, >= 0.
        threshold: of the valid prediction time, > 0. dt: time per step. lyapunov_time: 1 / largest exponent, in units of time where
            dt is given, else in steps.
        rng: for splits, surrogates and draws; a fresh one seeded 0 when None.

    Returns:
        `ReconstructionScores`. A generated series that leaves the finite numbers is scored: points from there on lie outside of
        every cell, and count as D_H 1.

    Raises:
        ValueError: shapes that do not fit, or a truth that is not finite, too short, or constant.

    References:
        Koppe et al. 2019, PLoS Comput Biol 15, e1007263; Brenner et al. 2022 and Hess et al. 2023, ICML (mixtures, D_H); Vlachas et al.
        2020, Neural Networks 126 (valid prediction time); Prichard & Theiler 1994, PRL 73 (surrogates of several variables).

    Example:
        >>> import numpy as np, rnnscope as rs
        >>> angle = 0.1 * np.arange(2000)[:, None]
        >>> circle = np.hstack([np.cos(angle), np.sin(angle)])
        >>> found = rs.reconstruction_scores(circle[:1000], circle[1000:], num_bins=10)
        >>> found.d_stsp.value < 0.1 < 1 < found.d_stsp.failures["constant"]
        True
    """
    x, y = _sequences(true, "true"), _sequences(generated, "generated")
    _check(x, y)
    rng = np.random.default_rng(0) if rng is None else rng
    scale = x.std((0, 1))
    lost = after_divergence(y, x)
    y = np.where(lost[..., None], np.nan, y)
    grid = x.shape[2] <= MOST_GRID
    bins = (resolvable_bins(x) if num_bins is None else num_bins) if grid else None
    space = Cells(x, bins) if bins is not None else Mixtures(x, mixture_variance, rng)
    spectra = Spectra(x, smoothing)
    failures = {
        "constant": np.broadcast_to(x.mean((0, 1)), x.shape),
        "stretched by half": x.mean((0, 1)) + 1.5 * (x - x.mean((0, 1))),
        "phases shuffled": phase_surrogate(x, rng),
        "shuffled in time": rng.permutation(x.reshape(-1, x.shape[2])).reshape(x.shape),
    }
    places, length = _splits(x, y, rng)
    steps = np.flatnonzero(lost.any(0))
    return ReconstructionScores(
        _score(space, x, y, failures, places, length),
        _score(spectra, x, y, failures, places, length),
        None if forecasts is None else prediction_time(*forecasts, scale, threshold, dt, lyapunov_time),
        x[..., 0].size,
        y[..., 0].size,
        len(places[0][0]) * length,
        bins,
        int(steps[0]) if len(steps) else None,
        float(lost.mean()),
    )


def prediction_time(
    truth: Sequences,
    forecast: Sequences,
    scale: Float[np.ndarray, " D"],
    threshold: float = 0.4,
    dt: float | None = None,
    lyapunov_time: float | None = None,
) -> PredictionTime:
    """Valid prediction time: steps before sqrt(1/D Σ_d ((x_d - x̂_d)/s_d)²) first exceeds the threshold.

    Args:
        truth, forecast: (B, T, D) from B starts; the first step is the first one forecast. scale: s, standard deviations of the
            truth. Others as in `reconstruction_scores`.
    """
    x, y = _sequences(truth, "the forecasts' truth"), _sequences(forecast, "forecast")
    if x.shape != y.shape:
        raise ValueError(f"forecasts have shape {y.shape}, their truth {x.shape}; give both as (starts, steps, variables)")
    if not threshold > 0 or (dt is not None and not dt > 0) or (lyapunov_time is not None and not lyapunov_time > 0):
        raise ValueError(f"threshold {threshold}, dt {dt}, lyapunov_time {lyapunov_time}: expected positive numbers")

    def valid(guess: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        with np.errstate(over="ignore", invalid="ignore"):
            errors = np.sqrt((((x - guess) / scale) ** 2).mean(2))
        failed = ~(errors <= threshold)
        return np.where(failed.any(1), failed.argmax(1), x.shape[1]).astype(float), errors

    steps, errors = valid(y)
    chance = {"the first value held": x[:, :1], "the mean": x.mean((0, 1)), "another start's truth": np.roll(x, len(x) // 2, 0)}
    lower, median, upper = (float(q) for q in np.quantile(steps, [0.25, 0.5, 0.75], method="nearest"))
    time = None if dt is None else median * dt
    in_lyapunov = None if lyapunov_time is None else (median if time is None else time) / lyapunov_time
    known = {name: float(np.median(valid(guess)[0])) for name, guess in chance.items() if len(x) > 1 or name[0] == "t"}
    share = float((steps == x.shape[1]).mean())
    return PredictionTime(steps, x.shape[1], threshold, median, lower, upper, share, known, time, in_lyapunov, errors)


def _score(
    measure: Measure, x: np.ndarray, y: np.ndarray, failures: dict[str, np.ndarray], places: list[Any], length: int
) -> Score:
    """One score at full size and over the splits."""
    true, made = measure.encode(cut(x, length)), measure.encode(cut(y, length))
    floor = [measure.distance(true[one], true[other]) for one, other, _ in places]
    matched = [measure.distance(true[one], made[drawn]) for one, _, drawn in places]
    wrong = {name: measure.of(x, values) for name, values in failures.items()}
    return Score(measure.of(x, y), float(np.mean(matched)), float(np.mean(floor)), float(np.std(floor, ddof=1)), wrong)


def _splits(x: np.ndarray, y: np.ndarray, rng: np.random.Generator) -> tuple[list[Any], int]:
    """Numbers of pieces (one side of the truth, the other, as many generated) for each split, and the pieces' length."""
    length = min(x.shape[1] // max(1, -(-4 // len(x))), y.shape[1])
    true, made = len(x) * (x.shape[1] // length), len(y) * (y.shape[1] // length)
    size = min(true // 2, made)
    return [(*sides, rng.permutation(made)[:size]) for sides in _sides(true, size, rng)], length


def _sides(count: int, size: int, rng: np.random.Generator) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Disjoint sets of `size` pieces: every pair of halves of four pieces, else drawn."""
    if count == 4 and size == 2:
        for chosen in itertools.combinations(range(4), 2):
            yield np.array(chosen), np.setdiff1d(np.arange(4), chosen)
        return
    for _ in range(NUM_SPLITS):
        order = rng.permutation(count)
        yield order[:size], order[size : 2 * size]


def _sequences(values: Any, name: str) -> Float[np.ndarray, "B T D"]:
    plain = values.detach().cpu().numpy() if isinstance(values, Tensor) else np.asarray(values)
    found = plain.astype(np.float64)
    if found.ndim not in (2, 3) or 0 in found.shape:
        raise ValueError(f"{name} has shape {found.shape}, expected (steps, variables) or (sequences, steps, variables)")
    return found if found.ndim == 3 else found[None]


def _check(x: np.ndarray, y: np.ndarray) -> None:
    if x.shape[2] != y.shape[2]:
        raise ValueError(f"true has {x.shape[2]} variables, generated {y.shape[2]}; give the same ones in the same order")
    if x.shape[1] < 4 * SHORTEST or y.shape[1] < SHORTEST:
        raise ValueError(
            f"true has {x.shape[1]} steps, generated {y.shape[1]}; expected at least {4 * SHORTEST} and {SHORTEST}"
        )
    if not np.isfinite(x).all():
        raise ValueError("true has entries that are NaN or infinite; give a stretch without gaps")
    still = np.ptp(x, axis=(0, 1)) == 0
    if still.any():
        raise ValueError(f"variable {int(np.flatnonzero(still)[0])} of true is constant; leave it out")
