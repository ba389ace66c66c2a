"""Expected transitions and symbols of a block of lanes, summed in working arrays WIDTH wide (numba)."""

from rnnscope.numerics.hmm_kernels_lanes import LANES, WIDTH, add, equals, fma, inner, load, mul, pick, put, splat, store, take

_COMPARE = 12  # up to so many columns, comparing symbols beats looking them up one by one


@inner
def count_pairs(history, at, ahead, inverse, states, pairs):
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
def count_symbols(packed, at, gamma, place, states, columns, tallies):
    """tallies_jk += the lanes' gamma_j where the symbol is k; (S·columns, WIDTH), or one element each for many columns."""
    if columns <= _COMPARE:
        nothing = splat(gamma.dtype.type(0))
        for c in range(0, LANES, WIDTH):
            codes = load(packed, at + c)
            for k in range(columns):
                here = equals(codes, k)
                for j in range(states):
                    to = (j * columns + k) * WIDTH
                    store(tallies, to, add(load(tallies, to), pick(here, load(gamma, place + j * LANES + c), nothing)))
    else:
        for lane in range(LANES):
            k = min(int(take(packed, at + lane)), columns - 1)
            for j in range(states):
                to = (j * columns + k) * WIDTH
                put(tallies, to, take(tallies, to) + take(gamma, place + j * LANES + lane))


@inner
def drain(part, total):
    """Add the sums over WIDTH of a working array to a float64 one, and empty it."""
    for k in range(total.shape[0]):
        whole = 0.0
        for w in range(WIDTH):
            whole += part[k * WIDTH + w]
            part[k * WIDTH + w] = 0
        total[k] += whole


@inner
def forget(part):
    """Empty a working array."""
    for k in range(part.shape[0]):
        part[k] = 0
