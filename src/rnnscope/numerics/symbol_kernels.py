"""Compiled loops of a network that reads the symbols it draws: one stream in numba, many in place in torch.

The first layer's product W x is looked up: one row per symbol. One definition with `models.cells.cell_step` and with the plain
loop, held equal by test. The rule of a draw is inversion: the first symbol whose cumulated probability exceeds the uniform number.
"""

import numba
import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from rnnscope.numerics.batched import Step
from rnnscope.numerics.kernels import _KINDS, PackedNetwork, _add_product, _cell, _read_out


def draw_many(
    logits: Float[Tensor, "B V"], uniforms: Float[Tensor, " B"], temperature: float, top_k: int, banned: int
) -> Int[Tensor, " B"]:
    """One symbol per row from softmax(logits/τ), by inversion; see `rnnscope.dynamics.symbol_sampling.draw`."""
    if banned >= 0:
        logits = logits.clone()
        logits[:, banned] = -torch.inf
    if temperature == 0:
        return logits.argmax(1)
    scaled = logits.double() / temperature
    if 0 < top_k < scaled.shape[1]:
        least = scaled.topk(top_k, 1).values[:, -1:]
        scaled = scaled.masked_fill(scaled < least, -torch.inf)
    reached = torch.exp(scaled - scaled.amax(1, keepdim=True)).cumsum(1)
    found = torch.searchsorted(reached, (uniforms * reached[:, -1])[:, None], right=True)[:, 0]
    return found.clamp(max=scaled.shape[1] - 1)


@numba.njit(cache=True)
def _draw(logits, uniform, temperature, top_k, banned, weights):  # one symbol; `weights` (V,) float64 is overwritten
    size = logits.shape[0]
    if temperature == 0:
        best = -1
        for v in range(size):
            if v != banned and (best < 0 or logits[v] > logits[best]):
                best = v
        return best
    for v in range(size):
        weights[v] = -np.inf if v == banned else logits[v] / temperature
    least = np.partition(weights, size - top_k)[size - top_k] if 0 < top_k < size else -np.inf
    highest, total = weights.max(), 0.0
    for v in range(size):
        total += np.exp(weights[v] - highest) if weights[v] >= least else 0.0
        weights[v] = total
    wanted = uniform * total
    for v in range(size):
        if weights[v] > wanted:
            return v
    return size - 1


@numba.njit(cache=True, fastmath={"contract"})
def _sample(
    kind, table, codes, drive, recur, biases, readout, bias, state, taps, uniforms, temperature, top_k, banned
):  # state and taps in place
    layers, size, gates = recur.shape
    symbols = np.empty(uniforms.shape[0], np.int64)
    output, weights = np.empty(bias.shape[0], table.dtype), np.empty(bias.shape[0])
    into, back = np.empty(gates, table.dtype), np.empty(gates, table.dtype)
    _read_out(state[layers - 1, :size], taps, readout, bias, output)
    for t in range(uniforms.shape[0]):
        drawn = _draw(output, uniforms[t], temperature, top_k, banned, weights)
        symbols[t] = drawn
        for layer in range(layers):
            if layer == 0:
                into[:] = table[drawn]
            else:
                into[:] = biases[layer, 0]
                _add_product(state[layer - 1, :size], drive[layer], into)
            back[:] = biases[layer, 1]
            _add_product(state[layer, :size], recur[layer], back)
            _cell(kind, size, state[layer], into, back)
        for k in range(taps.shape[0] - 1, 0, -1):
            taps[k] = taps[k - 1]
        if taps.shape[0]:
            taps[0] = codes[drawn]
        _read_out(state[layers - 1, :size], taps, readout, bias, output)
    return symbols


def input_table(network: PackedNetwork, codes: Float[Tensor, "V X"]) -> Float[Tensor, "V G"]:
    """The first layer's W x + b of every symbol."""
    return codes.to(network.drive) @ network.drive[0, : codes.shape[1]] + network.biases[0, 0]


def sample_one(
    network: PackedNetwork,
    codes: Float[Tensor, "V X"],
    state: Float[Tensor, "L S"],
    taps: Float[Tensor, "K X"],
    uniforms: Float[Tensor, " N"],
    temperature: float,
    top_k: int,
    banned: int,
) -> tuple[Int[Tensor, " N"], Float[Tensor, "L S"], Float[Tensor, "K X"]]:
    """N symbols of one stream on the CPU; arguments as of `FusedSampling.fused_sampling`, the state by layer.

    Returns:
        symbols, and the final state and taps; the arguments are not changed.
    """
    dtype = network.drive.dtype

    def plain(tensor: Tensor) -> np.ndarray:
        return np.array(tensor.detach().cpu().to(dtype).numpy(), order="C")

    own_state, own_taps = plain(state), plain(taps)
    symbols = _sample(
        _KINDS[network.kind],
        plain(input_table(network, codes)),
        plain(codes),
        plain(network.drive),
        plain(network.recur),
        plain(network.biases),
        plain(network.readout),
        plain(network.bias),
        own_state,
        own_taps,
        uniforms.double().numpy(),
        float(temperature),
        top_k,
        banned,
    )
    return torch.from_numpy(symbols), torch.from_numpy(own_state), torch.from_numpy(own_taps)


def sample_many(
    network: PackedNetwork,
    codes: Float[Tensor, "V X"],
    state: Float[Tensor, "B L S"],
    taps: Float[Tensor, "B K X"],
    uniforms: Float[Tensor, "B N"],
    temperature: float,
    top_k: int,
    banned: int,
) -> tuple[Int[Tensor, "B N"], Float[Tensor, "B L S"], Float[Tensor, "B K X"]]:
    """The same for many streams at once, on any device: arrays are (features, batch), everything in place."""
    layers, size = network.recur.shape[0], network.recur.shape[1]
    batch = len(state)
    hidden = [state[:, i, :size].T.contiguous() for i in range(layers)]
    cells = [state[:, i, size:].T.contiguous() for i in range(layers)]
    held = taps.permute(1, 2, 0).contiguous().to(network.drive)
    table, columns = input_table(network, codes).T.contiguous(), codes.to(network.drive).T.contiguous()
    driven = [state.new_empty(network.recur.shape[2], batch) for _ in range(layers)]
    advance = [_layer_step(network, i, driven[i], hidden[i], cells[i]) for i in range(layers)]
    readout, bias = network.readout.T.contiguous(), network.bias[:, None]
    own, of_taps = readout[:, :size].contiguous(), readout[:, size:]
    into = [network.drive[i, :size].T.contiguous() for i in range(layers)]
    into_bias = [network.biases[i, 0][:, None] for i in range(layers)]
    symbols = torch.empty(batch, uniforms.shape[1], dtype=torch.int64, device=state.device)
    for t in range(uniforms.shape[1]):
        output = torch.addmm(bias, own, hidden[-1])
        if len(held):
            output = torch.addmm(output, of_taps, held.reshape(-1, batch))
        drawn = draw_many(output.T, uniforms[:, t], temperature, top_k, banned)
        symbols[:, t] = drawn
        torch.index_select(table, 1, drawn, out=driven[0])
        for i in range(layers):
            if i:
                torch.addmm(into_bias[i], into[i], hidden[i - 1], out=driven[i])
            advance[i]()
        if len(held):
            held = torch.cat([columns[:, drawn][None], held[:-1]])
    final = torch.stack([torch.cat([hidden[i], cells[i]]).T for i in range(layers)], 1)
    return symbols, final, held.permute(2, 0, 1)


def _layer_step(network: PackedNetwork, layer: int, driven: Tensor, hidden: Tensor, cell: Tensor) -> Step:
    """A function that advances one layer in place, given W u + b in `driven`, which it overwrites."""
    size = len(hidden)
    recur, bias = network.recur[layer].T.contiguous(), network.biases[layer, 1][:, None].clone()
    recurrent, squashed = torch.empty_like(driven), torch.empty_like(hidden)

    def simple() -> None:
        torch.addmm(driven.add_(bias), recur, hidden, out=recurrent)
        torch.tanh(recurrent, out=hidden) if network.kind == "tanh" else torch.clamp(recurrent, min=0, out=hidden)

    def gru() -> None:
        torch.addmm(bias, recur, hidden, out=recurrent)
        driven[: 2 * size].add_(recurrent[: 2 * size]).sigmoid_()
        candidate = driven[2 * size :].addcmul_(driven[:size], recurrent[2 * size :]).tanh_()
        torch.lerp(candidate, hidden, driven[size : 2 * size], out=hidden)

    def lstm() -> None:
        torch.addmm(driven.add_(bias), recur, hidden, out=recurrent)
        recurrent[: 2 * size].sigmoid_()
        recurrent[3 * size :].sigmoid_()
        recurrent[2 * size : 3 * size].tanh_()
        cell.mul_(recurrent[size : 2 * size]).addcmul_(recurrent[:size], recurrent[2 * size : 3 * size])
        torch.mul(recurrent[3 * size :], torch.tanh(cell, out=squashed), out=hidden)

    return {"gru": gru, "lstm": lstm}.get(network.kind, simple)
