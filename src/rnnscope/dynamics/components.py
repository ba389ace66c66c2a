"""Principal components of states.

Axis names as everywhere: N states, S state, C components.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from rnnscope.core.errors import DataError


@dataclass(frozen=True)
class PrincipalComponents:
    """Orthogonal directions of decreasing variance. All arrays are float64.

    Attributes:
        mean: (S,). axes: unit rows, (C, S); the entry of largest modulus of each is positive.
        variances: of the states along the axes, (C,), with N - 1 in the denominator.
        explained_variance_ratio: share of the total variance, (C,); adds up to 1 when every component is kept.
        participation_ratio: (Σ λ)² / Σ λ² over all variances: between 1 (a line) and S (a ball).
    """

    mean: Float[Tensor, " S"]
    axes: Float[Tensor, "C S"]
    variances: Float[Tensor, " C"]
    explained_variance_ratio: Float[Tensor, " C"]
    participation_ratio: float

    def project(self, states: Float[Tensor, "*B S"], num_axes: int = 2) -> Float[Tensor, "*B K"]:
        """Coordinates along the first `num_axes` axes, in float64 on the CPU."""
        return (states.double().cpu() - self.mean) @ self.axes[:num_axes].T


@torch.no_grad()
def principal_components(states: Float[Tensor, "*N S"], num_axes: int | None = None) -> PrincipalComponents:
    """Eigenvectors of the covariance matrix of states.

    Args:
        states: any leading axes, at least two states in all; the study takes 30000 driven ones.
        num_axes: how many axes to keep; all S when None.

    Returns:
        `PrincipalComponents`.

    Raises:
        DataError: fewer than two states, or values that are not finite.

    Example:
        >>> import torch
        >>> line = torch.tensor([[1.0, 2.0], [2.0, 4.0], [4.0, 8.0]])
        >>> principal_components(line).explained_variance_ratio.round(decimals=3).tolist()
        [1.0, 0.0]
    """
    flat = states.reshape(-1, states.shape[-1])
    if len(flat) < 2 or not bool(torch.isfinite(flat).all()):
        raise DataError(f"{len(flat)} states", "at least two finite ones", "drive longer, or check that the system is bounded")
    flat = flat.double().cpu()
    mean = flat.mean(0)
    centred = flat - mean
    values, vectors = torch.linalg.eigh(centred.T @ centred / (len(flat) - 1))
    variances, axes = values.flip(0).clamp_min(0.0), vectors.flip(1).T
    largest = axes.gather(1, axes.abs().argmax(1, keepdim=True))
    axes = axes * torch.where(largest < 0, -1.0, 1.0)
    total, squares = variances.sum(), (variances**2).sum()
    ratio = float(total**2 / squares) if squares > 0 else 0.0
    shares = variances / total if total > 0 else torch.zeros_like(variances)
    return PrincipalComponents(mean, axes[:num_axes], variances[:num_axes], shares[:num_axes], ratio)
