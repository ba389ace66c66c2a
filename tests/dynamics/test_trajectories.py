"""Trajectories and the space that they fill, against systems whose paths are known."""

import math
from typing import Any

import numpy as np
import pytest
import torch

import rnnscope as rs
from known_systems import DOUBLE, linear_map, rotation, rotation_matrix
from rnnscope.core.system import rollout
from rnnscope.dynamics.trajectories import trajectories


def test_paths_are_powers_of_the_matrix() -> None:
    matrix = 0.9 * rotation_matrix(0.4)
    starts = torch.randn(5, 2, generator=torch.Generator().manual_seed(0), dtype=DOUBLE)
    found = trajectories(linear_map(matrix), starts=starts, num_steps=12)
    powers = torch.stack([torch.linalg.matrix_power(matrix, t) for t in range(1, 13)])
    torch.testing.assert_close(found.states, torch.einsum("tij,bj->bti", powers, starts))
    assert torch.equal(found.outputs, found.states)
    assert found.inputs.shape == (5, 12, 0)


def test_inputs_drive_from_the_initial_state() -> None:
    system = rs.as_system(torch.nn.GRU(2, 3), torch.nn.Linear(3, 4))
    inputs = torch.randn(4, 20, 2, generator=torch.Generator().manual_seed(0))
    found = trajectories(system, inputs)
    wanted = rollout(system.double(), inputs.double(), fused=False)
    assert wanted.states is not None
    torch.testing.assert_close(found.states, wanted.states.detach())
    torch.testing.assert_close(found.outputs, wanted.outputs.detach())


def test_a_ring_fills_two_dimensions_and_a_line_one() -> None:
    ring = trajectories(rotation(0.1), starts=torch.tensor([[1.0, 0.0]], dtype=DOUBLE), num_steps=63 * 50)
    assert ring.components.participation_ratio == pytest.approx(2, abs=1e-3)
    assert ring.num_components == 2
    assert ring.activity_sd.tolist() == pytest.approx([math.sqrt(0.5)] * 2, abs=1e-2)
    line = trajectories(linear_map(torch.diag(torch.tensor([0.99, 0.0], dtype=DOUBLE))), num_steps=50)
    assert line.components.participation_ratio == pytest.approx(1)
    assert line.num_components == 1
    assert line.summary.startswith("2 state variables fill 1.0 dimensions")
    assert line.summary.endswith("1 principal component holds 95 % of the variance")
    assert line.is_silent.tolist() == [False, True]


def test_means_and_deviations_are_over_all_states() -> None:
    found = trajectories(linear_map(0.5 * torch.eye(3, dtype=DOUBLE), torch.eye(3, dtype=DOUBLE)), input_sd=0.7, num_steps=90)
    flat = found.states.reshape(-1, 3).numpy()
    np.testing.assert_allclose(found.mean_activity, flat.mean(0), atol=1e-12)
    np.testing.assert_allclose(found.activity_sd, flat.std(0), atol=1e-12)
    assert found.inputs.std() == pytest.approx(0.7, rel=0.05)
    later = found.states[:, 9:].reshape(-1, 3).numpy()
    np.testing.assert_allclose(found.components.variances.sum(), np.trace(np.cov(later.T)))


@pytest.mark.parametrize(("value", "size"), [(0.0, 3), (0.3, 2), (1e6 + 0.1, 1)])
def test_a_system_at_rest_fills_nothing(value: float, size: int) -> None:
    still = rs.System(lambda h, _: torch.full_like(h, value), size, dtype=DOUBLE)
    found = trajectories(still, num_steps=30)
    assert found.num_components == 0
    assert found.is_silent.all()
    assert found.summary == ("the state variable does not move" if size == 1 else f"none of {size} state variables moves")


def test_the_generator_decides_and_the_system_stays() -> None:
    system = rs.as_system(torch.nn.LSTM(1, 3)).train()
    before = {k: v.clone() for k, v in system.state_dict().items()}
    one, same, other = (trajectories(system, input_sd=1.0, rng=torch.Generator().manual_seed(s)) for s in (0, 0, 1))
    assert torch.equal(one.states, same.states)
    assert not torch.equal(one.states, other.states)
    assert one.states.shape == (32, 200, 6)
    assert system.training
    assert all(p.requires_grad and p.dtype == torch.float32 for p in system.parameters())
    assert all(torch.equal(before[k], v) for k, v in system.state_dict().items())


@pytest.mark.parametrize("fields", [{"num_trajectories": 0}, {"num_steps": 0}, {"input_sd": -1.0}])
def test_numbers_out_of_range_are_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(rs.ConfigError, match=next(iter(fields))):
        trajectories(rotation(0.1), **fields)


def test_arrays_that_do_not_fit_are_refused(unchecked: None) -> None:
    with pytest.raises(rs.ShapeError, match="starts"):
        trajectories(rotation(0.1), starts=torch.zeros(3, 5))
    with pytest.raises(rs.ShapeError, match="inputs"):
        trajectories(rs.as_system(torch.nn.GRU(2, 3)), torch.zeros(3, 5, 4))


def test_paths_that_leave_the_finite_numbers_are_refused() -> None:
    with pytest.raises(rs.DataError, match="finite"):
        trajectories(linear_map(1e3 * torch.eye(2, dtype=DOUBLE)), starts=torch.ones(1, 2), num_steps=200)
