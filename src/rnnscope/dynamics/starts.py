"""Where searches begin: states that a system visits under noise, and others around them."""

import torch
from jaxtyping import Float
from torch import Tensor

from rnnscope.core.errors import ConfigError, ShapeError
from rnnscope.core.system import DynamicalSystem

SCALES = (0.0, 0.5, 1.0, 2.0)  # of random initial states and of the noise that drives them
STEPS = 60
FAR = 1e8  # a state beyond this is on its way to infinity, where relative errors vanish


@torch.no_grad()
def default_starts(
    system: DynamicalSystem,
    num: int,
    rng: torch.Generator,
    input: Float[Tensor, " X"] | None = None,
    *,
    spread: float = 0.5,
) -> Float[Tensor, "N S"]:
    """States from which to look for what a system does.

    Paths begin at the initial state plus noise of several sizes and are driven by white noise of several sizes around the held
    input. States are taken at random times of these paths and moved by N(0, spread² σ²), σ the larger of each unit's sd over
    the paths and a tenth of the largest. Paths that leave the finite numbers count only up to there.

    Args:
        num: N >= 1. rng: on the CPU. input: the held input around which paths are driven; zeros when None. spread: >= 0.

    Returns:
        (N, S) float64 on the CPU.
    """
    if num < 1:
        raise ConfigError(f"{num} starts", "at least one", "ask for more starts")
    paths = max(8, min(num, 256))
    like = system.initial_state(1)
    held = torch.zeros(system.input_size) if input is None else input
    scale = torch.tensor(SCALES, dtype=like.dtype).repeat(-(-paths // len(SCALES)))[:paths, None]
    state = system.initial_state(paths).cpu() + scale * _normal((paths, system.state_size), rng, like)
    scale = scale[torch.randperm(paths, generator=rng)]
    visited = [state]
    for _ in range(STEPS):
        noise = scale * _normal((paths, system.input_size), rng, like)
        state = system.step(state.to(like), (held.to(noise) + noise).to(like)).cpu().to(like.dtype)
        visited.append(state)
    pool = within_reach(torch.cat(visited).double())
    chosen = pool[torch.randint(len(pool), (num,), generator=rng)]
    return scatter(chosen, pool, spread, rng)


def within_reach(states: Float[Tensor, "N S"]) -> Float[Tensor, "M S"]:
    """The states that are finite and nearer than `FAR`."""
    return states[torch.isfinite(states).all(1) & (states.abs().amax(1) < FAR)]


def num_default_starts(size: int) -> int:
    """How many starts a search takes by itself for so many unknowns: 1024, fewer for more than 64, never below 64."""
    return max(64, min(1024, 65536 // size))


def scatter(states: Float[Tensor, "N S"], pool: Float[Tensor, "M S"], spread: float, rng: torch.Generator) -> Tensor:
    """States moved by noise in proportion to each unit's sd over a pool of states."""
    sd = pool.std(0, correction=0)
    sd = torch.maximum(sd, 0.1 * sd.max()) if float(sd.max()) > 0 else torch.ones_like(sd)
    return states + spread * sd * torch.randn(states.shape, generator=rng, dtype=torch.float64)


def checked_starts(system: DynamicalSystem, starts: Tensor) -> Float[Tensor, "N S"]:
    """The caller's starts as (N, S) float64 on the CPU, a single one as one row; refused where they do not fit."""
    found = torch.as_tensor(starts).detach()
    found = found[None] if found.ndim == 1 else found
    if found.ndim != 2 or found.shape[1] != system.state_size or not len(found):
        raise ShapeError(
            f"starts of shape {tuple(torch.as_tensor(starts).shape)}",
            f"(number of starts >= 1, {system.state_size})",
            "give one flat state per row (an LSTM's is concat(h, c), layer by layer), or leave starts out",
        )
    bad = ~torch.isfinite(found).all(1)
    if bad.any():
        raise ShapeError(
            f"start number {int(bad.nonzero()[0])} holds values that are not finite", "finite states", "leave those rows out"
        )
    return found.double().cpu().clone()


def checked_input(system: DynamicalSystem, input: Tensor | None) -> Float[Tensor, " X"]:
    """The held input as (X,) float64: zeros when None."""
    if input is None:
        return torch.zeros(system.input_size, dtype=torch.float64)
    found = torch.as_tensor(input).detach().double().cpu()
    if tuple(found.shape) != (system.input_size,):
        raise ShapeError(
            f"an input of shape {tuple(found.shape)}", f"({system.input_size},)", "give one input vector, which is held fixed"
        )
    if not torch.isfinite(found).all():
        raise ShapeError("an input that is not finite", "finite numbers", "choose another input")
    return found.clone()


def _normal(shape: tuple[int, int], rng: torch.Generator, like: Tensor) -> Tensor:
    return torch.randn(shape, generator=rng, dtype=torch.float64).to(like.dtype)
