"""The one place where the layers meet. Read it top to bottom and you know the product.

`walk` carries an experiment out and yields what happens; `run_experiment` is the same without looking. The command line loops
over `walk` to show progress.
"""

import time
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from rnnscope.core.errors import ConfigError, Interrupted, RnnscopeError, RunFolderError, TrainingError, unknown_name
from rnnscope.core.interfaces import (
    AnalysisSpec,
    Checkpoint,
    Evaluation,
    Findings,
    History,
    ModelResult,
    Record,
    SequenceModel,
    Trained,
    TrainingData,
    TrainingRun,
)
from rnnscope.core.random import Streams
from rnnscope.core.spec import from_yaml
from rnnscope.experiment import Experiment
from rnnscope.registry import ANALYSES, resolve
from rnnscope.results import Run, as_trained
from rnnscope.runs import writers
from rnnscope.runs.environment import describe_environment
from rnnscope.runs.folder import RunFolder
from rnnscope.runs.report import render_report


@dataclass(frozen=True)
class Stage:
    """A step of the walk has begun. `total` epochs follow, where it is training."""

    text: str
    total: int = 0


@dataclass(frozen=True)
class Progress:
    """One epoch of one repeat of one model."""

    model: str
    repeat: int
    record: Record


Event = Stage | Progress


def run_experiment(experiment: Experiment, out: Path | str = "runs", *, resume: Path | str | None = None) -> Run:
    """Carry out an experiment and return its run.

    Args:
        experiment: what to do. out: folder in which the run folder is made. resume: an interrupted run of the same
            configuration to go on with, instead of a new folder.
    """
    folder = open_folder(experiment, Path(out), resume)
    for _ in walk(experiment, folder):
        pass
    return Run(folder.path)


def open_folder(experiment: Experiment, out: Path, resume: Path | str | None = None) -> RunFolder:
    """A new run folder with its configuration, or the one to resume, whose configuration must be the same."""
    check_device(experiment.device)
    if resume is None:
        folder = RunFolder.create(out, experiment.name, experiment.seed)
        try:
            folder.write_text("config.yaml", experiment.yaml())
        except BaseException:
            folder.discard()
            raise
        return folder
    folder = RunFolder.open(resume)
    before = from_yaml(folder.read_text("config.yaml"), f"{folder.path}/config.yaml")
    changed = changed_fields(before, from_yaml(experiment.yaml(), "this experiment"))
    if changed:
        raise ConfigError(
            f"the configuration changed since '{folder.path}' was begun: {', '.join(changed[:6])}",
            "the same configuration",
            "resume without --set, or start a new run",
        )
    return folder


def walk(experiment: Experiment, folder: RunFolder, stop: Callable[[], bool] = lambda: False) -> Iterator[Event]:
    """Everything from data to report, in order.

    Args:
        stop: asked after every epoch; when true, a checkpoint is written and `Interrupted` raised.
    """
    folder.set_status("running")
    try:
        if experiment.threads is not None:
            torch.set_num_threads(experiment.threads)
        folder.write_json("environment.json", describe_environment(experiment.device))
        streams = Streams(experiment.seed)

        yield Stage("preparing data")
        data = experiment.task.prepare(streams)
        experiment.evaluation.check(data)
        writers.save_data(folder, data, experiment.keep_data)

        models, histories, failures = yield from train_models(experiment, folder, data, streams, stop)
        writers.save_models(folder, models)
        writers.save_development(folder, histories)
        writers.save_history(folder, histories)

        yield Stage("scoring against baselines")
        references = experiment.evaluation.references(data, streams.at("evaluation"))
        results: dict[str, list[ModelResult]] = {}
        for name, repeats in models.items():
            results[name] = [
                experiment.evaluation.score(m, data, streams.at("evaluation", name, i)) for i, m in enumerate(repeats)
            ]
        evaluation = with_failures(experiment.evaluation.conclude(data, references, results, histories), failures)
        writers.save_evaluation(folder, evaluation, list(experiment.analyses), experiment.keep_data)

        yield Stage("drawing figures")
        drawn = experiment.evaluation.figures(data, references, results, histories, evaluation)
        listed = writers.save_figures(folder, drawn)

        name, repeat = chosen_model(evaluation)
        trained = as_trained(name, repeat, models[name][repeat], histories[name][repeat])
        listed += yield from analyse(experiment.analyses, folder, trained, data, streams)
        folder.write_json("figures/figures.json", listed)

        yield Stage("writing the report")
        folder.write_json("summary.json", summary(experiment, data, models, evaluation))
        folder.set_status("done")
        render_report(folder)
        folder.log(f"done: {evaluation.metrics['verdict']}")
    except (KeyboardInterrupt, Interrupted) as error:
        folder.set_status("interrupted")
        folder.log("interrupted")
        if isinstance(error, Interrupted):
            raise
        raise Interrupted("interrupted", "", resume_hint(folder)) from None
    except BaseException as error:
        note_failure(folder, error)
        raise


def train_models(
    experiment: Experiment, folder: RunFolder, data: TrainingData, streams: Streams, stop: Callable[[], bool]
) -> Generator[Event, None, tuple[dict[str, list[SequenceModel]], dict[str, list[History]], dict[str, str]]]:
    """Build and train every repeat of every model.

    Returns:
        The models, on the CPU, their histories, and what could not be trained: label -> why. That is told, and the others go on:
        only where nothing at all could be trained, its error ends the run.
    """
    models: dict[str, list[SequenceModel]] = {}
    histories: dict[str, list[History]] = {}
    failures: dict[str, TrainingError] = {}
    on_device = data.to(torch.device(experiment.device))
    for name, spec in experiment.models.items():
        for repeat in range(experiment.num_seeds):
            model = spec.build(data.signature, streams.at("init", name, repeat).torch()).to(experiment.device)
            trainer = experiment.trainer_of(name).start(model, on_device, streams.at("training", name, repeat))
            label = name if experiment.num_seeds == 1 else f"{name} {repeat + 1}/{experiment.num_seeds}"
            yield Stage(f"training {label}", trainer.total_epochs)
            try:
                history = yield from train(trainer, experiment, folder, name, repeat, stop)
            except TrainingError as error:
                folder.log(f"{label} failed: {error}")
                failures[label] = error
                continue
            histories.setdefault(name, []).append(history)
            models.setdefault(name, []).append(model.to("cpu"))
    if not models:
        raise next(iter(failures.values()))
    return models, histories, {label: error.found for label, error in failures.items()}


def with_failures(evaluation: Evaluation, failures: dict[str, str]) -> Evaluation:
    """The evaluation with a note on each model that could not be trained."""
    told = tuple(f"{label} could not be trained: {why}." for label, why in failures.items())
    return replace(evaluation, metrics={**evaluation.metrics, "failures": failures}, notes=(*evaluation.notes, *told))


def analyse(
    analyses: dict[str, AnalysisSpec],
    folder: RunFolder,
    trained: Trained,
    data: TrainingData,
    streams: Streams,
    *,
    strict: bool = False,
) -> Generator[Event, None, list[dict[str, Any]]]:
    """Every analysis of one trained model. Returns the entries of their figures.

    Args:
        strict: an analysis that fails ends it all; else its section says why, and the others go on: a training is not lost
            because its network has no finite exponent.
    """
    listed: list[dict[str, Any]] = []
    about = {"model": trained.name, "repeat": trained.repeat}
    for title, analysis in analyses.items():
        yield Stage(f"analysing {trained.name}: {title}")
        obstacle = analysis.obstacle(trained.model, data)
        if obstacle:
            writers.save_findings(folder, title, analysis, Findings((f"Not done: {obstacle}.",), {}, {}), about)
            continue
        try:
            with one_thread():
                findings = analysis.run(trained, data, streams.at("analysis", title))
                drawn = writers.save_figures(folder, analysis.figures(findings), title)
        except (RnnscopeError, ArithmeticError, torch.linalg.LinAlgError) as error:
            if strict or isinstance(error, RunFolderError | Interrupted):
                raise
            folder.log(f"{title} failed: {type(error).__name__}: {error}")
            reason = error.found if isinstance(error, RnnscopeError) else f"{type(error).__name__}: {error}"
            findings, drawn = Findings((f"Could not be carried out: {reason}.",), {}, {}), []
        writers.save_findings(folder, title, analysis, findings, about)
        listed += drawn
    return listed


@contextmanager
def one_thread() -> Iterator[None]:
    """Analyses are many small operations, which several threads of torch make slower, on a busy machine several times."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def analyze_run(
    run: Run, analyses: dict[str, AnalysisSpec], model: str | None = None, *, strict: bool = False
) -> Iterator[Event]:
    """Analyse a trained model of a finished run, again or for the first time, and write its report anew.

    Args:
        analyses: name -> analysis, as from `choose_analyses`. model: which; the one chosen without the test part when None.
        strict: see `analyse`.
    """
    folder = run.folder
    listed = [f for f in folder.read_json("figures/figures.json") if f.get("section", "") not in analyses]
    listed += yield from analyse(analyses, folder, run.trained(model), run.data, Streams(run.experiment.seed), strict=strict)
    folder.write_json("figures/figures.json", listed)
    metrics = folder.read_json("metrics.json")
    folder.write_json("metrics.json", {**metrics, "analyses": [*dict.fromkeys([*metrics["analyses"], *analyses])]})
    yield Stage("writing the report")
    render_report(folder)


def choose_analyses(
    own: dict[str, AnalysisSpec], model: SequenceModel, data: TrainingData, names: list[str] | None = None
) -> dict[str, AnalysisSpec]:
    """The analyses asked for by name, or all that apply to a model and its data.

    Args:
        own: those of the run's configuration, with their settings; others come with default ones. names: which; all when None.

    Raises:
        ConfigError: no analysis has that name, or it does not apply, with the reason.
    """
    kinds = {type(a) for a in own.values()}
    shipped = {name: resolve("analysis", name) for name in ANALYSES}
    known = {**own, **{name: cls() for name, cls in shipped.items() if cls not in kinds}}
    if names is None:
        return {
            name: analysis
            for name, analysis in known.items()
            if (analysis.routine or name in own) and not analysis.obstacle(model, data)
        }
    chosen: dict[str, AnalysisSpec] = {}
    for name in names:
        if name not in known:
            raise unknown_name("analysis", name, known)
        obstacle = known[name].obstacle(model, data)
        if obstacle:
            raise ConfigError(
                f"{name} does not apply here: {obstacle}", "an analysis that fits", "leave it out, or take another run"
            )
        chosen[name] = known[name]
    return chosen


def train(
    trainer: TrainingRun, experiment: Experiment, folder: RunFolder, name: str, repeat: int, stop: Callable[[], bool]
) -> Generator[Event, None, History]:
    """Loop over a training run, with checkpoints; go on from one where it exists. Returns the history."""
    stem = f"checkpoints/{name}-{repeat}"
    rows: list[dict[str, float]] = []
    if folder.has(f"{stem}.json"):
        kept = folder.read_json(f"{stem}.json")
        try:
            trainer.restore(Checkpoint(folder.read_tensors(kept["tensors"]), kept["values"]))
            rows = [{k: float("nan") if v is None else v for k, v in row.items()} for row in kept["rows"]]
        except (KeyError, TypeError, ValueError, AttributeError, RuntimeError) as error:
            raise folder.damaged(f"{stem}.json", error) from None
        folder.log(f"resumed {name} {repeat} after epoch {len(rows)}")
    spec: Any = experiment.trainer_of(name)
    every, seconds = getattr(spec, "checkpoint_every", 50), getattr(spec, "checkpoint_seconds", 60.0)
    saved = time.monotonic()
    for record in trainer:
        rows.append({"epoch": record.epoch, **record.values})
        yield Progress(name, repeat, record)
        stopping = stop()
        if stopping or record.epoch % every == 0 or time.monotonic() - saved > seconds:
            writers.save_checkpoint(folder, stem, trainer, rows)
            saved = time.monotonic()
        if stopping:
            raise Interrupted(
                f"stopped after epoch {record.epoch} of {name}; everything up to there is saved", "", resume_hint(folder)
            )
    writers.save_checkpoint(folder, stem, trainer, rows)
    outcome = trainer.finish()
    folder.log(
        f"trained {name} {repeat}: {outcome.reason}, best epoch {outcome.best_epoch}, {outcome.criterion} {outcome.score:.6g}"
    )
    columns = {k: np.array([row.get(k, np.nan) for row in rows]) for k in (rows[-1] if rows else {})}
    return History(columns, outcome)


def chosen_model(evaluation: Evaluation) -> tuple[str, int]:
    """The model, and its repeat, that were chosen without the test part."""
    name = evaluation.metrics["chosen_model"]
    return name, int(evaluation.metrics["models"][name]["training"]["best_repeat"])


def summary(
    experiment: Experiment, data: TrainingData, models: dict[str, list[SequenceModel]], evaluation: Evaluation
) -> dict[str, Any]:
    """What one wants to know first."""
    parameters = {n: sum(p.numel() for p in repeats[0].parameters()) for n, repeats in models.items()}
    return {
        "name": experiment.name,
        "summary": experiment.summary,
        "seed": experiment.seed,
        "num_seeds": experiment.num_seeds,
        "verdict": evaluation.metrics["verdict"],
        "chosen_model": evaluation.metrics.get("chosen_model"),
        "parameters": parameters,
        "data": data.describe(),
    }


def resume_hint(folder: RunFolder) -> str:
    """The command that goes on with an interrupted run, whatever options began it."""
    return f"go on with: rnnscope run {folder.path}/config.yaml --resume {folder.path}"


def note_failure(folder: RunFolder, error: BaseException) -> None:
    """Say in the folder why the run failed, if the folder can still be written."""
    try:
        folder.set_status(
            "failed", error=f"{error}" if isinstance(error, RnnscopeError) else f"{type(error).__name__}: {error}"
        )
        folder.log(f"failed: {type(error).__name__}")
    except RunFolderError:
        return


def changed_fields(before: Any, after: Any, path: str = "") -> list[str]:
    """Dotted paths at which two plain trees differ."""
    if isinstance(before, dict) and isinstance(after, dict):
        found = []
        for key in dict.fromkeys([*before, *after]):
            found += changed_fields(before.get(key), after.get(key), f"{path}.{key}" if path else str(key))
        return found
    return [] if before == after else [path]


def check_device(device: str) -> None:
    """Refuse a device that this machine does not have."""
    try:
        kind = torch.device(device).type
    except RuntimeError:
        raise ConfigError(f"'{device}' is no device", "cpu or cuda", "set device=cpu") from None
    if kind == "cuda" and not torch.cuda.is_available():
        raise ConfigError(
            "device is cuda, but torch sees no CUDA GPU here",
            "cpu, or a machine with a GPU and a CUDA build of torch",
            "set device=cpu",
        )
    if kind not in ("cpu", "cuda"):
        raise ConfigError(f"device '{device}' is not supported", "cpu or cuda", "set device=cpu")
