"""Statistics of symbol sequences: examples by hand, counting loops, and two-sample tests that keep their level."""

import itertools
import math
from collections import Counter

import numpy as np
import pytest

from known_hmms import FAMILIES, sticky
from rnnscope.numerics import markov_statistics as exact
from rnnscope.numerics import sequence_statistics as seen

HAND = np.array([[0, 0, 1, 1, 1, 0, 2, 2], [1, 1, 1, 1, 1, 1, 1, 1]])


@pytest.fixture
def drawn() -> np.ndarray:
    return np.random.default_rng(3).integers(0, 3, (20, 15)).astype(np.int16)


def test_frequencies_changes_and_transitions_of_an_example() -> None:
    np.testing.assert_allclose(seen.frequencies(HAND, 3), [[3 / 8, 3 / 8, 2 / 8], [0, 1, 0]])
    assert seen.changes(HAND).tolist() == [3, 0]
    assert seen.transition_counts(HAND, 3).tolist() == [[1, 1, 1], [1, 9, 0], [0, 0, 1]]
    np.testing.assert_allclose(seen.transition_frequencies(HAND, 3), [[1 / 3] * 3, [0.1, 0.9, 0], [0, 0, 1]])


def test_frequencies_sum_to_one_and_transitions_count_every_step(drawn: np.ndarray) -> None:
    np.testing.assert_allclose(seen.frequencies(drawn, 3).sum(1), 1)
    counts = seen.transition_counts(drawn, 3)
    assert counts.sum() == 20 * 14
    assert counts.sum() - np.trace(counts) == seen.changes(drawn).sum()
    np.testing.assert_allclose(seen.transition_frequencies(drawn, 3).sum(1), 1)


@pytest.mark.parametrize("order", [[0, 0, 0, 2], [0, 0, 0, 0]], ids=["only last", "never"])
def test_symbols_without_a_successor_have_unknown_transitions(order: list[int]) -> None:
    found = seen.transition_frequencies(np.array([order]), 3)
    assert np.isnan(found[1:]).all()
    assert found[0].sum() == 1
    assert seen.frequencies(np.array([order]), 3).shape == (1, 3)


def test_what_an_hmm_samples_is_taken_as_it_comes() -> None:
    drawn = FAMILIES["chain-3"].hmm().sample(5, 8, rng=0).observations
    assert seen.frequencies(drawn, 3).shape == (5, 3)
    assert seen.changes(drawn).shape == (5,)


def test_small_integer_types_do_not_overflow() -> None:
    symbols = np.full((2, 9), 100, dtype=np.int8)
    symbols[:, 4] = 99
    assert seen.transition_counts(symbols, 101)[100, 100] == 2 * 6
    words = seen.word_distribution(symbols - np.int8(90), 11, 4)
    assert words.sum() == pytest.approx(1)
    assert words[10 * (11**3 + 11**2 + 11 + 1)] == pytest.approx(2 / 6)


# runs


def test_run_lengths_leave_out_what_the_ends_cut_off() -> None:
    owner, lengths = seen.run_lengths(HAND)
    assert list(zip(owner.tolist(), lengths.tolist(), strict=True)) == [(1, 3), (0, 1)]


def test_run_lengths_equal_grouping_by_hand(drawn: np.ndarray) -> None:
    wanted = []
    for row in drawn:
        wanted += [(int(k), len(list(group))) for k, group in itertools.groupby(row)][1:-1]
    owner, lengths = seen.run_lengths(drawn)
    assert list(zip(owner.tolist(), lengths.tolist(), strict=True)) == wanted


@pytest.mark.parametrize("width", [1, 2, 5])
def test_constant_sequences_have_no_whole_run(width: int) -> None:
    constant = np.zeros((3, width), dtype=int)
    assert seen.run_lengths(constant)[0].size == 0
    assert np.isnan(seen.dwell_histogram(constant, 0, 4)).all()


def test_a_dwell_histogram_is_a_share_of_all_runs_also_of_those_too_long_to_show(drawn: np.ndarray) -> None:
    owner, lengths = seen.run_lengths(drawn)
    own = lengths[owner == 1]
    found = seen.dwell_histogram(drawn, 1, 2)
    np.testing.assert_allclose(found, [(own == 1).mean(), (own == 2).mean()])
    assert seen.dwell_histogram(drawn, 1, 50).sum() == pytest.approx(1)


def test_runs_in_long_sequences_follow_the_exact_dwell_distribution() -> None:
    family = FAMILIES["chain-3"]
    drawn = family.draw(40, 2000)
    owner, _ = seen.run_lengths(drawn)
    for symbol in (0, 2):
        wanted = exact.dwell_distribution(family.transition, family.emission, symbol, 20)
        error = np.sqrt(wanted / (owner == symbol).sum())
        assert (np.abs(seen.dwell_histogram(drawn, symbol, 20) - wanted) < 4 * error + 1e-3).all()


# memory and words


def test_autocorrelation_is_one_for_constant_sequences_and_zero_for_independent_symbols() -> None:
    constant = np.repeat([[0], [1]], 30, 1)
    np.testing.assert_allclose(seen.autocorrelation(constant, 2, 10), 1)
    independent = np.random.default_rng(0).integers(0, 3, (400, 50))
    assert np.abs(seen.autocorrelation(independent, 3, 10)).max() < 0.03


def test_autocorrelation_of_one_symbol_alone_is_zero_by_convention() -> None:
    assert seen.autocorrelation(np.zeros((4, 9), dtype=int), 3, 5).tolist() == [0.0] * 5


def test_autocorrelation_goes_no_further_than_the_sequences() -> None:
    assert len(seen.autocorrelation(HAND, 3, 50)) == HAND.shape[1] - 1
    alternating = np.tile([0, 1], (2, 4))
    np.testing.assert_allclose(seen.autocorrelation(alternating, 2, 4), [-1, 1, -1, 1])


def test_autocorrelation_of_a_visible_chain_decays_with_its_eigenvalue() -> None:
    drawn = sticky(2, stay=0.9, clear=1 - 1e-12).sample(300, 400, rng=2).states.astype(np.int64)
    np.testing.assert_allclose(seen.autocorrelation(drawn, 2, 6), 0.8 ** np.arange(1, 7), atol=0.03)


def test_word_distributions_equal_counting_by_hand(drawn: np.ndarray) -> None:
    counter: Counter[tuple[int, ...]] = Counter(tuple(row[t : t + 3].tolist()) for row in drawn for t in range(13))
    found = seen.word_distribution(drawn, 3, 3)
    assert found.shape == (27,)
    assert found.sum() == pytest.approx(1)
    for (a, b, c), count in counter.items():
        assert found[9 * a + 3 * b + c] == pytest.approx(count / (20 * 13))


def test_jensen_shannon_is_a_bounded_symmetric_divergence() -> None:
    rng = np.random.default_rng(1)
    p, q = rng.dirichlet(np.ones(9), 2)
    q[0], p[1] = 0, 0
    p, q = p / p.sum(), q / q.sum()
    assert seen.jensen_shannon(p, p) == 0
    assert seen.jensen_shannon(p, q) == pytest.approx(seen.jensen_shannon(q, p))
    assert 0 < seen.jensen_shannon(p, q) < math.log(2)
    assert seen.jensen_shannon(np.eye(2)[0], np.eye(2)[1]) == pytest.approx(math.log(2))


# two-sample tests


def sets(seed: int, count: int = 40, steps: int = 12) -> np.ndarray:
    return FAMILIES["chain-3"].draw(count, steps, seed)


def test_under_equality_the_p_values_keep_their_level() -> None:
    rng = np.random.default_rng(0)
    found = [seen.two_sample_tests(sets(2 * i), sets(2 * i + 1), 3, rng, permutations=49) for i in range(80)]
    permuted = np.array([one[-1].p_value for one in found])
    assert abs(permuted.mean() - 0.5) < 4 * 0.29 / np.sqrt(80)
    assert 0 < (permuted <= 0.2).mean() < 0.2 + 4 * 0.4 / np.sqrt(80)
    # Kolmogorov-Smirnov on whole numbers errs towards equality
    for test in range(4):
        assert (np.array([one[test].p_value for one in found]) < 0.05).mean() < 0.05 + 4 * 0.22 / np.sqrt(80)


def test_different_sets_are_told_apart() -> None:
    rng = np.random.default_rng(0)
    chain = sets(0, 200, 30)
    loose = rng.choice(3, chain.shape, p=[0.495, 0.01, 0.495])
    found = {t.name: t for t in seen.two_sample_tests(chain, loose, 3, rng, permutations=99)}
    assert list(found) == ["volatility", "share of symbol 0", "share of symbol 1", "share of symbol 2", "successive pairs"]
    assert found["volatility"].p_value < 1e-6
    assert found["successive pairs"].p_value == pytest.approx(0.01)
    assert found["share of symbol 1"].p_value > 0.01  # the same there


def test_equal_sets_do_not_differ_at_all() -> None:
    one = sets(0)
    for test in seen.two_sample_tests(one, one, 3, np.random.default_rng(0), permutations=19):
        assert test.difference == 0
        assert test.p_value == pytest.approx(1)


def test_the_permutation_test_repeats_with_its_generator_and_changes_nothing_it_is_given() -> None:
    one, other = sets(0), sets(1)
    kept = one.copy()
    first, second = (seen.two_sample_tests(one, other, 3, np.random.default_rng(4), 29)[-1].p_value for _ in range(2))
    assert first == second
    assert (one == kept).all()
