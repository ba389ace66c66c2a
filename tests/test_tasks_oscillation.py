"""Oscillations: the closed form, the noise, the sampling and the season."""

import math

import numpy as np
import pytest

import rnnscope as rs
from rnnscope.core.random import Streams

CLOSED_FORM = {
    "sine": math.sin,
    "cosine": math.cos,
    "combined": lambda t: math.sin(t) + 0.5 * math.sin(2 * t),
    "damped": lambda t: math.exp(-t / 10) * math.sin(t),
}


def record(seed: int = 0, **fields: object) -> rs.Series:
    (series,) = rs.Oscillation(**fields).record(np.random.default_rng(seed)).series
    return series


@pytest.mark.parametrize("signal", CLOSED_FORM)
def test_without_noise_a_signal_is_its_closed_form(signal):
    series = record(signal=signal, num_points=77, duration=9.0, noise_sd=0.0)
    expected = [CLOSED_FORM[signal](9.0 * k / 76) for k in range(77)]
    np.testing.assert_allclose(series.values[:, 0], expected, atol=1e-14)
    np.testing.assert_array_equal(series.values, series.clean)


@pytest.mark.parametrize("signal", CLOSED_FORM)
def test_noise_is_added_to_the_clean_signal_which_is_kept_beside_it(signal):
    noisy, clean = record(signal=signal, noise_sd=0.3), record(signal=signal, noise_sd=0.0)
    np.testing.assert_array_equal(noisy.clean, clean.values)
    assert not np.array_equal(noisy.values, clean.values)


def test_noise_has_mean_zero_and_the_standard_deviation_asked_for():
    series = record(num_points=40_000, noise_sd=0.2)
    noise = (series.values - series.clean)[:, 0]
    assert abs(noise.mean()) < 5 * 0.2 / math.sqrt(40_000)
    assert abs(noise.std() / 0.2 - 1) < 5 / math.sqrt(2 * 40_000)
    assert abs(np.corrcoef(noise[1:], noise[:-1])[0, 1]) < 5 / math.sqrt(40_000)


def test_samples_are_evenly_spaced_from_zero_to_the_duration():
    recording = rs.Oscillation(num_points=31, duration=6.0).record(np.random.default_rng(0))
    times = recording.series[0].times
    assert (times[0], times[-1], len(times)) == (0.0, 6.0, 31)
    np.testing.assert_allclose(np.diff(times), recording.sampling_interval)


@pytest.mark.parametrize("signal", ["sine", "cosine", "combined"])
def test_values_one_season_apart_agree_within_one_sampling_error(signal):
    recording = rs.Oscillation(signal=signal, noise_sd=0.0).record(np.random.default_rng(0))
    values, season = recording.series[0].values[:, 0], recording.season
    steepest = 2.0
    assert np.abs(values[season:] - values[:-season]).max() <= steepest * recording.sampling_interval / 2


def test_the_same_seed_gives_the_same_series_and_another_seed_only_other_noise():
    first, again, other = record(1), record(1), record(2)
    np.testing.assert_array_equal(first.values, again.values)
    np.testing.assert_array_equal(first.clean, other.clean)
    assert not np.array_equal(first.values, other.values)


@pytest.mark.parametrize(("num_points", "window", "horizon"), [(120, 10, 1), (120, 10, 4), (61, 30, 1), (1000, 50, 1)])
def test_every_step_after_the_first_window_is_a_target_of_training_or_of_the_test(num_points, window, horizon):
    task = rs.Oscillation(num_points=num_points, window=window, horizon=horizon)
    data = task.prepare(Streams(0))
    (test,) = data.parts.tests["test"]
    (train,) = data.parts.train
    assert (train.start, train.stop, test.stop) == (0, test.start, num_points)
    assert len(data.train) == train.stop - window - horizon + 1
    assert len(data.monitor) == len(test) - horizon + 1


def test_training_inputs_have_mean_zero_and_standard_deviation_one():
    data = rs.Oscillation(window=20).prepare(Streams(0))
    span = data.parts.train[0]
    seen = data.encoded.inputs[span.start : span.stop, 0].double()
    assert abs(float(seen.mean())) < 1e-6
    assert abs(float(seen.std(correction=0)) - 1) < 1e-6


def test_a_series_shorter_than_one_window_and_its_targets_is_refused():
    with pytest.raises(rs.DataError, match="has 20 steps") as caught:
        rs.Oscillation(num_points=20, window=20).prepare(Streams(0))
    assert "22" in caught.value.expected
    assert "task.window" in caught.value.remedy


@pytest.mark.parametrize("field", [{"signal": "square"}, {"num_points": 0}, {"duration": 0.0}, {"noise_sd": -0.1}])
def test_a_field_out_of_range_is_named(field):
    with pytest.raises(rs.ConfigError, match=next(iter(field))):
        rs.Oscillation(**field)
