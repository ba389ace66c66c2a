"""Hidden Markov models fitted to sequences in a file: what `rnnscope fit-hmm` does."""

import json
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np
import pandas as pd

from rnnscope.core.errors import ConfigError, DataError, nearest
from rnnscope.markov.hmm import HiddenMarkovModel
from rnnscope.markov.interchange import to_plain
from rnnscope.markov.selection import Selection, select_num_states
from rnnscope.output_files import write_whole
from rnnscope.runs.report import number
from rnnscope.tasks.table import numeric, read_table, require_column

Kind = Literal["categorical", "diag", "full"]
EMISSIONS: dict[str, Kind] = {"categorical": "categorical", "gaussian": "diag", "gaussian-full": "full"}
MOST_SYMBOLS = 50


@dataclass(frozen=True)
class FileFit:
    """What was fitted.

    Attributes:
        selection: every number of states tried. chosen: the number taken, by `criterion`. kind: of the emissions.
        symbols: the file's own symbols in the order of their numbers; empty for vectors. num_sequences, num_steps: in the file.
    """

    selection: Selection
    chosen: int
    criterion: str
    kind: Kind
    symbols: tuple[str, ...]
    num_sequences: int
    num_steps: int

    @property
    def model(self) -> HiddenMarkovModel:
        """The chosen model."""
        return self.selection.model(self.chosen)

    def plain(self) -> dict[str, Any]:
        """JSON-able values: the chosen model, and a row per number of states."""
        rows = [
            {
                "num_states": c.num_states,
                "num_parameters": c.num_parameters,
                "log_likelihood": c.log_likelihood,
                "held_out": c.held_out,
                "bic": c.bic,
            }
            for c in self.selection.candidates
        ]
        return {
            "num_states": self.chosen,
            "chosen_by": self.criterion,
            "by_held_out": self.selection.by_held_out,
            "by_bic": self.selection.by_bic,
            "symbols": list(self.symbols),
            "sequences": self.num_sequences,
            "steps": self.num_steps,
            "candidates": rows,
            "model": to_plain(self.model),
        }


def fit_file(
    path: str,
    num_states: str,
    columns: list[str] | None,
    sequence: str | None,
    emissions: str,
    choose: str,
    seed: int,
) -> FileFit:
    """Read sequences, fit every number of states, choose.

    Args:
        path: NPY/NPZ with symbols (N, T) or (T,), or vectors (N, T, D); or a table. num_states: "3", "1..6" or "2,3,5".
        columns: of a table. sequence: the column that tells its sequences apart.
        emissions: categorical, gaussian, gaussian-full or auto. choose: held-out or bic.
    """
    if choose not in ("held-out", "bic"):
        raise ConfigError(f"--choose {choose}", "held-out or bic", "choose one of them")
    if emissions not in (*EMISSIONS, "auto"):
        raise ConfigError(f"--emissions {emissions}", f"auto, {', '.join(EMISSIONS)}", "choose one of them")
    if seed < 0:
        raise ConfigError(f"--seed {seed}", "a whole number >= 0", "choose another seed")
    counts = state_counts(num_states)
    sequences, labels, kind = read_sequences(path, columns, sequence, emissions)
    selection = select_num_states(sequences, counts, kind=kind, rng=seed)
    chosen = selection.by_held_out if choose == "held-out" else selection.by_bic
    steps = sum(len(s) for s in sequences)
    return FileFit(selection, chosen, choose, kind, labels, len(sequences), steps)


def state_counts(text: str) -> tuple[int, ...]:
    """ "3" -> (3,); "1..6" -> (1, …, 6); "2,3,5" -> (2, 3, 5)."""
    try:
        if ".." in text:
            first, last = (int(part) for part in text.split(".."))
            found = tuple(range(first, last + 1))
        else:
            found = tuple(int(part) for part in text.split(","))
    except ValueError:
        raise ConfigError(f"--num-states {text}", "a number, a range 1..6 or a list 2,3,5", "correct it") from None
    if not found or min(found) < 1:
        raise ConfigError(f"--num-states {text}", "numbers from 1 up, the smaller first", "try 1..6")
    return found


def read_sequences(
    path: str, columns: list[str] | None, sequence: str | None, emissions: str
) -> tuple[list[np.ndarray], tuple[str, ...], Kind]:
    """Sequences of a file, the names of their symbols, and the kind of emissions."""
    if Path(path).suffix.lower() in (".npy", ".npz"):
        array = _read_array(path, columns)
        if array is not None:
            return _from_array(array, path, emissions)
    frame = read_table(path)
    wide = columns is None and sequence is None and all(str(c).startswith("step_") for c in frame.columns)
    if wide:  # as `rnnscope sample --out x.csv` writes
        return _from_array(np.stack([numeric(frame[c], c, path) for c in frame.columns], 1), path, emissions)
    return _from_frame(frame, path, columns, sequence, emissions)


def _read_array(path: str, columns: list[str] | None) -> np.ndarray | None:
    """The array of symbols or vectors in a file; None for one that is better read as a table."""
    try:
        with Path(path).expanduser().open("rb") as stream:
            loaded = np.load(stream, allow_pickle=False)
            if isinstance(loaded, np.ndarray):
                return loaded
            names = list(loaded.files)
            wanted = columns[0] if columns else "symbols" if "symbols" in names else names[0] if len(names) == 1 else None
            if wanted is None:
                return None
            if wanted not in names:
                close = nearest(wanted, names)
                remedy = f"did you mean '{close}'?" if close else "choose one"
                raise ConfigError(f"{path} has no array '{wanted}'", f"one of: {', '.join(names)}", remedy)
            return cast(np.ndarray, loaded[wanted])
    except FileNotFoundError:
        return None  # read_table words the error
    except (ValueError, OSError, EOFError, KeyError, zipfile.BadZipFile, zlib.error) as error:
        raise DataError(
            f"'{path}' cannot be read: {error}", "a well-formed NPY or NPZ file", "check how it was written"
        ) from None


def _from_array(array: np.ndarray, path: str, emissions: str) -> tuple[list[np.ndarray], tuple[str, ...], Kind]:
    """Symbols (T,) or (N, T), one-hot symbols or vectors (N, T, D), or one sequence of vectors (T, D)."""
    if not 1 <= array.ndim <= 3 or not array.size or array.dtype.kind not in "iufb":
        raise DataError(
            f"'{path}' holds an array of shape {array.shape} and type {array.dtype}",
            "numbers: symbols (N, T), or vectors (N, T, D)",
            "number your symbols 0, 1, 2, …, and check that the array is not empty",
        )
    whole = array.dtype.kind in "iub" or _looks_categorical(array)
    kind = EMISSIONS.get(emissions, "categorical" if whole and array.ndim <= 2 else "diag")
    if kind != "categorical":
        return list(array) if array.ndim == 3 else [array.reshape(len(array), -1)], (), kind
    if not whole:
        raise DataError(
            f"'{path}' holds values that are no symbols",
            f"whole numbers from 0 to {MOST_SYMBOLS - 1}, -1 or NaN where missing",
            "use --emissions gaussian, or renumber the symbols",
        )
    count = array.shape[2] if array.ndim == 3 else int(np.nanmax(array)) + 1
    if not 1 <= count <= MOST_SYMBOLS:
        raise DataError(
            f"'{path}' holds {count} different symbols",
            f"1 to {MOST_SYMBOLS}",
            "use --emissions gaussian, or renumber the symbols",
        )
    return list(np.atleast_2d(array)), tuple(str(k) for k in range(count)), kind


def _looks_categorical(array: np.ndarray) -> bool:
    """Whether all values are whole, from -1 to the most symbols there may be, and at least one is not missing."""
    if array.dtype.kind == "f" and np.isinf(array).any():
        return False
    seen = array[np.isfinite(array)]
    return bool(len(seen)) and bool((seen == np.floor(seen)).all()) and seen.min() >= -1 and 0 <= seen.max() < MOST_SYMBOLS


def _from_frame(
    frame: pd.DataFrame, path: str, columns: list[str] | None, sequence: str | None, emissions: str
) -> tuple[list[np.ndarray], tuple[str, ...], Kind]:
    names = [str(c) for c in frame.columns]
    for name in (*(columns or ()), *((sequence,) if sequence else ())):
        require_column(frame, name, path)
    wanted = columns or [n for n in names if n != sequence]
    text = [n for n in wanted if not pd.api.types.is_numeric_dtype(frame[n])]
    if len(wanted) > 1 and (text or emissions == "categorical"):
        raise ConfigError(
            f"columns {', '.join(wanted)}", "one column of symbols, or columns of numbers", "name one with --column"
        )
    numbers = None if text else np.stack([numeric(frame[n], n, path) for n in wanted], 1)
    if numbers is not None and bool((np.isnan(numbers) | (numbers == -1)).all()):
        raise DataError(f"{path} holds nothing but missing values", "observations", "check the columns")
    one = numbers is not None and len(wanted) == 1 and EMISSIONS.get(emissions, "categorical") == "categorical"
    if text or (one and numbers is not None and _looks_categorical(numbers)):
        if emissions not in ("auto", "categorical"):
            raise ConfigError(f"column '{wanted[0]}' holds symbols", "numbers for Gaussian emissions", "drop --emissions")
        values, labels = _codes(frame[wanted[0]], numbers, path)
        kind: Kind = "categorical"
    elif emissions == "categorical":
        raise DataError(
            f"column '{wanted[0]}' is not whole numbers from 0 to {MOST_SYMBOLS - 1}",
            "symbols 0, 1, 2, … or words",
            "use --emissions gaussian",
        )
    else:
        assert numbers is not None
        values, labels, kind = numbers, (), EMISSIONS.get(emissions, "diag")
    if sequence is None:
        return [values], labels, kind
    empty = frame[sequence].isna()
    if empty.any():
        row = int(np.flatnonzero(empty.to_numpy())[0])
        raise DataError(
            f"column '{sequence}' of {path} is empty at row {row + 1}", "the sequence each row belongs to", "fill it in"
        )
    groups = frame.groupby(sequence, sort=False).indices
    return [values[rows] for rows in groups.values()], labels, kind


def _codes(column: pd.Series, numbers: np.ndarray | None, path: str) -> tuple[np.ndarray, tuple[str, ...]]:
    """Symbols as numbers, -1 where missing, and their names: words in alphabetical order, or the numbers themselves."""
    if numbers is not None:
        codes = np.where(np.isnan(numbers[:, 0]), -1, numbers[:, 0]).astype(np.int64)
        return codes, tuple(str(k) for k in range(int(codes.max()) + 1))
    words = sorted(str(w) for w in column.dropna().unique())
    if not 1 <= len(words) <= MOST_SYMBOLS:
        raise DataError(
            f"column '{column.name}' of {path} holds {len(words)} different symbols", f"1 to {MOST_SYMBOLS}", "check the column"
        )
    number = {word: k for k, word in enumerate(words)}
    found = [-1 if pd.isna(value) else number[str(value)] for value in column]
    return np.array(found, dtype=np.int64), tuple(words)


def selection_text(found: FileFit, out: Path | None) -> str:
    """The table of candidates and the choice, for people."""
    lines = [
        f"{found.num_sequences} sequences, {found.num_steps} steps, {'symbols ' + ' '.join(found.symbols) if found.symbols else 'vectors'}",
        f"{'states':>6}  {'parameters':>10}  {'log-lik. / step':>15}  {'held out / step':>15}  {'BIC':>12}",
    ]
    for c in found.selection.candidates:
        marks = [
            name
            for name, best in (("held-out", found.selection.by_held_out), ("BIC", found.selection.by_bic))
            if best == c.num_states
        ]
        lines.append(
            f"{c.num_states:>6}  {c.num_parameters:>10}  {c.log_likelihood:>15.5f}  {c.held_out:>15.5f}  {c.bic:>12.1f}"
            + (f"  <- {', '.join(marks)}" if marks else "")
        )
    best = next(c for c in found.selection.candidates if c.num_states == found.chosen)
    single = next((c for c in found.selection.candidates if c.num_states == 1), None)
    lines.append(f"chosen by {found.criterion}: {found.chosen} states")
    if single is not None and found.chosen > 1:
        lines.append(f"better than no memory (1 state) by {number(best.held_out - single.held_out)} nats per held-out step")
    elif single is not None:
        lines.append("no memory is found: more than one state does not predict held-out steps better")
    if out is not None:
        lines.append(f"model -> {out}")
    return "\n".join(lines)


def write_model(found: FileFit, out: Path) -> None:
    """The chosen model as JSON."""
    write_whole(out, (json.dumps(found.plain(), indent=2) + "\n").encode())
