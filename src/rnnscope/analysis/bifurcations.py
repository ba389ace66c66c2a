"""Analysis, on request: how fixed points and attractors change with the gain of the recurrence, or with one input."""

from collections.abc import Iterator
from typing import ClassVar, Literal

import numpy as np
import torch
from torch import Tensor

from rnnscope.analysis.figures_bifurcation import branch_figure, diagram_figure
from rnnscope.analysis.view import HeldInput, Loop, View, view
from rnnscope.core.errors import ConfigError
from rnnscope.core.interfaces import AnalysisSpec, Findings, Trained, TrainingData
from rnnscope.core.random import Streams
from rnnscope.core.spec import NonNegative, Positive
from rnnscope.core.system import DynamicalSystem
from rnnscope.core.tables import Column, Figure, Row, Table
from rnnscope.dynamics.bifurcations import BifurcationDiagram, bifurcation_diagram
from rnnscope.dynamics.continuation import Branch, continue_fixed_point
from rnnscope.dynamics.fixed_points import find_fixed_points

REACH = 3.0  # default range of an input, in standard deviations of the data


class Bifurcations(AnalysisSpec):
    """Branches of fixed points with their bifurcations, and a bifurcation diagram, over one parameter.

    Runs where it is named (`rnnscope analyze RUN --analysis bifurcations`), since it may take a minute.

    Fields:
        parameter: gain: every recurrent weight times p; input: the held input plus p along one feature.
        feature: of the input. span: of p; None: 0.2 to 2 for the gain, three standard deviations of the data both ways for an input.
        max_branches: fixed points followed, those reached most often first. num_values: of the diagram.
        loop, input: see `FixedPointSearch`; an input is varied in the open loop only.
    """

    routine: ClassVar[bool] = False

    parameter: Literal["gain", "input"] = "gain"
    feature: NonNegative = 0
    span: tuple[float, float] | None = None
    max_branches: Positive = 6
    num_values: Positive = 160
    loop: Loop = "auto"
    input: HeldInput = "zero"

    def run(self, trained: Trained, data: TrainingData, streams: Streams) -> Findings:
        rng = streams.torch()
        seen = view(trained.model, data, rng, loop="open" if self.parameter == "input" else self.loop, input=self.input)
        system, direction = self._varied(seen)
        base, low, high = self._range(seen)
        here = find_fixed_points(seen.map, seen.pool(256, rng), rng=rng)
        branches = self._branches(system, direction, seen, here.points, base, low, high)
        diagram = bifurcation_diagram(
            system,
            np.linspace(low, high, self.num_values).tolist(),
            parameter=self.parameter,
            direction=direction,
            input=seen.held if self.parameter == "input" else None,
            starts=seen.pool(12, rng),
            num_transient=400,
            num_points=48,
        )
        name = "gain of the recurrence" if self.parameter == "gain" else f"input {self.feature + 1}"
        return Findings(
            tuple(_statements(branches, seen, name, low, high, self.max_branches, len(here))),
            {"parameter": name, "span": [low, high], "branches": [_plain(b) for b in branches]},
            _arrays(branches, diagram),
            (_table(branches),) if any(b.bifurcations for b in branches) else (),
            {"branches": branches, "diagram": diagram, "name": name},
        )

    def figures(self, findings: Findings) -> Iterator[Figure]:
        branches, diagram, name = (findings.results[k] for k in ("branches", "diagram", "name"))
        if branches:
            yield branch_figure(branches, parameter=name)
        yield diagram_figure(diagram, (), parameter=name)

    def _varied(self, seen: View) -> tuple[DynamicalSystem, Tensor | None]:
        if self.parameter == "gain":
            return seen.map, None
        if self.feature >= seen.system.input_size:
            raise ConfigError(
                f"feature {self.feature}",
                f"0 to {seen.system.input_size - 1}, as the network has inputs",
                "features count from 0",
            )
        direction = torch.zeros(seen.system.input_size, dtype=torch.float64)
        direction[self.feature] = 1
        return seen.system, direction

    def _range(self, seen: View) -> tuple[float, float, float]:
        """The parameter as trained, and the ends of its range."""
        if self.parameter == "gain":
            base, (low, high) = 1.0, self.span or (0.2, 2.0)
        else:
            reach = REACH * (float(seen.probe.inputs[..., self.feature].std()) or 1.0)
            base, (low, high) = 0.0, self.span or (-reach, reach)
        if not low < base < high:
            raise ConfigError(
                f"span ({low:g}, {high:g})", f"two numbers around {base:g}, the network as it is", "widen the span"
            )
        return base, low, high

    def _branches(
        self,
        system: DynamicalSystem,
        direction: Tensor | None,
        seen: View,
        points: Tensor,
        base: float,
        low: float,
        high: float,
    ) -> list[Branch]:
        found = []
        for point in points[: self.max_branches]:
            for end in (low, high):
                found.append(
                    continue_fixed_point(
                        system,
                        start=point,
                        span=(base, end),
                        parameter=self.parameter,
                        direction=direction,
                        input=seen.held if self.parameter == "input" else None,
                        max_points=400,
                    )
                )
        return found


def _statements(branches: list[Branch], seen: View, name: str, low: float, high: float, most: int, count: int) -> Iterator[str]:
    kinds: dict[str, int] = {}
    for branch in branches:
        for one in branch.bifurcations:
            kinds[one.kind] = kinds.get(one.kind, 0) + 1
    told = ", ".join(f"{number} {kind}{'s' if number > 1 else ''}" for kind, number in kinds.items()) or "none"
    yield f"Run {seen.words}, followed over the {name} from {low:.3g} to {high:.3g}: {min(count, most)} of {count} fixed points meet these bifurcations: {told}."
    for branch in branches:
        for one in branch.bifurcations[:3]:
            yield f"{one.summary[0].upper()}{one.summary[1:]}."


def _plain(branch: Branch) -> dict[str, object]:
    found = [{"kind": b.kind, "parameter": b.parameter, "error": b.parameter_error} for b in branch.bifurcations]
    return {"end": branch.end, "points": len(branch.parameters), "bifurcations": found}


def _arrays(branches: list[Branch], diagram: BifurcationDiagram) -> dict[str, np.ndarray]:
    arrays = {"diagram_values": diagram.values.numpy(), "diagram_outputs": diagram.outputs.numpy()}
    for index, branch in enumerate(branches):
        arrays |= {f"branch_{index}_parameters": branch.parameters.numpy(), f"branch_{index}_points": branch.points.numpy()}
    return arrays


def _table(branches: list[Branch]) -> Table:
    columns = (
        Column("kind", "bifurcation"),
        Column("parameter", "at"),
        Column("error", "located within"),
        Column("turn", "steps per turn"),
    )
    rows = tuple(
        Row(
            f"branch {number // 2 + 1}, {'down' if number % 2 == 0 else 'up'}",
            "",
            {
                "kind": one.kind,
                "parameter": one.parameter,
                "error": one.parameter_error,
                "turn": 1 / one.rotation_number if one.rotation_number else None,
            },
        )
        for number, branch in enumerate(branches)
        for one in branch.bifurcations
    )
    return Table("Bifurcations", columns, rows[:60], "The first 60." if len(rows) > 60 else "")
