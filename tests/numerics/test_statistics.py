"""Comparing forecasts, and intervals that cover what they say."""

import math

import numpy as np
import pytest

from rnnscope.numerics.statistics import adaptive_halfwidths, conformal_quantile, diebold_mariano


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


# Diebold and Mariano


@pytest.mark.parametrize("memory", [0.0, 0.4])
def test_equal_forecasts_are_told_apart_in_five_of_a_hundred_cases(memory: float) -> None:
    repeats, steps = 1500, 300
    errors = rng().standard_normal((2, repeats, steps + 1))
    errors = errors[..., 1:] + memory * errors[..., :-1]  # both forecasts err alike, and may do so with a memory
    found = [diebold_mariano(a**2, b**2)[1] for a, b in zip(*errors, strict=True)]
    assert np.mean(np.array(found) < 0.05) == pytest.approx(0.05, abs=0.02)


def test_a_better_forecast_is_nearly_always_found() -> None:
    worse, better = 1.5 * rng().standard_normal((200, 300)), rng(1).standard_normal((200, 300))
    found = [diebold_mariano(a**2, b**2) for a, b in zip(better, worse, strict=True)]
    assert np.mean([p < 0.05 and statistic < 0 for statistic, p in found]) > 0.95


def test_exchanging_the_forecasts_changes_the_sign_alone() -> None:
    a, b = rng().uniform(size=50), rng(1).uniform(size=50)
    first, second = diebold_mariano(a, b), diebold_mariano(b, a)
    assert first[0] == pytest.approx(-second[0])
    assert first[1] == pytest.approx(second[1])


def test_units_of_the_loss_change_nothing() -> None:
    a, b = rng().uniform(size=50), rng(1).uniform(size=50)
    assert diebold_mariano(3 * a + 1, 3 * b + 1) == pytest.approx(diebold_mariano(a, b))


def test_the_statistic_is_the_mean_over_its_newey_west_error() -> None:
    difference = rng().standard_normal(100)
    lags, count = 4, 100  # floor(4 (100/100)^(2/9))
    mean = difference.mean()
    covariance = [
        sum((difference[t] - mean) * (difference[t - k] - mean) for t in range(k, count)) / count for k in range(lags + 1)
    ]
    variance = covariance[0] + 2 * sum((1 - k / (lags + 1)) * covariance[k] for k in range(1, lags + 1))
    assert diebold_mariano(difference, np.zeros(100))[0] == pytest.approx(mean / math.sqrt(variance / count))


def test_equal_losses_and_too_few_say_nothing() -> None:
    losses = rng().uniform(size=20)
    assert diebold_mariano(losses, losses) == (0.0, 1.0)
    assert diebold_mariano(losses[:2], losses[2:4]) == (0.0, 1.0)


# conformal intervals


@pytest.mark.parametrize("count", [9, 19, 40])
@pytest.mark.parametrize("level", [0.5, 0.8, 0.9])
def test_a_new_score_is_covered_as_often_as_exchangeability_says(count: int, level: float) -> None:
    """Exactly ceil((N + 1) level)/(N + 1) of the time, which is at least the level."""
    repeats = 8000
    scores = rng().exponential(size=(repeats, count + 1))
    covered = np.mean([new <= conformal_quantile(past, level) for past, new in zip(scores[:, :-1], scores[:, -1], strict=True)])
    exact = math.ceil((count + 1) * level) / (count + 1)
    assert exact >= level - 1e-12
    assert covered == pytest.approx(exact, abs=4 * math.sqrt(exact * (1 - exact) / repeats))


def test_the_quantile_is_a_smallest_score_by_rank() -> None:
    scores = np.array([3.0, 1.0, 2.0, 5.0])
    assert [conformal_quantile(scores, level) for level in (0.0, 0.2, 0.4, 0.5, 0.8)] == [0.0, 1.0, 2.0, 3.0, 5.0]
    assert conformal_quantile(scores, 0.81) == math.inf
    assert conformal_quantile(scores, 1.0) == math.inf
    assert conformal_quantile(np.empty(0), 0.5) == math.inf


def test_the_quantile_leaves_its_scores_alone() -> None:
    scores = rng().uniform(size=30)
    kept = scores.copy()
    conformal_quantile(scores, 0.7)
    np.testing.assert_array_equal(scores, kept)


# adaptive intervals

STEPS = 5000
DRIFTS = {
    "none": np.ones(STEPS),
    "growing": np.linspace(1, 5, STEPS),
    "shrinking": np.linspace(5, 1, STEPS),
    "jump": np.where(np.arange(STEPS) < STEPS // 2, 1.0, 4.0),
    "waves": 2 + np.sin(np.arange(STEPS) / 100),
}


def coverage(errors: np.ndarray, level: float, rate: float = 0.05) -> float:
    past = np.abs(rng(9).standard_normal(200))
    return float(np.mean(errors <= adaptive_halfwidths(past, errors, level, rate)))


@pytest.mark.parametrize("level", [0.5, 0.8, 0.9, 0.95])
@pytest.mark.parametrize("drift", DRIFTS.values(), ids=DRIFTS.keys())
def test_adaptive_intervals_cover_in_the_long_run_under_a_drift(drift: np.ndarray, level: float) -> None:
    errors = np.abs(rng().standard_normal(STEPS)) * drift
    assert coverage(errors, level) == pytest.approx(level, abs=0.02)


@pytest.mark.parametrize("doubling", [500.0, 50.0, 5.0, 1.0])
@pytest.mark.parametrize("level", [0.8, 0.95])
def test_adaptive_intervals_cover_in_the_long_run_also_errors_that_outgrow_all_before(doubling: float, level: float) -> None:
    steps = 1000
    errors = (0.5 + rng().uniform(size=steps)) * 2.0 ** (np.arange(steps) / doubling)
    assert coverage(errors, level) == pytest.approx(level, abs=0.05)


def test_a_fixed_interval_would_not_cover_after_the_jump() -> None:
    """So that the test above tests something."""
    errors = np.abs(rng().standard_normal(STEPS)) * DRIFTS["jump"]
    fixed = conformal_quantile(errors[: STEPS // 2], 0.9)
    assert np.mean(errors[STEPS // 2 :] <= fixed) < 0.5


def test_a_half_width_knows_nothing_of_its_own_step_or_later_ones() -> None:
    past, errors = np.abs(rng().standard_normal(50)), np.abs(rng(1).standard_normal(40))
    before = adaptive_halfwidths(past, errors, 0.8)
    for t in (0, 10, 39):
        changed = errors.copy()
        changed[t:] = 1e6
        np.testing.assert_array_equal(adaptive_halfwidths(past, changed, 0.8)[: t + 1], before[: t + 1])


def test_half_widths_scale_with_the_errors() -> None:
    past, errors = np.abs(rng().standard_normal(50)), np.abs(rng(1).standard_normal(40))
    np.testing.assert_allclose(adaptive_halfwidths(3 * past, 3 * errors, 0.8), 3 * adaptive_halfwidths(past, errors, 0.8))
