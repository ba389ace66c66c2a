"""The report page: a function of the run folder alone. One file, readable on a phone, light and dark."""

import re
from datetime import datetime
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from rnnscope.core.errors import RnnscopeError
from rnnscope.core.tables import Table
from rnnscope.plotting import INK
from rnnscope.runs.folder import RunFolder


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


def render_comparison(
    folder: RunFolder,
    title: str,
    summary: str,
    overview: list[Table],
    runs: list[dict[str, str]],
    details: Table,
    figures: list[dict[str, Any]],
    several_data: bool,
) -> Path:
    """Write comparison.html, the page of several runs side by side.

    Args:
        overview: tables of models by run. runs: name, text and link of each. details: every score of every run.
        figures: name, caption, wide and svg (text) of each. several_data: whether the runs do not share their data.
    """
    page = (
        _templates()
        .get_template("comparison.html.j2")
        .render(
            title=title,
            summary=summary,
            overview=[marked(table.plain()) for table in overview],
            runs=runs,
            details={**details.plain(), "best": {}},
            figures=[{**f, "svg": inline_svg(f["svg"], f"f{i}"), "interactive": ""} for i, f in enumerate(figures)],
            several_data=several_data,
            time=datetime.now().isoformat(timespec="seconds"),
        )
    )
    return folder.write_text("comparison.html", page)


def _templates() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent / "templates"), autoescape=True, undefined=jinja2.StrictUndefined
    )
    environment.filters["number"] = number
    environment.filters["spread"] = spread
    environment.filters["seconds"] = seconds
    environment.filters["fact"] = fact
    return environment


def _page(folder: RunFolder) -> str:
    metrics, listed = folder.read_json("metrics.json"), folder.read_json("figures/figures.json")
    figures = [_figure(folder, figure, f"f{i}") for i, figure in enumerate(listed)]
    return (
        _templates()
        .get_template("report.html.j2")
        .render(
            summary=folder.read_json("summary.json"),
            metrics=metrics,
            tables=[marked(table) for table in metrics["tables"]],
            figures=[f for f in figures if not f["section"]],
            sections=[
                {
                    **(found := folder.read_json(f"findings/{name}.json")),
                    "tables": [marked(table) for table in found["tables"]],
                    "name": name,
                    "about": found.get("about"),
                    "title": name.replace("_", " ").replace("-", " ").capitalize(),
                    "figures": [f for f in figures if f["section"] == name],
                }
                for name in metrics.get("analyses", [])
            ],
            config=folder.read_text("config.yaml"),
            environment=folder.read_json("environment.json"),
            status=folder.read_json("status.json"),
            folder=folder.path.name,
        )
    )


def _figure(folder: RunFolder, figure: dict[str, Any], prefix: str) -> dict[str, Any]:
    name = f"figures/{figure['name']}"
    try:
        drawn = inline_svg(folder.read_text(f"{name}.svg"), prefix)
    except ValueError as error:
        raise folder.damaged(f"{name}.svg", error) from None
    # written by ourselves from numbers and escaped labels, so it goes in as it is
    interactive = Markup(folder.read_text(f"{name}.html")) if figure.get("interactive") else ""
    return {**figure, "section": figure.get("section", ""), "svg": drawn, "interactive": interactive}


def marked(table: dict[str, Any]) -> dict[str, Any]:
    """A table with the best value of each column that has a better side, among the rows that compete."""
    best = {}
    for column in table["columns"]:
        values = [r["values"].get(column["key"]) for r in table["rows"] if r["kind"] in ("model", "baseline")]
        numbers = [v for v in values if isinstance(v, int | float)]
        if column["better"] and len(numbers) > 1:
            best[column["key"]] = (max if column["better"] == "high" else min)(numbers)
    return {**table, "best": best}


def number(value: float | str | None) -> str:
    """Four significant digits; very small and large ones in powers of ten; words as they are."""
    if value is None:
        return "–"
    if isinstance(value, str):
        return value
    if isinstance(value, int):
        return f"{value}"
    if value != 0 and (abs(value) < 1e-4 or abs(value) >= 1e5):
        return f"{value:.2e}"
    if abs(value) < 1e-3:
        return f"{value:.3g}"
    if 0.999995 < value < 1:
        return f"1 - {1 - value:.1e}"
    return f"{value:.4g}" if abs(value) < 0.99 or abs(value) >= 1 else f"{value:.5f}"


def spread(value: float | None) -> str:
    """A standard deviation, to two digits; 470, not 4.7e+02.

    Example:
        >>> spread(0.01249), spread(474.2), spread(2.5e-9)
        ('0.012', '470', '2.5e-09')
    """
    if value is None:
        return "–"
    rounded = float(f"{value:.2g}")
    return f"{rounded:.0f}" if 100 <= abs(rounded) < 1e5 else f"{rounded:.2g}"


def seconds(value: float) -> str:
    """A time of training, to a tenth of a second; a dash for no training.

    Example:
        >>> seconds(0.0), seconds(0.004), seconds(12.34)
        ('–', '< 0.1', '12.3')
    """
    return "–" if value == 0 else "< 0.1" if value < 0.05 else f"{value:.1f}"


def fact(value: Any, within: bool = False) -> str:
    """A value of the data report in words: numbers without rounding noise, mappings as "name: value".

    Example:
        >>> fact({"range": [0.1 + 0.2, 2.0]}), fact({"train": {"no": 3, "yes": 4}, "test": {"no": 1, "yes": 0}})
        ('range: 0.3 … 2', 'train: no 3, yes 4; test: no 1, yes 0')
        >>> fact({"train": {"class 1": 24, "class 2": 26}})
        'train: class 1: 24, class 2: 26'
    """
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, dict):
        between = "; " if any(isinstance(v, dict) for v in value.values()) else ", "
        return between.join(f"{k}{' ' if within and not k[-1:].isdigit() else ': '}{fact(v, True)}" for k, v in value.items())
    if isinstance(value, list | tuple):
        return (" … " if within else ", ").join(fact(v) for v in value)
    return str(value)


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
    width = re.search(r'\swidth="([\d.]+)pt"', head)
    head = re.sub(r'\s(width|height)="[^"]*"', "", head)
    # a small figure stays small: 1 pt of the drawing is at most 1.45 px on the page
    limit = f' style="max-width:{float(width[1]) * 1.45:.0f}px"' if width else ""
    return Markup(f'{head} role="img"{limit}>{rest}')
