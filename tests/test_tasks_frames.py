"""Image sequences: random pixels, moving shapes whose class is only in the order of the frames, and one's own files."""

import itertools
import json

import numpy as np
import pytest
import torch

import rnnscope as rs
from rnnscope.core.labelled import LabelledData
from rnnscope.core.random import Streams
from rnnscope.tasks.frames import stratified
from rnnscope.tasks.frames_given import read_new_frames, unit_pixels
from rnnscope.tasks.frames_moving import (
    SHAPES,
    MovingShapes,
    displacement_rule,
    draw_shape,
    in_order,
    show_order,
)

SIZES = {"num_train": 120, "num_validation": 24, "num_test": 48, "image_size": 8}
MOVING = [
    rs.FramesMotion(**SIZES),
    rs.FramesMotion(**SIZES, step=(2, 1), num_rounds=2, num_channels=3),
    rs.FramesMotion(**SIZES, step=(4, 1), num_directions=2),
    rs.FramesSpeed(**SIZES),
    rs.FramesSpeed(**SIZES, num_positions=7, speeds=(3, 2), num_rounds=2, shape="disc"),
]
EACH_MOVING = pytest.mark.parametrize("task", MOVING, ids=lambda t: f"{type(t).__name__}-{t.num_rounds}")


def images(part, data: LabelledData) -> np.ndarray:
    return part.inputs.numpy().reshape(len(part), part.num_steps, *data.frame)


# moving shapes: the class is in the order alone


def shown(task: MovingShapes, count: int = 6) -> tuple[np.ndarray, dict[tuple[int, int], np.ndarray]]:
    """A stock of frames, and what each class (and each of its ways) shows of it."""
    plan = task.plan()
    stock = task.stock(plan, count, np.random.default_rng(0))
    ways = {
        (k, way): in_order(stock, show_order(np.full(count, m), plan.num_positions, task.num_rounds))
        for k, own in enumerate(plan.multipliers)
        for way, m in enumerate(own)
    }
    return stock, ways


@EACH_MOVING
def test_every_class_shows_the_same_frames(task):
    stock, ways = shown(task)
    for frames in ways.values():
        for own, of_stock in zip(frames, stock, strict=True):
            assert sorted(f.tobytes() for f in own) == sorted(f.tobytes() for f in of_stock)


@EACH_MOVING
def test_time_reversal_turns_each_class_into_another_with_the_same_frames(task):
    """Reversed within a round, a sequence of multiplier m is that of -m, begun one frame later."""
    task = task.but(num_rounds=1)
    _, ways = shown(task)
    plan = task.plan()
    numbers = {int(m): key for key, m in zip(ways, plan.multipliers.flatten(), strict=True)}
    for multiplier, key in numbers.items():
        partner = numbers[-multiplier % plan.num_positions]
        np.testing.assert_array_equal(ways[key][:, ::-1], np.roll(ways[partner], -1, axis=1))


@EACH_MOVING
def test_the_first_frame_is_the_same_in_every_class(task):
    _, ways = shown(task)
    first, *others = ways.values()
    for other in others:
        np.testing.assert_array_equal(other[:, 0], first[:, 0])


def test_places_are_spread_evenly_over_the_torus_at_every_step():
    """So no single frame tells the class. The mean of e^{2πi x} over many sequences is zero but for chance."""
    data = rs.FramesSpeed(**SIZES | {"num_train": 3000}, noise_sd=0.0, shape="disc").prepare(Streams(0))
    frames, wave = images(data.train, data)[:, :, 0], np.exp(2j * np.pi * np.arange(8) / 8)
    for k in range(3):
        own = frames[data.train.labels.numpy() == k]
        phases = np.angle(own.sum(2) @ wave)
        assert np.abs(np.exp(1j * phases).mean(0)).max() < 4 / np.sqrt(len(own))


@EACH_MOVING
def test_what_is_shown_moves_as_the_class_says(task):
    quiet = task.but(noise_sd=0.0, image_size=16)
    plan = quiet.plan()
    data = quiet.prepare(Streams(1))
    frames = images(data.train, data)
    np.testing.assert_array_equal(displacement_rule(frames, plan.moves()), data.train.labels.numpy())


def test_the_four_directions_are_quarter_turns_of_one_another():
    for step in ((2, 1), (3, 1), (3, 2), (4, 1), (5, 2)):
        moves = rs.FramesMotion(step=step).plan().moves()[:, 0]
        size = step[0] ** 2 + step[1] ** 2
        np.testing.assert_allclose(moves[0], np.array(step) / size)
        for one, following in itertools.pairwise([*moves, moves[0]]):
            np.testing.assert_allclose(following, [-one[1], one[0]], atol=1e-12)


def test_two_directions_are_there_and_back():
    moves = rs.FramesMotion(num_directions=2).plan().moves()[:, 0]
    np.testing.assert_allclose(moves[0], -moves[1])


def test_each_round_visits_each_position_once():
    for multiplier, rounds in ((3, 1), (7, 4)):
        order = show_order(np.array([multiplier]), 10, rounds)[0]
        assert sorted(order) == list(range(10 * rounds))
        assert all(sorted(order[10 * r : 10 * r + 10]) == list(range(10 * r, 10 * r + 10)) for r in range(rounds))


@pytest.mark.parametrize("shape", SHAPES)
def test_a_shape_moves_round_the_edges_pixel_by_pixel(shape):
    places = np.array([[[0.31, 0.47], [0.31 + 3 / 8, 0.47 + 2 / 8], [1.31, -0.53]]])
    first, moved, round_about = draw_shape(places, 8, shape, 0.2)[0]
    np.testing.assert_allclose(np.roll(first, (-2, 3), (0, 1)), moved, atol=1e-6)  # up is towards row 0
    np.testing.assert_allclose(first, round_about, atol=1e-6)


def test_a_large_disc_covers_its_area():
    assert draw_shape(np.array([[[0.4, 0.7]]]), 64, "disc", 0.3).sum() / 64**2 == pytest.approx(np.pi * 0.09, rel=0.01)


def test_classes_are_equally_often_and_pixels_within_range():
    data = rs.FramesMotion(**SIZES, noise_sd=0.3, num_channels=2).prepare(Streams(0))
    assert set(data.counts(data.train).values()) == {30}
    assert data.frame == (2, 8, 8)
    for part in data.parts().values():
        assert 0 <= part.inputs.min() < part.inputs.max() <= 1


@EACH_MOVING
def test_the_same_seed_gives_the_same_data_and_other_parts_stay(task):
    one, same, other = (task.prepare(Streams(seed)) for seed in (0, 0, 1))
    assert one.fingerprint() == same.fingerprint() != other.fingerprint()
    assert torch.equal(one.train.inputs, task.but(num_test=8).prepare(Streams(0)).train.inputs)
    assert not torch.equal(one.train.inputs[:24], one.validation.inputs)


def test_the_data_report_says_what_the_frames_are():
    told = json.loads(json.dumps(rs.FramesMotion(**SIZES).prepare(Streams(0)).describe(), allow_nan=False))
    assert told["frames (channels, height, width)"] == [1, 8, 8]
    assert told["steps per sequence"]["train"] == "10"
    assert "direction" in told["rule"]


@pytest.mark.parametrize(
    ("task", "fields", "word"),
    [
        (rs.FramesMotion, {"step": (1, 3)}, "task.step"),
        (rs.FramesMotion, {"step": (4, 2)}, "task.step"),
        (rs.FramesMotion, {"num_directions": 3}, "num_directions"),
        (rs.FramesMotion, {"radius": 0.05}, "task.radius"),
        (rs.FramesMotion, {"image_size": 3}, "image_size"),
        (rs.FramesMotion, {"num_rounds": 0}, "num_rounds"),
        (rs.FramesMotion, {"noise_sd": -1.0}, "noise_sd"),
        (rs.FramesMotion, {"num_test": 1}, "num_test"),
        (rs.FramesSpeed, {"speeds": (1, 6)}, "task.speeds"),
        (rs.FramesSpeed, {"speeds": (1, 1)}, "task.speeds"),
        (rs.FramesSpeed, {"num_positions": 9, "speeds": (1, 3)}, "task.speeds"),
        (rs.FramesSpeed, {"speeds": (1,)}, "speeds"),
        (rs.FramesRandom, {"image_size": 1}, "image_size"),
        (rs.FramesRandom, {"num_classes": 1}, "num_classes"),
        (rs.FramesRandom, {"num_sequences": 3}, "num_sequences"),
        (rs.FramesRandom, {"validation_share": 0.5, "test_share": 0.5}, "test_share"),
    ],
)
def test_a_field_out_of_range_is_named(task, fields, word):
    with pytest.raises(rs.ConfigError) as caught:
        task(**fields)
    assert word in f"{caught.value.found} {caught.value.expected}"
    assert caught.value.remedy


# random pixels


def test_random_pixels_are_uniform_and_labels_independent_of_them():
    task = rs.FramesRandom(num_sequences=600, num_steps=2, image_size=6, num_channels=2, num_classes=3)
    data = task.prepare(Streams(0))
    assert {name: len(part) for name, part in data.parts().items()} == {"train": 390, "validation": 60, "test": 150}
    assert data.train.inputs.shape == (390, 2, 72)
    pixels = data.train.inputs.flatten().numpy()
    np.testing.assert_allclose(np.quantile(pixels, [0.1, 0.5, 0.9]), [0.1, 0.5, 0.9], atol=0.01)
    labels = data.train.labels.numpy()
    means = np.array([data.train.inputs.numpy()[labels == k].mean() for k in range(3)])
    assert np.ptp(means) < 0.01
    assert data.counts(data.train) == {"class 0": 130, "class 1": 130, "class 2": 130}


def test_parts_of_random_pixels_have_no_sequence_in_common():
    data = rs.FramesRandom(num_sequences=50, image_size=4, num_classes=5).prepare(Streams(3))
    rows = torch.cat([part.inputs for part in data.parts().values()]).flatten(1)
    assert len(torch.unique(rows, dim=0)) == 50


# one's own files


def saved(path, **changes):
    rng = np.random.default_rng(0)
    arrays = {
        "frames": rng.integers(0, 256, (30, 4, 3, 5, 7)).astype(np.uint8),
        "labels": np.array(["wave", "jump", "sit"])[np.arange(30) % 3],
    }
    np.savez(path, **{k: v for k, v in (arrays | changes).items() if v is not None})
    return str(path)


def test_a_file_becomes_parts_with_each_class_in_all(tmp_path):
    path = saved(tmp_path / "own.npz")
    data = rs.Frames(path=path).prepare(Streams(0))
    assert data.class_names == ("jump", "sit", "wave")
    assert data.frame == (3, 5, 7)
    assert {n: tuple(data.counts(p).values()) for n, p in data.parts().items()} == {
        "train": (6, 6, 6),
        "validation": (2, 2, 2),
        "test": (2, 2, 2),
    }
    frames = np.load(path)["frames"].reshape(30, 4, -1) / np.float32(255)
    rows = {row.tobytes() for row in frames}
    found = [row.numpy().tobytes() for part in data.parts().values() for row in part.inputs]
    assert len(found) == 30
    assert set(found) == rows
    assert "divided by 255" in data.notes[0]


def test_labels_may_be_numbers_in_any_numbering_and_lengths_may_differ(tmp_path):
    lengths = np.array([1, 2, 3, 4, 4, 4] * 5)
    path = saved(tmp_path / "own.npz", labels=np.array([7.0, 12.0, -3.0])[np.arange(30) % 3], lengths=lengths)
    data = rs.Frames(path=path).prepare(Streams(0))
    assert data.class_names == ("-3", "7", "12")
    assert sorted(torch.cat([p.lengths for p in data.parts().values()]).tolist()) == sorted(lengths)


def test_a_file_of_its_own_may_be_the_test_part(tmp_path):
    path, other = saved(tmp_path / "own.npz"), saved(tmp_path / "test.npz", labels=np.array(["sit"] * 30))
    data = rs.Frames(path=path, test_path=other).prepare(Streams(0))
    assert len(data.tests["test"]) == 30
    assert data.counts(data.tests["test"]) == {"jump": 0, "sit": 30, "wave": 0}
    assert len(data.train) + len(data.validation) == 30


BYTES = np.zeros((30, 4, 3, 5, 7), np.uint8)
BAD = {
    "rank": ({"frames": BYTES[:, :, 0]}, rs.ShapeError, "frames of shape (30, 4, 5, 7)", "channels"),
    "no frames": ({"frames": BYTES[:, :0]}, rs.ShapeError, "frames of shape", "none of them 0"),
    "labels that do not match": ({"labels": np.arange(29)}, rs.ShapeError, "labels of shape (29,) beside 30", "(30,)"),
    "labels in a matrix": ({"labels": np.zeros((30, 2), int)}, rs.ShapeError, "labels of shape (30, 2)", "(30,)"),
    "labels between numbers": ({"labels": np.arange(30) / 7}, rs.DataError, "labels of type float64", "whole numbers"),
    "one class": ({"labels": np.zeros(30, int)}, rs.DataError, "every sequence", "two classes"),
    "a class of one": ({"labels": np.array([1] + [0] * 29)}, rs.DataError, "1 sequences of class '1'", "at least 3"),
    "negative pixels": ({"frames": BYTES.astype(float) - 1}, rs.DataError, "pixels from -1 to -1", "0 to 1"),
    "pixels above 255": ({"frames": BYTES.astype(int) + 256}, rs.DataError, "pixels from 256", "255"),
    "neither unit nor byte": ({"frames": BYTES + 1.5}, rs.DataError, "pixels from 1.5", "0 to 1"),
    "pixels that are missing": ({"frames": BYTES + np.nan}, rs.DataError, "NaN", "finite"),
    "pixels that are words": ({"frames": BYTES.astype(str)}, rs.DataError, "frames of type", "numbers"),
    "objects": ({"labels": np.array([None] * 30, object)}, rs.DataError, "Python objects", "plain arrays"),
    "no labels": ({"labels": None}, rs.DataError, "no array 'labels'", "labels (N,)"),
    "lengths too long": ({"lengths": np.full(30, 5)}, rs.DataError, "lengths from 5", "1 to 4"),
    "lengths that do not match": ({"lengths": np.full(3, 4)}, rs.ShapeError, "lengths of shape (3,)", "(30,)"),
    "lengths between numbers": ({"lengths": np.full(30, 3.5)}, rs.DataError, "lengths of type", "whole"),
}


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(("changes", "error", "found", "expected"), BAD.values(), ids=BAD.keys())
def test_a_file_that_does_not_fit_is_refused(changes, error, found, expected, tmp_path):
    path = saved(tmp_path / "own.npz", **changes)
    with pytest.raises(error) as caught:
        rs.Frames(path=path).prepare(Streams(0))
    assert found in caught.value.found
    assert expected in caught.value.expected
    assert caught.value.remedy


def test_a_missing_broken_or_empty_file_is_named(tmp_path):
    (tmp_path / "broken.npz").write_bytes(b"no archive")
    np.save(tmp_path / "alone.npy", np.zeros(3))
    saved(tmp_path / "walking.npz")
    for name, word in (("walkin.npz", "walking.npz"), ("broken.npz", "savez"), ("alone.npy", "savez")):
        with pytest.raises(rs.DataError) as caught:
            rs.Frames(path=str(tmp_path / name)).prepare(Streams(0))
        assert name in caught.value.found
        assert word in caught.value.remedy
    with pytest.raises(rs.ConfigError, match=r"task\.path is empty"):
        rs.Frames().prepare(Streams(0))


def test_a_test_part_of_other_frames_or_classes_is_refused(tmp_path):
    path = saved(tmp_path / "own.npz")
    strange = saved(tmp_path / "strange.npz", labels=np.array(["sit", "fly"] * 15))
    with pytest.raises(rs.DataError, match="'fly', which the training part has not"):
        rs.Frames(path=path, test_path=strange).prepare(Streams(0))
    wide = saved(tmp_path / "wide.npz", frames=np.zeros((30, 4, 3, 5, 8)))
    with pytest.raises(rs.ShapeError, match=r"task\.test_path"):
        rs.Frames(path=path, test_path=wide).prepare(Streams(0))


def test_what_pixels_mean_can_be_said():
    values = np.array([0.0, 0.5, 200.0]).reshape(1, 1, 1, 1, 3)
    np.testing.assert_allclose(unit_pixels(values, "byte", "x")[0].flatten(), [0, 0.5 / 255, 200 / 255], rtol=1e-6)
    binary = np.array([0, 1], np.uint8).reshape(1, 1, 1, 1, 2)
    assert unit_pixels(binary, "auto", "x")[0].max() == 1
    with pytest.raises(rs.DataError, match="from 0 to 200"):
        unit_pixels(values, "unit", "x")


def test_stratified_parts_hold_every_row_once():
    labels = np.repeat([0, 1, 2], [40, 10, 3])
    parts = stratified(labels, (0.2, 0.1), ("a", "b", "c"), np.random.default_rng(0))
    assert sorted(np.concatenate(parts)) == list(range(53))
    assert [np.bincount(labels[p]).tolist() for p in parts] == [[28, 7, 1], [8, 2, 1], [4, 1, 1]]


def test_too_few_random_sequences_for_the_classes_are_refused():
    with pytest.raises(rs.DataError, match="1 sequences of class 'class 0', too few") as caught:
        rs.FramesRandom(num_sequences=10, image_size=2).prepare(Streams(0))
    assert "at least 3" in caught.value.expected


def test_new_frames_are_read_as_those_of_training_and_need_no_labels(tmp_path):
    path = saved(tmp_path / "own.npz")
    data = rs.Frames(path=path).prepare(Streams(0))
    ids, part, labels = read_new_frames(saved(tmp_path / "new.npz", labels=None), data)
    assert ids[:2] == ("0", "1")
    assert set(labels) == {""}
    np.testing.assert_allclose(part.inputs.flatten(1), np.load(path)["frames"].reshape(30, -1) / 255, rtol=1e-6)
    assert read_new_frames(path, data)[2][:2] == ("wave", "jump")
    with pytest.raises(rs.ShapeError, match=r"as in training|channels, height and width"):
        read_new_frames(saved(tmp_path / "wide.npz", frames=np.zeros((30, 4, 3, 5, 8))), data)
