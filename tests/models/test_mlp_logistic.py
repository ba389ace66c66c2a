"""Models without recurrence."""

import pytest
import torch

import rnnscope as rs
from rnnscope.core.interfaces import Signature
from rnnscope.models.logistic import Logistic
from rnnscope.models.mlp import MLP


def rng():
    return torch.Generator().manual_seed(0)


def test_the_perceptron_is_its_formula_at_every_step():
    model = MLP(hidden_sizes=(4, 3)).build(Signature(2, 1), rng())
    inputs = torch.randn(5, 6, 2, generator=rng())
    values = inputs
    for index, (weight, bias) in enumerate(model.dense_layers()):
        values = (values if index == 0 else values.relu()) @ weight.T + bias
    torch.testing.assert_close(model(inputs), values)
    torch.testing.assert_close(model(inputs, last=2), values[:, -2:])
    lengths = torch.tensor([6, 5, 1, 2, 3])
    torch.testing.assert_close(model(inputs, lengths, last=1)[:, 0], values[torch.arange(5), lengths - 1])


def test_the_perceptron_does_not_read_past_targets():
    model = MLP().build(Signature(2, 1, past_targets=1), rng())
    inputs = torch.randn(3, 4, 2, generator=rng())
    changed = inputs.clone()
    changed[..., 1] += 1
    torch.testing.assert_close(model(inputs), model(changed))


def test_inner_rates_are_kept_with_the_weights():
    one, other = (MLP(inner_rate=0.05).build(Signature(1, 1), rng()) for _ in range(2))
    one.set_inner_rates([0.0, 0.0, 0.3])
    other.load_state_dict(one.state_dict())
    assert other.inner_rates() == [0.0, 0.0, 0.3]


def test_building_touches_no_global_generator():
    before = torch.get_rng_state()
    MLP().build(Signature(1, 1), rng())
    Logistic().build(Signature(2, 2), rng())
    assert torch.equal(torch.get_rng_state(), before)


def test_the_logistic_models_first_class_is_the_reference():
    model = Logistic().build(Signature(2, 3), rng())
    inputs = torch.randn(5, 4, 2, generator=rng())
    found = model(inputs, last=1)
    assert found.shape == (5, 1, 3)
    assert (found[..., 0] == 0).all()
    torch.testing.assert_close(found[:, 0, 1:], inputs[:, -1] @ model.weight.T + model.bias)
    assert model.systems() == {}


def test_a_task_without_classes_is_refused():
    with pytest.raises(rs.ConfigError, match="classes"):
        Logistic().build(Signature(2, 1), rng())


@pytest.mark.parametrize(
    "fields", [{"hidden_sizes": ()}, {"hidden_sizes": (0,)}, {"inner_rate": 0.0}, {"hidden_sizes": (2,) * 21}]
)
def test_a_field_out_of_range_is_named(fields):
    with pytest.raises(rs.ConfigError, match=next(iter(fields))):
        MLP(**fields)
