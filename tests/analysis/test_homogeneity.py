"""Positive homogeneity and limiting rays."""

import math

import pytest
import torch
from torch import Tensor

import rnnscope as rs
from known_systems import DOUBLE, linear_map, rotation_matrix
from rnnscope.analysis.homogeneity import homogeneity, limiting_rays
from rnnscope.core.driven import drive, in_double
from rnnscope.core.errors import ConfigError, DataError
from rnnscope.models.recurrent import RecurrentSystem

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


@pytest.mark.parametrize("name", list(RAYS))
def test_the_early_networks_are_homogeneous_to_rounding(early, name: str, rng: torch.Generator) -> None:
    found = homogeneity(in_double(early(name)), rng, num_steps=100, num_paths=8)
    assert found.applies
    assert float(found.deviation.max()) < 1e-12
    assert found.argmax_equal.tolist() == [1.0, 1.0, 1.0]
    torch.testing.assert_close(found.radius, found.scales * found.unit_radius, rtol=1e-12, atol=0.0)
    assert found.fixed_point_speed == 0.0


def test_powers_of_two_scale_without_any_rounding(early, rng: torch.Generator) -> None:
    assert not homogeneity(early("two_19.4"), rng, scales=(0.5, 2.0, 8.0), num_paths=4, num_steps=50).deviation.any()


def test_biases_and_tanh_end_homogeneity(rng: torch.Generator) -> None:
    for system in (RecurrentSystem("relu", 3, 8, 2), RecurrentSystem("tanh", 3, 8, 2, bias=False, readout_bias=False)):
        found = homogeneity(system.double().requires_grad_(False), rng, num_steps=40, num_paths=8)
        assert not found.applies
        assert found.reason.startswith("not homogeneous")


def test_factors_must_be_positive(rng: torch.Generator) -> None:
    with pytest.raises(ConfigError, match="scales"):
        homogeneity(relu_map([[0.5]]), rng, scales=(0.0, 2.0))


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
