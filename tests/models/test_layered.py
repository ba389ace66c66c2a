"""Stacks of layers of any sizes and kinds: their equations, their directions, and the systems inside."""

import pytest
import torch
from torch import Tensor

import rnnscope as rs
from rnnscope.core.interfaces import Signature
from rnnscope.core.jacobians import input_jacobians, readout_jacobians, state_jacobians
from rnnscope.models.layered import LayeredNetwork
from rnnscope.models.recurrent_systems import RecurrentSystem
from rnnscope.models.stacked import StackedSystem

MIXED = (
    rs.Layer(cell="lstm", hidden_size=4),
    rs.Layer(cell="gru", hidden_size=3, bias=False),
    rs.Layer(cell="relu", hidden_size=5),
)
BOTH = (rs.Layer(cell="gru", hidden_size=4, bidirectional=True), rs.Layer(cell="lstm", hidden_size=3))


def built(spec: rs.Layered, inputs: int = 3, outputs: int = 2) -> LayeredNetwork:
    return spec.build(Signature(inputs, outputs), torch.Generator().manual_seed(0)).double().eval()


def drawn(*shape: int, seed: int = 1) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@torch.no_grad()
@pytest.mark.parametrize("activation", ["linear", "softmax"])
def test_one_direction_is_one_system_with_the_same_outputs(activation: str) -> None:
    network = built(rs.Layered(layers=MIXED, dense=(rs.Dense(units=4, activation="tanh"),), activation=activation))
    system = network.systems()["network"]
    assert isinstance(system, StackedSystem)
    inputs = drawn(2, 6, 3)
    for fused in (True, False):
        found = rs.rollout(system, inputs, keep_states=not fused, fused=fused)
        torch.testing.assert_close(found.outputs, network(inputs))


def test_layers_that_are_alike_with_a_linear_readout_are_the_plain_system() -> None:
    network = built(rs.Layered(layers=(rs.Layer(cell="lstm", hidden_size=4),) * 2))
    system = network.systems()["network"]
    assert isinstance(system, RecurrentSystem)
    assert system.num_layers == 2
    inputs = drawn(2, 6, 3)
    torch.testing.assert_close(rs.rollout(system, inputs).outputs, network(inputs))


def test_the_closed_derivatives_of_a_stack_are_those_of_autograd() -> None:
    system = built(rs.Layered(layers=MIXED, dense=(rs.Dense(units=4, activation="tanh"),), activation="softmax")).systems()[
        "network"
    ]
    plain = rs.System(system.step, system.state_size, 3, system.readout, 2, dtype=torch.float64)
    states, inputs = drawn(4, system.state_size), drawn(4, 3, seed=2)
    for how in (state_jacobians, input_jacobians):
        torch.testing.assert_close(how(system, states, inputs), how(plain, states, inputs))
    torch.testing.assert_close(readout_jacobians(system, states), readout_jacobians(plain, states))


@torch.no_grad()
def test_the_directions_of_one_layer_share_the_outputs() -> None:
    network = built(rs.Layered(layers=BOTH[:1]))
    forward, backward = network.systems().values()
    inputs = drawn(2, 6, 3)
    there, back = rs.rollout(forward, inputs).outputs, rs.rollout(backward, inputs.flip(1)).outputs.flip(1)
    torch.testing.assert_close(there + back, network(inputs))


@torch.no_grad()
@pytest.mark.parametrize("last_step", [True, False])
def test_padding_changes_no_output(last_step: bool) -> None:
    network = built(rs.Layered(layers=BOTH, last_step=last_step))
    inputs, lengths = drawn(3, 7, 3), torch.tensor([7, 4, 1])
    whole = network(inputs, lengths, last=1)
    for row, length in enumerate(lengths.tolist()):
        torch.testing.assert_close(network(inputs[row : row + 1, :length], last=1)[0], whole[row])


@torch.no_grad()
def test_the_last_step_of_a_backward_direction_is_where_it_ends() -> None:
    layer = BOTH[:1]
    network, every = built(rs.Layered(layers=layer, last_step=True)), built(rs.Layered(layers=layer))
    forward, backward = every.systems().values()
    inputs = drawn(2, 6, 3)
    ends = rs.rollout(forward, inputs).outputs[:, -1] + rs.rollout(backward, inputs.flip(1)).outputs[:, -1]
    torch.testing.assert_close(network(inputs)[:, 0], ends)


def test_systems_of_a_stack_in_both_directions_are_named_by_layer() -> None:
    systems = built(rs.Layered(layers=BOTH)).systems()
    assert list(systems) == ["forward-layer0", "backward-layer0", "layer1"]
    assert [s.input_size for s in systems.values()] == [3, 3, 8]


def test_a_network_of_layers_trains_through_the_pipeline(tmp_path) -> None:
    from helpers import run_tiny

    layers = (rs.Layer(cell="gru", hidden_size=4), rs.Layer(cell="lstm", hidden_size=3))
    run = run_tiny(tmp_path, models={"stack": rs.Layered(layers=layers)})
    assert run.model("stack").spec.layers == layers
    assert len(run.forecast(3)) == 3


@pytest.mark.parametrize(
    ("spec", "word"),
    [(rs.Layered(layers=()), "layers is empty"), (rs.Layered(readout=False), "readout is false")],
)
def test_specs_that_make_no_network_are_refused(spec: rs.Layered, word: str) -> None:
    with pytest.raises(rs.ConfigError, match=word):
        built(spec)
