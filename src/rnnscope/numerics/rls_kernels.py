"""Recursive least squares (numba, cached on disk)."""

import numba
import numpy as np

from rnnscope.numerics.vector_kernels import wide

_SUMS = {"contract", "reassoc", "nsz"}


@numba.njit(cache=True, nogil=True, error_model="numpy", fastmath=_SUMS)
def learn_samples(inverse, weights, center, offset, mass, features, targets, forgetting):
    """Take samples in one by one, in place; returns the mass and the sum of squared errors made before each was learned.

    inverse (P, P) is that of the centred moment matrix G, weights (Y, P), center (P,) and offset (Y,) running means, mass the sum of
    the samples' weights. With d = f - center and w = λm/(λm + 1), G' = λ G + w d dᵀ: so the intercept is never penalised, and without
    forgetting the weights are those of ridge regression.
    """
    wide()
    size, outputs = center.shape[0], offset.shape[0]
    moved, gain, error = np.empty(size), np.empty(size), np.empty(outputs)
    lost = 0.0
    for t in range(features.shape[0]):
        for i in range(size):
            moved[i] = features[t, i] - center[i]
        for d in range(outputs):
            total = targets[t, d] - offset[d]
            for i in range(size):
                total -= weights[d, i] * moved[i]
            error[d] = total
            lost += total * total
        old = forgetting * mass
        mass = old + 1.0
        if old > 0.0:
            share = old / mass
            reach = forgetting / share
            for i in range(size):
                total = 0.0
                row = inverse[i]
                for j in range(size):
                    total += row[j] * moved[j]
                gain[i] = total
                reach += total * moved[i]
            for d in range(outputs):
                for i in range(size):
                    weights[d, i] += error[d] * gain[i] / reach
            for i in range(size):
                row, own = inverse[i], gain[i] / reach
                for j in range(size):
                    row[j] = (row[j] - own * gain[j]) / forgetting
        for i in range(size):
            center[i] += moved[i] / mass
        for d in range(outputs):
            offset[d] += (targets[t, d] - offset[d]) / mass
    return mass, lost
