"""One run of learning to learn: an iterator of records that can be stopped, saved and resumed bit for bit."""

import math
import time
from collections.abc import Iterator
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor

from rnnscope.core.errors import TrainingError
from rnnscope.core.interfaces import Checkpoint, Record, SequenceModel, TrainingOutcome, TrainingRun
from rnnscope.core.random import Streams, numpy_state, set_numpy_state
from rnnscope.core.spec import NonNegativeFloat, Positive, PositiveFloat, Spec
from rnnscope.core.task_family import AdaptsByGradient, Episodes, FamilyData
from rnnscope.numerics.batched_mlp import Layers, adaptation, adapted, gradient, outer_gradient
from rnnscope.training.rates import Schedule, learning_rate
from rnnscope.training.saving import below, copied, optimizer_tensors, plain_values, restore_optimizer, restore_values

LOOKED_AT = 10  # gradient steps through which validation tasks are followed
WORSE, MOST_SETBACKS = 10.0, 8  # a validation error so many times the best is a setback; how many are borne


class MetaSettings(Spec):
    """The fields of `Meta`, explained there."""

    algorithm: Literal["maml", "anil", "reptile", "pretrain"] = "maml"
    order: Literal[1, 2] = 2
    iterations: Positive = 4000
    meta_batch: Positive = 25
    shots: Positive | None = None
    queries: Positive = 10
    inner_rate: PositiveFloat = 0.01
    inner_steps: Annotated[int, Field(ge=1, le=100)] = 1
    every_step: bool = False
    optimizer: Literal["adam", "sgd"] = "adam"
    learning_rate: PositiveFloat = 1e-3
    schedule: Schedule = "cosine"
    final_rate: PositiveFloat = 0.01
    clip_norm: NonNegativeFloat = 10.0
    try_rates: tuple[PositiveFloat, ...] = ()
    record_every: Positive = 100
    checkpoint_every: Positive = 20
    checkpoint_seconds: PositiveFloat = 60.0


class MetaRun(TrainingRun):
    """Meta-learning of one perceptron.

    Of the validation tasks, the mean error over 1 … 10 gradient steps and over the numbers of shots chooses the weights: a start
    that is good after one step and diverges by the tenth is not kept. Where that error is not finite, or ten times the best, the
    best weights are put back and the outer rate is halved.

    Args:
        settings: fields of `Meta`. model: a perceptron, trained in place. data: of which tasks are drawn.
        streams: `tasks`, for drawing them.
    """

    def __init__(self, settings: MetaSettings, model: SequenceModel, data: FamilyData, streams: Streams) -> None:
        assert isinstance(model, AdaptsByGradient)
        self.settings, self.model, self.data = settings, model, data
        self.total_epochs = -(-settings.iterations // settings.record_every)
        self.device = next(model.parameters()).device
        self.tasks = streams.at("tasks").numpy()
        self.epoch, self.iteration, self.seconds, self.setbacks = 0, 0, 0.0, 0
        self.best_score, self.best_epoch, self.stopped = math.inf, 0, "completed"
        self.best: dict[str, Tensor] = {}
        depth = len(model.dense_layers())
        only_head = settings.algorithm == "anil"
        self.rates = [0.0 if only_head and index < depth - 1 else settings.inner_rate for index in range(depth)]
        model.set_inner_rates(self.rates)
        self.parameters = [t for pair in model.dense_layers() for t in pair]
        kind = torch.optim.Adam if settings.optimizer == "adam" else torch.optim.SGD
        self.optimizer: torch.optim.Optimizer = kind(self.parameters, lr=settings.learning_rate, fused=True)

    def __iter__(self) -> Iterator[Record]:
        s = self.settings
        while self.epoch < self.total_epochs:
            started = time.perf_counter()
            values: dict[str, float] = {}
            stop = min(self.iteration + s.record_every, s.iterations)
            count = stop - self.iteration
            loss, norm, kept = 0.0, 0.0, 0
            while self.iteration < stop:
                one, size = self._outer_step()
                self.iteration += 1
                if math.isfinite(one):
                    loss, norm, kept = loss + one, norm + size, kept + 1
            values["train_loss"], values["gradient_norm"] = loss / max(1, kept), norm / max(1, kept)
            values["learning_rate"], values["skipped"] = self._rate(), float(count - kept)
            self.epoch += 1
            values |= self._look()
            self.seconds += time.perf_counter() - started
            yield Record(self.epoch, {**values, "seconds": self.seconds})

    # one outer step

    @torch.no_grad()
    def _outer_step(self) -> tuple[float, float]:
        """Loss and gradient norm before clipping; a step whose gradient is not finite is left out, and its loss is NaN."""
        s = self.settings
        if s.algorithm == "reptile":
            found, loss = self._reptile(self._draw(self._shots() * s.inner_steps))
        else:
            found, loss = self._maml(self._draw(self._shots() + s.queries))
        for parameter, slope in zip(self.parameters, [t for pair in found for t in pair], strict=True):
            parameter.grad = slope
        norm = float(torch.nn.utils.clip_grad_norm_(self.parameters, s.clip_norm or math.inf))
        if not math.isfinite(norm):
            return math.nan, math.nan
        for group in self.optimizer.param_groups:
            group["lr"] = self._rate()
        self.optimizer.step()
        return float(loss), norm

    def _maml(self, tasks: Episodes) -> tuple[Layers, Tensor]:
        """The outer gradient and loss of MAML and ANIL; without inner steps, of pre-training."""
        s = self.settings
        shots, steps = self._shots(), s.inner_steps
        if s.algorithm == "pretrain":
            found = outer_gradient(self._layers(), tasks.part(0), tasks.part(0), self.rates, [1.0])
            return found.gradient, found.losses[0].mean()
        weights = [0.0, *[1 / steps] * steps] if s.every_step else [0.0] * steps + [1.0]
        found = outer_gradient(
            self._layers(), tasks.part(0, shots), tasks.part(shots), self.rates, weights, second_order=s.order == 2
        )
        return found.gradient, found.losses[-1].mean()

    def _reptile(self, tasks: Episodes) -> tuple[Layers, Tensor]:
        """(θ_0 - θ_S) / inner rate, each inner step on fresh examples of the task, and the last step's loss."""
        shots, layers = self._shots(), self._layers()
        loss = torch.zeros(())
        for number in range(self.settings.inner_steps):
            tape, slope = gradient(layers, *tasks.part(number * shots, (number + 1) * shots))
            layers, loss = adapted(layers, slope, self.rates), tape.losses().mean()
        return [
            ((w - own_w.mean(0)) / rate, (b - own_b.mean(0)) / rate)
            for (w, b), (own_w, own_b), rate in zip(self._layers(), layers, self.rates, strict=True)
        ], loss

    def _draw(self, num_points: int) -> Episodes:
        return self.data.draw(self.settings.meta_batch, num_points, self.tasks).to(self.device)

    def _shots(self) -> int:
        return self.settings.shots or self.data.shots[-1]

    def _layers(self) -> Layers:
        assert isinstance(self.model, AdaptsByGradient)
        return [(weight.detach(), bias.detach()) for weight, bias in self.model.dense_layers()]

    def _rate(self) -> float:
        s = self.settings
        return (
            learning_rate(s.schedule, s.learning_rate, s.final_rate, 0.0, self.iteration / s.iterations, 0) / 2**self.setbacks
        )

    # looking and choosing

    @torch.no_grad()
    def _errors(self, rates: list[float]) -> Tensor:
        """Mean squared error of every validation task by number of shots and of steps 0 … 10, (K, steps, N)."""
        part, most = self.data.validation, self.data.shots[-1]
        queries, wanted = part.part(most)
        found = []
        for shots in self.data.shots:
            answers = adaptation(self._layers(), *part.part(0, shots), rates, tuple(range(LOOKED_AT + 1)), queries)
            found.append(torch.stack([(a - wanted).square().mean((1, 2)) for a in answers]))
        return torch.stack(found).nan_to_num(nan=math.inf)

    def _look(self) -> dict[str, float]:
        """What becomes of the validation tasks; keep a copy of the best weights, go back to them after a setback."""
        errors = self._errors(self.rates)
        score = float(errors[:, 1:].mean())
        found = {
            "validation_loss": score,
            **{f"validation_step{k}": float(errors[-1, k].mean()) for k in (0, 1, LOOKED_AT)},
            "diverged": float((errors[:, -1] > errors[:, 0]).double().mean()),
        }
        if score < self.best_score:
            self.best_score, self.best_epoch, self.best = score, self.epoch, copied(self.model)
        elif not score < WORSE * self.best_score or not math.isfinite(score):
            self._set_back(score)
        return found | {"setbacks": float(self.setbacks)}

    def _set_back(self, score: float) -> None:
        self.setbacks += 1
        if not self.best or self.setbacks > MOST_SETBACKS:
            s = self.settings
            raise TrainingError(
                f"adaptation diverges: the validation error over ten gradient steps is {score:.3g} "
                f"after {self.iteration} outer steps",
                "an error that stays finite and near the best",
                f"set trainer.inner_rate={s.inner_rate / 10:g} (it is {s.inner_rate:g}), "
                f"or trainer.learning_rate={s.learning_rate / 10:g}",
            )
        self.model.load_state_dict(self.best)

    def finish(self) -> TrainingOutcome:
        assert isinstance(self.model, AdaptsByGradient)
        if self.best:
            self.model.load_state_dict(self.best)
        if self.settings.try_rates:
            tried = {
                rate: float(self._errors([rate if own else 0.0 for own in self.rates])[:, 1:].mean()) for rate in self._tried()
            }
            best = min(tried, key=lambda rate: tried[rate])
            self.model.set_inner_rates([best if own else 0.0 for own in self.rates])
            self.best_score = min(self.best_score, tried[best])
        self.model.eval()
        return TrainingOutcome(
            self.stopped, self.best_epoch, self.best_score, "validation error after adaptation", self.seconds
        )

    def _tried(self) -> tuple[float, ...]:
        return (self.settings.inner_rate, *self.settings.try_rates)

    # saving and resuming

    def checkpoint(self) -> Checkpoint:
        tensors = {f"model.{name}": t.detach().cpu().clone() for name, t in self.model.state_dict().items()}
        tensors |= {f"best.{name}": t.cpu() for name, t in self.best.items()}
        tensors |= optimizer_tensors(self.optimizer)
        return Checkpoint(tensors, {**plain_values(self, _CARRIED), "tasks": numpy_state(self.tasks)})

    def restore(self, checkpoint: Checkpoint) -> None:
        tensors, values = checkpoint.tensors, checkpoint.values
        self.model.load_state_dict(below(tensors, "model."))
        self.best = {k: v.to(self.device, copy=True) for k, v in below(tensors, "best.").items()}
        restore_optimizer(self.optimizer, tensors)
        restore_values(self, _CARRIED, values)
        set_numpy_state(self.tasks, values["tasks"])


_CARRIED = ("epoch", "iteration", "seconds", "setbacks", "best_score", "best_epoch", "stopped")
