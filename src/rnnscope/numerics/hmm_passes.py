"""How sequences are laid out for the HMM kernels: emission sources, rows in blocks of lanes, room to work in.

Many sequences fill the lanes as they are. A few long ones are cut into LANES chunks each; what makes that exact is that the
state before and the beta after every chunk are found first (`rnnscope.numerics.hmm_long`).
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from rnnscope.numerics import hmm_kernels, hmm_kernels_alone, hmm_kernels_posterior
from rnnscope.numerics.hmm_kernels_lanes import LANES, WIDTH

Array = np.ndarray
_LINE = 64
_STAGED = 16


@dataclass(frozen=True)
class Emissions:
    """Where emission weights come from; flat over all sequences, N·T steps.

    Attributes:
        kind: 0 symbols, 1 log densities, 2 diagonal Gaussians.
        codes: symbols as small unsigned numbers, empty but for kind 0. table: (S, columns) probabilities, the last column
            for missing symbols where there are any, and the number of true symbols in `num_symbols`.
        values: log densities (N·T·S) or features (N·T·D). params: (3, S·D) mean, -1/(2 variance), -log(2 pi variance)/2.
    """

    kind: int
    num_states: int
    num_steps: int
    codes: Array
    table: Array
    num_symbols: int
    values: Array
    params: Array

    def log_densities(self, sequence: int, length: int) -> Float[Array, "T S"]:
        """Log densities of one sequence in float64."""
        steps = slice(sequence * self.num_steps, sequence * self.num_steps + length)
        with np.errstate(divide="ignore"):
            if self.kind == 0:
                return np.log(self.table.T[np.minimum(self.codes[steps], self.table.shape[1] - 1)])
        if self.kind == 1:
            return np.ascontiguousarray(self.values.reshape(-1, self.num_states)[steps], np.float64)
        mean, curve, height = self.params.astype(np.float64).reshape(3, self.num_states, -1)
        x = self.values.reshape(-1, mean.shape[1])[steps].astype(np.float64)
        return np.nansum((x[:, None] - mean) ** 2 * curve + np.where(np.isnan(x), np.nan, 1.0)[:, None] * height, -1)


def categorical_emissions(symbols: Array, lengths: Array, emission_probs: Array, dtype: type) -> Emissions:
    """Symbols (N, T), -1 for missing, and their probabilities (S, K)."""
    num_states, num_symbols = emission_probs.shape
    symbols = np.ascontiguousarray(symbols)
    highest = int(symbols.max(initial=0))
    lowest = int(symbols.min(initial=0)) if symbols.dtype.kind == "i" else 0
    if highest >= num_symbols or lowest < -1:
        inside = symbols[np.arange(symbols.shape[1]) < lengths[:, None]]
        if inside.size and (inside.max() >= num_symbols or inside.min() < -1):
            raise ValueError(f"symbols must lie in -1..{num_symbols - 1}, found {inside.min()}..{inside.max()}")
    small = np.uint8 if num_symbols < 255 else np.uint16
    codes = symbols if symbols.dtype == small else symbols.astype(small)
    columns = [emission_probs]
    if lowest < 0:
        columns.append(np.ones((num_states, 1)))
    table = np.concatenate(columns, 1)
    if table.shape[1] < 4:
        table = np.concatenate([table, np.repeat(table[:, -1:], 4 - table.shape[1], 1)], 1)
    table = np.ascontiguousarray(table, dtype)
    return Emissions(
        0, num_states, symbols.shape[1], codes.reshape(-1), table, num_symbols, np.empty(0, dtype), np.zeros((3, 0), dtype)
    )


def density_emissions(log_densities: Array, dtype: type) -> Emissions:
    """Log densities (N, T, S)."""
    _, num_steps, num_states = log_densities.shape
    values: Array = np.ascontiguousarray(log_densities, dtype).reshape(-1)
    table: Array = np.zeros((num_states, 1), dtype)
    return Emissions(1, num_states, num_steps, np.empty(0, np.uint8), table, 0, values, np.zeros((3, 0), dtype))


def gaussian_emissions(x: Array, means: Array, variances: Array, dtype: type) -> Emissions:
    """Features (N, T, D), means and variances (S, D)."""
    params = np.stack([means, -0.5 / variances, -0.5 * np.log(2 * np.pi * variances)]).reshape(3, -1)
    values: Array = np.ascontiguousarray(x, dtype).reshape(-1)
    table: Array = np.zeros((len(means), 1), dtype)
    return Emissions(2, len(means), x.shape[1], np.empty(0, np.uint8), table, 0, values, params.astype(dtype))


@dataclass(frozen=True)
class Rows:
    """Stretches of steps, sorted by falling length and filled up to whole blocks with copies of the last.

    Attributes:
        starts, lengths: of each lane. order: lane -> row as given. count: rows as given.
    """

    starts: Int[Array, " R"]
    lengths: Int[Array, " R"]
    order: Int[Array, " R"]
    count: int

    @property
    def longest(self) -> int:
        return int(self.lengths[0])

    @property
    def real(self) -> Array:
        """True for lanes that are not copies."""
        return np.arange(len(self.order)) < self.count

    def restore(self, lanes: Array) -> Array:
        """What the lanes found, in the order the rows were given."""
        out = np.empty((self.count, *lanes.shape[1:]), lanes.dtype)
        out[self.order[: self.count]] = lanes[: self.count]
        return out


def rows_of(starts: Array, lengths: Array) -> Rows:
    """Lay out rows in lanes."""
    count = len(starts)
    order = np.argsort(-lengths, kind="stable") if np.any(lengths != lengths[0]) else np.arange(count)
    order = np.concatenate([order, np.repeat(order[-1:], -count % LANES)])
    return Rows(starts[order].astype(np.int64), lengths[order].astype(np.int64), order, count)


def rescale_every(emissions: Emissions, matrix: Array) -> int:
    """Steps between rescalings: so few that even the rarest event leaves half of the exponent range."""
    if emissions.kind != 0:
        return 1
    least = np.min(matrix[matrix > 0], initial=1) * np.min(emissions.table[emissions.table > 0], initial=1)
    bits, most = (60, 8) if matrix.dtype == np.float32 else (400, 16)
    return int(np.clip(bits / max(-np.log2(float(least)), 1e-9), 1, most))


def packed_source(emissions: Emissions, rows: Rows, table: Array) -> tuple[int, Array, Array, Array, Array, int]:
    """The kernels' first arguments: kind, packed symbols, table, values, params, steps a block."""
    packed = np.empty(0, emissions.codes.dtype)
    if emissions.kind == 0:
        packed = room(len(rows.starts) * rows.longest, emissions.codes.dtype.type)
        missing = packed.dtype.type(table.shape[1] - 1)
        hmm_kernels.pack(emissions.codes, rows.starts, rows.lengths, rows.longest, missing, packed)
    return emissions.kind, packed, table, emissions.values, emissions.params, rows.longest


def room(size: int, dtype: type) -> Array:
    """An unset array that begins with a cache line: vectors that lie across two lines take twice as long to load."""
    bytes_needed = size * np.dtype(dtype).itemsize
    whole = np.empty(bytes_needed + _LINE, np.uint8)
    begin = -whole.__array_interface__["data"][0] % _LINE
    return whole[begin : begin + bytes_needed].view(dtype)


def work_room(emissions: Emissions, dtype: type) -> Array:
    """Weights, logs taken off, staged features."""
    features = emissions.params.shape[1] // emissions.num_states
    return room((emissions.num_states + 1 + features) * LANES, dtype)


def exponent_room(dtype: type) -> Array:
    return room(LANES, np.int32 if dtype == np.float32 else np.int64)


def forward_rows(
    emissions: Emissions, rows: Rows, prior: Float[Array, "V R S"], matrix: Array, out: Array | None = None
) -> tuple[Float[Array, "V R S"], Float[Array, "V R"]]:
    """Last states (up to a factor) and log likelihoods by lane; normalised states of every step into `out` (flat)."""
    dtype = matrix.dtype.type
    variants, count, states = len(prior), len(rows.starts), prior.shape[2]
    final, log_likelihood = np.empty((variants, count, states), dtype), np.empty((variants, count))
    size, staged = states * LANES, 0 if out is None else _STAGED
    hmm_kernels.forward(
        *packed_source(emissions, rows, emissions.table), rows.starts, rows.lengths, rows.count, prior, matrix,
        rescale_every(emissions, matrix), work_room(emissions, dtype), room(3 * size, dtype),
        exponent_room(dtype), room(LANES, np.float64), room(staged * size, dtype), np.empty(LANES, np.int64),
        final, log_likelihood, np.empty(0, dtype) if out is None else out,
    )  # fmt: skip
    return final, log_likelihood


@dataclass(frozen=True)
class Posterior:
    """Forward-backward of some rows, by lane.

    Attributes:
        log_likelihood: (R,). reliable: (R,), False where the row must be done in logs.
        begin: (R, S) posterior of its first step.
        transition: (S, S) and emission: (S, columns), sums over the reliable rows.
    """

    log_likelihood: Array
    reliable: Array
    begin: Array
    transition: Array
    emission: Array


def posterior_rows(
    emissions: Emissions, rows: Rows, prior: Array, final: Array, matrix: Array, counting: bool, out: Array | None = None
) -> Posterior:
    """Forward-backward of every row from its own prior (R, S) and last beta (R, S)."""
    dtype = matrix.dtype.type
    count, states = prior.shape
    size, columns = states * LANES, emissions.table.shape[1]
    stretch = int(min(max(2**20 // (size * matrix.itemsize), 16), max(rows.longest, 1)))
    least = dtype(2.0 ** (-100 if dtype == np.float32 else -900))
    pairs, tallies = np.zeros(states * states), np.zeros(states * columns)
    part_pairs, part_tallies = room(states * states * WIDTH, dtype), room(states * columns * WIDTH, dtype)
    part_pairs[:], part_tallies[:] = 0, 0
    reliable, begin, log_likelihood = rows.real, np.zeros((count, states)), np.zeros(count)
    hmm_kernels_posterior.posterior(
        *packed_source(emissions, rows, emissions.table), rows.starts, rows.lengths, rows.count, prior, final, matrix,
        np.ascontiguousarray(matrix.T), rescale_every(emissions, matrix), stretch, least, work_room(emissions, dtype),
        room((stretch + 1) * size, dtype), room((rows.longest // stretch + 1) * size, dtype),
        room(size, dtype), room(size, dtype), room(size, dtype), room(LANES, dtype), room(LANES, dtype), room(LANES, dtype),
        exponent_room(dtype), room(LANES, np.float64), np.empty(LANES, np.int64), counting, part_pairs, part_tallies,
        pairs, tallies, begin, reliable, log_likelihood, np.empty(0, dtype) if out is None else out,
    )  # fmt: skip
    return Posterior(log_likelihood, reliable, begin, pairs.reshape(states, states) * matrix, tallies.reshape(states, columns))


@dataclass(frozen=True)
class Exact:
    """Passes in logs over one sequence: log_alpha, log_beta, log_densities (T, S)."""

    log_alpha: Array
    log_beta: Array
    log_densities: Array

    @property
    def log_likelihood(self) -> float:
        return float(np.logaddexp.reduce(self.log_alpha[-1]))

    def filtered(self) -> Array:
        return normalised(self.log_alpha)

    def smoothed(self) -> Array:
        return normalised(self.log_alpha + self.log_beta)

    def transition(self, log_matrix: Array) -> Array:
        """Σ_t p(s_t = i, s_t+1 = j | x), (S, S); zeros for an impossible sequence."""
        total = np.zeros_like(log_matrix)
        level = self.log_likelihood
        if np.isfinite(level):
            ahead = self.log_densities[1:] + self.log_beta[1:]
            for a, b in zip(self.log_alpha[:-1], ahead, strict=True):
                total += np.exp(a[:, None] + log_matrix + b - level)
        return total


def normalised(logs: Float[Array, "T S"]) -> Float[Array, "T S"]:
    """Rows exponentiated to sum 1; rows of -inf become zeros."""
    largest = logs.max(1, keepdims=True)
    weights = np.exp(logs - np.where(np.isfinite(largest), largest, 0))
    total = weights.sum(1, keepdims=True)
    return weights / np.where(total > 0, total, 1)


def exact(emissions: Emissions, sequence: int, length: int, initial: Array, matrix: Array) -> Exact:
    """One sequence in logs."""
    densities = emissions.log_densities(sequence, length)
    alpha, beta = np.empty_like(densities), np.empty_like(densities)
    with np.errstate(divide="ignore"):
        logs = np.log(initial.astype(np.float64)), np.log(matrix.astype(np.float64))
    hmm_kernels_alone.exact_passes(densities, *logs, np.empty(emissions.num_states), alpha, beta)
    return Exact(alpha, beta, densities)
