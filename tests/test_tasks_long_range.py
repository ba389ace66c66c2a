"""Long-range tasks: their rules by brute force, exact balance, trivial answers, and bad fields."""

import math

import numpy as np
import pytest
import torch

import rnnscope as rs
from rnnscope.core.labelled import LabelledData
from rnnscope.core.random import Streams
from rnnscope.core.step_data import StepData, step_set
from rnnscope.evaluation.steps import Steps
from rnnscope.evaluation.steps_scores import CONSTANT, RULE, fit_short_memory, judge, result_of
from rnnscope.tasks.long_range import order_places

SMALL = {"num_train": 200, "num_validation": 20, "num_test": 40, "num_longer": 12}
TASKS = (rs.Adding, rs.Copy, rs.MemoryDelay, rs.TemporalOrder)


def prepared(kind: type, seed: int = 0, **fields):
    return kind(**{**SMALL, **fields}).prepare(Streams(seed))


# the rules


@pytest.mark.parametrize("length", [2, 3, 20, 31])
def test_the_sum_of_the_two_marked_numbers_is_asked_for_at_the_end(length):
    part = prepared(rs.Adding, length=length).train
    numbers, marks = part.inputs.numpy().transpose(2, 0, 1)
    assert set(np.unique(marks)) <= {0.0, 1.0}
    assert (marks[:, : length // 2].sum(1) == 1).all()
    assert (marks[:, length // 2 :].sum(1) == 1).all()
    for row in range(10):
        expected = sum(float(u) for u, m in zip(numbers[row], marks[row], strict=True) if m)
        assert part.targets[row, -1, 0].item() == pytest.approx(expected, abs=1e-6)
    assert torch.isfinite(part.targets).sum() == len(part)
    first = marks.argmax(1)
    np.testing.assert_array_equal(part.age[:, -1, 0], length - 1 - first)


def test_marks_stand_anywhere_in_their_half_with_equal_odds():
    marks = prepared(rs.Adding, length=10, num_train=5000).train.inputs[:, :, 1].mean(0)
    assert (marks - 0.2).abs().max() < 4 * math.sqrt(0.2 * 0.8 / 5000)


def test_the_constant_has_the_error_of_the_sum_s_variance():
    data = prepared(rs.Adding, num_train=4000, num_test=4000, length=20)
    scores = Steps().references(data, Streams(0))
    assert scores[CONSTANT].scores["test"]["mse"] == pytest.approx(1 / 6, abs=0.01)
    assert scores[RULE].scores["test"]["mse"] == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize(("length", "kept", "symbols"), [(1, 1, 2), (7, 3, 4), (20, 10, 8)])
def test_the_first_symbols_are_asked_for_after_the_cue(length, kept, symbols):
    part = prepared(rs.Copy, length=length, num_copied=kept, num_symbols=symbols).train
    read, steps = part.inputs.numpy(), 2 * kept + length
    assert read.shape == (200, steps, symbols + 2)
    assert (read.sum(2) == 1).all()
    assert (read[:, kept : kept + length - 1, symbols] == 1).all()
    assert (read[:, kept + length - 1, symbols + 1] == 1).all()
    assert (read[:, kept + length :, symbols] == 1).all()
    asked = torch.isfinite(part.targets[:, :, 0])
    assert asked[0].nonzero()[:, 0].tolist() == list(range(steps - kept, steps))
    np.testing.assert_array_equal(part.targets[:, -kept:].numpy(), read[:, :kept, :symbols])
    assert set(np.unique(part.age)) == {0, length + kept}


def test_an_answer_without_memory_has_the_cross_entropy_of_chance_and_the_rule_none():
    data = prepared(rs.Copy, length=10, num_copied=4, num_train=2000, num_test=2000)
    found = Steps(latest=(1, 3)).references(data, Streams(0))
    for name in (CONSTANT, "latest1", "latest3"):
        assert found[name].scores["test"]["cross_entropy"] == pytest.approx(math.log(8), abs=0.02)
        assert found[name].scores["test"]["accuracy"] == pytest.approx(1 / 8, abs=0.02)
    assert found[RULE].scores["test"]["cross_entropy"] == pytest.approx(0, abs=1e-9)
    assert found[RULE].scores["test"]["whole"] == 1


def test_a_logistic_readout_finds_a_symbol_that_it_sees():
    data = prepared(rs.Copy, length=1, num_copied=1, num_train=2000)
    readout = fit_short_memory(data.train, 3, 1e-6, data.exclusive)
    scores = result_of({n: readout.answers(p.inputs.numpy()) for n, p in data.tests.items()}, data).scores
    assert scores["test"]["accuracy"] == 1


@pytest.mark.parametrize("signs", [False, True])
def test_the_delayed_input_is_asked_for(signs):
    data = prepared(rs.MemoryDelay, length=4, num_steps=11, signs=signs)
    part = data.train
    np.testing.assert_array_equal(part.targets[:, 4:], part.inputs[:, :-4])
    assert torch.isnan(part.targets[:, :4]).all()
    assert data.levels == ((-1.0, 1.0) if signs else ())
    assert data.tests["longer"].num_steps == 22
    assert set(part.age[:, 4:].ravel()) == {4}


@pytest.mark.parametrize("length", [10, 11, 37, 100])
@pytest.mark.parametrize("relevant", [2, 3])
def test_the_class_is_the_order_in_which_the_symbols_came(length, relevant):
    data = prepared(rs.TemporalOrder, length=length, num_relevant=relevant)
    assert isinstance(data, LabelledData)
    names = list(data.input_names)
    for row in range(20):
        words = [names[i] for i in data.train.inputs[row].argmax(1)]
        assert (words[0], words[-1]) == ("begin", "end")
        places = [t for t, word in enumerate(words) if word in "XY"]
        assert "".join(words[t] for t in places) == data.class_names[data.train.labels[row]]
        for place, (first, after) in zip(places, order_places(length, relevant), strict=True):
            assert first <= place < after


@pytest.mark.parametrize("relevant", [2, 3])
@pytest.mark.parametrize("count", [200, 203])
def test_classes_are_alike_but_for_one_in_every_part(relevant, count):
    data = prepared(rs.TemporalOrder, num_relevant=relevant, num_train=count, length=20)
    for part in data.parts().values():
        counts = np.bincount(part.labels.numpy(), minlength=2**relevant)
        assert counts.max() - counts.min() <= 1
        assert (part.rules[data.exact] == part.labels.numpy()).all()


# what they share


@pytest.mark.parametrize("kind", TASKS)
def test_a_longer_part_tells_whether_the_rule_was_found(kind):
    steps = {n: p.num_steps for n, p in prepared(kind, length=12).parts().items()}
    assert steps["train"] == steps["validation"] == steps["test"] < steps["longer"]
    assert set(prepared(kind, length=12, num_longer=0).tests) == {"test"}
    assert prepared(kind, length=12, longer=40).tests["longer"].num_steps in (40, 60)  # copying: 40 between 2 x 10 symbols


@pytest.mark.parametrize("kind", TASKS)
def test_the_same_seed_gives_the_same_data_and_parts_do_not_move_one_another(kind):
    one, same, other = (prepared(kind, seed, length=12) for seed in (0, 0, 1))
    assert one.fingerprint() == same.fingerprint() != other.fingerprint()
    more = prepared(kind, length=12, num_test=99, num_longer=0)
    assert torch.equal(one.train.inputs, more.train.inputs)


@pytest.mark.parametrize(
    ("kind", "fields", "word"),
    [
        (rs.Adding, {"length": 1}, "length"),
        (rs.Adding, {"longer": 1}, "longer"),
        (rs.Adding, {"num_train": 0}, "num_train"),
        (rs.Copy, {"length": 0}, "length"),
        (rs.Copy, {"num_copied": 0}, "num_copied"),
        (rs.Copy, {"num_symbols": 1}, "num_symbols"),
        (rs.Copy, {"num_symbols": 27}, "num_symbols"),
        (rs.MemoryDelay, {"length": 0}, "length"),
        (rs.MemoryDelay, {"length": 9, "num_steps": 9}, "num_steps"),
        (rs.MemoryDelay, {"length": 9, "longer": 9}, "longer"),
        (rs.TemporalOrder, {"length": 9}, "length"),
        (rs.TemporalOrder, {"num_relevant": 4}, "num_relevant"),
        (rs.TemporalOrder, {"num_longer": -1}, "num_longer"),
    ],
)
def test_a_field_out_of_range_is_named(kind, fields, word):
    with pytest.raises(rs.ConfigError, match=word) as caught:
        kind(**fields)
    assert caught.value.expected
    assert caught.value.remedy


# symbols of which one is right


def choices(count: int = 6, steps: int = 4) -> StepData:
    rng = np.random.default_rng(0)
    targets = np.eye(3)[rng.integers(0, 3, (count, steps))]
    mask = np.tile(np.arange(steps) >= 2, (count, 1))
    part = step_set(rng.standard_normal((count, steps, 2)), targets, mask=mask)
    names = {"input_names": ("a", "b"), "output_names": ("p", "q", "r")}
    return StepData(train=part, validation=part, tests={"test": part}, exclusive=True, **names)


def test_the_loss_of_symbols_is_their_cross_entropy_over_the_steps_that_count():
    data = choices()
    outputs = torch.randn(data.train.targets.shape, generator=torch.Generator().manual_seed(1), requires_grad=True)
    chosen = data.train.targets[:, 2:].argmax(-1)
    expected = torch.nn.functional.cross_entropy(outputs[:, 2:].flatten(0, 1), chosen.flatten())
    loss = data.loss(outputs, data.train.targets)
    assert float(loss.detach()) == pytest.approx(float(expected.detach()), rel=1e-6)
    loss.backward()
    assert not outputs.grad[:, :2].any()


def test_the_share_of_right_symbols_is_recorded_and_scored_alike():
    data = choices()
    outputs = torch.randn(data.train.targets.shape, generator=torch.Generator().manual_seed(2))
    right = (outputs.argmax(-1) == data.train.targets.nan_to_num().argmax(-1))[:, 2:].float().mean().item()
    assert data.rates(data.tally(outputs, data.train.targets))["accuracy"] == pytest.approx(right)
    assert result_of({"test": outputs.numpy()}, data).scores["test"]["accuracy"] == pytest.approx(right)
    judged = judge(outputs.numpy(), data.train, data)
    assert judged.counted.shape == judged.errors.shape == (6, 4, 1)
    mean = judged.errors.sum() / judged.counted.sum()
    assert mean == pytest.approx(float(data.loss(outputs, data.train.targets)), rel=1e-5)


def test_numbers_have_no_share_of_right_answers():
    data = prepared(rs.Adding, length=5)
    assert data.tally(torch.zeros(3, 5, 1), data.train.targets[:3]) is None


def test_an_lstm_learns_to_copy_a_little(tmp_path):
    task = rs.Copy(length=3, num_copied=1, num_symbols=3, num_train=300, num_validation=30, num_test=60, num_longer=20)
    trainer = rs.BPTT(epochs=12, batch_size=20, learning_rate=2e-2, count="all")
    experiment = rs.preset("copy-quick").but(task=task, models={"lstm": rs.LSTM(hidden_size=8, num_layers=1)}, trainer=trainer)
    run = rs.run(experiment, out=tmp_path)
    test = run.metrics["models"]["lstm"]["test"]
    assert test["accuracy"] > 0.9
    assert "cross-entropy" in run.verdict
    assert "validation_accuracy" in run.history.columns
    assert [h["key"] for h in run.metrics["headlines"]][:2] == ["accuracy", "cross_entropy"]
