"""Gaussian emissions against scipy and hmmlearn."""

import numpy as np
import pytest
from scipy import stats

from rnnscope.numerics import hmm, hmm_gaussian

hmmlearn = pytest.importorskip("hmmlearn.hmm")


def random_model(rng, num_states, num_features, kind):
    roots = rng.normal(size=(num_states, num_features, num_features))
    covariances = roots @ roots.transpose(0, 2, 1) + 0.3 * np.eye(num_features)
    if kind == "diag":
        covariances = np.einsum("sdd->sd", covariances).copy()
    initial, matrix = rng.dirichlet(np.ones(num_states)), rng.dirichlet(np.ones(num_states), num_states)
    return initial, matrix, 2 * rng.normal(size=(num_states, num_features)), covariances


@pytest.mark.parametrize("kind", ["diag", "full"])
def test_densities_are_marginals_over_missing_components(kind):
    rng = np.random.default_rng(0)
    _, _, means, covariances = random_model(rng, 2, 3, kind)
    x = rng.normal(size=(4, 6, 3))
    x[rng.random(x.shape) < 0.3] = np.nan
    x[0, 0] = np.nan
    found = hmm_gaussian.gaussian_log_densities(x, means, covariances)
    for n, t, s in np.ndindex(4, 6, 2):
        seen = ~np.isnan(x[n, t])
        whole = np.diag(covariances[s]) if kind == "diag" else covariances[s]
        expected = 0.0
        if seen.any():
            expected = stats.multivariate_normal(means[s][seen], whole[np.ix_(seen, seen)]).logpdf(x[n, t, seen])
        assert found[n, t, s] == pytest.approx(expected)


@pytest.mark.parametrize("kind", ["diag", "full"])
@pytest.mark.parametrize("shape", [(70, 30), (1, 5000)])
@pytest.mark.parametrize(("precision", "near"), [("float64", 1e-9), ("float32", 1e-6)])
def test_passes_agree_with_hmmlearn(kind, shape, precision, near):
    rng = np.random.default_rng(1)
    initial, matrix, means, covariances = random_model(rng, 3, 2, kind)
    x, lengths = 2 * rng.normal(size=(*shape, 2)), np.full(shape[0], shape[1])
    peer = hmmlearn.GaussianHMM(3, covariance_type=kind)
    peer.startprob_, peer.transmat_, peer.means_, peer.covars_ = initial, matrix, means, covariances
    score, posterior = peer.score(x.reshape(-1, 2), lengths), peer.predict_proba(x.reshape(-1, 2), lengths)
    levels = hmm_gaussian.gaussian_log_likelihood(x, lengths, initial, matrix, means, covariances, precision=precision)
    assert levels.sum() == pytest.approx(score, rel=near)
    counts = hmm_gaussian.gaussian_expected_counts(x, lengths, initial, matrix, means, covariances, precision=precision)
    np.testing.assert_allclose(counts[2].reshape(-1, 3), posterior, atol=near * 10)
    densities = hmm_gaussian.gaussian_log_densities(x, means, covariances)
    by_densities = hmm.expected_counts_from_densities(densities, lengths, initial, matrix, precision=precision)
    np.testing.assert_allclose(by_densities.transition, counts[1], rtol=near * 100)
    paths, log_prob = hmm.most_likely_states_from_densities(densities, lengths, initial, matrix, precision=precision)
    best, states = peer.decode(x.reshape(-1, 2), lengths)
    assert log_prob.sum() == pytest.approx(best, rel=near)
    assert np.array_equal(paths.reshape(-1), states)


def test_missing_components_in_the_fused_pass_equal_the_densities():
    rng = np.random.default_rng(2)
    initial, matrix, means, variances = random_model(rng, 3, 2, "diag")
    x = rng.normal(size=(5, 40, 2))
    x[rng.random(x.shape) < 0.3] = np.nan
    lengths = np.array([40, 1, 17, 40, 3])
    fused = hmm_gaussian.gaussian_log_likelihood(x, lengths, initial, matrix, means, variances)
    densities = hmm_gaussian.gaussian_log_densities(x, means, variances)
    np.testing.assert_allclose(fused, hmm.log_likelihood_from_densities(densities, lengths, initial, matrix))
