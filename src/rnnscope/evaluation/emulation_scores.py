"""Scores of one set of symbol sequences against sequences of the HMM; N and T are equal on both sides throughout."""

from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import torch
from jaxtyping import Integer

from rnnscope.core.interfaces import Scores
from rnnscope.markov.alignment import align
from rnnscope.markov.emulation import EmulationData
from rnnscope.markov.hmm import HMM
from rnnscope.markov.selection import select_num_states
from rnnscope.numerics import sequence_statistics as seen
from rnnscope.numerics.matching import match_sequences
from rnnscope.numerics.transport import sinkhorn_divergence

COMMON = 0.05  # symbols at least this frequent (or half as frequent as on average) are common; rarer ones are listed apart
Symbols = Integer[np.ndarray, "N T"]
Free = Integer[np.ndarray, "M U"]


@dataclass(frozen=True)
class Comparison:
    """How to compare.

    Attributes:
        matching: exact or sinkhorn. blur: of the Sinkhorn divergence. batch: sequences in one divergence. word: length of words.
        longest: lags of the autocorrelation and lengths of dwell histograms. permutations: of the permutation test.
    """

    matching: Literal["exact", "sinkhorn"] = "exact"
    blur: float = 0.2
    batch: int = 1024
    word: int = 4
    longest: int = 20
    permutations: int = 199


@dataclass(frozen=True)
class Compared:
    """Scores, and the arrays behind the figures."""

    scores: Scores
    arrays: dict[str, np.ndarray] = field(default_factory=dict)


def compare_sets(symbols: Symbols, target: Symbols, data: EmulationData, how: Comparison, rng: np.random.Generator) -> Compared:
    """One set of sequences beside a set of the HMM's.

    Scores:
        distance: mean |x - y| = sqrt(2 · mismatches) over a one-to-one matching of the two sets.
        divergence: debiased Sinkhorn divergence (cost = mismatching steps) of `batch` sequences of each, a mean over batches.
        volatility, volatility_sd, volatility_error: changes per sequence, its sd, |mean/exact - 1|; switch_rate: changes per step.
        frequency_error: largest |share - exact| of common symbols; rare_share: of all rarer ones together.
        transition_error: largest |P(next | now) - exact| in rows of common symbols; transition_square: its square's largest.
        word_divergence: Jensen-Shannon divergence of words, nats. dwell_error: mean total variation distance of run lengths.
        autocorrelation_error: largest difference over lags. log_likelihood: nats per symbol under the HMM.
        smallest_p: smallest p value of the two-sample tests times their number (at most 1).
    """
    exact, size = data.exact(symbols.shape[1]), data.hmm.num_symbols
    common = exact.frequencies >= min(COMMON, 0.5 / size)
    shares = seen.frequencies(symbols, size)
    transitions = seen.transition_frequencies(symbols, size)
    counts = seen.changes(symbols)
    matched = match_sequences(symbols, target, method=how.matching, blur=how.blur)
    words = [seen.word_distribution(s, size, how.word) for s in (symbols, target)]
    dwell = np.stack([_dwell(s, size, how.longest) for s in (symbols, target)])
    echo = np.stack([seen.autocorrelation(s, size, how.longest) for s in (symbols, target)])
    tests = seen.two_sample_tests(symbols, target, size, rng, how.permutations)
    gap = np.abs(transitions - exact.output_transitions)[common]
    scores = {
        "distance": matched.mean,
        "divergence": divergence(symbols, target, size, how),
        "volatility": float(counts.mean()),
        "volatility_sd": float(counts.std(ddof=1)),
        "switch_rate": float(counts.mean()) / (symbols.shape[1] - 1),
        "volatility_error": abs(float(counts.mean()) / exact.volatility - 1) if exact.volatility > 0 else float("nan"),
        "frequency_error": float(np.abs(shares.mean(0) - exact.frequencies)[common].max()),
        "rare_share": float(shares.mean(0)[~common].sum()),
        # a common symbol that never came is as wrong as can be
        "transition_error": float(np.max(np.where(np.isnan(gap), 1.0, gap))),
        "word_divergence": seen.jensen_shannon(*words),
        "dwell_error": _dwell_error(dwell[0], dwell[1]),
        "autocorrelation_error": float(np.abs(echo[0] - echo[1]).max()),
        "log_likelihood": float(np.mean(data.hmm.log_likelihood(symbols)) / symbols.shape[1]),
        "smallest_p": min(1.0, len(tests) * min(t.p_value for t in tests)),
    }
    scores["transition_square"] = scores["transition_error"] ** 2
    arrays = {
        "distances": matched.distances,
        "volatilities": counts,
        "shares": shares,
        "transitions": transitions,
        "dwell": dwell[0],
        "autocorrelation": echo[0],
        "words": words[0],
        "p_values": np.array([t.p_value for t in tests]),
    }
    return Compared({k: v for k, v in scores.items() if np.isfinite(v)}, arrays)


def _dwell_error(own: np.ndarray, other: np.ndarray) -> float:
    """Mean total variation distance of run lengths; a symbol that only one set has runs of is as wrong as can be."""
    known = np.isfinite(own).all(1), np.isfinite(other).all(1)
    gaps = np.abs(own - other).sum(1) / 2
    counted = known[0] | known[1]
    return float(np.where(known[0] & known[1], gaps, 1.0)[counted].mean()) if counted.any() else float("nan")


def _dwell(symbols: Symbols, num_symbols: int, longest: int) -> np.ndarray:
    return np.stack([seen.dwell_histogram(symbols, k, longest) for k in range(num_symbols)])


def one_hot(symbols: np.ndarray, num_symbols: int) -> torch.Tensor:
    """Sequences (N, T) as flat one-hot rows (N, T·K), float32."""
    indices = torch.as_tensor(symbols.astype(np.int64))
    return torch.nn.functional.one_hot(indices, num_symbols).to(torch.float32).flatten(1)


def divergence(symbols: Symbols, target: Symbols, num_symbols: int, how: Comparison) -> float:
    """The Sinkhorn divergence of batches of `batch` sequences, averaged over as many disjoint pairs of batches as there are."""
    count = min(how.batch, len(symbols), len(target))
    values = []
    for start in range(0, min(len(symbols), len(target)) - count + 1, count):
        sets = (one_hot(s[start : start + count], num_symbols) for s in (symbols, target))
        values.append(float(sinkhorn_divergence(*sets, blur=how.blur).value))
    return float(np.mean(values))


def way_back(symbols: Symbols, data: EmulationData, num_states: tuple[int, ...], rng: np.random.Generator) -> Scores:
    """Fit HMMs to a set of sequences and compare with the original: what would one conclude from these sequences?

    Scores:
        states_by_held_out, states_by_bic: the number of states preferred. transition_error, emission_error: largest entries'
        differences of the fit with the original's number of states, states matched.
    """
    found = select_num_states(symbols, (*num_states, data.hmm.num_states), rng=rng, num_restarts=3)
    fitted = found.model(data.hmm.num_states)
    assert isinstance(fitted, HMM)
    scores = {"states_by_held_out": float(found.by_held_out), "states_by_bic": float(found.by_bic)}
    if fitted.num_symbols == data.hmm.num_symbols:
        aligned = align(data.hmm, fitted)
        scores |= {"transition_error": aligned.transition_error, "emission_error": aligned.emission_error}
    return scores


def independent(target: Symbols, shape: tuple[int, int], num_symbols: int, rng: np.random.Generator) -> Free:
    """Symbols drawn independently with the frequencies of a set."""
    shares = seen.frequencies(target, num_symbols).mean(0)
    return rng.choice(num_symbols, size=shape, p=shares).astype(np.int16)


def markov_chain(target: Symbols, shape: tuple[int, int], num_symbols: int, order: int, rng: np.random.Generator) -> Free:
    """Sequences of a Markov chain of some order over the symbols themselves, as counted in a set.

    The first `order` symbols are copied from sequences drawn from the set; a word never followed by anything goes on with
    the overall frequencies.
    """
    order = min(order, target.shape[1] - 1, shape[1])
    powers = num_symbols ** np.arange(order)[::-1]
    windows = np.lib.stride_tricks.sliding_window_view(target.astype(np.int64), order + 1, axis=1)
    codes = (windows[..., :-1] @ powers) * num_symbols + windows[..., -1]
    counts = np.bincount(codes.ravel(), minlength=num_symbols ** (order + 1)).reshape(-1, num_symbols).astype(float)
    overall = seen.frequencies(target, num_symbols).mean(0)
    rows = np.where(counts.sum(1, keepdims=True) > 0, counts, overall)
    ladder = np.cumsum(rows / rows.sum(1, keepdims=True), 1)
    found = np.empty(shape, dtype=np.int64)
    found[:, :order] = target[rng.integers(len(target), size=shape[0]), :order]
    for t in range(order, shape[1]):
        step = ladder[found[:, t - order : t] @ powers]
        found[:, t] = np.minimum((rng.random((shape[0], 1)) >= step).sum(1), num_symbols - 1)
    return found.astype(np.int16)
