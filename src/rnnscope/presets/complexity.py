"""Complexity: does a logistic regression find where a phenomenon emerges, and is emergence sharp, or only its metric?"""

from rnnscope.analysis.logistic_boundary import LogisticBoundary
from rnnscope.core.interfaces import AnalysisSpec, TrainerSpec
from rnnscope.evaluation.classification import Classification
from rnnscope.experiment import Experiment
from rnnscope.models.logistic import Logistic
from rnnscope.tasks.complexity import Complexity
from rnnscope.training.gradient import BPTT
from rnnscope.training.newton import Newton


def _experiment(task: Complexity, trainer: TrainerSpec, trainers: dict[str, TrainerSpec] | None = None) -> Experiment:
    analyses: dict[str, AnalysisSpec] = {"logistic_boundary": LogisticBoundary()}
    return Experiment(
        task=task,
        models={"logistic": Logistic(), **dict.fromkeys(trainers or {}, Logistic())},
        trainer=trainer,
        trainers=trainers or {},
        # a sample is one step: there is no order that a baseline could lack
        evaluation=Classification(latest=(1,)),
        analyses=analyses,
        threads=1,
    )


def _descent(epochs: int, rate: float) -> BPTT:
    """All samples in every step, no momentum, the weights of the last epoch: plain gradient descent, as usually written."""
    return BPTT(
        optimizer="sgd",
        momentum=0.0,
        nesterov=False,
        learning_rate=rate,
        epochs=epochs,
        batch_size=1_000_000,
        clip_norm=0.0,
        restore_best=False,
    )


def complexity() -> Experiment:
    """As usually done: raw features, rate 0.01, 1000 epochs. Features of unequal size and off zero make the descent slow."""
    return _experiment(Complexity(), _descent(1000, 0.01))


def complexity_quick() -> Experiment:
    """`complexity` with 200 epochs."""
    return _experiment(Complexity(), _descent(200, 0.01))


def complexity_best() -> Experiment:
    """Standardised features, at a rate that then is stable, beside the exact optimum."""
    # the classes are separable: without a penalty Newton's method would only find how far one may go
    return _experiment(Complexity(scaling="standard"), _descent(3000, 10.0), {"newton": Newton(l2=1e-6)})


def complexity_best_quick() -> Experiment:
    """The exact optimum alone, without a penalty: it notices that there is none."""
    return _experiment(Complexity(scaling="standard"), Newton())


def complexity_smooth() -> Experiment:
    """The label is drawn across a smooth threshold: probability and log-loss change smoothly, decisions and accuracy jump."""
    return _smooth(num_samples=3000, epochs=6000)


def complexity_smooth_quick() -> Experiment:
    """`complexity-smooth` with fewer samples and epochs."""
    return _smooth(num_samples=1000, epochs=1500)


def _smooth(num_samples: int, epochs: int) -> Experiment:
    # raw features and even odds at the start: the log-loss falls from the first epoch on, while accuracy stays at that of the
    # majority class for some twenty epochs, falls below it, and then rises
    found = _experiment(Complexity(smooth=1.0, num_samples=num_samples), _descent(epochs, 0.05))
    return found.but(models={"logistic": Logistic(initial_scale=0.0)})
