"""Sinkhorn divergence with its gradient, and one-to-one matching, against geomloss and scipy.

    python benchmarks/bench_sinkhorn.py [--quick] [--rounds N] [--threads N]

One-hot sequences of three symbols, blur 0.2 (ε = 0.04): y from a hidden Markov chain, x from a slightly different one. Errors
are against the same divergence solved in float64 to a marginal error of 1e-6. geomloss 0.3.1 is a peer, not a dependency; the
library's allocator matters to it, so run once more with MALLOC_MMAP_THRESHOLD_=4000000000 MALLOC_TRIM_THRESHOLD_=4000000000.
"""

import importlib.util
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from measure import arguments, environment, interleave, ratio, table
from torch import Tensor

from rnnscope.numerics.matching import hamming_cost, match_sequences
from rnnscope.numerics.transport import sinkhorn_divergence

BLUR = 0.2
Job = Callable[[], tuple[float, Tensor]]


def symbols(rows: int, steps: int, leave: float, rng: np.random.Generator) -> np.ndarray:
    """A chain of three states, emitting its own symbol but for one in a hundred; ends leave with probability `leave`."""
    transition = np.array([[1 - leave, leave, 0], [leave, 1 - 2 * leave, leave], [0, leave, 1 - leave]])
    emission = np.array([[0.99, 0.01, 0], [0.495, 0.01, 0.495], [0, 0.01, 0.99]])
    state, found = rng.integers(3, size=rows), np.empty((rows, steps), int)
    for t in range(steps):
        found[:, t] = (rng.random(rows)[:, None] > emission.cumsum(1)[state]).sum(1).clip(max=2)
        state = (rng.random(rows)[:, None] > transition.cumsum(1)[state]).sum(1).clip(max=2)
    return found


def one_hot(found: np.ndarray) -> Tensor:
    return torch.from_numpy(np.eye(3, dtype=np.float32)[found].reshape(len(found), -1))


def ours(x: Tensor, y: Tensor, **options: object) -> Job:
    def work() -> tuple[float, Tensor]:
        free = x.clone().requires_grad_()
        value = sinkhorn_divergence(free, y, blur=BLUR, **options).value  # type: ignore[arg-type]
        return float(value.detach()), torch.autograd.grad(value, free)[0]

    return work


def geomloss(x: Tensor, y: Tensor, scaling: float) -> Job:
    from geomloss import SamplesLoss

    loss = SamplesLoss("sinkhorn", p=2, blur=BLUR, scaling=scaling, backend="tensorized")

    def work() -> tuple[float, Tensor]:
        free = x.clone().requires_grad_()
        value = loss(free, y)
        return float(value.detach()), torch.autograd.grad(value, free)[0]

    return work


def resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def peak_memory(work: Callable[[], object]) -> int:
    """Extra resident bytes while `work` runs, sampled every millisecond; 0 where /proc is missing."""
    if not Path("/proc/self/statm").exists():
        return 0
    start, highest, over = resident(), 0, threading.Event()

    def watch() -> None:
        nonlocal highest
        while not over.is_set():
            highest = max(highest, resident())
            time.sleep(0.001)

    watcher = threading.Thread(target=watch)
    watcher.start()
    work()
    over.set()
    watcher.join()
    return highest - start


def divergence(rows: int, steps: int, rounds: int, peers: bool, slow: bool) -> None:
    rng = np.random.default_rng(rows + steps)
    x, y = one_hot(symbols(rows, steps, 0.26, rng)), one_hot(symbols(rows, steps, 0.2236, rng))
    value, gradient = ours(x.double(), y.double(), tolerance=1e-6, max_iterations=4000)()
    cached = sinkhorn_divergence(x, y, blur=BLUR).y_self
    contestants = {
        'rnnscope "training"': ours(x, y, accuracy="training"),
        'rnnscope "balanced"': ours(x, y),
        'rnnscope "balanced", y_self cached': ours(x, y, y_self=cached),
        'rnnscope "exact"': ours(x, y, accuracy="exact"),
        'rnnscope "balanced", tensor engine': ours(x, y, engine="tensor"),
    }
    if peers:
        contestants["geomloss, scaling 0.5 (default)"] = geomloss(x, y, 0.5)
        if slow:
            contestants["geomloss, scaling 0.9"] = geomloss(x, y, 0.9)
    times = interleave(contestants, rounds)
    print(f"divergence and gradient, {rows} x {rows} sequences of {steps} steps, blur {BLUR}; reference value {value:.6g}")
    lines = []
    for name, work in contestants.items():
        got, slope = work()
        memory = peak_memory(work)
        against = [ratio(times[name].cpu, times[p].cpu) for p in list(contestants)[5:6]] or ["-"]
        error = float((slope.double() - gradient).norm() / gradient.norm())
        cpu, wall = float(np.median(times[name].cpu)), float(np.median(times[name].wall))
        lines.append(
            [
                name,
                f"{abs(got - value) / value:.1e}",
                f"{error:.4f}",
                f"{cpu:.4f}",
                f"{wall:.4f}",
                *against,
                f"{memory / 2**20:.0f}",
            ]
        )
    table(["", "value error", "gradient error", "CPU s", "wall s", "CPU, per geomloss's default", "extra MiB"], lines)


def matching(rows: int, steps: int, rounds: int) -> None:
    rng = np.random.default_rng(rows)
    x, y = symbols(rows, steps, 0.26, rng), symbols(rows, steps, 0.2236, rng)
    contestants = {
        "exact": lambda: match_sequences(x, y),
        "sinkhorn": lambda: match_sequences(x, y, "sinkhorn"),
        "hamming_cost": lambda: hamming_cost(x, y),
    }
    times = interleave(contestants, rounds)
    print(f"matching {rows} sequences of {steps} steps")
    lines = []
    for name in contestants:
        found = match_sequences(x, y, name) if name != "hamming_cost" else None  # type: ignore[arg-type]
        lines.append(
            [name, f"{np.median(times[name].cpu):.4f}", *((f"{found.cost:.6g}", f"{found.bound:.6g}") if found else ("", ""))]
        )
    table(["", "CPU s", "mean mismatches", "lower bound"], lines)


def main() -> None:
    options = arguments(__doc__ or "")
    peers = importlib.util.find_spec("geomloss") is not None
    print(environment("numba", "scipy", "geomloss"))
    if not peers:
        print("geomloss is not installed: skipped")
    print()
    sizes = [(128, 30)] if options.quick else [(1024, 30), (1024, 100), (4000, 100)]
    for rows, steps in sizes:
        divergence(rows, steps, options.rounds or (1 if options.quick else 7 if rows < 2000 else 3), peers, rows < 2000)
    for rows in [200] if options.quick else [1000, 4000]:
        matching(rows, 30 if options.quick else 100, options.rounds or (1 if options.quick else 5))


if __name__ == "__main__":
    main()
