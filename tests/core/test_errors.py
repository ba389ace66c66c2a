"""Errors in three parts."""

import pickle

import pytest

from rnnscope.core import errors
from rnnscope.core.errors import ConfigError, RnnscopeError, nearest, unknown_name


def test_a_message_is_what_was_found_expected_and_to_do() -> None:
    error = RnnscopeError("a hat", "a cat", "stroke it")
    assert (error.found, error.expected, error.remedy) == ("a hat", "a cat", "stroke it")
    assert str(error).splitlines() == ["a hat", "expected: a cat", "to do: stroke it"]
    assert str(RnnscopeError("a hat")) == "a hat"


@pytest.mark.parametrize(
    ("name", "family"),
    [
        ("ConfigError", ValueError),
        ("DataError", ValueError),
        ("ShapeError", ValueError),
        ("RunFolderError", OSError),
        ("TrainingError", ArithmeticError),
    ],
)
def test_errors_belong_to_pythons_families_too(name: str, family: type[Exception]) -> None:
    error = getattr(errors, name)("found", "expected", "remedy")
    assert isinstance(error, family)
    assert isinstance(error, RnnscopeError)
    assert str(error).splitlines()[0] == "found"


def test_errors_survive_pickling() -> None:
    """As between the processes of a parallel test run."""
    error = pickle.loads(pickle.dumps(ConfigError("found", "expected", "remedy")))
    assert (error.found, error.expected, error.remedy) == ("found", "expected", "remedy")


def test_the_nearest_name_is_near_or_none() -> None:
    names = ["hidden_size", "num_layers", "dropout"]
    assert nearest("hiden_size", names) == "hidden_size"
    assert nearest("Dropout", names) == "dropout"
    assert nearest("zzz", names) == ""
    assert nearest("anything", []) == ""


def test_an_unknown_name_is_answered_with_the_known_ones() -> None:
    error = unknown_name("model", "gruu", {"gru": 1, "lstm": 2})
    assert error.found == "unknown model 'gruu'"
    assert error.expected == "one of: gru, lstm"
    assert error.remedy == "did you mean 'gru'?"
    assert "did you mean" not in unknown_name("model", "zzzz", ["gru"]).remedy
    assert unknown_name("model", "zzzz", []).expected == "none is defined"
    assert len(unknown_name("preset", "x", [f"name{i}" for i in range(500)]).expected) < 400
