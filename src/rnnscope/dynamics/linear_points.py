"""Fixed points of piecewise-linear systems: exact in their region, and proved there without any bound on a second derivative."""

from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Complex, Float
from torch import Tensor

from rnnscope.core.loops import release_input
from rnnscope.core.piecewise import PiecewiseLinear
from rnnscope.core.system import DynamicalSystem
from rnnscope.dynamics.certificate import Certificate
from rnnscope.dynamics.periodic_regions import piecewise_linear_cycles
from rnnscope.dynamics.stability import Stability

ON_BORDER = 1e-9  # distance, relative to max(1, |h|), from a border of regions below which a point lies on it


@dataclass(frozen=True)
class ExactPoints:
    """Solutions of the linear systems of all regions, or of those that a search came by.

    Attributes:
        system, input: the piecewise-linear system and the input held. points: (N, S). is_complete: whether every region was solved.
        num_families: regions in which fixed points fill a line or more.
    """

    system: PiecewiseLinear
    input: Float[Tensor, " X"]
    points: Float[Tensor, "N S"]
    is_complete: bool
    num_families: int

    def certify(
        self, points: Float[Tensor, "N S"], eigenvalues: Complex[Tensor, "N S"]
    ) -> tuple[Certificate, Bool[Tensor, " N"]]:
        """A certificate for each point, and whether it lies on a border of regions.

        Inside a region F is affine, so with I - M regular the solution of its linear system is the region's only fixed point: it
        is alone up to the nearest border, and the computed one is off by |(I - M)⁻¹ (F(h) - h)| at most.
        """
        inputs = self.input.to(points).expand(len(points), -1)
        pattern = self.system.region(points, inputs)
        rows, offsets = self.system.boundaries(pattern, inputs)
        matrices, shifts = self.system.affine(pattern, inputs)
        heights = ((rows @ points[:, :, None])[:, :, 0] + offsets).abs()
        lengths = rows.norm(dim=2)
        # a unit that no state moves has no border
        gaps = torch.where(lengths > 0, heights / lengths.clamp_min(1e-300), torch.inf)
        margin = gaps.amin(1) if gaps.shape[1] else points.new_full((len(points),), torch.inf)
        system = torch.eye(points.shape[1], dtype=points.dtype) - matrices
        error = torch.linalg.solve_ex(system, ((matrices @ points[:, :, None])[:, :, 0] + shifts - points)[:, :, None])[0]
        off = torch.nan_to_num(error[:, :, 0].norm(dim=1), nan=torch.inf)
        border = margin <= ON_BORDER * points.norm(dim=1).clamp_min(1)
        regular = (eigenvalues - 1).abs().amin(1) > 1e-12
        certified = ~border & regular & (off < margin)
        lost = points.new_full((len(points),), torch.nan)
        zero = torch.zeros_like(off)
        return (
            Certificate(certified, torch.where(certified, off, lost), torch.where(certified, margin, lost), zero),
            border,
        )


def solve_regions(
    system: DynamicalSystem, input: Float[Tensor, " X"], starts: Float[Tensor, "N S"], rng: torch.Generator
) -> ExactPoints | None:
    """The fixed points of a piecewise-linear system; None for any other."""
    inner, held = release_input(system, input)
    if not isinstance(inner, PiecewiseLinear):
        return None
    found = piecewise_linear_cycles(inner, 1, input=held, starts=starts, max_sequences=100_000, rng=rng)
    points = [cycle.points[0] for cycle in found.fixed_points]
    stacked = torch.stack(points) if points else starts.new_zeros(0, system.state_size)
    return ExactPoints(inner, held, stacked, found.complete_up_to >= 1, len(found.families))


def on_border(stable: Stability, border: Bool[Tensor, " N"]) -> Stability:
    """On a border the eigenvalues are those of one side and decide nothing."""
    kinds = tuple(f"{kind}, on a border" if b else kind for kind, b in zip(stable.kinds, border.tolist(), strict=True))
    return replace(stable, kinds=kinds, is_marginal=stable.is_marginal | border, is_stable=stable.is_stable & ~border)
