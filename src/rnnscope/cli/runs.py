"""Verbs that carry experiments out: run, batch."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rnnscope.cli.progress import carry_out
from rnnscope.cli.shared import AsJson, Debug, Out, Quiet, Seed, Set, emit, finish, user_errors

if TYPE_CHECKING:
    from rnnscope.experiment import Experiment, Study
    from rnnscope.runs.folder import RunFolder


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
    """Carry out an experiment: data, training, scores, figures, report. A study: several, with one page that compares them."""
    with user_errors(debug, as_json):
        from rnnscope.experiment import Study
        from rnnscope.pipeline import open_folder

        chosen = configure(experiment, only, assignments, seed)
        if isinstance(chosen, Study):
            carry_out_study(chosen, out, resume, quiet, as_json)
            return
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
        from rnnscope.experiment import Experiment, Study

        chosen: list[Experiment] = []
        for one in experiments:
            found = configure(one, None, assignments, seed)
            chosen += found.experiments if isinstance(found, Study) else [found]
        carry_out_study(Study(name="batch", experiments=tuple(chosen)), out, None, quiet, as_json)


def carry_out_study(study: "Study", out: Path, resume: Path | None, quiet: bool, as_json: bool) -> None:
    """All experiments of a study, with a heading each, and where the page that compares them is; exit code 2 if one failed."""
    from rnnscope.comparison import run_batch

    told = iter(range(1, len(study.experiments) + 1))

    def one_of(experiment: "Experiment", folder: "RunFolder") -> None:
        if not (quiet or as_json):
            print(f"{experiment.name} ({next(told)} of {len(study.experiments)})", file=sys.stderr)
        carry_out(experiment, folder, quiet or as_json)

    found = run_batch(study, out, one_of, resume)
    lines = [found.verdict, *([f"comparison: {found.report.resolve()}"] if found.report.is_file() else [])]
    emit({"folder": str(found.path), "runs": found.entries}, as_json, "\n".join(lines))
    if any(row["error"] for row in found.entries):
        raise typer.Exit(2)


def configure(source: str, only: list[str] | None, assignments: list[str] | None, seed: int | None) -> "Experiment | Study":
    """The experiment, or the study, that the command line asks for."""
    from rnnscope.api import configured, load_experiment
    from rnnscope.core.errors import ConfigError

    if seed is not None and seed < 0:
        raise ConfigError(f"--seed {seed}", "a whole number >= 0", "choose another seed")
    return configured(load_experiment(source), assignments, only, {} if seed is None else {"seed": seed})
