"""Learning-rate schedules and the cutting of streams."""

import math
from collections.abc import Iterator
from typing import Literal

Schedule = Literal["constant", "cosine", "hold", "exponential", "step", "plateau"]


def learning_rate(schedule: Schedule, start: float, final: float, warmup: float, progress: float, halvings: int) -> float:
    """The rate at a progress in [0, 1].

    Args:
        schedule: constant; cosine from start to final·start; hold: constant over the first half, then such a cosine;
            exponential to the same; step: a tenth at 1/2 and again at 3/4;
            plateau: start / 2^halvings. warmup: share of the progress over which the rate rises linearly from 0.
    """
    factor = 1.0 if not warmup or progress >= warmup else max(progress / warmup, 1e-6)
    if schedule == "cosine":
        factor *= final + (1 - final) * 0.5 * (1 + math.cos(math.pi * progress))
    elif schedule == "hold":
        factor *= final + (1 - final) * 0.5 * (1 + math.cos(math.pi * max(0.0, 2 * progress - 1)))
    elif schedule == "exponential":
        factor *= final**progress
    elif schedule == "step":
        factor *= 1.0 if progress < 0.5 else 0.1 if progress < 0.75 else 0.01
    elif schedule == "plateau":
        factor *= 0.5**halvings
    return start * factor


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
