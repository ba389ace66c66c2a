"""How long each visited state keeps its output under fresh noise, the zones this makes, and how far noise spreads in each.

Axis names as everywhere: M visited states, Y symbols, G mixtures, S state, X input features.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from rnnscope.core.driven import fill_noise, own
from rnnscope.core.errors import ConfigError
from rnnscope.core.system import DynamicalSystem

ZONES = ("transition", "kick zone", "cluster")


@dataclass(frozen=True)
class Residency:
    """Steps until the output changes.

    Attributes:
        mean_steps: mean over roll-outs of min(steps until argmax first differs from that of the state itself, horizon),
            (M,), in steps, >= 1: the restricted mean, a lower bound of the mean where anything was censored.
        censored_share: share of roll-outs that had not changed by the horizon, (M,).
        symbols: argmax output of each state, (M,).
        horizon: longest roll-out. num_rollouts: per state.
    """

    mean_steps: Float[Tensor, " M"]
    censored_share: Float[Tensor, " M"]
    symbols: Int[Tensor, " M"]
    horizon: int
    num_rollouts: int

    @property
    def total_censored_share(self) -> float:
        return float(self.censored_share.mean())


@torch.no_grad()
def residency(
    system: DynamicalSystem,
    states: Float[Tensor, "M S"],
    rng: torch.Generator,
    *,
    num_rollouts: int = 20,
    horizon: int = 50,
    noise_scale: float = 1.0,
    batch: int = 4000,
) -> Residency:
    """From each state, roll out under fresh noise until the output symbol changes.

    Roll-outs that have changed leave the batch, so the cost is the number of steps actually waited.

    Args:
        states: visited states, (M, S). num_rollouts: R. horizon: steps after which a roll-out is censored.
        batch: roll-outs side by side; memory is batch · S numbers.

    Returns:
        `Residency`.
    """
    if min(num_rollouts, horizon, batch) < 1:
        raise ConfigError(f"num_rollouts {num_rollouts}, horizon {horizon}", "counts >= 1", "raise the one that is zero")
    symbols = system.readout(states).argmax(-1)
    waited = torch.full((len(states) * num_rollouts,), horizon, dtype=torch.float64, device=states.device)
    censored = torch.ones_like(waited)
    for numbers in torch.arange(len(waited), device=states.device).split(batch):
        alive, state = numbers, states[numbers // num_rollouts]
        for step in range(1, horizon + 1):
            noise = state.new_empty(len(alive), system.input_size)
            fill_noise(noise, rng, noise_scale)
            state = own(system.step(state, noise), noise)
            same = system.readout(state).argmax(-1) == symbols[alive // num_rollouts]
            gone = alive[~same]
            waited[gone], censored[gone] = step, 0.0
            alive, state = alive[same], state[same]
            if not len(alive):
                break
    per_state = (len(states), num_rollouts)
    return Residency(
        waited.view(per_state).mean(1), censored.view(per_state).mean(1), symbols.to(torch.int16), horizon, num_rollouts
    )


@dataclass(frozen=True)
class Zones:
    """Visited states sorted by residency: transition (0) < `transition` steps <= kick zone (1) <= `cluster` steps < cluster (2).

    Attributes:
        zone: number of each state's zone, (M,); the names are `ZONES`.
        shares: share of the states in each zone, (3,).
        shares_by_symbol: the same among the states of each output symbol, (Y, 3); nan for a symbol that was not visited.
        num_unstable: mean number of eigenvalues outside the unit circle per zone, (3,); nan where unknown or empty.
        transition, cluster: the thresholds, in steps.
    """

    zone: Int[Tensor, " M"]
    shares: Float[Tensor, "3"]
    shares_by_symbol: Float[Tensor, "Y 3"]
    num_unstable: Float[Tensor, "3"]
    transition: float
    cluster: float


def zones(
    found: Residency,
    num_symbols: int,
    *,
    num_unstable: Int[Tensor, " M"] | None = None,
    transition: float = 2.0,
    cluster: float = 8.0,
) -> Zones:
    """Sort states into transition, kick zone and cluster.

    Args:
        found: what `residency` returned; its horizon must exceed `cluster`. num_symbols: Y.
        num_unstable: unstable directions of each state, from `driven_jacobian.driven_spectra`, (M,).
        transition, cluster: thresholds in steps; the study's are 2 and 8.

    Returns:
        `Zones`.
    """
    if not 0 < transition < cluster < found.horizon:
        raise ConfigError(
            f"thresholds {transition} and {cluster} at horizon {found.horizon}",
            "0 < transition < cluster < horizon",
            "take a longer horizon in residency(…) or a lower `cluster`",
        )
    steps = found.mean_steps
    zone = (steps >= transition).long() + (steps > cluster).long()
    member = torch.nn.functional.one_hot(zone, 3).double()
    visited = torch.nn.functional.one_hot(found.symbols.long(), num_symbols).double()
    unstable = torch.full((3,), float("nan"), dtype=torch.float64, device=zone.device)
    if num_unstable is not None:
        unstable = (member * num_unstable.double()[:, None]).sum(0) / member.sum(0)
    shares = visited.T @ member / visited.sum(0)[:, None]
    return Zones(zone, member.mean(0), shares, unstable, transition, cluster)


@dataclass(frozen=True)
class NoiseSensitivity:
    """How far replicas under partly fresh noise drift apart.

    Attributes:
        mix: shares g of fresh noise, (G,).
        spread: of each state, (G, M): sqrt(mean over replicas |h - mean h|²) / |mean h| after `steps` steps.
        by_zone: mean spread per zone, (G, 3), and its standard error, `error`; nan for an empty zone.
        changed_by_zone: share of replicas whose symbol after `steps` differs from the recorded path's, (G, 3).
        steps, num_replicas: as asked for.
    """

    mix: Float[Tensor, " G"]
    spread: Float[Tensor, "G M"]
    by_zone: Float[Tensor, "G 3"]
    error: Float[Tensor, "G 3"]
    changed_by_zone: Float[Tensor, "G 3"]
    steps: int
    num_replicas: int


@torch.no_grad()
def noise_sensitivity(
    system: DynamicalSystem,
    states: Float[Tensor, "M S"],
    inputs: Float[Tensor, "M T X"],
    zone: Int[Tensor, " M"],
    rng: torch.Generator,
    *,
    mix: tuple[float, ...] = (0.0, 0.5, 1.0),
    num_replicas: int = 32,
    noise_scale: float = 1.0,
) -> NoiseSensitivity:
    """Replay the recorded input mixed with fresh noise, x_t = (1 - g) recorded + g fresh, and measure the spread at the end.

    As in the study the two parts are added linearly, so that at g = 1/2 the input's variance is half of the recorded one's.
    At g = 0 nothing is fresh and the spread is 0.

    Args:
        states: where the replicas start, (M, S). inputs: what followed there on the recorded path, (M, steps, X).
        zone: from `zones`, (M,). mix: the shares g. num_replicas: per state and g, >= 2.

    Returns:
        `NoiseSensitivity`.
    """
    count, steps = inputs.shape[:2]
    recorded = states
    for x in inputs.unbind(1):
        recorded = system.step(recorded, x)
    symbols = system.readout(recorded).argmax(-1)
    spread = torch.empty(len(mix), count, dtype=torch.float64, device=states.device)
    changed = torch.empty_like(spread)
    for row, share in enumerate(mix):
        state = states.repeat_interleave(num_replicas, 0)
        for x in inputs.unbind(1):
            fresh = state.new_empty(len(state), system.input_size)
            fill_noise(fresh, rng, share * noise_scale)
            state = system.step(state, (1 - share) * x.repeat_interleave(num_replicas, 0) + fresh)
        replicas = state.view(count, num_replicas, -1)
        mean = replicas.mean(1)
        rms = (replicas - mean[:, None]).double().square().sum(-1).mean(1).sqrt()
        spread[row] = rms / mean.norm(dim=-1).double().clamp_min(1e-300)
        ends = system.readout(state).argmax(-1).view(count, num_replicas)
        changed[row] = (ends != symbols[:, None]).double().mean(1)
    member = torch.nn.functional.one_hot(zone.long(), 3).double()
    sizes = member.sum(0)
    by_zone = spread @ member / sizes
    variance = (spread**2) @ member / sizes - by_zone**2
    return NoiseSensitivity(
        torch.tensor(mix, dtype=torch.float64),
        spread,
        by_zone,
        (variance.clamp_min(0.0) / sizes).sqrt(),
        changed @ member / sizes,
        steps,
        num_replicas,
    )
