"""The step as an ONNX graph, run by onnxruntime."""

import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import rnnscope as rs
from rnnscope.core.interfaces import Signature

SPECS = {
    **{
        f"{kind}-{layers}-{skip}-{bias}": cls(hidden_size=4, num_layers=layers, skip=skip, bias=bias, **more)
        for kind, cls, more in (
            ("lstm", rs.LSTM, {}),
            ("gru", rs.GRU, {}),
            ("tanh", rs.Elman, {}),
            ("relu", rs.Elman, {"nonlinearity": "relu"}),
        )
        for layers in (1, 3)
        for skip in (0, 1, 3)
        for bias in (True, False)
    },
    "mixed": rs.Layered(
        layers=(rs.Layer(hidden_size=4), rs.Layer(cell="gru", hidden_size=3)),
        dense=(rs.Dense(units=4, activation="relu"), rs.Dense(units=3, activation="tanh"), rs.Dense(activation="sigmoid")),
        activation="softmax",
    ),
    "both": rs.Layered(layers=(rs.Layer(bidirectional=True, hidden_size=4),) * 2),
    **{
        f"reservoir-{features}-{stacked}": rs.EchoState(
            units=12, degree=3, num_reservoirs=2, stacked=stacked, features=features, feedback_scale=0.3, leak=0.4
        )
        for features in ("state", "state_squares", "mixed")
        for stacked in (True, False)
    },
}


def systems(spec) -> list[rs.DynamicalSystem]:
    return list(spec.build(Signature(3, 2), torch.Generator().manual_seed(0)).eval().systems().values())


@torch.no_grad()
@pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS.keys())
def test_the_graph_gives_the_same_step(spec, tmp_path: Path) -> None:
    runtime = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    for system in systems(spec):
        session = runtime.InferenceSession(str(rs.to_onnx(system, tmp_path / "step.onnx")))
        for rows in (1, 5):
            like = system.initial_state(rows)
            state, drive = torch.randn_like(like), torch.randn(rows, system.input_size).to(like)
            new, output = session.run(["new_state", "output"], {"state": state.numpy(), "input": drive.numpy()})
            wanted = system.step(state, drive)
            np.testing.assert_allclose(new, wanted.numpy(), rtol=0, atol=1e-6)
            np.testing.assert_allclose(output, system.readout(wanted).numpy(), rtol=0, atol=1e-6)


def test_several_systems_a_wrong_name_and_a_wrong_ending_are_refused(tmp_path: Path) -> None:
    both = SPECS["both"].build(Signature(3, 2), torch.Generator().manual_seed(0))
    with pytest.raises(rs.ConfigError, match="forward-layer0, backward-layer0"):
        rs.to_onnx(both, tmp_path / "a.onnx")
    with pytest.raises(rs.ConfigError, match="not 'up'"):
        rs.to_onnx(both, tmp_path / "a.onnx", part="up")
    with pytest.raises(rs.DataError, match=r"ends in '\.pt'"):
        rs.to_onnx(systems(SPECS["mixed"])[0], tmp_path / "a.pt")
    assert list(tmp_path.iterdir()) == []


def test_a_missing_package_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(rs.ConfigError) as caught:
        rs.to_onnx(systems(SPECS["mixed"])[0], tmp_path / "a.onnx")
    assert caught.value.remedy == "pip install 'rnnscope[onnx]'"


def test_a_system_of_plain_functions_is_refused(tmp_path: Path) -> None:
    pytest.importorskip("onnx", reason="onnx is not installed")
    with pytest.raises(rs.ConfigError, match="System"):
        rs.to_onnx(rs.System(lambda h, x: h, 1, 1), tmp_path / "a.onnx")
