"""Networks that write: the fast loops against the plain one, the law of the draws, prompts."""

import math

import numpy as np
import pytest
import torch

import rnnscope as rs
from rnnscope.core.errors import TrainingError
from rnnscope.core.interfaces import ModelSpec, Signature
from rnnscope.core.text import text_data
from rnnscope.dynamics.symbol_sampling import draw, read_symbols, sample_symbols, write_text

V = 7
SPECS = {
    "elman": rs.Elman(hidden_size=6, num_layers=1),
    "relu": rs.Elman(hidden_size=6, num_layers=2, nonlinearity="relu"),
    "gru": rs.GRU(hidden_size=6, num_layers=2),
    "lstm": rs.LSTM(hidden_size=6, num_layers=2),
    "lstm with taps": rs.LSTM(hidden_size=6, num_layers=1, skip=2),
    "embedding": rs.Embedding(embedding_size=3, hidden_size=6, cell="gru"),
}


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def built(spec: ModelSpec, inputs: int = V) -> rs.DynamicalSystem:
    model = spec.build(Signature(inputs, V), generator()).double().eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter *= 3  # outputs that differ: a draw then depends on what was read
    (system,) = model.systems().values()
    return system


@pytest.mark.parametrize("batch", [1, 5])
@pytest.mark.parametrize("how", [{}, {"temperature": 0.0}, {"temperature": 0.7, "top_k": 3}, {"banned": 2}], ids=str)
@pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS.keys())
def test_the_fast_loops_equal_the_plain_one(spec: ModelSpec, how: dict, batch: int) -> None:
    system, codes = built(spec), torch.eye(V, dtype=torch.float64)
    state = read_symbols(system, torch.randint(V, (batch, 5), generator=generator(1)), codes)
    before = state.clone()
    fast, slow = (sample_symbols(system, state, codes, 60, generator(2), fused=f, **how) for f in (True, False))
    torch.testing.assert_close(fast[0], slow[0])
    torch.testing.assert_close(fast[1], slow[1])
    torch.testing.assert_close(state, before)


def test_bare_numbers_are_read_by_the_fast_loop_too() -> None:
    system, codes = built(rs.GRU(hidden_size=6, num_layers=1), inputs=1), torch.arange(V, dtype=torch.float64)[:, None]
    start = system.initial_state(1)
    fast, slow = (sample_symbols(system, start, codes, 50, generator(2), fused=f)[0] for f in (True, False))
    torch.testing.assert_close(fast, slow)


def test_a_sample_goes_on_where_it_stopped() -> None:
    system, codes = built(rs.LSTM(hidden_size=6, num_layers=1)), torch.eye(V, dtype=torch.float64)
    rng = generator(3)
    first, state = sample_symbols(system, system.initial_state(1), codes, 20, rng)
    rest, _ = sample_symbols(system, state, codes, 20, rng)
    whole, _ = sample_symbols(system, system.initial_state(1), codes, 40, generator(3))
    torch.testing.assert_close(torch.cat([first, rest], 1), whole)


def test_draws_follow_the_softmax() -> None:
    logits = torch.tensor([0.0, 1.0, 2.0, -1.0], dtype=torch.float64)
    count = 200_000
    drawn = draw(logits.expand(count, -1), torch.rand(count, generator=generator(), dtype=torch.float64), temperature=2.0)
    wanted = torch.softmax(logits / 2, 0).numpy()
    error = np.sqrt(wanted * (1 - wanted) / count)
    assert (np.abs(np.bincount(drawn.numpy(), minlength=4) / count - wanted) < 4 * error).all()


def test_only_the_most_probable_are_drawn_and_never_the_banned_one() -> None:
    logits = torch.tensor([[0.0, 3.0, 2.0, 1.0]]).expand(500, -1)
    uniforms = torch.rand(500, generator=generator(), dtype=torch.float64)
    assert set(draw(logits, uniforms, top_k=2).tolist()) == {1, 2}
    assert set(draw(logits, uniforms, banned=1).tolist()) == {0, 2, 3}
    assert set(draw(logits, uniforms, temperature=0.0, banned=1).tolist()) == {2}


@pytest.mark.parametrize("uniform", [0.0, math.nextafter(1.0, 0.0)])
def test_uniform_numbers_at_the_ends_draw_a_symbol(uniform: float) -> None:
    logits = torch.tensor([[-1000.0, 0.0, -1000.0]], dtype=torch.float64)
    assert draw(logits, torch.tensor([uniform], dtype=torch.float64)).tolist() == [1]


@pytest.mark.parametrize("field", [{"num_steps": 0}, {"temperature": -1.0}, {"temperature": math.nan}, {"top_k": -1}])
def test_numbers_out_of_range_are_refused(field: dict) -> None:
    system, codes = built(SPECS["gru"]), torch.eye(V, dtype=torch.float64)
    with pytest.raises(rs.ConfigError):
        sample_symbols(system, system.initial_state(1), codes, **{"num_steps": 5, "rng": generator(), **field})


def test_a_network_that_broke_is_named() -> None:
    system, codes = built(SPECS["gru"]), torch.eye(V, dtype=torch.float64)
    with pytest.raises(TrainingError, match="not finite"):
        sample_symbols(system, torch.full_like(system.initial_state(1), torch.nan), codes, 3, generator())


# writing

TEXT = text_data("abcdefg " * 40, validation_share=0.1, test_share=0.1, window=8)


def network() -> rs.DynamicalSystem:
    (system,) = rs.GRU(hidden_size=5, num_layers=1).build(TEXT.signature, generator()).systems().values()
    return system.eval()


def test_a_prompt_is_read_and_not_repeated() -> None:
    made = write_text(network(), TEXT, 30, generator(), prompt="abc ", num_sequences=3)
    assert made.prompt == "abc "
    assert [len(text) for text in made.texts] == [30, 30, 30]
    assert len(set(made.texts)) == 3
    assert set("".join(made.texts)) <= set("abcdefg ")


def test_the_same_seed_writes_the_same_and_temperature_0_always_does() -> None:
    one, again, other = (write_text(network(), TEXT, 50, generator(s), prompt="ab") for s in (1, 1, 2))
    assert one.texts == again.texts != other.texts
    cold = {write_text(network(), TEXT, 50, generator(s), prompt="ab", temperature=0.0).texts for s in (1, 2)}
    assert len(cold) == 1


@pytest.mark.parametrize("length", [1, 2, 25])
def test_an_empty_prompt_begins_with_a_character_of_the_text(length: int) -> None:
    (text,) = write_text(network(), TEXT, length, generator()).texts
    assert len(text) == length


def test_a_long_prompt_is_read_to_its_end_in_chunks_and_told_about(monkeypatch: pytest.MonkeyPatch) -> None:
    prompt = "abcdefg " * 30
    whole = write_text(network(), TEXT, 20, generator(), prompt=prompt, reach=64)
    monkeypatch.setattr("rnnscope.dynamics.symbol_sampling.CHUNK", 7)
    assert write_text(network(), TEXT, 20, generator(), prompt=prompt).texts == whole.texts
    assert "240 characters" in whole.note
    assert "looked back over 64" in whole.note
    assert not write_text(network(), TEXT, 20, generator(), prompt="abc", reach=64).note


def test_a_character_outside_the_vocabulary_is_named() -> None:
    with pytest.raises(rs.DataError, match="'X' at position 3") as caught:
        write_text(network(), TEXT, 5, generator(), prompt="abX")
    assert "abcdefg" in caught.value.expected
    assert caught.value.remedy


def test_the_unknown_symbol_is_never_written() -> None:
    data = text_data("abcd" * 50 + "xyz" * 10, validation_share=0.1, test_share=0.1, window=8)
    (system,) = rs.GRU(hidden_size=5, num_layers=1).build(data.signature, generator()).systems().values()
    assert data.vocabulary.has_unknown
    for how in ({"num_sequences": 4}, {"prompt": "ab"}, {"temperature": 0.0}):
        assert set("".join(write_text(system.eval(), data, 200, generator(), **how).texts)) <= set("abcd")
