"""Search over fields: by the validation score alone, and refused where there is none."""

import csv
import json
import sys
from pathlib import Path

import pytest

import rnnscope as rs
from helpers import cli, succeeds
from rnnscope.core.interfaces import TrainingData
from rnnscope.core.random import Streams
from rnnscope.tuning import parse_range, search, validation_score

RADIUS = "models.esn.spectral_radius"


def experiment(**fields: object) -> rs.Experiment:
    split = rs.Split(test=0.25, validation=0.2)
    return rs.Experiment(
        task=rs.Lorenz63(duration=20.0, protocol="stream", window=20, split=split),
        models={"esn": rs.EchoState(units=20, degree=5)},
        trainer=rs.Ridge(washout=10, strengths=(1e-6,)),
        evaluation=rs.Forecasting(),
    ).but(**fields)


def test_ranges_are_read_from_words() -> None:
    assert parse_range("models.esn.leak=0.1:1") == ("models.esn.leak", (0.1, 1))
    assert parse_range("trainer.rate=1e-9:1e-3:log") == ("trainer.rate", (1e-9, 1e-3, "log"))
    assert parse_range("models.esn.features=[state, mixed]") == ("models.esn.features", ["state", "mixed"])
    for bad in ("models.esn.leak", "models.esn.leak=0.3", "=0:1", "a=1:2:linear"):
        with pytest.raises(rs.ConfigError, match="no range to search"):
            parse_range(bad)


def test_without_optuna_the_command_that_installs_it_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(rs.ConfigError) as caught:
        search(experiment(), {RADIUS: (0.1, 1.0)})
    assert caught.value.remedy == "pip install 'rnnscope[tune]'"


@pytest.fixture
def optuna() -> object:
    return pytest.importorskip("optuna")


def test_a_search_finds_the_best_of_its_trials_and_writes_them_down(optuna: object, tmp_path: Path) -> None:
    space = {RADIUS: (0.1, 1.5), "models.esn.units": (10, 30), "models.esn.features": ["state", "mixed"]}
    heard: list[rs.Trial] = []
    found = search(experiment(), space, trials=6, out=tmp_path, told=heard.append)
    assert heard == list(found.trials)
    assert found.best_trial.score == min(t.score for t in found.trials)
    esn = found.best.models["esn"]
    assert isinstance(esn, rs.EchoState)
    assert esn.spectral_radius == pytest.approx(found.best_trial.values[RADIUS])
    assert all(10 <= t.values["models.esn.units"] <= 30 and 0.1 <= t.values[RADIUS] <= 1.5 for t in found.trials)
    rows = list(csv.DictReader((found.path / "trials.csv").read_text().splitlines()))
    assert [float(r["validation_score"]) for r in rows] == [t.score for t in found.trials]
    assert rs.search(experiment(), space, trials=6, out=tmp_path).best_trial.values == found.best_trial.values  # seeded
    assert rs.run(str(found.path / "best.yaml"), out=tmp_path, set=["analyses={}"]).verdict


def test_the_first_trial_is_the_experiment_as_it_stands_where_the_ranges_hold_it(optuna: object, tmp_path: Path) -> None:
    space = {RADIUS: (0.1, 1.5), "models.esn.features": ["mixed", "state"], "trainer.strengths": [[1e-3], [1e-6]]}
    found = search(experiment(), space, trials=2, out=tmp_path)
    assert found.begins_as_is
    assert found.trials[0].values == {RADIUS: 0.9, "models.esn.features": "state", "trainer.strengths": [1e-6]}
    data = experiment().task.prepare(Streams(0))
    assert found.trials[0].score == validation_score(experiment(), data, [])
    assert not search(experiment(), {RADIUS: (0.1, 0.5)}, trials=1, out=tmp_path).begins_as_is
    assert not search(experiment(), {"models.esn.features": ["mixed"]}, trials=1, out=tmp_path).begins_as_is


def test_values_that_were_tried_are_not_trained_again(optuna: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trained: list[object] = []
    monkeypatch.setattr(
        "rnnscope.tuning.validation_score", lambda *given: trained.append(given) or (given[2].append("loss") or 1.0)
    )
    found = search(experiment(), {"models.esn.units": [10, 20]}, trials=9, sampler="random", out=tmp_path)
    assert len(trained) == 2
    assert len(found.trials) == 9
    assert [t.number for t in found.trials] == list(range(1, 10))


def test_the_verb_tells_the_best_beside_the_experiment_as_it_stands(optuna: object, tmp_path: Path) -> None:
    own = tmp_path / "own.yaml"
    own.write_text(experiment(analyses={}).yaml())
    told = succeeds("tune", own, "--over", f"{RADIUS}=0.5:1.2", "--trials", 2, "--out", tmp_path)
    assert "1/2" in told.err
    assert "as it stands: " in told.out
    assert f"\n  {RADIUS}=" in told.out
    assert (tmp_path / "own.yaml").exists()
    found = json.loads(succeeds("tune", own, "--over", f"{RADIUS}=0.1:0.5", "--trials", 1, "--out", tmp_path, "--json").out)
    assert set(found) == {"folder", "score", "values", "criterion"}
    refused = cli("tune", own, "--over", f"{RADIUS}=2:1", "--out", tmp_path)
    assert refused.code == 2
    assert "low < high" in refused.err


def test_a_search_never_looks_at_the_test_part(optuna: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def scored(self: object, model: object, data: TrainingData, streams: object) -> None:
        raise AssertionError

    monkeypatch.setattr(rs.Forecasting, "score", scored)
    monkeypatch.setattr("rnnscope.core.forecast.ForecastData.monitor", property(lambda data: scored(0, 0, data, 0)))
    search(experiment(), {RADIUS: (0.1, 1.0)}, trials=1, out=tmp_path)


def test_a_trial_that_fails_is_written_down_and_the_search_goes_on(optuna: object, tmp_path: Path) -> None:
    short = experiment(task=experiment().task.but(duration=8.0), models={"esn": rs.EchoState(units=400)})
    found = search(short, {"trainer.strengths": [[0.0], [1e-4]]}, trials=8, sampler="random", out=tmp_path)
    failed = [t for t in found.trials if t.error]
    assert failed
    assert "singular" in failed[0].error
    assert found.best_trial.values == {"trainer.strengths": [1e-4]}


@pytest.mark.parametrize(
    ("space", "named"),
    [
        ({}, "at least one field"),
        ({RADIUS: (1.0, 0.5)}, "low < high"),
        ({RADIUS: (0.0, 0.5)}, "spectral_radius"),
        ({RADIUS: ()}, "low < high"),
        ({RADIUS: []}, "at least one value"),
        ({"models.esn.radius": (0.1, 0.5)}, "radius"),
    ],
)
def test_a_bad_space_is_refused_before_training(optuna: object, tmp_path: Path, space: dict, named: str) -> None:
    with pytest.raises(rs.ConfigError, match=named):
        search(experiment(), space, out=tmp_path)


def test_a_task_without_a_validation_part_is_refused(optuna: object, tmp_path: Path) -> None:
    plain = experiment(task=experiment().task.but(split=rs.Split(test=0.25)))
    with pytest.raises(rs.ConfigError, match=r"task\.split\.validation"):
        search(plain, {RADIUS: (0.1, 1.0)}, out=tmp_path)
