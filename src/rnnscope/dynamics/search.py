"""The two stages of a search for fixed points: from the starts, and between what was found."""

import torch
from jaxtyping import Float
from torch import Tensor

from rnnscope.core.equilibria import RestEquation
from rnnscope.dynamics.autonomous import AutonomousMap
from rnnscope.dynamics.certificate import certify
from rnnscope.dynamics.newton import KnownRoots, Solved, chunks, merge, solve
from rnnscope.dynamics.starts import default_starts, within_reach

FIRST = 192  # starts solved before the others
MOST_KNOWN = 200  # points whose balls are looked at on the way
WEAK = (-0.3, -0.1, -0.03, 0.03, 0.1, 0.3)  # steps, relative to max(1, |u|), along weak directions
RELAXATION, LOOK = 200, 20  # steps of the system itself before a restart, at most; and between two looks at
ARRIVED = 1e-6  # how far, relative to max(1, |h|), a state goes in one step that has arrived
SAME_SLOW = 1e-2  # distance, relative to max(1, |u|), within which two minima of the residual are one slow point
CROWD = 0.25  # share of converged starts that end at points of their own, from which a continuum is suspected


class Search:
    """The search for fixed points, and what it found so far, in the unknowns of the equation.

    Attributes:
        found: distinct points, (N, U). counts: starts that ended at each, (N,). resting: minima of the residual, (M, U).
        tried, failed: starts, and those that ended nowhere.
    """

    def __init__(self, equation: RestEquation, map: AutonomousMap, max_iterations: int, tolerance: float) -> None:
        self.equation, self.map = equation, map
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
        if not 0 < len(self.found) <= MOST_KNOWN or self.equation.for_proof(self.found)[0] is not self.equation:
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
        limit = 10 * self.tolerance * states.abs().amax(1).clamp_min(1)
        return solved.converged & ((self.map(states) - states).abs().amax(1) <= limit)

    def restart(self, starts: Float[Tensor, "N S"], max_rounds: int, rng: torch.Generator) -> None:
        """Along weak directions and from relaxed states; then rounds between what was found, until they bring nothing new."""
        num = max(32, len(starts) // 4)
        idle = rounds = 0
        if max_rounds and len(self.found) <= 256:
            weak = self._along_weak_directions()
            self.run(torch.cat([weak, self._relaxed(torch.cat([starts[:256], self.equation.expand(weak[:256])]))]))
        while rounds < 2 * max_rounds and len(self.found) <= 4096:
            boxed = self.equation.is_boxed
            settled = not boxed or self.index_sum() == 1
            # with the index sum as a witness one idle round is enough, without one two; against it four
            patience = (1 if boxed else 2) if settled else 4
            if (rounds >= max_rounds and settled) or idle >= patience or self.is_continuum():
                break
            fresh = self._between(num, rng)
            if not settled:  # something is missing: look elsewhere too
                wide = default_starts(self.map.system, num, rng, self.map.input, spread=1.0)
                fresh = torch.cat([fresh, self.equation.reduce(wide)])
            idle = 0 if self.run(fresh) else idle + 1
            rounds += 1

    def _along_weak_directions(self) -> Float[Tensor, "N U"]:
        """From each point both ways along the direction in which R hardly changes: there lies the partner of a near fold."""
        parts = [self.found[:0]]
        for points in chunks(self.found, self.equation.size):
            _, _, basis = torch.linalg.svd(self.equation.linearise(points)[1])
            size = points.norm(dim=1, keepdim=True).clamp_min(1)
            parts += [points + reach * size * basis[:, -1] for reach in WEAK]
        return torch.cat(parts)

    def _relaxed(self, states: Float[Tensor, "N S"]) -> Float[Tensor, "M U"]:
        """Where the system itself goes from states: near stable points that are narrow in the eyes of Newton's method."""
        ended = [states[:0]]
        for _ in range(RELAXATION // LOOK):
            before = self.map.advance(states, LOOK - 1)
            states = self.map(before)
            still = (states - before).abs().amax(1) <= ARRIVED * states.abs().amax(1).clamp_min(1)
            ended.append(states[still])
            states = states[~still]
            if not len(states):
                break
        return merge(self.equation.reduce(within_reach(torch.cat([*ended, states]))), 1e-4)[0]

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
        parts = chunks(self.found, self.equation.size)
        signs = [torch.linalg.slogdet(-self.equation.linearise(part)[1]).sign for part in parts]
        return round(float(torch.cat(signs).sum()))
