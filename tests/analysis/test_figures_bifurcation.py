"""Bifurcation figures draw what they are given and say so."""

import pytest
import torch

import rnnscope as rs
from rnnscope.analysis.figures_bifurcation import attractors_figure, branch_figure, diagram_figure
from rnnscope.core.errors import ConfigError
from rnnscope.dynamics.attractors import attractors
from rnnscope.dynamics.bifurcations import bifurcation_diagram
from rnnscope.dynamics.continuation import continue_fixed_point
from rnnscope.plotting import render


def logistic(p: float) -> rs.System:
    return rs.System(lambda h, x: p * h * (1 - h), 1)


def test_a_diagram_marks_the_bifurcations_of_its_branches() -> None:
    diagram = bifurcation_diagram(logistic, [2.8, 3.2, 5.0], starts=torch.tensor([[0.3]]), num_points=8)
    branch = continue_fixed_point(logistic, start=torch.tensor([0.6]), span=(2.8, 3.2))
    figure = diagram_figure(diagram, [branch], parameter="r")
    assert "at 1 values some orbit left every bound" in figure.caption
    assert [text.get_text().strip() for text in figure.canvas.axes[0].texts] == ["flip"]
    assert render(figure.canvas, "png")[:4] == b"\x89PNG"


def test_branches_are_solid_where_stable() -> None:
    branch = continue_fixed_point(logistic, start=torch.tensor([0.6]), span=(2.8, 3.2))
    figure = branch_figure([branch], parameter="r")
    assert "1 bifurcation" in figure.caption
    labels = [text.get_text() for text in figure.canvas.axes[0].get_legend().get_texts()]
    assert labels == ["flip", "stable", "unstable"]


def test_attractors_are_drawn_in_two_units() -> None:
    latch = rs.System(lambda h, x: torch.tanh(2 * h), 2)
    found = attractors(latch, starts=torch.tensor([[0.5, 0.5], [-0.5, 0.5]]), num_steps=100)
    figure = attractors_figure(found)
    assert figure.caption.startswith("Where 2 starts settle. point: 50.0 %")
    with pytest.raises(ConfigError, match="units 0 and 2"):
        attractors_figure(found, second=2)
