"""Proof, up to rounding, that a fixed point is there and is alone: the theorem of Newton and Kantorovich."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from rnnscope.core.equilibria import RestEquation
from rnnscope.dynamics.newton import chunks

RADII = (0.3, 0.1, 0.03, 1e-2, 1e-3, 1e-4, 1e-6)


@dataclass(frozen=True)
class Certificate:
    """Per point: with β = |R'(u)⁻¹|, η = |R'(u)⁻¹ R(u)| and K a bound on |R''| near u, β η K <= 1/2 proves that

    * a solution lies within `existence_radius`, (1 - √(1 - 2βηK))/(βK), of u, and
    * no other one lies within `uniqueness_radius`, the smaller of (1 + √(1 - 2βηK))/(βK) and the ball in which K holds.

    (Ortega & Rheinboldt 1970, 12.6.2.) Distances are Euclidean in the unknowns of the equation (hidden states). Everything is
    computed in float64 and the rounding of β, η, K themselves is not enclosed: it is a certificate up to rounding.

    Attributes:
        is_certified: (N,). existence_radius, uniqueness_radius: (N,), NaN where not certified.
        product: β η K, (N,); infinite where no bound on R'' is known, as for systems given as a function.
    """

    is_certified: Bool[Tensor, " N"]
    existence_radius: Float[Tensor, " N"]
    uniqueness_radius: Float[Tensor, " N"]
    product: Float[Tensor, " N"]


@torch.no_grad()
def certify(equation: RestEquation, unknowns: Float[Tensor, "N U"]) -> Certificate:
    """The certificate of each point: the largest ball of `RADII` in which the theorem applies decides."""
    equation, unknowns = equation.for_proof(unknowns)
    inverse_norm, newton = _inverse(equation, unknowns)
    certified = torch.zeros(len(unknowns), dtype=torch.bool)
    exists = torch.full((len(unknowns),), torch.nan, dtype=torch.float64)
    unique, product = exists.clone(), torch.full_like(exists, torch.inf)
    for radius in RADII:
        curvature = equation.curvature(unknowns, radius).clamp_min(1e-300)
        held = inverse_norm * newton * curvature
        root = torch.sqrt((1 - 2 * held).clamp_min(0))
        within = 2 * newton / (1 + root)  # = (1 - root)/(βK) without cancellation
        fresh = ~certified & (held <= 0.5) & (within <= radius)
        exists[fresh] = within[fresh]
        unique[fresh] = ((1 + root) / (inverse_norm * curvature)).clamp_max(radius)[fresh]
        product = torch.where(certified, product, torch.minimum(product, held))
        product[fresh] = held[fresh]
        certified |= fresh
        if bool(certified.all()):
            break
    return Certificate(certified, exists, unique, product)


def _inverse(equation: RestEquation, unknowns: Tensor) -> tuple[Tensor, Tensor]:
    """|R'⁻¹| and |R'⁻¹ R|, infinite where R' is singular."""
    norms, steps = [], []
    for part in chunks(unknowns, equation.size):
        residual, jacobian = equation.linearise(part)
        singular = torch.linalg.svdvals(jacobian)
        smallest = singular[:, -1]
        norms.append(torch.where(smallest > 0, 1 / smallest, torch.inf))
        step, _ = torch.linalg.solve_ex(jacobian, residual[:, :, None])
        steps.append(torch.nan_to_num(step[:, :, 0].norm(dim=1), nan=torch.inf))
    return torch.cat(norms), torch.cat(steps)
