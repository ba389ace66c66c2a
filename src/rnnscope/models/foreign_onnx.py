"""The step of any of our systems as an ONNX graph."""

import os
from pathlib import Path
from typing import Any

import numpy as np

from rnnscope.core.errors import ConfigError, DataError
from rnnscope.core.system import DynamicalSystem, SequenceModel
from rnnscope.models.onnx_graph import IR, OPSET, GraphWriter, write_step

INSTALL = "pip install 'rnnscope[onnx]'"


def to_onnx(model: SequenceModel | DynamicalSystem, path: str | Path, *, part: str | None = None) -> Path:
    """Write the step of a system as an ONNX file: state (B, S), input (B, X) -> new_state (B, S), output (B, Y).

    h_t = F(h_{t-1}, x_t), y_t = G(h_t); any batch size B. Begin with zeros, and hand each new state on. The weights are in the file.

    Args:
        model: a dynamical system, or a model that holds one. path: ends in .onnx. part: which of a model's systems, by name.

    Returns:
        The path.

    Raises:
        ConfigError: the model holds several systems and none is chosen, a system of another kind than recurrent layers or a reservoir, or onnx is not
            installed.
        DataError: the path does not end in .onnx, or cannot be written.

    Example:
        >>> import torch, rnnscope as rs
        >>> rs.to_onnx(rs.as_system(torch.nn.GRU(2, 4)), "step.onnx")     # doctest: +SKIP
    """
    target = Path(path).expanduser()
    if target.suffix.lower() != ".onnx":
        raise DataError(f"'{path}' ends in '{target.suffix}'", "a file name ending in .onnx", "rename it")
    write_whole(target, _graph(choose_system(model, part)))
    return target


def choose_system(model: SequenceModel | DynamicalSystem, part: str | None = None) -> DynamicalSystem:
    """A system itself, the only one in a model, or the one called `part`.

    Example:
        >>> import torch, rnnscope as rs
        >>> both = rs.from_torch(torch.nn.GRU(2, 4, bidirectional=True))
        >>> choose_system(both, "backward").state_size
        4
    """
    if isinstance(model, DynamicalSystem) and part is None:
        return model
    systems = model.systems() if isinstance(model, SequenceModel) else {}
    if part is None and len(systems) == 1:
        return next(iter(systems.values()))
    if part is None or part not in systems:
        raise ConfigError(
            f"a model with the systems {', '.join(systems) or 'none'}" + (f", and not '{part}'" if part else ""),
            "one system, whose step is written",
            "choose one of them by its name" if systems else "choose a model with a recurrent part",
        )
    return systems[part]


def _graph(system: DynamicalSystem) -> bytes:
    """The ONNX file's content."""
    try:
        import onnx
    except ImportError as error:
        raise ConfigError(f"ONNX files need {error.name}, which is not installed", "onnx", INSTALL) from None
    graph = GraphWriter(onnx, system.initial_state(1))
    if not write_step(graph, system):
        raise ConfigError(
            f"the step of a {type(system).__name__} is not written out as a graph",
            "a network of recurrent layers, or an echo state network",
            "export one of those; of a wrapped system, export what it wraps",
        )
    kind = onnx.TensorProto.DOUBLE if graph.dtype == np.float64 else onnx.TensorProto.FLOAT
    sizes = {"state": system.state_size, "input": system.input_size, "output": system.output_size}

    def value(name: str) -> Any:
        return onnx.helper.make_tensor_value_info(name, kind, ["batch", sizes[name.removeprefix("new_")]])

    whole = onnx.helper.make_graph(
        graph.nodes, "step", [value("state"), value("input")], [value("new_state"), value("output")], graph.constants
    )
    opset = onnx.helper.make_opsetid("", OPSET)
    made = onnx.helper.make_model(whole, opset_imports=[opset], ir_version=IR, producer_name="rnnscope")
    onnx.checker.check_model(made)
    return bytes(made.SerializeToString())


def write_whole(target: Path, content: bytes) -> None:
    """One file, whole or not at all."""
    temporary = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_bytes(content)
        os.replace(temporary, target)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise DataError(
            f"'{target}' cannot be written: {error.strerror or error}", "a file name you may write", "choose another"
        ) from None
