"""Convolutions that look at each frame, and a recurrent network over what they found.

    e_t = flatten(maxpool(relu(conv(… relu(conv(frame_t))))))        the same weights for every frame
    h_t = F(h_{t-1}, e_t),    logits = W h_T + d                     (Donahue et al. 2015)

All frames of all sequences go through the convolutions in one call. To the analyses the whole is one dynamical system whose
input is a flattened frame: h_t = F(h_{t-1}, e(x_t)).
"""

import itertools
import math
from collections.abc import Callable
from typing import Annotated, Literal

import torch
from jaxtyping import Float, Int
from pydantic import Field, field_validator
from torch import Tensor, nn
from torch.func import jacrev, vmap

from rnnscope.core.equilibria import DrivenRest, HeldRest, KnowsRest, RestEquation
from rnnscope.core.errors import ConfigError
from rnnscope.core.interfaces import ModelSpec, Signature
from rnnscope.core.padding import real_steps
from rnnscope.core.spec import Fraction, Positive
from rnnscope.core.system import AnalyticJacobian, DynamicalSystem, FusedRollout, LinearReadout, SequenceModel
from rnnscope.models.dropout import dropped
from rnnscope.models.initialisation import fill_uniform
from rnnscope.models.recurrent import GRU, LSTM, Elman, RecurrentSpec
from rnnscope.models.recurrent_systems import RecurrentSystem

CELLS: dict[str, type[RecurrentSpec]] = {"lstm": LSTM, "gru": GRU, "elman": Elman}
JACOBIAN_CHUNK = 256  # rows of the encoder's Jacobian at once
SHUFFLE_SEED = 0  # of the orders in which a control sees frames outside training


class CNNRNN(ModelSpec):
    """A convolutional encoder of frames with a recurrent network over time; the logits are read at the last step.

    Fields:
        conv_channels: output channels of each convolution, one after the other, each followed by a ReLU; at least one.
        kernel_size: of the convolutions, odd; they keep the size (stride 1, padding with zeros).
        pool: side of the max-pooling after the last convolution, >= 1; a frame must be at least that large, and a rest at
            the right or bottom that fills no square is left out.
        cell: lstm, gru or elman (tanh). hidden_size: units per layer, >= 1. num_layers: >= 1.
        dropout: in [0, 1), share dropped of the encoder's features and between recurrent layers.
        sees: `all` the frames in order; or a control for a task that is said to need motion: `shuffled`, the frames of each
            sequence in random order, in training a new one each time; `one`, a single frame drawn at random, shown at every
            step. Outside training a control draws from a generator of its own, the same at every call.
    """

    conv_channels: Annotated[tuple[Positive, ...], Field(min_length=1)] = (16, 16)
    kernel_size: Annotated[int, Field(ge=1, le=99)] = 3
    pool: Positive = 2
    cell: Literal["lstm", "gru", "elman"] = "lstm"
    hidden_size: Positive = 64
    num_layers: Positive = 1
    dropout: Fraction = 0.0
    sees: Literal["all", "shuffled", "one"] = "all"

    @field_validator("kernel_size")
    @classmethod
    def _odd(cls, size: int) -> int:
        if size % 2 == 0:
            raise ConfigError(f"kernel_size is {size}", "an odd number, so that frames keep their size", f"set {size + 1}")
        return size

    def build(self, signature: Signature, rng: torch.Generator) -> SequenceModel:
        """Weights are U(±1/sqrt(fan-in)) in the convolutions and U(±1/sqrt(hidden_size)) in the recurrence, torch's defaults.

        Raises:
            ConfigError: the task's inputs are no frames, or its frames are smaller than the pooling.
        """
        if len(signature.frame) != 3:
            raise ConfigError(
                "the model cnn_rnn reads frames, and the inputs of this task are none",
                "a task of image sequences: frames, frames_motion, frames_speed, frames_random",
                "choose such a task, or the model classifier",
            )
        channels, height, width = signature.frame
        if min(height, width) < self.pool:
            raise ConfigError(
                f"frames of {height} x {width} pixels are smaller than the pooling of {self.pool} x {self.pool}",
                f"at least {self.pool} pixels each way",
                "give larger frames, or set the model's pool=1",
            )
        with torch.random.fork_rng(devices=[]):  # torch fills new layers from the global generator; it is put back
            encoder = FrameEncoder((channels, height, width), self.conv_channels, self.kernel_size, self.pool)
        for convolution in encoder.convolutions:
            fan_in = next(convolution.parameters())[0].numel()
            for parameter in convolution.parameters():
                fill_uniform(parameter, 1 / math.sqrt(fan_in), rng)
        spec = CELLS[self.cell](hidden_size=self.hidden_size, num_layers=self.num_layers, dropout=self.dropout)
        network = spec.build(Signature(encoder.num_features, signature.output_size), rng)
        model = FrameSystem(encoder, network, self.dropout)
        return model if self.sees == "all" else ControlledFrames(model, CONTROLS[self.sees])


class FrameEncoder(nn.Module):
    """Features of flattened frames.

    Args:
        frame: (channels, height, width). conv_channels, kernel_size, pool: see `CNNRNN`.

    Attributes:
        num_features: length of the features, found by encoding an empty frame.
    """

    def __init__(self, frame: tuple[int, int, int], conv_channels: tuple[int, ...], kernel_size: int, pool: int) -> None:
        super().__init__()
        sizes = (frame[0], *conv_channels)
        self.convolutions = nn.ModuleList(
            nn.Conv2d(below, above, kernel_size, padding=kernel_size // 2) for below, above in itertools.pairwise(sizes)
        )
        self.pool = nn.MaxPool2d(pool)
        self.frame = frame
        with torch.no_grad():
            self.num_features = int(self(torch.zeros(1, math.prod(frame))).shape[-1])

    def forward(self, frames: Float[Tensor, "*B X"]) -> Float[Tensor, "*B F"]:
        """All frames in one call, whatever their leading axes."""
        found = frames.reshape(-1, *self.frame)
        for convolution in self.convolutions:
            found = torch.relu_(convolution(found))  # in place: on a CPU such steps are bound by memory
        return self.pool(found).reshape(*frames.shape[:-1], -1)


class FrameSystem(DynamicalSystem, SequenceModel, FusedRollout, LinearReadout, AnalyticJacobian, KnowsRest):
    """h_t = F(h_{t-1}, e(x_t)): a recurrent network that reads the features e of flattened frames x_t.

    Args:
        encoder: e. network: F and the readout. dropout: share of the features dropped in training.
    """

    def __init__(self, encoder: FrameEncoder, network: RecurrentSystem, dropout: float = 0.0) -> None:
        super().__init__()
        self.encoder, self.network, self.dropout = encoder, network, dropout
        self.state_size, self.output_size = network.state_size, network.output_size
        self.input_size = math.prod(encoder.frame)

    # the noun

    def initial_state(self, batch_size: int) -> Tensor:
        return self.network.initial_state(batch_size)

    def step(self, state: Tensor, input: Tensor) -> Tensor:
        return self.network.step(state, self.encoder(input))

    def readout(self, state: Tensor) -> Tensor:
        return self.network.readout(state)

    # derivatives and rest

    def state_jacobian(self, state: Tensor, input: Tensor) -> Tensor:
        return self.network.state_jacobian(state, self.encoder(input))

    def input_jacobian(self, state: Tensor, input: Tensor) -> Tensor:
        pieces = []
        for some, frames in zip(state.split(JACOBIAN_CHUNK), input.split(JACOBIAN_CHUNK), strict=True):
            by_features = self.network.input_jacobian(some, self.encoder(frames))
            pieces.append(by_features @ vmap(jacrev(self.encoder))(frames))
        return torch.cat(pieces)

    def readout_jacobian(self, state: Tensor) -> Tensor:
        return self.network.readout_jacobian(state)

    def rest_equation(self, input: Tensor) -> RestEquation:
        return HeldRest(self.network.driven_rest(), self.encoder(input[None])[0].detach())

    def driven_rest(self) -> DrivenRest | None:
        """None: the network's own equation is one in features, not in frames."""
        return None

    # whole sequences

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
        return self.network(self._features(inputs, rng), lengths, rng=rng, last=last)

    def fused_rollout(self, inputs: Tensor, state: Tensor, rng: torch.Generator | None = None) -> tuple[Tensor, Tensor]:
        return self.network.fused_rollout(self._features(inputs, rng), state, rng)

    def _features(self, inputs: Tensor, rng: torch.Generator | None) -> Tensor:
        return dropped(self.encoder(inputs), self.dropout, rng, self.training)

    def readout_features(self, inputs: Tensor) -> Tensor:
        return self.network.readout_features(self.encoder(inputs))

    def carried_features(self, inputs: Tensor, state: Tensor, previous: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return self.network.carried_features(self.encoder(inputs), state, previous)

    def state_features(self, state: Tensor) -> Tensor:
        return self.network.state_features(state)

    def set_readout(self, weight: Tensor, bias: Tensor) -> None:
        self.network.set_readout(weight, bias)


def shuffled(keys: Float[Tensor, "B T"]) -> Int[Tensor, "B T"]:
    """Each sequence's own frames in random order: everything that lies in them, and nothing that lies in their order."""
    return keys.argsort(1)


def single(keys: Float[Tensor, "B T"]) -> Int[Tensor, "B T"]:
    """One frame of each sequence, drawn at random, at every step."""
    return keys.argmin(1, keepdim=True).expand_as(keys)


Chooser = Callable[[Tensor], Tensor]
CONTROLS: dict[str, Chooser] = {"shuffled": shuffled, "one": single}


class ControlledFrames(SequenceModel):
    """A control: a model that gets other frames of each sequence than the one shown at a step.

    Args:
        model: what reads the chosen frames.
        choose: from a random number for each frame, (B, T), which frame is shown at each step: `shuffled` or `single`.
    """

    def __init__(self, model: SequenceModel, choose: Chooser) -> None:
        super().__init__()
        self.model, self.choose = model, choose

    def forward(
        self,
        inputs: Tensor,
        lengths: Tensor | None = None,
        *,
        rng: torch.Generator | None = None,
        last: int | None = None,
    ) -> Tensor:
        order = self.choose(_random_keys(inputs, lengths, rng))
        return self.model(inputs.gather(1, order[..., None].expand_as(inputs)), lengths, rng=rng, last=last)

    def systems(self) -> dict[str, DynamicalSystem]:
        return self.model.systems()


def _random_keys(inputs: Tensor, lengths: Tensor | None, rng: torch.Generator | None) -> Float[Tensor, "B T"]:
    """A random number for each real step; beyond a row's length they ascend above all others, so that padding stays put."""
    batch, steps = inputs.shape[:2]
    if rng is None:
        rng = torch.Generator(device=inputs.device).manual_seed(SHUFFLE_SEED)
    keys = torch.rand((batch, steps), generator=rng, device=inputs.device, dtype=torch.float64)
    if lengths is None:
        return keys
    return torch.where(real_steps(lengths, steps), keys, 1.0 + torch.arange(steps, device=inputs.device))
