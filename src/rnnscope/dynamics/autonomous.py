"""A system at one held input as a map of float64 states: what the searches for cycles, attractors and branches work on."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from rnnscope.core.driven import BLOWN_UP, in_double
from rnnscope.core.errors import ConfigError
from rnnscope.core.jacobians import state_jacobians
from rnnscope.core.system import DynamicalSystem
from rnnscope.dynamics.starts import checked_input, checked_starts


class AutonomousMap:
    """h -> F(h, x) at one held x, in float64 on a copy of the system.

    Args:
        system: any dynamical system; it is copied, never changed.
        input: the held x, (X,); zeros when None. An autonomous system takes None or an empty vector.
        device: where to work; the system's own when None.

    Raises:
        ShapeError: an input of another length.

    Attributes:
        system: the float64 copy. input: x as held, (X,) float64. state_size: S.
    """

    def __init__(
        self, system: DynamicalSystem, input: Tensor | None = None, *, device: torch.device | str | None = None
    ) -> None:
        self.system = in_double(system).to(device).eval().requires_grad_(False)
        self.input = checked_input(system, input).to(self.system.initial_state(1).device)
        self.state_size = system.state_size

    @torch.no_grad()
    def __call__(self, states: Float[Tensor, "N S"]) -> Float[Tensor, "N S"]:
        """F at each row."""
        return self.system.step(states, self._inputs(len(states))).to(states)

    def jacobians(self, states: Float[Tensor, "N S"]) -> Float[Tensor, "N S S"]:
        """dF_i/dh_j at each row."""
        return state_jacobians(self.system, states, self._inputs(len(states))).to(states)

    def orbits(self, states: Float[Tensor, "N S"], num_points: int) -> Float[Tensor, "N K S"]:
        """h, F(h), F²(h), …: `num_points` states of each row, the first as given."""
        found = [states]
        for _ in range(num_points - 1):
            found.append(self(found[-1]))
        return torch.stack(found, 1)

    def advance(self, states: Float[Tensor, "N S"], num_steps: int) -> Float[Tensor, "N S"]:
        """F^n at each row."""
        for _ in range(num_steps):
            states = self(states)
        return states

    def starts(self, given: Tensor) -> Float[Tensor, "N S"]:
        """A caller's starting states, checked and copied to float64."""
        return checked_starts(self.system, given).to(self.input)

    def _inputs(self, num_rows: int) -> Tensor:
        return self.input.expand(num_rows, -1)


def is_bounded(states: Float[Tensor, "N *K S"]) -> Bool[Tensor, " N"]:
    """Rows that are finite and not beyond any use (|h| < 1e12)."""
    sizes = states.flatten(1).abs().amax(1)
    return torch.isfinite(sizes) & (sizes < BLOWN_UP)


def scale_of(states: Tensor) -> float:
    """1 + the largest |coordinate|: what tolerances are relative to."""
    return 1.0 + float(states.abs().max()) if states.numel() else 1.0


def check_counts(**counts: int) -> None:
    """Raise `ConfigError` unless every count is at least one."""
    for name, value in counts.items():
        if value < 1:
            raise ConfigError(f"{name} = {value}", "a whole number >= 1", f"raise {name}")
