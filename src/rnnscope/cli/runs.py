"""Verbs that carry experiments out: run, batch."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rnnscope.cli.progress import carry_out
from rnnscope.cli.shared import AsJson, Debug, Out, Quiet, Seed, Set, emit, finish, user_errors

if TYPE_CHECKING:
    from rnnscope.experiment import Experiment


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
