"""Forecasting data: series, how they are split, and their windows; the shared ground of tasks, trainers and scores."""

import dataclasses
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from rnnscope.core.driven import in_double
from rnnscope.core.fingerprint import digest
from rnnscope.core.free_runs import Player
from rnnscope.core.interfaces import BatchSource, Signature, Stream, SupervisedData
from rnnscope.core.loops import AffineFeedback
from rnnscope.core.series import Representation, Series, Span
from rnnscope.core.system import DynamicalSystem
from rnnscope.core.windows import EncodedSeries, StreamSource, Windows, window_starts

FEWEST, WARM_UP = 200, 1000  # of free runs: points to compare with, steps before each start that are read at most
NUM_RUNS, RUN_STEPS = 8, 12_500  # so many starts, since some may lead astray; so long, since that may take thousands of steps


@dataclass(frozen=True)
class Parts:
    """Which steps are targets of what. Scaling and training see `train` alone.

    Attributes:
        train, validation, calibration: spans.
        tests: name -> spans; "test" is the main one.
        leaky_seed, leaky_share: for the leaky demonstration only: windows drawn for the test at random, and how many.
    """

    train: tuple[Span, ...]
    validation: tuple[Span, ...] = ()
    calibration: tuple[Span, ...] = ()
    tests: dict[str, tuple[Span, ...]] = dataclasses.field(default_factory=dict)
    leaky_seed: int | None = None
    leaky_share: float = 0.0


@dataclass(frozen=True)
class ForecastData(SupervisedData):
    """Series ready for forecasting.

    Attributes:
        series: all series in physical units. parts: their split. representation: what the network sees.
        window, stride: inputs per window, and steps between windows of the training part.
        protocol: "windows": training and one-step scores start each window from the initial state; "stream": the state
            is carried along the series.
        sampling_interval: time per step where it is uniform and numeric, else None. unit: of the values. time_label: of the axis.
        season: period in steps of the seasonal baseline; None: found on the training part.
    """

    series: tuple[Series, ...]
    parts: Parts
    representation: Representation
    window: int
    stride: int
    protocol: Literal["windows", "stream"]
    encoded: EncodedSeries
    sampling_interval: float | None = None
    unit: str = ""
    season: int | None = None
    notes: tuple[str, ...] = ()
    noise_sd: float | None = None
    time_label: str = "time"

    @property
    def signature(self) -> Signature:  # type: ignore[override]
        r, first = self.representation, self.series[0]
        names = first.names + (tuple(f"Δ{n}" for n in first.names) if r.differences == 2 else ()) + first.covariate_names
        return Signature(r.input_size, r.output_size, names)

    @property
    def feedback(self) -> AffineFeedback:  # type: ignore[override]
        return self.representation.feedback()

    @property
    def train(self) -> Windows:  # type: ignore[override]
        starts = self._leaky(test=False) if self.parts.leaky_seed is not None else self.starts(self.parts.train, self.stride)
        return Windows(self.encoded, starts, self.window)

    @property
    def validation(self) -> BatchSource | None:  # type: ignore[override]
        return self._windows(self.parts.validation)

    @property
    def monitor(self) -> BatchSource | None:  # type: ignore[override]
        if self.parts.leaky_seed is not None:
            return Windows(self.encoded, self._leaky(test=True), self.window)
        return self._windows(self.parts.tests["test"])

    def _windows(self, spans: tuple[Span, ...]) -> BatchSource | None:
        if self.protocol == "stream":
            return StreamSource(self.encoded, spans, self.representation.first, self.representation.horizon) if spans else None
        starts = self.starts(spans, 1, reach_back=True)
        return Windows(self.encoded, starts, self.window) if len(starts) else None

    def starts(self, spans: tuple[Span, ...], stride: int, *, reach_back: bool = False) -> range | np.ndarray:
        """First rows of the windows whose forecast targets lie in the spans.

        Training windows lie wholly inside their span. With `reach_back`, the inputs may begin before it (the past is
        known when a forecast is made), so that the first target is the span's first step.
        """
        ranges = []
        for span in spans:
            offset = self.encoded.offsets[span.series]
            first = (
                max(self.representation.first, span.start - self.window)
                if reach_back
                else max(span.start, self.representation.first)
            )
            found = window_starts(first, span.stop, self.window, self.representation.horizon, stride)
            ranges.append(range(found.start + offset, found.stop + offset, stride))
        if len(ranges) == 1:
            return ranges[0]
        return np.concatenate([np.asarray(r, dtype=np.int32) for r in ranges]) if ranges else range(0)

    def _leaky(self, *, test: bool) -> np.ndarray:
        spans = (*self.parts.train, *self.parts.tests["test"])
        whole = tuple(Span(i, 0, max(s.stop for s in spans if s.series == i)) for i in sorted({s.series for s in spans}))
        starts = np.asarray(self.starts(whole, 1))
        drawn = np.random.default_rng(self.parts.leaky_seed).permutation(len(starts))
        cut = round(len(starts) * self.parts.leaky_share)
        return np.sort(starts[drawn[:cut] if test else drawn[cut:]])

    def to(self, device: torch.device) -> "ForecastData":
        return dataclasses.replace(self, encoded=self.encoded.to(device))

    @property
    def has_gaps(self) -> bool:
        """Whether some values were not measured."""
        return any(s.observed is not None for s in self.series)

    def streams(self) -> list[Stream]:
        found = []
        for span in self.parts.train:
            offset = self.encoded.offsets[span.series]
            first, stop = offset + max(span.start, self.representation.first), offset + span.stop - self.representation.horizon
            found.append(Stream(self.encoded.inputs[first:stop], self.encoded.targets[first:stop]))
        return found

    def exact_streams(self, part: Literal["train", "validation"]) -> list[Stream]:
        """Float64 streams of the series themselves; those of the validation part begin where their series does."""
        representation, found = self.representation, []
        for span in self.parts.train if part == "train" else self.parts.validation:
            series, stop = self.series[span.series], span.stop - representation.horizon
            first = max(representation.first, span.start if part == "train" else 0)
            counted = None if part == "train" else stop - max(span.start - 1, first)
            rows = slice(first, stop)
            inputs, targets = (
                torch.tensor(representation.inputs(series)[rows]),
                torch.tensor(representation.targets(series)[rows]),
            )
            device = self.encoded.inputs.device
            found.append(Stream(inputs.to(device), targets.to(device), counted))
        return found

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Mean squared error, or for a Gaussian head the negative log-likelihood ln s + (y - m)²/(2 s²) less its constant.

        Targets that were not measured are NaN and do not count.
        """
        if self.has_gaps:
            seen = ~torch.isnan(targets)
            mean = outputs[..., : targets.shape[-1]][seen]
            spread = outputs[..., targets.shape[-1] :][seen] if self.representation.gaussian else None
            targets = targets[seen]
        elif self.representation.gaussian:
            mean, spread = outputs.chunk(2, -1)
        else:
            return torch.nn.functional.mse_loss(outputs, targets)
        if spread is None:
            return (targets - mean).square().sum() / max(1, targets.numel())
        spread = spread.clamp(-7.0, 7.0)
        return (spread + 0.5 * ((targets - mean) * torch.exp(-spread)).square()).sum() / max(1, targets.numel())

    @property
    def has_free_runs(self) -> bool:
        return self._compared() is not None

    @torch.no_grad()
    def free_runs(self, system: DynamicalSystem) -> tuple[np.ndarray, np.ndarray] | None:
        """The longest stretch of training and validation steps, and eight runs that begin within it.

        Known covariates drive one run, for as long as they are known. None where values are missing or the split leaks.
        """
        span = self._compared()
        if span is None:
            return None
        series, first = self.series[span.series], max(span.start, self.representation.first + 1)
        recorded = series.values[span.start : span.stop]
        player = Player(in_double(system).cpu().eval(), self.representation, self.window, self.protocol, WARM_UP)
        if self.representation.feedback().num_exogenous:
            return recorded[None], player.play(series, np.array([first]), span.stop - first)
        origins = np.linspace(min(first + WARM_UP, span.stop), span.stop, NUM_RUNS).astype(int)
        return recorded[None], player.play(series, origins, WARM_UP + RUN_STEPS)[:, WARM_UP:]

    def _compared(self) -> Span | None:
        """The stretch that free runs are compared with."""
        if self.parts.leaky_seed is not None or self.has_gaps:
            return None
        span = max(_joined((*self.parts.train, *self.parts.validation)), key=len)
        recorded = self.series[span.series].values[span.start : span.stop]
        return span if len(recorded) >= FEWEST and np.ptp(recorded, axis=0).all() else None

    def describe(self) -> dict[str, Any]:
        values, source = np.concatenate([s.values for s in self.series]), self.validation
        count = {
            "train": len(self.train),
            "validation": sum(source.gather(np.array([i])).counted for i in range(len(source)))
            if isinstance(source, StreamSource)
            else len(source or ()),
            "calibration": sum(len(s) for s in self.parts.calibration),
            **{name: sum(len(s) for s in spans) for name, spans in self.parts.tests.items()},
        }
        # further parts may lie inside the test part, and then they are no share of their own
        share = {
            name: n for name, n in count.items() if name not in self.parts.tests or name == "test" or not self._in_test(name)
        }
        first = self.series[0]
        return {
            "series": len(self.series),
            "points": sum(len(s) for s in self.series),
            "variables": list(first.names),
            "covariates": list(first.covariate_names),
            "unit": self.unit,
            "time_range": [str(t).removesuffix(".0") for t in first.times[[0, -1]]],
            "value_range": {n: [float(values[:, v].min()), float(values[:, v].max())] for v, n in enumerate(first.names)},
            "window": self.window,
            "horizon": self.representation.horizon,
            "input_shape": ["batch", self.window, self.signature.input_size],
            "output_shape": ["batch", self.window, self.signature.output_size],
            "targets": count,
            "targets_percent": {name: round(100 * n / sum(share.values()), 1) for name, n in share.items()},
            "protocol": self.protocol,
            "fingerprint": self.fingerprint(),
            "notes": list(self.notes),
        }

    def _in_test(self, name: str) -> bool:
        """Whether every step of a further test set is one of the main one's."""
        main = self.parts.tests["test"]
        return all(
            any(s.series == t.series and t.start <= s.start and s.stop <= t.stop for t in main) for s in self.parts.tests[name]
        )

    def fingerprint(self) -> str:
        """First 16 digits of the SHA-256 of all values and covariates: tells whether data are the same as before."""
        return digest(v for s in self.series for v in (s.values, s.covariates))

    def arrays(self) -> dict[str, np.ndarray]:
        kept: dict[str, np.ndarray] = {}
        for number, s in enumerate(self.series):
            kept[f"values_{number}"] = s.values
            kept[f"times_{number}"] = s.times if s.times.dtype.kind != "O" else s.times.astype(str)
            if s.covariates.shape[1]:
                kept[f"covariates_{number}"] = s.covariates
            if s.observed is not None:
                kept[f"observed_{number}"] = s.observed
            if s.clean is not None:
                kept[f"clean_{number}"] = s.clean
            for name, column in s.hidden.items():
                kept[f"{name}_{number}"] = column
        return kept


def encode(series: tuple[Series, ...], representation: Representation) -> EncodedSeries:
    """All series through a representation into float32 tensors; where targets are inputs one step on, they share memory."""
    total, offsets = 0, [0]
    for s in series:
        total += len(s)
        offsets.append(total)
    inputs = np.empty((total + 1, representation.input_size), np.float32)
    inputs[total] = 0
    gaps = any(s.observed is not None for s in series)
    plain = (
        not gaps
        and representation.differences == 0
        and representation.horizon == 1
        and representation.input_size == representation.num_variables
    )
    targets = None if plain else np.zeros((total, representation.num_variables * representation.horizon), np.float32)
    for s, offset in zip(series, offsets, strict=False):
        _encode_one(
            s, representation, inputs[offset : offset + len(s)], None if targets is None else targets[offset : offset + len(s)]
        )
    rows = torch.from_numpy(inputs)
    if targets is None:
        return EncodedSeries(rows[:-1], rows[1:], tuple(offsets))
    return EncodedSeries(rows[:-1], torch.from_numpy(targets), tuple(offsets))


_CHUNK = 1 << 18


def _encode_one(series: Series, representation: Representation, inputs: np.ndarray, targets: np.ndarray | None) -> None:
    """Encode in chunks, so that float64 temporaries stay small beside a long series; each chunk overlaps its neighbours."""
    before, after = 2, representation.horizon + 1
    for start in range(0, len(series), _CHUNK):
        stop = min(start + _CHUNK, len(series))
        low, high = max(0, start - before), min(len(series), stop + after)
        piece = dataclasses.replace(
            series,
            values=series.values[low:high],
            covariates=series.covariates[low:high],
            times=series.times[low:high],
            clean=None,
            hidden={},
            observed=None if series.observed is None else series.observed[low:high],
        )
        inputs[start:stop] = representation.inputs(piece)[start - low : stop - low]
        if targets is not None:
            found = representation.targets(piece)[start - low : stop - low]
            targets[start : start + len(found)] = found


def _joined(spans: tuple[Span, ...]) -> list[Span]:
    """Spans of the same series that follow one another as one."""
    found: list[Span] = []
    for span in sorted(spans, key=lambda s: (s.series, s.start)):
        if found and (found[-1].series, found[-1].stop) == (span.series, span.start):
            span = Span(span.series, found.pop().start, span.stop)
        found.append(span)
    return found
