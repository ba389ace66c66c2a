"""How strongly a state depends on earlier states and inputs: norms of products of Jacobians over the lag.

Axis names: N places (a sequence and a time), L lags 0 … max_lag, B batch, T time, X input features, S state.
"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from rnnscope.core.driven import in_double
from rnnscope.core.errors import ConfigError, DataError
from rnnscope.core.jacobians import input_jacobians, state_jacobians
from rnnscope.core.system import DynamicalSystem, check_state, rollout
from rnnscope.dynamics.forgetting import driving_inputs

PERCENTILES = (0.1, 0.5, 0.9)


@dataclass(frozen=True)
class Sensitivity:
    """Norms over the lag, kept as logarithms, which neither under- nor overflow; -inf is an exact zero.

    Attributes:
        lags: 0 … max_lag, (L,).
        log_state: ln ||dh_t/dh_{t-k}||, (N, L); zero at lag 0.
        log_input: ln ||dh_t/dx_{t-k}||, (N, L), or None for an autonomous system.
        memory_horizon: the lag from which the median input norm stays below `threshold` times its value at lag 0 (at lag 1,
            if it is zero at lag 0); None where it does not within max_lag. For an autonomous system the same as state_horizon.
        state_horizon: the same for the state norm, whose value at lag 0 is 1.
        decay_rate: -d ln(median state norm)/dk, nats per step, fitted over the second half of the lags: positive where it
            forgets, negative where perturbations grow, infinite where the median is exactly zero.
        threshold, num_sequences, num_steps, burn_in: as used. input_law: what drove it, in words.
    """

    lags: Int[Tensor, " L"]
    log_state: Float[Tensor, "N L"]
    log_input: Float[Tensor, "N L"] | None
    memory_horizon: int | None
    state_horizon: int | None
    decay_rate: float
    threshold: float
    num_sequences: int
    num_steps: int
    burn_in: int
    input_law: str

    @property
    def state_norms(self) -> Float[Tensor, "3 L"]:
        """10th, 50th and 90th percentile of ||dh_t/dh_{t-k}|| over places."""
        return percentiles(self.log_state).exp()

    @property
    def input_norms(self) -> Float[Tensor, "3 L"] | None:
        """10th, 50th and 90th percentile of ||dh_t/dx_{t-k}|| over places."""
        return None if self.log_input is None else percentiles(self.log_input).exp()

    @property
    def summary(self) -> str:
        """One line."""
        what = "starting states" if self.log_input is None else "inputs"
        last = int(self.lags[-1])
        reach = f"beyond {last} steps" if self.memory_horizon is None else f"{self.memory_horizon} steps back"
        word = "decays" if self.decay_rate >= 0 else "grows"
        return (
            f"sensitivity to {what} falls below {100 * self.threshold:g} % {reach}; that to states {word} by "
            f"{abs(self.decay_rate):.3g} nats per step (median of {len(self.log_state)} places under {self.input_law})"
        )


def sensitivity(
    system: DynamicalSystem,
    inputs: Tensor | None = None,
    *,
    max_lag: int | None = None,
    starts: Float[Tensor, "B S"] | None = None,
    burn_in: int | None = None,
    num_times: int = 64,
    threshold: float = 0.01,
    num_sequences: int = 8,
    num_steps: int = 400,
    input_sd: float = 1.0,
    rng: torch.Generator | None = None,
) -> Sensitivity:
    """||dh_t/dh_{t-k}|| and ||dh_t/dx_{t-k}|| over the lag k, along driven sequences.

        dh_t/dh_{t-k} = J_t J_{t-1} … J_{t-k+1}            dh_t/dx_{t-k} = (dh_t/dh_{t-k}) K_{t-k}

    with J = dF/dh, K = dF/dx on the way, and the largest singular value as norm. A product is scaled to Frobenius norm one
    after each factor and the scale kept as a logarithm, so that its largest singular value is exact to rounding at any lag.

    Args:
        system: any dynamical system; differentiated as a float64 copy.
        inputs: (B, T, X), or (T, X) for one sequence; white noise N(0, input_sd²) in `num_sequences` sequences of `num_steps`
            steps when None.
        max_lag: >= 1; half the steps after the burn-in, at most 100, when None.
        starts: h_0, (B, S); the initial state when None.
        burn_in: steps at the start from which no lag is counted; 0 for given inputs, 100 for noise, when None.
        num_times: at most about so many places, evenly spread over sequences and times. Time: num_times x max_lag Jacobians
            and eigenvalue problems of size S; memory: num_times S² numbers.
        threshold: in (0, 1), for the horizons.
        rng: source of the noise, on the CPU; a fresh one with seed 0 when None.

    Returns:
        `Sensitivity`.

    Raises:
        ConfigError: a number out of range. ShapeError: inputs or starts that do not fit. DataError: sequences too short for
        the lag, or states that are not finite.

    References:
        Bengio, Simard & Frasconi (1994), IEEE Trans. Neural Networks 5, 157. Pascanu, Mikolov & Bengio (2013), ICML, eq. 5.

    Example:
        >>> import torch, rnnscope as rs
        >>> decay = rs.System(lambda h, x: 0.5 * h + 3 * x, state_size=1, input_size=1)
        >>> found = sensitivity(decay, torch.zeros(1, 20, 1), max_lag=8)
        >>> [round(v, 4) for v in found.input_norms[1, :3].tolist()], found.memory_horizon, round(found.decay_rate, 4)
        ([3.0, 1.5, 0.75], 7, 0.6931)
    """
    rng = torch.Generator().manual_seed(0) if rng is None else rng
    copy = in_double(system)
    noise = inputs is None
    rows = num_sequences if inputs is None else len(inputs) if inputs.ndim == 3 else 1
    driving, law = driving_inputs(copy, inputs, rows, num_steps, input_sd, rng)
    first = (100 if noise else 0) if burn_in is None else burn_in
    longest = driving.shape[1] - first - 1
    lag = max(1, min(100, longest // 2 if longest > 2 else longest)) if max_lag is None else max_lag
    _check_numbers(rows, lag, first, num_times, threshold, driving.shape[1])
    before = _states_before(copy, driving, starts)
    places = _places(rows, driving.shape[1] - lag - first, first, num_times)
    log_state, log_input = _products(copy, before, driving, places, lag)
    state_horizon = horizon(percentiles(log_state)[1], threshold)
    input_horizon = state_horizon if log_input is None else horizon(percentiles(log_input)[1], threshold)
    return Sensitivity(
        lags=torch.arange(lag + 1),
        log_state=log_state,
        log_input=log_input,
        memory_horizon=input_horizon,
        state_horizon=state_horizon,
        decay_rate=-slope(percentiles(log_state)[1]),
        threshold=threshold,
        num_sequences=rows,
        num_steps=int(driving.shape[1]),
        burn_in=first,
        input_law=law,
    )


def percentiles(logs: Float[Tensor, "N L"]) -> Float[Tensor, "3 L"]:
    """10th, 50th and 90th percentile over rows; a value that occurs, so that -inf does no harm."""
    levels = torch.tensor(PERCENTILES, dtype=logs.dtype, device=logs.device)
    return torch.quantile(logs, levels, dim=0, interpolation="nearest")


def horizon(logs: Float[Tensor, " L"], threshold: float) -> int | None:
    """The lag from which a curve, given by its logarithm, stays below `threshold` times its value at lag 0 (or 1)."""
    reference = logs[0] if torch.isfinite(logs[0]) else logs[1]
    if not torch.isfinite(reference):
        return None if torch.isfinite(logs).any() else 0
    lag = int(torch.nonzero(logs >= reference + math.log(threshold))[-1]) + 1
    return lag if lag < len(logs) else None


def slope(logs: Float[Tensor, " L"]) -> float:
    """Least-squares slope per lag over the second half of a curve of logarithms; -inf where it reaches -inf."""
    half = logs[len(logs) // 2 :] if len(logs) > 3 else logs
    if bool(torch.isneginf(half).any()):
        return -math.inf
    lags = torch.arange(len(half), dtype=half.dtype, device=half.device)
    lags = lags - lags.mean()
    return float((lags * half).sum() / (lags**2).sum())


def _check_numbers(rows: int, lag: int, burn_in: int, num_times: int, threshold: float, steps: int) -> None:
    if min(rows, lag, num_times) < 1 or burn_in < 0 or not 0 < threshold < 1:
        raise ConfigError(
            f"{rows} sequences, max_lag {lag}, num_times {num_times}, burn_in {burn_in}, threshold {threshold}",
            "counts >= 1, burn_in >= 0, threshold in (0, 1)",
            "change the argument that is out of range",
        )
    if steps < burn_in + lag + 1:
        raise DataError(
            f"sequences of {steps} steps",
            f"at least burn_in + max_lag + 1 = {burn_in + lag + 1}",
            "give longer ones or lower max_lag",
        )


@torch.no_grad()
def _states_before(system: DynamicalSystem, inputs: Tensor, starts: Tensor | None) -> Float[Tensor, "B T S"]:
    """h_{t-1} for each input x_t."""
    start = (system.initial_state(len(inputs)) if starts is None else starts).to(inputs)
    check_state(system, start, len(inputs))
    found = rollout(system, inputs, start).states
    assert found is not None
    if not bool(torch.isfinite(found).all()):
        raise DataError(
            "states that are not finite", "a system that stays finite", "give shorter or smaller inputs, or other starts"
        )
    return torch.cat([start[:, None], found[:, :-1].to(start)], 1)


def _places(rows: int, times: int, first: int, most: int) -> tuple[Tensor, Tensor]:
    """Rows and times of about `most` places spread evenly over rows x times, times counted from `first`."""
    flat = torch.linspace(0, rows * times - 1, min(most, rows * times), dtype=torch.float64).round().long()
    return flat // times, flat % times + first


def _products(
    system: DynamicalSystem, before: Tensor, inputs: Tensor, places: tuple[Tensor, Tensor], lag: int
) -> tuple[Tensor, Tensor | None]:
    row, time = places
    state = torch.eye(system.state_size, dtype=before.dtype, device=before.device).expand(len(row), -1, -1)
    drive = input_jacobians(system, before[row, time], inputs[row, time]).to(before) if system.input_size else None
    state_scale = drive_scale = before.new_zeros(len(row))
    log_state, log_drive = [], []
    for k in range(lag + 1):
        if k:
            factor = state_jacobians(system, before[row, time + k], inputs[row, time + k]).to(before)
            state = factor @ state
            drive = None if drive is None else factor @ drive
        state, state_scale = _scaled(state, state_scale)
        log_state.append(state_scale + _log_norm(state))
        if drive is not None:
            drive, drive_scale = _scaled(drive, drive_scale)
            log_drive.append(drive_scale + _log_norm(drive))
    return torch.stack(log_state, 1), torch.stack(log_drive, 1) if log_drive else None


def _scaled(product: Float[Tensor, "N I J"], scale: Float[Tensor, " N"]) -> tuple[Tensor, Tensor]:
    """The product with Frobenius norm one (or zero), and the logarithm of what was taken out so far."""
    size = product.flatten(1).norm(dim=1)
    size = torch.where(size > 0, size, 1.0)
    return product / size[:, None, None], scale + size.log()


def _log_norm(product: Float[Tensor, "N I J"]) -> Float[Tensor, " N"]:
    """ln of the largest singular value, from the smaller Gram matrix, which is exact enough for the largest one."""
    small = product.mT if product.shape[1] > product.shape[2] else product
    return 0.5 * torch.linalg.eigvalsh(small @ small.mT)[:, -1].clamp_min(0).log()
