"""Figures of the states under the data: variance by component, paths in the leading plane, single units over time."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from rnnscope.core.tables import Figure
from rnnscope.dynamics.components import PrincipalComponents
from rnnscope.dynamics.trajectories import Trajectories
from rnnscope.plotting import COLOURS, INK, new_figure, small_legend, style

PATHS, STEPS = 4, 100  # shown: more of either is a tangle
LINES = 6  # state variables drawn as lines


def axis_labels(axes: Axes, components: PrincipalComponents, first: int = 0, second: int = 1) -> None:
    """PC axes with their share of the variance."""
    shares = 100 * components.explained_variance_ratio
    axes.set(xlabel=f"PC{first + 1} ({float(shares[first]):.0f} %)", ylabel=f"PC{second + 1} ({float(shares[second]):.0f} %)")


def scree_figure(components: PrincipalComponents, what: str, *, num_shown: int = 10) -> Figure:
    """Explained variance of the leading components, single and cumulated."""
    with style():
        canvas, axes = new_figure(1, 1, 6.4, 3.4)
        shares = components.explained_variance_ratio[:num_shown].numpy()
        numbers = np.arange(1, len(shares) + 1)
        axes.bar(numbers, 100 * shares, 0.62, color=COLOURS[0], label="each")
        axes.plot(numbers, 100 * shares.cumsum(), "o-", color=COLOURS[1], ms=4, label="cumulated")
        for number, share in zip(numbers[:3], shares, strict=False):
            tall = share > 0.15  # inside the bar, where the curve does not pass
            height, shade = (50 * share, "white") if tall else (100 * share + 1.5, INK)
            axes.text(number, height, f"{100 * share:.1f}", ha="center", fontsize=8, color=shade)
        axes.set(xlabel="principal component", ylabel="variance in %", ylim=(0, 104), xticks=numbers)
        axes.grid(axis="x", visible=False)
        small_legend(axes)
    two = f"; the first two hold {100 * shares[:2].sum():.1f} %" if len(shares) > 2 else ""
    caption = (
        f"Variance of {what} along their principal components{two}. "
        f"The participation ratio, an effective dimension, is {components.participation_ratio:.2f}."
    )
    return Figure("scree", caption, canvas)


def paths_figure(found: Trajectories) -> Figure:
    """A few driven paths in the leading plane, from a ring to a dot."""
    paths = found.components.project(found.states[:PATHS, :STEPS]).numpy()
    with style():
        canvas, axes = new_figure(1, 1, 6.0, 4.6)
        for number, path in enumerate(paths):
            shade = COLOURS[number % len(COLOURS)]
            axes.plot(*path.T, "-", color=shade, lw=0.8, alpha=0.8)
            axes.plot(*path[0], "o", color=shade, ms=5, mfc="none")
            axes.plot(*path[-1], "o", color=shade, ms=5)
        axis_labels(axes, found.components)
    caption = f"{len(paths)} sequences of the data as paths in the leading plane, at most {STEPS} steps each; a ring marks the first step, a dot the last."
    return Figure("paths", caption, canvas)


def units_figure(found: Trajectories, most: int) -> Figure:
    """The state variables that move most, over one sequence: as a map, and the first few as lines."""
    order = found.activity_sd.argsort(descending=True)[:most]
    path = found.states[0][: 2 * STEPS, order].numpy()
    reach = max(float(np.abs(path).max()), 1e-12)
    with style():
        canvas, (upper, lower) = new_figure(2, 1, 7.2, 5.4)
        image = upper.imshow(path.T, aspect="auto", cmap="RdBu_r", vmin=-reach, vmax=reach, interpolation="nearest")
        upper.set(ylabel="state variable", yticks=range(0, len(order), max(1, len(order) // 8)))
        upper.set_yticklabels([str(int(order[i])) for i in range(0, len(order), max(1, len(order) // 8))])
        upper.grid(visible=False)
        upper.xaxis.set_major_locator(MaxNLocator(integer=True))
        canvas.colorbar(image, ax=upper, pad=0.01, fraction=0.03, label="state")
        for number in range(min(LINES, len(order))):
            lower.plot(path[:, number], color=COLOURS[number], lw=1, label=str(int(order[number])))
        lower.set(xlabel="step", ylabel="state", xlim=(-0.5, len(path) - 0.5))
        lower.xaxis.set_major_locator(MaxNLocator(integer=True))
        lower.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), fontsize=8, title="variable", title_fontsize=8)
    caption = f"{_which(len(order), found.states.shape[2])} over the first sequence, numbered from 0{_as_lines(len(order))}."
    return Figure("units", caption, canvas, wide=False)


def _which(shown: int, size: int) -> str:
    if shown < size:
        return f"The {shown} state variables that move most" if shown > 1 else "The state variable that moves most"
    return f"All {size} state variables, that which moves most on top," if size > 1 else "The state variable"


def _as_lines(shown: int) -> str:
    return (
        f"; below, the first {LINES} as lines" if shown > LINES else "; below, as lines" if shown > 1 else "; below, as a line"
    )
