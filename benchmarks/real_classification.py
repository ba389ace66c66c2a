"""The recipe of the preset `labelled` on four real sets of the UCR/UEA archives: test accuracy, median of five seeds.

    pip install 'rnnscope[real-data]'
    python benchmarks/real_classification.py [SET …] [--seeds 5] [--out DIR] [--data FOLDER]

The files are those that the package aeon ships; they are read where they lie, and aeon is not imported. Every set has
the same network, rates and number of epochs, and each model is the one after its last epoch. How the recipe was found, and how
often test parts were seen on the way, is told in presets/labelled.py.
"""

import argparse
import importlib.metadata
import json
import statistics
import sys
import tempfile
import time
from pathlib import Path

import rnnscope as rs

# set -> (accuracy to reach, what is published: test accuracy by whom)
SETS = {
    "ItalyPowerDemand": (0.960, "LSTM-FCN .962, InceptionTime .965, ROCKET .970"),
    "GunPoint": (0.970, "InceptionTime 1.0, ROCKET 1.0"),
    "JapaneseVowels": (0.976, "ROCKET .970"),
    "BasicMotions": (1.000, ""),
}


def data_folder() -> Path | None:
    """Where the package aeon keeps its data files; None where it is not installed."""
    try:
        files = importlib.metadata.files("aeon") or []
    except importlib.metadata.PackageNotFoundError:
        return None
    found = next((f for f in files if f.name == "GunPoint_TRAIN.ts"), None)
    return None if found is None else Path(str(found.locate())).parents[1]


def accuracy(name: str, folder: Path, seed: int, out: Path) -> tuple[float, float]:
    """Test accuracy of the recipe with one seed, and seconds of training."""
    paths = [f"task.{key}={folder / name / f'{name}_{part}.ts'}" for key, part in (("path", "TRAIN"), ("test_path", "TEST"))]
    run = rs.run("labelled", seed=seed, out=out, set=[*paths, "analyses={}", "evaluation.permutations=99"])
    own = run.metrics["models"]["gru"]
    return own["test"]["accuracy"], own["training"]["seconds"]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sets", nargs="*", default=list(SETS), help=", ".join(SETS))
    parser.add_argument("--seeds", default="5", help="how many, or a list: 0,3 or 4,")
    parser.add_argument("--out", type=Path, default=None, help="keep the run folders here")
    parser.add_argument("--data", type=Path, default=None, help="folder with <SET>/<SET>_TRAIN.ts, instead of aeon's")
    given = parser.parse_args()
    folder = given.data or data_folder()
    if folder is None:
        print("skipped: the package aeon, which ships the files, is not installed (pip install 'rnnscope[real-data]')")
        return 0
    seeds = [int(s) for s in given.seeds.split(",") if s] if "," in given.seeds else list(range(int(given.seeds)))
    with tempfile.TemporaryDirectory() as scratch:
        for name in given.sets:
            begun, found = time.perf_counter(), []
            for seed in seeds:
                found.append(accuracy(name, folder, seed, given.out or Path(scratch)))
                print(f"  {name} seed {seed}: {found[-1][0]:.4f} ({found[-1][1]:.0f} s)", flush=True)
            median = statistics.median(a for a, _ in found)
            wanted, published = SETS[name]
            row = {
                "set": name,
                "seeds": seeds,
                "accuracy": [round(a, 4) for a, _ in found],
                "median": round(median, 4),
                "wanted": wanted,
                "reached": median >= wanted,
                "published": published,
                "seconds": round(time.perf_counter() - begun, 1),
            }
            print(json.dumps(row), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
