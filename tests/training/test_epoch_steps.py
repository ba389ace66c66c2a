"""Epochs of so many steps along a stream: they go on where the last one ended, and a resumed run does too."""

import itertools

import pytest
import torch

import rnnscope as rs
from rnnscope.core.random import Streams
from rnnscope.training.rates import epoch_chunks


def test_an_epoch_without_a_number_of_steps_is_one_pass() -> None:
    found = epoch_chunks([25, 10], 10, epoch=3, steps=0)
    assert [(n, p.start, p.stop) for n, p in found] == [(0, 0, 10), (0, 10, 20), (0, 20, 25), (1, 0, 10)]


@pytest.mark.parametrize("steps", [1, 2, 3, 7, 10])
def test_epochs_follow_one_another_around_the_streams(steps: int) -> None:
    whole = epoch_chunks([25, 10], 10, 0, 0)
    walked = [chunk for epoch in range(12) for chunk in epoch_chunks([25, 10], 10, epoch, steps)]
    assert walked == list(itertools.islice(itertools.cycle(whole), 12 * steps))


def start(data: rs.TextData, epochs: int = 4) -> object:
    model = rs.GRU(hidden_size=4, num_layers=1).build(data.signature, torch.Generator().manual_seed(0))
    settings = rs.BPTT(carry_state=True, truncation=10, batch_size=2, epochs=epochs, epoch_steps=3)
    return settings.start(model, data, Streams(0))


def test_a_resumed_run_goes_on_to_the_same_numbers() -> None:
    data = rs.text_data("hello world " * 30, validation_share=0.2, test_share=0.2, window=10)
    whole = list(start(data))
    first, second = start(data), start(data)
    early = list(itertools.islice(iter(first), 2))
    second.restore(first.checkpoint())
    values = [{k: v for k, v in r.values.items() if k != "seconds"} for r in [*early, *second]]
    assert values == [{k: v for k, v in r.values.items() if k != "seconds"} for r in whole]
