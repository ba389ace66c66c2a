"""Does a driven system forget where it started? Pairs of replicas under one input, and the conditional exponent.

Axis names: P pairs, N = T + 1 times, B batch, T steps, X input features, S state.
"""

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from rnnscope.core.driven import BLOWN_UP, in_double
from rnnscope.core.errors import ConfigError, DataError, ShapeError
from rnnscope.core.system import DynamicalSystem

Outcome = Literal["forgets", "several attractors", "does not forget", "undecided"]
FORGOTTEN = 1e-6  # distance, relative to the first one, from which a pair counts as one
PROBE = 6.0  # size of the perturbation that measures growth, in sqrt(eps) (1 + |h|): between rounding and curvature
LEAST_GROWTH = math.log(1e-10)  # of one step, in nats: rounding hides what is below
NUM_BLOCKS = 20


@dataclass(frozen=True)
class Forgetting:
    """Whether replicas of a system that start apart and read the same input become one.

    Attributes:
        distances: |h_t - h'_t| of each pair at t = 0 … T, (P, N).
        exponents: conditional Lyapunov exponent of each pair, nats per step, (P,).
        exponent, standard_error: their mean and its error.
        converged: pairs whose distance ended below 1e-6 of the first one, (P,).
        decay_time: steps until the distance stays below 1/e of the first one, in the worst pair; infinite if never.
        forgetting_time: the same for 1e-6.
        echo_state: True: it forgets; False: it does not; None: undecided.
        outcome: "forgets", "several attractors" (pairs contract, but some towards different ends), "does not forget", "undecided".
        reason: the verdict in words, with its evidence.
        num_steps: T, steps done. input_law: what drove it, in words.
    """

    distances: Float[Tensor, "P N"]
    exponents: Float[Tensor, " P"]
    exponent: float
    standard_error: float
    converged: Bool[Tensor, " P"]
    decay_time: float
    forgetting_time: float
    echo_state: bool | None
    outcome: Outcome
    reason: str
    num_steps: int
    input_law: str

    @property
    def median_distance(self) -> Float[Tensor, " N"]:
        """Median over pairs at each time."""
        return self.distances.median(0).values

    @property
    def worst_distance(self) -> Float[Tensor, " N"]:
        """The largest over pairs at each time."""
        return self.distances.max(0).values

    @property
    def summary(self) -> str:
        """One line."""
        return f"{self.outcome}: {self.reason}"


def forgetting(
    system: DynamicalSystem,
    *,
    inputs: Tensor | None = None,
    starts: Tensor | None = None,
    num_pairs: int = 16,
    num_steps: int = 2000,
    max_steps: int | None = None,
    input_sd: float = 1.0,
    rng: torch.Generator | None = None,
) -> Forgetting:
    """Test the echo-state property: under one input, do all starts end in the same state?

    Two replicas h, h' of each pair read the same inputs. Besides, a perturbation v of h, rescaled at every step to
    |v| = 1e-7 (1 + |h|) (2e-3 where the step computes in float32), gives the largest conditional Lyapunov exponent, λ = mean of ln |F(h + v, x) - F(h, x)| / |v|, after
    the first quarter of the run. Its standard error is the larger of those from 20 blocks of time and from pairs.

    With the resolution r = max(2 standard errors, 1/T) the verdict is

    * forgets: λ < -r and every pair's distance stayed below 1e-6 of its first value in the last tenth of the run;
    * several attractors: λ < -r and some pairs stayed apart up to `max_steps`, which is four times as long as λ needs for
      1e-6, and none met in the second half (where pairs still meet now and then, the rest may only wait for their chance);
    * does not forget: λ > r and pairs stayed apart, or the states left every bound while pairs separated;
    * undecided: |λ| <= r (the edge: a rotation, a line attractor, a limit cycle's phase), or pairs that may still meet.

    The property is one of the system *and* the input: a network that is chaotic by itself may forget under strong noise. Pairs
    are evidence, not proof: an attractor with a small basin can be missed by `num_pairs` starts, and attractors that are
    apart for `max_steps` may be joined by a rarer input.

    Args:
        system: any dynamical system; run as a float64 copy.
        inputs: (T, X), shared by all pairs, or (P, T, X), one sequence per pair; independent white noise N(0, input_sd²) for
            each pair when None. For an autonomous system X = 0.
        starts: h_0, h'_0 of each pair, (P, 2, S); initial state + N(0, 1) when None, which covers the box |h| <= 1.
        num_pairs: P >= 1, where neither inputs nor starts say it. num_steps: T >= 40, where inputs do not say it.
        max_steps: under noise or without input, a run that is undecided, or finds several attractors, goes on, doubled each
            time, up to so many steps; 8 num_steps when None.
        rng: source of noise, starts and perturbations, on the CPU; a fresh one with seed 0 when None.

    Returns:
        `Forgetting`.

    Raises:
        ConfigError: a count out of range. ShapeError: inputs or starts that do not fit. DataError: a pair with equal starts,
        or a state that is not a number.

    References:
        Jaeger (2001), GMD report 148 (echo-state property). Pecora & Carroll (1990), PRL 64, 821 (conditional exponents).
        Benettin et al. (1980), Meccanica 15, 9.

    Example:
        >>> import torch, rnnscope as rs
        >>> decay = rs.System(lambda h, x: 0.5 * h + x, state_size=1, input_size=1)
        >>> found = forgetting(decay, num_steps=100)
        >>> found.echo_state, round(found.exponent, 4), found.forgetting_time
        (True, -0.6931, 20.0)
    """
    rng = torch.Generator().manual_seed(0) if rng is None else rng
    pairs = _num_pairs(inputs, starts, num_pairs)
    copy = in_double(system)
    with torch.no_grad():
        driving, law = driving_inputs(copy, inputs, pairs, num_steps, input_sd, rng)
        steps = int(driving.shape[1])
        most = steps if inputs is not None else 8 * steps if max_steps is None else max_steps
        if pairs < 1 or steps < 2 * NUM_BLOCKS or most < steps:
            raise ConfigError(
                f"{pairs} pairs over {steps} steps, max_steps {max_steps}",
                f"at least 1 pair and {2 * NUM_BLOCKS} steps, max_steps >= num_steps",
                "change the argument that is out of range",
            )
        first, second = _starts(copy, starts, pairs, rng)

        def stream() -> Iterator[Tensor]:
            yield from driving.unbind(1)
            while True:  # reached under noise only: `most` ends a run with given inputs
                yield from driving_inputs(copy, None, pairs, steps, input_sd, rng)[0].unbind(1)

        scale = PROBE * math.sqrt(torch.finfo(copy.step(first, driving[:, 0]).dtype).eps)
        run = _replicas(copy, stream(), first, second, scale, rng)
        return _run_until_decided(run, (first - second).norm(dim=-1), steps, most, law)


def _run_until_decided(
    run: Iterator[tuple[Tensor, Tensor]], distance: Float[Tensor, " P"], steps: int, most: int, law: str
) -> Forgetting:
    """Judge after `steps` steps, and unless that is clear again after twice as many, up to `most`."""
    distances, wanted = [distance], steps
    growth: list[Tensor] = []
    while True:
        for after, factor in itertools.islice(run, wanted - len(growth)):
            distances.append(after)
            growth.append(factor)
        found = _judge(torch.stack(distances, 1), torch.stack(growth, 1), wanted, law)
        if found.outcome in ("forgets", "does not forget") or len(growth) < wanted or 2 * wanted > most:
            return found
        wanted *= 2


def driving_inputs(
    system: DynamicalSystem, inputs: Tensor | None, rows: int, num_steps: int, input_sd: float, rng: torch.Generator
) -> tuple[Float[Tensor, "B T X"], str]:
    """Inputs (rows, T, X) in float64 on the system's device, and in words what they are; white noise where none are given."""
    like = system.initial_state(1)
    width = system.input_size
    if inputs is None:
        if num_steps < 1 or input_sd < 0:
            raise ConfigError(f"num_steps {num_steps}, input_sd {input_sd}", "num_steps >= 1, input_sd >= 0", "change them")
        noise = input_sd * torch.randn(rows, num_steps, width, generator=rng, dtype=torch.float64)
        return noise.to(like.device), f"white noise of sd {input_sd:g}" if width else "no input"
    if inputs.ndim not in (2, 3) or inputs.shape[-1] != width or (inputs.ndim == 3 and len(inputs) != rows):
        raise ShapeError(
            f"inputs of shape {tuple(inputs.shape)}",
            f"(time, {width}) or ({rows}, time, {width})",
            "put the axes in the order sequence, time, feature",
        )
    given = inputs.detach().to(like.device, torch.float64)
    shared = given.ndim == 2
    words = "one given input sequence" if shared or rows == 1 else f"{rows} given input sequences"
    return given.expand(rows, *given.shape) if shared else given, words if width else "no input"


def _num_pairs(inputs: Tensor | None, starts: Tensor | None, num_pairs: int) -> int:
    if starts is not None:
        return len(starts)
    return len(inputs) if inputs is not None and inputs.ndim == 3 else num_pairs


def _starts(system: DynamicalSystem, starts: Tensor | None, pairs: int, rng: torch.Generator) -> tuple[Tensor, Tensor]:
    rest = system.initial_state(pairs).double()
    if starts is None:
        noise = torch.randn(2, *rest.shape, generator=rng, dtype=torch.float64).to(rest.device)
        return rest + noise[0], rest + noise[1]
    if tuple(starts.shape) != (pairs, 2, system.state_size):
        raise ShapeError(
            f"starts of shape {tuple(starts.shape)}", f"(pairs, 2, {system.state_size})", "give two start states per pair"
        )
    first, second = starts.detach().to(rest).unbind(1)
    if bool((first == second).all(-1).any()):
        raise DataError("a pair whose two starts are equal", "two different starts", "leave the pair out or move one of them")
    return first, second


def _replicas(
    system: DynamicalSystem, inputs: Iterator[Tensor], first: Tensor, second: Tensor, scale: float, rng: torch.Generator
) -> Iterator[tuple[Tensor, Tensor]]:
    """(distance, ln growth of a small perturbation) of each pair after each step; it ends early where a state leaves every bound."""
    pairs = len(first)

    def probe(size: Tensor) -> Tensor:
        direction = torch.randn(first.shape, generator=rng, dtype=torch.float64).to(first.device)
        return direction / direction.norm(dim=-1, keepdim=True) * size[:, None]

    size = scale * (1 + first.norm(dim=-1))
    offset = probe(size)
    for x in inputs:
        new = system.step(torch.cat([first, second, first + offset]), torch.cat([x, x, x])).to(first.dtype)
        if bool(new.isnan().any()):
            raise DataError(
                "a state that is not a number", "finite states", "give starts and inputs for which the system stays finite"
            )
        if not float(new.abs().max()) < BLOWN_UP:
            return
        first, second, moved = new.split(pairs)
        difference = moved - first
        grown = difference.norm(dim=-1)
        growth = (grown / size).log().clamp_min(LEAST_GROWTH)
        yield (first - second).norm(dim=-1), growth
        size = scale * (1 + first.norm(dim=-1))
        alive = growth > LEAST_GROWTH
        offset = torch.where(alive[:, None], difference / grown.clamp_min(1e-300)[:, None] * size[:, None], 0.0)
        if not bool(alive.all()):
            offset = torch.where(alive[:, None], offset, probe(size))


def _judge(distances: Tensor, growth: Tensor, wanted: int, law: str) -> Forgetting:
    steps = growth.shape[1]
    kept = growth[:, steps // 4 :]
    exponents = kept.mean(1)
    exponent, error = float(exponents.mean()), _standard_error(kept)
    relative = distances / distances[:, :1]
    converged = (relative[:, -max(1, steps // 10) :] <= FORGOTTEN).all(1)
    meeting = _times_below(relative, FORGOTTEN)
    open_end = bool((meeting[converged] > steps / 2).any()) or bool(_still_shrinking(distances, exponent)[~converged].any())
    outcome: Outcome
    if steps < wanted:
        outcome, reason = "does not forget", f"the states left every bound after {steps} steps of {wanted}"
        if float(relative[:, -1].median()) <= 1 or exponent <= 0:
            outcome = "undecided"
    else:
        outcome, reason = _verdict(exponent, error, converged, open_end, steps)
    return Forgetting(
        distances=distances,
        exponents=exponents,
        exponent=exponent,
        standard_error=error,
        converged=converged,
        decay_time=float(_times_below(relative, math.exp(-1)).max()),
        forgetting_time=float(meeting.max()),
        echo_state={"forgets": True, "undecided": None}.get(outcome, False),
        outcome=outcome,
        reason=f"{reason}; conditional exponent {exponent:.4f} ± {error:.4f} nats per step under {law}",
        num_steps=steps,
        input_law=law,
    )


def _standard_error(growth: Float[Tensor, "P T"]) -> float:
    """The larger of the errors from blocks of time and from pairs: pairs may share their input, blocks their attractor."""
    size = growth.shape[1] // NUM_BLOCKS
    blocks = growth.mean(0)[-size * NUM_BLOCKS :].reshape(NUM_BLOCKS, size).mean(1) if size else growth.mean(0)
    errors = [float(v.std()) / math.sqrt(len(v)) for v in (blocks, growth.mean(1)) if len(v) > 1]
    return max(errors, default=math.inf)


def _still_shrinking(distances: Tensor, exponent: float) -> Tensor:
    """Pairs whose distance fell in the last quarter of the run by at least half of what the exponent says, (P,)."""
    logs = distances.clamp_min(1e-300).log()
    quarter = max(1, distances.shape[1] // 4)
    fall = logs[:, -quarter:].mean(1) - logs[:, -2 * quarter : -quarter].mean(1)
    return fall < 0.5 * min(exponent, 0.0) * quarter


def _verdict(exponent: float, error: float, converged: Tensor, open_end: bool, steps: int) -> tuple[Outcome, str]:
    pairs, met = len(converged), int(converged.sum())
    resolution = max(2 * error, 1 / steps)
    share = f"{met} of {pairs} pairs met within {steps} steps"
    if abs(exponent) <= resolution or not math.isfinite(error):
        return "undecided", f"at the edge, |exponent| is below the resolution {resolution:.2g}; {share}"
    if exponent > 0:
        if met == pairs:
            return "undecided", f"all pairs met, though perturbations grow: they became equal by rounding; {share}"
        return "does not forget", f"perturbations grow; {share}"
    if met == pairs:
        return "forgets", share
    if (exponent + 2 * error) * steps > 4 * math.log(FORGOTTEN) or open_end:
        return "undecided", f"pairs may still meet, raise num_steps; {share}"
    return (
        "several attractors",
        f"perturbations shrink, but the other {pairs - met} stayed apart and none met in the second half; {share}",
    )


def _times_below(relative: Float[Tensor, "P N"], level: float) -> Float[Tensor, " P"]:
    """The first time from which each curve stays at or below a level; infinite where its end is above."""
    times = torch.arange(1, relative.shape[1] + 1, device=relative.device)
    last_above = ((relative > level) * times).max(1).values.double()
    return torch.where(last_above == relative.shape[1], math.inf, last_above)
