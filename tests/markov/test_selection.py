"""How many states: two where there are two, one where there is no memory, and honest bookkeeping."""

import numpy as np
import pytest

import rnnscope as rs
from known_hmms import sticky
from rnnscope.markov.observations import symbols, vectors
from rnnscope.markov.selection import split

QUICK = {"rng": 0, "num_restarts": 2}


@pytest.fixture(scope="module")
def clear() -> np.ndarray:
    return sticky(2, stay=0.9, clear=0.9).sample(40, 50, rng=0).observations


def test_two_clear_states_are_found(clear: np.ndarray) -> None:
    found = rs.select_num_states(clear, (1, 2, 3), **QUICK)
    assert found.by_bic == 2
    assert found.by_held_out >= 2
    assert [c.num_states for c in found.candidates] == [1, 2, 3]
    one, two, _ = found.candidates
    assert two.held_out > one.held_out + 0.05
    assert found.model(2) is two.model
    assert rs.align(sticky(2, stay=0.9, clear=0.9), two.model).emission_error < 0.06


def test_independent_symbols_need_one_state() -> None:
    loose = np.random.default_rng(1).choice(3, (40, 30), p=[0.5, 0.2, 0.3])
    found = rs.select_num_states(loose, (1, 2), **QUICK)
    assert found.by_bic == 1
    assert found.candidates[0].held_out == pytest.approx(found.candidates[1].held_out, abs=0.02)


def test_the_numbers_beside_a_candidate_are_its_own(clear: np.ndarray) -> None:
    (one,) = rs.select_num_states(clear, [2], held_out=0.25, **QUICK).candidates
    train, test = split(symbols(clear), 0.25, np.random.default_rng(0))
    assert (len(train.values), len(test.values)) == (30, 10)
    inside, outside = (one.model.log_likelihood(part.values).sum() for part in (train, test))
    assert one.log_likelihood == pytest.approx(inside / 1500)
    assert one.held_out == pytest.approx(outside / 500)
    assert one.num_parameters == 1 + 2 + 2
    assert one.bic == pytest.approx(5 * np.log(1500) - 2 * inside)


def test_no_held_out_sequence_is_seen_in_fitting(clear: np.ndarray) -> None:
    train, test = split(symbols(clear), 0.25, np.random.default_rng(3))
    rows = {tuple(r) for r in train.values} | {tuple(r) for r in test.values}
    assert rows == {tuple(r) for r in clear.astype(int)}
    spoiled = clear.copy()
    held = [i for i, r in enumerate(clear) if tuple(r) in {tuple(t) for t in test.values}]
    spoiled[held] = 1 - spoiled[held]
    fits = [rs.select_num_states(x, [2], rng=3, num_restarts=1).candidates[0] for x in (clear, spoiled)]
    np.testing.assert_array_equal(fits[0].model.transition_matrix, fits[1].model.transition_matrix)
    assert fits[0].held_out != fits[1].held_out


def test_a_single_sequence_is_cut_in_time() -> None:
    one = sticky().sample(1, 400, rng=0).observations[0]
    first, last = split(symbols(one), 0.25, np.random.default_rng(0))
    np.testing.assert_array_equal(first.values[0], one[:300])
    np.testing.assert_array_equal(last.values[0], one[300:])
    assert (first.lengths[0], last.lengths[0]) == (300, 100)
    assert rs.select_num_states(one, (1, 2), **QUICK).by_bic == 2


def test_a_padded_single_sequence_is_cut_inside_its_length() -> None:
    first, last = split(symbols([[0, 1, 0, 1, 5, 5]], lengths=[4]), 0.5, np.random.default_rng(0))
    assert (first.values.tolist(), last.values.tolist()) == ([[0, 1]], [[0, 1]])


def test_sequences_of_unequal_length_keep_theirs() -> None:
    ragged = [np.zeros(n, int) for n in (3, 9, 5, 7)]
    parts = split(symbols(ragged), 0.5, np.random.default_rng(0))
    assert sorted(int(n) for part in parts for n in part.lengths) == [3, 5, 7, 9]
    assert all(part.values.shape[1] == part.lengths.max() for part in parts)


def test_vectors_are_selected_too() -> None:
    rng = np.random.default_rng(0)
    states = sticky().sample(20, 40, rng=0).states
    x = rng.normal(states * 4.0, 1.0)[..., None]
    found = rs.select_num_states(x, (1, 2), kind="diag", **QUICK)
    assert found.by_bic == found.by_held_out == 2
    assert isinstance(found.model(2), rs.GaussianHMM)
    assert vectors(x).num_observed == 800


@pytest.mark.parametrize(
    ("x", "options", "named"),
    [
        ([[0, 1], [1, 0]], {"held_out": 0.0}, "held_out is 0"),
        ([[0, 1], [1, 0]], {"held_out": 1.0}, "held_out is 1"),
        ([0], {}, "one sequence of 1 steps"),
        ([[0, 1] * 20] * 2, {"num_states": [0]}, "0 states"),
        ([[0, 1], [1, 0]], {"num_states": [3]}, "observed steps for the"),
    ],
)
def test_what_cannot_be_selected_from_is_refused(x: object, options: dict, named: str) -> None:
    with pytest.raises(rs.RnnscopeError, match=named):
        rs.select_num_states(x, options.pop("num_states", [1, 2]), **options)


def test_no_numbers_of_states_are_refused(clear: np.ndarray) -> None:
    with pytest.raises(rs.ConfigError):
        rs.select_num_states(clear, [])
