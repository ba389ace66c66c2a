"""Flows of differential equations as systems: exact solutions, exact derivatives."""

import math

import pytest
import torch

import known_systems
import rnnscope as rs
from rnnscope.core.jacobians import input_jacobians, state_jacobians
from rnnscope.core.system import AnalyticJacobian
from rnnscope.dynamics.flows import flow_map, task_flow

DOUBLE = torch.float64


def states(count: int, size: int) -> torch.Tensor:
    return torch.randn(count, size, generator=torch.Generator().manual_seed(0), dtype=DOUBLE)


def test_a_linear_flow_is_the_matrix_exponential() -> None:
    matrix = states(3, 3)
    flow = flow_map(lambda h, _: h @ matrix.T, 0.5, 3, substeps=200, jacobian=lambda h, _: matrix.expand(len(h), -1, -1))
    exact = torch.linalg.matrix_exp(0.5 * matrix)
    start, nothing = states(4, 3), torch.empty(4, 0, dtype=DOUBLE)
    torch.testing.assert_close(flow.step(start, nothing), start @ exact.T, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(state_jacobians(flow, start, nothing)[2], exact, rtol=1e-9, atol=1e-9)


def test_the_error_is_of_fourth_order() -> None:
    start, nothing = torch.ones(1, 1, dtype=DOUBLE), torch.empty(1, 0, dtype=DOUBLE)
    errors = [
        abs(float(flow_map(lambda h, _: -h * h, 1.0, 1, substeps=n).step(start, nothing)) - 0.5) for n in (10, 20)
    ]  # h = 1/(1 + t)
    assert math.log2(errors[0] / errors[1]) == pytest.approx(4, abs=0.2)


def test_the_variational_jacobian_is_that_of_automatic_differentiation() -> None:
    field, jacobian = known_systems.lorenz_field, known_systems.lorenz_jacobian
    closed = flow_map(field, 0.02, 3, substeps=2, jacobian=jacobian)
    assert isinstance(closed, AnalyticJacobian)
    start, nothing = 5 * states(6, 3), torch.empty(6, 0, dtype=DOUBLE)
    automatic = state_jacobians(flow_map(field, 0.02, 3, substeps=2), start, nothing)
    torch.testing.assert_close(state_jacobians(closed, start, nothing), automatic, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(closed.readout_jacobian(start)[0], torch.eye(3, dtype=DOUBLE))


def test_the_input_is_held_over_a_step() -> None:
    kwargs = {"dt": 2.0, "state_size": 1, "input_size": 1, "substeps": 200}
    start, input = torch.ones(1, 1, dtype=DOUBLE), torch.full((1, 1), 3.0, dtype=DOUBLE)
    relax = flow_map(lambda h, x: x - h, jacobian=lambda h, _: -torch.ones(len(h), 1, 1, dtype=h.dtype), **kwargs)
    decay = math.exp(-2)
    assert float(relax.step(start, input)) == pytest.approx(3 + (1 - 3) * decay, abs=1e-8)
    assert float(input_jacobians(relax, start, input)) == pytest.approx(1 - decay, abs=1e-8)


def test_tasks_flow_as_they_are_simulated() -> None:
    task = rs.Lorenz63(dt=0.02)
    flow = task_flow(task)
    state, nothing = flow.initial_state(1), torch.empty(1, 0, dtype=DOUBLE)
    by_hand = flow_map(known_systems.lorenz_field, 0.02, 3)
    torch.testing.assert_close(flow.step(state, nothing), by_hand.step(state, nothing), rtol=1e-14, atol=0)
    assert state.dtype == DOUBLE
    assert task_flow(rs.Lorenz96(size=5)).initial_state(2).shape == (2, 5)


@pytest.mark.parametrize("task", [rs.Duffing(), rs.DrivenOscillator()])
def test_an_equation_that_depends_on_time_is_refused(task: rs.ODETask) -> None:
    with pytest.raises(rs.ConfigError, match="depends on time"):
        task_flow(task)


def test_a_delay_equation_is_refused() -> None:
    with pytest.raises(rs.ConfigError, match="delay"):
        task_flow(rs.MackeyGlass())


@pytest.mark.parametrize(("dt", "substeps"), [(0.0, 1), (-1.0, 1), (0.1, 0), (float("nan"), 1)])
def test_steps_out_of_range_are_refused(dt: float, substeps: int) -> None:
    with pytest.raises(rs.ConfigError, match="dt > 0"):
        flow_map(lambda h, _: -h, dt, 1, substeps=substeps)


def test_shapes_that_do_not_fit_are_refused() -> None:
    with pytest.raises(rs.ShapeError, match="initial"):
        flow_map(lambda h, _: -h, 0.1, 2, initial=torch.zeros(3))
    with pytest.raises(rs.ShapeError, match="f returned"):
        flow_map(lambda h, _: h[:, :1], 0.1, 2)
    with pytest.raises(rs.ShapeError, match="jacobian returned"):
        flow_map(lambda h, _: -h, 0.1, 2, jacobian=lambda h, _: h)
