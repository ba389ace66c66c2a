"""How a series becomes inputs and targets, and outputs become forecasts."""

import dataclasses
import itertools

import numpy as np
import pytest
import torch

import rnnscope as rs
from rnnscope.core import forecast
from rnnscope.core.forecast import encode
from rnnscope.core.series import Representation, Series, Span, fit_representation

STEPS = 60
CASES = [
    {
        "transform": transform,
        "differences": differences,
        "horizon": horizon,
        "ahead": ahead,
        "scaling": scaling,
        "gaussian": gaussian,
    }
    for transform, differences, horizon, ahead, scaling, gaussian in itertools.chain(
        itertools.product(["none", "sqrt", "log1p"], [0, 1, 2], [1, 3], [True], ["standard"], [False]),
        itertools.product(["none"], [0, 1, 2], [3], [False], ["minmax", "none"], [True]),
    )
]
EACH_CASE = pytest.mark.parametrize("case", CASES, ids=["-".join(map(str, case.values())) for case in CASES])


def series(variables: int = 2, covariates: int = 1, seed: int = 0, steps: int = STEPS) -> Series:
    """Positive values without any pattern that a mistake could hide behind."""
    rng = np.random.default_rng(seed)
    values = 5 + 2 * rng.uniform(size=(steps, variables)) + np.arange(variables)
    return Series(
        values,
        rng.standard_normal((steps, covariates)) * 3 + 1,
        np.arange(steps, dtype=float),
        names=tuple(f"x{i}" for i in range(variables)),
        covariate_names=tuple(f"e{i}" for i in range(covariates)),
    )


def with_gaps(one: Series) -> Series:
    """The same with every fifth value not measured: the one before stands in."""
    observed = np.ones_like(one.values, bool)
    observed[4::5] = False
    values = one.values.copy()
    values[4::5] = values[3::5][: len(values[4::5])]
    return dataclasses.replace(one, values=values, observed=observed)


def fitted(one: Series, **fields: object) -> Representation:
    return fit_representation([one], [Span(0, 0, 40)], **fields)  # type: ignore[arg-type]


# decoding


@EACH_CASE
def test_decoding_the_targets_gives_the_next_values(case: dict) -> None:
    one = series()
    made, horizon = fitted(one, **case), case["horizon"]
    inputs, targets = made.inputs(one), made.targets(one)
    assert inputs.shape == (STEPS, made.input_size)
    assert targets.shape == (STEPS - horizon, 2 * horizon)
    outputs = np.concatenate([targets, np.zeros_like(targets)], 1) if made.gaussian else targets
    assert outputs.shape[1] == made.output_size
    found = made.decode(inputs[: STEPS - horizon], outputs)
    for t in range(made.first, STEPS - horizon):
        np.testing.assert_allclose(found[t], one.values[t + 1 : t + 1 + horizon], rtol=1e-10)


@EACH_CASE
def test_decoding_on_the_level_is_decoding_in_units(case: dict) -> None:
    one = series()
    made = fitted(one, **case)
    inputs, outputs = made.inputs(one)[:9], np.random.default_rng(1).standard_normal((9, made.output_size)) * 0.1
    np.testing.assert_allclose(made.unlevel(made.decode_encoded(inputs, outputs)), made.decode(inputs, outputs))


@pytest.mark.parametrize("transform", ["none", "sqrt", "log1p"])
def test_levels_are_undone(transform: str) -> None:
    one = series()
    made = fitted(one, transform=transform)
    np.testing.assert_allclose(made.unlevel(made.level(one.values)), one.values, rtol=1e-12)


@pytest.mark.parametrize("differences", [0, 1, 2])
def test_targets_are_scaled_differences_of_the_level(differences: int) -> None:
    one = series(variables=1, covariates=0)
    made = fitted(one, differences=differences)
    x = one.values[:, 0]
    z = (x - x[:40].mean()) / x[:40].std()
    plain = z[:40]
    for _ in range(differences):
        plain = plain[1:] - plain[:-1]
    scale = plain.std() if differences else 1.0
    for t in range(max(1, differences - 1), STEPS - 1):
        wanted = {0: z[t + 1], 1: z[t + 1] - z[t], 2: z[t + 1] - 2 * z[t] + z[t - 1]}[differences] / scale
        assert made.targets(one)[t, 0] == pytest.approx(wanted, rel=1e-9)
    assert made.inputs(one)[:, 0] == pytest.approx(z)
    if differences == 2:
        velocity_scale = np.diff(z[:40]).std()
        assert made.inputs(one)[1:, 1] == pytest.approx((z[1:] - z[:-1]) / velocity_scale)


@pytest.mark.parametrize("differences", [0, 1, 2])
def test_training_targets_have_unit_scale(differences: int) -> None:
    one = series()
    made = fitted(one, differences=differences)
    targets = made.targets(one)[max(0, differences - 1) : 39]
    np.testing.assert_allclose(targets.std(0), 1, atol=0.05 if differences == 0 else 1e-9)


def test_minmax_levels_fill_the_unit_interval_on_the_training_part() -> None:
    one = series()
    levels = fitted(one, scaling="minmax").level(one.values[:40])
    np.testing.assert_allclose([levels.min(0), levels.max(0)], [[0, 0], [1, 1]], atol=1e-12)


@pytest.mark.parametrize("differences", [0, 1, 2])
@pytest.mark.parametrize("ahead", [True, False])
def test_covariates_are_those_of_the_step_that_is_forecast_or_of_the_present(differences: int, ahead: bool) -> None:
    one = series(covariates=2)
    made = fitted(one, differences=differences, ahead=ahead)
    scaled = (one.covariates - one.covariates[:40].mean(0)) / one.covariates[:40].std(0)
    found = made.inputs(one)[:, made.num_levels :]
    np.testing.assert_allclose(found[:-1], scaled[1:] if ahead else scaled[:-1])
    np.testing.assert_allclose(found[-1], scaled[-1])


def test_spreads_are_on_the_scale_of_the_level() -> None:
    one = series(variables=1, covariates=0)
    rng = np.random.default_rng(0)
    for differences in (0, 1, 2):
        made = fitted(one, differences=differences, horizon=3, gaussian=True)
        outputs = np.concatenate([rng.standard_normal((5, 3)), np.log([[2.0, 3.0, 4.0]]).repeat(5, 0)], 1)
        unit = made.difference_scales[-1][0] if differences else 1.0
        np.testing.assert_allclose(made.spreads(outputs)[:, :, 0], unit * np.array([[2.0, 3.0, 4.0]]).repeat(5, 0))


@pytest.mark.parametrize("horizon", [1, 3])
@pytest.mark.parametrize("differences", [0, 1, 2])
def test_what_was_not_measured_is_no_target(horizon: int, differences: int) -> None:
    one = with_gaps(series())
    made = fitted(one, horizon=horizon, differences=differences)
    found = made.targets(one).reshape(STEPS - horizon, horizon, 2)
    for t in range(STEPS - horizon):
        for lead in range(horizon):
            assert np.isnan(found[t, lead]).all() == ((t + 1 + lead) % 5 == 4)
    assert np.isfinite(made.inputs(one)).all()
    assert np.isnan(one.truth[4::5]).all()
    np.testing.assert_array_equal(one.truth[one.observed], one.values[one.observed])


# the closed loop


@pytest.mark.parametrize("transform", ["none", "log1p"])
@pytest.mark.parametrize("differences", [0, 1, 2])
@pytest.mark.parametrize("horizon", [1, 3])
@pytest.mark.parametrize("ahead", [True, False])
def test_feedback_integrates_as_decoding_a_run_does(transform: str, differences: int, horizon: int, ahead: bool) -> None:
    one = series(variables=2, covariates=1)
    made = fitted(one, transform=transform, differences=differences, horizon=horizon, ahead=ahead)
    feedback, steps = made.feedback(), 12
    rng = np.random.default_rng(2)
    outputs = 0.1 * rng.standard_normal((1, steps, made.output_size))
    start = made.inputs(one)[None, 20]
    forecasts = made.decode_run(start, outputs)
    covariates = made.scaled_covariates(one.covariates)[21 : 21 + steps]
    x = torch.from_numpy(start)
    for k in range(steps):
        x = feedback(x, torch.from_numpy(outputs[:, k]), torch.from_numpy(covariates[None, k]))
        np.testing.assert_allclose(x[0, :2], made.level(forecasts[0, k]), rtol=1e-9, atol=1e-12)
        np.testing.assert_allclose(x[0, made.num_levels :], covariates[k])


@pytest.mark.parametrize("differences", [0, 1, 2])
@pytest.mark.parametrize("ahead", [True, False])
def test_feedback_of_the_true_targets_makes_the_true_inputs(differences: int, ahead: bool) -> None:
    one = series(variables=2, covariates=2)
    made = fitted(one, differences=differences, ahead=ahead)
    inputs, targets, feedback = made.inputs(one), made.targets(one), made.feedback()
    x = torch.from_numpy(inputs[None, 5])
    for t in range(5, STEPS - 2):
        known = torch.from_numpy(made.scaled_covariates(one.covariates)[None, t + 2 if ahead else t + 1])
        x = feedback(x, torch.from_numpy(targets[None, t]), known)
        np.testing.assert_allclose(x[0], inputs[t + 1], rtol=1e-9, atol=1e-11)


# fitting


def test_scaling_sees_only_the_training_spans() -> None:
    one, other = series(seed=0), series(seed=1)
    spans = [Span(0, 10, 30), Span(1, 5, 20)]
    before = fit_representation([one, other], spans, differences=2, transform="log1p")
    for given, seen in ((one, slice(10, 30)), (other, slice(5, 20))):
        mask = np.ones(STEPS, bool)
        mask[seen] = False
        given.values[mask] = 100 * np.random.default_rng(3).uniform(size=given.values[mask].shape)
        given.covariates[mask] += 50
    after = fit_representation([one, other], spans, differences=2, transform="log1p")
    for field in dataclasses.fields(Representation):
        np.testing.assert_array_equal(getattr(before, field.name), getattr(after, field.name))


def test_differences_do_not_reach_over_the_gap_between_spans() -> None:
    one = series(variables=1, covariates=0)
    one.values[30:] += 1000.0
    made = fit_representation([one], [Span(0, 0, 30), Span(0, 30, 60)], scaling="none", differences=1)
    steps = np.concatenate([np.diff(one.values[:30, 0]), np.diff(one.values[30:, 0])])
    assert made.difference_scales[0][0] == pytest.approx(steps.std())


def test_a_constant_series_is_refused() -> None:
    one = series(variables=2)
    one.values[:40, 1] = 3.0
    for scaling in ("standard", "minmax"):
        with pytest.raises(rs.DataError, match="'x1' is constant"):
            fitted(one, scaling=scaling)


@pytest.mark.parametrize("differences", [1, 2])
def test_a_series_without_differences_to_learn_is_refused(differences: int) -> None:
    one = series(variables=1, covariates=0)
    one.values[:, 0] = 0.1 * np.arange(STEPS)  # its differences are constant up to rounding
    with pytest.raises(rs.DataError, match="constant"):
        fitted(one, differences=differences)


def test_a_constant_covariate_is_harmless() -> None:
    one = series()
    one.covariates[:40] = 2.0
    assert np.isfinite(fitted(one).inputs(one)).all()


@pytest.mark.parametrize(("transform", "value"), [("sqrt", -0.1), ("log1p", -1.0)])
def test_values_outside_the_domain_of_the_transform_are_refused(transform: str, value: float) -> None:
    one = series()
    one.values[50, 1] = value  # not even in the training part
    with pytest.raises(rs.DataError, match=f"'x1' has the value {value:g}"):
        fitted(one, transform=transform)


# encoding


@pytest.mark.parametrize("chunk", [3, 7, 20])  # the last chunks of these series have 1, 2, … steps
@pytest.mark.parametrize("differences", [0, 1, 2])
@pytest.mark.parametrize("horizon", [1, 3])
def test_encoding_in_chunks_is_encoding_in_one_piece(
    monkeypatch: pytest.MonkeyPatch, chunk: int, differences: int, horizon: int
) -> None:
    for covariates, ahead, gaps in ((0, True, False), (1, True, False), (1, False, False), (0, True, True)):
        given = tuple(series(covariates=covariates, seed=i, steps=n) for i, n in enumerate((57, 50, 22)))
        given = tuple(with_gaps(one) for one in given) if gaps else given
        made = fit_representation(list(given), [Span(0, 0, 40)], differences=differences, horizon=horizon, ahead=ahead)
        whole = encode(given, made)
        with monkeypatch.context() as patch:
            patch.setattr(forecast, "_CHUNK", chunk)
            pieces = encode(given, made)
        assert pieces.offsets == whole.offsets == (0, 57, 107, 129)
        assert torch.equal(pieces.inputs, whole.inputs)
        torch.testing.assert_close(pieces.targets, whole.targets, rtol=0, atol=0, equal_nan=True)


@EACH_CASE
def test_encoding_rounds_inputs_and_targets_and_nothing_else(case: dict) -> None:
    given = (series(seed=0), series(seed=1, steps=30))
    made = fit_representation(list(given), [Span(0, 0, 40)], **case)
    found = encode(given, made)
    assert found.inputs.dtype == found.targets.dtype == torch.float32
    for one, offset in zip(given, found.offsets, strict=False):
        inputs, targets = made.inputs(one).astype(np.float32), made.targets(one).astype(np.float32)
        np.testing.assert_array_equal(found.inputs[offset : offset + len(one)], inputs)
        np.testing.assert_array_equal(found.targets[offset : offset + len(targets)], targets)


def test_second_differences_are_taken_before_rounding() -> None:
    """At a step of a thousandth, float32 levels have second differences of nothing but rounding."""
    times = np.arange(2000) * 1e-3
    one = Series(np.sin(times)[:, None], np.empty((2000, 0)), times)
    made = fit_representation([one], [Span(0, 0, 2000)], differences=2)
    found = encode((one,), made).targets[1:-1, 0].numpy() * made.difference_scales[1] * made.scale
    np.testing.assert_allclose(found, np.diff(one.values[:, 0], n=2), rtol=1e-4, atol=1e-12)
