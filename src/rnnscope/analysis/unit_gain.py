"""Systems whose units are silenced or scaled, many candidates side by side in one batch, and what that does to switching.

Axis names as everywhere: P candidates, B paths per candidate, S state, Y symbols.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from rnnscope.core.driven import BLOWN_UP, fill_noise, symbol_shares
from rnnscope.core.errors import ShapeError
from rnnscope.core.system import DynamicalSystem


class UnitGain(DynamicalSystem):
    """h_t = g ∘ F(h_{t-1}, x_t): each unit's new state times a gain. Gain 0 is an ablation.

    With a matrix of gains, (P, S), the batch holds P candidates, rows grouped candidate by candidate in equal numbers.
    """

    def __init__(self, system: DynamicalSystem, gains: Float[Tensor, "*P S"]) -> None:
        super().__init__()
        if gains.shape[-1] != system.state_size or gains.ndim not in (1, 2):
            raise ShapeError(
                f"gains of shape {tuple(gains.shape)}", f"(…, {system.state_size}), at most two axes", "give one gain per state"
            )
        self.system = system
        self.state_size, self.input_size, self.output_size = system.state_size, system.input_size, system.output_size
        self.register_buffer("gains", gains.detach().clone())

    def initial_state(self, batch_size: int) -> Tensor:
        return self.scaled(self.system.initial_state(batch_size))

    def step(self, state: Tensor, input: Tensor) -> Tensor:
        return self.scaled(self.system.step(state, input))

    def readout(self, state: Tensor) -> Tensor:
        return self.system.readout(state)

    def scaled(self, state: Tensor) -> Tensor:
        """A state with the gains applied, candidate by candidate."""
        gains = self.get_buffer("gains").to(state)
        if gains.ndim == 1:
            return state * gains
        return (state.view(len(gains), -1, self.state_size) * gains[:, None]).view_as(state)


class InputGain(DynamicalSystem):
    """F_i(h, g x) for the units i of a group, F_i(h, x) for all others: a gain on the group's noise projections.

    `gains` holds one g per candidate, (P,); rows are grouped candidate by candidate.
    """

    def __init__(self, system: DynamicalSystem, units: Bool[Tensor, " S"], gains: Float[Tensor, " P"]) -> None:
        super().__init__()
        self.system = system
        self.state_size, self.input_size, self.output_size = system.state_size, system.input_size, system.output_size
        self.register_buffer("units", units.detach().clone())
        self.register_buffer("gains", gains.detach().clone())

    def initial_state(self, batch_size: int) -> Tensor:
        return self.system.initial_state(batch_size)

    def step(self, state: Tensor, input: Tensor) -> Tensor:
        gains = self.get_buffer("gains").to(input)
        scaled = (input.view(len(gains), -1, self.input_size) * gains[:, None, None]).view_as(input)
        return torch.where(self.get_buffer("units"), self.system.step(state, scaled), self.system.step(state, input))

    def readout(self, state: Tensor) -> Tensor:
        return self.system.readout(state)


def ablate(system: DynamicalSystem, silenced: Bool[Tensor, "*P S"]) -> UnitGain:
    """The system with some units' states set to zero after every step.

    Args:
        silenced: True where a unit is silenced, (S,), or (P, S) for P candidates in one batch, rows grouped by candidate.
    """
    return UnitGain(system, (~silenced).to(system.initial_state(1).dtype))


@dataclass(frozen=True)
class Switching:
    """What switching is left in each candidate.

    Attributes:
        rate: changes of argmax output per step, (P,); nan where a candidate left every bound.
        exit_rates: changes away from symbol i per step spent in it, (P, Y); nan where it was not visited. A cluster that is destroyed
            shows as a raised exit rate, one that is merely no longer left as a lowered one.
        shares: of the symbols over the run, (P, Y).
        preservation: Σ_i min(share of symbol i at the start, over the second half of the run), (P,): 1 when every
            cluster keeps its share of the paths, 1/2 when all paths end in one of two equal ones.
        mean_norm: mean |h|, (P,); infinite where it left every bound.
    """

    rate: Float[Tensor, " P"]
    exit_rates: Float[Tensor, "P Y"]
    shares: Float[Tensor, "P Y"]
    preservation: Float[Tensor, " P"]
    mean_norm: Float[Tensor, " P"]


@torch.no_grad()
def switching(
    system: DynamicalSystem,
    num_candidates: int,
    starts: Float[Tensor, "B S"],
    rng: torch.Generator,
    *,
    num_steps: int = 200,
    noise_scale: float = 1.0,
) -> Switching:
    """Drive every candidate from the same starts with the same noise, and count changes of output.

    Args:
        system: with rows grouped by candidate (`UnitGain`, `InputGain`), or any system with num_candidates = 1.
        starts: driven states, which say what share of paths each output has at first.
        num_steps: per path.

    Returns:
        `Switching`.
    """
    count, num_paths, num_symbols = num_candidates, len(starts), system.output_size
    first = system.readout(starts).argmax(-1)
    before = symbol_shares(first, num_symbols).to(starts.device)
    state, last = starts.repeat(count, 1), first.repeat(count, 1)
    noise = starts.new_empty(num_paths, system.input_size)
    block = num_symbols * torch.arange(count, device=starts.device)[:, None]
    exits, visits = torch.zeros(2, count * num_symbols, dtype=torch.float64, device=starts.device)
    late, norms = torch.zeros_like(visits), torch.zeros(count, dtype=torch.float64, device=starts.device)
    lost = torch.zeros(count, dtype=torch.bool, device=starts.device)
    for step in range(num_steps):
        fill_noise(noise, rng, noise_scale)
        state = system.step(state, noise.repeat(count, 1))
        size = state.norm(dim=-1).view(count, num_paths)
        lost |= ~(size < BLOWN_UP).all(1)
        if bool(lost.any()):
            state = torch.where(lost.repeat_interleave(num_paths)[:, None], 0.0, state)
        symbols = system.readout(state).argmax(-1).view(count, num_paths)
        place = (block + last).view(-1)
        exits += torch.bincount(place, weights=(symbols != last).view(-1).double(), minlength=len(exits))
        visits += torch.bincount(place, minlength=len(visits))
        if 2 * step >= num_steps:
            late += torch.bincount((block + symbols).view(-1), minlength=len(late))
        norms += size.double().mean(1)
        last = symbols
    exits, visits, late = (t.view(count, num_symbols) for t in (exits, visits, late))
    bad = lost[:, None]
    return Switching(
        torch.where(lost, torch.nan, exits.sum(1) / visits.sum(1)),
        torch.where(bad, torch.nan, exits / visits),
        torch.where(bad, torch.nan, visits / visits.sum(1, keepdim=True)),
        torch.where(lost, torch.nan, torch.minimum(before, late / late.sum(1, keepdim=True)).sum(1)),
        torch.where(lost, torch.inf, norms / num_steps),
    )
