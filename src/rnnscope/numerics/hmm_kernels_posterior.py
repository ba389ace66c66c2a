"""Forward-backward over blocks of LANES sequences: posteriors and expected counts in one pass (numba).

The forward states of a stretch of steps are kept; of longer rows only the state before each stretch, from which the stretch is
computed again. So memory grows with steps / stretch, and the (rows, steps, S) posteriors need never exist.
"""

from rnnscope.numerics.hmm_kernels import advance, emit, exponentiate, extent, forward_step, lane_log_likelihood, rescale, write
from rnnscope.numerics.hmm_kernels_lanes import (
    LANES,
    WIDTH,
    above,
    add,
    div,
    equals,
    exponent,
    fma,
    inner,
    kernel,
    load,
    mul,
    pick,
    power,
    put,
    splat,
    store,
    take,
)

_COMPARE = 12


@inner
def _copy(source, at, target, to, size):
    for c in range(0, size, WIDTH):
        store(target, to + c, load(source, at + c))


@inner
def _posterior(history, at, beta, states, least, usable, inverse, gamma):
    """gamma = alpha beta / Σ alpha beta, and beta brought near 1; lanes whose sum is below `least` become unusable.

    alpha lies at `at` in `history`, scaled to about 1, and so is beta after the previous step: a sum that small means that
    the two passes no longer see the same states in this number format.
    """
    floor = splat(least)
    one, nothing = splat(beta.dtype.type(1)), splat(beta.dtype.type(0))
    for c in range(0, LANES, WIDTH):
        total, size = nothing, nothing
        for j in range(states):
            b = load(beta, j * LANES + c)
            size = add(size, b)
            product = mul(load(history, at + j * LANES + c), b)
            total = add(total, product)
            store(gamma, j * LANES + c, product)
        live = pick(above(total, floor), load(usable, c), nothing)
        store(usable, c, live)
        over = pick(above(live, nothing), div(one, total), nothing)
        store(inverse, c, over)
        factor = power(size, exponent(size))
        for j in range(states):
            store(gamma, j * LANES + c, mul(load(gamma, j * LANES + c), over))
            store(beta, j * LANES + c, mul(load(beta, j * LANES + c), factor))


@inner
def _count_pairs(history, at, ahead, inverse, states, pairs):
    """pairs_ij += alpha_i ahead_j inverse, summed over the lanes down to WIDTH; `ahead` is multiplied in place."""
    for c in range(0, LANES, WIDTH):
        over = load(inverse, c)
        for j in range(states):
            store(ahead, j * LANES + c, mul(load(ahead, j * LANES + c), over))
    for j in range(0, states - 1, 2):
        p, q = j * LANES, j * LANES + LANES
        p0, p1, p2, p3 = load(ahead, p), load(ahead, p + WIDTH), load(ahead, p + 2 * WIDTH), load(ahead, p + 3 * WIDTH)
        q0, q1, q2, q3 = load(ahead, q), load(ahead, q + WIDTH), load(ahead, q + 2 * WIDTH), load(ahead, q + 3 * WIDTH)
        for i in range(states):
            k = at + i * LANES
            a0, a1, a2, a3 = (
                load(history, k),
                load(history, k + WIDTH),
                load(history, k + 2 * WIDTH),
                load(history, k + 3 * WIDTH),
            )
            to = (i * states + j) * WIDTH
            u = fma(a0, p0, fma(a1, p1, load(pairs, to)))
            v = fma(a0, q0, fma(a1, q1, load(pairs, to + WIDTH)))
            store(pairs, to, fma(a2, p2, fma(a3, p3, u)))
            store(pairs, to + WIDTH, fma(a2, q2, fma(a3, q3, v)))
    if states % 2:
        p = (states - 1) * LANES
        p0, p1, p2, p3 = load(ahead, p), load(ahead, p + WIDTH), load(ahead, p + 2 * WIDTH), load(ahead, p + 3 * WIDTH)
        for i in range(states):
            k, to = at + i * LANES, (i * states + states - 1) * WIDTH
            u = fma(load(history, k), p0, fma(load(history, k + WIDTH), p1, load(pairs, to)))
            store(pairs, to, fma(load(history, k + 2 * WIDTH), p2, fma(load(history, k + 3 * WIDTH), p3, u)))


@inner
def _count_symbols(packed, at, gamma, states, columns, tallies):
    """tallies_jk += the lanes' gamma_j where the symbol is k; (S·columns, WIDTH), or one element each for many columns."""
    if columns <= _COMPARE:
        nothing = splat(gamma.dtype.type(0))
        for c in range(0, LANES, WIDTH):
            codes = load(packed, at + c)
            for k in range(columns):
                here = equals(codes, k)
                for j in range(states):
                    to = (j * columns + k) * WIDTH
                    store(tallies, to, add(load(tallies, to), pick(here, load(gamma, j * LANES + c), nothing)))
    else:
        for lane in range(LANES):
            k = min(int(take(packed, at + lane)), columns - 1)
            for j in range(states):
                to = (j * columns + k) * WIDTH
                put(tallies, to, take(tallies, to) + take(gamma, j * LANES + lane))


@inner
def _drain(part, total):
    """Add the sums over WIDTH of a working array to a float64 one, and empty it."""
    for k in range(total.shape[0]):
        whole = 0.0
        for w in range(WIDTH):
            whole += part[k * WIDTH + w]
            part[k * WIDTH + w] = 0
        total[k] += whole


@inner
def _backward_stretch(
    kind, packed, table, values, params, block, first, last, steps, starts, lengths, shortest, longest, matrix, back, least,
    work, history, beta, ahead, usable, inverse, end, counting, pairs, tallies, count, out,
):  # fmt: skip
    """Steps last-1 down to first. `ahead` holds weights·beta of the step after; row t - first + 1 of `history` alpha of t."""
    states = matrix.shape[0]
    size = states * LANES
    for c in range(0, size, WIDTH):
        store(work, c, splat(work.dtype.type(1)))
    for t in range(last - 1, first - 1, -1):
        at = (t - first + 1) * size
        if t == longest - 1:
            _copy(end, 0, beta, 0, size)
        else:
            for c in range(0, size, WIDTH):
                store(work, c, splat(work.dtype.type(1)))
            advance(ahead, 0, beta, 0, back, work)
            if t >= shortest - 1:
                for lane in range(LANES):
                    if t >= lengths[lane] - 1:
                        for j in range(states):
                            beta[j * LANES + lane] = end[j * LANES + lane]
        # beta is scaled below only after its sum with alpha is taken: `ahead` belongs to the unscaled one
        _posterior(history, at, beta, states, least, usable, inverse, work)
        if t >= shortest - 1:
            for lane in range(LANES):
                if t >= lengths[lane] - 1:
                    inverse[lane] = 0
                if t >= lengths[lane]:
                    for j in range(states):
                        work[j * LANES + lane] = 0
        if counting:
            if t < longest - 1:
                _count_pairs(history, at, ahead, inverse, states, pairs)
            if kind == 0:
                _count_symbols(packed, (block * steps + t) * LANES, work, states, table.shape[1], tallies)
        if out.shape[0] > 0:
            write(work, t, starts, lengths, states, count, out)
        if t == 0:
            _copy(work, 0, ahead, 0, size)
        else:
            emit(kind, packed, table, values, params, block, t, steps, starts, lengths, states, work)
            if kind != 0:
                exponentiate(states, work)
            for c in range(0, size, WIDTH):
                store(ahead, c, mul(load(beta, c), load(work, c)))


@kernel
def posterior(
    kind, packed, table, values, params, steps, starts, lengths, count, prior, final, matrix, back, every, stretch, least,
    work, history, marks, beta, ahead, end, usable, inverse, exponents, offset, counting, pairs, tallies,
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
    size = states * LANES
    for block in range(rows // LANES):
        begins, ends = starts[block * LANES : (block + 1) * LANES], lengths[block * LANES : (block + 1) * LANES]
        shortest, longest = extent(ends)
        if longest == 0:
            continue
        again = True
        while again:
            again = False
            for lane in range(LANES):
                row = block * LANES + lane
                exponents[lane], offset[lane] = 0, 0
                usable[lane] = 1 if reliable[row] else 0
                for j in range(states):
                    history[j * LANES + lane] = prior[row, j]
                    end[j * LANES + lane] = final[row, j]
            stretches = (longest + stretch - 1) // stretch
            for s in range(stretches):
                first, last = s * stretch, min((s + 1) * stretch, longest)
                _copy(history, 0, marks, s * size, size)
                _forward_stretch(
                    kind, packed, table, values, params, block, first, last, steps, begins, ends, shortest, matrix, every,
                    work, history, exponents, offset,
                )  # fmt: skip
                if s < stretches - 1:
                    _copy(history, (last - first) * size, history, 0, size)
            last = longest - (stretches - 1) * stretch
            lane_log_likelihood(history, last * size, states, exponents, offset, log_likelihood, block * LANES)
            for s in range(stretches - 1, -1, -1):
                first, last = s * stretch, min((s + 1) * stretch, longest)
                if s < stretches - 1:
                    _copy(marks, s * size, history, 0, size)
                    _forward_stretch(
                        kind, packed, table, values, params, block, first, last, steps, begins, ends, shortest, matrix, every,
                        work, history, exponents, offset,
                    )  # fmt: skip
                _backward_stretch(
                    kind, packed, table, values, params, block, first, last, steps, begins, ends, shortest, longest, matrix,
                    back, least, work, history, beta, ahead, usable, inverse, end, counting, pairs, tallies,
                    min(count - block * LANES, LANES), out,
                )  # fmt: skip
            for lane in range(LANES):
                row = block * LANES + lane
                if reliable[row] and usable[lane] == 0:
                    reliable[row] = False
                    again = True
                for j in range(states):
                    begin[row, j] = ahead[j * LANES + lane] * usable[lane]
            if again:
                for k in range(pairs.shape[0]):
                    pairs[k] = 0
                for k in range(tallies.shape[0]):
                    tallies[k] = 0
        _drain(pairs, pair_totals)
        _drain(tallies, tally_totals)


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
