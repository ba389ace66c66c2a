"""Matchings are bijections of least cost."""

from itertools import permutations

import numpy as np
import pytest
import torch

from rnnscope.numerics.matching import hamming_cost, match_sequences


def symbols(seed: int, rows: int, steps: int, kinds: int = 3) -> np.ndarray:
    return np.random.default_rng(seed).integers(kinds, size=(rows, steps))


@pytest.mark.parametrize(("steps", "kinds"), [(1, 2), (7, 3), (64, 4), (65, 5), (150, 300)])
def test_hamming_cost_counts_the_places_that_differ(steps, kinds) -> None:
    x, y = symbols(0, 9, steps, kinds), symbols(1, 13, steps, kinds)
    assert np.array_equal(hamming_cost(x, y), (x[:, None] != y[None]).sum(-1))


@pytest.mark.parametrize("method", ["exact", "sinkhorn"])
@pytest.mark.parametrize("rows", [1, 2, 5, 6])
def test_matching_costs_what_brute_force_finds(method, rows) -> None:
    x, y = symbols(2, rows, 8), symbols(3, rows, 8)
    cost = hamming_cost(x, y)
    best = min(sum(cost[i, j] for i, j in enumerate(order)) for order in permutations(range(rows))) / rows
    found = match_sequences(x, y, method)
    assert found.is_bijection
    assert found.bound <= best + 1e-9
    assert found.cost == pytest.approx(best, abs=1e-9 if method == "exact" else 0.5 / rows)


def test_distances_are_euclidean_between_one_hot_rows() -> None:
    x, y = symbols(4, 40, 20), symbols(5, 40, 20)
    found = match_sequences(x, y)
    one_hot = [np.eye(3)[z].reshape(40, -1) for z in (x, y)]
    expected = np.linalg.norm(one_hot[0] - one_hot[1][found.columns], axis=1)
    assert found.distances == pytest.approx(expected)
    assert (found.mean, found.sd) == pytest.approx((expected.mean(), expected.std()))
    assert match_sequences(*one_hot).cost == pytest.approx(found.cost)


@pytest.mark.parametrize(("rows", "steps"), [(300, 6), (500, 60)])
def test_matching_by_transport_is_near_the_exact_one(rows, steps) -> None:
    x, y = symbols(6, rows, steps), symbols(7, rows, steps)
    exact, near = match_sequences(x, y), match_sequences(x, y, "sinkhorn")
    assert near.is_bijection
    assert exact.cost <= near.cost <= 1.01 * exact.cost
    assert 0.95 * exact.cost <= near.bound <= exact.cost + 1e-6


def test_points_match_by_transport_too() -> None:
    rng = np.random.default_rng(8)
    x, y = torch.from_numpy(rng.normal(size=(200, 3))), torch.from_numpy(rng.normal(size=(200, 3)) + 1)
    exact, near = match_sequences(x, y), match_sequences(x, y, "sinkhorn")
    assert near.is_bijection
    assert near.cost == pytest.approx(exact.cost, rel=0.01)


@pytest.mark.parametrize("method", ["exact", "sinkhorn"])
def test_a_shuffled_copy_is_found_again(method) -> None:
    x = symbols(9, 100, 30)
    order = np.random.default_rng(10).permutation(100)
    found = match_sequences(x, x[order], method)
    assert found.cost == 0
    assert np.array_equal(order[found.columns], np.arange(100))


@pytest.mark.parametrize("method", ["exact", "sinkhorn"])
def test_equal_sequences_are_used_once_each(method) -> None:
    x, y = np.zeros((50, 5), int), symbols(11, 50, 5)
    found = match_sequences(x, y, method)
    assert found.is_bijection
    assert found.cost == pytest.approx((y != 0).sum(1).mean())


@pytest.mark.usefixtures("unchecked")
def test_wrong_arguments_are_answered_in_words() -> None:
    x = symbols(12, 5, 4)
    for first, second, words in (
        (x, x[:4], "same shape"),
        (x, x.astype(float), "same shape"),
        (x.astype(float) * np.nan, x.astype(float), "NaN"),
        (x[0], x[0], "rows"),
        (-x - 1, x, "negative"),
    ):
        with pytest.raises(ValueError, match=words):
            match_sequences(first, second)
    with pytest.raises(ValueError, match="method"):
        match_sequences(x, x, "greedy")
