"""The closed loop of many streams is the compiled loop of each."""

import itertools

import pytest
import torch
from torch import Tensor

from rnnscope.numerics.batched import batched_closed_loop
from rnnscope.numerics.kernels import PackedNetwork, closed_loop

GATES = {"tanh": 1, "relu": 1, "gru": 3, "lstm": 4}
BATCH, STEPS, OUTPUTS = 5, 9, 2


def drawn(*shape: int, seed: int, dtype: torch.dtype) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return (torch.rand(shape, generator=generator, dtype=torch.float64) - 0.5).to(dtype)


@pytest.mark.parametrize("kind", GATES)
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-6), (torch.float64, 1e-12)], ids=["float32", "float64"])
def test_many_streams_are_as_many_single_ones(kind: str, dtype: torch.dtype, tolerance: float) -> None:
    for layers, (inputs, size), taps, exogenous in itertools.product((1, 3), ((1, 4), (5, 3)), (0, 2), (0, 2)):
        gates, width = GATES[kind] * size, size * (2 if kind == "lstm" else 1)
        drive = drawn(layers, max(inputs, size), gates, seed=1, dtype=dtype)
        drive[0, inputs:] = 0
        network = PackedNetwork(
            kind,
            drive,
            drawn(layers, size, gates, seed=2, dtype=dtype),
            drawn(layers, 2, gates, seed=3, dtype=dtype),
            drawn(size + taps * inputs, OUTPUTS, seed=4, dtype=dtype),
            drawn(OUTPUTS, seed=5, dtype=dtype),
        )
        state, held = drawn(BATCH, layers, width, seed=6, dtype=dtype), drawn(BATCH, taps, inputs, seed=7, dtype=dtype)
        fed, known = drawn(BATCH, inputs, seed=8, dtype=dtype), drawn(BATCH, STEPS, exogenous, seed=9, dtype=dtype)
        sizes = ((inputs, inputs), (inputs, OUTPUTS), (inputs, exogenous))
        feedback = tuple(drawn(*shape, seed=10 + i, dtype=torch.float64) for i, shape in enumerate(sizes))
        kept = [tensor.clone() for tensor in (state, held, fed, known)]
        found = batched_closed_loop(network, state, held, fed, feedback, known)  # type: ignore[arg-type]
        for row in range(BATCH):
            wanted = closed_loop(network, state[row], held[row], fed[row], feedback, known[row])  # type: ignore[arg-type]
            for many, one in zip(found, wanted, strict=True):
                torch.testing.assert_close(many[row], one, rtol=tolerance, atol=tolerance)
        assert all(torch.equal(now, then) for now, then in zip((state, held, fed, known), kept, strict=True))


def test_a_broken_stream_leaves_the_others_alone() -> None:
    double = torch.float64
    network = PackedNetwork(
        "gru",
        drawn(1, 3, 9, seed=1, dtype=double),
        drawn(1, 3, 9, seed=2, dtype=double),
        drawn(1, 2, 9, seed=3, dtype=double),
        drawn(3, 1, seed=4, dtype=double),
        drawn(1, seed=5, dtype=double),
    )
    one = torch.ones(1, 1, dtype=double)
    state, taps, fed = (
        drawn(4, 1, 3, seed=6, dtype=double),
        torch.zeros(4, 0, 1, dtype=double),
        drawn(4, 1, seed=7, dtype=double),
    )
    known = torch.zeros(4, STEPS, 0, dtype=double)
    before = batched_closed_loop(network, state, taps, fed, (0 * one, one, one[:, :0]), known)[0]
    state[2] = torch.nan
    after = batched_closed_loop(network, state, taps, fed, (0 * one, one, one[:, :0]), known)[0]
    others = torch.tensor([0, 1, 3])
    assert torch.equal(after[others], before[others])
    assert after[2].isnan().all()
