"""The equation that fixed points solve, and the capability of systems that know a better one than F(h) = h."""

from abc import ABC, abstractmethod

import torch
from jaxtyping import Float
from torch import Tensor

from rnnscope.core.jacobians import state_jacobians
from rnnscope.core.system import DynamicalSystem


class RestEquation(ABC):
    """R(u) = 0 for unknowns u of length U: its solutions are the fixed points under one held input, and nothing else is.

    Attributes:
        size: U. lower, upper: every solution lies between them, (U,), possibly infinite; None where nothing is known.
    """

    size: int
    lower: Float[Tensor, " U"] | None = None
    upper: Float[Tensor, " U"] | None = None

    @property
    def is_boxed(self) -> bool:
        """Whether every unknown is bounded: then the map takes the box into itself, and the index sum is 1."""
        return self.lower is not None and bool(torch.isfinite(self.lower).all())

    @abstractmethod
    def reduce(self, states: Float[Tensor, "N S"]) -> Float[Tensor, "N U"]:
        """The unknowns of states."""

    @abstractmethod
    def expand(self, unknowns: Float[Tensor, "N U"]) -> Float[Tensor, "N S"]:
        """The states of unknowns; a solution becomes a fixed point."""

    @abstractmethod
    def residual(self, unknowns: Float[Tensor, "N U"]) -> Float[Tensor, "N U"]:
        """R(u)."""

    @abstractmethod
    def linearise(self, unknowns: Float[Tensor, "N U"]) -> tuple[Float[Tensor, "N U"], Float[Tensor, "N U U"]]:
        """R(u) and dR/du; the sign of det(-dR/du) is that of det(I - dF/dh)."""

    def curvature(self, unknowns: Float[Tensor, "N U"], radius: float) -> Float[Tensor, " N"]:
        """A bound on the norm of R'' within `radius` of each row; infinite where none is known."""
        return unknowns.new_full((len(unknowns),), torch.inf)

    def for_proof(self, unknowns: Float[Tensor, "N U"]) -> tuple["RestEquation", Tensor]:
        """The equation in which a certificate is sought, and the same points in its unknowns: this one, unless it hides some."""
        return self, unknowns


class DrivenRest(ABC):
    """R(u, x) = 0: what a system knows of its rest under an input x that is held, or that its own output sets.

    Attributes:
        size, lower, upper: as in `RestEquation`.
    """

    size: int
    lower: Float[Tensor, " U"] | None = None
    upper: Float[Tensor, " U"] | None = None

    @abstractmethod
    def reduce(self, states: Float[Tensor, "N S"]) -> Float[Tensor, "N U"]:
        """The unknowns of states."""

    @abstractmethod
    def expand(self, unknowns: Float[Tensor, "N U"], inputs: Float[Tensor, "N X"]) -> Float[Tensor, "N S"]:
        """The states of unknowns under inputs."""

    @abstractmethod
    def expand_jacobian(self, unknowns: Float[Tensor, "N U"], inputs: Float[Tensor, "N X"]) -> tuple[Tensor, Tensor]:
        """dh/du and dh/dx of `expand` as far as the readout sees them, (N, S, U) and (N, S, X)."""

    @abstractmethod
    def residual(self, unknowns: Float[Tensor, "N U"], inputs: Float[Tensor, "N X"]) -> Float[Tensor, "N U"]:
        """R(u, x)."""

    @abstractmethod
    def linearise(self, unknowns: Float[Tensor, "N U"], inputs: Float[Tensor, "N X"]) -> tuple[Tensor, Tensor, Tensor]:
        """R, dR/du and dR/dx: (N, U), (N, U, U), (N, U, X)."""

    @abstractmethod
    def curvature(self, unknowns: Float[Tensor, "N U"], inputs: Float[Tensor, "N X"], radius: float, *, fed: bool) -> Tensor:
        """A bound on the norm of R'' in u, with `fed` in (u, x), within `radius` of each row, (N,)."""

    def readout_curvature(self) -> Float[Tensor, " Y"]:
        """A bound on the norm of each output's second derivative in the state; a single 0 where the readout is affine."""
        return torch.zeros(1, dtype=torch.float64)


class SettlesRest(DrivenRest):
    """A rest that the held input decides: from any start the system comes to the same u = H(x), R(H(x), x) = 0."""

    @abstractmethod
    def settles(self) -> bool:
        """Whether it does, as far as several starts under several inputs tell."""

    @abstractmethod
    def settle(self, inputs: Float[Tensor, "N X"]) -> Float[Tensor, "N U"]:
        """H(x) of each row; NaN where it does not come to rest."""

    @abstractmethod
    def settle_jacobian(self, unknowns: Float[Tensor, "N U"], inputs: Float[Tensor, "N X"]) -> Float[Tensor, "N S X"]:
        """dh/dx of the state `expand(H(x), x)` at each row, unknowns = H(x)."""


class KnowsRest(ABC):
    """Capability: a reduced equation for the fixed points."""

    @abstractmethod
    def rest_equation(self, input: Float[Tensor, " X"]) -> RestEquation | None:
        """The equation under a held input; None where this system has none after all."""

    @abstractmethod
    def driven_rest(self) -> DrivenRest | None:
        """The same for any input; None where it has none."""


class HeldRest(RestEquation):
    """R(u, x) = 0 at one held x."""

    def __init__(self, driven: DrivenRest, input: Float[Tensor, " X"]) -> None:
        self.driven, self.input = driven, input
        self.size, self.lower, self.upper = driven.size, driven.lower, driven.upper

    def _inputs(self, like: Tensor) -> Tensor:
        return self.input.to(like).expand(len(like), -1)

    def reduce(self, states: Tensor) -> Tensor:
        return self.driven.reduce(states)

    def expand(self, unknowns: Tensor) -> Tensor:
        return self.driven.expand(unknowns, self._inputs(unknowns))

    def residual(self, unknowns: Tensor) -> Tensor:
        return self.driven.residual(unknowns, self._inputs(unknowns))

    def linearise(self, unknowns: Tensor) -> tuple[Tensor, Tensor]:
        return self.driven.linearise(unknowns, self._inputs(unknowns))[:2]

    def curvature(self, unknowns: Tensor, radius: float) -> Tensor:
        return self.driven.curvature(unknowns, self._inputs(unknowns), radius, fed=False)


class StandStill(RestEquation):
    """F(h, x) - h = 0 for any system."""

    def __init__(self, system: DynamicalSystem, input: Float[Tensor, " X"]) -> None:
        self.system, self.input, self.size = system, input, system.state_size

    def _inputs(self, states: Tensor) -> Tensor:
        return self.input.to(states).expand(len(states), -1)

    def reduce(self, states: Tensor) -> Tensor:
        return states

    def expand(self, unknowns: Tensor) -> Tensor:
        return unknowns

    @torch.no_grad()
    def residual(self, unknowns: Tensor) -> Tensor:
        return self.system.step(unknowns, self._inputs(unknowns)).to(unknowns) - unknowns

    def linearise(self, unknowns: Tensor) -> tuple[Tensor, Tensor]:
        jacobian = state_jacobians(self.system, unknowns, self._inputs(unknowns)).clone()
        jacobian.diagonal(dim1=1, dim2=2).sub_(1)
        return self.residual(unknowns), jacobian


def rest_equation(system: DynamicalSystem, input: Float[Tensor, " X"]) -> RestEquation:
    """The best equation that a system knows for its fixed points under a held input."""
    found = system.rest_equation(input) if isinstance(system, KnowsRest) else None
    return found if found is not None else StandStill(system, input)
