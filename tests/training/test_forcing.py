"""Generalised teacher forcing as an option of the gradient trainer, and the choice of weights by free runs."""

import numpy as np
import pytest
import torch

import rnnscope as rs
from rnnscope.core.interfaces import ModelSpec, SupervisedData
from rnnscope.core.loops import identity_feedback
from rnnscope.core.random import Streams
from rnnscope.training.free_run_distance import free_run_distance
from rnnscope.training.rates import forcing_strength

SMALL = {"epochs": 2, "batch_size": 8, "count": "all", "epoch_steps": 3}


@pytest.fixture(scope="module")
def data() -> SupervisedData:
    task = rs.Lorenz63(duration=24.0, transient=2.0, window=12, split=rs.Split(validation=0.3), protocol="stream")
    return task.prepare(Streams(0))


def trained(data: SupervisedData, spec: ModelSpec, **fields: object) -> tuple[dict[str, torch.Tensor], list[dict[str, float]]]:
    model = spec.build(data.signature, torch.Generator().manual_seed(0))
    run = rs.BPTT(**(SMALL | fields)).start(model, data, Streams(1))
    rows = [record.values for record in run]
    run.finish()
    return model.state_dict(), rows


def test_full_forcing_is_the_free_of_nothing_and_no_forcing_the_free_run():
    loop = rs.System(lambda h, x: torch.tanh(0.5 * h + x), state_size=2, input_size=2, dtype=torch.float64)
    inputs = torch.randn(3, 9, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    forced, _ = rs.forced_rollout(loop, inputs, torch.ones(9), identity_feedback(2))
    torch.testing.assert_close(forced, rs.rollout(loop, inputs).outputs)
    free, _ = rs.forced_rollout(loop, inputs, rs.forcing_weights(9, 0.0), identity_feedback(2))
    state = loop.step(loop.initial_state(3), inputs[:, 0])
    run = rs.free_run(loop, state, inputs[:, 0], identity_feedback(2), torch.zeros(3, 8, 0, dtype=torch.float64))
    torch.testing.assert_close(free, run)


def test_known_inputs_are_true_whatever_the_forcing():
    feedback = rs.AffineFeedback(torch.zeros(2, 2).double(), torch.eye(2)[:, :1].double(), torch.eye(2)[:, 1:].double())
    seen = rs.System(lambda h, x: x[:, 1:], state_size=1, input_size=2, dtype=torch.float64)
    inputs = torch.randn(2, 6, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    outputs, _ = rs.forced_rollout(seen, inputs, rs.forcing_weights(6, 0.3), feedback)
    torch.testing.assert_close(outputs, inputs[:, :, 1:])


@pytest.mark.parametrize(
    "spec", [rs.PLRNN(hidden_size=6), rs.GRU(hidden_size=4, num_layers=1), rs.LSTM(hidden_size=4, num_layers=1)]
)
@pytest.mark.parametrize("carry_state", [False, True])
def test_every_recurrent_network_trains_with_forcing_and_repeats_bit_for_bit(data, spec, carry_state):
    fields = {"forcing": 0.2, "forcing_interval": 5, "forcing_schedule": "cosine", "carry_state": carry_state, "truncation": 12}
    weights, rows = trained(data, spec, **fields)
    again, _ = trained(data, spec, **fields)
    plain, _ = trained(data, spec, carry_state=carry_state, truncation=12)
    assert all(torch.equal(weights[name], again[name]) for name in weights)
    assert any(not torch.equal(weights[name], plain[name]) for name in weights)
    assert all(np.isfinite(row["train_loss"]) for row in rows)


def test_forcing_of_one_changes_no_number(data):
    plain, _ = trained(data, rs.GRU(hidden_size=4, num_layers=1))
    forced, _ = trained(data, rs.GRU(hidden_size=4, num_layers=1), forcing=1.0, forcing_interval=3)
    assert all(torch.equal(plain[name], forced[name]) for name in plain)


def test_forcing_falls_from_start_to_end():
    for kind in ("linear", "cosine"):
        found = [forcing_strength(kind, 0.9, 0.1, p) for p in (0.0, 0.25, 0.5, 0.75, 1.0)]
        assert found == sorted(found, reverse=True)
        assert found[0] == pytest.approx(0.9)
        assert found[-1] == pytest.approx(0.1)
    assert forcing_strength("constant", 0.9, 0.1, 0.0) == 0.1


def test_the_weights_with_the_best_free_run_are_kept_and_the_history_shows_why(data):
    spec = rs.PLRNN(hidden_size=6)
    model = spec.build(data.signature, torch.Generator().manual_seed(0))
    run = rs.BPTT(**(SMALL | {"epochs": 5, "choose_by": "reconstruction", "choose_every": 2})).start(model, data, Streams(1))
    rows = [record.values for record in run]
    outcome = run.finish()
    scored = [row["free_run"] for row in rows]
    assert [np.isfinite(v) for v in scored] == [False, True, False, True, True]
    assert outcome.score == np.nanmin(scored)
    assert outcome.best_epoch == 1 + int(np.nanargmin(scored))
    assert outcome.criterion == "distance of free runs to the training and validation parts (D_stsp + D_H)"
    assert free_run_distance(model, data)["free_run"] == pytest.approx(outcome.score, abs=1e-12)


def test_the_steps_that_do_not_count_are_read_as_they_are(data):
    model = rs.PLRNN(hidden_size=6).build(data.signature, torch.Generator().manual_seed(0))
    inputs = data.train.gather(np.arange(2)).inputs
    run = rs.BPTT(**(SMALL | {"forcing": 0.0, "burn_in": inputs.shape[1]})).start(model, data, Streams(1))
    outputs, _ = run._forced(model, inputs, None, 0.0)
    torch.testing.assert_close(outputs, rs.rollout(model, inputs).outputs)


def test_free_runs_are_compared_with_what_training_may_see_and_never_with_the_test_part(data):
    model = rs.PLRNN(hidden_size=6).build(data.signature, torch.Generator().manual_seed(0))
    recorded, generated = data.free_runs(model)
    (first,), (span,) = data.parts.train, data.parts.validation
    np.testing.assert_array_equal(recorded[0], data.series[0].values[first.start : span.stop])
    assert generated.shape[2] == 3
    spoiled = data.series[0].values.copy()
    try:
        data.series[0].values[span.stop :] = 1e3
        np.testing.assert_array_equal(data.free_runs(model)[1], generated)
    finally:
        data.series[0].values[:] = spoiled


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"forcing": 0.1, "free_run": 5}, "set trainer.free_run=0, or trainer.forcing=1"),
        ({"forcing": 1.5}, "forcing"),
        ({"forcing_schedule": "step"}, "forcing_schedule"),
    ],
)
def test_options_that_contradict_one_another_are_refused(data, fields, says):
    with pytest.raises(rs.ConfigError, match=says):
        trained(data, rs.GRU(hidden_size=4, num_layers=1), **fields)


def test_tasks_without_a_closed_loop_refuse_forcing_and_the_choice_by_free_runs():
    task = rs.FlipFlop(num_train=4, num_validation=2, num_test=2, num_long=1, num_steps=8)
    held = task.prepare(Streams(0))
    for fields, says in (
        ({"forcing": 0.1}, "set trainer.forcing=1"),
        ({"choose_by": "reconstruction"}, "set trainer.choose_by=loss"),
    ):
        with pytest.raises(rs.ConfigError, match=says):
            trained(held, rs.GRU(hidden_size=4, num_layers=1), **fields)


def test_a_first_step_that_is_not_forced_is_refused():
    loop = rs.System(lambda h, x: x, state_size=1, input_size=1)
    with pytest.raises(rs.ShapeError, match="force the first step"):
        rs.forced_rollout(loop, torch.zeros(1, 3, 1), torch.zeros(3), identity_feedback(1))
