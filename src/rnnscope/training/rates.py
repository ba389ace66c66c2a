"""Schedules of the learning rate, of momentum and of forcing, and the cutting of streams."""

import math
from collections.abc import Iterator
from typing import Literal

Schedule = Literal["constant", "cosine", "hold", "exponential", "step", "plateau"]

ForcingSchedule = Literal["constant", "linear", "cosine"]
MomentumSchedule = Literal["constant", "rising"]
LOW = 0.9  # momentum at the end, Sutskever et al. 2013


def rising_momentum(update: int, largest: float, ending: bool) -> float:
    """μ_t = min(1 - 2^(-1 - log2(⌊t/250⌋ + 1)), μ_max), and at most 0.9 at the end (Sutskever et al. 2013, equation 5).

    Args:
        update: t, counted from 0. largest: μ_max, e.g. 0.99 or 0.995. ending: whether the training is about to end, when less
            momentum lets the weights settle.

    Example:
        >>> [rising_momentum(t, 0.99, False) for t in (0, 250, 1000, 100_000)], rising_momentum(100_000, 0.99, True)
        ([0.5, 0.75, 0.9, 0.99], 0.9)
    """
    risen = min(1 - 0.5 / (update // 250 + 1), largest)
    return min(risen, LOW) if ending else risen


def learning_rate(schedule: Schedule, start: float, final: float, warmup: float, progress: float, halvings: int) -> float:
    """The rate at a progress in [0, 1].

    Args:
        schedule: constant; cosine from start to final·start; hold: constant over the first half, then such a cosine;
            exponential to the same; step: a tenth at 1/2 and again at 3/4;
            plateau: constant but for the halvings, which divide any of them.
        warmup: share of the progress over which the rate rises linearly from 0. halvings: how often the rate was halved.
    """
    factor = (1.0 if not warmup or progress >= warmup else max(progress / warmup, 1e-6)) * 0.5**halvings
    if schedule == "cosine":
        factor *= final + (1 - final) * 0.5 * (1 + math.cos(math.pi * progress))
    elif schedule == "hold":
        factor *= final + (1 - final) * 0.5 * (1 + math.cos(math.pi * max(0.0, 2 * progress - 1)))
    elif schedule == "exponential":
        factor *= final**progress
    elif schedule == "step":
        factor *= 1.0 if progress < 0.5 else 0.1 if progress < 0.75 else 0.01
    return start * factor


def forcing_strength(schedule: ForcingSchedule, start: float, final: float, progress: float) -> float:
    """The weight of true inputs at a progress in [0, 1]: constant at `final`, or from `start` to it in a line or half a cosine.

    Example:
        >>> [round(forcing_strength(kind, 1.0, 0.2, 0.5), 3) for kind in ("constant", "linear", "cosine")]
        [0.2, 0.6, 0.6]
    """
    if schedule == "constant":
        return final
    left = 1 - progress if schedule == "linear" else 0.5 * (1 + math.cos(math.pi * progress))
    return final + (start - final) * left


def stretches(length: int, batch_size: int, truncation: int) -> tuple[int, int]:
    """How many parallel stretches a stream of `length` steps is cut into, and how long each is."""
    count = max(1, min(batch_size, length // max(1, truncation)))
    return count, length // count


def epoch_chunks(lengths: list[int], truncation: int, epoch: int, steps: int) -> list[tuple[int, slice]]:
    """(stream, slice) of every step of an epoch, streams of the given lengths.

    Args:
        epoch: counted from 0. steps: of an epoch, which goes on where the one before it ended, and around; 0: one whole pass.

    Example:
        >>> [piece.start for _, piece in epoch_chunks([50], 10, epoch=1, steps=3)]
        [30, 40, 0]
    """
    whole = [(number, piece) for number, length in enumerate(lengths) for piece in chunks(length, truncation)]
    return [whole[(epoch * steps + k) % len(whole)] for k in range(steps)] if steps else whole


def chunks(length: int, truncation: int) -> Iterator[slice]:
    """Consecutive slices of at most `truncation` steps."""
    for start in range(0, length, truncation):
        yield slice(start, min(start + truncation, length))
