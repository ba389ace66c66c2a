"""Figures of a classification report: training, confusion, scores by kind and length, ROC curves, calibration, examples."""

from collections.abc import Iterator

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.ticker import MaxNLocator

from rnnscope.core.interfaces import History, ModelResult
from rnnscope.core.labelled import LabelledData, LabelledSet
from rnnscope.core.tables import Figure
from rnnscope.evaluation.classification_examples import examples
from rnnscope.evaluation.classification_scores import best_trivial, label, trivial
from rnnscope.evaluation.learning_curves import learning_curves
from rnnscope.numerics.classification_metrics import class_areas, confusion_matrix, reliability
from rnnscope.plotting import COLOURS, INK, MUTED, colour, log_scale, new_figure, plain, style

SHOWN_MODELS, MOST_CLASSES, MOST_CELLS = 3, 10, 20
ROOM = 22  # letters below a confusion matrix
MARKS = ("o", "s", "^", "D", "v", "P")
QUANTITIES = {"loss": "cross-entropy (nats)", "accuracy": "accuracy", "recall": "macro recall"}

Results = dict[str, list[ModelResult]]


def classification_figures(
    data: LabelledData,
    references: dict[str, ModelResult],
    results: Results,
    histories: dict[str, list[History]],
    best: dict[str, ModelResult],
    chosen: str,
    num_examples: int,
) -> Iterator[Figure]:
    """Every figure; `best` holds each model's chosen repeat, and `chosen` names the model whose answers are examples."""
    with style():
        yield training(histories)
        yield confusion(data, best)
        if len({part.num_steps for part in data.tests.values()}) > 1 or data.tests["test"].lengths is not None:
            yield lengths(data, references, results)
        if any(f"{part} by kind" in best[chosen].scores for part in data.tests):
            yield kinds(data, references, results)
        yield roc(data, best, chosen)
        yield calibration(data, best)
        yield examples(data, chosen, best[chosen], num_examples)


def training(histories: dict[str, list[History]]) -> Figure:
    """Loss, accuracy and macro recall by epoch: training part thin, validation part thick."""
    columns = {name for repeats in histories.values() for h in repeats for name in h.columns}
    shown = [q for q in QUANTITIES if any(f"{part}_{q}" in columns for part in ("train", "validation"))]
    figure, axes = new_figure(1, max(1, len(shown)), 10.5, 3.4)
    for panel, quantity in zip(np.atleast_1d(axes), shown, strict=False):
        learning_curves(panel, histories, quantity)
        panel.set(xlabel="epoch", title=QUANTITIES[quantity])
        panel.xaxis.set_major_locator(MaxNLocator(5, integer=True))
        if quantity == "loss":
            log_scale(panel, "y")
    if shown:
        handles = np.atleast_1d(axes)[0].get_legend_handles_labels()
        figure.legend(*handles, loc="outside upper right", ncols=4)
    thick = ", thick the validation part" if any(name.startswith("validation_") for name in columns) else ""
    caption = (
        f"Training, every repeat: thin the training part (as it was met, with any dropout){thick}. "
        "Macro recall is the mean over classes of the share decided right."
    )
    return Figure("training", caption, figure, True)


def confusion(data: LabelledData, best: dict[str, ModelResult]) -> Figure:
    """Who is taken for whom on the test part, a panel per model."""
    names = list(best)[:SHOWN_MODELS]
    size = len(data.class_names)
    side = float(np.clip(1.5 + 0.45 * size, 2.6, 7.0))
    figure, axes = new_figure(1, len(names), min(3.4 * max(1.0, side / 3.0), 7.5) * len(names), side + 0.8)
    shades = LinearSegmentedColormap.from_list("counts", ["#eef3f8", COLOURS[0], "#123a63"])
    labels = data.tests["test"].labels.numpy(force=True)
    for panel, name in zip(np.atleast_1d(axes), names, strict=True):
        matrix = confusion_matrix(labels, best[name].arrays["test_decided"], size)
        shares = matrix / np.maximum(matrix.sum(1, keepdims=True), 1)
        panel.imshow(shares, cmap=shades, vmin=0, vmax=1)
        if size <= MOST_CELLS:
            for row, column in np.ndindex(size, size):
                # not INK: a cell keeps its colour on a dark page, and so must the number in it
                tone = "#ffffff" if shares[row, column] > 0.45 else "#20262e"
                fitting = 11 if size <= 4 else 8 if size <= 10 else 6
                panel.text(column, row, str(matrix[row, column]), ha="center", va="center", color=tone, fontsize=fitting)
        written = [plain(n) for n in data.class_names]
        crowded = size > 3 or max(map(len, data.class_names)) * size > ROOM
        steep = {"rotation": 40, "ha": "right", "rotation_mode": "anchor"} if crowded else {}
        panel.set_xticks(range(size), written, **steep)
        panel.set_yticks(range(size), written)
        panel.set(xlabel="decided", ylabel="true class", title=plain(name))
        panel.grid(visible=False)
    caption = "Confusion on the test part: numbers of sequences; the darker, the larger the share of the true class."
    caption += f" The first {len(names)} of {len(best)} models." if len(names) < len(best) else ""
    return Figure("confusion", caption, figure)


def lengths(data: LabelledData, references: dict[str, ModelResult], results: Results) -> Figure:
    """Share decided right by length, over all test parts: each repeat of each model, beside the baselines."""
    figure, panel = new_figure(1, 1, 8.0, 3.6)
    for index, name in enumerate(trivial(references, data)):
        style_ = {"color": MUTED, "ls": (":", "--", "-.")[index % 3], "marker": MARKS[index % len(MARKS)]}
        panel.plot(*_by_length(data, references[name]), ms=3.5, lw=1, label=plain(label(name)), **style_)
    for index, (name, repeats) in enumerate(results.items()):
        for repeat, result in enumerate(repeats):
            words = plain(name) if repeat == 0 else None
            panel.plot(*_by_length(data, result), marker="o", ms=4, color=colour(index), alpha=0.8, label=words)
    trained = data.train.num_steps
    panel.axvline(trained, color=COLOURS[4], lw=0.9, ls="--", label="longest in training")
    panel.axhline(1 / len(data.class_names), color=INK, lw=0.7, alpha=0.5)
    panel.set(xlabel="steps of the sequence", ylabel="balanced accuracy", ylim=(None, 1.03))
    log_scale(panel, "x")
    figure.legend(*panel.get_legend_handles_labels(), loc="outside right upper", fontsize=8)
    caption = "Balanced accuracy by length of the sequences, every repeat, beside the baselines (thin line: guessing)."
    return Figure("lengths", caption, figure, True)


def _by_length(data: LabelledData, result: ModelResult) -> tuple[list[float], list[float]]:
    """Mean length and balanced accuracy of up to six groups of length in each test part, shortest first."""
    found = []
    for name, part in data.tests.items():
        if part.num_steps == data.tests["test"].num_steps and name != "test":
            continue  # another mixture of the same length, no other length
        steps = _lengths(part)
        edges = np.unique(np.quantile(steps, np.linspace(0, 1, 7)[1:-1]))
        groups = np.searchsorted(edges, steps)
        labels, decided = part.labels.numpy(force=True), result.arrays[f"{name}_decided"]
        for group in np.unique(groups):
            rows = groups == group
            recalls = [(decided[rows & (labels == k)] == k).mean() for k in np.unique(labels[rows])]
            found.append((float(steps[rows].mean()), float(np.mean(recalls))))
    found.sort()
    return [x for x, _ in found], [y for _, y in found]


def _lengths(part: LabelledSet) -> np.ndarray:
    return np.full(len(part), part.num_steps) if part.lengths is None else part.lengths.numpy(force=True)


def kinds(data: LabelledData, references: dict[str, ModelResult], results: Results) -> Figure:
    """Share decided right by kind of example: bars over repeats, beside the best baseline."""
    parts = [p for p in data.tests if f"{p} by kind" in next(iter(results.values()))[0].scores][:SHOWN_MODELS]
    most = max(len(next(iter(results.values()))[0].scores[f"{p} by kind"]) for p in parts)
    figure, axes = new_figure(1, len(parts), 10.5, 1.2 + 0.2 * most * (len(results) + 1))
    rivals = list(dict.fromkeys(best_trivial(p, references, data) for p in parts))
    for panel, part in zip(np.atleast_1d(axes), parts, strict=True):
        names = list(next(iter(results.values()))[0].scores[f"{part} by kind"])
        rows, width = np.arange(len(names)), 0.8 / (len(results) + 1)
        for index, (model, repeats) in enumerate(results.items()):
            values = np.array([[r.scores[f"{part} by kind"][n] for n in names] for r in repeats])
            at = rows + (index - len(results) / 2) * width
            panel.barh(at, np.median(values, 0), width * 0.92, color=colour(index), label=plain(model))
            if len(repeats) > 1:
                panel.plot(values.T, at, "|", color=INK, ms=6, alpha=0.7)
        rival = best_trivial(part, references, data)
        at = rows + len(results) / 2 * width
        values = np.array([references[rival].scores[f"{part} by kind"][n] for n in names])
        panel.barh(
            at, values, width * 0.92, color=MUTED, alpha=(0.65, 0.3, 0.95)[rivals.index(rival) % 3], label=plain(label(rival))
        )
        panel.set_yticks(rows, [plain(n) for n in names])
        panel.invert_yaxis()
        panel.set(xlabel="decided right", xlim=(0, 1.02), title=part if part != "test" else "test part")
    for panel in np.atleast_1d(axes)[1:]:
        if list(panel.get_yticks()) == list(np.atleast_1d(axes)[0].get_yticks()) and _same_labels(
            panel, np.atleast_1d(axes)[0]
        ):
            panel.tick_params(labelleft=False)
    entries = {n: h for p in np.atleast_1d(axes) for h, n in zip(*p.get_legend_handles_labels(), strict=True)}
    figure.legend(entries.values(), entries.keys(), loc="outside upper right", ncols=3, fontsize=8)
    caption = "Share decided right by kind of example: medians over repeats (ticks: each one), beside the best baseline of the part (grey)."
    return Figure("kinds", caption, figure, True)


def _same_labels(one: Axes, other: Axes) -> bool:
    return [t.get_text() for t in one.get_yticklabels()] == [t.get_text() for t in other.get_yticklabels()]


def roc(data: LabelledData, best: dict[str, ModelResult], chosen: str) -> Figure:
    """ROC curves on the test part: a curve per model for two classes, one against the rest for each class of more."""
    figure, panel = new_figure(1, 1, 4.6, 4.2)
    labels = data.tests["test"].labels.numpy(force=True)
    panel.plot([0, 1], [0, 1], color=MUTED, lw=0.8, ls="--")
    if len(data.class_names) == 2:
        shown = [(name, result.arrays["test_probabilities"], 1) for name, result in best.items()]
        caption = f"ROC curve of '{data.class_names[1]}' on the test part"
    else:
        probabilities = best[chosen].arrays["test_probabilities"]
        shown = [(data.class_names[k], probabilities, k) for k in range(min(len(data.class_names), MOST_CLASSES))]
        caption = f"ROC curves of {chosen} on the test part, each class against the rest"
        if len(data.class_names) > MOST_CLASSES:
            caption += f" (the first {MOST_CLASSES} of {len(data.class_names)} classes)"
    for index, (name, probabilities, number) in enumerate(shown):
        area = class_areas(labels, probabilities)[number]
        if np.isfinite(area):
            words = f"{plain(name)}: {min(round(area, 4), 0.9999) if area < 1 else 1:.4g}"
            dash = "-" if index < len(COLOURS) else "--"
            panel.plot(*_roc(labels == number, probabilities[:, number]), color=colour(index), ls=dash, label=words)
    panel.set(
        xlabel="false alarms (share of the rest)", ylabel="found (share of the class)", xlim=(-0.02, 1.02), ylim=(-0.02, 1.02)
    )
    panel.set_aspect("equal")
    if panel.get_legend_handles_labels()[0]:
        panel.legend(loc="lower right", title="area below", fontsize=8)
    else:
        panel.text(0.5, 0.25, "only one class in this part", ha="center")
    return Figure("roc", f"{caption}. Dashed: guessing.", figure)


def _roc(positive: np.ndarray, score: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    from sklearn.metrics import roc_curve  # imported here: half a second that most uses do not need

    false, true, _ = roc_curve(positive, score)
    return false, true


def calibration(data: LabelledData, best: dict[str, ModelResult]) -> Figure:
    """Are probabilities what they say? Share right against the probability of the decided class, in ten bins."""
    figure, (left, right) = new_figure(1, 2, 9.0, 3.6)
    labels = data.tests["test"].labels.numpy(force=True)
    left.plot([0, 1], [0, 1], color=MUTED, lw=0.8, ls="--")
    edges = np.linspace(0, 1, 11)
    for index, (name, result) in enumerate(best.items()):
        confidence, accuracy, share = reliability(labels, result.arrays["test_probabilities"])
        held = np.isfinite(accuracy)
        left.plot(confidence[held], accuracy[held], color=colour(index), lw=0.8)
        left.scatter(confidence[held], accuracy[held], 12 + 120 * share[held], color=colour(index), alpha=0.8)
        right.stairs(share, edges, color=colour(index), fill=len(best) == 1, alpha=0.8, label=plain(name))
    lowest = 1 / len(data.class_names)
    left.set(
        xlabel="probability of the decided class", ylabel="share decided right", xlim=(lowest - 0.03, 1.03), ylim=(-0.03, 1.05)
    )
    right.set(xlabel="probability of the decided class", ylabel="share of the sequences", xlim=(lowest - 0.03, 1.03))
    figure.legend(*right.get_legend_handles_labels(), loc="outside upper right", ncols=4)
    errors = ", ".join(f"{name} {result.scores['test']['calibration_error']:.2g}" for name, result in best.items())
    caption = (
        "Calibration on the test part: on the diagonal a probability is what it says; the larger a point, the more sequences. "
        f"Expected calibration error: {errors}."
    )
    return Figure("calibration", caption, figure, True)
