"""No scores: for networks that are only looked at."""

from collections.abc import Iterator

from rnnscope.core.interfaces import Evaluation, EvaluationSpec, History, ModelResult, SequenceModel, TrainingData
from rnnscope.core.random import Streams
from rnnscope.core.summaries import training_summary
from rnnscope.core.tables import Figure


class Unscored(EvaluationSpec):
    """Scores nothing, and says so."""

    def check(self, data: TrainingData) -> None:
        pass

    def references(self, data: TrainingData, streams: Streams) -> dict[str, ModelResult]:
        return {}

    def score(self, model: SequenceModel, data: TrainingData, streams: Streams) -> ModelResult:
        return ModelResult({})

    def conclude(
        self,
        data: TrainingData,
        references: dict[str, ModelResult],
        results: dict[str, list[ModelResult]],
        histories: dict[str, list[History]],
    ) -> Evaluation:
        verdict = "Nothing was trained or scored; what the network does is told below."
        models = {name: {"verdict": verdict, "training": training_summary(h)} for name, h in histories.items()}
        metrics = {
            "verdict": verdict,
            "chosen_model": next(iter(models)),
            "chosen_by": "order",
            "models": models,
            "baselines": {},
        }
        return Evaluation(metrics, {})

    def figures(
        self,
        data: TrainingData,
        references: dict[str, ModelResult],
        results: dict[str, list[ModelResult]],
        histories: dict[str, list[History]],
        evaluation: Evaluation,
    ) -> Iterator[Figure]:
        return iter(())
