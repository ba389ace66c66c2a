"""Multilayer perceptrons: models without recurrence, which answer each step from that step's inputs."""

import itertools
import math
from typing import Annotated, Any

import torch
from pydantic import Field
from torch import Tensor, nn

from rnnscope.core.errors import ConfigError
from rnnscope.core.interfaces import ModelSpec, Signature
from rnnscope.core.padding import kept_steps
from rnnscope.core.spec import Positive, PositiveFloat
from rnnscope.core.system import DynamicalSystem, SequenceModel
from rnnscope.core.task_family import AdaptsByGradient
from rnnscope.models.initialisation import fill_uniform


class MLPModel(SequenceModel, AdaptsByGradient):
    """y_t = W_L a_{L-1} + b_L with a_l = max(W_l a_{l-1} + b_l, 0) and a_0 the first features of x_t.

    Args:
        sizes: inputs read, units of every hidden layer, outputs. inner_rate: step size of adaptation, of every layer.
    """

    def __init__(self, sizes: tuple[int, ...], inner_rate: float) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):  # torch fills new layers from the global generator; it is put back
            self.layers = nn.ModuleList(nn.Linear(i, o) for i, o in itertools.pairwise(sizes))
        self.reads = sizes[0]
        self.register_buffer("rates", torch.full((len(self.layers),), inner_rate, dtype=torch.float64))

    def forward(
        self,
        inputs: Tensor,
        lengths: Tensor | None = None,
        *,
        rng: torch.Generator | None = None,
        last: int | None = None,
    ) -> Tensor:
        inputs = kept_steps(inputs, lengths, last)
        values = inputs[..., : self.reads]
        for index, layer in enumerate(self.layers):
            values = layer(values if index == 0 else torch.relu(values))
        return values

    def systems(self) -> dict[str, DynamicalSystem]:
        """None: nothing is carried from step to step."""
        return {}

    def dense_layers(self) -> list[tuple[Tensor, Tensor]]:
        return [(layer.weight, layer.bias) for layer in self.layers if isinstance(layer, nn.Linear)]

    def inner_rates(self) -> list[float]:
        return [float(rate) for rate in self.get_buffer("rates")]

    def set_inner_rates(self, rates: list[float]) -> None:
        self.get_buffer("rates").copy_(torch.tensor(rates, dtype=torch.float64))


class MLP(ModelSpec):
    """ReLU perceptron, applied to every step by itself. It reads no targets of earlier steps, where a task offers them.

    Fields:
        hidden_sizes: units of each hidden layer, the first first; at least one layer.
        inner_rate: step size with which it adapts to a new task, > 0, where the trainer does not choose one.
    """

    hidden_sizes: Annotated[tuple[Positive, ...], Field(min_length=1)] = (40, 40)
    inner_rate: PositiveFloat = 0.01

    def model_post_init(self, context: Any) -> None:
        if len(self.hidden_sizes) > 20:
            raise ConfigError(f"{len(self.hidden_sizes)} hidden layers", "at most 20", "shorten hidden_sizes")

    def build(self, signature: Signature, rng: torch.Generator) -> MLPModel:
        """Weights and biases U(±1/sqrt(inputs of the layer)), torch's default."""
        reads = signature.input_size - signature.past_targets
        model = MLPModel((reads, *self.hidden_sizes, signature.output_size), self.inner_rate)
        for weight, bias in model.dense_layers():
            bound = 1 / math.sqrt(weight.shape[1])
            fill_uniform(weight, bound, rng)
            fill_uniform(bias, bound, rng)
        return model
