"""HMM passes for any emission source: sequences in lanes, long ones in chunks, impossible-looking ones again in logs."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float, Integer

from rnnscope.numerics import hmm_long, hmm_passes
from rnnscope.numerics.hmm_passes import Emissions

Array = np.ndarray
Precision = Literal["float64", "float32"]
TYPES = {"float64": np.float64, "float32": np.float32}


@dataclass(frozen=True)
class Sums:
    """Expected counts: initial (S,), transition (S, S), emission (S, K); added to in place while they are gathered."""

    initial: Array
    transition: Array
    emission: Array


def _typed(initial_probs: Array, transition_matrix: Array, precision: Precision) -> tuple[Array, Array]:
    dtype = TYPES[precision]
    return np.ascontiguousarray(initial_probs, dtype), np.ascontiguousarray(transition_matrix, dtype)


def _room(emissions: Emissions, lengths: Array, dtype: type) -> Array:
    """(N, T, S), zero where there are steps beyond a row's length; NumPy takes large pages only for what it leaves unset."""
    shape = len(lengths), emissions.num_steps, emissions.num_states
    return np.empty(shape, dtype) if np.all(lengths == emissions.num_steps) else np.zeros(shape, dtype)


def likelihood_of(
    emissions: Emissions,
    lengths: Integer[Array, " N"],
    initial_probs: Float[Array, " S"],
    transition_matrix: Float[Array, "S S"],
    precision: Precision,
) -> Float[Array, " N"]:
    """log p(x) of each sequence."""
    initial, matrix = _typed(initial_probs, transition_matrix, precision)
    levels = np.full(len(lengths), -np.inf)
    plain, long = hmm_long.divide(lengths)
    for n in long:
        levels[n] = hmm_long.log_likelihood(emissions, n, int(lengths[n]), initial, matrix)
    if len(plain):
        rows = hmm_passes.rows_of(plain * emissions.num_steps, np.asarray(lengths)[plain])
        _, by_lane = hmm_passes.forward_rows(emissions, rows, initial[None, None], matrix)
        levels[plain] = rows.restore(by_lane[0])
    for n in np.flatnonzero(~np.isfinite(levels)):
        levels[n] = hmm_passes.exact(emissions, int(n), int(lengths[n]), initial_probs, transition_matrix).log_likelihood
    return levels


def filter_of(
    emissions: Emissions,
    lengths: Integer[Array, " N"],
    initial_probs: Float[Array, " S"],
    transition_matrix: Float[Array, "S S"],
    precision: Precision,
) -> tuple[Float[Array, "N T S"], Float[Array, " N"]]:
    """p(s_t | x_1..t) and log likelihoods."""
    initial, matrix = _typed(initial_probs, transition_matrix, precision)
    filtered = _room(emissions, lengths, matrix.dtype.type)
    levels = np.full(len(lengths), -np.inf)
    for layout in hmm_long.layouts(emissions, lengths, initial, matrix, backward=False):
        _, by_lane = hmm_passes.forward_rows(emissions, layout.rows, layout.prior[None], matrix, filtered.reshape(-1))
        levels[layout.sequences] = by_lane[0].sum() if layout.is_cut else layout.rows.restore(by_lane[0])
    for n in np.flatnonzero(~np.isfinite(levels)):
        passes = hmm_passes.exact(emissions, int(n), int(lengths[n]), initial_probs, transition_matrix)
        filtered[n, : lengths[n]], levels[n] = passes.filtered(), passes.log_likelihood
    return filtered, levels


def posterior_of(
    emissions: Emissions,
    lengths: Integer[Array, " N"],
    initial_probs: Float[Array, " S"],
    transition_matrix: Float[Array, "S S"],
    precision: Precision,
    *,
    counting: bool,
    smoothing: bool,
) -> tuple[Sums, Float[Array, "N T S"], Float[Array, " N"]]:
    """Expected counts if `counting` (else zeros), posteriors if `smoothing` (else empty), and log likelihoods."""
    initial, matrix = _typed(initial_probs, transition_matrix, precision)
    states, symbols = emissions.num_states, emissions.num_symbols
    smoothed = _room(emissions, lengths, matrix.dtype.type) if smoothing else np.empty((0, 0, states), matrix.dtype)
    levels = np.full(len(lengths), -np.inf)
    sums = Sums(np.zeros(states), np.zeros((states, states)), np.zeros((states, symbols)))
    for layout in hmm_long.layouts(emissions, lengths, initial, matrix, backward=True):
        out = smoothed.reshape(-1)
        found = hmm_passes.posterior_rows(emissions, layout.rows, layout.prior, layout.final, matrix, counting, out)
        level = np.where(found.reliable, found.log_likelihood, -np.inf)
        if layout.is_cut and not found.reliable.all():
            continue
        levels[layout.sequences] = level.sum() if layout.is_cut else layout.rows.restore(level)
        sums.initial[:] += found.begin[0] if layout.is_cut else found.begin.sum(0)
        sums.transition[:] += found.transition
        sums.emission[:] += found.emission[:, :symbols]
        if layout.is_cut:
            odds = found.begin[1:] / np.where(layout.prior[1:] > 0, layout.prior[1:], 1)
            sums.transition[:] += (layout.before[:-1].T @ odds) * matrix
    for n in np.flatnonzero(~np.isfinite(levels)):
        passes = hmm_passes.exact(emissions, int(n), int(lengths[n]), initial_probs, transition_matrix)
        levels[n] = _add(passes, emissions, int(n), transition_matrix, sums, smoothed)
    return sums, smoothed, levels


def _add(passes: hmm_passes.Exact, emissions: Emissions, n: int, matrix: Array, sums: Sums, smoothed: Array) -> float:
    """Add one sequence's counts and posteriors, found in logs."""
    posterior = passes.smoothed()
    if smoothed.size:
        smoothed[n, : len(posterior)] = posterior
    if np.isfinite(passes.log_likelihood):
        with np.errstate(divide="ignore"):
            sums.transition[:] += passes.transition(np.log(matrix))
        sums.initial[:] += posterior[0]
        if emissions.kind == 0:
            codes = emissions.codes[n * emissions.num_steps :][: len(posterior)]
            for k in range(emissions.num_symbols):
                sums.emission[:, k] += posterior[codes == k].sum(0)
    return passes.log_likelihood
