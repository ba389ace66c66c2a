"""The complexity task: its labels, its parts, what it refuses."""

import numpy as np
import pytest
from scipy.special import expit

import rnnscope as rs
from rnnscope.core.labelled import LabelledData, LabelledSet
from rnnscope.core.random import Streams
from rnnscope.tasks.complexity import Complexity


def prepared(seed=0, **fields) -> LabelledData:
    return Complexity(**fields).prepare(Streams(seed))


def raw(part: LabelledSet, data: LabelledData) -> np.ndarray:
    rows = part.inputs[:, 0].numpy().astype(float)
    return rows if data.mean is None else rows * data.sd + data.mean


@pytest.mark.parametrize("scaling", ["none", "standard"])
def test_a_label_is_whether_the_sum_is_above_the_threshold(scaling):
    data = prepared(scaling=scaling)
    for part in data.parts().values():
        rows = raw(part, data)
        clear = np.abs(rows.sum(1) - 10) > 1e-4
        np.testing.assert_array_equal((rows.sum(1) > 10)[clear], part.labels.numpy().astype(bool)[clear])
        assert rows.min() >= -1e-5
        assert rows[:, 0].max() <= 10 + 1e-5
        assert rows[:, 1].max() <= 5 + 1e-5


def test_parts_have_the_sizes_asked_for_and_both_classes_in_the_same_share():
    data = prepared()
    assert {name: len(part) for name, part in data.parts().items()} == {"train": 680, "validation": 120, "test": 200}
    shares = [float(part.labels.float().mean()) for part in data.parts().values()]
    assert np.ptp(shares) < 0.01
    assert shares[0] == pytest.approx(0.25, abs=0.05)


def test_scaling_is_fitted_on_the_training_part_alone():
    data = prepared(scaling="standard")
    train = data.train.inputs[:, 0].numpy()
    np.testing.assert_allclose(train.mean(0), 0, atol=1e-5)
    np.testing.assert_allclose(train.std(0), 1, atol=1e-5)
    assert abs(data.tests["test"].inputs.mean()) > 1e-4


def test_across_a_smooth_threshold_emergence_is_as_frequent_as_its_probability():
    data = prepared(num_samples=20_000, smooth=1.5)
    total = raw(data.train, data).sum(1)
    labels = data.train.labels.numpy()
    for low in (6, 8, 10, 12):
        here = (total > low) & (total < low + 1)
        assert labels[here].mean() == pytest.approx(expit((total[here] - 10) / 1.5).mean(), abs=0.05)


def test_the_rule_is_the_label_where_the_threshold_is_sharp_and_not_where_it_is_smooth():
    sharp, smooth = prepared(), prepared(smooth=2.0)
    assert (sharp.train.rules[sharp.exact] == sharp.train.labels.numpy()).all()
    assert (smooth.train.rules[smooth.exact] != smooth.train.labels.numpy()).any()
    assert sharp.boundary == (1.0, 1.0, 10.0)
    assert smooth.boundary_width == 2.0


def test_the_same_seed_gives_the_same_samples():
    assert prepared(3).fingerprint() == prepared(3).fingerprint() != prepared(4).fingerprint()


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"data_range": (5, 5)}, "data_range"),
        ({"architecture_range": (5, 1)}, "architecture_range"),
        ({"threshold": 15.0}, "threshold"),
        ({"threshold": -1.0}, "threshold"),
        ({"smooth": -0.1}, "smooth"),
        ({"num_samples": 10}, "num_samples"),
        ({"test_share": 1.0}, "test_share"),
        ({"scaling": "robust"}, "scaling"),
    ],
)
def test_a_field_out_of_range_is_named(fields, named):
    with pytest.raises(rs.ConfigError, match=named):
        Complexity(**fields)


def test_too_few_samples_of_a_class_are_refused_with_the_remedy():
    with pytest.raises(rs.DataError, match=r"task\.num_samples"):
        prepared(num_samples=20, threshold=14.9)
