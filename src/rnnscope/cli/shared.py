"""What the verbs share: their common options, how errors are told, how results are printed."""

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from rnnscope.runs.folder import RunFolder

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for machines.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress, only the result.")]
Debug = Annotated[bool, typer.Option("--debug", help="Show tracebacks.")]
Set = Annotated[
    list[str] | None, typer.Option("--set", help="Change a field: path=value, e.g. models.gru.hidden_size=64. Repeatable.")
]
Seed = Annotated[int | None, typer.Option("--seed", help="Seed of every random stream.")]
Out = Annotated[Path, typer.Option("--out", help="Folder for run folders.")]
Model = Annotated[str | None, typer.Option("--model", help="Which model; the best by validation by default.")]
AllowSource = Annotated[bool, typer.Option("--allow-source", help="Import Python files that a run folder names.")]


@contextmanager
def user_errors(debug: bool, as_json: bool = False) -> Iterator[None]:
    """Mistakes of the user end with their three parts on standard error and exit code 2."""
    from rnnscope.core.errors import Interrupted, RnnscopeError

    try:
        yield
    except RnnscopeError as error:
        if debug:
            raise
        if as_json:
            print(json.dumps({"error": error.found, "expected": error.expected, "remedy": error.remedy}))
        lead = "" if isinstance(error, Interrupted) else "error: "
        print(f"{lead}{error.found}", file=sys.stderr)
        if error.expected:
            print(f"  expected: {error.expected}", file=sys.stderr)
        if error.remedy:
            print(f"  to do:    {error.remedy}", file=sys.stderr)
        raise typer.Exit(2) from None
    except BrokenPipeError:
        raise typer.Exit(0) from None
    except KeyboardInterrupt:
        if debug:
            raise
        print("interrupted", file=sys.stderr)
        raise typer.Exit(2) from None
    except (MemoryError, RecursionError) as error:
        if debug:
            raise
        print(
            f"error: {type(error).__name__}: {error}\n  expected: a job that fits this machine\n  to do:    use a smaller window, batch or model",
            file=sys.stderr,
        )
        raise typer.Exit(2) from None


def emit(value: Any, as_json: bool, text: str) -> None:
    """Print a result for machines or for people."""
    print(json.dumps(value, indent=2, ensure_ascii=False, default=str) if as_json else text)


def finish(folders: list["RunFolder"], as_json: bool) -> None:
    """The verdict and where the report is, of each run."""
    told = []
    for folder in folders:
        verdict = folder.read_json("metrics.json")["verdict"]
        told.append({"run": str(folder.path), "report": str((folder.path / "report.html").resolve()), "verdict": verdict})
    text = "\n".join(f"{one['verdict']}\nrun:    {one['run']}\nreport: {one['report']}" for one in told)
    emit(told[0] if len(told) == 1 else {"runs": told}, as_json, text)
