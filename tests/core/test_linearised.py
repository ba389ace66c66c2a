"""Networks to first order in their weights: written-out passes equal automatic ones, and both equal the dense Jacobian."""

import itertools

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call, jacrev

from rnnscope.core.interfaces import Signature
from rnnscope.core.linearised import AutomaticLinearised, Linearisable, flat_weights, linearise, set_weights
from rnnscope.core.system import DynamicalSystem, SequenceModel, rollout
from rnnscope.models.classifier import Classifier
from rnnscope.models.mlp import MLP
from rnnscope.models.recurrent_systems import recurrent_system

CASES = [
    *itertools.product(["tanh", "relu", "gru", "lstm"], [1, 2], [0, 2], [True]),
    ("tanh", 1, 0, False),
    ("gru", 2, 0, False),
    ("lstm", 1, 2, False),
]
EACH = pytest.mark.parametrize(("kind", "layers", "skip", "bias"), CASES)
LENGTHS = torch.tensor([7, 3, 5, 1])


def network(kind, layers, skip, bias):
    system = recurrent_system(kind, 2, 4, 3, layers, bias=bias, readout_bias=bias, skip=skip).double()
    return randomised(system)


def randomised(model):
    rng = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(0.5 * torch.randn(parameter.shape, generator=rng))
    return model.eval()


def drawn(*shape, seed=2):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@EACH
@pytest.mark.parametrize(("lengths", "last"), [(None, 1), (None, 7), (LENGTHS, 1), (LENGTHS, 4)])
def test_written_out_passes_equal_automatic_ones(kind, layers, skip, bias, lengths, last):
    system, inputs = network(kind, layers, skip, bias), drawn(4, 7, 2)
    assert isinstance(system, Linearisable)
    one, other = linearise(system, inputs, lengths, last), AutomaticLinearised(system, inputs, lengths, last)
    close = {"rtol": 1e-10, "atol": 1e-10}
    torch.testing.assert_close(one.outputs, system(inputs, lengths, last=last).detach(), **close)
    change = drawn(len(flat_weights(system)), seed=3)
    for own, theirs in zip(one.push(change), other.push(change), strict=True):
        torch.testing.assert_close(own, theirs, **close)
    on_outputs, on_states = drawn(4, last, 3, seed=4), drawn(4, 7, system.state_size, seed=5)
    torch.testing.assert_close(one.pull(on_outputs), other.pull(on_outputs), **close)
    torch.testing.assert_close(one.pull(on_outputs, on_states), other.pull(on_outputs, on_states), **close)


def jacobian(model: SequenceModel, inputs: Tensor, last: int) -> Tensor:
    """Of the outputs by all weights, (outputs, P)."""
    names = [name for name, p in model.named_parameters() if p.requires_grad]

    def outputs(weights: tuple[Tensor, ...]) -> Tensor:
        found = functional_call(model, dict(zip(names, weights, strict=True)), (inputs,), {"last": last})
        return found.flatten()

    parts = jacrev(outputs)(tuple(p.detach() for p in model.parameters() if p.requires_grad))
    return torch.cat([part.flatten(1) for part in parts], 1)


@pytest.mark.parametrize(
    "model",
    [
        network("tanh", 1, 0, True),
        network("lstm", 2, 2, True),
        randomised(MLP(hidden_sizes=(5,)).build(Signature(2, 3), torch.Generator()).double()),
        randomised(Classifier(hidden_size=3).build(Signature(2, 3), torch.Generator()).double()),
    ],
    ids=["tanh", "lstm", "mlp", "classifier"],
)
def test_both_ways_are_the_dense_jacobian(model):
    steps = 1 if not isinstance(model, Linearisable) else 5
    inputs = drawn(3, steps, 2)
    found = linearise(model, inputs, None, 1)
    dense = jacobian(model, inputs, 1)
    change, on = drawn(dense.shape[1], seed=3), drawn(*found.outputs.shape, seed=4)
    torch.testing.assert_close(found.push(change)[0].flatten(), dense @ change)
    torch.testing.assert_close(found.pull(on), dense.T @ on.flatten())


def test_weights_that_are_not_trained_have_no_place():
    system = network("gru", 2, 0, True)
    system.layers[0].requires_grad_(False)
    inputs = drawn(3, 4, 2)
    change = drawn(len(flat_weights(system)), seed=3)
    one, other = linearise(system, inputs, None, 1), AutomaticLinearised(system, inputs, None, 1)
    torch.testing.assert_close(one.push(change)[0], other.push(change)[0])
    torch.testing.assert_close(one.pull(one.outputs), other.pull(one.outputs))


def test_a_system_known_by_its_step_alone_will_do():
    class Own(DynamicalSystem, SequenceModel):
        """h' = tanh(a h + x), y = h."""

        state_size = input_size = output_size = 1

        def __init__(self):
            super().__init__()
            self.a = nn.Parameter(torch.tensor(0.5, dtype=torch.float64))

        def initial_state(self, batch_size):
            return self.a.new_zeros(batch_size, 1)

        def step(self, state, input):
            return torch.tanh(self.a * state + input)

        def readout(self, state):
            return state

        def forward(self, inputs, lengths=None, *, rng=None, last=None):
            return rollout(self, inputs).outputs[:, -(last or inputs.shape[1]) :]

        def systems(self):
            return {"own": self}

    model, inputs = Own(), drawn(2, 5, 1)
    found, size = linearise(model, inputs, None, 1), 1e-6
    change = torch.ones(1, dtype=torch.float64)
    pushed = found.push(change)[0]
    before, kept = model(inputs, last=1).detach(), flat_weights(model)
    set_weights(model, kept + size * change)
    numeric = (model(inputs, last=1).detach() - before) / size
    torch.testing.assert_close(pushed, numeric, rtol=1e-4, atol=1e-6)
    assert found.has_states


def test_weights_go_there_and_back():
    system = network("lstm", 2, 2, True)
    kept = flat_weights(system)
    set_weights(system, kept + 1)
    torch.testing.assert_close(flat_weights(system), kept + 1)


def test_the_fused_lstm_kernel_is_back_afterwards():
    before = torch.backends.mkldnn.enabled
    model = Classifier(cell="lstm", hidden_size=3).build(Signature(2, 3), torch.Generator()).eval()
    found = linearise(model, torch.randn(4, 6, 2), None, 1)
    assert torch.isfinite(found.push(flat_weights(model))[0]).all()
    assert torch.backends.mkldnn.enabled == before
