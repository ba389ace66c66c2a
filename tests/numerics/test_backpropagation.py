import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import rnnscope as rs
from rnnscope.numerics.backpropagation import backpropagate, run_forward

SIZES = st.integers(1, 6)
WEIGHTS = ("U", "W", "V", "b", "c")


def weights(rng, hidden, inputs, outputs):
    shapes = ((hidden, inputs), (hidden, hidden), (outputs, hidden), (hidden,), (outputs,))
    return [rng.normal(size=shape) for shape in shapes]


def problem(seed, steps=5, hidden=4, inputs=3, outputs=2, batch=2, loss="squared"):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(batch, steps, inputs))
    classes = rng.integers(0, outputs, (batch, steps))
    y = classes if loss == "cross_entropy" else rng.normal(size=(batch, steps, outputs))
    return x, y, weights(rng, hidden, inputs, outputs), rng.normal(size=(batch, hidden)), rng.uniform(0, 2, steps)


def autograd(x, y, arrays, start, step_weights, loss):
    """The same by torch: loss and gradients of U, W, V, b, c, h_0, x, o_t and every h_t."""
    U, W, V, b, c, h, inputs = (torch.tensor(a, requires_grad=True) for a in (*arrays, start, x))
    first, states = h, []
    for t in range(x.shape[1]):
        h = torch.tanh(inputs[:, t] @ U.T + h @ W.T + b)
        states.append(h)
    outputs = torch.stack(states, 1) @ V.T + c
    if loss == "squared":
        losses = 0.5 * ((outputs - torch.tensor(y)) ** 2).sum(-1)
    else:
        losses = torch.nn.functional.cross_entropy(outputs.transpose(1, 2), torch.tensor(y), reduction="none")
    total = (losses * torch.tensor(step_weights)).sum()
    grads = torch.autograd.grad(total, [U, W, V, b, c, first, inputs, outputs, *states])
    return float(total.detach()), [g.numpy() for g in grads[:8]], np.stack([g.numpy() for g in grads[8:]], 1)


@settings(max_examples=60, deadline=None)
@given(SIZES, SIZES, SIZES, SIZES, SIZES, st.sampled_from(["squared", "cross_entropy"]), st.integers(0, 10**6))
def test_every_gradient_equals_automatic_differentiation(steps, hidden, inputs, outputs, batch, loss, seed):
    x, y, arrays, start, step_weights = problem(seed, steps, hidden, inputs, outputs, batch, loss)
    found = backpropagate(x, y, *arrays, loss=loss, step_weights=step_weights, start=start)
    total, grads, states = autograd(x, y, arrays, start, step_weights, loss)
    assert found.loss == pytest.approx(total, rel=1e-12, abs=1e-14)
    own = [*(getattr(found, name) for name in WEIGHTS), found.start, found.inputs, found.outputs]
    for mine, theirs in zip(own, grads, strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-10, atol=1e-10)
    np.testing.assert_allclose(found.states, states, rtol=1e-10, atol=1e-10)


def test_a_long_sequence_equals_automatic_differentiation_to_1e_10():
    x, y, arrays, start, ones = problem(3, steps=200, hidden=30, inputs=5, outputs=4, batch=3, loss="cross_entropy")
    arrays[1] *= 1.2 / np.sqrt(30)
    found = backpropagate(x, y, *arrays, loss="cross_entropy", step_weights=ones, start=start)
    _, grads, _ = autograd(x, y, arrays, start, ones, "cross_entropy")
    for name, theirs in zip(WEIGHTS, grads, strict=False):
        np.testing.assert_allclose(getattr(found, name), theirs, rtol=1e-10, atol=1e-10 * np.abs(theirs).max())


@pytest.mark.parametrize("loss", ["squared", "cross_entropy"])
def test_every_gradient_equals_a_central_difference(loss):
    x, y, arrays, start, step_weights = problem(1, loss=loss)
    found = backpropagate(x, y, *arrays, loss=loss, step_weights=step_weights, start=start)
    rng = np.random.default_rng(0)
    for index, name in enumerate(WEIGHTS):
        direction = rng.normal(size=arrays[index].shape)
        values = []
        for sign in (1, -1):
            moved = [a + sign * 1e-6 * direction if i == index else a for i, a in enumerate(arrays)]
            values.append(backpropagate(x, y, *moved, loss=loss, step_weights=step_weights, start=start).loss)
        assert np.sum(getattr(found, name) * direction) == pytest.approx((values[0] - values[1]) / 2e-6, rel=1e-6)


def test_a_loss_at_the_last_step_only_reaches_earlier_states_through_the_recurrence():
    x, y, arrays, start, _ = problem(2, steps=4)
    found = backpropagate(x, y, *arrays, step_weights=np.array([0.0, 0, 0, 1]), start=start)
    states, W, V = found.forward.states, arrays[1], arrays[2]
    expected = (found.forward.outputs[:, -1] - y[:, -1]) @ V
    np.testing.assert_allclose(found.states[:, 3], expected)
    for t in (2, 1, 0):
        expected = ((1 - states[:, t + 1] ** 2) * expected) @ W
        np.testing.assert_allclose(found.states[:, t], expected, rtol=1e-12, atol=1e-15)


def test_the_forward_pass_is_that_of_the_elman_network():
    network = rs.Elman(hidden_size=5, num_layers=1).build(rs.core.interfaces.Signature(3, 2), torch.Generator().manual_seed(0))
    weight, own = {k: v.detach().double().numpy() for k, v in network.named_parameters()}, network.double()
    x = np.random.default_rng(0).normal(size=(2, 7, 3))
    bias = weight["layers.0.bias_ih_l0"] + weight["layers.0.bias_hh_l0"]
    names = ("layers.0.weight_ih_l0", "layers.0.weight_hh_l0", "head.weight")
    found = run_forward(x, *(weight[n] for n in names), bias, weight["head.bias"])
    expected = rs.rollout(own, torch.tensor(x))
    np.testing.assert_allclose(found.states, expected.states.detach().numpy(), atol=1e-14)
    np.testing.assert_allclose(found.outputs, expected.outputs.detach().numpy(), atol=1e-14)


def test_large_outputs_do_not_overflow_the_softmax():
    x, y, arrays, start, ones = problem(4, loss="cross_entropy")
    arrays[4] = np.array([2000.0, -2000.0])
    found = backpropagate(x, y, *arrays, loss="cross_entropy", step_weights=ones, start=start)
    assert np.isfinite(found.loss)
    assert np.isfinite(found.W).all()


def test_the_arrays_given_are_not_changed():
    x, y, arrays, start, ones = problem(5)
    copies = [a.copy() for a in (x, y, *arrays, start, ones)]
    backpropagate(x, y, *arrays, step_weights=ones, start=start)
    for before, after in zip(copies, (x, y, *arrays, start, ones), strict=True):
        np.testing.assert_array_equal(before, after)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"x": np.zeros((2, 3))}, "with a batch axis"),
        ({"x": np.zeros((2, 0, 3))}, "T >= 1"),
        ({"y": np.zeros((2, 5))}, "targets has shape"),
        ({"W": np.zeros((4, 3))}, "U, W, V, b, c have"),
        ({"start": np.zeros((1, 4))}, "one state per sequence"),
        ({"step_weights": np.ones(3)}, "one weight per step"),
        ({"loss": "hinge"}, "'hinge'"),
        ({"loss": "cross_entropy", "y": np.full((2, 5), 2)}, "from 0 to 1"),
        ({"loss": "cross_entropy", "y": np.zeros((2, 5))}, "expected integers"),
    ],
)
@pytest.mark.usefixtures("unchecked")
def test_bad_arrays_are_refused(change, words):
    x, y, arrays, start, ones = problem(0)
    own = {"x": x, "y": y, **dict(zip(WEIGHTS, arrays, strict=True))} | {k: v for k, v in change.items() if len(k) == 1}
    options = {"start": start, "step_weights": ones} | {k: v for k, v in change.items() if len(k) > 1}
    with pytest.raises(ValueError, match=words):
        backpropagate(own["x"], own["y"], *(own[n] for n in WEIGHTS), **options)
