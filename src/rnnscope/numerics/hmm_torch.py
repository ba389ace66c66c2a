"""HMM passes in torch, on any device and in either float type: batched over sequences, a loop over time.

One definition with `rnnscope.numerics.hmm` (held equal by test), which is faster on a CPU. Everything starts from
log densities log p(x_t | s_t = i) (N, T, S); `categorical_log_densities` makes them of symbols. Steps beyond a sequence's
length are ignored. `log_likelihood` is differentiable in densities and probabilities. Probabilities are on one device.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor


@dataclass(frozen=True)
class TorchCounts:
    """initial (S,), transition (S, S): expected counts; posteriors (N, T, S), zero beyond lengths; log_likelihood (N,) nats."""

    initial: Float[Tensor, " S"]
    transition: Float[Tensor, "S S"]
    posteriors: Float[Tensor, "N T S"]
    log_likelihood: Float[Tensor, " N"]


def categorical_log_densities(symbols: Int[Tensor, "N T"], emission_probs: Float[Tensor, "S K"]) -> Float[Tensor, "N T S"]:
    """log p(x_t | s) of symbols; 0 for a missing one (-1)."""
    table = torch.cat([emission_probs.T, torch.ones_like(emission_probs.T[:1])]).log()
    return table[torch.where(symbols < 0, len(table) - 1, symbols.long())]


def log_likelihood(
    log_densities: Float[Tensor, "N T S"],
    lengths: Int[Tensor, " N"],
    initial_probs: Float[Tensor, " S"],
    transition_matrix: Float[Tensor, "S S"],
) -> Float[Tensor, " N"]:
    """log p(x_1..T) in nats; -inf for an impossible sequence (whose gradient is zero)."""
    return _forward(log_densities, lengths, initial_probs, transition_matrix)[1]


def filter_states(
    log_densities: Float[Tensor, "N T S"],
    lengths: Int[Tensor, " N"],
    initial_probs: Float[Tensor, " S"],
    transition_matrix: Float[Tensor, "S S"],
) -> tuple[Float[Tensor, "N T S"], Float[Tensor, " N"]]:
    """p(s_t | x_1..t) and the log likelihoods."""
    states, levels = _forward(log_densities, lengths, initial_probs, transition_matrix)
    return _within(states, lengths), levels


def smooth_states(
    log_densities: Float[Tensor, "N T S"],
    lengths: Int[Tensor, " N"],
    initial_probs: Float[Tensor, " S"],
    transition_matrix: Float[Tensor, "S S"],
) -> tuple[Float[Tensor, "N T S"], Float[Tensor, " N"]]:
    """p(s_t | x_1..T) and the log likelihoods."""
    counts = expected_counts(log_densities, lengths, initial_probs, transition_matrix)
    return counts.posteriors, counts.log_likelihood


def expected_counts(
    log_densities: Float[Tensor, "N T S"],
    lengths: Int[Tensor, " N"],
    initial_probs: Float[Tensor, " S"],
    transition_matrix: Float[Tensor, "S S"],
) -> TorchCounts:
    """Forward-backward: what the M-step needs. Impossible sequences count for nothing."""
    alpha, levels = _forward(log_densities, lengths, initial_probs, transition_matrix)
    weights, _ = _relative(log_densities)
    possible = torch.isfinite(levels)[:, None]
    num_steps = log_densities.shape[1]
    posteriors, transition = torch.zeros_like(alpha), torch.zeros_like(transition_matrix)
    beta = torch.ones_like(alpha[:, 0])
    for t in range(num_steps - 1, -1, -1):
        if t < num_steps - 1:
            ahead = weights[:, t + 1] * beta
            new = ahead @ transition_matrix.T
            goes_on = (t < lengths - 1)[:, None] & possible
            scale = _inverse((alpha[:, t] * new).sum(1, keepdim=True)) * goes_on
            transition = transition + transition_matrix * (alpha[:, t].T @ (ahead * scale))
            beta = torch.where(goes_on, new * _inverse(new.amax(1, keepdim=True)), torch.ones_like(new))
        product = alpha[:, t] * beta
        posteriors[:, t] = product * _inverse(product.sum(1, keepdim=True)) * ((t < lengths)[:, None] & possible)
    return TorchCounts(posteriors[:, 0].sum(0), transition, posteriors, levels)


def most_likely_states(
    log_densities: Float[Tensor, "N T S"],
    lengths: Int[Tensor, " N"],
    initial_probs: Float[Tensor, " S"],
    transition_matrix: Float[Tensor, "S S"],
) -> tuple[Int[Tensor, "N T"], Float[Tensor, " N"]]:
    """Best paths (-1 beyond lengths) and their log probabilities; ties to the lowest state."""
    num_steps, num_states = log_densities.shape[1:]
    matrix, stay = transition_matrix.log(), torch.arange(num_states, device=log_densities.device)
    score, sources = initial_probs.log() + log_densities[:, 0], []
    for t in range(1, num_steps):
        best, source = _first_max((score[:, :, None] + matrix).transpose(1, 2))
        inside = (t < lengths)[:, None]
        score = torch.where(inside, best + log_densities[:, t], score)
        sources.append(torch.where(inside, source, stay))
    log_prob, state = _first_max(score)
    path = [state]
    for source in reversed(sources):
        path.append(source.gather(1, path[-1][:, None])[:, 0])
    states = torch.stack(path[::-1], 1)
    return torch.where(_inside(states, lengths), states, -1), log_prob


def sample(
    initial_probs: Float[Tensor, " S"],
    transition_matrix: Float[Tensor, "S S"],
    emission_probs: Float[Tensor, "S K"],
    num_sequences: int,
    num_steps: int,
    generator: torch.Generator,
) -> tuple[Int[Tensor, "N T"], Int[Tensor, "N T"]]:
    """Symbols and states; `generator` lives on the device of the probabilities."""
    state = torch.multinomial(initial_probs, num_sequences, replacement=True, generator=generator)
    states = [state]
    for _ in range(num_steps - 1):
        states.append(torch.multinomial(transition_matrix[states[-1]], 1, generator=generator)[:, 0])
    chain = torch.stack(states, 1)
    symbols = torch.multinomial(emission_probs[chain.reshape(-1)], 1, generator=generator)
    return symbols.reshape(num_sequences, num_steps), chain


def _relative(log_densities: Tensor) -> tuple[Tensor, Tensor]:
    """Densities relative to the largest over the states, and the log of that."""
    top = log_densities.detach().amax(-1, keepdim=True)
    top = torch.where(torch.isfinite(top), top, torch.zeros_like(top))
    return (log_densities - top).exp(), top[..., 0]


def _forward(log_densities: Tensor, lengths: Tensor, initial: Tensor, matrix: Tensor) -> tuple[Tensor, Tensor]:
    """Normalised states (N, T, S), zero from an impossible step on, and log likelihoods (N,)."""
    weights, top = _relative(log_densities)
    states: list[Tensor] = []
    level = torch.zeros_like(log_densities[:, 0, 0])
    for t in range(log_densities.shape[1]):
        predicted = initial.expand_as(weights[:, 0]) if t == 0 else states[-1] @ matrix
        joint = predicted * weights[:, t]
        total = joint.sum(1, keepdim=True)
        inside = t < lengths
        gain = torch.where(total > 0, torch.where(total > 0, total, 1).log(), -torch.inf)[:, 0] + top[:, t]
        level = level + torch.where(inside, gain, 0)
        new = joint * _inverse(total)
        states.append(new if t == 0 else torch.where(inside[:, None], new, states[-1]))
    return torch.stack(states, 1), level


def _inverse(a: Tensor) -> Tensor:
    return torch.where(a > 0, 1 / torch.where(a > 0, a, 1), 0)


def _first_max(a: Tensor) -> tuple[Tensor, Tensor]:
    """The largest of the last axis and the first place it stands (torch.max promises no order)."""
    best = a.amax(-1)
    places = torch.arange(a.shape[-1], device=a.device)
    return best, torch.where(a == best[..., None], places, a.shape[-1] - 1).amin(-1)


def _inside(states: Tensor, lengths: Tensor) -> Tensor:
    return torch.arange(states.shape[1], device=states.device) < lengths[:, None]


def _within(states: Tensor, lengths: Tensor) -> Tensor:
    return states * _inside(states, lengths)[..., None]
