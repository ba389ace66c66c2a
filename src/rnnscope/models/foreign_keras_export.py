"""Our networks as Keras 3 models."""

import importlib
import os
import sys
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from rnnscope.core.errors import ConfigError
from rnnscope.core.system import SequenceModel
from rnnscope.models.cells import layer_weights
from rnnscope.models.foreign_keras import INSTALL, from_keras_order
from rnnscope.models.plain import plain_parts

CLASSES = {"LSTM": "LSTM", "GRU": "GRU", "RNN_TANH": "SimpleRNN", "RNN_RELU": "SimpleRNN"}


def to_keras(model: SequenceModel, *, return_sequences: bool | None = None) -> Any:
    """A keras.Sequential with the same weights.

    Args:
        model: one of our networks of recurrent layers, in one direction or both, without taps, and dense layers.
        return_sequences: outputs at every step, (B, T, Y), or at the last one, (B, Y). By default as our network gives them.

    Returns:
        A built keras.Sequential, float32 or float64 as the network. Where Keras has not been imported yet and no KERAS_BACKEND
        is set, it is imported with the torch backend.

    Raises:
        ConfigError: Keras is not installed, or the network has parts that Keras has no layer for.

    Example:
        >>> import torch, rnnscope as rs
        >>> rs.to_keras(rs.as_system(torch.nn.GRU(2, 4))).save("gru.keras")       # doctest: +SKIP
        >>> from rnnscope.core.interfaces import Signature
        >>> rs.to_keras(rs.GRU(skip=2).build(Signature(1, 1), torch.Generator()))
        Traceback (most recent call last):
        rnnscope.core.errors.ConfigError: the network has 2 taps from its input to its output
        expected: recurrent layers and a readout alone
        to do: train with skip=0, or export the step to ONNX, which holds the taps
    """
    parts = plain_parts(model)
    keras = import_keras()
    every_step = not parts.last_step if return_sequences is None else return_sequences
    first = parts.layers[0][0]
    dtype = "float64" if layer_weights(first)[1].dtype == torch.float64 else "float32"
    layers: list[Any] = [keras.Input((None, first.input_size), dtype=dtype)]
    weights: list[np.ndarray] = []
    for number, pair in enumerate(parts.layers):
        on_top = number == len(parts.layers) - 1
        layer = _layer(keras, pair[0], every_step or not on_top, dtype)
        layers.append(keras.layers.Bidirectional(layer, dtype=dtype) if len(pair) == 2 else layer)
        weights += [array for one in pair for array in _arrays(one)]
    for linear, activation in zip(parts.dense, parts.activations, strict=True):
        has_bias = linear.bias is not None
        layers.append(keras.layers.Dense(linear.weight.shape[0], activation=activation, use_bias=has_bias, dtype=dtype))
        weights += [_array(linear.weight.T), *([_array(linear.bias)] if has_bias else [])]
    made = keras.Sequential(layers)
    made.set_weights(weights)
    return made


def import_keras() -> Any:
    """Keras 3, with the torch backend where nothing else is asked for."""
    chosen = "KERAS_BACKEND" in os.environ or "keras" in sys.modules
    if not chosen:
        os.environ["KERAS_BACKEND"] = "torch"
    try:
        keras: Any = importlib.import_module("keras")
    except ImportError as error:
        missing = error.name or "keras"
        remedy = INSTALL if missing.startswith("keras") else f"set KERAS_BACKEND=torch, or install {missing}"
        raise ConfigError(f"this needs Keras 3; {missing} is not installed", "Keras 3", remedy) from None
    finally:
        if not chosen:
            del os.environ["KERAS_BACKEND"]
    if int(keras.__version__.split(".")[0]) < 3:
        raise ConfigError(f"Keras {keras.__version__} is installed", "Keras 3", INSTALL)
    return keras


def _layer(keras: Any, layer: nn.RNNBase, every_step: bool, dtype: str) -> Any:
    more = {"activation": layer.nonlinearity} if isinstance(layer, nn.RNN) else {}
    make = getattr(keras.layers, CLASSES[layer.mode])
    return make(layer.hidden_size, use_bias=layer.bias, return_sequences=every_step, dtype=dtype, **more)


def _arrays(layer: nn.RNNBase) -> list[np.ndarray]:
    """Kernel, recurrent kernel and bias as Keras orders them; torch's two biases are one, but for a GRU."""
    cell = "gru" if layer.mode == "GRU" else ""
    into, back, into_bias, back_bias = layer_weights(layer)
    arrays = [from_keras_order(_array(into), cell).T, from_keras_order(_array(back), cell).T]
    if into_bias is not None and back_bias is not None:
        if cell:
            arrays.append(np.stack([from_keras_order(_array(b), cell) for b in (into_bias, back_bias)]))
        else:
            arrays.append(_array(into_bias + back_bias))
    return arrays


def _array(tensor: Tensor) -> np.ndarray:
    return tensor.detach().cpu().numpy()
