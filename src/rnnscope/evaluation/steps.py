"""Does a network answer right at every step? Errors and decisions beside those of answers that need no memory, or little."""

import math
from collections.abc import Iterator
from typing import Any

from rnnscope.core.errors import ConfigError
from rnnscope.core.interfaces import Evaluation, EvaluationSpec, History, ModelResult, SequenceModel, TrainingData
from rnnscope.core.random import Streams
from rnnscope.core.spec import NonNegativeFloat, Positive
from rnnscope.core.step_data import StepData
from rnnscope.core.summaries import entries, kept_arrays, run_metrics
from rnnscope.core.tables import Column, Figure, Headline, Row, Table
from rnnscope.evaluation.steps_figures import steps_figures
from rnnscope.evaluation.steps_scores import (
    CONSTANT,
    ERRORS,
    RULE,
    best_trivial,
    certain,
    error_key,
    fit_short_memory,
    label,
    network_answers,
    result_of,
    standing,
)

NOTES = (
    "The trivial answers are fitted on the training part: a constant, and the best linear readouts of the latest inputs, which "
    "have no other memory; the best of them is the one with the least error on the part in question. "
    "The task's own rule sees the same inputs; it is a ceiling and does not compete. "
    "A network's output decides for the nearest value that a target can have, or for the symbol with the largest logit.",
)
LOGITS = (
    "Cross-entropy takes outputs for logits. A readout solved by ridge regression on symbols as zeros and ones gives no logits: its "
    "cross-entropy stays far from zero even where every symbol is right. Compare it with the others by the targets right.",
)
COLUMNS = (
    *(Column(key, text, "low") for key, text in ERRORS.items()),
    Column("r2", "R²", "high"),
    Column("accuracy", "targets right", "high"),
    Column("whole", "sequences right", "high"),
    Column("beyond", "right, older than trained", "high"),
)


class Steps(EvaluationSpec):
    """Score answers at every step of whole sequences, on every test part of the task.

    Fields:
        latest: the trivial answers, beside a constant: the best linear readout of the so many latest inputs.
        ridge: strength of their ridge regression, per step.
    """

    latest: tuple[Positive, ...] = (1, 5, 20)
    ridge: NonNegativeFloat = 1e-6

    def check(self, data: TrainingData) -> None:
        if not isinstance(data, StepData):
            raise ConfigError(
                "the evaluation steps needs sequences with targets at their steps, and this task has none",
                "a task such as flip_flop, or another evaluation",
                "set evaluation.kind=forecasting for a series, or emulation for a hidden Markov model",
            )

    def references(self, data: TrainingData, streams: Streams) -> dict[str, ModelResult]:
        assert isinstance(data, StepData)
        fitted = {CONSTANT: fit_short_memory(data.train, 0, self.ridge, data.exclusive)}
        fitted |= {f"latest{k}": fit_short_memory(data.train, k, self.ridge, data.exclusive) for k in self.latest}
        found = {}
        for name, readout in fitted.items():
            answers = {p: readout.answers(part.inputs.numpy(force=True)) for p, part in data.tests.items()}
            found[name] = result_of(answers, data)
        solved = {p: certain(part.solution, data) for p, part in data.tests.items() if part.solution is not None}
        if len(solved) == len(data.tests):
            found[RULE] = result_of(solved, data)
        return found

    def score(self, model: SequenceModel, data: TrainingData, streams: Streams) -> ModelResult:
        assert isinstance(data, StepData)
        return result_of({name: network_answers(model, part.inputs) for name, part in data.tests.items()}, data)

    def conclude(
        self,
        data: TrainingData,
        references: dict[str, ModelResult],
        results: dict[str, list[ModelResult]],
        histories: dict[str, list[History]],
    ) -> Evaluation:
        assert isinstance(data, StepData)
        models = entries(results, histories)
        for name, repeats in results.items():
            entry = models[name]
            entry["success_rate"] = sum(beats_trivial(r, references, data) for r in repeats) / len(repeats)
            entry["verdict"] = model_verdict(repeats, entry["training"]["best_repeat"], references, data)
        metrics = {**run_metrics(models, references), "ceilings": [RULE] if RULE in references else []}
        shown = headlines(results)
        return Evaluation(
            metrics,
            kept_arrays(references, results),
            steps_tables(metrics, data),
            shown,
            NOTES + (LOGITS if data.exclusive else ()),
        )

    def figures(
        self,
        data: TrainingData,
        references: dict[str, ModelResult],
        results: dict[str, list[ModelResult]],
        histories: dict[str, list[History]],
        evaluation: Evaluation,
    ) -> Iterator[Figure]:
        assert isinstance(data, StepData)
        chosen = evaluation.metrics["chosen_model"]
        best = int(evaluation.metrics["models"][chosen]["training"]["best_repeat"])
        yield from steps_figures(data, references, results, histories, chosen, best)


def steps_tables(metrics: dict[str, Any], data: StepData) -> tuple[Table, ...]:
    """One table per test part, best first."""
    found = []
    for part in data.tests:
        rows = [Row(n, "model", m[part], m.get(f"{part}_sd", {})) for n, m in metrics["models"].items()]
        for name, scores in metrics["baselines"].items():
            rows.append(Row(label(name), "ceiling" if name == RULE else "baseline", scores[part]))
        error = error_key(rows[0].values)
        rows.sort(key=lambda row, key=error: row.values[key] if math.isfinite(row.values[key]) else math.inf)  # type: ignore[misc]
        columns = tuple(c for c in COLUMNS if any(c.key in row.values for row in rows))
        found.append(Table(part_title(part, data), columns, tuple(rows)))
    return tuple(found)


def headlines(results: dict[str, list[ModelResult]]) -> tuple[Headline, ...]:
    """By what runs are compared: the error, decisions where there are any, and what is older than in training; part by part."""
    found: list[Headline] = []
    for part, scores in next(iter(results.values()))[0].scores.items():
        where, lead = ("test part", "") if part == "test" else (f"{part} sequences", f"{part}_")
        own = [Headline(f"{lead}{key}", part, key, f"{text}, {where}") for key, text in ERRORS.items() if key in scores]
        if "accuracy" in scores:
            own.append(Headline(f"{lead}accuracy", part, "accuracy", f"targets right, {where}", "high"))
        # not every way of training gives probabilities: networks that say symbols are compared by the right ones first
        found += reversed(own) if "cross_entropy" in scores else own
        if "beyond" in scores:
            found.append(Headline("beyond", part, "beyond", "targets right beyond training's ages", "high"))
    return tuple(found)


def part_title(name: str, data: StepData) -> str:
    """A test part's heading."""
    head = "Test part" if name == "test" else f"Test part '{name}'"
    return f"{head}: {data.tests[name].title}" if data.tests[name].title else head


def model_verdict(repeats: list[ModelResult], best: int, references: dict[str, ModelResult], data: StepData) -> str:
    """Does it beat the trivial answer, by how much, on which part; and do its repeats agree?"""
    sentences = [_against_trivial(repeats[best], references, part, data) for part in data.tests]
    if len(repeats) > 1:
        ranges = [_range(repeats, part) for part in data.tests]
        beaten = sum(beats_trivial(r, references, data) for r in repeats)
        sentences.append(f"Over {len(repeats)} repeats: {'; '.join(ranges)}")
        sentences.append(f"{beaten} of {len(repeats)} beat the trivial answer{' on every part' if len(ranges) > 1 else ''}")
    return ". ".join(sentences) + "."


def beats_trivial(result: ModelResult, references: dict[str, ModelResult], data: StepData) -> bool:
    """Whether a network is clearly better than the best trivial answer on every test part."""
    return all(standing(result, references, part) > 0 for part in data.tests)


def _range(repeats: list[ModelResult], part: str) -> str:
    """From the best to the worst repeat on a part."""
    scores = [r.scores[part] for r in repeats]
    errors = [s[error_key(s)] for s in scores]
    text = f"error {min(errors):.2g} to {max(errors):.2g} on {'the test part' if part == 'test' else repr(part)}"
    if "accuracy" in scores[0]:
        right = sorted(s["accuracy"] for s in scores)
        text += f" ({' to '.join(dict.fromkeys((percent(right[0]), percent(right[-1]))))} of the targets right)"
    return text


def _against_trivial(result: ModelResult, references: dict[str, ModelResult], part: str, data: StepData) -> str:
    rival = best_trivial(part, references)
    own, other = result.scores[part], references[rival].scores[part]
    key = error_key(own)
    verb = {
        1: "beats the best trivial answer",
        0: "is not clearly different from the best trivial answer",
        -1: "loses to the trivial answer",
    }[standing(result, references, part)]
    where = "On the test part" if part == "test" else f"On '{part}' ({data.tests[part].title})"
    text = f"{where} it {verb}, the {label(rival)}: {ERRORS[key]} {own[key]:.2g} against {other[key]:.2g}"
    if 0 < own[key] < math.inf and other[key] > 0:
        ratio = other[key] / own[key]
        times = float(f"{max(ratio, 1 / ratio):.3g}")
        text += f" ({times:g}x {'less' if ratio > 1 else 'more'})" if times > 1 else ""
    if "accuracy" not in own:
        return text
    text += (
        f", {percent(own['accuracy'])} of the targets right against {percent(other['accuracy'])}, "
        f"{percent(own['whole'])} of the sequences without a mistake"
    )
    if "beyond" in own:
        assert data.train.age is not None
        oldest = int(data.train.age.max())
        text += (
            f"; of what it had to hold for more than the {oldest} steps seen in training, "
            f"{percent(own['beyond'])} right against {percent(other['beyond'])}"
        )
    return text


def percent(share: float) -> str:
    """A share in per cent, never rounded up to 100: two digits of what is missing near 100, else one after the point."""
    missing = 100 * (1 - share)
    places = max(1, 1 - math.floor(math.log10(missing))) if missing > 1e-9 else 0
    return f"{math.floor(share * 100 * 10**places + 1e-9) / 10**places:.{places}f} %"
