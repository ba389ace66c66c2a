"""Stacks of recurrent layers of any sizes and kinds, in one or both directions of time, with a readout of dense layers.

    u^0 = x,  u^l_t = h^l_t  or  [f^l_t, b^l_t] in both directions,  y_t = φ_n(V_n … φ_1(V_1 u^L_t + d_1) … + d_n)

with the cells of `recurrent_systems`. Networks made elsewhere become one of these.
"""

import math
from typing import Literal

import torch
from torch import Tensor, nn

from rnnscope.core.errors import ConfigError
from rnnscope.core.interfaces import ModelSpec, Signature
from rnnscope.core.padding import kept_steps, reversed_steps
from rnnscope.core.spec import Positive, Spec
from rnnscope.core.system import DynamicalSystem, SequenceModel
from rnnscope.models.cells import CellKind, make_layer
from rnnscope.models.initialisation import fill_uniform
from rnnscope.models.recurrent_systems import RecurrentSystem, recurrent_system
from rnnscope.models.stacked import Activation, DenseReadout, StackedSystem

CELLS: dict[str, CellKind] = {"elman": "tanh", "relu": "relu", "gru": "gru", "lstm": "lstm"}


class Layer(Spec):
    """One recurrent layer.

    Fields: cell (lstm, gru, elman (tanh) or relu), hidden_size (units per direction, >= 1), bidirectional (read from both ends),
    bias (in the recurrence).
    """

    cell: Literal["lstm", "gru", "elman", "relu"] = "lstm"
    hidden_size: Positive = 32
    bidirectional: bool = False
    bias: bool = True

    @property
    def width(self) -> int:
        """What the layer hands on per step."""
        return self.hidden_size * (2 if self.bidirectional else 1)


class Dense(Spec):
    """One dense layer, φ(V u + d).

    Fields: units (>= 1), activation (linear, tanh, relu, sigmoid or softmax), bias (d).
    """

    units: Positive = 16
    activation: Activation = "linear"
    bias: bool = True


class Layered(ModelSpec):
    """Recurrent layers of any sizes and kinds, one above the other, and dense layers that read the top one.

    Fields:
        layers: recurrent layers, bottom first, at least one. dense: dense layers between them and the readout.
        readout: a last dense layer to the task's outputs; without one the last layer's own values are the outputs.
        activation: of the readout: linear, tanh, relu, sigmoid or softmax. readout_bias: of the readout.
        last_step: read the last step alone; of a backward direction that is the state at the first step, where it ends.
    """

    layers: tuple[Layer, ...] = (Layer(),)
    dense: tuple[Dense, ...] = ()
    readout: bool = True
    activation: Activation = "linear"
    readout_bias: bool = True
    last_step: bool = False

    def dense_layers(self, output_size: int) -> tuple[Dense, ...]:
        """All dense layers, the readout last."""
        own = Dense(units=output_size, activation=self.activation, bias=self.readout_bias)
        return (*self.dense, own) if self.readout else self.dense

    def empty(self, signature: Signature) -> "LayeredNetwork":
        if not self.layers:
            raise ConfigError("layers is empty", "one recurrent layer or more", "set layers=[{cell: lstm, hidden_size: 32}]")
        network = LayeredNetwork(self, signature.input_size, signature.output_size)
        if network.output_size != signature.output_size:
            raise ConfigError(
                f"the last layer has {network.output_size} values, and readout is false",
                f"{signature.output_size}, as the task has outputs",
                "set readout=true, or the size of the last layer",
            )
        return network

    def build(self, signature: Signature, rng: torch.Generator) -> "LayeredNetwork":
        """Weights are U(±1/sqrt(hidden_size)), of dense layers U(±1/sqrt(fan-in))."""
        network = self.empty(signature)
        for layer in network.recurrent_layers():
            for parameter in layer.parameters():
                fill_uniform(parameter, 1 / math.sqrt(layer.hidden_size), rng)
        for dense in network.head.layers:
            for parameter in dense.parameters():
                fill_uniform(parameter, 1 / math.sqrt(dense.weight.shape[1]), rng)
        return network


class LayeredNetwork(SequenceModel):
    """The network of a `Layered` spec.

    Attributes:
        spec: its fields. input_size, output_size: features per step in and out.
        layers: per layer the forward direction and, where there is one, the backward direction. head: the dense layers.
    """

    def __init__(self, spec: Layered, input_size: int, output_size: int) -> None:
        super().__init__()
        self.spec, self.input_size = spec, input_size
        widths = [input_size, *(layer.width for layer in spec.layers)]
        with torch.random.fork_rng(devices=[]):  # torch fills new layers from the global generator; it is put back
            self.layers = nn.ModuleList(
                nn.ModuleList(
                    make_layer(CELLS[layer.cell], width, layer.hidden_size, layer.bias)
                    for _ in range(2 if layer.bidirectional else 1)
                )
                for width, layer in zip(widths[:-1], spec.layers, strict=True)
            )
            dense = spec.dense_layers(output_size)
            self.head = DenseReadout(
                widths[-1], [d.units for d in dense], [d.activation for d in dense], [d.bias for d in dense]
            )
        self.output_size = self.head.output_size

    def directions(self) -> list[list[nn.RNNBase]]:
        """Per layer its one or two directions."""
        return [[one for one in pair if isinstance(one, nn.RNNBase)] for pair in self.layers if isinstance(pair, nn.ModuleList)]

    def recurrent_layers(self) -> list[nn.RNNBase]:
        """Every recurrent layer, bottom first, the forward direction before the backward one."""
        return [layer for pair in self.directions() for layer in pair]

    @property
    def is_bidirectional(self) -> bool:
        """Whether any layer reads both ways."""
        return any(layer.bidirectional for layer in self.spec.layers)

    def forward(
        self,
        inputs: Tensor,
        lengths: Tensor | None = None,
        *,
        rng: torch.Generator | None = None,
        last: int | None = None,
    ) -> Tensor:
        """Outputs at every step, or where the network reads the last step alone one per sequence, (B, 1, Y)."""
        below, back = inputs, None
        for pair in self.directions():
            states, back = pair[0](below)[0], None
            if len(pair) == 2:
                back = reversed_steps(pair[1](reversed_steps(below, lengths))[0], lengths)
            below = states if back is None else torch.cat([states, back], -1)
        if self.spec.last_step:
            below = _at_the_end(below, lengths, 0 if back is None else back.shape[-1])
        else:
            below = kept_steps(below, lengths, last)
        return self.head(below)

    def systems(self) -> dict[str, DynamicalSystem]:
        """What recurs inside, sharing the weights; new objects at each call.

        `network` of one direction: all layers with the readout. Of a network with layers in both directions every layer is a
        system of its own, since it must know the whole sequence below: `forward` and `backward`, with `-layer0` … where there are
        several (`layer1` for one in one direction). A backward system is to be driven with a sequence from its end. In a
        network of one layer with a linear readout, a direction's readout is its share of the outputs (the bias goes to
        the forward one); else its outputs are its h.
        """
        if not self.is_bidirectional:
            return {"network": self._stack()}
        found: dict[str, DynamicalSystem] = {}
        pairs = self.directions()
        shares = self._shares()
        for index, (pair, layer) in enumerate(zip(pairs, self.spec.layers, strict=True)):
            number = f"-layer{index}" if len(pairs) > 1 else ""
            names = [f"forward{number}", f"backward{number}"] if layer.bidirectional else [f"layer{index}"]
            for place, (name, one) in enumerate(zip(names, pair, strict=True)):
                found[name] = self._block([one], CELLS[layer.cell], shares[place] if shares else None)
        return found

    def _stack(self) -> DynamicalSystem:
        """All layers as one system: of the plain kind where they are alike and one linear layer reads them."""
        blocks: list[list[nn.RNNBase]] = []
        kinds: list[Layer] = []
        for (layer,), own in zip(self.directions(), self.spec.layers, strict=True):
            if kinds and kinds[-1] == own:
                blocks[-1].append(layer)
            else:
                blocks.append([layer])
                kinds.append(own)
        if len(blocks) == 1 and self.head.is_affine:
            return self._block(blocks[0], CELLS[kinds[0].cell], self.head.pair)
        systems = [self._block(block, CELLS[kind.cell], None) for block, kind in zip(blocks, kinds, strict=True)]
        return StackedSystem(systems, self.head).train(self.training)

    def _shares(self) -> list[tuple[Tensor, Tensor | None]] | None:
        """The share of the outputs of each direction of the one layer, where the readout is one linear layer."""
        if len(self.spec.layers) > 1 or self.head.pair is None or not self.head.is_affine:
            return None
        (weight, bias), size = self.head.pair, self.spec.layers[0].hidden_size
        return [(weight[:, :size], bias), (weight[:, size:], None)]

    def _block(self, layers: list[nn.RNNBase], kind: CellKind, head: tuple[Tensor, Tensor | None] | None) -> RecurrentSystem:
        """These layers, themselves, with a readout that shares its numbers with `head`; h itself where there is none."""
        size = layers[0].hidden_size
        like = layers[0].weight_hh_l0
        assert isinstance(like, Tensor)
        weight, bias = head if head is not None else (torch.eye(size, dtype=like.dtype, device=like.device), None)
        found = recurrent_system(
            kind,
            layers[0].input_size,
            size,
            len(weight),
            len(layers),
            bias=layers[0].bias,
            readout_bias=bias is not None,
        )
        found.layers = nn.ModuleList(layers)
        found.head.weight = nn.Parameter(weight.detach(), requires_grad=weight.requires_grad)
        if bias is not None:
            found.head.bias = nn.Parameter(bias.detach(), requires_grad=bias.requires_grad)
        return found.train(self.training)


def _at_the_end(states: Tensor, lengths: Tensor | None, backward: int) -> Tensor:
    """Each direction's final state, (B, 1, W): the last `backward` features end at the first step."""
    final = kept_steps(states, lengths, 1)
    if not backward:
        return final
    return torch.cat([final[..., :-backward], states[:, :1, -backward:]], -1)
