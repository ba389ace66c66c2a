"""Lyapunov spectra: seconds per 10,000 steps of a network, what the interval between factorisations costs, known exponents.

Speed: `rs.lyapunov_spectrum` on a tanh network of 64 units (16 trajectories, 10,000 steps in all, float64), beside two loops
written by hand for this one network, which factorise at every step: torch with the same 16 trajectories, NumPy with one.
Ours also follows ln |det J| for the full spectrum, errors and windows. Other cells: ours alone, under white noise.

Interval: the largest error over exponents and the sum's error of a full spectrum at given intervals, against every step.

Known exponents: the Hénon and logistic maps and Lorenz-63 (RK4), with their errors in standard errors.

    python benchmarks/bench_lyapunov.py [--quick] [--rounds N] [--threads N]
"""

import math
from collections.abc import Callable

import numpy as np
import torch
from measure import arguments, environment, interleave, ratio, table
from torch import Tensor

import rnnscope as rs
from rnnscope.core.interfaces import Signature
from rnnscope.dynamics.flows import task_flow
from rnnscope.dynamics.lyapunov import LyapunovSpectrum, lyapunov_spectrum

HIDDEN, ROWS, STEPS, GAIN = 64, 16, 10_000, 1.5
DOUBLE = torch.float64


def network(cell: type, gain: float = GAIN) -> rs.DynamicalSystem:
    """One layer of 64 units, W_h of independent N(0, gain²/64), input held at 0."""
    rng = torch.Generator().manual_seed(0)
    system = cell(hidden_size=HIDDEN, num_layers=1, bias=False).build(Signature(1, 1), rng)
    with torch.no_grad():
        for name, parameter in system.named_parameters():
            if "weight_hh" in name:
                parameter.normal_(0, gain / HIDDEN**0.5, generator=rng)
    return system


def recurrent_weights(system: rs.DynamicalSystem) -> Tensor:
    return next(p for n, p in system.named_parameters() if "weight_hh" in n).detach().double()


def by_torch(weights: Tensor, count: int, steps: int) -> Tensor:
    """h' = tanh(W h) and its tangent, 16 rows at once, a QR at every step."""
    rng = torch.Generator().manual_seed(0)
    state = 0.05 * torch.randn(ROWS, HIDDEN, generator=rng, dtype=DOUBLE)
    basis = torch.linalg.qr(torch.randn(ROWS, HIDDEN, count, generator=rng, dtype=DOUBLE))[0]
    total = torch.zeros(ROWS, count, dtype=DOUBLE)
    for _ in range(steps // ROWS):
        state = torch.tanh(state @ weights.T)
        jacobian = (1 - state * state)[:, :, None] * weights
        basis, upper = torch.linalg.qr(torch.bmm(jacobian, basis))
        total += upper.diagonal(dim1=-2, dim2=-1).abs().log()
    return total.mean(0) / (steps // ROWS)


def by_numpy(weights: np.ndarray, count: int, steps: int) -> np.ndarray:
    """The same for one row."""
    rng = np.random.default_rng(0)
    state = 0.05 * rng.standard_normal(HIDDEN)
    basis = np.linalg.qr(rng.standard_normal((HIDDEN, count)))[0]
    total = np.zeros(count)
    for _ in range(steps):
        state = np.tanh(weights @ state)
        basis, upper = np.linalg.qr(((1 - state * state)[:, None] * weights) @ basis)
        total += np.log(np.abs(np.diagonal(upper)))
    return total / steps


def ours(system: rs.DynamicalSystem, count: int | None, steps: int, inputs: float | None = None) -> LyapunovSpectrum:
    return lyapunov_spectrum(
        system, num_steps=steps // ROWS, num_trajectories=ROWS, num_exponents=count, burn_in=0, inputs=inputs
    )


def print_speed(rounds: int, steps: int) -> None:
    system = network(rs.Elman)
    weights = recurrent_weights(system)
    scale, rows = STEPS / steps, []
    for count in (HIDDEN, 10):
        contestants: dict[str, Callable[[], object]] = {
            "lyapunov_spectrum": lambda k=count: ours(system, k, steps),
            "torch, QR at every step": lambda k=count: by_torch(weights, k, steps),
            "NumPy, QR at every step": lambda k=count: by_numpy(weights.numpy(), k, steps),
        }
        times = interleave(contestants, rounds)
        found = ours(system, count, steps)
        for name, t in times.items():
            mine = name == "lyapunov_spectrum"
            ratios = ["", ""] if mine else [ratio(times["lyapunov_spectrum"].wall, t.wall)]
            best = [f"{np.median(t.wall) * scale:.3f}", f"{t.wall.min() * scale:.3f}", f"{np.median(t.cpu) * scale:.3f}"]
            more = [f"{found.interval:.2f}", f"{found.sum_rule_error:.0e}" if mine and found.sum_rule_error else ""]
            rows.append([f"{count} exponents, {name}", *best, ratios[0], *(more if mine else ["1", ""])])
    print(
        f"tanh network, H = {HIDDEN}, gain {GAIN}, {ROWS} trajectories, {steps} steps in all, {rounds} rounds; per {STEPS} steps"
    )
    table(["", "s, median", "s, least", "CPU s", "time ours to it", "interval", "sum's error"], rows)
    rows = []
    for cell in (rs.GRU, rs.LSTM):
        other = network(cell)
        for count in (other.state_size, 10):
            t = interleave({"ours": lambda m=other, k=count: ours(m, k, steps, 1.0)}, max(1, rounds // 2))["ours"]
            found = ours(other, count, steps, 1.0)
            error = "" if found.sum_rule_error is None else f"{found.sum_rule_error:.0e}"
            seconds = [f"{np.median(t.wall) * scale:.3f}", f"{t.wall.min() * scale:.3f}"]
            rows.append([f"{cell.__name__}, {count} of {other.state_size}", *seconds, f"{found.interval:.2f}", error])
    table(["", "s, median", "s, least", "interval", "sum's error"], rows)


def print_intervals(steps: int) -> None:
    system, rows = network(rs.Elman), []
    reference = lyapunov_spectrum(system, num_steps=steps, interval=1)
    for interval in (None, 2, 5, 10, 20):
        found = lyapunov_spectrum(system, num_steps=steps, interval=interval)
        worst = float((found.exponents - reference.exponents).abs().max())
        shown = [f"{found.interval:.2f}", f"{float(found.exponents.sum()):.3f}", f"{worst:.1e}", f"{found.sum_rule_error:.1e}"]
        rows.append([str(interval or "chosen"), *shown, "doubted" if "not to be trusted" in found.outcome else ""])
    print(
        f"tanh network, H = {HIDDEN}, all exponents, 8 x {steps} steps; sum at every step {float(reference.exponents.sum()):.3f}"
    )
    table(["interval", "mean", "sum", "largest error", "sum's error", "outcome"], rows)


def henon() -> rs.System:
    def step(state: Tensor, _: Tensor) -> Tensor:
        x, y = state.unbind(-1)
        return torch.stack([1 - 1.4 * x * x + y, 0.3 * x], -1)

    return rs.System(step, 2, dtype=DOUBLE)


def print_known(steps: int) -> None:
    logistic = rs.System(lambda x, _: 4 * x * (1 - x), 1, initial=torch.tensor([0.3], dtype=DOUBLE), dtype=DOUBLE)
    scattered = torch.tensor([0.0, 0, 25]) + 10 * torch.randn(100, 3, generator=torch.Generator().manual_seed(0))
    lorenz = lyapunov_spectrum(task_flow(rs.Lorenz63(), 0.005), num_steps=steps, starts=scattered, time_step=0.005)
    cases = [
        ("Hénon", lyapunov_spectrum(henon(), num_steps=steps, num_trajectories=100), [0.41915, -1.62313]),
        ("logistic, r = 4", lyapunov_spectrum(logistic, num_steps=steps, num_trajectories=100), [math.log(2)]),
        ("Lorenz-63", lorenz, [0.9051, 0.0, -14.572]),
    ]
    rows = []
    for name, found, known in cases:
        for value, error, true in zip(found.exponents.tolist(), found.standard_errors.tolist(), known, strict=True):
            dimension = f"{found.kaplan_yorke_dimension:.4f} ± {found.kaplan_yorke_error:.0e}"
            rows.append(
                [name, f"{value:.5f}", f"{error:.1e}", f"{true:.5f}", f"{(value - true) / error:+.1f}", dimension, found.kind]
            )
            name = ""
    print(f"100 trajectories of {steps} steps")
    table(["", "exponent", "SE", "known", "error/SE", "Kaplan-Yorke", "kind"], rows)


def main() -> None:
    options = arguments(__doc__)
    print(environment(), "\n")
    print_speed(options.rounds or (2 if options.quick else 10), 800 if options.quick else STEPS)
    print_intervals(100 if options.quick else 1000)
    print_known(200 if options.quick else 40_000)


if __name__ == "__main__":
    main()
