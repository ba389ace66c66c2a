"""Exact statistics of HMM sequences: the published families, enumeration of all words, chains known by hand, and samples."""

import itertools

import numpy as np
import pytest

from known_hmms import FAMILIES, LONGER, Family, random_hmm
from rnnscope.numerics import markov_statistics as exact
from rnnscope.numerics import sequence_statistics as seen

EVERY_FAMILY = pytest.mark.parametrize("family", FAMILIES.values(), ids=FAMILIES.keys())
STEPS = 4


def all_words(model, num_steps: int = STEPS) -> list[tuple[tuple[int, ...], float]]:
    """Every word with its probability, by the forward recursion."""
    found = []
    for word in itertools.product(range(model.num_symbols), repeat=num_steps):
        weights = model.initial_probs * model.emission_probs[:, word[0]]
        for symbol in word[1:]:
            weights = (weights @ model.transition_matrix) * model.emission_probs[:, symbol]
        found.append((word, weights.sum()))
    return found


def parts(model) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return model.initial_probs, model.transition_matrix, model.emission_probs


def counts(word: tuple[int, ...]) -> int:
    return sum(a != b for a, b in itertools.pairwise(word))


# the families


@EVERY_FAMILY
def test_the_uniform_start_of_every_family_is_stationary(family: Family) -> None:
    np.testing.assert_allclose(exact.stationary_distribution(family.transition), family.uniform, atol=1e-12)


@EVERY_FAMILY
def test_the_frequencies_of_every_family_are_the_published_ones(family: Family) -> None:
    found = exact.symbol_frequencies(*family.parameters, family.num_steps)
    np.testing.assert_allclose(found, family.frequencies, atol=1e-6)


@EVERY_FAMILY
def test_the_volatility_of_every_family_is_the_published_one(family: Family) -> None:
    mean, sd = exact.volatility(*family.parameters, family.num_steps)
    assert mean == pytest.approx(family.volatility, abs=6e-5)
    assert sd == pytest.approx(family.volatility_sd, rel=0.015)  # which was measured; enumeration below is exact


@EVERY_FAMILY
def test_at_stationarity_the_mean_volatility_follows_from_the_trace_of_the_joint(family: Family) -> None:
    joint = family.emission.T @ np.diag(family.uniform) @ family.transition @ family.emission
    mean, _ = exact.volatility(*family.parameters, family.num_steps)
    assert mean == pytest.approx((family.num_steps - 1) * (1 - np.trace(joint)), abs=1e-9)
    np.testing.assert_allclose(exact.lagged_joint(*family.parameters, family.num_steps), joint, atol=1e-12)
    np.testing.assert_allclose(
        exact.output_transitions(*family.parameters, family.num_steps), joint / joint.sum(1, keepdims=True), atol=1e-9
    )


@pytest.mark.parametrize(("name", "volatility"), LONGER.items())
def test_the_volatility_of_longer_chains_is_the_published_one(name: str, volatility: float) -> None:
    assert exact.volatility(*FAMILIES[name].parameters, 100)[0] == pytest.approx(volatility, abs=6e-5)


def test_fully_connected_states_and_paired_rings_have_simple_closed_forms() -> None:
    full, ring = FAMILIES["fully-3"], FAMILIES["cyclic-4"]
    # beside 1, both matrices of the former have one eigenvalue: .925 and .97
    assert exact.volatility(*full.parameters, 30)[0] == pytest.approx(29 * (2 / 3) * (1 - 0.97**2 * 0.925), abs=1e-9)
    same = np.einsum("i,ij,ik,jk->", ring.uniform, ring.transition, ring.emission, ring.emission)
    assert exact.volatility(*ring.parameters, 40)[0] == pytest.approx(39 * (1 - same), abs=1e-9)


@EVERY_FAMILY
def test_samples_agree_with_the_exact_statistics_within_four_standard_errors(family: Family) -> None:
    count, size = 4000, family.emission.shape[1]
    drawn = family.draw(count, seed=11)

    def near(per_sequence: np.ndarray, expected: np.ndarray | float) -> None:
        error = per_sequence.std(0, ddof=1) / np.sqrt(count)
        np.testing.assert_array_less(np.abs(per_sequence.mean(0) - expected), 4 * error + 1e-12)

    near(seen.frequencies(drawn, size), exact.symbol_frequencies(*family.parameters, family.num_steps))
    changes, (mean, sd) = seen.changes(drawn), exact.volatility(*family.parameters, family.num_steps)
    near(changes, mean)
    near((changes - mean) ** 2, sd**2)
    pairs = [[((one[:-1] == k) & (one[1:] == m)).mean() for k in range(size) for m in range(size)] for one in drawn[:500]]
    joint = exact.lagged_joint(*family.parameters, family.num_steps).ravel()
    error = np.std(pairs, axis=0, ddof=1) / np.sqrt(500)
    assert (np.abs(np.mean(pairs, 0) - joint) <= 4 * error + 2e-4).all()  # a pair that is too rare to come has no error


# against enumeration


@pytest.mark.parametrize("seed", range(3))
def test_frequencies_and_volatility_equal_enumeration_of_all_words(seed: int) -> None:
    model = random_hmm(seed)
    words = all_words(model)
    assert sum(p for _, p in words) == pytest.approx(1)
    shares = sum(p * np.bincount(word, minlength=3) / STEPS for word, p in words)
    np.testing.assert_allclose(exact.symbol_frequencies(*parts(model), STEPS), shares, atol=1e-12)
    wanted = np.zeros(STEPS)
    for word, p in words:
        wanted[counts(word)] += p
    np.testing.assert_allclose(exact.volatility_distribution(*parts(model), STEPS), wanted, atol=1e-12)
    mean = wanted @ np.arange(STEPS)
    sd = np.sqrt(wanted @ (np.arange(STEPS) - mean) ** 2)
    np.testing.assert_allclose(exact.volatility(*parts(model), STEPS), (mean, sd), atol=1e-12)


@pytest.mark.parametrize("lag", [1, 2, 3])
def test_lagged_pairs_equal_enumeration_of_all_words(lag: int) -> None:
    model = random_hmm(5)
    wanted = np.zeros((3, 3))
    for word, p in all_words(model):
        for t in range(STEPS - lag):
            wanted[word[t], word[t + lag]] += p / (STEPS - lag)
    np.testing.assert_allclose(exact.lagged_joint(*parts(model), STEPS, lag), wanted, atol=1e-12)
    if lag == 1:
        found = exact.output_transitions(*parts(model), STEPS)
        np.testing.assert_allclose(found, wanted / wanted.sum(1, keepdims=True), atol=1e-12)


def test_the_row_of_a_symbol_that_never_occurs_is_unknown() -> None:
    found = exact.output_transitions(np.ones(1), np.ones((1, 1)), np.array([[0.25, 0.75, 0.0]]), 5)
    assert np.isnan(found[2]).all()
    np.testing.assert_allclose(found[:2], [[0.25, 0.75, 0]] * 2)


def test_state_distributions_are_powers_of_the_transition_matrix() -> None:
    model = random_hmm(2, 3)
    found = exact.state_distributions(model.initial_probs, model.transition_matrix, 6)
    wanted = [model.initial_probs @ np.linalg.matrix_power(model.transition_matrix, t) for t in range(6)]
    np.testing.assert_allclose(found, wanted, atol=1e-13)


@pytest.mark.parametrize(
    ("matrix", "wanted"),
    [
        ([[0.9, 0.1], [0.4, 0.6]], [0.8, 0.2]),
        ([[0.0, 1.0], [1.0, 0.0]], [0.5, 0.5]),
        ([[1.0]], [1.0]),
        ([[1.0, 0.0], [0.3, 0.7]], [1.0, 0.0]),
    ],
    ids=["by hand", "periodic", "one state", "absorbing"],
)
def test_stationary_distributions_known_by_hand(matrix: list[list[float]], wanted: list[float]) -> None:
    np.testing.assert_allclose(exact.stationary_distribution(np.array(matrix)), wanted, atol=1e-12)


def test_of_a_reducible_chain_some_stationary_distribution_is_found() -> None:
    matrix = np.eye(3)
    found = exact.stationary_distribution(matrix)
    np.testing.assert_allclose(found @ matrix, found, atol=1e-12)
    assert found.sum() == pytest.approx(1)
    assert (found >= 0).all()


# dwell times


def test_runs_of_a_visible_chain_are_geometric() -> None:
    matrix = np.array([[0.8, 0.2], [0.3, 0.7]])
    lengths = np.arange(1, 12)
    for symbol, stay in ((0, 0.8), (1, 0.7)):
        found = exact.dwell_distribution(matrix, np.eye(2), symbol, 11)
        np.testing.assert_allclose(found, (1 - stay) * stay ** (lengths - 1), atol=1e-12)


@pytest.mark.parametrize("symbol", [0, 1, 2])
def test_dwell_times_equal_the_probabilities_of_framed_runs(symbol: int) -> None:
    """P(run of n) = P(other, symbol^n, other) / P(other, symbol), by matrix products."""
    model = random_hmm(7, 3)
    own = np.diag(model.emission_probs[:, symbol])
    other, start = np.eye(3) - own, exact.stationary_distribution(model.transition_matrix)
    step = model.transition_matrix
    begun = start @ other @ step @ own
    wanted = [(begun @ np.linalg.matrix_power(step @ own, n) @ step @ other).sum() / begun.sum() for n in range(8)]
    np.testing.assert_allclose(exact.dwell_distribution(step, model.emission_probs, symbol, 8), wanted, atol=1e-12)


@EVERY_FAMILY
def test_dwell_probabilities_sum_to_one(family: Family) -> None:
    for symbol in range(3):
        found = exact.dwell_distribution(family.transition, family.emission, symbol, 600)
        assert (found >= 0).all()
        assert found.sum() == pytest.approx(1, abs=1e-6)


def test_a_symbol_that_begins_no_run_has_no_dwell_times() -> None:
    always = np.array([[1.0, 0.0], [1.0, 0.0]])
    for symbol in (0, 1):
        assert np.isnan(exact.dwell_distribution(np.full((2, 2), 0.5), always, symbol, 4)).all()


# entropy


def test_the_entropy_rate_of_independent_symbols_is_their_entropy() -> None:
    shares = np.array([0.5, 0.3, 0.2])
    low, high = exact.entropy_rate(np.full((2, 2), 0.5), np.stack([shares, shares]))
    wanted = -(shares * np.log(shares)).sum()
    assert low == pytest.approx(wanted, abs=1e-12)
    assert high == pytest.approx(wanted, abs=1e-12)


def test_the_entropy_rate_of_a_visible_chain_is_known() -> None:
    matrix = np.array([[0.9, 0.1], [0.4, 0.6]])
    wanted = -(np.array([[0.8], [0.2]]) * matrix * np.log(matrix)).sum()
    np.testing.assert_allclose(exact.entropy_rate(matrix, np.eye(2)), (wanted, wanted), atol=1e-12)


@EVERY_FAMILY
def test_longer_words_tighten_the_entropy_bounds_from_both_sides(family: Family) -> None:
    bounds = [exact.entropy_rate(family.transition, family.emission, block=n) for n in (2, 4, 6)]
    lows, highs = zip(*bounds, strict=True)
    assert (np.diff(lows) >= -1e-12).all()
    assert (np.diff(highs) <= 1e-12).all()
    assert all(low <= high + 1e-12 for low, high in bounds)


def test_words_of_one_symbol_bound_the_entropy_rate_too() -> None:
    family = FAMILIES["chain-3"]
    low, high = exact.entropy_rate(family.transition, family.emission, block=1)
    assert high == pytest.approx(-sum(f * np.log(f) for f in family.frequencies), abs=1e-6)
    assert low == pytest.approx(-(family.emission * np.log(family.emission.clip(1e-300))).sum() / 3, abs=1e-9)


def test_the_upper_entropy_bound_equals_enumeration() -> None:
    model = random_hmm(3)
    model = type(model)(None, model.transition_matrix, model.emission_probs)  # stationary

    def entropy(length: int) -> float:
        return -sum(p * np.log(p) for _, p in all_words(model, length))

    _, high = exact.entropy_rate(model.transition_matrix, model.emission_probs, block=4)
    assert high == pytest.approx(entropy(4) - entropy(3), abs=1e-12)


def test_too_many_words_are_cut_to_a_shorter_block() -> None:
    model = random_hmm(4)
    matrices = model.transition_matrix, model.emission_probs
    assert exact.entropy_rate(*matrices, block=8, most_blocks=4 * 3**3) == exact.entropy_rate(*matrices, block=3)


def test_minus_log_likelihood_per_symbol_comes_near_the_entropy_rate() -> None:
    family = FAMILIES["chain-3"]
    low, high = exact.entropy_rate(family.transition, family.emission)
    per_symbol = -family.hmm().log_likelihood(family.draw(200, 400)) / 400
    assert per_symbol.mean() == pytest.approx((low + high) / 2, abs=4 * per_symbol.std() / np.sqrt(200) + 2e-3)
