"""What every forecasting task shares: windows, split, scaling, target, head."""

from abc import abstractmethod
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from rnnscope.core.errors import DataError
from rnnscope.core.forecast import ForecastData, Parts, encode
from rnnscope.core.interfaces import TaskSpec
from rnnscope.core.random import Streams
from rnnscope.core.series import Scaling, Series, Span, Transform, fit_representation
from rnnscope.core.spec import Positive
from rnnscope.tasks.split import Split


@dataclass(frozen=True)
class Recording:
    """What a task generated or read.

    Attributes:
        series: to be split into training and test. training_only: further series for training alone, used up to the step
            where the training part of the first ones ends.
        unseen: whole series of which training sees nothing, as further test sets.
        sampling_interval: time per step. noise_sd: of the observation noise, where known. season: steps per period.
        unit: of the values. time_label: of the time axis. notes: sentences for the data report.
    """

    series: list[Series]
    training_only: list[Series] = field(default_factory=list)
    unseen: dict[str, list[Series]] = field(default_factory=dict)
    sampling_interval: float | None = None
    noise_sd: float | None = None
    season: int | None = None
    unit: str = ""
    time_label: str = "time"
    notes: tuple[str, ...] = ()


class ForecastTask(TaskSpec):
    """Predict the next values of a series from its past.

    Fields:
        window: inputs per training window, in steps. horizon: steps predicted at once. stride: steps between windows.
        split: which targets train, validate, calibrate and test.
        transform: applied before scaling: none, sqrt or log1p. scaling: standard, minmax or none, fitted on the training part.
        differences: 0: the network predicts the next value; 1, 2: its first or second difference, and forecasts integrate.
        covariates_ahead: covariates are known for the step that is forecast (else for the present step only).
        head: `point`, or `gaussian` (mean and standard deviation, trained by likelihood).
        protocol: `windows`: each window starts from the initial state, in training and in scoring; `stream`: the state is
            carried along the series, in scoring and, with trainer.carry_state, in training.
    """

    window: Positive = 50
    horizon: Positive = 1
    stride: Positive = 1
    split: Split = Split()
    transform: Transform = "none"
    scaling: Scaling = "standard"
    differences: Literal[0, 1, 2] = 0
    covariates_ahead: bool = True
    head: Literal["point", "gaussian"] = "point"
    protocol: Literal["windows", "stream"] = "windows"

    @abstractmethod
    def record(self, rng: np.random.Generator) -> Recording:
        """Generate or read the series."""

    def prepare(self, streams: Streams) -> ForecastData:
        recording = self.record(streams.at("recording").numpy())
        return assemble(self, recording, streams)


def assemble(task: ForecastTask, recording: Recording, streams: Streams) -> ForecastData:
    """Split, scale on the training part, encode."""
    for series in (*recording.series, *recording.training_only):
        check_finite(series, fills="missing" in type(task).model_fields)
    seed = int(streams.at("split").numpy().integers(2**31))
    parts = task.split.parts(recording.series, task.window, task.horizon, seed)
    everything = [*recording.series]
    seen = max(span.stop for span in parts.train)
    extra = tuple(Span(len(everything) + i, 0, min(seen, len(s))) for i, s in enumerate(recording.training_only))
    everything += recording.training_only
    tests = dict(parts.tests)
    for name, unseen in recording.unseen.items():
        tests[name] = tuple(Span(len(everything) + i, task.window, len(s)) for i, s in enumerate(unseen))
        everything += unseen
    parts = Parts(parts.train + extra, parts.validation, parts.calibration, tests, parts.leaky_seed, parts.leaky_share)
    representation = fit_representation(
        everything,
        list(parts.train),
        transform=task.transform,
        scaling=task.scaling,
        differences=task.differences,
        horizon=task.horizon,
        ahead=task.covariates_ahead,
        gaussian=task.head == "gaussian",
    )
    notes = recording.notes
    if task.split.kind == "leaky":
        notes = (
            *notes,
            "LEAKY SPLIT, a demonstration: overlapping windows are drawn at random and scaling sees the whole series; "
            "one-step scores on its 'test' part are not scores on unseen data.",
        )
    data = ForecastData(
        tuple(everything),
        parts,
        representation,
        task.window,
        task.stride,
        task.protocol,
        encode(tuple(everything), representation),
        recording.sampling_interval,
        recording.unit,
        recording.season,
        notes,
        recording.noise_sd,
        recording.time_label,
    )
    if len(data.train) < 1:
        raise DataError("the training part holds no window", "at least one window and its targets", "set task.window smaller")
    return data


def check_finite(series: Series, *, fills: bool) -> None:
    """Raise `DataError` at the first value that is NaN or infinite; `fills`: whether the task has a policy for missing ones."""
    for names, columns in ((series.names, series.values), (series.covariate_names, series.covariates)):
        bad = ~np.isfinite(columns)
        if bad.any():
            row, column = (int(i) for i in np.argwhere(bad)[0])
            raise DataError(
                f"series '{series.name}': '{names[column]}' is {columns[row, column]} at row {row} ({int(bad.sum())} such values)",
                "finite numbers",
                "set task.missing=interpolate, or clean the data" if fills else "clean the data",
            )
