import numpy as np
import pytest
from sklearn.metrics import average_precision_score, f1_score

from rnnscope.numerics.detection_metrics import alarm_scores, precision_gap, ranges_of, ranking_scores, vus_pr, widened


def literal_vus(scores, marks, buffer, cuts=250):
    """Volume under the surface, step by step as published."""
    order = -np.sort(-scores)
    areas = []
    for length in range(buffer + 1):
        weights = marks.astype(float)
        for a, b in ranges_of(marks):
            for i in range(len(marks)):
                distance = a - i if i < a else i - b + 1
                if not a <= i < b and distance <= length // 2:
                    weights[i] += np.sqrt(1 - distance / length)
        weights = np.minimum(weights, 1)
        segments = ranges_of(weights > 0)
        recalls, precisions = [0.0], [1.0]
        for place in np.unique(np.linspace(0, len(scores) - 1, min(cuts, len(scores))).astype(int)):
            alarms = scores >= order[place]
            hits = (weights * alarms).sum()
            met = np.mean([(alarms[a:b] * weights[a:b]).sum() > 0 for a, b in segments])
            recalls.append(min(hits / ((marks.sum() + weights.sum()) / 2), 1) * met)
            precisions.append(hits / alarms.sum())
        areas.append(np.diff(recalls) @ np.array(precisions[1:]))
    return np.mean(areas)


@pytest.mark.parametrize("buffer", [0, 1, 9, 20])
def test_vus_pr_is_that_of_its_definition(buffer):
    rng = np.random.default_rng(buffer)
    marks = np.zeros(300, bool)
    marks[[5, 6, 7, 100]] = True
    marks[200:230] = True
    scores = rng.normal(size=300) + 1.5 * marks
    scores[50:80] = scores[50]  # ties
    assert vus_pr(scores, marks, buffer) == pytest.approx(literal_vus(scores, marks, buffer))


def test_without_a_buffer_one_range_gives_nearly_the_average_precision():
    rng = np.random.default_rng(0)
    marks = np.arange(200) // 20 == 4
    scores = rng.normal(size=200) + 2 * marks
    assert vus_pr(scores, marks, 0, cuts=200) == pytest.approx(average_precision_score(marks, scores))


def test_a_score_beside_the_range_is_worth_something_only_with_a_buffer():
    marks = np.arange(400) // 20 == 10
    beside = np.roll(marks, 15).astype(float)
    assert vus_pr(beside, marks, 40) > vus_pr(beside, marks, 0) + 0.1


def test_weights_fall_with_the_distance_and_end_at_half_the_buffer():
    weights = widened(np.arange(30) == 15, 8)
    np.testing.assert_allclose(weights[15:21], [1, *np.sqrt(1 - np.arange(1, 5) / 8), 0])
    np.testing.assert_allclose(weights[10:16], weights[15:21][::-1])
    assert widened(np.ones(5, bool), 4).max() == 1


def test_step_scores_are_those_of_scikit_learn():
    rng = np.random.default_rng(1)
    marks, alarms = rng.random(500) < 0.1, rng.random(500) < 0.2
    assert alarm_scores(alarms, marks)["f1"] == pytest.approx(f1_score(marks, alarms))


def test_range_scores_of_exact_torn_and_missing_alarms():
    marks = np.zeros(100, bool)
    marks[10:20] = marks[50:60] = True
    assert alarm_scores(marks, marks)["range_f1"] == 1.0
    torn = marks.copy()
    torn[15] = False  # one range found in two pieces: 9/10 of it, halved
    assert alarm_scores(torn, marks)["range_recall"] == pytest.approx((0.9 / 2 + 1) / 2)
    nothing = alarm_scores(np.zeros(100, bool), marks)
    assert (nothing["precision"], nothing["recall"], nothing["f1"], nothing["range_f1"], nothing["ranges_found"]) == (
        0,
        0,
        0,
        0,
        0,
    )
    half = np.zeros(100, bool)
    half[12] = True
    assert alarm_scores(half, marks)["ranges_found"] == 0.5


def test_best_f1_is_the_highest_over_all_thresholds():
    rng = np.random.default_rng(2)
    marks = rng.random(80) < 0.3
    scores = rng.normal(size=80) + marks
    best = max(f1_score(marks, scores >= cut) for cut in scores)
    assert ranking_scores(scores, marks, 5)["best_f1"] == pytest.approx(best)


def noisy_scores(seed, quality):
    """Marks of 10 steps a time, and a score that knows them to the degree asked for, its noise shared by neighbouring steps."""
    rng = np.random.default_rng([seed, 11])
    marks = np.zeros(2400, bool)
    for at in np.arange(40, 2400, 120) + rng.integers(0, 60, 20):
        marks[at : at + 10] = True
    noise = np.convolve(rng.normal(size=2400 + 9), np.ones(10) / 10**0.5, "valid")
    return quality * marks + noise, marks


def test_the_interval_of_a_difference_covers_it_and_turns_round_with_the_order():
    truth = np.mean(
        [
            average_precision_score(m, a) - average_precision_score(m, b)
            for s in range(1000, 1100)
            for (a, m), (b, _) in [(noisy_scores(s, 2.0), noisy_scores(s, 1.5))]
        ]
    )
    covered = 0
    for seed in range(40):
        (one, marks), other = noisy_scores(seed, 2.0), noisy_scores(seed, 1.5)[0]
        low, high = precision_gap(one, other, marks, 20)
        covered += low <= truth <= high
    assert precision_gap(other, one, marks, 20) == pytest.approx((-high, -low))
    assert covered >= 34


def test_there_is_no_interval_without_enough_ranges_or_room():
    scores, marks = noisy_scores(0, 1.0)
    few = marks.copy()
    few[400:] = False
    assert precision_gap(scores, -scores, few, 20) is None
    assert precision_gap(scores, -scores, marks, 400) is None
