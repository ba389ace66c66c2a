"""Analysis: the space that a driven network's states fill, and what single units do."""

from collections.abc import Iterator

import torch

from rnnscope.analysis.figures_state_space import paths_figure, scree_figure, units_figure
from rnnscope.analysis.view import view
from rnnscope.core.interfaces import AnalysisSpec, Findings, Trained, TrainingData
from rnnscope.core.random import Streams
from rnnscope.core.spec import Positive
from rnnscope.core.tables import Figure
from rnnscope.dynamics.trajectories import trajectories

SATURATED = 0.95  # of the range of a unit that lies in (-1, 1)


class StateSpace(AnalysisSpec):
    """Principal components, effective dimension, paths, and the activity of single units under the data.

    Fields: num_sequences: of the data. shown_units: in the figure of single units.
    """

    num_sequences: Positive = 64
    shown_units: Positive = 40

    def run(self, trained: Trained, data: TrainingData, streams: Streams) -> Findings:
        seen = view(trained.model, data, streams.torch(), loop="open", num_sequences=self.num_sequences)
        found = trajectories(seen.system, seen.probe.inputs)
        shares = found.components.explained_variance_ratio
        flat = found.states.flatten(0, 1)
        silent = found.is_silent
        statements = [
            f"Driven by the data, {found.summary}.",
            *([_leading(shares)] if found.num_components and len(shares) > 1 else []),
        ]
        bounded = float(flat.abs().max()) <= 1
        full = (flat.abs() > SATURATED).double().mean(0)
        if bounded and float(full.mean()) > 0.01:
            statements.append(f"Units are saturated (|h| > {SATURATED}) {100 * float(full.mean()):.0f} % of the time.")
        if silent.any() and found.num_components:
            statements.append(f"{int(silent.sum())} of {len(silent)} state variables never move.")
        metrics = {
            "participation_ratio": found.components.participation_ratio,
            "explained_variance_ratio": shares[:10].tolist(),
            "components_for_95_percent": found.num_components,
            "saturated_share": float(full.mean()) if bounded else None,
            "num_silent": int(silent.sum()),
        }
        arrays = {
            "axes": found.components.axes[:3].numpy(),
            "mean": found.components.mean.numpy(),
            "variances": found.components.variances.numpy(),
            "paths": found.components.project(found.states[:16], min(3, flat.shape[1])).numpy(),
            "first_path": found.states[0].numpy(),
        }
        return Findings(tuple(statements), metrics, arrays, (), {"found": found, "shown": self.shown_units})

    def figures(self, findings: Findings) -> Iterator[Figure]:
        found = findings.results["found"]
        yield scree_figure(found.components, "the states under the data")
        if found.states.shape[2] >= 2:
            yield paths_figure(found)
        yield units_figure(found, findings.results["shown"])


def _leading(shares: torch.Tensor) -> str:
    first = ", ".join(f"{100 * share:.1f}" for share in shares[:3].tolist())
    return f"The leading components hold {first} % of the variance."
