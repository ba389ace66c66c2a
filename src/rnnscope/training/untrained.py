"""No training: the model stays as it was built or read."""

from collections.abc import Iterator

from rnnscope.core.interfaces import Checkpoint, Record, SequenceModel, TrainerSpec, TrainingData, TrainingOutcome, TrainingRun
from rnnscope.core.random import Streams


class Untrained(TrainerSpec):
    """Leaves the model's weights as they are."""

    def start(self, model: SequenceModel, data: TrainingData, streams: Streams) -> TrainingRun:
        return _Nothing()


class _Nothing(TrainingRun):
    total_epochs = 0

    def __iter__(self) -> Iterator[Record]:
        return iter(())

    def checkpoint(self) -> Checkpoint:
        return Checkpoint({}, {})

    def restore(self, checkpoint: Checkpoint) -> None:
        pass

    def finish(self) -> TrainingOutcome:
        return TrainingOutcome("not trained", 0, float("nan"), "nothing", 0.0)
