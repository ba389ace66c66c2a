"""The six HMM families of Torre et al. (2025), written out by hand, with their exact statistics."""

from dataclasses import dataclass

import numpy as np

import rnnscope as rs


@dataclass(frozen=True)
class Family:
    """A family: its matrices, the length T of its sequences, and what these have in expectation; the sd is a measured one."""

    transition: np.ndarray
    emission: np.ndarray
    num_steps: int
    frequencies: tuple[float, ...]
    volatility: float
    volatility_sd: float

    @property
    def uniform(self) -> np.ndarray:
        """The initial probabilities, which are stationary for each family."""
        return np.full(len(self.transition), 1 / len(self.transition))

    @property
    def parameters(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        return self.uniform, self.transition, self.emission

    def hmm(self) -> rs.HMM:
        return rs.HMM(*self.parameters)

    def draw(self, count: int, num_steps: int | None = None, seed: int = 0) -> np.ndarray:
        """Symbols (count, T)."""
        return self.hmm().sample(count, num_steps or self.num_steps, rng=seed).observations.astype(np.int16)


def chain(q: float, num_states: int) -> np.ndarray:
    """Each step to a neighbour has probability q."""
    found = q * (np.eye(num_states, k=1) + np.eye(num_states, k=-1))
    return found + np.diag(1 - found.sum(1))


def ends(num_states: int) -> np.ndarray:
    """Emission from all A to all C, with one B in a hundred."""
    return np.array([[0.99 * (1 - i / (num_states - 1)), 0.01, 0.99 * i / (num_states - 1)] for i in range(num_states)])


RING = np.array([[0.95, 0.025, 0, 0.025], [0.025, 0.95, 0.025, 0], [0, 0.025, 0.95, 0.025], [0.025, 0, 0.025, 0.95]])
PAIRED = np.array([[0.9, 0.1, 0], [0.1, 0.9, 0], [0, 0.1, 0.9], [0, 0.9, 0.1]])
FULL = np.array([[0.95, 0.025, 0.025], [0.025, 0.95, 0.025], [0.025, 0.025, 0.95]])
TRIANGULAR = np.array([[0.98, 0.01, 0.01], [0.01, 0.98, 0.01], [0.01, 0.01, 0.98]])
AC = (0.495, 0.01, 0.495)

FAMILIES = {
    "chain-2": Family(np.array([[0.95, 0.05], [0.05, 0.95]]), ends(2), 100, AC, 6.8117, 2.82),
    "chain-3": Family(chain(0.05 ** (1 / 2), 3), ends(3), 30, AC, 7.4299, 2.92),
    "chain-4": Family(chain(0.05 ** (1 / 3), 4), ends(4), 30, AC, 8.6356, 3.01),
    "chain-5": Family(chain(0.05 ** (1 / 4), 5), ends(5), 40, AC, 12.1357, 3.58),
    "fully-3": Family(FULL, TRIANGULAR, 30, (1 / 3, 1 / 3, 1 / 3), 2.5069, 1.78),
    "cyclic-4": Family(RING, PAIRED, 40, (0.25, 0.5, 0.25), 8.3557, 3.18),
}
LONGER = {"chain-3": 25.3640, "chain-4": 29.4801, "chain-5": 30.8059}  # volatility at T = 100


def random_hmm(seed: int, num_states: int = 2, num_symbols: int = 3) -> rs.HMM:
    """A model without any symmetry, which does not start stationary."""
    rng = np.random.default_rng(seed)
    rows = rng.dirichlet(np.ones(num_states)), rng.dirichlet(np.ones(num_states), num_states)
    return rs.HMM(*rows, rng.dirichlet(np.ones(num_symbols), num_states))


def sticky(num_states: int = 2, stay: float = 0.95, clear: float = 0.95) -> rs.HMM:
    """As many symbols as states; each state nearly always emits its own."""
    size = num_states
    matrices = (np.full((size, size), (1 - p) / (size - 1)) + np.eye(size) * (p - (1 - p) / (size - 1)) for p in (stay, clear))
    return rs.HMM(None, *matrices)
