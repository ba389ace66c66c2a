"""Compiled loops of echo state networks on the CPU (numba, cached on disk), float64 and float32, one stream after the other.

One definition with `models.reservoir_system.ReservoirSystem.step`, held equal by test. The recurrent matrix is a list of k
sources and weights for each unit; blocks of units advance one after the other, in place, so that a later block may read the
new states of an earlier one.
"""

from typing import NamedTuple

import numba
import numpy as np

from rnnscope.numerics.vector_kernels import tanh, wide

STATE, SQUARES, MIXED = 0, 1, 2
_SUMS = {"contract", "reassoc", "nsz"}  # sums may be reordered, so that they vectorise


class PackedReservoir(NamedTuple):
    """An echo state network as plain arrays; N units, k sources each, X inputs, Y outputs, P features.

    Attributes:
        sources, recurrent: (N, k). drive: (N, X). bias, leak: (N,). feedback: (N, Y), or (N, 0) where outputs are not fed back.
        readout: (Y, P). offset: (Y,). blocks: number of equal blocks that advance in turn. features: STATE, SQUARES or MIXED.
    """

    sources: np.ndarray
    recurrent: np.ndarray
    drive: np.ndarray
    bias: np.ndarray
    leak: np.ndarray
    feedback: np.ndarray
    readout: np.ndarray
    offset: np.ndarray
    blocks: int
    features: int


@numba.njit(cache=True, nogil=True, error_model="numpy", fastmath=_SUMS)
def _advance(net, input, output, state, sums):  # one step, in place
    wide()
    units, degree = net.sources.shape
    size = units // net.blocks
    for block in range(net.blocks):
        first, stop = block * size, (block + 1) * size
        for i in range(first, stop):
            total = net.bias[i]
            for d in range(input.shape[0]):
                total += net.drive[i, d] * input[d]
            for d in range(net.feedback.shape[1]):
                total += net.feedback[i, d] * output[d]
            for j in range(degree):
                total += net.recurrent[i, j] * state[net.sources[i, j]]
            sums[i] = total
        for i in range(first, stop):
            state[i] += net.leak[i] * (tanh(sums[i]) - state[i])


@numba.njit(cache=True, nogil=True, error_model="numpy", fastmath=_SUMS)
def _fill(kind, state, features):
    units = state.shape[0]
    features[:units] = state
    if kind == SQUARES:
        for i in range(units):
            features[units + i] = state[i] * state[i]
    elif kind == MIXED:
        for i in range(1, units, 2):
            features[i] = state[i] * state[i]


@numba.njit(cache=True, nogil=True, error_model="numpy", fastmath=_SUMS)
def _read(net, state, output):
    wide()
    units = state.shape[0]
    for d in range(output.shape[0]):
        row = net.readout[d]
        total = net.offset[d]
        if net.features == MIXED:
            for i in range(0, units, 2):
                total += row[i] * state[i]
            for i in range(1, units, 2):
                total += row[i] * state[i] * state[i]
        else:
            for i in range(units):
                total += row[i] * state[i]
        if net.features == SQUARES:
            squares = row[units:]
            for i in range(units):
                total += squares[i] * state[i] * state[i]
        output[d] = total


@numba.njit(cache=True, nogil=True, error_model="numpy", fastmath=_SUMS)
def drive_features(net, inputs, previous, forced, state, found):
    """found (T, P) = features along inputs (T, X); `previous` (T, Y) are fed back where forced. The state goes on in place."""
    output, sums = np.empty_like(net.offset), np.empty_like(state)
    closes = net.feedback.shape[1] > 0
    for t in range(inputs.shape[0]):
        if closes:
            if forced:
                output[:] = previous[t]
            else:
                _read(net, state, output)
        _advance(net, inputs[t], output, state, sums)
        _fill(net.features, state, found[t])


@numba.njit(cache=True, nogil=True, error_model="numpy", fastmath=_SUMS)
def drive_outputs(net, inputs, state, outputs):
    """outputs (T, Y) along inputs (T, X); the state goes on in place."""
    output, sums = np.empty_like(net.offset), np.empty_like(state)
    if net.feedback.shape[1] > 0:
        _read(net, state, output)
    for t in range(inputs.shape[0]):
        _advance(net, inputs[t], output, state, sums)
        _read(net, state, output)
        outputs[t] = output


@numba.njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract"})
def _add_product(matrix, vector, total):
    for i in range(total.shape[0]):
        for j in range(vector.shape[0]):
            total[i] += matrix[i, j] * vector[j]


@numba.njit(cache=True, nogil=True, error_model="numpy", fastmath=_SUMS)
def close_loop(net, carry, from_output, from_exogenous, exogenous, fed, state, outputs):
    """x' = A x + B y + C e fed back for T steps: outputs (T, Y) from exogenous (T, E). `fed` (X,) and the state go on in place."""
    output, sums, new = np.empty_like(net.offset), np.empty_like(state), np.empty_like(fed)
    _read(net, state, output)
    for t in range(exogenous.shape[0]):
        new[:] = 0
        _add_product(carry, fed, new)
        _add_product(from_output, output, new)
        _add_product(from_exogenous, exogenous[t], new)
        fed[:] = new
        _advance(net, fed, output, state, sums)
        _read(net, state, output)
        outputs[t] = output


@numba.njit(cache=True, nogil=True, error_model="numpy", fastmath=_SUMS)
def adapt(net, gain, inputs, state, mean, sd, rate):
    """Intrinsic plasticity (Schrauwen et al. 2008, eqs. 12-13) along inputs (T, X): bias and gain go on in place.

    Unit i sees h = tanh(g a + b) of its net input a; the rule drives the distribution of h towards N(mean, sd²).
    """
    wide()
    units, degree = net.sources.shape
    size = units // net.blocks
    sums, squashed = np.empty_like(state), np.empty_like(state)
    variance = sd * sd
    for t in range(inputs.shape[0]):
        for block in range(net.blocks):
            first, stop = block * size, (block + 1) * size
            for i in range(first, stop):
                total = state[i] * 0
                for d in range(inputs.shape[1]):
                    total += net.drive[i, d] * inputs[t, d]
                for j in range(degree):
                    total += net.recurrent[i, j] * state[net.sources[i, j]]
                sums[i] = total
            for i in range(first, stop):
                h = tanh(gain[i] * sums[i] + net.bias[i])
                squashed[i] = h
                state[i] += net.leak[i] * (h - state[i])
        for i in range(units):
            h = squashed[i]
            step = -rate * (-mean / variance + h / variance * (2 * variance + 1 - h * h + mean * h))
            net.bias[i] += step
            gain[i] += rate / gain[i] + step * sums[i]


@numba.njit(cache=True, nogil=True, error_model="numpy", fastmath=_SUMS)
def settle(net, input, state, tolerance, most):
    """state (N,) = tanh(W state + V x + b) iterated in place; whether it moved no more than `tolerance` within `most` steps."""
    wide()
    units, degree = net.sources.shape
    base, sums = net.bias.copy(), np.empty_like(state)
    for i in range(units):
        for d in range(input.shape[0]):
            base[i] += net.drive[i, d] * input[d]
    for _ in range(most):
        for i in range(units):
            total = base[i]
            for j in range(degree):
                total += net.recurrent[i, j] * state[net.sources[i, j]]
            sums[i] = total
        moved = 0.0
        for i in range(units):
            new = tanh(sums[i])
            moved = max(moved, abs(new - state[i]))
            state[i] = new
        if moved <= tolerance:
            return True
    return False


@numba.njit(cache=True, nogil=True, error_model="numpy", fastmath=_SUMS)
def settle_slopes(net, slopes, found, tolerance, most):
    """found (N, X) = D (W found + V), D = diag(slopes), iterated in place until it moves no more than `tolerance` of its size."""
    wide()
    units, degree = net.sources.shape
    width = found.shape[1]
    new = np.empty_like(found)
    for _ in range(most):
        moved, size = 0.0, 0.0
        for i in range(units):
            for d in range(width):
                new[i, d] = net.drive[i, d]
            for j in range(degree):
                weight, row = net.recurrent[i, j], found[net.sources[i, j]]
                for d in range(width):
                    new[i, d] += weight * row[d]
            for d in range(width):
                value = slopes[i] * new[i, d]
                new[i, d] = value
                moved, size = max(moved, abs(value - found[i, d])), max(size, abs(value))
        found[:] = new
        if moved <= tolerance * size:
            break
