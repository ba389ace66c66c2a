"""A few long sequences: cut into LANES chunks, exactly.

The state before each chunk and the beta after it are found first: for few states from the chunks' S x S products, all
computed side by side (an associative scan: Blelloch 1990; Särkkä & García-Fernández 2021); for more states from one pass
each way with the states side by side. Then the chunks are rows like any others.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int, Integer

from rnnscope.numerics import hmm_kernels_alone, hmm_passes
from rnnscope.numerics.hmm_kernels_lanes import LANES, WIDTH
from rnnscope.numerics.hmm_passes import Emissions, Rows

Array = np.ndarray
SHORTEST = 8 * LANES
_SCAN_STATES = 6
_STEPS_WORTH_CUTTING = 512


@dataclass(frozen=True)
class Layout:
    """Rows to run: whole sequences, or the chunks of one.

    Attributes:
        sequences: their numbers. prior: (R, S) of each lane's first step, before its emission. final: (R, S) beta of its last
            step, up to a factor. before: (C, S) filtered states at the ends of chunks, empty for whole sequences.
    """

    sequences: Int[Array, " M"]
    rows: Rows
    prior: Float[Array, "R S"]
    final: Float[Array, "R S"]
    before: Float[Array, "C S"]

    @property
    def is_cut(self) -> bool:
        return len(self.before) > 0


def divide(lengths: Integer[Array, " N"]) -> tuple[Int[Array, " A"], Int[Array, " B"]]:
    """Numbers of the sequences to run as they are, and of those to cut: long ones that are too few to fill the lanes.

    Cutting costs as much as some hundreds of steps, once a sequence; in lanes all are done in the time of the longest.
    """
    long = np.asarray(lengths) >= SHORTEST
    if long.sum() >= min(LANES // 2, np.max(lengths, initial=0) // _STEPS_WORTH_CUTTING + 1):
        long[:] = False
    return np.flatnonzero(~long), np.flatnonzero(long)


def plain_layout(emissions: Emissions, sequences: Array, lengths: Array, initial: Array) -> Layout:
    """Whole sequences."""
    rows = hmm_passes.rows_of(sequences * emissions.num_steps, np.asarray(lengths)[sequences])
    prior = np.ascontiguousarray(np.broadcast_to(initial, (len(rows.starts), len(initial))))
    return Layout(sequences, rows, prior, np.ones_like(prior), np.empty((0, len(initial))))


def layouts(emissions: Emissions, lengths: Array, initial: Array, matrix: Array, *, backward: bool) -> Iterator[Layout]:
    """All sequences in layouts, but for long ones that are impossible or look so in this number format.

    `backward`: find the betas too (else ones).
    """
    plain, long = divide(lengths)
    if len(plain):
        yield plain_layout(emissions, plain, lengths, initial)
    for n in long:
        length = int(lengths[n])
        rows = _chunks(emissions, n, length)
        between = _scan if emissions.num_states <= _SCAN_STATES else _walk
        found = between(emissions, n, length, rows, initial, matrix, backward)
        if found is not None:
            before, betas, _ = found
            prior = np.concatenate([initial[None], before[:-1] @ matrix.astype(np.float64)])
            yield Layout(np.array([n]), rows, prior.astype(matrix.dtype), betas.astype(matrix.dtype), before)


def log_likelihood(emissions: Emissions, sequence: int, length: int, initial: Array, matrix: Array) -> float:
    """log p(x) of one long sequence; -inf if it is or looks impossible."""
    if emissions.num_states > _SCAN_STATES:
        return walk(emissions, sequence, length, initial, matrix, np.array([0, length]), False)[1]
    found = _scan(emissions, sequence, length, _chunks(emissions, sequence, length), initial, matrix, False)
    return -np.inf if found is None else found[2]


def _chunks(emissions: Emissions, sequence: int, length: int) -> Rows:
    size, more = divmod(length, LANES)
    lengths = size + (np.arange(LANES) < more)
    return hmm_passes.rows_of(sequence * emissions.num_steps + np.cumsum(lengths) - lengths, lengths)


def _scan(
    emissions: Emissions, sequence: int, length: int, rows: Rows, initial: Array, matrix: Array, backward: bool
) -> tuple[Array, Array, float] | None:
    states = emissions.num_states
    prior = np.repeat(matrix[:, None], LANES, 1)
    prior[:, 0] = initial
    final, logs = hmm_passes.forward_rows(emissions, rows, np.ascontiguousarray(prior), matrix)
    totals = final.sum(2, keepdims=True, dtype=np.float64)
    products = final / np.where(totals > 0, totals, 1)
    before, betas = np.empty((LANES, states)), np.ones((LANES if backward else 0, states))
    total = hmm_kernels_alone.join_chunks(products, logs, np.full(states, 1 / states), before, betas)
    return (before, betas if backward else np.ones_like(before), total) if np.isfinite(total) else None


def _walk(
    emissions: Emissions, sequence: int, length: int, rows: Rows, initial: Array, matrix: Array, backward: bool
) -> tuple[Array, Array, float] | None:
    states, bounds = emissions.num_states, np.append(0, np.cumsum(rows.lengths))
    before, total = walk(emissions, sequence, length, initial, matrix, bounds, False)
    betas = np.ones((LANES, states))
    if not np.isfinite(total):
        return None
    if backward:
        ahead, _ = walk(emissions, sequence, length, np.ones(states), matrix, bounds, True)
        betas[:-1] = ahead[1:] @ matrix.T.astype(np.float64)
        betas /= betas.max(1, keepdims=True)
    return before, betas, total


def walk(
    emissions: Emissions, sequence: int, length: int, initial: Array, matrix: Array, bounds: Array, reverse: bool
) -> tuple[Float[Array, "C S"], float]:
    """States at the ends of chunks and the log likelihood, in float64, one step after the other."""
    states = emissions.num_states
    codes, table, values = alone_source(emissions, sequence, length, emissions.table.astype(np.float64), 0.0)
    if emissions.kind == 2:
        values = emissions.log_densities(sequence, length).reshape(-1)
    prior = padded(np.asarray(initial, np.float64), 0.0)
    transition = padded((matrix.T if reverse else matrix).astype(np.float64), 0.0)
    every = hmm_passes.rescale_every(emissions, matrix.astype(np.float64))
    marks = np.zeros((len(bounds) - 1, len(prior)))
    row, state, new = np.zeros_like(prior), np.zeros_like(prior), np.zeros_like(prior)
    total = hmm_kernels_alone.forward_alone(
        codes, table, values, prior, transition.reshape(-1), every, reverse, bounds, row, state, new, marks
    )
    totals = marks.sum(1, keepdims=True)
    return marks[:, :states] / np.where(totals > 0, totals, 1), float(total)


def padded(array: Array, filling: float) -> Array:
    """The last axis filled up to a multiple of WIDTH."""
    extra = [(0, 0)] * (array.ndim - 1) + [(0, -array.shape[-1] % WIDTH)]
    return np.ascontiguousarray(np.pad(array, extra, constant_values=filling))


def alone_source(emissions: Emissions, sequence: int, length: int, table: Array, filling: float) -> tuple[Array, Array, Array]:
    """codes, table rows, values of one sequence for `hmm_kernels_alone`."""
    steps = slice(sequence * emissions.num_steps, sequence * emissions.num_steps + length)
    if emissions.kind == 0:
        return emissions.codes[steps], padded(table.T, filling).reshape(-1), np.empty(0)
    states = emissions.num_states
    values = emissions.values[steps.start * states : steps.stop * states] if emissions.kind == 1 else np.empty(0)
    return np.empty(0, np.uint8), np.empty(0), values.astype(np.float64)
