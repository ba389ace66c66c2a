"""The forward filter as a dynamical system: its outputs add up to the likelihood, and its state is the filter's belief."""

import copy

import numpy as np
import pytest
import torch

import rnnscope as rs
from known_hmms import FAMILIES, random_hmm
from rnnscope.core.system import DynamicalSystem

MODEL = random_hmm(4, 3, 4)


def one_hot(symbols: np.ndarray, num_symbols: int = 4) -> torch.Tensor:
    """Symbols (N, T) as inputs; -1 as zeros."""
    found = torch.nn.functional.one_hot(torch.as_tensor(symbols.astype(np.int64)).clamp(min=0), num_symbols).double()
    return found * torch.as_tensor(symbols >= 0)[..., None]


def beliefs(model: rs.HMM, symbols: np.ndarray) -> torch.Tensor:
    """b_0 … b_T."""
    system = rs.BeliefFilter(model)
    states = rs.rollout(system, one_hot(symbols, model.num_symbols)).states
    assert states is not None
    return torch.cat([system.initial_state(len(symbols))[:, None], states], 1)


@pytest.fixture(scope="module")
def drawn() -> np.ndarray:
    return MODEL.sample(6, 9, rng=0).observations.astype(np.int64)


def test_it_is_a_dynamical_system_with_the_sizes_of_the_model() -> None:
    system = rs.BeliefFilter(MODEL)
    assert isinstance(system, DynamicalSystem)
    assert (system.state_size, system.input_size, system.output_size) == (3, 4, 4)
    assert system.initial_state(5).shape == (5, 3)
    assert rs.BeliefFilter(MODEL, dtype=torch.float32).initial_state(1).dtype == torch.float32


def test_the_outputs_at_the_symbols_that_came_add_up_to_the_log_likelihood(drawn: np.ndarray) -> None:
    system = rs.BeliefFilter(MODEL)
    outputs = system.readout(beliefs(MODEL, drawn)[:, :-1])
    seen = outputs.gather(2, torch.as_tensor(drawn)[..., None]).sum((1, 2))
    np.testing.assert_allclose(seen, MODEL.log_likelihood(drawn), atol=1e-10)


def test_the_belief_is_the_filtered_state_moved_on(drawn: np.ndarray) -> None:
    filtered = MODEL.filter(drawn).probabilities
    np.testing.assert_allclose(beliefs(MODEL, drawn)[:, 1:], filtered @ MODEL.transition_matrix, atol=1e-12)


def test_beliefs_and_outputs_are_distributions(drawn: np.ndarray) -> None:
    found = beliefs(MODEL, drawn)
    np.testing.assert_allclose(found.sum(2), 1, atol=1e-12)
    np.testing.assert_allclose(rs.BeliefFilter(MODEL).readout(found).exp().sum(2), 1, atol=1e-12)


def test_a_missing_symbol_moves_the_belief_on_with_the_chain_alone(drawn: np.ndarray) -> None:
    gaps = drawn.copy()
    gaps[:, 3] = gaps[0, 0] = -1
    found = beliefs(MODEL, gaps).numpy()
    np.testing.assert_allclose(found[:, 4], found[:, 3] @ MODEL.transition_matrix, atol=1e-12)
    np.testing.assert_allclose(found[:, 1:], MODEL.filter(gaps).probabilities @ MODEL.transition_matrix, atol=1e-12)


def test_without_any_symbol_the_belief_becomes_stationary() -> None:
    found = beliefs(MODEL, np.full((1, 400), -1))
    np.testing.assert_allclose(found[0, -1], MODEL.stationary_probs, atol=1e-9)


def test_an_impossible_symbol_leaves_a_belief_that_is_still_one() -> None:
    model = rs.HMM(np.array([1.0, 0.0]), np.array([[0.9, 0.1], [0.2, 0.8]]), np.array([[1.0, 0, 0], [0.5, 0.5, 0]]))
    found = beliefs(model, np.array([[0, 2, 1, 0]]))
    assert torch.isfinite(found).all()
    np.testing.assert_allclose(found.sum(2), 1)
    assert rs.BeliefFilter(model).readout(found)[0, 0].tolist() == [0.0, -np.inf, -np.inf]


def test_a_step_is_pure_and_rows_do_not_touch_each_other(drawn: np.ndarray) -> None:
    system = rs.BeliefFilter(MODEL)
    state, input = torch.tensor([[0.2, 0.3, 0.5], [0.6, 0.4, 0.0]], dtype=torch.float64), one_hot(drawn)[:2, 0]
    kept, before = (state.clone(), input.clone()), copy.deepcopy(system.state_dict())
    both = system.step(state, input)
    assert torch.equal(both, system.step(state, input))
    assert torch.equal(state, kept[0])
    assert torch.equal(input, kept[1])
    assert all(torch.equal(v, before[k]) for k, v in system.state_dict().items())
    torch.testing.assert_close(system.step(state[1:], input[1:]), both[1:], rtol=0, atol=1e-15)
    first = system.initial_state(2)
    first.zero_()
    assert system.initial_state(2).sum() == pytest.approx(2)


def test_the_jacobian_is_that_of_finite_differences(drawn: np.ndarray) -> None:
    system, input = rs.BeliefFilter(MODEL), one_hot(drawn)[:1, 0]
    point = torch.tensor([0.2, 0.3, 0.5], dtype=torch.float64)
    exact = torch.autograd.functional.jacobian(lambda b: system.step(b[None], input)[0], point)
    small = 1e-6
    numeric = torch.stack(
        [
            (system.step(point[None] + small * e, input) - system.step(point[None] - small * e, input))[0] / (2 * small)
            for e in torch.eye(3).double()
        ],
        1,
    )
    torch.testing.assert_close(exact, numeric, rtol=1e-7, atol=1e-8)


def test_the_weights_go_to_a_file_and_back() -> None:
    system = rs.BeliefFilter(FAMILIES["chain-3"].hmm())
    other = rs.BeliefFilter(random_hmm(9, 3, 3))
    other.load_state_dict(system.state_dict())
    assert torch.equal(other.initial_state(1), system.initial_state(1))
    assert not list(system.parameters())
