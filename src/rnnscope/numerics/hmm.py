"""Hidden Markov models: likelihood, filtering, smoothing, most likely paths, expected counts, sampling (CPU, numba).

    p(x_1..T, s_1..T) = initial_probs[s_1] Π_t transition_matrix[s_t-1, s_t] Π_t p(x_t | s_t)

N sequences of up to T steps, S states, K symbols. Symbols are integers (N, T), -1 for a missing one, which says nothing about
its state; sequence n has `lengths[n]` steps, and what lies beyond is ignored. Logs are in nats. A sequence of probability zero
has log likelihood -inf and posteriors of zero after its first impossible step (smoothing: throughout).

`precision` is what the passes compute in. "float64" agrees with passes in logs to about 1e-12. "float32" is up to twice as
fast, about 1e-7 relative in the log likelihood, and forgets states less likely than 1e-30 of the likeliest.

Rabiner, "A tutorial on hidden Markov models", Proc. IEEE 77 (1989): eqs. 18-25 (forward, backward), 27 (smoothing), 32-35
(Viterbi), 37-38 (expected transitions). Gaussian emissions: `rnnscope.numerics.hmm_gaussian`.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int, Integer

from rnnscope.numerics import hmm_engine, hmm_kernels_sample, hmm_passes, hmm_paths
from rnnscope.numerics.hmm_engine import Precision
from rnnscope.numerics.hmm_kernels_lanes import LANES

Array = np.ndarray


@dataclass(frozen=True)
class ExpectedCounts:
    """What the M-step of Baum-Welch divides, summed over sequences.

    Attributes:
        initial: (S,) p(s_1 = i | x). transition: (S, S) Σ_t p(s_t = i, s_t+1 = j | x).
        emission: (S, K) Σ_t p(s_t = i | x) [x_t = k], missing symbols left out.
        log_likelihood: nats, summed; -inf if any sequence is impossible, and such a sequence counts for nothing else.
    """

    initial: Float[Array, " S"]
    transition: Float[Array, "S S"]
    emission: Float[Array, "S K"]
    log_likelihood: float


@dataclass(frozen=True)
class DensityCounts:
    """As `ExpectedCounts`, with the posteriors p(s_t = i | x) (N, T, S) instead of symbol counts; zero beyond lengths."""

    initial: Float[Array, " S"]
    transition: Float[Array, "S S"]
    posteriors: Float[Array, "N T S"]
    log_likelihood: float


def log_likelihood(
    symbols: Integer[Array, "N T"],
    lengths: Integer[Array, " N"],
    initial_probs: Float[Array, " S"],
    transition_matrix: Float[Array, "S S"],
    emission_probs: Float[Array, "S K"],
    *,
    precision: Precision = "float64",
) -> Float[Array, " N"]:
    """log p(x_1..T) of each sequence in nats, float64."""
    emissions = hmm_passes.categorical_emissions(symbols, lengths, emission_probs, hmm_engine.TYPES[precision])
    return hmm_engine.likelihood_of(emissions, lengths, initial_probs, transition_matrix, precision)


def log_likelihood_from_densities(
    log_densities: Float[Array, "N T S"],
    lengths: Integer[Array, " N"],
    initial_probs: Float[Array, " S"],
    transition_matrix: Float[Array, "S S"],
    *,
    precision: Precision = "float64",
) -> Float[Array, " N"]:
    """As `log_likelihood`, from log p(x_t | s_t = i) (N, T, S); zeros in all states for a missing step."""
    emissions = hmm_passes.density_emissions(log_densities, hmm_engine.TYPES[precision])
    return hmm_engine.likelihood_of(emissions, lengths, initial_probs, transition_matrix, precision)


def filter_states(
    symbols: Integer[Array, "N T"],
    lengths: Integer[Array, " N"],
    initial_probs: Float[Array, " S"],
    transition_matrix: Float[Array, "S S"],
    emission_probs: Float[Array, "S K"],
    *,
    precision: Precision = "float64",
) -> tuple[Float[Array, "N T S"], Float[Array, " N"]]:
    """p(s_t | x_1..t), zero beyond lengths, in the precision asked for; and the log likelihoods."""
    emissions = hmm_passes.categorical_emissions(symbols, lengths, emission_probs, hmm_engine.TYPES[precision])
    return hmm_engine.filter_of(emissions, lengths, initial_probs, transition_matrix, precision)


def filter_states_from_densities(
    log_densities: Float[Array, "N T S"],
    lengths: Integer[Array, " N"],
    initial_probs: Float[Array, " S"],
    transition_matrix: Float[Array, "S S"],
    *,
    precision: Precision = "float64",
) -> tuple[Float[Array, "N T S"], Float[Array, " N"]]:
    """As `filter_states`, from log densities."""
    emissions = hmm_passes.density_emissions(log_densities, hmm_engine.TYPES[precision])
    return hmm_engine.filter_of(emissions, lengths, initial_probs, transition_matrix, precision)


def smooth_states(
    symbols: Integer[Array, "N T"],
    lengths: Integer[Array, " N"],
    initial_probs: Float[Array, " S"],
    transition_matrix: Float[Array, "S S"],
    emission_probs: Float[Array, "S K"],
    *,
    precision: Precision = "float64",
) -> tuple[Float[Array, "N T S"], Float[Array, " N"]]:
    """p(s_t | x_1..T), zero beyond lengths, in the precision asked for; and the log likelihoods."""
    emissions = hmm_passes.categorical_emissions(symbols, lengths, emission_probs, hmm_engine.TYPES[precision])
    _, smoothed, levels = hmm_engine.posterior_of(
        emissions, lengths, initial_probs, transition_matrix, precision, counting=False, smoothing=True
    )
    return smoothed, levels


def smooth_states_from_densities(
    log_densities: Float[Array, "N T S"],
    lengths: Integer[Array, " N"],
    initial_probs: Float[Array, " S"],
    transition_matrix: Float[Array, "S S"],
    *,
    precision: Precision = "float64",
) -> tuple[Float[Array, "N T S"], Float[Array, " N"]]:
    """As `smooth_states`, from log densities."""
    emissions = hmm_passes.density_emissions(log_densities, hmm_engine.TYPES[precision])
    _, smoothed, levels = hmm_engine.posterior_of(
        emissions, lengths, initial_probs, transition_matrix, precision, counting=False, smoothing=True
    )
    return smoothed, levels


def most_likely_states(
    symbols: Integer[Array, "N T"],
    lengths: Integer[Array, " N"],
    initial_probs: Float[Array, " S"],
    transition_matrix: Float[Array, "S S"],
    emission_probs: Float[Array, "S K"],
    *,
    precision: Precision = "float64",
) -> tuple[Int[Array, "N T"], Float[Array, " N"]]:
    """argmax_s p(s_1..T, x_1..T) as int16, -1 beyond lengths, and the log of the maximum; ties to the lowest state."""
    emissions = hmm_passes.categorical_emissions(symbols, lengths, emission_probs, hmm_engine.TYPES[precision])
    return hmm_paths.paths_of(emissions, lengths, initial_probs, transition_matrix, hmm_engine.TYPES[precision])


def most_likely_states_from_densities(
    log_densities: Float[Array, "N T S"],
    lengths: Integer[Array, " N"],
    initial_probs: Float[Array, " S"],
    transition_matrix: Float[Array, "S S"],
    *,
    precision: Precision = "float64",
) -> tuple[Int[Array, "N T"], Float[Array, " N"]]:
    """As `most_likely_states`, from log densities."""
    emissions = hmm_passes.density_emissions(log_densities, hmm_engine.TYPES[precision])
    return hmm_paths.paths_of(emissions, lengths, initial_probs, transition_matrix, hmm_engine.TYPES[precision])


def expected_counts(
    symbols: Integer[Array, "N T"],
    lengths: Integer[Array, " N"],
    initial_probs: Float[Array, " S"],
    transition_matrix: Float[Array, "S S"],
    emission_probs: Float[Array, "S K"],
    *,
    precision: Precision = "float64",
) -> ExpectedCounts:
    """The E-step of Baum-Welch; the (N, T, S) posteriors never exist."""
    emissions = hmm_passes.categorical_emissions(symbols, lengths, emission_probs, hmm_engine.TYPES[precision])
    sums, _, levels = hmm_engine.posterior_of(
        emissions, lengths, initial_probs, transition_matrix, precision, counting=True, smoothing=False
    )
    return ExpectedCounts(sums.initial, sums.transition, sums.emission, float(levels.sum()))


def expected_counts_from_densities(
    log_densities: Float[Array, "N T S"],
    lengths: Integer[Array, " N"],
    initial_probs: Float[Array, " S"],
    transition_matrix: Float[Array, "S S"],
    *,
    precision: Precision = "float64",
) -> DensityCounts:
    """The E-step for any emissions."""
    emissions = hmm_passes.density_emissions(log_densities, hmm_engine.TYPES[precision])
    sums, smoothed, levels = hmm_engine.posterior_of(
        emissions, lengths, initial_probs, transition_matrix, precision, counting=True, smoothing=True
    )
    return DensityCounts(sums.initial, sums.transition, smoothed, float(levels.sum()))


def sample(
    initial_probs: Float[Array, " S"],
    transition_matrix: Float[Array, "S S"],
    emission_probs: Float[Array, "S K"],
    num_sequences: int,
    num_steps: int,
    rng: np.random.Generator,
) -> tuple[Int[Array, "N T"], Int[Array, "N T"]]:
    """Symbols and states of independent sequences, uint8 each, or int16 where more than 256 symbols or states.

    Alias tables over 53-bit uniforms of 64 xoshiro256+ generators that `rng` seeds; one state of `rng` gives one result.
    """
    num_states, num_symbols = emission_probs.shape
    states = np.empty(num_sequences * num_steps, np.uint8 if num_states <= 256 else np.int16)
    symbols = np.empty(num_sequences * num_steps, np.uint8 if num_symbols <= 256 else np.int16)
    generator = rng.integers(0, 2**64, 4 * LANES, dtype=np.uint64)
    hmm_kernels_sample.sample_chains(
        num_sequences, num_steps, *_alias(initial_probs[None]), *_alias(transition_matrix), *_alias(emission_probs),
        generator, np.empty(128 * LANES), np.zeros(LANES, np.int64), states, symbols,
    )  # fmt: skip
    return symbols.reshape(num_sequences, num_steps), states.reshape(num_sequences, num_steps)


def _alias(probs: Float[Array, "R n"]) -> tuple[Array, Array]:
    probs = np.ascontiguousarray(probs, np.float64)
    thresholds, choices = np.empty(probs.shape), np.empty((*probs.shape, 2), np.int32)
    room = np.empty((2, probs.shape[1]), np.int64)
    hmm_kernels_sample.alias_tables(probs, thresholds, choices, room[0], room[1])
    return thresholds.reshape(-1), choices.reshape(-1)
