"""Which state is which: a renumbered model is brought back exactly."""

import itertools

import numpy as np
import pytest

import rnnscope as rs
from known_hmms import FAMILIES, random_hmm, sticky


def brought_back(original: rs.HMM, order: tuple[int, ...]) -> None:
    shuffled = original.permuted(order)
    found = rs.align(original, shuffled)
    # state i of the original is where the shuffle put it
    assert [order[i] for i in found.order] == list(range(original.num_states))
    assert found.transition_error < 1e-12
    assert found.emission_error < 1e-12
    assert found.mean_transition_error < 1e-12
    assert found.mean_emission_error < 1e-12
    np.testing.assert_allclose(found.model.transition_matrix, original.transition_matrix, atol=1e-15)
    np.testing.assert_allclose(found.model.initial_probs, original.initial_probs, atol=1e-15)


@pytest.mark.parametrize("name", ["chain-2", "chain-3", "chain-4", "fully-3", "cyclic-4"])
def test_every_renumbering_of_a_family_is_brought_back_exactly(name: str) -> None:
    model = FAMILIES[name].hmm()
    for order in itertools.permutations(range(model.num_states)):
        brought_back(model, order)


@pytest.mark.parametrize("seed", range(5))
def test_renumbered_random_models_are_brought_back_exactly(seed: int) -> None:
    brought_back(random_hmm(seed, 6, 4), tuple(np.random.default_rng(seed).permutation(6).tolist()))


def test_errors_are_the_largest_and_the_mean_difference_after_matching() -> None:
    original = sticky(2, stay=0.9, clear=0.95)
    other = sticky(2, stay=0.8, clear=0.9).permuted([1, 0])
    found = rs.align(original, other)
    assert found.order == (1, 0)
    assert found.transition_error == pytest.approx(0.1)
    assert found.mean_transition_error == pytest.approx(0.1)
    assert found.emission_error == pytest.approx(0.05)


def test_states_that_emit_alike_are_told_apart_by_their_transitions() -> None:
    brought_back(rs.HMM(None, np.array([[0.9, 0.1], [0.4, 0.6]]), np.full((2, 2), 0.5)), (1, 0))


@pytest.mark.parametrize("fitted", [sticky(3), random_hmm(0, 2, 3)], ids=["states", "symbols"])
def test_models_of_other_sizes_are_refused(fitted: rs.HMM) -> None:
    with pytest.raises(rs.DataError, match=f"{fitted.num_states} states and {fitted.num_symbols} symbols") as caught:
        rs.align(sticky(2), fitted)
    assert "2 states and 2 symbols" in caught.value.expected


def test_one_state_is_itself() -> None:
    brought_back(rs.HMM(None, np.ones((1, 1)), np.array([[0.3, 0.7]])), (0,))
