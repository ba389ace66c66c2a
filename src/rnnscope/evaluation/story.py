"""What the figures and captions of one run are drawn from."""

from dataclasses import dataclass

import numpy as np

from rnnscope.core.forecast import ForecastData
from rnnscope.core.interfaces import Evaluation, History, ModelResult
from rnnscope.plotting import colour, plain


@dataclass(frozen=True)
class Story:
    """Everything the panels draw from, for one run."""

    data: ForecastData
    references: dict[str, ModelResult]
    results: dict[str, list[ModelResult]]
    histories: dict[str, list[History]]
    evaluation: Evaluation
    level: float

    @property
    def span(self) -> tuple[int, int, int]:
        """Series number, first and past-the-last step of the (first) main test span."""
        span = self.data.parts.tests["test"][0]
        return span.series, span.start, span.stop

    def best_repeat(self, model: str) -> ModelResult:
        return self.results[model][int(self.evaluation.metrics["models"][model]["training"]["best_repeat"])]

    def times(self, series: int) -> np.ndarray:
        return self.data.series[series].times

    def shade(self, model: str) -> str:
        return colour(list(self.results).index(model))

    def has(self, array: str) -> bool:
        """Whether the results hold an array."""
        return all(array in r[0].arrays for r in self.results.values())

    @property
    def variable(self) -> str:
        name = self.data.series[0].names[0]
        return plain(f"{name} ({self.data.unit})" if self.data.unit else name)

    @property
    def leaky(self) -> bool:
        return self.data.parts.leaky_seed is not None
