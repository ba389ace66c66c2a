"""How many states? EM for each number, chosen by held-out likelihood, with BIC beside it."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from rnnscope.core.errors import ConfigError, DataError
from rnnscope.markov.hmm import HMM, GaussianHMM, HiddenMarkovModel, Rng, generator
from rnnscope.markov.observations import Observations, symbols, vectors


@dataclass(frozen=True)
class Candidate:
    """One number of states.

    Attributes:
        num_states, num_parameters: sizes. log_likelihood: of the training sequences, nats per observed step.
        held_out: of the held-out sequences, nats per observed step. bic: k ln n - 2 ln L on the training sequences, lower is better.
        model: as fitted on the training sequences.
    """

    num_states: int
    num_parameters: int
    log_likelihood: float
    held_out: float
    bic: float
    model: HiddenMarkovModel


@dataclass(frozen=True)
class Selection:
    """All candidates, and the numbers of states that each criterion prefers."""

    candidates: tuple[Candidate, ...]
    by_held_out: int
    by_bic: int

    def model(self, num_states: int) -> HiddenMarkovModel:
        """The candidate with so many states."""
        return next(c.model for c in self.candidates if c.num_states == num_states)


def select_num_states(
    x: Any,
    num_states: Iterable[int],
    *,
    kind: Literal["categorical", "diag", "full"] = "categorical",
    lengths: Any = None,
    held_out: float = 0.25,
    rng: Rng = 0,
    num_restarts: int = 5,
) -> Selection:
    """Fit every number of states and score it on sequences that fitting did not see.

    Args:
        x: symbol sequences (`categorical`) or vector sequences (`diag`, `full`: the form of the covariances).
        held_out: share of the sequences set aside, drawn at random; a single sequence is cut in time, its end held out.
    """
    source = generator(rng)
    seen = symbols(x, lengths) if kind == "categorical" else vectors(x, lengths)
    num_symbols = int(seen.values.max()) + 1 if kind == "categorical" else 0
    train, test = split(seen, held_out, source)
    found = []
    counts = sorted(set(num_states))
    if not counts:
        raise ConfigError("no number of states", "at least one", "ask for range(1, 7), say")
    for count in counts:
        if count < 1:
            raise ConfigError(f"{count} states", "at least 1", "ask for 1..6, say")
        options: dict[str, Any] = {"lengths": train.lengths, "rng": source, "num_restarts": num_restarts}
        model: HiddenMarkovModel
        if kind == "categorical":
            model = HMM.fit(train.values, count, num_symbols=num_symbols, **options)
        else:
            model = GaussianHMM.fit(train.values, count, covariance=kind, **options)
        inside = float(np.sum(model.log_likelihood(train.values, lengths=train.lengths)))
        outside = float(np.sum(model.log_likelihood(test.values, lengths=test.lengths)))
        bic = model.num_parameters * np.log(train.num_observed) - 2 * inside
        found.append(
            Candidate(
                count,
                model.num_parameters,
                inside / train.num_observed,
                outside / max(1, test.num_observed),
                float(bic),
                model,
            )
        )
    by_held_out = max(found, key=lambda c: c.held_out).num_states
    return Selection(tuple(found), by_held_out, min(found, key=lambda c: c.bic).num_states)


def split(seen: Observations, held_out: float, rng: np.random.Generator) -> tuple[Observations, Observations]:
    """Training and held-out sequences; one sequence alone is cut in time."""
    if not 0 < held_out < 1:
        raise ConfigError(f"held_out is {held_out}", "a share between 0 and 1", "try 0.25")
    count = len(seen.values)
    if count == 1:
        length = int(seen.lengths[0])
        cut = round(length * (1 - held_out))
        if cut < 1 or cut >= length:
            raise DataError(f"one sequence of {length} steps", "enough to hold out a part", "give more data")
        first = Observations(seen.values[:, :cut], np.array([cut]), False)
        return first, Observations(seen.values[:, cut:length], np.array([length - cut]), False)
    order = rng.permutation(count)
    kept = min(count - 1, max(1, round(count * (1 - held_out))))
    return seen.take(np.sort(order[:kept])), seen.take(np.sort(order[kept:]))
