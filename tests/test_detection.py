import importlib.util
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from typer.testing import CliRunner

import rnnscope as rs
from rnnscope.cli import app
from rnnscope.core.random import Streams
from rnnscope.detection import forecaster_scores, streaming
from rnnscope.evaluation.forecasters import NetworkForecaster

METHODS = ("three-sigma", "mad", "quantile", "pot", "residual", "matrix-profile", "sub-pca")


@pytest.fixture
def file(tmp_path):
    rng = np.random.default_rng(0)
    x = np.sin(2 * np.pi * np.arange(600) / 25) + 0.05 * rng.normal(size=600)
    x[430] += 3
    frame = pd.DataFrame(
        {"day": pd.date_range("2020-01-01", periods=600), "load": x, "bad": (np.arange(600) == 430).astype(int)}
    )
    frame.to_csv(tmp_path / "x.csv", index=False)
    return tmp_path / "x.csv"


def call(*arguments):
    return CliRunner().invoke(app, ["detect", *map(str, arguments)])


@pytest.mark.parametrize("method", METHODS)
def test_every_method_looks_through_a_file_and_says_how_well(file, method):
    out = file.parent / "alarms.csv"
    options = ("--column", "load", "--label", "bad", "--time", "day", "--train-until", 300)
    found = call(file, "--method", method, *options, "--out", out)
    assert found.exit_code == 0, found.output
    for word in ("chance alone predicts", "average precision", "VUS-PR", "recall", "threshold by", "stated:"):
        assert word in found.output
    alarms = pd.read_csv(out)
    assert list(alarms.columns) == ["step", "time", "load", "score", "p_value"]
    if method != "quantile":  # 90 calibration values cannot make a value that unusual
        assert 430 in alarms["step"].to_list()
        assert alarms.loc[alarms["step"] == 430, "time"].item() == "2021-03-06"
    if method in METHODS[:4]:
        assert (alarms["step"] >= 300).all()


def test_without_labels_the_rate_is_stated_and_nothing_else(file):
    found = call(file, "--column", "load", "--rate", 0.01, "--control", "set", "--json")
    told = json.loads(found.output)
    assert told["rate"] == 0.01
    assert told["control"] == "set"
    assert "average_precision" not in told["scores"]
    assert 430 in [row["step"] for row in told["alarms"]]


def test_what_windows_do_to_alarms_and_thresholds_is_said(file):
    windows = rs.detect(file, "matrix-profile", column=("load",), train_until=300)
    assert "up to a window to either side" in windows.note
    assert "do not rely on the stated rate" in windows.note
    assert windows.scores["independent"] < 30
    assert "window" not in rs.detect(file, "residual", column=("load",), train_until=300).note


def test_an_array_serves_as_well_as_a_file(file):
    frame = pd.read_csv(file)
    one = rs.detect(file, "residual", column=("load",), label="bad", train_until=300)
    other = rs.detect(frame["load"].to_numpy(), "residual", labels=frame["bad"].to_numpy(), train_until=300)
    assert one.scores == other.scores
    np.testing.assert_array_equal(one.flags, other.flags)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--method", "four-sigma"), "unknown method 'four-sigma'"),
        (("--column", "laod"), "did you mean 'load'"),
        (("--label", "bda"), "no column 'bda'"),
        (("--column", "load", "--label", "load"), "0 (normal) or 1 (anomalous)"),
        (("--column", "load", "--rate", "2"), "a rate of 2"),
        (("--column", "load", "--control", "week"), "unknown control 'week'"),
        (("--column", "load", "--threshold", "top"), "unknown threshold 'top'"),
        (("--column", "load", "--window", "20"), "a window with the method residual"),
        (("--column", "load", "--method", "sub-pca", "--window", "500"), "a window of 500"),
        (("--column", "load", "--method", "sub-pca", "--window", "1"), "window"),
        (("--column", "load", "--train-until", "900"), "train_until is 900"),
        (("--column", "load", "--label", "bad", "--train-until", "500"), "row 431 is labelled anomalous"),
        (("--column", "load", "--model", "gru"), "without a run folder"),
        (("--column", "load", "--out", "alarms.txt"), "--out ends in '.txt'"),
    ],
)
def test_mistakes_end_with_what_to_do(file, options, message):
    found = call(file, *options)
    assert found.exit_code == 2
    assert message in found.output
    assert "to do" in found.output


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x\n" + "1\n" * 50, "constant"),
        ("x\n" + "1\nnan\n" * 20, "nan"),
        ("x\n1\n2\n3\n", "has 3 rows"),
        ("x,y\n" + "1,2\n3,5\n" * 20, "has 2 columns of numbers"),
    ],
)
@pytest.mark.parametrize("method", ["pot", "residual", "matrix-profile"])
def test_files_that_cannot_be_looked_through_are_refused(tmp_path, text, message, method):
    (tmp_path / "x.csv").write_text(text)
    found = call(tmp_path / "x.csv", "--method", method)
    assert found.exit_code == 2
    assert message in found.output


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A forecaster of a file, with a calibration part, and the same file with an anomaly at its end."""
    folder = tmp_path_factory.mktemp("runs")
    rng = np.random.default_rng(1)
    x = np.sin(2 * np.pi * np.arange(900) / 25) + 0.05 * rng.normal(size=900)
    x[850] += 2
    pd.DataFrame({"x": x}).to_csv(folder / "a.csv", index=False)
    broken = x[:300].copy()
    broken[200] -= 2
    pd.DataFrame({"x": broken}).to_csv(folder / "b.csv", index=False)
    changes = [f"task.path={folder / 'a.csv'}", "task.window=24", "trainer.epochs=1", "models.gru.hidden_size=4"]
    run = rs.run("table", out=folder, only=["gru"], set=[*changes, "analyses={}", "evaluation.lead_times=0"])
    return run, folder


def test_a_run_is_searched_for_what_its_forecaster_did_not_expect(runs):
    run, folder = runs
    for method in ("residual", "mad", "pot"):
        found = rs.detect(run.path, method)
        assert found.alarms["time"].isin([850]).any()
        assert "held-out part" in found.note
        assert found.scores["stated_step"] == pytest.approx(0.0027, abs=1e-3)
    told = call(run.path, "--out", folder / "alarms.csv")
    assert told.exit_code == 0, told.output
    assert 850 in pd.read_csv(folder / "alarms.csv")["time"].to_list()


def test_a_run_looks_through_a_new_file_with_the_threshold_of_its_own(runs):
    run, folder = runs
    own, new = rs.detect(run.path, "mad"), rs.detect(run.path, "mad", data=folder / "b.csv")
    assert own.scores["upper"] == new.scores["upper"]
    assert 200 in new.alarms["time"].to_list()
    assert 850 not in new.alarms["time"].to_list()


@pytest.mark.parametrize(
    ("options", "message"),
    [(("--method", "matrix-profile"), "matrix-profile with a run"), (("--column", "x"), "column with a run folder")],
)
def test_options_that_mean_nothing_for_a_run_are_refused(runs, options, message):
    found = call(runs[0].path, *options)
    assert found.exit_code == 2
    assert message in found.output


def test_a_run_becomes_a_detector_for_a_stream(runs):
    run, _ = runs
    detector = streaming(run, method="mad", rate=0.001)
    values = run.data.series[0].values[:, 0]
    steps = [detector.update(float(v)) for v in values]
    assert steps[850].alarm
    assert np.mean([s.alarm for s in steps[100:850]]) < 0.02


def test_a_run_that_forecasts_nothing_is_refused(tmp_path):
    small = [
        f"task.{k}={v}"
        for k, v in {"num_train": 20, "num_validation": 6, "num_test": 10, "num_long": 4, "num_steps": 10}.items()
    ]
    run = rs.run("flip-flop-quick", out=tmp_path, set=[*small, "trainer.epochs=1", "analyses={}"])
    found = call(run.path)
    assert found.exit_code == 2
    assert "forecasts no series" in found.output


def test_a_gaussian_head_is_judged_by_the_surprise_it_states():
    task = rs.preset("sine-quick").task.but(num_points=200, window=10, head="gaussian", split=rs.Split(validation=0.2))
    data = task.prepare(Streams(0))
    model = rs.GRU(hidden_size=3, num_layers=1).build(data.signature, torch.Generator().manual_seed(0))
    scored, note = forecaster_scores(model, data)
    span = data.parts.tests["test"][0]
    steps = np.arange(span.start, span.stop)
    forecaster, r = NetworkForecaster(model, data), data.representation
    spread = r.spreads(forecaster.outputs(0, steps))[:, 0, 0]
    error = (r.level(data.series[0].values[steps]) - r.level(forecaster.one_step(0, steps)[:, 0]))[:, 0]
    np.testing.assert_allclose(scored.scores[-len(steps) :], 0.5 * (error / spread) ** 2 + np.log(spread), rtol=1e-6)
    assert "held-out" in note


SHIPPED = {
    "aeon": ("KDD-TSAD_135/135_UCR_Anomaly_InternalBleeding16_TEST.csv", "value", "is_anomaly", 1200, 0.75),
    "sktime": ("mitdb/mitdb.csv", "data", "label", 0, 0.57),
}


@pytest.mark.slow
@pytest.mark.parametrize("package", SHIPPED)
def test_the_matrix_profile_finds_the_anomalies_of_two_real_series(package):
    """With its default settings; the files are read from the packages that ship them, which are not imported."""
    path, column, label, train_until, reached = SHIPPED[package]
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        pytest.skip(f"{package}, which ships the series, is not installed")
    file = Path(spec.origin).parent / "datasets" / "data" / path
    if not file.is_file():
        pytest.skip(f"this version of {package} does not ship {path}")
    found = rs.detect(file, "matrix-profile", column=(column,), label=label, train_until=train_until)
    assert found.scores["average_precision"] >= reached
