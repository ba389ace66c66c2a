"""Lyapunov spectra against exact values: maps, flows, networks, driven systems."""

import math
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch

import known_systems
import rnnscope as rs
from rnnscope.core.closing import close_loop
from rnnscope.core.interfaces import Signature
from rnnscope.core.jacobians import input_jacobians, state_jacobians
from rnnscope.core.system import Push, TangentProducts
from rnnscope.dynamics.flows import flow_map, task_flow
from rnnscope.dynamics.lyapunov import LyapunovSpectrum, lyapunov_spectrum
from rnnscope.dynamics.lyapunov_statistics import blocked_error, disagree, drifts, kaplan_yorke
from rnnscope.models.cells import cell_gains, gains_by_step, push_tangents

DOUBLE = torch.float64


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def agrees(found: LyapunovSpectrum, reference: list[float]) -> None:
    """Within max(3 standard errors, 1 %)."""
    for value, error, true in zip(found.exponents.tolist(), found.standard_errors.tolist(), reference, strict=True):
        assert value == pytest.approx(true, abs=max(3 * error, 0.01 * abs(true)))


def network(cell: Any, inputs: int = 2, hidden: int = 8, **fields: Any) -> Any:
    return cell(hidden_size=hidden, num_layers=1, **fields).build(Signature(inputs, inputs), seeded())


def scaled(size: int, gain: float, seed: int = 0) -> rs.System:
    """h -> tanh(W h), W of independent N(0, gain²/size)."""
    weights = gain / size**0.5 * torch.randn(size, size, generator=seeded(seed), dtype=DOUBLE)
    return rs.System(lambda h, _: torch.tanh(h @ weights.T), size, dtype=DOUBLE)


# maps


def test_exponents_of_a_linear_map_are_log_moduli() -> None:
    matrix = torch.randn(5, 5, generator=seeded(1), dtype=DOUBLE)
    moduli = torch.linalg.eigvals(matrix).abs().log().sort(descending=True).values
    found = lyapunov_spectrum(known_systems.linear_map(matrix), num_steps=2000, starts=torch.zeros(2, 5))
    agrees(found, moduli.tolist())
    assert found.sum_rule_error is not None
    assert found.sum_rule_error < 1e-9


def test_a_singular_map_has_exponents_minus_infinity() -> None:
    matrix = torch.diag(torch.tensor([0.5, 0.0, 1e-3, 0.0], dtype=DOUBLE))
    turn = torch.linalg.qr(torch.randn(4, 4, generator=seeded(), dtype=DOUBLE))[0]
    found = lyapunov_spectrum(known_systems.linear_map(turn @ matrix @ turn.T), num_steps=300)
    torch.testing.assert_close(found.exponents[:2].exp(), torch.tensor([0.5, 1e-3], dtype=DOUBLE))
    assert torch.isneginf(found.exponents[2:]).all()
    assert found.standard_errors[2:].tolist() == [0, 0]
    assert found.sum_rule_error is None
    assert "2 exponents are -inf" in found.outcome
    assert found.kind == "settles"


def test_henon() -> None:
    found = lyapunov_spectrum(known_systems.henon())
    agrees(found, [0.41915, -1.62313])
    assert float(found.exponents.sum()) == pytest.approx(math.log(0.3), abs=1e-12)
    assert found.kind == "chaotic"
    assert found.kaplan_yorke_dimension == pytest.approx(1.25824, abs=3 * found.kaplan_yorke_error)
    assert 0 < found.kaplan_yorke_error < 0.01
    assert found.outcome.startswith("converged")


def test_the_logistic_map_at_4_has_ln_2() -> None:
    found = lyapunov_spectrum(known_systems.logistic(), num_steps=3000)
    agrees(found, [math.log(2)])
    assert found.local_exponents.shape == (8, 32, 1)
    torch.testing.assert_close(found.local_exponents.mean((1, 2)), found.per_trajectory[:, 0], rtol=1e-2, atol=1e-3)


def test_a_rotation_is_quasi_periodic() -> None:
    found = lyapunov_spectrum(known_systems.rotation(1.0), num_steps=500)
    assert found.exponents.abs().max() < 1e-12
    assert found.kind == "quasi-periodic"
    assert "2 exponents" in found.evidence


def test_a_line_of_fixed_points_has_one_exponent_zero() -> None:
    found = lyapunov_spectrum(known_systems.line_attractor(torch.tensor([1.0, 2.0], dtype=DOUBLE)), num_steps=500)
    torch.testing.assert_close(found.exponents, torch.tensor([0.0, math.log(0.5)], dtype=DOUBLE), rtol=1e-9, atol=1e-9)
    assert found.kind == "quasi-periodic"
    assert "continuum" in found.evidence


@pytest.mark.parametrize("rates", [[1e5, 1e-5], [1.0, 1e-15], [1e-30, 1e-40], [1e40, 1e30]])
def test_steep_rates_neither_underflow_nor_overflow_nor_vanish(rates: list[float]) -> None:
    exact = torch.tensor(rates, dtype=DOUBLE)
    found = lyapunov_spectrum(known_systems.linear_map(torch.diag(exact)), num_steps=300, starts=torch.zeros(2, 2))
    torch.testing.assert_close(found.exponents, exact.log(), rtol=1e-4, atol=0)


# flows


def test_a_limit_cycle_of_a_flow_is_periodic() -> None:
    found = lyapunov_spectrum(task_flow(rs.VanDerPol()), num_steps=2000, time_step=0.05)
    assert found.kind == "periodic"
    assert float(found.exponents[0]) == pytest.approx(0, abs=5e-3)
    assert float(found.exponents[1]) == pytest.approx(-1.0594, rel=0.01)  # minus the cycle's mean of μ(x² - 1)
    assert found.unit == "per unit time"


def test_lorenz_63_in_short() -> None:
    flow = flow_map(known_systems.lorenz_field, 0.01, 3, jacobian=known_systems.lorenz_jacobian)
    starts = torch.tensor([0.0, 0, 25], dtype=DOUBLE) + 10 * torch.randn(64, 3, generator=seeded(), dtype=DOUBLE)
    found = lyapunov_spectrum(flow, num_steps=1500, burn_in=500, starts=starts, time_step=0.01)
    agrees(found, [0.9051, 0.0, -14.572])
    assert float(found.exponents.sum()) == pytest.approx(-41 / 3, abs=1e-3)  # the step's own error is of this order
    assert found.sum_rule_error is not None
    assert found.sum_rule_error < 1e-6
    assert found.kind == "chaotic"
    assert "1 positive, 1 compatible" in found.evidence


@pytest.mark.slow
def test_lorenz_63_at_length() -> None:
    flow = flow_map(known_systems.lorenz_field, 0.005, 3, jacobian=known_systems.lorenz_jacobian)
    starts = torch.tensor([0.0, 0, 25], dtype=DOUBLE) + 10 * torch.randn(100, 3, generator=seeded(), dtype=DOUBLE)
    found = lyapunov_spectrum(flow, num_steps=40_000, starts=starts, time_step=0.005)
    print(found.summary, found.kaplan_yorke_dimension, found.kaplan_yorke_error, found.interval)
    agrees(found, [0.9051, 0.0, -14.572])
    assert float(found.exponents.sum()) == pytest.approx(-13.66667, abs=1e-5)
    assert found.kaplan_yorke_dimension == pytest.approx(2.0621, abs=1e-3)


# networks


@pytest.mark.parametrize("cell", [rs.Elman, rs.GRU, rs.LSTM])
def test_exponents_of_a_network_sum_to_the_mean_log_determinant(cell: Any) -> None:
    system = network(cell, recurrent_scale=1.5)
    found = lyapunov_spectrum(system, num_steps=400, inputs=0.7, num_trajectories=4)
    assert len(found.exponents) == system.state_size
    assert found.sum_rule_error is not None
    assert found.sum_rule_error < 1e-6
    assert torch.isfinite(found.exponents).all()


def test_the_largest_exponents_are_those_of_the_full_spectrum() -> None:
    system = scaled(24, 3.0)
    full = lyapunov_spectrum(system, num_steps=1000)
    some = lyapunov_spectrum(system, num_steps=1000, num_exponents=5)
    assert some.sum_rule_error is None
    assert (some.exponents - full.exponents[:5]).abs().max() < 3 * float(full.standard_errors[:5].max())
    assert full.kind == some.kind == "chaotic"


def test_a_network_against_a_factorisation_at_every_step() -> None:
    system, start = scaled(12, 1.8, seed=3), 0.1 * torch.ones(1, 12, dtype=DOUBLE)
    found = lyapunov_spectrum(system, num_steps=400, burn_in=0, starts=start)
    nothing, basis, logs = torch.empty(1, 0, dtype=DOUBLE), np.eye(12), np.zeros(12)
    for _ in range(400):
        jacobian = state_jacobians(system, start, nothing)[0].numpy()
        basis, upper = np.linalg.qr(jacobian @ basis)
        logs += np.log(np.abs(np.diagonal(upper)))
        start = system.step(start, nothing)
    assert np.abs(found.exponents.numpy() - np.sort(logs / 400)[::-1]).max() < 0.04  # another first frame: O(1/T)
    assert float(found.exponents.sum()) == pytest.approx(logs.sum() / 400, abs=1e-9)


def test_a_given_interval_that_is_too_long_is_told() -> None:
    system = scaled(32, 1.5)
    good = lyapunov_spectrum(system, num_steps=300)
    bad = lyapunov_spectrum(system, num_steps=300, interval=10)
    assert bad.interval == pytest.approx(10, rel=0.2)
    assert good.sum_rule_error is not None
    assert bad.sum_rule_error is not None
    assert good.sum_rule_error < 1e-9 < 0.1 < bad.sum_rule_error
    assert "not to be trusted" in bad.outcome
    assert "not to be trusted" not in good.outcome


def test_taps_and_dead_units_give_minus_infinity_and_never_nan() -> None:
    taps = lyapunov_spectrum(network(rs.LSTM, skip=3), num_steps=200, inputs=1.0)
    assert int(torch.isneginf(taps.exponents).sum()) == 3 * 2  # shift registers forget after three steps
    dead = lyapunov_spectrum(network(rs.Elman, hidden=16, nonlinearity="relu"), num_steps=200, inputs=1.0)
    assert torch.isneginf(dead.exponents).any()
    for found in (taps, dead):
        for values in (found.exponents, found.per_trajectory, found.local_exponents, found.standard_errors):
            assert not torch.isnan(values).any()


def test_a_closed_loop_is_a_system_like_any_other() -> None:
    found = lyapunov_spectrum(close_loop(network(rs.GRU)), num_steps=500)
    assert found.drive == "autonomous"
    assert found.kind == "settles"
    assert "fixed point" in found.evidence


# driven systems


def test_a_held_input_gives_the_exponent_at_its_fixed_point() -> None:
    system = rs.System(lambda h, x: torch.tanh(0.8 * h + x), 1, 1)
    fixed = 0.0
    for _ in range(200):
        fixed = math.tanh(0.8 * fixed + 0.5)
    found = lyapunov_spectrum(system, inputs=torch.tensor([0.5]), num_steps=300)
    assert float(found.exponents[0]) == pytest.approx(math.log(0.8 * (1 - fixed**2)), abs=1e-6)
    assert found.drive == "one input held"
    assert lyapunov_spectrum(system, num_steps=50).drive == "input held at 0"


def test_conditional_exponents_follow_the_given_sequences() -> None:
    system = rs.System(lambda h, x: h * x.exp(), 1, 1, dtype=DOUBLE)
    sequences = torch.randn(3, 240, 1, generator=seeded(), dtype=DOUBLE) - 1.5
    found = lyapunov_spectrum(system, inputs=sequences)
    assert (found.burn_in, found.num_steps, found.num_trajectories) == (48, 192, 3)
    torch.testing.assert_close(found.per_trajectory, sequences[:, 48:].mean(1))
    shared = lyapunov_spectrum(system, inputs=sequences[0], num_trajectories=5, num_steps=100, burn_in=7)
    torch.testing.assert_close(shared.per_trajectory, sequences[0, 7:107].mean().expand(5, 1))
    assert "conditional" in shared.drive
    assert shared.kind == "settles"
    assert "the input decides the state" in shared.evidence


def test_trajectories_under_one_sequence_do_not_feign_a_smaller_error() -> None:
    system = rs.System(lambda h, x: h * x.exp(), 1, 1, dtype=DOUBLE)
    sequence = torch.randn(2000, 1, generator=seeded(), dtype=DOUBLE)
    found = lyapunov_spectrum(system, inputs=sequence, num_trajectories=64, burn_in=0)
    assert float(found.standard_errors) == pytest.approx(1 / math.sqrt(2000), rel=0.6)


def test_noise_around_a_zero_exponent_is_undecided() -> None:
    system = rs.System(lambda h, x: h * x.exp(), 1, 1, dtype=DOUBLE)
    found = lyapunov_spectrum(system, inputs=1.0, num_steps=2000)
    assert found.kind == "undecided"
    assert "run longer" in found.evidence
    assert abs(float(found.exponents)) < 4 * float(found.standard_errors)


# what the result says about itself


def test_several_attractors_are_told() -> None:
    system = rs.System(lambda h, _: h - 0.3 * h * (h - 1) * (h + 2), 1, dtype=DOUBLE)  # fixed points 1 and -2
    found = lyapunov_spectrum(system, starts=torch.tensor([[0.5], [-0.5]], dtype=DOUBLE), num_steps=500)
    torch.testing.assert_close(found.per_trajectory.exp(), torch.tensor([[0.1], [0.8]], dtype=DOUBLE), rtol=1e-3, atol=0)
    assert "trajectories differ" in found.outcome


def test_too_few_exponents_for_a_dimension_are_told() -> None:
    found = lyapunov_spectrum(known_systems.henon(), num_exponents=1, num_steps=500)
    assert math.isnan(found.kaplan_yorke_dimension)
    assert "compute more" in found.kaplan_yorke_reason


def test_kaplan_yorke_at_its_edges() -> None:
    def dimension(*values: float) -> float:
        exponents = torch.tensor(values, dtype=DOUBLE)
        return kaplan_yorke(exponents, exponents.expand(2, 4, -1), len(values)).value

    assert dimension(-0.1, -1.0) == 0
    assert dimension(0.5, -1.0) == pytest.approx(1.5)
    assert dimension(0.5, -torch.inf) == 1
    assert dimension(0.5, -0.2) == 2


def test_blocked_errors_of_correlated_windows() -> None:
    noise = torch.randn(400, 10, 64, generator=seeded(), dtype=DOUBLE)
    values = torch.zeros_like(noise)
    for t in range(1, 64):
        values[..., t] = 0.5 * values[..., t - 1] + noise[..., t]  # sd of the mean of 640 about 2/sqrt(640)
    errors = torch.stack([blocked_error(sample[..., None])[0] for sample in values])
    assert float(errors.mean()) == pytest.approx(float(values.mean((1, 2)).std()), rel=0.25)


def test_drift_and_disagreement() -> None:
    noise = torch.randn(8, 32, 1, generator=seeded(), dtype=DOUBLE)
    assert not drifts(noise, 1000).any()
    assert drifts(noise + 3 * (torch.arange(32) < 16)[:, None], 1000).all()
    assert not disagree(noise, 1000)
    assert disagree(noise + 10 * torch.arange(8)[:, None, None], 1000)


def test_the_summary_reads() -> None:
    text = lyapunov_spectrum(known_systems.henon(), num_steps=500).summary
    assert text.startswith("chaotic (autonomous): exponents 0.4")
    assert "per step" in text


# the caller's things


def test_nothing_of_the_callers_is_changed() -> None:
    system = network(rs.GRU).train()
    before = {name: value.clone() for name, value in system.state_dict().items()}
    starts, state = torch.zeros(2, 8), torch.get_rng_state()
    lyapunov_spectrum(system, num_steps=50, starts=starts, inputs=torch.zeros(2))
    assert all(torch.equal(value, before[name]) for name, value in system.state_dict().items())
    assert all(p.dtype == torch.float32 and p.requires_grad and p.grad is None for p in system.parameters())
    assert system.training
    assert torch.equal(starts, torch.zeros(2, 8))
    assert torch.equal(state, torch.get_rng_state())


def test_a_step_that_holds_float32_tensors_is_followed() -> None:
    weights = 0.5 * torch.eye(2)
    found = lyapunov_spectrum(rs.System(lambda h, _: h @ weights, 2), num_steps=100)
    torch.testing.assert_close(found.exponents, torch.full((2,), math.log(0.5), dtype=DOUBLE), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("num_steps", [2, 3, 17, 33])
def test_short_runs_and_a_single_trajectory(num_steps: int) -> None:
    system = rs.System(lambda h, _: 0.5 * h, 2, dtype=DOUBLE)
    found = lyapunov_spectrum(system, num_steps=num_steps, num_trajectories=1, burn_in=0)
    torch.testing.assert_close(found.exponents, torch.full((2,), math.log(0.5), dtype=DOUBLE))
    assert found.local_exponents.shape == (1, min(32, num_steps), 2)


def test_the_generator_decides() -> None:
    first, again, other = (lyapunov_spectrum(known_systems.henon(), num_steps=100, rng=seeded(s)) for s in (1, 1, 2))
    assert torch.equal(first.exponents, again.exponents)
    assert not torch.equal(first.exponents, other.exponents)


# bad input


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("num_steps", 1),
        ("num_exponents", 0),
        ("num_exponents", 3),
        ("num_trajectories", 0),
        ("burn_in", -1),
        ("time_step", 0.0),
        ("interval", 0),
    ],
)
def test_arguments_out_of_range_are_refused(name: str, value: float) -> None:
    with pytest.raises(rs.ConfigError, match=name):
        lyapunov_spectrum(known_systems.henon(), **{name: value})


def test_inputs_that_do_not_fit_are_refused() -> None:
    system = known_systems.linear_map(0.5 * torch.eye(2, dtype=DOUBLE), torch.eye(2, dtype=DOUBLE))
    with pytest.raises(rs.ShapeError, match="inputs of shape"):
        lyapunov_spectrum(system, inputs=torch.zeros(5, 3))
    with pytest.raises(rs.ShapeError, match="3 starts and 2 input sequences"):
        lyapunov_spectrum(system, inputs=torch.zeros(2, 50, 2), starts=torch.zeros(3, 2))
    with pytest.raises(rs.ShapeError, match="starts of shape"):
        lyapunov_spectrum(system, starts=torch.zeros(3, 4))
    with pytest.raises(rs.DataError, match="burn-in"):
        lyapunov_spectrum(system, inputs=torch.zeros(50, 2), burn_in=49)
    with pytest.raises(rs.DataError, match="not finite"):
        lyapunov_spectrum(system, inputs=torch.full((50, 2), torch.nan))
    with pytest.raises(rs.ConfigError, match="white noise"):
        lyapunov_spectrum(system, inputs=-1.0)
    with pytest.raises(rs.ConfigError, match="white noise"):
        lyapunov_spectrum(known_systems.henon(), inputs=1.0)


def test_trajectories_that_leave_the_finite_numbers_are_an_error() -> None:
    with pytest.raises(rs.DataError, match="1 of 2 trajectories left") as caught:
        lyapunov_spectrum(known_systems.logistic(), starts=torch.tensor([[0.3], [1.5]], dtype=DOUBLE))
    assert "basin" in caught.value.remedy


def test_an_infinite_derivative_is_an_error() -> None:
    root = rs.System(lambda h, _: h.abs().sqrt(), 1, dtype=DOUBLE)
    with pytest.raises(rs.DataError, match="Jacobian"):
        lyapunov_spectrum(root, starts=torch.zeros(1, 1, dtype=DOUBLE), num_steps=10)


class Pushed(rs.DynamicalSystem, TangentProducts):
    """One layer that applies its tangent map without matrices, or says that it cannot."""

    def __init__(self, inner: Any, has_products: bool = True) -> None:
        super().__init__()
        self.inner, self.has_products = inner, has_products
        self.state_size, self.input_size, self.output_size = inner.state_size, inner.input_size, inner.output_size

    def initial_state(self, batch_size: int) -> torch.Tensor:
        return self.inner.initial_state(batch_size)

    def step(self, state: torch.Tensor, input: torch.Tensor) -> torch.Tensor:
        return self.inner.step(state, input)

    def readout(self, state: torch.Tensor) -> torch.Tensor:
        return self.inner.readout(state)

    @torch.no_grad()
    def tangent_products(self, states: torch.Tensor, inputs: torch.Tensor) -> list[Push] | None:
        if not self.has_products:
            return None
        (layer,) = self.inner.recurrent_layers()
        gains = gains_by_step(cell_gains(self.inner.kind, layer, states.flatten(0, 1), inputs.flatten(0, 1)), len(states))
        PUSHED.append(len(states))
        return [partial(push_tangents, layer, one) for one in gains]


PUSHED: list[int] = []  # a copy of the system is what runs


@pytest.mark.parametrize("cell", [rs.Elman, rs.GRU, rs.LSTM])
def test_pushing_tangents_equals_multiplying_by_jacobians(cell: Any) -> None:
    inner = network(cell).double()
    states, inputs, by_state, by_input = (
        torch.randn(shape, generator=seeded(i), dtype=DOUBLE)
        for i, shape in enumerate([(3, 4, inner.state_size), (3, 4, 2), (4, 5, inner.state_size), (4, 5, 2)])
    )
    pushes = Pushed(inner).tangent_products(states, inputs)
    assert pushes is not None
    for state, x, push in zip(states, inputs, pushes, strict=True):
        of_state = by_state @ state_jacobians(inner, state, x).mT
        of_input = by_input @ input_jacobians(inner, state, x).mT
        torch.testing.assert_close(push(by_state, None).detach(), of_state, rtol=0, atol=1e-14)
        torch.testing.assert_close(push(by_state, by_input).detach(), of_state + of_input, rtol=0, atol=1e-14)


@pytest.mark.parametrize("cell", [rs.Elman, rs.GRU, rs.LSTM])
@pytest.mark.parametrize("interval", [None, 1])
def test_exponents_are_the_same_with_and_without_matrices(cell: Any, interval: int | None) -> None:
    inner = network(cell, hidden=16)
    PUSHED.clear()
    found, plain, none = (
        lyapunov_spectrum(system, num_steps=200, num_exponents=3, inputs=1.0, interval=interval)
        for system in (Pushed(inner), inner, Pushed(inner, has_products=False))
    )
    assert PUSHED
    for other in (plain, none):
        torch.testing.assert_close(found.local_exponents, other.local_exponents, rtol=0, atol=1e-10)


def test_most_of_a_spectrum_goes_by_matrices() -> None:
    PUSHED.clear()
    lyapunov_spectrum(Pushed(network(rs.GRU)), num_steps=10, num_exponents=7, inputs=1.0)
    assert not PUSHED
