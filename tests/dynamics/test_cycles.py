"""Limit cycles, their multipliers, and what does not close, against exact answers."""

import math
from collections import Counter

import pytest
import torch
from torch import Tensor

import rnnscope as rs
from known_systems import DOUBLE, henon, henon_fixed_points, line_attractor, linear_map, logistic, rotation, rotation_matrix
from rnnscope.core.errors import ConfigError, ShapeError
from rnnscope.core.interfaces import Signature
from rnnscope.dynamics.cycles import find_cycles
from rnnscope.dynamics.invariant_circles import fit_circle
from rnnscope.dynamics.open_orbits import slowest_turn


def normal(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0), dtype=DOUBLE)


def rhythm(steps_per_turn: float, decay: float = 0.02, bend: float = 0.3) -> rs.System:
    """u -> R(2π/T) u (1 + c (1 - |u|²)) seen through (x, y) = (u + b v², v): the circle |u| = 1 attracts, with transverse
    multiplier (1 - 2c)^T per turn, and its rotation number is 1/T."""
    turn = rotation_matrix(2 * math.pi / steps_per_turn).T

    def step(state: Tensor, input: Tensor) -> Tensor:
        plane = torch.stack([state[:, 0] - bend * state[:, 1] ** 2, state[:, 1]], -1)
        moved = plane * (1 + decay * (1 - (plane * plane).sum(-1, keepdim=True))) @ turn
        return torch.stack([moved[:, 0] + bend * moved[:, 1] ** 2, moved[:, 1]], -1)

    return rs.System(step, 2, dtype=DOUBLE)


def test_all_short_cycles_of_the_henon_attractor_are_found() -> None:
    """1, 2, 4, 6, 7: 1, 1, 1, 2, 4 orbits on the attractor (Biham and Wenzel 1989) and one fixed point off it."""
    found = find_cycles(henon(), starts=0.1 * normal(30, 2), max_unstable_period=7, num_transient=300)
    assert Counter(c.period for c in found.cycles) == {2: 1, 4: 1, 6: 2, 7: 4}
    points = torch.cat([c.points for c in found.fixed_points])
    assert torch.allclose(points.sort(0)[0], henon_fixed_points().sort(0)[0], atol=1e-12)
    for cycle in found.cycles:
        assert cycle.residual < 1e-14
        assert abs(float(cycle.multipliers.prod().real) - (-0.3) ** cycle.period) < 1e-8  # det of the Jacobian is -b
    assert [one.kind for one in found.open_sets] == ["chaotic"]
    assert abs(float(found.open_sets[0].exponents[0]) - 0.419) < 4 * float(found.open_sets[0].exponent_errors[0])


def test_a_point_that_maps_to_itself_exactly_has_the_residual_zero_in_words_too() -> None:
    (origin,) = find_cycles(linear_map(0.5 * torch.eye(2, dtype=DOUBLE)), starts=torch.zeros(1, 2, dtype=DOUBLE)).fixed_points
    assert origin.summary.endswith("residual 0")


def test_multipliers_of_the_logistic_map_are_powers_of_two() -> None:
    found = find_cycles(
        logistic(), starts=torch.rand(50, 1, generator=torch.Generator().manual_seed(0), dtype=DOUBLE), max_unstable_period=5
    )
    assert Counter(c.period for c in found.cycles) == {2: 1, 3: 2, 4: 3, 5: 6}
    assert all(abs(abs(complex(c.multipliers[0])) - 2.0**c.period) < 1e-8 for c in found.cycles)
    assert not any(c.is_stable for c in found.cycles)


def test_a_stable_cycle_is_found_from_its_recurrence() -> None:
    r = 3.83  # in the window of period 3
    found = find_cycles(rs.System(lambda h, x: r * h * (1 - h), 1), starts=torch.tensor([[0.4]]), max_unstable_period=0)
    (cycle,) = found.cycles
    slopes = r * (1 - 2 * cycle.points[:, 0])
    assert cycle.period == 3
    assert cycle.is_stable
    assert abs(complex(cycle.multipliers[0]) - float(slopes.prod())) < 1e-10
    assert cycle.kind.endswith("attractor")


def test_a_long_cycle_is_no_circle() -> None:
    """A ring of 150 positions, each step to the next, contracting onto each."""
    turn = 2 * math.pi / 150

    def step(state: Tensor, input: Tensor) -> Tensor:
        angle = torch.atan2(state[:, 1], state[:, 0]) / turn
        settled = (angle.round() + 0.2 * (angle - angle.round()) + 1) * turn
        return torch.stack([torch.cos(settled), torch.sin(settled)], -1)

    found = find_cycles(rs.System(step, 2, dtype=DOUBLE), starts=normal(3, 2), max_unstable_period=0)
    assert [c.period for c in found.cycles] == [150]
    assert abs(found.cycles[0].largest_exponent - math.log(0.2)) < 1e-8


@pytest.mark.parametrize("steps_per_turn", [62.83, 2.618034, 7.389056])
def test_a_sampled_rhythm_is_an_invariant_circle(steps_per_turn: float) -> None:
    found = find_cycles(rhythm(steps_per_turn), starts=normal(4, 2), max_unstable_period=2, num_transient=1000)
    (circle,) = found.circles
    assert not found.cycles
    assert abs(circle.steps_per_turn / steps_per_turn - 1) < 1e-8
    assert abs(circle.transverse_multiplier / 0.96**steps_per_turn - 1) < 1e-5
    assert abs(float(circle.exponents[0])) < 1e-8
    assert circle.is_attracting
    plane = circle.points[:, 0] - 0.3 * circle.points[:, 1] ** 2
    assert torch.allclose(plane**2 + circle.points[:, 1] ** 2, torch.ones(256, dtype=DOUBLE), atol=1e-4)


def test_a_slow_rhythm_is_followed_for_long_enough() -> None:
    found = find_cycles(rhythm(80.3137), starts=normal(2, 2), max_unstable_period=0, max_period=50, num_samples=1000)
    assert abs(found.circles[0].steps_per_turn / 80.3137 - 1) < 1e-6
    assert found.circles[0].num_samples == 5000


def test_a_rotation_has_neutral_circles() -> None:
    found = find_cycles(rotation(0.7), starts=normal(2, 2), max_unstable_period=1)
    assert len(found.circles) == 2
    for circle in found.circles:
        assert abs(circle.steps_per_turn - 2 * math.pi / 0.7) < 1e-7
        assert not circle.is_attracting


def test_circles_visited_in_turn_are_counted() -> None:
    """A rhythm carried along by a flip: two circles, each mapped to the other."""
    inner = rhythm(9.7123, bend=0.0)

    def step(state: Tensor, input: Tensor) -> Tensor:
        side = torch.tanh(-2 * state[:, 2:])
        return torch.cat([inner.step(state[:, :2], input), side], -1)

    (circle,) = find_cycles(rs.System(step, 3, dtype=DOUBLE), starts=normal(2, 3), max_unstable_period=0).circles
    assert circle.num_components == 2
    fit = fit_circle(torch.stack([torch.cos(torch.arange(3000) * 0.31), torch.sin(torch.arange(3000) * 0.31)], 1).double())
    assert fit is not None
    assert fit.components == 1


def test_a_torus_is_not_called_a_circle() -> None:
    """Two rhythms side by side."""
    first, second = rhythm(9.7), rhythm(2 * math.pi)

    def step(state: Tensor, input: Tensor) -> Tensor:
        return torch.cat([first.step(state[:, :2], input), second.step(state[:, 2:], input)], -1)

    found = find_cycles(rs.System(step, 4, dtype=DOUBLE), starts=normal(1, 4), max_unstable_period=0, num_samples=2000)
    assert not found.circles
    assert [one.kind for one in found.open_sets] == ["undetermined"]


def test_an_orbit_that_settles_late_is_followed_to_its_end() -> None:
    slow = rs.System(lambda h, x: 0.999 * h + 0.001, 1, dtype=DOUBLE)
    found = find_cycles(slow, starts=torch.tensor([[5.0]]), num_transient=10, max_unstable_period=0)
    assert [c.kind for c in found.fixed_points] == ["attractor"]


def test_a_line_attractor_is_one_continuum() -> None:
    found = find_cycles(line_attractor(torch.tensor([1.0, 2.0], dtype=DOUBLE)), starts=normal(10, 2))
    assert [one.period for one in found.continua] == [1]
    assert not found.fixed_points
    assert not found.cycles


def test_orbits_that_leave_are_counted() -> None:
    found = find_cycles(linear_map(2 * torch.eye(2, dtype=DOUBLE)), starts=normal(5, 2))
    assert found.num_diverged == 5
    assert [c.period for c in found.fixed_points] == [1]
    assert "5 diverged" in found.summary


def test_the_same_starts_give_the_same_answer_and_nothing_is_changed() -> None:
    system = rs.GRU(hidden_size=4, num_layers=1).build(Signature(1, 1), torch.Generator().manual_seed(1)).train()
    before = {name: value.clone() for name, value in system.state_dict().items()}
    starts = normal(4, 4)
    kept = starts.clone()
    first, second = (find_cycles(system, starts=starts, input=torch.tensor([0.3])) for _ in range(2))
    assert all(torch.equal(before[name], value) for name, value in system.state_dict().items())
    assert torch.equal(starts, kept)
    assert system.training
    assert all(p.requires_grad for p in system.parameters())
    assert [c.points.tolist() for c in first.fixed_points] == [c.points.tolist() for c in second.fixed_points]


def test_a_rough_period_is_read_from_the_autocorrelation() -> None:
    times = torch.arange(2000, dtype=DOUBLE)
    assert abs(slowest_turn(torch.sin(times * 2 * math.pi / 100)[:, None]) - 100) <= 1
    assert slowest_turn(torch.sin(times / 1000)[:, None]) == 2000
    assert slowest_turn(normal(2000, 1)) == 1


def test_bad_arguments_are_refused(unchecked: None) -> None:
    with pytest.raises(ShapeError, match="starts"):
        find_cycles(henon(), starts=torch.zeros(3, 5))
    with pytest.raises(ShapeError, match="finite"):
        find_cycles(henon(), starts=torch.full((1, 2), math.nan))
    with pytest.raises(ShapeError, match="input"):
        find_cycles(henon(), input=torch.zeros(1))
    with pytest.raises(ConfigError, match="max_period"):
        find_cycles(henon(), max_period=0)
    with pytest.raises(ConfigError, match="num_samples"):
        find_cycles(henon(), num_samples=10)
