"""HMM passes against enumeration of all state paths, against hmmlearn, and against their own laws."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rnnscope.numerics import hmm, hmm_long

hmmlearn = pytest.importorskip("hmmlearn.hmm")

TOLERANCE = {"float64": 1e-11, "float32": 2e-5}
PRECISIONS = pytest.mark.parametrize("precision", ["float64", "float32"])


def random_model(rng, num_states, num_symbols, zeros=False):
    initial, matrix = rng.dirichlet(np.ones(num_states)), rng.dirichlet(np.ones(num_states), num_states)
    emission = rng.dirichlet(np.ones(num_symbols), num_states)
    if zeros:
        for rows in (initial[None], matrix, emission):
            rows[rng.random(rows.shape) < 0.3] = 0
            rows[rows.sum(1) == 0, 0] = 1
            rows /= rows.sum(1, keepdims=True)
    return initial, matrix, emission


def enumerate_paths(densities, initial, matrix):
    """Total probability, posteriors, pair posteriors, best path and its probability, from all S^T paths."""
    steps, states = densities.shape
    total, best, posterior, pairs = 0.0, (-1.0, ()), np.zeros((steps, states)), np.zeros((states, states))
    for path in itertools.product(range(states), repeat=steps):
        weight = initial[path[0]] * densities[0, path[0]]
        for t in range(1, steps):
            weight *= matrix[path[t - 1], path[t]] * densities[t, path[t]]
        total += weight
        best = max(best, (weight, path), key=lambda pair: pair[0])
        for t, s in enumerate(path):
            posterior[t, s] += weight
            if t:
                pairs[path[t - 1], s] += weight
    scale = total if total > 0 else 1
    return total, posterior / scale, pairs / scale, best


def densities_of(row, emission):
    return np.stack([emission[:, k] if k >= 0 else np.ones(len(emission)) for k in row])


def log_of(probability):
    return math.log(probability) if probability > 0 else -math.inf


@PRECISIONS
@pytest.mark.parametrize(
    ("num_states", "num_symbols", "zeros"),
    [(1, 2, False), (2, 2, True), (3, 3, False), (3, 4, True), (2, 9, False), (2, 20, True)],
)
def test_every_pass_agrees_with_enumeration_of_all_paths(num_states, num_symbols, zeros, precision):
    rng = np.random.default_rng(num_states * 100 + num_symbols)
    model = random_model(rng, num_states, num_symbols, zeros)
    symbols, lengths = rng.integers(-1, num_symbols, (70, 5)), rng.integers(1, 6, 70)
    check_against_enumeration(symbols, lengths, model, precision)


def check_against_enumeration(symbols, lengths, model, precision):
    near = TOLERANCE[precision]
    initial, matrix, emission = model
    args = symbols, lengths, *model
    levels = hmm.log_likelihood(*args, precision=precision)
    filtered, filter_levels = hmm.filter_states(*args, precision=precision)
    smoothed, smooth_levels = hmm.smooth_states(*args, precision=precision)
    paths, log_prob = hmm.most_likely_states(*args, precision=precision)
    counts = hmm.expected_counts(*args, precision=precision)
    first, pairs, tallies = np.zeros_like(initial), np.zeros_like(matrix), np.zeros_like(emission)
    for n, length in enumerate(lengths):
        row = symbols[n, :length]
        total, posterior, between, (best, _) = enumerate_paths(densities_of(row, emission), initial, matrix)
        for found in (levels, filter_levels, smooth_levels):
            np.testing.assert_allclose(found[n], log_of(total), rtol=near, atol=near)
        np.testing.assert_allclose(smoothed[n, :length], posterior, atol=near)
        np.testing.assert_allclose(filtered[n, length - 1], posterior[-1], atol=near)
        np.testing.assert_allclose(log_prob[n], log_of(best), rtol=near, atol=near)
        if total > 0:
            path = paths[n, :length]
            weight = initial[path[0]] * np.prod(matrix[path[:-1], path[1:]])
            weight *= np.prod(densities_of(row, emission)[np.arange(length), path])
            np.testing.assert_allclose(weight, best, rtol=near)
        assert not smoothed[n, length:].any()
        assert not filtered[n, length:].any()
        assert (paths[n, length:] == -1).all()
        first, pairs = first + posterior[0], pairs + between
        for t, k in enumerate(row):
            if k >= 0:
                tallies[:, k] += posterior[t]
    np.testing.assert_allclose(counts.initial, first, atol=near * 50)
    np.testing.assert_allclose(counts.transition, pairs, atol=near * 200)
    np.testing.assert_allclose(counts.emission, tallies, atol=near * 200)
    assert counts.log_likelihood == pytest.approx(levels.sum(), rel=near * 10)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**31), st.integers(1, 3), st.integers(1, 4), st.integers(1, 4), st.booleans())
def test_random_tiny_models_agree_with_enumeration(seed, num_states, num_symbols, num_steps, zeros):
    rng = np.random.default_rng(seed)
    model = random_model(rng, num_states, num_symbols, zeros)
    symbols = rng.integers(-1, num_symbols, (3, num_steps))
    check_against_enumeration(symbols, rng.integers(1, num_steps + 1, 3), model, "float64")


@PRECISIONS
def test_an_impossible_sequence_has_log_likelihood_minus_infinity_and_no_nan(precision):
    emission = np.array([[1.0, 0.0], [1.0, 0.0]])
    args = np.array([[0, 0], [0, 1]]), np.array([2, 2]), np.array([0.5, 0.5]), np.eye(2), emission
    smoothed, levels = hmm.smooth_states(*args, precision=precision)
    np.testing.assert_allclose(levels, [0, -np.inf])
    assert not smoothed[1].any()
    counts = hmm.expected_counts(*args, precision=precision)
    np.testing.assert_allclose(counts.initial, [0.5, 0.5])
    assert counts.log_likelihood == -np.inf
    assert hmm.most_likely_states(*args, precision=precision)[1][1] == -np.inf


@PRECISIONS
def test_underflow_is_done_again_in_logs(precision):
    densities = np.zeros((2, 300, 2))
    densities[0, :150, 0], densities[0, 150:, 1] = -900, -900
    matrix = np.eye(2)
    levels = hmm.log_likelihood_from_densities(densities, np.array([300, 300]), np.full(2, 0.5), matrix, precision=precision)
    np.testing.assert_allclose(levels, [-900 * 150, 0], atol=1e-4)
    smoothed, levels = hmm.smooth_states_from_densities(
        densities, np.array([300, 300]), np.full(2, 0.5), matrix, precision=precision
    )
    np.testing.assert_allclose(smoothed, 0.5, atol=1e-6)


def test_symbols_out_of_range_are_refused_unless_beyond_the_length():
    model = random_model(np.random.default_rng(0), 2, 3)
    with pytest.raises(ValueError, match=r"-1\.\.2"):
        hmm.log_likelihood(np.array([[0, 3]]), np.array([2]), *model)
    cut = hmm.log_likelihood(np.array([[0, 3]]), np.array([1]), *model)
    np.testing.assert_allclose(cut, hmm.log_likelihood(np.array([[0]]), np.array([1]), *model))


@pytest.mark.parametrize("num_states", [3, 8])
@pytest.mark.parametrize("num_steps", [hmm_long.SHORTEST, hmm_long.SHORTEST + 63, 8229])
@PRECISIONS
def test_a_long_sequence_agrees_with_hmmlearn(num_states, num_steps, precision):
    rng = np.random.default_rng(num_states)
    model = random_model(rng, num_states, 3)
    symbols, _ = hmm.sample(*model, 1, num_steps, rng)
    symbols[0, 100:110] = 2
    peer = categorical_peer(model)
    flat, near = symbols.reshape(-1, 1).astype(int), {"float64": 1e-9, "float32": 1e-6}[precision]
    args = symbols, np.array([symbols.shape[1]]), *model
    assert hmm.log_likelihood(*args, precision=precision)[0] == pytest.approx(peer.score(flat), rel=near)
    smoothed, levels = hmm.smooth_states(*args, precision=precision)
    assert levels[0] == pytest.approx(peer.score(flat), rel=near)
    np.testing.assert_allclose(smoothed[0], peer.predict_proba(flat), atol=near * 10)
    assert hmm.most_likely_states(*args, precision=precision)[1][0] == pytest.approx(peer.decode(flat)[0], rel=near)
    counts = hmm.expected_counts(*args, precision=precision)
    assert counts.transition.sum() == pytest.approx(symbols.shape[1] - 1, rel=near)
    np.testing.assert_allclose(counts.emission.sum(1), peer.predict_proba(flat).sum(0), rtol=near * 10)
    many = hmm.expected_counts(np.repeat(symbols, 40, 0), np.repeat(args[1], 40), *model, precision=precision)
    np.testing.assert_allclose(many.transition, 40 * counts.transition, rtol=near * 10)
    filtered, _ = hmm.filter_states(*args, precision=precision)
    np.testing.assert_allclose(filtered[0, -1], smoothed[0, -1], atol=near * 10)


@pytest.mark.parametrize("num_states", [1, 2, 5, 7, 20])
@pytest.mark.parametrize("ragged", [True, False])
@PRECISIONS
def test_every_row_of_a_block_is_written_whole(num_states, ragged, precision):
    rng = np.random.default_rng(num_states)
    model = random_model(rng, num_states, 3)
    symbols, _ = hmm.sample(*model, 70, 37, rng)
    lengths = rng.integers(1, 38, 70) if ragged else np.full(70, 37)
    inside = np.arange(37) < lengths[:, None]
    near = TOLERANCE[precision]
    smoothed, _ = hmm.smooth_states(symbols, lengths, *model, precision=precision)
    expected = categorical_peer(model).predict_proba(symbols[inside][:, None].astype(int), lengths)
    np.testing.assert_allclose(smoothed[inside], expected, atol=near)
    assert not smoothed[~inside].any()
    filtered, _ = hmm.filter_states(symbols, lengths, *model, precision=precision)
    assert not filtered[~inside].any()
    for t in range(37):
        until, _ = hmm.smooth_states(symbols[:, : t + 1], np.minimum(lengths, t + 1), *model, precision=precision)
        np.testing.assert_allclose(filtered[inside[:, t], t], until[inside[:, t], t], atol=near)


@pytest.mark.slow
def test_a_million_steps_agree_with_hmmlearn():
    rng = np.random.default_rng(5)
    model = random_model(rng, 3, 3)
    symbols, _ = hmm.sample(*model, 1, 10**6, rng)
    score = categorical_peer(model).score(symbols.reshape(-1, 1).astype(int))
    for precision, near in (("float64", 1e-9), ("float32", 1e-6)):
        assert hmm.log_likelihood(symbols, np.array([10**6]), *model, precision=precision)[0] == pytest.approx(score, rel=near)


def categorical_peer(model):
    peer = hmmlearn.CategoricalHMM(len(model[0]))
    peer.startprob_, peer.transmat_, peer.emissionprob_ = model
    peer.n_features = model[2].shape[1]
    return peer


@PRECISIONS
def test_smoothed_rows_sum_to_one_and_no_sampled_path_beats_the_best(precision):
    rng = np.random.default_rng(3)
    initial, matrix, emission = model = random_model(rng, 5, 6)
    symbols, states = hmm.sample(*model, 200, 40, rng)
    smoothed, levels = hmm.smooth_states(symbols, np.full(200, 40), *model, precision=precision)
    np.testing.assert_allclose(smoothed.sum(2), 1, rtol=1e-5)
    paths, log_prob = hmm.most_likely_states(symbols, np.full(200, 40), *model, precision=precision)

    def log_joint(path):
        moves = np.log(matrix[path[:, :-1], path[:, 1:]]).sum(1)
        return np.log(initial[path[:, 0]]) + moves + np.log(emission[path, symbols]).sum(1)

    np.testing.assert_allclose(log_joint(paths), log_prob, rtol=1e-5)
    assert (log_joint(states.astype(int)) <= log_prob + 1e-4).all()
    assert (log_prob < levels).all()


def test_ties_go_to_the_lowest_state():
    uniform = np.full((3, 3), 1 / 3)
    for steps in (4, hmm_long.SHORTEST):
        paths, _ = hmm.most_likely_states(np.zeros((1, steps), int), np.array([steps]), uniform[0], uniform, uniform)
        assert not paths.any()


def test_long_ragged_rows_do_not_touch_each_other():
    rng = np.random.default_rng(8)
    model = random_model(rng, 3, 3)
    symbols, _ = hmm.sample(*model, 3, 5000, rng)
    lengths = np.array([5000, 4500, 10])
    smoothed, levels = hmm.smooth_states(symbols, lengths, *model)
    for n, length in enumerate(lengths):
        alone, level = hmm.smooth_states(symbols[n : n + 1, :length], lengths[n : n + 1], *model)
        np.testing.assert_allclose(smoothed[n, :length], alone[0], atol=1e-12)
        assert not smoothed[n, length:].any()
        assert levels[n] == pytest.approx(level[0])


def test_samples_have_the_model_frequencies_and_follow_the_seed():
    rng = np.random.default_rng(11)
    initial, matrix, emission = model = random_model(rng, 3, 4, zeros=True)
    symbols, states = hmm.sample(*model, 20_000, 10, np.random.default_rng(1))
    again = hmm.sample(*model, 20_000, 10, np.random.default_rng(1))
    assert np.array_equal(symbols, again[0])
    assert np.array_equal(states, again[1])
    check_frequencies(np.bincount(states[:, 0], minlength=3), initial)
    for i in range(3):
        here = states[:, :-1] == i
        check_frequencies(np.bincount(states[:, 1:][here], minlength=3), matrix[i])
        check_frequencies(np.bincount(symbols[states == i], minlength=4), emission[i])


def check_frequencies(counts, probs):
    total = counts.sum()
    error = np.sqrt(total * probs * (1 - probs))
    assert (np.abs(counts - total * probs) <= 4 * error + 1e-9).all()


def test_one_long_chain_is_sampled_and_many_symbols_need_sixteen_bits():
    rng = np.random.default_rng(2)
    model = random_model(rng, 2, 300)
    symbols, states = hmm.sample(*model, 1, 30_000, rng)
    assert symbols.dtype == np.int16
    assert states.dtype == np.uint8
    moves = np.zeros((2, 2))
    np.add.at(moves, (states[0, :-1], states[0, 1:]), 1)
    for i in range(2):
        check_frequencies(moves[i], model[1][i])
