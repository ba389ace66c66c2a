"""One's own series from CSV, Parquet, NPY or NPZ, and the embedded real ones (scope A10)."""

import zipfile
import zlib
from importlib import resources
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd

from rnnscope.core.errors import ConfigError, DataError, nearest
from rnnscope.core.series import Series
from rnnscope.core.spec import FilePath, Positive, PositiveFloat
from rnnscope.tasks.forecasting import ForecastTask, Recording
from rnnscope.tasks.given_file import given_file

SUFFIXES = (".csv", ".npy", ".npz", ".parquet", ".tsv", ".txt")
EVERY = "*"  # as a target: every numeric column
OR_MISSING = "mend that row, or leave the field empty and set task.missing"


class Table(ForecastTask):
    """Forecast columns of a file.

    Fields:
        path: kept as an absolute path. CSV/TSV (header line), Parquet, NPY ((T,) or (T, D)) or NPZ (one array per column). target: one column,
            several, or * for every numeric one (without one that rises from row to row, which is taken for the time); the only
            numeric one when not given. covariates: known inputs. time: column that orders the steps (number or date, strictly
            increasing). series: column that tells many series apart.
        missing: `error`; `interpolate` (linear in the step number, never past a series' ends; a filled value has seen the
            next measured one, so scores beside gaps flatter); `mask` (inputs repeat the
            last value, missing targets are neither trained on nor scored); `drop` (rows).
        unit: of the target, for labels. season: steps per period for the seasonal baseline; found on the training part if None.
        sampling_interval: time per step; read off the time column where that is uniform.
    """

    path: FilePath = ""
    target: str | tuple[str, ...] = ""
    covariates: tuple[str, ...] = ()
    time: str | None = None
    series: str | None = None
    missing: Literal["error", "interpolate", "mask", "drop"] = "error"
    unit: str = ""
    season: Positive | None = None
    sampling_interval: PositiveFloat | None = None

    def record(self, rng: np.random.Generator) -> Recording:
        frame = read_table(self.path)
        return self.from_frame(frame, Path(self.path).name)

    def from_frame(self, frame: pd.DataFrame, source: str, notes: tuple[str, ...] = ()) -> Recording:
        """The recording in a data frame; `source` names it in messages."""
        clock = self._clock(frame) if self.target == EVERY and self.time is None else None
        if clock is not None:
            notes = (*notes, f"the column '{clock}' rises from row to row and is taken for the time (task.target names others)")
            return self.but(time=clock).from_frame(frame, source, notes)
        for column in (self.time, self.series, *self.covariates, *self._wanted()):
            if column is not None:
                require_column(frame, column, source)
        targets = self._targets(frame, source)
        frame = frame.assign(
            **{c: numeric(frame[c], c, source, OR_MISSING) for c in dict.fromkeys([*targets, *self.covariates])}
        )
        if self.series is not None and frame[self.series].isna().any():
            row = int(np.flatnonzero(frame[self.series].isna().to_numpy())[0])
            raise DataError(
                f"column '{self.series}' of {source} names no series at row {row + 1}", "a series in every row", "mend the file"
            )
        groups = [(source, frame)] if self.series is None else [(str(k), g) for k, g in frame.groupby(self.series, sort=False)]
        found = [self._one(group.reset_index(drop=True), name, targets, source) for name, group in groups]
        interval = self.sampling_interval or _uniform_interval(found[0].times)
        return Recording(
            found,
            sampling_interval=interval,
            season=self.season,
            unit=self.unit,
            time_label=self.time or "row",
            notes=(f"read from {source}", *notes, *self._gaps(frame, targets)),
        )

    def _gaps(self, frame: pd.DataFrame, targets: tuple[str, ...]) -> tuple[str, ...]:
        count = int(frame[list(targets)].isna().to_numpy().sum())
        done = {
            "interpolate": "filled by linear interpolation",
            "mask": "left out of training and scores",
            "drop": "dropped with their rows",
        }
        return (f"{count} missing target values were {done[self.missing]}",) if count else ()

    def _wanted(self) -> tuple[str, ...]:
        """Columns that are asked for by name."""
        if isinstance(self.target, str):
            return (self.target,) if self.target not in ("", EVERY) else ()
        return self.target

    def _numeric(self, frame: pd.DataFrame) -> list[str]:
        """Numeric columns with no other role."""
        used = {self.time, self.series, *self.covariates}
        return [str(c) for c in frame.columns if c not in used and pd.api.types.is_numeric_dtype(frame[c])]

    def _clock(self, frame: pd.DataFrame) -> str | None:
        """The first of several numeric columns that rises from row to row."""
        numeric = self._numeric(frame)
        rising = [c for c in numeric if (frame[c].diff().iloc[1:] > 0).all()]
        return rising[0] if rising and len(numeric) > 1 and self.series is None else None

    def _targets(self, frame: pd.DataFrame, source: str) -> tuple[str, ...]:
        if self._wanted():
            return self._wanted()
        numeric = self._numeric(frame)
        if numeric and self.target == EVERY:
            return tuple(numeric)
        if len(numeric) != 1:
            shown = ", ".join(map(str, frame.columns))
            raise ConfigError(
                f"{source} has {len(numeric)} numeric columns that could be the target",
                f"task.target, one of: {shown}",
                f"set task.target=COLUMN, or {EVERY} for all of them" if numeric else "set task.target=COLUMN",
            )
        return (numeric[0],)

    def _one(self, frame: pd.DataFrame, name: str, targets: tuple[str, ...], source: str) -> Series:
        columns = list(dict.fromkeys([*targets, *self.covariates]))
        numbers = frame[columns]
        times = np.arange(len(frame), dtype=np.float64) if self.time is None else _times(frame[self.time], self.time, source)
        observed: np.ndarray | None = None
        keep: Any = np.ones(len(frame), bool)
        infinite = np.isinf(numbers.to_numpy())
        if infinite.any():
            row, column = (int(i) for i in np.argwhere(infinite)[0])
            raise DataError(
                f"column '{columns[column]}' of {source} is infinite at row {row + 1}", "finite numbers", "mend the file"
            )
        bad = numbers.isna().to_numpy()
        if bad.any():
            if self.missing == "error":
                row, column = (int(i) for i in np.argwhere(bad)[0])
                raise DataError(
                    f"column '{columns[column]}' of {source} is missing at row {row + 1} ({int(bad.sum())} missing values)",
                    "numbers everywhere, or a policy",
                    "set task.missing=mask, interpolate or drop",
                )
            if self.missing == "interpolate":
                numbers = numbers.interpolate(limit_area="inside")
            elif self.missing == "mask":
                observed = numbers[list(targets)].notna().to_numpy()
                numbers = numbers.ffill()
            keep = ~numbers.isna().to_numpy().any(1)
        numbers, times = numbers[keep], times[keep]
        if not len(numbers):
            empty = next((c for c in columns if frame[c].isna().all()), columns[0])
            raise DataError(
                f"column '{empty}' of {source} holds no number in series '{name}'",
                "values",
                "choose another column, or mend the file",
            )
        observed = observed if observed is None else observed[keep]
        if self.time is not None:
            _check_increasing(times, self.time, source)
        return Series(
            numbers[list(targets)].to_numpy(np.float64),
            numbers[list(self.covariates)].to_numpy(np.float64).reshape(len(numbers), len(self.covariates)),
            times,
            name,
            targets,
            self.covariates,
            observed=observed,
        )


class Embedded(Table):
    """A real series that ships with the package: sunspots, co2 or nile (public domain; sources in the data files' README)."""

    dataset: Literal["sunspots", "co2", "nile"] = "sunspots"
    missing: Literal["error", "interpolate", "mask", "drop"] = "mask"

    def record(self, rng: np.random.Generator) -> Recording:
        with resources.as_file(resources.files("rnnscope") / "data" / f"{self.dataset}.csv") as path:
            frame = read_table(str(path))
            source = path.read_text().splitlines()[0].lstrip("# ")
        return self.from_frame(frame, self.dataset, notes=(source,))


def read_table(path: str) -> pd.DataFrame:
    """A data frame from CSV, TSV, Parquet, NPY or NPZ.

    Raises:
        DataError: the file is missing, empty, of an unknown kind or cannot be parsed.
    """
    file = given_file(
        path,
        wanted="a CSV, Parquet, NPY or NPZ file",
        content="a table with a header line",
        example="data.csv",
        suffixes=SUFFIXES,
    )
    try:
        frame = _read(file)
    except ImportError:
        raise DataError(f"'{path}' needs a Parquet reader", "the package pyarrow", "pip install 'rnnscope[parquet]'") from None
    except (ValueError, OSError, EOFError, KeyError, pd.errors.ParserError, zipfile.BadZipFile, zlib.error) as error:
        raise DataError(
            f"'{path}' cannot be read: {str(error).splitlines()[0] if str(error) else type(error).__name__}",
            f"a well-formed {file.suffix} file",
            "open it and check its first lines",
        ) from None
    if suffix_is_text(file) and all(_is_number(str(c)) for c in frame.columns):
        raise DataError(
            f"'{path}' has no header line: it begins with {', '.join(map(str, frame.columns[:4]))}",
            "a header line with column names first (lines that begin with # are skipped)",
            "add a header line",
        )
    if frame.empty:
        raise DataError(f"'{path}' holds no rows", "at least one window of rows", "check how it was written")
    return frame


def suffix_is_text(file: Path) -> bool:
    """Whether a file is a table of text."""
    return file.suffix.lower() in (".csv", ".tsv", ".txt")


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _read(file: Path) -> pd.DataFrame:
    suffix = file.suffix.lower()
    if suffix == ".parquet":
        return pd.read_parquet(file)
    if suffix in (".npy", ".npz"):
        with file.open("rb") as stream:
            loaded = np.load(stream, allow_pickle=False)
            if isinstance(loaded, np.lib.npyio.NpzFile) != (suffix == ".npz"):
                raise ValueError(f"its content is no {suffix} archive")
            arrays = {name: loaded[name] for name in loaded.files} if suffix == ".npz" else {"x": loaded}
        return pd.DataFrame(dict(column for name, array in arrays.items() for column in _columns(name, array)))
    with file.open(encoding="utf-8") as lines:
        head = iter(enumerate(lines))
        preamble, header = next(((n, line) for n, line in head if not line.startswith("#")), (0, ""))
    separator = {".tsv": "\t", ".csv": ","}.get(suffix) or next((mark for mark in "\t;," if mark in header), r"\s+")
    return pd.read_csv(file, sep=separator, skiprows=preamble)


def _columns(name: str, array: object) -> list[tuple[str, np.ndarray]]:
    """A 1-D array as one column, a 2-D one as a column each."""
    if not isinstance(array, np.ndarray) or array.ndim not in (1, 2):
        raise ValueError(f"'{name}' has {getattr(array, 'ndim', 0)} axes where 1 (time) or 2 (time, column) can be read")
    if array.ndim == 1 or array.shape[1] == 1:
        return [(name, array.reshape(-1))]
    return [(f"{name}{i + 1}", array[:, i]) for i in range(array.shape[1])]


def require_column(frame: pd.DataFrame, column: str, source: str) -> None:
    """Refuse a column that is not there, with the nearest name."""
    names = [str(c) for c in frame.columns]
    if column not in names:
        close = nearest(column, names)
        raise ConfigError(
            f"{source} has no column '{column}'",
            f"one of: {', '.join(names)}",
            f"did you mean '{close}'?" if close else "choose one",
        )


def numeric(column: pd.Series, name: str, source: str, remedy: str = "mend that row") -> np.ndarray:
    """A column as float64, NaN where it is empty; text is refused with its first row and value, and what to do about it."""
    if pd.api.types.is_complex_dtype(column):
        raise DataError(
            f"column '{name}' of {source} holds complex numbers", "real numbers", "give real and imaginary part a column each"
        )
    numbers = pd.to_numeric(column, errors="coerce")
    text = numbers.isna() & column.notna()
    if text.any():
        row = int(np.flatnonzero(text.to_numpy())[0])
        raise DataError(
            f"column '{name}' of {source} holds {column.iloc[row]!r} at row {row + 1}",
            "numbers",
            remedy,
        )
    return numbers.to_numpy(np.float64, na_value=np.nan)


def _times(column: pd.Series, name: str, source: str) -> np.ndarray:
    if pd.api.types.is_numeric_dtype(column):
        return column.to_numpy(np.float64)
    if pd.api.types.is_datetime64_any_dtype(column):
        plain = column if column.dt.tz is None else column.dt.tz_convert("UTC").dt.tz_localize(None)
        return plain.to_numpy("datetime64[ns]")
    dates = pd.to_datetime(column, errors="coerce", format="ISO8601", utc=True)
    if dates.isna().any():
        row = int(np.flatnonzero(dates.isna().to_numpy())[0])
        raise DataError(
            f"time column '{name}' of {source} holds {column.iloc[row]!r} at row {row + 1}",
            "numbers or ISO dates",
            "mend that row",
        )
    return dates.dt.tz_localize(None).to_numpy("datetime64[ns]")


def _check_increasing(times: np.ndarray, name: str, source: str) -> None:
    back = np.flatnonzero(~(np.diff(times) > np.zeros(1, np.diff(times).dtype)))
    if len(back):
        row = int(back[0]) + 1
        raise DataError(
            f"time column '{name}' of {source} does not increase at row {row + 1} ({times[row - 1]} then {times[row]})",
            "strictly increasing times",
            "sort the file, drop repeats, or set task.series to the column that tells series apart",
        )


def _uniform_interval(times: np.ndarray) -> float | None:
    if times.dtype.kind == "M" or len(times) < 2:
        return None
    steps = np.diff(times)
    return float(steps[0]) if np.allclose(steps, steps[0], rtol=1e-6) else None
