"""Which dynamical system an analysis looks at, and the states that it visits."""

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from rnnscope.core.closing import close_loop
from rnnscope.core.driven import in_double
from rnnscope.core.errors import ConfigError
from rnnscope.core.interfaces import Probe, SupervisedData, TrainingData
from rnnscope.core.loops import ClosedLoop, HoldInput, hold_input
from rnnscope.core.system import DynamicalSystem, SequenceModel, rollout
from rnnscope.dynamics.starts import scatter

Loop = Literal["auto", "open", "closed"]
HeldInput = Literal["zero", "mean"] | tuple[float, ...]


@dataclass(frozen=True)
class View:
    """A trained model made an autonomous map, with what it visits when it is driven as in training.

    Attributes:
        system: the network itself, float64, on the CPU.
        map: the autonomous map: the network with its outputs fed back, or with one input held.
        held: the input held, (X,); for a closed loop its exogenous part, (E,).
        is_closed: whether outputs are fed back.
        visited: states of the map along the probe, (B, T, S), from the last nine tenths of its steps, of a closed loop the last half.
        probe: the sequences that drove it, float64.
        words: which map this is, e.g. "with its input held at zero".
    """

    system: DynamicalSystem
    map: HoldInput
    held: Float[Tensor, " X"]
    is_closed: bool
    visited: Float[Tensor, "B T S"]
    probe: Probe
    words: str

    def pool(self, count: int, rng: torch.Generator) -> Float[Tensor, "N S"]:
        """Visited states drawn at random."""
        flat = self.visited.flatten(0, 1)
        return flat[torch.randint(len(flat), (count,), generator=rng)]

    def starts(self, count: int, spread: float, rng: torch.Generator) -> Float[Tensor, "N S"]:
        """Visited states, each moved by noise of `spread` standard deviations of each unit."""
        return scatter(self.pool(count, rng), self.visited.flatten(0, 1), spread, rng)


def view(
    model: SequenceModel,
    data: TrainingData,
    rng: torch.Generator,
    *,
    loop: Loop = "auto",
    input: HeldInput = "zero",
    num_sequences: int = 64,
) -> View:
    """The autonomous map to look at.

    Args:
        loop: closed: outputs are fed back as the task says; open: one input is held; auto: closed where the task has a feedback.
        input: what is held: zero, the mean over the probe, or numbers. For a closed loop, of its exogenous part.
        num_sequences: of the probe.
    """
    part, system = _first(model)
    system = in_double(system).eval().requires_grad_(False)
    found = data.probe(num_sequences, rng)
    wanted = found.targets
    probe = Probe(found.inputs.double(), wanted.double() if wanted is not None and wanted.is_floating_point() else wanted)
    feedback = data.feedback if isinstance(data, SupervisedData) else None
    if loop == "closed" and feedback is None:
        raise ConfigError("loop is closed, but this task's outputs are no inputs", "open or auto", "set loop=open")
    is_closed = feedback is not None and loop != "open"
    states = _states(system, probe.inputs, 0.5 if is_closed else 0.1)
    mean = probe.inputs.flatten(0, 1).mean(0)
    if feedback is None or loop == "open":
        held = _held(input, mean, system.input_size)
        return View(system, hold_input(system, held), held, False, states, probe, f"with {_name(input, 'its input')}{part}")
    closed: ClosedLoop = close_loop(system, feedback)
    exogenous = feedback.num_exogenous
    held = _held(input, mean[feedback.from_exogenous.bool().any(1)], exogenous)
    joined = closed.join(states.flatten(0, 1), probe.inputs[:, -states.shape[1] :].flatten(0, 1)).unflatten(0, states.shape[:2])
    words = "with its outputs fed back" + (f" and {_name(input, 'the covariates')}" if exogenous else "") + part
    return View(system, hold_input(closed, held), held, True, joined, probe, words)


def _first(model: SequenceModel) -> tuple[str, DynamicalSystem]:
    """The model's recurrent system; of several (two directions) the first, and how to say so."""
    systems = model.systems()
    if not systems:
        raise ConfigError(
            "a model without recurrence", "a recurrent system inside", "choose another model, or another analysis"
        )
    name, system = next(iter(systems.items()))
    return (f" (its part '{name}' alone)" if len(systems) > 1 else ""), system


@torch.no_grad()
def _states(system: DynamicalSystem, inputs: Tensor, warm_up: float) -> Float[Tensor, "B T S"]:
    """States along the inputs after a share of the steps. A loop begins where a forecast does, when the initial state is forgotten:
    before that it may lie in the basin of another attractor.
    """
    states = rollout(system, inputs.to(system.initial_state(1)), fused=False).states
    assert states is not None
    return states[:, int(warm_up * states.shape[1]) :].double()


def _held(input: HeldInput, mean: Tensor, size: int) -> Tensor:
    if input == "zero":
        return torch.zeros(size, dtype=torch.float64)
    if input == "mean":
        return mean.double()
    if len(input) != size:
        raise ConfigError(f"input has {len(input)} numbers", f"zero, mean, or {size} numbers", "give one per input feature")
    return torch.tensor(input, dtype=torch.float64)


def _name(input: HeldInput, what: str) -> str:
    if isinstance(input, str):
        return f"{what} held at {'zero' if input == 'zero' else 'the mean of the data'}"
    return f"{what} held at ({', '.join(f'{v:g}' for v in input)})"
