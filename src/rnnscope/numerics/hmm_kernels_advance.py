"""The product of lanes' states with a matrix, a few columns at a time, so that the sums stay in registers (numba).

Four sums of WIDTH numbers fit the registers of AVX2 too; eight are a tenth faster with AVX-512 and half as fast without.
"""

from rnnscope.numerics.hmm_kernels_lanes import LANES, WIDTH, fma, inner, load, mul, splat, store

_PAIR = 2 * WIDTH


@inner
def advance(old, at, new, to, matrix, weights):
    """new_j = weights_j Σ_i old_i matrix_ij for every lane; `old` begins at `at`, `new` at `to`. weights may be None."""
    states = matrix.shape[0]
    rest = states // 4 * 4
    for c in range(0, LANES, WIDTH):
        for j in range(0, rest, 4):
            _four_columns(old, at + c, new, to + c, matrix, weights, c, j)
    for c in range(0, LANES, _PAIR):
        if states & 2:
            _two_columns(old, at + c, new, to + c, matrix, weights, c, rest)
        if states & 1:
            _one_column(old, at + c, new, to + c, matrix, weights, c, states - 1)


@inner
def _put(new, to, a, weights, c, j):
    k = j * LANES
    if weights is None:
        store(new, to + k, a)
    else:
        store(new, to + k, mul(a, load(weights, c + k)))


@inner
def _put_pair(new, to, a, b, weights, c, j):
    k = j * LANES
    if weights is None:
        store(new, to + k, a)
        store(new, to + k + WIDTH, b)
    else:
        store(new, to + k, mul(a, load(weights, c + k)))
        store(new, to + k + WIDTH, mul(b, load(weights, c + k + WIDTH)))


@inner
def _four_columns(old, at, new, to, matrix, weights, c, j):
    a = load(old, at)
    u, v, w, x = splat(matrix[0, j]), splat(matrix[0, j + 1]), splat(matrix[0, j + 2]), splat(matrix[0, j + 3])
    u, v, w, x = mul(a, u), mul(a, v), mul(a, w), mul(a, x)
    for i in range(1, matrix.shape[0]):
        a = load(old, at + i * LANES)
        p, q, r, s = splat(matrix[i, j]), splat(matrix[i, j + 1]), splat(matrix[i, j + 2]), splat(matrix[i, j + 3])
        u, v, w, x = fma(a, p, u), fma(a, q, v), fma(a, r, w), fma(a, s, x)
    _put(new, to, u, weights, c, j)
    _put(new, to, v, weights, c, j + 1)
    _put(new, to, w, weights, c, j + 2)
    _put(new, to, x, weights, c, j + 3)


@inner
def _two_columns(old, at, new, to, matrix, weights, c, j):
    a, b = load(old, at), load(old, at + WIDTH)
    u, v = splat(matrix[0, j]), splat(matrix[0, j + 1])
    ua, va, ub, vb = mul(a, u), mul(a, v), mul(b, u), mul(b, v)
    for i in range(1, matrix.shape[0]):
        a, b = load(old, at + i * LANES), load(old, at + i * LANES + WIDTH)
        u, v = splat(matrix[i, j]), splat(matrix[i, j + 1])
        ua, va, ub, vb = fma(a, u, ua), fma(a, v, va), fma(b, u, ub), fma(b, v, vb)
    _put_pair(new, to, ua, ub, weights, c, j)
    _put_pair(new, to, va, vb, weights, c, j + 1)


@inner
def _one_column(old, at, new, to, matrix, weights, c, j):
    u = splat(matrix[0, j])
    ua, ub = mul(load(old, at), u), mul(load(old, at + WIDTH), u)
    for i in range(1, matrix.shape[0]):
        u = splat(matrix[i, j])
        ua, ub = fma(load(old, at + i * LANES), u, ua), fma(load(old, at + i * LANES + WIDTH), u, ub)
    _put_pair(new, to, ua, ub, weights, c, j)
