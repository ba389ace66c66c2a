"""Baum-Welch: maximum a posteriori HMM parameters by expectation-maximisation, with several starts.

Each iteration takes expected counts under the current parameters and maximises
    Q + log prior,   prior = Dirichlet on every probability row, inverse Wishart on every covariance,
so that the penalised log likelihood never falls (Dempster, Laird & Rubin 1977; Rabiner 1989, eqs. 40, 52-54; for the priors
Murphy 2012, sec. 17.5.2). Several random starts run shortly, the best few are continued.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from jaxtyping import Float, Integer

from rnnscope.numerics import hmm
from rnnscope.numerics.hmm_engine import Precision
from rnnscope.numerics.hmm_gaussian import gaussian_expected_counts

Array = np.ndarray
_SHORT_RUN = 15
_CONTINUED = 2
_ROUNDING = 1e-9


@dataclass(frozen=True)
class PseudoCounts:
    """Dirichlet pseudo-counts added to every expected count (the prior's concentration less one), each >= 0."""

    initial: float = 1e-2
    transition: float = 1e-2
    emission: float = 1e-2


@dataclass(frozen=True)
class CategoricalParameters:
    """initial_probs (S,), transition_matrix (S, S), emission_probs (S, K)."""

    initial_probs: Float[Array, " S"]
    transition_matrix: Float[Array, "S S"]
    emission_probs: Float[Array, "S K"]


@dataclass(frozen=True)
class GaussianParameters:
    """initial_probs (S,), transition_matrix (S, S), means (S, D), covariances (S, D) or (S, D, D)."""

    initial_probs: Float[Array, " S"]
    transition_matrix: Float[Array, "S S"]
    means: Float[Array, "S D"]
    covariances: Float[Array, "S *D"]


Parameters = CategoricalParameters | GaussianParameters


@dataclass(frozen=True)
class BaumWelchResult:
    """What EM found.

    Attributes:
        parameters: those of the best objective. log_likelihood: theirs, nats, summed over sequences, without the prior.
        objective: log likelihood plus log prior (up to a constant) before each iteration and at the end; never falls.
        converged: whether the gain fell below the tolerance. iterations: of the run that was taken.
        finals: objective that each restart reached. reason: why the run ended, in words.
    """

    parameters: Parameters
    log_likelihood: float
    objective: Float[Array, " I"]
    converged: bool
    iterations: int
    finals: Float[Array, " R"]
    reason: str


# expected statistics under some parameters: (next parameters, log likelihood, log prior)
Step = Callable[[Parameters], tuple[Parameters, float, float]]


def fit_categorical(
    symbols: Integer[Array, "N T"],
    lengths: Integer[Array, " N"],
    num_states: int,
    num_symbols: int,
    *,
    rng: np.random.Generator,
    num_restarts: int = 5,
    max_iterations: int = 500,
    tolerance: float = 1e-6,
    pseudo_counts: PseudoCounts | None = None,
    start: CategoricalParameters | None = None,
    precision: Precision = "float64",
) -> BaumWelchResult:
    """Fit an HMM with categorical emissions.

    Args:
        symbols: (N, T), -1 for missing. lengths: (N,). rng: of the random starts.
        num_restarts: random starts; not used if `start` is given. max_iterations: of each run.
        tolerance: a run ends when an iteration gains less than this many nats per observation.
        pseudo_counts: of the Dirichlet priors. precision: of the E-step.
    """
    prior = pseudo_counts or PseudoCounts()

    def step(current: Parameters) -> tuple[Parameters, float, float]:
        assert isinstance(current, CategoricalParameters)
        probs = current.initial_probs, current.transition_matrix, current.emission_probs
        counts = hmm.expected_counts(symbols, lengths, *probs, precision=precision)
        new = CategoricalParameters(
            _rows(counts.initial, prior.initial, probs[0]),
            _rows(counts.transition, prior.transition, probs[1]),
            _rows(counts.emission, prior.emission, probs[2]),
        )
        weights = prior.initial, prior.transition, prior.emission
        return new, counts.log_likelihood, sum(_log_prior(p, w) for p, w in zip(probs, weights, strict=True))

    def draw() -> Parameters:
        seen = symbols[(np.arange(symbols.shape[1]) < np.asarray(lengths)[:, None]) & (symbols >= 0)]
        share = np.bincount(seen.astype(np.int64), minlength=num_symbols) + 1.0
        emission = rng.dirichlet(np.ones(num_symbols), num_states) * share
        return CategoricalParameters(
            rng.dirichlet(np.full(num_states, 5.0)),
            0.5 * np.eye(num_states) + 0.5 * rng.dirichlet(np.ones(num_states), num_states),
            emission / emission.sum(1, keepdims=True),
        )

    starts: list[Parameters] = [start] if start is not None else [draw() for _ in range(num_restarts)]
    return _best_of(starts, step, max_iterations, tolerance * max(int(np.sum(lengths)), 1), precision)


def fit_gaussian(
    x: Float[Array, "N T D"],
    lengths: Integer[Array, " N"],
    num_states: int,
    *,
    rng: np.random.Generator,
    covariance: Literal["diag", "full"] = "diag",
    num_restarts: int = 5,
    max_iterations: int = 500,
    tolerance: float = 1e-6,
    pseudo_counts: PseudoCounts | None = None,
    covariance_strength: float = 1.0,
    start: GaussianParameters | None = None,
    precision: Precision = "float64",
) -> BaumWelchResult:
    """Fit an HMM with Gaussian emissions; k-means gives the first means.

    Args:
        x: features; with `covariance` "full" a step must be complete or all NaN, with "diag" any component may be NaN.
        covariance: one variance a feature, or a full matrix, of each state.
        covariance_strength: observations that the prior of each covariance weighs: an inverse Wishart (diag: inverse gamma)
            around 1/100 of the data's variance, which keeps a state from shrinking onto one point. > 0.
        Others: as in `fit_categorical`.
    """
    prior = pseudo_counts or PseudoCounts()
    x = np.asarray(x, np.float64)
    valid = np.arange(x.shape[1]) < np.asarray(lengths)[:, None]
    seen = x[valid]
    if covariance == "full" and np.any(np.isnan(seen).any(1) & ~np.isnan(seen).all(1)):
        raise ValueError(
            "full covariances need steps that are complete or missing as a whole; use diag for partly missing ones"
        )
    scatter = 0.01 * np.nanvar(seen, axis=0)
    scatter = np.where(scatter > 0, scatter, 1e-12)

    def step(current: Parameters) -> tuple[Parameters, float, float]:
        assert isinstance(current, GaussianParameters)
        probs = current.initial_probs, current.transition_matrix
        initial, transition, posteriors, level = gaussian_expected_counts(
            x, lengths, *probs, current.means, current.covariances, precision=precision
        )
        means, covariances = _gaussian_maximum(
            seen, posteriors[valid].astype(np.float64), current, scatter, covariance_strength
        )
        new = GaussianParameters(
            _rows(initial, prior.initial, probs[0]), _rows(transition, prior.transition, probs[1]), means, covariances
        )
        penalty = _log_prior(probs[0], prior.initial) + _log_prior(probs[1], prior.transition)
        return new, level, penalty + _covariance_prior(current.covariances, scatter, covariance_strength)

    def draw(number: int) -> Parameters:
        return _gaussian_start(seen, num_states, covariance, scatter, rng, by_clusters=number % 2 == 0)

    starts: list[Parameters] = [start] if start is not None else [draw(n) for n in range(num_restarts)]
    return _best_of(starts, step, max_iterations, tolerance * max(int(np.sum(lengths)), 1), precision)


def _rows(counts: Array, pseudo: float, current: Array) -> Array:
    """Normalised counts plus pseudo-counts; a row without either stays what it was."""
    raised = counts + pseudo
    total = raised.sum(-1, keepdims=True)
    return np.where(total > 0, raised / np.where(total > 0, total, 1), current)


def _log_prior(probs: Array, pseudo: float) -> float:
    if pseudo == 0:
        return 0.0
    with np.errstate(divide="ignore"):
        return float(pseudo * np.log(probs).sum())


def _covariance_prior(covariances: Array, scatter: Array, strength: float) -> float:
    if covariances.ndim == 2:
        return float(-0.5 * strength * (np.log(covariances) + scatter / covariances).sum())
    inverse = np.linalg.inv(covariances)
    return float(-0.5 * strength * (np.linalg.slogdet(covariances)[1] + np.einsum("d,sdd->s", scatter, inverse)).sum())


def _gaussian_maximum(
    x: Float[Array, "M D"], weights: Float[Array, "M S"], current: GaussianParameters, scatter: Array, strength: float
) -> tuple[Array, Array]:
    """Means and covariances that maximise the expected log density plus the prior of the covariances."""
    known = ~np.isnan(x)
    filled = np.where(known, x, 0.0)
    mass = weights.T @ known
    means = np.where(mass > 0, (weights.T @ filled) / np.where(mass > 0, mass, 1), current.means)
    if current.covariances.ndim == 2:
        # about one centre for all states, so that squares of large offsets do not cancel
        centre = filled.sum(0) / np.maximum(known.sum(0), 1)
        moved = np.where(known, x - centre, 0.0)
        away = means - centre
        squares = weights.T @ moved**2 - 2 * away * (weights.T @ moved) + away**2 * mass
        return means, (np.maximum(squares, 0) + strength * scatter) / (mass + strength)
    covariances = np.empty_like(current.covariances)
    for s in range(len(means)):
        away = np.where(known, x - means[s], 0.0)
        spread = (away * weights[:, s, None]).T @ away
        covariances[s] = (0.5 * (spread + spread.T) + strength * np.diag(scatter)) / (mass[s, 0] + strength)
    return means, covariances


def _gaussian_start(
    seen: Array, num_states: int, covariance: str, scatter: Array, rng: np.random.Generator, by_clusters: bool
) -> GaussianParameters:
    complete = seen[~np.isnan(seen).any(1)]
    if len(complete) < num_states:
        complete = np.where(np.isnan(seen), np.nanmean(seen, axis=0), seen)
    some = complete[rng.choice(len(complete), min(len(complete), 20_000), replace=False)]
    means = some[rng.choice(len(some), num_states, replace=len(some) < num_states)]
    if by_clusters and len(np.unique(some, axis=0)) >= num_states:
        from sklearn.cluster import KMeans  # imported here: half a second that most uses do not need

        clusters = KMeans(num_states, n_init=1, random_state=int(rng.integers(2**31))).fit(some)
        means = clusters.cluster_centers_
    variances = np.tile(np.maximum(some.var(0) / num_states, scatter), (num_states, 1))
    covariances = variances if covariance == "diag" else variances[:, :, None] * np.eye(some.shape[1])
    transition = 0.5 * np.eye(num_states) + 0.5 / num_states
    return GaussianParameters(np.full(num_states, 1 / num_states), transition, means, covariances)


@dataclass(frozen=True)
class _Run:
    parameters: Parameters
    log_likelihood: float
    objective: list[float]
    upcoming: Parameters
    ended: str
    converged: bool


def _advance(run: _Run, step: Step, iterations: int, gain: float, rounding: float) -> _Run:
    """Go on for some iterations, or until the gain falls below `gain`; a fall beyond rounding is not taken."""
    for _ in range(iterations):
        if run.ended:
            return run
        upcoming, level, penalty = step(run.upcoming)
        value, last = level + penalty, run.objective[-1]
        if not value >= last - rounding * max(abs(last), 1.0):
            return replace(
                run, ended=f"an iteration would have lowered the objective by {last - value:.3g} nats and was not taken"
            )
        if value <= last:
            return replace(run, ended="no gain beyond rounding", converged=True)
        done = value - last < gain
        ended = f"an iteration gained less than {gain:.3g} nats" if done else ""
        run = _Run(run.upcoming, level, [*run.objective, value], upcoming, ended, done)
    return run


def _best_of(starts: list[Parameters], step: Step, max_iterations: int, gain: float, precision: Precision) -> BaumWelchResult:
    rounding = _ROUNDING if precision == "float64" else 1e-6
    runs = []
    for start in starts:
        upcoming, level, penalty = step(start)
        run = _Run(start, level, [level + penalty], upcoming, "", False)
        if not np.isfinite(level + penalty):
            run = replace(run, ended="the start gives the data probability zero")
        runs.append(run)
    if len(runs) > 1:
        runs = [_advance(run, step, min(_SHORT_RUN, max_iterations), gain, rounding) for run in runs]
    order = sorted(range(len(runs)), key=lambda n: -np.nan_to_num(runs[n].objective[-1], nan=-np.inf))
    for n in order[:_CONTINUED]:
        left = max_iterations - (len(runs[n].objective) - 1)
        runs[n] = _advance(runs[n], step, left, gain, rounding)
    best = max(runs, key=lambda run: np.nan_to_num(run.objective[-1], nan=-np.inf))
    finals = np.array([run.objective[-1] for run in runs])
    reason = best.ended or f"{max_iterations} iterations"
    taken = len(best.objective) - 1
    return BaumWelchResult(
        best.parameters, best.log_likelihood, np.array(best.objective), best.converged, taken, finals, reason
    )
