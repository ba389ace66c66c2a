"""Networks made elsewhere, from a file: which kinds of file there are, and the model spec of a run that holds one."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch

from rnnscope.core.errors import ConfigError, DataError, unknown_name
from rnnscope.core.fingerprint import digest
from rnnscope.core.interfaces import ModelSpec, Signature
from rnnscope.core.spec import FilePath, NonNegative, Positive, Spec
from rnnscope.core.system import SequenceModel
from rnnscope.models.foreign_keras import read_keras
from rnnscope.models.foreign_reservoir import SAVING, read_reservoir
from rnnscope.models.foreign_torch import network_from_tensors
from rnnscope.models.layered import Layered, LayeredNetwork
from rnnscope.models.reservoir_system import ReservoirSystem
from rnnscope.models.state_dict import SUFFIXES, read_tensors

KINDS_OF_FILE = f".keras (Keras 3), {', '.join(SUFFIXES)} (torch), .npz (the matrices of an echo state network)"


class Reservoir(Spec):
    """The sizes of an echo state network.

    Fields: units (N, >= 1), degree (sources of each unit, >= 1), outputs (Y, >= 1).
    """

    units: Positive = 1
    degree: Positive = 1
    outputs: Positive = 1


@dataclass(frozen=True)
class ForeignNetwork:
    """A network read from a file.

    Attributes:
        model: in evaluation mode. digest: of the file. what: it is, in words. notes: what one should know, in sentences.
    """

    model: LayeredNetwork | ReservoirSystem
    digest: str
    what: str
    notes: tuple[str, ...]


def read_foreign(
    path: str | Path, *, nonlinearity: Literal["tanh", "relu"] = "tanh", prefix: str | None = None
) -> ForeignNetwork:
    """The network in a file of Keras, torch or matrices.

    Raises:
        DataError: a missing, damaged or unknown file; a pickle, which is never opened. ConfigError: a network that we have not.
    """
    file = Path(path).expanduser()
    suffix = file.suffix.lower()
    if not file.is_file():
        what = "is a folder" if file.is_dir() else "does not exist"
        raise DataError(f"'{path}' {what}", f"a file: {KINDS_OF_FILE}", "check the path")
    if suffix in (".pkl", ".pickle", ".joblib", ".dill"):
        raise DataError(
            f"'{path}' is a pickle, which can run any code when it is opened; it was not opened",
            f"a file of numbers: {KINDS_OF_FILE}",
            f"where the object is: rs.from_reservoirpy(model), rs.from_torch(module); or save its matrices, {SAVING}",
        )
    if suffix in (".h5", ".hdf5"):
        raise DataError(
            f"'{path}' is Keras's former format, or weights without the layers that they belong to",
            f"{KINDS_OF_FILE}",
            "load it with Keras 3 and write model.save('model.keras')",
        )
    if suffix == ".keras":
        network, notes = read_keras(file)
        return ForeignNetwork(network, digest([file.read_bytes()]), describe_layers(network), notes)
    if suffix == ".npz":
        system = read_reservoir(file)
        what = f"echo state network of {system.state_size} units"
        return ForeignNetwork(system, digest([file.read_bytes()]), what, ())
    if suffix in SUFFIXES:
        found, said = network_from_tensors(read_tensors(file), f"'{path}'", nonlinearity=nonlinearity, prefix=prefix)
        return ForeignNetwork(found, digest([file.read_bytes()]), describe_layers(found), said)
    raise DataError(f"'{path}' ends in '{suffix}'", KINDS_OF_FILE, "save the network in one of these forms")


WORDS = {"elman": "tanh", "relu": "ReLU", "gru": "GRU", "lstm": "LSTM"}


def describe_layers(network: LayeredNetwork) -> str:
    """A network in words: its layers, bottom first, and its readout.

    Example:
        >>> import torch, rnnscope as rs
        >>> describe_layers(rs.from_torch(torch.nn.GRU(2, 4, bidirectional=True)))
        'bidirectional GRU(4), read at every step, without a readout (the outputs are the states)'
    """
    spec = network.spec
    layers = [f"{'bidirectional ' * layer.bidirectional}{WORDS[layer.cell]}({layer.hidden_size})" for layer in spec.layers]
    dense = [
        f"dense({d.units}{'' if d.activation == 'linear' else ', ' + d.activation})"
        for d in spec.dense_layers(network.output_size)
    ]
    end = "read at its last step" if spec.last_step else "read at every step"
    return f"{' -> '.join([*layers, *dense])}, {end}" + ("" if dense else ", without a readout (the outputs are the states)")


class Imported(ModelSpec):
    """A network made elsewhere. A run folder that holds one keeps its weights, and needs the file no more.

    Fields:
        path: .keras, .safetensors, .pt, .pth, .bin or .npz. digest: of the file, which must not have changed; "": any.
        part: "network", or one direction of a bidirectional one by its name, e.g. "forward" or "backward-layer0".
        nonlinearity: of a plain RNN of torch, whose weights do not tell it. prefix: of the module, where a state dict holds several.
        layers: what the network is made of. outputs: of the whole network, where `part` has others; 0: those of the task.
        reservoir: the same of an echo state network. precision: of the weights.
    """

    path: FilePath = ""
    digest: str = ""
    part: str = "network"
    nonlinearity: Literal["tanh", "relu"] = "tanh"
    prefix: str | None = None
    layers: Layered = Layered()
    outputs: NonNegative = 0
    reservoir: Reservoir | None = None
    precision: Literal["float32", "float64"] = "float32"

    @classmethod
    def of(cls, path: str | Path, **fields: str) -> "Imported":
        """The spec of the whole network in a file, with its sizes filled in; fields: nonlinearity, prefix.

        Example:
            >>> import rnnscope as rs
            >>> rs.run("sine-small", models={"mine": rs.Imported.of("net.keras")}, trainer=rs.Untrained())  # doctest: +SKIP
        """
        given = cls(path=str(path), **fields)
        found = read_foreign(path, nonlinearity=given.nonlinearity, prefix=given.prefix)
        return imported(path, found, **fields)["network"]

    def build(self, signature: Signature, rng: torch.Generator) -> SequenceModel:
        """The network with the weights in the file."""
        if not self.path:
            raise ConfigError("an imported model without a path", "the file that holds it", "set path to a .keras, .pt, … file")
        found = read_foreign(self.path, nonlinearity=self.nonlinearity, prefix=self.prefix)
        if self.digest and found.digest != self.digest:
            raise DataError(
                f"'{self.path}' is not the file that was imported",
                f"a file with the digest {self.digest}",
                "put it back, or import the new one",
            )
        whole = found.model
        outputs = whole.output_size if self.part == "network" else signature.output_size  # a direction may have others
        if (whole.input_size, outputs) != (signature.input_size, signature.output_size):
            raise ConfigError(
                f"'{self.path}' has {whole.input_size} inputs and {outputs} outputs",
                f"{signature.input_size} and {signature.output_size}, as the task has",
                "choose a task of these sizes, or another network",
            )
        return self._part(whole)

    def empty(self, signature: Signature) -> SequenceModel:
        if self.reservoir is not None:
            units, degree = self.reservoir.units, self.reservoir.degree
            blank = torch.zeros(units, degree)
            drive, each = torch.zeros(units, signature.input_size), torch.ones(units)
            return ReservoirSystem(blank, blank, drive, each, each, None, self.reservoir.outputs).eval()
        whole = Signature(signature.input_size, self.outputs or signature.output_size)
        network = self.layers.empty(whole).to(torch.float64 if self.precision == "float64" else torch.float32)
        return self._part(network.eval())

    def _part(self, model: LayeredNetwork | ReservoirSystem) -> SequenceModel:
        if self.part == "network":
            return model
        parts = {name: s for name, s in model.systems().items() if isinstance(s, SequenceModel)}
        if self.part not in parts:
            raise unknown_name("part", self.part, ["network", *parts])
        return parts[self.part]


def imported(path: str | Path, found: ForeignNetwork, **fields: str | None) -> dict[str, Imported]:
    """The specs of a network in a file, by name: `network`, and each direction that reads the data themselves.

    Args:
        fields: nonlinearity and prefix, as they were given to `read_foreign`.
    """
    model = found.model
    if isinstance(model, ReservoirSystem):
        sizes = Reservoir(units=model.state_size, degree=model.get_buffer("sources").shape[1], outputs=model.output_size)
        return {"network": Imported(path=str(path), digest=found.digest, reservoir=sizes, precision="float64")}
    double = next(model.parameters()).dtype == torch.float64
    whole = Imported(
        path=str(path),
        digest=found.digest,
        layers=model.spec,
        outputs=model.output_size,
        precision="float64" if double else "float32",
        **{k: v for k, v in fields.items() if v is not None},
    )
    ways = [n for n, s in model.systems().items() if n.startswith(("forward", "backward")) and s.input_size == model.input_size]
    first = [n for n in ways if n in ("forward", "backward") or n.endswith("-layer0")]
    return {"network": whole, **{name: whole.but(part=name) for name in first}}
