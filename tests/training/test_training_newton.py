"""Newton's method and L-BFGS: known optima, separation noticed, resumed bit for bit."""

import numpy as np
import pytest
import torch

import rnnscope as rs
from rnnscope.core.random import Streams
from rnnscope.models.logistic import Logistic
from rnnscope.models.mlp import MLP
from rnnscope.numerics.logistic import fit_logistic
from rnnscope.tasks.complexity import Complexity
from rnnscope.tasks.sinusoids import SineShift
from rnnscope.training.newton import Newton


def trained(task, spec, model=None):
    data = task.prepare(Streams(0))
    built = (model or Logistic()).build(data.signature, torch.Generator().manual_seed(1))
    run = spec.start(built, data, Streams(0))
    return data, built, run, list(run), run.finish()


SMOOTH = Complexity(smooth=1.0, scaling="standard")


@pytest.mark.parametrize("method", ["newton", "lbfgs"])
@pytest.mark.parametrize("l2", [0.0, 0.1])
def test_the_optimum_of_logistic_regression_is_reached(method, l2):
    data, model, _, records, outcome = trained(SMOOTH, Newton(method=method, l2=l2, iterations=200))
    rows = data.train.inputs[:, 0].numpy().astype(float)
    expected = fit_logistic(rows, data.train.labels.numpy() == 1, penalty=l2).coefficients
    found = np.array([*model.bias.detach().numpy(), *model.weight[0].detach().numpy()])
    np.testing.assert_allclose(found, expected, rtol=2e-5)
    assert outcome.reason == "the optimum is reached"
    assert records[-1].values["gradient_norm"] < 1e-7
    assert {"train_loss", "validation_loss", "test_loss", "train_accuracy", "weight_norm", "seconds"} <= {*records[-1].values}


def test_the_loss_never_rises():
    losses = [r.values["train_loss"] for r in trained(SMOOTH, Newton(method="lbfgs"))[3]]
    assert (np.diff(losses) <= 1e-12).all()


@pytest.mark.parametrize("method", ["newton", "lbfgs"])
def test_separated_classes_are_noticed(method):
    records, outcome = trained(Complexity(scaling="standard"), Newton(method=method, iterations=500))[3:]
    assert "separated" in outcome.reason
    assert records[-1].values["weight_norm"] > 10 * records[0].values["weight_norm"]


def test_with_a_penalty_separated_classes_have_an_optimum():
    assert trained(Complexity(scaling="standard"), Newton(l2=1e-3))[4].reason == "the optimum is reached"


def test_too_few_iterations_are_said():
    assert "not converged in 2" in trained(SMOOTH, Newton(iterations=2))[4].reason


def test_any_small_model_and_loss_can_be_minimised():
    records = trained(SineShift(), Newton(method="lbfgs", iterations=60), MLP(hidden_sizes=(10,)))[3]
    assert records[-1].values["train_loss"] < 0.5 * records[0].values["train_loss"]


@pytest.mark.parametrize("method", ["newton", "lbfgs"])
def test_a_resumed_run_ends_with_the_same_weights(method):
    spec = Newton(method=method, iterations=12, tolerance=1e-14)
    whole = trained(SMOOTH, spec)[1]
    data = SMOOTH.prepare(Streams(0))
    build = lambda: Logistic().build(data.signature, torch.Generator().manual_seed(1))  # noqa: E731
    first = spec.start(build(), data, Streams(0))
    steps = iter(first)
    for _ in range(3):
        next(steps)
    model = build()
    second = spec.start(model, data, Streams(0))
    second.restore(first.checkpoint())
    list(second)
    second.finish()
    for one, other in zip(whole.parameters(), model.parameters(), strict=True):
        assert torch.equal(one, other)


def test_a_large_model_is_sent_to_lbfgs():
    data = SineShift().prepare(Streams(0))
    model = MLP(hidden_sizes=(64, 64)).build(data.signature, torch.Generator().manual_seed(0))
    with pytest.raises(rs.ConfigError, match="lbfgs"):
        Newton().start(model, data, Streams(0))


def test_a_task_without_targets_is_refused():
    data = rs.HiddenMarkov(num_sequences=90, num_steps=5).prepare(Streams(0))
    with pytest.raises(rs.ConfigError, match="newton"):
        Newton().start(Logistic().build(SMOOTH.prepare(Streams(0)).signature, torch.Generator()), data, Streams(0))
