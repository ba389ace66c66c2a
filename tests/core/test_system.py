"""Systems from plain functions against their closed forms, and what the loop over them refuses."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor

import rnnscope as rs
from known_systems import (
    DOUBLE,
    HENON_B,
    henon,
    henon_fixed_points,
    line_attractor,
    linear_map,
    logistic,
    logistic_orbit,
    rotation,
    rotation_matrix,
)


def nothing(batch: int, steps: int) -> Tensor:
    return torch.zeros(batch, steps, 0, dtype=DOUBLE)


def orbit(system: rs.DynamicalSystem, start: Tensor, steps: int) -> Tensor:
    states = rs.rollout(system, nothing(len(start), steps), start).states
    assert states is not None
    return states


def jacobian(system: rs.DynamicalSystem, state: Tensor) -> Tensor:
    return torch.autograd.functional.jacobian(lambda h: system.step(h[None], nothing(1, 1)[:, 0])[0], state)


def test_a_linear_map_is_the_power_of_its_matrix() -> None:
    matrix = torch.tensor([[0.5, 0.4], [-0.3, 0.9]], dtype=DOUBLE)
    start = torch.tensor([[1.0, -2.0], [0.3, 0.1]], dtype=DOUBLE)
    states = orbit(linear_map(matrix), start, 9)
    for n in range(9):
        torch.testing.assert_close(states[:, n], start @ torch.linalg.matrix_power(matrix, n + 1).T)


def test_a_driven_linear_map_is_a_sum_over_its_past() -> None:
    matrix, drive = torch.tensor([[0.5, 0.4], [-0.3, 0.9]], dtype=DOUBLE), torch.tensor([[1.0], [2.0]], dtype=DOUBLE)
    inputs = torch.sin(torch.arange(7, dtype=DOUBLE)).reshape(1, 7, 1)
    final = rs.rollout(linear_map(matrix, drive), inputs).final_state[0]
    wanted = sum(torch.linalg.matrix_power(matrix, 6 - k) @ drive @ inputs[0, k] for k in range(7))
    torch.testing.assert_close(final, wanted)


def test_a_rotation_turns_by_its_angle_and_keeps_lengths() -> None:
    start = torch.tensor([[1.0, 2.0]], dtype=DOUBLE)
    states = orbit(rotation(2 * math.pi / 12), start, 12)
    torch.testing.assert_close(states[:, -1], start)
    torch.testing.assert_close(states[:, 4], start @ rotation_matrix(5 * 2 * math.pi / 12).T)
    torch.testing.assert_close(states.norm(dim=-1), start.norm().expand(1, 12))


def test_fixed_points_of_the_henon_map_stay_and_areas_shrink_by_b() -> None:
    points = henon_fixed_points()
    torch.testing.assert_close(henon().step(points, nothing(2, 1)[:, 0]), points, rtol=0, atol=1e-14)
    assert torch.linalg.det(jacobian(henon(), torch.tensor([0.3, -0.2], dtype=DOUBLE))) == pytest.approx(-HENON_B)


def test_the_logistic_orbit_is_the_squared_sine_of_doubled_angles() -> None:
    states = orbit(logistic(), logistic().initial_state(1), 20)
    np.testing.assert_allclose(states[0, :, 0], logistic_orbit(0.3, 20)[1:], atol=1e-8)  # errors double at every step


def test_points_of_a_line_attractor_stay_and_others_approach_it() -> None:
    direction = torch.tensor([3.0, 4.0], dtype=DOUBLE)
    system = line_attractor(direction, decay=0.5)
    on = torch.tensor([[-2.0], [0.0], [1.5]], dtype=DOUBLE) * direction
    torch.testing.assert_close(system.step(on, nothing(3, 1)[:, 0]), on)
    across = torch.tensor([[4.0, -3.0]], dtype=DOUBLE)
    torch.testing.assert_close(orbit(system, on[2:] + across, 6)[:, -1], on[2:] + 0.5**6 * across)
    moduli = torch.linalg.eigvals(jacobian(system, on[1])).abs().sort().values
    torch.testing.assert_close(moduli, torch.tensor([0.5, 1.0], dtype=DOUBLE))


def test_a_system_reads_out_its_state_unless_told_otherwise() -> None:
    plain = rs.System(lambda h, x: h + x, 2, 2)
    assert plain.output_size == 2
    summed = rs.System(lambda h, x: h + x, 2, 2, readout=lambda h: h.sum(-1, keepdim=True), output_size=1)
    inputs = torch.ones(3, 4, 2)
    assert torch.equal(rs.rollout(plain, inputs).outputs.sum(-1, keepdim=True), rs.rollout(summed, inputs).outputs)


def test_a_system_starts_where_it_is_told() -> None:
    start = torch.tensor([1.0, 2.0])
    system = rs.System(lambda h, x: h, 2, initial=start, dtype=DOUBLE)
    start += 1
    assert system.initial_state(2).tolist() == [[1.0, 2.0], [1.0, 2.0]]
    assert system.initial_state(1).dtype == DOUBLE


def test_rollout_keeps_states_only_when_asked() -> None:
    system = rs.System(lambda h, x: 0.5 * h + x, 1, 1)
    with_states = rs.rollout(system, torch.ones(1, 3, 1))
    without = rs.rollout(system, torch.ones(1, 3, 1), keep_states=False)
    assert with_states.states is not None
    assert without.states is None
    assert with_states.outputs.flatten().tolist() == without.outputs.flatten().tolist() == [1.0, 1.5, 1.75]


def test_a_system_of_the_wrong_shape_is_refused() -> None:
    with pytest.raises(rs.ShapeError, match=r"\(3,\)"):
        rs.System(lambda h, x: h, 3, initial=torch.zeros(2))
    narrowing = rs.System(lambda h, x: h[:, :1], 2)
    with pytest.raises(rs.ShapeError, match="the same shape"):
        rs.rollout(narrowing, torch.zeros(1, 1, 0))
