"""The autonomous map that analyses look at: the network with one input held, or with its outputs fed back."""

import dataclasses
from typing import Any

import pytest
import torch

import rnnscope as rs
from analysed import Single, driven, forecasting, network, network_for, noise, state_of
from helpers import prepare
from rnnscope.analysis.view import View, view
from rnnscope.core.loops import free_run
from rnnscope.core.system import rollout
from rnnscope.tasks.oscillation import Oscillation


def rng() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def along(seen: View, state: torch.Tensor, steps: int) -> torch.Tensor:
    """Outputs of the map from a state, the state's own first."""
    outputs = [seen.map.readout(state)]
    for _ in range(steps):
        state = seen.map.step(state, state.new_zeros(len(state), 0))
        outputs.append(seen.map.readout(state))
    return torch.stack(outputs, 1)


@pytest.mark.parametrize(
    ("fields", "network_fields"),
    [
        ({}, {}),
        ({"differences": 1}, {}),
        ({"differences": 2}, {"kind": "lstm"}),
        ({"covariates": 2}, {}),
        ({"covariates": 2, "covariates_ahead": False}, {"kind": "tanh"}),
        ({"covariates": 1, "differences": 2}, {"layers": 2}),
        ({"head": "gaussian"}, {}),
        ({"head": "gaussian", "differences": 1, "covariates": 1}, {"kind": "lstm"}),
        ({"variables": 2, "differences": 2}, {"kind": "relu"}),
        ({"horizon": 3}, {}),
        ({}, {"skip": 3}),
        ({"differences": 1, "covariates": 1}, {"skip": 2, "kind": "lstm", "layers": 2}),
    ],
    ids=str,
)
@pytest.mark.parametrize("held", ["zero", "mean"])
def test_a_closed_loop_is_the_free_run(fields: dict[str, Any], network_fields: dict[str, Any], held: Any) -> None:
    data = forecasting(**fields)
    model = network_for(data, **network_fields)
    seen = view(model, data, rng(), input=held, num_sequences=5)
    assert seen.is_closed
    assert seen.map.input_size == 0
    inputs = seen.probe.inputs
    warm = rollout(seen.system, inputs, fused=False)
    start = seen.visited[:, -1]
    exogenous = seen.held.expand(5, 12, -1)
    wanted = free_run(seen.system, warm.final_state, inputs[:, -1], data.feedback, exogenous, fused=False)
    torch.testing.assert_close(along(seen, start, 12), wanted, rtol=0, atol=1e-12)


@pytest.mark.parametrize("differences", [0, 2])
def test_visited_states_are_those_of_the_driven_network(differences: int) -> None:
    data = forecasting(differences=differences)
    seen = view(network_for(data), data, rng(), num_sequences=7)
    states = rollout(seen.system, seen.probe.inputs, fused=False).states
    assert states is not None
    size = seen.system.state_size
    assert seen.visited.shape == (
        7,
        5,
        size + (2 if differences else 0),
    )  # ten steps; a loop begins when the start is forgotten
    assert torch.equal(seen.visited[..., :size], states[:, 5:])
    if differences:
        assert torch.equal(seen.visited[..., size:], seen.probe.inputs[:, 5:])
    else:
        assert torch.equal(view(network_for(data), data, rng(), loop="open", num_sequences=7).visited, states[:, 1:])


def test_the_mean_of_covariates_is_that_of_the_data() -> None:
    data = forecasting(covariates=2, differences=1)
    seen = view(network_for(data), data, rng(), input="mean")
    torch.testing.assert_close(seen.held, seen.probe.inputs[..., 1:].mean((0, 1)))
    assert seen.words == "with its outputs fed back and the covariates held at the mean of the data"
    assert view(network_for(data), data, rng()).words == "with its outputs fed back and the covariates held at zero"
    told = view(network_for(data), data, rng(), input=(0.5, -2.0))
    assert told.held.tolist() == [0.5, -2.0]
    assert told.words.endswith("the covariates held at (0.5, -2)")


def test_without_covariates_the_loop_holds_nothing() -> None:
    data = forecasting()
    for held in ("zero", "mean"):
        seen = view(network_for(data), data, rng(), input=held)
        assert seen.held.shape == (0,)
        assert seen.words == "with its outputs fed back"


def test_an_open_network_holds_one_input() -> None:
    model = network("gru", 2, 3, 1)
    states = torch.rand(4, 3, dtype=torch.float64, generator=rng())
    for held, words in (("zero", "zero"), ("mean", "the mean of the data"), ((1.0, -0.25), "(1, -0.25)")):
        seen = view(model, noise(2), rng(), input=held)  # type: ignore[arg-type]
        assert not seen.is_closed
        assert seen.words == f"with its input held at {words}"
        wanted = seen.system.step(states, seen.held.expand(4, -1))
        assert torch.equal(seen.map.step(states, states.new_zeros(4, 0)), wanted)
    assert view(model, noise(2), rng()).held.tolist() == [0.0, 0.0]
    seen = view(model, noise(2), rng(), input="mean")
    assert torch.equal(seen.held, seen.probe.inputs.flatten(0, 1).mean(0))


def test_a_loop_can_be_opened() -> None:
    data = forecasting(differences=1)
    seen = view(network_for(data), data, rng(), loop="open")
    assert not seen.is_closed
    assert seen.map.state_size == seen.system.state_size
    assert seen.words == "with its input held at zero"


def test_pools_hold_visited_states() -> None:
    seen = view(network("tanh", 1, 3, 1), noise(), rng(), num_sequences=2)
    drawn = seen.pool(30, rng())
    flat = seen.visited.flatten(0, 1)
    assert bool((drawn[:, None] == flat).all(2).any(1).all())
    assert torch.equal(drawn, seen.pool(30, rng()))


def test_the_generator_decides_what_is_seen() -> None:
    model = network("tanh", 1, 3, 1)
    one, same, other = (view(model, noise(), torch.Generator().manual_seed(s)) for s in (0, 0, 1))
    assert torch.equal(one.visited, same.visited)
    assert not torch.equal(one.visited, other.visited)


def test_gaps_leave_finite_states() -> None:
    series = forecasting().series[0]
    observed = torch.rand(series.values.shape, generator=rng()).numpy() > 0.2
    data = prepare(Oscillation(window=10), dataclasses.replace(series, observed=observed))
    assert data.has_gaps
    seen = view(network_for(data), data, rng())
    assert torch.isfinite(seen.visited).all()
    assert seen.probe.targets is not None
    assert torch.isnan(seen.probe.targets).any()


def test_a_step_that_works_in_float32_is_looked_at_in_float64() -> None:
    weight = torch.tensor([[0.5]])
    system = driven(lambda h, x: torch.tanh(h.float() @ weight + x.float()), dtype=torch.float32)
    seen = view(Single(system), noise(), rng())
    assert seen.visited.dtype == torch.float64


@pytest.mark.parametrize("training", [True, False])
def test_the_model_stays_as_it_was(training: bool) -> None:
    data = forecasting(differences=1)
    model = network_for(data, kind="lstm").train(training)
    next(model.parameters()).requires_grad_(False)
    before = state_of(model)
    seen = view(model, data, rng())
    assert state_of(model) == before
    assert all(p.dtype == torch.float64 and not p.requires_grad for p in seen.system.parameters())
    assert not seen.system.training


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"loop": "closed"}, "outputs are no inputs"),
        ({"input": (1.0,)}, "input has 1 numbers"),
        ({"input": (1.0, 2.0, 3.0)}, "input has 3 numbers"),
    ],
)
def test_what_cannot_be_looked_at_is_refused(fields: dict[str, Any], words: str) -> None:
    with pytest.raises(rs.ConfigError, match=words) as caught:
        view(network("gru", 2, 3, 1), noise(2), rng(), **fields)
    assert caught.value.expected
    assert caught.value.remedy


def test_covariates_of_another_number_are_refused() -> None:
    data = forecasting(covariates=2)
    with pytest.raises(rs.ConfigError, match="input has 1 numbers"):
        view(network_for(data), data, rng(), input=(1.0,))
