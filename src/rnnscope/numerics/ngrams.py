"""n-gram models of symbol sequences with interpolated, modified Kneser-Ney smoothing (Chen & Goodman 1999, section 3).

With c(h, w) how often symbol w came after the context h of n-1 symbols, and h' the context without its oldest symbol,

    p_n(w | h) = max(c(h, w) - D(c), 0) / Σ_v c(h, v) + λ(h) q_{n-1}(w | h'),
    λ(h) = (D₁ N₁(h) + D₂ N₂(h) + D₃ N₃₊(h)) / Σ_v c(h, v),

where N_r(h) counts the symbols seen r times after h, and q is the same with c replaced by the number of distinct symbols that
stand before (h, w): how many contexts a continuation is known from. The recursion ends at q_0 = 1/V. The discounts are

    Y = n₁/(n₁ + 2 n₂),   D_r = r - (r + 1) Y n_{r+1}/n_r,  r = 1, 2, 3,

from the numbers n_r of n-grams counted r times. A context that was never seen passes on to the shorter one.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from rnnscope.numerics.ngram_kernels import distinct, predict_along, sort_pairs


@dataclass(frozen=True)
class Level:
    """All n-grams of one length, sorted by context: those after context number h are rows starts[h] … starts[h+1] - 1.

    Attributes:
        starts: (C + 1,), C contexts, the grams of the level below by number. symbols: (G,) last symbol of each gram.
        raw, continuation: (G,), discounted share of each gram in its context, by occurrences and by distinct predecessors.
        raw_rest, continuation_rest: (C,), λ of each context; 1 where it was never seen.
    """

    starts: Int[np.ndarray, " C1"]
    symbols: Int[np.ndarray, " G"]
    raw: Float[np.ndarray, " G"]
    raw_rest: Float[np.ndarray, " C"]
    continuation: Float[np.ndarray, " G"]
    continuation_rest: Float[np.ndarray, " C"]


@dataclass(frozen=True)
class NgramModel:
    """Counts of a sequence up to an order, made by `fit_ngrams`; it holds the models of all lower orders too.

    Attributes:
        num_symbols: V. order: longest n-gram. levels: of length 1 … order.
    """

    num_symbols: int
    order: int
    levels: tuple[Level, ...]

    def predict(
        self, symbols: Int[np.ndarray, " N"], first: int = 0
    ) -> tuple[Float[np.ndarray, "K M"], Int[np.ndarray, "K M"]]:
        """Probabilities of symbols given those before them, and the most probable symbols, by every order.

        Args:
            symbols: numbers below V, N of them. first: the first to be predicted; those before it are context only.

        Returns:
            p: (order, N - first), p[k-1] by the model of order k (1: no context). best: likewise; the smaller number where equal.

        Example:
            >>> counted = fit_ngrams(np.array([0, 1] * 50), 2, 2)
            >>> p, best = counted.predict(np.array([0, 1, 0, 1]), first=1)
            >>> best[1].tolist(), bool((p[1] > 0.97).all())
            ([1, 0, 1], True)
        """
        packed = tuple(
            np.concatenate([getattr(level, name) for level in self.levels])
            for name in ("starts", "symbols", "raw", "raw_rest", "continuation", "continuation_rest")
        )
        starts_at = np.cumsum([0] + [len(level.starts) for level in self.levels])
        grams_at = np.cumsum([0] + [len(level.symbols) for level in self.levels])
        walk: Any = predict_along  # numba's stubs count its arguments wrongly
        found: tuple[np.ndarray, np.ndarray] = walk(
            symbols.astype(np.int64), first, self.num_symbols, self.order, *packed, starts_at, grams_at
        )
        return found


def fit_ngrams(symbols: Int[np.ndarray, " N"], num_symbols: int, order: int) -> NgramModel:
    """Count a sequence.

    Args:
        symbols: numbers below num_symbols, N >= 1. order: longest n-gram, >= 1.

    Returns:
        `NgramModel`.

    References:
        Chen & Goodman, An empirical study of smoothing techniques for language modeling, Computer Speech & Language 13 (1999).
    """
    order = min(order, len(symbols))
    gram = np.zeros(len(symbols), np.int64)  # number of the n-gram that ends at each place (n = 0: all the same)
    grams, tables = [], []
    contexts = 1
    for n in range(1, order + 2):
        if n > len(symbols):
            break
        before = np.zeros(len(symbols), np.int64) if n == 1 else np.concatenate([[0], gram[:-1]])
        places, counts, gram = _number_grams(before, symbols.astype(np.int64), n - 1, contexts, num_symbols)
        tables.append((before[places], symbols[places].astype(np.int64), counts, contexts))
        grams.append((places, gram))
        contexts = len(places)
    levels = []
    for n in range(1, order + 1):
        before, last, counts, num_contexts = tables[n - 1]
        # distinct predecessors of each gram: the grams one longer that end in it
        preceded = (
            np.bincount(grams[n - 1][1][grams[n][0]], minlength=len(last)) if n < len(grams) else np.zeros(len(last), int)
        )
        starts = np.searchsorted(before, np.arange(num_contexts + 1))
        raw, raw_rest = _discounted(counts, before, num_contexts)
        continued, continued_rest = _discounted(preceded, before, num_contexts)
        levels.append(Level(starts, last, raw, raw_rest, continued, continued_rest))
    return NgramModel(num_symbols, order, tuple(levels))


def _number_grams(
    before: np.ndarray, symbols: np.ndarray, first: int, num_contexts: int, num_symbols: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Distinct (context, symbol) pairs from a place on: where one of each stands, how often it occurs, and its number at each place."""
    order = sort_pairs(before, symbols, first, num_contexts, num_symbols)
    return distinct(before, symbols, order)


def _discounted(counts: np.ndarray, before: np.ndarray, num_contexts: int) -> tuple[np.ndarray, np.ndarray]:
    """Discounted share of every gram in its context, and what each context passes on."""
    tally = np.bincount(np.minimum(counts, 4), minlength=5)
    discounts = kneser_ney_discounts(tally[1:5])
    taken = discounts[np.minimum(counts, 3)]
    total = np.bincount(before, weights=counts, minlength=num_contexts)
    freed = np.bincount(before, weights=taken, minlength=num_contexts)
    safe = np.maximum(total, 1e-300)
    shares = (counts - taken) / safe[before]
    return np.where(counts > 0, shares, 0.0), np.where(total > 0, freed / safe, 1.0)


def kneser_ney_discounts(tally: Int[np.ndarray, " 4"]) -> Float[np.ndarray, " 4"]:
    """Discounts for counts 0, 1, 2 and 3 or more, from how many grams were counted 1, 2, 3 and 4 times.

    Where one of these numbers is zero (short or regular sequences), the plain Y, or 1/2, is taken, within (0, count].

    Example:
        >>> kneser_ney_discounts(np.array([100, 50, 30, 20])).round(3).tolist()
        [0.0, 0.5, 1.1, 1.667]
    """
    base = tally[0] / (tally[0] + 2 * tally[1]) if tally[0] and tally[1] else 0.5
    found = [0.0]
    for r in (1, 2, 3):
        own = r - (r + 1) * base * tally[r] / tally[r - 1] if tally[r] and tally[r - 1] else base
        found.append(min(max(own, 0.05), 0.95 * r))
    return np.array(found)
