"""Simulated oscillations with observation noise (scope A1, A9)."""

from collections.abc import Callable
from typing import Any, Literal

import numpy as np

from rnnscope.core.series import Series
from rnnscope.core.spec import NonNegativeFloat, Positive, PositiveFloat
from rnnscope.tasks.forecasting import ForecastTask, Recording

SIGNALS: dict[str, Callable[[Any], Any]] = {
    "sine": np.sin,
    "cosine": np.cos,
    "combined": lambda t: np.sin(t) + 0.5 * np.sin(2 * t),
    "damped": lambda t: np.exp(-t / 10) * np.sin(t),
}


class Oscillation(ForecastTask):
    """x(t) = f(t) + σ n, with f one of sine, cosine, combined (sin t + ½ sin 2t), damped (exp(-t/10) sin t).

    Fields:
        signal: f. num_points: samples on [0, duration], both ends included. duration: in radians, default 10π.
        noise_sd: σ >= 0 of the Gaussian observation noise n.
    """

    signal: Literal["sine", "cosine", "combined", "damped"] = "sine"
    num_points: Positive = 1000
    duration: PositiveFloat = 10 * np.pi
    noise_sd: NonNegativeFloat = 0.05

    def record(self, rng: np.random.Generator) -> Recording:
        times = np.linspace(0.0, self.duration, self.num_points)
        clean = SIGNALS[self.signal](times)
        noisy = clean + self.noise_sd * rng.standard_normal(self.num_points)
        interval = self.duration / max(1, self.num_points - 1)
        series = Series(noisy[:, None], np.empty((self.num_points, 0)), times, self.signal, ("x",), clean=clean[:, None])
        return Recording(
            [series], sampling_interval=interval, noise_sd=self.noise_sd, season=max(1, round(2 * np.pi / interval))
        )
