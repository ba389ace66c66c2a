"""The .ts format of the UCR/UEA archives of labelled time series (Bagnall et al. 2018, arXiv:1811.00075).

    # comment
    @problemName Gestures
    @timeStamps false
    @missing true
    @univariate false
    @dimensions 2
    @equalLength false
    @classLabel true up down
    @data
    1.0,2.5,?:0.1,0.2,0.3:up

A line of data is a sequence: its dimensions and then its label, set apart by colons; values by commas; `?` or NaN is missing.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import numpy as np

from rnnscope.core.errors import DataError


@dataclass(frozen=True)
class TsFile:
    """Sequences of a .ts file.

    Attributes:
        values: one (T_i, X) array each, NaN where missing. labels: one each, "" where the file has none. names: "dimension 1", …
        unequal: whether the header says that lengths differ.
    """

    values: tuple[np.ndarray, ...]
    labels: tuple[str, ...]
    names: tuple[str, ...]
    unequal: bool


@dataclass(frozen=True)
class Header:
    """What the lines before @data say: keys in small letters, and the words after them."""

    fields: dict[str, tuple[str, ...]]

    def is_true(self, key: str) -> bool | None:
        """A yes-or-no field; None where the file does not say."""
        words = self.fields.get(key)
        return words[0].lower() == "true" if words else None


def read_ts(file: Path) -> TsFile:
    """The sequences of a .ts file.

    Raises:
        DataError: no header, no data, time stamps, numbers to predict instead of classes, a line that contradicts the header.
    """
    try:
        lines = file.read_text(encoding="utf-8-sig").splitlines()
    except (UnicodeDecodeError, OSError) as error:
        raise DataError(f"'{file}' is no text in UTF-8 ({type(error).__name__})", "a .ts file", "check what it holds") from None
    header, start = _header(lines, file.name)
    has_labels = bool(header.is_true("classlabel"))
    declared = header.fields.get("classlabel", ())[1:]
    values: list[np.ndarray] = []
    labels: list[str] = []
    for number, line in enumerate(lines[start:], start + 1):
        if not line.strip() or line.startswith(("#", "%")):
            continue
        dimensions, label = line.strip().split(":"), ""
        if has_labels:
            label = dimensions.pop().strip()
            if declared and label not in declared:
                _refuse(file, number, f"has the label '{label}'", f"one that @classLabel declares: {', '.join(declared[:12])}")
        values.append(_values(dimensions, values, header, file, number))
        labels.append(label)
    if not values:
        raise DataError(f"'{file.name}' has no sequences after @data", "one per line", "check how it was written")
    names = tuple(f"dimension {d + 1}" for d in range(values[0].shape[1]))
    return TsFile(tuple(values), tuple(labels), names, header.is_true("equallength") is False)


def _header(lines: list[str], source: str) -> tuple[Header, int]:
    """The fields, and the number of the first line of data."""
    fields: dict[str, tuple[str, ...]] = {}
    for number, line in enumerate(lines):
        words = line.split()
        if not words or line.startswith(("#", "%")):
            continue
        if not words[0].startswith("@"):
            break
        key = words[0][1:].lower()
        if key == "data":
            return _checked(Header(fields), source), number + 1
        fields[key] = tuple(words[1:])
    raise DataError(f"'{source}' has no line @data after its header", "a .ts file", "see task.format for other kinds of files")


def _checked(header: Header, source: str) -> Header:
    if header.is_true("timestamps"):
        raise DataError(
            f"'{source}' has time stamps (@timeStamps true)",
            "values at equal steps",
            "resample to equal steps and leave the time stamps out",
        )
    if header.is_true("targetlabel"):
        raise DataError(
            f"'{source}' has numbers to predict (@targetLabel true)", "classes (@classLabel true …)", "choose another file"
        )
    return header


def _values(dimensions: list[str], before: list[np.ndarray], header: Header, file: Path, number: int) -> np.ndarray:
    """One sequence, (T, X)."""
    told = header.fields.get("dimensions") or header.fields.get("dimension")
    wanted = before[0].shape[1] if before else int(told[0]) if told and told[0].isdigit() else len(dimensions)
    if header.is_true("univariate") and not before and wanted != 1:
        _refuse(file, number, f"has {len(dimensions)} dimensions", "one, as @univariate true says")
    if len(dimensions) != wanted:
        _refuse(file, number, f"has {len(dimensions)} dimensions", f"{wanted}, and then the label, set apart by colons")
    columns = []
    for text in dimensions:
        try:
            columns.append(np.array(["nan" if v.strip() in ("?", "") else v for v in text.split(",")], np.float64))
        except ValueError:
            bad = next((v for v in text.split(",") if not _is_number(v)), text)
            _refuse(file, number, f"holds {bad.strip()[:40]!r}", "numbers, ? where one is missing")
    lengths = {len(c) for c in columns}
    if len(lengths) > 1:
        _refuse(file, number, f"has dimensions of {sorted(lengths)} steps", "equally many steps in every dimension")
    found = np.stack(columns, 1)
    if np.isinf(found).any():
        _refuse(file, number, "holds an infinite value", "finite numbers, ? where one is missing")
    if header.is_true("equallength") and before and len(found) != len(before[0]):
        _refuse(file, number, f"has {len(found)} steps", f"{len(before[0])} like the first one, as @equalLength true says")
    return found


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return text.strip() in ("?", "")
    return True


def _refuse(file: Path, number: int, found: str, expected: str) -> NoReturn:
    raise DataError(f"line {number} of {file.name} {found}", expected, "mend that line, or the header")
