"""Counting and drawing binary strings with and without a pattern, against listing them all."""

import itertools

import numpy as np
import pytest
from scipy import stats

from rnnscope.numerics.pattern_strings import count_occurrences, count_strings, draw_strings, pattern_automaton

PATTERNS = [(1, 1, 0), (1,), (0, 1, 0), (1, 0, 1, 0, 1), (1, 1, 1, 1), (0, 0, 1, 0, 0, 1)]


def everything(steps: int) -> np.ndarray:
    return np.array(list(itertools.product((0, 1), repeat=steps)))


def written(rows: np.ndarray) -> set[str]:
    return {"".join(map(str, row)) for row in rows.tolist()}


@pytest.mark.parametrize("pattern", PATTERNS)
def test_the_automaton_ends_where_the_pattern_ends(pattern):
    table, text = pattern_automaton(pattern), "".join(map(str, pattern))
    assert table.shape == (len(pattern) + 1, 2)
    for row in everything(9):
        state, read = 0, ""
        for symbol in row.tolist():
            state, read = int(table[state, symbol]), read + str(symbol)
            assert (state == len(pattern)) == read.endswith(text)


@pytest.mark.parametrize("pattern", PATTERNS)
@pytest.mark.parametrize("steps", [1, 4, 10])
@pytest.mark.parametrize("occurrences", [{0}, {1}, {2}, {1, 2}, {0, 1, 2}])
def test_counts_and_draws_are_those_of_the_list_of_all_strings(pattern, steps, occurrences):
    text = "".join(map(str, pattern))
    rows = everything(steps)
    seen = [sum("".join(map(str, r)).startswith(text, k) for k in range(steps)) for r in rows.tolist()]
    np.testing.assert_array_equal(count_occurrences(rows, pattern), seen)
    allowed = rows[np.isin(np.minimum(seen, 2), list(occurrences))]
    number = count_strings(pattern, steps, occurrences)
    assert number == len(allowed)
    assert written(draw_strings(pattern, steps, occurrences, number, np.random.default_rng(0))) == written(allowed)


@pytest.mark.parametrize("occurrences", [{0}, {1}])
def test_draws_are_uniform(occurrences):
    number = count_strings((1, 1, 0), 6, occurrences)
    rng = np.random.default_rng(0)
    drawn = np.concatenate([draw_strings((1, 1, 0), 6, occurrences, 1, rng) for _ in range(60 * number)])
    counts = np.unique(drawn, axis=0, return_counts=True)[1]
    assert len(counts) == number
    assert stats.chisquare(counts).pvalue > 1e-3


def test_long_strings_are_drawn_in_their_right_shares_too():
    drawn = draw_strings((1, 1, 0), 200, {1}, 3000, np.random.default_rng(0))
    assert (count_occurrences(drawn, (1, 1, 0)) == 1).all()
    assert len(np.unique(drawn, axis=0)) == 3000
    free = draw_strings((1, 1), 100, {0}, 4000, np.random.default_rng(1))
    golden = (1 + 5**0.5) / 2  # of strings without 11, the share of ones tends to 1 / (golden² + 1)
    assert free[:, 20:80].mean() == pytest.approx(1 / (golden**2 + 1), abs=0.005)
