"""Axes whose labels can be read."""

import pytest

from rnnscope.plotting import linear_scale, log_scale, new_figure, style


def labels(values, scale):
    """What stands below the ticks within an axis of values."""
    with style():
        figure, axes = new_figure()
        axes.plot(values, range(len(values)), "o")
        scale(axes, "x")
        figure.canvas.draw()
        low, high = axes.get_xlim()
        ticks = zip(axes.get_xticks(), axes.get_xticklabels(), strict=True)
        return [label.get_text() for tick, label in ticks if low <= tick <= high]


@pytest.mark.parametrize("values", [[1.0, 1 - 5e-13], [0.9991, 0.9999], [0.2, 0.9], [0.0, 0.0], [1e5, 1e5 + 1]], ids=str)
def test_the_labels_of_a_linear_axis_are_short_and_differ(values):
    found = labels(values, linear_scale)
    assert 3 <= len(found) == len(set(found))
    assert max(map(len, found)) <= 10


@pytest.mark.parametrize("values", [[0.3, 0.3 + 1e-13], [0.3, 0.3001], [0.1, 0.9], [0.5, 20.0]], ids=str)
def test_the_labels_of_a_logarithmic_axis_are_short_and_differ(values):
    found = labels(values, log_scale)
    assert 2 <= len(found) == len(set(found))
    assert max(map(len, found)) <= 10


def test_an_axis_wide_enough_stays_as_it_is():
    with style():
        _, axes = new_figure()
        axes.set_xlim(0.2, 0.9)
        linear_scale(axes, "x")
        assert axes.get_xlim() == (0.2, 0.9)
