"""Every figure of the kick units can be drawn, also when none were found."""

import re

import pytest
import torch

import rnnscope as rs
from rnnscope.analysis import figures_kick as figures
from rnnscope.analysis.kick_units import KickUnits, find_kick_units, gain_sweep, opposition, switch_averages
from rnnscope.analysis.residency import noise_sensitivity
from rnnscope.core.driven import drive
from rnnscope.core.tables import Figure
from rnnscope.plotting import render

KICKS = torch.tensor([1, 2])


def check(figure: Figure) -> None:
    assert figure.caption.endswith(".")
    assert "nan" not in re.findall(r"\w+", figure.caption)
    assert render(figure.canvas, "svg").startswith(b"<?xml")


@pytest.fixture
def found(kicked: rs.System, rng: torch.Generator) -> KickUnits:
    return find_kick_units(kicked, drive(kicked, 1, 40, rng).final_state, rng, num_steps=80)


def test_ablation_with_and_without_kick_units(found: KickUnits) -> None:
    check(figures.ablation_figure(found))
    empty = torch.empty(0, dtype=torch.float64)
    nothing = KickUnits(
        KICKS[:0], empty, empty, empty, found.single_score, found.single_highest_exit, 0.1, found.common, "none"
    )
    check(figures.ablation_figure(nothing))


def test_switch_averages_gains_and_opposition(kicked: rs.System, rng: torch.Generator) -> None:
    paths = drive(kicked, 100, 30, rng, keep_inputs=True)
    check(figures.switch_average_figure([switch_averages(paths.states, paths.symbols, KICKS, window=5)]))
    directed = [switch_averages(paths.states, paths.symbols, KICKS, window=5, origin=i, target=1 - i) for i in (0, 1)]
    check(figures.switch_average_figure(directed, names=["up", "down"]))
    sweeps = [
        gain_sweep(kicked, paths.final_state, KICKS, rng, target=t, gains=(0.0, 1.0, 2.0), num_controls=2, num_steps=20)
        for t in ("output", "noise")
    ]
    check(figures.gain_figure(sweeps))
    check(figures.opposition_figure(opposition(kicked, paths.start, paths.inputs[:, 0], KICKS)))


def test_sensitivity_with_an_empty_zone(kicked: rs.System, rng: torch.Generator) -> None:
    paths = drive(kicked, 5, 30, rng, keep_inputs=True)
    found = noise_sensitivity(kicked, paths.start, paths.inputs, torch.arange(30) % 2, rng, num_replicas=4)
    check(figures.sensitivity_figure(found))
