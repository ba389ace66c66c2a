"""A network to first order in its weights: what Gauss-Newton products are made of.

At weights w the outputs y and the states h of a network over a batch change by dy = J_y dw and dh = J_h dw. `push` applies these
Jacobians to a change of the weights, `pull` their transposes to numbers on outputs and states, so that

    G dw = J_y' H J_y dw = pull(H push(dw))

with H the Hessian of the loss by the outputs: the Gauss-Newton matrix (Schraudolph 2002), of which no entry is ever formed.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from jaxtyping import Float
from torch import Tensor, nn

from rnnscope.core.padding import kept_steps
from rnnscope.core.system import DynamicalSystem, SequenceModel, rollout


class Linearised(ABC):
    """A network to first order at its present weights, over one batch. Weights are flat, in the order of `parameters()`.

    Attributes:
        outputs: (B, K, Y), those of the last K steps of each row.
        has_states: whether states are told, which only a dynamical system has.
    """

    outputs: Float[Tensor, "B K Y"]
    has_states: bool

    @abstractmethod
    def push(self, change: Float[Tensor, " P"]) -> tuple[Float[Tensor, "B K Y"], Float[Tensor, "B T S"] | None]:
        """J dw: the changes of outputs and of states."""

    @abstractmethod
    def pull(self, on_outputs: Float[Tensor, "B K Y"], on_states: Float[Tensor, "B T S"] | None = None) -> Float[Tensor, " P"]:
        """J' u: the gradient by the weights of u·y (and of v·h, where numbers v on the states are given)."""


class Linearisable(ABC):
    """Capability: passes of `Linearised` written out, equal to automatic differentiation and several times faster."""

    @abstractmethod
    def linearised(self, inputs: Float[Tensor, "B T X"], lengths: Tensor | None, last: int) -> Linearised:
        """The network at its present weights over a batch, as `linearise` gives it."""


def linearise(
    model: SequenceModel, inputs: Float[Tensor, "B T X"], lengths: Tensor | None = None, last: int | None = None
) -> Linearised:
    """A model to first order in its weights, by its own passes where it has them.

    Args:
        model: in evaluation mode; changing its weights afterwards invalidates what is returned.
        inputs, lengths, last: as of `SequenceModel.forward`.

    Example:
        >>> import torch, rnnscope as rs
        >>> network = rs.as_system(torch.nn.RNN(1, 3), torch.nn.Linear(3, 1))
        >>> found = linearise(network, torch.ones(2, 5, 1), last=1)
        >>> change = torch.randn(sum(p.numel() for p in network.parameters()))
        >>> outputs, states = found.push(change)
        >>> bool(torch.isclose(found.pull(outputs) @ change, outputs.square().sum(), rtol=1e-3))
        True
    """
    count = inputs.shape[1] if last is None else last
    if isinstance(model, Linearisable):
        return model.linearised(inputs, lengths, count)
    return AutomaticLinearised(model, inputs, lengths, count)


class AutomaticLinearised(Linearised):
    """Any model, by automatic differentiation: `pull` is a backward pass, and `push` one through the backward pass.

    J' u is linear in u, so its derivative by u in the direction dw is J dw. Both graphs are built once and used by every
    product. A dynamical system is run by its own `step`, since fused kernels cannot be differentiated twice.
    """

    def __init__(self, model: SequenceModel, inputs: Tensor, lengths: Tensor | None, last: int) -> None:
        self.weights = [p for p in model.parameters() if p.requires_grad]
        with torch.enable_grad(), plain_kernels():
            outputs, states = outputs_and_states(model, inputs, lengths, last)
            self.outputs, self.has_states = outputs.detach(), states is not None
            self.images = [outputs] if states is None else [outputs, states]
            self.seeds = [torch.zeros_like(image, requires_grad=True) for image in self.images]
            self.back = torch.autograd.grad(
                self.images, self.weights, self.seeds, create_graph=True, allow_unused=True, materialize_grads=True
            )

    def push(self, change: Tensor) -> tuple[Tensor, Tensor | None]:
        parts = change.split([w.numel() for w in self.weights])
        directions = [part.reshape(w.shape) for part, w in zip(parts, self.weights, strict=True)]
        linked = [(b, d) for b, d in zip(self.back, directions, strict=True) if b.requires_grad]
        found = torch.autograd.grad(
            [b for b, _ in linked],
            self.seeds,
            [d for _, d in linked],
            retain_graph=True,
            allow_unused=True,
            materialize_grads=True,
        )
        return found[0], found[1] if self.has_states else None

    def pull(self, on_outputs: Tensor, on_states: Tensor | None = None) -> Tensor:
        given = [on_outputs] if on_states is None else [on_outputs, on_states]
        found = torch.autograd.grad(
            self.images[: len(given)], self.weights, given, retain_graph=True, allow_unused=True, materialize_grads=True
        )
        return torch.cat([part.reshape(-1) for part in found])


def outputs_and_states(
    model: SequenceModel, inputs: Tensor, lengths: Tensor | None, last: int
) -> tuple[Float[Tensor, "B K Y"], Float[Tensor, "B T S"] | None]:
    """Outputs of the last steps, and every state where the model is itself a dynamical system."""
    if not isinstance(model, DynamicalSystem):
        return model(inputs, lengths, last=last), None
    states = rollout(model, inputs, fused=False).states
    assert states is not None
    return model.readout(kept_steps(states, lengths, last)), states


@contextmanager
def plain_kernels() -> Iterator[None]:
    """Without torch's fused LSTM kernel for CPUs, which cannot be differentiated twice."""
    before = torch.backends.mkldnn.enabled
    torch.backends.mkldnn.enabled = False  # type: ignore[assignment]
    try:
        yield
    finally:
        torch.backends.mkldnn.enabled = before


def flat_weights(model: nn.Module) -> Float[Tensor, " P"]:
    """A copy of the weights that are trained, one after the other."""
    return torch.cat([p.detach().reshape(-1) for p in model.parameters() if p.requires_grad])


def set_weights(model: nn.Module, weights: Float[Tensor, " P"]) -> None:
    """Overwrite the weights that are trained."""
    trained = [p for p in model.parameters() if p.requires_grad]
    with torch.no_grad():
        for parameter, part in zip(trained, weights.split([p.numel() for p in trained]), strict=True):
            parameter.copy_(part.reshape(parameter.shape))
