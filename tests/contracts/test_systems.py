"""What every dynamical system must do: one battery over all registered recurrent models and all wrappers."""

import copy
import itertools
from collections.abc import Callable

import numpy as np
import pytest
import torch
from safetensors.torch import load, save
from torch import Tensor

import rnnscope as rs
from known_systems import linear_map, logistic
from rnnscope.core.interfaces import ModelSpec, Signature
from rnnscope.core.loops import FusedClosedLoop
from rnnscope.core.system import FusedRollout, LinearReadout
from rnnscope.registry import MODELS, resolve

DOUBLE, SINGLE = torch.float64, torch.float32
TOLERANCE = {SINGLE: 1e-6, DOUBLE: 1e-12}
DTYPES = pytest.mark.parametrize("dtype", [SINGLE, DOUBLE], ids=["float32", "float64"])
INPUTS, OUTPUTS, STEPS, BATCH = 3, 2, 8, 4
CHOICES = {
    "nonlinearity": ("tanh", "relu"),
    "num_layers": (1, 2),
    "skip": (0, 3),
    "bias": (True, False),
    "features": ("state", "state_squares", "mixed"),
    "feedback_scale": (0.0, 0.3),
    "stacked": (True, False),
    "form": ("shallow", "clipped", "almost_linear"),
    "latent_size": (0, 5),
}
SMALL = {"hidden_size": 5, "units": 11, "num_reservoirs": 2, "leak": 0.7, "spectral_radius": 0.4}


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def is_network(cls: type[ModelSpec], fields: dict[str, float]) -> bool:
    """Whether what a spec builds is itself a system; the other models are held to tests/contracts/test_models.py."""
    try:
        return isinstance(cls(**fields).build(Signature(INPUTS, OUTPUTS), generator()), rs.DynamicalSystem)
    except rs.RnnscopeError:  # it needs images, or a file of weights
        return False


def specs() -> dict[str, ModelSpec]:
    """Every registered network with every combination of its fields in CHOICES."""
    found: dict[str, ModelSpec] = {}
    for kind in MODELS:
        cls = resolve("model", kind)
        fields = {name: values for name, values in CHOICES.items() if name in cls.model_fields}
        size = {name: value for name, value in SMALL.items() if name in cls.model_fields}
        if not is_network(cls, size):
            continue
        for values in itertools.product(*fields.values()):
            label = "-".join([kind, *(f"{name}-{value}" for name, value in zip(fields, values, strict=True))])
            found[label] = cls(**size, **dict(zip(fields, values, strict=True)))
    return found


SPECS = specs()
assert {"elman-nonlinearity-tanh-num_layers-1-skip-0-bias-True"} <= SPECS.keys()
NETWORKS = pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS.keys())
# an embedding reads symbols; its closed loop is sampling
LOOPS = pytest.mark.parametrize(
    "spec",
    [s for n, s in SPECS.items() if not n.startswith("embedding")],
    ids=[n for n in SPECS if not n.startswith("embedding")],
)


def drawn(*shape: int, seed: int = 1, dtype: torch.dtype = DOUBLE) -> Tensor:
    return torch.rand(shape, generator=generator(seed), dtype=DOUBLE).mul(2).sub(1).to(dtype)


def built(spec: ModelSpec, dtype: torch.dtype = DOUBLE, seed: int = 0) -> rs.DynamicalSystem:
    """The one system in a freshly built model."""
    model = spec.build(Signature(INPUTS, OUTPUTS), generator(seed)).to(dtype).eval()
    (system,) = model.systems().values()
    return system


def integrating(num_exogenous: int) -> rs.AffineFeedback:
    """A feedback in which the next input depends on the present one."""
    carry = 0.4 * drawn(INPUTS, INPUTS, seed=5)
    return rs.AffineFeedback(carry, 0.5 * drawn(INPUTS, OUTPUTS, seed=6), drawn(INPUTS, num_exogenous, seed=7))


def forgetting(num_exogenous: int) -> rs.AffineFeedback:
    """A feedback of outputs and exogenous inputs alone."""
    full = integrating(num_exogenous)
    return rs.AffineFeedback(torch.zeros_like(full.carry), full.from_output, full.from_exogenous)


def driven_map(seed: int) -> rs.System:
    weights, drive, out = drawn(4, 4, seed=seed), drawn(4, INPUTS, seed=seed + 1), drawn(OUTPUTS, 4, seed=seed + 2)
    return rs.System(
        lambda h, x: torch.tanh(h @ weights.T + x @ drive.T),
        4,
        INPUTS,
        readout=lambda h: h @ out.T,
        output_size=OUTPUTS,
        initial=drawn(4, seed=seed + 3),
        dtype=DOUBLE,
    )


def frame_network(seed: int) -> rs.DynamicalSystem:
    """Convolutions before a recurrent network; its input is a flattened frame."""
    signature = Signature(2 * 2 * 3, OUTPUTS, frame=(2, 2, 3))
    model = rs.CNNRNN(conv_channels=(3, 2), hidden_size=4).build(signature, generator(seed)).double().eval()
    (system,) = model.systems().values()
    return system


def gated(seed: int) -> rs.DynamicalSystem:
    return built(rs.GRU(hidden_size=5, num_layers=2, skip=2), seed=seed)


WRAPPED: dict[str, Callable[[int], rs.DynamicalSystem]] = {
    "System": driven_map,
    "System, linear": lambda seed: linear_map(0.5 * drawn(3, 3, seed=seed), drawn(3, 2, seed=seed + 1)),
    "System, autonomous": lambda seed: logistic(),
    "HoldInput": lambda seed: rs.hold_input(gated(seed), drawn(INPUTS, seed=seed)),
    "FrameSystem": lambda seed: frame_network(seed),
    "HoldInput of System": lambda seed: rs.hold_input(driven_map(seed), drawn(INPUTS, seed=seed)),
    "ClosedLoop": lambda seed: rs.close_loop(gated(seed), forgetting(0)),
    "ClosedLoop, exogenous": lambda seed: rs.close_loop(gated(seed), forgetting(1)),
    "ClosedLoop, carrying": lambda seed: rs.close_loop(gated(seed), integrating(0)),
    "ClosedLoop, carrying, exogenous": lambda seed: rs.close_loop(driven_map(seed), integrating(2)),
    "HoldInput of ClosedLoop": lambda seed: rs.hold_input(rs.close_loop(gated(seed), integrating(2)), drawn(2, seed=seed)),
}


def network(spec: ModelSpec) -> Callable[[int], rs.DynamicalSystem]:
    return lambda seed: built(spec, seed=seed)


EVERYTHING: dict[str, Callable[[int], rs.DynamicalSystem]] = {**{k: network(s) for k, s in SPECS.items()}, **WRAPPED}
SYSTEMS = pytest.mark.parametrize("make", EVERYTHING.values(), ids=EVERYTHING.keys())


def some_state(system: rs.DynamicalSystem, batch: int = BATCH, seed: int = 2) -> Tensor:
    return drawn(batch, system.state_size, seed=seed).abs()  # inside [0, 1], where the logistic map lives


def some_inputs(system: rs.DynamicalSystem, batch: int = BATCH, steps: int = STEPS) -> Tensor:
    return drawn(batch, steps, system.input_size, seed=3)


def slow_rollout(system: rs.DynamicalSystem, inputs: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
    """Outputs and states by the definition."""
    states = []
    for t in range(inputs.shape[1]):
        state = system.step(state, inputs[:, t])
        states.append(state)
    return torch.stack([system.readout(s) for s in states], 1), torch.stack(states, 1)


def close(found: Tensor, wanted: Tensor, dtype: torch.dtype = DOUBLE) -> None:
    torch.testing.assert_close(found, wanted, rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype])


# every system


@SYSTEMS
def test_step_is_pure(make: Callable[[int], rs.DynamicalSystem]) -> None:
    system = make(0)
    state, input = some_state(system), some_inputs(system)[:, 0]
    kept, before = (state.clone(), input.clone()), copy.deepcopy(system.state_dict())
    names = set(vars(system))
    first = system.step(state, input)
    system.readout(first)
    assert torch.equal(first, system.step(state, input))
    assert torch.equal(state, kept[0])
    assert torch.equal(input, kept[1])
    assert set(vars(system)) == names
    after = system.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[k], after[k]) for k in before)


@SYSTEMS
def test_step_does_not_depend_on_the_training_mode(make: Callable[[int], rs.DynamicalSystem]) -> None:
    system = make(0)
    state, input = some_state(system), some_inputs(system)[:, 0]
    assert torch.equal(system.train().step(state, input), system.eval().step(state, input))


@SYSTEMS
def test_rows_of_a_batch_do_not_touch_each_other(make: Callable[[int], rs.DynamicalSystem]) -> None:
    system = make(0)
    state, inputs = some_state(system), some_inputs(system)
    whole = rs.rollout(system, inputs, state)
    for row in range(BATCH):
        alone = rs.rollout(system, inputs[row : row + 1], state[row : row + 1])
        close(alone.outputs, whole.outputs[row : row + 1])
        close(alone.final_state, whole.final_state[row : row + 1])


@SYSTEMS
def test_a_broken_row_leaves_the_others_alone(make: Callable[[int], rs.DynamicalSystem]) -> None:
    system = make(0)
    state, inputs = some_state(system), some_inputs(system)
    bad_state, bad_inputs = state.clone(), inputs.clone()
    bad_state[1], bad_inputs[1] = torch.nan, torch.nan
    others = torch.tensor([0, 2, 3])
    for fused in (True, False):
        whole = rs.rollout(system, inputs, state, keep_states=False, fused=fused)
        broken = rs.rollout(system, bad_inputs, bad_state, keep_states=False, fused=fused)
        assert broken.final_state[1].isnan().any()
        assert torch.equal(broken.outputs[others], whole.outputs[others])
        assert torch.equal(broken.final_state[others], whole.final_state[others])


@SYSTEMS
def test_rollout_is_the_loop_of_step(make: Callable[[int], rs.DynamicalSystem]) -> None:
    system = make(0)
    inputs = some_inputs(system)
    for state in (None, some_state(system)):
        found = rs.rollout(system, inputs, state)
        start = system.initial_state(BATCH) if state is None else state
        outputs, states = slow_rollout(system, inputs, start)
        assert found.states is not None
        assert torch.equal(found.states, states)
        assert torch.equal(found.final_state, states[:, -1])
        close(found.outputs, outputs)


@SYSTEMS
def test_a_rollout_continues_where_it_stopped(make: Callable[[int], rs.DynamicalSystem]) -> None:
    system = make(0)
    inputs = some_inputs(system)
    whole = rs.rollout(system, inputs)
    first = rs.rollout(system, inputs[:, :3])
    second = rs.rollout(system, inputs[:, 3:], first.final_state)
    close(torch.cat([first.outputs, second.outputs], 1), whole.outputs)
    close(second.final_state, whole.final_state)


@SYSTEMS
def test_a_batch_of_one_keeps_its_axis(make: Callable[[int], rs.DynamicalSystem]) -> None:
    system = make(0)
    inputs = some_inputs(system, 1, 1)
    assert system.initial_state(1).shape == (1, system.state_size)
    assert system.step(system.initial_state(1), inputs[:, 0]).shape == (1, system.state_size)
    for keep_states in (True, False):
        found = rs.rollout(system, inputs, keep_states=keep_states)
        assert found.outputs.shape == (1, 1, system.output_size)
        assert found.final_state.shape == (1, system.state_size)


@SYSTEMS
def test_readout_takes_any_leading_axes(make: Callable[[int], rs.DynamicalSystem]) -> None:
    system = make(0)
    states = drawn(2, 3, 2, system.state_size)
    wanted = system.readout(states.reshape(12, -1))
    assert wanted.shape == (12, system.output_size)
    close(system.readout(states), wanted.reshape(2, 3, 2, -1))
    close(system.readout(states[0, 0, 0]), wanted[0])


@SYSTEMS
def test_initial_states_are_equal_rows_that_may_be_changed(make: Callable[[int], rs.DynamicalSystem]) -> None:
    system = make(0)
    first = system.initial_state(3)
    assert torch.equal(first, system.initial_state(1).expand(3, -1))
    first[0] += 1.0
    assert torch.equal(system.initial_state(3)[0], first[1])


@SYSTEMS
def test_autodiff_jacobian_is_the_finite_difference(make: Callable[[int], rs.DynamicalSystem]) -> None:
    system = make(0)
    state, input = some_state(system, 1), some_inputs(system, 1)[:, 0]
    size, width = system.state_size, 1e-6
    point = torch.cat([state[0], input[0]])

    def f(both: Tensor) -> Tensor:
        return system.step(both[None, :size], both[None, size:])[0]

    auto = torch.autograd.functional.jacobian(f, point)
    shifts = width * torch.eye(len(point), dtype=DOUBLE)
    with torch.no_grad():
        ahead = system.step(*(point + shifts).split([size, len(point) - size], 1))
        behind = system.step(*(point - shifts).split([size, len(point) - size], 1))
    torch.testing.assert_close(auto, (ahead - behind).T / (2 * width), rtol=1e-6, atol=1e-8)


@SYSTEMS
def test_weights_round_trip_through_safetensors(make: Callable[[int], rs.DynamicalSystem]) -> None:
    system, other = make(0), make(10)
    kept = load(save({name: tensor.contiguous() for name, tensor in system.state_dict().items()}))
    other.load_state_dict(kept)
    assert all(torch.equal(other.state_dict()[k], v) for k, v in system.state_dict().items())
    if any(isinstance(part, rs.System) for part in system.modules()):
        return  # its functions are code, not weights
    inputs = some_inputs(system)
    assert torch.equal(rs.rollout(other, inputs).outputs, rs.rollout(system, inputs).outputs)


def global_states() -> tuple[bytes, str]:
    """Where torch's and NumPy's own generators stand. (Python's is drawn from by beartype, which checks items at random.)"""
    return torch.get_rng_state().numpy().tobytes(), repr(np.random.get_state())  # noqa: NPY002


@SYSTEMS
def test_running_leaves_global_random_states_alone(make: Callable[[int], rs.DynamicalSystem]) -> None:
    system = make(0).train()
    inputs = some_inputs(system)
    before = global_states()
    rs.rollout(system, inputs)
    rs.rollout(system, inputs, keep_states=False, rng=generator())
    assert global_states() == before


def test_wrong_shapes_are_refused_with_the_right_ones(unchecked: None) -> None:
    system = gated(0)
    for inputs in (torch.zeros(2, 3), torch.zeros(2, 0, INPUTS), torch.zeros(2, 3, INPUTS + 1)):
        with pytest.raises(rs.ShapeError, match="batch, time >= 1, 3"):
            rs.rollout(system, inputs.double())
    for shape in ((1, system.state_size), (2, system.state_size + 1)):
        with pytest.raises(rs.ShapeError, match=rf"\(2, {system.state_size}\)"):
            rs.rollout(system, torch.zeros(2, 3, INPUTS, dtype=DOUBLE), torch.zeros(shape, dtype=DOUBLE))


# networks


@NETWORKS
@DTYPES
def test_fused_rollout_is_the_loop_of_step(spec: ModelSpec, dtype: torch.dtype) -> None:
    system = built(spec, dtype)
    assert isinstance(system, FusedRollout)
    inputs = some_inputs(system, steps=12).to(dtype)
    for state in (None, some_state(system).to(dtype)):
        start = system.initial_state(BATCH) if state is None else state
        outputs, states = slow_rollout(system, inputs, start)
        found = rs.rollout(system, inputs, state, keep_states=False)
        close(found.outputs, outputs, dtype)
        close(found.final_state, states[:, -1], dtype)


@NETWORKS
@DTYPES
def test_fused_rollout_continues_in_pieces(spec: ModelSpec, dtype: torch.dtype) -> None:
    system = built(spec, dtype)
    inputs, state = some_inputs(system, steps=12).to(dtype), some_state(system).to(dtype)
    whole = rs.rollout(system, inputs, state, keep_states=False)
    for cut in (1, 2, 7):  # also pieces shorter than the taps
        first = rs.rollout(system, inputs[:, :cut], state, keep_states=False)
        second = rs.rollout(system, inputs[:, cut:], first.final_state, keep_states=False)
        close(torch.cat([first.outputs, second.outputs], 1), whole.outputs, dtype)
        close(second.final_state, whole.final_state, dtype)


@NETWORKS
def test_fused_rollout_has_the_gradients_of_the_loop(spec: ModelSpec) -> None:
    system = built(spec)
    inputs, state = some_inputs(system), some_state(system)
    found = []
    for fused in (True, False):
        system.zero_grad()
        rs.rollout(system, inputs, state, keep_states=False, fused=fused).outputs.square().sum().backward()
        found.append({n: p.grad.clone() for n, p in system.named_parameters() if p.grad is not None})
    assert found[0].keys() == found[1].keys()
    for name, gradient in found[0].items():
        torch.testing.assert_close(gradient, found[1][name], rtol=1e-9, atol=1e-11)


@NETWORKS
def test_forward_is_the_rollout_from_the_initial_state(spec: ModelSpec) -> None:
    model = spec.build(Signature(INPUTS, OUTPUTS), generator()).double()
    inputs = drawn(BATCH, STEPS, INPUTS)
    (system,) = model.systems().values()
    wanted = rs.rollout(system, inputs).outputs
    close(model(inputs), wanted)
    for last in (1, 2, STEPS):
        close(model(inputs, last=last), wanted[:, -last:])


FEEDBACKS = (forgetting(0), forgetting(1), integrating(0), integrating(2))


@LOOPS
@DTYPES
@pytest.mark.parametrize("batch", [1, BATCH])  # one stream is compiled, many are batched
def test_fast_closed_loop_is_the_generic_loop(spec: ModelSpec, dtype: torch.dtype, batch: int) -> None:
    system = built(spec, dtype)
    assert isinstance(system, FusedClosedLoop)
    state, input = some_state(system, batch).to(dtype), drawn(batch, INPUTS, dtype=dtype)
    for feedback in FEEDBACKS:
        exogenous = drawn(batch, 15, feedback.num_exogenous, seed=9, dtype=dtype)
        arguments = (state, input, exogenous)
        kept = [tensor.clone() for tensor in arguments]
        with torch.no_grad():
            slow = rs.free_run(system, state, input, feedback, exogenous, fused=False)
            fast = rs.free_run(system, state, input, feedback, exogenous)
        assert fast.shape == (batch, 16, OUTPUTS)
        close(fast, slow, dtype)
        assert all(torch.equal(now, then) for now, then in zip(arguments, kept, strict=True))


@LOOPS
@pytest.mark.parametrize("batch", [1, BATCH])
def test_fast_closed_loop_ends_where_one_can_go_on(spec: ModelSpec, batch: int) -> None:
    system = built(spec)
    assert isinstance(system, FusedClosedLoop)
    for feedback in FEEDBACKS:
        state, input = some_state(system, batch), drawn(batch, INPUTS)
        exogenous = drawn(batch, 15, feedback.num_exogenous, seed=9)
        with torch.no_grad():
            whole, final, last = system.fused_closed_loop(state, input, feedback, exogenous)
            first, state, input = system.fused_closed_loop(state, input, feedback, exogenous[:, :7])
            second, state, input = system.fused_closed_loop(state, input, feedback, exogenous[:, 7:])
            close(torch.cat([first, second], 1), whole)
            close(state, final)
            close(input, last)
            close(system.readout(final), whole[:, -1])


@NETWORKS
def test_a_free_run_has_the_gradients_of_the_loop(spec: ModelSpec) -> None:
    system, feedback = built(spec), FEEDBACKS[-1]
    exogenous = drawn(BATCH, 5, feedback.num_exogenous, seed=9)
    found = []
    for fused in (True, False):
        state, input = some_state(system).requires_grad_(), drawn(BATCH, INPUTS).requires_grad_()
        outputs = rs.free_run(system, state, input, feedback, exogenous, fused=fused)
        found.append(torch.autograd.grad(outputs.square().sum(), [state, input, *system.parameters()], allow_unused=True))
    for one, other in zip(*found, strict=True):
        assert (one is None) == (other is None)
        if one is not None:
            torch.testing.assert_close(one, other)


@NETWORKS
def test_closed_loop_system_makes_the_same_free_run(spec: ModelSpec) -> None:
    system = built(spec)
    state, input = some_state(system), drawn(BATCH, INPUTS)
    for feedback in FEEDBACKS:
        exogenous = drawn(BATCH, 6, feedback.num_exogenous, seed=9)
        loop = rs.close_loop(system, feedback)
        run = rs.rollout(loop, exogenous, loop.join(state, input))
        close(rs.free_run(system, state, input, feedback, exogenous)[:, 1:], run.outputs)


@NETWORKS
def test_features_times_readout_are_the_outputs(spec: ModelSpec) -> None:
    system = built(spec)
    if not isinstance(system, LinearReadout):
        pytest.skip("its readout is no regression: a PLRNN's outputs are part of its state")
    inputs = some_inputs(system)
    size = system.readout_features(inputs).shape[-1]
    weight, bias = drawn(OUTPUTS, size, seed=4), drawn(OUTPUTS, seed=5)
    system.set_readout(weight, bias)
    outputs = rs.rollout(system, inputs).outputs
    close(outputs, system.readout_features(inputs) @ weight.T + bias)
    start = system.initial_state(BATCH)
    previous = torch.cat([system.readout(start)[:, None], outputs[:, :-1]], 1)
    features, _ = system.carried_features(inputs, start, previous)
    close(outputs, features @ weight.T + bias)
    system.set_readout(-weight, bias)
    close(system.carried_features(inputs, start, previous)[0], features)


@NETWORKS
def test_features_can_be_carried_on_and_belong_to_the_states(spec: ModelSpec) -> None:
    system = built(spec)
    if not isinstance(system, LinearReadout):
        pytest.skip("its readout is no regression: a PLRNN's outputs are part of its state")
    inputs, start = some_inputs(system), some_state(system)
    whole, final = system.carried_features(inputs, start)
    states = rs.rollout(system, inputs, start).states
    assert states is not None
    close(final, states[:, -1])
    close(system.state_features(states), whole)
    first, middle = system.carried_features(inputs[:, :2], start)
    second, last = system.carried_features(inputs[:, 2:], middle)
    close(torch.cat([first, second], 1), whole)
    close(last, final)


DEEP = {k: s for k, s in SPECS.items() if "num_layers-2" in k and "dropout" in type(s).model_fields}


@pytest.mark.parametrize("spec", DEEP.values(), ids=DEEP.keys())
def test_dropout_acts_only_in_training_with_a_generator(spec: ModelSpec) -> None:
    plain = built(spec)
    system = built(spec.but(dropout=0.5))
    inputs, state = some_inputs(plain), some_state(plain)
    wanted = rs.rollout(plain, inputs, state, keep_states=False).outputs

    def outputs(seed: int | None) -> Tensor:
        rng = None if seed is None else generator(seed)
        return rs.rollout(system, inputs, state, keep_states=False, rng=rng).outputs

    system.eval()
    assert torch.equal(outputs(None), wanted)
    assert torch.equal(outputs(0), wanted)
    system.train()
    assert torch.equal(outputs(None), wanted)
    assert not torch.allclose(outputs(0), wanted)
    assert torch.equal(outputs(0), outputs(0))
    assert not torch.allclose(outputs(0), outputs(1))


@NETWORKS
def test_the_same_generator_builds_the_same_network(spec: ModelSpec) -> None:
    first, second, other = built(spec), built(spec), built(spec, seed=1)
    pairs = zip(first.parameters(), second.parameters(), other.parameters(), strict=True)
    for one, same, different in pairs:
        assert torch.equal(one, same)
        assert not one.numel() or not torch.equal(one, different)
