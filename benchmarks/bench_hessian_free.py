"""Gauss-Newton products: passes written out for a batch of sequences against automatic differentiation, on one core.

What a product J'(H(J v)) costs, in forward passes of the same network (torch's own kernel, no gradient), in one gradient, and beside two
ways without passes of our own: a backward pass and a pass through it over graphs that are built once (what rnnscope falls back to),
and torch.func's linearize and vjp over the same loop of steps. That all of them give the same numbers is checked first. CPU seconds.

    OMP_NUM_THREADS=1 python benchmarks/bench_hessian_free.py [--quick]
"""

from collections.abc import Callable

import torch
from measure import arguments, environment, interleave, ratio, table
from torch import Tensor
from torch.func import functional_call, linearize, vjp

import rnnscope as rs
from rnnscope.core.linearised import AutomaticLinearised, Linearised, flat_weights, linearise, outputs_and_states
from rnnscope.core.random import Streams
from rnnscope.models.recurrent_systems import RecurrentSystem
from rnnscope.tasks.long_range import Adding
from rnnscope.training.gauss_newton import GaussNewton

STEPS, UNITS = 100, 100


class Plain(torch.nn.Module):
    """The loop of steps as a module's forward, for torch.func."""

    def __init__(self, network: RecurrentSystem) -> None:
        super().__init__()
        self.network = network

    def forward(self, inputs: Tensor) -> Tensor:
        return outputs_and_states(self.network, inputs, None, 1)[0]


class Functional(Linearised):
    """By torch.func, as one would write it today."""

    has_states = False

    def __init__(self, network: RecurrentSystem, inputs: Tensor) -> None:
        module = Plain(network)
        self.weights = {name: p.detach() for name, p in module.named_parameters()}

        def run(weights: dict[str, Tensor]) -> Tensor:
            found: Tensor = functional_call(module, weights, (inputs,))
            return found

        self.outputs, self.forth = linearize(run, self.weights)
        _, self.back = vjp(run, self.weights)

    def push(self, change: Tensor) -> tuple[Tensor, None]:
        parts = change.split([w.numel() for w in self.weights.values()])
        named = {n: part.reshape(w.shape) for part, (n, w) in zip(parts, self.weights.items(), strict=True)}
        return self.forth(named), None

    def pull(self, on_outputs: Tensor, on_states: Tensor | None = None) -> Tensor:
        (found,) = self.back(on_outputs, retain_graph=True)
        return torch.cat([part.reshape(-1) for part in found.values()])


def contestants(spec: rs.Elman | rs.GRU | rs.LSTM, count: int, functional: bool) -> dict[str, Callable[[], object]]:
    """One product in each way, one forward pass and one gradient, over the same batch."""
    data = Adding(length=STEPS, num_train=count, num_validation=1, num_test=1, num_longer=0).prepare(Streams(0))
    network = spec.build(data.signature, torch.Generator().manual_seed(0)).eval()
    inputs, targets = data.train.inputs, data.train.targets[:, -1:]
    ways = {"written out": linearise(network, inputs, None, 1), "twice backward": AutomaticLinearised(network, inputs, None, 1)}
    if functional:
        ways["linearize, vjp"] = Functional(network, inputs)
    curved = {name: GaussNewton(way, data, targets) for name, way in ways.items()}
    direction = torch.randn(len(flat_weights(network)), generator=torch.Generator().manual_seed(1))
    wanted = curved["written out"].product(direction)
    for name, one in curved.items():
        torch.testing.assert_close(one.product(direction), wanted, rtol=1e-3, atol=1e-3 * float(wanted.abs().max()), msg=name)

    def forward() -> None:
        with torch.no_grad():
            network(inputs, last=1)

    def gradient() -> None:
        network.zero_grad()
        data.loss(network(inputs, last=1), targets).backward()

    products = {name: (lambda one=one: one.product(direction)) for name, one in curved.items()}
    with_states = {"written out, with structural damping": lambda: curved["written out"].product(direction, 0.1)}
    return {"forward pass": forward, "gradient": gradient, **products, **with_states}


def main() -> None:
    """Print a table per cell."""
    options = arguments(str(__doc__))
    count, rounds = (50, options.rounds or 3) if options.quick else (500, options.rounds or 7)
    print(environment())
    specs = {"tanh": rs.Elman, "GRU": rs.GRU, "LSTM": rs.LSTM}
    for name, cls in specs.items():
        found = interleave(contestants(cls(hidden_size=UNITS, num_layers=1), count, name == "tanh"), rounds)
        print(f"{name}, {UNITS} units, {count} sequences of {STEPS} steps (CPU ms)")
        forward = found["forward pass"].cpu
        rows = [
            [
                what,
                f"{1e3 * sorted(times.cpu)[len(times.cpu) // 2]:.0f}",
                ratio(times.cpu, forward),
                ratio(times.cpu, found["written out"].cpu),
            ]
            for what, times in found.items()
        ]
        table(["one", "ms", "in forward passes", "in products written out"], rows)


if __name__ == "__main__":
    main()
