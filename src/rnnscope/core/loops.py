"""Wrappers that turn one dynamical system into another, and the free run of a closed loop."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor

from rnnscope.core.equilibria import DrivenRest, KnowsRest, RestEquation
from rnnscope.core.errors import ShapeError
from rnnscope.core.fed_rest import fed_rest
from rnnscope.core.jacobians import input_jacobians, readout_jacobians, state_jacobians
from rnnscope.core.system import AnalyticJacobian, DynamicalSystem, Push, TangentProducts, check_state


@dataclass(frozen=True)
class AffineFeedback:
    """How an output becomes the next input: x' = A x + B y + C e, with e the exogenous part of the next step.

    A is zero when the next input depends on the output alone. With differenced targets A and B integrate: for second
    differences x = (level, velocity) and y the acceleration. Arrays are float64 tensors on the CPU.

    Attributes:
        carry: A, (X, X). from_output: B, (X, Y). from_exogenous: C, (X, E).
    """

    carry: Float[Tensor, "X X"]
    from_output: Float[Tensor, "X Y"]
    from_exogenous: Float[Tensor, "X E"]

    @property
    def num_exogenous(self) -> int:
        return int(self.from_exogenous.shape[1])

    @property
    def carries(self) -> bool:
        """Whether the next input needs the present one."""
        return bool(self.carry.any())

    def like(self, tensor: Tensor) -> "AffineFeedback":
        """The same feedback in the dtype and on the device of `tensor`."""
        return AffineFeedback(self.carry.to(tensor), self.from_output.to(tensor), self.from_exogenous.to(tensor))

    def __call__(
        self, input: Float[Tensor, "B X"], output: Float[Tensor, "B Y"], exogenous: Float[Tensor, "B E"]
    ) -> Float[Tensor, "B X"]:
        return input @ self.carry.T + output @ self.from_output.T + exogenous @ self.from_exogenous.T


def identity_feedback(size: int) -> AffineFeedback:
    """Feed the output back unchanged: A = 0, B = I, no exogenous input."""
    double = torch.float64
    return AffineFeedback(
        torch.zeros(size, size, dtype=double), torch.eye(size, dtype=double), torch.zeros(size, 0, dtype=double)
    )


class FusedClosedLoop(ABC):
    """Capability: a closed loop faster than the loop of `step`, equal to it. It records no gradient."""

    @abstractmethod
    def fused_closed_loop(
        self,
        state: Float[Tensor, "B S"],
        input: Float[Tensor, "B X"],
        feedback: AffineFeedback,
        exogenous: Float[Tensor, "B N E"],
    ) -> tuple[Float[Tensor, "B N Y"], Float[Tensor, "B S"], Float[Tensor, "B X"]]:
        """N further outputs, the final state and the last input fed."""


class HoldInput(DynamicalSystem, AnalyticJacobian, TangentProducts, KnowsRest):
    """h_t = F(h_{t-1}, x) with one constant x: the autonomous map of a driven system. Input size 0."""

    def __init__(self, system: DynamicalSystem, input: Float[Tensor, " X"]) -> None:
        super().__init__()
        if tuple(input.shape) != (system.input_size,):
            raise ShapeError(f"a held input of shape {tuple(input.shape)}", f"({system.input_size},)", "give one input vector")
        self.system = system
        self.state_size, self.input_size, self.output_size = system.state_size, 0, system.output_size
        self.register_buffer("held", input.detach().clone())

    def initial_state(self, batch_size: int) -> Tensor:
        return self.system.initial_state(batch_size)

    def step(self, state: Tensor, input: Tensor) -> Tensor:
        return self.system.step(state, self._held(state))

    def readout(self, state: Tensor) -> Tensor:
        return self.system.readout(state)

    def _held(self, state: Tensor) -> Tensor:
        return self.get_buffer("held").to(state).expand(len(state), -1)

    def state_jacobian(self, state: Tensor, input: Tensor) -> Tensor:
        return state_jacobians(self.system, state, self._held(state))

    def input_jacobian(self, state: Tensor, input: Tensor) -> Tensor:
        return state.new_zeros(len(state), self.state_size, 0)

    def readout_jacobian(self, state: Tensor) -> Tensor:
        return readout_jacobians(self.system, state)

    def tangent_products(self, states: Tensor, inputs: Tensor) -> list[Push] | None:
        if not isinstance(self.system, TangentProducts):
            return None
        return self.system.tangent_products(states, self.get_buffer("held").to(states).expand(*states.shape[:2], -1))

    def rest_equation(self, input: Tensor) -> RestEquation | None:
        return self.system.rest_equation(self.get_buffer("held")) if isinstance(self.system, KnowsRest) else None

    def driven_rest(self) -> DrivenRest | None:
        return None  # there is no input left


class ClosedLoop(DynamicalSystem, AnalyticJacobian, TangentProducts, KnowsRest):
    """A system that reads its own outputs: x_t = A x_{t-1} + B G(h_{t-1}) + C e_t, h_t = F(h_{t-1}, x_t).

    Its input is the exogenous e (size 0: autonomous). The state is h, or concat(h, x) when A is not zero.
    """

    def __init__(self, system: DynamicalSystem, feedback: AffineFeedback) -> None:
        super().__init__()
        wanted = (system.input_size, system.output_size)
        if tuple(feedback.from_output.shape) != wanted:
            raise ShapeError(
                f"a feedback of shape {tuple(feedback.from_output.shape)}",
                f"(input_size, output_size) = {wanted}",
                "give the feedback that maps this system's output to its input",
            )
        self.system, self.feedback = system, feedback
        self.state_size = system.state_size + (system.input_size if feedback.carries else 0)
        self.input_size, self.output_size = feedback.num_exogenous, system.output_size

    def join(self, state: Float[Tensor, "B H"], input: Float[Tensor, "B X"]) -> Float[Tensor, "B S"]:
        """The loop's state from the inner state and the input that led to it."""
        return torch.cat([state, input], -1) if self.feedback.carries else state

    def split(self, state: Float[Tensor, "*B S"]) -> tuple[Float[Tensor, "*B H"], Float[Tensor, "*B X"]]:
        """The inner state and the last input (zeros where it is not carried)."""
        size = self.system.state_size
        if self.feedback.carries:
            return state[..., :size], state[..., size:]
        return state, state.new_zeros((*state.shape[:-1], self.system.input_size))

    def initial_state(self, batch_size: int) -> Tensor:
        state = self.system.initial_state(batch_size)
        return self.join(state, state.new_zeros(batch_size, self.system.input_size))

    def step(self, state: Tensor, input: Tensor) -> Tensor:
        inner, fed = self._fed(state, input)
        return self.join(self.system.step(inner, fed), fed)

    def readout(self, state: Tensor) -> Tensor:
        return self.system.readout(self.split(state)[0])

    def _fed(self, state: Tensor, input: Tensor) -> tuple[Tensor, Tensor]:
        """The inner state, and the input that the loop feeds it."""
        inner, previous = self.split(state)
        return inner, self.feedback.like(inner)(previous, self.system.readout(inner), input)

    def state_jacobian(self, state: Tensor, input: Tensor) -> Tensor:
        inner, fed = self._fed(state, input)
        feedback = self.feedback.like(inner)
        size = self.system.state_size
        # of the fed input in (h, x'): [B dG/dh, A]; of the new inner state: dF/dh + dF/dx times it
        by_state = state.new_zeros(len(state), self.system.input_size, self.state_size)
        by_state[:, :, :size] = feedback.from_output @ readout_jacobians(self.system, inner)
        if feedback.carries:
            by_state[:, :, size:] = feedback.carry
        new = input_jacobians(self.system, inner, fed) @ by_state
        new[:, :, :size] += state_jacobians(self.system, inner, fed)
        return torch.cat([new, by_state], 1) if feedback.carries else new

    def input_jacobian(self, state: Tensor, input: Tensor) -> Tensor:
        inner, fed = self._fed(state, input)
        by_input = self.feedback.like(inner).from_exogenous.expand(len(state), -1, -1)
        new = input_jacobians(self.system, inner, fed) @ by_input
        return torch.cat([new, by_input], 1) if self.feedback.carries else new

    def readout_jacobian(self, state: Tensor) -> Tensor:
        found = readout_jacobians(self.system, self.split(state)[0])
        return torch.nn.functional.pad(found, (0, self.state_size - self.system.state_size))

    @torch.no_grad()
    def tangent_products(self, states: Tensor, inputs: Tensor) -> list[Push] | None:
        if not isinstance(self.system, TangentProducts):
            return None
        inner, fed = (part.unflatten(0, states.shape[:2]) for part in self._fed(states.flatten(0, 1), inputs.flatten(0, 1)))
        found = self.system.tangent_products(inner, fed)
        if found is None:
            return None
        feedback = self.feedback.like(states)
        by_state = feedback.from_output @ readout_jacobians(self.system, inner.flatten(0, 1))
        return [
            partial(self._push, feedback, push, by_inner)
            for push, by_inner in zip(found, by_state.unflatten(0, states.shape[:2]).unbind(0), strict=True)
        ]

    @torch.no_grad()
    def _push(
        self, feedback: AffineFeedback, push: Push, by_inner: Tensor, by_state: Tensor, by_input: Tensor | None
    ) -> Tensor:
        inner = by_state[..., : self.system.state_size]
        by_fed = inner @ by_inner.mT
        if feedback.carries:
            by_fed = by_fed + by_state[..., self.system.state_size :] @ feedback.carry.T
        if by_input is not None:
            by_fed = by_fed + by_input @ feedback.from_exogenous.T
        new = push(inner, by_fed)
        return torch.cat([new, by_fed], -1) if feedback.carries else new

    def rest_equation(self, input: Tensor) -> RestEquation | None:
        inner = self.system.driven_rest() if isinstance(self.system, KnowsRest) else None
        return None if inner is None else fed_rest(self, inner, input)

    def driven_rest(self) -> DrivenRest | None:
        return None


class WithNoise(DynamicalSystem):
    """h_t = F(h_{t-1}, x_t + s_x n_t) + s_h m_t with standard normal n, m from the generator given; an rng makes it impure."""

    def __init__(self, system: DynamicalSystem, rng: torch.Generator, input_sd: float = 0.0, state_sd: float = 0.0) -> None:
        super().__init__()
        self.system, self.rng, self.input_sd, self.state_sd = system, rng, input_sd, state_sd
        self.state_size, self.input_size, self.output_size = system.state_size, system.input_size, system.output_size

    def initial_state(self, batch_size: int) -> Tensor:
        return self.system.initial_state(batch_size)

    def _noise(self, like: Tensor, sd: float) -> Tensor:
        return sd * torch.randn(like.shape, generator=self.rng, dtype=like.dtype, device=like.device)

    def step(self, state: Tensor, input: Tensor) -> Tensor:
        noisy = input + self._noise(input, self.input_sd) if self.input_sd else input
        new = self.system.step(state, noisy)
        return new + self._noise(new, self.state_sd) if self.state_sd else new

    def readout(self, state: Tensor) -> Tensor:
        return self.system.readout(state)


def release_input(system: DynamicalSystem, input: Float[Tensor, " E"]) -> tuple[DynamicalSystem, Float[Tensor, " X"]]:
    """The system inside `HoldInput` and the input held there; others as they are."""
    while isinstance(system, HoldInput):
        system, input = system.system, system.get_buffer("held")
    return system, input


def hold_input(system: DynamicalSystem, input: Float[Tensor, " X"]) -> HoldInput:
    """The autonomous map h -> F(h, x) at one constant input x of length input_size."""
    return HoldInput(system, input)


def with_noise(system: DynamicalSystem, rng: torch.Generator, *, input_sd: float = 0.0, state_sd: float = 0.0) -> WithNoise:
    """The same system with Gaussian noise on its input and state (standard deviations >= 0)."""
    return WithNoise(system, rng, input_sd, state_sd)


def _wants_gradient(system: DynamicalSystem, *arguments: Tensor) -> bool:
    return torch.is_grad_enabled() and any(t.requires_grad for t in (*arguments, *system.parameters()))


def free_run(
    system: DynamicalSystem,
    state: Float[Tensor, "B S"],
    input: Float[Tensor, "B X"],
    feedback: AffineFeedback,
    exogenous: Float[Tensor, "B N E"],
    *,
    fused: bool = True,
) -> Float[Tensor, "B M Y"]:
    """Run a closed loop on from a warmed-up state.

    Args:
        state: h_t after the last true input. input: that input x_t.
        exogenous: e_{t+1} … e_{t+N}, one row per further step (E may be 0).
        fused: allow the fast loop where the system has one. It is taken only where no gradient is wanted: inside
            torch.no_grad(), or when neither the arguments nor the parameters require one.

    Returns:
        G(h_t), G(h_{t+1}), … G(h_{t+N}): M = N + 1 outputs, the first from the state as given.
    """
    check_state(system, state, input.shape[0])
    if fused and isinstance(system, FusedClosedLoop) and not _wants_gradient(system, state, input, exogenous):
        further, _, _ = system.fused_closed_loop(state, input, feedback, exogenous)
        return torch.cat([system.readout(state)[:, None], further], 1)
    feedback = feedback.like(state)
    output = system.readout(state)
    outputs = [output]
    for e in exogenous.unbind(1):
        input = feedback(input, output, e)
        state = system.step(state, input)
        output = system.readout(state)
        outputs.append(output)
    return torch.stack(outputs, 1)
