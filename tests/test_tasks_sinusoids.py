"""Sinusoid tasks, and the data of task families that they fill."""

import json
import math

import numpy as np
import pytest
import torch

import rnnscope as rs
from rnnscope.core.random import Streams
from rnnscope.core.task_family import FamilyData, draw_episodes
from rnnscope.tasks.sinusoids import SineFamily, SineShift, Sinusoids

SMALL = {"num_train": 30, "num_validation": 5, "num_test": 7, "num_queries": 9}


def prepared(seed=0, **fields) -> FamilyData:
    return Sinusoids(**{**SMALL, **fields}).prepare(Streams(seed))


def test_targets_are_the_wave_of_each_tasks_parameters():
    data = prepared()
    for part in (data.train, data.validation, data.test):
        a, phase = part.parameters.T[:, :, None]
        np.testing.assert_allclose(part.targets, a * np.sin(part.points.numpy() + phase), atol=1e-5)


def test_amplitude_phase_and_x_are_uniform_in_their_ranges():
    part = prepared(num_train=4000).train
    for values, low, high in (
        (part.parameters[:, 0], 0.1, 5),
        (part.parameters[:, 1], 0, math.pi),
        (part.points.numpy(), -5, 5),
    ):
        assert values.min() >= low
        assert values.max() <= high
        np.testing.assert_allclose(values.mean(), (low + high) / 2, atol=0.03 * (high - low))
        np.testing.assert_allclose(values.std(), (high - low) / math.sqrt(12), rtol=0.05)


def test_test_tasks_can_come_from_other_ranges():
    data = prepared(amplitude=(1, 1), test_phase=(math.pi / 2, math.pi / 2))
    assert (data.test.parameters[:, 1] == math.pi / 2).all()
    assert np.ptp(data.train.parameters[:, 1]) > 1


def test_a_recurrent_learner_reads_x_and_the_previous_y():
    data = prepared()
    batch = data.train.gather(np.array([2, 0]))
    assert batch.inputs.shape == (2, 20, 2)
    torch.testing.assert_close(batch.inputs[0, :, 0], data.train.points[2])
    torch.testing.assert_close(batch.inputs[0, 1:, 1], data.train.targets[2, :-1])
    assert (batch.inputs[:, 0, 1] == 0).all()
    torch.testing.assert_close(batch.targets[..., 0], data.train.targets[[2, 0]])
    assert data.signature.past_targets == 1


def test_noise_is_on_the_examples_and_not_on_the_queries():
    data, noisy = prepared(), prepared(noise_sd=0.5)
    torch.testing.assert_close(data.test.targets[:, 10:], noisy.test.targets[:, 10:])
    spread = prepared(noise_sd=0.5, num_test=500).test.targets[:, :10] - prepared(num_test=500).test.targets[:, :10]
    assert float(spread.std()) == pytest.approx(0.5, rel=0.05)


def test_the_fit_of_the_known_form_is_exact_from_two_examples():
    family = SineFamily((0.1, 5.0), (0.0, math.pi), (-5.0, 5.0))
    for shots in (2, 5):
        part = draw_episodes(family, 50, shots + 20, np.random.default_rng(0))
        x = part.points.numpy().astype(float)
        y = family.answers(part.parameters, x)
        apart = np.abs(np.sin(x[:, 0] - x[:, 1])) > 0.1  # else two examples say the same
        found = family.fitted(x[:, :shots], y[:, :shots], x[:, shots:])
        np.testing.assert_allclose(found[apart], y[apart, shots:], atol=1e-8)


def test_the_shifted_wave_is_asked_for_after_the_plain_one():
    data = SineShift().prepare(Streams(0))
    np.testing.assert_allclose(data.train.targets, np.sin(data.train.points.numpy()), atol=1e-6)
    np.testing.assert_allclose(data.test.targets, np.cos(data.test.points.numpy()), atol=1e-6)
    assert data.train.points.shape == (1, 100)
    assert data.is_one_task
    assert not prepared().is_one_task


def test_the_same_seed_gives_the_same_tasks_and_parts_share_none():
    assert prepared(3).fingerprint() == prepared(3).fingerprint() != prepared(4).fingerprint()
    data = prepared()
    drawn = np.concatenate([data.train.parameters, data.validation.parameters, data.test.parameters])
    assert len(np.unique(drawn, axis=0)) == len(drawn)


def test_the_data_report_is_plain_json_and_says_what_is_asked():
    found = json.loads(json.dumps(prepared().describe()))
    assert found["training tasks"] == "amplitude 0.1 to 5, phase 0 to 3.142"
    assert found["queries per test task"] == 9
    assert set(prepared().arrays()) == {
        f"{part}_{what}" for part in ("train", "validation", "test") for what in ("points", "targets", "parameters")
    }


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"shots": (0, 5)}, "shots"),
        ({"shots": ()}, "shots"),
        ({"shots": (10, 5)}, "shots"),
        ({"shots": (5, 5)}, "shots"),
        ({"num_points": 10}, "num_points"),
        ({"shots": (30,)}, "num_points"),
        ({"amplitude": (5, 0.1)}, "amplitude"),
        ({"amplitude": (-1, 1)}, "amplitude"),
        ({"phase": (2, 1)}, "phase"),
        ({"x": (3, 3)}, "x"),
        ({"test_amplitude": (-1, 1)}, "test_amplitude"),
        ({"noise_sd": -1}, "noise_sd"),
        ({"num_test": 0}, "num_test"),
    ],
)
@pytest.mark.parametrize("cls", [Sinusoids, SineShift])
def test_a_field_out_of_range_is_named(cls, fields, named):
    if not set(fields) <= set(cls.model_fields):
        pytest.skip("not a field of this task")
    with pytest.raises(rs.ConfigError, match=named):
        cls(**{"num_points": 20, **fields})


def test_a_family_of_ones_own_with_too_few_points_is_told_which_field():
    family = SineFamily((1.0, 1.0), (0.0, 1.0), (-5.0, 5.0))
    part = draw_episodes(family, 3, 5, np.random.default_rng(0))
    with pytest.raises(rs.DataError, match=r"fewer than 5 shots and one to be asked"):
        FamilyData(family, family, part, part, part, (5,))
