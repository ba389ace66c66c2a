"""Observations in all the forms that users have them; the first bad value is named with its place."""

import numpy as np
import pytest
import torch

import rnnscope as rs
from rnnscope.markov.observations import Observations, symbols, vectors

ROWS = [[0, 1, 2], [2, 2, 0]]
RAGGED = [[0, 1, 2, 1], [2]]


def same(found: Observations, values: object, lengths: list[int], single: bool = False) -> None:
    np.testing.assert_array_equal(found.values, values)
    assert found.lengths.tolist() == lengths
    assert found.single is single


# symbols


@pytest.mark.parametrize(
    "given",
    [
        ROWS,
        np.array(ROWS),
        np.array(ROWS, dtype=np.uint8),
        np.array(ROWS, dtype=np.float32),
        torch.tensor(ROWS),
        [np.array(r) for r in ROWS],
        [torch.tensor(r) for r in ROWS],
        tuple(map(tuple, ROWS)),
        np.eye(3)[np.array(ROWS)],
        torch.eye(3)[torch.tensor(ROWS)],
        [np.eye(3, dtype=int)[r] for r in ROWS],
    ],
    ids=[
        *("lists", "array", "bytes", "floats", "tensor", "arrays", "tensors", "tuples"),
        *("one-hot", "one-hot tensor", "one-hot list"),
    ],
)
def test_symbols_in_every_form_are_the_same(given: object) -> None:
    found = symbols(given)
    same(found, ROWS, [3, 3])
    assert found.values.dtype == np.int32
    assert found.num_observed == 6


def test_a_bare_sequence_is_told_from_a_batch_of_one() -> None:
    same(symbols([0, 1, 2]), [[0, 1, 2]], [3], single=True)
    same(symbols([[0, 1, 2]]), [[0, 1, 2]], [3])
    assert symbols(np.eye(3)[[[0, 1]]]).single is False


def test_sequences_of_unequal_length_are_padded_with_missing_symbols() -> None:
    same(symbols(RAGGED), [[0, 1, 2, 1], [2, -1, -1, -1]], [4, 1])
    assert symbols(RAGGED).num_observed == 5


def test_missing_symbols_are_minus_one_or_nan() -> None:
    same(symbols([0, -1, 2]), [[0, -1, 2]], [3], single=True)
    same(symbols([0, np.nan, 2]), [[0, -1, 2]], [3], single=True)
    assert symbols([0, -1, 2]).num_observed == 2


def test_lengths_cut_padded_sequences_and_what_lies_beyond_is_not_looked_at() -> None:
    same(symbols(ROWS, lengths=[2, 3]), [[0, 1, -1], [2, 2, 0]], [2, 3])
    same(symbols([[0, 1, 99]], lengths=[2], num_symbols=3), [[0, 1, -1]], [2])
    same(symbols([0, 1, 2], lengths=2), [[0, 1, -1]], [2], single=True)


@pytest.mark.parametrize(
    ("given", "options", "place"),
    [
        ([[0, 1], [0, 3]], {"num_symbols": 3}, "symbol 3 at position 1 of sequence 1"),
        ([0, 1, -2], {}, "symbol -2 at position 2 of sequence 0"),
        ([0, 1.5, 7.5], {}, "symbol 1.5 at position 1 of sequence 0"),
        ([[0, 1], [np.inf, 1]], {}, "symbol inf at position 0 of sequence 1"),
        ([[0, 1], [0, 2]], {"num_symbols": 2}, "symbol 2 at position 1 of sequence 1"),
        ([[[1, 0], [1, 1]]], {}, r"row \[1, 1\] at position 1 of sequence 0"),
        ([[[1, 0]], [[0, 0]]], {}, r"row \[0, 0\] at position 0 of sequence 1"),
        ([["a", "b"]], {}, "symbols of type <U1"),
        ([[0, 1], []], {}, "sequence 1 is empty"),
        ([], {}, "sequence 0 is empty|no sequences"),
        (np.empty((0, 4), int), {}, "no sequences"),
        (np.empty((2, 0), int), {}, "sequence 0 is empty"),
        (3, {}, r"observations of shape \(\)"),
        (np.zeros((1, 2, 3, 4)), {}, r"shape \(1, 2, 3, 4\)"),
        (ROWS, {"lengths": [3]}, r"lengths of shape \(1,\)"),
        (ROWS, {"lengths": [3, 4]}, "length 4 of sequence 1"),
        (ROWS, {"lengths": [0, 3]}, "length 0 of sequence 0"),
        (ROWS, {"lengths": [1.5, 3]}, "lengths of shape"),
    ],
)
def test_the_first_bad_symbol_or_size_is_named_with_its_place(given: object, options: dict, place: str) -> None:
    with pytest.raises(rs.DataError, match=place) as caught:
        symbols(given, **options)
    assert caught.value.expected
    assert caught.value.remedy


def test_the_alphabet_is_named_beside_a_symbol_outside_it() -> None:
    with pytest.raises(rs.DataError) as caught:
        symbols([0, 5], num_symbols=3)
    assert "0 … 2" in caught.value.expected


def test_what_is_given_is_not_changed() -> None:
    given = np.array([[0, np.nan, 1]])
    symbols(given)
    assert np.isnan(given[0, 1])


# vectors


@pytest.mark.parametrize(
    ("given", "shape", "single"),
    [
        pytest.param(
            [0.5, 1.0, 2.0],
            (1, 3, 1),
            True,
        ),
        (np.zeros(4), (1, 4, 1), True),
        (np.zeros((4, 2)), (1, 4, 2), True),
        (torch.zeros(4, 2), (1, 4, 2), True),
        (torch.zeros(4), (1, 4, 1), True),
        (np.zeros((3, 4, 2)), (3, 4, 2), False),
        ([np.zeros(4), np.zeros(2)], (2, 4, 1), False),
        ([np.zeros((4, 2)), np.zeros((1, 2))], (2, 4, 2), False),
        (np.zeros((4, 2), int), (1, 4, 2), True),
    ],
)
def test_vectors_in_every_form(given: object, shape: tuple[int, ...], single: bool) -> None:
    found = vectors(given)
    assert found.values.shape == shape
    assert found.values.dtype == np.float64
    assert found.single is single


def test_missing_vectors_are_nan_and_padding_too() -> None:
    found = vectors([np.array([[1.0, np.nan], [np.nan, np.nan]]), np.array([[1.0, 2.0]])])
    assert found.num_observed == 2
    assert np.isnan(found.values[1, 1]).all()


@pytest.mark.parametrize(
    ("given", "options", "place"),
    [
        (np.array([0.0, np.inf, 1.0]), {}, "infinite value at position 1 of sequence 0"),
        ([np.zeros((2, 2)), np.array([[0, 1], [np.inf, 0]])], {}, "infinite value at position 1 of sequence 1"),
        (np.zeros((3, 2)), {"num_features": 3}, "2 features"),
        ([np.zeros((3, 2)), np.zeros((3, 1))], {}, "sequence 1"),
        (np.array([["a", "b"]]), {}, "values of type"),
        (np.empty((0, 3)), {}, "empty|no sequences"),
        (np.zeros((3, 0)), {}, r"\(3, 0\)"),
        (np.zeros((2, 3, 1)), {"lengths": [3, 9]}, "length 9 of sequence 1"),
    ],
)
def test_the_first_bad_vector_is_named_with_its_place(given: object, options: dict, place: str) -> None:
    with pytest.raises(rs.DataError, match=place):
        vectors(given, **options)


def test_a_value_beyond_the_length_may_be_anything() -> None:
    found = vectors(np.array([[[1.0], [np.inf]]]), lengths=[1])
    assert found.lengths.tolist() == [1]
    assert np.isnan(found.values[0, 1]).all()


def test_some_of_the_sequences_come_without_needless_padding() -> None:
    found = symbols(RAGGED).take(np.array([1]))
    same(found, [[2]], [1])
