"""The one noun: a discrete-time dynamical system h_t = F(h_{t-1}, x_t), y_t = G(h_t), and the loop over it.

Axis names used in every signature: B batch, T time, X input features, S state, Y outputs.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from rnnscope.core.errors import ConfigError, ShapeError

Push = Callable[[Tensor, Tensor | None], Tensor]  # see `TangentProducts`


class DynamicalSystem(nn.Module, ABC):
    """h_t = F(h_{t-1}, x_t), y_t = G(h_t).

    The state is flat, (batch, state_size): an LSTM's is concat(h, c), layers one after the other. `step` is pure: it
    changes neither its arguments nor the module, and rows of a batch do not touch each other.

    Attributes:
        state_size: length S of the state vector.
        input_size: length X of one input; 0 for an autonomous map.
        output_size: length Y of one output.
    """

    state_size: int
    input_size: int
    output_size: int

    @abstractmethod
    def initial_state(self, batch_size: int) -> Float[Tensor, "B S"]:
        """The state before the first input, one row per sequence, in the system's dtype and device."""

    @abstractmethod
    def step(self, state: Float[Tensor, "B S"], input: Float[Tensor, "B X"]) -> Float[Tensor, "B S"]:
        """F: the next state."""

    @abstractmethod
    def readout(self, state: Float[Tensor, "*B S"]) -> Float[Tensor, "*B Y"]:
        """G: the output that belongs to a state; any leading axes."""


class SequenceModel(nn.Module, ABC):
    """What tasks and trainers see: sequences in, outputs out."""

    @abstractmethod
    def forward(
        self,
        inputs: Float[Tensor, "B T X"],
        lengths: Tensor | None = None,
        *,
        rng: torch.Generator | None = None,
        last: int | None = None,
    ) -> Float[Tensor, "B K Y"]:
        """Outputs at every step from the initial state.

        Args:
            inputs: (batch, time, feature).
            lengths: valid steps of each row, where they differ.
            rng: source of dropout masks; without it dropout is off, also in training mode.
            last: read out only so many of the last steps, K; all T when None.
        """

    @abstractmethod
    def systems(self) -> dict[str, DynamicalSystem]:
        """The dynamical systems inside, by name; empty for a model without recurrence."""


def only_system(model: SequenceModel) -> DynamicalSystem:
    """The one dynamical system inside a model.

    Raises:
        ConfigError: it holds none, or several.
    """
    systems = model.systems()
    if len(systems) != 1:
        raise ConfigError(
            f"a model with {len(systems)} recurrent systems", "exactly one", "choose an Elman network, an LSTM or a GRU"
        )
    return next(iter(systems.values()))


class FusedRollout(ABC):
    """Capability: a whole-sequence path faster than the loop of `step`, equal to it."""

    @abstractmethod
    def fused_rollout(
        self, inputs: Float[Tensor, "B T X"], state: Float[Tensor, "B S"], rng: torch.Generator | None = None
    ) -> tuple[Float[Tensor, "B T Y"], Float[Tensor, "B S"]]:
        """Outputs at every step and the final state."""


class AnalyticJacobian(ABC):
    """Capability: derivatives of F and G in closed form, equal to automatic differentiation and several times faster."""

    @abstractmethod
    def state_jacobian(self, state: Float[Tensor, "B S"], input: Float[Tensor, "B X"]) -> Float[Tensor, "B S S"]:
        """dF_i/dh_j at each row."""

    @abstractmethod
    def input_jacobian(self, state: Float[Tensor, "B S"], input: Float[Tensor, "B X"]) -> Float[Tensor, "B S X"]:
        """dF_i/dx_j at each row."""

    @abstractmethod
    def readout_jacobian(self, state: Float[Tensor, "B S"]) -> Float[Tensor, "B Y S"]:
        """dG_i/dh_j at each row."""


class TangentProducts(ABC):
    """Capability: dF/dh and dF/dx applied to a few vectors, without their S² numbers."""

    @abstractmethod
    def tangent_products(self, states: Float[Tensor, "N B S"], inputs: Float[Tensor, "N B X"]) -> list["Push"] | None:
        """For each of N steps the map (dh (B, K, S), dx (B, K, X) or None for 0) -> dh' = dF/dh dh + dF/dx dx, vectors as rows.

        No gradient is recorded. None where this system has none after all.
        """


class LinearReadout(ABC):
    """Capability: y = W f(h) + b with features f that the readout does not change, so that ridge regression can set W, b."""

    @abstractmethod
    def readout_features(self, inputs: Float[Tensor, "B T X"]) -> Float[Tensor, "B T P"]:
        """The features f(h_t) along a roll-out from the initial state."""

    @abstractmethod
    def carried_features(
        self, inputs: Float[Tensor, "B T X"], state: Float[Tensor, "B S"], previous: Float[Tensor, "B T Y"] | None = None
    ) -> tuple[Float[Tensor, "B T P"], Float[Tensor, "B S"]]:
        """The features from a state on, and the final state.

        Args:
            previous: y_{t-1} at each step, true ones, for a system whose own outputs would come back into its state (they depend
                on W and b); others ignore it.
        """

    @abstractmethod
    def state_features(self, state: Float[Tensor, "*B S"]) -> Float[Tensor, "*B P"]:
        """f(h); any leading axes."""

    @abstractmethod
    def set_readout(self, weight: Float[Tensor, "Y P"], bias: Float[Tensor, " Y"]) -> None:
        """Overwrite W and b."""


class AdaptsToInputs(ABC):
    """Capability: a recurrence that is set by the inputs alone, before any readout is trained."""

    @abstractmethod
    def adapt_to(self, inputs: Float[Tensor, "T X"]) -> None:
        """Adapt in place to one long sequence of inputs."""


@dataclass(frozen=True)
class Rollout:
    """What a roll-out returns.

    Attributes:
        outputs: y_1 … y_T, (B, T, Y).
        states: h_1 … h_T, (B, T, S), or None when they were not asked for.
        final_state: h_T, (B, S): carry it on to continue.
    """

    outputs: Float[Tensor, "B T Y"]
    states: Float[Tensor, "B T S"] | None
    final_state: Float[Tensor, "B S"]


def rollout(
    system: DynamicalSystem,
    inputs: Float[Tensor, "B T X"],
    state: Float[Tensor, "B S"] | None = None,
    *,
    keep_states: bool = True,
    fused: bool = True,
    rng: torch.Generator | None = None,
) -> Rollout:
    """Drive a system: h_t = F(h_{t-1}, x_t), y_t = G(h_t) for t = 1 … T.

    Args:
        system: any dynamical system.
        inputs: x_1 … x_T, (batch, time, input_size); T >= 1.
        state: h_0, (batch, state_size); the system's initial state when None.
        keep_states: return every state (this takes the loop of `step`); without them the fused path is used.
        fused: allow the fused path where the system has one.
        rng: dropout source for a system in training mode.

    Returns:
        A `Rollout`.

    Raises:
        ShapeError: where inputs or state do not fit the system.

    Example:
        >>> import torch, rnnscope as rs
        >>> decay = rs.System(step=lambda h, x: 0.5 * h + x, state_size=1, input_size=1)
        >>> rs.rollout(decay, torch.ones(1, 3, 1)).outputs.flatten().tolist()
        [1.0, 1.5, 1.75]
    """
    if inputs.ndim != 3 or inputs.shape[-1] != system.input_size or inputs.shape[1] < 1:
        raise ShapeError(
            f"inputs of shape {tuple(inputs.shape)}",
            f"(batch, time >= 1, {system.input_size})",
            "put the axes in the order batch, time, feature",
        )
    if state is None:
        state = system.initial_state(inputs.shape[0])
    check_state(system, state, inputs.shape[0])
    if fused and not keep_states and isinstance(system, FusedRollout):
        outputs, final = system.fused_rollout(inputs, state, rng)
        return Rollout(outputs, None, final)
    states = []
    for x in inputs.unbind(1):
        state = system.step(state, x)
        states.append(state)
    stacked = torch.stack(states, 1)
    return Rollout(system.readout(stacked), stacked if keep_states else None, state)


def check_state(system: DynamicalSystem, state: Tensor, batch_size: int) -> None:
    """Raise `ShapeError` unless `state` is (batch_size, system.state_size)."""
    if tuple(state.shape) != (batch_size, system.state_size):
        raise ShapeError(
            f"state of shape {tuple(state.shape)}",
            f"({batch_size}, {system.state_size})",
            "give one flat state per sequence (an LSTM's is concat(h, c), layer by layer)",
        )


class System(DynamicalSystem):
    """A dynamical system from plain functions.

    Args:
        step: (state (B, S), input (B, X)) -> next state (B, S).
        state_size: S.
        input_size: X; 0 for an autonomous map (the step then receives an empty input).
        readout: state -> output; the state itself by default.
        output_size: Y; state_size by default.
        initial: h_0, a vector of length S; zeros by default.
        dtype, device: of the initial state.
    """

    def __init__(
        self,
        step: Callable[[Tensor, Tensor], Tensor],
        state_size: int,
        input_size: int = 0,
        readout: Callable[[Tensor], Tensor] | None = None,
        output_size: int | None = None,
        initial: Tensor | None = None,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
    ) -> None:
        super().__init__()
        self._step, self._readout = step, readout
        self.state_size, self.input_size = state_size, input_size
        self.output_size = state_size if output_size is None else output_size
        start = torch.zeros(state_size) if initial is None else torch.as_tensor(initial)
        if tuple(start.shape) != (state_size,):
            raise ShapeError(f"an initial state of shape {tuple(start.shape)}", f"({state_size},)", "give one flat vector")
        self.register_buffer("initial", start.to(device=device, dtype=dtype, copy=True))

    def initial_state(self, batch_size: int) -> Tensor:
        return self.get_buffer("initial").expand(batch_size, -1).clone()

    def step(self, state: Tensor, input: Tensor) -> Tensor:
        new = self._step(state, input)
        if new.shape != state.shape:
            raise ShapeError(
                f"step returned shape {tuple(new.shape)} for a state of shape {tuple(state.shape)}",
                "the same shape",
                "return one next state per row",
            )
        return new

    def readout(self, state: Tensor) -> Tensor:
        return state if self._readout is None else self._readout(state)
