"""Limiting rays: what replaces eigenvalues at the fixed point 0 of a positively homogeneous system, such as a ReLU network
without biases.

With F(s h, 0) = s F(h, 0) for every s > 0, F maps rays from 0 to rays, and h = 0 is a fixed point at which F has a kink and no
derivative. A direction u that is mapped to itself, F(u, 0) = r u, or a cycle of such directions, tells how states near 0 (and
far from it) move: they shrink by the factor r per step where r < 1 and grow without bound where r > 1.
"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from rnnscope.core.errors import ConfigError, DataError
from rnnscope.core.loops import release_input
from rnnscope.core.piecewise import PiecewiseLinear
from rnnscope.core.system import DynamicalSystem
from rnnscope.dynamics.autonomous import AutonomousMap, check_counts
from rnnscope.dynamics.starts import default_starts

LOOK = 100  # steps between looks at what has converged
SAME_FACTOR = 1e-9  # a factor this near to 1 neither grows nor shrinks


@dataclass(frozen=True)
class LimitingRays:
    """Where directions go under h -> F(h, 0) of a homogeneous system.

    Attributes:
        directions: unit vectors u with F(u, 0) = rate · u, the one reached from most starts first, (K, S); of a cycle, one of its members.
        decay_rates: |h_{t+1}| / |h_t| on the ray, (K,); of a cycle the geometric mean over its period. Below 1 it leads into 0.
        periods: 1 for a ray, p for a cycle of p rays, (K,).
        basin_shares: share of the converged starts that ended there, (K,).
        ray: which ray each start ended on, (N,); -1 where it did not converge.
        num_converged, num_vanished (reached exactly 0), num_open (neither within the steps allowed): counts of starts.
        open_rate: geometric mean factor of the open ones over the second half of the run, nan when there are none.
        deviation: largest |F(2u, 0) - 2 F(u, 0)| / |F(u, 0)| at the rays: rounding, or the system is not homogeneous and
            the rays mean nothing.
    """

    directions: Float[Tensor, "K S"]
    decay_rates: Float[Tensor, " K"]
    periods: Int[Tensor, " K"]
    basin_shares: Float[Tensor, " K"]
    ray: Int[Tensor, " N"]
    num_converged: int
    num_vanished: int
    num_open: int
    open_rate: float
    deviation: float

    def __len__(self) -> int:
        return len(self.directions)

    @property
    def summary(self) -> str:
        """One line: the factor of each ray with its share of the starts, and the starts that reached none."""
        parts = [
            f"{_motion(factor, period)} ({100 * share:.0f} % of those that settle)"
            for factor, period, share in zip(
                self.decay_rates.tolist(), self.periods.tolist(), self.basin_shares.tolist(), strict=True
            )
        ]
        parts += [f"{self.num_vanished} of {len(self.ray)} starts reach 0 exactly"] if self.num_vanished else []
        if self.num_open:
            parts.append(f"{self.num_open} of {len(self.ray)} starts keep turning (mean factor {self.open_rate:.4g} per step)")
        return "; ".join(parts)


def _motion(factor: float, period: int) -> str:
    where = "a ray" if period == 1 else f"a cycle of {period} rays"
    verb = "stays the same" if abs(factor - 1) <= SAME_FACTOR else "grows" if factor > 1 else "shrinks"
    return f"{where} on which the state {verb}" + ("" if verb == "stays the same" else f" by the factor {factor:.4g} per step")


@torch.no_grad()
def limiting_rays(
    system: DynamicalSystem,
    starts: Float[Tensor, "*N S"] | None = None,
    *,
    num_starts: int = 300,
    num_steps: int = 3000,
    max_period: int = 12,
    tolerance: float = 1.5e-8,
    merge: float = 1e-3,
    rng: torch.Generator | None = None,
) -> LimitingRays:
    """Iterate u <- F(u, 0) / |F(u, 0)| in float64 until the direction repeats, and merge the directions found.

    Only attracting rays are found: those that an open set of starts is drawn to. The number of starts decides how small a set.

    Args:
        system: positively homogeneous under zero input, F(s h, 0) = s F(h, 0) for s > 0; see `is_homogeneous`. For any other
            the rays mean nothing, which `deviation` shows.
        starts: directions to begin with, (N, S) or one (S,), none of them zero. None: states visited under noise.
        num_starts: how many when `starts` is None, >= 1. num_steps: iterations, >= 1.
        max_period: longest cycle of directions looked for, >= 1.
        tolerance: |u_t - u_{t-p}| that counts as converged, > 0.
        merge: directions closer than this are one ray, > 0.
        rng: of the default starts; a fresh one seeded with 0 when None.

    Returns:
        `LimitingRays`, by the share of starts that end on each.

    Raises:
        ConfigError: a number out of range. DataError: a start of length zero. ShapeError: starts that do not fit the system.

    Source: power iteration for positively homogeneous maps; Lemmens & Nussbaum (2012), Nonlinear Perron-Frobenius Theory, ch. 5.

    Example:
        >>> import torch, rnnscope as rs
        >>> weights = torch.tensor([[0.5, 0.0], [0.3, 0.8]])
        >>> found = rs.limiting_rays(rs.System(lambda h, x: torch.relu(h @ weights.T), 2))
        >>> [round(f, 4) for f in found.decay_rates.tolist()], found.directions.abs().round(decimals=3).tolist()
        ([0.8], [[0.0, 1.0]])
    """
    check_counts(num_starts=num_starts, num_steps=num_steps, max_period=max_period)
    if tolerance <= 0 or merge <= 0:
        raise ConfigError(f"tolerance {tolerance}, merge {merge}", "numbers > 0", "raise the one that is not")
    map = AutonomousMap(system)
    unit = _directions(map, starts, num_starts, rng)
    vanished = torch.zeros(len(unit), dtype=torch.bool, device=unit.device)
    history, step = [unit], 0
    period = torch.zeros(len(unit), dtype=torch.long, device=unit.device)
    logs = unit.new_zeros(num_steps, len(unit))
    for step in range(num_steps):
        new = map(unit)
        length = new.norm(dim=-1, keepdim=True)
        vanished |= length[:, 0] == 0
        logs[step] = length[:, 0].clamp_min(1e-300).log()
        unit = torch.where(length > 0, new / length.clamp_min(torch.finfo(new.dtype).tiny), unit)
        history = [*history[-max_period:], unit]
        if step % LOOK == LOOK - 1 or step == num_steps - 1:
            period = _period(history, tolerance)
            if bool(((period > 0) | vanished).all()):
                break
    period[vanished] = 0
    return _result(map, torch.stack(history), logs[: step + 1], period, vanished, merge)


def is_homogeneous(system: DynamicalSystem, input: Float[Tensor, " X"] | None = None) -> bool:
    """Whether F(s h, x) = s F(h, x) for every s > 0 by construction: a piecewise-linear system without biases under zero input.

    The offsets of its affine maps and of their borders are looked at where all units are on, where all are off, and one by one.

    Args:
        system: any system; one without the capability `PiecewiseLinear` gives False. A held input is looked through.
        input: x, (X,); zeros when None.

    Example:
        >>> import torch, rnnscope as rs
        >>> network = torch.nn.RNN(2, 3, nonlinearity="relu", bias=False)
        >>> is_homogeneous(rs.as_system(network)), is_homogeneous(rs.as_system(torch.nn.RNN(2, 3)))
        (True, False)
    """
    map = AutonomousMap(system, input)
    inner, held = release_input(map.system, map.input)
    if not isinstance(inner, PiecewiseLinear):
        return False
    state = held.new_zeros(1, system.state_size)
    num_units = inner.region(state, held[None]).shape[1]
    patterns = torch.cat([torch.ones(1, num_units), torch.zeros(1, num_units), torch.eye(num_units)]).bool().to(held.device)
    inputs = held.expand(len(patterns), -1)
    offsets = torch.cat([inner.affine(patterns, inputs)[1], inner.boundaries(patterns, inputs)[1]], 1)
    return not bool(offsets.any())


def _directions(map: AutonomousMap, starts: Tensor | None, num: int, rng: torch.Generator | None) -> Float[Tensor, "N S"]:
    """Unit vectors of the starts given, or of states that the system visits under noise."""
    if starts is not None:
        found = map.starts(starts)
    else:
        drawn = default_starts(map.system, num, rng if rng is not None else torch.Generator().manual_seed(0))
        found = drawn[drawn.norm(dim=1) > 0].to(map.input)
    length = found.norm(dim=-1, keepdim=True)
    if not bool((length > 0).all()):
        raise DataError("a start of length zero", "directions", "leave out starts at the fixed point")
    return found / length


def _result(
    map: AutonomousMap,
    past: Float[Tensor, "P N S"],
    logs: Float[Tensor, "T N"],
    period: Int[Tensor, " N"],
    vanished: Tensor,
    merge: float,
) -> LimitingRays:
    ray, members = _merge(past, period, merge)
    factors = torch.stack([logs[-int(period[m]) :, m].mean().exp() for m in members]) if members else logs.new_zeros(0)
    counts = torch.bincount(ray[ray >= 0], minlength=len(members)).double()
    order = counts.argsort(descending=True, stable=True)
    place = torch.cat([order.argsort(), order.new_full((1,), -1)])
    chosen = torch.tensor(members, dtype=torch.long, device=past.device)[order]
    lost = (period == 0) & ~vanished
    return LimitingRays(
        past[-1, chosen],
        factors[order],
        period[chosen],
        counts[order] / counts.sum().clamp_min(1),
        place[ray],
        int((period > 0).sum()),
        int(vanished.sum()),
        int(lost.sum()),
        float(logs[len(logs) // 2 :, lost].mean().exp()) if bool(lost.any()) else math.nan,
        _deviation(map, past[-1, chosen]),
    )


def _period(history: list[Tensor], tolerance: float) -> Int[Tensor, " N"]:
    """Smallest p with |u_t - u_{t-p}| below tolerance for each start; 0 where there is none."""
    period = torch.zeros(len(history[-1]), dtype=torch.long, device=history[-1].device)
    for p in range(len(history) - 1, 0, -1):
        period = torch.where((history[-1] - history[-1 - p]).norm(dim=-1) < tolerance, p, period)
    return period


def _merge(past: Float[Tensor, "P N S"], period: Int[Tensor, " N"], merge: float) -> tuple[Int[Tensor, " N"], list[int]]:
    """Ray number of each start (-1: none) and one start that represents each ray; members of a cycle are one ray."""
    ray = torch.full_like(period, -1)
    members: list[int] = []
    while True:
        left = ((period > 0) & (ray < 0)).nonzero()[:, 0]
        if not len(left):
            return ray, members
        first = int(left[0])
        phases = past[-int(period[first]) :, first]
        same = (torch.cdist(past[-1, left], phases) < merge).any(1) & (period[left] == period[first])
        same[0] = True
        ray[left[same]] = len(members)
        members.append(first)


def _deviation(map: AutonomousMap, unit: Float[Tensor, "K S"]) -> float:
    if not len(unit):
        return math.nan
    once, twice = map(unit), map(2 * unit)
    return float(((twice - 2 * once).norm(dim=-1) / once.norm(dim=-1)).max())
