"""Rest of echo state networks under a held input: h = tanh(W h + V x + b [+ B G(h)]), whatever the leak."""

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from rnnscope.core.equilibria import SettlesRest
from rnnscope.numerics.reservoir_kernels import settle, settle_slopes

if TYPE_CHECKING:
    from rnnscope.models.reservoir_system import ReservoirSystem

TANH_CURVATURE = 0.7698004  # largest |tanh''|, 4/(3√3)
TOLERANCE, MOST = 1e-15, 2000  # of a step towards rest; steps
SLOPE_TOLERANCE = 1e-10
SAME = 1e-9  # distance of two rests that are one
TRIED = (1.0, 4.0)  # sizes of the inputs under which it is tried whether the start is forgotten


class ReservoirRest(SettlesRest):
    """The unknowns are the states; a stack's groups rest where each does under the new states of the groups below."""

    def __init__(self, system: "ReservoirSystem") -> None:
        self.system, self.size = system, system.state_size
        self.upper = torch.ones(self.size, dtype=torch.float64)
        self.lower = -self.upper

    def reduce(self, states: Tensor) -> Tensor:
        return states

    def expand(self, unknowns: Tensor, inputs: Tensor) -> Tensor:
        return unknowns

    def expand_jacobian(self, unknowns: Tensor, inputs: Tensor) -> tuple[Tensor, Tensor]:
        one = torch.eye(self.size, dtype=unknowns.dtype)
        return one.expand(len(unknowns), -1, -1), unknowns.new_zeros(len(unknowns), self.size, inputs.shape[1])

    @torch.no_grad()
    def residual(self, unknowns: Tensor, inputs: Tensor) -> Tensor:
        return torch.tanh(self._sums(unknowns, inputs)) - unknowns

    @torch.no_grad()
    def linearise(self, unknowns: Tensor, inputs: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        value = torch.tanh(self._sums(unknowns, inputs))
        slopes = (1 - value.square())[:, :, None]
        jacobian = slopes * self._recurrence(unknowns)
        jacobian.diagonal(dim1=1, dim2=2).sub_(1)
        return value - unknowns, jacobian, slopes * self.system.get_buffer("drive")

    def _sums(self, states: Tensor, inputs: Tensor) -> Tensor:
        """W h + V x + b + B G(h)."""
        own = states @ self.system.recurrent_matrix().T
        feedback = self.system.get_buffer("feedback")
        if feedback.shape[1]:
            own = own + self.system.readout(states) @ feedback.T
        return own + torch.nn.functional.linear(
            inputs.to(states), self.system.get_buffer("drive"), self.system.get_buffer("bias")
        )

    def _recurrence(self, states: Tensor) -> Tensor:
        """W + B G'(h), (N, S, S) or (1, S, S)."""
        matrix, feedback = self.system.recurrent_matrix()[None], self.system.get_buffer("feedback")
        return matrix + feedback @ self.system.readout_jacobian(states) if feedback.shape[1] else matrix

    @torch.no_grad()
    def curvature(self, unknowns: Tensor, inputs: Tensor, radius: float, *, fed: bool) -> Tensor:
        """√(Σ_i k_i²) with k_i a bound on the second derivative of tanh's i-th argument's value along any unit direction."""
        if self.system.get_buffer("feedback").shape[1] and self.system.features != "state":
            return unknowns.new_full((len(unknowns),), torch.inf)
        reach = self._recurrence(unknowns.new_zeros(1, self.size))[0].square().sum(1)
        if fed:
            reach = reach + self.system.get_buffer("drive").square().sum(1)
        return (TANH_CURVATURE * reach).norm().expand(len(unknowns))

    def readout_curvature(self) -> Tensor:
        """2 max |U| over the squares."""
        weight = self.system.head.weight.detach()
        if self.system.features == "state":
            return weight.new_zeros(len(weight))
        return 2 * (weight[:, self.size :] if self.system.features == "state_squares" else weight[:, 1::2]).abs().amax(1)

    # the state that an input decides

    def settles(self) -> bool:
        """Tried from four starts each under no input, and along each input both ways. Outputs that come back may decide otherwise."""
        if self.system.get_buffer("feedback").shape[1]:
            return False
        width = self.system.input_size
        axes = torch.eye(width, dtype=torch.float64)
        inputs = torch.cat([torch.zeros(1, width, dtype=torch.float64), *(s * size * axes for size in TRIED for s in (1, -1))])
        flips = torch.where(torch.arange(self.size) % 2 == 0, 1.0, -1.0).double()
        found = torch.stack([self._settled(inputs, start) for start in (0 * flips, flips.abs(), -flips.abs(), flips)])
        return bool(((found - found[0]).abs() <= SAME).all())

    def settle(self, inputs: Tensor) -> Tensor:
        return self._settled(inputs, torch.zeros(self.size, dtype=torch.float64))

    def _settled(self, inputs: Tensor, start: Tensor) -> Tensor:
        found = start.repeat(len(inputs), 1)
        net = self.system.packed()
        for row, state in zip(inputs.double().contiguous().numpy(), found.numpy(), strict=True):
            if not settle(net, row, state, TOLERANCE, MOST):
                state.fill(float("nan"))
        return found

    def settle_jacobian(self, unknowns: Tensor, inputs: Tensor) -> Tensor:
        slopes = (1 - unknowns.square()).contiguous().numpy()
        found = unknowns.new_zeros(len(unknowns), self.size, inputs.shape[1])
        net = self.system.packed()
        for row, one in zip(slopes, found.numpy(), strict=True):
            settle_slopes(net, row, one, SLOPE_TOLERANCE, MOST)
        return found
