"""Several runs side by side: batches, tables, one figure, and files for forecasts."""

import html
import json
import os
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from rnnscope.api import compare
from rnnscope.core.errors import ConfigError, DataError, Interrupted, RnnscopeError, RunFolderError
from rnnscope.dynamics.symbol_sampling import WrittenText
from rnnscope.experiment import Experiment
from rnnscope.markov.generation import Generated
from rnnscope.pipeline import check_device, open_folder
from rnnscope.plotting import COLOURS, INK, MUTED, log_scale, new_figure, render, style
from rnnscope.results import Run
from rnnscope.runs.folder import RunFolder, npz_bytes
from rnnscope.runs.report import inline_svg, number
from rnnscope.tasks.table import numeric, read_table


def run_batch(experiments: list[Experiment], out: Path, carry_out: Callable[[Experiment, RunFolder], None]) -> Path:
    """Carry out experiments one after the other into one folder; one that fails does not stop the others."""
    for experiment in experiments:
        check_device(experiment.device)
    parent = RunFolder.create(out, "batch", experiments[0].seed)
    rows: list[dict[str, Any]] = []
    for experiment in experiments:
        folder = open_folder(experiment, parent.path)
        row: dict[str, Any] = {"name": experiment.name, "folder": folder.path.name, "verdict": None, "error": None}
        rows.append(row)
        try:
            carry_out(experiment, folder)
            row["verdict"] = folder.read_json("metrics.json")["verdict"]
        except Interrupted:
            row["error"] = "interrupted"
            parent.write_json("batch.json", {"runs": rows})
            parent.set_status("interrupted")
            raise
        except RnnscopeError as error:
            row["error"] = str(error)
        parent.write_json("batch.json", {"runs": rows})
    done = [Run(parent.path / row["folder"]) for row in rows if row["error"] is None]
    if done:
        write_comparison(comparison_frame(done), parent.path)
    parent.set_status("done")
    return parent.path


def comparison_frame(runs: list[Run]) -> pd.DataFrame:
    """`compare` with finished runs only; an unfinished one is named."""
    for run in runs:
        if run.status != "done":
            raise RunFolderError(
                f"the run '{run.path}' is {run.status}",
                "a finished run",
                f"finish it: rnnscope run {run.path}/config.yaml --resume {run.path}",
            )
    return compare(list(runs))


def frame_text(frame: pd.DataFrame) -> str:
    """The table as aligned text."""
    return frame.drop(columns="data").to_string(index=False, float_format=lambda v: number(float(v)), na_rep="–")


def write_comparison(frame: pd.DataFrame, out: Path) -> Path:
    """comparison.csv, .png, .svg and .html in a folder."""
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunFolderError(
            f"'{out}' cannot be written: {error.strerror}", "a folder you may write to", "give another one with --out"
        ) from None
    folder = RunFolder(out)
    canvas = comparison_figure(frame)
    svg = render(canvas, "svg")
    folder.write_text("comparison.csv", frame.to_csv(index=False))
    folder.write_bytes("comparison.png", render(canvas, "png"))
    folder.write_bytes("comparison.svg", svg)
    folder.write_text("comparison.html", _page(frame, svg.decode()))
    return out


def comparison_figure(frame: pd.DataFrame) -> Any:
    """The first two scores by which runs are compared: one row of points per run, models in colour, baselines grey."""
    chosen = [h for h in frame.attrs["headlines"] if h["better"] == "low" and frame[h["key"]].notna().any()][:2]
    runs = list(dict.fromkeys(frame["run"]))
    models = list(dict.fromkeys(frame.loc[frame["kind"] == "model", "name"]))
    with style():
        figure, axes = new_figure(1, max(1, len(chosen)), 10.5, 0.9 + 0.55 * max(2, len(runs)) + 0.9)
        axes = np.atleast_1d(axes)
        for panel, headline in zip(axes, chosen, strict=False):
            column = headline["key"]
            for row, run in enumerate(runs):
                part = frame[(frame["run"] == run) & frame[column].notna()]
                for _, one in part.iterrows():
                    is_model = one["kind"] == "model"
                    shade = (
                        COLOURS[models.index(one["name"]) % len(COLOURS)]
                        if is_model
                        else INK
                        if one["kind"] == "ceiling"
                        else MUTED
                    )
                    panel.plot(one[column], row, "o" if is_model else "|", color=shade, ms=8 if is_model else 14, mew=1.8)
            log_scale(panel, "x")
            panel.set_yticks(range(len(runs)), [r.rsplit("-", 3)[0] for r in runs] if panel is axes[0] else [""] * len(runs))
            panel.set_ylim(len(runs) - 0.5, -0.5)
            panel.set(xlabel=headline["label"])
        handles = [axes[0].plot([], [], "o", color=COLOURS[i % len(COLOURS)], label=m)[0] for i, m in enumerate(models)]
        handles.append(axes[0].plot([], [], "|", color=MUTED, ms=14, mew=1.8, ls="none", label="baselines")[0])
        figure.legend(handles=handles, loc="outside upper left", ncols=6)
    return figure


def _page(frame: pd.DataFrame, svg: str) -> str:
    head = "".join(f"<th>{html.escape(str(c))}</th>" for c in frame.columns if c != "data")
    body = ""
    for _, row in frame.iterrows():
        cells = [row[c] for c in frame.columns if c != "data"]
        shown = [
            number(float(v)) if isinstance(v, float) and v == v else "–" if v is None or v != v else html.escape(str(v))
            for v in cells
        ]
        body += f"<tr class='{row['kind']}'>" + "".join(f"<td>{v}</td>" for v in shown) + "</tr>"
    several = frame["data"].nunique() > 1
    note = "<p>These runs do not share their data: scores of different data are not comparable.</p>" if several else ""
    return f"""<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark"><title>comparison · rnnscope</title><style>
:root {{ --paper:#fff; --ink:#1f2328; --soft:#59616b; --line:#d9dde2; }}
@media (prefers-color-scheme: dark) {{ :root {{ --paper:#14171b; --ink:#e6e9ed; --soft:#a3abb5; --line:#343a42; }} }}
body {{ background:var(--paper); color:var(--ink); font:16px/1.5 system-ui,sans-serif; max-width:1000px; margin:0 auto; padding:1.5rem 1rem; }}
.scroll {{ overflow-x:auto; }} table {{ border-collapse:collapse; font-size:.92rem; font-variant-numeric:tabular-nums; }}
th,td {{ padding:.3rem .6rem; border-bottom:1px solid var(--line); text-align:left; white-space:nowrap; }} tr.baseline {{ color:var(--soft); }}
tr.model td {{ font-weight:600; }} svg {{ width:100%; height:auto; color:var(--ink); }}</style></head>
<body><h1>Comparison</h1>{note}<div class="scroll">{inline_svg(svg, "comparison")}</div><div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>
<p style="color:var(--soft)">{datetime.now().isoformat(timespec="seconds")}</p></body></html>
"""


def write_frame(frame: pd.DataFrame, out: Path) -> None:
    """A data frame as CSV, Parquet, NPZ or JSON, whole or not at all."""
    suffix = out.suffix.lower()
    forms: dict[str, Callable[[], bytes]] = {
        ".csv": lambda: frame.to_csv(index=False).encode(),
        ".parquet": lambda: frame.to_parquet(None, index=False),
        ".npz": lambda: npz_bytes({c: frame[c].to_numpy() for c in frame.columns}),
        ".json": lambda: json.dumps(json.loads(frame.to_json(orient="records", date_format="iso")), indent=2).encode(),
    }
    if suffix not in forms:
        raise ConfigError(f"--out ends in '{suffix}'", f"one of {', '.join(forms)}", "choose another file name")
    try:
        content = forms[suffix]()
    except ImportError:
        raise DataError(
            "writing Parquet needs the package pyarrow", "pyarrow", "pip install 'rnnscope[parquet]', or write .csv"
        ) from None
    write_whole(out, content)


def write_sequences(made: Generated, out: Path) -> None:
    """Sequences as NPZ (symbols, argmax, logits) or CSV (one sequence per row, symbols sampled), whole or not at all."""
    if out.suffix.lower() == ".csv":
        names = [f"step_{t + 1}" for t in range(made.sampled.shape[1])]
        write_frame(pd.DataFrame(made.sampled, columns=names), out)
        return
    if out.suffix.lower() != ".npz":
        raise ConfigError(f"--out ends in '{out.suffix}'", "one of .npz, .csv", "choose another file name")
    arrays = {"symbols": made.sampled, "argmax": made.argmax}
    write_whole(out, npz_bytes(arrays | ({"logits": made.logits} if made.logits is not None else {})))


def write_texts(made: WrittenText, out: Path) -> None:
    """Texts with their prompt as plain text (several are set apart by an empty line) or as JSON (a list), whole or not at all."""
    whole = [made.prompt + text for text in made.texts]
    forms = {".txt": "\n\n".join(whole), ".json": json.dumps(whole, ensure_ascii=False, indent=2)}
    if out.suffix.lower() not in forms:
        raise ConfigError(f"--out ends in '{out.suffix}'", f"one of {', '.join(forms)}", "choose another file name")
    write_whole(out, forms[out.suffix.lower()].encode("utf-8", "surrogatepass"))


def write_whole(out: Path, content: bytes) -> None:
    """A file's content, whole or not at all."""
    temporary = out.with_name(f".{out.name}.{os.getpid()}.tmp")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_bytes(content)
        os.replace(temporary, out)
    except OSError as error:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise RunFolderError(
            f"'{out}' cannot be written: {error.strerror or error}", "a writable path with free space", "give another --out"
        ) from None


def read_covariates(path: str, run: Run) -> np.ndarray:
    """The covariate columns of a run from a file of coming values."""
    frame = read_table(path)
    names = run.data.describe()["covariates"]
    for name in names:
        if name not in frame.columns:
            raise ConfigError(f"'{path}' has no column '{name}'", f"the covariates {', '.join(names)}", "add that column")
    found = np.stack([numeric(frame[name], name, path) for name in names], 1)
    bad = ~np.isfinite(found)
    if bad.any():
        row, column = (int(i) for i in np.argwhere(bad)[0])
        raise DataError(
            f"column '{names[column]}' of '{path}' is {found[row, column]} at row {row + 1}", "finite numbers", "fill it in"
        )
    return found
