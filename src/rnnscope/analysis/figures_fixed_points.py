"""Figures of fixed points: the flow in the leading plane, paths in space, eigenvalues, phase portraits of small systems.

Stability has fixed colours: stable points are green, others by their number of unstable directions, undecided ones blue.
"""

import numpy as np
import torch
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator
from torch import Tensor

from rnnscope.analysis.figures_state_space import axis_labels
from rnnscope.analysis.trajectory_html import trajectory_3d_html
from rnnscope.analysis.view import View
from rnnscope.core.jacobians import state_jacobians
from rnnscope.core.tables import Figure
from rnnscope.dynamics.components import PrincipalComponents
from rnnscope.dynamics.fixed_points import FixedPoints
from rnnscope.plotting import INK, MUTED, clear_marks, new_figure, small_legend, style

SHADES = ("#3a9d5d", "#e0782f", "#d1495b", "#9467c8", "#3b82c4")  # 0, 1, 2, 3 or more unstable directions; undecided
NAMES = ("stable", "1 unstable direction", "2 unstable directions", "3 or more", "undecided")
UNDECIDED = 4
PATHS = 12


def classes(found: FixedPoints) -> np.ndarray:
    """Index into SHADES of each point; without an unstable direction only what is stable counts as such."""
    border = torch.tensor(
        ["border" in kind for kind in found.kinds], dtype=torch.bool
    )  # of linear regions, with eigenvalues of one side
    undecided = border | ((found.num_unstable == 0) & ~found.is_stable)
    return torch.where(undecided, UNDECIDED, found.num_unstable.clamp_max(3)).numpy()


def flow_figure(seen: View, found: FixedPoints, components: PrincipalComponents) -> Figure:
    """Visited states, the map's displacement on the leading plane, fixed points and their unstable directions."""
    with style():
        canvas, axes = new_figure(1, 1, 6.6, 5.0)
        cloud = components.project(seen.visited.flatten(0, 1)).numpy()
        points = components.project(found.points).numpy() if len(found) else np.zeros((0, 2))
        shown = cloud[:: max(1, len(cloud) // 4000)]
        axes.plot(*shown.T, ".", color=MUTED, ms=1.5, alpha=0.35, zorder=1)
        axes.plot([], [], ".", color=MUTED, ms=5, label="visited states")
        low, high = _limits(shown, points)
        _flow(axes, seen, components, low, high)
        _unstable_directions(axes, seen, found, components, float((high - low).max()))
        _mark(axes, points, found)
        slow = components.project(found.slow_points.points).numpy()
        if len(slow):
            axes.plot(*slow.T, "x", color=INK, ms=5, mew=1, zorder=4, label="slow points")
        axis_labels(axes, components)
        axes.set(xlim=(low[0], high[0]), ylim=(low[1], high[1]))
        axes.grid(visible=False)
        axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), fontsize=8, handlelength=1.2)
    caption = (
        f"Fixed points of the network {seen.words}, projected on the leading plane of the visited states. Arrows: F(h) - h on that plane through "
        "the mean, projected; bars: unstable directions (away from the plane they appear shorter)."
    )
    return Figure("flow", caption, canvas)


def _limits(cloud: np.ndarray, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Room for the states, and for those fixed points that are not far outside them."""
    low, high = cloud.min(0), cloud.max(0)
    span = np.maximum(high - low, 1e-9)
    near = points[((points > low - span) & (points < high + span)).all(1)] if len(points) else points
    both = np.concatenate([cloud, near])
    low, high = both.min(0), both.max(0)
    margin = 0.06 * np.maximum(high - low, 1e-9)
    return low - margin, high + margin


@torch.no_grad()
def _flow(axes: Axes, seen: View, components: PrincipalComponents, low: np.ndarray, high: np.ndarray) -> None:
    x, y = np.meshgrid(np.linspace(low[0], high[0], 22), np.linspace(low[1], high[1], 16))
    plane = torch.from_numpy(np.stack([x.ravel(), y.ravel()], 1))
    states = components.mean + plane @ components.axes[:2]
    moved = seen.map.step(states, states.new_zeros(len(states), 0)).double()
    shift = (components.project(moved) - plane).numpy()
    speed = np.linalg.norm(shift, axis=1, keepdims=True)
    length = shift / np.maximum(speed, 1e-12) * np.tanh(speed / np.median(speed[speed > 0])) if (speed > 0).any() else shift
    axes.quiver(x, y, *length.T, color=MUTED, alpha=0.7, width=0.002, scale=34, headwidth=4, zorder=2, pivot="mid")


def unstable_directions(seen: View, found: FixedPoints, most: int = 60) -> tuple[np.ndarray, Float[Tensor, "N S"]]:
    """Numbers of points and real unit vectors along their unstable directions (both of a complex pair's plane)."""
    rows, vectors = [], []
    chosen = (found.num_unstable > 0).nonzero()[:, 0][:most]
    if len(chosen):
        jacobians = state_jacobians(seen.map, found.points[chosen], found.points.new_zeros(len(chosen), 0))
        values, basis = torch.linalg.eig(jacobians)
        for index, row in enumerate(chosen.tolist()):
            for k in (values[index].abs() > 1).nonzero()[:, 0].tolist():
                vector = basis[index, :, k]
                real = vector.imag if values[index, k].imag < 0 else vector.real
                if real.norm() > 0:
                    rows.append(row)
                    vectors.append(real / real.norm())
    return np.array(rows, int), torch.stack(vectors) if vectors else found.points.new_zeros(0, found.points.shape[1])


def _unstable_directions(axes: Axes, seen: View, found: FixedPoints, components: PrincipalComponents, span: float) -> None:
    rows, vectors = unstable_directions(seen, found)
    reach = 0.05 * span
    for row, vector in zip(rows, vectors, strict=True):
        ends = components.project(torch.stack([found.points[row] - reach * vector, found.points[row] + reach * vector])).numpy()
        axes.plot(*ends.T, color=SHADES[classes(found)[row]], lw=1.2, alpha=0.8, zorder=3)


def _mark(axes: Axes, points: np.ndarray, found: FixedPoints) -> None:
    kinds = classes(found)
    for k in range(len(SHADES)):
        own = points[kinds == k]
        if len(own):
            axes.plot(*own.T, "o", color=SHADES[k], ms=6, mec="white", mew=0.7, zorder=5, label=f"{NAMES[k]} ({len(own)})")


def space_figure(seen: View, found: FixedPoints, components: PrincipalComponents) -> Figure:
    """Paths and fixed points along the first three components, still and to turn by hand."""
    paths = components.project(seen.visited[:PATHS], 3).numpy()
    points = components.project(found.points, 3).numpy()[:500]
    with style():
        canvas, axes = new_figure(1, 1, 6.6, 3.6)
        axes.remove()
        axes = canvas.add_subplot(projection="3d")
        for side in (axes.xaxis, axes.yaxis, axes.zaxis):
            side.set_pane_color((1.0, 1.0, 1.0, 0.0))  # filled panes would hide the paths on a dark page
        axes.grid(visible=False)
        for path in paths:
            axes.plot(*path.T, color=MUTED, lw=0.7, alpha=0.8)
        kinds = classes(found)[:500]
        for k in range(len(SHADES)):
            if (kinds == k).any():
                axes.plot(*points[kinds == k].T, "o", color=SHADES[k], ms=5, mec="white", mew=0.5, label=NAMES[k])
        axes.set(xlabel="PC1", ylabel="PC2", zlabel="PC3")
        axes.tick_params(labelsize=7)
        if len(points):
            axes.legend(loc="center left", bbox_to_anchor=(1.12, 0.5), fontsize=8)
    length = paths.shape[1]
    codes = np.concatenate([np.zeros(paths.shape[0] * length, int), 1 + kinds])
    everything = np.concatenate([paths.reshape(-1, 3), points])
    step = max(1, len(everything) // 11000)
    kept = np.concatenate([np.arange(0, paths.shape[0] * length, step), np.arange(paths.shape[0] * length, len(everything))])
    starts = np.searchsorted(kept, np.arange(0, paths.shape[0] * length, length))
    breaks = [*starts.tolist(), *range(int((kept < paths.shape[0] * length).sum()), len(kept))]
    page = trajectory_3d_html(
        everything[kept].astype(np.float64),
        codes[kept],
        "Paths and fixed points",
        names=["visited states", *NAMES],
        breaks=breaks,
        sizes=[0.6, *[3.0] * len(NAMES)],
        colours=[MUTED, *SHADES],
    )
    caption = f"{len(paths)} paths of the driven network, and the fixed points of the network {seen.words}, along the first three components."
    return Figure("space", caption, canvas, interactive=page)


def eigenvalue_figure(found: FixedPoints) -> Figure:
    """Eigenvalues of the Jacobian at every fixed point, beside the unit circle."""
    with style():
        canvas, axes = new_figure(1, 1, 5.6, 4.6)
        turn = np.linspace(0, 2 * np.pi, 400)
        axes.plot(np.cos(turn), np.sin(turn), color=INK, lw=0.8)
        kinds = classes(found)
        size = 4 if found.eigenvalues.numel() > 40 else 8
        for k in range(len(SHADES)):
            values = found.eigenvalues[torch.from_numpy(kinds == k)].flatten().numpy()
            if len(values):
                axes.plot(values.real, values.imag, ".", color=SHADES[k], ms=size, alpha=0.7, label=NAMES[k])
        axes.set(xlabel="real part of λ", ylabel="imaginary part", aspect="equal")
        axes.xaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))
        axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), fontsize=8)
        clear_marks(axes)
    caption = (
        "Eigenvalues of dF/dh at each fixed point: inside the unit circle a direction decays, outside it grows; off the real axis it "
        "turns. Colours tell the stability of the point to which they belong."
    )
    return Figure("eigenvalues", caption, canvas)


@torch.no_grad()
def portrait_figure(seen: View, found: FixedPoints) -> Figure:
    """The whole map of one or two state variables: the graph of F and the diagonal, or nullclines and flow."""
    cloud, points = seen.visited.flatten(0, 1).numpy(), found.points.numpy()
    with style():
        canvas, axes = new_figure(1, 1, 5.6, 4.6)
        low, high = _limits(cloud, points)
        if seen.map.state_size == 1:
            grid = torch.linspace(float(low[0]), float(high[0]), 400, dtype=torch.float64)[:, None]
            after = seen.map.step(grid, grid.new_zeros(400, 0)).double()
            axes.plot(grid[:, 0], after[:, 0], label="F(h)")
            axes.plot(grid[:, 0], grid[:, 0], color=INK, lw=0.8, label="F(h) = h")
            _mark(axes, np.repeat(points, 2, 1), found)
            axes.set(xlabel="h", ylabel="next h")
            caption = (
                f"The map of the single state variable of the network {seen.words}; it stands still where the curve meets the diagonal. "
                "A narrow gap between the two is a ghost: states pass it in many small steps."
            )
        else:
            x, y = np.meshgrid(np.linspace(low[0], high[0], 160), np.linspace(low[1], high[1], 160))
            grid = torch.from_numpy(np.stack([x.ravel(), y.ravel()], 1))
            change = (seen.map.step(grid, grid.new_zeros(len(grid), 0)).double() - grid).numpy()
            for axis, shade in enumerate(("#3b82c4", "#b58a2b")):
                axes.contour(x, y, change[:, axis].reshape(x.shape), [0.0], colors=shade, linewidths=1.3)
                axes.plot([], [], color=shade, label=f"state variable {axis} stands still")
            sparse = (slice(None, None, 8), slice(None, None, 8))
            u, v = (change[:, k].reshape(x.shape)[sparse] for k in (0, 1))
            size = np.hypot(u, v) + 1e-12
            axes.quiver(x[sparse], y[sparse], u / size, v / size, color=MUTED, alpha=0.7, width=0.003, scale=30, pivot="mid")
            _mark(axes, points, found)
            axes.set(xlabel="state variable 0", ylabel="state variable 1")
            caption = (
                f"Phase portrait of the network {seen.words}. On each curve one state variable stands still; where the curves meet is a fixed "
                "point. Arrows: direction of F(h) - h."
            )
        small_legend(axes)
    return Figure("portrait", caption, canvas)
