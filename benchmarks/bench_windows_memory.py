"""Peak memory of windows over a series of 10^7 points, above that of the series itself.

A task returns a float64 random walk. In a process of its own it is prepared (split, scaled, encoded, cut into windows), the
training windows are put in a random order as the trainer does, and 200 batches of 32 windows of 50 steps are gathered and
trained on (an epoch would have 234,000). The peak of that process, less the peak of another that imports the same modules
and makes the same series and nothing else, is what windows and training cost. Peaks are ru_maxrss.

What does not grow with the series, torch's own first training steps, is shown by the same difference for 10^5 points, and
what windows would cost if they were copied, for comparison.

    python benchmarks/bench_windows_memory.py [--quick] [--threads N]
"""

import json
import resource
import subprocess
import sys
import time

import numpy as np
import torch
from job import BATCH, HIDDEN, LAYERS, RATE, WINDOW
from measure import arguments, environment, table

import rnnscope as rs
from rnnscope.core.forecast import ForecastData
from rnnscope.core.random import Streams

BATCHES = 200
BATCH_MB = 2 * BATCH * WINDOW * 4 / 2**20
LIMIT_MB = 200.0


def random_walk(num_points: int, rng: np.random.Generator) -> rs.Series:
    """A float64 random walk, made in place, so that the making has no peak of its own."""
    values = rng.standard_normal((num_points, 1))
    np.cumsum(values, axis=0, out=values)
    return rs.Series(values, np.empty((num_points, 0)), np.arange(num_points, dtype=np.float64))


class RandomWalk(rs.ForecastTask):
    """A random walk of `num_points` steps."""

    num_points: int = 1000

    def record(self, rng: np.random.Generator) -> rs.Recording:
        return rs.Recording([random_walk(self.num_points, rng)])


def peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)


def train(data: ForecastData) -> tuple[int, float]:
    """The first batches of an epoch; returns the number of training windows and seconds spent in gathering."""
    model = rs.GRU(hidden_size=HIDDEN, num_layers=LAYERS).build(data.signature, Streams(1).torch())
    optimizer = torch.optim.Adam(model.parameters(), lr=RATE, fused=True)
    windows = data.train
    order = np.random.default_rng(2).permutation(np.arange(len(windows), dtype=np.int32))
    gathering = 0.0
    for start in range(0, min(BATCHES * BATCH, len(order)), BATCH):
        started = time.perf_counter()
        batch = windows.gather(order[start : start + BATCH])
        gathering += time.perf_counter() - started
        loss = data.loss(model(batch.inputs)[:, -1:], batch.targets[:, -1:])
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
    return len(order), gathering


def child(what: str, num_points: int) -> None:
    """Runs in a process of its own and prints what it found."""
    torch.set_num_threads(1)
    if what == "series":
        series = random_walk(num_points, Streams(0).at("recording").numpy())
        size = (series.values.nbytes + series.times.nbytes) / 2**20
        print(json.dumps({"peak": peak_mb(), "series": size}))
        return
    started = time.perf_counter()
    data = RandomWalk(num_points=num_points, window=WINDOW).prepare(Streams(0))
    seconds, prepared = time.perf_counter() - started, peak_mb()
    count, gathering = train(data)
    found = {"prepared": prepared, "peak": peak_mb(), "seconds": seconds, "windows": count, "gathering": gathering}
    print(json.dumps(found))


def in_process(what: str, num_points: int) -> dict[str, float]:
    done = subprocess.run([sys.executable, __file__, what, str(num_points)], check=True, capture_output=True, text=True)
    found = json.loads(done.stdout)
    # a forked process begins with its parent's peak: it must not be the larger one
    assert found["peak"] > peak_mb(), (found["peak"], peak_mb())
    return found


def main() -> None:
    options = arguments(__doc__)
    large = 1_000_000 if options.quick else 10_000_000
    print(environment())
    print(f"{BATCHES} batches of {BATCH} windows of {WINDOW}; GRU, {LAYERS} layers of {HIDDEN}; MB = 2^20 bytes\n")
    rows = []
    for num_points in (100_000, large):
        base, task = in_process("series", num_points), in_process("task", num_points)
        above = task["peak"] - base["peak"]
        copied = 2 * task["windows"] * WINDOW * 4 / 2**20
        rows.append(
            [
                f"{num_points:,}",
                *(f"{x:.0f}" for x in (base["series"], base["peak"], task["prepared"], task["peak"])),
                *(f"{x:.0f}" for x in (task["prepared"] - base["peak"], above, copied)),
                f"{task['seconds']:.2f}",
                f"{1e6 * task['gathering'] / BATCHES:.0f}",
            ]
        )
    headers = ["points", "series MB", "peak, series alone", "peak, prepared", "peak, trained"]
    headers += ["prepare: above series", "all: above series", "windows if copied", "prepare s", "gather µs/batch"]
    table(headers, rows)
    verdict = "met" if above <= LIMIT_MB + BATCH_MB else "MISSED"
    print(f"limit: series + {LIMIT_MB:.0f} MB + one batch ({BATCH_MB:.2f} MB): {above:.0f} MB above the series, {verdict}")


if __name__ == "__main__":
    if len(sys.argv) == 3 and sys.argv[1] in ("series", "task"):
        child(sys.argv[1], int(sys.argv[2]))
    else:
        main()
