"""One update of generalised teacher forcing: the fused pass with its hand-derived backward pass, beside eager torch.

    python benchmarks/bench_plrnn.py

Everything that an update takes: forward, loss, backward, clipping, Adam. Eager is the plain loop of `step`, as published code has
it. Float32, one thread; the best of several blocks in turn, so that both meet the same load of the machine.
"""

import time

import torch

from rnnscope.core.forcing import forced_rollout, forcing_weights
from rnnscope.core.interfaces import Signature
from rnnscope.core.loops import identity_feedback
from rnnscope.models.plrnn import PLRNN

SETTINGS = ((3, 50, 100, 16), (3, 50, 200, 16), (3, 100, 200, 16), (20, 100, 100, 16), (20, 50, 30, 16))


def update(fused: bool, size: int, units: int, steps: int, batch: int):
    """One optimiser step as a function."""
    generator = torch.Generator().manual_seed(0)
    network = PLRNN(hidden_size=units).build(Signature(size, size), generator)
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-4, fused=True)
    inputs, targets = (torch.randn(batch, steps, size, generator=generator) for _ in range(2))
    feedback, weights = identity_feedback(size), forcing_weights(steps, 0.15)

    def one() -> None:
        optimizer.zero_grad(set_to_none=True)
        outputs, _ = forced_rollout(network, inputs, weights, feedback, fused=fused)
        torch.nn.functional.mse_loss(outputs, targets).backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 10.0)
        optimizer.step()

    return one


def block(one, count: int) -> float:
    """CPU milliseconds of an update."""
    started = time.process_time()
    for _ in range(count):
        one()
    return 1e3 * (time.process_time() - started) / count


def main() -> None:
    torch.set_num_threads(1)
    print("states  units  steps  batch   eager ms  fused ms  ratio")
    for setting in SETTINGS:
        eager, fused = update(False, *setting), update(True, *setting)
        block(eager, 1), block(fused, 5)
        pairs = [(block(eager, 3), block(fused, 50)) for _ in range(6)]
        slow, fast = (min(times) for times in zip(*pairs, strict=True))
        print(f"{setting[0]:6d} {setting[1]:6d} {setting[2]:6d} {setting[3]:6d} {slow:10.2f} {fast:9.3f} {slow / fast:6.1f}")


if __name__ == "__main__":
    main()
