"""Figures of an emulation report: sequences, training, and every statistic of network and HMM side by side."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from matplotlib.colors import BoundaryNorm, ListedColormap
from matplotlib.patches import Patch

from rnnscope.core.interfaces import History, ModelResult
from rnnscope.core.tables import Figure
from rnnscope.markov.emulation import EmulationData
from rnnscope.plotting import COLOURS, INK, MUTED, colour, log_scale, new_figure, style

NETWORK, ARGMAX, TRUTH = COLOURS[0], COLOURS[1], INK
SHOWN_SEQUENCES, SHOWN_STEPS = 24, 100


def emulation_figures(
    data: EmulationData, references: dict[str, ModelResult], best: ModelResult, histories: dict[str, list[History]]
) -> Iterator[Figure]:
    """Every figure; `best` is the chosen repeat of the chosen model."""
    with style():
        yield sequences(data, references, best)
        yield training(references, histories)
        yield statistics(data, references, best)
        yield transitions(data, best)
        yield memory(data, references, best)


def sequences(data: EmulationData, references: dict[str, ModelResult], best: ModelResult) -> Figure:
    """Rows of coloured steps: the HMM, the network's samples, its argmax."""
    length = best.arrays["sampled_symbols"].shape[1]
    truth = data.test.symbols[:SHOWN_SEQUENCES, : min(SHOWN_STEPS, length)]
    figure, axes = new_figure(1, 3, 10.5, 3.2)
    parts = (
        ("HMM", truth),
        ("network, sampled", best.arrays["sampled_symbols"]),
        ("network, argmax", best.arrays["argmax_symbols"]),
    )
    size = data.hmm.num_symbols
    shades = ListedColormap([colour(k) for k in range(size)])
    norm = BoundaryNorm(np.arange(size + 1) - 0.5, size)
    for panel, (title, symbols) in zip(axes, parts, strict=True):
        panel.imshow(symbols[:SHOWN_SEQUENCES, :SHOWN_STEPS], aspect="auto", cmap=shades, norm=norm, interpolation="nearest")
        panel.set(title=title, xlabel="step")
        panel.grid(visible=False)
        panel.set_yticks([])
    axes[0].set_ylabel("one sequence per row")
    handles = [Patch(color=colour(k), label=f"symbol {k}") for k in range(size)]
    figure.legend(handles=handles, loc="outside upper right", ncols=min(size, 8))
    return Figure(
        "sequences", "Sequences of the HMM and of the network, which never saw these. Symbols are colours.", figure, True
    )


def training(references: dict[str, ModelResult], histories: dict[str, list[History]]) -> Figure:
    """Loss curves of every repeat, with what each stage of training looked at."""
    figure, axes = new_figure(1, 2, 10.5, 3.2)
    for index, (name, repeats) in enumerate(histories.items()):
        for repeat, history in enumerate(repeats):
            columns = history.columns
            epochs = columns["epoch"]
            text = name if repeat == 0 else None
            ratio = columns.get("validation_ratio")
            if ratio is not None:
                axes[0].plot(epochs, ratio, color=colour(index), alpha=0.9 if repeat == 0 else 0.45, label=text)
            axes[1].plot(epochs, columns["switch_rate"], color=colour(index), alpha=0.9 if repeat == 0 else 0.45, label=text)
    floor, iid = (references[n].scores["sampled"] for n in ("hmm", "iid"))
    axes[0].axhline(1.0, color=TRUTH, lw=1, ls="--", label="HMM floor")
    axes[0].axhline(iid["divergence_ratio"], color=MUTED, lw=1, ls=":", label="independent symbols")
    axes[0].set(title="divergence / floor", xlabel="epoch")
    log_scale(axes[0], "y")
    axes[1].set(title="changes of the sampled symbol per step", xlabel="epoch")
    axes[1].axhline(floor["switch_rate"], color=TRUTH, lw=1, ls="--")
    axes[1].axhline(iid["switch_rate"], color=MUTED, lw=1, ls=":")
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside upper right", ncols=6)
    return Figure(
        "training",
        "Left: the Sinkhorn divergence of validation sequences over its floor (dashed; dotted: independent symbols with the "
        "right frequencies, where training without memory would stay). Right: how often the symbol changes.",
        figure,
        True,
    )


def statistics(data: EmulationData, references: dict[str, ModelResult], best: ModelResult) -> Figure:
    """Matched distances, volatility, frequencies."""
    floor = references["hmm"]
    figure, axes = new_figure(1, 3, 10.5, 3.2)
    for key, name, shade in (("sampled", "network, sampled", NETWORK), ("argmax", "network, argmax", ARGMAX)):
        _histogram(axes[0], best.arrays[f"{key}_distances"], shade, name)
        _counts(axes[1], best.arrays[f"{key}_volatilities"], shade, name)
    _histogram(axes[0], floor.arrays["sampled_distances"], TRUTH, "HMM, fresh draw")
    _counts(axes[1], floor.arrays["sampled_volatilities"], TRUTH, "HMM, fresh draw")
    axes[0].set(title="distance after one-to-one matching", xlabel="|x - y|", ylabel="density")
    axes[1].set(title="changes per sequence", xlabel="changes", ylabel="share of sequences")
    size = data.hmm.num_symbols
    exact = data.exact(best.arrays["sampled_symbols"].shape[1])
    for shift, (name, values, spread, shade) in enumerate(
        (
            ("HMM, exact", exact.frequencies, floor.arrays["sampled_shares"].std(0), TRUTH),
            ("sampled", best.arrays["sampled_shares"].mean(0), best.arrays["sampled_shares"].std(0), NETWORK),
            ("argmax", best.arrays["argmax_shares"].mean(0), best.arrays["argmax_shares"].std(0), ARGMAX),
        )
    ):
        at = np.arange(size) + 0.27 * (shift - 1)
        axes[2].bar(
            at, values, 0.25, color=shade, yerr=np.minimum(spread, values), error_kw={"lw": 0.8, "ecolor": MUTED}, label=name
        )
    axes[2].set(title="share of each symbol", xlabel="symbol")
    axes[2].set_xticks(range(size))
    axes[2].set_ylim(0, None)
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside upper right", ncols=3)
    return Figure(
        "statistics",
        "Network and HMM at equal number and length of sequences. In the middle, the whole distribution should agree, not only its "
        "mean. On the right, bars are sds over sequences.",
        figure,
        True,
    )


def _histogram(panel: Any, values: np.ndarray, shade: str, name: str) -> None:
    levels, counts = np.unique(np.round(values**2 / 2).astype(int), return_counts=True)
    panel.plot(np.sqrt(2 * levels), counts / counts.sum(), "o-", color=shade, ms=3, label=name)


def _counts(panel: Any, values: np.ndarray, shade: str, name: str) -> None:
    counts = np.bincount(values.astype(int))
    panel.step(np.arange(len(counts)), counts / counts.sum(), where="mid", color=shade, label=name)


def transitions(data: EmulationData, best: ModelResult) -> Figure:
    """Output transition matrices and their difference."""
    exact = data.exact(best.arrays["sampled_symbols"].shape[1]).output_transitions
    found = best.arrays["sampled_transitions"]
    peak = max(0.02, float(np.nanmax(np.abs(found - exact))))
    figure, axes = new_figure(1, 3, 10.5, 3.4)
    panels = (
        ("HMM, exact", exact, "Blues", 0.0, 1.0),
        ("network, sampled", found, "Blues", 0.0, 1.0),
        ("difference", found - exact, "RdBu_r", -peak, peak),
    )
    size = len(exact)
    for panel, (title, matrix, shades, low, high) in zip(axes, panels, strict=True):
        panel.imshow(matrix, cmap=shades, vmin=low, vmax=high)
        panel.set(title=title, xlabel="next symbol", ylabel="symbol")
        panel.set_xticks(range(size))
        panel.set_yticks(range(size))
        panel.grid(visible=False)
        for i in range(size if size <= 8 else 0):
            for j in range(size):
                value = matrix[i, j]
                if np.isnan(value):
                    panel.text(j, i, "–", ha="center", va="center", color=INK)
                    continue
                dark = abs(value - low) / (high - low) > 0.6 if low == 0 else abs(value) > 0.6 * peak
                text = f"{value:.3f}" if low == 0 else f"{value:+.3f}"
                panel.text(j, i, text, ha="center", va="center", color="white" if dark else "#222831", fontsize=8)
    return Figure(
        "transitions",
        "Probability of the next symbol given the present one. Rows of symbols that hardly occur are estimated from few steps.",
        figure,
        True,
    )


def memory(data: EmulationData, references: dict[str, ModelResult], best: ModelResult) -> Figure:
    """Run lengths, autocorrelation, words."""
    floor = references["hmm"]
    figure, axes = new_figure(1, 3, 10.5, 3.2)
    dwell = best.arrays["sampled_dwell"]
    lengths = np.arange(1, dwell.shape[1] + 1)
    for k in range(min(len(dwell), 6)):
        expected = np.where(floor.arrays["sampled_dwell"][k] > 0, floor.arrays["sampled_dwell"][k], np.nan)
        axes[0].plot(lengths, expected, "-", color=colour(k), lw=1, label=f"symbol {k}")
        axes[0].plot(lengths, np.where(dwell[k] > 0, dwell[k], np.nan), "o", color=colour(k), ms=3)
    if np.nanmax(floor.arrays["sampled_dwell"], initial=0.0) > 0:
        axes[0].set_yscale("log")
    axes[0].set(title="run lengths", xlabel="steps", ylabel="share of whole runs")
    axes[0].legend(loc="upper right", fontsize=8)
    lags = np.arange(1, len(floor.arrays["sampled_autocorrelation"]) + 1)
    axes[1].plot(lags, floor.arrays["sampled_autocorrelation"], color=TRUTH, label="HMM")
    axes[1].plot(lags, best.arrays["sampled_autocorrelation"], "o", ms=3, color=NETWORK, label="sampled")
    axes[1].plot(lags, best.arrays["argmax_autocorrelation"], "o", ms=3, color=ARGMAX, label="argmax")
    axes[1].axhline(0, color=MUTED, lw=0.8)
    axes[1].set(title="autocorrelation", xlabel="lag")
    axes[1].legend(loc="upper right", fontsize=8)
    words = [floor.arrays["sampled_words"], best.arrays["sampled_words"]]
    both = (words[0] > 0) & (words[1] > 0)
    axes[2].plot(words[0][both], words[1][both], ".", color=NETWORK, ms=4)
    low = min(words[0][both].min(), words[1][both].min())
    axes[2].plot([low, 1], [low, 1], color=TRUTH, lw=0.8, ls="--")
    axes[2].set_xscale("log")
    axes[2].set_yscale("log")
    length = round(np.log(len(words[0])) / np.log(data.hmm.num_symbols)) if data.hmm.num_symbols > 1 else 1
    axes[2].set(title=f"words of {length} symbols", xlabel="share, HMM", ylabel="share, network")
    return Figure(
        "memory",
        "Left: how long symbols last, HMM (lines) and network (dots); middle: how long they are remembered; right: every short word's share, on the diagonal where "
        "network and HMM agree (rare words scatter because they are rare).",
        figure,
        True,
    )
