"""Back-propagation in the open on our own networks."""

import numpy as np
import pytest
import torch

import rnnscope as rs
from rnnscope.core.interfaces import Signature


def test_the_textbook_recurrences_give_autograds_gradients_of_our_network():
    rng = torch.Generator().manual_seed(0)
    system = rs.Elman(hidden_size=5, num_layers=1).build(Signature(2, 3), rng).double()
    inputs, targets = torch.randn(4, 7, 2, generator=rng).double(), torch.randn(4, 7, 3, generator=rng).double()
    loss = 0.5 * (system(inputs) - targets).square().sum()
    loss.backward()
    m = rs.elman_matrices(system)
    found = rs.backpropagate(inputs.numpy(), targets.numpy(), m.U, m.W, m.V, m.b, m.c)
    layer = system.recurrent_layers()[0]
    pairs = {
        "U": layer.weight_ih_l0,
        "W": layer.weight_hh_l0,
        "V": system.head.weight,
        "b": layer.bias_ih_l0,
        "c": system.head.bias,
    }
    for name, parameter in pairs.items():
        assert np.allclose(getattr(found, name), parameter.grad.numpy(), rtol=1e-10, atol=1e-10), name


@pytest.mark.parametrize("spec", [rs.GRU(num_layers=1), rs.Elman(num_layers=2), rs.Elman(num_layers=1, skip=2)])
def test_other_networks_are_refused(spec):
    system = spec.but(hidden_size=3).build(Signature(1, 1), torch.Generator())
    with pytest.raises(rs.ConfigError, match="one layer without taps"):
        rs.elman_matrices(system)
