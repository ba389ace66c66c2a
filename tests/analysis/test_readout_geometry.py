"""Readout against principal planes, and planes of pairs of outputs."""

import pytest
import torch

import rnnscope as rs
from known_systems import DOUBLE
from rnnscope.analysis.readout_geometry import pair_planes, principal_angles, readout_alignment, readout_matrix
from rnnscope.core.driven import drive
from rnnscope.core.errors import DataError
from rnnscope.dynamics.components import principal_components
from rnnscope.models.recurrent_systems import RecurrentSystem


def drawn(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=DOUBLE)


def read_by(matrix: torch.Tensor) -> rs.System:
    size = matrix.shape[1]
    return rs.System(lambda h, x: 0.5 * h, size, readout=lambda h: h @ matrix.T, output_size=len(matrix), dtype=DOUBLE)


def test_angles_between_a_plane_and_a_tilted_one_are_zero_and_the_tilt() -> None:
    tilt = torch.tensor(0.7, dtype=DOUBLE)
    plane = torch.eye(4, dtype=DOUBLE)[:2]
    tilted = torch.stack([plane[0] * 3, torch.stack([torch.zeros(()), tilt.cos(), tilt.sin(), torch.zeros(())]).double()])
    found = principal_angles(plane, tilted)
    assert found.tolist() == pytest.approx([0.0, float(torch.rad2deg(tilt))], abs=1e-5)
    assert len(principal_angles(plane, torch.ones(3, 4, dtype=DOUBLE))) == 1


def test_a_linear_readout_is_found_and_said_to_be_linear() -> None:
    matrix = drawn(3, 6)
    found, deviation = readout_matrix(read_by(matrix), drawn(5, 6, seed=1))
    torch.testing.assert_close(found, matrix)
    assert deviation < 1e-12
    bent = rs.System(lambda h, x: h, 6, readout=lambda h: (h @ matrix.T) ** 2, output_size=3, dtype=DOUBLE)
    assert readout_matrix(bent, drawn(5, 6, seed=1))[1] > 0.1


def test_alignment_of_a_readout_inside_the_plane_and_of_one_outside() -> None:
    states = drawn(4000, 5) * torch.tensor([9.0, 5.0, 1.0, 0.5, 0.1], dtype=DOUBLE)
    components = principal_components(states)
    rows = torch.stack([torch.zeros(5, dtype=DOUBLE), components.axes[0] + components.axes[1], components.axes[3]])
    found = readout_alignment(read_by(rows), states[:4], components)
    assert found.pairs.tolist() == [[0, 1], [0, 2], [1, 2]]
    assert found.inside.tolist() == pytest.approx([1.0, 0.0, 2 / 3], abs=1e-9)
    assert found.variance_inside[:2].tolist() == pytest.approx([1.0, 0.0], abs=1e-9)
    assert found.angles.tolist() == pytest.approx([0.0, 90.0], abs=1e-4)
    assert found.chance == pytest.approx(0.4)


def test_a_readout_with_one_output_has_no_differences() -> None:
    with pytest.raises(DataError, match="two"):
        readout_alignment(read_by(torch.ones(1, 3, dtype=DOUBLE)), drawn(2, 3), principal_components(drawn(9, 3)))


def test_changes_that_happen_in_planes_of_their_own_have_right_angles_between_them() -> None:
    """Symbols 0 and 1 alternate in the first half of every path, in dimensions 0 and 1; then 1 and 2 in dimensions 2 and 3."""
    noise = drawn(20, 400, 5)
    scale = torch.tensor([1.0, 1.0, 0, 0, 0], dtype=DOUBLE), torch.tensor([0, 0, 1.0, 1.0, 0.01], dtype=DOUBLE)
    states = torch.cat([noise[:, :200] * scale[0], noise[:, 200:] * scale[1]], 1)
    beat = torch.arange(200) // 10 % 2
    symbols = torch.cat([beat, 1 + beat]).expand(20, -1).to(torch.int16)
    found = pair_planes(states, symbols, 3, window=4)
    assert found.pairs.tolist() == [[0, 1], [1, 2]]
    assert found.skipped.tolist() == [[0, 2]]
    assert found.num_switches.tolist() == [20 * 19, 20 * 19]
    assert found.plane_share.tolist() == pytest.approx([1.0, 1.0], abs=1e-3)
    assert found.total_share.tolist() == pytest.approx([0.5, 0.5], abs=0.03)
    assert found.angles[0, 1].tolist() == pytest.approx([90.0, 90.0], abs=0.5)
    assert found.angles[1, 1].tolist() == pytest.approx([0.0, 0.0], abs=1e-4)


def test_pairs_without_changes_leave_an_empty_result() -> None:
    found = pair_planes(drawn(3, 30, 4), torch.zeros(3, 30, dtype=torch.int16), 2)
    assert len(found.pairs) == 0
    assert found.angles.shape == (0, 0, 2)


def test_the_plane_of_an_early_network_holds_more_of_the_readout_than_chance(early, rng: torch.Generator) -> None:
    system: RecurrentSystem = early("two_19.4")
    states = drive(system, 60, 60, rng).states
    found = readout_alignment(system, states[:, 0], principal_components(states))
    assert found.deviation < 1e-6
    assert float(found.inside[1]) > 5 * found.chance
    assert float(found.variance_inside[1]) > 0.5
