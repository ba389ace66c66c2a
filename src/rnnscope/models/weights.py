"""Weights from a file: of a run folder, of another run's, or of a torch module with its own names."""

import re
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from rnnscope.core.errors import ConfigError, DataError
from rnnscope.core.system import SequenceModel

_TORCH = re.compile(r"(?:.*\.)?(weight_ih|weight_hh|bias_ih|bias_hh)_l(\d+)$")


def load_weights(model: SequenceModel, path: str) -> None:
    """Overwrite a model's weights with those in a safetensors file.

    Names may be the model's own, have a prefix as in a run folder's model.safetensors (<model>/<repeat>/…, the first that fits is
    taken), or be torch's: `*.weight_ih_l0` … for the recurrent layers and any one `*.weight`, `*.bias` for the readout.

    Raises:
        DataError: the file is missing or unreadable. ConfigError: its tensors do not fit, naming the first that does not.
    """
    found = _read(path)
    wanted = model.state_dict()
    candidates = [found, *_by_prefix(found), _from_torch(found)]
    whole = [c for c in candidates if set(c) == set(wanted)]
    if not whole:
        missing = sorted(set(wanted) - set(found))
        raise ConfigError(
            f"'{path}' holds {', '.join(sorted(found)[:6])}{' …' if len(found) > 6 else ''}, and not {missing[0] if missing else 'these alone'}",
            f"the weights of this model: {', '.join(wanted)}",
            "choose layers and biases as in the network that was saved",
        )
    fitting = [c for c in whole if all(c[n].shape == t.shape for n, t in wanted.items())]
    if not fitting:
        name = next(n for n, t in wanted.items() if whole[0][n].shape != t.shape)
        raise ConfigError(
            f"'{path}' has {name} of shape {tuple(whole[0][name].shape)}",
            f"shape {tuple(wanted[name].shape)}",
            "set the model's sizes (and task.noise_size) to those of the saved network",
        )
    bad = [n for n, t in fitting[0].items() if not torch.isfinite(t).all()]
    if bad:
        raise DataError(f"'{path}' has values in {bad[0]} that are not finite", "finite weights", "choose another file")
    model.load_state_dict(fitting[0])


def _read(path: str) -> dict[str, Tensor]:
    file = Path(path).expanduser()
    if not file.is_file():
        raise DataError(f"there is no file '{path}'", "a safetensors file", "check the path, e.g. RUN/model.safetensors")
    try:
        return load_file(file)
    except (OSError, SafetensorError) as error:
        raise DataError(f"'{path}' cannot be read: {error}", "a safetensors file", "check how it was written") from None


def _by_prefix(found: dict[str, Tensor]) -> list[dict[str, Tensor]]:
    groups: dict[str, dict[str, Tensor]] = {}
    for name, tensor in found.items():
        prefix, _, rest = name.rpartition("/")
        groups.setdefault(prefix, {})[rest] = tensor
    return list(groups.values())


def _from_torch(found: dict[str, Tensor]) -> dict[str, Tensor]:
    named: dict[str, Tensor] = {}
    for name, tensor in found.items():
        match = _TORCH.match(name)
        if match:
            named[f"layers.{match[2]}.{match[1]}_l0"] = tensor
        elif name.endswith(("weight", "bias")):
            named[f"head.{name.rpartition('.')[2]}"] = tensor
    return named
