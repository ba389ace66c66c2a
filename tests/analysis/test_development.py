"""Development over checkpoints, and the epoch at which the loss drops."""

import numpy as np
import pytest
import torch

from known_systems import DOUBLE, linear_map
from rnnscope.analysis.development import development, drop_epoch
from rnnscope.core.errors import DataError


def test_checkpoints_are_measured_in_order_of_their_epochs(rng: torch.Generator) -> None:
    drive = torch.eye(2, dtype=DOUBLE)
    slow, fast = (linear_map(torch.diag(torch.tensor(d, dtype=DOUBLE)), drive) for d in ((0.95, 0.1), (0.1, 0.1)))
    found = development([(50, slow), (1, fast)], rng)
    assert found.epochs.tolist() == [1, 50]
    assert found.radius.tolist() == pytest.approx([0.1, 0.95])
    assert found.unstable_share.tolist() == [0.0, 0.0]
    assert float(found.variance_shares[1, 0]) > 0.85 > float(found.variance_shares[0, 0])
    assert float(found.switch_rate[0]) > float(found.switch_rate[1])
    torch.testing.assert_close(found.symbol_shares.sum(1), torch.ones(2, dtype=DOUBLE))


def test_development_without_checkpoints_is_refused(rng: torch.Generator) -> None:
    with pytest.raises(DataError, match="checkpoints"):
        development([], rng)


def test_development_of_early_networks(early, rng: torch.Generator) -> None:
    found = development([(1, early("four_33.2")), (2, early("two_19.4"))], rng, num_steps=60, num_paths=60)
    assert found.variance_shares[:, 0].tolist() == pytest.approx([0.86, 0.51], abs=0.06)
    assert found.mean_norm.tolist() == pytest.approx([22.1, 8.0], rel=0.15)


def plateau(noise: float, at: int = 180, depth: float = 6.0) -> np.ndarray:
    """A fall from 49 to 13, a plateau, a fall to `depth` over 20 epochs from epoch `at`, a second plateau."""
    first = 36 * np.exp(-np.arange(at) / 5) + 13
    loss = np.concatenate([first, np.linspace(13, depth, 20), np.full(100, depth)])
    return loss * np.exp(noise * np.random.default_rng(0).standard_normal(len(loss)))


@pytest.mark.parametrize("noise", [0.0, 0.02])
@pytest.mark.parametrize("at", [120, 180, 400])
def test_the_drop_is_found_where_it_was_put(noise: float, at: int) -> None:
    found = drop_epoch(plateau(noise, at))
    assert found.epoch is not None
    assert found.steepest is not None
    assert abs(found.epoch - at) <= found.window + 3
    assert at <= found.steepest <= at + 20
    assert found.plateau is not None
    assert 10 < found.plateau < 60
    assert found.drop > 0.1


def test_the_first_fall_is_no_drop_from_a_plateau() -> None:
    found = drop_epoch(plateau(0.02)[:175])
    assert found.epoch is None
    assert found.reason.startswith("none found")


def test_a_loss_that_always_falls_has_no_plateau() -> None:
    assert "no plateau" in drop_epoch(np.exp(-np.arange(300) / 50)).reason


@pytest.mark.parametrize("losses", [[1.0, 0.5], [1.0] * 20 + [0.0], [1.0] * 20 + [float("nan")]])
def test_losses_that_cannot_be_judged_say_so(losses: list[float]) -> None:
    assert drop_epoch(losses).epoch is None
    assert "needs" in drop_epoch(losses).reason
