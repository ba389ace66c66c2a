"""Prediction intervals and whether they cover what they promise."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy import stats

from rnnscope.core.forecast import ForecastData
from rnnscope.core.interfaces import Scores
from rnnscope.core.series import Span
from rnnscope.evaluation.forecasters import Forecaster, NetworkForecaster
from rnnscope.numerics.statistics import adaptive_halfwidths, conformal_quantile

MOST_CALIBRATION = 5000


@dataclass(frozen=True)
class IntervalSettings:
    """kind: adaptive, conformal, gaussian. level: nominal coverage in (0, 1)."""

    kind: Literal["none", "adaptive", "conformal", "gaussian"]
    level: float


@dataclass(frozen=True)
class IntervalReport:
    """scores: coverage and mean width; arrays: lower and upper bounds over the test part, (N, D)."""

    scores: Scores
    arrays: dict[str, np.ndarray]


def calibration_spans(data: ForecastData) -> tuple[tuple[Span, ...], bool]:
    """Where absolute errors come from, and whether training saw these steps."""
    if data.parts.calibration:
        return data.parts.calibration, False
    if data.parts.validation:
        return data.parts.validation, False
    return data.parts.train, True


def _origins(data: ForecastData, span: Span, horizon: int) -> np.ndarray:
    origins = np.arange(
        max(span.start, data.representation.first + 1, min(data.window, span.stop - horizon)), span.stop - horizon + 1
    )
    return origins[-MOST_CALIBRATION:]


def _errors(data: ForecastData, forecaster: Forecaster, spans: tuple[Span, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Level-scale forecasts and errors (N, D) of the first step ahead."""
    centers, errors = [], []
    level = data.representation.level
    for span in spans:
        origins = _origins(data, span, 1)
        center = level(forecaster.one_step(span.series, origins)[:, 0])
        centers.append(center)
        errors.append(level(data.series[span.series].truth[origins]) - center)
    known = np.concatenate(errors)
    keep = np.isfinite(known).all(1)
    return np.concatenate(centers)[keep], known[keep]


def interval_report(data: ForecastData, forecaster: Forecaster, settings: IntervalSettings) -> IntervalReport:
    """One-step intervals over the main test part.

    Errors are taken on the transformed and scaled level, so that a square-root transform gives intervals that widen with
    the level and stay above zero.
    """
    (span, *_) = data.parts.tests["test"]
    origins = np.arange(max(span.start, data.representation.first + 1), span.stop - data.representation.horizon + 1)
    representation = data.representation
    truth = data.series[span.series].truth[origins]
    center = representation.level(forecaster.one_step(span.series, origins)[:, 0])
    spans, in_sample = calibration_spans(data)
    gaussian = settings.kind == "gaussian" and representation.gaussian and isinstance(forecaster, NetworkForecaster)
    if gaussian:
        assert isinstance(forecaster, NetworkForecaster)
        spread = representation.spreads(forecaster.outputs(span.series, origins))[:, 0]
        widths = float(stats.norm.ppf(0.5 + settings.level / 2)) * spread
    else:
        past = np.abs(_errors(data, forecaster, spans)[1])
        now = np.abs(representation.level(truth) - center)
        widths = np.empty_like(now)
        for v in range(now.shape[1]):
            if settings.kind == "adaptive":
                seen = np.isfinite(now[:, v])
                found = adaptive_halfwidths(past[:, v], now[seen, v], settings.level)
                widths[:, v] = found[np.maximum(np.cumsum(seen) - 1, 0)]
            else:
                widths[:, v] = conformal_quantile(past[:, v], settings.level)
    lower, upper = representation.unlevel(center - widths), representation.unlevel(center + widths)
    covered = ((truth >= lower) & (truth <= upper))[np.isfinite(truth)]
    scores = {
        "nominal": settings.level,
        "coverage": float(covered.mean()),
        "mean_width": float(np.mean(upper - lower)),
        "calibrated_in_sample": float(in_sample and not gaussian),
    }
    return IntervalReport(scores, {"lower": lower, "upper": upper})


def lead_halfwidths(
    data: ForecastData, forecaster: Forecaster, settings: IntervalSettings, leads: int, most: int = 200
) -> np.ndarray:
    """Split-conformal half-widths on the scaled level by lead time of a free run, (leads, D), made monotone in the lead.

    Calibrated on free runs from up to `most` origins of the calibration part (else validation, else training part). Leads
    longer than that part allows repeat the last one.
    """
    spans, _ = calibration_spans(data)
    span = max(spans, key=len)
    leads_here = max(1, min(leads, len(span) // 2))
    origins = _origins(data, span, leads_here)
    origins = np.unique(origins[np.linspace(0, len(origins) - 1, min(most, len(origins))).astype(int)])
    forecast = forecaster.run(span.series, origins, leads_here)
    truth = data.series[span.series].truth[origins[:, None] + np.arange(leads_here)]
    error = np.abs(data.representation.level(truth) - data.representation.level(forecast))
    widths = np.array([[_halfwidth(error[:, k, v], settings.level) for v in range(error.shape[2])] for k in range(leads_here)])
    widths = np.maximum.accumulate(widths, 0)
    return np.concatenate([widths, np.repeat(widths[-1:], leads - leads_here, 0)])


def _halfwidth(errors: np.ndarray, level: float) -> float:
    """The conformal quantile of what was measured; the largest error where there are too few for the level."""
    seen = errors[np.isfinite(errors)]
    return conformal_quantile(seen, min(level, len(seen) / (len(seen) + 1))) if len(seen) else 0.0
