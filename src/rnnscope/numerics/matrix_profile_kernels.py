"""Diagonal traversals of the matrix of window correlations (numba, cached on disk). Called by `numerics.anomaly_scores` alone.

Along a diagonal the covariance of two windows follows from that of their predecessors in a few operations (Zimmerman et al.
2019); every `_AFRESH` steps it is taken anew, so that rounding behind a large value does not last.
"""

import numba
import numpy as np

_AFRESH = 256


@numba.njit(cache=True, fastmath={"contract"})
def _covariance(x, y, i, j, size, mean_x, mean_y):
    total = 0.0
    for k in range(size):
        total += (x[i + k] - mean_x) * (y[j + k] - mean_y)
    return total


@numba.njit(cache=True, fastmath={"contract"})
def self_join(x, size, exclusion, mean, inverse, flat, past_only):  # best correlation of each window with another one
    count = mean.shape[0]
    best = np.full(count, -2.0)
    where = np.full(count, -1)
    for lag in range(exclusion + 1, count):
        covariance = 0.0
        for i in range(count - lag):
            j = i + lag
            if i % _AFRESH == 0:
                covariance = _covariance(x, x, i, j, size, mean[i], mean[j])
            else:
                covariance += (x[i + size - 1] - mean[i]) * (x[j + size - 1] - mean[j - 1]) - (x[i - 1] - mean[i]) * (
                    x[j - 1] - mean[j - 1]
                )
            value = covariance * inverse[i] * inverse[j]
            if flat[i] or flat[j]:
                value = 1.0 if flat[i] and flat[j] else 0.5
            if value > best[j]:
                best[j] = value
                where[j] = i
            if not past_only and value > best[i]:
                best[i] = value
                where[i] = j
    return best, where


@numba.njit(cache=True, fastmath={"contract"})
def cross_join(x, y, size, mean_x, inverse_x, flat_x, mean_y, inverse_y, flat_y):  # the same, with the windows of y
    count, others = mean_x.shape[0], mean_y.shape[0]
    best = np.full(count, -2.0)
    where = np.full(count, -1)
    for lag in range(-(others - 1), count):  # window i of x beside window i - lag of y
        first = max(0, lag)
        covariance = 0.0
        for i in range(first, min(count, others + lag)):
            j = i - lag
            if (i - first) % _AFRESH == 0:
                covariance = _covariance(x, y, i, j, size, mean_x[i], mean_y[j])
            else:
                covariance += (x[i + size - 1] - mean_x[i]) * (y[j + size - 1] - mean_y[j - 1]) - (x[i - 1] - mean_x[i]) * (
                    y[j - 1] - mean_y[j - 1]
                )
            value = covariance * inverse_x[i] * inverse_y[j]
            if flat_x[i] or flat_y[j]:
                value = 1.0 if flat_x[i] and flat_y[j] else 0.5
            if value > best[i]:
                best[i] = value
                where[i] = j
    return best, where
