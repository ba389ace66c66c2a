"""Sequences as a file gives them: values, labels, names; what their columns are called."""

from dataclasses import dataclass, replace

import numpy as np

from rnnscope.core.errors import DataError

VALUE = "value"


@dataclass(frozen=True)
class Columns:
    """Which columns of a table are what; empty: found by their usual names, see `Labelled`.

    `new`: the sequences are to be classified; columns of labels and groups, and named features, need not be there.
    """

    sequence: str = ""
    step: str = ""
    label: str = ""
    group: str = ""
    features: tuple[str, ...] = ()
    new: bool = False

    def present(self, names: list[str]) -> "Columns":
        """Without what new sequences need not have."""
        if not self.new:
            return self
        label = self.label if self.label in (*names, "first", "last") else ""
        features = self.features if set(self.features) <= set(names) else ()
        return replace(self, label=label, group=self.group if self.group in names else "", features=features)


@dataclass(frozen=True)
class Sequences:
    """What a file holds.

    Attributes:
        values: one (T_i, X) array per sequence, NaN where a number is missing.
        labels: one per sequence, "" where the file gives none; names: of the features; ids: of the sequences.
        groups: whose sequence each one is; () where the file does not say.
        unequal: whether the file's own header says that lengths differ.
        source: the file's name, for messages.
    """

    values: tuple[np.ndarray, ...]
    labels: tuple[str, ...]
    names: tuple[str, ...]
    ids: tuple[str, ...]
    groups: tuple[str, ...] = ()
    unequal: bool = False
    source: str = ""

    @property
    def lengths(self) -> np.ndarray:
        """Steps of each sequence."""
        return np.array([len(v) for v in self.values])

    def take(self, rows: np.ndarray) -> "Sequences":
        """The sequences with these numbers."""
        return replace(
            self,
            values=tuple(self.values[i] for i in rows),
            labels=tuple(self.labels[i] for i in rows),
            ids=tuple(self.ids[i] for i in rows),
            groups=tuple(self.groups[i] for i in rows) if self.groups else (),
        )

    def require_labels(self) -> None:
        """Refuse sequences without a label."""
        bare = [i for i, label in zip(self.ids, self.labels, strict=True) if not label]
        if bare:
            raise DataError(
                f"{len(bare)} of {len(self.ids)} sequences of {self.source} have no label, first sequence '{bare[0]}'",
                "one label per sequence",
                "name the column of labels with task.label, or fill the labels in",
            )


def refuse_infinite(found: Sequences) -> Sequences:
    """The sequences, if no value is infinite."""
    for values, name in zip(found.values, found.ids, strict=True):
        bad = np.argwhere(np.isinf(values))
        if len(bad):
            step, feature = (int(i) for i in bad[0])
            raise DataError(
                f"sequence '{name}' of {found.source} has an infinite '{found.names[feature]}' at step {step + 1}",
                "finite numbers, empty where one is missing",
                "mend the file",
            )
    return found


def cell_number(cell: str) -> float | None:
    """The number a cell holds; NaN where it is empty or marked as missing; None for a word."""
    if cell.lower() in ("", "?", "nan", "na"):
        return float("nan")
    try:
        return float(cell)
    except ValueError:
        return None


def label_text(value: object, source: str) -> str:
    """A label as text: whole numbers without a point, "" where it is missing.

    Raises:
        DataError: a number with a fraction, as of a regression problem.
    """
    text = str(value).strip()
    number = cell_number(text)
    if number is None:
        return text
    if np.isnan(number):
        return ""
    if not np.isfinite(number) or number != round(number):
        raise DataError(
            f"the label {text} in {source}",
            "names or whole numbers as classes",
            "name the column of labels with task.label; predicting a number is no classification",
        )
    return str(round(number))


def select_features(found: Sequences, names: tuple[str, ...], source: str) -> Sequences:
    """The sequences with these features in this order.

    Raises:
        DataError: one is not there. Without names in the file (a .ts file, one value per step) the number must agree.
    """
    if found.names == names:
        return found
    if set(names) <= set(found.names):
        places = [found.names.index(n) for n in names]
        return replace(found, values=tuple(v[:, places] for v in found.values), names=names)
    unnamed = found.names == (VALUE,) or all(n.startswith("dimension ") for n in found.names)
    unnamed |= names == (VALUE,) or all(n.startswith("dimension ") for n in names)
    if unnamed and len(found.names) == len(names):
        return replace(found, names=names)
    raise DataError(
        f"{found.source} has the features {_shown(found.names)}",
        f"{len(names)}: {_shown(names)}",
        f"give the columns the names that {source} has",
    )


def _shown(names: tuple[str, ...]) -> str:
    return ", ".join(names[:8]) + (f", … ({len(names)})" if len(names) > 8 else "")
