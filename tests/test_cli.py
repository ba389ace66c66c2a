"""The command line, verb by verb: what it prints for people and for machines, what it writes, and how it ends."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

import rnnscope as rs
from helpers import cli, run_folders, run_tiny, strict_json, succeeds, tiny, wave, without_drawing, write_csv, write_yaml
from rnnscope.cli import COMMANDS
from rnnscope.comparison import run_batch
from rnnscope.core.errors import Interrupted
from rnnscope.experiment import parse_any, parse_yaml, preset
from rnnscope.pipeline import walk
from rnnscope.presets.catalog import PRESETS, STUDIES
from rnnscope.registry import CATEGORIES

QUICK = ("--set", "task.num_points=120", "--set", "task.window=10", "--set", "trainer.epochs=2", "--quiet")

OWN_PARTS = '''
"""A task, a model and an experiment of one's own, in one file."""

from pathlib import Path

import numpy as np
import rnnscope as rs

Path(__file__).with_name("imported").touch()


class Sawtooth(rs.ForecastTask):
    """x_t = (t mod period) / period."""

    period: int = 7
    steps: int = 100

    def record(self, rng):
        t = np.arange(self.steps, dtype=float)
        values = (t % self.period) / self.period
        return rs.Recording([rs.Series(values[:, None], np.empty((self.steps, 0)), t, "sawtooth")])


class SmallGRU(rs.GRU):
    """A GRU of three units."""

    hidden_size: int = 3
    num_layers: int = 1


def study():
    return rs.Experiment(
        name="sawtooth",
        task=Sawtooth(window=8),
        models={"small": SmallGRU()},
        trainer=rs.BPTT(epochs=1),
        evaluation=rs.Forecasting(lead_times=0),
    )


made = study()
number = 3
'''


@pytest.fixture(autouse=True)
def _blank_figures():
    with without_drawing():
        yield


@pytest.fixture
def own(tmp_path):
    path = tmp_path / "my_study.py"
    path.write_text(OWN_PARTS)
    return path


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    models = {"gru": rs.GRU(hidden_size=4, num_layers=1), "elman": rs.Elman(hidden_size=3, num_layers=1)}
    return run_tiny(tmp_path_factory.mktemp("finished"), models=models)


@pytest.fixture(scope="module")
def second(tmp_path_factory):
    return run_tiny(tmp_path_factory.mktemp("second"), name="second", seed=5)


def terminal(*arguments: object, **more: object) -> subprocess.CompletedProcess[str]:
    """The command line as a process of its own."""
    command = [sys.executable, "-m", "typer", "rnnscope.cli", "run", *map(str, arguments)]
    script = Path(sys.executable).with_name("rnnscope")
    return subprocess.run(
        [str(script), *map(str, arguments)] if script.exists() else command,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        **more,  # type: ignore[call-overload]
    )


# in a process of its own


def test_a_run_in_a_terminal_prints_the_verdict_and_the_report_and_draws_its_figures(tmp_path):
    done = terminal("run", write_yaml(tmp_path / "my.yaml"), "--out", tmp_path / "runs")
    assert done.returncode == 0, done.stderr
    (folder,) = run_folders(tmp_path / "runs")
    assert strict_json(folder / "metrics.json")["verdict"] in done.stdout
    assert str(folder / "report.html") in done.stdout
    assert "training gru" in done.stderr
    assert (folder / "figures/sheet.png").read_bytes().startswith(b"\x89PNG")
    assert "Warning" not in done.stderr


def test_a_mistake_in_a_terminal_ends_with_its_three_parts_and_code_two(tmp_path):
    done = terminal("run", "sinne", "--out", tmp_path / "runs")
    assert done.returncode == 2
    assert done.stdout == ""
    assert [line.split(":")[0].strip() for line in done.stderr.splitlines()] == ["error", "expected", "to do"]
    assert "did you mean 'sine'?" in done.stderr
    assert not (tmp_path / "runs").exists()


def test_help_and_the_list_do_not_import_torch():
    script = (
        "import sys\nfrom typer.testing import CliRunner\nfrom rnnscope.cli import app\n"
        "for words in (['--help'], ['list'], ['list', '--json'], ['run', '--help'], ['--version']):\n"
        "    assert CliRunner().invoke(app, words).exit_code == 0, words\n"
        "heavy = {'torch', 'numba', 'pandas', 'scipy', 'matplotlib'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr


# what there is


def test_help_names_every_verb():
    text = succeeds("--help").out
    assert all(verb in text for verb in COMMANDS)
    for verb in COMMANDS:
        assert "--debug" in succeeds(verb, "--help").out


def test_the_version_is_the_package_s():
    assert succeeds("--version").out.strip() == rs.__version__


def test_the_list_has_one_line_per_preset_with_its_row_and_summary():
    lines = succeeds("list").out.strip().splitlines()
    assert len(lines) == len(PRESETS) + len(STUDIES)
    for line, (name, entry) in zip(lines, {**PRESETS, **STUDIES}.items(), strict=True):
        assert line.startswith(name)
        assert entry.scope_row in line
        assert line.endswith(entry.summary)
    assert succeeds("list", "--quiet").out.split() == [*PRESETS, *STUDIES]


def test_the_list_for_machines_is_json():
    rows = json.loads(succeeds("list", "--json").out)
    assert [row["name"] for row in rows] == [*PRESETS, *STUDIES]
    assert all(set(row) == {"name", "summary", "scope_row"} for row in rows)


@pytest.mark.parametrize("name", PRESETS)
def test_what_show_prints_is_yaml_that_makes_the_same_experiment(name):
    text = succeeds("show", name).out
    assert parse_yaml(text, "show") == preset(name)
    assert "#" in text


def test_show_explains_every_part_and_quietly_prints_the_yaml_alone():
    text = succeeds("show", "sine").out
    for title in ("task: Oscillation", "models.gru: GRU", "trainer: BPTT", "evaluation: Forecasting"):
        assert title in text
    assert not [line for line in succeeds("show", "sine", "--quiet").out.splitlines() if line.startswith("#")]
    assert json.loads(succeeds("show", "sine", "--json").out) == json.loads(json.dumps(preset("sine").tree()))


def test_the_schema_names_every_registered_part_and_every_field():
    schema = json.loads(succeeds("schema").out)
    for category, table in CATEGORIES.items():
        for kind in table:
            definition = schema["$defs"][f"{category}_{kind}"]
            assert definition["properties"]["kind"] == {"const": kind}
    assert "hidden_size" in schema["$defs"]["model_gru"]["properties"]
    assert set(schema["properties"]) == set(rs.Experiment.model_fields)


# run


def test_a_preset_runs_with_assignments_a_seed_and_a_folder(tmp_path):
    answer = succeeds(
        "run", "sine-quick", *QUICK, "--set", "models.gru.hidden_size=5", "--seed", 3, "--out", tmp_path / "deep/runs"
    )
    (folder,) = run_folders(tmp_path / "deep/runs")
    assert folder.name.startswith("sine-quick-")
    assert folder.name.endswith("-3")
    experiment = rs.open_run(folder).experiment
    assert experiment.seed == 3
    assert experiment.models["gru"].hidden_size == 5
    assert experiment.task.num_points == 120
    assert str(folder) in answer.out
    assert answer.err == ""


def test_progress_goes_to_standard_error_and_quiet_switches_it_off(tmp_path):
    path = write_yaml(tmp_path / "my.yaml")
    loud, quiet = succeeds("run", path, "--out", tmp_path / "a"), succeeds("run", path, "--out", tmp_path / "b", "--quiet")
    assert "training gru" in loud.err
    assert "training" not in loud.out
    assert quiet.err == ""


def test_the_result_for_machines_is_json_alone(tmp_path):
    answer = succeeds("run", write_yaml(tmp_path / "my.yaml"), "--out", tmp_path / "runs", "--json")
    found = json.loads(answer.out)
    (folder,) = run_folders(tmp_path / "runs")
    assert (found["run"], answer.err) == (str(folder), "")
    assert found["verdict"] == rs.open_run(folder).verdict
    assert Path(found["report"]).is_file()


def test_only_trains_the_models_it_names(tmp_path):
    models = {name: rs.GRU(hidden_size=3, num_layers=1) for name in ("a", "b", "c")}
    path = write_yaml(tmp_path / "my.yaml", tiny(models=models, trainers={"b": rs.BPTT(epochs=1)}))
    succeeds("run", path, "--only", "a", "--only", "c", "--out", tmp_path / "runs", "--quiet")
    (folder,) = run_folders(tmp_path / "runs")
    assert set(strict_json(folder / "metrics.json")["models"]) == {"a", "c"}


def test_a_model_trained_alone_is_the_one_trained_beside_others(tmp_path, finished):
    path = write_yaml(tmp_path / "my.yaml", finished.experiment)
    succeeds("run", path, "--only", "elman", "--out", tmp_path / "runs", "--quiet")
    (folder,) = run_folders(tmp_path / "runs")
    alone = rs.open_run(folder).metrics["models"]["elman"]["test"]
    assert alone == finished.metrics["models"]["elman"]["test"]


def test_the_same_command_gives_the_same_scores_and_another_seed_others(tmp_path):
    path = write_yaml(tmp_path / "my.yaml")
    for seed in (1, 1, 2):
        succeeds("run", path, "--seed", seed, "--out", tmp_path / "runs", "--quiet")
    scores = {f: strict_json(f / "metrics.json")["models"]["gru"]["test"]["rmse"] for f in run_folders(tmp_path / "runs")}
    ones = [v for f, v in scores.items() if "-1" in f.name[-4:]]
    twos = [v for f, v in scores.items() if f.name.endswith("-2")]
    assert len(scores) == 3
    assert len(ones) == 2
    assert ones[0] == ones[1] != twos[0]


def test_a_yaml_file_with_a_base_needs_only_the_differences(tmp_path):
    path = tmp_path / "mine.yaml"
    changes = {
        "base": "sine-quick",
        "name": "mine",
        "task": {"num_points": 120, "window": 10},
        "trainer": {"epochs": 1, "learning_rate": "1e-2"},
    }
    path.write_text(yaml.safe_dump(changes))
    succeeds("run", path, "--out", tmp_path / "runs", "--quiet")
    (folder,) = run_folders(tmp_path / "runs")
    found, base = rs.open_run(folder).experiment, preset("sine-quick")
    assert found.name == "mine"
    assert found.models == base.models
    assert found.task == base.task.but(num_points=120, window=10)
    assert found.trainer == base.trainer.but(epochs=1, learning_rate=0.01)


def test_a_yaml_file_may_change_the_kind_of_a_part(tmp_path):
    path = tmp_path / "mine.yaml"
    changes = {"base": "sine-quick", "task": {"kind": "pendulum", "duration": 8.0, "window": 10}, "trainer": {"epochs": 1}}
    path.write_text(yaml.safe_dump(changes))
    found = parse_yaml(path.read_text(), "mine.yaml")
    assert found.task == rs.Pendulum(duration=8.0, window=10)


def test_the_configuration_of_a_run_runs_again_to_the_same_scores(tmp_path, finished):
    succeeds("run", finished.path / "config.yaml", "--out", tmp_path / "runs", "--quiet")
    (folder,) = run_folders(tmp_path / "runs")
    again = rs.open_run(folder)
    assert again.experiment == finished.experiment
    for name, entry in finished.metrics["models"].items():
        assert again.metrics["models"][name]["test"] == entry["test"]


# one's own parts


@pytest.mark.parametrize("name", ["study", "made"])
def test_an_experiment_of_one_s_own_runs_from_its_file(tmp_path, own, name):
    succeeds("run", f"{own}:{name}", "--out", tmp_path / "runs", "--quiet")
    (folder,) = run_folders(tmp_path / "runs")
    assert folder.name.startswith("sawtooth-")
    tree = yaml.safe_load((folder / "config.yaml").read_text())
    assert tree["task"]["kind"] == f"{own}:Sawtooth"
    assert tree["models"]["small"]["kind"] == f"{own}:SmallGRU"


def test_a_yaml_file_may_name_a_class_of_one_s_own(tmp_path, own):
    path = tmp_path / "mine.yaml"
    changes = {"base": "sine-quick", "task": {"kind": f"{own}:Sawtooth", "window": 8, "period": 5}, "trainer": {"epochs": 1}}
    path.write_text(yaml.safe_dump(changes))
    succeeds("run", path, "--out", tmp_path / "runs", "--quiet")
    (folder,) = run_folders(tmp_path / "runs")
    values = rs.Run(folder).data.series[0].values[:, 0]
    np.testing.assert_allclose(values[:10], np.array([0, 1, 2, 3, 4] * 2) / 5)


def test_a_run_folder_that_names_code_is_not_opened_without_leave(tmp_path, own):
    succeeds("run", f"{own}:study", "--out", tmp_path / "runs", "--quiet")
    (folder,) = run_folders(tmp_path / "runs")
    moved = tmp_path / "stranger.py"
    moved.write_text(OWN_PARTS)
    (tmp_path / "imported").unlink()
    config = folder / "config.yaml"
    config.write_text(config.read_text().replace(str(own), str(moved)))
    out = tmp_path / "forecast.csv"
    refused = cli("forecast", folder, "--steps", 3, "--out", out)
    assert refused.code == 2
    assert "is code in a file" in refused.err
    assert "--allow-source" in refused.err
    assert not out.exists()
    assert not (tmp_path / "imported").exists()
    succeeds("forecast", folder, "--steps", 3, "--out", out, "--allow-source")
    assert (tmp_path / "imported").exists()
    assert len(pd.read_csv(out)) == 3


def test_resuming_does_not_import_code_that_only_the_folder_names(tmp_path, own, finished):
    folder = tmp_path / "foreign"
    shutil.copytree(finished.path, folder)
    tree = yaml.safe_load((folder / "config.yaml").read_text())
    tree["task"] = {"kind": f"{own}:Sawtooth"}
    (folder / "config.yaml").write_text(yaml.safe_dump(tree))
    answer = cli("run", finished.path / "config.yaml", "--resume", folder)
    assert answer.code == 2
    assert not (tmp_path / "imported").exists()


@pytest.mark.parametrize(
    ("name", "found"),
    [("studdy", "unknown name"), ("number", "gives int"), ("Sawtooth", "gives Sawtooth")],
)
def test_a_name_in_a_file_that_is_no_experiment_is_refused(tmp_path, own, name, found):
    answer = cli("run", f"{own}:{name}", "--out", tmp_path / "runs")
    assert answer.code == 2
    assert found in answer.err
    assert not (tmp_path / "runs").exists()


# batch


def test_a_batch_runs_its_experiments_into_one_folder_and_compares_them(tmp_path):
    one = write_yaml(tmp_path / "one.yaml", tiny(name="one"))
    two = write_yaml(tmp_path / "two.yaml", tiny(name="two", models={"elman": rs.Elman(hidden_size=3)}))
    answer = succeeds("batch", one, two, one, "--out", tmp_path / "runs", "--set", "trainer.epochs=1", "--seed", 4, "--quiet")
    (folder,) = run_folders(tmp_path / "runs")
    rows = strict_json(folder / "batch.json")["runs"]
    assert [row["name"] for row in rows] == ["one", "two", "one"]
    assert len({row["folder"] for row in rows}) == 3
    for row in rows:
        run = rs.open_run(folder / row["folder"])
        assert (run.status, run.experiment.seed, row["error"]) == ("done", 4, None)
        assert row["verdict"] == run.verdict
        assert row["verdict"] in answer.out
    assert {p.name for p in folder.glob("comparison.*")} == {f"comparison.{k}" for k in ("csv", "png", "svg", "html")}


def test_one_failure_in_a_batch_does_not_stop_the_others_and_shows_in_the_exit_code(tmp_path):
    bad = write_yaml(tmp_path / "bad.yaml", tiny(name="bad", task=rs.Table(path=str(tmp_path / "none.csv"))))
    good = write_yaml(tmp_path / "good.yaml", tiny(name="good"))
    answer = cli("batch", bad, good, "--out", tmp_path / "runs", "--json")
    assert answer.code == 2
    rows = json.loads(answer.out)["runs"]
    assert "there is no file" in rows[0]["error"]
    assert rows[0]["verdict"] is None
    assert rows[1]["error"] is None
    (folder,) = run_folders(tmp_path / "runs")
    assert strict_json(folder / rows[0]["folder"] / "status.json")["state"] == "failed"


def test_a_batch_that_failed_altogether_promises_no_comparison(tmp_path):
    bad = write_yaml(tmp_path / "bad.yaml", tiny(name="bad", task=rs.Table(path=str(tmp_path / "none.csv"))))
    answer = cli("batch", bad, "--out", tmp_path / "runs")
    assert answer.code == 2
    pages = [Path(line.split(": ", 1)[1]) for line in answer.out.splitlines() if line.startswith("comparison: ")]
    assert all(page.is_file() for page in pages)


# studies


def small_study(**changes) -> rs.Study:
    models = {"gru": rs.GRU(hidden_size=3, num_layers=1), "elman": rs.Elman(hidden_size=3, num_layers=1)}
    one = tiny(name="first", models=models)
    return rs.Study(name="both", summary="two of them", experiments=(one, tiny(name="second")), **changes)


def test_a_study_is_carried_out_into_one_folder_with_one_page_and_one_table(tmp_path):
    path = tmp_path / "study.yaml"
    path.write_text(small_study().yaml())
    changes = ("--set", "trainer.epochs=1", "--set", "first.num_seeds=2", "--seed", 3)
    found = json.loads(succeeds("run", path, *changes, "--out", tmp_path / "runs", "--json").out)
    study = rs.StudyRun(found["folder"])
    assert [run.experiment.name for run in study.runs] == ["first", "second"]
    assert [run.experiment.num_seeds for run in study.runs] == [2, 1]
    assert all(run.experiment.seed == 3 for run in study.runs)
    assert (study.status, study.entries) == ("done", found["runs"])
    table = study.table
    assert list(table.index) == ["gru", "elman", "best baseline", "which is"]
    assert table.shape[1] == 2
    page = study.report.read_text(encoding="utf-8")
    for row in found["runs"]:
        assert f'href="{row["folder"]}/report.html"' in page
    assert "two of them" in page
    study.report.unlink()
    assert Path(json.loads(succeeds("report", study.path, "--json").out)["report"]) == study.report
    assert study.report.is_file()


def test_an_interrupted_study_goes_on_where_it_stood(tmp_path):
    study = small_study()

    def stop_at_the_second(experiment, folder):
        if experiment.name == "second":
            raise Interrupted("stopped", "", "")
        list(walk(experiment, folder))

    with pytest.raises(Interrupted) as caught:
        run_batch(study, tmp_path, stop_at_the_second)
    (folder,) = run_folders(tmp_path)
    assert f"--resume {folder}" in caught.value.remedy
    before = [row["folder"] for row in strict_json(folder / "batch.json")["runs"]]
    with without_drawing():
        found = rs.run(study, out=tmp_path, resume=folder)
    assert [row["folder"] for row in found.entries] == before
    assert all(row["verdict"] for row in found.entries)
    with pytest.raises(rs.ConfigError, match="configuration changed"):
        rs.run(study, out=tmp_path, resume=folder, seed=9)


def test_a_study_has_one_experiment_at_least_and_its_file_says_what_it_holds(tmp_path):
    with pytest.raises(rs.ConfigError, match="experiments"):
        rs.Study(experiments=())
    assert rs.Study(**yaml.safe_load(small_study().yaml())) == small_study()


@pytest.mark.parametrize("name", STUDIES)
def test_what_show_prints_of_a_study_is_yaml_that_makes_the_same_study(name):
    text = succeeds("show", name).out
    assert parse_any(text, "show") == rs.study(name)
    assert "# task: " in text


# forecast

READ = {
    ".csv": pd.read_csv,
    ".parquet": pd.read_parquet,
    ".json": pd.read_json,
    ".npz": lambda path: pd.DataFrame(dict(np.load(path, allow_pickle=False))),
}


@pytest.mark.parametrize("suffix", READ)
def test_a_forecast_goes_on_in_time_with_bounds_around_it(tmp_path, finished, suffix):
    out = tmp_path / "deep" / f"forecast{suffix}"
    answer = succeeds("forecast", finished.path, "--steps", 9, "--out", out)
    found = READ[suffix](out)
    assert list(found.columns) == ["time", "x", "x_lower", "x_upper"]
    times = finished.data.series[0].times
    np.testing.assert_allclose(found["time"], times[-1] + (times[1] - times[0]) * np.arange(1, 10))
    assert (found["x_lower"] <= found["x"]).all()
    assert (found["x"] <= found["x_upper"]).all()
    assert (np.diff(found["x_upper"] - found["x_lower"]) >= -1e-9).all()
    assert str(out) in answer.out
    assert list(out.parent.iterdir()) == [out]


def test_a_forecast_is_by_the_chosen_model_unless_another_is_named(tmp_path, finished):
    for name in (None, "gru", "elman"):
        out = tmp_path / f"{name}.csv"
        words = ["--model", name] if name else []
        found = json.loads(succeeds("forecast", finished.path, "--steps", 4, "--out", out, "--json", *words).out)
        assert found == {"file": str(out), "model": name or finished.best_model(), "steps": 4}
    chosen, other = finished.best_model(), ({"gru", "elman"} - {finished.best_model()}).pop()
    assert (tmp_path / "None.csv").read_text() == (tmp_path / f"{chosen}.csv").read_text()
    assert (tmp_path / "None.csv").read_text() != (tmp_path / f"{other}.csv").read_text()


def test_a_longer_forecast_begins_with_the_shorter_one(tmp_path, finished):
    for steps in (1, 5, 200):
        succeeds("forecast", finished.path, "--steps", steps, "--out", tmp_path / f"{steps}.csv")
    one, five, many = (pd.read_csv(tmp_path / f"{n}.csv") for n in (1, 5, 200))
    pd.testing.assert_frame_equal(many[:5], five)
    pd.testing.assert_frame_equal(five[:1], one)
    assert np.isfinite(many.to_numpy()).all()


@pytest.mark.parametrize(("freq", "following"), [("MS", "2021-07-01"), ("D", "2018-05-01"), ("h", "2018-01-06")])
def test_a_forecast_of_dated_values_goes_on_with_dates(tmp_path, freq, following):
    dates = pd.date_range(end=pd.Timestamp(following), periods=121, freq=freq)[:-1]
    path = write_csv(tmp_path / "d.csv", at=dates.strftime("%Y-%m-%dT%H:%M:%S"), load=wave(120))
    run = run_tiny(tmp_path / "runs", task=rs.Table(path=str(path), target="load", time="at", window=10))
    out = tmp_path / "f.csv"
    succeeds("forecast", run.path, "--steps", 3, "--out", out)
    found = pd.to_datetime(pd.read_csv(out)["time"])
    assert list(found) == list(pd.date_range(following, periods=3, freq=freq))


def covariate_run(folder: Path, ahead: bool = True) -> rs.Run:
    path = write_csv(folder / "c.csv", load=wave(120), heat=np.cos(0.2 * np.arange(120)), wind=np.sin(0.1 * np.arange(120)))
    task = rs.Table(path=str(path), target="load", covariates=("heat", "wind"), covariates_ahead=ahead, window=10)
    return run_tiny(folder / "runs", task=task)


@pytest.mark.parametrize("ahead", [True, False])
def test_a_forecast_with_covariates_reads_the_coming_ones_from_a_file(tmp_path, ahead):
    run = covariate_run(tmp_path, ahead)
    coming = write_csv(tmp_path / "coming.csv", wind=np.sin(0.1 * np.arange(120, 130)), heat=np.cos(0.2 * np.arange(120, 130)))
    other = write_csv(tmp_path / "other.csv", wind=np.zeros(10), heat=np.linspace(2, 3, 10))
    for name, path in (("f", coming), ("g", other)):
        succeeds("forecast", run.path, "--steps", 10, "--out", tmp_path / f"{name}.csv", "--covariates", path)
    f, g = pd.read_csv(tmp_path / "f.csv"), pd.read_csv(tmp_path / "g.csv")
    assert len(f) == 10
    assert np.isfinite(f.to_numpy()).all()
    assert not np.allclose(f["load"], g["load"])


@pytest.mark.parametrize(
    "columns",
    [
        {"heat": [1.0] * 5},
        {"heat": [1.0] * 3, "wind": [1.0] * 3},
        {"heat": ["warm"] * 5, "wind": [1.0] * 5},
        {"heat": [1.0, None, 1.0, 1.0, 1.0], "wind": [1.0] * 5},
        {"heat": [1.0, np.inf, 1.0, 1.0, 1.0], "wind": [1.0] * 5},
        None,
    ],
    ids=["a column short", "rows short", "text", "a gap", "infinite", "none at all"],
)
def test_covariates_that_do_not_serve_are_refused(tmp_path, columns):
    run = covariate_run(tmp_path)
    words = ["--covariates", write_csv(tmp_path / "coming.csv", **columns)] if columns else []
    answer = cli("forecast", run.path, "--steps", 5, "--out", tmp_path / "f.csv", *words)
    assert answer.crash is None
    assert answer.code == 2
    assert "to do:" in answer.err
    assert not (tmp_path / "f.csv").exists()


def test_any_of_several_series_can_be_continued(tmp_path):
    path = write_csv(tmp_path / "m.csv", name=np.repeat(["a", "b"], 60), load=np.concatenate([wave(60), 100 + wave(60)]))
    task = rs.Table(path=str(path), target="load", series="name", window=10)
    run = run_tiny(tmp_path / "runs", task=task)
    for number in (0, 1):
        succeeds("forecast", run.path, "--steps", 3, "--series", number, "--out", tmp_path / f"{number}.csv")
    assert not np.allclose(pd.read_csv(tmp_path / "0.csv")["load"], pd.read_csv(tmp_path / "1.csv")["load"])
    assert cli("forecast", run.path, "--series", 2, "--out", tmp_path / "2.csv").code == 2


def test_a_forecast_after_the_file_has_changed_is_the_old_one_or_is_refused(tmp_path):
    path = write_csv(tmp_path / "d.csv", load=wave(120))
    run = run_tiny(tmp_path / "runs", task=rs.Table(path=str(path), window=10))
    succeeds("forecast", run.path, "--steps", 5, "--out", tmp_path / "before.csv")
    write_csv(path, load=10 * wave(120) + 1)
    answer = cli("forecast", run.path, "--steps", 5, "--out", tmp_path / "after.csv")
    if answer.code == 0:
        pd.testing.assert_frame_equal(pd.read_csv(tmp_path / "after.csv"), pd.read_csv(tmp_path / "before.csv"))
    else:
        assert (answer.code, answer.crash) == (2, None)
        assert "to do:" in answer.err


def test_a_run_of_a_relative_path_forecasts_from_any_folder(tmp_path, monkeypatch):
    write_csv(tmp_path / "d.csv", load=wave(120))
    monkeypatch.chdir(tmp_path)
    run = run_tiny(tmp_path / "runs", task=rs.Table(path="d.csv", window=10))
    monkeypatch.chdir("/")
    succeeds("forecast", run.path, "--steps", 3, "--out", tmp_path / "f.csv")


@pytest.mark.parametrize("names", [("time",), ("x", "x_lower")])
def test_every_variable_has_a_column_of_its_own_in_the_forecast(tmp_path, names):
    path = write_csv(tmp_path / "d.csv", **{name: wave(120) + i for i, name in enumerate(names)})
    run = run_tiny(tmp_path / "runs", task=rs.Table(path=str(path), target=names, window=10))
    found = run.forecast(4)
    assert found.shape[1] == 1 + 3 * len(names)
    assert found.columns.is_unique


def test_an_archive_holds_a_variable_of_any_name(tmp_path):
    path = write_csv(tmp_path / "d.csv", file=wave(120))
    run = run_tiny(tmp_path / "runs", task=rs.Table(path=str(path), window=10))
    succeeds("forecast", run.path, "--steps", 3, "--out", tmp_path / "f.npz")
    assert set(np.load(tmp_path / "f.npz").files) == {"time", "file", "file_lower", "file_upper"}


# compare and report


def test_compare_prints_one_table_and_writes_one_figure(tmp_path, finished, second):
    answer = succeeds("compare", finished.path, second.path, "--out", tmp_path / "c")
    table = pd.read_csv(tmp_path / "c/comparison.csv")
    for run in (finished, second):
        rows = table[table["run"] == run.path.name].set_index("name")
        for name, entry in {**run.metrics["models"], **run.metrics["baselines"]}.items():
            assert rows.loc[name, "rmse"] == pytest.approx(entry["test"]["rmse"])
            assert rows.loc[name, "closed_loop_rmse"] == pytest.approx(entry["closed_loop"]["rmse"])
            assert name in answer.out
    page = (tmp_path / "c/comparison.html").read_text(encoding="utf-8")
    assert finished.path.name in page
    assert "not comparable" in page
    assert {p.suffix for p in (tmp_path / "c").iterdir()} == {".csv", ".png", ".svg", ".html"}


def test_compare_for_machines_is_json(tmp_path, finished):
    found = json.loads(succeeds("compare", finished.path, "--out", tmp_path / "c", "--json").out)
    assert found["folder"] == str(tmp_path / "c")
    assert {row["name"] for row in found["rows"]} == {*finished.metrics["models"], *finished.metrics["baselines"]}


def test_runs_on_the_same_data_are_said_to_be_comparable(tmp_path, finished):
    other = run_tiny(tmp_path / "runs", models={"lstm": rs.LSTM(hidden_size=3)})
    succeeds("compare", finished.path, other.path, "--out", tmp_path / "c")
    assert pd.read_csv(tmp_path / "c/comparison.csv")["data"].nunique() == 1
    assert "not comparable" not in (tmp_path / "c/comparison.html").read_text(encoding="utf-8")


def test_runs_of_the_same_name_are_told_apart(tmp_path, finished):
    copies = []
    for name in ("here", "there"):
        shutil.copytree(finished.path, tmp_path / name / finished.path.name)
        copies.append(tmp_path / name / finished.path.name)
    found = rs.compare([rs.open_run(c) for c in copies])
    assert len(found) == 2 * (len(finished.metrics["models"]) + len(finished.metrics["baselines"]))


def test_a_report_written_again_is_the_first_one(tmp_path, finished):
    folder = tmp_path / finished.path.name
    shutil.copytree(finished.path, folder)
    before = (folder / "report.html").read_text(encoding="utf-8")
    (folder / "report.html").unlink()
    found = json.loads(succeeds("report", folder, "--json").out)
    assert Path(found["report"]) == folder / "report.html"
    assert (folder / "report.html").read_text(encoding="utf-8") == before


# errors for machines and for us


def test_an_error_for_machines_is_json_with_its_three_parts():
    answer = cli("run", "sinne", "--json")
    assert answer.code == 2
    found = json.loads(answer.out)
    assert set(found) == {"error", "expected", "remedy"}
    assert "sinne" in found["error"]


def test_debug_lets_the_error_through():
    answer = cli("run", "sinne", "--debug")
    assert isinstance(answer.crash, rs.ConfigError)
    assert answer.code == 1


@pytest.mark.parametrize("words", [["run"], ["walk"], ["run", "sine", "--sed", "3"], ["forecast", "x", "--steps", "many"]])
def test_words_that_are_no_command_end_with_code_two(words):
    answer = cli(*words)
    assert answer.code == 2
    assert answer.crash is None
    assert "Error" in answer.err
