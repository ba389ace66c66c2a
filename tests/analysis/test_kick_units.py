"""Kick units: found where they are known, and not where there are none."""

import pytest
import torch

import rnnscope as rs
from known_systems import DOUBLE
from rnnscope.analysis.kick_units import find_kick_units, gain_sweep, opposition, switch_averages
from rnnscope.core.driven import drive
from rnnscope.core.errors import DataError

KICKS = torch.tensor([1, 2])


def starts(system: rs.System, count: int = 128) -> torch.Tensor:
    return drive(system, 1, count, torch.Generator().manual_seed(7)).final_state


def test_the_search_finds_the_two_kick_units_and_nothing_else(kicked: rs.System, rng: torch.Generator) -> None:
    found = find_kick_units(kicked, starts(kicked), rng, num_steps=100)
    assert sorted(found.units.tolist()) == [1, 2]
    assert float(found.score[0]) == pytest.approx(0.5, abs=0.15)
    assert float(found.score[1]) == pytest.approx(0.0, abs=0.05)
    assert float(found.preservation[1]) > 0.9
    assert float(found.single_score[3]) == pytest.approx(1.0)
    assert "no further unit" in found.reason or "no candidate" in found.reason


def test_the_search_leaves_the_generator_and_the_system_usable(kicked: rs.System) -> None:
    first, second = (find_kick_units(kicked, starts(kicked), torch.Generator().manual_seed(1), num_steps=40) for _ in range(2))
    assert torch.equal(first.units, second.units)
    torch.testing.assert_close(first.single_score, second.single_score, equal_nan=True)


def test_a_unit_that_a_cluster_is_made_of_is_not_admitted(kicked: rs.System, rng: torch.Generator) -> None:
    """Without its memory the output is argmax of (0, 0): one cluster is left at once."""
    assert 0 not in find_kick_units(kicked, starts(kicked), rng, num_steps=60).units.tolist()


def test_a_system_that_never_switches_is_refused(rng: torch.Generator) -> None:
    still = rs.System(lambda h, x: h, 2, 1, initial=torch.tensor([1.0, 0.0]))
    with pytest.raises(DataError, match="intact system"):
        find_kick_units(still, still.initial_state(8), rng, num_steps=10)


def test_kick_units_of_opposite_sign_oppose_each_other(kicked: rs.System, rng: torch.Generator) -> None:
    paths = drive(kicked, 1, 400, rng, keep_inputs=True)
    found = opposition(kicked, paths.start, paths.inputs[:, 0], torch.tensor([1, 2, 3]))
    torch.testing.assert_close(found.input_cosine[0, 1], torch.tensor(-1.0, dtype=DOUBLE))
    assert float(found.input_cosine[0, 2]) == pytest.approx(0.0, abs=1e-12)
    assert found.population[0] == -found.population[1]
    assert found.between < 0


def test_the_kick_is_seen_one_step_before_the_switch(kicked: rs.System, rng: torch.Generator) -> None:
    paths = drive(kicked, 200, 60, rng)
    up = switch_averages(paths.states, paths.symbols, torch.tensor([1, 2, 3]), window=6, origin=1, target=0)
    assert up.num_switches > 50
    kick, other, idle = up.mean.unbind(1)
    assert int(kick.argmax()) == 5
    assert float(kick[5]) > 10 * float(up.baseline[0])
    assert float(other[5]) == pytest.approx(0.0, abs=1e-9)
    assert float(idle[5]) == pytest.approx(float(up.baseline[2]), abs=5 * float(up.error[5, 2]))
    both = switch_averages(paths.states, paths.symbols, KICKS, window=6)
    assert both.num_switches > up.num_switches


def test_averages_of_thinned_paths_are_refused(kicked: rs.System, rng: torch.Generator, unchecked: None) -> None:
    paths = drive(kicked, 20, 4, rng, stride=2)
    with pytest.raises(DataError, match="stride"):
        switch_averages(paths.states, paths.symbols.clone(), KICKS)


@pytest.mark.parametrize("target", ["output", "noise"])
def test_gain_on_kick_units_makes_and_unmakes_switching(kicked: rs.System, target: str, rng: torch.Generator) -> None:
    gains = (0.0, 1.0, 2.0)
    found = gain_sweep(kicked, starts(kicked), KICKS[:1], rng, target=target, gains=gains, num_controls=1, num_steps=80)
    assert float(found.rate[0]) < 0.6 * float(found.rate[1])
    assert float(found.rate[2]) > float(found.rate[1])
    assert float(found.control_rate[1]) == pytest.approx(float(found.rate[1]))
    assert 1 not in found.controls.flatten().tolist()


def test_a_group_without_controls_left_is_refused(kicked: rs.System, rng: torch.Generator) -> None:
    with pytest.raises(DataError, match="outside the group"):
        gain_sweep(kicked, starts(kicked), torch.tensor([0, 1, 2]), rng)


def test_an_early_network_can_be_searched(early, rng: torch.Generator) -> None:
    """These networks were not trained far: single units carry little of the switching. What is asked here is that the search runs
    and that what it says is consistent."""
    system = early("five_37.3")
    found = find_kick_units(system, drive(system, 1, 64, rng).final_state, rng, num_steps=60, max_units=2, num_candidates=12)
    assert bool((found.score.diff() < 0).all())
    assert bool((found.score < 1).all())
    assert found.intact_rate == pytest.approx(0.031, abs=0.012)
