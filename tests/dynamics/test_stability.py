"""Stability types and time scales."""

import math

import pytest
import torch

from rnnscope.dynamics.stability import rotation_periods, stability, time_constants


def rotation(modulus: float, period: float) -> torch.Tensor:
    angle = 2 * math.pi / period
    return modulus * torch.tensor(
        [[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]], dtype=torch.float64
    )


@pytest.mark.parametrize(
    ("matrix", "kind"),
    [
        (torch.diag(torch.tensor([0.5, 0.2])), "attractor"),
        (torch.diag(torch.tensor([1.5, 0.2])), "saddle"),
        (torch.diag(torch.tensor([1.5, 1.2])), "repeller"),
        (torch.diag(torch.tensor([-0.5, 0.2])), "flipping attractor"),
        (torch.diag(torch.tensor([1.0, 0.2])), "marginal"),
        (rotation(0.9, 8), "spiral attractor"),
        (rotation(1.1, 8), "spiral repeller"),
    ],
)
def test_types(matrix, kind):
    assert stability(matrix[None]).kinds == (kind,)


def test_numbers_of_unstable_directions():
    found = stability(torch.diag_embed(torch.tensor([[2.0, 0.5], [2.0, 3.0], [0.1, 0.5]])))
    assert found.num_unstable.tolist() == [1, 2, 0]
    assert found.is_stable.tolist() == [False, False, True]


def test_time_constants_and_periods():
    values = stability(rotation(math.exp(-1 / 20), 12)[None]).eigenvalues
    assert time_constants(values).flatten().tolist() == pytest.approx([20, 20])
    assert rotation_periods(values).flatten().tolist() == pytest.approx([12, 12])
    assert rotation_periods(torch.tensor([0.5 + 0j])).item() == math.inf
    assert rotation_periods(torch.tensor([-0.5 + 0j])).item() == pytest.approx(2)
