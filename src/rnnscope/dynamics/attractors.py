"""Attractors and their basins: where orbits from many starts settle, and what share of the starts each set draws."""

import math
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor

from rnnscope.core.system import DynamicalSystem
from rnnscope.dynamics.autonomous import AutonomousMap, check_counts
from rnnscope.dynamics.invariant_circles import InvariantCircle
from rnnscope.dynamics.periodic_orbits import Cycle
from rnnscope.dynamics.settling import DIVERGED, UNEXAMINED, Continuum, SettledSet, cloud_spacing, settle
from rnnscope.dynamics.starts import default_starts

Kind = Literal["point", "cycle", "invariant circle", "continuum", "chaotic", "undetermined"]
NUM_CHECKS = 200  # times at which the distance to the set is looked at
ARRIVED = 0.01  # of the extent of all orbits


@dataclass(frozen=True)
class Attractor:
    """A set that orbits settle on.

    Attributes:
        kind: "point", "cycle", "invariant circle", "continuum" (of points or cycles, such as a line attractor), "chaotic" or
            "undetermined".
        settled: the object behind it, with its evidence: `Cycle`, `InvariantCircle`, `OpenSet` or `Continuum`.
        points: states on it, (K, S): all of a cycle's, a sample of the others.
        num_starts: starts that ended here. share: of all starts. share_error: its binomial standard error, sqrt(p (1 - p) / N).
        largest_exponent: largest Lyapunov exponent in nats per step: exact for points and cycles, from the multipliers; else
            along an orbit. exponent_error: its standard error (0 where exact).
        transient_median, transient_longest: steps until the distance to the set stays below 1 % of the extent of all orbits, over
            the starts that ended here.
    """

    kind: Kind
    settled: SettledSet
    points: Float[Tensor, "K S"]
    num_starts: int
    share: float
    share_error: float
    largest_exponent: float
    exponent_error: float
    transient_median: float
    transient_longest: int

    @property
    def summary(self) -> str:
        """One line."""
        basin = f"{100 * self.share:.1f} ± {100 * self.share_error:.1f} % of starts"
        return f"{basin}, transient {self.transient_median:g} steps (longest {self.transient_longest}): {self.settled.summary}"


@dataclass(frozen=True)
class Attractors:
    """Every set that starts settled on, largest share first.

    Attributes:
        attractors: the sets. labels: index into them of each start, -1 diverged, -2 not examined, (N,).
        starts: the starts, (N, S).
        share_diverged, share_unexamined: of the starts; the latter end in further sets that were not looked at.
        num_steps: steps of each start. transient_resolution: steps between looks at the distance.
    """

    attractors: tuple[Attractor, ...]
    labels: Int[Tensor, " N"]
    starts: Float[Tensor, "N S"]
    share_diverged: float
    share_unexamined: float
    num_steps: int
    transient_resolution: int

    @property
    def summary(self) -> str:
        """A line for each set, and the rest."""
        rest = f"{100 * self.share_diverged:.1f} % of {len(self.starts)} starts diverged"
        unseen = f", {100 * self.share_unexamined:.1f} % not examined" if self.share_unexamined else ""
        return "\n".join([*(one.summary for one in self.attractors), f"({rest}{unseen})"])


def attractors(
    system: DynamicalSystem,
    *,
    starts: Float[Tensor, "N S"] | None = None,
    num_starts: int = 200,
    input: Float[Tensor, " X"] | None = None,
    num_steps: int = 2000,
    num_samples: int = 4096,
    max_period: int = 200,
    max_sets: int = 20,
    tolerance: float = 1e-10,
    rng: torch.Generator | None = None,
) -> Attractors:
    """Find the sets that h -> F(h, x) settles on from many starts, and the share of starts that each draws.

    The shares estimate basins under the law of the starts: for the basins of a region, draw starts evenly over it.
    Sets that differ by less than 0.1 % of their extent count as one.

    Args:
        system: any dynamical system. starts: (N, S); `default_starts` when None (`num_starts` of them).
        input: the held input x, (X,); zeros when None.
        num_steps: steps from each start before it is looked at, >= 1.
        num_samples: steps of an orbit that closes within no `max_period` steps, >= 500.
        max_sets: sets that do not close examined at most. tolerance: see `find_cycles`.
        rng: of the default starts; a fresh one seeded 0 when None.

    Returns:
        `Attractors`, in float64.

    Raises:
        ShapeError: starts or input that do not fit. ConfigError: a count out of range.

    Example:
        >>> import torch, rnnscope as rs
        >>> latch = rs.System(lambda h, x: torch.tanh(2 * h), state_size=1)
        >>> found = attractors(latch, starts=torch.linspace(-1, 1, 40)[:, None])
        >>> [(a.kind, a.share) for a in found.attractors]
        [('point', 0.5), ('point', 0.5)]
    """
    check_counts(num_steps=num_steps, num_samples=num_samples // 500, num_starts=num_starts, max_sets=max_sets)
    map = AutonomousMap(system, input)
    rng = torch.Generator().manual_seed(0) if rng is None else rng
    begin = map.starts(default_starts(map.system, num_starts, rng, map.input) if starts is None else starts)
    stride = -(-num_steps // NUM_CHECKS)
    orbits = _thinned(map, begin, num_steps, stride)
    settled = settle(
        map,
        orbits[:, -1],
        max_period=max_period,
        num_samples=num_samples,
        tolerance=tolerance,
        max_open_sets=max_sets,
    )
    order = sorted(range(len(settled.sets)), key=lambda i: -int((settled.labels == i).sum()))
    found = tuple(_describe(settled.sets[i], settled.clouds[i], orbits, settled.labels == i, stride) for i in order)
    labels = settled.labels.clone()
    for new, old in enumerate(order):
        labels[settled.labels == old] = new
    diverged, unexamined = (float((labels == code).double().mean()) for code in (DIVERGED, UNEXAMINED))
    return Attractors(found, labels, begin, diverged, unexamined, num_steps, stride)


def _thinned(map: AutonomousMap, states: Float[Tensor, "N S"], num_steps: int, stride: int) -> Float[Tensor, "N C S"]:
    """States after 0, stride, 2 stride, … steps, and after the last step."""
    kept = [states]
    for done in range(0, num_steps, stride):
        states = map.advance(states, min(stride, num_steps - done))
        kept.append(states)
    return torch.stack(kept, 1)


def _describe(one: SettledSet, cloud: Tensor, orbits: Float[Tensor, "N C S"], mine: Tensor, stride: int) -> Attractor:
    own = orbits[mine]
    share = len(own) / len(orbits)
    median, longest = _transients(cloud, own, orbits, stride)
    exponent, error = _largest_exponent(one)
    points = cloud if isinstance(one, Cycle | Continuum) else cloud[-1000:]
    standard = math.sqrt(share * (1 - share) / len(orbits))
    return Attractor(_kind(one), one, points, len(own), share, standard, exponent, error, median, longest)


def _kind(one: SettledSet) -> Kind:
    if isinstance(one, Cycle):
        return "point" if one.period == 1 else "cycle"
    if isinstance(one, Continuum):
        return "continuum"
    return "invariant circle" if isinstance(one, InvariantCircle) else one.kind


def _largest_exponent(one: SettledSet) -> tuple[float, float]:
    if isinstance(one, Cycle):
        return one.largest_exponent, 0.0
    if isinstance(one, Continuum):
        return float(one.multipliers.abs().max().log()) / one.period, 0.0
    return float(one.exponents[0]), float(one.exponent_errors[0])


def _transients(cloud: Tensor, own: Tensor, orbits: Tensor, stride: int) -> tuple[float, int]:
    """Median and longest number of steps until the distance to the set stays small."""
    finite = orbits[torch.isfinite(orbits).flatten(1).all(1)]
    extent = float((finite[:, 0] - finite[:, 0].mean(0)).norm(dim=1).max())
    extent = max(extent, float((cloud - finite[:, 0].mean(0)).norm(dim=1).max()))
    reach = ARRIVED * extent + 3 * cloud_spacing(cloud)
    distances = torch.cdist(own.flatten(0, 1), cloud[:: -(-len(cloud) // 2000)]).amin(1).view(own.shape[:2])
    outside = distances > reach
    last = torch.where(outside.any(1), own.shape[1] - outside.flip(1).int().argmax(1), 0)
    return float(last.double().median()) * stride, int(last.max()) * stride
