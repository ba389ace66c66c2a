"""Learning curves in a report: what the training history of every repeat says, epoch by epoch."""

from typing import Any

import numpy as np
from matplotlib.axes import Axes

from rnnscope.core.interfaces import History
from rnnscope.plotting import colour, plain

PARTS: dict[str, tuple[str, dict[str, float]]] = {
    "train": ("training", {"lw": 0.8, "alpha": 0.6}),
    "validation": ("validation", {"lw": 1.4}),
}


def learning_curves(
    panel: Axes,
    histories: dict[str, list[History]],
    quantity: str = "loss",
    *,
    scale: float = 1.0,
    first: int = 0,
    named: bool = True,
) -> None:
    """A quantity by epoch, every repeat of every model: the training part thin, the validation part thick.

    Beside models trained in epochs, one solved at once has no course, and its candidates have losses of their own: its loss is a
    line across.

    Args:
        histories: by model. quantity: of the columns train_QUANTITY and validation_QUANTITY; one that is not there is left out.
        scale: factor to the unit of the axis. first: number of the first model, for its colour.
        named: whether the legend names the models.
    """
    units = {history.outcome.unit for repeats in histories.values() for history in repeats}
    for index, (name, repeats) in enumerate(histories.items(), first):
        for repeat, history in enumerate(repeats):
            if len(units) > 1 and history.outcome.unit != "epoch":
                if quantity == "loss" and np.isfinite(history.outcome.score):
                    text = plain(f"{name}, solved at once") if repeat == 0 else None
                    panel.axhline(scale * history.outcome.score, color=colour(index), ls="-.", lw=1.2, label=text)
                continue
            for part, (word, look) in PARTS.items():
                text = plain(f"{name}, {word}" if named else word) if repeat == 0 else None
                curve(panel, history, f"{part}_{quantity}", scale=scale, color=colour(index), label=text, **look)


def curve(panel: Axes, history: History, column: str, *, scale: float = 1.0, **line: Any) -> None:
    """One column of a history where it is known, if it is there; a single value as a dot, since a line needs two."""
    if column in history.columns:
        values = scale * history.columns[column]
        known = np.isfinite(values)
        marker = "o" if known.sum() == 1 else ""
        panel.plot(history.columns["epoch"][known], values[known], marker=marker, **line)
