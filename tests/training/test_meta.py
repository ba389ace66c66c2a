"""Learning to learn by gradients: what each algorithm does in one outer step, and how a run is kept, chosen and resumed."""

import math

import numpy as np
import pytest
import torch

import rnnscope as rs
from rnnscope.core.random import Streams
from rnnscope.models.mlp import MLP
from rnnscope.tasks.sinusoids import Sinusoids
from rnnscope.training.meta import Meta

TASK = Sinusoids(num_train=5, num_validation=20, num_test=5, num_queries=5)
ALGORITHMS = ["maml", "anil", "reptile", "pretrain"]


def start(model=None, **fields):
    data = TASK.prepare(Streams(0))
    built = model or MLP(hidden_sizes=(12, 12)).build(data.signature, torch.Generator().manual_seed(0))
    return built, Meta(**{"iterations": 6, "record_every": 2, **fields}).start(built, data, Streams(1))


def weights(model):
    return [p.detach().clone() for p in model.parameters()]


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_one_outer_step_follows_the_algorithms_own_gradient(algorithm):
    rate, shots = 0.05, 10
    model, run = start(
        algorithm=algorithm,
        iterations=1,
        optimizer="sgd",
        learning_rate=0.01,
        schedule="constant",
        clip_norm=0,
        inner_rate=rate,
        inner_steps=2,
        meta_batch=3,
    )
    before = [p.requires_grad_() for p in weights(model)]
    count = shots * 2 if algorithm == "reptile" else shots + 10
    tasks = run.data.draw(3, count, Streams(1).at("tasks").numpy())
    x, y = tasks.points[..., None], tasks.targets[..., None]

    def loss(own, rows, task):
        values = x[task, rows]
        for index in range(0, 6, 2):
            values = (values if index == 0 else values.relu()) @ own[index].T + own[index + 1]
        return (values - y[task, rows]).square().mean()

    expected = [torch.zeros_like(p) for p in before]
    for task in range(3):
        own = list(before)
        if algorithm == "pretrain":
            slopes = torch.autograd.grad(loss(own, slice(None), task), before)
        else:
            for number in range(2):
                rows = slice(number * shots, (number + 1) * shots) if algorithm == "reptile" else slice(0, shots)
                inner = torch.autograd.grad(loss(own, rows, task), own, create_graph=True)
                kept = [i >= 4 or algorithm != "anil" for i in range(6)]
                own = [p - rate * g if k else p for p, g, k in zip(own, inner, kept, strict=True)]
            if algorithm == "reptile":
                slopes = [(p - q) / rate for p, q in zip(before, own, strict=True)]
            else:
                slopes = torch.autograd.grad(loss(own, slice(shots, None), task), before)
        expected = [e + s.detach() / 3 for e, s in zip(expected, slopes, strict=True)]
    next(iter(run))
    for old, slope, new in zip(before, expected, model.parameters(), strict=True):
        torch.testing.assert_close(new.detach(), (old - 0.01 * slope).detach(), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_resumed_run_ends_with_the_same_weights_and_records(algorithm):
    whole, run = start(algorithm=algorithm)
    records = list(run)
    run.finish()
    _, first = start(algorithm=algorithm)
    next(iter(first))
    second, rest = start(algorithm=algorithm)
    rest.restore(first.checkpoint())
    later = list(rest)
    rest.finish()
    assert all(torch.equal(a, b) for a, b in zip(weights(whole), weights(second), strict=True))
    for one, other in zip(records[1:], later, strict=True):
        assert {**one.values, "seconds": 0} == {**other.values, "seconds": 0}


def test_the_last_record_may_hold_fewer_outer_steps():
    _, run = start(iterations=5, record_every=2)
    assert run.total_epochs == 3
    assert [r.epoch for r in run] == [1, 2, 3]
    assert run.iteration == 5


def test_training_lowers_the_error_after_adaptation():
    model = MLP().build(TASK.prepare(Streams(0)).signature, torch.Generator().manual_seed(0))
    _, run = start(model, iterations=300, record_every=50, learning_rate=5e-3)
    scores = [r.values["validation_loss"] for r in run]
    assert scores[-1] < 0.7 * scores[0]
    outcome = run.finish()
    assert outcome.score == pytest.approx(min(scores))
    assert outcome.criterion == "validation error after adaptation"


def test_only_the_last_layer_of_anil_has_a_rate():
    model, run = start(algorithm="anil", inner_rate=0.03)
    list(run)
    run.finish()
    assert model.inner_rates() == [0.0, 0.0, 0.03]


def test_the_best_of_the_rates_tried_is_kept_with_the_model():
    model, run = start(algorithm="pretrain", iterations=6, try_rates=(100.0, 1000.0))
    list(run)
    run.finish()
    assert model.inner_rates() == [0.01] * 3


def test_the_weights_of_the_best_record_are_kept():
    _model, run = start(iterations=20, record_every=1, learning_rate=0.3, clip_norm=0)
    scores = [r.values["validation_loss"] for r in run]
    run.finish()
    assert float(run._errors(run.rates)[:, 1:].mean()) == pytest.approx(min(scores))


def test_a_setback_puts_the_best_weights_back_and_halves_the_rate():
    model, run = start(learning_rate=1e-3, schedule="constant")
    steps = iter(run)
    next(steps)
    kept = weights(model)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(50)
    found = run._look()
    assert found["setbacks"] == 1
    assert all(torch.equal(a, b) for a, b in zip(kept, weights(model), strict=True))
    assert run._rate() == 5e-4


def test_adaptation_that_diverges_from_the_start_is_an_error_that_names_the_rate():
    _, run = start(inner_rate=1e6)
    with pytest.raises(rs.TrainingError, match=r"trainer\.inner_rate=100000"):
        list(run)


def test_shots_that_the_task_does_not_give_are_refused():
    with pytest.raises(rs.ConfigError, match=r"trainer\.shots"):
        start(shots=11)


def test_a_recurrent_model_is_refused_with_the_way_out():
    data = TASK.prepare(Streams(0))
    with pytest.raises(rs.ConfigError, match="bptt"):
        start(rs.GRU(hidden_size=3).build(data.signature, torch.Generator()))


def test_a_single_task_is_refused():
    data = rs.FlipFlop(num_train=4, num_validation=2, num_test=2, num_long=0).prepare(Streams(0))
    model = MLP().build(TASK.prepare(Streams(0)).signature, torch.Generator())
    with pytest.raises(rs.ConfigError, match="family"):
        Meta().start(model, data, Streams(0))


@pytest.mark.parametrize(
    "fields",
    [
        {"inner_rate": 0.0},
        {"inner_rate": -1.0},
        {"inner_steps": 0},
        {"shots": 0},
        {"order": 3},
        {"schedule": "plateau"},
        {"queries": 0},
    ],
)
def test_a_field_out_of_range_is_named(fields):
    with pytest.raises(rs.ConfigError, match=next(iter(fields))):
        Meta(**fields)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(2))
def test_maml_reaches_the_studys_errors_within_its_protocol(seed, tmp_path):
    run = rs.run(rs.preset("sine-maml").but(seed=seed, trainers={}), out=tmp_path, only=["maml"])
    scores = run.metrics["models"]["maml"]["K10"]
    assert scores["step1"] <= 0.5
    assert scores["step10"] <= 0.1
    assert math.isfinite(scores["step10_half"])
    assert np.isfinite(run.findings["maml/0/K10_errors"]).all()
