"""Echo state networks beside reservoirpy: Lorenz-63, dt .02, 10,000 training steps, free runs from 20 starts.

Both have the same statistics (uniform weights, ten connections a unit, spectral radius .9, input ±.5, bias ±1.5, leak 1, float64) and see
the same series, scaled alike, after the same washout. Ours chooses its ridge on 2000 steps of validation; reservoirpy is given the ridge
of its grid with the longest median valid time on the test starts themselves, over all seeds, which favours it. Valid time: first step at which the RMSE over
the three variables, each in standard deviations, exceeds .4; in Lyapunov times (.9051 per unit of time). Times are CPU seconds of one core, each the median over seeds; our fit includes choosing among five
ridges, and "one ridge" is the same work as reservoirpy's.

    OMP_NUM_THREADS=1 python benchmarks/bench_reservoir.py [--seeds 5] [--units 500 1000] [--no-peer] [--batches]

With --batches: what a step costs where several streams run at once, free-running and driven, beside the streams one by one and a dense product.
"""

import argparse
import time
from collections import deque
from collections.abc import Callable

import numpy as np
import torch

import rnnscope as rs
from rnnscope.core.forecast import ForecastData
from rnnscope.core.interfaces import Signature
from rnnscope.core.loops import identity_feedback
from rnnscope.core.random import Streams
from rnnscope.evaluation.forecasters import NetworkForecaster

TRAIN, VALIDATION, STARTS, LEADS, WASHOUT, DT, EXPONENT = 10_000, 2000, 20, 1000, 200, 0.02, 0.9051
STRENGTHS = (1e-14, 1e-13, 1e-12, 1e-10, 1e-8)
PEER_RIDGES = (1e-12, 1e-11, 1e-10, 1e-9, 1e-8)
FIELDS = {"spectral_radius": 0.9, "input_scale": 0.5, "bias_scale": 1.5, "degree": 10}


def prepared() -> ForecastData:
    points = TRAIN + VALIDATION + WASHOUT + STARTS * LEADS + LEADS
    split = rs.Split(test_steps=points - TRAIN - VALIDATION, validation=VALIDATION / (TRAIN + VALIDATION))
    data = rs.Lorenz63(duration=points * DT, protocol="stream", split=split, window=WASHOUT).prepare(Streams(0))
    assert isinstance(data, ForecastData)
    return data


def valid_times(forecasts: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Valid time of each start (B,), from scaled forecasts and truth (B, T, 3)."""
    bad = ~(np.sqrt(((forecasts - truth) ** 2).mean(2)) <= 0.4)
    return np.where(bad.any(1), bad.argmax(1), bad.shape[1]) * DT * EXPONENT


def ours(data: ForecastData, units: int, seed: int, origins: np.ndarray, truth: np.ndarray) -> tuple[float, ...]:
    """Valid time, CPU seconds to build, to fit with the grid and with one ridge, microseconds a free-running step."""
    started = time.process_time()
    model = rs.EchoState(units=units, **FIELDS).build(data.signature, torch.Generator().manual_seed(seed))
    build, fits = time.process_time() - started, []
    for strengths in (STRENGTHS[1:2], STRENGTHS):
        started = time.process_time()
        run = rs.Ridge(strengths=strengths, washout=WASHOUT).start(model, data, Streams(seed))
        deque(run, 0)
        run.finish()
        fits.append(time.process_time() - started)
    forecasts = data.representation.level(NetworkForecaster(model, data).run(0, origins, LEADS))
    valid = float(np.median(valid_times(forecasts, truth)))
    state, input, nothing = model.initial_state(1), torch.zeros(1, 3).double(), torch.zeros(1, 5000, 0).double()
    started = time.process_time()
    model.fused_closed_loop(state, input, identity_feedback(3), nothing)
    return valid, build, fits[1], fits[0], 1e6 * (time.process_time() - started) / 5000


def peer(levels: np.ndarray, units: int, seed: int, origins: np.ndarray, truth: np.ndarray) -> tuple[list[float], float, float]:
    """Valid time at each ridge of the grid, CPU seconds of one fit, microseconds a step."""
    from reservoirpy.mat_gen import uniform
    from reservoirpy.nodes import Reservoir, Ridge

    found, fits, steps = [], [], []
    for ridge in PEER_RIDGES:
        scales = {"sr": FIELDS["spectral_radius"], "input_scaling": FIELDS["input_scale"]}
        one = uniform(low=-1.0, high=1.0)
        bias = uniform(low=-FIELDS["bias_scale"], high=FIELDS["bias_scale"], connectivity=1.0)
        reservoir = Reservoir(
            units,
            lr=1.0,
            rc_connectivity=FIELDS["degree"] / units,
            input_connectivity=1.0,
            W=one,
            Win=one,
            bias=bias,
            seed=seed,
            **scales,
        )
        model = reservoir >> Ridge(ridge=ridge)
        started = time.process_time()
        model.fit(levels[:TRAIN], levels[1 : TRAIN + 1], warmup=WASHOUT)
        fits.append(time.process_time() - started)
        forecasts = []
        for origin in origins:
            model.reset()
            y = model.run(levels[origin - WASHOUT : origin])[-1]
            started, path = time.process_time(), [y]
            for _ in range(LEADS - 1):
                y = model.step(y)
                path.append(y)
            steps.append(1e6 * (time.process_time() - started) / (LEADS - 1))
            forecasts.append(np.array(path))
        found.append(float(np.median(valid_times(np.array(forecasts), truth))))
    return found, float(np.median(fits)), float(np.median(steps))


def cheapest(work: Callable[[], object], rounds: int = 3) -> float:
    """CPU seconds of the fastest of a few rounds, after one that compiles."""
    work()
    times = []
    for _ in range(rounds):
        started = time.process_time()
        work()
        times.append(time.process_time() - started)
    return min(times)


@torch.no_grad()
def batch(units: int, count: int, steps: int = 200) -> list[float]:
    """Microseconds of one stream's step: by dense products; free-running one by one and together; driven one by one and together."""
    model = rs.EchoState(units=units, **FIELDS).build(Signature(3, 3), torch.Generator().manual_seed(0))
    recurrent, drive, bias = model.recurrent_matrix().T.contiguous(), model.get_buffer("drive").T, model.get_buffer("bias")
    inputs = torch.randn(count, steps, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    state, none = model.initial_state(count), inputs[:, :, :0]

    def dense() -> None:
        now = state
        for _ in range(steps // 10):
            now = torch.tanh(now @ recurrent + model.head(now) @ drive + bias)

    def loop(rows: slice) -> None:
        model.fused_closed_loop(state[rows], inputs[rows, 0], identity_feedback(3), none[rows])

    def driven(rows: slice) -> None:
        model.carried_features(inputs[rows], state[rows])

    def both(work: Callable[[slice], None]) -> list[float]:
        return [cheapest(lambda: [work(slice(b, b + 1)) for b in range(count)]), cheapest(lambda: work(slice(None)))]

    scale = 1e6 / (steps * count)
    return [10 * scale * cheapest(dense), *(scale * seconds for work in (loop, driven) for seconds in both(work))]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--units", type=int, nargs="+", default=[500, 1000])
    parser.add_argument("--no-peer", action="store_true")
    parser.add_argument("--batches", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.batches:
        print("units  streams   µs a step and stream: dense   free one by one, together   driven one by one, together")
        for units in options.units:
            for count in (1, 4, 8, 20, 50, 100, 200):
                print(f"{units:5d}  {count:7d}   " + "   ".join(f"{t:6.1f}" for t in batch(units, count)), flush=True)
        return
    data = prepared()
    levels = data.representation.level(data.series[0].values)
    first = data.parts.tests["test"][0].start + WASHOUT
    origins = first + LEADS * np.arange(STARTS)
    truth = levels[origins[:, None] + np.arange(LEADS)]
    ours(data, 50, 0, origins, truth)  # compiles
    print("who          units  valid time (each seed)                 build s  fit s  one ridge s  µs a step")
    for units in options.units:
        rows = np.array([ours(data, units, seed, origins, truth) for seed in range(options.seeds)])
        valid, build, fit, single, step = np.median(rows, 0)
        each = " ".join(f"{v:.1f}" for v in rows[:, 0])
        print(
            f"rnnscope     {units:5d}  {valid:5.1f} ({each})   {build:.2f}   {fit:.2f}   {single:.2f}   {step:.1f}", flush=True
        )
        if options.no_peer:
            continue
        results = [peer(levels, units, seed, origins, truth) for seed in range(options.seeds)]
        times = np.array([r[0] for r in results])
        best = int(np.median(times, 0).argmax())
        each = " ".join(f"{v:.1f}" for v in times[:, best])
        fit, step = np.median([r[1] for r in results]), np.median([r[2] for r in results])
        print(
            f"reservoirpy  {units:5d}  {np.median(times[:, best]):5.1f} ({each})   ridge {PEER_RIDGES[best]:g}   {fit:.2f}   {step:.1f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
