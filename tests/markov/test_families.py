"""Named transition and emission matrices, and the checks that every matrix passes."""

import numpy as np
import pytest

import rnnscope as rs
from known_hmms import FAMILIES, RING
from rnnscope.markov.families import check_probabilities, emission_matrix, longest_chain, transition_matrix

TRANSITIONS = {
    "chain-2": ("end_to_end", 2),
    "chain-3": ("end_to_end", 3),
    "chain-4": ("end_to_end", 4),
    "chain-5": ("end_to_end", 5),
    "fully-3": ("fully_connected", 3),
    "cyclic-4": ("cyclic", 4),
}
EMISSIONS = {
    **dict.fromkeys(["chain-2", "chain-3", "chain-4", "chain-5"], "linear"),
    "fully-3": "triangular",
    "cyclic-4": "paired",
}
METHODS = ("stay", "end_to_end", "fully_connected", "cyclic")
HALF = np.full((2, 2), 0.5)


# the named ones


@pytest.mark.parametrize("name", FAMILIES)
def test_the_named_matrices_are_the_published_ones(name: str) -> None:
    family, (method, states) = FAMILIES[name], TRANSITIONS[name]
    np.testing.assert_allclose(transition_matrix(method, states), family.transition, atol=1e-6)
    np.testing.assert_allclose(emission_matrix(EMISSIONS[name], states, 3), family.emission, atol=1e-6)


@pytest.mark.parametrize("name", FAMILIES)
def test_the_preset_of_a_family_has_its_matrices_and_length(name: str) -> None:
    task = rs.preset(f"hmm-{name}").task
    family = FAMILIES[name]
    assert task.num_steps == family.num_steps
    np.testing.assert_allclose(task.hmm().transition_matrix, family.transition, atol=1e-6)
    np.testing.assert_allclose(task.hmm().emission_probs, family.emission, atol=1e-6)
    np.testing.assert_allclose(task.hmm().initial_probs, family.uniform, atol=1e-12)


@pytest.mark.parametrize(("states", "q"), [(2, 0.05), (3, 0.223607), (4, 0.368403), (5, 0.472871)])
def test_the_steps_of_a_chain_have_the_published_probability(states: int, q: float) -> None:
    found = transition_matrix("end_to_end", states)
    np.testing.assert_allclose(np.diag(found, 1), q, atol=1e-6)
    np.testing.assert_allclose(np.diag(found, -1), q, atol=1e-6)
    assert np.prod(np.diag(found, 1)) == pytest.approx(0.05)  # from end to end in M - 1 steps


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("states", [1, 2, 3, 4])
def test_rows_of_every_method_are_distributions(method: str, states: int) -> None:
    found = transition_matrix(method, states)
    assert found.shape == (states, states)
    assert (found >= 0).all()
    np.testing.assert_allclose(found.sum(1), 1, atol=1e-12)
    np.testing.assert_allclose(np.full(states, 1 / states) @ found, 1 / states, atol=0.2)


def test_a_sticky_chain_moves_inward_from_its_ends() -> None:
    wanted = [[0.95, 0.05, 0, 0], [0.025, 0.95, 0.025, 0], [0, 0.025, 0.95, 0.025], [0, 0, 0.05, 0.95]]
    np.testing.assert_allclose(transition_matrix("stay", 4), wanted, atol=1e-12)
    np.testing.assert_allclose(transition_matrix("stay", 2, stay_probability=0.9), [[0.9, 0.1], [0.1, 0.9]], atol=1e-12)
    np.testing.assert_allclose(transition_matrix("cyclic", 4), RING, atol=1e-12)


@pytest.mark.parametrize("method", METHODS)
def test_two_states_are_the_same_chain_by_every_method(method: str) -> None:
    np.testing.assert_allclose(transition_matrix(method, 2), [[0.95, 0.05], [0.05, 0.95]], atol=1e-12)


def test_a_chain_too_long_is_refused_with_the_largest_allowed() -> None:
    with pytest.raises(rs.ConfigError, match=r"6 states cannot be walked end to end with probability 0\.05") as caught:
        transition_matrix("end_to_end", 6)
    assert "at most 5 states" in caught.value.expected
    assert "task.num_states=5" in caught.value.remedy
    assert "0.03125" in caught.value.remedy
    transition_matrix("end_to_end", 6, end_to_end_probability=0.03125)


@pytest.mark.parametrize(("probability", "longest"), [(0.9, 2), (0.5, 2), (0.25, 3), (0.0625, 5), (0.05, 5), (0.001, 10)])
def test_the_longest_chain_is_allowed_and_one_more_is_not(probability: float, longest: int) -> None:
    assert longest_chain(probability) == longest
    assert (transition_matrix("end_to_end", longest, end_to_end_probability=probability) >= -1e-12).all()
    with pytest.raises(rs.ConfigError, match="cannot be walked"):
        transition_matrix("end_to_end", longest + 1, end_to_end_probability=probability)


# emissions


def test_gaussian_emissions_are_the_published_ones() -> None:
    found = emission_matrix("gaussian", 2, 3)
    weights = np.exp(-0.2 * (np.arange(3) / 0.2) ** 2)
    np.testing.assert_allclose(found[0], weights / weights.sum(), atol=1e-12)
    np.testing.assert_allclose(found[1], found[0, ::-1], atol=1e-12)


@pytest.mark.parametrize(("states", "symbols"), [(1, 1), (1, 3), (3, 1), (2, 2), (5, 3), (3, 40)])
def test_gaussian_emissions_fit_any_size(states: int, symbols: int) -> None:
    found = emission_matrix("gaussian", states, symbols)
    assert found.shape == (states, symbols)
    np.testing.assert_allclose(found.sum(1), 1, atol=1e-12)
    np.testing.assert_allclose(found, found[::-1, ::-1], atol=1e-12)


def test_one_state_emits_linearly_in_the_middle() -> None:
    np.testing.assert_allclose(emission_matrix("linear", 1, 3), [[0.495, 0.01, 0.495]], atol=1e-12)


@pytest.mark.parametrize(
    ("method", "states", "symbols", "what"),
    [
        ("linear", 3, 4, "4 symbols"),
        ("triangular", 2, 3, "2 states"),
        ("triangular", 3, 2, "2 symbols"),
        ("paired", 3, 3, "3 states"),
    ],
)
def test_methods_of_a_fixed_size_name_the_size_they_need(method: str, states: int, symbols: int, what: str) -> None:
    with pytest.raises(rs.ConfigError, match=f"'{method}' with {what}") as caught:
        emission_matrix(method, states, symbols)
    assert f"task.num_{what.split()[1]}=" in caught.value.remedy


# unknown names, as a user without type checks meets them


@pytest.mark.usefixtures("unchecked")
def test_an_unknown_transition_method_is_refused() -> None:
    with pytest.raises(rs.ConfigError, match="ring"):
        transition_matrix("ring", 3)


@pytest.mark.usefixtures("unchecked")
def test_an_unknown_emission_method_is_refused() -> None:
    with pytest.raises(rs.ConfigError, match="poisson"):
        emission_matrix("poisson", 3, 3)


# one's own


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (([0.5, 0.5], [[0.9, 0.2], [0.5, 0.5]], HALF), r"row 0 of transition_matrix sums to 1\.1"),
        (([0.5, 0.5], HALF, [[0.5, 0.5], [0.5, 0.4]]), r"row 1 of emission_probs sums to 0\.9"),
        (([0.5, 0.4], HALF, HALF), r"initial_probs sums to 0\.9"),
        (([0.5, 0.5], [[1.5, -0.5], [0.5, 0.5]], HALF), r"row 0 of transition_matrix holds the negative value -0\.5"),
        (([0.5, 0.5], [[0.5, 0.5]], HALF), r"transition_matrix has shape \(1, 2\)"),
        (([0.5, 0.5], [0.5, 0.5], HALF), r"transition_matrix has shape \(2,\)"),
        (([1 / 3] * 3, HALF, HALF), r"initial_probs has shape \(3,\)"),
        ((None, HALF, [[0.5, 0.5]]), r"emission_probs has shape \(1, 2\)"),
        ((None, HALF, [[[0.5, 0.5]] * 2]), r"emission_probs has shape \(1, 2, 2\)"),
        ((None, HALF, np.empty((2, 0))), r"emission_probs has shape \(2, 0\)"),
        ((None, np.empty((0, 0)), HALF), "transition_matrix"),
        ((None, [[np.nan, 1], [0.5, 0.5]], HALF), r"row 0 of transition_matrix holds \[nan, 1\.0\]"),
        ((None, HALF, [["a", "b"], ["c", "d"]]), "emission_probs is no array of numbers"),
        ((None, HALF, [[0.5, 0.5], [1.0]]), "emission_probs is no array of numbers"),
        (("uniform", HALF, HALF), "initial_probs is no array of numbers"),
    ],
)
@pytest.mark.usefixtures("unchecked")
def test_what_is_no_distribution_is_named(arguments: tuple, named: str) -> None:
    with pytest.raises(rs.ConfigError, match=named) as caught:
        rs.HMM(*arguments)
    assert caught.value.expected
    assert caught.value.remedy


@pytest.mark.usefixtures("unchecked")
def test_rows_of_unequal_length_are_named() -> None:
    with pytest.raises(rs.ConfigError, match="transition_matrix"):
        rs.HMM(None, [[0.5, 0.5], [1.0]], HALF)


def test_rounding_is_forgiven_and_taken_out() -> None:
    found = check_probabilities(np.array([[1 / 3, 0.6666667], [0.5, 0.5]]), "rows", (None, None))
    np.testing.assert_allclose(found.sum(1), 1, atol=1e-15)
    with pytest.raises(rs.ConfigError, match="row 0 of rows"):
        check_probabilities(np.array([[0.333, 0.6666667]]), "rows", (None, None))


def test_what_was_given_is_neither_kept_nor_changed() -> None:
    given = np.array([[0.9, 0.1], [0.2, 0.8]])
    model = rs.HMM(None, given, HALF)
    given[0] = [0, 1]
    assert model.transition_matrix[0, 0] == pytest.approx(0.9)
    with pytest.raises(ValueError, match="read-only"):
        model.transition_matrix[0, 0] = 0
