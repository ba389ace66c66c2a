"""Fixed-step integrators: measured orders of convergence, and steps per second at batch 1 and 1000.

Order: the largest error over [0, T] for steps dt, dt/2, dt/4, …; the order is log2 of the ratio of neighbours. Against exact
solutions where there are some (damped driven oscillator; x' = -π/2 x(t-1), whose solution from a cosine is that cosine), and
against RK4 at dt = 1/16384 for Lorenz-63.

Speed: `integrate` on rnnscope's Lorenz-63 beside an RK4 loop written by hand for that one system, and for scale SciPy's
solve_ivp (RK45, adaptive, rtol = atol = 1e-6), where a step is a point of output.

    python benchmarks/bench_integrators.py [--quick] [--rounds N] [--threads N]
"""

from collections.abc import Callable

import numpy as np
from measure import arguments, environment, interleave, ratio, table
from scipy.integrate import solve_ivp

import rnnscope as rs
from rnnscope.numerics.integrate import Method, integrate, integrate_delay

GAMMA, FORCE, FREQUENCY = 0.2, 1.0, 0.5
LORENZ = rs.Lorenz63()
OSCILLATOR = rs.DrivenOscillator(gamma=GAMMA, force=FORCE, frequency=FREQUENCY)


def lorenz(state: np.ndarray, time: float) -> np.ndarray:
    return LORENZ.derivative(state, time, np, None)


def oscillator(state: np.ndarray, time: float) -> np.ndarray:
    return OSCILLATOR.derivative(state, time, np, None)


def oscillator_solution(times: np.ndarray, x: float, v: float) -> np.ndarray:
    """x(t) = a cos Ωt + b sin Ωt + exp(-γt) (c cos ωt + d sin ωt), from x(0), v(0)."""
    detuning, drag = 1 - FREQUENCY**2, 2 * GAMMA * FREQUENCY
    a, b = FORCE * np.array([detuning, drag]) / (detuning**2 + drag**2)
    omega = np.sqrt(1 - GAMMA**2)
    c = x - a
    d = (v - b * FREQUENCY + GAMMA * c) / omega
    free = np.exp(-GAMMA * times) * (c * np.cos(omega * times) + d * np.sin(omega * times))
    return a * np.cos(FREQUENCY * times) + b * np.sin(FREQUENCY * times) + free


def oscillator_error(dt: float, method: Method) -> float:
    steps = round(20 / dt)
    path = integrate(oscillator, np.array([[1.0, 0.0]]), dt, steps, method)
    return float(np.abs(path[0, :, 0] - oscillator_solution(dt * np.arange(steps + 1), 1.0, 0.0)).max())


def lorenz_error(dt: float, method: Method) -> float:
    start, steps = np.array([[1.0, 1.0, 25.0]]), round(1 / dt)
    fine = round(dt / LORENZ_REFERENCE_DT)
    return float(np.abs(integrate(lorenz, start, dt, steps, method)[0] - _lorenz_reference(start)[::fine]).max())


LORENZ_REFERENCE_DT = 1 / 16384
_CACHE: dict[str, np.ndarray] = {}


def _lorenz_reference(start: np.ndarray) -> np.ndarray:
    if "lorenz" not in _CACHE:
        _CACHE["lorenz"] = integrate(lorenz, start, LORENZ_REFERENCE_DT, round(1 / LORENZ_REFERENCE_DT))[0]
    return _CACHE["lorenz"]


def delay_error(dt: float, _: Method) -> float:
    delay, steps = round(1 / dt), round(10 / dt)
    times = dt * np.arange(-delay, steps + 1)
    exact = np.cos(np.pi / 2 * times)
    path = integrate_delay(lambda x, old: -np.pi / 2 * old, exact[None, : delay + 1], dt, steps, delay)
    return float(np.abs(path[0] - exact[delay:]).max())


ORDERS: list[tuple[str, Method, int, Callable[[float, Method], float], float]] = [
    ("driven oscillator, T = 20", "rk4", 4, oscillator_error, 0.1),
    ("driven oscillator, T = 20", "euler", 1, oscillator_error, 0.005),
    ("Lorenz-63, T = 1", "rk4", 4, lorenz_error, 1 / 128),
    ("Lorenz-63, T = 1", "euler", 1, lorenz_error, 1 / 2048),
    ("delay equation, T = 10", "rk4", 4, delay_error, 0.1),
]


def print_orders() -> None:
    rows = []
    for name, method, order, error, dt in ORDERS:
        errors = np.array([error(dt / 2**k, method) for k in range(4)])
        measured = np.log2(errors[:-1] / errors[1:])
        shown = ", ".join(f"{m:.3f}" for m in measured)
        rows.append([f"{name}, {method}", f"{dt:.3g}", *(f"{e:.1e}" for e in errors), shown, str(order)])
    table(["system, method", "dt", "error(dt)", "error(dt/2)", "error(dt/4)", "error(dt/8)", "measured orders", "order"], rows)


def lorenz_by_hand(start: np.ndarray, dt: float, num_steps: int) -> np.ndarray:
    """What one would write for Lorenz-63 alone: RK4 in a loop over states (B, 3)."""

    def f(s: np.ndarray) -> np.ndarray:
        x, y, z = s[:, 0], s[:, 1], s[:, 2]
        return np.stack([10.0 * (y - x), x * (28.0 - z) - y, x * y - 8.0 / 3.0 * z], -1)

    path = np.empty((num_steps + 1, *start.shape))
    path[0] = s = start
    for step in range(num_steps):
        k1 = f(s)
        k2 = f(s + dt / 2 * k1)
        k3 = f(s + dt / 2 * k2)
        k4 = f(s + dt * k3)
        s = s + dt / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
        path[step + 1] = s
    return path.transpose(1, 0, 2)


def print_speed(rounds: int, num_steps: int) -> None:
    rng = np.random.default_rng(0)
    dt = 0.01
    rows = []
    for batch in (1, 1000):
        start = np.array([1.0, 1.0, 25.0]) + 0.1 * rng.standard_normal((batch, 3))
        steps = num_steps if batch == 1 else num_steps // 10
        short = integrate(lorenz, start, dt, 50)
        apart = float(np.abs(short - lorenz_by_hand(start, dt, 50)).max())
        points = dt * np.arange(steps + 1)
        contestants: dict[str, Callable[[], object]] = {
            "integrate, rk4": lambda s=start, n=steps: integrate(lorenz, s, dt, n),
            "integrate, euler": lambda s=start, n=steps: integrate(lorenz, s, dt, n, "euler"),
            "RK4 by hand": lambda s=start, n=steps: lorenz_by_hand(s, dt, n),
        }
        if batch == 1:
            contestants["solve_ivp, RK45"] = lambda s=start[0], t=points: solve_ivp(
                lambda time, state: lorenz(state, time), (0, t[-1]), s, t_eval=t, rtol=1e-6, atol=1e-6
            )
        times = interleave(contestants, rounds)
        for name, t in times.items():
            per_second = steps / np.median(t.wall)
            ratios = [ratio(t.wall, times["RK4 by hand"].wall), ratio(t.cpu, times["RK4 by hand"].cpu)]
            numbers = [f"{per_second:,.0f}", f"{per_second * batch:,.0f}", *ratios, f"{apart:.0e}" if "rk4" in name else ""]
            rows.append([f"batch {batch}, {name}", *numbers])
    print(f"Lorenz-63, dt = {dt}, {num_steps} steps (a tenth at batch 1000), {rounds} rounds")
    table(["", "steps/s", "states/s", "time to by hand, wall", "CPU", "max |Δ|, 50 steps"], rows)


def main() -> None:
    options = arguments(__doc__)
    print(environment("scipy"), "\n")
    print_orders()
    print_speed(options.rounds or (2 if options.quick else 10), 1_000 if options.quick else 20_000)


if __name__ == "__main__":
    main()
