"""Splits: parts never overlap, training precedes what it is tested on, gaps are kept, and names mean what they say."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import rnnscope as rs
from helpers import prepare, series_of, wave
from rnnscope.core.forecast import ForecastData, Parts
from rnnscope.core.series import Series, Span
from rnnscope.evaluation.baselines import LastValue
from rnnscope.evaluation.forecasting import one_step_pairs

SPLITS = st.builds(
    rs.Split,
    kind=st.sampled_from(["chronological", "blocked", "rolling"]),
    test=st.floats(0.0, 0.9),
    validation=st.floats(0.0, 0.6),
    calibration=st.floats(0.0, 0.6),
    gap=st.integers(0, 12),
    blocks=st.integers(1, 12),
    folds=st.integers(1, 6),
    fold=st.integers(0, 6),
    test_steps=st.none() | st.integers(1, 60),
    by=st.sampled_from(["time", "series"]),
)
SHAPES = {
    "lengths": st.lists(st.integers(2, 150), min_size=1, max_size=4),
    "window": st.integers(1, 25),
    "horizon": st.integers(1, 6),
}


def try_parts(split: rs.Split, lengths: list[int], window: int, horizon: int) -> Parts | None:
    """The parts, or None where the split says in our words that it cannot be made."""
    try:
        return split.parts([line(n) for n in lengths], window, horizon, 0)
    except rs.RnnscopeError as error:
        if not (error.found and error.expected and error.remedy):
            raise
        return None


def line(steps: int) -> Series:
    return series_of(np.arange(float(steps)))


def roles(parts: Parts) -> list[tuple[str, Span]]:
    named = {
        "train": parts.train,
        "validation": parts.validation,
        "calibration": parts.calibration,
        "test": parts.tests["test"],
    }
    return [(name, span) for name, spans in named.items() for span in spans]


def pieces(parts: Parts, series: int) -> list[tuple[str, Span]]:
    return sorted(((n, s) for n, s in roles(parts) if s.series == series), key=lambda pair: pair[1].start)


# laws of every split


@settings(max_examples=150, deadline=None, derandomize=True)
@given(split=SPLITS, **SHAPES)
def test_parts_lie_inside_their_series_and_never_overlap(split, lengths, window, horizon):
    parts = try_parts(split, lengths, window, horizon)
    if parts is None:
        return
    for number, length in enumerate(lengths):
        found = pieces(parts, number)
        assert all(0 <= span.start < span.stop <= length for _, span in found)
        for (_, earlier), (_, later) in itertools.pairwise(found):
            assert earlier.stop <= later.start


@settings(max_examples=150, deadline=None, derandomize=True)
@given(split=SPLITS, **SHAPES)
def test_neighbouring_parts_are_at_least_the_gap_apart(split, lengths, window, horizon):
    parts = try_parts(split, lengths, window, horizon)
    if parts is None:
        return
    for number in range(len(lengths)):
        found = pieces(parts, number)
        for (_, earlier), (_, later) in itertools.pairwise(found):
            assert later.start - earlier.stop >= split.gap


@settings(max_examples=150, deadline=None, derandomize=True)
@given(split=SPLITS, **SHAPES)
def test_a_split_that_is_accepted_has_a_training_window_and_a_test_target(split, lengths, window, horizon):
    parts = try_parts(split, lengths, window, horizon)
    if parts is None:
        return
    assert max(map(len, parts.train)) >= window + horizon
    assert max(map(len, parts.tests["test"])) >= horizon


@settings(max_examples=100, deadline=None, derandomize=True)
@given(split=SPLITS.map(lambda s: s.but(kind="chronological", by="time")), **SHAPES)
def test_in_the_order_of_time_training_precedes_validation_calibration_and_test(split, lengths, window, horizon):
    parts = try_parts(split, lengths, window, horizon)
    if parts is None:
        return
    order = ["train", "validation", "calibration", "test"]
    for number in range(len(lengths)):
        places = [order.index(name) for name, _ in pieces(parts, number)]
        assert places == sorted(places)


@settings(max_examples=100, deadline=None, derandomize=True)
@given(split=SPLITS.map(lambda s: s.but(kind="chronological", gap=0, by="time")), **SHAPES)
def test_without_a_gap_every_step_belongs_to_one_part(split, lengths, window, horizon):
    parts = try_parts(split, lengths, window, horizon)
    if parts is None:
        return
    for number, length in enumerate(lengths):
        assert sum(len(span) for _, span in pieces(parts, number)) == length


@settings(max_examples=60, deadline=None, derandomize=True)
@given(split=SPLITS.map(lambda s: s.but(kind="rolling", by="time")), **SHAPES)
def test_a_rolling_fold_trains_on_the_past_only(split, lengths, window, horizon):
    parts = try_parts(split, lengths, window, horizon)
    if parts is None:
        return
    for number in range(len(lengths)):
        found = pieces(parts, number)
        tested = [span.start for name, span in found if name == "test"]
        assert all(span.stop <= min(tested) for name, span in found if name == "train" and tested)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    length=st.integers(60, 200),
    window=st.integers(1, 10),
    horizon=st.integers(1, 4),
    stride=st.integers(1, 5),
    kind=st.sampled_from(["chronological", "blocked", "rolling"]),
    gap=st.integers(0, 4),
    protocol=st.sampled_from(["windows", "stream"]),
)
def test_no_training_window_touches_a_step_outside_the_training_part(length, window, horizon, stride, kind, gap, protocol):
    split = rs.Split(kind=kind, gap=gap, validation=0.15, calibration=0.15, fold=2)
    task = rs.Table(window=window, horizon=horizon, stride=stride, split=split, scaling="none", protocol=protocol)
    try:
        data = prepare(task, line(length))
    except rs.DataError:
        return
    allowed = {t for span in data.parts.train for t in range(span.start, span.stop)}
    batch = data.train.gather(np.arange(len(data.train)))
    assert {int(v) for v in batch.inputs.flatten()} <= allowed
    assert {int(v) for v in batch.targets[:, -1].flatten()} <= allowed
    for stream in data.streams():
        assert {int(v) for v in stream.inputs.flatten()} <= allowed
        assert {int(v) for v in stream.targets.flatten()} <= allowed


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    length=st.integers(60, 200),
    window=st.integers(1, 10),
    horizon=st.integers(1, 4),
    kind=st.sampled_from(["chronological", "blocked", "rolling"]),
)
def test_held_out_windows_have_their_targets_in_their_own_part_and_reach_every_step_of_it(length, window, horizon, kind):
    split = rs.Split(kind=kind, validation=0.2, fold=2)
    try:
        data = prepare(rs.Table(window=window, horizon=horizon, split=split, scaling="none"), line(length))
    except rs.DataError:
        return
    for source, spans in ((data.validation, data.parts.validation), (data.monitor, data.parts.tests["test"])):
        if source is None:
            continue
        batch = source.gather(np.arange(len(source)))
        found = {int(v) for v in batch.targets[:, -1].flatten()}
        assert found == {t for span in spans if len(span) >= horizon for t in range(max(span.start, window), span.stop)}


def scored_steps(data: ForecastData) -> list[float]:
    """The first target of every one-step score of the test part, for a series that counts its steps."""
    truth, _ = one_step_pairs(data, LastValue(data), data.parts.tests["test"])
    return truth[:, 0, 0].tolist()


# shares and numbers


@pytest.mark.parametrize("share", [0.1, 0.25, 0.5])
def test_the_test_share_is_a_share_of_the_windows(share):
    data = prepare(rs.Table(window=20, split=rs.Split(test=share)), line(520))
    windows = 520 - 20
    assert len(scored_steps(data)) == windows - int((1 - share) * windows)


@pytest.mark.parametrize(("validation", "calibration"), [(0.2, 0.0), (0.0, 0.3), (0.25, 0.25)])
def test_validation_and_calibration_are_shares_of_what_the_test_leaves(validation, calibration):
    parts = rs.Split(test=0.2, validation=validation, calibration=calibration).parts([line(400)], 10, 1, 0)
    left = parts.tests["test"][0].start
    assert sum(map(len, parts.validation)) == int(validation * left)
    assert sum(map(len, parts.calibration)) == int(calibration * left)


@pytest.mark.parametrize("horizon", [1, 3])
@pytest.mark.parametrize("steps", [1, 17, 60])
def test_test_steps_is_the_number_of_scored_forecasts(steps, horizon):
    data = prepare(rs.Table(window=10, horizon=horizon, split=rs.Split(test_steps=steps)), line(150))
    assert len(scored_steps(data)) == steps


def test_more_test_steps_than_the_series_holds_are_refused():
    with pytest.raises(rs.DataError, match="part"):
        rs.Split(test_steps=500).parts([line(100)], 10, 1, 0)


@pytest.mark.parametrize("start", [70, 70.0, "70", 69.5])
def test_test_from_a_number_begins_at_the_first_time_not_before_it(start):
    data = prepare(rs.Table(window=10, split=rs.Split(test_from=start)), series_of(np.arange(120.0)))
    assert scored_steps(data) == list(range(70, 120))
    assert data.parts.train[0].stop == 70


@pytest.mark.parametrize(("start", "first"), [("2020-03-01", 60), ("2020-03-01T12:00", 61), ("2020-03", 60)])
def test_test_from_a_date_begins_at_the_first_time_not_before_it(start, first):
    days = np.datetime64("2020-01-01", "ns") + np.arange(120) * np.timedelta64(1, "D")
    parts = rs.Split(test_from=start).parts([series_of(wave(120), times=days)], 10, 1, 0)
    assert parts.tests["test"][0].start == first
    assert parts.train[0].stop == first


def test_test_from_cuts_each_series_at_its_own_step():
    early, late = series_of(wave(100), times=np.arange(100.0)), series_of(wave(100), times=np.arange(30.0, 130.0))
    parts = rs.Split(test_from=80).parts([early, late], 10, 1, 0)
    assert [s.start for s in parts.tests["test"]] == [80, 50]


@pytest.mark.parametrize("start", [-5.0, 119.5, 500.0])
def test_a_test_that_leaves_nothing_to_train_or_to_test_on_is_refused(start):
    with pytest.raises(rs.DataError):
        rs.Split(test_from=start).parts([line(120)], 10, 1, 0)


def test_a_time_of_the_wrong_kind_is_refused_with_an_example():
    days = np.datetime64("2020-01-01", "ns") + np.arange(120) * np.timedelta64(1, "D")
    with pytest.raises(rs.ConfigError, match="'spring' is no date"):
        rs.Split(test_from="spring").parts([series_of(wave(120), times=days)], 10, 1, 0)
    with pytest.raises(rs.ConfigError, match="'spring' is no number"):
        rs.Split(test_from="spring").parts([line(120)], 10, 1, 0)


# segments


def test_segments_are_the_test_steps_between_two_times_both_included():
    split = rs.Split(test_from=60, segments={"early": (60, 79), "late": (80.5, 1000)})
    parts = split.parts([line(120)], 10, 1, 0)
    assert parts.tests["early"] == (Span(0, 60, 80),)
    assert parts.tests["late"] == (Span(0, 81, 120),)
    assert parts.tests["test"] == (Span(0, 60, 120),)


def test_a_segment_never_reaches_into_the_training_part():
    parts = rs.Split(test_from=60, segments={"wide": (0, 70)}).parts([line(120)], 10, 1, 0)
    assert parts.tests["wide"] == (Span(0, 60, 71),)


def test_a_segment_without_test_steps_is_refused_by_name():
    with pytest.raises(rs.ConfigError, match="segment 'old'"):
        rs.Split(test_from=60, segments={"old": (0, 50)}).parts([line(120)], 10, 1, 0)


def test_a_segment_cannot_take_the_place_of_the_whole_test_part():
    split = rs.Split(test_from=60, segments={"test": (60, 62)})
    try:
        parts = split.parts([line(120)], 10, 1, 0)
    except rs.ConfigError:
        return
    assert parts.tests["test"] == (Span(0, 60, 120),)


# blocked and rolling


@pytest.mark.parametrize(("share", "blocks", "expected"), [(0.2, 10, 2), (0.05, 10, 1), (0.5, 8, 4), (0.9, 10, 9)])
def test_a_blocked_split_holds_out_its_share_of_blocks(share, blocks, expected):
    parts = rs.Split(kind="blocked", test=share, blocks=blocks).parts([line(400)], 5, 1, 0)
    assert sum(map(len, parts.tests["test"])) == pytest.approx(expected * 400 / blocks, abs=blocks)
    assert parts.train[0].start == 0


def test_blocks_of_several_roles_take_turns_along_the_series():
    parts = rs.Split(kind="blocked", test=0.3, validation=0.2, blocks=10).parts([line(400)], 5, 1, 0)
    assert len(parts.tests["test"]) >= 2
    assert min(s.start for s in parts.tests["test"]) < 200 < max(s.stop for s in parts.tests["test"])


def test_blocks_that_leave_nothing_to_train_on_are_refused():
    with pytest.raises(rs.ConfigError, match="2 blocks hold no training part"):
        rs.Split(kind="blocked", test=0.5, validation=0.5, blocks=2).parts([line(400)], 5, 1, 0)


def test_rolling_folds_follow_one_another_and_cover_everything_after_the_first_training_part():
    tests = [rs.Split(kind="rolling", folds=4, fold=k).parts([line(300)], 20, 1, 0) for k in range(4)]
    spans = [p.tests["test"][0] for p in tests]
    assert all(a.stop == b.start for a, b in itertools.pairwise(spans))
    assert spans[-1].stop == 300
    assert [p.train[0].stop for p in tests] == [s.start for s in spans]


def test_a_fold_that_does_not_exist_is_refused():
    with pytest.raises(rs.ConfigError, match=r"split.fold is 4"):
        rs.Split(kind="rolling", folds=4, fold=4).parts([line(300)], 20, 1, 0)


# by series


@pytest.mark.parametrize(("count", "share", "held"), [(4, 0.25, 1), (4, 0.5, 2), (3, 0.01, 1), (10, 0.3, 3)])
def test_whole_series_are_held_out(count, share, held):
    data = prepare(rs.Table(window=8, split=rs.Split(by="series", test=share)), *[line(40) for _ in range(count)])
    assert [s.series for s in data.parts.tests["test"]] == list(range(count - held, count))
    assert all((s.start, s.stop) == (8, 40) for s in data.parts.tests["test"])
    assert [(s.series, s.start, s.stop) for s in data.parts.train] == [(i, 0, 40) for i in range(count - held)]


def test_one_series_cannot_be_split_by_series():
    with pytest.raises(rs.DataError, match="one series"):
        rs.Split(by="series").parts([line(100)], 8, 1, 0)


def test_by_series_nothing_of_a_held_out_series_shapes_training():
    rng = np.random.default_rng(0)
    first, other = wave(80), 1e4 * rng.normal(size=80)
    task = rs.Table(window=8, split=rs.Split(by="series", test=0.5))
    one, two = prepare(task, series_of(first), series_of(wave(80))), prepare(task, series_of(first), series_of(other))
    np.testing.assert_array_equal(one.representation.location, two.representation.location)
    np.testing.assert_array_equal(one.representation.scale, two.representation.scale)


# the leak, on purpose


@pytest.mark.parametrize("counts", [(120,), (60, 90)])
def test_a_leaky_split_draws_disjoint_windows_that_overlap_in_time_and_says_so(counts):
    task = rs.Table(window=10, split=rs.Split(kind="leaky", test=0.2))
    data = prepare(task, *[series_of(wave(n)) for n in counts])
    train, test = set(np.asarray(data.train.starts)), set(np.asarray(data.monitor.starts))
    assert not train & test
    assert len(train | test) == sum(n - 10 for n in counts)
    assert len(test) == round(0.2 * sum(n - 10 for n in counts))
    assert any(abs(a - b) < 10 for a in train for b in test)
    assert any("LEAKY" in note for note in data.notes)


def test_the_leak_is_drawn_from_the_seed():
    task = rs.Table(window=10, split=rs.Split(kind="leaky"))
    starts = [tuple(np.asarray(prepare(task, series_of(wave(120)), seed=s).monitor.starts)) for s in (0, 0, 1)]
    assert starts[0] == starts[1] != starts[2]


@pytest.mark.parametrize("counts", [(120,), (60, 90)])
def test_a_leaky_test_scores_exactly_the_windows_that_were_drawn_for_it(counts):
    task = rs.Table(window=10, split=rs.Split(kind="leaky"))
    values = np.arange(float(sum(counts)))
    series = [series_of(v) for v in np.split(values, np.cumsum(counts)[:-1])]
    data = prepare(task, *series)
    assert sorted(scored_steps(data)) == sorted(float(s + 10) for s in np.asarray(data.monitor.starts))
