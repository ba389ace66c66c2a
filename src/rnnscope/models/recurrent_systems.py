"""Elman, LSTM and GRU networks: one step in the open, torch's kernels for whole sequences, a compiled closed loop.

Layer l reads u^0 = x_t or u^l = h^{l-1}_t and computes (σ logistic, ∘ elementwise):

    Elman  h = φ(W u + b + U h' + c),  φ = tanh or relu                                   (Elman 1990)
    GRU    r = σ(W_r u + b_r + U_r h' + c_r),  z = σ(W_z u + b_z + U_z h' + c_z),
           n = tanh(W_n u + b_n + r∘(U_n h' + c_n)),  h = (1-z)∘n + z∘h'                   (Cho et al. 2014, torch's form)
    LSTM   i, f, o = σ(W u + b + U h' + c),  g = tanh(…),  c = f∘c' + i∘g,  h = o∘tanh(c)  (Hochreiter & Schmidhuber 1997)

The output is y_t = V h^L_t + Σ_{k<K} D_k x_{t-k} + d. The K `skip` taps hold a linear autoregression inside the network:
with V = 0 it is one. They are part of the state.
"""

from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from rnnscope.core.equilibria import DrivenRest, HeldRest, KnowsRest, RestEquation
from rnnscope.core.linearised import Linearisable, Linearised
from rnnscope.core.loops import AffineFeedback, FusedClosedLoop
from rnnscope.core.padding import kept_steps
from rnnscope.core.piecewise import AffineReadout, PiecewiseLinear
from rnnscope.core.sampling import FusedSampling
from rnnscope.core.system import (
    AnalyticJacobian,
    DynamicalSystem,
    FusedRollout,
    LinearReadout,
    Push,
    SequenceModel,
    TangentProducts,
)
from rnnscope.models.cells import (
    GATES,
    CellKind,
    Gains,
    cell_gains,
    cell_step,
    gains_by_step,
    layer_input_jacobian,
    layer_state_jacobian,
    layer_weights,
    make_layer,
    push_tangents,
)
from rnnscope.models.dropout import dropped
from rnnscope.models.linearised import LinearisedNetwork
from rnnscope.models.rest import RecurrentRest
from rnnscope.numerics.batched import batched_closed_loop
from rnnscope.numerics.kernels import PackedNetwork, closed_loop
from rnnscope.numerics.symbol_kernels import sample_many, sample_one


class RecurrentSystem(
    DynamicalSystem,
    SequenceModel,
    FusedRollout,
    LinearReadout,
    FusedClosedLoop,
    FusedSampling,
    AnalyticJacobian,
    TangentProducts,
    KnowsRest,
    Linearisable,
):
    """A stack of recurrent layers with a linear readout of the top layer and, optionally, linear taps from the input.

    State: layer after layer, each h (an LSTM's concat(h, c)), then the taps x_t, x_{t-1}, …, x_{t-K+1}.
    """

    def __init__(
        self,
        kind: CellKind,
        input_size: int,
        hidden_size: int,
        output_size: int,
        num_layers: int = 1,
        *,
        bias: bool = True,
        readout_bias: bool = True,
        dropout: float = 0.0,
        skip: int = 0,
    ) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):  # torch fills new layers from the global generator; it is put back
            self._make_layers(kind, input_size, hidden_size, output_size, num_layers, bias, readout_bias, skip)
        self.kind: CellKind = kind
        self.hidden_size, self.num_layers, self.skip, self.dropout = hidden_size, num_layers, skip, dropout
        self.input_size, self.output_size = input_size, output_size
        self.layer_size = hidden_size * (2 if kind == "lstm" else 1)
        self.state_size = num_layers * self.layer_size + skip * input_size

    def _make_layers(
        self,
        kind: CellKind,
        input_size: int,
        hidden_size: int,
        output_size: int,
        num_layers: int,
        bias: bool,
        readout_bias: bool,
        skip: int,
    ) -> None:
        sizes = [input_size] + [hidden_size] * (num_layers - 1)
        self.layers = nn.ModuleList(make_layer(kind, size, hidden_size, bias) for size in sizes)
        self.head = nn.Linear(hidden_size, output_size, bias=readout_bias)
        self.taps = nn.Linear(skip * input_size, output_size, bias=False) if skip else None

    # the noun

    def initial_state(self, batch_size: int) -> Tensor:
        return self.head.weight.new_zeros(batch_size, self.state_size)

    def step(self, state: Tensor, input: Tensor) -> Tensor:
        new, below = [], input
        for own, layer in zip(self._layer_states(state), self.recurrent_layers(), strict=True):
            advanced = cell_step(self.kind, layer, own, below)
            new.append(advanced)
            below = advanced[:, : self.hidden_size]
        if self.skip:
            new += [input, self._tap_state(state)[:, : -self.input_size]]
        return torch.cat(new, -1) if len(new) > 1 else new[0]

    def readout(self, state: Tensor) -> Tensor:
        start = (self.num_layers - 1) * self.layer_size
        output = self.head(state[..., start : start + self.hidden_size])
        return output if self.taps is None else output + self.taps(self._tap_state(state))

    def _layer_states(self, state: Tensor) -> list[Tensor]:
        return list(state[:, : self.num_layers * self.layer_size].split(self.layer_size, -1))

    def _tap_state(self, state: Tensor) -> Tensor:
        return state[..., self.num_layers * self.layer_size :]

    def recurrent_layers(self) -> list[nn.RNNBase]:
        """The layers, bottom first."""
        return [layer for layer in self.layers if isinstance(layer, nn.RNNBase)]

    # derivatives

    def state_jacobian(self, state: Tensor, input: Tensor) -> Tensor:
        if self.num_layers == 1 and not self.skip:
            return layer_state_jacobian(self.kind, self.recurrent_layers()[0], state, input)
        return self._derivatives(state, input)[0]

    def input_jacobian(self, state: Tensor, input: Tensor) -> Tensor:
        if self.num_layers == 1 and not self.skip:
            return layer_input_jacobian(self.kind, self.recurrent_layers()[0], state, input)
        return self._derivatives(state, input)[1]

    def _derivatives(self, state: Tensor, input: Tensor) -> tuple[Tensor, Tensor]:
        """dF/dh and dF/dx: a layer depends on the layers below through their new h."""
        batch, size = len(state), self.layer_size
        by_state = state.new_zeros(batch, self.state_size, self.state_size)
        by_input = state.new_zeros(batch, self.state_size, self.input_size)
        below = input
        for index, (own, layer) in enumerate(zip(self._layer_states(state), self.recurrent_layers(), strict=True)):
            rows = slice(index * size, (index + 1) * size)
            by_below = layer_input_jacobian(self.kind, layer, own, below)
            by_state[:, rows, rows] = layer_state_jacobian(self.kind, layer, own, below)
            if index:
                outputs = slice((index - 1) * size, (index - 1) * size + self.hidden_size)
                by_state[:, rows, : index * size] = by_below @ by_state[:, outputs, : index * size]
                by_input[:, rows] = by_below @ by_input[:, outputs]
            else:
                by_input[:, rows] = by_below
            if index < self.num_layers - 1:
                below = cell_step(self.kind, layer, own, below)[:, : self.hidden_size]
        if self.skip:
            start, shift = self.num_layers * size, (self.skip - 1) * self.input_size
            by_input[:, start : start + self.input_size] = torch.eye(self.input_size, dtype=state.dtype, device=state.device)
            by_state[:, start + self.input_size :, start : start + shift].diagonal(dim1=1, dim2=2).fill_(1)
        return by_state, by_input

    def readout_jacobian(self, state: Tensor) -> Tensor:
        found = state.new_zeros(self.output_size, self.state_size)
        start = (self.num_layers - 1) * self.layer_size
        found[:, start : start + self.hidden_size] = self.head.weight
        if self.taps is not None:
            found[:, self.num_layers * self.layer_size :] = self.taps.weight
        return found.expand(len(state), -1, -1)

    @torch.no_grad()
    def tangent_products(self, states: Tensor, inputs: Tensor) -> list[Push]:
        below, by_layer = inputs.flatten(0, 1), []
        for own, layer in zip(self._layer_states(states.flatten(0, 1)), self.recurrent_layers(), strict=True):
            by_layer.append(gains_by_step(cell_gains(self.kind, layer, own, below), len(states)))
            if len(by_layer) < self.num_layers:
                below = cell_step(self.kind, layer, own, below)[:, : self.hidden_size]
        return [partial(self._push, self.recurrent_layers(), gains) for gains in zip(*by_layer, strict=True)]

    @torch.no_grad()
    def _push(
        self, layers: list[nn.RNNBase], gains: tuple[list[Gains], ...], by_state: Tensor, by_input: Tensor | None
    ) -> Tensor:
        new, below = [], by_input
        owns = by_state[..., : self.num_layers * self.layer_size].split(self.layer_size, -1)
        for layer, gain, own in zip(layers, gains, owns, strict=True):
            new.append(push_tangents(layer, gain, own, below))
            below = new[-1][..., : self.hidden_size]
        if self.skip:
            fresh = by_state.new_zeros(*by_state.shape[:2], self.input_size) if by_input is None else by_input
            new += [fresh, self._tap_state(by_state)[..., : -self.input_size]]
        return torch.cat(new, -1) if len(new) > 1 else new[0]

    def rest_equation(self, input: Tensor) -> RestEquation:
        return HeldRest(self.driven_rest(), input)

    def driven_rest(self) -> DrivenRest:
        return RecurrentRest(self.kind, self.recurrent_layers(), self.skip)

    def linearised(self, inputs: Tensor, lengths: Tensor | None, last: int) -> Linearised:
        return LinearisedNetwork(self, inputs, lengths, last)

    # whole sequences

    def systems(self) -> dict[str, DynamicalSystem]:
        return {"network": self}

    def forward(
        self,
        inputs: Tensor,
        lengths: Tensor | None = None,
        *,
        rng: torch.Generator | None = None,
        last: int | None = None,
    ) -> Tensor:
        top, _ = self._run_layers(inputs, None, rng)
        taps = self._unfold_taps(inputs, None) if self.skip else None
        return self._read(kept_steps(top, lengths, last), None if taps is None else kept_steps(taps, lengths, last))

    def fused_rollout(self, inputs: Tensor, state: Tensor, rng: torch.Generator | None = None) -> tuple[Tensor, Tensor]:
        top, finals = self._run_layers(inputs, state, rng)
        if not self.skip:
            return self._read(top, None), torch.cat(finals, -1)
        taps = self._unfold_taps(inputs, state)
        return self._read(top, taps), torch.cat([*finals, taps[:, -1]], -1)

    def _read(self, top: Tensor, taps: Tensor | None) -> Tensor:
        output = self.head(top)
        return output if self.taps is None or taps is None else output + self.taps(taps)

    def _run_layers(self, inputs: Tensor, state: Tensor | None, rng: torch.Generator | None) -> tuple[Tensor, list[Tensor]]:
        """The top layer's outputs and each layer's final h (and c); without a state, torch's own zeros begin."""
        finals: list[Tensor] = []
        below = inputs
        own = [None] * self.num_layers if state is None else self._layer_states(state)
        for index, (start, layer) in enumerate(zip(own, self.recurrent_layers(), strict=True)):
            if index:
                below = dropped(below, self.dropout, rng, self.training)
            if start is None:
                below, last = layer(below)
            else:
                parts = [part[None].contiguous() for part in start.split(self.hidden_size, -1)]
                below, last = layer(below, tuple(parts) if self.kind == "lstm" else parts[0])
            finals.extend(part[0] for part in (last if self.kind == "lstm" else (last,)))
        return below, finals

    def _unfold_taps(self, inputs: Tensor, state: Tensor | None) -> Tensor:
        """(B, T, K·X): at each step the K latest inputs, newest first, reaching back into the state's taps."""
        batch, _, width = inputs.shape
        if state is None:
            past = inputs.new_zeros(batch, self.skip, width)
        else:
            past = self._tap_state(state).reshape(batch, self.skip, width).flip(1)
        series = torch.cat([past[:, 1:], inputs], 1)
        return series.unfold(1, self.skip, 1).flip(-1).transpose(2, 3).reshape(batch, inputs.shape[1], -1)

    # the linear readout

    def readout_features(self, inputs: Tensor) -> Tensor:
        top, _ = self._run_layers(inputs, None, None)
        return torch.cat([top, self._unfold_taps(inputs, None)], -1) if self.skip else top

    def carried_features(self, inputs: Tensor, state: Tensor, previous: Tensor | None = None) -> tuple[Tensor, Tensor]:
        top, finals = self._run_layers(inputs, state, None)
        if not self.skip:
            return top, torch.cat(finals, -1)
        taps = self._unfold_taps(inputs, state)
        return torch.cat([top, taps], -1), torch.cat([*finals, taps[:, -1]], -1)

    def state_features(self, state: Tensor) -> Tensor:
        start = (self.num_layers - 1) * self.layer_size
        return torch.cat([state[..., start : start + self.hidden_size], self._tap_state(state)], -1)

    def set_readout(self, weight: Tensor, bias: Tensor) -> None:
        with torch.no_grad():
            self.head.weight.copy_(weight[:, : self.hidden_size])
            if self.head.bias is not None:
                self.head.bias.copy_(bias)
            if self.taps is not None:
                self.taps.weight.copy_(weight[:, self.hidden_size :])

    # the closed loop

    def fused_closed_loop(
        self, state: Tensor, input: Tensor, feedback: AffineFeedback, exogenous: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        batch = state.shape[0]
        layers = state[:, : self.num_layers * self.layer_size].reshape(batch, self.num_layers, -1)
        taps = self._tap_state(state).reshape(batch, self.skip, self.input_size)
        matrices = (feedback.carry, feedback.from_output, feedback.from_exogenous)
        if batch == 1 and state.device.type == "cpu":
            found = closed_loop(self.packed(), layers[0], taps[0], input[0], matrices, exogenous[0])
            outputs, layers, taps, last = (tensor[None] for tensor in found)
        else:
            outputs, layers, taps, last = batched_closed_loop(self.packed(), layers, taps, input, matrices, exogenous)
        return outputs, torch.cat([layers.reshape(batch, -1), taps.reshape(batch, -1)], -1), last

    def fused_sampling(
        self, state: Tensor, codes: Tensor, uniforms: Tensor, temperature: float, top_k: int, banned: int
    ) -> tuple[Tensor, Tensor]:
        batch = state.shape[0]
        layers = state[:, : self.num_layers * self.layer_size].reshape(batch, self.num_layers, -1)
        taps = self._tap_state(state).reshape(batch, self.skip, self.input_size)
        how = (temperature, top_k, banned)
        if batch == 1 and state.device.type == "cpu":
            found = sample_one(self.packed(), codes, layers[0], taps[0], uniforms[0], *how)
            symbols, layers, taps = (tensor[None] for tensor in found)
        else:
            symbols, layers, taps = sample_many(self.packed(), codes.to(state), layers, taps, uniforms, *how)
        return symbols, torch.cat([layers.reshape(batch, -1), taps.reshape(batch, -1)], -1)

    def packed(self) -> PackedNetwork:
        """Plain arrays for the compiled loop, weights transposed so that the inner loop is contiguous."""
        hidden, gates = self.hidden_size, GATES[self.kind] * self.hidden_size
        widest = max(self.input_size, hidden)
        like = self.head.weight.detach()
        drive, recur = like.new_zeros(self.num_layers, widest, gates), like.new_zeros(self.num_layers, hidden, gates)
        biases = like.new_zeros(self.num_layers, 2, gates)
        for index, layer in enumerate(self.recurrent_layers()):
            into, back, into_bias, back_bias = layer_weights(layer)
            drive[index, : into.shape[1]] = into.detach().T
            recur[index] = back.detach().T
            if into_bias is not None and back_bias is not None:
                biases[index, 0], biases[index, 1] = into_bias.detach(), back_bias.detach()
        readout = [like.T]
        if self.taps is not None:
            readout.append(self.taps.weight.detach().T)
        bias = self.head.bias.detach() if self.head.bias is not None else like.new_zeros(self.output_size)
        return PackedNetwork(self.kind, drive, recur, biases, torch.cat(readout), bias)


class ReluSystem(RecurrentSystem, PiecewiseLinear, AffineReadout):
    """A stack of ReLU layers: affine as long as no unit switches."""

    def boundaries(self, pattern: Tensor, input: Tensor) -> tuple[Tensor, Tensor]:
        batch, size = len(pattern), self.hidden_size
        rows, offsets = [], []
        below_row, below = input.new_zeros(batch, self.input_size, self.state_size), input
        for index, layer in enumerate(self.recurrent_layers()):
            into, back, into_bias, back_bias = layer_weights(layer)
            row = into @ below_row
            row[:, :, index * size : (index + 1) * size] += back
            offset = below @ into.T
            if into_bias is not None and back_bias is not None:
                offset = offset + into_bias + back_bias
            rows.append(row)
            offsets.append(offset)
            on = pattern[:, index * size : (index + 1) * size].to(input.dtype)
            below_row, below = on[:, :, None] * row, on * offset
        return torch.cat(rows, 1), torch.cat(offsets, 1)

    def affine(self, pattern: Tensor, input: Tensor) -> tuple[Tensor, Tensor]:
        rows, offsets = self.boundaries(pattern, input)
        on = pattern.to(input.dtype)
        matrix, offset = on[:, :, None] * rows, on * offsets
        if not self.skip:
            return matrix, offset
        shift = matrix.new_zeros(len(pattern), self.skip * self.input_size, self.state_size)
        kept = (self.skip - 1) * self.input_size
        shift[:, self.input_size :, matrix.shape[1] : matrix.shape[1] + kept].diagonal(dim1=1, dim2=2).fill_(1)
        fresh = torch.cat([input, input.new_zeros(len(pattern), kept)], 1)
        return torch.cat([matrix, shift], 1), torch.cat([offset, fresh], 1)

    def region(self, state: Tensor, input: Tensor) -> Tensor:
        return self.step(state, input)[:, : self.num_layers * self.hidden_size] > 0

    def affine_readout(self) -> tuple[Tensor, Tensor]:
        state = self.initial_state(1)
        return self.readout_jacobian(state)[0], self.readout(torch.zeros_like(state))[0]


def recurrent_system(kind: CellKind, *sizes: Any, **fields: Any) -> RecurrentSystem:
    """A system of a kind of cell, with the capabilities of that kind; arguments as of `RecurrentSystem`."""
    return (ReluSystem if kind == "relu" else RecurrentSystem)(kind, *sizes, **fields)
