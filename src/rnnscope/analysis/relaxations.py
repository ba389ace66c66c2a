"""Paths without input, from driven states back to rest.

Axis names as everywhere: N states, S state, B paths, T time.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from rnnscope.core.system import DynamicalSystem, check_state


@dataclass(frozen=True)
class Relaxations:
    """Paths h_t = F(h_{t-1}, 0) from driven states to where they come to rest.

    Attributes:
        states: h_0 (the starts), h_1, …, (B, T + 1, S). symbols: argmax of the outputs, (B, T + 1).
        steps_to_rest: first step from which on |h_t - h_T| <= tolerance · |h_0 - h_T|, (B,); T + 1 where it never came to rest.
        steps_to_settle: first step from which on the symbol no longer changes, (B,). At h = 0 of a network without biases all outputs
            are equal and argmax is an accident, so symbols are read only as long as the state is not at rest.
        settled: came to rest within T, (B,). rest: the state reached, h_T, (B, S).
    """

    states: Float[Tensor, "B T S"]
    symbols: Int[Tensor, "B T"]
    steps_to_rest: Int[Tensor, " B"]
    steps_to_settle: Int[Tensor, " B"]
    settled: Bool[Tensor, " B"]
    rest: Float[Tensor, "B S"]


@torch.no_grad()
def relaxations(
    system: DynamicalSystem, starts: Float[Tensor, "B S"], num_steps: int = 300, *, tolerance: float = 1e-3
) -> Relaxations:
    """Switch the input off and watch states come to rest.

    Args:
        starts: driven states. num_steps: T >= 1; memory is B (T + 1) S numbers.
        tolerance: distance from the end, relative to the distance travelled, that counts as rest.

    Returns:
        `Relaxations`. A path whose last step is longer than `tolerance` of the whole way is not settled: a cycle or a slow drift.
    """
    check_state(system, starts, starts.shape[0])
    silence = starts.new_zeros(starts.shape[0], system.input_size)
    states = starts.new_empty(starts.shape[0], num_steps + 1, system.state_size)
    states[:, 0] = state = starts
    for step in range(1, num_steps + 1):
        states[:, step] = state = system.step(state, silence)
    symbols = system.readout(states).argmax(-1)
    way = (starts - state).norm(dim=-1)
    distance = (states - state[:, None]).norm(dim=-1)
    still = (states[:, -1] - states[:, -2]).norm(dim=-1) <= tolerance * way
    moving = distance > tolerance * way[:, None]
    to_rest = _after_last(moving)
    known = torch.arange(num_steps + 1, device=starts.device) < to_rest.clamp_min(1)[:, None]
    changed = (symbols[:, 1:] != symbols[:, :-1]) & known[:, 1:]
    to_settle = torch.cat([changed.new_zeros(len(starts), 1), changed], 1)
    settled = still & (to_rest < num_steps)
    return Relaxations(
        states,
        symbols.to(torch.int16),
        torch.where(settled, to_rest, num_steps + 1),
        (_after_last(to_settle) - 1).clamp_min(0),
        settled,
        state,
    )


def _after_last(flags: Bool[Tensor, "B T"]) -> Int[Tensor, " B"]:
    """One past the last true entry of each row; 0 where there is none."""
    positions = torch.arange(1, flags.shape[1] + 1, device=flags.device)
    return (flags * positions).amax(1)
