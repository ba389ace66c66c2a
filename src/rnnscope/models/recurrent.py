"""The specs of Elman, GRU and LSTM networks; their equations stand in `recurrent_systems`."""

import math
from abc import abstractmethod
from typing import Any, Literal

import torch
from torch import Tensor, nn

from rnnscope.core.errors import ConfigError
from rnnscope.core.interfaces import ModelSpec, Signature
from rnnscope.core.spec import Fraction, NonNegative, NonNegativeFloat, Positive, PositiveFloat
from rnnscope.models.cells import GATES, CellKind, layer_weights
from rnnscope.models.initialisation import RecurrentInit, chrono_bias, fill_uniform, recurrent_matrix
from rnnscope.models.recurrent_systems import RecurrentSystem, recurrent_system
from rnnscope.models.weights import load_weights


class RecurrentSpec(ModelSpec):
    """Common fields of Elman, LSTM and GRU networks.

    Fields: hidden_size (units per layer, >= 1), num_layers (>= 1), bias (b and c in the recurrence), readout_bias (d),
    dropout (share of a layer's outputs dropped before the next layer, in [0, 1)), skip (K >= 0 input taps straight to the
    output), recurrent_init (of every U: uniform, torch's default; orthogonal; identity; spectral, Gaussian of that spectral radius;
    sparse, the same with 15 connections into each unit) and recurrent_scale (bound, factor or spectral radius), input_scale
    (of the first layer's W), bias_scale (of b and c; 0: no biases at the start), weights (a safetensors file to start from, see
    `rnnscope.models.weights`), forget_bias (added to an LSTM's forget gate), chrono (of LSTM and GRU: the longest lag T that the
    task asks for; biases of the gates that forget are then log U(1, T - 1); 0: none).

    A ReLU network with recurrent_init=identity and bias_scale=0 is the IRNN of Le, Jaitly & Hinton (2015).
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
    bias_scale: NonNegativeFloat = 1.0
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
        if self.bias_scale != 1.0 and self.bias:
            with torch.no_grad():
                for layer in system.recurrent_layers():
                    for bias in _biases(layer):
                        bias.mul_(self.bias_scale)
        self.start_gates(system, rng)
        if self.weights:
            load_weights(system, self.weights)
        return system

    def start_gates(self, system: RecurrentSystem, rng: torch.Generator) -> None:
        """Give the gates' biases their start, in place; a cell without gates has none."""
        return


def _biases(layer: nn.RNNBase) -> tuple[Tensor, Tensor]:
    """b and c of a layer that has biases."""
    into, back = layer_weights(layer)[2:]
    assert into is not None
    assert back is not None
    return into, back


def _refuse_chrono(longest: float, bias: bool) -> None:
    """Refuse a longest lag that leaves no range of biases, or that has no biases to set."""
    if longest and longest <= 2:
        raise ConfigError(
            f"chrono is {longest:g}", "a longest lag above 2, or 0: none", "set chrono to the lag the task asks for"
        )
    if longest and not bias:
        raise ConfigError("chrono is set, but bias is false", "biases, which it starts", "set bias=true, or chrono=0")


class Elman(RecurrentSpec):
    """Simple recurrent network, h = φ(W u + b + U h' + c), with φ = `nonlinearity`: tanh or relu."""

    nonlinearity: Literal["tanh", "relu"] = "tanh"

    def cell(self) -> CellKind:
        return self.nonlinearity


class GRU(RecurrentSpec):
    """Gated recurrent unit (Cho et al. 2014), in torch's form with the reset gate after the matrix product.

    With `chrono` T > 2 the update gate, which keeps the state, starts with the biases log U(1, T - 1).
    """

    chrono: NonNegativeFloat = 0.0

    def model_post_init(self, context: Any) -> None:
        _refuse_chrono(self.chrono, self.bias)

    def cell(self) -> CellKind:
        return "gru"

    def start_gates(self, system: RecurrentSystem, rng: torch.Generator) -> None:
        if not self.chrono:
            return
        update = slice(self.hidden_size, 2 * self.hidden_size)
        with torch.no_grad():
            for layer in system.recurrent_layers():
                into, back = _biases(layer)
                into[update] = chrono_bias(self.hidden_size, self.chrono, rng)
                back[update] = 0.0


class LSTM(RecurrentSpec):
    """Long short-term memory with forget gates (Hochreiter & Schmidhuber 1997; Gers et al. 2000).

    `forget_bias` is added to the forget gate's bias at the start (Jozefowicz et al. 2015 suggest 1). With `chrono` T > 2 the
    forget gate starts with the biases b = log U(1, T - 1) instead, and the input gate with -b.
    """

    forget_bias: float = 0.0
    chrono: NonNegativeFloat = 0.0

    def model_post_init(self, context: Any) -> None:
        _refuse_chrono(self.chrono, self.bias)
        if self.chrono and self.forget_bias:
            raise ConfigError("forget_bias and chrono are both set", "one of them", "leave forget_bias out")

    def cell(self) -> CellKind:
        return "lstm"

    def start_gates(self, system: RecurrentSystem, rng: torch.Generator) -> None:
        size = self.hidden_size
        if not self.bias:
            return
        with torch.no_grad():
            for layer in system.recurrent_layers():
                into, back = _biases(layer)
                if self.forget_bias:
                    into[size : 2 * size] += self.forget_bias
                if self.chrono:
                    drawn = chrono_bias(size, self.chrono, rng)
                    into[: 2 * size] = torch.cat([-drawn, drawn])
                    back[: 2 * size] = 0.0
