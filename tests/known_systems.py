"""Dynamical systems whose answers are known exactly, in float64."""

import math

import numpy as np
import torch
from torch import Tensor

import rnnscope as rs

DOUBLE = torch.float64


def linear_map(matrix: Tensor, drive: Tensor | None = None) -> rs.System:
    """h -> M h + N x.

    One fixed point at 0 (no eigenvalue 1); exponents are ln |eigenvalues of M|; h_T = M^T h_0 without input.
    """
    num_inputs = 0 if drive is None else drive.shape[1]

    def step(state: Tensor, input: Tensor) -> Tensor:
        new = state @ matrix.T
        return new if drive is None else new + input @ drive.T

    return rs.System(step, len(matrix), num_inputs, dtype=DOUBLE)


def rotation_matrix(angle: float) -> Tensor:
    """[[cos, -sin], [sin, cos]]."""
    cos, sin = math.cos(angle), math.sin(angle)
    return torch.tensor([[cos, -sin], [sin, cos]], dtype=DOUBLE)


def rotation(angle: float) -> rs.System:
    """Rotation of the plane: |h| is conserved, both exponents are 0, and n steps turn by n·angle."""
    return linear_map(rotation_matrix(angle))


HENON_A, HENON_B = 1.4, 0.3


def henon() -> rs.System:
    """(x, y) -> (1 - a x² + y, b x), a = 1.4, b = .3: det of the Jacobian is -b everywhere, so the exponents sum to ln b."""

    def step(state: Tensor, input: Tensor) -> Tensor:
        x, y = state.unbind(-1)
        return torch.stack([1 - HENON_A * x * x + y, HENON_B * x], -1)

    return rs.System(step, 2, dtype=DOUBLE)


def henon_fixed_points() -> Tensor:
    """The two fixed points, (2, 2): a x² + (1 - b) x - 1 = 0, y = b x."""
    root = math.sqrt((1 - HENON_B) ** 2 + 4 * HENON_A)
    xs = [(HENON_B - 1 + sign * root) / (2 * HENON_A) for sign in (1, -1)]
    return torch.tensor([[x, HENON_B * x] for x in xs], dtype=DOUBLE)


def logistic() -> rs.System:
    """x -> 4 x (1 - x): exponent ln 2, fixed points 0 and 3/4, density 1/(π sqrt(x (1 - x)))."""
    return rs.System(lambda x, _: 4 * x * (1 - x), 1, initial=torch.tensor([0.3], dtype=DOUBLE), dtype=DOUBLE)


def logistic_orbit(start: float, steps: int) -> np.ndarray:
    """x_n = sin²(2^n asin sqrt(x_0)) for n = 0 … steps."""
    return np.sin(2.0 ** np.arange(steps + 1) * math.asin(math.sqrt(start))) ** 2


def line_attractor(direction: Tensor, decay: float = 0.5) -> rs.System:
    """h -> P h + decay·(h - P h), P the projection on the line: each of its points is fixed; exponents 0 and ln decay."""
    unit = direction / direction.norm()

    def step(state: Tensor, input: Tensor) -> Tensor:
        along = (state @ unit)[:, None] * unit
        return along + decay * (state - along)

    return rs.System(step, len(direction), dtype=DOUBLE)


def lorenz_field(state: Tensor, input: Tensor) -> Tensor:
    """Lorenz-63 at σ = 10, ρ = 28, β = 8/3: divergence -41/3; exponents .9051 ± .0012, 0, -14.572 (RK4, h = .005, T = 2e4)."""
    x, y, z = state.unbind(-1)
    return torch.stack([10 * (y - x), x * (28 - z) - y, x * y - 8 / 3 * z], -1)


def lorenz_jacobian(state: Tensor, input: Tensor) -> Tensor:
    """Derivative of `lorenz_field`, (B, 3, 3)."""
    x, y, z = state.unbind(-1)
    one = torch.ones_like(x)
    rows = [[-10 * one, 10 * one, 0 * one], [28 - z, -one, -x], [y, x, -8 / 3 * one]]
    return torch.stack([torch.stack(row, -1) for row in rows], -2)
