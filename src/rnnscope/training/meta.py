"""Learning to learn by gradients: a start from which a few gradient steps on a few examples solve any task of a family.

MAML (Finn, Abbeel & Levine 2017), its first-order form, ANIL (Raghu et al. 2020), Reptile (Nichol, Achiam & Schulman 2018), and
plain pre-training on all tasks at once, with which they are compared. Losses of several inner steps, as in Antoniou, Edwards &
Storkey (2019), and the cosine schedule of the outer rate keep them from diverging.
"""

from typing import Any

from rnnscope.core.errors import ConfigError
from rnnscope.core.interfaces import SequenceModel, TrainerSpec, TrainingData
from rnnscope.core.random import Streams
from rnnscope.core.task_family import AdaptsByGradient, FamilyData
from rnnscope.training.meta_run import MetaRun, MetaSettings


class Meta(MetaSettings, TrainerSpec):
    """Train a start for adaptation on freshly drawn tasks of a family.

    Fields:
        algorithm: maml; anil (maml in which only the last layer adapts); reptile (the start moves towards where plain gradient
            steps lead); pretrain (all tasks at once, no inner steps).
        order: 2, through the inner steps, or 1, which takes their derivative for 1; of maml and anil.
        iterations: outer steps. meta_batch: tasks in each.
        shots: examples of a task per inner step; the largest number that the task is scored with when None, and never more.
        queries: further points of a task, on which the outer loss is taken.
        inner_rate, inner_steps: of the adaptation. every_step: the outer loss is the mean over 1 … inner_steps, not the last alone.
        optimizer: adam or sgd (without momentum), of the outer steps. learning_rate, schedule, final_rate: of the outer steps, see `BPTT`.
        clip_norm: largest norm of an outer gradient; 0 switches clipping off.
        try_rates: step sizes tried on the validation tasks at the end, of which the best is kept beside the weights; none: inner_rate.
        record_every: outer steps per record of the history; validation tasks are looked at then, through ten steps.
        checkpoint_every: records between checkpoints; checkpoint_seconds: or this long.
    """

    def model_post_init(self, context: Any) -> None:
        if self.schedule == "plateau":
            raise ConfigError("trainer.schedule is plateau", "constant, cosine, hold, exponential or step", "choose cosine")

    def start(self, model: SequenceModel, data: TrainingData, streams: Streams) -> MetaRun:
        if not isinstance(data, FamilyData):
            raise ConfigError(
                "the trainer meta needs a family of tasks, and this task is one",
                "a task such as sinusoids, or another trainer",
                "set trainer.kind=bptt",
            )
        if not isinstance(model, AdaptsByGradient):
            raise ConfigError(
                "the trainer meta adapts ReLU perceptrons by gradient steps, and this model is none",
                "a model of kind mlp; a recurrent one learns to adapt in its state by plain training",
                "set models.NAME.kind=mlp, or trainer.kind=bptt",
            )
        if self.shots is not None and self.shots > data.shots[-1]:
            raise ConfigError(
                f"trainer.shots is {self.shots}, but the task gives {data.shots[-1]} examples at most",
                f"1 to {data.shots[-1]}",
                "set trainer.shots or task.shots so that they agree",
            )
        return MetaRun(self, model, data, streams)
