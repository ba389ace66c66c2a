"""Which sets orbits settle on: starts are merged by the set they end in, so that each set is examined once."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Complex, Float, Int
from torch import Tensor

from rnnscope.dynamics.autonomous import AutonomousMap, is_bounded, scale_of
from rnnscope.dynamics.invariant_circles import InvariantCircle
from rnnscope.dynamics.open_orbits import OpenSet, examine_orbit, record
from rnnscope.dynamics.periodic_orbits import Cycle, close_cycles, same_orbit

TAIL = 64  # steps after the transient by which a start is recognised
NUM_COMPARED = 16  # of them compared with sets that are not finite
CLOSE = 1e-6  # relative to 1 + |h|: an orbit this near a cycle is on it
NEAR = 1e-3  # relative: an orbit this near an attracting cycle and coming nearer goes there
SAME_CLOUD = 1e-3  # of a set's extent, added to three times the spacing of its points
MOST_CLOUD = 4000
DIVERGED, UNEXAMINED = -1, -2


@dataclass(frozen=True)
class Continuum:
    """Marginal cycles that are not isolated, such as the points of a line attractor.

    Attributes:
        period: of each. points: the members that starts reached, (M, k, S). multipliers: of each, largest modulus first, (M, S).
    """

    period: int
    points: Float[Tensor, "M k S"]
    multipliers: Complex[Tensor, "M S"]

    @property
    def summary(self) -> str:
        """One line."""
        what = "fixed points" if self.period == 1 else f"cycles of period {self.period}"
        return f"continuum of {what}: {len(self.points)} of them reached, each with a multiplier of modulus 1"


SettledSet = Cycle | InvariantCircle | OpenSet | Continuum


@dataclass(frozen=True)
class Settled:
    """Where orbits ended.

    Attributes:
        sets: each once. clouds: states of each, (K, S), dense where the set is not finite.
        labels: index into `sets` of each orbit; -1 diverged, -2 left unexamined, (N,).
    """

    sets: tuple[SettledSet, ...]
    clouds: tuple[Float[Tensor, "_ S"], ...]
    labels: Int[Tensor, " N"]


def settle(
    map: AutonomousMap,
    states: Float[Tensor, "N S"],
    *,
    max_period: int,
    num_samples: int,
    tolerance: float,
    max_open_sets: int,
) -> Settled:
    """Examine the sets that orbits run on from states after their transients.

    Args:
        states: one per orbit; rows that are not finite count as diverged.
        max_open_sets: sets other than cycles examined at most: they take thousands of steps each.
    """
    tails = map.orbits(states, TAIL)
    labels = torch.full((len(states),), DIVERGED, device=states.device)
    labels[is_bounded(tails)] = UNEXAMINED
    found: list[tuple[SettledSet, Tensor]] = []
    for row in range(len(states)):
        num_open = sum(not isinstance(one, Cycle) or one.period > max_period for one, _ in found)
        if labels[row] != UNEXAMINED:
            continue
        if num_open >= max_open_sets:
            break
        one, cloud = identify(map, tails[row, -1], max_period, num_samples, tolerance)
        if one is None:
            labels[row] = DIVERGED
            continue
        index = next((i for i, (other, _) in enumerate(found) if _same_set(one, other)), len(found))
        if index == len(found):
            found.append((one, cloud))
        labels[(labels == UNEXAMINED) & belongs(one, cloud, tails)] = index
        labels[row] = index
    return _merge_continua(Settled(tuple(one for one, _ in found), tuple(cloud for _, cloud in found), labels))


def identify(
    map: AutonomousMap, state: Float[Tensor, " S"], max_period: int, num_samples: int, tolerance: float
) -> tuple[SettledSet | None, Float[Tensor, "K S"]]:
    """The set that the orbit of a state runs on and a cloud of its states; None where the orbit leaves every bound."""
    window = map.orbits(state[None], max_period + 1)[0]
    cycle = recurrent_cycle(map, window, tolerance)
    if cycle is not None:
        return cycle, cycle.points
    orbit = record(map, window[-1], num_samples)
    if not bool(is_bounded(orbit[None])):
        return None, orbit
    cycle = recurrent_cycle(map, orbit[-max_period - 1 :], tolerance) or _long_cycle(map, orbit, tolerance)
    if cycle is not None:
        return cycle, cycle.points
    return examine_orbit(map, orbit, max_period), orbit[-MOST_CLOUD:]


def recurrent_cycle(map: AutonomousMap, window: Float[Tensor, "L S"], tolerance: float) -> Cycle | None:
    """The cycle that an orbit is on or is approaching: Newton from its nearest returns."""
    if not bool(is_bounded(window[None])):
        return None
    for period in _return_times(window):
        for cycle in close_cycles(map, window[None, :period], tolerance=tolerance):
            if bool(_reaches(cycle, window[None])):
                return cycle
    return None


def _return_times(window: Float[Tensor, "L S"]) -> list[int]:
    """Periods worth trying: the first return to within rounding, the nearest one, the first near one, and one."""
    distances = (window[1:] - window[0]).abs().amax(1)
    exact = (distances <= CLOSE * scale_of(window)).nonzero().flatten()
    inner = distances[1:-1]
    dips = ((inner <= distances[:-2]) & (inner <= distances[2:]) & (inner < 0.1 * distances.max())).nonzero().flatten()
    times = [int(exact[0]) + 1] if len(exact) else []
    times += [int(distances.argmin()) + 1] + ([int(dips[0]) + 2] if len(dips) else []) + [1]
    return list(dict.fromkeys(times))


def _long_cycle(map: AutonomousMap, orbit: Float[Tensor, "T S"], tolerance: float) -> Cycle | None:
    """A cycle longer than the periods searched, if the orbit repeats to within rounding."""
    distances = (orbit[1:] - orbit[0]).abs().amax(1)
    exact = (distances <= 1e-3 * CLOSE * scale_of(orbit)).nonzero().flatten()
    if not len(exact):
        return None
    closed = close_cycles(map, orbit[None, : int(exact[0]) + 1], tolerance=tolerance)
    return closed[0] if closed and bool(_reaches(closed[0], orbit[None])) else None


def belongs(one: SettledSet, cloud: Float[Tensor, "K S"], tails: Float[Tensor, "N L S"]) -> Bool[Tensor, " N"]:
    """Whether each tail runs on a set, or comes nearer to it where it is an attracting cycle."""
    if isinstance(one, Cycle):
        return _reaches(one, tails)
    spacing, extent = cloud_spacing(cloud), float((cloud - cloud.mean(0)).norm(dim=1).max())
    finite = tails[:, :: TAIL // NUM_COMPARED].nan_to_num(0.0, 0.0, 0.0)
    distances = torch.cdist(finite.flatten(0, 1), cloud).amin(1).view(finite.shape[:2])
    return is_bounded(tails) & (distances.median(1).values <= 3 * spacing + SAME_CLOUD * extent)


def cloud_spacing(cloud: Float[Tensor, "K S"]) -> float:
    """Median distance from the last states of a cloud to the nearest earlier one; 0 for a finite set."""
    if len(cloud) <= 2 * TAIL:
        return 0.0
    return float(torch.cdist(cloud[-TAIL:], cloud[:-TAIL]).amin(1).median())


def _reaches(cycle: Cycle, tails: Float[Tensor, "N L S"]) -> Bool[Tensor, " N"]:
    ends = tails[:, [0, -1]].nan_to_num(float("inf"))
    first, last = torch.cdist(ends, cycle.points, compute_mode="donot_use_mm_for_euclid_dist").amin(2).unbind(1)
    scale = scale_of(cycle.points)
    return (last <= CLOSE * scale) | (cycle.is_stable & (last < first) & (last <= NEAR * scale))


def _same_set(one: SettledSet, other: SettledSet) -> bool:
    if isinstance(one, Cycle) and isinstance(other, Cycle):
        return same_orbit(one.points, other.points)
    if isinstance(one, InvariantCircle) and isinstance(other, InvariantCircle):
        extent = float((other.points - other.points.mean(0)).norm(dim=1).max())
        gap = float(torch.cdist(one.points, other.points).amin(1).max())
        return one.num_components == other.num_components and gap <= (0.03 + SAME_CLOUD) * extent
    return False


def _merge_continua(settled: Settled) -> Settled:
    """Marginal cycles of one period, where there are several, as one continuum."""
    periods = [one.period if isinstance(one, Cycle) and one.is_marginal else 0 for one in settled.sets]
    repeated = sorted({p for p in periods if p and periods.count(p) > 1})
    if not repeated:
        return settled
    sets: list[SettledSet] = []
    clouds: list[Tensor] = []
    labels = settled.labels.clone()
    for index, period in enumerate(periods):
        if period not in repeated:
            labels[settled.labels == index] = len(sets)
            sets.append(settled.sets[index])
            clouds.append(settled.clouds[index])
    for period in repeated:
        rows = [index for index, own in enumerate(periods) if own == period]
        labels[torch.isin(settled.labels, torch.tensor(rows).to(labels))] = len(sets)
        members = [one for index in rows if isinstance(one := settled.sets[index], Cycle)]
        points = torch.stack([one.points for one in members])
        sets.append(Continuum(period, points, torch.stack([one.multipliers for one in members])))
        clouds.append(points.flatten(0, 1))
    return Settled(tuple(sets), tuple(clouds), labels)
