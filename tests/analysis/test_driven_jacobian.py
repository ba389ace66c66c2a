"""Jacobians along driven paths and their eigenvalues."""

import math

import pytest
import torch

from known_systems import DOUBLE, linear_map, rotation_matrix
from rnnscope.analysis.driven_jacobian import driven_spectra, spectra
from rnnscope.core.driven import drive
from rnnscope.core.jacobians import input_jacobians, readout_jacobians, state_jacobians
from rnnscope.models.recurrent_systems import RecurrentSystem

W_H = {"two_19.4": (4.045, 5), "three_27.3": (4.331, 5), "three_27.9": (6.036, 4), "three_31.9": (3.810, 8)}
W_H |= {"four_33.2": (3.397, 9), "five_37.3": (8.126, 20)}
# mean radius and mean number outside, at (h, 0) and at (h, x)
DRIVEN = {"two_19.4": (0.867, 0.14, 0.89, 0.26), "three_27.3": (0.786, 0.19, 0.86, 0.31), "five_37.3": (0.983, 0.75, 1.0, 0.6)}


def drawn(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=DOUBLE)


def test_the_jacobian_of_a_linear_map_is_its_matrix() -> None:
    matrix, drive_matrix = drawn(3, 3), drawn(3, 2, seed=1)
    system = linear_map(matrix, drive_matrix)
    states, inputs = drawn(5, 3, seed=2), drawn(5, 2, seed=3)
    torch.testing.assert_close(state_jacobians(system, states, inputs), matrix.expand(5, 3, 3))
    torch.testing.assert_close(input_jacobians(system, states, inputs, chunk=2), drive_matrix.expand(5, 3, 2))
    torch.testing.assert_close(readout_jacobians(system, states), torch.eye(3, dtype=DOUBLE).expand(5, 3, 3))
    assert not states.requires_grad


def test_the_jacobian_of_a_tanh_network_is_the_closed_form() -> None:
    system = RecurrentSystem("tanh", 2, 4, 3).double().requires_grad_(False)
    states, inputs = drawn(6, 4), drawn(6, 2, seed=1)
    weights = system.recurrent_layers()[0].weight_hh_l0
    wanted = (1 - system.step(states, inputs) ** 2)[:, :, None] * weights
    with torch.no_grad():
        torch.testing.assert_close(state_jacobians(system, states, inputs), wanted)


@pytest.mark.parametrize("kind", ["gru", "lstm"])
def test_the_jacobian_of_gated_networks_is_the_finite_difference(kind: str) -> None:
    system = RecurrentSystem(kind, 2, 3, 2, num_layers=2).double()
    states, inputs = drawn(1, system.state_size), drawn(1, 2, seed=1)
    found, nudge = state_jacobians(system, states, inputs)[0], 1e-6 * torch.eye(system.state_size, dtype=DOUBLE)
    rows = inputs.expand(len(nudge), -1)
    with torch.no_grad():
        wanted = (system.step(states + nudge, rows) - system.step(states - nudge, rows)).T / 2e-6
    torch.testing.assert_close(found, wanted, atol=1e-8, rtol=1e-6)
    assert all(p.grad is None for p in system.parameters())


def test_the_jacobian_of_a_relu_network_is_the_active_rows(early, rng: torch.Generator) -> None:
    system = early("two_19.4")
    paths = drive(system, 1, 20, rng, keep_inputs=True)
    wanted = (paths.states[:, 0] > 0)[:, :, None] * system.recurrent_layers()[0].weight_hh_l0
    assert torch.equal(state_jacobians(system, paths.start, paths.inputs[:, 0]), wanted)


def test_cutting_zero_rows_and_columns_changes_no_eigenvalue() -> None:
    matrices = drawn(7, 12, 12)
    rows, columns = drawn(7, 12, seed=1) > 0, drawn(7, 12, seed=2) > -1
    matrices = matrices * rows[:, :, None] * columns[:, None, :]
    found, wanted = spectra(matrices), torch.linalg.eigvals(matrices)
    for mine, theirs in zip(found.eigenvalues, wanted, strict=True):
        kept = theirs.abs().sort(descending=True).values[: len(mine)]
        torch.testing.assert_close(mine.abs(), kept, atol=1e-6, rtol=0.0)
    assert found.num_unstable.tolist() == (wanted.abs() > 1).sum(1).tolist()
    torch.testing.assert_close(found.active_share, (matrices != 0).any(2).double().mean(1))


def test_a_stack_of_zero_matrices_has_radius_zero() -> None:
    found = spectra(torch.zeros(3, 4, 4))
    assert found.spectral_radius.tolist() == [0.0, 0.0, 0.0]
    assert found.summary["num_unstable"] == 0.0


def test_critical_pairs_are_complex_and_near_the_circle_or_outside() -> None:
    turns = [0.95 * rotation_matrix(0.5), 0.5 * rotation_matrix(0.5), 1.2 * rotation_matrix(2.0), torch.eye(2, dtype=DOUBLE)]
    found = spectra(torch.stack(turns))
    assert found.num_critical_pairs.tolist() == [1, 0, 1, 0]
    assert found.num_unstable.tolist() == [0, 0, 2, 0]
    assert found.spectral_radius.tolist() == pytest.approx([0.95, 0.5, 1.2, 1.0])


@pytest.mark.parametrize(("name", "wanted"), W_H.items())
def test_recurrent_matrices_of_the_early_networks(early, name: str, wanted: tuple[float, int]) -> None:
    found = spectra(early(name).recurrent_layers()[0].weight_hh_l0[None])
    assert float(found.spectral_radius[0]) == pytest.approx(wanted[0], abs=1e-3)
    assert int(found.num_unstable[0]) == wanted[1]


@pytest.mark.parametrize(("name", "wanted"), DRIVEN.items())
def test_driven_spectra_of_the_early_networks(early, name: str, wanted: tuple[float, ...], rng: torch.Generator) -> None:
    paths = drive(early(name), 1, 500, rng, keep_inputs=True)
    silent = driven_spectra(early(name), paths.start, torch.zeros_like(paths.inputs[:, 0])).summary
    noisy = driven_spectra(early(name), paths.start, paths.inputs[:, 0]).summary
    found = [s[k] for s in (silent, noisy) for k in ("radius", "num_unstable")]
    assert found == pytest.approx(wanted, abs=0.12)
    assert noisy["lowest_radius"] < noisy["radius"] < noisy["highest_radius"]
    assert math.isclose(noisy["active_share"], 0.18, abs_tol=0.04)
