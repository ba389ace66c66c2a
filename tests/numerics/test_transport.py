"""Laws of the Sinkhorn divergence, against a dense float64 solution that shares no code with it."""

import numpy as np
import pytest
import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from rnnscope.numerics.transport import (
    Potentials,
    SelfTransport,
    SinkhornDivergence,
    self_transport,
    sinkhorn_divergence,
    sinkhorn_loss,
)


def dense_transport(x: Tensor, y: Tensor, a: Tensor, b: Tensor, eps: float, p: int) -> Tensor:
    """OT_ε by annealed alternation in the log domain, then Newton's method on the dual to 1e-11; differentiable at the end."""
    cost = (
        ((x[:, None] - y[None]) ** 2).sum(-1) / 2 if p == 2 else ((x[:, None] - y[None]) ** 2).sum(-1).clamp_min(1e-30).sqrt()
    )
    fixed, f, g = cost.detach(), torch.zeros_like(a), torch.zeros_like(b)
    level = max(float(fixed.max()), eps)
    while True:
        for _ in range(20):
            f = -level * torch.logsumexp((g - fixed) / level + b.log(), 1)
            g = -level * torch.logsumexp((f[:, None] - fixed) / level + a.log()[:, None], 0)
        if level == eps:
            break
        level = max(level / 2, eps)

    def plan_of(f: Tensor, g: Tensor) -> Tensor:
        return a[:, None] * b * torch.exp((f[:, None] + g - fixed) / eps)

    def dual(f: Tensor, g: Tensor) -> float:
        return float(a @ f + b @ g - eps * (plan_of(f, g).sum() - 1))

    for _ in range(200):
        plan = plan_of(f, g)
        slope = torch.cat([a - plan.sum(1), b - plan.sum(0)])
        if float(slope.abs().sum()) < 1e-11:
            break
        curvature = torch.cat([torch.cat([plan.sum(1).diag(), plan], 1), torch.cat([plan.T, plan.sum(0).diag()], 1)]) / eps
        step = torch.linalg.pinv(curvature, hermitian=True) @ slope
        size = 1.0
        while size > 1e-8 and dual(f + size * step[: len(a)], g + size * step[len(a) :]) < dual(f, g) - 1e-15:
            size /= 2
        f, g = f + size * step[: len(a)], g + size * step[len(a) :]
    plan = plan_of(f, g)
    assert float((a - plan.sum(1)).abs().sum()) < 1e-8, "the reference did not converge"
    # the envelope theorem in autograd's hands: the plan is a constant, the cost is not
    return a @ f + b @ g + (plan * (cost - fixed)).sum()


def dense_divergence(
    x: Tensor, y: Tensor, eps: float, p: int, a: Tensor | None = None, b: Tensor | None = None
) -> tuple[float, Tensor]:
    x, y = x.detach().double().requires_grad_(), y.detach().double()
    a = torch.full((len(x),), 1 / len(x), dtype=torch.float64) if a is None else a
    b = torch.full((len(y),), 1 / len(y), dtype=torch.float64) if b is None else b
    value = (
        dense_transport(x, y, a, b, eps, p) - dense_transport(x, x, a, a, eps, p) / 2 - dense_transport(y, y, b, b, eps, p) / 2
    )
    (gradient,) = torch.autograd.grad(value, x)
    return float(value.detach()), gradient


def points(seed: int, rows: int = 40, features: int = 4, shift: float = 0.0) -> Tensor:
    return torch.from_numpy(np.random.default_rng(seed).normal(size=(rows, features)) + shift)


def sequences(seed: int, rows: int = 40, steps: int = 12, stay: float = 0.8) -> Tensor:
    """One-hot rows of a lazy walk over three symbols, flattened."""
    rng = np.random.default_rng(seed)
    symbols = np.empty((rows, steps), int)
    symbols[:, 0] = rng.integers(3, size=rows)
    for t in range(1, steps):
        symbols[:, t] = np.where(rng.random(rows) < stay, symbols[:, t - 1], rng.integers(3, size=rows))
    return torch.from_numpy(np.eye(3)[symbols].reshape(rows, -1))


def solved(x: Tensor, y: Tensor, **options) -> tuple[SinkhornDivergence, Tensor]:
    x = x.clone().requires_grad_()
    result = sinkhorn_divergence(x, y, **options)
    result.value.backward()
    assert x.grad is not None
    return result, x.grad


def relative(found: Tensor, expected: Tensor) -> float:
    return float((found.double() - expected.double()).norm() / expected.double().norm())


@pytest.mark.parametrize("engine", ["compiled", "tensor"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(("p", "blur"), [(2, 0.05), (2, 0.2), (2, 1.0), (2, 5.0), (1, 0.0025), (1, 0.2), (1, 25.0)])
def test_value_and_gradient_of_points_agree_with_a_dense_solution(engine, dtype, p, blur) -> None:
    x, y = points(0, 30), points(1, 37, shift=0.3)
    value, gradient = dense_divergence(x, y, blur**p, p)
    result, found = solved(x.to(dtype), y.to(dtype), p=p, blur=blur, accuracy="exact", engine=engine)
    assert float(result.value.detach()) == pytest.approx(value, rel=1e-3)
    assert relative(found, gradient) < 1e-2
    assert result.converged


@pytest.mark.parametrize("engine", ["compiled", "tensor"])
@pytest.mark.parametrize(("p", "blur"), [(2, 0.05), (2, 0.2), (2, 5.0), (1, 0.1)])
def test_value_and_gradient_of_sequences_agree_with_a_dense_solution(engine, p, blur) -> None:
    x, y = sequences(0).float(), sequences(1, stay=0.5).float()
    value, gradient = dense_divergence(x, y, blur**p, p)
    result, found = solved(x, y, p=p, blur=blur, accuracy="exact", engine=engine)
    assert float(result.value.detach()) == pytest.approx(value, rel=1e-3)
    assert relative(found, gradient) < 1e-2
    # what a straight-through estimate leaves of a one is nearly one
    near = x * (1 + 1e-6 * torch.arange(x.shape[1]).cos())
    assert float(sinkhorn_loss(near, y, p=p, blur=blur, accuracy="exact", engine=engine)) == pytest.approx(value, rel=1e-3)


def test_gradient_is_the_slope_of_the_value() -> None:
    x, y = points(2, 20), points(3, 25)
    _, gradient = solved(x, y, blur=0.5, tolerance=1e-10)
    direction = points(4, 20)
    step = 1e-4

    def value(sign: float) -> float:
        return float(sinkhorn_loss(x + sign * step * direction, y, blur=0.5, tolerance=1e-10))

    assert (value(1) - value(-1)) / (2 * step) == pytest.approx(float((gradient * direction).sum()), rel=1e-5)


@pytest.mark.parametrize(("accuracy", "limit"), [("training", 0.2), ("balanced", 0.05), ("exact", 1e-3)])
def test_named_accuracies_keep_their_gradient_error(accuracy, limit) -> None:
    x, y = sequences(5, 100, 20).float(), sequences(6, 100, 20, stay=0.6).float()
    _, gradient = dense_divergence(x, y, 0.04, 2)
    _, found = solved(x, y, accuracy=accuracy)
    assert relative(found, gradient) < limit


@pytest.mark.parametrize("make", [points, sequences])
@pytest.mark.parametrize("p", [1, 2])
def test_divergence_is_symmetric_nonnegative_and_zero_on_the_same_cloud(make, p) -> None:
    x, y = make(7), make(8)
    forth, back = (float(sinkhorn_loss(*pair, p=p, accuracy="exact")) for pair in ((x, y), (y, x)))
    assert forth == pytest.approx(back, rel=1e-4)
    assert forth > 0
    same, gradient = solved(x, x, p=p, tolerance=1e-9)
    assert abs(float(same.value.detach())) < 1e-6
    assert float(gradient.abs().max()) < 1e-4 / len(x)


def test_order_of_rows_does_not_matter() -> None:
    x, y = points(9), points(10)
    order = torch.from_numpy(np.random.default_rng(0).permutation(len(x)))
    value, gradient = solved(x, y, accuracy="exact")
    shuffled, moved = solved(x[order], y.flip(0), accuracy="exact")
    assert float(shuffled.value.detach()) == pytest.approx(float(value.value.detach()), rel=1e-5)
    assert relative(moved, gradient[order]) < 1e-3


@pytest.mark.parametrize("p", [1, 2])
def test_weights_count_like_repeated_rows_and_agree_with_a_dense_solution(p) -> None:
    x, y = points(11, 20), points(12, 30)
    counts = torch.arange(1, 21)
    weighted, gradient = solved(x, y, p=p, x_weights=counts.double(), accuracy="exact")
    repeated = sinkhorn_loss(x.repeat_interleave(counts, 0), y, p=p, accuracy="exact")
    assert float(weighted.value.detach()) == pytest.approx(float(repeated), rel=1e-3)
    a = counts.double() / counts.sum().double()
    value, expected = dense_divergence(x, y, 0.2**p, p, a)
    assert float(weighted.value.detach()) == pytest.approx(value, rel=1e-3)
    assert relative(gradient, expected) < 1e-2


def test_marginal_error_is_that_of_the_plan() -> None:
    x, y = points(13), points(14)
    result = sinkhorn_divergence(x, y, blur=0.3, accuracy="training", debias=False)
    cost = ((x[:, None] - y[None]) ** 2).sum(-1) / 2
    plan = torch.exp((result.potentials.f[:, None] + result.potentials.g - cost) / 0.09) / (len(x) * len(y))
    assert float((plan.sum(1) - 1 / len(x)).abs().sum()) < 1e-9
    assert result.marginal_error == pytest.approx(float((plan.sum(0) - 1 / len(y)).abs().sum()), rel=1e-6)


def test_results_do_not_depend_on_the_number_of_threads() -> None:
    x, y = sequences(15, 1300).float(), sequences(16, 700).float()
    one, first = solved(x, y, num_threads=1)
    two, second = solved(x, y, num_threads=2)
    assert float(one.value.detach()) == float(two.value.detach())
    assert torch.equal(first, second)


def test_a_recomputed_cost_gives_the_same_as_a_stored_one() -> None:
    x, y = points(17, 90), points(18, 80)
    stored, first = solved(x, y, engine="tensor")
    recomputed, second = solved(x, y, engine="tensor", memory_limit=30_000)
    assert float(stored.value.detach()) == pytest.approx(float(recomputed.value.detach()), rel=1e-9)
    assert relative(second, first) < 1e-9


def test_cached_self_term_and_warm_start_change_nothing_but_the_work() -> None:
    x, y = points(19), points(20)
    cold = sinkhorn_divergence(x, y, accuracy="exact")
    warm = sinkhorn_divergence(x, y, accuracy="exact", warm_start=cold.potentials, y_self=cold.y_self)
    assert float(warm.value) == pytest.approx(float(cold.value), rel=1e-5)
    assert warm.iterations < cold.iterations
    assert warm.y_self is cold.y_self
    alone = self_transport(y, accuracy="exact")
    assert cold.y_self is not None
    assert alone.value == pytest.approx(cold.y_self.value)


def test_single_rows_and_far_clouds_are_exact() -> None:
    x, y = torch.zeros(1, 3), torch.tensor([[3.0, 4.0, 0.0]])
    assert float(sinkhorn_loss(x, y)) == pytest.approx(12.5)
    assert float(sinkhorn_loss(x, y, p=1)) == pytest.approx(5.0)
    near, _ = solved(points(21), points(22), accuracy="exact")
    far, _ = solved(points(21).float() + 1000, points(22).float() + 1000, accuracy="exact")
    assert float(far.value.detach()) == pytest.approx(float(near.value.detach()), rel=1e-3)


@pytest.mark.parametrize("size", [1.0, 10.0, 100.0])
def test_costs_that_dwarf_the_blur_give_those_of_an_assignment(size) -> None:
    x, y = size * points(29, 200, 2).float(), size * points(30, 200, 2, shift=1.0).float()
    cost = (torch.cdist(x.double(), y.double()) ** 2 / 2).numpy()
    least = float(cost[linear_sum_assignment(cost)].mean())
    result = sinkhorn_divergence(x, y, blur=0.05, debias=False)
    assert result.converged
    assert least * (1 - 1e-4) <= float(result.value) <= least * (1 + 1e-4) + 0.0025 * np.log(200)


def test_too_few_iterations_end_unconverged_with_a_lower_value() -> None:
    x, y = sequences(23), sequences(24)
    short = sinkhorn_divergence(x, y, max_iterations=2, debias=False)
    full = sinkhorn_divergence(x, y, accuracy="exact", debias=False)
    assert not short.converged
    assert short.marginal_error > 0.01
    assert float(short.value) < float(full.value)  # with exact rows the dual value is a lower bound


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"memory_limit": 100}, "memory_limit"),
        ({"blur": -1.0}, "blur"),
        ({"blur": 1e-9}, "raise blur"),
        ({"p": 3}, "p is 3"),
        ({"scaling": 1.0}, "scaling"),
        ({"x_weights": -torch.ones(40)}, "x_weights"),
        ({"accuracy": "high"}, "accuracy"),
        ({"engine": "other"}, "engine"),
        ({"x": torch.full((40, 4), torch.nan).double()}, "x has entries that are NaN"),
        ({"y": torch.zeros(5, 3).double()}, "must agree"),
        ({"y_self": SelfTransport(torch.zeros(3), 0.0, 0.0, 1, True)}, "y_self is of 3 rows"),
        ({"warm_start": Potentials(torch.zeros(40), torch.zeros(3))}, "warm_start"),
        ({"x": torch.zeros(40, 4).int()}, "float32 or float64"),
        ({"x": torch.zeros(0, 4).double()}, "neither of them 0"),
    ],
)
def test_wrong_arguments_are_answered_in_words(change, words) -> None:
    given = {"x": points(25), "y": points(26)} | change
    with pytest.raises(ValueError, match=words):
        sinkhorn_divergence(given.pop("x"), given.pop("y"), **given)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_agrees_with_the_cpu() -> None:
    x, y = sequences(27).float(), sequences(28).float()
    here, gradient = solved(x, y, accuracy="exact")
    there, found = solved(x.cuda(), y.cuda(), accuracy="exact")
    assert float(there.value.detach()) == pytest.approx(float(here.value.detach()), rel=1e-4)
    assert relative(found.cpu(), gradient) < 1e-2
