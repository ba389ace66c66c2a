import numpy as np
import pytest
import torch
from scipy import linalg

import rnnscope as rs
from known_systems import DOUBLE, henon, linear_map
from rnnscope.analysis.figures_memory import capacity_figure
from rnnscope.core.interfaces import Signature
from rnnscope.dynamics.memory_capacity import linear_memory_capacity, memory_capacity
from rnnscope.plotting import render


def cyclic(size, radius):
    """A ring h_i' = ρ h_{i-1} with the input at one unit."""
    return radius * np.roll(np.eye(size), 1, axis=0), np.eye(size)[:, :1]


def diagonal(size, low, high):
    return np.diag(np.linspace(low, high, size)), np.ones((size, 1))


def gaussian(size, radius, seed, inputs=1):
    rng = np.random.default_rng(seed)
    matrix = rng.normal(size=(size, size))
    return radius * matrix / np.abs(np.linalg.eigvals(matrix)).max(), rng.normal(size=(size, inputs))


def system_of(matrix, drive):
    return linear_map(torch.tensor(matrix, dtype=DOUBLE), torch.tensor(drive, dtype=DOUBLE))


def tanh_reservoir(size, radius, seed, input_scale=0.3):
    matrix, drive = (torch.tensor(a) for a in gaussian(size, radius, seed))
    return rs.System(lambda h, x: torch.tanh(h @ matrix.T + input_scale * x @ drive.T), size, 1, dtype=DOUBLE)


def test_the_closed_form_of_a_ring_is_geometric():
    size, radius = 8, 0.9
    found = linear_memory_capacity(*cyclic(size, radius), max_lag=60)[:, 0]
    lags = np.arange(61)
    np.testing.assert_allclose(found, radius ** (2 * (lags - lags % size)) * (1 - radius ** (2 * size)), atol=1e-12)


@pytest.mark.parametrize(("matrix", "drive"), [diagonal(4, -0.8, 0.9), gaussian(5, 0.8, 0), gaussian(5, 0.7, 1, inputs=2)])
def test_the_closed_form_is_that_of_the_stationary_covariance(matrix, drive):
    covariance = linalg.solve_discrete_lyapunov(matrix, drive @ drive.T)
    columns = [np.linalg.matrix_power(matrix, k) @ drive for k in range(21)]
    expected = [np.diag(c.T @ np.linalg.solve(covariance, c)) for c in columns]
    np.testing.assert_allclose(linear_memory_capacity(matrix, drive, max_lag=20), expected, rtol=1e-5, atol=1e-8)


@pytest.mark.parametrize(
    ("matrix", "drive"), [cyclic(20, 0.95), diagonal(6, -0.9, 0.9), gaussian(10, 0.9, 2), gaussian(6, 0.9, 3, 3)]
)
def test_the_closed_form_sums_to_the_number_of_units(matrix, drive):
    assert linear_memory_capacity(matrix, drive, max_lag=2000).sum() == pytest.approx(len(matrix), abs=1e-6)


@pytest.mark.parametrize(
    ("matrix", "drive"), [cyclic(12, 0.9), diagonal(6, -0.9, 0.9), gaussian(10, 0.9, 2), gaussian(6, 0.8, 3, 2)]
)
def test_a_linear_reservoir_has_the_capacities_of_the_closed_form(matrix, drive):
    found = memory_capacity(system_of(matrix, drive), max_lag=100, num_steps=20_000, burn_in=300)
    expected = linear_memory_capacity(matrix, drive, max_lag=100)
    error = found.capacities - expected
    assert np.abs(error).max() < 0.03
    assert np.sqrt((error**2).mean()) < 0.006
    assert found.total == pytest.approx(expected.sum(), abs=0.05)
    assert found.total <= found.rank == len(matrix)


def test_capacities_are_unbiased_and_their_standard_errors_cover_the_closed_form():
    matrix, drive = cyclic(12, 0.9)
    expected = linear_memory_capacity(matrix, drive, max_lag=60)
    runs = [
        memory_capacity(system_of(matrix, drive), max_lag=60, num_steps=4000, rng=np.random.default_rng(seed))
        for seed in range(8)
    ]
    errors = np.array([found.capacities - expected for found in runs])
    scores = (errors / [found.standard_error for found in runs])[:, expected > 0.05]
    assert np.sqrt(np.mean(np.square(scores))) < 1.5
    uncorrected = 12 / 4000
    assert abs(errors[:, 40:].mean()) < 0.5 * uncorrected


@pytest.mark.parametrize("num_steps", [1300, 5000])
@pytest.mark.parametrize("radius", [0.5, 0.95, 1.1])
def test_the_linear_total_is_never_above_the_number_of_units(radius, num_steps):
    for seed in range(3):
        reservoir = tanh_reservoir(15, radius, seed)
        found = memory_capacity(reservoir, max_lag=300, num_steps=num_steps, burn_in=300, rng=np.random.default_rng(seed))
        assert 0 < found.total <= found.rank <= 15


def test_the_correction_and_the_threshold_are_those_of_independent_surrogates():
    rng = np.random.default_rng(0)
    noise = torch.randn(1, 100_000, 20, generator=torch.Generator().manual_seed(0), dtype=DOUBLE)

    class Deaf(rs.DynamicalSystem):
        """A state that moves but does not read its input."""

        state_size, input_size, output_size = 20, 1, 20

        def __init__(self):
            super().__init__()
            self.register_buffer("time", torch.zeros(1, dtype=DOUBLE))

        def initial_state(self, batch_size):
            return torch.zeros(batch_size, 20, dtype=DOUBLE)

        def step(self, state, input):
            self.time += 1
            return 0.9 * state + noise[0, int(self.time)].expand(len(state), -1) * torch.ones(len(state), 1, dtype=DOUBLE)

        def readout(self, state):
            return state

    values, above, threshold = [], 0, 0.0
    for _ in range(6):
        found = memory_capacity(Deaf(), max_lag=200, num_steps=2000, num_sequences=1, rng=rng)
        values.append(found.capacities)
        above, threshold = above + int(found.significant.sum()), found.threshold
    values = np.concatenate(values).ravel()
    assert abs(values.mean()) < 4 * values.std() / np.sqrt(len(values))
    assert above <= 2  # .12 expected of 1206
    assert np.quantile(values, 0.999) < threshold < 3 * np.quantile(values, 0.99)


def test_a_delay_line_holds_its_taps_and_their_sum_is_all_there_is():
    shift = np.diag(np.ones(4), -1)
    found = memory_capacity(system_of(shift, np.eye(5)[:, :1]), kind="nonlinear", degree=3, max_lag=(12, 6, 4), num_steps=8000)
    np.testing.assert_allclose(found.capacities[:5, 0], 1.0, atol=1e-6)
    assert np.abs(found.capacities[5:]).max() < 0.01
    assert found.total == pytest.approx(5.0, abs=0.02)
    assert found.by_degree[2] == found.by_degree[3] == 0.0


def test_products_of_past_inputs_are_found_at_their_degree():
    def step(state, x):
        first, second = state[:, :1], state[:, 1:2]  # u(t-1) and u(t-2)
        return torch.cat([x, first, 3 * x * first, 1.5 * second**2 - 0.5, x * first * second], 1)

    found = memory_capacity(
        rs.System(step, 5, 1, dtype=DOUBLE), kind="nonlinear", degree=4, max_lag=(10, 6, 4, 3), num_steps=6000, burn_in=20
    )
    assert [found.by_degree[d] for d in (1, 2, 3)] == pytest.approx([2.0, 2.0, 1.0], abs=0.01)
    assert found.by_degree[4] == pytest.approx(0.0, abs=0.05)
    assert found.num_targets[2] == 7 * 8 // 2
    assert found.max_lags == {1: 10, 2: 6, 3: 4, 4: 3}


def test_a_tanh_reservoir_trades_linear_for_nonlinear_capacity_within_its_bound():
    weak, strong = (
        memory_capacity(tanh_reservoir(10, 0.7, 1, s), kind="nonlinear", degree=3, max_lag=(30, 20, 12), num_steps=8000)
        for s in (0.05, 1.0)
    )
    assert weak.total_linear > strong.total_linear
    assert strong.by_degree[3] > weak.by_degree[3]
    for found in (weak, strong):
        assert 0.5 * 10 < found.total <= 10
        assert "of at most 10" in found.summary


def test_lags_of_higher_degrees_are_cut_to_what_can_be_paid_for():
    found = memory_capacity(system_of(*cyclic(3, 0.5)), kind="nonlinear", degree=3, max_lag=60, num_steps=1000)
    assert found.max_lags == {1: 60, 2: 53, 3: 18}
    assert found.num_targets[2] == 54 * 55 // 2 <= 1500
    assert found.num_targets[3] == 19 * 20 * 21 // 6 <= 1500


def test_ridge_lowers_every_capacity_and_stays_unbiased_for_lags_beyond_memory():
    system = system_of(*cyclic(10, 0.8))
    plain, damped = (memory_capacity(system, num_steps=5000, ridge=r) for r in (0.0, 0.01))
    assert damped.total < plain.total
    assert abs(damped.capacities[60:].mean()) < 1e-3


def test_several_inputs_share_the_bound():
    found = memory_capacity(system_of(*gaussian(8, 0.8, 4, inputs=3)), max_lag=60, num_steps=6000)
    assert found.capacities.shape == (61, 3)
    assert found.total == pytest.approx(8.0, abs=0.3)


def test_a_network_is_read_and_left_alone(rng):
    network = rs.LSTM(hidden_size=4, num_layers=1).build(Signature(1, 1), rng)
    before = {k: v.clone() for k, v in network.state_dict().items()}
    found = memory_capacity(network, max_lag=20, num_steps=1000)
    assert found.bound == 8
    assert 0 < found.total <= 8
    assert all(torch.equal(before[k], v) and v.dtype == torch.float32 for k, v in network.state_dict().items())


@pytest.mark.parametrize("kind", ["linear", "nonlinear"])
def test_its_figure_is_drawn_with_the_closed_form_and_the_degrees(kind):
    matrix, drive = gaussian(3, 0.5, 0, inputs=2)
    found = memory_capacity(system_of(matrix, drive), max_lag=8, num_steps=500, kind=kind, degree=2)
    figure = capacity_figure(found, linear_memory_capacity(matrix, drive, max_lag=8))
    drawn = render(figure.canvas, "svg")
    assert b"closed form" in drawn
    assert (b"degree" in drawn) is (kind == "nonlinear")


def test_many_inputs_are_drawn_without_a_name_each():
    found = memory_capacity(system_of(*gaussian(12, 0.5, 0, inputs=9)), max_lag=2, num_steps=500)
    drawn = render(capacity_figure(found).canvas, "svg")
    assert b"each of 9 inputs" in drawn
    assert b"input 9<" not in drawn


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"max_lag": -1}, rs.ConfigError, r"max_lag \(-1,\)"),
        ({"max_lag": 300}, rs.ConfigError, "raise burn_in"),
        ({"max_lag": (5, 4), "kind": "nonlinear"}, rs.ConfigError, "one per degree"),
        ({"max_lag": (4, 5), "kind": "nonlinear", "degree": 2}, rs.ConfigError, "the first the largest"),
        ({"degree": 0, "kind": "nonlinear"}, rs.ConfigError, "degree >= 1"),
        ({"num_steps": 11}, rs.ConfigError, "num_steps 11"),
        ({"ridge": -1.0}, rs.ConfigError, "ridge -1"),
        ({"input_scale": 0.0}, rs.ConfigError, "input_scale 0"),
        ({"num_sequences": 0}, rs.ConfigError, "num_sequences 0"),
    ],
)
def test_bad_input_is_refused(arguments, error, words):
    with pytest.raises(error, match=words):
        memory_capacity(system_of(*cyclic(3, 0.5)), **arguments)


@pytest.mark.usefixtures("unchecked")
def test_systems_without_memory_to_measure_are_refused():
    ring = system_of(*cyclic(3, 0.5))
    with pytest.raises(rs.ConfigError, match="'quadratic'"):
        memory_capacity(ring, kind="quadratic")
    with pytest.raises(rs.ConfigError, match="without input"):
        memory_capacity(henon())
    with pytest.raises(rs.DataError, match="do not move"):
        memory_capacity(system_of(0.5 * np.eye(2), np.zeros((2, 1))))
    with pytest.raises(rs.DataError, match="not finite"):
        memory_capacity(system_of(9.0 * np.eye(2), np.ones((2, 1))))


@pytest.mark.parametrize(
    ("matrix", "drive", "error", "words"),
    [
        (np.eye(2), np.ones((2, 1)), rs.ConfigError, "spectral radius of 1"),
        (0.5 * np.eye(2), np.zeros((2, 1)), rs.ConfigError, "V = 0"),
        (0.5 * np.eye(2), np.ones((3, 1)), rs.ShapeError, "shapes"),
        (np.ones((2, 3)), np.ones((2, 1)), rs.ShapeError, "shapes"),
    ],
)
@pytest.mark.usefixtures("unchecked")
def test_bad_matrices_are_refused(matrix, drive, error, words):
    with pytest.raises(error, match=words):
        linear_memory_capacity(matrix, drive)
