"""HMM and GaussianHMM as objects: shapes, laws between their answers, sampling and learning."""

import numpy as np
import pytest
import torch

import rnnscope as rs
from known_hmms import random_hmm, sticky

START, CHAIN, HALF = np.array([0.7, 0.3]), np.array([[0.9, 0.1], [0.2, 0.8]]), np.full((2, 2), 0.5)


def gaussian(full: bool = False) -> rs.GaussianHMM:
    variances = np.array([[0.3, 0.5], [0.4, 0.2]])
    covariances = np.stack([np.diag(v) for v in variances]) if full else variances
    return rs.GaussianHMM(START, CHAIN, [[0.0, 0.0], [2.0, -1.0]], covariances)


MODELS = {"categorical": random_hmm(0, 3, 4), "diag": gaussian(), "full": gaussian(full=True)}
EVERY_MODEL = pytest.mark.parametrize("model", MODELS.values(), ids=MODELS.keys())


# answers


@EVERY_MODEL
def test_a_bare_sequence_is_answered_without_the_leading_axis(model) -> None:
    x = model.sample(3, 7, rng=0).observations
    assert isinstance(model.log_likelihood(x[0]), float)
    assert model.log_likelihood(x).shape == (3,)
    for job, shape in (("filter", (7, model.num_states)), ("smooth", (7, model.num_states)), ("viterbi", (7,))):
        one, many = getattr(model, job)(x[0]), getattr(model, job)(x)
        assert one[0].shape == shape
        assert np.ndim(one[1]) == 0
        assert many[0].shape == (3, *shape)
        assert many[1].shape == (3,)
        np.testing.assert_allclose(many[0][0], one[0], atol=1e-12)
        np.testing.assert_allclose(many[1][0], one[1], atol=1e-9)


@EVERY_MODEL
def test_rows_of_a_batch_do_not_touch_each_other(model) -> None:
    x = model.sample(4, 6, rng=1).observations
    alone = [model.log_likelihood(row) for row in x]
    np.testing.assert_allclose(model.log_likelihood(x), alone, atol=1e-10)


@EVERY_MODEL
def test_the_answers_agree_with_one_another(model) -> None:
    x = model.sample(5, 8, rng=2).observations
    levels = model.log_likelihood(x)
    filtered, smoothed, best = model.filter(x), model.smooth(x), model.viterbi(x)
    np.testing.assert_allclose(filtered.log_likelihood, levels, atol=1e-9)
    np.testing.assert_allclose(smoothed.log_likelihood, levels, atol=1e-9)
    np.testing.assert_allclose(filtered.probabilities.sum(2), 1, atol=1e-9)
    np.testing.assert_allclose(smoothed.probabilities.sum(2), 1, atol=1e-9)
    np.testing.assert_allclose(filtered.probabilities[:, -1], smoothed.probabilities[:, -1], atol=1e-9)
    assert (best.log_probability <= levels + 1e-9).all()


@EVERY_MODEL
def test_renumbered_states_explain_sequences_equally_well(model) -> None:
    x = model.sample(3, 9, rng=3).observations
    order = np.roll(np.arange(model.num_states), 1)
    other = model.permuted(order)
    np.testing.assert_allclose(other.log_likelihood(x), model.log_likelihood(x), atol=1e-9)
    np.testing.assert_allclose(other.smooth(x)[0], model.smooth(x)[0][..., order], atol=1e-9)


@EVERY_MODEL
@pytest.mark.parametrize("precision", ["float32", "float64"])
def test_single_precision_comes_near(model, precision: str) -> None:
    x = model.sample(3, 9, rng=3).observations
    np.testing.assert_allclose(model.log_likelihood(x, precision=precision), model.log_likelihood(x), rtol=1e-4)


def test_steps_missing_at_the_end_count_as_a_shorter_sequence() -> None:
    model, x = MODELS["categorical"], np.array([2, 0, 3, 1])
    for marked in ([2, 0, -1, -1], [2, 0, np.nan, np.nan]):
        assert model.log_likelihood(marked) == pytest.approx(model.log_likelihood(x[:2]))
    padded = model.log_likelihood([[2, 0, 3, 1], [2, 0, 0, 0]], lengths=[4, 2])
    np.testing.assert_allclose(padded, [model.log_likelihood(x), model.log_likelihood(x[:2])])
    assert model.log_likelihood([-1, -1, -1]) == pytest.approx(0, abs=1e-12)


def test_a_missing_symbol_is_the_sum_over_what_it_may_have_been() -> None:
    model = MODELS["categorical"]
    whole = np.logaddexp.reduce([model.log_likelihood([2, k, 3]) for k in range(4)])
    assert model.log_likelihood([2, -1, 3]) == pytest.approx(whole)


def test_beyond_its_length_a_sequence_has_no_states() -> None:
    model = MODELS["categorical"]
    filtered, path = (
        model.filter([[0, 1, 2], [0, 0, 0]], lengths=[3, 1])[0],
        model.viterbi([[0, 1, 2], [0, 0, 0]], lengths=[3, 1])[0],
    )
    assert (filtered[1, 1:] == 0).all()
    assert (path[1, 1:] == -1).all()


def test_an_impossible_sequence_has_likelihood_zero() -> None:
    model = rs.HMM(np.array([1, 0]), np.eye(2), np.eye(2))
    assert model.log_likelihood([0, 0]) == pytest.approx(0)
    assert model.log_likelihood([0, 1]) == -np.inf


def test_full_covariances_that_are_diagonal_give_the_same_answers() -> None:
    x = gaussian().sample(3, 8, rng=0).observations
    for job in ("log_likelihood", "smooth"):
        one, other = (getattr(gaussian(full), job)(x) for full in (False, True))
        np.testing.assert_allclose(one[0], other[0], atol=1e-9)


def test_a_gaussian_likelihood_is_the_sum_over_all_paths() -> None:
    model, x = gaussian(), np.array([[0.1, 0.2], [1.9, -0.8], [0.3, 0.1]])
    densities = [
        [
            np.prod(np.exp(-((x[t] - m) ** 2) / (2 * v)) / np.sqrt(2 * np.pi * v))
            for m, v in zip(model.means, model.covariances, strict=True)
        ]
        for t in range(3)
    ]
    total = 0.0
    for path in np.ndindex(2, 2, 2):
        weight = model.initial_probs[path[0]] * densities[0][path[0]]
        for t in (1, 2):
            weight *= model.transition_matrix[path[t - 1], path[t]] * densities[t][path[t]]
        total += weight
    assert model.log_likelihood(x) == pytest.approx(np.log(total))


@EVERY_MODEL
def test_torch_answers_as_the_compiled_kernels_do(model) -> None:
    x = model.sample(2, 5, rng=0).observations
    for job in ("log_likelihood", "filter_states", "smooth_states", "most_likely_states"):
        seen = model._observe(x, None)
        ours, theirs = model._infer(job, seen, "float64"), model._infer_on("cpu", job, seen, "float64")
        for one, other in zip(ours, theirs, strict=True) if isinstance(ours, tuple) else [(ours, theirs)]:
            np.testing.assert_allclose(one, other, atol=1e-9)


# what they are made of


def test_without_initial_probabilities_a_model_starts_stationary() -> None:
    model = rs.HMM(None, np.array([[0.9, 0.1], [0.4, 0.6]]), np.full((2, 3), 1 / 3))
    np.testing.assert_allclose(model.initial_probs, [0.8, 0.2])
    np.testing.assert_allclose(model.stationary_probs, [0.8, 0.2])
    assert model.fitted is None
    assert repr(model) == "HMM(num_states=2)"


def test_free_parameters_are_counted() -> None:
    assert random_hmm(0, 3, 4).num_parameters == 2 + 6 + 9
    assert gaussian().num_parameters == 1 + 2 + 2 * 4
    assert gaussian(full=True).num_parameters == 1 + 2 + 2 * 5
    assert (gaussian().covariance_type, gaussian(full=True).covariance_type) == ("diag", "full")


@pytest.mark.parametrize(
    ("means", "covariances", "named"),
    [
        ([[0.0], [1.0]], [[0.0], [1.0]], "covariance 0 is not positive definite"),
        ([[0.0], [1.0]], [[[1.0]], [[-1.0]]], "covariance 1 is not positive definite"),
        ([[0.0, 0.0]] * 2, [[[1.0, 0.9], [0.1, 1.0]]] * 2, "covariance 0"),
        ([[0.0], [1.0]], [[1.0]], "covariances has shape"),
        ([[0.0]], [[1.0], [1.0]], "means has shape"),
        ([[0.0], [np.nan]], [[1.0], [1.0]], "means holds values that are not finite"),
        ("none", [[1.0], [1.0]], "means is no array of numbers"),
    ],
)
def test_gaussian_parameters_that_do_not_fit_are_named(means: object, covariances: object, named: str) -> None:
    with pytest.raises(rs.ConfigError, match=named):
        rs.GaussianHMM(None, HALF, means, covariances)


def test_a_model_is_made_from_plain_lists() -> None:
    model = rs.HMM([0.5, 0.5], [[0.9, 0.1], [0.1, 0.9]], [[0.8, 0.2], [0.2, 0.8]])
    assert model.log_likelihood([0, 0, 1]) == pytest.approx(-2.3413, abs=1e-4)


# sampling


@EVERY_MODEL
def test_equal_seeds_give_equal_samples(model) -> None:
    first, again, other = (model.sample(4, 6, rng=seed) for seed in (5, 5, 6))
    np.testing.assert_array_equal(first.observations, again.observations)
    np.testing.assert_array_equal(first.states, again.states)
    assert (first.observations != other.observations).any()
    stream = np.random.default_rng(5)
    np.testing.assert_array_equal(first.states, model.sample(4, 6, rng=stream).states)
    assert (model.sample(4, 6, rng=stream).observations != first.observations).any()


@EVERY_MODEL
def test_samples_leave_global_random_states_alone(model) -> None:
    before = repr(np.random.get_state()), torch.get_rng_state()  # noqa: NPY002
    model.sample(2, 3)
    assert repr(np.random.get_state()) == before[0]  # noqa: NPY002
    assert torch.equal(torch.get_rng_state(), before[1])


@EVERY_MODEL
@pytest.mark.parametrize(("count", "steps"), [(0, 5), (5, 0), (-1, 5)])
def test_nothing_cannot_be_drawn(model, count: int, steps: int) -> None:
    with pytest.raises(rs.ConfigError, match="sequences of"):
        model.sample(count, steps)


def test_gaussian_samples_have_the_means_and_covariances_of_their_states() -> None:
    covariances = np.array([[[1.0, 0.6], [0.6, 1.0]], [[0.5, -0.2], [-0.2, 0.3]]])
    model = rs.GaussianHMM(None, HALF, [[0.0, 0.0], [5.0, 5.0]], covariances)
    x, states = model.sample(200, 50, rng=0)
    for state in (0, 1):
        own = x[states == state]
        np.testing.assert_allclose(own.mean(0), model.means[state], atol=4 / np.sqrt(len(own)))
        np.testing.assert_allclose(np.cov(own.T), covariances[state], atol=6 / np.sqrt(len(own)))


# learning


def test_a_clear_model_is_found_again() -> None:
    truth = sticky(2, stay=0.9, clear=0.95)
    x = truth.sample(60, 60, rng=0).observations
    found = rs.HMM.fit(x, 2, rng=0, num_restarts=2)
    aligned = rs.align(truth, found)
    assert aligned.transition_error < 0.05
    assert aligned.emission_error < 0.05
    assert found.fitted.converged
    assert found.fitted.log_likelihood == pytest.approx(found.log_likelihood(x).sum(), rel=1e-9)
    assert (np.diff(found.fitted.objective) > -1e-6).all()


@pytest.mark.parametrize("covariance", ["diag", "full"])
def test_a_clear_gaussian_model_is_found_again_through_gaps(covariance: str) -> None:
    truth = gaussian()
    x = truth.sample(40, 60, rng=0).observations
    x[::5, ::7] = np.nan
    found = rs.GaussianHMM.fit(x, 2, covariance=covariance, rng=0, num_restarts=2)
    order = np.argsort(found.means[:, 0])
    np.testing.assert_allclose(found.means[order], truth.means, atol=0.15)
    np.testing.assert_allclose(found.permuted(order).transition_matrix, truth.transition_matrix, atol=0.06)
    assert found.fitted is not None
    assert found.covariance_type == covariance


def test_learning_repeats_with_its_seed_and_leaves_the_data_alone() -> None:
    x = sticky().sample(10, 30, rng=0).observations
    kept = x.copy()
    first, again = (rs.HMM.fit(x, 2, rng=3, num_restarts=2, max_iterations=20) for _ in range(2))
    np.testing.assert_array_equal(first.transition_matrix, again.transition_matrix)
    np.testing.assert_array_equal(x, kept)


def test_symbols_never_seen_are_in_the_alphabet_when_asked_for() -> None:
    x = sticky().sample(10, 20, rng=0).observations
    assert rs.HMM.fit(x, 2, num_symbols=4, num_restarts=1, max_iterations=5).num_symbols == 4
    with pytest.raises(rs.DataError, match="symbol 1"):
        rs.HMM.fit(x, 2, num_symbols=1)


@pytest.mark.parametrize(
    ("fit", "x"),
    [(rs.HMM.fit, np.array([0, 1, 0, 1, 2])), (rs.GaussianHMM.fit, np.array([0.1, 0.4, 0.2, 0.3]))],
    ids=["categorical", "gaussian"],
)
def test_fewer_points_than_parameters_are_refused(fit, x: np.ndarray) -> None:
    with pytest.raises(rs.DataError, match=f"{len(x)} observed steps for the") as caught:
        fit(x, 3)
    assert "fewer states" in caught.value.remedy
    with pytest.raises(rs.ConfigError, match="num_states is 0"):
        fit(x, 0)


def test_missing_steps_do_not_count_as_data() -> None:
    with pytest.raises(rs.DataError, match="3 observed steps"):
        rs.HMM.fit([0, 1, -1, -1, -1, -1, -1, -1, -1, 0], 2)


def test_sequences_without_any_observation_are_refused() -> None:
    with pytest.raises(rs.DataError, match="0 observed steps"):
        rs.HMM.fit([-1, -1, -1, -1], 1)


def test_full_covariances_refuse_partly_missing_steps_in_three_parts() -> None:
    x = gaussian().sample(4, 20, rng=0).observations
    x[0, 3, 1] = np.nan
    with pytest.raises(rs.DataError, match="missing"):
        rs.GaussianHMM.fit(x, 2, covariance="full", num_restarts=1)
