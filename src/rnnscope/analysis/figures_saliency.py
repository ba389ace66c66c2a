"""Figures of saliency: frames with what their pixels contributed to the decision, and the share of each frame."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Int
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LinearSegmentedColormap, Normalize, to_rgb
from matplotlib.layout_engine import ConstrainedLayoutEngine

from rnnscope.core.tables import Figure
from rnnscope.plotting import COLOURS, INK, MUTED, new_figure, plain, small_legend, style

AGAINST, FOR = to_rgb(COLOURS[0]), to_rgb(COLOURS[1])
OVERLAY = LinearSegmentedColormap.from_list("saliency", [(*AGAINST, 1.0), (*AGAINST, 0.0), (*FOR, 0.0), (*FOR, 1.0)])
SCALE = LinearSegmentedColormap.from_list("saliency scale", [AGAINST, to_rgb(MUTED), FOR])
MOST_FRAMES, FEWEST = 12, 6  # columns
DIM = 0.75  # brightness of the frames below the colours


@dataclass(frozen=True)
class FramesExample:
    """A sequence of frames in 0 … 1 with its attributions, the share of each frame, decision, true class, and probability."""

    frames: Float[np.ndarray, "T C H W"]
    attribution: Float[np.ndarray, "T C H W"]
    shares: Float[np.ndarray, " T"]
    decided: str
    actual: str
    probability: float


def saliency_figure(examples: list[FramesExample]) -> Figure:
    """A row of frames per sequence; orange pixels spoke for the choice, blue ones against it; below each frame its share."""
    longest = max(len(example.frames) for example in examples)
    columns = min(MOST_FRAMES, longest)
    width = max(7.0, 0.85 * columns + 0.8)
    with style():
        canvas, whole = new_figure(1, 1, width, 0.3 + len(examples) * (0.46 + (width - 0.8) / max(columns, FEWEST)))
        whole.remove()
        engine = canvas.get_layout_engine()
        assert isinstance(engine, ConstrainedLayoutEngine)
        engine.set(h_pad=0.16)  # room for the titles, which the layout does not see
        grid = canvas.subplots(len(examples), max(columns, FEWEST), squeeze=False)
        for row, example in enumerate(examples):
            _row(grid[row], example)
        bar = canvas.colorbar(ScalarMappable(Normalize(-1, 1), SCALE), ax=grid, pad=0.01, shrink=0.6, aspect=25)
        bar.set_ticks([-1, 0, 1], labels=["against", "0", "for"])
        bar.ax.tick_params(labelsize=8)
    left_out = f" Of longer sequences {columns} frames are drawn, evenly chosen." if longest > columns else ""
    caption = (
        "Frames in grey, and over them what each pixel contributed to the margin between the chosen class and the runner-up "
        "(integrated gradients, summed over channels; each row has its own scale): orange for the choice, blue against it. Below "
        f"each frame its number and its share of the attribution.{left_out}"
    )
    return Figure("saliency_frames", caption, canvas, wide=True)


def _row(axes: np.ndarray, example: FramesExample) -> None:
    total = len(example.frames)
    shown = np.unique(np.linspace(0, total - 1, min(total, len(axes))).round().astype(int))
    grey = DIM * example.frames.mean(1)
    signed = example.attribution.sum(1)
    limit = float(np.quantile(np.abs(signed), 0.999)) or float(np.abs(signed).max()) or 1.0
    for place, one in enumerate(axes):
        one.grid(False)
        one.set(xticks=[], yticks=[])
        if place >= len(shown):
            one.set_axis_off()
            continue
        step = shown[place]
        one.imshow(grey[step], cmap="gray", vmin=0, vmax=1, interpolation="nearest")
        one.imshow(signed[step], cmap=OVERLAY, vmin=-limit, vmax=limit, interpolation="nearest")
        for spine in one.spines.values():
            spine.set(visible=True, color=MUTED, linewidth=0.6)
        one.set_xlabel(f"{step + 1}: {100 * example.shares[step]:.0f} %", fontsize=7, labelpad=2)
    truth = "" if example.actual == example.decided else f", truly {example.actual}"
    words = plain(f"{example.decided}{truth} (p {_probability(example.probability)})")
    place_above: Any = axes[0].transAxes
    title = axes[0].text(0.0, 1.06, words, transform=place_above, fontsize=9, fontweight="bold", va="bottom")
    title.set_in_layout(False)  # it reaches over the frames beside it


def _probability(value: float) -> str:
    return "> .999" if value > 0.999 else f"{value:.3f}".lstrip("0")


def saliency_course_figure(shares: Float[np.ndarray, "N T"], lengths: Int[np.ndarray, " N"]) -> Figure:
    """The share of each frame in the attribution: mean and the middle half over sequences, beside equal shares."""
    steps = np.arange(1, shares.shape[1] + 1)
    there = np.arange(shares.shape[1]) < lengths[:, None]
    own = [100 * shares[there[:, t], t] for t in range(shares.shape[1])]
    with style():
        canvas, axes = new_figure(1, 1, 7.2, 3.4)
        axes.bar(steps, [v.mean() if len(v) else 0.0 for v in own], 0.7, color=COLOURS[1], alpha=0.8, label="mean")
        _middle(axes, steps, own)
        axes.axhline(100 / float(np.mean(lengths)), color=MUTED, ls="--", lw=1.0, label="equal shares")
        axes.set(xlabel="frame", ylabel="share of the attribution [%]", xlim=(0.4, len(steps) + 0.6), ylim=(0, None))
        if len(steps) <= 25:
            axes.set_xticks(steps)
        axes.grid(axis="x", visible=False)
        small_legend(axes)
    caption = f"How much of the attribution, by size, lies in each frame: mean over {len(shares)} sequences, and the middle half of them."
    return Figure("saliency_course", caption, canvas)


def _middle(axes: Axes, steps: np.ndarray, own: list[np.ndarray]) -> None:
    quartiles = np.array([np.percentile(v, [25, 75]) if len(v) else [0.0, 0.0] for v in own])
    axes.vlines(steps, quartiles[:, 0], quartiles[:, 1], color=INK, lw=1.4, label="middle half")
