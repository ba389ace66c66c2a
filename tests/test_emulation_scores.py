"""Scores of generated sequences beside the HMM's own: what perfect, memoryless and broken generators get."""

import jaxtyping
import numpy as np
import pytest

import rnnscope as rs
from known_hmms import FAMILIES
from rnnscope.core.interfaces import ModelResult, Scores
from rnnscope.core.random import Streams
from rnnscope.evaluation.emulation_scores import Comparison, compare_sets, independent, markov_chain, way_back
from rnnscope.evaluation.emulation_verdict import WINDOW, gates
from rnnscope.markov.emulation import EmulationData
from rnnscope.numerics import sequence_statistics as seen

COUNT, STEPS = 150, 20
HOW = Comparison(batch=100, permutations=49)
FAMILY = FAMILIES["chain-3"]


pytestmark = pytest.mark.usefixtures("unchecked")  # see the last test


@pytest.fixture(scope="module")
def data() -> EmulationData:
    task = rs.HiddenMarkov(num_states=3, transition="end_to_end", emission="linear", num_sequences=900, num_steps=STEPS)
    return task.prepare(Streams(0))


@pytest.fixture(scope="module")
def target() -> np.ndarray:
    return FAMILY.draw(COUNT, STEPS, seed=1)


def scored(symbols: np.ndarray, target: np.ndarray, data: EmulationData, **how: object) -> Scores:
    return compare_sets(symbols, target, data, Comparison(**{**vars(HOW), **how}), np.random.default_rng(0)).scores


def test_another_draw_of_the_hmm_is_better_than_independent_symbols_in_every_distance(data, target) -> None:
    fresh = scored(FAMILY.draw(COUNT, STEPS, seed=2), target, data)
    loose = scored(independent(data.train.symbols, (COUNT, STEPS), 3, np.random.default_rng(0)), target, data)
    for name in ("divergence", "distance", "volatility_error", "transition_error", "word_divergence", "autocorrelation_error"):
        assert fresh[name] < loose[name], name
    assert fresh["log_likelihood"] > loose["log_likelihood"]
    assert fresh["smallest_p"] > 0.01 > loose["smallest_p"] - 0.2
    assert loose["frequency_error"] < 0.05


def test_the_target_itself_is_no_distance_away(data, target) -> None:
    found = scored(target, target, data)
    for name in ("distance", "word_divergence", "dwell_error", "autocorrelation_error"):
        assert found[name] == pytest.approx(0, abs=1e-9), name
    assert found["divergence"] == pytest.approx(0, abs=1e-3)
    assert found["smallest_p"] == 1


@pytest.mark.parametrize("matching", ["exact", "sinkhorn"])
def test_a_constant_generator_is_never_close(data, target, matching: str) -> None:
    floor = scored(FAMILY.draw(COUNT, STEPS, seed=2), target, data, matching=matching)
    found = scored(np.zeros((COUNT, STEPS), np.int16), target, data, matching=matching)
    assert found["distance"] > 1.5 * floor["distance"]
    assert found["volatility"] == found["switch_rate"] == 0
    assert found["volatility_error"] == 1
    assert found["transition_error"] == 1  # symbol 2 is common, and never came
    assert found["rare_share"] == 0
    assert all(np.isfinite(v) for v in found.values())


def test_the_scores_beside_arrays_agree_with_them(data, target) -> None:
    compared = compare_sets(FAMILY.draw(COUNT, STEPS, seed=2), target, data, HOW, np.random.default_rng(0))
    assert compared.scores["distance"] == pytest.approx(compared.arrays["distances"].mean())
    assert compared.scores["volatility"] == pytest.approx(compared.arrays["volatilities"].mean())
    p_values = compared.arrays["p_values"]
    assert compared.scores["smallest_p"] == pytest.approx(min(1, len(p_values) * p_values.min()))
    assert compared.scores["transition_square"] == pytest.approx(compared.scores["transition_error"] ** 2)


# generators to compare with


def test_independent_symbols_have_the_frequencies_of_the_set(data) -> None:
    drawn = independent(data.train.symbols, (400, 50), 3, np.random.default_rng(0))
    assert drawn.dtype == np.int16
    np.testing.assert_allclose(seen.frequencies(drawn, 3).mean(0), seen.frequencies(data.train.symbols, 3).mean(0), atol=0.015)


@pytest.mark.parametrize("order", [1, 3])
def test_a_chain_over_symbols_has_the_words_of_the_set(data, order: int) -> None:
    train = FAMILY.draw(2000, STEPS, seed=4)
    drawn = markov_chain(train, (2000, STEPS), 3, order, np.random.default_rng(0))
    assert drawn.shape == (2000, STEPS)
    words = [seen.word_distribution(s, 3, order + 1) for s in (train, drawn)]
    assert np.abs(words[0] - words[1]).max() < 0.015


def test_a_chain_of_higher_order_than_the_sequences_are_long_still_draws(data) -> None:
    drawn = markov_chain(data.train.symbols[:, :3], (10, 2), 3, 9, np.random.default_rng(0))
    assert drawn.shape == (10, 2)


def test_a_word_never_followed_goes_on_with_the_overall_frequencies() -> None:
    train = np.array([[0, 0, 0, 1]] * 20, np.int16)
    drawn = markov_chain(train, (200, 30), 2, 1, np.random.default_rng(0))
    after = drawn[:, 1:][drawn[:, :-1] == 1]
    assert after.mean() == pytest.approx(0.25, abs=0.05)


# the way back, and the window


def test_the_way_back_finds_the_hmm_in_its_own_sequences(data) -> None:
    found = way_back(FAMILIES["chain-3"].draw(150, 40, seed=3), data, (1,), np.random.default_rng(0))
    assert found["states_by_bic"] == 3
    assert found["emission_error"] < 0.2


def test_the_way_back_from_sequences_that_lack_a_symbol_says_less_and_does_not_break(data) -> None:
    constant = np.zeros((20, 20), np.int16)
    found = way_back(constant, data, (1,), np.random.default_rng(0))
    assert found["states_by_bic"] == 1
    assert "transition_error" not in found


def perfect() -> dict[str, Scores]:
    own = {score: (low + high) / 2 for reading, score, low, high in WINDOW.values() if reading == "sampled"}
    return {"sampled": {**own, "divergence": 5.0}, "states": {"bounded": 1.0}}


def references(floor: float = 5.0, iid: float = 7.0) -> dict[str, ModelResult]:
    return {name: ModelResult({"sampled": {"divergence": value}}) for name, value in (("hmm", floor), ("iid", iid))}


def test_a_network_in_the_middle_of_the_window_passes_every_gate() -> None:
    assert all(gates(perfect(), references()).values())


@pytest.mark.parametrize("name", [*WINDOW, "better than independent symbols"])
def test_each_gate_fails_alone(name: str) -> None:
    scores = perfect()
    if name in WINDOW:
        reading, score, low, high = WINDOW[name]
        for outside in (high + 0.01, low - 0.01, np.nan):
            scores[reading][score] = outside
            assert [gate for gate, held in gates(scores, references()).items() if not held] == [name]
        del scores[reading][score]
    else:
        scores["sampled"]["divergence"] = 6.01  # past half way to independent symbols
    assert [gate for gate, held in gates(scores, references()).items() if not held] == [name]


def test_generators_draw_any_number_of_sequences(data) -> None:
    jaxtyping.config.update("jaxtyping_disable", False)  # which is how `unchecked` leaves it
    rng = np.random.default_rng(0)
    assert independent(data.train.symbols, (7, 5), 3, rng).shape == (7, 5)
    assert markov_chain(data.train.symbols, (7, 5), 3, 1, rng).shape == (7, 5)
