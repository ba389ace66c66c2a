"""The torch passes are the numba ones."""

import numpy as np
import pytest
import torch

from rnnscope.numerics import hmm, hmm_torch


def case(dtype):
    rng = np.random.default_rng(4)
    model = rng.dirichlet(np.ones(3)), rng.dirichlet(np.ones(3), 3), rng.dirichlet(np.ones(4), 3)
    symbols, lengths = rng.integers(-1, 4, (9, 12)), rng.integers(1, 13, 9)
    initial, matrix, emission = (torch.tensor(a, dtype=dtype) for a in model)
    densities = hmm_torch.categorical_log_densities(torch.tensor(symbols), emission)
    return (symbols, lengths, *model), (densities, torch.tensor(lengths), initial, matrix)


@pytest.mark.parametrize(("dtype", "near"), [(torch.float64, 1e-10), (torch.float32, 2e-5)])
def test_passes_equal_the_compiled_ones(dtype, near):
    plain, tensors = case(dtype)
    np.testing.assert_allclose(hmm_torch.log_likelihood(*tensors), hmm.log_likelihood(*plain), rtol=near)
    np.testing.assert_allclose(hmm_torch.filter_states(*tensors)[0], hmm.filter_states(*plain)[0], atol=near)
    np.testing.assert_allclose(hmm_torch.smooth_states(*tensors)[0], hmm.smooth_states(*plain)[0], atol=near)
    paths, log_prob = hmm_torch.most_likely_states(*tensors)
    own_paths, own_log_prob = hmm.most_likely_states(*plain)
    np.testing.assert_allclose(log_prob, own_log_prob, rtol=near)
    assert np.array_equal(paths, own_paths)
    counts, own = hmm_torch.expected_counts(*tensors), hmm.expected_counts(*plain)
    np.testing.assert_allclose(counts.transition, own.transition, rtol=near * 10)
    np.testing.assert_allclose(counts.initial, own.initial, rtol=near * 10)


def test_the_gradient_of_the_likelihood_is_the_expected_count():
    _, (densities, lengths, initial, matrix) = case(torch.float64)
    matrix = matrix.clone().requires_grad_()
    hmm_torch.log_likelihood(densities, lengths, initial, matrix).sum().backward()
    counts = hmm_torch.expected_counts(densities, lengths, initial, matrix.detach())
    np.testing.assert_allclose(matrix.detach() * matrix.grad, counts.transition, rtol=1e-9)


def test_an_impossible_sequence_is_minus_infinity_without_nan():
    densities = torch.tensor([[[0.0, 0.0], [-torch.inf, -torch.inf]]])
    args = densities, torch.tensor([2]), torch.full((2,), 0.5), torch.eye(2)
    assert hmm_torch.log_likelihood(*args)[0] == -torch.inf
    assert not hmm_torch.expected_counts(*args).posteriors.any()


def test_samples_have_the_stationary_frequencies():
    matrix = torch.tensor([[0.9, 0.1], [0.2, 0.8]])
    emission = torch.tensor([[1.0, 0.0], [0.25, 0.75]])
    generator = torch.Generator().manual_seed(0)
    symbols, states = hmm_torch.sample(torch.tensor([2 / 3, 1 / 3]), matrix, emission, 4000, 5, generator)
    for t in range(5):
        assert abs(float((states[:, t] == 0).double().mean()) - 2 / 3) < 4 * np.sqrt(2 / 9 / 4000)
    assert not symbols[states == 0].any()
