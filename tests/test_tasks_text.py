"""The tasks characters and text: what they prepare, and the files that they refuse."""

from pathlib import Path

import pytest

import rnnscope as rs
from rnnscope.core.random import Streams
from rnnscope.tasks.text import manual, read_text

SMALL = {"most_characters": 3000, "window": 16}


def prepared(task: rs.Characters | rs.Text) -> rs.TextData:
    return task.prepare(Streams(0))


def test_the_pattern_is_repeated_to_the_length_asked_for() -> None:
    data = prepared(rs.Characters(pattern="hello ", num_characters=100))
    assert data.vocabulary.decode(data.numbers.numpy()) == ("hello " * 20)[:100]
    assert data.pattern == "hello "
    assert data.describe()["text"] == "'hello␣' over and over"


@pytest.mark.parametrize("task", [rs.Characters(), rs.Text(**SMALL)])
def test_preparing_twice_gives_the_same_data(task: rs.Characters | rs.Text) -> None:
    assert prepared(task).fingerprint() == prepared(task).fingerprint()


def test_a_text_without_a_file_is_pythons_manual() -> None:
    assert len(manual()) > 100_000
    data = prepared(rs.Text(**SMALL))
    assert data.vocabulary.decode(data.symbols_of("train", 2000)) == manual()[:2000]
    assert any("task.path=" in note for note in data.describe()["notes"])


def test_a_file_is_read_with_its_line_ends_made_one(tmp_path: Path) -> None:
    file = tmp_path / "book.txt"
    file.write_bytes("\ufeffone\r\ntwo\rthree\n".encode() * 1 + "né\n".encode() * 50)
    assert read_text(str(file)) == "one\ntwo\nthree\n" + "né\n" * 50
    assert "book.txt" in prepared(rs.Text(path=str(file), window=8)).describe()["text"]


@pytest.mark.parametrize("encoding", ["latin-1", "utf-16", "cp1252"])
def test_other_encodings_are_read_when_named(tmp_path: Path, encoding: str) -> None:
    file = tmp_path / "book.txt"
    file.write_bytes("déjà vu\n".encode(encoding))
    assert read_text(str(file), encoding) == "déjà vu\n"


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (b"", "is empty"),
        (b" \n\t\n", "white space"),
        (b"abc\0def" * 100, "is no text: byte 4 is zero"),
        (b"caf\xe9 au lait", r"not utf-8: byte 4 \(0xe9\)"),
        (bytes(range(1, 256)), "not utf-8"),
    ],
)
def test_files_that_are_no_text_are_refused(tmp_path: Path, content: bytes, found: str) -> None:
    file = tmp_path / "file"
    file.write_bytes(content)
    with pytest.raises(rs.DataError, match=found) as caught:
        read_text(str(file))
    assert caught.value.expected
    assert "task." in caught.value.remedy or "file" in caught.value.remedy


def test_a_missing_file_a_folder_and_an_unknown_encoding_are_refused(tmp_path: Path) -> None:
    for path in (tmp_path / "none.txt", tmp_path):
        with pytest.raises(rs.DataError, match="cannot be read"):
            prepared(rs.Text(path=str(path)))
    with pytest.raises(rs.ConfigError, match="utf-9"):
        prepared(rs.Text(path=__file__, file_encoding="utf-9"))
    with pytest.raises(rs.ConfigError, match="hex"):
        prepared(rs.Text(path=__file__, file_encoding="hex"))


def test_a_text_shorter_than_a_window_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "short.txt"
    file.write_text("too short for a window\n")
    with pytest.raises(rs.DataError, match="a window reads 64"):
        prepared(rs.Text(path=str(file)))


def test_patterns_with_nothing_to_predict_are_refused() -> None:
    with pytest.raises(rs.DataError, match="one distinct character"):
        prepared(rs.Characters(pattern="aaa"))
    with pytest.raises(rs.DataError, match="the pattern twice"):
        prepared(rs.Characters(pattern="abcdefgh", num_characters=10))
    with pytest.raises(rs.ConfigError, match="pattern"):
        rs.Characters(pattern="")
