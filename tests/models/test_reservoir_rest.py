"""Rest of echo state networks: the reduced equations have the roots of F(h) = h, their derivatives are exact, the elimination too."""

import copy

import numpy as np
import pytest
import torch
from torch import Tensor

import rnnscope as rs
from rnnscope.core.equilibria import StandStill, rest_equation
from rnnscope.core.fed_rest import FedRest, SettledLoop
from rnnscope.core.interfaces import Signature
from rnnscope.core.loops import AffineFeedback, ClosedLoop
from rnnscope.core.random import Streams

KINDS = {
    "plain": {},
    "leaky": {"leak": 0.3},
    "squares": {"features": "state_squares"},
    "mixed": {"features": "mixed", "leak": 0.6},
    "stacked": {"num_reservoirs": 3, "stacked": True, "leak": 0.5},
    "fed back": {"feedback_scale": 0.2, "spectral_radius": 0.4},
}
NOTHING = torch.zeros(0, dtype=torch.float64)


def built(units: int = 24, inputs: int = 2, gain: float = 1.0, seed: int = 0, **fields: object) -> rs.ReservoirSystem:
    spec = rs.EchoState(units=units, degree=5, bias_scale=0.5, input_scale=1.0, **fields)
    found = spec.build(Signature(inputs, inputs), torch.Generator().manual_seed(seed)).requires_grad_(False)
    found.head.weight.mul_(gain)
    return found


def rested(system: rs.DynamicalSystem, input: Tensor) -> Tensor:
    state = system.initial_state(1)
    for _ in range(2000):
        state = system.step(state, input)
    return state


def derivative(function, at: Tensor) -> Tensor:
    return torch.autograd.functional.jacobian(lambda row: function(row[None])[0], at)


@pytest.mark.parametrize("kind", KINDS)
def test_where_the_network_comes_to_rest_its_equation_holds(kind: str) -> None:
    system, input = built(**KINDS[kind]), torch.tensor([[0.7, -0.2]], dtype=torch.float64)
    state = rested(system, input)
    equation = system.rest_equation(input[0])
    assert float(equation.residual(equation.reduce(state)).abs().max()) < 1e-14
    torch.testing.assert_close(equation.expand(equation.reduce(state)), state)


@pytest.mark.parametrize("kind", KINDS)
def test_derivatives_are_those_of_the_residual(kind: str) -> None:
    system, rng = built(**KINDS[kind]), torch.Generator().manual_seed(1)
    states = 2 * torch.rand(3, system.state_size, generator=rng, dtype=torch.float64) - 1
    inputs = torch.randn(3, 2, generator=rng, dtype=torch.float64)
    driven = system.driven_rest()
    residual, by_state, by_input = driven.linearise(states, inputs)
    torch.testing.assert_close(residual, driven.residual(states, inputs))
    step = 1e-6
    for unit in (0, 7):
        move = step * torch.eye(system.state_size, dtype=torch.float64)[unit]
        slope = (driven.residual(states + move, inputs) - driven.residual(states - move, inputs)) / (2 * step)
        torch.testing.assert_close(by_state[:, :, unit], slope, atol=1e-8, rtol=1e-7)
    move = torch.tensor([0.0, step], dtype=torch.float64)
    slope = (driven.residual(states, inputs + move) - driven.residual(states, inputs - move)) / (2 * step)
    torch.testing.assert_close(by_input[:, :, 1], slope, atol=1e-8, rtol=1e-7)


@pytest.mark.parametrize("kind", KINDS)
def test_the_second_derivative_stays_below_its_bound(kind: str) -> None:
    system, rng = built(**KINDS[kind]), torch.Generator().manual_seed(2)
    driven = system.driven_rest()
    states = torch.rand(40, system.state_size, generator=rng, dtype=torch.float64) - 0.5
    inputs = torch.randn(40, 2, generator=rng, dtype=torch.float64)
    bound = driven.curvature(states, inputs, 1.0, fed=True)
    step, along = 1e-4, torch.randn(40, system.state_size + 2, generator=rng, dtype=torch.float64)
    along /= along.norm(dim=1, keepdim=True)
    move, fed = along[:, :-2] * step, along[:, -2:] * step
    bend = driven.residual(states + move, inputs + fed) + driven.residual(states - move, inputs - fed)
    bend = ((bend - 2 * driven.residual(states, inputs)) / step**2).norm(dim=1)
    assert (bend <= bound).all()
    assert kind == "fed back" or float((bend / bound).max()) > 0.005  # and the bound says something
    second = system.readout(states + move) + system.readout(states - move) - 2 * system.readout(states)
    assert ((second / step**2).abs() <= driven.readout_curvature() + 1e-6).all()


@pytest.mark.parametrize("kind", [k for k in KINDS if k != "fed back"])
def test_the_state_settles_where_the_network_comes_to_rest_and_moves_as_derived(kind: str) -> None:
    system = built(**KINDS[kind])
    driven, inputs = system.driven_rest(), torch.tensor([[0.7, -0.2], [-1.0, 0.4]], dtype=torch.float64)
    assert driven.settles()
    settled = driven.settle(inputs)
    torch.testing.assert_close(settled[:1], rested(system, inputs[:1]), atol=1e-13, rtol=0)
    _, by_state, by_input = driven.linearise(settled, inputs)
    torch.testing.assert_close(
        driven.settle_jacobian(settled, inputs), -torch.linalg.solve(by_state, by_input), atol=1e-8, rtol=1e-8
    )


@pytest.mark.parametrize("kind", [k for k in KINDS if k != "fed back"])
@pytest.mark.parametrize("carries", [False, True])
def test_a_loop_is_reduced_to_its_inputs_without_error(kind: str, carries: bool) -> None:
    system = built(gain=4.0, **KINDS[kind])
    one = torch.eye(2, dtype=torch.float64)
    loop = rs.close_loop(system, AffineFeedback(0.5 * one * carries, one, torch.zeros(2, 0, dtype=torch.float64)))
    equation = loop.rest_equation(NOTHING)
    assert isinstance(equation, SettledLoop)
    assert equation.size == 2
    assert equation.is_boxed is not carries
    points = torch.tensor([[0.3, -0.4], [1.0, 2.0]], dtype=torch.float64)
    residual, jacobian = equation.linearise(points)
    torch.testing.assert_close(residual, equation.residual(points))
    step = 1e-6
    for axis in range(2):
        move = step * one[axis]
        slope = (equation.residual(points + move) - equation.residual(points - move)) / (2 * step)
        torch.testing.assert_close(jacobian[:, :, axis], slope, atol=1e-6, rtol=1e-6)
    found = rs.find_fixed_points(loop, num_starts=30)
    assert len(found)
    assert float(found.residual.max()) < 1e-11
    roots = equation.reduce(found.points)
    full, known = equation.for_proof(roots)
    assert isinstance(full, FedRest)
    assert float(full.residual(known).abs().max()) < 1e-11
    whole = torch.eye(loop.state_size, dtype=torch.float64) - loop.state_jacobian(
        found.points, found.points.new_zeros(len(found), 0)
    )
    assert torch.equal(torch.linalg.det(-equation.linearise(roots)[1]).sign(), torch.linalg.det(whole).sign())


class Unreduced(ClosedLoop):
    """The same loop with nothing known of its rest."""

    def rest_equation(self, input: Tensor) -> None:
        return None


@pytest.mark.parametrize("gain", [1.0, 8.0])
def test_the_reduced_search_finds_what_the_plain_one_finds(gain: float) -> None:
    system = built(16, gain=gain, features="state_squares")
    loop = rs.close_loop(system)
    plain = Unreduced(system, loop.feedback)
    assert isinstance(rest_equation(plain, NOTHING), StandStill)
    found, other = rs.find_fixed_points(loop, num_starts=100), rs.find_fixed_points(plain, num_starts=200)
    assert found.index_sum == found.expected_index_sum == 1
    assert len(found) >= len(other)
    assert (torch.cdist(other.points, found.points).min(1).values < 1e-7).all()
    assert found.certificate.is_certified.all()


def test_a_reservoir_that_remembers_its_start_is_not_reduced() -> None:
    system = built(spectral_radius=3.0)
    system.get_buffer("bias").zero_()
    assert not system.driven_rest().settles()
    equation = rs.close_loop(system).rest_equation(NOTHING)
    assert isinstance(equation, FedRest)
    assert equation.size == 26


def test_outputs_that_come_back_to_the_reservoir_are_not_reduced() -> None:
    assert not built(feedback_scale=0.1).driven_rest().settles()


def test_where_no_state_settles_the_unknown_is_not_a_number() -> None:
    system = built(spectral_radius=3.0, seed=1)  # chaotic, or turning
    assert torch.isnan(system.driven_rest().settle(torch.zeros(1, 2, dtype=torch.float64))).all()


def test_a_network_that_learned_the_lorenz_system_rests_where_that_does() -> None:
    data = rs.Lorenz63(duration=140.0, protocol="stream", split=rs.Split(test_steps=1000), window=200).prepare(Streams(0))
    model = rs.EchoState(units=200).build(data.signature, torch.Generator().manual_seed(0))
    for _ in rs.Ridge(strengths=(1e-13,)).start(model, data, Streams(0)):
        pass
    before = copy.deepcopy(model.state_dict())
    loop = rs.close_loop(model, data.representation.feedback())
    visited = model.carried_features(
        torch.from_numpy(data.representation.inputs(data.series[0])[None, :3000]), model.initial_state(1)
    )[0]
    found = rs.find_fixed_points(loop, visited[0, 300::60])
    outputs = data.representation.unlevel(model.readout(found.points).detach().numpy())
    wing = np.sqrt(72.0)
    for truth, unstable in (((0.0, 0.0, 0.0), 1), ((wing, wing, 27.0), 2), ((-wing, -wing, 27.0), 2)):
        nearest = int(np.abs(outputs - truth).max(1).argmin())
        assert np.abs(outputs[nearest] - truth).max() < 2.5
        assert int(found.num_unstable[nearest]) == unstable
    assert found.certificate.is_certified.all()
    assert found.index_sum == 1
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
