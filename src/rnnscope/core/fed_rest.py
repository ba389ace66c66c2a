"""Rest of a closed loop: the equation of the system inside, together with what the loop feeds it."""

from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from torch import Tensor

from rnnscope.core.equilibria import DrivenRest, RestEquation, SettlesRest
from rnnscope.core.jacobians import readout_jacobians

if TYPE_CHECKING:
    from rnnscope.core.loops import ClosedLoop


def fed_rest(loop: "ClosedLoop", inner: DrivenRest, exogenous: Float[Tensor, " E"]) -> RestEquation:
    """The equation of a loop: in the fed input alone where the inner state settles by it, else in both."""
    full = FedRest(loop, inner, exogenous)
    return SettledLoop(full, inner) if isinstance(inner, SettlesRest) and inner.settles() else full


class FedRest(RestEquation):
    """Rest of a closed loop in the unknowns (u, x): R(u, x) = 0 of the inner system, and x = A x + B G(h) + C e."""

    def __init__(self, loop: "ClosedLoop", inner: DrivenRest, exogenous: Float[Tensor, " E"]) -> None:
        self.loop, self.inner, self.exogenous = loop, inner, exogenous
        self.size = inner.size + loop.system.input_size
        if inner.lower is not None and inner.upper is not None:
            free = inner.lower.new_full((loop.system.input_size,), torch.inf)
            self.lower, self.upper = torch.cat([inner.lower, -free]), torch.cat([inner.upper, free])

    def _split(self, unknowns: Tensor) -> tuple[Tensor, Tensor]:
        return unknowns[:, : self.inner.size], unknowns[:, self.inner.size :]

    def feed(self, state: Tensor, fed: Tensor) -> Tensor:
        """A x + B G(h) + C e."""
        exogenous = self.exogenous.to(state).expand(len(state), -1)
        return self.loop.feedback.like(state)(fed, self.loop.system.readout(state), exogenous)

    def reduce(self, states: Tensor) -> Tensor:
        state, previous = self.loop.split(states)
        return torch.cat([self.inner.reduce(state), self.feed(state, previous)], 1)

    @torch.no_grad()
    def expand(self, unknowns: Tensor) -> Tensor:
        rest, fed = self._split(unknowns)
        return self.loop.join(self.inner.expand(rest, fed), fed)

    @torch.no_grad()
    def residual(self, unknowns: Tensor) -> Tensor:
        rest, fed = self._split(unknowns)
        return torch.cat([self.inner.residual(rest, fed), self.feed(self.inner.expand(rest, fed), fed) - fed], 1)

    @torch.no_grad()
    def linearise(self, unknowns: Tensor) -> tuple[Tensor, Tensor]:
        rest, fed = self._split(unknowns)
        residual, by_rest, by_fed = self.inner.linearise(rest, fed)
        state = self.inner.expand(rest, fed)
        feedback = self.loop.feedback.like(state)
        back = feedback.from_output @ readout_jacobians(self.loop.system, state)
        of_rest, of_fed = self.inner.expand_jacobian(rest, fed)
        loop_by_fed = back @ of_fed + feedback.carry
        loop_by_fed.diagonal(dim1=1, dim2=2).sub_(1)
        jacobian = torch.cat([torch.cat([by_rest, by_fed], 2), torch.cat([back @ of_rest, loop_by_fed], 2)], 1)
        return torch.cat([residual, self.feed(state, fed) - fed], 1), jacobian

    def curvature(self, unknowns: Tensor, radius: float) -> Tensor:
        inner = self.inner.curvature(*self._split(unknowns), radius, fed=True)
        read = (self.loop.feedback.like(unknowns).from_output.abs() * self.inner.readout_curvature().to(unknowns)).sum(1)
        return torch.hypot(inner, read.norm())


class SettledLoop(RestEquation):
    """Rest of a closed loop in the fed input x alone: A x + B G(H(x)) + C e - x = 0, with H(x) where the state settles under x.

    Hundreds of hidden states are eliminated for a few inputs. Certificates are sought in the full equation, for h and x.
    A rest that only another state than H(x) gives is not seen; `SettlesRest.settles` tried for some inputs whether there is one.
    """

    def __init__(self, full: FedRest, inner: SettlesRest) -> None:
        self.full, self.inner, self.loop = full, inner, full.loop
        self.size = full.loop.system.input_size

    @property
    def is_boxed(self) -> bool:
        """The loop without a carried input maps the box of the hidden states into itself."""
        bounds = (self.inner.lower, self.inner.upper)
        return not self.loop.feedback.carries and all(b is not None and bool(torch.isfinite(b).all()) for b in bounds)

    def reduce(self, states: Tensor) -> Tensor:
        return self.full.reduce(states)[:, self.inner.size :]

    @torch.no_grad()
    def expand(self, unknowns: Tensor) -> Tensor:
        return self.loop.join(self.inner.expand(self.inner.settle(unknowns), unknowns), unknowns)

    @torch.no_grad()
    def residual(self, unknowns: Tensor) -> Tensor:
        return self.full.feed(self.inner.expand(self.inner.settle(unknowns), unknowns), unknowns) - unknowns

    @torch.no_grad()
    def linearise(self, unknowns: Tensor) -> tuple[Tensor, Tensor]:
        settled = self.inner.settle(unknowns)
        state = self.inner.expand(settled, unknowns)
        feedback = self.loop.feedback.like(state)
        moved = readout_jacobians(self.loop.system, state) @ self.inner.settle_jacobian(settled, unknowns)
        jacobian = feedback.from_output @ moved + feedback.carry
        jacobian.diagonal(dim1=1, dim2=2).sub_(1)
        return self.full.feed(state, unknowns) - unknowns, jacobian

    def for_proof(self, unknowns: Tensor) -> tuple[RestEquation, Tensor]:
        return self.full, torch.cat([self.inner.settle(unknowns), unknowns], 1)
