"""Growth of tangent vectors, against exact products."""

import math

import pytest
import torch

from rnnscope.numerics.tangent import MOST_CANCELLATION, TangentFrame

DOUBLE = torch.float64


def normal(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=DOUBLE)


def test_growths_are_those_of_the_exact_product() -> None:
    jacobians = normal(6, 2, 4, 4)
    basis = normal(2, 4, 4, seed=1)
    product = torch.linalg.qr(basis)[0]
    for jacobian in jacobians:
        product = jacobian @ product
    exact = torch.linalg.qr(product)[1].diagonal(dim1=-2, dim2=-1).abs().log()
    for interval in (None, 1, 3, 10):
        torch.testing.assert_close(TangentFrame(basis, interval).advance(jacobians), exact, rtol=1e-9, atol=1e-9)


def test_blocks_add_up() -> None:
    jacobians = normal(50, 3, 5, 5)
    whole, parts = TangentFrame(normal(3, 5, 2), None), TangentFrame(normal(3, 5, 2), None)
    total = whole.advance(jacobians)
    torch.testing.assert_close(sum(parts.advance(piece) for piece in jacobians.split(7)), total)
    assert (whole.num_steps, parts.num_steps) == (50, 50)


def test_the_interval_grows_where_conditioning_allows_and_shrinks_where_not() -> None:
    turn = torch.linalg.qr(normal(1, 4, 4))[0]
    steep = turn @ torch.diag(torch.tensor([1.0, 0.1, 0.01, 0.001], dtype=DOUBLE)) @ normal(1, 4, 4, seed=2)
    easy, hard = TangentFrame(normal(1, 4, 4)), TangentFrame(normal(1, 4, 4))
    for _ in range(20):
        easy.advance(turn.expand(64, 1, 4, 4))
        hard.advance(steep.expand(64, 1, 4, 4))
    assert easy.interval == 64
    assert hard.num_steps / hard.num_factorisations < 4
    assert hard.worst_cancellation <= MOST_CANCELLATION


def test_neither_overflow_nor_underflow_is_taken_for_a_growth() -> None:
    for scale in (1e100, 1e-100):
        frame = TangentFrame(normal(1, 3, 3))
        total = sum(frame.advance(scale * torch.eye(3, dtype=DOUBLE).expand(64, 1, 3, 3)) for _ in range(4))
        torch.testing.assert_close(total, torch.full((1, 3), 256 * math.log(scale), dtype=DOUBLE))


def test_vectors_behind_the_rank_vanish_for_good_and_per_trajectory() -> None:
    frame = TangentFrame(normal(2, 4, 4))
    frame.start_counting()
    rows = torch.ones(2, 4, 1, dtype=DOUBLE)
    rows[0, 1:3] = 0  # two dead units in the first trajectory
    singular = (rows * normal(2, 4, 4, seed=3))[None]
    dense = normal(5, 2, 4, 4, seed=4)
    first, second = frame.advance(singular), frame.advance(dense)
    for growth in (first, second):
        assert torch.isneginf(growth[0, 2:]).all()
        assert torch.isfinite(growth[0, :2]).all()
        assert torch.isfinite(growth[1]).all()
    assert frame.alive.tolist() == [2, 4]
    product = torch.linalg.multi_dot([*dense.flip(0)[:, 0], singular[0, 0]])
    volume = torch.linalg.svdvals(product)[:2].log().sum()
    assert float((first + second)[0, :2].sum()) <= float(volume) + 1e-9  # no plane grows more than the two largest directions


def test_a_kernel_is_found_where_only_rounding_is_left_of_it() -> None:
    turn = torch.linalg.qr(normal(1, 5, 5))[0]
    rates = torch.diag(torch.tensor([1.0, 0.5, 1e-3, 0.0, 0.0], dtype=DOUBLE))
    jacobians = (turn @ rates @ turn.mT).expand(64, 1, 5, 5)
    frame = TangentFrame(normal(1, 5, 5))
    frame.advance(jacobians)  # aligned now: images of the last two vectors are short, not cancelled
    frame.start_counting()
    growth = frame.advance(jacobians)[0]
    torch.testing.assert_close(growth[:3].div(64).exp(), rates.diagonal()[:3], rtol=1e-6, atol=0)
    assert torch.isneginf(growth[3:]).all()


def test_nothing_is_left_of_a_zero_product() -> None:
    frame = TangentFrame(normal(1, 3, 2))
    frame.start_counting()
    for _ in range(2):
        assert torch.isneginf(frame.advance(torch.zeros(4, 1, 3, 3, dtype=DOUBLE))).all()


def test_a_jacobian_that_is_not_finite_is_an_error() -> None:
    with pytest.raises(ArithmeticError, match="not finite"):
        TangentFrame(normal(1, 2, 2)).advance(torch.full((3, 1, 2, 2), torch.inf, dtype=DOUBLE))
    with pytest.raises(ArithmeticError, match="product"):
        TangentFrame(normal(1, 2, 2), 10).advance(1e100 * torch.eye(2, dtype=DOUBLE).expand(10, 1, 2, 2))
