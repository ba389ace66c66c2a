"""Analysis: is the network a finite automaton? Its states on its own data clustered, merged by behaviour, and put to the test."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch

from rnnscope.analysis.figures_automaton import clusters_figure, graph_figure
from rnnscope.core.driven import in_double
from rnnscope.core.interfaces import AnalysisSpec, Findings, SequenceModel, Trained, TrainingData
from rnnscope.core.random import Streams
from rnnscope.core.spec import NonNegative, Positive
from rnnscope.core.system import DynamicalSystem, only_system, rollout
from rnnscope.core.tables import Column, Figure, Row, Table
from rnnscope.core.text import TextData
from rnnscope.core.vocabulary import shown
from rnnscope.dynamics.automaton import NEVER, Automaton, Extraction, extract_automaton
from rnnscope.dynamics.components import principal_components
from rnnscope.dynamics.symbol_sampling import sample_symbols

MOST_STATES_SHOWN = 40
CLEARLY = 10.0  # times further apart than the steps within a cluster


class AutomatonExtraction(AnalysisSpec):
    """Read a finite automaton off the states that the network takes along the training part of a text.

    Fields:
        num_steps: states looked at, after `burn_in` characters that are only read (of short texts at most a third).
        max_states: most clusters tried. free_run: characters on which the automaton is compared with the network's own free run.
    """

    num_steps: Positive = 2000
    burn_in: NonNegative = 200
    max_states: Positive = 64
    free_run: Positive = 10_000

    def obstacle(self, model: SequenceModel, data: TrainingData) -> str:
        if not isinstance(data, TextData):
            return "it reads automata off networks that read symbols, and this task has none"
        return "" if len(model.systems()) == 1 else "the model has no single recurrent part"

    def run(self, trained: Trained, data: TrainingData, streams: Streams) -> Findings:
        assert isinstance(data, TextData)
        system = in_double(only_system(trained.model)).eval().requires_grad_(False)
        symbols = data.context_of("validation", self.burn_in + self.num_steps)  # the end of the training part
        burn_in = min(self.burn_in, len(symbols) // 3)
        states, outputs = _driven(system, data, symbols)
        states, outputs, read = states[burn_in:], outputs[burn_in:], symbols[burn_in:].astype(np.int64)
        found = extract_automaton(states, read, outputs, len(data.vocabulary), self.max_states)
        components = principal_components(torch.from_numpy(states))
        plane = components.project(torch.from_numpy(states), min(2, states.shape[1])).numpy()
        arrays = {"labels": found.labels, "merges": found.merges, "plane": plane}
        shown_to = {"found": found, "plane": plane, "components": components, "data": data, "name": trained.name}
        if found.automaton is None:
            metrics = {"num_states": None, "states_seen": len(states), "most_tried": self.max_states}
            return Findings(_failure(found, len(states), self.max_states), metrics, arrays, (), shown_to)
        checks = self._checks(system, data, found, torch.from_numpy(states[-1:]))
        arrays |= {"transitions": found.automaton.transitions, "outputs": found.automaton.outputs}
        tables = (_table(found.automaton, data),)
        return Findings(_statements(found, checks, data), _metrics(found, checks), arrays, tables, shown_to)

    def _checks(self, system: DynamicalSystem, data: TextData, found: Extraction, state: torch.Tensor) -> dict[str, Any]:
        """The automaton against the network: in a free run from the last state, and along the text that follows."""
        automaton = found.automaton
        assert automaton is not None
        start = int(found.labels[-1])
        rng = torch.Generator().manual_seed(0)  # no draw decides anything at temperature 0
        written = sample_symbols(system, state, data.codes(), self.free_run, rng, temperature=0.0)[0][0].numpy()
        follows = np.concatenate([data.symbols_of("validation"), data.symbols_of("test")])[: self.free_run].astype(np.int64)
        answers = _driven(system, data, follows, state)[1]
        states = automaton.follow(start, follows)
        agreed = (states != NEVER) & (automaton.outputs[states] == answers)
        return {
            "free_run_agreed": int((automaton.free_run(start, self.free_run) == written).sum()),
            "free_run_characters": self.free_run,
            "held_out_agreed": int(agreed.sum()),
            "held_out_characters": len(follows),
            "held_out_missing": int((states == NEVER).sum()),
            "cycle": data.vocabulary.decode(automaton.cycle(start)),
        }

    def figures(self, findings: Findings) -> Iterator[Figure]:
        results = findings.results
        if results["found"].automaton is not None and results["found"].automaton.num_states <= MOST_STATES_SHOWN:
            yield graph_figure(results["found"].automaton, results["data"])
        yield clusters_figure(results["found"], results["plane"], results["components"], results["data"])


@torch.no_grad()
def _driven(
    system: DynamicalSystem, data: TextData, symbols: np.ndarray, state: torch.Tensor | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """States along given symbols, and the most probable next symbol at each."""
    codes = data.codes()[torch.from_numpy(symbols).long()].double()
    run = rollout(system, codes[None], state, fused=False)
    assert run.states is not None
    return run.states[0].numpy(), run.outputs[0].argmax(-1).numpy()


def _statements(found: Extraction, checks: dict[str, Any], data: TextData) -> tuple[str, ...]:
    automaton = found.automaton
    assert automaton is not None
    agreed, count = checks["free_run_agreed"], checks["free_run_characters"]
    held, of = checks["held_out_agreed"], checks["held_out_characters"]
    whole = agreed == count and held == of
    lead = "states suffice" if whole else "states do not quite suffice"
    said = [
        f"{automaton.num_states} {lead}: an automaton read off the network's states agrees with it on {agreed:,} of {count:,} characters of "
        f"a free run and on {held:,} of {of:,} of held-out text."
    ]
    if checks["held_out_missing"]:
        said.append(
            f"On {checks['held_out_missing']:,} of these it had no answer: characters came in an order that it had not seen."
        )
    cycle = checks["cycle"]
    if cycle and data.pattern:
        same = is_rotation(cycle, root(data.pattern))
        said.append(
            f"Run by itself it writes '{shown(cycle)}' over and over: "
            + (f"exact for '{shown(data.pattern)}', for ever." if same else f"that is not '{shown(data.pattern)}'.")
        )
    said.append(_separation(found, len(found.labels)))
    if not whole:
        said.append("Where they disagree the automaton is only a description of what was looked at, not of the network.")
    return tuple(said)


def _separation(found: Extraction, num_states: int) -> str:
    """How clearly the states fall into clusters."""
    merged = f" ({found.num_clusters} clusters before those that behave alike were merged)"
    merged = merged if found.automaton is not None and found.num_clusters != found.automaton.num_states else ""
    if not np.isfinite(found.between):
        return f"All {num_states:,} states seen form one cluster{merged}."
    ratio = found.between / max(found.within, 1e-300)
    apart = "clearly separate" if ratio >= CLEARLY else "not clearly separate"
    inside = "the states of one are equal" if ratio > 1e9 else f"steps within one are at most {found.within:.2g} long"
    return f"The {num_states:,} states seen form clusters that are {apart}: {inside}, two are at least {found.between:.2g} apart{merged}."


def _failure(found: Extraction, num_states: int, most: int) -> tuple[str, ...]:
    return (
        f"No automaton of at most {min(most, num_states)} clusters describes the network on {num_states:,} states of its own data: "
        "however they are clustered, some cluster has two outputs, or one character leads from it to two clusters. This "
        "says nothing about larger automata.",
    )


def root(pattern: str) -> str:
    """The shortest string whose repetition is the pattern.

    Example:
        >>> root("abab"), root("abac")
        ('ab', 'abac')
    """
    return next(pattern[:n] for n in range(1, len(pattern) + 1) if pattern[:n] * (len(pattern) // n) == pattern)


def is_rotation(one: str, other: str) -> bool:
    """Whether two strings are the same but for where they begin."""
    return len(one) == len(other) and one in other + other


def _metrics(found: Extraction, checks: dict[str, Any]) -> dict[str, Any]:
    assert found.automaton is not None
    return {
        "num_states": found.automaton.num_states,
        "num_clusters": found.num_clusters,
        "within": found.within,
        "between": found.between if np.isfinite(found.between) else None,
        **checks,
    }


def _table(automaton: Automaton, data: TextData) -> Table:
    """The transition table, as far as it was seen."""
    symbols = data.vocabulary.symbols
    rows = []
    for state in range(min(automaton.num_states, MOST_STATES_SHOWN)):
        moves = [f"{shown(symbols[s])} → {k + 1}" for s, k in enumerate(automaton.transitions[state].tolist()) if k != NEVER]
        emitted = shown(symbols[int(automaton.outputs[state])])
        rows.append(
            Row(str(state + 1), "", {"emits": emitted, "moves": ", ".join(moves), "visits": int(automaton.visits[state])})
        )
    columns = (Column("emits", "most probable next"), Column("moves", "reads → goes to"), Column("visits", "visits"))
    return Table("The automaton's states", columns, tuple(rows))
