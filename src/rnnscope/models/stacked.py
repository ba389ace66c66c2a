"""Recurrent systems one above the other as one system, read by dense layers."""

from typing import Literal

import torch
from torch import Tensor, nn
from torch.func import jacrev, vmap

from rnnscope.core.equilibria import DrivenRest, KnowsRest, RestEquation
from rnnscope.core.system import AnalyticJacobian, DynamicalSystem, FusedRollout
from rnnscope.models.recurrent_systems import RecurrentSystem

Activation = Literal["linear", "tanh", "relu", "sigmoid", "softmax"]


def activate(name: Activation, values: Tensor) -> Tensor:
    """An activation by its name; softmax over the last axis."""
    if name == "linear":
        return values
    return values.softmax(-1) if name == "softmax" else getattr(torch, name)(values)


class DenseReadout(nn.Module):
    """y = φ_n(V_n … φ_1(V_1 u + d_1) … + d_n); the identity without layers.

    Args:
        input_size: of u. units, activations, biases: one per layer.
    """

    def __init__(self, input_size: int, units: list[int], activations: list[Activation], biases: list[bool]) -> None:
        super().__init__()
        sizes = [input_size, *units]
        self.linear = nn.ModuleList(
            nn.Linear(size, unit, bias=bias) for size, unit, bias in zip(sizes[:-1], units, biases, strict=True)
        )
        self.activations = tuple(activations)
        self.input_size, self.output_size = input_size, sizes[-1]

    @property
    def layers(self) -> list[nn.Linear]:
        """The dense layers, the first to read first."""
        return [layer for layer in self.linear if isinstance(layer, nn.Linear)]

    @property
    def is_affine(self) -> bool:
        """Whether it is the identity, or one layer that is linear."""
        return not self.activations or self.activations == ("linear",)

    @property
    def pair(self) -> tuple[Tensor, Tensor | None] | None:
        """Weight and bias of the first layer; None without layers."""
        return (self.layers[0].weight, self.layers[0].bias) if self.layers else None

    def forward(self, values: Tensor) -> Tensor:
        for layer, name in zip(self.layers, self.activations, strict=True):
            values = activate(name, layer(values))
        return values


class StackedSystem(DynamicalSystem, FusedRollout, AnalyticJacobian, KnowsRest):
    """Blocks of recurrent layers; each reads the outputs of the one below, and a head reads the top one.

    Args:
        blocks: bottom first; the output size of each is the input size of the next. head: reads the top block's outputs.

    State: one block's after the other's.
    """

    def __init__(self, blocks: list[RecurrentSystem], head: DenseReadout) -> None:
        super().__init__()
        self.blocks, self.head = nn.ModuleList(blocks), head
        self.sizes = [block.state_size for block in blocks]
        self.state_size, self.input_size, self.output_size = sum(self.sizes), blocks[0].input_size, head.output_size

    def parts(self) -> list[RecurrentSystem]:
        """The blocks, bottom first."""
        return [block for block in self.blocks if isinstance(block, RecurrentSystem)]

    def initial_state(self, batch_size: int) -> Tensor:
        return torch.cat([block.initial_state(batch_size) for block in self.parts()], -1)

    def step(self, state: Tensor, input: Tensor) -> Tensor:
        new, below = [], input
        for block, own in zip(self.parts(), state.split(self.sizes, -1), strict=True):
            new.append(block.step(own, below))
            below = block.readout(new[-1])
        return torch.cat(new, -1)

    def readout(self, state: Tensor) -> Tensor:
        return self.head(self.parts()[-1].readout(state[..., -self.sizes[-1] :]))

    def fused_rollout(self, inputs: Tensor, state: Tensor, rng: torch.Generator | None = None) -> tuple[Tensor, Tensor]:
        finals, below = [], inputs
        for block, own in zip(self.parts(), state.split(self.sizes, -1), strict=True):
            below, final = block.fused_rollout(below, own, rng)
            finals.append(final)
        return self.head(below), torch.cat(finals, -1)

    def state_jacobian(self, state: Tensor, input: Tensor) -> Tensor:
        return self._derivatives(state, input)[0]

    def input_jacobian(self, state: Tensor, input: Tensor) -> Tensor:
        return self._derivatives(state, input)[1]

    def _derivatives(self, state: Tensor, input: Tensor) -> tuple[Tensor, Tensor]:
        """dF/dh and dF/dx: a block depends on the blocks below through their new outputs."""
        by_state = state.new_zeros(len(state), self.state_size, self.state_size)
        by_input = state.new_zeros(len(state), self.state_size, self.input_size)
        below, start = input, 0
        through: tuple[Tensor, Tensor] | None = None  # d(below)/dh and d(below)/dx
        for block, own in zip(self.parts(), state.split(self.sizes, -1), strict=True):
            rows = slice(start, start + block.state_size)
            by_below = block.input_jacobian(own, below)
            if through is None:
                by_input[:, rows] = by_below
            else:
                by_state[:, rows], by_input[:, rows] = by_below @ through[0], by_below @ through[1]
            by_state[:, rows, rows] = block.state_jacobian(own, below)
            new = block.step(own, below)
            read = block.readout_jacobian(new)
            below, through = block.readout(new), (read @ by_state[:, rows], read @ by_input[:, rows])
            start += block.state_size
        return by_state, by_input

    def readout_jacobian(self, state: Tensor) -> Tensor:
        top = state[:, -self.sizes[-1] :]
        last = self.parts()[-1]
        by_top = vmap(jacrev(self.head))(last.readout(top).detach())
        found = state.new_zeros(len(state), self.output_size, self.state_size)
        found[:, :, -self.sizes[-1] :] = by_top @ last.readout_jacobian(top)
        return found

    def rest_equation(self, input: Tensor) -> RestEquation | None:
        return self.parts()[0].rest_equation(input) if len(self.sizes) == 1 else None

    def driven_rest(self) -> DrivenRest | None:
        return self.parts()[0].driven_rest() if len(self.sizes) == 1 else None
