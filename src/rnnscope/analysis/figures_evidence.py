"""Figures of the evidence for decisions: examples with what each step contributed, and its course by class."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LinearSegmentedColormap, Normalize, to_rgb
from matplotlib.ticker import MaxNLocator

from rnnscope.core.tables import Figure
from rnnscope.plotting import COLOURS, MUTED, colour, new_figure, plain, small_legend, style

AGAINST, FOR = to_rgb(COLOURS[0]), to_rgb(COLOURS[1])
# nothing is transparent, so that it looks alike on white and on black
EVIDENCE = LinearSegmentedColormap.from_list(
    "evidence", [(0.0, (*AGAINST, 1.0)), (0.5, (*AGAINST, 0.0)), (0.5, (*FOR, 0.0)), (1.0, (*FOR, 1.0))]
)
LINES = 6  # features drawn as lines; more are drawn as an image
MOST_NAMES = 16
MOST_CLASSES = 8


@dataclass(frozen=True)
class Example:
    """A sequence (T, X) with its evidence (T, X), the class decided for, the runner-up, the true class, and the probability."""

    inputs: Float[np.ndarray, "T X"]
    evidence: Float[np.ndarray, "T X"]
    decided: str
    runner_up: str
    actual: str
    probability: float


def examples_figure(examples: list[Example], names: tuple[str, ...]) -> Figure:
    """Inputs above, evidence below: summed over features behind the curves, feature by feature in the map."""
    columns = min(2, len(examples))
    rows = -(-len(examples) // columns)
    several = len(names) > 1
    height = min(1.6, 0.5 + 0.09 * len(names)) if several else 0.35
    with style():
        canvas, whole = new_figure(1, 1, 10.0, rows * (2.1 + height))
        whole.remove()
        axes = canvas.subplots(2 * rows, columns, height_ratios=[1.7, height] * rows, squeeze=False)
        for number in range(rows * columns):
            row, column = divmod(number, columns)
            pair = axes[2 * row, column], axes[2 * row + 1, column]
            if number >= len(examples):
                for one in pair:
                    one.set_axis_off()
                continue
            _inputs(pair[0], examples[number], names)
            limit = _evidence(pair[1], examples[number], names, labelled=column == 0)
            bar = canvas.colorbar(ScalarMappable(Normalize(-limit, limit), EVIDENCE), ax=pair[1], pad=0.01, aspect=8)
            bar.ax.tick_params(labelsize=7)
            bar.set_ticks([-limit, 0, limit], labels=[f"{-limit:.2g}", "0", f"{limit:.2g}"])
        if 1 < len(names) <= LINES:
            canvas.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside upper left", ncols=LINES)
    caption = (
        "Test sequences and what each step contributed to the margin between the chosen class and the runner-up (integrated "
        "gradients, in logits): orange for the choice, blue against it. The shade behind the curves is the sum over features."
        if several
        else "Test sequences and what each step contributed to the margin between the chosen class and the runner-up "
        "(integrated gradients, in logits): orange for the choice, blue against it."
    )
    return Figure("evidence_examples", caption, canvas, wide=True)


def _inputs(axes: Axes, example: Example, names: tuple[str, ...]) -> None:
    steps = np.arange(len(example.inputs)) + 1
    total = example.evidence.sum(1)
    limit = float(np.abs(total).max()) or 1.0
    if len(names) <= LINES:
        marks = "." if len(steps) <= 40 else ""
        for feature, name in enumerate(names):
            axes.plot(steps, example.inputs[:, feature], marker=marks, ms=4, color=_shade(feature), label=plain(name), lw=1.2)
        low, high = axes.get_ylim()
        axes.imshow(
            total[None],
            cmap=EVIDENCE,
            vmin=-limit,
            vmax=limit,
            aspect="auto",
            alpha=0.55,
            extent=(0.5, len(steps) + 0.5, low, high),
        )
        axes.set_ylim(low, high)
    else:
        box = (0.5, len(steps) + 0.5, example.inputs.shape[1] - 0.5, -0.5)
        axes.imshow(example.inputs.T, cmap="viridis", aspect="auto", interpolation="nearest", extent=box)
        axes.grid(False)
        axes.set_ylabel("features")
        axes.set_yticks([])
    truth = "" if example.actual == example.decided else f", truly {example.actual}"
    axes.set_title(
        plain(f"{example.decided}{truth} (p {_probability(example.probability)}, then {example.runner_up})"), fontsize=9
    )
    axes.set_xlim(0.5, len(steps) + 0.5)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.tick_params(labelbottom=False)


def _shade(feature: int) -> str:
    """Line colours that are not those of the evidence."""
    return (COLOURS[2], COLOURS[3], COLOURS[4], COLOURS[5], COLOURS[6], MUTED)[feature % LINES]


def _probability(value: float) -> str:
    return "> .999" if value > 0.999 else f"{value:.3f}".lstrip("0")


def _evidence(axes: Axes, example: Example, names: tuple[str, ...], labelled: bool) -> float:
    """A row per feature. Returns the end of the colour scale."""
    limit = float(np.abs(example.evidence).max()) or 1.0
    box = (0.5, len(example.evidence) + 0.5, example.evidence.shape[1] - 0.5, -0.5)
    axes.imshow(example.evidence.T, cmap=EVIDENCE, vmin=-limit, vmax=limit, aspect="auto", interpolation="nearest", extent=box)
    axes.grid(False)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    if labelled and 1 < len(names) <= MOST_NAMES:
        axes.set_yticks(range(len(names)), [plain(n) for n in names], fontsize=6)
    else:
        axes.set_yticks([])
    axes.set_xlabel("step", fontsize=8, labelpad=1)
    axes.tick_params(axis="x", labelsize=8)
    return limit


def course_figure(
    by_step: Float[np.ndarray, "N T"], lengths: Int[np.ndarray, " N"], decided: Int[np.ndarray, " N"], names: tuple[str, ...]
) -> Figure:
    """Mean evidence at each step over the sequences of each decision; unequal lengths are laid over one another in per cent."""
    unequal = lengths.min() != lengths.max()
    grid = np.linspace(0, 1, int(np.median(lengths)))
    curves = np.stack([_stretched(row[:length], grid) for row, length in zip(by_step, lengths, strict=True)])
    x = 100 * grid if unequal else np.arange(len(grid)) + 1
    present = [k for k in range(len(names)) if (decided == k).any()][:MOST_CLASSES]
    with style():
        canvas, axes = new_figure(1, 1, 8.0, 3.6)
        for place, k in enumerate(present):
            own = curves[decided == k]
            axes.plot(x, own.mean(0), color=colour(place), label=plain(f"{names[k]} ({len(own)})"))
            if len(own) > 1:
                axes.fill_between(x, *np.percentile(own, [25, 75], axis=0), color=colour(place), alpha=0.15, lw=0)
        axes.axhline(0, color=MUTED, lw=0.8)
        axes.set(xlabel="part of the sequence [%]" if unequal else "step", ylabel="evidence per step [logits]")
        axes.set_xlim(x[0], x[-1] if len(x) > 1 else x[0] + 1)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        small_legend(axes)
    rest = f" The first {MOST_CLASSES} classes are drawn." if len(names) > MOST_CLASSES else ""
    caption = (
        "Where in a sequence the evidence lies: mean over the sequences decided for each class (their number in the legend), and the "
        f"middle half of them as a band.{rest}"
    )
    return Figure("evidence_course", caption, canvas)


def _stretched(values: Float[np.ndarray, " T"], grid: Float[np.ndarray, " G"]) -> Float[np.ndarray, " G"]:
    """One sequence's evidence on the common grid, as a density: its mean stays."""
    if len(values) == len(grid):
        return values.astype(np.float64)
    own = np.linspace(0, 1, len(values)) if len(values) > 1 else np.zeros(1)
    return np.interp(grid, own, values) * (len(values) / len(grid))
