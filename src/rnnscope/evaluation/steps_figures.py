"""Figures of a report on answers at every step: example sequences, scores by age, training."""

from collections.abc import Iterator
from textwrap import fill

import numpy as np
from matplotlib.axes import Axes
from scipy.special import softmax

from rnnscope.core.interfaces import History, ModelResult
from rnnscope.core.step_data import StepData, StepSet
from rnnscope.core.tables import Figure
from rnnscope.evaluation.learning_curves import learning_curves
from rnnscope.evaluation.steps_scores import CONSTANT, ERRORS, RULE, best_trivial, error_key, label
from rnnscope.plotting import COLOURS, INK, MUTED, colour, log_scale, new_figure, plain, style

SHOWN_STEPS, SHOWN_ROWS = 200, 4
MOST_NAMES = 16  # symbols named beside a figure
DASHES = (":", "--", "-.")


def steps_figures(
    data: StepData,
    references: dict[str, ModelResult],
    results: dict[str, list[ModelResult]],
    histories: dict[str, list[History]],
    chosen: str,
    best: int,
) -> Iterator[Figure]:
    """Every figure; `chosen` and `best` name the model, and its repeat, whose answers are shown as an example."""
    with style():
        shade = colour(list(results).index(chosen))
        if data.exclusive:
            yield symbols(data, chosen, results[chosen][best])
        else:
            yield examples(data, chosen, results[chosen][best], shade)
        if not (data.exclusive or data.levels):
            yield answers(data, chosen, results[chosen][best], shade)
        if all(_several_ages(part) for part in data.tests.values()):
            yield ages(data, references, results)
        yield training(references, histories)


def examples(data: StepData, name: str, result: ModelResult, shade: str) -> Figure:
    """The first sequence of every test part: inputs, targets and the network's outputs, a row per output."""
    rows = min(SHOWN_ROWS, len(data.output_names))
    paired = len(data.input_names) == len(data.output_names)  # then each output is drawn over its own input
    panels = rows if paired else rows + 1
    figure, axes = new_figure(panels, len(data.tests), 10.5, max(2.6, 0.8 + 1.1 * panels))
    axes = np.asarray(axes).reshape(panels, len(data.tests))
    for column, (part_name, part) in enumerate(data.tests.items()):
        steps = np.arange(min(part.num_steps, SHOWN_STEPS))
        inputs = part.inputs[0, : len(steps)].numpy(force=True)
        outputs = result.arrays[f"{part_name}_example"][: len(steps)]
        if not paired:
            _all_inputs(axes[0, column], steps, inputs)
        for row in range(rows):
            panel = axes[panels - rows + row, column]
            if paired:
                panel.vlines(steps, 0, inputs[:, row], color=MUTED, lw=1.2, label="input")
            _answer(panel, steps, part, row, outputs[:, row], shade, name)
            panel.set_ylabel(fill(plain(data.output_names[row]), 16) if column == 0 else "")
        head = "test part" if part_name == "test" else f"test part '{part_name}'"
        axes[0, column].set_title(f"{head}: {part.title}" if part.title else head)
        axes[-1, column].set_xlabel("step")
        for panel in axes[:-1, column]:
            panel.tick_params(labelbottom=False)
    figure.legend(*axes[-1, 0].get_legend_handles_labels(), loc="outside upper right", ncols=4)
    caption = f"The first sequence of each test part, and what {name} answers; at most {SHOWN_STEPS} steps are shown."
    return Figure("examples", caption, figure, True)


def symbols(data: StepData, name: str, result: ModelResult) -> Figure:
    """The first sequence of every test part: what is read, and the probabilities of the symbols where one is asked for."""
    figure, axes = new_figure(2, len(data.tests), 10.5, 4.6)
    axes = np.asarray(axes).reshape(2, len(data.tests))
    for column, (part_name, part) in enumerate(data.tests.items()):
        targets = part.targets[0].numpy(force=True)
        asked = np.isfinite(targets[:, 0])
        read, said = axes[:, column]
        read.imshow(part.inputs[0].numpy(force=True).T, aspect="auto", cmap="Greys", interpolation="nearest")
        probability = softmax(result.arrays[f"{part_name}_example"][asked], axis=1)
        said.imshow(probability.T, aspect="auto", cmap="Greys", vmin=0, vmax=1, interpolation="nearest")
        said.plot(targets[asked].argmax(1), "o", mfc="none", color=COLOURS[1], ms=9, mew=1.6, label="asked for")
        for panel, names in ((read, data.input_names), (said, data.output_names)):
            few = len(names) <= MOST_NAMES
            panel.set_yticks(
                range(len(names)) if few and column == 0 else [], [plain(n) for n in names] if few and column == 0 else []
            )
        head = "test part" if part_name == "test" else f"test part '{part_name}'"
        read.set_title(f"{head}: {part.title}" if part.title else head)
        read.set_xlabel("step")
        said.set_xlabel("answer")
        for panel in (read, said):
            panel.grid(visible=False)
            panel.xaxis.get_major_locator().set_params(integer=True)
    axes[0, 0].set_ylabel("read")
    axes[1, 0].set_ylabel("probability")
    figure.legend(*axes[-1, 0].get_legend_handles_labels(), loc="outside upper right")
    caption = f"The first sequence of each test part: what is read, and below how probable {name} holds each symbol, answer by answer."
    return Figure("examples", caption, figure, True)


def answers(data: StepData, name: str, result: ModelResult, shade: str) -> Figure:
    """Outputs against targets, where targets are any numbers, a panel per test part."""
    figure, axes = new_figure(1, len(data.tests), 4.2 * len(data.tests), 3.8)
    for panel, part_name in zip(np.atleast_1d(axes), data.tests, strict=True):
        targets, outputs = result.arrays[f"{part_name}_pairs"]
        low, high = float(targets.min()), float(targets.max())
        panel.plot([low, high], [low, high], color=INK, lw=0.8)
        panel.plot(targets, outputs, ".", color=shade, ms=3, alpha=0.5)
        panel.set(xlabel="target", title=fill(f"{part_name}: {data.tests[part_name].title}", 36))
    np.atleast_1d(axes)[0].set_ylabel(plain(f"output of {name}"))
    return Figure("answers", f"What {name} answers against what was asked for; right answers lie on the line.", figure)


def _several_ages(part: StepSet) -> bool:
    """Whether the inputs that decide came at different times."""
    if part.age is None:
        return False
    ages = part.age[np.isfinite(part.targets.numpy(force=True))]
    return bool(ages.min() < ages.max())


def _all_inputs(panel: Axes, steps: np.ndarray, inputs: np.ndarray) -> None:
    for k in range(inputs.shape[1]):
        panel.plot(steps, inputs[:, k], color=colour(k), lw=0.9)
    panel.set_ylabel("inputs")


def _answer(panel: Axes, steps: np.ndarray, part: StepSet, row: int, outputs: np.ndarray, shade: str, name: str) -> None:
    """Target and output of one channel; the target is drawn where it counts."""
    targets = part.targets[0, : len(steps), row].numpy(force=True)
    panel.plot(steps, outputs, color=shade, lw=2.6, alpha=0.8, drawstyle="steps-mid", label=plain(name))
    lonely = np.isfinite(targets).sum() < 2  # a line needs two
    panel.plot(steps, targets, color=INK, lw=0.8, drawstyle="steps-mid", marker="o" if lonely else "", ms=5, label="target")


def ages(data: StepData, references: dict[str, ModelResult], results: dict[str, list[ModelResult]]) -> Figure:
    """How good the answers are by how long ago the deciding input came, a panel per test part."""
    figure, axes = new_figure(1, len(data.tests), 10.5, 3.4)
    for panel, (part_name, part) in zip(np.atleast_1d(axes), data.tests.items(), strict=True):
        for index, (name, repeats) in enumerate(results.items()):
            for repeat, result in enumerate(repeats):
                _curve(
                    panel, result, part_name, color=colour(index), alpha=0.6, label=name if repeat == 0 else None, marker="o"
                )
        trivial = [n for n in references if n not in (CONSTANT, RULE)]
        for index, name in enumerate(trivial):
            _curve(panel, references[name], part_name, color=MUTED, ls=DASHES[index % len(DASHES)], label=label(name))
        if data.levels:
            panel.axhline(1 / len(data.levels), color=INK, lw=0.7, ls="-", alpha=0.5)
            panel.set_ylim(None, 1.03)
        if data.train.age is not None and (oldest := int(data.train.age.max())) < int(part.age.max()):  # type: ignore[union-attr]
            panel.axvline(oldest, color=COLOURS[4], lw=0.9, ls="--", label="oldest in training")
        panel.set(title=f"{part_name}: {part.title}", xlabel="steps since the deciding input")
    first = np.atleast_1d(axes)
    first[0].set_ylabel("targets right" if data.levels else "mean squared error")
    figure.legend(*first[-1].get_legend_handles_labels(), loc="outside upper center", ncols=6, fontsize=8)
    quantity = "Share of targets decided right" if data.levels else "Mean squared error"
    return Figure(
        "ages",
        f"{quantity} by how long ago the input came that decides them, every repeat, beside linear readouts of the latest "
        "inputs (grey). A memory holds where a readout of few inputs cannot see back"
        + (" (thin line: guessing)." if data.levels else "."),
        figure,
        True,
    )


def _curve(panel: Axes, result: ModelResult, part: str, *, marker: str = "", **line: object) -> None:
    """One answerer's curve over ages, at the middle of each bin."""
    edges, values = result.arrays[f"{part}_age_edges"], result.arrays[f"{part}_by_age"]
    known = np.isfinite(values)
    middle = (edges[:-1] + edges[1:] - 1) / 2
    panel.plot(middle[known], values[known], marker=marker, ms=3, **line)  # type: ignore[arg-type]


def training(references: dict[str, ModelResult], histories: dict[str, list[History]]) -> Figure:
    """Loss by epoch: training part (thin) and validation part, beside the best trivial answer."""
    figure, panel = new_figure(1, 1, 8.0, 3.4)
    learning_curves(panel, histories)
    rival = best_trivial("test", references)
    error = error_key(references[rival].scores["test"])
    panel.axhline(references[rival].scores["test"][error], color=MUTED, ls="--", lw=1, label=label(rival))
    panel.set(xlabel="epoch", ylabel=ERRORS[error])
    log_scale(panel, "y")
    panel.xaxis.get_major_locator().set_params(integer=True)
    figure.legend(*panel.get_legend_handles_labels(), loc="outside upper right", ncols=3)
    caption = f"Training: {ERRORS[error]} by epoch, every repeat. Dashed: the best trivial answer on the test part."
    return Figure("training", caption, figure)
