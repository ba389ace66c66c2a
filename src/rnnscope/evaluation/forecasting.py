"""Scores of forecasts: one step ahead, in closed loop, by lead time, with intervals; every number beside the baselines'."""

from collections.abc import Iterator
from typing import Annotated, Literal

import numpy as np
from pydantic import Field, field_validator

from rnnscope.core.errors import ConfigError, unknown_name
from rnnscope.core.forecast import ForecastData
from rnnscope.core.interfaces import Evaluation, EvaluationSpec, History, ModelResult, Scores, SequenceModel, TrainingData
from rnnscope.core.random import Streams
from rnnscope.core.series import Span
from rnnscope.core.spec import NonNegative, Positive, PositiveFloat
from rnnscope.core.summaries import entries, kept_arrays, run_metrics
from rnnscope.core.tables import Figure
from rnnscope.evaluation.baselines import DEFAULT_ORDERS, LINEAR, TRIVIAL, is_raw_order, make_baseline, training_season
from rnnscope.evaluation.forecast_figures import forecast_figures
from rnnscope.evaluation.forecast_tables import HEADLINES, NOTE, forecast_tables
from rnnscope.evaluation.forecasters import Forecaster, NetworkForecaster, TrueSignal
from rnnscope.evaluation.intervals import IntervalSettings, interval_report, lead_halfwidths
from rnnscope.evaluation.verdict import model_verdict, run_verdict
from rnnscope.numerics.metrics import forecast_scores, mean_seen, naive_scale
from rnnscope.numerics.reconstruction_measures import after_divergence

MOST_SHOWN = 20_000


class Forecasting(EvaluationSpec):
    """Score forecasts on the test part.

    Fields:
        baselines: naive forecasts to compare with. orders: candidates of the linear autoregression (AIC on the training part). "arN" among the
            baselines is AR(N) on raw values.
        closed_loop: how a free run goes on: `stream` carries the state, `window` re-runs the last window at every step.
        closed_loop_steps: length of the free run from the start of the test part; 0: all of it.
        lead_times: longest lead of the horizon curve; 0 switches it off. origins: rolling origins it is averaged over.
        intervals: none, `adaptive` or `conformal` (split), both from absolute errors on the calibration part, else on the
            training part (said so), or `gaussian` from a Gaussian head. level: their nominal coverage.
        from_start: where > 0, also a free run over the whole first series from its first so many values ("generation").
        reference_variance: variance that relative_variance divides by; that of the main test part when None.
    """

    baselines: tuple[str, ...] = (*TRIVIAL, LINEAR)
    orders: tuple[Positive, ...] = DEFAULT_ORDERS
    closed_loop: tuple[Literal["stream", "window"], ...] = ("stream",)
    closed_loop_steps: NonNegative = 0
    lead_times: NonNegative = 50
    origins: Positive = 40
    intervals: Literal["none", "adaptive", "conformal", "gaussian"] = "conformal"
    level: Annotated[float, Field(gt=0.0, lt=1.0)] = 0.9
    from_start: NonNegative = 0
    reference_variance: PositiveFloat | None = None

    @field_validator("baselines")
    @classmethod
    def _known(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        for name in names:
            if name not in (*TRIVIAL, LINEAR) and not is_raw_order(name):
                raise unknown_name("baseline", name, (*TRIVIAL, LINEAR, "ar12"))
        return names

    def check(self, data: TrainingData) -> None:
        if not isinstance(data, ForecastData):
            raise ConfigError(
                "the evaluation forecasting needs a series to forecast, and this task has none",
                "a forecasting task, or another evaluation",
                "set evaluation.kind=emulation for a hidden Markov model",
            )

    # one forecaster

    def references(self, data: TrainingData, streams: Streams) -> dict[str, ModelResult]:
        assert isinstance(data, ForecastData)
        found = {}
        for name in self.baselines:
            forecaster = make_baseline(name, data, self.orders)
            if forecaster is not None:
                found[name] = self._result(data, {"closed_loop": forecaster}, forecaster)
        if all(s.clean is not None for s in data.series):
            truth = TrueSignal(data)
            found["noise_ceiling"] = self._result(data, {"closed_loop": truth}, truth)
        return found

    def score(self, model: SequenceModel, data: TrainingData, streams: Streams) -> ModelResult:
        assert isinstance(data, ForecastData)
        loops = {mode: NetworkForecaster(model, data, mode) for mode in self.closed_loop or ("stream",)}
        names = {mode: "closed_loop" if mode == self.closed_loop[0] else f"closed_loop_{mode}" for mode in self.closed_loop}
        return self._result(data, {names[m]: loops[m] for m in self.closed_loop}, next(iter(loops.values())), figures=True)

    def _result(
        self, data: ForecastData, loops: dict[str, Forecaster], one: Forecaster, *, figures: bool = False
    ) -> ModelResult:
        scores: dict[str, Scores] = {}
        arrays: dict[str, np.ndarray] = {}
        scale = naive_scale([data.series[s.series].truth[s.start : s.stop] for s in data.parts.train])
        for name, spans in data.parts.tests.items():
            truth, forecast = one_step_pairs(data, one, spans)
            scores[name] = self._scores(truth[:, 0], forecast[:, 0], scale)
            if name == "test":
                steps = mean_seen((truth[:, 0] - forecast[:, 0]) ** 2, (1,))
                arrays |= {"test_forecast": forecast[:, 0], "test_error": steps[np.isfinite(steps)]}
                if forecast.shape[1] > 1:
                    errors = mean_seen((truth - forecast) ** 2, (0, 2))
                    scores["test_by_lead"] = {f"rmse_{k + 1}": float(np.sqrt(e)) for k, e in enumerate(errors)}
        leaky = data.parts.leaky_seed is not None
        for loop_name, forecaster in ({} if leaky else loops).items():
            for name, spans in data.parts.tests.items():
                if name not in ("test", "unseen"):
                    continue
                key = loop_name if name == "test" else f"{loop_name}_{name}"
                paths = self._free_runs(data, forecaster, spans)
                truth = np.concatenate([t for t, _ in paths])
                run = np.concatenate([f for _, f in paths])
                left = divergence(paths[0][1], data.series[spans[0].series].truth) if figures else {}
                # a forecast that left the range of numbers has no error; what came before is kept for the figures
                scores[key] = left or self._scores(truth, run, scale)
                if left:
                    run = np.where(np.arange(len(run))[:, None] < left["diverged_at"] - 1, run, np.nan)
                if name == "test":
                    arrays[f"{loop_name}_forecast"] = run
                elif len(paths) > 1:
                    # a path without spread, or one that left the finite numbers, has no R²: it counts as the worst
                    worst = [self._scores(t, f, scale).get("r2", -np.inf) for t, f in paths]
                    scores[key] |= {"r2_median": float(np.median(worst)), "r2_worst": float(np.min(worst))}
        if self.from_start and loops:
            whole = Span(0, max(self.from_start, data.representation.first + 1), len(data.series[0]))
            ((truth, run),) = self._free_runs(data, next(iter(loops.values())), (whole,), everything=True)
            scores["generation"] = self._scores(truth, run, scale)
            arrays["generation_forecast"] = run
        if self.lead_times and loops and not leaky:
            arrays["lead_rmse"] = self._by_lead(data, next(iter(loops.values())))
        if figures:
            arrays["train_forecast"], arrays["train_steps"] = self._train_part(data, one)
            settings = IntervalSettings(self.intervals, self.level)
            if self.intervals != "none" and not leaky:
                report = interval_report(data, one, settings)
                scores["intervals"] = report.scores
                arrays |= report.arrays
                arrays["lead_halfwidth"] = lead_halfwidths(data, one, settings, max(1, self.lead_times))
        return ModelResult(scores, arrays)

    def _scores(self, truth: np.ndarray, forecast: np.ndarray, scale: float) -> Scores:
        found = forecast_scores(truth, forecast, scale)
        variance = self.reference_variance or float(np.mean(mean_seen((truth - mean_seen(truth, (0,))) ** 2, (0,))))
        found["relative_variance"] = found["mse"] / variance if variance > 0 else float("nan")
        return {k: v for k, v in found.items() if np.isfinite(v)}

    def _free_runs(
        self, data: ForecastData, forecaster: Forecaster, spans: tuple[Span, ...], *, everything: bool = False
    ) -> list[tuple[np.ndarray, np.ndarray]]:
        """(truth, forecast) of one free run per span."""
        found = []
        for span in spans:
            steps = len(span) if everything else min(len(span), self.closed_loop_steps or len(span))
            forecast = forecaster.run(span.series, np.array([span.start]), steps)[0]
            found.append((data.series[span.series].truth[span.start : span.start + steps], forecast))
        return found

    def _by_lead(self, data: ForecastData, forecaster: Forecaster) -> np.ndarray:
        """RMSE by lead over rolling origins in the test part, (lead_times,), in the unit of the series."""
        spans = data.parts.tests["test"]
        leads = min(self.lead_times, max(len(s) for s in spans))
        squares = []
        for span in spans:
            last = span.stop - leads
            if last < span.start:
                continue
            origins = np.unique(np.linspace(span.start, last, min(self.origins, last - span.start + 1)).astype(int))
            forecast = forecaster.run(span.series, origins, leads)
            truth = data.series[span.series].truth[origins[:, None] + np.arange(leads)]
            with np.errstate(over="ignore", invalid="ignore"):  # of forecasts that diverge
                squares.append((truth - forecast) ** 2)
        return np.sqrt(mean_seen(np.concatenate(squares), (0, 2)))

    def _train_part(self, data: ForecastData, one: Forecaster) -> tuple[np.ndarray, np.ndarray]:
        """One-step forecasts over the (start of the) first training span, for the figure."""
        span = data.parts.train[0]
        start = max(span.start + data.window, data.representation.first + 1)
        origins = np.arange(start, min(span.stop, start + MOST_SHOWN))
        return one.one_step(span.series, origins)[:, 0], origins

    # all of them

    def conclude(
        self,
        data: TrainingData,
        references: dict[str, ModelResult],
        results: dict[str, list[ModelResult]],
        histories: dict[str, list[History]],
    ) -> Evaluation:
        assert isinstance(data, ForecastData)
        models = entries(results, histories)
        for name, repeats in results.items():
            models[name]["verdict"] = model_verdict(name, repeats, references)
        found = run_metrics(models, references)
        metrics = {
            **found,
            "verdict": run_verdict(found["chosen_model"], results, references, data.parts.leaky_seed is not None),
            "ceilings": [n for n in references if n == "noise_ceiling"],
            "season": training_season(data),
            "closed_loop_mode": self.closed_loop[0] if self.closed_loop else None,
        }
        tables = forecast_tables(metrics)
        return Evaluation(metrics, kept_arrays(references, results), tables, HEADLINES, (NOTE,))

    def figures(
        self,
        data: TrainingData,
        references: dict[str, ModelResult],
        results: dict[str, list[ModelResult]],
        histories: dict[str, list[History]],
        evaluation: Evaluation,
    ) -> Iterator[Figure]:
        assert isinstance(data, ForecastData)
        yield from forecast_figures(data, references, results, histories, evaluation, self.level)


def divergence(forecast: np.ndarray, truth: np.ndarray) -> Scores:
    """The step (from 1) at which a free run (N, D) left the finite numbers or 1e9 standard deviations; {} if it did not.

    `diverged_norm` is the norm of the forecast then, or of the last finite one.
    """
    gone = after_divergence(forecast[None], truth[np.isfinite(truth).all(1)][None])[0]
    if not gone.any():
        return {}
    step = int(gone.argmax())
    finite = forecast[: step + 1][np.isfinite(forecast[: step + 1]).all(1)]
    largest = float(np.abs(finite[-1]).max()) if len(finite) else 0.0
    norm = largest * float(np.linalg.norm(finite[-1] / largest)) if largest else 0.0
    return {"diverged_at": float(step + 1), "diverged_norm": min(norm, 1e300)}


def one_step_pairs(data: ForecastData, forecaster: Forecaster, spans: tuple[Span, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Truth and forecast (N, H, D) for every origin of the spans whose H targets lie inside."""
    horizon = data.representation.horizon
    truths, forecasts = [], []
    for span in spans:
        origins = np.arange(max(span.start, data.representation.first + 1), span.stop - horizon + 1)
        if data.parts.leaky_seed is not None:
            offset, after = data.encoded.offsets[span.series : span.series + 2]
            drawn = np.asarray(data.monitor.starts)  # type: ignore[union-attr]
            origins = drawn[(drawn >= offset) & (drawn < after)].astype(np.int64) - offset + data.window
        forecasts.append(forecaster.one_step(span.series, origins))
        truths.append(data.series[span.series].truth[origins[:, None] + np.arange(horizon)])
    return np.concatenate(truths), np.concatenate(forecasts)
