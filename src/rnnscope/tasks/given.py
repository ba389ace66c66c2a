"""No task at all: a network that exists already, driven by noise so that it can be looked at."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from rnnscope.core.interfaces import Probe, Signature, TaskSpec, TrainingData
from rnnscope.core.random import Streams
from rnnscope.core.spec import NonNegativeFloat, Positive


@dataclass(frozen=True)
class NoiseData(TrainingData):
    """White noise for a network of given sizes.

    Attributes:
        num_steps: of each sequence. input_sd: of the noise. notes: what is known of the network.
    """

    signature: Signature
    num_steps: int
    input_sd: float
    notes: tuple[str, ...] = ()

    def to(self, device: torch.device) -> "NoiseData":
        return self

    def describe(self) -> dict[str, Any]:
        return {
            "inputs": f"white noise of standard deviation {self.input_sd:g}, {self.signature.input_size} per step",
            "steps": self.num_steps,
            "notes": list(self.notes),
        }

    def arrays(self) -> dict[str, np.ndarray]:
        return {}

    def probe(self, num_sequences: int, rng: torch.Generator) -> Probe:
        return Probe(self.input_sd * torch.randn(num_sequences, self.num_steps, self.signature.input_size, generator=rng))


class Noise(TaskSpec):
    """White noise as input, nothing to learn: for networks that come as weights.

    Fields: input_size, output_size: of the network. num_steps: per sequence. input_sd: of the noise. notes: for the report.
    """

    input_size: Positive = 1
    output_size: Positive = 1
    num_steps: Positive = 200
    input_sd: NonNegativeFloat = 1.0
    notes: tuple[str, ...] = ()

    def prepare(self, streams: Streams) -> NoiseData:
        return NoiseData(Signature(self.input_size, self.output_size), self.num_steps, self.input_sd, self.notes)
