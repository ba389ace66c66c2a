"""Principal components, and relaxation without input."""

import pytest
import torch

import rnnscope as rs
from known_systems import DOUBLE, linear_map, rotation, rotation_matrix
from rnnscope.analysis.relaxations import relaxations
from rnnscope.core.driven import drive
from rnnscope.core.errors import DataError
from rnnscope.dynamics.components import principal_components


def cloud(scales: tuple[float, ...], count: int = 20000) -> torch.Tensor:
    drawn = torch.randn(count, len(scales), generator=torch.Generator().manual_seed(1), dtype=DOUBLE)
    return drawn * torch.tensor(scales, dtype=DOUBLE)


def test_components_are_those_of_the_singular_value_decomposition() -> None:
    states = cloud((3.0, 1.0, 2.0)) @ torch.linalg.qr(torch.arange(9.0, dtype=DOUBLE).reshape(3, 3).sin())[0] + 5
    found = principal_components(states)
    _, values, axes = torch.linalg.svd(states - states.mean(0), full_matrices=False)
    torch.testing.assert_close(found.variances, values**2 / (len(states) - 1))
    torch.testing.assert_close((found.axes * axes).sum(1).abs(), torch.ones(3, dtype=DOUBLE))
    torch.testing.assert_close(found.project(states, 3) @ found.axes + found.mean, states)
    assert float(found.explained_variance_ratio.sum()) == pytest.approx(1.0)


def test_participation_counts_the_directions_of_a_ball() -> None:
    assert principal_components(cloud((1.0,) * 5)).participation_ratio == pytest.approx(5, abs=0.01)
    assert principal_components(cloud((1.0, 0.0, 0.0))).participation_ratio == pytest.approx(1.0)


def test_components_of_one_state_or_of_infinities_are_refused() -> None:
    for states in (torch.zeros(1, 3), torch.full((4, 3), torch.inf)):
        with pytest.raises(DataError):
            principal_components(states)


def test_relaxation_of_a_contraction_takes_the_steps_that_its_factor_says() -> None:
    """0.5^n <= 1/1000 first at n = 10."""
    found = relaxations(linear_map(0.5 * torch.eye(2, dtype=DOUBLE)), torch.eye(2, dtype=DOUBLE), 60)
    assert found.steps_to_rest.tolist() == [10, 10]
    assert found.settled.all()
    assert found.symbols[:, 0].tolist() == [0, 1]
    assert found.steps_to_settle.tolist() == [0, 0]


def test_outputs_settle_after_their_last_change() -> None:
    """A quarter turn per step while shrinking: the larger coordinate changes until rest, and argmax with it."""
    found = relaxations(linear_map(0.5 * rotation_matrix(torch.pi / 2)), torch.tensor([[1.0, 0.2]], dtype=DOUBLE), 60)
    assert 8 <= int(found.steps_to_settle[0]) <= int(found.steps_to_rest[0])


def test_a_rotation_never_settles() -> None:
    found = relaxations(rotation(0.3), torch.tensor([[1.0, 0.0]], dtype=DOUBLE), 50)
    assert not found.settled.any()
    assert found.steps_to_rest.tolist() == [51]


@pytest.mark.parametrize(
    ("name", "shares"),
    [
        ("two_19.4", (0.511, 0.190)),
        ("three_27.3", (0.48, 0.36)),
        ("three_27.9", (0.577, 0.172)),
        ("three_31.9", (0.874, 0.071)),
        ("four_33.2", (0.860, 0.061)),
        ("five_37.3", (0.765, 0.085)),
    ],
)
def test_components_of_the_early_networks(early, name: str, shares: tuple[float, float], rng: torch.Generator) -> None:
    found = principal_components(drive(early(name), 100, 150, rng).states)
    assert found.explained_variance_ratio[:2].tolist() == pytest.approx(shares, abs=0.06)


def test_the_early_networks_come_to_rest_at_zero(early, rng: torch.Generator) -> None:
    starts = drive(early("two_19.4"), 1, 20, rng).final_state
    found = relaxations(early("two_19.4"), starts, 200)
    assert found.settled.all()
    assert float(found.rest.abs().max()) < 1e-15


def test_any_network_can_be_looked_at(rng: torch.Generator) -> None:
    from rnnscope.models.recurrent_systems import RecurrentSystem

    for kind in ("tanh", "gru", "lstm"):
        system: rs.DynamicalSystem = RecurrentSystem(kind, 3, 5, 2).requires_grad_(False)
        paths = drive(system, 20, 10, rng)
        assert principal_components(paths.states).axes.shape == (system.state_size, system.state_size)
