"""The verb detect: alarms in a file or in what a run's forecaster did not expect."""

from pathlib import Path
from typing import Annotated

import typer

from rnnscope.cli.shared import AllowSource, AsJson, Debug, Model, Quiet, emit, user_errors


def detect(
    target: Annotated[Path, typer.Argument(help="A series (CSV, TSV, Parquet, NPY, NPZ), or a run folder of a forecaster.")],
    method: Annotated[
        str, typer.Option("--method", help="three-sigma, mad, quantile, pot, residual, matrix-profile or sub-pca.")
    ] = "residual",
    out: Annotated[Path | None, typer.Option("--out", help="CSV, Parquet or NPZ file for the alarms.")] = None,
    column: Annotated[list[str] | None, typer.Option("--column", help="Column of values. Repeatable.")] = None,
    label: Annotated[str, typer.Option("--label", help="Column that marks anomalies with 1, the rest with 0.")] = "",
    time: Annotated[str, typer.Option("--time", help="Column of times, to name the alarms by.")] = "",
    train_until: Annotated[
        int, typer.Option("--train-until", help="So many first steps are known to be normal; 0: learn from the whole series.")
    ] = 0,
    rate: Annotated[float | None, typer.Option("--rate", "--alpha", help="Stated false-alarm rate; 0.0027 by default.")] = None,
    control: Annotated[
        str, typer.Option("--control", help="What the rate promises: step, set (any alarm at all) or fdr (false share).")
    ] = "step",
    threshold: Annotated[
        str | None,
        typer.Option("--threshold", help="How scores become alarms: pot (with --train-until), mad, quantile or three-sigma."),
    ] = None,
    window: Annotated[int | None, typer.Option("--window", help="Steps; the period of the series by default.")] = None,
    model: Model = None,
    data: Annotated[Path | None, typer.Option("--data", help="A new file for a run that was trained on a file.")] = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
    debug: Debug = False,
    allow_source: AllowSource = False,
) -> None:
    """Find what is unusual in a series, at a stated false-alarm rate."""
    with user_errors(debug, as_json):
        from rnnscope.detection import detect as look
        from rnnscope.output_files import write_frame

        found = look(
            target,
            method,
            column=tuple(column or ()),
            label=label,
            time=time,
            train_until=train_until,
            window=window,
            threshold=threshold,
            control=control,
            rate=rate,
            model=model,
            data=data,
            allow_source=allow_source,
        )
        if out is not None:
            write_frame(found.alarms, out)
        emit(found.plain(), as_json, found.text(out))
