"""Initial weights drawn from an explicit generator."""

import math
from typing import Literal

import torch
from torch import Tensor

RecurrentInit = Literal["uniform", "orthogonal", "identity", "spectral", "sparse"]
CONNECTIONS = 15  # into each unit of a sparse matrix


def fill_uniform(tensor: Tensor, bound: float, rng: torch.Generator) -> None:
    """U(-bound, bound), in place; torch's default for recurrent layers has bound = 1/sqrt(hidden_size)."""
    with torch.no_grad():
        tensor.copy_(torch.rand(tensor.shape, generator=rng) * (2 * bound) - bound)


def recurrent_matrix(size: int, kind: RecurrentInit, scale: float, rng: torch.Generator) -> Tensor:
    """A square recurrent matrix.

    Args:
        size: H. kind: `uniform` U(-1/sqrt(H), 1/sqrt(H)) times scale; `orthogonal` scale·Q with Q Haar-distributed
            (Saxe et al. 2014); `identity` scale·I (Le, Jaitly & Hinton 2015); `spectral` a Gaussian matrix rescaled to
            spectral radius `scale` (Jaeger 2001); `sparse` the same with 15 connections into each unit, the others 0, as in an
            echo state network (Sutskever et al. 2013, who take 1.1).
        scale: > 0.
    """
    if kind == "identity":
        return scale * torch.eye(size)
    if kind == "uniform":
        bound = 1 / math.sqrt(size)
        return scale * (torch.rand(size, size, generator=rng) * (2 * bound) - bound)
    gaussian = torch.randn(size, size, generator=rng, dtype=torch.float64)
    if kind == "orthogonal":
        q, r = torch.linalg.qr(gaussian)
        return (scale * q * torch.sign(torch.diagonal(r))).float()
    if kind == "sparse" and size > CONNECTIONS:
        kept = torch.rand(size, size, generator=rng).argsort(1)[:, :CONNECTIONS]
        gaussian = gaussian * torch.zeros_like(gaussian).scatter_(1, kept, 1.0)
    radius = torch.linalg.eigvals(gaussian).abs().max()
    return (scale * gaussian / radius).float()


def chrono_bias(size: int, longest: float, rng: torch.Generator) -> Tensor:
    """log U(1, T - 1): biases with which gates forget within 1 … T steps (Tallec & Ollivier 2018, chrono initialisation).

    A gate σ(b) keeps a share e^b / (1 + e^b) of its cell per step, so that b = log τ forgets within about τ steps.

    Args:
        size: H, biases. longest: T > 2, the longest lag that the task asks for.
    """
    return torch.log(1 + (longest - 2) * torch.rand(size, generator=rng))
