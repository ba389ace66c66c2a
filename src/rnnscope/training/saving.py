"""Training states as checkpoints hold them: tensors under dotted names, and JSON-able values."""

import math
from typing import Any

import torch
from torch import Tensor, nn


def copied(model: nn.Module) -> dict[str, Tensor]:
    """A real copy of a model's weights, where they are."""
    return {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}


def below(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The tensors whose names begin with a prefix, without it."""
    return {name[len(prefix) :]: tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def numbered(tensors: dict[str, Tensor], prefix: str) -> dict[int, dict[str, Tensor]]:
    """Copies of the tensors <prefix><number>.<name>, by number and name."""
    found: dict[int, dict[str, Tensor]] = {}
    for name, tensor in below(tensors, prefix).items():
        number, key = name.split(".", 1)
        found.setdefault(int(number), {})[key] = tensor.clone()
    return found


def optimizer_tensors(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """The moments of an optimiser as optimizer.<parameter>.<name>."""
    return {
        f"optimizer.{index}.{name}": value.detach().cpu().clone()
        for index, state in optimizer.state_dict()["state"].items()
        for name, value in state.items()
        if isinstance(value, Tensor)
    }


def restore_optimizer(optimizer: torch.optim.Optimizer, tensors: dict[str, Tensor]) -> None:
    """Put an optimiser's moments back."""
    optimizer.load_state_dict({**optimizer.state_dict(), "state": numbered(tensors, "optimizer.")})


def plain_values(owner: object, names: tuple[str, ...]) -> dict[str, Any]:
    """Attributes by name; numbers that are not finite become None, which JSON can hold."""
    values = {name: getattr(owner, name) for name in names}
    return {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in values.items()}


def restore_values(owner: object, names: tuple[str, ...], values: dict[str, Any]) -> None:
    """Attributes put back; None stands for infinity."""
    for name in names:
        setattr(owner, name, math.inf if values[name] is None else values[name])
