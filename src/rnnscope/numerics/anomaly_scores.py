"""Scores that are large where a series is unlike the rest of itself, or unlike a training part."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from rnnscope.numerics import matrix_profile_kernels as kernels
from rnnscope.numerics.metrics import find_season
from rnnscope.numerics.regression import LinearAutoregression, fit_autoregression

SHORTEST = 3


@dataclass(frozen=True)
class MatrixProfile:
    """The distance of every window to the window most like it.

    Attributes:
        distances: (N,) z-normalised Euclidean distances, N = T - m + 1; infinite where there is nothing to compare with.
        neighbours: (N,) first step of that most similar window; -1 where there is none.
        window: m.
    """

    distances: Float[np.ndarray, " N"]
    neighbours: Int[np.ndarray, " N"]
    window: int


def matrix_profile(
    values: Float[np.ndarray, " T"],
    window: int,
    *,
    reference: Float[np.ndarray, " R"] | None = None,
    exclusion: int | None = None,
    past_only: bool = False,
) -> MatrixProfile:
    """min_j ‖ẑ_i - ẑ_j‖ over windows j that do not overlap i too much, ẑ a window scaled to mean 0 and sd 1.

    With ρ the correlation of two windows the distance is sqrt(2 m (1 - ρ)). Two constant windows are at distance 0, a constant
    and another one at sqrt(m).

    Args:
        values: (T,), finite. window: m, 3 … T/2 (or to T with a reference).
        reference: compare with the windows of this series instead, all of them.
        exclusion: windows that start at most so many steps apart are not compared; ceil(m / 4) when None.
        past_only: compare with earlier windows alone, as one must who watches a series come in.

    Raises:
        ValueError: too short for the window, or not finite.

    Source: Yeh et al. (2016); the order of evaluation of Zimmerman et al. (2019).

    Example:
        >>> import numpy as np
        >>> x = np.tile([0.0, 1.0, 4.0, 2.0, 3.0], 20)
        >>> x[52] += 3.0
        >>> int(matrix_profile(x, 5).distances.argmax()) in range(48, 53)
        True
    """
    check_window(values, window, 1 if reference is not None else 2)
    mean, inverse, flat = _moments(values, window)
    if reference is not None:
        check_window(reference, window, 1)
        best, where = kernels.cross_join(values, reference, window, mean, inverse, flat, *_moments(reference, window))
    else:
        apart = -(-window // 4) if exclusion is None else exclusion
        best, where = kernels.self_join(values, window, apart, mean, inverse, flat, past_only)
    distances = np.where(where < 0, np.inf, np.sqrt(2 * window * np.maximum(1 - best, 0.0)))
    return MatrixProfile(distances, where, window)


def _moments(values: np.ndarray, window: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of every window: mean, 1 / norm of the deviations from it, and whether it is constant."""
    windows = np.lib.stride_tricks.sliding_window_view(values, window)
    mean = windows.mean(1)
    norm = windows.std(1) * np.sqrt(window)
    flat = np.ptp(windows, axis=1) <= 1e-13 * np.maximum(np.abs(windows).max(1), 1e-300)
    return mean, np.where(flat, 0.0, 1 / np.where(flat, 1.0, norm)), flat


def spread_over_steps(scores: Float[np.ndarray, " N"], window: int, steps: int) -> Float[np.ndarray, " T"]:
    """Scores of windows as scores of steps: the mean over the windows that hold a step.

    Example:
        >>> import numpy as np
        >>> spread_over_steps(np.array([0.0, 3.0, 0.0]), 2, 4).tolist()
        [0.0, 1.5, 1.5, 0.0]
    """
    total = np.concatenate([[0.0], np.cumsum(scores)])
    last = np.arange(steps)
    low, high = np.maximum(last - window + 1, 0), np.minimum(last + 1, len(scores))
    return (total[high] - total[low]) / np.maximum(high - low, 1)


@dataclass(frozen=True)
class SubspaceModel:
    """Principal axes of the windows of a training part.

    Attributes:
        mean: (m,). axes: (k, m), orthonormal.
    """

    mean: Float[np.ndarray, " m"]
    axes: Float[np.ndarray, "k m"]

    @property
    def window(self) -> int:
        """m."""
        return len(self.mean)

    def errors(self, values: Float[np.ndarray, " T"]) -> Float[np.ndarray, " N"]:
        """Of every window, the mean squared distance to the subspace."""
        check_window(values, self.window, 1)
        windows = np.lib.stride_tricks.sliding_window_view(values, self.window) - self.mean
        inside = windows @ self.axes.T
        return np.maximum((windows**2).sum(1) - (inside**2).sum(1), 0.0) / self.window


def fit_subspace(values: Float[np.ndarray, " T"], window: int, share: float = 0.9) -> SubspaceModel:
    """Sub-PCA: the fewest principal components of the windows that hold this share of their variance.

    Args:
        values: (T,), the training part. window: m. share: in (0, 1).

    Source: Aggarwal (2017), *Outlier Analysis*, ch. 3; one of the strongest simple methods of Liu & Paparrizos (2024).

    Example:
        >>> import numpy as np
        >>> x = np.sin(np.arange(200) / 5)
        >>> fit_subspace(x, 20, 0.999).axes.shape  # a sine and a cosine
        (2, 20)
    """
    check_window(values, window, 2)
    windows = np.lib.stride_tricks.sliding_window_view(values, window)
    mean = windows.mean(0)
    covariance = np.cov(windows, rowvar=False)
    variances, axes = np.linalg.eigh(covariance)
    variances, axes = variances[::-1], axes[:, ::-1]
    held = np.cumsum(variances) / max(float(variances.sum()), 1e-300)
    kept = int(np.searchsorted(held, share)) + 1
    return SubspaceModel(mean, np.ascontiguousarray(axes[:, : min(kept, window - 1)].T))


def fit_linear(values: Float[np.ndarray, "T D"], orders: tuple[int, ...]) -> LinearAutoregression:
    """The linear autoregression of the order with the smallest AIC; see `regression.fit_autoregression`."""
    return fit_autoregression([(values, np.empty((len(values), 0)))], list(orders))


def linear_residuals(fit: LinearAutoregression, values: Float[np.ndarray, "T D"]) -> Float[np.ndarray, "T D"]:
    """x_t less its forecast from the p values before it; NaN at the first p steps."""
    order, steps = fit.order, len(values)
    found = np.full_like(values, np.nan)
    if steps > order:
        history = np.lib.stride_tricks.sliding_window_view(values, order, axis=0)[: steps - order].transpose(0, 2, 1)
        found[order:] = values[order:] - fit.predict(history, np.empty((steps - order, order + 1, 0)))
    return found


def typical_period(values: Float[np.ndarray, " T"], otherwise: int = 50) -> int:
    """The period in steps by the autocorrelation, which windows take as their length; `otherwise` where there is none.

    At most a quarter of the series, and at least 3.
    """
    found = find_season(values) if len(values) >= 8 and np.ptp(values) > 0 else None
    return max(SHORTEST, min(found or otherwise, len(values) // 4))


def check_window(values: np.ndarray, window: int, times: int) -> None:
    """Refuse a series that holds no `times` windows, or is not finite."""
    if window < SHORTEST or len(values) < times * window:
        raise ValueError(
            f"{len(values)} steps and windows of {window}: at least {times} of at least {SHORTEST} steps are needed"
        )
    if not np.isfinite(values).all():
        raise ValueError("the series is NaN or infinite at some steps")
