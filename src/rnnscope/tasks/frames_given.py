"""One's own labelled image sequences, from an NPZ file."""

import zipfile
import zlib
from pathlib import Path
from typing import Any, Literal

import numpy as np
from jaxtyping import Float

from rnnscope.core.errors import DataError, ShapeError
from rnnscope.core.interfaces import TaskSpec
from rnnscope.core.labelled import LabelledData, LabelledSet
from rnnscope.core.random import Streams
from rnnscope.core.spec import FilePath
from rnnscope.tasks.frames import Share, check_shares, frame_set, pixel_names, stratified
from rnnscope.tasks.given_file import given_file

Pixels = Literal["auto", "unit", "byte"]
RANK = "(sequences, frames, channels, height, width), none of them 0"


class Frames(TaskSpec):
    """Labelled image sequences from an NPZ file with the arrays `frames` (N, T, C, H, W) and `labels` (N,).

    Labels are words or whole numbers, in any numbering; their sorted values are the classes. An array `lengths` (N,) in 1 … T
    may tell how many frames of each sequence are real. Pixels end up in 0 … 1 and are not scaled otherwise.

    Fields:
        path: the file, kept as an absolute path. test_path: another one of the same form for the test part; without it
            `test_share` of the sequences become the test part.
        pixels: what the numbers mean. `unit`: 0 … 1, taken as they are. `byte`: 0 … 255, divided by 255. `auto`: unit where
            none is above 1, byte where all are whole numbers up to 255; anything else is refused.
        validation_share, test_share: of the sequences of each class, in (0, 1), together below 1.
    """

    path: FilePath = ""
    test_path: FilePath = ""
    pixels: Pixels = "auto"
    validation_share: Share = 0.15
    test_share: Share = 0.2

    def model_post_init(self, context: Any) -> None:
        check_shares(self.validation_share, self.test_share)

    def prepare(self, streams: Streams) -> LabelledData:
        arrays = read_arrays(self.path, "task.path")
        frames, scaled = unit_pixels(arrays["frames"], self.pixels, self.path)
        names = tuple(str(v) for v in np.unique(arrays["labels"]))
        whole = _as_set(frames, arrays, names, self.path)
        rng = streams.at("data", "split").numpy()
        if self.test_path:
            test = self._other(names, frames.shape[2:])
            train, validation = stratified(whole.labels.numpy(), (self.validation_share,), names, rng)
        else:
            shares = (self.validation_share, self.test_share)
            train, validation, own = stratified(whole.labels.numpy(), shares, names, rng)
            test = whole.take(own)
        frame = (frames.shape[2], frames.shape[3], frames.shape[4])
        return LabelledData(
            train=whole.take(train),
            validation=whole.take(validation),
            tests={"test": test},
            class_names=names,
            input_names=pixel_names(frame),
            frame=frame,
            rule=f"as labelled in {Path(self.path).name}",
            notes=(f"pixels {scaled}",),
        )

    def _other(self, names: tuple[str, ...], frame: tuple[int, ...]) -> LabelledSet:
        """The test part's own file."""
        arrays = read_arrays(self.test_path, "task.test_path")
        if arrays["frames"].shape[2:] != frame:
            raise ShapeError(
                f"frames of shape {arrays['frames'].shape[2:]} in task.test_path, of shape {frame} in task.path",
                "the same channels, height and width",
                "convert one of the files",
            )
        return _as_set(unit_pixels(arrays["frames"], self.pixels, self.test_path)[0], arrays, names, self.test_path)


def _as_set(frames: np.ndarray, arrays: dict[str, np.ndarray], names: tuple[str, ...], source: str) -> LabelledSet:
    """The sequences of one file, their labels numbered by `names`."""
    words = [str(v) for v in arrays["labels"].tolist()]
    strange = sorted(set(words) - set(names))
    if strange:
        raise DataError(
            f"'{source}' has the class '{strange[0]}', which the training part has not",
            f"one of: {', '.join(names)}",
            "leave those sequences out, or add some of them to task.path",
        )
    numbers = np.array([names.index(word) for word in words])
    return frame_set(frames, numbers, lengths=arrays.get("lengths"))


def read_new_frames(
    path: str, data: LabelledData, pixels: Pixels = "auto"
) -> tuple[tuple[str, ...], LabelledSet, tuple[str, ...]]:
    """Image sequences from an NPZ file for a network trained on `data`; labels are not needed.

    Returns:
        Ids (row numbers from 0), the sequences as the network reads them, and the labels that the file has ("" where none).

    Raises:
        ShapeError: frames of another shape than in training. DataError: a file or pixels that cannot be read.
    """
    arrays = read_arrays(path, "the file", labelled=False)
    if arrays["frames"].shape[2:] != data.frame:
        raise ShapeError(
            f"frames of shape {arrays['frames'].shape[2:]} in '{path}'",
            f"{data.frame}, channels, height and width as in training",
            "convert them",
        )
    count = len(arrays["frames"])
    part = frame_set(unit_pixels(arrays["frames"], pixels, path)[0], np.zeros(count, np.int64), lengths=arrays.get("lengths"))
    labels = tuple(str(v) for v in arrays["labels"].tolist()) if "labels" in arrays else ("",) * count
    return tuple(map(str, range(count))), part, labels


def read_arrays(path: str, field: str, *, labelled: bool = True) -> dict[str, np.ndarray]:
    """The arrays `frames`, `labels` and perhaps `lengths` of an NPZ file, their shapes checked.

    Args:
        path: the file. field: the setting that names it, for messages. labelled: whether there must be labels.

    Raises:
        ConfigError: no path. DataError: no such file, no NPZ, arrays missing, labels that are neither words nor whole numbers.
        ShapeError: frames of another rank, or labels or lengths that are not one per sequence.
    """
    wanted = "an NPZ file with the arrays frames and labels"
    found = _open(given_file(path, wanted=wanted, content=wanted, example="frames.npz", field=field))
    missing = [name for name in ("frames", *(["labels"] if labelled else [])) if name not in found]
    if missing:
        raise DataError(
            f"'{path}' has no array '{missing[0]}', but {', '.join(sorted(found)) or 'none at all'}",
            "the arrays frames (N, T, C, H, W) and labels (N,)",
            "np.savez(path, frames=frames, labels=labels)",
        )
    frames = found["frames"]
    if frames.ndim != 5 or 0 in frames.shape:
        hint = "add the axis of channels: frames[:, :, None]" if frames.ndim == 4 else "arrange them so"
        raise ShapeError(f"'{path}' has frames of shape {frames.shape}", RANK, hint)
    for name in ("labels", "lengths"):
        if name in found and found[name].shape != (len(frames),):
            raise ShapeError(
                f"'{path}' has {name} of shape {found[name].shape} beside {len(frames)} sequences",
                f"({len(frames)},)",
                f"give one of {name} per sequence",
            )
    if "lengths" in found and found["lengths"].dtype.kind not in "iu":
        raise DataError(f"'{path}' has lengths of type {found['lengths'].dtype}", "whole numbers", "store them as integers")
    return {**found, "labels": _names(found["labels"], path)} if "labels" in found else found


def _names(labels: np.ndarray, path: str) -> np.ndarray:
    """Labels that are words or whole numbers."""
    if labels.dtype.kind in "biuU":
        return labels
    if labels.dtype.kind == "f" and bool((labels == np.round(labels)).all()):
        return labels.astype(np.int64)
    raise DataError(
        f"'{path}' has labels of type {labels.dtype} that are no names", "whole numbers or words", "number the classes"
    )


def _open(file: Path) -> dict[str, np.ndarray]:
    try:
        if not zipfile.is_zipfile(file):
            raise ValueError("it is no archive of arrays")
        with np.load(file, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files if name in ("frames", "labels", "lengths")}
    except (ValueError, OSError, EOFError, KeyError, zipfile.BadZipFile, zlib.error) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        if "pickle" in reason.lower():
            reason = "it holds Python objects instead of numbers"
        raise DataError(
            f"'{file}' cannot be read: {reason}", "an NPZ file of plain arrays", "np.savez(path, frames=frames, labels=labels)"
        ) from None


def unit_pixels(frames: np.ndarray, pixels: Pixels, source: str) -> tuple[Float[np.ndarray, "N T C H W"], str]:
    """Pixels as float32 in 0 … 1, and in words what was done.

    Example:
        >>> import numpy as np
        >>> unit_pixels(np.array([[[[[0, 51, 255]]]]], np.uint8), "auto", "x.npz")[0].flatten().tolist()
        [0.0, 0.20000000298023224, 1.0]
    """
    if frames.dtype.kind not in "biuf":
        raise DataError(f"'{source}' has frames of type {frames.dtype}", "numbers in 0 … 1 or 0 … 255", "convert them")
    values = frames.astype(np.float32)
    if not np.isfinite(values).all():
        raise DataError(f"'{source}' has pixels that are NaN or infinite", "finite numbers", "fill them in, or leave those out")
    low, high = float(values.min()), float(values.max())
    meant = pixels
    if pixels == "auto":
        bytes_like = 1 < high <= 255 and bool((values == np.round(values)).all())
        meant = "byte" if bytes_like else "unit"
    top = 255.0 if meant == "byte" else 1.0
    if low < 0 or high > top:
        raise DataError(
            f"'{source}' has pixels from {low:.6g} to {high:.6g}",
            f"0 to {top:g}" if pixels != "auto" else "0 to 1, or whole numbers from 0 to 255",
            "scale them; task.pixels=byte divides any numbers in 0 … 255 by 255",
        )
    return values / np.float32(top), "divided by 255" if meant == "byte" else "taken as they are, in 0 … 1"
