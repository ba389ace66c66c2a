"""Scores of decisions and probabilities against scikit-learn, brute force and closed forms."""

import itertools
import math

import numpy as np
import pytest
from sklearn import metrics

from rnnscope.numerics.classification_metrics import (
    class_areas,
    class_report,
    confusion_matrix,
    decision_scores,
    independence_p,
    paired_p,
    probability_scores,
    reliability,
    wilson_interval,
)


def drawn(classes: int, count: int = 300, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Labels and class probabilities that know something of them."""
    rng = np.random.default_rng(seed)
    labels = rng.choice(classes, count, p=rng.dirichlet(np.ones(classes) * 4))
    logits = rng.standard_normal((count, classes))
    logits[np.arange(count), labels] += 1.0
    weights = np.exp(logits)
    return labels, weights / weights.sum(1, keepdims=True)


@pytest.mark.parametrize("classes", [2, 3, 10])
def test_scores_are_those_of_scikit_learn(classes):
    labels, probabilities = drawn(classes)
    decided = probabilities.argmax(1)
    confusion = confusion_matrix(labels, decided, classes)
    np.testing.assert_array_equal(confusion, metrics.confusion_matrix(labels, decided, labels=range(classes)))
    found = decision_scores(confusion)
    assert found["accuracy"] == pytest.approx(metrics.accuracy_score(labels, decided))
    assert found["balanced_accuracy"] == pytest.approx(metrics.balanced_accuracy_score(labels, decided))
    assert found["mcc"] == pytest.approx(metrics.matthews_corrcoef(labels, decided))
    assert found["macro_f1"] == pytest.approx(metrics.f1_score(labels, decided, average="macro"))
    assert found["macro_precision"] == pytest.approx(metrics.precision_score(labels, decided, average="macro"))
    report = class_report(confusion)
    theirs = metrics.precision_recall_fscore_support(labels, decided, labels=range(classes))
    for ours, other in zip((report.precision, report.recall, report.f1, report.support), theirs, strict=True):
        np.testing.assert_allclose(ours, other)
    found = probability_scores(labels, probabilities)
    assert found["cross_entropy"] == pytest.approx(metrics.log_loss(labels, probabilities))
    score = probabilities[:, 1] if classes == 2 else probabilities
    assert found["auc"] == pytest.approx(metrics.roc_auc_score(labels, score, multi_class="ovr"))


def test_classes_that_do_not_occur_count_in_no_mean():
    labels, decided = np.array([0, 0, 2, 2]), np.array([0, 1, 2, 2])
    found = decision_scores(confusion_matrix(labels, decided, 4))
    assert found["balanced_accuracy"] == 0.75
    assert found["macro_f1"] == pytest.approx((2 / 3 + 1) / 2)
    areas = class_areas(labels, np.eye(4)[decided])
    assert np.isnan(areas[[1, 3]]).all()
    assert areas[2] == 1


def test_one_class_alone_has_no_area_and_no_correlation():
    labels = np.zeros(5, int)
    assert "auc" not in probability_scores(labels, np.full((5, 2), 0.5))
    assert decision_scores(confusion_matrix(labels, labels, 2))["mcc"] == 0
    assert independence_p(confusion_matrix(labels, labels, 2), 99, np.random.default_rng(0)) == 1


def test_wilsons_interval_holds_what_its_formula_says():
    z, n, k = 1.959963985, 50, 45
    middle = (k / n + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(k / n * (1 - k / n) / n + z * z / (4 * n * n))
    assert wilson_interval(k, n) == pytest.approx((middle - half, middle + half))


def test_the_p_value_of_independence_is_that_of_all_orders_of_the_labels():
    labels, decided = np.array([0, 0, 0, 1, 1, 2, 2]), np.array([0, 0, 1, 1, 1, 2, 0])

    def balanced(order: tuple[int, ...]) -> float:
        return sum((decided[np.array(order) == k] == k).mean() for k in range(3))

    seen = balanced(tuple(labels))
    exact = np.mean([balanced(order) >= seen - 1e-12 for order in itertools.permutations(labels.tolist())])
    found = independence_p(confusion_matrix(labels, decided, 3), 20_000, np.random.default_rng(0))
    assert found == pytest.approx(exact, abs=4 * math.sqrt(exact / 20_000))


def test_p_values_of_independent_decisions_are_spread_evenly():
    rng = np.random.default_rng(0)
    tables = [confusion_matrix(rng.integers(0, 4, 80), rng.integers(0, 4, 80), 4) for _ in range(300)]
    values = np.array([independence_p(table, 199, rng) for table in tables])
    assert abs((values <= 0.1).mean() - 0.1) < 0.06
    assert abs(values.mean() - 0.5) < 0.06


def test_a_paired_difference_has_the_p_value_of_all_signs():
    labels = np.array([0] * 6 + [1] * 3)
    right = np.array([1, 1, 1, 1, 0, 0, 1, 0, 1])
    other = np.array([0, 0, 1, 0, 0, 1, 0, 0, 1])
    weights = np.where(labels == 0, 1 / 6, 1 / 3) / 2
    steps = (weights * (right - other))[right != other]
    sums = [abs(np.dot(signs, np.abs(steps))) for signs in itertools.product((-1, 1), repeat=len(steps))]
    difference, p = paired_p(labels, right, other)
    assert difference == pytest.approx(steps.sum())
    assert p == pytest.approx(np.mean(np.array(sums) >= abs(steps.sum()) - 1e-9))
    back, same = paired_p(labels, other, right)
    assert back == pytest.approx(-difference)
    assert same == pytest.approx(p)


def test_equal_decisions_do_not_differ():
    labels, right = np.array([0, 1, 1]), np.array([1, 0, 1])
    assert paired_p(labels, right, right) == (0, 1)


def test_calibration_error_of_known_probabilities():
    labels = np.array([0, 0, 0, 1, 1])
    probabilities = np.array([[0.95, 0.05]] * 4 + [[0.25, 0.75]])
    confidence, accuracy, share = reliability(labels, probabilities)
    assert confidence[9] == pytest.approx(0.95)
    assert accuracy[9] == 0.75
    assert share[[7, 9]].tolist() == [0.2, 0.8]
    assert probability_scores(labels, probabilities)["calibration_error"] == pytest.approx(0.8 * 0.2 + 0.2 * 0.25)
