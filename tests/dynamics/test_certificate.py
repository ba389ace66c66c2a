"""The theorem of Newton and Kantorovich on equations whose roots and second derivatives are known exactly."""

import math

import pytest
import torch
from torch import Tensor

from rnnscope.core.equilibria import RestEquation
from rnnscope.dynamics.certificate import RADII, certify

DOUBLE = torch.float64


class Parabola(RestEquation):
    """u² - a = 0, whose second derivative is 2 everywhere: roots ±√a."""

    size = 1

    def __init__(self, constant: float, bend: float = 2.0) -> None:
        self.constant, self.bend = constant, bend

    def reduce(self, states: Tensor) -> Tensor:
        return states

    def expand(self, unknowns: Tensor) -> Tensor:
        return unknowns

    def residual(self, unknowns: Tensor) -> Tensor:
        return unknowns**2 - self.constant

    def linearise(self, unknowns: Tensor) -> tuple[Tensor, Tensor]:
        return self.residual(unknowns), 2 * unknowns[:, :, None]

    def curvature(self, unknowns: Tensor, radius: float) -> Tensor:
        return unknowns.new_full((len(unknowns),), self.bend)


def at(*values: float) -> Tensor:
    return torch.tensor(values, dtype=DOUBLE)[:, None]


def test_what_is_certified_is_true() -> None:
    places = torch.linspace(0.05, 3, 400, dtype=DOUBLE)[:, None]
    found = certify(Parabola(1.0), places)
    assert found.is_certified.any()
    assert not found.is_certified.all()
    for u, sure, near, alone in zip(
        places[:, 0].tolist(),
        found.is_certified.tolist(),
        found.existence_radius.tolist(),
        found.uniqueness_radius.tolist(),
        strict=True,
    ):
        if sure:
            assert abs(u - 1) <= near * (1 + 1e-9) + 1e-15
            assert abs(u + 1) >= alone * (1 - 1e-12)  # the other root lies outside
        else:
            assert math.isnan(near)
            assert math.isnan(alone)


@pytest.mark.parametrize("root", [1.0, 0.3, 0.02])
def test_at_a_root_the_numbers_are_those_of_the_theorem(root: float) -> None:
    found = certify(Parabola(root**2), at(root))
    assert found.is_certified.all()
    assert float(found.existence_radius) == 0
    assert float(found.product) == 0
    # 2/(β K) = 2 / (2/(2 root)) = 2 root, or the ball in which the bound holds
    assert float(found.uniqueness_radius) == pytest.approx(min(2 * root, RADII[0]))


def test_beside_a_root_the_product_is_that_of_the_theorem() -> None:
    u = 1.001
    found = certify(Parabola(1.0), at(u))
    beta, eta = 1 / (2 * u), (u * u - 1) / (2 * u)
    held = beta * eta * 2
    assert float(found.product) == pytest.approx(held)
    assert float(found.existence_radius) == pytest.approx((1 - math.sqrt(1 - 2 * held)) / (beta * 2))
    assert float(found.existence_radius) == pytest.approx(u - 1)  # a parabola leaves the theorem no slack


@pytest.mark.parametrize("constant", [-1e-6, -1.0])
def test_where_there_is_no_root_nothing_is_certified(constant: float) -> None:
    places = torch.linspace(-1, 1, 201, dtype=DOUBLE)[:, None]
    assert not certify(Parabola(constant), places).is_certified.any()


def test_a_double_root_cannot_be_certified() -> None:
    found = certify(Parabola(0.0), at(0.0, 1e-9))
    assert not found.is_certified[0]


def test_without_a_bound_nothing_is_certified() -> None:
    found = certify(Parabola(1.0, bend=math.inf), at(1.0, 0.5))
    assert not found.is_certified.any()
    assert not torch.isfinite(found.product[1])


def test_a_linear_equation_is_certified_in_the_largest_ball() -> None:
    found = certify(Parabola(1.0, bend=0.0), at(1.0))
    assert float(found.uniqueness_radius) == RADII[0]


def test_no_points_have_no_certificates() -> None:
    found = certify(Parabola(1.0), torch.zeros(0, 1, dtype=DOUBLE))
    assert found.is_certified.shape == (0,)
