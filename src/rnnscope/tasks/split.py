"""Splits of a series into training, validation, calibration and test parts that do not leak."""

from typing import Literal

import numpy as np

from rnnscope.core.errors import ConfigError, DataError
from rnnscope.core.forecast import Parts
from rnnscope.core.series import Series, Span
from rnnscope.core.spec import Fraction, NonNegative, Positive, Spec


class Split(Spec):
    """How the targets of each series are divided.

    Fields:
        kind: `chronological` (train, validation, calibration, test in the order of time), `blocked` (contiguous blocks,
            test and validation blocks evenly spread), `rolling` (fold number `fold` of `folds`: train on all before, test on
            the next piece), or `leaky` (windows drawn at random and scaling on everything: a demonstration of the mistake).
        test, validation, calibration: shares; validation and calibration are shares of what the test leaves.
        gap: steps dropped between neighbouring parts.
        test_steps: number of test targets, instead of a share. test_from: the time (number or ISO date) at which the test begins, instead of a share.
        segments: named pieces of the test part, name -> [first time, last time], scored on their own too.
        by: `time` splits each series in time; `series` keeps whole series for the test.
    """

    kind: Literal["chronological", "blocked", "rolling", "leaky"] = "chronological"
    test: Fraction = 0.25
    validation: Fraction = 0.0
    calibration: Fraction = 0.0
    gap: NonNegative = 0
    blocks: Positive = 10
    folds: Positive = 5
    fold: NonNegative = 0
    test_steps: Positive | None = None
    test_from: float | str | None = None
    segments: dict[str, tuple[float | str, float | str]] = {}
    by: Literal["time", "series"] = "time"

    def parts(self, series: list[Series], window: int, horizon: int, seed: int) -> Parts:
        """The parts of these series for windows of `window` inputs and `horizon` targets.

        Raises:
            DataError: a series (or a part of it) shorter than one window and its targets.
        """
        for s in series:
            if len(s) < window + horizon + 1:
                raise DataError(
                    f"series '{s.name}' has {len(s)} steps",
                    f"at least window + horizon + 1 = {window + horizon + 1}",
                    "use a longer series, or set task.window smaller",
                )
        if self.kind == "leaky":
            whole = tuple(Span(i, 0, len(s)) for i, s in enumerate(series))
            return Parts(whole, tests={"test": whole}, leaky_seed=seed, leaky_share=self.test)
        roles = [self._roles(i, s, window, horizon, len(series)) for i, s in enumerate(series)]
        joined: dict[str, list[Span]] = {name: [] for name in ("train", "validation", "calibration", "test")}
        for one in roles:
            for name, spans in one.items():
                joined[name] += spans
        _require(joined["train"], "training", window + horizon)
        _require(joined["test"], "test", horizon)
        tests = {"test": tuple(joined["test"])}
        for name, bounds in self.segments.items():
            if name in ("test", "unseen", "closed_loop", "intervals", "generation"):
                raise ConfigError(f"a segment is called '{name}'", "a name of its own", "rename it in task.split.segments")
            tests[name] = tuple(self._segment(series, joined["test"], name, bounds))
        return Parts(tuple(joined["train"]), tuple(joined["validation"]), tuple(joined["calibration"]), tests)

    def _roles(self, index: int, series: Series, window: int, horizon: int, count: int) -> dict[str, list[Span]]:
        if self.by == "series":
            held = max(1, round(self.test * count))
            if count < 2:
                raise DataError("one series only", "several series for split.by = series", "set task.split.by=time")
            if index >= count - held:
                return {"test": [Span(index, min(window, len(series) - horizon), len(series))]}
            return self._in_order(index, 0, len(series), None)
        if self.kind == "blocked":
            return self._blocked(index, len(series))
        if self.kind == "rolling":
            return self._rolling(index, len(series), window)
        cut = min(max(self._cut(series, window, horizon), 0), len(series))
        return self._in_order(index, 0, len(series), cut)

    def _cut(self, series: Series, window: int, horizon: int) -> int:
        if self.test_from is not None:
            return int(np.searchsorted(_times(series), _time(self.test_from, series)))
        if self.test_steps is not None:
            return len(series) - self.test_steps - horizon + 1
        return window + int((1 - self.test) * (len(series) - window - horizon + 1))

    def _in_order(self, index: int, start: int, stop: int, cut: int | None) -> dict[str, list[Span]]:
        before = stop if cut is None else cut
        room = before - start
        calibration, validation = int(self.calibration * room), int(self.validation * room)
        marks = [start, before - calibration - validation, before - calibration, before, stop]
        found: dict[str, list[Span]] = {}
        names = ("train", "validation", "calibration", "test")
        for name, low, high in zip(names, marks[:-1], marks[1:], strict=True):
            low += self.gap if low > start and high > low else 0
            if high > low:
                found[name] = [Span(index, low, high)]
        return found

    def _blocked(self, index: int, length: int) -> dict[str, list[Span]]:
        wanted = {
            name: max(1, round(share * self.blocks)) if share else 0
            for name, share in (("test", self.test), ("validation", self.validation), ("calibration", self.calibration))
        }
        if sum(wanted.values()) >= self.blocks:
            raise ConfigError(
                f"{self.blocks} blocks hold no training part", "more blocks than held-out ones", "raise task.split.blocks"
            )
        roles = ["train"] * self.blocks
        for name, number in wanted.items():
            free = [b for b in range(1, self.blocks) if roles[b] == "train"]
            for position in np.linspace(len(free) - 1, 0, 2 * number + 1)[0:-1:2] if number > 1 else [len(free) - 1] * number:
                roles[free[int(position)]] = name
        edges = np.linspace(0, length, self.blocks + 1).astype(int)
        found: dict[str, list[Span]] = {}
        start = 0
        for block in range(1, self.blocks + 1):
            if block == self.blocks or roles[block] != roles[start]:
                low = int(edges[start]) + (self.gap if start else 0)
                if edges[block] > low:
                    found.setdefault(roles[start], []).append(Span(index, low, int(edges[block])))
                start = block
        return found

    def _rolling(self, index: int, length: int, window: int) -> dict[str, list[Span]]:
        if self.fold >= self.folds:
            raise ConfigError(f"split.fold is {self.fold}", f"0 to {self.folds - 1}", "folds count from 0")
        edges = np.linspace(window, length, self.folds + 2).astype(int)
        cut, stop = int(edges[self.fold + 1]), int(edges[self.fold + 2])
        return self._in_order(index, 0, stop, cut)

    def _segment(
        self, series: list[Series], tests: list[Span], name: str, bounds: tuple[float | str, float | str]
    ) -> list[Span]:
        found = []
        for span in tests:
            times, (low, high) = _times(series[span.series]), (_time(b, series[span.series]) for b in bounds)
            start = max(span.start, int(np.searchsorted(times, low)))
            stop = min(span.stop, int(np.searchsorted(times, high, side="right")))
            if stop > start:
                found.append(Span(span.series, start, stop))
        if not found:
            raise ConfigError(
                f"segment '{name}' {list(bounds)} holds no test step",
                "times within the test part",
                "change task.split.segments",
            )
        return found


def _require(spans: list[Span], name: str, steps: int) -> None:
    longest = max((len(s) for s in spans), default=0)
    if longest < steps:
        raise DataError(
            f"the {name} part has {longest} contiguous steps",
            f"at least {steps} (one window and its targets)",
            "use a longer series, a smaller task.window, or other shares in task.split",
        )


def _times(series: Series) -> np.ndarray:
    return series.times.astype("datetime64[ns]").astype(np.int64) if series.times.dtype.kind == "M" else series.times


def _time(value: float | str, series: Series) -> float:
    if series.times.dtype.kind == "M":
        try:
            return float(np.datetime64(str(value), "ns").astype(np.int64))
        except ValueError:
            raise ConfigError(f"'{value}' is no date", "an ISO date such as 1990-01-31", "change task.split") from None
    try:
        return float(value)
    except ValueError:
        raise ConfigError(f"'{value}' is no number", "a time like those of the series", "change task.split") from None
