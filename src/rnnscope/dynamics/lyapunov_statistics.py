"""What finite-time exponents say: standard errors, Kaplan-Yorke dimension, and the kind of motion.

Axis names: B trajectories, W windows of equal length along each, K exponents.
"""

import math
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor

Kind = Literal["settles", "periodic", "quasi-periodic", "chaotic", "undecided"]
NUM_BLOCKS = 8
NATS_OF_A_RUN = 3.0  # a zero exponent's growth stays bounded: it comes out within about so much over the length of a run


def blocked_error(local: Float[Tensor, "B W *K"]) -> Float[Tensor, "*K"]:
    """Standard error of the mean over windows and trajectories, from the means of blocks of windows (Flyvbjerg & Petersen 1989).

    Trajectories at one time share transients and inputs, so that they count as one: the blocks are 8 successive parts of their
    mean. Trajectories may also differ for good: where there are at least 8, the error from their own means is taken if larger.
    """
    error = _error(_joined(local.mean(0), NUM_BLOCKS))
    return torch.maximum(error, _error(local.mean(1))) if len(local) >= 8 else error


def _joined(series: Float[Tensor, "W *K"], count: int) -> Float[Tensor, "N *K"]:
    """Means of `count` successive parts of equal length; the windows themselves where they are fewer."""
    joined = max(1, len(series) // count)
    count = len(series) // joined
    return series[: count * joined].unflatten(0, (count, joined)).mean(1)


def _error(values: Float[Tensor, "N *K"]) -> Float[Tensor, "*K"]:
    """sd/sqrt(N); infinite for one value; 0 where a value is -inf, which no further step can change."""
    if len(values) < 2:
        return torch.full_like(values[0], torch.inf)
    error = values.std(0) / math.sqrt(len(values))
    return torch.where(torch.isfinite(values).all(0), error, 0.0)


def resolution(standard_errors: Float[Tensor, " K"], num_steps: int) -> Float[Tensor, " K"]:
    """How far from zero an exponent per step must be to differ from it: 3 standard errors + 3 nats over the run."""
    return 3 * standard_errors + NATS_OF_A_RUN / num_steps


@dataclass(frozen=True)
class Dimension:
    """Kaplan-Yorke dimension and its standard error, or nan and the reason."""

    value: float
    error: float
    reason: str


def kaplan_yorke(exponents: Float[Tensor, " K"], local: Float[Tensor, "B W K"], state_size: int) -> Dimension:
    """D = j + (λ_1 + … + λ_j)/|λ_{j+1}|, j the most exponents whose sum is >= 0 (Kaplan & Yorke 1979).

    Its standard error comes from the same blocks as the exponents' own, through D linearised at their means, so that the
    correlations between exponents are in it.
    """
    sums = exponents.cumsum(0)
    below = (sums < 0).nonzero()
    if not len(below):
        if len(exponents) == state_size:
            return Dimension(float(state_size), 0.0, "the exponents sum to at least 0: the whole state space")
        reason = f"the first {len(exponents)} of {state_size} exponents sum to {float(sums[-1]):.3g} >= 0: compute more"
        return Dimension(math.nan, math.nan, reason)
    j = int(below[0])
    if j == 0:
        return Dimension(0.0, 0.0, "the largest exponent is negative")
    total, following = float(sums[j - 1]), float(exponents[j])
    reason = f"the first {j} exponents sum to {total:.4g}, the next is {following:.4g}"
    if math.isinf(following):
        return Dimension(float(j), 0.0, reason)
    linear = local[..., :j].sum(-1) / abs(following) + local[..., j] * total / following**2
    return Dimension(j + total / abs(following), float(blocked_error(linear)), reason)


@dataclass(frozen=True)
class Verdict:
    """The kind of motion, and the numbers that say so."""

    kind: Kind
    evidence: str


def classify(
    exponents: Float[Tensor, " K"],
    errors: Float[Tensor, " K"],
    local: Float[Tensor, "B W K"],
    num_steps: int,
    *,
    is_flow: bool,
    is_conditional: bool,
) -> Verdict:
    """The kind of motion from exponents per step, largest first; see `LyapunovSpectrum.kind`.

    A zero exponent of a regular motion grows by a bounded amount, one that happens to be near zero wanders like √T. So the
    largest is believed to be zero only where its growth in every trajectory stays within 12 nats or its tolerance is at its floor.
    """
    tolerances = resolution(errors, num_steps)
    largest, tolerance = float(exponents[0]), float(tolerances[0])
    positive, neutral = int((exponents > tolerances).sum()), int((exponents.abs() <= tolerances).sum())
    shown = f"largest exponent {largest:.4g} ± {float(errors[0]):.1g} per step (within ±{tolerance:.1g} it counts as zero)"
    if positive:
        return Verdict("chaotic", f"{shown}; {positive} positive, {neutral} compatible with zero")
    if largest < -tolerance:
        meaning = "the input decides the state" if is_conditional else "a stable fixed point or cycle"
        return Verdict("settles", f"{shown}: {meaning}")
    growth = local[..., 0].cumsum(1) * (num_steps / local.shape[1])
    wander = float((growth.amax(1) - growth.amin(1)).max())
    if wander > 4 * NATS_OF_A_RUN and tolerance > 4 * NATS_OF_A_RUN / num_steps:
        return Verdict("undecided", f"{shown}: compatible with zero, but its growth wanders by {wander:.3g} nats; run longer")
    if is_flow and neutral == 1:
        return Verdict("periodic", f"{shown}; one exponent compatible with zero, the direction of the flow")
    dimension = f"{neutral} exponent{'s' if neutral > 1 else ''} compatible with zero"
    return Verdict("quasi-periodic", f"{shown}; {dimension}: an invariant torus, or a continuum of fixed points or cycles")


def drifts(local: Float[Tensor, "B W K"], num_steps: int) -> Bool[Tensor, " K"]:
    """Whether the first and the second half differ by more than 4 times what their own fluctuations, and 3 nats, explain."""
    blocks = _joined(local.mean(0), 2 * NUM_BLOCKS)
    first, second = blocks[: len(blocks) // 2], blocks[len(blocks) // 2 :]
    error = (_error(first).square() + _error(second).square()).sqrt()
    difference = (first.mean(0) - second.mean(0)).abs()
    return difference > 4 * error + NATS_OF_A_RUN / num_steps  # nan, from -inf in both halves, is no drift


def disagree(local: Float[Tensor, "B W K"], num_steps: int) -> bool:
    """Whether trajectories differ by more than their own fluctuations: several attractors, or too short a run."""
    means = local.mean(1)
    finite = torch.isfinite(means).all(0)
    if len(local) < 2 or not bool(finite.any()):
        return False
    within = torch.stack([blocked_error(row[None]) for row in local[..., finite]]).square().mean(0).sqrt()
    spread = means[:, finite].amax(0) - means[:, finite].amin(0)
    return bool((spread > 8 * within + 2 * NATS_OF_A_RUN / num_steps).any())
