"""The recommended recipe on real data, where the package that ships them is installed (`pip install 'rnnscope[real-data]'`)."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

import rnnscope as rs
from rnnscope.core.random import Streams


def benchmark() -> ModuleType:
    spec = importlib.util.spec_from_file_location(
        "real_classification", Path(__file__).parent.parent / "benchmarks" / "real_classification.py"
    )
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


BENCHMARK = benchmark()
FOLDER = BENCHMARK.data_folder()
with_data = pytest.mark.skipif(FOLDER is None, reason="the package aeon, which ships the files, is not installed")


@with_data
@pytest.mark.parametrize(
    ("name", "sequences", "features", "steps", "classes"),
    [
        ("ItalyPowerDemand", 67, 1, 24, 2),
        ("GunPoint", 50, 1, 150, 2),
        ("JapaneseVowels", 270, 12, 26, 9),
        ("BasicMotions", 40, 6, 100, 4),
        ("PickupGestureWiimoteZ", 50, 1, 361, 10),
    ],
)
def test_archive_files_are_read_whole(name, sequences, features, steps, classes):
    file = FOLDER / name / f"{name}_TRAIN.ts"
    data = rs.Labelled(path=str(file), test_path=str(file)).prepare(Streams(0))
    assert data.train.inputs.shape == (sequences, steps, features)
    assert len(data.class_names) == classes


@with_data
def test_reading_needs_no_foreign_package():
    file = FOLDER / "GunPoint" / "GunPoint_TRAIN.ts"
    rs.Labelled(path=str(file)).prepare(Streams(0))
    assert "aeon" not in sys.modules


@with_data
@pytest.mark.slow
@pytest.mark.parametrize("name", list(BENCHMARK.SETS))
def test_the_recipe_reaches_its_accuracy(name, tmp_path):
    found = sorted(BENCHMARK.accuracy(name, FOLDER, seed, tmp_path)[0] for seed in range(5))
    assert found[2] >= BENCHMARK.SETS[name][0]


def test_without_the_package_the_benchmark_says_so_and_ends_well(monkeypatch, capsys):
    monkeypatch.setattr(BENCHMARK, "data_folder", lambda: None)
    monkeypatch.setattr(sys, "argv", ["real_classification.py"])
    assert BENCHMARK.main() == 0
    assert "rnnscope[real-data]" in capsys.readouterr().out
