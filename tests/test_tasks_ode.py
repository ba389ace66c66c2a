"""Differential equations: fields against their mathematics, trajectories against exact solutions, and what is observed."""

import dataclasses

import numpy as np
import pytest
import torch

import rnnscope as rs
from rnnscope.core.random import Streams
from rnnscope.experiment import preset, with_overrides
from rnnscope.numerics.integrate import integrate
from rnnscope.tasks.forecasting import assemble

SHORT = {
    "driven": rs.DrivenOscillator(dt=0.05, duration=12.0, window=8),
    "pendulum": rs.Pendulum(duration=12.0, window=8),
    "van_der_pol": rs.VanDerPol(duration=12.0, window=8),
    "duffing": rs.Duffing(dt=0.05, duration=12.0, window=8),
    "lorenz63": rs.Lorenz63(duration=4.0, transient=1.0, window=8),
    "rossler": rs.Rossler(duration=12.0, transient=2.0, window=8),
    "lorenz96": rs.Lorenz96(duration=4.0, transient=1.0, window=8),
    "mackey_glass": rs.MackeyGlass(duration=200.0, transient=20.0, window=8),
}
ORDINARY = {name: task for name, task in SHORT.items() if name != "mackey_glass"}

every_system = pytest.mark.parametrize("task", SHORT.values(), ids=SHORT)
every_field = pytest.mark.parametrize("task", ORDINARY.values(), ids=ORDINARY)


def observed(task: rs.ODETask) -> tuple[str, ...]:
    return task.observed or task.variables()


def record(task: rs.ODETask, seed: int = 0) -> rs.Recording:
    return task.record(np.random.default_rng(seed))


def states_near_the_origin(task: rs.ODETask, count: int = 6) -> np.ndarray:
    return np.random.default_rng(3).normal(size=(count, len(task.variables())))


def field_of(task: rs.ODETask, states: np.ndarray, time: float = 0.7) -> np.ndarray:
    return task.derivative(states, time, np, task.forcings(len(states), np.random.default_rng(0)))


# what is recorded


@every_system
def test_a_recording_has_one_row_per_observation_and_one_column_per_observed_variable(task):
    recording = record(task)
    (series,) = recording.series
    steps = round(task.duration / task.dt)
    assert series.values.shape == (-(-steps // task.sample_every), len(observed(task)))
    assert series.names == observed(task)
    assert set(series.hidden) == set(task.variables()) - set(observed(task))
    assert all(len(column) == len(series) for column in series.hidden.values())
    assert np.isfinite(series.values).all()


@every_system
def test_observation_times_begin_after_the_transient_and_are_evenly_spaced(task):
    recording = record(task)
    times = recording.series[0].times
    assert times[0] == pytest.approx(task.transient)
    np.testing.assert_allclose(np.diff(times), task.dt * task.sample_every)
    assert recording.sampling_interval == pytest.approx(task.dt * task.sample_every)


@every_field
def test_observed_and_hidden_columns_together_are_the_state(task):
    first = task.but(observed=task.variables()[:1], transient=0.0)
    everything = task.but(observed=task.variables(), transient=0.0)
    (seen,), (whole,) = record(first).series, record(everything).series
    for column, name in enumerate(task.variables()):
        expected = whole.values[:, column]
        np.testing.assert_array_equal(seen.values[:, 0] if name in seen.names else seen.hidden[name], expected)


@every_system
def test_observing_every_third_step_keeps_every_third_value(task):
    dense, sparse = record(task.but(sample_every=1)), record(task.but(sample_every=3))
    np.testing.assert_array_equal(sparse.series[0].values, dense.series[0].values[::3])
    np.testing.assert_allclose(sparse.series[0].times, dense.series[0].times[::3])


@every_system
def test_a_transient_only_leaves_out_the_beginning(task):
    whole = record(task.but(transient=0.0, sample_every=1))
    late = record(task.but(transient=10 * task.dt, sample_every=1, duration=task.duration - 10 * task.dt))
    np.testing.assert_allclose(late.series[0].values, whole.series[0].values[10:], rtol=1e-12)


@every_field
def test_the_first_trajectory_starts_at_the_initial_state_and_the_others_in_the_box_around_it(task):
    many = task.but(
        num_trajectories=5, num_unseen=7, spread=(0.2,), unseen_spread=(0.05,), transient=0.0, observed=task.variables()
    )
    recording = record(many)
    initial = np.array(task.initial or task.default_initial())
    np.testing.assert_array_equal(recording.series[0].values[0], initial)
    trained = np.array([s.values[0] for s in recording.training_only]) - initial
    unseen = np.array([s.values[0] for s in recording.unseen["unseen"]]) - initial
    assert (len(trained), len(unseen)) == (4, 7)
    assert 0.05 < np.abs(trained).max() <= 0.2
    assert 0 < np.abs(unseen).max() <= 0.05
    assert len(np.unique(np.concatenate([trained, unseen]), axis=0)) == 11


@every_system
def test_observation_noise_is_relative_to_the_spread_of_each_variable(task):
    noisy = record(task.but(noise_sd=0.1, observed=task.variables())).series[0]
    quiet = record(task.but(observed=task.variables())).series[0]
    np.testing.assert_array_equal(noisy.clean, quiet.values)
    relative = (noisy.values - noisy.clean).std(0) / noisy.clean.std(0)
    np.testing.assert_allclose(relative, 0.1, rtol=0.35)
    assert quiet.clean is None


# how trajectories are divided


@every_system
def test_training_only_trajectories_end_where_training_ends_and_unseen_ones_are_whole_test_sets(task):
    data = task.but(num_trajectories=3, num_unseen=2).prepare(Streams(0))
    first, second, third = data.parts.train
    (test,) = data.parts.tests["test"]
    steps = len(data.series[0])
    assert (second.series, third.series) == (1, 2)
    assert second.stop == third.stop == first.stop <= test.start
    assert [(s.series, s.start, s.stop) for s in data.parts.tests["unseen"]] == [
        (3, task.window, steps),
        (4, task.window, steps),
    ]


def test_training_sees_nothing_of_unseen_trajectories_nor_of_what_follows_the_training_part():
    task = SHORT["pendulum"].but(num_trajectories=3, num_unseen=2, differences=1)
    recording = record(task)
    data = assemble(task, recording, Streams(0))
    end = data.parts.train[0].stop

    def garbled(series, start):
        values = series.values.copy()
        values[start:] = 1e3 * np.random.default_rng(5).normal(size=values[start:].shape)
        return dataclasses.replace(series, values=values)

    other = assemble(
        task,
        dataclasses.replace(
            recording,
            series=[garbled(s, end) for s in recording.series],
            training_only=[garbled(s, end) for s in recording.training_only],
            unseen={"unseen": [garbled(s, 0) for s in recording.unseen["unseen"]]},
        ),
        Streams(0),
    )
    assert len(other.train) == len(data.train)
    numbers = np.arange(len(data.train))
    torch.testing.assert_close(other.train.gather(numbers).inputs, data.train.gather(numbers).inputs, rtol=0, atol=0)
    torch.testing.assert_close(other.train.gather(numbers).targets, data.train.gather(numbers).targets, rtol=0, atol=0)
    np.testing.assert_array_equal(other.representation.location, data.representation.location)
    np.testing.assert_array_equal(other.representation.difference_scales[0], data.representation.difference_scales[0])


# forcing


@pytest.mark.parametrize("name", ["driven", "duffing"])
def test_forcing_is_a_covariate_when_asked_for_and_else_there_is_none(name):
    on, off = record(SHORT[name].but(forcing_input=True)).series[0], record(SHORT[name].but(forcing_input=False)).series[0]
    assert on.covariate_names == ("forcing",)
    np.testing.assert_allclose(on.covariates[:, 0], SHORT[name].force * np.cos(SHORT[name].frequency * on.times))
    assert off.covariates.shape == (len(off), 0)
    np.testing.assert_array_equal(on.values, off.values)


@pytest.mark.parametrize("name", ["driven", "duffing"])
def test_each_trajectory_is_driven_by_the_forcing_that_it_reports(name):
    task = SHORT[name].but(
        dt=0.005, forcing_input=True, num_trajectories=3, num_unseen=2, spread=(0.5,), observed=("x", "v"), duration=6.0
    )
    if name == "driven":
        task = task.but(force_spread=0.5, frequency_spread=0.3)
    recording = record(task)
    for series in (*recording.series, *recording.training_only, *recording.unseen["unseen"]):
        x, v = series.values[1:-1].T
        acceleration = (series.values[2:, 1] - series.values[:-2, 1]) / (2 * task.dt)
        rest = -2 * task.gamma * v - x if name == "driven" else -task.delta * v - task.alpha * x - task.beta * x**3
        np.testing.assert_allclose(acceleration - rest, series.covariates[1:-1, 0], atol=2e-4)


def test_only_further_training_trajectories_have_other_forcings():
    task = SHORT["driven"].but(forcing_input=True, num_trajectories=4, num_unseen=2, force_spread=0.5, frequency_spread=0.2)
    recording = record(task)
    own = recording.series[0].covariates
    assert all(not np.allclose(s.covariates, own) for s in recording.training_only)
    assert all(np.array_equal(s.covariates, own) for s in recording.unseen["unseen"])


# the fields

DIVERGENCE = {
    "driven": lambda task, s: -2 * task.gamma + 0 * s[:, 0],
    "pendulum": lambda task, s: -2 * task.gamma + 0 * s[:, 0],
    "van_der_pol": lambda task, s: task.mu * (1 - s[:, 0] ** 2),
    "duffing": lambda task, s: -task.delta + 0 * s[:, 0],
    "lorenz63": lambda task, s: -(task.sigma + 1 + task.beta) + 0 * s[:, 0],
    "rossler": lambda task, s: task.a + s[:, 0] - task.c,
    "lorenz96": lambda task, s: -task.size + 0 * s[:, 0],
}


@pytest.mark.parametrize("name", DIVERGENCE)
def test_the_divergence_of_each_field_is_its_formula(name):
    task = SHORT[name].but(gamma=0.15) if name == "pendulum" else SHORT[name]
    states, small = states_near_the_origin(task), 1e-5
    found = np.zeros(len(states))
    for i in range(states.shape[1]):
        shift = small * np.eye(states.shape[1])[i]
        found += (field_of(task, states + shift) - field_of(task, states - shift))[:, i] / (2 * small)
    np.testing.assert_allclose(found, DIVERGENCE[name](task, states), atol=1e-7)


def test_lorenz63_contracts_volumes_at_the_rate_of_its_divergence():
    task, small, duration = rs.Lorenz63(), 1e-5, 0.4
    middle = np.array([1.0, 2.0, 20.0])
    corners = np.concatenate([middle + small * np.eye(3), middle - small * np.eye(3)])
    steps = 400
    end = integrate(lambda s, t: task.derivative(s, t, np, None), corners, duration / steps, steps)[:, -1]
    jacobian = (end[:3] - end[3:]).T / (2 * small)
    expected = -(task.sigma + 1 + task.beta) * duration
    assert np.log(np.linalg.det(jacobian)) == pytest.approx(expected, abs=1e-5)


def rest_points(name: str) -> tuple[rs.ODETask, np.ndarray]:
    if name == "driven":
        return SHORT[name].but(frequency=0.0, force=0.7), np.array([[0.7, 0.0]])
    if name == "pendulum":
        return SHORT[name].but(gamma=0.1), np.array([[0.0, 0.0], [np.pi, 0.0], [-np.pi, 0.0]])
    if name == "van_der_pol":
        return SHORT[name], np.array([[0.0, 0.0]])
    if name == "duffing":
        task = SHORT[name].but(force=0.0, alpha=-2.0, beta=0.5)
        return task, np.array([[0.0, 0.0], [2.0, 0.0], [-2.0, 0.0]])
    if name == "lorenz63":
        task = SHORT[name]
        r = np.sqrt(task.beta * (task.rho - 1))
        return task, np.array([[0.0, 0.0, 0.0], [r, r, task.rho - 1], [-r, -r, task.rho - 1]])
    if name == "rossler":
        task = SHORT[name]
        roots = (task.c + np.array([1, -1]) * np.sqrt(task.c**2 - 4 * task.a * task.b)) / 2
        return task, np.array([[r, -r / task.a, r / task.a] for r in roots])
    return SHORT["lorenz96"], np.full((1, 8), SHORT["lorenz96"].force)


@pytest.mark.parametrize("name", ORDINARY)
def test_fixed_points_are_at_rest(name):
    task, points = rest_points(name)
    np.testing.assert_allclose(field_of(task, points), 0, atol=1e-12)
    for point in points:
        start = task.but(initial=tuple(point), transient=0.0, duration=20 * task.dt, observed=task.variables())
        np.testing.assert_allclose(record(start).series[0].values, np.tile(point, (20, 1)), atol=1e-9)


def test_the_mackey_glass_equation_rests_at_both_of_its_fixed_points():
    task = rs.MackeyGlass(duration=60.0, transient=0.0)
    positive = (task.beta / task.gamma - 1) ** (1 / task.exponent)
    for point in (0.0, positive):
        values = record(task.but(initial=(point,))).series[0].values
        np.testing.assert_allclose(values, point, atol=1e-12)


@every_field
def test_the_field_is_the_same_in_numpy_and_in_torch(task):
    states = states_near_the_origin(task)
    expected = task.derivative(states, 0.3, np, None)
    found = task.derivative(torch.from_numpy(states), 0.3, torch, None)
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-13)


@every_field
def test_the_field_leaves_its_argument_alone_and_treats_rows_apart(task):
    states = states_near_the_origin(task)
    before = states.copy()
    together = field_of(task, states)
    np.testing.assert_array_equal(states, before)
    for row, state in enumerate(states):
        np.testing.assert_allclose(field_of(task, state[None])[0], together[row], rtol=1e-14)


def test_lorenz63_is_symmetric_under_a_half_turn_about_its_axis():
    states, turn = states_near_the_origin(SHORT["lorenz63"]), np.array([-1.0, -1.0, 1.0])
    np.testing.assert_allclose(field_of(SHORT["lorenz63"], states * turn), field_of(SHORT["lorenz63"], states) * turn)


@pytest.mark.parametrize("name", ["pendulum", "van_der_pol"])
def test_the_field_is_odd(name):
    states = states_near_the_origin(SHORT[name])
    np.testing.assert_allclose(field_of(SHORT[name], -states), -field_of(SHORT[name], states))


def test_lorenz96_turns_with_its_ring_and_its_quadratic_part_conserves_energy():
    task = SHORT["lorenz96"]
    states = states_near_the_origin(task)
    np.testing.assert_allclose(field_of(task, np.roll(states, 3, -1)), np.roll(field_of(task, states), 3, -1))
    quadratic = field_of(task, states) + states - task.force
    np.testing.assert_allclose((states * quadratic).sum(-1), 0, atol=1e-12)


# trajectories

ENERGY = {
    "pendulum": lambda task, x, v: 0.5 * v**2 - np.cos(x),
    "duffing": lambda task, x, v: 0.5 * v**2 + 0.5 * task.alpha * x**2 + 0.25 * task.beta * x**4,
    "driven": lambda task, x, v: 0.5 * v**2 + 0.5 * x**2,
}
CONSERVING = {
    "pendulum": rs.Pendulum(gamma=0.0, dt=0.1, duration=20.0, observed=("theta", "omega")),
    "duffing": rs.Duffing(delta=0.0, force=0.0, dt=0.05, duration=20.0, initial=(0.3, 1.2), observed=("x", "v")),
    "driven": rs.DrivenOscillator(gamma=0.0, force=0.0, dt=0.1, duration=20.0, observed=("x", "v")),
}


def energy(name: str, task: rs.ODETask) -> np.ndarray:
    return ENERGY[name](task, *record(task).series[0].values.T)


@pytest.mark.parametrize("name", CONSERVING)
def test_without_friction_and_forcing_energy_is_conserved_to_the_order_of_the_method(name):
    task = CONSERVING[name]
    coarse, fine = energy(name, task), energy(name, task.but(dt=task.dt / 2))
    drift, smaller = np.abs(coarse - coarse[0]).max(), np.abs(fine - fine[0]).max()
    assert drift < 1e-2
    assert drift / smaller > 14


@pytest.mark.parametrize("name", CONSERVING)
def test_friction_takes_energy_away_at_every_step(name):
    friction = {"delta": 0.3} if name == "duffing" else {"gamma": 0.15}
    found = energy(name, CONSERVING[name].but(**friction, sample_every=5))
    assert (np.diff(found) < 0).all()


def exact_damped(task: rs.DrivenOscillator, times: np.ndarray) -> np.ndarray:
    omega = np.sqrt(1 - task.gamma**2)
    return np.exp(-task.gamma * times) * (np.cos(omega * times) + task.gamma / omega * np.sin(omega * times))


@pytest.mark.parametrize(("method", "order"), [("rk4", 4), ("euler", 1)])
def test_the_damped_oscillator_converges_to_its_exact_solution_with_the_order_of_the_method(method, order):
    errors = []
    for dt in (0.02, 0.01):
        task = rs.DrivenOscillator(force=0.0, dt=dt, duration=5.0, method=method)
        series = record(task).series[0]
        errors.append(np.abs(series.values[:, 0] - exact_damped(task, series.times)).max())
    assert np.log2(errors[0] / errors[1]) == pytest.approx(order, abs=0.1)


def test_the_driven_oscillator_settles_on_its_exact_steady_response():
    task = rs.DrivenOscillator(gamma=0.5, frequency=0.8, force=1.5, dt=0.02, duration=20.0, transient=60.0)
    series = record(task).series[0]
    response = task.force * np.exp(1j * task.frequency * series.times)
    response /= 1 - task.frequency**2 + 2j * task.gamma * task.frequency
    np.testing.assert_allclose(series.values[:, 0], response.real, atol=1e-6)


def test_the_van_der_pol_limit_cycle_has_an_amplitude_near_two():
    series = record(rs.VanDerPol(mu=0.1, transient=100.0, duration=30.0, initial=(0.1, 0.0))).series[0]
    assert np.abs(series.values).max() == pytest.approx(2.0, abs=0.02)


# refusals

DIVERGING = {
    "driven": SHORT["driven"].but(method="euler", dt=5.0, duration=5000.0),
    "pendulum": SHORT["pendulum"].but(method="euler", gamma=5.0, dt=3.0, duration=3000.0),
    "van_der_pol": SHORT["van_der_pol"].but(method="euler", dt=1.0, initial=(10.0, 10.0)),
    "duffing": SHORT["duffing"].but(beta=-1.0, initial=(10.0, 0.0)),
    "lorenz63": SHORT["lorenz63"].but(dt=0.5, duration=100.0),
    "rossler": SHORT["rossler"].but(dt=2.0, duration=500.0),
    "lorenz96": SHORT["lorenz96"].but(dt=1.0, duration=100.0),
    "mackey_glass": SHORT["mackey_glass"].but(gamma=-30.0),
}


@pytest.mark.parametrize("name", DIVERGING)
def test_a_trajectory_that_leaves_the_finite_numbers_is_refused(name):
    with pytest.raises(rs.DataError, match="finite numbers") as caught:
        record(DIVERGING[name])
    assert "task.dt" in caught.value.remedy


@every_field
def test_an_unknown_variable_is_answered_with_those_there_are(task):
    with pytest.raises(rs.ConfigError, match="unknown variable 'position'") as caught:
        record(task.but(observed=("position",)))
    assert all(name in caught.value.expected for name in task.variables())


@every_system
def test_initial_values_and_spreads_must_fit_the_number_of_variables(task):
    with pytest.raises(rs.ConfigError, match=r"task.initial has 9 values"):
        record(task.but(initial=(0.1,) * 9))
    with pytest.raises(rs.ConfigError, match=r"spread has 9 values"):
        record(task.but(spread=(0.1,) * 9))


@every_system
def test_a_duration_of_less_than_one_step_is_refused_as_too_short(task):
    with pytest.raises(rs.RnnscopeError):
        task.but(duration=task.dt / 10, transient=0.0).prepare(Streams(0))


def test_a_delay_equation_wants_runge_kutta_and_a_step_below_half_the_delay():
    for fields in ({"method": "euler"}, {"dt": 12.0}):
        with pytest.raises(rs.ConfigError, match="delay"):
            record(SHORT["mackey_glass"].but(**fields))


def test_a_ring_of_three_variables_is_too_small():
    with pytest.raises(rs.ConfigError, match=r"task.size is 3"):
        rs.Lorenz96(size=3)


def test_the_ring_of_lorenz96_can_be_resized_with_one_assignment():
    task = with_overrides(preset("lorenz96"), ["task.size=12", "task.duration=4.0"]).task
    assert record(task).series[0].values.shape[1] == 12
