"""What stands out of a series, how often chance alone would raise as many alarms, and, with marks, how good the detectors are."""

from collections.abc import Iterator
from typing import Annotated

from pydantic import Field

from rnnscope.core.errors import ConfigError, unknown_name
from rnnscope.core.interfaces import Evaluation, EvaluationSpec, History, ModelResult, SequenceModel, TrainingData
from rnnscope.core.marked_series import MarkedData
from rnnscope.core.random import Streams
from rnnscope.core.spec import NonNegative
from rnnscope.core.summaries import best_results, entries, kept_arrays, run_metrics
from rnnscope.core.tables import Figure, Headline
from rnnscope.evaluation.detection_figures import detection_figures
from rnnscope.evaluation.detection_scores import (
    ONE_LINERS,
    Decision,
    judge,
    noise_study,
    one_line_scores,
    rankable,
    result_of,
    shift_p_value,
    step_scores,
    vus_buffer,
)
from rnnscope.evaluation.detection_tables import detection_tables, notes, verdict_of
from rnnscope.numerics.nulls import Method
from rnnscope.numerics.thresholds import THREE_SIGMA, Control

HEADLINES = (
    Headline("average_precision", "test", "average_precision", "average precision", "high"),
    Headline("vus_pr", "test", "vus_pr", "VUS-PR", "high"),
    Headline("f1", "test", "f1", "F1 of the alarms", "high"),
    Headline("alarms", "test", "alarms", "alarms", ""),
    Headline("expected", "test", "expected", "expected by chance", ""),
)


class Detection(EvaluationSpec):
    """Alarms at a stated false-alarm rate, beside what chance predicts and, where steps are marked, beside the marks.

    Fields:
        threshold: how scores become p-values, for detectors that bring no threshold of their own: three-sigma, mad, quantile or pot,
            see `rnnscope.numerics.nulls.fit_null`. None: pot where there is a training part to set it by, mad where there is none.
        control: what `rate` promises: `step` (false alarms per step), `set` (probability of any in the series) or `fdr` (share of
            false ones among the alarms). rate: in (0, 1); 0.0027, that of three standard deviations.
        chosen: the model that the verdict is about, named in advance; the first when "".
        buffer: longest one of VUS-PR in steps; the period of the series when None.
        shifts: random shifts of the marks for the p-value of the average precision; 0: none.
        noise_sets: sets of pure noise on which the false-alarm rates are measured, where the steps are independent draws; 0: none.
    """

    threshold: Method | None = None
    control: Control = "step"
    rate: Annotated[float, Field(gt=0.0, lt=1.0)] = THREE_SIGMA
    chosen: str = ""
    buffer: NonNegative | None = None
    shifts: NonNegative = 199
    noise_sets: NonNegative = 200

    def check(self, data: TrainingData) -> None:
        if not isinstance(data, MarkedData):
            raise ConfigError(
                "the evaluation detection needs a series to look through, and this task has none",
                "a task such as marked_series, emergence or planted_anomalies",
                "set evaluation.kind=forecasting for a series to be forecast",
            )

    def decision(self, method: Method | None = None) -> Decision:
        """How scores become alarms, for a detector whose own threshold is `method`."""
        return Decision(method or self.threshold, self.control, self.rate)

    def references(self, data: TrainingData, streams: Streams) -> dict[str, ModelResult]:
        assert isinstance(data, MarkedData)
        if not data.series.ordered or data.series.marks is None:
            return {}
        found = {}
        for name in ONE_LINERS:
            judged = judge(one_line_scores(name, data.series), data.series, self.decision())
            found[name] = result_of(judged, data, self.buffer)
        return found

    def score(self, model: SequenceModel, data: TrainingData, streams: Streams) -> ModelResult:
        assert isinstance(data, MarkedData)
        raw, signed, own = step_scores(model, data)
        decision = self.decision(own)
        judged = judge(raw, data.series, decision, signed=signed)
        result = result_of(judged, data, self.buffer)
        scores = result.scores["test"]
        part = data.series.judged
        if "average_precision" in scores and self.shifts:
            assert data.series.marks is not None
            rng = streams.at("shifts").numpy()
            scores["shift_p"] = shift_p_value(rankable(judged.scores[part]), data.series.marks[part], self.shifts, rng)
        if not data.series.ordered and self.noise_sets and raw.shape[1] == 1:
            scores |= noise_study(judged, judged.count, decision, self.noise_sets, streams.at("noise").numpy())
        return result

    def conclude(
        self,
        data: TrainingData,
        references: dict[str, ModelResult],
        results: dict[str, list[ModelResult]],
        histories: dict[str, list[History]],
    ) -> Evaluation:
        assert isinstance(data, MarkedData)
        chosen = self.chosen or next(iter(results))
        if chosen not in results:
            raise unknown_name("model in evaluation.chosen", chosen, results)
        reach = vus_buffer(data, self.buffer) if data.series.ordered else 0
        models = entries(results, histories)
        bests = best_results(models, results)
        for name, best in bests.items():
            others = {other: r for other, r in bests.items() if other != name}
            models[name]["verdict"] = verdict_of(best, references, others, data, self.control, self.rate, reach)
        metrics = run_metrics(models, references, chosen, "the configuration")
        tables = detection_tables(metrics, data, self.control, self.rate, reach)
        return Evaluation(
            metrics, kept_arrays(references, results), tables, HEADLINES, notes(data, self.threshold, self.noise_sets)
        )

    def figures(
        self,
        data: TrainingData,
        references: dict[str, ModelResult],
        results: dict[str, list[ModelResult]],
        histories: dict[str, list[History]],
        evaluation: Evaluation,
    ) -> Iterator[Figure]:
        assert isinstance(data, MarkedData)
        models = evaluation.metrics["models"]
        best = {name: repeats[models[name]["training"]["best_repeat"]] for name, repeats in results.items()}
        yield from detection_figures(data, references, best, histories, evaluation.metrics["chosen_model"])
