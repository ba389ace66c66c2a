"""Windows whose end runs freely, and the ridge solution of a readout."""

import pytest
import torch
from torch import Tensor

import rnnscope as rs
from rnnscope.core.interfaces import Signature
from rnnscope.core.loops import identity_feedback
from rnnscope.training.passes import free_running_outputs

INPUTS, STEPS, BATCH = 2, 9, 4


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def drawn(*shape: int, seed: int = 1) -> Tensor:
    return torch.rand(shape, generator=generator(seed), dtype=torch.float64)


def network() -> rs.DynamicalSystem:
    return rs.GRU(hidden_size=3, num_layers=1, skip=2).build(Signature(INPUTS, 1), generator()).double()


def feedback() -> rs.AffineFeedback:
    """The output is integrated into the first input; the second comes from outside."""
    double = torch.float64
    carry, output, outside = torch.zeros(2, 2, dtype=double), torch.zeros(2, 1, dtype=double), torch.zeros(2, 1, dtype=double)
    carry[0, 0], output[0, 0], outside[1, 0] = 1.0, 0.5, 1.0
    return rs.AffineFeedback(carry, output, outside)


class Loop(rs.System):
    """A system without a fused path that tells what it was fed: y = x + 100."""

    def __init__(self) -> None:
        super().__init__(lambda h, x: x, 1, 1, readout=lambda h: h + 100, dtype=torch.float64)


@pytest.mark.parametrize("steps", [1, 4, 8])
def test_the_free_end_reads_its_own_outputs(steps: int) -> None:
    system, given, inputs = network(), feedback(), drawn(BATCH, STEPS, INPUTS)
    found = free_running_outputs(system, inputs, given, steps, 0.0, generator())
    for row in range(BATCH):
        state, fed = system.initial_state(1), inputs[row : row + 1, 0]
        output = None
        for t in range(STEPS):
            if t >= STEPS - steps:
                assert output is not None
                fed = torch.stack([fed[:, 0] + 0.5 * output[:, 0], inputs[row : row + 1, t, 1]], 1)
            else:
                fed = inputs[row : row + 1, t]
            state = system.step(state, fed)
            output = system.readout(state)
            torch.testing.assert_close(found[row : row + 1, t], output)


def test_a_window_always_keeps_one_true_input() -> None:
    system, inputs = network(), drawn(BATCH, STEPS, INPUTS)
    longest = free_running_outputs(system, inputs, feedback(), STEPS - 1, 0.0, generator())
    assert torch.equal(free_running_outputs(system, inputs, feedback(), STEPS + 5, 0.0, generator()), longest)


def test_a_teacher_who_always_speaks_is_the_plain_pass() -> None:
    system, inputs = network(), drawn(BATCH, STEPS, INPUTS)
    found = free_running_outputs(system, inputs, feedback(), 5, 1.0, generator())
    torch.testing.assert_close(found, rs.rollout(system, inputs).outputs)


@pytest.mark.parametrize("probability", [0.2, 0.7])
def test_the_teacher_speaks_with_the_probability_given(probability: float) -> None:
    batch, steps = 2000, 5
    inputs = drawn(batch, STEPS, 1)
    found = free_running_outputs(Loop(), inputs, identity_feedback(1), steps, probability, generator())[..., 0]
    true = found < 101
    assert true[:, : STEPS - steps].all()
    share = true[:, STEPS - steps :].double().mean(0)
    assert (share - probability).abs().max() < 4 * (probability * (1 - probability) / batch) ** 0.5
    assert torch.equal(found[true], inputs[..., 0][true] + 100)
    # where nobody speaks, the fed input is the last output
    later, earlier = found[:, 1:], found[:, :-1]
    torch.testing.assert_close(later[~true[:, 1:]], earlier[~true[:, 1:]] + 100)


def test_rows_are_taught_apart_and_the_generator_decides() -> None:
    inputs = drawn(50, STEPS, 1)

    def run(seed: int) -> Tensor:
        return free_running_outputs(Loop(), inputs, identity_feedback(1), 5, 0.5, generator(seed)) < 101

    assert torch.equal(run(0), run(0))
    assert not torch.equal(run(0), run(1))
    assert len(torch.unique(run(0), dim=0)) > 10


def test_gradients_flow_through_the_fed_outputs() -> None:
    system, inputs = network(), drawn(BATCH, STEPS, INPUTS)
    outputs = free_running_outputs(system, inputs, feedback(), STEPS - 1, 0.0, generator())
    point, width = next(iter(system.parameters())), 1e-6
    (auto,) = torch.autograd.grad(outputs[:, -1].sum(), point)
    with torch.no_grad():
        ends = []
        for sign in (1, -1):
            point[0, 0] += sign * width
            ends.append(free_running_outputs(system, inputs, feedback(), STEPS - 1, 0.0, generator())[:, -1].sum())
            point[0, 0] -= sign * width
    assert auto[0, 0].item() == pytest.approx(((ends[0] - ends[1]) / (2 * width)).item(), rel=1e-6)
