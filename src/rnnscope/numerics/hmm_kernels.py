"""Forward and backward passes over blocks of LANES sequences (numba, cached on disk).

A block holds the state vectors of LANES sequences as a flat (S, LANES) array, so one instruction advances WIDTH sequences.
Vectors are rescaled by exact powers of two every few steps and the exponents summed as whole numbers: no logarithm in a loop.
Rows are stretches of one flat array of steps: row r is steps start[r] .. start[r] + length[r]. A lane whose row has ended
keeps its state.

Where emission weights come from is said by (kind, packed, table, values, params).
    kind 0: symbols packed as (block, step, lane) and a table (S, columns), the last column for anything else ("missing").
    kind 1: values (steps·S) of log densities. kind 2: values (steps·D), diagonal Gaussians with params (3, S·D): mean,
    half inverse variance, log normaliser; a NaN component is left out.
"""

import numpy as np

from rnnscope.numerics.hmm_kernels_advance import advance
from rnnscope.numerics.hmm_kernels_lanes import (
    LANES,
    WIDTH,
    above,
    add,
    div,
    equals,
    exponent,
    exponential,
    fma,
    inner,
    kernel,
    load,
    mul,
    pick,
    power,
    put,
    scatter,
    splat,
    store,
    sub,
    take,
    transpose,
    widen,
)

_COMPARE = 12  # up to so many columns, comparing symbols beats looking them up one by one


@inner
def extent(lengths):
    """The shortest and the longest of some rows."""
    shortest, longest = lengths[0], lengths[0]
    for lane in range(1, lengths.shape[0]):
        shortest, longest = min(shortest, lengths[lane]), max(longest, lengths[lane])
    return shortest, longest


@kernel
def pack(symbols, starts, lengths, steps, missing, packed):
    """Symbols of each row as (block, step, lane) codes; steps beyond a row's end become `missing`."""
    for block in range(starts.shape[0] // LANES):
        base = block * steps * LANES
        begins, ends = starts[block * LANES : (block + 1) * LANES], lengths[block * LANES : (block + 1) * LANES]
        shortest, _ = extent(ends)
        whole = min(shortest, steps) // WIDTH * WIDTH
        for t in range(0, whole, WIDTH):
            for c in range(0, LANES, WIDTH):
                transpose(symbols, begins, c, t, packed, base + t * LANES + c)
        for t in range(whole, steps):
            for lane in range(LANES):
                code = missing
                if t < ends[lane]:
                    code = take(symbols, begins[lane] + t)
                put(packed, base + t * LANES + lane, code)


@inner
def _look_up(packed, at, table, weights):
    states, columns = table.shape
    if columns == 4:
        for c in range(0, LANES, WIDTH):
            codes = load(packed, at + c)
            zero, one, two = equals(codes, 0), equals(codes, 1), equals(codes, 2)
            for j in range(states):
                value = pick(two, splat(table[j, 2]), splat(table[j, 3]))
                value = pick(one, splat(table[j, 1]), value)
                store(weights, j * LANES + c, pick(zero, splat(table[j, 0]), value))
    elif columns <= _COMPARE:
        for c in range(0, LANES, WIDTH):
            codes = load(packed, at + c)
            for j in range(states):
                value = splat(table[j, columns - 1])
                for k in range(columns - 1):
                    value = pick(equals(codes, k), splat(table[j, k]), value)
                store(weights, j * LANES + c, value)
    else:
        for lane in range(LANES):
            column = min(np.intp(packed[at + lane]), columns - 1)
            for j in range(states):
                weights[j * LANES + lane] = table[j, column]


@inner
def _gather(values, t, starts, lengths, features, work, to):
    if features == 1:
        for lane in range(LANES):
            own = take(starts, lane) + min(t, max(take(lengths, lane) - 1, 0))
            put(work, to + lane, take(values, own))
        return
    for lane in range(LANES):
        at = (take(starts, lane) + min(t, max(take(lengths, lane) - 1, 0))) * features
        for f in range(features):
            put(work, to + f * LANES + lane, take(values, at + f))


@inner
def _gaussian(params, states, work):
    """Log densities of the features staged behind `top`; a NaN component adds nothing."""
    features = params.shape[1] // states
    stage = (states + 1) * LANES
    for j in range(states):
        for c in range(0, LANES, WIDTH):
            total = splat(params.dtype.type(0))
            for f in range(features):
                p = j * features + f
                away = sub(load(work, stage + f * LANES + c), splat(params[0, p]))
                square = mul(away, away)
                term = fma(square, splat(params[1, p]), splat(params[2, p]))
                total = pick(above(square, splat(params.dtype.type(-1))), add(total, term), total)
            store(work, j * LANES + c, total)


@inner
def exponentiate(states, work):
    """Log densities to densities relative to the largest, whose log goes behind them."""
    floor = splat(work.dtype.type(-1e30))
    nothing = splat(work.dtype.type(0))
    for c in range(0, LANES, WIDTH):
        largest = load(work, c)
        for j in range(1, states):
            value = load(work, j * LANES + c)
            largest = pick(above(value, largest), value, largest)
        largest = pick(above(largest, floor), largest, nothing)
        store(work, states * LANES + c, largest)
        for j in range(states):
            store(work, j * LANES + c, exponential(sub(load(work, j * LANES + c), largest)))


@inner
def emit(kind, packed, table, values, params, block, t, steps, starts, lengths, states, work):
    """Emission weights of one step into `work`: (S, LANES) weights, LANES logs taken off them, then staging room.

    Table entries as they are (kind 0), or log densities, which `exponentiate` makes weights of.
    """
    if kind == 0:
        _look_up(packed, (block * steps + t) * LANES, table, work)
        return
    if kind == 1:
        _gather(values, t, starts, lengths, states, work, 0)
    else:
        _gather(values, t, starts, lengths, params.shape[1] // states, work, (states + 1) * LANES)
        _gaussian(params, states, work)


@inner
def rescale(state, at, states, exponents):
    """Bring the lanes' sums into [1, 2) by powers of two, adding the powers to `exponents`."""
    for c in range(0, LANES, WIDTH):
        total = load(state, at + c)
        for j in range(1, states):
            total = add(total, load(state, at + j * LANES + c))
        whole = exponent(total)
        store(exponents, c, add(load(exponents, c), whole))
        factor = power(total, whole)
        for j in range(states):
            k = at + j * LANES + c
            store(state, k, mul(load(state, k), factor))


@inner
def _keep(t, lengths, states, work, history, before, to):
    """Lanes whose row has ended keep their state."""
    for lane in range(LANES):
        if t >= lengths[lane]:
            work[states * LANES + lane] = 0
            for j in range(states):
                history[to + j * LANES + lane] = history[before + j * LANES + lane]


@inner
def forward_step(
    kind, packed, table, values, params, block, t, steps, starts, lengths, shortest, matrix, work, history, before, to, offset
):
    """The state of step t at `to` in `history` from the one at `before` (at t = 0: the prior); logs taken off to `offset`."""
    states = matrix.shape[0]
    emit(kind, packed, table, values, params, block, t, steps, starts, lengths, states, work)
    if kind != 0:
        exponentiate(states, work)
    if t == 0:
        for c in range(0, states * LANES, WIDTH):
            store(history, to + c, mul(load(history, before + c), load(work, c)))
    else:
        advance(history, before, history, to, matrix, work)
    if t >= shortest:
        _keep(t, lengths, states, work, history, before, to)
    if kind != 0:
        for c in range(0, LANES, WIDTH):
            store(offset, c, add(load(offset, c), widen(load(work, states * LANES + c))))


@inner
def lane_log_likelihood(state, at, states, exponents, offset, out, first):
    for lane in range(LANES):
        total = 0.0
        for j in range(states):
            total += state[at + j * LANES + lane]
        out[first + lane] = np.log(total) + exponents[lane] * np.log(2.0) + offset[lane] if total > 0 else -np.inf


@inner
def normalise(history, at, states, target, to):
    """The lanes' states divided by their sums; zeros where the sum is zero."""
    nothing = splat(target.dtype.type(0))
    one = splat(target.dtype.type(1))
    for c in range(0, LANES, WIDTH):
        total = load(history, at + c)
        for j in range(1, states):
            total = add(total, load(history, at + j * LANES + c))
        inverse = pick(above(total, nothing), div(one, total), nothing)
        for j in range(states):
            store(target, to + j * LANES + c, mul(load(history, at + j * LANES + c), inverse))


@inner
def write(history, at, first, last, starts, lengths, states, count, places, out):
    """Steps first..last-1, (S, LANES) each from `at` in `history`, to those of the first `count` rows that have them.

    Square by square, each transposed in registers: numbers stored one by one would cost more than both passes.
    """
    wide = 64 // out.itemsize
    for lane in range(LANES):
        put(places, lane, (take(starts, lane) + first) * states)
    for lane in range(0, LANES, wide):
        shortest, _ = extent(lengths[lane : lane + wide])
        whole = (min(shortest, last) - first) * states if lane + wide <= count else 0
        done = 0 * whole
        if whole >= wide:
            for done in range(0, whole - wide, wide):
                scatter(history, at + done * LANES + lane, out, places, lane, done)
            done = whole  # the last square overlaps the one before
            scatter(history, at + (whole - wide) * LANES + lane, out, places, lane, whole - wide)
        for single in range(lane, min(lane + wide, count)):
            for k in range(done, (min(lengths[single], last) - first) * states):
                put(out, take(places, single) + k, take(history, at + k * LANES + single))


@kernel
def forward(
    kind,
    packed,
    table,
    values,
    params,
    steps,
    starts,
    lengths,
    count,
    prior,
    matrix,
    every,
    work,
    history,
    exponents,
    offset,
    stage,
    places,
    final,
    log_likelihood,
    out,
):
    """The forward pass of every row, once for each variant of the prior.

    prior: (V, rows, S), or (V, 1, S) for all; the first `count` rows are no copies.
    work, history (3·S·LANES), exponents, offset, stage (a number of steps·S·LANES), places (LANES): room.
    final: (V, rows, S), the last state up to a factor; its sum with that factor has the log `log_likelihood` (V, rows).
    out: (steps·S) normalised states, in the order of the rows' steps, if it is not empty (one variant only).
    """
    variants, rows, states = prior.shape[0], starts.shape[0], prior.shape[2]
    size = states * LANES
    staged = max(stage.shape[0] // size, 1)
    for block in range(rows // LANES):
        begins, ends = starts[block * LANES : (block + 1) * LANES], lengths[block * LANES : (block + 1) * LANES]
        shortest, longest = extent(ends)
        for variant in range(variants):
            for j in range(states):
                for lane in range(LANES):
                    history[j * LANES + lane] = prior[variant, min(block * LANES + lane, prior.shape[1] - 1), j]
            for lane in range(LANES):
                exponents[lane], offset[lane] = 0, 0
            before, to = 0 * size, size  # not the literal 0, which would be compiled apart
            for t in range(max(longest, 1)):
                forward_step(
                    kind, packed, table, values, params, block, t, steps,
                    begins, ends, shortest, matrix, work, history, before, to, offset,
                )  # fmt: skip
                if t % every == 0:
                    rescale(history, to, states, exponents)
                if out.shape[0] > 0:
                    normalise(history, to, states, stage, t % staged * size)
                    if t % staged == staged - 1 or t == longest - 1:
                        done = t // staged * staged
                        write(stage, 0, done, t + 1, begins, ends, states, min(count - block * LANES, LANES), places, out)
                before, to = to, 3 * size - to
            lane_log_likelihood(history, before, states, exponents, offset, log_likelihood[variant], block * LANES)
            for j in range(states):
                for lane in range(LANES):
                    final[variant, block * LANES + lane, j] = history[before + j * LANES + lane]
