"""Free runs of a network over recorded series, in physical units."""

from typing import Literal

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from rnnscope.core.loops import free_run
from rnnscope.core.series import Representation, Series
from rnnscope.core.system import DynamicalSystem, rollout


class Player:
    """Free runs of a network from the true values before given steps of a series.

    Args:
        system: float64. representation: what it sees. window, protocol: how its state is warmed up, see `ForecastData`.
        warm_up: with the protocol `stream`, steps before each start that are read at most; None: all.
    """

    def __init__(
        self,
        system: DynamicalSystem,
        representation: Representation,
        window: int,
        protocol: Literal["windows", "stream"],
        warm_up: int | None = None,
    ) -> None:
        self.system, self.representation, self.window, self.protocol = system, representation, window, protocol
        self.warm_up = warm_up

    def play(self, series: Series, origins: np.ndarray, steps: int) -> Float[np.ndarray, "B T D"]:
        """Forecasts of steps t … t+steps-1 from the true values before each origin t."""
        representation = self.representation
        inputs = representation.inputs(series)
        ahead = 1 if representation.ahead else 0
        rows = origins[:, None] + ahead + np.arange(steps - 1)
        known = representation.scaled_covariates(series.covariates[np.minimum(rows, len(series) - 1)])
        start = inputs[origins - 1]
        state = self._states(inputs, origins)
        outputs = free_run(self.system, state, torch.from_numpy(start), representation.feedback(), torch.from_numpy(known))
        with np.errstate(over="ignore", invalid="ignore"):
            return representation.decode_run(start, outputs.numpy())

    def _states(self, inputs: np.ndarray, origins: np.ndarray) -> Tensor:
        """The states after the inputs before each origin, warmed up as the task's protocol says."""
        first = self.representation.first
        if self.protocol == "windows":
            rows = np.maximum(origins[:, None] - self.window + np.arange(self.window), first)
            return rollout(self.system, torch.from_numpy(inputs[rows]), keep_states=False).final_state
        state, position, found = self.system.initial_state(1), first, []
        for origin in origins:
            if self.warm_up is not None and origin - position > self.warm_up:
                state, position = self.system.initial_state(1), int(origin) - self.warm_up
            if origin > position:
                passed = torch.from_numpy(inputs[None, position:origin])
                state, position = rollout(self.system, passed, state, keep_states=False).final_state, int(origin)
            found.append(state)
        return torch.cat(found)
