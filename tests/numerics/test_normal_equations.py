"""Accumulated ridge regression, and its recursive form, against the direct solution."""

import numpy as np
import pytest

from rnnscope.numerics.normal_equations import NormalEquations
from rnnscope.numerics.regression import ridge
from rnnscope.numerics.rls_kernels import learn_samples


def problem(samples: int = 300, features: int = 12, targets: int = 3) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    x = rng.standard_normal((samples, features)) @ rng.standard_normal((features, features)) + 5 * rng.standard_normal(features)
    return x, x @ rng.standard_normal((features, targets)) + 0.3 * rng.standard_normal((samples, targets)) + 2


@pytest.mark.parametrize("strength", [0.0, 1e-6, 0.1])
@pytest.mark.parametrize("pieces", [1, 7])
def test_pieces_have_the_solution_of_the_whole(strength: float, pieces: int) -> None:
    x, y = problem()
    sums = NormalEquations(12, 3)
    for part in np.array_split(np.arange(len(x)), pieces):
        sums.add(x[part], y[part])
    weight, bias = sums.solve(strength)
    wanted = ridge(x, y, strength)
    np.testing.assert_allclose(weight, wanted[0], rtol=1e-8, atol=1e-10)
    np.testing.assert_allclose(bias, wanted[1], rtol=1e-8, atol=1e-9)


def test_one_sum_absorbs_another_with_another_shift() -> None:
    x, y = problem()
    first, second, empty = NormalEquations(12, 3), NormalEquations(12, 3), NormalEquations(12, 3)
    first.add(x[:40], y[:40])
    second.add(x[40:], y[40:])
    first.absorb(second)
    first.absorb(NormalEquations(12, 3))
    empty.absorb(first)
    for sums in (first, empty):
        np.testing.assert_allclose(sums.solve(1e-3)[0], ridge(x, y, 1e-3)[0], rtol=1e-9, atol=1e-11)
    assert first.count == len(x)


def test_equal_columns_are_singular_and_the_least_strength_that_helps_is_found() -> None:
    x, y = problem()
    sums = NormalEquations(13, 3)
    sums.add(np.column_stack([x, x[:, 0]]), y)
    with pytest.raises(np.linalg.LinAlgError):
        sums.solve(0.0)
    least = sums.smallest_strength()
    assert 1e-20 < least < 1e-8
    assert np.isfinite(sums.solve(least)[0]).all()


def test_recursive_least_squares_without_forgetting_is_ridge_regression() -> None:
    x, y = problem()
    inverse, weights, center, offset, mass = np.eye(12) / (1e-3 * len(x)), np.zeros((3, 12)), np.zeros(12), np.zeros(3), 0.0
    for part in np.array_split(np.arange(len(x)), 5):
        mass, _ = learn_samples(inverse, weights, center, offset, mass, x[part], y[part], 1.0)
    wanted = ridge(x, y, 1e-3)
    np.testing.assert_allclose(weights, wanted[0], rtol=1e-8, atol=1e-8)
    np.testing.assert_allclose(offset - weights @ center, wanted[1], rtol=1e-8, atol=1e-8)
    assert mass == len(x)


def test_forgetting_follows_a_law_that_changes() -> None:
    rng = np.random.default_rng(1)
    x = rng.standard_normal((4000, 2))
    y = x @ np.array([[1.0], [2.0]])
    y[2000:] = x[2000:] @ np.array([[-3.0], [0.5]]) + 4
    found = []
    for forgetting in (1.0, 0.99):
        weights, center, offset = np.zeros((1, 2)), np.zeros(2), np.zeros(1)
        learn_samples(np.eye(2), weights, center, offset, 0.0, x, y, forgetting)
        found.append(np.abs(weights[0] - [-3.0, 0.5]).max())
    assert found[1] < 1e-6 < 0.5 < found[0]
