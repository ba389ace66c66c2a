"""Capability of networks with piecewise-linear units: inside one region of state space the step is an affine map.

Axis names: B batch, S state, X input features, P units that switch (ReLUs).
"""

from abc import ABC, abstractmethod

from jaxtyping import Bool, Float
from torch import Tensor


class PiecewiseLinear(ABC):
    """Capability: F(h, x) = M h + c with M and c constant as long as no unit switches.

    A unit is on where its pre-activation v is above zero. Within the region of a pattern the pre-activations are affine too,
    v = A h + b; with several layers, those of a layer depend on the bits of the layers before it (order the units layer by layer).
    M and A do not depend on the input, and c and b are affine in it, so that a closed loop of such a system is again one.
    """

    @abstractmethod
    def affine(
        self, pattern: Bool[Tensor, "B P"], input: Float[Tensor, "B X"]
    ) -> tuple[Float[Tensor, "B S S"], Float[Tensor, "B S"]]:
        """M and c of each pattern, whether or not its region has any point."""

    @abstractmethod
    def boundaries(
        self, pattern: Bool[Tensor, "B P"], input: Float[Tensor, "B X"]
    ) -> tuple[Float[Tensor, "B P S"], Float[Tensor, "B P"]]:
        """A and b of each pattern: its region is {h : (A h + b > 0) == pattern}. Row p may depend on bits before p only."""

    @abstractmethod
    def region(self, state: Float[Tensor, "B S"], input: Float[Tensor, "B X"]) -> Bool[Tensor, "B P"]:
        """The pattern of units that are on in the step from each state."""


class AffineReadout(ABC):
    """Capability: the output is an affine function of the state, y = R h + r."""

    @abstractmethod
    def affine_readout(self) -> tuple[Float[Tensor, "Y S"], Float[Tensor, " Y"]]:
        """R and r."""
