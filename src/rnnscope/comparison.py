"""Several runs side by side: studies and batches, their page, tables, one figure."""

import json
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from rnnscope.core.errors import ConfigError, Interrupted, RnnscopeError, RunFolderError
from rnnscope.core.spec import from_yaml
from rnnscope.core.tables import Column, Row, Table
from rnnscope.experiment import Experiment, Study
from rnnscope.pipeline import changed_fields, check_device, open_folder
from rnnscope.plotting import COLOURS, INK, MUTED, linear_scale, log_scale, new_figure, plain, render, style
from rnnscope.results import Run, open_run
from rnnscope.runs.folder import RunFolder
from rnnscope.runs.report import number, render_comparison

INTERRUPTED = "interrupted"


class StudyRun:
    """Several experiments carried out into one folder, with a page that compares them.

    Args:
        path: the folder, as `rnnscope run STUDY` or `rnnscope batch` made it. allow_source: see `Run`.

    Raises:
        RunFolderError: the folder is missing, or holds no batch of runs.
    """

    def __init__(self, path: Path | str, *, allow_source: bool = True) -> None:
        self.folder = RunFolder.open(path)
        self.path = self.folder.path
        self._allow_source = allow_source

    def __repr__(self) -> str:
        return f"StudyRun({str(self.path)!r})"

    @property
    def entries(self) -> list[dict[str, Any]]:
        """Per run: name, folder, verdict (None where it failed) and error (None where it did not)."""
        found: list[dict[str, Any]] = self.folder.read_json("batch.json")["runs"]
        return found

    @property
    def runs(self) -> list[Run]:
        """The runs that are done, in order."""
        whole = [row for row in self.entries if row["verdict"] is not None]
        return [Run(self.path / row["folder"], allow_source=self._allow_source) for row in whole]

    @property
    def status(self) -> str:
        """created, running, interrupted or done."""
        return str(self.folder.read_json("status.json")["state"])

    @property
    def verdict(self) -> str:
        """What came of every run, a line each."""
        return "\n".join(f"{row['name']}: {row['verdict'] or row['error']}" for row in self.entries)

    @property
    def report(self) -> Path:
        """The page that compares the runs."""
        return self.path / "comparison.html"

    def write_report(self) -> Path:
        """Write the page that compares the runs, and its table and figure, from what lies in the folder."""
        about = from_yaml(self.folder.read_text("config.yaml"), f"{self.path}/config.yaml")
        write_comparison(self.runs, self.path, str(about["name"]), str(about["summary"]), self.entries)
        return self.report

    @property
    def table(self) -> pd.DataFrame:
        """Models by runs: the score by which each run is compared first, the median over repeats, beside its best baseline."""
        (first, *_) = overview_tables(self.runs) or [Table("", (), ())]
        rows = {row.name: [row.values.get(c.key) for c in first.columns] for row in first.rows}
        return pd.DataFrame.from_dict(rows, orient="index", columns=[c.label for c in first.columns])


def run_batch(
    study: Study, out: Path | str, carry_out: Callable[[Experiment, RunFolder], object], resume: Path | str | None = None
) -> StudyRun:
    """Carry out experiments one after the other into one folder; one that fails does not stop the others.

    Args:
        carry_out: does one experiment in its folder. resume: the folder of an interrupted study of the same configuration: what is
            done stays, what was interrupted goes on.
    """
    for experiment in study.experiments:
        check_device(experiment.device)
    parent, before = _batch_folder(study, Path(out), resume)
    parent.set_status("running")
    rows: list[dict[str, Any]] = []
    for place, experiment in enumerate(study.experiments):
        known = before[place] if place < len(before) else {}
        if known.get("verdict") is not None:
            rows.append(known)
            continue
        begun = parent.path / known["folder"] if known.get("error") == INTERRUPTED else None
        folder = open_folder(experiment, parent.path, begun)
        row: dict[str, Any] = {"name": experiment.name, "folder": folder.path.name, "verdict": None, "error": INTERRUPTED}
        rows.append(row)
        parent.write_json("batch.json", {"runs": rows})
        try:
            carry_out(experiment, folder)
            row |= {"verdict": folder.read_json("metrics.json")["verdict"], "error": None}
        except Interrupted:
            parent.set_status("interrupted")
            remedy = f"go on with: rnnscope run {parent.path}/config.yaml --resume {parent.path}"
            raise Interrupted(f"interrupted in {experiment.name}; what is done is kept", "", remedy) from None
        except RnnscopeError as error:
            row["error"] = str(error)
        parent.write_json("batch.json", {"runs": rows})
    parent.set_status("done")
    found = StudyRun(parent.path)
    if found.runs:
        found.write_report()
    return found


def _batch_folder(study: Study, out: Path, resume: Path | str | None) -> tuple[RunFolder, list[dict[str, Any]]]:
    """A new folder with the study's configuration, or the one to resume, and what its runs came to."""
    if resume is None:
        parent = RunFolder.create(out, study.name, study.experiments[0].seed)
        parent.write_text("config.yaml", study.yaml())
        return parent, []
    parent = RunFolder.open(resume)
    changed = changed_fields(
        from_yaml(parent.read_text("config.yaml"), f"{parent.path}/config.yaml"), from_yaml(study.yaml(), "this study")
    )
    if changed:
        raise ConfigError(
            f"the configuration changed since '{parent.path}' was begun: {', '.join(changed[:6])}",
            "the same configuration",
            "resume without --set, or start a new run",
        )
    return parent, parent.read_json("batch.json")["runs"] if parent.has("batch.json") else []


def compare(runs: list[Run | Path | str]) -> pd.DataFrame:
    """One row per model and baseline of each run, with the scores by which their evaluation compares runs (`headlines`).

    Baselines appear once per run. Scores of runs on different data are not comparable; the column `data` tells them apart.
    """
    rows: list[dict[str, Any]] = []
    headlines: dict[str, dict[str, Any]] = {}
    for one in runs:
        opened = one if isinstance(one, Run) else open_run(one)
        rows += comparison_rows(opened)
        headlines |= {h["key"]: h for h in opened.metrics["headlines"]}
    frame = pd.DataFrame(rows)
    frame.attrs["headlines"] = list(headlines.values())
    return frame


def comparison_rows(run: Run) -> list[dict[str, Any]]:
    """The rows of one run."""
    data = f"{zlib.crc32(json.dumps(run.folder.read_json('data/data.json'), sort_keys=True).encode()):08x}"
    rows = []
    for kind, entries in (("model", run.metrics["models"]), ("baseline", run.metrics["baselines"])):
        for name, scores in entries.items():
            best = name in run.metrics.get("ceilings", ())
            row: dict[str, Any] = {"run": run.path.name, "data": data, "name": name, "kind": "ceiling" if best else kind}
            for one in run.metrics["headlines"]:
                row[one["key"]] = scores.get(one["part"], {}).get(one["score"])
            rows.append(row)
    return rows


def overview_tables(runs: list[Run]) -> list[Table]:
    """Models by runs: the first headline of each run, how many repeats are better than the best baseline, and training times.

    Empty for a single run, whose report says as much.
    """
    if len(runs) < 2:
        return []
    names = list(dict.fromkeys(name for run in runs for name in run.metrics["models"]))
    found = [repeats(run) for run in runs]
    rivals = [best_baseline(run) for run in runs]
    columns = [
        Column(str(i), f"{run.experiment.name}: {first_headline(run)['label']}", first_headline(run)["better"])
        for i, run in enumerate(runs)
    ]
    scores, counts, times = [], [], []
    for name in names:
        held = {str(i): one[name] for i, one in enumerate(found) if name in one}
        spreads = {key: float(np.std(v, ddof=1)) for key, v in held.items() if len(v) > 1}
        scores.append(Row(name, "model", {key: float(np.median(v)) for key, v in held.items()}, spreads))
        beaten = {key: _beaten(v, rivals[int(key)], columns[int(key)].better) for key, v in held.items()}
        counts.append(Row(name, "model", beaten))
        took = {
            str(i): run.metrics["models"][name]["training"]["seconds"]
            for i, run in enumerate(runs)
            if name in run.metrics["models"]
        }
        times.append(Row(name, "model", took))
    known = {str(i): rival for i, rival in enumerate(rivals) if rival is not None}
    if known:
        scores.append(Row("best baseline", "baseline", {key: value for key, (_, value) in known.items()}))
        scores.append(Row("which is", "", {key: name for key, (name, _) in known.items()}))
    bare = tuple(Column(c.key, runs[int(c.key)].experiment.name) for c in columns)
    several = any(len(v) > 1 for one in found for v in one.values())
    note = "Median over repeats ± their standard deviation." if several else ""
    tables = [Table("Models by runs", tuple(columns), tuple(scores), note)]
    if several and known:
        tables.append(Table("Repeats better than the best baseline", bare, tuple(counts)))
    return [*tables, Table("Training, seconds per repeat", bare, tuple(times))]


def first_headline(run: Run) -> dict[str, Any]:
    """The score by which a run is compared first."""
    found: dict[str, Any] = run.metrics["headlines"][0]
    return found


def repeats(run: Run) -> dict[str, list[float]]:
    """Model -> the first headline of every repeat."""
    part, score = first_headline(run)["part"], first_headline(run)["score"]
    return {
        name: [one[part][score] for one in entry.get("seeds", [entry]) if one.get(part, {}).get(score) is not None]
        for name, entry in run.metrics["models"].items()
    }


def best_baseline(run: Run) -> tuple[str, float] | None:
    """Name and first headline of a run's best baseline; ceilings do not compete. None where it has none, or no better side."""
    head = first_headline(run)
    known = {n: s.get(head["part"], {}).get(head["score"]) for n, s in run.metrics["baselines"].items()}
    rivals = {n: v for n, v in known.items() if v is not None and n not in run.metrics.get("ceilings", ())}
    if not rivals or not head["better"]:
        return None
    return (max if head["better"] == "high" else min)(rivals.items(), key=lambda pair: pair[1])


def _beaten(values: list[float], rival: tuple[str, float] | None, better: str) -> str | None:
    if rival is None:
        return None
    return f"{sum((v > rival[1]) if better == 'high' else (v < rival[1]) for v in values)} of {len(values)}"


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


def write_comparison(
    runs: list[Run], out: Path, title: str = "Comparison", summary: str = "", entries: list[dict[str, Any]] | None = None
) -> pd.DataFrame:
    """comparison.csv, .png, .svg and .html in a folder.

    Args:
        entries: of a batch, in whose folder this is (see `StudyRun.entries`): then the page links the reports of the runs.
    """
    frame, overview = comparison_frame(runs), overview_tables(runs)
    canvas = overview_figure(runs) if overview and entries else comparison_figure(frame)
    svg = render(canvas, "svg")
    lines = [_line(one) for one in entries or []] or [{"name": r.path.name, "text": r.verdict, "link": ""} for r in runs]
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunFolderError(
            f"'{out}' cannot be written: {error.strerror}", "a folder you may write to", "give another one with --out"
        ) from None
    folder = RunFolder(out)
    folder.write_text("comparison.csv", frame.to_csv(index=False))
    folder.write_bytes("comparison.png", render(canvas, "png"))
    folder.write_bytes("comparison.svg", svg)
    caption = (
        "Every repeat of every model; dashed: the best baseline."
        if overview and entries
        else "Models (points) and baselines (lines)."
    )
    figure = {"name": "comparison", "caption": caption, "wide": True, "svg": svg.decode()}
    several = bool(frame["data"].nunique() > 1)
    render_comparison(folder, title, summary, overview, lines, _details(frame), [figure], several)
    return frame


def _line(entry: dict[str, Any]) -> dict[str, str]:
    """A run of a batch, for its page."""
    done = entry["verdict"] is not None
    link = f"{entry['folder']}/report.html" if done else ""
    return {"name": entry["name"], "text": entry["verdict"] or f"failed: {entry['error']}", "link": link}


def _details(frame: pd.DataFrame) -> Table:
    """Every model and baseline of every run, with all scores by which runs are compared."""
    headlines = frame.attrs["headlines"]
    columns = (Column("name", ""), *(Column(h["key"], h["label"]) for h in headlines))
    rows = []
    for _, one in frame.iterrows():
        values = {h["key"]: None if pd.isna(one[h["key"]]) else float(one[h["key"]]) for h in headlines}
        rows.append(Row(one["run"], one["kind"], {"name": one["name"], **values}))
    return Table("Models and baselines", columns, tuple(rows))


def overview_figure(runs: list[Run]) -> Any:
    """A panel per run with its first headline: every repeat of every model as a point, the best baseline as a line."""
    names = list(dict.fromkeys(name for run in runs for name in run.metrics["models"]))
    with style():
        figure, axes = new_figure(1, len(runs), max(6.0, 1.6 + 2.6 * len(runs)), 1.3 + 0.36 * len(names))
        for panel, run in zip(np.atleast_1d(axes), runs, strict=True):
            head, rival = first_headline(run), best_baseline(run)
            for name, values in repeats(run).items():
                place = names.index(name)
                panel.plot(values, [place] * len(values), "o", color=COLOURS[place % len(COLOURS)], ms=6, alpha=0.7)
            if rival is not None:
                panel.axvline(rival[1], color=MUTED, ls="--", lw=1.2)
            (log_scale if head["better"] == "low" else linear_scale)(panel, "x")
            first = panel is np.atleast_1d(axes)[0]
            panel.set_yticks(range(len(names)), [plain(n) for n in names] if first else [""] * len(names))
            panel.set_ylim(len(names) - 0.5, -0.5)
            panel.set_title(plain(run.experiment.name))
            panel.set_xlabel(plain(head["label"]), fontsize=8)
    return figure


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
