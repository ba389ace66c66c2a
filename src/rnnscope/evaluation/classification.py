"""Does a network tell classes of sequences apart? Scores by class, kind and length, beside baselines that know no order."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from rnnscope.core.errors import ConfigError
from rnnscope.core.interfaces import Evaluation, EvaluationSpec, History, ModelResult, SequenceModel, TrainingData
from rnnscope.core.labelled import LabelledData
from rnnscope.core.random import Streams
from rnnscope.core.spec import Positive, PositiveFloat
from rnnscope.core.summaries import best_results, entries, kept_arrays, run_metrics
from rnnscope.core.tables import Column, Figure, Headline, Row, Table
from rnnscope.evaluation.classification_baselines import baseline_answers
from rnnscope.evaluation.classification_figures import classification_figures
from rnnscope.evaluation.classification_scores import beats_trivial, label, network_answers, result_of, rows_by_kind
from rnnscope.evaluation.classification_verdict import interval, model_verdict, other_models, part_title
from rnnscope.numerics.classification_metrics import class_report, confusion_matrix

DECISIONS = (
    Column("balanced_accuracy", "balanced accuracy", "high"),
    Column("accuracy", "accuracy", "high"),
    Column("interval", "95 % interval"),
    Column("mcc", "MCC", "high"),
    Column("worst_kind", "worst kind", "high"),
)
FURTHER = (
    Column("macro_f1", "macro F1", "high"),
    Column("auc", "ROC area", "high"),
    Column("cross_entropy", "cross-entropy", "low"),
    Column("calibration_error", "calibration error", "low"),
    Column("p_independent", "p (independent)"),
    Column("train_accuracy", "accuracy in training"),
)
NOTES = (
    "Balanced accuracy is the mean over classes of the share decided right (macro recall): the majority class gets 1/classes "
    "of it, whatever the shares of the classes. MCC is Matthews' correlation of decisions and labels. Cross-entropies are in "
    "nats. p (independent): how often shuffled labels give a balanced accuracy as high. Intervals are Wilson's, of the "
    "accuracy of the chosen repeat.",
    "Baselines are fitted on the training part and know no order (summaries: mean, standard deviation, lowest and highest value "
    "of each input, and the number of steps) or only the last inputs. The rule by which sequences were labelled is a ceiling "
    "and does not compete. Beating a baseline means a sign test over the same sequences, stratified by class, with p < 0.01.",
)


class Classification(EvaluationSpec):
    """Score decisions on labelled sequences, on every test part of the task.

    Fields:
        latest: the baselines that see the so many latest inputs (at most the training part's longest sequence, and 2000 numbers).
        penalty: L2 strength of their logistic regressions, on standardised inputs, > 0.
        permutations: shuffles of the test that decisions and labels are independent.
        examples: sequences drawn with the network's answer, 1 to 12.
    """

    latest: tuple[Positive, ...] = (5, 100)
    penalty: PositiveFloat = 1.0
    permutations: Positive = 9999
    examples: Positive = 6

    def model_post_init(self, context: Any) -> None:
        if self.examples > 12:
            raise ConfigError(f"evaluation.examples is {self.examples}", "1 to 12", "set evaluation.examples=6")

    def check(self, data: TrainingData) -> None:
        if not isinstance(data, LabelledData):
            raise ConfigError(
                "the evaluation classification needs sequences with one label each, and this task has none",
                "a task such as pattern or labelled, or another evaluation",
                "set evaluation.kind=forecasting for a series, or steps where every step has a target",
            )

    def references(self, data: TrainingData, streams: Streams) -> dict[str, ModelResult]:
        assert isinstance(data, LabelledData)
        rng = streams.at("permutations").numpy()
        found = baseline_answers(data, self.latest, self.penalty)
        return {name: result_of(answers, data, rng, self.permutations) for name, answers in found.items()}

    def score(self, model: SequenceModel, data: TrainingData, streams: Streams) -> ModelResult:
        assert isinstance(data, LabelledData)
        parts = {"train": data.train, **data.tests}
        answers = {name: network_answers(model, part) for name, part in parts.items()}
        return result_of(answers, data, streams.at("permutations").numpy(), self.permutations)

    def conclude(
        self,
        data: TrainingData,
        references: dict[str, ModelResult],
        results: dict[str, list[ModelResult]],
        histories: dict[str, list[History]],
    ) -> Evaluation:
        assert isinstance(data, LabelledData)
        models = entries(results, histories)
        for name, repeats in results.items():
            entry = models[name]
            entry["success_rate"] = sum(beats_trivial(r, references, data) for r in repeats) / len(repeats)
            entry["verdict"] = model_verdict(repeats, entry["training"]["best_repeat"], references, data)
        metrics = {**run_metrics(models, references), "ceilings": [data.exact] if data.exact in references else []}
        chosen = metrics["chosen_model"]
        metrics["verdict"] += other_models(chosen, results, data)
        best = best_results(models, results)[chosen]
        tables = (*score_tables(metrics, results, data), *kind_tables(metrics, data), report_table(chosen, best, data))
        return Evaluation(metrics, kept_arrays(references, results), tables, headlines(data), NOTES)

    def figures(
        self,
        data: TrainingData,
        references: dict[str, ModelResult],
        results: dict[str, list[ModelResult]],
        histories: dict[str, list[History]],
        evaluation: Evaluation,
    ) -> Iterator[Figure]:
        assert isinstance(data, LabelledData)
        best = best_results(evaluation.metrics["models"], results)
        chosen = evaluation.metrics["chosen_model"]
        yield from classification_figures(data, references, results, histories, best, chosen, self.examples)


def score_tables(metrics: dict[str, Any], results: dict[str, list[ModelResult]], data: LabelledData) -> Iterator[Table]:
    """A table per test part, best first, and one of further scores for the main part."""
    for part in data.tests:
        rows = []
        for name, entry in metrics["models"].items():
            best = results[name][entry["training"]["best_repeat"]].scores[part]
            rows.append(Row(name, "model", {**entry[part], "interval": interval(best)}, entry.get(f"{part}_sd", {})))
        for name, scores in metrics["baselines"].items():
            kind = "ceiling" if name in metrics["ceilings"] else "baseline"
            rows.append(Row(label(name), kind, {**scores[part], "interval": interval(scores[part])}))  # type: ignore[arg-type]
        rows.sort(key=lambda row: -row.values["balanced_accuracy"])
        yield Table(part_title(part, data), _held(DECISIONS, rows), tuple(rows))
        if part == "test":
            yield Table("Further scores, test part", _held(FURTHER, rows), tuple(rows))


def _held(columns: tuple[Column, ...], rows: list[Row]) -> tuple[Column, ...]:
    """The columns that some row has."""
    return tuple(c for c in columns if any(c.key in row.values for row in rows))


def kind_tables(metrics: dict[str, Any], data: LabelledData) -> Iterator[Table]:
    """Share decided right by kind of example, a table per test part that tells kinds apart."""
    for part, held in data.tests.items():
        key = f"{part} by kind"
        answerers = {**metrics["models"], **metrics["baselines"]}
        if not all(key in entry for entry in answerers.values()):
            continue
        counts = {name: len(rows) for name, rows in rows_by_kind(held, data)}
        kinds = next(iter(answerers.values()))[key]
        columns = tuple(Column(kind, f"{kind} ({counts[kind]})") for kind in kinds)
        rows = [Row(n, "model", m[key], m.get(f"{key}_sd", {})) for n, m in metrics["models"].items()]
        for name, scores in metrics["baselines"].items():
            rows.append(Row(label(name), "ceiling" if name in metrics["ceilings"] else "baseline", scores[key]))
        head = "the test part" if part == "test" else f"'{part}'"
        yield Table(f"Decided right by kind of example (how many there are), on {head}", columns, tuple(rows))


def report_table(name: str, result: ModelResult, data: LabelledData) -> Table:
    """Precision, recall, F1 and support of each class, with their plain and weighted means."""
    labels = data.tests["test"].labels.numpy(force=True)
    found = class_report(confusion_matrix(labels, result.arrays["test_decided"], len(data.class_names)))
    there = found.support > 0
    columns = {"precision": found.precision, "recall": found.recall, "f1": found.f1}
    rows = [
        Row(one, "", {k: float(v[number]) for k, v in columns.items()} | {"support": int(found.support[number])})
        for number, one in enumerate(data.class_names)
    ]
    total = {"support": int(found.support.sum())}
    rows.append(Row("macro mean", "", {k: float(v[there].mean()) for k, v in columns.items()} | total))
    weighted = {k: float(np.average(v, weights=found.support)) for k, v in columns.items()}
    rows.append(Row("weighted mean", "", weighted | total))
    heads = (Column("precision", "precision"), Column("recall", "recall"), Column("f1", "F1"), Column("support", "sequences"))
    note = "" if there.all() else "Classes that the test part does not have do not count in the macro mean."
    return Table(f"Classification report of {name}, test part", heads, tuple(rows), note)


def headlines(data: LabelledData) -> tuple[Headline, ...]:
    """Scores by which runs are compared."""
    found = [
        Headline("balanced_accuracy", "test", "balanced_accuracy", "balanced accuracy, test part", "high"),
        Headline("accuracy", "test", "accuracy", "accuracy, test part", "high"),
        Headline("mcc", "test", "mcc", "MCC, test part", "high"),
        Headline("cross_entropy", "test", "cross_entropy", "cross-entropy, test part", "low"),
    ]
    for part in data.tests:
        if part != "test":
            key = part.replace(" ", "_")
            found.append(Headline(f"{key}_balanced_accuracy", part, "balanced_accuracy", f"balanced accuracy, {part}", "high"))
    for part, held in data.tests.items():
        if held.kinds is not None and data.kind_names:
            key = "worst_kind" if part == "test" else f"{part.replace(' ', '_')}_worst_kind"
            found.append(Headline(key, part, "worst_kind", f"worst kind, {'test part' if part == 'test' else part}", "high"))
    return tuple(found)
