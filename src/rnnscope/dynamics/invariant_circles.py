"""Invariant circles: closed curves that a map carries into themselves, turning by a fixed irrational part of a turn per step.

A continuous rhythm that is sampled every dt has no whole number of steps per turn: the map then has an invariant circle. On it
h_n = K(n ρ), with ρ the rotation number (turns per step) and K a closed curve with Fourier coefficients

    c_m = Σ_n w_n h_n exp(-2πi m ρ n),  w_n ∝ exp(-1 / (t (1 - t))),  t = (n + 1) / (T + 1).

These weighted averages converge faster than any power of T (Das, Sander, Saiki & Yorke 2017, Nonlinearity 30, 4111). Chaos and
tori of higher dimension have no such curve: what K predicts for steps that were not used is then wrong by the size of the set.
"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Complex, Float
from scipy.optimize import minimize_scalar
from torch import Tensor

ORDERS = (4, 8, 16, 32, 64, 128)  # Fourier orders tried
MAX_COMPONENTS = 6
MAX_HARMONIC = 3
FIT_LIMIT = 5e-3  # relative to the extent: worse predictions are no circle
CURVE_POINTS = 256


@dataclass(frozen=True)
class InvariantCircle:
    """A closed curve on which the map is a rotation (quasi-periodic motion).

    Attributes:
        rotation_number: ρ, turns per step, in (0, 1/2]: the sense of rotation is not told apart.
        rotation_error: |ρ from the first half - ρ from the second half| of the orbit.
        steps_per_turn: 1/ρ, the period in steps. With several components it counts steps of the map, not of F^c.
        num_components: c closed curves visited in turn; 1 is the usual case.
        points: the curve at 256 even phases, (M, S) (of one component).
        exponents, exponent_errors: leading Lyapunov exponents in nats per step, (K,); the first, along the curve, is 0.
        transverse_multiplier: exp(second exponent · steps_per_turn): how much of a distance from the curve is left after a turn;
            NaN where the state has one dimension.
        fit_residual: largest error of the curve's prediction for steps it was not fitted to, relative to the set's extent.
        closest_return: smallest distance between a state and any later one within the longest period searched, relative to the extent.
        num_samples: steps of the orbit behind these numbers.
    """

    rotation_number: float
    rotation_error: float
    steps_per_turn: float
    num_components: int
    points: Float[Tensor, "M S"]
    exponents: Float[Tensor, " K"]
    exponent_errors: Float[Tensor, " K"]
    transverse_multiplier: float
    fit_residual: float
    closest_return: float
    num_samples: int

    @property
    def is_attracting(self) -> bool:
        """Whether distances from the curve shrink."""
        return self.transverse_multiplier < 1 - 1e-6

    @property
    def summary(self) -> str:
        """One line with its evidence."""
        parts = f"{self.num_components} invariant circles in turn" if self.num_components > 1 else "invariant circle"
        return (
            f"{parts}, {self.steps_per_turn:.8g} steps per turn, transverse multiplier {self.transverse_multiplier:.4g} per turn "
            f"(largest exponent {float(self.exponents[0]):.1e} per step, curve predicts to {self.fit_residual:.1e} of its extent, "
            f"no return closer than {self.closest_return:.1e})"
        )


@dataclass(frozen=True)
class CircleFit:
    """A closed curve fitted to an orbit.

    Attributes:
        rotation: turns per step of F^components. error: its halves' difference. components: c.
        points: the curve, (M, S). residual: relative to the extent.
    """

    rotation: float
    error: float
    components: int
    points: Float[Tensor, "M S"]
    residual: float

    @property
    def steps_per_turn(self) -> float:
        """Steps of F for one turn."""
        return self.components / self.rotation


def fit_circle(orbit: Float[Tensor, "T S"], *, max_components: int = MAX_COMPONENTS) -> CircleFit | None:
    """The closed curve through an orbit, or None when no curve predicts it to 0.5 % of its extent."""
    for components in range(1, max_components + 1):
        fit = _fit_component(orbit[::components], components)
        if fit is not None:
            return fit
    return None


def bump_weights(length: int) -> Float[Tensor, " T"]:
    """w_n ∝ exp(-1 / (t (1 - t))), summing to one."""
    t = torch.arange(1, length + 1, dtype=torch.float64) / (length + 1)
    weights = torch.exp(-1 / (t * (1 - t)))
    return weights / weights.sum()


def _fit_component(orbit: Float[Tensor, "T S"], components: int) -> CircleFit | None:
    signal = _plane(orbit)
    line = _strongest_line(signal)
    for harmonic in range(1, MAX_HARMONIC + 1):
        for branch in range(harmonic):
            rotation = ((line + branch) / harmonic) % 1.0
            fit = _best_curve(orbit, rotation)
            if fit is not None:
                return _named(fit, signal, line, rotation, harmonic, components)
    return None


def _named(
    fit: tuple[Tensor, float], signal: Tensor, line: float, rotation: float, harmonic: int, components: int
) -> CircleFit:
    half = len(signal) // 2
    lines = [_refine(part, line) for part in (signal[:half], signal[half:])]
    return CircleFit(min(rotation, 1 - rotation), abs(lines[0] - lines[1]) / harmonic, components, *fit)


def _plane(orbit: Float[Tensor, "T S"]) -> Complex[Tensor, " T"]:
    """The orbit in the plane of its two leading principal components, as complex numbers of equal variance."""
    centred = orbit - bump_weights(len(orbit)).to(orbit) @ orbit
    scores, sizes, _ = torch.linalg.svd(centred, full_matrices=False)
    second = scores[:, 1] if scores.shape[1] > 1 and sizes[1] > 1e-9 * sizes[0] else torch.zeros_like(scores[:, 0])
    return torch.complex(scores[:, 0], second)


def _strongest_line(signal: Complex[Tensor, " T"]) -> float:
    """Frequency, in turns per step, of the strongest spectral line away from zero."""
    length = len(signal)
    power = torch.fft.fft(bump_weights(length).to(signal) * signal).abs()
    power[0] = 0.0
    return _refine(signal, int(power.argmax()) / length)


def _refine(signal: Complex[Tensor, " T"], guess: float) -> float:
    """The frequency near a guess that maximises |Σ w_n z_n exp(-2πi f n)| (Laskar's frequency analysis)."""
    length = len(signal)
    weighted = bump_weights(length).to(signal) * signal
    times = torch.arange(length, dtype=torch.float64, device=signal.device)

    weighted = weighted * torch.exp(-2j * math.pi * guess * times)

    def height(offset: float) -> float:
        return -float((weighted * torch.exp(-2j * math.pi * offset * times)).sum().abs())

    reach = 1.5 / length
    return guess + float(minimize_scalar(height, bounds=(-reach, reach), method="bounded", options={"xatol": 1e-14}).x)


def _best_curve(orbit: Float[Tensor, "T S"], rotation: float) -> tuple[Float[Tensor, "M S"], float] | None:
    """The Fourier curve of the order that predicts the last quarter best, and its error relative to the extent."""
    used = 3 * len(orbit) // 4
    weights = bump_weights(used).to(orbit)
    mean = weights @ orbit[:used]
    extent = float((orbit - mean).norm(dim=1).max())
    phases = rotation * torch.arange(len(orbit), dtype=torch.float64, device=orbit.device)
    waves = torch.exp(2j * math.pi * torch.outer(phases, torch.arange(1, ORDERS[-1] + 1).to(phases)))
    coefficients = (waves[:used].conj() * weights[:, None]).T @ (orbit[:used] - mean).to(waves)
    errors = [
        float((mean + 2 * (waves[used:, :m] @ coefficients[:m]).real - orbit[used:]).norm(dim=1).max()) / max(extent, 1e-300)
        for m in ORDERS
    ]
    best = min(range(len(ORDERS)), key=lambda i: errors[i])
    if not errors[best] <= FIT_LIMIT:
        return None
    order, even = ORDERS[best], torch.arange(CURVE_POINTS).to(phases) / CURVE_POINTS
    shape = torch.exp(2j * math.pi * torch.outer(even, torch.arange(1, order + 1).to(phases)))
    return mean + 2 * (shape @ coefficients[:order]).real, errors[best]
