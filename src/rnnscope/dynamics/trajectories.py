"""Trajectories of a system and the space that they fill."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from rnnscope.core.driven import in_double
from rnnscope.core.errors import ConfigError, DataError
from rnnscope.core.system import DynamicalSystem, rollout
from rnnscope.dynamics.components import PrincipalComponents, principal_components
from rnnscope.dynamics.starts import checked_starts, default_starts

STILL = 1e-12  # relative to 1 + |h|: a standard deviation up to which a state variable moves by rounding alone


@dataclass(frozen=True)
class Trajectories:
    """Paths h_1 … h_T of B starts, in float64.

    Attributes:
        states: (B, T, S). outputs: G of them, (B, T, Y). inputs: what drove them, (B, T, X).
        components: principal components over all states after the first tenth; with `explained_variance_ratio`, and the
            participation ratio (Σ λ)²/Σ λ², an effective dimension between 1 and S.
        mean_activity, activity_sd: of each unit over all states, (S,).
    """

    states: Float[Tensor, "B T S"]
    outputs: Float[Tensor, "B T Y"]
    inputs: Float[Tensor, "B T X"]
    components: PrincipalComponents
    mean_activity: Float[Tensor, " S"]
    activity_sd: Float[Tensor, " S"]

    @property
    def summary(self) -> str:
        """How many dimensions the states fill."""
        count, size = self.num_components, self.states.shape[2]
        if not count:
            return f"none of {size} state variables moves" if size > 1 else "the state variable does not move"
        return (
            f"{size} state variable{'s fill' if size > 1 else ' fills'} {self.components.participation_ratio:.1f} dimensions "
            f"(participation ratio); {count} principal component{'s hold' if count > 1 else ' holds'} 95 % of the variance"
        )

    @property
    def num_components(self) -> int:
        """How many principal components hold 95 % of the variance; 0 where the states do not move."""
        if float(self.components.variances.sum().sqrt()) <= STILL * (1 + float(self.components.mean.abs().max())):
            return 0
        shares = self.components.explained_variance_ratio.cumsum(0)
        return min(int((shares < 0.95).sum()) + 1, len(shares))

    @property
    def is_silent(self) -> Bool[Tensor, " S"]:
        """State variables that never move, or less than 1e-6 times as much as the one that moves most."""
        return self.activity_sd <= torch.maximum(1e-6 * self.activity_sd.max(), STILL * (1 + self.mean_activity.abs()))


@torch.no_grad()
def trajectories(
    system: DynamicalSystem,
    inputs: Float[Tensor, "B T X"] | None = None,
    *,
    starts: Float[Tensor, "*N S"] | None = None,
    num_trajectories: int = 32,
    num_steps: int = 200,
    input_sd: float = 0.0,
    rng: torch.Generator | None = None,
) -> Trajectories:
    """Roll a system out and describe the space that its states fill.

    Args:
        inputs: (B, T, X). None: white noise of standard deviation `input_sd`, held at zero by default, for `num_steps` steps.
        starts: h_0, (B, S). None: the initial state where inputs are given, else states visited under noise.
        num_trajectories, num_steps: where inputs are not given. rng: seeded with 0 when None.

    Returns:
        `Trajectories`.

    Raises:
        ConfigError: a count or `input_sd` out of range. ShapeError: arrays that do not fit. DataError: states that leave the
        finite numbers.

    Example:
        >>> import rnnscope as rs
        >>> spiral = rs.System(lambda h, x: 0.9 * h.roll(1, 1), state_size=2)
        >>> rs.trajectories(spiral, num_steps=50).states.shape
        torch.Size([32, 50, 2])
    """
    if min(num_trajectories, num_steps) < 1 or input_sd < 0:
        raise ConfigError(
            f"num_trajectories {num_trajectories}, num_steps {num_steps}, input_sd {input_sd}",
            "counts >= 1 and input_sd >= 0",
            "change the argument that is out of range",
        )
    rng = rng if rng is not None else torch.Generator().manual_seed(0)
    double = in_double(system).cpu().eval().requires_grad_(False)
    given = inputs is not None
    begin = None if starts is None else checked_starts(system, starts)
    if inputs is None:
        count = num_trajectories if begin is None else len(begin)
        inputs = input_sd * torch.randn(count, num_steps, system.input_size, generator=rng, dtype=torch.float64)
    driven = inputs.double().cpu()
    if begin is None:
        begin = double.initial_state(len(driven)).double() if given else default_starts(double, len(driven), rng)
    found = rollout(double, driven, begin, fused=False)
    assert found.states is not None
    states = found.states.double()
    if not torch.isfinite(states).all():
        raise DataError("states that leave the finite numbers", "bounded trajectories", "take fewer steps or other starts")
    later = states[:, states.shape[1] // 10 :]
    flat = states.flatten(0, 1)
    sd = flat.std(0, correction=0)
    return Trajectories(states, found.outputs.double(), driven, principal_components(later), flat.mean(0), sd)
