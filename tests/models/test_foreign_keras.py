"""Keras networks made ours and back. What is refused needs no Keras: a .keras file is a zip of JSON and HDF5."""

import importlib.util
import io
import json
import sys
import warnings
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import rnnscope as rs
from rnnscope.core.interfaces import Signature
from rnnscope.models.foreign_keras import read_keras
from rnnscope.models.foreign_keras_export import import_keras
from rnnscope.models.foreign_keras_layers import describe

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # Keras's own, of NumPy
KINDS = ("LSTM", "GRU", "SimpleRNN", "relu")
EVERY = [
    pytest.param(kind, layers, bias, both, id=f"{kind}-{layers}-{'bias' if bias else 'bare'}-{'both' if both else 'one'}")
    for kind in KINDS
    for layers in (1, 2, 3)
    for bias in (True, False)
    for both in (False, True)
]
INPUTS = np.random.default_rng(0).standard_normal((2, 7, 3)).astype(np.float32)


@pytest.fixture(scope="module")
def keras() -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if importlib.util.find_spec("keras") is None:
            pytest.skip("Keras is not installed: pip install 'rnnscope[keras]'")
        return import_keras()


def recurrent(keras: Any, kind: str, units: int, **more: Any) -> Any:
    layers = keras.layers
    return layers.SimpleRNN(units, activation="relu", **more) if kind == "relu" else getattr(layers, kind)(units, **more)


def random_weights(model: Any) -> Any:
    rng = np.random.default_rng(1)
    model.set_weights([0.4 * rng.standard_normal(w.shape) for w in model.get_weights()])
    return model


def answers(model: Any, inputs: np.ndarray = INPUTS) -> np.ndarray:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return np.asarray(model.predict(inputs, verbose=0))


def ours(source: Any, inputs: np.ndarray = INPUTS) -> np.ndarray:
    with torch.no_grad():
        return rs.from_keras(source)(torch.from_numpy(inputs)).numpy()


def same(found: np.ndarray, wanted: np.ndarray) -> None:
    """Equal to 1e-6; Keras may give the last step alone."""
    if wanted.ndim == 2:
        found = found[:, -1]
    np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-6)


# equal outputs


@pytest.mark.parametrize(("kind", "layers", "bias", "both"), EVERY)
@pytest.mark.parametrize("every_step", [True, False])
def test_outputs_are_equal_both_ways(
    keras: Any, kind: str, layers: int, bias: bool, both: bool, every_step: bool, tmp_path: Path
) -> None:
    stack = [keras.Input((None, 3))]
    for number in range(layers):
        on_top = number == layers - 1
        layer = recurrent(keras, kind, 4, use_bias=bias, return_sequences=every_step or not on_top)
        stack.append(keras.layers.Bidirectional(layer) if both else layer)
    model = random_weights(keras.Sequential([*stack, keras.layers.Dense(2, use_bias=bias)]))
    file, wanted = tmp_path / "model.keras", answers(model)
    model.save(file)
    same(ours(model), wanted)
    same(ours(str(file)), wanted)
    network = read_keras(file)[0]
    back = rs.to_keras(network)
    np.testing.assert_allclose(answers(back), wanted, rtol=0, atol=1e-6)
    same(ours(back), wanted)


@pytest.mark.parametrize("activation", ["softmax", "sigmoid", "relu", "tanh"])
def test_a_stack_of_other_sizes_and_an_activated_readout(keras: Any, activation: str, tmp_path: Path) -> None:
    layers = keras.layers
    inputs = keras.Input((None, 3))
    hidden = layers.LSTM(5, return_sequences=True, name="lower", dropout=0.2)(inputs)
    hidden = layers.Dropout(0.3)(hidden)
    hidden = layers.GRU(4, name="upper")(hidden)
    hidden = layers.Dense(6, activation="relu")(hidden)
    model = random_weights(keras.Model(inputs, layers.Dense(2, activation=activation)(hidden)))
    file = tmp_path / "model.keras"
    model.save(file)
    for source in (model, file):
        same(ours(source), answers(model))
    network, notes = read_keras(file)
    assert any("Dropout layer" in n and "0.3" in n for n in notes)
    assert any("'lower'" in n and "0.2" in n for n in notes)
    (system,) = network.systems().values()
    found = rs.rollout(system, torch.from_numpy(INPUTS)).outputs[:, -1].detach().numpy()
    np.testing.assert_allclose(found, answers(model), rtol=0, atol=1e-6)
    same(ours(rs.to_keras(network)), answers(model))


def test_double_precision_is_kept(keras: Any) -> None:
    layer = keras.layers.LSTM(4, dtype="float64", return_sequences=True)
    model = random_weights(keras.Sequential([keras.Input((None, 3), dtype="float64"), layer]))
    inputs = INPUTS.astype(np.float64)
    np.testing.assert_allclose(ours(model, inputs), answers(model, inputs), rtol=0, atol=1e-12)
    np.testing.assert_allclose(answers(rs.to_keras(rs.from_keras(model)), inputs), answers(model, inputs), rtol=0, atol=1e-12)


@pytest.mark.parametrize("cell", ["lstm", "gru", "elman", "relu"])
@pytest.mark.parametrize("both", [True, False])
def test_a_classifier_of_ours_gives_the_same_logits_in_keras(keras: Any, cell: str, both: bool) -> None:
    spec = rs.Classifier(cell=cell, hidden_size=4, num_layers=2, bidirectional=both)
    model = spec.build(Signature(3, 2), torch.Generator().manual_seed(0)).eval()
    wanted = model(torch.from_numpy(INPUTS))[:, 0].detach().numpy()
    np.testing.assert_allclose(answers(rs.to_keras(model)), wanted, rtol=0, atol=1e-6)


def test_a_network_of_ours_without_a_readout(keras: Any) -> None:
    network = rs.as_system(torch.nn.GRU(3, 4, 2))
    model = rs.to_keras(network)
    assert [type(layer).__name__ for layer in model.layers] == ["GRU", "GRU"]
    np.testing.assert_allclose(answers(model), network(torch.from_numpy(INPUTS)).detach().numpy(), rtol=0, atol=1e-6)
    last = rs.to_keras(network, return_sequences=False)
    np.testing.assert_allclose(answers(last), answers(model)[:, -1], rtol=0, atol=1e-6)


def test_layers_called_by_other_names_find_their_weights(keras: Any, tmp_path: Path) -> None:
    names = ["lstm_1", "lstm"]  # the first is called as Keras would call the second's place
    stack = [keras.layers.LSTM(4, return_sequences=True, name=n) for n in names]
    model = random_weights(keras.Sequential([keras.Input((None, 4)), *stack]))
    file, inputs = tmp_path / "model.keras", np.concatenate([INPUTS, INPUTS[..., :1]], -1)
    model.save(file)
    np.testing.assert_allclose(ours(file, inputs), answers(model, inputs), rtol=0, atol=1e-6)


def test_a_function_of_ones_own_under_a_known_name_is_found_out(keras: Any) -> None:
    def tanh(values: Any) -> Any:
        return 2 * values

    model = random_weights(keras.Sequential([keras.Input((None, 3)), keras.layers.SimpleRNN(4, activation=tanh)]))
    with pytest.raises(rs.ConfigError, match="outputs differ"):
        rs.from_keras(model)


# refusals, of configurations


def layer(kind: str, name: str = "", **config: Any) -> dict[str, Any]:
    own = {"name": name or kind.lower(), "dtype": "float32", **config}
    return {"class_name": kind, "config": own, "name": own["name"]}


def rnn(kind: str = "LSTM", **config: Any) -> dict[str, Any]:
    return layer(
        kind, **{"units": 4, "activation": "tanh", "recurrent_activation": "sigmoid", "return_sequences": True, **config}
    )


def chain(*layers: dict[str, Any]) -> dict[str, Any]:
    return {
        "class_name": "Sequential",
        "config": {"name": "net", "layers": [layer("InputLayer", batch_shape=[None, None, 3]), *layers]},
    }


def custom(name: str) -> dict[str, Any]:
    return {"module": "builtins", "class_name": "function", "config": f"Own>{name}", "registered_name": "function"}


BIDIRECTIONAL = {"layer": rnn(), "merge_mode": "concat"}
REFUSED = {
    "unsupported layer": (chain(rnn(), layer("Flatten")), "the Flatten layer 'flatten': not supported"),
    "unknown layer": (chain(layer("Conv1D", name="front"), rnn()), "the Conv1D layer 'front'"),
    "lambda": (chain(rnn(), layer("Lambda", function={"code": "4wEAAA"})), "holds code, which is not run"),
    "masking": (chain(layer("Masking", mask_value=0.0), rnn()), "masked steps"),
    "embedding": (chain(layer("Embedding"), rnn()), "symbols"),
    "RNN of a cell": (chain(layer("RNN", cell=layer("LSTMCell"))), "its cell is an object of its own"),
    "nested model": (chain(layer("Sequential", layers=[])), "a model inside a model"),
    "stateful": (chain(rnn(stateful=True)), "stateful is true"),
    "return_state": (chain(rnn(return_state=True)), "return_state is true"),
    "go_backwards": (chain(rnn(go_backwards=True)), "go_backwards is true"),
    "time_major": (chain(rnn(time_major=True)), "time_major is true"),
    "activation": (chain(rnn(activation="relu")), "activation is relu"),
    "custom activation": (chain(rnn(activation=custom("swoosh"))), "Own>swoosh"),
    "recurrent activation": (chain(rnn(recurrent_activation="hard_sigmoid")), "recurrent_activation is hard_sigmoid"),
    "readout activation": (chain(rnn(), layer("Dense", units=2, activation="gelu")), "activation is gelu"),
    "reset_after": (chain(rnn("GRU", reset_after=False)), "reset_after is False"),
    "float16": (chain(rnn(dtype={"config": {"name": "mixed_float16"}})), "mixed_float16"),
    "mixed precision": (chain(rnn(dtype="float64"), layer("Dense", units=2)), "mixes precisions"),
    "merge mode": (chain(layer("Bidirectional", **{**BIDIRECTIONAL, "merge_mode": "sum"})), "merge_mode is sum"),
    "backward layer": (
        chain(layer("Bidirectional", **BIDIRECTIONAL, backward_layer=rnn(units=5, go_backwards=True))),
        "backward layer differs",
    ),
    "bidirectional RNN": (chain(layer("Bidirectional", layer=layer("RNN"), merge_mode="concat")), "holds a layer RNN"),
    "Dense below": (chain(layer("Dense", units=2), rnn()), "stands below the recurrent layers"),
    "recurrent above Dense": (chain(rnn(), layer("Dense", units=2), rnn(name="top")), "stands above a Dense layer"),
    "last step below": (chain(rnn(return_sequences=False), rnn(name="upper")), "its last step alone"),
    "no recurrent layer": (chain(layer("Dense", units=2)), "stands below"),
    "nothing": (chain(), "no SimpleRNN, LSTM or GRU"),
    "image input": (
        {"class_name": "Sequential", "config": {"layers": [layer("InputLayer", batch_shape=[None, 8, 8, 3]), rnn()]}},
        "shape",
    ),
    "own class": ({"class_name": "MyModel", "config": {"units": 3}}, "whose code decides"),
    "activation alone": (chain(rnn(), layer("Activation", activation="tanh")), "follows no linear Dense"),
    "clipped ReLU": (chain(rnn(), layer("Dense", units=2), layer("ReLU", max_value=6.0)), "max_value is 6.0"),
    "quantised": (chain(rnn(), layer("Dense", units=2, quantization_config={"mode": "int8"})), "quantised"),
}


@pytest.mark.parametrize(("config", "word"), REFUSED.values(), ids=REFUSED.keys())
def test_what_we_have_not_is_refused_by_name_with_the_reason(config: dict[str, Any], word: str) -> None:
    with pytest.raises(rs.ConfigError) as caught:
        describe(config, "the model")
    assert word in caught.value.found
    assert caught.value.expected
    assert caught.value.remedy


def tensor(origin: str) -> dict[str, Any]:
    return {"class_name": "__keras_tensor__", "config": {"keras_history": [origin, 0, 0]}}


def called(inner: dict[str, Any], *origins: str) -> dict[str, Any]:
    return {**inner, "inbound_nodes": [{"args": [tensor(o) for o in origins], "kwargs": {}}] if origins else []}


def functional(*layers: dict[str, Any], inputs: Any = ("in", 0, 0), outputs: Any = ("out", 0, 0)) -> dict[str, Any]:
    return {"class_name": "Functional", "config": {"layers": list(layers), "input_layers": inputs, "output_layers": outputs}}


IN = called(layer("InputLayer", "in", batch_shape=[None, None, 3]))


def test_a_functional_chain_is_read_in_the_order_of_its_calls() -> None:
    net = functional(called(layer("Dense", "out", units=2), "mid"), called(rnn(name="mid"), "in"), IN)
    found = describe(net, "it")
    assert [one.name for one in found.layers] == ["mid", "out"]


@pytest.mark.parametrize(
    ("net", "word"),
    [
        (functional(IN, called(rnn(name="mid"), "in"), called(layer("Add", "out"), "mid", "in")), "several tensors"),
        (functional(IN, called(rnn(name="a"), "in"), called(rnn(name="out"), "in")), "branches off 'in'"),
        (functional(IN, called(rnn(name="out"), "in"), outputs=[["out", 0, 0], ["in", 0, 0]]), "several inputs or outputs"),
    ],
)
def test_a_functional_model_that_is_no_chain_is_refused(net: dict[str, Any], word: str) -> None:
    with pytest.raises(rs.ConfigError, match=word):
        describe(net, "it")


# refusals, of files


def written(path: Path, config: Any = None, weights: bytes = b"") -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("config.json", json.dumps(chain(rnn()) if config is None else config))
        archive.writestr("model.weights.h5", weights)
    return path


def test_files_that_are_none_are_refused(tmp_path: Path) -> None:
    whole = written(tmp_path / "whole.keras").read_bytes()
    cut, text, other = tmp_path / "cut.keras", tmp_path / "text.keras", tmp_path / "model.h5"
    cut.write_bytes(whole[: len(whole) // 2])
    text.write_text("no model")
    other.write_bytes(whole)
    for path, word in ((cut, "damaged"), (text, "damaged"), (other, "ends in '.h5'"), (tmp_path / "none.keras", "no file")):
        with pytest.raises(rs.DataError, match=word):
            rs.from_keras(path)
    twins = chain(rnn(), rnn())
    with pytest.raises(rs.DataError, match="two layers called 'lstm'"):
        rs.from_keras(written(tmp_path / "bad.keras", twins))
    for config in (
        [],
        3,
        {"class_name": "Sequential", "config": {"layers": [{}]}},
        {"class_name": "Sequential", "config": {"layers": 3}},
    ):
        with pytest.raises(rs.DataError, match="damaged"):
            rs.from_keras(written(tmp_path / "bad.keras", config))


def test_a_lambda_in_a_file_is_refused_before_anything_is_loaded(tmp_path: Path) -> None:
    with pytest.raises(rs.ConfigError, match="code"):
        rs.from_keras(written(tmp_path / "model.keras", REFUSED["lambda"][0]))


def test_what_is_not_installed_is_named_with_what_to_type(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("h5py", "keras"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(rs.ConfigError) as caught:
        rs.from_keras(written(tmp_path / "model.keras"))
    assert caught.value.remedy == "pip install 'rnnscope[keras]'"
    with pytest.raises(rs.ConfigError) as caught:
        rs.to_keras(rs.as_system(torch.nn.GRU(2, 3)))
    assert caught.value.remedy == "pip install 'rnnscope[keras]'"


@pytest.mark.parametrize("thing", [3, None, object(), torch.nn.GRU(2, 3)])
def test_what_is_no_keras_model_is_refused(thing: Any) -> None:
    with pytest.raises(rs.ConfigError, match="an object of type"):
        rs.from_keras(thing)


def stored(**arrays: np.ndarray) -> bytes:
    h5py = pytest.importorskip("h5py", reason="h5py is not installed")
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        for number, array in enumerate(arrays.values()):
            file[f"layers/lstm/cell/vars/{number}"] = array
    return buffer.getvalue()


def test_weights_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    kernel, recurrent_kernel, bias = np.zeros((3, 16)), np.zeros((4, 16)), np.zeros(16)
    good = stored(a=kernel, b=recurrent_kernel, c=bias)
    assert rs.from_keras(written(tmp_path / "good.keras", weights=good)).state_size == 8
    cases = {
        "shapes": stored(a=kernel, b=np.zeros((5, 16)), c=bias),
        "have shapes": stored(a=kernel, b=recurrent_kernel),
        "holds no weights": stored(),
        "NaN": stored(a=kernel * np.nan, b=recurrent_kernel, c=bias),
        "damaged": good[:200],
    }
    for word, weights in cases.items():
        with pytest.raises(rs.DataError, match=word):
            rs.from_keras(written(tmp_path / "bad.keras", weights=weights))


def test_links_out_of_a_weights_file_are_not_followed(tmp_path: Path) -> None:
    h5py = pytest.importorskip("h5py", reason="h5py is not installed")
    secret = tmp_path / "secret.h5"
    with h5py.File(secret, "w") as file:
        file["data"] = np.zeros((3, 16))
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        file["layers/lstm/cell/vars/1"] = np.zeros((4, 16))
        file["layers/lstm/cell/vars/2"] = np.zeros(16)
        file["layers/lstm/cell/vars/0"] = h5py.ExternalLink(str(secret), "data")
    with pytest.raises(rs.DataError, match="shapes"):
        rs.from_keras(written(tmp_path / "bad.keras", weights=buffer.getvalue()))
