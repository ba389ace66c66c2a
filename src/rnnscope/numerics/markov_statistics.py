"""What a hidden Markov model's output sequences look like, exactly.

With initial probabilities p (S,), transition matrix A (S, S), A[i, j] = P(s' = j | s = i), and emission probabilities
B (S, K), B[i, k] = P(o = k | s = i). Rabiner (1989) for the model, Cover & Thomas (2006, ch. 4.5) for the entropy rate.
"""

import numpy as np
from jaxtyping import Float

Vector = Float[np.ndarray, " S"]
Square = Float[np.ndarray, "S S"]
Emission = Float[np.ndarray, "S K"]


def stationary_distribution(transition_matrix: Square) -> Vector:
    """π with π A = π, π ≥ 0, Σ π = 1; of several (a reducible chain) one of them.

    Solved as a least-squares problem of (Aᵀ - I; 1ᵀ) π = (0; 1), whose residual is zero.
    """
    size = len(transition_matrix)
    system = np.vstack([transition_matrix.T - np.eye(size), np.ones(size)])
    found = np.linalg.lstsq(system, np.r_[np.zeros(size), 1.0], rcond=None)[0]
    found = np.clip(found, 0.0, None)
    return found / found.sum()


def state_distributions(initial_probs: Vector, transition_matrix: Square, num_steps: int) -> Float[np.ndarray, "T S"]:
    """P(s_t) for t = 1 … T: p, pA, pA², …"""
    found = np.empty((num_steps, len(initial_probs)))
    found[0] = initial_probs
    for t in range(1, num_steps):
        found[t] = found[t - 1] @ transition_matrix
    return found


def symbol_frequencies(
    initial_probs: Vector, transition_matrix: Square, emission_probs: Emission, num_steps: int
) -> Float[np.ndarray, " K"]:
    """The mean share of each symbol in a sequence of T steps: (1/T) Σ_t P(s_t) B."""
    return state_distributions(initial_probs, transition_matrix, num_steps).mean(0) @ emission_probs


def lagged_joint(
    initial_probs: Vector, transition_matrix: Square, emission_probs: Emission, num_steps: int, lag: int = 1
) -> Float[np.ndarray, "K K"]:
    """P(o_t = k, o_{t+lag} = l), averaged over t = 1 … T - lag: Bᵀ diag(P(s_t)) A^lag B. At stationarity no mean is needed."""
    weights = state_distributions(initial_probs, transition_matrix, num_steps)[: num_steps - lag].mean(0)
    return emission_probs.T @ (weights[:, None] * np.linalg.matrix_power(transition_matrix, lag)) @ emission_probs


def output_transitions(
    initial_probs: Vector, transition_matrix: Square, emission_probs: Emission, num_steps: int
) -> Float[np.ndarray, "K K"]:
    """P(o_{t+1} = l | o_t = k), from the joint; NaN in the rows of symbols that never occur."""
    joint = lagged_joint(initial_probs, transition_matrix, emission_probs, num_steps)
    total = joint.sum(1, keepdims=True)
    return np.divide(joint, total, out=np.full_like(joint, np.nan), where=total > 0)


def volatility_distribution(
    initial_probs: Vector, transition_matrix: Square, emission_probs: Emission, num_steps: int
) -> Float[np.ndarray, " T"]:
    """P(number of changes of the symbol in T steps = n), n = 0 … T - 1, exactly.

    Forward recursion over (state, symbol, count): w'[j, l, n + (l ≠ k)] += w[i, k, n] A[i, j] B[j, l].
    """
    num_states, num_symbols = emission_probs.shape
    weights = np.zeros((num_states, num_symbols, num_steps))
    weights[:, :, 0] = initial_probs[:, None] * emission_probs
    for _ in range(num_steps - 1):
        moved = np.einsum("ij,ikn->jkn", transition_matrix, weights)
        others = moved.sum(1, keepdims=True) - moved
        moved[:, :, 1:] += others[:, :, :-1]
        # what stays at its count came from the same symbol; what was added above from all others, one count lower
        weights = moved * emission_probs[:, :, None]
    return weights.sum((0, 1))


def volatility(
    initial_probs: Vector, transition_matrix: Square, emission_probs: Emission, num_steps: int
) -> tuple[float, float]:
    """Mean and sd over sequences of the number of changes in T steps; the mean is (T - 1)(1 - trace joint)."""
    distribution = volatility_distribution(initial_probs, transition_matrix, emission_probs, num_steps)
    counts = np.arange(num_steps)
    mean = float(distribution @ counts)
    return mean, float(np.sqrt(max(0.0, distribution @ (counts - mean) ** 2)))


def dwell_distribution(
    transition_matrix: Square, emission_probs: Emission, symbol: int, longest: int
) -> Float[np.ndarray, " L"]:
    """P(a run of `symbol` lasts n steps), n = 1 … longest, in an endless stationary sequence.

    A run begins with weights u = Σ_i π_i (1 - B[i, o]) A[i, :] B[:, o]; it survives a step through A diag(B[:, o]).
    All NaN for a symbol that never begins a run.
    """
    seen = emission_probs[:, symbol]
    start = ((stationary_distribution(transition_matrix) * (1 - seen)) @ transition_matrix) * seen
    if start.sum() <= 0:
        return np.full(longest, np.nan)
    survival = np.empty(longest + 1)
    weights = start / start.sum()
    for n in range(longest + 1):
        survival[n] = weights.sum()
        weights = (weights @ transition_matrix) * seen
    return survival[:-1] - survival[1:]


def entropy_rate(
    transition_matrix: Square, emission_probs: Emission, block: int = 8, most_blocks: int = 2_000_000
) -> tuple[float, float]:
    """Lower and upper bound of the entropy rate in nats per symbol, from all words of length n.

    H(o_n | o_1 … o_{n-1}, s_1) ≤ h ≤ H(o_n | o_1 … o_{n-1}) at stationarity (Cover & Thomas, theorem 4.5.1). `block` is n,
    shortened where there would be more than `most_blocks` words times states.
    """
    num_states, num_symbols = emission_probs.shape
    while block > 2 and num_states**2 * num_symbols**block > most_blocks:
        block -= 1
    # words[i, w, j] = P(word w, s_n = j | s_1 = i), weighted with the stationary start
    words = stationary_distribution(transition_matrix)[:, None, None] * np.eye(num_states)[:, None, :]
    entropies = []
    for n in range(block):
        if n:
            words = words @ transition_matrix
        words = (words[:, :, None, :] * emission_probs.T[None, None]).reshape(num_states, -1, num_states)
        given = words.sum(2)
        entropies.append((_entropy(given), _entropy(given.sum(0))))
    # one symbol: H(o_1 | s_1) and H(o_1)
    start = _entropy(stationary_distribution(transition_matrix)), 0.0
    (before_given, before), (after_given, after) = entropies[-2:] if block > 1 else (start, entropies[-1])
    return after_given - before_given, after - before


def _entropy(probabilities: np.ndarray) -> float:
    kept = probabilities[probabilities > 0]
    return float(-(kept * np.log(kept)).sum())
