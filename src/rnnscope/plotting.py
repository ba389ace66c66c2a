"""The only place where matplotlib is set up: colours, style, and files on disk.

Colours are chosen to be readable on white and on near-black. Everything drawn in `INK` follows the page's text colour when
a report embeds the SVG.
"""

import io
import itertools
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import PathCollection
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

INK = "#1f2328"
MUTED = "#8a8f98"
COLOURS = ("#3b82c4", "#e0782f", "#3a9d5d", "#9467c8", "#d1495b", "#2a9d9d", "#b58a2b", "#7a86c9")
TOLD_APART = 0.01  # least span of an axis, relative to its numbers: below, labels of four digits repeat
STYLE: dict[str, Any] = {
    "font.family": "sans-serif",
    "font.size": 10.0,
    "axes.titlesize": 10.0,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "axes.facecolor": "none",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": MUTED,
    "grid.alpha": 0.25,
    "grid.linewidth": 0.6,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "legend.frameon": False,
    "legend.fontsize": 9.0,
    "lines.linewidth": 1.4,
    "figure.facecolor": "none",
    "figure.dpi": 110,
    "svg.fonttype": "none",
    "svg.hashsalt": "rnnscope",
    "axes.formatter.useoffset": False,
}


@contextmanager
def style() -> Iterator[None]:
    """Draw inside this context; matplotlib's global settings are put back afterwards."""
    settings: Any = STYLE
    with matplotlib.rc_context(settings):
        yield


def new_figure(rows: int = 1, columns: int = 1, width: float = 8.0, height: float = 3.6) -> tuple[Figure, Any]:
    """A figure outside pyplot's registry and its axes, an array (rows, columns) or a single one."""
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure, figure.subplots(rows, columns)


def plain(text: str) -> str:
    """A user's text for matplotlib: a dollar sign is a dollar sign, not mathematics."""
    return text.replace("$", r"\$")


def colour(index: int) -> str:
    """The colour of model number `index`."""
    return COLOURS[index % len(COLOURS)]


def legend_above(axes: Axes, columns: int = 6) -> None:
    """A legend in a row above the axes, where it covers no data."""
    axes.legend(
        loc="lower left", bbox_to_anchor=(0.0, 1.0), ncols=columns, borderaxespad=0.2, handlelength=1.6, columnspacing=1.2
    )


def small_legend(axes: Axes) -> None:
    """A small legend on the line of the title, at its right."""
    entries = len(axes.get_legend_handles_labels()[0])
    columns = entries if entries <= 3 else -(-entries // 2)
    axes.legend(
        loc="lower right",
        bbox_to_anchor=(1.0, 0.99),
        ncols=columns,
        fontsize=7,
        borderaxespad=0.0,
        handlelength=1.2,
        columnspacing=0.8,
        handletextpad=0.4,
        labelspacing=0.2,
    )
    clear_marks(axes)


def clear_marks(axes: Axes, size: float = 5.0) -> None:
    """Marks of the legend at least so large (points) that their colour is seen, where those of the drawing are fine dots."""
    legend = axes.get_legend()
    for handle in legend.legend_handles if legend else ():
        if isinstance(handle, Line2D):
            handle.set_markersize(max(size, handle.get_markersize()) * (1.6 if handle.get_marker() == "." else 1.0))
        elif isinstance(handle, PathCollection):
            handle.set_sizes([max(size**2, float(area)) for area in handle.get_sizes()])


def log_scale(axes: Axes, which: str) -> None:
    """A logarithmic x or y axis whose labels neither crowd nor lack: 1, 2, 5 over few decades, powers of ten over many."""
    getattr(axes, f"set_{which}scale")("log")
    axis = axes.xaxis if which == "x" else axes.yaxis
    low, high = getattr(axes, f"get_{which}lim")()
    if 0 < high - low < TOLD_APART * low:
        low, high = low * (1 - TOLD_APART / 2), high * (1 + TOLD_APART / 2)
        getattr(axes, f"set_{which}lim")(low, high)
    axis.set_minor_formatter(NullFormatter())
    if low > 0 and high / low < 300:
        ratio = high / low
        steps = (1.0, 2.0, 3.0, 5.0) if ratio < 12 else (1.0, 2.0, 5.0) if ratio < 60 else (1.0, 3.0)
        axis.set_major_locator(MaxNLocator(5) if ratio < 4 else LogLocator(subs=steps))
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.4g}"))


def linear_scale(axes: Axes, which: str) -> None:
    """A linear x or y axis with labels of four digits at most, and so wide that these tell its ticks apart."""
    axis = axes.xaxis if which == "x" else axes.yaxis
    low, high = getattr(axes, f"get_{which}lim")()
    lacks = TOLD_APART * max(abs(low), abs(high)) - (high - low)
    if lacks > 0:
        getattr(axes, f"set_{which}lim")(low - lacks / 2, high + lacks / 2)
    axis.set_major_locator(MaxNLocator(5))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.4g}"))


def thin(x: np.ndarray, y: np.ndarray, most: int = 3000) -> tuple[np.ndarray, np.ndarray]:
    """A curve reduced to at most about `most` points that keeps each bucket's lowest and highest."""
    if len(x) <= most:
        return x, y
    edges = np.linspace(0, len(x), most // 2 + 1).astype(int)
    finite = np.where(np.isfinite(y), y, 0.0)
    rows = np.array(
        [
            e
            for a, b in itertools.pairwise(edges)
            for e in sorted((a + int(np.argmin(finite[a:b])), a + int(np.argmax(finite[a:b]))))
        ]
    )
    return x[rows], y[rows]


def rasterize_clouds(figure: Figure, most: int = 600) -> None:
    """Draw clouds of many markers as an image inside the SVG: as vectors they weigh megabytes and scroll badly."""
    for axes in figure.axes:
        for line in axes.lines:
            if line.get_marker() not in ("None", None, "") and np.size(line.get_xdata()) > most:
                line.set_rasterized(True)
        for collection in axes.collections:
            if np.shape(collection.get_offsets())[0] > most:
                collection.set_rasterized(True)


def render(figure: Figure, kind: str) -> bytes:
    """The figure as PNG (150 dpi, white ground) or SVG (transparent ground, text as text) bytes."""
    buffer = io.BytesIO()
    with style(), warnings.catch_warnings():
        # letters that matplotlib's font lacks are boxes in the PNG; in the SVG they are text, and the browser has a font
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        if kind == "png":
            figure.savefig(buffer, format="png", dpi=150, facecolor="white")
        else:
            rasterize_clouds(figure)
            figure.savefig(buffer, format="svg", metadata={"Date": None}, transparent=True, dpi=150)
    return buffer.getvalue()
