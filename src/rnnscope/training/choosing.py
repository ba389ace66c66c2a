"""Which weights of a training run are kept: those of the smallest score so far."""

import math
from typing import Any

import torch
from torch import Tensor

from rnnscope.core.interfaces import SequenceModel, TrainingOutcome
from rnnscope.training.saving import below, copied, plain_values, restore_values

_CARRIED = ("best_score", "best_epoch", "stale")


class BestWeights:
    """The best score of a run, its epoch, and a real copy of its weights where they are to be restored.

    Args:
        model: whose weights. restore: whether a copy is kept and put back at the end.

    Attributes:
        best_score, best_epoch: infinity and 0 before any score. stale: how many scores since were no better.
        weights: the copy; None where there is none.
    """

    def __init__(self, model: SequenceModel, *, restore: bool) -> None:
        self.model, self.restores = model, restore
        self.best_score, self.best_epoch, self.stale = math.inf, 0, 0
        self.weights: dict[str, Tensor] | None = None

    def look(self, score: float, epoch: int) -> bool:
        """Whether a score is the best so far; then the weights as they are now are copied."""
        if not score < self.best_score:
            self.stale += 1
            return False
        self.best_score, self.best_epoch, self.stale = score, epoch, 0
        if self.restores:
            self.weights = copied(self.model)
        return True

    def finish(self, reason: str, epoch: int, last_loss: float, criterion: str, seconds: float) -> TrainingOutcome:
        """Put the copy into the model, and say how training went: by its last training loss where nothing was scored."""
        if self.weights is not None:
            self.model.load_state_dict(self.weights)
        if not math.isfinite(self.best_score):
            return TrainingOutcome(reason, epoch, last_loss, "training loss", seconds)
        return TrainingOutcome(reason, epoch if self.weights is None else self.best_epoch, self.best_score, criterion, seconds)

    def tensors(self) -> dict[str, Tensor]:
        """The copy as best.<name>, for a checkpoint."""
        return {f"best.{name}": tensor.cpu() for name, tensor in (self.weights or {}).items()}

    def values(self) -> dict[str, Any]:
        """Score, epoch and count, for a checkpoint."""
        return plain_values(self, _CARRIED)

    def restore(self, tensors: dict[str, Tensor], values: dict[str, Any], device: torch.device) -> None:
        """Back to a checkpoint."""
        self.weights = {k: v.to(device, copy=True) for k, v in below(tensors, "best.").items()} or None
        restore_values(self, _CARRIED, values)
