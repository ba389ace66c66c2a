"""Observations in the forms users have them, brought to padded arrays; the first bad value is named with its place."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from rnnscope.core.errors import DataError

MISSING = -1


@dataclass(frozen=True)
class Observations:
    """Sequences padded to one length.

    Attributes:
        values: symbols (N, T), int32, -1 where missing; or vectors (N, T, D), float64, NaN where missing.
        lengths: valid steps of each, (N,). single: whether one bare sequence was given, so that answers come without the axis N.
    """

    values: np.ndarray
    lengths: np.ndarray
    single: bool

    @property
    def num_observed(self) -> int:
        """Steps with at least one observed value."""
        inside = np.arange(self.values.shape[1]) < self.lengths[:, None]
        seen = self.values >= 0 if self.values.ndim == 2 else np.isfinite(self.values).any(2)
        return int((inside & seen).sum())

    def take(self, rows: np.ndarray) -> "Observations":
        """Some of the sequences."""
        longest = max(1, int(self.lengths[rows].max()))
        return Observations(self.values[rows, :longest], self.lengths[rows], False)


def symbols(x: Any, lengths: Any = None, num_symbols: int | None = None) -> Observations:
    """Symbol sequences: (T,), (N, T), a list of them, or one-hot (N, T, K); integers from 0, missing ones -1 or NaN."""
    arrays, single, lengths = _sequences(x, 1, lengths)
    if arrays and all(a.ndim == 2 for a in arrays):
        arrays = [_from_one_hot(a, n) for n, a in enumerate(arrays)]
    found = []
    for n, array in enumerate(arrays):
        if array.ndim != 1:
            raise DataError(
                f"symbols of shape {np.shape(x)}", "(T,), (N, T) or one-hot (N, T, K)", "put time on the second axis"
            )
        if array.dtype.kind not in "iufb":
            raise DataError(f"symbols of type {array.dtype}", "whole numbers", "number your symbols 0, 1, 2, …")
        clean = np.where(np.isnan(array), MISSING, array) if array.dtype.kind == "f" else array
        with np.errstate(invalid="ignore"):
            bad = (clean != np.floor(clean)) | (clean < MISSING) | ~np.isfinite(clean)
        if num_symbols is not None:
            bad |= clean >= num_symbols
        if bad[: lengths[n]].any():
            t = int(np.argmax(bad))
            alphabet = f"0 … {num_symbols - 1}" if num_symbols is not None else "0, 1, 2, …"
            raise DataError(
                f"symbol {clean[t]!s} at position {t} of sequence {n}",
                f"whole numbers {alphabet} (-1 or NaN where missing)",
                "renumber the symbols, or use a model with more of them",
            )
        found.append(clean)
    width = max(len(a) for a in found)
    values = np.full((len(found), width), MISSING, dtype=np.int32)
    for n, array in enumerate(found):
        values[n, : lengths[n]] = array[: lengths[n]]
    return Observations(values, lengths, single)


def vectors(x: Any, lengths: Any = None, num_features: int | None = None) -> Observations:
    """Vector sequences: (T,) for one feature, (T, D), (N, T, D), or a list of (T_n, D); NaN where missing."""
    listed = isinstance(x, list | tuple) and len(x) > 0 and np.ndim(x[0]) > 0
    if not listed and np.ndim(x) == 1:
        x = np.asarray(x)[:, None]
    elif listed and np.ndim(x[0]) == 1:
        x = [np.asarray(one)[:, None] for one in x]
    arrays, single, lengths = _sequences(x, 2, lengths)
    size = arrays[0].shape[-1] if arrays[0].ndim == 2 else 0
    for n, array in enumerate(arrays):
        if array.ndim != 2 or array.shape[1] != size or size == 0:
            raise DataError(f"vectors of shape {array.shape} in sequence {n}", "(T, D)", "give one row per step")
        if array.dtype.kind not in "iufb":
            raise DataError(f"values of type {array.dtype}", "numbers", "convert the columns to numbers")
        if np.isinf(array[: lengths[n]]).any():
            t = int(np.argmax(np.isinf(array).any(1)))
            raise DataError(f"an infinite value at position {t} of sequence {n}", "finite values, or NaN", "mark it as NaN")
    if num_features is not None and size != num_features:
        raise DataError(
            f"vectors with {size} features", f"{num_features} features", "give the columns that the model was made for"
        )
    width = max(len(a) for a in arrays)
    values = np.full((len(arrays), width, size), np.nan)
    for n, array in enumerate(arrays):
        values[n, : lengths[n]] = array[: lengths[n]]
    return Observations(values, lengths, single)


def _from_one_hot(array: np.ndarray, number: int) -> np.ndarray:
    good = np.isin(array, (0, 1)).all(1) & (array.sum(1) == 1)
    if not good.all():
        t = int(np.argmin(good))
        raise DataError(
            f"row {array[t].tolist()} at position {t} of sequence {number}", "one-hot rows", "give whole numbers instead"
        )
    return array.argmax(1)


def _sequences(x: Any, single_ndim: int, lengths: Any) -> tuple[list[np.ndarray], bool, np.ndarray]:
    """A list of arrays (T_n, …), whether a single bare sequence was given, and the lengths."""
    if isinstance(x, torch.Tensor):
        x = x.detach().cpu().numpy()
    ragged = isinstance(x, Sequence) and not isinstance(x, str) and len(x) > 0 and np.ndim(x[0]) > 0
    if ragged:
        arrays, single = [np.asarray(one) for one in x], False
    else:
        array = np.asarray(x)
        single = array.ndim == single_ndim
        if array.ndim < single_ndim or array.ndim > single_ndim + 2:
            raise DataError(
                f"observations of shape {array.shape}", "(time, …) or (sequence, time, …)", "give an array of sequences"
            )
        arrays = [array] if single else list(array)
    if not arrays:
        raise DataError("no sequences", "at least one", "check the selection that made them")
    for n, array in enumerate(arrays):
        if array.ndim == 0 or len(array) == 0:
            raise DataError(f"sequence {n} is empty", "at least one step", "drop empty sequences")
    sizes = np.array([len(a) for a in arrays])
    if lengths is None:
        return arrays, single, sizes
    given = np.atleast_1d(np.asarray(lengths))
    if given.shape != sizes.shape or given.dtype.kind not in "iu":
        raise DataError(f"lengths of shape {given.shape}", f"{len(arrays)} whole numbers", "give one length per sequence")
    bad = (given < 1) | (given > sizes)
    if bad.any():
        n = int(np.argmax(bad))
        raise DataError(f"length {given[n]} of sequence {n}", f"1 … {sizes[n]}", "lengths count the valid steps of each row")
    return arrays, single, given.astype(np.int64)
