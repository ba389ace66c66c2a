"""A forecaster answers two questions; networks and baselines are scored through the same two."""

import copy
from abc import ABC, abstractmethod

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from rnnscope.core.errors import ConfigError
from rnnscope.core.forecast import ForecastData
from rnnscope.core.interfaces import SequenceModel
from rnnscope.core.loops import free_run
from rnnscope.core.system import DynamicalSystem, FusedRollout, rollout

_ROWS = 1 << 16


class Forecaster(ABC):
    """Forecasts from true values up to an origin. Origin t means: values before step t are known, t is the first forecast."""

    def __init__(self, data: ForecastData) -> None:
        self.data = data

    @abstractmethod
    def run(self, series: int, origins: np.ndarray, steps: int) -> Float[np.ndarray, "N M D"]:
        """Recursive forecasts of steps t … t+steps-1 for each origin t; covariates of these steps are known."""

    def one_step(self, series: int, origins: np.ndarray) -> Float[np.ndarray, "N H D"]:
        """Forecasts of steps t … t+H-1 for each origin, H the task's horizon, made at once."""
        horizon = self.data.representation.horizon
        pieces = [self.run(series, origins[i : i + _ROWS], horizon) for i in range(0, len(origins), _ROWS)]
        return np.concatenate(pieces)

    def future_covariates(self, series: int, origins: np.ndarray, before: int, steps: int) -> Float[np.ndarray, "N K E"]:
        """Raw covariates of steps t-before … t+steps-1; past the end of the series the last known row is held."""
        known = self.data.series[series].covariates
        rows = origins[:, None] + np.arange(-before, steps)
        return known[np.clip(rows, 0, len(known) - 1)]


class NetworkForecaster(Forecaster):
    """A trained network, in float64.

    Args:
        model: left as it is; a float64 copy in evaluation mode does the work.
        data: the task. mode: how a free run goes on after the context: `stream` carries the state, `window` runs each
            window of the task's length anew from the initial state.
    """

    def __init__(self, model: SequenceModel, data: ForecastData, mode: str = "stream") -> None:
        super().__init__(data)
        self.model = copy.deepcopy(model).double().eval()
        self.device = next(self.model.parameters()).device
        self.mode = mode
        self._inputs: dict[int, np.ndarray] = {}

    def inputs(self, series: int) -> Float[np.ndarray, "T X"]:
        """The encoded inputs of a series, float64."""
        if series not in self._inputs:
            self._inputs[series] = self.data.representation.inputs(self.data.series[series])
        return self._inputs[series]

    def system(self) -> DynamicalSystem:
        systems = self.model.systems()
        if len(systems) != 1:
            raise ConfigError(
                f"a model with {len(systems)} systems",
                "one causal system to forecast with",
                "choose an Elman, LSTM or GRU network",
            )
        return next(iter(systems.values()))

    def _tensor(self, array: np.ndarray) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(array)).to(self.device)

    def _contexts(self, series: int, origins: np.ndarray) -> Float[np.ndarray, "N L X"]:
        rows = np.maximum(origins[:, None] - self.data.window + np.arange(self.data.window), self.data.representation.first)
        return self.inputs(series)[rows]

    @torch.inference_mode()
    def one_step(self, series: int, origins: np.ndarray) -> np.ndarray:
        outputs = self.outputs(series, origins)
        return self.data.representation.decode(self.inputs(series)[origins - 1], outputs)

    @torch.inference_mode()
    def outputs(self, series: int, origins: np.ndarray) -> Float[np.ndarray, "N Y"]:
        """The raw outputs that answer step t-1, for each origin t."""
        if self.data.protocol == "stream":
            return self._stream_outputs(series, origins)
        size = max(1, 200_000 // self.data.window)
        pieces = []
        for start in range(0, len(origins), size):
            context = self._tensor(self._contexts(series, origins[start : start + size]))
            pieces.append(self.model(context, last=1)[:, -1].cpu().numpy())
        return np.concatenate(pieces)

    def _stream_outputs(self, series: int, origins: np.ndarray) -> np.ndarray:
        system, first = self.system(), self.data.representation.first
        last = int(origins.max())
        state = system.initial_state(1)
        found = np.empty((last, system.output_size))
        for start in range(first, last, _ROWS):
            piece = self._tensor(self.inputs(series)[None, start : min(start + _ROWS, last)])
            outputs, state = _advance(system, piece, state)
            found[start : start + outputs.shape[1]] = outputs[0].cpu().numpy()
        return found[origins - 1]

    @torch.inference_mode()
    def run(self, series: int, origins: np.ndarray, steps: int) -> np.ndarray:
        representation = self.data.representation
        start = self.inputs(series)[origins - 1]
        exogenous = self._exogenous(series, origins, steps)
        if self.mode == "window":
            outputs = self._sliding(self._tensor(self._contexts(series, origins)), exogenous)
        else:
            state = self.states(series, origins)
            outputs = free_run(self.system(), state, self._tensor(start), representation.feedback(), exogenous)
        return representation.decode_run(start, outputs.cpu().numpy())

    def _exogenous(self, series: int, origins: np.ndarray, steps: int) -> Tensor:
        """Scaled covariates that go with the inputs of steps t … t+steps-2."""
        ahead = 1 if self.data.representation.ahead else 0
        raw = self.future_covariates(series, origins + ahead, 0, steps - 1)
        return self._tensor(self.data.representation.scaled_covariates(raw))

    @torch.inference_mode()
    def states(self, series: int, origins: np.ndarray) -> Tensor:
        """The state after the last known input before each origin."""
        system = self.system()
        if self.data.protocol == "windows":
            context = self._tensor(self._contexts(series, origins))
            return _advance(system, context, system.initial_state(len(origins)))[1]
        order = np.argsort(origins)
        found = torch.empty(len(origins), system.state_size, dtype=torch.float64, device=self.device)
        state, position = system.initial_state(1), self.data.representation.first
        for index in order:
            if origins[index] > position:
                state = _advance(system, self._tensor(self.inputs(series)[None, position : origins[index]]), state)[1]
                position = int(origins[index])
            found[int(index)] = state[0]
        return found

    def _sliding(self, context: Tensor, exogenous: Tensor) -> Tensor:
        """Free run that re-reads the last window from the initial state at every step."""
        feedback = self.data.representation.feedback().like(context)
        output = self.model(context, last=1)[:, -1]
        found = [output]
        for e in exogenous.unbind(1):
            fed = feedback(context[:, -1], output, e)
            context = torch.cat([context[:, 1:], fed[:, None]], 1)
            output = self.model(context, last=1)[:, -1]
            found.append(output)
        return torch.stack(found, 1)


def _advance(system: DynamicalSystem, inputs: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
    """Outputs and final state over known inputs, by the fused path where there is one."""
    if isinstance(system, FusedRollout):
        return system.fused_rollout(inputs, state)
    run = rollout(system, inputs, state, keep_states=False)
    return run.outputs, run.final_state


class TrueSignal(Forecaster):
    """The noise-free series itself: nothing can forecast noisy values better on average. A ceiling, not a baseline."""

    def run(self, series: int, origins: np.ndarray, steps: int) -> np.ndarray:
        clean = self.data.series[series].clean
        assert clean is not None
        return clean[np.clip(origins[:, None] + np.arange(steps), 0, len(clean) - 1)]
