"""Limiting rays of positively homogeneous maps."""

import math

import pytest
import torch
from torch import Tensor, nn

import rnnscope as rs
from known_systems import DOUBLE, linear_map, rotation_matrix
from rnnscope.core.driven import drive, in_double
from rnnscope.core.errors import ConfigError, DataError, ShapeError
from rnnscope.dynamics.limiting_rays import is_homogeneous, limiting_rays
from rnnscope.models.recurrent_systems import RecurrentSystem, recurrent_system

RAYS = {
    "two_19.4": (0.7385,),
    "three_27.3": (0.7079, 0.9058),
    "three_27.9": (0.8375, 0.8405),
    "three_31.9": (0.8171, 0.9227),
    "four_33.2": (0.9884,),
    "five_37.3": (0.8189, 0.9007, 0.9513),
}


def relu_map(matrix: list[list[float]]) -> rs.System:
    weights = torch.tensor(matrix, dtype=DOUBLE)
    return rs.System(lambda h, x: torch.relu(h @ weights.T), len(matrix), dtype=DOUBLE)


def test_the_ray_of_a_diagonal_map_is_its_slowest_axis() -> None:
    starts = torch.rand(20, 2, generator=torch.Generator().manual_seed(0), dtype=DOUBLE) + 0.01
    found = limiting_rays(relu_map([[0.5, 0.0], [0.0, 0.8]]), torch.cat([starts, torch.tensor([[1.0, 0.0]], dtype=DOUBLE)]))
    torch.testing.assert_close(found.decay_rates, torch.tensor([0.8, 0.5], dtype=DOUBLE))
    torch.testing.assert_close(found.directions, torch.tensor([[0.0, 1.0], [1.0, 0.0]], dtype=DOUBLE), atol=1e-6, rtol=0.0)
    assert found.basin_shares.tolist() == pytest.approx([20 / 21, 1 / 21])
    assert found.ray.tolist() == [0] * 20 + [1]


def test_two_units_that_hand_activity_to_each_other_are_a_cycle_of_rays() -> None:
    """Each silences itself and drives the other: (1, 0) -> (0, .8) -> (.4, 0), a factor sqrt(.4) per step."""
    starts = torch.tensor([[1.0, 0.3], [0.2, 1.0], [1.0, 0.0], [1.0, 0.9]], dtype=DOUBLE)
    found = limiting_rays(relu_map([[-2.0, 0.5], [0.8, -2.0]]), starts)
    assert found.periods.tolist() == [2]
    assert float(found.decay_rates[0]) == pytest.approx(math.sqrt(0.4), abs=1e-12)
    assert (found.num_converged, found.num_vanished, found.num_open) == (3, 1, 0)
    assert found.ray.tolist() == [0, 0, 0, -1]


def test_a_turning_map_has_no_ray_but_a_rate() -> None:
    starts = torch.tensor([[1.0, 0.0], [0.3, -1.0]], dtype=DOUBLE)
    found = limiting_rays(linear_map(0.7 * rotation_matrix(1.0)), starts, num_steps=200)
    assert found.num_open == 2
    assert len(found.decay_rates) == 0
    assert found.open_rate == pytest.approx(0.7)


def test_a_map_with_an_offset_shows_that_rays_mean_nothing_there() -> None:
    def step(state: Tensor, input: Tensor) -> Tensor:
        return torch.relu(0.5 * state + 1)

    assert limiting_rays(rs.System(step, 2, dtype=DOUBLE), torch.ones(1, 2, dtype=DOUBLE)).deviation > 0.1


def test_a_start_of_length_zero_is_refused() -> None:
    with pytest.raises(DataError, match="length zero"):
        limiting_rays(relu_map([[0.5]]), torch.zeros(1, 1, dtype=DOUBLE))


@pytest.mark.parametrize(("name", "rates"), RAYS.items())
def test_rays_of_the_early_networks(early, name: str, rates: tuple[float, ...], rng: torch.Generator) -> None:
    system = in_double(early(name))
    positive = torch.rand(150, 150, generator=rng, dtype=DOUBLE)
    found = limiting_rays(system, torch.cat([drive(system, 1, 250, rng).final_state, positive]))
    assert sorted(found.decay_rates.tolist()) == pytest.approx(rates, abs=1e-4)
    assert (found.num_vanished, found.num_open) == (0, 0)
    assert found.deviation < 1e-12


def bias_free(seed: int, size: int, gain: float) -> rs.DynamicalSystem:
    """A random ReLU RNN without biases, with recurrent weights N(0, gain²/size)."""
    network = nn.RNN(2, size, nonlinearity="relu", bias=False)
    drawn = torch.randn(size, size, generator=torch.Generator().manual_seed(seed)) * gain / math.sqrt(size)
    with torch.no_grad():
        network.weight_hh_l0.copy_(drawn)
    return rs.as_system(network)


@pytest.mark.parametrize(("seed", "size", "gain"), [(0, 4, 1.0), (1, 6, 2.0), (2, 8, 1.5), (5, 10, 2.0)])
def test_rays_of_random_networks_are_those_of_the_iterated_map(seed: int, size: int, gain: float) -> None:
    """Each start alone, step by step on the raw weights, for much longer than the search takes."""
    system = bias_free(seed, size, gain)
    starts = torch.randn(12, size, generator=torch.Generator().manual_seed(9), dtype=DOUBLE)
    found = limiting_rays(system, starts)
    weights = next(v for k, v in system.named_parameters() if "weight_hh" in k).double().detach()
    assert found.num_converged + found.num_vanished + found.num_open == 12
    for start, ray in zip(starts, found.ray.tolist(), strict=True):
        state, logs, past = start, [], []
        for _ in range(1500):
            state = torch.relu(weights @ state)
            length = float(state.norm())
            if length == 0:
                break
            state = state / length
            logs, past = [*logs[-11:], math.log(length)], [*past[-11:], state]
        if length == 0 or ray < 0:
            assert ray == -1
            continue
        period = int(found.periods[ray])
        assert min(float((u - found.directions[ray]).norm()) for u in past[-period:]) < 1e-5
        assert math.exp(sum(logs[-period:]) / period) == pytest.approx(float(found.decay_rates[ray]), rel=1e-6)


def test_a_ray_is_an_eigenvector_of_its_region() -> None:
    system = bias_free(1, 6, 2.0)
    found = limiting_rays(system)
    rays = found.directions[found.periods == 1]
    assert len(rays)
    moved = in_double(system).step(rays, rays.new_zeros(len(rays), 2))
    torch.testing.assert_close(moved, found.decay_rates[found.periods == 1][:, None] * rays, atol=1e-7, rtol=0.0)


def test_default_starts_repeat_and_the_system_stays() -> None:
    system = bias_free(0, 4, 1.0)
    before = {k: v.clone() for k, v in system.state_dict().items()}
    one, other = limiting_rays(system), limiting_rays(system, rng=torch.Generator().manual_seed(0))
    assert one.decay_rates.tolist() == other.decay_rates.tolist()
    assert all(torch.equal(before[k], v) for k, v in system.state_dict().items())
    assert len(limiting_rays(system, num_starts=20).ray) <= 20


def test_the_summary_tells_growth_vanishing_and_turning() -> None:
    grows = limiting_rays(relu_map([[1.5, 0.0], [0.0, 0.2]]), torch.tensor([[1.0, 0.5], [-1.0, -1.0]], dtype=DOUBLE))
    assert "grows by the factor 1.5 per step (100 % of those that settle); 1 of 2 starts reach 0 exactly" in grows.summary
    still = limiting_rays(relu_map([[1.0]]), torch.ones(1, 1, dtype=DOUBLE))
    assert "stays the same" in still.summary
    turns = limiting_rays(linear_map(0.7 * rotation_matrix(1.0)), torch.eye(2, dtype=DOUBLE), num_steps=200)
    assert turns.summary == "2 of 2 starts keep turning (mean factor 0.7 per step)"


def test_only_networks_without_biases_and_input_are_homogeneous() -> None:
    bare = recurrent_system("relu", 3, 5, 2, num_layers=2, bias=False)
    assert is_homogeneous(bare)
    assert is_homogeneous(rs.hold_input(bare, torch.zeros(3)))
    assert not is_homogeneous(rs.hold_input(bare, torch.tensor([0.0, 0.5, 0.0])))
    assert not is_homogeneous(bare, torch.ones(3))
    assert not is_homogeneous(recurrent_system("relu", 3, 5, 2, bias=True))
    assert not is_homogeneous(RecurrentSystem("tanh", 3, 5, 2, bias=False))
    second = recurrent_system("relu", 3, 5, 2, num_layers=2, bias=True)  # a bias in the upper layer alone
    with torch.no_grad():
        for name, value in second.named_parameters():
            if "bias" in name:
                value.zero_()
        assert is_homogeneous(second)
        next(v for k, v in second.named_parameters() if "1" in k and "bias" in k)[2] = -0.3
    assert not is_homogeneous(second)


@pytest.mark.parametrize(
    "fields", [{"num_starts": 0}, {"num_steps": 0}, {"max_period": 0}, {"tolerance": 0.0}, {"merge": -1.0}]
)
def test_numbers_out_of_range_are_refused(fields: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match=next(iter(fields))):
        limiting_rays(relu_map([[0.5]]), **fields)


def test_starts_of_another_size_are_refused() -> None:
    with pytest.raises(ShapeError, match="starts of shape"):
        limiting_rays(relu_map([[0.5]]), torch.ones(3, 2, dtype=DOUBLE))
