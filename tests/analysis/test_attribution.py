"""Integrated gradients: linear networks in closed form, completeness, and a model that stays as it was."""

import pytest
import torch
from torch import Tensor

import rnnscope as rs
from rnnscope.core.interfaces import Signature
from rnnscope.core.system import DynamicalSystem, SequenceModel


class Linear(SequenceModel):
    """Logits W x summed over time."""

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(weight)

    def forward(self, inputs, lengths=None, *, rng=None, last=None):
        return (inputs @ self.weight.T).sum(1, keepdim=True)

    def systems(self) -> dict[str, DynamicalSystem]:
        return {}


def numbers(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def classifier(**fields) -> SequenceModel:
    return rs.Classifier(**{"hidden_size": 8, **fields}).build(Signature(2, 3), numbers())


def test_a_linear_network_is_attributed_its_weights_times_the_inputs():
    weight, inputs = torch.randn(3, 2, generator=numbers()), torch.randn(4, 5, 2, generator=numbers(1))
    targets = torch.tensor([0, 1, 2, 0])
    found = rs.integrated_gradients(Linear(weight), inputs, None, targets, num_steps=1)
    torch.testing.assert_close(found.values, inputs * weight[targets][:, None])
    start = torch.tensor([0.5, -1.0])
    moved = rs.integrated_gradients(Linear(weight), inputs, None, targets, baseline=start, num_steps=3)
    torch.testing.assert_close(moved.values, (inputs - start) * weight[targets][:, None])


@pytest.mark.parametrize("fields", [{}, {"cell": "lstm", "num_layers": 2}, {"pooling": "attention"}, {"bidirectional": False}])
def test_attributions_add_up_to_the_change_of_the_logit(fields):
    model, inputs = classifier(**fields).eval(), torch.randn(5, 9, 2, generator=numbers(2))
    lengths, targets = torch.tensor([9, 4, 1, 7, 9]), torch.tensor([0, 2, 1, 1, 0])
    start = torch.randn(9, 2, generator=numbers(3))
    found = rs.integrated_gradients(model, inputs, lengths, targets, baseline=start)
    with torch.no_grad():
        begun = start.expand_as(inputs)
        change = (model(inputs, lengths) - model(begun, lengths))[torch.arange(5), 0, targets]
    torch.testing.assert_close(found.values.sum((1, 2)), change, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(found.residual, found.values.sum((1, 2)) - change, atol=1e-5, rtol=0)
    assert (found.values[1, 4:] == 0).all()


class Tipping(Linear):
    """Logits that jump, from 0 to 1, where the sum over time of W x passes 0.37."""

    def forward(self, inputs, lengths=None, *, rng=None, last=None):
        return torch.sigmoid(4000 * (super().forward(inputs) - 0.37))


def test_attributions_of_an_answer_that_tips_add_up_as_well():
    model = Tipping(torch.tensor([[0.1, 0.2]]))
    inputs = torch.rand(6, 4, 2, generator=numbers(5)) + 0.5
    found = rs.integrated_gradients(model, inputs, None, torch.zeros(6, dtype=torch.long), num_steps=32)
    assert (found.change > 0.99).all()
    assert found.residual.abs().max() < 0.02
    weighed = inputs * torch.tensor([0.1, 0.2])
    torch.testing.assert_close(
        found.values / found.values.sum((1, 2), keepdim=True), weighed / weighed.sum((1, 2), keepdim=True), atol=1e-4, rtol=1e-3
    )


def test_the_margin_is_the_difference_of_two_logits_attributions():
    model, inputs = classifier(), torch.randn(3, 6, 2, generator=numbers(4))
    one, two = torch.tensor([0, 1, 2]), torch.tensor([1, 2, 0])
    both = [rs.integrated_gradients(model, inputs, None, k).values for k in (one, two)]
    margin = rs.integrated_gradients(model, inputs, None, one, against=two)
    torch.testing.assert_close(margin.values, both[0] - both[1], atol=1e-5, rtol=1e-4)


def test_padding_and_batch_change_no_attribution():
    model, inputs = classifier(convolutions=1, stride=2), torch.randn(3, 8, 2, generator=numbers(5))
    lengths, targets = torch.tensor([8, 5, 2]), torch.tensor([0, 1, 2])
    junk = inputs.clone()
    junk[1, 5:], junk[2, 2:] = 100.0, -100.0
    whole = rs.integrated_gradients(model, junk, lengths, targets, num_steps=8)
    for row, length in enumerate(lengths.tolist()):
        alone = rs.integrated_gradients(model, inputs[row : row + 1, :length], None, targets[row : row + 1], num_steps=8)
        torch.testing.assert_close(whole.values[row, :length], alone.values[0], atol=1e-6, rtol=1e-4)


def test_the_model_is_left_as_it_was():
    model, inputs = classifier(dropout=0.5).train(), torch.randn(2, 4, 2)
    before = [p.clone() for p in model.parameters()]
    rs.integrated_gradients(model, inputs, None, torch.tensor([0, 1]))
    assert model.training
    assert not inputs.requires_grad
    assert all(
        p.grad is None and p.requires_grad and torch.equal(p, b) for p, b in zip(model.parameters(), before, strict=True)
    )


@pytest.mark.parametrize(
    "wrong",
    [
        {"inputs": torch.zeros(3, 4)},
        {"targets": torch.tensor([0])},
        {"lengths": torch.tensor([4])},
        {"baseline": torch.zeros(7)},
    ],
)
def test_arrays_that_do_not_fit_are_refused(wrong, unchecked):
    given = {"inputs": torch.zeros(2, 4, 2), "lengths": None, "targets": torch.tensor([0, 1]), **wrong}
    with pytest.raises(rs.ShapeError):
        rs.integrated_gradients(classifier(), given.pop("inputs"), given.pop("lengths"), given.pop("targets"), **given)


def test_no_points_are_refused():
    with pytest.raises(rs.ConfigError, match="num_steps"):
        rs.integrated_gradients(classifier(), torch.zeros(1, 4, 2), None, torch.tensor([0]), num_steps=0)
