"""The command line: a plain table of verbs. Heavy imports happen inside the verbs, so that --help and list stay quick."""

import json
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from rnnscope.experiment import Experiment
    from rnnscope.runs.folder import RunFolder

app = typer.Typer(
    name="rnnscope",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    help="Train recurrent networks on sequences, then see what they learned.",
)

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for machines.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress, only the result.")]
Debug = Annotated[bool, typer.Option("--debug", help="Show tracebacks.")]
Set = Annotated[
    list[str] | None, typer.Option("--set", help="Change a field: path=value, e.g. models.gru.hidden_size=64. Repeatable.")
]
Seed = Annotated[int | None, typer.Option("--seed", help="Seed of every random stream.")]
Out = Annotated[Path, typer.Option("--out", help="Folder for run folders.")]
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


def list_presets(as_json: AsJson = False, quiet: Quiet = False, debug: Debug = False) -> None:
    """List presets, one line each, with the row of the scope they serve."""
    from rnnscope.presets.catalog import PRESETS

    rows = [{"name": n, "summary": p.summary, "scope_row": p.scope_row} for n, p in PRESETS.items()]
    wide = max(len(r["name"]) for r in rows)
    emit(
        rows,
        as_json,
        "\n".join(r["name"] if quiet else f"{r['name']:<{wide}}  {r['scope_row']:<6}  {r['summary']}" for r in rows),
    )


def show(name: str, as_json: AsJson = False, quiet: Quiet = False, debug: Debug = False) -> None:
    """Print an experiment as YAML, with what each field means."""
    with user_errors(debug, as_json):
        from rnnscope.api import load_experiment
        from rnnscope.experiment import BASES

        experiment = load_experiment(name)
        text = experiment.yaml()
        if not quiet:
            parts = {
                "task": experiment.task,
                **{f"models.{n}": m for n, m in experiment.models.items()},
                "trainer": experiment.trainer,
                "evaluation": experiment.evaluation,
                **{f"analyses.{n}": a for n, a in experiment.analyses.items()},
            }
            notes = ["#", f"# {experiment.name}: {experiment.summary}"]
            seen: set[type] = set()
            for where, part in parts.items():
                for spec in with_nested(part):
                    for cls in documented(type(spec), tuple(BASES.values())):
                        if cls not in seen:
                            notes += [
                                "#",
                                f"# {where}: {cls.__name__}",
                                *(f"#   {line.strip()}" for line in (cls.__doc__ or "").strip().splitlines()),
                            ]
                            seen.add(cls)
            text += "\n".join(notes)
        emit(experiment.tree(), as_json, text.rstrip())


def with_nested(spec: Any) -> Iterator[Any]:
    """A spec and the specs in its fields."""
    from rnnscope.core.spec import Spec

    yield spec
    for name in type(spec).model_fields:
        value = getattr(spec, name)
        for one in value if isinstance(value, tuple) else (value,):
            if isinstance(one, Spec):
                yield from with_nested(one)


def documented(cls: type, bases: tuple[type, ...]) -> list[type]:
    """The classes whose docstrings explain a spec's fields: those of its kind, or itself where it belongs to no kind."""
    found = [c for c in reversed(cls.__mro__) if issubclass(c, bases) and c.__doc__ and c not in bases]
    return found or [cls]


def show_schema(as_json: AsJson = True, quiet: Quiet = False, debug: Debug = False) -> None:
    """Print the JSON Schema of an experiment."""
    with user_errors(debug):
        from rnnscope.experiment import schema

        print(json.dumps(schema(), indent=2, ensure_ascii=False))


def run(
    experiment: Annotated[str, typer.Argument(help="A preset, a YAML file, or file.py:name.")],
    only: Annotated[list[str] | None, typer.Option("--only", help="Train this model only. Repeatable.")] = None,
    assignments: Set = None,
    seed: Seed = None,
    out: Out = Path("runs"),
    resume: Annotated[Path | None, typer.Option("--resume", help="Go on with an interrupted run folder.")] = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Carry out an experiment: data, training, scores, figures, report."""
    with user_errors(debug, as_json):
        from rnnscope.pipeline import open_folder

        chosen = configure(experiment, only, assignments, seed)
        folder = open_folder(chosen, out, resume)
        carry_out(chosen, folder, quiet or as_json)
        finish([folder], as_json)


def batch(
    experiments: Annotated[list[str], typer.Argument(help="Presets, YAML files or file.py:name.")],
    assignments: Set = None,
    seed: Seed = None,
    out: Out = Path("runs"),
    as_json: AsJson = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Carry out several experiments into one folder, with batch.json and a comparison."""
    with user_errors(debug, as_json):
        from rnnscope.comparison import run_batch

        chosen = [configure(e, None, assignments, seed) for e in experiments]
        folder = run_batch(chosen, out, lambda e, f: carry_out(e, f, quiet or as_json))
        found = json.loads((folder / "batch.json").read_text())
        lines = [f"{row['name']}: {row['verdict'] or row['error']}" for row in found["runs"]]
        page = folder / "comparison.html"
        emit({"folder": str(folder), **found}, as_json, "\n".join([*lines, f"comparison: {page}"] if page.is_file() else lines))
        if any(row["error"] for row in found["runs"]):
            raise typer.Exit(2)


def forecast(
    run_folder: Annotated[Path, typer.Argument(help="A run folder.")],
    steps: Annotated[int, typer.Option("--steps", help="How many steps beyond the end of the series.")] = 100,
    out: Annotated[Path, typer.Option("--out", help="CSV, Parquet or NPZ file.")] = Path("forecast.csv"),
    model: Annotated[str | None, typer.Option("--model", help="Which model; the best by validation by default.")] = None,
    series: Annotated[int, typer.Option("--series", help="Number of the series to continue.")] = 0,
    covariates: Annotated[str | None, typer.Option("--covariates", help="File with the coming covariates.")] = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
    debug: Debug = False,
    allow_source: AllowSource = False,
) -> None:
    """Forecast beyond the end of the series, with intervals."""
    with user_errors(debug, as_json):
        from rnnscope.comparison import read_covariates, write_frame
        from rnnscope.results import Run

        opened = Run(run_folder, allow_source=allow_source)
        known = read_covariates(covariates, opened) if covariates else None
        frame = opened.forecast(steps, model=model, series=series, covariates=known)
        write_frame(frame, out)
        name = model or opened.best_model()
        emit({"file": str(out), "model": name, "steps": steps}, as_json, f"{steps} steps by {name} -> {out}")


def sample(
    run_folder: Annotated[Path, typer.Argument(help="A run folder of a network that emulates an HMM.")],
    num_sequences: Annotated[int, typer.Option("--num-sequences", help="How many sequences.")] = 1000,
    num_steps: Annotated[int, typer.Option("--num-steps", help="How long each is.")] = 100,
    out: Annotated[Path, typer.Option("--out", help="NPZ file (symbols, argmax, logits) or CSV (a row per sequence).")] = Path(
        "sequences.npz"
    ),
    model: Annotated[str | None, typer.Option("--model", help="Which model; the best by validation by default.")] = None,
    seed: Annotated[int, typer.Option("--seed", help="Seed of the network's noise.")] = 0,
    as_json: AsJson = False,
    quiet: Quiet = False,
    debug: Debug = False,
    allow_source: AllowSource = False,
) -> None:
    """Draw new sequences from a network that emulates an HMM."""
    with user_errors(debug, as_json):
        from rnnscope.comparison import write_sequences
        from rnnscope.results import Run

        opened = Run(run_folder, allow_source=allow_source)
        write_sequences(opened.sample(num_sequences, num_steps, model=model, seed=seed), out)
        name = model or opened.best_model()
        found = {"file": str(out), "model": name, "sequences": num_sequences, "steps": num_steps}
        emit(found, as_json, f"{num_sequences} sequences of {num_steps} steps by {name} -> {out}")


def fit_hmm(
    data: Annotated[str, typer.Argument(help="CSV, Parquet or NPZ file of sequences.")],
    num_states: Annotated[str, typer.Option("--num-states", help="A number, a range 1..6 or a list 2,3,5.")] = "1..6",
    column: Annotated[
        list[str] | None, typer.Option("--column", help="Column with the observations. Repeatable: a vector per step.")
    ] = None,
    sequence: Annotated[str | None, typer.Option("--sequence", help="Column that tells sequences apart.")] = None,
    emissions: Annotated[
        str, typer.Option("--emissions", help="categorical, gaussian (diagonal), gaussian-full, or auto.")
    ] = "auto",
    choose: Annotated[str, typer.Option("--choose", help="held-out or bic.")] = "held-out",
    seed: Annotated[int, typer.Option("--seed", help="Seed of the starts and of the held-out part.")] = 0,
    out: Annotated[Path | None, typer.Option("--out", help="JSON file for the chosen model.")] = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Fit hidden Markov models to your own sequences and choose the number of states."""
    with user_errors(debug, as_json):
        from rnnscope.fitting import fit_file, selection_text, write_model

        found = fit_file(data, num_states, column, sequence, emissions, choose, seed)
        if out is not None:
            write_model(found, out)
        emit(found.plain(), as_json, selection_text(found, out))


def analyze(
    run_folder: Annotated[Path, typer.Argument(help="A run folder.")],
    model: Annotated[str | None, typer.Option("--model", help="Which model; the best by validation by default.")] = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
    debug: Debug = False,
    allow_source: AllowSource = False,
) -> None:
    """Analyse a run's model again (or another of its models) and write the report anew."""
    with user_errors(debug, as_json):
        from rnnscope.pipeline import analyze_run
        from rnnscope.results import Run

        path = analyze_run(Run(run_folder, allow_source=allow_source), model)
        emit({"report": str(path)}, as_json, str(path))


def compare(
    runs: Annotated[list[Path], typer.Argument(help="Run folders.")],
    out: Annotated[Path | None, typer.Option("--out", help="Folder for comparison.csv, .png, .svg and .html.")] = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
    debug: Debug = False,
    allow_source: AllowSource = False,
) -> None:
    """Compare runs: one table, one figure."""
    with user_errors(debug, as_json):
        from rnnscope.comparison import comparison_frame, frame_text, write_comparison
        from rnnscope.results import Run

        frame = comparison_frame([Run(r, allow_source=allow_source) for r in runs])
        target = write_comparison(frame, out or Path("comparison"))
        emit(
            {"folder": str(target), "rows": json.loads(frame.to_json(orient="records"))},
            as_json,
            f"{frame_text(frame)}\n{target / 'comparison.html'}",
        )


def report(
    run_folder: Annotated[Path, typer.Argument(help="A run folder.")],
    as_json: AsJson = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Write the report page again from what lies in the folder."""
    with user_errors(debug, as_json):
        from rnnscope.runs.folder import RunFolder
        from rnnscope.runs.report import render_report

        path = render_report(RunFolder.open(run_folder))
        emit({"report": str(path)}, as_json, str(path))


def configure(source: str, only: list[str] | None, assignments: list[str] | None, seed: int | None) -> "Experiment":
    """The experiment that the command line asks for."""
    from rnnscope.api import load_experiment, only_models
    from rnnscope.core.errors import ConfigError
    from rnnscope.experiment import with_overrides

    chosen = with_overrides(only_models(load_experiment(source), only), assignments or [])
    if seed is not None:
        if seed < 0:
            raise ConfigError(f"--seed {seed}", "a whole number >= 0", "choose another seed")
        chosen = chosen.but(seed=seed)
    return chosen


def carry_out(experiment: "Experiment", folder: "RunFolder", quiet: bool) -> None:
    """Loop over the walk: a progress bar per training, and Ctrl-C that finishes the epoch and saves."""
    from rnnscope.pipeline import Progress, Stage, walk

    asked = [False]

    def on_interrupt(number: int, frame: Any) -> None:
        if asked[0]:
            raise KeyboardInterrupt
        asked[0] = True
        print("\nfinishing this epoch, then saving; Ctrl-C again stops at once", file=sys.stderr)

    previous = signal.signal(signal.SIGINT, on_interrupt)
    try:
        events = walk(experiment, folder, lambda: asked[0])
        if quiet:
            for _ in events:
                pass
            return
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
        from rich.progress import Progress as Bars

        console = Console(stderr=True)
        columns = (
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}"),
        )
        with Bars(*columns, console=console) as bars:
            current = None
            for event in events:
                if isinstance(event, Stage):
                    if current is not None:
                        bars.stop_task(current)
                    current = bars.add_task(event.text, total=event.total or 1, note="")
                    if not event.total:
                        bars.advance(current)
                elif isinstance(event, Progress) and current is not None:
                    bars.update(current, completed=event.record.epoch, note=_note(event.record.values))
    finally:
        signal.signal(signal.SIGINT, previous)


def _note(values: dict[str, float]) -> str:
    names = {"train_loss": "train", "validation_loss": "validation", "test_loss": "test"}
    return "  ".join(f"{short} {values[long]:.3g}" for long, short in names.items() if long in values)


def finish(folders: list["RunFolder"], as_json: bool) -> None:
    """The verdict and where the report is."""
    for folder in folders:
        verdict = folder.read_json("metrics.json")["verdict"]
        path = (folder.path / "report.html").resolve()
        emit(
            {"run": str(folder.path), "report": str(path), "verdict": verdict},
            as_json,
            f"{verdict}\nrun:    {folder.path}\nreport: {path}",
        )


COMMANDS: dict[str, Callable[..., None]] = {
    "list": list_presets,
    "show": show,
    "schema": show_schema,
    "run": run,
    "batch": batch,
    "forecast": forecast,
    "sample": sample,
    "fit-hmm": fit_hmm,
    "analyze": analyze,
    "compare": compare,
    "report": report,
}
for _name, _command in COMMANDS.items():
    app.command(_name)(_command)


def version(value: bool) -> None:
    """Print the version and leave."""
    if value:
        from rnnscope import __version__

        print(__version__)
        raise typer.Exit()


@app.callback()
def main(
    show_version: Annotated[
        bool, typer.Option("--version", callback=version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Train recurrent networks on sequences, then see what they learned."""
