"""Orbits that settle on no cycle: leading Lyapunov exponents along them, and what they run on (circle, chaos, or not told)."""

import math
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from rnnscope.dynamics.autonomous import AutonomousMap, is_bounded
from rnnscope.dynamics.invariant_circles import InvariantCircle, bump_weights, fit_circle
from rnnscope.dynamics.lyapunov_statistics import resolution

NUM_EXPONENTS = 3
NUM_BLOCKS = 20
FEW_TURNS = 20.0  # an orbit with fewer turns is lengthened
LONGER = 5
HIGH_PEAK = 0.5  # of an autocorrelation: lower ones are no period
TINY = 1e-300  # a stretching of exactly zero (dead units) reads as an exponent of ln 1e-300


@dataclass(frozen=True)
class OpenSet:
    """Where an orbit runs that neither closes nor lies on an invariant circle.

    Attributes:
        kind: "chaotic" (largest exponent above zero by more than 3 standard errors and 3 nats over the orbit, and over each of its
            halves) or "undetermined".
        points: states of the orbit, (K, S).
        exponents, exponent_errors: leading Lyapunov exponents in nats per step and their standard errors from 20 blocks, (E,).
        closest_return: smallest |h_{t+k} - h_t| within the longest period searched, relative to the extent.
        evidence: the reason in words.
    """

    kind: Literal["chaotic", "undetermined"]
    points: Float[Tensor, "K S"]
    exponents: Float[Tensor, " E"]
    exponent_errors: Float[Tensor, " E"]
    closest_return: float
    evidence: str

    @property
    def summary(self) -> str:
        """One line with its evidence."""
        return f"{self.kind}: {self.evidence}"


def examine_orbit(map: AutonomousMap, orbit: Float[Tensor, "T S"], max_period: int) -> InvariantCircle | OpenSet:
    """Decide what an orbit runs on that closes within no `max_period` steps.

    Args:
        orbit: T successive states after the transient, 20 turns or more (`record`).
    """
    fit = fit_circle(orbit)
    logs = tangent_logs(map, orbit, min(NUM_EXPONENTS, map.state_size))
    exponents, errors = _means(logs)
    nearest = closest_return(orbit, max_period)
    if fit is not None:
        smooth = bump_weights(len(logs)).to(logs) @ logs
        if abs(float(smooth[0])) * fit.steps_per_turn < 0.05:
            transverse = math.exp(float(smooth[1]) * fit.steps_per_turn) if len(smooth) > 1 else math.nan
            return InvariantCircle(
                fit.rotation / fit.components,
                fit.error / fit.components,
                fit.steps_per_turn,
                fit.components,
                fit.points,
                smooth,
                errors,
                transverse,
                fit.residual,
                nearest,
                len(orbit),
            )
    return _open_set(orbit, logs, exponents, errors, nearest, max_period)


def record(map: AutonomousMap, state: Float[Tensor, " S"], num_samples: int) -> Float[Tensor, "T S"]:
    """`num_samples` states from one on, or the five times as many that follow them where they make fewer than 20 turns."""
    orbit = map.orbits(state[None], num_samples)[0]
    if bool(is_bounded(orbit[None])) and slowest_turn(orbit) * FEW_TURNS > len(orbit):
        return map.orbits(orbit[-1:], LONGER * num_samples)[0]
    return orbit


def _open_set(orbit: Tensor, logs: Tensor, exponents: Tensor, errors: Tensor, nearest: float, max_period: int) -> OpenSet:
    first, error = float(exponents[0]), float(errors[0])
    halves = [float(part[:, 0].mean()) for part in logs.tensor_split(2)]
    numbers = f"largest exponent {first:.4g} ± {error:.1g} per step (halves {halves[0]:.4g}, {halves[1]:.4g})"
    returns = f"no return within {max_period} steps closer than {nearest:.1e} of the extent"
    # on orbits that shear or drift away differences grow in proportion to time: a few nats, most of them early
    grown = resolution(exponents.new_tensor([error, 0.0]), len(logs)).tolist()
    if first > grown[0] and min(halves) > 2 * grown[1]:
        return OpenSet("chaotic", orbit, exponents, errors, nearest, f"{numbers}; {returns}")
    if first < -3 * error:
        why = "orbits contract, so this is a slow approach or a longer cycle: raise num_transient or max_period"
    elif len(exponents) > 1 and abs(float(exponents[1])) <= 3 * float(errors[1]):
        why = "two exponents near zero and no curve through the orbit: perhaps a torus of higher dimension"
    else:
        why = "no curve through the orbit and no exponent clearly above zero: raise num_transient or num_samples"
    return OpenSet("undetermined", orbit, exponents, errors, nearest, f"{numbers}; {returns}; {why}")


def slowest_turn(orbit: Float[Tensor, "T S"]) -> float:
    """A rough period in steps: lag of the next high peak of the leading component's autocorrelation; 1 where there is none."""
    centred = orbit - orbit.mean(0)
    leading = centred @ torch.linalg.svd(centred, full_matrices=False)[2][0]
    power = torch.fft.rfft(leading, n=2 * len(leading)).abs() ** 2
    correlation = torch.fft.irfft(power)[: len(leading)]
    correlation = correlation / correlation[0].clamp_min(TINY)
    below = (correlation < 0).nonzero()
    if not len(below) or int(below[0]) > len(orbit) // 10:
        return float(len(orbit))
    after = int(below[0])
    peak = int(correlation[after:].argmax()) + after
    return float(peak) if float(correlation[peak]) > HIGH_PEAK else 1.0


def tangent_logs(map: AutonomousMap, orbit: Float[Tensor, "T S"], num_exponents: int) -> Float[Tensor, "U E"]:
    """ln of the stretching of E orthonormal tangent vectors at each step, the first tenth (alignment) dropped."""
    frame = torch.linalg.qr(torch.eye(map.state_size, num_exponents).to(orbit) + 0.1).Q
    logs = []
    for piece in orbit.split(max(1, 20_000_000 // map.state_size**2)):
        for jacobian in map.jacobians(piece):
            frame, stretch = torch.linalg.qr(jacobian @ frame)
            logs.append(stretch.diagonal().abs().clamp_min(TINY).log())
    return torch.stack(logs)[len(orbit) // 10 :]


def closest_return(orbit: Float[Tensor, "T S"], max_period: int, *, num_origins: int = 50) -> float:
    """Smallest |h_{t+k} - h_t| for k = 1 … max_period over evenly spread t, relative to the extent of the orbit."""
    longest = min(max_period, len(orbit) - 1)
    origins = torch.linspace(0, len(orbit) - 1 - longest, num_origins, dtype=torch.float64).long().unique()
    distances = torch.stack([(orbit[t + 1 : t + 1 + longest] - orbit[t]).norm(dim=1).min() for t in origins.tolist()])
    extent = float((orbit - orbit.mean(0)).norm(dim=1).max())
    return float(distances.min()) / max(extent, TINY)


def _means(logs: Float[Tensor, "U E"]) -> tuple[Float[Tensor, " E"], Float[Tensor, " E"]]:
    blocks = torch.stack([block.mean(0) for block in logs.tensor_split(NUM_BLOCKS)])
    return logs.mean(0), blocks.std(0) / math.sqrt(len(blocks))
