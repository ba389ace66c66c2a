"""Fixed and slow points of h -> F(h, x) under one held input x."""

from collections import Counter
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Complex, Float, Int
from torch import Tensor

from rnnscope.core.driven import in_double, rounding
from rnnscope.core.equilibria import RestEquation, rest_equation
from rnnscope.core.errors import ConfigError
from rnnscope.core.jacobians import state_jacobians
from rnnscope.core.system import DynamicalSystem
from rnnscope.dynamics.certificate import Certificate, certify
from rnnscope.dynamics.linear_points import ExactPoints, on_border, solve_regions
from rnnscope.dynamics.newton import KnownRoots, Solved, merge, solve
from rnnscope.dynamics.stability import Stability, stability
from rnnscope.dynamics.starts import checked_input, checked_starts, default_starts

SAME_SLOW = 1e-2  # distance, relative to max(1, |u|), within which two minima of the residual are one slow point
WEAK = (-0.3, -0.1, -0.03, 0.03, 0.1, 0.3)  # steps, relative to max(1, |u|), along weak directions
FIRST = 192  # starts solved before the others
MOST_KNOWN = 200  # points whose balls are looked at on the way
RELAXATION = 200  # steps of the system itself before a restart
CROWD = 0.25  # share of converged starts that end at points of their own, from which a continuum is suspected


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
    held = checked_input(system, input)
    double = in_double(system).cpu().eval().requires_grad_(False)
    check_weights(double)
    equation = rest_equation(double, held)
    if starts is None:
        begin = default_starts(double, num_starts or max(64, min(1024, 65536 // equation.size)), rng, held)
    else:
        begin = checked_starts(system, starts)
    tolerance = max(tolerance, 20 * rounding(double))
    search = _Search(equation, double, held, max_iterations, tolerance)
    search.run(equation.reduce(begin))
    search.restart(begin, max_rounds, rng)
    exact = solve_regions(double, held, begin[:200], rng)
    if exact is not None:
        search.add(exact.points)
    return _result(search, len(begin), slow_speed, exact)


def check_weights(system: DynamicalSystem) -> None:
    """Refuse parameters that are not finite, by name."""
    for name, value in [*system.named_parameters(), *system.named_buffers()]:
        if not torch.isfinite(value).all():
            raise ConfigError(f"the weights '{name}' hold NaN or infinite values", "finite weights", "load other weights")


class _Search:
    """What was found so far."""

    def __init__(
        self, equation: RestEquation, system: DynamicalSystem, held: Tensor, max_iterations: int, tolerance: float
    ) -> None:
        self.equation, self.system, self.held = equation, system, held
        self.max_iterations, self.tolerance = max_iterations, tolerance
        self.found = torch.empty(0, equation.size, dtype=torch.float64)
        self.counts = torch.empty(0, dtype=torch.long)
        self.resting = self.found
        self.radii = torch.empty(0, dtype=torch.float64)
        self.failed = self.tried = 0

    def run(self, starts: Float[Tensor, "N U"]) -> int:
        """Solve from more starts, the first few apart: the balls of what they find shorten the way of the others."""
        before = len(self.found)
        first = FIRST if not before else 0
        for part in (starts[:first], starts[first:]):
            if len(part):
                self._run(part)
        return len(self.found) - before

    def _run(self, starts: Float[Tensor, "N U"]) -> None:
        solved = solve(self.equation, starts, max_iterations=self.max_iterations, tolerance=self.tolerance, known=self._known())
        caught = solved.captured[solved.captured >= 0]
        self.counts.index_add_(0, caught, torch.ones_like(caught))
        good = (solved.captured < 0) & self._stands_still(solved)
        self.found, labels = merge(torch.cat([self.found, solved.unknowns[good]]))
        counts = torch.cat([self.counts, torch.ones(int(good.sum()), dtype=torch.long)])
        self.counts = torch.zeros(len(self.found), dtype=torch.long).index_add_(0, labels, counts)
        self.resting, _ = merge(torch.cat([self.resting, solved.unknowns[solved.at_rest]]), SAME_SLOW)
        self.tried += len(starts)
        self.failed += int((~good & ~solved.at_rest & (solved.captured < 0)).sum())

    def _known(self) -> KnownRoots | None:
        """What is found, with half the radius in which each is certified to be alone; None where there is no such certificate."""
        if not 0 < len(self.found) <= MOST_KNOWN:
            return None
        if len(self.radii) != len(self.found):
            certificate = certify(self.equation, self.found)
            self.radii = torch.nan_to_num(0.5 * certificate.uniqueness_radius, nan=0.0)
        return KnownRoots(self.found, self.radii) if bool((self.radii > 0).any()) else None

    def add(self, points: Float[Tensor, "N S"]) -> None:
        """Fixed points known from elsewhere."""
        before = len(self.found)
        self.found, _ = merge(torch.cat([self.found, self.equation.reduce(points)]))
        self.counts = torch.cat([self.counts, self.counts.new_zeros(len(self.found) - before)])

    def _stands_still(self, solved: Solved) -> Tensor:
        """Converged, and a fixed point of the system's own step."""
        states = self.equation.expand(solved.unknowns)
        moved = self.system.step(states, self.held.expand(len(states), -1)).to(states)
        limit = 10 * self.tolerance * states.abs().amax(1).clamp_min(1)
        return solved.converged & ((moved - states).abs().amax(1) <= limit)

    def restart(self, starts: Float[Tensor, "N S"], max_rounds: int, rng: torch.Generator) -> None:
        """Rounds between what was found, until two in a row bring nothing new; twice as many where the index sum is wrong."""
        num = max(32, len(starts) // 4)
        idle = rounds = 0
        if max_rounds and len(self.found) <= 256:
            weak = self._along_weak_directions()
            self.run(torch.cat([weak, self._relaxed(torch.cat([starts[:256], self.equation.expand(weak[:256])]))]))
        while rounds < 2 * max_rounds and len(self.found) <= 4096:
            settled = not self.equation.is_boxed or self.index_sum() == 1
            if (rounds >= max_rounds and settled) or idle >= (2 if settled else 4) or self.is_continuum():
                break
            fresh = self._between(num, rng)
            if not settled:  # something is missing: look elsewhere too
                wide = default_starts(self.system, num, rng, self.held, spread=1.0)
                fresh = torch.cat([fresh, self.equation.reduce(wide)])
            idle = 0 if self.run(fresh) else idle + 1
            rounds += 1

    def _along_weak_directions(self) -> Float[Tensor, "N U"]:
        """From each point both ways along the direction in which R hardly changes: there lies the partner of a near fold."""
        parts = [self.found[:0]]
        for points in self.found.split(max(1, 1_000_000 // self.equation.size**2)):
            _, _, basis = torch.linalg.svd(self.equation.linearise(points)[1])
            size = points.norm(dim=1, keepdim=True).clamp_min(1)
            parts += [points + reach * size * basis[:, -1] for reach in WEAK]
        return torch.cat(parts)

    @torch.no_grad()
    def _relaxed(self, states: Float[Tensor, "N S"]) -> Float[Tensor, "M U"]:
        """Where the system itself goes from states: near stable points that are narrow in the eyes of Newton's method."""
        inputs = self.held.expand(len(states), -1)
        for _ in range(RELAXATION):
            states = self.system.step(states, inputs).to(states)
        kept = self.equation.reduce(states[torch.isfinite(states).all(1) & (states.abs().amax(1) < 1e8)])
        return merge(kept, 1e-4)[0]

    def _between(self, num: int, rng: torch.Generator) -> Float[Tensor, "N U"]:
        """Random combinations of two or three points found, and uniform points of the box, or around what was found."""
        pool = self.found if len(self.found) > 1 else torch.cat([self.found, self.resting])
        near = num * 3 // 4 if len(pool) > 1 else 0
        parts = []
        if near:
            corners = torch.randint(len(pool), (near, 3), generator=rng)
            weights = torch.rand(near, 3, generator=rng, dtype=torch.float64)
            weights[: near // 2, 2] = 0
            weights /= weights.sum(1, keepdim=True)
            parts.append((pool[corners] * weights[:, :, None]).sum(1))
        center, size = (
            (pool.mean(0), pool.abs().amax(0).clamp_min(1))
            if len(pool)
            else (torch.zeros(self.equation.size, dtype=torch.float64), 1.0)
        )
        wide = center + 2 * size * torch.randn(num - near, self.equation.size, generator=rng, dtype=torch.float64)
        if self.equation.lower is not None and self.equation.upper is not None:
            width = self.equation.upper - self.equation.lower
            inside = self.equation.lower + width * torch.rand(wide.shape, generator=rng, dtype=torch.float64)
            wide = torch.where(torch.isfinite(width), inside, wide)
        parts.append(wide)
        return torch.cat(parts)

    def is_continuum(self) -> bool:
        """Whether the starts ended at so many points of their own that these fill a set."""
        return len(self.found) > 64 and len(self.found) > CROWD * float(self.counts.sum())

    def index_sum(self) -> int:
        """Σ sign det(I - dF/dh)."""
        if not len(self.found):
            return 0
        parts = self.found.split(max(1, 1_000_000 // self.equation.size**2))
        signs = [torch.linalg.slogdet(-self.equation.linearise(part)[1]).sign for part in parts]
        return round(float(torch.cat(signs).sum()))


def _result(search: _Search, searched: int, slow_speed: float, exact: ExactPoints | None) -> FixedPoints:
    order = search.counts.argsort(descending=True, stable=True)
    unknowns, counts = search.found[order], search.counts[order]
    points = search.equation.expand(unknowns)
    residual, speed, jacobians = _at(search, points)
    stable = stability(jacobians)
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
        search.held,
        residual,
        speed,
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


@torch.no_grad()
def _at(search: _Search, points: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    inputs = search.held.expand(len(points), -1)
    change = search.system.step(points, inputs).to(points) - points if len(points) else points
    jacobians = (
        state_jacobians(search.system, points, inputs) if len(points) else points.new_zeros(0, points.shape[1], points.shape[1])
    )
    return change.abs().amax(1) if len(points) else points.new_zeros(0), 0.5 * change.square().sum(1), jacobians


def _slow_points(search: _Search, slow_speed: float) -> SlowPoints:
    points = search.equation.expand(search.resting)
    _, speed, _ = _at(search, points)
    slow = (speed <= slow_speed) & torch.isfinite(points).all(1)
    order = speed[slow].argsort()[:256]
    points, speed = points[slow][order], speed[slow][order]
    return SlowPoints(points, speed, stability(_at(search, points)[2]).eigenvalues)


def _words(
    search: _Search,
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
