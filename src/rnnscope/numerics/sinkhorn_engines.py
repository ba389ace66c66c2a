"""Two engines for the same entropic transport plan: compiled loops on the CPU, and plain tensors on any device.

Both hold -cost (or inner products, norms apart) as K_ij and work on P_ij = 2^(s K_ij + u_i + v_j), s = log2(e)/ε,
u_i = s (f_i - c_i) + log2 a_i, v_j = s (g_j - d_j) + log2 b_j; cost C_ij = c_i + d_j - K_ij. `numerics.transport` owns the schedule.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from rnnscope.numerics import sinkhorn_kernels as compiled

_LOG2E = 1.0 / math.log(2.0)
_BLOCK = 512  # rows a task; fixed, so that sums do not depend on the number of threads


@dataclass(frozen=True)
class Plan:
    """Where a solve ended: f with exact row sums for the g given, L1 error of the column sums, and the pull on x.

    pull_i = Σ_j P_ij ∂C_ij/∂x_i, (N, D), or None where it was not asked for.
    """

    f: Tensor
    error: float
    pull: Tensor | None


class PlanEngine(ABC):
    """Iterations on one pair of clouds; potentials f (N,) and g (M,) are float64 and changed in place.

    Attributes:
        spread: standard deviation of the cost over a sample of its entries.
    """

    spread: float

    @abstractmethod
    def zeros(self) -> tuple[Tensor, Tensor]:
        """f = 0 and g = 0."""

    @abstractmethod
    def fit(self, eps: float, f: Tensor, g: Tensor) -> None:
        """f_i <- min_j (C_ij - g_j - ε log b_j) + ε log a_i: a start from which no row over- or underflows, whatever g."""

    @abstractmethod
    def sweep(self, eps: float, f: Tensor, g: Tensor, omega: float, sweeps: int, tolerance: float) -> tuple[int, float]:
        """Up to `sweeps` updates of rows, then columns, over-relaxed by omega; returns their number and the last L1 row error.

        Stops early when the error of the rows, after a column update, is at most `tolerance`.
        """

    @abstractmethod
    def sweep_self(self, eps: float, f: Tensor, sweeps: int, tolerance: float) -> tuple[int, float]:
        """The same for a cloud with itself: f <- (f + T f)/2, the averaged update of Feydy et al. 2019."""

    @abstractmethod
    def finish(self, eps: float, f: Tensor, g: Tensor, pulls: bool) -> Plan:
        """One plain row update from g, the plan's column error, and the pull on x where asked for; f and g stay."""


@dataclass(frozen=True)
class Cloud:
    """Weighted points, and what both engines derive from them.

    Attributes:
        points: (N, D). weights: (N,), positive, of sum 1, float64. half_squares: ½|x_i|², (N,) float64.
        bits: rows packed into 64-bit words where all entries are 0 or 1, else None.
    """

    points: Tensor
    weights: Tensor
    half_squares: Tensor
    bits: np.ndarray | None


def cloud(points: Tensor, weights: Tensor) -> Cloud:
    """Derive a `Cloud`; points of zeros and ones are looked for on the CPU only."""
    points = points.detach()
    if points.device.type == "cpu":
        rows, width = points.shape
        words, ones = np.empty((rows, -(-width // 64)), np.int64), np.empty(rows)
        if compiled.pack_ones(np.ascontiguousarray(points.numpy()), words, ones):
            return Cloud(points, weights, torch.from_numpy(ones / 2), words)
    wide = points.double()
    return Cloud(points, weights, torch.linalg.vecdot(wide, wide) / 2, None)


class CompiledEngine(PlanEngine):
    """Stores K once, as int16 where both clouds are zeros and ones (p = 2), else in the working type.

    Args:
        x: N points. y: M points. p: 1 or 2. real: float32 or float64, the type of the passes. threads: of the row blocks.
    """

    def __init__(self, x: Cloud, y: Cloud, p: int, real: torch.dtype, threads: int) -> None:
        self._x, self._y, self._p, self._threads = x.points, y.points, p, threads
        self._real = np.dtype(np.float32 if real == torch.float32 else np.float64)
        self._log_a, self._log_b = x.weights.log2().numpy(), y.weights.log2().numpy()
        self._blocks = [slice(i, min(i + _BLOCK, len(self._x))) for i in range(0, len(self._x), _BLOCK)]
        self._kernel = self._inner_products(x.bits, y.bits)
        self._c, self._d = x.half_squares.numpy(), y.half_squares.numpy()
        stride = max(1, len(self._x) // 64)
        sample = self._kernel[::stride].astype(np.float64)
        cost = self._c[::stride, None] + self._d - sample
        if p == 1:
            self._to_distances()
            cost = np.sqrt(2 * np.maximum(cost, 0))
        else:  # a middle level of K is absorbed, so that exponents of large entries are small numbers in the working type
            level = round(float(sample.max(1).mean()))
            self._kernel -= self._kernel.dtype.type(level)
            self._c, self._d = self._c - level / 2, self._d - level / 2
        self.spread = float(cost.std())

    def _inner_products(self, first: np.ndarray | None, second: np.ndarray | None) -> np.ndarray:
        if first is None or second is None:
            exact = torch.float32 if self._p == 2 and self._real == np.float32 else torch.float64
            return torch.mm(self._x.to(exact), self._y.to(exact).T).numpy()
        narrow = np.int16 if self._x.shape[1] < 2**15 else np.int32
        common = np.empty((len(first), len(second)), narrow if self._p == 2 else self._real)
        columns = np.ascontiguousarray(second.T)
        self._each(lambda rows: compiled.count_common(first[rows], columns, common[rows]))
        return common

    def _to_distances(self) -> None:
        distances = np.empty(self._kernel.shape, self._real)
        for rows in self._blocks:
            distances[rows] = -np.sqrt(2 * np.maximum(self._c[rows, None] + self._d - self._kernel[rows], 0))
        self._kernel = distances
        self._c, self._d = np.zeros_like(self._c), np.zeros_like(self._d)

    def _each(self, work: Callable[[slice], object]) -> list:
        if self._threads == 1 or len(self._blocks) == 1:
            return [work(rows) for rows in self._blocks]
        with ThreadPoolExecutor(min(self._threads, len(self._blocks))) as pool:
            return list(pool.map(work, self._blocks))

    def _scaled(self, eps: float, f: Tensor, g: Tensor) -> tuple[float, np.ndarray, np.ndarray]:
        s = _LOG2E / eps
        u, v = s * (f.numpy() - self._c) + self._log_a, s * (g.numpy() - self._d) + self._log_b
        return s, u.astype(self._real), v.astype(self._real)

    def zeros(self) -> tuple[Tensor, Tensor]:
        return torch.zeros(len(self._c), dtype=torch.float64), torch.zeros(len(self._d), dtype=torch.float64)

    def fit(self, eps: float, f: Tensor, g: Tensor) -> None:
        s, u, v = self._scaled(eps, f, g)
        self._each(lambda rows: compiled.fit_rows(self._kernel[rows], s, u[rows], v))
        f.numpy()[:] = (u - self._log_a) / s + self._c

    def sweep(self, eps: float, f: Tensor, g: Tensor, omega: float, sweeps: int, tolerance: float) -> tuple[int, float]:
        s, u, v = self._scaled(eps, f, g)
        partial = np.empty((len(self._blocks), len(v)), self._real)

        def rows_of(rows: slice) -> float:
            buffer = np.empty((4, len(v)), self._real)
            columns = partial[rows.start // _BLOCK]
            return compiled.sweep_rows(self._kernel[rows], s, u[rows], v, self._log_a[rows], omega, buffer, columns)

        done, error = 0, math.inf
        while done < sweeps and error > tolerance:
            error = sum(self._each(rows_of))
            compiled.sweep_columns(partial.sum(0) if len(partial) > 1 else partial[0], v, self._log_b, omega)
            done += 1
        f.numpy()[:] = (u - self._log_a) / s + self._c
        g.numpy()[:] = (v - self._log_b) / s + self._d
        return done, error

    def sweep_self(self, eps: float, f: Tensor, sweeps: int, tolerance: float) -> tuple[int, float]:
        s, u, _ = self._scaled(eps, f, f)
        sums, mass = np.empty_like(u), np.exp2(self._log_a)
        done, error = 0, math.inf
        while done < sweeps and error > tolerance:
            compiled.sum_upper(self._kernel, s, u, sums)
            error = float(np.abs(sums - mass).sum())
            u += (0.5 * (self._log_a - np.log2(sums))).astype(self._real)
            done += 1
        f.numpy()[:] = (u - self._log_a) / s + self._c
        return done, error

    def finish(self, eps: float, f: Tensor, g: Tensor, pulls: bool) -> Plan:
        s, u, v = self._scaled(eps, f, g)
        partial = np.empty((len(self._blocks), len(v)), self._real)
        pull = np.empty(self._x.shape, self._real) if pulls else None
        points = np.ascontiguousarray(self._y.numpy().astype(self._real))

        def rows_of(rows: slice) -> None:
            plan = np.empty((rows.stop - rows.start, len(v)), self._real)
            log_a = self._log_a[rows]
            large = compiled.form_rows(self._kernel[rows], s, u[rows], v, log_a, plan, partial[rows.start // _BLOCK])
            if pull is not None:
                pull[rows] = self._pull(rows, plan, points, log_a, large)

        self._each(rows_of)
        error = float(np.abs(partial.sum(0, dtype=np.float64) - np.exp2(self._log_b)).sum())
        exact = torch.from_numpy((u - self._log_a) / s + self._c)
        return Plan(exact, error, None if pull is None else torch.from_numpy(pull))

    def _pull(self, rows: slice, plan: np.ndarray, points: np.ndarray, log_a: np.ndarray, large: int) -> np.ndarray:
        x = self._x[rows].numpy()
        if self._p == 1:
            distances = -self._kernel[rows]
            weights = np.divide(plan, distances, out=np.zeros_like(plan), where=distances > 0)
            return weights.sum(1, keepdims=True) * x - weights @ points
        product = np.empty(x.shape, self._real)
        if large * 16 < plan.size:
            compiled.multiply_sparse(plan, log_a, points, product)
        else:
            torch.mm(torch.from_numpy(plan), torch.from_numpy(points), out=torch.from_numpy(product))
        return np.exp2(log_a)[:, None] * x - product


def _relaxed(log_ratio: Tensor, omega: float) -> Tensor:
    return torch.where(log_ratio.abs() < 4, omega * log_ratio, log_ratio)


class TensorEngine(PlanEngine):
    """Recomputes K in chunks of rows, in torch, unless all of it fits in half the memory limit.

    Args:
        x: N points. y: M points. p: 1 or 2. real: float32 or float64. memory_limit: bytes for stored K, or for one chunk with
            its work space.
    """

    def __init__(self, x: Cloud, y: Cloud, p: int, real: torch.dtype, memory_limit: int) -> None:
        self._x, self._y = x.points.double(), y.points.double()
        self._p, self._real = p, real
        self._c, self._d = x.half_squares * (p == 2), y.half_squares * (p == 2)
        self._a, self._b, self._log_a, self._log_b = x.weights, y.weights, x.weights.log2(), y.weights.log2()
        size = (4 if real == torch.float32 else 8) * len(self._y)
        rows = max(1, min(len(self._x), memory_limit // (8 * size)))
        self._chunks = [slice(i, min(i + rows, len(self._x))) for i in range(0, len(self._x), rows)]
        self._stored: dict[int, Tensor] = {}
        if len(self._x) * size <= memory_limit // 2:
            self._stored = {rows.start: self._fresh(rows) for rows in self._chunks}
        pick = torch.arange(0, len(self._x), max(1, len(self._x) // 64), device=self._x.device)
        cost = torch.cdist(self._x[pick], self._y)
        self.spread = float((cost**2 / 2 if p == 2 else cost).std(correction=0))

    def _fresh(self, rows: slice) -> Tensor:
        if self._p == 1:
            return -torch.cdist(self._x[rows], self._y).to(self._real)
        return self._x[rows].to(self._real) @ self._y.to(self._real).T

    def _part(self, rows: slice) -> Tensor:
        return self._stored[rows.start] if self._stored else self._fresh(rows)

    def _scaled(self, eps: float, f: Tensor, g: Tensor) -> tuple[float, Tensor, Tensor]:
        s = _LOG2E / eps
        u, v = s * (f - self._c) + self._log_a, s * (g - self._d) + self._log_b
        return s, u.to(self._real), v.to(self._real)

    def _plan(self, rows: slice, s: float, u: Tensor, v: Tensor) -> Tensor:
        return torch.add(u[rows, None] + v, self._part(rows), alpha=s).clamp_(-126.0, 100.0).exp2_()

    def zeros(self) -> tuple[Tensor, Tensor]:
        return torch.zeros_like(self._c), torch.zeros_like(self._d)

    def fit(self, eps: float, f: Tensor, g: Tensor) -> None:
        s, u, v = self._scaled(eps, f, g)
        for rows in self._chunks:
            u[rows] = -torch.add(v[None], self._part(rows), alpha=s).amax(1)
        f.copy_((u - self._log_a) / s + self._c)

    def sweep(self, eps: float, f: Tensor, g: Tensor, omega: float, sweeps: int, tolerance: float) -> tuple[int, float]:
        s, u, v = self._scaled(eps, f, g)
        done, error = 0, math.inf
        while done < sweeps and error > tolerance:
            columns = torch.zeros_like(v)
            total = torch.zeros((), dtype=torch.float64, device=v.device)
            for rows in self._chunks:
                plan = self._plan(rows, s, u, v)
                sums = plan.sum(1).double()
                total += (sums - self._a[rows]).abs().sum()
                step = _relaxed(self._log_a[rows] - sums.log2(), omega).to(self._real)
                u[rows] += step
                columns += step.exp2() @ plan
            v += _relaxed(self._log_b - columns.clamp_min(1e-37).double().log2(), omega).to(self._real)
            error, done = float(total), done + 1
        f.copy_((u - self._log_a) / s + self._c)
        g.copy_((v - self._log_b) / s + self._d)
        return done, error

    def sweep_self(self, eps: float, f: Tensor, sweeps: int, tolerance: float) -> tuple[int, float]:
        s, u, _ = self._scaled(eps, f, f)
        done, error = 0, math.inf
        while done < sweeps and error > tolerance:
            sums = torch.cat([self._plan(rows, s, u, u).sum(1) for rows in self._chunks]).double()
            error = float((sums - self._a).abs().sum())
            u += (0.5 * (self._log_a - sums.log2())).to(self._real)
            done += 1
        f.copy_((u - self._log_a) / s + self._c)
        return done, error

    def finish(self, eps: float, f: Tensor, g: Tensor, pulls: bool) -> Plan:
        s, u, v = self._scaled(eps, f, g)
        columns, pull = torch.zeros_like(self._b), []
        for rows in self._chunks:
            plan = self._plan(rows, s, u, v)
            sums = plan.sum(1).double()
            u[rows] += (self._log_a[rows] - sums.log2()).to(self._real)
            plan *= (self._a[rows] / sums).to(self._real)[:, None]
            columns += plan.sum(0)
            if pulls:
                pull.append(self._pull(rows, plan))
        exact = (u - self._log_a) / s + self._c
        return Plan(exact, float((columns - self._b).abs().sum()), torch.cat(pull) if pulls else None)

    def _pull(self, rows: slice, plan: Tensor) -> Tensor:
        if self._p == 1:
            distances = -self._part(rows)
            plan = torch.where(distances > 0, plan / distances, 0.0)
        x, y = self._x[rows].to(self._real), self._y.to(self._real)
        return plan.sum(1, keepdim=True) * x - plan @ y
