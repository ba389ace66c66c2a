"""One-to-one matching of two equally large sets of sequences or points, and Hamming distances between sequences.

A matching is a permutation σ that minimises Σ_i ½|x_i - y_σ(i)|². Of symbol sequences, taken as one-hot vectors, that is the
total number of mismatches, and |x - y| = √(2 · mismatches).
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float, Int
from scipy.optimize import linear_sum_assignment
from scipy.sparse import csr_matrix
from scipy.sparse.csgraph import min_weight_full_bipartite_matching

from rnnscope.numerics import sinkhorn_kernels as compiled
from rnnscope.numerics.transport import Potentials, sinkhorn_divergence

_BLOCK = 128  # rows at a time: work space that stays in cache


@dataclass(frozen=True)
class Matching:
    """A one-to-one matching of N rows.

    Attributes:
        columns: (N,); row i of x belongs to row columns[i] of y. distances: (N,), Euclidean |x_i - y_columns[i]|.
        mean, sd: of the distances. cost: mean of ½|x - y|². bound: no matching has a smaller cost (equal to cost if exact).
        method: how it was found.
    """

    columns: Int[np.ndarray, " N"]
    distances: Float[np.ndarray, " N"]
    mean: float
    sd: float
    cost: float
    bound: float
    method: str

    @property
    def is_bijection(self) -> bool:
        """Whether every row of y is used exactly once."""
        return bool((np.bincount(self.columns, minlength=len(self.columns)) == 1).all())


def hamming_cost(x: Int[np.ndarray, "N T"], y: Int[np.ndarray, "M T"]) -> Int[np.ndarray, "N M"]:
    """Number of places where sequences differ, int16 (int32 from T = 32768), for whole symbols >= 0.

    Symbols are written in binary, bit planes packed into 64-bit words: ceil(log2 K) · ceil(T/64) word operations a pair.

    Example:
        >>> hamming_cost(np.array([[0, 1, 2]]), np.array([[0, 1, 2], [2, 1, 0]])).tolist()
        [[0, 2]]
    """
    if x.ndim != 2 or y.ndim != 2 or x.shape[1] != y.shape[1]:
        raise ValueError(f"x has shape {x.shape}, y {y.shape}; expected (sequences, steps) with the same number of steps")
    if min(x.min(initial=0), y.min(initial=0)) < 0:
        raise ValueError("symbols are negative; number them from 0")
    planes = max(1, int(max(x.max(initial=0), y.max(initial=0))).bit_length())
    first, second = _bit_planes(x, planes), np.ascontiguousarray(_bit_planes(y, planes).transpose(1, 2, 0))
    mismatches = np.empty((len(x), len(y)), np.int16 if x.shape[1] < 2**15 else np.int32)
    compiled.count_mismatches(first, second, mismatches)
    return mismatches


def match_sequences(
    x: np.ndarray | torch.Tensor,
    y: np.ndarray | torch.Tensor,
    method: Literal["exact", "sinkhorn"] = "exact",
    *,
    blur: float = 0.2,
    num_threads: int | None = None,
) -> Matching:
    """Match rows of x to rows of y one to one.

    "exact" solves the assignment on the full cost (Crouse 2016, by scipy: 8 N² bytes). "sinkhorn" finds dual potentials f, g by
    entropic transport and solves the assignment exactly among pairs of small slack C - f - g, widened until a full matching
    exists: 2 N² bytes for sequences, several times faster from N = 2000, in practice at the optimum; `bound` says how near.

    Args:
        x, y: (N, T) whole numbers >= 0, symbol sequences; or (N, D) real vectors. Equally many rows.
        blur: of the transport, √ε in units of |x - y| (one-hot distance for symbols); smaller is tighter and slower.

    Raises:
        ValueError: different numbers of rows, other shapes or types; NaN.
    """
    first, second = _rows(x, "x"), _rows(y, "y")
    if first.shape != second.shape or np.issubdtype(first.dtype, np.integer) != np.issubdtype(second.dtype, np.integer):
        raise ValueError(f"x is {first.dtype} {first.shape}, y {second.dtype} {second.shape}; expected the same shape and kind")
    if method == "exact":
        columns = linear_sum_assignment(_costs(first, second, second.mean(0)))[1]
        bound = None
    elif method == "sinkhorn":
        columns, bound = _match_by_potentials(first, second, blur, num_threads)
    else:
        raise ValueError(f'method is "{method}", expected "exact" or "sinkhorn"')
    if np.issubdtype(first.dtype, np.integer):
        costs = (first != second[columns]).sum(1).astype(np.float64)
    else:
        costs = ((first - second[columns]) ** 2).sum(1) / 2
    distances, cost = np.sqrt(2 * costs), float(costs.mean())
    found = Matching(
        columns,
        distances,
        float(distances.mean()),
        float(distances.std()),
        cost,
        cost if bound is None else min(bound, cost),
        method,
    )
    assert found.is_bijection
    return found


def _match_by_potentials(x: np.ndarray, y: np.ndarray, blur: float, threads: int | None) -> tuple[np.ndarray, float]:
    clouds = _one_hot(x, y) if np.issubdtype(x.dtype, np.integer) else (torch.from_numpy(x), torch.from_numpy(y))
    result = sinkhorn_divergence(*clouds, blur=blur, accuracy="training", debias=False, num_threads=threads)
    del clouds
    f = result.potentials.f.numpy()
    slack, width = 25 * blur**2, min(32, len(x))
    while True:
        edges, bound = _tight_pairs(x, y, result.potentials, slack, width)
        try:
            rows, columns = min_weight_full_bipartite_matching(edges)
        except ValueError as problem:
            if "no full matching" not in str(problem):
                raise
            if width == len(x):
                slack = np.inf
            slack, width = 4 * slack, min(4 * width, len(x))
            continue
        return columns[np.argsort(rows)], float(f.mean()) + bound


def _tight_pairs(x: np.ndarray, y: np.ndarray, potentials: Potentials, slack: float, width: int) -> tuple[csr_matrix, float]:
    """Pairs of slack C - f - g below `slack`, at most the `width` tightest a row; and the mean of the largest g that f allows."""
    f, g, middle = potentials.f.numpy(), potentials.g.numpy(), y.mean(0)
    columns, costs, counts = [], [], []
    largest = np.full(len(y), np.inf)
    for start in range(0, len(x), _BLOCK):
        cost = _costs(x[start : start + _BLOCK], y, middle)
        free = cost - f[start : start + _BLOCK, None]
        np.minimum(largest, free.min(0), out=largest)
        free -= g
        limit = (
            np.partition(free, width - 1, axis=1)[:, width - 1 :][:, :1] if (free < slack).sum() > width * len(free) else slack
        )
        chosen = (free <= limit) & (free <= slack)
        columns.append(np.nonzero(chosen)[1])
        costs.append(cost[chosen])
        counts.append(chosen.sum(1))
    indices, ends = np.concatenate(columns), np.concatenate([[0], np.cumsum(np.concatenate(counts))])
    # scipy takes a stored zero for a missing pair; every full matching gains the same from the 1
    edges = csr_matrix((np.concatenate(costs) + 1.0, indices, ends), shape=(len(x), len(y)))
    return edges, float(largest.mean())


def _costs(x: np.ndarray, y: np.ndarray, middle: np.ndarray) -> Float[np.ndarray, "N M"]:
    if np.issubdtype(x.dtype, np.integer):
        return hamming_cost(x, y).astype(np.float64)
    first, second = x - middle, y - middle
    halves = (first**2).sum(1)[:, None] / 2 + (second**2).sum(1) / 2
    return np.maximum(halves - first @ second.T, 0)


def _one_hot(x: np.ndarray, y: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
    kinds = np.eye(int(max(x.max(), y.max())) + 1, dtype=np.float32)
    return torch.from_numpy(kinds[x].reshape(len(x), -1)), torch.from_numpy(kinds[y].reshape(len(y), -1))


def _rows(points: np.ndarray | torch.Tensor, name: str) -> np.ndarray:
    values = points.detach().cpu().numpy() if isinstance(points, torch.Tensor) else np.asarray(points)
    if values.ndim != 2 or not values.shape[0]:
        raise ValueError(f"{name} has shape {values.shape}, expected (rows, steps or features), at least one row")
    if np.issubdtype(values.dtype, np.integer):
        return values
    if not np.issubdtype(values.dtype, np.floating) or not np.isfinite(values).all():
        raise ValueError(f"{name} is {values.dtype}, expected whole symbols or real vectors without NaN")
    return values.astype(np.float64)


def _bit_planes(sequences: np.ndarray, planes: int) -> np.ndarray:
    """(N, T) symbols to (N, planes, ceil(T/64)) words."""
    packed = np.zeros((len(sequences), planes, -(-sequences.shape[1] // 64) * 8), np.uint8)
    for b in range(planes):
        bits = np.packbits((sequences >> b) & 1 == 1, axis=1)
        packed[:, b, : bits.shape[1]] = bits
    return packed.view(np.int64)
