"""A recurrent classifier of whole sequences: one or both directions of time, and a choice of how the states become logits.

    u = x, or K convolutions over time of it                                     (front end, "CNN-RNN")
    f_t = F_f(f_{t-1}, u_t),  b_t = F_b(b_{t+1}, u_t)                            (Schuster & Paliwal 1997)
    logits = W pool_t [f_t, b_t] + d

The backward direction begins at each sequence's own last step and every pooling looks at real steps only, so what pads a
shorter sequence changes no logit. The usual reading `outputs[:, -1]` takes the forward direction at its end but the backward
one after a single step; it is kept under its plain name, `end`, to show the difference.
"""

import math
from typing import Annotated, Literal

import torch
from pydantic import Field, field_validator
from torch import Tensor, nn
from torch.nn.functional import max_pool1d

from rnnscope.core.errors import ConfigError
from rnnscope.core.interfaces import ModelSpec, Signature
from rnnscope.core.padding import kept_steps, real_steps, reversed_steps
from rnnscope.core.spec import Fraction, NonNegative, Positive
from rnnscope.core.system import DynamicalSystem, SequenceModel
from rnnscope.models.cells import GATES, CellKind, layer_weights, make_layer
from rnnscope.models.dropout import dropped
from rnnscope.models.initialisation import RecurrentInit, fill_uniform, recurrent_matrix
from rnnscope.models.recurrent_systems import RecurrentSystem, recurrent_system

Pooling = Literal["last", "mean", "max", "attention", "end"]
OddSize = Annotated[int, Field(ge=1, le=99)]

SMALLEST_SLOPE = 1e-6  # root mean square below which a feature, scaled to sd 1, is called constant


class Classifier(ModelSpec):
    """Reads a whole sequence, in one direction of time or in both, and gives the logits of its classes.

    Fields:
        cell: lstm, gru, elman (tanh) or relu. hidden_size: units per layer and direction, >= 1. num_layers: >= 1.
        bidirectional: read from both ends; each layer sees both directions of the layer below.
        pooling: how the top layer's states become one vector; one of these, or several side by side.
            `last`: each direction's final state, the forward one at the last step, the backward one at the first.
            `mean`, `max`: over time. `attention`: a weighted mean, softmax_t v·tanh(A h_t + a) (Bahdanau et al. 2015).
            `end`: outputs[:, -1]; of the backward direction that is its state after ONE step. The usual mistake, for comparison.
        dropout: in [0, 1), share of the outputs dropped between layers, after the front end, and before the head.
        convolutions: layers of convolution over time before the recurrence, each with `channels` outputs, odd `kernel_size`, layer
            normalisation over channels and a ReLU; 0: none. stride: behind them the recurrence reads the largest of every so many
            steps' features. differences: the slopes x_t - x_{t-1} are read too, each feature's over its root mean square in training:
            in slow series slopes are far smaller than levels, and would hardly count as they are.
        bias: in the recurrence. recurrent_init: of every recurrent matrix.
    """

    cell: Literal["lstm", "gru", "elman", "relu"] = "gru"
    hidden_size: Positive = 64
    num_layers: Positive = 1
    bidirectional: bool = True
    pooling: Pooling | tuple[Pooling, ...] = "last"
    dropout: Fraction = 0.0
    convolutions: NonNegative = 0
    channels: Positive = 64
    kernel_size: OddSize = 5
    stride: Positive = 1
    differences: bool = False
    bias: bool = True
    recurrent_init: RecurrentInit = "uniform"

    @field_validator("pooling")
    @classmethod
    def _some(cls, pooling: Pooling | tuple[Pooling, ...]) -> Pooling | tuple[Pooling, ...]:
        if isinstance(pooling, tuple) and (not pooling or len(set(pooling)) < len(pooling)):
            raise ConfigError(f"pooling is {list(pooling)}", "one or several different ones", "set pooling=last")
        return pooling

    @field_validator("kernel_size")
    @classmethod
    def _odd(cls, size: int) -> int:
        if size % 2 == 0:
            raise ConfigError(f"kernel_size is {size}", "an odd number: as many steps before as after", f"set {size + 1}")
        return size

    def poolings(self) -> tuple[Pooling, ...]:
        """The poolings, side by side."""
        return self.pooling if isinstance(self.pooling, tuple) else (self.pooling,)

    def build(self, signature: Signature, rng: torch.Generator) -> "SequenceClassifier":
        """Weights are U(±1/sqrt(fan-in)), in the recurrence U(±1/sqrt(hidden_size)), but for the recurrent matrices asked for."""
        with torch.random.fork_rng(devices=[]):  # torch fills new layers from the global generator; it is put back
            model = SequenceClassifier(self, signature.input_size, signature.output_size)
        for name, parameter in model.named_parameters():
            if name.startswith(("forward_layers.", "backward_layers.")):
                fill_uniform(parameter, 1 / math.sqrt(self.hidden_size), rng)
        for layer in [*model.front, *model.scores, model.head]:
            if isinstance(layer, nn.Linear | nn.Conv1d):
                bound = 1 / math.sqrt(layer.weight[0].numel())
                for parameter in layer.parameters():
                    fill_uniform(parameter, bound, rng)
        if self.recurrent_init != "uniform":
            for layer in model.recurrent_layers():
                gates = GATES[model.kind]
                blocks = [recurrent_matrix(self.hidden_size, self.recurrent_init, 1.0, rng) for _ in range(gates)]
                with torch.no_grad():
                    layer_weights(layer)[1].copy_(torch.cat(blocks))
        return model


class SequenceClassifier(SequenceModel):
    """The network of a `Classifier`.

    Args:
        spec: its fields. input_size: features per step. num_classes: logits.
    """

    def __init__(self, spec: Classifier, input_size: int, num_classes: int) -> None:
        super().__init__()
        self.kind: CellKind = "tanh" if spec.cell == "elman" else spec.cell
        self.poolings, self.dropout = spec.poolings(), spec.dropout
        self.slopes = Slopes(input_size) if spec.differences else None
        self.hidden_size, self.num_layers, self.bidirectional = spec.hidden_size, spec.num_layers, spec.bidirectional
        self.input_size, self.num_classes, self.bias = input_size, num_classes, spec.bias
        width = input_size * (2 if spec.differences else 1)
        front: list[nn.Module] = []
        for _ in range(spec.convolutions):
            front += [nn.Conv1d(width, spec.channels, spec.kernel_size, padding="same"), nn.LayerNorm(spec.channels)]
            width = spec.channels
        self.front, self.stride = nn.ModuleList(front), spec.stride if front else 1
        directions = 2 if spec.bidirectional else 1
        sizes = [width] + [directions * spec.hidden_size] * (spec.num_layers - 1)
        self.forward_layers = nn.ModuleList(make_layer(self.kind, size, spec.hidden_size, spec.bias) for size in sizes)
        self.backward_layers = nn.ModuleList(
            make_layer(self.kind, size, spec.hidden_size, spec.bias) for size in (sizes if spec.bidirectional else ())
        )
        top = directions * spec.hidden_size
        self.scores = nn.ModuleList(
            [nn.Linear(top, top), nn.Linear(top, 1, bias=False)] if "attention" in self.poolings else []
        )
        self.head = nn.Linear(len(self.poolings) * top, num_classes)

    def recurrent_layers(self) -> list[nn.RNNBase]:
        """All recurrent layers, the forward ones first."""
        return [layer for layer in [*self.forward_layers, *self.backward_layers] if isinstance(layer, nn.RNNBase)]

    def forward(
        self,
        inputs: Tensor,
        lengths: Tensor | None = None,
        *,
        rng: torch.Generator | None = None,
        last: int | None = None,
    ) -> Tensor:
        """Logits, (B, 1, C). `last` has no meaning here: there is one answer per sequence."""
        features = self._features(inputs, None if lengths is None else real_steps(lengths, inputs.shape[1]), rng)
        lengths = None if lengths is None else (lengths + self.stride - 1) // self.stride
        real = None if lengths is None else real_steps(lengths, features.shape[1])
        states = self._states(features, lengths, rng)
        pooled = torch.cat([self._pool(how, states, lengths, real) for how in self.poolings], -1)
        return self.head(dropped(pooled, self.dropout, rng, self.training))[:, None]

    def _features(self, inputs: Tensor, real: Tensor | None, rng: torch.Generator | None) -> Tensor:
        """What the recurrence reads; zero where nothing is real, so that convolutions see the same end in every batch."""
        found = _only(inputs, real)
        if self.slopes is not None:
            found = torch.cat([found, self.slopes(found, real)], -1)
        for convolution, norm in zip(self.front[::2], self.front[1::2], strict=True):
            found = _only(torch.relu(norm(convolution(found.transpose(1, 2)).transpose(1, 2))), real)
        if self.stride > 1:  # features are not negative, so the zeros behind the end never are the largest
            found = max_pool1d(found.transpose(1, 2), self.stride, ceil_mode=True).transpose(1, 2)
        return dropped(found, self.dropout, rng, self.training) if len(self.front) else found

    def _states(self, below: Tensor, lengths: Tensor | None, rng: torch.Generator | None) -> Tensor:
        """The top layer's states, both directions side by side, in the order of time: (B, T, H) or (B, T, 2H)."""
        for index, forward_layer in enumerate(self.forward_layers):
            if index:
                below = dropped(below, self.dropout, rng, self.training)
            states = forward_layer(below)[0]
            if self.bidirectional:
                back = self.backward_layers[index](reversed_steps(below, lengths))[0]
                states = torch.cat([states, reversed_steps(back, lengths)], -1)
            below = states
        return below

    def _pool(self, how: Pooling, states: Tensor, lengths: Tensor | None, real: Tensor | None) -> Tensor:
        """One vector per sequence."""
        if how in ("last", "end"):
            final = kept_steps(states, lengths, 1)[:, 0]
            if how == "end" or not self.bidirectional:
                return final
            return torch.cat([final[:, : self.hidden_size], states[:, 0, self.hidden_size :]], -1)
        if how == "max":
            return (states if real is None else states.masked_fill(~real[..., None], -math.inf)).amax(1)
        if how == "attention":
            project, score = self.scores
            weights = score(torch.tanh(project(states)))
            weights = (weights if real is None else weights.masked_fill(~real[..., None], -math.inf)).softmax(1)
            return (weights * states).sum(1)
        if real is None or lengths is None:
            return states.mean(1)
        return _only(states, real).sum(1) / lengths[:, None]

    def systems(self) -> dict[str, DynamicalSystem]:
        """What recurs inside, sharing the weights; new objects at each call.

        `network` of one direction: all layers. `forward` and `backward` of two: the first layer's, since a second layer reads
        both; the backward system is to be driven with a sequence from its end. The readout is the share of the
        logits that the head gives to such a state (of the first pooling; the bias goes to the forward direction); a stack's
        first layers have no such share: their output is h itself. None behind a front end: what recurs there does not read
        the data but features of it.
        """
        if len(self.front) or self.slopes is not None:
            return {}
        size = self.hidden_size
        if not self.bidirectional:
            return {"network": self._system(list(self.forward_layers), self.head.weight[:, :size], self.head.bias)}
        if self.num_layers > 1:
            ways = {"forward": self.forward_layers[0], "backward": self.backward_layers[0]}
            return {name: self._system([layer], torch.eye(size).to(self.head.weight), None) for name, layer in ways.items()}
        return {
            "forward": self._system([self.forward_layers[0]], self.head.weight[:, :size], self.head.bias),
            "backward": self._system([self.backward_layers[0]], self.head.weight[:, size : 2 * size], None),
        }

    def _system(self, layers: list[nn.Module], weight: Tensor, bias: Tensor | None) -> RecurrentSystem:
        """These layers, themselves, with a readout that shares its numbers with `weight` and `bias`."""
        width = self.input_size
        found = recurrent_system(
            self.kind, width, self.hidden_size, len(weight), len(layers), bias=self.bias, readout_bias=bias is not None
        )
        found.layers = nn.ModuleList(layers)
        found.head.weight = nn.Parameter(weight.detach(), requires_grad=weight.requires_grad)
        if bias is not None:
            found.head.bias = nn.Parameter(bias.detach(), requires_grad=bias.requires_grad)
        return found.train(self.training)


class Slopes(nn.Module):
    """Slopes (x_t - x_{t-1}) / s, 0 at the first step; s is 1 until training, where it becomes each feature's root mean square.

    The mean is taken over all training batches so far, so it settles; outside training nothing changes it. A feature that never
    changes keeps s = 1.
    """

    square: Tensor
    batches: Tensor

    def __init__(self, num_features: int) -> None:
        super().__init__()
        self.register_buffer("square", torch.ones(num_features))
        self.register_buffer("batches", torch.zeros(()))

    def forward(self, values: Tensor, real: Tensor | None) -> Tensor:
        """Slopes of (B, T, X), 0 where nothing is real."""
        slopes = _only(values.diff(dim=1, prepend=values[:, :1]), real)
        if self.training:
            with torch.no_grad():
                self.batches += 1
                steps = slopes[..., 0].numel() if real is None else real.sum()
                self.square.lerp_(slopes.square().sum((0, 1)) / steps, 1 / self.batches)
        return slopes / torch.where(self.square > SMALLEST_SLOPE**2, self.square, 1.0).sqrt()


def _only(values: Tensor, real: Tensor | None) -> Tensor:
    """Zeros at the steps that are not real."""
    return values if real is None else values.masked_fill(~real[..., None], 0.0)
