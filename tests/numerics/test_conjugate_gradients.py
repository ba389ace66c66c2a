"""Conjugate gradients: the solution, the path to it, and every way in which they end."""

import pytest
import torch

from rnnscope.numerics.conjugate_gradients import conjugate_gradients


def problem(size=20, seed=0, spread=2.0):
    """A symmetric positive definite matrix with eigenvalues from 1 to 10^spread, and a slope."""
    rng = torch.Generator().manual_seed(seed)
    q, _ = torch.linalg.qr(torch.randn(size, size, generator=rng, dtype=torch.float64))
    values = 10 ** torch.linspace(0, spread, size, dtype=torch.float64)
    return q @ torch.diag(values) @ q.T, torch.randn(size, generator=rng, dtype=torch.float64)


def minimum(matrix, slope):
    return -torch.linalg.solve(matrix, slope)


def test_without_a_stop_it_solves_the_system():
    matrix, slope = problem()
    path = conjugate_gradients(lambda v: matrix @ v, slope, progress=0.0)
    torch.testing.assert_close(path.iterates[-1], minimum(matrix, slope), rtol=1e-6, atol=1e-8)
    assert path.end == "solved"


def test_n_different_eigenvalues_take_n_steps():
    slope = torch.ones(12, dtype=torch.float64)
    diagonal = torch.tensor([1.0, 2.0, 5.0] * 4, dtype=torch.float64)
    path = conjugate_gradients(lambda v: diagonal * v, slope, progress=0.0)
    assert path.steps == 3


def test_values_are_those_of_the_model_and_fall():
    matrix, slope = problem()
    path = conjugate_gradients(lambda v: matrix @ v, slope, progress=0.0)
    wanted = [0.5 * float(x @ matrix @ x) + float(slope @ x) for x in path.iterates]
    assert path.values == pytest.approx(wanted, rel=1e-9)
    assert all(a > b for a, b in zip(path.values, path.values[1:], strict=False))


def test_the_right_preconditioner_needs_one_step():
    slope = torch.randn(9, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    diagonal = torch.linspace(1, 50, 9, dtype=torch.float64)
    path = conjugate_gradients(lambda v: diagonal * v, slope, preconditioner=diagonal, progress=0.0)
    assert path.steps == 1
    torch.testing.assert_close(path.iterates[-1], -slope / diagonal)


def test_from_the_solution_there_is_nothing_to_do():
    matrix, slope = problem()
    start = minimum(matrix, slope)
    path = conjugate_gradients(lambda v: matrix @ v, slope, start)
    assert (path.steps, path.end) == (0, "solved")
    assert torch.equal(path.iterates[-1], start)


def test_a_start_that_is_worse_than_zero_is_not_taken():
    matrix, slope = problem()
    far = -10 * minimum(matrix, slope)
    one = conjugate_gradients(lambda v: matrix @ v, slope, far)
    other = conjugate_gradients(lambda v: matrix @ v, slope)
    assert one.values == other.values


def test_a_start_is_not_changed():
    matrix, slope = problem()
    start = torch.ones(20, dtype=torch.float64)
    conjugate_gradients(lambda v: matrix @ v, slope, start)
    assert torch.equal(start, torch.ones(20, dtype=torch.float64))


def test_it_stops_where_there_is_little_progress():
    matrix, slope = problem(200, spread=5)
    early = conjugate_gradients(lambda v: matrix @ v, slope, most=10_000)
    late = conjugate_gradients(lambda v: matrix @ v, slope, most=10_000, progress=1e-8)
    assert early.end == late.end == "little progress"
    assert 10 < early.steps < late.steps
    assert late.values[-1] < early.values[-1]


def test_it_makes_no_more_steps_than_allowed():
    matrix, slope = problem()
    path = conjugate_gradients(lambda v: matrix @ v, slope, most=4)
    assert (path.steps, path.end) == (4, "most steps")


def test_saved_iterates_lie_ever_further_apart_and_the_last_is_among_them():
    matrix, slope = problem(300, spread=4)
    path = conjugate_gradients(lambda v: matrix @ v, slope, most=150, progress=0.0)
    assert len(path.iterates) < 25
    longer = conjugate_gradients(lambda v: matrix @ v, slope, most=151, progress=0.0)
    assert path.values[-1] > longer.values[-1]


def test_negative_curvature_is_told():
    diagonal = torch.tensor([1.0, -1.0], dtype=torch.float64)
    path = conjugate_gradients(lambda v: diagonal * v, torch.tensor([0.1, 1.0], dtype=torch.float64))
    assert path.end == "negative curvature"
    assert path.curvature < 0
    assert torch.isfinite(path.iterates[-1]).all()


def test_numbers_that_are_not_finite_are_told():
    path = conjugate_gradients(lambda v: v * torch.nan, torch.ones(3))
    assert path.end == "not finite"
    assert torch.equal(path.iterates[-1], torch.zeros(3))


def test_no_slope_leaves_zero():
    path = conjugate_gradients(lambda v: v, torch.zeros(3))
    assert (path.end, path.steps) == ("solved", 0)
    assert torch.equal(path.iterates[-1], torch.zeros(3))
