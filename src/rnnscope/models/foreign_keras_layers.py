"""What a Keras configuration says, layer by layer: what we have too, and a reason for everything that we have not."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from rnnscope.core.errors import ConfigError, DataError
from rnnscope.models.layered import Dense, Layer, Layered

CELL_OF = {"SimpleRNN": "elman", "LSTM": "lstm", "GRU": "gru"}
IDLE = ("Dropout", "SpatialDropout1D", "GaussianDropout", "GaussianNoise", "AlphaDropout", "ActivityRegularization", "Identity")
ACTIVATIONS = ("linear", "tanh", "relu", "sigmoid", "softmax")
REASONS = {
    "Lambda": ("it holds code, which is not run", "remove the layer, or carry its function out on the data"),
    "Masking": ("masked steps have no place in our networks", "cut the sequences to their lengths, and leave Masking out"),
    "Embedding": (
        "it reads symbols, not numbers",
        "feed the embedded vectors: keep the layers after it as a model of their own",
    ),
    "RNN": ("its cell is an object of its own", "use keras.layers.LSTM, GRU or SimpleRNN and set_weights(rnn.get_weights())"),
    "Normalization": ("it scales the data", "scale the data beforehand, and keep the layers after it as a model of their own"),
    "Sequential": ("it is a model inside a model", "put its layers into the outer model one by one"),
    "Functional": ("it is a model inside a model", "put its layers into the outer model one by one"),
    "Flatten": ("it joins all steps", "read the last step (return_sequences=False) or every step"),
}
REMEDY = "keep the recurrent layers and the Dense layers on top as a model of their own"


@dataclass(frozen=True)
class KerasLayer:
    """One layer of a Keras configuration.

    Attributes:
        kind: class name. name: of the layer. config: its fields. stem: its place in the weights file, by class and number.
    """

    kind: str
    name: str
    config: dict[str, Any]
    stem: str = ""

    @property
    def words(self) -> str:
        """How messages call it."""
        return f"the {self.kind} layer '{self.name}'"

    def refuse(self, what: str, expected: str, remedy: str) -> ConfigError:
        """Why this layer is not supported."""
        return ConfigError(f"{self.words}: {what}", expected, remedy)

    def activation(self, key: str, allowed: tuple[str, ...]) -> str:
        """The activation in a field; a custom one is refused."""
        value = self.config.get(key, "linear")
        if isinstance(value, dict):  # a function or layer of one's own, whatever its name
            known = [value.get(k) for k in ("config", "registered_name", "class_name")]
            value = next((f"{k}, an object of its own" for k in known if isinstance(k, str) and k), "an object of its own")
        name = "linear" if value is None else str(value)
        if name not in allowed:
            raise self.refuse(f"{key} is {name}", " or ".join(allowed), f"train it with {key}={allowed[0]}")
        return name


@dataclass
class Description:
    """A Keras network in our terms.

    Attributes:
        spec: ours. recurrent, dense: Keras's layers in order. output_size: of the last one. precision: float32 or float64.
        notes: what one should know, in sentences.
    """

    spec: Layered
    recurrent: list[KerasLayer]
    dense: list[KerasLayer]
    output_size: int
    precision: str
    notes: tuple[str, ...]

    @property
    def layers(self) -> list[KerasLayer]:
        """The layers with weights."""
        return [*self.recurrent, *self.dense]


@dataclass
class _Reading:
    """What has been read so far, layer by layer."""

    layers: list[Layer] = field(default_factory=list)
    recurrent: list[KerasLayer] = field(default_factory=list)
    dense: list[Dense] = field(default_factory=list)
    dense_layers: list[KerasLayer] = field(default_factory=list)
    last_step: bool = False
    precisions: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def describe(config: dict[str, Any], source: str) -> Description:
    """A Keras configuration in our terms.

    Raises:
        ConfigError: a layer that we do not have, with its name and the reason.
    """
    reading = _Reading()
    for layer in _chain(config, source):
        _read(reading, layer)
    if not reading.layers:
        raise ConfigError(f"{source} has no SimpleRNN, LSTM or GRU layer", "a recurrent network", "choose another model")
    if len(set(reading.precisions.values())) > 1:
        mixed = ", ".join(f"{k}: {v}" for k, v in reading.precisions.items())
        raise ConfigError(f"{source} mixes precisions ({mixed})", "one dtype throughout", "build it with one dtype policy")
    last = reading.dense[-1] if reading.dense else None
    spec = Layered(
        layers=tuple(reading.layers),
        dense=tuple(reading.dense[:-1]),
        readout=last is not None,
        activation="linear" if last is None else last.activation,
        readout_bias=last is not None and last.bias,
        last_step=reading.last_step,
    )
    size = reading.layers[-1].width if last is None else last.units
    precision = next(iter(reading.precisions.values()))
    return Description(spec, reading.recurrent, reading.dense_layers, size, precision, tuple(reading.notes))


def _chain(config: dict[str, Any], source: str) -> list[KerasLayer]:
    """The layers from input to output of a model that is a chain."""
    kind, inner = config.get("class_name"), config.get("config", {})
    if not isinstance(inner, dict) or "layers" not in inner:
        raise ConfigError(
            f"{source} is of the class {kind}, whose code decides what is computed",
            "a keras.Sequential or a functional keras.Model",
            "build the same layers as keras.Sequential and set their weights",
        )
    counts: dict[str, int] = {}
    layers: dict[str, KerasLayer] = {}
    for raw in inner["layers"]:
        snake = _snake(raw["class_name"])
        number = counts.get(snake, 0)
        counts[snake] = number + 1
        own = raw.get("config") or {}
        name = str(raw.get("name") or own.get("name") or snake)
        if name in layers:
            raise DataError(f"{source} has two layers called '{name}'", "a name for each layer", "save the model again")
        layers[name] = KerasLayer(raw["class_name"], name, own, f"{snake}_{number}" if number else snake)
    if "input_layers" not in inner:
        return list(layers.values())
    return _ordered(inner, layers, source)


def _ordered(inner: dict[str, Any], layers: dict[str, KerasLayer], source: str) -> list[KerasLayer]:
    """The layers of a functional model in the order of their calls."""
    follows: dict[str, str] = {}
    for raw in inner["layers"]:
        name = str(raw.get("name") or raw["config"]["name"])
        nodes = raw.get("inbound_nodes") or []
        before = [origin for node in nodes for origin in _origins(node)]
        if raw["class_name"] == "InputLayer" and not before:
            continue
        if len(nodes) != 1 or len(before) != 1 or before[0] in follows:
            what = (
                "is called with several tensors (a branch, or a state handed in)"
                if len(nodes) == 1
                else "is called more than once"
            )
            if len(nodes) == 1 and len(before) == 1:
                what = f"branches off '{before[0]}', which another layer reads too"
            raise ConfigError(f"{source}: {layers[name].words} {what}", "a plain chain of layers, one after the other", REMEDY)
        follows[before[0]] = name
    starts = _names(inner["input_layers"])
    if len(starts) != 1 or len(_names(inner["output_layers"])) != 1:
        raise ConfigError(f"{source} has several inputs or outputs", "one of each", REMEDY)
    order = [starts[0]]
    while order[-1] in follows:
        order.append(follows[order[-1]])
    return [layers[name] for name in order]


def _origins(node: Any) -> Iterator[str]:
    """The layers whose outputs a call takes."""
    if isinstance(node, dict) and node.get("class_name") == "__keras_tensor__":
        yield str(node["config"]["keras_history"][0])
    elif isinstance(node, dict):
        for value in node.values():
            yield from _origins(value)
    elif isinstance(node, list | tuple):
        for value in node:
            yield from _origins(value)


def _names(listed: Any) -> list[str]:
    """The layers in Keras's input_layers or output_layers: one [name, node, tensor], or a list of such."""
    if isinstance(listed, list | tuple) and listed and isinstance(listed[0], str):
        return [listed[0]]
    values = listed.values() if isinstance(listed, dict) else listed
    return [name for one in values for name in _names(one)]


def _read(reading: _Reading, layer: KerasLayer) -> None:
    """One layer, in the order of the chain."""
    if layer.kind == "InputLayer":
        _read_input(layer)
    elif layer.kind in IDLE:
        rate = layer.config.get("rate", layer.config.get("stddev"))
        what = f" (rate {rate:g})" if isinstance(rate, int | float) else ""
        reading.notes.append(f"{layer.words[0].upper()}{layer.words[1:]}{what} does nothing at inference and was left out.")
    elif layer.kind in CELL_OF or layer.kind == "Bidirectional":
        _read_recurrent(reading, layer)
    elif layer.kind in ("Dense", "TimeDistributed"):
        _read_dense(reading, layer)
    elif layer.kind in ("Activation", "Softmax", "ReLU"):
        _read_activation(reading, layer)
    else:
        reason, remedy = REASONS.get(layer.kind, ("there is no such layer here", REMEDY))
        raise layer.refuse(
            f"not supported, since {reason}", "SimpleRNN, LSTM, GRU, Bidirectional, Dense, Activation, Dropout", remedy
        )


def _read_input(layer: KerasLayer) -> None:
    shape = layer.config.get("batch_shape") or layer.config.get("batch_input_shape") or ()
    if len(shape) != 3:
        raise layer.refuse(f"shape {tuple(shape)}", "(batch, time, features)", "choose a model that reads sequences of vectors")
    if layer.config.get("ragged") or layer.config.get("sparse"):
        raise layer.refuse("ragged or sparse input", "dense sequences", "cut the sequences to their lengths")


def _read_recurrent(reading: _Reading, layer: KerasLayer) -> None:
    if reading.dense:
        raise layer.refuse("stands above a Dense layer", "recurrent layers first, then Dense layers", REMEDY)
    if reading.last_step:
        raise layer.refuse("stands above a layer that gives its last step alone", "return_sequences=True below it", REMEDY)
    inner, both = layer, layer.kind == "Bidirectional"
    if both:
        inner = _directions(layer)
    _check_options(inner)
    cell = CELL_OF[inner.kind]
    if inner.kind == "SimpleRNN":
        cell = "relu" if inner.activation("activation", ("tanh", "relu")) == "relu" else "elman"
    else:
        inner.activation("activation", ("tanh",))
        inner.activation("recurrent_activation", ("sigmoid",))
    if inner.kind == "GRU" and not inner.config.get("reset_after", True):
        raise inner.refuse(
            "reset_after is False: the reset gate acts before the matrix product",
            "reset_after=True, Keras's default, which is torch's GRU too",
            "train it with reset_after=True",
        )
    own = inner.config
    for what in ("dropout", "recurrent_dropout"):
        if own.get(what):
            words = inner.words[0].upper() + inner.words[1:]
            reading.notes.append(f"{words} has {what} {own[what]:g}, which does nothing at inference and was left out.")
    reading.layers.append(Layer(cell=cell, hidden_size=own["units"], bidirectional=both, bias=own.get("use_bias", True)))
    reading.recurrent.append(layer)
    reading.precisions[layer.name] = _precision(inner)
    reading.last_step = not own.get("return_sequences", False)


def _directions(layer: KerasLayer) -> KerasLayer:
    """The layer that a Bidirectional holds; its backward layer must be its mirror image."""
    if layer.config.get("merge_mode") != "concat":
        raise layer.refuse(f"merge_mode is {layer.config.get('merge_mode')}", "concat", "train it with merge_mode='concat'")
    forward, backward = layer.config["layer"], layer.config.get("backward_layer")
    if forward["class_name"] not in CELL_OF:
        raise layer.refuse(f"it holds a layer {forward['class_name']}", "SimpleRNN, LSTM or GRU", REMEDY)
    if backward is not None:
        keys = ("units", "activation", "recurrent_activation", "use_bias", "return_sequences", "reset_after", "stateful")
        differs = [k for k in keys if forward["config"].get(k) != backward["config"].get(k)]
        if backward["class_name"] != forward["class_name"] or differs or not backward["config"].get("go_backwards", True):
            raise layer.refuse(
                f"its backward layer differs ({', '.join(differs) or 'kind or go_backwards'})",
                "two directions of the same kind and size",
                "leave backward_layer out",
            )
    return KerasLayer(forward["class_name"], layer.name, forward["config"])


def _check_options(layer: KerasLayer) -> None:
    """Refuse options under which a layer computes something else than we do."""
    options = {
        "stateful": ("its state goes on from batch to batch", "build it with stateful=False; carry the state with rs.rollout"),
        "return_state": ("it returns its state as well", "build it with return_state=False; rs.rollout returns states"),
        "go_backwards": ("it reads from the end", "build it with go_backwards=False, and reverse the sequences"),
        "time_major": ("its first axis is time", "build it with time_major=False"),
    }
    for name, (why, remedy) in options.items():
        if layer.config.get(name):
            raise layer.refuse(f"{name} is true: {why}", f"{name}=False", remedy)


def _precision(layer: KerasLayer) -> str:
    """The layer's dtype policy: float32 or float64."""
    policy = layer.config.get("dtype", "float32")
    while isinstance(policy, dict):
        policy = policy.get("config", {}).get("name", policy.get("class_name"))
    if policy not in ("float32", "float64"):
        raise layer.refuse(
            f"its dtype policy is {policy}, so its numbers are rounded to about three digits",
            "float32 or float64",
            "build the same layers with dtype='float32' and set_weights(model.get_weights())",
        )
    return str(policy)


def _read_dense(reading: _Reading, layer: KerasLayer) -> None:
    own, config = layer, layer.config
    if layer.kind == "TimeDistributed":
        inner = config["layer"]
        if inner["class_name"] != "Dense":
            raise layer.refuse(f"it holds a layer {inner['class_name']}", "Dense", REMEDY)
        own, config = KerasLayer("Dense", layer.name, inner["config"]), inner["config"]
    if not reading.layers:
        raise layer.refuse("stands below the recurrent layers", "recurrent layers first, then Dense layers", REMEDY)
    if config.get("quantization_config") or config.get("lora_rank"):
        raise layer.refuse("it is quantised, or has a low-rank part", "a plain Dense layer", "save the model before that")
    reading.dense.append(
        Dense(units=config["units"], activation=own.activation("activation", ACTIVATIONS), bias=config.get("use_bias", True))
    )
    reading.dense_layers.append(layer)
    reading.precisions[layer.name] = _precision(own)


def _read_activation(reading: _Reading, layer: KerasLayer) -> None:
    """An activation of its own, which belongs to the Dense layer before it."""
    if not reading.dense or reading.dense[-1].activation != "linear":
        raise layer.refuse("follows no linear Dense layer", "an activation right after one", "put it into the Dense layer")
    plain = {"max_value": None, "negative_slope": 0.0, "threshold": 0.0, "axis": -1}
    changed = [k for k, v in plain.items() if k in layer.config and layer.config[k] != v]
    if changed:
        raise layer.refuse(
            f"{changed[0]} is {layer.config[changed[0]]}", f"{plain[changed[0]]}", "put a plain activation there"
        )
    name = layer.kind.lower() if layer.kind != "Activation" else layer.activation("activation", ACTIVATIONS)
    reading.dense[-1] = reading.dense[-1].but(activation=name)


def _snake(name: str) -> str:
    """LSTM -> lstm, SimpleRNN -> simple_rnn: how Keras calls a layer's place in the weights file."""
    name = re.sub(r"\W+", "", name)
    return re.sub(r"([a-z0-9])([A-Z])", r"\1_\2", re.sub(r"(.)([A-Z][a-z]+)", r"\1_\2", name)).lower()
