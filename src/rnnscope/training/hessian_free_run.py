"""One run of Hessian-free optimisation: an iterator of outer steps that can be stopped, saved and resumed bit for bit."""

import dataclasses
import math
import time
from collections.abc import Iterator
from typing import Annotated, Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from rnnscope.core.errors import TrainingError
from rnnscope.core.interfaces import (
    Batch,
    Checkpoint,
    Record,
    SequenceModel,
    SupervisedData,
    TrainingOutcome,
    TrainingRun,
)
from rnnscope.core.linearised import flat_weights, linearise, set_weights
from rnnscope.core.padding import real_steps
from rnnscope.core.random import Streams, numpy_state, set_numpy_state
from rnnscope.core.spec import Fraction, NonNegative, NonNegativeFloat, Positive, PositiveFloat, Spec
from rnnscope.numerics.conjugate_gradients import Path, conjugate_gradients
from rnnscope.training.choosing import BestWeights
from rnnscope.training.gauss_newton import GaussNewton, not_convex
from rnnscope.training.looking import EVALUATION_BATCH, look_at
from rnnscope.training.saving import below, plain_values, restore_values

MOST_GRADIENT, LEAST_CURVATURE = 2000, 500  # sequences of a batch, where the fields leave that open
MOST_NUMBERS = 1 << 25  # states times steps of a curvature batch, likewise: its passes keep a dozen arrays of that size
MOST_READ = 1 << 22  # inputs and states that a network reads at a time
DROP, BOOST = 2 / 3, 3 / 2  # of the damping (Martens 2010)
ARMIJO, SHRINK, SMALLEST = 1e-2, 0.8, 1e-2  # of the line search
IN_VAIN = 10  # outer steps in a row without a lower loss before it ends
WIDEST = 100.0  # a reduction ratio beyond this is cut off: the model expected next to nothing


class HessianFreeSettings(Spec):
    """The fields of `HessianFree`, explained there."""

    outer_steps: Positive = 100
    count: Literal["task", "last", "all"] = "task"
    burn_in: NonNegative = 0
    gradient_batch: NonNegative = 0
    curvature_batch: NonNegative = 0
    cg_steps: Positive = 100
    cg_progress: PositiveFloat = 5e-4
    cg_decay: Fraction = 0.95
    damping: PositiveFloat = 0.1
    structural_damping: NonNegativeFloat = 0.1
    probes: NonNegative = 5
    preconditioner_power: Annotated[float, Field(ge=0.0, le=1.0)] = 0.75
    enough: NonNegativeFloat = 0.0
    patience: NonNegative = 0
    restore_best: bool = True
    watch_test: bool = True
    checkpoint_every: Positive = 10
    checkpoint_seconds: PositiveFloat = 60.0


class HessianFreeRun(TrainingRun):
    """Hessian-free optimisation of one model.

    Args:
        settings: fields of `HessianFree`. model: trained in place. data: its training part gives the batches of every outer step.
        streams: `order` for the batches, `probes` for the preconditioner.
    """

    def __init__(self, settings: HessianFreeSettings, model: SequenceModel, data: SupervisedData, streams: Streams) -> None:
        self.settings, self.model, self.data = settings, model, data
        self.total_epochs = settings.outer_steps
        self.device = next(model.parameters()).device
        self.order = streams.at("order").numpy()
        self.probes = streams.at("probes").torch(self.device)
        self.weights = flat_weights(model)
        self.change = torch.zeros_like(self.weights, dtype=torch.float64)
        self.damping, self.in_vain = settings.damping, 0
        self.epoch, self.seconds, self.last_loss = 0, 0.0, math.inf
        self.best = BestWeights(model, restore=settings.restore_best)
        self.stopped = "completed"
        self.train, self.validation, self.monitor = data.train, data.validation, data.monitor
        self.model.eval()

    def __iter__(self) -> Iterator[Record]:
        while self.epoch < self.total_epochs and self.stopped == "completed":
            started = time.perf_counter()
            values = self._advance()
            for part, source in (("validation", self.validation), ("test", self.monitor if self.settings.watch_test else None)):
                if source is not None:
                    values |= look_at(self.model, self.data, source, part, EVALUATION_BATCH)
            self.epoch += 1
            self._choose(values)
            self.seconds += time.perf_counter() - started
            yield Record(self.epoch, {**values, "seconds": self.seconds})

    # one outer step

    def _advance(self) -> dict[str, float]:
        s = self.settings
        drawn = self.order.permutation(np.arange(len(self.train), dtype=np.int32))
        batch = self._gather(drawn[: s.gradient_batch or MOST_GRADIENT])
        value, slope = self._slope(batch)
        curved = self._curvature(self._part(batch, 0, self._curvature_size(batch)))
        path = self._solve(curved, slope)
        proposed = path.iterates[-1]
        expected = float(slope @ proposed) + 0.5 * float(proposed @ curved.product(proposed))
        found, change, reached = self._backtrack(batch, path)
        ratio = self._reduction(reached - value, expected)
        size, after = self._line_search(batch, change, value, found, slope)
        self.weights = self.weights + (size * change).to(self.weights)
        set_weights(self.model, self.weights)
        used = self.damping
        self._adapt(ratio, size, proposed)
        self.last_loss = after
        return {
            "train_loss": after,
            "damping": used,
            "reduction_ratio": ratio,
            "cg_steps": float(path.steps),
            "step_size": size,
            "gradient_norm": float(slope.norm()),
        }

    def _solve(self, curved: GaussNewton, slope: Tensor) -> Path:
        """Conjugate gradients on the damped model, from where they last ended."""
        s, damping = self.settings, self.damping
        scale = torch.ones_like(slope)
        if s.probes:
            scale = (curved.diagonal(s.probes, self.probes) + damping) ** s.preconditioner_power
        path = conjugate_gradients(
            lambda v: curved.product(v, damping * s.structural_damping) + damping * v,
            slope,
            s.cg_decay * self.change,
            scale,
            most=s.cg_steps,
            progress=s.cg_progress,
        )
        if path.end == "negative curvature":
            raise not_convex(path.curvature)
        if path.end == "not finite" or not torch.isfinite(path.iterates[-1]).all():
            raise TrainingError(
                f"conjugate gradients met numbers that are not finite after {path.steps} steps of outer step {self.epoch + 1}",
                "curvature that single precision can hold",
                f"set trainer.damping={100 * damping:.3g} (it is {damping:.3g}), or models.NAME.recurrent_scale to 1 or less: "
                "gradients that explode over the sequence overflow",
            )
        return path

    def _curvature(self, batch: Batch) -> GaussNewton:
        linearised = linearise(self.model, batch.inputs, batch.lengths, batch.counted)
        real = None if batch.lengths is None else real_steps(batch.lengths, batch.inputs.shape[1])
        return GaussNewton(linearised, self.data, batch.targets, real)

    def _backtrack(self, batch: Batch, path: Path) -> tuple[float, Tensor, float]:
        """The first good iterate from the end backwards (Martens 2010): its loss, itself, and the loss of the last one."""
        reached = best = self._loss_at(batch, path.iterates[-1])
        chosen = path.iterates[-1]
        for change in reversed(path.iterates[:-1]):
            found = self._loss_at(batch, change)
            if math.isfinite(best) and not found < best:
                break
            best, chosen = found, change
        return best, chosen, reached

    def _line_search(self, batch: Batch, change: Tensor, value: float, found: float, slope: Tensor) -> tuple[float, float]:
        """The largest of 1, 0.8, 0.64, … at which the loss falls enough, and the loss there; 0 where there is none."""
        size, promised = 1.0, min(0.0, float(slope @ change))
        while not found < value + ARMIJO * size * promised:
            size *= SHRINK
            if size < SMALLEST:
                set_weights(self.model, self.weights)
                return 0.0, value
            found = self._loss_at(batch, size * change)
        return size, found

    def _reduction(self, fallen: float, expected: float) -> float:
        """By how much the loss fell over how much the undamped model said it would."""
        if not math.isfinite(fallen) or expected >= 0:
            return -WIDEST
        return max(-WIDEST, min(WIDEST, fallen / expected))

    def _adapt(self, ratio: float, size: float, proposed: Tensor) -> None:
        """Levenberg and Marquardt's rule; after a step that was refused, more damping still, and a start from nothing."""
        self.damping *= BOOST if ratio < 0.25 else DROP if ratio > 0.75 else 1.0
        if size:
            self.change, self.in_vain = proposed, 0
            return
        self.change, self.in_vain, self.damping = torch.zeros_like(proposed), self.in_vain + 1, self.damping * BOOST**2
        if self.in_vain == IN_VAIN:
            self.stopped = f"no further descent: {IN_VAIN} outer steps in a row found no lower loss, at a damping of up to {self.damping:.3g}"

    # batches and their loss

    def _gather(self, chosen: np.ndarray) -> Batch:
        """Sequences of the training part with the targets that count, those of the last `counted` steps."""
        s, batch = self.settings, self.train.gather(chosen)
        steps = batch.targets.shape[1]
        kept = {"task": min(batch.counted, steps), "last": 1, "all": max(1, steps - s.burn_in)}[s.count]
        targets = batch.targets[:, -kept:]
        if targets.is_floating_point() and batch.lengths is None:  # steps at which no row has a target need no outputs
            asked = torch.isfinite(targets).any(-1).any(0).nonzero()
            kept -= int(asked[0]) if len(asked) else 0
        return dataclasses.replace(batch, targets=targets[:, -kept:], counted=kept)

    def _curvature_size(self, batch: Batch) -> int:
        count, steps = batch.inputs.shape[:2]
        if self.settings.curvature_batch:
            return min(self.settings.curvature_batch, count)
        bearable = MOST_NUMBERS // (steps * self._width())
        return min(count, max(1, min(bearable, max(LEAST_CURVATURE, count // 4))))

    def _width(self) -> int:
        """Numbers per step that a pass keeps."""
        return max(1, sum(system.state_size for system in self.model.systems().values()))

    def _part(self, batch: Batch, start: int, stop: int) -> Batch:
        lengths = None if batch.lengths is None else batch.lengths[start:stop]
        return dataclasses.replace(batch, inputs=batch.inputs[start:stop], targets=batch.targets[start:stop], lengths=lengths)

    def _pieces(self, batch: Batch) -> Iterator[tuple[Batch, float]]:
        """Pieces that memory bears, and each one's share of the targets that count."""
        count, steps, features = batch.inputs.shape
        size = max(1, MOST_READ // (steps * (features + self._width())))
        total = max(1, int(torch.isfinite(batch.targets).sum()))
        for start in range(0, count, size):
            piece = self._part(batch, start, start + size)
            yield piece, int(torch.isfinite(piece.targets).sum()) / total

    def _loss(self, batch: Batch) -> Tensor:
        return self.data.loss(self.model(batch.inputs, batch.lengths, last=batch.counted), batch.targets)

    def _slope(self, batch: Batch) -> tuple[float, Tensor]:
        """The loss and its gradient, float64, at the present weights."""
        value, slope = 0.0, torch.zeros_like(self.change)
        trained = [p for p in self.model.parameters() if p.requires_grad]
        for piece, share in self._pieces(batch):
            loss = self._loss(piece)
            found = torch.autograd.grad(loss, trained, allow_unused=True, materialize_grads=True)
            value += share * float(loss.detach())
            slope += share * torch.cat([g.reshape(-1) for g in found]).double()
        if not math.isfinite(value) or not torch.isfinite(slope).all():
            raise TrainingError(
                f"the loss is {value:.3g} and its gradient's norm {float(slope.norm()):.3g} before outer step {self.epoch + 1}",
                "finite numbers",
                "set models.NAME.recurrent_scale to 1 or less (states or gradients explode over the sequence), or "
                "task.scaling=standard where the inputs are large",
            )
        return value, slope

    @torch.no_grad()
    def _loss_at(self, batch: Batch, change: Tensor) -> float:
        """The loss after a change of the weights; the model is left with them."""
        set_weights(self.model, self.weights + change.to(self.weights))
        found = sum(share * float(self._loss(piece)) for piece, share in self._pieces(batch))
        return found if math.isfinite(found) else math.inf

    # choosing

    def _choose(self, values: dict[str, float]) -> None:
        """Keep a copy of the best weights; stop when the validation loss is good enough, or no better for `patience` steps."""
        s = self.settings
        if "validation_loss" not in values:
            return
        score = values["validation_loss"]
        if not self.best.look(score, self.epoch) and s.patience and self.best.stale >= s.patience:
            self.stopped = f"early stopping: no better validation loss for {s.patience} outer steps"
        if score <= s.enough:
            self.stopped = f"the validation loss is at most {s.enough:g}"

    def finish(self) -> TrainingOutcome:
        self.model.eval()
        return self.best.finish(self.stopped, self.epoch, self.last_loss, "validation loss", self.seconds)

    # saving and resuming

    def checkpoint(self) -> Checkpoint:
        tensors = {f"model.{name}": t.detach().cpu().clone() for name, t in self.model.state_dict().items()}
        tensors |= self.best.tensors() | {"change": self.change.cpu().clone(), "probes": self.probes.get_state()}
        return Checkpoint(tensors, {**plain_values(self, _CARRIED), **self.best.values(), "order": numpy_state(self.order)})

    def restore(self, checkpoint: Checkpoint) -> None:
        tensors, values = checkpoint.tensors, checkpoint.values
        self.model.load_state_dict(below(tensors, "model."))
        self.weights = flat_weights(self.model)
        self.best.restore(tensors, values, self.device)
        self.change = tensors["change"].to(self.device, copy=True)
        self.probes.set_state(tensors["probes"])
        restore_values(self, _CARRIED, values)
        set_numpy_state(self.order, values["order"])


_CARRIED = ("epoch", "seconds", "last_loss", "stopped", "damping", "in_vain")
