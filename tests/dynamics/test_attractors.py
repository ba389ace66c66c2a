"""Attractors, shares of starts, transients: against maps whose basins are known."""

import math

import pytest
import torch
from torch import Tensor

import rnnscope as rs
from known_systems import DOUBLE, henon, line_attractor, linear_map, rotation_matrix
from rnnscope.core.errors import ConfigError, ShapeError
from rnnscope.dynamics.attractors import attractors


def grid(low: float, high: float, count: int) -> Tensor:
    return torch.linspace(low, high, count, dtype=DOUBLE)[:, None]


def test_basins_of_a_double_well_are_the_half_lines() -> None:
    latch = rs.System(lambda h, x: torch.tanh(2 * h + x), 1, 1)
    found = attractors(latch, starts=grid(-1, 1, 200), num_steps=200)
    assert [(a.kind, a.share) for a in found.attractors] == [("point", 0.5), ("point", 0.5)]
    high = found.attractors[int(found.labels[-1])]
    assert float(high.points) > 0
    slope = 2 * (1 - float(high.points) ** 2)
    assert abs(high.largest_exponent - math.log(slope)) < 1e-10
    assert abs(high.share_error - math.sqrt(0.25 / 200)) < 1e-12
    pushed = attractors(latch, starts=grid(-1, 1, 50), input=torch.tensor([0.6]), num_steps=200)  # beyond the fold at .5328
    assert [(a.kind, a.share) for a in pushed.attractors] == [("point", 1.0)]


def test_shares_follow_the_boundary_between_two_cycles() -> None:
    """A flip of sign beside a latch: two cycles of period 2, told apart by the sign of the second coordinate."""

    def step(state: Tensor, input: Tensor) -> Tensor:
        return torch.stack([torch.tanh(-2 * state[:, 0]), torch.tanh(3 * state[:, 1])], -1)

    starts = torch.cat([grid(0.1, 1, 100), grid(-0.25, 0.75, 100)], 1)
    found = attractors(rs.System(step, 2, dtype=DOUBLE), starts=starts, num_steps=300)
    assert [(a.kind, len(a.points), a.share) for a in found.attractors] == [("cycle", 2, 0.75), ("cycle", 2, 0.25)]
    assert bool((found.labels == (starts[:, 1] < 0).long()).all())


def test_transients_are_as_long_as_the_decay_says() -> None:
    decay = linear_map(0.9 * torch.eye(1, dtype=DOUBLE))
    found = attractors(decay, starts=torch.tensor([[1.0], [-1.0]], dtype=DOUBLE), num_steps=200)
    expected = math.ceil(math.log(0.01) / math.log(0.9))  # 1 % of the extent
    assert found.transient_resolution == 1
    assert found.attractors[0].transient_longest == expected
    assert found.attractors[0].transient_median == expected


def test_point_circle_chaos_and_escape_are_told_apart() -> None:
    def step(state: Tensor, input: Tensor) -> Tensor:
        """x^2 + y^2 = 1 attracts from the left half of a third coordinate; elsewhere the origin does."""
        plane, side = state[:, :2], state[:, 2:]
        size = (plane * plane).sum(-1, keepdim=True)
        turned = plane @ rotation_matrix(0.3).T
        return torch.cat([turned * torch.where(side > 0, 1 + 0.1 * (1 - size), 0.5 + 0 * size), torch.tanh(3 * side)], -1)

    starts = torch.randn(40, 3, generator=torch.Generator().manual_seed(0), dtype=DOUBLE)
    found = attractors(rs.System(step, 3, dtype=DOUBLE), starts=starts, num_steps=500, num_samples=2000)
    kinds = {a.kind: a.share for a in found.attractors}
    assert kinds == {
        "invariant circle": float((starts[:, 2] > 0).double().mean()),
        "point": float((starts[:, 2] < 0).double().mean()),
    }
    chaos = attractors(henon(), starts=2 * starts[:, :2], num_steps=500)
    assert [a.kind for a in chaos.attractors] == ["chaotic"]
    assert abs(chaos.attractors[0].largest_exponent - 0.419) < 4 * chaos.attractors[0].exponent_error
    assert 0 < chaos.share_diverged < 1
    assert abs(chaos.share_diverged + chaos.attractors[0].share - 1) < 1e-12
    assert "diverged" in chaos.summary


def test_a_line_attractor_is_one_set() -> None:
    line = line_attractor(torch.tensor([1.0, 2.0], dtype=DOUBLE))
    starts = torch.randn(30, 2, generator=torch.Generator().manual_seed(0), dtype=DOUBLE)
    (only,) = attractors(line, starts=starts, num_steps=200).attractors
    assert (only.kind, only.num_starts, only.largest_exponent) == ("continuum", 30, pytest.approx(0, abs=1e-12))


def test_further_sets_are_left_unexamined_and_counted() -> None:
    starts = torch.randn(6, 2, generator=torch.Generator().manual_seed(0), dtype=DOUBLE)
    turning = linear_map(rotation_matrix(0.7))  # each start on a circle of its own
    found = attractors(turning, starts=starts, num_steps=100, num_samples=1000, max_sets=2)
    assert len(found.attractors) == 2
    assert found.share_unexamined == pytest.approx(4 / 6)


def test_default_starts_come_from_the_generator_given() -> None:
    latch = rs.System(lambda h, x: torch.tanh(2 * h + x), 1, 1)
    first, second, other = (
        attractors(latch, num_starts=20, num_steps=100, rng=torch.Generator().manual_seed(seed)).starts for seed in (1, 1, 2)
    )
    assert torch.equal(first, second)
    assert not torch.equal(first, other)


def test_bad_arguments_are_refused(unchecked: None) -> None:
    with pytest.raises(ShapeError):
        attractors(henon(), starts=torch.zeros(4, 3))
    with pytest.raises(ConfigError, match="num_steps"):
        attractors(henon(), num_steps=0)
    with pytest.raises(ConfigError, match="max_sets"):
        attractors(henon(), max_sets=0)
