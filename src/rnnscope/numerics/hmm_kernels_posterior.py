"""Forward-backward over blocks of LANES sequences: posteriors and expected counts in one pass (numba).

The forward states of a stretch of steps are kept; of longer rows only the state before each stretch, from which the stretch is
computed again. So memory grows with steps / stretch, and the (rows, steps, S) posteriors need never exist.
"""

from rnnscope.numerics.hmm_kernels import emit, exponentiate, extent, forward_step, lane_log_likelihood, rescale, write
from rnnscope.numerics.hmm_kernels_advance import advance
from rnnscope.numerics.hmm_kernels_counts import count_pairs, count_symbols, drain, forget
from rnnscope.numerics.hmm_kernels_lanes import (
    LANES,
    WIDTH,
    above,
    add,
    div,
    expect,
    exponent,
    fma,
    inner,
    kernel,
    load,
    mul,
    pick,
    power,
    splat,
    store,
    take,
)


@inner
def _copy(source, at, target, to, size):
    for c in range(0, size, WIDTH):
        store(target, to + c, load(source, at + c))


@inner
def _weigh(history, at, beta, states, least, usable, inverse, factor):
    """inverse = 1 / Σ alpha beta of each lane, and the factor that brings beta near 1.

    Lanes whose sum is below `least` become unusable, and their inverse 0. alpha, at `at` in `history`, is scaled to about 1,
    and so was beta a step ago: a sum that small means that the two passes no longer see the same states in this number format.
    """
    floor = splat(least)
    one, nothing = splat(beta.dtype.type(1)), splat(beta.dtype.type(0))
    for c in range(0, LANES, WIDTH):
        size = load(beta, c)
        total = mul(load(history, at + c), size)
        for j in range(1, states):
            b = load(beta, j * LANES + c)
            size, total = add(size, b), fma(load(history, at + j * LANES + c), b, total)
        live = pick(above(total, floor), load(usable, c), nothing)
        store(usable, c, live)
        store(inverse, c, pick(above(live, nothing), div(one, total), nothing))
        store(factor, c, power(size, exponent(size)))


@inner
def _posterior(history, at, beta, weights, states, inverse, factor, ahead):
    """gamma = alpha beta inverse in the place of alpha; ahead = weights beta factor."""
    for c in range(0, LANES, WIDTH):
        over, by = load(inverse, c), load(factor, c)
        for j in range(states):
            k = j * LANES + c
            b = load(beta, k)
            store(history, at + k, mul(mul(load(history, at + k), b), over))
            store(ahead, k, mul(mul(load(weights, k), b), by))


@inner
def _forward_stretch(
    kind, packed, table, values, params, block, first, last, steps, starts, lengths, shortest, matrix, every,
    work, history, exponents, offset,
):  # fmt: skip
    """Row 0 of `history` is the state before step `first`; row t - first + 1 becomes that of t."""
    states = matrix.shape[0]
    size = states * LANES
    for t in range(first, last):
        before, to = (t - first) * size, (t - first + 1) * size
        forward_step(
            kind, packed, table, values, params, block, t, steps,
            starts, lengths, shortest, matrix, work, history, before, to, offset,
        )  # fmt: skip
        if t % every == 0:
            rescale(history, to, states, exponents)


@inner
def _expect(out, first, part, parts, starts, states):
    """Ask for the memory of one in `parts` equal parts of what a stretch will write, so that it is there in time."""
    run, size, wide = parts * states, states * LANES, 64 // out.itemsize
    lane, k = part * size // run, part * size % run
    for _ in range(0, size, wide):
        expect(out, (take(starts, lane) + first) * states + k)
        k += wide
        if k >= run:
            k = 0
            lane = min(lane + 1, LANES - 1)


@inner
def _end(t, lengths, states, end, beta, ahead):
    """Lanes of which t is the last step, or none: their beta, and nothing ahead."""
    for lane in range(LANES):
        if t >= lengths[lane] - 1:
            for j in range(states):
                beta[j * LANES + lane] = end[j * LANES + lane]
                ahead[j * LANES + lane] = 0


@inner
def _backward_stretch(
    kind, packed, table, values, params, block, first, last, steps, starts, lengths, shortest, longest, matrix, back, least,
    work, history, beta, ahead, usable, inverse, factor, end, counting, pairs, tallies, count, places, out,
):  # fmt: skip
    """Steps last-1 down to first: gamma takes the place of alpha.

    `ahead` holds weights·beta of the step after, row t - first + 1 of `history` alpha of t.
    """
    states = matrix.shape[0]
    size = states * LANES
    for t in range(last - 1, first - 1, -1):
        at = (t - first + 1) * size
        if t == longest - 1:
            _copy(end, 0, beta, 0, size)
        else:
            advance(ahead, 0, beta, 0, back, None)
        if t >= shortest - 1:
            _end(t, lengths, states, end, beta, ahead)
        _weigh(history, at, beta, states, least, usable, inverse, factor)
        if t >= shortest:
            for lane in range(LANES):
                if t >= lengths[lane]:
                    inverse[lane] = 0
        if counting and t < longest - 1:
            count_pairs(history, at, ahead, inverse, states, pairs)
        emit(kind, packed, table, values, params, block, t, steps, starts, lengths, states, work)
        if kind != 0:
            exponentiate(states, work)
        _posterior(history, at, beta, work, states, inverse, factor, ahead)
        if counting and kind == 0:
            count_symbols(packed, (block * steps + t) * LANES, history, at, states, table.shape[1], tallies)
        if out.shape[0] > 0:
            _expect(out, first, last - 1 - t, last - first, starts, states)
    if out.shape[0] > 0:
        write(history, size, first, last, starts, lengths, states, count, places, out)


@inner
def _enter(block, prior, final, reliable, history, end, usable, exponents, offset):
    """The first states and last betas of a block's lanes."""
    for lane in range(LANES):
        row = block * LANES + lane
        exponents[lane], offset[lane] = 0, 0
        usable[lane] = 1 if reliable[row] else 0
        for j in range(prior.shape[1]):
            history[j * LANES + lane] = prior[row, j]
            end[j * LANES + lane] = final[row, j]


@inner
def _leave(block, history, states, usable, reliable, begin):
    """The posteriors of step 0; True if a lane has proved unreliable."""
    found = False
    for lane in range(LANES):
        row = block * LANES + lane
        if reliable[row] and usable[lane] == 0:
            reliable[row] = False
            found = True
        for j in range(states):
            begin[row, j] = history[(states + j) * LANES + lane] * usable[lane]
    return found


@inner
def _both_ways(
    kind, packed, table, values, params, block, steps, starts, lengths, shortest, longest, count, matrix, back, every, stretch,
    least, work, history, marks, beta, ahead, end, usable, inverse, factor, exponents, offset, places, counting, pairs, tallies,
    log_likelihood, out,
):  # fmt: skip
    """All stretches of a block forwards, leaving marks, then backwards; the last one's states are still there."""
    size = matrix.shape[0] * LANES
    stretches = (longest + stretch - 1) // stretch
    for s in range(2 * stretches - 1):
        place = min(s, 2 * stretches - 2 - s)
        first, last = place * stretch, min((place + 1) * stretch, longest)
        if s < stretches:
            _copy(history, 0, marks, place * size, size)
        else:
            _copy(marks, place * size, history, 0, size)
        _forward_stretch(
            kind, packed, table, values, params, block, first, last, steps, starts, lengths, shortest, matrix, every,
            work, history, exponents, offset,
        )  # fmt: skip
        if s == stretches - 1:
            lane_log_likelihood(
                history, (last - first) * size, matrix.shape[0], exponents, offset, log_likelihood, block * LANES
            )
        if s < stretches - 1:
            _copy(history, (last - first) * size, history, 0, size)
        else:
            _backward_stretch(
                kind, packed, table, values, params, block, first, last, steps, starts, lengths, shortest, longest, matrix,
                back, least, work, history, beta, ahead, usable, inverse, factor, end, counting, pairs, tallies, count,
                places, out,
            )  # fmt: skip


@kernel
def posterior(
    kind, packed, table, values, params, steps, starts, lengths, count, prior, final, matrix, back, every, stretch, least,
    work, history, marks, beta, ahead, end, usable, inverse, factor, exponents, offset, places, counting, pairs, tallies,
    pair_totals, tally_totals, begin, reliable, log_likelihood, out,
):  # fmt: skip
    """Forward-backward of every row.

    count: rows that are no copies. prior: (rows, S) of the first step, final: (rows, S) beta of the last one.
    back: the matrix transposed.
    history: (stretch + 1)·S·LANES, marks: (number of stretches)·S·LANES, the other room as named: S·LANES or LANES.
    reliable: (rows,) in and out; a row that is or becomes False counts for nothing, and its block must be run again.
    pair_totals (S·S), tally_totals (S·columns): added to if `counting`, from blocks all of whose wanted rows were reliable;
    begin: (rows, S) posterior of step 0. out: as in `forward`.
    """
    rows, states = prior.shape
    for block in range(rows // LANES):
        begins, ends = starts[block * LANES : (block + 1) * LANES], lengths[block * LANES : (block + 1) * LANES]
        shortest, longest = extent(ends)
        again = longest > 0
        while again:
            _enter(block, prior, final, reliable, history, end, usable, exponents, offset)
            _both_ways(
                kind, packed, table, values, params, block, steps, begins, ends, shortest, longest,
                min(count - block * LANES, LANES), matrix, back, every, stretch, least, work, history, marks, beta, ahead,
                end, usable, inverse, factor, exponents, offset, places, counting, pairs, tallies, log_likelihood, out,
            )  # fmt: skip
            again = _leave(block, history, states, usable, reliable, begin)
            if again:
                forget(pairs)
                forget(tallies)
        drain(pairs, pair_totals)
        drain(tallies, tally_totals)
