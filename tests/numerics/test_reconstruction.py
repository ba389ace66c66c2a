"""Scores of a reconstruction: closed forms, what each score is blind to, and the floors of Lorenz-63."""

import math

import numpy as np
import pytest
import torch

import rnnscope as rs
from rnnscope.numerics.integrate import integrate
from rnnscope.numerics.reconstruction import Score, prediction_time, resolvable_bins
from rnnscope.numerics.reconstruction_measures import phase_surrogate, smoothed_spectrum
from rnnscope.tasks.ode import Lorenz63


def noise(steps=2000, variables=2, seed=0):
    """Filtered noise, standardised."""
    drawn = np.random.default_rng(seed).standard_normal((steps + 8, variables))
    smooth = np.stack([drawn[k : k + steps] for k in range(8)]).mean(0)
    return (smooth - smooth.mean(0)) / smooth.std(0)


def sine(period, steps=1000, phase=0.0, size=1.0):
    return size * np.sin(2 * np.pi * np.arange(steps) / period + phase)[:, None]


def brute_d_stsp(true, made, bins, alpha=1e-5):
    """The definition, point by point."""
    low = true.min(0) - 0.1 * true.std(0)
    width = (true.max(0) + 0.1 * true.std(0) - low) / bins

    def counts(points):
        found = {}
        for point in points:
            cell = tuple(math.floor(v) for v in (point - low) / width)
            cell = cell if all(0 <= c < bins for c in cell) else "outside"
            found[cell] = found.get(cell, 0) + 1
        return found

    p, q = counts(true), counts(made)
    cells = bins ** true.shape[1] + 1
    total = 0.0
    for cell in set(p) | set(q):
        a = (p.get(cell, 0) + alpha) / (len(true) + alpha * cells)
        b = (q.get(cell, 0) + alpha) / (len(made) + alpha * cells)
        total += a * math.log(a / b)
    empty = cells - len(set(p) | set(q))
    a, b = alpha / (len(true) + alpha * cells), alpha / (len(made) + alpha * cells)
    return total + empty * a * math.log(a / b)


@pytest.mark.parametrize("variables", [1, 2, 3])
def test_d_stsp_is_its_definition_counted_point_by_point(variables):
    true, made = noise(300, variables), 1.2 * noise(200, variables, 1) + 0.1
    found = rs.reconstruction_scores(true, made, num_bins=6)
    assert found.d_stsp.value == pytest.approx(brute_d_stsp(true, made, 6), abs=1e-12)


def test_a_series_scores_0_against_itself():
    found = rs.reconstruction_scores(noise(), noise())
    assert found.d_stsp.value == 0
    assert found.d_h.value == pytest.approx(0, abs=1e-7)


def test_half_of_the_points_outside_of_the_range_cost_ln_2():
    true = noise()
    found = rs.reconstruction_scores(true, np.concatenate([true, true + 100]), num_bins=8)
    assert found.d_stsp.value == pytest.approx(math.log(2), rel=1e-3)


def test_shuffling_in_time_shows_in_d_h_alone_and_shuffling_phases_in_d_stsp_alone():
    path = integrate(lambda s, t: Lorenz63().derivative(s, t, np, None), np.ones((1, 3)), 0.02, 6000)[0, 1000:]
    found = rs.reconstruction_scores(path, path, num_bins=12)
    assert found.d_stsp.failures["shuffled in time"] == 0
    assert found.d_h.failures["shuffled in time"] > 0.5
    assert found.d_stsp.failures["phases shuffled"] > 1
    assert found.d_h.failures["phases shuffled"] < 1e-3
    assert found.d_stsp.failures["constant"] > 10
    assert found.d_h.failures["constant"] == 1


def test_d_h_of_unlike_rhythms_is_1_and_neither_phase_nor_size_matters():
    assert rs.reconstruction_scores(sine(20), sine(5), smoothing=2).d_h.value > 0.98
    assert rs.reconstruction_scores(sine(20), sine(20, phase=1.0, size=3.0), smoothing=2).d_h.value < 0.01


def test_d_h_is_the_hellinger_distance_of_smoothed_spectra():
    true, made = noise(512), sine(9, 512) + 0.1 * noise(512, 1, 3)
    made = np.hstack([made, made])
    p, q = smoothed_spectrum(true[None], 20.0), smoothed_spectrum(made[None], 20.0)
    expected = np.mean([math.sqrt(0.5 * np.sum((np.sqrt(p[:, d]) - np.sqrt(q[:, d])) ** 2)) for d in range(2)])
    assert rs.reconstruction_scores(true, made).d_h.value == pytest.approx(expected, abs=1e-12)


def test_a_smoothed_spectrum_sums_to_1_and_peaks_at_its_frequency():
    found = smoothed_spectrum(sine(20)[None], 2.0)
    assert found.sum() == pytest.approx(1)
    assert found[:, 0].argmax() == 50


def test_a_surrogate_keeps_mean_spectra_and_cross_spectra():
    true = noise(501, 3)[None] + 2
    found = phase_surrogate(true, np.random.default_rng(0))
    before, after = np.fft.rfft(true, axis=1), np.fft.rfft(found, axis=1)
    np.testing.assert_allclose(found.mean(1), true.mean(1))
    np.testing.assert_allclose(after[..., 0] * after[..., 1].conj(), before[..., 0] * before[..., 1].conj(), atol=1e-8)
    assert np.abs(found - true).max() > 1


def test_mixtures_of_shifted_gaussians_have_the_closed_form():
    rng = np.random.default_rng(0)
    true, made = rng.standard_normal((2, 8000, 5))
    found = rs.reconstruction_scores(true, made + 0.5, mixture_variance=0.5)
    assert found.num_bins is None
    assert found.d_stsp.value == pytest.approx(5 * 0.25 / (2 * 1.5), abs=0.08)  # |shift|² / (2 (1 + variance))
    assert found.d_stsp.floor < 0.05


def test_another_stretch_of_the_same_process_is_at_the_floor_and_another_process_is_not():
    true = noise(8000)
    same = rs.reconstruction_scores(true, noise(8000, seed=1), num_bins=12)
    assert same.d_h.matched < same.d_h.floor + 4 * same.d_h.floor_sd
    assert abs(same.d_stsp.excess) < 0.1
    other = rs.reconstruction_scores(true, noise(8000, seed=1) ** 3, num_bins=12)
    assert not other.d_stsp.at_floor
    assert other.d_stsp.matched > 5 * other.d_stsp.floor
    assert other.d_stsp.excess > 1


def test_a_linear_process_is_its_own_surrogate_so_that_the_excess_is_measured_against_a_wider_one():
    true = noise(8000)
    found = rs.reconstruction_scores(true, 1.5 * noise(8000, seed=1), num_bins=12).d_stsp
    assert found.failures["phases shuffled"] < found.floor < found.failures["stretched by half"]
    assert found.excess == pytest.approx(1, abs=0.3)


def test_where_no_failure_leaves_the_floor_nothing_can_be_said():
    failures = dict.fromkeys(("constant", "stretched by half", "phases shuffled", "shuffled in time"), 1.0)
    assert math.isnan(Score(1.0, 1.0, 0.9, 0.1, failures).excess)


@pytest.mark.parametrize(
    ("true", "made", "matched"),
    [((1000, 2), (1000, 2), 500), ((1000, 2), (100, 2), 100), ((6, 200, 2), (2, 5000, 2), 600), ((2, 200, 1), (1, 30, 1), 30)],
)
def test_floor_and_matched_scores_use_as_many_points(true, made, matched):
    rng = np.random.default_rng(0)
    found = rs.reconstruction_scores(rng.standard_normal(true), rng.standard_normal(made), num_bins=4)
    assert found.num_matched == matched
    assert found.num_true == math.prod(true[:-1])
    assert found.num_generated == math.prod(made[:-1])


def test_the_chosen_number_of_bins_grows_with_the_points():
    few, many = (resolvable_bins(noise(steps, 3)[None]) for steps in (500, 20000))
    assert 4 <= few < many <= 30
    assert resolvable_bins(noise(50000, 1)[None]) == 30
    assert rs.reconstruction_scores(noise(500, 3), noise(500, 3), num_bins=None).num_bins == few


# divergence


@pytest.mark.parametrize("gone", [np.nan, np.inf, 1e300])
@pytest.mark.parametrize("variables", [2, 4])
def test_a_series_that_diverges_is_scored_and_said_so(gone, variables):
    true, made = noise(1000, variables), noise(1000, variables, 1)
    made[600:] = gone
    found = rs.reconstruction_scores(true, made, num_bins=6)
    assert (found.diverged_at, found.diverged_share) == (600, 0.4)
    assert found.d_stsp.value > -math.log(0.6) - 0.1
    assert found.d_h.value == 1
    assert "leaves the finite numbers at step 600" in found.summary


def test_one_of_two_diverged_sequences_costs_half_of_d_h():
    true = noise(1000)
    found = rs.reconstruction_scores(true, np.stack([true, np.full_like(true, np.nan)]))
    assert found.d_h.value == pytest.approx(0.5)
    assert found.d_stsp.value == pytest.approx(math.log(2), rel=1e-2)


@pytest.mark.parametrize("made", [np.full((400, 4), np.nan), 1e6 + noise(400, 4)])
def test_a_mixture_that_is_missed_altogether_is_as_far_as_its_pseudo_count_says(made):
    found = rs.reconstruction_scores(noise(400, 4), made)
    assert found.d_stsp.value == pytest.approx(math.log(400 / 1e-5))
    assert found.diverged_at == (0 if np.isnan(made).any() else None)


# valid prediction time


def test_valid_steps_of_an_error_that_grows_exponentially():
    truth = np.zeros((3, 200, 2))
    sizes = np.array([1e-6, 1e-3, 1e-12])
    error = sizes[:, None, None] * np.exp(0.1 * np.arange(200))[None, :, None]
    found = prediction_time(truth, truth + np.array([1.0, 2.0]) * error, np.array([1.0, 2.0]), 0.4, 0.5, 5.0)
    expected = [math.floor(math.log(0.4 / s) / 0.1) + 1 for s in sizes]
    np.testing.assert_array_equal(found.steps, np.minimum(expected, 200))
    assert found.median == expected[0]
    assert found.time == expected[0] * 0.5
    assert found.lyapunov_times == pytest.approx(expected[0] * 0.1)
    assert found.share_never == pytest.approx(1 / 3)


def test_forecasts_that_never_fail_give_a_lower_bound_and_diverged_ones_end():
    truth = np.stack([noise(100, seed=s) for s in range(8)])
    perfect = prediction_time(truth, truth, np.ones(2))
    assert (perfect.median, perfect.share_never) == (100, 1)
    assert "at least 100 steps" in perfect.summary
    assert all(steps < 50 for steps in perfect.failures.values())
    assert (perfect.time, perfect.lyapunov_times) == (None, None)
    broken = truth.copy()
    broken[:, 7:] = np.nan
    assert prediction_time(truth, broken, np.ones(2)).median == 7


def test_forecasts_join_the_other_scores():
    truth = noise(1000).reshape(10, 100, 2)
    found = rs.reconstruction_scores(noise(1000), noise(1000, seed=1), forecasts=(truth, truth), lyapunov_time=20.0)
    assert found.prediction_time is not None
    assert found.prediction_time.lyapunov_times == 5
    assert "D_stsp" in found.summary
    assert "5 Lyapunov times" in found.summary


# purity and bad input


def test_arguments_stay_as_they_are_and_tensors_give_the_same_numbers():
    true, made = noise(), noise(seed=1)
    made[-1] = np.inf
    before = true.copy(), made.copy()
    one = rs.reconstruction_scores(true, made)
    np.testing.assert_array_equal(true, before[0])
    np.testing.assert_array_equal(made, before[1])
    other = rs.reconstruction_scores(torch.from_numpy(true), torch.from_numpy(made).requires_grad_())
    assert (one.d_stsp, one.d_h) == (other.d_stsp, other.d_h)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"true": noise(1000, 3)}, "3 variables"),
        ({"true": np.zeros((1, 2, 3, 4))}, "shape"),
        ({"true": noise(30)}, "30 steps"),
        ({"generated": noise(10)}, "generated 10"),
        ({"true": np.where(np.arange(1000)[:, None] == 5, np.nan, noise(1000))}, "NaN"),
        ({"true": np.hstack([noise(1000, 1), np.ones((1000, 1))])}, "variable 1 of true is constant"),
        ({"num_bins": 1}, "num_bins is 1"),
        ({"smoothing": -1.0}, "smoothing"),
        ({"true": noise(200, 4), "generated": noise(200, 4), "mixture_variance": 0.0}, "mixture_variance"),
        ({"forecasts": (np.zeros((2, 5, 2)), np.zeros((2, 6, 2)))}, "forecasts have shape"),
        ({"forecasts": (np.zeros((2, 5, 2)), np.zeros((2, 5, 2))), "threshold": 0.0}, "threshold 0.0"),
        ({"forecasts": (np.zeros((2, 5, 2)), np.zeros((2, 5, 2))), "dt": -1.0}, "dt -1.0"),
    ],
)
def test_bad_input_names_what_is_wrong(change, message):
    arguments = {"true": noise(1000), "generated": noise(1000, seed=1), **change}
    with pytest.raises(ValueError, match=message):
        rs.reconstruction_scores(arguments.pop("true"), arguments.pop("generated"), **arguments)


# science


@pytest.mark.slow
def test_the_floors_of_lorenz_63_are_those_known():
    task = Lorenz63()
    starts = np.ones((8, 3)) + np.random.default_rng(0).uniform(-1, 1, (8, 3))
    paths = integrate(lambda s, t: task.derivative(s, t, np, None), starts, 0.01, 102_000)[:, 2001:]
    pairs = [rs.reconstruction_scores(paths[k], paths[(k + 1) % 8]) for k in range(8)]
    where, how = [p.d_stsp.value for p in pairs], [p.d_h.value for p in pairs]
    print(f"D_stsp {np.mean(where):.4f} ± {np.std(where):.4f} ({min(where):.4f} to {max(where):.4f})")
    print(f"D_H {np.mean(how):.4f} ± {np.std(how):.4f}")
    assert abs(np.mean(where) - 0.065) < 2 * np.std(where)
    assert abs(np.mean(how) - 0.054) < 2 * np.std(how)
    for pair in pairs:
        assert pair.d_stsp.failures["shuffled in time"] == 0
        assert pair.d_h.failures["shuffled in time"] > 0.8
        assert pair.d_stsp.failures["phases shuffled"] > 2
        assert abs(pair.d_stsp.excess) < 0.1


@pytest.mark.slow
def test_a_smaller_perturbation_of_lorenz_63_is_valid_for_as_much_longer_as_its_exponent_says():
    task = Lorenz63()
    starts = np.ones((200, 3)) + np.random.default_rng(0).uniform(-1, 1, (200, 3))

    def flow(states, steps):
        return integrate(lambda s, t: task.derivative(s, t, np, None), states, 0.01, steps)

    seeds = flow(starts, 3000)[:, -1]
    truth = flow(seeds, 3000)
    scale = truth.std((0, 1))
    early, late = (prediction_time(truth, flow(seeds + e * scale, 3000), scale, 0.4, 0.01, 1 / 0.9051) for e in (1e-4, 1e-8))
    print(early.summary, late.summary)
    assert late.lyapunov_times - early.lyapunov_times == pytest.approx(math.log(1e4), rel=0.1)
