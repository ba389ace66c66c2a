"""Elman, GRU and LSTM networks against their equations, written out once more in NumPy."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import rnnscope as rs
from rnnscope.core.interfaces import Signature
from rnnscope.models.recurrent_systems import RecurrentSystem

SPECS = {"tanh": rs.Elman(), "relu": rs.Elman(nonlinearity="relu"), "gru": rs.GRU(), "lstm": rs.LSTM()}
KINDS = pytest.mark.parametrize("kind", SPECS)
DTYPES = pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])
INPUTS, HIDDEN, OUTPUTS, STEPS, BATCH = 3, 4, 2, 7, 5


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def drawn(*shape: int, seed: int = 1, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(shape, generator=generator(seed), dtype=torch.float64).to(dtype)


def logistic(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def layer_by_hand(kind: str, weights: dict[str, np.ndarray], below: np.ndarray, before: np.ndarray) -> np.ndarray:
    """The next state of one layer, from the module's docstring; gates lie one below the other in W, U, b, c."""
    hidden, cell = before[:HIDDEN], before[HIDDEN:]
    drive = np.split(weights["W"] @ below + weights["b"], len(weights["W"]) // HIDDEN)
    recur = np.split(weights["U"] @ hidden + weights["c"], len(weights["W"]) // HIDDEN)
    if kind in ("tanh", "relu"):
        total = drive[0] + recur[0]
        return np.tanh(total) if kind == "tanh" else np.maximum(total, 0)
    if kind == "gru":
        r, z = logistic(drive[0] + recur[0]), logistic(drive[1] + recur[1])
        n = np.tanh(drive[2] + r * recur[2])
        return (1 - z) * n + z * hidden
    i, f, o = (logistic(drive[k] + recur[k]) for k in (0, 1, 3))
    g = np.tanh(drive[2] + recur[2])
    new = f * cell + i * g
    return np.concatenate([o * np.tanh(new), new])


def network_by_hand(system: RecurrentSystem, inputs: np.ndarray) -> np.ndarray:
    """The outputs for one sequence (T, X) from the zero state."""
    held = {name: tensor.detach().numpy() for name, tensor in system.state_dict().items()}
    layers = []
    for index in range(system.num_layers):
        names = {"W": "weight_ih_l0", "U": "weight_hh_l0", "b": "bias_ih_l0", "c": "bias_hh_l0"}
        found = {short: held.get(f"layers.{index}.{name}") for short, name in names.items()}
        layers.append(
            {short: np.zeros(len(held[f"layers.{index}.weight_ih_l0"])) if v is None else v for short, v in found.items()}
        )
    states = [np.zeros(system.layer_size) for _ in layers]
    outputs = []
    for t, x in enumerate(inputs):
        below = x
        for index, weights in enumerate(layers):
            states[index] = layer_by_hand(system.kind, weights, below, states[index])
            below = states[index][:HIDDEN]
        output = held["head.weight"] @ below + held.get("head.bias", np.zeros(OUTPUTS))
        for k in range(system.skip):
            if t >= k:
                output = output + held["taps.weight"][:, k * INPUTS : (k + 1) * INPUTS] @ inputs[t - k]
        outputs.append(output)
    return np.stack(outputs)


@KINDS
@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("skip", [0, 3])
@pytest.mark.parametrize("biases", [(True, True), (False, True), (True, False)])
def test_outputs_follow_the_equations(kind: str, layers: int, skip: int, biases: tuple[bool, bool]) -> None:
    spec = SPECS[kind].but(hidden_size=HIDDEN, num_layers=layers, skip=skip, bias=biases[0], readout_bias=biases[1])
    system = spec.build(Signature(INPUTS, OUTPUTS), generator()).double()
    inputs = drawn(BATCH, STEPS, INPUTS)
    found = system(inputs).detach().numpy()
    for row in range(BATCH):
        np.testing.assert_allclose(found[row], network_by_hand(system, inputs[row].numpy()), atol=1e-12)


def test_a_network_of_taps_alone_is_a_linear_autoregression() -> None:
    system = rs.GRU(hidden_size=HIDDEN, num_layers=1, skip=3).build(Signature(1, 1), generator()).double()
    with torch.no_grad():
        system.head.weight.zero_()
        system.head.bias.fill_(0.5)
        assert system.taps is not None
        system.taps.weight.copy_(torch.tensor([[0.7, -0.2, 0.1]]))
    x = drawn(1, 9, 1)
    padded = torch.cat([torch.zeros(2, dtype=torch.float64), x[0, :, 0]])
    wanted = 0.7 * padded[2:] - 0.2 * padded[1:-1] + 0.1 * padded[:-2] + 0.5
    torch.testing.assert_close(system(x)[0, :, 0], wanted)


def test_the_state_holds_layers_one_after_the_other_and_then_the_taps() -> None:
    system = rs.LSTM(hidden_size=HIDDEN, num_layers=2, skip=2).build(Signature(INPUTS, OUTPUTS), generator())
    assert system.state_size == 2 * 2 * HIDDEN + 2 * INPUTS
    inputs = drawn(BATCH, STEPS, INPUTS, dtype=torch.float32)
    final = rs.rollout(system, inputs, keep_states=False).final_state
    assert torch.equal(final[:, -2 * INPUTS :], torch.cat([inputs[:, -1], inputs[:, -2]], 1))
    lower, (hidden, cell) = system.recurrent_layers()[0](inputs)
    torch.testing.assert_close(final[:, : 2 * HIDDEN], torch.cat([hidden[0], cell[0]], 1))
    _, (hidden, cell) = system.recurrent_layers()[1](lower)
    torch.testing.assert_close(final[:, 2 * HIDDEN : 4 * HIDDEN], torch.cat([hidden[0], cell[0]], 1))


# torch's own modules


def torch_module(kind: str, layers: int, dtype: torch.dtype, **options: Any) -> nn.RNNBase:
    arguments = {"num_layers": layers, "batch_first": True, "dtype": dtype, **options}
    with torch.random.fork_rng():
        torch.manual_seed(0)
        if kind == "gru":
            return nn.GRU(INPUTS, HIDDEN, **arguments)
        if kind == "lstm":
            return nn.LSTM(INPUTS, HIDDEN, **arguments)
        return nn.RNN(INPUTS, HIDDEN, nonlinearity=kind, **arguments)


@KINDS
@DTYPES
@pytest.mark.parametrize("layers", [1, 3])
@pytest.mark.parametrize("bias", [True, False])
def test_a_torch_module_as_a_system_gives_the_same_outputs(kind: str, dtype: torch.dtype, layers: int, bias: bool) -> None:
    module, tolerance = torch_module(kind, layers, dtype, bias=bias), 1e-6 if dtype == torch.float32 else 1e-12
    inputs = drawn(BATCH, STEPS, INPUTS, dtype=dtype)
    system, (outputs, last) = rs.as_system(module), module(inputs)
    hidden, cells = last if kind == "lstm" else (last, None)
    final = torch.cat([torch.cat([hidden[i], cells[i]], 1) if cells is not None else hidden[i] for i in range(layers)], 1)
    for keep_states in (True, False):
        found = rs.rollout(system, inputs, keep_states=keep_states)
        torch.testing.assert_close(found.outputs, outputs, rtol=tolerance, atol=tolerance)
        torch.testing.assert_close(found.final_state, final, rtol=tolerance, atol=tolerance)
        assert found.outputs.dtype == dtype


@KINDS
def test_a_torch_module_is_left_untouched(kind: str) -> None:
    module, readout = torch_module(kind, 2, torch.float64, dropout=0.3).eval(), nn.Linear(HIDDEN, OUTPUTS).double()
    module.weight_hh_l0.requires_grad_(False)
    kept = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    system = rs.as_system(module, readout)
    assert system.dropout == 0.3
    assert not system.training
    with torch.no_grad():
        for parameter in system.parameters():
            parameter.add_(1.0)
    assert all(torch.equal(tensor, kept[name]) for name, tensor in module.state_dict().items())
    assert [n for n, p in module.named_parameters() if not p.requires_grad] == ["weight_hh_l0"]
    assert not module.training
    assert rs.as_system(module.train()).training


@DTYPES
def test_a_readout_is_found_beside_the_recurrent_layer(dtype: torch.dtype) -> None:
    class Network(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.recurrent = torch_module("lstm", 2, dtype)
            self.out = nn.Linear(HIDDEN, OUTPUTS, dtype=dtype)

        def forward(self, inputs: Tensor) -> Tensor:
            return self.out(self.recurrent(inputs)[0])

    network = Network()
    inputs = drawn(BATCH, STEPS, INPUTS, dtype=dtype)
    wanted = network(inputs)
    for system in (rs.as_system(network), rs.as_system(network.recurrent, network.out), rs.as_system(network, network.out)):
        torch.testing.assert_close(rs.rollout(system, inputs, keep_states=False).outputs, wanted)


def test_a_time_first_module_is_read_with_the_batch_first() -> None:
    module = torch_module("gru", 2, torch.float64, batch_first=False)
    inputs = drawn(BATCH, STEPS, INPUTS)
    torch.testing.assert_close(
        rs.rollout(rs.as_system(module), inputs).outputs, module(inputs.transpose(0, 1))[0].transpose(0, 1)
    )


@pytest.mark.parametrize(
    ("module", "readout", "message"),
    [
        (nn.Linear(2, 2), None, "holds no nn.RNN"),
        (nn.Sequential(nn.GRU(2, 3), nn.GRU(3, 3)), None, "2 layers of kind recurrent layer"),
        (nn.ModuleList([nn.GRU(2, 3), nn.Linear(3, 1), nn.Linear(3, 1)]), None, "2 layers of kind nn.Linear"),
        (nn.GRU(2, 3, bidirectional=True), None, "bidirectional"),
        (nn.LSTM(2, 3, proj_size=2), None, "projected"),
        (nn.GRU(2, 3), nn.Linear(4, 1), "hidden_size = 3"),
    ],
)
def test_modules_that_are_no_system_are_refused(module: nn.Module, readout: nn.Linear | None, message: str) -> None:
    with pytest.raises(rs.ConfigError, match=message):
        rs.as_system(module, readout)


def test_several_readouts_are_no_matter_when_one_is_given() -> None:
    both = nn.ModuleList([nn.GRU(2, 3), nn.Linear(3, 1), nn.Linear(3, 2)])
    assert rs.as_system(both, both[2]).output_size == 2  # type: ignore[arg-type]


# building


def built(spec: Any, seed: int = 0) -> dict[str, Tensor]:
    return spec.build(Signature(INPUTS, OUTPUTS), generator(seed)).state_dict()


@KINDS
def test_initial_weights_are_uniform_on_torchs_interval(kind: str) -> None:
    weights = built(SPECS[kind].but(hidden_size=25, skip=4))
    for name, tensor in weights.items():
        bound = 1 / np.sqrt(4 * INPUTS if name == "taps.weight" else 25)
        assert tensor.abs().max() <= bound
        if tensor.numel() > 200:
            assert tensor.var().item() == pytest.approx(bound**2 / 3, rel=0.25)
            assert abs(tensor.mean().item()) < 0.1 * bound


def test_a_forget_bias_is_added_to_the_forget_gate_alone() -> None:
    plain, biased = built(rs.LSTM(hidden_size=HIDDEN)), built(rs.LSTM(hidden_size=HIDDEN, forget_bias=1.5))
    for name, tensor in plain.items():
        wanted = tensor.clone()
        if "bias_ih" in name:
            wanted[HIDDEN : 2 * HIDDEN] += 1.5
        assert torch.equal(biased[name], wanted)


@KINDS
@pytest.mark.parametrize("init", ["orthogonal", "identity", "spectral"])
def test_another_recurrent_initialisation_changes_the_recurrent_matrices_alone(kind: str, init: Any) -> None:
    spec = SPECS[kind].but(hidden_size=HIDDEN)
    plain, other = built(spec), built(spec.but(recurrent_init=init, recurrent_scale=0.9))
    for name, tensor in plain.items():
        assert torch.equal(other[name], tensor) == ("weight_hh" not in name)
        if "weight_hh" in name:
            for block in other[name].split(HIDDEN):
                if init == "spectral":
                    assert torch.linalg.eigvals(block).abs().max().item() == pytest.approx(0.9, rel=1e-5)
                else:
                    torch.testing.assert_close(block @ block.T, 0.81 * torch.eye(HIDDEN))


def test_a_scaled_uniform_matrix_is_wider() -> None:
    recurrent = built(rs.Elman(hidden_size=30, num_layers=1, recurrent_scale=3.0))["layers.0.weight_hh_l0"]
    assert 2 / np.sqrt(30) < recurrent.abs().max() <= 3 / np.sqrt(30)


def test_without_biases_at_the_start_an_irnn_adds_its_inputs_up() -> None:
    spec = rs.Elman(hidden_size=HIDDEN, num_layers=1, nonlinearity="relu", recurrent_init="identity", bias_scale=0.0)
    weights = built(spec)
    assert torch.equal(weights["layers.0.weight_hh_l0"], torch.eye(HIDDEN))
    assert not weights["layers.0.bias_ih_l0"].any()
    assert not weights["layers.0.bias_hh_l0"].any()
    same = built(spec.but(bias_scale=1.0))
    assert all(torch.equal(tensor, same[name]) for name, tensor in weights.items() if "bias_" not in name)


def test_chrono_sets_the_biases_of_the_gates_that_keep_the_state_and_nothing_else() -> None:
    for kind, kept in (("lstm", slice(0, 2 * HIDDEN)), ("gru", slice(HIDDEN, 2 * HIDDEN))):
        plain, chrono = built(SPECS[kind].but(hidden_size=HIDDEN)), built(SPECS[kind].but(hidden_size=HIDDEN, chrono=30.0))
        for name, tensor in plain.items():
            if "bias_" not in name:
                assert torch.equal(chrono[name], tensor)
                continue
            others = torch.ones(len(tensor), dtype=bool)
            others[kept] = False
            assert torch.equal(chrono[name][others], tensor[others])
            if "bias_hh" in name:
                assert not chrono[name][kept].any()
            else:
                held = chrono[name][kept][-HIDDEN:]
                assert (held >= 0).all()
                assert (held <= np.log(29)).all()
                if kind == "lstm":
                    assert torch.equal(chrono[name][:HIDDEN], -held)


@pytest.mark.parametrize(
    ("spec", "word"),
    [
        (lambda: rs.LSTM(chrono=2.0), "chrono"),
        (lambda: rs.GRU(chrono=-1.0), "chrono"),
        (lambda: rs.GRU(chrono=50, bias=False), "bias"),
        (lambda: rs.LSTM(chrono=50, forget_bias=1.0), "forget_bias"),
        (lambda: rs.Elman(bias_scale=-1.0), "bias_scale"),
        (lambda: rs.Elman(recurrent_init="sparse", recurrent_scale=0.0), "recurrent_scale"),
        (lambda: rs.Elman(recurrent_init="sparse", recurrent_scale=-1.0), "recurrent_scale"),
    ],
)
def test_a_start_that_cannot_be_is_refused(spec: Any, word: str) -> None:
    with pytest.raises(rs.ConfigError, match=word) as caught:
        spec()
    assert caught.value.remedy
