"""Emulate a hidden Markov model: its sequences, in three independent parts."""

from typing import Any

import numpy as np

from rnnscope.core.errors import ConfigError
from rnnscope.core.interfaces import TaskSpec
from rnnscope.core.random import Streams
from rnnscope.core.spec import Fraction, Positive, Probability
from rnnscope.markov.emulation import EmulationData, InitialState, SymbolSet
from rnnscope.markov.families import EmissionMethod, TransitionMethod, emission_matrix, transition_matrix
from rnnscope.markov.hmm import HMM

Rows = tuple[tuple[float, ...], ...]


class HiddenMarkov(TaskSpec):
    """Sequences of a hidden Markov model, which a noise-driven network is to reproduce in distribution.

    Fields:
        num_states, num_symbols: M and K; 3 each, or what the matrices have.
        transition: stay, end_to_end, fully_connected or cyclic, see `rnnscope.markov.families`; stay_probability and
            end_to_end_probability belong to it. transition_matrix: M rows of one's own instead.
        emission: linear, gaussian, triangular or paired. emission_probs: M rows of K of one's own instead.
        initial_probs: of the first state; uniform when None.
        num_sequences, num_steps: how many, how long. validation, test: shares of the sequences; the rest is for training.
        noise_size: standard normal numbers that drive the network per step. initial_state: zero, or normal (each unit N(0, 1)).
    """

    num_states: Positive | None = None
    num_symbols: Positive | None = None
    transition: TransitionMethod = "stay"
    stay_probability: Probability = 0.95
    end_to_end_probability: Probability = 0.05
    emission: EmissionMethod = "gaussian"
    transition_matrix: Rows | None = None
    emission_probs: Rows | None = None
    initial_probs: tuple[float, ...] | None = None
    num_sequences: Positive = 30_000
    num_steps: Positive = 100
    validation: Fraction = 1 / 3
    test: Fraction = 1 / 3
    noise_size: Positive = 100
    initial_state: InitialState = "zero"

    def model_post_init(self, context: Any) -> None:
        if self.num_steps < 2:
            raise ConfigError("task.num_steps is 1", "at least 2", "sequences need a next step")
        self.hmm()
        self.sizes()

    def hmm(self) -> HMM:
        """The model that the fields describe."""
        states = _agree("num_states", self.num_states, "transition_matrix", self.transition_matrix)
        states = states or (len(self.emission_probs) if self.emission_probs is not None else 3)
        row = self.emission_probs[0] if self.emission_probs else None
        symbols = _agree("num_symbols", self.num_symbols, "emission_probs", row) or 3
        chain: Any = self.transition_matrix
        if chain is None:
            chain = transition_matrix(
                self.transition,
                states,
                stay_probability=self.stay_probability,
                end_to_end_probability=self.end_to_end_probability,
            )
        emitted: Any = self.emission_probs
        if emitted is None:
            emitted = emission_matrix(self.emission, states, symbols)
        for name, rows in (("transition_matrix", chain), ("emission_probs", emitted)):
            if len({len(r) for r in rows}) != 1:
                raise ConfigError(
                    f"task.{name} has rows of lengths {[len(r) for r in rows]}", "rows of one length", "correct it"
                )
        start = self.initial_probs if self.initial_probs is not None else np.full(len(chain), 1 / len(chain))
        return HMM(start, chain, emitted)

    def sizes(self) -> tuple[int, int, int]:
        """Sequences in the training, validation and test part."""
        validation, test = round(self.num_sequences * self.validation), round(self.num_sequences * self.test)
        train = self.num_sequences - validation - test
        if min(train, validation, test) < 2:
            raise ConfigError(
                f"{self.num_sequences} sequences give parts of {train}, {validation} and {test}",
                "at least 2 for training, validation and test",
                "raise task.num_sequences, or change task.validation and task.test",
            )
        return train, validation, test

    def prepare(self, streams: Streams) -> EmulationData:
        hmm = self.hmm()
        # one draw of all sequences, then parts: training does not change when only the test part does
        drawn = hmm.sample(self.num_sequences, self.num_steps, rng=streams.at("data").numpy())
        first, second = np.cumsum(self.sizes())[:2]
        symbols, states = drawn.observations.astype(np.int16), drawn.states.astype(np.int16)
        train, validation, test = (
            SymbolSet(symbols[a:b], states[a:b]) for a, b in ((0, first), (first, second), (second, None))
        )
        return EmulationData(hmm, train, validation, test, noise_size=self.noise_size, initial_state=self.initial_state)


def _agree(size_name: str, size: int | None, rows_name: str, rows: Any) -> int | None:
    """The size that a field and an array agree on; None where neither is given."""
    if rows is None:
        return size
    if size is not None and size != len(rows):
        raise ConfigError(
            f"task.{size_name} is {size}, but task.{rows_name} has {len(rows)}", "one number", f"leave {size_name} out"
        )
    return len(rows)
