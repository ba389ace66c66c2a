"""Branches and their bifurcations, against analytic values."""

import math

import pytest
import torch

import rnnscope as rs
from known_systems import DOUBLE, rotation_matrix
from rnnscope.core.errors import ConfigError, DataError, ShapeError
from rnnscope.dynamics.bifurcations import bifurcation_diagram
from rnnscope.dynamics.continuation import continue_fixed_point
from rnnscope.models.recurrent_systems import RecurrentSystem


def tanh_unit(weight: float) -> rs.System:
    return rs.System(lambda h, x: torch.tanh(weight * h + x), 1, 1)


def gain_family(p: float) -> rs.System:
    return rs.System(lambda h, x: torch.tanh(p * h), 1)


def logistic_family(p: float) -> rs.System:
    return rs.System(lambda h, x: p * h * (1 - h), 1)


def located(branch: object, kind: str) -> list[float]:
    return [b.parameter for b in branch.bifurcations if b.kind == kind]  # type: ignore[attr-defined]


@pytest.mark.parametrize("weight", [1.2, 2.0, 5.0])
def test_folds_of_a_tanh_unit(weight: float) -> None:
    """h = tanh(w h + x): folds at h² = 1 - 1/w, x = atanh h - w h."""
    rest = math.sqrt(1 - 1 / weight)
    fold = weight * rest - math.atanh(rest)
    span = (-fold - 0.5, fold + 0.5)
    branch = continue_fixed_point(tanh_unit(weight), start=torch.tensor([-1.0]), span=span, max_step=0.1)
    assert [b.kind for b in branch.bifurcations] == ["fold", "fold"]
    assert located(branch, "fold") == pytest.approx([fold, -fold], abs=1e-9)
    assert float(branch.bifurcations[0].point) == pytest.approx(-rest, abs=1e-6)
    assert branch.end == "left the span"
    assert float(branch.parameters[-1]) == pytest.approx(span[1], abs=1e-12)
    middle = (branch.points[:, 0].abs() < rest - 1e-6) & ~branch.is_stable
    assert bool((middle == (branch.points[:, 0].abs() < rest - 1e-6)).all())
    assert float((torch.tanh(weight * branch.points[:, 0] + branch.parameters) - branch.points[:, 0]).abs().max()) < 1e-11


def test_all_folds_of_two_coupled_units() -> None:
    """det(I - J) = 0 and h = F(h) hold at each of the eight folds that two mutually exciting units have."""
    weight = torch.tensor([[2.0, 0.3], [0.3, 1.5]], dtype=DOUBLE)
    pair = rs.System(lambda h, x: torch.tanh(h @ weight + x), 2, 2)
    along = torch.tensor([1.0, 0.5], dtype=DOUBLE)
    branch = continue_fixed_point(pair, start=torch.tensor([-1.0, -1.0]), span=(-2.0, 2.0), direction=along, max_step=0.1)
    assert [b.kind for b in branch.bifurcations] == ["fold"] * 8
    for fold in branch.bifurcations:
        assert torch.allclose(torch.tanh(fold.point @ weight + fold.parameter * along), fold.point, atol=1e-10)
        jacobian = (1 - fold.point**2)[:, None] * weight.T
        assert abs(float(torch.linalg.det(torch.eye(2, dtype=DOUBLE) - jacobian))) < 1e-6
    values = sorted(located(branch, "fold"))
    assert values == pytest.approx([-v for v in reversed(values)], abs=1e-9)  # F is odd in (h, x)


def test_flip_of_an_inhibited_unit() -> None:
    branch = continue_fixed_point(lambda p: gain_family(-p), start=torch.tensor([0.1]), span=(0.5, 1.5), max_step=0.1)
    assert located(branch, "flip") == pytest.approx([1.0], abs=1e-9)
    assert branch.bifurcations[0].parameter_error < 1e-9
    assert bool((branch.is_stable == (branch.parameters < 1)).all())


def test_neimark_sacker_of_a_rotating_pair() -> None:
    """J at rest is p·0.8·R(0.7): modulus 1 at p = 1.25, 2π/0.7 steps per turn."""
    turn = 0.8 * rotation_matrix(0.7)
    branch = continue_fixed_point(
        lambda p: rs.System(lambda h, x: torch.tanh(p * h @ turn.T), 2), start=torch.zeros(2), span=(0.5, 2.0)
    )
    (found,) = branch.bifurcations
    assert found.kind == "Neimark-Sacker"
    assert found.parameter == pytest.approx(1.25, abs=1e-9)
    assert 1 / found.rotation_number == pytest.approx(2 * math.pi / 0.7, abs=1e-8)


def test_a_pitchfork_is_a_branch_point_from_both_sides() -> None:
    trunk = continue_fixed_point(gain_family, start=torch.tensor([0.1]), span=(0.5, 1.5), max_step=0.1)
    assert located(trunk, "branch point") == pytest.approx([1.0], abs=1e-9)
    arm = continue_fixed_point(gain_family, start=torch.tensor([0.9]), span=(1.5, 0.5), max_step=0.1)
    assert located(arm, "branch point") == pytest.approx([1.0], abs=1e-6)
    assert arm.end == "left the span"
    assert float(arm.points[0]) * float(arm.points[-1]) < 0  # in along one arm, out along the other


def test_logistic_map_transcritical_and_flips() -> None:
    trunk = continue_fixed_point(logistic_family, start=torch.zeros(1), span=(0.5, 1.5), max_step=0.1)
    assert located(trunk, "branch point") == pytest.approx([1.0], abs=1e-9)
    one = continue_fixed_point(logistic_family, start=torch.tensor([0.5]), span=(2.0, 4.0), max_step=0.1)
    assert located(one, "flip") == pytest.approx([3.0], abs=1e-9)
    two = continue_fixed_point(logistic_family, start=torch.tensor([0.8]), span=(3.2, 4.0), period=2, max_step=0.1)
    assert located(two, "flip") == pytest.approx([1 + math.sqrt(6)], abs=1e-9)


def test_the_window_of_period_three_begins_with_a_fold() -> None:
    branch = continue_fixed_point(logistic_family, start=torch.tensor([0.16]), span=(3.9, 3.7), period=3, max_step=0.1)
    assert located(branch, "fold") == pytest.approx([1 + math.sqrt(8)], abs=1e-9)


def test_gain_of_a_network_scales_its_recurrent_weights() -> None:
    """An Elman network at rest at 0: it loses stability where gain · spectral radius = 1."""
    net = RecurrentSystem("tanh", 1, 6, 1, bias=False)
    before = {name: value.clone() for name, value in net.state_dict().items()}
    radius = float(torch.linalg.eigvals(net.layers[0].weight_hh_l0.detach().double()).abs().max())
    span = (0.5 / radius, 1.1 / radius)
    branch = continue_fixed_point(net, start=torch.zeros(6), span=span, parameter="gain")
    assert branch.bifurcations[0].parameter == pytest.approx(1 / radius, rel=1e-8)
    assert all(torch.equal(before[name], value) for name, value in net.state_dict().items())


def test_bad_arguments_are_refused(unchecked: None) -> None:
    unit = tanh_unit(2.0)
    with pytest.raises(ConfigError, match="span"):
        continue_fixed_point(unit, start=torch.zeros(1), span=(1.0, 1.0))
    with pytest.raises(DataError, match="Newton"):
        continue_fixed_point(rs.System(lambda h, x: h + 1 + x, 1, 1), start=torch.zeros(1), span=(0.0, 1.0))
    with pytest.raises(ShapeError, match="direction"):
        continue_fixed_point(unit, start=torch.zeros(1), span=(0.0, 1.0), direction=torch.ones(2))
    with pytest.raises(ConfigError, match="direction"):
        continue_fixed_point(rs.System(lambda h, x: h, 1, 2), start=torch.zeros(1), span=(0.0, 1.0))
    with pytest.raises(ConfigError, match="weights"):
        continue_fixed_point(unit, start=torch.zeros(1), span=(0.0, 1.0), parameter="gain")
    with pytest.raises(ConfigError, match="parameter"):
        continue_fixed_point(unit, start=torch.zeros(1), span=(0.0, 1.0), parameter="bias")
    with pytest.raises(ShapeError):
        continue_fixed_point(unit, start=torch.zeros(2), span=(0.0, 1.0))


def test_a_diagram_of_the_logistic_map_doubles_its_period() -> None:
    values = [2.8, 3.2, 3.5]
    found = bifurcation_diagram(logistic_family, values, starts=torch.tensor([[0.3], [0.6]]), num_points=16)
    counts = [len(row.flatten().mul(1e6).round().unique()) for row in found.outputs]
    assert counts == [1, 2, 4]
    assert float(found.outputs[0, 0, 0, 0]) == pytest.approx(1 - 1 / 2.8, abs=1e-9)
    assert not found.diverged.any()
    assert found.outputs.shape == (3, 2, 16, 1)


def test_following_shows_hysteresis() -> None:
    levels = [-1.0, -0.2, 0.2, 1.0, 0.2, -0.2, -1.0]
    found = bifurcation_diagram(tanh_unit(2.0), levels, starts=torch.zeros(1, 1), num_points=1, follow=True)
    assert (found.outputs.flatten() > 0).tolist() == [False, False, False, True, True, True, False]


def test_orbits_that_leave_are_marked_in_the_diagram() -> None:
    found = bifurcation_diagram(logistic_family, [3.0, 5.0], starts=torch.tensor([[0.3]]), num_points=2, follow=True)
    assert found.diverged.flatten().tolist() == [False, True]
    assert bool(found.outputs[1].isnan().all())


def test_bad_diagrams_are_refused() -> None:
    with pytest.raises(ConfigError, match="values"):
        bifurcation_diagram(logistic_family, [])
    with pytest.raises(ConfigError, match="num_points"):
        bifurcation_diagram(logistic_family, [1.0], num_points=0)
