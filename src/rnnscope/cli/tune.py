"""The verb tune: search over fields of an experiment by its validation score."""

import math
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from rnnscope.cli.shared import AsJson, Debug, Out, Quiet, Seed, Set, emit, user_errors

if TYPE_CHECKING:
    from rnnscope.tuning import Trial


def tune(
    experiment: Annotated[str, typer.Argument(help="A preset, a YAML file, or file.py:name.")],
    over: Annotated[
        list[str],
        typer.Option("--over", help="Field and range: path=low:high, path=low:high:log or path=[one, another]. Repeatable."),
    ],
    trials: Annotated[int, typer.Option("--trials", help="How many.")] = 30,
    sampler: Annotated[str, typer.Option("--sampler", help="tpe or random.")] = "tpe",
    only: Annotated[list[str] | None, typer.Option("--only", help="Train this model only. Repeatable.")] = None,
    assignments: Set = None,
    seed: Seed = None,
    out: Out = Path("runs"),
    as_json: AsJson = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Search over fields by the validation score; writes trials.csv and best.yaml. Needs the extra tune (optuna)."""
    with user_errors(debug, as_json):
        from rnnscope.cli.runs import configure
        from rnnscope.core.errors import ConfigError, unknown_name
        from rnnscope.experiment import Study
        from rnnscope.tuning import parse_range, search

        samplers: dict[str, Literal["tpe", "random"]] = {"tpe": "tpe", "random": "random"}
        if sampler not in samplers:
            raise unknown_name("sampler", sampler, samplers)
        chosen = configure(experiment, only, assignments, seed)
        if isinstance(chosen, Study):
            raise ConfigError(f"'{experiment}' is a study of several experiments", "one experiment", "name one of them")

        def tell(trial: "Trial") -> None:
            if not (quiet or as_json):
                values = "  ".join(
                    f"{path.rpartition('.')[2]}={value:.4g}"
                    if isinstance(value, float)
                    else f"{path.rpartition('.')[2]}={value}"
                    for path, value in trial.values.items()
                )
                print(f"{trial.number}/{trials}  {trial.error or f'{trial.score:.5g}'}  {values}", file=sys.stderr)

        space = dict(parse_range(text) for text in over)
        found = search(chosen, space, trials=trials, sampler=samplers[sampler], out=out, told=tell)
        best = found.best_trial
        first = found.trials[0]
        own = f"; as it stands: {first.error or f'{first.score:.6g}'}" if found.begins_as_is else ""
        lines = [
            f"best of {len(found.trials)} by {found.criterion}: {best.score:.6g}{own}",
            *(
                f"  {path}={value:.6g}" if isinstance(value, float) else f"  {path}={value}"
                for path, value in best.values.items()
            ),
            f"table: {found.path / 'trials.csv'}",
            f"go on with: rnnscope run {found.path / 'best.yaml'}",
        ]
        told = {"folder": str(found.path), "score": best.score, "values": best.values, "criterion": found.criterion}
        if found.begins_as_is:
            told["score_as_it_stands"] = first.score if math.isfinite(first.score) else None
        emit(told, as_json, "\n".join(lines))
