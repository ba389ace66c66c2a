"""Fixed points: nothing true missed, nothing untrue returned, every claim with its evidence."""

import copy
import math

import pytest
import torch
from torch import Tensor

import rnnscope as rs
from rnnscope.core.equilibria import rest_equation
from rnnscope.core.interfaces import Signature
from rnnscope.dynamics.certificate import certify
from rnnscope.dynamics.newton import merge

D = torch.float64


def network(spec: rs.GRU | rs.LSTM | rs.Elman, inputs: int = 2, seed: int = 0):
    return spec.build(Signature(inputs, 2), torch.Generator().manual_seed(seed))


def bistable(gain: float = 2.0) -> rs.System:
    return rs.System(lambda h, x: torch.tanh(gain * h + x), state_size=1, input_size=1)


def lorenz_step(state: Tensor, input: Tensor, dt: float = 0.01) -> Tensor:
    def flow(h: Tensor) -> Tensor:
        x, y, z = h.unbind(1)
        return torch.stack([10 * (y - x), x * (28 - z) - y, x * y - 8 / 3 * z], 1)

    a = flow(state)
    b = flow(state + dt / 2 * a)
    c = flow(state + dt / 2 * b)
    d = flow(state + dt * c)
    return state + dt / 6 * (a + 2 * b + 2 * c + d)


def test_the_three_points_of_a_bistable_unit_are_found_with_their_stability():
    found = rs.find_fixed_points(bistable())
    order = found.points.flatten().argsort()
    root = 0.957504024079  # of h = tanh(2 h)
    assert found.points.flatten()[order] == pytest.approx([-root, 0, root], abs=1e-10)
    assert [found.kinds[i] for i in order] == ["attractor", "repeller", "attractor"]
    slope = 2 * (1 - root**2)
    assert found.eigenvalues.real.flatten()[order] == pytest.approx([slope, 2, slope], abs=1e-9)
    assert found.residual.max() <= 1e-12


def test_beyond_the_fold_only_one_point_is_left():
    assert len(rs.find_fixed_points(bistable(), input=torch.tensor([1.0]))) == 1


def test_lorenz_rests_at_its_three_known_points():
    found = rs.find_fixed_points(rs.System(lorenz_step, 3, dtype=D))
    far = math.sqrt(8 / 3 * 27)
    truth = torch.tensor([[0, 0, 0], [far, far, 27], [-far, -far, 27]], dtype=D)
    assert torch.cdist(truth, found.points).min(1).values.max() < 1e-9
    assert len(found) == 3
    assert sorted(found.num_unstable.tolist()) == [1, 2, 2]


@pytest.mark.parametrize("kind", [rs.Elman, rs.GRU, rs.LSTM], ids=["tanh", "gru", "lstm"])
@pytest.mark.parametrize("layers", [1, 2])
def test_every_point_stands_still_is_certified_and_the_index_sum_is_one(kind, layers):
    system = network(kind(hidden_size=6, num_layers=layers, recurrent_init="orthogonal", recurrent_scale=3.0, skip=layers - 1))
    found = rs.find_fixed_points(system)
    double = copy.deepcopy(system).double()
    moved = double.step(found.points, torch.zeros(len(found), 2, dtype=D))
    assert (moved - found.points).abs().max() <= 1e-12
    assert found.certificate.is_certified.all()
    assert found.index_sum == found.expected_index_sum == 1


@pytest.mark.parametrize("kind", [rs.Elman, rs.GRU, rs.LSTM], ids=["tanh", "gru", "lstm"])
def test_nothing_that_many_random_starts_of_plain_newton_find_is_missing(kind):
    system = network(kind(hidden_size=4, num_layers=1, recurrent_init="orthogonal", recurrent_scale=4.0), seed=3)
    found = rs.find_fixed_points(system)
    equation = rest_equation(copy.deepcopy(system).double(), torch.zeros(2, dtype=D))
    rng = torch.Generator().manual_seed(9)
    points = 2 * torch.rand(4000, equation.size, generator=rng, dtype=D) - 1
    for _ in range(60):
        residual, jacobian = equation.linearise(points)
        step, _ = torch.linalg.solve_ex(jacobian, -residual[:, :, None])
        points = (points + 0.5 * step[:, :, 0]).clamp(-1, 1)
    good = equation.residual(points).abs().amax(1) < 1e-12
    truth, _ = merge(points[good], 1e-6)
    gaps = torch.cdist(equation.expand(truth), found.points).min(1).values
    assert gaps.max() < 1e-6
    assert len(found) == len(truth)


def test_a_gru_whose_gate_is_shut_has_slow_states_and_no_false_points():
    system = network(rs.GRU(hidden_size=3, num_layers=1))
    with torch.no_grad():
        system.layers[0].bias_ih_l0[3:6] = 30.0  # z = 1 to within 1e-13: every state stands still to rounding
    found = rs.find_fixed_points(system)
    equation = rest_equation(copy.deepcopy(system).double(), torch.zeros(2, dtype=D))
    assert len(found) == 1
    assert equation.residual(equation.reduce(found.points)).abs().max() < 1e-12


def test_a_line_of_fixed_points_is_named_and_not_counted():
    found = rs.find_fixed_points(rs.System(lambda h, x: torch.stack([h[:, 0], 0.5 * h[:, 1]], 1), 2))
    assert found.is_continuum
    assert found.is_marginal.all()
    assert "continuous set" in found.outcome


def test_a_system_without_fixed_points_is_told_so():
    found = rs.find_fixed_points(rs.System(lambda h, x: h + 1, 1))
    assert len(found) == 0
    assert "no fixed point found" in found.outcome
    assert found.points.shape == (0, 1)


def test_where_the_index_sum_is_wrong_the_words_say_so():
    unit = network(rs.Elman(hidden_size=1, num_layers=1))
    with torch.no_grad():
        unit.layers[0].weight_hh_l0.fill_(2.0)
        unit.layers[0].bias_ih_l0.zero_()
        unit.layers[0].bias_hh_l0.zero_()
    assert "+1 as it must be" in rs.find_fixed_points(unit).outcome
    only_the_middle = rs.find_fixed_points(unit, torch.zeros(1), max_rounds=0)
    assert only_the_middle.index_sum == -1
    assert "some point is missing" in only_the_middle.outcome


def test_slow_points_of_a_ghost_are_listed_apart():
    near_fold = math.atanh(math.sqrt(0.5)) - 2 * math.sqrt(0.5)  # the input at which h = tanh(2 h + x) has a double root
    found = rs.find_fixed_points(bistable(), input=torch.tensor([-(near_fold - 0.003)]))
    assert len(found) == 1
    assert len(found.slow_points.points) == 1
    assert 0 < float(found.slow_points.speed[0]) < 1e-4


def test_certificates_prove_a_point_and_refuse_what_is_none():
    system = copy.deepcopy(network(rs.Elman(hidden_size=5, num_layers=1))).double()
    equation = rest_equation(system, torch.zeros(2, dtype=D))
    point = rs.find_fixed_points(system).points
    near, far = certify(equation, point + 1e-9), certify(equation, torch.full_like(point, 0.9))
    assert near.is_certified.all()
    assert (near.existence_radius >= 1e-9).all()
    assert (near.existence_radius < 1e-7).all()
    assert (near.uniqueness_radius > near.existence_radius).all()
    assert not far.is_certified.any()


@pytest.mark.parametrize("kind", [rs.Elman, rs.GRU, rs.LSTM], ids=["tanh", "gru", "lstm"])
@pytest.mark.parametrize("layers", [1, 2])
def test_the_curvature_bound_holds_for_second_differences(kind, layers):
    system = copy.deepcopy(
        network(kind(hidden_size=4, num_layers=layers, recurrent_scale=3.0, recurrent_init="orthogonal"))
    ).double()
    equation = rest_equation(system, torch.tensor([0.3, -0.2], dtype=D))
    rng = torch.Generator().manual_seed(1)
    points = 2 * torch.rand(50, equation.size, generator=rng, dtype=D) - 1
    radius = 0.1
    bound = equation.curvature(points, radius)
    for _ in range(20):
        offset = torch.randn(points.shape, generator=rng, dtype=D)
        offset *= radius / offset.norm(dim=1, keepdim=True)
        change = equation.linearise(points + offset)[1] - equation.linearise(points)[1]
        assert (torch.linalg.matrix_norm(change, 2) / radius <= bound * (1 + 1e-9)).all()


def test_the_callers_things_stay_as_they_were():
    system = network(rs.GRU(hidden_size=3, num_layers=1)).train()
    starts = torch.zeros(2, 3)
    before = copy.deepcopy(system.state_dict())
    rs.find_fixed_points(system, starts, torch.zeros(2))
    assert system.training
    assert all(p.requires_grad and p.dtype == torch.float32 for p in system.parameters())
    assert all(torch.equal(before[k], v) for k, v in system.state_dict().items())
    assert not starts.any()


def test_functions_that_hold_float32_tensors_work_to_their_precision():
    weights = torch.tensor([[2.0, 0.3], [-0.3, 2.0]])
    found = rs.find_fixed_points(rs.System(lambda h, x: torch.tanh(h @ weights.T), 2))
    assert len(found) >= 1
    assert found.residual.max() < 1e-5


def test_a_single_start_and_a_single_unit_work():
    assert len(rs.find_fixed_points(bistable(), starts=torch.tensor([0.4]))) == 3
    assert len(rs.find_fixed_points(network(rs.LSTM(hidden_size=1, num_layers=1)))) >= 1


def test_wrappers_are_looked_through():
    gru = network(rs.GRU(hidden_size=4, num_layers=1))
    held = rs.find_fixed_points(rs.hold_input(gru, torch.ones(2)))
    direct = rs.find_fixed_points(gru, input=torch.ones(2))
    assert torch.allclose(held.points, direct.points, atol=1e-10)
    closed = rs.find_fixed_points(rs.close_loop(gru))
    fed = gru.readout(closed.points.float())
    assert torch.allclose(gru.step(closed.points.float(), fed), closed.points.float(), atol=1e-5)


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"starts": torch.zeros(2, 4)}, r"starts of shape \(2, 4\)"),
        ({"starts": torch.zeros(0, 3)}, r"number of starts >= 1"),
        ({"starts": torch.full((1, 3), math.nan)}, "start number 0"),
        ({"input": torch.zeros(3)}, r"an input of shape \(3,\)"),
        ({"input": torch.tensor([math.inf, 0])}, "not finite"),
        ({"num_starts": 0}, "num_starts 0"),
        ({"tolerance": 0.0}, "tolerance 0.0"),
    ],
)
def test_bad_arguments_are_named(arguments, words):
    with pytest.raises(rs.RnnscopeError, match=words):
        rs.find_fixed_points(network(rs.GRU(hidden_size=3, num_layers=1)), **arguments)


def test_weights_that_are_not_finite_are_named():
    system = network(rs.GRU(hidden_size=3, num_layers=1))
    with torch.no_grad():
        system.head.weight[0, 0] = math.nan
    with pytest.raises(rs.ConfigError, match=r"head\.weight"):
        rs.find_fixed_points(system)


def test_a_step_that_changes_the_batch_is_refused():
    with pytest.raises(rs.ShapeError, match="step returned shape"):
        rs.find_fixed_points(rs.System(lambda h, x: h[:1], 2))
