"""What the analysis of Lyapunov exponents says, draws and writes."""

import dataclasses
import math
from pathlib import Path
from typing import Any, Literal

import pytest
import torch

import rnnscope as rs
from analysed import check_findings, driven, forecasting, look, network, network_for, noise, state_of
from rnnscope.analysis.lyapunov import WHOLE, LyapunovExponents

SMALL = LyapunovExponents(num_steps=200, num_trajectories=4, num_sequences=6)


def test_a_decay_forgets_at_its_own_rate(tmp_path: Path) -> None:
    found = look(SMALL, driven(lambda h, x: h * torch.tensor([0.5, 0.25]).to(h) + x, 2), noise())
    told = check_findings(SMALL, found, tmp_path)
    metrics = told["metrics"]
    assert metrics["exponents"] == pytest.approx([math.log(0.5), math.log(0.25)])
    assert (metrics["kind"], metrics["map"]) == ("settles", "under inputs like those of the data")
    first = f"Run under inputs like those of the data, the largest Lyapunov exponent is {math.log(0.5):.4g} per step: "
    assert found.statements[0].startswith(first)
    assert found.statements[0].endswith("its state is decided by the inputs: it forgets where it began.")
    assert found.statements[1] == f"A small difference shrinks e-fold in {1 / math.log(2):.3g} steps."
    assert (
        f"4 paths of {metrics['num_steps']} steps; the exponents add up to the mean ln |det J| within" in found.statements[-1]
    )
    assert metrics["num_steps"] == 200
    assert metrics["sum_rule_error"] < 1e-12
    assert told["arrays"]["local_exponents"][::2] == [4, 2]
    assert told["figures"] == ["spectrum", "convergence"]


def test_with_an_input_held_the_map_is_autonomous() -> None:
    found = look(SMALL.but(under="held", input="mean"), driven(lambda h, x: 0.5 * h + x), noise())
    assert found.metrics["map"] == "with its input held at the mean of the data"
    assert found.statements[0].endswith("it settles on a fixed point or a cycle.")


def test_chaos_grows_e_fold_in_the_time_told(tmp_path: Path) -> None:
    system = driven(lambda h, x: (4 * h * (1 - h)).clamp(0, 1), initial=torch.tensor([0.3]))
    look_at = SMALL.but(under="held", num_steps=2000)
    found = look(look_at, system, noise())
    told = check_findings(look_at, found, tmp_path)
    largest = told["metrics"]["exponents"][0]
    assert abs(largest - math.log(2)) < 0.01
    assert found.statements[0].endswith("small differences grow: it is chaotic.")
    assert found.statements[1] == f"A small difference grows e-fold in {1 / largest:.3g} steps."
    assert found.statements[2].startswith("The Kaplan-Yorke dimension is 1.")


def test_growth_under_the_data_is_no_chaos_of_its_own() -> None:
    found = look(SMALL, driven(lambda h, x: torch.remainder(2 * h + x, 1.0)), noise())
    assert found.statements[0].endswith("small differences grow under the same inputs: it is not governed by them.")


@pytest.mark.parametrize("under", ["data", "held"])
def test_states_that_grow_without_bound_are_not_called_chaotic(under: Literal["data", "held"]) -> None:
    """1.05 h + x: differences grow because the state does."""
    found = look(SMALL.but(under=under), driven(lambda h, x: 1.05 * h + x + 0.1, 2, 2), noise(2))
    assert found.metrics["kind"] == "chaotic"
    assert found.metrics["states_escape"]
    assert found.statements[0].endswith("this is growth, not chaos.")
    assert not any("Kaplan-Yorke" in s for s in found.statements)


def test_a_dead_direction_is_minus_infinity(tmp_path: Path) -> None:
    found = look(SMALL, driven(lambda h, x: torch.stack([0.5 * h[:, 0] + x[:, 0], x[:, 0]], 1), 2), noise())
    told = check_findings(SMALL, found, tmp_path)
    assert told["metrics"]["exponents"][1] is None
    assert told["metrics"]["sum_rule_error"] is None
    assert "add up" not in found.statements[-1]
    (caption,) = [f.caption for f in SMALL.figures(found) if f.name == "spectrum"]
    assert "; 1 more is -∞." in caption


def test_where_nothing_is_left_of_a_difference_no_curve_is_drawn(tmp_path: Path) -> None:
    found = look(SMALL, driven(lambda h, x: x.expand(-1, 2) + 0 * h, 2), noise())
    told = check_findings(SMALL, found, tmp_path)
    assert "the largest Lyapunov exponent is -∞ per step" in found.statements[0]
    assert told["metrics"]["exponents"] == [None, None]
    assert told["figures"] == []


def test_closed_loops_are_autonomous(tmp_path: Path) -> None:
    data = forecasting(differences=1, covariates=1)
    found = look(SMALL, network_for(data), data)
    told = check_findings(SMALL, found, tmp_path)
    assert told["metrics"]["map"] == "with its outputs fed back and the covariates held at zero"
    assert len(told["metrics"]["exponents"]) == found.arrays["exponents"].size == 4 + 2
    opened = look(SMALL.but(under="data"), network_for(data), data)
    assert opened.metrics["map"] == "under inputs like those of the data"
    assert len(opened.metrics["exponents"]) == 4


def test_exponents_are_told_on_the_time_axis_of_the_series_too() -> None:
    data = dataclasses.replace(forecasting(), sampling_interval=0.02)
    system = driven(lambda h, x: 0.5 * h + x)
    found = look(SMALL.but(under="data"), system, data)
    rate = math.log(0.5) / 0.02
    assert found.statements[1] == (
        f"One step is 0.02 of the axis 'time', on which that is {rate:.4g}: a difference shrinks e-fold in {-1 / rate:.3g}."
    )
    assert "One step is" not in " ".join(look(SMALL, system, dataclasses.replace(data, sampling_interval=1.0)).statements)


@pytest.mark.parametrize(("hidden", "asked", "count"), [(3, None, 3), (3, 2, 2), (WHOLE + 1, None, 10)])
def test_as_many_exponents_as_asked(hidden: int, asked: int | None, count: int) -> None:
    found = look(SMALL.but(num_exponents=asked, num_steps=60), network("tanh", 1, hidden, 1), noise())
    assert len(found.metrics["exponents"]) == count


@pytest.mark.parametrize(("kind", "hidden"), [("gru", 1), ("lstm", 1), ("tanh", 3), ("relu", 3), ("gru", 16)])
def test_networks_of_every_size_are_drawn(kind: str, hidden: int, tmp_path: Path) -> None:
    found = look(SMALL, network(kind, 2, hidden, 1), noise(2))
    check_findings(SMALL, found, tmp_path)


def test_short_data_are_repeated() -> None:
    found = look(SMALL.but(num_sequences=1, num_trajectories=7), driven(lambda h, x: 0.5 * h + x), noise(steps=3))
    assert found.metrics["exponents"] == pytest.approx([math.log(0.5)])
    assert found.arrays["local_exponents"].shape[0] == 7


def test_the_same_seed_gives_the_same_findings_and_the_model_stays() -> None:
    model = network("lstm", 1, 3, 1).train()
    before = state_of(model)
    one, other = (look(SMALL, model, noise()) for _ in range(2))
    assert state_of(model) == before
    assert one.metrics == other.metrics


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"under": "closed"}, "outputs are no inputs"),
        ({"num_exponents": 9}, "num_exponents 9"),
        ({"under": "held", "input": (1.0,)}, "1 numbers"),
    ],
)
def test_what_cannot_be_looked_at_is_refused(fields: dict[str, Any], words: str) -> None:
    with pytest.raises(rs.ConfigError, match=words):
        look(SMALL.but(**fields), network("gru", 2, 3, 1), noise(2))
