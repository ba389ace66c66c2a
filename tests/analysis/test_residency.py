"""Residency, zones and noise sensitivity on systems whose answers are known."""

import math

import pytest
import torch
from scipy import stats
from torch import Tensor

import rnnscope as rs
from known_systems import DOUBLE
from rnnscope.analysis.residency import Residency, noise_sensitivity, residency, zones
from rnnscope.core.driven import drive
from rnnscope.core.errors import ConfigError


def signs(state: Tensor) -> Tensor:
    return torch.cat([state, -state], -1)


def coin() -> rs.System:
    """The sign of the state flips when the noise exceeds 1: dwells are geometric with p = P(x > 1)."""
    return rs.System(lambda h, x: torch.where(x > 1.0, -h, h), 1, 1, readout=signs, output_size=2, initial=torch.ones(1))


def countdown() -> rs.System:
    """h -> h - 1: the sign changes after h + 1/2 steps for half-integers h."""
    return rs.System(lambda h, x: h - 1, 1, 1, readout=signs, output_size=2)


def test_residency_of_a_countdown_is_exact(rng: torch.Generator) -> None:
    found = residency(countdown(), torch.tensor([[0.5], [3.5], [9.5], [99.5]]), rng, num_rollouts=3, horizon=20)
    assert found.mean_steps.tolist() == [1.0, 4.0, 10.0, 20.0]
    assert found.censored_share.tolist() == [0.0, 0.0, 0.0, 1.0]
    assert found.total_censored_share == 0.25


def test_residency_of_a_coin_is_the_restricted_mean_of_a_geometric_law(rng: torch.Generator) -> None:
    p, horizon, count = float(stats.norm.sf(1.0)), 15, 4000
    found = residency(coin(), torch.tensor([[1.0], [-1.0]]), rng, num_rollouts=count, horizon=horizon, batch=3000)
    stay = (1 - p) ** horizon
    error = 4 * math.sqrt((1 - p) / p**2 / count)
    assert found.mean_steps.tolist() == pytest.approx([(1 - stay) / p] * 2, abs=error)
    assert found.censored_share.tolist() == pytest.approx([stay] * 2, abs=4 * math.sqrt(stay / count))
    assert found.symbols.tolist() == [0, 1]


def test_residency_of_a_kicked_memory_waits_for_a_kick(kicked: rs.System, rng: torch.Generator) -> None:
    """From rest a kick of the right sign must exceed 3·.995/8 above the threshold, and shows one step later."""
    rest = torch.tensor([[0.9950548, 0.0, 0.0, 0.0]], dtype=DOUBLE)
    p = float(stats.norm.sf(1.2 + 3 * 0.9950548 / 8))
    found = residency(kicked, rest, rng, num_rollouts=4000, horizon=400)
    assert float(found.mean_steps[0]) == pytest.approx(1 + 1 / p, rel=0.08)
    assert found.total_censored_share < 0.01


def given(steps: list[float], symbols: list[int]) -> Residency:
    values = torch.tensor(steps, dtype=DOUBLE)
    return Residency(values, torch.zeros_like(values), torch.tensor(symbols, dtype=torch.int16), 50, 10)


def test_zones_cut_at_two_and_eight_steps() -> None:
    found = zones(given([1, 1.9, 2, 8, 8.1, 40], [0, 0, 0, 1, 1, 1]), 3, num_unstable=torch.tensor([2, 4, 1, 3, 0, 0]))
    assert found.zone.tolist() == [0, 0, 1, 1, 2, 2]
    assert found.shares.tolist() == pytest.approx([1 / 3] * 3)
    assert found.shares_by_symbol[0].tolist() == pytest.approx([2 / 3, 1 / 3, 0])
    assert found.shares_by_symbol[1].tolist() == pytest.approx([0, 1 / 3, 2 / 3])
    assert bool(found.shares_by_symbol[2].isnan().all())
    assert found.num_unstable.tolist() == [3.0, 2.0, 0.0]


def test_thresholds_beyond_the_horizon_are_refused() -> None:
    with pytest.raises(ConfigError, match="horizon"):
        zones(given([1.0], [0]), 2, cluster=60.0)


def test_spread_of_a_linear_map_is_the_closed_form(rng: torch.Generator) -> None:
    """Var = g² s² Σ a^{2i}, and the mean is the path under (1 - g) of the recorded input."""
    factor, steps = 0.8, 5
    system = rs.System(lambda h, x: factor * h + x, 1, 1, readout=signs, output_size=2, dtype=DOUBLE)
    recorded = 0.3 * torch.ones(3, steps, 1, dtype=DOUBLE)
    states = torch.tensor([[20.0], [-30.0], [40.0]], dtype=DOUBLE)
    zone = torch.tensor([0, 2, 2])
    found = noise_sensitivity(system, states, recorded, zone, rng, num_replicas=4000, noise_scale=2.0)
    powers = factor ** torch.arange(steps, dtype=DOUBLE)
    for row, g in enumerate((0.0, 0.5, 1.0)):
        mean = factor**steps * states[:, 0] + (1 - g) * 0.3 * powers.sum()
        wanted = 2 * g * powers.square().sum().sqrt() / mean.abs()
        torch.testing.assert_close(found.spread[row], wanted, rtol=0.06, atol=1e-12)
        assert float(found.by_zone[row, 2]) == pytest.approx(float(found.spread[row, 1:].mean()))
    assert bool(found.by_zone[:, 1].isnan().all())
    assert not found.changed_by_zone[0, [0, 2]].any()


def test_states_of_an_early_network_fall_into_all_zones(early, rng: torch.Generator) -> None:
    states = drive(early("two_19.4"), 40, 10, rng).states.flatten(0, 1)
    found = residency(early("two_19.4"), states, rng, num_rollouts=8, horizon=30)
    sorted_by = zones(found, 3)
    assert float(found.mean_steps.min()) >= 1
    assert 0 < float(sorted_by.shares[0]) < float(sorted_by.shares[2])
