"""Gradient training: what it computes, and that it can be stopped and resumed bit for bit."""

import dataclasses
import itertools
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load, save
from torch import Tensor, nn

import rnnscope as rs
from rnnscope.core.forecast import ForecastData, encode
from rnnscope.core.interfaces import Checkpoint, ModelSpec, Record, TrainingOutcome
from rnnscope.core.random import Streams
from rnnscope.models.recurrent_systems import RecurrentSystem
from rnnscope.numerics.regression import ridge
from rnnscope.pipeline import Stage, open_folder, walk
from rnnscope.training import gradient_run
from rnnscope.training.gradient_run import GradientRun

WHOLE = 10_000  # a batch that holds every window
SMALL = rs.GRU(hidden_size=4, num_layers=1)
STEEP = {"optimizer": "sgd", "learning_rate": 1.0, "momentum": 0.0, "clip_norm": 0.0}  # one step is minus the gradient


def prepared(**fields: Any) -> ForecastData:
    """A short sine with training, validation and test parts."""
    return rs.Oscillation(
        **{"num_points": 90, "duration": 20.0, "window": 8, "split": rs.Split(test=0.25, validation=0.25), **fields}
    ).prepare(Streams(0))


def built(data: ForecastData, spec: ModelSpec = SMALL, seed: int = 0) -> RecurrentSystem:
    model = spec.build(data.signature, Streams(seed).at("init").torch())
    assert isinstance(model, RecurrentSystem)
    return model


def started(data: ForecastData, model: RecurrentSystem, seed: int = 0, **fields: Any) -> GradientRun:
    return rs.BPTT(**{"epochs": 4, "batch_size": 16, **fields}).start(model, data, Streams(seed).at("training"))


def trained(
    data: ForecastData, spec: ModelSpec = SMALL, seed: int = 0, **fields: Any
) -> tuple[RecurrentSystem, list[Record], TrainingOutcome]:
    model = built(data, spec)
    run = started(data, model, seed, **fields)
    records = list(run)
    return model, records, run.finish()


def weights(model: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def equal(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(tensor, other[name]) for name, tensor in one.items())


def numbers(records: list[Record]) -> list[dict[str, float]]:
    """What repeats: everything but the time taken."""
    return [{"epoch": r.epoch, **{k: v for k, v in r.values.items() if k != "seconds"}} for r in records]


def with_gaps(data: ForecastData) -> ForecastData:
    """The same data, some steps of which were not measured, unevenly over the parts."""
    (one,) = data.series
    observed = np.ones_like(one.values, bool)
    for start, stop in ((10, 14), (30, 31), (50, 56), (60, 61), (75, 78)):
        observed[start:stop] = False
    series = (dataclasses.replace(one, observed=observed),)
    return dataclasses.replace(data, series=series, encoded=encode(series, data.representation))


def all_windows(data: ForecastData) -> tuple[Tensor, Tensor]:
    batch = data.train.gather(np.arange(len(data.train)))
    return batch.inputs, batch.targets


def loss_of_one_epoch(data: ForecastData, spec: ModelSpec = SMALL, **fields: Any) -> float:
    """The recorded loss of an epoch of one step: that of the initial weights."""
    return trained(data, spec, epochs=1, batch_size=WHOLE, **fields)[1][0].values["train_loss"]


# learning


@pytest.mark.parametrize("optimizer", ["adam", "adamw", "sgd"])
@pytest.mark.parametrize("spec", [rs.Elman(hidden_size=8, num_layers=1), rs.LSTM(hidden_size=8), rs.GRU(hidden_size=8, skip=2)])
def test_the_loss_falls(optimizer: str, spec: ModelSpec) -> None:
    _, records, _ = trained(prepared(), spec, epochs=15, learning_rate=0.02, optimizer=optimizer)
    losses = [r.values["train_loss"] for r in records]
    assert losses[-1] < 0.5 * losses[0]
    assert records[-1].values["validation_loss"] < records[0].values["validation_loss"]


def test_the_same_seed_gives_the_same_weights_and_another_seed_others() -> None:
    data, fields = prepared(), {"input_noise": 0.1}
    first, again, other = (weights(trained(data, seed=seed, **fields)[0]) for seed in (0, 0, 1))
    assert equal(first, again)
    assert not equal(first, other)


def test_training_leaves_global_random_states_alone() -> None:
    data = prepared()
    model = built(data, rs.LSTM(hidden_size=3, dropout=0.5))
    before = torch.get_rng_state(), repr(np.random.get_state())  # noqa: NPY002
    run = started(data, model, input_noise=0.1, free_run=3, teacher_forcing=0.5)
    list(run)
    run.finish()
    assert torch.equal(torch.get_rng_state(), before[0])
    assert repr(np.random.get_state()) == before[1]  # noqa: NPY002


def test_looking_at_the_test_part_changes_nothing() -> None:
    looking, blind = trained(prepared(), watch_test=True), trained(prepared(), watch_test=False)
    assert equal(weights(looking[0]), weights(blind[0]))
    assert "test_loss" in looking[1][0].values
    assert "test_loss" not in blind[1][0].values


def test_the_validation_part_is_never_trained_on() -> None:
    """Other values there change the choice of an epoch, and no weight of any epoch."""
    data, other = prepared(), prepared()
    span = other.parts.validation[0]
    other.encoded.inputs[span.start : span.stop] = 5.0
    runs = [started(d, built(d), restore_best=False) for d in (data, other)]
    one, two = (numbers(list(run)) for run in runs)
    assert [r["train_loss"] for r in one] == [r["train_loss"] for r in two]
    assert [r["validation_loss"] for r in one] != [r["validation_loss"] for r in two]
    assert equal(weights(runs[0].model), weights(runs[1].model))


# what the loss is


@pytest.mark.parametrize(
    ("count", "burn_in", "first"), [("last", 0, 7), ("last", 3, 7), ("all", 0, 0), ("all", 3, 3), ("all", 99, 7)]
)
def test_the_loss_counts_the_steps_it_says(count: str, burn_in: int, first: int) -> None:
    data = prepared()
    inputs, targets = all_windows(data)
    outputs = rs.rollout(built(data), inputs).outputs
    wanted = (outputs[:, first:] - targets[:, first:]).square().mean().item()
    assert loss_of_one_epoch(data, count=count, burn_in=burn_in) == pytest.approx(wanted, rel=1e-5)


def test_a_gaussian_head_is_trained_by_likelihood() -> None:
    data = prepared(head="gaussian", horizon=2)
    inputs, targets = all_windows(data)
    outputs = rs.rollout(built(data), inputs).outputs[:, -1]
    law = torch.distributions.Normal(outputs[:, :2], outputs[:, 2:].exp())
    wanted = -law.log_prob(targets[:, -1]).mean().item() - 0.5 * np.log(2 * np.pi)
    assert loss_of_one_epoch(data) == pytest.approx(wanted, rel=1e-5)


@pytest.mark.parametrize("differences", [0, 1, 2])
def test_the_free_running_loss_is_that_of_a_loop_by_hand(differences: int) -> None:
    data, free = prepared(differences=differences), 5
    system, scales = built(data), [float(s[0]) for s in data.representation.difference_scales]
    total, count = 0.0, 0
    inputs, targets = all_windows(data)
    for window, wanted in zip(inputs, targets, strict=True):
        state, fed, output = system.initial_state(1), window[:1], 0.0
        for t in range(8):
            if t < 8 - free:
                fed = window[t : t + 1]
            elif differences == 0:
                fed = torch.tensor([[output]])
            elif differences == 1:
                fed = fed + scales[0] * output
            else:
                velocity = fed[0, 1] + scales[1] / scales[0] * output
                fed = torch.stack([fed[0, 0] + scales[0] * velocity, velocity])[None]
            state = system.step(state, fed)
            output = system.readout(state).item()
            if t >= 2:
                total += (output - wanted[t].item()) ** 2
                count += 1
    found = loss_of_one_epoch(data, free_run=free, count="all", burn_in=2)
    assert found == pytest.approx(total / count, rel=1e-4)


def test_scheduled_sampling_begins_with_the_truth_and_ends_with_the_share_asked_for() -> None:
    data = prepared()
    plain, free = loss_of_one_epoch(data), loss_of_one_epoch(data, free_run=5)
    assert loss_of_one_epoch(data, free_run=5, teacher_forcing=1.0) == pytest.approx(plain, rel=1e-6)
    assert loss_of_one_epoch(data, free_run=5, sampling_ramp=0.5) == pytest.approx(plain, rel=1e-6)
    assert free != pytest.approx(plain, rel=1e-3)
    # with no learning, the loss after the ramp is that of the free run
    _, records, _ = trained(data, epochs=4, batch_size=WHOLE, learning_rate=1e-30, free_run=5, sampling_ramp=0.5)
    assert [r.values["train_loss"] for r in records[2:]] == pytest.approx([free, free], rel=1e-6)


def test_input_noise_has_the_size_asked_for() -> None:
    """A network that repeats its input errs by the noise: the loss of a one-step repeat is its variance."""
    data = prepared(num_points=4000, window=1, noise_sd=0.0, duration=1e-6 + 600.0)
    spec = rs.GRU(hidden_size=2, num_layers=1, skip=1)
    losses = []
    for noise in (0.0, 0.5):
        model = built(data, spec)
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.zero_()
            assert model.taps is not None
            model.taps.weight.fill_(1.0)
        run = started(data, model, epochs=1, batch_size=WHOLE, input_noise=noise)
        losses.append(next(iter(run)).values["train_loss"])
    assert losses[1] - losses[0] == pytest.approx(0.25, rel=0.15)


@pytest.mark.parametrize("gaps", [False, True])
def test_looking_at_windows_in_batches_is_looking_at_all(monkeypatch: pytest.MonkeyPatch, gaps: bool) -> None:
    data = with_gaps(prepared()) if gaps else prepared()
    found = []
    for size in (1024, 5):
        monkeypatch.setattr(gradient_run, "EVALUATION_BATCH", size)
        values = trained(data, epochs=1)[1][0].values
        found.append([values["validation_loss"], values["test_loss"]])
    assert found[0] == pytest.approx(found[1], rel=1e-5)


def test_what_was_not_measured_is_not_trained_on() -> None:
    data = with_gaps(prepared())
    inputs, targets = all_windows(data)
    seen = ~targets[:, -1].isnan()
    assert 0 < seen.sum() < seen.numel()
    outputs = rs.rollout(built(data), inputs).outputs[:, -1]
    wanted = (outputs[seen] - targets[:, -1][seen]).square().mean().item()
    assert loss_of_one_epoch(data) == pytest.approx(wanted, rel=1e-5)
    model, _, _ = trained(data, learning_rate=0.02, **RIDGE)
    assert all(tensor.isfinite().all() for tensor in model.state_dict().values())


# gradients


def test_one_step_is_minus_the_gradient_of_the_loss() -> None:
    data = prepared()
    inputs, targets = all_windows(data)
    model, other = built(data), built(data)
    run = started(data, model, epochs=1, batch_size=WHOLE, restore_best=False, **STEEP)
    record = next(iter(run))
    loss = (rs.rollout(other, inputs).outputs[:, -1] - targets[:, -1]).square().mean()
    loss.backward()
    norm = 0.0
    for one, before in zip(model.parameters(), other.parameters(), strict=True):
        assert before.grad is not None
        torch.testing.assert_close(one, before - before.grad, rtol=1e-4, atol=1e-6)
        norm += before.grad.square().sum().item()
    assert record.values["gradient_norm"] == pytest.approx(norm**0.5, rel=1e-4)


def test_clipping_bounds_the_step_and_reports_the_norm_before() -> None:
    data = prepared()
    free, bound = built(data), built(data)
    before = weights(free)
    unclipped = next(iter(started(data, free, epochs=1, batch_size=WHOLE, **STEEP)))
    limit = 0.1 * unclipped.values["gradient_norm"]
    clipped = next(iter(started(data, bound, epochs=1, batch_size=WHOLE, **{**STEEP, "clip_norm": limit})))
    assert clipped.values["gradient_norm"] == pytest.approx(unclipped.values["gradient_norm"], rel=1e-6)
    step = torch.cat([(before[name] - tensor).flatten() for name, tensor in bound.state_dict().items()])
    assert step.norm().item() == pytest.approx(limit, rel=1e-3)


@pytest.mark.parametrize("burn_in", [0, 6])
def test_a_carried_state_is_whole_back_propagation_where_nothing_is_truncated(burn_in: int) -> None:
    data = prepared(protocol="stream")
    (stream,) = data.streams()
    for truncation in (len(stream.inputs), WHOLE):
        model, other = built(data), built(data)
        fields = {"carry_state": True, "truncation": truncation, "batch_size": 1, "burn_in": burn_in, **STEEP}
        record = next(iter(started(data, model, epochs=1, **fields)))
        outputs = rs.rollout(other, stream.inputs[None]).outputs
        loss = (outputs[0, burn_in:] - stream.targets[burn_in:]).square().mean()
        loss.backward()
        assert record.values["train_loss"] == pytest.approx(loss.item(), rel=1e-5)
        for one, before in zip(model.parameters(), other.parameters(), strict=True):
            assert before.grad is not None
            torch.testing.assert_close(one, before - before.grad, rtol=1e-4, atol=1e-5)


def test_truncation_carries_the_state_and_cuts_the_gradient() -> None:
    data = prepared(protocol="stream", num_points=110)
    (stream,) = data.streams()
    count, truncation = 2, 20
    length = len(stream.inputs) // count
    assert length > truncation
    model, other = built(data), built(data)
    fields = {**STEEP, "learning_rate": 0.1}
    next(iter(started(data, model, epochs=1, carry_state=True, truncation=truncation, batch_size=count, **fields)))
    inputs = torch.stack([stream.inputs[-2 * length : -length], stream.inputs[-length:]])
    targets = torch.stack([stream.targets[-2 * length : -length], stream.targets[-length:]])
    state = other.initial_state(count)
    for start in range(0, length, truncation):
        run = rs.rollout(other, inputs[:, start : start + truncation], state.detach())
        state = run.final_state
        gradients = torch.autograd.grad(
            (run.outputs - targets[:, start : start + truncation]).square().mean(), list(other.parameters())
        )
        with torch.no_grad():
            for parameter, gradient in zip(other.parameters(), gradients, strict=True):
                parameter -= 0.1 * gradient
    for one, wanted in zip(model.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(one, wanted, rtol=1e-4, atol=1e-5)


def test_freezing_the_recurrence_changes_the_readout_alone() -> None:
    data = prepared()
    model = built(data, rs.LSTM(hidden_size=4, skip=2))
    before = weights(model)
    run = started(data, model, freeze_recurrent=True, learning_rate=0.01, weight_decay=0.1)
    list(run)
    run.finish()
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, before[name]) == name.startswith("layers."), name
    assert all(p.requires_grad for p in model.parameters())


# the ridge start


RIDGE = {"readout_start": "ridge", "readout_ridge": 1e-3}


@pytest.mark.parametrize("spec", [rs.GRU(hidden_size=5), rs.Elman(hidden_size=5, skip=3)])
@pytest.mark.parametrize(("count", "burn_in", "first"), [("last", 0, 7), ("all", 3, 3)])
def test_the_ridge_start_has_the_loss_of_the_ridge_solution(spec: ModelSpec, count: str, burn_in: int, first: int) -> None:
    data = prepared()
    inputs, targets = all_windows(data)
    features = built(data, spec).readout_features(inputs)[:, first:].flatten(0, 1).detach().double().numpy()
    answers = targets[:, first:].flatten(0, 1).double().numpy()
    weight, bias = ridge(features, answers, 1e-3)
    wanted = float(((features @ weight.T + bias - answers) ** 2).mean())
    found = loss_of_one_epoch(data, spec, count=count, burn_in=burn_in, **RIDGE)
    assert found == pytest.approx(wanted, rel=1e-4)
    assert found < loss_of_one_epoch(data, spec, count=count, burn_in=burn_in)


def test_the_ridge_start_along_streams_has_the_loss_of_the_ridge_solution() -> None:
    data, spec = prepared(protocol="stream"), rs.GRU(hidden_size=5, num_layers=1)
    (stream,) = data.streams()
    features = built(data, spec).readout_features(stream.inputs[None])[0, 4:].detach().double().numpy()
    answers = stream.targets[4:].double().numpy()
    weight, bias = ridge(features, answers, 1e-3)
    wanted = float(((features @ weight.T + bias - answers) ** 2).mean())
    fields = {"carry_state": True, "truncation": WHOLE, "burn_in": 4, "count": "all", **RIDGE}
    assert trained(data, spec, epochs=1, batch_size=1, **fields)[1][0].values["train_loss"] == pytest.approx(wanted, rel=1e-4)


def test_the_ridge_start_changes_the_readout_alone() -> None:
    data = prepared()
    model = built(data)
    before = weights(model)
    list(started(data, model, epochs=1, learning_rate=1e-30, **RIDGE))
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, before[name]) == name.startswith("layers."), name


def test_the_ridge_start_of_a_gaussian_head_does_not_take_means_for_spreads() -> None:
    """Only the means are linear in the features. Refusing is right, too."""
    data = prepared(head="gaussian")
    model = built(data)
    run = started(data, model, epochs=1, learning_rate=1e-30, **RIDGE)
    try:
        list(run)
    except rs.ConfigError:
        return
    assert not torch.allclose(model.head.weight[0], model.head.weight[1])


# choosing and stopping


def test_the_best_weights_are_a_copy() -> None:
    data = prepared()
    model = built(data)
    run = started(data, model, epochs=12, learning_rate=0.3)
    best, kept = np.inf, {}
    for record in run:
        if record.values["validation_loss"] < best:
            best, kept = record.values["validation_loss"], weights(model)
    assert not equal(weights(model), kept), "choose a rate at which the last epoch is not the best"
    outcome = run.finish()
    assert equal(weights(model), kept)
    assert (outcome.score, outcome.criterion) == (best, "validation loss")
    assert outcome.reason == "completed"


def test_the_weights_that_are_kept_have_the_score_that_is_told() -> None:
    data = prepared()
    model, _, outcome = trained(data, epochs=8, learning_rate=0.1)
    assert data.validation is not None
    batch = data.validation.gather(np.arange(len(data.validation)))
    with torch.no_grad():
        loss = (model(batch.inputs)[:, -1] - batch.targets[:, -1]).square().mean().item()
    assert loss == pytest.approx(outcome.score, rel=1e-5)


def test_without_restoring_the_last_weights_stay() -> None:
    data = prepared()
    model = built(data)
    run = started(data, model, epochs=12, learning_rate=0.3, restore_best=False)
    records = list(run)
    last = weights(model)
    outcome = run.finish()
    assert equal(weights(model), last)
    assert outcome.best_epoch == records[-1].epoch == 12


def test_without_a_validation_part_nothing_is_chosen() -> None:
    _, records, outcome = trained(prepared(split=rs.Split(test=0.25)), patience=1, learning_rate=0.3, epochs=6)
    assert len(records) == outcome.best_epoch == 6
    assert outcome.criterion == "training loss"
    assert outcome.score == records[-1].values["train_loss"]


@pytest.mark.parametrize("patience", [1, 3])
def test_early_stopping_stops_after_its_patience(patience: int) -> None:
    """A rate too small to change any weight: the first epoch stays the best."""
    _, records, outcome = trained(prepared(), epochs=20, patience=patience, learning_rate=1e-30)
    assert len(records) == 1 + patience
    assert outcome.best_epoch == 1
    assert "early stopping" in outcome.reason


def test_a_stopped_run_stays_stopped() -> None:
    data = prepared()
    run = started(data, built(data), epochs=20, patience=2, learning_rate=1e-30)
    assert len(list(run)) == 3
    assert not list(run)


def test_a_plateau_halves_the_rate_and_a_schedule_reaches_its_end() -> None:
    _, records, _ = trained(prepared(), epochs=6, schedule="plateau", patience=4, learning_rate=1e-30)
    rates = [r.values["learning_rate"] / 1e-30 for r in records]
    assert rates == [1, 1, 1, 0.5, 0.5]
    _, records, _ = trained(prepared(), epochs=200, batch_size=WHOLE, schedule="cosine", final_rate=0.1, learning_rate=0.01)
    assert records[0].values["learning_rate"] == pytest.approx(0.01)
    assert records[-1].values["learning_rate"] == pytest.approx(0.001, rel=0.01)


def test_records_count_epochs_from_one_and_time_grows() -> None:
    _, records, outcome = trained(prepared())
    assert [r.epoch for r in records] == [1, 2, 3, 4]
    seconds = [r.values["seconds"] for r in records]
    assert seconds == sorted(seconds)
    assert outcome.seconds == seconds[-1]


def test_training_that_explodes_goes_back_and_on_at_half_the_rate() -> None:
    data = prepared()
    with pytest.raises(rs.TrainingError, match=r"in epoch 1 \(after 2 retries"):
        list(started(data, built(data, RECTIFIED), epochs=3, retries=2, **WILD))
    model = built(data, RECTIFIED)
    run = started(data, model, epochs=3, retries=40, **WILD)
    records = list(run)
    outcome = run.finish()
    retried = run.retried
    assert [r.epoch for r in records] == [1, 2, 3]
    assert retried >= 3
    assert outcome.reason == f"completed, after {retried} retries at half the learning rate each"
    assert records[-1].values["learning_rate"] == 1e4 / 2**retried
    calm = started(data, built(data, RECTIFIED), epochs=3, **(WILD | {"learning_rate": 1e4 / 2**retried}))
    if all(r.values["learning_rate"] == records[-1].values["learning_rate"] for r in records):
        np.testing.assert_array_equal([r.values["train_loss"] for r in calm], [r.values["train_loss"] for r in records])


def test_retries_that_are_not_needed_change_nothing() -> None:
    data = prepared()
    one, other = built(data), built(data)
    list(started(data, one, epochs=3))
    list(started(data, other, epochs=3, retries=3))
    assert equal(weights(one), weights(other))


def test_a_rising_momentum_needs_an_optimiser_that_has_one() -> None:
    with pytest.raises(rs.ConfigError, match=r"trainer\.momentum_schedule") as caught:
        started(prepared(), built(prepared()), momentum_schedule="rising")
    assert caught.value.remedy == "set trainer.optimizer=sgd"


def test_a_rising_momentum_of_one_half_is_plain_nesterov_momentum_for_250_updates() -> None:
    data, found = prepared(), []
    for fields in ({"momentum": 0.99, "momentum_schedule": "rising"}, {"momentum": 0.5}):
        model = built(data)
        list(started(data, model, epochs=2, optimizer="sgd", learning_rate=0.01, **fields))
        found.append(weights(model))
    assert equal(*found)


# resuming


def through_disk(checkpoint: Checkpoint) -> Checkpoint:
    """What a run folder does to a checkpoint."""
    tensors = {name: tensor.contiguous() for name, tensor in checkpoint.tensors.items()}
    return Checkpoint(load(save(tensors)), json.loads(json.dumps(checkpoint.values, allow_nan=False)))


DEEP = rs.LSTM(hidden_size=3, dropout=0.4)
RECTIFIED = rs.Elman(hidden_size=8, num_layers=1, nonlinearity="relu")
WILD: dict[str, Any] = {"optimizer": "sgd", "learning_rate": 1e4, "clip_norm": 0.0}
SITUATIONS: dict[str, tuple[ModelSpec, dict[str, Any], dict[str, Any]]] = {
    "adam": (SMALL, {}, {}),
    "adamw": (SMALL, {}, {"optimizer": "adamw", "weight_decay": 0.1}),
    "sgd": (SMALL, {}, {"optimizer": "sgd", "learning_rate": 0.05}),
    "sgd without momentum": (SMALL, {}, {"optimizer": "sgd", "momentum": 0.0, "learning_rate": 0.05}),
    "rising momentum": (SMALL, {}, {"optimizer": "sgd", "momentum": 0.99, "momentum_schedule": "rising", "low_momentum": 0.4}),
    "dropout": (DEEP, {}, {}),
    "input noise": (SMALL, {}, {"input_noise": 0.2}),
    "scheduled sampling": (SMALL, {}, {"free_run": 4, "teacher_forcing": 0.3, "sampling_ramp": 0.5, "count": "all"}),
    "all of these": (DEEP, {}, {"input_noise": 0.1, "free_run": 3, "teacher_forcing": 0.5, "optimizer": "adamw"}),
    "schedule": (SMALL, {}, {"schedule": "cosine", "warmup": 0.3}),
    "early stopping": (SMALL, {}, {"patience": 2, "learning_rate": 1.0, "schedule": "plateau", "epochs": 30}),
    "no validation part": (SMALL, {"split": rs.Split(test=0.3)}, {}),
    "ridge start": (SMALL, {}, {"readout_start": "ridge"}),
    "frozen": (SMALL, {}, {"freeze_recurrent": True}),
    "carried state": (DEEP, {"protocol": "stream"}, {"carry_state": True, "truncation": 7, "batch_size": 3}),
    "gaussian": (SMALL, {"head": "gaussian"}, {}),
    "retries": (RECTIFIED, {}, WILD | {"retries": 40}),
}


@pytest.mark.parametrize("situation", SITUATIONS)
def test_a_resumed_run_is_the_uninterrupted_one_bit_for_bit(situation: str) -> None:
    spec, task, fields = SITUATIONS[situation]
    data, fields = prepared(**task), {"epochs": 6, "learning_rate": 0.02, **fields}
    model = built(data, spec)
    whole = started(data, model, **fields)
    wanted = list(whole)
    live, outcome = weights(model), whole.finish()
    assert len(wanted) >= 4
    for stop in (1, 3):
        first = started(data, built(data, spec), **fields)
        early = list(itertools.islice(first, stop))
        kept = through_disk(first.checkpoint())
        resumed_model = built(data, spec, seed=99)
        second = started(data, resumed_model, seed=99, **fields)  # nothing of its own start may matter
        second.restore(kept)
        late = list(second)
        assert numbers(early + late) == numbers(wanted)
        assert equal(weights(resumed_model), live)
        found = second.finish()
        assert equal(weights(resumed_model), weights(model))
        assert (found.reason, found.best_epoch, found.score, found.criterion) == (
            outcome.reason,
            outcome.best_epoch,
            outcome.score,
            outcome.criterion,
        )


def test_a_finished_run_can_be_restored_and_does_no_more() -> None:
    data = prepared()
    for fields in ({"epochs": 3}, {"epochs": 20, "patience": 2, "learning_rate": 1e-30}):
        model, other = built(data), built(data, seed=9)
        run, again = started(data, model, **fields), started(data, other, **fields)
        list(run)
        again.restore(through_disk(run.checkpoint()))
        assert not list(again)
        assert again.finish() == run.finish()
        assert equal(weights(model), weights(other))


def test_a_checkpoint_of_a_run_that_has_done_nothing_is_its_beginning() -> None:
    data = prepared()
    wanted = trained(data)
    kept = through_disk(started(data, built(data)).checkpoint())
    model = built(data, seed=9)
    run = started(data, model, seed=9)
    run.restore(kept)
    assert numbers(list(run)) == numbers(wanted[1])


def test_a_checkpoint_does_not_change_when_training_goes_on() -> None:
    data = prepared()
    run = started(data, built(data), epochs=5)
    records = iter(run)
    next(records)
    kept = run.checkpoint()
    before = {name: tensor.clone() for name, tensor in kept.tensors.items()}, json.dumps(kept.values)
    list(records)
    assert equal(kept.tensors, before[0])
    assert json.dumps(kept.values) == before[1]


def test_a_checkpoint_can_be_restored_twice() -> None:
    data = prepared()
    for optimizer in ("adam", "sgd"):
        run = started(data, built(data), optimizer=optimizer)
        next(iter(run))
        kept = run.checkpoint()
        before = {name: tensor.clone() for name, tensor in kept.tensors.items()}
        found = []
        for _ in range(2):
            run.restore(kept)
            found.append(numbers(list(run)))
        assert found[0] == found[1]
        assert equal(kept.tensors, before)


# refusals


def test_a_loss_that_leaves_the_finite_numbers_names_the_epoch_and_the_remedy() -> None:
    data = prepared()
    run = started(data, built(data, rs.Elman(nonlinearity="relu")), epochs=50, **{**STEEP, "learning_rate": 300.0})
    losses: list[float] = []
    with pytest.raises(rs.TrainingError) as caught:
        losses.extend(record.values["train_loss"] for record in run)
    assert np.isfinite(losses).all()
    assert f"epoch {len(losses) + 1}:" in caught.value.found
    assert "trainer.learning_rate=30 (it is 300)" in caught.value.remedy
    assert "trainer.clip_norm=1" in caught.value.remedy
    assert caught.value.expected


class Blind(rs.SequenceModel):
    """A model without recurrence and without a linear readout of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(1, 1)

    def forward(
        self,
        inputs: Tensor,
        lengths: Tensor | None = None,
        *,
        rng: torch.Generator | None = None,
        last: int | None = None,
    ) -> Tensor:
        return self.inner(inputs if last is None else inputs[:, -last:])

    def systems(self) -> dict[str, rs.DynamicalSystem]:
        return {}


def test_a_model_without_recurrence_is_trained_and_refused_what_it_cannot_do() -> None:
    data = prepared()
    assert len(list(rs.BPTT(epochs=2).start(Blind(), data, Streams(0)))) == 2
    for fields, message in (
        ({"free_run": 3}, "0 recurrent systems"),
        ({"carry_state": True}, "0 recurrent systems"),
        ({"readout_start": "ridge"}, "no linear readout"),
    ):
        with pytest.raises(rs.ConfigError, match=message):
            list(rs.BPTT(**fields).start(Blind(), data, Streams(0)))


# whole experiments


def trained_weights(experiment: rs.Experiment, folder: Path) -> dict[str, Tensor]:
    """What a run has in model.safetensors, without the scores and figures that follow."""
    run_folder = open_folder(experiment, folder)
    for event in walk(experiment, run_folder):
        if isinstance(event, Stage) and event.text.startswith("scoring"):
            break
    return run_folder.read_tensors("model.safetensors")


def test_other_models_and_repeats_in_the_experiment_change_no_weight_of_the_first(small: rs.Experiment, tmp_path: Path) -> None:
    alone = trained_weights(small, tmp_path)
    assert {name.split("/")[0] for name in alone} == {"gru"}
    more = small.but(models={"first": rs.Elman(hidden_size=3, num_layers=1), **small.models}, num_seeds=2)
    beside = trained_weights(more, tmp_path)
    assert {name.split("/")[0] for name in beside} == {"first", "gru"}
    assert all(torch.equal(beside[name], tensor) for name, tensor in alone.items())
    second = {name.replace("/0/", "/1/"): tensor for name, tensor in alone.items()}
    assert not any(torch.equal(beside[name], tensor) for name, tensor in second.items())
