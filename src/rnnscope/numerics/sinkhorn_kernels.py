"""Compiled passes over a transport plan on the CPU (numba, cached on disk).

A plan is P_ij = 2^(s K_ij + u_i + v_j): K is -cost, or the inner products x_i·y_j with the halved squared norms absorbed into
u and v, and s = log2(e)/ε. One pass reads K once, takes one vectorised power of two per entry and keeps no matrix of its own.
"""

import numba
import numpy as np
from numba.extending import intrinsic

from rnnscope.numerics.vector_kernels import exp2, exp2_double, wide

_SUMS = {"contract", "reassoc", "nsz"}  # sums may be reordered, so that they vectorise
_LOG2E = 1.4426950408889634


@intrinsic
def _count_bits(typing_context, value):
    def generate(context, builder, signature, arguments):
        return builder.ctpop(arguments[0])

    return value(value), generate


@numba.njit(cache=True, nogil=True, error_model="numpy", fastmath=_SUMS)
def _relaxed(log_ratio, omega):  # steps over 2^4 are not over-relaxed: far from the solution that may swing for ever
    return omega * log_ratio if abs(log_ratio) < 4.0 else log_ratio


@numba.njit(cache=True, nogil=True, error_model="numpy", fastmath=_SUMS)
def sweep_rows(kernel, scale, u, v, log_a, omega, buffer, columns):
    """Rows first: u += ω(log2 a - log2 P1), in place; columns = new P summed over these rows. Returns |P1 - a|_1 before.

    kernel (n, M), u, log_a (n,), v, columns (M,), buffer (4, M): the rows of P at hand, which stay in cache.
    """
    wide()
    rows, width = kernel.shape
    real = u.dtype.type
    scale = real(scale)
    columns[:] = 0
    error = 0.0
    factors = np.zeros(4, u.dtype)
    for first in range(0, rows, 4):
        factors[:] = 0
        for k in range(min(4, rows - first)):
            row, own, out = kernel[first + k], u[first + k], buffer[k]
            total = own * 0
            for j in range(width):
                p = exp2(scale * real(row[j]) + (own + v[j]))
                out[j] = p
                total += p
            target = np.float64(log_a[first + k])
            step = _relaxed(target - np.log(np.float64(total)) * _LOG2E, omega)
            error += abs(np.float64(total) - exp2_double(target))
            u[first + k] = own + step
            factors[k] = exp2_double(step)
        f0, f1, f2, f3 = factors[0], factors[1], factors[2], factors[3]
        p0, p1, p2, p3 = buffer[0], buffer[1], buffer[2], buffer[3]
        for j in range(width):
            columns[j] += (f0 * p0[j] + f1 * p1[j]) + (f2 * p2[j] + f3 * p3[j])
    return error


@numba.njit(cache=True, nogil=True, error_model="numpy", fastmath=_SUMS)
def sweep_columns(columns, v, log_b, omega):
    """v += ω(log2 b - log2 of the column sums), in place."""
    for j in range(v.shape[0]):
        v[j] += _relaxed(np.float64(log_b[j]) - np.log(max(np.float64(columns[j]), 1e-37)) * _LOG2E, omega)


@numba.njit(cache=True, nogil=True, error_model="numpy", fastmath=_SUMS)
def fit_rows(kernel, scale, u, v):
    """u = -max_j (s K_ij + v_j): from here no row of P over- or underflows, whatever v."""
    wide()
    real = u.dtype.type
    scale = real(scale)
    for i in range(u.shape[0]):
        row = kernel[i]
        largest = scale * real(row[0]) + v[0]
        for j in range(v.shape[0]):
            largest = max(largest, scale * real(row[j]) + v[j])
        u[i] = -largest


@numba.njit(cache=True, nogil=True, error_model="numpy", fastmath=_SUMS)
def sum_upper(kernel, scale, u, sums):
    """sums = P1 of a symmetric plan with u on both sides, from the entries on and above the diagonal."""
    wide()
    count = u.shape[0]
    real = u.dtype.type
    scale = real(scale)
    sums[:] = 0
    for i in range(count):
        own = u[i]
        # slices, because numba's check for negative indices keeps a loop from i + 1 from vectorising
        row, others, into = kernel[i, i + 1 :], u[i + 1 :], sums[i + 1 :]
        total = exp2(scale * real(kernel[i, i]) + (own + own))
        for j in range(others.shape[0]):
            p = exp2(scale * real(row[j]) + (own + others[j]))
            total += p
            into[j] += p
        sums[i] += total


@numba.njit(cache=True, nogil=True, error_model="numpy", fastmath=_SUMS)
def form_rows(kernel, scale, u, v, log_a, plan, columns):
    """plan = P of these rows, with u replaced (in place) so that P1 = a exactly; columns = P summed over these rows.

    Returns the number of entries above 1e-4 a_i/M: the rest of a row holds less than 1e-4 of it.
    """
    wide()
    rows, width = kernel.shape
    real = u.dtype.type
    scale = real(scale)
    columns[:] = 0
    large = 0
    for i in range(rows):
        row, own, out = kernel[i], u[i], plan[i]
        total = own * 0
        for j in range(width):
            p = exp2(scale * real(row[j]) + (own + v[j]))
            out[j] = p
            total += p
        mass = exp2_double(np.float64(log_a[i]))
        u[i] = own + (np.float64(log_a[i]) - np.log(np.float64(total)) * _LOG2E)
        factor, least = real(mass / total), real(1e-4 * mass / width)
        count = own * 0
        for j in range(width):
            p = out[j] * factor
            out[j] = p
            columns[j] += p
            count += real(1) if p > least else real(0)
        large += int(count)
    return large


@numba.njit(cache=True, nogil=True, error_model="numpy", fastmath=_SUMS)
def multiply_sparse(plan, log_a, points, product):
    """product = plan @ points, leaving out entries below 1e-4 a_i/M, the others scaled up to the same sum."""
    wide()
    rows, width = plan.shape
    real = plan.dtype.type
    for i in range(rows):
        out, row = product[i], plan[i]
        out[:] = 0
        mass = exp2_double(np.float64(log_a[i]))
        least, kept = real(1e-4 * mass / width), 0.0
        for first in range(0, width, 64):
            piece = row[first : first + 64]
            largest = least
            for j in range(piece.shape[0]):
                largest = max(largest, piece[j])
            if largest == least:
                continue
            for j in range(piece.shape[0]):
                p = piece[j]
                if p > least:
                    kept += p
                    point = points[first + j]
                    for k in range(out.shape[0]):
                        out[k] += p * point[k]
        factor = real(mass / kept)
        for k in range(out.shape[0]):
            out[k] *= factor


@numba.njit(cache=True, nogil=True, fastmath=_SUMS)
def count_common(first, second, common):
    """common_ij = number of ones that bit rows i and j share; first (N, W) and second (W, M) of packed 64-bit words."""
    wide()
    words, width = second.shape
    total = np.empty(width, np.int64)
    for i in range(first.shape[0]):
        out = common[i]
        total[:] = 0
        for k in range(words):
            word, column = first[i, k], second[k]
            for j in range(width):
                total[j] += _count_bits(word & column[j])
        for j in range(width):
            out[j] = total[j]


@numba.njit(cache=True, nogil=True)
def pack_ones(points, words, ones):
    """Bits of rows of zeros and ones (within 1e-4, as a straight-through estimate leaves them), and how many ones; or False.

    points (N, D), words (N, ceil(D/64)) int64, ones (N,) float64.
    """
    rows, width = points.shape
    for i in range(rows):
        row, total = points[i], 0
        for k in range(words.shape[1]):
            word = np.uint64(0)
            for j in range(64 * k, min(64 * k + 64, width)):
                bit = row[j] > 0.5
                if not abs(row[j] - (1.0 if bit else 0.0)) < 1e-4:
                    return False
                word |= np.uint64(bit) << np.uint64(j - 64 * k)
                total += bit
            words[i, k] = np.int64(word)
        ones[i] = total
    return True


@numba.njit(cache=True, nogil=True, fastmath=_SUMS)
def count_mismatches(first, second, mismatches):
    """mismatches_ij = places where sequences differ; first (N, B, W), second (B, W, M): bit b of each symbol, packed over time."""
    wide()
    planes, words, width = second.shape
    total, different = np.empty(width, np.int64), np.empty(width, np.int64)
    for i in range(first.shape[0]):
        out = mismatches[i]
        total[:] = 0
        for w in range(words):
            different[:] = 0
            for b in range(planes):
                word, column = first[i, b, w], second[b, w]
                for j in range(width):
                    different[j] |= word ^ column[j]
            for j in range(width):
                total[j] += _count_bits(different[j])
        for j in range(width):
            out[j] = total[j]
