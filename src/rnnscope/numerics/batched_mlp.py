"""Many ReLU perceptrons at once, one per task: losses, gradients, products with the Hessian, and gradients through adaptation.

A perceptron is a list of layers (W, b): z_l = W_l a_{l-1} + b_l, a_l = max(z_l, 0), and the output is z_L. Its loss on a task is the
mean of (z_L - y)² over the task's points and outputs. W is (O, I), shared by all tasks, or (N, O, I), one for each.

ReLU has no curvature, so the loss is curved only by products of layers, and the product of its Hessian with a direction V
is one more pass forward and back (Pearlmutter 1994):

    R z_l = W_l R a_{l-1} + V_l a_{l-1} + v_l,   R δ_{l-1} = on_{l-1} ∘ (W_lᵀ R δ_l + V_lᵀ δ_l),   R g_l = R δ_l a_{l-1}ᵀ + δ_l R a_{l-1}ᵀ

Adaptation is θ_{k+1} = θ_k - r ∘ g(θ_k), so a gradient v with respect to θ_{k+1} is (v - H (r ∘ v)) with respect to θ_k:
second-order MAML (Finn et al. 2017) without a graph of operations. Axes: N tasks, K points, I inputs and O outputs of a layer.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

Layers = list[tuple[Tensor, Tensor]]


@dataclass(frozen=True)
class Tape:
    """What a pass forward leaves for the passes after it.

    Attributes:
        activations: a_0 … a_{L-1}, (N, K, I) each. error: output minus target, (N, K, Y). deltas: dL/dz_l, first layer first.
    """

    activations: list[Tensor]
    error: Float[Tensor, "N K Y"]
    deltas: list[Tensor]

    def losses(self) -> Float[Tensor, " N"]:
        """The mean squared error of each task."""
        return self.error.square().mean((1, 2))


def outputs(layers: Layers, inputs: Float[Tensor, "N K X"]) -> Float[Tensor, "N K Y"]:
    """z_L for the points of every task.

    Example:
        >>> import torch
        >>> double = [(torch.tensor([[2.0]]), torch.zeros(1)), (torch.tensor([[1.0]]), torch.zeros(1))]
        >>> outputs(double, torch.tensor([[[3.0], [-3.0]]])).flatten().tolist()
        [6.0, 0.0]
    """
    return _forward(layers, inputs)[1]


def gradient(layers: Layers, inputs: Float[Tensor, "N K X"], targets: Float[Tensor, "N K Y"]) -> tuple[Tape, Layers]:
    """The tape, and the gradient of every task's loss with respect to its own weights, (N, O, I) and (N, O).

    Args:
        layers: shared or per task. inputs, targets: K points of each task.
    """
    activations, output = _forward(layers, inputs)
    error = output - targets
    delta = error * (2.0 / (error.shape[1] * error.shape[2]))
    deltas, found = [delta], [_outer(delta, activations[-1])]
    for index in range(len(layers) - 1, 0, -1):
        delta = _times(delta, layers[index][0]).mul_(activations[index] > 0)
        deltas.append(delta)
        found.append(_outer(delta, activations[index - 1]))
    return Tape(activations, error, deltas[::-1]), found[::-1]


def hessian_product(layers: Layers, tape: Tape, direction: Layers) -> Layers:
    """The Hessian of every task's loss at `layers` times a direction of its own, (N, O, I) and (N, O).

    Args:
        layers: where the tape was written. tape: from `gradient`. direction: (N, O, I) and (N, O) per layer.
    """
    moved: list[Tensor | None] = [None]
    change = None
    for index, ((weight, _), (along, bias)) in enumerate(zip(layers, direction, strict=True)):
        change = torch.baddbmm(bias[:, None], tape.activations[index], along.mT)
        before = moved[index]
        if before is not None:
            change += _applied(before, weight)
        if index < len(layers) - 1:
            change.mul_(tape.activations[index + 1] > 0)
            moved.append(change)
    assert change is not None
    ripple = change * (2.0 / (tape.error.shape[1] * tape.error.shape[2]))
    found = []
    for index in range(len(layers) - 1, -1, -1):
        weight, bias = _outer(ripple, tape.activations[index])
        before = moved[index]
        if before is not None:
            weight += torch.bmm(tape.deltas[index].mT, before)
        found.append((weight, bias))
        if index:
            ripple = _times(ripple, layers[index][0]) + torch.bmm(tape.deltas[index], direction[index][0])
            ripple.mul_(tape.activations[index] > 0)
    return found[::-1]


def adapted(layers: Layers, found: Layers, rates: list[float]) -> Layers:
    """One gradient step, θ - r ∘ g, with a rate per layer; a layer whose rate is 0 stays as it is, shared where it was."""
    return [
        (w - rate * gw, b - rate * gb) if rate else (w, b) for (w, b), (gw, gb), rate in zip(layers, found, rates, strict=True)
    ]


def adaptation(
    layers: Layers,
    inputs: Float[Tensor, "N K X"],
    targets: Float[Tensor, "N K Y"],
    rates: list[float],
    steps: tuple[int, ...],
    queries: Float[Tensor, "N Q X"],
) -> list[Float[Tensor, "N Q Y"]]:
    """Outputs at the queries after each of the given numbers of gradient steps (ascending) on the task's points."""
    found = []
    for number in range(max(steps) + 1):
        if number in steps:
            found.append(outputs(layers, queries))
        if number < max(steps):
            layers = adapted(layers, gradient(layers, inputs, targets)[1], rates)
    return found


@dataclass(frozen=True)
class Outer:
    """An outer gradient.

    Attributes:
        gradient: of the mean objective over tasks with respect to the shared start. losses: (S + 1, N), the query loss after
            0 … S inner steps, NaN where it was not asked for. support: (N,), loss on the task's own points before any step.
    """

    gradient: Layers
    losses: Float[Tensor, "S N"]
    support: Float[Tensor, " N"]


def outer_gradient(
    layers: Layers,
    support: tuple[Tensor, Tensor],
    query: tuple[Tensor, Tensor],
    rates: list[float],
    weights: list[float],
    *,
    second_order: bool = True,
) -> Outer:
    """The gradient of Σ_k w_k L_query(θ_k) through k = 0 … S gradient steps on the support (Finn et al. 2017, eq. 1).

    Args:
        layers: the shared start θ_0. support, query: (inputs (N, K, X), targets (N, K, Y)). rates: of the inner steps, one per layer.
        weights: w_0 … w_S; their number less one is S. second_order: without it dθ_{k+1}/dθ_k is taken for 1 (first-order MAML).
    """
    steps = len(weights) - 1
    starts, tapes = [layers], []
    own: list[Layers | None] = []
    for _ in range(steps):
        tape, slope = gradient(starts[-1], *support)
        tapes.append(tape)
        starts.append(adapted(starts[-1], slope, rates))
    losses = support[0].new_full((steps + 1, len(support[0])), torch.nan)
    for number, weight in enumerate(weights):
        own.append(None)
        if weight:
            tape, slope = gradient(starts[number], *query)
            losses[number] = tape.losses()
            own[number] = [(weight * w, weight * b) for w, b in slope]
    total = own[-1]
    for number in range(steps - 1, -1, -1):
        if second_order and total is not None:
            along = [(rate * w, rate * b) for (w, b), rate in zip(total, rates, strict=True)]
            curved = hessian_product(starts[number], tapes[number], along)
            total = [(w - cw, b - cb) for (w, b), (cw, cb) in zip(total, curved, strict=True)]
        here = own[number]
        if here is not None:
            total = here if total is None else [(w + ow, b + ob) for (w, b), (ow, ob) in zip(total, here, strict=True)]
    assert total is not None
    return Outer([(w.mean(0), b.mean(0)) for w, b in total], losses, tapes[0].losses() if tapes else losses[0])


def _forward(layers: Layers, inputs: Tensor) -> tuple[list[Tensor], Tensor]:
    activations = [inputs]
    for weight, bias in layers[:-1]:
        activations.append(_affine(activations[-1], weight, bias).relu_())
    return activations, _affine(activations[-1], *layers[-1])


def _affine(points: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    if weight.ndim == 2:
        return torch.addmm(bias, points.reshape(-1, points.shape[-1]), weight.mT).view(*points.shape[:-1], -1)
    return torch.baddbmm(bias[:, None], points, weight.mT)


def _applied(points: Tensor, weight: Tensor) -> Tensor:
    """Wᵀ from the right: what a layer makes of a change of its inputs."""
    return points @ weight.mT


def _times(delta: Tensor, weight: Tensor) -> Tensor:
    """δ W: back through a layer."""
    return delta @ weight


def _outer(delta: Tensor, points: Tensor) -> tuple[Tensor, Tensor]:
    """Σ_K δ aᵀ and Σ_K δ: the gradient of a layer, per task."""
    return torch.bmm(delta.mT, points), delta.sum(1)
