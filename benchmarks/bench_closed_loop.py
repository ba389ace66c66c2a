"""Closed-loop generation: rnnscope's `free_run` against the loops that one would write by hand around torch.

Two layers of 64 units and a linear readout whose output is the next input, from a state warmed up over 50 steps; untrained
weights, the same for all, float32, `torch.inference_mode`.

    rnnscope                free_run: compiled (numba) at batch 1, its loop for many streams at batch 256
    rnnscope, fused=False   free_run by the plain loop of `step`
    cells                   nn.LSTMCell, nn.GRUCell or nn.RNNCell, one a layer
    stateful layer          nn.LSTM, nn.GRU or nn.RNN called on sequences of one step, its state handed on
    windows re-run          the last 50 inputs from the zero state at each step (what windowed forecasters do); another
                            quantity, so that its numbers are not compared, and fewer steps are run

The compile time is taken apart, in fresh processes: a first call without numba's cache on disk, with it, and a second call.
Equality is checked in a loop with a random drive (x' = y + e), which keeps the state moving: a free network of untrained
weights soon rests at a fixed point, where all agree.

    python benchmarks/bench_closed_loop.py [--quick] [--rounds N] [--threads N]
"""

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable

import numpy as np
import torch
from job import HIDDEN, LAYER_KINDS, LAYERS, SPECS, WINDOW, Network
from measure import Times, arguments, environment, interleave, ratio, table
from torch import Tensor, nn

import rnnscope as rs
from rnnscope.core.interfaces import Signature
from rnnscope.core.loops import identity_feedback
from rnnscope.core.random import Streams
from rnnscope.models.recurrent_systems import RecurrentSystem

CELL_KINDS = {"LSTM": nn.LSTMCell, "GRU": nn.GRUCell, "tanh": nn.RNNCell}
GAINS = {"LSTM": 3.0, "GRU": 2.0, "tanh": 1.5}
GOALS = {1: 25.0, 256: 350.0}

# a loop takes the drive e (B, N, 1), or None for none, and the number of steps N, and returns outputs (B, N, 1)
Loop = Callable[[Tensor | None, int], Tensor]


def make_system(cell: str) -> RecurrentSystem:
    """Weights a few times torch's initial ones: outputs of some size, and no chaos, which would amplify rounding."""
    system = SPECS[cell](hidden_size=HIDDEN, num_layers=LAYERS).build(Signature(1, 1), Streams(0).torch())
    with torch.no_grad():
        for parameter in system.parameters():
            parameter *= GAINS[cell]
    return system.eval()


class Start:
    """A network and the state and input from which every loop starts."""

    def __init__(self, cell: str, batch: int) -> None:
        self.cell, self.batch = cell, batch
        self.system = make_system(cell)
        self.context = torch.randn(batch, WINDOW, 1, generator=Streams(1).torch())
        with torch.inference_mode():
            self.state = rs.rollout(self.system, self.context, keep_states=False).final_state

    def layer_states(self) -> list[tuple[Tensor, ...]]:
        """Per layer (h, c) or (h,)."""
        return [part.split(HIDDEN, -1) for part in self.state.split(self.state.shape[1] // LAYERS, -1)]


def rnnscope_loop(start: Start, fused: bool) -> Loop:
    free, driven = identity_feedback(1), identity_feedback(1)
    driven = rs.AffineFeedback(driven.carry, driven.from_output, torch.ones(1, 1, dtype=torch.float64))

    def loop(drive: Tensor | None, steps: int) -> Tensor:
        outside = torch.empty(start.batch, steps, 0) if drive is None else drive
        feedback = free if drive is None else driven
        return rs.free_run(start.system, start.state, start.context[:, -1], feedback, outside, fused=fused)[:, 1:]

    return loop


def cell_loop(start: Start) -> Loop:
    network = Network(start.cell).copy_from(start.system)
    cells = []
    for index in range(LAYERS):
        cell = CELL_KINDS[start.cell](1 if index == 0 else HIDDEN, HIDDEN)
        with torch.no_grad():
            for name, parameter in cell.named_parameters():
                parameter.copy_(getattr(network.recurrent, f"{name}_l{index}"))
        cells.append(cell)
    lstm = start.cell == "LSTM"

    def loop(drive: Tensor | None, steps: int) -> Tensor:
        states = start.layer_states()
        states = states if lstm else [s[0] for s in states]
        output = network.readout(states[-1][0] if lstm else states[-1])
        found = []
        for t in range(steps):
            below = output if drive is None else output + drive[:, t]
            for index, cell in enumerate(cells):
                states[index] = cell(below, states[index])
                below = states[index][0] if lstm else states[index]
            output = network.readout(below)
            found.append(output)
        return torch.stack(found, 1)

    return loop


def layer_loop(start: Start) -> Loop:
    network = Network(start.cell).copy_from(start.system)
    lstm = start.cell == "LSTM"

    def loop(drive: Tensor | None, steps: int) -> Tensor:
        parts = tuple(torch.stack(part) for part in zip(*start.layer_states(), strict=True))
        state = parts if lstm else parts[0]
        output = network.readout(parts[0][-1])[:, None]
        found = []
        for t in range(steps):
            top, state = network.recurrent(output if drive is None else output + drive[:, t : t + 1], state)
            output = network.readout(top)
            found.append(output)
        return torch.cat(found, 1)

    return loop


def window_loop(start: Start) -> Loop:
    network = Network(start.cell).copy_from(start.system)

    def loop(drive: Tensor | None, steps: int) -> Tensor:
        assert drive is None
        window, found = start.context, []
        for _ in range(steps):
            output = network(window)
            window = torch.cat([window[:, 1:], output[:, None]], 1)
            found.append(output)
        return torch.stack(found, 1)

    return loop


def loops(start: Start) -> dict[str, Loop]:
    return {
        "rnnscope": rnnscope_loop(start, True),
        "rnnscope, fused=False": rnnscope_loop(start, False),
        "cells": cell_loop(start),
        "stateful layer": layer_loop(start),
        "windows re-run": window_loop(start),
    }


@torch.inference_mode()
def differences(start: Start, steps: int) -> dict[str, float]:
    """Largest difference from rnnscope's step loop in float64 over driven steps."""
    drive = torch.randn(start.batch, steps, 1, generator=Streams(2).torch())
    feedback = rs.AffineFeedback(*(torch.full((1, 1), x, dtype=torch.float64) for x in (0.0, 1.0, 1.0)))
    exact = make_system(start.cell).double()
    state = start.state.double()
    reference = rs.free_run(exact, state, start.context[:, -1].double(), feedback, drive.double(), fused=False)[:, 1:]
    assert reference.std() > 1e-2, reference.std()
    found = {}
    for name, loop in loops(start).items():
        found[name] = float("nan") if name == "windows re-run" else float((loop(drive, steps) - reference).abs().max())
    return found


@torch.inference_mode()
def speed(start: Start, steps: dict[str, int], rounds: int) -> dict[str, Times]:
    """Seconds a step of each loop, free running."""
    actions = {name: lambda f=f, n=steps[name]: f(None, n) for name, f in loops(start).items()}
    times = interleave(actions, rounds)
    return {name: t.per(steps[name]) for name, t in times.items()}


FIRST_CALLS = """
import sys, time, torch
sys.path.insert(0, sys.argv[1])
torch.set_num_threads(1)
from bench_closed_loop import Start, rnnscope_loop
loop = rnnscope_loop(Start(sys.argv[2], 1), True)
for _ in range(2):
    started = time.perf_counter()
    with torch.inference_mode():
        loop(None, 10_000)
    print(time.perf_counter() - started)
"""


def first_calls(cell: str, cache: str) -> tuple[float, float]:
    """Seconds of the first and the second call in a fresh process with numba's cache in this folder."""
    command = [sys.executable, "-c", FIRST_CALLS, os.path.dirname(os.path.abspath(__file__)), cell]
    done = subprocess.run(command, env={**os.environ, "NUMBA_CACHE_DIR": cache}, check=True, capture_output=True, text=True)
    first, second = map(float, done.stdout.split())
    return first, second


def print_compile_times() -> None:
    rows = []
    for cell in LAYER_KINDS:
        with tempfile.TemporaryDirectory() as cache:
            compiled, _ = first_calls(cell, cache)
            loaded, again = first_calls(cell, cache)
        rows.append(
            [cell, f"{compiled:.2f}", f"{loaded:.2f}", f"{again:.3f}", f"{compiled - again:.2f}", f"{loaded - again:.2f}"]
        )
    print("free_run of 10,000 steps at batch 1, seconds: compile time apart")
    headers = ["cell", "1st call, no cache", "1st call, cached", "2nd call", "compiling", "loading the cache"]
    table(headers, rows)


def main() -> None:
    options = arguments(__doc__)
    rounds = options.rounds or (2 if options.quick else 6)
    print(environment("numba"))
    print(f"{LAYERS} layers of {HIDDEN}; {rounds} rounds; medians; ratios: median [quartiles] of the rounds' ratios\n")
    print_compile_times()
    for batch, long in ((1, 10_000), (256, 1_000)):
        long = 200 if options.quick else long
        for cell in LAYER_KINDS:
            start = Start(cell, batch)
            steps = dict.fromkeys(loops(start), long)
            steps["windows re-run"] = max(20, long // (20 if batch == 1 else 50))
            apart = differences(start, min(long, 2_000))
            times = speed(start, steps, rounds)
            rows = []
            for name, t in times.items():
                microseconds = f"{1e6 * np.median(t.wall):.1f}"
                ratios = [ratio(t.wall, times["rnnscope"].wall), ratio(t.cpu, times["rnnscope"].cpu)]
                rows.append([name, microseconds, *ratios, f"{apart[name]:.0e}", str(steps[name])])
            print(f"{cell}, batch {batch} (goal: <= {GOALS[batch]:g} µs a step of the whole batch)")
            headers = ["", "µs/step", "to rnnscope, wall", "to rnnscope, CPU", "max |Δ| to float64", "steps"]
            table(headers, rows)


if __name__ == "__main__":
    main()
