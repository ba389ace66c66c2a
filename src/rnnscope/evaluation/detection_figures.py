"""Figures of a report on detection: the series with its alarms, scores with thresholds, precision and recall, a histogram."""

from collections.abc import Iterator

import numpy as np
from matplotlib.axes import Axes
from sklearn.metrics import precision_recall_curve

from rnnscope.core.interfaces import History, ModelResult
from rnnscope.core.marked_series import MarkedData
from rnnscope.core.tables import Figure
from rnnscope.evaluation.detection_scores import rankable
from rnnscope.evaluation.detection_tables import label
from rnnscope.evaluation.learning_curves import learning_curves
from rnnscope.numerics.detection_metrics import ranges_of
from rnnscope.plotting import COLOURS, INK, MUTED, colour, legend_above, log_scale, new_figure, plain, style, thin

ALARM, TRUTH = COLOURS[4], COLOURS[6]
MOST_PANELS = 8
BINS = 50
DASHES = (":", "--")


def detection_figures(
    data: MarkedData,
    references: dict[str, ModelResult],
    results: dict[str, ModelResult],
    histories: dict[str, list[History]],
    chosen: str,
) -> Iterator[Figure]:
    """Every figure; `results` hold one repeat of each model."""
    with style():
        if data.series.ordered:
            yield series_figure(data, results, chosen)
        else:
            yield histogram(data, results, chosen)
        if any("average_precision" in r.scores["test"] for r in results.values()):
            yield precision_recall(data, references, results)
        if any("train_loss" in h.columns for repeats in histories.values() for h in repeats):
            yield training(histories)


def series_figure(data: MarkedData, results: dict[str, ModelResult], chosen: str) -> Figure:
    """The series with true ranges and the chosen detector's alarms, and below it every detector's score with its threshold."""
    names = [chosen, *(n for n in results if n != chosen)][:MOST_PANELS]
    figure, axes = new_figure(1 + len(names), 1, 10.5, 2.4 + 1.25 * len(names))
    steps = np.arange(len(data.series))
    top = axes[0]
    for k, name in enumerate(data.series.names[:4]):
        x, y = thin(steps, data.series.values[:, k])
        top.plot(x, y, color=MUTED if k == 0 else colour(k), lw=0.8, label=plain(name))
    flags = results[chosen].arrays["alarms"]
    top.plot(steps[flags], data.series.values[flags, 0], ".", color=ALARM, ms=5, label=f"alarm of {plain(chosen)}")
    for panel in axes:
        _shade(panel, data)
        panel.set_xlim(0, len(steps) - 1)
    legend_above(top, 5)
    for row, name in enumerate(names):
        _score_panel(axes[1 + row], results[name], name, colour(list(results).index(name)))
        if row < len(names) - 1:
            axes[1 + row].tick_params(labelbottom=False)
    top.tick_params(labelbottom=False)
    axes[-1].set_xlabel("step")
    truth = " Shaded: marked as anomalous." if data.series.marks is not None else ""
    prefix = " Left of the dashed line: the training part." if data.series.train_until else ""
    caption = f"The series and the alarms of {chosen}; below, every detector's score and its threshold (line).{truth}{prefix}"
    return Figure("alarms", caption, figure, True)


def _score_panel(panel: Axes, result: ModelResult, name: str, shade: str) -> None:
    score = result.arrays["score"]
    x, y = thin(np.arange(len(score)), score)
    panel.plot(x, y, color=shade, lw=0.8)
    bound = result.scores["test"].get("upper")
    if bound is not None and "centre" not in result.scores["test"]:
        panel.axhline(bound, color=INK, lw=0.8)
    panel.set_title(plain(name), fontsize=9)
    panel.set_ylabel("-log₁₀ p" if "centre" in result.scores["test"] else "score", fontsize=8)


def _shade(panel: Axes, data: MarkedData) -> None:
    """True ranges, at least two pixels wide, and the end of the training part."""
    if data.series.train_until:
        panel.axvline(data.series.train_until, color=INK, lw=0.8, ls="--", alpha=0.6)
    if data.series.marks is None:
        return
    least = len(data.series) / 500
    for number, (a, b) in enumerate(ranges_of(data.series.marks)):
        middle, half = (a + b - 1) / 2, max((b - a) / 2, least / 2)
        panel.axvspan(middle - half, middle + half, color=TRUTH, alpha=0.3, lw=0, label="marked" if number == 0 else None)


def histogram(data: MarkedData, results: dict[str, ModelResult], chosen: str) -> Figure:
    """Fifty bins, the bounds of the chosen method as lines, the flagged values as marks, and the other methods' bounds below."""
    values = data.series.values[:, 0]
    scores, flags = results[chosen].scores["test"], results[chosen].arrays["alarms"]
    figure, axes = new_figure(2, 1, 8.0, 4.6)
    top, below = axes
    top.hist(values, BINS, color=colour(0), alpha=0.65, label="draws")
    for key in ("lower", "upper"):
        if key in scores:
            top.axvline(scores[key], color=INK, lw=1.2, ls="--", label=f"bounds of {plain(chosen)}" if key == "lower" else None)
    if flags.any():
        top.plot(values[flags], np.full(flags.sum(), 1.5), "v", color=ALARM, ms=7, label=f"flagged by {plain(chosen)}")
    top.set_ylabel("draws per bin")
    legend_above(top, 4)
    low, high = top.get_xlim()
    for row, result in enumerate(results.values()):
        own = result.scores["test"]
        ends = [own.get("lower", values.min()), own.get("upper", values.max())]
        low, high = min(low, ends[0]), max(high, ends[1])
        below.plot(ends, [row, row], color=colour(row), lw=2)
        flagged = values[result.arrays["alarms"]]
        below.plot(flagged, np.full(len(flagged), row), "v", color=ALARM, ms=5)
    below.set(yticks=range(len(results)), yticklabels=[plain(n) for n in results], xlabel=plain(data.series.names[0]))
    below.set_ylim(len(results) - 0.5, -0.5)
    margin = 0.02 * (high - low)
    for panel in axes:
        panel.set_xlim(low - margin, high + margin)
    caption = (
        "Above: all values in 50 bins, the bounds beyond which a value counts as emergent (dashed), and the values beyond them "
        "(triangles). Below: what each method takes for normal (bar) and flags (triangles)."
    )
    return Figure("histogram", caption, figure)


def precision_recall(data: MarkedData, references: dict[str, ModelResult], results: dict[str, ModelResult]) -> Figure:
    """Precision over recall of every score, and the point that its alarms are at."""
    assert data.series.marks is not None
    part = data.series.judged
    marks = data.series.marks[part]
    figure, panel = new_figure(1, 1, 7.5, 4.4)
    entries = [(name, r, colour(k), "-", 1.5) for k, (name, r) in enumerate(results.items())]
    entries += [(label(name), r, MUTED, DASHES[k % 2], 1.1) for k, (name, r) in enumerate(references.items())]
    for name, result, shade, dash, width in entries:
        precision, recall, _ = precision_recall_curve(marks, rankable(result.arrays["score"][part]))
        own = result.scores["test"]
        text = f"{plain(name)} ({own['average_precision']:.2f})"
        panel.plot(recall[:-1], precision[:-1], color=shade, ls=dash, lw=width, drawstyle="steps-post", label=text)
        if own["alarms"] and width > 1.2:
            panel.plot(own["recall"], own["precision"], "o", color=shade, ms=6)
    panel.axhline(marks.mean(), color=INK, lw=0.6, alpha=0.6)
    panel.set(xlabel="recall", ylabel="precision", xlim=(-0.02, 1.02), ylim=(-0.02, 1.04))
    figure.legend(*panel.get_legend_handles_labels(), loc="outside right upper", fontsize=8)
    caption = (
        "Precision over recall for every threshold, with the average precision in the legend; points: the alarms at the stated rate; "
        "thin line: a score without any relation to the marks."
    )
    return Figure("precision_recall", caption, figure)


def training(histories: dict[str, list[History]]) -> Figure:
    """Loss of the forecasters by epoch, every repeat."""
    figure, panel = new_figure(1, 1, 7.5, 3.2)
    learning_curves(panel, histories)
    panel.set(xlabel="epoch", ylabel="mean squared error, one step ahead")
    log_scale(panel, "y")
    legend_above(panel, 4)
    return Figure("training", "Training of the forecasters whose errors serve as scores (values scaled to sd 1).", figure)
