"""Forecasts against slow hand loops, scores against their definitions, verdicts against words; and nobody sees the future."""

import dataclasses
import itertools
import math
from typing import Any

import numpy as np
import pytest
import torch

import rnnscope as rs
from helpers import build, prepare, run_tiny, series_of, strict_json, tiny, wave
from rnnscope.core.forecast import ForecastData
from rnnscope.core.interfaces import History, ModelResult, TrainingOutcome
from rnnscope.core.random import Streams
from rnnscope.core.series import Span
from rnnscope.evaluation.baselines import make_baseline, training_season
from rnnscope.evaluation.forecasters import Forecaster, NetworkForecaster
from rnnscope.evaluation.intervals import IntervalSettings, calibration_spans, interval_report, lead_halfwidths
from rnnscope.evaluation.verdict import model_verdict, run_verdict

STEPS, WINDOW = 150, 9
BASELINES = ("mean", "last_value", "two_point", "seasonal_naive", "linear_autoregression", "ar2")
SPLIT = rs.Split(test=0.3, validation=0.15, calibration=0.15)
TASKS: dict[str, dict[str, Any]] = {
    "plain": {},
    "minmax": {"scaling": "minmax"},
    "square root, first differences": {"transform": "sqrt", "differences": 1},
    "second differences": {"differences": 2},
    "logarithm, three steps at once": {"transform": "log1p", "horizon": 3},
    "second differences, two steps at once": {"differences": 2, "horizon": 2},
}
WIDE = {
    "two variables": {},
    "covariates ahead": {"covariates_ahead": True},
    "covariates of the present": {"covariates_ahead": False},
    "covariates and differences": {"differences": 2},
}
MODELS = {
    "elman": rs.Elman(hidden_size=5, num_layers=2),
    "gru": rs.GRU(hidden_size=4, num_layers=1, skip=3),
    "lstm": rs.LSTM(hidden_size=3, num_layers=2),
}


def wide_series(steps: int = STEPS) -> rs.Series:
    t = np.arange(steps)
    return series_of(np.stack([wave(steps), 5 + np.cos(0.17 * t) + 0.1 * wave(steps)], 1), np.sin(0.23 * t))


def data_of(task: str, protocol: str = "windows") -> ForecastData:
    fields = {"window": WINDOW, "split": SPLIT, "protocol": protocol}
    if task in TASKS:
        return prepare(rs.Table(**fields, **TASKS[task]), series_of(wave(STEPS)))
    return prepare(rs.Table(**fields, **WIDE[task]), wide_series())


every_task = pytest.mark.parametrize("task", [*TASKS, *WIDE])
every_protocol = pytest.mark.parametrize("protocol", ["windows", "stream"])
every_model = pytest.mark.parametrize("model", MODELS.values(), ids=MODELS)


def with_values(data: ForecastData, values: np.ndarray) -> ForecastData:
    """The same prepared data, the values of its series exchanged: what a forecaster reads afterwards."""
    return dataclasses.replace(data, series=(dataclasses.replace(data.series[0], values=values), *data.series[1:]))


def main_test_part(data: ForecastData) -> Span:
    (span,) = data.parts.tests["test"]
    return span


# baselines by hand


def slow_seasonal(values: np.ndarray, origin: int, steps: int, season: int) -> np.ndarray:
    known = list(values[:origin])
    for _ in range(steps):
        known.append(known[len(known) - season])
    return np.array(known[origin:])


@every_task
def test_the_mean_is_that_of_the_training_part(task):
    data = data_of(task)
    rows = [data.series[s.series].values[t] for s in data.parts.train for t in range(s.start, s.stop)]
    found = make_baseline("mean", data).run(0, np.array([60, 90]), 4)
    np.testing.assert_allclose(found, np.tile(sum(rows) / len(rows), (2, 4, 1)))


@every_task
@pytest.mark.parametrize("name", ["last_value", "two_point", "seasonal_naive"])
def test_each_simple_baseline_is_its_hand_loop(task, name):
    data = data_of(task)
    values, origins, steps = data.series[0].values, np.array([47, 60, 61, 130]), 47
    found = make_baseline(name, data).run(0, origins, steps)
    for row, t in enumerate(origins):
        if name == "seasonal_naive":
            expected = slow_seasonal(values, t, steps, training_season(data))
        else:
            slope = values[t - 1] - values[t - 2] if name == "two_point" else 0
            expected = np.array([values[t - 1] + (k + 1) * slope for k in range(steps)])
        np.testing.assert_allclose(found[row], expected, rtol=1e-12)


@every_task
def test_one_step_forecasts_of_a_baseline_are_the_start_of_its_free_run(task):
    data = data_of(task)
    horizon, origins = data.representation.horizon, np.arange(100, 120)
    for name in BASELINES:
        baseline = make_baseline(name, data)
        np.testing.assert_allclose(baseline.one_step(0, origins), baseline.run(0, origins, horizon + 3)[:, :horizon])


@every_task
@pytest.mark.parametrize("order", [1, 2, 4])
def test_linear_autoregression_is_least_squares_on_the_training_part_continued_by_hand(task, order):
    data = data_of(task)
    representation, series = data.representation, data.series[0]
    levels, known = representation.level(series.values), series.covariates
    span = data.parts.train[0]

    def features(path: list[np.ndarray], t: int) -> np.ndarray:
        past = [path[t - k] for k in range(1, order + 1)]
        return np.concatenate([*past, *(known[t - k] for k in range(order + 1))] if known.shape[1] else past)

    rows = np.array([[*features(list(levels), t), 1.0] for t in range(span.start + order, span.stop)])
    weights = np.linalg.lstsq(rows, levels[span.start + order : span.stop], rcond=None)[0]
    baseline = make_baseline("linear_autoregression", data, (order,))
    for t in (100, 131):
        path = list(levels[:t])
        for k in range(12):
            path.append(np.array([*features(path, t + k), 1.0]) @ weights)
        expected = representation.unlevel(np.array(path[t:]))
        np.testing.assert_allclose(baseline.run(0, np.array([t]), 12)[0], expected, rtol=1e-7)


def test_an_autoregression_asked_for_by_number_reads_raw_values():
    data = data_of("square root, first differences")
    values, span = data.series[0].values[:, 0], data.parts.train[0]
    rows = np.array([[values[t - 1], values[t - 2], 1.0] for t in range(span.start + 2, span.stop)])
    weights = np.linalg.lstsq(rows, values[span.start + 2 : span.stop], rcond=None)[0]
    path = list(values[:110])
    for _ in range(6):
        path.append(weights @ [path[-1], path[-2], 1.0])
    np.testing.assert_allclose(make_baseline("ar2", data).run(0, np.array([110]), 6)[0, :, 0], path[110:], rtol=1e-9)


def test_linear_autoregression_continues_its_own_kind_exactly():
    values = [1.0, 0.4, -0.3]
    for _ in range(200):
        values.append(1.2 * values[-1] - 0.9 * values[-2] + 0.5 * values[-3] + 0.1)
    data = prepare(rs.Table(window=WINDOW), series_of(values))
    origins = np.array([170])
    found = make_baseline("linear_autoregression", data).run(0, origins, 25)[0, :, 0]
    np.testing.assert_allclose(found, values[170:195], rtol=1e-6)


def test_an_unknown_baseline_is_answered_with_the_nearest():
    with pytest.raises(rs.ConfigError, match="unknown baseline 'last_valu'") as caught:
        make_baseline("last_valu", data_of("plain"))
    assert "last_value" in caught.value.remedy


def test_no_seasonal_baseline_is_made_for_a_series_without_a_season():
    data = prepare(rs.Table(window=WINDOW), series_of(np.arange(100.0) ** 1.5))
    assert make_baseline("seasonal_naive", data) is None


# networks by hand


def hand_inputs(data: ForecastData, values: np.ndarray) -> np.ndarray:
    """The inputs of every step, written out from the definition."""
    r, series = data.representation, data.series[0]
    z = r.level(values)
    columns = [z]
    if r.differences == 2:
        columns.append(np.array([(z[t] - z[max(t - 1, 0)]) / r.difference_scales[0] for t in range(len(z))]))
    if series.covariates.shape[1]:
        w = (series.covariates - r.covariate_location) / r.covariate_scale
        ahead = 1 if data.representation.ahead else 0
        columns.append(np.array([w[min(t + ahead, len(w) - 1)] for t in range(len(z))]))
    return np.concatenate(columns, 1)


def hand_output(system: Any, inputs: np.ndarray, state: torch.Tensor | None = None) -> tuple[np.ndarray, torch.Tensor]:
    """The last output of a network stepped along inputs, and its state."""
    state = system.initial_state(1) if state is None else state
    for row in inputs:
        state = system.step(state, torch.from_numpy(row)[None])
    return system.readout(state)[0].numpy(), state


def hand_forecast(data: ForecastData, values: np.ndarray, output: np.ndarray) -> np.ndarray:
    """Forecasts of the next H steps from the values so far and a network's output, (H, D)."""
    r = data.representation
    path = list(r.level(values))
    for step in output[: len(r.location) * r.horizon].reshape(r.horizon, -1):
        if r.differences == 0:
            path.append(step)
        elif r.differences == 1:
            path.append(path[-1] + r.difference_scales[0] * step)
        else:
            path.append(2 * path[-1] - path[-2] + r.difference_scales[1] * step)
    return r.unlevel(np.array(path[len(values) :]))


@torch.no_grad()
@every_task
@every_model
def test_a_one_step_forecast_runs_its_window_from_the_initial_state(task, model):
    data = data_of(task)
    network = build(model, data)
    system, inputs, values = network.double(), hand_inputs(data, data.series[0].values), data.series[0].values
    origins = np.array([40, 71, 133])
    found = NetworkForecaster(network.float(), data).one_step(0, origins)
    system = network.double()
    for row, t in enumerate(origins):
        output, _ = hand_output(system, inputs[t - WINDOW : t])
        np.testing.assert_allclose(found[row], hand_forecast(data, values[:t], output), rtol=1e-9)


@torch.no_grad()
@every_task
@every_model
def test_in_the_stream_protocol_one_rollout_answers_every_origin(task, model):
    data = data_of(task, "stream")
    network = build(model, data).double()
    inputs, values, first = hand_inputs(data, data.series[0].values), data.series[0].values, data.representation.first
    origins = np.array([133, 40, 71])
    found = NetworkForecaster(network, data).one_step(0, origins)
    for row, t in enumerate(origins):
        output, _ = hand_output(network, inputs[first:t])
        np.testing.assert_allclose(found[row], hand_forecast(data, values[:t], output), rtol=1e-9)


@torch.no_grad()
@every_task
@every_protocol
@every_model
def test_a_free_run_carries_its_state_and_reads_its_own_forecasts(task, protocol, model):
    data = data_of(task, protocol)
    network = build(model, data).double()
    values, first = data.series[0].values, data.representation.first
    origins, steps = np.array([88, 52]), 7
    found = NetworkForecaster(network, data, "stream").run(0, origins, steps)
    for row, t in enumerate(origins):
        path = values[:t].copy()
        output, state = hand_output(network, hand_inputs(data, values)[t - WINDOW if protocol == "windows" else first : t])
        for _ in range(steps):
            path = np.concatenate([path, hand_forecast(data, path, output)[:1]])
            fed = hand_inputs(data, np.concatenate([path, values[len(path) :]]))[len(path) - 1]
            output, state = hand_output(network, fed[None], state)
        np.testing.assert_allclose(found[row], path[t:], rtol=1e-7)


@torch.no_grad()
@every_task
@every_model
def test_in_window_mode_each_step_of_a_free_run_is_a_one_step_forecast_on_what_was_forecast(task, model):
    data = data_of(task)
    network = build(model, data)
    values, t, steps = data.series[0].values, 88, 12
    found = NetworkForecaster(network, data, "window").run(0, np.array([t]), steps)[0]
    path = values.copy()
    for k in range(steps):
        expected = NetworkForecaster(network, with_values(data, path)).one_step(0, np.array([t + k]))[0, 0]
        np.testing.assert_allclose(found[k], expected, rtol=1e-7)
        path[t + k] = found[k]


@torch.no_grad()
def test_a_batch_of_free_runs_is_the_free_runs_one_by_one():
    data = data_of("covariates ahead")
    forecaster = NetworkForecaster(build(MODELS["lstm"], data), data)
    origins = np.array([100, 40, 77])
    together = forecaster.run(0, origins, 9)
    for row, t in enumerate(origins):
        np.testing.assert_allclose(forecaster.run(0, np.array([t]), 9)[0], together[row], rtol=1e-9)


def test_forecasting_leaves_the_network_as_it_was():
    data = data_of("plain")
    network = build(MODELS["gru"], data).train()
    before = {k: v.clone() for k, v in network.state_dict().items()}
    NetworkForecaster(network, data).run(0, np.array([60]), 5)
    assert network.training
    assert all(torch.equal(before[k], v) and v.dtype == torch.float32 for k, v in network.state_dict().items())


# nobody sees the future


def forecasters(data: ForecastData) -> dict[str, Forecaster]:
    found: dict[str, Forecaster] = {name: make_baseline(name, data) for name in BASELINES}
    for mode in ("stream", "window"):
        found[f"network, {mode}"] = NetworkForecaster(build(MODELS["gru"], data), data, mode)
    return found


def changed_from(values: np.ndarray, step: int) -> np.ndarray:
    rng = np.random.default_rng(11)
    return np.concatenate([values[:step], 50 + 20 * rng.random(values[step:].shape)])


@every_task
@every_protocol
def test_values_from_a_step_on_change_no_forecast_made_before_it(task, protocol):
    series = data_of(task, protocol).series[0]
    (test,) = data_of(task, protocol).parts.tests["test"]
    step = test.start + 10
    fields = {"window": WINDOW, "split": SPLIT, "protocol": protocol, **TASKS.get(task, {}), **WIDE.get(task, {})}
    before = prepare(rs.Table(**fields), series)
    after = prepare(rs.Table(**fields), dataclasses.replace(series, values=changed_from(series.values, step)))
    origins = np.arange(step - 6, step + 1)
    for (name, one), other in zip(forecasters(before).items(), forecasters(after).values(), strict=True):
        for first, second in (
            (one.one_step(0, origins), other.one_step(0, origins)),
            (one.run(0, origins, 8), other.run(0, origins, 8)),
        ):
            np.testing.assert_allclose(first, second, rtol=1e-12, err_msg=name)
        assert name in ("mean", "seasonal_naive") or not np.allclose(
            one.one_step(0, origins + 1)[-1], other.one_step(0, origins + 1)[-1]
        )


@every_protocol
@pytest.mark.parametrize("kind", ["conformal", "adaptive", "gaussian"])
def test_values_from_a_step_on_change_no_interval_of_a_forecast_made_before_it(protocol, kind):
    fields = {"window": WINDOW, "split": SPLIT, "protocol": protocol, "head": "gaussian" if kind == "gaussian" else "point"}
    before = prepare(rs.Table(**fields), series_of(wave(STEPS)))
    start = before.parts.tests["test"][0].start
    changed = 12
    after = prepare(rs.Table(**fields), series_of(changed_from(wave(STEPS)[:, None], start + changed)))
    model, settings = build(MODELS["gru"], before), IntervalSettings(kind, 0.8)
    reports = [interval_report(d, NetworkForecaster(model, d), settings).arrays for d in (before, after)]
    for bound in ("lower", "upper"):
        np.testing.assert_allclose(reports[0][bound][: changed + 1], reports[1][bound][: changed + 1], rtol=1e-12)
    leads = [lead_halfwidths(d, NetworkForecaster(model, d), settings, 5) for d in (before, after)]
    np.testing.assert_allclose(*leads, rtol=1e-12)


def test_a_leaky_run_makes_no_forecast_from_values_it_does_not_have():
    task, values = rs.Table(window=WINDOW, split=rs.Split(kind="leaky")), wave(STEPS)
    changed = values.copy()
    changed[-1] += 0.5
    spec = rs.Forecasting(baselines=("last_value", "two_point"), lead_times=0)
    one, other = (spec.references(prepare(task, series_of(v)), Streams(0)) for v in (values, changed))
    for name in one:
        if "closed_loop_forecast" in one[name].arrays:
            np.testing.assert_array_equal(one[name].arrays["closed_loop_forecast"], other[name].arrays["closed_loop_forecast"])


# intervals


@pytest.mark.parametrize("kind", ["conformal", "adaptive"])
def test_intervals_lie_around_the_forecast_and_their_scores_are_counted(kind):
    data = data_of("square root, first differences")
    forecaster = NetworkForecaster(build(MODELS["gru"], data), data)
    report = interval_report(data, forecaster, IntervalSettings(kind, 0.8))
    span = main_test_part(data)
    origins = np.arange(span.start, span.stop)
    center, truth = forecaster.one_step(0, origins)[:, 0], data.series[0].values[origins]
    lower, upper = report.arrays["lower"], report.arrays["upper"]
    assert (lower <= center).all()
    assert (center <= upper).all()
    assert (lower >= 0).all()
    inside = [bool(a <= x <= b) for a, x, b in zip(lower, truth, upper, strict=True)]
    assert report.scores["coverage"] == pytest.approx(sum(inside) / len(inside))
    assert report.scores["mean_width"] == pytest.approx(float((upper - lower).mean()))
    assert report.scores["calibrated_in_sample"] == 0.0


def test_conformal_intervals_hold_the_promised_share_of_the_calibration_part():
    data = data_of("plain")
    forecaster = NetworkForecaster(build(MODELS["gru"], data), data)
    report = interval_report(data, forecaster, IntervalSettings("conformal", 0.75))
    width = (report.arrays["upper"] - report.arrays["lower"])[0, 0] / 2
    (span,), in_sample = calibration_spans(data)
    origins = np.arange(span.start, span.stop)
    errors = np.abs(data.series[0].values[origins] - forecaster.one_step(0, origins)[:, 0])
    assert not in_sample
    assert (errors <= width * (1 + 1e-9)).sum() == math.ceil((len(errors) + 1) * 0.75)


@pytest.mark.parametrize(
    ("split", "part"),
    [(SPLIT, "calibration"), (rs.Split(validation=0.2), "validation"), (rs.Split(), "train")],
)
def test_intervals_are_calibrated_on_the_best_part_there_is_and_say_when_training_saw_it(split, part):
    data = prepare(rs.Table(window=WINDOW, split=split), series_of(wave(STEPS)))
    spans, in_sample = calibration_spans(data)
    assert spans == getattr(data.parts, part)
    assert in_sample == (part == "train")
    report = interval_report(data, make_baseline("last_value", data), IntervalSettings("conformal", 0.8))
    assert report.scores["calibrated_in_sample"] == float(part == "train")


def test_gaussian_intervals_without_a_gaussian_head_are_refused_or_say_what_they_were_calibrated_on():
    data = prepare(rs.Table(window=WINDOW), series_of(wave(STEPS)))
    forecaster = NetworkForecaster(build(MODELS["gru"], data), data)
    try:
        report = interval_report(data, forecaster, IntervalSettings("gaussian", 0.9))
    except rs.ConfigError:
        return
    assert report.scores["calibrated_in_sample"] == 1.0


def test_gaussian_intervals_are_quantiles_of_the_head():
    data = prepare(rs.Table(window=WINDOW, head="gaussian", differences=1), series_of(wave(STEPS)))
    network = build(MODELS["gru"], data).double()
    report = interval_report(data, NetworkForecaster(network, data), IntervalSettings("gaussian", 0.9))
    span, r = main_test_part(data), data.representation
    inputs = hand_inputs(data, data.series[0].values)
    with torch.no_grad():
        output, _ = hand_output(network, inputs[span.start - WINDOW : span.start])
    center = r.level(data.series[0].values[span.start - 1]) + r.difference_scales[0] * output[0]
    half = 1.6448536269514722 * np.exp(output[1]) * r.difference_scales[0]
    np.testing.assert_allclose(report.arrays["upper"][0], r.unlevel(center + half))
    np.testing.assert_allclose(report.arrays["lower"][0], r.unlevel(center - half))


def test_widths_by_lead_time_never_shrink_and_are_as_many_as_asked_for():
    data = data_of("plain")
    widths = lead_halfwidths(data, make_baseline("last_value", data), IntervalSettings("conformal", 0.8), 60)
    assert widths.shape == (60, 1)
    assert (np.diff(widths, axis=0) >= 0).all()
    assert np.isfinite(widths).all()


# what differences mean


@pytest.mark.parametrize(("differences", "baseline"), [(1, "last_value"), (2, "two_point")])
@every_protocol
@pytest.mark.parametrize("mode", ["stream", "window"])
@pytest.mark.parametrize("wide", [False, True])
def test_a_network_that_answers_nothing_is_the_naive_forecast_of_its_differences(differences, baseline, protocol, mode, wide):
    task = rs.Table(window=WINDOW, differences=differences, protocol=protocol)
    data = prepare(task, wide_series() if wide else series_of(wave(STEPS)))
    network = build(MODELS["gru"], data)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.zero_()
    forecaster, naive = NetworkForecaster(network, data, mode), make_baseline(baseline, data)
    origins = np.array([60, 90, 120])
    np.testing.assert_allclose(forecaster.one_step(0, origins), naive.one_step(0, origins), rtol=1e-10)
    np.testing.assert_allclose(forecaster.run(0, origins, 20), naive.run(0, origins, 20), rtol=1e-9)
    np.testing.assert_allclose(forecaster.run(0, origins[:1], 20), naive.run(0, origins[:1], 20), rtol=1e-9)


# scores


def small_scores(truth: np.ndarray, forecast: np.ndarray, scale: float) -> dict[str, float]:
    n = len(truth)
    errors = [float(a - b) for a, b in zip(truth, forecast, strict=True)]
    mean = sum(map(float, truth)) / n
    mse = sum(e * e for e in errors) / n
    spread = sum((float(a) - mean) ** 2 for a in truth) / n
    mae = sum(map(abs, errors)) / n
    return {
        "mse": mse,
        "rmse": math.sqrt(mse),
        "mae": mae,
        "r2": 1 - mse / spread,
        "mase": mae / scale,
        "relative_variance": mse / spread,
    }


@every_protocol
def test_scores_are_their_definitions_on_the_test_part(protocol):
    data = data_of("plain", protocol)
    result = rs.Forecasting(lead_times=6, origins=5, closed_loop_steps=17).score(build(MODELS["gru"], data), data, Streams(0))
    forecaster = NetworkForecaster(build(MODELS["gru"], data), data)
    span, values = main_test_part(data), data.series[0].values[:, 0]
    trained = values[data.parts.train[0].start : data.parts.train[0].stop]
    scale = sum(abs(b - a) for a, b in itertools.pairwise(trained)) / (len(trained) - 1)
    one = forecaster.one_step(0, np.arange(span.start, span.stop))[:, 0, 0]
    assert result.scores["test"] == pytest.approx(small_scores(values[span.start : span.stop], one, scale))
    run = forecaster.run(0, np.array([span.start]), 17)[0, :, 0]
    assert result.scores["closed_loop"] == pytest.approx(small_scores(values[span.start : span.start + 17], run, scale))
    curve = result.arrays["lead_rmse"]
    origins = np.unique(np.linspace(span.start, span.stop - 6, 5).astype(int))
    for lead in range(6):
        errors = [forecaster.run(0, np.array([t]), 6)[0, lead, 0] - values[t + lead] for t in origins]
        assert curve[lead] == pytest.approx(math.sqrt(sum(e * e for e in errors) / len(errors)))


@every_protocol
def test_steps_that_were_not_measured_are_not_scored(protocol):
    observed = np.ones((STEPS, 1), bool)
    observed[[20, 110, 111, 130]] = False
    full = series_of(wave(STEPS))
    held = wave(STEPS)
    for t in np.flatnonzero(~observed):
        held[t] = held[t - 1]
    data = prepare(
        rs.Table(window=WINDOW, split=SPLIT, protocol=protocol),
        dataclasses.replace(full, values=held[:, None], observed=observed),
    )
    scores = rs.Forecasting(lead_times=0).score(build(MODELS["gru"], data), data, Streams(0)).scores
    forecaster, span = NetworkForecaster(build(MODELS["gru"], data), data), main_test_part(data)
    seen = np.array([t for t in range(span.start, span.stop) if observed[t, 0]])
    assert len(seen) == len(span) - 3
    one = forecaster.one_step(0, seen)[:, 0, 0]
    expected = small_scores(held[seen], one, 1.0)
    run = forecaster.run(0, np.array([span.start]), len(span))[0, seen - span.start, 0]
    for found, wanted in ((scores["test"], expected), (scores["closed_loop"], small_scores(held[seen], run, 1.0))):
        for name in ("mse", "rmse", "mae", "r2", "relative_variance"):
            assert found[name] == pytest.approx(wanted[name])


def test_several_steps_at_once_are_scored_by_lead_time():
    data = data_of("logarithm, three steps at once")
    result = rs.Forecasting(lead_times=0).score(build(MODELS["gru"], data), data, Streams(0))
    span, values = main_test_part(data), data.series[0].values
    origins = np.arange(span.start, span.stop - 2)
    forecast = NetworkForecaster(build(MODELS["gru"], data), data).one_step(0, origins)
    for lead in range(3):
        expected = math.sqrt(float(((forecast[:, lead] - values[origins + lead]) ** 2).mean()))
        assert result.scores["test_by_lead"][f"rmse_{lead + 1}"] == pytest.approx(expected)
    assert result.scores["test"]["rmse"] == pytest.approx(result.scores["test_by_lead"]["rmse_1"])


def test_relative_variance_divides_by_the_reference_variance():
    data = data_of("plain")
    network = build(MODELS["gru"], data)
    plain = rs.Forecasting(lead_times=0).score(network, data, Streams(0)).scores["test"]
    given = rs.Forecasting(lead_times=0, reference_variance=4.0).score(network, data, Streams(0)).scores["test"]
    assert given["relative_variance"] == pytest.approx(plain["mse"] / 4)
    assert plain["relative_variance"] == pytest.approx(1 - plain["r2"])


def test_the_noise_ceiling_is_the_error_of_the_clean_signal():
    data = rs.Oscillation(num_points=2000, noise_sd=0.1, window=WINDOW).prepare(Streams(0))
    ceiling = rs.Forecasting(baselines=(), lead_times=0).references(data, Streams(0))["noise_ceiling"]
    span = main_test_part(data)
    noise = (data.series[0].values - data.series[0].clean)[span.start : span.stop]
    assert ceiling.scores["test"]["rmse"] == pytest.approx(math.sqrt(float((noise**2).mean())))
    assert ceiling.scores["test"]["rmse"] == pytest.approx(0.1, rel=0.1)


def test_unseen_trajectories_and_segments_are_scored_under_their_names():
    task = rs.Pendulum(duration=12.0, window=WINDOW, num_trajectories=2, num_unseen=3)
    data = task.but(split=rs.Split(test_from=6.0, segments={"late": (9.0, 12.0)})).prepare(Streams(0))
    scores = rs.Forecasting(lead_times=0).score(build(MODELS["gru"], data), data, Streams(0)).scores
    assert {"test", "late", "unseen", "closed_loop", "closed_loop_unseen"} <= set(scores)
    forecaster = NetworkForecaster(build(MODELS["gru"], data), data)
    errors = []
    for span in data.parts.tests["unseen"]:
        origins = np.arange(span.start, span.stop)
        errors.append((forecaster.one_step(span.series, origins)[:, 0] - data.series[span.series].values[origins]) ** 2)
    assert scores["unseen"]["mse"] == pytest.approx(float(np.concatenate(errors).mean()))
    assert scores["closed_loop_unseen"]["r2_worst"] <= scores["closed_loop_unseen"]["r2_median"]


def test_generation_starts_from_the_first_values_alone():
    data = data_of("plain")
    network = build(MODELS["gru"], data)
    spec = rs.Forecasting(from_start=12, lead_times=0)
    found = spec.score(network, data, Streams(0)).arrays["generation_forecast"]
    changed = with_values(data, changed_from(data.series[0].values, 12))
    assert len(found) == STEPS - 12
    np.testing.assert_allclose(NetworkForecaster(network, changed).run(0, np.array([12]), STEPS - 12)[0], found)


# metrics.json


@pytest.fixture(scope="module")
def several(tmp_path_factory):
    models = {"gru": rs.GRU(hidden_size=4, num_layers=1), "elman": rs.Elman(hidden_size=4, num_layers=1)}
    return run_tiny(tmp_path_factory.mktemp("runs"), models=models, num_seeds=3)


def numbers_in(tree: Any) -> list[Any]:
    if isinstance(tree, dict):
        return [v for value in tree.values() for v in numbers_in(value)]
    return [tree]


def test_metrics_hold_a_verdict_and_scores_of_every_baseline_and_model(several):
    metrics = strict_json(several.path / "metrics.json")
    assert isinstance(metrics["verdict"], str)
    assert set(metrics["baselines"]) == {*(set(BASELINES) - {"ar2"}), "noise_ceiling"}
    assert set(metrics["models"]) == {"gru", "elman"}
    names = {"mse", "rmse", "mae", "r2", "mase", "relative_variance"}
    for entry in (*metrics["baselines"].values(), *metrics["models"].values()):
        for key in ("test", "closed_loop"):
            assert set(entry[key]) == names
            assert all(isinstance(v, float) for v in entry[key].values())
    assert all(isinstance(m["verdict"], str) for m in metrics["models"].values())


def test_with_several_seeds_scores_are_means_with_standard_deviations_beside_them(several):
    for name, entry in several.metrics["models"].items():
        assert len(entry["seeds"]) == 3
        for key in ("test", "closed_loop"):
            for score, mean in entry[key].items():
                values = [seed[key][score] for seed in entry["seeds"]]
                assert mean == pytest.approx(np.mean(values)), name
                assert entry[f"{key}_sd"][score] == pytest.approx(np.std(values, ddof=1))
                assert entry[f"{key}_median"][score] == pytest.approx(np.median(values))
        assert len({seed["test"]["rmse"] for seed in entry["seeds"]}) == 3
        assert "Mean of 3 seeds" in entry["verdict"]


def test_with_one_seed_there_is_no_standard_deviation(tmp_path):
    entry = run_tiny(tmp_path).metrics["models"]["gru"]
    assert not [key for key in entry if key.endswith(("_sd", "_median")) or key == "seeds"]


def test_the_chosen_model_has_the_best_loss_in_training_not_in_the_test(several):
    entries = several.metrics["models"]
    assert several.metrics["chosen_model"] == min(entries, key=lambda n: entries[n]["training"]["score"])
    assert several.metrics["chosen_by"] == "training loss"
    assert several.metrics["verdict"] == f"{several.best_model()}: {entries[several.best_model()]['verdict']}"


def test_with_a_validation_part_the_model_is_chosen_by_its_loss_there(tmp_path):
    task = rs.Oscillation(num_points=120, duration=25.0, window=10, split=rs.Split(validation=0.2))
    run = run_tiny(tmp_path, task=task, models={"a": rs.GRU(hidden_size=3), "b": rs.GRU(hidden_size=3)})
    best = run.history.groupby("model")["validation_loss"].min()
    assert run.metrics["chosen_by"] == "validation loss"
    assert run.metrics["chosen_model"] == best.idxmin()


def test_a_test_part_that_never_changes_is_scored_without_r2(tmp_path):
    values = np.concatenate([wave(90), np.full(40, 3.0)])
    np.save(tmp_path / "flat.npy", values)
    models = {"a": rs.GRU(hidden_size=3, num_layers=1), "b": rs.GRU(hidden_size=3, num_layers=1)}
    task = rs.Table(path=str(tmp_path / "flat.npy"), window=10, split=rs.Split(test_steps=30))
    run = run_tiny(tmp_path / "runs", composed=True, task=task, models=models)
    assert "r2" not in run.metrics["models"]["a"]["test"]
    assert math.isfinite(run.metrics["models"]["a"]["test"]["rmse"])


def test_without_a_closed_loop_the_run_is_refused_or_goes_without_it(tmp_path):
    try:
        evaluation = rs.Forecasting(closed_loop=(), lead_times=0)
    except rs.ConfigError:
        return
    run = run_tiny(tmp_path, composed=True, evaluation=evaluation)
    assert "closed_loop" not in run.metrics["models"]["gru"]
    assert len(run.forecast(3)) == 3


@pytest.mark.parametrize("changes", [{"baselines": ()}, {"lead_times": 0}, {"intervals": "none"}, {"intervals": "adaptive"}])
def test_parts_of_the_evaluation_can_be_left_out(tmp_path, changes):
    run = run_tiny(tmp_path, composed=True, evaluation=rs.Forecasting(**{"lead_times": 3, "origins": 2, **changes}))
    assert run.status == "done"
    assert run.report.is_file()
    if changes.get("baselines") == ():
        assert set(run.metrics["baselines"]) == {"noise_ceiling"}


@pytest.mark.parametrize(
    "fields", [{"level": 1.0}, {"level": 1.5}, {"level": 0.0}, {"orders": (0,)}, {"closed_loop": ("once",)}]
)
def test_an_evaluation_field_out_of_range_is_named(fields):
    with pytest.raises(rs.ConfigError, match=next(iter(fields))):
        rs.Forecasting(**fields)


# verdicts


def result(error: float, closed: float | None = 1.0, noise: float = 0.2, seed: int = 0, steps: int = 200) -> ModelResult:
    """A result whose squared errors scatter around error²."""
    rng = np.random.default_rng(seed)
    losses = error**2 * (1 + noise * rng.standard_normal(steps))
    mse = float(losses.mean())
    scores = {"test": {"mse": mse, "rmse": math.sqrt(mse)}}
    if closed is not None:
        scores["closed_loop"] = {"mse": closed**2, "rmse": closed}
    return ModelResult(scores, {"test_error": losses, "closed_loop_forecast": np.zeros((steps, 1))})


def references(trivial: float, linear: float, closed: float = 1.0) -> dict[str, ModelResult]:
    return {
        "mean": result(5.0, 5.0, seed=1),
        "last_value": result(trivial, closed, seed=2),
        "linear_autoregression": result(linear, closed, seed=3),
        "noise_ceiling": result(0.001, 0.001, seed=4),
    }


@pytest.mark.parametrize(
    ("own", "trivial", "linear", "words"),
    [
        (0.5, 1.0, 1.0, ["beats every trivial baseline, the best being last value (persistence)", "beats linear"]),
        (1.0, 2.0, 0.5, ["beats every trivial", "loses to linear autoregression", "by 2.0x"]),
        (2.0, 1.0, 0.5, ["loses to last value", "by 2.0x", "loses to linear autoregression", "by 4.0x"]),
        (1.0, 1.0, 1.0, ["is not clearly different from last value", "is not clearly different from linear", "p = "]),
    ],
)
def test_the_verdict_says_beats_ties_or_loses_against_the_best_of_each_kind(own, trivial, linear, words):
    sentence = model_verdict("gru", [result(own, None)], references(trivial, linear))
    for word in words:
        assert word in sentence
    assert "mean" not in sentence
    assert "ceiling" not in sentence
    assert sentence.endswith(".")


@pytest.mark.parametrize(("own", "word"), [(0.5, "beats"), (1.005, "is not clearly different"), (3.0, "loses to")])
def test_the_closed_loop_has_a_sentence_of_its_own(own, word):
    sentence = model_verdict("gru", [result(1.0, own)], references(1.0, 1.0)).split("Free-running")[1]
    assert sentence.startswith(" for 200 steps")
    assert word in sentence


def test_a_verdict_without_baselines_says_that_there_is_nothing_to_compare_with():
    assert "compared with nothing" in model_verdict("gru", [result(1.0)], {})


def test_the_verdict_of_the_run_is_that_of_the_chosen_model_and_names_a_leak():
    results = {"a": [result(0.5)], "b": [result(2.0)]}
    honest = run_verdict("b", results, references(1.0, 1.0), False)
    assert honest == f"b: {model_verdict('b', results['b'], references(1.0, 1.0))}"
    leaky = run_verdict("b", results, references(1.0, 1.0), True)
    assert leaky.startswith(honest)
    assert "leaks" in leaky


def test_the_verdict_on_a_linear_system_says_that_linear_autoregression_wins(tmp_path):
    task = rs.DrivenOscillator(force=0.0, gamma=0.05, dt=0.1, duration=20.0, window=10)
    verdict = run_tiny(tmp_path, task=task).verdict
    assert "loses to linear autoregression" in verdict
    assert "the system is linear" in verdict


def test_a_leaky_split_is_labelled_in_the_verdict_the_data_and_the_report(tmp_path):
    run = run_tiny(tmp_path, task=rs.Oscillation(num_points=120, window=10, split=rs.Split(kind="leaky")), composed=True)
    assert "leaks" in run.verdict
    assert "LEAKY SPLIT" in " ".join(strict_json(run.path / "data/data.json")["notes"])
    page = run.report.read_text(encoding="utf-8")
    assert page.index("LEAKY SPLIT") < page.index("<h2>Scores")


def test_a_free_run_that_explodes_is_called_divergent_and_leaves_no_infinity_in_the_scores():
    data = prepare(rs.Table(window=WINDOW, scaling="none"), series_of(wave(STEPS) + 1))
    network = build(rs.Elman(hidden_size=1, num_layers=1, nonlinearity="relu"), data)
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            parameter.fill_(0.0 if "bias" in name or "weight_hh" in name else 1e10)
    spec = rs.Forecasting(lead_times=0, intervals="none")
    outcome = TrainingOutcome("completed", 1, 1.0, "training loss", 0.1)
    histories = {"relu": [History({"epoch": np.array([1]), "train_loss": np.array([1.0])}, outcome)]}
    with np.errstate(all="ignore"):
        results = {"relu": [spec.score(network, data, Streams(0))]}
        evaluation = spec.conclude(data, spec.references(data, Streams(0)), results, histories)
    assert "diverges" in evaluation.metrics["verdict"]
    assert all(math.isfinite(v) for v in numbers_in(evaluation.metrics) if isinstance(v, float))


def test_of_a_free_run_that_explodes_the_step_and_norm_are_told_and_what_came_before_is_kept():
    data = prepare(rs.Table(window=WINDOW, scaling="none"), series_of(wave(STEPS) + 1))
    network = build(rs.Elman(hidden_size=1, num_layers=1, nonlinearity="relu"), data)
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            parameter.fill_(0.0 if "bias" in name or "weight_hh" in name else 30.0)
    spec = rs.Forecasting(lead_times=0, intervals="none")
    result = spec.score(network, data, Streams(0))
    step, forecast = int(result.scores["closed_loop"]["diverged_at"]), result.arrays["closed_loop_forecast"]
    assert np.isfinite(forecast[: step - 1]).all()
    assert np.isnan(forecast[step - 1 :]).all()
    assert result.scores["closed_loop"]["diverged_norm"] == pytest.approx(900 * forecast[step - 2, 0])
    words = model_verdict("relu", [result], spec.references(data, Streams(0)))
    assert f"diverges at step {step} (norm" in words


def test_a_tiny_experiment_says_what_it_is_made_of():
    assert set(tiny().models) == {"gru"}
