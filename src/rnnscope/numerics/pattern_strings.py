"""Binary strings that contain a pattern, or do not: the automaton that decides it, exact counts, uniform draws."""

from collections.abc import Collection

import numpy as np
from jaxtyping import Int, Integer

MANY = 2  # occurrences are told apart up to here: none, one, two or more
LARGEST = 2**62  # strings are numbered by 64-bit integers below this


def pattern_automaton(pattern: tuple[int, ...]) -> Int[np.ndarray, "states 2"]:
    """Transitions of the smallest automaton that finds a pattern of m symbols (Knuth, Morris & Pratt 1977).

    State k < m means that the last k symbols are the pattern's first k, and no more; state m that the pattern has just ended.

    Args:
        pattern: symbols 0 and 1, at least one.

    Returns:
        (m + 1, 2): the state that follows each state and symbol.

    Example:
        >>> pattern_automaton((1, 1, 0)).tolist()
        [[0, 1], [0, 2], [3, 2], [0, 1]]
    """
    length = len(pattern)
    table = np.zeros((length + 1, 2), int)
    table[0, pattern[0]] = 1
    border = 0  # the state after the longest proper suffix of what was read that is a prefix of the pattern
    for state in range(1, length + 1):
        table[state] = table[border]
        if state < length:
            table[state, pattern[state]] = state + 1
            border = int(table[border, pattern[state]])
    return table


def count_occurrences(strings: Integer[np.ndarray, "N T"], pattern: tuple[int, ...]) -> Int[np.ndarray, " N"]:
    """How often the pattern occurs in each string; occurrences may overlap.

    Example:
        >>> import numpy as np
        >>> count_occurrences(np.array([[1, 1, 1, 0, 1, 1, 0], [0, 1, 0, 1, 0, 1, 1]]), (1, 1, 0)).tolist()
        [2, 0]
    """
    starts = strings.shape[1] - len(pattern) + 1
    if starts < 1:
        return np.zeros(len(strings), int)
    found = np.ones((len(strings), starts), bool)
    for k, symbol in enumerate(pattern):
        found &= strings[:, k : k + starts] == symbol
    return found.sum(1)


def completions(pattern: tuple[int, ...], num_steps: int, occurrences: Collection[int]) -> list[list[int]]:
    """How many strings of t symbols lead from each state to an allowed number of occurrences, exactly.

    Args:
        occurrences: those allowed, of 0, 1 and 2 (two or more).

    Returns:
        [t][s] for t = 0 … num_steps; state s = c·(m + 1) + k: c occurrences so far, automaton in state k.
    """
    table = _counting(pattern)
    size = len(table) // (MANY + 1)
    found = [[int(s // size in occurrences) for s in range(len(table))]]
    for _ in range(num_steps):
        before = found[-1]
        found.append([before[a] + before[b] for a, b in table.tolist()])
    return found


def count_strings(pattern: tuple[int, ...], num_steps: int, occurrences: Collection[int]) -> int:
    """How many binary strings hold the pattern an allowed number of times.

    Args:
        pattern: symbols 0 and 1. num_steps: length of the strings. occurrences: allowed numbers of 0, 1 and 2 (two or more).

    Example:
        >>> count_strings((1, 1, 0), 20, {0}), count_strings((1, 1, 0), 20, {1, 2})
        (28656, 1019920)
    """
    return completions(pattern, num_steps, occurrences)[num_steps][0]


def draw_strings(
    pattern: tuple[int, ...], num_steps: int, occurrences: Collection[int], count: int, rng: np.random.Generator
) -> Int[np.ndarray, "N T"]:
    """Different strings, drawn uniformly from all that hold the pattern an allowed number of times.

    Args:
        pattern, num_steps, occurrences: see `count_strings`. count: how many, at most that number.

    Returns:
        (count, num_steps), symbols 0 and 1.

    Example:
        >>> import numpy as np
        >>> found = draw_strings((1, 1), 3, {0}, 5, np.random.default_rng(0))
        >>> sorted(map(tuple, found.tolist()))
        [(0, 0, 0), (0, 0, 1), (0, 1, 0), (1, 0, 0), (1, 0, 1)]
    """
    counts, table = completions(pattern, num_steps, occurrences), _counting(pattern)
    total = counts[num_steps][0]
    assert count <= total
    if total < LARGEST:
        return _numbered(rng.choice(total, count, replace=False), counts, table)
    found = _random(count, counts, table, rng)
    while len(np.unique(found, axis=0)) < count:  # next to never: there are 2^62 strings or more
        found = _random(count, counts, table, rng)
    return found


def _counting(pattern: tuple[int, ...]) -> Int[np.ndarray, "states 2"]:
    """Transitions of the automaton that also counts occurrences, up to two."""
    table = pattern_automaton(pattern)
    size = len(table)
    ended = (table == size - 1).astype(int)
    return np.concatenate([table + size * np.minimum(c + ended, MANY) for c in range(MANY + 1)])


def _numbered(numbers: np.ndarray, counts: list[list[int]], table: np.ndarray) -> np.ndarray:
    """The strings with these numbers in lexicographic order."""
    state = np.zeros(len(numbers), int)
    rest = numbers.astype(np.int64)
    symbols = []
    for left in range(len(counts) - 2, -1, -1):
        zeros = np.array(counts[left], np.int64)[table[state, 0]]
        symbol = (rest >= zeros).astype(int)
        rest = rest - symbol * zeros
        state = table[state, symbol]
        symbols.append(symbol)
    return np.stack(symbols, 1)


def _random(count: int, counts: list[list[int]], table: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Strings drawn symbol by symbol, each symbol with the share of the completions behind it."""
    state = np.zeros(count, int)
    symbols = []
    for left in range(len(counts) - 2, -1, -1):
        shares = np.array([counts[left][one] / max(1, all_) for (_, one), all_ in zip(table, counts[left + 1], strict=True)])
        symbol = (rng.random(count) < shares[state]).astype(int)
        state = table[state, symbol]
        symbols.append(symbol)
    return np.stack(symbols, 1)
