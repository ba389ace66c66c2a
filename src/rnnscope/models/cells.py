"""One layer of each kind: its step, its derivatives in closed form, and the equation its fixed points solve.

With pre-activations a = W u + b + U h + c (u the layer's input, h and c its own state; σ logistic):

    tanh, relu  h' = φ(a)
    gru         r, z = σ(a_r), σ(a_z),  q = U_n h + c_n,  n = tanh(W_n u + b_n + r∘q),  h' = n + z∘(h - n)
    lstm        i, f, o = σ(a_i), σ(a_f), σ(a_o),  g = tanh(a_g),  c' = f∘c + i∘g,  h' = o∘tanh(c')

A derivative is a sum over gates of diag(k) U (or W): each cell is described by its gains k.
"""

from dataclasses import dataclass
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

CellKind = Literal["tanh", "relu", "gru", "lstm"]
GATES: dict[str, int] = {"tanh": 1, "relu": 1, "gru": 3, "lstm": 4}


def make_layer(kind: CellKind, input_size: int, hidden_size: int, bias: bool) -> nn.RNNBase:
    """One torch layer of a kind: it holds the parameters under torch's names and runs whole sequences."""
    if kind == "lstm":
        return nn.LSTM(input_size, hidden_size, bias=bias, batch_first=True)
    if kind == "gru":
        return nn.GRU(input_size, hidden_size, bias=bias, batch_first=True)
    return nn.RNN(input_size, hidden_size, nonlinearity=kind, bias=bias, batch_first=True)


def layer_weights(layer: nn.RNNBase) -> tuple[Tensor, Tensor, Tensor | None, Tensor | None]:
    """W (gates, inputs), U (gates, hidden), b and c (gates,) or None, of a single torch layer."""
    found: Any = layer
    biases = (found.bias_ih_l0, found.bias_hh_l0) if layer.bias else (None, None)
    return found.weight_ih_l0, found.weight_hh_l0, *biases


def pre_activations(layer: nn.RNNBase, hidden: Float[Tensor, "B H"], input: Float[Tensor, "B X"]) -> tuple[Tensor, Tensor]:
    """W u + b and U h + c, all gates side by side."""
    into, back, into_bias, back_bias = layer_weights(layer)
    is_held = len(input) > 1 and input.stride(0) == 0  # one row, expanded: its product is needed once
    drive = nn.functional.linear(input[:1] if is_held else input, into, into_bias)
    return drive.expand(len(input), -1) if is_held else drive, nn.functional.linear(hidden, back, back_bias)


def cell_step(kind: CellKind, layer: nn.RNNBase, state: Float[Tensor, "B S"], input: Float[Tensor, "B X"]) -> Tensor:
    """One layer's next state from its own: h, or concat(h, c) for an LSTM."""
    size = layer.hidden_size
    hidden = state[:, :size]
    drive, recur = pre_activations(layer, hidden, input)
    if kind == "tanh":
        return torch.tanh(drive + recur)
    if kind == "relu":
        return torch.relu(drive + recur)
    if kind == "gru":
        reset, update = torch.sigmoid(drive[:, : 2 * size] + recur[:, : 2 * size]).chunk(2, -1)
        candidate = torch.tanh(drive[:, 2 * size :] + reset * recur[:, 2 * size :])
        return candidate + update * (hidden - candidate)
    gates = drive + recur
    enter, forget = torch.sigmoid(gates[:, : 2 * size]).chunk(2, -1)
    candidate, leave = torch.tanh(gates[:, 2 * size : 3 * size]), torch.sigmoid(gates[:, 3 * size :])
    cell = forget * state[:, size:] + enter * candidate
    return torch.cat([leave * torch.tanh(cell), cell], -1)


@dataclass(frozen=True)
class Gains:
    """d(out) = Σ_g recurrent_g ∘ (U_g dh) + Σ_g input_g ∘ (W_g du) + direct ∘ (d of the state entry itself).

    Attributes:
        recurrent, input: one (B, H) factor per gate, or None where the gate has no part in it.
        direct: (B, H) or None.
    """

    recurrent: tuple[Tensor | None, ...]
    input: tuple[Tensor | None, ...]
    direct: Tensor | None = None


NO_GAINS = Gains((), ())
NARROW = 8  # columns


def weighted(weights: Float[Tensor, "G K"], factors: tuple[Tensor | None, ...]) -> Float[Tensor, "B H K"]:
    """Σ_g diag(factor_g) M_g for the stacked blocks M_g of `weights`."""
    blocks = weights.chunk(len(factors))
    pairs = [(k, m) for k, m in zip(factors, blocks, strict=True) if k is not None]
    if weights.shape[1] < NARROW:  # the innermost loop is the fast one: let it run over H
        across = pairs[0][0][:, None] * pairs[0][1].T.contiguous()
        for factor, block in pairs[1:]:
            across.addcmul_(factor[:, None], block.T.contiguous())
        return across.mT
    total = pairs[0][0][:, :, None] * pairs[0][1]
    for factor, block in pairs[1:]:
        total.addcmul_(factor[:, :, None], block)
    return total


def cell_gains(kind: CellKind, layer: nn.RNNBase, state: Float[Tensor, "B S"], input: Float[Tensor, "B X"]) -> list[Gains]:
    """Gains of h' and, for an LSTM, of c'; an LSTM's `direct` is that of c."""
    size = layer.hidden_size
    hidden = state[:, :size]
    drive, recur = pre_activations(layer, hidden, input)
    if kind in ("tanh", "relu"):
        gates = drive + recur
        slope = 1 - torch.tanh(gates).square() if kind == "tanh" else (gates > 0).to(gates)
        return [Gains((slope,), (slope,))]
    if kind == "gru":
        reset, update = torch.sigmoid(drive[:, : 2 * size] + recur[:, : 2 * size]).chunk(2, -1)
        inner = recur[:, 2 * size :]
        candidate = torch.tanh(drive[:, 2 * size :] + reset * inner)
        through = (1 - update) * (1 - candidate.square())
        by_reset = through * inner * reset * (1 - reset)
        by_update = (hidden - candidate) * update * (1 - update)
        return [Gains((by_reset, by_update, through * reset), (by_reset, by_update, through), update)]
    gates = drive + recur
    enter, forget = torch.sigmoid(gates[:, : 2 * size]).chunk(2, -1)
    candidate, leave = torch.tanh(gates[:, 2 * size : 3 * size]), torch.sigmoid(gates[:, 3 * size :])
    cell = state[:, size:]
    top = torch.tanh(forget * cell + enter * candidate)
    of_cell = (candidate * enter * (1 - enter), cell * forget * (1 - forget), enter * (1 - candidate.square()), None)
    slope = leave * (1 - top.square())
    of_hidden = (*(slope * k for k in of_cell[:3] if k is not None), top * leave * (1 - leave))
    return [Gains(of_hidden, of_hidden, slope * forget), Gains(of_cell, of_cell, forget)]


def layer_state_jacobian(
    kind: CellKind, layer: nn.RNNBase, state: Float[Tensor, "B S"], input: Float[Tensor, "B X"]
) -> Float[Tensor, "B S S"]:
    """A layer's ds'/ds for its own state s."""
    back = layer_weights(layer)[1]
    gains = cell_gains(kind, layer, state, input)
    if kind != "lstm":
        by_state = weighted(back, gains[0].recurrent)
        if gains[0].direct is not None:
            by_state.diagonal(dim1=1, dim2=2).add_(gains[0].direct)
        return by_state
    size = layer.hidden_size
    by_state = state.new_empty(len(state), 2 * size, 2 * size)
    for index, gain in enumerate(gains):
        rows = slice(index * size, (index + 1) * size)
        by_state[:, rows, :size] = weighted(back, gain.recurrent)
        by_state[:, rows, size:] = torch.diag_embed(gain.direct) if gain.direct is not None else 0
    return by_state


def layer_input_jacobian(
    kind: CellKind, layer: nn.RNNBase, state: Float[Tensor, "B S"], input: Float[Tensor, "B X"]
) -> Float[Tensor, "B S X"]:
    """A layer's ds'/du for its own state s."""
    into = layer_weights(layer)[0]
    return torch.cat([weighted(into, gain.input) for gain in cell_gains(kind, layer, state, input)], 1)


def gains_by_step(gains: list[Gains], num_steps: int) -> list[list[Gains]]:
    """Gains of N·B rows as those of N steps, each factor (B, 1, H): one for all vectors of a row."""

    def split(factor: Tensor | None) -> tuple[Tensor, ...] | tuple[None, ...]:
        return (None,) * num_steps if factor is None else factor.unflatten(0, (num_steps, -1)).unsqueeze(2).unbind(0)

    each = [
        [
            Gains(recurrent, input, direct)
            for recurrent, input, direct in zip(
                zip(*map(split, gain.recurrent), strict=True),
                zip(*map(split, gain.input), strict=True),
                split(gain.direct),
                strict=True,
            )
        ]
        for gain in gains
    ]
    return [list(step) for step in zip(*each, strict=True)]


def push_tangents(
    layer: nn.RNNBase, gains: list[Gains], own: Float[Tensor, "B K S"], below: Float[Tensor, "B K X"] | None
) -> Float[Tensor, "B K S"]:
    """ds' of a layer from ds of its own state and du of its input, for K vectors of each row; gains from `gains_by_step`."""
    into, back, _, _ = layer_weights(layer)
    size = layer.hidden_size
    gates = len(back) // size
    recur = (own[..., :size] @ back.T).chunk(gates, -1)
    drive = None if below is None else (below @ into.T).chunk(gates, -1)
    parts = []
    for gain in gains:
        pairs = [*zip(gain.recurrent, recur, strict=True), *(zip(gain.input, drive, strict=True) if drive else ())]
        kept = [(factor, change) for factor, change in pairs if factor is not None]
        if gain.direct is not None:
            kept.append((gain.direct, own[..., -size:]))  # h of a GRU, c of an LSTM
        total = kept[0][0] * kept[0][1]
        for factor, change in kept[1:]:
            total.addcmul_(factor, change)
        parts.append(total)
    return parts[0] if len(parts) == 1 else torch.cat(parts, -1)


@dataclass(frozen=True)
class Equilibrium:
    """A layer at rest: which h it would take if it stood still, with derivatives.

    Attributes:
        value: v(h, u), (B, H): the fixed points of the layer are the solutions of v = h.
            tanh and relu: φ(a). gru: n, since h = n + z∘(h - n) with z < 1 means h = n. lstm: o∘tanh(c*), c* = i∘g/(1 - f).
        gains: of v; `direct` is None. Without factors where they were not asked for.
        cell: c* of an LSTM, (B, H); None otherwise.
    """

    value: Float[Tensor, "B H"]
    gains: Gains
    cell: Float[Tensor, "B H"] | None = None


def equilibrium(
    kind: CellKind,
    layer: nn.RNNBase,
    hidden: Float[Tensor, "B H"],
    input: Float[Tensor, "B X"],
    *,
    derivatives: bool = True,
) -> Equilibrium:
    """The layer at rest with hidden state h under input u; its gains too, with `derivatives`."""
    size = layer.hidden_size
    drive, recur = pre_activations(layer, hidden, input)
    if kind == "tanh":
        value = torch.tanh(drive + recur)
        return Equilibrium(value, _same((1 - value.square(),)) if derivatives else NO_GAINS)
    if kind == "relu":
        value = torch.relu(drive + recur)
        return Equilibrium(value, _same(((value > 0).to(value),)) if derivatives else NO_GAINS)
    if kind == "gru":
        reset = torch.sigmoid(drive[:, :size] + recur[:, :size])
        inner = recur[:, 2 * size :]
        value = torch.tanh(drive[:, 2 * size :] + reset * inner)
        if not derivatives:
            return Equilibrium(value, NO_GAINS)
        through = 1 - value.square()
        by_reset = through * inner * reset * (1 - reset)
        return Equilibrium(value, Gains((by_reset, None, through * reset), (by_reset, None, through)))
    gates = drive + recur
    enter, candidate = torch.sigmoid(gates[:, :size]), torch.tanh(gates[:, 2 * size : 3 * size])
    leave = torch.sigmoid(gates[:, 3 * size :])
    # f/(1 - f), so 1/(1 - f) = 1 + odds without cancellation; far beyond e^200 nothing changes but that numbers overflow
    odds = torch.exp(gates[:, size : 2 * size].clamp_max(200.0 if gates.dtype == torch.float64 else 40.0))
    cell = enter * candidate * (1 + odds)
    top = torch.tanh(cell)
    if not derivatives:
        return Equilibrium(leave * top, NO_GAINS, cell)
    slope = leave * (1 - top.square())
    by_enter = slope * cell * (1 - enter)
    by_candidate = slope * enter * (1 - candidate.square()) * (1 + odds)
    return Equilibrium(
        leave * top, _same((by_enter, slope * enter * candidate * odds, by_candidate, top * leave * (1 - leave))), cell
    )


def _same(factors: tuple[Tensor | None, ...]) -> Gains:
    return Gains(factors, factors)
