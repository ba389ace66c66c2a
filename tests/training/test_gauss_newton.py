"""Gauss-Newton products and diagonals against matrices formed in full."""

import dataclasses

import numpy as np
import pytest
import torch
from torch.func import functional_call, jacrev

import rnnscope as rs
from rnnscope.core.labelled import LabelledData, labelled_set
from rnnscope.core.linearised import flat_weights, linearise
from rnnscope.core.padding import real_steps
from rnnscope.core.random import Streams
from rnnscope.core.step_data import StepData, step_set
from rnnscope.training.gauss_newton import GaussNewton

RNG = np.random.default_rng(0)


def step_data():
    """Two outputs, asked at some steps only."""
    part = step_set(RNG.normal(size=(6, 5, 2)), RNG.normal(size=(6, 5, 2)), mask=RNG.random((6, 5)) < 0.6, lengths=None)
    return StepData(part, part, {"test": part}, ("a", "b"), ("y", "z"))


def symbol_data():
    """Symbols of which one is right, asked at the last three steps."""
    targets = np.eye(3)[RNG.integers(0, 3, (6, 5))]
    part = step_set(RNG.normal(size=(6, 5, 2)), targets, mask=np.broadcast_to(np.arange(5) > 1, (6, 5)))
    return StepData(part, part, {"test": part}, ("a", "b"), ("A", "B", "C"), exclusive=True)


def labelled_data(**fields):
    lengths = np.array([5, 3, 4, 5, 2, 5])
    part = labelled_set(RNG.normal(size=(6, 5, 2)), np.array([0, 1, 2, 0, 1, 2]), lengths=lengths)
    return LabelledData(part, part, {"test": part}, ("A", "B", "C"), ("a", "b"), **fields)


DATA = {
    "squared": step_data(),
    "symbols": symbol_data(),
    "classes": labelled_data(),
    "weighted": labelled_data(class_weights=(1.0, 2.0, 0.5)),
    "forecast": rs.Oscillation(num_points=60, duration=10.0, window=5).prepare(Streams(0)),
}
EACH = pytest.mark.parametrize("name", DATA)


def start(data, count=6):
    """A tiny network in float64, and the batch with its targets."""
    model = rs.GRU(hidden_size=3, num_layers=1).build(data.signature, torch.Generator().manual_seed(0)).double().eval()
    batch = data.train.gather(np.arange(count))
    targets = batch.targets[:, -batch.counted :]
    targets = targets.double() if targets.is_floating_point() else targets
    return model, dataclasses.replace(batch, inputs=batch.inputs.double(), targets=targets)


def built(data, model, batch):
    real = None if batch.lengths is None else real_steps(batch.lengths, batch.inputs.shape[1])
    return GaussNewton(linearise(model, batch.inputs, batch.lengths, batch.counted), data, batch.targets, real)


def dense(data, model, batch):
    """J'HJ by differentiating outputs by weights and the loss by outputs."""
    names = [name for name, _ in model.named_parameters()]

    def outputs(*weights):
        return functional_call(
            model, dict(zip(names, weights, strict=True)), (batch.inputs, batch.lengths), {"last": batch.counted}
        ).flatten()

    weights = tuple(p.detach() for p in model.parameters())
    parts = jacrev(outputs, argnums=tuple(range(len(names))))(*weights)
    jac = torch.cat([part.flatten(1) for part in parts], 1)
    shape = (len(batch.inputs), batch.counted, data.signature.output_size)
    curved = jacrev(jacrev(lambda y: data.loss(y.reshape(shape), batch.targets)))(outputs(*weights))
    return jac.T @ curved @ jac


@EACH
def test_products_are_those_of_the_full_matrix(name):
    data = DATA[name]
    model, batch = start(data)
    matrix, found = dense(data, model, batch), built(data, model, batch)
    for seed in range(3):
        v = torch.randn(len(matrix), generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
        torch.testing.assert_close(found.product(v), matrix @ v, rtol=1e-8, atol=1e-10)


@EACH
def test_the_diagonal_is_unbiased(name):
    data = DATA[name]
    model, batch = start(data)
    wanted = dense(data, model, batch).diagonal()
    found = built(data, model, batch).diagonal(500, torch.Generator().manual_seed(0))
    torch.testing.assert_close(found, wanted, rtol=0.25, atol=0.02 * float(wanted.max()))
    assert float(found.sum()) == pytest.approx(float(wanted.sum()), rel=0.1)


def test_a_diagonal_from_some_steps_is_unbiased_too(monkeypatch):
    data = DATA["symbols"]
    model, batch = start(data)
    wanted = dense(data, model, batch).diagonal().sum()
    monkeypatch.setattr("rnnscope.training.gauss_newton.MOST_NUMBERS", 9 * 6)
    curved, rng = built(data, model, batch), torch.Generator().manual_seed(0)
    sums = [float(curved.diagonal(1, rng).sum()) for _ in range(300)]
    assert np.mean(sums) == pytest.approx(float(wanted), abs=4 * np.std(sums) / np.sqrt(len(sums)))


@EACH
def test_products_are_symmetric_and_never_negative(name):
    data = DATA[name]
    model, batch = start(data)
    found = built(data, model, batch)
    rng = torch.Generator().manual_seed(0)
    u, v = (torch.randn(len(flat_weights(model)), generator=rng, dtype=torch.float64) for _ in range(2))
    for structural in (0.0, 0.3):
        assert float(u @ found.product(v, structural)) == pytest.approx(float(v @ found.product(u, structural)))
        assert float(v @ found.product(v, structural)) >= 0


@EACH
def test_the_structural_term_is_the_change_of_real_states(name):
    data = DATA[name]
    model, batch = start(data)
    found = built(data, model, batch)
    v = torch.randn(len(flat_weights(model)), generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    states = found.linearised.push(v)[1]
    if batch.lengths is not None:
        states = states * real_steps(batch.lengths, 5)[:, :, None]
    asked = torch.isfinite(batch.targets).reshape(*batch.targets.shape[:2], -1).any(-1).sum()
    extra = float(v @ found.product(v, 0.3)) - float(v @ found.product(v))
    assert extra == pytest.approx(0.3 * float(states.square().sum() / asked), rel=1e-6)


def test_a_loss_that_is_not_convex_in_the_outputs_is_refused():
    data = rs.Oscillation(num_points=60, duration=10.0, window=5, head="gaussian").prepare(Streams(0))
    model, batch = start(data)
    with pytest.raises(rs.TrainingError, match="not convex") as caught:
        built(data, model, batch).diagonal(1, torch.Generator())
    assert "task.head=point" in caught.value.remedy


def test_a_loss_without_curvature_has_none():
    data = DATA["squared"]
    model, batch = start(data)

    class Linear(StepData):
        def loss(self, outputs, targets):
            return outputs.sum()

    linear = Linear(**{f.name: getattr(data, f.name) for f in dataclasses.fields(data)})
    found = built(linear, model, batch)
    assert not found.product(flat_weights(model)).any()
