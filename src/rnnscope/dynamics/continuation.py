"""Fixed points and cycles followed in one parameter, around folds, with their bifurcations.

The branch is the curve G(h, p) = F_p^k(h) - h = 0. Pseudo-arclength continuation steps along its tangent t and comes back to it
in the plane across, so that folds are no obstacle (Keller 1977; Kuznetsov section 10.2):

    [ G_h  G_p ]       [     G       ]
    [    t     ] δ = - [ t·(y - y_0) ],   y = (h / sqrt(S), p / width)
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Complex, Float
from torch import Tensor

from rnnscope.core.driven import BLOWN_UP
from rnnscope.core.errors import ConfigError, DataError
from rnnscope.core.system import DynamicalSystem
from rnnscope.dynamics.autonomous import AutonomousMap, check_counts
from rnnscope.dynamics.bifurcations import Bifurcation, crossings, describe_crossing
from rnnscope.dynamics.parameter_families import MapFamily, Parameter, SystemFamily, map_family
from rnnscope.dynamics.periodic_orbits import cycle_jacobian, shoot, solve_or_project

FIRST_STEP, SMALLEST_STEP = 1e-3, 1e-9
CLOSED_GAP, ROUNDING = 1e-12, 1e-15  # relative to 1 + |h|: after a step of Newton, and before any
LARGEST_TURN = 0.95  # cosine between successive tangents; sharper turns take shorter steps
BRACKET = 1e-10  # length of curve, in scaled units, to which a bifurcation is bracketed
BISECTIONS = 60
SETTLING = 1000


@dataclass(frozen=True)
class Branch:
    """A branch of fixed points (or cycles) over a parameter, in the order followed.

    Attributes:
        parameters: p, (N,); it turns round at folds. points: h (of a cycle: one of its points), (N, S).
        eigenvalues: of dF^k/dh, largest modulus first, (N, S). is_stable: all moduli < 1, (N,).
        bifurcations: in the order met. period: k.
        end: why the branch ends: "left the span", "closed", "left every bound", "step too small" or "most points".
    """

    parameters: Float[Tensor, " N"]
    points: Float[Tensor, "N S"]
    eigenvalues: Complex[Tensor, "N S"]
    is_stable: Bool[Tensor, " N"]
    bifurcations: tuple[Bifurcation, ...]
    period: int
    end: str

    @property
    def summary(self) -> str:
        """The branch in a line, then its bifurcations."""
        low, high = float(self.parameters.min()), float(self.parameters.max())
        what = "fixed points" if self.period == 1 else f"cycles of period {self.period}"
        head = f"{len(self.parameters)} {what} over [{low:.6g}, {high:.6g}], {int(self.is_stable.sum())} stable; {self.end}"
        return "\n".join([head, *(b.summary for b in self.bifurcations)])


def continue_fixed_point(
    system: DynamicalSystem | SystemFamily,
    *,
    start: Float[Tensor, " S"],
    span: tuple[float, float],
    parameter: Parameter = "input",
    direction: Float[Tensor, " X"] | None = None,
    input: Float[Tensor, " X"] | None = None,
    weights: Sequence[str] | None = None,
    period: int = 1,
    max_step: float = 0.02,
    max_points: int = 2000,
) -> Branch:
    """Follow a fixed point, or a cycle of `period` steps, from span[0] towards span[1], around folds, until it leaves the span.

    Args:
        system: a system, or a function p -> system that depends smoothly on p.
        start: a state near the fixed point (or a point of the cycle) at p = span[0], (S,); Newton finds it from there, or from where the orbit goes.
        span: p where the branch begins and the other end of the interval; span[0] > span[1] goes down.
        parameter, direction, input, weights: what p is, see `map_family`: the input level along a direction, or the gain of the
            recurrent weights.
        max_step: longest step, in units of the width of the span and of the root mean square state, > 0. Bifurcations nearer to
            each other than a step may be missed in pairs.
        max_points: >= 2.

    Returns:
        `Branch`. At a branch point the branch goes straight on; others start at bifurcation.point + ε bifurcation.direction.

    Raises:
        DataError: no fixed point near the start. ConfigError: an empty span or counts out of range. ShapeError: wrong lengths.

    Example:
        >>> import torch, rnnscope as rs
        >>> memory = rs.System(lambda h, x: torch.tanh(2 * h + x), state_size=1, input_size=1)
        >>> branch = continue_fixed_point(memory, start=torch.tensor([-1.0]), span=(-1.0, 1.0))
        >>> [(b.kind, round(b.parameter, 6)) for b in branch.bifurcations]
        [('fold', 0.53284), ('fold', -0.53284)]
    """
    check_counts(period=period, max_points=max_points - 1)
    if not (span[0] != span[1] and all(math.isfinite(p) for p in span) and max_step > 0):
        raise ConfigError(f"span {span}, max_step {max_step}", "two different finite numbers, a step > 0", "change them")
    curve = _Curve(map_family(system, parameter, direction=direction, input=input, weights=weights), period, span)
    first = curve.begin(start)
    points, found, end = _follow(curve, first, max_step, max_points)
    states, parameters = zip(*(curve.unscale(point.y) for point in points), strict=True)
    eigenvalues = torch.stack([point.eigenvalues for point in points])
    stable = (eigenvalues.abs() < 1).all(1)
    at = torch.tensor(parameters, dtype=torch.float64)
    return Branch(at, torch.stack(states), eigenvalues, stable, tuple(found), period, end)


@dataclass(frozen=True)
class _Point:
    y: Float[Tensor, " D"]
    tangent: Float[Tensor, " D"]
    jacobian: Float[Tensor, "S S"]
    eigenvalues: Complex[Tensor, " S"]


class _Curve:
    """G(y) = 0 in scaled unknowns y = (h / sqrt(S), p / width)."""

    def __init__(self, family: MapFamily, period: int, span: tuple[float, float]) -> None:
        self.family, self.period, self.span = family, period, span
        self.width = abs(span[1] - span[0])
        self.towards = math.copysign(1.0, span[1] - span[0])
        self._last: tuple[float, AutonomousMap] | None = None
        self.root = math.sqrt(self.map(span[0]).state_size)

    def begin(self, start: Tensor) -> _Point:
        """The point of the curve at span[0], tangent towards span[1]."""
        map = self.map(self.span[0])
        near = map.starts(start)[:1]
        near = torch.cat([near, map.advance(near, SETTLING)])  # Newton may miss a stable point that the orbit goes to
        points, gaps = shoot(map, map.orbits(near, self.period))
        closed = (gaps <= 1e-9).nonzero().flatten()
        if not len(closed):
            raise DataError(
                f"Newton from the start closes no orbit of period {self.period} at p = {self.span[0]}",
                "a start near one",
                "find it first, with find_fixed_points or find_cycles at that value",
            )
        points = points[closed[:1]]
        y = torch.cat([points[0, 0] / self.root, points.new_tensor([self.span[0] / self.width])])
        tangent = torch.linalg.svd(self.derivative(y)[0])[2][-1]
        facing = tangent * math.copysign(1.0, float(tangent[-1]) * self.towards)
        return self.point(y, facing)

    def unscale(self, y: Float[Tensor, " D"]) -> tuple[Float[Tensor, " S"], float]:
        return y[:-1] * self.root, float(y[-1]) * self.width

    def gap(self, state: Float[Tensor, " S"], p: float) -> Float[Tensor, " S"]:
        return self.map(p).advance(state[None], self.period)[0] - state

    def map(self, p: float) -> AutonomousMap:
        """The map at p; asked for again and again at the same p."""
        if self._last is None or self._last[0] != p:
            self._last = p, self.family(p)
        return self._last[1]

    def derivative(self, y: Float[Tensor, " D"]) -> tuple[Float[Tensor, "S D"], Float[Tensor, "S S"]]:
        """dG/dy, and dF^k/dh."""
        state, p = self.unscale(y)
        map = self.map(p)
        jacobian = cycle_jacobian(map.jacobians(map.orbits(state[None], self.period)[0]))
        small = 1e-5 * max(1.0, abs(p))
        slope = (self.gap(state, p + small) - self.gap(state, p - small)) / (2 * small)
        inner = jacobian - torch.eye(len(state)).to(jacobian)
        return torch.cat([inner * self.root, slope[:, None] * self.width], 1), jacobian

    def point(self, y: Float[Tensor, " D"], facing: Float[Tensor, " D"]) -> _Point:
        """The point with its tangent, on the side of `facing`, and its eigenvalues."""
        matrix, jacobian = self.derivative(y)
        ahead = torch.zeros_like(y)
        ahead[-1] = 1.0
        tangent = solve_or_project(torch.cat([matrix, facing[None]])[None], ahead[None])[0]
        tangent = tangent / tangent.norm() if float(tangent.norm()) > 0 else facing / facing.norm()
        eigenvalues = torch.linalg.eigvals(jacobian)
        eigenvalues = eigenvalues[eigenvalues.abs().argsort(descending=True)]
        return _Point(y, tangent, jacobian, eigenvalues)

    def correct(self, guess: Float[Tensor, " D"], across: Float[Tensor, " D"]) -> tuple[Float[Tensor, " D"] | None, int]:
        """The point of the curve in the plane through a guess across a direction, and Newton's iterations; None on failure."""
        y = guess
        for iteration in range(10):
            state, p = self.unscale(y)
            gap = self.gap(state, p)
            if not bool(torch.isfinite(gap).all()):
                return None, iteration
            if float(gap.abs().max()) <= (CLOSED_GAP if iteration else ROUNDING) * (1 + float(state.abs().max())):
                return y, iteration
            matrix = torch.cat([self.derivative(y)[0], across[None]])
            right = torch.cat([gap, (across @ (y - guess))[None]])
            y = y - solve_or_project(matrix[None], right[None])[0]
        return None, 10

    def at_parameter(self, near: Float[Tensor, " D"], p: float) -> Float[Tensor, " D"] | None:
        """The point of the curve at one value of p."""
        guess = near.clone()
        guess[-1] = p / self.width
        across = torch.zeros_like(near)
        across[-1] = 1.0
        return self.correct(guess, across)[0]


def _follow(curve: _Curve, first: _Point, max_step: float, max_points: int) -> tuple[list[_Point], list[Bifurcation], str]:
    points, step = [first], min(FIRST_STEP, max_step)
    found: list[Bifurcation] = []
    low, high = sorted(p / curve.width for p in curve.span)
    while len(points) < max_points:
        last = points[-1]
        y, iterations = curve.correct(last.y + step * last.tangent, last.tangent)
        new = None if y is None else curve.point(y, last.tangent)
        if new is None or float(new.tangent @ last.tangent) < LARGEST_TURN or float((new.y - last.y).norm()) > 2 * step:
            step /= 2
            if step < SMALLEST_STEP:
                return points, found, "step too small"
            continue
        outside = not low <= float(new.y[-1]) <= high
        if outside:
            edge = curve.at_parameter((new.y + last.y) / 2, (low if float(new.y[-1]) < low else high) * curve.width)
            new = new if edge is None else curve.point(edge, last.tangent)
        found += _between(curve, last, new)
        points.append(new)
        if outside:
            return points, found, "left the span"
        if float(new.y.abs().max()) * curve.root > BLOWN_UP:
            return points, found, "left every bound"
        if len(points) > 10 and float((new.y - first.y).norm()) < step and float(new.tangent @ first.tangent) > LARGEST_TURN:
            return points, found, "closed"
        step = min(max_step, step * (1.6 if iterations <= 3 else 1.0))
    return points, found, "most points"


def _between(curve: _Curve, left: _Point, right: _Point) -> list[Bifurcation]:
    """The bifurcations between two points of the curve, each located by bisection along it."""
    found: list[Bifurcation] = []
    turns = float(left.tangent[-1] * right.tangent[-1]) < 0
    for _ in range(len(left.eigenvalues) + 1):
        if _signs(left) == _signs(right):
            break
        near, far = _bisect(curve, left, right, _signs)
        found.append(_describe(curve, near, far, turns))
        left = far
    if turns and not any(
        one.kind == "fold" for one in found
    ):  # the eigenvalue touches 1 and goes back: a pitchfork from its arms
        touch = _describe(curve, *_bisect(curve, left, right, _heading), turns=False)
        found += [touch] if abs(touch.eigenvalue - 1) < 1e-4 else []
    return found


def _describe(curve: _Curve, near: _Point, far: _Point, turns: bool) -> Bifurcation:
    middle = (near.y + far.y) / 2
    state, p = curve.unscale(middle)
    error = abs(float(far.y[-1] - near.y[-1])) * curve.width / 2
    return describe_crossing(curve.derivative(middle)[1], p, error, state, turns)


def _signs(point: _Point) -> tuple[int, ...]:
    return crossings(point.eigenvalues)


def _heading(point: _Point) -> tuple[int, ...]:
    return (int(point.tangent[-1] > 0),)


def _bisect(curve: _Curve, left: _Point, right: _Point, test: Callable[[_Point], tuple[int, ...]]) -> tuple[_Point, _Point]:
    """Two near points of the curve between which the test changes."""
    across = right.y - left.y
    across = across / across.norm()
    for _ in range(BISECTIONS):
        y, _ = curve.correct((left.y + right.y) / 2, across)
        if y is None:
            break
        middle = curve.point(y, left.tangent)
        if test(middle) == test(left):
            left = middle
        else:
            right = middle
        if float((right.y - left.y).norm()) < BRACKET:
            break
    return left, right
