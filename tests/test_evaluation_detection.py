import numpy as np
import pytest
import torch

import rnnscope as rs
from rnnscope.core.marked_series import MarkedData, marked_series
from rnnscope.core.random import Streams
from rnnscope.evaluation.detection_scores import (
    Decision,
    forecast_errors,
    independent_count,
    judge,
    one_line_scores,
    result_of,
    shift_p_value,
)
from rnnscope.evaluation.detection_tables import verdict_of
from rnnscope.evaluation.forecasters import NetworkForecaster
from rnnscope.evaluation.streaming import LinearScorer, NetworkScorer, StreamingDetector
from rnnscope.models.detectors import Threshold
from rnnscope.numerics.anomaly_scores import fit_linear, linear_residuals
from rnnscope.numerics.nulls import METHODS
from rnnscope.numerics.thresholds import raise_alarms


def wave(num_steps=400):
    rng = np.random.default_rng(0)
    return np.sin(2 * np.pi * np.arange(num_steps) / 20) + 0.1 * rng.normal(size=num_steps)


def marked():
    values, marks = wave(), np.zeros(400, bool)
    for at in (260, 300, 350):
        values[at : at + 5] += 2
        marks[at : at + 5] = True
    return MarkedData(marked_series(values, marks, train_until=200), window=20)


def emergence(**fields):
    return rs.preset("emergence").but(
        task=rs.Emergence(**{"num_draws": 400, **fields}),
        evaluation=rs.Detection(noise_sets=20),
        models={"three_sigma": Threshold()},
    )


def test_pure_noise_is_called_no_emergence_and_planted_values_more_than_chance(tmp_path):
    nothing = rs.run(emergence(), out=tmp_path)
    assert "no emergence" in nothing.verdict
    assert "of sets of pure noise raise an alarm" in nothing.verdict
    planted = rs.run(emergence(num_planted=8), out=tmp_path)
    assert "more than chance predicts" in planted.verdict


def test_the_six_line_summary_holds_the_numbers_of_the_draws(tmp_path):
    run = rs.run(emergence(), out=tmp_path)
    values = run.data.series.values[:, 0]
    summary = next(t for t in run.metrics["tables"] if t["title"].startswith("Summary"))
    told = {row["name"]: row["values"]["value"] for row in summary["rows"]}
    assert len(told) == 6
    assert told["upper threshold"] == pytest.approx(values.mean() + 3 * values.std())
    assert told["lower threshold"] == pytest.approx(values.mean() - 3 * values.std())
    assert told["emergent values"] + told["normal values"] == 400
    assert told["emergent values"] == (np.abs(values - values.mean()) > 3 * values.std()).sum()


def test_scores_alarms_and_references_of_a_marked_series():
    data = marked()
    evaluation = rs.Detection(shifts=19)
    evaluation.check(data)
    references = evaluation.references(data, Streams(0))
    assert set(references) == {"deviation", "difference"}
    scores = references["deviation"].scores["test"]
    assert 0 < scores["average_precision"] <= 1
    assert scores["judged"] == 200
    assert not references["deviation"].arrays["alarms"][:200].any()


def test_a_series_of_several_columns_raises_an_alarm_where_any_column_does():
    rng = np.random.default_rng(0)
    values = rng.normal(size=(300, 3))
    values[250, 1] = 12.0
    series = marked_series(values, train_until=200)
    found = judge(values, series, Decision("mad", "set", 0.05), signed=True)
    assert np.flatnonzero(found.flags).tolist() == [250]
    assert found.stated_set == pytest.approx(0.05, abs=0.015)


def test_the_threshold_is_that_of_the_calibration_steps_alone():
    data = marked()
    raw = one_line_scores("deviation", data.series)
    changed = raw.copy()
    changed[:140] = 99.0  # the fitting part, which thresholds must not see
    for decision in (Decision("pot", "step", 0.01), Decision(None, "step", 0.01)):
        one, other = judge(raw, data.series, decision), judge(changed, data.series, decision)
        assert one.upper == other.upper
        np.testing.assert_array_equal(one.flags, other.flags)


def test_a_network_is_scored_by_the_errors_of_its_forecasts():
    data = marked()
    model = rs.GRU(hidden_size=3, num_layers=1).build(data.signature, torch.Generator().manual_seed(0))
    raw = forecast_errors(model, data)[:, 0]
    forecast = NetworkForecaster(model, data.forecast).one_step(0, np.arange(1, 400))[:, 0, 0]
    errors = np.abs(data.series.values[1:, 0] - forecast)
    assert np.isnan(raw[0])
    np.testing.assert_allclose(raw[1:], errors / np.sqrt((errors[:140] ** 2).mean()))


def test_the_shift_p_value_is_small_for_a_score_that_knows_and_not_for_one_that_does_not():
    rng = np.random.default_rng(0)
    marks = np.zeros(500, bool)
    marks[100:110] = True
    assert shift_p_value(marks + 0.01 * rng.random(500), marks, 99, rng) == 0.01
    assert shift_p_value(rng.random(500), np.roll(marks, 200), 99, rng) > 0.02


def test_alarms_are_counted_at_marks_near_them_and_elsewhere():
    data = marked()
    scores = np.zeros((400, 1))
    scores[:200, 0] = np.random.default_rng(0).normal(size=200)
    scores[[261, 267, 285], 0] = 50.0  # marked, 3 steps after the mark, 21 steps after it
    found = result_of(judge(scores, data.series, Decision("mad", "step", 0.0027)), data, 10).scores["test"]
    assert (found["alarms_marked"], found["alarms_near"], found["alarms_away"]) == (1.0, 1.0, 1.0)
    assert found["expected_away"] == pytest.approx(0.0027 * (200 - 3 * 25))


def test_smoothed_scores_count_as_fewer_independent_ones():
    x = np.random.default_rng(0).normal(size=20000)
    assert independent_count(x) == pytest.approx(20000, rel=0.1)
    assert independent_count(np.convolve(x, np.ones(20), "valid")) == pytest.approx(1000, rel=0.25)


def test_the_verdict_says_which_other_detector_is_better():
    data = marked()

    def result(noise):
        raw = data.series.marks + noise * np.random.default_rng(0).normal(size=400)
        return result_of(judge(raw[:, None], data.series, Decision("pot", "step", 0.01)), data, 10)

    good, bad = result(0.1), result(1.0)
    loses = verdict_of(bad, {"difference": bad}, {"ar": good, "pca": bad}, data, "step", 0.01, 10)
    assert "equals the best one-line score's, |change|" in loses
    assert "loses to the best other detector's, ar, 1.000 (no interval" in loses
    assert "beats the best other detector's, pca" in verdict_of(good, {}, {"pca": bad}, data, "step", 0.01, 10)
    assert "other detector" not in verdict_of(good, {}, {}, data, "step", 0.01, 10)


def test_marks_that_cover_nothing_or_everything_give_no_ranking_scores():
    series = marked_series(wave(), np.zeros(400, bool), train_until=200)
    data = MarkedData(series)
    scores = result_of(judge(series.values, series, Decision("mad", "step", 0.01), signed=True), data, None).scores["test"]
    assert "average_precision" not in scores
    assert "alarms" in scores


def test_evaluations_refuse_what_they_cannot_score():
    data = marked()
    with pytest.raises(rs.ConfigError, match="detection needs a series to look through"):
        rs.Detection().check(rs.preset("sine-quick").task.prepare(Streams(0)))
    with pytest.raises(rs.ConfigError, match="forecasting"):
        rs.Forecasting().check(data)
    with pytest.raises(rs.ConfigError, match="rate"):
        rs.Detection(rate=0.0)
    with pytest.raises(rs.ConfigError, match="threshold"):
        rs.Detection(threshold="four-sigma")


def test_a_chosen_model_that_is_none_is_refused(tmp_path):
    experiment = emergence().but(evaluation=rs.Detection(chosen="mda", noise_sets=0))
    with pytest.raises(rs.ConfigError, match=r"evaluation.chosen 'mda'"):
        rs.run(experiment, out=tmp_path)


def test_a_trained_forecaster_goes_through_the_pipeline_and_is_read_back(tmp_path):
    experiment = rs.preset("anomalies-quick")
    experiment = experiment.but(
        task=rs.PlantedAnomalies(num_steps=900, train_until=500, num_anomalies=2, period=20, window=30),
        trainers={"gru": experiment.trainers["gru"].but(epochs=1)},
        evaluation=rs.Detection(shifts=9),
    )
    run = rs.run(experiment, out=tmp_path)
    assert run.status == "done"
    assert {"alarms", "precision_recall", "training"} <= {f["name"] for f in run.folder.read_json("figures/figures.json")}
    again = rs.open_run(run.path)
    for name in ("ar", "matrix_profile", "sub_pca"):
        found = again.model(name).score_steps(again.data.series.values)[:, 0]
        np.testing.assert_array_equal(found, run.findings[f"{name}/0/score"])
    assert rs.detect(run.path, model="ar").scores["alarms"] == run.metrics["models"]["ar"]["test"]["alarms"]


# one value at a time


@pytest.mark.parametrize("side", ["both", "upper"])
@pytest.mark.parametrize("method", METHODS)
def test_a_stream_raises_the_alarms_of_the_batch(method, side):
    rng = np.random.default_rng(1)
    x = rng.normal(size=600)
    x[[350, 480]] = 8.0
    batch = raise_alarms(x, method, calibration=slice(0, 300), judged=slice(300, None), side=side, rate=0.01)
    stream = StreamingDetector(x[:300], method=method, side=side, rate=0.01)
    steps = [stream.update(float(v)) for v in x[300:]]
    np.testing.assert_array_equal([s.alarm for s in steps], batch.alarms[300:])
    np.testing.assert_allclose([s.p_value for s in steps], batch.p_values[300:])
    assert (stream.lower, stream.upper) == (batch.lower, batch.upper)


def test_a_linear_stream_gives_the_residuals_of_the_batch():
    x = wave()[:, None]
    fit = fit_linear(x[:200], (1, 2, 5))
    scorer = LinearScorer(fit, np.ones(1))
    found = np.array([scorer.push(v) for v in x])
    np.testing.assert_allclose(found, np.abs(linear_residuals(fit, x)[:, 0]), atol=1e-12)
    assert len(scorer.recent) == fit.order


@pytest.mark.parametrize("differences", [0, 1, 2])
def test_a_network_stream_carries_its_state_to_the_errors_of_the_batch(differences):
    task = rs.preset("sine-quick").task.but(num_points=150, window=10, differences=differences, protocol="stream")
    data = task.prepare(Streams(0))
    model = rs.LSTM(hidden_size=4, num_layers=2, skip=3).build(data.signature, torch.Generator().manual_seed(0))
    first = data.representation.first
    values = data.series[0].values
    steps = np.arange(first + 1, 150)
    errors = np.abs(values[steps] - NetworkForecaster(model, data).one_step(0, steps)[:, 0])[:, 0]
    scorer = NetworkScorer(model, data, np.ones(1))
    found = np.array([scorer.push(v) for v in values])
    assert np.isnan(found[: first + 1]).all()
    np.testing.assert_allclose(found[first + 1 :], errors, atol=1e-6)


def test_with_a_memory_the_threshold_follows_a_drift_that_a_fixed_one_takes_for_alarms():
    rng = np.random.default_rng(0)
    x = rng.normal(size=6000) + np.linspace(0, 10, 6000)
    fixed = StreamingDetector(x[:400], method="mad", rate=0.001)
    following = StreamingDetector(x[:400], method="mad", rate=0.001, memory=400)
    alarms = [(fixed.update(v).alarm, following.update(v).alarm) for v in x[400:]]
    assert np.mean(alarms, 0)[0] > 0.5
    assert np.mean(alarms, 0)[1] < 0.03
    assert len(following.recent) == 400


@pytest.mark.parametrize(
    ("fields", "message"),
    [({"method": "sigma"}, "method is 'sigma'"), ({"rate": 0.0}, "rate is 0"), ({"memory": 3}, "memory is 3")],
)
def test_streams_refuse_fields_out_of_range(fields, message, unchecked):
    with pytest.raises(rs.ConfigError, match=message):
        StreamingDetector(wave(), **fields)


def test_streams_refuse_values_that_are_not_finite_and_calibration_that_does_not_vary():
    with pytest.raises(rs.DataError, match="nan"):
        StreamingDetector(wave()).update(float("nan"))
    with pytest.raises(rs.DataError, match="no threshold by mad"):
        StreamingDetector(np.ones(50), method="mad")
