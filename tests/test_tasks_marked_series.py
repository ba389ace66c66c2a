import numpy as np
import pytest

import rnnscope as rs
from rnnscope.core.random import Streams


def test_draws_are_those_of_the_normal_law_and_repeat_with_the_seed():
    data = rs.Emergence(num_draws=4000).prepare(Streams(42))
    values = data.series.values[:, 0]
    assert values.mean() == pytest.approx(50, abs=0.3)
    assert values.std() == pytest.approx(5, abs=0.2)
    assert data.series.marks is None
    assert not data.series.ordered
    np.testing.assert_array_equal(values, rs.Emergence(num_draws=4000).prepare(Streams(42)).series.values[:, 0])


def test_planted_values_are_marked_and_far_out():
    series = rs.Emergence(num_planted=5, shift=20).prepare(Streams(0)).series
    assert series.marks.sum() == 5
    assert (np.abs(series.values[series.marks, 0] - 50) > 70).all()


def test_planted_anomalies_lie_behind_the_training_part_apart_from_one_another():
    series = rs.PlantedAnomalies(num_anomalies=5, num_steps=2500).prepare(Streams(3)).series
    marks = series.marks
    assert not marks[: series.train_until].any()
    assert (np.diff(marks.astype(int)) == 1).sum() == 5
    assert marks.sum() == 1 + 25 + 25 + 50 + 25


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: rs.PlantedAnomalies(num_anomalies=30), "num_anomalies is 30"),
        (lambda: rs.PlantedAnomalies(num_steps=1000, train_until=1500), "num_anomalies"),
        (lambda: rs.Emergence(num_planted=600), "num_planted is 600"),
        (lambda: rs.Emergence(num_draws=5), "num_draws"),
    ],
)
def test_fields_that_do_not_fit_are_named(make, message):
    with pytest.raises(rs.ConfigError, match=message):
        make()


def write(path, text):
    path.write_text(text)
    return str(path)


def test_files_give_values_marks_and_times(tmp_path):
    rows = "\n".join(f"2020-01-{i + 1:02d},{np.sin(i):.6f},{int(i == 20)}" for i in range(30))
    path = write(tmp_path / "a.csv", f"day,load,bad\n{rows}\n")
    series = rs.MarkedFile(path=path, label="bad", time="day").prepare(Streams(0)).series
    assert series.names == ("load",)
    assert np.flatnonzero(series.marks).tolist() == [20]
    assert str(series.times[3]) == "2020-01-04"
    np.savez(tmp_path / "a.npz", x=np.sin(np.arange(30.0)), y=np.arange(30) == 3)
    assert rs.MarkedFile(path=str(tmp_path / "a.npz"), column="x", label="y").prepare(Streams(0)).series.marks[3]


@pytest.mark.parametrize(
    ("fields", "text", "message"),
    [
        ({"column": "laod"}, "", "no column 'laod'"),
        ({"column": "load", "label": "lable"}, "", "no column 'lable'"),
        ({"column": "load", "time": "tme"}, "", "no column 'tme'"),
        ({}, "", "has 2 columns of numbers"),
        ({"column": "load", "label": "word"}, "", "column 'word' of a.csv holds"),
        ({"column": "load", "label": "load"}, "", "the label"),
        ({"column": "load"}, "load,bad\n1,0\n2,0\n", "has 2 rows"),
        ({"column": "load"}, "load,bad\n" + "1,0\n,0\n" * 10, "column 'load' is nan at row 2"),
    ],
)
def test_files_that_do_not_fit_are_refused(tmp_path, fields, text, message):
    rows = "\n".join(f"{np.sin(i):.6f},{i % 2},word" for i in range(30))
    path = write(tmp_path / "a.csv", text or f"load,bad,word\n{rows}\n")
    with pytest.raises((rs.ConfigError, rs.DataError), match=message):
        rs.MarkedFile(path=path, **fields).prepare(Streams(0))


def test_text_among_the_values_is_refused_without_naming_a_field_that_the_task_lacks(tmp_path):
    path = tmp_path / "x.csv"
    path.write_text("load\n1\nlow\n" + "2\n" * 30)
    with pytest.raises(rs.DataError, match="holds 'low' at row 2") as caught:
        rs.MarkedFile(path=str(path), column="load").prepare(Streams(0))
    assert "task." not in caught.value.remedy
    with pytest.raises(rs.DataError, match="holds 'low' at row 2") as caught:
        rs.Table(path=str(path), target="load").prepare(Streams(0))
    assert "task.missing" in caught.value.remedy
