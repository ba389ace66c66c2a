"""Data in parts: a training part, a validation part where there is one, and test parts by name."""

from typing import Any, Protocol, Self, TypeVar

import torch


class Movable(Protocol):
    """A part that can be put on a device."""

    def to(self, device: torch.device) -> Self:
        """The same part there."""


P = TypeVar("P", bound=Movable)


def named_parts(train: P, validation: P | None, tests: dict[str, P]) -> dict[str, P]:
    """Every part by name."""
    return {"train": train, **({} if validation is None else {"validation": validation}), **tests}


def moved_parts(train: P, validation: P | None, tests: dict[str, P], device: torch.device) -> dict[str, Any]:
    """The three on a device, as fields of the data."""
    there = None if validation is None else validation.to(device)
    return {"train": train.to(device), "validation": there, "tests": {name: part.to(device) for name, part in tests.items()}}
