"""Roots of many small systems at once: Newton with a line search, then Levenberg-Marquardt where that is stuck."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from rnnscope.core.equilibria import RestEquation
from rnnscope.dynamics.starts import FAR

ELEMENTS = 1_000_000  # of the Jacobians in memory at once: about what the processor's cache and malloc's reuse favour
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
        # the largest |J| on the way: near a minimum of a single unknown J itself vanishes
        self.steepest = torch.zeros(count, dtype=torch.float64)
        self.residual = torch.full((count,), torch.inf, dtype=torch.float64)
        self.correction = self.residual.clone()

    def capture(self, rows: Tensor, here: Tensor, going: Tensor) -> Tensor:
        """Which of these rows, still going and now at `here`, entered the ball of a known root; they are put on it."""
        if self.known is None:
            return torch.zeros_like(going)
        label = self.known.capture(here)
        inside = (label >= 0) & going
        caught, label = rows[inside], label[inside]
        here[inside] = self.known.unknowns[label]
        self.captured[caught] = label
        self.residual[caught] = self.correction[caught] = 0.0
        return inside

    def leave(self, rows: Tensor, here: Tensor, steepest: Tensor, number: int) -> None:
        """These rows end where they are, after so many iterations."""
        self.unknowns[rows] = here
        self.steepest[rows] = steepest
        self.iterations[rows] += number


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
    """Rows, or their numbers, in pieces whose Jacobians (size, size) fit."""
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
    """Move the rows; returns the numbers of those that did not converge. What belongs to rows still going is kept side by side."""
    rows, here, steepest = torch.arange(len(state.unknowns)), state.unknowns.clone(), state.steepest.clone()
    best, since = torch.full_like(steepest, torch.inf), torch.zeros_like(rows)
    stuck: list[Tensor] = []
    for number in range(1, max_iterations + 1):
        moved, lower, energy, largest, length, steep = _joined([_newton_step(equation, p) for p in chunks(here, equation.size)])
        steepest = torch.maximum(steepest, steep)
        # converged: the residual is small and the last step does not lower it further, or hardly moves
        small = largest <= tolerance * here.abs().amax(1).clamp_min(1)
        done = small & (length <= 1e-7)
        fell, least = lower < energy, torch.minimum(lower, energy)
        here = torch.where(fell[:, None], moved, here)
        halved = least < 0.5 * best
        since, best = torch.where(halved, 0, since + 1), torch.where(halved, least, best)
        hopeless = ~done & ((since >= PATIENCE) | ~fell)
        going = ~(done | hopeless)
        going &= ~state.capture(rows, here, going)
        if bool(going.all()):
            continue
        stuck.append(rows[hopeless & ~small])  # a small residual is at the floor of rounding: as good as done
        state.residual[rows[done]], state.correction[rows[done]] = largest[done], length[done]
        state.leave(rows[~going], here[~going], steepest[~going], number)
        rows, here, steepest, best, since = (kept[going] for kept in (rows, here, steepest, best, since))
        if not len(rows):
            break
    state.leave(rows, here, steepest, max_iterations)
    if len(state.steepest):  # a row that begins at a minimum has seen no slope of its own
        state.steepest.clamp_min_(float(state.steepest.median()))
    return torch.cat([*stuck, rows])


def _newton_step(equation: RestEquation, here: Tensor) -> tuple[Tensor, ...]:
    """Where a step leads, |R|² there and here, the largest |R_i| here, the step's length, and |J|."""
    residual, jacobian = equation.linearise(here)
    energy = residual.square().sum(1)
    steep = torch.linalg.vector_norm(jacobian, dim=(1, 2)).nan_to_num()
    step = torch.nan_to_num(solve_linear(jacobian, -residual), nan=0.0, posinf=0.0, neginf=0.0)
    length = torch.linalg.vector_norm(step, dim=1)
    moved, lower = _backtrack(equation, here, step, length, energy)
    return moved, lower, energy, residual.abs().amax(1), length, steep


def _joined(parts: list[tuple[Tensor, ...]]) -> tuple[Tensor, ...]:
    return parts[0] if len(parts) == 1 else tuple(torch.cat(each) for each in zip(*parts, strict=True))


def _backtrack(equation: RestEquation, here: Tensor, step: Tensor, length: Tensor, energy: Tensor) -> tuple[Tensor, Tensor]:
    """The longest of the steps t δ, t = 1, 1/2, … 1/128, capped, that lowers the squared residual."""
    cap = 0.3 * here.shape[1] ** 0.5 * here.abs().amax(1).clamp_min(1)
    scale = (cap / length.clamp_min(1e-300)).clamp_max(1)
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
    resting = torch.zeros(len(state.unknowns), dtype=torch.bool)
    here, steepest, since = state.unknowns[rows], state.steepest[rows], torch.zeros_like(rows)
    record, damping = torch.full_like(steepest, torch.inf), torch.full_like(steepest, 1e-3)
    growth = torch.full_like(steepest, 2.0)
    for number in range(1, max_iterations + 1):
        if not len(rows):
            break
        parts = zip(*(chunks(each, equation.size) for each in (here, steepest, damping)), strict=True)
        moved, lower, energy, gain, largest, flat, steepest = _joined([_damped_step(equation, *part) for part in parts])
        done = largest <= tolerance * here.abs().amax(1).clamp_min(1)
        better, least = lower < energy, torch.minimum(lower, energy)
        here = torch.where(better[:, None], moved, here)
        damping = damping * torch.where(better, (1 - (2 * gain - 1) ** 3).clamp_min(1 / 3), growth)
        growth = torch.where(better, 2.0, 2 * growth)
        fell = least < REST * record
        since, record = torch.where(fell, 0, since + 1), torch.where(fell, least, record)
        finished = done | flat | (damping > 1e12) | (since >= PATIENCE)
        resting[rows] = flat & ~done
        if not bool(finished.any()):
            continue
        state.leave(rows[finished], here[finished], steepest[finished], number)
        kept = (rows, here, steepest, since, record, damping, growth)
        rows, here, steepest, since, record, damping, growth = (each[~finished] for each in kept)
    state.leave(rows, here, steepest, max_iterations)
    return resting


def _damped_step(equation: RestEquation, here: Tensor, steepest: Tensor, damping: Tensor) -> tuple[Tensor, ...]:
    """Where a damped step leads, |R|² there and here, the gain ratio, the largest |R_i|, whether JᵀR is 0, and the largest |J|."""
    residual, jacobian = equation.linearise(here)
    energy = residual.square().sum(1)
    gradient = (jacobian.mT @ residual[:, :, None])[:, :, 0]
    steepest = torch.maximum(steepest, torch.linalg.vector_norm(jacobian, dim=(1, 2)))
    shift = (damping * steepest.square() / equation.size)[:, None]
    flat = torch.linalg.vector_norm(_projected(equation, here, gradient), dim=1) <= SETTLED * steepest * energy.sqrt()
    normal = jacobian.mT @ jacobian
    normal.diagonal(dim1=1, dim2=2).add_(shift)
    step = torch.nan_to_num(solve_linear(normal, -gradient), nan=0.0, posinf=0.0, neginf=0.0)
    moved = _inside(equation, here + step)
    lower = _energy(equation, moved)
    predicted = 0.5 * (step * shift * step - step * gradient).sum(1)
    gain = 0.5 * (energy - lower) / predicted.clamp_min(1e-300)
    return moved, lower, energy, gain, residual.abs().amax(1), flat, steepest


def _projected(equation: RestEquation, here: Tensor, gradient: Tensor) -> Tensor:
    """The gradient without what would lead out of the box."""
    if equation.lower is None or equation.upper is None:
        return gradient
    outward = ((here <= equation.lower) & (gradient > 0)) | ((here >= equation.upper) & (gradient < 0))
    return gradient.masked_fill(outward, 0)


def _evidence(equation: RestEquation, unknowns: Tensor) -> tuple[Tensor, Tensor]:
    residuals, corrections = [], []
    for part in chunks(unknowns, equation.size):
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
