"""What tasks of image sequences share, and frames of random pixels, on which there is nothing to learn."""

from typing import Annotated, Any

import numpy as np
from jaxtyping import Float, Int
from pydantic import Field

from rnnscope.core.errors import ConfigError, DataError
from rnnscope.core.interfaces import TaskSpec
from rnnscope.core.labelled import LabelledData, LabelledSet, labelled_set
from rnnscope.core.random import Streams
from rnnscope.core.spec import Positive

Share = Annotated[float, Field(gt=0.0, lt=1.0)]


class FramesRandom(TaskSpec):
    """Frames of uniform random pixels with labels that have nothing to do with them: there is nothing to learn.

    What a model scores on the training part it has learned by heart; on the test part no model can be better than chance.

    Fields:
        num_sequences: N >= 10, of all parts together. num_steps: T, frames of each. image_size: height and width, >= 2.
        num_channels: >= 1. num_classes: >= 2, equally often, in random order.
        validation_share, test_share: of the sequences of each class, in (0, 1), together below 1.
    """

    num_sequences: Annotated[int, Field(ge=10)] = 400
    num_steps: Positive = 8
    image_size: Annotated[int, Field(ge=2)] = 32
    num_channels: Positive = 3
    num_classes: Annotated[int, Field(ge=2)] = 10
    validation_share: Share = 0.1
    test_share: Share = 0.25

    def model_post_init(self, context: Any) -> None:
        check_shares(self.validation_share, self.test_share)

    def prepare(self, streams: Streams) -> LabelledData:
        frame = (self.num_channels, self.image_size, self.image_size)
        at = streams.at("data")
        pixels = at.at("pixels").numpy().random((self.num_sequences, self.num_steps, *frame), np.float32)
        labels = at.at("labels").numpy().permutation(np.arange(self.num_sequences) % self.num_classes)
        names = tuple(f"class {k}" for k in range(self.num_classes))
        whole = frame_set(pixels, labels)
        shares = (self.validation_share, self.test_share)
        train, validation, test = stratified(labels, shares, names, at.at("split").numpy())
        return LabelledData(
            train=whole.take(train),
            validation=whole.take(validation),
            tests={"test": whole.take(test)},
            class_names=names,
            input_names=pixel_names(frame),
            frame=frame,
            rule="none: pixels and labels are drawn independently of each other",
        )


def pixel_names(frame: tuple[int, int, int]) -> tuple[str, ...]:
    """A name for each pixel of a flattened frame (channels, height, width), in its order."""
    channels, height, width = frame
    return tuple(f"channel {c}, row {i}, column {j}" for c in range(channels) for i in range(height) for j in range(width))


def frame_set(frames: Float[np.ndarray, "N T C H W"], labels: Int[np.ndarray, " N"], **more: Any) -> LabelledSet:
    """Image sequences as a labelled set: each frame flattened; `more` as for `labelled_set`."""
    return labelled_set(frames.reshape(*frames.shape[:2], -1), labels, **more)


def check_shares(validation: float, test: float) -> None:
    """Refuse shares that leave nothing to train on."""
    if validation + test >= 1:
        raise ConfigError(
            f"task.validation_share={validation:g} and task.test_share={test:g} leave no sequence to train on",
            "shares that add up to less than 1",
            "set task.test_share=0.2",
        )


def stratified(
    labels: Int[np.ndarray, " N"], shares: tuple[float, ...], names: tuple[str, ...], rng: np.random.Generator
) -> list[Int[np.ndarray, " _"]]:
    """Row numbers of the rest and of one further part per share, with each class in every part.

    Args:
        labels: number of each row's class. shares: of each class that go to each further part, at least one row. names: of the
            classes, for the message.

    Raises:
        DataError: a class with too few rows to be in every part.
    """
    parts: list[list[np.ndarray]] = [[] for _ in range(len(shares) + 1)]
    for number, name in enumerate(names):
        rows = rng.permutation(np.flatnonzero(labels == number))
        counts = [max(1, round(share * len(rows))) for share in shares]
        if sum(counts) >= len(rows):
            raise DataError(
                f"there are {len(rows)} sequences of class '{name}', too few for {len(shares) + 1} parts",
                f"at least {len(shares) + 1} of each class, and smaller shares for few",
                "give more of them, or leave the class out",
            )
        for part, found in zip(parts, np.split(rows, np.cumsum(counts)), strict=True):
            part.append(found)
    *others, rest = (np.sort(np.concatenate(part)) for part in parts)
    return [rest, *others]
