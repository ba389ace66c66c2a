"""Dropout: what is kept keeps the mean, and only a training network with a generator drops anything."""

import pytest
import torch

from rnnscope.models.dropout import dropped


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def test_the_share_that_is_dropped_is_the_one_asked_for_and_the_mean_stays():
    found = dropped(torch.ones(200, 500), 0.3, generator(), True)
    assert (found == 0).double().mean() == pytest.approx(0.3, abs=0.01)
    torch.testing.assert_close(found.unique(), torch.tensor([0.0, 1 / 0.7]))
    assert found.mean() == pytest.approx(1, abs=0.02)


def test_nothing_is_dropped_outside_training_without_a_share_or_without_a_generator():
    values = torch.arange(6.0)
    rng = generator()
    for share, own, training in ((0.5, rng, False), (0.0, rng, True), (0.5, None, True)):
        assert dropped(values, share, own, training) is values
    assert torch.equal(rng.get_state(), generator().get_state())
