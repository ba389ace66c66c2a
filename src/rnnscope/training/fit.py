"""Fitting in one go: for models that have a rule of their own instead of gradients."""

import time
from collections.abc import Iterator

from rnnscope.core.errors import ConfigError
from rnnscope.core.interfaces import Checkpoint, Record, SequenceModel, TrainerSpec, TrainingData, TrainingOutcome, TrainingRun
from rnnscope.core.marked_series import MarkedData, ScoresSteps
from rnnscope.core.random import Streams


class Fit(TrainerSpec):
    """Lets a detector learn from the training part of a marked series: from all of it where there is no such part."""

    def start(self, model: SequenceModel, data: TrainingData, streams: Streams) -> TrainingRun:
        if not isinstance(model, ScoresSteps) or not isinstance(data, MarkedData):
            raise ConfigError(
                f"the trainer fit with a {type(model).__name__}",
                "a detector (threshold, ar_residual, matrix_profile, sub_pca) and a series to look through",
                "set trainer.kind=bptt for a network",
            )
        return FitRun(model, model, data)


class FitRun(TrainingRun):
    """One step."""

    total_epochs = 1

    def __init__(self, detector: ScoresSteps, model: SequenceModel, data: MarkedData) -> None:
        self.detector, self.model, self.data = detector, model, data
        self.seconds, self.fitted = 0.0, False

    def __iter__(self) -> Iterator[Record]:
        if not self.fitted:
            started = time.perf_counter()
            self.detector.learn(self.data.series.values[self.data.series.fitting])
            self.seconds, self.fitted = time.perf_counter() - started, True
            yield Record(1, {"seconds": self.seconds})

    def checkpoint(self) -> Checkpoint:
        tensors = {name: tensor.cpu() for name, tensor in self.model.state_dict().items()}
        return Checkpoint(tensors, {"seconds": self.seconds, "fitted": self.fitted})

    def restore(self, checkpoint: Checkpoint) -> None:
        self.seconds, self.fitted = float(checkpoint.values["seconds"]), bool(checkpoint.values["fitted"])
        if self.fitted:
            self.model.load_state_dict(checkpoint.tensors)

    def finish(self) -> TrainingOutcome:
        return TrainingOutcome("fitted", 1, float("nan"), "nothing", self.seconds)
