"""Gaussian emissions: log densities with missing components, and the passes that need no (N, T, S) densities.

    log p(x | s) = -1/2 [ (x - mu_s)' C_s^-1 (x - mu_s) + log det C_s + D log 2 pi ]

A NaN component is marginalised out (its rows and columns of C_s are dropped); a step that is all NaN has log density 0.
"""

import numpy as np
from jaxtyping import Float, Integer

from rnnscope.numerics import hmm_engine, hmm_passes
from rnnscope.numerics.hmm_engine import Precision

Array = np.ndarray
_CHUNK = 2**15


def gaussian_log_densities(
    x: Float[Array, "N T D"], means: Float[Array, "S D"], covariances: Float[Array, "S *D"]
) -> Float[Array, "N T S"]:
    """log p(x_t | s) in nats, float64.

    Args:
        x: features, NaN where missing. means: (S, D). covariances: variances (S, D), or full matrices (S, D, D).
    """
    num_states, num_features = means.shape
    flat = np.asarray(x, np.float64).reshape(-1, num_features)
    out = np.zeros((len(flat), num_states))
    # in stretches that stay in the cache: temporaries of the whole length cost more than the arithmetic
    for begin in range(0, len(flat), _CHUNK):
        steps = flat[begin : begin + _CHUNK]
        missing = np.isnan(steps)
        patterns, which = np.unique(missing, axis=0, return_inverse=True) if missing.any() else (missing[:1], None)
        for number, pattern in enumerate(patterns):
            seen = ~pattern
            rows = slice(None) if which is None else which.reshape(-1) == number
            if seen.any():
                out[begin : begin + _CHUNK][rows] = _complete(steps[rows][:, seen], means[:, seen], _part(covariances, seen))
    return out.reshape(*x.shape[:2], num_states)


def _part(covariances: Array, seen: Array) -> Array:
    return covariances[:, seen] if covariances.ndim == 2 else covariances[:, seen][:, :, seen]


def _complete(x: Float[Array, "M D"], means: Array, covariances: Array) -> Float[Array, "M S"]:
    constant = x.shape[1] * np.log(2 * np.pi)
    out = np.empty((len(x), len(means)))
    for s, (mean, covariance) in enumerate(zip(means, covariances, strict=True)):
        away = x - mean
        if covariance.ndim == 1:
            out[:, s] = -0.5 * ((away**2) @ (1 / covariance) + np.log(covariance).sum() + constant)
        else:
            factor = np.linalg.cholesky(covariance)
            white = away @ np.linalg.inv(factor).T
            out[:, s] = -0.5 * (np.einsum("md,md->m", white, white) + 2 * np.log(np.diag(factor)).sum() + constant)
    return out


def _emissions(x: Array, means: Array, covariances: Array, precision: Precision) -> hmm_passes.Emissions:
    dtype = hmm_engine.TYPES[precision]
    if covariances.ndim == 2:
        return hmm_passes.gaussian_emissions(x, means, covariances, dtype)
    return hmm_passes.density_emissions(gaussian_log_densities(x, means, covariances), dtype)


def gaussian_log_likelihood(
    x: Float[Array, "N T D"],
    lengths: Integer[Array, " N"],
    initial_probs: Float[Array, " S"],
    transition_matrix: Float[Array, "S S"],
    means: Float[Array, "S D"],
    covariances: Float[Array, "S *D"],
    *,
    precision: Precision = "float64",
) -> Float[Array, " N"]:
    """log p(x_1..T) of each sequence in nats; with variances (S, D) the densities are never stored."""
    emissions = _emissions(x, means, covariances, precision)
    return hmm_engine.likelihood_of(emissions, lengths, initial_probs, transition_matrix, precision)


def gaussian_expected_counts(
    x: Float[Array, "N T D"],
    lengths: Integer[Array, " N"],
    initial_probs: Float[Array, " S"],
    transition_matrix: Float[Array, "S S"],
    means: Float[Array, "S D"],
    covariances: Float[Array, "S *D"],
    *,
    precision: Precision = "float64",
) -> tuple[Float[Array, " S"], Float[Array, "S S"], Float[Array, "N T S"], float]:
    """Expected initial states, transitions, posteriors p(s_t | x), and the summed log likelihood."""
    emissions = _emissions(x, means, covariances, precision)
    sums, smoothed, levels = hmm_engine.posterior_of(
        emissions, lengths, initial_probs, transition_matrix, precision, counting=True, smoothing=True
    )
    return sums.initial, sums.transition, smoothed, float(levels.sum())
