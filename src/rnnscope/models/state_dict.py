"""Recurrent networks from the weights alone: the state dict of an nn.RNN, nn.GRU or nn.LSTM, bare or inside a larger module."""

import pickle
import re
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from rnnscope.core.errors import ConfigError, DataError
from rnnscope.models.cells import GATES, CellKind
from rnnscope.models.recurrent_systems import RecurrentSystem, recurrent_system
from rnnscope.models.wrap import copy_weights

_NAME = re.compile(
    r"(?P<prefix>.*?)(?P<part>weight_ih|weight_hh|bias_ih|bias_hh|weight_hr)_l(?P<layer>\d+)(?P<back>_reverse)?$"
)
SUFFIXES = (".safetensors", ".pt", ".pth", ".bin")


@dataclass(frozen=True)
class Found:
    """One direction of a recurrent module in a state dict.

    Attributes:
        label: "network", or the direction (and layer) of a bidirectional one. kind: of cell. system: with these weights; its
            readout is the linear layer that fits, or the identity.
        has_readout: whether such a layer was there. note: what one should know, in words.
    """

    label: str
    kind: CellKind
    system: RecurrentSystem
    has_readout: bool
    note: str = ""


def read_tensors(path: str | Path) -> dict[str, Tensor]:
    """The tensors of a weights file by name: .safetensors, or what `torch.save` wrote, read with weights_only=True.

    Raises:
        DataError: the file is missing, is of another kind, cannot be read, or is a pickle that would run code.
    """
    file = Path(path).expanduser()
    if not file.is_file():
        raise DataError(f"there is no file '{path}'", "a weights file", "check the path")
    if file.suffix.lower() not in SUFFIXES:
        raise DataError(f"'{path}' ends in '{file.suffix}'", f"a file ending in {', '.join(SUFFIXES)}", "save a state dict")
    try:
        if file.suffix.lower() == ".safetensors":
            return load_file(file)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch warns of a pickle's age before it refuses it
            return _flat(torch.load(file, map_location="cpu", weights_only=True), path)
    except pickle.UnpicklingError:
        raise DataError(
            f"'{path}' is a pickle that would run code of its own when opened; it was not opened",
            "tensors alone",
            "save the state dict: torch.save(module.state_dict(), file), or as safetensors",
        ) from None
    except (OSError, SafetensorError, RuntimeError, EOFError, ValueError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise DataError(f"'{path}' cannot be read: {reason}", "a weights file", "save it again") from None


def _flat(found: Any, path: str | Path) -> dict[str, Tensor]:
    """The dict of tensors in what was loaded: itself, or the one under state_dict, model or weights."""
    for inner in (
        found,
        *((found.get(k) for k in ("state_dict", "model_state_dict", "model", "weights")) if isinstance(found, dict) else ()),
    ):
        if isinstance(inner, dict) and inner and all(isinstance(v, Tensor) for v in inner.values()):
            return {str(k): v for k, v in inner.items()}
    raise DataError(f"'{path}' holds {type(found).__name__}, no state dict", "names and tensors", "save module.state_dict()")


def recognise(
    tensors: dict[str, Tensor],
    source: str = "the state dict",
    *,
    nonlinearity: Literal["tanh", "relu"] = "tanh",
    prefix: str | None = None,
) -> list[Found]:
    """The recurrent module in a state dict: cell, sizes and layers follow from the tensors' names and shapes.

    Args:
        nonlinearity: of a plain RNN, which its weights do not tell. prefix: of the module, where there are several.

    Returns:
        One entry; for a bidirectional module one per layer and direction, since each of them is a system of its own.

    Raises:
        ConfigError: no recurrent module, several without a `prefix`, a missing tensor, sizes that do not fit, weights that are
        not finite, projections.
    """
    groups: dict[str, dict[tuple[str, int, bool], Tensor]] = {}
    for name, tensor in tensors.items():
        match = _NAME.match(name)
        if match:
            key = (match["part"], int(match["layer"]), match["back"] is not None)
            groups.setdefault(match["prefix"], {})[key] = tensor
    chosen = _choose(groups, tensors, source, prefix)
    parts = groups[chosen]
    for (part, layer, back), tensor in parts.items():
        if not torch.isfinite(tensor).all():
            raise ConfigError(
                f"{source}: '{chosen}{part}_l{layer}{'_reverse' * back}' holds NaN or infinite values",
                "finite weights",
                "load another file",
            )
    if any(part == "weight_hr" for part, _, _ in parts):
        raise ConfigError(f"{source} is an LSTM with projections", "a network without them", "set proj_size=0 and train again")
    layers = 1 + max(layer for _, layer, _ in parts)
    backward = any(back for _, _, back in parts)
    if not backward:
        return [_network(parts, range(layers), False, "network", tensors, chosen, source, nonlinearity)]
    found = []
    for layer in range(layers):
        for back in (False, True):
            label = ("backward" if back else "forward") + (f"-layer{layer}" if layers > 1 else "")
            found.append(_network(parts, range(layer, layer + 1), back, label, {}, chosen, source, nonlinearity))
    return found


def _choose(groups: dict[str, Any], tensors: dict[str, Tensor], source: str, prefix: str | None) -> str:
    if not groups:
        shown = ", ".join(sorted(tensors)[:6]) or "nothing"
        raise ConfigError(
            f"{source} holds {shown}{' …' if len(tensors) > 6 else ''}: no recurrent layer",
            "tensors named weight_ih_l0, weight_hh_l0, … as torch names them",
            "save the state dict of a module with an nn.RNN, nn.GRU or nn.LSTM",
        )
    if prefix is None and len(groups) == 1:
        return next(iter(groups))
    if prefix in groups:
        return str(prefix)
    names = ", ".join(f"'{g}'" for g in groups)
    raise ConfigError(
        f"{source} holds recurrent modules {names}" + (f", not '{prefix}'" if prefix is not None else ""),
        "one module to look at",
        "choose one with prefix=…",
    )


def _network(
    parts: dict[tuple[str, int, bool], Tensor],
    layers: range,
    back: bool,
    label: str,
    tensors: dict[str, Tensor],
    prefix: str,
    source: str,
    nonlinearity: Literal["tanh", "relu"],
) -> Found:
    def get(part: str, layer: int) -> Tensor:
        try:
            return parts[part, layer, back].detach()
        except KeyError:
            raise ConfigError(
                f"{source} lacks '{prefix}{part}_l{layer}{'_reverse' * back}'",
                "the weights of every layer",
                "save the whole state dict",
            ) from None

    first = get("weight_hh", layers[0])
    kind = _kind(first, f"{source}: '{prefix}weight_hh_l{layers[0]}'", nonlinearity)
    hidden, bias = int(first.shape[1]), ("bias_ih", layers[0], back) in parts
    inputs = int(get("weight_ih", layers[0]).shape[1])
    head = _readout(tensors, hidden)
    like = head[0] if head else first
    system = recurrent_system(
        kind,
        inputs,
        hidden,
        len(head[0]) if head else hidden,
        len(layers),
        bias=bias,
        readout_bias=bool(head and head[1] is not None),
    ).to(like.dtype if like.is_floating_point() else torch.float32)

    def fitting(part: str, index: int, wanted: torch.Size) -> Tensor:
        given = get(part, layers[index])
        if wanted != given.shape:
            raise ConfigError(
                f"{source}: '{prefix}{part}_l{layers[index]}' has shape {tuple(given.shape)}",
                f"{tuple(wanted)}, as the hidden size {hidden} of layer {layers[0]}{'' if index == 0 else ' below it'} asks for",
                "check that all tensors come from one module",
            )
        return given

    copy_weights(system, fitting, head)
    note = f"{label} direction of a bidirectional network, analysed by itself" if label != "network" else ""
    if kind in ("tanh", "relu"):
        note = f"{note}; " * bool(note) + f"nonlinearity {kind}, which the weights do not tell"
    return Found(label, kind, system.eval(), head is not None, note)


def _kind(recurrent: Tensor, name: str, nonlinearity: Literal["tanh", "relu"]) -> CellKind:
    rows, columns = recurrent.shape if recurrent.ndim == 2 else (0, 1)
    gates = rows // columns if columns and rows % columns == 0 else 0
    kinds: dict[int, CellKind] = {GATES["tanh"]: nonlinearity, GATES["gru"]: "gru", GATES["lstm"]: "lstm"}
    if gates not in kinds:
        raise ConfigError(
            f"{name} has shape {tuple(recurrent.shape)}",
            "(H, H), (3H, H) or (4H, H): an RNN, a GRU or an LSTM",
            "check the file",
        )
    return kinds[gates]


def _readout(tensors: dict[str, Tensor], hidden: int) -> tuple[Tensor, Tensor | None] | None:
    """The one linear layer that reads the hidden state: a weight (Y, H) that is no recurrent one, and its bias."""
    found = [
        n for n, t in tensors.items() if n.endswith("weight") and t.ndim == 2 and t.shape[1] == hidden and not _NAME.match(n)
    ]
    if len(found) != 1:
        return None
    bias = tensors.get(found[0].removesuffix("weight") + "bias")
    return tensors[found[0]].detach(), None if bias is None else bias.detach()
