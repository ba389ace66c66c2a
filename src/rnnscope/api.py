"""The Python front door: run a preset, file or experiment; compare runs."""

from pathlib import Path
from typing import Any

import pandas as pd

from rnnscope.core.errors import ConfigError, unknown_name
from rnnscope.core.interfaces import AnalysisSpec, TrainingData
from rnnscope.core.random import Streams
from rnnscope.core.system import SequenceModel
from rnnscope.evaluation.unscored import Unscored
from rnnscope.experiment import Experiment, parse_yaml, preset, with_overrides
from rnnscope.models.given import GivenWeights
from rnnscope.models.state_dict import read_tensors, recognise
from rnnscope.pipeline import choose_analyses, run_experiment
from rnnscope.registry import load_source
from rnnscope.results import Run, open_run
from rnnscope.tasks.given import Noise
from rnnscope.training.untrained import Untrained

CELL_NAMES = {"tanh": "Elman (tanh)", "relu": "Elman (ReLU)", "gru": "GRU", "lstm": "LSTM"}


def load_experiment(source: str) -> Experiment:
    """An experiment from a preset's name, a YAML file, or "file.py:name" (an `Experiment` or a function that returns one)."""
    if source.endswith((".yaml", ".yml")):
        file = Path(source).expanduser()
        if not file.is_file():
            raise ConfigError(f"there is no file '{source}'", "a YAML file", "check the path, or name a preset (rnnscope list)")
        try:
            return parse_yaml(file.read_text(encoding="utf-8"), source)
        except UnicodeDecodeError:
            raise ConfigError(f"'{source}' is not text", "a YAML file in UTF-8", "check the file") from None
    if ".py:" in source:
        found = load_source(source)
        if callable(found) and not isinstance(found, Experiment):
            found = found()
        if not isinstance(found, Experiment):
            raise ConfigError(f"'{source}' gives {type(found).__name__}", "an rs.Experiment", "return one from the function")
        return found
    return preset(source)


def run(
    experiment: str | Experiment,
    *,
    out: Path | str = "runs",
    set: list[str] | None = None,
    only: list[str] | None = None,
    resume: Path | str | None = None,
    **fields: Any,
) -> Run:
    """Carry out an experiment and return its run.

    Args:
        experiment: a preset's name, a YAML file, "file.py:name", or an `Experiment`.
        out: folder for run folders. set: overrides "path=value". only: train these models only.
        resume: an interrupted run folder to go on with.
        fields: fields of `Experiment` to replace, e.g. models={"gru": rs.GRU(hidden_size=32)}, seed=3, num_seeds=5.

    Example:
        >>> import rnnscope as rs
        >>> run = rs.run("sine-quick", seed=1, out=tmp)            # doctest: +SKIP
        >>> run.verdict                                            # doctest: +SKIP
    """
    chosen = load_experiment(experiment) if isinstance(experiment, str) else experiment
    chosen = with_overrides(chosen.but(**fields) if fields else chosen, set or [])
    return run_experiment(only_models(chosen, only), out, resume=resume)


def only_models(experiment: Experiment, names: list[str] | None) -> Experiment:
    """The experiment with some of its models."""
    if not names:
        return experiment
    for name in names:
        if name not in experiment.models:
            raise unknown_name("model", name, experiment.models)
    kept = {n: m for n, m in experiment.models.items() if n in names}
    return experiment.but(models=kept, trainers={n: t for n, t in experiment.trainers.items() if n in kept})


def compare(runs: list[Run | Path | str]) -> pd.DataFrame:
    """One row per model and baseline of each run, with the scores by which their evaluation compares runs (`headlines`).

    Baselines appear once per run. Scores of runs on different data are not comparable; the column `data` tells them apart.
    """
    rows: list[dict[str, Any]] = []
    headlines: dict[str, dict[str, Any]] = {}
    for one in runs:
        opened = one if isinstance(one, Run) else open_run(one)
        rows += comparison_rows(opened)
        headlines |= {h["key"]: h for h in opened.metrics["headlines"]}
    frame = pd.DataFrame(rows)
    frame.attrs["headlines"] = list(headlines.values())
    return frame


def comparison_rows(run: Run) -> list[dict[str, Any]]:
    """The rows of one run."""
    import json
    import zlib

    data = f"{zlib.crc32(json.dumps(run.folder.read_json('data/data.json'), sort_keys=True).encode()):08x}"
    rows = []
    for kind, entries in (("model", run.metrics["models"]), ("baseline", run.metrics["baselines"])):
        for name, scores in entries.items():
            best = name in run.metrics.get("ceilings", ())
            row: dict[str, Any] = {"run": run.path.name, "data": data, "name": name, "kind": "ceiling" if best else kind}
            for one in run.metrics["headlines"]:
                row[one["key"]] = scores.get(one["part"], {}).get(one["score"])
            rows.append(row)
    return rows


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
