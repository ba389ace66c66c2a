"""What every model must do as the trainers and scores see it: sequences in, outputs out."""

import copy

import pytest
import torch
from safetensors.torch import load, save

import rnnscope as rs
from rnnscope.core.interfaces import Signature
from rnnscope.core.system import SequenceModel
from rnnscope.registry import MODELS, resolve

FRAME = (3, 2, 2)
SIGNATURE = Signature(12, 4, frame=FRAME)  # its inputs can be read as images, too
FROM_FILES = ("weights", "imported")  # what they build depends on a file: tests/models/test_state_dict.py, test_foreign.py
KINDS = [kind for kind in MODELS if kind not in FROM_FILES]
EACH = pytest.mark.parametrize("kind", KINDS)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def built(kind: str, seed: int = 0) -> SequenceModel:
    cls = resolve("model", kind)
    small = {name: value for name, value in {"hidden_size": 5, "units": 12}.items() if name in cls.model_fields}
    return cls(**small).build(SIGNATURE, generator(seed)).eval()


def working(kind: str) -> SequenceModel:
    """A model that answers untrained; one that must be fitted first says so in words."""
    model = built(kind)
    try:
        model(drawn(1, 6, 12))
    except rs.ConfigError as error:
        pytest.skip(f"{kind}: {error.found}, to do: {error.remedy}")
    return model


def drawn(*shape: int) -> torch.Tensor:
    return torch.rand(*shape, generator=generator(1))


@EACH
def test_a_model_is_built_in_one_precision_on_the_cpu_and_leaves_global_generators_alone(kind: str) -> None:
    before = torch.get_rng_state()
    model = built(kind)
    assert torch.equal(torch.get_rng_state(), before)
    wanted = torch.float64 if kind == "echo_state" else torch.float32  # a readout by ridge regression needs its digits
    assert all(p.dtype == wanted and p.device.type == "cpu" for p in model.parameters())


@EACH
def test_the_same_generator_builds_the_same_model(kind: str) -> None:
    one, other = built(kind).state_dict(), built(kind).state_dict()
    assert one.keys() == other.keys()
    assert all(torch.equal(one[name], other[name]) for name in one)


@EACH
@torch.no_grad()
def test_weights_round_trip_through_safetensors(kind: str) -> None:
    model, other = working(kind), built(kind, seed=7)
    other.load_state_dict(load(save({k: v.contiguous() for k, v in model.state_dict().items()})))
    inputs = drawn(3, 6, 12)
    torch.testing.assert_close(other.eval()(inputs), model(inputs))


@EACH
@torch.no_grad()
def test_outputs_have_the_size_asked_for_whatever_the_batch(kind: str) -> None:
    model, inputs = working(kind), drawn(4, 6, 12)
    outputs = model(inputs, last=1)
    assert outputs.shape[:2] == (4, 1)
    assert outputs.dtype == inputs.dtype
    torch.testing.assert_close(model(inputs[2:3], last=1), outputs[2:3], rtol=1e-4, atol=1e-5)


@EACH
@torch.no_grad()
def test_without_a_generator_a_call_repeats_and_changes_nothing(kind: str) -> None:
    model, inputs = working(kind), drawn(2, 6, 12)
    kept, weights, modes = inputs.clone(), copy.deepcopy(model.state_dict()), [m.training for m in model.modules()]
    assert torch.equal(model(inputs), model(inputs))
    assert torch.equal(inputs, kept)
    assert all(torch.equal(v, model.state_dict()[k]) for k, v in weights.items())
    assert [m.training for m in model.modules()] == modes


@EACH
def test_what_is_inside_are_dynamical_systems_with_steps(kind: str) -> None:
    for system in built(kind).systems().values():
        assert isinstance(system, rs.DynamicalSystem)
        state = system.initial_state(2)
        assert state.shape == (2, system.state_size)
        assert system.readout(system.step(state, drawn(2, system.input_size))).shape == (2, system.output_size)
