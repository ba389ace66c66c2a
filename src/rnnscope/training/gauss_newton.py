"""The Gauss-Newton matrix of a loss over one batch: its products and its diagonal.

With J the Jacobian of the outputs by the weights and H the Hessian of the loss by the outputs, G = J' H J (Schraudolph 2002). H comes
from the data's own loss by differentiating it twice at the outputs, so that every loss is treated alike; for a squared error it is a
constant, for the cross-entropy of softmax logits diag(p) - p p'.
"""

import math

import torch
from torch import Tensor

from rnnscope.core.errors import TrainingError
from rnnscope.core.interfaces import SupervisedData
from rnnscope.core.linearised import Linearised

MOST_NUMBERS = 1 << 20  # of the blocks of H that a diagonal is estimated from
CONCAVE = 1e-3  # a negative eigenvalue of H beyond this share of the largest one is no rounding error


class GaussNewton:
    """G at a network's present weights.

    Args:
        linearised: the network over the batch. data: whose loss it is. targets: (B, K, Y), or (B, K) numbers of classes.
        real: (B, T), which steps are real, where sequences differ in length.
    """

    def __init__(self, linearised: Linearised, data: SupervisedData, targets: Tensor, real: Tensor | None = None) -> None:
        self.linearised, self.real = linearised, real
        with torch.enable_grad():
            self.outputs = linearised.outputs.detach().requires_grad_(True)
            (self.slope,) = torch.autograd.grad(data.loss(self.outputs, targets), self.outputs, create_graph=True)
        asked = torch.isfinite(targets)
        self.asked = max(1, int((asked if targets.ndim == 2 else asked.any(-1)).sum()))  # steps that the loss is a mean over

    def product(self, change: Tensor, structural: float = 0.0) -> Tensor:
        """G dw, and J_h' J_h dw times `structural`: the change of the states, summed over steps as the loss is."""
        outputs, states = self.linearised.push(change.to(self.outputs.dtype))
        on_states = None
        if structural and states is not None:
            on_states = states * (structural / self.asked)
            if self.real is not None:
                on_states = on_states * self.real[:, :, None]
        return self.linearised.pull(self.curved(outputs), on_states).to(change.dtype)

    def curved(self, vectors: Tensor) -> Tensor:
        """H u for one vector u (B, K, Y)."""
        if not self.slope.requires_grad:
            return torch.zeros_like(vectors)  # a loss linear in the outputs
        (found,) = torch.autograd.grad(self.slope, self.outputs, vectors, retain_graph=True)
        return found

    def diagonal(self, probes: int, rng: torch.Generator) -> Tensor:
        """An unbiased estimate of G's diagonal: the mean square of J' R r over random signs r, R R' = H (Chapelle & Erhan 2011).

        Args:
            probes: how many r. rng: on the network's device.

        Raises:
            TrainingError: H has a negative eigenvalue.
        """
        size = self.outputs.shape[-1]
        count = self.outputs.numel() // size
        kept = min(count, max(1, MOST_NUMBERS // size**2))
        device = self.outputs.device
        rows = (
            torch.randperm(count, generator=rng, device=device)[:kept] if kept < count else torch.arange(count, device=device)
        )
        roots = self._roots(rows) * math.sqrt(count / kept)
        total: Tensor | float = 0.0
        for _ in range(probes):
            signs = torch.randint(0, 2, (kept, size), generator=rng, device=device).to(roots) * 2 - 1
            on = roots.new_zeros(count, size)
            on[rows] = (roots @ signs[:, :, None])[:, :, 0]
            total = total + self.linearised.pull(on.to(self.outputs).reshape(self.outputs.shape)).double().square()
        assert isinstance(total, Tensor)
        return total / probes

    def _roots(self, rows: Tensor) -> Tensor:
        """R with R R' = H for chosen steps, (N, Y, Y) float64: the loss is a mean over steps, so H has a block for each."""
        size = self.outputs.shape[-1]
        blocks = self.outputs.new_empty(len(rows), size, size)
        for column in range(size):
            unit = torch.zeros_like(self.outputs)
            unit[..., column] = 1.0
            blocks[:, :, column] = self.curved(unit).reshape(-1, size)[rows]
        values, vectors = torch.linalg.eigh(blocks.double())
        if float(values.min()) < -CONCAVE * float(values.abs().max()):
            raise not_convex(float(values.min()))
        return vectors * values.clamp(min=0).sqrt()[:, None, :]


def not_convex(curvature: float) -> TrainingError:
    """The refusal of a loss whose curvature by the outputs is negative."""
    return TrainingError(
        f"the loss is not convex in the network's outputs: its curvature there goes down to {curvature:.3g}",
        "a squared error or a cross-entropy, which Hessian-free optimisation needs",
        "set task.head=point where the task has a head, or trainer.kind=bptt",
    )
