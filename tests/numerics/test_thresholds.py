import numpy as np
import pytest
from scipy import stats

from rnnscope.numerics.nulls import METHODS, fit_null
from rnnscope.numerics.pareto_tail import fit_pareto_tail
from rnnscope.numerics.thresholds import CONTROLS, THREE_SIGMA, fdr_level, raise_alarms

NOISE = {
    "normal": lambda rng, n: rng.normal(50, 5, n),
    "heavy": lambda rng, n: rng.standard_t(3, n),
    "exponential": lambda rng, n: rng.exponential(size=n),
}


def measured(draw, method, control, rate, sets, count, *, fresh, side="both"):
    """Rates of false alarms per step and per set, and what was stated for both."""
    rows = []
    for seed in range(sets):
        x = draw(np.random.default_rng([7, seed]), 2 * count)
        parts = {"calibration": slice(0, count), "judged": slice(count, None)} if fresh else {}
        found = raise_alarms(x if fresh else x[:count], method, control=control, rate=rate, side=side, **parts)
        rows.append((found.found / count, found.found > 0, found.stated_step, found.stated_set))
    return np.mean(rows, axis=0)


def test_three_sigma_is_mean_plus_minus_three_standard_deviations():
    x = np.random.default_rng(42).normal(50, 5, 1000)
    found = raise_alarms(x)
    assert found.upper == pytest.approx(x.mean() + 3 * x.std())
    assert found.lower == pytest.approx(x.mean() - 3 * x.std())
    np.testing.assert_array_equal(found.alarms, np.abs(x - x.mean()) > 3 * x.std())
    assert found.expected == pytest.approx(2.7, abs=0.001)
    assert found.stated_set == pytest.approx(0.944, abs=0.01)  # 0.933 were mean and standard deviation known
    assert found.chance == pytest.approx(stats.binom.sf(found.found - 1, 1000, THREE_SIGMA))


def test_mad_is_not_moved_by_outliers_that_hide_themselves_from_three_sigma():
    x = np.random.default_rng(0).normal(size=200)
    x[:30] = 12.0
    assert not raise_alarms(x, "three-sigma").alarms[:30].any()
    assert raise_alarms(x, "mad").alarms[:30].all()


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("side", ["both", "upper"])
@pytest.mark.parametrize("fresh", [False, True])
def test_values_beyond_the_bounds_are_those_with_p_values_below_the_level(method, side, fresh):
    rng = np.random.default_rng(3)
    x, new = rng.normal(size=400), 1.5 * rng.normal(size=300)
    null = fit_null(x, method, side)
    for level in (0.003, 0.02, 0.2):
        lower, upper = null.bounds(level, own=not fresh)
        p, values = (null.p_values(new), new) if fresh else (null.own_p_values(), x)
        if not fresh and method == "pot":
            continue  # each of its own values is judged by the law of the others, which has bounds of its own
        outside = (values < lower) | (values > upper)
        np.testing.assert_array_equal(outside, p <= level * (1 + 1e-9))


@pytest.mark.parametrize("method", METHODS)
def test_p_values_do_not_depend_on_location_and_scale(method):
    x = np.random.default_rng(5).normal(size=300)
    one, other = fit_null(x, method), fit_null(40 - 7 * x, method)
    np.testing.assert_allclose(one.own_p_values(), other.own_p_values(), rtol=1e-6)
    np.testing.assert_allclose(one.p_values(np.array([0.3, 3.9])), other.p_values(40 - 7 * np.array([0.3, 3.9])), rtol=1e-6)


def test_conformal_p_values_are_ranks():
    x = np.arange(1.0, 10.0)
    null = fit_null(x, "quantile", "upper")
    assert null.p_values(np.array([10.0, 9.0, 0.0])).tolist() == [0.1, 0.2, 1.0]
    np.testing.assert_allclose(null.own_p_values(), np.arange(9, 0, -1) / 9)


def test_a_quantile_of_fresh_values_alarms_as_often_as_its_closed_form_says():
    stated = fit_null(np.random.default_rng(0).normal(size=99), "quantile", "upper").any_alarm(0.01, 50)
    assert stated == pytest.approx(50 / 149)  # the largest of 149 exchangeable values is a fresh one
    rng, hits = np.random.default_rng(1), 0
    for _ in range(2000):
        x = rng.normal(size=149)
        hits += x[99:].max() > x[:99].max()
    assert hits / 2000 == pytest.approx(stated, abs=0.03)


def test_a_quantile_cuts_off_the_same_number_of_its_own_values_always():
    for seed in range(5):
        found = raise_alarms(np.random.default_rng(seed).normal(size=1000), "quantile", rate=0.01)
        assert found.found == 10
        assert found.stated_set == 1.0
    assert raise_alarms(np.random.default_rng(0).normal(size=1000), "quantile", control="set", rate=0.05).stated_set == 0.0


def test_the_pareto_tail_of_exponential_values_is_exponential():
    rng = np.random.default_rng(0)
    tails = [fit_pareto_tail(rng.exponential(size=4000)) for _ in range(20)]
    assert np.mean([t.shape for t in tails]) == pytest.approx(0.0, abs=0.06)
    assert np.exp(np.mean([np.log(t.p_values(np.array([6.0]))[0]) for t in tails])) == pytest.approx(np.exp(-6), rel=0.25)


def test_each_own_value_of_a_pareto_tail_is_judged_by_the_law_of_the_others():
    x = np.random.default_rng(2).exponential(size=200)
    tail = fit_pareto_tail(x)
    own = tail.own_p_values(x)
    top = int(x.argmax())
    others = fit_pareto_tail(np.delete(x, top))  # one excess fewer: another threshold, but nearly the same law
    assert own[top] == pytest.approx(others.p_values(x[top : top + 1])[0], rel=0.35)
    assert own[top] < tail.p_values(x[top : top + 1])[0]  # with itself it looks less unusual
    order = np.argsort(x)
    assert (np.diff(own[order]) <= 1e-12).all()


def test_benjamini_hochberg_takes_the_largest_k_with_p_below_k_rate_over_n():
    rng = np.random.default_rng(0)
    for _ in range(20):
        p = np.where(rng.random(50) < 0.2, rng.random(50) / 500, rng.random(50))
        ordered = np.sort(p)
        fits = np.flatnonzero(ordered <= 0.1 * np.arange(1, 51) / 50)
        k = 0 if not len(fits) else fits[-1] + 1
        assert (p <= fdr_level(p, 0.1)).sum() == k


def within_two_points(found, stated, sets):
    """Two points, and two standard errors of a share found in so many sets."""
    return abs(found - stated) < 0.02 + 2 * np.sqrt(max(stated * (1 - stated), 0.01) / sets)


@pytest.mark.parametrize("fresh", [False, True])
@pytest.mark.parametrize("control", CONTROLS)
@pytest.mark.parametrize(("method", "sets"), [("three-sigma", 200), ("mad", 200), ("pot", 40)])
def test_false_alarm_rates_are_as_stated(method, sets, control, fresh):
    step, some, stated_step, stated_set = measured(NOISE["normal"], method, control, 0.05, sets, 200, fresh=fresh)
    assert abs(step - stated_step) < 0.01
    assert within_two_points(some, stated_set, sets)


@pytest.mark.parametrize("own", [False, True])
@pytest.mark.parametrize("side", ["both", "upper"])
@pytest.mark.parametrize("method", ["three-sigma", "mad"])
@pytest.mark.parametrize("count", [12, 200])
def test_a_set_holds_an_alarm_with_the_rate_asked_for(count, method, side, own):
    """Brute force over sets other than those that the level rests on; 4000 of them, whose standard error is 0.47 points at 10 %."""
    null = fit_null(np.random.default_rng(0).normal(size=count), method, side)
    level = null.set_level(0.1, count, own=own)
    assert null.any_alarm(level, count, own=own) == pytest.approx(0.1, abs=2e-3)
    low, high = null.bounds(level, own=own)
    low, high = (low - null.centre) / null.scale, (high - null.centre) / null.scale
    x = np.random.default_rng(99).normal(3, 2, (4000, 2 * count))
    learned = x[:, :count]
    centre = learned.mean(1) if method == "three-sigma" else np.median(learned, 1)
    spread = learned.std(1) if method == "three-sigma" else stats.median_abs_deviation(learned, 1, scale="normal")
    z = ((learned if own else x[:, count:]) - centre[:, None]) / spread[:, None]
    assert ((z < low) | (z > high)).any(1).mean() == pytest.approx(0.1, abs=0.015)


def test_two_sided_grubbs_bounds_are_those_of_its_closed_form():
    for count in (10, 30, 100):
        t = stats.t.isf(0.05 / (2 * count), count - 2)
        grubbs = (count - 1) * t / np.sqrt(count * (count - 2 + t**2)) * np.sqrt(count / (count - 1))
        null = fit_null(np.random.default_rng(0).normal(size=count), "three-sigma")
        _, high = null.bounds(null.set_level(0.05, count, own=True), own=True)
        assert (high - null.centre) / null.scale == pytest.approx(grubbs, rel=0.01)


def test_steps_without_a_score_raise_no_alarm_and_do_not_count():
    x = np.random.default_rng(0).normal(size=200)
    x[:20] = np.nan
    x[150] = 30.0
    found = raise_alarms(x, "mad", calibration=slice(0, 100), judged=slice(100, None))
    assert np.flatnonzero(found.alarms).tolist() == [150] or found.alarms[150]
    assert found.count == 100
    assert np.isnan(found.p_values[:100]).all()
    assert not found.alarms[:100].any()


@pytest.mark.parametrize("method", METHODS)
def test_values_that_allow_no_threshold_are_refused(method):
    with pytest.raises(ValueError, match="8 finite"):
        fit_null(np.arange(7.0), method)
    with pytest.raises(ValueError, match="8 finite"):
        fit_null(np.array([*range(9), np.nan]), method)
    if method != "quantile":
        with pytest.raises(ValueError, match="no spread"):
            fit_null(np.ones(50), method)


@pytest.mark.slow
@pytest.mark.parametrize("fresh", [False, True])
@pytest.mark.parametrize("control", CONTROLS)
@pytest.mark.parametrize(
    ("noise", "method", "sets"),
    [
        ("normal", "three-sigma", 1000),
        ("normal", "mad", 1000),
        *((noise, method, sets) for noise in NOISE for method, sets in (("quantile", 1000), ("pot", 200))),
    ],
)
def test_false_alarm_rates_are_as_stated_within_two_points(noise, method, sets, control, fresh):
    """Sets of 1000; the promise of three-sigma and mad is about normal values."""
    rate = THREE_SIGMA if control == "step" else 0.05
    step, some, stated_step, stated_set = measured(NOISE[noise], method, control, rate, sets, 1000, fresh=fresh)
    assert abs(step - stated_step) < 0.001
    if noise == "exponential" and method == "pot":  # below an exponential is an edge and no tail: rarer alarms than stated
        some = max(some, stated_set)
    assert within_two_points(some, stated_set, sets)
