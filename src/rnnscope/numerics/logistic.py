"""Logistic regression of two classes: loss, exact optimum by Newton's method, intervals, and whether an optimum exists at all."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float
from scipy.optimize import linprog
from scipy.special import expit

TOLERANCE = 1e-10  # of the gradient of the mean loss
MOST_STEPS = 200


@dataclass(frozen=True)
class LogisticFit:
    """log odds = w·x + b.

    Attributes:
        coefficients: (b, w_1 … w_X). covariance: inverse Hessian of the summed loss there (Wald). loss: mean, in nats, without the penalty.
        steps: of Newton's method. converged: whether the gradient vanished.
    """

    coefficients: Float[np.ndarray, " P"]
    covariance: Float[np.ndarray, "P P"]
    loss: float
    steps: int
    converged: bool


def with_constant(rows: Float[np.ndarray, "N X"]) -> Float[np.ndarray, "N P"]:
    """A column of ones before the features."""
    return np.concatenate([np.ones((len(rows), 1)), rows], 1)


def log_loss(design: Float[np.ndarray, "N P"], labels: Bool[np.ndarray, " N"], coefficients: Float[np.ndarray, " P"]) -> float:
    """Mean cross-entropy in nats, without overflow.

    Example:
        >>> import numpy as np
        >>> round(log_loss(np.ones((2, 1)), np.array([True, False]), np.zeros(1)), 4)
        0.6931
    """
    odds = design @ coefficients
    return float(np.logaddexp(0.0, np.where(labels, -odds, odds)).mean())


def information(design: Float[np.ndarray, "N P"], coefficients: Float[np.ndarray, " P"]) -> Float[np.ndarray, "P P"]:
    """Hessian of the summed loss: Σ p(1 - p) x xᵀ."""
    p = expit(design @ coefficients)
    return (design * (p * (1 - p))[:, None]).T @ design


def fit_logistic(rows: Float[np.ndarray, "N X"], labels: Bool[np.ndarray, " N"], penalty: float = 0.0) -> LogisticFit:
    """The maximum-likelihood coefficients, by Newton's method with halved steps (McCullagh & Nelder 1989, section 4.4).

    Args:
        rows: features. labels: of both classes. penalty: L2 strength on w of the mean loss, >= 0; 0 has no optimum where the
            classes are separable (see `separable`), and `converged` is then False.

    Example:
        >>> import numpy as np
        >>> found = fit_logistic(np.array([[0.0], [0.0], [0.0], [1.0], [1.0], [1.0]]), np.array([0, 0, 1, 0, 1, 1], bool))
        >>> found.coefficients.round(4).tolist()  # log odds of 1/3, and their change to 2/3
        [-0.6931, 1.3863]
    """
    design, count = with_constant(rows), len(rows)
    weight = np.full(design.shape[1], penalty)
    weight[0] = 0.0

    def objective(c: np.ndarray) -> float:
        return log_loss(design, labels, c) + 0.5 * float(weight @ c**2)

    c = np.zeros(design.shape[1])
    best, converged, steps = objective(c), False, 0
    while steps < MOST_STEPS and not converged:
        slope = design.T @ (expit(design @ c) - labels) / count + weight * c
        if np.abs(slope).max() < TOLERANCE * max(1.0, np.abs(design).max()):
            converged = True
            continue
        curved = information(design, c) / count + np.diag(weight)
        change = np.linalg.lstsq(curved, slope, rcond=None)[0]
        size = 1.0
        while size > 1e-8 and objective(c - size * change) > best:
            size /= 2
        c, steps = c - size * change, steps + 1
        best = objective(c)
    covariance = np.linalg.pinv(information(design, c) + count * np.diag(weight))
    return LogisticFit(c, covariance, log_loss(design, labels, c), steps, converged and best > 1e-8)


def separable(rows: Float[np.ndarray, "N X"], labels: Bool[np.ndarray, " N"]) -> bool:
    """Whether a plane has no point of either class on its wrong side, so that no maximum-likelihood estimate exists.

    A linear programme finds a direction that moves some log odds the right way and none the wrong way (Albert & Anderson 1984;
    Konis 2007): maximise Σ_i s_i z_i·c over -1 <= c <= 1 with s_i z_i·c >= 0, z = (1, x) and s = ±1 by class.

    Example:
        >>> import numpy as np
        >>> points = np.array([[0.0], [1.0], [2.0]])
        >>> separable(points, np.array([False, False, True])), separable(points, np.array([False, True, False]))
        (True, False)
    """
    scale = np.abs(rows).max(0)
    design = with_constant(rows / np.where(scale > 0, scale, 1.0))
    signed = np.where(labels[:, None], design, -design)
    found = linprog(-signed.sum(0), A_ub=-signed, b_ub=np.zeros(len(signed)), bounds=(-1, 1), method="highs")
    return bool(found.status == 0 and found.fun is not None and -found.fun > 1e-7 * len(signed))
