"""The naive forecasts that every model has to beat."""

from collections.abc import Callable

import numpy as np

from rnnscope.core.errors import unknown_name
from rnnscope.core.forecast import ForecastData
from rnnscope.evaluation.forecasters import Forecaster
from rnnscope.numerics.metrics import find_season, mean_seen
from rnnscope.numerics.regression import fit_autoregression

TRIVIAL = ("mean", "last_value", "two_point", "seasonal_naive")
LINEAR = "linear_autoregression"
DEFAULT_ORDERS = (1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 12, 15, 20, 25, 30, 40, 50)
LABELS = {
    "mean": "mean of the training part",
    "last_value": "last value (persistence)",
    "two_point": "two-point extrapolation",
    "seasonal_naive": "seasonal naive",
    LINEAR: "linear autoregression",
    "noise_ceiling": "true signal (noise ceiling)",
}


class Mean(Forecaster):
    """x̂ = mean of the training part."""

    def __init__(self, data: ForecastData) -> None:
        super().__init__(data)
        self.mean = mean_seen(np.concatenate([data.series[s.series].truth[s.start : s.stop] for s in data.parts.train]), (0,))

    def run(self, series: int, origins: np.ndarray, steps: int) -> np.ndarray:
        return np.tile(self.mean, (len(origins), steps, 1))


class LastValue(Forecaster):
    """x̂_{t+k} = x_{t-1}: persistence."""

    def run(self, series: int, origins: np.ndarray, steps: int) -> np.ndarray:
        return np.repeat(self.data.series[series].values[origins - 1][:, None], steps, 1)


class TwoPoint(Forecaster):
    """x̂_{t+k} = x_{t-1} + (k+1)(x_{t-1} - x_{t-2}): the straight line through the last two values."""

    def run(self, series: int, origins: np.ndarray, steps: int) -> np.ndarray:
        values = self.data.series[series].values
        last, before = values[origins - 1][:, None], values[np.maximum(origins - 2, 0)][:, None]
        return last + (last - before) * np.arange(1, steps + 1)[None, :, None]


class SeasonalNaive(Forecaster):
    """x̂_{t+k} = the value one (or more) whole periods before."""

    def __init__(self, data: ForecastData, season: int) -> None:
        super().__init__(data)
        self.season = season

    def run(self, series: int, origins: np.ndarray, steps: int) -> np.ndarray:
        values = self.data.series[series].values
        rows = origins[:, None] - self.season + np.arange(steps) % self.season
        return values[np.maximum(rows, 0)]


class LinearForecaster(Forecaster):
    """Linear autoregression with the task's covariates, its order chosen by AIC on the training part.

    Args:
        orders: candidates. transformed: fit on the transformed and scaled level, as a network sees it, else on raw values.
    """

    def __init__(self, data: ForecastData, orders: tuple[int, ...] = DEFAULT_ORDERS, *, transformed: bool = True) -> None:
        super().__init__(data)
        self.transformed = transformed
        pieces = []
        for span in data.parts.train:
            s = data.series[span.series]
            part = slice(span.start, span.stop)
            pieces.append((self._seen(s.values[part]), s.covariates[part], self._seen(s.truth[part])))
        self.fit = fit_autoregression(pieces, list(orders))

    def _seen(self, values: np.ndarray) -> np.ndarray:
        return self.data.representation.level(values) if self.transformed else values

    def run(self, series: int, origins: np.ndarray, steps: int) -> np.ndarray:
        values, order = self.data.series[series].values, self.fit.order
        history = self._seen(values[np.maximum(origins[:, None] + np.arange(-order, 0), 0)])
        covariates = self.future_covariates(series, origins, order, steps)
        path = self.fit.continue_path(history, covariates, steps)
        return self.data.representation.unlevel(path) if self.transformed else path


def is_raw_order(name: str) -> bool:
    """Whether a name such as "ar12" asks for AR(12) on raw values."""
    return name.startswith("ar") and name[2:].isdigit() and int(name[2:]) > 0


def label(name: str) -> str:
    """A baseline's name in words."""
    return f"AR({name[2:]}) on raw values" if is_raw_order(name) else LABELS.get(name, name)


def training_season(data: ForecastData) -> int | None:
    """The period in steps: as the task states it, else found on the longest training piece."""
    if data.season is not None:
        return data.season
    longest = max(data.parts.train, key=len)
    values = data.series[longest.series].values[longest.start : longest.stop, 0]
    return find_season(values[-200_000:]) if len(values) >= 8 else None


def make_baseline(name: str, data: ForecastData, orders: tuple[int, ...] = DEFAULT_ORDERS) -> Forecaster | None:
    """A baseline by name; None for the seasonal one where no season is found. "ar12" is AR(12) on raw values."""
    if name == "seasonal_naive":
        season = training_season(data)
        return SeasonalNaive(data, season) if season else None
    simple: dict[str, Callable[[ForecastData], Forecaster]] = {"mean": Mean, "last_value": LastValue, "two_point": TwoPoint}
    if name in simple:
        return simple[name](data)
    if name == LINEAR:
        return LinearForecaster(data, tuple(p for p in orders if p <= max(data.window, 12)))
    if is_raw_order(name):
        return LinearForecaster(data, (int(name[2:]),), transformed=False)
    raise unknown_name("baseline", name, LABELS)
