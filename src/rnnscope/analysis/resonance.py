"""Stochastic resonance asked properly: switching rate and its regularity against the noise sd."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from rnnscope.analysis.homogeneity import Homogeneity, homogeneity
from rnnscope.core.driven import drive, dwell_times, switch_rate
from rnnscope.core.errors import ConfigError
from rnnscope.core.system import DynamicalSystem


@dataclass(frozen=True)
class Resonance:
    """Switching against noise.

    Attributes:
        noise_scales: sd of the noise, (K,). switch_rate: changes of argmax output per step, (K,).
        dwell_mean: mean length of complete dwells, in steps, (K,).
        dwell_cv: coefficient of variation of dwells divided by the mean of their symbol, (K,): sqrt(1 - p) for memoryless
            switching with probability p per step, towards 0 for a clock, above 1 for bursts; nan with fewer than 2 dwells.
        dwell_cv_error: its standard error, from dwells taken as independent, (K,).
        num_dwells: complete dwells seen, (K,).
        flat: the curves cannot depend on the noise, because the system is homogeneous.
        peak: noise sd of the most regular switching where this is an interior minimum of the cv, two standard errors below both
            ends; None when there is no such minimum.
        homogeneity: the evidence. reason: the verdict in words.
    """

    noise_scales: Float[Tensor, " K"]
    switch_rate: Float[Tensor, " K"]
    dwell_mean: Float[Tensor, " K"]
    dwell_cv: Float[Tensor, " K"]
    dwell_cv_error: Float[Tensor, " K"]
    num_dwells: Int[Tensor, " K"]
    flat: bool
    peak: float | None
    homogeneity: Homogeneity
    reason: str


def resonance(
    system: DynamicalSystem,
    rng: torch.Generator,
    *,
    noise_scales: tuple[float, ...] = (0.1, 0.2, 0.35, 0.5, 0.7, 1.0, 1.4, 2.0, 3.0, 5.0),
    num_steps: int = 500,
    num_paths: int = 120,
    burn_in: int = 100,
) -> Resonance:
    """Drive a system with noise of every sd, each time the same draws, and describe its dwells.

    In a bias-free ReLU network from h = 0 both curves are flat by theorem (`homogeneity`): no noise level is special, so there
    is no resonance to be found; what looks like one comes from comparing different draws. With biases or tanh there may be one: its
    sign (coherence resonance, Pikovsky & Kurths 1997) is a dwell-time cv that is lowest at an intermediate noise.

    Args:
        noise_scales: sds to try, at least three, increasing. num_steps, num_paths, burn_in: of each drive.

    Returns:
        `Resonance`.
    """
    if len(noise_scales) < 3 or any(b <= a for a, b in zip((0.0, *noise_scales), noise_scales, strict=False)):
        raise ConfigError(
            f"noise_scales {noise_scales}", "at least three, positive and increasing", "sort them and leave out zero"
        )
    found = homogeneity(system, rng)
    state, rows = rng.get_state(), []
    for scale in noise_scales:
        rng.set_state(state)
        paths = drive(system, num_steps, num_paths, rng, burn_in=burn_in, noise_scale=scale, stride=num_steps)
        rows.append((switch_rate(paths.symbols), *_dwell_statistics(*dwell_times(paths.symbols))))
    rate, mean, cv, error, count = torch.tensor(rows, dtype=torch.float64).unbind(1)
    scales = torch.tensor(noise_scales, dtype=torch.float64)
    lowest = int(cv.nan_to_num(nan=torch.inf).argmin())
    ends = [cv[i] - cv[lowest] > 2 * (error[i] ** 2 + error[lowest] ** 2).sqrt() for i in (_first(cv), _last(cv))]
    interior = _first(cv) < lowest < _last(cv) and all(bool(e) for e in ends)
    peak = float(scales[lowest]) if interior and not found.applies else None
    if found.applies:
        reason = f"flat: no stochastic resonance can exist, the network is {found.reason}"
    elif peak is None:
        reason = "not homogeneous, but no noise sd inside the range makes the dwells more regular than both ends"
    else:
        reason = f"dwells are most regular at noise sd {peak:.3g} (cv {float(cv[lowest]):.3f}); the network is {found.reason}"
    return Resonance(scales, rate, mean, cv, error, count.long(), found.applies, peak, found, reason)


def _dwell_statistics(dwells: Int[Tensor, " N"], symbols: Int[Tensor, " N"]) -> tuple[float, float, float, int]:
    """Mean, cv relative to each symbol's mean, standard error of the cv (delta method), count."""
    nan, count = float("nan"), len(dwells)
    if count < 2:
        return float(dwells[0]) if count else nan, nan, nan, count
    lengths = dwells.double()
    relative = lengths / (torch.bincount(symbols, weights=lengths) / torch.bincount(symbols))[symbols]
    variance = relative.var()
    cv = float(variance.sqrt())
    third, fourth = ((relative - 1) ** 3).mean(), ((relative - 1) ** 4).mean()
    influence = (fourth - variance**2) / (4 * variance.clamp_min(1e-12)) - third + variance**2
    return float(dwells.double().mean()), cv, float((influence.clamp_min(0.0) / count).sqrt()), count


def _first(values: Tensor) -> int:
    return int(torch.isfinite(values).long().argmax())


def _last(values: Tensor) -> int:
    return len(values) - 1 - int(torch.isfinite(values).flip(0).long().argmax())
