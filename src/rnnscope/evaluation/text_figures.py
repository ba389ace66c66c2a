"""Figures of a report on text: predictions character by character, bits by order of n-grams, training, surprise."""

import itertools
import math
import textwrap
from collections.abc import Iterator

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap, to_rgba
from matplotlib.ticker import MaxNLocator

from rnnscope.core.interfaces import History, ModelResult
from rnnscope.core.tables import Figure
from rnnscope.core.text import TextData
from rnnscope.core.vocabulary import shown
from rnnscope.evaluation.learning_curves import learning_curves
from rnnscope.evaluation.text_scores import UNIFORM, best_ngram, label
from rnnscope.plotting import COLOURS, INK, MUTED, colour, log_scale, new_figure, plain, style

STEPS, PER_LINE, LINES = 60, 80, 5
WRITTEN, WRITTEN_LINES = 100, 14  # width and lines of a drawn sample
OFFSET = 0.18  # between a target and its prediction, so that neither hides the other


def text_figures(
    data: TextData,
    references: dict[str, ModelResult],
    results: dict[str, list[ModelResult]],
    histories: dict[str, list[History]],
    chosen: str,
    best: int,
) -> Iterator[Figure]:
    """Every figure; `chosen` and `best` name the model, and its repeat, whose answers are shown as an example."""
    result = results[chosen][best]
    with style():
        yield predictions(data, chosen, result, colour(list(results).index(chosen)))
        yield orders(references, results)
        yield training(references, histories)
        if not data.pattern:
            yield surprise(data, chosen, result)


def predictions(data: TextData, name: str, result: ModelResult, shade: str) -> Figure:
    """Targets and predictions over the first characters of the test part, and how surprised the network was."""
    wanted = data.symbols_of("test", STEPS)
    given = result.arrays["test_best"][: len(wanted)]
    present = np.unique(np.concatenate([wanted, given]))
    rank = {int(symbol): row for row, symbol in enumerate(present)}
    steps = np.arange(len(wanted))
    height = 1.9 + 0.17 * max(6, len(present))
    figure, (upper, lower) = new_figure(2, 1, 10.5, height)
    upper.get_gridspec().set_height_ratios([max(6, len(present)) * 0.17, 1.1])
    upper.plot(steps, [rank[s] + OFFSET for s in wanted.tolist()], "o", color=INK, mfc="none", ms=5.5, label="target")
    right = given == wanted
    rows = np.array([rank[s] - OFFSET for s in given.tolist()])
    upper.plot(steps[right], rows[right], "o", color=shade, ms=4.5, label="predicted")
    if not right.all():
        upper.plot(steps[~right], rows[~right], "X", color=COLOURS[4], ms=6, label="predicted, wrong")
    upper.set_yticks(range(len(present)), [plain(shown(data.vocabulary.symbols[s])) for s in present], fontsize=9)
    upper.set(ylabel="character", ylim=(-0.7, len(present) - 0.3), xlim=(-1, len(wanted)))
    upper.tick_params(labelbottom=False)
    lower.bar(steps, result.arrays["test_bits"][: len(wanted)], 0.8, color=shade)
    lower.set(ylabel="bits", xlim=(-1, len(wanted)))
    _character_ticks(lower, shown(data.vocabulary.decode(wanted)))
    lower.set_xlabel("target, character by character")
    figure.legend(*upper.get_legend_handles_labels(), loc="outside upper right", ncols=3)
    caption = (
        f"The first {len(wanted)} characters of the test part (rings) and what {name} finds most probable (dots, drawn a little "
        f"lower); {int(right.sum())} of {len(wanted)} are right. Below: -log2 of the probability that it gave to the right one."
    )
    return Figure("predictions", caption, figure, True)


def _character_ticks(axes: Axes, text: str) -> None:
    axes.set_xticks(range(len(text)), [plain(c) for c in text], fontsize=8)
    axes.tick_params(axis="x", length=0)
    axes.grid(axis="x", visible=False)


def orders(references: dict[str, ModelResult], results: dict[str, list[ModelResult]]) -> Figure:
    """Bits per character of n-grams by order, and of the networks."""
    grams = [n for n in references if n != UNIFORM]
    numbers = np.arange(1, len(grams) + 1)
    figure, panel = new_figure(1, 1, 8.0, 3.6)
    for part, line, marker in (("test", "-", "o"), ("validation", ":", ".")):
        bits = [references[n].scores[part]["bits"] for n in grams]
        panel.plot(numbers, bits, line, marker=marker, color=INK, lw=1.1, label=f"n-grams, {part} part")
    for index, (name, repeats) in enumerate(results.items()):
        for repeat, result in enumerate(repeats):
            text = name if repeat == 0 else None
            panel.axhline(result.scores["test"]["bits"], color=colour(index), label=plain(text) if text else None)
    uniform = references[UNIFORM].scores["test"]["bits"]
    panel.axhline(uniform, color=MUTED, ls="--", lw=1, label="all equally probable")
    panel.set(xlabel="order: characters of an n-gram", ylabel="bits per character", xticks=numbers)
    panel.set_ylim(0, None)
    figure.legend(*panel.get_legend_handles_labels(), loc="outside upper center", ncols=3, fontsize=8)
    caption = (
        "Bits per character on the test part: n-grams of rising order (interpolated Kneser-Ney, counted on the training part), and "
        "the networks, every repeat (lines)."
    )
    return Figure("orders", caption, figure)


def training(references: dict[str, ModelResult], histories: dict[str, list[History]]) -> Figure:
    """Loss by epoch in bits per character, beside the best n-gram."""
    figure, panel = new_figure(1, 1, 8.0, 3.4)
    learning_curves(panel, histories, scale=1 / math.log(2))
    low, high = panel.dataLim.intervaly
    rival = best_ngram(references)
    panel.axhline(references[rival].scores["validation"]["bits"], color=MUTED, ls="--", lw=1, label=label(rival))
    panel.set(xlabel="epoch", ylabel="bits per character")
    panel.xaxis.set_major_locator(MaxNLocator(integer=True))
    if high > 20 * low > 0:
        log_scale(panel, "y")
    figure.legend(*panel.get_legend_handles_labels(), loc="outside upper right", ncols=3, fontsize=8)
    caption = (
        "Training: cross-entropy by epoch in bits per character, every repeat (thin: as it went along the training part; thick: "
        f"validation part). Dashed: the {label(rival)}, on the validation part."
    )
    return Figure("training", caption, figure)


def surprise(data: TextData, name: str, result: ModelResult) -> Figure:
    """A stretch of the test part, each character on a ground that shows how surprising it was."""
    bits = result.arrays["test_bits"][: PER_LINE * LINES]
    wanted = data.symbols_of("test", len(bits))
    text = shown(data.vocabulary.decode(wanted))
    lines = -(-len(bits) // PER_LINE)
    grid = np.full(lines * PER_LINE, np.nan)
    grid[: len(bits)] = bits
    figure, panel = new_figure(1, 1, 10.5, 0.9 + 0.34 * lines)
    # from transparent to opaque, so that the text stands out on a light page and on a dark one
    tint = LinearSegmentedColormap.from_list("surprise", [to_rgba(COLOURS[1], 0.0), to_rgba(COLOURS[1], 0.9)])
    image = panel.imshow(grid.reshape(lines, PER_LINE), aspect="auto", cmap=tint, vmin=0, vmax=8)
    for place, character in enumerate(text):
        row, column = divmod(place, PER_LINE)
        panel.text(column, row, plain(character), ha="center", va="center", fontsize=8.5, family="monospace", color=INK)
    panel.set(xticks=[], yticks=[])
    panel.grid(visible=False)
    panel.spines[:].set_visible(False)
    figure.colorbar(image, ax=panel, pad=0.01, fraction=0.02, label="bits", extend="max")
    caption = f"The start of the test part on a ground that tells how many bits each character cost {name}."
    return Figure("surprise", caption, figure, True)


def samples(data: TextData, name: str, drawn: np.ndarray, temperatures: tuple[float, ...], prompt: int) -> Figure:
    """What a network wrote at every temperature, line by line."""
    written = []
    for temperature, symbols in zip(temperatures, drawn, strict=True):
        readable = "".join(c if c.isprintable() or c == "\n" else shown(c) for c in data.vocabulary.decode(symbols))
        lines = [part for line in readable.split("\n") for part in textwrap.wrap(line, WRITTEN) or [""]]
        kept = [line for before, line in itertools.pairwise(["", *lines]) if line or before]  # one empty line, not several
        written.append((f"temperature {temperature:g}", kept[:WRITTEN_LINES]))
    total = sum(len(lines) + 2 for _, lines in written)
    with style():
        figure, panel = new_figure(1, 1, 10.5, 0.3 + 0.17 * total)
        row = 0
        for title, lines in written:
            panel.text(0, -row, title, fontsize=9, weight="bold", va="top", color=INK)
            for number, line in enumerate(lines, 1):
                panel.text(0.02, -row - number, plain(line), fontsize=8.5, family="monospace", va="top", color=INK)
            row += len(lines) + 2
        panel.set(xlim=(0, 1), ylim=(-total, 0.5))
        panel.set_axis_off()
    caption = (
        f"What {name} writes after reading the {prompt} characters before the test part; empty lines in a row are drawn as one."
    )
    return Figure("samples", caption, figure, True)
