"""Most likely state paths for any emission source."""

import numpy as np
from jaxtyping import Float, Int, Integer

from rnnscope.numerics import hmm_kernels_alone, hmm_kernels_viterbi, hmm_long, hmm_passes
from rnnscope.numerics.hmm_kernels_lanes import LANES
from rnnscope.numerics.hmm_passes import Emissions, room

Array = np.ndarray
_SOURCE_BYTES = 2**25
_LOWER_EVERY = 16


def paths_of(
    emissions: Emissions,
    lengths: Integer[Array, " N"],
    initial_probs: Float[Array, " S"],
    transition_matrix: Float[Array, "S S"],
    dtype: type,
) -> tuple[Int[Array, "N T"], Float[Array, " N"]]:
    """Best paths (int16, -1 beyond lengths) and their log probabilities; a few long sequences are done in float64."""
    paths = np.full((len(lengths), emissions.num_steps), -1, np.int16)
    log_prob = np.zeros(len(lengths))
    with np.errstate(divide="ignore"):
        initial, matrix = np.log(initial_probs.astype(np.float64)), np.log(transition_matrix.astype(np.float64))
        table = np.log(emissions.table)
    plain, long = hmm_long.divide(lengths)
    if len(plain):
        rows = hmm_passes.rows_of(plain * emissions.num_steps, np.asarray(lengths)[plain])
        log_prob[plain] = _in_lanes(emissions, rows, initial.astype(dtype), matrix.astype(dtype), table, paths.reshape(-1))
    for n in long:
        log_prob[n] = _alone(emissions, int(n), initial, matrix, table.astype(np.float64), paths[n, : lengths[n]])
    return paths, log_prob


def _source_type(states: int) -> type:
    return np.uint8 if states <= 256 else np.uint16


def _in_lanes(emissions: Emissions, rows: hmm_passes.Rows, initial: Array, matrix: Array, table: Array, out: Array) -> Array:
    dtype, states = matrix.dtype.type, len(initial)
    size, count = states * LANES, len(rows.starts)
    stretch = int(min(max(_SOURCE_BYTES // size, 16), max(rows.longest, 1)))
    log_prob = np.empty(count)
    # float64 scores are never lowered: then ties and rounding are those of a plain implementation
    every = _LOWER_EVERY if dtype == np.float32 else 0
    hmm_kernels_viterbi.viterbi(
        *hmm_passes.packed_source(emissions, rows, table), rows.starts, rows.lengths, initial, matrix, every, stretch,
        hmm_passes.work_room(emissions, dtype), room(2 * size, dtype),
        room((rows.longest // stretch + 1) * size, dtype), room(LANES, np.float64),
        room(stretch * size, _source_type(states)), np.zeros(LANES, np.int64), log_prob, out,
    )  # fmt: skip
    return rows.restore(log_prob)


def _alone(emissions: Emissions, sequence: int, initial: Array, matrix: Array, table: Array, out: Array) -> float:
    codes, rows, values = hmm_long.alone_source(emissions, sequence, len(out), table, -np.inf)
    if emissions.kind == 2:
        values = emissions.log_densities(sequence, len(out)).reshape(-1)
    prior, transition = hmm_long.padded(initial, -np.inf), hmm_long.padded(matrix, -np.inf)
    sources: Array = np.empty(len(out) * len(prior), _source_type(len(initial)))
    row, score = np.full_like(prior, -np.inf), np.full_like(prior, -np.inf)
    best = hmm_kernels_alone.viterbi_alone(codes, rows, values, prior, transition.reshape(-1), row, score, sources, out)
    return float(best)
