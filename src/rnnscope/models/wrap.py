"""Any nn.RNN, nn.LSTM or nn.GRU as a dynamical system."""

from typing import TypeVar

import torch
from torch import nn

from rnnscope.core.errors import ConfigError
from rnnscope.models.cells import CellKind
from rnnscope.models.recurrent import RecurrentSystem, recurrent_system

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
    recurrent = _only(module, nn.RNNBase, "recurrent layer")
    if recurrent is None:
        raise ConfigError(
            f"{type(module).__name__} holds no nn.RNN, nn.LSTM or nn.GRU",
            "one of them",
            "pass the recurrent layer itself, or rs.System(step=…)",
        )
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
    with torch.no_grad():
        for index, layer in enumerate(system.recurrent_layers()):
            for name in ("weight_ih", "weight_hh") + (("bias_ih", "bias_hh") if recurrent.bias else ()):
                getattr(layer, f"{name}_l0").copy_(getattr(recurrent, f"{name}_l{index}"))
        system.head.weight.copy_(readout.weight if readout is not None else torch.eye(size))
        if readout is not None and readout.bias is not None:
            system.head.bias.copy_(readout.bias)
    return system.train(module.training)


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
