"""`rnnscope import` and `rnnscope export`: run folders of networks made elsewhere, and networks for elsewhere."""

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

import rnnscope as rs
from helpers import Answer, cli, run_tiny, strict_json, succeeds, without_drawing

INPUTS = torch.randn(2, 7, 3, generator=torch.Generator().manual_seed(0))


class Whole(nn.Module):
    def __init__(self, core: nn.RNNBase) -> None:
        super().__init__()
        self.core = core
        self.out = nn.Linear(core.hidden_size * (2 if core.bidirectional else 1), 2)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return self.out(self.core(inputs)[0])


@pytest.fixture(autouse=True)
def _blank() -> Any:
    with without_drawing():
        yield


def written(path: Path, module: nn.Module) -> Path:
    if path.suffix == ".safetensors":
        save_file(module.state_dict(), path)
    else:
        torch.save(module.state_dict(), path)
    return path


def refused(answer: Answer, *words: str) -> None:
    assert answer.crash is None
    assert answer.code == 2
    assert [line.split(":")[0].strip() for line in answer.err.splitlines()] == ["error", "expected", "to do"], answer.err
    for word in words:
        assert word in answer.err


@pytest.mark.parametrize("suffix", [".safetensors", ".pt"])
@pytest.mark.parametrize("both", [True, False])
def test_an_imported_run_holds_the_network_and_needs_the_file_no_more(suffix: str, both: bool, tmp_path: Path) -> None:
    module = Whole(nn.LSTM(3, 4, bidirectional=both, batch_first=True))
    file, out = written(tmp_path / f"net{suffix}", module), tmp_path / "run"
    told = succeeds("import", file, "--out", out, "-q").out
    assert f"Unscored: imported from net{suffix}." in told
    file.unlink()
    run = rs.open_run(out)
    assert (run.status, sorted(p.name for p in tmp_path.iterdir())) == ("done", ["run"])
    torch.testing.assert_close(run.model()(INPUTS), module(INPUTS), rtol=0, atol=1e-6)
    assert list(run.experiment.models) == (["network", "forward", "backward"] if both else ["network"])
    assert "LSTM(4) -> dense(2)" in (out / "report.html").read_text(encoding="utf-8").replace("&gt;", ">")
    if both:
        there = rs.rollout(run.model("forward"), INPUTS).outputs
        back = rs.rollout(run.model("backward"), INPUTS.flip(1)).outputs.flip(1)
        torch.testing.assert_close(there + back, module(INPUTS), rtol=0, atol=1e-6)


def test_analyze_compare_and_report_work_on_an_imported_run(tmp_path: Path) -> None:
    settings = ["--analysis", "fixed_points", "--set", "num_starts=20", "--set", "num_sequences=4", "-q"]
    for name, both in (("one", False), ("two", True)):
        file = written(tmp_path / f"{name}.pt", nn.GRU(3, 4, 2, bidirectional=both))
        succeeds("import", file, "--out", tmp_path / name, "-q")
        succeeds("analyze", tmp_path / name, *settings)
    succeeds("analyze", tmp_path / "two", "--model", "backward-layer0", *settings)
    assert strict_json(tmp_path / "two/findings/fixed_points.json")["about"]["model"] == "backward-layer0"
    told = succeeds("compare", tmp_path / "one", tmp_path / "two", "--out", tmp_path / "comparison").out
    assert "backward-layer0" in told
    succeeds("report", tmp_path / "one")


def test_an_echo_state_network_is_imported_from_its_matrices(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    recurrent, drive = 0.1 * rng.standard_normal((6, 6)), rng.standard_normal((6, 2))
    np.savez(tmp_path / "esn.npz", W=recurrent, Win=drive, Wout=np.ones((6, 1)))
    succeeds("import", tmp_path / "esn.npz", "--out", tmp_path / "run", "-q")
    (tmp_path / "esn.npz").unlink()
    system = rs.open_run(tmp_path / "run").model()
    state, x = torch.zeros(1, 6, dtype=torch.float64), torch.ones(1, 2, dtype=torch.float64)
    np.testing.assert_allclose(system.step(state, x).numpy()[0], np.tanh(drive.sum(1)), rtol=0, atol=1e-12)


def test_analyze_takes_such_a_file_too(tmp_path: Path) -> None:
    np.savez(tmp_path / "esn.npz", W=0.1 * np.eye(3), Win=np.ones((3, 1)))
    words = [
        "--analysis",
        "fixed_points",
        "--set",
        "num_starts=20",
        "--set",
        "num_sequences=4",
        "-q",
        "--out",
        tmp_path / "runs",
    ]
    assert "imported from esn.npz" in succeeds("analyze", tmp_path / "esn.npz", *words).out


def test_a_plain_network_of_relu_units_is_one_if_one_says_so(tmp_path: Path) -> None:
    module = Whole(nn.RNN(3, 4, nonlinearity="relu", batch_first=True))
    file = written(tmp_path / "net.pt", module)
    succeeds("import", file, "--out", tmp_path / "run", "--nonlinearity", "relu", "-q")
    torch.testing.assert_close(rs.open_run(tmp_path / "run").model()(INPUTS), module(INPUTS), rtol=0, atol=1e-6)


# what is refused leaves nothing behind


def pickled(path: Path) -> Path:
    path.write_bytes(pickle.dumps({"W": 1}))
    return path


@pytest.mark.parametrize("name", ["reservoir.pkl", "model.pickle", "model.joblib", "model.pt", "esn.npz", "model.keras"])
def test_pickles_are_never_opened(name: str, tmp_path: Path) -> None:
    answer = cli("import", pickled(tmp_path / name), "--out", tmp_path / "run")
    refused(answer)
    assert [p.name for p in tmp_path.iterdir()] == [name]
    if name.endswith("pkl"):
        refused(answer, "was not opened", "rs.from_reservoirpy(model)", "np.savez")


def test_what_cannot_be_imported_is_told(tmp_path: Path) -> None:
    text, h5 = tmp_path / "notes.txt", tmp_path / "model.h5"
    text.write_text("no network")
    h5.write_bytes(b"\x89HDF")
    refused(cli("import", text), "ends in '.txt'")
    refused(cli("import", h5), "model.save('model.keras')")
    refused(cli("import", tmp_path / "none.keras"), "does not exist")
    refused(cli("import", tmp_path), "is a folder")
    file = written(tmp_path / "net.pt", nn.GRU(3, 4))
    (tmp_path / "full").mkdir()
    (tmp_path / "full/file").touch()
    refused(cli("import", file, "--out", tmp_path / "full"), "exists already")
    refused(cli("import", file, "--out", tmp_path / "run", "--nonlinearity", "sine"), "sine")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["full", "model.h5", "net.pt", "notes.txt"]


def test_a_changed_file_is_not_taken_for_the_one_imported(tmp_path: Path) -> None:
    file = written(tmp_path / "net.pt", nn.GRU(3, 4))
    succeeds("import", file, "--out", tmp_path / "run", "-q")
    written(file, nn.GRU(3, 4))
    refused(cli("run", tmp_path / "run/config.yaml", "--out", tmp_path / "runs", "-q"), "is not the file that was imported")


def test_a_missing_package_is_named_in_the_command_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import json
    import sys
    import zipfile

    layers = [
        {"class_name": "LSTM", "config": {"name": "a", "units": 2, "activation": "tanh", "recurrent_activation": "sigmoid"}}
    ]
    with zipfile.ZipFile(tmp_path / "net.keras", "w") as archive:
        archive.writestr("config.json", json.dumps({"class_name": "Sequential", "config": {"layers": layers}}))
        archive.writestr("model.weights.h5", b"")
    monkeypatch.setitem(sys.modules, "h5py", None)
    refused(cli("import", tmp_path / "net.keras"), "pip install 'rnnscope[keras]'")


# export


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> rs.Run:
    models = {
        "gru": rs.GRU(hidden_size=4, num_layers=2),
        "taps": rs.GRU(hidden_size=3, num_layers=1, skip=2),
        "mixed": rs.Layered(layers=(rs.Layer(hidden_size=3), rs.Layer(cell="gru", hidden_size=2))),
    }
    return run_tiny(tmp_path_factory.mktemp("finished"), models=models)


@pytest.mark.parametrize("suffix", [".safetensors", ".pt"])
def test_a_state_dict_is_exported_with_the_lines_that_load_it(finished: rs.Run, suffix: str, tmp_path: Path) -> None:
    file = tmp_path / f"gru{suffix}"
    told = succeeds("export", finished.path, "--to", "torch", "--model", "gru", "--out", file).out
    assert told.startswith(f"gru -> {file}")
    assert "scaled values" in told
    inputs = torch.randn(2, 5, 1)
    names: dict[str, Any] = {"inputs": inputs}
    exec("\n".join(line for line in told.splitlines()[1:] if not line.startswith("the network")), names)
    torch.testing.assert_close(names["outputs"], finished.model("gru")(inputs), rtol=0, atol=1e-6)
    tensors = load_file(file) if suffix == ".safetensors" else torch.load(file, weights_only=True)
    torch.testing.assert_close(rs.from_torch(tensors)(inputs), finished.model("gru")(inputs), rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--to", "matlab"), "matlab"),
        (("--to", "torch", "--model", "gruu"), "gruu"),
        (("--to", "torch", "--model", "taps"), "2 taps"),
        (("--to", "torch", "--model", "mixed"), "differ"),
        (("--to", "torch", "--model", "gru", "--out", "gru.keras"), "ending in .safetensors or .pt"),
        (("--to", "torch", "--model", "gru", "--part", "forward"), "--part"),
        (("--to", "torch", "--model", "gru", "--out", "/proc/none/gru.pt"), "cannot be written"),
    ],
)
def test_what_cannot_be_exported_is_told_and_nothing_is_written(
    finished: rs.Run, words: tuple[str, ...], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    refused(cli("export", finished.path, *words), said)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", ["keras", "onnx"])
def test_the_other_kinds_are_exported_where_their_packages_are(finished: rs.Run, kind: str, tmp_path: Path) -> None:
    from importlib.util import find_spec

    file = tmp_path / f"gru.{kind}"
    if find_spec(kind) is None:
        refused(cli("export", finished.path, "--to", kind, "--model", "gru", "--out", file), f"rnnscope[{kind}]")
        assert list(tmp_path.iterdir()) == []
        return
    succeeds("export", finished.path, "--to", kind, "--model", "gru", "--out", file)
    assert [p.name for p in tmp_path.iterdir()] == [file.name]
    if kind == "keras":
        succeeds("import", file, "--out", tmp_path / "run", "-q")
        inputs = torch.randn(2, 5, 1)
        back = rs.open_run(tmp_path / "run").model()
        torch.testing.assert_close(back(inputs), finished.model("gru")(inputs), rtol=0, atol=1e-6)


@pytest.mark.parametrize("both", [True, False])
def test_an_imported_network_is_scored_in_a_task_beside_the_baselines(both: bool, tmp_path: Path) -> None:
    file = written(tmp_path / "net.pt", nn.Sequential(nn.GRU(1, 4, bidirectional=both), nn.Linear(8 if both else 4, 1)))
    models = {"mine": rs.Imported.of(file), "gru": rs.GRU(hidden_size=3, num_layers=1)}
    if both:
        with pytest.raises(rs.RnnscopeError):
            run_tiny(tmp_path / "runs", models=models, trainers={"mine": rs.Untrained()})
        return
    run = run_tiny(tmp_path / "runs", composed=True, models=models, trainers={"mine": rs.Untrained()})
    assert run.metrics["models"]["mine"]["test"]["rmse"] > 0
    alone = run_tiny(tmp_path / "runs", composed=True, models={"mine": models["mine"]}, trainer=rs.Untrained())
    assert len(alone.forecast(5)) == 5


def test_a_model_of_other_sizes_than_the_task_is_refused(tmp_path: Path) -> None:
    file = written(tmp_path / "net.pt", nn.GRU(3, 4))
    with pytest.raises(rs.ConfigError, match="3 inputs"):
        run_tiny(tmp_path / "runs", models={"mine": rs.Imported.of(file)}, trainer=rs.Untrained())
    with pytest.raises(rs.ConfigError, match="outputs"):
        run_tiny(tmp_path / "runs", models={"mine": rs.Imported.of(written(file, nn.GRU(1, 4)))}, trainer=rs.Untrained())
