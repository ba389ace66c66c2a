"""Named random streams."""

import json

import numpy as np
import pytest
import torch

from rnnscope.core.random import Streams, numpy_state, set_numpy_state


def numbers(streams: Streams, count: int = 8) -> list[float]:
    return streams.numpy().random(count).tolist()


def torch_numbers(streams: Streams, count: int = 8) -> list[float]:
    return torch.rand(count, generator=streams.torch(), dtype=torch.float64).tolist()


def test_the_same_path_gives_the_same_numbers() -> None:
    for draw in (numbers, torch_numbers):
        assert draw(Streams(3).at("training", "gru", 0)) == draw(Streams(3).at("training").at("gru", "0"))


def test_every_call_starts_the_stream_anew() -> None:
    streams = Streams(3, ("a",))
    assert numbers(streams) == numbers(streams)
    assert torch_numbers(streams) == torch_numbers(streams)


def test_other_names_seeds_and_orders_give_other_numbers() -> None:
    streams = [
        Streams(0),
        Streams(1),
        Streams(0).at("a"),
        Streams(0).at("b"),
        Streams(0).at("a", "b"),
        Streams(0).at("b", "a"),
        Streams(0).at("ab"),
        Streams(0).at("a", "b", ""),
        Streams(2**64),
    ]
    for draw in (numbers, torch_numbers):
        assert len({tuple(draw(s)) for s in streams}) == len(streams)


def test_streams_of_neighbouring_names_are_uncorrelated() -> None:
    count = 20_000
    found = np.array([Streams(0).at("model", i).numpy().standard_normal(count) for i in range(6)])
    correlation = np.corrcoef(found) - np.eye(6)
    assert np.abs(correlation).max() < 4 / np.sqrt(count)


def test_drawing_from_one_stream_does_not_shift_another() -> None:
    before = numbers(Streams(5).at("b"))
    Streams(5).at("a").numpy().random(100)
    Streams(5).at("a").torch()
    assert numbers(Streams(5).at("b")) == before


def test_no_global_generator_is_touched() -> None:
    before = torch.get_rng_state(), repr(np.random.get_state())  # noqa: NPY002
    numbers(Streams(1).at("x"))
    torch_numbers(Streams(1).at("x"))
    assert torch.equal(torch.get_rng_state(), before[0])
    assert repr(np.random.get_state()) == before[1]  # noqa: NPY002


@pytest.mark.parametrize("drawn", [0, 1, 2])
def test_a_numpy_generator_goes_on_from_its_kept_state(drawn: int) -> None:
    first, second = Streams(0).at("a").numpy(), Streams(0).at("b").numpy()
    first.permutation(10)
    first.integers(100, size=drawn, dtype=np.uint32)  # after an odd number, half a word is kept aside
    set_numpy_state(second, json.loads(json.dumps(numpy_state(first))))
    assert first.integers(2**31, size=5, dtype=np.uint32).tolist() == second.integers(2**31, size=5, dtype=np.uint32).tolist()
    assert first.permutation(50).tolist() == second.permutation(50).tolist()
