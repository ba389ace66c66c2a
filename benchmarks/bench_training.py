"""Seconds per epoch of rnnscope's training loop against a hand-written torch loop of the same sizes.

The job is that of `job.py`. The hand loop uses nn.LSTM, nn.GRU or nn.RNN with two layers, once with torch's default Adam
and once with the fused Adam that rnnscope uses, so that the ratio to the latter is the loop alone. Neither has validation.
Before timing, one epoch of both from equal weights in equal order must give the same loss. Epochs alternate in one process.

    python benchmarks/bench_training.py [--quick] [--rounds N] [--threads N]
"""

import numpy as np
import torch
from job import BATCH, HIDDEN, LAYERS, WINDOW, HandLoop, Network, as_tensors, make_data, make_run
from measure import arguments, environment, interleave, ratio, table

from rnnscope.core.forecast import ForecastData
from rnnscope.core.random import Streams


def loss_difference(cell: str, data: ForecastData) -> float:
    """|loss of rnnscope's first epoch - loss of the hand loop's|, from the same weights and in the same order."""
    model, run = make_run(cell, data)
    inputs, targets = as_tensors(data)
    hand = HandLoop(Network(cell).copy_from(model), inputs, targets)
    order = Streams(2).at("order").numpy().permutation(np.arange(len(data.train), dtype=np.int32))
    ours = next(iter(run)).values["train_loss"]
    return abs(ours - hand.epoch(torch.from_numpy(order).long()))


def main() -> None:
    options = arguments(__doc__)
    rounds = options.rounds or (4 if options.quick else 30)
    data = make_data(192 if options.quick else 2016)
    inputs, targets = as_tensors(data)
    print(environment())
    print(f"{LAYERS} layers of {HIDDEN}, window {WINDOW}, batch {BATCH}, {len(data.train)} windows, {rounds} rounds")
    print("ms per epoch are medians; ratios are rnnscope / hand loop, median [quartiles] of the rounds' ratios")
    print("and of the fastest epochs; |Δ loss| after one epoch from equal weights in equal order\n")
    rows = []
    for cell in ("LSTM", "GRU", "tanh"):
        difference = loss_difference(cell, data)
        model, run = make_run(cell, data)
        epochs = iter(run)
        default = HandLoop(Network(cell).copy_from(model), inputs, targets)
        fused = HandLoop(Network(cell).copy_from(model), inputs, targets, fused=True)
        times = interleave(
            {"rnnscope": lambda epochs=epochs: next(epochs), "default Adam": default.epoch, "fused Adam": fused.epoch}, rounds
        )
        ours = times.pop("rnnscope")
        for name, hand in times.items():
            milliseconds = [f"{1e3 * np.median(t.wall):.1f}" for t in (ours, hand)]
            ratios = [ratio(ours.wall, hand.wall), ratio(ours.cpu, hand.cpu)]
            fastest = f"{ours.wall.min() / hand.wall.min():.3f}"
            rows.append([f"{cell}, {name}", *milliseconds, *ratios, fastest, f"{difference:.0e}"])
    table(["cell, hand loop with", "rnnscope", "hand", "ratio, wall", "ratio, CPU", "of the fastest", "|Δ loss|"], rows)
    print("goal: <= 1.03 of the hand loop")


if __name__ == "__main__":
    main()
