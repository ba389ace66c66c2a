"""Scores of forecasts. Arrays are (steps, variables); every score averages over both unless said."""

import numpy as np
from jaxtyping import Float


def forecast_scores(truth: Float[np.ndarray, "N D"], forecast: Float[np.ndarray, "N D"], scale: float) -> dict[str, float]:
    """MSE, RMSE, MAE, R² and MASE.

    R² = 1 - Σ(x - x̂)²/Σ(x - x̄)², the mean taken per variable over these steps and averaged over variables that vary;
    MASE = MAE / scale (Hyndman & Koehler 2006).

    Args:
        truth, forecast: same shape; steps whose truth is NaN do not count. scale: in-sample mean absolute error of the naive forecast; nan gives nan.
    """
    seen = np.isfinite(truth)
    truth, forecast = truth[:, seen.any(0)], forecast[:, seen.any(0)]
    if not truth.size:
        return dict.fromkeys(("mse", "rmse", "mae", "r2", "mase"), float("nan"))
    error = truth - forecast
    mse, mae = float(np.nanmean(error**2)), float(np.nanmean(np.abs(error)))
    spread = np.nanvar(truth, 0)
    varying = spread > 0
    r2 = float(np.mean(1 - np.nanmean(error**2, 0)[varying] / spread[varying])) if varying.any() else float("nan")
    return {"mse": mse, "rmse": float(np.sqrt(mse)), "mae": mae, "r2": r2, "mase": mae / scale if scale > 0 else float("nan")}


def mean_seen(values: Float[np.ndarray, "N *rest"], axes: tuple[int, ...]) -> np.ndarray:
    """Mean over axes of what is not NaN; NaN where nothing is."""
    seen = np.isfinite(values)
    count = seen.sum(axes)
    return np.where(count > 0, np.where(seen, values, 0.0).sum(axes) / np.maximum(count, 1), np.nan)


def naive_scale(pieces: list[np.ndarray], season: int = 1) -> float:
    """Mean |x_t - x_{t-season}| over training pieces: the denominator of MASE."""
    steps = [np.abs(p[season:] - p[:-season]) for p in pieces if len(p) > season]
    return float(mean_seen(np.concatenate(steps), (0,)).mean()) if steps else float("nan")


def find_season(values: Float[np.ndarray, " T"], shortest: int = 2) -> int | None:
    """Period in steps: the highest local maximum of the autocorrelation of the detrended series beyond its first zero.

    None when it stays below 0.1, or when the series holds fewer than two such periods.
    """
    steps = np.arange(len(values))
    flat = values - np.polyval(np.polyfit(steps, values, 1), steps)
    size = 1 << (2 * len(flat) - 1).bit_length()
    spectrum = np.fft.rfft(flat, size)
    correlation = np.fft.irfft(np.abs(spectrum) ** 2, size)[: len(flat) // 2 + 1]
    if not correlation[0] > 0:
        return None
    correlation = correlation / correlation[0] * len(flat) / np.maximum(1, len(flat) - np.arange(len(correlation)))
    below = np.flatnonzero(correlation < 0)
    if not len(below):
        return None
    start = max(int(below[0]), shortest)
    inner = correlation[start:-1]
    peaks = [
        k + start
        for k in range(1, len(inner))
        if inner[k] >= correlation[k + start - 1] and inner[k] >= correlation[k + start + 1]
    ]
    best = max(peaks, key=lambda k: correlation[k], default=None)
    if best is None or correlation[best] < 0.1:
        return None
    early = [k for k in peaks if correlation[k] > 0.9 * correlation[best]]
    return int(early[0])
