"""Sequences of unequal length in one tensor."""

import pytest
import torch

import rnnscope as rs
from rnnscope.core.interfaces import Signature
from rnnscope.core.padding import last_steps, real_steps


def test_real_steps_are_those_within_each_length():
    lengths = torch.tensor([4, 1, 3])
    assert real_steps(lengths, 4).sum(1).tolist() == lengths.tolist()
    assert not real_steps(lengths, 4)[1, 1:].any()


def test_last_steps_are_those_of_each_row_alone(rng):
    values, lengths = torch.randn(5, 7, 2, generator=rng), torch.tensor([7, 2, 3, 6, 4])
    found = last_steps(values, lengths, 2)
    for row, length in enumerate(lengths.tolist()):
        torch.testing.assert_close(found[row], values[row, length - 2 : length])


def test_a_row_shorter_than_asked_repeats_its_first_step():
    found = last_steps(torch.arange(3.0).reshape(1, 3, 1), torch.tensor([2]), 3)
    assert found.flatten().tolist() == [0.0, 0.0, 1.0]


@pytest.mark.parametrize("skip", [0, 2])
@pytest.mark.parametrize("spec", [rs.Elman, rs.GRU, rs.LSTM])
def test_padding_never_changes_an_output(spec, skip, rng):
    model = spec(hidden_size=5, num_layers=2, skip=skip).build(Signature(3, 4), rng).eval()
    inputs, lengths = torch.randn(6, 9, 3, generator=rng), torch.tensor([9, 1, 4, 7, 2, 9])
    together = model(inputs, lengths, last=1)
    for row, length in enumerate(lengths.tolist()):
        alone = model(inputs[row : row + 1, :length], last=1)
        torch.testing.assert_close(together[row : row + 1], alone, rtol=1e-5, atol=1e-6)
