"""Time series in their own units, and the representation in which a network sees them."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Float

from rnnscope.core.errors import DataError
from rnnscope.core.loops import AffineFeedback

Transform = Literal["none", "sqrt", "log1p"]
Scaling = Literal["standard", "minmax", "none"]


@dataclass(frozen=True)
class Series:
    """One recorded sequence in physical units; T steps, D variables, E covariates.

    Attributes:
        values: what is forecast, (T, D) float64.
        covariates: known inputs of each step, (T, E) float64; E may be 0.
        times: time of each step, (T,), numbers or datetime64, increasing.
        name: of the series. names, covariate_names: of the columns.
        clean: the noise-free values where they are known, (T, D), else None.
        observed: where values were measured, (T, D) bool; None: everywhere. Elsewhere `values` repeats the last measured
            one, which serves as an input but is neither trained on nor scored.
        hidden: further columns that the model does not see (a velocity, say), by name.
    """

    values: Float[np.ndarray, "T D"]
    covariates: Float[np.ndarray, "T E"]
    times: np.ndarray
    name: str = "series"
    names: tuple[str, ...] = ("x",)
    covariate_names: tuple[str, ...] = ()
    clean: Float[np.ndarray, "T D"] | None = None
    hidden: dict[str, np.ndarray] = field(default_factory=dict)
    observed: np.ndarray | None = None

    @property
    def truth(self) -> Float[np.ndarray, "T D"]:
        """The values, NaN where they were not measured."""
        return self.values if self.observed is None else np.where(self.observed, self.values, np.nan)

    def __len__(self) -> int:
        return int(self.values.shape[0])


@dataclass(frozen=True)
class Span:
    """The steps start <= t < stop of series number `series`, as targets of a forecast."""

    series: int
    start: int
    stop: int

    def __len__(self) -> int:
        return self.stop - self.start


_FORWARD: dict[str, Callable[[Any], Any]] = {"none": lambda x: x, "sqrt": np.sqrt, "log1p": np.log1p}
_BACKWARD: dict[str, Callable[[Any], Any]] = {
    "none": lambda x: x,
    "sqrt": lambda z: np.square(np.maximum(z, 0.0)),
    "log1p": np.expm1,
}


@dataclass(frozen=True)
class Representation:
    """Maps a series to a network's inputs and targets, and its outputs back to forecasts in physical units.

    With g the transform, m and s location and scale fitted on the training part, z = (g(x) - m)/s is the level. For
    order d of differencing (0, 1, 2), Δz_t = z_t - z_{t-1}, s_k the standard deviation of the k-th difference on the
    training part:

        input  u_t = [z_t, Δz_t/s_1 (only d = 2), w]       w: scaled covariates of t+1 (`ahead`) or of t
        target y_t = Δ^d z_{t+1} / s_d                     (s_0 = 1), and for a horizon H also of t+2 … t+H

    Everything here is float64; differences are taken before anything is rounded to float32.

    Attributes:
        transform, differences, horizon, ahead: as above.
        location, scale: m, s, (D,). covariate_location, covariate_scale: (E,).
        difference_scales: s_1, … s_d, each (D,).
        gaussian: the network also puts out log standard deviations, (D·H) of them, after the means.
    """

    transform: Transform
    differences: int
    horizon: int
    ahead: bool
    location: np.ndarray
    scale: np.ndarray
    covariate_location: np.ndarray
    covariate_scale: np.ndarray
    difference_scales: tuple[np.ndarray, ...]
    gaussian: bool = False

    @property
    def num_variables(self) -> int:
        return len(self.location)

    @property
    def num_levels(self) -> int:
        """Input features that the feedback produces: levels and, for d = 2, first differences."""
        return self.num_variables * max(1, self.differences)

    @property
    def input_size(self) -> int:
        return self.num_levels + len(self.covariate_location)

    @property
    def output_size(self) -> int:
        return self.num_variables * self.horizon * (2 if self.gaussian else 1)

    @property
    def first(self) -> int:
        """First step at which the inputs are defined."""
        return max(0, self.differences - 1)

    def level(self, values: np.ndarray) -> np.ndarray:
        """z = (g(x) - m)/s."""
        with np.errstate(divide="ignore", invalid="ignore"):  # of forecasts at the end of the transform's domain, or beyond it
            return (_FORWARD[self.transform](values) - self.location) / self.scale

    def unlevel(self, level: np.ndarray) -> np.ndarray:
        """x = g⁻¹(m + s z)."""
        return _BACKWARD[self.transform](self.location + self.scale * level)

    def scaled_covariates(self, covariates: np.ndarray) -> np.ndarray:
        """w of each step."""
        return (covariates - self.covariate_location) / self.covariate_scale

    def inputs(self, series: Series) -> Float[np.ndarray, "T X"]:
        """u_t for every t. With covariates `ahead`, the last row's are repeated from the last known step."""
        z = self.level(series.values)
        parts = [z]
        if self.differences == 2:
            parts.append(np.diff(z, axis=0, prepend=z[:1]) / self.difference_scales[0])
        if series.covariates.shape[1]:
            w = self.scaled_covariates(series.covariates)
            parts.append(np.concatenate([w[1:], w[-1:]]) if self.ahead else w)
        return np.concatenate(parts, 1)

    def targets(self, series: Series) -> Float[np.ndarray, "N Y"]:
        """y_t for t = 0 … T-1-H: the H next d-th differences, (T - H, D·H), nearest first; NaN where not measured."""
        z = self.level(series.values)
        for _ in self.difference_scales:
            z = np.diff(z, axis=0, prepend=z[:1])
        z = z / self.difference_scales[-1] if self.differences else z
        if series.observed is not None:
            z = np.where(series.observed, z, np.nan)
        if self.horizon == 1:
            return z[1:]
        if len(z) <= self.horizon:
            return np.empty((0, self.horizon * self.num_variables))
        windows = np.lib.stride_tricks.sliding_window_view(z[1:], self.horizon, axis=0)
        return windows.transpose(0, 2, 1).reshape(len(windows), -1)

    def feedback(self) -> AffineFeedback:
        """The closed loop's x' = A x + B y + C e in this representation."""
        variables, levels, exogenous = self.num_variables, self.num_levels, len(self.covariate_location)
        carry = torch.zeros(self.input_size, self.input_size, dtype=torch.float64)
        from_output = torch.zeros(self.input_size, self.output_size, dtype=torch.float64)
        from_exogenous = torch.zeros(self.input_size, exogenous, dtype=torch.float64)
        from_exogenous[levels:] = torch.eye(exogenous, dtype=torch.float64)
        for v in range(variables):
            scales = [float(s[v]) for s in self.difference_scales]
            if self.differences == 0:
                from_output[v, v] = 1.0
            else:
                carry[v, v] = 1.0
                from_output[v, v] = scales[-1]
            if self.differences == 2:
                velocity = variables + v
                carry[v, velocity], carry[velocity, velocity] = scales[0], 1.0
                from_output[velocity, v] = scales[1] / scales[0]
        return AffineFeedback(carry, from_output, from_exogenous)

    def decode(self, inputs: Float[np.ndarray, "*N X"], outputs: Float[np.ndarray, "*N Y"]) -> np.ndarray:
        """One output to forecasts of the next H steps: (…, H, D) in physical units, given the input it answered."""
        path = self._path(inputs, self.means(outputs))
        return self.unlevel(path)

    def decode_run(self, input: Float[np.ndarray, "B X"], outputs: Float[np.ndarray, "B N Y"]) -> np.ndarray:
        """The outputs of a free run from `input` to forecasts (B, N, D) in physical units; each step's first mean is used."""
        return self.unlevel(self._path(input, outputs[..., : self.num_variables]))

    def decode_encoded(self, inputs: np.ndarray, outputs: np.ndarray) -> np.ndarray:
        """Like `decode`, but on the scaled level z."""
        return self._path(inputs, self.means(outputs))

    def means(self, outputs: np.ndarray) -> np.ndarray:
        """(…, H, D) of the point outputs."""
        size = self.num_variables * self.horizon
        return outputs[..., :size].reshape(*outputs.shape[:-1], self.horizon, self.num_variables)

    def spreads(self, outputs: np.ndarray) -> np.ndarray:
        """(…, H, D) standard deviations of a Gaussian head, on the scale of z."""
        size = self.num_variables * self.horizon
        unit = self.difference_scales[-1] if self.differences else 1.0
        return np.exp(outputs[..., size:]).reshape(*outputs.shape[:-1], self.horizon, self.num_variables) * unit

    def _path(self, inputs: np.ndarray, increments: np.ndarray) -> np.ndarray:
        """Integrate (…, H, D) outputs d times, from the level and velocity in `inputs` (…, X)."""
        if self.differences == 0:
            return increments
        variables = self.num_variables
        start = inputs[..., None, :variables]
        steps = increments * self.difference_scales[-1]
        if self.differences == 2:
            velocity = inputs[..., None, variables : 2 * variables] * self.difference_scales[0]
            steps = velocity + np.cumsum(steps, axis=-2)
        return start + np.cumsum(steps, axis=-2)


def fit_representation(
    series: list[Series],
    spans: list[Span],
    *,
    transform: Transform = "none",
    scaling: Scaling = "standard",
    differences: int = 0,
    horizon: int = 1,
    ahead: bool = True,
    gaussian: bool = False,
) -> Representation:
    """Fit location and scales on the steps of `spans` only.

    Args:
        series: the series that the spans refer to.
        spans: the training part.
        transform: g; sqrt needs values >= 0, log1p values > -1.
        scaling: `standard` (mean, standard deviation), `minmax` (to [0, 1]) or `none`.
        differences: d = 0, 1 or 2. horizon: H >= 1. ahead: covariates of the step that is forecast.

    Raises:
        DataError: a constant training part, or values outside the transform's domain.
    """
    names = series[0].names
    raw = np.concatenate([series[s.series].truth[s.start : s.stop] for s in spans])
    raw = raw[np.isfinite(raw).all(1)]
    if not len(raw):
        raise DataError("nothing was measured in the training part", "measured values", "use another split, or fill the gaps")
    lowest = {"none": -np.inf, "sqrt": 0.0, "log1p": np.nextafter(-1.0, 0.0)}[transform]
    for v, name in enumerate(names):
        smallest = min(float(s.values[:, v].min()) for s in series)
        if smallest < lowest:
            raise DataError(
                f"'{name}' has the value {smallest:g}", f"values in the domain of {transform}", "set task.transform=none"
            )
    values = _FORWARD[transform](raw)
    location, scale = _fit_scale(values, scaling)
    _check_constant(scale if scaling != "none" else values.std(0), values, names)
    extra = np.concatenate([series[s.series].covariates[s.start : s.stop] for s in spans])
    covariate_location, covariate_scale = extra.mean(0), extra.std(0)
    covariate_scale = np.where(covariate_scale > 0, covariate_scale, 1.0)
    scales = []
    for order in range(1, differences + 1):
        pieces = [
            np.diff((_FORWARD[transform](series[s.series].values[s.start : s.stop]) - location) / scale, n=order, axis=0)
            for s in spans
        ]
        scales.append(np.concatenate(pieces).std(0))
        if not pieces or not sum(map(len, pieces)):
            raise DataError(
                "the training part holds no differences", f"more than {order} contiguous steps", "set task.differences=0"
            )
        level = (values - location) / scale
        _check_constant(scales[-1], level, tuple(f"difference {order} of {n}" for n in names), 1e-13)
    return Representation(
        transform, differences, horizon, ahead, location, scale, covariate_location, covariate_scale, tuple(scales), gaussian
    )


def _fit_scale(values: np.ndarray, scaling: Scaling) -> tuple[np.ndarray, np.ndarray]:
    if scaling == "none":
        return np.zeros(values.shape[1]), np.ones(values.shape[1])
    if scaling == "minmax":
        return values.min(0), np.ptp(values, axis=0)
    return values.mean(0), values.std(0)


def _check_constant(scale: np.ndarray, values: np.ndarray, names: tuple[str, ...], tolerance: float = 1e-12) -> None:
    """Refuse a variable whose scale is nothing but rounding beside its values."""
    for v, name in enumerate(names):
        if not scale[v] > tolerance * max(float(np.abs(values[:, v]).max()), 1e-300):
            raise DataError(
                f"'{name}' is constant ({values[0, v]:g}) over the training part",
                "a series that varies",
                "choose another column, or a split whose training part varies",
            )
