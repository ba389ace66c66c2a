"""A file that a user names: is it there, is it a file, of a kind that can be read, and not empty?"""

from collections.abc import Collection
from pathlib import Path

from rnnscope.core.errors import ConfigError, DataError, nearest


def given_file(
    path: str, *, wanted: str, content: str, example: str, suffixes: Collection[str] = (), field: str = "task.path"
) -> Path:
    """The file, with ~ written out.

    Args:
        path: as the user gave it. wanted: what kind of file, in words. content: what it is to hold, in words.
        example: a name of such a file. suffixes: that can be read, in small letters; any where there are none.
        field: the setting that names the file.

    Raises:
        ConfigError: no path. DataError: no such file, a folder, another suffix, or an empty file.
    """
    if not path:
        raise ConfigError(f"{field} is empty", wanted, f"set {field}={example}")
    file = Path(path).expanduser()
    if file.is_dir():
        raise DataError(f"'{path}' is a folder", "a file", "name a file in it")
    if not file.exists():
        close = nearest(file.name, [p.name for p in file.parent.iterdir()] if file.parent.is_dir() else [])
        remedy = f"did you mean '{close}'?" if close else f"looked in {file.parent.resolve()}"
        raise DataError(f"there is no file '{path}'", "an existing file", remedy)
    if suffixes and file.suffix.lower() not in suffixes:
        raise DataError(f"'{path}' ends in '{file.suffix}'", f"one of {', '.join(suffixes)}", "convert it, or rename it")
    if file.stat().st_size == 0:
        raise DataError(f"'{path}' is empty", content, "check how it was written")
    return file
