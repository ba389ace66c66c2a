"""Which state of one model is which state of another, and how far the two then are."""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from scipy.optimize import linear_sum_assignment

from rnnscope.core.errors import DataError
from rnnscope.markov.hmm import HMM

MOST_PERMUTED = 6


@dataclass(frozen=True)
class Alignment:
    """A fitted HMM beside the original.

    Attributes:
        order: state order[i] of the fitted model is state i of the original. model: the fitted model renumbered so.
        transition_error, emission_error: largest absolute difference of an entry. mean_transition_error,
            mean_emission_error: mean absolute difference.
    """

    order: tuple[int, ...]
    model: HMM
    transition_error: float
    emission_error: float
    mean_transition_error: float
    mean_emission_error: float


def align(original: HMM, fitted: HMM) -> Alignment:
    """Match states so that transition and emission entries differ least in sum.

    Up to 6 states every permutation is tried. Beyond, an assignment on emission rows is refined: transition rows, in the columns as
    matched, join the comparison until it repeats.

    Raises:
        DataError: the models differ in states or symbols.
    """
    if (original.num_states, original.num_symbols) != (fitted.num_states, fitted.num_symbols):
        raise DataError(
            f"a model of {fitted.num_states} states and {fitted.num_symbols} symbols",
            f"{original.num_states} states and {original.num_symbols} symbols, as the original",
            "fit as many states as the original has to compare state by state",
        )
    best = min(_orders(original, fitted), key=lambda order: _difference(original, fitted, order))
    model = fitted.permuted(best)
    transition = np.abs(model.transition_matrix - original.transition_matrix)
    emitted = np.abs(model.emission_probs - original.emission_probs)
    return Alignment(
        tuple(int(i) for i in best),
        model,
        float(transition.max()),
        float(emitted.max()),
        float(transition.mean()),
        float(emitted.mean()),
    )


def _orders(original: HMM, fitted: HMM) -> Iterator[np.ndarray]:
    """Permutations worth trying."""
    if original.num_states <= MOST_PERMUTED:
        yield from (np.array(p) for p in itertools.permutations(range(original.num_states)))
        return
    emission = np.abs(original.emission_probs[:, None] - fitted.emission_probs[None]).sum(2)
    order = linear_sum_assignment(emission)[1]
    for _ in range(10):
        yield order
        columns = fitted.transition_matrix[:, order]
        cost = emission + np.abs(original.transition_matrix[:, None] - columns[None]).sum(2)
        following = linear_sum_assignment(cost)[1]
        if (following == order).all():
            break
        order = following


def _difference(original: HMM, fitted: HMM, order: np.ndarray) -> float:
    moved = fitted.transition_matrix[np.ix_(order, order)]
    apart = np.abs(moved - original.transition_matrix).sum()
    return float(apart + np.abs(fitted.emission_probs[order] - original.emission_probs).sum())
