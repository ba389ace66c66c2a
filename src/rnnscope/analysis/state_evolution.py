"""Analysis: the states of a network character by character, as lines of a few units and as a heat map of all."""

from collections.abc import Iterator

import numpy as np
import torch

from rnnscope.core.driven import in_double
from rnnscope.core.interfaces import AnalysisSpec, Findings, SequenceModel, Trained, TrainingData
from rnnscope.core.random import Streams
from rnnscope.core.spec import Positive
from rnnscope.core.system import only_system, rollout
from rnnscope.core.tables import Figure
from rnnscope.core.text import TextData
from rnnscope.core.vocabulary import shown
from rnnscope.dynamics.symbol_sampling import read_symbols
from rnnscope.plotting import colour, new_figure, plain, style

WARM_UP = 200
MOST_UNITS = 60


class StateEvolution(AnalysisSpec):
    """Record the state at every character of the start of the test part, after reading the text before it.

    Fields:
        num_characters: recorded. num_units: drawn as lines, those that move most.
    """

    num_characters: Positive = 40
    num_units: Positive = 5

    def obstacle(self, model: SequenceModel, data: TrainingData) -> str:
        if not isinstance(data, TextData):
            return "it shows states beside characters, and this task has none (state_space shows them beside steps)"
        return "" if len(model.systems()) == 1 else "the model has no single recurrent part"

    def run(self, trained: Trained, data: TrainingData, streams: Streams) -> Findings:
        assert isinstance(data, TextData)
        system = in_double(only_system(trained.model)).eval().requires_grad_(False)
        codes = data.codes().double()
        before = torch.from_numpy(data.context_of("test", WARM_UP)).long()[None]
        symbols = data.symbols_of("test", self.num_characters)
        with torch.no_grad():
            start = read_symbols(system, before, codes)
            states = rollout(system, codes[torch.from_numpy(symbols).long()][None], start, fused=False).states
        assert states is not None
        path = states[0].numpy()
        spread = path.std(0)
        order = np.argsort(-spread, kind="stable")
        moving = int((spread > 0.01 * spread.max()).sum()) if spread.max() > 0 else 0
        text = shown(data.vocabulary.decode(symbols))
        statements = (
            f"Over {len(symbols)} characters {moving} of {len(spread)} state variables move by more than a hundredth of the one that moves "
            f"most, number {int(order[0]) + 1} (sd {spread[order[0]]:.2g}).",
        )
        metrics = {"num_moving": moving, "most_moving": (order[: self.num_units] + 1).tolist()}
        return Findings(statements, metrics, {"states": path, "symbols": symbols}, (), {"order": order, "text": text})

    def figures(self, findings: Findings) -> Iterator[Figure]:
        states, order, text = findings.arrays["states"], findings.results["order"], findings.results["text"]
        units = order[: self.num_units]
        shown_units = np.sort(order[:MOST_UNITS])
        steps = np.arange(len(states))
        with style():
            figure, (upper, lower) = new_figure(2, 1, 10.5, 4.2 + 0.04 * len(shown_units))
            for line, unit in enumerate(units):
                upper.plot(steps, states[:, unit], ".-", ms=4, lw=1.1, color=colour(line), label=str(int(unit) + 1))
            upper.set(ylabel="state", xlim=(-0.5, len(states) - 0.5))
            upper.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), fontsize=8, title="variable", title_fontsize=8)
            reach = float(np.abs(states).max()) or 1.0
            image = lower.imshow(
                states[:, shown_units].T, aspect="auto", cmap="RdBu_r", vmin=-reach, vmax=reach, interpolation="nearest"
            )
            ticks = range(0, len(shown_units), max(1, len(shown_units) // 8))
            lower.set_yticks(ticks, [str(int(shown_units[i]) + 1) for i in ticks])
            lower.set(ylabel="state variable", xlabel="character read")
            lower.grid(visible=False)
            figure.colorbar(image, ax=lower, pad=0.01, fraction=0.03)
            for panel in (upper, lower):
                panel.set_xticks(steps, [plain(c) for c in text], fontsize=8)
                panel.tick_params(axis="x", length=0)
                panel.grid(axis="x", visible=False)
        few = f"the {len(shown_units)} that move most" if len(shown_units) < states.shape[1] else "all of them"
        caption = (
            f"The state after each character of the test part: above, the {len(units)} variables that move most; below, {few}."
        )
        yield Figure("state_evolution", caption, figure, True)
