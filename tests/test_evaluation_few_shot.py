"""Scores of learners on new tasks: closed forms, the two ways to adapt, verdicts from numbers."""

import math

import numpy as np
import pytest
import torch

import rnnscope as rs
from rnnscope.core.interfaces import ModelResult, Signature
from rnnscope.core.random import Streams
from rnnscope.evaluation.few_shot import FewShot
from rnnscope.evaluation.few_shot_scores import (
    constant,
    half_width,
    in_context,
    learner,
    oracle,
    result_of,
    shot_mean,
    task_errors,
)
from rnnscope.evaluation.few_shot_verdict import clearly_better, figure, spoiled, transfer
from rnnscope.models.logistic import Logistic
from rnnscope.models.mlp import MLP
from rnnscope.numerics.batched_mlp import adaptation
from rnnscope.tasks.sinusoids import SineShift, Sinusoids
from rnnscope.training.meta import Meta

TASK = Sinusoids(num_train=400, num_validation=10, num_test=60, num_queries=40, shots=(2, 5), num_points=12)
STEPS = (0, 1, 3)


@pytest.fixture(scope="module")
def data():
    return TASK.prepare(Streams(0))


def network(spec, data):
    return spec.build(data.signature, torch.Generator().manual_seed(0))


def test_a_constants_error_is_its_mean_squared_distance_from_the_queries(data):
    errors = task_errors(constant(data), data.test, 5, 5, STEPS)
    level = float(data.train.targets.mean())
    np.testing.assert_allclose(errors[0], ((data.test.targets[:, 5:].numpy() - level) ** 2).mean(1), rtol=1e-5)


def test_the_mean_of_the_examples_knows_the_task_and_the_fit_knows_the_family(data):
    mean = shot_mean(data)(*data.test.part(0, 2), data.test.part(5)[0], STEPS)
    np.testing.assert_allclose(mean[0, :, 0], data.test.targets[:, :2].mean(1), rtol=1e-5)
    assert task_errors(oracle(data), data.test, 5, 5, STEPS).mean() < 1e-6


def test_a_perceptron_answers_after_gradient_steps_at_its_own_rates(data):
    model = network(MLP(inner_rate=0.02), data)
    answers = learner(model)(*data.test.part(0, 5), data.test.part(5)[0], STEPS)
    layers = [(w.detach(), b.detach()) for w, b in model.dense_layers()]
    expected = adaptation(layers, *data.test.part(0, 5), [0.02] * 3, STEPS, data.test.part(5)[0])
    np.testing.assert_allclose(answers, torch.stack(expected)[..., 0], rtol=1e-6)


def test_without_examples_no_step_is_taken(data):
    answers = learner(network(MLP(), data))(*data.test.part(0, 0), data.test.part(5)[0], STEPS)
    assert answers.shape == (3, 60, 40)
    np.testing.assert_array_equal(answers[0], answers[2])


@pytest.mark.parametrize("shots", [0, 1, 4])
def test_a_recurrent_network_answers_as_if_each_query_came_next(data, shots):
    model = network(rs.LSTM(hidden_size=5, num_layers=1), data)
    found = in_context(model)(*data.test.part(0, shots), data.test.part(5)[0], STEPS)
    assert found.shape == (1, 60, 40)
    for query in (0, 7):
        points = torch.cat([data.test.points[:, :shots], data.test.points[:, 5 + query, None]], 1)
        before = torch.nn.functional.pad(data.test.targets[:, :shots], (1, 0))
        expected = model(torch.stack([points, before], -1), last=1)[:, 0, 0]
        np.testing.assert_allclose(found[0, :, query], expected.detach(), atol=1e-6)


def test_a_model_that_cannot_adapt_is_refused(data):
    with pytest.raises(rs.ConfigError, match="neither a state nor gradient steps"):
        learner(Logistic().build(Signature(2, 2), torch.Generator()))


def test_scoring_changes_neither_model_nor_data(data):
    model = network(MLP(), data)
    before = [p.detach().clone() for p in model.parameters()], data.fingerprint()
    FewShot(steps=STEPS).score(model, data, Streams(0))
    assert all(torch.equal(a, b) for a, b in zip(before[0], model.parameters(), strict=True))
    assert data.fingerprint() == before[1]


def test_divergence_is_counted_and_never_raises_a_warning(data):
    model = network(MLP(inner_rate=1e4), data)
    scores = FewShot(steps=(0, 10)).score(model, data, Streams(0)).scores["K5"]
    assert scores["worse"] > 0.9
    assert not scores["step10"] < 1e6


def test_intervals_cover_the_mean_as_often_as_they_say():
    rng = np.random.default_rng(0)
    inside = [abs(sample.mean() - 1) < half_width(sample) for sample in rng.exponential(size=(2000, 600))]
    assert np.mean(inside) == pytest.approx(0.95, abs=0.015)


def test_paired_differences_decide_and_what_diverged_loses():
    rng = np.random.default_rng(0)
    other = rng.exponential(size=200)
    assert clearly_better(other - 0.05, other) == 1
    assert clearly_better(other + 0.05, other) == -1
    assert clearly_better(other + rng.normal(size=200), other) == 0
    assert clearly_better(np.full(200, np.inf), other) == -1
    assert clearly_better(other, np.full(200, np.inf)) == 1


def test_a_network_that_learned_one_wave_is_said_not_to_transfer():
    data = SineShift(num_test=50, num_queries=30).prepare(Streams(0))
    references = FewShot().references(data, Streams(0))
    own = result_of(lambda points, targets, queries, steps: np.sin(queries[..., 0].numpy())[None], data, STEPS)
    text = transfer(own, references, data)
    assert "does not transfer" in text
    assert "x more" in text
    good = result_of(lambda points, targets, queries, steps: np.cos(queries[..., 0].numpy())[None], data, STEPS)
    assert "helps" in transfer(good, references, data)


def test_adaptation_that_fails_from_fewer_examples_is_told(data):
    few = f"K{data.shots[0]}_errors"
    errors = np.full((11, 100), 2.0)
    errors[-1] = 0.5
    assert spoiled(ModelResult({}, {few: errors}), data, (0, 1, 10)) == []
    errors[-1, :3] = 1e4
    (sentence,) = spoiled(ModelResult({}, {few: errors}), data, (0, 1, 10))
    assert "2 before and 300 after 10 steps (3 of 100 tasks are worse, the median task ends at 0.5)" in sentence


def test_very_small_and_very_large_errors_are_written_without_absurd_digits():
    assert [figure(v) for v in (1e-12, 0.08351, 12.34, 4321.0, 1e19, math.inf)] == [
        "0",
        "0.0835",
        "12.3",
        "4321",
        "beyond all bounds",
        "beyond all bounds",
    ]


def test_the_evaluation_wants_a_family_of_tasks_and_steps_from_zero():
    with pytest.raises(rs.ConfigError, match="few_shot"):
        FewShot().check(rs.FlipFlop(num_train=4, num_validation=2, num_test=2, num_long=0).prepare(Streams(0)))
    for steps in ((1, 5), (0,), (0, 5, 5), ()):
        with pytest.raises(rs.ConfigError, match="steps"):
            FewShot(steps=steps)


def test_a_run_compares_learners_of_both_kinds_and_chooses_without_the_test_tasks(tmp_path):
    experiment = rs.Experiment(
        task=TASK,
        models={"maml": MLP(hidden_sizes=(20,)), "lstm": rs.LSTM(hidden_size=4, num_layers=1)},
        trainer=Meta(iterations=60, record_every=30, learning_rate=5e-3),
        trainers={"lstm": rs.BPTT(epochs=1, count="all")},
        evaluation=FewShot(steps=(0, 1, 10)),
        num_seeds=2,
    )
    run = rs.run(experiment, out=tmp_path)
    found = run.metrics
    assert found["chosen_by"] == "error on the validation tasks"
    best = min(found["models"], key=lambda name: found["models"][name]["validation"]["error"])
    assert found["chosen_model"] == best
    assert "Over 2 repeats" in run.verdict
    assert [len(t["rows"]) for t in found["tables"]] == [6, 6]
    report = run.report.read_text(encoding="utf-8")
    assert "mean of the examples" in report
    again = run.model("maml")
    score = FewShot(steps=(0, 1, 10)).score(again, run.data, Streams(0))
    repeat = found["models"]["maml"]["training"]["best_repeat"]
    assert score.scores["K5"]["step10"] == pytest.approx(found["models"]["maml"]["seeds"][repeat]["K5"]["step10"], rel=1e-5)


def test_result_holds_what_the_figures_need(data):
    result = FewShot(steps=STEPS).score(network(MLP(), data), data, Streams(0))
    assert isinstance(result, ModelResult)
    assert result.arrays["K5_errors"].shape == (4, 60)
    assert result.arrays["by_shots"].shape == (6,)
    assert result.arrays["curves"].shape == (5, 3, 101)
