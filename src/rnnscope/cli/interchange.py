"""Verbs between rnnscope and other libraries: import, export."""

from pathlib import Path
from typing import Annotated

import typer

from rnnscope.cli.progress import carry_out
from rnnscope.cli.shared import AllowSource, AsJson, Debug, Model, Quiet, emit, finish, user_errors


def import_network(
    file: Annotated[
        Path,
        typer.Argument(help="A .keras file, weights of torch (.safetensors, .pt, .pth, .bin), or .npz with an ESN's matrices."),
    ],
    out: Annotated[Path | None, typer.Option("--out", help="The run folder to make; runs/NAME-TIME-0 by default.")] = None,
    nonlinearity: Annotated[
        str | None,
        typer.Option("--nonlinearity", help="Of a plain RNN of torch, whose weights do not tell it: tanh (default) or relu."),
    ] = None,
    prefix: Annotated[str | None, typer.Option("--prefix", help="Of the recurrent module, where a file holds several.")] = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Make a run folder of a network made elsewhere, for analyze, compare and export."""
    with user_errors(debug, as_json):
        from rnnscope.interchange import imported_experiment, open_target, settle

        experiment = imported_experiment(file, nonlinearity=nonlinearity, prefix=prefix)
        folder = open_target(experiment, out)
        try:
            carry_out(experiment, folder, quiet or as_json)
            folder = settle(folder, out)
        except BaseException:
            folder.discard()
            raise
        finish([folder], as_json)


def export(
    run_folder: Annotated[Path, typer.Argument(help="A run folder.")],
    to: Annotated[str, typer.Option("--to", help="torch (a state dict), keras (a .keras file) or onnx (the step).")],
    model: Model = None,
    part: Annotated[
        str | None, typer.Option("--part", help="ONNX: which system of a model that holds several, e.g. forward.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", help="The file: .safetensors or .pt, .keras, .onnx. RUN-MODEL by default.")
    ] = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
    debug: Debug = False,
    allow_source: AllowSource = False,
) -> None:
    """Write a run's network for another library."""
    with user_errors(debug, as_json):
        from rnnscope.interchange import export_model
        from rnnscope.results import Run

        made = export_model(Run(run_folder, allow_source=allow_source), to, model=model, part=part, out=out)
        told = {"file": str(made.file), "model": made.model, "notes": list(made.notes)}
        emit(told, as_json, "\n".join([f"{made.model} -> {made.file}", *(() if quiet else made.notes)]))
