"""Losses between what a network's outputs say about sequences and a batch of sequences: transport, and likelihood of windows."""

import math

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from rnnscope.core.driven import gumbel
from rnnscope.numerics.transport import Accuracy, sinkhorn_loss


def one_hot(symbols: Int[Tensor, "*B"], num_symbols: int) -> Float[Tensor, "*B K"]:
    """Symbols as float32 one-hot vectors."""
    return torch.nn.functional.one_hot(symbols, num_symbols).to(torch.float32)


def straight_through(
    logits: Float[Tensor, "*B K"], rng: torch.Generator, temperature: float = 1.0, *, soft: bool = False
) -> Float[Tensor, "*B K"]:
    """Gumbel-softmax symbols: s = softmax((y + g)/τ) with Gumbel g; forward the one-hot of its largest entry, backward s.

    With `soft`, s itself.
    """
    relaxed = ((logits + gumbel(logits.detach(), rng)) / temperature).softmax(-1)
    if soft:
        return relaxed
    hard = torch.zeros_like(relaxed).scatter_(-1, relaxed.argmax(-1, keepdim=True), 1.0)
    return hard + relaxed - relaxed.detach()


def transport_loss(
    logits: Float[Tensor, "B T K"],
    target: Float[Tensor, "N T K"],
    rng: torch.Generator,
    *,
    blur: float,
    temperature: float,
    soft: bool,
    independent: bool,
    accuracy: Accuracy,
) -> Tensor:
    """Transport between the network's symbols and one-hot sequences, each flattened to T·K numbers.

    Half the squared Euclidean distance of one-hot sequences is the number of steps at which they differ.

    Args:
        independent: debias with an independent half of the network's sequences rather than with the sequences themselves. The
            gradient of OT(x, y) - OT(x, x') with x' held fixed is in expectation that of OT(x, y) - OT(x, x')/2 with both free.
    """
    symbols = straight_through(logits, rng, temperature, soft=soft).flatten(1)
    wanted = target.flatten(1)
    if not independent:
        return sinkhorn_loss(symbols, wanted, blur=blur, accuracy=accuracy)
    half = len(symbols) // 2
    first, second = symbols[:half], symbols[half : 2 * half].detach()
    apart = sinkhorn_loss(first, wanted[:half], blur=blur, accuracy=accuracy, debias=False)
    return apart - sinkhorn_loss(first, second, blur=blur, accuracy=accuracy, debias=False)


def word_likelihood(
    logits: Float[Tensor, "B T K"], symbols: Int[Tensor, "N U"], word: int, words: int, rng: np.random.Generator
) -> Tensor:
    """-log P(y at m times) per symbol, in nats, under the distribution that the network's paths make.

    Given its path of states a network emits symbols independently, so P(y) = E_h Π_t softmax(G(h_t))[y_t]. The mean over the B
    paths estimates it, and log P(y_n) ≈ logsumexp_b s_nb - log B with s_nb = Σ_t log softmax(y_bt)[y_nt], all pairs in one matrix
    product. The estimate is low by O(1/B); the jackknife over two halves of the paths, 2 l(all) - (l(first) + l(second))/2,
    removes that order. Sets of m times are scored, the first from the first step on and the others anywhere, with gaps of one step or
    of log-uniform length, so that both neighbours and long memory are seen; sequences and paths need not be read at the same
    place, as the HMM goes on as it began where its initial probabilities are stationary.

    Args:
        logits: of B >= 2 paths. symbols: N sequences. word: m. words: how many sets.
    """
    steps, length = logits.shape[1], symbols.shape[1]
    log_probs, num_symbols = logits.log_softmax(-1), logits.shape[2]
    total, paths = logits.new_zeros(()), len(logits)
    for number in range(words):
        times = random_times(word, min(steps, length), rng)
        last = int(times[-1])
        here = int(rng.integers(steps - last)) if number else 0
        there = int(rng.integers(length - last)) if number else 0
        of_paths = log_probs[:, torch.as_tensor(times + here)].flatten(1)
        seen = one_hot(symbols[:, torch.as_tensor(times + there)], num_symbols).to(of_paths.dtype).flatten(1)
        joint = seen @ of_paths.T
        halves = joint[:, ::2].logsumexp(1), joint[:, 1::2].logsumexp(1)
        sizes = math.log((paths + 1) // 2), math.log(max(1, paths // 2))
        whole = torch.logaddexp(*halves).mean() - math.log(paths)
        split = (halves[0].mean() - sizes[0] + halves[1].mean() - sizes[1]) / 2
        total = total - (2 * whole - split) / word
    return total / words


def random_times(count: int, span: int, rng: np.random.Generator) -> np.ndarray:
    """`count` increasing times from 0 within `span` steps: neighbours four times in ten, else with log-uniform gaps."""
    if count == 1:
        return np.zeros(1, dtype=np.int64)
    longest = max(1.0, (span - 1) / (count - 1))
    gaps = np.ones(count - 1) if rng.random() < 0.4 else np.floor(np.exp(rng.uniform(0, math.log(longest), count - 1)))
    return np.concatenate([[0], np.cumsum(np.maximum(gaps, 1))]).astype(np.int64)
