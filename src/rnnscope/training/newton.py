"""The exact optimum of a small model's loss on the whole training part: Newton's method, or L-BFGS where there are more weights.

Each Newton step solves (H + damping·I) s = g and is halved until the loss falls; at an optimum the steps shrink to nothing.
Where the gradient vanishes but the steps do not, the weights grow without bound and there is no optimum: the classes are
separated (Albert & Anderson 1984).
"""

from rnnscope.core.errors import ConfigError
from rnnscope.core.interfaces import SequenceModel, SupervisedData, TrainerSpec, TrainingData
from rnnscope.core.random import Streams
from rnnscope.training.newton_run import MOST_WEIGHTS, NewtonRun, NewtonSettings


class Newton(NewtonSettings, TrainerSpec):
    """Minimise the mean training loss, all samples at once, in float64.

    Fields:
        method: newton (at most 1000 weights), or lbfgs.
        iterations: at most so many. tolerance: the largest part of the gradient at which the optimum counts as reached.
        l2: adds l2/2 times the squared weights, biases excepted, to the mean loss; above 0 an optimum always exists in logistic regression.
        damping: added to the Hessian's diagonal; more where a model has flat directions.
        checkpoint_every: iterations between checkpoints.
    """

    def start(self, model: SequenceModel, data: TrainingData, streams: Streams) -> NewtonRun:
        if not isinstance(data, SupervisedData):
            raise ConfigError(
                "the trainer newton needs a target for every input, and this task has none",
                "a task of inputs and targets",
                "set trainer.kind=transport for sequence sets",
            )
        count = sum(p.numel() for p in model.parameters())
        if self.method == "newton" and count > MOST_WEIGHTS:
            raise ConfigError(
                f"the trainer newton was given a model of {count} weights",
                f"at most {MOST_WEIGHTS}",
                "set trainer.method=lbfgs",
            )
        return NewtonRun(self, model, data)
