"""Learning to learn: outer steps of MAML on 25 sinusoids, 1-40-40-1, ten examples and ten queries each, on one core.

Three ways to the same second-order gradient: passes forward and back written out for all tasks at once (rnnscope), torch.func's
vmap of a gradient through a gradient, and autograd with a graph, task after task. CPU seconds; equality is checked first.

    OMP_NUM_THREADS=1 python benchmarks/bench_meta.py
"""

import time
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from rnnscope.core.interfaces import Signature
from rnnscope.core.random import Streams
from rnnscope.core.task_family import draw_episodes
from rnnscope.models.mlp import MLP
from rnnscope.numerics.batched_mlp import outer_gradient
from rnnscope.tasks.sinusoids import SineFamily, Sinusoids
from rnnscope.training.meta import Meta

RATE, TASKS, SHOTS = 0.01, 25, 10
Parameters = list[Tensor]


def network() -> list[tuple[Tensor, Tensor]]:
    """Weights of a 1-40-40-1 perceptron."""
    model = MLP().build(Signature(1, 1), torch.Generator().manual_seed(0))
    return [(weight.detach(), bias.detach()) for weight, bias in model.dense_layers()]


def loss(parameters: Parameters, x: Tensor, y: Tensor) -> Tensor:
    """One task's mean squared error."""
    first, a, second, b, third, c = parameters
    return ((torch.relu(torch.relu(x @ first.T + a) @ second.T + b) @ third.T + c) - y).square().mean()


def after_steps(parameters: Parameters, steps: int, x: Tensor, y: Tensor, u: Tensor, v: Tensor) -> Tensor:
    """A task's query loss after inner steps, differentiable through them (torch.func)."""
    own = parameters
    for _ in range(steps):
        own = [p - RATE * g for p, g in zip(own, torch.func.grad(loss)(own, x, y), strict=True)]
    return loss(own, u, v)


def by_vmap(parameters: Parameters, steps: int, data: tuple[Tensor, ...]) -> Parameters:
    """torch.func: the gradient of the mean over tasks, tasks in a batch."""

    def mean(own: Parameters) -> Tensor:
        return torch.func.vmap(lambda *task: after_steps(own, steps, *task))(*data).mean()

    found: Parameters = torch.func.grad(mean)(parameters)
    return found


def by_loop(parameters: Parameters, steps: int, data: tuple[Tensor, ...]) -> Parameters:
    """Autograd with a graph of the inner gradients, one task after the other."""
    free = [p.clone().requires_grad_() for p in parameters]
    total = torch.zeros(())
    for x, y, u, v in zip(*data, strict=True):
        own = free
        for _ in range(steps):
            slopes = torch.autograd.grad(loss(own, x, y), own, create_graph=True)
            own = [p - RATE * g for p, g in zip(own, slopes, strict=True)]
        total = total + loss(own, u, v) / TASKS
    return list(torch.autograd.grad(total, free))


def seconds(run: Callable[[], object], repeats: int) -> float:
    """CPU seconds of one call, the best of three rounds."""
    run()
    best = np.inf
    for _ in range(3):
        started = time.process_time()
        for _ in range(repeats):
            run()
        best = min(best, (time.process_time() - started) / repeats)
    return best


def main() -> None:
    """Print the comparison."""
    torch.set_num_threads(1)
    layers = network()
    flat = [t for pair in layers for t in pair]
    part = draw_episodes(SineFamily((0.1, 5.0), (0.0, np.pi), (-5.0, 5.0)), TASKS, 2 * SHOTS, np.random.default_rng(0))
    support, query = part.part(0, SHOTS), part.part(SHOTS)
    print(f"one outer gradient, {TASKS} tasks, {SHOTS} + {SHOTS} points, 1-40-40-1 (CPU ms)")
    for steps in (1, 3, 5):
        weights = [0.0] * steps + [1.0]
        written = [t for pair in outer_gradient(layers, support, query, [RATE] * 3, weights).gradient for t in pair]
        for other in (by_vmap, by_loop):
            error = max(
                float((a - b).abs().max()) for a, b in zip(written, other(flat, steps, (*support, *query)), strict=True)
            )
            assert error < 1e-3 * max(float(t.abs().max()) for t in written), error
        own = seconds(lambda w=weights: outer_gradient(layers, support, query, [RATE] * 3, w), 100)
        batched = seconds(lambda s=steps: by_vmap(flat, s, (*support, *query)), 20)
        looped = seconds(lambda s=steps: by_loop(flat, s, (*support, *query)), 3)
        print(
            f"  {steps} inner steps: written out {1e3 * own:.2f}, vmap {1e3 * batched:.2f} ({batched / own:.1f}x), "
            f"task after task {1e3 * looped:.1f} ({looped / own:.0f}x)"
        )
    data = Sinusoids(num_train=20).prepare(Streams(0))
    for steps in (1, 3):
        model = MLP().build(data.signature, torch.Generator().manual_seed(0))
        started = time.process_time()
        for _ in Meta(iterations=4000, inner_steps=steps, learning_rate=5e-3).start(model, data, Streams(1)):
            pass
        print(f"training, 4000 outer steps with {steps} inner: {time.process_time() - started:.1f} CPU s")


if __name__ == "__main__":
    main()
