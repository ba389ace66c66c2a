"""A recurrent network behind an embedding: x -> x E, one vector per symbol, learned with the rest."""

import math
from typing import Literal

import torch
from torch import Tensor, nn

from rnnscope.core.equilibria import DrivenRest, HeldRest, KnowsRest, RestEquation
from rnnscope.core.interfaces import ModelSpec, Signature
from rnnscope.core.sampling import FusedSampling
from rnnscope.core.spec import Fraction, Positive
from rnnscope.core.system import AnalyticJacobian, DynamicalSystem, FusedRollout, LinearReadout, SequenceModel
from rnnscope.models.initialisation import fill_uniform
from rnnscope.models.recurrent import GRU, LSTM, Elman
from rnnscope.models.recurrent_systems import RecurrentSystem


class EmbeddedSystem(DynamicalSystem, SequenceModel, FusedRollout, LinearReadout, FusedSampling, AnalyticJacobian, KnowsRest):
    """h_t = F(h_{t-1}, x_t E) with a recurrent network F: for a one-hot x_t, E's row of that symbol.

    Args:
        network: reads vectors of length D. input_size: V, length of x.
    """

    def __init__(self, network: RecurrentSystem, input_size: int) -> None:
        super().__init__()
        self.network = network
        self.embedding = nn.Parameter(network.head.weight.new_zeros(input_size, network.input_size))
        self.state_size, self.input_size, self.output_size = network.state_size, input_size, network.output_size

    def initial_state(self, batch_size: int) -> Tensor:
        return self.network.initial_state(batch_size)

    def step(self, state: Tensor, input: Tensor) -> Tensor:
        return self.network.step(state, input @ self.embedding)

    def readout(self, state: Tensor) -> Tensor:
        return self.network.readout(state)

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
        return self.network.forward(inputs @ self.embedding, lengths, rng=rng, last=last)

    def fused_rollout(self, inputs: Tensor, state: Tensor, rng: torch.Generator | None = None) -> tuple[Tensor, Tensor]:
        return self.network.fused_rollout(inputs @ self.embedding, state, rng)

    def readout_features(self, inputs: Tensor) -> Tensor:
        return self.network.readout_features(inputs @ self.embedding)

    def carried_features(self, inputs: Tensor, state: Tensor, previous: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return self.network.carried_features(inputs @ self.embedding, state, previous)

    def state_features(self, state: Tensor) -> Tensor:
        return self.network.state_features(state)

    def set_readout(self, weight: Tensor, bias: Tensor) -> None:
        self.network.set_readout(weight, bias)

    def fused_sampling(
        self, state: Tensor, codes: Tensor, uniforms: Tensor, temperature: float, top_k: int, banned: int
    ) -> tuple[Tensor, Tensor]:
        embedded = codes.to(self.embedding) @ self.embedding
        return self.network.fused_sampling(state, embedded, uniforms, temperature, top_k, banned)

    def state_jacobian(self, state: Tensor, input: Tensor) -> Tensor:
        return self.network.state_jacobian(state, input @ self.embedding)

    def input_jacobian(self, state: Tensor, input: Tensor) -> Tensor:
        return self.network.input_jacobian(state, input @ self.embedding) @ self.embedding.T

    def readout_jacobian(self, state: Tensor) -> Tensor:
        return self.network.readout_jacobian(state)

    def rest_equation(self, input: Tensor) -> RestEquation:
        return HeldRest(self.network.driven_rest(), input @ self.embedding)

    def driven_rest(self) -> DrivenRest | None:
        return None  # of its own inputs; held inputs are what a network of symbols is looked at with


class Embedding(ModelSpec):
    """A recurrent network that reads a learned vector for each symbol instead of the one-hot vector itself.

    Fields:
        embedding_size: length of these vectors. cell: elman, gru or lstm. hidden_size, num_layers, dropout: see `RecurrentSpec`.
            forget_bias: of an LSTM.
    """

    embedding_size: Positive = 32
    cell: Literal["elman", "gru", "lstm"] = "lstm"
    hidden_size: Positive = 64
    num_layers: Positive = 1
    dropout: Fraction = 0.0
    forget_bias: float = 0.0

    def build(self, signature: Signature, rng: torch.Generator) -> EmbeddedSystem:
        """The network, and embeddings of length about one: N(0, 1/D) would be, U(±sqrt(3/D)) is."""
        sizes = {"hidden_size": self.hidden_size, "num_layers": self.num_layers, "dropout": self.dropout}
        inner = Signature(self.embedding_size, signature.output_size)
        if self.cell == "lstm":
            network = LSTM(**sizes, forget_bias=self.forget_bias).build(inner, rng)
        else:
            network = (GRU if self.cell == "gru" else Elman)(**sizes).build(inner, rng)
        system = EmbeddedSystem(network, signature.input_size)
        fill_uniform(system.embedding, math.sqrt(3 / self.embedding_size), rng)
        return system
