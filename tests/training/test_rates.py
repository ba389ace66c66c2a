"""Learning-rate schedules and the cutting of streams."""

import itertools
import math
from typing import Any

import pytest

from rnnscope.training.rates import chunks, learning_rate, rising_momentum, stretches

SCHEDULES: list[Any] = ["constant", "cosine", "exponential", "step", "plateau"]


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_every_schedule_begins_at_its_start(schedule: Any) -> None:
    assert learning_rate(schedule, 0.3, 0.01, 0.0, 0.0, 0) == pytest.approx(0.3)


@pytest.mark.parametrize(("schedule", "end"), [("constant", 1.0), ("cosine", 0.05), ("exponential", 0.05), ("step", 0.01)])
def test_schedules_end_where_they_say(schedule: Any, end: float) -> None:
    assert learning_rate(schedule, 0.3, 0.05, 0.0, 1.0, 0) == pytest.approx(0.3 * end)


def test_schedules_are_halfway_where_they_say() -> None:
    assert learning_rate("cosine", 1.0, 0.04, 0.0, 0.5, 0) == pytest.approx(0.52)  # the arithmetic mean of both ends
    assert learning_rate("exponential", 1.0, 0.04, 0.0, 0.5, 0) == pytest.approx(0.2)  # the geometric mean
    assert [learning_rate("step", 1.0, 0.5, 0.0, p, 0) for p in (0.49, 0.5, 0.74, 0.75)] == [1.0, 0.1, 0.1, 0.01]


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_without_warmup_no_schedule_rises(schedule: Any) -> None:
    rates = [learning_rate(schedule, 1.0, 0.1, 0.0, k / 100, k // 30) for k in range(101)]
    assert all(later <= earlier for earlier, later in itertools.pairwise(rates))


def test_a_plateau_halves() -> None:
    assert [learning_rate("plateau", 0.8, 0.01, 0.0, 0.9, k) for k in range(4)] == [0.8, 0.4, 0.2, 0.1]


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_the_warmup_rises_from_nearly_nothing_and_then_is_gone(schedule: Any) -> None:
    plain = [learning_rate(schedule, 1.0, 0.1, 0.0, k / 100, 0) for k in range(101)]
    warmed = [learning_rate(schedule, 1.0, 0.1, 0.2, k / 100, 0) for k in range(101)]
    assert 0 < warmed[0] <= 1e-6
    assert warmed[20:] == plain[20:]
    for k in range(1, 20):
        assert warmed[k] == pytest.approx(plain[k] * k / 20)


@pytest.mark.parametrize("length", [1, 7, 100, 1001])
@pytest.mark.parametrize("batch_size", [1, 8, 64])
@pytest.mark.parametrize("truncation", [1, 10, 5000])
def test_a_stream_is_cut_into_stretches_that_fit(length: int, batch_size: int, truncation: int) -> None:
    count, steps = stretches(length, batch_size, truncation)
    assert 1 <= count <= batch_size
    assert steps >= 1
    assert length - count < count * steps <= length
    assert count == 1 or steps >= truncation


@pytest.mark.parametrize(("length", "truncation"), [(10, 3), (10, 10), (10, 99), (9, 3), (1, 1)])
def test_chunks_are_every_step_once_in_order(length: int, truncation: int) -> None:
    found = list(chunks(length, truncation))
    assert [step for piece in found for step in range(length)[piece]] == list(range(length))
    assert all(1 <= piece.stop - piece.start <= truncation for piece in found)


def test_momentum_rises_as_published_and_is_lowered_at_the_end() -> None:
    """Sutskever et al. 2013: min(1 - 2^(-1 - log2(⌊t/250⌋ + 1)), μ_max)."""
    for update in (0, 249, 250, 999, 5000, 10**6):
        published = min(1 - 2 ** (-1 - math.log2(update // 250 + 1)), 0.995)
        assert rising_momentum(update, 0.995, False) == pytest.approx(published, rel=1e-12)
    assert rising_momentum(10**6, 0.995, True) == 0.9
    assert rising_momentum(0, 0.995, True) == 0.5
