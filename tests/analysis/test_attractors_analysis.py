"""What the analysis of attractors says, draws and writes."""

import math
from pathlib import Path
from typing import Any

import pytest
import torch

import rnnscope as rs
from analysed import check_findings, driven, forecasting, look, network, network_for, noise, state_of
from known_systems import rotation_matrix
from rnnscope.analysis.attractors import AttractorMap

SMALL = AttractorMap(num_starts=24, num_steps=200, num_sequences=6, max_sets=2)


def test_two_wells_share_the_starts(tmp_path: Path) -> None:
    found = look(SMALL, driven(lambda h, x: torch.tanh(2 * h + x)), noise())
    told = check_findings(SMALL, found, tmp_path)
    shares = [one["share"] for one in told["metrics"]["attractors"]]
    assert sum(shares) == pytest.approx(1)
    listed = ", ".join(f"{100 * share:.0f} %" for share in shares)
    words = f"Run with its input held at zero from 24 starts, the network settles on one of 2 sets: 2 fixed points ({listed})."
    assert found.statements[0] == words
    starts, labels = found.arrays["starts"][:, 0], found.arrays["labels"]
    for index in range(2):
        point = float(found.arrays[f"points_{index}"][0, 0])
        assert ((starts > 0) == (point > 0))[labels == index].all()
        assert shares[index] == (labels == index).mean()
        assert f"{100 * shares[index]:.1f} ± " in found.statements[1 + index]
    slope = 2 * (1 - 0.957504**2)
    assert told["metrics"]["attractors"][0]["largest_exponent"] == pytest.approx(math.log(slope), abs=1e-5)
    assert [row["values"]["share"] for row in told["tables"][0]["rows"]] == shares
    assert told["tables"][0]["rows"][0]["sd"]["share"] == pytest.approx(math.sqrt(shares[0] * (1 - shares[0]) / 24))
    assert told["figures"] == ["outputs"]  # a single unit has no plane


def test_a_flip_is_a_cycle_of_two(tmp_path: Path) -> None:
    found = look(SMALL, driven(lambda h, x: -torch.tanh(2 * h + x)), noise())
    check_findings(SMALL, found, tmp_path)
    assert found.statements[0].endswith("the network settles on a cycle of period 2 steps (100 %).")
    assert found.statements[1].startswith("All starts, reached in a median of ")
    assert found.metrics["attractors"][0]["period"] == 2
    assert "share" not in (found.tables[0].rows[0].sd or {})  # where all starts agree a binomial error of 0 would say too much


def test_two_units_that_flip_do_so_together_or_in_turn(tmp_path: Path) -> None:
    found = look(SMALL, driven(lambda h, x: -torch.tanh(2 * h + x), 2, 2), noise(2))
    told = check_findings(SMALL, found, tmp_path)
    assert "settles on one of 2 sets: 2 cycles of period 2 steps (" in found.statements[0]
    assert told["figures"] == ["basins", "outputs"]


def test_a_drift_is_not_taken_for_chaos() -> None:
    found = look(
        SMALL.but(num_starts=4, max_sets=1), driven(lambda h, x: torch.stack([h[:, 0] + h[:, 1], h[:, 1]], 1), 2), noise()
    )
    assert "chaotic" not in found.statements[0]
    assert "an undetermined set" in found.statements[0]


def test_a_motion_at_its_own_pace_is_a_circle(tmp_path: Path) -> None:
    turn = rotation_matrix(0.7)

    def step(h: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        moved = h @ turn.T
        return 1.5 * moved / (0.5 + moved.norm(dim=1, keepdim=True).clamp_min(1e-9)) + 0.1 * x

    found = look(SMALL, driven(step, 2), noise())
    check_findings(SMALL, found, tmp_path)
    assert f"an invariant circle of period {2 * math.pi / 0.7:.4g} steps (100 %)" in found.statements[0]


def test_chaos_is_named(tmp_path: Path) -> None:
    system = driven(lambda h, x: (4 * h * (1 - h)).clamp(0, 1), initial=torch.tensor([0.3]))
    look_at = SMALL.but(num_starts=6, spread=0.0)
    found = look(look_at, system, noise())
    told = check_findings(look_at, found, tmp_path)
    assert "a chaotic set" in found.statements[0]
    one = told["metrics"]["attractors"][0]
    assert abs(one["largest_exponent"] - math.log(2)) < 0.03
    assert one["period"] is None


def test_where_everything_diverges_that_is_said(tmp_path: Path) -> None:
    found = look(SMALL.but(num_steps=100), driven(lambda h, x: 2 * h + 1, 2), noise(steps=20))
    told = check_findings(SMALL, found, tmp_path)
    assert found.statements == (
        "Run with its input held at zero, every one of 24 starts diverged: the network has no bounded motion there.",
    )
    assert (told["metrics"]["attractors"], told["metrics"]["share_diverged"]) == ([], 1.0)
    assert (told["tables"], told["figures"]) == ([], [])


def test_a_part_that_diverges_is_counted(tmp_path: Path) -> None:
    def step(h: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        inside = h.abs() < 1
        return torch.where(inside, 0.5 * h, 3 * h) * (x == 0) + 3 * x * (x != 0)

    found = look(SMALL, driven(step, 2), noise())
    told = check_findings(SMALL, found, tmp_path)
    share = told["metrics"]["share_diverged"]
    assert 0 < share < 1
    assert f"{100 * share:.0f} % of the starts diverged" in found.statements[-1]


def test_sets_left_unexamined_are_counted(tmp_path: Path) -> None:
    turn = rotation_matrix(0.7)
    system = driven(lambda h, x: h @ turn.T * (1 + 0 * x), 2)  # every radius is a circle of its own
    found = look(SMALL, system, noise())
    told = check_findings(SMALL, found, tmp_path)
    share = told["metrics"]["share_unexamined"]
    assert share > 0.5
    assert "ends in more sets than were examined, or has not settled after 200 steps" in found.statements[0]
    assert f"{100 * share:.0f} % of the starts end in further sets that were not examined" in found.statements[-1]


def test_a_point_reached_in_one_step_has_an_exponent_of_minus_infinity(tmp_path: Path) -> None:
    found = look(SMALL, driven(lambda h, x: 0 * h + x, 2), noise())
    told = check_findings(SMALL, found, tmp_path)
    assert told["metrics"]["attractors"][0]["largest_exponent"] is None
    assert told["tables"][0]["rows"][0]["values"]["exponent"] is None


def test_many_sets_are_summed_up(tmp_path: Path) -> None:
    look_at = SMALL.but(num_starts=80)
    found = look(look_at, driven(lambda h, x: torch.tanh(2 * h + x), 3, 3), noise(3))
    told = check_findings(look_at, found, tmp_path)
    count = len(told["metrics"]["attractors"])
    assert count == 8
    assert f"settles on one of 8 sets: {count} fixed points (" in found.statements[0]
    assert found.statements[0].endswith(", …).")
    assert len(found.statements) == 7  # the six largest are told
    assert len(told["tables"][0]["rows"]) == 8
    caption = [f.caption for f in look_at.figures(found) if f.name == "outputs"]
    assert caption[0].endswith("the first 6 of 8 sets.")


@pytest.mark.parametrize(
    ("kind", "hidden", "figures"),
    [
        ("gru", 1, ["outputs"]),
        ("lstm", 1, ["basins", "outputs"]),
        ("tanh", 3, ["basins", "outputs"]),
        ("relu", 16, ["basins", "outputs"]),
    ],
)
def test_networks_of_every_size_are_drawn(kind: str, hidden: int, figures: list[str], tmp_path: Path) -> None:
    found = look(SMALL, network(kind, 2, hidden, 3), noise(2))
    assert check_findings(SMALL, found, tmp_path)["figures"] == figures


@pytest.mark.parametrize("fields", [{}, {"covariates": 1}, {"head": "gaussian"}], ids=str)
def test_closed_loops_settle(fields: dict[str, Any], tmp_path: Path) -> None:
    data = forecasting(**fields)
    found = look(SMALL, network_for(data), data)
    check_findings(SMALL, found, tmp_path)
    assert "with its outputs fed back" in found.statements[0]


def test_the_same_seed_gives_the_same_findings_and_the_model_stays() -> None:
    model = network("gru", 1, 3, 1).train()
    before = state_of(model)
    one, other = (look(SMALL, model, noise()) for _ in range(2))
    assert state_of(model) == before
    assert one.statements == other.statements


def test_what_cannot_be_looked_at_is_refused() -> None:
    with pytest.raises(rs.ConfigError, match="outputs are no inputs"):
        look(SMALL.but(loop="closed"), network("gru", 2, 3, 1), noise(2))
