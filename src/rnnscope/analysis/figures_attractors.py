"""Figures of attractors: starts and the sets that they settle on, and the outputs on these sets."""

import numpy as np
import torch
from jaxtyping import Float

from rnnscope.analysis.figures_state_space import axis_labels
from rnnscope.analysis.view import View
from rnnscope.core.tables import Figure
from rnnscope.dynamics.attractors import Attractor, Attractors
from rnnscope.dynamics.components import PrincipalComponents
from rnnscope.plotting import COLOURS, MUTED, clear_marks, colour, new_figure, style

SETS, STEPS, OUTPUTS = 6, 200, 3


def basin_figure(found: Attractors, components: PrincipalComponents, words: str) -> Figure:
    """Starts, coloured by the set on which they settle, and the sets, in the leading plane of the visited states."""
    starts = components.project(found.starts).numpy()
    labels = found.labels.numpy()
    with style():
        canvas, axes = new_figure(1, 1, 6.6, 4.6)
        for index, one in enumerate(found.attractors):
            shade = colour(index)
            axes.plot(*starts[labels == index].T, ".", color=shade, ms=3, alpha=0.5)
            points = components.project(one.points).numpy()
            mark = "o" if one.kind in ("point", "cycle") else "."
            size = 7 if mark == "o" and len(points) < 20 else 3
            name = f"{one.kind} ({100 * one.share:.0f} %)" if index < SETS else None
            axes.plot(*points.T, mark, color=shade, ms=size, mec="white" if size == 7 else shade, mew=0.6, label=name)
        lost = starts[labels < 0]
        if len(lost):
            axes.plot(*lost.T, "x", color=MUTED, ms=4, label="diverged or not examined")
        axis_labels(axes, components)
        axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), fontsize=8)
        clear_marks(axes)
    caption = f"{len(starts)} starts (small dots) of the network {words}, and the sets on which they settle, in the leading plane of the visited states."
    return Figure("basins", caption, canvas)


@torch.no_grad()
def output_figure(found: Attractors, seen: View) -> Figure:
    """The outputs over time on each set."""
    shown = found.attractors[:SETS]
    with style():
        canvas, rows = new_figure(len(shown), 1, 7.2, 1.0 + 1.25 * len(shown))
        paths = [_outputs(one, seen) for one in shown]
        low, high = _range(paths)
        for index, (axes, one, path) in enumerate(zip(np.atleast_1d(rows), shown, paths, strict=True)):
            for k in range(path.shape[1]):  # the first thick: equal outputs lie on one another
                axes.plot(path[:, k], color=COLOURS[k], lw=1.1 + 1.3 * (path.shape[1] - 1 - k), label=f"output {k + 1}")
            axes.set_title(f"{one.kind}, {100 * one.share:.0f} % of starts", fontsize=9)
            axes.set(xlim=(0, STEPS - 1), ylim=(low, high))
            axes.tick_params(labelbottom=index == len(shown) - 1)
            if index == 0 and path.shape[1] > 1:
                axes.legend(loc="lower right", bbox_to_anchor=(1.0, 1.0), ncols=OUTPUTS, fontsize=7)
        axes.set_xlabel("step")
    caption = f"The outputs on each set, over {STEPS} steps, in the network's own units" + (
        f"; the first {SETS} of {len(found.attractors)} sets." if len(found.attractors) > SETS else "."
    )
    return Figure("outputs", caption, canvas)


def _outputs(one: Attractor, seen: View) -> Float[np.ndarray, "T Y"]:
    """The first few outputs along a set."""
    state, outputs = one.points[:1], []
    for _ in range(STEPS):
        outputs.append(seen.map.readout(state)[0, :OUTPUTS])
        state = seen.map.step(state, state.new_zeros(1, 0))
    return torch.stack(outputs).double().numpy()


def _range(paths: list[np.ndarray]) -> tuple[float, float]:
    """One range for all sets, at least one unit high where nothing moves and all agree."""
    everything = np.concatenate(paths)
    everything = everything[np.isfinite(everything).all(1)]
    low, high = (float(everything.min()), float(everything.max())) if len(everything) else (0.0, 0.0)
    if high - low < 1e-9 * max(1.0, abs(low), abs(high)):
        return low - 1, high + 1
    return low - 0.08 * (high - low), high + 0.08 * (high - low)
