"""Texts as data: the maps, the parts, the windows, what a network reads, and what is refused."""

import numpy as np
import pytest
import torch

import rnnscope as rs
from rnnscope.core.text import text_data
from rnnscope.core.vocabulary import UNKNOWN, find_vocabulary, shown

SHARES = {"validation_share": 0.2, "test_share": 0.2}


def abc(**changes: object) -> rs.TextData:
    return text_data("abc" * 40, **{**SHARES, "window": 10, **changes})


def test_the_maps_are_inverse_to_each_other() -> None:
    data = text_data("the quick brown fox\n" * 20, window=5, **SHARES)
    words = data.vocabulary
    assert words.symbols == tuple(sorted(set("the quick brown fox\n")))
    assert [words.numbers[s] for s in words.symbols] == list(range(len(words)))
    assert words.decode(words.encode("fox\nthe")) == "fox\nthe"
    assert words.decode(data.numbers.numpy()) == "the quick brown fox\n" * 20


@pytest.mark.parametrize("text", ["äöü€漢字🙂x" * 10, "a\u0301b" * 20])
def test_any_unicode_survives(text: str) -> None:
    data = text_data(text, window=3, **SHARES)
    assert data.vocabulary.decode(data.numbers.numpy()) == text


def test_parts_are_contiguous_and_cover_the_text() -> None:
    data = abc()
    assert data.spans == {"train": (0, 72), "validation": (72, 96), "test": (96, 120)}
    assert data.vocabulary.decode(data.symbols_of("test")) == "abc" * 8
    assert data.vocabulary.decode(data.context_of("test", 4)) == "cabc"[-4:]
    assert len(data.context_of("train", 4)) == 0


def test_a_target_is_the_symbol_after_the_one_read() -> None:
    data = abc()
    batch = data.train.gather(np.arange(len(data.train)))
    read = batch.inputs.argmax(-1)
    assert batch.inputs.shape == (len(data.train), 10, 3)
    assert (batch.inputs.sum(-1) == 1).all()
    torch.testing.assert_close(read[:, 1:], batch.targets[:, :-1])
    torch.testing.assert_close(batch.targets, (read + 1) % 3)


def test_training_windows_never_reach_into_the_held_out_parts() -> None:
    data = text_data("".join(chr(65 + i % 26) for i in range(999)), window=7, **SHARES)
    starts = data.train.starts
    assert starts.max() + 7 <= data.train_stop - 1
    assert len(data.streams()[0].targets) == data.train_stop - 1


def test_counted_targets_of_a_held_out_part_lie_in_it_and_follow_one_another() -> None:
    data = text_data("".join(chr(33 + i % 90) for i in range(2000)), window=16, **SHARES)
    for part, source in (("validation", data.validation), ("test", data.monitor)):
        first, stop = data.spans[part]
        seen = []
        for batch in source.batches(3):
            seen.append(batch.targets[:, -batch.counted :].flatten())
        found = torch.cat(seen).numpy()
        np.testing.assert_array_equal(found, data.numbers[first : first + len(found)].numpy())
        assert stop - first - 4 * 16 < len(found) <= stop - first


def test_streams_are_packed_and_encode_unpacks_them() -> None:
    data = abc()
    (stream,) = data.streams()
    assert stream.inputs.shape == stream.targets.shape == (71, 1)
    torch.testing.assert_close(data.encode(stream.inputs[None, :10]), data.train.gather(np.array([0])).inputs)


def test_the_loss_is_the_cross_entropy_however_targets_are_shaped() -> None:
    data, logits = abc(), torch.randn(2, 5, 3, generator=torch.Generator().manual_seed(0))
    targets = torch.tensor([[0, 1, 2, 0, 1], [2, 1, 0, 2, 1]])
    wanted = -logits.log_softmax(-1).gather(-1, targets[:, :, None]).mean()
    for shaped in (targets, targets[:, :, None], targets.double()):
        torch.testing.assert_close(data.loss(logits, shaped), wanted)


def test_the_tally_counts_who_was_right() -> None:
    data = abc()
    logits = torch.eye(3)[torch.tensor([[0, 1, 2, 2]])]
    tally = data.tally(logits, torch.tensor([[0, 1, 2, 0]]))
    assert data.rates(tally + tally) == {"accuracy": 0.75}


def test_a_bare_number_is_read_where_that_is_asked_for() -> None:
    data = abc(encoding="number")
    assert data.signature.input_size == 1
    assert data.signature.output_size == 3
    assert data.train.gather(np.array([0])).inputs[0, :4, 0].tolist() == [0.0, 1.0, 2.0, 0.0]
    assert data.codes().tolist() == [[0.0], [1.0], [2.0]]


def test_what_occurs_only_later_becomes_the_unknown_symbol() -> None:
    data = text_data("ab" * 40 + "xyz!" * 5, window=5, validation_share=0.1, test_share=0.2)
    assert data.vocabulary.symbols == ("a", "b", UNKNOWN)
    assert set(data.symbols_of("test").tolist()) == {2}
    assert data.describe()["read as the unknown symbol"]["test"] == 20
    with pytest.raises(rs.DataError, match="'x' at position 2"):
        data.vocabulary.encode_known("axb")


def test_without_strangers_there_is_no_unknown_symbol() -> None:
    assert not abc().vocabulary.has_unknown
    with pytest.raises(rs.DataError, match="'d' at position 3"):
        abc().vocabulary.encode("abd")


def test_rare_characters_can_be_given_up() -> None:
    assert find_vocabulary("aaabbbc", "", min_count=2).symbols == ("a", "b", UNKNOWN)


def test_both_maps_and_all_shapes_are_in_the_data_report() -> None:
    found = text_data("hi \n" * 30, window=5, **SHARES).describe()
    assert found["number of each character"] == {"⏎": 0, "␣": 1, "h": 2, "i": 3}
    assert found["character of each number"] == {"0": "⏎", "1": "␣", "2": "h", "3": "i"}
    assert found["input shape"][-1] == found["output shape (logits)"][-1] == 4


def test_every_sign_stands_for_one_character() -> None:
    text = "a b\n\tc\x07\u200b"
    assert len(shown(text)) == len(text)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", "the text is empty"),
        ("ab" * 4, "the training part has 5 characters"),
        ("a" * 100, "every character of the training part is 'a'"),
        ("\n" * 100, "line feed|⏎"),
    ],
)
def test_texts_without_anything_to_learn_are_refused(text: str, found: str) -> None:
    with pytest.raises(rs.DataError, match=found) as caught:
        text_data(text, window=10, **SHARES)
    assert caught.value.expected
    assert caught.value.remedy


def test_shares_that_leave_nothing_to_train_on_are_refused() -> None:
    with pytest.raises(rs.ConfigError, match="less than 1"):
        text_data("ab" * 50, validation_share=0.5, test_share=0.5, window=5)


def brute_force_memory(text: str, most: int) -> int | None:
    for n in range(min(most, len(text) - 2) + 1):
        after: dict[str, set[str]] = {}
        for t in range(n, len(text)):
            after.setdefault(text[t - n : t], set()).add(text[t])
        if all(len(found) == 1 for found in after.values()):
            return n
    return None


@pytest.mark.parametrize("text", ["abc", "abac", "hello world ", "aab", "aaab", "abracadabra ", "a" * 12 + "b", "mississippi "])
def test_needed_memory_is_that_of_brute_force(text: str) -> None:
    numbers = np.array([ord(c) for c in text * 9])
    assert rs.needed_memory(numbers) == brute_force_memory(text * 9, 64)


def test_random_text_needs_more_than_is_tried() -> None:
    numbers = np.random.default_rng(0).integers(0, 2, 3000)
    assert rs.needed_memory(numbers, most=5) is None
