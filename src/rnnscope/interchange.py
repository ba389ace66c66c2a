"""Networks made elsewhere as run folders (`rnnscope import`), and a run's network for elsewhere (`rnnscope export`)."""

import os
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast

import torch
from safetensors.torch import save

from rnnscope.api import analyses_for
from rnnscope.core.errors import ConfigError, DataError, RunFolderError, unknown_name
from rnnscope.core.forecast import ForecastData
from rnnscope.core.random import Streams
from rnnscope.evaluation.unscored import Unscored
from rnnscope.experiment import Experiment
from rnnscope.models.foreign import imported, read_foreign
from rnnscope.models.foreign_keras_export import to_keras
from rnnscope.models.foreign_onnx import choose_system, to_onnx, write_whole
from rnnscope.models.foreign_torch import loading_code, to_torch
from rnnscope.pipeline import open_folder
from rnnscope.results import Run
from rnnscope.runs.folder import RunFolder
from rnnscope.tasks.given import Noise
from rnnscope.training.untrained import Untrained

SUFFIX = {"torch": (".safetensors", ".pt"), "keras": (".keras",), "onnx": (".onnx",)}


def imported_experiment(path: str | Path, *, nonlinearity: str | None = None, prefix: str | None = None) -> Experiment:
    """The experiment whose run holds a network from a file: nothing is trained, nothing is scored.

    Args:
        path: .keras, .safetensors, .pt, .pth, .bin, or .npz of an echo state network's matrices.
        nonlinearity: of a plain RNN of torch. prefix: of the module, where a state dict holds several.

    Raises:
        DataError, ConfigError: the file or the network is not one that can be read; see `rs.from_keras`, `rs.from_torch`.
    """
    if nonlinearity not in (None, "tanh", "relu"):
        raise unknown_name("nonlinearity", str(nonlinearity), ["tanh", "relu"])
    chosen = cast(Literal["tanh", "relu"], nonlinearity or "tanh")
    found = read_foreign(path, nonlinearity=chosen, prefix=prefix)
    file = Path(path).expanduser()
    specs = imported(file, found, nonlinearity=nonlinearity, prefix=prefix)
    notes = [f"Imported from {file.name}: {found.what}.", *found.notes]
    if len(specs) > 1:
        ways = " and ".join(name for name in specs if name != "network")
        notes.append(
            f"The models {ways} are the directions that read the data, each a system of its own; a backward one is driven with "
            "sequences from their end."
        )
    return Experiment(
        name=file.stem,
        summary=found.what,
        task=Noise(input_size=found.model.input_size, output_size=found.model.output_size, notes=tuple(notes)),
        models=dict(specs),
        trainer=Untrained(),
        evaluation=Unscored(origin=file.name),
    )


def with_analyses(experiment: Experiment, names: list[str] | None, assignments: list[str] | None) -> Experiment:
    """The experiment with analyses of its first model; see `rnnscope.api.analyses_for`."""
    data = experiment.task.prepare(Streams(experiment.seed))
    model = next(iter(experiment.models.values())).build(data.signature, torch.Generator().manual_seed(0))
    return experiment.but(analyses=analyses_for(experiment, model, data, names, assignments))


def open_target(experiment: Experiment, out: Path | None) -> RunFolder:
    """A new run folder: below runs/, or beside `out`, which it is moved to by `settle` when it is complete."""
    if out is None:
        return open_folder(experiment, Path("runs"))
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise RunFolderError(f"'{out}' exists already", "a folder that does not, or an empty one", "choose another --out")
    return open_folder(experiment, out.resolve().parent)


def settle(folder: RunFolder, out: Path | None) -> RunFolder:
    """The complete run folder under the name asked for."""
    if out is None:
        return folder
    try:
        if out.is_dir():
            out.rmdir()
        os.rename(folder.path, out)
    except OSError as error:
        raise RunFolderError(
            f"'{out}' cannot be written: {error.strerror}", "a folder you may write to", f"the run is in {folder.path}"
        ) from None
    return RunFolder(out)


@dataclass(frozen=True)
class Exported:
    """A network written for elsewhere.

    Attributes:
        file: what was written. model: of the run. notes: what one should know to use it, lines of text or code.
    """

    file: Path
    model: str
    notes: tuple[str, ...]


def export_model(run: Run, to: str, *, model: str | None = None, part: str | None = None, out: Path | None = None) -> Exported:
    """Write a run's network as a torch state dict, a .keras file, or the ONNX graph of its step.

    Args:
        to: torch, keras or onnx. model: of the run; the one chosen without the test part by default. part: for ONNX, which of
            the model's systems. out: the file; by default <run>-<model> with the suffix of the kind.

    Raises:
        ConfigError: an unknown kind, a model that does not fit it, or a package that is not installed.
    """
    if to not in SUFFIX:
        raise unknown_name("kind of export", to, SUFFIX)
    name = model or run.best_model()
    network = run.model(name)
    target = out or Path(f"{run.path.resolve().name}-{name}{SUFFIX[to][0]}")
    if target.suffix.lower() not in SUFFIX[to]:
        raise DataError(f"--out {target} with --to {to}", f"a file ending in {' or '.join(SUFFIX[to])}", "change the ending")
    if part is not None and to != "onnx":
        raise ConfigError(f"--part with --to {to}", "--to onnx, which writes one system's step", "leave --part out")
    if to == "onnx":
        to_onnx(choose_system(network, part), target)
        notes = ["inputs: state (batch, states), zeros at first, and input (batch, features); outputs: new_state, output"]
    elif to == "keras":
        write_whole(target, _keras_bytes(to_keras(network)))
        notes = [f"import keras; model = keras.saving.load_model({str(target)!r})"]
    else:
        plain = to_torch(network)
        tensors = {k: v.detach().contiguous() for k, v in plain.state_dict().items()}
        write_whole(target, _torch_bytes(tensors, target.suffix.lower()))
        notes = [loading_code(plain, str(target))]
    return Exported(target, name, (*notes, *scaling_notes(run)))


def scaling_notes(run: Run) -> tuple[str, ...]:
    """What stands between the data and the network, which an exported file does not hold."""
    data = run.data
    if isinstance(data, ForecastData):
        return ("the network reads and gives scaled values: see 'representation' and 'scaling' in data/data.json of the run",)
    return ()


def _keras_bytes(model: Any) -> bytes:
    """What Keras writes for a model."""
    folder = tempfile.mkdtemp()
    try:
        file = Path(folder) / "model.keras"
        model.save(file)
        return file.read_bytes()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _torch_bytes(tensors: dict[str, torch.Tensor], suffix: str) -> bytes:
    if suffix == ".safetensors":
        return save(tensors)
    import io

    buffer = io.BytesIO()
    torch.save(tensors, buffer)
    return buffer.getvalue()
