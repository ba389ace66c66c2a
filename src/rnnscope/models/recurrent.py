"""The specs of Elman, GRU and LSTM networks; their equations stand in `recurrent_systems`."""

import math
from abc import abstractmethod
from typing import Literal

import torch

from rnnscope.core.interfaces import ModelSpec, Signature
from rnnscope.core.spec import Fraction, NonNegative, Positive, PositiveFloat
from rnnscope.models.cells import GATES, CellKind, layer_weights
from rnnscope.models.initialisation import RecurrentInit, fill_uniform, recurrent_matrix
from rnnscope.models.recurrent_systems import RecurrentSystem, recurrent_system
from rnnscope.models.weights import load_weights


class RecurrentSpec(ModelSpec):
    """Common fields of Elman, LSTM and GRU networks.

    Fields: hidden_size (units per layer, >= 1), num_layers (>= 1), bias (b and c in the recurrence), readout_bias (d),
    dropout (share of a layer's outputs dropped before the next layer, in [0, 1)), skip (K >= 0 input taps straight to the
    output), recurrent_init and recurrent_scale (of every U), input_scale (of the first layer's W), weights (a safetensors file to start from, see `rnnscope.models.weights`), forget_bias (added to an LSTM's forget gate).
    """

    hidden_size: Positive = 64
    num_layers: Positive = 2
    bias: bool = True
    readout_bias: bool = True
    dropout: Fraction = 0.0
    skip: NonNegative = 0
    recurrent_init: RecurrentInit = "uniform"
    recurrent_scale: PositiveFloat = 1.0
    input_scale: PositiveFloat = 1.0
    weights: str = ""

    @abstractmethod
    def cell(self) -> CellKind:
        """Which cell this is."""

    def build(self, signature: Signature, rng: torch.Generator) -> RecurrentSystem:
        """A network whose weights are U(±1/sqrt(hidden_size)), torch's default, but for the recurrent matrices asked for."""
        system = recurrent_system(
            self.cell(),
            signature.input_size,
            self.hidden_size,
            signature.output_size,
            self.num_layers,
            bias=self.bias,
            readout_bias=self.readout_bias,
            dropout=self.dropout,
            skip=self.skip,
        )
        for name, parameter in system.named_parameters():
            fan = parameter.shape[1] if name == "taps.weight" else self.hidden_size
            fill_uniform(parameter, 1 / math.sqrt(fan), rng)
        if self.recurrent_init != "uniform" or self.recurrent_scale != 1.0:
            for layer in system.recurrent_layers():
                blocks = [
                    recurrent_matrix(self.hidden_size, self.recurrent_init, self.recurrent_scale, rng)
                    for _ in range(GATES[self.cell()])
                ]
                with torch.no_grad():
                    layer_weights(layer)[1].copy_(torch.cat(blocks))
        if self.input_scale != 1.0:
            with torch.no_grad():
                layer_weights(system.recurrent_layers()[0])[0].mul_(self.input_scale)
        if self.weights:
            load_weights(system, self.weights)
        return system


class Elman(RecurrentSpec):
    """Simple recurrent network, h = φ(W u + b + U h' + c), with φ = `nonlinearity`: tanh or relu."""

    nonlinearity: Literal["tanh", "relu"] = "tanh"

    def cell(self) -> CellKind:
        return self.nonlinearity


class GRU(RecurrentSpec):
    """Gated recurrent unit (Cho et al. 2014), in torch's form with the reset gate after the matrix product."""

    def cell(self) -> CellKind:
        return "gru"


class LSTM(RecurrentSpec):
    """Long short-term memory with forget gates (Hochreiter & Schmidhuber 1997; Gers et al. 2000).

    `forget_bias` is added to the forget gate's bias at the start (Jozefowicz et al. 2015 suggest 1).
    """

    forget_bias: float = 0.0

    def cell(self) -> CellKind:
        return "lstm"

    def build(self, signature: Signature, rng: torch.Generator) -> RecurrentSystem:
        system = super().build(signature, rng)
        if self.bias and self.forget_bias and not self.weights:
            with torch.no_grad():
                for layer in system.recurrent_layers():
                    bias = layer_weights(layer)[2]
                    assert bias is not None
                    bias[self.hidden_size : 2 * self.hidden_size] += self.forget_bias
        return system
