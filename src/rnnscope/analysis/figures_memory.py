"""Figures of memory and gradients: forgetting of starts, sensitivity over lag, gradient norms, memory capacity."""

import math

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes

from rnnscope.core.tables import Figure
from rnnscope.dynamics.forgetting import FORGOTTEN, Forgetting
from rnnscope.dynamics.gradient_flow import GradientFlow
from rnnscope.dynamics.memory_capacity import MemoryCapacity
from rnnscope.dynamics.sensitivity import Sensitivity
from rnnscope.plotting import COLOURS, INK, MUTED, colour, log_scale, new_figure, small_legend, style, thin

MOST_NAMED = 8  # inputs with a line of their own in the legend


def _positive(values: np.ndarray) -> np.ndarray:
    """Zeros, which a logarithmic axis cannot show, as gaps."""
    return np.where(values > 0, values, np.nan)


def _band(axes: Axes, x: np.ndarray, curves: Float[np.ndarray, "3 L"], shade: str, label: str) -> None:
    """Median and the range from the 10th to the 90th percentile."""
    low, middle, high = (_positive(c) for c in curves)
    axes.fill_between(x, low, high, color=shade, alpha=0.2, lw=0)
    axes.plot(x, middle, color=shade, label=label)


def _log_y(axes: Axes, decades: float = 18.0) -> None:
    """A logarithmic y axis of at most so many decades below its top: rounding is not worth the room."""
    log_scale(axes, "y")
    low, high = axes.get_ylim()
    axes.set_ylim(max(low, high / 10**decades), high)


def _least(values: np.ndarray) -> float:
    """The smallest value above zero."""
    return float(np.min(values, where=values > 0, initial=np.inf))


def _shown_steps(found: Forgetting) -> int:
    """Times to show: until the worst pair has forgotten; else until the exponent would have brought it there; else 300."""
    wanted = 300.0
    if math.isfinite(found.forgetting_time):
        wanted = 1.3 * found.forgetting_time + 10
    elif found.exponent < 0:
        wanted = 2 * math.log(FORGOTTEN) / found.exponent + 20
    return int(min(found.distances.shape[1], wanted))


def forgetting_figure(found: Forgetting, *, most: int = 32) -> Figure:
    """Distance of the replicas of each pair over time, with median, worst pair and the slope of the conditional exponent."""
    distances = found.distances.cpu().numpy()[:, : _shown_steps(found)]
    curves = ((found.median_distance, "-", "median"), (found.worst_distance, "--", "worst"))
    times = np.arange(distances.shape[1])
    with style():
        canvas, axes = new_figure(1, 1, 7.2, 3.8)
        for number, own in enumerate(distances[:most]):
            axes.plot(*thin(times, _positive(own)), color=MUTED, lw=0.6, alpha=0.6, label=None if number else "pairs")
        for values, line, label in curves:
            axes.plot(*thin(times, _positive(values.cpu().numpy()[: len(times)])), line, color=COLOURS[0], label=label)
        if found.exponent < 0:
            slope = float(distances[:, 0].max()) * np.exp(np.maximum(found.exponent * times, -700))
            kept = slope >= max(_least(distances), 1e-16)
            axes.plot(times[kept], slope[kept], ":", color=COLOURS[4], label=f"slope {found.exponent:.3g}")
        axes.set(xlabel="steps", ylabel="distance of the replicas", xlim=(0, len(times) - 1))
        _log_y(axes)
        small_legend(axes)
    caption = "Replicas of the network that start apart and read the same input: the distance of each pair over time."
    return Figure("forgetting", caption, canvas)


def sensitivity_figure(found: Sensitivity) -> Figure:
    """Norms of dh_t/dx_{t-k} and dh_t/dh_{t-k} over the lag: median, and 10th to 90th percentile as a band."""
    lags = found.lags.numpy()
    horizon = found.memory_horizon
    with style():
        canvas, axes = new_figure(1, 1, 6.8, 3.8)
        _band(axes, lags, found.state_norms.cpu().numpy(), COLOURS[1], "to earlier states")
        if found.input_norms is not None:
            _band(axes, lags, found.input_norms.cpu().numpy(), COLOURS[0], "to earlier inputs")
        if horizon is not None:
            axes.axvline(horizon, color=INK, lw=0.9, ls="--", label=f"below {100 * found.threshold:g} % from lag {horizon}")
        axes.set(xlabel="lag in steps", ylabel="norm of the derivative", xlim=(0, lags[-1]))
        _log_y(axes)
        small_legend(axes)
    caption = "How much a state depends on earlier states and inputs, by the median norm of its derivative. Bands: 10th to 90th percentile."
    return Figure("sensitivity", caption, canvas)


def gradient_figure(found: GradientFlow) -> Figure:
    """Norm of the loss's gradient with respect to the state: over time, and by lag relative to the step of the loss."""
    with style():
        canvas, (left, right) = new_figure(1, 2, 9.8, 3.8)
        by_time = found.time_percentiles.cpu().numpy()
        _band(left, np.arange(by_time.shape[1]), by_time, COLOURS[0], "gradient")
        left.set(xlabel="step t", ylabel="norm of dL/dh$_t$", xlim=(0, max(1, by_time.shape[1] - 1)))
        _log_y(left)
        if len(found.log_relative):
            _band(right, found.lags.numpy(), found.lag_percentiles.cpu().numpy(), COLOURS[0], "gradient")
        right.axhline(found.vanish, color=INK, lw=0.9, ls="--", label="vanishing below")
        right.axhline(found.explode, color=COLOURS[4], lw=0.9, ls="--", label="exploding above")
        right.set(xlabel="steps back from the loss", ylabel="relative to the step of the loss", xlim=(0, int(found.lags[-1])))
        _log_y(right)
        small_legend(right)
    clip = ""
    if found.clipped_share is not None and found.cut_share is not None:
        clip = f" Clipping at norm {found.clip_norm:g} would act on {100 * found.clipped_share:.0f} % of the sequences."
    caption = f"The gradient going back in time, median and 10th to 90th percentile.{clip}"
    return Figure("gradient_flow", caption, canvas, wide=True)


def capacity_figure(found: MemoryCapacity, closed_form: Float[np.ndarray, "L X"] | None = None) -> Figure:
    """Capacity of each lag, with the threshold, and (nonlinear) the total of each degree against the bound."""
    lags = np.arange(len(found.capacities))
    several = len(found.by_degree) > 1
    with style():
        canvas, grid = new_figure(1, 2 if several else 1, 9.8 if several else 6.8, 3.8)
        left = grid[0] if several else grid
        count = found.capacities.shape[1]
        for number, values in enumerate(found.capacities.T):
            if count > MOST_NAMED:
                label = None if number else f"each of {count} inputs"
                left.plot(lags, values, color=COLOURS[0], lw=0.6, alpha=0.5, label=label)
            else:
                label = "measured" if count == 1 else f"input {number + 1}"
                left.plot(lags, values, "o-", color=colour(number), ms=3, label=label)
            if closed_form is not None:
                own = "closed form" if number == 0 else None
                left.plot(lags, closed_form[: len(lags), number], "--", color=INK, lw=1.0, label=own)
        if count > MOST_NAMED:
            left.plot(lags, np.median(found.capacities, 1), "o-", color=COLOURS[1], ms=3, label="their median")
        left.axhline(found.threshold, color=MUTED, lw=1.0, ls=":", label="threshold")
        reach = np.flatnonzero(found.significant.any(1))
        left.set(xlabel="lag in steps", ylabel="r²", xlim=(-0.5, min(lags[-1], (reach[-1] if len(reach) else 0) * 1.3 + 5)))
        left.set_ylim(-0.03, 1.05)
        small_legend(left)
        if several:
            _degrees(grid[1], found)
    caption = "How well a linear readout of the state recovers the input so many steps ago: 1 is perfectly, below the threshold is chance."
    return Figure("memory_capacity", caption, canvas, wide=several)


def _degrees(axes: Axes, found: MemoryCapacity) -> None:
    degrees, totals = list(found.by_degree), list(found.by_degree.values())
    axes.bar(degrees, totals, 0.6, color=COLOURS[0])
    axes.bar([degrees[-1] + 1], [sum(totals)], 0.6, color=COLOURS[2])
    for place, value in zip([*degrees, degrees[-1] + 1], [*totals, sum(totals)], strict=True):
        axes.text(place, value + 0.01 * found.bound, f"{value:.2f}", ha="center", va="bottom", fontsize=8, color=INK)
    axes.axhline(found.bound, color=INK, lw=0.9, ls="--", label=f"bound {found.bound}")
    axes.set_xticks([*degrees, degrees[-1] + 1], [*map(str, degrees), "all"])
    axes.set(xlabel="degree", ylabel="capacity", ylim=(0, 1.15 * found.bound))
    axes.grid(axis="x", visible=False)
    small_legend(axes)
