"""Eigenvalues of the Jacobians along driven paths, J_t = dF/dh at (h_{t-1}, x_t).

For h = relu(W_h h' + W_x x) this is diag(h > 0) W_h: the rows of silent units are zero.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Complex, Float, Int
from torch import Tensor

from rnnscope.core.jacobians import state_jacobians
from rnnscope.core.system import DynamicalSystem


@dataclass(frozen=True)
class Spectra:
    """Eigenvalues of many matrices.

    Attributes:
        eigenvalues: of each matrix, largest modulus first, filled up with zeros, (N, K), K <= S; exact zeros that belong to
            zero rows or columns are cut off.
        spectral_radius: largest modulus, (N,).
        num_unstable: eigenvalues outside the unit circle, (N,).
        num_critical_pairs: complex pairs of modulus above 1 - margin, (N,): oscillations that are hardly damped, or grow.
        active_share: share of rows that are not zero, (N,): for a ReLU network the share of active units.
    """

    eigenvalues: Complex[Tensor, "N K"]
    spectral_radius: Float[Tensor, " N"]
    num_unstable: Int[Tensor, " N"]
    num_critical_pairs: Int[Tensor, " N"]
    active_share: Float[Tensor, " N"]

    @property
    def summary(self) -> dict[str, float]:
        """Mean radius with its range, mean number outside, mean number of critical pairs, share of states with any outside."""
        radius = self.spectral_radius
        return {
            "radius": float(radius.mean()),
            "lowest_radius": float(radius.min()),
            "highest_radius": float(radius.max()),
            "num_unstable": float(self.num_unstable.double().mean()),
            "unstable_share": float((self.num_unstable > 0).double().mean()),
            "num_critical_pairs": float(self.num_critical_pairs.double().mean()),
            "active_share": float(self.active_share.mean()),
        }


@torch.no_grad()
def spectra(matrices: Float[Tensor, "N S S"], *, margin: float = 0.1) -> Spectra:
    """Eigenvalues of a stack of matrices.

    A zero row or column i contributes an eigenvalue 0, and the others are those of the matrix without row and column i. So with
    a fifth of the units active only matrices of a fifth of the size are left, a hundred times cheaper.

    Args:
        matrices: (N, S, S). margin: how far inside the unit circle a complex pair still counts as critical.

    Returns:
        `Spectra`, in float64 (the caller's matrices are converted).

    Example:
        >>> import torch
        >>> found = spectra(torch.diag(torch.tensor([2.0, 0.5, 0.0]))[None])
        >>> found.eigenvalues.real.tolist(), found.num_unstable.tolist()
        ([[2.0, 0.5]], [1])
    """
    nonzero = matrices != 0
    rows = nonzero.any(2)
    used = rows & nonzero.any(1)
    counts = used.sum(1)
    widest = max(1, int(counts.max()))
    found = torch.zeros(len(matrices), widest, dtype=torch.complex128, device=matrices.device)
    order = counts.argsort()
    for part in order.split(64):
        size = int(counts[part].max())
        if size:
            front = used[part].long().argsort(dim=1, descending=True, stable=True)[:, :size]
            keep = used[part].gather(1, front)
            block = matrices[part[:, None, None], front[:, :, None], front[:, None, :]].double()
            block = block * keep[:, :, None] * keep[:, None, :]
            found[part, :size] = torch.linalg.eigvals(block)
    moduli = found.abs()
    ranking = moduli.argsort(dim=1, descending=True)
    found, moduli = found.gather(1, ranking), moduli.gather(1, ranking)
    upper = (found.imag > 1e-9 * moduli) & (moduli > 1 - margin)
    return Spectra(found, moduli[:, 0], (moduli > 1).sum(1), upper.sum(1), rows.double().mean(1))


def driven_spectra(
    system: DynamicalSystem, states: Float[Tensor, "N S"], inputs: Float[Tensor, "N X"], *, margin: float = 0.1
) -> Spectra:
    """Eigenvalues of the Jacobian along a driven path.

    Args:
        states: h_{t-1}, the states before the step, (N, S). inputs: x_t, (N, X).
        margin: see `spectra`.

    Returns:
        `Spectra` of dF/dh at each pair.
    """
    parts = [
        spectra(state_jacobians(system, s, x), margin=margin)
        for s, x in zip(states.split(2000), inputs.split(2000), strict=True)
    ]
    widest = max(p.eigenvalues.shape[1] for p in parts)
    return Spectra(
        torch.cat([torch.nn.functional.pad(p.eigenvalues, (0, widest - p.eigenvalues.shape[1])) for p in parts]),
        torch.cat([p.spectral_radius for p in parts]),
        torch.cat([p.num_unstable for p in parts]),
        torch.cat([p.num_critical_pairs for p in parts]),
        torch.cat([p.active_share for p in parts]),
    )
