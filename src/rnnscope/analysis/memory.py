"""Analysis: how long the network remembers, whether it forgets where it began, and how far its gradients reach."""

import copy
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch

from rnnscope.analysis.figures_memory import capacity_figure, forgetting_figure, gradient_figure, sensitivity_figure
from rnnscope.analysis.view import View, view
from rnnscope.analysis.wording import capitalised
from rnnscope.core.interfaces import AnalysisSpec, Findings, SequenceModel, SupervisedData, Trained, TrainingData
from rnnscope.core.random import Streams
from rnnscope.core.spec import NonNegative, Positive
from rnnscope.core.system import rollout
from rnnscope.core.tables import Figure
from rnnscope.dynamics.forgetting import forgetting
from rnnscope.dynamics.gradient_flow import GradientFlow, gradient_flow
from rnnscope.dynamics.memory_capacity import memory_capacity
from rnnscope.dynamics.sensitivity import sensitivity

TRIED_STEPS = 16  # over which a model and the system inside are compared


class Memory(AnalysisSpec):
    """Forgetting of the start, sensitivity to older inputs, gradient norms by lag, linear memory capacity.

    Fields:
        num_pairs: replicas compared. num_steps: of them, the data repeated as often as needed. max_lag: of the sensitivity.
        capacity_lag: largest lag of the memory capacity under white noise; 0 leaves it out. num_sequences: of the data.
    """

    num_pairs: Positive = 16
    num_steps: Positive = 600
    max_lag: Positive = 100
    capacity_lag: NonNegative = 50
    num_sequences: Positive = 32

    def run(self, trained: Trained, data: TrainingData, streams: Streams) -> Findings:
        rng = streams.torch()
        seen = view(trained.model, data, rng, loop="open", num_sequences=self.num_sequences)
        flat = seen.probe.inputs.flatten(0, 1)
        long = flat[torch.arange(self.num_steps) % len(flat)]
        found: dict[str, Any] = {
            "forgetting": forgetting(seen.system, inputs=long, num_pairs=self.num_pairs, num_steps=self.num_steps, rng=rng),
            "sensitivity": sensitivity(
                seen.system, long[None, : 4 * self.max_lag], max_lag=min(self.max_lag, self.num_steps // 4), rng=rng
            ),
        }
        gradients = _gradients(trained.model, seen, data)
        if gradients is not None:
            found["gradients"] = gradients
        if self.capacity_lag and seen.system.input_size:
            found["capacity"] = memory_capacity(
                seen.system,
                max_lag=self.capacity_lag,
                num_steps=5000,
                input_scale=float(flat.std()) or 1.0,
                rng=streams.at("capacity").numpy(),
            )
        return Findings(tuple(_statements(found)), _metrics(found), _arrays(found), (), found)

    def figures(self, findings: Findings) -> Iterator[Figure]:
        found = findings.results
        yield forgetting_figure(found["forgetting"])
        yield sensitivity_figure(found["sensitivity"])
        if "gradients" in found:
            yield gradient_figure(found["gradients"])
        if "capacity" in found:
            yield capacity_figure(found["capacity"])


def _gradients(model: SequenceModel, seen: View, data: TrainingData) -> GradientFlow | None:
    """Of the task's own loss, where there are targets and the system's readout answers: at the steps that the targets belong to."""
    inputs, targets = seen.probe.inputs, seen.probe.targets
    if targets is None or not isinstance(data, SupervisedData) or not _answers(model, seen):
        return None
    steps = targets.shape[1]
    asked = torch.isfinite(targets).reshape(*targets.shape[:2], -1).any(2).any(0)  # of steps
    last_only = not bool(asked[:-1].any())

    def loss(outputs: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
        return torch.stack([data.loss(o[None, -steps:], w[None]) for o, w in zip(outputs, wanted, strict=True)])

    return gradient_flow(seen.system, inputs, targets, loss=loss, last_only=last_only)


@torch.no_grad()
def _answers(model: SequenceModel, seen: View) -> bool:
    """Whether the system's readout gives the model's own outputs: not where these come of two directions, or of all states."""
    inputs = seen.probe.inputs[:2, :TRIED_STEPS]
    quiet = copy.deepcopy(model).eval()
    said = quiet(inputs.to(next(quiet.parameters(), inputs)), last=1).to(inputs)
    read = rollout(seen.system, inputs.to(seen.system.initial_state(1)), fused=False).outputs[:, -1:].to(inputs)
    return said.shape == read.shape and torch.allclose(said, read, rtol=1e-2, atol=1e-3)


def _statements(found: dict[str, Any]) -> Iterator[str]:
    forgets, sensed = found["forgetting"], found["sensitivity"]
    when = f" within {forgets.forgetting_time:.0f} steps" if np.isfinite(forgets.forgetting_time) else ""
    lead = {
        "forgets": f"Driven by the data, the network forgets its start{when} (the echo-state property, for these inputs)",
        "several attractors": "Driven by the data, the network does not always forget its start: different starts can end apart for good",
        "does not forget": "Driven by the data, the network does not forget its start",
        "undecided": "Whether the network forgets its start under these data is undecided",
    }[forgets.outcome]
    yield f"{lead}."
    yield f"{capitalised(forgets.reason)}."
    yield f"{capitalised(sensed.summary)}. This is sensitivity to small changes: a value held as one of several stable states is kept without it."
    if "gradients" in found:
        yield f"Gradient of the loss: {found['gradients'].statement}."
    if "capacity" in found:
        yield f"{capitalised(found['capacity'].summary)}."


def _metrics(found: dict[str, Any]) -> dict[str, Any]:
    forgets, sensed = found["forgetting"], found["sensitivity"]
    metrics: dict[str, Any] = {
        "outcome": forgets.outcome,
        "echo_state": forgets.echo_state,
        "conditional_exponent": forgets.exponent,
        "standard_error": forgets.standard_error,
        "forgetting_time": forgets.forgetting_time,
        "memory_horizon": sensed.memory_horizon,
        "decay_rate": sensed.decay_rate,
    }
    if "gradients" in found:
        metrics |= {"gradient_flow": found["gradients"].flow, "vanishing_lag": found["gradients"].vanishing_lag}
    if "capacity" in found:
        metrics |= {"memory_capacity": found["capacity"].total_linear, "largest_capacity": found["capacity"].bound}
    return metrics


def _arrays(found: dict[str, Any]) -> dict[str, Any]:
    arrays = {
        "distances": found["forgetting"].distances.numpy(),
        "lags": found["sensitivity"].lags.numpy(),
        "log_state_sensitivity": found["sensitivity"].log_state.numpy(),
    }
    if "gradients" in found:
        arrays["state_gradients"] = found["gradients"].state_gradients.numpy()
    if "capacity" in found:
        arrays["capacities"] = found["capacity"].capacities
    return arrays
