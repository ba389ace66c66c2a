"""Loops of echo state networks over batches: few streams one after the other, many at once (numba, cached on disk).

The same sums in both ways, held equal by test. Many streams lie as (N, L): the L lanes are neighbours in memory, so that each pass
over W serves all of them and no state is gathered.
"""

import numba
import numpy as np

from rnnscope.numerics import reservoir_kernels as single
from rnnscope.numerics.reservoir_kernels import _SUMS, MIXED, SQUARES
from rnnscope.numerics.vector_kernels import tanh, wide

FEWEST, MOST = 4, 64  # streams that advance together: fewer waste lanes, more leave the cache
WIDTH = 8  # lanes are filled up to a multiple: numbers that one instruction takes


def drive_features(net, inputs, previous, forced, states, found):
    """found (B, T, P) = features along inputs (B, T, X); `previous` (B, T, Y) are fed back where forced. States (B, N) go on in place."""
    if len(states) < FEWEST:
        for b in range(len(states)):
            single.drive_features(net, inputs[b], previous[b], forced, states[b], found[b])
        return
    for rows, width in _groups(len(states)):
        _drive_features(net, inputs[rows], previous[rows], forced, states[rows], found[rows], width)


def drive_outputs(net, inputs, states, found):
    """found (B, T, Y) = outputs along inputs (B, T, X); states (B, N) go on in place."""
    if len(states) < FEWEST:
        for b in range(len(states)):
            single.drive_outputs(net, inputs[b], states[b], found[b])
        return
    for rows, width in _groups(len(states)):
        _drive_outputs(net, inputs[rows], states[rows], found[rows], width)


def close_loop(net, carry, from_output, from_exogenous, exogenous, inputs, states, found):
    """x' = A x + B y + C e fed back: found (B, T, Y) from exogenous (B, T, E). Inputs (B, X) and states (B, N) go on in place."""
    matrices = carry, from_output, from_exogenous
    if len(states) < FEWEST:
        for b in range(len(states)):
            single.close_loop(net, *matrices, exogenous[b], inputs[b], states[b], found[b])
        return
    for rows, width in _groups(len(states)):
        _close_loop(net, *matrices, exogenous[rows], inputs[rows], states[rows], found[rows], width)


def _groups(count):  # streams that go together, and the lanes they take
    starts = range(0, count, MOST)
    return [(slice(a, min(a + MOST, count)), -(-(min(a + MOST, count) - a) // WIDTH) * WIDTH) for a in starts]


@numba.njit(cache=True, nogil=True, error_model="numpy", fastmath=_SUMS)
def _advance(net, inputs, outputs, state, sums):  # one step of inputs (X, L), outputs (Y, L), state and sums (N, L), in place
    wide()
    units, degree = net.sources.shape
    lanes = state.shape[1]
    size = units // net.blocks
    for block in range(net.blocks):
        first, stop = block * size, (block + 1) * size
        for i in range(first, stop):
            total, bias = sums[i], net.bias[i]
            for r in range(lanes):
                total[r] = bias
            for d in range(inputs.shape[0]):
                weight, source = net.drive[i, d], inputs[d]
                for r in range(lanes):
                    total[r] += weight * source[r]
            for d in range(net.feedback.shape[1]):
                weight, source = net.feedback[i, d], outputs[d]
                for r in range(lanes):
                    total[r] += weight * source[r]
            for j in range(degree):
                weight, source = net.recurrent[i, j], state[net.sources[i, j]]
                for r in range(lanes):
                    total[r] += weight * source[r]
        for i in range(first, stop):
            leak, total, own = net.leak[i], sums[i], state[i]
            for r in range(lanes):
                own[r] += leak * (tanh(total[r]) - own[r])


@numba.njit(cache=True, nogil=True, error_model="numpy", fastmath=_SUMS)
def _read(net, state, outputs):
    wide()
    units, lanes = state.shape
    for d in range(outputs.shape[0]):
        row, total = net.readout[d], outputs[d]
        total[:] = net.offset[d]
        for i in range(units):
            own = state[i]
            if net.features == SQUARES:
                weight, square = row[i], row[units + i]
                for r in range(lanes):
                    total[r] += (weight + square * own[r]) * own[r]
            elif net.features == MIXED and i % 2 == 1:
                weight = row[i]
                for r in range(lanes):
                    total[r] += weight * own[r] * own[r]
            else:
                weight = row[i]
                for r in range(lanes):
                    total[r] += weight * own[r]


@numba.njit(cache=True, nogil=True, error_model="numpy", fastmath=_SUMS)
def _fill(kind, state, features):  # features (B, P) of state (N, L); lanes beyond B are no streams
    units = state.shape[0]
    for b in range(features.shape[0]):
        row = features[b]
        for i in range(units):
            row[i] = state[i, b]
        if kind == SQUARES:
            for i in range(units):
                row[units + i] = row[i] * row[i]
        elif kind == MIXED:
            for i in range(1, units, 2):
                row[i] = row[i] * row[i]


@numba.njit(cache=True, nogil=True, error_model="numpy", fastmath=_SUMS)
def _put(values, lanes):  # values (B, D) into lanes (D, L)
    for b in range(values.shape[0]):
        for d in range(values.shape[1]):
            lanes[d, b] = values[b, d]


@numba.njit(cache=True, nogil=True, error_model="numpy", fastmath=_SUMS)
def _take(lanes, values):  # and back
    for b in range(values.shape[0]):
        for d in range(values.shape[1]):
            values[b, d] = lanes[d, b]


@numba.njit(cache=True, nogil=True, error_model="numpy", fastmath=_SUMS)
def _drive_features(net, inputs, previous, forced, states, found, width):
    units = states.shape[1]
    state, sums = np.zeros((units, width), states.dtype), np.zeros((units, width), states.dtype)
    fed, outputs = np.zeros((inputs.shape[2], width), states.dtype), np.zeros((net.offset.shape[0], width), states.dtype)
    _put(states, state)
    for t in range(inputs.shape[1]):
        _put(inputs[:, t], fed)
        if net.feedback.shape[1] > 0:
            if forced:
                _put(previous[:, t], outputs)
            else:
                _read(net, state, outputs)
        _advance(net, fed, outputs, state, sums)
        _fill(net.features, state, found[:, t])
    _take(state, states)


@numba.njit(cache=True, nogil=True, error_model="numpy", fastmath=_SUMS)
def _drive_outputs(net, inputs, states, found, width):
    units = states.shape[1]
    state, sums = np.zeros((units, width), states.dtype), np.zeros((units, width), states.dtype)
    fed, outputs = np.zeros((inputs.shape[2], width), states.dtype), np.zeros((net.offset.shape[0], width), states.dtype)
    _put(states, state)
    if net.feedback.shape[1] > 0:
        _read(net, state, outputs)
    for t in range(inputs.shape[1]):
        _put(inputs[:, t], fed)
        _advance(net, fed, outputs, state, sums)
        _read(net, state, outputs)
        _take(outputs, found[:, t])
    _take(state, states)


@numba.njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract"})
def _add_product(matrix, lanes, total):
    for i in range(matrix.shape[0]):
        for j in range(matrix.shape[1]):
            for r in range(lanes.shape[1]):
                total[i, r] += matrix[i, j] * lanes[j, r]


@numba.njit(cache=True, nogil=True, error_model="numpy", fastmath=_SUMS)
def _close_loop(net, carry, from_output, from_exogenous, exogenous, inputs, states, found, width):
    units = states.shape[1]
    state, sums = np.zeros((units, width), states.dtype), np.zeros((units, width), states.dtype)
    fed, outputs = np.zeros((inputs.shape[1], width), states.dtype), np.zeros((net.offset.shape[0], width), states.dtype)
    new, known = np.zeros_like(fed), np.zeros((exogenous.shape[2], width), states.dtype)
    _put(states, state)
    _put(inputs, fed)
    _read(net, state, outputs)
    for t in range(exogenous.shape[1]):
        _put(exogenous[:, t], known)
        new[:] = 0
        _add_product(carry, fed, new)
        _add_product(from_output, outputs, new)
        _add_product(from_exogenous, known, new)
        fed[:] = new
        _advance(net, fed, outputs, state, sums)
        _read(net, state, outputs)
        _take(outputs, found[:, t])
    _take(fed, inputs)
    _take(state, states)
