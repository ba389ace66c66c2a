"""Every periodic orbit of a piecewise-linear network, region by region.

In the regions D_1 … D_k visited in turn the map is h -> M_j h + c_j, so that an orbit through them is the solution of

    (I - M_k … M_1) h = c_k + M_k c_{k-1} + … + M_k … M_2 c_1,

one linear system, kept if the true map goes around it. All sequences of regions are gone through where there are few enough: the
answer is then complete. Otherwise sequences come from many starts, and a sequence whose solution lies in other regions is
replaced by those regions until it agrees (Eisenmann, Monfared, Göring & Durstewitz 2023, SCYFI, NeurIPS 36).
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from rnnscope.core.errors import ConfigError
from rnnscope.core.piecewise import PiecewiseLinear
from rnnscope.core.system import DynamicalSystem
from rnnscope.dynamics.autonomous import AutonomousMap, check_counts, is_bounded
from rnnscope.dynamics.linear_regions import inner_point, nonempty_regions
from rnnscope.dynamics.periodic_orbits import Cycle, close_cycles, prime_period, solve_or_project
from rnnscope.dynamics.starts import default_starts

CHUNK = 200_000
CLOSES = 1e-7  # relative: solutions that the true map carries around to within this are polished by Newton
SINGULAR = 1e-10  # smallest singular value of I - M, relative to 1 + |M|, called zero
ALL_PATTERNS = 4096  # up to so many patterns are tried without asking which regions are empty
MAX_REGIONS = 500  # up to so many are listed: a linear programme for each and each unit
SEARCH_STEPS, SEARCH_ROUNDS, PATIENCE = 20, 40, 6


@dataclass(frozen=True)
class PeriodicFamily:
    """Periodic orbits that fill a piece of an affine subspace: I - M has a null space.

    Attributes:
        period: k. points: one member, (k, S). directions: orthonormal, along which the first point may move, (S, D).
    """

    period: int
    points: Float[Tensor, "k S"]
    directions: Float[Tensor, "S D"]


@dataclass(frozen=True)
class PiecewiseLinearCycles:
    """Periodic orbits of a piecewise-linear system.

    Attributes:
        fixed_points: of period 1. cycles: of prime period 2 … max_period, by period.
        families: periodic orbits that are not isolated, one entry per sequence of regions.
        complete_up_to: the largest period for which every sequence of regions was solved, 0 where none: up to there nothing is
            missing (but for orbits that touch only borders of regions).
        num_regions: regions with an interior, None where they were too many to list. num_sequences: linear systems solved.
    """

    fixed_points: tuple[Cycle, ...]
    cycles: tuple[Cycle, ...]
    families: tuple[PeriodicFamily, ...]
    complete_up_to: int
    num_regions: int | None
    num_sequences: int

    @property
    def summary(self) -> str:
        """One line."""
        periods = [cycle.period for cycle in self.cycles]
        counts = ", ".join(f"{periods.count(p)} of period {p}" for p in sorted(set(periods))) or "no cycle"
        proof = f"complete up to period {self.complete_up_to}" if self.complete_up_to else "not known to be complete"
        return f"{len(self.fixed_points)} fixed points, {counts}, {len(self.families)} families; {proof}"


def piecewise_linear_cycles(
    system: DynamicalSystem,
    max_period: int = 1,
    *,
    input: Float[Tensor, " X"] | None = None,
    starts: Float[Tensor, "N S"] | None = None,
    num_starts: int = 200,
    max_sequences: int = 5_000_000,
    rng: torch.Generator | None = None,
) -> PiecewiseLinearCycles:
    """Find the periodic orbits of h -> F(h, x) of a piecewise-linear system (ReLU networks, PLRNNs) at a held input.

    Args:
        system: with the capability `PiecewiseLinear`. max_period: longest period, >= 1; 1 gives the fixed points.
        input: the held input x, (X,); zeros when None.
        starts: where the search begins that replaces trying all sequences, (N, S); `default_starts` when None.
        max_sequences: all sequences of k regions are solved while there are no more (rotations of a sequence count once).
        rng: of the search; a fresh one seeded 0 when None.

    Returns:
        `PiecewiseLinearCycles`, in float64.

    Raises:
        ConfigError: a system without the capability, or a count out of range. ShapeError: starts or input that do not fit.
    """
    check_counts(max_period=max_period, num_starts=num_starts)
    if not isinstance(system, PiecewiseLinear):
        raise ConfigError(
            f"{type(system).__name__} is not piecewise linear",
            "a system with the capability rnnscope.core.piecewise.PiecewiseLinear, such as a ReLU network",
            "use find_fixed_points or find_cycles",
        )
    map = AutonomousMap(system, input)
    rng = torch.Generator().manual_seed(0) if rng is None else rng
    regions, num_regions = _regions(map, max_period, max_sequences)
    found: list[Cycle] = []
    families: list[PeriodicFamily] = []
    complete, solved = 0, 0
    begin: Tensor | None = None if starts is None else map.starts(starts)
    for period in range(1, max_period + 1):
        if regions is not None and len(regions) ** period / period <= max_sequences:
            solved += _exhaust(map, regions, period, found, families)
            complete = period
        else:
            if begin is None:
                begin = default_starts(map.system, num_starts, rng, map.input).to(map.input)
            solved += _search(map, begin, period, found, rng)
    found.sort(key=lambda cycle: cycle.period)
    points, cycles = (tuple(c for c in found if (c.period > 1) == longer) for longer in (False, True))
    return PiecewiseLinearCycles(points, cycles, tuple(families), complete, num_regions, solved)


def _capability(map: AutonomousMap) -> PiecewiseLinear:
    assert isinstance(map.system, PiecewiseLinear)
    return map.system


def _regions(map: AutonomousMap, max_period: int, max_sequences: int) -> tuple[Bool[Tensor, "R P"] | None, int | None]:
    """Patterns to try (all, or those of nonempty regions), and the number of nonempty regions where it is known."""
    own = _capability(map)
    num_units = own.region(map.input.new_zeros(1, map.state_size), map.input[None]).shape[1]
    count = 2**num_units
    few = count <= ALL_PATTERNS and count**max_period / max_period <= max_sequences
    most = sum(math.comb(num_units, i) for i in range(map.state_size + 1))  # Zaslavsky's bound, for one layer
    if not few and most <= MAX_REGIONS:
        found = nonempty_regions(own, map.input, map.state_size, MAX_REGIONS)
        if found is not None:
            return found, len(found)
    if count > ALL_PATTERNS:
        return None, None
    codes = torch.arange(count, device=map.input.device)
    return (codes[:, None] >> torch.arange(num_units, device=codes.device)) % 2 == 1, None


def _exhaust(
    map: AutonomousMap, regions: Bool[Tensor, "R P"], period: int, found: list[Cycle], families: list[PeriodicFamily]
) -> int:
    """Solve every sequence of `period` regions; new orbits are appended. Returns the number of sequences."""
    matrices, offsets = _capability(map).affine(regions, map.input.expand(len(regions), -1))
    solved = 0
    for sequences in _sequences(len(regions), period):
        rows = torch.from_numpy(sequences).to(map.input.device)
        solved += len(rows)
        product, carried = _compose(matrices, offsets, rows)
        system_matrix = torch.eye(map.state_size).to(product) - product
        first, singular = _solve(system_matrix, carried)
        closing = first[_goes_around(map, first, period) & ~singular]
        if len(closing):
            found += close_cycles(map, map.orbits(closing, period), tolerance=1e-10, known=found)
        for row in singular.nonzero().flatten().tolist():
            family = _family(map, regions[rows[row]], system_matrix[row], carried[row])
            families += [family] if family is not None else []
    return solved


def _sequences(num_regions: int, period: int) -> Iterator[Int[np.ndarray, "N k"]]:
    """All sequences of region numbers, one of each class of rotations at least: the first number is the smallest."""
    pending: list[np.ndarray] = []
    size = 0
    for first in range(num_regions):
        rest = num_regions - first
        for start in range(0, rest ** (period - 1), CHUNK):
            codes = np.arange(start, min(start + CHUNK, rest ** (period - 1)))
            digits = [first + codes // rest**place % rest for place in range(period - 1)]
            pending.append(np.stack([np.full_like(codes, first), *digits], 1))
            size += len(codes)
            if size >= CHUNK:
                yield np.concatenate(pending)
                pending, size = [], 0
    if pending:
        yield np.concatenate(pending)


def _compose(
    matrices: Float[Tensor, "R S S"], offsets: Float[Tensor, "R S"], rows: Int[Tensor, "N k"]
) -> tuple[Float[Tensor, "N S S"], Float[Tensor, "N S"]]:
    """M_k … M_1 and c_k + M_k c_{k-1} + …"""
    product, carried = matrices[rows[:, 0]], offsets[rows[:, 0]]
    for index in rows[:, 1:].unbind(1):
        carried = (matrices[index] @ carried[..., None])[..., 0] + offsets[index]
        product = matrices[index] @ product
    return product, carried


def _solve(matrices: Float[Tensor, "N S S"], right: Float[Tensor, "N S"]) -> tuple[Float[Tensor, "N S"], Bool[Tensor, " N"]]:
    """Solutions, and which matrices are singular."""
    factors, pivots, _ = torch.linalg.lu_factor_ex(matrices)
    diagonal = factors.diagonal(dim1=1, dim2=2).abs()
    doubtful = diagonal.amin(1) <= 1e-6 * (1 + matrices.flatten(1).abs().amax(1))
    singular = torch.zeros_like(doubtful)
    if bool(doubtful.any()):
        values = torch.linalg.svdvals(matrices[doubtful])
        singular[doubtful] = values[:, -1] <= SINGULAR * (1 + values[:, 0])
    solution = torch.linalg.lu_solve(factors, pivots, right[..., None])[..., 0]
    return solution.nan_to_num(0.0, 0.0, 0.0), singular


def _goes_around(map: AutonomousMap, first: Float[Tensor, "N S"], period: int) -> Bool[Tensor, " N"]:
    """Whether the true map comes back after `period` steps."""
    gap = (map.advance(first, period) - first).abs().amax(1)
    return gap <= CLOSES * (1 + first.abs().amax(1))


def _family(
    map: AutonomousMap, patterns: Bool[Tensor, "k P"], matrix: Float[Tensor, "S S"], right: Float[Tensor, " S"]
) -> PeriodicFamily | None:
    """The orbits of a sequence of regions with a singular system, if there are any and k is their prime period."""
    left, values, rightmost = torch.linalg.svd(matrix)
    null = values <= SINGULAR * (1 + values[0])
    if float((left[:, null].T @ right).abs().max()) > 1e-8 * (1 + float(right.abs().max())):
        return None
    origin = rightmost[~null].T @ ((left[:, ~null].T @ right) / values[~null])
    directions = rightmost[null].T
    shift = _inner_shift(map, patterns, origin, directions)
    if shift is None:
        return None
    points = map.orbits((origin + directions @ shift)[None], len(patterns))[0]
    return PeriodicFamily(len(points), points, directions) if prime_period(points) == len(points) else None


def _inner_shift(
    map: AutonomousMap, patterns: Bool[Tensor, "k P"], origin: Float[Tensor, " S"], directions: Float[Tensor, "S D"]
) -> Float[Tensor, " D"] | None:
    """z for which the orbit of origin + directions·z stays in the regions of the patterns."""
    own, inputs = _capability(map), map.input.expand(len(patterns), -1)
    matrices, offsets = own.affine(patterns, inputs)
    rows, borders = own.boundaries(patterns, inputs)
    along, at = directions, origin
    all_rows, all_borders = [], []
    for index in range(len(patterns)):
        all_rows.append(rows[index] @ along)
        all_borders.append(borders[index] + rows[index] @ at)
        along, at = matrices[index] @ along, matrices[index] @ at + offsets[index]
    stacked = [torch.cat(parts).cpu().numpy() for parts in (all_rows, all_borders, list(patterns))]
    inside = inner_point(*stacked)
    return None if inside is None else torch.from_numpy(inside).to(origin)


def _search(map: AutonomousMap, starts: Float[Tensor, "N S"], period: int, found: list[Cycle], rng: torch.Generator) -> int:
    """Region sequences from many starts, corrected until they agree with their solutions. Returns the number solved."""
    solved, idle = 0, 0
    pool = torch.cat([map.orbits(starts, 8).flatten(0, 1), *(cycle.points for cycle in found)])
    pool = pool[is_bounded(pool)]
    for round in range(SEARCH_ROUNDS):
        points, steps = _agree(map, _guess(map, pool, len(starts), period, round % 3, rng))
        solved += steps
        new = close_cycles(map, points, tolerance=1e-10, known=found) if len(points) else []
        found += new
        idle = 0 if new else idle + 1
        if idle >= PATIENCE:
            break
    return solved


def _guess(
    map: AutonomousMap, pool: Float[Tensor, "M S"], count: int, period: int, manner: int, rng: torch.Generator
) -> Bool[Tensor, "N k P"]:
    """Sequences of regions to begin with: along an orbit (0), of unrelated states (1), or units on and off by chance (2)."""
    chosen = pool[torch.randint(len(pool), (count, period), generator=rng).to(pool.device)]
    stretch = 2.0 ** float(torch.randint(-2, 4, (1,), generator=rng))
    noise = torch.randn(chosen.shape, generator=rng, dtype=torch.float64).to(pool) * pool.std(0, correction=0)
    moved = chosen + stretch * noise
    patterns = _patterns(map, map.orbits(moved[:, 0], period) if manner == 0 else moved)
    return torch.rand(patterns.shape, generator=rng).to(pool.device) < 0.5 if manner == 2 else patterns


def _agree(map: AutonomousMap, patterns: Bool[Tensor, "N k P"]) -> tuple[Float[Tensor, "M k S"], int]:
    """Orbits whose regions are those of the sequence they solve, and the number of systems solved."""
    own, period = _capability(map), patterns.shape[1]
    agreed, solved = [map.input.new_empty(0, period, map.state_size)], 0
    for _ in range(SEARCH_STEPS):
        if not len(patterns):
            break
        matrices, offsets = own.affine(patterns.flatten(0, 1), map.input.expand(patterns.shape[0] * period, -1))
        rows = torch.arange(len(matrices), device=patterns.device).view(-1, period)
        product, carried = _compose(matrices, offsets, rows)
        solution = [solve_or_project(torch.eye(map.state_size).to(product) - product, carried)]
        for index in range(period - 1):
            solution.append((matrices[rows[:, index]] @ solution[-1][..., None])[..., 0] + offsets[rows[:, index]])
        points, solved = torch.stack(solution, 1), solved + len(rows)
        around = _goes_around(map, points[:, 0], period)
        agreed.append(points[around])
        patterns = _patterns(map, points[~around])
    return torch.cat(agreed), solved


def _patterns(map: AutonomousMap, points: Float[Tensor, "N k S"]) -> Bool[Tensor, "N k P"]:
    flat = points.flatten(0, 1)
    return _capability(map).region(flat, map.input.expand(len(flat), -1)).unflatten(0, points.shape[:2])
