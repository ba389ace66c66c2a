"""Baum-Welch: the objective never falls, and what was sampled is found again."""

import numpy as np
import pytest

from rnnscope.numerics import baum_welch, hmm
from rnnscope.numerics.baum_welch import CategoricalParameters, PseudoCounts

MATRIX = 0.9 * np.eye(3) + 0.1 / 3
EMISSION = np.array([[0.8, 0.1, 0.1], [0.1, 0.8, 0.1], [0.1, 0.1, 0.8]])
LENGTHS = np.full(150, 100)


@pytest.fixture(scope="module")
def sampled():
    return hmm.sample(np.full(3, 1 / 3), MATRIX, EMISSION, 150, 100, np.random.default_rng(0))


@pytest.mark.parametrize("precision", ["float64", "float32"])
def test_categorical_parameters_are_recovered_and_the_objective_rises(sampled, precision):
    found = baum_welch.fit_categorical(sampled[0], LENGTHS, 3, 3, rng=np.random.default_rng(1), precision=precision)
    assert found.converged
    assert (np.diff(found.objective) >= 0).all()
    order = np.argsort(found.parameters.emission_probs.argmax(1))
    np.testing.assert_allclose(found.parameters.emission_probs[order], EMISSION, atol=0.05)
    np.testing.assert_allclose(found.parameters.transition_matrix[np.ix_(order, order)], MATRIX, atol=0.05)
    args = sampled[0], LENGTHS, np.full(3, 1 / 3), MATRIX, EMISSION
    assert found.log_likelihood > hmm.log_likelihood(*args).sum() - 1
    assert found.objective[-1] == found.finals.max()
    assert len(found.objective) == found.iterations + 1


@pytest.mark.parametrize("kind", ["diag", "full"])
@pytest.mark.parametrize("missing", [False, True])
def test_gaussian_means_are_recovered_with_missing_steps(sampled, kind, missing):
    rng = np.random.default_rng(2)
    means = np.array([[0.0, 0.0], [3.0, 0.0], [0.0, 3.0]])
    x = means[sampled[1]] + rng.normal(size=(150, 100, 2))
    if missing:
        x[rng.random(x.shape if kind == "diag" else x.shape[:2]) < 0.1] = np.nan
    found = baum_welch.fit_gaussian(x, LENGTHS, 3, rng=rng, covariance=kind, num_restarts=3)
    assert (np.diff(found.objective) >= 0).all()
    order = np.argsort(found.parameters.means @ [1, 2])
    np.testing.assert_allclose(found.parameters.means[order], means, atol=0.1)
    spread = found.parameters.covariances if kind == "diag" else np.einsum("sdd->sd", found.parameters.covariances)
    np.testing.assert_allclose(spread, 1, atol=0.15)


def test_a_state_does_not_shrink_onto_one_point():
    rng = np.random.default_rng(3)
    x = rng.normal(size=(1, 200, 1))
    x[0, 50] = 1000.0
    found = baum_welch.fit_gaussian(x, np.array([200]), 4, rng=rng)
    assert np.isfinite(found.log_likelihood)
    assert found.parameters.covariances.min() > 1e-3


def test_the_start_is_used_and_an_impossible_one_is_told():
    start = CategoricalParameters(np.array([1.0, 0.0]), np.eye(2), np.array([[1.0, 0.0], [0.0, 1.0]]))
    found = baum_welch.fit_categorical(np.array([[0, 1]]), np.array([2]), 2, 2, rng=np.random.default_rng(0), start=start)
    assert "probability zero" in found.reason
    assert not found.converged


def test_pseudo_counts_of_zero_give_maximum_likelihood_in_one_state():
    symbols = np.array([[0, 0, 1, -1]])
    none = PseudoCounts(0, 0, 0)
    found = baum_welch.fit_categorical(symbols, np.array([4]), 1, 2, rng=np.random.default_rng(0), pseudo_counts=none)
    np.testing.assert_allclose(found.parameters.emission_probs, [[2 / 3, 1 / 3]])


def test_partly_missing_steps_are_refused_for_full_covariances():
    x = np.array([[[0.0, np.nan], [1.0, 2.0]]])
    with pytest.raises(ValueError, match="diag"):
        baum_welch.fit_gaussian(x, np.array([2]), 1, rng=np.random.default_rng(0), covariance="full")
