"""What the layers promise one another: specs that prepare data, build models, train, evaluate and analyse."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from torch import Tensor

from rnnscope.core.loops import AffineFeedback
from rnnscope.core.random import Streams
from rnnscope.core.spec import Spec
from rnnscope.core.system import DynamicalSystem, SequenceModel
from rnnscope.core.tables import Figure, Headline, Table

Scores = dict[str, float]


@dataclass(frozen=True)
class Signature:
    """What a task asks of a model.

    Attributes:
        input_size, output_size: features per step in and out.
        feature_names: one name per input feature.
        frame: (channels, height, width) where an input is a flattened image; () otherwise.
        past_targets: how many of the last features are targets of the step before, which only a recurrent model can use.
    """

    input_size: int
    output_size: int
    feature_names: tuple[str, ...] = ()
    frame: tuple[int, ...] = ()
    past_targets: int = 0


@dataclass(frozen=True)
class Batch:
    """A batch: inputs (B, T, X), float32 on the training device, and targets (B, T', Y), numbers, or (B, T') numbers of classes.

    `counted` is how many of the last steps count when a loss is only looked at (validation, monitor); which steps count in
    training is the trainer's choice. `lengths` (B,) are the real steps of each row, where they differ.
    """

    inputs: Tensor
    targets: Tensor
    counted: int = 1
    lengths: Tensor | None = None


class BatchSource(ABC):
    """Windows (or sequences) that can be gathered by number."""

    @abstractmethod
    def __len__(self) -> int:
        """How many there are."""

    @abstractmethod
    def gather(self, indices: np.ndarray) -> Batch:
        """The windows with these numbers as one batch."""

    def batches(self, size: int) -> Iterator[Batch]:
        """All of them in order, `size` at a time."""
        for start in range(0, len(self), size):
            yield self.gather(np.arange(start, min(start + size, len(self))))


@dataclass(frozen=True)
class Stream:
    """One long sequence for training with a carried state: inputs (T, X), targets (T, Y); the last `counted` steps count, all when None."""

    inputs: Tensor
    targets: Tensor
    counted: int | None = None


@dataclass(frozen=True)
class Probe:
    """Sequences as a network meets them: inputs (B, T, X) on the CPU and, where there are targets, those of the last T' steps.

    Targets are numbers (B, T', Y), or numbers of classes (B, T'), as the task's loss takes them.
    """

    inputs: Tensor
    targets: Tensor | None = None


class TrainingData(ABC):
    """What models, trainers and evaluations see of a task.

    Attributes:
        signature: sizes for building models.
    """

    signature: Signature

    @abstractmethod
    def to(self, device: torch.device) -> "TrainingData":
        """The same data with its tensors on a device."""

    @abstractmethod
    def describe(self) -> dict[str, Any]:
        """Sizes, ranges, units, split: the data report."""

    @abstractmethod
    def arrays(self) -> dict[str, np.ndarray]:
        """What is worth keeping in the run folder's data/."""

    @abstractmethod
    def probe(self, num_sequences: int, rng: torch.Generator) -> Probe:
        """At most so many sequences like those of the training part, for analyses to drive the network with."""


class SupervisedData(TrainingData):
    """Data with a target for every input, which gradient training needs.

    Attributes:
        train, validation, monitor: windows; `monitor` (the test part) is only ever looked at, never used to choose.
        feedback: how an output becomes the next input, where the task can be run closed; None otherwise.
    """

    train: BatchSource
    validation: BatchSource | None
    monitor: BatchSource | None
    feedback: AffineFeedback | None

    @abstractmethod
    def streams(self) -> list[Stream]:
        """The training part as long sequences, for training with a carried state."""

    def exact_streams(self, part: Literal["train", "validation"]) -> list[Stream]:
        """A part as long sequences with all digits that the data have, for solvers that use them; [] where it has none.

        Gradient training rounds to float32 and loses nothing. A readout solved for in float64 does: the rounding of its inputs
        costs a chaotic forecast several Lyapunov times.
        """
        return self.streams() if part == "train" else []

    @abstractmethod
    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """The mean loss over all leading axes, a scalar."""

    def tally(self, outputs: Tensor, targets: Tensor) -> Tensor | None:
        """Counts that add up over the batches of an epoch (who was taken for whom); None where only losses are recorded."""
        return None

    def rates(self, tally: Tensor) -> dict[str, float]:
        """What summed counts mean, name -> share: recorded each epoch as train_NAME, validation_NAME and test_NAME."""
        return {}

    @property
    def has_free_runs(self) -> bool:
        """Whether `free_runs` has anything to compare; known without running."""
        return False

    def free_runs(self, system: DynamicalSystem) -> tuple[np.ndarray, np.ndarray] | None:
        """What was recorded in the training and validation parts and what a system makes of it when it runs on by itself.

        Both (B, T, D), to be compared as distributions; None where the task knows no free run. Never the test part.
        """
        return None

    def encode(self, inputs: Tensor) -> Tensor:
        """What a network reads of a stream's inputs: themselves, unless the data hold them packed (characters as numbers)."""
        return inputs

    def probe(self, num_sequences: int, rng: torch.Generator) -> Probe:
        chosen = torch.randperm(len(self.train), generator=rng)[:num_sequences]
        batch = self.train.gather(chosen.numpy())
        return Probe(batch.inputs.cpu(), batch.targets.cpu())


class TaskSpec(Spec, ABC):
    """Where data come from and what is asked of them."""

    @abstractmethod
    def prepare(self, streams: Streams) -> TrainingData:
        """Generate or read the data, split and scale them."""


class ModelSpec(Spec, ABC):
    """A model's architecture."""

    @abstractmethod
    def build(self, signature: Signature, rng: torch.Generator) -> SequenceModel:
        """A freshly initialised model on the CPU, float32 (an echo state network: float64; it answers in the dtype it is asked in)."""

    def empty(self, signature: Signature) -> SequenceModel:
        """A model whose weights are about to be overwritten, as those of a run folder are; a spec that reads a file does not read it."""
        return self.build(signature, torch.Generator().manual_seed(0))


@dataclass(frozen=True)
class Record:
    """One epoch (or outer step) of training.

    Attributes:
        epoch: counted from 1.
        values: column name -> number, e.g. train_loss, validation_loss, learning_rate, gradient_norm, seconds.
    """

    epoch: int
    values: dict[str, float]


@dataclass(frozen=True)
class Checkpoint:
    """All that a training run needs to go on to the same numbers: tensors by name and JSON-able values."""

    tensors: dict[str, Tensor]
    values: dict[str, Any]


@dataclass(frozen=True)
class TrainingOutcome:
    """How training ended.

    Attributes:
        reason: "completed", "early stopping", …, in words.
        best_epoch: the epoch whose weights the model now has.
        score: by which it was chosen, lower is better. criterion: what that is: "validation loss", "training loss", or in words.
        seconds: wall time spent in epochs, over all resumed parts.
        development: epoch -> weights at chosen epochs on the way, where the trainer was asked to keep them.
        unit: what the history has a row for each of, in the singular.
    """

    reason: str
    best_epoch: int
    score: float
    criterion: str
    seconds: float
    development: dict[int, dict[str, Tensor]] = field(default_factory=dict)
    unit: str = "epoch"


class TrainingRun(ABC):
    """Training as an iterator of records. Whoever loops shows progress, stops, and writes checkpoints."""

    total_epochs: int

    @abstractmethod
    def __iter__(self) -> Iterator[Record]:
        """Yield one record per epoch, from where the run stands."""

    @abstractmethod
    def checkpoint(self) -> Checkpoint:
        """The state after the last yielded record."""

    @abstractmethod
    def restore(self, checkpoint: Checkpoint) -> None:
        """Go back to a checkpoint before iterating."""

    @abstractmethod
    def finish(self) -> TrainingOutcome:
        """Put the chosen weights into the model and say how it went."""


class TrainerSpec(Spec, ABC):
    """An algorithm that fits a model to training data."""

    @abstractmethod
    def start(self, model: SequenceModel, data: TrainingData, streams: Streams) -> TrainingRun:
        """A run that has done nothing yet."""


@dataclass(frozen=True)
class ModelResult:
    """One trained model as evaluated: nested scores by test set, and arrays for figures and findings."""

    scores: dict[str, Scores]
    arrays: dict[str, np.ndarray] = field(default_factory=dict)


@dataclass(frozen=True)
class History:
    """The training history of one repeat of one model: column -> values per epoch, and how it ended."""

    columns: dict[str, np.ndarray]
    outcome: TrainingOutcome


@dataclass(frozen=True)
class Evaluation:
    """What an evaluation found over all models and repeats.

    Attributes:
        metrics: what goes to metrics.json: verdict, chosen_model, chosen_by, and per baseline and model its scores. A
            model's entry also has `verdict` and `training`, see `training_summary`.
        arrays: what goes to findings/evaluation.npz.
        tables: for the report, in order. headlines: by which runs are compared.
        notes: sentences below the tables.
        samples: what the models generated, kept where the data are kept.
    """

    metrics: dict[str, Any]
    arrays: dict[str, np.ndarray]
    tables: tuple[Table, ...] = ()
    headlines: tuple[Headline, ...] = ()
    notes: tuple[str, ...] = ()
    samples: dict[str, np.ndarray] = field(default_factory=dict)


class EvaluationSpec(Spec, ABC):
    """Scores on data that training did not see, beside baselines."""

    @abstractmethod
    def check(self, data: TrainingData) -> None:
        """Refuse data that this evaluation cannot score, before anything is trained."""

    @abstractmethod
    def references(self, data: TrainingData, streams: Streams) -> dict[str, ModelResult]:
        """Baselines, floors and ceilings: name -> result of the same form as a model's."""

    @abstractmethod
    def score(self, model: SequenceModel, data: TrainingData, streams: Streams) -> ModelResult:
        """One trained model."""

    @abstractmethod
    def conclude(
        self,
        data: TrainingData,
        references: dict[str, ModelResult],
        results: dict[str, list[ModelResult]],
        histories: dict[str, list[History]],
    ) -> Evaluation:
        """Aggregate over repeats, compare with the references, word the verdicts."""

    @abstractmethod
    def figures(
        self,
        data: TrainingData,
        references: dict[str, ModelResult],
        results: dict[str, list[ModelResult]],
        histories: dict[str, list[History]],
        evaluation: Evaluation,
    ) -> Iterator[Figure]:
        """Every figure of the report."""


@dataclass(frozen=True)
class Trained:
    """A trained model as analyses get it.

    Attributes:
        name, repeat: which. model: in evaluation mode, on the CPU. history: of its training.
        development: (epoch, model at that epoch), where the trainer kept them.
    """

    name: str
    repeat: int
    model: SequenceModel
    history: History
    development: tuple[tuple[int, SequenceModel], ...] = ()


@dataclass(frozen=True)
class Findings:
    """What an analysis found.

    Attributes:
        statements: sentences for the report, each with its evidence.
        metrics: JSON-able values, for findings/<analysis>.json.
        arrays: what the figures need, for findings/<analysis>.npz.
        tables: for the report, in order.
        results: the result objects themselves, for drawing; they are not written.
    """

    statements: tuple[str, ...]
    metrics: dict[str, Any]
    arrays: dict[str, np.ndarray]
    tables: tuple[Table, ...] = ()
    results: dict[str, Any] = field(default_factory=dict)


class AnalysisSpec(Spec, ABC):
    """A look at what a trained model learned.

    Attributes:
        routine: whether it belongs to the analyses that run when none is named.
    """

    routine: ClassVar[bool] = True

    def obstacle(self, model: SequenceModel, data: TrainingData) -> str:
        """Why this analysis does not apply to such a model and such data; empty where it does."""
        return "" if model.systems() else "the model has no recurrent part"

    @abstractmethod
    def run(self, trained: Trained, data: TrainingData, streams: Streams) -> Findings:
        """Analyse one trained model."""

    @abstractmethod
    def figures(self, findings: Findings) -> Iterator[Figure]:
        """Every figure of the findings."""
