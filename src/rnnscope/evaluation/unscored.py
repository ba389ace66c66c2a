"""No scores: for networks that are only looked at."""

from collections.abc import Iterator

from rnnscope.core.interfaces import Evaluation, EvaluationSpec, History, ModelResult, SequenceModel, TrainingData
from rnnscope.core.random import Streams
from rnnscope.core.summaries import entries
from rnnscope.core.tables import Column, Figure, Headline, Row, Table

SIZES = (Column("parameters", "parameters"), Column("systems", "recurrent systems"), Column("states", "state variables"))
HEADLINES = tuple(Headline(column.key, "size", column.key, column.label, "") for column in (SIZES[0], SIZES[2]))


class Unscored(EvaluationSpec):
    """Scores nothing, and says so.

    Fields: origin: where the network comes from, for the verdict; "": not said.
    """

    origin: str = ""

    def check(self, data: TrainingData) -> None:
        pass

    def references(self, data: TrainingData, streams: Streams) -> dict[str, ModelResult]:
        return {}

    def score(self, model: SequenceModel, data: TrainingData, streams: Streams) -> ModelResult:
        systems = list(model.systems().values())
        sizes = {
            "parameters": float(sum(tensor.numel() for tensor in model.parameters())),
            "systems": float(len(systems)),
            "states": float(sum(system.state_size for system in systems)),
        }
        return ModelResult({"size": sizes})

    def conclude(
        self,
        data: TrainingData,
        references: dict[str, ModelResult],
        results: dict[str, list[ModelResult]],
        histories: dict[str, list[History]],
    ) -> Evaluation:
        verdict = "Nothing was trained or scored; what the network does is told below."
        if self.origin:
            verdict = f"Unscored: imported from {self.origin}. Nothing was trained here; rnnscope analyze tells what it does."
        models = {name: {"verdict": _sizes(entry["size"]), **entry} for name, entry in entries(results, histories).items()}
        metrics = {
            "verdict": verdict,
            "chosen_model": next(iter(models)),
            "chosen_by": "order",
            "models": models,
            "baselines": {},
        }
        rows = tuple(Row(name, "model", entry["size"]) for name, entry in models.items())
        return Evaluation(metrics, {}, tables=(Table("What is looked at", SIZES, rows),), headlines=HEADLINES)

    def figures(
        self,
        data: TrainingData,
        references: dict[str, ModelResult],
        results: dict[str, list[ModelResult]],
        histories: dict[str, list[History]],
        evaluation: Evaluation,
    ) -> Iterator[Figure]:
        return iter(())


def _sizes(size: dict[str, float]) -> str:
    """What a model is, where there is no more to say of it."""
    count = int(size["systems"])
    return f"{int(size['states'])} state variables in {count} recurrent system{'s' * (count != 1)}."
