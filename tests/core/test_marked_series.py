import numpy as np
import pytest

import rnnscope as rs
from rnnscope.core.marked_series import MarkedData, marked_series

WAVE = np.sin(np.arange(200) / 5)


def test_detectors_learn_before_the_thresholds_and_judge_after_the_training_part():
    s = marked_series(WAVE, train_until=100, calibration=0.25)
    assert (s.fitting, s.calibration, s.judged) == (slice(0, 75), slice(75, 100), slice(100, 200))
    whole = marked_series(WAVE)
    assert whole.fitting == whole.calibration == whole.judged == slice(0, 200)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"marks": np.zeros(199)}, r"labels of shape \(199,\) beside 200 steps"),
        ({"marks": np.zeros((200, 1))}, "one label per step"),
        ({"marks": np.where(np.arange(200) == 7, 2, 0)}, "the label 2 at row 8"),
        ({"marks": np.where(np.arange(200) == 7, np.nan, 0)}, "the label nan at row 8"),
        ({"marks": np.arange(200) == 50, "train_until": 100}, "row 51 is labelled anomalous"),
        ({"values": np.where(np.arange(200) == 3, np.nan, WAVE)}, "column 'x' is nan at row 4"),
        ({"values": np.full(200, 2.0)}, "column 'x' is constant"),
        ({"values": np.concatenate([np.zeros(100), WAVE[:100]]), "train_until": 100}, "constant .* over the training part"),
        ({"values": WAVE[:7]}, "a series of 7 steps"),
        ({"values": np.zeros((5, 2, 2))}, "values of shape"),
        ({"train_until": 200}, "train_until is 200"),
        ({"train_until": 10}, "a training part of 10 steps"),
    ],
)
def test_series_that_cannot_be_used_are_refused_with_a_remedy(changes, message):
    with pytest.raises((rs.DataError, rs.ShapeError, rs.ConfigError), match=message) as caught:
        marked_series(**{"values": WAVE, **changes})
    assert caught.value.remedy


def test_a_forecaster_sees_the_training_part_alone():
    data = MarkedData(marked_series(WAVE, train_until=100), window=10)
    forecast = data.forecast
    assert [(s.start, s.stop) for s in forecast.parts.train] == [(0, 70)]
    assert [(s.start, s.stop) for s in forecast.parts.validation] == [(70, 100)]
    assert forecast.representation.location[0] == pytest.approx(WAVE[:70].mean())
    with pytest.raises(rs.DataError, match="window"):
        MarkedData(marked_series(WAVE, train_until=100), window=90).train


def test_the_fingerprint_tells_values_and_marks_apart():
    one = MarkedData(marked_series(WAVE, np.arange(200) == 9))
    assert one.fingerprint() == MarkedData(marked_series(WAVE.copy(), np.arange(200) == 9)).fingerprint()
    assert one.fingerprint() != MarkedData(marked_series(WAVE, np.arange(200) == 8)).fingerprint()
