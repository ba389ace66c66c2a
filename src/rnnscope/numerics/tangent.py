"""Growth of tangent vectors under a product of Jacobians, by repeated QR with an interval chosen from the conditioning.

    V = J_{t+n} … J_{t+1} Q,   V = Q' R,   growth of direction k over these n steps: ln |R_kk|

(Benettin et al. 1980; Dieci & Van Vleck 1995). R_kk is found up to rounding of the size eps·m_k, where m_k is the magnitude of what
was added up on the way to it, so that its relative error is eps·m_k/|R_kk|. This cancellation grows exponentially with n and
silently ruins the smallest exponents: it is looked at after every block of steps, and a block whose n was too long is done again
with a smaller one.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial

import torch
from jaxtyping import Bool, Float
from torch import Tensor

MOST_CANCELLATION = 1e8  # m_k/|R_kk| allowed: leaves eight digits of every growth
SUSPICIOUS = 1e-4  # rounding relative to |R_kk| from which the magnitudes of a single step are worth a second look
LONGEST_INTERVAL = 64
MOST_PATIENCE = 64

Products = Iterable[Callable[[Tensor], Tensor]]


@dataclass(frozen=True)
class _Factors:
    """What is kept of M factorisations over `num_steps` steps: |R_kk| and m_k, (M, B, A)."""

    num_steps: int
    diagonal: Float[Tensor, "M B A"]
    magnitudes: Float[Tensor, "M B A"]

    @property
    def cancellation(self) -> Float[Tensor, "M B A"]:
        """m_k/|R_kk|; nan for a zero vector, which underflow can leave."""
        return self.magnitudes / self.diagonal


class TangentFrame:
    """K orthonormal tangent vectors per trajectory, carried along a product of Jacobians.

    Once a product of Jacobians is singular, it stays so: the vectors behind its rank have vanished for good. They are told by
    |R_kk| <= 8 S eps m_k over a single step, with eps the rounding of the Jacobians, their growth is -inf from there on, and they are no longer carried. A fresh frame is
    not yet aligned with fast and slow directions, and one steep step can hide the slow ones behind rounding: until `start_counting`
    none is given up.

    Attributes:
        vectors: the rows of Q', (B, A, S), with A the most vectors still alive in any trajectory.
        num_vectors: K. rounding: eps. alive: vectors left in each trajectory, (B,). counting: whether the burn-in is over.
        interval: n at present. adaptive: whether n may change.
        num_steps, num_factorisations: done so far, without those done again.
        worst_cancellation: the largest m_k/|R_kk| of an accepted block.
    """

    def __init__(
        self, basis: Float[Tensor, "B S K"], interval: int | None = None, rounding: float = torch.finfo(torch.float64).eps
    ) -> None:
        self.vectors, self.rounding = torch.linalg.qr(basis)[0].mT, rounding
        self.num_vectors = basis.shape[2]
        self.alive = torch.full((len(basis),), self.num_vectors, device=basis.device)
        self.adaptive = interval is None
        self.interval = 1 if interval is None else interval
        self.patience, self.wait = 1, 0
        self.counting = False
        self.num_steps, self.num_factorisations, self.worst_cancellation = 0, 0, 1.0

    def start_counting(self) -> None:
        """The burn-in is over: counts start afresh, and vectors that vanish are given up."""
        self.counting = True
        self.num_steps, self.num_factorisations, self.worst_cancellation = 0, 0, 1.0

    @torch.no_grad()
    def advance(self, jacobians: Iterable[Tensor], products: Products | None = None) -> Float[Tensor, "B K"]:
        """Carry the frame through N Jacobians, first to last.

        Args:
            jacobians: N tensors (B, S, S), or one (N, B, S, S). Where an interval proves too long they are gone through again.
            products: the same N maps as functions of rows (B, A, S), where these are cheaper than products with a matrix;
                the matrices are then gone through only where rounding calls for them.

        Returns:
            ln growth of each vector over the N steps, -inf for those that vanished.

        Raises:
            ArithmeticError: a Jacobian, or a product of as many as a given interval has, that is not finite.
        """
        total = self.vectors.new_full((len(self.vectors), self.num_vectors), -torch.inf)
        if not self.vectors.shape[1]:
            return total
        vectors, factors = self._factorise(jacobians, products)
        while self.adaptive and self.interval > 1 and self._too_long(factors):
            self._shorten()
            vectors, factors = self._factorise(jacobians, products)
        vanished = self._vanished(factors)
        growths = factors.diagonal.log().masked_fill(vanished, -torch.inf)
        if not bool((growths < torch.inf).all()):  # nan included
            raise ArithmeticError("a Jacobian, or a product of Jacobians, that is not finite")
        total[:, : growths.shape[2]] = growths.sum(0)
        self.num_steps += factors.num_steps
        self.num_factorisations += len(growths)
        worst = float(factors.cancellation.masked_fill(vanished, 1.0).max())
        self.worst_cancellation = max(self.worst_cancellation, worst)
        self.vectors = vectors
        if self.counting:
            self._give_up(vanished)
        if self.adaptive:
            self._lengthen()
        return total

    def _factorise(self, jacobians: Iterable[Tensor], products: Products | None) -> tuple[Tensor, _Factors]:
        """The frame after the block. Vectors are rows throughout, so that LAPACK finds the columns it wants without a transposition."""
        diagonals: list[Tensor] = []
        norms: list[Tensor] = []
        vectors, frames, steps = self.vectors, [self.vectors], 0
        for steps, product in enumerate(_by_matrix(jacobians) if products is None else products, 1):
            vectors = product(vectors)
            if steps % self.interval:
                continue
            vectors = self._orthonormalise(vectors, diagonals, norms)
            frames.append(vectors)
        if steps % self.interval:
            vectors = self._orthonormalise(vectors, diagonals, norms)
        diagonal, norm = torch.stack(diagonals).abs(), torch.stack(norms)
        return vectors, _Factors(steps, diagonal, self._magnitudes(jacobians, frames, diagonal, norm))

    def _orthonormalise(self, vectors: Tensor, diagonals: list[Tensor], norms: list[Tensor]) -> Tensor:
        norms.append(torch.linalg.vector_norm(vectors, dim=-1))
        packed, scales = torch.geqrf(vectors.mT)  # R and the reflectors; cheaper than qr, since of R the diagonal is enough
        diagonals.append(packed.diagonal(dim1=-2, dim2=-1))
        return torch.linalg.householder_product(packed, scales).mT

    def _magnitudes(self, jacobians: Iterable[Tensor], frames: list[Tensor], diagonal: Tensor, norm: Tensor) -> Tensor:
        """m_k: over several steps the longest |v|; over one |v_k|, and where that seems too good, | |J| |q_k| |.

        A q_k in the kernel of J leaves a v_k of mere rounding, small but not cancelled against anything.
        """
        longest = norm.amax(-1, keepdim=True)
        if self.interval > 1:
            return longest.expand_as(norm)
        if bool((self.rounding * longest <= SUSPICIOUS * diagonal).all()):
            return norm
        summed = [torch.bmm(q.abs(), jacobian.abs().mT) for q, jacobian in zip(frames, jacobians, strict=False)]
        return torch.maximum(norm, torch.linalg.vector_norm(torch.stack(summed), dim=-1))

    def _living(self, num_vectors: int) -> Bool[Tensor, "B A"]:
        return torch.arange(num_vectors, device=self.alive.device) < self.alive[:, None]

    def _too_long(self, factors: _Factors) -> bool:
        """Whether cancellation, overflow or underflow spoils a living vector's growth."""
        fine = factors.cancellation <= MOST_CANCELLATION  # False for nan
        return not bool((fine | ~self._living(fine.shape[2])).all())

    def _vanished(self, factors: _Factors) -> Bool[Tensor, "M B A"]:
        """Where a vector, or one before it, has vanished now or earlier."""
        rounding = 8 * self.vectors.shape[2] * self.rounding if self.interval == 1 else 0.0
        gone = (factors.diagonal <= rounding * factors.magnitudes) | ~self._living(factors.diagonal.shape[2])
        return gone.cummax(0).values.cummax(2).values

    def _give_up(self, vanished: Tensor) -> None:
        alive = (~vanished[-1]).sum(-1)
        if bool((alive < self.alive).any()):
            self.patience, self.wait = 1, 0  # what was too long for the vectors that vanished may suit those left
        self.alive = alive
        self.vectors = self.vectors[:, : int(alive.max())]

    def _shorten(self) -> None:
        """Two thirds of the interval, and twice as many blocks to go before a longer one is tried again."""
        self.interval = max(1, 2 * self.interval // 3)
        self.patience = min(2 * self.patience, MOST_PATIENCE)
        self.wait = self.patience

    def _lengthen(self) -> None:
        """Try half as much again for the next block, unless that failed lately."""
        if self.wait:
            self.wait -= 1
        else:
            self.interval = min(self.interval + max(1, self.interval // 2), LONGEST_INTERVAL)


def _by_matrix(jacobians: Iterable[Tensor]) -> Iterator[Callable[[Tensor], Tensor]]:
    return (partial(_times, jacobian) for jacobian in jacobians)


def _times(jacobian: Tensor, vectors: Tensor) -> Tensor:
    return torch.bmm(vectors, jacobian.mT)
