"""How much of its input's past a state holds: linear memory capacity, and capacities for products of past inputs.

Axis names: N samples, S state, X input features, L lags 0 … max_lag, M targets, V variables (a lag and an input).
"""

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from jaxtyping import Bool, Float
from scipy import special, stats

from rnnscope.core.driven import in_double
from rnnscope.core.errors import ConfigError, DataError, ShapeError
from rnnscope.core.system import DynamicalSystem, rollout

MOST_TARGETS = 1500  # products of one degree, where the lags of that degree are not given
CHUNK = 256  # targets computed at once


@dataclass(frozen=True)
class MemoryCapacity:
    """Capacities r² = 1 - (least mean squared error of a linear readout)/variance, one per target.

    Attributes:
        capacities: r² of u_i(t - k), corrected for bias, (L, X); unbiased, so about zero or slightly negative where nothing is held.
        significant: above `threshold`, (L, X).
        standard_error: of each of them, (L, X).
        total_linear: their sum over significant targets, made orthogonal on the sample. Lag 0 is included.
        by_degree: degree -> the same sum over the products of that degree; degree 1 is total_linear.
        total: sum over degrees; never above `rank`.
        num_targets: degree -> number of targets. max_lags: degree -> largest lag of its targets.
        threshold: r² (after correction) that a target independent of the states exceeds with probability 1e-4.
        bound: S, the state size. rank: number of linearly independent states found, <= S.
        num_samples: N. ridge: as given. kind: "linear" or "nonlinear".
    """

    capacities: Float[np.ndarray, "L X"]
    significant: Bool[np.ndarray, "L X"]
    standard_error: Float[np.ndarray, "L X"]
    total_linear: float
    by_degree: dict[int, float]
    total: float
    num_targets: dict[int, int]
    max_lags: dict[int, int]
    threshold: float
    bound: int
    rank: int
    num_samples: int
    ridge: float
    kind: Literal["linear", "nonlinear"]

    @property
    def summary(self) -> str:
        """One line."""
        parts = ", ".join(f"degree {d}: {c:.2f}" for d, c in self.by_degree.items())
        return (
            f"memory capacity {self.total:.2f} of at most {self.bound} (rank {self.rank}; {parts}; {self.num_samples} samples, "
            f"r² below {self.threshold:.2g} not counted)"
        )


def memory_capacity(
    system: DynamicalSystem,
    *,
    max_lag: int | Sequence[int] = 100,
    num_steps: int = 10_000,
    kind: Literal["linear", "nonlinear"] = "linear",
    degree: int = 3,
    ridge: float = 0.0,
    input_scale: float = 1.0,
    num_sequences: int = 8,
    burn_in: int = 200,
    rng: np.random.Generator | None = None,
) -> MemoryCapacity:
    """Capacity of a state to give back functions z of past inputs by a linear readout, for independent uniform inputs.

        C[z] = 1 - min_w <(z - w·h - w_0)²> / <(z - <z>)²>

    *Linear* (Jaeger 2001): z = u_i(t - k), k = 0 … max_lag. The sum over k is at most S. *Nonlinear* (Dambre et al. 2012): z
    runs over products of normalised Legendre polynomials P_d1(u_i(t-k)) P_d2(u_j(t-m)) … of total degree 1 … `degree`; these
    are orthogonal, so the sum over all of them is at most S too, and is S for a system with fading memory.

    *Bias.* With N samples and p independent states even a target that the states know nothing of has r² = p/(N - 1) on
    average. With the left singular vectors q_i of the centred states, r² = Σ_i w_i (q_i·z)²/|z|², w_i = 2 s_i - s_i²,
    s_i = d_i²/(d_i² + λN); p = Σ w_i. Reported is (r² - p/(N-1)) / (1 - p/(N-1)), the adjusted coefficient of determination where
    λ = 0. A target counts in sums only where r² is above the 1 - 1e-4 quantile of its law for independent targets,
    Beta(p/2, (N-1-p)/2); it holds whatever the states' correlation in time, because the inputs are independent: shuffled
    surrogates give the same threshold.

    *Totals.* Independent inputs are slightly correlated on a sample, so plain capacities may add up to more than S. Totals are
    therefore taken over the significant targets made orthogonal on the sample, low degrees and short lags first, which no draw
    can bring above the rank. What the M targets and p directions left over share by chance, (p - C)(M - C)/(N - 1), is taken off.

    Args:
        system: any driven system; run as a float64 copy from its initial state.
        max_lag: >= 0 and <= burn_in. For kind "nonlinear" either one lag per degree, or one for degree 1: the higher degrees then
            take as many lags, up to that, as keep their number of products below 1500.
        num_steps: N, samples over all sequences; at least 4 S.
        degree: largest total degree for kind "nonlinear", >= 1.
        ridge: λ >= 0, per sample, as in `rnnscope.numerics.regression.ridge`.
        input_scale: u is uniform on [-input_scale, input_scale].
        num_sequences: run side by side. burn_in: steps dropped in each; take it longer than the system remembers.
        rng: of NumPy; a fresh one with seed 0 when None.

    Returns:
        `MemoryCapacity`.

    Raises:
        ConfigError: a number out of range, or a system without input. DataError: states that are not finite or do not move.

    References:
        Jaeger (2001), GMD report 152. Dambre, Verstraeten, Schrauwen & Massar (2012), Scientific Reports 2, 514.

    Example:
        >>> import torch, rnnscope as rs
        >>> delay = rs.System(lambda h, x: torch.cat([x, h[:, :1]], 1), state_size=2, input_size=1)
        >>> found = memory_capacity(delay, max_lag=4, num_steps=500, burn_in=10)
        >>> found.capacities[:2, 0].round(6).tolist(), round(found.total, 6)
        ([1.0, 1.0], 2.0)
    """
    lags = (max_lag,) if isinstance(max_lag, int) else tuple(max_lag)
    degrees = degree if kind == "nonlinear" else 1
    _check_numbers(system, lags, degrees, num_steps, num_sequences, burn_in, ridge, input_scale, kind)
    rng = np.random.default_rng(0) if rng is None else rng
    states, history = _drive(system, num_steps, num_sequences, burn_in, lags[0], input_scale, rng)
    basis, weights = _basis(states, ridge)
    samples, effective = len(states), float(weights.sum())
    if not effective:
        raise DataError("states that do not move", "a system driven by its input", "check the input weights and input_scale")
    null = effective / (samples - 1)
    cut = float(stats.beta.ppf(1 - 1e-4, effective / 2, (samples - 1 - effective) / 2) - null) / (1 - null)
    reach = [lags[d] if d < len(lags) else _affordable(d + 1, lags[0], history.shape[2]) for d in range(degrees)]
    values, kept = [], []
    for order, lag in enumerate(reach, 1):
        measured, columns = [], []
        for targets in _products(history[:, : lag + 1], order):
            measured.append((_held(basis, weights, targets) - null) / (1 - null))
            columns.append(targets[:, measured[-1] > cut])
        values.append(np.concatenate(measured))
        kept.append(np.concatenate(columns, 1))
    totals, linear = _totals(basis, weights, kept), values[0].reshape(history.shape[1:])
    return MemoryCapacity(
        capacities=linear,
        significant=linear > cut,
        standard_error=_standard_error(linear, null, samples),
        total_linear=totals[0],
        by_degree=dict(enumerate(totals, 1)),
        total=sum(totals),
        num_targets={order: len(found) for order, found in enumerate(values, 1)},
        max_lags=dict(enumerate(reach, 1)),
        threshold=cut,
        bound=system.state_size,
        rank=int(np.count_nonzero(weights)),
        num_samples=samples,
        ridge=ridge,
        kind=kind,
    )


def linear_memory_capacity(
    recurrent: Float[np.ndarray, "S S"], drive: Float[np.ndarray, "S X"], *, max_lag: int = 100
) -> Float[np.ndarray, "L X"]:
    """Capacities of the linear system h_t = W h_{t-1} + V u_t with white input, in closed form.

        C_k,i = v_iᵀ (W^k)ᵀ Σ^{-1} W^k v_i,      Σ = Σ_j W^j V Vᵀ (W^j)ᵀ = R Rᵀ,      R = [V, W V, W² V, …]

    These are the leverages of the columns of R, taken from its singular vectors without forming Σ, whose condition number is the
    square of R's. Over all lags they sum to the rank of R, which is S for a controllable system; rounding makes directions below
    about 1e-16 of the largest invisible, here as in any simulation. R has some 40/(1 - radius) blocks.

    Args:
        recurrent: W, with all eigenvalues inside the unit circle. drive: V, (S, X), not zero. max_lag: >= 0.

    Returns:
        (max_lag + 1, X), lag 0 first.

    Raises:
        ShapeError: matrices that do not fit. ConfigError: a spectral radius >= 1, or inputs that lead nowhere.

    References:
        Jaeger (2001), GMD report 152, section 4. White, Lee & Sompolinsky (2004), PRL 92, 148102.

    Example:
        >>> import numpy as np
        >>> linear_memory_capacity(np.array([[0.5]]), np.array([[1.0]]), max_lag=2).ravel().round(6).tolist()
        [0.75, 0.1875, 0.046875]
    """
    matrix, columns = np.asarray(recurrent, np.float64), np.asarray(drive, np.float64)
    size = len(matrix)
    if matrix.shape != (size, size) or columns.ndim != 2 or len(columns) != size:
        raise ShapeError(
            f"matrices of shapes {matrix.shape} and {columns.shape}", "(S, S) and (S, X)", "give W and V of h' = W h + V u"
        )
    radius = float(np.abs(np.linalg.eigvals(matrix)).max())
    if radius >= 1 or not columns.any() or max_lag < 0:
        raise ConfigError(
            f"a spectral radius of {radius:.4g}, max_lag {max_lag}" + ("" if columns.any() else ", V = 0"),
            "a radius below 1, max_lag >= 0 and inputs that reach the state",
            "scale W down: at radius 1 and above the state never forgets and has no stationary law",
        )
    blocks, scale = [columns], float(np.linalg.norm(columns))
    while np.linalg.norm(blocks[-1]) > 1e-17 * scale or len(blocks) <= size:
        blocks.append(matrix @ blocks[-1])
        scale = max(scale, float(np.linalg.norm(blocks[-1])))
    stacked = np.concatenate(blocks, 1)
    _, values, vectors = np.linalg.svd(stacked, full_matrices=False)
    kept = vectors[values > values[0] * np.finfo(float).eps * size]
    leverages = (kept**2).sum(0).reshape(len(blocks), -1)
    found = np.zeros((max_lag + 1, columns.shape[1]))
    found[: len(leverages)] = leverages[: max_lag + 1]
    return found


def _check_numbers(
    system: DynamicalSystem,
    lags: tuple[int, ...],
    degrees: int,
    num_steps: int,
    num_sequences: int,
    burn_in: int,
    ridge: float,
    input_scale: float,
    kind: str,
) -> None:
    if system.input_size < 1:
        raise ConfigError("a system without input", "input_size >= 1", "memory capacity is about inputs; give a driven system")
    if kind not in ("linear", "nonlinear"):
        raise ConfigError(f"kind {kind!r}", "'linear' or 'nonlinear'", "choose one of them")
    fitting = len(lags) in (1, degrees) and min(lags) >= 0 and max(lags) == lags[0] <= burn_in
    if not fitting or degrees < 1:
        raise ConfigError(
            f"max_lag {lags} with degree {degrees} and burn_in {burn_in}",
            "one lag, or one per degree with the first the largest, 0 <= max_lag <= burn_in; degree >= 1",
            "change max_lag, or raise burn_in",
        )
    wanted = 4 * system.state_size
    if num_steps < wanted or num_sequences < 1 or ridge < 0 or not input_scale > 0:
        raise ConfigError(
            f"num_steps {num_steps}, num_sequences {num_sequences}, ridge {ridge}, input_scale {input_scale}",
            f"num_steps >= {wanted} (4 per state), num_sequences >= 1, ridge >= 0, input_scale > 0",
            "change the argument that is out of range",
        )


@torch.no_grad()
def _drive(
    system: DynamicalSystem, num_steps: int, rows: int, burn_in: int, lag: int, scale: float, rng: np.random.Generator
) -> tuple[Float[np.ndarray, "N S"], Float[np.ndarray, "N L X"]]:
    """States after the burn-in, and the inputs u(t), u(t-1), … in units of `scale` that belong to them."""
    copy = in_double(system)
    steps = -(-num_steps // rows)
    inputs = rng.uniform(-1, 1, (rows, burn_in + steps, system.input_size))
    device = copy.initial_state(1).device
    found = rollout(copy, torch.as_tensor(scale * inputs, device=device)).states
    assert found is not None
    states = found[:, burn_in:].double().cpu().numpy().reshape(rows * steps, -1)
    if not np.isfinite(states).all():
        raise DataError(
            "states that are not finite", "a system that stays bounded", "lower input_scale or the recurrent weights"
        )
    lagged = np.stack([inputs[:, burn_in - k : burn_in - k + steps] for k in range(lag + 1)], 2)
    return states[:num_steps], lagged.reshape(rows * steps, lag + 1, -1)[:num_steps]


def _centred(columns: Float[np.ndarray, "N M"]) -> Float[np.ndarray, "N M"]:
    return columns - columns.mean(0)


def _basis(states: Float[np.ndarray, "N S"], ridge: float) -> tuple[Float[np.ndarray, "N P"], Float[np.ndarray, " P"]]:
    """Orthonormal directions of the states over samples, and the weight with which each counts; zero below rounding."""
    vectors, values, _ = np.linalg.svd(_centred(states), full_matrices=False)
    largest = max(float(values[0]), math.sqrt(len(states)) * float(np.abs(states).max()))
    floor = states.shape[1] * np.finfo(float).eps * largest
    kept = values > floor
    shrink = values**2 / np.where(kept, values**2 + ridge * len(states), 1.0)
    return vectors, np.where(kept, 2 * shrink - shrink**2, 0.0)


def _held(basis: np.ndarray, weights: np.ndarray, targets: Float[np.ndarray, "N M"]) -> Float[np.ndarray, " M"]:
    """r² of each centred target: what the weighted directions hold of its variance."""
    return weights @ (basis.T @ targets) ** 2 / (targets**2).sum(0)


def _totals(basis: np.ndarray, weights: np.ndarray, kept: list[np.ndarray]) -> list[float]:
    """Capacity of each group of targets, made orthogonal group after group, less what is shared by chance."""
    sizes = [columns.shape[1] for columns in kept]
    samples = len(basis)
    if 2 * sum(sizes) > samples:
        raise DataError(
            f"{sum(sizes)} significant targets on {samples} samples", "at most half as many", "raise num_steps or lower max_lag"
        )
    if not sum(sizes):
        return [0.0] * len(kept)
    held = _held(basis, weights, np.linalg.qr(np.concatenate(kept, 1))[0])
    sums = [float(part.sum()) for part in np.split(held, np.cumsum(sizes)[:-1])]
    room = max(0.0, float(weights.sum()) - sum(sums)) / (samples - 1)
    return [own - room * (size - own) for own, size in zip(sums, sizes, strict=True)]


def _standard_error(capacity: np.ndarray, null: float, samples: int) -> np.ndarray:
    """Of an r², 2 r (1 - r²)/√N; r² of at least the bias, which is what is left of the error where nothing is held."""
    return 2 * np.sqrt(np.clip(capacity, null, 1) / samples) * (1 - np.clip(capacity, 0, 1))


def _affordable(order: int, lag: int, num_inputs: int) -> int:
    """The largest lag up to `lag` with at most MOST_TARGETS products of total degree `order`."""
    count = 0
    while count < lag and math.comb(num_inputs * (count + 2) + order - 1, order) <= MOST_TARGETS:
        count += 1
    return count


def _products(history: Float[np.ndarray, "N L X"], order: int) -> Iterator[Float[np.ndarray, "N M"]]:
    """Centred products of Legendre polynomials of total degree `order` over all lags and inputs, CHUNK at a time.

    A choice of `order` variables with repetition names one product: a variable that occurs d times enters as P_d.
    """
    values = history.reshape(len(history), -1)
    legendre = [special.eval_legendre(d, values) for d in range(1, order + 1)]
    choices = itertools.combinations_with_replacement(range(values.shape[1]), order)
    while chunk := list(itertools.islice(choices, CHUNK)):
        powers = [[(v, len(list(group))) for v, group in itertools.groupby(choice)] for choice in chunk]
        columns = [np.prod([legendre[d - 1][:, v] for v, d in terms], 0) for terms in powers]
        yield _centred(np.stack(columns, 1))
