"""Echo state networks: a fixed random recurrence, and a linear readout that alone is trained (Jaeger 2001).

    h_t = (1 - a)∘h_{t-1} + a∘tanh(W h_{t-1} + V x_t + b [+ B y_{t-1}]),     y_t = U f(h_t) + c

with f(h) = h, [h, h²], or h with every second unit squared. W is sparse: each unit has the same number of sources. W, V, b, a and B
are buffers, which no gradient trains; U and c are parameters. Everything is float64: the weights of a good readout are large and of
both signs, and rounded to float32 they lose most of a forecast's length.
"""

from functools import partial
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn

from rnnscope.core.equilibria import DrivenRest, HeldRest, KnowsRest, RestEquation
from rnnscope.core.loops import AffineFeedback, FusedClosedLoop
from rnnscope.core.padding import kept_steps
from rnnscope.core.system import (
    AdaptsToInputs,
    AnalyticJacobian,
    DynamicalSystem,
    FusedRollout,
    LinearReadout,
    Push,
    SequenceModel,
    TangentProducts,
)
from rnnscope.models.reservoir_rest import ReservoirRest
from rnnscope.numerics.reservoir_batches import close_loop, drive_features, drive_outputs
from rnnscope.numerics.reservoir_kernels import (
    MIXED,
    SQUARES,
    STATE,
    PackedReservoir,
    adapt,
)

ReservoirFeatures = Literal["state", "state_squares", "mixed"]
_CODES = {"state": STATE, "state_squares": SQUARES, "mixed": MIXED}


class ReservoirSystem(
    DynamicalSystem,
    SequenceModel,
    FusedRollout,
    LinearReadout,
    FusedClosedLoop,
    AnalyticJacobian,
    TangentProducts,
    AdaptsToInputs,
    KnowsRest,
):
    """An echo state network from its arrays: N units, k sources each, X inputs.

    Args:
        sources: (N, k), the units that each unit reads. recurrent: (N, k), W's weights of them. drive: V, (N, X).
        bias: b, (N,). leak: a, (N,), in (0, 1]. feedback: B, (N, Y); None: outputs do not come back.
        output_size: Y. features: f. num_blocks: the units are that many equal groups that advance one after the other, each
            reading the new states of the groups before it (a stack); 1: all at once.
        plasticity: (epochs, rate, mean, sd) of intrinsic plasticity; 0 epochs: none.
    """

    def __init__(
        self,
        sources: Tensor,
        recurrent: Tensor,
        drive: Tensor,
        bias: Tensor,
        leak: Tensor,
        feedback: Tensor | None,
        output_size: int,
        *,
        features: ReservoirFeatures = "state",
        num_blocks: int = 1,
        plasticity: tuple[int, float, float, float] = (0, 0.0, 0.0, 0.5),
    ) -> None:
        super().__init__()
        self.state_size, self.input_size, self.output_size = len(bias), drive.shape[1], output_size
        self.features: ReservoirFeatures = features
        self.num_blocks, self.plasticity = num_blocks, plasticity
        self.register_buffer("sources", sources.to(torch.int32))
        for name, value in (("recurrent", recurrent), ("drive", drive), ("bias", bias), ("leak", leak)):
            self.register_buffer(name, value.double().clone())
        self.register_buffer("feedback", torch.zeros(len(bias), 0).double() if feedback is None else feedback.double().clone())
        with torch.random.fork_rng(devices=[]):  # torch fills new layers from the global generator; it is put back
            self.head = nn.Linear(self.num_features, output_size, dtype=torch.float64)

    @property
    def num_features(self) -> int:
        """P."""
        return self.state_size * (2 if self.features == "state_squares" else 1)

    # the noun

    def initial_state(self, batch_size: int) -> Tensor:
        return self.head.weight.new_zeros(batch_size, self.state_size)

    def step(self, state: Tensor, input: Tensor) -> Tensor:
        return self._step(state, input, None)

    def _step(self, state: Tensor, input: Tensor, output: Tensor | None) -> Tensor:
        """F with y_{t-1} given, or G(h_{t-1})."""
        sums = self._driven(state, input.to(state), output)
        if self.num_blocks == 1:
            return torch.lerp(state, torch.tanh(sums + self._gathered(state, slice(None))), self.get_buffer("leak"))
        done: list[Tensor] = []
        for rows in self._blocks():
            known = torch.cat([*done, state[:, rows.start :]], -1)
            new = torch.tanh(sums[:, rows] + self._gathered(known, rows))
            done.append(torch.lerp(state[:, rows], new, self.get_buffer("leak")[rows]))
        return torch.cat(done, -1)

    def readout(self, state: Tensor) -> Tensor:
        return self.head(self.state_features(state))

    def state_features(self, state: Tensor) -> Tensor:
        if self.features == "state":
            return state
        if self.features == "state_squares":
            return torch.cat([state, state.square()], -1)
        return torch.where(self._squared(), state.square(), state)

    def _squared(self) -> Tensor:
        """Which units the mixed features square."""
        return torch.arange(self.state_size, device=self.head.weight.device) % 2 == 1

    def _blocks(self) -> list[slice]:
        size = self.state_size // self.num_blocks
        return [slice(i * size, (i + 1) * size) for i in range(self.num_blocks)]

    def _driven(self, state: Tensor, input: Tensor, output: Tensor | None = None) -> Tensor:
        """V x + b + B y, y = G(h) where it is not given."""
        found = nn.functional.linear(input, self.get_buffer("drive"), self.get_buffer("bias"))
        feedback = self.get_buffer("feedback")
        if not feedback.shape[1]:
            return found
        return found + (self.readout(state) if output is None else output) @ feedback.T

    def _gathered(self, state: Tensor, rows: slice) -> Tensor:
        """W h of some units, source by source: what W does not hold costs nothing. Leading axes as in `state`."""
        sources, weights = self.get_buffer("sources")[rows], self.get_buffer("recurrent")[rows]
        if sources.shape[1] * 8 > self.state_size:
            return state @ self.recurrent_matrix(rows).T
        total = state[..., sources[:, 0]] * weights[:, 0]
        for j in range(1, sources.shape[1]):
            total = total + state[..., sources[:, j]] * weights[:, j]
        return total

    def recurrent_matrix(self, rows: slice = slice(None)) -> Tensor:
        """W as a matrix."""
        weights = self.get_buffer("recurrent")[rows]
        found = weights.new_zeros(len(weights), self.state_size)
        return found.scatter_add_(1, self.get_buffer("sources")[rows].long(), weights)

    # derivatives

    def _slopes(self, state: Tensor, input: Tensor) -> Tensor:
        """a∘(1 - tanh²) of every unit."""
        sums = self._driven(state, input.to(state))
        if self.num_blocks == 1:
            return self.get_buffer("leak") * (1 - torch.tanh(sums + self._gathered(state, slice(None))).square())
        known = self.step(state, input)
        found = []
        for rows in self._blocks():
            mixed = torch.cat([known[:, : rows.start], state[:, rows.start :]], -1)
            found.append(1 - torch.tanh(sums[:, rows] + self._gathered(mixed, rows)).square())
        return self.get_buffer("leak") * torch.cat(found, -1)

    def state_jacobian(self, state: Tensor, input: Tensor) -> Tensor:
        slopes, matrix = self._slopes(state, input), self.recurrent_matrix()
        into = matrix.expand(len(state), -1, -1)
        if self.get_buffer("feedback").shape[1]:
            into = into + self.get_buffer("feedback") @ self.readout_jacobian(state)
        found = slopes[:, :, None] * into
        for rows in self._blocks():
            if rows.start:  # through the new states of the groups before, instead of their old ones
                before = slice(0, rows.start)
                direct = slopes[:, rows, None] * matrix[rows, before]
                found[:, rows, before] -= direct
                found[:, rows] += direct @ found[:, before]
            found[:, rows, rows].diagonal(dim1=1, dim2=2).add_(1 - self.get_buffer("leak")[rows])
        return found

    def input_jacobian(self, state: Tensor, input: Tensor) -> Tensor:
        slopes, matrix = self._slopes(state, input), self.recurrent_matrix()
        found = slopes[:, :, None] * self.get_buffer("drive")
        for rows in self._blocks()[1:]:
            before = slice(0, rows.start)
            found[:, rows] += (slopes[:, rows, None] * matrix[rows, before]) @ found[:, before]
        return found

    def readout_jacobian(self, state: Tensor) -> Tensor:
        weight = self.head.weight
        if self.features == "state":
            return weight.expand(len(state), -1, -1)
        if self.features == "state_squares":
            plain, square = weight.chunk(2, -1)
            return plain + 2 * state[:, None] * square
        return torch.where(self._squared(), 2 * state[:, None] * weight, weight)

    @torch.no_grad()
    def tangent_products(self, states: Tensor, inputs: Tensor) -> list[Push]:
        slopes = self._slopes(states.flatten(0, 1), inputs.flatten(0, 1)).unflatten(0, states.shape[:2])
        back = [None] * len(states) if not self.get_buffer("feedback").shape[1] else [self.readout_jacobian(s) for s in states]
        return [partial(self._push, one[:, None], by_state) for one, by_state in zip(slopes, back, strict=True)]

    @torch.no_grad()
    def _push(self, slopes: Tensor, back: Tensor | None, by_state: Tensor, by_input: Tensor | None) -> Tensor:
        into = by_state.new_zeros(by_state.shape)
        if by_input is not None:
            into = into + by_input @ self.get_buffer("drive").T
        if back is not None:
            into = into + by_state @ back.mT @ self.get_buffer("feedback").T
        kept = by_state * (1 - self.get_buffer("leak"))
        new = by_state.clone()
        for rows in self._blocks():
            new[..., rows] = kept[..., rows] + slopes[..., rows] * (into[..., rows] + self._gathered(new, rows))
        return new

    # rest

    def rest_equation(self, input: Tensor) -> RestEquation | None:
        return HeldRest(self.driven_rest(), input)

    def driven_rest(self) -> DrivenRest:
        return ReservoirRest(self)

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
        outputs, _ = self.fused_rollout(inputs.to(self.head.weight), self.initial_state(len(inputs)))
        return kept_steps(outputs, lengths, last).to(inputs.dtype)

    def fused_rollout(self, inputs: Tensor, state: Tensor, rng: torch.Generator | None = None) -> tuple[Tensor, Tensor]:
        learns = torch.is_grad_enabled() and any(p.requires_grad for p in self.head.parameters())
        if learns or self._needs_torch(inputs, state):
            features, final = self.carried_features(inputs, state)
            return self.head(features), final
        final, outputs = _copy(state), state.new_empty(*inputs.shape[:2], self.output_size)
        drive_outputs(self.packed(), _array(inputs.to(state)), final.numpy(), outputs.numpy())
        return outputs, final

    def _needs_torch(self, inputs: Tensor, state: Tensor) -> bool:
        """Whether the compiled loops will not do: another device, a gradient through time, outputs that come back and learn."""
        if state.device.type != "cpu":
            return True
        closes = self.get_buffer("feedback").shape[1] > 0 and self.head.weight.requires_grad
        return torch.is_grad_enabled() and (inputs.requires_grad or state.requires_grad or closes)

    # the linear readout

    def readout_features(self, inputs: Tensor) -> Tensor:
        return self.carried_features(inputs.to(self.head.weight), self.initial_state(len(inputs)))[0]

    def carried_features(self, inputs: Tensor, state: Tensor, previous: Tensor | None = None) -> tuple[Tensor, Tensor]:
        inputs = inputs.to(state)
        forced = previous.to(state) if previous is not None and self.get_buffer("feedback").shape[1] else None
        if self._needs_torch(inputs, state):
            states = []
            for t in range(inputs.shape[1]):
                state = self._step(state, inputs[:, t], None if forced is None else forced[:, t])
                states.append(state)
            return self.state_features(torch.stack(states, 1)), state
        final, features = _copy(state), state.new_empty(*inputs.shape[:2], self.num_features)
        outputs = _array(state.new_zeros(len(state), 1, self.output_size) if forced is None else forced)
        drive_features(self.packed(), _array(inputs), outputs, forced is not None, final.numpy(), features.numpy())
        return features, final

    def set_readout(self, weight: Tensor, bias: Tensor) -> None:
        with torch.no_grad():
            self.head.weight.copy_(weight)
            self.head.bias.copy_(bias)

    @torch.no_grad()
    def adapt_to(self, inputs: Tensor) -> None:
        epochs, rate, mean, sd = self.plasticity
        if not epochs:
            return
        gain = np.ones(self.state_size, self.packed().bias.dtype)
        state = self.initial_state(1)[0].numpy()
        for _ in range(epochs):
            adapt(self.packed(), gain, _array(inputs.to(self.head.weight)), state, mean, sd, rate)
        scale = torch.from_numpy(gain)[:, None]
        self.get_buffer("recurrent").mul_(scale)
        self.get_buffer("drive").mul_(scale)

    # the closed loop

    def fused_closed_loop(
        self, state: Tensor, input: Tensor, feedback: AffineFeedback, exogenous: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        like = feedback.like(state)
        if state.device.type != "cpu":
            return self._slow_loop(state, input, like, exogenous)
        final, fed = _copy(state), _copy(input)
        outputs = state.new_empty(len(state), exogenous.shape[1], self.output_size)
        carry, from_output, from_exogenous = (_array(m) for m in (like.carry, like.from_output, like.from_exogenous))
        parts = (_array(exogenous), fed.numpy(), final.numpy(), outputs.numpy())
        close_loop(self.packed(), carry, from_output, from_exogenous, *parts)
        return outputs, final, fed

    def _slow_loop(
        self, state: Tensor, input: Tensor, feedback: AffineFeedback, exogenous: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """The same on a device that runs no compiled loops: all rows at once."""
        outputs, output = [], self.readout(state)
        for e in exogenous.unbind(1):
            input = feedback(input, output, e)
            state = self.step(state, input)
            output = self.readout(state)
            outputs.append(output)
        empty = state.new_empty(len(state), 0, self.output_size)
        return torch.stack(outputs, 1) if outputs else empty, state, input

    def packed(self) -> PackedReservoir:
        """The arrays as the compiled loops read them: views of the same memory, indices without sign."""
        recurrent, drive, bias, leak, feedback = (
            _array(self.get_buffer(name)) for name in ("recurrent", "drive", "bias", "leak", "feedback")
        )
        return PackedReservoir(
            _array(self.get_buffer("sources")).view(np.uint32),
            recurrent,
            drive,
            bias,
            leak,
            feedback,
            _array(self.head.weight),
            _array(self.head.bias),
            self.num_blocks,
            _CODES[self.features],
        )


def _array(tensor: Tensor) -> np.ndarray:
    return tensor.detach().contiguous().numpy()


def _copy(tensor: Tensor) -> Tensor:
    """A contiguous copy that a compiled loop may write to."""
    return tensor.detach().clone(memory_format=torch.contiguous_format)
