"""Entropic optimal transport between two clouds of points: the debiased Sinkhorn divergence and its gradient.

    OT_ε(x, y) = min_P Σ_ij P_ij C_ij + ε KL(P | a b'),   P1 = a, P'1 = b
    S_ε(x, y)  = OT_ε(x, y) - ½ OT_ε(x, x) - ½ OT_ε(y, y)

with C = ½|x-y|² and ε = blur² (p = 2), or C = |x-y| and ε = blur (p = 1), as in geomloss (Feydy, Séjourné, Vialard, Amari, Trouvé,
Peyré 2019, "Interpolating between optimal transport and MMD using Sinkhorn divergences", AISTATS). Potentials f, g maximise the dual

    OT_ε = <a, f> + <b, g>,   f_i = -ε log Σ_j b_j exp((g_j - C_ij)/ε),   g_j = -ε log Σ_i a_i exp((f_i - C_ij)/ε);

∂OT_ε/∂x_i = Σ_j P_ij ∂C_ij/∂x_i with P_ij = a_i b_j exp((f_i + g_j - C_ij)/ε), the envelope theorem.
"""

import math
from dataclasses import dataclass
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from rnnscope.numerics.sinkhorn_engines import Cloud, CompiledEngine, PlanEngine, TensorEngine, cloud

Accuracy = Literal["training", "balanced", "exact"]
TOLERANCES: dict[Accuracy, float] = {"training": 0.03, "balanced": 0.006, "exact": 1e-5}

_ANNEALING_OMEGA, _LAST_OMEGA, _CHUNK = 1.5, 1.85, 8  # the cheapest of 72 schedules for one-hot sequences at blur 0.2
_FAR = 1000.0  # spread of the cost over ε, from which levels are solved and not only passed
_LOG2E = 1.0 / math.log(2.0)


@dataclass(frozen=True)
class SelfTransport:
    """OT_ε of a cloud with itself: its potential (M,), its value 2<b, f>, and how well it converged."""

    potential: Tensor
    value: float
    marginal_error: float
    iterations: int
    converged: bool


@dataclass(frozen=True)
class Potentials:
    """Dual potentials in units of the cost: f (N,) on x and g (M,) on y, float64."""

    f: Tensor
    g: Tensor


@dataclass(frozen=True)
class SinkhornDivergence:
    """The outcome of `sinkhorn_divergence`.

    Attributes:
        value: scalar tensor in x's type; its `backward()` reaches x where x requires a gradient.
        marginal_error: the largest L1 error of a plan's marginals, over the terms (0 to 2; the plan's mass is 1).
        iterations: sweeps over the x-y cost, all levels. converged: stopped by the tolerance, in every term.
        potentials: of the x-y term, for `warm_start`. y_self: of the y-y term, for `y_self` (None without debias).
    """

    value: Tensor
    marginal_error: float
    iterations: int
    converged: bool
    potentials: Potentials
    y_self: SelfTransport | None


@dataclass(frozen=True)
class _Settings:
    eps: float
    p: int
    scaling: float
    tolerance: float
    max_iterations: int
    memory_limit: int
    threads: int
    engine: str


def sinkhorn_divergence(
    x: Float[Tensor, "N D"],
    y: Float[Tensor, "M D"],
    *,
    blur: float = 0.2,
    p: int = 2,
    x_weights: Float[Tensor, " N"] | None = None,
    y_weights: Float[Tensor, " M"] | None = None,
    accuracy: Accuracy = "balanced",
    tolerance: float | None = None,
    scaling: float = 0.35,
    max_iterations: int = 2000,
    warm_start: Potentials | None = None,
    y_self: SelfTransport | None = None,
    debias: bool = True,
    num_threads: int | None = None,
    memory_limit: int = 2 * 1024**3,
    engine: Literal["auto", "compiled", "tensor"] = "auto",
) -> SinkhornDivergence:
    """S_ε(x, y), differentiable in x (y is a constant), or OT_ε(x, y) without `debias`.

    Levels ε_k = spread · scaling^k > ε, one sweep each (up to 200 where spread > 1000 ε), then over-relaxed sweeps at ε until the marginals agree. For one-hot
    sequences flattened to (N, 3T), C is the number of mismatches; at blur 0.2 the plan is nearly a permutation.

    Args:
        x, y: points, float32 or float64, one device. Rows of zeros and ones (also within 1e-4) take a faster path.
        blur: √ε (p = 2) or ε (p = 1), in units of x; ε from 0.0025 to 25 is tested. p: 1 or 2.
        x_weights, y_weights: positive, normalised to sum 1; default uniform. Nothing flows back to them.
        accuracy: names a tolerance: "training" 0.03 (gradient some 10 % off at blur 0.2), "balanced" 0.006 (3 %), "exact" 1e-5.
        tolerance: stop at this L1 error of the marginals, that of a plain sweep, instead.
        scaling: ratio of neighbouring ε, in (0, 1). max_iterations: sweeps at the last ε; ends unconverged, not in an error.
        warm_start: potentials of an earlier call with the same y whose x has moved little: g is used, levels are skipped. With
            freshly drawn rows of x a cold start is faster at small blur. y_self: of an earlier call with the same y, y_weights,
            blur and p.
        debias: subtract the self terms. num_threads: of the compiled engine; default torch's.
        memory_limit: bytes for one cost matrix; the terms take turns. The compiled engine needs 2 N M (zeros and ones), 4 N M
            (float32) or 8 N M (float64) for p = 2, 8 to 16 N M for p = 1, and beside it some 10 (N + M) D and 2048 M a thread.
        engine: "compiled" (CPU), "tensor" (any device; recomputes the cost in row chunks above the limit), or by device.

    Raises:
        ValueError: what is wrong with x, y or an argument, and what to change.

    Example:
        >>> x = torch.zeros(1, 2, requires_grad=True)
        >>> result = sinkhorn_divergence(x, torch.tensor([[3.0, 4.0]]))
        >>> result.value.backward()
        >>> round(result.value.item(), 3), x.grad.tolist()
        (12.5, [[-3.0, -4.0]])
    """
    _check(x, y, blur, p, scaling, engine, accuracy)
    settings = _Settings(
        blur**p,
        p,
        scaling,
        TOLERANCES[accuracy] if tolerance is None else tolerance,
        max_iterations,
        memory_limit,
        num_threads or torch.get_num_threads(),
        engine if engine != "auto" else "compiled" if x.device.type == "cpu" else "tensor",
    )
    needs_gradient = x.requires_grad and torch.is_grad_enabled()
    source, target = _centred(x, y, x_weights, y_weights, p)
    f, g, pull, iterations, error, converged = _solve(_engine(source, target, settings), settings, warm_start, needs_gradient)
    value = float(source.weights @ f + target.weights @ g)
    if debias:
        own, own_pull = _solve_self(source, settings, needs_gradient)
        if y_self is not None and len(y_self.potential) != len(y):
            raise ValueError(f"y_self is of {len(y_self.potential)} rows, y has {len(y)}; give the result for the same y")
        y_self = y_self or _solve_self(target, settings, False)[0]
        value -= 0.5 * (own.value + y_self.value)
        error = max(error, own.marginal_error, y_self.marginal_error)
        converged = converged and own.converged and y_self.converged
        if pull is not None and own_pull is not None:
            pull = pull - own_pull
    scalar = torch.tensor(value, dtype=x.dtype, device=x.device)
    if pull is not None:
        scalar = _Attached.apply(x, scalar, pull.to(x))
    return SinkhornDivergence(scalar, error, iterations, converged, Potentials(f, g), y_self if debias else None)


def sinkhorn_loss(x: Float[Tensor, "N D"], y: Float[Tensor, "M D"], **options: Any) -> Float[Tensor, ""]:
    """The value of `sinkhorn_divergence(x, y, **options)` alone: `loss.backward()` gives the gradient in x."""
    return sinkhorn_divergence(x, y, **options).value


def self_transport(y: Float[Tensor, "M D"], *, blur: float = 0.2, p: int = 2, **options: Any) -> SelfTransport:
    """OT_ε(y, y), to be computed once and given as `y_self`. Options as in `sinkhorn_divergence`."""
    result = sinkhorn_divergence(y[:1].detach(), y.detach(), blur=blur, p=p, **options).y_self
    assert result is not None
    return result


class _Attached(torch.autograd.Function):
    """A value whose gradient in x is known already."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, value: Tensor, gradient: Tensor) -> Tensor:
        ctx.save_for_backward(gradient)
        return value.clone()

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, above: Tensor) -> tuple[Tensor, None, None]:
        (gradient,) = ctx.saved_tensors
        return above * gradient, None, None


def _solve(
    engine: PlanEngine, settings: _Settings, warm: Potentials | None, pulls: bool
) -> tuple[Tensor, Tensor, Tensor | None, int, float, bool]:
    """Anneal, over-relax, finish: f, g, pull on x, sweeps, marginal error, whether the tolerance was met."""
    f, g = engine.zeros()
    eps, level, done = settings.eps, engine.spread, 0
    if warm is not None:
        if warm.g.shape != g.shape:
            raise ValueError(f"warm_start.g has {len(warm.g)} entries, y has {len(g)} rows; give the potentials of the same y")
        g.copy_(warm.g)
        engine.fit(eps, f, g)
    while warm is None and level > eps:
        done += engine.sweep(level, f, g, _ANNEALING_OMEGA if done else 1.0, 1, 0.0)[0]
        # where costs dwarf ε, potentials that lag behind their level are never caught up with at the last one
        if engine.spread > _FAR * eps:
            done += engine.sweep(level, f, g, _LAST_OMEGA, 200, 0.02)[0]
        level *= max(settings.scaling, 0.5) if engine.spread > _FAR * eps else settings.scaling
    sweeps, converged = _converge(engine, settings, f, g)
    plan = engine.finish(eps, f, g, pulls)
    return plan.f, g, plan.pull, done + sweeps, plan.error, converged


def _converge(engine: PlanEngine, settings: _Settings, f: Tensor, g: Tensor) -> tuple[int, bool]:
    """Sweeps at the last ε until (2 - ω) times the rows' error, about what a plain sweep would leave, meets the tolerance.

    After a sweep over-relaxed by ω most of that error is overshoot: measured, the gradient's error goes with (2 - ω) of it.
    """
    eps, tolerance = settings.eps, settings.tolerance
    easy = eps > engine.spread / 8
    done, error = engine.sweep(eps, f, g, 1.0, 2 if easy else 1, tolerance)
    omega, last = _LAST_OMEGA, math.inf
    if easy:
        before = error
        sweeps, error = engine.sweep(eps, f, g, 1.0, 1, tolerance)
        done, omega = done + sweeps, _best_omega(1.0, error / before if before else 0.0)
    if error > tolerance:  # the first error under a new omega is still that of the old one
        done += engine.sweep(eps, f, g, omega, 1, 0.0)[0]
    while (2 - omega) * error > tolerance and done < settings.max_iterations:
        sweeps, error = engine.sweep(eps, f, g, omega, min(_CHUNK, settings.max_iterations - done), tolerance / (2 - omega))
        done += sweeps
        rate, last = (error / last) ** (1 / sweeps), error
        if rate > 1:
            omega, last = 1 + 0.7 * (omega - 1), math.inf
        elif rate > omega - 1 and (better := _best_omega(omega, rate)) > omega + 0.01:
            # errors before and after a change do not compare: the next chunk only sets a new mark
            omega, last = better, math.inf
    return done, (2 - omega) * error <= tolerance


def _best_omega(omega: float, rate: float) -> float:
    """The over-relaxation for a problem that shrinks by `rate` a sweep at `omega`: (λ+ω-1)² = λ ω² ρ, then 2/(1+√(1-ρ)).

    Young 1954; for Sinkhorn's iterations Thibault, Chizat, Dossal, Papadakis 2021. At most 1.96.
    """
    if rate <= 0:
        return omega
    rho = min((rate + omega - 1) ** 2 / (rate * omega**2), 0.9996)
    return 2 / (1 + math.sqrt(1 - rho))


def _solve_self(own: Cloud, settings: _Settings, pulls: bool) -> tuple[SelfTransport, Tensor | None]:
    engine = _engine(own, own, settings)
    f = engine.zeros()[0]
    done, error = engine.sweep_self(settings.eps, f, settings.max_iterations, settings.tolerance)
    plan = engine.finish(settings.eps, f, f, pulls)
    value = float(own.weights @ (plan.f + f))
    return SelfTransport(f, value, plan.error, done, error <= settings.tolerance), plan.pull


def _engine(x: Cloud, y: Cloud, settings: _Settings) -> PlanEngine:
    # exponents are s K + u + v: where the working type would round them by more than the tolerance, take the wider one
    s, binary = _LOG2E / settings.eps, x.bits is not None and y.bits is not None
    largest = max(float(z.half_squares.max()) for z in (x, y))
    if settings.p == 1:
        largest = math.sqrt(8 * largest)
    if s * largest * 2e-16 > 0.01:
        raise ValueError(f"blur**p is {settings.eps:.3g}, costs reach {largest:.3g}: beyond what float64 resolves; raise blur")
    rounding = s * largest * 6e-8 * (0.2 if binary else 2.0)
    real = torch.float64 if x.points.dtype == torch.float64 or rounding > settings.tolerance / 4 else torch.float32
    if settings.engine == "tensor":
        return TensorEngine(x, y, settings.p, real, settings.memory_limit)
    rows, columns = len(x.points), len(y.points)
    size = 4 if real == torch.float32 else 8
    needed = rows * columns * ((2 if binary else size) if settings.p == 2 else size + (size if binary else 8))
    if needed > settings.memory_limit:
        raise ValueError(
            f"{rows} x {columns} rows need a matrix of {needed} bytes, memory_limit is {settings.memory_limit}; "
            'use fewer rows, raise memory_limit, or set engine="tensor", which recomputes it in parts'
        )
    return CompiledEngine(x, y, settings.p, real, settings.threads)


def _centred(x: Tensor, y: Tensor, x_weights: Tensor | None, y_weights: Tensor | None, p: int) -> tuple[Cloud, Cloud]:
    """Both clouds, moved by the mean of y unless they hold zeros and ones: distances stay, rounding of products shrinks."""
    a, b = _weights(x_weights, x, "x_weights"), _weights(y_weights, y, "y_weights")
    first, second = cloud(x, a), cloud(y, b)
    if first.bits is not None and second.bits is not None:
        return first, second
    middle = y.detach().mean(0)
    return cloud(x.detach() - middle, a), cloud(y.detach() - middle, b)


def _weights(weights: Tensor | None, points: Tensor, name: str) -> Tensor:
    if weights is None:
        return torch.full((len(points),), 1.0 / len(points), dtype=torch.float64, device=points.device)
    if weights.shape != points.shape[:1] or not bool((weights > 0).all()) or not bool(weights.isfinite().all()):
        raise ValueError(f"{name} must be {len(points)} positive numbers, one a row; found shape {tuple(weights.shape)}")
    wide = weights.detach().double()
    return wide / wide.sum()


def _check(x: Tensor, y: Tensor, blur: float, p: int, scaling: float, engine: str, accuracy: str) -> None:
    for name, points in (("x", x), ("y", y)):
        if points.ndim != 2 or not points.shape[0] or not points.shape[1]:
            raise ValueError(f"{name} has shape {tuple(points.shape)}, expected (rows, features), neither of them 0")
        if points.dtype not in (torch.float32, torch.float64):
            raise ValueError(f"{name} is {points.dtype}, expected float32 or float64; convert it with {name}.float()")
        if not math.isfinite(float(points.detach().sum())) and not bool(points.detach().isfinite().all()):
            raise ValueError(f"{name} has entries that are NaN or infinite; drop those rows")
    if x.shape[1] != y.shape[1] or x.dtype != y.dtype or x.device != y.device:
        raise ValueError(
            f"x is {tuple(x.shape)} {x.dtype} on {x.device}, y is {tuple(y.shape)} {y.dtype} on {y.device}; "
            "features, type and device must agree"
        )
    if not (math.isfinite(blur) and blur > 0):
        raise ValueError(f"blur is {blur}, expected a positive number")
    if p not in (1, 2):
        raise ValueError(f"p is {p}, expected 1 or 2")
    if not 0 < scaling < 1:
        raise ValueError(f"scaling is {scaling}, expected a number between 0 and 1, such as 0.5")
    if accuracy not in TOLERANCES:
        raise ValueError(f'accuracy is "{accuracy}", expected one of {", ".join(TOLERANCES)}')
    if engine not in ("auto", "compiled", "tensor") or (engine == "compiled" and x.device.type != "cpu"):
        raise ValueError(f'engine is "{engine}" and x is on {x.device}; "compiled" needs the CPU, "tensor" runs anywhere')
