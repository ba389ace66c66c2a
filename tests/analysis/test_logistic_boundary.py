"""What is said of a logistic regression: known boundaries, intervals, separation."""

import numpy as np
import pytest
import torch

import rnnscope as rs
from rnnscope.analysis.logistic_boundary import LogisticBoundary, calibration, compare, fastest_tenth, raw_coefficients
from rnnscope.core.interfaces import History, Trained, TrainingOutcome
from rnnscope.core.random import Streams
from rnnscope.models.logistic import Logistic
from rnnscope.tasks.complexity import Complexity


def given(weight, bias, task):
    """A model with chosen coefficients for raw features, as trained on a task."""
    data = task.prepare(Streams(0))
    model = Logistic().build(data.signature, torch.Generator().manual_seed(0))
    mean, sd = (np.zeros(2), np.ones(2)) if data.mean is None else (data.mean, data.sd)
    with torch.no_grad():
        model.weight.copy_(torch.tensor(np.array(weight) * sd)[None])
        model.bias.copy_(torch.tensor([bias + np.array(weight) @ mean]))
    history = History({"epoch": np.arange(1.0)}, TrainingOutcome("completed", 1, 0.5, "validation loss", 0.0))
    return Trained("logistic", 0, model, history), data


def found(weight, bias, task):
    trained, data = given(weight, bias, task)
    return LogisticBoundary().run(trained, data, Streams(0))


@pytest.mark.parametrize("scaling", ["none", "standard"])
def test_coefficients_are_given_for_the_features_original_scale(scaling):
    trained, data = given([0.7, -0.2], -3.0, Complexity(scaling=scaling))
    np.testing.assert_allclose(raw_coefficients(trained.model, data), [-3.0, 0.7, -0.2], rtol=1e-5)


def test_the_true_boundary_differs_nowhere_from_itself():
    trained, data = given([2.0, 2.0], -20.0, Complexity())
    one = compare(raw_coefficients(trained.model, data), data, np.array([[0.0, 0.0], [10.0, 5.0]]))
    assert one.angle == pytest.approx(0, abs=1e-5)
    assert one.offset == pytest.approx(0, abs=1e-6)
    assert one.disagreement < 1e-5


def test_a_turned_and_moved_boundary_has_the_angle_offset_and_area_of_geometry():
    trained, data = given([1.0, 0.0], -8.0, Complexity())
    box = np.array([[0.0, 0.0], [10.0, 5.0]])
    one = compare(raw_coefficients(trained.model, data), data, box)
    assert one.angle == pytest.approx(45)
    # along the diagonal from the middle (5, 2.5): the fitted line at 3·√2, the true one at 2.5/√2
    assert one.offset == pytest.approx(3 * np.sqrt(2) - 2.5 / np.sqrt(2))
    # between x = 8 and x = 10 - y: triangles of height 2 below y = 2 and of height 3 above
    assert one.disagreement == pytest.approx((2.0 + 4.5) / 50, abs=2e-3)


def test_separated_classes_get_a_warning_and_no_intervals():
    findings = found([1.0, 1.0], -10.0, Complexity())
    assert findings.metrics["separable"]
    assert "does not exist" in findings.statements[0]
    assert "low" not in findings.tables[0].rows[0].values
    assert "No intervals" in findings.tables[0].note


def test_a_smooth_threshold_has_intervals_that_hold_the_truth_and_its_width():
    findings = found([1.0, 1.0], -10.0, Complexity(smooth=1.0, num_samples=20_000, scaling="standard"))
    assert not findings.metrics["separable"]
    for row in findings.tables[0].rows:
        assert row.values["low"] < row.values["true"] < row.values["high"]
    assert any("made by the metric" in text for text in findings.statements)


def test_training_that_stopped_early_is_said():
    assert "stopped at" in found([0.0, 0.0], 0.0, Complexity(smooth=1.0)).statements[0]


def test_calibration_of_right_probabilities_lies_on_the_diagonal():
    rng = np.random.default_rng(0)
    p = rng.random(20_000)
    rows = calibration(p, rng.random(20_000) < p, 8)
    np.testing.assert_allclose(rows[:, 0], rows[:, 1], atol=0.03)
    assert ((rows[:, 2] < rows[:, 1]) & (rows[:, 1] < rows[:, 3])).all()


def test_the_fastest_tenth_of_steady_growth_brings_a_tenth_and_of_a_jump_all():
    steady = np.log(np.arange(1, 1001)) / np.log(1000)
    assert fastest_tenth(steady) == pytest.approx(0.1)
    assert fastest_tenth((steady > 0.5).astype(float)) == 1


def test_it_applies_to_logistic_regressions_of_two_classes_only():
    trained, data = given([1.0, 1.0], -10.0, Complexity())
    assert LogisticBoundary().obstacle(trained.model, data) == ""
    gru = rs.GRU(hidden_size=3).build(data.signature, torch.Generator().manual_seed(0))
    assert "no logistic regression" in LogisticBoundary().obstacle(gru, data)


def test_figures_are_drawn_and_the_model_is_left_as_it_was():
    trained, data = given([1.0, 1.0], -10.0, Complexity())
    before = trained.model.weight.detach().clone()
    findings = LogisticBoundary().run(trained, data, Streams(0))
    names = [f.name for f in LogisticBoundary().figures(findings)]
    assert names == ["boundary", "calibration", "sharp_metric"]
    assert torch.equal(before, trained.model.weight)


def test_a_level_out_of_range_is_named():
    with pytest.raises(rs.ConfigError, match="level"):
        LogisticBoundary(level=1.0)
