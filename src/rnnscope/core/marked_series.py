"""A series in which some steps may be marked as anomalous: the shared ground of detection's tasks, detectors and scores."""

import dataclasses
from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from rnnscope.core.errors import ConfigError, DataError, ShapeError
from rnnscope.core.fingerprint import digest
from rnnscope.core.forecast import ForecastData, Parts, encode
from rnnscope.core.interfaces import BatchSource, Probe, Signature, Stream, SupervisedData
from rnnscope.core.loops import AffineFeedback
from rnnscope.core.series import Series, Span, fit_representation

FEWEST = 8


@dataclass(frozen=True)
class MarkedSeries:
    """One series, made by `marked_series`.

    Attributes:
        values: (T, D) float64. marks: (T,), where it is anomalous; None where nobody knows.
        train_until: the steps before this one are taken for normal, and detectors learn from them; 0: there is no such part, and
            they learn from the whole series, anomalies included.
        calibrate_from: the steps from here to `train_until` are kept from fitting, and thresholds are set by them.
        times: (T,). names: of the columns. ordered: whether neighbouring steps have anything to do with one another.
    """

    values: Float[np.ndarray, "T D"]
    marks: Bool[np.ndarray, " T"] | None
    train_until: int
    calibrate_from: int
    times: np.ndarray
    names: tuple[str, ...]
    ordered: bool = True

    def __len__(self) -> int:
        return len(self.values)

    @property
    def fitting(self) -> slice:
        """The steps that detectors are fitted to."""
        return slice(0, self.calibrate_from) if self.train_until else slice(0, len(self))

    @property
    def calibration(self) -> slice:
        """The steps that thresholds are set by."""
        return slice(self.calibrate_from, self.train_until) if self.train_until else slice(0, len(self))

    @property
    def judged(self) -> slice:
        """The steps that may raise alarms, and that scores are about."""
        return slice(self.train_until, len(self))


def marked_series(
    values: np.ndarray,
    marks: np.ndarray | None = None,
    *,
    train_until: int = 0,
    calibration: float = 0.3,
    times: np.ndarray | None = None,
    names: tuple[str, ...] = (),
    ordered: bool = True,
) -> MarkedSeries:
    """A series from arrays, checked.

    Args:
        values: (T,) or (T, D), finite, no column constant, T >= 8. marks: (T,), 0 or 1, 1 where anomalous; None: unknown.
        train_until: number of first steps known to be normal; 0: none. calibration: share of them kept for thresholds, the last.
        times: (T,), the step numbers when None. names: one per column. ordered: see `MarkedSeries`.

    Raises:
        ShapeError: marks do not fit the values. DataError: too short, NaN, constant, marks other than 0 and 1, marked steps in the
            training part, or none after it.

    Example:
        >>> import numpy as np
        >>> x = marked_series(np.sin(np.arange(100.0)), np.arange(100) == 90, train_until=50)
        >>> x.values.shape, x.fitting, x.calibration
        ((100, 1), slice(0, 35, None), slice(35, 50, None))
    """
    columns = np.asarray(values, np.float64)
    columns = columns[:, None] if columns.ndim == 1 else columns
    if columns.ndim != 2 or columns.shape[1] == 0:
        raise ShapeError(f"values of shape {np.shape(values)}", "(steps,) or (steps, columns)", "arrange them so")
    count = len(columns)
    labels = names or tuple(f"x{i + 1}" if columns.shape[1] > 1 else "x" for i in range(columns.shape[1]))
    if count < FEWEST:
        raise DataError(f"a series of {count} steps", f"at least {FEWEST}", "give a longer series")
    bad = ~np.isfinite(columns)
    if bad.any():
        row, column = (int(i) for i in np.argwhere(bad)[0])
        raise DataError(
            f"column '{labels[column]}' is {columns[row, column]} at row {row + 1} ({int(bad.sum())} such values)",
            "finite numbers",
            "fill in what is missing, or leave these rows out",
        )
    if not 0 <= train_until < count:
        raise ConfigError(f"train_until is {train_until}", f"0 to {count - 1}, the series has {count} steps", "set it so")
    start = round(train_until * (1 - calibration))
    if train_until and min(start, train_until - start) < FEWEST:
        raise DataError(
            f"a training part of {train_until} steps, of which {train_until - start} are for thresholds",
            f"at least {FEWEST} of each",
            "set task.train_until (--train-until) larger, or 0 to learn from the whole series",
        )
    for name, column in zip(labels, columns[: train_until or count].T, strict=True):
        if not np.ptp(column) > 1e-12 * max(float(np.abs(column).max()), 1e-300):
            where = " over the training part" if train_until else ""
            raise DataError(f"column '{name}' is constant ({column[0]:g}){where}", "values that vary", "choose another column")
    truth = None if marks is None else _checked_marks(np.asarray(marks), count, train_until)
    at = np.arange(count) if times is None else times
    return MarkedSeries(columns, truth, train_until, start, at, labels, ordered)


def _checked_marks(marks: np.ndarray, count: int, train_until: int) -> np.ndarray:
    if marks.shape != (count,):
        raise ShapeError(f"labels of shape {marks.shape} beside {count} steps", f"({count},)", "give one label per step")
    if not np.isin(marks, (0, 1)).all():
        row = int(np.flatnonzero(~np.isin(marks, (0, 1)))[0])
        raise DataError(f"the label {marks[row]} at row {row + 1}", "0 (normal) or 1 (anomalous)", "recode the labels")
    truth = marks.astype(bool)
    if truth[:train_until].any():
        row = int(np.flatnonzero(truth)[0])
        raise DataError(
            f"row {row + 1} is labelled anomalous, and the training part reaches to row {train_until}",
            "a training part without anomalies",
            f"set task.train_until (--train-until) to at most {row}",
        )
    return truth


class ScoresSteps(ABC):
    """Capability of a model: it learns what a series is like, and then gives each step a score.

    Attributes:
        signed: scores are unusual on both sides, and not only where they are large.
        method: the threshold that belongs to it; None: the evaluation's.
    """

    signed: bool
    method: str | None

    @abstractmethod
    def learn(self, values: Float[np.ndarray, "N D"]) -> None:
        """Fit to a training part."""

    @abstractmethod
    def score_steps(self, values: Float[np.ndarray, "T D"]) -> Float[np.ndarray, "T C"]:
        """Scores of every step, one column or several; NaN where a step has none."""


@dataclass(frozen=True)
class MarkedData(SupervisedData):
    """A marked series as models, trainers and evaluations see it.

    A network that is to forecast it is trained one step ahead on the fitting part, with the calibration part (or, where there is no
    training part, the last fifth of the series) as validation.

    Attributes:
        series: values and marks. window: inputs per training window of a forecaster, in steps.
        rule: where the marks come from, in words. season: in steps, where it is known. notes: for the data report.
    """

    series: MarkedSeries
    window: int = 50
    rule: str = ""
    season: int | None = None
    notes: tuple[str, ...] = ()
    device: torch.device | None = None

    @property
    def signature(self) -> Signature:  # type: ignore[override]
        return Signature(len(self.series.names), len(self.series.names), self.series.names)

    @cached_property
    def forecast(self) -> ForecastData:
        """The same series as one to be forecast one step ahead, the state carried along it."""
        s = self.series
        count = len(s)
        fitted, stop = (s.calibrate_from, s.train_until) if s.train_until else (count, count)
        inner = fitted if s.train_until else round(0.8 * count)
        if inner < self.window + 2 or stop - inner < 2:
            raise DataError(
                f"{inner} steps to train a forecaster on",
                f"more than window + 1 = {self.window + 1}",
                "set task.window smaller",
            )
        whole = Series(s.values, np.empty((count, 0)), s.times, "series", s.names)
        test = Span(0, s.train_until or inner, count)
        parts = Parts((Span(0, 0, inner),), (Span(0, inner, stop),), (), {"test": (test,)})
        representation = fit_representation([whole], [Span(0, 0, inner)])
        data = ForecastData(
            (whole,), parts, representation, self.window, 1, "stream", encode((whole,), representation), season=self.season
        )
        return data if self.device is None else data.to(self.device)

    @property
    def train(self) -> BatchSource:  # type: ignore[override]
        return self.forecast.train

    @property
    def validation(self) -> BatchSource | None:  # type: ignore[override]
        return self.forecast.validation

    @property
    def monitor(self) -> None:  # type: ignore[override]
        """Nothing: the loss on a part with anomalies in it says little."""
        return

    @property
    def feedback(self) -> AffineFeedback:  # type: ignore[override]
        return self.forecast.feedback

    def streams(self) -> list[Stream]:
        return self.forecast.streams()

    def exact_streams(self, part: Literal["train", "validation"]) -> list[Stream]:
        return self.forecast.exact_streams(part)

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return self.forecast.loss(outputs, targets)

    def probe(self, num_sequences: int, rng: torch.Generator) -> Probe:
        return self.forecast.probe(num_sequences, rng)

    def to(self, device: torch.device) -> "MarkedData":
        return dataclasses.replace(self, device=device)

    def describe(self) -> dict[str, Any]:
        s = self.series
        found: dict[str, Any] = {
            "rule": self.rule,
            "points": len(s),
            "variables": list(s.names),
            "value_range": {n: [float(s.values[:, v].min()), float(s.values[:, v].max())] for v, n in enumerate(s.names)},
            "training part": f"the first {s.train_until} steps, {s.train_until - s.calibrate_from} of them for thresholds"
            if s.train_until
            else "none: detectors learn from the whole series, anomalies included",
            "marked steps": "unknown" if s.marks is None else int(s.marks.sum()),
            "fingerprint": self.fingerprint(),
            "notes": list(self.notes),
        }
        return {key: value for key, value in found.items() if value not in ("", {}, [])}

    def fingerprint(self) -> str:
        """First 16 digits of the SHA-256 of values and marks."""
        return digest([self.series.values] + ([] if self.series.marks is None else [self.series.marks]))

    def arrays(self) -> dict[str, np.ndarray]:
        s = self.series
        times = s.times.astype(str) if s.times.dtype.kind == "O" else s.times
        return {"values": s.values, "times": times} | ({} if s.marks is None else {"marks": s.marks})
