"""Batches of reservoirs: many streams at once are the streams one after the other."""

import pytest
import torch

import rnnscope as rs
from rnnscope.core.interfaces import Signature
from rnnscope.core.loops import AffineFeedback
from rnnscope.numerics.reservoir_batches import FEWEST, MOST, WIDTH, _groups

KINDS = {
    "plain": {},
    "leaky squares": {"features": "state_squares", "leak": 0.4},
    "mixed, fed back": {"features": "mixed", "feedback_scale": 0.3},
    "stacked": {"num_reservoirs": 3, "stacked": True, "leak": 0.7},
}
SIZES = [FEWEST, 2 * WIDTH + 1, MOST + 3]


def built(kind: str, dtype: torch.dtype) -> rs.ReservoirSystem:
    spec = rs.EchoState(units=9, degree=4, **KINDS[kind])
    return spec.build(Signature(2, 2), torch.Generator().manual_seed(0)).to(dtype).requires_grad_(False)


def drawn(*shape: int, dtype: torch.dtype) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(sum(shape)), dtype=torch.float64).to(dtype)


@pytest.mark.parametrize("count", SIZES)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("kind", KINDS)
def test_many_streams_at_once_are_the_streams_one_by_one(kind: str, dtype: torch.dtype, count: int) -> None:
    system, tolerance = built(kind, dtype), {torch.float64: 1e-12, torch.float32: 1e-5}[dtype]
    inputs, states = drawn(count, 6, 2, dtype=dtype), 0.3 * drawn(count, system.state_size, dtype=dtype)
    fed, previous = drawn(count, 2, dtype=dtype), drawn(count, 6, 2, dtype=dtype)
    feedback = AffineFeedback(*(0.4 * drawn(2, n, dtype=torch.float64) for n in (2, 2, 1)))
    calls = (
        lambda rows: system.fused_rollout(inputs[rows], states[rows]),
        lambda rows: system.carried_features(inputs[rows], states[rows]),
        lambda rows: system.carried_features(inputs[rows], states[rows], previous[rows]),
        lambda rows: system.fused_closed_loop(states[rows], fed[rows], feedback, inputs[rows, :, :1]),
    )
    untouched = [states.clone(), fed.clone()]
    for call in calls:
        together = call(slice(None))
        single = [call(slice(b, b + 1)) for b in range(count)]
        for whole, parts in zip(together, zip(*single, strict=True), strict=True):
            torch.testing.assert_close(whole, torch.cat(parts), atol=tolerance, rtol=tolerance)
    assert torch.equal(states, untouched[0])
    assert torch.equal(fed, untouched[1])


def test_streams_are_grouped_once_each_with_lanes_for_all() -> None:
    for count in range(1, 3 * MOST + 2):
        found = _groups(count)
        assert [b for rows, _ in found for b in range(rows.start, rows.stop)] == list(range(count))
        assert all(width % WIDTH == 0 and width - WIDTH < rows.stop - rows.start <= width <= MOST for rows, width in found)


def test_a_stream_that_is_lost_leaves_the_others_alone() -> None:
    system = built("plain", torch.float64)
    inputs = drawn(10, 5, 2, dtype=torch.float64)
    whole, _ = system.fused_rollout(inputs, system.initial_state(10))
    inputs[4] = float("nan")
    broken, _ = system.fused_rollout(inputs, system.initial_state(10))
    kept = [b for b in range(10) if b != 4]
    assert torch.equal(broken[kept], whole[kept])
    assert torch.isnan(broken[4]).all()
