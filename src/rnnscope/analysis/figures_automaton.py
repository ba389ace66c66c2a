"""Figures of an automaton read off a network: its transition graph, and the clusters that it comes from."""

import math

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Circle, FancyArrowPatch

from rnnscope.analysis.figures_state_space import axis_labels
from rnnscope.core.tables import Figure
from rnnscope.core.text import TextData
from rnnscope.core.vocabulary import shown
from rnnscope.dynamics.automaton import NEVER, Automaton, Extraction
from rnnscope.dynamics.components import PrincipalComponents
from rnnscope.plotting import COLOURS, INK, MUTED, log_scale, new_figure, plain, style

MOST_MERGES = 60


def graph_figure(automaton: Automaton, data: TextData) -> Figure:
    """States as circles on a ring, in the order of the commonest walk; arrows for what is read."""
    order = ring_order(automaton)
    count = automaton.num_states
    places = {state: (math.sin(2 * math.pi * i / count), math.cos(2 * math.pi * i / count)) for i, state in enumerate(order)}
    radius = min(0.2, 0.8 * math.pi / max(count, 3) * 0.55)
    with style():
        figure, panel = new_figure(1, 1, 6.2, 6.2)
        for state, (x, y) in places.items():
            panel.add_patch(Circle((x, y), radius, facecolor=COLOURS[0], alpha=0.22, edgecolor="none"))
            panel.add_patch(Circle((x, y), radius, facecolor="none", edgecolor=COLOURS[0], lw=1.4))
            emitted = shown(data.vocabulary.symbols[int(automaton.outputs[state])])
            panel.text(x, y, plain(emitted), ha="center", va="center", fontsize=max(8, 70 * radius), color=INK)
            panel.text(
                x * (1 + 1.55 * radius),
                y * (1 + 1.55 * radius),
                str(state + 1),
                ha="center",
                va="center",
                fontsize=7,
                color=MUTED,
            )
        for state, symbols in enumerate(automaton.transitions.tolist()):
            by_goal: dict[int, list[int]] = {}
            for symbol, goal in enumerate(symbols):
                if goal != NEVER:
                    by_goal.setdefault(goal, []).append(symbol)
            for goal, read in by_goal.items():
                text = " ".join(shown(data.vocabulary.symbols[s]) for s in read[:6]) + (" …" if len(read) > 6 else "")
                _arrow(panel, places[state], places[goal], plain(text), radius)
        panel.set(xlim=(-1.45, 1.45), ylim=(-1.45, 1.45), aspect="equal", xticks=[], yticks=[])
        panel.spines[:].set_visible(False)
        panel.grid(visible=False)
    caption = (
        "The automaton: in each circle the character that the network then finds most probable as the next, at the arrows the "
        "character that is read; small numbers name the states. Only transitions that were seen are drawn."
    )
    return Figure("automaton", caption, figure)


def ring_order(automaton: Automaton) -> list[int]:
    """States along the walk that always takes the commonest unvisited successor, so that a cycle becomes a ring."""
    order = [int(automaton.visits.argmax())]
    left = set(range(automaton.num_states)) - set(order)
    while left:
        successors = [int(k) for k in automaton.transitions[order[-1]] if int(k) in left]
        order.append(max(successors or left, key=lambda k: int(automaton.visits[k])))
        left.remove(order[-1])
    return order


def _arrow(panel: Axes, start: tuple[float, float], end: tuple[float, float], text: str, radius: float) -> None:
    """A bent arrow with its label; a loop outside the ring where it leads back to where it starts."""
    if start == end:
        x, y = start
        length = math.hypot(x, y) or 1.0
        out = (x / length, y / length) if (x, y) != (0.0, 0.0) else (0.0, 1.0)
        across = (-out[1], out[0])
        foot = [
            (x + radius * (0.75 * out[0] + s * 0.66 * across[0]), y + radius * (0.75 * out[1] + s * 0.66 * across[1]))
            for s in (1, -1)
        ]
        panel.add_patch(
            FancyArrowPatch(
                foot[0], foot[1], connectionstyle="arc3,rad=-1.6", arrowstyle="-|>", mutation_scale=10, color=INK, lw=0.9
            )
        )
        label = (x + out[0] * radius * 2.9, y + out[1] * radius * 2.9)
    else:
        dx, dy = end[0] - start[0], end[1] - start[1]
        length = math.hypot(dx, dy)
        unit = (dx / length, dy / length)
        tail = (start[0] + radius * 1.08 * unit[0], start[1] + radius * 1.08 * unit[1])
        head = (end[0] - radius * 1.08 * unit[0], end[1] - radius * 1.08 * unit[1])
        bend = 0.16
        panel.add_patch(
            FancyArrowPatch(
                tail, head, connectionstyle=f"arc3,rad={-bend}", arrowstyle="-|>", mutation_scale=11, color=INK, lw=0.9
            )
        )
        lift = 0.5 * bend * math.hypot(head[0] - tail[0], head[1] - tail[1]) + 0.09
        label = ((tail[0] + head[0]) / 2 - unit[1] * lift, (tail[1] + head[1]) / 2 + unit[0] * lift)
    panel.text(*label, text, ha="center", va="center", fontsize=9, color=COLOURS[1])


def clusters_figure(found: Extraction, plane: np.ndarray, components: PrincipalComponents, data: TextData) -> Figure:
    """Where the states lie, by the automaton's state, and at which distances their clusters merge."""
    with style():
        figure, (left, right) = new_figure(1, 2, 9.6, 4.0)
        across = np.column_stack([plane, np.zeros(len(plane))])[:, :2]
        if found.automaton is None:
            left.plot(*across.T, ".", color=MUTED, ms=4)
        else:
            for state in range(found.automaton.num_states):
                own = across[found.labels == state]
                left.plot(*own.T, ".", color=COLOURS[state % len(COLOURS)], ms=5)
                emitted = plain(shown(data.vocabulary.symbols[int(found.automaton.outputs[state])]))
                left.annotate(emitted, own.mean(0), xytext=(6, 5), textcoords="offset points", fontsize=10, color=INK)
        if plane.shape[1] >= 2:
            axis_labels(left, components)
        left.set_title("states, and what comes next" if found.automaton else "states")
        heights = np.sort(found.merges)[::-1][: max(12, 3 * found.num_clusters) if found.num_clusters else MOST_MERGES]
        floor = 1e-16 * max(float(heights.max(initial=0.0)), 1e-300)
        numbers = np.arange(2, len(heights) + 2)  # the k-th largest distance is that at which k + 1 clusters become k
        right.plot(numbers, heights.clip(floor), "o-", ms=3, color=COLOURS[0], lw=0.9)
        if found.num_clusters:
            right.axvline(
                found.num_clusters + 0.5, color=COLOURS[1], ls="--", lw=1, label=f"cut: {found.num_clusters} clusters"
            )
            right.legend(loc="upper right")
        log_scale(right, "y")
        right.set(xlabel="clusters", ylabel="distance at which two merge", title="how clearly states fall apart")
    coloured = ", by the automaton's state, with the character that each finds most probable next" if found.automaton else ""
    caption = (
        f"Left: the states along the text in their leading plane{coloured}. Right: the smallest distance between clusters, for every "
        "number of clusters; a steep fall is a clear number"
        + (" (the floor, 1e-16 of the largest, stands for equal states)." if (heights < floor).any() else ".")
    )
    return Figure("clusters", caption, figure, True)
