"""A tiny experiment, quick ways to run it, and readers of what it left on disk."""

import json
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from typer.testing import CliRunner

import rnnscope as rs
from rnnscope.cli import app
from rnnscope.core.forecast import ForecastData
from rnnscope.core.random import Streams
from rnnscope.core.series import Series
from rnnscope.core.tables import Figure
from rnnscope.evaluation.forecast_figures import forecast_figures
from rnnscope.plotting import render
from rnnscope.tasks.forecasting import ForecastTask, Recording, assemble

BLANK_SVG = b'<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"><g id="blank"/></svg>'


def tiny(**changes: Any) -> rs.Experiment:
    """An experiment that trains in a blink: 120 points of a noisy sine, windows of 10, a GRU of four units, two epochs."""
    parts: dict[str, Any] = {
        "name": "tiny",
        "task": rs.Oscillation(num_points=120, duration=25.0, noise_sd=0.05, window=10),
        "models": {"gru": rs.GRU(hidden_size=4, num_layers=1)},
        "trainer": rs.BPTT(epochs=2),
        "evaluation": rs.Forecasting(lead_times=5, origins=4),
    }
    return rs.Experiment(**{**parts, **changes})


@contextmanager
def without_drawing(composed: bool = False) -> Iterator[None]:
    """Runs with blank figures: drawing takes nine tenths of a tiny run. `composed` still builds every figure."""

    def blank(*arguments: Any) -> Iterator[Figure]:
        yield Figure("sheet", "A blank sheet.", None)

    with pytest.MonkeyPatch.context() as patch:
        for module in ("rnnscope.runs.writers", "rnnscope.comparison"):
            patch.setattr(f"{module}.render", lambda figure, kind: BLANK_SVG)
        if not composed:
            patch.setattr("rnnscope.evaluation.forecasting.forecast_figures", blank)
        yield


@contextmanager
def with_drawing(*kinds: str) -> Iterator[None]:
    """Real figures, also inside `without_drawing`; of these kinds only, where kinds are given."""

    def draw(figure: Any, kind: str) -> bytes:
        return render(figure, kind) if not kinds or kind in kinds else BLANK_SVG

    with pytest.MonkeyPatch.context() as patch:
        for module in ("rnnscope.runs.writers", "rnnscope.comparison"):
            patch.setattr(f"{module}.render", draw)
        patch.setattr("rnnscope.evaluation.forecasting.forecast_figures", forecast_figures)
        yield


def run_tiny(out: Path, *, composed: bool = False, **changes: Any) -> rs.Run:
    """A finished tiny run with blank figures."""
    with without_drawing(composed):
        return rs.run(tiny(**changes), out=out)


def prepare(task: ForecastTask, *series: Series, seed: int = 0, **more: Any) -> ForecastData:
    """Data from series given in memory, split and scaled as the task says."""
    return assemble(task, Recording(list(series), **more), Streams(seed))


def build(spec: Any, data: ForecastData, seed: int = 0) -> Any:
    """A freshly initialised network for these data."""
    return spec.build(data.signature, torch.Generator().manual_seed(seed)).eval()


def series_of(values: Any, covariates: Any = None, times: Any = None, name: str = "series") -> Series:
    """A series from plain arrays; one-dimensional values become one column."""
    columns = np.asarray(values, np.float64).reshape(len(values), -1)
    known = np.empty((len(columns), 0)) if covariates is None else np.asarray(covariates, np.float64).reshape(len(columns), -1)
    return Series(
        columns,
        known,
        np.arange(len(columns), dtype=np.float64) if times is None else times,
        name,
        tuple(f"x{i + 1}" for i in range(columns.shape[1])),
        tuple(f"e{i + 1}" for i in range(known.shape[1])),
    )


# the command line


@dataclass(frozen=True)
class Answer:
    """What a command printed and how it ended. `crash` is an exception that was not answered with a message."""

    code: int
    out: str
    err: str
    crash: BaseException | None


def cli(*arguments: Any) -> Answer:
    """Run the command line in this process."""
    result = CliRunner().invoke(app, [str(a) for a in arguments])
    crash = result.exception if result.exception is not None and not isinstance(result.exception, SystemExit) else None
    return Answer(result.exit_code, result.stdout, result.stderr, crash)


def succeeds(*arguments: Any) -> Answer:
    """Run the command line, which must end well."""
    answer = cli(*arguments)
    if answer.crash is not None:
        raise answer.crash
    assert answer.code == 0, answer.err
    return answer


def run_folders(out: Path) -> list[Path]:
    """The run folders in a folder, oldest name first."""
    return sorted(p for p in out.iterdir() if p.is_dir()) if out.is_dir() else []


def unfinished(out: Path) -> list[str]:
    """What a failed command should not have left behind: temporary files, and folders that do not say that they failed."""
    if not out.is_dir():
        return []
    found = [str(p) for p in out.rglob("*") if p.name.endswith(".tmp") or ".tmp." in p.name]
    for folder in run_folders(out):
        status = folder / "status.json"
        state = json.loads(status.read_text())["state"] if status.is_file() else "no status"
        if state not in ("failed", "done"):
            found.append(f"{folder}: {state}")
    return found


# files


def write_yaml(path: Path, experiment: rs.Experiment | None = None) -> Path:
    """A YAML file of a (tiny) experiment."""
    path.write_text((experiment or tiny()).yaml(), encoding="utf-8")
    return path


def write_csv(path: Path, **columns: Any) -> Path:
    """A CSV file of columns."""
    pd.DataFrame(columns).to_csv(path, index=False)
    return path


def wave(steps: int = 120) -> np.ndarray:
    """A series that varies and is no exact recurrence: two frequencies and a little fixed noise, around 3."""
    t = np.arange(steps)
    return 3 + np.sin(0.31 * t) + 0.4 * np.cos(0.083 * t) + 0.1 * np.random.default_rng(7).standard_normal(steps)


def strict_json(path: Path) -> Any:
    """JSON without NaN and infinities, which JSON does not have."""

    def refuse(word: str) -> Any:
        raise AssertionError(f"{path} holds {word}")

    return json.loads(path.read_text(encoding="utf-8"), parse_constant=refuse)


def png_size(content: bytes) -> tuple[int, int]:
    """Width and height of a PNG."""
    assert content[:8] == b"\x89PNG\r\n\x1a\n"
    width, height = struct.unpack(">II", content[16:24])
    return width, height
