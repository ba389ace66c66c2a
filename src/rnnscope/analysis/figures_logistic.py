"""Figures of a logistic regression: its boundary over the features, calibration, and what jumps and what does not."""

from collections.abc import Iterator

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator
from scipy.special import expit

from rnnscope.core.interfaces import Findings
from rnnscope.core.labelled import LabelledData
from rnnscope.core.tables import Figure
from rnnscope.plotting import COLOURS, INK, MUTED, new_figure, plain, style

BINS = 15  # of the score across the boundary


def logistic_figures(findings: Findings) -> Iterator[Figure]:
    """Every figure of the findings."""
    data: LabelledData = findings.results["data"]
    with style():
        if findings.arrays["features"].shape[1] == 2:
            yield boundary(findings.arrays, data)
        yield calibration(findings.arrays, data)
        yield sharp_metric(findings.arrays, data)


def boundary(arrays: dict[str, np.ndarray], data: LabelledData) -> Figure:
    """Test samples coloured by predicted probability, with the fitted and the true boundary."""
    figure, panel = new_figure(1, 1, 7.0, 4.4)
    features, labels = arrays["features"], arrays["labels"].astype(bool)
    for chosen, marker, name in ((~labels, "o", data.class_names[0]), (labels, "^", data.class_names[1])):
        dots = panel.scatter(
            *features[chosen].T,
            c=arrays["probabilities"][chosen],
            vmin=0,
            vmax=1,
            cmap="coolwarm",
            marker=marker,
            s=26,
            edgecolors=MUTED,
            linewidths=0.4,
            label=f"{plain(name)} ({int(chosen.sum())})",
        )
    box = np.array([features.min(0), features.max(0)])
    own = arrays["coefficients"]
    corners = np.array([[x, y] for x in box[:, 0] for y in box[:, 1]])
    inside = np.ptp(np.sign(own[0] + corners @ own[1:])) > 0
    if inside:
        _line(panel, own[1:], -own[0], box, color=INK, lw=1.8, label="fitted: even odds")
    if len(arrays["boundary"]):
        _line(panel, arrays["boundary"][:-1], arrays["boundary"][-1], box, color=COLOURS[2], lw=1.8, ls="--", label="true")
    margin = 0.03 * (box[1] - box[0])
    panel.set(xlabel=plain(data.input_names[0]), ylabel=plain(data.input_names[1]))
    panel.set_xlim(box[0, 0] - margin[0], box[1, 0] + margin[0])
    panel.set_ylim(box[0, 1] - margin[1], box[1, 1] + margin[1])
    figure.colorbar(dots, ax=panel, label=f"predicted probability of '{plain(data.class_names[1])}'")
    figure.legend(*panel.get_legend_handles_labels(), loc="outside upper left", ncols=4)
    lines = [name for name, there in (("the fitted", inside), ("the true", len(arrays["boundary"]))) if there]
    caption = "Test samples by their features, coloured by predicted probability"
    caption += f", with {' and '.join(lines)} boundary." if lines else "."
    if not inside:
        caption += " The fitted boundary (even odds) lies outside: all samples get the same decision."
    return Figure("boundary", caption, figure)


def _line(panel: Axes, normal: np.ndarray, level: float, box: np.ndarray, **line: object) -> None:
    """The points of the plane at which normal·x = level, drawn beyond the box."""
    length = float(normal @ normal)
    if length == 0:
        return
    foot = box.mean(0) + normal * (level - float(normal @ box.mean(0))) / length
    along = np.array([-normal[1], normal[0]]) / np.sqrt(length) * np.linalg.norm(box[1] - box[0]) * 2
    panel.plot(*np.array([foot - along, foot + along]).T, **line)  # type: ignore[arg-type]


def calibration(arrays: dict[str, np.ndarray], data: LabelledData) -> Figure:
    """Share observed against mean predicted probability."""
    figure, panel = new_figure(1, 1, 4.6, 4.0)
    mean, share, low, high = arrays["calibration"].T
    panel.plot([0, 1], [0, 1], color=MUTED, ls="--", lw=1, label="as predicted")
    reach = np.maximum(0.0, [share - low, high - share])
    panel.errorbar(mean, share, reach, color=COLOURS[0], marker="o", ms=4, lw=0, elinewidth=1, label="test part")
    panel.set(xlabel="mean predicted probability", ylabel=f"share of '{plain(data.class_names[1])}'")
    panel.set_xlim(-0.03, 1.03)
    panel.set_ylim(-0.03, 1.03)
    figure.legend(*panel.get_legend_handles_labels(), loc="outside upper left", ncols=2)
    caption = "Calibration: bins of as many test samples each, with 95 % intervals of the share (Wilson)."
    return Figure("calibration", caption, figure)


def sharp_metric(arrays: dict[str, np.ndarray], data: LabelledData) -> Figure:
    """Probability and decision across the boundary; log-loss and accuracy during training."""
    with_history = "loss_by_epoch" in arrays and len(arrays["loss_by_epoch"]) > 1
    figure, axes = new_figure(1, 2 if with_history else 1, 10.5 if with_history else 5.5, 3.6)
    panels = np.atleast_1d(axes)
    _across(panels[0], arrays, data)
    if with_history:
        _during(panels[1], arrays)
    caption = (
        "What jumps and what does not. Left: across the boundary, the share of the second class and its probability, and the "
        "decision made of them"
        + ("; right: log-loss and accuracy on the validation part during training." if with_history else ".")
    )
    return Figure("sharp_metric", caption, figure, with_history)


def _across(panel: Axes, arrays: dict[str, np.ndarray], data: LabelledData) -> None:
    own = arrays["boundary"] if len(arrays["boundary"]) else np.array([*arrays["coefficients"][1:], -arrays["coefficients"][0]])
    score = arrays["features"] @ own[:-1]
    pieces = np.array_split(np.argsort(score), min(BINS, len(score)))
    middle = [score[p].mean() for p in pieces]
    panel.plot(middle, [arrays["labels"][p].mean() for p in pieces], "o", color=INK, ms=4, label="observed share")
    panel.plot(middle, [arrays["probabilities"][p].mean() for p in pieces], color=COLOURS[0], label="predicted probability")
    decided = arrays["probabilities"] > 0.5
    panel.plot(middle, [decided[p].mean() for p in pieces], color=COLOURS[1], ls="--", label="decided")
    if len(arrays["boundary"]) and arrays["width"][0] > 0:
        fine = np.linspace(score.min(), score.max(), 200)
        panel.plot(fine, expit((fine - own[-1]) / arrays["width"][0]), color=COLOURS[2], lw=1, label="true probability")
    name = " + ".join(data.input_names) if np.all(own[:-1] == 1) else "score across the boundary"
    panel.set(xlabel=plain(name), ylabel=f"'{plain(data.class_names[1])}'")
    panel.legend(loc="upper left", fontsize=8)


def _during(panel: Axes, arrays: dict[str, np.ndarray]) -> None:
    beside = panel.twinx()
    beside.grid(False)
    (loss,) = panel.plot(arrays["epochs"], arrays["loss_by_epoch"], color=COLOURS[0], label="log-loss")
    (accuracy,) = beside.plot(arrays["epochs"], arrays["accuracy_by_epoch"], color=COLOURS[1], label="accuracy")
    panel.set(xlabel="epoch", ylabel="log-loss (nats)")
    beside.set_ylabel("accuracy")
    beside.spines["right"].set_visible(True)
    if arrays["epochs"].max() > 50:
        panel.set_xscale("log")
    else:
        panel.xaxis.set_major_locator(MaxNLocator(integer=True))
    panel.legend(handles=[loss, accuracy], loc="lower left", bbox_to_anchor=(0.0, 1.0), ncols=2, fontsize=8)
