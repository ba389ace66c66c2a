"""The flip-flop task, and the data of step-by-step tasks that it fills."""

import json

import numpy as np
import pytest
import torch

import rnnscope as rs
from rnnscope.core.random import Streams
from rnnscope.core.step_data import StepData, StepSet, step_set
from rnnscope.tasks.flip_flop import draw_pulses, latch

SMALL = {"num_train": 40, "num_validation": 8, "num_test": 12, "num_long": 5}


def prepared(seed: int = 0, **fields) -> StepData:
    return rs.FlipFlop(**{**SMALL, **fields}).prepare(Streams(seed))


def numbers(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


# the rule


def brute_force(pulses: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The latest pulse and its age, by looking back from every step."""
    signs, age = np.zeros_like(pulses), np.zeros(pulses.shape, int)
    for n, t, b in np.ndindex(*pulses.shape):
        back = next(k for k in range(t + 1) if pulses[n, t - k, b] != 0)
        signs[n, t, b], age[n, t, b] = pulses[n, t - back, b], back
    return signs, age


@pytest.mark.parametrize("probability", [0.05, 0.5, 1.0])
def test_targets_are_the_latest_pulse_found_by_looking_back(probability):
    pulses = draw_pulses(6, 30, 2, probability, numbers())
    signs, age = latch(pulses)
    expected = brute_force(pulses)
    np.testing.assert_array_equal(signs, expected[0])
    np.testing.assert_array_equal(age, expected[1])


def test_the_pulse_of_the_present_step_counts():
    signs, age = latch(np.array([[[1.0], [-1.0], [0.0]]], np.float32))
    assert signs[0, :, 0].tolist() == [1, -1, -1]
    assert age[0, :, 0].tolist() == [0, 0, 1]


def test_pulses_come_as_often_as_asked_with_both_signs_alike():
    pulses = draw_pulses(400, 50, 3, 0.3, numbers())
    assert set(np.unique(pulses)) == {-1.0, 0.0, 1.0}
    assert (pulses[:, 0] != 0).all()
    later = pulses[:, 1:]
    spread = np.sqrt(0.3 * 0.7 / later.size)
    assert abs((later != 0).mean() - 0.3) < 4 * spread
    assert abs(later.mean()) < 4 * np.sqrt(0.3 / later.size)


def test_with_probability_one_the_target_is_the_input():
    data = prepared(pulse_probability=1.0)
    assert torch.equal(data.train.inputs, data.train.targets)


# the parts


def test_parts_have_the_sizes_asked_for():
    data = prepared(num_bits=2, num_steps=7)
    assert {n: tuple(p.inputs.shape) for n, p in data.parts().items()} == {
        "train": (40, 7, 2),
        "validation": (8, 7, 2),
        "test": (12, 7, 2),
        "long": (5, 70, 2),
    }
    assert all(p.inputs.shape == p.targets.shape for p in data.parts().values())
    assert (data.signature.input_size, data.signature.output_size) == (2, 2)
    assert data.signature.feature_names == ("pulse 1", "pulse 2")


def test_the_long_part_has_rarer_pulses_and_is_optional():
    data = prepared(num_long=50, long_steps=200, long_pulse_probability=0.02)
    part = data.tests["long"]
    assert part.num_steps == 200
    assert abs((part.inputs[:, 1:] != 0).float().mean() - 0.02) < 0.005
    assert set(prepared(num_long=0).tests) == {"test"}


def test_the_same_seed_gives_the_same_data_and_another_seed_others():
    one, same, other = prepared(), prepared(), prepared(seed=1)
    assert one.fingerprint() == same.fingerprint() != other.fingerprint()


def test_parts_are_different_draws_and_do_not_move_one_another():
    data, more = prepared(num_validation=40), prepared(num_test=99, num_long=0)
    assert not torch.equal(data.train.inputs, data.validation.inputs)
    assert torch.equal(data.train.inputs, more.train.inputs)


def test_noise_blurs_the_inputs_and_leaves_the_targets():
    clean, noisy, loud = prepared(), prepared(noise_sd=0.05), prepared(noise_sd=1.0)
    assert torch.equal(clean.train.targets, noisy.train.targets)
    assert abs(float((noisy.train.inputs - clean.train.inputs).std()) - 0.05) < 0.003
    np.testing.assert_array_equal(noisy.train.solution, noisy.train.targets.numpy())
    assert 0.5 < (loud.train.solution == loud.train.targets.numpy()).mean() < 0.95


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("num_bits", 0),
        ("num_bits", 9),
        ("num_bits", 2.5),
        ("num_steps", 1),
        ("pulse_probability", 0.0),
        ("pulse_probability", 1.1),
        ("pulse_probability", float("nan")),
        ("long_pulse_probability", -0.1),
        ("long_steps", 1),
        ("num_train", 0),
        ("num_validation", 0),
        ("num_test", 0),
        ("num_long", -1),
        ("noise_sd", -0.1),
        ("noise_sd", float("inf")),
    ],
)
def test_a_field_out_of_range_is_named(field, value):
    with pytest.raises(rs.ConfigError, match=field) as caught:
        rs.FlipFlop(**{field: value})
    assert caught.value.expected
    assert caught.value.remedy


# the data of step-by-step tasks


def sequences(**more) -> StepSet:
    rng = numbers()
    return step_set(rng.standard_normal((4, 6, 2)), rng.standard_normal((4, 6, 3)), **more)


def data_of(part: StepSet, **more) -> StepData:
    names = {"input_names": ("a", "b"), "output_names": ("p", "q", "r")}
    return StepData(train=part, validation=part, tests={"test": part}, **names, **more)


def test_targets_count_within_the_length_and_where_the_mask_lets_them():
    lengths, mask = np.array([6, 3, 1, 4]), np.zeros((4, 6), bool)
    mask[:, [0, 3, 5]] = True
    part = sequences(lengths=lengths, mask=mask)
    counted = torch.isfinite(part.targets)
    assert counted[:, :, 0].tolist() == [[t in (0, 3, 5) and t < length for t in range(6)] for length in lengths.tolist()]
    assert torch.equal(counted[:, :, 0], counted[:, :, 2])


def test_the_loss_is_the_mean_over_targets_that_count():
    part = sequences(lengths=np.array([6, 3, 1, 4]))
    outputs = torch.randn(part.targets.shape, generator=torch.Generator().manual_seed(0), requires_grad=True)
    loss = data_of(part).loss(outputs, part.targets)
    expected = np.nanmean((outputs.detach().numpy() - part.targets.numpy()) ** 2)
    assert float(loss.detach()) == pytest.approx(float(expected), rel=1e-6)
    loss.backward()
    assert torch.equal(outputs.grad == 0, torch.isnan(part.targets))


def test_the_loss_where_nothing_counts_is_zero_and_its_gradient_too():
    outputs = torch.ones(2, 3, 3, requires_grad=True)
    loss = data_of(sequences()).loss(outputs, torch.full((2, 3, 3), torch.nan))
    loss.backward()
    assert float(loss.detach()) == 0
    assert not outputs.grad.any()


def test_a_batch_holds_the_sequences_asked_for():
    part = sequences()
    batch = part.gather(np.array([2, 0]))
    assert torch.equal(batch.inputs, part.inputs[[2, 0]])
    assert torch.equal(batch.targets, part.targets[[2, 0]])
    assert batch.counted == part.num_steps == 6
    assert [len(b.inputs) for b in part.batches(3)] == [3, 1]


def test_a_network_trained_on_padded_sequences_does_not_see_the_padding():
    rng, lengths = numbers(), np.array([6, 3, 2, 5, 4, 6])
    inputs, targets = rng.standard_normal((6, 6, 2)), rng.standard_normal((6, 6, 3))
    late = np.arange(6) >= lengths[:, None]
    losses = []
    for filling in (0.0, 50.0):
        inputs[late] = targets[late] = filling
        data, streams = data_of(step_set(inputs, targets, lengths=lengths)), Streams(0)
        model = rs.Elman(hidden_size=5, num_layers=1).build(data.signature, streams.torch())
        run = rs.BPTT(epochs=3, batch_size=2, count="all").start(model, data, streams)
        losses.append([(r.values["train_loss"], r.values["validation_loss"]) for r in run])
    assert losses[0] == losses[1]


def test_the_report_and_the_arrays_say_what_the_data_are():
    data = prepared(num_steps=9)
    told = json.loads(json.dumps(data.describe(), allow_nan=False))
    assert told["sequences"] == {"train": 40, "validation": 8, "test": 12, "long": 5}
    assert told["target values"] == "-1, 1"
    assert told["oldest deciding input, steps ago"]["train"] == data.train.age.max()
    kept = data.arrays()
    np.testing.assert_array_equal(kept["long_inputs"], data.tests["long"].inputs)
    masked = data_of(sequences(lengths=np.array([6, 3, 1, 4])))
    assert all(np.isfinite(v).all() for v in masked.arrays().values())
    assert masked.arrays()["test_counted"].sum() == 14 * 3
    assert "to" in masked.describe()["target values"]


def test_data_move_as_a_whole():
    moved = prepared().to(torch.device("meta"))
    assert all(p.inputs.device.type == p.targets.device.type == "meta" for p in moved.parts().values())


def test_sequences_have_no_closed_loop_and_no_stream():
    data, streams = prepared(), Streams(0)
    model = rs.GRU(hidden_size=4).build(data.signature, streams.torch())
    assert data.feedback is None
    for field in ("carry_state", "free_run"):
        with pytest.raises(rs.ConfigError, match=f"trainer.{field}") as caught:
            rs.BPTT(**{field: 1}).start(model, data, streams)
        assert f"trainer.{field}=" in caught.value.remedy


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("more", "error", "word"),
    [
        ({"lengths": np.array([1, 2])}, rs.ShapeError, "lengths"),
        ({"lengths": np.array([1, 2, 3, 7])}, rs.DataError, "lengths"),
        ({"lengths": np.array([0, 2, 3, 6])}, rs.DataError, "lengths"),
        ({"mask": np.ones((4, 5), bool)}, rs.ShapeError, "mask"),
        ({"mask": np.zeros((4, 6), bool)}, rs.DataError, "no target of sequence 0"),
        ({"age": np.zeros((4, 6, 1), int)}, rs.ShapeError, "age"),
        ({"solution": np.zeros((4, 6))}, rs.ShapeError, "solution"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(more, error, word):
    with pytest.raises(error, match=word):
        sequences(**more)


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("shape", [(4, 5, 3), (3, 6, 3), (4, 6)])
def test_targets_that_do_not_fit_the_inputs_are_refused(shape):
    with pytest.raises(rs.ShapeError, match="targets"):
        step_set(np.zeros((4, 6, 2)), np.zeros(shape))


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_numbers_that_are_not_finite_are_refused_where_they_count(bad):
    inputs, targets = np.zeros((2, 4, 1)), np.zeros((2, 4, 1))
    targets[1, 3] = bad
    with pytest.raises(rs.DataError, match="NaN or infinite"):
        step_set(inputs, targets)
    assert torch.isfinite(step_set(inputs, targets, lengths=np.array([4, 3])).targets).sum() == 7
    inputs[0, 0] = bad
    with pytest.raises(rs.DataError, match="NaN or infinite"):
        step_set(inputs, targets, lengths=np.array([4, 3]))
