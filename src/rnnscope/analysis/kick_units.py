"""Kick units: found by asking which units' loss keeps outputs from switching, not read off a list.

Axis names as everywhere: S state, U units of a group, P candidates, K gains, W window, Y symbols.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from rnnscope.analysis.unit_gain import InputGain, Switching, UnitGain, switching
from rnnscope.core.driven import symbol_shares
from rnnscope.core.errors import DataError
from rnnscope.core.jacobians import input_jacobians, state_jacobians
from rnnscope.core.system import DynamicalSystem


@dataclass(frozen=True)
class KickUnits:
    """The group a greedy search arrived at.

    Attributes:
        units: in the order in which they were added, (U,); empty when no ablation kept outputs from switching.
        score: mean over common symbols of (exit rate / intact exit rate) after each addition, (U,): 1 as intact, 0 no switch left.
        rate: switch rate after each addition relative to the intact one, (U,). preservation: of the clusters, (U,).
        single_score: the score of each unit ablated alone, (S,); nan for units that are never active or blow the system up.
        single_highest_exit: highest relative exit rate among common symbols with each unit ablated alone, (S,).
        intact_rate: switches per step. common: symbols that count, those with at least a share of `min_share` of the starts, (Y,).
        reason: why the search stopped.
    """

    units: Int[Tensor, " U"]
    score: Float[Tensor, " U"]
    rate: Float[Tensor, " U"]
    preservation: Float[Tensor, " U"]
    single_score: Float[Tensor, " S"]
    single_highest_exit: Float[Tensor, " S"]
    intact_rate: float
    common: Bool[Tensor, " Y"]
    reason: str


def find_kick_units(
    system: DynamicalSystem,
    starts: Float[Tensor, "B S"],
    rng: torch.Generator,
    *,
    max_units: int = 6,
    num_candidates: int = 24,
    num_steps: int = 150,
    min_share: float = 0.05,
    max_exit: float = 1.5,
    min_gain: float = 0.05,
    noise_scale: float = 1.0,
) -> KickUnits:
    """Silence every unit alone, then add to the group, one by one, the unit whose silencing leaves fewest switches.

    A group is scored by its exit rates: changes away from a symbol per step spent in it, relative to the intact system, averaged over the
    common symbols. A unit that kicks out of one cluster only lowers one of them. A unit that a cluster is made of raises the
    exit rate of that cluster when it is silenced, since the cluster falls apart; groups with any relative exit rate above `max_exit`
    are not admitted. All candidates get the same starts and the same noise.

    Args:
        starts: driven states, 64 or more; common symbols must be among their outputs.
        max_units: largest group. num_candidates: the best single units that take part in the greedy rounds.
        num_steps: per path. The number of switches seen, about B · num_steps · rate, sets the sampling error.
        min_gain: a round must lower the score by so much, or the search stops: above the sampling error of the score.

    Returns:
        `KickUnits`.
    """
    state, size = rng.get_state(), system.state_size
    symbols = system.readout(starts).argmax(-1)
    common = symbol_shares(symbols, system.output_size).to(starts.device) >= min_share

    def ask(silenced: Bool[Tensor, "P S"]) -> Switching:
        return _same_noise(system, silenced, starts, rng, state, num_steps, noise_scale)

    intact = ask(torch.zeros(1, size, dtype=torch.bool, device=starts.device))
    common &= intact.exit_rates[0] > 0
    if not bool(common.any()):
        raise DataError(
            "no output ever switches in the intact system", "switches to explain", "drive longer or with more noise"
        )
    single, highest = _alone(starts, ask, intact, common)
    pool = single.masked_fill(highest > max_exit, torch.inf).nan_to_num(nan=torch.inf)
    candidates = [int(u) for u in pool.argsort()[:num_candidates] if torch.isfinite(pool[u])]

    def grow(chosen: list[int], left: list[int]) -> tuple[int, _Round]:
        found = ask(_groups(chosen, left, size, starts.device))
        score, exits = _scores(found, intact, common)
        score = score.masked_fill(exits > max_exit, torch.inf).nan_to_num(nan=torch.inf)
        w = int(score.argmin())
        return left[w], (float(score[w]), float(found.rate[w] / intact.rate[0]), float(found.preservation[w]))

    chosen, trace, reason = _greedy(candidates, grow, max_units, min_gain)
    score, rate, preservation = torch.tensor(trace, dtype=torch.float64).reshape(-1, 3).unbind(1)
    units = torch.tensor(chosen, dtype=torch.long, device=starts.device)
    return KickUnits(units, score, rate, preservation, single, highest, float(intact.rate[0]), common, reason)


_Round = tuple[float, float, float]


def _greedy(
    candidates: list[int],
    grow: Callable[[list[int], list[int]], tuple[int, _Round]],
    max_units: int,
    min_gain: float,
) -> tuple[list[int], list[_Round], str]:
    """Units in the order of their addition, score, relative rate and preservation of each round, and why it stopped."""
    chosen: list[int] = []
    trace: list[_Round] = []
    best = 1.0
    while len(chosen) < max_units:
        left = [u for u in candidates if u not in chosen]
        if not left:
            return chosen, trace, "no candidate is left"
        unit, outcome = grow(chosen, left)
        if not outcome[0] <= best - min_gain:
            return chosen, trace, f"no further unit lowers the score by {min_gain}"
        best = outcome[0]
        chosen.append(unit)
        trace.append(outcome)
    return chosen, trace, f"the group reached max_units = {max_units}"


def _same_noise(
    system: DynamicalSystem,
    silenced: Bool[Tensor, "P S"],
    starts: Tensor,
    rng: torch.Generator,
    state: Tensor,
    num_steps: int,
    noise_scale: float,
) -> Switching:
    """Switching of all candidates in blocks that fit the cache, each under the noise that follows `state`."""
    parts = []
    for block in silenced.split(max(1, 1024 // len(starts))):
        rng.set_state(state)
        gains = UnitGain(system, (~block).to(starts.dtype))
        parts.append(switching(gains, len(block), starts, rng, num_steps=num_steps, noise_scale=noise_scale))
    return Switching(*(torch.cat(column) for column in zip(*(vars(p).values() for p in parts), strict=True)))


def _scores(found: Switching, intact: Switching, common: Bool[Tensor, " Y"]) -> tuple[Tensor, Tensor]:
    """Mean and highest relative exit rate over the common symbols, (P,) each; nan where a common symbol has no visits."""
    relative = (found.exit_rates / intact.exit_rates)[:, common]
    return relative.mean(1), relative.amax(1)


def _alone(
    starts: Tensor, ask: Callable[[Tensor], Switching], intact: Switching, common: Bool[Tensor, " Y"]
) -> tuple[Float[Tensor, " S"], Float[Tensor, " S"]]:
    """Score and highest relative exit rate of every unit alone; nan for the units that no start shows active."""
    size = starts.shape[1]
    single, highest = (torch.full((size,), torch.nan, dtype=torch.float64, device=starts.device) for _ in range(2))
    active = (starts != 0).any(0).nonzero()[:, 0].tolist()
    single[active], highest[active] = _scores(ask(_groups([], active, size, starts.device)), intact, common)
    return single, highest


def _groups(chosen: list[int], added: list[int], size: int, device: torch.device) -> Bool[Tensor, "P S"]:
    """One row per candidate: the chosen units and one more."""
    silenced = torch.zeros(len(added), size, dtype=torch.bool, device=device)
    silenced[:, chosen] = True
    silenced[torch.arange(len(added)), added] = True
    return silenced


@dataclass(frozen=True)
class Opposition:
    """How the incoming weights of a group of units agree or oppose.

    Attributes:
        units: (U,). input_cosine, recurrent_cosine: cosine between the units' mean derivatives with respect to the input and
            to the state, (U, U); for a ReLU network these are the cosines of the rows of W_x and W_h.
        population: +1 or -1 for each unit: the sign of its entry in the leading eigenvector of the input cosines, (U,).
        within, between: mean input cosine of pairs inside a population and across; nan without such pairs.
        recurrent_within, recurrent_between: the same of the recurrent cosines.
    """

    units: Int[Tensor, " U"]
    input_cosine: Float[Tensor, "U U"]
    recurrent_cosine: Float[Tensor, "U U"]
    population: Int[Tensor, " U"]
    within: float
    between: float
    recurrent_within: float
    recurrent_between: float


def opposition(
    system: DynamicalSystem, states: Float[Tensor, "N S"], inputs: Float[Tensor, "N X"], units: Int[Tensor, " U"]
) -> Opposition:
    """Compare what drives each of some units, by the mean Jacobians along a driven path.

    Args:
        states: h_{t-1}, (N, S). inputs: x_t, (N, X). units: at least two, each active at some of the states.

    Returns:
        `Opposition`.
    """
    driven = input_jacobians(system, states, inputs).mean(0)[units].double()
    recurrent = state_jacobians(system, states, inputs).mean(0)[units].double()
    by_input, by_state = _cosines(driven), _cosines(recurrent)
    leading = torch.linalg.eigh(by_input).eigenvectors[:, -1]
    population = torch.where(leading * leading[0].sign() < 0, -1, 1)
    pairs = torch.triu(torch.ones_like(by_input), 1).bool()
    same = (population[:, None] == population) & pairs
    other = (population[:, None] != population) & pairs
    return Opposition(
        units,
        by_input,
        by_state,
        population,
        float(by_input[same].mean()),
        float(by_input[other].mean()),
        float(by_state[same].mean()),
        float(by_state[other].mean()),
    )


def _cosines(rows: Float[Tensor, "U X"]) -> Float[Tensor, "U U"]:
    unit = rows / rows.norm(dim=1, keepdim=True).clamp_min(1e-300)
    return (unit @ unit.T).clamp(-1.0, 1.0)


@dataclass(frozen=True)
class SwitchAverages:
    """Activity of units around changes of output.

    Attributes:
        units: (U,). lags: -window … window, (W,); the first step with the new symbol has lag 0.
        mean, error: mean over switches of each unit's state and its standard error, (W, U).
        baseline: mean state of the units over all steps, (U,).
        num_switches: how many were averaged. origin, target: the symbols, or None for any.
    """

    units: Int[Tensor, " U"]
    lags: Int[Tensor, " W"]
    mean: Float[Tensor, "W U"]
    error: Float[Tensor, "W U"]
    baseline: Float[Tensor, " U"]
    num_switches: int
    origin: int | None
    target: int | None


def switch_averages(
    states: Float[Tensor, "B T S"],
    symbols: Int[Tensor, "B T"],
    units: Int[Tensor, " U"],
    *,
    window: int = 20,
    origin: int | None = None,
    target: int | None = None,
) -> SwitchAverages:
    """Average units around switches, optionally only those from symbol `origin` to symbol `target`.

    Args:
        states, symbols: of driven paths with stride 1. window: steps before and after; switches nearer to an end are left out.

    Returns:
        `SwitchAverages`; the means are nan without a switch.
    """
    if states.shape[:2] != symbols.shape:
        raise DataError(f"states of {states.shape[1]} steps, symbols of {symbols.shape[1]}", "as many", "drive with stride = 1")
    changed = symbols[:, 1:] != symbols[:, :-1]
    if origin is not None:
        changed &= symbols[:, :-1] == origin
    if target is not None:
        changed &= symbols[:, 1:] == target
    row, time = changed.nonzero(as_tuple=True)
    time = time + 1
    inside = (time >= window) & (time < symbols.shape[1] - window)
    row, time = row[inside], time[inside]
    lags = torch.arange(-window, window + 1, device=symbols.device)
    chosen = states[:, :, units]
    around = chosen[row[:, None], time[:, None] + lags].double()
    error = around.std(0, correction=1) / max(1, len(row)) ** 0.5 if len(row) > 1 else torch.full_like(around.sum(0), torch.nan)
    return SwitchAverages(units, lags, around.mean(0), error, chosen.double().mean((0, 1)), len(row), origin, target)


@dataclass(frozen=True)
class GainSweep:
    """Switching against a gain on a group of units, and on random groups of the same size.

    Attributes:
        gains: (K,). target: "output" scales the units' states after every step, "noise" the input they receive.
        rate, preservation, mean_norm: of the group at each gain, (K,); nan or infinite where it left every bound.
        control_rate: mean over the control groups, (K,), nan where one of them left every bound; `control_sd` their standard deviation.
        units: the group, (U,). controls: the control groups, (R, U).
    """

    gains: Float[Tensor, " K"]
    target: Literal["output", "noise"]
    rate: Float[Tensor, " K"]
    preservation: Float[Tensor, " K"]
    mean_norm: Float[Tensor, " K"]
    control_rate: Float[Tensor, " K"]
    control_sd: Float[Tensor, " K"]
    units: Int[Tensor, " U"]
    controls: Int[Tensor, "R U"]


def gain_sweep(
    system: DynamicalSystem,
    starts: Float[Tensor, "B S"],
    units: Int[Tensor, " U"],
    rng: torch.Generator,
    *,
    target: Literal["output", "noise"] = "output",
    gains: Sequence[float] = (0.0, 0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 1.75, 2.0),
    num_controls: int = 4,
    num_steps: int = 150,
    noise_scale: float = 1.0,
) -> GainSweep:
    """Turn a group of units, or the noise they receive, up and down.

    Every gain and every group gets the same starts and the same noise, so all curves meet at gain 1.

    Args:
        starts: driven states; controls are drawn from units that are active in some of them and not in the group.
        target: "output": h_i = g F_i(h, x). "noise": h_i = F_i(h, g x), for the units i of the group only.
        num_controls: random groups of the same size.

    Returns:
        `GainSweep`.
    """
    factors = torch.tensor(list(gains), dtype=starts.dtype, device=starts.device)
    active = (starts != 0).any(0)
    active[units] = False
    others = active.nonzero()[:, 0]
    if len(others) < len(units):
        raise DataError(f"{len(others)} active units outside the group", f"at least {len(units)}", "take a smaller group")
    draws = [
        others[torch.randperm(len(others), generator=rng, device=rng.device).to(others.device)] for _ in range(num_controls)
    ]
    controls = torch.stack([d[: len(units)] for d in draws]) if draws else units.new_zeros(0, len(units))
    state, curves = rng.get_state(), []
    for group in (units, *controls):
        member = torch.zeros(system.state_size, dtype=torch.bool, device=starts.device)
        member[group] = True
        scaled: DynamicalSystem = InputGain(system, member, factors)
        if target == "output":
            scaled = UnitGain(system, torch.where(member, factors[:, None], 1.0))
        rng.set_state(state)
        curves.append(switching(scaled, len(factors), starts, rng, num_steps=num_steps, noise_scale=noise_scale))
    own, rates = curves[0], torch.stack([c.rate for c in curves[1:]] or [torch.full_like(curves[0].rate, torch.nan)])
    return GainSweep(
        factors.double(),
        target,
        own.rate,
        own.preservation,
        own.mean_norm,
        rates.mean(0),
        rates.std(0, correction=0),
        units,
        controls,
    )
