"""A recurrent layer to first order: its states' answer to a change of weights, and the transposed pass, over whole sequences.

With rows r of the state s (h; of an LSTM h and c), gates g, and time running first,

    ds_r,t = Σ_g ρ_rg,t ∘ (U_g dh_{t-1} + dU_g h_{t-1} + dc_g) + Σ_g ι_rg,t ∘ (W_g du_t + dW_g u_t + db_g) + κ_r,t ∘ (last entry of ds_{t-1})

where the factors ρ, ι and κ describe the cell. The parts that do not wait for the step before are done for all steps at once;
what remains of a step is one product with U and one multiplication for each factor.
"""

from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Float
from torch import Tensor

Factors = tuple[tuple[Tensor | None, ...], ...]


@dataclass(frozen=True)
class LayerWeights:
    """W (G·H, X), U (G·H, H), b and c (G·H,) or None of a layer, or changes or gradients of them."""

    into: Float[Tensor, "GH X"]
    back: Float[Tensor, "GH H"]
    into_bias: Float[Tensor, " GH"] | None = None
    back_bias: Float[Tensor, " GH"] | None = None


@dataclass(frozen=True)
class LayerPasses:
    """One layer over a batch of sequences, at fixed weights.

    Attributes:
        weights: of the layer. below: its inputs u, (T, B, X). before: h_{t-1}, (T, B, H).
        recurrent, input: [row][gate], the factors ρ and ι, (T, B, H) or None; the same tensor where they are equal.
        direct: [row], κ, (T, B, H) or None.
    """

    weights: LayerWeights
    below: Float[Tensor, "T B X"]
    before: Float[Tensor, "T B H"]
    recurrent: Factors
    input: Factors
    direct: tuple[Tensor | None, ...]

    def push(self, change: LayerWeights, on_below: Float[Tensor, "T B X"] | None) -> Float[Tensor, "T B S"]:
        """ds from changes of the weights and of the inputs."""
        size = self.before.shape[2]
        states = self._driven(change, on_below)
        back = self.weights.back.T.contiguous()
        factors = [[(g, k.unbind(0)) for g, k in enumerate(row) if k is not None] for row in self.recurrent]
        direct = [None if k is None else k.unbind(0) for k in self.direct]
        state: Tensor | None = None
        for t, new in enumerate(states.unbind(0)):  # `states` begins as what each step adds of its own
            if state is not None:
                gates = (state[:, :size] @ back).split(size, 1)
                for row, (part, pairs) in enumerate(zip(new.split(size, 1), factors, strict=True)):
                    for gate, factor in pairs:
                        part.addcmul_(factor[t], gates[gate])
                    kappa = direct[row]
                    if kappa is not None:
                        part.addcmul_(kappa[t], state[:, -size:])
            state = new
        return states

    @cached_property
    def shared(self) -> bool:
        """Whether drive and recurrence meet in one sum before they are weighted, as in all cells but the GRU."""
        return all(r is i for rows in zip(self.recurrent, self.input, strict=True) for r, i in zip(*rows, strict=True))

    @cached_property
    def features(self) -> Float[Tensor, "TB F"]:
        """h_{t-1}, u_t and a one side by side, so that one product serves all weights."""
        rows = [self.before.flatten(0, 1), self.below.flatten(0, 1)]
        return torch.cat([*rows, rows[0].new_ones(len(rows[0]), 1)], 1)

    def _driven(self, change: LayerWeights, on_below: Tensor | None) -> Tensor:
        """What a step adds of its own, for all steps."""
        shape, size = self.before.shape, self.before.shape[2]
        recur, drive = self._pre_activations(change)
        if on_below is not None:
            drive.addmm_(on_below.flatten(0, 1), self.weights.into.T)
        recur_gates = [part.reshape(shape) for part in recur.split(size, 1)]
        drive_gates = [part.reshape(shape) for part in drive.split(size, 1)]
        rows = []
        for by_recur, by_input in zip(self.recurrent, self.input, strict=True):
            pairs = list(zip(by_input, drive_gates, strict=True))
            if not self.shared:
                pairs += zip(by_recur, recur_gates, strict=True)
            rows.append(
                _weighted([(factor, part) for factor, part in pairs if factor is not None], torch.empty_like(self.before))
            )
        return rows[0] if len(rows) == 1 else torch.cat(rows, 2)

    def _pre_activations(self, change: LayerWeights) -> tuple[Tensor, Tensor]:
        """Changes of U h + c and of W u + b by the weights; where the factors are shared, their sum, twice."""
        if not self.shared:
            recur = _affine(self.before.flatten(0, 1), change.back, change.back_bias)
            return recur, _affine(self.below.flatten(0, 1), change.into, change.into_bias)
        bias = change.into.new_zeros(len(change.into))
        for part in (change.into_bias, change.back_bias):
            bias = bias if part is None else bias + part
        found = self.features @ torch.cat([change.back, change.into, bias[:, None]], 1).T
        return found, found

    def pull(
        self, on_states: Float[Tensor, "T B S"], *, below: bool = False
    ) -> tuple[LayerWeights, Float[Tensor, "T B X"] | None]:
        """Gradients by the weights of Σ u·s, u being numbers on the states; with `below` by the inputs too."""
        size = self.before.shape[2]
        carried, on_recur = on_states.clone(), on_states.new_empty(*on_states.shape[:2], len(self.weights.back))
        factors = [[None if k is None else k.unbind(0) for k in row] for row in self.recurrent]
        direct = [None if k is None else k.unbind(0) for k in self.direct]
        total, gates = carried.unbind(0), on_recur.unbind(0)
        for t in range(len(total) - 1, -1, -1):
            rows = total[t].split(size, 1)
            for gate, part in enumerate(gates[t].split(size, 1)):
                by_gate = [(row_factors[gate], row) for row_factors, row in zip(factors, rows, strict=True)]
                _weighted([(factor[t], row) for factor, row in by_gate if factor is not None], part)
            if t:
                earlier = total[t - 1]
                earlier[:, :size].addmm_(gates[t], self.weights.back)
                for kappa, row in zip(direct, rows, strict=True):
                    if kappa is not None:
                        earlier[:, -size:].addcmul_(kappa[t], row)
        return self._gradients(carried, on_recur.flatten(0, 1), below)

    def _gradients(
        self, total: Float[Tensor, "T B S"], recur: Float[Tensor, "TB GH"], below: bool
    ) -> tuple[LayerWeights, Float[Tensor, "T B X"] | None]:
        """Of the weights, from numbers on the states and on the recurrent pre-activations."""
        size, width = self.before.shape[2], self.below.shape[2]
        if self.shared:
            drive = recur
            back, into, bias = (recur.T @ self.features).split([size, width, 1], 1)
            both = bias[:, 0], bias[:, 0]
        else:
            drive = self._on_input(total)
            back, into = recur.T @ self.before.flatten(0, 1), drive.T @ self.below.flatten(0, 1)
            both = drive.sum(0), recur.sum(0)
        found = LayerWeights(
            into,
            back,
            None if self.weights.into_bias is None else both[0],
            None if self.weights.back_bias is None else both[1],
        )
        return found, (drive @ self.weights.into).reshape(self.below.shape) if below else None

    def _on_input(self, total: Float[Tensor, "T B S"]) -> Float[Tensor, "TB GH"]:
        """Numbers on the driving pre-activations."""
        rows, parts = total.split(self.before.shape[2], 2), []
        for gate in range(len(self.input[0])):
            pairs = [(by[gate], row) for by, row in zip(self.input, rows, strict=True)]
            known = [(factor, row) for factor, row in pairs if factor is not None]
            parts.append(_weighted(known, torch.empty_like(self.before)))
        return torch.cat(parts, 2).flatten(0, 1)


def _affine(rows: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    return rows @ weight.T if bias is None else torch.addmm(bias, rows, weight.T)


def _weighted(pairs: list[tuple[Tensor, Tensor]], out: Tensor) -> Tensor:
    """Σ factor ∘ part into `out`."""
    if not pairs:
        return out.zero_()
    torch.mul(*pairs[0], out=out)
    for factor, part in pairs[1:]:
        out.addcmul_(factor, part)
    return out
