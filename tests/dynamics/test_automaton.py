"""Automata read off paths: known machines come back, what is none is refused."""

import numpy as np
import pytest

from rnnscope.core.errors import ShapeError
from rnnscope.dynamics.automaton import NEVER, Automaton, extract_automaton, merge_equivalent, transition_table


def path_of(pattern: str, repeats: int, noise: float = 0.0, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """States of a system that knows its place in a repeated pattern: a point per place, with noise."""
    rng = np.random.default_rng(seed)
    alphabet = sorted(set(pattern))
    places = np.tile(np.arange(len(pattern)), repeats)
    points = rng.standard_normal((len(pattern), 5))
    states = points[places] + noise * rng.standard_normal((len(places), 5))
    read = np.array([alphabet.index(pattern[p]) for p in places])
    output = np.array([alphabet.index(pattern[(p + 1) % len(pattern)]) for p in places])
    return states, read, output


@pytest.mark.parametrize(("pattern", "count"), [("abc", 3), ("abac", 4), ("hello world ", 12), ("aab", 3), ("abababab", 2)])
@pytest.mark.parametrize("noise", [0.0, 1e-3])
def test_a_repeated_pattern_has_as_many_states_as_its_root(pattern: str, count: int, noise: float) -> None:
    states, read, output = path_of(pattern, 40, noise)
    found = extract_automaton(states, read, output, len(set(pattern)))
    assert found.automaton is not None
    assert found.automaton.num_states == count
    alphabet = sorted(set(pattern))
    cycle = "".join(alphabet[s] for s in found.automaton.cycle(int(found.labels[-1])))
    assert cycle in pattern + pattern
    run = found.automaton.free_run(int(found.labels[-1]), 50)
    assert "".join(alphabet[s] for s in run) == (pattern * 50)[:50]
    assert found.automaton.visits.sum() == len(states)
    assert found.between > 100 * found.within


def test_the_even_process_has_two_states() -> None:
    rng = np.random.default_rng(1)
    symbols, state, states = [], 0, []
    for _ in range(600):  # 1s come in pairs: in the middle of a pair a 1 must follow
        symbol = 1 if state == 1 else int(rng.integers(0, 2))
        state = 1 - state if symbol else 0
        symbols.append(symbol)
        states.append(state)
    points = np.array([[0.0, 0.0], [1.0, 0.5]])[states] + 1e-4 * rng.standard_normal((600, 2))
    found = extract_automaton(points, np.array(symbols), np.array(states), 2)
    assert found.automaton is not None
    assert found.automaton.num_states == 2
    middle = int(found.labels[states.index(1)])
    assert found.automaton.transitions[middle].tolist() == [NEVER, int(found.labels[states.index(0)])]
    np.testing.assert_array_equal(found.automaton.follow(int(found.labels[0]), np.array(symbols[1:])), found.labels[1:])


def test_a_path_without_clusters_has_no_automaton() -> None:
    rng = np.random.default_rng(2)
    states, read = rng.standard_normal((400, 3)), rng.integers(0, 2, 400)
    found = extract_automaton(states, read, rng.integers(0, 2, 400), 2, max_states=20)
    assert found.automaton is None
    assert found.num_clusters == 0


def test_one_cluster_is_enough_where_nothing_changes() -> None:
    found = extract_automaton(np.zeros((20, 2)), np.zeros(20, int), np.ones(20, int), 2)
    assert found.automaton is not None
    assert found.automaton.num_states == 1
    assert found.between == np.inf


def test_a_cluster_with_two_outputs_or_two_successors_is_none() -> None:
    labels, read = np.array([0, 1, 0, 1]), np.array([0, 0, 1, 0])
    assert transition_table(labels, read, np.array([0, 1, 1, 1]), 2) is None
    assert transition_table(np.array([0, 1, 0, 0]), np.zeros(4, int), np.array([0, 1, 0, 0]), 1) is None
    assert transition_table(labels, read, np.array([0, 1, 0, 1]), 2) is not None


def test_merging_keeps_what_a_machine_says() -> None:
    rng = np.random.default_rng(3)
    small = rng.integers(0, 4, (4, 2))
    small_out = np.array([0, 1, 0, 1])
    copies = np.arange(12) % 4
    big = np.array([[4 * int(rng.integers(0, 3)) + small[copies[k], s] for s in (0, 1)] for k in range(12)])
    classes = merge_equivalent(big, small_out[copies])
    assert classes.max() + 1 <= 4
    for state in range(12):
        assert classes[state] == classes[copies[state]]
        np.testing.assert_array_equal(small_out[copies][classes == classes[state]], small_out[copies[state]])


def test_an_unseen_transition_is_not_taken_for_a_seen_one() -> None:
    assert merge_equivalent(np.array([[0, NEVER], [0, 1]]), np.array([0, 0])).max() == 1


def test_a_free_run_ends_where_a_transition_is_missing() -> None:
    machine = Automaton(np.array([[NEVER, 1], [NEVER, NEVER]]), np.array([1, 0]), np.array([1, 1]))
    assert machine.free_run(0, 4).tolist() == [1, 0, NEVER, NEVER]
    assert machine.cycle(0).tolist() == []
    assert machine.follow(0, np.array([1, 1, 0])).tolist() == [1, NEVER, NEVER]


def test_arrays_of_unequal_length_are_refused(unchecked: None) -> None:
    with pytest.raises(ShapeError, match="4 states, 3 symbols"):
        extract_automaton(np.zeros((4, 1)), np.zeros(3, int), np.zeros(4, int), 2)
