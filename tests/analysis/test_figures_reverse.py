"""Every figure of the driven dynamics can be drawn, from an early network."""

import re

import pytest
import torch

from rnnscope.analysis import figures_reverse as figures
from rnnscope.analysis.development import development
from rnnscope.analysis.driven_jacobian import driven_spectra
from rnnscope.analysis.figures_state_space import scree_figure
from rnnscope.analysis.readout_geometry import readout_alignment
from rnnscope.analysis.relaxations import relaxations
from rnnscope.analysis.residency import residency, zones
from rnnscope.analysis.resonance import resonance
from rnnscope.core.driven import DrivenPaths, drive
from rnnscope.core.tables import Figure
from rnnscope.dynamics.components import principal_components
from rnnscope.plotting import render


@pytest.fixture
def paths(early, rng: torch.Generator) -> DrivenPaths:
    return drive(early("two_19.4"), 30, 20, rng, keep_inputs=True)


def check(figure: Figure) -> None:
    assert figure.caption.endswith(".")
    assert "nan" not in re.findall(r"\w+", figure.caption)
    assert render(figure.canvas, "svg").startswith(b"<?xml")


def test_components_and_path(paths: DrivenPaths) -> None:
    components = principal_components(paths.states)
    check(scree_figure(components, "the driven states"))
    named = figures.trajectory_figure(components, paths.states[0], paths.symbols[0], 3, names=["$a", "b", "c"])
    check(named)


def test_relaxation(early, paths: DrivenPaths) -> None:
    found = relaxations(early("two_19.4"), paths.final_state, 80)
    check(figures.relaxation_figure(principal_components(paths.states), found, 3))


def test_residency_map(early, paths: DrivenPaths, rng: torch.Generator) -> None:
    states = paths.pool(100)[0]
    found = residency(early("two_19.4"), states, rng, num_rollouts=4, horizon=20)
    check(figures.residency_figure(principal_components(paths.states), states, found, zones(found, 3)))


def test_eigenvalues_and_readout(early, paths: DrivenPaths) -> None:
    components = principal_components(paths.states)
    check(figures.eigenvalue_figure(driven_spectra(early("two_19.4"), paths.start, paths.inputs[:, 0])))
    found = readout_alignment(early("two_19.4"), paths.start, components)
    check(figures.readout_figure(components, found, *paths.pool(200)))


def test_resonance_and_development(early, rng: torch.Generator) -> None:
    check(figures.resonance_figure(resonance(early("two_19.4"), rng, noise_scales=(0.5, 1.0, 2.0), num_steps=40, num_paths=9)))
    found = development([(1, early("two_19.4"))], rng, num_steps=10, num_paths=20, num_jacobians=9)
    check(figures.development_figure(found, [3.0, 2.0, 1.0], 1))
    check(figures.development_figure(found))
