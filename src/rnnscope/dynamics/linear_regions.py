"""The linear regions of a piecewise-linear system: which patterns of units have any state at all."""

import numpy as np
import torch
from jaxtyping import Bool, Float
from scipy.optimize import linprog
from torch import Tensor

from rnnscope.core.piecewise import PiecewiseLinear

THIN = 1e-9  # regions with no ball of this radius are left out: they are borders of others


def nonempty_regions(
    system: PiecewiseLinear, input: Float[Tensor, " X"], state_size: int, max_regions: int
) -> Bool[Tensor, "R P"] | None:
    """Every pattern whose region has an interior, or None when there are more than `max_regions`.

    Units are decided one after the other; linear programming drops the beginnings of patterns that no state has. With P units
    and S dimensions there are at most Σ_{i<=S} (P choose i) regions per layer (Zaslavsky).
    """
    num_units = system.region(input.new_zeros(1, state_size), input[None]).shape[1]
    begun = np.zeros((1, 0), dtype=bool)
    for unit in range(num_units):
        bits = np.repeat([[False], [True]], len(begun), 0)
        begun = np.hstack([np.tile(begun, (2, 1)), bits])
        rows, offsets = _rows(system, input, begun, num_units)
        keep = [inner_point(rows[i, : unit + 1], offsets[i, : unit + 1], begun[i]) is not None for i in range(len(begun))]
        begun = begun[keep]
        if len(begun) > max_regions:
            return None
    return torch.from_numpy(begun).to(input.device)


def inner_point(rows: np.ndarray, offsets: np.ndarray, pattern: np.ndarray) -> np.ndarray | None:
    """A state h inside {(A h + b > 0) == pattern}, as far from its borders as possible up to distance 1; None where there is none.

    Args:
        rows: A, (P, S). offsets: b, (P,). pattern: (P,).
    """
    signs = np.where(pattern, 1.0, -1.0)
    lengths = np.linalg.norm(rows, axis=1)
    flat = lengths <= 1e-14 * (1 + np.abs(offsets))
    if bool(((offsets > 0) != pattern)[flat].any()):
        return None
    rows, offsets, signs, lengths = rows[~flat], offsets[~flat], signs[~flat], lengths[~flat]
    size = rows.shape[1]
    if not len(rows):
        return np.zeros(size)
    constraints = np.hstack([-signs[:, None] * rows / lengths[:, None], np.ones((len(rows), 1))])
    goal = np.zeros(size + 1)
    goal[-1] = -1.0
    bounds = [(None, None)] * size + [(None, 1.0)]
    found = linprog(goal, A_ub=constraints, b_ub=signs * offsets / lengths, bounds=bounds, method="highs")
    if found.status != 0:
        return None
    best = np.asarray(found.x)
    return best[:-1] if best[-1] > THIN else None


def _rows(system: PiecewiseLinear, input: Tensor, begun: np.ndarray, num_units: int) -> tuple[np.ndarray, np.ndarray]:
    pattern = torch.zeros(len(begun), num_units, dtype=torch.bool, device=input.device)
    pattern[:, : begun.shape[1]] = torch.from_numpy(begun).to(input.device)
    rows, offsets = system.boundaries(pattern, input.expand(len(begun), -1))
    return rows.detach().cpu().numpy(), offsets.detach().cpu().numpy()
