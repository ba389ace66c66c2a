"""What the analysis of the state space says, draws and writes."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from analysed import check_findings, driven, forecasting, look, network, network_for, noise, state_of
from rnnscope.analysis.state_space import SATURATED, StateSpace

SMALL = StateSpace(num_sequences=8)


def test_the_numbers_are_those_of_the_states(tmp_path: Path) -> None:
    found = look(SMALL, network("tanh", 2, 5, 1, seed=3), noise(2))
    told = check_findings(SMALL, found, tmp_path)
    states = found.results["found"].states.numpy()
    later = states[:, states.shape[1] // 10 :].reshape(-1, 5)
    variances = np.linalg.eigvalsh(np.cov(later.T))[::-1]
    shares = variances / variances.sum()
    metrics = told["metrics"]
    assert metrics["explained_variance_ratio"] == pytest.approx(shares.tolist())
    assert metrics["participation_ratio"] == pytest.approx(variances.sum() ** 2 / (variances**2).sum())
    assert metrics["components_for_95_percent"] == 1 + int((shares.cumsum() < 0.95).sum())
    assert f"5 state variables fill {metrics['participation_ratio']:.1f} dimensions" in found.statements[0]
    assert f"{metrics['components_for_95_percent']} principal component" in found.statements[0]
    assert (
        found.statements[1]
        == f"The leading components hold {', '.join(f'{100 * s:.1f}' for s in shares[:3])} % of the variance."
    )
    assert told["figures"] == ["scree", "paths", "units"]
    assert told["arrays"]["paths"] == [8, 60, 3]


def test_units_that_never_move_are_counted(tmp_path: Path) -> None:
    found = look(SMALL, driven(lambda h, x: torch.cat([0.5 * h[:, :1] + x, 0 * h[:, 1:]], 1), 3), noise())
    told = check_findings(SMALL, found, tmp_path)
    assert told["metrics"]["num_silent"] == 2
    assert "2 of 3 state variables never move." in found.statements
    assert told["metrics"]["saturated_share"] is None  # |h| is not bounded by 1


def test_saturation_is_told(tmp_path: Path) -> None:
    found = look(SMALL, driven(lambda h, x: torch.tanh(8 * x.sign() + 0 * h)), noise())
    told = check_findings(SMALL, found, tmp_path)
    assert told["metrics"]["saturated_share"] == 1.0
    assert f"Units are saturated (|h| > {SATURATED}) 100 % of the time." in found.statements


@pytest.mark.parametrize(("value", "size"), [(0.0, 3), (0.7, 1)])
def test_a_network_that_never_moves_is_said_to(value: float, size: int, tmp_path: Path) -> None:
    system = driven(lambda h, x: 0 * h + value, size, initial=torch.full((size,), value))
    found = look(SMALL, system, noise())
    told = check_findings(SMALL, found, tmp_path)
    assert told["metrics"]["num_silent"] == size
    assert told["metrics"]["components_for_95_percent"] == 0
    moves = "none of 3 state variables moves" if size == 3 else "the state variable does not move"
    assert found.statements[0] == f"Driven by the data, {moves}."
    assert len(found.statements) == 1


@pytest.mark.parametrize(
    ("kind", "hidden", "layers"), [("gru", 1, 1), ("gru", 2, 1), ("lstm", 1, 1), ("tanh", 3, 1), ("relu", 3, 2), ("gru", 16, 1)]
)
def test_networks_of_every_size_are_drawn(kind: str, hidden: int, layers: int, tmp_path: Path) -> None:
    found = look(SMALL, network(kind, 2, hidden, 1, layers), noise(2))
    told = check_findings(SMALL, found, tmp_path)
    several = hidden * layers * (2 if kind == "lstm" else 1) > 1
    assert told["figures"] == ["scree", *(["paths"] if several else []), "units"]


def test_only_the_units_asked_for_are_shown() -> None:
    look_at = SMALL.but(shown_units=2)
    found = look(look_at, network("gru", 1, 5, 1), noise())
    (caption,) = [f.caption for f in look_at.figures(found) if f.name == "units"]
    assert caption.startswith("The 2 state variables that move most")


@pytest.mark.parametrize("fields", [{}, {"covariates": 1, "differences": 2}, {"head": "gaussian"}], ids=str)
def test_forecasters_are_driven_by_their_data(fields: dict[str, Any], tmp_path: Path) -> None:
    data = forecasting(**fields)
    found = look(SMALL, network_for(data), data)
    told = check_findings(SMALL, found, tmp_path)
    assert told["arrays"]["first_path"] == [10, 4]


def test_the_same_seed_gives_the_same_findings_and_the_model_stays() -> None:
    data = forecasting()
    model = network_for(data, "lstm").train()
    before = state_of(model)
    one, other = (look(SMALL, model, data) for _ in range(2))
    assert state_of(model) == before
    assert one.metrics == other.metrics
