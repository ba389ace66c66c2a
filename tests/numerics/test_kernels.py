"""The compiled closed loop where it has a closed form; `contracts/test_systems.py` holds it to the loop of `step`."""

import pytest
import torch
from torch import Tensor

from rnnscope.numerics.kernels import PackedNetwork, closed_loop

SIZE = 3
GATES = {"tanh": 1, "relu": 1, "gru": 3, "lstm": 4}
DTYPES = pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])


def drawn(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def blank(kind: str, dtype: torch.dtype = torch.float64, *, taps: int = 0, layers: int = 1) -> PackedNetwork:
    """A network of zeros that reads out its state: one input, SIZE units, SIZE outputs."""
    gates = GATES[kind] * SIZE

    def zeros(*shape: int) -> Tensor:
        return torch.zeros(shape, dtype=dtype)

    readout = torch.cat([torch.eye(SIZE, dtype=dtype), zeros(taps, SIZE)])
    return PackedNetwork(
        kind, zeros(layers, SIZE, gates), zeros(layers, SIZE, gates), zeros(layers, 2, gates), readout, zeros(SIZE)
    )


def silent(steps: int, inputs: int = 1, dtype: torch.dtype = torch.float64) -> dict[str, object]:
    """Arguments of a loop that feeds nothing but zeros."""

    def zeros(*shape: int) -> Tensor:
        return torch.zeros(shape, dtype=dtype)

    feedback = (zeros(inputs, inputs), zeros(inputs, SIZE), zeros(inputs, 0))
    return {"taps": zeros(0, inputs), "input": zeros(inputs), "feedback": feedback, "exogenous": zeros(steps, 0)}


@DTYPES
def test_a_gru_of_zeros_halves_its_state(dtype: torch.dtype) -> None:
    start = drawn(1, SIZE, dtype=dtype)
    outputs, state, _, _ = closed_loop(blank("gru", dtype), start, **silent(6, dtype=dtype))  # type: ignore[arg-type]
    torch.testing.assert_close(outputs, start / 2.0 ** torch.arange(1, 7)[:, None].to(dtype))
    assert torch.equal(state[0], outputs[-1])
    assert outputs.dtype == dtype


@DTYPES
def test_an_lstm_of_zeros_halves_its_cell(dtype: torch.dtype) -> None:
    start = drawn(1, 2 * SIZE, dtype=dtype)
    outputs, state, _, _ = closed_loop(blank("lstm", dtype), start, **silent(6, dtype=dtype))  # type: ignore[arg-type]
    cells = start[:, SIZE:] / 2.0 ** torch.arange(1, 7)[:, None].to(dtype)
    torch.testing.assert_close(outputs, 0.5 * torch.tanh(cells))
    torch.testing.assert_close(state[0, SIZE:], cells[-1])


def test_a_relu_network_on_positive_states_is_its_matrix() -> None:
    network, matrix = blank("relu"), drawn(SIZE, SIZE).abs() / 4
    network.recur[0] = matrix.T
    start = drawn(1, SIZE, seed=1).abs()
    outputs, _, _, _ = closed_loop(network, start, **silent(5))  # type: ignore[arg-type]
    for n in range(5):
        torch.testing.assert_close(outputs[n], torch.linalg.matrix_power(matrix, n + 1) @ start[0])


def test_biases_enter_twice_in_an_elman_network() -> None:
    network = blank("tanh")
    network.biases[0] = drawn(2, SIZE)
    outputs, _, _, _ = closed_loop(network, drawn(1, SIZE), **silent(1))  # type: ignore[arg-type]
    torch.testing.assert_close(outputs[0], torch.tanh(network.biases[0].sum(0)))


def test_layers_read_the_layer_below() -> None:
    network = blank("relu", layers=2)
    network.biases[0, 0] = torch.tensor([1.0, 2.0, 3.0])
    network.drive[1] = 2 * torch.eye(SIZE)
    outputs, _, _, _ = closed_loop(network, torch.zeros(2, SIZE, dtype=torch.float64), **silent(1))  # type: ignore[arg-type]
    assert outputs[0].tolist() == [2.0, 4.0, 6.0]


def test_taps_hold_the_latest_inputs_newest_first() -> None:
    network = blank("tanh", taps=2)
    network.readout[SIZE:] = torch.tensor([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
    taps, fed = torch.tensor([[7.0], [8.0]], dtype=torch.float64), torch.tensor([7.0], dtype=torch.float64)
    exogenous = torch.tensor([[1.0], [2.0], [3.0]], dtype=torch.float64)
    one, none = torch.ones(1, 1, dtype=torch.float64), torch.zeros(1, 1, dtype=torch.float64)
    start = torch.zeros(1, SIZE, dtype=torch.float64)
    outputs, _, kept, last = closed_loop(network, start, taps, fed, (none, none.expand(1, SIZE), one), exogenous)
    assert outputs[:, :2].tolist() == [[1.0, 7.0], [2.0, 1.0], [3.0, 2.0]]
    assert kept.flatten().tolist() == [3.0, 2.0]
    assert last.tolist() == [3.0]
    assert taps.flatten().tolist() == [7.0, 8.0]


def test_the_fed_input_integrates_where_it_is_carried() -> None:
    """x' = x + y with y the constant bias of the readout."""
    network = blank("tanh")
    network.bias[:] = torch.tensor([0.5, 0.0, 0.0])
    one = torch.ones(1, 1, dtype=torch.float64)
    arguments = silent(4) | {"feedback": (one, torch.tensor([[1.0, 0.0, 0.0]], dtype=torch.float64), one[:, :0])}
    arguments["input"] = torch.tensor([2.0], dtype=torch.float64)
    _, _, _, last = closed_loop(network, torch.zeros(1, SIZE, dtype=torch.float64), **arguments)  # type: ignore[arg-type]
    assert last.tolist() == [2.0 + 4 * 0.5]


@pytest.mark.parametrize("kind", ["gru", "lstm"])
@DTYPES
def test_gates_driven_to_their_ends_stay_finite(kind: str, dtype: torch.dtype) -> None:
    for sign in (1.0, -1.0):
        network = blank(kind, dtype)
        network.biases[0, 0] = sign * 1e4
        start = drawn(1, SIZE * (2 if kind == "lstm" else 1), dtype=dtype)
        outputs, _, _, _ = closed_loop(network, start, **silent(5, dtype=dtype))  # type: ignore[arg-type]
        assert outputs.isfinite().all()


def test_no_steps_give_no_outputs_and_the_state_as_it_was() -> None:
    start = drawn(1, SIZE)
    outputs, state, _, _ = closed_loop(blank("gru"), start, **silent(0))  # type: ignore[arg-type]
    assert outputs.shape == (0, SIZE)
    assert torch.equal(state, start)
