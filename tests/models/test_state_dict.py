"""Networks recognised from their weights alone, and files that hold none."""

import math
import pickle

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

import rnnscope as rs
from rnnscope.models.state_dict import read_tensors, recognise

KINDS = [(nn.RNN, "tanh"), (nn.GRU, "gru"), (nn.LSTM, "lstm")]


class Whole(nn.Module):
    """A recurrent layer inside a larger module, with a readout of another name."""

    def __init__(self, layer: nn.Module, outputs: int) -> None:
        super().__init__()
        self.core = layer
        self.out = nn.Linear(5, outputs)


def rolled(system: rs.DynamicalSystem, inputs: torch.Tensor) -> torch.Tensor:
    return rs.rollout(system, inputs).outputs


@pytest.mark.parametrize(("layer", "kind"), KINDS, ids=[k for _, k in KINDS])
@pytest.mark.parametrize("layers", [1, 3])
@pytest.mark.parametrize("bias", [True, False])
def test_modules_are_recognised_and_give_the_same_outputs(layer, kind, layers, bias):
    module = layer(2, 5, num_layers=layers, bias=bias, batch_first=True)
    (found,) = recognise(module.state_dict())
    assert (found.kind, found.system.num_layers, found.has_readout) == (kind, layers, False)
    inputs = torch.randn(3, 7, 2, generator=torch.Generator().manual_seed(0))
    assert torch.allclose(rolled(found.system, inputs), module(inputs)[0], atol=1e-6)


def test_a_readout_is_found_under_any_name():
    module = Whole(nn.GRU(2, 5, batch_first=True), 4)
    (found,) = recognise(module.state_dict())
    inputs = torch.randn(3, 7, 2, generator=torch.Generator().manual_seed(0))
    assert found.has_readout
    assert torch.allclose(rolled(found.system, inputs), module.out(module.core(inputs)[0]), atol=1e-6)


def test_a_relu_network_is_one_if_one_says_so():
    module = nn.RNN(2, 5, nonlinearity="relu", batch_first=True)
    (found,) = recognise(module.state_dict(), nonlinearity="relu")
    inputs = torch.randn(3, 7, 2, generator=torch.Generator().manual_seed(0))
    assert torch.allclose(rolled(found.system, inputs), module(inputs)[0], atol=1e-6)
    assert "weights do not tell" in found.note


def test_each_direction_of_a_bidirectional_network_is_a_system():
    module = nn.LSTM(2, 5, bidirectional=True, batch_first=True)
    forward, backward = recognise(module.state_dict())
    inputs = torch.randn(3, 7, 2, generator=torch.Generator().manual_seed(0))
    both = module(inputs)[0]
    assert torch.allclose(rolled(forward.system, inputs), both[..., :5], atol=1e-6)
    assert torch.allclose(rolled(backward.system, inputs.flip(1)).flip(1), both[..., 5:], atol=1e-6)
    assert "bidirectional" in backward.note
    labels = [f.label for f in recognise(nn.GRU(2, 5, num_layers=2, bidirectional=True).state_dict())]
    assert labels == ["forward-layer0", "backward-layer0", "forward-layer1", "backward-layer1"]


def drop(name: str) -> dict[str, torch.Tensor]:
    return {k: v for k, v in nn.GRU(2, 5, num_layers=2).state_dict().items() if k != name}


def spoil(name: str, value: torch.Tensor) -> dict[str, torch.Tensor]:
    return nn.GRU(2, 5, num_layers=2).state_dict() | {name: value}


@pytest.mark.parametrize(
    ("tensors", "words"),
    [
        (nn.Linear(2, 3).state_dict(), "bias, weight: no recurrent layer"),
        ({}, "nothing: no recurrent layer"),
        (drop("weight_hh_l1"), "lacks 'weight_hh_l1'"),
        (drop("weight_ih_l0"), "lacks 'weight_ih_l0'"),
        (drop("bias_ih_l1"), "lacks 'bias_ih_l1'"),
        (spoil("weight_ih_l1", torch.zeros(15, 4)), r"'weight_ih_l1' has shape \(15, 4\)"),
        (spoil("weight_hh_l0", torch.zeros(14, 5)), r"'weight_hh_l0' has shape \(14, 5\)"),
        (spoil("weight_hh_l0", torch.full((15, 5), math.nan)), "'weight_hh_l0' holds NaN"),
        (nn.LSTM(2, 5, proj_size=3).state_dict(), "projections"),
        (nn.ModuleDict({"a": nn.GRU(2, 5), "b": nn.GRU(2, 5)}).state_dict(), r"modules 'a\.', 'b\.'"),
    ],
)
def test_what_is_no_recurrent_network_is_refused_by_name(tensors, words):
    with pytest.raises(rs.ConfigError, match=words):
        recognise(tensors)


def test_one_of_several_modules_can_be_chosen():
    modules = nn.ModuleDict({"a": nn.GRU(2, 5), "b": nn.LSTM(2, 5)})
    assert recognise(modules.state_dict(), prefix="b.")[0].kind == "lstm"


def test_files_of_both_kinds_are_read(tmp_path):
    weights = nn.GRU(2, 5).state_dict()
    save_file(weights, tmp_path / "a.safetensors")
    torch.save(weights, tmp_path / "b.pt")
    torch.save({"epoch": 3, "state_dict": weights}, tmp_path / "c.pth")
    for name in ("a.safetensors", "b.pt", "c.pth"):
        found = read_tensors(tmp_path / name)
        assert all(torch.equal(found[k], v) for k, v in weights.items())


class Harmful:
    """Would run code when unpickled."""

    def __reduce__(self):
        return (print, ("this must not run",))


def test_a_pickle_with_code_is_refused_unopened(tmp_path, capsys):
    torch.save({"weights": Harmful()}, tmp_path / "bad.pt")
    (tmp_path / "raw.pt").write_bytes(pickle.dumps(Harmful()))
    for name in ("bad.pt", "raw.pt"):
        with pytest.raises(rs.DataError, match=r"pickle that would run code|cannot be read"):
            read_tensors(tmp_path / name)
    assert "must not run" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("missing.pt", None, "there is no file"),
        ("a.txt", b"x", "ends in '.txt'"),
        ("a.safetensors", b"nonsense", "cannot be read"),
        ("a.pt", b"nonsense", "pickle|cannot be read"),
    ],
)
def test_files_that_are_none_are_named(tmp_path, name, content, words):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(rs.DataError, match=words):
        read_tensors(tmp_path / name)


def test_a_file_without_a_state_dict_is_refused(tmp_path):
    torch.save([1, 2, 3], tmp_path / "list.pt")
    with pytest.raises(rs.DataError, match="holds list, no state dict"):
        read_tensors(tmp_path / "list.pt")
