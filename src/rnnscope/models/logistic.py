"""Logistic regression: one linear layer whose coefficients mean something."""

import math

import torch
from torch import Tensor, nn

from rnnscope.core.errors import ConfigError
from rnnscope.core.interfaces import ModelSpec, Signature
from rnnscope.core.linear_logits import LinearLogits
from rnnscope.core.padding import kept_steps
from rnnscope.core.spec import NonNegativeFloat
from rnnscope.core.system import DynamicalSystem, SequenceModel
from rnnscope.models.initialisation import fill_uniform


class LogisticModel(SequenceModel, LinearLogits):
    """Logits of C classes from the last step's inputs, the first class being the reference: its logit is 0.

    With two classes this is log odds = w·x + b, one weight vector: adding the same vector to the weights of every class would
    change no probability, so without a reference the coefficients would be undetermined.
    """

    def __init__(self, input_size: int, num_classes: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(num_classes - 1, input_size))
        self.bias = nn.Parameter(torch.zeros(num_classes - 1))

    def forward(
        self,
        inputs: Tensor,
        lengths: Tensor | None = None,
        *,
        rng: torch.Generator | None = None,
        last: int | None = None,
    ) -> Tensor:
        inputs = kept_steps(inputs, lengths, last)
        return torch.nn.functional.pad(torch.nn.functional.linear(inputs, self.weight, self.bias), (1, 0))

    def systems(self) -> dict[str, DynamicalSystem]:
        """None: nothing is carried from step to step."""
        return {}

    def coefficients(self) -> tuple[Tensor, Tensor]:
        return self.weight, self.bias


class Logistic(ModelSpec):
    """Logistic regression on a step's inputs (the last one's, where a sequence has one label).

    Fields:
        initial_scale: weights and bias start at U(±initial_scale/sqrt(inputs)); 1 is torch's default, 0 starts at even odds.
    """

    initial_scale: NonNegativeFloat = 1.0

    def build(self, signature: Signature, rng: torch.Generator) -> LogisticModel:
        """A model with the first class as reference."""
        if signature.output_size < 2:
            raise ConfigError("the model logistic needs classes, and this task has none", "a task with labels", "choose mlp")
        model = LogisticModel(signature.input_size, signature.output_size)
        for parameter in model.parameters():
            fill_uniform(parameter, self.initial_scale / math.sqrt(signature.input_size), rng)
        return model
