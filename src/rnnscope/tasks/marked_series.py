"""Series for detection: draws among which something may have emerged, planted anomalies, and one's own files."""

import itertools
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from pydantic import Field

from rnnscope.core.errors import ConfigError, DataError, nearest
from rnnscope.core.interfaces import TaskSpec
from rnnscope.core.marked_series import FEWEST, MarkedData, marked_series
from rnnscope.core.random import Streams
from rnnscope.core.spec import FilePath, NonNegative, NonNegativeFloat, Positive, PositiveFloat
from rnnscope.tasks.table import numeric, read_table, require_column

CalibrationShare = Annotated[float, Field(gt=0.0, lt=1.0)]


class Emergence(TaskSpec):
    """Independent draws of N(mean, sd²), some of them, if asked for, shifted: is any value more than chance?

    Fields:
        num_draws: at least 8. mean, sd: of the draws. num_planted: values that are shifted by `shift` standard deviations, up or down
            with equal odds; with 0 there is nothing to find, and every alarm is a false one.
        window: of a forecaster, should one be trained on the draws.
    """

    num_draws: Annotated[int, Field(ge=FEWEST)] = 1000
    mean: float = 50.0
    sd: PositiveFloat = 5.0
    num_planted: NonNegative = 0
    shift: PositiveFloat = 6.0
    window: Positive = 20

    def model_post_init(self, context: Any) -> None:
        if self.num_planted > self.num_draws // 2:
            raise ConfigError(
                f"num_planted is {self.num_planted} of {self.num_draws} draws",
                f"at most half, {self.num_draws // 2}",
                "give task.num_planted such a value",
            )

    def prepare(self, streams: Streams) -> MarkedData:
        rng = streams.at("data").numpy()
        values = rng.normal(self.mean, self.sd, self.num_draws)
        marks = None
        if self.num_planted:
            marks = np.zeros(self.num_draws, bool)
            marks[rng.choice(self.num_draws, self.num_planted, replace=False)] = True
            values[marks] += self.shift * self.sd * rng.choice([-1.0, 1.0], self.num_planted)
        rule = f"{self.num_draws} independent draws of N({self.mean:g}, {self.sd:g}²)"
        if self.num_planted:
            rule += f", {self.num_planted} of them shifted by {self.shift:g} standard deviations"
        series = marked_series(values, marks, names=("value",), ordered=False)
        return MarkedData(series, self.window, rule)


class PlantedAnomalies(TaskSpec):
    """A simulated seasonal series in which some stretches are wrong: a demonstration whose truth is known.

    Two harmonics and an amplitude that wanders, with noise. The anomalies take turns: a single spike, half a period held flat, half a
    period of double speed, a missing second harmonic for a period, a shifted level for half a period.

    Fields:
        num_steps: T, at least 20 periods. period: steps, at least 8. noise_sd: of Gaussian noise; the first harmonic has amplitude 1.
        num_anomalies: after the training part, evenly spaced with random places.
        train_until: first steps, without anomalies. calibration: share of them kept for thresholds. window: of a forecaster's
            training windows, in steps.
    """

    num_steps: Positive = 4000
    period: Annotated[int, Field(ge=8)] = 50
    noise_sd: NonNegativeFloat = 0.1
    num_anomalies: Positive = 10
    train_until: Positive = 1500
    calibration: CalibrationShare = 0.3
    window: Positive = 100

    def model_post_init(self, context: Any) -> None:
        room = (self.num_steps - self.train_until) // self.num_anomalies
        if room < 3 * self.period:
            raise ConfigError(
                f"num_anomalies is {self.num_anomalies} in {self.num_steps - self.train_until} steps after the training part",
                f"at least three periods ({3 * self.period} steps) for each",
                "give task.num_anomalies a smaller value, or task.num_steps a larger one",
            )

    def prepare(self, streams: Streams) -> MarkedData:
        rng = streams.at("data").numpy()
        phase = 2 * np.pi * np.arange(self.num_steps) / self.period
        wander = 1 + 0.1 * np.sin(phase / 7.3 + rng.uniform(0, 2 * np.pi))
        second = 0.5 * np.ones(self.num_steps)
        marks = np.zeros(self.num_steps, bool)
        edges = np.linspace(self.train_until, self.num_steps, self.num_anomalies + 1).astype(int)
        level = np.zeros(self.num_steps)
        held: list[tuple[int, int]] = []
        for number, (a, b) in enumerate(itertools.pairwise(edges)):
            kind = number % 5
            length = (1, self.period // 2, self.period // 2, self.period, self.period // 2)[kind]
            start = int(rng.integers(a + self.period // 2, b - length - self.period // 2))
            stretch = slice(start, start + length)
            marks[stretch] = True
            if kind == 0:
                level[stretch] = rng.choice([-1.2, 1.2])
            elif kind == 1:
                held.append((start, start + length))
            elif kind == 2:
                phase[stretch] += 2 * np.pi * np.arange(length) / self.period
            elif kind == 3:
                second[stretch] = 0.0
            else:
                level[stretch] = rng.choice([-0.7, 0.7])
        values = wander * np.sin(phase) + second * np.sin(2 * phase + 1) + level
        for start, stop in held:
            values[start:stop] = values[start]
        values += self.noise_sd * rng.standard_normal(self.num_steps)
        series = marked_series(values, marks, train_until=self.train_until, calibration=self.calibration, names=("signal",))
        rule = f"{self.num_anomalies} planted stretches: spikes, flat pieces, double speed, a missing harmonic, shifted levels"
        return MarkedData(series, self.window, rule, self.period)


class MarkedFile(TaskSpec):
    """A series of one's own, with a column that marks anomalies where they are known.

    Fields:
        path: CSV/TSV (header line), Parquet, NPY or NPZ, kept as an absolute path. column: one column of values or several; the only
            numeric one beside label and time when not given. label: column of marks, 0 or 1. time: column that orders the steps,
            only shown.
        train_until: number of first steps that are known to be normal; 0: none, detectors learn from the whole series.
        calibration: share of them, the last, that thresholds are set by. window: of a forecaster's training windows.
    """

    path: FilePath = ""
    column: str | tuple[str, ...] = ""
    label: str = ""
    time: str = ""
    train_until: NonNegative = 0
    calibration: CalibrationShare = 0.3
    window: Positive = 100

    def prepare(self, streams: Streams) -> MarkedData:
        frame = read_table(self.path)
        source = Path(self.path).name
        wanted = (self.column,) if isinstance(self.column, str) and self.column else tuple(self.column)
        for name in (*wanted, *([self.label] if self.label else []), *([self.time] if self.time else [])):
            require_column(frame, name, source)
        free = [str(c) for c in frame.columns if str(c) not in (self.label, self.time) and frame[c].dtype.kind in "iufb"]
        if not wanted and len(free) != 1:
            close = nearest("value", free) or (free[0] if free else "")
            raise ConfigError(
                f"{source} has {len(free)} columns of numbers: {', '.join(free) or 'none'}",
                "one, or the name of the one to look at",
                f"set task.column (--column){f', e.g. {close}' if close else ''}",
            )
        columns = wanted or tuple(free)
        values = np.stack([numeric(frame[c], c, source) for c in columns], 1)
        marks = numeric(frame[self.label], self.label, source) if self.label else None
        times = frame[self.time].to_numpy() if self.time else None
        if len(frame) < FEWEST:
            raise DataError(f"{source} has {len(frame)} rows", f"at least {FEWEST}", "give a longer series")
        series = marked_series(
            values, marks, train_until=self.train_until, calibration=self.calibration, times=times, names=columns
        )
        rule = f"column '{self.label}' of {source}" if self.label else f"{source}; anomalies, if any, are not marked"
        return MarkedData(series, self.window, rule)
