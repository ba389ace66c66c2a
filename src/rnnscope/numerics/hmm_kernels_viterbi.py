"""Most likely state paths (numba): sequences in lanes, or the states of one long sequence in lanes.

In logs, with the same order of operations as a plain implementation, and ties to the lowest state.
"""

from rnnscope.numerics.hmm_kernels import emit, extent
from rnnscope.numerics.hmm_kernels_lanes import (
    LANES,
    WIDTH,
    above,
    add,
    inner,
    kernel,
    load,
    pick,
    put,
    splat,
    store,
    sub,
    take,
    widen,
)


@inner
def _best(old, at, new, to, matrix, weights, sources, record):
    """new_j = weights_j + max_i (old_i + matrix_ij), and the lowest i that reaches it."""
    states = matrix.shape[0]
    for c in range(0, LANES, WIDTH):
        for j in range(0, states - 1, 2):
            value = load(old, at + c)
            u, v = add(value, splat(matrix[0, j])), add(value, splat(matrix[0, j + 1]))
            from_u, from_v = splat(sources.dtype.type(0)), splat(sources.dtype.type(0))
            for i in range(1, states):
                value = load(old, at + i * LANES + c)
                other = add(value, splat(matrix[i, j]))
                better = above(other, u)
                u, from_u = pick(better, other, u), pick(better, splat(sources.dtype.type(i)), from_u)
                other = add(value, splat(matrix[i, j + 1]))
                better = above(other, v)
                v, from_v = pick(better, other, v), pick(better, splat(sources.dtype.type(i)), from_v)
            k = j * LANES + c
            store(new, to + k, add(u, load(weights, k)))
            store(sources, record + k, from_u)
            store(new, to + k + LANES, add(v, load(weights, k + LANES)))
            store(sources, record + k + LANES, from_v)
        if states % 2:
            j = states - 1
            u, from_u = add(load(old, at + c), splat(matrix[0, j])), splat(sources.dtype.type(0))
            for i in range(1, states):
                other = add(load(old, at + i * LANES + c), splat(matrix[i, j]))
                better = above(other, u)
                u, from_u = pick(better, other, u), pick(better, splat(sources.dtype.type(i)), from_u)
            store(new, to + j * LANES + c, add(u, load(weights, j * LANES + c)))
            store(sources, record + j * LANES + c, from_u)


@inner
def _lower(score, at, states, taken):
    """Take the largest score off all, so that float32 keeps its precision; scores of -inf stay."""
    floor, nothing = splat(score.dtype.type(-1e30)), splat(score.dtype.type(0))
    for c in range(0, LANES, WIDTH):
        largest = load(score, at + c)
        for j in range(1, states):
            value = load(score, at + j * LANES + c)
            largest = pick(above(value, largest), value, largest)
        largest = pick(above(largest, floor), largest, nothing)
        store(taken, c, add(load(taken, c), widen(largest)))
        for j in range(states):
            store(score, at + j * LANES + c, sub(load(score, at + j * LANES + c), largest))


@inner
def _score_stretch(
    kind, packed, table, values, params, block, first, last, steps, starts, lengths, shortest, matrix, every,
    work, score, before, taken, sources,
):  # fmt: skip
    """Scores of steps first..last-1, alternating between two places in `score`; returns the place of the last."""
    states = matrix.shape[0]
    size = states * LANES
    for t in range(first, last):
        to, record = size - before, (t - first) * size
        emit(kind, packed, table, values, params, block, t, steps, starts, lengths, states, work)
        if t == 0:
            for c in range(0, size, WIDTH):
                store(score, to + c, add(load(score, before + c), load(work, c)))
        else:
            _best(score, before, score, to, matrix, work, sources, record)
        if t >= shortest:
            for lane in range(LANES):
                if t >= lengths[lane]:
                    for j in range(states):
                        score[to + j * LANES + lane] = score[before + j * LANES + lane]
                        sources[record + j * LANES + lane] = j
        if every > 0 and t % every == 0:
            _lower(score, to, states, taken)
        before = to
    return before


@kernel
def viterbi(
    kind, packed, table, values, params, steps, starts, lengths, prior, matrix, every, stretch,
    work, score, marks, taken, sources, path, log_prob, out,
):  # fmt: skip
    """The best path of every row; prior (S,), matrix and tables are logs.

    every: steps between lowerings of the scores, 0 for never. stretch: steps whose sources are kept (stretch·S·LANES).
    marks: scores before each stretch. score: 2·S·LANES. path: LANES. log_prob: (rows,). out: (steps,).
    """
    states = matrix.shape[0]
    size = states * LANES
    for block in range(starts.shape[0] // LANES):
        begins, ends = starts[block * LANES : (block + 1) * LANES], lengths[block * LANES : (block + 1) * LANES]
        shortest, longest = extent(ends)
        for lane in range(LANES):
            taken[lane] = 0
            for j in range(states):
                score[j * LANES + lane] = prior[j]
        stretches, at = (longest + stretch - 1) // stretch, 0 * size
        for s in range(stretches):
            for c in range(0, size, WIDTH):
                store(marks, s * size + c, load(score, at + c))
            at = _score_stretch(
                kind, packed, table, values, params, block, s * stretch, min((s + 1) * stretch, longest), steps, begins, ends,
                shortest, matrix, every, work, score, at, taken, sources,
            )  # fmt: skip
        for lane in range(LANES):
            best = 0 * size
            for j in range(1, states):
                if score[at + j * LANES + lane] > score[at + best * LANES + lane]:
                    best = j
            path[lane] = best
            log_prob[block * LANES + lane] = score[at + best * LANES + lane] + taken[lane]
        for s in range(stretches - 1, -1, -1):
            first, last = s * stretch, min((s + 1) * stretch, longest)
            if s < stretches - 1:
                for c in range(0, size, WIDTH):
                    store(score, 0 * size + c, load(marks, s * size + c))
                _score_stretch(
                    kind, packed, table, values, params, block, first, last, steps, begins, ends,
                    shortest, matrix, every, work, score, 0 * size, taken, sources,
                )  # fmt: skip
            for t in range(last - 1, first - 1, -1):
                for lane in range(LANES):
                    if t < ends[lane]:
                        put(out, begins[lane] + t, out.dtype.type(path[lane]))
                    if t > 0:
                        path[lane] = take(sources, ((t - first) * states + path[lane]) * LANES + lane)
