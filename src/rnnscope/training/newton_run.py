"""One run of Newton's method or L-BFGS on a small model: an iterator of steps that can be stopped, saved and resumed."""

import math
import time
from collections.abc import Callable, Iterator
from typing import Literal

import numpy as np
import torch
from torch import Tensor
from torch.func import functional_call

from rnnscope.core.errors import TrainingError
from rnnscope.core.interfaces import (
    Batch,
    BatchSource,
    Checkpoint,
    Record,
    SequenceModel,
    SupervisedData,
    TrainingOutcome,
    TrainingRun,
)
from rnnscope.core.spec import NonNegativeFloat, Positive, PositiveFloat, Spec
from rnnscope.training.saving import plain_values, restore_values

MOST_WEIGHTS = 1000  # of a model whose Hessian is formed
MEMORY = 20  # pairs of steps and gradients that L-BFGS keeps
SEPARATED = "no optimum: the loss falls for ever while the weights grow without bound (the classes are separated)"
STILL = 1e-4  # a step relative to the weights that counts as none


class NewtonSettings(Spec):
    """The fields of `Newton`, explained there."""

    method: Literal["newton", "lbfgs"] = "newton"
    iterations: Positive = 100
    tolerance: PositiveFloat = 1e-8
    l2: NonNegativeFloat = 0.0
    damping: NonNegativeFloat = 1e-12
    checkpoint_every: Positive = 20


class NewtonRun(TrainingRun):
    """Descent by whole steps; everything is computed in float64, and the model's weights are set from it.

    Args:
        settings: fields of `Newton`. model: trained in place. data: all of its training part is used in every step.
    """

    def __init__(self, settings: NewtonSettings, model: SequenceModel, data: SupervisedData) -> None:
        self.settings, self.model, self.data = settings, model, data
        self.total_epochs = settings.iterations
        self.shapes = {name: parameter.shape for name, parameter in model.named_parameters()}
        self.buffers = {name: b.double() if b.is_floating_point() else b for name, b in model.named_buffers()}
        self.weights = torch.cat([p.detach().double().reshape(-1) for p in model.parameters()])
        bias = [torch.full((s.numel(),), float("bias" not in name)) for name, s in self.shapes.items()]
        self.penalty = settings.l2 * torch.cat(bias).double().to(self.weights.device)
        self.train = self._whole(data.train)
        self.steps: list[Tensor] = []
        self.changes: list[Tensor] = []
        self.epoch, self.seconds, self.score, self.stopped, self.flat = 0, 0.0, math.inf, "", 0
        self.criterion = "validation loss" if data.validation is not None else "training loss"

    def __iter__(self) -> Iterator[Record]:
        while self.epoch < self.total_epochs and not self.stopped:
            started = time.perf_counter()
            values = self._advance()
            self.epoch += 1
            values |= self._look()
            self.seconds += time.perf_counter() - started
            yield Record(self.epoch, {**values, "seconds": self.seconds})

    # one step

    def _advance(self) -> dict[str, float]:
        value, slope = self._slope(self.weights)
        if not math.isfinite(value):
            raise TrainingError(
                f"the loss is {value} in iteration {self.epoch + 1}",
                "a finite loss",
                "set task.scaling=standard, or trainer.l2=0.01",
            )
        change = self._newton(slope) if self.settings.method == "newton" else self._quasi_newton(slope)
        if float(change @ slope) <= 0:  # no way down: the plain gradient is one
            change = slope
        size, lower = self._halved(value, change, slope)
        before, self.weights = self.weights, self.weights - size * change
        after, new_slope = self._slope(self.weights)
        if self.settings.method == "lbfgs":
            self._remember(self.weights - before, new_slope - slope)
        self._judge(after, new_slope, size * change, lower)
        return {
            "train_loss": after,
            "gradient_norm": float(new_slope.norm()),
            "weight_norm": float(self.weights.norm()),
            "step_norm": size * float(change.norm()),
        }

    def _newton(self, slope: Tensor) -> Tensor:
        curved = torch.autograd.functional.hessian(self._objective, self.weights)
        curved = curved + self.settings.damping * torch.eye(len(slope), dtype=slope.dtype, device=slope.device)
        return torch.linalg.lstsq(curved.cpu(), slope.cpu()[:, None]).solution[:, 0].to(slope.device)

    def _quasi_newton(self, slope: Tensor) -> Tensor:
        """The two-loop recursion (Nocedal & Wright 2006, algorithm 7.4)."""
        pairs = list(zip(self.steps, self.changes, strict=True))
        change, shares = slope.clone(), []
        for step, gradient in reversed(pairs):
            share = (step @ change) / (gradient @ step)
            change = change - share * gradient
            shares.append(share)
        if pairs:
            change = change * (pairs[-1][0] @ pairs[-1][1]) / (pairs[-1][1] @ pairs[-1][1])
        else:
            change = change / max(1.0, float(slope.norm()))
        for (step, gradient), share in zip(pairs, reversed(shares), strict=True):
            change = change + step * (share - (gradient @ change) / (gradient @ step))
        return change

    def _remember(self, step: Tensor, change: Tensor) -> None:
        if float(step @ change) > 1e-12 * float(step.norm() * change.norm()):
            self.steps, self.changes = [*self.steps, step][-MEMORY:], [*self.changes, change][-MEMORY:]

    def _halved(self, value: float, change: Tensor, slope: Tensor) -> tuple[float, bool]:
        """The largest of 1, 1/2, 1/4, … at which the loss falls enough (Armijo), and whether there is one."""
        size, expected = 1.0, float(change @ slope)
        while size > 1e-10:
            with torch.no_grad():
                if float(self._objective(self.weights - size * change)) <= value - 1e-4 * size * expected:
                    return size, True
            size /= 2
        return 0.0, False

    def _judge(self, value: float, slope: Tensor, step: Tensor, lower: bool) -> None:
        """Has it arrived, and is there anywhere to arrive? Where the slope has vanished twice, an optimum lets the steps vanish too."""
        self.flat = self.flat + 1 if float(slope.abs().max()) < self.settings.tolerance else 0
        moving = float(step.norm()) > STILL * float(self.weights.norm())
        growing = float(self.weights @ step) < 0  # the weights moved by minus the step
        if self.flat and not moving:
            self.stopped = "the optimum is reached"
        elif self.flat > 1:
            self.stopped = SEPARATED if growing else "the optimum is reached"
        elif not lower:
            self.stopped = "no further descent in this precision"

    # the loss

    def _objective(self, weights: Tensor) -> Tensor:
        return self._loss(weights, self.train) + 0.5 * (self.penalty * weights.square()).sum()

    def _slope(self, weights: Tensor) -> tuple[float, Tensor]:
        free = weights.clone().requires_grad_(True)
        value = self._objective(free)
        (slope,) = torch.autograd.grad(value, free)
        return float(value.detach()), slope

    def _loss(self, weights: Tensor, batch: Batch) -> Tensor:
        return self.data.loss(self._outputs(weights, batch), batch.targets[:, -batch.counted :])

    def _outputs(self, weights: Tensor, batch: Batch) -> Tensor:
        named, start = dict(self.buffers), 0
        for name, shape in self.shapes.items():
            named[name] = weights[start : start + shape.numel()].reshape(shape)
            start += shape.numel()
        found: Tensor = functional_call(self.model, named, (batch.inputs, batch.lengths), {"last": batch.counted})
        return found

    def _whole(self, source: BatchSource) -> Batch:
        batch = source.gather(np.arange(len(source)))
        targets = batch.targets.double() if batch.targets.is_floating_point() else batch.targets
        return Batch(batch.inputs.double(), targets, batch.counted, batch.lengths)

    # looking

    @torch.no_grad()
    def _look(self) -> dict[str, float]:
        """Losses, and what the data counts, on the training, validation and test part."""
        found: dict[str, float] = {}
        parts: dict[str, Callable[[], Batch]] = {"train": lambda: self.train}
        for name, source in (("validation", self.data.validation), ("test", self.data.monitor)):
            if source is not None:
                parts[name] = lambda source=source: self._whole(source)  # type: ignore[misc]
        for name, whole in parts.items():
            batch = whole()
            outputs, targets = self._outputs(self.weights, batch), batch.targets[:, -batch.counted :]
            found[f"{name}_loss"] = float(self.data.loss(outputs, targets))
            tally = self.data.tally(outputs, targets)
            if tally is not None:
                found |= {f"{name}_{key}": rate for key, rate in self.data.rates(tally).items()}
        self.score = found.get("validation_loss", found["train_loss"])
        return found

    def finish(self) -> TrainingOutcome:
        start = 0
        with torch.no_grad():
            for parameter in self.model.parameters():
                piece = self.weights[start : start + parameter.numel()]
                parameter.copy_(piece.reshape(parameter.shape))
                start += parameter.numel()
        self.model.eval()
        reason = self.stopped or f"not converged in {self.total_epochs} iterations"
        return TrainingOutcome(reason, self.epoch, self.score, self.criterion, self.seconds)

    # saving and resuming

    def checkpoint(self) -> Checkpoint:
        tensors = {"weights": self.weights.cpu().clone()}
        if self.steps:
            tensors |= {"steps": torch.stack(self.steps).cpu(), "changes": torch.stack(self.changes).cpu()}
        return Checkpoint(tensors, plain_values(self, _CARRIED))

    def restore(self, checkpoint: Checkpoint) -> None:
        device = self.weights.device
        self.weights = checkpoint.tensors["weights"].to(device, copy=True)
        if "steps" in checkpoint.tensors:
            self.steps = list(checkpoint.tensors["steps"].to(device, copy=True))
            self.changes = list(checkpoint.tensors["changes"].to(device, copy=True))
        restore_values(self, _CARRIED, checkpoint.values)


_CARRIED = ("epoch", "seconds", "score", "stopped", "flat")
