"""Figures of reconstructions: generated and recorded attractor side by side, their distributions and spectra, forecast errors."""

import itertools
from collections.abc import Iterator

import numpy as np
import torch
from jaxtyping import Float

from rnnscope.core.tables import Figure
from rnnscope.dynamics.components import principal_components
from rnnscope.numerics.reconstruction import PredictionTime
from rnnscope.numerics.reconstruction_measures import smoothed_spectrum
from rnnscope.plotting import COLOURS, INK, MUTED, log_scale, new_figure, plain, small_legend, style

TRUE, MADE = COLOURS[0], COLOURS[1]
SHOWN = 4000  # points of a path
VARIABLES = 3
PIECE = 2048  # longest stretch whose spectrum is drawn


def attractor_figure(
    recorded: Float[np.ndarray, "T D"], generated: Float[np.ndarray, "B T2 D"], names: tuple[str, ...], lag: int
) -> Figure:
    """The recording on the left, a free run on the right, in up to two planes."""
    views = list(_planes(recorded, _finite_run(generated), names, lag))
    with style():
        canvas, grid = new_figure(len(views), 2, 7.2, 0.5 + 2.9 * len(views))
        for (true, made, (x, y)), (left, right) in zip(views, np.atleast_2d(grid), strict=True):
            left.plot(*true.T, color=TRUE, lw=0.4)
            right.plot(*made.T, color=MADE, lw=0.4)
            right.plot(*made[-1], "o", color=MADE, ms=3)
            reach = _limits(true)
            if not any(all(low <= v <= high for v, (low, high) in zip(point, reach, strict=True)) for point in made):
                right.text(0.5, 0.5, "outside of this range", color=MUTED, ha="center", transform=right.transAxes)
            for axes, title in ((left, "recorded"), (right, "generated")):
                axes.set(xlabel=plain(x), ylabel=plain(y), title=title, xlim=reach[0], ylim=reach[1])
    count = min(SHOWN, len(recorded))
    caption = f"The recording (its last {count} points) and the end of a free run with its last point, on the same scales."
    return Figure("attractors", caption, canvas)


def distribution_figure(
    recorded: Float[np.ndarray, "T D"], generated: Float[np.ndarray, "B T2 D"], names: tuple[str, ...], interval: float | None
) -> Figure:
    """Histograms above, smoothed power spectra below, of up to three variables."""
    shown = min(VARIABLES, recorded.shape[1])
    made = generated[np.isfinite(generated).all((1, 2))]
    length = min(len(recorded), generated.shape[1], PIECE)
    sets = [(recorded[None], TRUE, "recorded")] + ([(made, MADE, "generated")] if len(made) else [])
    with style():
        canvas, grid = new_figure(2, shown, 0.8 + 3.0 * shown if shown > 1 else 5.0, 5.2)
        columns = np.reshape(grid, (2, shown))
        for values, shade, label in sets:
            pieces = values[:, : values.shape[1] // length * length].reshape(-1, length, values.shape[2])
            powers = smoothed_spectrum(pieces, 1.0)
            steps = np.fft.rfftfreq(length, 1.0 if interval is None else interval)
            for v in range(shown):
                low, high = recorded[:, v].min(), recorded[:, v].max()
                edges = np.linspace(low - 0.1 * (high - low), high + 0.1 * (high - low), 61)
                inside = np.clip(values[..., v].ravel(), edges[0], edges[-1])
                columns[0, v].hist(inside, edges, density=True, histtype="step", color=shade, label=label, lw=1.3)
                columns[1, v].plot(steps[1:], np.maximum(powers[1:, v], 1e-12), color=shade, label=label, lw=1.1)
        for v in range(shown):
            columns[0, v].set(xlabel=plain(names[v]), ylabel="density" if v == 0 else "")
            unit = "per step" if interval is None else "per unit of time"
            columns[1, v].set(xlabel=f"frequency ({unit})", ylabel="share of power" if v == 0 else "", ylim=(1e-9, None))
            log_scale(columns[1, v], "x")
            log_scale(columns[1, v], "y")
        small_legend(columns[0, 0])
    lost = (
        ""
        if len(made) == len(generated)
        else f" {len(generated) - len(made)} of {len(generated)} runs diverged and are left out."
    )
    caption = (
        f"Distributions (what lies outside is counted at the edge) and power spectra, over stretches of {length} steps.{lost}"
    )
    return Figure("distributions", caption, canvas, wide=shown > 1)


def validity_figure(valid: PredictionTime, interval: float | None) -> Figure:
    """Normalised forecast error by lead, its median and quartiles over the starts, and the threshold."""
    leads = np.arange(1, valid.num_steps + 1) * (1.0 if interval is None else interval)
    errors = np.where(np.isfinite(valid.errors), valid.errors, np.inf)
    lower, median, upper = np.quantile(errors, [0.25, 0.5, 0.75], axis=0, method="nearest")
    ceiling = max(2.0, 1.1 * float(median[np.isfinite(median)].max(initial=0.0)))
    with style():
        canvas, axes = new_figure(1, 1, 6.4, 3.2)
        axes.fill_between(leads, lower, np.minimum(upper, 1e3 * ceiling), color=MADE, alpha=0.25, lw=0, label="quartiles")
        axes.plot(leads, median, color=MADE, label="median")
        axes.axhline(valid.threshold, color=INK, lw=0.8, ls="--", label=f"valid up to {valid.threshold:g}")
        axes.axvline(valid.median * (1.0 if interval is None else interval), color=MUTED, lw=0.8, ls=":")
        axes.set(xlabel="steps ahead" if interval is None else "time ahead", ylabel="normalised error")
        axes.set(ylim=(0, min(ceiling, 3.0)), xlim=(0, leads[-1]))
        small_legend(axes)
    caption = (
        f"Error of forecasts from {len(valid.steps)} starts in the test part, in standard deviations of the series; "
        "the dotted line is the median time for which they are valid."
    )
    return Figure("validity", caption, canvas)


def _finite_run(generated: Float[np.ndarray, "B T D"]) -> Float[np.ndarray, "K D"]:
    """The end of the first run that stays finite, else the finite beginning of the first; at least one point."""
    finite = np.isfinite(generated).all(2)
    whole = np.flatnonzero(finite.all(1))
    if len(whole):
        return generated[whole[0], -SHOWN:]
    stop = int(np.argmin(finite[0]))
    return generated[0, max(0, stop - SHOWN) : stop] if stop else np.zeros((1, generated.shape[2]))


def _planes(
    true: Float[np.ndarray, "T D"], made: Float[np.ndarray, "K D"], names: tuple[str, ...], lag: int
) -> Iterator[tuple[np.ndarray, np.ndarray, tuple[str, str]]]:
    """Delays of one variable, the pairs of two or three, the leading principal components of more."""
    recent = true[-SHOWN:]
    if len(names) == 1:
        pairs = [np.stack([v[: len(v) - lag, 0], v[lag:, 0]], 1) for v in (recent, made)]
        yield pairs[0], pairs[1], (f"{names[0]}(t)", f"{names[0]}(t + {lag} steps)")
    elif len(names) <= VARIABLES:
        for i, j in list(itertools.combinations(range(len(names)), 2))[:2]:
            yield recent[:, [i, j]], made[:, [i, j]], (names[i], names[j])
    else:
        scale = true.std(0)
        axes = principal_components(torch.from_numpy(true / scale), 2)
        seen = [axes.project(torch.from_numpy(np.ascontiguousarray(v / scale))).numpy() for v in (recent, made)]
        yield seen[0], seen[1], ("PC1", "PC2")


def _limits(points: Float[np.ndarray, "T 2"]) -> list[tuple[float, float]]:
    """The recording's range with a margin of a tenth."""
    low, high = points.min(0), points.max(0)
    margin = 0.1 * (high - low)
    return [(float(a), float(b)) for a, b in zip(low - margin, high + margin, strict=True)]
