"""Does a network's output look like the HMM's? Every distance beside its sampling floor and beside what trivial generators reach."""

from collections.abc import Iterator
from typing import Any, Literal

import numpy as np

from rnnscope.core.driven import boundedness
from rnnscope.core.errors import ConfigError
from rnnscope.core.interfaces import Evaluation, EvaluationSpec, History, ModelResult, Scores, SequenceModel, TrainingData
from rnnscope.core.random import Streams
from rnnscope.core.spec import Positive, PositiveFloat
from rnnscope.core.summaries import best_results, entries, kept_arrays, run_metrics
from rnnscope.core.system import only_system
from rnnscope.core.tables import Figure
from rnnscope.evaluation.emulation_figures import emulation_figures
from rnnscope.evaluation.emulation_scores import (
    Compared,
    Comparison,
    compare_sets,
    independent,
    markov_chain,
    way_back,
)
from rnnscope.evaluation.emulation_verdict import HEADLINES, NOTES, emulation_tables, gates, model_verdict
from rnnscope.markov.emulation import EmulationData
from rnnscope.markov.generation import generate

FLOOR, IID = "hmm", "iid"
MOST_WORDS = 2_000_000


class Emulation(EvaluationSpec):
    """Compare sequences of a network with those of the HMM, at equal number and length, both fresh.

    Fields:
        num_sequences: N on each side. num_steps: T; the task's when None.
        floor_draws: independent samples of the HMM that are scored as if they were a network's: the floor and its sd.
        orders: of the Markov chains over symbols that serve as baselines beside independent symbols.
        matching: exact (one-to-one of least cost) or sinkhorn (a one-to-one rounding of the transport plan).
        blur, batch: of the Sinkhorn divergence, and sequences in it; it is a mean over the disjoint batches of N. word: length of words compared.
        way_back: numbers of states with which HMMs are fitted to the network's sequences; empty switches it off.
        long_steps: steps over which states are watched for divergence.
        temperature: of the sampled symbols.
    """

    num_sequences: Positive = 4000
    num_steps: Positive | None = None
    floor_draws: Positive = 4
    orders: tuple[Positive, ...] = (1, 3)
    matching: Literal["exact", "sinkhorn"] = "exact"
    blur: PositiveFloat = 0.2
    batch: Positive = 1000
    word: Positive = 4
    way_back: tuple[Positive, ...] = (1, 2, 3, 4, 5, 6)
    long_steps: Positive = 10_000
    temperature: PositiveFloat = 1.0

    def model_post_init(self, context: Any) -> None:
        if self.floor_draws < 2 or self.num_sequences < 10:
            raise ConfigError(
                f"evaluation.floor_draws={self.floor_draws}, num_sequences={self.num_sequences}",
                "at least 2 draws of at least 10 sequences",
                "a floor without a spread says nothing",
            )

    def check(self, data: TrainingData) -> None:
        if not isinstance(data, EmulationData):
            raise ConfigError(
                "the evaluation emulation needs a hidden Markov model to compare with, and this task has none",
                "the task hidden_markov, or another evaluation",
                "set evaluation.kind=forecasting for a series",
            )
        steps, size = self.num_steps or data.num_steps, data.hmm.num_symbols
        if steps < max(2, self.word):
            raise ConfigError(
                f"sequences of {steps} steps, and words of {self.word}",
                f"at least {max(2, self.word)} steps",
                f"set evaluation.word={max(1, steps)}, or compare longer sequences",
            )
        for name, length in (("word", self.word), ("orders", max(self.orders, default=0) + 1)):
            if size**length > MOST_WORDS:
                largest = int(np.log(MOST_WORDS) / np.log(size))
                raise ConfigError(
                    f"evaluation.{name}: {size} symbols make {size**length} words of {length}",
                    f"at most {MOST_WORDS}",
                    f"set evaluation.{name}={largest if name == 'word' else [max(1, largest - 1)]}",
                )

    def _how(self) -> Comparison:
        return Comparison(self.matching, self.blur, self.batch, self.word)

    def _target(self, data: EmulationData, streams: Streams) -> np.ndarray:
        """The HMM's fresh sequences, the same for every generator of a run."""
        rng = Streams(streams.seed, ("evaluation", "target")).numpy()
        drawn = data.hmm.sample(self.num_sequences, self.num_steps or data.num_steps, rng=rng)
        return drawn.observations.astype(np.int16)

    def references(self, data: TrainingData, streams: Streams) -> dict[str, ModelResult]:
        assert isinstance(data, EmulationData)
        seen, target = data.train.symbols, self._target(data, streams)
        shape, size, rng = target.shape, data.hmm.num_symbols, streams.at("references").numpy()
        floors = []
        for _ in range(self.floor_draws):
            drawn = data.hmm.sample(*shape, rng=rng).observations.astype(np.int16)
            floors.append(compare_sets(drawn, target, data, self._how(), rng))
        found = {FLOOR: _floor(floors)}
        drawn = independent(seen, shape, size, rng)
        found[IID] = ModelResult({"sampled": compare_sets(drawn, target, data, self._how(), rng).scores})
        for order in self.orders:
            drawn = markov_chain(seen, shape, size, order, rng)
            compared = compare_sets(drawn, target, data, self._how(), rng)
            found[f"markov{order}"] = ModelResult({"sampled": compared.scores})
        for result in found.values():
            _relate(result.scores["sampled"], found[FLOOR].scores["sampled"])
        return found

    def score(self, model: SequenceModel, data: TrainingData, streams: Streams) -> ModelResult:
        assert isinstance(data, EmulationData)
        system = only_system(model)
        target = self._target(data, streams)
        source, rng = streams.at("network").torch(), streams.at("comparison").numpy()
        made = generate(
            system,
            self.num_sequences,
            target.shape[1],
            source,
            initial=data.initial_state,
            temperature=self.temperature,
        )
        scores: dict[str, Scores] = {}
        arrays: dict[str, np.ndarray] = {}
        for reading, symbols in (("sampled", made.sampled), ("argmax", made.argmax)):
            compared = compare_sets(symbols, target, data, self._how(), rng)
            scores[reading] = compared.scores
            arrays |= {f"{reading}_{k}": v for k, v in compared.arrays.items()}
            arrays[f"{reading}_symbols"] = symbols
        long = boundedness(system, num_steps=self.long_steps, num_paths=64, rng=source)
        scores["states"] = {
            "bounded": float(long.bounded),
            "largest": float(long.max_norm.max()) if len(long.max_norm) else float("inf"),
            "growth": float(long.growth_rate),
        }
        if self.way_back:
            scores["way_back"] = way_back(made.sampled, data, self.way_back, rng)
        return ModelResult(scores, arrays)

    def conclude(
        self,
        data: TrainingData,
        references: dict[str, ModelResult],
        results: dict[str, list[ModelResult]],
        histories: dict[str, list[History]],
    ) -> Evaluation:
        assert isinstance(data, EmulationData)
        floor = references[FLOOR].scores["sampled"]
        for result in (r for repeats in results.values() for r in repeats):
            for reading in ("sampled", "argmax"):
                _relate(result.scores[reading], floor)
            result.scores["gates"] = {k: float(v) for k, v in gates(result.scores, references).items()}
        models = entries(results, histories)
        for name, best in best_results(models, results).items():
            every = [r.scores for r in results[name]]
            models[name]["success_rate"] = float(np.mean([all(scores["gates"].values()) for scores in every]))
            models[name]["verdict"] = model_verdict(best.scores, references, every, histories[name])
        metrics = {**run_metrics(models, references), "ceilings": [FLOOR]}
        arrays = kept_arrays(references, results)
        samples = {k: arrays.pop(k) for k in list(arrays) if k.endswith("_symbols")}
        return Evaluation(metrics, arrays, emulation_tables(metrics), HEADLINES, NOTES, samples)

    def figures(
        self,
        data: TrainingData,
        references: dict[str, ModelResult],
        results: dict[str, list[ModelResult]],
        histories: dict[str, list[History]],
        evaluation: Evaluation,
    ) -> Iterator[Figure]:
        assert isinstance(data, EmulationData)
        name = evaluation.metrics["chosen_model"]
        repeat = int(evaluation.metrics["models"][name]["training"]["best_repeat"])
        yield from emulation_figures(data, references, results[name][repeat], histories)


def _floor(draws: list[Compared]) -> ModelResult:
    """Mean and sd over draws of the HMM; the arrays are the first draw's."""
    keys = draws[0].scores
    mean = {k: float(np.mean([d.scores[k] for d in draws if k in d.scores])) for k in keys}
    sd = {k: float(np.std([d.scores[k] for d in draws if k in d.scores], ddof=1)) for k in keys}
    return ModelResult({"sampled": mean, "sampled_sd": sd}, {f"sampled_{k}": v for k, v in draws[0].arrays.items()})


def _relate(scores: Scores, floor: Scores) -> None:
    """Distances as multiples of their floor."""
    for name in ("distance", "divergence"):
        scores[f"{name}_ratio"] = scores[name] / floor[name] if floor[name] > 0 else float("nan")
