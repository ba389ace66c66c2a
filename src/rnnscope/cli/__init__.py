"""The command line: a plain table of verbs. Heavy imports happen inside the verbs, so that --help and list stay quick."""

from collections.abc import Callable
from typing import Annotated

import typer

from rnnscope.cli.classification import classify
from rnnscope.cli.detection import detect
from rnnscope.cli.interchange import export, import_network
from rnnscope.cli.models import analyze, compare, fit_hmm, forecast, report, sample
from rnnscope.cli.presets import list_presets, show, show_schema
from rnnscope.cli.runs import batch, run
from rnnscope.cli.tune import tune

app = typer.Typer(
    name="rnnscope",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    help="Train recurrent networks on sequences, then see what they learned.",
)

COMMANDS: dict[str, Callable[..., None]] = {
    "list": list_presets,
    "show": show,
    "schema": show_schema,
    "run": run,
    "batch": batch,
    "tune": tune,
    "forecast": forecast,
    "sample": sample,
    "classify": classify,
    "detect": detect,
    "fit-hmm": fit_hmm,
    "analyze": analyze,
    "import": import_network,
    "export": export,
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
