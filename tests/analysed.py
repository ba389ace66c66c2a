"""Models and data as analyses get them, without training, and what must hold of every finding."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

import rnnscope as rs
from helpers import prepare, series_of, strict_json, wave
from rnnscope.core.forecast import ForecastData
from rnnscope.core.interfaces import (
    AnalysisSpec,
    Findings,
    History,
    Signature,
    Trained,
    TrainingData,
    TrainingOutcome,
)
from rnnscope.core.random import Streams
from rnnscope.core.system import DynamicalSystem, SequenceModel, rollout
from rnnscope.models.recurrent_systems import RecurrentSystem, recurrent_system
from rnnscope.plotting import render
from rnnscope.runs.folder import RunFolder
from rnnscope.runs.writers import save_findings
from rnnscope.tasks.given import NoiseData
from rnnscope.tasks.oscillation import Oscillation


class Single(SequenceModel):
    """A model that is one dynamical system."""

    def __init__(self, system: DynamicalSystem) -> None:
        super().__init__()
        self.system = system

    def forward(self, inputs: Tensor, lengths: Any = None, *, rng: Any = None, last: int | None = None) -> Tensor:
        outputs = rollout(self.system, inputs).outputs
        return outputs if last is None else outputs[:, -last:]

    def systems(self) -> dict[str, DynamicalSystem]:
        return {"network": self.system}


def driven(step: Any, size: int = 1, inputs: int = 1, **more: Any) -> rs.System:
    """A float64 system from a function of state and input; its default start lets nothing begin at rest."""
    start = torch.linspace(0.1, 0.2, size, dtype=torch.float64)
    return rs.System(step, size, inputs, **{"initial": start, "dtype": torch.float64, **more})


def network(
    kind: str, inputs: int, hidden: int, outputs: int, layers: int = 1, *, seed: int = 0, **more: Any
) -> RecurrentSystem:
    """A network with uniform weights, in evaluation mode."""
    rng = torch.Generator().manual_seed(seed)
    system = recurrent_system(kind, inputs, hidden, outputs, layers, **more)  # type: ignore[arg-type]
    with torch.no_grad():
        for parameter in system.parameters():
            parameter.uniform_(-1 / math.sqrt(hidden), 1 / math.sqrt(hidden), generator=rng)
    return system.eval()


def noise(inputs: int = 1, outputs: int = 1, *, steps: int = 60, sd: float = 1.0) -> NoiseData:
    """Data without targets and without a feedback."""
    return NoiseData(Signature(inputs, outputs), steps, sd)


def forecasting(*, covariates: int = 0, variables: int = 1, **fields: Any) -> ForecastData:
    """Data of a series whose forecasts can be fed back."""
    values = np.stack([wave(120) * (1 + v) + v for v in range(variables)], 1)
    known = np.stack([np.cos(0.2 * (1 + e) * np.arange(120)) + e for e in range(covariates)], 1) if covariates else None
    return prepare(Oscillation(window=10, **fields), series_of(values, known))


def network_for(data: TrainingData, kind: str = "gru", hidden: int = 4, layers: int = 1, **more: Any) -> RecurrentSystem:
    """A network of the sizes that data ask for."""
    return network(kind, data.signature.input_size, hidden, data.signature.output_size, layers, **more)


def as_trained(model: SequenceModel | DynamicalSystem) -> Trained:
    """A model as if it came from training."""
    whole = model if isinstance(model, SequenceModel) else Single(model)
    return Trained("network", 0, whole, History({}, TrainingOutcome("not trained", 0, math.nan, "nothing", 0.0)))


def look(analysis: AnalysisSpec, model: SequenceModel | DynamicalSystem, data: TrainingData, seed: int = 0) -> Findings:
    """What an analysis finds."""
    return analysis.run(as_trained(model), data, Streams(seed))


def check_findings(analysis: AnalysisSpec, findings: Findings, folder: Path, *, draw: bool = True) -> dict[str, Any]:
    """Sentences are sentences, numbers are strict JSON, arrays an NPZ without pickles, figures draw. Returns the JSON."""
    assert findings.statements
    for sentence in findings.statements:
        assert sentence == sentence.strip()
        assert not sentence[0].islower(), sentence
        assert sentence.endswith("."), sentence
        assert ".." not in sentence, sentence
        assert " nan" not in sentence, sentence
    kept = RunFolder.create(folder, "findings", 0)
    save_findings(kept, "look", analysis, findings, {"model": "network", "repeat": 0})
    told = strict_json(kept.path / "findings/look.json")
    with np.load(kept.path / "findings/look.npz", allow_pickle=False) as arrays:
        assert {k: list(arrays[k].shape) for k in arrays.files} == told["arrays"]
    names = []
    for figure in analysis.figures(findings):
        assert figure.caption.strip().endswith("."), figure.caption
        assert " nan" not in figure.caption, figure.caption
        names.append(figure.name)
        if draw:
            assert render(figure.canvas, "svg").rstrip().endswith(b"</svg>")
    assert len(set(names)) == len(names)
    return {**told, "figures": names}


def state_of(model: torch.nn.Module) -> dict[str, Any]:
    """Everything that an analysis must leave as it was: weights, dtypes, modes, gradients wanted and present, threads."""
    found: dict[str, Any] = {f"mode of {n}": m.training for n, m in model.named_modules()}
    for name, value in model.state_dict().items():
        found[name] = (value.dtype, value.numpy().tobytes())
    for name, parameter in model.named_parameters():
        found[f"gradient of {name}"] = (parameter.requires_grad, parameter.grad is None)
    return found | {
        "threads": torch.get_num_threads(),
        "gradients": torch.is_grad_enabled(),
        "default": torch.get_default_dtype(),
    }
