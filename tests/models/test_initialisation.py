"""Initial matrices have the property they are named after."""

import math
from typing import Any

import pytest
import torch

from rnnscope.models.initialisation import chrono_bias, fill_uniform, recurrent_matrix

KINDS: list[Any] = ["uniform", "orthogonal", "identity", "spectral", "sparse"]


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("size", [1, 2, 17])
@pytest.mark.parametrize("scale", [0.5, 1.0, 1.3])
def test_an_orthogonal_matrix_keeps_lengths_up_to_its_scale(size: int, scale: float) -> None:
    found = recurrent_matrix(size, "orthogonal", scale, generator())
    torch.testing.assert_close(found.T @ found, scale**2 * torch.eye(size))


def test_orthogonal_matrices_have_no_preferred_sign() -> None:
    """The QR decomposition alone would."""
    found = torch.stack([recurrent_matrix(3, "orthogonal", 1.0, generator(seed)) for seed in range(400)])
    positive = (found > 0).float().mean(0)
    assert (positive - 0.5).abs().max() < 4 * 0.5 / math.sqrt(400)
    assert ((found**2).mean(0) - 1 / 3).abs().max() < 0.07
    assert abs(torch.linalg.det(found).mean().item()) < 4 / math.sqrt(400)  # rotations and reflections alike


@pytest.mark.parametrize("scale", [0.5, 1.0])
def test_the_identity_is_the_identity(scale: float) -> None:
    assert torch.equal(recurrent_matrix(4, "identity", scale, generator()), scale * torch.eye(4))


@pytest.mark.parametrize("size", [1, 2, 20])
@pytest.mark.parametrize("scale", [0.5, 0.95, 1.2])
def test_a_spectral_matrix_has_the_spectral_radius_asked_for(size: int, scale: float) -> None:
    found = recurrent_matrix(size, "spectral", scale, generator())
    assert torch.linalg.eigvals(found.double()).abs().max().item() == pytest.approx(scale, rel=1e-5)


@pytest.mark.parametrize("scale", [0.5, 2.0])
def test_a_uniform_matrix_fills_its_interval(scale: float) -> None:
    found = recurrent_matrix(50, "uniform", scale, generator())
    bound = scale / math.sqrt(50)
    assert 0.98 * bound < found.abs().max() <= bound
    assert found.var().item() == pytest.approx(bound**2 / 3, rel=0.1)


@pytest.mark.parametrize("kind", KINDS)
def test_matrices_are_single_precision_and_repeat_with_their_generator(kind: Any) -> None:
    first, second = (recurrent_matrix(5, kind, 1.0, generator(3)) for _ in range(2))
    assert first.dtype == torch.float32
    assert torch.equal(first, second)
    assert torch.equal(first, recurrent_matrix(5, kind, 1.0, generator(4))) == (kind == "identity")


def test_filling_keeps_the_tensor_and_takes_no_gradient() -> None:
    parameter = torch.nn.Parameter(torch.zeros(40, 50))
    fill_uniform(parameter, 0.3, generator())
    assert parameter.requires_grad
    assert parameter.grad_fn is None
    assert 0.29 < parameter.abs().max() <= 0.3
    assert abs(parameter.mean().item()) < 0.02


@pytest.mark.parametrize("size", [10, 15, 40])
def test_a_sparse_matrix_has_fifteen_connections_into_each_unit_and_the_spectral_radius_asked_for(size: int) -> None:
    found = recurrent_matrix(size, "sparse", 1.1, generator())
    assert ((found != 0).sum(1) == min(15, size)).all()
    assert torch.linalg.eigvals(found.double()).abs().max().item() == pytest.approx(1.1, rel=1e-5)


def test_gates_with_chrono_biases_forget_within_one_step_to_the_longest_lag() -> None:
    lags = chrono_bias(4000, 50.0, generator()).exp()
    assert 1 <= lags.min() < 1.2
    assert 48.5 < lags.max() <= 49
    assert lags.mean().item() == pytest.approx(25, abs=4 * 48 / math.sqrt(12 * 4000))
