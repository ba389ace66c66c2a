"""Integrated gradients: what every input at every step contributed to a logit."""

import copy
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from rnnscope.core.errors import ConfigError, ShapeError
from rnnscope.core.padding import real_steps
from rnnscope.core.system import SequenceModel

Rows = slice | Tensor
BATCH = 512
ROUGH, SMALL = 0.01, 1e-4  # a residual beyond this share of the change, and beyond this, is integrated anew
DEEPEST = 16  # halvings of a cell of the way


@dataclass(frozen=True)
class Attribution:
    """Attributions of one number per sequence.

    Attributes:
        values: (N, T, X), in the unit of the logits; zero behind the end of a sequence.
        residual: (N,), the values' sum less the change of the number from the baseline to the inputs: the error of the
            quadrature. change: (N,), that change.
    """

    values: Float[Tensor, "N T X"]
    residual: Float[Tensor, " N"]
    change: Float[Tensor, " N"]

    @property
    def by_step(self) -> Float[Tensor, "N T"]:
        """Summed over features."""
        return self.values.sum(-1)


def integrated_gradients(
    model: SequenceModel,
    inputs: Float[Tensor, "N T X"],
    lengths: Int[Tensor, " N"] | None,
    targets: Int[Tensor, " N"],
    *,
    baseline: Tensor | None = None,
    num_steps: int = 64,
    against: Int[Tensor, " N"] | None = None,
) -> Attribution:
    """Integrated gradients of a class's logit over the straight way from a baseline to the inputs.

        A_tk = (x_tk - x°_tk) ∫_0^1 ∂F/∂x_tk (x° + α (x - x°)) dα,     Σ_tk A_tk = F(x) - F(x°)

    with Gauss-Legendre quadrature. F is the logit of `targets`, less that of `against` where given. The model is left as it is.
    Where the sum misses F(x) - F(x°) by more than 1 % the integral is taken anew, over cells that are halved where they do not add
    up: the answer of a network that holds a decision tips within a narrow stretch of the way, which few points miss.

    Args:
        model: gives logits (N, K, C), of which the last step counts. inputs: as the model reads them.
        lengths: steps of each row, in 1 … T; None: all T. targets: (N,), numbers of classes.
        baseline: x°, of a shape that broadcasts to the inputs; zeros when None, which is the mean of standardised inputs.
        num_steps: points of the quadrature, 1 to 4096. against: (N,), classes whose logit is taken off: the margin between two.

    Returns:
        An `Attribution`; its residual says whether `num_steps` sufficed.

    Raises:
        ShapeError: arrays that do not fit one another. ConfigError: num_steps out of range.

    Source: Sundararajan, Taly & Yan 2017, Axiomatic attribution for deep networks, eq. 1.

    Example:
        >>> import torch, rnnscope as rs
        >>> from rnnscope.core.interfaces import Signature
        >>> model = rs.Classifier(hidden_size=4).build(Signature(1, 2), torch.Generator().manual_seed(0))
        >>> found = rs.integrated_gradients(model, torch.ones(3, 5, 1), None, torch.tensor([0, 1, 1]))
        >>> found.values.shape, bool(found.residual.abs().max() < 1e-5)
        (torch.Size([3, 5, 1]), True)
    """
    _check(inputs, lengths, targets, baseline, num_steps, against)
    quiet = copy.deepcopy(model).eval().requires_grad_(False)
    like = next(iter(model.parameters()), inputs)
    inputs = inputs.detach().to(like)
    start = torch.zeros_like(inputs) if baseline is None else baseline.detach().to(like).expand_as(inputs)
    if lengths is not None:
        lengths = lengths.to(inputs.device)
        there = real_steps(lengths, inputs.shape[1])[..., None]
        inputs, start = inputs * there, start * there
    wanted = targets.to(inputs.device)
    other = None if against is None else against.to(inputs.device)

    def number(rows: Rows, values: Tensor) -> Tensor:
        logits = quiet(values, None if lengths is None else lengths[rows], last=1)[:, -1]
        chosen = logits.gather(1, wanted[rows, None])[:, 0]
        return chosen if other is None else chosen - logits.gather(1, other[rows, None])[:, 0]

    values = _integrate(number, inputs, start, num_steps)
    with torch.no_grad():
        whole = slice(0, len(inputs))
        change = number(whole, inputs) - number(whole, start)
    missed = (values.sum((1, 2)) - change).abs()
    rough = (missed > ROUGH * change.abs()) & (missed > SMALL)
    for row in rough.nonzero():
        allowed = max(SMALL, ROUGH * float(change[row].abs())) / num_steps
        anew = _integrate_in_cells(number, row, inputs[row[0]], start[row[0]], num_steps, allowed)
        if (anew.sum() - change[row]).abs() < missed[row]:
            values[row] = anew
    return Attribution(values, values.sum((1, 2)) - change, change)


def _integrate(number: Callable[[Rows, Tensor], Tensor], inputs: Tensor, start: Tensor, num_steps: int) -> Tensor:
    """(x - x°) times the mean gradient along the way, in batches of rows."""
    nodes, weights = np.polynomial.legendre.leggauss(num_steps)
    way = inputs - start
    found = torch.zeros_like(inputs)
    for first in range(0, len(inputs), BATCH):
        rows = slice(first, first + BATCH)
        for node, weight in zip((nodes + 1) / 2, weights / 2, strict=True):
            found[rows] += float(weight) * _gradient(number, rows, start[rows] + float(node) * way[rows])
    return found * way


def _gradient(number: Callable[[Rows, Tensor], Tensor], rows: Rows, at: Tensor) -> Tensor:
    at = at.requires_grad_(True)
    # cuDNN's recurrent layers have no gradient in evaluation mode
    with torch.enable_grad(), torch.backends.cudnn.flags(enabled=False):
        return torch.autograd.grad(number(rows, at).sum(), at)[0]


def _integrate_in_cells(
    number: Callable[[Rows, Tensor], Tensor], row: Tensor, end: Tensor, start: Tensor, count: int, tolerance: float
) -> Tensor:
    """The same for one row, over cells that are halved until each adds up to the change of the number over it.

    Args:
        row: its number, (1,). end, start: (T, X). count: of cells at first. tolerance: of a cell's sum.
    """
    way, found = end - start, torch.zeros_like(end)
    left, width = torch.arange(count, dtype=torch.float64, device=end.device) / count, 1 / count
    for halved in range(DEEPEST + 1):
        share, missed = _cells(number, row, start, way, left, width)
        open_ = (missed > tolerance) & (halved < DEEPEST) & (len(left) <= 4 * count)
        found += share[~open_].sum(0)
        left, width = torch.cat([left[open_], left[open_] + width / 2]), width / 2
        if not len(left):
            break
    return found


def _cells(
    number: Callable[[Rows, Tensor], Tensor], row: Tensor, start: Tensor, way: Tensor, left: Tensor, width: float
) -> tuple[Tensor, Tensor]:
    """What cells of one width contribute, (C, T, X), by two points of Gauss in each, and by how much each sum misses the change."""

    def at(share: float) -> Tensor:
        return start + (left + share * width).to(way)[:, None, None] * way

    rows = row.expand(len(left))
    shares = [_gradient(number, rows, at(node)) * (width / 2) * way for node in (0.5 - 0.5 / 3**0.5, 0.5 + 0.5 / 3**0.5)]
    with torch.no_grad():
        change = number(rows, at(1.0)) - number(rows, at(0.0))
    share = shares[0] + shares[1]
    return share, (share.sum((1, 2)) - change).abs()


def _check(
    inputs: Tensor, lengths: Tensor | None, targets: Tensor, baseline: Tensor | None, num_steps: int, against: Tensor | None
) -> None:
    if inputs.ndim != 3 or 0 in inputs.shape:
        raise ShapeError(f"inputs of shape {tuple(inputs.shape)}", "(sequences, steps, features)", "arrange them so")
    for name, one in {"lengths": lengths, "targets": targets, "against": against}.items():
        if one is not None and tuple(one.shape) != (len(inputs),):
            raise ShapeError(f"{name} of shape {tuple(one.shape)}", f"({len(inputs)},)", "give one per sequence")
    if baseline is not None:
        try:
            fits = torch.broadcast_shapes(baseline.shape, inputs.shape) == inputs.shape
        except RuntimeError:
            fits = False
        if not fits:
            raise ShapeError(
                f"a baseline of shape {tuple(baseline.shape)} beside inputs of {tuple(inputs.shape)}",
                "one that broadcasts to the inputs",
                "give (X,), (T, X) or (N, T, X)",
            )
    if not 1 <= num_steps <= 4096:
        raise ConfigError(f"num_steps is {num_steps}", "1 to 4096", "try 64")
