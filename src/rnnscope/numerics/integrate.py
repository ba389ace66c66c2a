"""Fixed-step integrators for x' = f(x, t), batched over initial values."""

from collections.abc import Callable
from typing import Any, Literal

import numpy as np
from jaxtyping import Float

Method = Literal["rk4", "euler"]
RightHandSide = Callable[[Any, float], Any]


def flow_step(f: RightHandSide, state: Any, time: float, dt: float, method: Method = "rk4") -> Any:
    """One step of length dt from (state, time).

    Euler: x + dt f(x, t), global error O(dt). RK4: the classical fourth-order scheme of Runge and Kutta, O(dt⁴)
    (Hairer, Nørsett & Wanner, Solving ODEs I, II.1).

    Args:
        f: right-hand side (state, time) -> derivative; works for NumPy arrays and torch tensors alike.
    """
    if method == "euler":
        return state + dt * f(state, time)
    k1 = f(state, time)
    k2 = f(state + 0.5 * dt * k1, time + 0.5 * dt)
    k3 = f(state + 0.5 * dt * k2, time + 0.5 * dt)
    k4 = f(state + dt * k3, time + dt)
    return state + (dt / 6) * (k1 + 2 * k2 + 2 * k3 + k4)


def integrate(
    f: RightHandSide, initial: Float[np.ndarray, "B S"], dt: float, num_steps: int, method: Method = "rk4", start: float = 0.0
) -> Float[np.ndarray, "B N S"]:
    """Trajectories at start, start + dt, …, num_steps + 1 states each, one row per initial value.

    Args:
        f: (state (B, S), time) -> derivative (B, S). initial: (B, S). dt: > 0. num_steps: >= 0.
    """
    states = np.empty((num_steps + 1, *initial.shape))
    states[0] = state = np.asarray(initial, dtype=np.float64)
    for step in range(num_steps):
        state = flow_step(f, state, start + step * dt, dt, method)
        states[step + 1] = state
    return states.transpose(1, 0, 2)


def integrate_delay(
    f: Callable[[np.ndarray, np.ndarray], np.ndarray],
    history: Float[np.ndarray, "B K"],
    dt: float,
    num_steps: int,
    delay_steps: int,
) -> Float[np.ndarray, "B N"]:
    """x' = f(x(t), x(t - τ)) with τ = delay_steps·dt, by RK4, order 4.

    The delayed value at half steps is the cubic Hermite interpolant ½(a + b) + dt/8 (a' - b'), with the slopes that RK4 computes
    anyway; at t = 0, where the solution has a kink, each side keeps its own slope (Bellen & Zennaro 2003, ch. 4).

    Args:
        f: (x, delayed) -> derivative. history: x at -τ … 0, (B, delay_steps + 1). dt: > 0. num_steps: >= 0.
        delay_steps: >= 2.

    Returns:
        x at 0, dt, … num_steps·dt, (B, num_steps + 1).
    """
    path = np.empty((history.shape[0], delay_steps + 1 + num_steps))
    path[:, : delay_steps + 1] = history
    before = np.gradient(path[:, : delay_steps + 1], dt, axis=1, edge_order=2)
    slopes = np.concatenate([before, np.empty((len(path), num_steps))], 1)  # from the right; `before` keeps t = 0 from the left
    for step in range(delay_steps, delay_steps + num_steps):
        x, back = path[:, step], step - delay_steps
        old, after = path[:, back], path[:, back + 1]
        k1 = slopes[:, step] = f(x, old)
        ends = before[:, back + 1] if back + 1 <= delay_steps else slopes[:, back + 1]
        middle = 0.5 * (old + after) + dt / 8 * (slopes[:, back] - ends)
        k2 = f(x + 0.5 * dt * k1, middle)
        k3 = f(x + 0.5 * dt * k2, middle)
        k4 = f(x + dt * k3, after)
        path[:, step + 1] = x + (dt / 6) * (k1 + 2 * k2 + 2 * k3 + k4)
    return path[:, delay_steps:]
