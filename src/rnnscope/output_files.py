"""What the verbs write for use elsewhere: data frames, sequences, texts; each file whole or not at all."""

import json
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np
import pandas as pd

from rnnscope.core.errors import ConfigError, DataError, RunFolderError
from rnnscope.dynamics.symbol_sampling import WrittenText
from rnnscope.markov.generation import Generated
from rnnscope.results import Run
from rnnscope.runs.folder import npz_bytes
from rnnscope.tasks.table import numeric, read_table


def write_frame(frame: pd.DataFrame, out: Path) -> None:
    """A data frame as CSV, Parquet, NPZ or JSON, whole or not at all."""
    suffix = out.suffix.lower()
    forms: dict[str, Callable[[], bytes]] = {
        ".csv": lambda: frame.to_csv(index=False).encode(),
        ".parquet": lambda: frame.to_parquet(None, index=False),
        ".npz": lambda: npz_bytes({c: frame[c].to_numpy() for c in frame.columns}),
        ".json": lambda: json.dumps(json.loads(frame.to_json(orient="records", date_format="iso")), indent=2).encode(),
    }
    if suffix not in forms:
        raise ConfigError(f"--out ends in '{suffix}'", f"one of {', '.join(forms)}", "choose another file name")
    try:
        content = forms[suffix]()
    except ImportError:
        raise DataError(
            "writing Parquet needs the package pyarrow", "pyarrow", "pip install 'rnnscope[parquet]', or write .csv"
        ) from None
    write_whole(out, content)


def write_sequences(made: Generated, out: Path) -> None:
    """Sequences as NPZ (symbols, argmax, logits) or CSV (one sequence per row, symbols sampled), whole or not at all."""
    if out.suffix.lower() == ".csv":
        names = [f"step_{t + 1}" for t in range(made.sampled.shape[1])]
        write_frame(pd.DataFrame(made.sampled, columns=names), out)
        return
    if out.suffix.lower() != ".npz":
        raise ConfigError(f"--out ends in '{out.suffix}'", "one of .npz, .csv", "choose another file name")
    arrays = {"symbols": made.sampled, "argmax": made.argmax}
    write_whole(out, npz_bytes(arrays | ({"logits": made.logits} if made.logits is not None else {})))


def write_texts(made: WrittenText, out: Path) -> None:
    """Texts with their prompt as plain text (several are set apart by an empty line) or as JSON (a list), whole or not at all."""
    whole = [made.prompt + text for text in made.texts]
    forms = {".txt": "\n\n".join(whole), ".json": json.dumps(whole, ensure_ascii=False, indent=2)}
    if out.suffix.lower() not in forms:
        raise ConfigError(f"--out ends in '{out.suffix}'", f"one of {', '.join(forms)}", "choose another file name")
    write_whole(out, forms[out.suffix.lower()].encode("utf-8", "surrogatepass"))


def write_whole(out: Path, content: bytes) -> None:
    """A file's content, whole or not at all."""
    temporary = out.with_name(f".{out.name}.{os.getpid()}.tmp")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_bytes(content)
        os.replace(temporary, out)
    except OSError as error:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise RunFolderError(
            f"'{out}' cannot be written: {error.strerror or error}", "a writable path with free space", "give another --out"
        ) from None


def read_covariates(path: str, run: Run) -> np.ndarray:
    """The covariate columns of a run from a file of coming values."""
    frame = read_table(path)
    names = run.data.describe()["covariates"]
    for name in names:
        if name not in frame.columns:
            raise ConfigError(f"'{path}' has no column '{name}'", f"the covariates {', '.join(names)}", "add that column")
    found = np.stack([numeric(frame[name], name, path) for name in names], 1)
    bad = ~np.isfinite(found)
    if bad.any():
        row, column = (int(i) for i in np.argwhere(bad)[0])
        raise DataError(
            f"column '{names[column]}' of '{path}' is {found[row, column]} at row {row + 1}", "finite numbers", "fill it in"
        )
    return found
