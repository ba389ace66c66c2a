import numpy as np
import pytest

from rnnscope.numerics.anomaly_scores import (
    fit_linear,
    fit_subspace,
    linear_residuals,
    matrix_profile,
    spread_over_steps,
    typical_period,
)


def scaled(x, size):
    """All windows, each to mean 0 and norm sqrt(size); zeros where constant."""
    windows = np.lib.stride_tricks.sliding_window_view(x, size)
    windows = windows - windows.mean(1, keepdims=True)
    spread = windows.std(1, keepdims=True)
    return np.where(spread > 1e-13, windows / np.maximum(spread, 1e-13), 0.0)


def brute_force(x, size, exclusion, *, y=None, past=False):
    """The definition, for every pair of windows."""
    a, b = scaled(x, size), scaled(x if y is None else y, size)
    distances = np.linalg.norm(a[:, None] - b[None], axis=2)  # sqrt(size) beside a constant window, whose scaled form is 0
    if y is None:
        i, j = np.indices(distances.shape)
        distances[(abs(i - j) <= exclusion) | (past & (j > i))] = np.inf
    return distances.min(1)


@pytest.mark.parametrize("size", [3, 7, 16])
@pytest.mark.parametrize("past", [False, True])
def test_the_matrix_profile_is_that_of_its_definition(size, past):
    x = np.random.default_rng(size).normal(size=120).cumsum()
    expected = brute_force(x, size, -(-size // 4), past=past)
    np.testing.assert_allclose(matrix_profile(x, size, past_only=past).distances, expected, atol=1e-6)


def test_the_profile_against_a_training_part_is_that_of_its_definition():
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=60), rng.normal(size=90)
    np.testing.assert_allclose(matrix_profile(x, 8, reference=y).distances, brute_force(x, 8, 0, y=y), atol=1e-7)


def test_constant_windows_have_distances_too():
    x = np.random.default_rng(0).normal(size=100)
    x[20:35] = 1.0
    x[60:75] = -3.0
    np.testing.assert_allclose(matrix_profile(x, 10).distances, brute_force(x, 10, 3), atol=1e-6)


def test_a_spike_of_a_million_does_not_blur_the_windows_behind_it():
    x = np.random.default_rng(0).normal(size=700)
    x[100] = 1e6
    np.testing.assert_allclose(matrix_profile(x, 6).distances[110:160], brute_force(x, 6, 2)[110:160], atol=1e-4)


def test_neighbours_are_the_windows_at_that_distance():
    x = np.random.default_rng(2).normal(size=150)
    found = matrix_profile(x, 9)
    for i in (0, 40, 141):
        j = found.neighbours[i]
        distance = np.linalg.norm(scaled(x, 9)[i] - scaled(x, 9)[j])
        assert distance == pytest.approx(found.distances[i])


def test_the_profile_does_not_depend_on_location_and_scale():
    x = np.random.default_rng(3).normal(size=200)
    np.testing.assert_allclose(matrix_profile(x, 12).distances, matrix_profile(5 - 1e3 * x, 12).distances, atol=1e-6)


def test_spread_scores_are_means_over_the_windows_that_hold_a_step():
    scores = np.random.default_rng(0).random(30)
    found = spread_over_steps(scores, 5, 34)
    for step in range(34):
        own = [scores[i] for i in range(30) if i <= step < i + 5]
        assert found[step] == pytest.approx(np.mean(own))


def test_windows_inside_the_subspace_have_no_error():
    steps = np.arange(300)
    wave = np.sin(steps / 5) + 0.5 * np.sin(steps / 2.5 + 1)
    fit = fit_subspace(wave, 20, 0.99999)
    assert fit.axes.shape == (4, 20)
    np.testing.assert_allclose(fit.axes @ fit.axes.T, np.eye(4), atol=1e-12)
    assert fit.errors(wave).max() < 1e-9
    broken = wave.copy()
    broken[150] += 1
    assert fit.errors(broken)[131:151].min() > 0.02


def test_residuals_of_an_autoregressive_series_are_its_noise():
    rng = np.random.default_rng(0)
    noise, x = rng.normal(size=4000), np.zeros(4000)
    for t in range(2, 4000):
        x[t] = 1.2 * x[t - 1] - 0.5 * x[t - 2] + noise[t]
    fit = fit_linear(x[:, None], (1, 2, 3, 4))
    residual = linear_residuals(fit, x[:, None])[:, 0]
    assert np.isnan(residual[: fit.order]).all()
    np.testing.assert_allclose(residual[fit.order :], noise[fit.order :], atol=0.25)


def test_the_typical_period_is_that_of_a_sine_and_never_more_than_a_quarter():
    assert typical_period(np.sin(2 * np.pi * np.arange(1000) / 40)) == 40
    assert typical_period(np.ones(100)) == 25
    assert typical_period(np.arange(6.0)) == 3


@pytest.mark.parametrize("values", [np.arange(9.0), np.array([*np.arange(30.0), np.nan])])
def test_series_that_are_too_short_or_not_finite_are_refused(values):
    with pytest.raises(ValueError, match=r"steps"):
        matrix_profile(values, 5)
