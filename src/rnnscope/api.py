"""The Python front door: run a preset, file or experiment; compare runs."""

from collections import deque
from pathlib import Path
from typing import Any, overload

from rnnscope.comparison import StudyRun, run_batch
from rnnscope.core.errors import ConfigError, unknown_name
from rnnscope.core.interfaces import AnalysisSpec, TrainingData
from rnnscope.core.random import Streams
from rnnscope.core.system import SequenceModel
from rnnscope.evaluation.unscored import Unscored
from rnnscope.experiment import Experiment, Study, named, parse_any, study_with_overrides, with_overrides
from rnnscope.models.given import GivenWeights
from rnnscope.models.state_dict import read_tensors, recognise
from rnnscope.pipeline import choose_analyses, run_experiment, walk
from rnnscope.registry import load_source
from rnnscope.results import Run
from rnnscope.tasks.given import Noise
from rnnscope.training.untrained import Untrained

CELL_NAMES = {"tanh": "Elman (tanh)", "relu": "Elman (ReLU)", "gru": "GRU", "lstm": "LSTM"}


def load_experiment(source: str) -> Experiment | Study:
    """An experiment or a study from a name that ships, a YAML file, or "file.py:name" (one, or a function that returns one)."""
    if source.endswith((".yaml", ".yml")):
        file = Path(source).expanduser()
        if not file.is_file():
            raise ConfigError(f"there is no file '{source}'", "a YAML file", "check the path, or name a preset (rnnscope list)")
        try:
            return parse_any(file.read_text(encoding="utf-8"), source)
        except UnicodeDecodeError:
            raise ConfigError(f"'{source}' is not text", "a YAML file in UTF-8", "check the file") from None
    if ".py:" in source:
        found = load_source(source)
        if callable(found) and not isinstance(found, Experiment | Study):
            found = found()
        if not isinstance(found, Experiment | Study):
            raise ConfigError(f"'{source}' gives {type(found).__name__}", "an rs.Experiment", "return one from the function")
        return found
    return named(source)


@overload
def run(experiment: Experiment, **options: Any) -> Run: ...
@overload
def run(experiment: Study, **options: Any) -> StudyRun: ...
@overload
def run(experiment: str, **options: Any) -> Any: ...
def run(
    experiment: str | Experiment | Study,
    *,
    out: Path | str = "runs",
    set: list[str] | None = None,
    only: list[str] | None = None,
    resume: Path | str | None = None,
    **fields: Any,
) -> Run | StudyRun:
    """Carry out an experiment, or a study of several, and return its run.

    Args:
        experiment: a preset's or a study's name, a YAML file, "file.py:name", an `Experiment` or a `Study`.
        out: folder for run folders. set: overrides "path=value"; in a study of every experiment, "NAME.path=value" of one.
        only: train these models only. resume: an interrupted run folder to go on with.
        fields: fields of `Experiment` to replace (of every one in a study), e.g. models={"gru": rs.GRU(hidden_size=32)}, seed=3, num_seeds=5.

    Example:
        >>> import rnnscope as rs
        >>> run = rs.run("sine-quick", seed=1, out=tmp)            # doctest: +SKIP
        >>> run.verdict                                            # doctest: +SKIP
    """
    chosen = load_experiment(experiment) if isinstance(experiment, str) else experiment
    chosen = configured(chosen, set, only, fields)
    if isinstance(chosen, Study):
        return run_batch(chosen, out, lambda one, folder: deque(walk(one, folder), 0), resume)
    return run_experiment(chosen, out, resume=resume)


@overload
def configured(
    chosen: Experiment, assignments: list[str] | None, only: list[str] | None, fields: dict[str, Any]
) -> Experiment: ...
@overload
def configured(chosen: Study, assignments: list[str] | None, only: list[str] | None, fields: dict[str, Any]) -> Study: ...
def configured(
    chosen: Experiment | Study, assignments: list[str] | None, only: list[str] | None, fields: dict[str, Any]
) -> Experiment | Study:
    """An experiment, or every one of a study, with fields replaced, assignments carried out and some of its models only."""
    if isinstance(chosen, Experiment):
        return only_models(with_overrides(chosen.but(**fields) if fields else chosen, assignments or []), only)
    each = chosen.but(experiments=tuple(one.but(**fields) for one in chosen.experiments)) if fields else chosen
    each = study_with_overrides(each, assignments or [])
    return each.but(experiments=tuple(only_models(one, only) for one in each.experiments))


def only_models(experiment: Experiment, names: list[str] | None) -> Experiment:
    """The experiment with some of its models."""
    if not names:
        return experiment
    for name in names:
        if name not in experiment.models:
            raise unknown_name("model", name, experiment.models)
    kept = {n: m for n, m in experiment.models.items() if n in names}
    return experiment.but(models=kept, trainers={n: t for n, t in experiment.trainers.items() if n in kept})


def analyses_for(
    experiment: Experiment,
    model: SequenceModel,
    data: TrainingData,
    names: list[str] | None = None,
    assignments: list[str] | None = None,
) -> dict[str, AnalysisSpec]:
    """The analyses of a model of an experiment, with settings.

    Args:
        model, data: of the experiment. names: of analyses; all that apply when None.
        assignments: "field=value" for the one analysis named, or "analysis.field=value".
    """
    chosen = choose_analyses(experiment.analyses, model, data, names)
    paths = []
    for text in assignments or []:
        lead = text.partition("=")[0].partition(".")[0]
        if lead in chosen:
            paths.append(f"analyses.{text}")
        elif names is not None and len(names) == 1:
            paths.append(f"analyses.{names[0]}.{text}")
        else:
            raise ConfigError(
                f"--set {text} names no analysis",
                f"ANALYSIS.field=value with one of {', '.join(chosen)}",
                "put its name in front",
            )
    return with_overrides(experiment.but(analyses=chosen), paths).analyses


def weights_experiments(
    path: str, fields: dict[str, Any] | None = None, names: list[str] | None = None, assignments: list[str] | None = None
) -> list[Experiment]:
    """What looks at a network that exists as weights: one experiment, or one per layer and direction of a bidirectional one.

    Args:
        path: a weights file. fields: of `GivenWeights`, e.g. {"nonlinearity": "relu"}. names, assignments: see `analyses_for`.
    """
    chosen = {k: v for k, v in (fields or {}).items() if k in ("nonlinearity", "prefix")}
    given = GivenWeights(path=str(Path(path).resolve()), **chosen)
    stem = Path(path).stem
    found = []
    for part in recognise(read_tensors(path), f"'{path}'", **chosen):
        system = part.system
        layers = f"{system.num_layers} layer{'s' if system.num_layers > 1 else ''} of {system.hidden_size} units"
        what = f"{CELL_NAMES[part.kind]} network, {layers}" + (
            "" if part.has_readout else ", without a readout (the output is the hidden state)"
        )
        notes = (f"Recognised in {path}: {what}.", *((part.note.capitalize() + ".",) if part.note else ()))
        bare = Experiment(
            name=stem if part.label == "network" else f"{stem}-{part.label}",
            summary=what + (f"; the {part.note}" if part.label != "network" else ""),
            task=Noise(input_size=system.input_size, output_size=system.output_size, notes=notes),
            models={part.label: given.but(part=part.label)},
            trainer=Untrained(),
            evaluation=Unscored(),
        )
        data = bare.task.prepare(Streams(bare.seed))
        found.append(bare.but(analyses=analyses_for(bare, system, data, names, assignments)))
    return found
