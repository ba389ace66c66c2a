"""Back-propagation through time: on windows, with part of each window run freely, or along the series with a carried state.

Werbos (1990) for back-propagation through time, Williams & Peng (1990) for its truncated form, Bengio et al. (2015) for
scheduled sampling.
"""

import numpy as np

from rnnscope.core.errors import ConfigError
from rnnscope.core.interfaces import SequenceModel, SupervisedData, TrainerSpec, TrainingData
from rnnscope.core.random import Streams
from rnnscope.core.system import only_system
from rnnscope.training.free_run_distance import check_free_runs
from rnnscope.training.gradient_run import GradientRun, GradientSettings


class BPTT(GradientSettings, TrainerSpec):
    """Gradient descent on the loss of a task, by back-propagation through time.

    Fields:
        epochs, batch_size: passes over the training windows, windows per step.
        optimizer: adam, adamw or sgd. learning_rate: at the start. momentum, nesterov: of sgd. betas: of adam(w).
            momentum_schedule: of sgd: constant, or rising (to `momentum` as 1 - 1/(2(⌊t/250⌋ + 1)) over updates t, Sutskever et al.
            2013). low_momentum: share of the training at its end in which a rising momentum is at most 0.9.
            weight_decay: L2 strength (decoupled for adamw).
        schedule: of the learning rate: constant, cosine (to `final_rate` times the start), hold (constant for
            half of the time, then cosine), exponential (to the same), step
            (a tenth at 1/2 and 3/4 of the epochs), plateau (halved after `patience`/2 epochs without a better score).
        warmup: share of the training over which the rate rises from 0.
        clip_norm: largest gradient norm; 0 switches clipping off.
        retries: how often training that leaves the finite numbers goes back to where the epoch began, and on at half the
            learning rate; told as the reason why training ended.
        count: which steps of a window are in the loss: `last`, or `all` but the first `burn_in` (which are read as they are,
            whatever `forcing` says: components that nothing observes begin at zero and need them).
        free_run: last steps of each window in which the network reads its own outputs; the loss is then that of a multi-step
            forecast. teacher_forcing: probability of reading the true value there all the same; it falls from 1 to this
            number over the share `sampling_ramp` of the training (scheduled sampling).
        forcing: α, how much of each next input is true: the network reads α x + (1 - α) times the input that its own output makes
            (generalised teacher forcing, Hess et al. 2023); 1: the true one alone. On chaotic systems .05 to .3 keeps gradients
            in bounds over long windows; with count=all. forcing_interval: read the true input alone at every so-many-th step
            (0: at the first alone); with forcing=0 that is sparse forcing, or multiple shooting from what was observed.
            forcing_schedule: constant, or from `forcing_start` to `forcing` over the training: linear, cosine.
        input_noise: sd of Gaussian noise added to the inputs (these are scaled to sd 1).
        carry_state: truncated back-propagation along the series: `batch_size` contiguous stretches in parallel, chunks of
            `truncation` steps, the state carried and detached.
        epoch_steps: optimiser steps per epoch; 0: one pass. Windows are drawn anew each epoch; with carry_state, the next epoch goes
            on where it ended, from the initial state, and around. So training takes the same time for short and long series, and
            progress shows.
        readout_start: `ridge` solves the linear readout by ridge regression (strength `readout_ridge`) before the first step.
        freeze_recurrent: train the readout only.
        patience: epochs without a better validation loss before stopping; 0: never. restore_best: end with the weights of the
            best validation loss (a copy kept aside), where there is a validation part.
        choose_by: what best means: `loss`, or `reconstruction`: every `choose_every` epochs the network runs freely, and is compared
            with the training and validation parts, D_stsp + D_H of `rs.reconstruction_scores`. For models of dynamical
            systems, whose free runs a one-step loss does not tell.
        watch_test: also record the loss of the test part each epoch. It is never used to choose anything.
        checkpoint_every: epochs between checkpoints; checkpoint_seconds: or this long.
    """

    def start(self, model: SequenceModel, data: TrainingData, streams: Streams) -> GradientRun:
        if not isinstance(data, SupervisedData):
            raise ConfigError(
                "the trainer bptt needs a target for every input, and this task has none",
                "a task of inputs and targets, or another trainer",
                "set trainer.kind=transport for sequence sets",
            )
        if self.momentum_schedule != "constant" and self.optimizer != "sgd":
            raise ConfigError(
                f"trainer.momentum_schedule is set, but trainer.optimizer is {self.optimizer}, which has no momentum to raise",
                "sgd",
                "set trainer.optimizer=sgd",
            )
        if self.free_run and data.feedback is None:
            raise ConfigError(
                "trainer.free_run is set, but this task has no closed loop", "a forecasting task", "set trainer.free_run=0"
            )
        self._check_forcing(model, data)
        if self.count == "all" and not self.carry_state and _asks_once(data):
            raise ConfigError(
                "trainer.count is all, but this task asks for one answer per sequence, at its end",
                "last",
                "set trainer.count=last",
            )
        if self.carry_state and not data.streams():
            raise ConfigError(
                "trainer.carry_state is set, but this task has no long series to carry a state along",
                "a forecasting task",
                "set trainer.carry_state=false",
            )
        return GradientRun(self, model, data, streams)

    def _check_forcing(self, model: SequenceModel, data: SupervisedData) -> None:
        forced = self.forcing < 1 or (self.forcing_schedule != "constant" and self.forcing_start < 1)
        if forced and data.feedback is None:
            raise ConfigError(
                f"trainer.forcing is {self.forcing:g}, but this task has no closed loop",
                "a forecasting task, in which outputs can become inputs",
                "set trainer.forcing=1",
            )
        if forced and self.free_run:
            raise ConfigError(
                f"trainer.forcing is {self.forcing:g} and trainer.free_run is {self.free_run}",
                "one of the two ways to let the network read its own outputs",
                "set trainer.free_run=0, or trainer.forcing=1",
            )
        if self.choose_by == "reconstruction":
            only_system(model)  # or says that there are several
            check_free_runs(data, "choose_by", "loss")


def _asks_once(data: SupervisedData) -> bool:
    """Whether a sequence of several steps has a single target."""
    first = data.train.gather(np.zeros(1, np.int32))
    return first.targets.shape[1] == 1 < first.inputs.shape[1]
