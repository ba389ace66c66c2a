"""Echo state networks made elsewhere: reservoirpy's, and matrices in a file."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import scipy.sparse
import torch

import rnnscope as rs
from rnnscope.models.foreign_reservoir import read_reservoir

RNG = np.random.default_rng(0)
MATRICES = {
    "W": np.where(RNG.random((8, 8)) < 0.3, RNG.standard_normal((8, 8)), 0.0),
    "Win": RNG.standard_normal((8, 2)),
    "bias": RNG.standard_normal(8),
    "leak": np.array(0.4),
    "Wout": RNG.standard_normal((8, 3)),
    "bias_out": RNG.standard_normal(3),
}
INPUTS = RNG.standard_normal((20, 2))


def by_hand(inputs: np.ndarray, W: Any, Win: Any, bias: Any, leak: Any, Wout: Any, bias_out: Any) -> np.ndarray:
    state, outputs = np.zeros(len(W)), []
    for x in inputs:
        state = (1 - leak) * state + leak * np.tanh(W @ state + Win @ x + bias)
        outputs.append(state @ Wout + bias_out)
    return np.array(outputs)


def answers(system: rs.DynamicalSystem) -> np.ndarray:
    return rs.rollout(system, torch.from_numpy(INPUTS)[None]).outputs[0].detach().numpy()


def saved(path: Path, **changes: Any) -> Path:
    np.savez(path, **{k: v for k, v in {**MATRICES, **changes}.items() if v is not None})
    return path


def Node(name: str, **fields: Any) -> Any:
    """What stands in for a node of reservoirpy: an object of a class of that name."""
    return type(name, (SimpleNamespace,), {"__hash__": object.__hash__})(**fields)


def model(**changes: Any) -> Any:
    """A model as reservoirpy 0.4 holds it."""
    fields = {"initialized": True, "lr": 0.4, "activation": np.tanh, "bias": MATRICES["bias"]}
    sparse = {"W": scipy.sparse.csr_array(MATRICES["W"]), "Win": scipy.sparse.csr_array(MATRICES["Win"])}
    reservoir = Node("Reservoir", **{**fields, **sparse, **changes})
    readout = Node("Ridge", Wout=MATRICES["Wout"], bias=MATRICES["bias_out"])
    return SimpleNamespace(nodes=[reservoir, readout], edges=[(reservoir, 0, readout)])


def test_the_matrices_give_the_outputs_of_the_equation(tmp_path: Path) -> None:
    wanted = by_hand(INPUTS, **MATRICES)
    for system in (read_reservoir(saved(tmp_path / "a.npz")), rs.from_reservoirpy(model())):
        np.testing.assert_allclose(answers(system), wanted, rtol=0, atol=1e-12)
    turned = read_reservoir(saved(tmp_path / "b.npz", Wout=MATRICES["Wout"].T))
    np.testing.assert_allclose(answers(turned), wanted, rtol=0, atol=1e-12)


def test_without_a_readout_the_outputs_are_the_states(tmp_path: Path) -> None:
    system = read_reservoir(saved(tmp_path / "a.npz", Wout=None, bias_out=None))
    wanted = by_hand(INPUTS, **{**MATRICES, "Wout": np.eye(8), "bias_out": 0})
    np.testing.assert_allclose(answers(system), wanted, rtol=0, atol=1e-12)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("leak", [1.0, 0.3])
def test_reservoirpy_gives_the_same_outputs(bias: bool, leak: float) -> None:
    nodes = pytest.importorskip("reservoirpy.nodes", reason="reservoirpy is not installed")
    reservoir = nodes.Reservoir(30, lr=leak, sr=1.1, bias=0.5 if bias else 0.0, seed=1)
    esn = reservoir >> nodes.Ridge(ridge=1e-6, fit_bias=bias)
    esn.fit(INPUTS, INPUTS[:, :1] ** 2, warmup=2)
    esn.reset()
    np.testing.assert_allclose(answers(rs.from_reservoirpy(esn)), esn.run(INPUTS), rtol=0, atol=1e-6)
    reservoir.reset()
    np.testing.assert_allclose(answers(rs.from_reservoirpy(reservoir)), reservoir.run(INPUTS), rtol=0, atol=1e-6)


def relu(values: Any) -> Any:
    return np.maximum(values, 0)


def fed_back() -> Any:
    whole = model()
    reservoir, readout = whole.nodes
    return SimpleNamespace(nodes=whole.nodes, edges=[(reservoir, 0, readout), (readout, 1, reservoir)])


def read_past() -> Any:
    whole, entry = model(), Node("Input")
    return SimpleNamespace(nodes=[entry, *whole.nodes], edges=[(entry, 0, whole.nodes[1])])


@pytest.mark.parametrize(
    ("make", "word"),
    [
        (fed_back, "feedback"),
        (read_past, "also reads Input"),
        (lambda: model(activation=relu), "activation is relu"),
        (lambda: model(initialized=False), "no matrices yet"),
        (lambda: SimpleNamespace(nodes=[Node("LIF")], edges=[]), "node LIF"),
        (lambda: SimpleNamespace(nodes=model().nodes * 2, edges=[]), "2 reservoirs"),
        (lambda: 3, "node int"),
    ],
)
def test_what_we_have_not_is_refused(make: Callable[[], Any], word: str) -> None:
    with pytest.raises(rs.ConfigError, match=word):
        rs.from_reservoirpy(make())


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"W": None}, "lacks 'W'"),
        ({"W": np.zeros((8, 7))}, r"'W' has shape \(8, 7\)"),
        ({"Win": np.zeros((7, 2))}, r"'Win' has shape \(7, 2\)"),
        ({"bias": np.zeros(7)}, "'bias' has shape"),
        ({"Wout": np.zeros((7, 3))}, "'Wout' has shape"),
        ({"leak": np.array(0.0)}, "leak goes from 0"),
        ({"W": np.full((8, 8), np.nan)}, "finite"),
        ({"W": np.array([{"code": 1}], dtype=object)}, "pickled object"),
        ({"more": np.zeros(2)}, "holds 'more'"),
        ({"W": np.array(["a"])}, "finite numbers"),
    ],
)
def test_files_of_other_things_are_refused(changes: dict[str, Any], word: str, tmp_path: Path) -> None:
    with pytest.raises(rs.DataError, match=word):
        read_reservoir(saved(tmp_path / "a.npz", **changes))


def test_damaged_and_missing_files_are_refused(tmp_path: Path) -> None:
    whole = saved(tmp_path / "a.npz").read_bytes()
    cut = tmp_path / "cut.npz"
    cut.write_bytes(whole[: len(whole) // 2])
    for path in (cut, tmp_path / "none.npz"):
        with pytest.raises(rs.DataError):
            read_reservoir(path)
