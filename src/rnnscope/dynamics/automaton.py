"""Finite automata read off the states of a network: cluster, refine until deterministic, merge what behaves alike.

A path of states h_t with the symbols s_t that led to them and the outputs y_t is cut into clusters by single linkage: two states are
together where a chain of states with no step longer than a tolerance connects them. The tolerance is lowered until the clusters form
an automaton: all states of a cluster put out the same symbol, and the next symbol read leads from all of them to the same cluster.
Clusters that no sequence of symbols seen can tell apart are then merged (Moore 1956). Giles et al. (1992) and Omlin & Giles (1996)
read automata off networks by cutting the state space into a grid; here the tolerance comes from the states themselves.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from scipy.cluster.hierarchy import fcluster, linkage

from rnnscope.core.errors import ShapeError

NEVER = -1


@dataclass(frozen=True)
class Automaton:
    """A deterministic automaton with an output per state (a Moore machine); transitions that were never seen are missing.

    Attributes:
        transitions: (K, V): state after reading a symbol in a state; -1 where never seen. outputs: (K,), symbol of each state.
        visits: (K,), how often each was visited.
    """

    transitions: Int[np.ndarray, "K V"]
    outputs: Int[np.ndarray, " K"]
    visits: Int[np.ndarray, " K"]

    @property
    def num_states(self) -> int:
        """K."""
        return len(self.outputs)

    def follow(self, start: int, symbols: Int[np.ndarray, " N"]) -> Int[np.ndarray, " N"]:
        """States after each symbol read; -1 from where a transition is missing."""
        found, state = np.full(len(symbols), NEVER, np.int64), start
        for t, symbol in enumerate(symbols.tolist()):
            state = int(self.transitions[state, symbol])
            if state == NEVER:
                break
            found[t] = state
        return found

    def free_run(self, start: int, num_steps: int) -> Int[np.ndarray, " N"]:
        """What it writes when each output is the next symbol read; -1 from where a transition is missing."""
        written, state = np.full(num_steps, NEVER, np.int64), start
        for t in range(num_steps):
            written[t] = self.outputs[state]
            state = int(self.transitions[state, written[t]])
            if state == NEVER:
                break
        return written

    def cycle(self, start: int) -> Int[np.ndarray, " C"]:
        """The symbols that a free run repeats for ever; none where it meets a missing transition."""
        seen: dict[int, int] = {}
        path: list[int] = []
        state = start
        while state not in seen:
            if state == NEVER:
                return np.zeros(0, np.int64)
            seen[state] = len(path)
            path.append(int(self.outputs[state]))
            state = int(self.transitions[state, path[-1]])
        return np.array(path[seen[state] :], np.int64)


@dataclass(frozen=True)
class Extraction:
    """What `extract_automaton` found.

    Attributes:
        automaton: None where no clusters, up to the most allowed, form one. labels: (N,), its state along the path.
        num_clusters: before merging. within: largest step in a chain that holds a cluster together; between: smallest distance of two
            clusters. merges: (N - 1,), distances at which clusters merge, ascending.
    """

    automaton: Automaton | None
    labels: Int[np.ndarray, " N"]
    num_clusters: int
    within: float
    between: float
    merges: Float[np.ndarray, " M"]


def extract_automaton(
    states: Float[np.ndarray, "N S"],
    symbols: Int[np.ndarray, " N"],
    outputs: Int[np.ndarray, " N"],
    num_symbols: int,
    max_states: int = 64,
) -> Extraction:
    """The coarsest clusters of a path's states that form an automaton, merged by behaviour.

    Args:
        states: h_1 … h_N of one path, N >= 2, without its transient. symbols: s_t read at each step, below num_symbols = V.
        outputs: y_t, the symbol put out at each. max_states: most clusters tried, at least 1.

    Returns:
        `Extraction`.

    Raises:
        ShapeError: the arrays are of unequal length.

    References:
        Moore, Gedanken-experiments on sequential machines, Automata Studies (1956). Giles et al., Neural Computation 4 (1992).

    Example:
        >>> path = np.tile([[0.0], [1.0], [5.0]], (20, 1))  # three states in turn, the first two with the same output
        >>> read, out = np.tile([0, 1, 1], 20), np.tile([1, 1, 0], 20)
        >>> extract_automaton(path, read, out, 2).automaton.num_states
        3
    """
    if not len(states) == len(symbols) == len(outputs):
        raise ShapeError(
            f"{len(states)} states, {len(symbols)} symbols and {len(outputs)} outputs", "as many of each", "give one per step"
        )
    tree = linkage(states, "single")
    merges = tree[:, 2]
    for count in range(1, min(max_states, len(states)) + 1):
        labels = fcluster(tree, count, "maxclust") - 1
        if labels.max() + 1 < count:  # states at the same distance: fewer clusters than asked for
            continue
        table = transition_table(labels, symbols, outputs, num_symbols)
        if table is not None:
            merged = merge_equivalent(*table)
            kept = merged[labels]
            automaton = Automaton(*_of_classes(merged, *table), np.bincount(kept))
            within = float(merges[-count]) if count <= len(merges) else 0.0
            between = float(merges[len(merges) - count + 1]) if count > 1 else np.inf
            return Extraction(automaton, kept, count, within, between, merges)
    return Extraction(None, np.zeros(len(states), np.int64), 0, np.nan, np.nan, merges)


def transition_table(
    labels: Int[np.ndarray, " N"], symbols: Int[np.ndarray, " N"], outputs: Int[np.ndarray, " N"], num_symbols: int
) -> tuple[Int[np.ndarray, "K V"], Int[np.ndarray, " K"]] | None:
    """Transitions and outputs of clusters along a path; None where a cluster has two outputs, or a symbol leads to two clusters."""
    count = int(labels.max()) + 1
    own = np.zeros(count, np.int64)
    own[labels] = outputs
    if (own[labels] != outputs).any():
        return None
    transitions = np.full((count, num_symbols), NEVER, np.int64)
    transitions[labels[:-1], symbols[1:]] = labels[1:]
    if (transitions[labels[:-1], symbols[1:]] != labels[1:]).any():
        return None
    return transitions, own


def merge_equivalent(transitions: Int[np.ndarray, "K V"], outputs: Int[np.ndarray, " K"]) -> Int[np.ndarray, " K"]:
    """Class of each state, such that states of a class have the same output and go to the same classes (Moore's refinement).

    A transition that was never seen counts as different from every seen one: only what was observed to agree is merged.

    Example:
        >>> merge_equivalent(np.array([[1], [2], [3], [0]]), np.array([0, 1, 0, 1])).tolist()  # abab… in four states
        [0, 1, 0, 1]
    """
    classes = np.unique(outputs, return_inverse=True)[1]
    while True:
        reached = np.where(transitions == NEVER, NEVER, classes[transitions])
        finer = np.unique(np.column_stack([classes, reached]), axis=0, return_inverse=True)[1].reshape(-1)
        if finer.max() == classes.max():
            return classes
        classes = finer


def _of_classes(classes: np.ndarray, transitions: np.ndarray, outputs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Transitions and outputs of classes, each taken from one of its states: they agree."""
    first = np.unique(classes, return_index=True)[1]
    reached = transitions[first]
    return np.where(reached == NEVER, NEVER, classes[reached]), outputs[first]
