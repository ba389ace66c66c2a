"""The Santa Fe laser: read from a package that is not imported, or from a file of one's own."""

import importlib.util
import sys
from importlib.machinery import ModuleSpec
from pathlib import Path

import numpy as np
import pytest

import rnnscope as rs
from rnnscope.core.forecast import ForecastData
from rnnscope.core.random import Streams


def found_at(monkeypatch: pytest.MonkeyPatch, origin: Path | None) -> None:
    spec = None if origin is None else ModuleSpec("reservoirpy", None, origin=str(origin))
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: spec)


def test_where_the_package_is_absent_it_is_named_with_the_command_that_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    found_at(monkeypatch, None)
    with pytest.raises(rs.DataError, match="does not ship with rnnscope") as caught:
        rs.SantaFeLaser().prepare(Streams(0))
    assert "pip install 'rnnscope[laser]'" in caught.value.remedy
    assert "task.path" in caught.value.remedy


def test_the_file_inside_the_package_is_read_without_importing_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    values = np.arange(200)[:, None] % 37
    (tmp_path / "datasets").mkdir()
    np.save(tmp_path / "datasets/santafe_laser.npy", values)
    found_at(monkeypatch, tmp_path / "__init__.py")
    data = rs.SantaFeLaser(window=10).prepare(Streams(0))
    assert isinstance(data, ForecastData)
    np.testing.assert_array_equal(data.series[0].values, values)
    assert "reservoirpy" not in sys.modules


def test_a_file_of_ones_own_goes_first(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    found_at(monkeypatch, None)
    np.save(tmp_path / "own.npy", np.sin(np.arange(100.0)))
    data = rs.SantaFeLaser(path=str(tmp_path / "own.npy"), window=10).prepare(Streams(0))
    assert len(data.series[0]) == 100
