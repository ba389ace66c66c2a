"""Scores of forecasts."""

import numpy as np
import pytest

from rnnscope.numerics.metrics import find_season, forecast_scores, mean_seen, naive_scale


def noise(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape)


def test_scores_are_their_definitions() -> None:
    truth, forecast = noise(40, 1), noise(40, 1, seed=1)
    errors = [float(a - b) for a, b in zip(truth[:, 0], forecast[:, 0], strict=True)]
    mean = sum(truth[:, 0]) / 40
    found = forecast_scores(truth, forecast, 2.0)
    assert found["mse"] == pytest.approx(sum(e * e for e in errors) / 40)
    assert found["rmse"] == pytest.approx((sum(e * e for e in errors) / 40) ** 0.5)
    assert found["mae"] == pytest.approx(sum(abs(e) for e in errors) / 40)
    assert found["mase"] == pytest.approx(sum(abs(e) for e in errors) / 80)
    assert found["r2"] == pytest.approx(1 - sum(e * e for e in errors) / sum((x - mean) ** 2 for x in truth[:, 0]))


def test_a_perfect_forecast_has_no_error_and_the_mean_explains_nothing() -> None:
    truth = noise(30, 2)
    assert forecast_scores(truth, truth, 1.0) == {"mse": 0.0, "rmse": 0.0, "mae": 0.0, "r2": 1.0, "mase": 0.0}
    assert forecast_scores(truth, np.broadcast_to(truth.mean(0), truth.shape), 1.0)["r2"] == pytest.approx(0)


def test_scores_of_several_variables_are_averages() -> None:
    truth, forecast = noise(30, 3), noise(30, 3, seed=1)
    whole = forecast_scores(truth, forecast, 1.0)
    each = [forecast_scores(truth[:, [v]], forecast[:, [v]], 1.0) for v in range(3)]
    for name in ("mse", "mae", "r2", "mase"):
        assert whole[name] == pytest.approx(np.mean([one[name] for one in each]))


def test_shifts_change_nothing_and_units_scale() -> None:
    truth, forecast = noise(30, 2), noise(30, 2, seed=1)
    plain, moved = forecast_scores(truth, forecast, 1.5), forecast_scores(3 * truth + 7, 3 * forecast + 7, 4.5)
    for name, power in (("mse", 9), ("rmse", 3), ("mae", 3), ("r2", 1), ("mase", 1)):
        assert moved[name] == pytest.approx(power * plain[name])


def test_what_has_no_scale_has_no_score() -> None:
    truth = np.ones((5, 1))
    found = forecast_scores(truth, truth + 1, float("nan"))
    assert np.isnan(found["r2"])
    assert np.isnan(found["mase"])
    assert found["mse"] == 1.0
    both = np.concatenate([truth, noise(5, 1)], 1)
    assert np.isfinite(forecast_scores(both, both, 1.0)["r2"])  # of the variable that varies


def test_steps_without_a_truth_do_not_count() -> None:
    truth, forecast = noise(40, 1), noise(40, 1, seed=1)
    gaps = truth.copy()
    gaps[::3] = np.nan
    kept = np.arange(40) % 3 > 0
    assert forecast_scores(gaps, forecast, 2.0) == pytest.approx(forecast_scores(truth[kept], forecast[kept], 2.0))
    nothing = forecast_scores(np.full((5, 1), np.nan), np.zeros((5, 1)), 1.0)
    assert all(np.isnan(score) for score in nothing.values())


def test_a_mean_of_what_is_seen_is_the_mean_of_the_rest() -> None:
    values = noise(6, 5, 2)
    values[1:4, :, 0] = np.nan
    values[:, 2, 1] = np.nan
    found = mean_seen(values, (0,))
    assert found[0, 0] == pytest.approx(values[[0, 4, 5], 0, 0].mean())
    assert np.isnan(found[2, 1])
    assert found[3, 1] == pytest.approx(values[:, 3, 1].mean())


def test_the_naive_forecast_has_a_scaled_error_of_one_on_its_own_part() -> None:
    path = noise(50, 1).cumsum(0)
    for season in (1, 4):
        scale = naive_scale([path], season)
        assert forecast_scores(path[season:], path[:-season], scale)["mase"] == pytest.approx(1)


def test_the_naive_scale_does_not_step_from_one_piece_to_the_next() -> None:
    assert naive_scale([np.array([[0.0], [1.0]]), np.array([[100.0], [101.0], [102.0]]), np.zeros((1, 1))]) == 1.0
    assert np.isnan(naive_scale([np.zeros((3, 1))], 3))


@pytest.mark.parametrize("period", [7, 12, 50])
def test_the_season_of_a_noisy_wave_on_a_trend_is_its_period(period: int) -> None:
    steps = np.arange(10 * period)
    wave = np.sin(2 * np.pi * steps / period) + 0.1 * noise(len(steps)) + 0.01 * steps
    assert find_season(wave) == period


def test_the_season_is_the_fundamental_not_a_multiple_or_a_harmonic() -> None:
    steps = np.arange(400)
    wave = np.sin(2 * np.pi * steps / 20) + 0.5 * np.sin(4 * np.pi * steps / 20)
    assert find_season(wave) == 20


def test_there_is_no_season_in_a_constant_a_line_or_half_a_wave() -> None:
    steps = np.arange(100.0)
    assert find_season(np.sin(np.pi * steps / 150)) is None
    assert find_season(np.full(100, 0.1)) is None
    assert find_season(0.1 * steps + 3) is None
    assert find_season(noise(2000)) is None
