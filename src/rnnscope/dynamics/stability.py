"""What the eigenvalues of a Jacobian at rest say: stability type, time constants, rotation periods."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Complex, Float, Int
from torch import Tensor

MARGINAL = 1e-7  # distance of a modulus from 1 within which the linear part decides nothing


@dataclass(frozen=True)
class Stability:
    """Of each of N points.

    Attributes:
        eigenvalues: of dF/dh, largest modulus first, (N, S).
        is_stable: all moduli < 1. num_unstable: moduli > 1, (N,). is_marginal: some modulus is 1 to within `MARGINAL`.
        kinds: "attractor", "saddle", "repeller" or "marginal", with "spiral" or "flipping" before it where the leading
            eigenvalue is complex or negative.
    """

    eigenvalues: Complex[Tensor, "N S"]
    is_stable: Bool[Tensor, " N"]
    num_unstable: Int[Tensor, " N"]
    is_marginal: Bool[Tensor, " N"]
    kinds: tuple[str, ...]


def stability(jacobians: Float[Tensor, "N S S"]) -> Stability:
    """Eigenvalues and types of a stack of Jacobians of a map.

    Example:
        >>> import torch
        >>> stability(torch.diag(torch.tensor([2.0, 0.5]))[None]).kinds
        ('saddle',)
    """
    size = jacobians.shape[1]
    eigenvalues = eigenvalues_of(jacobians.double())
    eigenvalues = eigenvalues.gather(1, eigenvalues.abs().argsort(dim=1, descending=True))
    moduli = eigenvalues.abs()
    marginal = ((moduli - 1).abs() <= MARGINAL).any(1)
    unstable = (moduli > 1 + MARGINAL).sum(1)
    stable = (moduli < 1 - MARGINAL).all(1)
    kinds = tuple(
        _kind(row[0].item(), int(k), bool(m), size) for row, k, m in zip(eigenvalues, unstable, marginal, strict=True)
    )
    return Stability(eigenvalues, stable, unstable, marginal, kinds)


def eigenvalues_of(matrices: Float[Tensor, "N S S"]) -> Complex[Tensor, "N S"]:
    """Eigenvalues, also where LAPACK's batched iteration gives up, as it may on matrices that span hundreds of decades."""
    try:
        return torch.linalg.eigvals(matrices)
    except torch.linalg.LinAlgError:
        # what lies 200 decades below the largest entry decides nothing, and is what stops the iteration
        floor = 1e-200 * matrices.abs().amax((1, 2), keepdim=True)
        return torch.linalg.eigvals(torch.where(matrices.abs() < floor, 0.0, matrices))


def _kind(leading: complex, num_unstable: int, marginal: bool, size: int) -> str:
    if marginal:
        kind = "marginal"
    elif num_unstable == 0:
        kind = "attractor"
    else:
        kind = "repeller" if num_unstable == size else "saddle"
    if abs(leading.imag) > 1e-9 * abs(leading):
        return f"spiral {kind}"
    return f"flipping {kind}" if leading.real < 0 else kind


def time_constants(eigenvalues: Complex[Tensor, "*N"]) -> Float[Tensor, "*N"]:
    """τ = -1/ln|λ| in steps: positive where the direction decays, negative where it grows, 0 where it dies in one step."""
    return -1 / torch.log(eigenvalues.abs())


def rotation_periods(eigenvalues: Complex[Tensor, "*N"]) -> Float[Tensor, "*N"]:
    """2π/|arg λ| in steps: 2 for a negative eigenvalue, infinite for a positive one."""
    return 2 * torch.pi / eigenvalues.angle().abs()
