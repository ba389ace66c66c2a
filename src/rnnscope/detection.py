"""Alarms in a file, or in what a run's forecaster did not expect: what `rnnscope detect` does."""

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import pandas as pd
import torch

from rnnscope.core.errors import ConfigError, DataError, unknown_name
from rnnscope.core.forecast import ForecastData, encode
from rnnscope.core.interfaces import ModelSpec, SequenceModel
from rnnscope.core.marked_series import MarkedData, MarkedSeries, ScoresSteps, marked_series
from rnnscope.core.random import Streams
from rnnscope.core.series import Span
from rnnscope.evaluation.detection import Detection
from rnnscope.evaluation.detection_scores import Decision, Judged, judge, result_of, step_scores
from rnnscope.evaluation.detection_tables import FEW_INDEPENDENT, against_chance
from rnnscope.evaluation.forecasters import NetworkForecaster
from rnnscope.evaluation.intervals import calibration_spans
from rnnscope.evaluation.streaming import NetworkScorer, StreamingDetector
from rnnscope.models.detectors import LinearResidual, MatrixProfile, SubPCA, Threshold
from rnnscope.numerics.nulls import METHODS, Method
from rnnscope.numerics.thresholds import CONTROLS, THREE_SIGMA, Control
from rnnscope.results import Run
from rnnscope.runs.report import number
from rnnscope.tasks.marked_series import MarkedFile
from rnnscope.tasks.table import Table

Detector = Literal["three-sigma", "mad", "quantile", "pot", "residual", "matrix-profile", "sub-pca"]
WINDOWED = ("matrix-profile", "sub-pca")
SHOWN = (
    ("average_precision", "average precision"),
    ("vus_pr", "VUS-PR"),
    ("precision", "precision"),
    ("recall", "recall"),
    ("f1", "F1"),
    ("range_f1", "range F1"),
    ("ranges_found", "ranges found"),
    ("best_f1", "best F1 (oracle)"),
)


@dataclass(frozen=True)
class Detected:
    """Alarms, and how good they are where the truth is known.

    Attributes:
        alarms: a row per alarm: step (counted from 0), time where there is one, values, score, p_value.
        scores: alarms, expected, chance, stated_step, …; with labels also precision, recall, f1, average_precision, vus_pr, ….
        p_values, flags: of every step, (T,). method: of the scores. threshold: by which scores became alarms. control, rate: as asked for.
        note: what the stated rate rests on.
    """

    alarms: pd.DataFrame
    scores: dict[str, float]
    p_values: np.ndarray
    flags: np.ndarray
    method: str
    threshold: str
    control: Control
    rate: float
    note: str

    def plain(self) -> dict[str, Any]:
        """JSON-able values."""
        kept = ("method", "threshold", "control", "rate", "note")
        rows = self.alarms.astype({c: str for c in self.alarms if self.alarms[c].dtype.kind in "MO"}).to_dict("records")
        return {**{k: getattr(self, k) for k in kept}, "scores": self.scores, "alarms": rows}

    def text(self, out: Path | None) -> str:
        """For people."""
        lines = [f"{self.method}: {against_chance(self.scores, self.control, self.rate, ordered=True)}"]
        shown = [f"{name} {number(self.scores[key])}" for key, name in SHOWN if key in self.scores]
        lines += ["  ".join(shown)] if shown else []
        bounds = [f"{side} {number(self.scores[side])}" for side in ("lower", "upper") if side in self.scores]
        lines.append(f"threshold by {self.threshold}: {', '.join(bounds) or 'none: no value could be that unusual'}")
        lines.append(f"stated: {self.scores['stated_step']:.3%} false alarms per step. {self.note}")
        return "\n".join([*lines, *([f"{len(self.alarms)} alarms -> {out}"] if out else [])])


def detect(
    target: str | Path | np.ndarray,
    method: str = "residual",
    *,
    column: tuple[str, ...] = (),
    label: str = "",
    time: str = "",
    train_until: int = 0,
    labels: np.ndarray | None = None,
    window: int | None = None,
    threshold: str | None = None,
    control: str = "step",
    rate: float | None = None,
    model: str | None = None,
    data: str | Path | None = None,
    allow_source: bool = False,
) -> Detected:
    """Alarms in a series, or in the test part of a run's series, at a stated false-alarm rate.

    Args:
        target: a file (CSV, TSV, Parquet, NPY, NPZ), an array (T,) or (T, D), or the folder of a forecasting or detection run.
        method: three-sigma, mad, quantile or pot: thresholds on the values (of a run: on the errors of its forecasts); `residual`: errors
            of a linear autoregression (of a run: of its forecaster); matrix-profile, sub-pca: unusual windows.
        column, label, time: of a file. labels: of an array, (T,), 0 or 1. train_until: number of first steps known to be normal; 0: none.
        window: of matrix-profile and sub-pca; the period of the series when None.
        threshold: how scores other than values become p-values, see `fit_null`; pot where there is a training part, else mad. control, rate: see `raise_alarms`; 0.0027 when None.
        model: of a run; the chosen one when None. data: a new file for a run of a table, with the same columns.

    Returns:
        `Detected`.

    Raises:
        ConfigError, DataError, ShapeError: unknown names, labels that do not match, a series that is too short, constant or not finite.

    Example:
        >>> import numpy as np
        >>> x = np.sin(np.arange(600) / 8) + 0.05 * np.random.default_rng(0).normal(size=600)
        >>> x[400] += 1
        >>> 400 in detect(x, "residual", train_until=300).alarms["step"].to_list()
        True
    """
    if method not in get_args(Detector):
        raise unknown_name("method", method, get_args(Detector))
    decision = _decision(method, threshold, control, rate)
    if window is not None and method not in WINDOWED:
        raise ConfigError(f"a window with the method {method}", f"the methods {', '.join(WINDOWED)}", "leave --window out")
    if not isinstance(target, np.ndarray) and Path(target).is_dir():
        given = {"column": column, "label": label, "time": time, "train_until": train_until, "window": window}
        idle = [name for name, value in given.items() if value]
        if idle:
            raise ConfigError(
                f"{idle[0]} with a run folder", "a file", f"leave --{idle[0].replace('_', '-')} out: the run knows its series"
            )
        return _on_run(Run(target, allow_source=allow_source), method, decision, model, data)
    if model is not None or data is not None:
        raise ConfigError("--model or --data without a run folder", "a run folder", "leave it out")
    if isinstance(target, np.ndarray):
        marked = MarkedData(marked_series(target, labels, train_until=train_until))
    else:
        task = MarkedFile(path=str(target), column=column, label=label, time=time, train_until=train_until)
        marked = task.prepare(Streams(0))
    detector = _spec(method, window).build(marked.signature, torch.Generator().manual_seed(0))
    assert isinstance(detector, ScoresSteps)
    detector.learn(marked.series.values[marked.series.fitting])
    raw, signed, own = step_scores(detector, marked)
    used = dataclasses.replace(decision, method=own or decision.method)
    note = _note(train_until, marked.series.train_until - marked.series.calibrate_from)
    return _detected(judge(raw, marked.series, used, signed=signed), marked, method, used, note)


def _decision(method: str, threshold: str | None, control: str, rate: float | None) -> Decision:
    """What was asked for, checked."""
    if threshold is not None and threshold not in METHODS:
        raise unknown_name("threshold", threshold, METHODS)
    if control not in CONTROLS:
        raise unknown_name("control", control, CONTROLS)
    used = THREE_SIGMA if rate is None else rate
    if not 0 < used < 1:
        raise ConfigError(f"a rate of {used:g}", "between 0 and 1", "set --rate, e.g. 0.001")
    by = next((m for m in METHODS if m == (method if method in METHODS else threshold)), None)
    return Decision(by, next(c for c in CONTROLS if c == control), used)


def _spec(method: str, window: int | None) -> ModelSpec:
    if method == "residual":
        return LinearResidual()
    if method == "matrix-profile":
        return MatrixProfile(window=window)
    if method == "sub-pca":
        return SubPCA(window=window)
    return Threshold(method=next(m for m in METHODS if m == method))


def _note(train_until: int, kept: int) -> str:
    if train_until:
        return f"The threshold was set by the last {kept} of the {train_until} first steps."
    return "The threshold was set by the very steps that are judged, anomalies included (give --train-until where a start is known to be normal)."


def _detected(judged: Judged, data: MarkedData, method: str, decision: Decision, note: str) -> Detected:
    series = data.series
    rows = np.flatnonzero(judged.flags)
    columns: dict[str, Any] = {"step": rows}
    if series.times.dtype.kind not in "iu" or not np.array_equal(series.times, np.arange(len(series))):
        columns["time"] = series.times[rows]
    columns |= {name: series.values[rows, k] for k, name in enumerate(series.names)}
    columns |= {"score": judged.scores[rows], "p_value": judged.p_values[rows]}
    scores = result_of(judged, data, None).scores["test"]
    if method in WINDOWED:
        note += " All steps of a window that an anomaly touches are raised: alarms reach up to a window to either side of it."
    if scores.get("independent", np.inf) < FEW_INDEPENDENT:
        note += (
            f" The scores that set it tell only as much as {scores['independent']:.0f} independent ones, so slowly do they change: "
            "do not rely on the stated rate, or give a longer training part."
        )
    return Detected(
        pd.DataFrame(columns),
        scores,
        judged.p_values,
        judged.flags,
        method,
        judged.method,
        decision.control,
        decision.rate,
        note,
    )


# runs


def _on_run(run: Run, method: str, decision: Decision, model: str | None, file: str | Path | None) -> Detected:
    """The run's own detector where it is one of detection, else the errors of its forecaster."""
    data = run.data
    network = run.model(model)
    name = model or run.best_model()
    if isinstance(data, MarkedData):
        if file is not None:
            raise ConfigError("--data with a run of detection", "a run of the task table", "give the file alone, with --method")
        assert isinstance(run.experiment.evaluation, Detection)
        raw, signed, own = step_scores(network, data)
        used = dataclasses.replace(decision, method=own or decision.method)
        return _detected(judge(raw, data.series, used, signed=signed), data, name, used, f"Scores of the run's {name}.")
    if not isinstance(data, ForecastData):
        raise ConfigError("this run forecasts no series", "a run of a forecasting or a detection task", "choose another run")
    if method in WINDOWED:
        raise ConfigError(f"{method} with a run", "a file, or the errors of the run's forecaster", "use --method residual")
    longer = data if file is None else _with_file(run, data, file)
    scored, note = forecaster_scores(network, longer)
    judged = judge(scored.scores[:, None], scored.series, decision)
    return _detected(judged, MarkedData(scored.series), name, decision, note)


@dataclass(frozen=True)
class _Scored:
    """Scores of the calibration steps and then of the judged ones, as one series."""

    scores: np.ndarray
    series: MarkedSeries


def forecaster_scores(network: SequenceModel, data: ForecastData) -> tuple[_Scored, str]:
    """Errors one step ahead on the calibration and the test part, the root mean square over variables, each over its own scale.

    For a Gaussian head the surprise -ln p(x_t | past), less its smallest possible value, takes the place of the error.
    """
    forecaster = NetworkForecaster(network, data)
    spans, in_sample = calibration_spans(data)
    learned, seen = _errors(forecaster, spans), _errors(forecaster, data.parts.tests["test"])
    scale = np.ones(learned[0].shape[1]) if data.representation.gaussian else np.sqrt((learned[0] ** 2).mean(0))
    error = np.concatenate([learned[0], seen[0]]) / np.maximum(scale, 1e-300)
    scores = error.mean(1) if data.representation.gaussian else np.sqrt((error**2).mean(1))
    count = len(learned[0])
    values, times = (np.concatenate([a, b]) for a, b in zip(learned[1:], seen[1:], strict=True))
    names = data.series[0].names
    if min(count, len(seen[0])) < 8:
        raise DataError(
            f"{count} steps to set a threshold by", "at least 8, and as many to judge", "train with a larger validation part"
        )
    series = MarkedSeries(values, None, count, 0, times, names)
    which = (
        "training part, on which errors are smaller than elsewhere: expect more false alarms than stated"
        if in_sample
        else "held-out part"
    )
    return _Scored(scores, series), f"The threshold was set by {count} forecasts of the {which}."


def _errors(forecaster: NetworkForecaster, spans: tuple[Span, ...]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Errors (or surprises), values and times of the steps of some spans that were measured."""
    data = forecaster.data
    r = data.representation
    found: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
    for span in spans:
        origins = np.arange(max(span.start, r.first + 1, min(data.window, span.stop - 1)), span.stop - r.horizon + 1)
        truth = data.series[span.series].truth[origins]
        error = r.level(truth) - r.level(forecaster.one_step(span.series, origins)[:, 0])
        if r.gaussian:
            spread = r.spreads(forecaster.outputs(span.series, origins))[:, 0]
            error = 0.5 * (error / spread) ** 2 + np.log(spread)
        keep = np.isfinite(truth).all(1)
        found.append((error[keep], truth[keep], data.series[span.series].times[origins][keep]))
    errors, values, times = zip(*found, strict=True)
    return np.concatenate(errors), np.concatenate(values), np.concatenate(times)


def _with_file(run: Run, data: ForecastData, file: str | Path) -> ForecastData:
    """The run's data with the series of a new file in place of the test part."""
    task = run.experiment.task
    if not isinstance(task, Table):
        raise ConfigError("--data with a run that reads no file", "a run of the task table", "leave --data out")
    new = task.but(path=str(file)).record(np.random.default_rng(0)).series
    series = (*data.series, *new)
    tests = tuple(Span(len(data.series) + i, min(data.window, len(s) - 1), len(s)) for i, s in enumerate(new))
    parts = dataclasses.replace(data.parts, tests={"test": tests})
    return dataclasses.replace(data, series=series, parts=parts, encoded=encode(series, data.representation))


def streaming(
    run: Run | str | Path, *, method: Method = "pot", rate: float = THREE_SIGMA, model: str | None = None
) -> StreamingDetector:
    """A run's forecaster as a detector that takes one value at a time, its threshold set by the calibration part.

    Args:
        run: of a series without covariates, of the protocol stream. method: see `fit_null`. rate: of false alarms per step.
    """
    opened = run if isinstance(run, Run) else Run(run, allow_source=False)
    data, network = opened.data, opened.model(model)
    if isinstance(data, MarkedData):
        data = data.forecast
    if not isinstance(data, ForecastData) or data.representation.gaussian:
        raise ConfigError("this run has no forecaster of values", "a forecasting run with a point head", "choose another run")
    spans, _ = calibration_spans(data)
    forecaster = NetworkForecaster(network, dataclasses.replace(data, protocol="stream"))
    errors = [
        data.series[s.series].truth[o] - forecaster.one_step(s.series, o)[:, 0]
        for s in spans
        for o in [np.arange(max(s.start, data.representation.first + 1), s.stop)]
    ]
    known = np.concatenate(errors)
    known = known[np.isfinite(known).all(1)]
    scale = np.maximum(np.sqrt((known**2).mean(0)), 1e-300)
    scores = np.sqrt(((known / scale) ** 2).mean(1))
    return StreamingDetector(scores, method=method, side="upper", rate=rate, scorer=NetworkScorer(network, data, scale))
