"""Positive homogeneity of networks without biases, and the limiting rays that replace the Jacobian at their fixed point.

Let F(h, x) = relu(W_h h + W_x x) and G(h) = A h. For s > 0, relu(s a) = s relu(a), so F(s h, s x) = s F(h, x). From h_0 = 0,
by induction:

    noise s x_t instead of x_t  gives  s h_t instead of h_t and s y_t instead of y_t, at every t.

So the radius of the orbit is linear in the noise sd, the argmax output does not depend on it at all, F(0, 0) = 0, and no
noise level is special: there can be no stochastic resonance. F is not differentiable at 0, so no eigenvalues belong to that
fixed point. The autonomous map h -> F(h, 0) maps rays to rays instead; a ray it maps to itself (or a cycle of rays) has
a factor |F(u, 0)| per step, below 1 where the ray leads into 0. With biases, or with tanh, none of this holds.
"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from rnnscope.core.driven import fill_noise
from rnnscope.core.errors import ConfigError, DataError
from rnnscope.core.system import DynamicalSystem

SPECIAL = 1e4  # a deviation of so many rounding units is still rounding


@dataclass(frozen=True)
class Homogeneity:
    """Whether scaling the noise scales the states.

    Attributes:
        applies: the system is positively homogeneous from its initial state, to rounding.
        scales: the factors s tried, (K,).
        deviation: largest |h(s x) - s h(x)| / |h(x)| over paths and steps, for each s, (K,); for s > 1 relative to s |h(x)|.
        argmax_equal: share of steps whose argmax output is the same, (K,).
        radius: mean |h| at each s, (K,), and `unit_radius` at s = 1: linear in s where the theorem applies.
        fixed_point_speed: |F(h_0, 0) - h_0| at the initial state: 0 where it is a fixed point.
        tolerance: the deviation up to which `applies` holds. reason: the verdict in words.
    """

    applies: bool
    scales: Float[Tensor, " K"]
    deviation: Float[Tensor, " K"]
    argmax_equal: Float[Tensor, " K"]
    radius: Float[Tensor, " K"]
    unit_radius: float
    fixed_point_speed: float
    tolerance: float
    reason: str


@torch.no_grad()
def homogeneity(
    system: DynamicalSystem,
    rng: torch.Generator,
    *,
    scales: tuple[float, ...] = (0.5, 2.0, 3.0),
    num_steps: int = 200,
    num_paths: int = 32,
) -> Homogeneity:
    """Drive a system with x_t and with s x_t side by side, and compare h(s x) with s h(x).

    Rounding makes the difference about 1e-15 in float64, 1e-6 in float32; use `core.driven.in_double` for a sharp answer. Where
    paths are expanding (Jacobians of radius above 1 in a row) rounding grows with them.

    Args:
        scales: positive factors s. num_steps, num_paths: length and number of the paths, from the initial state.

    Returns:
        `Homogeneity`; `applies` asks for deviations below 1e4 rounding units of the system's dtype and for F(h_0, 0) = h_0 = 0.
    """
    if min(scales) <= 0:
        raise ConfigError(f"scales {scales}", "positive factors", "leave out zero and negative ones")
    start = system.initial_state(num_paths)
    factors = torch.tensor((1.0, *scales), dtype=start.dtype, device=start.device)[:, None, None]
    count, size = len(factors), system.state_size
    state = start.repeat(count, 1)
    noise = start.new_empty(num_paths, system.input_size)
    deviation, radius = start.new_zeros(count), start.new_zeros(count)
    equal = torch.zeros(count, dtype=torch.float64, device=start.device)
    for _ in range(num_steps):
        fill_noise(noise, rng)
        state = system.step(state, (factors * noise).reshape(count * num_paths, -1))
        rows = state.view(count, num_paths, size)
        norm = rows.norm(dim=-1)
        wanted = factors[..., 0].clamp_min(1.0) * norm[0]
        gap = (rows - factors * rows[0]).norm(dim=-1) / wanted.clamp_min(torch.finfo(start.dtype).tiny)
        deviation = torch.maximum(deviation, torch.where(wanted > 0, gap, norm).amax(1))
        symbols = system.readout(state).argmax(-1).view(count, num_paths)
        equal += (symbols == symbols[0]).double().mean(1)
        radius += norm.mean(1)
    silence = start.new_zeros(num_paths, system.input_size)
    speed = float((system.step(start, silence) - start).norm(dim=-1).max())
    tolerance = SPECIAL * torch.finfo(start.dtype).eps
    worst = float(deviation.max())
    at_zero = speed == 0.0 and not bool(start.any())
    applies = worst <= tolerance and at_zero
    return Homogeneity(
        applies,
        factors[1:, 0, 0].double(),
        deviation[1:].double(),
        equal[1:] / num_steps,
        (radius[1:] / num_steps).double(),
        float(radius[0] / num_steps),
        speed,
        tolerance,
        _reason(applies, worst, tolerance, at_zero, float(equal.min()) / num_steps),
    )


def _reason(applies: bool, worst: float, tolerance: float, at_zero: bool, equal: float) -> str:
    shown = (
        f"scaling the noise scales the states to within {worst:.1e} and leaves {100 * equal:.4g} % of argmax outputs unchanged"
    )
    if applies:
        return f"positively homogeneous: {shown}; h = 0 is the fixed point"
    if not at_zero:
        return f"not homogeneous: the initial state is not a fixed point at zero; {shown}"
    return f"not homogeneous: {shown} (allowed: {tolerance:.1e})"


@dataclass(frozen=True)
class Rays:
    """Where directions go under h -> F(h, 0) of a homogeneous system.

    Attributes:
        directions: unit vectors u with F(u, 0) = rate · u, the most attracting first, (K, S); of a cycle, one of its members.
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


@torch.no_grad()
def limiting_rays(
    system: DynamicalSystem,
    starts: Float[Tensor, "N S"],
    *,
    num_steps: int = 3000,
    max_period: int = 12,
    tolerance: float | None = None,
    merge: float = 1e-3,
) -> Rays:
    """Iterate u <- F(u, 0) / |F(u, 0)| until the direction repeats, and merge the directions found.

    Args:
        starts: driven states and random positive ones, (N, S); zero rows are not allowed.
        num_steps: iterations. max_period: longest cycle of directions looked for.
        tolerance: |u_t - u_{t-p}| that counts as converged; the square root of the dtype's rounding unit when None.
        merge: directions closer than this are one ray.

    Returns:
        `Rays`, sorted by basin share.
    """
    length = starts.norm(dim=-1, keepdim=True)
    if not bool((length > 0).all()):
        raise DataError("a start of length zero", "directions", "leave out starts at the fixed point")
    tolerance = math.sqrt(torch.finfo(starts.dtype).eps) if tolerance is None else tolerance
    unit, vanished = starts / length, torch.zeros(len(starts), dtype=torch.bool, device=starts.device)
    silence = starts.new_zeros(len(starts), system.input_size)
    history, step = [unit], 0
    period = torch.zeros(len(starts), dtype=torch.long, device=starts.device)
    logs = starts.new_zeros(num_steps, len(starts), dtype=torch.float64)
    for step in range(num_steps):
        new = system.step(unit, silence)
        length = new.norm(dim=-1, keepdim=True)
        vanished |= length[:, 0] == 0
        logs[step] = length[:, 0].double().clamp_min(1e-300).log()
        unit = torch.where(length > 0, new / length.clamp_min(torch.finfo(new.dtype).tiny), unit)
        history = [*history[-max_period:], unit]
        if step % 100 == 99 or step == num_steps - 1:
            period = _period(history, tolerance)
            if bool(((period > 0) | vanished).all()):
                break
    past, logs, period[vanished] = torch.stack(history), logs[: step + 1], 0
    ray, members = _merge(past, period, merge)
    rates = torch.stack([logs[-int(period[m]) :, m].mean().exp() for m in members]) if members else logs.new_zeros(0)
    counts = torch.bincount(ray[ray >= 0], minlength=len(members)).double()
    order = counts.argsort(descending=True, stable=True)
    place = torch.cat([order.argsort(), order.new_full((1,), -1)])
    chosen = torch.tensor(members, dtype=torch.long, device=starts.device)[order]
    lost = (period == 0) & ~vanished
    open_rate = float(logs[len(logs) // 2 :, lost].mean().exp()) if bool(lost.any()) else math.nan
    return Rays(
        unit[chosen],
        rates[order],
        period[chosen],
        counts[order] / counts.sum().clamp_min(1),
        place[ray],
        int((period > 0).sum()),
        int(vanished.sum()),
        int(lost.sum()),
        open_rate,
        _ray_deviation(system, unit[chosen]),
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


def _ray_deviation(system: DynamicalSystem, unit: Float[Tensor, "K S"]) -> float:
    if not len(unit):
        return math.nan
    silence = unit.new_zeros(len(unit), system.input_size)
    once, twice = system.step(unit, silence), system.step(2 * unit, silence)
    return float(((twice - 2 * once).norm(dim=-1) / once.norm(dim=-1)).max())
