"""Any nn.RNN, nn.LSTM or nn.GRU as a dynamical system."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from rnnscope.core.errors import ConfigError
from rnnscope.models.cells import CellKind, layer_weights
from rnnscope.models.recurrent_systems import RecurrentSystem, recurrent_system

M = TypeVar("M", bound=nn.Module)


def as_system(module: nn.Module, readout: nn.Linear | None = None) -> RecurrentSystem:
    """A copy of a torch recurrent network as a dynamical system; the module itself is left untouched.

    Args:
        module: an nn.RNN, nn.LSTM or nn.GRU (one direction, any number of layers), or a module that holds exactly one of
            them and at most one nn.Linear, which is then taken as the readout.
        readout: linear map of the top layer's h to the output; the identity when there is none.

    Returns:
        A `RecurrentSystem` with the same weights, dtype, device and training mode. LSTM states are concat(h, c) per layer.

    Raises:
        ConfigError: no such layer, several of them, bidirectional or projected layers, or a readout of the wrong size.

    Example:
        >>> import torch, rnnscope as rs
        >>> system = rs.as_system(torch.nn.GRU(2, 8, num_layers=2), torch.nn.Linear(8, 3))
        >>> system.state_size, system.output_size
        (16, 3)
    """
    recurrent = only_layer(module)
    if readout is None and module is not recurrent:
        readout = _only(module, nn.Linear, "nn.Linear")
    if recurrent.bidirectional or recurrent.proj_size:
        what = "bidirectional" if recurrent.bidirectional else "projected"
        raise ConfigError(
            f"the layer is {what}",
            "one causal direction without projection",
            "wrap each direction's weights in a layer of its own",
        )
    if readout is not None and readout.in_features != recurrent.hidden_size:
        raise ConfigError(
            f"the readout takes {readout.in_features} features",
            f"hidden_size = {recurrent.hidden_size}",
            "pass the layer that reads the top state",
        )
    like = next(recurrent.parameters())
    size = recurrent.hidden_size
    system = recurrent_system(
        _kind(recurrent),
        recurrent.input_size,
        size,
        readout.out_features if readout else size,
        recurrent.num_layers,
        bias=recurrent.bias,
        readout_bias=readout is not None and readout.bias is not None,
        dropout=float(recurrent.dropout),
    ).to(device=like.device, dtype=like.dtype)
    head = None if readout is None else (readout.weight, readout.bias)
    copy_weights(system, lambda part, index, _: getattr(recurrent, f"{part}_l{index}"), head)
    return system.train(module.training)


def copy_weights(
    system: RecurrentSystem, get: Callable[[str, int, torch.Size], Tensor], head: tuple[Tensor, Tensor | None] | None
) -> None:
    """Overwrite a system's weights with a torch module's.

    Args:
        get: (weight_ih, weight_hh, bias_ih or bias_hh; number of the layer; the shape wanted) -> tensor.
        head: weight and bias of the readout; the identity when None.
    """
    with torch.no_grad():
        for index, layer in enumerate(system.recurrent_layers()):
            for part in ("weight_ih", "weight_hh") + (("bias_ih", "bias_hh") if layer.bias else ()):
                own = getattr(layer, f"{part}_l0")
                own.copy_(get(part, index, own.shape))
        system.head.weight.copy_(head[0] if head else torch.eye(system.hidden_size))
        if head and head[1] is not None:
            system.head.bias.copy_(head[1])


def only_layer(module: nn.Module) -> nn.RNNBase:
    """The one recurrent layer in a torch module."""
    recurrent = _only(module, nn.RNNBase, "recurrent layer")
    if recurrent is None:
        raise ConfigError(
            f"{type(module).__name__} holds no nn.RNN, nn.LSTM or nn.GRU",
            "one of them",
            "pass the recurrent layer itself, or rs.System(step=…)",
        )
    return recurrent


def _only(module: nn.Module, kind: type[M], name: str) -> M | None:
    found = [m for m in module.modules() if isinstance(m, kind)]
    if len(found) > 1:
        raise ConfigError(
            f"{type(module).__name__} holds {len(found)} layers of kind {name}",
            "one",
            "pass the layer (and the readout) explicitly",
        )
    return found[0] if found else None


def _kind(layer: nn.RNNBase) -> CellKind:
    if isinstance(layer, nn.LSTM):
        return "lstm"
    if isinstance(layer, nn.GRU):
        return "gru"
    return "relu" if layer.nonlinearity == "relu" else "tanh"


@dataclass(frozen=True)
class ElmanMatrices:
    """A one-layer tanh network in the letters of Goodfellow, Bengio & Courville (2016), chapter 10.2.2, as float64 arrays.

    a_t = b + W h_{t-1} + U x_t, h_t = tanh a_t, o_t = c + V h_t; U: (H, X), W: (H, H), V: (Y, H), b: (H,), c: (Y,).
    """

    U: Float[np.ndarray, "H X"]
    W: Float[np.ndarray, "H H"]
    V: Float[np.ndarray, "Y H"]
    b: Float[np.ndarray, " H"]
    c: Float[np.ndarray, " Y"]


def elman_matrices(system: RecurrentSystem) -> ElmanMatrices:
    """The matrices of a tanh network, for `rs.backpropagate`: back-propagation through time in the open.

    Raises:
        ConfigError: another cell, several layers, or taps.

    Example:
        >>> import numpy as np, torch, rnnscope as rs
        >>> m = rs.elman_matrices(rs.as_system(torch.nn.RNN(2, 4), torch.nn.Linear(4, 1)))
        >>> found = rs.backpropagate(np.ones((3, 5, 2)), np.zeros((3, 5, 1)), m.U, m.W, m.V, m.b, m.c)
        >>> found.W.shape
        (4, 4)
    """
    if system.kind != "tanh" or system.num_layers != 1 or system.skip:
        raise ConfigError(
            f"a {system.kind} network with {system.num_layers} layers and {system.skip} taps",
            "a tanh network of one layer without taps",
            "use rs.gradient_flow, which takes any network",
        )
    into, back, into_bias, back_bias = (
        None if w is None else w.detach().double().cpu().numpy() for w in layer_weights(system.recurrent_layers()[0])
    )
    assert into is not None
    assert back is not None
    bias = np.zeros(system.hidden_size) if into_bias is None or back_bias is None else into_bias + back_bias
    head = system.head
    readout = head.weight.detach().double().cpu().numpy()
    shift = np.zeros(len(readout)) if head.bias is None else head.bias.detach().double().cpu().numpy()
    return ElmanMatrices(into, back, readout, bias, shift)
