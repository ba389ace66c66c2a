"""The run folder: the contract between computing and showing. Everything is written to a temporary file and renamed.

config.yaml  environment.json  status.json  log.txt  history.csv  metrics.json  summary.json  model.safetensors
checkpoints/*.safetensors + .json   data/*   findings/*.npz + .json   figures/*.png *.svg + figures.json   report.html
"""

import csv
import io
import json
import os
import re
import shutil
import zipfile
import zlib
from collections.abc import Iterable
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor

from rnnscope.core.errors import RunFolderError

FORMAT = 1


class RunFolder:
    """One run on disk. Paths are inside the folder; nothing is written outside it."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @classmethod
    def create(cls, parent: Path, name: str, seed: int, now: datetime | None = None) -> "RunFolder":
        """A new folder <name>-<YYYYmmdd-HHMMSS>-<seed> below `parent`; a second one in the same second gets a suffix."""
        stamp = (now or datetime.now()).strftime("%Y%m%d-%H%M%S")
        stem = f"{re.sub(r'[^A-Za-z0-9_.-]+', '-', name)[:80]}-{stamp}-{seed}"
        with _writing(parent):
            parent.mkdir(parents=True, exist_ok=True)
            for attempt in range(1000):
                path = parent / (stem if attempt == 0 else f"{stem}.{attempt + 1}")
                try:
                    path.mkdir()
                except FileExistsError:
                    continue
                folder = cls(path)
                folder.write_json("status.json", {"format": FORMAT, "state": "created"})
                return folder
        raise RunFolderError(f"a thousand folders are called '{stem}'", "room for one more", "choose another --out")

    @classmethod
    def open(cls, path: Path | str) -> "RunFolder":
        """An existing run folder.

        Raises:
            RunFolderError: it is missing, or is no run folder of ours.
        """
        folder = cls(Path(path).expanduser())
        if not folder.path.is_dir():
            raise RunFolderError(f"there is no folder '{path}'", "a run folder", "give the path that `rnnscope run` printed")
        for needed in ("status.json", "config.yaml"):
            if not (folder.path / needed).is_file():
                raise RunFolderError(
                    f"'{path}' has no {needed}", "a folder written by `rnnscope run`", "give the path of a run folder"
                )
        status = folder.read_json("status.json")
        if not isinstance(status, dict) or status.get("format") != FORMAT:
            raise RunFolderError(f"'{path}' has an unknown format", f"format {FORMAT}", "run it again with this version")
        if "state" not in status:
            raise folder.damaged("status.json", KeyError("state"))
        return folder

    def discard(self) -> None:
        """Remove a folder in which nothing has been computed yet."""
        shutil.rmtree(self.path, ignore_errors=True)

    # writing

    def write_bytes(self, name: str, content: bytes) -> Path:
        """Write one file whole or not at all."""
        target = self._inside(name)
        with _writing(target):
            target.parent.mkdir(parents=True, exist_ok=True)
            temporary = target.with_name(f".{target.name}.{os.getpid()}.tmp")
            try:
                with temporary.open("wb") as stream:
                    stream.write(content)
                    stream.flush()
                    os.fsync(stream.fileno())
                os.replace(temporary, target)
            except BaseException:
                temporary.unlink(missing_ok=True)
                raise
        return target

    def write_text(self, name: str, text: str) -> Path:
        return self.write_bytes(name, text.encode())

    def write_json(self, name: str, value: Any) -> Path:
        return self.write_text(name, json.dumps(_json_ready(value), indent=2, ensure_ascii=False, allow_nan=False) + "\n")

    def write_arrays(self, name: str, arrays: dict[str, np.ndarray]) -> Path:
        """A compressed NPZ without pickles; arrays may have any name, slashes are kept."""
        return self.write_bytes(name, npz_bytes(arrays))

    def write_tensors(self, name: str, tensors: dict[str, Tensor], about: dict[str, str] | None = None) -> Path:
        return self.write_bytes(name, save({k: t.detach().cpu().contiguous() for k, t in tensors.items()}, about))

    def write_table(self, name: str, rows: Iterable[dict[str, Any]]) -> Path:
        """CSV of rows whose columns may differ; a column that a row lacks is left empty."""
        rows = list(rows)
        columns = list(dict.fromkeys(c for row in rows for c in row))
        buffer = io.StringIO()
        writer = csv.DictWriter(buffer, columns, restval="", lineterminator="\n")
        writer.writeheader()
        writer.writerows({k: repr(v) if isinstance(v, float) else v for k, v in row.items()} for row in rows)
        return self.write_text(name, buffer.getvalue())

    def log(self, text: str) -> None:
        """Add one line with the time to log.txt."""
        with _writing(self.path), (self.path / "log.txt").open("a", encoding="utf-8") as stream:
            stream.write(f"{datetime.now().isoformat(timespec='seconds')}  {text}\n")

    def set_status(self, state: str, **more: Any) -> None:
        """state: running, interrupted, failed or done."""
        self.write_json(
            "status.json", {"format": FORMAT, "state": state, "time": datetime.now().isoformat(timespec="seconds"), **more}
        )

    # reading

    def read_text(self, name: str) -> str:
        path = self._inside(name)
        try:
            return path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise self.damaged(name, error) from None

    def read_json(self, name: str) -> Any:
        try:
            return json.loads(self.read_text(name))
        except json.JSONDecodeError as error:
            raise self.damaged(name, error) from None

    def read_arrays(self, name: str) -> dict[str, np.ndarray]:
        path = self._inside(name)
        try:
            with path.open("rb") as stream, np.load(stream, allow_pickle=False) as archive:
                return {key: archive[key] for key in archive.files}
        except (OSError, ValueError, KeyError, EOFError, AttributeError, TypeError, zipfile.BadZipFile, zlib.error) as error:
            raise self.damaged(name, error) from None

    def read_tensors(self, name: str) -> dict[str, Tensor]:
        path = self._inside(name)
        try:
            return load_file(path)
        except (OSError, SafetensorError) as error:
            raise self.damaged(name, error) from None

    def has(self, name: str) -> bool:
        return self._inside(name).is_file()

    def remove(self, name: str) -> None:
        """Remove one file of ours, if it is there."""
        self._inside(name).unlink(missing_ok=True)

    def _inside(self, name: str) -> Path:
        target = (self.path / name).resolve()
        if not target.is_relative_to(self.path.resolve()):
            raise RunFolderError(f"'{name}' lies outside the run folder", "a path inside it", "rename the experiment or model")
        return target

    def damaged(self, name: str, error: Exception) -> RunFolderError:
        """The error to raise for a file that is not as it was written."""
        reason = "is missing" if isinstance(error, FileNotFoundError) else f"cannot be read ({type(error).__name__})"
        return RunFolderError(
            f"the run folder '{self.path}' is damaged: {name} {reason}",
            "a complete run folder",
            "run the experiment again, or resume it",
        )


def npz_bytes(arrays: dict[str, np.ndarray]) -> bytes:
    """Arrays of any names as a compressed NPZ without pickles."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, array in arrays.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as stream:
                np.lib.format.write_array(stream, np.asanyarray(array), allow_pickle=False)
    return buffer.getvalue()


@contextmanager
def _writing(path: Path) -> Any:
    """Errors of the disk in our words."""
    try:
        yield
    except RunFolderError:
        raise
    except PermissionError:
        raise RunFolderError(
            f"'{path}' cannot be written", "a folder you may write to", "give another one with --out"
        ) from None
    except OSError as error:
        if error.errno in (28, 122):
            raise RunFolderError(
                f"the disk is full: writing '{path.name}' failed",
                "free space",
                "free some, then go on with --resume; no half-written file is left",
            ) from None
        raise RunFolderError(
            f"'{path}' cannot be written: {error.strerror or error}", "a folder you may write to", "give another one with --out"
        ) from None


def _json_ready(value: Any) -> Any:
    """Plain JSON values; numbers that are not finite become null."""
    if isinstance(value, dict):
        return {str(k): _json_ready(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_json_ready(v) for v in value]
    if isinstance(value, np.ndarray):
        return _json_ready(value.tolist())
    if isinstance(value, float | np.floating):
        return float(value) if np.isfinite(value) else None
    if isinstance(value, np.integer):
        return int(value)
    return value
