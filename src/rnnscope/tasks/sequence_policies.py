"""What is done to sequences from files before a network reads them: gaps, unequal lengths, scale, parts."""

import numpy as np
from jaxtyping import Float, Int

from rnnscope.core.errors import DataError

Values = tuple[np.ndarray, ...]


def interpolated(values: Float[np.ndarray, "T X"]) -> Float[np.ndarray, "T X"]:
    """Gaps filled linearly over the step number, by the nearest value at the ends; a feature without any value stays NaN.

    Example:
        >>> import numpy as np
        >>> interpolated(np.array([[np.nan], [1.0], [np.nan], [3.0]]))[:, 0].tolist()
        [1.0, 1.0, 2.0, 3.0]
    """
    done, steps = values.copy(), np.arange(len(values))
    for feature in range(values.shape[1]):
        gaps = np.isnan(values[:, feature])
        if gaps.any() and not gaps.all():
            done[gaps, feature] = np.interp(steps[gaps], steps[~gaps], values[~gaps, feature])
    return done


def resampled(values: Float[np.ndarray, "T X"], num_steps: int) -> Float[np.ndarray, "N X"]:
    """A sequence stretched or squeezed linearly to `num_steps` steps; its ends stay.

    Example:
        >>> import numpy as np
        >>> resampled(np.array([[0.0], [1.0], [4.0]]), 5)[:, 0].tolist()
        [0.0, 0.5, 1.0, 2.5, 4.0]
    """
    if len(values) == num_steps:
        return values
    at = np.linspace(0, len(values) - 1, num_steps)
    return np.stack([np.interp(at, np.arange(len(values)), column) for column in values.T], 1)


def statistics(values: Values) -> tuple[Float[np.ndarray, " X"], Float[np.ndarray, " X"]]:
    """Mean and sd of each feature over all steps that were measured; sd 1 for a constant one, mean 0 where nothing was."""
    pooled = np.concatenate(values)
    there = ~np.isnan(pooled)
    count = np.maximum(there.sum(0), 1)
    mean = np.where(there, pooled, 0.0).sum(0) / count
    sd = np.sqrt((np.where(there, pooled - mean, 0.0) ** 2).sum(0) / count)
    return mean, np.where(sd > 1e-9 * np.maximum(1.0, np.abs(mean)), sd, 1.0)


def scaled(values: Values, mean: np.ndarray, sd: np.ndarray) -> Values:
    """(x - mean) / sd, and zero where a number is missing."""
    return tuple(np.nan_to_num((v - mean) / sd, nan=0.0) for v in values)


def padded(values: Values) -> tuple[Float[np.ndarray, "N T X"], Int[np.ndarray, " N"] | None]:
    """Sequences side by side with zeros behind their ends, and their lengths where these differ."""
    lengths = np.array([len(v) for v in values])
    found = np.zeros((len(values), int(lengths.max()), values[0].shape[1]))
    for row, one in zip(found, values, strict=True):
        row[: len(one)] = one
    return found, None if lengths.min() == lengths.max() else lengths


def held_out(
    labels: tuple[str, ...], groups: tuple[str, ...], share: float, rng: np.random.Generator
) -> tuple[Int[np.ndarray, " _"], Int[np.ndarray, " _"]]:
    """Numbers of the sequences that stay and of those held out: of each class about `share`, whole groups where there are any.

    Without groups each class of two or more sequences has at least one on either side. With groups, these are taken in random
    order, each if the classes held out come closer to their shares by it.

    Raises:
        DataError: nothing could be held out, or no class would remain.
    """
    chosen = _by_group(labels, groups, share, rng) if groups else _by_class(labels, share, rng)
    if not chosen.any() or chosen.all():
        raise DataError(
            f"{len(labels)} sequences{f' of {len(set(groups))} groups' if groups else ''} leave nothing to hold out at a share "
            f"of {share:g}",
            "two sequences of a class, or two groups",
            "give more sequences, another share, or a file of its own as task.test_path",
        )
    return np.flatnonzero(~chosen), np.flatnonzero(chosen)


def _by_class(labels: tuple[str, ...], share: float, rng: np.random.Generator) -> np.ndarray:
    chosen = np.zeros(len(labels), bool)
    for name in sorted(set(labels)):
        rows = rng.permutation(np.flatnonzero(np.array(labels) == name))
        if len(rows) > 1:
            chosen[rows[: min(max(1, round(share * len(rows))), len(rows) - 1)]] = True
    return chosen


def _by_group(labels: tuple[str, ...], groups: tuple[str, ...], share: float, rng: np.random.Generator) -> np.ndarray:
    classes, codes = np.unique(np.array(labels), return_inverse=True)
    wanted = share * np.bincount(codes, minlength=len(classes))
    names = np.array(groups)
    chosen, taken = np.zeros(len(labels), bool), np.zeros(len(classes))
    for name in rng.permutation(np.unique(names)):
        rows = names == name
        with_it = taken + np.bincount(codes[rows], minlength=len(classes))
        if np.abs(with_it - wanted).sum() < np.abs(taken - wanted).sum():
            chosen, taken = chosen | rows, with_it
    return chosen
