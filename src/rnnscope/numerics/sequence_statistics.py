"""What sets of symbol sequences look like, and how far two sets differ. Sequences are integers (N, T), all of one length."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int, Integer
from scipy import stats

Symbols = Integer[np.ndarray, "N T"]


def frequencies(symbols: Symbols, num_symbols: int) -> Float[np.ndarray, "N K"]:
    """The share of each symbol in each sequence."""
    return np.stack([(symbols == k).mean(1) for k in range(num_symbols)], 1)


def changes(symbols: Symbols) -> Int[np.ndarray, " N"]:
    """The volatility of each sequence: how often its symbol changes from one step to the next."""
    return (symbols[:, 1:] != symbols[:, :-1]).sum(1)


def transition_counts(symbols: Symbols, num_symbols: int) -> Int[np.ndarray, "K K"]:
    """How often symbol k is followed by symbol l, over all sequences."""
    pairs = symbols[:, :-1].astype(np.int64) * num_symbols + symbols[:, 1:]
    return np.bincount(pairs.ravel(), minlength=num_symbols**2).reshape(num_symbols, num_symbols)


def transition_frequencies(symbols: Symbols, num_symbols: int) -> Float[np.ndarray, "K K"]:
    """P(next = l | now = k) as counted; rows of symbols that are never followed by anything are NaN."""
    counts = transition_counts(symbols, num_symbols).astype(float)
    total = counts.sum(1, keepdims=True)
    return np.divide(counts, total, out=np.full_like(counts, np.nan), where=total > 0)


def run_lengths(symbols: Symbols) -> tuple[Int[np.ndarray, " R"], Int[np.ndarray, " R"]]:
    """Symbol and length of every run that lies wholly inside its sequence; the first and last of each are cut off, and left out."""
    width = symbols.shape[1]
    edges = np.ones((len(symbols), width + 1), dtype=bool)
    edges[:, 1:-1] = symbols[:, 1:] != symbols[:, :-1]
    rows, columns = np.nonzero(edges)
    same = rows[1:] == rows[:-1]
    row, first, last = rows[:-1][same], columns[:-1][same], columns[1:][same]
    whole = (first > 0) & (last < width)
    return symbols[row[whole], first[whole]].astype(np.int64), last[whole] - first[whole]


def dwell_histogram(symbols: Symbols, symbol: int, longest: int) -> Float[np.ndarray, " L"]:
    """The share of whole runs of `symbol` with length 1 … longest; NaN where it has none.

    In sequences of finite length long runs are cut off more often than short ones, so compare sets of equal length only.
    """
    owner, lengths = run_lengths(symbols)
    own = lengths[owner == symbol]
    if not len(own):
        return np.full(longest, np.nan)
    return np.bincount(np.minimum(own, longest + 1), minlength=longest + 2)[1 : longest + 1] / len(own)


def autocorrelation(symbols: Symbols, num_symbols: int, longest: int) -> Float[np.ndarray, " L"]:
    """(P(o_t = o_{t+lag}) - Σ f_k²) / (1 - Σ f_k²) for lag = 1 … longest: 1 for constant sequences, 0 for independent symbols."""
    chance = float((frequencies(symbols, num_symbols).mean(0) ** 2).sum())
    lags = np.arange(1, min(longest, symbols.shape[1] - 1) + 1)
    same = np.array([(symbols[:, lag:] == symbols[:, :-lag]).mean() for lag in lags])
    return (same - chance) / (1 - chance) if chance < 1 else np.zeros_like(same)


def word_distribution(symbols: Symbols, num_symbols: int, length: int) -> Float[np.ndarray, " W"]:
    """The shares of the K^length words (n-grams) of successive symbols, first symbol most significant."""
    width = symbols.shape[1] - length + 1
    codes = np.zeros((len(symbols), width), dtype=np.int64)
    for i in range(length):
        codes = codes * num_symbols + symbols[:, i : i + width]
    counts = np.bincount(codes.ravel(), minlength=num_symbols**length)
    return counts / counts.sum()


def jensen_shannon(p: Float[np.ndarray, " W"], q: Float[np.ndarray, " W"]) -> float:
    """Jensen-Shannon divergence in nats, 0 … ln 2 (Lin 1991)."""
    mean = (p + q) / 2

    def half(a: np.ndarray) -> float:
        kept = a > 0
        return float((a[kept] * np.log(a[kept] / mean[kept])).sum())

    return (half(p) + half(q)) / 2


@dataclass(frozen=True)
class TwoSampleTest:
    """Whether two sets of sequences differ in one statistic.

    Attributes:
        name: of the statistic. difference: the test's own measure. p_value: of equality; small means they differ.
    """

    name: str
    difference: float
    p_value: float


def two_sample_tests(
    first: Symbols, second: Symbols, num_symbols: int, rng: np.random.Generator, permutations: int = 499
) -> list[TwoSampleTest]:
    """Tests of equality whose unit is the sequence (steps within one are not independent).

    Kolmogorov-Smirnov on volatility and on each symbol's share per sequence, and a permutation test on the total variation
    distance of successive pairs: sequences are dealt anew to the two sets, p = (1 + #{as far or farther}) / (1 + permutations).
    p values are not corrected for their number; multiply the smallest by it (Bonferroni) before you claim a difference.
    """
    found = [_kolmogorov("volatility", changes(first), changes(second))]
    shares = frequencies(first, num_symbols), frequencies(second, num_symbols)
    found += [_kolmogorov(f"share of symbol {k}", shares[0][:, k], shares[1][:, k]) for k in range(num_symbols)]
    both = np.concatenate([_pairs_per_sequence(s, num_symbols) for s in (first, second)])
    size, total = len(first), both.sum(0)

    def distance(of_first: np.ndarray) -> float:
        own, other = of_first, total - of_first
        return float(np.abs(own / own.sum() - other / other.sum()).sum() / 2)

    seen = distance(both[:size].sum(0))
    drawn = [distance(both[rng.permutation(len(both))[:size]].sum(0)) for _ in range(permutations)]
    farther = sum(d >= seen - 1e-15 for d in drawn)
    return [*found, TwoSampleTest("successive pairs", seen, (1 + farther) / (1 + permutations))]


def _kolmogorov(name: str, first: np.ndarray, second: np.ndarray) -> TwoSampleTest:
    test = stats.ks_2samp(first, second, method="asymp")
    return TwoSampleTest(name, float(test.statistic), float(test.pvalue))


def _pairs_per_sequence(symbols: Symbols, num_symbols: int) -> Int[np.ndarray, "N P"]:
    pairs = symbols[:, :-1].astype(np.int64) * num_symbols + symbols[:, 1:]
    offset = np.arange(len(symbols))[:, None] * num_symbols**2
    return np.bincount((pairs + offset).ravel(), minlength=len(symbols) * num_symbols**2).reshape(len(symbols), -1)
