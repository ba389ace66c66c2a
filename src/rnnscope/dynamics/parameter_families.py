"""One-parameter families of maps: the input level along a direction, the gain of the recurrent weights, or any function of p."""

import copy
from collections.abc import Callable, Sequence
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from rnnscope.core.errors import ConfigError, ShapeError
from rnnscope.core.system import DynamicalSystem
from rnnscope.dynamics.autonomous import AutonomousMap

Parameter = Literal["input", "gain"]
SystemFamily = Callable[[float], DynamicalSystem]
MapFamily = Callable[[float], AutonomousMap]
RECURRENT = "weight_hh"  # in the names of torch's recurrent matrices


def map_family(
    system: DynamicalSystem | SystemFamily,
    parameter: Parameter = "input",
    *,
    direction: Float[Tensor, " X"] | None = None,
    input: Float[Tensor, " X"] | None = None,
    weights: Sequence[str] | None = None,
) -> MapFamily:
    """p -> the map h -> F_p(h, x). A map is good until the next one is asked for: scaled weights share their memory.

    Args:
        system: a system, or a function p -> system (`parameter` is then not looked at).
        parameter: "input": x = input + p·direction. "gain": the parameters named in `weights` are multiplied by p.
        direction: of the input, (X,); may be left out where the input has one component.
        input: the input held, or where p = 0, (X,); zeros when None.
        weights: names of parameters as in `named_parameters`; all recurrent matrices (`weight_hh`) when None.

    Raises:
        ConfigError: an unknown parameter, unknown weights, or no direction where one is needed. ShapeError: a wrong length.
    """
    if not isinstance(system, DynamicalSystem):
        family = system
        return lambda p: AutonomousMap(family(p), input)
    if parameter == "input":
        return _input_family(AutonomousMap(system, input), direction)
    if parameter == "gain":
        return _gain_family(AutonomousMap(system, input), weights)
    raise ConfigError(f"parameter {parameter!r}", "'input' or 'gain'", "or give a function p -> system in place of the system")


def _input_family(base: AutonomousMap, direction: Tensor | None) -> MapFamily:
    size = base.system.input_size
    if direction is None:
        if size != 1:
            raise ConfigError(f"no direction for {size} inputs", f"a vector of length {size}", "give direction")
        direction = torch.ones(1)
    if tuple(direction.shape) != (size,):
        raise ShapeError(f"a direction of shape {tuple(direction.shape)}", f"({size},)", "give one vector of inputs")
    along = direction.detach().to(base.input)

    def at(p: float) -> AutonomousMap:
        moved = copy.copy(base)
        moved.input = base.input + p * along
        return moved

    return at


def _gain_family(base: AutonomousMap, weights: Sequence[str] | None) -> MapFamily:
    known = [name for name, _ in (*base.system.named_parameters(), *base.system.named_buffers())]
    chosen = [name for name in known if RECURRENT in name] if weights is None else list(weights)
    if not chosen or not set(chosen) <= set(known):
        raise ConfigError(
            f"weights {chosen or 'None'}",
            f"names among {known}",
            "name the parameters to scale, or give a function p -> system",
        )

    held = {name: value for name, value in (*base.system.named_parameters(), *base.system.named_buffers()) if name in chosen}
    given = {name: value.clone() for name, value in held.items()}

    def at(p: float) -> AutonomousMap:
        for name, value in held.items():
            value.copy_(p * given[name])
        return base

    return at
