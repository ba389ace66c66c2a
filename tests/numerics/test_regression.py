"""Ridge regression and linear autoregression."""

import numpy as np
import pytest

from rnnscope.numerics.regression import LinearAutoregression, fit_autoregression, lagged, ridge


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def alone(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A piece without covariates."""
    return values.reshape(len(values), -1), np.empty((len(values), 0))


def simulated(coefficients: list[float], steps: int, seed: int = 0, intercept: float = 0.0) -> np.ndarray:
    noise = rng(seed).standard_normal(steps + 200)
    path = np.zeros(steps + 200)
    for t in range(len(coefficients), len(path)):
        path[t] = intercept + noise[t] + sum(a * path[t - 1 - k] for k, a in enumerate(coefficients))
    return path[200:]


# ridge


@pytest.mark.parametrize("strength", [1e-3, 0.1, 10.0])
def test_ridge_is_least_squares_with_a_row_of_zeros_for_every_weight(strength: float) -> None:
    """|y - W f - b|² + λ N |W|² is the plain square of the data with sqrt(λ N) I below."""
    features, targets = rng().standard_normal((50, 4)) + 3, rng(1).standard_normal((50, 2)) - 5
    below = np.concatenate([np.sqrt(strength * 50) * np.eye(4), np.zeros((4, 1))], 1)
    design = np.concatenate([np.concatenate([features, np.ones((50, 1))], 1), below])
    wanted = np.linalg.lstsq(design, np.concatenate([targets, np.zeros((4, 2))]), rcond=None)[0]
    weights, intercept = ridge(features, targets, strength)
    np.testing.assert_allclose(weights, wanted[:-1].T, atol=1e-10)
    np.testing.assert_allclose(intercept, wanted[-1], atol=1e-9)


def test_no_strength_is_least_squares_and_of_least_norm() -> None:
    features, weights = rng().standard_normal((30, 3)), np.array([[1.0, -2.0, 0.5]])
    found, intercept = ridge(features, features @ weights.T + 4, 0.0)
    np.testing.assert_allclose(found, weights, atol=1e-12)
    np.testing.assert_allclose(intercept, [4.0])
    doubled, _ = ridge(np.concatenate([features, features], 1), features @ weights.T + 4, 0.0)
    np.testing.assert_allclose(doubled, np.concatenate([weights, weights], 1) / 2, atol=1e-12)


def test_strength_means_the_same_for_more_of_the_same_data() -> None:
    features, targets = rng().standard_normal((20, 3)), rng(1).standard_normal((20, 1))
    once, thrice = ridge(features, targets, 0.3), ridge(np.tile(features, (3, 1)), np.tile(targets, (3, 1)), 0.3)
    np.testing.assert_allclose(once[0], thrice[0])
    np.testing.assert_allclose(once[1], thrice[1])


def test_shifts_of_the_data_shift_the_intercept_alone() -> None:
    features, targets = rng().standard_normal((20, 3)), rng(1).standard_normal((20, 2))
    weights, intercept = ridge(features, targets, 0.3)
    moved, other = ridge(features + 7, targets + 2, 0.3)
    np.testing.assert_allclose(moved, weights, atol=1e-10)
    np.testing.assert_allclose(other, intercept + 2 - 7 * weights.sum(1), atol=1e-9)


def test_an_endless_strength_leaves_the_mean() -> None:
    features, targets = rng().standard_normal((20, 3)), rng(1).standard_normal((20, 2))
    weights, intercept = ridge(features, targets, 1e12)
    np.testing.assert_allclose(weights, 0, atol=1e-10)
    np.testing.assert_allclose(intercept, targets.mean(0), atol=1e-10)


# autoregression


def test_lagged_rows_are_the_past_newest_first_and_covariates_up_to_the_target() -> None:
    values, covariates = rng().standard_normal((12, 2)), rng(1).standard_normal((12, 1))
    design, targets = lagged(values, covariates, 3, 5)
    for row, t in enumerate(range(5, 12)):
        past = np.concatenate([values[t - 1], values[t - 2], values[t - 3]])
        known = np.concatenate([covariates[t], covariates[t - 1], covariates[t - 2], covariates[t - 3]])
        np.testing.assert_array_equal(design[row], np.concatenate([past, known]))
        np.testing.assert_array_equal(targets[row], values[t])
    assert len(design) == len(targets) == 7


def test_the_coefficients_of_a_simulated_ar2_are_recovered() -> None:
    steps, coefficients = 20_000, [1.2, -0.6]
    found = fit_autoregression([alone(simulated(coefficients, steps, intercept=0.5))], [2])
    error = 4 * np.sqrt((1 - 0.6**2) / steps)  # asymptotic variance of both coefficients: (1 - a_2²)/N
    np.testing.assert_allclose(found.weights[0], coefficients, atol=error)
    assert found.intercept[0] == pytest.approx(0.5, abs=0.05)


def test_the_order_of_a_simulated_ar2_is_found() -> None:
    path = simulated([1.2, -0.6], 5000)
    assert fit_autoregression([alone(path)], [1, 2, 3, 5, 8], criterion="bic").order == 2
    assert fit_autoregression([alone(path)], [1, 2, 3, 5, 8]).order >= 2


def test_two_frequencies_are_an_exact_autoregression_of_order_four() -> None:
    times = np.arange(300) * 0.1
    path = np.sin(times) + 0.5 * np.sin(2 * times)
    found = fit_autoregression([alone(path)], [1, 2, 3, 4])
    assert found.order == 4
    future = np.arange(300, 400) * 0.1
    run = found.continue_path(path[None, -4:, None], np.empty((1, 104, 0)), 100)
    np.testing.assert_allclose(run[0, :, 0], np.sin(future) + 0.5 * np.sin(2 * future), atol=1e-5)


def test_pieces_are_not_joined() -> None:
    path = simulated([0.9], 400)
    broken = [alone(path[:200]), alone(path[200:] + 100)]
    design = np.concatenate([lagged(v, c, 2, 2)[0] for v, c in broken])
    targets = np.concatenate([lagged(v, c, 2, 2)[1] for v, c in broken])
    weights, intercept = ridge(design, targets, 0.0)
    found = fit_autoregression(broken, [2])
    np.testing.assert_allclose(found.weights, weights)
    np.testing.assert_allclose(found.intercept, intercept)


def test_orders_too_long_for_the_pieces_are_left_out() -> None:
    assert fit_autoregression([alone(simulated([0.5], 30))], [1, 2, 200]).order in (1, 2)


def test_a_driven_autoregression_is_recovered_with_its_covariates() -> None:
    steps, drive = 400, rng(1).standard_normal((400, 1))
    path = np.zeros((steps, 2))
    matrix, now, before = np.array([[0.5, 0.2], [-0.3, 0.6]]), np.array([1.0, -2.0]), np.array([0.4, 0.7])
    for t in range(1, steps):
        path[t] = matrix @ path[t - 1] + now * drive[t] + before * drive[t - 1] + 0.3
    found = fit_autoregression([(path, drive)], [1])
    np.testing.assert_allclose(found.weights, np.concatenate([matrix, now[:, None], before[:, None]], 1), atol=1e-9)
    np.testing.assert_allclose(found.intercept, [0.3, 0.3], atol=1e-9)
    np.testing.assert_allclose(found.predict(path[None, 9:10], drive[None, 9:11]), path[None, 10], atol=1e-8)
    run = found.continue_path(path[None, :1], drive[None], steps - 1)
    np.testing.assert_allclose(run[0], path[1:], atol=1e-7)


@pytest.mark.parametrize("covariates", [0, 2])
def test_continuing_a_path_is_the_recursion_by_hand(covariates: int) -> None:
    order, variables, batch, steps = 3, 2, 4, 6
    weights = 0.2 * rng().standard_normal((variables, variables * order + covariates * (order + 1)))
    model = LinearAutoregression(order, weights, rng(1).standard_normal(variables), 0.0)
    history = rng(2).standard_normal((batch, order, variables))
    known = rng(3).standard_normal((batch, order + steps, covariates))
    found = model.continue_path(history, known, steps)
    assert found.shape == (batch, steps, variables)
    for row in range(batch):
        path = list(history[row])
        for k in range(steps):
            past = [path[-1], path[-2], path[-3]]
            extra = [known[row, order + k - lag] for lag in range(order + 1)]
            path.append(weights @ np.concatenate(past + extra) + model.intercept)
            np.testing.assert_allclose(found[row, k], path[-1])
