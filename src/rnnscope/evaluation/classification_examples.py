"""Sequences of the test part as the network met them, with what it answered."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from rnnscope.core.interfaces import ModelResult
from rnnscope.core.labelled import LabelledData, LabelledSet
from rnnscope.core.tables import Figure
from rnnscope.plotting import COLOURS, MUTED, colour, new_figure, plain

MOST_LINES, MOST_BARS, SHOWN_STEPS, SHOWN_FRAMES = 5, 8, 400, 12
COLUMNS = 3


def examples(data: LabelledData, name: str, result: ModelResult, count: int) -> Figure:
    """Half of them wrong, if there are so many, the most certain mistakes first; the others right, one of each class in turn."""
    part = data.tests["test"]
    chosen = choose_examples(part.labels.numpy(force=True), result.arrays["test_probabilities"], count)
    columns = min(COLUMNS, len(chosen)) if not data.frame else 1
    rows = -(-len(chosen) // columns)
    figure, axes = new_figure(rows, columns, 10.5, 0.5 + (1.5 if not data.frame else 1.6) * rows)
    panels = np.atleast_1d(axes).ravel()
    for place, (panel, number) in enumerate(zip(panels, chosen, strict=False)):
        inputs = part.inputs[number].numpy(force=True)
        steps = part.num_steps if part.lengths is None else int(part.lengths[number])
        _draw(panel, inputs[:steps], data)
        if steps == 1 and place % columns:
            panel.tick_params(labelleft=inputs.shape[1] > MOST_BARS)  # the names stand in the first column
        _head(panel, part, number, result.arrays["test_probabilities"][number], data)
    for panel in panels[len(chosen) :]:
        panel.set_visible(False)
    caption = (
        f"Sequences of the test part and what {name} answers, with its probability: first mistakes (red), the most certain "
        "ones first, if there are any, then right answers, a class after the other."
    )
    return Figure("examples", caption, figure, True)


def choose_examples(labels: np.ndarray, probabilities: np.ndarray, count: int) -> list[int]:
    """Numbers of sequences: at most half of them mistakes, then right ones with the classes in turn."""
    decided = probabilities.argmax(1)
    wrong = np.flatnonzero(decided != labels)
    wrong = wrong[np.argsort(-probabilities[wrong, decided[wrong]], kind="stable")][: count // 2]
    right = np.flatnonzero(decided == labels)
    turn = np.zeros(len(right), int)
    for number in np.unique(labels[right]):
        rows = labels[right] == number
        turn[rows] = np.arange(rows.sum())
    right = right[np.lexsort((labels[right], turn))][: count - len(wrong)]
    return [*map(int, wrong), *map(int, right)]


def _head(panel: Axes, part: LabelledSet, number: int, probabilities: np.ndarray, data: LabelledData) -> None:
    truth, decided = int(part.labels[number]), int(probabilities.argmax())
    says = f"{data.class_names[decided]} ({probabilities[decided]:.2f})"
    if truth == decided:
        panel.set_title(plain(says), fontsize=8)
    else:
        panel.set_title(plain(f"{says}, truly {data.class_names[truth]}"), fontsize=8, color=COLOURS[4])
    if part.kinds is not None and data.kind_names:
        panel.set_xlabel(plain(data.kind_names[int(part.kinds[number])]), fontsize=8)
    panel.tick_params(labelsize=7)


def _draw(panel: Axes, inputs: np.ndarray, data: LabelledData) -> None:
    """Frames side by side, bars of a single step, a few lines, or a heat map of many features."""
    steps, width = inputs.shape
    if data.frame:
        _frames(panel, inputs, data.frame)
        return
    if steps == 1 and width <= MOST_BARS:
        panel.barh(range(width), inputs[0], 0.6, color=[colour(k) for k in range(width)])
        panel.set_yticks(range(width), [plain(n) for n in data.input_names])
        panel.invert_yaxis()
        return
    inputs = inputs[:SHOWN_STEPS]
    panel.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    if width == 1 and len(levels := np.unique(inputs)) <= 3:
        panel.step(np.arange(1, len(inputs) + 1), inputs[:, 0], where="mid", color=colour(0), lw=1)
        panel.set_yticks(levels)
    elif width <= MOST_LINES:
        for k in range(width):
            panel.plot(np.arange(1, len(inputs) + 1), inputs[:, k], color=colour(k), lw=0.9)
    else:
        reach = float(np.abs(inputs).max()) or 1.0
        panel.imshow(inputs.T, aspect="auto", cmap="RdBu_r", vmin=-reach, vmax=reach, interpolation="nearest")
        if width <= MOST_BARS:
            panel.set_yticks(range(width), [plain(n) for n in data.input_names])
        panel.grid(visible=False)


def _frames(panel: Axes, inputs: np.ndarray, frame: tuple[int, ...]) -> None:
    channels, height, width = frame
    shown = np.unique(np.linspace(0, len(inputs) - 1, min(len(inputs), SHOWN_FRAMES)).astype(int))
    images = inputs[shown].reshape(len(shown), channels, height, width)
    low, high = float(images.min()), float(images.max())
    images = (images - low) / ((high - low) or 1.0)
    gap = np.full((channels, height, 1), np.nan)
    strip = np.concatenate([piece for image in images for piece in (image, gap)][:-1], 2)
    if channels == 3:
        panel.imshow(np.nan_to_num(strip, nan=1.0).transpose(1, 2, 0), interpolation="nearest")
    else:
        panel.imshow(strip.mean(0), cmap="gray", vmin=0, vmax=1, interpolation="nearest")
    panel.grid(visible=False)
    panel.set(xticks=[], yticks=[])
    for side in panel.spines.values():
        side.set_color(MUTED)
