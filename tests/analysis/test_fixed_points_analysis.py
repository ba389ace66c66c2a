"""What the analysis of fixed points says, draws and writes."""

import dataclasses
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import rnnscope as rs
from analysed import as_trained, check_findings, driven, forecasting, look, network, network_for, noise, state_of
from rnnscope.analysis.figures_fixed_points import NAMES, UNDECIDED, classes
from rnnscope.analysis.fixed_points import SHOWN, FixedPointSearch, _statements
from rnnscope.core.random import Streams

SMALL = FixedPointSearch(num_starts=60, num_sequences=6)


def latches(count: int) -> rs.System:
    """tanh(2 h + x) in every unit: 3^n fixed points, of which 2^n are stable."""
    return driven(lambda h, x: torch.tanh(2 * h + x), count, count)


def turning(modulus: float, angle: float) -> rs.System:
    """A spiral around 0."""
    cos, sin = modulus * math.cos(angle), modulus * math.sin(angle)
    matrix = torch.tensor([[cos, -sin], [sin, cos]], dtype=torch.float64)
    return driven(lambda h, x: h @ matrix.T + 0.1 * x, 2, 1)


def test_a_latch_has_two_memories_and_a_saddle_between_them(tmp_path: Path) -> None:
    found = look(SMALL, latches(1), noise())
    told = check_findings(SMALL, found, tmp_path)
    first, *rest = found.statements
    assert first.startswith("Run with its input held at zero, the network has 3 fixed points from 60 starts")
    assert "2 stable, 1 with 1 unstable direction" in first
    metrics = told["metrics"]
    assert (metrics["num_fixed_points"], metrics["num_stable"], metrics["starts"]) == (3, 2, 60)
    assert metrics["map"] == "with its input held at zero"
    assert metrics["largest_residual"] <= 1e-12
    assert "The 2 stable points give 2 different outputs (further than 0.1 of the range apart)." in rest
    point = float(found.arrays["points"].max())
    assert point == pytest.approx(0.957504, abs=1e-6)  # tanh 2h = h
    slope = 2 * (1 - point**2)
    assert f"a time constant of at most {-1 / math.log(slope):.3g} steps" in rest[0]
    residual = metrics["largest_residual"]
    assert f"the largest residual is {f'{residual:.1e}' if residual else '0'}; 60 starts" in rest[-1]
    assert f"of which {60 + metrics['restarts']} ended at a fixed point." in rest[-1]
    assert f"{metrics['restarts']} restarts" in rest[-1]
    (table,) = told["tables"]
    assert [row["values"]["kind"] for row in table["rows"]] == ["attractor", "attractor", "repeller"]
    assert [row["values"]["unstable"] for row in table["rows"]] == [0, 0, 1]
    assert table["rows"][2]["values"]["time"] == pytest.approx(-1 / math.log(2))
    assert told["figures"] == ["portrait", "eigenvalues"]


def test_a_held_input_moves_the_points() -> None:
    found = look(SMALL.but(input=(2.0,)), latches(1), noise())
    assert found.metrics["num_fixed_points"] == 1
    assert found.arrays["held"].tolist() == [2.0]
    assert "held at (2), the network has 1 fixed point from" in found.statements[0]


def test_stable_points_that_say_the_same_are_counted_once() -> None:
    def first(h: Tensor) -> Tensor:
        return h[..., :1]

    system = rs.System(lambda h, x: torch.tanh(2 * h + x), 2, 2, readout=first, output_size=1, dtype=torch.float64)
    found = look(SMALL, system, noise(2))
    assert "The 4 stable points give 2 different outputs (further than 0.1 of the range apart)." in found.statements


def test_a_spiral_tells_how_long_a_turn_takes(tmp_path: Path) -> None:
    found = look(SMALL, turning(0.9, 0.3), noise())
    told = check_findings(SMALL, found, tmp_path)
    assert f"Around it the state turns in the leading direction, once in {2 * math.pi / 0.3:.3g} steps." in found.statements
    assert told["tables"][0]["rows"][0]["values"]["period"] == f"{2 * math.pi / 0.3:.3g}"
    assert told["tables"][0]["rows"][0]["values"]["modulus"] == pytest.approx(0.9)


def test_of_several_spirals_the_one_reached_most_often_is_told() -> None:
    def step(h: Tensor, x: Tensor) -> Tensor:
        """Two wells along the first unit; the others turn around 0 at 0.9 of their length."""
        turned = 0.9 * torch.stack([0.8 * h[:, 1] - 0.6 * h[:, 2], 0.6 * h[:, 1] + 0.8 * h[:, 2]], 1)
        return torch.cat([torch.tanh(1.2 * h[:, :1] + x), turned], 1)

    found = look(SMALL, driven(step, 3), noise())
    assert found.metrics["num_fixed_points"] == 3
    turn = 2 * math.pi / math.acos(0.8)
    words = f"Around 2 of the 3 points the state turns in the leading direction, around the one of these reached most often once in {turn:.3g} steps."
    assert words in found.statements


@pytest.mark.parametrize("size", [1, 2, 3])
def test_a_network_without_fixed_points_says_so_and_is_drawn(size: int, tmp_path: Path) -> None:
    found = look(SMALL, driven(lambda h, x: h + 1.0, size), noise())
    told = check_findings(SMALL, found, tmp_path)
    assert found.statements[0].startswith("Run with its input held at zero: no fixed point found from 60 starts")
    assert len(found.statements) == 1
    assert (told["metrics"]["num_fixed_points"], told["metrics"]["largest_residual"]) == (0, None)
    assert told["tables"] == []
    assert told["arrays"]["points"] == [0, size]
    assert "eigenvalues" not in told["figures"]


def test_a_plane_on_which_one_unit_never_rests_is_drawn(tmp_path: Path) -> None:
    system = driven(lambda h, x: torch.stack([h[:, 0] + 1, 0.5 * h[:, 1] + x[:, 0]], 1), 2)
    told = check_findings(SMALL, look(SMALL, system, noise()), tmp_path)
    assert told["figures"] == ["portrait"]


def test_a_line_of_points_is_no_count(tmp_path: Path) -> None:
    system = driven(lambda h, x: torch.stack([h[:, 0] + x[:, 0], 0.5 * h[:, 1]], 1), 2)
    search = SMALL.but(num_starts=100)
    found = look(search, system, noise())
    told = check_findings(search, found, tmp_path)
    assert told["metrics"]["is_continuum"]
    assert "samples of a continuous set" in found.statements[0]
    assert found.statements[1].startswith("No count is meaningful")
    assert len(found.statements) == 2
    assert len(told["tables"][0]["rows"]) == SHOWN
    assert f"The first {SHOWN} of {told['metrics']['num_fixed_points']}." in told["tables"][0]["note"]
    assert all(row["values"]["time"] is None for row in told["tables"][0]["rows"])  # marginal: neither decay nor growth


def test_more_points_than_a_table_holds(tmp_path: Path) -> None:
    search = FixedPointSearch(num_starts=300, num_sequences=6)
    found = look(search, latches(4), noise(4))
    told = check_findings(search, found, tmp_path)
    assert (told["metrics"]["num_fixed_points"], told["metrics"]["num_stable"]) == (81, 16)
    rows = told["tables"][0]["rows"]
    assert len(rows) == SHOWN
    assert [row["values"]["unstable"] for row in rows[:17]] == [0] * 16 + [1]
    assert told["figures"] == ["flow", "space", "eigenvalues"]
    assert "The 16 stable points give 16 different outputs" in " ".join(found.statements)


@pytest.mark.parametrize(
    ("kind", "hidden", "figures"),
    [
        ("gru", 1, ["portrait"]),
        ("gru", 2, ["portrait"]),
        ("lstm", 1, ["portrait"]),
        ("tanh", 3, ["flow", "space"]),
        ("relu", 3, ["flow", "space"]),
        ("lstm", 8, ["flow", "space"]),
        ("gru", 16, ["flow", "space"]),
    ],
)
def test_networks_of_every_size_are_drawn(kind: str, hidden: int, figures: list[str], tmp_path: Path) -> None:
    found = look(SMALL, network(kind, 2, hidden, 1), noise(2))
    told = check_findings(SMALL, found, tmp_path)
    assert told["metrics"]["num_fixed_points"] >= 1
    assert told["figures"] == [*figures, "eigenvalues"]
    assert told["arrays"]["eigenvalues_real"] == told["arrays"]["points"]


@pytest.mark.parametrize("fields", [{}, {"covariates": 1, "differences": 2}, {"head": "gaussian"}], ids=str)
def test_closed_loops_are_searched(fields: dict[str, Any], tmp_path: Path) -> None:
    data = forecasting(**fields)
    found = look(SMALL, network_for(data), data)
    told = check_findings(SMALL, found, tmp_path)
    assert "with its outputs fed back" in found.statements[0]
    seen = found.results["view"]
    points = torch.from_numpy(found.arrays["points"])
    if len(points):
        moved = seen.map.step(points, points.new_zeros(len(points), 0))
        assert float((moved - points).abs().max()) <= 1e-10
        told_there = seen.map.readout(points).numpy()
        column = next(c for c in told["tables"][0]["columns"] if c["key"] == "output")
        row = next(r for r in told["tables"][0]["rows"] if r["values"]["starts"] == int(found.results["found"].num_starts[0]))
        if fields.get("differences"):  # what they put out is no level
            assert column["label"] == "output"
            assert float(row["values"]["output"]) == pytest.approx(told_there[0, 0], rel=1e-2, abs=1e-2)
        else:
            assert column["label"] == "forecast"
            expected = data.representation.unlevel(told_there[:1, :1])[0, 0]
            assert float(row["values"]["output"]) == pytest.approx(expected, rel=1e-2, abs=1e-2)
    assert told["metrics"]["map"] == seen.words


def test_the_mean_of_the_data_can_be_held() -> None:
    found = look(SMALL.but(input="mean", loop="open"), network("gru", 2, 3, 1), noise(2))
    assert "held at the mean of the data" in found.statements[0]
    assert found.arrays["held"].any()


def test_an_untouched_dead_network_is_drawn(tmp_path: Path) -> None:
    model = network("relu", 1, 4, 1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
    found = look(SMALL, model, noise())
    told = check_findings(SMALL, found, tmp_path)
    assert told["metrics"]["num_fixed_points"] == 1
    assert found.arrays["points"].tolist() == [[0.0] * 4]


def test_the_same_seed_gives_the_same_findings_and_the_model_stays() -> None:
    data = forecasting()
    model = network_for(data, "lstm").train()
    before = state_of(model)
    one, other = (look(SMALL, model, data) for _ in range(2))
    assert state_of(model) == before
    assert one.statements == other.statements
    assert all((one.arrays[k] == other.arrays[k]).all() for k in ("points", "num_unstable"))


def test_the_number_of_starts_falls_with_the_size() -> None:
    found = FixedPointSearch(num_sequences=4).run(as_trained(network("tanh", 1, 3, 1)), noise(), Streams(0))
    assert found.metrics["starts"] == 1024


def bias_free(gain: float) -> rs.DynamicalSystem:
    """A random ReLU network without biases."""
    layer = torch.nn.RNN(2, 6, nonlinearity="relu", bias=False)
    drawn = torch.randn(6, 6, generator=torch.Generator().manual_seed(1)) * gain / math.sqrt(6)
    with torch.no_grad():
        layer.weight_hh_l0.copy_(drawn)
    return rs.as_system(layer)


@pytest.mark.parametrize(
    ("gain", "end"), [(2.5, "states that turn to a growing direction leave every bound."), (0.4, "starts go back to 0.")]
)
def test_without_biases_limiting_rays_take_the_place_of_eigenvalues(gain: float, end: str, tmp_path: Path) -> None:
    system = bias_free(gain)
    found = look(SMALL, system, noise(2))
    told = check_findings(SMALL, found, tmp_path)
    (said,) = [s for s in found.statements if "limiting rays" in s]
    assert said.startswith("Without biases and input, F(s h) = s F(h)")
    assert said.endswith(end)
    alone = rs.limiting_rays(system)
    assert told["metrics"]["ray_factors"][0] == pytest.approx(float(alone.decay_rates[0]), abs=1e-6)
    table = told["tables"][1]
    assert table["title"] == "Limiting rays"
    assert [row["values"]["factor"] for row in table["rows"]] == told["metrics"]["ray_factors"]
    assert told["arrays"]["rays"] == [len(table["rows"]), 6]
    zero = told["tables"][0]["rows"][0]["values"]
    assert (zero["kind"], zero["unstable"], zero["modulus"], zero["time"]) == ("on a border", None, None, None)
    assert classes(found.results["found"]).tolist() == [UNDECIDED]
    assert NAMES[UNDECIDED] == "undecided"


def test_biases_tanh_and_held_inputs_have_no_rays() -> None:
    for system, held in ((network("relu", 2, 4, 1), "zero"), (bias_free(1.0), (1.0, 0.0)), (network("tanh", 2, 4, 1), "zero")):
        found = look(SMALL.but(input=held), system, noise(2))
        assert "ray_factors" not in found.metrics
        assert not any("limiting rays" in s for s in found.statements)


def test_a_ghost_is_explained() -> None:
    """h + 0.3 h²/(1 + h²) + 0.001 comes within 0.001 of standing still at h = 0."""
    found = look(SMALL, driven(lambda h, x: h + 0.3 * h**2 / (1 + h**2) + 0.001 + 0 * x), noise())
    assert found.metrics["num_fixed_points"] == 0
    assert "nearly stands still: |F(h) - h| falls to 0.001 and not to 0." in found.statements[1]
    assert "a small change of the held input" in found.statements[1]


def test_starts_that_do_not_converge_are_explained() -> None:
    found = look(SMALL, latches(1), noise())
    seen, points = found.results["view"], found.results["found"]
    many = dataclasses.replace(points, failed=50)
    outputs = seen.map.readout(points.points)
    (said,) = [s for s in _statements(many, seen, outputs, None) if "did not converge" in s]
    assert said.startswith(f"50 of {points.searched + points.restarts} starts and restarts did not converge")
    assert "Raise num_starts" in said
    known = dataclasses.replace(many, expected_index_sum=points.index_sum)
    assert any("nothing need be done" in s for s in _statements(known, seen, outputs, None))
    assert not any("did not converge" in s for s in found.statements)


def test_outputs_that_are_rounding_are_shown_as_zero() -> None:
    found = look(SMALL, turning(0.9, 0.3), noise())
    assert found.tables[0].rows[0].values["output"] == "0, 0"
