"""Kneser-Ney n-grams against a brute-force reading of the equations."""

from collections import Counter, defaultdict

import numpy as np
import pytest

from rnnscope.numerics.ngrams import fit_ngrams, kneser_ney_discounts


def brute_force(train: list[int], num_symbols: int, order: int, context: list[int], raw: bool = True) -> np.ndarray:
    """p(w | context) for every w, straight from the definition, with dictionaries."""
    if order == 0:
        return np.full(num_symbols, 1 / num_symbols)
    grams: Counter[tuple[int, ...]] = Counter(tuple(train[i : i + order]) for i in range(len(train) - order + 1))
    if not raw:
        longer = {tuple(train[i : i + order + 1]) for i in range(len(train) - order)}
        counted = Counter(gram[1:] for gram in longer)
        grams = Counter({gram: counted.get(gram, 0) for gram in grams})
    tally = [sum(c == r for c in grams.values()) for r in (1, 2, 3, 4)]
    discounts = kneser_ney_discounts(np.array([*tally[:3], sum(c >= 4 for c in grams.values())]))
    after: dict[tuple[int, ...], dict[int, int]] = defaultdict(dict)
    for gram, count in grams.items():
        after[gram[:-1]][gram[-1]] = count
    own = after.get(tuple(context[len(context) - order + 1 :]) if order > 1 else (), {})
    shorter = brute_force(train, num_symbols, order - 1, context, raw=False)
    total = sum(own.values())
    if total == 0:
        return shorter
    rest = sum(discounts[min(c, 3)] for c in own.values()) / total
    found = rest * shorter
    for symbol, count in own.items():
        found[symbol] += (count - discounts[min(count, 3)]) / total
    return found


@pytest.mark.parametrize("seed", range(3))
def test_predictions_are_those_of_the_definition(seed: int) -> None:
    rng = np.random.default_rng(seed)
    train = rng.choice(4, 300, p=[0.5, 0.3, 0.15, 0.05]).tolist()
    test = rng.integers(0, 4, 25).tolist()
    p, best = fit_ngrams(np.array(train), 4, 4).predict(np.array(test), first=6)
    for t in range(6, 25):
        for order in (1, 2, 3, 4):
            wanted = brute_force(train, 4, order, test[:t])
            assert p[order - 1, t - 6] == pytest.approx(wanted[test[t]], rel=1e-9)
            assert wanted[best[order - 1, t - 6]] == pytest.approx(wanted.max(), rel=1e-9)


def test_probabilities_over_all_symbols_add_up_to_one() -> None:
    rng = np.random.default_rng(0)
    counted = fit_ngrams(rng.integers(0, 5, 400), 6, 5)  # the sixth symbol never occurs
    context = rng.integers(0, 5, 8)
    total = sum(counted.predict(np.append(context, s), first=8)[0][:, 0] for s in range(6))
    np.testing.assert_allclose(total, 1.0, rtol=1e-12)


def test_a_symbol_never_seen_has_a_small_probability_and_not_none() -> None:
    p, _ = fit_ngrams(np.tile([0, 1, 2], 50), 4, 3).predict(np.array([0, 1, 3]), first=2)
    assert (p > 0).all()
    assert (p < 0.05).all()


def test_a_periodic_string_is_certain_from_the_order_that_decides_it() -> None:
    text = np.tile([0, 1, 0, 2], 100)  # abac: two characters decide
    p, best = fit_ngrams(text, 3, 4).predict(text[:40], first=4)
    right = (best == text[4:40]).mean(1)
    assert right[1] < 1
    assert right[2] == right[3] == 1
    assert (p[3] > 0.99).all()


def test_the_first_symbols_need_no_context() -> None:
    p, _ = fit_ngrams(np.tile([0, 1], 30), 2, 3).predict(np.array([1, 0, 1]))
    assert p.shape == (3, 3)
    assert np.isfinite(np.log(p)).all()


def test_an_order_beyond_the_text_is_cut() -> None:
    counted = fit_ngrams(np.array([0, 1, 0]), 2, 6)
    assert counted.order == 3
    assert counted.predict(np.array([0, 1, 1]))[0].shape == (3, 3)


@pytest.mark.parametrize("tally", [[0, 0, 0, 0], [5, 0, 0, 3], [10, 40, 90, 160], [0, 3, 3, 3]])
def test_discounts_lie_between_nothing_and_the_count(tally: list[int]) -> None:
    found = kneser_ney_discounts(np.array(tally))
    assert found[0] == 0
    assert ((found[1:] > 0) & (found[1:] < [1, 2, 3])).all()
