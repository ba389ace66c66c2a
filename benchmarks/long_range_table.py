"""The adding problem by length and way of training: test errors, seed by seed, and the length at which each way fails.

Results are appended to a JSON file, one row per method, length and seed, so that the job can be stopped and gone on with:

    OMP_NUM_THREADS=1 python benchmarks/long_range_table.py table.json --methods lstm gru --lengths 50 100 200 400 --seeds 0 1 2 3 4
    python benchmarks/long_range_table.py table.json --show

The trivial answer, the constant 1, has the error 1/6 = 0.167. A run has solved the task with a test error of at most 0.01; training ends
early when the validation error is half of that, else with the epochs of the preset. Times are CPU seconds of one thread.
"""

import argparse
import json
import time
from pathlib import Path

import numpy as np
import torch

import rnnscope as rs
from rnnscope.core.interfaces import ModelSpec, TrainerSpec
from rnnscope.core.random import Streams
from rnnscope.evaluation.steps import Steps
from rnnscope.presets.long_range import four_ways

SOLVED, ENOUGH = 0.01, 0.005


def method(name: str, length: int) -> tuple[ModelSpec, TrainerSpec]:
    """Model and trainer of a method, as in the preset four-ways, but for the gates' start, which depends on the length."""
    adding = four_ways()[0]
    model = adding.models[name]
    return (model.but(chrono=length) if name in ("lstm", "gru") else model), adding.trainer_of(name)


def measure(name: str, length: int, seed: int) -> dict[str, object]:
    """Train one network and score it."""
    streams = Streams(seed)
    data = rs.Adding(length=length, num_longer=0).prepare(streams)
    spec, trainer = method(name, length)
    model = spec.build(data.signature, streams.at("init", name, 0).torch())
    begun = time.process_time()
    error, steps, run = "", 0, trainer.start(model, data, streams.at("training", name, 0))
    try:
        for record in run:
            steps = record.epoch
            if record.values.get("validation_loss", np.inf) <= ENOUGH:
                break
    except rs.TrainingError as failed:
        error = failed.found
    run.finish()
    spent = time.process_time() - begun
    mse = Steps().score(model, data, streams).scores["test"]["mse"]
    return {
        "method": name,
        "length": length,
        "seed": seed,
        "mse": mse,
        "steps": steps,
        "cpu_s": round(spent, 1),
        "error": error,
    }


def table(rows: list[dict]) -> str:
    """Median test error, how many seeds solved the task, and CPU seconds, by method and length, as Markdown."""
    lengths = sorted({row["length"] for row in rows})
    lines = ["| method | " + " | ".join(f"T = {t}" for t in lengths) + " |", "|---" * (len(lengths) + 1) + "|"]
    for name in dict.fromkeys(row["method"] for row in rows):
        cells = []
        for length in lengths:
            found = [r for r in rows if (r["method"], r["length"]) == (name, length)]
            errors = [r["mse"] for r in found]
            solved = sum(e <= SOLVED for e in errors)
            seconds = np.median([r["cpu_s"] for r in found]) if found else 0
            cells.append(f"{np.median(errors):.2g} ({solved}/{len(found)}, {seconds:.0f} s)" if found else "–")
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> None:
    """Go through methods, lengths and seeds that the file does not hold yet."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path)
    parser.add_argument("--methods", nargs="+", default=list(four_ways()[0].models))
    parser.add_argument("--lengths", nargs="+", type=int, default=[50, 100, 200, 400])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2, 3, 4])
    parser.add_argument("--show", action="store_true", help="print the table of what is measured, and nothing else")
    options = parser.parse_args()
    torch.set_num_threads(1)
    rows = json.loads(options.file.read_text()) if options.file.is_file() else []
    if not options.show:
        for length in options.lengths:
            for seed in options.seeds:
                for name in options.methods:
                    if any((r["method"], r["length"], r["seed"]) == (name, length, seed) for r in rows):
                        continue
                    rows.append(measure(name, length, seed))
                    options.file.write_text(json.dumps(rows, indent=1))
                    print(rows[-1], flush=True)
    print(table(rows))


if __name__ == "__main__":
    main()
