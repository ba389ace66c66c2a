"""What the benchmark scripts share: interleaved timing, ratios of neighbours, a plain table, versions.

Contestants take turns within a round, and the order turns round from one round to the next, so that a slow spell of the
machine hits all of them. A ratio is taken within each round; its median and quartiles over the rounds are reported.
"""

import argparse
import gc
import importlib.metadata
import os
import platform
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch


@dataclass(frozen=True)
class Times:
    """Seconds of one contestant, one number a round: on the clock, and of this process's CPU."""

    wall: np.ndarray
    cpu: np.ndarray

    def per(self, units: float) -> "Times":
        """The same per unit of work."""
        return Times(self.wall / units, self.cpu / units)


def arguments(description: str) -> argparse.Namespace:
    """The command line of every script: --quick and --threads; sets torch's threads."""
    parser = argparse.ArgumentParser(description=description.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="small sizes and few rounds: does the script run?")
    parser.add_argument("--threads", type=int, default=1, help="torch threads (default 1)")
    parser.add_argument("--rounds", type=int, default=None, help="rounds, instead of the script's own number")
    parsed = parser.parse_args()
    torch.set_num_threads(parsed.threads)
    return parsed


def clock(action: Callable[[], object]) -> tuple[float, float]:
    """Wall and CPU seconds of one call."""
    gc.collect()
    wall, cpu = time.perf_counter(), time.process_time()
    action()
    return time.perf_counter() - wall, time.process_time() - cpu


def turns(names: Sequence[str], round_number: int) -> list[str]:
    """The order of one round: rotated, and every second one reversed, so that each follows each."""
    shift = (round_number // 2) % len(names)
    order = [*names[shift:], *names[:shift]]
    return order[::-1] if round_number % 2 else order


def interleave(contestants: dict[str, Callable[[], object]], rounds: int, warmup: int = 1) -> dict[str, Times]:
    """Time each contestant once a round, after `warmup` rounds that are not counted."""
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in contestants}
    for number in range(-warmup, rounds):
        for name in turns(list(contestants), number % (2 * len(contestants))):
            seconds = clock(contestants[name])
            if number >= 0:
                found[name].append(seconds)
    return {name: Times(*np.array(pairs).T) for name, pairs in found.items()}


def ratio(ours: np.ndarray, theirs: np.ndarray) -> str:
    """Median of ours/theirs over the rounds, with its quartiles."""
    low, middle, high = np.percentile(ours / theirs, [25, 50, 75])
    return f"{middle:.3f} [{low:.3f}, {high:.3f}]"


def table(headers: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print left-aligned names and right-aligned numbers."""
    widths = [max(len(row[i]) for row in (headers, *rows)) for i in range(len(headers))]
    for row in (headers, ["-" * w for w in widths], *rows):
        print("  ".join(c.ljust(w) if i == 0 else c.rjust(w) for i, (c, w) in enumerate(zip(row, widths, strict=True))))
    print(flush=True)


def environment(*packages: str) -> str:
    """Machine, threads, versions in one line."""
    versions = []
    for name in ("rnnscope", "torch", "numpy", *packages):
        try:
            versions.append(f"{name} {importlib.metadata.version(name)}")
        except importlib.metadata.PackageNotFoundError:
            versions.append(f"{name} -")
    return f"{_processor()}, {os.cpu_count()} cores; torch threads {torch.get_num_threads()}; " + ", ".join(
        [f"Python {platform.python_version()}", *versions]
    )


def _processor() -> str:
    try:
        with open("/proc/cpuinfo") as file:
            names = [line.partition(":")[2].strip() for line in file if line.startswith("model name")]
    except OSError:
        names = []
    return names[0] if names else platform.processor() or "unknown processor"
