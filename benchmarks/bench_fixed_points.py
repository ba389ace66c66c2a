"""Fixed points of networks trained on the 3-bit flip-flop: how many are found, how many are spurious, how long it takes.

Networks: tanh, GRU and LSTM with 16 and 64 units, 3 seeds each, trained here (minutes, kept in --weights) to a loss of 1e-4 on
64 steps with pulse probability .5. Starts: 1024 visited states + N(0, .5²).

* rnnscope: find_fixed_points from these starts, eigenvalues and certificates included, one thread.
* descent: the algorithm of FixedPointFinder (Golub & Sussillo 2018, JOSS 3, 1003) in our own words: Adam on the mean of
  q = ½|F(h) - h|² over all starts at once in float32, gradient norm clipped at 1, step size cut on plateaus (by .95 after 5
  steps without a new minimum of the mean), until q < 1e-12 everywhere or 5000 steps; points within 1e-3 of each other are one.
  "spurious" counts its points that are further than 1e-2 from every true one.
* truth: brute force, scipy.optimize.root (hybr) on F(h) - h from 500 further starts, joined with find_fixed_points from 10000,
  each point
  confirmed by a residual of 1e-12 and |h| <= 1.

    python benchmarks/bench_fixed_points.py [--quick] [--sizes 16 64] [--seeds 3] [--kinds tanh gru lstm] [--no-peer] [--weights DIR]
"""

import argparse
import time
from pathlib import Path

import numpy as np
import torch
from measure import environment, table
from safetensors.torch import load_file, save_file
from scipy.optimize import root
from torch import Tensor

import rnnscope as rs
from rnnscope.core.driven import in_double
from rnnscope.core.interfaces import Signature
from rnnscope.core.jacobians import state_jacobians
from rnnscope.core.system import rollout
from rnnscope.dynamics.newton import merge
from rnnscope.models.recurrent_systems import RecurrentSystem

KINDS = {"tanh": rs.Elman, "gru": rs.GRU, "lstm": rs.LSTM}


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="one small network: does the script run?")
    parser.add_argument("--sizes", type=int, nargs="+", default=[16, 64])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=list(KINDS))
    parser.add_argument("--no-peer", action="store_true")
    parser.add_argument("--weights", type=Path, default=Path("runs/flip-flop-networks"))
    return parser.parse_args()


def pulses(count: int, steps: int, rng: torch.Generator) -> Tensor:
    """3 channels, a pulse of ±1 with probability .5, and at the first step always."""
    found = (torch.rand(count, steps, 3, generator=rng) < 0.5).float()
    found[:, 0] = 1
    return found * torch.where(torch.rand(count, steps, 3, generator=rng) < 0.5, -1.0, 1.0)


def latest(inputs: Tensor) -> Tensor:
    """The sign of each channel's latest pulse."""
    held, rows = inputs[:, 0], []
    for x in inputs.unbind(1):
        held = torch.where(x != 0, x, held)
        rows.append(held)
    return torch.stack(rows, 1)


def network(kind: str, size: int, seed: int, folder: Path, quick: bool) -> RecurrentSystem:
    """A trained network, from the folder if it was trained before."""
    rng = torch.Generator().manual_seed(seed)
    system = KINDS[kind](hidden_size=size, num_layers=1).build(Signature(3, 3), rng)
    file = folder / f"{kind}-{size}-{seed}.safetensors"
    if file.is_file():
        system.load_state_dict(load_file(file))
        return system
    optimizer = torch.optim.Adam(system.parameters(), lr=5e-3 if size <= 16 else 2e-3)
    schedule = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, factor=0.7, patience=150, min_lr=1e-5)
    loss = torch.tensor(torch.inf)
    for _ in range(100 if quick else 12000):
        inputs = pulses(64, 64, rng)
        loss = (system(inputs) - latest(inputs)).square().mean()
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(system.parameters(), 1.0)
        optimizer.step()
        schedule.step(loss.item())
        if loss.item() < 1e-4:
            break
    print(f"trained {kind}-{size}-{seed}: loss {loss.item():.1e}", flush=True)
    if not quick:
        folder.mkdir(parents=True, exist_ok=True)
        save_file(system.state_dict(), file)
    return system


def visited(system: RecurrentSystem, count: int, seed: int) -> Tensor:
    """Visited states + N(0, .5²)."""
    rng = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        states = rollout(system, pulses(64, 64, rng)).states
    assert states is not None
    pool = states.flatten(0, 1)
    chosen = pool[torch.randint(len(pool), (count,), generator=rng)]
    return chosen + 0.5 * torch.randn(chosen.shape, generator=rng)


def descent(system: RecurrentSystem, starts: Tensor, rate: float, max_steps: int = 5000) -> Tensor:
    """All starts moved at once by Adam; the points at which it stopped, one for those within 1e-3 of each other."""
    held = torch.zeros(len(starts), 3)
    points = starts.float().clone().requires_grad_()
    optimizer = torch.optim.Adam([points], lr=rate)
    best, waited = float("inf"), 0
    for _ in range(max_steps):
        speed = 0.5 * (system.step(points, held) - points).square().sum(1)
        loss = speed.mean()
        (points.grad,) = torch.autograd.grad(loss, points)
        torch.nn.utils.clip_grad_norm_([points], 1.0)
        optimizer.step()
        best, waited = (loss.item(), 0) if loss.item() < best else (best, waited + 1)
        if waited >= 5:
            waited = 0
            optimizer.param_groups[0]["lr"] *= 0.95
        if float(speed.max()) < 1e-12:
            break
    return merge(points.detach().double(), 1e-3)[0]


def truth(system: RecurrentSystem, quick: bool) -> Tensor:
    """Every fixed point that brute force finds."""
    double = in_double(system)
    starts = visited(system, 50 if quick else 500, 7).double()
    zero = torch.zeros(1, 3, dtype=torch.float64)
    found = []
    for start in starts.numpy():
        solved = root(
            lambda h: double.step(torch.from_numpy(h)[None], zero)[0].detach().numpy() - h,
            start,
            jac=lambda h: state_jacobians(double, torch.from_numpy(h)[None], zero)[0].numpy() - np.eye(len(h)),
            method="hybr",
            tol=1e-14,
        )
        # |h| <= 1 holds for every true point; beyond it a gate that is shut to rounding makes any state stand still
        if np.abs(solved.fun).max() < 1e-12 and np.abs(solved.x[: system.hidden_size]).max() <= 1 + 1e-9:
            found.append(torch.from_numpy(solved.x))
    more = rs.find_fixed_points(system, visited(system, 1000 if quick else 10_000, 8)).points
    return merge(torch.cat([torch.stack(found), more]) if found else more, 1e-6)[0]


def matched(points: Tensor, true: Tensor, tolerance: float) -> tuple[int, int]:
    """(true points found, points that are near no true one)."""
    if not len(points):
        return 0, 0
    gaps = torch.cdist(points.double(), true) / true.norm(dim=1).clamp_min(1)
    return int((gaps.min(0).values < tolerance).sum()), int((gaps.min(1).values > tolerance).sum())


def timed(function):  # type: ignore[no-untyped-def]
    begin = time.process_time()
    found = function()
    return found, time.process_time() - begin


def main() -> None:
    args = options()
    torch.set_num_threads(1)
    print(environment())
    rows = []
    sizes, seeds = ([8], 1) if args.quick else (args.sizes, args.seeds)
    for size in sizes:
        for kind in args.kinds:
            for seed in range(seeds):
                system = network(kind, size, seed, args.weights, args.quick)
                starts = visited(system, 128 if args.quick else 1024, 1)
                true = truth(system, args.quick)
                rs.find_fixed_points(system, starts[:4])
                ours, seconds = timed(lambda s=system, h=starts: rs.find_fixed_points(s, h))
                hit, wrong = matched(ours.points, true, 1e-6)
                row = [
                    f"{kind}-{size}",
                    str(seed),
                    str(len(true)),
                    f"{hit}",
                    f"{wrong}",
                    f"{float(ours.residual.max()):.0e}",
                    f"{seconds:.2f}",
                ]
                row += [
                    f"{int(ours.certificate.is_certified.sum())}",
                    f"{ours.index_sum:+d}",
                    f"{len(ours.slow_points.points)}",
                ]
                for rate in () if args.no_peer else (1e-2, 1e-1):
                    points, spent = timed(lambda s=system, h=starts, r=rate: descent(s, h, r, 200 if args.quick else 5000))
                    good, bad = matched(points, true, 1e-2)
                    row.append(f"{good} + {bad} spurious, {spent:.1f} s ({spent / seconds:.0f}x)")
                rows.append(row)
                print(row, flush=True)
    heads = ["network", "seed", "true", "found", "spurious", "residual", "CPU s", "certified", "index sum", "slow points"]
    peers = [] if args.no_peer else ["descent, rate .01", "descent, rate .1"]
    table([*heads, *peers], rows)


if __name__ == "__main__":
    main()
