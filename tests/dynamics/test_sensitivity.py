import math

import pytest
import torch

import rnnscope as rs
from known_systems import DOUBLE, henon, line_attractor, linear_map, rotation
from rnnscope.analysis.figures_memory import sensitivity_figure
from rnnscope.core.interfaces import Signature
from rnnscope.dynamics.sensitivity import sensitivity
from rnnscope.plotting import render


def norms_of_powers(matrix, lag, columns=None):
    columns = torch.eye(len(matrix), dtype=DOUBLE) if columns is None else columns
    return torch.stack([torch.linalg.matrix_norm(torch.linalg.matrix_power(matrix, k) @ columns, 2) for k in range(lag + 1)])


def test_norms_of_a_linear_system_are_those_of_matrix_powers():
    rng = torch.Generator().manual_seed(0)
    matrix = 0.3 * torch.randn(6, 6, generator=rng, dtype=DOUBLE)
    drive = torch.randn(6, 2, generator=rng, dtype=DOUBLE)
    found = sensitivity(linear_map(matrix, drive), torch.randn(3, 60, 2, generator=rng), max_lag=25)
    torch.testing.assert_close(found.log_state, norms_of_powers(matrix, 25).log().expand(len(found.log_state), -1))
    torch.testing.assert_close(found.input_norms[1], norms_of_powers(matrix, 25, drive))
    assert len(found.log_state) == 64


def test_norms_of_a_network_are_those_of_the_gradient_through_its_unrolling(rng):
    network = rs.LSTM(hidden_size=5, skip=1).build(Signature(2, 1), rng).double()
    inputs = torch.randn(1, 12, 2, generator=rng, dtype=DOUBLE)
    found = sensitivity(network, inputs, max_lag=11)

    def last(x):
        state = network.initial_state(1)
        for row in x:
            state = network.step(state, row[None])
        return state[0]

    for lag in (0, 3, 11):
        jacobian = torch.autograd.functional.jacobian(last, inputs[0, : lag + 1])[:, 0]
        assert float(found.log_input[0, lag].exp()) == pytest.approx(float(torch.linalg.matrix_norm(jacobian, 2)), rel=1e-9)


def test_norms_stay_exact_far_beyond_the_range_of_floats():
    matrix = torch.tensor([[1e-4, 1e-5], [0.0, 1e-4]], dtype=DOUBLE)
    found = sensitivity(linear_map(matrix), torch.zeros(1, 302, 0), max_lag=300)
    expected = 300 * math.log(1e-4) + math.log(torch.linalg.matrix_norm(torch.tensor([[1.0, 30.0], [0.0, 1.0]]), 2))
    assert float(found.log_state[0, 300]) == pytest.approx(expected, rel=1e-9)
    growing = sensitivity(linear_map(1e4 * torch.eye(2, dtype=DOUBLE)), torch.zeros(1, 60, 0), max_lag=50)
    assert growing.decay_rate == pytest.approx(-math.log(1e4))


def test_the_horizon_is_the_first_lag_below_the_threshold_for_good():
    system = linear_map(torch.tensor([[0.8]], dtype=DOUBLE), torch.tensor([[5.0]], dtype=DOUBLE))
    for threshold in (0.5, 0.01):
        found = sensitivity(system, torch.zeros(1, 60, 1), max_lag=40, threshold=threshold)
        expected = next(k for k in range(41) if 0.8**k < threshold)
        assert found.memory_horizon == found.state_horizon == expected
        assert found.decay_rate == pytest.approx(-math.log(0.8))


def test_transient_growth_does_not_end_the_horizon_early():
    matrix = torch.tensor([[0.5, 100.0], [0.0, 0.5]], dtype=DOUBLE)
    found = sensitivity(linear_map(matrix), torch.zeros(1, 60, 0), max_lag=40)
    norms = norms_of_powers(matrix, 40)
    assert norms[1] > 50
    assert found.memory_horizon == int(torch.nonzero(norms >= 0.01)[-1]) + 1


def test_a_delay_line_holds_its_taps_exactly_and_nothing_beyond():
    shift = torch.diag(torch.ones(3, dtype=DOUBLE), -1)
    found = sensitivity(linear_map(shift, torch.eye(4, dtype=DOUBLE)[:, :1]), torch.zeros(1, 20, 1), max_lag=8)
    assert found.input_norms[1].tolist() == [1.0] * 4 + [0.0] * 5
    assert found.memory_horizon == 4
    assert found.decay_rate == math.inf


def test_rotations_and_line_attractors_never_forget():
    for system in (rotation(0.4), line_attractor(torch.ones(3, dtype=DOUBLE))):
        found = sensitivity(system, torch.zeros(2, 50, 0), max_lag=30)
        assert found.memory_horizon is None
        assert found.decay_rate == pytest.approx(0.0, abs=1e-9)
        assert found.input_norms is None
        assert "beyond 30 steps" in found.summary


def test_a_chaotic_map_grows_at_its_exponent():
    found = sensitivity(henon(), torch.zeros(1, 4000, 0), max_lag=60, burn_in=100, num_times=400)
    assert found.decay_rate == pytest.approx(-0.41915, abs=0.03)
    assert "grows" in found.summary


def test_percentiles_are_ordered_and_lie_between_the_extremes(rng):
    network = rs.GRU(hidden_size=8).build(Signature(1, 1), rng)
    found = sensitivity(network, max_lag=10, num_steps=140)
    low, middle, high = found.input_norms
    assert bool((low <= middle).all())
    assert bool((middle <= high).all())
    assert bool((high <= found.log_input.max(0).values.exp() * (1 + 1e-12)).all())
    assert found.burn_in == 100


def test_the_network_given_is_left_alone(rng):
    network = rs.Elman(hidden_size=4).build(Signature(1, 1), rng).train()
    before = {k: v.clone() for k, v in network.state_dict().items()}
    sensitivity(network, torch.randn(2, 20, 1, generator=rng), max_lag=5)
    assert network.training
    assert all(p.grad is None and p.requires_grad and p.dtype == torch.float32 for p in network.parameters())
    assert all(torch.equal(before[k], v) for k, v in network.state_dict().items())


def test_starts_are_used():
    squares = rs.System(lambda h, _: h * h, 1, dtype=DOUBLE)
    found = sensitivity(squares, torch.zeros(1, 3, 0), max_lag=1, starts=torch.tensor([[0.5]], dtype=DOUBLE))
    assert found.log_state[0, 1] == pytest.approx(math.log(2 * 0.25))  # from h_1 = 1/4 to h_2


@pytest.mark.parametrize("width", [0, 1])
def test_its_figure_is_drawn_with_and_without_inputs(width):
    shift = torch.diag(torch.ones(2, dtype=DOUBLE), -1)
    system = linear_map(shift, torch.eye(3, dtype=DOUBLE)[:, :1] if width else None)
    figure = sensitivity_figure(sensitivity(system, torch.zeros(1, 20, width), max_lag=6))
    assert (b"to earlier inputs" in render(figure.canvas, "svg")) is bool(width)


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"max_lag": 0}, rs.ConfigError, "max_lag 0"),
        ({"threshold": 1.5}, rs.ConfigError, "threshold"),
        ({"num_times": 0}, rs.ConfigError, "num_times 0"),
        ({"max_lag": 30}, rs.DataError, "sequences of 20 steps"),
        ({"burn_in": 30, "max_lag": 2}, rs.DataError, "sequences of 20 steps"),
        ({"inputs": torch.zeros(2, 20, 3)}, rs.ShapeError, "inputs of shape"),
        ({"starts": torch.zeros(2, 5)}, rs.ShapeError, "state of shape"),
        ({"starts": torch.full((2, 1), math.inf)}, rs.DataError, "not finite"),
    ],
)
def test_bad_input_is_refused(arguments, error, words):
    system = linear_map(torch.tensor([[0.8]], dtype=DOUBLE), torch.ones(1, 1, dtype=DOUBLE))
    with pytest.raises(error, match=words):
        sensitivity(system, **{"inputs": torch.zeros(2, 20, 1), **arguments})
