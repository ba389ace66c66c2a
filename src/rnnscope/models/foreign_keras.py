"""Keras 3 networks made ours. A .keras file is read as what it is, a zip of a JSON and an HDF5 file: no code in it is run.

Keras stores kernels transposed and orders a GRU's gates update, reset, candidate; its GRU with reset_after=True is torch's.
"""

import io
import json
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from rnnscope.core.errors import ConfigError, DataError
from rnnscope.core.interfaces import Signature
from rnnscope.core.system import SequenceModel
from rnnscope.models.cells import GATES, layer_weights
from rnnscope.models.foreign_keras_layers import Description, KerasLayer, describe
from rnnscope.models.layered import CELLS, LayeredNetwork
from rnnscope.models.plain import simplest

Weights = Callable[[KerasLayer], list[np.ndarray]]
AGREEMENT = 1e-4  # of the largest output; rounding in float32 is a hundred times smaller
INSTALL = "pip install 'rnnscope[keras]'"


def from_keras(source: Any) -> SequenceModel:
    """A copy of a Keras 3 network as one of our models; the original is left untouched.

    Layers: SimpleRNN (tanh or relu), LSTM and GRU (reset_after=True), stacked and in Bidirectional (concat); Dense layers on top
    (linear, tanh, relu, sigmoid or softmax). Dropout layers do nothing at inference and are left out. Any other layer is refused.

    Args:
        source: a built keras.Sequential, or keras.Model that is a plain chain of layers, with any backend; or the path of a
            .keras file, which needs h5py alone.

    Returns:
        A `RecurrentSystem`, itself a dynamical system, where the layers are alike, in one direction, and the readout is one
        linear layer; it gives outputs at every step, so where the last recurrent layer has return_sequences=False its last
        step is what Keras gives. Else a `LayeredNetwork`, which then gives that step alone, (B, 1, Y).

    Raises:
        ConfigError: a layer, option or activation that is not supported, with its name and why. DataError: no .keras file,
        a damaged one, or weights of the wrong shape.

    Example:
        >>> import rnnscope as rs
        >>> net = rs.from_keras("model.keras")                    # doctest: +SKIP
        >>> rs.find_fixed_points(net.systems()["network"])        # doctest: +SKIP
    """
    if isinstance(source, str | Path):
        return simplest(read_keras(source)[0])
    config, weights = _of_object(source)
    network = build_network(describe(config, type(source).__name__), weights)
    _check_outputs(source, network)
    return simplest(network)


def _of_object(model: Any) -> tuple[dict[str, Any], Weights]:
    """Configuration and weights of a Keras model in memory."""
    if not (hasattr(model, "get_config") and hasattr(model, "layers") and hasattr(model, "weights")):
        raise ConfigError(
            f"an object of type {type(model).__name__}",
            "a keras.Sequential, a keras.Model, or the path of a .keras file",
            "put single layers into keras.Sequential([keras.Input((None, features)), layer])",
        )
    if not model.built or not model.weights:
        raise ConfigError("the model has no weights yet", "a built model", "begin it with keras.Input((None, features))")
    try:
        config = model.get_config()
    except NotImplementedError:
        config = {}
    if "layers" not in config:
        raise ConfigError(
            f"{type(model).__name__} is a model class of its own, whose code decides what is computed",
            "a keras.Sequential or a functional keras.Model",
            "build the same layers as keras.Sequential and set their weights: new.set_weights(model.get_weights())",
        )
    found = {layer.name: layer for layer in model.layers}

    def weights(layer: KerasLayer) -> list[np.ndarray]:
        return [np.asarray(w) for w in found[layer.name].get_weights()]

    return {"class_name": type(model).__name__, "config": config}, weights


def _check_outputs(model: Any, network: LayeredNetwork) -> None:
    """Refuse a model that does not compute what its configuration says: a function of one's own may be called tanh, too."""
    steps = model.input_shape[1] or 4
    inputs = np.random.default_rng(0).standard_normal((2, steps, network.input_size)).astype(np.float32)
    with torch.no_grad():
        given = model(inputs, training=False)
        wanted = np.asarray(given.detach().cpu() if isinstance(given, torch.Tensor) else given)
        found = network(torch.from_numpy(inputs).to(next(network.parameters()))).numpy()
    difference = float(np.abs(wanted - found.reshape(wanted.shape)).max())
    if not difference <= AGREEMENT * max(1.0, float(np.abs(wanted).max())):
        raise ConfigError(
            f"the model's outputs differ by {difference:.2g} from what its layers say",
            "layers that compute what their configuration says",
            "look for an activation of your own under a known name, or a layer changed after it was built",
        )


def read_keras(path: str | Path) -> tuple[LayeredNetwork, tuple[str, ...]]:
    """The network in a .keras file, and what one should know of it."""
    file = Path(path).expanduser()
    if not file.is_file():
        raise DataError(f"there is no file '{path}'", "a .keras file", "check the path")
    if file.suffix.lower() != ".keras":
        raise DataError(
            f"'{path}' ends in '{file.suffix}'", "a .keras file, as Keras 3 writes it", "write model.save('model.keras')"
        )
    try:
        with zipfile.ZipFile(file) as archive:
            config = json.loads(archive.read("config.json"))
            stored = archive.read("model.weights.h5")
        if not isinstance(config, dict):
            raise ValueError("config.json holds no mapping")
        found = describe(config, f"'{path}'")
        return build_network(found, _of_h5(stored, str(path)), str(path)), found.notes
    except (OSError, zipfile.BadZipFile, zlib.error, KeyError, ValueError, TypeError, AttributeError, EOFError) as error:
        if isinstance(error, ConfigError | DataError):
            raise
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise DataError(
            f"'{path}' is damaged, or no .keras file: {reason}",
            "a zip of config.json and model.weights.h5",
            "save it again: model.save('model.keras')",
        ) from None


def _of_h5(content: bytes, path: str) -> Weights:
    """The weights of each layer from the HDF5 part of a .keras file. Links out of the file are not followed."""
    try:
        import h5py
    except ImportError:
        raise ConfigError(f"reading '{path}' needs h5py, which is not installed", "h5py", INSTALL) from None
    arrays: dict[str, np.ndarray] = {}
    owners: dict[str, str] = {}

    def visit(name: str, node: Any) -> None:
        if isinstance(node, h5py.Dataset) and not node.external and not node.is_virtual and node.dtype.kind == "f":
            arrays[name] = node[()]
        elif name.endswith("/vars") and "name" in node.attrs:
            owners.setdefault(str(node.attrs["name"]), name.removesuffix("/vars"))

    with h5py.File(io.BytesIO(content), "r") as stored:
        stored.visititems(visit)

    def weights(layer: KerasLayer) -> list[np.ndarray]:
        places = [
            owners.get(layer.name, ""),
            f"layers/{layer.stem}",
            f"layers/{layer.name}",
            f"_layer_checkpoint_dependencies/{layer.name}",
        ]
        for place in places:
            inside = {k: v for k, v in arrays.items() if place and k.startswith(f"{place}/")}
            if inside:
                # forward before backward; then by number
                order = sorted(inside, key=lambda k: ("/backward_layer/" in k, k.rpartition("/")[0], int(k.rpartition("/")[2])))
                return [inside[k] for k in order]
        return []

    return weights


def build_network(found: Description, weights: Weights, source: str = "the model") -> LayeredNetwork:
    """Our network with a Keras network's weights."""
    arrays = {layer.name: weights(layer) for layer in found.layers}
    first = arrays[found.recurrent[0].name]
    inputs = int(first[0].shape[0]) if first and first[0].ndim == 2 else 0
    if inputs < 1:
        raise DataError(
            f"{source} holds no weights for the layer '{found.recurrent[0].name}'",
            "the weights of every layer",
            "save it again",
        )
    network = found.spec.empty(Signature(inputs, found.output_size))
    dtype = torch.float64 if found.precision == "float64" else torch.float32
    network = network.to(dtype)
    with torch.no_grad():
        for layer, pair, own in zip(found.recurrent, network.directions(), found.spec.layers, strict=True):
            given, width = arrays[layer.name], pair[0].input_size
            shapes = _shapes(CELLS[own.cell], width, own.hidden_size, own.bias) * len(pair)
            _check(given, shapes, layer, source)
            per = len(shapes) // len(pair)
            for index, one in enumerate(pair):
                _fill(one, own.cell, given[index * per : (index + 1) * per])
        for layer, dense in zip(found.dense, network.head.layers, strict=True):
            units, width = dense.weight.shape
            given = arrays[layer.name]
            _check(given, [(width, units), (units,)][: 1 + (dense.bias is not None)], layer, source)
            dense.weight.copy_(torch.from_numpy(np.ascontiguousarray(given[0].T)))
            if dense.bias is not None:
                dense.bias.copy_(torch.from_numpy(np.ascontiguousarray(given[1])))
    return network.eval()


def _shapes(kind: str, inputs: int, hidden: int, bias: bool) -> list[tuple[int, ...]]:
    """The shapes of a Keras layer's weights: kernel, recurrent kernel, bias."""
    columns = GATES[kind] * hidden
    shapes: list[tuple[int, ...]] = [(inputs, columns), (hidden, columns)]
    if bias:
        shapes.append((2, columns) if kind == "gru" else (columns,))
    return shapes


def _check(given: list[np.ndarray], wanted: list[tuple[int, ...]], layer: KerasLayer, source: str) -> None:
    shapes = [tuple(one.shape) for one in given]
    if shapes != wanted:
        raise DataError(
            f"{source}: the weights of {layer.words} have shapes {', '.join(map(str, shapes)) or 'of none'}",
            ", ".join(map(str, wanted)),
            "check that configuration and weights belong together; save the model again",
        )
    for one in given:
        if not np.isfinite(one).all():
            raise DataError(
                f"{source}: the weights of {layer.words} hold NaN or infinite values", "finite weights", "train again"
            )


def _fill(layer: torch.nn.RNNBase, cell: str, given: list[np.ndarray]) -> None:
    """A Keras layer's weights in a torch layer."""
    into, back, into_bias, back_bias = layer_weights(layer)
    into.copy_(torch.from_numpy(from_keras_order(given[0].T, cell)))
    back.copy_(torch.from_numpy(from_keras_order(given[1].T, cell)))
    if into_bias is not None and back_bias is not None:
        bias = given[2] if given[2].ndim == 2 else np.stack([given[2], np.zeros_like(given[2])])
        into_bias.copy_(torch.from_numpy(from_keras_order(bias[0], cell)))
        back_bias.copy_(torch.from_numpy(from_keras_order(bias[1], cell)))


def from_keras_order(rows: np.ndarray, cell: str) -> np.ndarray:
    """Rows gate by gate in torch's order; swaps a GRU's first two gates, and is its own inverse.

    Example:
        >>> import numpy as np
        >>> from_keras_order(np.array([[1.0], [2.0], [3.0]]), "gru").ravel().tolist()
        [2.0, 1.0, 3.0]
    """
    if cell == "gru":
        update, reset, candidate = np.split(rows, 3)
        rows = np.concatenate([reset, update, candidate])
    return np.array(rows, order="C")
