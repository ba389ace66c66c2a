"""Figures of a report on learners: examples, errors by gradient steps, by examples and over the tasks' parameters, training."""

from collections.abc import Iterator

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.ticker import MaxNLocator

from rnnscope.core.interfaces import History, ModelResult
from rnnscope.core.tables import Figure
from rnnscope.core.task_family import Episodes, FamilyData
from rnnscope.evaluation.few_shot_scores import LABELS, NUM_EXAMPLES, ORACLE, curve_points, half_width
from rnnscope.evaluation.learning_curves import curve, learning_curves
from rnnscope.plotting import COLOURS, INK, MUTED, colour, log_scale, new_figure, plain, style

DASHES = (":", "--", "-.", (0, (1, 3)))
SHOWN_POINTS = 100
SMALLEST = 1e-5  # of an error on a logarithmic axis


def few_shot_figures(
    data: FamilyData,
    references: dict[str, ModelResult],
    results: dict[str, list[ModelResult]],
    histories: dict[str, list[History]],
    chosen: str,
    best: int,
    steps: tuple[int, ...],
) -> Iterator[Figure]:
    """Every figure; `chosen` and `best` name the model, and its repeat, whose answers are shown as examples."""
    with style():
        shown = results[chosen][best]
        yield two_tasks(data, chosen, shown, steps)
        yield adaptation_examples(data, chosen, shown, steps)
        if any(len(r.arrays[f"K{data.shots[-1]}_errors"]) > 1 for repeats in results.values() for r in repeats):
            yield by_steps(data, references, results)
        yield by_shots(data, references, results, steps)
        if len(data.test_family.ranges) > 1 and all(low < high for low, high in data.test_family.ranges):
            yield over_parameters(data, chosen, shown, steps)
        yield training(histories)


def two_tasks(data: FamilyData, name: str, result: ModelResult, steps: tuple[int, ...]) -> Figure:
    """True and predicted points of a training task and of a test task."""
    figure, axes = new_figure(1, 2, 10.5, 3.8)
    queries = curve_points(data)
    for panel, part, row, title in ((axes[0], data.train, 0, "a training task"), (axes[1], data.test, 1, "a test task")):
        points, truth = _numbers(part, 0)
        before, after = result.arrays["curves"][row, 0], result.arrays["curves"][row, -1]
        panel.scatter(points, truth, s=14, color=INK, alpha=0.7, label="true", linewidths=0)
        panel.scatter(points, np.interp(points, queries, before), s=14, color=COLOURS[1], label="predicted", linewidths=0)
        if np.abs(after - before).max() > 0:
            label = f"predicted after {steps[-1]} steps on {data.shots[-1]} examples"
            panel.scatter(points, np.interp(points, queries, after), s=14, color=COLOURS[0], label=label, linewidths=0)
        panel.set(title=f"{title}: {_task(data, part, 0)}", xlabel="x", ylabel="y" if row == 0 else "")
    handles = axes[0].get_legend_handles_labels()
    figure.legend(*handles, loc="outside upper center", ncols=3)
    caption = f"{name} on a task of the training part and on one of the test part: true values, and what it answers."
    return Figure("two_tasks", caption, figure, True)


def adaptation_examples(data: FamilyData, name: str, result: ModelResult, steps: tuple[int, ...]) -> Figure:
    """A few test tasks: the examples, the truth, and answers on the way."""
    count = min(NUM_EXAMPLES, len(data.test))
    figure, axes = new_figure(1, count, 10.5, 3.2)
    queries = curve_points(data)
    for index, panel in enumerate(np.atleast_1d(axes)):
        parameters = data.test.parameters[index : index + 1]
        panel.plot(queries, data.test_family.answers(parameters, queries[None])[0], color=INK, lw=1, label="truth")
        curves = result.arrays["curves"][1 + index]
        if np.abs(curves[-1] - curves[0]).max() > 0:
            panel.plot(queries, curves[0], color=MUTED, ls=":", label="before any step")
            panel.plot(queries, curves[1], color=COLOURS[1], ls="--", label=f"after {steps[1]}")
        label = f"after {steps[-1]} steps" if np.abs(curves[-1] - curves[0]).max() > 0 else plain(name)
        panel.plot(queries, curves[-1], color=COLOURS[0], label=label)
        shots = data.shots[-1]
        panel.plot(*_numbers(data.test, index, shots), "^", color=COLOURS[4], ms=5, label="examples")
        panel.set(xlabel="x", ylabel="y" if index == 0 else "")
        panel.set_title(_task(data, data.test, index), fontsize=8)
    figure.legend(*np.atleast_1d(axes)[0].get_legend_handles_labels(), loc="outside upper center", ncols=5)
    caption = f"How {name} adapts to the first test tasks from {data.shots[-1]} examples (triangles) of each."
    return Figure("adaptation", caption, figure, True)


def by_steps(data: FamilyData, references: dict[str, ModelResult], results: dict[str, list[ModelResult]]) -> Figure:
    """Mean error on test tasks after every number of gradient steps, a panel per number of examples."""
    figure, axes = new_figure(1, len(data.shots), 10.5, 3.6)
    for panel, shots in zip(np.atleast_1d(axes), data.shots, strict=True):
        key = f"K{shots}_errors"
        longest = max(len(r.arrays[key]) for repeats in results.values() for r in repeats)
        for index, (name, repeats) in enumerate(results.items()):
            for repeat, result in enumerate(repeats):
                _with_band(panel, result.arrays[key], longest, color=colour(index), label=name if repeat == 0 else None)
        for index, (name, result) in enumerate(references.items()):
            if name != ORACLE or result.arrays[key][-1].mean() > SMALLEST:
                _with_band(panel, result.arrays[key], longest, color=MUTED, ls=DASHES[index % 4], label=LABELS[name])
        panel.set(title=f"{shots} example{'s' if shots != 1 else ''}", xlabel="gradient steps")
        log_scale(panel, "y")
        panel.set_xticks(range(0, longest, max(1, longest // 5)))
    first = np.atleast_1d(axes)
    first[0].set_ylabel("mean squared error")
    figure.legend(*first[0].get_legend_handles_labels(), loc="outside upper center", ncols=4)
    caption = (
        f"Mean squared error over {len(data.test)} test tasks by gradient steps on their examples, with 95 % intervals, every "
        "repeat, beside answers that learned nothing of the family (grey)."
    )
    return Figure("by_steps", caption, figure, True)


def _with_band(panel: Axes, errors: np.ndarray, length: int, **line: object) -> None:
    """The mean by steps and its interval; one value where there are no steps, drawn throughout."""
    whole = np.repeat(errors, length, 0) if len(errors) == 1 else errors
    mean, half = whole.mean(1), np.array([half_width(row) for row in whole])
    shown = np.isfinite(mean) & (mean < 1e6)
    steps, mean, half = np.arange(len(whole))[shown], mean[shown], half[shown]
    panel.plot(steps, np.maximum(mean, SMALLEST), **line)  # type: ignore[arg-type]
    low, high = np.maximum(mean - half, 0.3 * mean), np.minimum(mean + half, 1e6)
    panel.fill_between(steps, np.maximum(low, SMALLEST), np.maximum(high, SMALLEST), color=line["color"], alpha=0.15, lw=0)


def by_shots(
    data: FamilyData, references: dict[str, ModelResult], results: dict[str, list[ModelResult]], steps: tuple[int, ...]
) -> Figure:
    """Mean error by how many examples were given."""
    figure, panel = new_figure(1, 1, 8.0, 3.8)
    numbers = np.arange(data.shots[-1] + 1)
    for index, (name, repeats) in enumerate(results.items()):
        for repeat, result in enumerate(repeats):
            _shots(panel, numbers, result, color=colour(index), label=name if repeat == 0 else None, marker="o")
    for index, (name, result) in enumerate(references.items()):
        shade = COLOURS[7] if name == ORACLE else MUTED
        _shots(panel, numbers, result, color=shade, ls=DASHES[index % 4], label=LABELS[name])
    panel.set(xlabel="examples of the task", ylabel="mean squared error")
    panel.xaxis.set_major_locator(MaxNLocator(integer=True))
    panel.xaxis.set_major_locator(MaxNLocator(integer=True))
    log_scale(panel, "y")
    figure.legend(*panel.get_legend_handles_labels(), loc="outside upper center", ncols=3)
    caption = (
        f"Mean squared error over {len(data.test)} test tasks by the number of examples, after {steps[-1]} gradient steps where "
        f"a learner takes any, with 95 % intervals. Errors below {SMALLEST:g}, and adaptation that diverged, are not drawn."
    )
    return Figure("by_shots", caption, figure)


def _shots(panel: Axes, numbers: np.ndarray, result: ModelResult, *, marker: str = "", **line: object) -> None:
    mean, half = result.arrays["by_shots"], result.arrays["by_shots_half"]
    shown = np.isfinite(mean) & (mean > SMALLEST) & (mean < 1e3) & np.isfinite(half)
    mean = np.where(shown, mean, np.nan)  # the line has a gap where nothing is drawn
    reach = np.stack([np.minimum(half, 0.7 * mean), np.where(shown, half, np.nan)])
    panel.errorbar(numbers, mean, reach, marker=marker, ms=3, elinewidth=0.8, **line)  # type: ignore[arg-type]


def over_parameters(data: FamilyData, name: str, result: ModelResult, steps: tuple[int, ...]) -> Figure:
    """Error of every test task over the plane of the first two parameters."""
    errors = result.arrays[f"K{data.shots[-1]}_errors"]
    rows = list(dict.fromkeys(min(step, len(errors) - 1) for step in (steps[0], steps[1], steps[-1])))
    figure, axes = new_figure(1, len(rows), 10.5 if len(rows) > 1 else 6.0, 3.4)
    shown = np.clip(errors[rows], 1e-4, 1e3)
    norm = LogNorm(max(1e-4, float(np.quantile(shown, 0.01))), float(np.quantile(shown, 0.99)))
    panels = np.atleast_1d(axes)
    for panel, row, values in zip(panels, rows, shown, strict=True):
        rim = {"edgecolors": MUTED, "linewidths": 0.4}  # both ends of the colours fade on one of the two grounds
        places = data.test.parameters[:, 1], data.test.parameters[:, 0]
        dots = panel.scatter(*places, c=values, s=13, norm=norm, cmap="viridis", **rim)
        title = "after reading the examples" if len(errors) == 1 else f"after {row} steps" if row != 1 else "after 1 step"
        panel.set(title=title, xlabel=data.test_family.names[1])
    panels[0].set_ylabel(data.test_family.names[0])
    figure.colorbar(dots, ax=list(panels), label="squared error of the task")
    caption = (
        f"Where {name} is good from {data.shots[-1]} examples: the error of every test task over the plane of their parameters."
    )
    return Figure("over_parameters", caption, figure, len(rows) > 1)


def training(histories: dict[str, list[History]]) -> Figure:
    """Loss by outer steps or epochs: training (thin) and validation tasks."""
    figure, axes = new_figure(1, len(histories), 4.0 + 2.6 * len(histories), 3.2)
    for index, (panel, (name, repeats)) in enumerate(zip(np.atleast_1d(axes), histories.items(), strict=True)):
        learning_curves(panel, {name: repeats}, first=index, named=False)
        for repeat, history in enumerate(repeats):
            text = None if repeat else "validation, after 10 steps"
            curve(panel, history, "validation_step10", label=text, color=MUTED, ls="--", lw=1.0)
        panel.set(title=plain(name), xlabel="epoch (or interval of outer steps)")
        panel.xaxis.set_major_locator(MaxNLocator(integer=True))
        log_scale(panel, "y")
        panel.legend(fontsize=7)
    np.atleast_1d(axes)[0].set_ylabel("mean squared error")
    caption = "Training, every repeat: the loss that is minimised, and errors on validation tasks."
    return Figure("training", caption, figure, len(histories) > 1)


def _numbers(part: Episodes, index: int, count: int = SHOWN_POINTS) -> tuple[np.ndarray, np.ndarray]:
    """The first points of a task and its targets there."""
    return part.points[index, :count].numpy(force=True), part.targets[index, :count].numpy(force=True)


def _task(data: FamilyData, part: Episodes, index: int) -> str:
    """amplitude 2.1, phase 0.4."""
    return ", ".join(f"{name} {value:.2f}" for name, value in zip(data.family.names, part.parameters[index], strict=True))
