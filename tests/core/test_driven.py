"""Driving with noise, symbols and dwells, boundedness."""

import math

import pytest
import torch
from torch import Tensor

import rnnscope as rs
from known_systems import DOUBLE, linear_map, rotation_matrix
from rnnscope.core.driven import (
    boundedness,
    draw_symbols,
    drive,
    dwell_times,
    in_double,
    switch_rate,
    symbol_shares,
)
from rnnscope.core.errors import ConfigError


def ar1(factor: float) -> rs.System:
    return linear_map(torch.tensor([[factor]], dtype=DOUBLE), torch.eye(1, dtype=DOUBLE))


def test_driving_an_autoregression_gives_its_stationary_variance(rng: torch.Generator) -> None:
    paths = drive(ar1(0.8), 200, 500, rng, burn_in=100, noise_scale=2.0)
    assert float(paths.states.var()) == pytest.approx(4 / (1 - 0.64), rel=0.03)


def test_driven_states_are_the_loop_of_step(rng: torch.Generator) -> None:
    system = linear_map(0.9 * rotation_matrix(0.4), torch.eye(2, dtype=DOUBLE))
    paths = drive(system, 20, 5, rng, burn_in=7, keep_inputs=True)
    again = rs.rollout(system, paths.inputs, paths.start)
    torch.testing.assert_close(paths.states, again.states)
    torch.testing.assert_close(paths.final_state, again.final_state)
    assert torch.equal(paths.symbols.long(), again.outputs.argmax(-1))


def test_a_stride_keeps_every_kth_state_of_the_same_path() -> None:
    system = ar1(0.5)
    whole, thinned = (drive(system, 10, 3, torch.Generator().manual_seed(4), stride=s) for s in (1, 4))
    assert torch.equal(whole.states[:, ::4], thinned.states)
    assert torch.equal(whole.symbols, thinned.symbols)
    states, symbols = thinned.pool(6)
    assert states.shape == (6, 1)
    assert symbols.shape == (6,)


def test_recurrence_only_runs_without_noise_from_a_driven_state(rng: torch.Generator) -> None:
    paths = drive(ar1(0.5), 6, 4, rng, burn_in=30, mode="recurrence only")
    torch.testing.assert_close(paths.states[:, -1], paths.start * 0.5**6)


def test_recurrence_only_of_a_network_without_bias_stays_at_zero(early, rng: torch.Generator) -> None:
    assert not drive(early("two_19.4"), 5, 3, rng, burn_in=0, mode="recurrence only").states.any()


def test_input_only_starts_afresh_at_every_step(rng: torch.Generator) -> None:
    paths = drive(ar1(0.9), 10, 4, rng, mode="input only", keep_inputs=True)
    torch.testing.assert_close(paths.states, paths.inputs)


def test_a_system_that_hands_its_input_on_is_not_overwritten_by_later_noise(rng: torch.Generator) -> None:
    """y_t = x_{t-1} + x_t would be 2 x_t if the buffer of the noise were still the state."""
    delay = rs.System(lambda h, x: x, 3, 3, dtype=DOUBLE)
    paths = drive(delay, 5, 2, rng, burn_in=0, keep_inputs=True)
    assert torch.equal(paths.states, paths.inputs)
    assert torch.equal(paths.final_state, paths.inputs[:, -1])


@pytest.mark.parametrize("bad", [{"mode": "both"}, {"stride": 0}, {"burn_in": -1}])
def test_arguments_out_of_range_are_refused(bad: dict, rng: torch.Generator, unchecked: None) -> None:
    with pytest.raises(ConfigError):
        drive(ar1(0.5), 5, 2, rng, **bad)


def test_driving_leaves_the_system_as_it_was(early, rng: torch.Generator) -> None:
    system = early("two_19.4")
    before = {k: v.clone() for k, v in system.state_dict().items()}
    drive(system, 5, 3, rng)
    doubled = in_double(system)
    assert doubled.initial_state(1).dtype == torch.float64
    assert all(torch.equal(before[k], v) for k, v in system.state_dict().items())


def test_switches_and_dwells_of_a_path_by_hand() -> None:
    symbols = torch.tensor([[0, 0, 1, 1, 1, 2, 0], [1, 1, 1, 1, 1, 1, 1]])
    assert switch_rate(symbols) == pytest.approx(3 / 12)
    lengths, of = dwell_times(symbols)
    assert lengths.tolist() == [3, 1]
    assert of.tolist() == [1, 2]
    assert symbol_shares(symbols, 4).tolist() == pytest.approx([3 / 14, 10 / 14, 1 / 14, 0.0])


def test_sampled_symbols_follow_the_softmax(rng: torch.Generator) -> None:
    logits = torch.tensor([1.0, 0.0, -2.0], dtype=DOUBLE)
    drawn = symbol_shares(draw_symbols(logits.expand(40000, 3), rng), 3)
    torch.testing.assert_close(drawn, logits.softmax(-1), atol=0.01, rtol=0.0)


def test_a_stable_map_is_bounded_and_says_its_size(rng: torch.Generator) -> None:
    found = boundedness(ar1(0.8), 4000, 32, rng)
    assert found.bounded
    assert abs(found.growth_rate) < 1e-4
    assert found.mean_norm == pytest.approx(math.sqrt(2 / math.pi) / 0.6, rel=0.05)
    assert bool((found.max_norm.diff() >= 0).all())


def test_a_random_walk_is_not_bounded(rng: torch.Generator) -> None:
    found = boundedness(ar1(1.0), 4000, 64, rng)
    assert not found.bounded
    assert "still grows" in found.reason


def test_a_growing_map_is_stopped_where_it_leaves_every_bound(rng: torch.Generator) -> None:
    def double(state: Tensor, input: Tensor) -> Tensor:
        return 2 * state + input

    found = boundedness(rs.System(double, 1, 1), 10_000, 4, rng)
    assert not found.bounded
    assert found.num_steps < 60
    assert found.growth_rate == math.inf


@pytest.mark.parametrize(
    ("name", "size", "active"), [("two_19.4", 8.0, 0.20), ("three_27.3", 10.1, 0.16), ("four_33.2", 22.1, 0.18)]
)
def test_early_networks_have_their_known_size(early, name: str, size: float, active: float, rng: torch.Generator) -> None:
    states = drive(early(name), 100, 200, rng).states
    assert float(states.norm(dim=-1).mean()) == pytest.approx(size, rel=0.08)
    assert float((states > 0).double().mean()) == pytest.approx(active, abs=0.01)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["two_19.4", "three_27.3", "three_27.9", "three_31.9", "four_33.2", "five_37.3"])
def test_early_networks_are_bounded_for_ten_thousand_steps(early, name: str, rng: torch.Generator) -> None:
    assert boundedness(early(name), 10_000, 32, rng).bounded
