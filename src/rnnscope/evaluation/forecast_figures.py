"""The figures of a forecast: each panel is drawn by one function, alone and on the sheet."""

import math
from collections.abc import Callable, Iterator
from functools import partial

import numpy as np
from matplotlib.axes import Axes

from rnnscope.core.forecast import ForecastData
from rnnscope.core.interfaces import Evaluation, History, ModelResult
from rnnscope.core.tables import Figure
from rnnscope.evaluation.baselines import LINEAR, TRIVIAL, label
from rnnscope.evaluation.forecast_captions import (
    closed_loop_caption,
    errors_caption,
    generation_caption,
    interval_caption,
    lead_caption,
    loss_caption,
    prediction_caption,
    series_caption,
)
from rnnscope.evaluation.story import Story
from rnnscope.plotting import COLOURS, INK, MUTED, legend_above, log_scale, new_figure, plain, small_legend, style, thin

TRAIN, TEST, STRAIGHT = COLOURS[0], COLOURS[1], "#b58a2b"


Panel = Callable[[Story, Axes], None]


def forecast_figures(
    data: ForecastData,
    references: dict[str, ModelResult],
    results: dict[str, list[ModelResult]],
    histories: dict[str, list[History]],
    evaluation: Evaluation,
    level: float,
) -> Iterator[Figure]:
    """Sheet first, then every panel alone."""
    story = Story(data, references, results, histories, evaluation, level)
    with style():
        yield _sheet(story)
        yield _alone(story, "series", _series, series_caption(story))
        chosen = evaluation.metrics["chosen_model"]
        if story.has("generation_forecast"):
            yield _alone(story, "generation", _generation, generation_caption(story))
        if not story.leaky:
            if story.has("closed_loop_forecast"):
                yield _alone(story, "closed_loop", _closed_loop, closed_loop_caption(story))
            if story.has("lead_rmse"):
                yield _alone(story, "lead_times", _lead_times, lead_caption(story))
            if "lower" in story.best_repeat(chosen).arrays:
                yield _alone(story, "intervals", partial(_intervals, name=chosen), interval_caption(story, chosen))
        yield _alone(
            story,
            "comparison",
            _comparison,
            "Error of every model and baseline one step ahead on the test part, on a logarithmic axis; shorter is better.",
        )
        for name in results:
            yield _alone(story, f"predictions_{name}", partial(_predictions, name=name), prediction_caption(story, name))
            yield _alone(
                story,
                f"errors_{name}",
                partial(_errors, name=name),
                errors_caption(story, name),
            )
            yield _alone(story, f"loss_{name}", partial(_loss, names=[name]), loss_caption(story, name))
        if _phase_columns(data) is not None:
            yield _alone(story, "phase_space", _phase, "Phase space of the true trajectory; the dot is its start.", 5.0, 4.4)


def _alone(story: Story, name: str, panel: Panel, caption: str, width: float = 8.4, height: float = 3.4) -> Figure:
    figure, axes = new_figure(1, 1, width, height)
    panel(story, axes)
    if axes.get_legend_handles_labels()[0] and axes.get_legend() is None:
        legend_above(axes)
    return Figure(name, caption, figure)


def _sheet(story: Story) -> Figure:
    """Six panels for one model (with phase space and summary where there is one), else 3 + 2 per model: nine for three."""
    names = list(story.results)
    panels: list[tuple[str, Panel]]
    if len(names) == 1:
        (name,) = names
        second: tuple[str, Panel] = ("phase space", _phase)
        if _phase_columns(story.data) is None:
            second = ("closed loop", _closed_loop) if story.has("closed_loop_forecast") else ("comparison", _comparison)
        panels = [
            ("series and split", _series),
            second,
            ("loss", partial(_loss, names=names)),
            (f"{name}: one step ahead", partial(_predictions, name=name)),
            (f"{name}: errors", partial(_errors, name=name)),
            ("summary", _summary),
        ]
        columns = 3
    else:
        panels = [("series and split", _series), ("loss", partial(_loss, names=names)), ("comparison", _model_bars)]
        columns = max(3, len(names))
        panels += [("", _nothing)] * (columns - 3)
        fillers: list[tuple[str, Panel]] = [("closed loop", _closed_loop)] if story.has("closed_loop_forecast") else []
        if story.has("lower"):
            chosen = story.evaluation.metrics["chosen_model"]
            fillers.append((f"{chosen}: intervals", partial(_intervals, name=chosen)))
        for title, draw in (("one step ahead", _predictions), ("errors", _errors)):
            panels += [(f"{n}: {title}", partial(draw, name=n)) for n in names]
            panels += [fillers.pop(0) if fillers else ("", _nothing) for _ in range(columns - len(names))]
    rows = -(-len(panels) // columns)
    figure, grid = new_figure(rows, columns, 4.6 * columns, 3.1 * rows)
    for axes, (title, panel) in zip(np.ravel(grid), panels, strict=True):
        panel(story, axes)
        axes.set_title(title)
        if axes.get_legend_handles_labels()[0] and axes.get_legend() is None:
            small_legend(axes)
    return Figure("sheet", "The run on one sheet: data, training, forecasts, errors.", figure, wide=True)


def _nothing(story: Story, axes: Axes) -> None:
    axes.axis("off")


def _x_label(story: Story) -> str:
    return plain(story.data.time_label)


def _series(story: Story, axes: Axes) -> None:
    number, start, stop = story.span
    series = story.data.series[number]
    x, y = series.times, series.truth[:, 0]
    if story.leaky:
        axes.plot(*thin(x, y), color=TRAIN, label="train and test, mixed")
    else:
        axes.plot(*thin(x[: start + 1], y[: start + 1]), color=TRAIN, label="training")
        axes.plot(*thin(x[start:stop], y[start:stop]), color=TEST, label="test")
        for name, spans in (("validation", story.data.parts.validation), ("calibration", story.data.parts.calibration)):
            for i, span in enumerate(s for s in spans if s.series == number):
                axes.axvspan(
                    x[span.start],
                    x[span.stop - 1],
                    color=COLOURS[2 if name == "validation" else 3],
                    alpha=0.12,
                    lw=0,
                    label=name if i == 0 else None,
                )
        axes.axvline(x[start], color=INK, ls="--", lw=0.9)
    axes.set(xlabel=_x_label(story), ylabel=story.variable)


def _loss(story: Story, axes: Axes, names: list[str]) -> None:
    for name in names:
        repeats = story.histories[name]
        prefix = f"{name} " if len(names) > 1 else ""
        shades = {
            "train_loss": story.shade(name),
            "validation_loss": COLOURS[2],
            "test_loss": TEST if len(names) == 1 else story.shade(name),
            "free_run": COLOURS[3],
        }
        for column, dash in (("train_loss", "-"), ("validation_loss", ":"), ("test_loss", "--"), ("free_run", "-.")):
            runs = [h.columns[column] for h in repeats if column in h.columns]
            if not runs:
                continue
            length = min(map(len, runs))
            stack = np.array([r[:length] for r in runs])
            known = np.isfinite(stack).all(0)  # free runs are not compared in every epoch
            stack, epochs = stack[:, known], np.arange(1, length + 1)[known]
            title = f"{prefix}{'free run (D_stsp + D_H)' if column == 'free_run' else column.removesuffix('_loss')}"
            axes.plot(*thin(epochs, stack.mean(0), 1000), dash, color=shades[column], lw=1.2, label=title)
            if len(runs) > 1:
                axes.fill_between(epochs, stack.min(0), stack.max(0), color=shades[column], alpha=0.18, lw=0)
    losses = [h.columns["train_loss"] for n in names for h in story.histories[n] if "train_loss" in h.columns]
    if not losses:
        axes.text(0.5, 0.5, "no training by epochs", ha="center", va="center", transform=axes.transAxes)
        axes.axis("off")
        return
    positive = all((loss > 0).all() for loss in losses)
    axes.set(xlabel=story.histories[names[0]][0].outcome.unit, ylabel="loss")
    axes.locator_params(axis="x", integer=True)
    if positive:
        log_scale(axes, "y")


def _predictions(story: Story, axes: Axes, name: str) -> None:
    number, start, stop = story.span
    series, result = story.data.series[number], story.best_repeat(name)
    x, y = story.times(number), series.truth[:, 0]
    steps = result.arrays["train_steps"]
    axes.plot(*thin(x, y), color=INK, lw=0.9, alpha=0.75, label="true")
    if story.data.parts.train[0].series == number and not story.leaky:
        axes.plot(*thin(x[steps], result.arrays["train_forecast"][:, 0]), color=TRAIN, lw=1.2, label="training")
    if not story.leaky:
        forecast = result.arrays["test_forecast"][: stop - start, 0]
        axes.plot(*thin(x[start : start + len(forecast)], forecast), color=TEST, lw=1.2, label="test")
        axes.axvline(x[start], color=INK, ls="--", lw=0.9)
    axes.set(xlabel=_x_label(story), ylabel=story.variable)


def _errors(story: Story, axes: Axes, name: str) -> None:
    number, start, stop = story.span
    result = story.best_repeat(name)
    forecast = result.arrays["test_forecast"][:, 0]
    if story.leaky:
        axes.text(0.5, 0.5, "no errors on unseen data:\nthe split leaks", ha="center", va="center", transform=axes.transAxes)
        axes.axis("off")
        return
    truth = story.data.series[number].truth[start:stop, 0][: len(forecast)]
    error = truth - forecast[: len(truth)]
    error = error[np.isfinite(error)]
    power = _power_of_ten(error)
    axes.hist(error / 10.0**power, bins=40, color=story.shade(name), alpha=0.85)
    axes.axvline(0, color=INK, ls="--", lw=0.9)
    axes.locator_params(axis="x", nbins=5)
    axes.set(xlabel=f"true - forecast{f' in 1e{power}' if power else ''}, MAE {np.abs(error).mean():.3g}", ylabel="count")


def _power_of_ten(values: np.ndarray) -> int:
    """That of the unit in which to draw values: 0 unless they are very small or very large."""
    largest = float(np.abs(values).max(initial=0.0))
    power = math.floor(math.log10(largest)) if largest > 0 else 0
    return power if not -3 <= power < 5 else 0


def _bar_rows(story: Story) -> list[tuple[str, float, float, str]]:
    """(label, mean RMSE, sd over seeds, colour), best first."""
    rows = []
    for name, result in story.references.items():
        shade = MUTED if name in TRIVIAL else INK if name == "noise_ceiling" else STRAIGHT
        rows.append((label(name), result.scores["test"]["rmse"], 0.0, shade))
    for name, repeats in story.results.items():
        values = [r.scores["test"]["rmse"] for r in repeats]
        rows.append(
            (name, float(np.mean(values)), float(np.std(values, ddof=1)) if len(values) > 1 else 0.0, story.shade(name))
        )
    return sorted(rows, key=lambda r: r[1])


def _comparison(story: Story, axes: Axes) -> None:
    rows = _bar_rows(story)
    positions = np.arange(len(rows))[::-1]
    values = np.maximum([r[1] for r in rows], 1e-300)
    axes.barh(
        positions,
        values,
        xerr=[r[2] for r in rows] if any(r[2] for r in rows) else None,
        color=[r[3] for r in rows],
        height=0.62,
        ecolor=INK,
    )
    low, high = float(values.min()), float(values.max())
    low = max(low, high * 1e-9)
    axes.set_xlim(low / 2.0, high * 6)
    log_scale(axes, "x")
    for position, value in zip(positions, values, strict=True):
        axes.text(max(value, low / 2) * 1.12, position, f"{value:.3g}", va="center", fontsize=9)
    axes.set_yticks(positions, [r[0] for r in rows])
    axes.grid(axis="y", visible=False)
    axes.set(xlabel="RMSE one step ahead on the test part")


def _model_bars(story: Story, axes: Axes) -> None:
    names = list(story.results)
    mse = [np.mean([r.scores["test"]["mse"] for r in story.results[n]]) for n in names]
    r2 = [float(np.mean([r.scores["test"].get("r2", 0.0) for r in story.results[n]])) for n in names]
    positions = np.arange(len(names))
    axes.bar(positions - 0.2, mse, 0.36, color=[story.shade(n) for n in names])
    axes.set_xticks(positions, names)
    axes.set(ylabel="test MSE (solid)")
    right = axes.twinx()
    right.bar(positions + 0.2, r2, 0.36, color=[story.shade(n) for n in names], alpha=0.4)
    right.set_ylabel("test R² (pale)")
    right.spines["right"].set_visible(True)
    lowest = float(min(r2))
    right.set_ylim(
        # at least 1e-4 of it: what lies closer to 1 is not told apart by R², and its digits would fill the page
        max(0.0, 1 - 2 * max(1 - lowest, 5e-5)) if lowest > 0 else lowest * 1.1,
        1.0 if lowest > 0 else max(1.0, float(max(r2))),
    )
    right.grid(visible=False)
    axes.grid(axis="x", visible=False)


def _closed_loop(story: Story, axes: Axes) -> None:
    number, start, stop = story.span
    series = story.data.series[number]
    x, y = story.times(number), series.truth[:, 0]
    length = min(stop - start, *(len(r[0].arrays["closed_loop_forecast"]) for r in story.results.values()))
    before = max(0, start - max(20, length // 6))
    axes.plot(*thin(x[before : start + length], y[before : start + length]), color=INK, lw=1.0, alpha=0.8, label="true")
    low, high = np.nanmin(y[before : start + length]), np.nanmax(y[before : start + length])
    for name, repeats in story.results.items():
        runs = np.array([r.arrays["closed_loop_forecast"][:length, 0] for r in repeats])
        middle = np.clip(np.median(runs, 0), low - 2 * (high - low), high + 2 * (high - low))
        axes.plot(
            *thin(x[start : start + length], middle),
            color=story.shade(name),
            label=name if len(runs) == 1 else f"{name} (median)",
        )
        if len(runs) > 1:
            axes.fill_between(x[start : start + length], runs.min(0), runs.max(0), color=story.shade(name), alpha=0.18, lw=0)
    axes.axvline(x[start], color=INK, ls="--", lw=0.9)
    axes.set_ylim(low - 0.3 * (high - low), high + 0.3 * (high - low))
    axes.set(xlabel=_x_label(story), ylabel=story.variable)


def _generation(story: Story, axes: Axes) -> None:
    series = story.data.series[0]
    first = len(series) - len(next(iter(story.results.values()))[0].arrays["generation_forecast"])
    axes.plot(*thin(series.times, series.truth[:, 0]), color=INK, lw=1.0, alpha=0.8, label="true")
    low, high = float(series.values[:, 0].min()), float(series.values[:, 0].max())
    for name in story.results:
        run = np.clip(
            story.best_repeat(name).arrays["generation_forecast"][:, 0], low - 2 * (high - low), high + 2 * (high - low)
        )
        axes.plot(*thin(series.times[first:], run), color=story.shade(name), label=f"{name}, from the first {first} values")
    axes.set_ylim(low - 0.3 * (high - low), high + 0.3 * (high - low))
    axes.set(xlabel=_x_label(story), ylabel=story.variable)


def _lead_times(story: Story, axes: Axes) -> None:
    for name, result in story.references.items():
        if "lead_rmse" in result.arrays:
            curve = result.arrays["lead_rmse"]
            shade = MUTED if name in TRIVIAL else INK if name == "noise_ceiling" else STRAIGHT
            dashes = {
                "mean": ":",
                "last_value": "-",
                "two_point": "-.",
                "seasonal_naive": "--",
                LINEAR: "-",
                "noise_ceiling": "-",
            }
            dash = dashes.get(name, "--")
            axes.plot(
                np.arange(1, len(curve) + 1),
                curve,
                dash,
                color=shade,
                lw=1.1,
                label=label(name),
            )
    for name, repeats in story.results.items():
        curves = np.array([r.arrays["lead_rmse"] for r in repeats])
        leads = np.arange(1, curves.shape[1] + 1)
        axes.plot(leads, curves.mean(0), color=story.shade(name), lw=2.0, label=name)
        if len(curves) > 1:
            axes.fill_between(leads, curves.min(0), curves.max(0), color=story.shade(name), alpha=0.18, lw=0)
    axes.set(xlabel="lead time in steps", ylabel="RMSE")
    positive = [r.arrays["lead_rmse"] for r in story.references.values() if "lead_rmse" in r.arrays]
    if positive and max(c.max() for c in positive) > 20 * max(1e-300, min(c[c > 0].min(initial=np.inf) for c in positive)):
        log_scale(axes, "y")
    legend_above(axes, 4)


def _intervals(story: Story, axes: Axes, name: str) -> None:
    number, start, stop = story.span
    result = story.best_repeat(name)
    x, y = story.times(number)[start:stop], story.data.series[number].truth[start:stop, 0]
    lower, upper = result.arrays["lower"][:, 0], result.arrays["upper"][:, 0]
    length = min(len(lower), 400)
    axes.fill_between(
        x[:length],
        lower[:length],
        upper[:length],
        color=story.shade(name),
        alpha=0.25,
        lw=0,
        label=f"{100 * story.level:.0f} % interval",
    )
    axes.plot(x[:length], result.arrays["test_forecast"][:length, 0], color=story.shade(name), label="forecast")
    axes.plot(x[:length], y[:length], ".", color=INK, ms=3.5, label="true")
    axes.set(xlabel=_x_label(story), ylabel=story.variable)


def _phase_columns(data: ForecastData) -> tuple[str, str] | None:
    """Two names to draw against each other: the first variable and a second, seen or kept beside it."""
    series = data.series[0]
    names = (*series.names, *series.hidden)
    return (names[0], names[1]) if len(names) > 1 else None


def _phase(story: Story, axes: Axes) -> None:
    columns = _phase_columns(story.data)
    assert columns is not None
    number, start, stop = story.span
    series = story.data.series[number]
    found = [series.values[:, series.names.index(c)] if c in series.names else series.hidden[c] for c in columns]
    cut = start if not story.leaky else stop
    stride = max(1, stop // 4000)
    axes.plot(found[0][: cut + 1 : stride], found[1][: cut + 1 : stride], color=TRAIN, lw=1.1, label="training part")
    if not story.leaky:
        axes.plot(found[0][cut:stop:stride], found[1][cut:stop:stride], color=TEST, lw=1.1, label="test part")
    axes.plot(found[0][0], found[1][0], "o", color=INK, ms=5)
    axes.set(xlabel=plain(columns[0]), ylabel=plain(columns[1]))


def _summary(story: Story, axes: Axes) -> None:
    axes.axis("off")
    (name,) = story.results
    report, entry = story.data.describe(), story.evaluation.metrics["models"][name]
    names = {"mse": "MSE", "rmse": "RMSE", "mae": "MAE", "r2": "R²"}
    unit = story.histories[name][0].outcome.unit.split()[0]
    lines = [
        ("data", f"{report['points']} points, window {report['window']}"),
        ("targets", f"{report['targets'].get('train', 0)} train windows, {report['targets'].get('test', 0)} test steps"),
        ("model", f"{plain(name)}, {story.data.signature.input_size} in, {story.data.signature.output_size} out"),
        ("training", f"{entry['training']['epochs']:.0f} {unit}s, {entry['training']['seconds']:.1f} s"),
        ("", ""),
        ("test, one step ahead", ""),
        *((f"    {names[k]}", f"{entry['test'][k]:.4g}") for k in names if k in entry["test"]),
    ]
    if "closed_loop" in entry:
        lines.append(("closed loop", ""))
        lines += [(f"    {names[k]}", f"{entry['closed_loop'][k]:.4g}") for k in ("rmse", "r2") if k in entry["closed_loop"]]
    # two columns by place, not by spaces: a page draws several spaces as one
    for row, (left, right) in enumerate(lines):
        y = 0.97 - 0.07 * row
        axes.text(0.05 * left.startswith(" "), y, left.strip(), va="top", fontsize=8.5, transform=axes.transAxes)
        axes.text(0.26, y, right, va="top", fontsize=8.5, transform=axes.transAxes)
