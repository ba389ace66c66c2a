"""Losses between a network's outputs and symbol sequences: the likelihood by brute force, transport by its definition."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from rnnscope.numerics.transport import sinkhorn_divergence
from rnnscope.training.sequence_losses import one_hot, random_times, straight_through, transport_loss, word_likelihood


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def logits_of(paths: int, steps: int, size: int = 3, seed: int = 0, scale: float = 1.5) -> Tensor:
    return (torch.randn(paths, steps, size, generator=generator(seed), dtype=torch.float64) * scale).requires_grad_()


def symbols_of(count: int, steps: int, size: int = 3, seed: int = 1) -> Tensor:
    return torch.randint(size, (count, steps), generator=generator(seed))


# likelihood


def log_mean(logits: np.ndarray, row: np.ndarray) -> float:
    """log of the mean over paths of the product of probabilities."""
    probs = np.exp(logits) / np.exp(logits).sum(2, keepdims=True)
    return float(np.log(np.mean([np.prod([one[t, k] for t, k in enumerate(row)]) for one in probs])))


def value(loss: Tensor) -> float:
    return float(loss.detach())


def by_hand(logits: Tensor, symbols: Tensor) -> float:
    """-(2 l(all) - (l(even paths) + l(odd paths))/2) / m, averaged over sequences."""
    paths, total = logits.detach().numpy(), []
    for row in symbols.numpy():
        halves = (log_mean(paths[::2], row) + log_mean(paths[1::2], row)) / 2
        total.append(-(2 * log_mean(paths, row) - halves) / len(row))
    return float(np.mean(total))


@pytest.mark.parametrize("paths", [2, 4, 5])
@pytest.mark.parametrize("word", [1, 2, 3])
@pytest.mark.parametrize("words", [1, 3])
def test_a_word_as_long_as_the_sequences_has_the_likelihood_of_brute_force(paths: int, word: int, words: int) -> None:
    """With no room to move, the times are 0 … m - 1 whatever is drawn."""
    logits, symbols = logits_of(paths, word), symbols_of(6, word)
    found = word_likelihood(logits, symbols, word, words, np.random.default_rng(0))
    assert value(found) == pytest.approx(by_hand(logits, symbols), abs=1e-10)


def test_the_first_word_begins_at_the_first_step() -> None:
    logits, symbols = logits_of(4, 9), symbols_of(5, 9)
    found = word_likelihood(logits, symbols, 1, 1, np.random.default_rng(0))
    assert value(found) == pytest.approx(by_hand(logits[:, :1], symbols[:, :1]), abs=1e-10)


def test_words_are_read_at_the_times_that_are_drawn() -> None:
    logits, symbols = logits_of(4, 9), symbols_of(5, 9)
    times = random_times(3, 9, np.random.default_rng(7))
    found = word_likelihood(logits, symbols, 3, 1, np.random.default_rng(7))
    assert value(found) == pytest.approx(by_hand(logits[:, times], symbols[:, times]), abs=1e-10)


@pytest.mark.parametrize(("steps", "length"), [(9, 9), (5, 9), (9, 5), (4, 4)])
def test_roll_outs_may_be_shorter_or_longer_than_the_sequences(steps: int, length: int) -> None:
    for seed in range(5):
        found = word_likelihood(logits_of(4, steps), symbols_of(5, length), 4, 3, np.random.default_rng(seed))
        assert math.isfinite(value(found))


def test_logits_that_know_nothing_score_the_logarithm_of_the_alphabet() -> None:
    zeros = torch.zeros(6, 8, 3, dtype=torch.float64)
    assert value(word_likelihood(zeros, symbols_of(5, 8), 4, 2, np.random.default_rng(0))) == pytest.approx(math.log(3))


def test_the_likelihood_has_the_gradient_of_finite_differences() -> None:
    logits, symbols = logits_of(4, 3), symbols_of(5, 3)
    word_likelihood(logits, symbols, 3, 1, np.random.default_rng(0)).backward()
    assert logits.grad is not None
    assert torch.isfinite(logits.grad).all()
    small, point = 1e-6, (1, 2, 0)
    values = []
    for sign in (1, -1):
        moved = logits.detach().clone()
        moved[point] += sign * small
        values.append(value(word_likelihood(moved, symbols, 3, 1, np.random.default_rng(0))))
    assert float(logits.grad[point]) == pytest.approx((values[0] - values[1]) / (2 * small), abs=1e-7)
    torch.testing.assert_close(logits.grad.sum(2), torch.zeros(4, 3, dtype=torch.float64), atol=1e-12, rtol=0)


def test_outputs_that_rule_a_symbol_out_leave_the_gradient_finite() -> None:
    logits = torch.zeros(4, 2, 3)
    logits[..., 1] = -1e4
    logits.requires_grad_()
    loss = word_likelihood(logits, torch.ones(3, 2, dtype=torch.int64), 2, 1, np.random.default_rng(0))
    loss.backward()
    assert torch.isfinite(loss)
    assert torch.isfinite(logits.grad).all()


def test_the_jackknife_takes_away_most_of_the_bias_of_few_paths() -> None:
    """Paths whose logit is normal: the mean over paths is 1/2 for both symbols, so the loss should be log 2."""
    symbols = torch.tensor([[0], [1]])
    plain, corrected = [], []
    for seed in range(500):
        drawn = torch.randn(8, 1, 1, generator=generator(seed), dtype=torch.float64)
        logits = torch.cat([drawn, -drawn], 2)
        corrected.append(value(word_likelihood(logits, symbols, 1, 1, np.random.default_rng(0))))
        plain.append(-np.mean([log_mean(logits.numpy(), row) for row in symbols.numpy()]))
    bias = np.mean(plain) - math.log(2)
    assert bias > 0.01
    assert abs(np.mean(corrected) - math.log(2)) < bias / 2


@pytest.mark.parametrize("span", [1, 2, 3, 10, 100])
@pytest.mark.parametrize("count", [1, 2, 4])
def test_random_times_increase_from_zero_and_stay_inside(count: int, span: int) -> None:
    if count > span:
        return
    rng = np.random.default_rng(0)
    drawn = [random_times(count, span, rng) for _ in range(50)]
    for times in drawn:
        assert times[0] == 0
        assert len(times) == count
        assert times[-1] < span
        assert (np.diff(times) >= 1).all()
    if count > 1 and span == 100:
        assert {1} < {int(t[1]) for t in drawn}  # neighbours, and others


# transport


def test_one_hot_symbols() -> None:
    assert one_hot(torch.tensor([[2, 0]]), 3).tolist() == [[[0.0, 0.0, 1.0], [1.0, 0.0, 0.0]]]


def test_straight_through_symbols_are_one_hot_forward_and_soft_backward() -> None:
    logits = logits_of(6, 5)
    hard = straight_through(logits, generator())
    soft = straight_through(logits, generator(), soft=True)
    torch.testing.assert_close(hard.max(-1).values, torch.ones(6, 5, dtype=torch.float64))
    assert set(hard.detach().round(decimals=9).unique().tolist()) == {0.0, 1.0}
    assert torch.equal(hard.argmax(-1), soft.argmax(-1))
    weights = torch.randn(hard.shape, generator=generator(3), dtype=torch.float64)
    gradients = [torch.autograd.grad((x * weights).sum(), logits)[0] for x in (hard, soft)]
    torch.testing.assert_close(*gradients)


def test_sampled_symbols_follow_the_softmax_at_any_temperature() -> None:
    logits = torch.tensor([0.0, 1.0, -1.0], dtype=torch.float64).expand(4000, 5, 3)
    for temperature in (0.5, 1.0, 2.0):
        shares = straight_through(logits, generator(), temperature).mean((0, 1))
        torch.testing.assert_close(shares, logits[0, 0].softmax(0), atol=0.015, rtol=0)


OPTIONS = {"blur": 0.2, "temperature": 1.0, "accuracy": "exact"}


@pytest.mark.parametrize("soft", [False, True], ids=["straight_through", "soft"])
@pytest.mark.parametrize("independent", [False, True], ids=["self", "independent"])
@pytest.mark.parametrize("accuracy", ["training", "exact"])
def test_the_transport_gradient_reaches_every_step_of_the_logits(soft: bool, independent: bool, accuracy: str) -> None:
    logits = logits_of(12, 4, scale=0.5).detach().float().requires_grad_()
    target = one_hot(symbols_of(12, 4), 3)
    options = {**OPTIONS, "accuracy": accuracy}
    loss = transport_loss(logits, target, generator(), soft=soft, independent=independent, **options)
    loss.backward()
    assert torch.isfinite(loss)
    assert torch.isfinite(logits.grad).all()
    reached = logits.grad.abs().sum((0, 2)) > 0
    assert reached.all()
    moved = logits.grad.abs().sum((1, 2)) > 0
    # the second half of the paths is what the first is debiased with, held fixed
    assert moved[:6].all()
    assert bool(moved[6:].any()) is not independent


def test_debiased_by_itself_the_loss_is_the_sinkhorn_divergence_of_the_symbols() -> None:
    logits, target = logits_of(10, 4).detach().float(), one_hot(symbols_of(10, 4), 3)
    found = transport_loss(logits, target, generator(), soft=False, independent=False, **OPTIONS)
    hard = straight_through(logits, generator()).flatten(1)
    wanted = sinkhorn_divergence(hard, target.flatten(1), blur=0.2).value
    assert value(found) == pytest.approx(float(wanted), rel=1e-4)


def test_debiased_independently_the_loss_is_a_difference_of_two_transports() -> None:
    logits, target = logits_of(11, 4).detach().float(), one_hot(symbols_of(11, 4), 3)
    found = transport_loss(logits, target, generator(), soft=False, independent=True, **OPTIONS)
    hard = straight_through(logits, generator()).flatten(1)
    apart, within = (
        sinkhorn_divergence(hard[:5], other, blur=0.2, debias=False).value for other in (target[:5].flatten(1), hard[5:10])
    )
    assert value(found) == pytest.approx(float(apart - within), abs=1e-3)


def test_equal_sets_are_no_distance_apart() -> None:
    symbols = symbols_of(8, 5)
    logits = 1e4 * one_hot(symbols, 3)
    found = transport_loss(logits, one_hot(symbols, 3), generator(), soft=False, independent=False, **OPTIONS)
    assert value(found) == pytest.approx(0, abs=1e-4)


def test_opposite_sequences_differ_at_every_step() -> None:
    logits = 1e4 * one_hot(torch.zeros(8, 5, dtype=torch.int64), 2)
    target = one_hot(torch.ones(8, 5, dtype=torch.int64), 2)
    found = transport_loss(logits, target, generator(), soft=False, independent=False, **OPTIONS)
    assert value(found) == pytest.approx(5, rel=1e-4)
