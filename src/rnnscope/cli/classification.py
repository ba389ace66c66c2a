"""The verb about trained classifiers: classify."""

from pathlib import Path
from typing import Annotated

import typer

from rnnscope.cli.shared import AllowSource, AsJson, Debug, Model, emit, user_errors


def classify(
    run_folder: Annotated[Path, typer.Argument(help="A run folder of a classification task.")],
    sequences: Annotated[
        Path, typer.Argument(help="New sequences: .ts, CSV, TSV or Parquet, as in training; labels not needed.")
    ],
    out: Annotated[Path, typer.Option("--out", help="CSV, Parquet, NPZ or JSON file.")] = Path("labels.csv"),
    model: Model = None,
    as_json: AsJson = False,
    debug: Debug = False,
    allow_source: AllowSource = False,
) -> None:
    """Classify new sequences: a label and the probability of each class, a row per sequence."""
    with user_errors(debug, as_json):
        from rnnscope.output_files import write_frame
        from rnnscope.results import Run

        opened = Run(run_folder, allow_source=allow_source)
        frame = opened.classify(sequences, model=model)
        write_frame(frame, out)
        name = model or opened.best_model()
        counts = {str(k): int(v) for k, v in frame["label"].value_counts().items()}
        found = {"file": str(out), "model": name, "sequences": len(frame), "labels": counts}
        shown = ", ".join(f"{label} {count}" for label, count in counts.items())
        text = f"{len(frame)} sequences by {name} ({shown}) -> {out}"
        if "actual" in frame:
            known = frame[frame["actual"] != ""]
            right = int((known["actual"] == known["label"]).sum())
            found |= {"labelled": len(known), "right": right}
            text += f"\n{right} of the {len(known)} that have a label in the file are classified so"
        emit(found, as_json, text)
