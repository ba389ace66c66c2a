"""Does a learner make something of a few examples of a task that it has never seen? Errors by gradient steps and by examples."""

from collections.abc import Iterator
from typing import Annotated, Any

import numpy as np
from pydantic import Field

from rnnscope.core.errors import ConfigError
from rnnscope.core.interfaces import Evaluation, EvaluationSpec, History, ModelResult, SequenceModel, TrainingData
from rnnscope.core.random import Streams
from rnnscope.core.spec import NonNegative, Positive, PositiveFloat
from rnnscope.core.summaries import entries, kept_arrays, run_metrics
from rnnscope.core.tables import Column, Figure, Headline, Row, Table
from rnnscope.core.task_family import FamilyData
from rnnscope.evaluation.few_shot_figures import few_shot_figures
from rnnscope.evaluation.few_shot_scores import (
    CONSTANT,
    LABELS,
    ORACLE,
    RANDOM,
    SHOT_MEAN,
    constant,
    learner,
    oracle,
    random_start,
    result_of,
    shot_mean,
)
from rnnscope.evaluation.few_shot_verdict import model_verdict

EXACT = 1e-9  # an error as small is rounding
DIVERGED = 1e6


class FewShot(EvaluationSpec):
    """Score learners on test tasks from K examples each, before and after gradient steps.

    Fields:
        steps: after how many gradient steps, ascending, the first 0. Networks with a state take none.
        random_hidden_sizes: of the perceptron that was trained on nothing and is fine-tuned for comparison.
        rates: its step sizes, tried on the validation tasks.
    """

    steps: Annotated[tuple[NonNegative, ...], Field(min_length=1)] = (0, 1, 5, 10)
    random_hidden_sizes: Annotated[tuple[Positive, ...], Field(min_length=1)] = (40, 40)
    rates: Annotated[tuple[PositiveFloat, ...], Field(min_length=1)] = (0.001, 0.003, 0.01, 0.03, 0.1)

    def model_post_init(self, context: Any) -> None:
        if self.steps[0] != 0 or list(self.steps) != sorted(set(self.steps)) or len(self.steps) < 2:
            raise ConfigError(
                f"evaluation.steps is {list(self.steps)}",
                "0 and then larger numbers, ascending",
                "give evaluation.steps=[0,1,5,10]",
            )

    def check(self, data: TrainingData) -> None:
        if not isinstance(data, FamilyData):
            raise ConfigError(
                "the evaluation few_shot needs a family of tasks with a few examples of each, and this task has none",
                "a task such as sinusoids, or another evaluation",
                "set task.kind=sinusoids",
            )

    def references(self, data: TrainingData, streams: Streams) -> dict[str, ModelResult]:
        assert isinstance(data, FamilyData)
        rng = streams.at("random start").torch()
        answerers = {
            CONSTANT: constant(data),
            SHOT_MEAN: shot_mean(data),
            RANDOM: random_start(data, self.random_hidden_sizes, self.rates, self.steps[-1], rng),
            ORACLE: oracle(data),
        }
        return {name: result_of(answer, data, self.steps) for name, answer in answerers.items()}

    def score(self, model: SequenceModel, data: TrainingData, streams: Streams) -> ModelResult:
        assert isinstance(data, FamilyData)
        return result_of(learner(model), data, self.steps)

    def conclude(
        self,
        data: TrainingData,
        references: dict[str, ModelResult],
        results: dict[str, list[ModelResult]],
        histories: dict[str, list[History]],
    ) -> Evaluation:
        assert isinstance(data, FamilyData)
        models = entries(results, histories)
        for name, repeats in results.items():
            best = models[name]["training"]["best_repeat"]
            rivals = {other: r[0] for other, r in results.items() if other != name and len(r) == 1}
            models[name]["verdict"] = model_verdict(repeats, best, references, rivals, data, self.steps)
        chosen = min(models, key=lambda n: models[n]["validation"]["error"])
        metrics = {**run_metrics(models, references, chosen, "error on the validation tasks"), "ceilings": [ORACLE]}
        tables = few_shot_tables(metrics, data, self.steps)
        return Evaluation(metrics, kept_arrays(references, results), tables, headlines(data, self.steps), (note(data),))

    def figures(
        self,
        data: TrainingData,
        references: dict[str, ModelResult],
        results: dict[str, list[ModelResult]],
        histories: dict[str, list[History]],
        evaluation: Evaluation,
    ) -> Iterator[Figure]:
        assert isinstance(data, FamilyData)
        chosen = evaluation.metrics["chosen_model"]
        best = int(evaluation.metrics["models"][chosen]["training"]["best_repeat"])
        yield from few_shot_figures(data, references, results, histories, chosen, best, self.steps)


def headlines(data: FamilyData, steps: tuple[int, ...]) -> tuple[Headline, ...]:
    """Errors after every number of steps, from the most examples; from fewer, after the last."""
    most = data.shots[-1]
    found = [Headline(f"step{s}", f"K{most}", f"step{s}", f"error from {most} examples, {_steps(s)}") for s in steps]
    for shots in data.shots[:-1]:
        found.append(
            Headline(f"K{shots}", f"K{shots}", f"step{steps[-1]}", f"error from {shots} examples, {_steps(steps[-1])}")
        )
    return tuple(found)


def few_shot_tables(metrics: dict[str, Any], data: FamilyData, steps: tuple[int, ...]) -> tuple[Table, ...]:
    """One table per number of examples, best first."""
    columns = (*(Column(f"step{s}", _steps(s), "low") for s in steps), Column("worse", "tasks made worse", "low"))
    found = []
    for shots in reversed(data.shots):
        part = f"K{shots}"
        rows = [_row(name, "model", m[part], steps) for name, m in metrics["models"].items()]
        for name, scores in metrics["baselines"].items():
            rows.append(_row(LABELS[name], "ceiling" if name == ORACLE else "baseline", scores[part], steps))
        rows.sort(key=lambda row: np.inf if row.values[f"step{steps[-1]}"] == "diverged" else row.values[f"step{steps[-1]}"])
        title = f"Mean squared error over {len(data.test)} test tasks, from {shots} example{'s' if shots > 1 else ''}"
        found.append(Table(title, columns, tuple(rows)))
    return tuple(found)


def _row(name: str, kind: Any, scores: dict[str, float], steps: tuple[int, ...]) -> Row:
    """Errors, rounding taken for 0, with the half-widths of their intervals where these are finite."""
    values: dict[str, Any] = {}
    halves: dict[str, float] = {}
    for step in steps:
        error, half = scores[f"step{step}"], scores[f"step{step}_half"]
        values[f"step{step}"] = "diverged" if not error < DIVERGED else error if error > EXACT else 0.0
        if EXACT < error < DIVERGED and np.isfinite(half):
            halves[f"step{step}"] = half
    if "worse" in scores:
        values["worse"] = scores["worse"]
    return Row(name, kind, values, halves)


def _steps(number: int) -> str:
    return "before any gradient step" if number == 0 else f"after {number} step{'s' if number > 1 else ''}"


def note(data: FamilyData) -> str:
    """How to read the tables."""
    same = all(low == high for low, high in data.test_family.ranges)
    one = "The test tasks are one and the same, each drawn with examples and questions of its own. " if same else ""
    return (
        f"{one}± is half of the 95 % interval of the mean over the {len(data.test)} test tasks (with several repeats of a model, its mean "
        "over them). Answers that take no gradient steps, of a network that reads the examples one after the other or of a "
        "mean, have the same error in every column. A random start, and what was pre-trained, take the step size that is best "
        "on the validation tasks. The fit knows what family the tasks come from; it is a ceiling and does not compete. "
        "Tasks made worse: the share whose error is larger after the last step than before the first."
    )
