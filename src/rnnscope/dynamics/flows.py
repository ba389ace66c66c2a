"""Ordinary differential equations as dynamical systems: the flow over a time step, with its derivative in closed form."""

from collections.abc import Callable
from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from rnnscope.core.errors import ConfigError, ShapeError
from rnnscope.core.jacobians import input_jacobians
from rnnscope.core.system import AnalyticJacobian, DynamicalSystem
from rnnscope.numerics.integrate import flow_step

VectorField = Callable[[Tensor, Tensor], Tensor]


class FlowMap(DynamicalSystem):
    """h_t = φ(h_{t-1}), the RK4 flow of h' = f(h, x) over a time dt with the input x held; see `flow_map`."""

    def __init__(
        self, f: VectorField, dt: float, state_size: int, input_size: int, substeps: int, initial: Float[Tensor, " S"]
    ) -> None:
        super().__init__()
        self.field, self.dt, self.substeps = f, dt, substeps
        self.state_size = self.output_size = state_size
        self.input_size = input_size
        self.register_buffer("initial", initial.detach().clone())

    def initial_state(self, batch_size: int) -> Tensor:
        return self.get_buffer("initial").expand(batch_size, -1).clone()

    def step(self, state: Tensor, input: Tensor) -> Tensor:
        for _ in range(self.substeps):
            state = flow_step(lambda h, _: self.field(h, input), state, 0.0, self.dt / self.substeps)
        return state

    def readout(self, state: Tensor) -> Tensor:
        return state


class VariationalFlowMap(DynamicalSystem, AnalyticJacobian):
    """A flow map whose state Jacobian solves M' = Df(h, x) M beside h' = f(h, x): the exact derivative of the RK4 step."""

    def __init__(self, flow: FlowMap, jacobian: VectorField) -> None:
        super().__init__()
        self.flow, self.jacobian = flow, jacobian
        self.state_size, self.input_size, self.output_size = flow.state_size, flow.input_size, flow.output_size

    def initial_state(self, batch_size: int) -> Tensor:
        return self.flow.initial_state(batch_size)

    def step(self, state: Tensor, input: Tensor) -> Tensor:
        return self.flow.step(state, input)

    def readout(self, state: Tensor) -> Tensor:
        return self.flow.readout(state)

    def state_jacobian(self, state: Tensor, input: Tensor) -> Tensor:
        dt = self.flow.dt / self.flow.substeps
        joint = torch.cat([state[:, :, None], _identity(state)], -1)  # (B, S, 1 + S): h beside M

        def variational(joint: Tensor, _: float) -> Tensor:
            h, matrix = joint[:, :, 0], joint[:, :, 1:]
            return torch.cat([self.flow.field(h, input)[:, :, None], torch.bmm(self.jacobian(h, input), matrix)], -1)

        for _ in range(self.flow.substeps):
            joint = flow_step(variational, joint, 0.0, dt)
        return joint[:, :, 1:]

    def input_jacobian(self, state: Tensor, input: Tensor) -> Tensor:
        return input_jacobians(self.flow, state, input)

    def readout_jacobian(self, state: Tensor) -> Tensor:
        return _identity(state)


def _identity(state: Float[Tensor, "B S"]) -> Float[Tensor, "B S S"]:
    return torch.eye(state.shape[1], dtype=state.dtype, device=state.device).expand(len(state), -1, -1)


def flow_map(
    f: VectorField,
    dt: float,
    state_size: int,
    input_size: int = 0,
    *,
    substeps: int = 1,
    jacobian: VectorField | None = None,
    initial: Tensor | None = None,
) -> FlowMap | VariationalFlowMap:
    """The flow of h' = f(h, x) over a time dt as a discrete-time system, by RK4 in float64.

    One step of the system is `substeps` RK4 steps of length dt/substeps (Hairer, Nørsett & Wanner, Solving ODEs I, II.1), with
    the input held. A time-dependent equation is made autonomous by a phase as one more state.

    Args:
        f: (state (B, S), input (B, X)) -> derivative (B, S); the input is empty for an autonomous equation.
        dt: time of one step, > 0. state_size: S. input_size: X. substeps: >= 1.
        jacobian: Df, (state, input) -> (B, S, S). With it the system has its Jacobian in closed form, by RK4 on the variational
            equation M' = Df M; without it the RK4 step is differentiated automatically, to the same numbers.
        initial: the state before the first step, (S,); zeros by default.

    Returns:
        A dynamical system whose output is its state.

    Raises:
        ConfigError: dt or substeps out of range. ShapeError: f, jacobian or initial of another shape.

    Example:
        >>> import torch
        >>> decay = flow_map(lambda h, _: -h, dt=1.0, state_size=1, substeps=100)
        >>> decay.step(torch.ones(1, 1, dtype=torch.float64), torch.empty(1, 0)).sub(torch.tensor(-1.0).exp()).abs().item() < 1e-7
        True
    """
    if not dt > 0 or substeps < 1:
        raise ConfigError(
            f"dt {dt:g}, substeps {substeps}", "dt > 0, substeps >= 1", "change the argument that is out of range"
        )
    start = torch.zeros(state_size) if initial is None else torch.as_tensor(initial)
    start = start.to(torch.float64)
    _check("initial", start, (state_size,))
    probe, nothing = start[None].expand(2, -1), start.new_zeros(2, input_size)
    _check("f returned a tensor", f(probe, nothing), (2, state_size))
    flow = FlowMap(f, float(dt), state_size, input_size, substeps, start)
    if jacobian is None:
        return flow
    _check("jacobian returned a tensor", jacobian(probe, nothing), (2, state_size, state_size))
    return VariationalFlowMap(flow, jacobian)


def _check(what: str, tensor: Tensor, shape: tuple[int, ...]) -> None:
    if tuple(tensor.shape) != shape:
        raise ShapeError(f"{what} of shape {tuple(tensor.shape)}", f"{shape}", "keep the batch: one row per state")


@runtime_checkable
class DifferentialEquation(Protocol):
    """What `task_flow` needs of a task: all ODE tasks but the delay equation have it."""

    @property
    def dt(self) -> float:
        """Integration step."""

    def variables(self) -> tuple[str, ...]:
        """Names of the state variables."""

    def derivative(self, state: Any, time: float, xp: Any, forcing: Any) -> Any:
        """f(state, time)."""


def task_flow(
    task: DifferentialEquation, dt: float | None = None, *, substeps: int = 1, initial: Tensor | None = None
) -> FlowMap:
    """The flow of an ODE task's equation over a time dt, as a dynamical system.

    Args:
        task: an autonomous ODE task, e.g. rs.Lorenz63(). dt: time of one step; the task's own by default. substeps: RK4 steps in it.
        initial: (S,); by default the task's `initial`, or zeros where it gives none.

    Raises:
        ConfigError: an equation that depends on time.

    Example:
        >>> import rnnscope as rs
        >>> task_flow(rs.Lorenz63(), dt=0.01).initial_state(1).tolist()
        [[1.0, 1.0, 1.0]]
    """
    size = len(task.variables())
    start = _task_start(task, size) if initial is None else initial
    probe = torch.as_tensor(start, dtype=torch.float64).reshape(1, -1) + torch.linspace(0.1, 0.3, size, dtype=torch.float64)
    rates = [task.derivative(probe, time, torch, None) for time in (0.0, 0.37, 1.71)]
    if not all(torch.equal(rate, rates[0]) for rate in rates):
        raise ConfigError(
            f"{type(task).__name__}: a right-hand side that depends on time",
            "an autonomous equation",
            "write it for flow_map with the phase of the forcing as one more state",
        )
    flow = flow_map(lambda h, _: task.derivative(h, 0.0, torch, None), dt or task.dt, size, substeps=substeps, initial=start)
    assert isinstance(flow, FlowMap)
    return flow


def _task_start(task: Any, size: int) -> Tensor:
    values = task.initial or task.default_initial()
    return torch.tensor(values, dtype=torch.float64) if values else torch.zeros(size, dtype=torch.float64)
