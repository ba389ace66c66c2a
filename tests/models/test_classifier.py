"""The classifier: padding, both directions, poolings, what recurs inside."""

import copy

import pytest
import torch

import rnnscope as rs
from rnnscope.core.interfaces import Signature
from rnnscope.core.system import rollout
from rnnscope.models.classifier import SequenceClassifier

POOLINGS = ["last", "mean", "max", "attention", "end", ("last", "mean", "max")]
CELLS = ["lstm", "gru", "elman", "relu"]


def built(seed: int = 0, inputs: int = 3, classes: int = 4, **fields) -> SequenceClassifier:
    spec = rs.Classifier(**{"hidden_size": 5, **fields})
    return spec.build(Signature(inputs, classes), torch.Generator().manual_seed(seed)).eval()


def sequences(seed: int = 0, count: int = 6, steps: int = 11) -> tuple[torch.Tensor, torch.Tensor]:
    rng = torch.Generator().manual_seed(seed)
    return torch.randn(count, steps, 3, generator=rng), torch.tensor([11, 7, 1, 2, 10, 3][:count])


FORMS = [
    {},
    {"num_layers": 2},
    {"bidirectional": False, "num_layers": 2},
    {"convolutions": 2, "channels": 4},
    {"convolutions": 2, "channels": 4, "stride": 2, "differences": True},
    {"convolutions": 1, "channels": 4, "stride": 4, "kernel_size": 7, "num_layers": 2},
    {"differences": True},
]


@pytest.mark.parametrize("pooling", POOLINGS)
@pytest.mark.parametrize("form", FORMS, ids=str)
def test_padding_changes_no_logit_and_a_batch_of_one_equals_a_batch_of_many(form, pooling):
    model = built(pooling=pooling, **form)
    inputs, lengths = sequences()
    with torch.no_grad():
        together = model(inputs, lengths)
        junk = inputs.clone()
        for row, length in enumerate(lengths):
            junk[row, length:] = 1e4
        wider = torch.cat([junk, torch.full((6, 5, 3), -1e4)], 1)
        alone = torch.cat([model(x[None, :n], torch.tensor([n])) for x, n in zip(inputs, lengths.tolist(), strict=True)])
        bare = torch.cat([model(x[None, :n]) for x, n in zip(inputs, lengths.tolist(), strict=True)])
    for other in (model(wider, lengths), alone, bare):
        torch.testing.assert_close(together, other.detach(), atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("cell", CELLS)
def test_it_equals_torchs_bidirectional_network_on_packed_sequences(cell):
    inputs, lengths = sequences()
    model = built(cell=cell, num_layers=2, pooling="last")
    kind = {"lstm": torch.nn.LSTM, "gru": torch.nn.GRU}.get(cell, torch.nn.RNN)
    extra = {"nonlinearity": "relu" if cell == "relu" else "tanh"} if kind is torch.nn.RNN else {}
    reference = kind(3, 5, 2, batch_first=True, bidirectional=True, **extra)
    for layer in range(2):
        for way, end in ((model.forward_layers, ""), (model.backward_layers, "_reverse")):
            for name, value in way[layer].named_parameters():
                getattr(reference, name.replace("_l0", f"_l{layer}{end}")).data.copy_(value.data)
    packed = torch.nn.utils.rnn.pack_padded_sequence(inputs, lengths, batch_first=True, enforce_sorted=False)
    final = reference(packed)[1]
    final = final[0] if cell == "lstm" else final
    expected = model.head(torch.cat([final[-2], final[-1]], -1))
    torch.testing.assert_close(model(inputs, lengths)[:, 0], expected, atol=1e-6, rtol=1e-5)


def test_the_end_reading_sees_only_one_step_backward():
    inputs, _ = sequences()
    changed = inputs.clone()
    changed[:, 3] += 1
    blind, whole = built(pooling="end"), built(pooling="last")
    for model in (blind, whole):
        model.head.weight.data[:, :5] = 0  # only the backward direction is read
    torch.testing.assert_close(blind(inputs), blind(changed))
    assert (whole(inputs) - whole(changed)).abs().min() > 1e-6


def test_without_a_second_direction_last_and_end_are_the_same():
    inputs, lengths = sequences()
    a, b = built(pooling="last", bidirectional=False), built(pooling="end", bidirectional=False)
    assert torch.equal(a(inputs, lengths), b(inputs, lengths))


def test_attention_weighs_the_steps_and_mean_is_its_case_of_equal_scores():
    inputs, lengths = sequences()
    model = built(pooling="attention")
    model.scores[1].weight.data.zero_()
    mean = built(pooling="mean")
    mean.load_state_dict({k: v for k, v in model.state_dict().items() if not k.startswith("scores.")})
    torch.testing.assert_close(model(inputs, lengths), mean(inputs, lengths), atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("cell", CELLS)
def test_the_systems_of_both_directions_give_the_logits_together(cell):
    inputs, _ = sequences()
    model = built(cell=cell)
    ways = model.systems()
    assert list(ways) == ["forward", "backward"]
    total = rollout(ways["forward"], inputs).outputs[:, -1] + rollout(ways["backward"], inputs.flip(1)).outputs[:, -1]
    torch.testing.assert_close(model(inputs)[:, 0], total, atol=1e-6, rtol=1e-5)
    assert ways["forward"].layers[0] is model.forward_layers[0]


def test_the_system_of_one_direction_is_the_whole_network():
    inputs, _ = sequences()
    model = built(bidirectional=False, num_layers=2)
    system = model.systems()["network"]
    torch.testing.assert_close(model(inputs)[:, 0], rollout(system, inputs).outputs[:, -1], atol=1e-6, rtol=1e-5)


def test_a_stack_of_both_directions_has_its_first_layers_as_systems():
    inputs, _ = sequences()
    model = built(num_layers=2)
    run = rollout(model.systems()["backward"], inputs.flip(1))
    torch.testing.assert_close(run.outputs, model.backward_layers[0](inputs.flip(1))[0], atol=1e-6, rtol=1e-5)


def test_behind_a_front_end_nothing_recurs_on_the_data():
    assert built(convolutions=1).systems() == {}
    assert built(differences=True).systems() == {}


def test_slopes_are_read_over_their_root_mean_square_in_training_and_padding_does_not_count():
    inputs, lengths = sequences()
    slopes = built(differences=True).slopes
    assert slopes is not None
    real = torch.arange(11) < lengths[:, None]
    plain = inputs.diff(dim=1, prepend=inputs[:, :1]) * real[..., None]
    torch.testing.assert_close(slopes(inputs, real), plain)  # untrained: as they are
    slopes.train()
    for scale in (0.01, 0.03):
        slopes(inputs * scale, real)
    slopes.eval()
    mean_square = plain.square().sum((0, 1)) / real.sum() * (0.01**2 + 0.03**2) / 2
    for _ in range(2):  # looking changes nothing
        torch.testing.assert_close(slopes(inputs, real), plain / mean_square.sqrt())


def test_training_sees_the_same_slopes_whatever_the_unit_of_time():
    inputs, _ = sequences()
    model = built(differences=True).slopes
    assert model is not None
    model.train()
    fine = torch.nn.functional.interpolate(inputs.transpose(1, 2), scale_factor=8, mode="linear").transpose(1, 2)
    for values in (inputs, fine):
        model.batches.zero_()
        torch.testing.assert_close(model(values, None).square().mean((0, 1)), torch.ones(3))


def test_a_feature_that_never_changes_has_slopes_of_zero():
    model = built(differences=True).slopes
    assert model is not None
    assert (model.train()(torch.full((2, 5, 3), 7.0), None) == 0).all()


def test_systems_leave_the_models_parameters_as_they_are():
    model = built()
    before = {k: v.clone() for k, v in model.state_dict().items()}
    model.systems()
    assert list(model.state_dict()) == list(before)
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())
    assert all(p.requires_grad for p in model.parameters())


def test_dropout_acts_only_in_training_with_a_generator():
    inputs, lengths = sequences()
    model = built(dropout=0.5, num_layers=2, convolutions=1)
    still = model(inputs, lengths, rng=torch.Generator().manual_seed(1))
    model.train()
    assert torch.equal(model(inputs, lengths), still)
    one, two = (model(inputs, lengths, rng=torch.Generator().manual_seed(s)) for s in (1, 2))
    assert not torch.equal(one, two)
    assert torch.equal(one, model(inputs, lengths, rng=torch.Generator().manual_seed(1)))


def test_the_same_generator_builds_the_same_network_and_no_global_one_is_read():
    torch.manual_seed(3)
    state = torch.get_rng_state()
    a, b, c = built(0, num_layers=2, convolutions=1), built(0, num_layers=2, convolutions=1), built(1, num_layers=2)
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(x, y) for x, y in zip(a.parameters(), b.parameters(), strict=True))
    assert not torch.equal(a.forward_layers[0].weight_hh_l0, c.forward_layers[0].weight_hh_l0)


def test_orthogonal_recurrent_matrices_are_orthogonal_in_both_directions():
    model = built(recurrent_init="orthogonal", cell="elman")
    for layer in model.recurrent_layers():
        torch.testing.assert_close(layer.weight_hh_l0 @ layer.weight_hh_l0.T, torch.eye(5), atol=1e-5, rtol=0)


def test_weights_round_trip():
    inputs, lengths = sequences()
    model = built(pooling="attention", convolutions=2, num_layers=2)
    other = built(seed=1, pooling="attention", convolutions=2, num_layers=2)
    other.load_state_dict(copy.deepcopy(model.state_dict()))
    assert torch.equal(model(inputs, lengths), other(inputs, lengths))


@pytest.mark.parametrize(
    ("field", "value"),
    [("cell", "rnn"), ("pooling", "first"), ("pooling", ()), ("pooling", ("mean", "mean")), ("kernel_size", 4), ("stride", 0)],
)
def test_a_bad_field_is_named(field, value):
    with pytest.raises(rs.ConfigError, match=field):
        rs.Classifier(**{field: value})
