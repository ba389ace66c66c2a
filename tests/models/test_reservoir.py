"""Echo state networks: their statistics, their refusals, and what intrinsic plasticity does. Equality of loops is in tests/contracts."""

import numpy as np
import pytest
import torch

import rnnscope as rs
from rnnscope.core.interfaces import Signature
from rnnscope.models.reservoir import spectral_radius


def built(inputs: int = 2, outputs: int = 1, seed: int = 0, **fields: object) -> rs.ReservoirSystem:
    return rs.EchoState(**fields).build(Signature(inputs, outputs), torch.Generator().manual_seed(seed))


def matrix(system: rs.ReservoirSystem) -> np.ndarray:
    """W, from the sources and weights of each unit."""
    found = np.zeros((system.state_size, system.state_size))
    for unit, (sources, weights) in enumerate(zip(system.sources.numpy(), system.recurrent.numpy(), strict=True)):
        np.add.at(found[unit], sources, weights)
    return found


@pytest.mark.parametrize("units", [30, 400])  # all eigenvalues, and a few by Arnoldi's method
@pytest.mark.parametrize("weights", ["uniform", "gaussian"])
def test_the_recurrent_matrix_has_the_spectral_radius_and_the_degree_asked_for(units: int, weights: str) -> None:
    system = built(units=units, degree=7, spectral_radius=1.3, weights=weights)
    found = matrix(system)
    assert np.abs(np.linalg.eigvals(found)).max() == pytest.approx(1.3, rel=1e-8)
    assert ((found != 0).sum(1) == 7).all()


def test_the_spectral_radius_of_a_rotation_is_its_scale() -> None:
    assert spectral_radius(np.array([[1], [0]]), np.array([[3.0], [-3.0]])) == pytest.approx(3.0)


def test_weights_follow_their_scales_and_every_unit_reads_its_number_of_inputs() -> None:
    system = built(inputs=6, units=300, input_scale=0.2, input_degree=2, bias_scale=1.5)
    assert ((system.drive != 0).sum(1) == 2).all()
    assert 0.19 < float(system.drive.abs().max()) <= 0.2
    assert 1.4 < float(system.bias.abs().max()) <= 1.5
    assert system.drive.dtype == torch.float64


def test_reservoirs_side_by_side_do_not_touch_and_stacked_ones_read_the_one_below() -> None:
    beside = matrix(built(units=20, num_reservoirs=3))
    assert not beside[:20, 20:].any()
    assert not beside[20:40, :20].any()
    stacked = built(units=20, num_reservoirs=3, stacked=True)
    below = matrix(stacked)
    assert below[20:40, :20].any()
    assert not below[40:, :20].any()
    assert not stacked.drive[20:].any()


def test_an_input_reaches_the_top_of_a_stack_in_the_same_step() -> None:
    system = built(units=20, num_reservoirs=3, stacked=True)
    jacobian = system.input_jacobian(torch.zeros(1, 60).double(), torch.zeros(1, 2).double())
    assert (jacobian[0, 40:].abs().sum(1) > 0).all()


def test_outputs_fed_back_move_the_state() -> None:
    system = built(units=20, feedback_scale=1.0)
    state, input = torch.zeros(1, 20).double(), torch.zeros(1, 2).double()
    before = system.step(state, input)
    system.set_readout(torch.zeros(1, 20).double(), torch.ones(1).double())
    assert not torch.allclose(system.step(state, input), before)


def test_intrinsic_plasticity_brings_each_unit_to_the_spread_asked_for() -> None:
    inputs = torch.randn(1500, 1, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    plain = built(inputs=1, units=60, bias_scale=0.5)
    adapted = built(inputs=1, units=60, bias_scale=0.5, plasticity_epochs=20, plasticity_rate=2e-3, plasticity_sd=0.3)
    kept = inputs.clone()
    adapted.adapt_to(inputs)
    assert torch.equal(inputs, kept)

    def states(system: rs.ReservoirSystem) -> torch.Tensor:
        return system.readout_features(inputs[None]).detach()[0, 200:]

    assert float((states(adapted).std(0) - 0.3).abs().mean()) < 0.25 * float((states(plain).std(0) - 0.3).abs().mean())
    assert float(states(adapted).mean(0).abs().mean()) < 0.05
    plain.adapt_to(inputs)
    assert torch.equal(plain.bias, built(inputs=1, units=60, bias_scale=0.5).bias)


def test_back_propagation_trains_the_readout_alone() -> None:
    system = built(units=20)
    assert {name for name, _ in system.named_parameters()} == {"head.weight", "head.bias"}
    system(torch.randn(2, 5, 2, generator=torch.Generator().manual_seed(0))).square().sum().backward()
    assert system.head.weight.grad is not None
    assert system.head.weight.grad.any()


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"spectral_radius": 0.0}, "spectral_radius"),
        ({"spectral_radius": -0.9}, "spectral_radius"),
        ({"leak": 0.0}, "leak"),
        ({"leak": 1.5}, "leak"),
        ({"units": 5, "degree": 6}, "degree"),
        ({"units": 0}, "units"),
        ({"bias_scale": -1.0}, "bias_scale"),
        ({"features": "cubes"}, "features"),
    ],
)
def test_a_bad_field_is_refused_by_name(fields: dict[str, object], named: str) -> None:
    with pytest.raises(rs.ConfigError, match=named):
        rs.EchoState(**fields)


def test_more_inputs_per_unit_than_there_are_is_refused() -> None:
    with pytest.raises(rs.ConfigError, match="input_degree is 3, and the task has 2"):
        built(inputs=2, input_degree=3)


def test_a_matrix_without_loops_has_no_spectral_radius_to_scale() -> None:
    assert spectral_radius(np.array([[0], [0]]), np.array([[0.0], [1.0]])) == 0.0
