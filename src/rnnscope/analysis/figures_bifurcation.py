"""Figures of attractors along a parameter: bifurcation diagrams, branches of fixed points with their bifurcations, cycles."""

from collections.abc import Sequence

import numpy as np
import torch
from matplotlib.axes import Axes

from rnnscope.core.errors import ConfigError
from rnnscope.core.tables import Figure
from rnnscope.dynamics.attractors import Attractors
from rnnscope.dynamics.bifurcations import BifurcationDiagram, BifurcationKind
from rnnscope.dynamics.continuation import Branch
from rnnscope.dynamics.periodic_orbits import Cycle
from rnnscope.plotting import COLOURS, INK, MUTED, colour, new_figure, plain, small_legend, style

MARKERS: dict[BifurcationKind, str] = {"fold": "v", "branch point": "D", "flip": "s", "Neimark-Sacker": "o"}


def diagram_figure(
    diagram: BifurcationDiagram,
    branches: Sequence[Branch] = (),
    *,
    parameter: str = "parameter",
    output: int = 0,
    output_name: str = "output",
) -> Figure:
    """Outputs on the attractors over a parameter."""
    values, outputs = diagram.values.numpy(), diagram.outputs[..., output].flatten(1).numpy()
    with style():
        canvas, axes = new_figure(1, 1, 7.2, 4.0)
        x = np.repeat(values, outputs.shape[1])
        axes.plot(x, outputs.ravel(), ".", color=COLOURS[0], ms=1.2, alpha=0.5, mew=0, rasterized=True)
        for kind, at in sorted({(b.kind, b.parameter) for branch in branches for b in branch.bifurcations}):
            axes.axvline(at, color=MUTED, lw=0.7, ls=":")
            axes.text(at, 1.0, f" {kind}", transform=axes.get_xaxis_transform(), rotation=90, va="top", fontsize=7, color=INK)
        axes.set(xlabel=plain(parameter), ylabel=plain(output_name))
    lost = int(diagram.diverged.any(1).sum())
    began = "each value begun where the one before ended" if diagram.followed else "each value begun from the same states"
    caption = f"{outputs.shape[1]} outputs after the transient at each of {len(values)} values of the parameter, {began}" + (
        f"; at {lost} values some orbit left every bound." if lost else "."
    )
    return Figure("bifurcation-diagram", caption, canvas)


def branch_figure(branches: Sequence[Branch], *, parameter: str = "parameter", unit: int | None = None) -> Figure:
    """Branches of fixed points over a parameter: solid where stable, thin where not, a marker at each bifurcation.

    Args:
        unit: the state's component drawn; the one that varies most when None.
    """
    shown = _most_varied(branches) if unit is None else unit
    with style():
        canvas, axes = new_figure(1, 1, 7.2, 4.0)
        for index, branch in enumerate(branches):
            _draw_branch(axes, branch, shown, colour(index))
        for kind, marker in MARKERS.items():
            spots = [b for branch in branches for b in branch.bifurcations if b.kind == kind]
            if spots:
                x, y = [b.parameter for b in spots], [float(b.point[shown]) for b in spots]
                axes.plot(x, y, marker, color=INK, ms=5, mfc="none", mew=1.2, ls="none", label=kind)
        axes.plot([], [], "-", color=MUTED, lw=2.2, label="stable")
        axes.plot([], [], "--", color=MUTED, lw=0.9, label="unstable")
        axes.set(xlabel=plain(parameter), ylabel=f"unit {shown}")
        small_legend(axes)
    number = sum(len(branch.bifurcations) for branch in branches)
    caption = f"{len(branches)} branch(es) of fixed points followed in {parameter}, with {number} bifurcation(s); unit {shown} of the state."
    return Figure("branches", caption, canvas)


def attractors_figure(found: Attractors, *, first: int = 0, second: int = 1) -> Figure:
    """The sets that starts settle on, and the starts coloured by them, in two components of the state.

    Raises:
        ConfigError: a component that the state does not have.
    """
    size = found.starts.shape[1]
    if not 0 <= min(first, second) <= max(first, second) < size:
        raise ConfigError(f"units {first} and {second} of a state of size {size}", f"two of 0 … {size - 1}", "choose others")
    with style():
        canvas, (left, right) = new_figure(1, 2, 9.6, 4.0)
        labels, starts = found.labels.numpy(), found.starts.numpy()
        for axes in (left, right):
            axes.set(xlabel=f"unit {first}", ylabel=f"unit {second}")
        left.plot(*starts[labels < 0][:, [first, second]].T, "x", color=MUTED, ms=3, label="diverged or not examined")
        for index, one in enumerate(found.attractors):
            left.plot(*starts[labels == index][:, [first, second]].T, ".", color=colour(index), ms=4)
            name = f"{one.kind} {100 * one.share:.0f} ± {100 * one.share_error:.0f} %"
            marks = "o" if isinstance(one.settled, Cycle) else "."
            right.plot(
                *one.points[:, [first, second]].numpy().T, marks, color=colour(index), ms=5 if marks == "o" else 2, label=name
            )
        left.set_title("starts", pad=22)
        right.set_title("where they settle", pad=22)
        small_legend(right)
    return Figure("attractors", f"Where {len(starts)} starts settle. {_kinds(found)}", canvas)


def _draw_branch(axes: Axes, branch: Branch, unit: int, shade: str) -> None:
    p, y, stable = branch.parameters.numpy(), branch.points[:, unit].numpy(), branch.is_stable.numpy()
    beside = stable | np.roll(stable, 1) | np.roll(stable, -1)
    axes.plot(p, np.where(stable, y, np.nan), "-", color=shade, lw=2.2)
    axes.plot(p, np.where(~stable | ~beside, y, np.nan), "--", color=shade, lw=0.9)


def _most_varied(branches: Sequence[Branch]) -> int:
    points = torch.cat([branch.points for branch in branches])
    return int((points.amax(0) - points.amin(0)).argmax())


def _kinds(found: Attractors) -> str:
    return "; ".join(f"{one.kind}: {100 * one.share:.1f} %" for one in found.attractors) + "."
