"""Positive homogeneity under scaled noise."""

import pytest
import torch

import rnnscope as rs
from known_systems import DOUBLE
from rnnscope.analysis.homogeneity import homogeneity
from rnnscope.core.driven import in_double
from rnnscope.core.errors import ConfigError
from rnnscope.models.recurrent_systems import RecurrentSystem

EARLY = ("two_19.4", "three_27.3", "three_27.9", "three_31.9", "four_33.2", "five_37.3")


def relu_map(matrix: list[list[float]]) -> rs.System:
    weights = torch.tensor(matrix, dtype=DOUBLE)
    return rs.System(lambda h, x: torch.relu(h @ weights.T), len(matrix), dtype=DOUBLE)


@pytest.mark.parametrize("name", EARLY)
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
