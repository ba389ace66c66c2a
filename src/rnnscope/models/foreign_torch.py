"""Torch's recurrent networks made ours, and ours made torch's: plain nn.RNN, nn.GRU and nn.LSTM with an nn.Linear."""

from typing import Any, Literal

import torch
from torch import Tensor, nn

from rnnscope.core.errors import ConfigError
from rnnscope.core.interfaces import Signature
from rnnscope.core.system import SequenceModel
from rnnscope.models.cells import layer_weights
from rnnscope.models.layered import Layer, Layered, LayeredNetwork
from rnnscope.models.plain import Plain, plain_parts, simplest
from rnnscope.models.state_dict import recurrent_parts
from rnnscope.models.wrap import only_layer

CELL_OF = {1: "elman", 3: "gru", 4: "lstm"}  # by blocks of rows in weight_hh
Names = dict[tuple[str, int, bool], Tensor]


def from_torch(
    module: nn.Module | dict[str, Tensor],
    *,
    readout: nn.Linear | None = None,
    nonlinearity: Literal["tanh", "relu"] = "tanh",
    prefix: str | None = None,
) -> SequenceModel:
    """A copy of a torch recurrent network as one of our models; the original is left untouched.

    y_t = V h^L_t + d at every step, h^L the top layer's output (both directions side by side where there are two).

    Args:
        module: an nn.RNN, nn.LSTM or nn.GRU; a module that holds exactly one of them and at most one nn.Linear, which is taken
            as the readout of every step; or the state dict of either. Batch first or not makes no difference to the weights:
            our models take (batch, time, feature).
        readout: the linear layer that reads the top layer, where the module does not hold it.
        nonlinearity: of a plain RNN in a state dict, which does not tell it. prefix: of the module, where a state dict holds several.

    Returns:
        A `RecurrentSystem` for one direction, itself a dynamical system; for two a `LayeredNetwork`, whose `systems()` are
        the directions. Same dtype; in evaluation mode.

    Raises:
        ConfigError: no recurrent layer or several, projections, weights of the wrong shape or not finite.

    Example:
        >>> import torch, rnnscope as rs
        >>> net = rs.from_torch(torch.nn.LSTM(3, 8, num_layers=2, bidirectional=True, batch_first=True))
        >>> list(net.systems())
        ['forward-layer0', 'backward-layer0', 'forward-layer1', 'backward-layer1']
    """
    if isinstance(module, dict):
        return simplest(network_from_tensors(module, "the state dict", nonlinearity=nonlinearity, prefix=prefix)[0])
    if not isinstance(module, nn.Module):
        raise ConfigError(
            f"an object of type {type(module).__name__}",
            "an nn.RNN, nn.GRU, nn.LSTM, a module that holds one, or a state dict",
            "pass the module, or read a weights file with `rnnscope import FILE`",
        )
    recurrent = only_layer(module)
    if readout is None and module is not recurrent:
        linear = [m for m in module.modules() if isinstance(m, nn.Linear)]
        if len(linear) > 1:
            raise ConfigError(
                f"{type(module).__name__} holds {len(linear)} nn.Linear layers",
                "one, the readout of every step",
                "pass the recurrent layer, and the layer that reads it as readout=…",
            )
        readout = linear[0] if linear else None
    tensors = {f"recurrent.{k}": v for k, v in recurrent.state_dict().items()}
    if readout is not None:
        width = recurrent.hidden_size * (2 if recurrent.bidirectional else 1)
        if readout.in_features != width:
            raise ConfigError(
                f"the readout takes {readout.in_features} features",
                f"{width}, as the top layer gives",
                "pass the layer that reads it",
            )
        tensors |= {f"readout.{k}": v for k, v in readout.state_dict().items()}
    relu = isinstance(recurrent, nn.RNN) and recurrent.nonlinearity == "relu"
    found, _ = network_from_tensors(tensors, type(module).__name__, nonlinearity="relu" if relu else "tanh")
    return simplest(found)


def network_from_tensors(
    tensors: dict[str, Tensor],
    source: str,
    *,
    nonlinearity: Literal["tanh", "relu"] = "tanh",
    prefix: str | None = None,
) -> tuple[LayeredNetwork, tuple[str, ...]]:
    """The network in a state dict, and what one should know of it."""
    parts = recurrent_parts(tensors, source, prefix)
    numbers = range(1 + max(layer for _, layer, _ in parts.tensors))
    layers = tuple(_layer(parts.tensors, number, source, nonlinearity) for number in numbers)
    head, left_out = parts.readout(layers[-1].width)
    like = parts.tensors["weight_hh", 0, False]
    inputs = int(parts.get("weight_ih", 0, False).shape[-1])
    spec = Layered(layers=layers, readout=head is not None, readout_bias=head is not None and head[1] is not None)
    network = spec.empty(Signature(inputs, len(head[0]) if head else layers[-1].width))
    network = network.to(like.dtype if like.is_floating_point() else torch.float32)
    with torch.no_grad():
        for number, pair in enumerate(network.directions()):
            for back, own in enumerate(pair):
                names = ("weight_ih", "weight_hh") + (("bias_ih", "bias_hh") if own.bias else ())
                for name in names:
                    target: Tensor = getattr(own, f"{name}_l0")
                    target.copy_(parts.fitting(name, number, bool(back), target.shape))
        if head is not None:
            readout = network.head.layers[0]
            readout.weight.copy_(head[0])
            if head[1] is not None:
                readout.bias.copy_(head[1])
    notes = list(left_out)
    if layers[0].cell in ("elman", "relu"):
        notes.append(f"The nonlinearity is taken to be {nonlinearity}, which the weights do not tell.")
    return network.eval(), tuple(notes)


def _layer(tensors: Names, number: int, source: str, nonlinearity: str) -> Layer:
    """Sizes and kind of one layer, from its recurrent matrix."""
    recurrent = tensors.get(("weight_hh", number, False))
    if recurrent is None:
        raise ConfigError(f"{source} lacks 'weight_hh_l{number}'", "the weights of every layer", "save the whole state dict")
    rows, columns = recurrent.shape if recurrent.ndim == 2 else (0, 1)
    gates = rows // columns if columns and rows % columns == 0 else 0
    if gates not in CELL_OF:
        raise ConfigError(
            f"{source}: 'weight_hh_l{number}' has shape {tuple(recurrent.shape)}",
            "(H, H), (3H, H) or (4H, H): an RNN, a GRU or an LSTM",
            "check the file",
        )
    cell = "relu" if gates == 1 and nonlinearity == "relu" else CELL_OF[gates]
    return Layer(
        cell=cell,
        hidden_size=columns,
        bidirectional=any(layer == number and back for _, layer, back in tensors),
        bias=("bias_ih", number, False) in tensors,
    )


class TorchNetwork(nn.Module):
    """A plain torch network: `rnn`, one of nn.RNN, nn.GRU and nn.LSTM (batch first), and `readout`, an nn.Linear or nn.Identity.

    `last_step`: the readout reads the last step alone, of a backward direction the first, where it ends.
    """

    def __init__(self, rnn: nn.RNNBase, readout: nn.Module, last_step: bool) -> None:
        super().__init__()
        self.rnn, self.readout, self.last_step = rnn, readout, last_step

    def forward(self, inputs: Tensor) -> Tensor:
        """(B, T, X) -> (B, T, Y), or (B, 1, Y) where the last step alone is read."""
        states, size = self.rnn(inputs)[0], self.rnn.hidden_size
        if self.last_step:
            states = torch.cat([states[:, -1:, :size], states[:, :1, size:]], -1)
        return self.readout(states)


def to_torch(model: SequenceModel) -> TorchNetwork:
    """A plain torch module with the same weights: `rnn` (nn.RNN, nn.GRU or nn.LSTM, batch first) and `readout` (nn.Linear).

    Args:
        model: one of our recurrent networks whose layers are alike, without taps, and with at most one linear readout.

    Returns:
        A module that maps (B, T, X) to (B, T, Y); its state dict loads into any module built of the same two parts.

    Raises:
        ConfigError: the network is not made of such parts, with the part that is not.

    Example:
        >>> import torch, rnnscope as rs
        >>> net = rs.from_torch(torch.nn.GRU(2, 4))
        >>> sorted(rs.to_torch(net).state_dict())
        ['rnn.bias_hh_l0', 'rnn.bias_ih_l0', 'rnn.weight_hh_l0', 'rnn.weight_ih_l0']
    """
    parts = plain_parts(model)
    rnn, linear = empty_module(parts)
    with torch.no_grad():
        for number, pair in enumerate(parts.layers):
            for back, one in enumerate(pair):
                for name, value in zip(("weight_ih", "weight_hh", "bias_ih", "bias_hh"), layer_weights(one), strict=True):
                    if value is not None:
                        getattr(rnn, f"{name}_l{number}{'_reverse' * back}").copy_(value)
        if linear is not None:
            (weight, bias) = parts.dense[0].weight, parts.dense[0].bias
            linear.weight.copy_(weight)
            if bias is not None:
                linear.bias.copy_(bias)
    return TorchNetwork(rnn, linear if linear is not None else nn.Identity(), parts.last_step).eval()


def empty_module(parts: Plain) -> tuple[nn.RNNBase, nn.Linear | None]:
    """The torch modules that hold such parts, not filled."""
    first = parts.layers[0][0]
    for pair in parts.layers:
        for one in pair:
            if (one.mode, one.hidden_size, one.bias, len(pair)) != (
                first.mode,
                first.hidden_size,
                first.bias,
                len(parts.layers[0]),
            ):
                raise ConfigError(
                    "the layers differ in kind, size or direction",
                    "layers that are alike: torch has one module for all of them",
                    "export to Keras, or build one torch module per layer from rs.to_torch of each system",
                )
    if len(parts.dense) > 1 or any(name != "linear" for name in parts.activations):
        raise ConfigError(
            f"the readout is {len(parts.dense)} dense layers with {', '.join(parts.activations)}",
            "one linear layer",
            "export to Keras or ONNX, which hold such readouts",
        )
    like = layer_weights(first)[1]
    with torch.random.fork_rng(devices=[]):
        kind: Any = type(first)
        more = {"nonlinearity": first.nonlinearity} if isinstance(first, nn.RNN) else {}
        rnn: nn.RNNBase = kind(
            first.input_size,
            first.hidden_size,
            len(parts.layers),
            bias=first.bias,
            batch_first=True,
            bidirectional=len(parts.layers[0]) == 2,
            **more,
        ).to(like)
        own = parts.dense[0] if parts.dense else None
        linear = (
            None if own is None else nn.Linear(own.weight.shape[1], own.weight.shape[0], bias=own.bias is not None).to(like)
        )
    return rnn, linear


def loading_code(network: TorchNetwork, file: str) -> str:
    """The few lines of Python that load an exported state dict into torch modules of one's own."""
    rnn, safe = network.rnn, file.endswith(".safetensors")
    options = [f"{rnn.input_size}", f"{rnn.hidden_size}", f"num_layers={rnn.num_layers}"]
    if isinstance(rnn, nn.RNN) and rnn.nonlinearity == "relu":
        options.append('nonlinearity="relu"')
    options += ["bidirectional=True"] * rnn.bidirectional + ["bias=False"] * (not rnn.bias) + ["batch_first=True"]
    if rnn.weight_ih_l0.dtype == torch.float64:
        options.append("dtype=torch.float64")
    lines = ["import torch" + ", safetensors.torch" * safe, f"rnn = torch.nn.{type(rnn).__name__}({', '.join(options)})"]
    parts, outputs = '"rnn": rnn', "states"
    if isinstance(network.readout, nn.Linear):
        more = ["bias=False"] * (network.readout.bias is None) + options[-1:] * options[-1].startswith("dtype")
        sizes = [str(network.readout.in_features), str(network.readout.out_features), *more]
        lines.append(f"readout = torch.nn.Linear({', '.join(sizes)})")
        parts, outputs = f'{parts}, "readout": readout', "readout(states)"
    read = "safetensors.torch.load_file" if safe else "torch.load"
    lines += [
        f"torch.nn.ModuleDict({{{parts}}}).load_state_dict({read}({file!r}))",
        "states = rnn(inputs)[0]                    # inputs: (batch, time, features)",
    ]
    if network.last_step and rnn.bidirectional:
        size = rnn.hidden_size
        lines.append(f"states = torch.cat([states[:, -1, :{size}], states[:, 0, {size}:]], -1)  # each direction where it ends")
    elif network.last_step:
        lines.append("states = states[:, -1]")
    return "\n".join([*lines, f"outputs = {outputs}"])
