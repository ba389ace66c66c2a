"""Hessian-free optimisation: Newton's method with the curvature of the loss known by its products alone.

Each outer step draws a batch, takes its gradient g, and minimises the damped quadratic model

    q(d) = g·d + ½ d·(G + λ I + λμ S) d,    G = J_y' H J_y,    S = J_h' J_h

by conjugate gradients, with the Gauss-Newton matrix G of a smaller batch. λ grows where the loss falls less than the undamped model
promised, and shrinks where the model is good. S resists changes of the states of a recurrent network, which a quadratic model in the
weights cannot foresee. So curvature tells how far to go in each direction, and errors that reach over a hundred steps, too faint
for gradient descent, still move the weights.

Martens (2010), Deep learning via Hessian-free optimization; Martens & Sutskever (2011), Learning recurrent neural networks with
Hessian-free optimization; Martens & Sutskever (2012), Training deep and recurrent networks with Hessian-free optimization.
"""

from rnnscope.core.errors import ConfigError
from rnnscope.core.interfaces import SequenceModel, SupervisedData, TrainerSpec, TrainingData
from rnnscope.core.random import Streams
from rnnscope.training.hessian_free_run import HessianFreeRun, HessianFreeSettings


class HessianFree(HessianFreeSettings, TrainerSpec):
    """Minimise a squared error or a cross-entropy by conjugate gradients on its Gauss-Newton model (Martens 2010).

    Fields:
        outer_steps: at most so many; each takes about 2 to 3 backward passes per step of conjugate gradients.
        count: which steps of a sequence are in the loss: `task`, those that its validation loss counts, `last`, or `all` but the
            first `burn_in`.
        gradient_batch: sequences drawn anew in each outer step, for the gradient and every look at the loss; 0: all, at most 2000.
        curvature_batch: how many of them are in G; 0: a quarter, at least 500, and fewer where memory would not bear it.
        cg_steps: of conjugate gradients, at most. cg_progress: ε of their stop: the last k steps (10, or a tenth of all) lowered
            the model by less than the share kε. cg_decay: they begin at this share, in [0, 1), of where they last ended.
        damping: λ at the start. structural_damping: μ, 0 or more; without effect on models that are no dynamical system.
        probes: random vectors for the preconditioner (diag G + λ)^power, 0: none. preconditioner_power: in [0, 1].
        enough: end as soon as the validation loss is at most this. patience: or after so many outer steps without a better one; 0: never.
            restore_best: end with the weights of the best validation loss, where there is a validation part.
        watch_test: also record the loss of the test part. It is never used to choose anything.
        checkpoint_every: outer steps between checkpoints; checkpoint_seconds: or this long.

    Dropout is off: a step that is judged by the loss needs the same network throughout.
    """

    def start(self, model: SequenceModel, data: TrainingData, streams: Streams) -> HessianFreeRun:
        if not isinstance(data, SupervisedData):
            raise ConfigError(
                "the trainer hessian_free needs a target for every input, and this task has none",
                "a task of inputs and targets, or another trainer",
                "set trainer.kind=transport for sequence sets",
            )
        if not any(p.requires_grad for p in model.parameters()):
            raise ConfigError("the model has no weights to train", "at least one", "choose a network")
        return HessianFreeRun(self, model, data, streams)
