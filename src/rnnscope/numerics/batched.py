"""The closed loop of many streams at once, on any device: one matrix product per layer and step, everything else in place.

Arrays are (features, batch), so that each gate is one contiguous block. One definition with `numerics.kernels` and
`models.cells.cell_step`, held equal by test. It records no gradient.
"""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from rnnscope.numerics.kernels import PackedNetwork

Step = Callable[[], None]


def batched_closed_loop(
    network: PackedNetwork,
    state: Float[Tensor, "B L S"],
    taps: Float[Tensor, "B K X"],
    input: Float[Tensor, "B X"],
    feedback: tuple[Tensor, Tensor, Tensor],
    exogenous: Float[Tensor, "B N E"],
) -> tuple[Float[Tensor, "B N Y"], Float[Tensor, "B L S"], Float[Tensor, "B K X"], Float[Tensor, "B X"]]:
    """N steps of x' = A x + B y + C e, h' = F(h, x'), y' = G(h') for every stream.

    Arguments and results are those of `kernels.closed_loop` with a leading batch axis.
    """
    layers, size = network.recur.shape[0], network.recur.shape[1]
    width, batch, steps = input.shape[1], input.shape[0], exogenous.shape[1]
    carry, from_output, from_exogenous = (m.to(network.drive) for m in feedback)
    # per layer: rows [input; h], so that one product gives the gates; h of the layer below is copied into the input rows
    joined = [state.new_empty((width if i == 0 else size) + size, batch) for i in range(layers)]
    cells = [state[:, i, size:].T.contiguous() for i in range(layers)]
    for i in range(layers):
        joined[i][-size:] = state[:, i, :size].T
    joined[0][:width] = input.T
    held = taps.permute(1, 2, 0).contiguous()
    advance = [_layer_step(network, i, joined[i], cells[i]) for i in range(layers)]
    readout, bias = network.readout.T.contiguous(), network.bias[:, None]
    own = readout[:, :size].contiguous()
    exo = torch.einsum("xe,bne->nxb", from_exogenous, exogenous.to(network.drive)).contiguous()
    outputs = state.new_empty(steps, bias.shape[0], batch)
    carries = bool(carry.any())

    def read() -> Tensor:
        output = torch.addmm(bias, own, joined[-1][-size:])
        if len(held):
            output = torch.addmm(output, readout[:, size:], held.reshape(-1, batch))
        return output

    output = read()
    for t in range(steps):
        fed = torch.addmm(exo[t], from_output, output)
        if carries:
            fed = torch.addmm(fed, carry, joined[0][:width])
        joined[0][:width] = fed
        for i in range(layers):
            if i:
                joined[i][:size] = joined[i - 1][-size:]
            advance[i]()
        if len(held):
            held = torch.cat([fed[None], held[:-1]])
        output = read()
        outputs[t] = output
    final = torch.stack([torch.cat([joined[i][-size:], cells[i]]).T for i in range(layers)], 1)
    return outputs.permute(2, 0, 1), final, held.permute(2, 0, 1), joined[0][:width].T


def _layer_step(network: PackedNetwork, layer: int, joined: Tensor, cell: Tensor) -> Step:
    """A function that advances one layer in place: the rows of h in `joined`, and an LSTM's `cell`."""
    size = network.recur.shape[1]
    width, batch = joined.shape[0] - size, joined.shape[1]
    drive, recur = network.drive[layer, :width], network.recur[layer]
    hidden = joined[-size:]
    if network.kind == "gru":
        return _gru_step(drive, recur, network.biases[layer], joined[:width], hidden)
    weights = torch.cat([drive, recur]).T
    bias = network.biases[layer].sum(0)
    if network.kind != "lstm":
        weights, column = weights.contiguous(), bias[:, None].clone()
        squash = torch.tanh if network.kind == "tanh" else torch.relu

        def simple() -> None:
            hidden.copy_(squash(torch.addmm(column, weights, joined)))

        return simple
    order = torch.cat([torch.arange(0, 2 * size), torch.arange(3 * size, 4 * size), torch.arange(2 * size, 3 * size)])
    weights, column = weights[order].contiguous(), bias[order][:, None].clone()
    gates, squashed = joined.new_empty(4 * size, batch), joined.new_empty(size, batch)
    enter, forget, leave, candidate = gates[:size], gates[size : 2 * size], gates[2 * size : 3 * size], gates[3 * size :]

    def lstm() -> None:
        torch.addmm(column, weights, joined, out=gates)
        gates[: 3 * size].sigmoid_()
        candidate.tanh_()
        cell.mul_(forget).addcmul_(enter, candidate)
        torch.tanh(cell, out=squashed)
        torch.mul(leave, squashed, out=hidden)

    return lstm


def _gru_step(drive: Tensor, recur: Tensor, biases: Tensor, below: Tensor, hidden: Tensor) -> Step:
    size, batch = hidden.shape
    into, back = drive.T.contiguous(), recur.T.contiguous()
    into_bias, back_bias = biases[0][:, None].clone(), biases[1][:, None].clone()
    driven, recurrent = hidden.new_empty(3 * size, batch), hidden.new_empty(3 * size, batch)
    gates, candidate = driven[: 2 * size], driven[2 * size :]

    def gru() -> None:
        torch.addmm(into_bias, into, below, out=driven)
        torch.addmm(back_bias, back, hidden, out=recurrent)
        gates.add_(recurrent[: 2 * size]).sigmoid_()
        candidate.addcmul_(gates[:size], recurrent[2 * size :]).tanh_()
        torch.lerp(candidate, hidden, gates[size:], out=hidden)

    return gru
