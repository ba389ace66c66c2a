"""Whole-sequence passes of piecewise-linear networks, with their gradients: tensors around the compiled loops."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import once_differentiable

from rnnscope.numerics.plrnn_kernels import forced_backward, forced_forward, pad_weights, run_free

FORMS = {"shallow": 0, "clipped": 1, "almost_linear": 2}


@dataclass(frozen=True)
class PackedPLRNN:
    """A piecewise-linear network as tensors; M states, L units, E further inputs. An almost-linear one has L = M and no W2, h2.

    Attributes:
        form: of `FORMS`. linear: units that are never rectified, at the beginning (almost linear), else 0.
        decay: A, (M,). out: W1, (M, L). into: W2, (L, M). shift: h1, (M,). bias: h2, (L,). by_input: C, (M, E).
    """

    form: str
    linear: int
    decay: Float[Tensor, " M"]
    out: Float[Tensor, "M L"]
    into: Float[Tensor, "L2 M"]
    shift: Float[Tensor, " M"]
    bias: Float[Tensor, " L2"]
    by_input: Float[Tensor, "M E"]

    def tensors(self) -> tuple[Tensor, ...]:
        """The weights, in the order of `ForcedPass.apply`."""
        return self.decay, self.out, self.into, self.shift, self.bias, self.by_input


def _array(tensor: Tensor) -> np.ndarray:
    return np.ascontiguousarray(tensor.detach().cpu().numpy())


_SPARE: dict[tuple[int, int, int, int, torch.dtype], list[tuple[Tensor, ...]]] = {}
"""Buffers of passes that are done: fresh ones of this size would cost as much as the pass, in page faults."""


def _buffers(batch: int, steps: int, size: int, units: int, dtype: torch.dtype) -> tuple[Tensor, ...]:
    """Room for z̃ and g, (B, T, M), and for v, r(v) and d, (B, T, L)."""
    spare = _SPARE.get((batch, steps, size, units, dtype))
    if spare:
        return spare.pop()
    widths = (size, size, units, units, units)
    return tuple(torch.empty(batch, steps, width, dtype=dtype) for width in widths)


def _give_back(buffers: tuple[Tensor, ...]) -> None:
    key = (*buffers[0].shape, buffers[2].shape[2], buffers[0].dtype)
    if key not in _SPARE:
        _SPARE.clear()  # of one size alone, so that little memory is held
    _SPARE.setdefault(key, [])[:] = [buffers]


class ForcedPass(torch.autograd.Function):
    """Outputs y_1 … y_T and the state z_T of a forced roll-out; equations and gradients stand in `plrnn_kernels`."""

    @staticmethod
    def forward(ctx: Any, form: int, linear: int, weights: Tensor, inputs: Tensor, start: Tensor, *network: Tensor) -> Any:
        ctx.set_materialize_grads(False)
        ctx.form, ctx.linear = form, linear
        ctx.packed = pad_weights(form, *map(_array, network))
        ctx.given = _array(inputs), _array(weights), _array(start)
        ctx.shapes = [tuple(t.shape) for t in network]
        ctx.kept, outputs, final = _forward(ctx)
        return outputs, final

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, by_outputs: Tensor | None, by_final: Tensor | None) -> tuple[Tensor | None, ...]:
        kept = ctx.kept if ctx.kept is not None else _forward(ctx)[0]  # a graph gone through again
        ctx.kept = None
        forced, g, values, rectified, d = kept
        decay, out, into, _, bias, by_input = ctx.packed
        inputs, weights, start = ctx.given
        (size, *_), (_, units), (rows, _), *_ = ctx.shapes
        observed = inputs.shape[2] - by_input.shape[1]
        seen = forced.new_zeros(*inputs.shape[:2], observed) if by_outputs is None else by_outputs
        last = forced.new_zeros(0, 0) if by_final is None else by_final
        of_inputs, of_start, of_bias = np.empty_like(inputs), np.empty_like(start), np.zeros_like(bias)
        forced_backward(
            ctx.form, ctx.linear, decay, out, into, bias, by_input, inputs, weights,
            values.numpy(), _array(seen), _array(last), g.numpy(), d.numpy(), of_bias, of_inputs, of_start,
        )  # fmt: skip
        flat, own = g.flatten(0, 1), forced.flatten(0, 1)
        further = torch.from_numpy(inputs).flatten(0, 1)[:, observed:]
        of_network = (
            (flat * own).sum(0)[:size],
            (flat.T @ rectified.flatten(0, 1))[:size, :units],
            (d.flatten(0, 1).T @ own)[:rows, :size] if rows else None,
            flat.sum(0)[:size],
            torch.from_numpy(of_bias)[:rows] if rows else None,
            (flat.T @ further)[:size],
        )
        _give_back(kept)
        return None, None, None, torch.from_numpy(of_inputs), torch.from_numpy(of_start), *of_network


def _forward(ctx: Any) -> tuple[tuple[Tensor, ...], Tensor, Tensor]:
    inputs, weights, start = ctx.given
    size, units = ctx.packed[1].shape
    observed = inputs.shape[2] - ctx.packed[5].shape[1]
    like = torch.from_numpy(start)
    batch, steps = inputs.shape[:2]
    kept = _buffers(batch, steps, size, units, like.dtype)
    outputs, final = like.new_empty(batch, steps, observed), like.new_empty(start.shape)
    forced, _, values, rectified, _ = (t.numpy() for t in kept)
    rows = [*ctx.packed, inputs, weights, start, forced, values, rectified, outputs.numpy(), final.numpy()]
    forced_forward(ctx.form, ctx.linear, *rows)
    return kept, outputs, final


def forced_pass(
    network: PackedPLRNN, inputs: Float[Tensor, "B T X"], weights: Float[Tensor, " T"], start: Float[Tensor, "B M"]
) -> tuple[Float[Tensor, "B T Y"], Float[Tensor, "B M"]]:
    """Outputs and the final state of a forced roll-out, with gradients to everything but the forcing weights."""
    like = network.decay
    given = weights.to(like), inputs.to(like), start.to(like)
    outputs, final = ForcedPass.apply(FORMS[network.form], network.linear, *given, *network.tensors())
    return outputs, final


@torch.no_grad()
def free_outputs(
    network: PackedPLRNN,
    start: Float[Tensor, "B M"],
    input: Float[Tensor, "B X"],
    matrices: tuple[Tensor, Tensor, Tensor],
    plain: bool,
    known: Float[Tensor, "B N E2"],
    num_outputs: int,
) -> tuple[Float[Tensor, "B N Y"], Float[Tensor, "B M"], Float[Tensor, "B X"]]:
    """N outputs of the closed loop x' = A x + B y + C e, the final state, and the last input fed.

    Args:
        matrices: A, B, C. plain: whether x' = (y, e), which is faster. known: e of each step.
    """
    like, there, code = network.decay.detach().cpu(), start.device, FORMS[network.form]
    packed = pad_weights(code, *map(_array, network.tensors()))
    state, fed = np.zeros((len(start), len(packed[0])), packed[0].dtype), _array(input.to(like)).copy()
    state[:, : len(like)] = _array(start.to(like))
    outputs = like.new_empty(len(start), known.shape[1], num_outputs)
    loop = [*packed, state, fed, plain, *(_array(m.to(like)) for m in (*matrices, known)), outputs.numpy()]
    run_free(code, network.linear, *loop)
    return outputs.to(there), torch.from_numpy(state[:, : len(like)]).to(there), torch.from_numpy(fed).to(there)
