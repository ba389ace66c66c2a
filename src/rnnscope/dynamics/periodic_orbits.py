"""Periodic orbits of a map: multiple shooting, prime periods, Floquet multipliers.

A cycle of period k is h_0 … h_{k-1} with F(h_i) = h_{i+1 mod k}. Newton's step on all k points at once,

    δ_{i+1} = J_i δ_i + r_i,  r_i = F(h_i) - h_{i+1},  δ_k = δ_0,  so (I - J_{k-1} … J_0) δ_0 = q,

converges from much farther than Newton on F^k - id (q is the r_i carried to the end of the cycle by the Jacobians). The eigenvalues
of J_{k-1} … J_0 are the Floquet multipliers (Kuznetsov, Elements of Applied Bifurcation Theory, sections 1.4 and 10.1).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Complex, Float
from torch import Tensor

from rnnscope.dynamics.autonomous import AutonomousMap, is_bounded, scale_of
from rnnscope.dynamics.stability import stability

SAME_POINT = 1e-6  # relative to 1 + |h|: closer points are one
NUM_HALVINGS = 5
MOST_NUMBERS = 20_000_000  # in the Jacobians of one batch


@dataclass(frozen=True)
class Cycle:
    """A periodic orbit.

    Attributes:
        period: k, prime: no smaller number of steps closes the orbit. 1 is a fixed point.
        points: h_0 … h_{k-1} in the order of time, (k, S).
        residual: max |F(h_i) - h_{i+1}| over the points and coordinates.
        multipliers: Floquet multipliers, the eigenvalues of the product of Jacobians once around, largest modulus first, (S,).
        is_stable: every modulus is below 1. is_marginal: some modulus is 1, so that the linear part decides nothing.
        kind: "attractor", "saddle", "repeller" or "marginal", with "spiral" or "flipping" before it where the leading
            multiplier is complex or negative.
    """

    period: int
    points: Float[Tensor, "k S"]
    residual: float
    multipliers: Complex[Tensor, " S"]
    is_stable: bool
    is_marginal: bool
    kind: str

    @property
    def largest_exponent(self) -> float:
        """ln max |multiplier| / k, in nats per step."""
        return float(self.multipliers.abs().max().log()) / self.period

    @property
    def summary(self) -> str:
        """One line."""
        name = "fixed point" if self.period == 1 else f"cycle of period {self.period}"
        residual = f"{self.residual:.1e}" if self.residual else "0"
        return f"{name}, {self.kind}, largest |multiplier| {float(self.multipliers.abs().max()):.6g}, residual {residual}"


def close_cycles(
    map: AutonomousMap, guesses: Float[Tensor, "N k S"], *, tolerance: float, known: Sequence[Cycle] = ()
) -> list[Cycle]:
    """The distinct cycles that Newton reaches from guesses of period k: prime periods may be divisors of k.

    Args:
        guesses: k successive states per row. tolerance: largest residual, relative to 1 + |h|.
        known: cycles not to return again.
    """
    size = max(1, MOST_NUMBERS // (guesses.shape[1] * map.state_size**2))
    parts = [shoot(map, piece) for piece in guesses.split(size)]
    points, residuals = torch.cat([part[0] for part in parts]), torch.cat([part[1] for part in parts])
    found = list(known)
    seen = torch.cat([points.new_empty(0, map.state_size), *(cycle.points for cycle in known)])
    owner = [index for index, cycle in enumerate(known) for _ in range(cycle.period)]
    for row in (residuals <= tolerance).nonzero().flatten().tolist():
        own = points[row, : prime_period(points[row])]
        nearest = found[owner[int((seen - own[0]).abs().amax(1).argmin())]] if owner else None
        if nearest is None or not same_orbit(own, nearest.points):
            owner += [len(found)] * len(own)
            seen = torch.cat([seen, own])
            found.append(make_cycle(map, own))
    return found[len(known) :]


def make_cycle(map: AutonomousMap, points: Float[Tensor, "k S"]) -> Cycle:
    """The cycle through points that close up, with its multipliers."""
    residual = float((map(points) - points.roll(-1, 0)).abs().max())
    found = stability(cycle_jacobian(map.jacobians(points))[None])
    stable, marginal = bool(found.is_stable[0]), bool(found.is_marginal[0])
    return Cycle(len(points), points, residual, found.eigenvalues[0], stable, marginal, found.kinds[0])


def cycle_jacobian(jacobians: Float[Tensor, "k S S"]) -> Float[Tensor, "S S"]:
    """J_{k-1} … J_0."""
    product = jacobians[0]
    for jacobian in jacobians[1:]:
        product = jacobian @ product
    return product


def prime_period(points: Float[Tensor, "k S"]) -> int:
    """The smallest divisor of k after which the points repeat."""
    period, limit = len(points), SAME_POINT * scale_of(points)
    divisors = (d for d in range(1, period) if period % d == 0)
    return next((d for d in divisors if float((points - points.roll(-d, 0)).abs().max()) <= limit), period)


def same_orbit(first: Float[Tensor, "k S"], second: Float[Tensor, "m S"]) -> bool:
    """Whether two cycles have the same points in the same cyclic order."""
    if len(first) != len(second):
        return False
    shift = int((second - first[0]).abs().amax(1).argmin())
    return float((second.roll(-shift, 0) - first).abs().max()) <= SAME_POINT * scale_of(first)


def shoot(
    map: AutonomousMap, guesses: Float[Tensor, "N k S"], *, max_iterations: int = 60
) -> tuple[Float[Tensor, "N k S"], Float[Tensor, " N"]]:
    """Newton with step halving on all points of all rows, down to rounding.

    Returns:
        The points, and max |F(h_i) - h_{i+1}| / (1 + max |h|) of each row (infinite where a row left every bound).
    """
    points = torch.where(is_bounded(guesses)[:, None, None], guesses, guesses.new_zeros(()))
    gaps = _gaps(map, points)
    active = is_bounded(guesses) & is_bounded(gaps)
    failed = ~active
    for _ in range(max_iterations):
        active &= gaps.flatten(1).abs().amax(1) > 0
        if not bool(active.any()):
            break
        better, gaps_there, improved = _search(map, points[active], gaps[active])
        rows = active.nonzero().flatten()[improved]
        points[rows], gaps[rows] = better[improved], gaps_there[improved]
        active[active.clone()] = improved
    relative = gaps.flatten(1).abs().amax(1) / (1 + points.flatten(1).abs().amax(1))
    return points, relative.where(~failed & relative.isfinite(), relative.new_tensor(float("inf")))


def _gaps(map: AutonomousMap, points: Float[Tensor, "N k S"]) -> Float[Tensor, "N k S"]:
    return map(points.flatten(0, 1)).view_as(points) - points.roll(-1, 1)


def _search(
    map: AutonomousMap, points: Float[Tensor, "N k S"], gaps: Float[Tensor, "N k S"]
) -> tuple[Float[Tensor, "N k S"], Float[Tensor, "N k S"], Bool[Tensor, " N"]]:
    """The longest of the steps 1, 1/2, 1/4, … that makes the gaps smaller, and whether there was one."""
    step = _newton_step(map, points, gaps)
    best, best_gaps = points.clone(), gaps.clone()
    improved = torch.zeros(len(points), dtype=torch.bool, device=points.device)
    old = gaps.flatten(1).norm(dim=1)
    for halving in range(NUM_HALVINGS):
        rows = (~improved).nonzero().flatten()
        if not len(rows):
            break
        fraction = 0.5**halving
        trial = points[rows] + fraction * step[rows]
        trial_gaps = _gaps(map, trial)
        good = trial_gaps.flatten(1).norm(dim=1) < (1 - 0.1 * fraction) * old[rows]
        best[rows[good]], best_gaps[rows[good]] = trial[good], trial_gaps[good]
        improved[rows[good]] = True
    return best, best_gaps, improved


def _newton_step(map: AutonomousMap, points: Float[Tensor, "N k S"], gaps: Float[Tensor, "N k S"]) -> Float[Tensor, "N k S"]:
    jacobians = map.jacobians(points.flatten(0, 1)).view(*points.shape, -1)
    product, carried = torch.eye(points.shape[2]).to(points).expand_as(jacobians[:, 0]), torch.zeros_like(points[:, 0])
    for jacobian, gap in zip(jacobians.unbind(1), gaps.unbind(1), strict=True):
        product, carried = jacobian @ product, (jacobian @ carried[..., None])[..., 0] + gap
    deltas = [solve_or_project(torch.eye(points.shape[2]).to(points) - product, carried)]
    for index in range(points.shape[1] - 1):
        deltas.append((jacobians[:, index] @ deltas[-1][..., None])[..., 0] + gaps[:, index])
    return torch.stack(deltas, 1).nan_to_num(0.0, 0.0, 0.0)


def solve_or_project(matrices: Float[Tensor, "N S S"], right: Float[Tensor, "N S"]) -> Float[Tensor, "N S"]:
    """Solutions of M x = b; the shortest least-squares one where M is singular, zero where numbers are not finite."""
    matrices, right = matrices.nan_to_num(0.0, 0.0, 0.0), right.nan_to_num(0.0, 0.0, 0.0)
    solution, info = torch.linalg.solve_ex(matrices, right[..., None])
    bad = (info != 0) | ~torch.isfinite(solution).flatten(1).all(1)
    if bool(bad.any()):
        solution[bad] = torch.linalg.pinv(matrices[bad]) @ right[bad][..., None]
    return solution[..., 0]
