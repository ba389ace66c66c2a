"""`rnnscope analyze`: a run's model, or a network that comes as weights alone, and the report of what it does."""

import json
import pickle
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from markupsafe import escape
from safetensors.torch import save_file
from torch import nn

import rnnscope as rs
from helpers import Answer, cli, run_folders, run_tiny, strict_json, succeeds, unfinished, without_drawing
from rnnscope.analysis.state_space import StateSpace
from rnnscope.core.tables import Figure
from rnnscope.experiment import with_overrides
from rnnscope.markov.emulation import EmulationData
from rnnscope.registry import ANALYSES, resolve

SMALL = {
    "fixed_points": {"num_starts": 30, "num_sequences": 4},
    "attractors": {"num_starts": 6, "num_steps": 100, "num_sequences": 4, "max_sets": 1},
    "lyapunov": {"num_steps": 60, "num_trajectories": 2, "num_sequences": 4, "num_exponents": 2},
    "memory": {"num_steps": 60, "num_pairs": 2, "max_lag": 10, "capacity_lag": 5, "num_sequences": 4},
    "state_space": {"num_sequences": 4},
}


def small(*names: str, of: dict[str, Any] = SMALL) -> list[str]:
    """Options for quick analyses of these names."""
    chosen = names or tuple(of)
    return ["--quiet", *(w for n in chosen for k, v in of[n].items() for w in ("--set", f"{n}.{k}={v}"))]


def only(*names: str) -> list[str]:
    return [w for n in names for w in ("--analysis", n)]


QUICK = [*only("state_space"), *small("state_space")]


@pytest.fixture
def composed() -> None:
    """Every figure of an analysis is built, though not drawn."""


@pytest.fixture(autouse=True)
def _blank(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    def blank(self: Any, findings: Any) -> Iterator[Figure]:
        yield Figure("blank", "A blank sheet.", None)

    if "composed" not in request.fixturenames:
        for kind in ANALYSES:
            monkeypatch.setattr(resolve("analysis", kind), "figures", blank)
    with without_drawing():
        yield


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> rs.Run:
    models = {"gru": rs.GRU(hidden_size=4, num_layers=1), "elman": rs.Elman(hidden_size=3, num_layers=1)}
    return run_tiny(tmp_path_factory.mktemp("finished"), models=models)


@pytest.fixture
def run(finished: rs.Run, tmp_path: Path) -> Path:
    """A copy of the run that a test may write into."""
    return Path(shutil.copytree(finished.path, tmp_path / finished.path.name))


def refused(answer: Answer, *words: str) -> None:
    """The three parts of a message, on standard error, with exit code 2."""
    assert answer.crash is None
    assert answer.code == 2
    assert "Traceback" not in answer.err
    lines = answer.err.splitlines()
    assert [line.split(":")[0].strip() for line in lines] == ["error", "expected", "to do"], answer.err
    for word in words:
        assert word in answer.err


def figures(run: Path, section: str) -> list[str]:
    return [f["name"] for f in strict_json(run / "figures/figures.json") if f["section"] == section]


# a run


def test_all_that_apply_are_told_in_the_report(composed: None, run: Path) -> None:
    model, config = (run / "model.safetensors").read_bytes(), (run / "config.yaml").read_bytes()
    settings = small()
    answer = succeeds("analyze", run, *settings)
    told = strict_json(run / "metrics.json")["analyses"]
    assert told[:5] == list(SMALL)
    assert "reverse_engineering" not in told
    page = (run / "report.html").read_text(encoding="utf-8")
    assert page.count("<h2>What it learned</h2>") == 1
    for name in told:
        found = strict_json(run / f"findings/{name}.json")
        assert page.count(f'<a href="#{name}">') == page.count(f'<h2 id="{name}">') == 1
        assert figures(run, name)
        assert all(str(escape(s)) in page for s in found["statements"])
        assert f"{name}: {found['statements'][0]}" in answer.out
        for key, value in SMALL.get(name, {}).items():
            assert found["settings"][key] == value
    assert page.count("<svg") == len(strict_json(run / "figures/figures.json"))
    assert f"report: {run / 'report.html'}" in answer.out
    assert (run / "model.safetensors").read_bytes() == model
    assert (run / "config.yaml").read_bytes() == config
    assert strict_json(run / "status.json")["state"] == "done"
    assert unfinished(run.parent) == []


def test_one_analysis_with_a_setting(run: Path) -> None:
    succeeds("analyze", run, *only("fixed_points"), "--set", "input=mean", "--set", "loop=open", "--set", "num_starts=20", "-q")
    found = strict_json(run / "findings/fixed_points.json")
    assert (found["settings"]["input"], found["settings"]["loop"], found["metrics"]["starts"]) == ("mean", "open", 20)
    assert "held at the mean of the data" in found["statements"][0]
    assert strict_json(run / "metrics.json")["analyses"] == ["fixed_points"]
    succeeds(
        "analyze", run, *only("fixed_points"), "--set", "input=[0.5]", "--set", "loop=open", "--set", "num_starts=20", "-q"
    )
    assert "held at (0.5)" in strict_json(run / "findings/fixed_points.json")["statements"][0]


def test_several_analyses_with_settings_of_their_own(run: Path) -> None:
    names = ("memory", "lyapunov")
    answer = succeeds("analyze", run, *only(*names), *small(*names), "--set", "memory.num_pairs=4", "--json")
    told = json.loads(answer.out)
    assert set(told["findings"]) == set(names)
    assert told["report"] == str(run / "report.html")
    assert strict_json(run / "findings/memory.json")["settings"]["num_pairs"] == 4
    assert strict_json(run / "findings/memory.json")["arrays"]["distances"][0] == 4


def test_a_second_look_replaces_the_first(run: Path) -> None:
    names = ("state_space", "fixed_points")
    succeeds("analyze", run, *only(*names), *small(*names))
    before = strict_json(run / "figures/figures.json")
    findings = (run / "findings/fixed_points.json").read_bytes()
    succeeds("analyze", run, *only(*names), *small(*names))
    assert (run / "findings/fixed_points.json").read_bytes() == findings
    assert strict_json(run / "figures/figures.json") == before
    assert strict_json(run / "metrics.json")["analyses"] == list(names)
    succeeds("analyze", run, *only("fixed_points"), "--set", "loop=open", "--set", "num_starts=20", "-q")
    listed = [f["name"] for f in strict_json(run / "figures/figures.json")]
    assert sorted(listed) == sorted(f["name"] for f in before)
    assert strict_json(run / "metrics.json")["analyses"] == list(names)
    page = (run / "report.html").read_text(encoding="utf-8")
    assert page.count('<h2 id="fixed_points">') == page.count('<h2 id="state_space">') == 1
    assert page.count("<svg") == len(listed)
    assert "with its input held at zero" in page


def test_the_model_can_be_chosen(run: Path) -> None:
    for name, size in (("gru", 4), ("elman", 3)):
        succeeds("analyze", run, "--model", name, *QUICK)
        assert strict_json(run / "findings/state_space.json")["arrays"]["mean"] == [size]


def test_settings_of_the_runs_own_analyses_are_kept(tmp_path: Path) -> None:
    own = {"narrow": StateSpace(num_sequences=3), "memory": rs_memory()}
    run = run_tiny(tmp_path, analyses=own)
    assert run.metrics["analyses"] == ["narrow", "memory"]
    succeeds("analyze", run.path, *only("narrow"), "-q")
    assert strict_json(run.path / "findings/narrow.json")["settings"]["num_sequences"] == 3
    succeeds("analyze", run.path, *only("memory"), "--set", "max_lag=8", "-q")
    kept = strict_json(run.path / "findings/memory.json")["settings"]
    assert (kept["max_lag"], kept["num_pairs"]) == (8, 2)
    refused(cli("analyze", run.path, *only("state_space"), "-q"), "unknown analysis 'state_space'")  # it is called narrow here


def rs_memory() -> Any:
    from rnnscope.analysis.memory import Memory

    return Memory(**SMALL["memory"])


def test_words_of_others_are_escaped_in_the_report(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def figure(self: StateSpace, findings: Any) -> Iterator[Figure]:
        yield Figure("odd", "<script>alert(1)</script> & more.", None)

    monkeypatch.setattr(StateSpace, "figures", figure)
    succeeds("analyze", run, *QUICK)
    page = (run / "report.html").read_text(encoding="utf-8")
    assert "<script>alert" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt; &amp; more." in page


def test_threads_are_put_back(run: Path) -> None:
    torch.set_num_threads(2)
    try:
        succeeds("analyze", run, *QUICK)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(1)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (only("fixd_points"), ("unknown analysis 'fixd_points'", "did you mean 'fixed_points'?")),
        (only("nonsense"), ("unknown analysis 'nonsense'", "one of: ")),
        (only("reverse_engineering"), ("reverse_engineering does not apply here", "symbols from noise")),
        ([*only("memory"), "--set", "num_pairz=3"], ("num_pairz", "did you mean 'num_pairs'?")),
        ([*only("memory"), "--set", "num_pairs=0"], ("'num_pairs' is 0",)),
        ([*only("memory"), "--set", "num_pairs=many"], ("'num_pairs' is 'many'",)),
        ([*only("memory"), "--set", "num_pairs"], ("is no assignment",)),
        ([*only("memory", "lyapunov"), "--set", "x=1"], ("--set x=1 names no analysis", "memory, lyapunov")),
        (["--set", "num_pairs=3"], ("--set num_pairs=3 names no analysis", "ANALYSIS.field=value")),
        ([*only("memory", "lyapunov"), "--set", "state_space.num_sequences=1"], ("names no analysis",)),
        ([*only("fixed_points"), "--set", "input=[1,2,3]"], ("input has 3 numbers",)),
        (["--model", "grru"], ("unknown model 'grru'", "did you mean 'gru'?")),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_mistakes_are_answered_and_leave_the_run_as_it_was(
    finished: rs.Run, options: list[str], words: tuple[str, ...]
) -> None:
    before = {p: p.stat().st_mtime_ns for p in finished.path.rglob("*")}
    refused(cli("analyze", finished.path, *options, "-q"), *words)
    assert {p: p.stat().st_mtime_ns for p in finished.path.rglob("*")} == before


def test_mistakes_are_told_to_machines_too(finished: rs.Run) -> None:
    answer = cli("analyze", finished.path, *only("fixd_points"), "--json")
    assert answer.code == 2
    assert set(json.loads(answer.out)) == {"error", "expected", "remedy"}


def test_what_is_no_finished_run_is_refused(run: Path, tmp_path: Path) -> None:
    refused(cli("analyze", tmp_path / "nowhere", "-q"), "there is no folder")
    (tmp_path / "empty").mkdir()
    refused(cli("analyze", tmp_path / "empty", "-q"), "status.json")
    (run / "metrics.json").unlink()
    refused(cli("analyze", run, "-q"), "metrics.json")


# networks that emulate an HMM

HMM_SIZES = [
    "task.num_sequences=90",
    "task.num_steps=12",
    "models.relu.hidden_size=4",
    "evaluation.num_sequences=30",
    "evaluation.floor_draws=2",
    "evaluation.way_back=[1,2]",
    "evaluation.long_steps=80",
    "trainer.validation_size=20",
    *(f"trainer.stages.{n}.{field}" for n in (0, 1) for field in ("epochs=1", "batch_size=16", "num_steps=12")),
    "analyses={}",
]


@pytest.fixture(scope="module")
def emulator(tmp_path_factory: pytest.TempPathFactory) -> rs.Run:
    with without_drawing():
        return rs.run(with_overrides(rs.preset("hmm-chain-3-quick"), HMM_SIZES), out=tmp_path_factory.mktemp("hmm"))


def test_a_network_that_emulates_an_hmm_is_analysed(emulator: rs.Run) -> None:
    assert isinstance(emulator.data, EmulationData)
    names = ("fixed_points", "memory", "attractors", "lyapunov", "state_space")
    succeeds("analyze", emulator.path, *only(*names), *small(*names))
    points = strict_json(emulator.path / "findings/fixed_points.json")
    # without biases and input a ReLU network rests at zero, and nowhere else unless at a continuum
    assert "with its input held at zero" in points["statements"][0]
    assert points["metrics"]["num_fixed_points"] == 1
    assert not emulator.folder.read_arrays("findings/fixed_points.npz")["points"].any()
    memory = strict_json(emulator.path / "findings/memory.json")
    assert "gradient_flow" not in memory["metrics"]
    assert memory["metrics"]["outcome"] in ("forgets", "undecided")
    assert strict_json(emulator.path / "metrics.json")["analyses"] == list(names)


# weights

LAYERS = {"rnn": nn.RNN, "gru": nn.GRU, "lstm": nn.LSTM}
WORDS = {"rnn": "Elman (tanh)", "gru": "GRU", "lstm": "LSTM"}


class Headed(nn.Module):
    """A recurrent layer and a linear readout."""

    def __init__(self, core: nn.RNNBase, outputs: int) -> None:
        super().__init__()
        self.core = core
        self.readout = nn.Linear(core.hidden_size, outputs)


@pytest.mark.parametrize("readout", [True, False], ids=["readout", "bare"])
@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("cell", LAYERS)
def test_weights_get_a_report(cell: str, layers: int, readout: bool, tmp_path: Path) -> None:
    torch.manual_seed(0)
    suffix = ".pt" if readout == (layers == 1) else ".safetensors"
    core = LAYERS[cell](2, 4, num_layers=layers)
    file = save(tmp_path / f"net{suffix}", Headed(core, 3) if readout else core)
    succeeds("analyze", file, *only("fixed_points"), *small("fixed_points"), "--out", tmp_path / "runs")
    (folder,) = run_folders(tmp_path / "runs")
    run = rs.open_run(folder)
    assert run.status == "done"
    assert run.folder.read_json("summary.json")["summary"].startswith(f"{WORDS[cell]} network, {layers} layer")
    states = layers * 4 * (2 if cell == "lstm" else 1)
    points = strict_json(folder / "findings/fixed_points.json")
    assert points["arrays"]["points"][1] == states
    assert points["arrays"]["outputs"][1] == (3 if readout else 4)
    page = run.report.read_text(encoding="utf-8")
    assert ("without a readout" in page) is not readout
    assert "Nothing was trained or scored" in page
    assert 'href="#fixed_points"' in page
    inputs = torch.randn(2, 7, 2)
    top = core(inputs.transpose(0, 1))[0].transpose(0, 1)
    restored = rs.rollout(next(iter(run.model().systems().values())), inputs).outputs
    assert restored.shape[-1] == (3 if readout else 4)
    if not readout:
        torch.testing.assert_close(restored, top)


def save(path: Path, module: nn.Module | dict[str, Any]) -> Path:
    tensors = module if isinstance(module, dict) else module.state_dict()
    if path.suffix == ".safetensors":
        save_file({k: v.contiguous().clone() for k, v in tensors.items()}, path)
    else:
        torch.save(tensors, path)
    return path


def test_all_that_apply_to_weights(tmp_path: Path) -> None:
    torch.manual_seed(0)
    file = save(tmp_path / "net.pt", nn.GRU(1, 3))
    answer = succeeds("analyze", file, *small(), "--out", tmp_path / "runs", "--json")
    (folder,) = run_folders(tmp_path / "runs")
    told = json.loads(answer.out)
    assert told["run"] == str(folder)
    assert strict_json(folder / "metrics.json")["analyses"][:5] == list(SMALL)
    # a report of weights is a run folder like any other
    succeeds("analyze", folder, *QUICK)
    succeeds("report", folder)
    assert rs.open_run(folder).history.empty


@pytest.mark.parametrize("layers", [1, 2])
def test_each_direction_of_a_bidirectional_network_gets_its_report(layers: int, tmp_path: Path) -> None:
    file = save(tmp_path / "both.pt", nn.GRU(2, 3, num_layers=layers, bidirectional=True))
    answer = succeeds("analyze", file, *QUICK, "--out", tmp_path / "runs")
    folders = run_folders(tmp_path / "runs")
    assert len(folders) == 2 * layers
    assert answer.out.count("report:") == 2 * layers
    for folder in folders:
        label = folder.name.removeprefix("both-").rsplit("-", 3)[0]
        assert f"{label} direction of a bidirectional network" in (folder / "report.html").read_text(encoding="utf-8")
        assert strict_json(folder / "findings/state_space.json")["arrays"]["mean"] == [3]
    assert unfinished(tmp_path / "runs") == []


def test_a_relu_network_is_one_if_one_says_so(tmp_path: Path) -> None:
    torch.manual_seed(0)
    file = save(tmp_path / "net.pt", nn.RNN(2, 4, nonlinearity="relu"))
    succeeds("analyze", file, "--nonlinearity", "relu", *QUICK, "--out", tmp_path / "runs")
    (folder,) = run_folders(tmp_path / "runs")
    assert "Elman (ReLU) network" in (folder / "report.html").read_text(encoding="utf-8")
    assert "nonlinearity: relu" in (folder / "config.yaml").read_text()
    assert (rs.open_run(folder).folder.read_arrays("findings/state_space.npz")["first_path"] >= 0).all()


def test_one_of_several_modules_is_chosen_by_its_prefix(tmp_path: Path) -> None:
    file = save(tmp_path / "two.pt", nn.ModuleDict({"a": nn.GRU(2, 3), "b": nn.LSTM(2, 3)}))
    refused(cli("analyze", file, *QUICK, "--out", tmp_path / "runs"), "modules 'a.', 'b.'")
    refused(cli("analyze", file, "--prefix", "c.", *QUICK, "--out", tmp_path / "runs"), "not 'c.'")
    assert run_folders(tmp_path / "runs") == []
    succeeds("analyze", file, "--prefix", "b.", *QUICK, "--out", tmp_path / "runs")
    (folder,) = run_folders(tmp_path / "runs")
    assert "LSTM network" in (folder / "report.html").read_text(encoding="utf-8")


def test_the_name_of_a_file_is_escaped_and_fits_a_folder(tmp_path: Path) -> None:
    file = save(tmp_path / "my <i>net & co.pt", nn.GRU(1, 2))
    succeeds("analyze", file, *QUICK, "--out", tmp_path / "runs")
    (folder,) = run_folders(tmp_path / "runs")
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert "<i>net" not in page
    assert "&lt;i&gt;net &amp; co" in page


def test_weights_in_other_precisions_are_read(tmp_path: Path) -> None:
    for number, dtype in enumerate((torch.float64, torch.bfloat16)):
        file = save(tmp_path / f"net{number}.pt", nn.GRU(1, 2).to(dtype))
        succeeds("analyze", file, *QUICK, "--out", tmp_path / "runs")


class Harmful:
    """Would run code when unpickled."""

    def __reduce__(self) -> Any:
        return (print, ("this must not run",))


def spoiled(what: str) -> dict[str, torch.Tensor]:
    tensors = nn.GRU(2, 4, num_layers=2).state_dict()
    if what == "missing":
        del tensors["weight_hh_l1"]
    elif what == "nan":
        tensors["weight_ih_l0"][0, 0] = float("nan")
    elif what == "shape":
        tensors["weight_ih_l1"] = torch.zeros(12, 7)
    elif what == "linear":
        tensors = nn.Linear(2, 3).state_dict()
    return tensors


@pytest.mark.parametrize(
    ("what", "words"),
    [
        ("linear", "no recurrent layer"),
        ("missing", "lacks 'weight_hh_l1'"),
        ("nan", "'weight_ih_l0' holds NaN"),
        ("shape", "'weight_ih_l1' has shape (12, 7)"),
    ],
)
@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
def test_weights_that_are_no_network_are_refused(what: str, words: str, suffix: str, tmp_path: Path) -> None:
    file = save(tmp_path / f"bad{suffix}", spoiled(what))
    refused(cli("analyze", file, *QUICK, "--out", tmp_path / "runs"), words, file.name)
    assert run_folders(tmp_path / "runs") == []


@pytest.mark.parametrize("name", ["zip.pt", "raw.pt", "raw.pth"])
def test_a_pickle_with_code_is_refused_and_does_not_run(name: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / name
    if name == "zip.pt":
        torch.save({"weights": Harmful()}, file)
    else:
        file.write_bytes(pickle.dumps(Harmful()))
    answer = cli("analyze", file, *QUICK, "--out", tmp_path / "runs")
    refused(answer, "pickle that would run code")
    assert "this must not run" not in answer.out + capfd.readouterr().out
    assert run_folders(tmp_path / "runs") == []


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("weights.txt", b"x", "ends in '.txt'"),
        ("weights.safetensors", b"nonsense", "cannot be read"),
        ("weights.pt", b"", "cannot be read"),
        ("weights.pt", b"nonsense", ""),
        ("missing.pt", None, "there is no"),
    ],
)
def test_files_that_hold_no_weights_are_refused(name: str, content: bytes | None, words: str, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    refused(cli("analyze", tmp_path / name, *QUICK, "--out", tmp_path / "runs"), words, name)
    assert run_folders(tmp_path / "runs") == []


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--analysis", "state_spac"], "did you mean 'state_space'?"),
        (["--analysis", "reverse_engineering"], "does not apply here"),
        (["--nonlinearity", "sigmoid"], "field 'nonlinearity' is 'sigmoid'"),
        (["--analysis", "memory", "--set", "num_pairz=2"], "num_pairs"),
    ],
)
def test_bad_options_leave_no_folder(unchecked: None, options: list[str], words: str, tmp_path: Path) -> None:
    file = save(tmp_path / "net.pt", nn.RNN(2, 4))
    refused(cli("analyze", file, *options, "-q", "--out", tmp_path / "runs"), words)
    assert run_folders(tmp_path / "runs") == []


def test_what_cannot_be_found_of_a_network_that_leaves_every_bound_is_said_in_its_report(tmp_path: Path) -> None:
    module = nn.RNN(1, 3, nonlinearity="relu")
    with torch.no_grad():
        module.weight_hh_l0.copy_(40 * torch.eye(3))
    file = save(tmp_path / "net.pt", module)
    answer = cli("analyze", file, "--nonlinearity", "relu", *QUICK, "--out", tmp_path / "runs")
    assert (answer.code, answer.crash) == (0, None)
    (folder,) = (tmp_path / "runs").iterdir()
    assert "Could not be carried out" in (folder / "report.html").read_text(encoding="utf-8")
    assert "failed" in (folder / "log.txt").read_text(encoding="utf-8")
