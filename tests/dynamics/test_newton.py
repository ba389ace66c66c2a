"""Roots of many systems at once: known roots, minima without a root, boxes, and starts that are left alone."""

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from rnnscope.core.equilibria import RestEquation
from rnnscope.dynamics.newton import chunks, solve, solve_linear

DOUBLE = torch.float64


class Equation(RestEquation):
    """R(u) = 0 from a function; its derivative by automatic differentiation."""

    def __init__(self, function: Callable[[Tensor], Tensor], size: int, box: float | None = None) -> None:
        self.function, self.size = function, size
        if box is not None:
            self.lower, self.upper = torch.full((size,), -box, dtype=DOUBLE), torch.full((size,), box, dtype=DOUBLE)

    def reduce(self, states: Tensor) -> Tensor:
        return states

    def expand(self, unknowns: Tensor) -> Tensor:
        return unknowns

    def residual(self, unknowns: Tensor) -> Tensor:
        return self.function(unknowns)

    def linearise(self, unknowns: Tensor) -> tuple[Tensor, Tensor]:
        jacobian = torch.func.vmap(torch.func.jacrev(lambda u: self.function(u[None])[0]))(unknowns)
        return self.function(unknowns), jacobian


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=DOUBLE)


def test_linear_systems_are_solved_in_one_step() -> None:
    matrix, shift = normal(4, 4), normal(4, seed=1)
    found = solve(Equation(lambda u: u @ matrix.T - shift, 4), normal(20, 4, seed=2))
    assert found.converged.all()
    torch.testing.assert_close(found.unknowns, torch.linalg.solve(matrix, shift).expand(20, -1))
    assert not found.at_rest.any()


@pytest.mark.parametrize("start", [-30.0, -1e-3, 0.3, 7.0, 1e4])
def test_roots_of_a_cubic_from_anywhere(start: float) -> None:
    found = solve(Equation(lambda u: u**3 - u, 1), torch.tensor([[start]], dtype=DOUBLE))
    assert found.converged.all()
    assert min(abs(float(found.unknowns) - root) for root in (-1, 0, 1)) < 1e-12
    assert float(found.residual) <= 1e-12


def test_a_flat_start_that_stops_plain_newton_is_left() -> None:
    found = solve(Equation(lambda u: torch.tanh(u), 1), torch.tensor([[8.0], [-10.0]], dtype=DOUBLE))
    assert found.converged.all()
    assert found.unknowns.abs().max() < 1e-12


def test_a_minimum_that_is_no_root_is_at_rest() -> None:
    starts = torch.stack([torch.linspace(-2, 3, 7, dtype=DOUBLE), torch.ones(7, dtype=DOUBLE)], 1)
    found = solve(Equation(lambda u: torch.stack([u[:, 0] ** 2 + 0.01, 3 * u[:, 1]], 1), 2), starts)
    assert not found.converged.any()
    assert found.at_rest.all()
    assert found.unknowns.abs().max() < 0.01
    assert found.residual.tolist() == pytest.approx([0.01] * 7, rel=0.01)


def test_steps_stay_in_the_box() -> None:
    inside = solve(Equation(lambda u: u**3 - u, 1, box=0.5), torch.linspace(-9, 9, 11, dtype=DOUBLE)[:, None])
    assert bool((inside.unknowns.abs() <= 0.5).all())
    assert set(inside.unknowns[inside.converged].round(decimals=9).abs().flatten().tolist()) <= {0.0}
    # at a border of the box beyond which the residual would fall, a row is at rest
    edge = solve(Equation(lambda u: u - 2, 1, box=1.0), torch.zeros(1, 1, dtype=DOUBLE))
    assert edge.unknowns.tolist() == [[1.0]]
    assert not edge.converged.any()
    assert edge.at_rest.all()


def test_a_double_root_converges() -> None:
    found = solve(Equation(lambda u: u**2, 1), torch.tensor([[1.0]], dtype=DOUBLE))
    assert float(found.residual) <= 1e-12


def test_a_line_of_roots_converges_at_its_nearest_points() -> None:
    found = solve(Equation(lambda u: (u.sum(1) - 1)[:, None].expand(-1, 2), 2), normal(9, 2))
    assert found.converged.all()
    assert found.unknowns.sum(1).tolist() == pytest.approx([1.0] * 9)


def test_rows_do_not_touch_each_other_and_starts_stay() -> None:
    equation = Equation(lambda u: torch.tanh(2 * u) - u, 3)
    starts = normal(30, 3)
    kept = starts.clone()
    together = solve(equation, starts)
    assert torch.equal(starts, kept)
    for row in (0, 13, 29):
        alone = solve(equation, starts[row : row + 1])
        torch.testing.assert_close(alone.unknowns, together.unknowns[row : row + 1], atol=1e-10, rtol=0)


def test_a_residual_that_is_not_a_number_is_no_root() -> None:
    found = solve(Equation(lambda u: torch.log(u), 1), torch.tensor([[-1.0], [0.5]], dtype=DOUBLE))
    assert found.converged.tolist() == [False, True]
    assert not found.at_rest[0]


def test_no_starts_give_no_roots() -> None:
    found = solve(Equation(lambda u: u**3 - u, 1), torch.zeros(0, 1, dtype=DOUBLE))
    assert found.unknowns.shape == (0, 1)


def test_singular_systems_give_no_numbers_and_no_error() -> None:
    matrices = torch.stack([torch.eye(2, dtype=DOUBLE), torch.zeros(2, 2, dtype=DOUBLE)])
    found = solve_linear(matrices, torch.ones(2, 2, dtype=DOUBLE))
    assert found[0].tolist() == [1.0, 1.0]
    assert not torch.isfinite(found[1]).any()


def test_pieces_cover_the_rows_in_order() -> None:
    rows = torch.arange(1000)
    assert torch.equal(torch.cat(chunks(rows, 64)), rows)
    assert max(map(len, chunks(rows, 2000))) == 1
    assert math.prod((len(chunks(rows, 1)), 1)) == 1
