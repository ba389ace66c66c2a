"""Figures of driven dynamics: components, paths, relaxation, residency, eigenvalues, readout, resonance, development.

Symbols have fixed colours here and in `figures_kick` and `trajectory_html`: symbol i is `plotting.colour(i)`.
"""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from rnnscope.analysis.development import Development
from rnnscope.analysis.driven_jacobian import Spectra
from rnnscope.analysis.figures_state_space import axis_labels
from rnnscope.analysis.readout_geometry import ReadoutAlignment
from rnnscope.analysis.relaxations import Relaxations
from rnnscope.analysis.residency import ZONES, Residency, Zones
from rnnscope.analysis.resonance import Resonance
from rnnscope.core.tables import Figure
from rnnscope.dynamics.components import PrincipalComponents
from rnnscope.plotting import COLOURS, INK, MUTED, colour, log_scale, new_figure, plain, small_legend, style

ZONE_COLOURS = ("#d1495b", "#e0a82f", "#3b82c4")


def symbol_names(num_symbols: int, names: Sequence[str] | None) -> list[str]:
    """Names given, or "output 0", "output 1", …"""
    return [plain(n) for n in names] if names else [f"output {i}" for i in range(num_symbols)]


def zero_to(*curves: Tensor) -> float:
    """Upper limit of an axis that begins at zero: a fifth above the highest finite value, 1 where there is none above zero."""
    values = torch.cat([c.double().reshape(-1) for c in curves])
    values = values[torch.isfinite(values) & (values > 0)]
    return 1.2 * float(values.max()) if len(values) else 1.0


def trajectory_figure(
    components: PrincipalComponents,
    states: Float[Tensor, "T S"],
    symbols: Int[Tensor, " T"],
    num_symbols: int,
    *,
    names: Sequence[str] | None = None,
) -> Figure:
    """One driven path in the leading plane, coloured by its output. About 1000 steps read best."""
    points, labels = components.project(states).numpy(), symbol_names(num_symbols, names)
    codes = symbols.numpy()
    with style():
        canvas, axes = new_figure(1, 1, 6.4, 4.8)
        axes.plot(*points.T, color=MUTED, lw=0.4, alpha=0.5, zorder=1)
        for symbol in np.unique(codes):
            chosen = points[codes == symbol]
            axes.plot(*chosen.T, ".", color=colour(int(symbol)), ms=4, alpha=0.75, label=labels[symbol], zorder=2)
        axis_labels(axes, components)
        axes.set_aspect("equal", adjustable="datalim")
        small_legend(axes)
    return Figure("trajectory", f"{len(points)} steps under noise in the plane of PC1 and PC2, coloured by the output.", canvas)


def relaxation_figure(
    components: PrincipalComponents, found: Relaxations, num_symbols: int, *, names: Sequence[str] | None = None, most: int = 40
) -> Figure:
    """Paths without input from driven states into the fixed point, in the plane and as distance against time."""
    labels = symbol_names(num_symbols, names)
    states, rest = found.states[:most], found.rest[:most]
    points, end = components.project(states).numpy(), components.project(rest.mean(0)).numpy()
    distance = (states - rest[:, None]).norm(dim=-1)
    relative = (distance / distance[:, :1].clamp_min(1e-30)).numpy()
    length = int(min(states.shape[1], 1.2 * float(found.steps_to_rest[:most].max()) + 2))
    starts = found.symbols[:most, 0].numpy()
    with style():
        canvas, (left, right) = new_figure(1, 2, 9.6, 4.0)
        for symbol in np.unique(starts):
            rows = np.flatnonzero(starts == symbol)
            for index, row in enumerate(rows):
                label = labels[symbol] if index == 0 else None
                left.plot(*points[row].T, "-", color=colour(int(symbol)), lw=0.9, alpha=0.7, label=label)
                right.plot(np.maximum(relative[row, :length], 1e-6), color=colour(int(symbol)), lw=0.8, alpha=0.6)
            left.plot(*points[rows, 0].T, "o", color=colour(int(symbol)), ms=3)
        left.plot(*end, "X", color=INK, ms=9, zorder=5, label="rest")
        axis_labels(left, components)
        small_legend(left)
        right.set_ylim(5e-4, 1.3 * max(1.0, float(np.nanmax(relative))))
        log_scale(right, "y")
        right.set(xlabel="steps without input", ylabel="distance from rest, relative to start")
    settled = float(found.settled.double().mean())
    middle = float(found.steps_to_rest[found.settled].double().median()) if settled else float("nan")
    caption = (
        f"Input switched off: paths from driven states, coloured by their output at the start. {100 * settled:.0f} % come to "
        f"rest; half of those within {middle:.0f} steps, and the output changes last after {found.steps_to_settle.double().mean():.1f} steps on average."
    )
    return Figure("relaxation", caption, canvas)


def residency_figure(
    components: PrincipalComponents, states: Float[Tensor, "M S"], found: Residency, sorted_by: Zones
) -> Figure:
    """Visited states in the plane, coloured by residency and by zone."""
    points = components.project(states).numpy()
    with style():
        canvas, (left, right) = new_figure(1, 2, 10.4, 4.2)
        order = np.argsort(-found.mean_steps.numpy())
        drawn = left.scatter(
            *points[order].T,
            c=found.mean_steps.numpy()[order],
            cmap="viridis",
            s=7,
            vmin=1,
            vmax=max(2.0, float(np.quantile(found.mean_steps.numpy(), 0.98))),
            linewidths=0,
        )
        bar = canvas.colorbar(drawn, ax=left, pad=0.02)
        bar.set_label("mean steps until the output changes")
        bar.outline.set_visible(False)
        for zone in (2, 1, 0):
            chosen = points[sorted_by.zone.numpy() == zone]
            label = f"{ZONES[zone]} ({100 * float(sorted_by.shares[zone]):.0f} %)"
            right.plot(*chosen.T, ".", color=ZONE_COLOURS[zone], ms=4.5 if zone < 2 else 3, alpha=0.8, label=label)
        for axes in (left, right):
            axis_labels(axes, components)
        small_legend(right)
    censored = 100 * found.total_censored_share
    caption = (
        f"Visited states by residency under fresh noise: transitions below {sorted_by.transition:g} steps, kick zone up to "
        f"{sorted_by.cluster:g}, clusters beyond. {censored:.0f} % of the roll-outs had not changed after {found.horizon} steps "
        "and count as that long."
    )
    return Figure("residency", caption, canvas, wide=True)


def eigenvalue_figure(found: Spectra, *, most: int = 12000) -> Figure:
    """Eigenvalues of the driven Jacobians against the unit circle, and the distribution of spectral radii."""
    values = found.eigenvalues[found.eigenvalues.abs() > 1e-6].cpu().numpy()
    values = values[:: max(1, len(values) // most)]
    outside = np.abs(values) > 1
    with style():
        canvas, (left, right) = new_figure(1, 2, 9.6, 4.4)
        angle = np.linspace(0, 2 * np.pi, 400)
        left.plot(np.cos(angle), np.sin(angle), color=INK, lw=1.0)
        left.plot(values[~outside].real, values[~outside].imag, ".", color=COLOURS[0], ms=2, alpha=0.35, label="inside")
        left.plot(values[outside].real, values[outside].imag, ".", color=COLOURS[4], ms=3, alpha=0.7, label="outside")
        left.set(xlabel="real part", ylabel="imaginary part")
        left.set_aspect("equal", adjustable="datalim")
        small_legend(left)
        right.hist(found.spectral_radius.cpu().numpy(), bins=40, color=COLOURS[0], alpha=0.85)
        right.axvline(1.0, color=INK, lw=1.0)
        right.set(xlabel="spectral radius", ylabel="visited states")
    numbers = found.summary
    caption = (
        f"Eigenvalues of dF/dh at {len(found.spectral_radius)} visited states. Mean spectral radius {numbers['radius']:.3f} "
        f"({numbers['lowest_radius']:.2f} to {numbers['highest_radius']:.2f}); {numbers['num_unstable']:.2f} outside the unit "
        f"circle on average, any at all at {100 * numbers['unstable_share']:.0f} % of the states."
    )
    return Figure("eigenvalues", caption, canvas, wide=True)


def readout_figure(
    components: PrincipalComponents,
    found: ReadoutAlignment,
    states: Float[Tensor, "M S"],
    symbols: Int[Tensor, " M"],
    *,
    names: Sequence[str] | None = None,
) -> Figure:
    """Driven states in the plane with the readout's differences as arrows, and their shares inside it."""
    points, codes = components.project(states).numpy(), symbols.numpy()
    labels = symbol_names(int(found.pairs.max()) + 1, names)
    reach = 0.8 * float(np.abs(points - points.mean(0)).max())
    with style():
        canvas, (left, right) = new_figure(1, 2, 9.8, 4.2)
        for symbol in np.unique(codes):
            left.plot(*points[codes == symbol].T, ".", color=colour(int(symbol)), ms=3, alpha=0.5, label=labels[symbol])
        centre = points.mean(0)
        for pair, direction, inside in zip(found.pairs.tolist(), found.thresholds.numpy(), found.inside.tolist(), strict=True):
            size = np.linalg.norm(direction)
            tip = centre - direction / max(size, 1e-30) * reach * (0.35 + 0.65 * inside**0.5)
            left.annotate("", tip, centre, arrowprops={"arrowstyle": "-|>", "color": INK, "lw": 1.2})
            left.annotate(
                f"{pair[0]}→{pair[1]}",
                tip,
                fontsize=8,
                ha="center",
                va="center",
                color="#222222",
                bbox={"fc": "white", "ec": "none", "pad": 0.8},
            )
        axis_labels(left, components)
        small_legend(left)
        positions = np.arange(len(found.pairs))
        right.bar(positions - 0.2, 100 * found.inside.numpy(), 0.36, color=COLOURS[0], label="of its norm²")
        right.bar(positions + 0.2, 100 * found.variance_inside.numpy(), 0.36, color=COLOURS[1], label="of its variance")
        right.axhline(100 * found.chance, color=INK, lw=0.9, ls="--", label="chance, norm²")
        right.set_xticks(positions, [f"{i} against {j}" for i, j in found.pairs.tolist()])
        right.set(ylabel="share inside the plane in %", ylim=(0, 100))
        right.grid(axis="x", visible=False)
        small_legend(right)
    angles = ", ".join(f"{a:.0f}°" for a in found.angles.tolist())
    caption = (
        "What decides between two outputs is the difference of their readout weights: its direction in the plane (arrows, longer where more of it lies "
        f"inside), and the share of it that the plane holds. Principal angles between all differences and the plane: {angles}."
    )
    return Figure("readout_alignment", caption, canvas, wide=True)


def resonance_figure(found: Resonance) -> Figure:
    """Switching rate and regularity of dwells against the noise sd."""
    scales = found.noise_scales.numpy()
    with style():
        canvas, (left, right) = new_figure(1, 2, 9.2, 3.5)
        left.plot(scales, found.switch_rate.numpy(), "o-", color=COLOURS[0], ms=4)
        left.set(xlabel="noise sd", ylabel="switches per step")
        left.set_ylim(0, zero_to(found.switch_rate))
        right.errorbar(
            scales, found.dwell_cv.numpy(), found.dwell_cv_error.numpy(), fmt="o-", color=COLOURS[1], ms=4, capsize=2
        )
        right.set(xlabel="noise sd", ylabel="cv of dwell times")
        right.set_ylim(0, zero_to(found.dwell_cv))
        if found.peak is not None:
            right.axvline(found.peak, color=INK, lw=0.9, ls="--")
        for axes in (left, right):
            log_scale(axes, "x")
    return Figure("resonance", f"Switching against the noise sd, the same draws at every sd. Verdict: {found.reason}.", canvas)


def development_figure(found: Development, losses: Sequence[float] | None = None, drop: int | None = None) -> Figure:
    """Loss, switching, instability and components against the epoch."""
    epochs = found.epochs.numpy()
    panels = [
        ("switches per step", [("", found.switch_rate)]),
        ("states with an unstable direction", [("", found.unstable_share)]),
        ("share of variance", [(f"PC{i + 1}", found.variance_shares[:, i]) for i in range(3)]),
    ]
    with style():
        canvas, grid = new_figure(2, 2, 9.2, 5.6)
        first, *others = np.ravel(grid)
        if losses is not None:
            first.plot(np.arange(len(losses)), losses, color=INK, lw=1.0)
            log_scale(first, "y")
            first.set(ylabel="loss")
        else:
            first.plot(epochs, found.mean_norm.numpy(), "o-", color=INK, ms=4)
            first.set(ylabel="mean |h|")
        for axes, (label, curves) in zip(others, panels, strict=True):
            for number, (name, values) in enumerate(curves):
                axes.plot(epochs, values.numpy(), "o-", color=COLOURS[number], ms=4, label=name or None)
            axes.set(ylabel=label, ylim=(0, zero_to(*(v for _, v in curves))))
            if len(curves) > 1:
                small_legend(axes)
        for axes in np.ravel(grid):
            axes.set(xlabel="epoch")
            if drop is not None:
                axes.axvline(drop, color=MUTED, lw=1.0, ls="--")
    end = "" if drop is None else f" The dashed line is epoch {drop}, where the loss leaves its plateau."
    return Figure("development", f"The same measurements at {len(epochs)} checkpoints.{end}", canvas, wide=True)
