"""What a run leaves in its folder: data report, weights, checkpoints, scores, findings, figures, summary."""

from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

from rnnscope.core.interfaces import AnalysisSpec, Evaluation, Findings, History, SequenceModel, TrainingData, TrainingRun
from rnnscope.core.tables import Figure
from rnnscope.plotting import render
from rnnscope.runs.folder import RunFolder


def save_checkpoint(folder: RunFolder, stem: str, trainer: TrainingRun, rows: list[dict[str, float]]) -> None:
    """Tensors under a name of their own, then the JSON that points to them, then the former tensors go: one whole pair always stays."""
    checkpoint = trainer.checkpoint()
    before = folder.read_json(f"{stem}.json")["tensors"] if folder.has(f"{stem}.json") else None
    tensors = f"{stem}-epoch{len(rows)}.safetensors"
    folder.write_tensors(tensors, checkpoint.tensors)
    folder.write_json(f"{stem}.json", {"tensors": tensors, "values": checkpoint.values, "rows": rows})
    if before not in (None, tensors):
        folder.remove(before)


def save_data(folder: RunFolder, data: TrainingData, keep_arrays: bool) -> None:
    """The data report, and the values themselves where they are to be kept."""
    folder.write_json("data/data.json", data.describe())
    if keep_arrays:
        folder.write_arrays("data/data.npz", data.arrays())


def save_models(folder: RunFolder, models: dict[str, list[SequenceModel]]) -> None:
    """The kept weights of every repeat of every model in one file, under <model>/<repeat>/<parameter>."""
    tensors = {
        f"{n}/{i}/{k}": t for n, repeats in models.items() for i, m in enumerate(repeats) for k, t in m.state_dict().items()
    }
    folder.write_tensors("model.safetensors", tensors)


def save_development(folder: RunFolder, histories: dict[str, list[History]]) -> None:
    """Weights kept on the way, where there are any, under <model>/<repeat>/<epoch>/<parameter>."""
    kept = {
        f"{n}/{i}/{epoch}/{k}": t
        for n, repeats in histories.items()
        for i, h in enumerate(repeats)
        for epoch, weights in h.outcome.development.items()
        for k, t in weights.items()
    }
    if kept:
        folder.write_tensors("development.safetensors", kept)


def save_history(folder: RunFolder, histories: dict[str, list[History]]) -> None:
    """history.csv: one row per model, repeat and epoch."""
    rows: list[dict[str, Any]] = []
    for name, repeats in histories.items():
        for repeat, history in enumerate(repeats):
            columns = history.columns
            for i in range(len(columns.get("epoch", ()))):
                rows.append(
                    {
                        "model": name,
                        "repeat": repeat,
                        "epoch": int(columns["epoch"][i]),
                        **{k: float(v[i]) for k, v in columns.items() if k != "epoch"},
                    }
                )
    folder.write_table("history.csv", rows)


def save_evaluation(folder: RunFolder, evaluation: Evaluation, analyses: list[str], keep_samples: bool) -> None:
    """metrics.json, with the tables of the report; the arrays behind the figures; what the models generated, where kept."""
    shown = {
        "tables": [t.plain() for t in evaluation.tables],
        "headlines": [asdict(h) for h in evaluation.headlines],
        "notes": list(evaluation.notes),
        "analyses": analyses,
    }
    folder.write_json("metrics.json", {**evaluation.metrics, **shown})
    folder.write_arrays("findings/evaluation.npz", evaluation.arrays)
    folder.write_json("findings/evaluation.json", {"arrays": {k: list(v.shape) for k, v in evaluation.arrays.items()}})
    if keep_samples and evaluation.samples:
        folder.write_arrays("data/generated.npz", evaluation.samples)


def save_findings(folder: RunFolder, title: str, analysis: AnalysisSpec, findings: Findings, about: dict[str, Any]) -> None:
    """What an analysis found `about` which model, with the settings that it had: sentences, numbers and tables as JSON, arrays as NPZ."""
    folder.write_json(
        f"findings/{title}.json",
        {
            "about": about,
            "settings": analysis.model_dump(mode="json"),
            "statements": list(findings.statements),
            "metrics": findings.metrics,
            "tables": [t.plain() for t in findings.tables],
            "arrays": {k: list(v.shape) for k, v in findings.arrays.items()},
        },
    )
    folder.write_arrays(f"findings/{title}.npz", findings.arrays)


def save_figures(folder: RunFolder, figures: Iterable[Figure], section: str = "") -> list[dict[str, Any]]:
    """PNG and SVG of every figure; returns their entries for figures.json, in order."""
    listed = []
    for figure in figures:
        name = f"{section}-{figure.name}" if section else figure.name
        for kind in ("png", "svg"):
            folder.write_bytes(f"figures/{name}.{kind}", render(figure.canvas, kind))
        if figure.interactive:
            folder.write_text(f"figures/{name}.html", figure.interactive)
        entry = {"name": name, "caption": figure.caption, "wide": figure.wide, "section": section}
        listed.append({**entry, "interactive": bool(figure.interactive)})
    return listed
