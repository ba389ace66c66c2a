"""Piecewise-linear networks: their equations, compiled passes with hand-derived gradients, regions, and forcing."""

import pytest
import torch
from torch import Tensor

import rnnscope as rs
from rnnscope.core.closing import PiecewiseLinearLoop
from rnnscope.core.interfaces import Signature
from rnnscope.core.loops import FusedClosedLoop, identity_feedback
from rnnscope.models.plrnn import PiecewiseLinearNetwork

FORMS = ("shallow", "clipped", "almost_linear")
SIZES = ((3, 3, 0), (5, 3, 7), (2, 1, 5))  # inputs, outputs, components of the state
EACH = pytest.mark.parametrize("form", FORMS)
SIZED = pytest.mark.parametrize("sizes", SIZES)


def drawn(*shape: int, seed: int = 1) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def network(form: str, sizes: tuple[int, int, int], hidden_size: int = 6) -> PiecewiseLinearNetwork:
    inputs, outputs, latent = sizes
    spec = rs.PLRNN(form=form, latent_size=latent, hidden_size=hidden_size)
    built = spec.build(Signature(inputs, outputs), torch.Generator().manual_seed(0)).double()
    with torch.no_grad():
        built.shift.copy_(0.3 * drawn(built.state_size, seed=5))
    return built


def feedback(sizes: tuple[int, int, int]) -> rs.AffineFeedback:
    """The next input is (y, e)."""
    width, seen, _ = sizes
    identity = torch.eye(width, dtype=torch.float64)
    return rs.AffineFeedback(torch.zeros(width, width, dtype=torch.float64), identity[:, :seen], identity[:, seen:])


@EACH
@SIZED
@pytest.mark.parametrize("interval", [0, 7])
def test_the_fused_forced_pass_and_its_gradients_are_those_of_the_plain_loop(form, sizes, interval):
    net = network(form, sizes, hidden_size=11)
    weights = rs.forcing_weights(20, 0.15, interval).double()
    found = []
    for fused in (True, False):
        inputs, state = drawn(4, 20, sizes[0]).requires_grad_(), drawn(4, net.state_size, seed=2).requires_grad_()
        outputs, final = rs.forced_rollout(net, inputs, weights, feedback(sizes), state, fused=fused)
        loss = (outputs * drawn(*outputs.shape, seed=3)).sum() + final.square().sum()
        parameters = [p for p in net.parameters() if p.numel()]
        found.append([outputs, final, *torch.autograd.grad(loss, [inputs, state, *parameters])])
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-10)


def test_a_graph_can_be_gone_through_again():
    net = network("shallow", SIZES[0])
    outputs = net(drawn(2, 9, 3))
    first = torch.autograd.grad(outputs.sum(), net.out, retain_graph=True)[0]
    net(drawn(2, 9, 3, seed=4)).sum().backward()
    torch.testing.assert_close(torch.autograd.grad(outputs.sum(), net.out)[0], first)


@EACH
def test_fed_its_own_outputs_it_is_the_autonomous_map(form):
    net, z = network(form, (3, 3, 0)), drawn(5, 3)
    if form == "almost_linear":
        units = torch.cat([z[:, :1], z[:, 1:].relu()], 1)
    else:
        units = (z @ net.into.T + net.bias).relu() - ((z @ net.into.T).relu() if form == "clipped" else 0)
    wanted = net.decay * z + units @ net.out.T + net.shift
    closed = rs.close_loop(net)
    torch.testing.assert_close(closed.step(z, z.new_zeros(5, 0)), wanted)
    torch.testing.assert_close(net.step(torch.zeros_like(z), z), wanted)


@EACH
@SIZED
@pytest.mark.parametrize("closed", [False, True])
def test_within_its_region_the_map_is_affine_and_the_borders_are_where_units_switch(form, sizes, closed):
    net = network(form, sizes)
    system = rs.close_loop(net, feedback(sizes)) if closed else net
    state, input = 2 * drawn(30, system.state_size), drawn(30, system.input_size, seed=2)
    assert isinstance(system, rs.PiecewiseLinear)
    pattern = system.region(state, input)
    matrices, offsets = system.affine(pattern, input)
    torch.testing.assert_close((matrices @ state[:, :, None])[:, :, 0] + offsets, system.step(state, input))
    rows, heights = system.boundaries(pattern, input)
    assert torch.equal((rows @ state[:, :, None])[:, :, 0] + heights > 0, pattern)


def test_a_closed_loop_of_a_relu_network_that_carries_its_input_is_piecewise_linear():
    net = rs.Elman(hidden_size=4, num_layers=2, skip=2, nonlinearity="relu").build(Signature(3, 2), torch.Generator()).double()
    carry, back, known = 0.4 * drawn(3, 3), 0.5 * drawn(3, 2, seed=2), drawn(3, 1, seed=3)
    loop = rs.close_loop(net, rs.AffineFeedback(carry, back, known))
    assert isinstance(loop, PiecewiseLinearLoop)
    state, input = drawn(20, loop.state_size, seed=4), drawn(20, 1, seed=5)
    pattern = loop.region(state, input)
    matrices, offsets = loop.affine(pattern, input)
    torch.testing.assert_close((matrices @ state[:, :, None])[:, :, 0] + offsets, loop.step(state, input))
    rows, heights = loop.boundaries(pattern, input)
    assert torch.equal((rows @ state[:, :, None])[:, :, 0] + heights > 0, pattern)
    matrix, offset = loop.affine_readout()
    torch.testing.assert_close(loop.readout(state), state @ matrix.T + offset)


@EACH
def test_fixed_points_of_the_closed_loop_are_found_exactly_and_completely(form):
    loop = rs.close_loop(network(form, (2, 2, 2), hidden_size=4))
    found = rs.piecewise_linear_cycles(loop)
    assert found.complete_up_to == 1
    for cycle in found.fixed_points:
        torch.testing.assert_close(loop.step(cycle.points, cycle.points.new_zeros(1, 0)), cycle.points)
    searched = rs.find_fixed_points(loop, rng=torch.Generator().manual_seed(0))
    assert len(searched) == len(found.fixed_points)


def test_a_clipped_network_with_small_decay_stays_bounded():
    net = network("clipped", (2, 2, 2), hidden_size=5)
    with torch.no_grad():
        net.out.mul_(20)
    reach = (net.out.abs() @ net.bias.abs() + net.shift.abs()) / (1 - net.decay.abs())
    run = rs.rollout(rs.close_loop(net), torch.zeros(8, 400, 0, dtype=torch.float64), 3 * drawn(8, 2)).states
    assert (run[:, 300:].abs() <= reach + 1e-6).all()


@EACH
def test_derivatives_are_those_of_automatic_differentiation(form):
    net = network(form, SIZES[1])
    state, input = drawn(4, 7), drawn(4, 5, seed=2)
    by_state, by_input = torch.func.vmap(torch.func.jacrev(lambda s, x: net.step(s[None], x[None])[0], (0, 1)))(state, input)
    torch.testing.assert_close(net.state_jacobian(state, input), by_state)
    torch.testing.assert_close(net.input_jacobian(state, input), by_input)


@EACH
def test_a_run_that_diverges_stays_what_it_is_to_the_end(form):
    net = network(form, (2, 2, 2)).float()
    with torch.no_grad():
        net.decay.fill_(30.0)
    assert isinstance(net, FusedClosedLoop)
    with torch.no_grad():
        outputs, _, _ = net.fused_closed_loop(torch.ones(2, 2), torch.ones(2, 2), identity_feedback(2), torch.zeros(2, 60, 0))
    assert not torch.isfinite(outputs[:, -1]).any()
    assert torch.isfinite(outputs[:, :10]).all()


@pytest.mark.parametrize(
    ("fields", "signature", "says"),
    [
        ({"latent_size": 2}, Signature(3, 3), "set latent_size=3"),
        ({"form": "almost_linear", "num_relus": 9}, Signature(3, 3), "set num_relus=3"),
        ({}, Signature(1, 2), "set task.horizon=1 and task.head=point"),
    ],
)
def test_sizes_that_do_not_fit_are_refused_with_what_to_set(fields, signature, says):
    with pytest.raises(rs.ConfigError, match=says):
        rs.PLRNN(**fields).build(signature, torch.Generator())


@EACH
def test_what_is_not_observed_begins_as_leaky_averages_of_what_is(form):
    spec = rs.PLRNN(form=form, hidden_size=30, memory=16.0)
    net = spec.build(Signature(1, 1), torch.Generator().manual_seed(0)).double()
    assert net.state_size == 8
    inputs = drawn(2, 60, 1).clamp(-4, 4)
    states = rs.rollout(net, inputs).states
    for k, constant in enumerate(16.0 ** (torch.arange(1, 8) / 7)):
        kept = float(constant / (1 + constant))
        average = torch.zeros(2, dtype=torch.float64)
        for t in range(60):
            average = kept * average + (1 - kept) * inputs[:, t, 0]
        torch.testing.assert_close(states[:, -1, 1 + k], average, rtol=1e-5, atol=1e-5)


def test_a_network_that_sees_three_variables_or_more_has_no_others():
    sizes = [rs.PLRNN().build(Signature(n, n), torch.Generator()).state_size for n in (1, 2, 3, 4)]
    assert sizes == [8, 8, 3, 4]


def test_too_few_units_leave_further_components_without_a_source():
    net = rs.PLRNN(latent_size=6, hidden_size=4).build(Signature(1, 1), torch.Generator().manual_seed(0))
    assert (net.out[3:] == 0).all()
    assert torch.isfinite(rs.rollout(net, torch.randn(1, 30, 1)).states).all()
