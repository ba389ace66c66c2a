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
    module = recurrent_parts(tensors, source, prefix)
    parts = module.tensors
    layers = 1 + max(layer for _, layer, _ in parts)
    backward = any(back for _, _, back in parts)
    if not backward:
        return [_network(module, range(layers), False, "network", module.others, nonlinearity)]
    found = []
    for layer in range(layers):
        for back in (False, True):
            label = ("backward" if back else "forward") + (f"-layer{layer}" if layers > 1 else "")
            found.append(_network(module, range(layer, layer + 1), back, label, {}, nonlinearity))
    return found


@dataclass(frozen=True)
class RecurrentParts:
    """The tensors of one recurrent module in a state dict.

    Attributes:
        tensors: by (part, layer, whether backward). others: everything else in the state dict. prefix, source: for messages.
    """

    tensors: dict[tuple[str, int, bool], Tensor]
    others: dict[str, Tensor]
    prefix: str
    source: str

    def get(self, part: str, layer: int, back: bool) -> Tensor:
        """A tensor that must be there."""
        try:
            return self.tensors[part, layer, back].detach()
        except KeyError:
            raise ConfigError(
                f"{self.source} lacks '{self.prefix}{part}_l{layer}{'_reverse' * back}'",
                "the weights of every layer",
                "save the whole state dict",
            ) from None

    def fitting(self, part: str, layer: int, back: bool, wanted: torch.Size) -> Tensor:
        """A tensor that must be there in this shape."""
        given = self.get(part, layer, back)
        if wanted != given.shape:
            raise ConfigError(
                f"{self.source}: '{self.prefix}{part}_l{layer}{'_reverse' * back}' has shape {tuple(given.shape)}",
                f"{tuple(wanted)}, as the hidden size and the layer{'' if layer == 0 else ' below it'} ask for",
                "check that all tensors come from one module",
            )
        return given

    def readout(self, width: int) -> tuple[tuple[Tensor, Tensor | None] | None, tuple[str, ...]]:
        """The one linear layer that reads `width` features, and a sentence about what else is there."""
        name, head = _readout_name(self.others, width), _readout(self.others, width)
        used = () if name is None else (name, _bias_of(name))
        rest = sorted(k for k in self.others if k not in used)
        if not rest:
            return head, ()
        shown = ", ".join(f"'{k}'" for k in rest[:4]) + (" …" if len(rest) > 4 else "")
        why = "" if head else " (no single linear layer reads the recurrent output)"
        return head, (f"Left out, as part of no recurrent layer or readout{why}: {shown}.",)


def recurrent_parts(tensors: dict[str, Tensor], source: str, prefix: str | None) -> RecurrentParts:
    """The tensors of the one recurrent module in a state dict, or of the one with this prefix.

    Raises:
        ConfigError: none, several without a `prefix`, weights that are not finite, projections.
    """
    groups: dict[str, dict[tuple[str, int, bool], Tensor]] = {}
    others: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        match = _NAME.match(name)
        if match:
            key = (match["part"], int(match["layer"]), match["back"] is not None)
            groups.setdefault(match["prefix"], {})[key] = tensor
        else:
            others[name] = tensor
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
    return RecurrentParts(parts, others, chosen, source)


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
    module: RecurrentParts,
    layers: range,
    back: bool,
    label: str,
    others: dict[str, Tensor],
    nonlinearity: Literal["tanh", "relu"],
) -> Found:
    first = module.get("weight_hh", layers[0], back)
    kind = _kind(first, f"{module.source}: '{module.prefix}weight_hh_l{layers[0]}'", nonlinearity)
    hidden, bias = int(first.shape[1]), ("bias_ih", layers[0], back) in module.tensors
    inputs = int(module.get("weight_ih", layers[0], back).shape[1])
    head = _readout(others, hidden)
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

    copy_weights(system, lambda part, index, wanted: module.fitting(part, layers[index], back, wanted), head)
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
    name = _readout_name(tensors, hidden)
    if name is None:
        return None
    bias = tensors.get(_bias_of(name))
    return tensors[name].detach(), None if bias is None else bias.detach()


def _readout_name(tensors: dict[str, Tensor], hidden: int) -> str | None:
    found = [n for n, t in tensors.items() if n.endswith("weight") and t.ndim == 2 and t.shape[1] == hidden]
    return found[0] if len(found) == 1 else None


def _bias_of(weight: str) -> str:
    return weight.removesuffix("weight") + "bias"
