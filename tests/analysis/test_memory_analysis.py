"""What the analysis of memory says, draws and writes."""

import dataclasses
import math
from pathlib import Path
from typing import Any

import pytest
import torch

import rnnscope as rs
from analysed import check_findings, driven, forecasting, look, network, network_for, noise, state_of
from helpers import prepare
from rnnscope.analysis.memory import Memory
from rnnscope.core.random import Streams
from rnnscope.tasks.flip_flop import FlipFlop
from rnnscope.tasks.oscillation import Oscillation

SMALL = Memory(num_pairs=4, num_steps=160, max_lag=20, capacity_lag=5, num_sequences=6)
QUICK = SMALL.but(capacity_lag=0)


def test_a_decay_forgets_when_it_should(tmp_path: Path) -> None:
    found = look(SMALL, driven(lambda h, x: 0.5 * h + x), noise())
    told = check_findings(SMALL, found, tmp_path)
    metrics = told["metrics"]
    assert (metrics["outcome"], metrics["echo_state"]) == ("forgets", True)
    assert metrics["forgetting_time"] == math.ceil(math.log(1e-6) / math.log(0.5))
    assert metrics["conditional_exponent"] == pytest.approx(math.log(0.5), abs=1e-4)
    assert metrics["memory_horizon"] == math.ceil(math.log(0.01) / math.log(0.5))
    assert metrics["decay_rate"] == pytest.approx(math.log(2))
    assert 0.9 < metrics["memory_capacity"] <= metrics["largest_capacity"] == 1
    assert found.statements[0] == (
        "Driven by the data, the network forgets its start within 20 steps (the echo-state property, for these inputs)."
    )
    assert sum("conditional exponent" in s for s in found.statements) == 1
    assert "below 1 % 7 steps back" in found.statements[2]
    assert f"capacity {metrics['memory_capacity']:.2f} of at most 1" in found.statements[-1]
    assert told["figures"] == ["forgetting", "sensitivity", "memory_capacity"]
    assert told["arrays"]["distances"] == [4, 161]
    assert told["arrays"]["capacities"] == [6, 1]


def test_a_latch_keeps_where_it_began(tmp_path: Path) -> None:
    found = look(QUICK, driven(lambda h, x: torch.tanh(3 * h + 0.01 * x)), noise())
    told = check_findings(QUICK, found, tmp_path)
    assert told["metrics"]["outcome"] == "several attractors"
    assert told["metrics"]["forgetting_time"] is None
    assert "does not always forget its start: different starts can end apart for good" in found.statements[0]


def test_growth_is_told(tmp_path: Path) -> None:
    found = look(QUICK, driven(lambda h, x: torch.remainder(2.1 * h + x, 1.0)), noise())
    check_findings(QUICK, found, tmp_path)
    assert found.metrics["outcome"] == "does not forget"
    assert found.metrics["decay_rate"] == pytest.approx(-math.log(2.1))
    assert "grows by 0.742 nats per step" in found.statements[2]


def test_a_rotation_is_undecided(tmp_path: Path) -> None:
    found = look(QUICK, driven(lambda h, x: h.flip(1) + 0.01 * x, 2), noise())
    check_findings(QUICK, found, tmp_path)
    assert found.statements[0].startswith("Whether the network forgets its start under these data is undecided")


def test_data_without_targets_have_no_gradient() -> None:
    found = look(QUICK, network("gru", 1, 3, 1), noise())
    assert "gradient_flow" not in found.metrics
    assert "capacity" not in found.results
    assert [f.name for f in QUICK.figures(found)] == ["forgetting", "sensitivity"]


@pytest.mark.parametrize("fields", [{}, {"covariates": 1, "differences": 2}, {"head": "gaussian"}, {"horizon": 3}], ids=str)
def test_the_gradient_is_that_of_the_tasks_own_loss(fields: dict[str, Any], tmp_path: Path) -> None:
    data = forecasting(**fields)
    model = network_for(data)
    found = look(SMALL, model, data)
    told = check_findings(SMALL, found, tmp_path)
    assert told["figures"] == ["forgetting", "sensitivity", "gradient_flow", "memory_capacity"]
    assert f"Gradient of the loss: {found.results['gradients'].statement}." in found.statements
    flow = found.results["gradients"]
    drawn = data.probe(SMALL.num_sequences, Streams(0).torch())
    assert drawn.targets is not None
    with torch.no_grad():
        outputs = model(drawn.inputs)
        wanted = [float(data.loss(o[None].double(), t[None].double())) for o, t in zip(outputs, drawn.targets, strict=True)]
    assert flow.losses.tolist() == pytest.approx(wanted, rel=1e-4)


def test_targets_that_were_not_measured_do_not_count(tmp_path: Path) -> None:
    series = forecasting().series[0]
    observed = torch.rand(series.values.shape, generator=torch.Generator().manual_seed(3)).numpy() > 0.3
    data = prepare(Oscillation(window=10), dataclasses.replace(series, observed=observed))
    found = look(QUICK, network_for(data), data)
    told = check_findings(QUICK, found, tmp_path)
    assert torch.isfinite(found.results["gradients"].losses).all()
    assert told["metrics"]["gradient_flow"] in ("vanishing", "healthy", "exploding")


def test_step_by_step_tasks_have_a_gradient() -> None:
    task = FlipFlop(num_bits=2, num_steps=12, num_train=9, num_validation=2, num_test=2, num_long=0)
    data = task.prepare(Streams(0))
    found = look(QUICK, network_for(data), data)
    assert found.arrays["state_gradients"].shape == (6, 13)


def test_the_gradient_of_a_class_goes_back_from_the_last_step(tmp_path: Path) -> None:
    data = rs.TemporalOrder(length=15, num_train=16, num_validation=4, num_test=4, num_longer=0).prepare(Streams(0))
    model = network_for(data, "lstm")
    found = look(QUICK, model, data)
    assert check_findings(QUICK, found, tmp_path)["figures"] == ["forgetting", "sensitivity", "gradient_flow"]
    flow, drawn = found.results["gradients"], data.probe(QUICK.num_sequences, Streams(0).torch())
    assert flow.lags.tolist() == list(range(16))
    with torch.no_grad():
        logits = model(drawn.inputs, last=1)[:, -1]
    wanted = torch.nn.functional.cross_entropy(logits, drawn.targets[:, 0], reduction="none")
    assert flow.losses.tolist() == pytest.approx(wanted.tolist(), rel=1e-4)


def test_a_single_answer_at_the_end_is_followed_back_over_every_lag() -> None:
    data = rs.Adding(length=12, num_train=8, num_validation=2, num_test=2, num_longer=0).prepare(Streams(0))
    found = look(QUICK, network_for(data), data)
    assert found.results["gradients"].loss_steps.tolist() == [12]
    assert len(found.results["gradients"].lags) == 13


def test_a_system_that_gives_a_share_of_the_logits_alone_has_no_gradient_of_the_loss() -> None:
    data = rs.TemporalOrder(length=15, num_train=16, num_validation=4, num_test=4, num_longer=0).prepare(Streams(0))
    one_way = rs.Classifier(hidden_size=4, bidirectional=False)
    for spec, whole in ((one_way, True), (one_way.but(bidirectional=True), False), (one_way.but(pooling="mean"), False)):
        model = spec.build(data.signature, Streams(0).torch())
        assert ("gradients" in look(QUICK, model, data).results) == whole, spec


@pytest.mark.parametrize(("kind", "hidden"), [("gru", 1), ("lstm", 1), ("tanh", 3), ("relu", 3), ("gru", 16)])
def test_networks_of_every_size_are_drawn(kind: str, hidden: int, tmp_path: Path) -> None:
    found = look(SMALL, network(kind, 2, hidden, 1), noise(2))
    told = check_findings(SMALL, found, tmp_path)
    assert told["metrics"]["largest_capacity"] == hidden * (2 if kind == "lstm" else 1)


def test_short_data_are_repeated() -> None:
    found = look(QUICK.but(num_sequences=1), driven(lambda h, x: 0.5 * h + x), noise(steps=3))
    assert found.metrics["forgetting_time"] == 20


def test_a_few_steps_bound_the_lag() -> None:
    found = look(QUICK.but(num_steps=40), network("gru", 1, 3, 1), noise())
    assert found.arrays["lags"].tolist() == list(range(11))


def test_the_same_seed_gives_the_same_findings_and_the_model_stays() -> None:
    data = forecasting()
    model = network_for(data, "lstm").train()
    before = state_of(model)
    one, other = (look(SMALL, model, data) for _ in range(2))
    assert state_of(model) == before
    assert one.metrics == other.metrics


def test_numbers_out_of_range_are_refused() -> None:
    with pytest.raises(rs.ConfigError):
        look(QUICK.but(num_steps=10), network("gru", 1, 3, 1), noise())
    with pytest.raises(rs.ConfigError):
        look(SMALL.but(capacity_lag=10_000), network("gru", 1, 3, 1), noise())
