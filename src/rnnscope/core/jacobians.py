"""Jacobians of any dynamical system: in closed form where it has them, by automatic differentiation otherwise.

    J_t = dF/dh, K_t = dF/dx at (h_{t-1}, x_t), and R = dG/dh at h_t

Everything is detached from the caller's graph, in the dtype of the states given.
"""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from rnnscope.core.errors import ShapeError
from rnnscope.core.system import AnalyticJacobian, DynamicalSystem


def state_jacobians(
    system: DynamicalSystem, states: Float[Tensor, "N S"], inputs: Float[Tensor, "N X"], *, chunk: int = 1000
) -> Float[Tensor, "N S S"]:
    """dF_i/dh_j at each (h_{t-1}, x_t). Memory: N S² numbers.

    Args:
        states: h_{t-1}, (N, S). inputs: x_t, (N, X). chunk: rows differentiated at once.

    Raises:
        ShapeError: states or inputs of another width, or a system whose step returns another shape.

    Example:
        >>> import torch, rnnscope as rs
        >>> decay = rs.System(lambda h, x: 0.5 * h + x, state_size=1, input_size=1)
        >>> state_jacobians(decay, torch.zeros(2, 1), torch.zeros(2, 1)).flatten().tolist()
        [0.5, 0.5]
    """
    _check(system, states, inputs)
    if isinstance(system, AnalyticJacobian):
        return _closed(system.state_jacobian, states, inputs, chunk)

    def piece(state: Tensor, input: Tensor) -> Tensor:
        return _jacobian(_stepped(system, state.requires_grad_(), input), state)

    return _chunked(piece, states, inputs, chunk)


def input_jacobians(
    system: DynamicalSystem, states: Float[Tensor, "N S"], inputs: Float[Tensor, "N X"], *, chunk: int = 1000
) -> Float[Tensor, "N S X"]:
    """dF_i/dx_j at each (h_{t-1}, x_t)."""
    _check(system, states, inputs)
    if isinstance(system, AnalyticJacobian):
        return _closed(system.input_jacobian, states, inputs, chunk)

    def piece(state: Tensor, input: Tensor) -> Tensor:
        return _jacobian(_stepped(system, state, input.requires_grad_()), input)

    return _chunked(piece, states, inputs, chunk)


def readout_jacobians(system: DynamicalSystem, states: Float[Tensor, "N S"], *, chunk: int = 1000) -> Float[Tensor, "N Y S"]:
    """dG_i/dh_j at each state."""
    if isinstance(system, AnalyticJacobian):
        own: AnalyticJacobian = system
        return _closed(lambda state, _: own.readout_jacobian(state), states, states, chunk)

    def piece(state: Tensor, _: Tensor) -> Tensor:
        return _jacobian(system.readout(state.requires_grad_()), state)

    return _chunked(piece, states, states, chunk)


def _check(system: DynamicalSystem, states: Tensor, inputs: Tensor) -> None:
    wanted = (len(states), system.state_size), (len(states), system.input_size)
    if (tuple(states.shape), tuple(inputs.shape)) != wanted:
        raise ShapeError(
            f"states of shape {tuple(states.shape)} and inputs of shape {tuple(inputs.shape)}",
            f"{wanted[0]} and {wanted[1]}",
            "give one state and one input per row",
        )


def _stepped(system: DynamicalSystem, state: Tensor, input: Tensor) -> Tensor:
    new = system.step(state, input)
    if new.shape != state.shape:
        raise ShapeError(
            f"step returned shape {tuple(new.shape)} for states of shape {tuple(state.shape)}",
            "one next state per row",
            "make step keep the batch: (B, S) in, (B, S) out",
        )
    return new


def _jacobian(output: Float[Tensor, "N I"], variable: Float[Tensor, "N J"]) -> Float[Tensor, "N I J"]:
    """One backward pass per output, for all rows at once: legal since rows of a batch do not touch each other."""
    columns = output.unbind(1) if output.requires_grad else ()
    rows = [torch.autograd.grad(c.sum(), variable, retain_graph=True, materialize_grads=True)[0] for c in columns]
    return torch.stack(rows, 1) if rows else variable.new_zeros(len(variable), output.shape[1], variable.shape[1])


def _chunked(function: Callable[[Tensor, Tensor], Tensor], first: Tensor, second: Tensor, chunk: int) -> Tensor:
    pairs = zip(first.detach().split(chunk), second.detach().split(chunk), strict=True)
    with torch.enable_grad():
        return torch.cat([function(a.clone(), b.clone()).detach() for a, b in pairs])


@torch.no_grad()
def _closed(function: Callable[[Tensor, Tensor], Tensor], first: Tensor, second: Tensor, chunk: int) -> Tensor:
    if len(first) <= chunk:
        return function(first.detach(), second.detach())
    pairs = zip(first.detach().split(chunk), second.detach().split(chunk), strict=True)
    return torch.cat([function(a, b) for a, b in pairs])
