"""The linear readout of a network by ridge regression, solved at once or learned sample by sample (recursive least squares).

Tikhonov (1943), Hoerl & Kennard (1970); for reservoirs Jaeger (2001), Lukoševičius (2012).
"""

from rnnscope.core.errors import ConfigError
from rnnscope.core.interfaces import SequenceModel, SupervisedData, TrainerSpec, TrainingData
from rnnscope.core.random import Streams
from rnnscope.core.system import DynamicalSystem, LinearReadout
from rnnscope.training.free_run_distance import check_free_runs
from rnnscope.training.ridge_run import RidgeRun, RidgeSettings


class Ridge(RidgeSettings, TrainerSpec):
    """Set W, b of y = W f(h) + b to the minimum of Σ |y - W f - b|² + λ N |W|²; the recurrence stays as it is.

    Streams of any length need the memory of one P×P matrix and one piece of features. Classes are regressed as one-hot vectors.

    Fields:
        strengths: candidates of λ >= 0, per sample, so that they mean the same for short and long series. Among several the best
            on the validation part is taken; where the task has none, the last tenth of the training part chooses and all of it is
            then used.
        choose: by what: one_step (squared error), free_run (error of closed loops from `starts` starts over `free_run_steps` steps), or
            reconstruction: how far long free runs are from the training and validation parts, D_stsp + D_H of
            `rs.reconstruction_scores`. For networks that are to generate an attractor: the best forecast may come to rest in the end.
        method: ridge, or rls: recursive least squares, which takes samples in order and forgets at the rate `forgetting` per sample
            (in (0, 1]; 1: never, and the result is that of ridge). Below λ = 1e-8 rounding spoils rls.
        washout: steps at the start of each stream that only warm the state up. Sequences that start from the initial state in use,
            too, have none.
        carry_state: along whole series, the state carried; else on windows that each start from the initial state.
        state_noise, input_noise: sd of Gaussian noise on states and inputs (of sd 1) while features are made: a stabler closed loop
            for a worse one-step error. State noise takes the slow loop of single steps.
        block: steps of which features are held in memory at a time.
    """

    def start(self, model: SequenceModel, data: TrainingData, streams: Streams) -> RidgeRun:
        if not isinstance(data, SupervisedData):
            raise ConfigError(
                "the trainer ridge needs a target for every input, and this task has none",
                "a task of inputs and targets",
                "set trainer.kind=transport for sequence sets",
            )
        if not isinstance(model, LinearReadout) or not isinstance(model, DynamicalSystem):
            raise ConfigError(
                f"the trainer ridge was given a {type(model).__name__}, which has no linear readout of a carried state",
                "an echo state, Elman, LSTM or GRU network",
                "set trainer.kind=bptt, or choose models.NAME.kind=echo_state",
            )
        if self.choose == "free_run" and data.feedback is None:
            raise ConfigError(
                "trainer.choose is free_run, but this task has no closed loop",
                "a forecasting task",
                "set trainer.choose=one_step",
            )
        if self.choose == "reconstruction":
            check_free_runs(data, "choose", "one_step")
        return RidgeRun(self, model, model, model, data, streams)
