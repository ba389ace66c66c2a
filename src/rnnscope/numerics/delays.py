"""Delay coordinates: what one recorded variable shows of the state it comes from (Takens 1981)."""

import numpy as np
from jaxtyping import Float


def delay_lag(values: Float[np.ndarray, " T"], steps: int) -> int:
    """Steps at which the autocorrelation first falls below 1/e, at most a twentieth of the series and of `steps`."""
    centred = values - values.mean()
    power = np.abs(np.fft.rfft(centred, 2 * len(values))) ** 2
    correlation = np.fft.irfft(power)[: len(values)]
    below = np.flatnonzero(correlation < correlation[0] / np.e)
    return max(1, min(int(below[0]) if len(below) else 1, len(values) // 20, steps // 20))


def delayed(values: Float[np.ndarray, "B T D"], lag: int) -> Float[np.ndarray, "B K C"]:
    """(x_t, x_{t+lag}, x_{t+2 lag}); the values themselves for lag 0."""
    if not lag:
        return values
    size = values.shape[1] - 2 * lag
    return np.concatenate([values[:, k * lag : k * lag + size] for k in range(3)], 2)
