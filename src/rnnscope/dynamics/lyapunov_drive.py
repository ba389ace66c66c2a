"""What drives a system while its Lyapunov spectrum is measured, and the trajectory it takes."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from rnnscope.core.errors import ConfigError, DataError, ShapeError
from rnnscope.core.system import DynamicalSystem

START_SPREAD = 0.05  # standard deviation of starts around the initial state


@dataclass(frozen=True)
class Drive:
    """Where inputs come from.

    Attributes:
        words: the drive in words. is_conditional: whether inputs vary, so that exponents are conditional on them.
        num_rows: B it asks for, None where it fits any. num_steps: steps it lasts, None for ever.
        block: (first step, number of steps, B) -> inputs (N, B, X).
    """

    words: str
    is_conditional: bool
    num_rows: int | None
    num_steps: int | None
    block: Callable[[int, int, int], Tensor]


def make_drive(system: DynamicalSystem, inputs: Tensor | float | None, like: Tensor, rng: torch.Generator) -> Drive:
    """The drive that `inputs` asks for: see `lyapunov_spectrum`. Inputs come in the dtype and on the device of `like`."""
    size = system.input_size
    if inputs is None:
        words = "input held at 0" if size else "autonomous"
        return Drive(words, False, None, None, lambda _, count, rows: like.new_zeros(count, rows, size))
    if isinstance(inputs, int | float):
        return _noise(float(inputs), size, like, rng)
    given = torch.as_tensor(inputs).detach().to(like)
    if given.ndim not in (1, 2, 3) or given.shape[-1] != size:
        raise ShapeError(
            f"inputs of shape {tuple(given.shape)}",
            f"({size},), (time, {size}) or (batch, time, {size})",
            "give one held vector, one sequence, or one sequence per trajectory",
        )
    if not bool(torch.isfinite(given).all()):
        raise DataError("inputs that are not finite", "numbers throughout", "fill or drop the missing values")
    if given.ndim == 1:
        return Drive("one input held", False, None, None, lambda _, count, rows: given.expand(count, rows, size))
    if given.ndim == 2:
        return Drive(
            "one input sequence for all trajectories: conditional exponents",
            True,
            None,
            len(given),
            lambda first, count, rows: given[first : first + count, None].expand(-1, rows, -1),
        )
    return Drive(
        "an input sequence for each trajectory: conditional exponents",
        True,
        len(given),
        given.shape[1],
        lambda first, count, rows: given[:, first : first + count].transpose(0, 1),
    )


def _noise(sd: float, size: int, like: Tensor, rng: torch.Generator) -> Drive:
    if not sd >= 0 or not size:
        raise ConfigError(
            f"white noise of standard deviation {sd:g} into {size} inputs", "sd >= 0 and a driven system", "leave inputs out"
        )

    def block(_: int, count: int, rows: int) -> Tensor:
        drawn = torch.randn(count, rows, size, generator=rng, dtype=like.dtype, device=rng.device)
        return sd * drawn.to(like.device)

    return Drive(f"white noise of standard deviation {sd:g}: conditional exponents", True, None, None, block)


def make_starts(initial: Float[Tensor, "1 S"], starts: Tensor | None, rows: int, rng: torch.Generator) -> Float[Tensor, "B S"]:
    """The starts given, or the initial state + N(0, 0.05²)."""
    if starts is not None:
        if starts.ndim != 2 or starts.shape[1] != initial.shape[1]:
            raise ShapeError(
                f"starts of shape {tuple(starts.shape)}", f"(B, {initial.shape[1]})", "give one flat state per row"
            )
        return starts.detach().to(initial)
    drawn = torch.randn(rows, initial.shape[1], generator=rng, dtype=torch.float64, device=rng.device)
    return initial + START_SPREAD * drawn.to(initial)


class Path:
    """B trajectories of a driven system, walked block by block.

    Attributes:
        state: the present states, (B, S). time: steps done.
    """

    def __init__(self, system: DynamicalSystem, drive: Drive, starts: Float[Tensor, "B S"]) -> None:
        self.system, self.drive, self.state, self.time = system, drive, starts, 0

    @torch.no_grad()
    def walk(self, num_steps: int) -> tuple[Float[Tensor, "N B S"], Float[Tensor, "N B X"]]:
        """Go on for N steps: the states before each step, and their inputs.

        Raises:
            DataError: a state that is not finite.
        """
        inputs = self.drive.block(self.time, num_steps, len(self.state))
        states = self.state.new_empty(num_steps, *self.state.shape)
        for t, x in enumerate(inputs.unbind(0)):
            states[t] = self.state
            self.state = self.system.step(self.state, x).to(states)
        self._check(states)
        self._check(self.state[None], num_steps)
        self.time += num_steps
        return states, inputs

    def _check(self, states: Tensor, first: int = 0) -> None:
        if math.isfinite(float(states.sum())):  # one number instead of a mask: cheap enough for every block
            return
        finite = torch.isfinite(states).all(-1)
        if bool(finite.all()):
            return
        step = int((~finite).any(1).nonzero()[0])
        gone = int((~finite[-1]).sum())
        raise DataError(
            f"{gone} of {states.shape[1]} trajectories left the finite numbers, the first at step {self.time + first + step}",
            "bounded trajectories: exponents describe where a system stays",
            "give starts inside the basin of attraction, weaker inputs, or a smaller time step",
        )
