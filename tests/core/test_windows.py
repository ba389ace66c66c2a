"""Windows as views. The series count their own steps, so that every number says which row it is."""

from typing import Any

import numpy as np
import pytest
import torch

import rnnscope as rs
from rnnscope.core.forecast import ForecastData
from rnnscope.core.random import Streams
from rnnscope.core.series import Series, Span
from rnnscope.core.windows import EncodedSeries, StreamSource, Windows, window_starts
from rnnscope.tasks.forecasting import ForecastTask, Recording

LENGTHS = (60, 45, 80)
APART = 1000


class Counting(ForecastTask):
    """Series whose value at step t of series i is 1000 i + t."""

    scaling: Any = "none"
    lengths: tuple[int, ...] = LENGTHS

    def record(self, rng: np.random.Generator) -> Recording:
        found = []
        for i, length in enumerate(self.lengths):
            steps = np.arange(length, dtype=float)
            found.append(Series((APART * i + steps)[:, None], np.empty((length, 0)), steps, f"series {i}"))
        return Recording(found)


def prepared(**fields: Any) -> ForecastData:
    return Counting(**fields).prepare(Streams(0))


def slow_windows(data: ForecastData, spans: tuple[Span, ...], stride: int, *, reach_back: bool = False) -> list[list[float]]:
    """Inputs of every window whose targets lie in a span, by trying all starts."""
    window, horizon, found = data.window, data.representation.horizon, []
    for span in spans:
        first = max(0, span.start - window) if reach_back else span.start
        for start in range(first, span.stop, stride):
            if start + window - 1 + horizon < span.stop:
                found.append([APART * span.series + start + k for k in range(window)])
    return found


CASES = [
    {"window": 7},
    {"window": 7, "stride": 3},
    {"window": 5, "horizon": 3, "stride": 2},
    {"window": 1, "horizon": 1},
    {"window": 6, "split": rs.Split(test=0.3, validation=0.2, calibration=0.2)},
    {"window": 6, "split": rs.Split(test=0.3, validation=0.2, gap=4), "horizon": 2},
    {"window": 4, "split": rs.Split(kind="blocked", blocks=6, validation=0.2)},
    {"window": 4, "split": rs.Split(kind="rolling", folds=4, fold=2)},
    {"window": 4, "split": rs.Split(by="series", test=0.34)},
]
EACH_CASE = pytest.mark.parametrize("case", CASES, ids=[str(i) for i in range(len(CASES))])


@EACH_CASE
def test_windows_are_the_right_rows(case: dict) -> None:
    data = prepared(**case)
    horizon = data.representation.horizon
    pairs = [(data.train, slow_windows(data, data.parts.train, data.stride))]
    for source, spans in ((data.validation, data.parts.validation), (data.monitor, data.parts.tests["test"])):
        wanted = slow_windows(data, spans, 1, reach_back=True)
        assert (source is None) == (not wanted)
        if source is not None:
            assert isinstance(source, Windows)
            pairs.append((source, wanted))
    for source, wanted in pairs:
        assert len(source) == len(wanted)
        batch = source.gather(np.arange(len(source)))
        assert batch.inputs[:, :, 0].tolist() == wanted
        answers = [[[step + lead for lead in range(1, horizon + 1)] for step in window] for window in wanted]
        assert batch.targets.tolist() == answers


@EACH_CASE
def test_no_training_window_knows_anything_that_is_tested(case: dict) -> None:
    data = prepared(**case)
    batch = data.train.gather(np.arange(len(data.train)))
    seen = set(batch.inputs.flatten().tolist()) | set(batch.targets.flatten().tolist())
    held = [*data.parts.validation, *data.parts.calibration, *(s for spans in data.parts.tests.values() for s in spans)]
    hidden = {float(APART * span.series + t) for span in held for t in range(span.start, span.stop)}
    assert hidden
    assert not seen & hidden


@EACH_CASE
def test_no_window_straddles_two_series(case: dict) -> None:
    data = prepared(**case)
    for source in (data.train, data.validation, data.monitor):
        if source is not None:
            batch = source.gather(np.arange(len(source)))
            both = torch.cat([batch.inputs, batch.targets], -1) // APART
            assert torch.equal(both.amin((1, 2)), both.amax((1, 2)))


@EACH_CASE
def test_every_held_step_is_a_target_of_the_windows_that_look_back(case: dict) -> None:
    data = prepared(**case)
    for source, spans in ((data.validation, data.parts.validation), (data.monitor, data.parts.tests["test"])):
        if source is None:
            continue
        answered = set(source.gather(np.arange(len(source))).targets[:, -1].flatten().tolist())
        wanted = {float(APART * s.series + t) for s in spans for t in range(max(s.start, data.window), s.stop)}
        assert answered == wanted


def test_a_chronological_split_keeps_the_order_of_time() -> None:
    data = prepared(window=6, split=rs.Split(test=0.3, validation=0.2, calibration=0.1))
    for i in range(len(LENGTHS)):
        stops = [
            next(s for s in spans if s.series == i)
            for spans in (data.parts.train, data.parts.validation, data.parts.calibration, data.parts.tests["test"])
        ]
        assert [s.start for s in stops] == [0, *(s.stop for s in stops[:-1])]
        assert stops[-1].stop == LENGTHS[i]


@pytest.mark.parametrize("differences", [1, 2])
def test_differenced_windows_begin_where_inputs_are_defined(differences: int) -> None:
    class Squares(Counting):
        def record(self, rng: np.random.Generator) -> Recording:
            steps = np.arange(60.0)
            return Recording([Series((steps**3)[:, None], np.empty((60, 0)), steps)])

    data = Squares(window=5, differences=differences).prepare(Streams(0))
    cubes = np.arange(60.0) ** 3
    whole = np.diff(cubes, n=differences) / data.representation.difference_scales[-1]
    batch = data.train.gather(np.arange(len(data.train)))
    for w in range(len(data.train)):
        start = w + differences - 1
        np.testing.assert_allclose(batch.inputs[w, :, 0], cubes[start : start + 5])
        # the target of row t is the d-th difference that ends at t + 1
        np.testing.assert_allclose(batch.targets[w, :, 0], whole[start + 1 - differences :][:5], rtol=1e-5)


# the sources themselves


def encoded() -> EncodedSeries:
    rows = torch.arange(30.0)[:, None]
    return EncodedSeries(rows, rows + 1, (0, 30))


def test_a_range_of_starts_and_an_array_give_the_same_windows() -> None:
    ranged, listed = Windows(encoded(), range(2, 20, 3), 4), Windows(encoded(), np.arange(2, 20, 3), 4)
    chosen = np.array([3, 0, 5])
    assert ranged.rows(chosen).tolist() == listed.rows(chosen).tolist() == [11, 2, 17]
    assert torch.equal(ranged.gather(chosen).inputs, listed.gather(chosen).inputs)
    assert ranged.gather(chosen).inputs[0, :, 0].tolist() == [11, 12, 13, 14]


def test_batches_are_all_windows_in_order() -> None:
    source = Windows(encoded(), range(11), 3)
    batches = list(source.batches(4))
    assert [len(b.inputs) for b in batches] == [4, 4, 3]
    assert torch.equal(torch.cat([b.inputs for b in batches]), source.gather(np.arange(11)).inputs)


def test_gathered_windows_are_copies() -> None:
    one = encoded()
    Windows(one, range(3), 3).gather(np.arange(3)).inputs.zero_()
    assert torch.equal(one.inputs, encoded().inputs)


@pytest.mark.parametrize("horizon", [1, 3])
def test_starts_are_all_that_fit(horizon: int) -> None:
    for first, stop, length, stride in ((0, 20, 5, 1), (3, 20, 5, 2), (0, 5, 5, 1), (0, 6, 5, 1), (4, 3, 2, 1)):
        slow = [s for s in range(first, 50, stride) if s + length - 1 + horizon < stop]
        assert list(window_starts(first, stop, length, horizon, stride)) == slow


@pytest.mark.parametrize("horizon", [1, 3])
def test_a_stream_counts_the_steps_of_its_span_alone(horizon: int) -> None:
    data = prepared(window=5, horizon=horizon, protocol="stream", split=rs.Split(test=0.3, validation=0.2))
    for source, spans in ((data.validation, data.parts.validation), (data.monitor, data.parts.tests["test"])):
        assert isinstance(source, StreamSource)
        assert len(source) == len(list(source.batches(100))) == len(spans)
        for span, batch in zip(spans, source.batches(100), strict=True):
            base = APART * span.series
            assert batch.inputs[0, 0, 0] == base  # warmed up from the start of the series
            leads = [[base + t + lead for lead in range(horizon)] for t in range(span.start, span.stop - horizon + 1)]
            assert batch.targets[0, -batch.counted :].tolist() == leads


def test_training_streams_stay_inside_the_training_part() -> None:
    data = prepared(window=5, horizon=2, protocol="stream")
    streams = data.streams()
    assert len(streams) == len(LENGTHS)
    for span, stream in zip(data.parts.train, streams, strict=True):
        base = APART * span.series
        assert stream.inputs[:, 0].tolist() == [base + t for t in range(span.start, span.stop - 2)]
        assert stream.targets.max() == base + span.stop - 1
        assert torch.equal(stream.targets[:, 0], stream.inputs[:, 0] + 1)


def test_leaky_windows_are_shared_out_at_random_and_overlap() -> None:
    """The demonstration of the mistake makes the mistake: test windows share steps with training windows."""
    data = prepared(window=5, split=rs.Split(kind="leaky", test=0.25))
    monitor = data.monitor
    assert isinstance(monitor, Windows)
    train, test = set(data.train.starts), set(monitor.starts)
    assert not train & test
    whole = sum(length - 5 for length in LENGTHS)
    assert len(train) + len(test) == whole
    assert len(test) == round(0.25 * whole)
    steps = {float(v) for v in data.train.gather(np.arange(len(data.train))).inputs.flatten()}
    assert steps & {float(v) for v in monitor.gather(np.arange(len(monitor))).targets.flatten()}
