"""Roll-outs in which a system reads a mixture of true inputs and its own: generalised teacher forcing.

    x_t = w_t u_t + (1 - w_t) (A x_{t-1} + B y_{t-1} + C e_t)

u is the true input, e its exogenous part, and A, B, C the task's feedback. w = 1 is teacher forcing, w = 0 a free run; 1 at every
τ-th step and 0 between is sparse forcing, or multiple shooting from the observed values. A constant w below 1 bounds gradients
that would explode on a chaotic orbit (Hess, Monfared, Brenner & Durstewitz 2023, ICML).
"""

from abc import ABC, abstractmethod

import torch
from jaxtyping import Float
from torch import Tensor

from rnnscope.core.errors import ShapeError
from rnnscope.core.loops import AffineFeedback
from rnnscope.core.system import DynamicalSystem, check_state


class FusedForcing(ABC):
    """Capability: a forced roll-out faster than the loop of `step`, equal to it, and differentiable."""

    @abstractmethod
    def fused_forcing(
        self,
        inputs: Float[Tensor, "B T X"],
        weights: Float[Tensor, " T"],
        feedback: AffineFeedback,
        state: Float[Tensor, "B S"],
    ) -> tuple[Float[Tensor, "B T Y"], Float[Tensor, "B S"]] | None:
        """Outputs and the final state; None where there is no fast path for this feedback. weights[0] is 1."""


def forced_rollout(
    system: DynamicalSystem,
    inputs: Float[Tensor, "B T X"],
    weights: Float[Tensor, " T"],
    feedback: AffineFeedback,
    state: Float[Tensor, "B S"] | None = None,
    *,
    fused: bool = True,
) -> tuple[Float[Tensor, "B T Y"], Float[Tensor, "B S"]]:
    """Drive a system with x_t = w_t u_t + (1 - w_t) x'_t, x' the input that its own output makes.

    Args:
        system: any dynamical system. inputs: u, the true inputs, (B, T, X); T >= 1.
        weights: w_t in [0, 1], (T,); the first one is 1, since nothing has been put out before it.
        feedback: how an output becomes the next input; the exogenous part is always the true one.
        state: h_0, (B, S); the initial state when None. fused: allow the fast path.

    Returns:
        Outputs (B, T, Y) and the final state.

    Raises:
        ShapeError: arguments that do not fit, or a first weight other than 1.

    Source: Hess et al. (2023), ICML; Mikhaeil, Monfared & Durstewitz (2022), NeurIPS, for sparse forcing.

    Example:
        >>> import torch, rnnscope as rs
        >>> from rnnscope.core.loops import identity_feedback
        >>> double = rs.System(lambda h, x: 2 * x, state_size=1, input_size=1)
        >>> weights = torch.tensor([1.0, 0.5, 0.0])
        >>> forced_rollout(double, torch.ones(1, 3, 1), weights, identity_feedback(1))[0].flatten().tolist()
        [2.0, 3.0, 6.0]
    """
    batch = inputs.shape[0]
    if inputs.ndim != 3 or inputs.shape[2] != system.input_size or tuple(weights.shape) != (inputs.shape[1],):
        raise ShapeError(
            f"inputs of shape {tuple(inputs.shape)} and weights of shape {tuple(weights.shape)}",
            f"(batch, time, {system.input_size}) and (time,)",
            "give one weight per step",
        )
    if float(weights[0]) != 1.0:
        raise ShapeError(f"a first weight of {float(weights[0]):g}", "1", "force the first step: it has no output before it")
    state = system.initial_state(batch) if state is None else state
    check_state(system, state, batch)
    if fused and isinstance(system, FusedForcing):
        found = system.fused_forcing(inputs, weights, feedback, state)
        if found is not None:
            return found
    feedback = feedback.like(inputs)
    outputs: list[Tensor] = []
    fed = inputs[:, 0]
    for true, weight in zip(inputs.unbind(1), weights.tolist(), strict=True):
        if weight == 1.0:
            fed = true
        else:
            own = feedback(fed, outputs[-1], true @ feedback.from_exogenous)
            fed = weight * true + (1 - weight) * own
        state = system.step(state, fed)
        outputs.append(system.readout(state))
    return torch.stack(outputs, 1), state


def forcing_weights(steps: int, strength: float, interval: int = 0) -> Float[Tensor, " T"]:
    """w: 1 at the first step and at every `interval`-th one (0: at no other), `strength` elsewhere.

    Example:
        >>> forcing_weights(5, 0.25, 2).tolist()
        [1.0, 0.25, 1.0, 0.25, 1.0]
    """
    weights = torch.full((steps,), strength)
    weights[:: interval or steps] = 1.0
    return weights
