"""Ablation, gains and what they leave of switching."""

import pytest
import torch

import rnnscope as rs
from known_systems import DOUBLE
from rnnscope.analysis.unit_gain import InputGain, UnitGain, ablate, switching
from rnnscope.core.errors import ShapeError
from rnnscope.models.recurrent_systems import RecurrentSystem


def network() -> RecurrentSystem:
    return RecurrentSystem("tanh", 2, 5, 3).double().requires_grad_(False)


def drawn(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=DOUBLE)


def test_an_ablated_unit_is_zero_after_every_step_and_the_others_do_not_see_it() -> None:
    system, silenced = network(), torch.tensor([False, True, False, False, True])
    state, input = drawn(4, 5), drawn(4, 2, seed=1)
    found = ablate(system, silenced).step(state, input)
    wanted = system.step(state, input)
    assert not found[:, silenced].any()
    assert torch.equal(found[:, ~silenced], wanted[:, ~silenced])


def test_candidates_side_by_side_are_the_candidates_one_by_one() -> None:
    system, silenced = network(), torch.eye(5, dtype=torch.bool)
    state, input = drawn(15, 5), drawn(15, 2, seed=1)
    together = ablate(system, silenced).step(state, input).view(5, 3, 5)
    for number in range(5):
        rows = slice(3 * number, 3 * number + 3)
        torch.testing.assert_close(together[number], ablate(system, silenced[number]).step(state[rows], input[rows]))


def test_gains_of_one_change_nothing() -> None:
    system = network()
    state, input = drawn(4, 5), drawn(4, 2, seed=1)
    everyone = torch.ones(5, dtype=torch.bool)
    for same in (UnitGain(system, torch.ones(5)), InputGain(system, everyone, torch.ones(2, dtype=DOUBLE))):
        torch.testing.assert_close(same.step(state, input), system.step(state, input))
        torch.testing.assert_close(same.readout(state), system.readout(state))
        assert same.initial_state(3).shape == (3, 5)


def test_input_gain_reaches_only_its_units() -> None:
    system, chosen = network(), torch.tensor([True, False, False, True, False])
    state, input = drawn(4, 5), drawn(4, 2, seed=1)
    found = InputGain(system, chosen, torch.tensor([0.0, 3.0], dtype=DOUBLE)).step(state, input)
    scaled = torch.cat([0 * input[:2], 3 * input[2:]])
    torch.testing.assert_close(found[:, chosen], system.step(state, scaled)[:, chosen])
    torch.testing.assert_close(found[:, ~chosen], system.step(state, input)[:, ~chosen])


def test_gains_of_the_wrong_length_are_refused() -> None:
    with pytest.raises(ShapeError, match="gains"):
        UnitGain(network(), torch.ones(4))


def test_switching_is_counted_from_the_starts(kicked: rs.System, rng: torch.Generator) -> None:
    """Without kicks the memory keeps what it starts with; from a state past its threshold it switches once."""
    silenced = torch.tensor([False, True, True, False])
    starts = torch.tensor([[0.9, 0, 0, 0], [-0.9, 0, 0, 0], [0.9, 0, 2.0, 0]], dtype=DOUBLE)
    found = switching(ablate(kicked, silenced), 1, starts, rng, num_steps=30)
    assert float(found.rate[0]) == pytest.approx(1 / 90)
    assert found.shares[0].tolist() == pytest.approx([31 / 90, 59 / 90])
    assert float(found.preservation[0]) == pytest.approx(2 / 3)


def test_a_candidate_that_grows_without_bound_is_lost_and_leaves_the_others_alone(
    kicked: rs.System, rng: torch.Generator
) -> None:
    def step(state: torch.Tensor, input: torch.Tensor) -> torch.Tensor:
        return 0.9 * state + input

    walk = rs.System(step, 1, 1, readout=lambda h: torch.cat([h, -h], -1), output_size=2, dtype=DOUBLE)
    gains = torch.tensor([[1.0], [4.0]], dtype=DOUBLE)
    found = switching(UnitGain(walk, gains), 2, torch.ones(6, 1, dtype=DOUBLE), rng)
    assert found.rate.isnan().tolist() == [False, True]
    assert found.mean_norm.isinf().tolist() == [False, True]
    alone = switching(walk, 1, torch.ones(6, 1, dtype=DOUBLE), torch.Generator().manual_seed(0))
    torch.testing.assert_close(found.rate[:1], alone.rate)
