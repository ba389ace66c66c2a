"""Periodic orbits of piecewise-linear networks, against exhaustive search written out differently."""

import itertools
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from torch import Tensor

from rnnscope.core.errors import ConfigError, ShapeError
from rnnscope.core.piecewise import PiecewiseLinear
from rnnscope.core.system import DynamicalSystem, System
from rnnscope.dynamics.cycles import find_cycles
from rnnscope.dynamics.linear_regions import inner_point, nonempty_regions
from rnnscope.dynamics.periodic_regions import PiecewiseLinearCycles, piecewise_linear_cycles

DOUBLE = torch.float64


class ShallowPLRNN(DynamicalSystem, PiecewiseLinear):
    """z' = A z + W1 relu(W2 z + h2) + h1 + C x (Hess et al. 2023); with A = 0, W1 = I a ReLU network without an outer bias."""

    def __init__(self, a: Tensor, w1: Tensor, w2: Tensor, h1: Tensor, h2: Tensor, c: Tensor | None = None) -> None:
        super().__init__()
        drive = torch.zeros(len(a), 0, dtype=DOUBLE) if c is None else c
        for name, value in {"a": a, "w1": w1, "w2": w2, "h1": h1, "h2": h2, "c": drive}.items():
            self.register_buffer(name, value)
        self.state_size, self.input_size, self.output_size = len(a), drive.shape[1], len(a)

    def initial_state(self, batch_size: int) -> Tensor:
        return self.a.new_zeros(batch_size, self.state_size)

    def step(self, state: Tensor, input: Tensor) -> Tensor:
        inner = torch.relu(state @ self.w2.T + self.h2)
        return state @ self.a.T + inner @ self.w1.T + self.h1 + input @ self.c.T

    def readout(self, state: Tensor) -> Tensor:
        return state

    def affine(self, pattern: Tensor, input: Tensor) -> tuple[Tensor, Tensor]:
        on = pattern.to(self.a)[:, None, :] * self.w1
        return self.a + on @ self.w2, on @ self.h2 + self.h1 + input @ self.c.T

    def boundaries(self, pattern: Tensor, input: Tensor) -> tuple[Tensor, Tensor]:
        return self.w2.expand(len(pattern), -1, -1), self.h2.expand(len(pattern), -1)

    def region(self, state: Tensor, input: Tensor) -> Tensor:
        return state @ self.w2.T + self.h2 > 0


def random_plrnn(seed: int, size: int = 2, hidden: int = 10) -> ShallowPLRNN:
    rng = torch.Generator().manual_seed(seed)
    normal = lambda *shape: torch.randn(*shape, generator=rng, dtype=DOUBLE)  # noqa: E731
    a = torch.diag(torch.rand(size, generator=rng, dtype=DOUBLE) * 1.8 - 0.9)
    return ShallowPLRNN(a, normal(size, hidden) * 0.7, normal(hidden, size), normal(size), normal(hidden))


def random_relu(seed: int, size: int = 4) -> ShallowPLRNN:
    """z' = relu(W z + b)."""
    rng = torch.Generator().manual_seed(seed)
    weight = torch.randn(size, size, generator=rng, dtype=DOUBLE) * 1.5
    bias = torch.randn(size, generator=rng, dtype=DOUBLE)
    eye, zeros = torch.eye(size, dtype=DOUBLE), torch.zeros(size, dtype=DOUBLE)
    return ShallowPLRNN(torch.zeros(size, size, dtype=DOUBLE), eye, weight, zeros, bias)


def planar_regions(net: ShallowPLRNN) -> np.ndarray:
    """Patterns of all regions of an arrangement of lines: around every crossing, and far out."""
    w, h = net.w2.numpy(), net.h2.numpy()
    angles = np.linspace(0, 2 * np.pi, 20_001)
    points = [1e6 * np.stack([np.cos(angles), np.sin(angles)], 1)]
    for i, j in itertools.combinations(range(len(h)), 2):
        crossing = np.linalg.solve(w[[i, j]], -h[[i, j]])
        points.append(crossing + 1e-6 * np.stack([np.cos(angles[::200]), np.sin(angles[::200])], 1))
    return np.unique(np.concatenate(points) @ w.T + h > 0, axis=0)


def all_sequences(count: int, period: int) -> Iterator[np.ndarray]:
    for first in range(count):
        rest = np.indices((count,) * (period - 1)).reshape(period - 1, count ** (period - 1)).T
        yield np.hstack([np.full((len(rest), 1), first), rest])


def brute_force(net: ShallowPLRNN, patterns: np.ndarray, max_period: int) -> dict[int, list[np.ndarray]]:
    """First points of all orbits of prime period k, one per orbit: every sequence, solved and checked region by region."""
    a, w1, w2, h1, h2 = (b.numpy() for b in (net.a, net.w1, net.w2, net.h1, net.h2))
    on = patterns[:, None, :] * w1
    matrices, offsets = a + on @ w2, on @ h2 + h1
    found: dict[int, list[np.ndarray]] = {}
    for period in range(1, max_period + 1):
        orbits: list[np.ndarray] = []
        for rows in all_sequences(len(patterns), period):
            product, carried = matrices[rows[:, 0]], offsets[rows[:, 0]]
            for index in rows.T[1:]:
                product, carried = matrices[index] @ product, np.einsum("nij,nj->ni", matrices[index], carried) + offsets[index]
            point = np.linalg.solve(np.eye(len(a)) - product, carried[..., None])[..., 0]
            for step in range(period):
                inside = ((point @ w2.T + h2 > 0) == patterns[rows[:, step]]).all(1)
                rows, point = rows[inside], point[inside]
                point = np.einsum("nij,nj->ni", matrices[rows[:, step]], point) + offsets[rows[:, step]]
            for start, order in zip(point, rows, strict=True):
                orbit = [start]
                for index in order[:-1]:
                    orbit.append(matrices[index] @ orbit[-1] + offsets[index])
                prime = all(np.abs(p - start).max() > 1e-7 for p in orbit[1:])
                if prime and not any(np.abs(known - start).max(1).min() < 1e-7 for known in orbits):
                    orbits.append(np.stack(orbit))
        found[period] = orbits
    return found


def assert_equal(found: PiecewiseLinearCycles, truth: dict[int, list[np.ndarray]]) -> None:
    for period, orbits in truth.items():
        own = [c.points.numpy() for c in (*found.fixed_points, *found.cycles) if c.period == period]
        assert len(own) == len(orbits), (period, len(own), len(orbits))
        for orbit in orbits:
            assert min(np.abs(points - orbit[0]).max(1).min() for points in own) < 1e-8
    assert all(c.residual < 1e-11 * (1 + float(c.points.abs().max())) for c in (*found.fixed_points, *found.cycles))


@pytest.mark.parametrize("seed", [0, 2])
def test_every_orbit_of_a_shallow_plrnn_is_found(seed: int) -> None:
    net = random_plrnn(seed)
    regions = planar_regions(net)
    found = piecewise_linear_cycles(net, 3)
    assert (found.complete_up_to, found.num_regions) == (3, len(regions))
    truth = brute_force(net, regions, 3)
    assert sum(map(len, truth.values())) > 0
    assert_equal(found, truth)
    assert_equal(piecewise_linear_cycles(net, 3, max_sequences=10), truth)  # the search from many starts


@pytest.mark.parametrize("seed", range(6))
def test_every_orbit_of_a_relu_network_is_found(seed: int) -> None:
    net = random_relu(seed)
    regions = np.array(list(itertools.product([False, True], repeat=4)))
    found = piecewise_linear_cycles(net, 4)
    assert found.complete_up_to == 4
    assert_equal(found, brute_force(net, regions, 4))


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(20))
def test_orbits_up_to_period_four_equal_exhaustive_search(seed: int) -> None:
    for net, regions in (
        (random_plrnn(seed), planar_regions(random_plrnn(seed))),
        (random_relu(seed), np.array(list(itertools.product([False, True], repeat=4)))),
    ):
        truth = brute_force(net, regions, 4)
        assert_equal(piecewise_linear_cycles(net, 4), truth)
        assert_equal(piecewise_linear_cycles(net, 4, max_sequences=10), truth)


def test_newton_from_many_starts_agrees_on_short_cycles() -> None:
    net = random_plrnn(2)
    exact, newton = piecewise_linear_cycles(net, 3), find_cycles(net, max_unstable_period=3)
    assert {c.period for c in newton.cycles} <= {c.period for c in exact.cycles}
    for cycle in newton.cycles:
        assert any(
            torch.allclose(cycle.points.sort(0)[0], c.points.sort(0)[0]) for c in exact.cycles if c.period == cycle.period
        )


def test_held_input_moves_the_fixed_point() -> None:
    eye = torch.eye(2, dtype=DOUBLE)
    net = ShallowPLRNN(0.5 * eye, 0 * eye, eye, torch.ones(2, dtype=DOUBLE), torch.zeros(2, dtype=DOUBLE), eye)
    found = piecewise_linear_cycles(net, input=torch.tensor([1.0, -2.0]))
    assert torch.allclose(found.fixed_points[0].points, torch.tensor([[4.0, -2.0]], dtype=DOUBLE))


def test_a_fixed_point_on_the_border_of_regions_is_found() -> None:
    net = random_relu(0)
    net.h2.zero_()
    assert any(c.points.abs().max() < 1e-12 for c in piecewise_linear_cycles(net).fixed_points)


def test_a_line_of_fixed_points_and_a_family_of_flips_are_reported() -> None:
    eye, zeros = torch.eye(2, dtype=DOUBLE), torch.zeros(2, dtype=DOUBLE)
    line = ShallowPLRNN(torch.diag(torch.tensor([1.0, 0.5], dtype=DOUBLE)), 0 * eye, eye, zeros, zeros)
    found = piecewise_linear_cycles(line)
    assert found.families
    for family in found.families:
        assert torch.allclose(family.directions.abs(), torch.tensor([[1.0], [0.0]], dtype=DOUBLE), atol=1e-9)
        assert torch.allclose(line.step(family.points, torch.zeros(1, 0, dtype=DOUBLE)), family.points, atol=1e-12)
    flips = ShallowPLRNN(torch.diag(torch.tensor([-1.0, 0.5], dtype=DOUBLE)), 0 * eye, eye, zeros + 1, zeros)
    families = piecewise_linear_cycles(flips, 2).families
    assert families
    assert {family.period for family in families} == {2}


def test_regions_of_lines_in_the_plane_are_counted() -> None:
    net = random_plrnn(5, hidden=6)
    found = nonempty_regions(net, torch.zeros(0, dtype=DOUBLE), 2, 1000)
    assert found is not None
    assert len(found) == 1 + 6 + 15  # lines in general position
    assert nonempty_regions(net, torch.zeros(0, dtype=DOUBLE), 2, 10) is None


def test_inner_points_lie_inside() -> None:
    rows, offsets = np.array([[1.0, 0.0], [0.0, 0.0]]), np.array([-3.0, 1.0])
    point = inner_point(rows, offsets, np.array([True, True]))
    assert point is not None
    assert point[0] > 3
    assert inner_point(rows, offsets, np.array([True, False])) is None
    assert inner_point(np.array([[1.0], [1.0]]), np.array([0.0, -1.0]), np.array([False, True])) is None


def test_larger_networks_are_searched_and_say_so() -> None:
    found = piecewise_linear_cycles(random_relu(1, 12), 3, num_starts=50)
    assert found.complete_up_to == 1
    assert "complete up to period 1" in found.summary


def test_the_network_is_left_as_it_was() -> None:
    net = random_plrnn(0)
    before = {name: value.clone() for name, value in net.state_dict().items()}
    piecewise_linear_cycles(net, 2)
    assert all(torch.equal(before[name], value) for name, value in net.state_dict().items())


def test_systems_that_are_not_piecewise_linear_are_refused() -> None:
    with pytest.raises(ConfigError, match="not piecewise linear"):
        piecewise_linear_cycles(System(lambda h, x: torch.tanh(h), 1))


def test_bad_counts_and_inputs_are_refused() -> None:
    with pytest.raises(ConfigError, match="max_period"):
        piecewise_linear_cycles(random_plrnn(0), 0)
    with pytest.raises(ShapeError):
        piecewise_linear_cycles(random_plrnn(0), input=torch.zeros(3))
