"""Torch networks made ours and back: the same outputs, for every kind of cell."""

import copy

import pytest
import torch
from torch import Tensor, nn

import rnnscope as rs
from rnnscope.core.interfaces import Signature
from rnnscope.models.foreign_torch import loading_code

CELLS = {"lstm": nn.LSTM, "gru": nn.GRU, "rnn": nn.RNN, "relu": lambda *a, **k: nn.RNN(*a, nonlinearity="relu", **k)}
EVERY = [
    pytest.param(kind, layers, bias, both, id=f"{kind}-{layers}-{'bias' if bias else 'bare'}-{'both' if both else 'one'}")
    for kind in CELLS
    for layers in (1, 2, 3)
    for bias in (True, False)
    for both in (False, True)
]


class Whole(nn.Module):
    def __init__(self, core: nn.RNNBase, outputs: int = 2) -> None:
        super().__init__()
        self.core = core
        self.out = nn.Linear(core.hidden_size * (2 if core.bidirectional else 1), outputs)

    def forward(self, inputs: Tensor) -> Tensor:
        return self.out(self.core(inputs)[0])


def drawn(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


def close(one: Tensor, other: Tensor) -> None:
    torch.testing.assert_close(one, other, rtol=0, atol=1e-6)


@torch.no_grad()
@pytest.mark.parametrize(("kind", "layers", "bias", "both"), EVERY)
def test_outputs_are_equal_both_ways(kind: str, layers: int, bias: bool, both: bool) -> None:
    module = Whole(CELLS[kind](3, 5, layers, bias=bias, bidirectional=both, batch_first=True))
    before, inputs = copy.deepcopy(module.state_dict()), drawn(2, 7, 3)
    ours = rs.from_torch(module)
    close(ours(inputs), module(inputs))
    close(rs.from_torch(module.state_dict(), nonlinearity="relu" if kind == "relu" else "tanh")(inputs), module(inputs))
    close(rs.to_torch(ours)(inputs), module(inputs))
    close(rs.from_torch(rs.to_torch(ours))(inputs), module(inputs))
    assert all(torch.equal(v, module.state_dict()[k]) for k, v in before.items())
    assert (len(ours.systems()) == 1) != both


@torch.no_grad()
def test_a_module_alone_gives_its_states_whether_batch_or_time_comes_first() -> None:
    for first in (True, False):
        module = nn.LSTM(3, 5, 2, batch_first=first, bidirectional=True)
        inputs = drawn(2, 7, 3)
        wanted = module(inputs)[0] if first else module(inputs.transpose(0, 1))[0].transpose(0, 1)
        close(rs.from_torch(module)(inputs), wanted)


@torch.no_grad()
def test_double_precision_is_kept() -> None:
    module = Whole(nn.GRU(3, 5, batch_first=True)).double()
    inputs = drawn(2, 7, 3).double()
    torch.testing.assert_close(rs.from_torch(module)(inputs), module(inputs), rtol=0, atol=1e-14)
    assert rs.to_torch(rs.from_torch(module))(inputs).dtype == torch.float64


@torch.no_grad()
@pytest.mark.parametrize("kind", ["lstm", "gru", "elman"])
@pytest.mark.parametrize("both", [True, False])
def test_a_classifier_of_ours_gives_the_same_logits_in_torch(kind: str, both: bool) -> None:
    spec = rs.Classifier(cell=kind, hidden_size=4, num_layers=2, bidirectional=both)
    model = spec.build(Signature(3, 2), torch.Generator().manual_seed(0)).eval()
    inputs = drawn(2, 7, 3)
    close(rs.to_torch(model)(inputs), model(inputs))


@torch.no_grad()
@pytest.mark.parametrize("both", [True, False])
@pytest.mark.parametrize("last_step", [True, False])
@pytest.mark.parametrize("suffix", [".safetensors", ".pt"])
def test_the_printed_lines_load_the_weights(both: bool, last_step: bool, suffix: str, tmp_path) -> None:
    from rnnscope.interchange import _torch_bytes

    layer = rs.Layer(cell="relu", hidden_size=4, bidirectional=both, bias=False)
    spec = rs.Layered(layers=(layer, layer), last_step=last_step, readout_bias=False)
    model = spec.build(Signature(3, 2), torch.Generator().manual_seed(0)).eval()
    plain, inputs, file = rs.to_torch(model), drawn(2, 7, 3), tmp_path / f"weights{suffix}"
    file.write_bytes(_torch_bytes({k: v.contiguous() for k, v in plain.state_dict().items()}, suffix))
    names = {"inputs": inputs}
    exec(loading_code(plain, str(file)), names)
    close(names["outputs"].reshape(model(inputs).shape), model(inputs))


def projected() -> nn.LSTM:
    return nn.LSTM(3, 5, proj_size=2)


def misshapen() -> dict[str, Tensor]:
    return {**nn.GRU(3, 5, 2).state_dict(), "weight_ih_l1": torch.zeros(15, 4)}


def infinite() -> dict[str, Tensor]:
    return {**nn.GRU(3, 5).state_dict(), "bias_ih_l0": torch.full((15,), torch.inf)}


def incomplete() -> dict[str, Tensor]:
    return {k: v for k, v in nn.GRU(3, 5, 2, bidirectional=True).state_dict().items() if k != "weight_hh_l1_reverse"}


@pytest.mark.parametrize(
    ("source", "word"),
    [
        (projected, "projections"),
        (misshapen, r"weight_ih_l1' has shape \(15, 4\)"),
        (infinite, "NaN or infinite"),
        (incomplete, "lacks 'weight_hh_l1_reverse'"),
        (lambda: nn.Linear(3, 2), "holds no nn.RNN"),
        (lambda: nn.ModuleList([nn.GRU(3, 5), nn.GRU(3, 5)]), "2 layers"),
        (lambda: nn.ModuleList([nn.GRU(3, 5), nn.Linear(5, 2), nn.Linear(2, 1)]), r"2 nn\.Linear"),
        (lambda: nn.ModuleList([nn.GRU(3, 5), nn.Linear(4, 2)]), "4 features"),
        (lambda: {"a": torch.zeros(2)}, "no recurrent layer"),
        (lambda: 3, "type int"),
    ],
)
def test_what_is_no_such_network_is_refused(unchecked: None, source, word: str) -> None:
    with pytest.raises(rs.ConfigError, match=word):
        rs.from_torch(source())


@pytest.mark.parametrize(
    ("spec", "word"),
    [
        (rs.GRU(hidden_size=4, skip=2), "2 taps"),
        (rs.Layered(layers=(rs.Layer(hidden_size=4), rs.Layer(hidden_size=3))), "differ"),
        (rs.Layered(activation="softmax"), "softmax"),
        (rs.MLP(), "type"),
        (rs.Classifier(pooling="mean"), "pooling mean"),
        (rs.Classifier(convolutions=1), "convolutions"),
    ],
)
def test_what_torch_has_no_plain_module_for_is_refused(spec, word: str) -> None:
    with pytest.raises(rs.ConfigError, match=word):
        rs.to_torch(spec.build(Signature(3, 2), torch.Generator().manual_seed(0)))
