"""Where searches begin: near what a system visits, from the generator given, never touching the caller's arrays."""

import math

import pytest
import torch
from torch import nn

import rnnscope as rs
from known_systems import DOUBLE, linear_map, rotation
from rnnscope.dynamics.starts import checked_input, checked_starts, default_starts, scatter


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("num", [1, 7, 300])
def test_as_many_finite_starts_as_asked(num: int) -> None:
    found = default_starts(rs.as_system(nn.LSTM(2, 3)), num, rng())
    assert found.shape == (num, 6)
    assert found.dtype == DOUBLE
    assert torch.isfinite(found).all()


def test_the_generator_decides() -> None:
    system = rs.as_system(nn.GRU(1, 3))
    assert torch.equal(default_starts(system, 20, rng()), default_starts(system, 20, rng()))
    assert not torch.equal(default_starts(system, 20, rng()), default_starts(system, 20, rng(1)))


def test_starts_without_spread_are_visited_states() -> None:
    system = rs.System(lambda h, x: torch.sign(h + x), 1, 1, dtype=DOUBLE)  # visits -1 and 1 but for the first state
    found = default_starts(system, 400, rng(), spread=0.0)
    assert float((found.abs() == 1).double().mean()) > 0.8


def test_the_held_input_is_what_is_driven_around() -> None:
    system = linear_map(torch.zeros(1, 1, dtype=DOUBLE), torch.ones(1, 1, dtype=DOUBLE))
    found = default_starts(system, 2000, rng(), torch.tensor([50.0]), spread=0.0)
    assert float(found.median()) == pytest.approx(50, abs=1)


def test_paths_that_blow_up_count_up_to_there() -> None:
    found = default_starts(linear_map(5 * torch.eye(2, dtype=DOUBLE)), 100, rng())
    assert torch.isfinite(found).all()
    halfway = default_starts(rs.System(lambda h, _: h / 0, 2), 50, rng())  # inf or nan after the first step
    assert torch.isfinite(halfway).all()


def test_starts_scatter_in_proportion_to_each_unit() -> None:
    pool = torch.randn(5000, 3, generator=rng(), dtype=DOUBLE) * torch.tensor([4.0, 1.0, 0.0], dtype=DOUBLE)
    moved = scatter(torch.zeros(20_000, 3, dtype=DOUBLE), pool, 0.5, rng(1)).std(0)
    # a unit that hardly moves gets a tenth of the one that moves most
    assert moved.tolist() == pytest.approx([2.0, 0.5, 0.2], rel=0.05)
    still = scatter(torch.zeros(20_000, 2, dtype=DOUBLE), torch.ones(10, 2, dtype=DOUBLE), 0.5, rng())
    assert still.std(0).tolist() == pytest.approx([0.5, 0.5], rel=0.05)
    assert torch.equal(scatter(pool, pool, 0.0, rng()), pool)


def test_a_single_start_becomes_a_row_of_a_copy() -> None:
    given = torch.tensor([1.0, 2.0])
    found = checked_starts(rotation(0.1), given)
    assert found.tolist() == [[1.0, 2.0]]
    found += 1
    assert given.tolist() == [1.0, 2.0]
    assert checked_starts(rotation(0.1), torch.ones(3, 2, dtype=DOUBLE, requires_grad=True)).requires_grad is False


@pytest.mark.parametrize("shape", [(0, 2), (3, 5), (2, 2, 2), (5,)])
def test_starts_of_another_shape_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(rs.ShapeError, match="starts of shape"):
        checked_starts(rotation(0.1), torch.zeros(shape))


def test_starts_that_are_not_finite_are_named_by_number() -> None:
    with pytest.raises(rs.ShapeError, match="start number 2"):
        checked_starts(rotation(0.1), torch.tensor([[0.0, 0], [0, 0], [math.inf, 0], [math.nan, 0]]))


def test_inputs_are_checked() -> None:
    system = rs.as_system(nn.GRU(2, 3))
    assert checked_input(system, None).tolist() == [0.0, 0.0]
    given = torch.tensor([1.0, 2.0])
    found = checked_input(system, given)
    assert (found.dtype, found.tolist()) == (DOUBLE, [1.0, 2.0])
    found += 1
    assert given.tolist() == [1.0, 2.0]
    with pytest.raises(rs.ShapeError, match="input of shape"):
        checked_input(system, torch.zeros(3))
    with pytest.raises(rs.ShapeError, match="not finite"):
        checked_input(system, torch.tensor([0.0, math.nan]))


def test_no_starts_at_all_are_refused() -> None:
    with pytest.raises(rs.ConfigError, match="0 starts"):
        default_starts(rotation(0.1), 0, rng())
