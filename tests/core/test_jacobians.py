"""Closed forms equal automatic differentiation, for every network and wrapper."""

import itertools

import pytest
import torch

import rnnscope as rs
from rnnscope.core.interfaces import Signature
from rnnscope.core.jacobians import input_jacobians, readout_jacobians, state_jacobians

D = torch.float64
CASES = list(itertools.product([rs.Elman(), rs.Elman(nonlinearity="relu"), rs.GRU(), rs.LSTM()], [1, 3], [0, 2]))


def plain(system: rs.DynamicalSystem) -> rs.System:
    """The same maps without closed forms."""
    return rs.System(system.step, system.state_size, system.input_size, system.readout, system.output_size, dtype=D)


def agree(system: rs.DynamicalSystem) -> None:
    rng = torch.Generator().manual_seed(1)
    states = torch.randn(5, system.state_size, generator=rng, dtype=D)
    inputs = torch.randn(5, system.input_size, generator=rng, dtype=D)
    other = plain(system)
    for found, wanted in (
        (state_jacobians(system, states, inputs), state_jacobians(other, states, inputs)),
        (input_jacobians(system, states, inputs), input_jacobians(other, states, inputs)),
        (readout_jacobians(system, states), readout_jacobians(other, states)),
    ):
        assert torch.allclose(found, wanted, rtol=0, atol=1e-13)


@pytest.mark.parametrize(("spec", "layers", "skip"), CASES)
def test_networks(spec, layers, skip):
    built = (
        spec.but(hidden_size=4, num_layers=layers, skip=skip).build(Signature(3, 3), torch.Generator().manual_seed(0)).double()
    )
    agree(built)
    agree(rs.hold_input(built, torch.ones(3, dtype=D)))
    agree(rs.close_loop(built))


def test_closed_loops_that_carry_their_input():
    built = rs.GRU(hidden_size=4, num_layers=2, skip=2).build(Signature(4, 2), torch.Generator().manual_seed(0)).double()
    rng = torch.Generator().manual_seed(2)
    feedback = rs.AffineFeedback(*(torch.randn(4, n, generator=rng, dtype=D) for n in (4, 2, 3)))
    agree(rs.close_loop(built, feedback))


def test_nothing_is_left_attached_to_the_callers_graph():
    built = rs.GRU(hidden_size=4, num_layers=1).build(Signature(3, 2), torch.Generator().manual_seed(0))
    assert not state_jacobians(built, torch.zeros(2, 4), torch.zeros(2, 3)).requires_grad
    assert not state_jacobians(plain(built.double()), torch.zeros(2, 4, dtype=D), torch.zeros(2, 3, dtype=D)).requires_grad
    assert all(p.grad is None for p in built.parameters())
