"""One run of gradient training: an iterator of epochs that can be stopped, saved and resumed bit for bit."""

import math
import time
from collections.abc import Iterator
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from rnnscope.core.errors import ConfigError, TrainingError
from rnnscope.core.forcing import forced_rollout, forcing_weights
from rnnscope.core.interfaces import (
    Batch,
    Checkpoint,
    Record,
    SequenceModel,
    SupervisedData,
    TrainingOutcome,
    TrainingRun,
)
from rnnscope.core.random import Streams, numpy_state, set_numpy_state
from rnnscope.core.spec import Fraction, NonNegative, NonNegativeFloat, Positive, PositiveFloat, Probability, Spec
from rnnscope.core.system import DynamicalSystem, LinearReadout, rollout
from rnnscope.training.choosing import BestWeights
from rnnscope.training.free_run_distance import CRITERION, free_run_distance
from rnnscope.training.looking import EVALUATION_BATCH, add_counts, counted_rates, look_at
from rnnscope.training.passes import free_running_outputs, solve_readout
from rnnscope.training.rates import (
    ForcingSchedule,
    MomentumSchedule,
    Schedule,
    epoch_chunks,
    forcing_strength,
    learning_rate,
    rising_momentum,
    stretches,
)
from rnnscope.training.saving import below, optimizer_tensors, plain_values, restore_optimizer, restore_values

EXPLODED = 1e8
FREE_RUN = ("free_run", "free_run_d_stsp", "free_run_d_h")


class GradientSettings(Spec):
    """The fields of `BPTT`, explained there."""

    epochs: Positive = 100
    batch_size: Positive = 32
    optimizer: Literal["adam", "adamw", "sgd"] = "adam"
    learning_rate: PositiveFloat = 1e-3
    momentum: NonNegativeFloat = 0.9
    nesterov: bool = True
    momentum_schedule: MomentumSchedule = "constant"
    low_momentum: Probability = 0.0
    betas: tuple[Fraction, Fraction] = (0.9, 0.999)
    weight_decay: NonNegativeFloat = 0.0
    schedule: Schedule = "constant"
    final_rate: PositiveFloat = 0.01
    warmup: Probability = 0.0
    clip_norm: NonNegativeFloat = 1.0
    retries: NonNegative = 0
    count: Literal["last", "all"] = "last"
    burn_in: NonNegative = 0
    free_run: NonNegative = 0
    teacher_forcing: Probability = 0.0
    sampling_ramp: Probability = 0.0
    forcing: Probability = 1.0
    forcing_interval: NonNegative = 0
    forcing_schedule: ForcingSchedule = "constant"
    forcing_start: Probability = 1.0
    input_noise: NonNegativeFloat = 0.0
    carry_state: bool = False
    truncation: Positive = 100
    epoch_steps: NonNegative = 0
    readout_start: Literal["random", "ridge"] = "random"
    readout_ridge: NonNegativeFloat = 1e-6
    freeze_recurrent: bool = False
    patience: NonNegative = 0
    choose_by: Literal["loss", "reconstruction"] = "loss"
    choose_every: Positive = 1
    restore_best: bool = True
    watch_test: bool = True
    checkpoint_every: Positive = 50
    checkpoint_seconds: PositiveFloat = 60.0


class GradientRun(TrainingRun):
    """Back-propagation through time on one model.

    Args:
        settings: fields of `BPTT`. model: trained in place. data: windows or streams and their loss.
        streams: `order` for shuffling, `noise` for dropout, input noise and scheduled sampling.
    """

    def __init__(self, settings: GradientSettings, model: SequenceModel, data: SupervisedData, streams: Streams) -> None:
        self.settings, self.model, self.data = settings, model, data
        self.total_epochs = settings.epochs
        self.device = next(model.parameters()).device
        self.order = streams.at("order").numpy()
        self.noise = streams.at("noise").torch(self.device)
        self.epoch, self.updates, self.seconds, self.last_loss = 0, 0, 0.0, math.inf
        self.halvings, self.retried = 0, 0
        self.best = BestWeights(model, restore=settings.restore_best)
        self.stopped = "completed"
        self.train, self.validation, self.monitor = data.train, data.validation, data.monitor
        self.feedback = data.feedback
        if settings.freeze_recurrent:
            for name, parameter in model.named_parameters():
                parameter.requires_grad_(any(part in ("head", "taps") for part in name.split(".")))  # also within a wrapper
        self.trained = [p for p in model.parameters() if p.requires_grad]
        self.optimizer = self._optimizer()

    def _optimizer(self) -> torch.optim.Optimizer:
        s = self.settings
        if s.optimizer == "sgd":
            return torch.optim.SGD(
                self.trained,
                lr=s.learning_rate,
                momentum=s.momentum,
                nesterov=s.nesterov and s.momentum > 0,
                weight_decay=s.weight_decay,
            )
        kind = torch.optim.Adam if s.optimizer == "adam" else torch.optim.AdamW
        return kind(self.trained, lr=s.learning_rate, betas=s.betas, weight_decay=s.weight_decay, fused=True)

    def __iter__(self) -> Iterator[Record]:
        if self.epoch == 0 and self.settings.readout_start == "ridge":
            self._start_readout()
        while self.epoch < self.total_epochs and self.stopped == "completed":
            started = time.perf_counter()
            self.model.train()
            before = self.checkpoint() if self.retried < self.settings.retries else None
            values = self._stream_epoch() if self.settings.carry_state else self._window_epoch()
            self.model.eval()
            if self.validation is not None:
                values |= look_at(self.model, self.data, self.validation, "validation", EVALUATION_BATCH)
            if not _sound(values, before):
                if before is None:
                    raise self._explosion(values)
                self._retry(before)
                continue
            if self.monitor is not None and self.settings.watch_test:
                values |= look_at(self.model, self.data, self.monitor, "test", EVALUATION_BATCH)
            self.epoch += 1
            if self.settings.choose_by == "reconstruction":
                values |= self._free_run()
            self._choose(values)
            self.seconds += time.perf_counter() - started
            yield Record(self.epoch, {**values, "seconds": self.seconds})

    # one epoch

    def _window_epoch(self) -> dict[str, float]:
        size = self.settings.batch_size
        order = self._drawn()
        starts = range(0, len(order), size)
        total = torch.zeros((), device=self.device)
        norm = torch.zeros((), device=self.device)
        tallies: list[Tensor] = []
        for step, start in enumerate(starts):
            chosen = order[start : start + size]
            batch = self.train.gather(chosen)
            progress = (self.epoch + step / len(starts)) / self.total_epochs
            loss = self._window_loss(batch, tallies, progress)
            norm += self._update(loss, progress)
            total += loss.detach() * len(chosen)
        return self._values(total / len(order), norm / len(starts)) | counted_rates(self.data, tallies, "train")

    def _drawn(self) -> np.ndarray:
        """Numbers of an epoch's windows in order: each once, or as many batches as `epoch_steps` asks for."""
        windows = np.arange(len(self.train), dtype=np.int32)
        wanted = self.settings.epoch_steps * self.settings.batch_size
        passes = [self.order.permutation(windows) for _ in range(max(1, -(-wanted // len(windows))))]
        return np.concatenate(passes)[: wanted or None]

    def _window_loss(self, batch: Batch, tallies: list[Tensor], progress: float) -> Tensor:
        s = self.settings
        inputs = self._noisy(batch.inputs)
        kept = 1 if s.count == "last" else max(1, inputs.shape[1] - s.burn_in)
        if s.free_run and self.feedback is not None:
            outputs = free_running_outputs(
                self._system(), inputs, self.feedback, s.free_run, self._teacher_probability(), self.noise
            )
        elif self._is_forced():
            outputs, _ = self._forced(self._system(), inputs, None, progress)
        else:
            outputs = self.model(inputs, batch.lengths, rng=self.noise, last=kept)
        outputs, targets = outputs[:, -kept:], batch.targets[:, -kept:]
        add_counts(self.data, outputs.detach(), targets, tallies)
        return self.data.loss(outputs, targets)

    def _stream_epoch(self) -> dict[str, float]:
        s, system = self.settings, self._system()
        total, norm = torch.zeros((), device=self.device), torch.zeros((), device=self.device)
        counted, steps = 0, 0
        pieces = []
        tallies: list[Tensor] = []
        for stream in self.data.streams():
            count, length = stretches(len(stream.inputs), s.batch_size, s.truncation)
            inputs = stream.inputs[-count * length :].reshape(count, length, -1)
            pieces.append((inputs, stream.targets[-count * length :].reshape(count, length, -1)))
        order = epoch_chunks([x.shape[1] for x, _ in pieces], s.truncation, self.epoch, s.epoch_steps)
        state = None
        for number, piece in order:
            inputs, targets = pieces[number]
            if state is None or piece.start == 0:
                state = system.initial_state(len(inputs))
            progress = (self.epoch + steps / len(order)) / self.total_epochs
            outputs, state = self._passed(system, self._noisy(self.data.encode(inputs[:, piece])), state, progress)
            state = state.detach()
            first = max(0, s.burn_in - piece.start)
            wanted = targets[:, piece][:, first:]
            if not wanted.numel():
                continue
            loss = self.data.loss(outputs[:, first:], wanted)
            add_counts(self.data, outputs[:, first:].detach(), wanted, tallies)
            norm += self._update(loss, progress)
            steps += 1
            weight = wanted.shape[0] * wanted.shape[1]
            total += loss.detach() * weight
            counted += weight
        return self._values(total / max(1, counted), norm / max(1, steps)) | counted_rates(self.data, tallies, "train")

    def _passed(self, system: DynamicalSystem, inputs: Tensor, state: Tensor, progress: float) -> tuple[Tensor, Tensor]:
        """Outputs along a piece of a stream, and the state after it."""
        if self._is_forced():
            return self._forced(system, inputs, state, progress)
        run = rollout(system, inputs, state, keep_states=False, rng=self.noise)
        return run.outputs, run.final_state

    def _is_forced(self) -> bool:
        s = self.settings
        return s.forcing < 1 or (s.forcing_schedule != "constant" and s.forcing_start < 1)

    def _forced(self, system: DynamicalSystem, inputs: Tensor, state: Tensor | None, progress: float) -> tuple[Tensor, Tensor]:
        """A pass in which the network reads a mixture of true inputs and its own; the true ones alone while a window warms up."""
        s = self.settings
        assert self.feedback is not None
        strength = forcing_strength(s.forcing_schedule, s.forcing_start, s.forcing, progress)
        weights = forcing_weights(inputs.shape[1], strength, s.forcing_interval)
        if state is None:
            weights[: s.burn_in] = 1.0
        return forced_rollout(system, inputs, weights, self.feedback, state)

    def _update(self, loss: Tensor, progress: float) -> Tensor:
        """One optimiser step; returns the gradient norm before clipping."""
        s = self.settings
        rate = learning_rate(s.schedule, s.learning_rate, s.final_rate, s.warmup, progress, self.halvings)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
            if s.momentum_schedule == "rising":
                group["momentum"] = rising_momentum(self.updates, s.momentum, progress >= 1 - s.low_momentum)
        self.updates += 1
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(self.trained, s.clip_norm if s.clip_norm else math.inf)
        self.optimizer.step()
        return norm.detach()

    def _noisy(self, inputs: Tensor) -> Tensor:
        if not self.settings.input_noise:
            return inputs
        return inputs + self.settings.input_noise * torch.randn(inputs.shape, generator=self.noise, device=inputs.device)

    def _teacher_probability(self) -> float:
        s = self.settings
        done = self.epoch / self.total_epochs
        risen = 1.0 if not s.sampling_ramp else min(1.0, done / s.sampling_ramp)
        return 1.0 + risen * (s.teacher_forcing - 1.0)

    def _system(self) -> DynamicalSystem:
        systems = self.model.systems()
        if len(systems) != 1:
            raise ConfigError(
                f"a model with {len(systems)} recurrent systems",
                "exactly one for free_run or carry_state",
                "switch these trainer fields off",
            )
        return next(iter(systems.values()))

    def _start_readout(self) -> None:
        if not isinstance(self.model, LinearReadout):
            raise ConfigError(
                "trainer.readout_start is ridge, but this model has no linear readout",
                "an Elman, LSTM, GRU or echo state network",
                "set trainer.readout_start=random",
            )
        if self.data.signature.output_size != self.train.gather(np.zeros(1, np.int32)).targets.shape[-1]:
            raise ConfigError(
                "trainer.readout_start is ridge, but the outputs are not the targets (a Gaussian head, logits of classes)",
                "outputs that are trained to equal their targets",
                "set trainer.readout_start=random",
            )
        burn_in = self.settings.burn_in if self.settings.count == "all" or self.settings.carry_state else None
        solve_readout(self.model, self.model, self.data, self.settings.readout_ridge, burn_in, self.settings.carry_state)

    # looking and choosing

    def _free_run(self) -> dict[str, float]:
        """How far free runs are from what was recorded, each so many epochs and at the end; NaN in between."""
        if self.epoch % self.settings.choose_every and self.epoch < self.total_epochs:
            return dict.fromkeys(FREE_RUN, math.nan)
        return free_run_distance(self._system(), self.data)

    def _values(self, loss: Tensor, norm: Tensor) -> dict[str, float]:
        self.last_loss = float(loss)
        return {
            "train_loss": self.last_loss,
            "learning_rate": self.optimizer.param_groups[0]["lr"],
            "gradient_norm": float(norm),
        }

    def _retry(self, before: Checkpoint) -> None:
        """Back to where the epoch began, and on at half the rate."""
        retried = self.retried + 1
        self.restore(before)
        self.retried, self.halvings = retried, self.halvings + 1

    def _explosion(self, values: dict[str, float]) -> TrainingError:
        s, norm = self.settings, values["gradient_norm"]
        again = f" (after {self.retried} retries, each at half the rate)" if self.retried else ""
        return TrainingError(
            f"training left the finite numbers in epoch {self.epoch + 1}{again}: "
            f"loss {values['train_loss']:.3g}, mean gradient norm {norm:.3g}",
            "a finite loss below 1e8",
            f"set trainer.learning_rate={s.learning_rate / 10:g} (it is {s.learning_rate:g})"
            + (", trainer.clip_norm=1" if not 0 < s.clip_norm <= 1 else f", trainer.clip_norm={s.clip_norm / 10:g}")
            + ("; inputs scaled to sd 1 help: task.scaling=standard" if norm > 1e3 else ""),
        )

    def _choose(self, values: dict[str, float]) -> None:
        """Keep a copy of the best weights; stop when they have not become better for `patience` epochs."""
        s = self.settings
        score = values.get("validation_loss" if s.choose_by == "loss" else "free_run", math.nan)
        if math.isnan(score):
            return
        if not self.best.look(score, self.epoch):
            if s.schedule == "plateau" and self.best.stale % max(1, s.patience // 2 or 10) == 0:
                self.halvings += 1
            if s.patience and self.best.stale >= s.patience:
                self.stopped = f"early stopping: no better {self._criterion()} for {s.patience} epochs"

    def finish(self) -> TrainingOutcome:
        for parameter in self.model.parameters():
            parameter.requires_grad_(True)
        self.model.eval()
        reason = self.stopped
        if self.retried:
            reason += f", after {self.retried} {'retry' if self.retried == 1 else 'retries'} at half the learning rate each"
        return self.best.finish(reason, self.epoch, self.last_loss, self._criterion(), self.seconds)

    def _criterion(self) -> str:
        """What the weights are chosen by."""
        return "validation loss" if self.settings.choose_by == "loss" else CRITERION

    # saving and resuming

    def checkpoint(self) -> Checkpoint:
        tensors = {f"model.{name}": t.detach().cpu().clone() for name, t in self.model.state_dict().items()}
        tensors |= self.best.tensors() | optimizer_tensors(self.optimizer)
        tensors["noise"] = self.noise.get_state()
        return Checkpoint(tensors, {**plain_values(self, _CARRIED), **self.best.values(), "order": numpy_state(self.order)})

    def restore(self, checkpoint: Checkpoint) -> None:
        tensors, values = checkpoint.tensors, checkpoint.values
        self.model.load_state_dict(below(tensors, "model."))
        self.best.restore(tensors, values, self.device)
        restore_optimizer(self.optimizer, tensors)
        self.noise.set_state(tensors["noise"])
        restore_values(self, _CARRIED, values)
        set_numpy_state(self.order, values["order"])


def _sound(values: dict[str, float], before: Checkpoint | None) -> bool:
    """Whether an epoch's loss and gradients are finite, and the loss below 1e8; the loss after its last update too, where one can go back."""
    losses = [values["train_loss"], *([values.get("validation_loss", 0.0)] if before is not None else [])]
    return math.isfinite(values["gradient_norm"]) and all(math.isfinite(x) and abs(x) < EXPLODED for x in losses)


_CARRIED = ("epoch", "updates", "seconds", "halvings", "retried", "last_loss", "stopped")
