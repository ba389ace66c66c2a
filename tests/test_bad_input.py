"""Everything a user can get wrong: what was found, what was expected, what to do; exit code 2; nothing half-written."""

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
import torch
import yaml

import rnnscope as rs
from helpers import cli, run_folders, run_tiny, succeeds, tiny, unfinished, wave, without_drawing, write_csv, write_yaml

STEPS = 120
Words = list[object]


@dataclass(frozen=True)
class Case:
    """One mistake: how to make the command (in a folder of its own), and what the answer has to say.

    Attributes:
        words: folder -> the command, without --out. found: in the first line. expected, remedy: in the other two.
    """

    words: Callable[[Path], Words]
    found: str
    expected: str = ""
    remedy: str = ""


def sine(*assignments: str, words: tuple[object, ...] = ()) -> Callable[[Path], Words]:
    """The quick preset with assignments."""
    return lambda folder: ["run", "sine-quick", "--quiet", *words, *(w for a in assignments for w in ("--set", a))]


def table(make: Callable[[Path], Path], *assignments: str) -> Callable[[Path], Words]:
    """The `table` preset on a file made in the folder, with a small window and one epoch."""

    def command(folder: Path) -> Words:
        fixed = (f"task.path={make(folder)}", "task.window=10", "trainer.epochs=1")
        return ["run", "table", "--quiet", *(w for a in (*fixed, *assignments) for w in ("--set", a))]

    return command


def columns(**given: object) -> Callable[[Path], Path]:
    """A CSV of these columns."""
    return lambda folder: write_csv(folder / "data.csv", **given)


def content(name: str, text: str | bytes) -> Callable[[Path], Path]:
    """A file with this content."""

    def make(folder: Path) -> Path:
        path = folder / name
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return make


def directory(name: str) -> Callable[[Path], Path]:
    """A folder where a file is wanted."""

    def make(folder: Path) -> Path:
        (folder / name).mkdir()
        return folder / name

    return make


def archive(**arrays: np.ndarray) -> Callable[[Path], Path]:
    """An NPZ file."""

    def make(folder: Path) -> Path:
        np.savez(folder / "data.npz", **arrays)
        return folder / "data.npz"

    return make


def array(values: np.ndarray) -> Callable[[Path], Path]:
    """An NPY file."""

    def make(folder: Path) -> Path:
        np.save(folder / "data.npy", values)
        return folder / "data.npy"

    return make


def near_miss(folder: Path) -> Path:
    write_csv(folder / "electricity.csv", load=wave(STEPS))
    return folder / "electricty.csv"


def spoiled(row: int, value: object) -> dict[str, object]:
    load: list[object] = list(wave(STEPS))
    load[row - 1] = value
    return {"load": load, "heat": wave(STEPS)}


def yaml_file(text: str | bytes, name: str = "my.yaml") -> Callable[[Path], Words]:
    return lambda folder: ["run", content(name, text)(folder), "--quiet"]


def changed_tree(change: Callable[[dict[str, object]], object]) -> Callable[[Path], Words]:
    """A YAML file of the tiny experiment after a change."""

    def command(folder: Path) -> Words:
        tree = tiny().tree()
        change(tree)
        (folder / "my.yaml").write_text(yaml.safe_dump(tree))
        return ["run", folder / "my.yaml", "--quiet"]

    return command


LOAD = "task.target=load"
GOOD = columns(load=wave(STEPS))

DATA = {
    "a file that is not there": Case(table(lambda f: f / "none.csv"), "there is no file", "existing file", "looked in"),
    "a file that is not there, another nearly": Case(table(near_miss), "there is no file", "existing", "'electricity.csv'"),
    "no path": Case(lambda f: ["run", "table", "--quiet"], "task.path is empty", "CSV", "set task.path="),
    "an empty file": Case(table(content("e.csv", "")), "is empty", "header line"),
    "a header only": Case(table(content("h.csv", "load,heat\n"), LOAD), "holds no rows", "rows"),
    "no header": Case(table(content("n.csv", "1.5\n" + "\n".join(map(str, wave(60))))), "", "header"),
    "a header behind a mark of comment": Case(
        table(content("m.csv", "# load\n" + "\n".join(map(str, wave(60))))), "", "header"
    ),
    "comments only": Case(table(content("c.csv", "# a\n# b\n"), LOAD), "no column 'load'"),
    "a folder instead of a file": Case(table(directory("d.csv")), "is a folder", "a file"),
    "an unknown kind of file": Case(table(content("d.xlsx", "x")), "ends in '.xlsx'", ".csv", "convert"),
    "a file without a suffix": Case(table(content("data", "x\n1\n")), "ends in ''", ".csv"),
    "text that is not UTF-8": Case(table(content("l.csv", "größe\n1\n".encode("latin-1"))), "cannot be read", "well-formed"),
    "rows of different length": Case(table(content("r.csv", "a,b\n1,2\n1,2,3\n")), "cannot be read", "well-formed"),
    "garbage for a Parquet file": Case(table(content("g.parquet", "PAR1")), "cannot be read", ".parquet"),
    "garbage for an archive": Case(table(content("g.npz", "PK\x03\x04")), "cannot be read", ".npz"),
    "objects in an archive": Case(table(archive(load=np.array([1.0, None], object)), LOAD), "cannot be read", ".npz"),
    "objects in an array": Case(table(array(np.array([1.0, "a"], object))), "cannot be read", ".npy"),
    "an array with three axes": Case(table(array(np.zeros((5, 5, 5)))), "cannot be read", ".npy"),
    "no such column": Case(table(columns(load=wave(STEPS)), "task.target=laod"), "no column 'laod'", "load", "mean 'load'"),
    "no such covariate": Case(table(GOOD, LOAD, "task.covariates=[loda]"), "no column 'loda'", "load", "mean 'load'"),
    "no such time column": Case(table(GOOD, LOAD, "task.time=when"), "no column 'when'", "load"),
    "no such series column": Case(table(GOOD, LOAD, "task.series=who"), "no column 'who'", "load"),
    "no target among several": Case(
        table(columns(a=wave(STEPS), b=wave(STEPS))), "2 numeric columns", "a, b", "task.target=COLUMN"
    ),
    "no number anywhere": Case(table(columns(a=["x", "y"] * 60)), "0 numeric columns", "task.target"),
    "text in a number column": Case(table(columns(**spoiled(8, "broken")), LOAD), "'load'", "numbers", "mend that row"),
    "text in a covariate": Case(
        table(columns(**spoiled(8, "broken")), "task.target=heat", "task.covariates=[load]"), "holds 'broken' at row 8"
    ),
    "a missing value without a policy": Case(
        table(columns(**spoiled(31, None)), LOAD), "'load' of data.csv is missing at row 31", "a policy", "task.missing="
    ),
    "NaN in an array": Case(table(array(np.append(wave(STEPS), np.nan))), "missing at row 121", "a policy", "task.missing="),
    "an infinite value": Case(table(columns(**spoiled(5, np.inf)), LOAD), "infinite at row 5", "finite numbers"),
    "an infinite value with a policy": Case(
        table(columns(**spoiled(5, -np.inf)), LOAD, "task.missing=interpolate"), "infinite at row 5", "finite numbers"
    ),
    "nothing but gaps": Case(table(columns(load=[None] * 50, n=range(50)), LOAD, "task.missing=drop"), "", "", ""),
    "a series shorter than window and horizon": Case(
        table(columns(load=wave(11)), "task.horizon=2"), "has 11 steps", "window + horizon + 1 = 13", "task.window"
    ),
    "a test part without a step": Case(table(GOOD, "task.split.test=0"), "test part", "", "task.split"),
    "more test steps than there are": Case(table(GOOD, "task.split.test_steps=500"), "part", "", "task.split"),
    "a test that begins after the end": Case(table(GOOD, "task.split.test_from=1e6"), "test part", "", "task.split"),
    "a test that begins on no date": Case(table(GOOD, "task.split.test_from=soon"), "'soon' is no number", "a time"),
    "a constant series": Case(table(columns(load=[3.5] * 60)), "'load' is constant (3.5)", "varies", "another column"),
    "a constant series without scaling": Case(
        table(columns(load=[3.5] * 60), "task.scaling=none"), "'load' is constant (3.5)", "varies", "another column"
    ),
    "a constant series in differences": Case(
        table(columns(load=np.arange(60.0)), "task.differences=2"), "is constant", "varies"
    ),
    "a time column that goes back": Case(
        table(columns(t=[*range(60), *range(60)], load=wave(STEPS)), LOAD, "task.time=t"),
        "'t' of data.csv does not increase at row 61",
        "strictly increasing",
        "sort the file",
    ),
    "a time that comes twice": Case(
        table(columns(t=[*range(60), *range(59, 119)], load=wave(STEPS)), LOAD, "task.time=t"),
        "does not increase at row 61 (59.0 then 59.0)",
        "strictly increasing",
        "drop repeats",
    ),
    "a date that comes twice": Case(
        table(columns(t=["2020-01-01", "2020-01-02", "2020-01-02"] * 20, load=wave(60)), LOAD, "task.time=t"),
        "does not increase at row 3",
        "strictly increasing",
    ),
    "a word among dates": Case(
        table(columns(t=["2020-01-01", "later"] * 30, load=wave(60)), LOAD, "task.time=t"),
        "holds 'later' at row 2",
        "ISO dates",
        "mend that row",
    ),
    "a root of negative values": Case(table(columns(load=wave(STEPS) - 9), "task.transform=sqrt"), "has the value", "sqrt"),
    "one series split by series": Case(table(GOOD, "task.split.by=series"), "one series only", "several series"),
}

NAMES = {
    "an unknown preset": Case(lambda f: ["run", "sunspot"], "unknown preset 'sunspot'", "sunspots", "mean 'sunspots'?"),
    "a preset like no other": Case(lambda f: ["run", "qqqqqq"], "unknown preset", "one of", "choose one"),
    "an unknown preset in a batch": Case(lambda f: ["batch", "sine-quick", "sinne"], "unknown preset 'sinne'", "", "'sine'"),
    "an unknown preset as a base": Case(yaml_file("base: sine-quik\n"), "unknown preset 'sine-quik'", "", "'sine-quick'"),
    "an unknown field": Case(sine("models.gru.hiden_size=3"), "no 'hiden_size'", "hidden_size", "mean 'hidden_size'"),
    "an unknown field of a field": Case(sine("task.split.tset=0.5"), "no 'tset'", "test", "mean 'test'"),
    "an unknown field in YAML": Case(
        changed_tree(lambda t: t["models"]["gru"].update(hiden_size=3)), "'hiden_size'", "hidden_size", "'hidden_size'"
    ),
    "an unknown field of the experiment in YAML": Case(
        changed_tree(lambda t: t.update(sede=3)), "'sede'", "seed", "did you mean 'seed'"
    ),
    "a field below a plain value": Case(sine("seed.value=3"), "below a plain value", "ends there", "shorten"),
    "an unknown model": Case(sine(words=("--only", "grru")), "unknown model 'grru'", "gru", "mean 'gru'"),
    "an unknown model's trainer": Case(sine("trainers={lstm: bptt}"), "'lstm'", "gru"),
    "an unknown kind of model": Case(sine("models.gru.kind=lstmm"), "unknown model 'lstmm'", "lstm", "mean 'lstm'"),
    "an unknown kind of task": Case(sine("task.kind=pendulm"), "unknown task 'pendulm'", "pendulum", "mean 'pendulum'"),
    "an unknown baseline": Case(
        sine("evaluation.baselines=[last_vale]", "trainer.epochs=1", "task.num_points=120"),
        "baseline 'last_vale'",
        "last_value",
    ),
    "an unknown embedded series": Case(
        lambda f: ["run", "sunspots", "--set", "task.dataset=moonspots"], "dataset", "'sunspots'", "dataset"
    ),
    "an unknown variable": Case(
        lambda f: ["run", "pendulum", "--quiet", "--set", "task.observed=[tetha]"], "variable 'tetha'", "theta", "mean 'theta'"
    ),
    "a Python file that is not there": Case(lambda f: ["run", f / "my.py:study"], "there is no file", "Python file"),
    "a name that is not in the file": Case(
        lambda f: ["run", f"{content('my.py', 'study = 3')(f)}:stduy"], "unknown name", "study", "mean 'study'"
    ),
}

VALUES = {
    "a word for a number": Case(sine("models.gru.hidden_size=many"), "hidden_size' is 'many'", "integer", "hidden_size"),
    "a fraction for a count": Case(sine("task.window=3.5"), "window' is 3.5", "integer", "window"),
    "a number for a word": Case(sine("task.signal=3"), "signal' is 3", "'sine'", "signal"),
    "a list for a number": Case(sine("trainer.epochs=[1, 2]"), "epochs' is [1, 2]", "integer"),
    "nothing for a number": Case(sine("trainer.epochs="), "epochs' is None", "integer"),
    "a negative size": Case(sine("models.gru.hidden_size=-4"), "hidden_size' is -4", "greater than or equal to 1"),
    "no window": Case(sine("task.window=0"), "window' is 0", "greater than or equal to 1"),
    "no learning rate": Case(sine("trainer.learning_rate=0"), "learning_rate' is 0", "greater than 0"),
    "a learning rate that is no number": Case(sine("trainer.learning_rate=.nan"), "learning_rate' is nan", "finite|greater"),
    "an infinite duration": Case(sine("task.duration=.inf"), "duration' is inf", "finite"),
    "a share above one": Case(sine("task.split.test=1.5"), "test' is 1.5", "less than 1"),
    "an unknown choice": Case(sine("task.split.kind=random"), "kind", "'chronological'"),
    "a level of one": Case(sine("evaluation.level=1.0"), "level' is 1.0", "less than 1"),
    "a momentum of Adam above one": Case(sine("trainer.betas=[0.9, 1.5]"), "betas", "", "betas"),
    "a probability above one": Case(sine("trainer.teacher_forcing=2.0"), "teacher_forcing' is 2", "less than or equal to 1"),
    "a negative seed": Case(sine(words=("--seed", -3)), "--seed -3", "whole number >= 0", "another seed"),
    "a negative seed among the fields": Case(sine("seed=-3"), "seed' is -3", "greater than or equal to 0"),
    "no model": Case(sine("models={}"), "models", "at least 1"),
    "a number for a model": Case(sine("models.gru=5"), "models.gru", "a mapping"),
    "a model without a kind": Case(changed_tree(lambda t: t["models"]["gru"].pop("kind")), "no kind", "gru", "kind"),
    "a model's name with a slash": Case(sine("models={a/b: gru}"), "'a/b'", "letters", "another name"),
    "an experiment without a task": Case(changed_tree(lambda t: t.pop("task")), "lacks the field 'task'", "a value"),
    "an assignment without a value": Case(sine("seed"), "'seed' is no assignment", "path=value", "add the '=value'"),
    "an assignment without a path": Case(sine("=3"), "'=3' is no assignment", "path=value"),
    "an assignment that is no YAML": Case(sine("models={gru: ["), "is not YAML", "a number", "quote it"),
    "an index past the end": Case(sine("evaluation.baselines.9=mean"), "'9'", "0 to 4", "count from 0"),
    "an unknown device": Case(sine("device=quantum"), "'quantum' is no device", "cpu or cuda", "device=cpu"),
    "a device that is not supported": Case(sine("device=meta"), "'meta' is not supported", "cpu or cuda", "device=cpu"),
    "an unstable step": Case(
        lambda f: ["run", "lorenz63", "--quiet", "--set", "task.dt=0.5"], "finite numbers", "stable step", "task.dt smaller"
    ),
    "a duration below one step": Case(lambda f: ["run", "pendulum", "--quiet", "--set", "task.duration=0.001"], ""),
    "a rolling fold that is not there": Case(sine("task.split.kind=rolling", "task.split.fold=7"), "fold is 7", "0 to 4"),
}

FILES = {
    "a YAML file that is not there": Case(
        lambda f: ["run", f / "none.yaml"], "there is no file", "a YAML file", "rnnscope list"
    ),
    "a YAML file without content": Case(yaml_file(""), "holds NoneType", "a YAML mapping", "rnnscope show"),
    "a YAML file with comments only": Case(yaml_file("# hello\n"), "holds NoneType", "a YAML mapping", "rnnscope show"),
    "a YAML list": Case(yaml_file("- a\n- b\n"), "holds list", "a YAML mapping", "rnnscope show"),
    "a YAML word": Case(yaml_file("sine\n"), "holds str", "a YAML mapping", "rnnscope show"),
    "YAML with a syntax error": Case(yaml_file("task: {kind: [\n"), "is not YAML", "a YAML mapping"),
    "YAML with a tab": Case(yaml_file("task:\n\tkind: sine\n"), "is not YAML", "a YAML mapping"),
    "YAML that makes objects": Case(yaml_file("!!python/object/apply:os.system ['true']\n"), "is not YAML", "a YAML mapping"),
    "YAML with a key that is no word": Case(yaml_file("3: 4\n"), "", ""),
    "a YAML file that is not UTF-8": Case(yaml_file("name: größe\n".encode("latin-1")), "is not text", "UTF-8", "check"),
    "a YAML file of control characters": Case(yaml_file(b"name: \x07\x00\n"), "is not YAML", "a YAML mapping"),
    "a folder called like a YAML file": Case(lambda f: ["run", directory("d.yaml")(f)], "there is no file", "a YAML file"),
}

FOUND_LATER = ("an unknown baseline", "an unknown variable")


def check(answer: object, case: Case, out: Path) -> None:
    assert answer.crash is None, repr(answer.crash)
    assert answer.code == 2, answer.out + answer.err
    assert "Traceback" not in answer.err + answer.out
    found, expected, remedy = three_parts(answer.err)
    assert case.found in found
    assert any(word in expected for word in case.expected.split("|"))
    assert case.remedy in remedy
    assert unfinished(out) == []


def three_parts(text: str) -> tuple[str, str, str]:
    """What was found, what was expected and what to do, none of them empty."""
    assert text.startswith("error: ")
    found, rest = text.removeprefix("error: ").split("\n  expected: ", 1)
    expected, remedy = rest.split("\n  to do:    ", 1)
    assert found.strip()
    assert expected.strip()
    assert remedy.strip()
    return found, expected, remedy


@pytest.fixture(autouse=True)
def _blank_figures():
    with without_drawing():
        yield


@pytest.mark.parametrize("name", [*DATA, *NAMES, *VALUES, *FILES])
def test_a_mistake_is_answered_in_three_parts_and_leaves_nothing_half_written(tmp_path, name):
    case = {**DATA, **NAMES, **VALUES, **FILES}[name]
    out = tmp_path / "runs"
    check(cli(*case.words(tmp_path), "--out", out), case, out)


@pytest.mark.parametrize("name", [name for name in (*NAMES, *FILES) if name not in FOUND_LATER])
def test_what_is_wrong_with_the_words_is_said_before_any_folder_is_made(tmp_path, name):
    case = {**NAMES, **FILES}[name]
    cli(*case.words(tmp_path), "--out", tmp_path / "runs")
    assert not (tmp_path / "runs").exists()


def test_text_in_a_number_column_is_shown_with_its_row_and_value(tmp_path):
    answer = cli(*DATA["text in a number column"].words(tmp_path), "--out", tmp_path / "runs")
    assert "holds 'broken' at row 8" in answer.err


def test_a_failed_run_says_in_its_folder_why(tmp_path):
    answer = cli(*DATA["a constant series"].words(tmp_path), "--out", tmp_path / "runs")
    (folder,) = run_folders(tmp_path / "runs")
    status = yaml.safe_load((folder / "status.json").read_text())
    assert status["state"] == "failed"
    assert three_parts(answer.err)[0] in status["error"]
    assert not (folder / "metrics.json").exists()


# a device that is not there

no_gpu = pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
NO_GPU = Case(sine("device=cuda"), "no CUDA GPU", "cpu", "device=cpu")


@no_gpu
@pytest.mark.parametrize("device", ["cuda", "cuda:0"])
def test_a_gpu_that_is_not_there_is_refused_before_any_folder_is_made(tmp_path, device):
    answer = cli("run", "sine-quick", "--set", f"device={device}", "--out", tmp_path / "runs")
    check(answer, NO_GPU, tmp_path / "runs")
    assert not (tmp_path / "runs").exists()


@no_gpu
def test_a_gpu_that_is_not_there_is_refused_in_a_batch_too(tmp_path):
    answer = cli("batch", "sine-quick", "--set", "device=cuda", "--out", tmp_path / "runs")
    assert (answer.code, answer.crash) == (2, None)
    assert "no CUDA GPU" in answer.err + answer.out
    assert unfinished(tmp_path / "runs") == []


# where to write


@pytest.mark.parametrize("below", ["file", "file/deep/runs"])
@pytest.mark.parametrize("verb", ["run", "batch"])
def test_an_output_folder_that_cannot_be_written_is_refused(tmp_path, verb, below):
    (tmp_path / "file").write_text("in the way")
    answer = cli(verb, "sine-quick", "--out", tmp_path / below)
    check(answer, Case(sine(), "cannot be written", "may write", "--out"), tmp_path / "runs")
    assert (tmp_path / "file").read_text() == "in the way"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_without_leave_to_write_is_refused(tmp_path):
    (tmp_path / "closed").mkdir(mode=0o500)
    answer = cli("run", "sine-quick", "--out", tmp_path / "closed" / "runs")
    check(answer, Case(sine(), "cannot be written", "may write", "--out"), tmp_path / "runs")


# verbs that read a run


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    return run_tiny(tmp_path_factory.mktemp("finished"))


READING = {
    "no step": (["--steps", 0], Case(sine(), "steps is 0", "at least 1", "one step or more")),
    "fewer than no step": (["--steps", -5], Case(sine(), "steps is -5", "at least 1")),
    "an unknown model": (["--model", "grru"], Case(sine(), "unknown model 'grru'", "gru", "mean 'gru'")),
    "a series that is not there": (["--series", 3], Case(sine(), "series number 3", "0 to 0", "count from 0")),
    "a negative series": (["--series", -1], Case(sine(), "series number -1", "0 to 0", "count from 0")),
    "covariates that are not there": (["--covariates", "none.csv"], Case(sine(), "no file 'none.csv'", "existing")),
}


@pytest.mark.parametrize("name", READING)
def test_a_forecast_that_cannot_be_made_is_refused_and_writes_nothing(tmp_path, finished, name):
    words, case = READING[name]
    answer = cli("forecast", finished.path, "--out", tmp_path / "f.csv", *words)
    check(answer, case, tmp_path / "runs")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("out", ["f.xlsx", "f", "folder", "folder.csv", "file/f.csv"])
def test_a_forecast_that_cannot_be_written_is_refused_and_leaves_everything_as_it_was(tmp_path, finished, out):
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder.csv").mkdir()
    (tmp_path / "file").write_text("in the way")
    before = sorted(tmp_path.rglob("*"))
    answer = cli("forecast", finished.path, "--steps", 2, "--out", tmp_path / out)
    check(answer, Case(sine(), "", "", ""), tmp_path / "runs")
    assert sorted(tmp_path.rglob("*")) == before


def test_a_comparison_that_cannot_be_written_is_refused(tmp_path, finished):
    (tmp_path / "file").write_text("in the way")
    answer = cli("compare", finished.path, "--out", tmp_path / "file" / "c")
    check(answer, Case(sine(), "cannot be written", "may write", "--out"), tmp_path / "runs")


def test_resuming_with_another_configuration_names_the_field(tmp_path, finished):
    answer = cli("run", finished.path / "config.yaml", "--set", "trainer.epochs=7", "--resume", finished.path)
    check(answer, Case(sine(), "trainer.epochs", "same configuration", "without --set"), tmp_path / "runs")
    assert finished.status == "done"


# for machines, and for us


def test_with_debug_the_traceback_is_there(tmp_path):
    words = VALUES["a word for a number"].words(tmp_path)
    script = "import sys; from rnnscope.cli import app; app()"
    done = subprocess.run(
        [sys.executable, "-c", script, *map(str, words), "--debug"], capture_output=True, text=True, timeout=200, check=False
    )
    assert done.returncode == 1
    assert "Traceback (most recent call last)" in done.stderr
    assert "ConfigError" in done.stderr


def test_in_python_a_mistake_is_an_error_of_its_family(tmp_path):
    with pytest.raises(ValueError, match="unknown preset"):
        rs.run("sinne", out=tmp_path)
    with pytest.raises(rs.ConfigError, match=r"no field of Experiment|unknown field"):
        rs.run("sine-quick", out=tmp_path, sede=3)
    with pytest.raises(OSError, match="there is no folder"):
        rs.open_run(tmp_path / "none")
    assert list(tmp_path.iterdir()) == []


POLICIES = [policy for policy in get_args(rs.Table.model_fields["missing"].annotation) if policy != "error"]


@pytest.mark.parametrize("policy", POLICIES)
def test_the_policies_for_missing_values_that_are_named_do_work(tmp_path, policy):
    path = write_csv(tmp_path / "d.csv", load=[None, *wave(STEPS - 40), None, *wave(39)])
    experiment = tiny(task=rs.Table(path=str(path), target="load", window=10))
    answer = cli("run", write_yaml(tmp_path / "my.yaml", experiment), "--out", tmp_path / "runs", "--quiet")
    assert answer.code == 2
    assert policy in three_parts(answer.err)[2]
    succeeds("run", tmp_path / "my.yaml", "--set", f"task.missing={policy}", "--out", tmp_path / policy, "--quiet")
