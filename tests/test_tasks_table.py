"""One's own files: every kind reads to the same series; gaps, dates, many series and covariates; what ships loads."""

import datetime as dt
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

import rnnscope as rs
from helpers import wave
from rnnscope.core.random import Streams
from rnnscope.tasks.table import read_table

STEPS = 40


def frame() -> pd.DataFrame:
    return pd.DataFrame({"load": wave(STEPS), "heat": np.cos(0.2 * np.arange(STEPS)), "hour": np.arange(STEPS) * 0.5})


def save_csv(data: pd.DataFrame, path: Path) -> None:
    data.to_csv(path, index=False)


def save_commented(data: pd.DataFrame, path: Path) -> None:
    path.write_text("# where it comes from\n# and when\n" + data.to_csv(index=False), encoding="utf-8")


def save_tsv(data: pd.DataFrame, path: Path) -> None:
    data.to_csv(path, index=False, sep="\t")


def save_text(data: pd.DataFrame, path: Path) -> None:
    data.to_csv(path, index=False, sep=" ")


def save_parquet(data: pd.DataFrame, path: Path) -> None:
    data.to_parquet(path, index=False)


def save_npz(data: pd.DataFrame, path: Path) -> None:
    np.savez(path, **{str(c): data[c].to_numpy() for c in data})


KINDS = {
    "data.csv": save_csv,
    "commented.csv": save_commented,
    "data.tsv": save_tsv,
    "data.txt": save_text,
    "data.parquet": save_parquet,
    "data.npz": save_npz,
}


def record(path: Path, **fields: object) -> rs.Recording:
    return rs.Table(path=str(path), window=5, **fields).record(np.random.default_rng(0))


def csv(folder: Path, **columns: object) -> Path:
    path = folder / "table.csv"
    pd.DataFrame(columns).to_csv(path, index=False)
    return path


# kinds of files


@pytest.mark.parametrize("name", KINDS)
def test_every_kind_of_file_reads_to_the_same_series(tmp_path, name):
    KINDS[name](frame(), tmp_path / name)
    recording = record(tmp_path / name, target="load", covariates=("heat",), time="hour")
    (series,) = recording.series
    np.testing.assert_allclose(series.values[:, 0], frame()["load"], rtol=1e-15)
    np.testing.assert_allclose(series.covariates[:, 0], frame()["heat"], rtol=1e-15)
    np.testing.assert_allclose(series.times, frame()["hour"])
    assert (series.names, series.covariate_names) == (("load",), ("heat",))
    assert recording.sampling_interval == pytest.approx(0.5)


@pytest.mark.parametrize("text", ["load\n{}", "load\n{}\n"])
@pytest.mark.parametrize("suffix", ["csv", "tsv", "txt"])
def test_a_single_column_of_text_keeps_its_name_and_its_decimals(tmp_path, suffix, text):
    path = tmp_path / f"one.{suffix}"
    path.write_text(text.format("\n".join(f"{v:.3f}" for v in wave(STEPS))))
    series = record(path).series[0]
    assert series.names == ("load",)
    np.testing.assert_allclose(series.values[:, 0], wave(STEPS), atol=5e-4)


def test_an_array_of_one_axis_is_one_variable_and_of_two_axes_as_many_as_columns(tmp_path):
    np.save(tmp_path / "one.npy", wave(STEPS))
    np.save(tmp_path / "two.npy", np.stack([wave(STEPS), -wave(STEPS)], 1))
    assert record(tmp_path / "one.npy").series[0].names == ("x",)
    two = record(tmp_path / "two.npy", target=("x1", "x2")).series[0]
    np.testing.assert_array_equal(two.values, np.stack([wave(STEPS), -wave(STEPS)], 1))


def test_a_wide_array_in_an_archive_becomes_numbered_columns(tmp_path):
    np.savez(tmp_path / "wide.npz", state=np.stack([wave(STEPS), 2 * wave(STEPS)], 1), t=np.arange(STEPS))
    series = record(tmp_path / "wide.npz", target=("state2", "state1"), time="t").series[0]
    np.testing.assert_array_equal(series.values, np.stack([2 * wave(STEPS), wave(STEPS)], 1))


def test_a_column_with_a_byte_order_mark_in_front_keeps_its_name(tmp_path):
    path = tmp_path / "excel.csv"
    path.write_bytes(b"\xef\xbb\xbf" + frame().to_csv(index=False).encode())
    assert record(path, target="load").series[0].names == ("load",)


def damaged_files(folder: Path) -> dict[str, Path]:
    np.savez(folder / "whole.npz", x=np.arange(1000.0))
    whole = (folder / "whole.npz").read_bytes()
    np.save(folder / "whole.npy", np.arange(1000.0))
    flipped = bytearray(whole)
    flipped[600:620] = bytes(20)
    np.savez_compressed(folder / "packed.npz", x=np.random.default_rng(0).normal(size=1000))
    packed = bytearray((folder / "packed.npz").read_bytes())
    packed[300:340] = bytes(40)
    contents = {
        "cut.npz": whole[: len(whole) // 2],
        "flipped.npz": bytes(flipped),
        "packed.npz": bytes(packed),
        "array.npz": (folder / "whole.npy").read_bytes(),
        "archive.npy": whole,
        "cut.npy": (folder / "whole.npy").read_bytes()[:200],
        "garbage.npy": b"not an array",
        "garbage.npz": b"not an archive",
        "garbage.parquet": b"PAR1 not a table",
        "latin.csv": "größe\n1\n2\n".encode("latin-1"),
        "ragged.csv": b"a,b\n1,2\n1,2,3\n",
        "nul.csv": b"\x00\x00\x00\x00",
    }
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    np.save(folder / "number.npy", np.float64(3))
    np.save(folder / "cube.npy", np.zeros((4, 3, 2)))
    np.savez(folder / "cube.npz", x=np.zeros((4, 3, 2)))
    np.savez(folder / "uneven.npz", x=np.zeros(4), y=np.zeros(5))
    np.savez(folder / "objects.npz", x=np.array([1, None], object))
    np.save(folder / "objects.npy", np.array([1, None], object))
    np.savez(folder / "nothing.npz")
    with zipfile.ZipFile(folder / "stranger.npz", "w") as archive:
        archive.writestr("readme.txt", "hello")
    names = (*contents, "number.npy", "cube.npy", "cube.npz", "uneven.npz", "objects.npz", "objects.npy", "nothing.npz")
    return {name: folder / name for name in (*names, "stranger.npz")}


@pytest.fixture(scope="module")
def damaged(tmp_path_factory):
    return damaged_files(tmp_path_factory.mktemp("damaged"))


DAMAGED = (
    *("cut.npz", "flipped.npz", "packed.npz", "array.npz", "archive.npy", "cut.npy", "garbage.npy", "garbage.npz"),
    *("garbage.parquet", "latin.csv", "ragged.csv", "nul.csv", "number.npy", "cube.npy", "cube.npz", "uneven.npz"),
    *("objects.npz", "objects.npy", "nothing.npz", "stranger.npz"),
)


@pytest.mark.parametrize("name", DAMAGED)
def test_a_damaged_or_shapeless_file_is_refused_by_name(damaged, name):
    with pytest.raises(rs.DataError, match=name) as caught:
        record(damaged[name])
    assert caught.value.expected
    assert caught.value.remedy


def test_complex_numbers_are_refused_rather_than_cut_in_half(tmp_path):
    np.savez(tmp_path / "complex.npz", x=np.exp(1j * np.arange(60)))
    with pytest.raises(rs.RnnscopeError):
        record(tmp_path / "complex.npz", target="x")


# columns


def test_the_only_numeric_column_is_the_target_unless_another_is_named(tmp_path):
    path = csv(tmp_path, day=[f"day {i}" for i in range(STEPS)], load=wave(STEPS))
    assert record(path).series[0].names == ("load",)


def test_with_several_numeric_columns_the_target_must_be_named(tmp_path):
    path = csv(tmp_path, load=wave(STEPS), heat=wave(STEPS))
    with pytest.raises(rs.ConfigError, match="2 numeric columns") as caught:
        record(path)
    assert "load" in caught.value.expected
    assert "heat" in caught.value.expected
    assert record(path, covariates=("heat",)).series[0].names == ("load",)


def test_a_star_asks_for_every_numeric_column_but_one_that_rises_from_row_to_row(tmp_path):
    file = tmp_path / "orbit.csv"
    angles = np.linspace(0, 40, 200)
    pd.DataFrame({"clock": 0.5 * np.arange(200), "x": np.cos(angles), "name": "a", "y": np.sin(angles)}).to_csv(
        file, index=False
    )
    data = rs.Table(path=str(file), target="*", window=10).prepare(Streams(0))
    assert data.series[0].names == ("x", "y")
    assert data.sampling_interval == 0.5
    assert any("'clock' rises" in note for note in data.notes)
    named = rs.Table(path=str(file), target=("clock", "x"), window=10).prepare(Streams(0))
    assert named.series[0].names == ("clock", "x")


@pytest.mark.parametrize("field", ["target", "covariates", "time", "series"])
def test_a_misspelled_column_is_answered_with_the_nearest(tmp_path, field):
    path = csv(tmp_path, temperature=wave(STEPS), weekday=np.arange(STEPS))
    value = ("temperatur",) if field == "covariates" else "temperatur"
    with pytest.raises(rs.ConfigError, match="no column 'temperatur'") as caught:
        record(path, **{"target": "weekday", field: value})
    assert "temperature" in caught.value.remedy


def test_several_targets_keep_the_order_in_which_they_are_named(tmp_path):
    path = csv(tmp_path, a=np.arange(STEPS), b=-np.arange(STEPS))
    series = record(path, target=("b", "a")).series[0]
    np.testing.assert_array_equal(series.values, np.stack([-np.arange(STEPS), np.arange(STEPS)], 1))


def test_text_in_a_number_column_is_reported_with_its_row_and_value(tmp_path):
    values: list[object] = list(wave(STEPS))
    values[6], values[9] = "unknown", "worse"
    with pytest.raises(rs.DataError, match=r"'load'.*'unknown'.*row 7"):
        record(csv(tmp_path, load=values), target="load")


def test_text_in_one_of_many_series_is_reported_with_its_row_in_the_file(tmp_path):
    values: list[object] = list(wave(2 * STEPS))
    values[STEPS + 6] = "oops"
    names = ["a"] * STEPS + ["b"] * STEPS
    with pytest.raises(rs.DataError, match=f"'oops'.*row {STEPS + 7}"):
        record(csv(tmp_path, name=names, load=values), target="load", series="name")


# time


def test_dates_become_times(tmp_path):
    days = [dt.date(2021, 3, 1) + dt.timedelta(days=i) for i in range(STEPS)]
    series = record(csv(tmp_path, day=[d.isoformat() for d in days], load=wave(STEPS)), time="day").series[0]
    assert series.times.dtype == np.dtype("datetime64[ns]")
    assert list(series.times.astype("datetime64[D]").astype(object)) == days


def test_dates_with_a_time_zone_keep_their_spacing(tmp_path):
    stamps = [f"2021-03-01T{i:02d}:00:00+02:00" for i in range(24)]
    series = record(csv(tmp_path, at=stamps, load=wave(24)), time="at").series[0]
    assert (np.diff(series.times) == np.timedelta64(1, "h")).all()


def test_dates_across_a_change_of_the_clock_are_even_or_are_refused(tmp_path):
    start = dt.datetime(2021, 3, 27, 20, tzinfo=dt.UTC)
    moments = [start + dt.timedelta(hours=i) for i in range(24)]
    stamps = [m.astimezone(dt.timezone(dt.timedelta(hours=1 if i < 5 else 2))).isoformat() for i, m in enumerate(moments)]
    try:
        times = record(csv(tmp_path, at=stamps, load=wave(24)), time="at").series[0].times
    except rs.DataError:
        return
    assert (np.diff(times) == np.timedelta64(1, "h")).all()


def test_dates_in_a_parquet_file_stay_dates(tmp_path):
    stamps = pd.date_range("2021-01-01", periods=STEPS, freq="D")
    pd.DataFrame({"day": stamps, "load": wave(STEPS)}).to_parquet(tmp_path / "d.parquet")
    series = record(tmp_path / "d.parquet", target="load", time="day").series[0]
    np.testing.assert_array_equal(series.times, stamps.to_numpy("datetime64[ns]"))


def test_a_word_among_dates_is_reported_with_its_row(tmp_path):
    stamps = [f"2021-03-{i + 1:02d}" for i in range(20)]
    stamps[4] = "yesterday"
    with pytest.raises(rs.DataError, match=r"'day'.*'yesterday'.*row 5"):
        record(csv(tmp_path, day=stamps, load=wave(20)), time="day")


@pytest.mark.parametrize("order", [[0, 1, 3, 2, 4], [0, 1, 1, 2, 3], [4, 3, 2, 1, 0]])
def test_times_that_do_not_increase_are_reported_with_their_row(tmp_path, order):
    path = csv(tmp_path, t=order, load=np.arange(5.0))
    row = next(i for i in range(1, 5) if order[i] <= order[i - 1]) + 1
    with pytest.raises(rs.DataError, match=f"'t'.*does not increase at row {row}") as caught:
        record(path, target="load", time="t")
    assert "sort" in caught.value.remedy


@pytest.mark.parametrize("column", ["numbers", "dates"])
def test_a_missing_time_is_refused(tmp_path, column):
    times: list[object] = list(range(10)) if column == "numbers" else [f"2021-03-{i + 1:02d}" for i in range(10)]
    times[3] = None
    with pytest.raises(rs.DataError, match="'t'"):
        record(csv(tmp_path, t=times, load=np.arange(10.0)), target="load", time="t")


def test_an_uneven_time_column_has_no_sampling_interval(tmp_path):
    assert record(csv(tmp_path, t=np.arange(STEPS) ** 2, load=wave(STEPS)), target="load", time="t").sampling_interval is None


# many series


def test_each_value_of_the_series_column_is_a_series_in_order_of_appearance(tmp_path):
    names = ["north"] * 12 + ["east"] * 15 + ["north"] * 8
    values = np.arange(35.0)
    recording = record(csv(tmp_path, name=names, load=values), target="load", series="name")
    assert [s.name for s in recording.series] == ["north", "east"]
    np.testing.assert_array_equal(recording.series[0].values[:, 0], [*range(12), *range(27, 35)])
    np.testing.assert_array_equal(recording.series[1].values[:, 0], range(12, 27))


def test_times_need_to_increase_within_each_series_only(tmp_path):
    path = csv(tmp_path, name=["a"] * 10 + ["b"] * 10, t=[*range(10), *range(10)], load=np.arange(20.0))
    assert [list(s.times) for s in record(path, target="load", series="name", time="t").series] == [list(range(10))] * 2


def test_a_row_that_belongs_to_no_series_is_not_dropped_in_silence(tmp_path):
    path = csv(tmp_path, name=["a"] * 10 + [None] + ["b"] * 10, load=np.arange(21.0))
    try:
        series = record(path, target="load", series="name").series
    except rs.DataError:
        return
    assert sum(map(len, series)) == 21


def test_windows_never_reach_from_one_series_into_the_next(tmp_path):
    names = np.repeat(["a", "b", "c"], 30)
    values = np.repeat([0.0, 100.0, 200.0], 30) + np.tile(np.arange(30.0), 3)
    task = rs.Table(path=str(csv(tmp_path, name=names, load=values)), target="load", series="name", window=5, scaling="none")
    data = task.prepare(Streams(0))
    batch = data.train.gather(np.arange(len(data.train)))
    rows = np.concatenate([batch.inputs[..., 0].numpy(), batch.targets[:, -1:, 0].numpy()], 1)
    np.testing.assert_allclose(np.diff(rows, axis=1), 1.0)


# missing values


def with_gaps(folder: Path) -> Path:
    load, heat = wave(STEPS), np.cos(0.2 * np.arange(STEPS))
    load[[0, 7, 8, 20, STEPS - 1]] = np.nan
    heat[[8, 30]] = np.nan
    return csv(folder, load=load, heat=heat, t=np.arange(STEPS))


GAPS = {"target": "load", "covariates": ("heat",), "time": "t"}


def test_a_missing_value_is_an_error_unless_a_policy_is_chosen(tmp_path):
    with pytest.raises(rs.DataError, match=r"'load'.*missing at row 1 \(7 missing values\)") as caught:
        record(with_gaps(tmp_path), **GAPS)
    assert "interpolate" in caught.value.remedy
    assert "drop" in caught.value.remedy


def test_interpolation_draws_straight_lines_inside_and_drops_the_ends(tmp_path):
    series = record(with_gaps(tmp_path), missing="interpolate", **GAPS).series[0]
    np.testing.assert_array_equal(series.times, np.arange(1, STEPS - 1))
    values, full = series.values[:, 0], wave(STEPS)
    assert values[20 - 1] == pytest.approx((full[19] + full[21]) / 2)
    assert values[7 - 1] == pytest.approx(full[6] + (full[9] - full[6]) / 3)
    assert values[8 - 1] == pytest.approx(full[6] + 2 * (full[9] - full[6]) / 3)
    known = [i for i in range(1, STEPS - 1) if i not in (7, 8, 20)]
    np.testing.assert_array_equal(values[np.array(known) - 1], full[known])
    assert np.isfinite(series.covariates).all()


def test_dropping_leaves_out_exactly_the_rows_with_a_gap(tmp_path):
    series = record(with_gaps(tmp_path), missing="drop", **GAPS).series[0]
    kept = [i for i in range(STEPS) if i not in (0, 7, 8, 20, 30, STEPS - 1)]
    np.testing.assert_array_equal(series.times, kept)
    np.testing.assert_array_equal(series.values[:, 0], wave(STEPS)[kept])


def test_masking_repeats_the_last_measured_value_and_remembers_what_was_measured(tmp_path):
    series = record(with_gaps(tmp_path), missing="mask", **GAPS).series[0]
    np.testing.assert_array_equal(series.times, np.arange(1, STEPS))
    gaps, full = [7, 8, 20, STEPS - 1], wave(STEPS)
    assert [int(t) for t in series.times[~series.observed[:, 0]]] == gaps
    expected = full.copy()
    expected[7] = expected[8] = full[6]
    expected[20], expected[STEPS - 1] = full[19], full[STEPS - 2]
    np.testing.assert_array_equal(series.values[:, 0], expected[1:])
    assert np.isfinite(series.covariates).all()
    assert list(np.flatnonzero(np.isnan(series.truth[:, 0])) + 1) == gaps


def test_a_masked_value_is_nobody_s_target(tmp_path):
    data = rs.Table(path=str(with_gaps(tmp_path)), missing="mask", window=5, **GAPS).prepare(Streams(0))
    targets = data.encoded.targets[: len(data.series[0]) - 1, 0]
    assert list(torch.isnan(targets).nonzero().flatten() + 2) == [7, 8, 20, STEPS - 1]
    outputs = torch.randn(len(targets), 1, generator=torch.Generator().manual_seed(0))
    seen = ~torch.isnan(targets)
    expected = ((outputs[seen, 0] - targets[seen]) ** 2).mean()
    torch.testing.assert_close(data.loss(outputs, targets[:, None]), expected)


def test_the_notes_say_what_became_of_missing_values(tmp_path):
    words = {"interpolate": "interpolation", "mask": "left out", "drop": "dropped"}
    for policy, word in words.items():
        notes = " ".join(record(with_gaps(tmp_path), missing=policy, **GAPS).notes)
        assert "5 missing target values" in notes
        assert word in notes


@pytest.mark.parametrize("missing", ["error", "interpolate", "mask", "drop"])
def test_an_infinite_value_is_refused_whatever_the_policy(tmp_path, missing):
    load = wave(STEPS)
    load[11] = -np.inf
    with pytest.raises(rs.DataError, match=r"'load'.*infinite at row 12"):
        record(csv(tmp_path, load=load), missing=missing)


@pytest.mark.parametrize("missing", ["interpolate", "mask", "drop"])
def test_a_column_without_any_value_is_refused(tmp_path, missing):
    path = csv(tmp_path, load=[np.nan] * STEPS, t=np.arange(STEPS))
    with pytest.raises(rs.DataError):
        rs.Table(path=str(path), target="load", time="t", missing=missing, window=5).prepare(Streams(0))


def test_reading_changes_no_file(tmp_path):
    path = with_gaps(tmp_path)
    before = path.read_bytes()
    record(path, missing="interpolate", **GAPS)
    assert path.read_bytes() == before


# what ships

EMBEDDED = {"sunspots": (("sunspots", "year"), 309), "co2": (("co2", "month"), 526), "nile": (("flow", "year"), 100)}


@pytest.mark.parametrize("name", EMBEDDED)
def test_an_embedded_series_loads_whole_and_finite_and_says_where_it_comes_from(name):
    (target, time), length = EMBEDDED[name]
    recording = rs.Embedded(dataset=name, target=target, time=time).record(np.random.default_rng(0))
    (series,) = recording.series
    assert len(series) == length
    assert np.isfinite(series.values).all()
    assert (np.diff(series.times) > np.zeros(1, np.diff(series.times).dtype)).all()
    assert any("public domain" in note for note in recording.notes)


def test_embedded_series_hold_published_values():
    def value(name, target, time, at):
        (series,) = rs.Embedded(dataset=name, target=target, time=time).record(np.random.default_rng(0)).series
        return series.values[
            list(series.times.astype("datetime64[D]" if series.times.dtype.kind == "M" else float)).index(at), 0
        ]

    assert value("sunspots", "sunspots", "year", 1957) == pytest.approx(190.2)
    assert value("nile", "flow", "year", 1913) == 456
    assert value("co2", "co2", "month", np.datetime64("1958-03-01")) == pytest.approx(316.1)


def test_a_table_is_read_as_written(tmp_path):
    path = tmp_path / "table.csv"
    frame().to_csv(path, index=False)
    pd.testing.assert_frame_equal(read_table(str(path)), frame())
