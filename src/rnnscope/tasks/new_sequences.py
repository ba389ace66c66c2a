"""New sequences for a trained classifier: read as its task reads, scaled as its training part was, and answered."""

import dataclasses

import numpy as np
import pandas as pd

from rnnscope.core.errors import ConfigError, DataError
from rnnscope.core.interfaces import TaskSpec, TrainingData
from rnnscope.core.labelled import LabelledData, LabelledSet, class_probabilities
from rnnscope.core.system import SequenceModel
from rnnscope.tasks.frames_given import Frames, read_new_frames
from rnnscope.tasks.labelled import Labelled
from rnnscope.tasks.sequences import select_features


def classify_file(path: str, model: SequenceModel, data: TrainingData, task: TaskSpec) -> pd.DataFrame:
    """The class of every sequence in a file.

    Args:
        path: .ts, CSV, TSV, TXT or Parquet, in long or wide format; NPZ for images. model: trained on `data`. task: that prepared them; one of
            files says how columns are called, what is missing and how lengths are made equal.

    Returns:
        One row per sequence: `id`, `label`, `probability <class>` of each class, and `actual` where the file has labels.

    Raises:
        ConfigError: the run classifies no sequences. DataError: columns, lengths or values that do not fit the training data.
    """
    if not isinstance(data, LabelledData):
        raise ConfigError(
            "this run classifies no sequences", "a run of a classification task: labelled, pattern, …", "choose another run"
        )
    ids, part, labels = read_new(path, data, task)
    probabilities = class_probabilities(model, part)
    chosen = probabilities.argmax(1)
    found: dict[str, object] = {"id": list(ids), "label": [data.class_names[k] for k in chosen]}
    found |= {f"probability {name}": probabilities[:, k] for k, name in enumerate(data.class_names)}
    if any(labels):
        found["actual"] = list(labels)
    return pd.DataFrame(found)


def read_new(path: str, data: LabelledData, task: TaskSpec) -> tuple[tuple[str, ...], LabelledSet, tuple[str, ...]]:
    """Ids, sequences as the network reads them, and the labels that the file has ("" where it has none)."""
    if data.frame:  # images do not fit into a table
        return read_new_frames(path, data, task.pixels if isinstance(task, Frames) else "auto")
    own = task if isinstance(task, Labelled) else Labelled(lengths="pad", scaling="none")
    fixed = data.train.num_steps if data.train.lengths is None else 0
    found = select_features(own.read_new(path, data.input_names, fixed), data.input_names, "the training data")
    if fixed and own.lengths not in ("pad", "resample"):
        wrong = np.flatnonzero(found.lengths != fixed)
        if len(wrong):
            raise DataError(
                f"sequence '{found.ids[wrong[0]]}' of {found.source} has {found.lengths[wrong[0]]} steps",
                f"{fixed} steps, as all sequences that it was trained on",
                "give sequences of that length, or train with task.lengths=pad or task.lengths=resample",
            )
    filled = own.filled(found, fixed if fixed and own.lengths == "resample" else None)
    bare = dataclasses.replace(found, labels=("",) * len(found.ids))
    return found.ids, own.as_set(filled, bare, data.class_names, data.mean, data.sd), found.labels
