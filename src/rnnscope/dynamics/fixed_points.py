"""Fixed and slow points of h -> F(h, x) under one held input x."""

from collections import Counter
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Complex, Float, Int
from torch import Tensor

from rnnscope.core.driven import rounding
from rnnscope.core.equilibria import rest_equation
from rnnscope.core.errors import ConfigError
from rnnscope.core.system import DynamicalSystem
from rnnscope.dynamics.autonomous import AutonomousMap
from rnnscope.dynamics.certificate import Certificate, certify
from rnnscope.dynamics.linear_points import ExactPoints, on_border, solve_regions
from rnnscope.dynamics.search import Search
from rnnscope.dynamics.stability import Stability, stability
from rnnscope.dynamics.starts import default_starts, num_default_starts


@dataclass(frozen=True)
class SlowPoints:
    """Where the system nearly stands still without a fixed point: the residual falls no further, and is not zero.

    Attributes:
        points: (N, S). speed: q = ½|F(h) - h|², (N,). eigenvalues: of dF/dh there, (N, S).
    """

    points: Float[Tensor, "N S"]
    speed: Float[Tensor, " N"]
    eigenvalues: Complex[Tensor, "N S"]


@dataclass(frozen=True)
class FixedPoints:
    """Fixed points under a held input, each with its evidence; most often reached first.

    Attributes:
        points: h with F(h, x) = h, (N, S) float64.
        input: x, (X,).
        residual: largest |F(h) - h| over units, (N,). speed: q = ½|F(h) - h|², (N,).
        eigenvalues: of dF/dh, largest modulus first, (N, S). is_stable, num_unstable, kinds: see `Stability`.
        is_marginal: an eigenvalue of modulus 1: the linear part decides nothing (a line of fixed points, a bifurcation).
        certificate: proof of existence and uniqueness, up to rounding.
        num_starts: how many starts ended at each, (N,).
        slow_points: where the search came to rest without one.
        index_sum: Σ sign det(I - dF/dh). expected_index_sum: 1 where F is known to map a box into itself, else None.
            Necessary, not sufficient: with another sum some point is missing.
        is_continuum: so many starts ended at points of their own that these seem to be samples of a continuous set.
        searched: starts given or drawn. restarts: tried between what was found. failed: of both, how many ended nowhere.
        outcome: all this in words.
    """

    points: Float[Tensor, "N S"]
    input: Float[Tensor, " X"]
    residual: Float[Tensor, " N"]
    speed: Float[Tensor, " N"]
    eigenvalues: Complex[Tensor, "N S"]
    is_stable: Bool[Tensor, " N"]
    num_unstable: Int[Tensor, " N"]
    kinds: tuple[str, ...]
    is_marginal: Bool[Tensor, " N"]
    certificate: Certificate
    num_starts: Int[Tensor, " N"]
    slow_points: SlowPoints
    index_sum: int
    expected_index_sum: int | None
    is_continuum: bool
    searched: int
    restarts: int
    failed: int
    outcome: str

    def __len__(self) -> int:
        return len(self.points)


def find_fixed_points(
    system: DynamicalSystem,
    starts: Float[Tensor, "*N S"] | None = None,
    input: Float[Tensor, " X"] | None = None,
    *,
    num_starts: int | None = None,
    tolerance: float = 1e-12,
    max_iterations: int = 80,
    max_rounds: int = 8,
    slow_speed: float = 1e-4,
    rng: torch.Generator | None = None,
) -> FixedPoints:
    """Find the fixed points h = F(h, x) under one held input, and the slow points beside them.

    1. From all starts: Newton with a line search, then Levenberg-Marquardt where it is stuck, on the best equation that the
       system knows (a GRU's rests where h = n, whatever its gate; an LSTM's where c = i∘g/(1 - f)), in float64.
    2. Restarts from random combinations of what was found, and anywhere in the box where one is known: saddles lie between
       attractors. Repeated until two rounds in a row find nothing new.
    3. Every point that is returned stands still to `tolerance`, with a Newton correction that small; each has its
       eigenvalues and, where the second derivative is bounded, a certificate. Minima of the residual are slow points.
    4. Piecewise-linear systems (ReLU networks) are solved region by region as well: exactly, and completely where the regions
       are few enough.

    Args:
        starts: (N, S), or one state (S,). None: states visited under noise, and others around them (`default_starts`).
        input: x, (X,); zeros when None.
        num_starts: how many when `starts` is None; by default 1024, fewer for more than 64 units.
        tolerance: of |F(h) - h|, relative to max(1, |h|); a step that works in float32 limits it to 2e-6. max_iterations: of each solver. max_rounds: of restarts.
        slow_speed: largest q = ½|F(h) - h|² at which a minimum is called a slow point.
        rng: of the default starts and the restarts; a fresh one seeded with 0 when None.

    Returns:
        `FixedPoints`. No points at all is a result, which `outcome` words.

    Raises:
        ShapeError: starts or an input that do not fit, or a step that returns another shape. ConfigError: a number out of range.

    Source: Sussillo & Barak (2013), Neural Computation 25, for the question; Katz & Reggia (2018) on its pitfalls.

    Example:
        >>> import torch, rnnscope as rs
        >>> bistable = rs.System(lambda h, x: torch.tanh(2 * h + x), state_size=1, input_size=1)
        >>> found = rs.find_fixed_points(bistable)
        >>> sorted(round(h, 4) for h in found.points.flatten().tolist())
        [-0.9575, 0.0, 0.9575]
    """
    if min(max_iterations, 1 if num_starts is None else num_starts) < 1 or max_rounds < 0 or tolerance <= 0 or slow_speed < 0:
        raise ConfigError(
            f"num_starts {num_starts}, max_iterations {max_iterations}, max_rounds {max_rounds}, tolerance {tolerance}",
            "counts >= 1, max_rounds >= 0, tolerance > 0, slow_speed >= 0",
            "change the argument that is out of range",
        )
    rng = rng if rng is not None else torch.Generator().manual_seed(0)
    map = AutonomousMap(system, input, device="cpu")
    check_weights(map.system)
    equation = rest_equation(map.system, map.input)
    if starts is None:
        begin = default_starts(map.system, num_starts or num_default_starts(equation.size), rng, map.input)
    else:
        begin = map.starts(starts)
    search = Search(equation, map, max_iterations, max(tolerance, 20 * rounding(map.system)))
    search.run(equation.reduce(begin))
    search.restart(begin, max_rounds, rng)
    exact = solve_regions(map.system, map.input, begin[:200], rng)
    if exact is not None:
        search.add(exact.points)
    return _result(search, len(begin), slow_speed, exact)


def check_weights(system: DynamicalSystem) -> None:
    """Refuse parameters that are not finite, by name."""
    for name, value in [*system.named_parameters(), *system.named_buffers()]:
        if not torch.isfinite(value).all():
            raise ConfigError(f"the weights '{name}' hold NaN or infinite values", "finite weights", "load other weights")


def _result(search: Search, searched: int, slow_speed: float, exact: ExactPoints | None) -> FixedPoints:
    order = search.counts.argsort(descending=True, stable=True)
    unknowns, counts = search.found[order], search.counts[order]
    points = search.equation.expand(unknowns)
    change = _change(search.map, points)
    stable = _stability(search.map, points)
    slow = _slow_points(search, slow_speed)
    index_sum = search.index_sum()
    expected = 1 if search.equation.is_boxed else None
    certificate = certify(search.equation, unknowns)
    if exact is not None:
        certificate, borders = exact.certify(points, stable.eigenvalues)
        stable = on_border(stable, borders)
    outcome = _words(search, searched, stable, certificate, index_sum, expected, len(slow.points), exact)
    return FixedPoints(
        points,
        search.map.input,
        change.abs().amax(1),
        _speed(change),
        stable.eigenvalues,
        stable.is_stable,
        stable.num_unstable,
        stable.kinds,
        stable.is_marginal,
        certificate,
        counts,
        slow,
        index_sum,
        expected,
        search.is_continuum(),
        searched,
        search.tried - searched,
        search.failed,
        outcome,
    )


def _change(map: AutonomousMap, points: Float[Tensor, "N S"]) -> Float[Tensor, "N S"]:
    """F(h) - h."""
    return map(points) - points if len(points) else points


def _stability(map: AutonomousMap, points: Float[Tensor, "N S"]) -> Stability:
    return stability(map.jacobians(points) if len(points) else points.new_zeros(0, map.state_size, map.state_size))


def _speed(change: Float[Tensor, "N S"]) -> Float[Tensor, " N"]:
    """q = ½|F(h) - h|²."""
    return 0.5 * change.square().sum(1)


def _slow_points(search: Search, slow_speed: float) -> SlowPoints:
    points = search.equation.expand(search.resting)
    speed = _speed(_change(search.map, points))
    slow = (speed <= slow_speed) & torch.isfinite(points).all(1)
    order = speed[slow].argsort()[:256]
    points, speed = points[slow][order], speed[slow][order]
    return SlowPoints(points, speed, _stability(search.map, points).eigenvalues)


def _words(
    search: Search,
    searched: int,
    stable: Stability,
    certificate: Certificate,
    index_sum: int,
    expected: int | None,
    num_slow: int,
    exact: ExactPoints | None,
) -> str:
    count = len(stable.kinds)
    tried = f"{searched} start{'s' if searched > 1 else ''} and {search.tried - searched} restarts"
    if not count:
        many = search.failed > search.tried // 2
        more = "; many starts did not converge: raise num_starts or max_iterations, or give starts near one" if many else ""
        return f"no fixed point found from {tried}{more}{_proof(exact)}"
    if search.is_continuum():
        return f"{count} fixed points from {tried}, nearly every start at one of its own: samples of a continuous set"
    words = [f"{count} fixed point{'s' if count > 1 else ''} from {tried}: {_groups(stable)}"]
    proved = int(certificate.is_certified.sum())
    if torch.isfinite(certificate.product).any():
        words.append("all certified" if proved == count else f"{proved} of {count} certified")
    else:
        words.append("not certified, since no bound on the second derivative of this system is known")
    if expected is not None:
        words.append(
            f"the index sum is {index_sum:+d} as it must be"
            if index_sum == expected
            else f"the index sum is {index_sum:+d} where it must be {expected:+d}: some point is missing; raise num_starts"
        )
    if num_slow:
        words.append(f"{num_slow} slow point{'s' if num_slow > 1 else ''} beside them")
    return "; ".join(words) + _proof(exact)


def _proof(exact: ExactPoints | None) -> str:
    if exact is None:
        return ""
    if exact.num_families:
        return f"; {exact.num_families} linear region{'s hold' if exact.num_families > 1 else ' holds'} a continuum of fixed points"
    return "; complete, since every linear region was solved" if exact.is_complete else ""


def _groups(stable: Stability) -> str:
    """How many of each: stable, with k unstable directions, marginal."""
    groups = Counter(
        "on a border of linear regions" if "border" in kind else "marginal" if "marginal" in kind
        else "stable" if k == 0 else f"with {k} unstable direction{'s' if k > 1 else ''}"
        for kind, k in zip(stable.kinds, stable.num_unstable.tolist(), strict=True)
    )  # fmt: skip
    return ", ".join(f"{groups[name]} {name}" for name in sorted(groups, key=lambda n: (n != "stable", n)))
