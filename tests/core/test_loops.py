"""Closing loops, holding inputs, adding noise."""

import math

import pytest
import torch
from torch import Tensor

import rnnscope as rs
from known_systems import DOUBLE, linear_map, rotation
from rnnscope.core.loops import identity_feedback


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=DOUBLE)


def oscillator() -> rs.System:
    """Two states, three inputs, two outputs, nothing symmetric."""
    weights, drive, out = 0.3 * drawn(2, 2), 0.3 * drawn(2, 3, seed=1), drawn(2, 2, seed=2)
    return rs.System(
        lambda h, x: torch.tanh(h @ weights.T + x @ drive.T), 2, 3, readout=lambda h: h @ out.T, output_size=2, dtype=DOUBLE
    )


def feedback() -> rs.AffineFeedback:
    return rs.AffineFeedback(0.3 * drawn(3, 3, seed=3), drawn(3, 2, seed=4), drawn(3, 1, seed=5))


def test_feedback_is_the_affine_map_it_says() -> None:
    given = feedback()
    x, y, e = drawn(4, 3), drawn(4, 2, seed=1), drawn(4, 1, seed=2)
    found = given(x, y, e)
    for row in range(4):
        wanted = given.carry @ x[row] + given.from_output @ y[row] + given.from_exogenous @ e[row]
        torch.testing.assert_close(found[row], wanted)


def test_feedback_knows_what_it_carries() -> None:
    assert feedback().carries
    assert not identity_feedback(2).carries
    assert (feedback().num_exogenous, identity_feedback(2).num_exogenous) == (1, 0)
    assert feedback().like(torch.zeros(1)).carry.dtype == torch.float32


def test_free_run_is_the_recursion_by_hand() -> None:
    system, given = oscillator(), feedback()
    state, x, e = drawn(4, 2), drawn(4, 3, seed=1), drawn(4, 5, 1, seed=2)
    found = rs.free_run(system, state, x, given, e)
    assert found.shape == (4, 6, 2)
    outputs = [system.readout(state)]
    for k in range(5):
        x = x @ given.carry.T + outputs[-1] @ given.from_output.T + e[:, k] @ given.from_exogenous.T
        state = system.step(state, x)
        outputs.append(system.readout(state))
    torch.testing.assert_close(found, torch.stack(outputs, 1))


def test_a_free_run_of_no_steps_is_the_present_output() -> None:
    system = oscillator()
    state = drawn(2, 2)
    found = rs.free_run(system, state, drawn(2, 3), feedback(), torch.zeros(2, 0, 1, dtype=DOUBLE))
    assert torch.equal(found, system.readout(state)[:, None])


def test_a_closed_loop_of_a_linear_map_is_a_linear_map() -> None:
    matrix, drive = 0.5 * drawn(2, 2), drawn(2, 2, seed=1)
    loop = rs.close_loop(linear_map(matrix, drive))
    assert (loop.state_size, loop.input_size, loop.output_size) == (2, 0, 2)
    start = drawn(3, 2, seed=2)
    torch.testing.assert_close(loop.step(start, torch.zeros(3, 0, dtype=DOUBLE)), start @ (matrix + drive).T)


def test_a_carrying_loop_keeps_its_last_input_in_the_state() -> None:
    system, given = oscillator(), feedback()
    loop = rs.close_loop(system, given)
    assert (loop.state_size, loop.input_size) == (5, 1)
    state, x, e = drawn(4, 2), drawn(4, 3, seed=1), drawn(4, 1, seed=2)
    joined = loop.join(state, x)
    assert all(torch.equal(a, b) for a, b in zip(loop.split(joined), (state, x), strict=True))
    fed = given(x, system.readout(state), e)
    torch.testing.assert_close(loop.step(joined, e), loop.join(system.step(state, fed), fed))
    assert torch.equal(loop.readout(joined), system.readout(state))


def test_a_held_input_is_a_constant_input() -> None:
    system, held = oscillator(), drawn(3)
    state = drawn(4, 2)
    found = rs.rollout(rs.hold_input(system, held), torch.zeros(4, 6, 0, dtype=DOUBLE), state)
    wanted = rs.rollout(system, held.expand(4, 6, 3), state)
    torch.testing.assert_close(found.outputs, wanted.outputs)


def test_a_held_input_is_a_copy() -> None:
    held = drawn(3)
    system = rs.hold_input(oscillator(), held)
    before = system.step(drawn(1, 2), torch.zeros(1, 0, dtype=DOUBLE))
    held += 1
    assert torch.equal(system.step(drawn(1, 2), torch.zeros(1, 0, dtype=DOUBLE)), before)


def test_noise_of_no_size_is_no_noise() -> None:
    system, rng = oscillator(), torch.Generator()
    inputs = drawn(2, 5, 3)
    before = rng.get_state()
    assert torch.equal(rs.rollout(rs.with_noise(system, rng), inputs).outputs, rs.rollout(system, inputs).outputs)
    assert torch.equal(rng.get_state(), before)


def test_noise_is_that_of_the_generator() -> None:
    def run(seed: int) -> Tensor:
        noisy = rs.with_noise(oscillator(), torch.Generator().manual_seed(seed), input_sd=0.1, state_sd=0.2)
        return rs.rollout(noisy, drawn(2, 5, 3)).outputs

    assert torch.equal(run(0), run(0))
    assert not torch.allclose(run(0), run(1))


@pytest.mark.parametrize(("input_sd", "state_sd"), [(0.3, 0.0), (0.0, 0.4), (0.3, 0.4)])
def test_noise_has_the_variance_asked_for(input_sd: float, state_sd: float) -> None:
    count = 20_000
    drive = torch.tensor([[2.0], [0.0]], dtype=DOUBLE)
    system = rs.with_noise(
        linear_map(torch.zeros(2, 2, dtype=DOUBLE), drive),
        torch.Generator().manual_seed(0),
        input_sd=input_sd,
        state_sd=state_sd,
    )
    found = system.step(torch.zeros(count, 2, dtype=DOUBLE), torch.ones(count, 1, dtype=DOUBLE))
    wanted = torch.tensor([4 * input_sd**2 + state_sd**2, state_sd**2], dtype=DOUBLE)
    torch.testing.assert_close(found.var(0), wanted, rtol=5 * math.sqrt(2 / count), atol=1e-12)
    torch.testing.assert_close(found.mean(0), drive[:, 0], rtol=0, atol=0.02)


def test_a_noisy_system_may_be_closed() -> None:
    noisy = rs.with_noise(rotation(0.1), torch.Generator().manual_seed(0), state_sd=0.1)
    held = rs.hold_input(noisy, torch.zeros(0, dtype=DOUBLE))
    assert rs.rollout(held, torch.zeros(3, 4, 0, dtype=DOUBLE)).outputs.shape == (3, 4, 2)


def test_loops_that_do_not_fit_are_refused() -> None:
    system = oscillator()
    with pytest.raises(rs.ShapeError, match="as many outputs as inputs"):
        rs.close_loop(system)
    with pytest.raises(rs.ShapeError, match=r"\(3, 2\)"):
        rs.close_loop(system, identity_feedback(2))
    with pytest.raises(rs.ShapeError, match=r"\(3,\)"):
        rs.hold_input(system, torch.zeros(2))
    with pytest.raises(rs.ShapeError, match=r"\(1, 2\)"):
        rs.free_run(system, torch.zeros(1, 5), torch.zeros(1, 3), feedback(), torch.zeros(1, 1, 1))
