"""Teach a noise-driven network the distribution of a set of symbol sequences, by optimal transport and by likelihood.

Transport: Torre et al. (2025), arXiv 2510.25674, with the Sinkhorn divergence of Feydy et al. (2019) and straight-through
Gumbel symbols (Jang, Gu, Poole 2017). Likelihood: the outputs of such a network are independent given its state path, so that
P(y_1 … y_L) is a mean over paths, estimated by Monte Carlo.
"""

from typing import Literal

from rnnscope.core.errors import ConfigError
from rnnscope.core.interfaces import SequenceModel, TrainerSpec, TrainingData
from rnnscope.core.random import Streams
from rnnscope.core.spec import Fraction, NonNegative, NonNegativeFloat, Positive, PositiveFloat, Probability, Spec
from rnnscope.markov.emulation import EmulationData
from rnnscope.training.rates import Schedule
from rnnscope.training.transport_run import TransportRun

MATRIX_LIMIT = 2 * 2**30


class Stage(Spec):
    """One stretch of training.

    Fields:
        objective: `transport`: the Sinkhorn divergence between the network's symbols and a batch of sequences.
            `likelihood`: -log P of symbols at a few times under the network, in nats per symbol; see
            `rnnscope.training.sequence_losses.word_likelihood`. It sees memory at once, where transport of long sequences waits on a
            plateau, and as a proper score it does not drift to too little variety.
        epochs: passes over the training sequences. batch_size: sequences (and network paths) per step.
        num_steps: length of the sequences and roll-outs; the task's when None.
        word: symbols whose joint likelihood is taken, at times drawn anew at each step. More of them need more paths.
            words: so many sets of times per step, the first of them from the start of the sequences.
        debias: of transport. `self`: the Sinkhorn divergence, S = OT(x, y) - OT(x, x)/2 - OT(y, y)/2 of two batches, the study's; on
            batches it can settle at too little variety, a value below that of the truth itself. `independent`: the minibatch energy
            form (Salimans et al. 2018), OT(x, y) - OT(x, x')/2 - …, with x and x' the halves of the batch; its minimum is where
            the distributions agree.
        carry: share of the paths that start where paths of the step before ended, so that the network stays the same far from its start.
        learning_rate, schedule, final_rate, warmup: as in `BPTT`, over this stage.
        state_penalty: strength of mean log(1 + |h|²/S) at the end of the roll-outs, against states that grow.
        temperature: τ of the Gumbel softmax. output: straight_through (symbols forward, softmax backward) or soft.
        blur: of the Sinkhorn divergence, p = 2: ε = blur² in units of mismatching steps.
    """

    objective: Literal["transport", "likelihood"] = "transport"
    epochs: Positive = 500
    batch_size: Positive = 4096
    num_steps: Positive | None = None
    word: Positive = 4
    words: Positive = 2
    debias: Literal["self", "independent"] = "self"
    carry: Fraction = 0.0
    learning_rate: PositiveFloat = 1e-3
    schedule: Schedule = "constant"
    final_rate: PositiveFloat = 0.03
    warmup: Probability = 0.0
    state_penalty: NonNegativeFloat = 0.0
    temperature: PositiveFloat = 1.0
    output: Literal["straight_through", "soft"] = "straight_through"
    blur: PositiveFloat = 0.2


class TransportSettings(Spec):
    """The fields of `Transport`, explained there."""

    stages: tuple[Stage, ...] = (Stage(),)
    betas: tuple[Fraction, Fraction] = (0.9, 0.9)
    clip_norm: NonNegativeFloat = 0.9
    weight_decay: NonNegativeFloat = 0.0
    averaging: Fraction = 0.0
    accuracy: Literal["training", "balanced", "exact"] = "training"
    validation_size: Positive = 1024
    validation_blur: PositiveFloat = 0.2
    validate_every: Positive = 1
    select: Probability = 0.5
    keep_epochs: NonNegative = 12
    checkpoint_every: Positive = 50
    checkpoint_seconds: PositiveFloat = 60.0


class Transport(TransportSettings, TrainerSpec):
    """Match the distribution of sequences.

    Fields:
        stages: one after the other; see `Stage`.
        betas, weight_decay: of Adam. clip_norm: largest gradient norm; 0 switches clipping off.
        averaging: decay per step of an exponential average of the weights, which is what is validated and kept; 0: the weights themselves.
        accuracy: of the Sinkhorn gradient: `training` (10 % off, fast), `balanced` (3 %) or `exact`.
        validation_size: sequences in the validation divergence; validation_blur: its blur. validate_every: epochs between validations.
        select: weights are chosen among the last share of the epochs only, at the full length of the task: by the validation
            divergence, of which a value below the HMM's own floor counts as much as one above, since it means too little variety.
        keep_epochs: at so many epochs, spread over the training, the weights are kept for a look at the development; 0: none.
        checkpoint_every: epochs between checkpoints; checkpoint_seconds: or this long.
    """

    def start(self, model: SequenceModel, data: TrainingData, streams: Streams) -> TransportRun:
        if not isinstance(data, EmulationData):
            raise ConfigError(
                "the trainer transport needs sets of symbol sequences, and this task has none",
                "a task of kind hidden_markov",
                "set trainer.kind=bptt for inputs with targets",
            )
        if not self.stages:
            raise ConfigError("trainer.stages is empty", "at least one stage", "give stages: [{objective: transport}]")
        for number, stage in enumerate(self.stages):
            self._check(stage, f"trainer.stages.{number}", data)
        return TransportRun(self, model, data, streams)

    def _check(self, stage: Stage, where: str, data: EmulationData) -> None:
        if stage.num_steps is not None and not 2 <= stage.num_steps <= data.num_steps:
            raise ConfigError(
                f"{where}.num_steps is {stage.num_steps}", f"2 … {data.num_steps}, the task's length", "shorten the stage"
            )
        if stage.batch_size > len(data.train):
            raise ConfigError(
                f"{where}.batch_size is {stage.batch_size}, but there are {len(data.train)} training sequences",
                "at most as many as there are",
                f"set {where}.batch_size={len(data.train)}, or raise task.num_sequences",
            )
        if stage.batch_size < 2:
            raise ConfigError(f"{where}.batch_size is 1", "at least 2", "a distribution needs several sequences: take 512")
        needed = 4 * stage.batch_size**2
        if needed > MATRIX_LIMIT:
            largest = int((MATRIX_LIMIT / 4) ** 0.5)
            raise ConfigError(
                f"{where}.batch_size is {stage.batch_size}: one matrix between its sequences and the network's takes {needed / 2**30:.1f} GiB",
                f"at most {MATRIX_LIMIT / 2**30:.0f} GiB",
                f"set {where}.batch_size={largest} or less",
            )
        if stage.objective == "likelihood" and stage.word > (stage.num_steps or data.num_steps):
            raise ConfigError(f"{where}.word is {stage.word}", "at most the length of the sequences", "take 4, say")
