"""Files that users name: every way in which one cannot be read is told apart."""

import pytest

from rnnscope.core.errors import ConfigError, DataError
from rnnscope.tasks.given_file import given_file

WORDS = {"wanted": "a table", "content": "rows", "example": "data.csv", "suffixes": (".csv", ".tsv")}


def test_a_file_that_is_there_is_handed_back(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "x.CSV").write_text("a\n1\n")
    assert given_file("~/x.CSV", **WORDS) == tmp_path / "x.CSV"
    (tmp_path / "x.npz").write_text("any")
    assert given_file(str(tmp_path / "x.npz"), wanted="", content="", example="") == tmp_path / "x.npz"


def test_every_obstacle_has_its_own_message_and_remedy(tmp_path):
    (tmp_path / "load.csv").write_text("a\n1\n")
    (tmp_path / "empty.csv").touch()
    (tmp_path / "x.doc").write_text("a")
    cases = {
        "loda.csv": ("there is no file", "did you mean 'load.csv'?"),
        "q.tsv": ("there is no file", "looked in"),
        "": ("is a folder", "name a file in it"),
        "x.doc": ("ends in '.doc'", "convert"),
        "empty.csv": ("is empty", "how it was written"),
    }
    for name, (found, remedy) in cases.items():
        with pytest.raises(DataError) as caught:
            given_file(str(tmp_path / name), **WORDS)
        assert found in caught.value.found
        assert remedy in caught.value.remedy
    with pytest.raises(ConfigError, match=r"task\.test_path is empty") as unnamed:
        given_file("", field="task.test_path", **WORDS)
    assert unnamed.value.remedy == "set task.test_path=data.csv"
