"""Logistic regression: closed forms, scikit-learn's optimum, and separation."""

import numpy as np
import pytest
from scipy.special import expit, logit
from sklearn.linear_model import LogisticRegression

from rnnscope.numerics.logistic import fit_logistic, information, log_loss, separable, with_constant


def overlapping(seed=0, count=300):
    rng = np.random.default_rng(seed)
    rows = rng.normal(size=(count, 2)) * [3.0, 0.5] + [5.0, -1.0]
    return rows, rng.random(count) < expit(rows @ [0.5, -1.5] - 3.0)


def test_a_constant_alone_gives_the_log_odds_of_the_share():
    labels = np.arange(10) < 3
    found = fit_logistic(np.zeros((10, 1)), labels)
    assert found.coefficients[0] == pytest.approx(logit(0.3))


def test_the_optimum_is_scikit_learns():
    rows, labels = overlapping()
    found = fit_logistic(rows, labels)
    other = LogisticRegression(C=np.inf, tol=1e-10, max_iter=10_000).fit(rows, labels)
    np.testing.assert_allclose(found.coefficients, [other.intercept_[0], *other.coef_[0]], rtol=1e-4)
    assert found.converged


def test_the_penalty_is_scikit_learns():
    rows, labels = overlapping()
    found = fit_logistic(rows, labels, penalty=0.1)
    other = LogisticRegression(C=1 / (0.1 * len(rows)), tol=1e-10, max_iter=10_000).fit(rows, labels)
    np.testing.assert_allclose(found.coefficients, [other.intercept_[0], *other.coef_[0]], rtol=1e-4)


def test_the_covariance_is_the_inverse_of_the_losses_second_differences():
    rows, labels = overlapping()
    found = fit_logistic(rows, labels)
    design, step = with_constant(rows), 1e-4
    basis = step * np.eye(3)

    def total(move):
        return len(rows) * log_loss(design, labels, found.coefficients + move)

    second = [[(total(a + b) - total(a - b) - total(b - a) + total(-a - b)) / (4 * step**2) for a in basis] for b in basis]
    np.testing.assert_allclose(information(design, found.coefficients), second, rtol=1e-3)
    np.testing.assert_allclose(found.covariance @ np.array(second), np.eye(3), atol=1e-2)


def test_intervals_cover_the_truth_as_often_as_they_say():
    truth, inside = np.array([-3.0, 0.5, -1.5]), []
    for seed in range(200):
        found = fit_logistic(*overlapping(seed))
        inside.append(np.abs(found.coefficients - truth) < 1.96 * np.sqrt(np.diag(found.covariance)))
    assert np.abs(np.mean(inside, 0) - 0.95).max() < 0.04


def test_separation_is_found_however_the_features_are_scaled_and_shifted():
    rng = np.random.default_rng(1)
    rows = rng.random((200, 2)) * [1000.0, 1e-3] + [0.0, 5.0]
    labels = rows[:, 0] / 1000 + (rows[:, 1] - 5.0) * 1000 > 1
    assert separable(rows, labels)
    labels[np.argsort(rows[:, 0])[:1]] = True
    assert not separable(rows, labels)


def test_points_on_the_boundary_itself_count_as_separated():
    rows = np.array([[0.0], [1.0], [1.0], [2.0]])
    assert separable(rows, np.array([False, False, True, True]))


def test_separated_classes_have_no_optimum():
    rows = np.linspace(-1, 1, 20)[:, None]
    found = fit_logistic(rows, rows[:, 0] > 0)
    assert not found.converged
