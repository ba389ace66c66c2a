"""An HMM's sequences in three parts, as the task prepares them."""

import json

import numpy as np
import pytest
import torch

import rnnscope as rs
from known_hmms import FAMILIES
from rnnscope.core.random import Streams
from rnnscope.markov.emulation import EmulationData, fingerprint, start_state

TASK = rs.HiddenMarkov(num_states=3, transition="end_to_end", emission="linear", num_sequences=90, num_steps=8, noise_size=4)


def prepared(seed: int = 0, **changes: object) -> EmulationData:
    return TASK.but(**changes).prepare(Streams(seed))


@pytest.fixture(scope="module")
def data() -> EmulationData:
    return prepared()


def test_the_parts_have_their_shares_and_the_tasks_length(data: EmulationData) -> None:
    assert (len(data.train), len(data.validation), len(data.test)) == (30, 30, 30)
    assert data.num_steps == 8
    assert data.train.symbols.shape == data.train.states.shape == (30, 8)
    uneven = prepared(validation=0.1, test=0.2)
    assert (len(uneven.train), len(uneven.validation), len(uneven.test)) == (63, 9, 18)


def test_the_parts_are_different_draws(data: EmulationData) -> None:
    for one, other in ((data.train, data.validation), (data.train, data.test), (data.validation, data.test)):
        assert (one.symbols != other.symbols).any()


def test_the_training_part_does_not_change_with_the_others(data: EmulationData) -> None:
    other = prepared(validation=1 / 6, test=1 / 2)
    np.testing.assert_array_equal(other.train.symbols, data.train.symbols)


def test_equal_seeds_give_equal_data(data: EmulationData) -> None:
    assert fingerprint(prepared()) == fingerprint(data)
    assert fingerprint(prepared(seed=1)) != fingerprint(data)


def test_the_exact_statistics_are_those_of_the_family_at_any_length(data: EmulationData) -> None:
    family = FAMILIES["chain-3"]
    found = data.exact(30)
    np.testing.assert_allclose(found.frequencies, family.frequencies, atol=1e-9)
    assert found.volatility == pytest.approx(family.volatility, abs=6e-5)
    assert data.exact().volatility == pytest.approx(found.volatility * 7 / 29)
    np.testing.assert_allclose(found.output_transitions.sum(1), 1)


def test_the_report_is_plain_and_the_arrays_hold_everything(data: EmulationData) -> None:
    json.dumps(data.describe(), allow_nan=False)
    assert data.describe()["sequences"] == {"train": 30, "validation": 30, "test": 30}
    arrays = data.arrays()
    np.testing.assert_array_equal(arrays["test_symbols"], data.test.symbols)
    np.testing.assert_array_equal(arrays["transition_matrix"], data.hmm.transition_matrix)
    assert len(arrays) == 9


def test_the_network_gets_noise_and_answers_with_a_logit_per_symbol(data: EmulationData) -> None:
    assert (data.signature.input_size, data.signature.output_size) == (4, 3)
    assert len(data.signature.feature_names) == 4
    assert data.to(torch.device("cpu")) is data


@pytest.mark.parametrize("initial", ["zero", "normal"])
def test_sequences_start_at_zero_or_at_random(initial: str) -> None:
    system = rs.Elman(hidden_size=5, num_layers=1).build(prepared().signature, torch.Generator().manual_seed(0))
    first, again = (start_state(system, 400, initial, torch.Generator().manual_seed(1)) for _ in range(2))
    assert first.shape == (400, 5)
    assert torch.equal(first, again)
    assert float(first.std()) == pytest.approx(1.0 if initial == "normal" else 0.0, abs=0.1)


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"num_steps": 1}, "num_steps is 1"),
        ({"num_sequences": 4}, "parts of"),
        ({"validation": 0.0}, "parts of"),
        ({"num_states": 6}, "6 states cannot be walked"),
        ({"num_symbols": 4}, "4 symbols"),
        ({"num_states": 2, "transition_matrix": ((1.0,),)}, "task.num_states is 2, but task.transition_matrix has 1"),
        ({"num_symbols": 2, "emission_probs": ((1.0,),) * 3}, "task.num_symbols is 2, but task.emission_probs has 1"),
        ({"emission_probs": ((0.5, 0.5), (1.0,), (0.5, 0.5))}, r"task.emission_probs has rows of lengths \[2, 1, 2\]"),
        ({"emission_probs": ((0.5, 0.5),) * 2}, "emission_probs has shape"),
        ({"initial_probs": (0.5, 0.5)}, "initial_probs has shape"),
        ({"initial_probs": (0.5, 0.5, 0.5)}, "initial_probs sums to 1.5"),
    ],
)
@pytest.mark.usefixtures("unchecked")
def test_fields_that_do_not_agree_are_named(fields: dict, named: str) -> None:
    with pytest.raises(rs.ConfigError, match=named):
        TASK.but(**fields)


@pytest.mark.usefixtures("unchecked")
def test_matrices_of_ones_own_give_the_sizes() -> None:
    task = rs.HiddenMarkov(emission_probs=((0.5, 0.5), (1.0, 0.0), (0.2, 0.8), (0.0, 1.0)), num_sequences=30, num_steps=5)
    assert (task.hmm().num_states, task.hmm().num_symbols) == (4, 2)
    task = rs.HiddenMarkov(transition_matrix=((0.5, 0.5), (0.1, 0.9)), initial_probs=(1.0, 0.0))
    assert (task.hmm().num_states, task.hmm().num_symbols) == (2, 3)
    assert task.hmm().initial_probs.tolist() == [1.0, 0.0]
