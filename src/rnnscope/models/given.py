"""A model that is read from a weights file."""

from typing import Literal

import torch

from rnnscope.core.errors import ConfigError, unknown_name
from rnnscope.core.interfaces import ModelSpec, Signature
from rnnscope.models.recurrent_systems import RecurrentSystem
from rnnscope.models.state_dict import read_tensors, recognise


class GivenWeights(ModelSpec):
    """The network in a state dict; cell, sizes and layers are recognised.

    Fields:
        path: .safetensors, or what torch.save wrote (opened with weights_only). part: "network", or for a bidirectional one the
            direction ("forward", "backward", with "-layer0" and so on where there are several layers).
        nonlinearity: of a plain RNN, which its weights do not tell. prefix: of the module, where the file holds several.
    """

    path: str = ""
    part: str = "network"
    nonlinearity: Literal["tanh", "relu"] = "tanh"
    prefix: str | None = None

    def build(self, signature: Signature, rng: torch.Generator) -> RecurrentSystem:
        found = {
            f.label: f
            for f in recognise(read_tensors(self.path), f"'{self.path}'", nonlinearity=self.nonlinearity, prefix=self.prefix)
        }
        if self.part not in found:
            raise unknown_name("part", self.part, found)
        system = found[self.part].system
        if (system.input_size, system.output_size) != (signature.input_size, signature.output_size):
            raise ConfigError(
                f"'{self.path}' has {system.input_size} inputs and {system.output_size} outputs",
                f"{signature.input_size} and {signature.output_size}, as the task has",
                "set task.input_size and task.output_size to those of the network",
            )
        return system.float()
