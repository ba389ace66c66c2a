"""Detectors without recurrence: values beyond thresholds, residuals of a linear autoregression, matrix profile, Sub-PCA.

Each is a model like any other: a trainer fits it, `forward` gives scores step by step, its weights are what it learned.
"""

from typing import Annotated, Any, Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from rnnscope.core.errors import ConfigError, DataError
from rnnscope.core.interfaces import ModelSpec, Signature
from rnnscope.core.marked_series import ScoresSteps
from rnnscope.core.spec import Positive
from rnnscope.core.system import DynamicalSystem, SequenceModel
from rnnscope.numerics.anomaly_scores import (
    SHORTEST,
    SubspaceModel,
    fit_linear,
    fit_subspace,
    linear_residuals,
    matrix_profile,
    spread_over_steps,
    typical_period,
)
from rnnscope.numerics.nulls import Method
from rnnscope.numerics.regression import LinearAutoregression

Window = Annotated[int, Field(ge=SHORTEST)] | None


class Detector(SequenceModel, ScoresSteps):
    """A model whose outputs are anomaly scores; what it learned lies in buffers whose sizes depend on what it learned from."""

    signed = False
    method: str | None = None

    def __init__(self, **buffers: int) -> None:
        super().__init__()
        for name, axes in buffers.items():
            self.register_buffer(name, torch.zeros((0,) * axes, dtype=torch.float64))

    def keep(self, **arrays: Any) -> None:
        """Store what was learned."""
        for name, array in arrays.items():
            setattr(self, name, torch.as_tensor(np.array(array, np.float64)))

    def kept(self, name: str) -> np.ndarray:
        """What was learned, by name; refuses a detector that has learned nothing."""
        found = self.get_buffer(name).numpy(force=True)
        if not found.size:
            raise ConfigError("a detector that was not fitted", "the trainer fit", "set trainer.kind=fit")
        return found

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *rest: Any) -> None:
        for name in list(self._buffers):
            if f"{prefix}{name}" in state_dict:
                setattr(self, name, torch.empty_like(state_dict[f"{prefix}{name}"]))
        super()._load_from_state_dict(state_dict, prefix, *rest)

    def forward(
        self,
        inputs: Tensor,
        lengths: Tensor | None = None,
        *,
        rng: torch.Generator | None = None,
        last: int | None = None,
    ) -> Tensor:
        rows = inputs.detach().double().numpy(force=True)
        found = torch.from_numpy(np.stack([self.score_steps(row) for row in rows])).to(inputs)
        return found if last is None else found[:, -last:]

    def systems(self) -> dict[str, DynamicalSystem]:
        return {}


class Threshold(ModelSpec):
    """The values themselves, with a threshold: what lies far out is an alarm.

    Fields:
        method: `three-sigma` (mean and standard deviation), `mad` (median and median absolute deviation), `quantile` (ranks) or `pot`
            (generalised Pareto tails); see `rnnscope.numerics.nulls.fit_null`.
    """

    method: Method = "three-sigma"

    def build(self, signature: Signature, rng: torch.Generator) -> "ThresholdDetector":
        return ThresholdDetector(self.method)


class ThresholdDetector(Detector):
    """Scores are the values, a column each, unusual on both sides."""

    signed = True

    def __init__(self, method: str) -> None:
        super().__init__(bounds=2)
        self.method = method

    def learn(self, values: np.ndarray) -> None:
        self.keep(bounds=np.stack([values.min(0), values.max(0)]))

    def score_steps(self, values: np.ndarray) -> np.ndarray:
        return values.astype(np.float64)


class LinearResidual(ModelSpec):
    """How far a value is from its forecast by a linear autoregression of the values before it.

    Fields: orders: candidates, chosen by AIC on the fitting part. Where there are several columns, all are used to forecast each.
    """

    orders: Annotated[tuple[Positive, ...], Field(min_length=1)] = (1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 12, 15, 20, 25, 30, 40, 50)

    def build(self, signature: Signature, rng: torch.Generator) -> "LinearResidualDetector":
        return LinearResidualDetector(self.orders)


class LinearResidualDetector(Detector):
    """|x_t - x̂_t| over its root mean square on the fitting part, the root mean square over columns."""

    def __init__(self, orders: tuple[int, ...]) -> None:
        super().__init__(order=1, weights=2, intercept=1, scale=1)
        self.orders = orders

    def learn(self, values: np.ndarray) -> None:
        fit = fit_linear(values, self.orders)
        residuals = linear_residuals(fit, values)
        scale = np.sqrt(np.nanmean(residuals**2, 0))
        floor = 1e-9 * np.abs(values).max(0)
        self.keep(order=[fit.order], weights=fit.weights, intercept=fit.intercept, scale=np.maximum(scale, floor))

    def score_steps(self, values: np.ndarray) -> np.ndarray:
        order = int(self.kept("order")[0])
        fit = LinearAutoregression(order, self.kept("weights"), self.kept("intercept"), 0.0)
        standard = linear_residuals(fit, values) / self.kept("scale")
        return np.sqrt((standard**2).mean(1, keepdims=True))


class MatrixProfile(ModelSpec):
    """How far a window is from the window most like it, averaged over the windows that hold a step.

    Fields:
        window: steps; the period found by autocorrelation on the fitting part when None (50 where there is none).
        join: `self`: compare with all other windows of the series, later ones too; `past`: with earlier ones alone; `training`:
            with those of the fitting part.
    """

    window: Window = None
    join: Literal["self", "past", "training"] = "self"

    def build(self, signature: Signature, rng: torch.Generator) -> "MatrixProfileDetector":
        return MatrixProfileDetector(self.window, self.join)


class MatrixProfileDetector(Detector):
    """z-normalised distances to the nearest neighbour, the mean over columns."""

    def __init__(self, window: int | None, join: str) -> None:
        super().__init__(length=1, reference=2)
        self.window, self.join = window, join

    def learn(self, values: np.ndarray) -> None:
        length = self.window or typical_period(values[:, 0])
        check_length(values, length)
        self.keep(length=[length], reference=values if self.join == "training" else values[:1])

    def score_steps(self, values: np.ndarray) -> np.ndarray:
        length = int(self.kept("length")[0])
        check_length(values, length)
        found = []
        for column, earlier in zip(values.T, self.kept("reference").T, strict=True):
            reference = np.ascontiguousarray(earlier) if self.join == "training" else None
            profile = matrix_profile(
                np.ascontiguousarray(column), length, reference=reference, past_only=self.join == "past"
            ).distances
            known = np.isfinite(profile)
            spread = spread_over_steps(np.where(known, profile, 0.0), length, len(values))
            share = spread_over_steps(known.astype(float), length, len(values))
            found.append(np.where(share > 0, spread / np.maximum(share, 1e-12), np.nan))
        return np.mean(found, axis=0)[:, None]


class SubPCA(ModelSpec):
    """How badly principal components of windows reconstruct a window, averaged over the windows that hold a step.

    Fields: window: as of `MatrixProfile`. share: of the variance that the components hold, in (0, 1).
    """

    window: Window = None
    share: Annotated[float, Field(gt=0.0, lt=1.0)] = 0.9

    def build(self, signature: Signature, rng: torch.Generator) -> "SubPCADetector":
        return SubPCADetector(self.window, self.share)


class SubPCADetector(Detector):
    """Mean squared reconstruction error, the mean over columns, each scaled to its own variance."""

    def __init__(self, window: int | None, share: float) -> None:
        super().__init__(means=2, axes=2, sizes=1, variances=1)
        self.window, self.share = window, share

    def learn(self, values: np.ndarray) -> None:
        length = self.window or typical_period(values[:, 0])
        check_length(values, length)
        fits = [fit_subspace(np.ascontiguousarray(column), length, self.share) for column in values.T]
        self.keep(
            means=np.stack([f.mean for f in fits]),
            axes=np.concatenate([f.axes for f in fits]),
            sizes=[len(f.axes) for f in fits],
            variances=values.var(0),
        )

    def score_steps(self, values: np.ndarray) -> np.ndarray:
        means, variances = self.kept("means"), self.kept("variances")
        check_length(values, means.shape[1], 1)
        pieces = np.split(self.kept("axes"), np.cumsum(self.kept("sizes").astype(int))[:-1])
        found = []
        for column, mean, axes, variance in zip(values.T, means, pieces, variances, strict=True):
            errors = SubspaceModel(mean, axes).errors(np.ascontiguousarray(column)) / variance
            found.append(spread_over_steps(errors, len(mean), len(values)))
        return np.mean(found, axis=0)[:, None]


def check_length(values: np.ndarray, window: int, times: int = 2) -> None:
    """Refuse a series that holds no `times` windows."""
    if len(values) < times * window:
        raise DataError(
            f"{len(values)} steps and a window of {window}",
            f"at least {times * window} steps to learn from",
            "set the detector's window (--window) smaller, or give a longer series or training part",
        )
