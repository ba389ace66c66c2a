"""Figures of kick units: ablation, activity around switches, gain sweeps, and noise sensitivity of the zones."""

from collections.abc import Sequence

import numpy as np

from rnnscope.analysis.figures_reverse import ZONE_COLOURS, symbol_names, zero_to
from rnnscope.analysis.kick_units import GainSweep, KickUnits, Opposition, SwitchAverages
from rnnscope.analysis.residency import ZONES, NoiseSensitivity
from rnnscope.core.tables import Figure
from rnnscope.plotting import COLOURS, INK, MUTED, colour, new_figure, small_legend, style

ON_PALE = "#222222"  # not INK, which a dark page turns light


def ablation_figure(found: KickUnits) -> Figure:
    """Every unit alone, sorted, and the group as it grows."""
    single = found.single_score.cpu().numpy()
    order = np.argsort(single)[: int(np.isfinite(single).sum())]
    destroying = found.single_highest_exit.cpu().numpy()[order] > 1.5
    ranks = np.arange(1, len(order) + 1)
    with style():
        canvas, (left, right) = new_figure(1, 2, 9.8, 3.7)
        values = np.minimum(single[order], 3.0)
        left.plot(ranks[~destroying], values[~destroying], ".", color=COLOURS[0], label="clusters stay")
        left.plot(ranks[destroying], values[destroying], ".", color=MUTED, label="a cluster falls apart")
        for unit in found.units.tolist():
            rank = int(np.flatnonzero(order == unit)[0])
            label = "kick units" if unit == found.units[0] else None
            left.plot(ranks[rank], values[rank], "o", color=COLOURS[4], ms=6, label=label)
        left.axhline(1.0, color=INK, lw=0.9, ls="--")
        left.set(xlabel="unit silenced alone, by rank", ylabel="exit rate, relative to intact", ylim=(0, None))
        small_legend(left)
        sizes = np.arange(len(found.units) + 1)
        for name, values, shade in (
            ("exit rate", found.score, COLOURS[4]),
            ("switch rate", found.rate, COLOURS[0]),
        ):
            right.plot(sizes, [1.0, *values.tolist()], "o-", color=shade, ms=5, label=name)
        right.plot(sizes[1:], found.preservation.tolist(), "s:", color=MUTED, ms=4, label="clusters kept")
        right.set_xticks(sizes, ["intact", *(f"+{u}" for u in found.units.tolist())])
        right.set(xlabel="group silenced", ylabel="relative to intact", ylim=(0, 1.1))
        small_legend(right)
    left_over = f"{100 * found.score[-1]:.0f} %" if len(found.units) else "all"
    caption = (
        "Ablation search: the relative rate of leaving a common output, with each unit silenced alone (capped at 3) and with the greedy group. With "
        f"{_units(len(found.units))} silenced {left_over} of the switching is left; {found.reason}."
    )
    return Figure("ablation", caption, canvas, wide=True)


def _units(count: int) -> str:
    return f"{count} unit{'' if count == 1 else 's'}"


def switch_average_figure(found: Sequence[SwitchAverages], *, names: Sequence[str] | None = None) -> Figure:
    """Mean activity of the units around switches, one panel per kind of switch."""
    with style():
        canvas, grid = new_figure(1, len(found), 1.6 + 3.6 * len(found), 3.4)
        for axes, average in zip(np.ravel(grid), found, strict=True):
            lags = average.lags.numpy()
            for unit in range(average.mean.shape[1]):
                mean, error = average.mean[:, unit].numpy(), average.error[:, unit].numpy()
                axes.plot(lags, mean, color=colour(unit), lw=1.4, label=f"{int(average.units[unit])}")
                axes.fill_between(lags, mean - error, mean + error, color=colour(unit), alpha=0.2, lw=0)
                axes.axhline(float(average.baseline[unit]), color=colour(unit), lw=0.7, ls=":")
            axes.axvline(0, color=INK, lw=0.9, ls="--")
            axes.set(xlabel="steps from the switch", ylabel="mean activity", title=_kind(average, names))
        legend = np.ravel(grid)[-1].legend(loc="center left", bbox_to_anchor=(1.0, 0.5), title="unit", handlelength=1.2)
        legend.get_title().set_fontsize(9)
    caption = (
        "Mean activity of the units found, one colour each, around changes of the output (dashed; the first step with the new output is 0), with standard "
        "errors. Dotted: their mean over all steps."
    )
    return Figure("switch_averages", caption, canvas, wide=len(found) > 1)


def _kind(average: SwitchAverages, names: Sequence[str] | None) -> str:
    most = max(average.origin or 0, average.target or 0) + 1
    labels = symbol_names(most, names)
    origin = "any" if average.origin is None else labels[average.origin]
    target = "any" if average.target is None else labels[average.target]
    return f"{origin} → {target} ({average.num_switches})"


def gain_figure(sweeps: Sequence[GainSweep]) -> Figure:
    """Switching against the gain on the group, and on random groups of the same size."""
    titles = {"output": "their output scaled", "noise": "their noise scaled"}
    with style():
        canvas, grid = new_figure(1, len(sweeps), 1.6 + 3.8 * len(sweeps), 3.4)
        highest = zero_to(*(t for s in sweeps for t in (s.rate, s.control_rate + s.control_sd)))
        for axes, sweep in zip(np.ravel(grid), sweeps, strict=True):
            gains, mean, sd = sweep.gains.numpy(), sweep.control_rate.numpy(), sweep.control_sd.numpy()
            axes.plot(gains, mean, "o-", color=MUTED, ms=3, label=f"{len(sweep.controls)} random groups")
            axes.fill_between(gains, mean - sd, mean + sd, color=MUTED, alpha=0.25, lw=0)
            axes.plot(gains, sweep.rate.numpy(), "o-", color=COLOURS[4], ms=4, label="kick units")
            axes.axvline(1.0, color=INK, lw=0.8, ls="--")
            axes.set(xlabel="gain", ylabel="switches per step", title=titles[sweep.target], ylim=(0, highest))
            small_legend(axes)
    caption = (
        f"Switching rate against a gain on {_units(len(sweeps[0].units))} and on random groups of as many active units (mean and sd). "
        "All curves meet at gain 1, since starts and noise are the same."
    )
    return Figure("gain_sweeps", caption, canvas, wide=len(sweeps) > 1)


def opposition_figure(found: Opposition) -> Figure:
    """Cosines between what drives the units, sorted by population."""
    order = np.argsort(-found.population.numpy(), kind="stable")
    units = found.units.numpy()[order]
    with style():
        canvas, grid = new_figure(1, 2, 8.6, 3.8)
        panels = (("from the input", found.input_cosine), ("from the state", found.recurrent_cosine))
        for axes, (title, matrix) in zip(np.ravel(grid), panels, strict=True):
            values = matrix.numpy()[np.ix_(order, order)]
            drawn = axes.imshow(values, cmap="RdBu_r", vmin=-1, vmax=1)
            for (row, column), value in np.ndenumerate(values):
                shade = "white" if abs(value) > 0.6 else ON_PALE
                axes.text(column, row, f"{value:.2f}", ha="center", va="center", fontsize=8, color=shade)
            axes.set_xticks(range(len(units)), units)
            axes.set_yticks(range(len(units)), units)
            axes.set(title=title, xlabel="unit", ylabel="unit")
            axes.grid(visible=False)
        bar = canvas.colorbar(drawn, ax=grid, pad=0.02)
        bar.set_label("cosine of incoming weights")
        bar.outline.set_visible(False)
    caption = (
        "How alike the incoming weights of the units found are. Two opposed populations show as blue blocks: mean cosine of the input weights "
        f"{found.within:.2f} inside a population and {found.between:.2f} across."
    )
    return Figure("opposition", caption.replace("nan", "undefined"), canvas)


def sensitivity_figure(found: NoiseSensitivity) -> Figure:
    """Spread of replicas per zone and share of fresh noise."""
    with style():
        canvas, (left, right) = new_figure(1, 2, 9.2, 3.5)
        positions = np.arange(len(found.mix))
        for zone, name in enumerate(ZONES):
            where = positions + 0.27 * (zone - 1)
            spread, error = found.by_zone[:, zone].numpy(), found.error[:, zone].numpy()
            left.bar(
                where, np.nan_to_num(spread), 0.25, yerr=np.nan_to_num(error), color=ZONE_COLOURS[zone], ecolor=INK, label=name
            )
            changed = np.nan_to_num(100 * found.changed_by_zone[:, zone].numpy())
            right.bar(where, changed, 0.25, color=ZONE_COLOURS[zone], label=name)
        left.set(ylabel="spread / |h|")
        right.set(ylabel="another output than recorded, %")
        for axes in (left, right):
            axes.set_xticks(positions, [f"{g:g}" for g in found.mix.tolist()])
            axes.set(xlabel="share of fresh noise g")
            axes.grid(axis="x", visible=False)
            small_legend(axes)
    caption = (
        f"{found.num_replicas} replicas of each visited state after {found.steps} steps under (1 - g) recorded + g fresh noise: how far they "
        "are apart, and how often their output is not the recorded one, by zone. At g = 0 nothing is fresh."
    )
    return Figure("noise_sensitivity", caption, canvas)
