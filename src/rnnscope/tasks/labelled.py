"""One's own labelled sequences: files, or the UCR/UEA archives of time-series classification."""

from collections import Counter
from typing import Literal

import numpy as np

from rnnscope.core.errors import ConfigError, DataError
from rnnscope.core.interfaces import TaskSpec
from rnnscope.core.labelled import LabelledData, LabelledSet, labelled_set
from rnnscope.core.random import Streams
from rnnscope.core.spec import FilePath, Fraction
from rnnscope.tasks.sequence_files import Format, read_sequences
from rnnscope.tasks.sequence_policies import Values, held_out, interpolated, padded, resampled, scaled, statistics
from rnnscope.tasks.sequences import Columns, Sequences, select_features

Missing = Literal["error", "interpolate", "zero"]
Lengths = Literal["auto", "error", "pad", "resample"]
Scaling = Literal["none", "standard", "per_sequence"]


class Labelled(TaskSpec):
    """Classify whole sequences that come from files.

    Fields:
        path: training sequences; kept as an absolute path. test_path: test sequences; "": a stratified share of `path`.
        format: auto; ts (.ts of the UCR/UEA archives); long (a row per step, a column that tells sequences apart); wide (a row
            per sequence, one feature; without a header line the label comes first, as in the UCR archive, or last).
        sequence, step, label, group: columns of a table, by their usual names when "" (sequence, id, …; step, time, t; label,
            class; no group). label may be first or last where there is no header line. Sequences of one group (a person, a device) are
            kept in one part. features: columns to read; all others when ().
        missing: `error`; `interpolate` linearly over the step number, the nearest value at the ends; `zero` after scaling. A
            feature that is missing throughout a sequence is zero after scaling.
        lengths: of unequal sequences. `pad`: each ends where it ends, what pads it is masked. `resample`: stretched linearly to
            the longest training sequence. `error`. `auto`: pad where a .ts file declares @equalLength false, else error.
        scaling: `standard`: each feature to mean 0 and sd 1 over the training part; `per_sequence`: over each sequence, which forgets
            level and size; `none`.
        test: share of each class for the test part where there is no test_path. validation: share of the training part, in [0, 1);
            0: none, and training goes on for a fixed number of epochs.
        balance: weigh classes in the loss by 1 / their share of the training part.
    """

    path: FilePath = ""
    test_path: FilePath = ""
    format: Format = "auto"
    sequence: str = ""
    step: str = ""
    label: str = ""
    group: str = ""
    features: tuple[str, ...] = ()
    missing: Missing = "error"
    lengths: Lengths = "auto"
    scaling: Scaling = "standard"
    test: Fraction = 0.25
    validation: Fraction = 0.0
    balance: bool = False

    def prepare(self, streams: Streams) -> LabelledData:
        whole = self.read(self.path)
        whole.require_labels()
        sets = self._parts(whole, streams)
        _refuse_unseen(sets)
        names = class_order(sets["train"].labels)
        num_steps = self.num_steps(sets["train"], list(sets.values()))
        filled = {name: self.filled(part, num_steps) for name, part in sets.items()}
        mean, sd = statistics(filled["train"]) if self.scaling == "standard" else (None, None)
        known = {name: self.as_set(filled[name], part, names, mean, sd) for name, part in sets.items()}
        return LabelledData(
            train=known["train"],
            validation=known.get("validation"),
            tests={"test": known["test"]},
            class_names=names,
            input_names=whole.names,
            class_weights=balanced_weights(sets["train"].labels, names) if self.balance else (),
            mean=mean,
            sd=sd,
            rule="the label in the file",
            notes=self._notes(sets),
        )

    def read(self, path: str) -> Sequences:
        """The sequences of a file, by this task's columns."""
        return read_sequences(path, self.format, Columns(self.sequence, self.step, self.label, self.group, self.features))

    def read_new(self, path: str, features: tuple[str, ...], num_steps: int) -> Sequences:
        """Sequences to be classified, whose labels may be missing; `num_steps` as in `read_sequences`."""
        columns = Columns(self.sequence, self.step, self.label, self.group, features, new=True)
        return read_sequences(path, "auto", columns, num_steps)

    def _parts(self, whole: Sequences, streams: Streams) -> dict[str, Sequences]:
        sets = {"train": whole}
        if self.test_path:
            sets["test"] = select_features(self.read(self.test_path), whole.names, whole.source)
            sets["test"].require_labels()
        elif self.test:
            sets |= self._hold_out(whole, "test", self.test, streams)
        else:
            raise ConfigError("task.test is 0 and there is no task.test_path", "sequences to test on", "set task.test=0.25")
        if self.validation:
            sets |= self._hold_out(sets["train"], "validation", self.validation, streams)
        return sets

    def _hold_out(self, found: Sequences, name: str, share: float, streams: Streams) -> dict[str, Sequences]:
        stay, out = held_out(found.labels, found.groups, share, streams.at("split", name).numpy())
        return {"train": found.take(stay), name: found.take(out)}

    def num_steps(self, train: Sequences, parts: list[Sequences]) -> int | None:
        """The steps that all sequences are brought to; None where each keeps its own.

        Raises:
            DataError: lengths differ, and nothing says what to do.
        """
        lengths = np.concatenate([p.lengths for p in parts])
        if lengths.min() == lengths.max():
            return int(lengths[0])
        if self.lengths == "resample":
            return int(train.lengths.max())
        if self.lengths == "pad" or (self.lengths == "auto" and all(p.unequal for p in parts)):
            return None
        raise DataError(
            f"{' and '.join(dict.fromkeys(p.source for p in parts))}: sequences of {lengths.min()} to {lengths.max()} steps",
            "sequences of equal length, or a policy for unequal ones",
            "set task.lengths=pad (each ends where it ends) or task.lengths=resample (all stretched to equal length)",
        )

    def filled(self, found: Sequences, num_steps: int | None) -> Values:
        """The sequences by the policies for missing values and lengths; NaN where zero is to stand after scaling."""
        if self.missing == "error":
            refuse_gaps(found)
        whole = tuple(interpolated(v) for v in found.values) if self.missing == "interpolate" else found.values
        return whole if num_steps is None else tuple(resampled(v, num_steps) for v in whole)

    def as_set(
        self, filled: Values, found: Sequences, names: tuple[str, ...], mean: np.ndarray | None, sd: np.ndarray | None
    ) -> LabelledSet:
        """Scaled sequences with the numbers of their classes, 0 where they have no label."""
        if mean is not None and sd is not None:
            done = scaled(filled, mean, sd)
        elif self.scaling == "per_sequence":
            done = tuple(scaled((one,), *statistics((one,)))[0] for one in filled)
        else:
            done = tuple(np.nan_to_num(one, nan=0.0) for one in filled)
        inputs, lengths = padded(done)
        labels = np.array([names.index(label) if label in names else 0 for label in found.labels])
        return labelled_set(inputs, labels, lengths=lengths, title=found.source)

    def _notes(self, sets: dict[str, Sequences]) -> tuple[str, ...]:
        read = " and ".join(dict.fromkeys(part.source for part in sets.values()))
        notes = [f"read from {read}", f"scaling: {self.scaling.replace('_', ' ')}"]
        if not self.test_path:
            notes.append(f"test part: {'groups' if self.group else 'a share of each class'} held out at random")
        gaps = sum(int(np.isnan(v).sum()) for part in sets.values() for v in part.values)
        if gaps:
            notes.append(f"{gaps} missing values: {'interpolated' if self.missing == 'interpolate' else 'zero after scaling'}")
        return tuple(notes)


def class_order(labels: tuple[str, ...]) -> tuple[str, ...]:
    """The classes, numbers by size before words by alphabet.

    Example:
        >>> class_order(("10", "2", "up", "2"))
        ('2', '10', 'up')
    """
    return tuple(sorted(set(labels), key=lambda n: (0, int(n), "") if n.lstrip("-").isdecimal() else (1, 0, n)))


def balanced_weights(labels: tuple[str, ...], names: tuple[str, ...]) -> tuple[float, ...]:
    """n / (C n_c): of each class, so that all weigh the same in the loss."""
    count = Counter(labels)
    return tuple(len(labels) / (len(names) * count[name]) for name in names)


def refuse_gaps(found: Sequences) -> None:
    """Refuse missing values, with the first one."""
    for values, name in zip(found.values, found.ids, strict=True):
        gaps = np.argwhere(np.isnan(values))
        if len(gaps):
            step, feature = (int(i) for i in gaps[0])
            total = sum(int(np.isnan(v).sum()) for v in found.values)
            raise DataError(
                f"sequence '{name}' of {found.source} misses '{found.names[feature]}' at step {step + 1}; "
                f"{total} values are missing in all",
                "numbers everywhere, or a policy",
                "set task.missing=interpolate or task.missing=zero",
            )


def _refuse_unseen(sets: dict[str, Sequences]) -> None:
    """Refuse a class that training never saw."""
    known = set(sets["train"].labels)
    for part in ("test", "validation"):
        strange = sorted(set(sets[part].labels) - known) if part in sets else []
        if strange:
            shown = ", ".join(f"'{name}'" for name in strange[:6])
            raise DataError(
                f"the {part} part ({sets[part].source}) has the class {shown}, which the training part has not",
                f"classes of the training part: {', '.join(class_order(sets['train'].labels)[:12])}",
                "put sequences of that class into the training file, or leave them out",
            )
