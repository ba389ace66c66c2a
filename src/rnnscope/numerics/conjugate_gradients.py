"""Conjugate gradients as Hessian-free optimisation needs them: preconditioned, begun anywhere, stopped by relative progress.

Minimises φ(x) = ½ x·A x + g·x for a symmetric A > 0 that is known by its products alone (Hestenes & Stiefel 1952). The whole path
matters and not only its end: an earlier iterate may lower the loss more than the minimum of its quadratic model (Martens 2010).
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

End = Literal["solved", "little progress", "most steps", "negative curvature", "not finite"]

SPACING = 1.3  # the saved iterates lie at the powers of this number (Martens 2010)
ROUNDING = 1e-6  # curvature s·A s below this share of |s| |A s| is none in single precision
SOLVED = 1e-12  # a residual so small relative to the slope that nothing is left to do


@dataclass(frozen=True)
class Path:
    """The way that conjugate gradients went.

    Attributes:
        iterates: chosen ones in order, the last one included. values: φ at each.
        steps: how many products were made. end: why it stopped there.
        curvature: s·A s / s·s along the last direction s.
    """

    iterates: tuple[Float[Tensor, " P"], ...]
    values: tuple[float, ...]
    steps: int
    end: End
    curvature: float = math.nan


def conjugate_gradients(
    product: Callable[[Tensor], Tensor],
    slope: Float[Tensor, " P"],
    start: Float[Tensor, " P"] | None = None,
    preconditioner: Float[Tensor, " P"] | None = None,
    *,
    most: int = 250,
    progress: float = 5e-4,
) -> Path:
    """Minimise φ(x) = ½ x·A x + g·x.

    Args:
        product: v -> A v, A symmetric and positive definite. slope: g. start: where to begin, unless φ is lower at 0;
            at 0 when None.
        preconditioner: a diagonal close to A's, > 0; ones when None.
        most: steps at most, >= 1. progress: ε; it stops where the last k = max(10, i/10) of i steps lowered φ by less than the
            share kε (Martens 2010); 0 goes on to the solution.

    Returns:
        A `Path`. Its end is "negative curvature" where A is not positive definite, and "not finite" where a product is NaN or
        infinite; the iterates are then those before.

    Source: Martens (2010), Deep learning via Hessian-free optimization, section 4.

    Example:
        >>> import torch
        >>> matrix = torch.tensor([[4.0, 1.0], [1.0, 3.0]])
        >>> path = conjugate_gradients(lambda v: matrix @ v, torch.tensor([-1.0, -2.0]))
        >>> [round(x, 4) for x in path.iterates[-1].tolist()]
        [0.0909, 0.6364]
    """
    x, residual = torch.zeros_like(slope), -slope
    if start is not None:
        further = -slope - product(start)
        if not 0.5 * float(start @ (slope - further)) > 0:
            x, residual = start.clone(), further
    diagonal = torch.ones_like(slope) if preconditioner is None else preconditioner
    direction = residual / diagonal
    size = float(residual @ direction)
    value = 0.5 * float(x @ (slope - residual))
    saved, values, history, wanted, end, step, curvature = [x.clone()], [value], [value], 1, "most steps", 0, math.nan
    small = SOLVED * float(slope @ (slope / diagonal))
    while step < most:
        if not math.isfinite(size):
            end = "not finite"
            break
        if size <= small:
            end = "solved"
            break
        image = product(direction)
        bend = float(direction @ image)
        if not math.isfinite(bend):
            end = "not finite"
            break
        curvature = bend / float(direction @ direction)
        if bend <= ROUNDING * ROUNDING * float(direction.norm() * image.norm()):
            end = "negative curvature" if bend < -ROUNDING * float(direction.norm() * image.norm()) else "solved"
            break
        step += 1
        x += size / bend * direction
        residual -= size / bend * image
        value = 0.5 * float(x @ (slope - residual))
        history.append(value)
        if step >= wanted:
            saved, values = [*saved, x.clone()], [*values, value]
            wanted = max(step + 1, math.ceil(wanted * SPACING))
        back = max(10, step // 10)
        if progress and step > back and value < 0 and value - history[step - back] > back * progress * value:
            end = "little progress"
            break
        scaled = residual / diagonal
        before, size = size, float(residual @ scaled)
        direction = scaled + size / before * direction
    if step and values[-1] != value:
        saved, values = [*saved, x.clone()], [*values, value]
    first = 1 if len(saved) > 1 else 0  # the start itself is an iterate only where nothing follows
    return Path(tuple(saved[first:]), tuple(values[first:]), step, end, curvature)  # type: ignore[arg-type]
