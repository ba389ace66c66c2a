"""Steps of our networks as ONNX nodes, written out cell by cell: no exporter stands between the equation and the graph."""

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from rnnscope.core.system import DynamicalSystem
from rnnscope.models.cells import GATES, CellKind, layer_weights
from rnnscope.models.recurrent_systems import RecurrentSystem
from rnnscope.models.reservoir_system import ReservoirSystem
from rnnscope.models.stacked import Activation, StackedSystem

OPSET, IR = 17, 8  # read by every ONNX runtime since 2022
OPERATIONS: dict[Activation, str] = {"tanh": "Tanh", "relu": "Relu", "sigmoid": "Sigmoid"}


class GraphWriter:
    """Nodes and constants of a graph as they are added; values are known by name."""

    def __init__(self, onnx: Any, like: Tensor) -> None:
        self.onnx, self.dtype = onnx, np.float64 if like.dtype == torch.float64 else np.float32
        self.nodes: list[Any] = []
        self.constants: list[Any] = []

    def constant(self, value: Tensor | np.ndarray, whole: bool = False) -> str:
        """A constant; whole numbers stay whole."""
        array = value.detach().cpu().numpy() if isinstance(value, Tensor) else value
        name = f"c{len(self.constants)}"
        kind = np.int64 if whole else self.dtype
        self.constants.append(self.onnx.numpy_helper.from_array(np.ascontiguousarray(array, dtype=kind), name))
        return name

    def add(self, operation: str, *inputs: str, outputs: int = 1, name: str = "", **attributes: Any) -> Any:
        """A node; the name of its value, or the names of its values."""
        names = [f"v{len(self.nodes)}_{i}" for i in range(outputs)] if not name else [name]
        self.nodes.append(self.onnx.helper.make_node(operation, list(inputs), names, **attributes))
        return names[0] if outputs == 1 else names

    def linear(self, value: str, weight: Tensor, bias: Tensor | None = None) -> str:
        """weight · value + bias, row by row."""
        product = self.add("MatMul", value, self.constant(weight.T))
        return product if bias is None else self.add("Add", product, self.constant(bias))

    def split(self, value: str, sizes: list[int]) -> list[str]:
        """A value cut along its features."""
        if len(sizes) == 1:
            return [value]
        return self.add("Split", value, self.constant(np.array(sizes), whole=True), outputs=len(sizes), axis=1)

    def join(self, values: list[str], name: str = "") -> str:
        """Values side by side, under a name of their own where one is given."""
        if len(values) == 1:
            return self.add("Identity", values[0], name=name) if name else values[0]
        return self.add("Concat", *values, axis=1, name=name)

    def cell(self, kind: CellKind, layer: nn.RNNBase, state: str, below: str) -> tuple[str, list[str]]:
        """One layer's new h, and its new state in parts."""
        into, back, into_bias, back_bias = layer_weights(layer)
        gates = GATES[kind]
        biases = [None] * gates if into_bias is None else into_bias.chunk(gates)
        inner = [None] * gates if back_bias is None else back_bias.chunk(gates)
        hidden, *memory = self.split(state, [layer.hidden_size] * (2 if kind == "lstm" else 1))
        drive = [self.linear(below, w, b) for w, b in zip(into.chunk(gates), biases, strict=True)]
        recur = [self.linear(hidden, w, b) for w, b in zip(back.chunk(gates), inner, strict=True)]
        if kind == "gru":
            reset, update = (self.add("Sigmoid", self.add("Add", drive[i], recur[i])) for i in (0, 1))
            candidate = self.add("Tanh", self.add("Add", drive[2], self.add("Mul", reset, recur[2])))
            change = self.add("Mul", update, self.add("Sub", hidden, candidate))
            new = self.add("Add", candidate, change)
            return new, [new]
        sums = [self.add("Add", a, b) for a, b in zip(drive, recur, strict=True)]
        if kind != "lstm":
            new = self.add(OPERATIONS[kind], sums[0])
            return new, [new]
        enter, forget, leave = (self.add("Sigmoid", sums[i]) for i in (0, 1, 3))
        fresh = self.add("Mul", enter, self.add("Tanh", sums[2]))
        cell = self.add("Add", self.add("Mul", forget, memory[0]), fresh)
        new = self.add("Mul", leave, self.add("Tanh", cell))
        return new, [new, cell]


def write_step(graph: GraphWriter, system: DynamicalSystem) -> bool:
    """Add state, input -> new_state, output; False where the system is of a kind that is not written out here."""
    if isinstance(system, RecurrentSystem):
        output, parts = _recurrent(graph, system, "state", "input")
    elif isinstance(system, StackedSystem):
        output, parts = _stacked(graph, system)
    elif isinstance(system, ReservoirSystem):
        output, parts = _reservoir(graph, system)
    else:
        return False
    graph.join(parts, name="new_state")
    graph.add("Identity", output, name="output")
    return True


def _recurrent(graph: GraphWriter, system: RecurrentSystem, state: str, input: str) -> tuple[str, list[str]]:
    sizes = [system.layer_size] * system.num_layers
    taps = [system.skip * system.input_size] if system.skip else []
    owns = graph.split(state, sizes + taps)
    below, parts = input, []
    for layer, own in zip(system.recurrent_layers(), owns, strict=False):
        below, new = graph.cell(system.kind, layer, own, below)
        parts += new
    output = graph.linear(below, system.head.weight, system.head.bias)
    if system.taps is not None:
        kept = [graph.split(owns[-1], [taps[0] - system.input_size, system.input_size])[0]] if system.skip > 1 else []
        latest = graph.join([input, *kept])
        output = graph.add("Add", output, graph.linear(latest, system.taps.weight))
        parts.append(latest)
    return output, parts


def _stacked(graph: GraphWriter, system: StackedSystem) -> tuple[str, list[str]]:
    below, parts = "input", []
    for block, own in zip(system.parts(), graph.split("state", system.sizes), strict=True):
        below, new = _recurrent(graph, block, own, below)
        parts += new
    for layer, name in zip(system.head.layers, system.head.activations, strict=True):
        below = graph.linear(below, layer.weight, layer.bias)
        if name == "softmax":
            below = graph.add("Softmax", below, axis=-1)
        elif name != "linear":
            below = graph.add(OPERATIONS[name], below)
    return below, parts


def _reservoir(graph: GraphWriter, system: ReservoirSystem) -> tuple[str, list[str]]:
    drive, bias, leak, feedback = (system.get_buffer(n) for n in ("drive", "bias", "leak", "feedback"))
    weights = system.get_buffer("recurrent")
    matrix = weights.new_zeros(len(weights), len(weights)).scatter_add(1, system.get_buffer("sources").long(), weights)
    sums = graph.linear("input", drive, bias)
    if feedback.shape[1]:
        sums = graph.add("Add", sums, graph.linear(_read(graph, system, "state"), feedback))
    size = system.state_size // system.num_blocks
    sizes = [size] * system.num_blocks
    old, driven, new = graph.split("state", sizes), graph.split(sums, sizes), list[str]()
    for number in range(system.num_blocks):
        rows = slice(number * size, (number + 1) * size)
        known = graph.join([*new, *old[number:]])
        fresh = graph.add("Tanh", graph.add("Add", driven[number], graph.linear(known, matrix[rows])))
        change = graph.add("Mul", graph.constant(leak[rows]), graph.add("Sub", fresh, old[number]))
        new.append(graph.add("Add", old[number], change))
    return _read(graph, system, graph.join(new)), new


def _read(graph: GraphWriter, system: ReservoirSystem, state: str) -> str:
    """The readout of a reservoir's state."""
    if system.features != "state":
        square = graph.add("Mul", state, state)
        if system.features == "state_squares":
            state = graph.join([state, square])
        else:
            odd = np.arange(system.state_size) % 2
            plain = graph.add("Mul", state, graph.constant(1.0 - odd))
            state = graph.add("Add", plain, graph.add("Mul", square, graph.constant(1.0 * odd)))
    return graph.linear(state, system.head.weight, system.head.bias)
