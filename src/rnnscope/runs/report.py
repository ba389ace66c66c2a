"""The report page: a function of the run folder alone. One file, readable on a phone, light and dark."""

import re
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from rnnscope.core.errors import RnnscopeError
from rnnscope.evaluation.baselines import label
from rnnscope.plotting import INK
from rnnscope.runs.folder import RunFolder

SCORE_ORDER = ("rmse", "mae", "r2", "mase", "relative_variance", "mse")
SCORE_LABELS = {"rmse": "RMSE", "mae": "MAE", "r2": "R²", "mase": "MASE", "mse": "MSE", "relative_variance": "rel. variance"}
SET_LABELS = {
    "test": "One step ahead, test part",
    "closed_loop": "Closed loop over the test part",
    "closed_loop_window": "Closed loop over the test part, last window re-run at every step",
    "closed_loop_stream": "Closed loop over the test part, state carried on",
    "unseen": "One step ahead, unseen trajectories",
    "closed_loop_unseen": "Closed loop, unseen trajectories",
    "generation": "Closed loop over the whole series from its first values",
}


def render_report(folder: RunFolder) -> Path:
    """Write report.html from what lies in the folder.

    Raises:
        RunFolderError: something needed is missing or is not as it was written.
    """
    try:
        return folder.write_text("report.html", _page(folder))
    except (KeyError, TypeError, ValueError, AttributeError, StopIteration, jinja2.UndefinedError) as error:
        if isinstance(error, RnnscopeError):
            raise
        raise folder.damaged("metrics.json, summary.json or a figure", error) from None


def _page(folder: RunFolder) -> str:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent / "templates"), autoescape=True, undefined=jinja2.StrictUndefined
    )
    environment.filters["number"] = number
    metrics, listed = folder.read_json("metrics.json"), folder.read_json("figures/figures.json")
    figures = [{**figure, "svg": _figure(folder, f"figures/{figure['name']}.svg", f"f{i}")} for i, figure in enumerate(listed)]
    return environment.get_template("report.html.j2").render(
        summary=folder.read_json("summary.json"),
        metrics=metrics,
        tables=tables(metrics),
        figures=figures,
        intervals={n: m["intervals"] for n, m in metrics["models"].items() if "intervals" in m},
        config=folder.read_text("config.yaml"),
        environment=folder.read_json("environment.json"),
        status=folder.read_json("status.json"),
        folder=folder.path.name,
    )


def _figure(folder: RunFolder, name: str, prefix: str) -> Markup:
    try:
        return inline_svg(folder.read_text(name), prefix)
    except ValueError as error:
        raise folder.damaged(name, error) from None


def tables(metrics: dict[str, Any]) -> list[dict[str, Any]]:
    """One score table per test set: models and baselines as rows, best first, the best value of each column marked."""
    found = []
    first = next(iter(metrics["models"].values()))
    keys = [k for k, v in first.items() if isinstance(v, dict) and "rmse" in v and not k.endswith(("_sd", "_median"))]
    for key in keys:
        rows = [
            {"name": n, "kind": "model", "scores": m[key], "sd": m.get(f"{key}_sd", {})}
            for n, m in metrics["models"].items()
            if key in m
        ]
        for name, scores in metrics["baselines"].items():
            if key in scores:
                kind = "ceiling" if name == "noise_ceiling" else "baseline"
                rows.append({"name": label(name), "kind": kind, "scores": scores[key], "sd": {}})
        rows.sort(key=lambda r: r["scores"].get("rmse", float("inf")))
        columns = [c for c in SCORE_ORDER if any(c in r["scores"] for r in rows)]
        best = {}
        for column in columns:
            values = [r["scores"][column] for r in rows if r["kind"] != "ceiling" and column in r["scores"]]
            best[column] = (max if column == "r2" else min)(values) if values else None
        found.append(
            {
                "title": set_label(key, metrics.get("closed_loop_mode")),
                "columns": columns,
                "labels": [SCORE_LABELS[c] for c in columns],
                "rows": rows,
                "best": best,
            }
        )
    return found


def set_label(key: str, mode: str | None) -> str:
    """The heading of a score table; `mode` says how the main closed loop went on."""
    heading = SET_LABELS.get(key, f"One step ahead, {key}")
    if key.startswith("closed_loop") and not key.startswith(("closed_loop_window", "closed_loop_stream")) and mode:
        heading += ", " + {"window": "last window re-run at every step", "stream": "state carried on"}[mode]
    return heading


def number(value: float | None) -> str:
    """Four significant digits; very small and large ones in powers of ten."""
    if value is None:
        return "–"
    if value != 0 and (abs(value) < 1e-3 or abs(value) >= 1e5):
        return f"{value:.2e}"
    return f"{value:.4g}" if abs(value) < 0.99 or abs(value) >= 1 else f"{value:.5f}"


def inline_svg(text: str, prefix: str) -> Markup:
    """An SVG made to live inside a page: ink follows the text colour, ids get a prefix, size follows the column."""
    start = text.find("<svg")
    if start < 0 or "</svg>" not in text:
        raise ValueError("no SVG")
    body = re.sub(r"<metadata>.*?</metadata>", "", text[start:], flags=re.DOTALL)
    body = re.sub(re.escape(INK), "currentColor", body, flags=re.IGNORECASE)
    body = re.sub(r'\bid="([^"]+)"', rf'id="{prefix}-\1"', body)
    body = re.sub(r'(href="#|url\(#)', rf"\g<1>{prefix}-", body)
    head, rest = body.split(">", 1)
    head = re.sub(r'\s(width|height)="[^"]*"', "", head)
    return Markup(f'{head} role="img">{rest}')
