"""Integrators against exact solutions, their orders, and what they conserve."""

import math
from typing import Any

import numpy as np
import pytest
import torch

import rnnscope as rs
from rnnscope.numerics.integrate import Method, flow_step, integrate, integrate_delay

GAMMA = 0.2
START = np.array([[1.0, 0.0], [0.5, -2.0]])


def oscillator(state: Any, time: float) -> Any:
    """x'' + 2γ x' + x = 0."""
    return state @ (np.array([[0.0, 1.0], [-1.0, -2 * GAMMA]]).T)


def oscillator_exactly(start: np.ndarray, time: float) -> np.ndarray:
    omega = math.sqrt(1 - GAMMA**2)
    x, v = start[:, 0], start[:, 1]
    cos, sin, decay = math.cos(omega * time), math.sin(omega * time) / omega, math.exp(-GAMMA * time)
    return decay * np.stack([x * cos + (v + GAMMA * x) * sin, v * cos - (x + GAMMA * v) * sin], -1)


def orders(errors: list[float]) -> np.ndarray:
    """log2 of what halving the step gains."""
    return np.log2(np.array(errors[:-1]) / np.array(errors[1:]))


@pytest.mark.parametrize(("method", "order"), [("rk4", 4), ("euler", 1)])
def test_halving_the_step_gains_the_order_on_the_damped_oscillator(method: Method, order: int) -> None:
    errors = []
    for steps in (80, 160, 320, 640):
        path = integrate(oscillator, START, 4.0 / steps, steps, method)
        errors.append(float(np.abs(path[:, -1] - oscillator_exactly(START, 4.0)).max()))
    np.testing.assert_allclose(orders(errors), order, atol=0.1)


@pytest.mark.parametrize(("method", "order"), [("rk4", 4), ("euler", 1)])
def test_the_time_of_every_stage_is_right(method: Method, order: int) -> None:
    """x' = x cos t has x = exp(sin t - sin t_0), from whatever time it starts."""
    errors = []
    for steps in (40, 80, 160):
        path = integrate(lambda s, t: s * math.cos(t), np.ones((1, 1)), 3.0 / steps, steps, method, start=0.7)
        errors.append(abs(path[0, -1, 0] - math.exp(math.sin(3.7) - math.sin(0.7))))
    np.testing.assert_allclose(orders(errors), order, atol=0.3)


def test_rk4_integrates_cubics_in_time_exactly() -> None:
    path = integrate(lambda s, t: np.full_like(s, 4 * t**3 - 3 * t**2 + 1), np.zeros((1, 1)), 0.5, 6)
    times = 0.5 * np.arange(7)
    np.testing.assert_allclose(path[0, :, 0], times**4 - times**3 + times, atol=1e-12)


def test_trajectories_have_one_state_more_than_steps_and_begin_at_the_initial_value() -> None:
    path = integrate(oscillator, START, 0.1, 5)
    assert path.shape == (2, 6, 2)
    np.testing.assert_array_equal(path[:, 0], START)
    assert integrate(oscillator, START, 0.1, 0).shape == (2, 1, 2)


def test_rows_are_integrated_apart() -> None:
    whole = integrate(oscillator, START, 0.1, 20)
    for row in range(2):
        np.testing.assert_allclose(integrate(oscillator, START[row : row + 1], 0.1, 20)[0], whole[row], atol=1e-14)


@pytest.mark.parametrize("method", ["rk4", "euler"])
def test_tensors_and_arrays_take_the_same_step(method: Method) -> None:
    task = rs.Lorenz63()
    start = np.random.default_rng(0).standard_normal((4, 3))
    array = flow_step(lambda s, t: task.derivative(s, t, np, None), start, 0.0, 0.02, method)
    tensor = flow_step(lambda s, t: task.derivative(s, t, torch, None), torch.from_numpy(start), 0.0, 0.02, method)
    np.testing.assert_allclose(tensor.numpy(), array, atol=1e-13)


def energies(task: rs.ODETask, dt: float, duration: float) -> np.ndarray:
    path = integrate(lambda s, t: task.derivative(s, t, np, None), np.array([[2.0, 0.3], [0.4, 0.0]]), dt, round(duration / dt))
    x, v = path[..., 0], path[..., 1]
    if isinstance(task, rs.Pendulum):
        return 0.5 * v**2 - np.cos(x)
    assert isinstance(task, rs.Duffing)
    return 0.5 * v**2 + 0.5 * task.alpha * x**2 + 0.25 * task.beta * x**4


@pytest.mark.parametrize("task", [rs.Pendulum(), rs.Duffing(delta=0.0, force=0.0)], ids=["pendulum", "duffing"])
def test_energy_is_conserved_without_friction_and_forcing(task: rs.ODETask) -> None:
    drifts = []
    for dt in (0.04, 0.02):
        energy = energies(task, dt, 20.0)
        drifts.append(float(np.abs(energy - energy[:, :1]).max()))
    assert drifts[1] < 1e-6
    assert orders(drifts)[0] > 3.9


def test_friction_takes_energy_away() -> None:
    energy = energies(rs.Pendulum(gamma=0.1), 0.02, 20.0)
    assert (np.diff(energy, axis=1) <= 1e-12).all()


# delay equations


def by_steps(time: float) -> float:
    """x' = -x(t - 1) with x = 1 up to 0, by the method of steps: Σ_k (-1)^k (t - k + 1)^k / k! over k <= t + 1."""
    return sum((-1) ** k * (time - k + 1) ** k / math.factorial(k) for k in range(int(time + 1e-9) + 2))


def test_a_delay_equation_follows_the_method_of_steps() -> None:
    """With its kinks at 0, 1, 2, …, each a derivative smoother than the one before."""
    errors = []
    for delay in (10, 20, 40):
        path = integrate_delay(lambda x, old: -old, np.ones((1, delay + 1)), 1 / delay, 10 * delay, delay)
        wanted = [by_steps(i / delay) for i in range(10 * delay + 1)]
        errors.append(float(np.abs(path[0] - wanted).max()))
    assert errors[-1] < 1e-8
    np.testing.assert_allclose(orders(errors), 4, atol=0.2)


def test_halving_the_step_gains_order_four_on_a_smooth_delay_equation() -> None:
    """x' = -x(t - π/2) has the solution cos t, when it is also the history."""
    errors = []
    for delay in (20, 40, 80):
        dt = 0.5 * math.pi / delay
        history = np.cos(dt * np.arange(-delay, 1))[None]
        path = integrate_delay(lambda x, old: -old, history, dt, 4 * delay, delay)
        errors.append(float(np.abs(path[0] - np.cos(dt * np.arange(4 * delay + 1))).max()))
    np.testing.assert_allclose(orders(errors), 4, atol=0.3)


def test_a_delay_equation_without_delay_in_it_is_an_ordinary_one() -> None:
    history = np.array([[9.0, 8.0, 7.0, 1.0], [0.0, 0.0, 0.0, 2.0]])
    path = integrate_delay(lambda x, old: -x, history, 0.1, 10, 3)
    ordinary = integrate(lambda s, t: -s, np.array([[1.0], [2.0]]), 0.1, 10)
    np.testing.assert_allclose(path, ordinary[..., 0], atol=1e-14)
    assert integrate_delay(lambda x, old: -x, history, 0.1, 0, 3).tolist() == [[1.0], [2.0]]


def test_mackey_glass_rests_at_its_fixed_point() -> None:
    """β x/(1 + x^n) = γ x at x = (β/γ - 1)^(1/n) = 1."""
    states, _ = rs.MackeyGlass(duration=50.0, transient=0.0).simulate(np.ones((1, 1)), None)
    np.testing.assert_allclose(states, 1.0, atol=1e-12)
