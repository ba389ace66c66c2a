"""Training by transport and likelihood: it repeats, stops and resumes bit for bit, chooses honestly, and says what is wrong."""

import copy
import dataclasses
import json
import math
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load, save
from torch import Tensor, nn

import rnnscope as rs
from rnnscope.core.interfaces import Checkpoint, Record
from rnnscope.core.random import Streams
from rnnscope.markov.emulation import EmulationData
from rnnscope.training import transport as module
from rnnscope.training.transport_run import TransportRun, _milestones

TASK = rs.HiddenMarkov(num_states=2, transition="end_to_end", emission="linear", num_sequences=96, num_steps=6, noise_size=3)
NETWORK = rs.Elman(nonlinearity="relu", hidden_size=6, num_layers=1, bias=False, readout_bias=False)
LIKELIHOOD = rs.Stage(objective="likelihood", epochs=3, batch_size=16, learning_rate=1e-2, carry=0.5, word=2)
TRANSPORT = rs.Stage(objective="transport", debias="independent", epochs=2, batch_size=16, learning_rate=1e-2)
SETTINGS: dict[str, Any] = {"stages": (LIKELIHOOD, TRANSPORT), "validation_size": 24, "keep_epochs": 3}


@pytest.fixture(scope="module")
def data() -> EmulationData:
    return TASK.prepare(Streams(0))


def built(data: EmulationData, spec: Any = NETWORK, seed: int = 0) -> Any:
    return spec.build(data.signature, Streams(seed).at("init").torch())


def started(data: EmulationData, seed: int = 0, model: Any = None, **fields: Any) -> TransportRun:
    trainer = rs.Transport(**{**SETTINGS, **fields})
    return trainer.start(built(data) if model is None else model, data, Streams(seed).at("training"))


def weights(model: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def equal(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(tensor, other[name]) for name, tensor in one.items())


def numbers(records: list[Record]) -> str:
    """What repeats: everything but the time taken, as text, in which NaN equals NaN."""
    return repr([{"epoch": r.epoch, **{k: v for k, v in r.values.items() if k != "seconds"}} for r in records])


# the loop


def test_training_is_an_iterator_of_records(data: EmulationData) -> None:
    run = started(data)
    records = list(run)
    assert [r.epoch for r in records] == [1, 2, 3, 4, 5] == list(range(1, run.total_epochs + 1))
    assert [r.values["stage"] for r in records] == [1, 1, 1, 2, 2]
    for record in records:
        for name in ("train_loss", "validation_loss", "validation_ratio", "learning_rate", "gradient_norm", "largest_state"):
            assert math.isfinite(record.values[name]), name
        assert 0 <= record.values["switch_rate"] <= 1
    outcome = run.finish()
    assert outcome.criterion == "validation loss"
    assert outcome.best_epoch in (3, 4, 5)  # chosen among the last half
    assert not run.model.training


def test_the_likelihood_rises(data: EmulationData) -> None:
    run = started(data, stages=(LIKELIHOOD.but(epochs=12),))
    losses = [r.values["train_loss"] for r in run]
    assert np.mean(losses[-3:]) < losses[0] - 0.05


@pytest.mark.parametrize("debias", ["self", "independent"])
@pytest.mark.parametrize("output", ["straight_through", "soft"])
def test_transport_trains_in_every_form(data: EmulationData, debias: str, output: str) -> None:
    run = started(data, stages=(TRANSPORT.but(epochs=1, debias=debias, output=output, num_steps=4),))
    before = weights(run.model)
    (record,) = run
    assert record.values["gradient_norm"] > 0
    assert not equal(before, weights(run.model))


@pytest.mark.parametrize(
    "spec",
    [
        rs.GRU(hidden_size=4),
        rs.LSTM(hidden_size=4),
        rs.Elman(hidden_size=4, num_layers=2),
    ],
    ids=["gru", "lstm", "two layers"],
)
def test_any_recurrent_network_is_trained(data: EmulationData, spec: Any) -> None:
    run = started(data, model=built(data, spec), stages=(LIKELIHOOD.but(epochs=1), TRANSPORT.but(epochs=1)))
    assert len(list(run)) == 2
    assert math.isfinite(run.finish().score)


def test_the_same_seed_gives_the_same_weights_bit_for_bit_and_another_seed_others(data: EmulationData) -> None:
    runs = [started(data, seed=seed, averaging=0.9) for seed in (0, 0, 1)]
    texts = [numbers(list(run)) for run in runs]
    for run in runs:
        run.finish()
    assert texts[0] == texts[1] != texts[2]
    assert equal(weights(runs[0].model), weights(runs[1].model))
    assert not equal(weights(runs[0].model), weights(runs[2].model))


def test_training_leaves_global_random_states_and_the_data_alone(data: EmulationData) -> None:
    before = torch.get_rng_state(), repr(np.random.get_state()), data.train.symbols.copy()  # noqa: NPY002
    list(started(data, stages=(LIKELIHOOD.but(epochs=1), TRANSPORT.but(epochs=1))))
    assert torch.equal(torch.get_rng_state(), before[0])
    assert repr(np.random.get_state()) == before[1]  # noqa: NPY002
    np.testing.assert_array_equal(data.train.symbols, before[2])


def test_the_test_part_is_never_looked_at_and_the_validation_part_never_trained_on(data: EmulationData) -> None:
    other_test = data.but(test=dataclasses.replace(data.test, symbols=1 - data.test.symbols.clip(0, 1)))
    other_validation = data.but(validation=data.test)
    runs = [started(d) for d in (data, other_test, other_validation)]
    texts = [list(run) for run in runs]
    assert numbers(texts[0]) == numbers(texts[1])
    assert [r.values["train_loss"] for r in texts[0]] == [r.values["train_loss"] for r in texts[2]]
    assert texts[0][-1].values["validation_loss"] != texts[2][-1].values["validation_loss"]
    assert equal(weights(runs[0].model), weights(runs[2].model))


@pytest.mark.parametrize("initial", ["zero", "normal"])
def test_either_initial_state_is_trained_from(initial: str) -> None:
    own = TASK.but(initial_state=initial).prepare(Streams(0))
    assert len(list(started(own, stages=(LIKELIHOOD.but(epochs=1),)))) == 1


def test_a_validation_now_and_then_and_always_at_the_end(data: EmulationData) -> None:
    records = list(started(data, validate_every=2))
    assert [math.isfinite(r.values["validation_loss"]) for r in records] == [False, True, False, True, True]


def test_the_learning_rate_follows_the_schedule_of_each_stage(data: EmulationData) -> None:
    stages = (LIKELIHOOD.but(schedule="cosine", final_rate=0.1), TRANSPORT.but(learning_rate=3e-4))
    rates = [r.values["learning_rate"] for r in started(data, stages=stages)]
    assert 1e-2 > rates[0] > rates[1] > rates[2] >= 1e-3
    assert rates[3] == rates[4] == 3e-4


def test_a_penalty_keeps_the_states_smaller(data: EmulationData) -> None:
    largest = [
        list(started(data, stages=(LIKELIHOOD.but(state_penalty=p, epochs=8),)))[-1].values["largest_state"]
        for p in (0.0, 10.0)
    ]
    assert largest[1] < largest[0]


def test_the_gradient_norm_is_clipped(data: EmulationData) -> None:
    stages = (LIKELIHOOD.but(epochs=1, batch_size=32, carry=0.0),)
    moved = []
    for clip in (1e-3, 0.0):
        run = started(data, stages=stages, clip_norm=clip)
        (record,) = run
        moved.append(sum(float(p.grad.norm() ** 2) for p in run.model.parameters()) ** 0.5)
        assert record.values["gradient_norm"] > 1e-3  # as it was before
    assert moved[0] == pytest.approx(1e-3, rel=1e-3)
    assert moved[1] > 1e-3


# stopping and going on


def on_disk(checkpoint: Checkpoint) -> Checkpoint:
    """Written and read as a run folder does."""
    return Checkpoint(load(save(checkpoint.tensors)), json.loads(json.dumps(checkpoint.values, allow_nan=False)))


@pytest.mark.parametrize("epoch", [1, 3, 4], ids=["mid-stage", "between the stages", "in the second stage"])
@pytest.mark.parametrize("averaging", [0.0, 0.9], ids=["plain", "averaged"])
def test_a_resumed_training_goes_on_bit_for_bit(data: EmulationData, epoch: int, averaging: float) -> None:
    whole = started(data, averaging=averaging)
    records = list(whole)
    first = started(data, averaging=averaging)
    steps = iter(first)
    begun = [next(steps) for _ in range(epoch)]
    saved = on_disk(first.checkpoint())
    again = started(data, averaging=averaging, model=built(data, seed=99))
    again.restore(saved)
    assert numbers(begun + list(again)) == numbers(records)
    assert equal(weights(again.model), weights(whole.model))
    one, other = whole.finish(), again.finish()
    assert (one.reason, one.best_epoch, one.score) == (other.reason, other.best_epoch, other.score)
    assert equal(weights(again.model), weights(whole.model))
    assert one.development.keys() == other.development.keys()
    assert all(equal(one.development[e], other.development[e]) for e in one.development)


def test_a_checkpoint_is_a_copy(data: EmulationData) -> None:
    run = started(data, averaging=0.9)
    steps = iter(run)
    next(steps)
    saved = run.checkpoint()
    kept = {name: tensor.clone() for name, tensor in saved.tensors.items()}
    list(steps)
    assert equal(saved.tensors, kept)


def test_a_checkpoint_before_the_first_epoch_can_be_restored(data: EmulationData) -> None:
    run = started(data)
    run.restore(on_disk(run.checkpoint()))
    assert numbers(list(run)) == numbers(list(started(data)))


def test_a_finished_training_that_is_restored_has_nothing_left_to_do(data: EmulationData) -> None:
    run = started(data)
    list(run)
    again = started(data)
    again.restore(on_disk(run.checkpoint()))
    assert list(again) == []
    assert again.finish().score == run.finish().score


# choosing


def test_the_best_weights_are_a_real_copy(data: EmulationData) -> None:
    run = started(data, select=1.0)
    next(iter(run))
    assert run.best is not None
    kept = {name: tensor.clone() for name, tensor in run.best.items()}
    with torch.no_grad():
        for parameter in run.model.parameters():
            parameter.add_(1.0)
    assert equal(run.best, kept)
    run.finish()
    assert equal(weights(run.model), kept)


def test_the_chosen_weights_have_the_score_that_is_told(data: EmulationData) -> None:
    run = started(data, averaging=0.5, select=1.0)
    records = list(run)
    outcome = run.finish()
    scores = [run.floor + abs(r.values["validation_loss"] - run.floor) for r in records]
    assert outcome.score == min(scores)
    assert outcome.best_epoch == 1 + int(np.argmin(scores))
    run.average = weights(run.model)
    assert run._validate()["validation_loss"] == records[outcome.best_epoch - 1].values["validation_loss"]


def test_weights_are_averaged_over_steps(data: EmulationData) -> None:
    run = started(data, averaging=0.9, stages=(LIKELIHOOD.but(epochs=1, batch_size=32),))
    before = weights(run.model)
    list(run)
    # one step: the decay is at most 1/11 at first, so that the start is forgotten soon
    for name, tensor in run.model.state_dict().items():
        torch.testing.assert_close(run.average[name], before[name] / 11 + tensor * 10 / 11)
    run.finish()
    assert equal(weights(run.model), run.average)


def test_the_average_is_validated_and_the_training_goes_on_from_the_weights(data: EmulationData) -> None:
    plain, averaged = started(data), started(data, averaging=0.99)
    first, second = list(plain), list(averaged)
    assert [r.values["train_loss"] for r in first] == [r.values["train_loss"] for r in second]
    assert equal(weights(plain.model), weights(averaged.model))
    assert [r.values["validation_loss"] for r in first] != [r.values["validation_loss"] for r in second]


@pytest.mark.parametrize("averaging", [0.0, 0.9])
def test_weights_are_kept_on_the_way(data: EmulationData, averaging: float) -> None:
    run = started(data, averaging=averaging, keep_epochs=3)
    seen: dict[int, dict[str, Tensor]] = {}
    for record in run:
        seen[record.epoch] = copy.deepcopy(run.average) if averaging else weights(run.model)
    kept = run.finish().development
    assert list(kept) == [1, 2, 5]
    assert all(equal(kept[e], seen[e]) for e in kept)


def test_no_weights_are_kept_where_none_are_asked_for(data: EmulationData) -> None:
    run = started(data, keep_epochs=0)
    list(run)
    assert run.finish().development == {}


@pytest.mark.parametrize("total", [1, 2, 7, 500])
@pytest.mark.parametrize("count", [1, 2, 12])
def test_milestones_lie_inside_the_training_with_the_first_and_the_last(total: int, count: int) -> None:
    found = _milestones(total, count)
    assert 1 in found
    assert found <= set(range(1, total + 1))
    assert len(found) <= count
    if count > 1:
        assert total in found


def test_a_plateau_is_named_in_the_outcome(data: EmulationData) -> None:
    run = started(data, stages=(LIKELIHOOD.but(epochs=1, learning_rate=1e-9),))
    run.floor, run.chance = 0.1, 0.2  # as if sequences of the HMM were much closer than this network's
    list(run)
    assert "plateau of independent symbols" in run.finish().reason


def test_an_untrained_network_stays_on_the_plateau() -> None:
    own = TASK.but(num_sequences=600, num_steps=30).prepare(Streams(0))
    run = started(own, stages=(LIKELIHOOD.but(epochs=1, batch_size=200, learning_rate=1e-9),), validation_size=200)
    list(run)
    assert run.floor < run.chance
    assert "plateau" in run.finish().reason


# what goes wrong


@pytest.mark.parametrize("averaging", [0.0, 0.9])
def test_a_weight_that_is_no_number_ends_training_with_a_remedy(data: EmulationData, averaging: float) -> None:
    model = built(data)
    with torch.no_grad():
        next(model.parameters())[0, 0] = math.nan
    run = started(data, model=model, averaging=averaging, stages=(LIKELIHOOD.but(epochs=30),))
    with pytest.raises(rs.TrainingError, match="left the finite numbers in epoch") as caught:
        list(run)
    assert "learning_rate" in caught.value.remedy
    assert isinstance(caught.value, ArithmeticError)


def test_a_huge_learning_rate_ends_training_with_a_remedy(data: EmulationData) -> None:
    stages = (LIKELIHOOD.but(epochs=20, learning_rate=1e30),)
    run = started(data, stages=stages)
    with pytest.raises(rs.TrainingError) as caught:
        [*run, run.finish()]
    assert "lower the learning rate" in caught.value.remedy


def test_a_step_that_left_the_numbers_goes_back_to_the_average(data: EmulationData, monkeypatch: pytest.MonkeyPatch) -> None:
    run = started(data, averaging=0.9, stages=(LIKELIHOOD.but(epochs=2),))
    steps = iter(run)
    next(steps)
    average, honest, calls = weights_of(run.average), run._loss, []

    def spoiled(stage: Any, batch: Tensor) -> Tensor:
        calls.append(weights(run.model))
        return honest(stage, batch) * (math.nan if len(calls) == 1 else 1.0)

    monkeypatch.setattr(run, "_loss", spoiled)
    list(steps)
    assert run.resets == 1
    assert equal(calls[1], average)
    assert all(torch.isfinite(t).all() for t in run.model.state_dict().values())


def weights_of(given: dict[str, Tensor] | None) -> dict[str, Tensor]:
    assert given is not None
    return {name: tensor.clone() for name, tensor in given.items()}


def test_a_step_that_was_undone_does_not_count_in_the_training_loss(
    data: EmulationData, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = started(data, averaging=0.9, stages=(LIKELIHOOD.but(epochs=1),))
    honest, calls = run._loss, []

    def spoiled(stage: Any, batch: Tensor) -> Tensor:
        calls.append(float(honest(stage, batch).detach()))
        return honest(stage, batch) * (math.nan if len(calls) == 1 else 0.0) + 1.0

    monkeypatch.setattr(run, "_loss", spoiled)
    (record,) = run
    assert record.values["train_loss"] == pytest.approx(1.0)


def test_finishing_before_anything_was_validated_is_refused(data: EmulationData) -> None:
    with pytest.raises(rs.TrainingError, match="nothing to keep"):
        started(data).finish()


# what is refused


def test_a_batch_larger_than_the_training_part_is_refused_with_the_largest(data: EmulationData) -> None:
    with pytest.raises(rs.ConfigError, match=r"trainer.stages.1.batch_size is 33, but there are 32 training") as caught:
        started(data, stages=(LIKELIHOOD, TRANSPORT.but(batch_size=33)))
    assert "trainer.stages.1.batch_size=32" in caught.value.remedy
    assert "task.num_sequences" in caught.value.remedy


def test_a_batch_too_large_for_memory_is_refused_with_the_largest(data: EmulationData, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MATRIX_LIMIT", 4 * 15**2)
    started(data, stages=(TRANSPORT.but(batch_size=15),))
    with pytest.raises(rs.ConfigError, match=r"trainer[.]stages[.]0[.]batch_size is 16: one matrix") as caught:
        started(data, stages=(TRANSPORT.but(batch_size=16),))
    assert "trainer.stages.0.batch_size=15" in caught.value.remedy


@pytest.mark.parametrize("steps", [1, 7])
def test_a_stage_of_another_length_than_the_task_allows_is_refused(data: EmulationData, steps: int) -> None:
    with pytest.raises(rs.ConfigError, match=f"trainer.stages.0.num_steps is {steps}") as caught:
        started(data, stages=(LIKELIHOOD.but(num_steps=steps),))
    assert "2 … 6" in caught.value.expected


def test_words_longer_than_the_roll_out_are_refused(data: EmulationData) -> None:
    with pytest.raises(rs.ConfigError, match=r"trainer[.]stages[.]0[.]word is 4"):
        started(data, stages=(LIKELIHOOD.but(num_steps=3, word=4),))
    started(data, stages=(LIKELIHOOD.but(num_steps=4, word=4),))
    started(data, stages=(TRANSPORT.but(num_steps=3, word=4),))  # which does not use it


def test_no_stages_are_refused(data: EmulationData) -> None:
    with pytest.raises(rs.ConfigError, match=r"trainer[.]stages is empty"):
        started(data, stages=())


def test_a_task_without_symbol_sequences_is_refused() -> None:
    sine = rs.Oscillation(num_points=90, window=8).prepare(Streams(0))
    model = NETWORK.build(sine.signature, torch.Generator().manual_seed(0))
    with pytest.raises(rs.ConfigError, match="transport needs sets of symbol sequences") as caught:
        rs.Transport().start(model, sine, Streams(0))
    assert "hidden_markov" in caught.value.expected
    assert "trainer.kind=bptt" in caught.value.remedy


def test_gradient_training_refuses_symbol_sequences(data: EmulationData) -> None:
    with pytest.raises(rs.ConfigError, match="bptt needs a target for every input") as caught:
        rs.BPTT().start(built(data), data, Streams(0))
    assert "trainer.kind=transport" in caught.value.remedy


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"batch_size": 0}, "batch_size"),
        ({"learning_rate": 0.0}, "learning_rate"),
        ({"objective": "likelyhood"}, "objective"),
        ({"blur": -1.0}, "blur"),
        ({"temperature": 0.0}, "temperature"),
        ({"carry": 1.5}, "carry"),
        ({"step": 3}, "step"),
    ],
)
def test_a_field_of_a_stage_out_of_range_is_named(fields: dict[str, Any], named: str) -> None:
    with pytest.raises(rs.ConfigError, match=named):
        rs.Stage(**fields)


@pytest.mark.parametrize("stage", [LIKELIHOOD, TRANSPORT], ids=["likelihood", "transport"])
def test_a_batch_of_one_is_refused(data: EmulationData, stage: rs.Stage) -> None:
    with pytest.raises(rs.ConfigError, match="batch_size is 1"):
        started(data, stages=(stage.but(batch_size=1, epochs=1),))


def test_a_rest_of_one_sequence_does_no_harm(data: EmulationData) -> None:
    short = data.but(train=dataclasses.replace(data.train, symbols=data.train.symbols[:9], states=data.train.states[:9]))
    run = started(short, stages=(LIKELIHOOD.but(batch_size=4, epochs=1, carry=0.0),))
    (record,) = run
    assert math.isfinite(record.values["train_loss"])
