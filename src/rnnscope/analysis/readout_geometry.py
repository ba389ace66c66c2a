"""How a linear readout y = A h lies in the space of driven states, and the planes in which outputs change.

What decides between outputs i and j is a_i - a_j, the difference of two rows of A: the outputs tie where (a_i - a_j) · h = 0.
Axis names as everywhere: S state, Y symbols, P pairs of symbols, C axes.
"""

import itertools
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from rnnscope.core.errors import DataError
from rnnscope.core.jacobians import readout_jacobians
from rnnscope.core.system import DynamicalSystem
from rnnscope.dynamics.components import PrincipalComponents, principal_components


def readout_matrix(system: DynamicalSystem, states: Float[Tensor, "N S"]) -> tuple[Float[Tensor, "Y S"], float]:
    """A = dG/dh averaged over states, in float64, and how far it is from constant: largest |A(h) - A| / |A|, 0 for a linear readout."""
    found = readout_jacobians(system, states).double()
    mean = found.mean(0)
    return mean, float((found - mean).flatten(1).norm(dim=1).max() / mean.norm().clamp_min(1e-300))


def principal_angles(first: Float[Tensor, "K S"], second: Float[Tensor, "L S"]) -> Float[Tensor, " M"]:
    """Angles between the spans of two sets of rows, in degrees, smallest first; as many as the smaller span has dimensions.

    cos θ_i are the singular values of Q1' Q2 for orthonormal bases (Björck & Golub 1973).

    Example:
        >>> import torch
        >>> x, y, z = torch.eye(3, dtype=torch.float64)
        >>> principal_angles(torch.stack([x, y]), torch.stack([x, z])).tolist()
        [0.0, 90.0]
    """
    bases = []
    for rows in (first.double(), second.double()):
        _, values, vectors = torch.linalg.svd(rows, full_matrices=False)
        bases.append(vectors[values > 1e-10 * values.max()])
    cosines = torch.linalg.svdvals(bases[0] @ bases[1].T).clamp(0.0, 1.0)
    return torch.rad2deg(torch.arccos(cosines))


@dataclass(frozen=True)
class ReadoutAlignment:
    """How much of the readout's differences lies in the leading principal plane.

    Attributes:
        pairs: (i, j) with i < j, (P, 2).
        cosines: of a_i - a_j with each of the leading axes, (P, C).
        inside: share of the squared norm of a_i - a_j inside the span of these axes, (P,); `chance` is C / S, what a random direction has.
        variance_inside: share of the variance of y_i - y_j that the states' motion along these axes makes, (P,).
        angles: principal angles between the span of all differences and that of the axes, degrees, (A,).
        thresholds: a_i - a_j in coordinates of the axes, (P, C), and `offsets` (a_i - a_j) · mean, (P,): in the plane, the outputs tie on the
            line thresholds · z + offset + what the remaining axes add = 0.
        deviation: of the readout from a constant matrix, 0 where it is linear.
    """

    pairs: Int[Tensor, "P 2"]
    cosines: Float[Tensor, "P C"]
    inside: Float[Tensor, " P"]
    variance_inside: Float[Tensor, " P"]
    chance: float
    angles: Float[Tensor, " A"]
    thresholds: Float[Tensor, "P C"]
    offsets: Float[Tensor, " P"]
    deviation: float


def readout_alignment(
    system: DynamicalSystem, states: Float[Tensor, "N S"], components: PrincipalComponents, *, num_axes: int = 2
) -> ReadoutAlignment:
    """Compare the readout with the leading principal axes of driven states.

    Args:
        states: where the readout's derivative is taken; a few are enough for a linear one. components: of driven states, all kept.
        num_axes: C, the axes that span the plane.

    Returns:
        `ReadoutAlignment`, float64 on the CPU. Outputs without any weight give nan.
    """
    matrix, deviation = readout_matrix(system, states)
    matrix = matrix.cpu()
    pairs = list(itertools.combinations(range(len(matrix)), 2))
    if not pairs:
        raise DataError("a readout with one output", "at least two", "differences between outputs need two of them")
    differences = torch.stack([matrix[i] - matrix[j] for i, j in pairs])
    axes = components.axes[:num_axes]
    contributions = (differences @ components.axes.T).square() * components.variances
    thresholds = differences @ axes.T
    cosines = thresholds / differences.norm(dim=1, keepdim=True)
    return ReadoutAlignment(
        torch.tensor(pairs),
        cosines,
        cosines.square().sum(1),
        contributions[:, :num_axes].sum(1) / contributions.sum(1),
        len(axes) / axes.shape[1],
        principal_angles(differences, axes),
        thresholds,
        differences @ components.mean,
        deviation,
    )


@dataclass(frozen=True)
class PairPlanes:
    """For each pair of symbols the leading plane of the states around changes between them.

    Attributes:
        pairs: pairs with enough changes, either way, (P, 2). num_switches: changes seen, (P,).
        axes: orthonormal, (P, C, S).
        plane_share: share of the pair's own variance inside its plane, (P,).
        total_share: share of the variance of all states inside it, (P,).
        angles: principal angles between the planes of pairs p and q, degrees, (P, P, C), smallest first; 0 on the diagonal.
        skipped: pairs with fewer than the changes asked for, (Q, 2).
    """

    pairs: Int[Tensor, "P 2"]
    num_switches: Int[Tensor, " P"]
    axes: Float[Tensor, "P C S"]
    plane_share: Float[Tensor, " P"]
    total_share: Float[Tensor, " P"]
    angles: Float[Tensor, "P P C"]
    skipped: Int[Tensor, "Q 2"]


@torch.no_grad()
def pair_planes(
    states: Float[Tensor, "B T S"],
    symbols: Int[Tensor, "B T"],
    num_symbols: int,
    *,
    window: int = 5,
    num_axes: int = 2,
    min_switches: int = 20,
) -> PairPlanes:
    """Principal planes of the states within `window` steps of a change, pair by pair of symbols.

    Args:
        states, symbols: of driven paths with stride 1. window: steps on either side of a change.
        num_axes: dimension of each plane. min_switches: pairs with fewer changes are skipped, and listed.

    Returns:
        `PairPlanes`, float64 on the CPU. A network in which each change has a subspace of its own shows large angles.
    """
    if states.shape[:2] != symbols.shape:
        raise DataError(f"states of {states.shape[1]} steps, symbols of {symbols.shape[1]}", "as many", "drive with stride = 1")
    everything = principal_components(states)
    spread = (everything.axes.T * everything.variances) @ everything.axes
    lags = torch.arange(-window, window, device=symbols.device)
    kept, skipped, counts, planes, own = [], [], [], [], []
    for i, j in itertools.combinations(range(num_symbols), 2):
        before, after = symbols[:, :-1], symbols[:, 1:]
        row, time = (((before == i) & (after == j)) | ((before == j) & (after == i))).nonzero(as_tuple=True)
        inside = (time + 1 >= window) & (time + 1 + window <= symbols.shape[1])
        row, time = row[inside], time[inside] + 1
        if len(row) < min_switches:
            skipped.append((i, j))
            continue
        found = principal_components(states[row[:, None], time[:, None] + lags], num_axes)
        kept.append((i, j))
        counts.append(len(row))
        planes.append(found.axes)
        own.append(float(found.explained_variance_ratio.sum()))
    size = states.shape[-1]
    axes = torch.stack(planes) if planes else torch.zeros(0, num_axes, size, dtype=torch.float64)
    shares = torch.einsum("pcs,st,pct->p", axes, spread, axes) / spread.trace()
    cosines = torch.linalg.svdvals(torch.einsum("pcs,qds->pqcd", axes, axes)) if planes else axes.new_zeros(0, 0, num_axes)
    return PairPlanes(
        torch.tensor(kept, dtype=torch.long).reshape(-1, 2),
        torch.tensor(counts, dtype=torch.long),
        axes,
        torch.tensor(own, dtype=torch.float64),
        shares,
        torch.rad2deg(torch.arccos(cosines.clamp(0.0, 1.0))),
        torch.tensor(skipped, dtype=torch.long).reshape(-1, 2),
    )
