import numpy as np
import pytest
import torch

import rnnscope as rs
from rnnscope.core.interfaces import Signature
from rnnscope.core.marked_series import MarkedData, marked_series
from rnnscope.core.random import Streams
from rnnscope.models.detectors import LinearResidual, MatrixProfile, SubPCA, Threshold
from rnnscope.training.fit import Fit

SPECS = [Threshold(), LinearResidual(), MatrixProfile(), MatrixProfile(join="training"), MatrixProfile(join="past"), SubPCA()]
IDS = ["threshold", "ar", "profile", "training", "past", "pca"]


def wave(columns=1):
    rng = np.random.default_rng(0)
    steps = np.arange(400)[:, None]
    return np.sin(2 * np.pi * steps / 20 + np.arange(columns)) + 0.05 * rng.normal(size=(400, columns))


def fitted(spec, values):
    data = MarkedData(marked_series(values, train_until=200))
    model = spec.build(data.signature, torch.Generator().manual_seed(0))
    run = Fit().start(model, data, Streams(0))
    assert [record.epoch for record in run] == [1]
    assert run.finish().reason == "fitted"
    return model, data, run


@pytest.mark.parametrize("columns", [1, 3])
@pytest.mark.parametrize("spec", SPECS, ids=IDS)
def test_an_anomaly_scores_higher_than_the_rest(spec, columns):
    values = wave(columns)
    values[300] += 4
    model, _, _ = fitted(spec, values)
    scores = model.score_steps(values)
    assert scores.shape == (400, columns if isinstance(spec, Threshold) else 1)
    assert np.nanargmax(scores[200:, 0]) in range(80, 121)
    assert model.systems() == {}


@pytest.mark.parametrize("spec", SPECS, ids=IDS)
def test_forward_gives_the_same_scores_and_changes_nothing(spec):
    values = wave()
    model, _, _ = fitted(spec, values)
    inputs = torch.from_numpy(np.stack([values, values[::-1].copy()]))
    kept = inputs.clone()
    outputs = model(inputs)
    np.testing.assert_allclose(outputs[0].numpy(), model.score_steps(values))
    np.testing.assert_allclose(model(inputs, last=7).numpy(), outputs[:, -7:].numpy())
    assert torch.equal(inputs, kept)


@pytest.mark.parametrize("spec", SPECS, ids=IDS)
def test_what_was_learned_survives_a_state_dict_and_a_checkpoint(spec):
    values = wave()
    model, data, run = fitted(spec, values)
    fresh = spec.build(data.signature, torch.Generator().manual_seed(0))
    fresh.load_state_dict(model.state_dict())
    np.testing.assert_array_equal(fresh.score_steps(values), model.score_steps(values))
    resumed = spec.build(data.signature, torch.Generator().manual_seed(0))
    again = Fit().start(resumed, data, Streams(0))
    again.restore(run.checkpoint())
    assert list(again) == []
    np.testing.assert_array_equal(resumed.score_steps(values), model.score_steps(values))


def test_the_linear_residual_of_a_step_does_not_see_what_comes_after():
    values = wave()
    model, _, _ = fitted(LinearResidual(), values)
    changed = values.copy()
    changed[350:] = 9
    np.testing.assert_array_equal(model.score_steps(changed)[:350], model.score_steps(values)[:350])


def test_a_detector_that_learned_nothing_says_so():
    model = SubPCA().build(Signature(1, 1), torch.Generator())
    with pytest.raises(rs.ConfigError, match="not fitted"):
        model.score_steps(wave())


@pytest.mark.parametrize("spec", [MatrixProfile(window=150), SubPCA(window=150)], ids=["profile", "pca"])
def test_a_window_too_long_for_the_series_is_refused(spec):
    with pytest.raises(rs.DataError, match="a window of 150"):
        fitted(spec, wave())
    with pytest.raises(rs.ConfigError, match="window"):
        MatrixProfile(window=2)


def test_the_trainer_fit_wants_a_detector_and_a_marked_series():
    data = MarkedData(marked_series(wave()))
    with pytest.raises(rs.ConfigError, match="trainer fit with a RecurrentSystem"):
        Fit().start(rs.GRU(hidden_size=2).build(data.signature, torch.Generator()), data, Streams(0))
