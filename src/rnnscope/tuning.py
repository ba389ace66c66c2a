"""Search over numeric fields of an experiment, by the validation score alone."""

import csv
import io
import math
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from rnnscope.core.errors import ConfigError, RnnscopeError, TrainingError
from rnnscope.core.interfaces import TrainingData
from rnnscope.core.random import Streams
from rnnscope.core.spec import read_yaml
from rnnscope.experiment import Experiment, with_overrides
from rnnscope.runs.folder import RunFolder

Range = Sequence[Any]


@dataclass(frozen=True)
class Trial:
    """One trial of a search.

    Attributes:
        number: from 1. values: path -> value tried. score: mean over repeats of the best model's validation score; the smaller
            the better; NaN where training failed. seconds: wall time. error: why it failed, in words.
    """

    number: int
    values: dict[str, Any]
    score: float
    seconds: float
    error: str = ""


@dataclass(frozen=True)
class Search:
    """What a search found.

    Attributes:
        best: the experiment with the values of the best trial. trials: all of them, in order. criterion: by what they are compared.
        begins_as_is: whether the first trial is the experiment as it was given, which it is where its values lie in the ranges.
        path: folder with trials.csv and best.yaml, to be run with `rnnscope run FOLDER/best.yaml`.
    """

    best: Experiment
    trials: tuple[Trial, ...]
    criterion: str
    begins_as_is: bool
    path: Path

    @property
    def best_trial(self) -> Trial:
        """The trial with the smallest score."""
        return min((t for t in self.trials if math.isfinite(t.score)), key=lambda t: t.score)


def search(
    experiment: Experiment,
    space: Mapping[str, Range],
    *,
    trials: int = 30,
    sampler: Literal["tpe", "random"] = "tpe",
    out: Path | str = "runs",
    told: Callable[[Trial], None] = lambda trial: None,
) -> Search:
    """Train an experiment with many values of some fields, and keep those with the best validation score.

    Nothing is scored on the test part, and its data are never looked at. Where the experiment's own values lie in the ranges, they are
    the first trial: what the others have to beat.

    Args:
        experiment: with a validation part. space: path of a field, as for `--set`, -> (low, high) of a number (whole where both are
            whole), (low, high, "log") on a logarithmic scale, or a list of choices.
        trials: how many, >= 1. sampler: tpe (tree-structured Parzen estimator, Bergstra et al. 2011) or random; both seeded by the experiment's seed.
        out: folder in which the folder of the search is made. told: called with each finished trial.

    Raises:
        ConfigError: optuna is not installed, a field or range that is none, or a task without a validation part.

    Example:
        >>> import rnnscope as rs
        >>> found = rs.search(rs.preset("lorenz-esn-quick"), {"models.esn.spectral_radius": (0.1, 1.5)}, trials=20)  # doctest: +SKIP
        >>> rs.run(found.best)  # doctest: +SKIP
    """
    optuna = _optuna()
    _check(experiment, space, trials)
    seed = experiment.seed
    samplers = {
        "tpe": lambda: optuna.samplers.TPESampler(seed=seed),
        "random": lambda: optuna.samplers.RandomSampler(seed=seed),
    }
    loud = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        study = optuna.create_study(sampler=samplers[sampler]())
        own = _own_values(experiment, space)
        if own is not None:
            study.enqueue_trial(own)
        folder = RunFolder.create(Path(out), f"{experiment.name}-search", seed)
        done: list[Trial] = []
        criteria: list[str] = []
        data = None if any(path.startswith("task") for path in space) else experiment.task.prepare(Streams(seed))
        for number in range(1, trials + 1):
            asked = study.ask()
            values = {path: _suggested(asked, path, among) for path, among in space.items()}
            known = next((one for one in done if one.values == values), None)  # of few choices the same may be drawn again
            trial = (
                _tried(experiment, number, values, data, criteria)
                if known is None
                else replace(known, number=number, seconds=0.0)
            )
            study.tell(asked, trial.score if math.isfinite(trial.score) else None, state=_state(optuna, trial))
            done.append(trial)
            folder.write_text("trials.csv", _table(done, space))
            told(trial)
    finally:
        optuna.logging.set_verbosity(loud)
    if not any(math.isfinite(trial.score) for trial in done):
        raise TrainingError(f"all {trials} trials failed, the last: {done[-1].error}", "values that train", "narrow the search")
    found = Search(experiment, tuple(done), criteria[0], own is not None, folder.path)
    best = with_overrides(experiment, _assignments(found.best_trial.values))
    folder.write_text("best.yaml", best.yaml())
    folder.set_status("done")
    return replace(found, best=best)


def parse_range(text: str) -> tuple[str, Range]:
    """'models.esn.leak=0.1:1' or '…=1e-9:1e-3:log' or '…=[state, mixed]' as a path and its range."""
    path, sign, value = text.partition("=")
    parts = value.split(":")
    if sign and path.strip() and len(parts) in (2, 3) and (len(parts) == 2 or parts[2] == "log"):
        return path.strip(), (*(read_yaml(part) for part in parts[:2]), *parts[2:])
    found = read_yaml(value) if sign else None
    if not path.strip() or not isinstance(found, list):
        raise ConfigError(
            f"'{text}' is no range to search",
            "path=low:high, path=low:high:log, or path=[one, another]",
            "write for instance models.esn.spectral_radius=0.1:1.5",
        )
    return path.strip(), found


def _optuna() -> Any:
    try:
        import optuna
    except ImportError:
        raise ConfigError(
            "the search needs optuna, which is not installed", "the extra tune", "pip install 'rnnscope[tune]'"
        ) from None
    return optuna


def _check(experiment: Experiment, space: Mapping[str, Range], trials: int) -> None:
    """Refuse an empty search, and ranges whose ends the experiment does not take, before anything is trained."""
    if not space or trials < 1:
        raise ConfigError(
            f"a search over {len(space)} fields in {trials} trials",
            "at least one field and one trial",
            "name a field and its range",
        )
    for path, among in space.items():
        if isinstance(among, tuple):
            numbers = len(among) in (2, 3) and all(isinstance(v, int | float) and not isinstance(v, bool) for v in among[:2])
            if not numbers or not among[0] < among[1] or among[2:] not in ((), ("log",)) or (among[2:] and among[0] <= 0):
                raise ConfigError(
                    f"the range of {path} is {among}", 'low < high, or (low, high, "log") with low > 0', "give such a range"
                )
        elif not among:
            raise ConfigError(f"there is nothing to choose among for {path}", "at least one value", "give a list of values")
        for value in among[:2] if isinstance(among, tuple) else among:
            with_overrides(experiment, _assignments({path: value}))


def _own_values(experiment: Experiment, space: Mapping[str, Range]) -> dict[str, Any] | None:
    """The experiment's values of all fields, as optuna takes them (of choices the number); None where one is not in its range."""
    found: dict[str, Any] = {}
    for path, among in space.items():
        value: Any = experiment.tree()
        for name in path.split("."):
            value = value.get(name) if isinstance(value, Mapping) else None
        if isinstance(among, tuple):
            if isinstance(value, bool) or not isinstance(value, int | float) or not among[0] <= value <= among[1]:
                return None
            found[path] = value
        else:
            choices = [list(one) if isinstance(one, tuple) else one for one in among]
            value = list(value) if isinstance(value, tuple) else value
            if value not in choices:
                return None
            found[path] = choices.index(value)
    return found


def _suggested(asked: Any, path: str, among: Range) -> Any:
    if not isinstance(among, tuple):
        return among[asked.suggest_categorical(path, list(range(len(among))))]
    low, high = among[:2]
    if isinstance(low, int) and isinstance(high, int):
        return asked.suggest_int(path, low, high, log=bool(among[2:]))
    return asked.suggest_float(path, low, high, log=bool(among[2:]))


def _state(optuna: Any, trial: Trial) -> Any:
    states = optuna.trial.TrialState
    return states.COMPLETE if math.isfinite(trial.score) else states.FAIL


def _assignments(values: Mapping[str, Any]) -> list[str]:
    return [
        f"{path}={list(value) if isinstance(value, tuple) else value!r}" if not isinstance(value, str) else f"{path}={value}"
        for path, value in values.items()
    ]


def _tried(
    experiment: Experiment, number: int, values: dict[str, Any], data: TrainingData | None, criteria: list[str]
) -> Trial:
    started = time.perf_counter()
    try:
        changed = with_overrides(experiment, _assignments(values))
        score = validation_score(changed, changed.task.prepare(Streams(changed.seed)) if data is None else data, criteria)
        error = "" if math.isfinite(score) else "the validation score is not finite"
    except (TrainingError, ArithmeticError) as found:
        score, error = math.nan, found.found if isinstance(found, RnnscopeError) else str(found)
    return Trial(number, values, score, time.perf_counter() - started, error)


def validation_score(experiment: Experiment, data: TrainingData, criteria: list[str]) -> float:
    """Mean over repeats of the validation score of the best model, trained as in a run; what it is is added to `criteria`.

    Raises:
        ConfigError: the trainer reports no score on a validation part.
    """
    streams, means = Streams(experiment.seed), []
    for name, spec in experiment.models.items():
        scores = []
        for repeat in range(experiment.num_seeds):
            model = spec.build(data.signature, streams.at("init", name, repeat).torch())
            run = experiment.trainer_of(name).start(model, data, streams.at("training", name, repeat))
            deque(run, 0)
            outcome = run.finish()
            if outcome.criterion in ("training loss", "nothing"):
                raise ConfigError(
                    f"this training is judged by the {outcome.criterion}, and a search needs a score on data that training did not see",
                    "a task with a validation part",
                    "set task.split.validation=0.2 (or what sets the task's validation part)",
                )
            criteria.append(outcome.criterion)
            scores.append(outcome.score)
        means.append(sum(scores) / len(scores))
    return min(means)


def _table(trials: list[Trial], space: Mapping[str, Range]) -> str:
    """trials.csv."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["trial", *space, "validation_score", "seconds", "error"])
    for trial in trials:
        score = repr(trial.score) if math.isfinite(trial.score) else ""
        writer.writerow([trial.number, *(trial.values[path] for path in space), score, f"{trial.seconds:.3f}", trial.error])
    return text.getvalue()
