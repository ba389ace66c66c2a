"""The interactive view is one safe piece of HTML that holds its points."""

import base64
import json
import re
from html.parser import HTMLParser

import numpy as np
import pytest

from rnnscope.analysis.trajectory_html import MOST_POINTS, trajectory_3d_html
from rnnscope.core.errors import ShapeError


def spiral(count: int = 500) -> tuple[np.ndarray, np.ndarray]:
    t = np.linspace(0, 20, count)
    return np.stack([3 * np.cos(t), np.sin(t), 0.1 * t], 1), np.arange(count) % 3


def setup_of(page: str) -> dict:
    found = re.search(r"var setup=(\{.*?\});\n", page)
    assert found is not None
    return json.loads(found.group(1))


def test_the_points_can_be_read_back_to_a_ten_thousandth_of_the_range() -> None:
    points, symbols = spiral()
    setup = setup_of(trajectory_3d_html(points, symbols, "spiral", breaks=[100]))
    whole = np.frombuffer(base64.b64decode(setup["points"]), "<i2").reshape(-1, 3) / 32767
    low, high = points.min(0), points.max(0)
    np.testing.assert_allclose(whole * (high - low).max() / 2 + (low + high) / 2, points, atol=1e-4)
    assert np.array_equal(np.frombuffer(base64.b64decode(setup["codes"]), np.uint8), symbols)
    assert setup["breaks"] == [100]


def test_foreign_text_stays_text() -> None:
    nasty = "</script><img src=x onerror=alert(1)>\"'&"
    page = trajectory_3d_html(*spiral(), nasty, names=[nasty] * 3, axes=(nasty, "PC2", "PC3"))
    seen: list[str] = []

    class Tags(HTMLParser):
        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            seen.append(tag)

    Tags().feed(page)
    assert seen.count("script") == 1
    assert "img" not in seen
    assert setup_of(page)["axes"][0] == nasty


def test_the_largest_view_is_below_two_hundred_kilobytes_and_asks_for_nothing() -> None:
    points = np.random.default_rng(0).standard_normal((MOST_POINTS, 3))
    page = trajectory_3d_html(points, np.zeros(MOST_POINTS, np.int64), "large")
    assert len(page) < 200_000
    assert "http" not in page
    assert "src=" not in page


def test_one_point_can_be_shown() -> None:
    assert "canvas" in trajectory_3d_html(np.zeros((1, 3)), np.zeros(1, np.int64), "one")


@pytest.mark.usefixtures("unchecked")
def test_points_that_do_not_fit_are_refused() -> None:
    for points in (np.zeros((5, 2)), np.zeros((4, 3)), np.zeros((0, 3))):
        with pytest.raises(ShapeError):
            trajectory_3d_html(points, np.zeros(5, np.int64), "bad")
    with pytest.raises(ShapeError, match="finite"):
        trajectory_3d_html(np.full((5, 3), np.nan), np.zeros(5, np.int64), "bad")
