"""Noise-driven paths h_t = F(h_{t-1}, x_t), x_t ~ N(0, s² I), y_t = G(h_t), and whether they stay bounded.

Axis names as everywhere: B paths, T time, X input features, S state, Y outputs.
"""

import copy
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from rnnscope.core.errors import ConfigError
from rnnscope.core.system import DynamicalSystem, check_state

Mode = Literal["full", "recurrence only", "input only"]
MODES = ("full", "recurrence only", "input only")
BLOWN_UP = 1e12  # a norm beyond any use: the square of it still fits in float32


@dataclass(frozen=True)
class DrivenPaths:
    """Paths of a system under white noise.

    Attributes:
        states: h at steps 0, k, 2k, … after the burn-in, (B, K, S), with k = `stride` and K = ceil(T / k).
        logits: G of these states, (B, K, Y).
        symbols: argmax of the output at every one of the T steps, (B, T); symbols[:, ::stride] belong to `states`.
        inputs: x_t, the one that led to step t, (B, T, X), or None when they were not asked for.
        start: the state before the first step kept, (B, S).
        final_state: h_T, (B, S): pass it as `start` to go on.
        stride: k. mode, noise_scale, burn_in: as asked for.
    """

    states: Float[Tensor, "B K S"]
    logits: Float[Tensor, "B K Y"]
    symbols: Int[Tensor, "B T"]
    inputs: Float[Tensor, "B T X"] | None
    start: Float[Tensor, "B S"]
    final_state: Float[Tensor, "B S"]
    stride: int
    mode: Mode
    noise_scale: float
    burn_in: int

    def pool(self, count: int) -> tuple[Float[Tensor, "M S"], Int[Tensor, " M"]]:
        """About `count` states spread evenly over paths and times, and their symbols."""
        rows, times = self.states.shape[:2]
        flat = torch.linspace(0, rows * times - 1, min(count, rows * times), dtype=torch.float64).long()
        row, time = flat // times, flat % times
        return self.states[row, time], self.symbols[row, time * self.stride]


def noise_steps(
    system: DynamicalSystem, state: Float[Tensor, "B S"], num_steps: int, rng: torch.Generator, scale: float = 1.0
) -> Iterator[tuple[Tensor, Tensor]]:
    """(state after the step, input of the step) for `num_steps` steps of white noise with standard deviation `scale`.

    The noise is drawn into one buffer, which makes it several times cheaper than a fresh tensor per step: copy the input
    to keep it.
    """
    buffer = state.new_empty(state.shape[0], system.input_size)
    for _ in range(num_steps):
        fill_noise(buffer, rng, scale)
        state = own(system.step(state, buffer), buffer)
        yield state, buffer


def fill_noise(buffer: Tensor, rng: torch.Generator, scale: float = 1.0) -> None:
    """Overwrite a buffer with N(0, scale²)."""
    buffer.normal_(generator=rng)
    if scale != 1.0:
        buffer *= scale


def own(state: Tensor, buffer: Tensor) -> Tensor:
    """The state, copied if it lives in the buffer that the next noise overwrites."""
    shared = state.untyped_storage().data_ptr() == buffer.untyped_storage().data_ptr()
    return state.clone() if shared and buffer.numel() else state


@torch.no_grad()
def drive(
    system: DynamicalSystem,
    num_steps: int,
    num_paths: int,
    rng: torch.Generator,
    *,
    burn_in: int = 100,
    noise_scale: float = 1.0,
    mode: Mode = "full",
    start: Float[Tensor, "B S"] | None = None,
    stride: int = 1,
    keep_inputs: bool = False,
) -> DrivenPaths:
    """Drive a system with white noise, x_t ~ N(0, noise_scale² I), and keep where it went.

    Modes, all after a burn-in under full noise:

    * "full": h_t = F(h_{t-1}, x_t).
    * "recurrence only": h_t = F(h_{t-1}, 0), what the network does by itself from a driven state. Without burn-in and
      `start` a bias-free network stays at its zero initial state for ever: that is its fixed point, not a finding.
    * "input only": h_t = F(h_0, x_t) with h_0 the initial state, so that every step starts afresh and only the path
      input -> state is left; the states are independent of each other. (The study's "input only" is relu(W_x x_t + h_{t-1}), i.e. the
      recurrent matrix replaced by the identity. That is a random walk reflected at zero in every unit: it grows like √t, never
      settles, and says nothing about W_h; it is not offered.)

    Args:
        num_steps: T >= 1. num_paths: B >= 1; large batches are cheapest per step, about 3000.
        rng: on the system's device. burn_in: steps dropped first, >= 0.
        start: state before the burn-in, (B, S); the system's initial state when None.
        stride: keep the states of every so many steps; symbols are kept at every step.
        keep_inputs: also return the inputs, (B, T, X).

    Returns:
        `DrivenPaths`, in the system's dtype and on its device.

    Raises:
        ConfigError: an unknown mode or a count out of range. ShapeError: a start that does not fit.

    Example:
        >>> import torch, rnnscope as rs
        >>> decay = rs.System(lambda h, x: 0.5 * h + x, state_size=1, input_size=1)
        >>> drive(decay, 50, 4, torch.Generator().manual_seed(0), stride=5).states.shape
        torch.Size([4, 10, 1])
    """
    if mode not in MODES or min(num_steps, num_paths, stride) < 1 or burn_in < 0:
        raise ConfigError(
            f"mode {mode!r}, num_steps {num_steps}, num_paths {num_paths}, stride {stride}, burn_in {burn_in}",
            f"a mode of {MODES}, counts >= 1, burn_in >= 0",
            "change the argument that is out of range",
        )
    state = system.initial_state(num_paths) if start is None else start
    check_state(system, state, num_paths)
    for after, _ in noise_steps(system, state, burn_in, rng, noise_scale):
        state = after
    before, fresh = state, system.initial_state(num_paths)
    states = state.new_empty(num_paths, -(-num_steps // stride), system.state_size)
    logits = state.new_empty(num_paths, states.shape[1], system.output_size)
    symbols = torch.empty(num_paths, num_steps, dtype=torch.int16, device=state.device)
    inputs = state.new_empty(num_paths, num_steps, system.input_size) if keep_inputs else None
    buffer = state.new_zeros(num_paths, system.input_size)
    for step in range(num_steps):
        if mode != "recurrence only":
            fill_noise(buffer, rng, noise_scale)
        state = own(system.step(fresh if mode == "input only" else state, buffer), buffer)
        output = system.readout(state)
        symbols[:, step] = output.argmax(-1)
        if inputs is not None:
            inputs[:, step] = buffer
        if step % stride == 0:
            states[:, step // stride], logits[:, step // stride] = state, output
    return DrivenPaths(states, logits, symbols, inputs, before, state, stride, mode, noise_scale, burn_in)


def draw_symbols(logits: Float[Tensor, "*B Y"], rng: torch.Generator, temperature: float = 1.0) -> Int[Tensor, "*B"]:
    """Symbols drawn from softmax(logits / temperature), by the Gumbel-max rule. Not the same as argmax: name which is meant."""
    return (logits / temperature + gumbel(logits, rng)).argmax(-1)


def gumbel(like: Float[Tensor, "*B Y"], rng: torch.Generator) -> Float[Tensor, "*B Y"]:
    """Standard Gumbel noise of a tensor's shape."""
    return -torch.empty_like(like).exponential_(generator=rng).clamp_min_(torch.finfo(like.dtype).tiny).log_()


def switches(symbols: Int[Tensor, "B T"]) -> Bool[Tensor, "B U"]:
    """Whether the symbol at step t + 1 differs from the one at t; U = T - 1."""
    return symbols[:, 1:] != symbols[:, :-1]


def switch_rate(symbols: Int[Tensor, "B T"]) -> float:
    """Changes of symbol per step."""
    return float(switches(symbols).double().mean())


def dwell_times(symbols: Int[Tensor, "B T"]) -> tuple[Int[Tensor, " N"], Int[Tensor, " N"]]:
    """Length of every complete dwell, from one change to the next, and its symbol. Dwells cut by an end of a path are left out.

    Leaving them out favours short dwells where T is not much longer than a dwell: take T long.
    """
    row, time = switches(symbols).nonzero(as_tuple=True)
    same = row[1:] == row[:-1]
    return (time[1:] - time[:-1])[same], symbols[row, time + 1][:-1][same].long()


def symbol_shares(symbols: Tensor, num_symbols: int) -> Float[Tensor, " Y"]:
    """Share of each symbol."""
    counts = torch.bincount(symbols.reshape(-1).long(), minlength=num_symbols).double()
    return counts / counts.sum()


class OwnPrecision(DynamicalSystem):
    """A system whose functions hold numbers of their own dtype, behind float64: converted on the way in and out.

    What it returns is exact only to the precision of that dtype, `own`.
    """

    def __init__(self, system: DynamicalSystem, own: torch.dtype) -> None:
        super().__init__()
        self.system, self.own = system, own
        self.state_size, self.input_size, self.output_size = system.state_size, system.input_size, system.output_size

    def initial_state(self, batch_size: int) -> Tensor:
        return self.system.initial_state(batch_size).double()

    def step(self, state: Tensor, input: Tensor) -> Tensor:
        return self.system.step(state.to(self.own), input.to(self.own)).to(state)

    def readout(self, state: Tensor) -> Tensor:
        return self.system.readout(state.to(self.own)).to(state)


def in_double(system: DynamicalSystem) -> DynamicalSystem:
    """A copy of a system with its parameters and buffers in float64; the caller's is left as it is.

    Functions may hold tensors that no copy reaches: a system whose step refuses float64 comes back as `OwnPrecision`.
    """
    double = copy.deepcopy(system).double()
    state = double.initial_state(1)
    try:
        double.step(state, state.new_zeros(1, system.input_size))
    except RuntimeError as error:
        if "dtype" not in str(error) and "type" not in str(error):
            raise
        own = system.initial_state(1).dtype
        return OwnPrecision(copy.deepcopy(system), own)
    return double


def rounding(system: DynamicalSystem) -> float:
    """Relative rounding error of one step: of float64, or of the dtype that an `OwnPrecision` works in."""
    return float(torch.finfo(system.own if isinstance(system, OwnPrecision) else torch.float64).eps)


@dataclass(frozen=True)
class Boundedness:
    """Whether |h| stays bounded under noise.

    Attributes:
        times: logarithmically spaced steps, (N,), up to the last one reached.
        max_norm: the largest |h| over paths up to each of these steps, (N,).
        mean_norm: mean |h| over paths in the last quarter of the run.
        growth_rate: ln(mean |h| in the last quarter / mean |h| in the second quarter) per step; infinite where it blew up.
        bounded: finite throughout and grown by less than `tolerance` between these quarters.
        num_steps: steps done. reason: the verdict in words.
    """

    times: Int[Tensor, " N"]
    max_norm: Float[Tensor, " N"]
    mean_norm: float
    growth_rate: float
    bounded: bool
    num_steps: int
    reason: str


@torch.no_grad()
def boundedness(
    system: DynamicalSystem,
    num_steps: int,
    num_paths: int,
    rng: torch.Generator,
    *,
    noise_scale: float = 1.0,
    num_times: int = 60,
    tolerance: float = 0.2,
) -> Boundedness:
    """Drive a system for long and look whether its state still grows.

    A network trained on short sequences may grow without limit beyond them: a ReLU has no ceiling. The second and the
    last quarter of the run are compared: a stationary state keeps its mean norm, a random walk's grows by half
    (√t), a diverging one's by orders of magnitude.

    Args:
        num_steps: 10_000 is the study's horizon; >= 8. num_paths: 32 is plenty.
        num_times: points of the trace. tolerance: relative growth of the mean norm still called bounded.

    Returns:
        `Boundedness`.
    """
    times = torch.logspace(0, math.log10(num_steps), num_times).round().long().unique()
    wanted, trace, largest = set(times.tolist()), [], 0.0
    norms = torch.zeros(num_steps, dtype=torch.float64)
    done = 0
    for state, _ in noise_steps(system, system.initial_state(num_paths), num_steps, rng, noise_scale):
        size = state.norm(dim=-1)
        done += 1
        norms[done - 1] = size.mean()
        largest = max(largest, float(size.max()))
        if not largest < BLOWN_UP or not bool(torch.isfinite(size).all()):
            break
        if done in wanted:
            trace.append(largest)
    quarter = num_steps // 4
    early, late = float(norms[quarter : 2 * quarter].mean()), float(norms[3 * quarter :].mean())
    reached = times[: len(trace)]
    kept = torch.tensor(trace, dtype=torch.float64)
    if done < num_steps or len(trace) < len(times):
        return Boundedness(reached, kept, math.inf, math.inf, False, done, f"|h| left every bound at step {done}")
    growth = math.log(late / early) if early > 0 and late > 0 else 0.0
    bounded = growth < math.log1p(tolerance)
    words = "stays bounded" if bounded else "still grows"
    reason = f"mean |h| {words}: {early:.4g} in the second quarter of {num_steps} steps, {late:.4g} in the last"
    return Boundedness(reached, kept, late, growth / (2 * quarter), bounded, done, reason)
