"""Detection of a series as it comes in: one value at a time, memory that does not grow."""

from abc import ABC, abstractmethod
from collections import deque
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float

from rnnscope.core.errors import ConfigError, DataError
from rnnscope.core.forecast import ForecastData
from rnnscope.core.interfaces import SequenceModel
from rnnscope.core.series import Series
from rnnscope.evaluation.forecasters import NetworkForecaster
from rnnscope.numerics.nulls import METHODS, Method, Side, fit_null
from rnnscope.numerics.regression import LinearAutoregression
from rnnscope.numerics.thresholds import THREE_SIGMA

PAST = 3  # values that an encoded input may depend on: two differences


class StreamScorer(ABC):
    """Turns values into scores, one by one, with a state of fixed size."""

    @abstractmethod
    def push(self, value: Float[np.ndarray, " D"]) -> float:
        """The score of the next value; NaN while there is none."""


class ValueScorer(StreamScorer):
    """The value itself."""

    def push(self, value: np.ndarray) -> float:
        return float(value[0])


class LinearScorer(StreamScorer):
    """Error of a linear autoregression from the p latest values.

    Args:
        fit: see `numerics.anomaly_scores.fit_linear`. scale: of each column's errors, (D,).
    """

    def __init__(self, fit: LinearAutoregression, scale: Float[np.ndarray, " D"]) -> None:
        self.fit, self.scale = fit, scale
        self.recent: deque[np.ndarray] = deque(maxlen=fit.order)

    def push(self, value: np.ndarray) -> float:
        score = float("nan")
        if len(self.recent) == self.fit.order:
            forecast = self.fit.predict(np.stack(self.recent)[None], np.empty((1, self.fit.order + 1, 0)))[0]
            score = float(np.sqrt((((value - forecast) / self.scale) ** 2).mean()))
        self.recent.append(value)
        return score


class NetworkScorer(StreamScorer):
    """Error of a recurrent forecaster, its state carried from value to value.

    Args:
        model: left as it is; a float64 copy does the work. data: of the task it was trained on, without covariates.
        scale: of each column's errors, (D,), in the unit of the series.
    """

    def __init__(self, model: SequenceModel, data: ForecastData, scale: Float[np.ndarray, " D"]) -> None:
        if data.series[0].covariates.shape[1]:
            raise ConfigError("a forecaster that reads covariates", "a series alone", "judge whole files with rnnscope detect")
        self.system = NetworkForecaster(model, data).system()
        self.representation, self.names, self.scale = data.representation, data.series[0].names, scale
        self.state = self.system.initial_state(1)
        self.recent: deque[np.ndarray] = deque(maxlen=PAST)
        self.forecast: np.ndarray | None = None

    @torch.inference_mode()
    def push(self, value: np.ndarray) -> float:
        score = float("nan")
        if self.forecast is not None:
            score = float(np.sqrt((((value - self.forecast) / self.scale) ** 2).mean()))
        self.recent.append(value)
        past = np.stack(self.recent)
        if len(past) > self.representation.first:
            known = Series(past, np.empty((len(past), 0)), np.arange(len(past)), "stream", self.names)
            input = self.representation.inputs(known)[-1:]
            self.state = self.system.step(self.state, torch.from_numpy(np.ascontiguousarray(input)).to(self.state))
            output = self.system.readout(self.state).numpy(force=True)
            self.forecast = self.representation.decode(input, output)[0, 0]
        return score


@dataclass(frozen=True)
class StreamStep:
    """What is said of one value: its score, its p-value, whether it is an alarm, and the bounds of the score; NaN where unknown."""

    score: float
    p_value: float
    alarm: bool
    lower: float
    upper: float


class StreamingDetector:
    """Alarms one value at a time, at a stated rate of false alarms per step.

    With `memory` None the threshold stays as the calibration part set it, and a stream gives exactly the alarms of `raise_alarms`.
    With a memory it follows a changing series: it is fitted again, every `refit` steps, to the latest `memory` scores that raised no
    alarm (the idea of SPOT with drift, Siffer et al. 2017).

    Args:
        calibration: scores (or values) from which to learn what is usual, at least 8. method: see `fit_null`. side: `both` for values,
            `upper` for errors. rate: p-value at or below which a step alarms. scorer: turns values into scores; None: the values are
            the scores. memory: see above, at least 8; None: fixed. refit: a twentieth of the memory when None.

    Raises:
        ConfigError, DataError: a field out of range, calibration values that allow no threshold, a value that is not finite.

    Example:
        >>> import numpy as np
        >>> detector = StreamingDetector(np.random.default_rng(0).normal(size=500), method="mad")
        >>> [detector.update(x).alarm for x in (0.5, -1.0, 7.0)]
        [False, False, True]
    """

    def __init__(
        self,
        calibration: Float[np.ndarray, " M"],
        *,
        method: Method = "pot",
        side: Side = "both",
        rate: float = THREE_SIGMA,
        scorer: StreamScorer | None = None,
        memory: int | None = None,
        refit: int | None = None,
    ) -> None:
        if method not in METHODS:
            raise ConfigError(f"method is '{method}'", f"one of {', '.join(METHODS)}", "choose one of them")
        if not 0 < rate < 1:
            raise ConfigError(f"rate is {rate:g}", "between 0 and 1", "a small one, e.g. 0.001")
        if memory is not None and memory < 8:
            raise ConfigError(f"memory is {memory}", "at least 8 scores", "give a larger memory")
        self.method, self.side, self.rate, self.memory = method, side, rate, memory
        self.scorer = scorer or ValueScorer()
        self.refit = refit or max(1, (memory or 20) // 20)
        self.waited = 0
        start = np.asarray(calibration, np.float64)
        self.recent: deque[float] = deque((start[-memory:] if memory else start[:0]).tolist(), maxlen=memory)
        self._fit(start if memory is None else start[-memory:])

    def _fit(self, scores: np.ndarray) -> None:
        try:
            self.null = fit_null(scores, self.method, self.side)
        except ValueError as error:
            raise DataError(
                f"no threshold by {self.method}: {error}", "calibration scores that vary", "give more of them"
            ) from None
        self.lower, self.upper = self.null.bounds(self.rate)

    def update(self, value: float | Float[np.ndarray, " D"]) -> StreamStep:
        """Take the next value of the series."""
        array = np.atleast_1d(np.asarray(value, np.float64))
        if not np.isfinite(array).all():
            raise DataError(f"the value {value}", "finite numbers", "leave such values out")
        score = self.scorer.push(array)
        if np.isnan(score):
            return StreamStep(score, float("nan"), False, self.lower, self.upper)
        p = float(self.null.p_values(np.array([score]))[0])
        alarm = p <= self.rate * (1 + 1e-12)
        found = StreamStep(score, p, alarm, self.lower, self.upper)
        if self.memory is not None and not alarm:
            self.recent.append(score)
            self.waited += 1
            if self.waited >= self.refit:
                self.waited = 0
                self._fit(np.array(self.recent))
        return found
