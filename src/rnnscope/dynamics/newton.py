"""Roots of many small systems at once: Newton with a line search, then Levenberg-Marquardt where that is stuck."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from rnnscope.core.equilibria import RestEquation

ELEMENTS = 1_000_000  # of the Jacobians in memory at once: about what the processor's cache and malloc's reuse favour
FAR = 1e8  # an unknown beyond this is on its way to infinity, where relative errors vanish and no root is
NEIGHBOURHOOD = 0.03  # relative to max(1, |u|)
PATIENCE = 8  # iterations in which the squared residual must halve
SETTLED = 1e-3  # relative gradient below which a stuck row is at a minimum of |R|
REST = 0.99  # a stuck row whose |R|² stays above so much of what it was `PATIENCE` iterations ago is given up


@dataclass(frozen=True)
class Solved:
    """Where each start went.

    Attributes:
        unknowns: (N, U). residual: largest |R_i|, (N,). correction: |J⁻¹ R|, the distance that Newton would still go, (N,).
        converged: residual and correction small. iterations: done, (N,). captured: the known root whose ball was entered, -1: none, (N,).
        at_rest: not converged, but at a minimum of |R|: JᵀR = 0 to within `SETTLED` of |R| and the largest |J| on the
            way, in the box where there is one.
    """

    unknowns: Float[Tensor, "N U"]
    residual: Float[Tensor, " N"]
    correction: Float[Tensor, " N"]
    converged: Bool[Tensor, " N"]
    iterations: Int[Tensor, " N"]
    at_rest: Bool[Tensor, " N"]
    captured: Int[Tensor, " N"]


@dataclass(frozen=True)
class KnownRoots:
    """Roots found before, and a ball around each in which it is proved to be the only one: (K, U) and (K,), 0 where nothing is proved."""

    unknowns: Float[Tensor, "K U"]
    radii: Float[Tensor, " K"]

    def capture(self, unknowns: Float[Tensor, "N U"]) -> Int[Tensor, " N"]:
        """The root whose ball each row lies in, -1: none."""
        inside = torch.cdist(unknowns, self.unknowns) < self.radii
        return torch.where(inside.any(1), inside.double().argmax(1), -1)


@torch.no_grad()
def solve(
    equation: RestEquation,
    starts: Float[Tensor, "N U"],
    *,
    max_iterations: int = 80,
    tolerance: float = 1e-12,
    known: KnownRoots | None = None,
) -> Solved:
    """Solve R(u) = 0 from many starts.

    Newton's step J δ = -R, no longer than the cap below, is halved until |R|² falls; steps are cut at the equation's box. A row
    whose |R|² has not halved within `PATIENCE` iterations goes on with Levenberg-Marquardt, (JᵀJ + μ I) δ = -JᵀR, μ by the
    gain ratio (Nielsen 1999), until it converges or comes to rest at a minimum of |R|.

    Args:
        starts: u_0, (N, U). max_iterations: of each of the two. tolerance: of the largest |R_i|, relative to max(1, |u|).
        known: roots found before; a row that enters the ball of one ends there, which saves its last iterations.

    Returns:
        `Solved`, row by row as the starts.
    """
    rows = _Rows(_inside(equation, starts.double().clone()), known)
    stuck = _newton(equation, rows, max_iterations, tolerance)
    # stuck rows lie close together, in slow regions: one of each neighbourhood goes on, the others share its end
    _, label = merge(rows.unknowns[stuck], NEIGHBOURHOOD)
    first = torch.full((int(label.max()) + 1 if len(label) else 0,), len(stuck)).scatter_reduce(
        0, label, torch.arange(len(stuck)), "amin"
    )
    resting = _levenberg_marquardt(equation, rows, stuck[first], max_iterations, tolerance)
    rows.unknowns[stuck], resting[stuck] = rows.unknowns[stuck[first[label]]], resting[stuck[first[label]]]
    open_rows = (~torch.isfinite(rows.correction)).nonzero()[:, 0]
    rows.residual[open_rows], rows.correction[open_rows] = _evidence(equation, rows.unknowns[open_rows])
    size = rows.unknowns.abs().amax(1).clamp_min(1)
    converged = (rows.residual <= tolerance * size) & (rows.correction <= 1e-6 * size) & (size < FAR)
    resting &= ~converged & torch.isfinite(rows.residual)
    return Solved(rows.unknowns, rows.residual, rows.correction, converged, rows.iterations, resting, rows.captured)


class _Rows:
    """The iterates and what is known of them."""

    def __init__(self, unknowns: Tensor, known: KnownRoots | None) -> None:
        count = len(unknowns)
        self.unknowns, self.known = unknowns, known
        self.iterations = torch.zeros(count, dtype=torch.long)
        self.captured = torch.full((count,), -1)
        self.steepest = torch.zeros(
            count, dtype=torch.float64
        )  # largest |J| on the way: near a minimum of a single unknown J vanishes
        self.residual = torch.full((count,), torch.inf, dtype=torch.float64)
        self.correction = self.residual.clone()

    def capture(self, rows: Tensor) -> Tensor:
        """Which of these rows entered the ball of a known root; they are put on it."""
        if self.known is None:
            return torch.zeros(len(rows), dtype=torch.bool)
        label = self.known.capture(self.unknowns[rows])
        inside = label >= 0
        self.captured[rows[inside]] = label[inside]
        self.unknowns[rows[inside]] = self.known.unknowns[label[inside]]
        self.residual[rows[inside]] = self.correction[rows[inside]] = 0.0
        return inside


def merge(points: Float[Tensor, "N U"], tolerance: float = 1e-7) -> tuple[Float[Tensor, "M U"], Int[Tensor, " N"]]:
    """One point for all that lie within `tolerance` max(1, |u|) of each other, and which one each became."""
    labels = torch.full((len(points),), -1, dtype=torch.long)
    kept: list[int] = []
    open_rows = torch.arange(len(points))
    while len(open_rows):
        first = open_rows[0]
        gap = (points[open_rows] - points[first]).norm(dim=1)
        close = gap <= tolerance * points[first].norm().clamp_min(1)
        labels[open_rows[close]] = len(kept)
        kept.append(int(first))
        open_rows = open_rows[~close]
    return points[kept], labels


def chunks(rows: Tensor, size: int) -> tuple[Tensor, ...]:
    """Row numbers in pieces whose Jacobians fit."""
    return rows.split(max(1, ELEMENTS // (size * size)))


def solve_linear(matrices: Float[Tensor, "N U U"], vectors: Float[Tensor, "N U"]) -> Float[Tensor, "N U"]:
    """A⁻¹ b; NaN or infinite in rows where A is singular."""
    found, _ = torch.linalg.solve_ex(matrices, vectors[:, :, None])
    return found[:, :, 0]


def _inside(equation: RestEquation, unknowns: Tensor) -> Tensor:
    if equation.lower is None or equation.upper is None:
        return unknowns
    return unknowns.clamp(equation.lower.to(unknowns), equation.upper.to(unknowns))


def _energy(equation: RestEquation, unknowns: Tensor) -> Tensor:
    return torch.nan_to_num(equation.residual(unknowns).square().sum(1), nan=torch.inf)


def _newton(equation: RestEquation, state: _Rows, max_iterations: int, tolerance: float) -> Tensor:
    """Move the rows; returns the numbers of those that did not converge."""
    unknowns, iterations = state.unknowns, state.iterations
    active = torch.arange(len(unknowns))
    best = torch.full((len(unknowns),), torch.inf, dtype=torch.float64)
    since = torch.zeros(len(unknowns), dtype=torch.long)
    stuck: list[Tensor] = []
    for _ in range(max_iterations):
        kept = []
        for rows in chunks(active, equation.size):
            here = unknowns[rows]
            residual, jacobian = equation.linearise(here)
            energy = residual.square().sum(1)
            state.steepest[rows] = torch.maximum(
                state.steepest[rows], torch.linalg.vector_norm(jacobian, dim=(1, 2)).nan_to_num()
            )
            step = torch.nan_to_num(solve_linear(jacobian, -residual), nan=0.0, posinf=0.0, neginf=0.0)
            largest = residual.abs().amax(1)
            moved, lower = _backtrack(equation, here, step, energy)
            # converged: the residual is small and the last step does not lower it further, or hardly moves
            done = (largest <= tolerance * here.abs().amax(1).clamp_min(1)) & (step.norm(dim=1) <= 1e-7)
            unknowns[rows] = torch.where((lower < energy)[:, None], moved, here)
            iterations[rows] += 1
            halved = torch.minimum(lower, energy) < 0.5 * best[rows]
            since[rows] = torch.where(halved, 0, since[rows] + 1)
            best[rows] = torch.where(halved, torch.minimum(lower, energy), best[rows])
            hopeless = ~done & ((since[rows] >= PATIENCE) | ~(lower < energy))
            tiny = hopeless & (
                largest <= tolerance * here.abs().amax(1).clamp_min(1)
            )  # at the floor of rounding: as good as done
            stuck.append(rows[hopeless & ~tiny])
            state.residual[rows[done]], state.correction[rows[done]] = largest[done], step.norm(dim=1)[done]
            going = rows[~done & ~hopeless]
            kept.append(going[~state.capture(going)])
        active = torch.cat(kept)
        if not len(active):
            break
    if len(state.steepest):  # a row that begins at a minimum has seen no slope of its own
        state.steepest.clamp_min_(float(state.steepest.median()))
    return torch.cat([*stuck, active])


def _backtrack(equation: RestEquation, here: Tensor, step: Tensor, energy: Tensor) -> tuple[Tensor, Tensor]:
    """The longest of the steps t δ, t = 1, 1/2, … 1/128, capped, that lowers the squared residual."""
    cap = 0.3 * here.shape[1] ** 0.5 * here.abs().amax(1).clamp_min(1)
    scale = (cap / step.norm(dim=1).clamp_min(1e-300)).clamp_max(1)
    moved = _inside(equation, here + scale[:, None] * step)
    lower = _energy(equation, moved)
    for _ in range(7):
        worse = (~(lower < energy)).nonzero()[:, 0]
        if not len(worse):
            break
        scale[worse] *= 0.5
        trial = _inside(equation, here[worse] + scale[worse, None] * step[worse])
        moved[worse], lower[worse] = trial, _energy(equation, trial)
    return moved, lower


def _levenberg_marquardt(equation: RestEquation, state: _Rows, rows: Tensor, max_iterations: int, tolerance: float) -> Tensor:
    """Move the given rows; returns which of all rows came to rest."""
    unknowns, iterations, steepest = state.unknowns, state.iterations, state.steepest
    resting = torch.zeros(len(unknowns), dtype=torch.bool)
    record = torch.full((len(unknowns),), torch.inf, dtype=torch.float64)
    since = torch.zeros(len(unknowns), dtype=torch.long)
    damping = torch.full((len(unknowns),), 1e-3, dtype=torch.float64)
    growth = torch.full((len(unknowns),), 2.0, dtype=torch.float64)
    for _ in range(max_iterations):
        kept = []
        for part in chunks(rows, equation.size):
            here = unknowns[part]
            residual, jacobian = equation.linearise(here)
            energy = residual.square().sum(1)
            gradient = (jacobian.mT @ residual[:, :, None])[:, :, 0]
            scale = jacobian.square().sum((1, 2)).sqrt()
            steepest[part] = torch.maximum(steepest[part], scale)
            weight = steepest[part].square() / equation.size
            flat = _projected(equation, here, gradient).norm(dim=1) <= SETTLED * steepest[part] * energy.sqrt()
            done = residual.abs().amax(1) <= tolerance * here.abs().amax(1).clamp_min(1)
            normal = jacobian.mT @ jacobian
            normal.diagonal(dim1=1, dim2=2).add_((damping[part] * weight)[:, None])
            step = torch.nan_to_num(solve_linear(normal, -gradient), nan=0.0, posinf=0.0, neginf=0.0)
            moved = _inside(equation, here + step)
            lower = _energy(equation, moved)
            predicted = 0.5 * (step * (damping[part] * weight)[:, None] * step - step * gradient).sum(1)
            gain = 0.5 * (energy - lower) / predicted.clamp_min(1e-300)
            better = lower < energy
            unknowns[part] = torch.where(better[:, None], moved, here)
            factor = (1 - (2 * gain - 1) ** 3).clamp_min(1 / 3)
            damping[part] *= torch.where(better, factor, growth[part])
            growth[part] = torch.where(better, 2.0, 2 * growth[part])
            iterations[part] += 1
            fell = torch.minimum(lower, energy) < REST * record[part]
            since[part] = torch.where(fell, 0, since[part] + 1)
            record[part] = torch.where(fell, torch.minimum(lower, energy), record[part])
            finished = done | flat | (damping[part] > 1e12) | (since[part] >= PATIENCE)
            resting[part] = flat & ~done
            kept.append(part[~finished])
        rows = torch.cat(kept) if kept else rows[:0]
        if not len(rows):
            break
    return resting


def _projected(equation: RestEquation, here: Tensor, gradient: Tensor) -> Tensor:
    """The gradient without what would lead out of the box."""
    if equation.lower is None or equation.upper is None:
        return gradient
    outward = ((here <= equation.lower) & (gradient > 0)) | ((here >= equation.upper) & (gradient < 0))
    return gradient.masked_fill(outward, 0)


def _evidence(equation: RestEquation, unknowns: Tensor) -> tuple[Tensor, Tensor]:
    residuals, corrections = [], []
    for part in unknowns.split(max(1, ELEMENTS // (equation.size * equation.size))):
        residual, jacobian = equation.linearise(part)
        residuals.append(residual.abs().amax(1))
        corrections.append(_correction(jacobian, residual))
    return torch.cat(residuals), torch.cat(corrections)


def _correction(jacobian: Float[Tensor, "N U U"], residual: Float[Tensor, "N U"]) -> Float[Tensor, " N"]:
    """|J⁻¹ R|; along directions in which J is singular, on a continuum of solutions say, there is nothing to correct."""
    found = torch.nan_to_num(solve_linear(jacobian, residual).norm(dim=1), nan=torch.inf)
    finite = torch.isfinite(jacobian).all((1, 2)) & torch.isfinite(residual).all(1)
    large = ((found > 1e-7) & finite).nonzero()[:, 0]
    if len(large):
        inverse = torch.linalg.pinv(jacobian[large], rtol=1e-8)
        found[large] = (inverse @ residual[large, :, None]).norm(dim=(1, 2))
    return found
