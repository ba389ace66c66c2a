"""Stacks of recurrent layers to first order in their weights, with passes written out: see `rnnscope.core.linearised`."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from torch import Tensor, nn

from rnnscope.core.linearised import Linearised
from rnnscope.core.system import rollout
from rnnscope.models.cells import CellKind, cell_gains, layer_weights
from rnnscope.numerics.recurrent_passes import LayerPasses, LayerWeights

if TYPE_CHECKING:
    from rnnscope.models.recurrent_systems import RecurrentSystem


class LinearisedNetwork(Linearised):
    """A `RecurrentSystem` over one batch.

    Args:
        system: at the weights meant. inputs: (B, T, X). lengths: (B,) or None. last: K.
    """

    has_states = True

    @torch.no_grad()
    def __init__(self, system: "RecurrentSystem", inputs: Tensor, lengths: Tensor | None, last: int) -> None:
        self.system = system
        found = rollout(system, inputs, fused=False).states
        assert found is not None
        states = found.transpose(0, 1).contiguous()  # time runs first from here on
        before = torch.cat([system.initial_state(len(inputs))[None], states[:-1]])
        self.steps, self.rows = last_rows(inputs, lengths, last)
        self.widths = [system.layer_size] * system.num_layers + ([system.skip * system.input_size] if system.skip else [])
        *own, taps = [*before.split(self.widths, 2)] if system.skip else [*before.split(self.widths, 2), None]
        now = states.split(self.widths, 2)
        size, below = system.hidden_size, inputs.transpose(0, 1).contiguous()
        self.layers = []
        for layer, past, new in zip(system.recurrent_layers(), own, now, strict=False):
            self.layers.append(layer_passes(system.kind, layer, below, past))
            below = new[..., :size].contiguous()
        self.features = below[self.steps, self.rows]  # (B, K, H)
        self.taps = None if taps is None else now[-1][self.steps, self.rows]
        self.outputs = system.readout(states[self.steps, self.rows])

    @torch.no_grad()
    def push(self, change: Tensor) -> tuple[Tensor, Tensor]:
        system, parts = self.system, self._named(change)
        on_below, found = None, []
        for index, layer in enumerate(self.layers):
            found.append(layer.push(_layer_part(parts, index), on_below))
            on_below = found[-1][..., : system.hidden_size]
        assert on_below is not None
        outputs = on_below[self.steps, self.rows] @ system.head.weight.T + self.features @ parts["head.weight"].T
        if "head.bias" in parts:
            outputs = outputs + parts["head.bias"]
        if self.taps is not None:
            outputs = outputs + self.taps @ parts["taps.weight"].T
            found.append(found[0].new_zeros(*found[0].shape[:2], self.widths[-1]))  # taps hold inputs, which stay
        return outputs, (found[0] if len(found) == 1 else torch.cat(found, 2)).transpose(0, 1)

    @torch.no_grad()
    def pull(self, on_outputs: Tensor, on_states: Tensor | None = None) -> Tensor:
        system, size = self.system, self.system.hidden_size
        if on_states is None:
            shape = (*self.layers[0].before.shape[:2], system.layer_size)
            on = [on_outputs.new_zeros(shape) for _ in self.layers]
        else:
            on = [part.transpose(0, 1).clone() for part in on_states.split(self.widths, 2)][: len(self.layers)]
        where = (self.steps, self.rows)
        padded = nn.functional.pad(on_outputs @ system.head.weight, (0, system.layer_size - size))
        on[-1].index_put_(where, padded, accumulate=True)
        flat = on_outputs.flatten(0, 1)
        parts = {"head.weight": flat.T @ self.features.flatten(0, 1), "head.bias": flat.sum(0)}
        if self.taps is not None:
            parts["taps.weight"] = flat.T @ self.taps.flatten(0, 1)
        for index in range(len(self.layers) - 1, -1, -1):
            gradient, on_below = self.layers[index].pull(on[index], below=index > 0)
            parts |= _named_layer(gradient, index)
            if on_below is not None:
                on[index - 1][..., :size] += on_below
        return torch.cat([parts[name].reshape(-1) for name, _ in self._trained()])

    def _trained(self) -> Iterator[tuple[str, nn.Parameter]]:
        return ((name, p) for name, p in self.system.named_parameters() if p.requires_grad)

    def _named(self, change: Tensor) -> dict[str, Tensor]:
        """A flat change by the names of the weights; zeros for those that are not trained."""
        named, start = {name: torch.zeros_like(p) for name, p in self.system.named_parameters()}, 0
        for name, parameter in self._trained():
            named[name] = change[start : start + parameter.numel()].reshape(parameter.shape)
            start += parameter.numel()
        return named


def last_rows(inputs: Float[Tensor, "B T X"], lengths: Tensor | None, last: int) -> tuple[Tensor, Tensor]:
    """Step and row, (B, K) each, of the last K real steps of each row; a row with fewer repeats its first."""
    batch, steps = inputs.shape[:2]
    ends = torch.full((batch,), steps, device=inputs.device) if lengths is None else lengths.to(inputs.device)
    chosen = (ends[:, None] - last + torch.arange(last, device=inputs.device)).clamp(min=0)
    return chosen, torch.arange(batch, device=inputs.device)[:, None].expand(-1, last)


def layer_passes(kind: CellKind, layer: nn.RNNBase, below: Float[Tensor, "T B X"], past: Float[Tensor, "T B S"]) -> LayerPasses:
    """The first-order passes of one layer from its inputs and the states before each step."""
    shape = (*past.shape[:2], layer.hidden_size)
    gains = cell_gains(kind, layer, past.flatten(0, 1), below.flatten(0, 1))
    kept: dict[int, Tensor] = {}  # equal factors stay one tensor

    def by_step(factor: Tensor | None) -> Tensor | None:
        return None if factor is None else kept.setdefault(id(factor), factor.reshape(shape))

    return LayerPasses(
        LayerWeights(*(None if w is None else w.detach() for w in layer_weights(layer))),  # type: ignore[arg-type]
        below,
        past[..., : layer.hidden_size].contiguous(),
        tuple(tuple(map(by_step, gain.recurrent)) for gain in gains),
        tuple(tuple(map(by_step, gain.input)) for gain in gains),
        tuple(by_step(gain.direct) for gain in gains),
    )


NAMES = {"into": "weight_ih_l0", "back": "weight_hh_l0", "into_bias": "bias_ih_l0", "back_bias": "bias_hh_l0"}


def _layer_part(parts: dict[str, Tensor], index: int) -> LayerWeights:
    found = {own: parts.get(f"layers.{index}.{theirs}") for own, theirs in NAMES.items()}
    return LayerWeights(**found)  # type: ignore[arg-type]


def _named_layer(weights: LayerWeights, index: int) -> dict[str, Tensor]:
    found = {f"layers.{index}.{theirs}": getattr(weights, own) for own, theirs in NAMES.items()}
    return {name: tensor for name, tensor in found.items() if tensor is not None}
