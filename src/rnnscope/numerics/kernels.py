"""Compiled loops for one long stream on the CPU (numba, cached on disk).

One definition with `models.cells.cell_step`, held equal by test. The inner loops run over contiguous gates, so they
vectorise without reordering any sum.
"""

from dataclasses import dataclass

import numba
import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

_KINDS = {"tanh": 0, "relu": 1, "gru": 2, "lstm": 3}


@dataclass(frozen=True)
class PackedNetwork:
    """A recurrent network as plain tensors; L layers, H units, G gates times H, W the widest input, P readout features.

    Attributes:
        kind: "tanh", "relu", "gru" or "lstm".
        drive: input weights transposed and zero-padded, (L, W, G). recur: recurrent weights transposed, (L, H, G).
        biases: input and recurrent bias, (L, 2, G). readout: (P, Y), P = H + taps. bias: (Y,).
    """

    kind: str
    drive: Float[Tensor, "L W G"]
    recur: Float[Tensor, "L H G"]
    biases: Float[Tensor, "L 2 G"]
    readout: Float[Tensor, "P Y"]
    bias: Float[Tensor, " Y"]


@numba.njit(cache=True, fastmath={"contract"})
def _add_product(vector, matrix, total):  # total += vector @ matrix
    for i in range(vector.shape[0]):
        value = vector[i]
        row = matrix[i]
        for j in range(total.shape[0]):
            total[j] += value * row[j]


@numba.njit(cache=True, fastmath={"contract"})
def _cell(kind, size, state, drive, recur):  # one layer, in place
    one = drive.dtype.type(1.0)
    if kind == 0:
        for j in range(size):
            state[j] = np.tanh(drive[j] + recur[j])
    elif kind == 1:
        for j in range(size):
            total = drive[j] + recur[j]
            state[j] = total if total > 0 else total * 0
    elif kind == 2:
        for j in range(size):
            reset = one / (one + np.exp(-(drive[j] + recur[j])))
            update = one / (one + np.exp(-(drive[size + j] + recur[size + j])))
            candidate = np.tanh(drive[2 * size + j] + reset * recur[2 * size + j])
            state[j] = candidate + update * (state[j] - candidate)
    else:
        for j in range(size):
            enter = one / (one + np.exp(-(drive[j] + recur[j])))
            forget = one / (one + np.exp(-(drive[size + j] + recur[size + j])))
            candidate = np.tanh(drive[2 * size + j] + recur[2 * size + j])
            leave = one / (one + np.exp(-(drive[3 * size + j] + recur[3 * size + j])))
            cell = forget * state[size + j] + enter * candidate
            state[size + j] = cell
            state[j] = leave * np.tanh(cell)


@numba.njit(cache=True, fastmath={"contract"})
def _read_out(top, taps, readout, bias, output):
    output[:] = bias
    _add_product(top, readout[: top.shape[0]], output)
    width = taps.shape[1]
    for k in range(taps.shape[0]):
        first = top.shape[0] + k * width
        _add_product(taps[k], readout[first : first + width], output)


@numba.njit(cache=True, fastmath={"contract"})
def _closed_loop(kind, drive, recur, biases, readout, bias, state, taps, fed, carry, from_output, from_exogenous, exogenous):
    layers, size, gates = recur.shape
    steps = exogenous.shape[0]
    outputs = np.empty((steps, bias.shape[0]), drive.dtype)
    output, new = np.empty(bias.shape[0], drive.dtype), np.empty_like(fed)
    into, back = np.empty(gates, drive.dtype), np.empty(gates, drive.dtype)
    _read_out(state[layers - 1, :size], taps, readout, bias, output)
    for t in range(steps):
        new[:] = 0
        _add_product(fed, carry, new)
        _add_product(output, from_output, new)
        _add_product(exogenous[t], from_exogenous, new)
        fed[:] = new
        below = fed
        for layer in range(layers):
            into[:] = biases[layer, 0]
            back[:] = biases[layer, 1]
            _add_product(below, drive[layer], into)
            _add_product(state[layer, :size], recur[layer], back)
            _cell(kind, size, state[layer], into, back)
            below = state[layer, :size]
        for k in range(taps.shape[0] - 1, 0, -1):
            taps[k] = taps[k - 1]
        if taps.shape[0]:
            taps[0] = fed
        _read_out(below, taps, readout, bias, output)
        outputs[t] = output
    return outputs


def closed_loop(
    network: PackedNetwork,
    state: Float[Tensor, "L S"],
    taps: Float[Tensor, "K X"],
    input: Float[Tensor, " X"],
    feedback: tuple[Tensor, Tensor, Tensor],
    exogenous: Float[Tensor, "N E"],
) -> tuple[Float[Tensor, "N Y"], Float[Tensor, "L S"], Float[Tensor, "K X"], Float[Tensor, " X"]]:
    """N steps of x' = A x + B y + C e, h' = F(h, x'), y' = G(h'), for one stream.

    Args:
        network: weights, all of one dtype (float32 or float64), in which the loop runs.
        state: one row a layer. taps: the K latest inputs, newest first. input: the last input fed.
        feedback: A (X, X), B (X, Y), C (X, E).
        exogenous: e of each step.

    Returns:
        outputs, and the final state, taps and input; the arguments are not changed.
    """
    dtype = network.drive.dtype

    def plain(tensor: Tensor) -> np.ndarray:
        return np.array(tensor.detach().cpu().to(dtype).numpy(), order="C")

    own_state, own_taps, fed = plain(state), plain(taps), plain(input)
    carry, from_output, from_exogenous = (plain(matrix.T) for matrix in feedback)
    outputs = _closed_loop(
        _KINDS[network.kind],
        plain(network.drive),
        plain(network.recur),
        plain(network.biases),
        plain(network.readout),
        plain(network.bias),
        own_state,
        own_taps,
        fed,
        carry,
        from_output,
        from_exogenous,
        plain(exogenous),
    )
    return tuple(torch.from_numpy(a) for a in (outputs, own_state, own_taps, fed))  # type: ignore[return-value]
