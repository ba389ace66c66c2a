"""Sequences with labels from files: .ts archives (UCR/UEA), tables in long format, tables with a row per sequence."""

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd

from rnnscope.core.errors import ConfigError, DataError
from rnnscope.tasks.given_file import given_file
from rnnscope.tasks.sequences import VALUE, Columns, Sequences, cell_number, label_text, refuse_infinite
from rnnscope.tasks.table import OR_MISSING, numeric, read_table, require_column, suffix_is_text
from rnnscope.tasks.ts_format import read_ts

Format = Literal["auto", "ts", "long", "wide"]
SUFFIXES = (".ts", ".csv", ".tsv", ".txt", ".parquet")
LABELS = ("label", "class")
SEQUENCES = ("sequence", "sequence_id", "series", "case", "id")
STEPS = ("step", "time", "t")


def read_sequences(path: str, format: Format = "auto", columns: Columns | None = None, num_steps: int = 0) -> Sequences:
    """The sequences of a file.

    Args:
        path: .ts, CSV, TSV, TXT or Parquet. format: of its content; auto: .ts by its ending, long where a column of
            sequence names repeats its values, else wide.
        columns: of a table. num_steps: of the training sequences, where known: a table without a header line and with so
            many columns then has no labels.

    Raises:
        DataError: the file is missing, empty, binary, of an unknown kind or not well formed; labels contradict one another.
        ConfigError: a named column is not there.
    """
    file, columns = existing(path), columns or Columns()
    if format == "ts" or (format == "auto" and file.suffix.lower() == ".ts"):
        found = read_ts(file)
        ids = tuple(str(i + 1) for i in range(len(found.values)))
        return Sequences(found.values, found.labels, found.names, ids, (), found.unequal, file.name)
    if suffix_is_text(file) and not _has_header(file):
        if format == "long":
            raise DataError(f"'{path}' has no header line", "column names first", "add a header line: sequence,label,…")
        return refuse_infinite(_bare(file, columns, num_steps))
    frame = read_table(str(file))
    frame.columns = [str(c) for c in frame.columns]
    columns = columns.present(list(frame.columns))
    sequence = _column(frame, columns.sequence, SEQUENCES, columns, file.name)
    if format == "long" or (format == "auto" and sequence and frame[sequence].duplicated().any()):
        if not sequence:
            raise ConfigError(
                f"{file.name} has no column that tells sequences apart",
                f"one of: {', '.join(frame.columns)}",
                "set task.sequence=COLUMN",
            )
        return refuse_infinite(_long(frame, sequence, columns, file.name))
    return refuse_infinite(_wide(frame, sequence, columns, file.name))


def existing(path: str) -> Path:
    """A file of sequences that is there, not empty, and text unless it is Parquet."""
    file = given_file(
        path,
        wanted=f"a file of sequences ({', '.join(SUFFIXES)})",
        content="sequences",
        example="sequences.csv",
        suffixes=SUFFIXES,
    )
    if file.suffix.lower() != ".parquet" and b"\0" in file.read_bytes()[:4096]:
        raise DataError(f"'{path}' is no text file", "text", "check what it holds")
    return file


def _lines(file: Path) -> Iterator[str]:
    """Lines of text that hold something, without comments."""
    try:
        with file.open(encoding="utf-8-sig") as stream:
            for line in stream:
                if line.strip() and not line.startswith("#"):
                    yield line.strip()
    except UnicodeDecodeError:
        raise DataError(f"'{file}' is no text in UTF-8", "text", "save it as UTF-8, or check what it holds") from None


def _cells(line: str, file: Path) -> list[str]:
    separator = next((mark for mark in "\t;," if mark in line), None)
    return [cell.strip().strip('"') for cell in line.split("," if file.suffix.lower() == ".csv" else separator)]


def _has_header(file: Path) -> bool:
    """Whether the first line names columns: more than one word, or a word beside the numbers of the steps."""
    first = next(_lines(file), None)
    if first is None:
        raise DataError(f"'{file}' holds nothing but comments", "sequences", "check how it was written")
    numbers = [cell_number(cell) for cell in _cells(first, file)]
    words = numbers.count(None)
    steps = [n for n in numbers if n is not None]
    counted = len(steps) >= 2 and all(b - a == 1 for a, b in itertools.pairwise(steps)) and steps[0] in (0, 1)
    return words > 1 or (words == 1 and (counted or len(numbers) <= 2))


def _bare(file: Path, columns: Columns, num_steps: int) -> Sequences:
    """Rows of numbers under no header, the label in the first or the last column (the UCR archive's .tsv: the first)."""
    rows = [_cells(line, file) for line in _lines(file)]
    width = len(rows[0])
    for index, row in enumerate(rows):
        if len(row) != width:
            raise DataError(
                f"row {index + 1} of {file.name} has {len(row)} cells, row 1 has {width}",
                "equally many, empty or NaN where a sequence has ended",
                "fill the shorter rows up with NaN",
            )
    if columns.label not in ("", "first", "last"):
        raise ConfigError(
            f"{file.name} has no header line, so no column '{columns.label}'", "first or last", "set task.label=first"
        )
    if num_steps and width == num_steps and not columns.label:
        place, labels = slice(0, width), [""] * len(rows)
    else:
        at = -1 if columns.label == "last" or (not columns.label and not _classes(rows, 0) and _classes(rows, -1)) else 0
        labels = [label_text(row[at], file.name) for row in rows]
        place = slice(0, width - 1) if at else slice(1, width)
    values = [[cell_number(cell) for cell in row[place]] for row in rows]
    for index, one in enumerate(values):
        if None in one:
            column = one.index(None) + (place.start or 0)
            raise DataError(f"row {index + 1} of {file.name} holds {rows[index][column]!r}", "numbers", "mend that row")
    ids = tuple(str(i + 1) for i in range(len(rows)))
    return _from_rows(np.array(values, np.float64), tuple(labels), ids, (), file.name)


def _classes(rows: list[list[str]], at: int) -> bool:
    """Whether a column could be labels: words or whole numbers."""
    numbers = [cell_number(row[at]) for row in rows]
    return all(n is None or (np.isfinite(n) and n == round(n)) for n in numbers)


def _wide(frame: pd.DataFrame, sequence: str, columns: Columns, source: str) -> Sequences:
    """A row per sequence, a column per step."""
    names = list(frame.columns)
    named = {"first": names[0], "last": names[-1]}
    label = named.get(columns.label) or _column(frame, columns.label, LABELS, columns, source)
    if columns.group:
        require_column(frame, columns.group, source)
    for name in columns.features:
        require_column(frame, name, source)
    steps = columns.features or tuple(n for n in names if n not in (sequence, label, columns.group))
    if not steps:
        raise DataError(f"{source} has no columns of steps", "a column per step, beside label", "check the header line")
    rows = np.stack([numeric(frame[n], n, source, OR_MISSING) for n in steps], 1)
    labels = tuple(label_text(v, source) for v in frame[label]) if label else ("",) * len(frame)
    ids = tuple(str(v) for v in frame[sequence]) if sequence else tuple(str(i + 1) for i in range(len(frame)))
    groups = tuple(str(v) for v in frame[columns.group]) if columns.group else ()
    return _from_rows(rows, labels, ids, groups, source)


def _from_rows(
    rows: np.ndarray, labels: tuple[str, ...], ids: tuple[str, ...], groups: tuple[str, ...], source: str
) -> Sequences:
    """One feature; what is missing at the end of a row is the end of its sequence."""
    there = ~np.isnan(rows)
    if not there.any(1).all():
        row = int(np.flatnonzero(~there.any(1))[0])
        raise DataError(f"row {row + 1} of {source} holds no number", "a sequence in every row", "drop that row")
    ends = rows.shape[1] - np.argmax(there[:, ::-1], 1)
    values = tuple(row[:end, None] for row, end in zip(rows, ends, strict=True))
    return Sequences(values, labels, (VALUE,), ids, groups, source=source)


def _long(frame: pd.DataFrame, sequence: str, columns: Columns, source: str) -> Sequences:
    """A row per step: name of the sequence, perhaps number of the step, label, features."""
    label = _column(frame, columns.label, LABELS, columns, source)
    step = _column(frame, columns.step, STEPS, columns, source)
    for name in (*columns.features, *((columns.group,) if columns.group else ())):
        require_column(frame, name, source)
    taken = {sequence, label, step, columns.group}
    names = columns.features or tuple(c for c in frame.columns if c not in taken)
    if not names:
        raise DataError(f"{source} has no columns of features", "at least one", "name them with task.features=[…]")
    empty = frame[sequence].isna().to_numpy()
    if empty.any():
        row = int(np.flatnonzero(empty)[0])
        raise DataError(f"column '{sequence}' of {source} is empty at row {row + 1}", "the sequence's name", "fill it in")
    numbers = np.stack([numeric(frame[n], n, source, OR_MISSING) for n in names], 1)
    values, labels, ids, groups = [], [], [], []
    for key, found in frame.groupby(sequence, sort=False).indices.items():
        rows = np.asarray(found)
        values.append(numbers[_in_order(frame, step, rows, str(key), source)])
        labels.append(_only(frame, label, rows, str(key), source))
        groups.append(_only(frame, columns.group, rows, str(key), source))
        ids.append(str(key))
    told = tuple(groups) if columns.group else ()
    return Sequences(tuple(values), tuple(labels), names, tuple(ids), told, source=source)


def _in_order(frame: pd.DataFrame, step: str, rows: np.ndarray, key: str, source: str) -> np.ndarray:
    """The rows of a sequence in the order of its steps."""
    if not step:
        return rows
    steps = frame[step].iloc[rows]
    if steps.isna().any() or steps.duplicated().any():
        bad = steps[steps.isna() | steps.duplicated()].iloc[0]
        raise DataError(
            f"sequence '{key}' of {source} has the step {bad!r} twice, or a step without a number",
            f"every value of '{step}' once",
            "mend the file, or name another column with task.step",
        )
    return rows[np.argsort(steps.to_numpy(), kind="stable")]


def _only(frame: pd.DataFrame, column: str, rows: np.ndarray, key: str, source: str) -> str:
    """The one value that a column has in a sequence; empty cells do not contradict it."""
    if not column:
        return ""
    found = list(dict.fromkeys(label_text(v, source) for v in frame[column].iloc[rows].dropna().unique()))
    if len(found) > 1:
        raise DataError(
            f"sequence '{key}' of {source} has several values in column '{column}': {', '.join(found[:4])}",
            "one label per sequence",
            "mend the file; labels that change along a sequence are another task",
        )
    return found[0] if found else ""


def _column(frame: pd.DataFrame, wanted: str, usual: tuple[str, ...], columns: Columns, source: str) -> str:
    """The column asked for, or the first one with a usual name, whatever its case, that is no feature; "" where there is none."""
    if wanted:
        require_column(frame, wanted, source)
        return wanted
    known = {c.lower(): c for c in reversed(list(frame.columns)) if c not in columns.features}
    return next((known[name] for name in usual if name in known), "")
