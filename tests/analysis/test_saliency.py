"""Which frames moved the decision: networks whose decision rests on known frames and pixels."""

import numpy as np
import pytest
import torch
from torch import Tensor

import rnnscope as rs
from analysed import as_trained, check_findings, state_of
from rnnscope.analysis.figures_saliency import MOST_FRAMES
from rnnscope.analysis.saliency import frame_shares
from rnnscope.core.labelled import LabelledData, labelled_set
from rnnscope.core.random import Streams
from rnnscope.tasks.frames import pixel_names

FRAME = (2, 3, 4)
PIXELS = 24
STEPS = 6


class Watches(rs.SequenceModel):
    """Logits (s, -s) with s the weighted sum of one pixel of one frame, or of any."""

    def __init__(self, weights: Tensor) -> None:
        super().__init__()
        self.weights = torch.nn.Parameter(weights)

    def forward(self, inputs, lengths=None, *, rng=None, last=None):
        found = (inputs * self.weights).sum((1, 2)) - 0.1
        return torch.stack([found, -found], -1)[:, None]

    def systems(self):
        return {}


def data(count: int = 40, steps: int = STEPS, lengths: np.ndarray | None = None) -> LabelledData:
    rng = np.random.default_rng(0)
    part = labelled_set(rng.random((count, steps, PIXELS)), np.arange(count) % 2, lengths=lengths)
    return LabelledData(part, part, {"test": part}, ("night", "day"), pixel_names(FRAME), frame=FRAME)


def watching(*pixels: tuple[int, int], steps: int = STEPS) -> Watches:
    weights = torch.zeros(steps, PIXELS)
    for step, pixel in pixels:
        weights[step, pixel] = 1.0
    return Watches(weights)


def found_by(model: rs.SequenceModel, some: LabelledData, **fields):
    return rs.Saliency(**fields).run(as_trained(model), some, Streams(0))


def test_the_frame_that_decides_gets_all_the_attribution():
    found = found_by(watching((3, 7)), data())
    shares = found.arrays["share_of_frames"]
    np.testing.assert_allclose(shares, np.eye(STEPS)[[3] * len(shares)], atol=1e-6)
    assert set(np.flatnonzero(np.abs(found.arrays["attributions"]).sum((0, 1)))) == {7}
    assert found.metrics["largest_frame"] == 4
    assert found.metrics["half_in_frames"] == 1
    assert any("Frame 4 moved the decision most, with 100 %" in s for s in found.statements)


def test_of_two_frames_each_has_what_it_contributed():
    found, some = found_by(watching((1, 0), (4, 5)), data()), data()
    shares, total = found.arrays["share_of_frames"], found.arrays["attributions"].sum((1, 2))
    np.testing.assert_allclose(shares[:, [1, 4]].sum(1), 1, atol=1e-6)
    np.testing.assert_allclose(total, found.arrays["change"] + found.arrays["residual"], atol=1e-5)
    assert np.abs(found.arrays["residual"]).max() < 1e-5
    assert len(some.tests["test"]) >= len(shares)


def test_making_the_deciding_frame_black_changes_decisions_and_another_frame_does_not():
    found = found_by(watching((2, 3)), data(), num_sequences=40)
    assert found.metrics["changed_by_most_evidence"] > 0.7  # all in which the pixel had been above the threshold
    assert found.metrics["changed_by_random"] < 0.4
    assert any("that frame counts more than others" in s for s in found.statements)


def test_a_network_that_looks_at_nothing_has_equal_shares():
    shares = frame_shares(torch.zeros(2, 4, PIXELS))
    torch.testing.assert_close(shares, torch.full((2, 4), 0.25))
    assert np.isfinite(list(found_by(watching(), data()).metrics["share_by_frame"])).all()


@pytest.mark.parametrize("steps", [1, STEPS, MOST_FRAMES + 3])
def test_findings_are_in_order_for_any_number_of_frames(steps, tmp_path):
    model, some = watching((0, 3), steps=steps), data(steps=steps)
    before = state_of(model)
    analysis = rs.Saliency(num_sequences=6, num_examples=3)
    told = check_findings(analysis, analysis.run(as_trained(model), some, Streams(0)), tmp_path, draw=steps != STEPS)
    assert told["figures"] == ["saliency_frames", "saliency_course"]
    assert state_of(model) == before


def test_shorter_sequences_have_no_attribution_behind_their_end(tmp_path):
    lengths = np.arange(40) % STEPS + 1
    analysis = rs.Saliency()
    found = analysis.run(as_trained(watching((0, 1), (5, 2))), data(lengths=lengths), Streams(0))
    behind = np.arange(STEPS) >= found.arrays["lengths"][:, None]
    assert not found.arrays["share_of_frames"][behind].any()
    check_findings(analysis, found, tmp_path, draw=False)


def test_it_looks_at_a_trained_network_of_frames(tmp_path):
    task = rs.FramesMotion(image_size=6, radius=0.2, num_train=40, num_validation=8, num_test=12, step=(2, 1))
    streams = Streams(0)
    moving = task.prepare(streams)
    for sees in ("all", "shuffled"):
        model = rs.CNNRNN(conv_channels=(2,), hidden_size=4, sees=sees).build(moving.signature, streams.torch()).eval()
        analysis = rs.Saliency(num_sequences=8, num_steps=24)
        found = analysis.run(as_trained(model), moving, Streams(0))
        assert found.metrics["relative_residual_median"] < 0.05
        told = check_findings(analysis, found, tmp_path / sees, draw=False)
        assert told["arrays"]["attributions"] == [8, 5, 36]


def test_it_says_where_it_does_not_apply():
    flat = data()
    assert rs.Saliency().obstacle(watching(), flat) == ""
    series = LabelledData(flat.train, flat.validation, flat.tests, flat.class_names, flat.input_names)
    assert rs.Saliency().obstacle(watching(), series) == "the task's inputs are no images"


@pytest.mark.parametrize("fields", [{"num_examples": 0}, {"num_sequences": 0}, {"num_steps": 0}, {"removed": 1.0}])
def test_a_field_out_of_range_is_named(fields):
    with pytest.raises(rs.ConfigError, match=next(iter(fields))):
        rs.Saliency(**fields)


def test_a_part_that_is_not_there_is_answered_with_those_that_are():
    with pytest.raises(rs.ConfigError, match=r"saliency\.part") as caught:
        found_by(watching(), data(), part="tests")
    assert "test" in caught.value.expected
