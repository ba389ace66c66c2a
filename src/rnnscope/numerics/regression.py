"""Ridge regression and linear autoregression in float64."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float


def ridge(
    features: Float[np.ndarray, "N P"], targets: Float[np.ndarray, "N Y"], strength: float
) -> tuple[np.ndarray, np.ndarray]:
    """W, b that minimise Σ |y - W f - b|² + λ N |W|²; b is not penalised.

    Args:
        features, targets: one row per sample, N of them. strength: λ >= 0, per sample, so that it means the same for short
            and long series; features are centred but not rescaled. 0 gives the least-squares solution of least norm.

    Returns:
        weights (Y, P) and intercept (Y,).
    """
    center, offset = features.mean(0), targets.mean(0)
    design = features - center
    if strength > 0:
        gram = design.T @ design
        gram[np.diag_indices_from(gram)] += strength * len(design)
        solution = np.linalg.solve(gram, design.T @ (targets - offset))
    else:
        solution = np.linalg.lstsq(design, targets - offset, rcond=None)[0]
    weights = np.ascontiguousarray(solution.T)
    return weights, offset - weights @ center


MOST_ROWS, MOST_FITTED = 20_000, 500_000  # rows for choosing an order, and for fitting the chosen one


@dataclass(frozen=True)
class LinearAutoregression:
    """x_{t+1} = b + Σ_{k<p} A_k x_{t-k} + Σ_{k<=p} C_k e_{t+1-k}.

    Attributes:
        order: p. weights: (D, P) over [x_t, …, x_{t-p+1}, e_{t+1}, e_t, …, e_{t+1-p}]. intercept: (D,).
        score: the criterion on the fitting part, by which the order was chosen.
    """

    order: int
    weights: np.ndarray
    intercept: np.ndarray
    score: float

    def predict(self, recent: Float[np.ndarray, "*B p D"], covariates: Float[np.ndarray, "*B q E"]) -> np.ndarray:
        """The next step from the p latest values (oldest first) and p+1 covariates up to the next step."""
        lead = recent.shape[:-2]
        newest_first = recent[..., ::-1, :].reshape(*lead, -1)
        extra = covariates[..., ::-1, :].reshape(*lead, -1)
        return np.concatenate([newest_first, extra], -1) @ self.weights.T + self.intercept

    def continue_path(
        self, history: Float[np.ndarray, "B p D"], covariates: Float[np.ndarray, "B M E"], steps: int
    ) -> np.ndarray:
        """`steps` recursive forecasts, (B, steps, D); covariates hold p past and then the future steps."""
        path = np.concatenate([history, np.empty((len(history), steps, history.shape[2]))], 1)
        p = self.order
        for k in range(steps):
            path[:, p + k] = self.predict(path[:, k : p + k], covariates[:, k : p + k + 1])
        return path[:, p:]


def lagged(
    values: Float[np.ndarray, "T D"],
    covariates: Float[np.ndarray, "T E"],
    order: int,
    skip: int,
    targets: Float[np.ndarray, "T D"] | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Design matrix and targets for steps t >= skip (skip >= order) of one series; steps whose target is NaN are left out."""
    steps = len(values)
    columns = [values[skip - 1 - k : steps - 1 - k] for k in range(order)]
    if covariates.shape[1]:
        columns += [covariates[skip - k : steps - k] for k in range(order + 1)]
    answers = (values if targets is None else targets)[skip:]
    known = np.isfinite(answers).all(1)
    return np.concatenate(columns, 1)[known], answers[known]


def fit_autoregression(
    pieces: Sequence[tuple[np.ndarray, ...]], orders: list[int], strength: float = 0.0, criterion: str = "aic"
) -> LinearAutoregression:
    """The linear autoregression whose order has the smallest criterion on `pieces`.

    Args:
        pieces: (values (T, D), covariates (T, E)) of contiguous training pieces, and where some values were not measured a
            third array, the values with NaN there. orders: candidates >= 1; those too long for
            the pieces are left out. strength: ridge. criterion: "aic" (n ln σ² + 2k, summed over variables) or
            "bic" (n ln σ² + k ln n). All orders are compared on the same targets, evenly thinned to about 20,000.
    """
    lengths = [len(piece[0]) for piece in pieces]
    width = pieces[0][0].shape[1] + pieces[0][1].shape[1]
    usable = [p for p in orders if sum(max(0, n - p) for n in lengths) > 2 * p * width + 2] or [1]
    skip = max(usable)
    best: LinearAutoregression | None = None
    for order in usable:
        fits = [lagged(p[0], p[1], order, skip, *p[2:]) for p in pieces if len(p[0]) > skip + 1]
        every = max(1, sum(len(f[0]) for f in fits) // MOST_ROWS)
        design, targets = np.concatenate([f[0][::every] for f in fits]), np.concatenate([f[1][::every] for f in fits])
        weights, intercept = ridge(design, targets, strength)
        residual = ((targets - design @ weights.T - intercept) ** 2).mean(0)
        floor = np.finfo(float).eps ** 2 * np.maximum(targets.var(0), 1e-300)
        n, k = len(design), design.shape[1] + 1
        penalty = k * (np.log(n) if criterion == "bic" else 2.0)
        score = float(n * np.log(np.maximum(residual, np.maximum(floor, 1e-300))).sum() + penalty * targets.shape[1])
        if best is None or score < best.score:
            best = LinearAutoregression(order, weights, intercept, score)
    assert best is not None
    fits = [lagged(p[0], p[1], best.order, best.order, *p[2:]) for p in pieces if len(p[0]) > best.order + 1]
    every = max(1, sum(len(f[0]) for f in fits) // MOST_FITTED)
    weights, intercept = ridge(
        np.concatenate([f[0][::every] for f in fits]), np.concatenate([f[1][::every] for f in fits]), strength
    )
    return LinearAutoregression(best.order, weights, intercept, best.score)
