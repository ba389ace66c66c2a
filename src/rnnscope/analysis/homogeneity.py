"""Positive homogeneity of networks without biases: what scaling the noise does.

Let F(h, x) = relu(W_h h + W_x x) and G(h) = A h. For s > 0, relu(s a) = s relu(a), so F(s h, s x) = s F(h, x). From h_0 = 0,
by induction:

    noise s x_t instead of x_t  gives  s h_t instead of h_t and s y_t instead of y_t, at every t.

So the radius of the orbit is linear in the noise sd, the argmax output does not depend on it at all, F(0, 0) = 0, and no
noise level is special: there can be no stochastic resonance. F is not differentiable at 0, so no eigenvalues belong to that
fixed point; see `rnnscope.dynamics.limiting_rays` for what replaces them. With biases, or with tanh, none of this holds.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from rnnscope.core.driven import fill_noise
from rnnscope.core.errors import ConfigError
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
