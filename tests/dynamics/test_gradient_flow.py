import math

import pytest
import torch
from torch import nn

import rnnscope as rs
from known_systems import DOUBLE, linear_map
from rnnscope.analysis.figures_memory import gradient_figure
from rnnscope.core.interfaces import Signature
from rnnscope.dynamics.gradient_flow import gradient_flow
from rnnscope.numerics.backpropagation import backpropagate
from rnnscope.plotting import render


def scalar(factor):
    return linear_map(torch.tensor([[factor]], dtype=DOUBLE), torch.ones(1, 1, dtype=DOUBLE))


def elman(rng, hidden=5, inputs=2, outputs=3):
    return rs.Elman(hidden_size=hidden, num_layers=1).build(Signature(inputs, outputs), rng)


def by_hand(network, inputs, targets, loss, step_weights):
    """The same network through the recurrences in NumPy."""
    own = {k: v.detach().double().numpy() for k, v in network.named_parameters()}
    bias = own["layers.0.bias_ih_l0"] + own["layers.0.bias_hh_l0"]
    arrays = [own[n] for n in ("layers.0.weight_ih_l0", "layers.0.weight_hh_l0", "head.weight")]
    return backpropagate(
        inputs.double().numpy(), targets.numpy(), *arrays, bias, own["head.bias"], loss=loss, step_weights=step_weights
    )


@pytest.mark.parametrize("last_only", [False, True])
@pytest.mark.parametrize("loss", ["mse", "cross_entropy"])
def test_norms_over_time_are_those_of_the_recurrences(rng, loss, last_only):
    network, inputs = elman(rng), torch.randn(4, 9, 2, generator=rng)
    classes = torch.randint(3, (4, 9), generator=rng)
    targets = classes if loss == "cross_entropy" else torch.randn(4, 9, 3, generator=rng, dtype=DOUBLE)
    found = gradient_flow(network, inputs, targets, loss=loss, last_only=last_only)
    weights = torch.zeros(9, dtype=DOUBLE)
    weights[8 if last_only else slice(None)] = 1 / (1 if last_only else 9) * (1 if loss == "cross_entropy" else 2 / 3)
    hand = by_hand(network, inputs, targets, "cross_entropy" if loss == "cross_entropy" else "squared", weights.numpy())
    expected = torch.cat([torch.tensor(hand.start).norm(dim=-1)[:, None], torch.tensor(hand.states).norm(dim=-1)], 1)
    torch.testing.assert_close(found.state_gradients, expected, rtol=1e-9, atol=1e-14)
    torch.testing.assert_close(found.losses, torch.tensor(hand.losses).sum(1), rtol=1e-9, atol=1e-14)


def test_by_lag_only_the_loss_of_that_step_is_followed(rng):
    network, inputs, targets = (
        elman(rng),
        torch.randn(3, 6, 2, generator=rng),
        torch.randn(3, 6, 3, generator=rng, dtype=DOUBLE),
    )
    found = gradient_flow(network, inputs, targets, num_loss_steps=100)
    assert found.loss_steps.tolist() == [3, 4, 5, 6]
    for row, step in enumerate(found.loss_steps.tolist()):
        alone = torch.zeros(6, dtype=DOUBLE)
        alone[step - 1] = 1.0
        hand = by_hand(network, inputs, targets, "squared", alone.numpy())
        norms = torch.cat([torch.tensor(hand.start)[:, None], torch.tensor(hand.states)], 1).norm(dim=-1)
        back = norms[:, [step - k for k in range(4)]]
        torch.testing.assert_close(found.log_relative[3 * row : 3 * row + 3], (back / back[:, :1]).log(), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(("factor", "flow"), [(0.7, "vanishing"), (1.2, "exploding"), (0.999, "healthy"), (1.0, "healthy")])
def test_a_scalar_recurrence_is_named_by_its_factor(factor, flow):
    found = gradient_flow(scalar(factor), torch.ones(2, 60, 1), torch.zeros(2, 60, 1))
    assert found.flow == flow
    assert found.growth_rate == pytest.approx(math.log(factor), abs=1e-9)
    assert flow in found.statement
    if flow == "vanishing":
        assert found.vanishing_lag == next(k for k in range(60) if factor**k < 0.01)
        assert f"beyond lag {found.vanishing_lag}" in found.statement
    torch.testing.assert_close(found.lag_percentiles[1], factor ** found.lags.double())


def test_gradients_of_a_last_step_loss_are_by_lag_what_they_are_by_time(rng):
    network = rs.GRU(hidden_size=4).build(Signature(1, 1), rng)
    found = gradient_flow(network, torch.randn(5, 12, 1, generator=rng), torch.randn(5, 1, generator=rng), last_only=True)
    backwards = found.state_gradients.flip(1)
    torch.testing.assert_close(found.log_relative, (backwards / backwards[:, :1]).log(), rtol=1e-10, atol=1e-12)


def test_targets_without_a_time_axis_are_those_of_the_last_step(rng):
    network, inputs = elman(rng), torch.randn(2, 5, 2, generator=rng)
    whole, classes = torch.randn(2, 5, 3, generator=rng), torch.randint(3, (2, 5), generator=rng)
    for loss, targets in (("mse", whole), ("cross_entropy", classes)):
        runs = [
            gradient_flow(network, inputs, t, loss=loss, last_only=True).state_gradients
            for t in (targets, targets[:, -1:], targets[:, -1])
        ]
        assert torch.equal(runs[0], runs[1])
        assert torch.equal(runs[0], runs[2])


def test_a_loss_of_ones_own_equals_the_built_in_one(rng):
    network, inputs, targets = elman(rng), torch.randn(3, 7, 2, generator=rng), torch.randn(3, 7, 3, generator=rng).double()
    built_in = gradient_flow(network, inputs, targets).state_gradients
    own = gradient_flow(network, inputs, targets, loss=lambda o, y: ((o - y) ** 2).mean((1, 2)))
    torch.testing.assert_close(own.state_gradients, built_in)
    mean = gradient_flow(network, inputs, targets, loss=nn.MSELoss())
    torch.testing.assert_close(mean.state_gradients, built_in)
    torch.testing.assert_close(mean.log_relative, own.log_relative)


def test_clipping_is_judged_on_the_gradient_of_all_parameters(rng):
    network, inputs, targets = elman(rng), torch.randn(6, 7, 2, generator=rng), torch.randn(6, 7, 3, generator=rng)
    found = gradient_flow(network, inputs, targets, most_clipped=4)
    copy = elman(rng).double()
    copy.load_state_dict({k: v.double() for k, v in network.state_dict().items()})
    for row in range(4):
        copy.zero_grad()
        ((copy(inputs[row : row + 1].double()) - targets[row].double()) ** 2).mean().backward()
        norm = nn.utils.get_total_norm(p.grad for p in copy.parameters())
        assert float(found.parameter_norms[row]) == pytest.approx(float(norm), rel=1e-9)
    clip = float(found.parameter_norms.median()) + 1e-9
    judged = gradient_flow(network, inputs, targets, most_clipped=4, clip_norm=clip)
    norms = found.parameter_norms
    assert judged.clipped_share == pytest.approx(float((norms > clip).double().mean()))
    assert judged.cut_share == pytest.approx(float((1 - (clip / norms).clamp(max=1)).mean()))


def test_a_system_without_parameters_has_nothing_to_clip():
    found = gradient_flow(scalar(0.5), torch.ones(1, 5, 1), torch.zeros(1, 5, 1))
    assert found.parameter_norms is None
    assert found.clipped_share is None


def test_a_loss_already_at_its_minimum_has_no_gradient():
    found = gradient_flow(scalar(0.5), torch.zeros(2, 5, 1), torch.zeros(2, 5, 1))
    assert found.flow == "no gradient"
    assert "no gradient" in found.statement


def test_a_state_overwritten_at_each_step_passes_nothing_back():
    found = gradient_flow(rs.System(lambda h, x: x, 1, 1), torch.ones(2, 6, 1), torch.zeros(2, 6, 1))
    assert found.flow == "vanishing"
    assert found.vanishing_lag == 1


def test_the_model_given_keeps_its_weights_gradients_and_mode(rng):
    network = rs.LSTM(hidden_size=4).build(Signature(2, 1), rng).train().requires_grad_(False)
    network.head.weight.requires_grad_(True).grad = torch.full_like(network.head.weight, 7.0)
    before = {k: v.clone() for k, v in network.state_dict().items()}
    with torch.no_grad():
        found = gradient_flow(network, torch.randn(2, 10, 2, generator=rng), torch.zeros(2, 10, 1))
    assert found.parameter_norms is not None
    assert network.training
    assert bool((network.head.weight.grad == 7).all())
    assert [n for n, p in network.named_parameters() if p.requires_grad] == ["head.weight"]
    assert all(torch.equal(before[k], v) and v.dtype == torch.float32 for k, v in network.state_dict().items())


def test_one_step_one_sequence_is_enough(rng):
    found = gradient_flow(elman(rng), torch.ones(1, 1, 2), torch.zeros(1, 1, 3))
    assert found.state_gradients.shape == (1, 2)
    assert found.lags.tolist() == [0, 1]


@pytest.mark.parametrize("size", [0.0, 1.0])
def test_its_figure_is_drawn_also_where_there_is_no_gradient(rng, size):
    network = elman(rng).requires_grad_(False)
    network.head.weight.mul_(size)
    targets = network(torch.ones(2, 6, 2)).detach() + size
    figure = gradient_figure(gradient_flow(network, torch.ones(2, 6, 2), targets))
    assert b"steps back from the loss" in render(figure.canvas, "svg")
    assert "Clipping at norm 1" in figure.caption


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"loss": "hinge"}, rs.ConfigError, "'hinge'"),
        ({"clip_norm": 0.0}, rs.ConfigError, "clip_norm 0"),
        ({"vanish": 2.0}, rs.ConfigError, "vanish 2"),
        ({"explode": 0.5}, rs.ConfigError, "explode 0.5"),
        ({"num_loss_steps": 0}, rs.ConfigError, "num_loss_steps 0"),
        ({"inputs": torch.zeros(2, 5, 3)}, rs.ShapeError, "inputs of shape"),
        ({"targets": torch.zeros(2, 4, 1)}, rs.ShapeError, "targets of shape"),
        ({"targets": torch.zeros(2, 5), "loss": "cross_entropy"}, rs.ConfigError, "classes of type"),
        ({"targets": torch.ones(2, 5).long(), "loss": "cross_entropy"}, rs.ConfigError, "from 0 to 0"),
        ({"starts": torch.zeros(3, 1)}, rs.ShapeError, "state of shape"),
        ({"loss": lambda o, y: o}, rs.ShapeError, "losses of shape"),
        ({"loss": lambda o, y: o.detach().mean((1, 2))}, rs.ConfigError, "no gradient leaves"),
        ({"inputs": torch.full((2, 5, 1), math.nan)}, rs.DataError, "not finite"),
    ],
)
@pytest.mark.usefixtures("unchecked")
def test_bad_input_is_refused(arguments, error, words):
    own = {"inputs": torch.ones(2, 5, 1), "targets": torch.zeros(2, 5, 1), **arguments}
    with pytest.raises(error, match=words):
        gradient_flow(scalar(0.5), own.pop("inputs"), own.pop("targets"), **own)
