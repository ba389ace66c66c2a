"""Hessian-free optimisation: what one step does, how damping moves, resuming bit for bit, and what it refuses."""

import dataclasses
import json
import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from safetensors.torch import load, save
from torch import nn

import rnnscope as rs
from rnnscope.core.interfaces import Checkpoint
from rnnscope.core.labelled import LabelledData, labelled_set
from rnnscope.core.random import Streams
from rnnscope.core.step_data import StepData, step_set
from rnnscope.core.system import SequenceModel
from rnnscope.models.classifier import Classifier
from rnnscope.models.mlp import MLP
from rnnscope.tasks.long_range import Adding
from rnnscope.training import hessian_free_run
from rnnscope.training.hessian_free import HessianFree


class Linear(SequenceModel):
    """y_t = W x_t: its loss is a quadratic in the weights."""

    def __init__(self, inputs, outputs):
        super().__init__()
        self.map = nn.Parameter(torch.zeros(outputs, inputs))

    def forward(self, inputs, lengths=None, *, rng=None, last=None):
        return (inputs @ self.map.T)[:, -(last or inputs.shape[1]) :]

    def systems(self):
        return {}


def linear_data(count=40, scale=1.0):
    rng = np.random.default_rng(0)
    inputs = scale * rng.normal(size=(count, 4, 3))
    part = step_set(inputs, inputs @ rng.normal(size=(3, 2)) / scale + 0.3 * rng.normal(size=(count, 4, 2)))
    return StepData(part, None, {"test": part}, ("a", "b", "c"), ("y", "z"))


def started(model, data, seed=0, **fields):
    return HessianFree(**{"outer_steps": 3, "watch_test": False, **fields}).start(model, data, Streams(seed).at("training"))


def trained(model, data, seed=0, **fields):
    run = started(model, data, seed, **fields)
    return run, list(run), run.finish()


ADDING = Adding(length=12, num_train=300, num_validation=100, num_test=50, num_longer=0)


def adding_run(model=None, seed=0, **fields):
    data = ADDING.prepare(Streams(seed))
    built = (model or rs.Elman(hidden_size=12, num_layers=1)).build(data.signature, Streams(seed).at("init").torch())
    return built, *trained(built, data, seed, **fields)


# what a step does


def test_one_step_reaches_the_minimum_of_a_quadratic():
    data = linear_data()
    model = Linear(3, 2)
    _, records, _ = trained(model, data, outer_steps=1, damping=1e-9, cg_steps=50, cg_progress=1e-12)
    rows, answers = data.train.inputs.flatten(0, 1), data.train.targets.flatten(0, 1)
    wanted = torch.linalg.lstsq(rows, answers).solution.T
    torch.testing.assert_close(model.map.detach(), wanted, rtol=1e-3, atol=1e-4)
    values = records[0].values
    assert values["step_size"] == 1.0
    assert values["reduction_ratio"] == pytest.approx(1.0, abs=1e-3)


def test_on_a_quadratic_damping_falls_at_every_step_that_is_good():
    _, records, _ = trained(Linear(3, 2), linear_data(), outer_steps=3, damping=3.0)
    assert [r.values["damping"] for r in records] == pytest.approx([3.0, 2.0, 4 / 3])


def test_damping_follows_the_reduction_ratio():
    for fields in ({"damping": 1e-4, "structural_damping": 0.0}, {"damping": 1.0}):
        records = adding_run(outer_steps=6, cg_steps=20, **fields)[2]
        for one, other in pairwise(records):
            ratio, factor = one.values["reduction_ratio"], other.values["damping"] / one.values["damping"]
            wanted = 1.5 if ratio < 0.25 else 2 / 3 if ratio > 0.75 else 1.0
            assert factor == pytest.approx(wanted if one.values["step_size"] else wanted * 2.25)


def test_too_little_damping_is_noticed():
    records = adding_run(outer_steps=6, damping=1e-8, structural_damping=0.0)[2]
    assert max(r.values["damping"] for r in records) > 1e-8


def test_the_training_loss_never_rises_on_the_same_batch():
    records = adding_run(outer_steps=10, cg_steps=20)[2]
    losses = [r.values["train_loss"] for r in records]
    assert all(b <= a + 1e-9 for a, b in pairwise(losses))
    assert {"train_loss", "validation_loss", "damping", "reduction_ratio", "cg_steps", "step_size", "seconds"} <= {
        *records[0].values
    }


def test_adding_over_a_dozen_steps_is_learnt():
    _, _, records, outcome = adding_run(outer_steps=40, cg_steps=40, enough=0.01)
    assert outcome.score <= 0.01
    assert "at most 0.01" in outcome.reason
    assert records[0].values["validation_loss"] > 0.1


@pytest.mark.parametrize(
    "spec", [rs.Elman(hidden_size=6, nonlinearity="relu"), rs.GRU(hidden_size=6), rs.LSTM(hidden_size=6, skip=2)]
)
def test_every_recurrent_network_learns(spec):
    records = adding_run(spec, outer_steps=6, cg_steps=20)[2]
    assert records[-1].values["train_loss"] < 0.9 * 1.25  # predicting 0 has the error 1 + 1/6
    assert records[-1].values["train_loss"] < records[0].values["train_loss"]


def labelled_data(**fields):
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, 90)
    inputs = rng.normal(size=(90, 6, 2)) + labels[:, None, None]
    part = labelled_set(inputs, labels, lengths=rng.integers(3, 7, 90))
    return LabelledData(part, part, {"test": part}, ("A", "B", "C"), ("a", "b"), **fields)


@pytest.mark.parametrize("spec", [rs.GRU(hidden_size=5), Classifier(hidden_size=4, cell="lstm", convolutions=1, channels=4)])
def test_classes_are_learnt_by_cross_entropy(spec):
    data = labelled_data()
    model = spec.build(data.signature, torch.Generator().manual_seed(0))
    _, records, _ = trained(model, data, outer_steps=8, watch_test=True)
    assert records[-1].values["validation_loss"] < 0.5 * math.log(3)
    assert records[-1].values["test_accuracy"] > 0.8


def test_forecasts_and_models_without_recurrence_are_learnt():
    split = rs.Split(test=0.2, validation=0.2)
    data = rs.Oscillation(num_points=120, duration=20.0, window=6, split=split).prepare(Streams(0))
    for spec in (rs.GRU(hidden_size=5, num_layers=1), MLP(hidden_sizes=(8,))):
        model = spec.build(data.signature, torch.Generator().manual_seed(0))
        records = trained(model, data, outer_steps=5)[1]
        assert records[-1].values["validation_loss"] < 0.05  # the series has the variance 0.5


@pytest.mark.parametrize(("count", "steps"), [("task", 4), ("last", 1), ("all", 4)])
def test_the_loss_counts_the_steps_it_says(count, steps):
    data = linear_data()
    run = started(Linear(3, 2), data, count=count)
    assert run._gather(np.arange(5)).targets.shape[1] == steps


def test_steps_that_nobody_asks_for_are_left_out():
    data = ADDING.prepare(Streams(0))
    run = started(rs.Elman(hidden_size=4).build(data.signature, torch.Generator()), data)
    batch = run._gather(np.arange(5))
    assert (batch.targets.shape[1], batch.counted) == (1, 1)


def test_reading_a_batch_in_pieces_is_reading_all(monkeypatch):
    data = ADDING.prepare(Streams(0))
    model = rs.Elman(hidden_size=4, num_layers=1).build(data.signature, torch.Generator().manual_seed(0))
    run = started(model, data)
    batch = run._gather(np.arange(50))
    whole = run._slope(batch)
    monkeypatch.setattr(hessian_free_run, "MOST_READ", 12 * 6 * 7)
    pieces = run._slope(batch)
    assert len(list(run._pieces(batch))) == 8
    assert whole[0] == pytest.approx(pieces[0], rel=1e-6)
    torch.testing.assert_close(whole[1], pieces[1], rtol=1e-4, atol=1e-7)


def test_batches_are_drawn_anew_and_their_sizes_are_fields():
    data = ADDING.prepare(Streams(0))
    model = rs.Elman(hidden_size=4, num_layers=1).build(data.signature, torch.Generator().manual_seed(0))
    run = started(model, data, gradient_batch=50, curvature_batch=20)
    seen = []
    gather = run._gather
    run._gather = lambda chosen: seen.append(chosen) or gather(chosen)  # type: ignore[method-assign]
    list(run)
    assert [len(chosen) for chosen in seen] == [50, 50, 50]
    assert not np.array_equal(seen[0], seen[1])
    assert run._curvature_size(gather(seen[0])) == 20
    assert started(model, data)._curvature_size(gather(np.arange(300))) == 300


# choosing and resuming


def weights(model):
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def test_the_best_weights_by_validation_are_kept():
    _, _, records, outcome = adding_run(outer_steps=8, cg_steps=10, gradient_batch=30)
    scores = [r.values["validation_loss"] for r in records]
    assert outcome.score == min(scores)
    assert outcome.best_epoch == 1 + int(np.argmin(scores))
    assert outcome.criterion == "validation loss"


def test_a_resumed_run_ends_with_the_same_weights():
    fields = {"outer_steps": 5, "cg_steps": 10, "gradient_batch": 60, "curvature_batch": 30}
    whole, _, records, outcome = adding_run(**fields)
    data = ADDING.prepare(Streams(0))
    build = lambda: rs.Elman(hidden_size=12, num_layers=1).build(data.signature, Streams(0).at("init").torch())  # noqa: E731
    first = started(build(), data, **fields)
    steps = iter(first)
    next(steps), next(steps)
    found = first.checkpoint()
    kept = Checkpoint(load(save(found.tensors)), json.loads(json.dumps(found.values, allow_nan=False)))
    model = build()
    second = started(model, data, **fields)
    second.restore(kept)
    rest = list(second)
    again = second.finish()
    assert all(torch.equal(a, b) for a, b in zip(weights(whole).values(), weights(model).values(), strict=True))
    own = lambda r: {k: v for k, v in r.values.items() if k != "seconds"}  # noqa: E731
    assert [own(r) for r in rest] == [own(r) for r in records[2:]]
    assert (again.score, again.best_epoch) == (outcome.score, outcome.best_epoch)


def test_random_states_are_left_alone():
    before = torch.get_rng_state()
    adding_run(outer_steps=2, cg_steps=5)
    assert torch.equal(torch.get_rng_state(), before)


def test_it_ends_after_patience_without_a_better_validation_loss():
    data = linear_data()
    data = dataclasses.replace(data, validation=data.train)
    _, records, outcome = trained(Linear(3, 2), data, outer_steps=60, damping=1e-9, patience=2)
    assert "early stopping" in outcome.reason
    assert len(records) < 60


def test_where_nothing_lowers_the_loss_it_ends_and_says_so():
    _, records, outcome = trained(Linear(3, 2), linear_data(), outer_steps=60, damping=1e-9, cg_progress=1e-12)
    assert "no further descent" in outcome.reason
    assert len(records) < 60


# refusals


def test_a_task_without_targets_is_refused():
    data = rs.HiddenMarkov(num_sequences=90, num_steps=5).prepare(Streams(0))
    with pytest.raises(rs.ConfigError, match="hessian_free"):
        HessianFree().start(Linear(3, 2), data, Streams(0))


def test_a_model_without_weights_to_train_is_refused():
    with pytest.raises(rs.ConfigError, match="no weights"):
        HessianFree().start(Linear(3, 2).requires_grad_(False), linear_data(), Streams(0))


@pytest.mark.parametrize("probes", [0, 3])
def test_a_loss_that_is_not_convex_in_the_outputs_is_refused(probes):
    data = rs.Oscillation(num_points=60, duration=10.0, window=5, head="gaussian").prepare(Streams(0))
    model = rs.GRU(hidden_size=3, num_layers=1).build(data.signature, torch.Generator().manual_seed(0))
    with pytest.raises(rs.TrainingError, match="not convex") as caught:
        trained(model, data, outer_steps=20, probes=probes, damping=1e-6, structural_damping=0.0)
    assert "trainer.kind=bptt" in caught.value.remedy


def test_numbers_that_overflow_in_conjugate_gradients_are_told():
    with pytest.raises(rs.TrainingError, match="conjugate gradients") as caught:
        trained(Linear(3, 2), linear_data(scale=1e22), outer_steps=2, probes=0)
    assert "trainer.damping=10 " in caught.value.remedy


def test_a_loss_that_is_not_finite_is_told():
    data = ADDING.prepare(Streams(0))
    spec = rs.Elman(hidden_size=12, num_layers=1, nonlinearity="relu", recurrent_init="identity", recurrent_scale=1e6)
    model = spec.build(data.signature, torch.Generator().manual_seed(0))
    with pytest.raises(rs.TrainingError, match="before outer step 1") as caught:
        trained(model, data)
    assert "recurrent_scale" in caught.value.remedy


def test_a_step_into_numbers_that_are_not_finite_is_not_taken(monkeypatch):
    run = started(Linear(3, 2), linear_data())
    monkeypatch.setattr(type(run), "_loss_at", lambda *_: math.inf)
    record = next(iter(run))
    assert record.values["step_size"] == 0
    assert record.values["reduction_ratio"] == -100
    assert run.damping == pytest.approx(0.1 * 1.5**3)
    assert not run.change.any()
