"""Convolutions over frames and a recurrent network over time, and its controls."""

import pytest
import torch
from torch import Tensor, nn

import rnnscope as rs
from rnnscope.core.interfaces import Signature
from rnnscope.core.random import Streams
from rnnscope.models.cnn_rnn import ControlledFrames, FrameEncoder, FrameSystem, shuffled, single

FRAME = (2, 5, 6)
SIZE = 60
SIGNATURE = Signature(SIZE, 3, frame=FRAME)
SMALL = {"conv_channels": (3, 4), "hidden_size": 5}


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def frames(batch: int = 4, steps: int = 7, seed: int = 1) -> Tensor:
    return torch.rand((batch, steps, SIZE), generator=generator(seed), dtype=torch.float64)


def built(**fields) -> rs.SequenceModel:
    return rs.CNNRNN(**{**SMALL, **fields}).build(SIGNATURE, generator()).double()


class FrameByFrame(nn.Module):
    """The same written as one usually does: the convolutions called once per time step, then torch's own LSTM."""

    def __init__(self, model: FrameSystem) -> None:
        super().__init__()
        first, second = model.encoder.convolutions
        self.look = nn.Sequential(first, nn.ReLU(), second, nn.ReLU(), nn.MaxPool2d(2), nn.Flatten())
        self.lstm, self.head = model.network.recurrent_layers()[0], model.network.head

    def forward(self, inputs: Tensor) -> Tensor:
        found = [self.look(inputs[:, t].reshape(-1, *FRAME)) for t in range(inputs.shape[1])]
        return self.head(self.lstm(torch.stack(found, 1))[0][:, -1])


def test_it_is_the_usual_network_with_all_frames_in_one_call():
    model, inputs = built(), frames()
    assert isinstance(model, FrameSystem)
    calls = []
    model.encoder.convolutions[0].register_forward_hook(lambda *found: calls.append(found))
    found = model(inputs, last=1)
    assert len(calls) == 1
    torch.testing.assert_close(found[:, 0], FrameByFrame(model)(inputs))


@pytest.mark.parametrize("cell", ["lstm", "gru", "elman"])
@pytest.mark.parametrize("num_layers", [1, 2])
def test_forward_and_fused_rollout_are_the_loop_of_step(cell, num_layers):
    model, inputs = built(cell=cell, num_layers=num_layers), frames()
    (system,) = model.systems().values()
    slow, fast = rs.rollout(system, inputs), rs.rollout(system, inputs, keep_states=False)
    torch.testing.assert_close(model(inputs), slow.outputs)
    torch.testing.assert_close(fast.outputs, slow.outputs)
    torch.testing.assert_close(fast.final_state, slow.final_state)
    torch.testing.assert_close(model(inputs, last=2), slow.outputs[:, -2:])


def test_a_shorter_row_is_read_at_its_own_end():
    model, inputs = built(), frames()
    found = model(inputs, torch.tensor([7, 3, 1, 5]), last=1)
    for row, length in enumerate((7, 3, 1, 5)):
        torch.testing.assert_close(found[row], model(inputs[row : row + 1, :length], last=1)[0])


@pytest.mark.parametrize("cell", ["lstm", "gru", "elman"])
def test_jacobians_are_those_of_automatic_differentiation(cell):
    model = built(cell=cell, num_layers=2)
    state, input = torch.rand((2, model.state_size), generator=generator(2), dtype=torch.float64) - 0.5, frames(2)[:, 0]
    for row in range(2):
        by_state, by_input = torch.autograd.functional.jacobian(
            lambda h, x: model.step(h[None], x[None])[0], (state[row], input[row])
        )
        torch.testing.assert_close(rs.state_jacobians(model, state, input)[row], by_state)
        torch.testing.assert_close(rs.input_jacobians(model, state, input)[row], by_input)
    by_output = torch.autograd.functional.jacobian(lambda h: model.readout(h[None])[0], state[0])
    torch.testing.assert_close(rs.readout_jacobians(model, state)[0], by_output)


def test_fixed_points_under_a_held_frame_are_found():
    model = built(cell="gru").eval().requires_grad_(False)
    held = rs.hold_input(model, frames(1)[0, 0])
    found = rs.find_fixed_points(held, rng=generator(), num_starts=20)
    assert len(found.points)
    torch.testing.assert_close(held.step(found.points, found.points[:, :0]), found.points, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("size", [(2, 2), (3, 2), (7, 5), (16, 9)])
@pytest.mark.parametrize("channels", [1, 4])
@pytest.mark.parametrize("pool", [1, 2])
def test_any_size_and_number_of_channels_is_taken(size, channels, pool):
    frame = (channels, *size)
    pixels = channels * size[0] * size[1]
    model = rs.CNNRNN(**SMALL, pool=pool).build(Signature(pixels, 3, frame=frame), generator())
    assert model.encoder.num_features == 4 * (size[0] // pool) * (size[1] // pool)
    assert model(torch.zeros(2, 3, pixels)).shape == (2, 3, 3)


def test_convolutions_of_any_number_and_size():
    for channels, kernel in (((3,), 1), ((2, 3, 4), 5)):
        encoder = FrameEncoder(FRAME, channels, kernel, 2)
        assert encoder(torch.zeros(2, 3, SIZE)).shape == (2, 3, channels[-1] * 2 * 3)


def test_a_shift_of_a_frame_shifts_its_features():
    encoder = FrameEncoder((1, 12, 16), (2, 3), 3, 2).double()
    frame = torch.zeros(1, 12, 16, dtype=torch.float64)
    frame[0, 4:6, 4:6] = torch.rand((2, 2), generator=generator(), dtype=torch.float64)
    moved = frame.roll((2, 4), (1, 2))
    first, second = (encoder(f.reshape(1, -1)).reshape(3, 6, 8) for f in (frame, moved))
    torch.testing.assert_close(first[:, 1:4, 1:4], second[:, 2:5, 3:6])


def test_inputs_that_are_no_frames_are_refused():
    with pytest.raises(rs.ConfigError, match="reads frames") as caught:
        rs.CNNRNN().build(Signature(SIZE, 3), generator())
    assert "frames_motion" in caught.value.expected


@pytest.mark.parametrize("frame", [(1, 1, 5), (3, 5, 1), (1, 1, 1)])
def test_frames_smaller_than_the_pooling_are_refused(frame):
    with pytest.raises(rs.ConfigError, match="smaller than the pooling") as caught:
        rs.CNNRNN().build(Signature(frame[0] * frame[1] * frame[2], 2, frame=frame), generator())
    assert "pool=1" in caught.value.remedy


@pytest.mark.parametrize(
    ("field", "value"), [("conv_channels", ()), ("conv_channels", (0,)), ("kernel_size", 4), ("pool", 0), ("sees", "none")]
)
def test_a_field_out_of_range_is_named(field, value):
    with pytest.raises(rs.ConfigError, match=field) as caught:
        rs.CNNRNN(**{field: value})
    assert caught.value.remedy


def test_dropout_is_off_without_a_generator_and_outside_training():
    model, inputs = built(dropout=0.5, num_layers=2), frames()
    plain = model.eval()(inputs)
    assert torch.equal(model(inputs, rng=generator()), plain)
    assert torch.equal(model.train()(inputs), plain)
    assert torch.equal(model(inputs, rng=generator()), model(inputs, rng=generator()))
    assert not torch.equal(model(inputs, rng=generator()), plain)


def test_the_weights_come_from_the_generator_alone():
    before = torch.get_rng_state()
    one, same, other = (rs.CNNRNN(**SMALL).build(SIGNATURE, generator(seed)).state_dict() for seed in (0, 0, 1))
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(one[k], same[k]) and not torch.equal(one[k], other[k]) for k in one)
    bound = 1 / (9 * 3) ** 0.5
    assert 0.8 * bound < one["encoder.convolutions.1.weight"].abs().max() <= bound


# controls


class Trace(rs.SequenceModel):
    """A model that hands back what it is given."""

    def forward(self, inputs, lengths=None, *, rng=None, last=None):
        return inputs

    def systems(self):
        return {}


def numbered(batch: int, steps: int) -> Tensor:
    """Frame t of row b holds (b, t)."""
    return torch.stack(torch.meshgrid(torch.arange(batch), torch.arange(steps), indexing="ij"), -1).double()


def test_shuffled_frames_are_the_same_frames_in_another_order():
    inputs = numbered(40, 6)
    found = ControlledFrames(Trace(), shuffled)(inputs)
    assert torch.equal(found[:, :, 0], inputs[:, :, 0])
    assert torch.equal(found[:, :, 1].sort(1).values, inputs[:, :, 1])
    assert len({tuple(row) for row in found[:, :, 1].tolist()}) > 30


def test_a_single_frame_is_shown_at_every_step():
    inputs = numbered(400, 5)
    found = ControlledFrames(Trace(), single)(inputs)
    assert found.shape == inputs.shape
    assert torch.equal(found, found[:, :1].expand_as(found))
    assert torch.equal(found[:, 0, 0], inputs[:, 0, 0])
    assert torch.bincount(found[:, 0, 1].long()).min() > 50


@pytest.mark.parametrize("choose", [shuffled, single])
def test_controls_draw_the_same_outside_training_and_anew_within(choose):
    model, inputs, rng = ControlledFrames(Trace(), choose), numbered(20, 6), generator()
    assert torch.equal(model(inputs), model(inputs))
    assert torch.equal(model(inputs)[:7], model(inputs[:7]))
    assert not torch.equal(model(inputs, rng=rng), model(inputs, rng=rng))


def test_controls_leave_padding_where_it_is():
    inputs, lengths = numbered(30, 6), torch.arange(30) % 6 + 1
    mixed, one = (ControlledFrames(Trace(), choose)(inputs, lengths) for choose in (shuffled, single))
    for row, length in enumerate(lengths.tolist()):
        assert mixed[row, :length, 1].sort().values.tolist() == list(range(length))
        assert mixed[row, length:, 1].tolist() == list(range(length, 6))
        assert one[row, 0, 1] < length


@pytest.mark.parametrize(("sees", "choose"), [("shuffled", shuffled), ("one", single)])
def test_a_control_begins_as_the_same_network(sees, choose):
    model, whole = built(sees=sees), built()
    assert isinstance(model, ControlledFrames)
    assert model.choose is choose
    assert all(torch.equal(model.state_dict()[f"model.{name}"], t) for name, t in whole.state_dict().items())
    assert set(model.systems()) == {"network"}
    assert not torch.allclose(model(frames(), last=1), whole(frames(), last=1))


@pytest.mark.parametrize("sees", ["all", "shuffled"])
def test_the_readout_alone_can_be_trained(sees):
    streams = Streams(0)
    data = rs.FramesRandom(num_sequences=20, image_size=4, num_steps=2, num_classes=2).prepare(streams)
    model = rs.CNNRNN(**SMALL, sees=sees).build(data.signature, streams.torch())
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    run = rs.BPTT(epochs=1, freeze_recurrent=True).start(model, data, streams)
    assert [record.epoch for record in run] == [1]
    changed = {name for name, tensor in model.state_dict().items() if not torch.equal(tensor, before[name])}
    assert {name.split("network.")[1] for name in changed} == {"head.weight", "head.bias"}
