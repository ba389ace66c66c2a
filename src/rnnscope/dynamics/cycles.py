"""Limit cycles of a system under one held input, stable and unstable, and what did not close: invariant circles, chaos."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from rnnscope.core.system import DynamicalSystem
from rnnscope.dynamics.autonomous import AutonomousMap, check_counts, is_bounded, scale_of
from rnnscope.dynamics.invariant_circles import InvariantCircle
from rnnscope.dynamics.open_orbits import OpenSet
from rnnscope.dynamics.periodic_orbits import Cycle, close_cycles
from rnnscope.dynamics.settling import DIVERGED, UNEXAMINED, Continuum, SettledSet, settle
from rnnscope.dynamics.starts import default_starts

SNAPSHOTS = (0, 1, 3, 10, 30, 100)  # steps after which an orbit's state is a guess for unstable cycles
MAX_OPEN_SETS = 8
DISTINCT = 1e-3  # of 1 + |h|
DETERMINED = 1e-9  # multipliers nearer to 1 leave the place of a cycle open to rounding


@dataclass(frozen=True)
class Cycles:
    """Cycles found, and where orbits that did not close run.

    Attributes:
        cycles: of prime period >= 2, attracting ones first, then by period.
        fixed_points: cycles of period 1 met on the way (see `find_fixed_points` for a search that is after them).
        circles: invariant circles that orbits settle on. open_sets: chaotic or undetermined sets.
        continua: marginal cycles that are not isolated.
        num_starts, num_diverged: orbits, and those that left every bound. num_unexamined: orbits whose set was not looked
            at, since too many sets that do not close had been found. num_undetermined: solutions of Newton left out since a
            multiplier is 1 to within rounding, which leaves their place open (lines of fixed points; saturated gates far outside
            the states that a network visits).
        max_period, max_unstable_period: longest periods searched, from recurrences and from many guesses. tolerance: as asked for.
    """

    cycles: tuple[Cycle, ...]
    fixed_points: tuple[Cycle, ...]
    circles: tuple[InvariantCircle, ...]
    open_sets: tuple[OpenSet, ...]
    continua: tuple[Continuum, ...]
    num_starts: int
    num_diverged: int
    num_unexamined: int
    num_undetermined: int
    max_period: int
    max_unstable_period: int
    tolerance: float

    @property
    def summary(self) -> str:
        """A line for each set, and the counts."""
        found: list[SettledSet] = [*self.cycles, *self.fixed_points, *self.circles, *self.open_sets, *self.continua]
        counts = f"{self.num_starts} starts, {self.num_diverged} diverged, {self.num_unexamined} not examined"
        searched = f"periods up to {self.max_period} from recurrences, up to {self.max_unstable_period} from many guesses"
        return "\n".join([*(one.summary for one in found), f"({counts}; {searched})"])


def find_cycles(
    system: DynamicalSystem,
    *,
    starts: Float[Tensor, "N S"] | None = None,
    num_starts: int = 64,
    input: Float[Tensor, " X"] | None = None,
    max_period: int = 200,
    max_unstable_period: int = 4,
    num_transient: int = 2000,
    num_samples: int = 4096,
    tolerance: float = 1e-10,
    rng: torch.Generator | None = None,
) -> Cycles:
    """Find the cycles of h -> F(h, x) at a held input x, and tell what does not close.

    Orbits run from many starts. After the transient each is looked at for recurrences; multiple-shooting Newton closes the orbit on
    F^k - id, and the period is reduced to its prime. Unstable cycles of period <= `max_unstable_period` come from Newton started at
    many states, on the transients and at the nearest returns of orbits that do not close. Orbits that close within no `max_period`
    steps are examined as in `open_orbits`: an invariant circle (a rhythm whose period is no whole number of steps: rotation
    number, steps per turn, transverse multiplier), chaos, or undetermined. Every cycle returned is one; that all are found is
    certain only for piecewise-linear systems (`piecewise_linear_cycles`). A cycle longer than the orbit recorded cannot be told
    from the circle it lies on.

    Args:
        system: any dynamical system. starts: states to begin at, (N, S); `default_starts` when None (`num_starts` of them).
        input: the held input x, (X,); zeros when None.
        max_period: longest period searched from recurrences, >= 1. max_unstable_period: from many guesses, >= 0.
        num_transient: steps dropped first, >= 1. num_samples: steps of an orbit that does not close, >= 500.
        tolerance: largest residual |F(h_i) - h_{i+1}| accepted, relative to 1 + |h|; Newton goes on down to rounding.
        rng: of the default starts; a fresh one seeded 0 when None.

    Returns:
        `Cycles`, in float64.

    Raises:
        ShapeError: starts or input that do not fit. ConfigError: a count out of range.

    Example:
        >>> import torch, rnnscope as rs
        >>> flip = rs.System(lambda h, x: torch.tanh(-2 * h), state_size=1)
        >>> [(c.period, c.is_stable) for c in find_cycles(flip, starts=torch.tensor([[0.3]])).cycles]
        [(2, True)]
    """
    check_counts(max_period=max_period, num_transient=num_transient, num_samples=num_samples // 500, num_starts=num_starts)
    map = AutonomousMap(system, input)
    rng = torch.Generator().manual_seed(0) if rng is None else rng
    begin = map.starts(default_starts(map.system, num_starts, rng, map.input) if starts is None else starts)
    final, visited = _run(map, begin, num_transient)
    settled = settle(
        map,
        final,
        max_period=max_period,
        num_samples=num_samples,
        tolerance=tolerance,
        max_open_sets=MAX_OPEN_SETS,
    )
    closed = [one for one in settled.sets if isinstance(one, Cycle)]
    open_clouds = [c for one, c in zip(settled.sets, settled.clouds, strict=True) if isinstance(one, OpenSet)]
    num_undetermined = 0
    for period in range(1, max_unstable_period + 1):
        guesses = torch.cat([map.orbits(visited, period), *(_near_returns(cloud, period) for cloud in open_clouds)])
        reached = close_cycles(map, guesses, tolerance=tolerance, known=closed)
        determined = [cycle for cycle in reached if float((cycle.multipliers - 1).abs().min()) > DETERMINED]
        num_undetermined += len(reached) - len(determined)
        closed += determined
    closed.sort(key=lambda c: (not c.is_stable, c.period))
    return Cycles(
        tuple(c for c in closed if c.period > 1),
        tuple(c for c in closed if c.period == 1),
        tuple(one for one in settled.sets if isinstance(one, InvariantCircle)),
        tuple(one for one in settled.sets if isinstance(one, OpenSet)),
        tuple(one for one in settled.sets if isinstance(one, Continuum)),
        len(begin),
        int((settled.labels == DIVERGED).sum()),
        int((settled.labels == UNEXAMINED).sum()),
        num_undetermined,
        max_period,
        max_unstable_period,
        tolerance,
    )


def _run(map: AutonomousMap, states: Tensor, num_steps: int) -> tuple[Float[Tensor, "N S"], Float[Tensor, "M S"]]:
    """The states after the transient, and bounded states met on the way, to a thousandth: each only once."""
    visited = []
    for step in range(num_steps):
        if step in SNAPSHOTS:
            visited.append(states)
        states = map(states)
    pool = torch.cat([*visited, states])
    pool = pool[is_bounded(pool)]
    resolution = DISTINCT * scale_of(pool)
    return states, torch.unique((pool / resolution).round(), dim=0) * resolution


def _near_returns(orbit: Float[Tensor, "T S"], period: int, *, most: int = 200) -> Float[Tensor, "N k S"]:
    """Stretches of `period` states whose ends nearly meet, the nearest first."""
    distances = (orbit[period:] - orbit[:-period]).norm(dim=1)
    return orbit.unfold(0, period, 1)[: len(distances)][distances.argsort()[:most]].transpose(1, 2)
