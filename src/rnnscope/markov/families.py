"""Named transition and emission matrices (Torre et al. 2025, arXiv 2510.25674), and the checks that every matrix passes."""

import math
from typing import Any, Literal, get_args

import numpy as np
from jaxtyping import Float

from rnnscope.core.errors import ConfigError, unknown_name

TransitionMethod = Literal["stay", "end_to_end", "fully_connected", "cyclic"]
EmissionMethod = Literal["linear", "gaussian", "triangular", "paired"]
Matrix = Float[np.ndarray, "A B"]
ROW_TOLERANCE = 1e-6


def transition_matrix(
    method: TransitionMethod, num_states: int, *, stay_probability: float = 0.95, end_to_end_probability: float = 0.05
) -> Matrix:
    """A named transition matrix over `num_states` states, s = stay_probability.

    Args:
        method: `stay`: a chain with s on the diagonal, ends move inward with 1 - s, the others (1 - s)/2 each way.
            `end_to_end`: a chain in which each step towards a neighbour has q = p^(1/(M-1)), so that walking from one end to
            the other in M - 1 steps has probability p = end_to_end_probability; legal while q <= 1/2 (for M > 2).
            `fully_connected`: s on the diagonal, (1 - s)/(M - 1) elsewhere. `cyclic`: a ring, (1 - s)/2 to both neighbours.
        num_states: M >= 1.

    Raises:
        ConfigError: an unknown method, or a chain too long for its end-to-end probability.
    """
    if method not in get_args(TransitionMethod):
        raise unknown_name("transition method", method, get_args(TransitionMethod))
    matrix = np.zeros((num_states, num_states))
    if num_states == 1:
        return np.ones((1, 1))
    if method == "end_to_end":
        step = end_to_end_probability ** (1 / (num_states - 1))
        if step > 0.5 and num_states > 2:
            largest = longest_chain(end_to_end_probability)
            raise ConfigError(
                f"a chain of {num_states} states cannot be walked end to end with probability {end_to_end_probability:g}: each "
                f"step would need probability {step:.4f}, and an inner state must split 1 between two neighbours and itself",
                f"at most {largest} states at this probability, or a probability <= {0.5 ** (num_states - 1):g} for {num_states} states",
                f"set task.num_states={largest}, or task.end_to_end_probability={0.5 ** (num_states - 1):g}",
            )
        inner, ends = step, step
    elif method in ("stay", "cyclic"):
        inner, ends = (1 - stay_probability) / 2, 1 - stay_probability
    else:
        matrix[:] = (1 - stay_probability) / (num_states - 1)
    if method in ("stay", "end_to_end"):
        for i in range(num_states - 1):
            matrix[i, i + 1] = ends if i == 0 else inner
            matrix[i + 1, i] = ends if i + 1 == num_states - 1 else inner
    elif method == "cyclic":
        for i in range(num_states):
            matrix[i, (i + 1) % num_states] += inner
            matrix[i, (i - 1) % num_states] += inner
    np.fill_diagonal(matrix, 0.0)
    np.fill_diagonal(matrix, 1 - matrix.sum(1))
    return matrix


def longest_chain(end_to_end_probability: float) -> int:
    """The largest number of states for which p^(1/(M-1)) <= 1/2; two states are always allowed."""
    if end_to_end_probability >= 0.5:
        return 2
    return max(2, 1 + math.floor(math.log(end_to_end_probability) / math.log(0.5) + 1e-12))


def emission_matrix(method: EmissionMethod, num_states: int, num_symbols: int) -> Matrix:
    """A named emission matrix (num_states, num_symbols).

    Args:
        method: `linear` (3 symbols): state i with a = i/(M - 1) emits [.99 (1 - a), .01, .99 a]. `gaussian`: weights
            exp(-0.2 ((k - c)/(0.1 (K - 1)))²) around centres c spread evenly over 0 … K - 1, rows normalised. `triangular`
            (3 states, 3 symbols): .98 on the diagonal, .01 elsewhere. `paired` (4 states, 3 symbols): the ring of the study,
            states 1 and 2 emit the first two symbols with .9 and .1, states 3 and 4 the last two.
    """
    if method not in get_args(EmissionMethod):
        raise unknown_name("emission method", method, get_args(EmissionMethod))
    wanted = {"linear": (None, 3), "triangular": (3, 3), "paired": (4, 3), "gaussian": (None, None)}[method]
    for have, want, what in ((num_states, wanted[0], "states"), (num_symbols, wanted[1], "symbols")):
        if want is not None and have != want:
            raise ConfigError(
                f"emission method '{method}' with {have} {what}",
                f"{want} {what}",
                f"set task.num_{what}={want}, or task.emission=gaussian, which fits any size",
            )
    if method == "linear":
        share = np.linspace(0.0, 1.0, num_states) if num_states > 1 else np.array([0.5])
        return np.stack([0.99 * (1 - share), np.full(num_states, 0.01), 0.99 * share], 1)
    if method == "triangular":
        return np.full((3, 3), 0.01) + 0.97 * np.eye(3)
    if method == "paired":
        return np.array([[0.9, 0.1, 0.0], [0.1, 0.9, 0.0], [0.0, 0.1, 0.9], [0.0, 0.9, 0.1]])
    centres = np.linspace(0, num_symbols - 1, num_states) if num_states > 1 else np.array([(num_symbols - 1) / 2])
    spread = 0.1 * max(1, num_symbols - 1)
    exponent = -0.2 * ((np.arange(num_symbols) - centres[:, None]) / spread) ** 2
    weights = np.exp(exponent - exponent.max(1, keepdims=True))
    return weights / weights.sum(1, keepdims=True)


def check_probabilities(rows: Any, name: str, shape: tuple[int | None, ...]) -> np.ndarray:
    """A float64 copy of a vector or matrix whose rows are probability distributions.

    Args:
        shape: the expected shape; None for any positive length.

    Raises:
        ConfigError: naming the array, the first bad row and what was found there.
    """
    try:
        found = np.array(rows, dtype=np.float64)
    except (TypeError, ValueError):
        raise ConfigError(
            f"{name} is no array of numbers", f"an array of shape {_shape(shape)}", "write [[.9, .1], …]"
        ) from None
    fits = found.ndim == len(shape) and all(w in (None, h) and h > 0 for h, w in zip(found.shape, shape, strict=False))
    if not fits:
        raise ConfigError(
            f"{name} has shape {found.shape}", f"shape {_shape(shape)}", "give one row per state and make the shapes agree"
        )
    for i, row in enumerate(np.atleast_2d(found)):
        where = f"row {i} of {name}" if found.ndim == 2 else name
        if not np.isfinite(row).all():
            raise ConfigError(f"{where} holds {row.tolist()}", "finite probabilities", "replace the missing value")
        if (row < 0).any():
            raise ConfigError(
                f"{where} holds the negative value {row.min():g}", "probabilities in [0, 1]", "correct that entry"
            )
        if abs(row.sum() - 1) > ROW_TOLERANCE:
            raise ConfigError(f"{where} sums to {row.sum():.8g}", "rows that sum to 1", "divide the row by its sum")
    total = found.sum(-1, keepdims=True)
    if (np.abs(total - 1) > 1e-15 * found.shape[-1]).any():
        found = found / total  # not where it changes nothing but last bits: what was written is read back
    found.setflags(write=False)
    return found


def _shape(shape: tuple[int | None, ...]) -> str:
    return "(" + ", ".join("any" if s is None else str(s) for s in shape) + ("," if len(shape) == 1 else "") + ")"
