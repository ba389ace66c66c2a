"""Fixed points of stacked recurrent layers as solutions of v_l(h_l, h_{l-1}) = h_l, l = 1 … L, with h_0 the input.

The gates that only set the pace drop out (see `Equilibrium`): a GRU rests where h = n, an LSTM where c = i∘g/(1 - f). A state that
moves slowly because its gate is shut is not a near-solution of this equation, so slow points are not taken for fixed points.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from rnnscope.core.equilibria import DrivenRest
from rnnscope.models.cells import CellKind, Equilibrium, equilibrium, layer_weights, pre_activations, weighted

# largest |φ''|: tanh 4/(3√3); the logistic function √3/18, and its slope 1/4
TANH_CURVATURE, LOGISTIC_CURVATURE, LOGISTIC_SLOPE = 0.7698004, 0.0962251, 0.25


class RecurrentRest(DrivenRest):
    """The unknowns are the hidden states of all layers, side by side; the taps of an input at rest all hold it."""

    def __init__(self, kind: CellKind, layers: list[nn.RNNBase], skip: int = 0) -> None:
        self.kind, self.layers, self.skip = kind, layers, skip
        self.hidden_size = layers[0].hidden_size
        self.size = len(layers) * self.hidden_size
        like = layer_weights(layers[0])[1]
        if kind != "relu":  # |h| < 1 since h is a tanh, or a gate times one
            self.upper = like.new_ones(self.size)
            self.lower = -self.upper

    def reduce(self, states: Tensor) -> Tensor:
        width = self.hidden_size * (2 if self.kind == "lstm" else 1)
        return torch.cat([states[:, i * width : i * width + self.hidden_size] for i in range(len(self.layers))], 1)

    @torch.no_grad()
    def expand(self, unknowns: Tensor, inputs: Tensor) -> Tensor:
        parts = []
        for hidden, at_rest in zip(
            unknowns.split(self.hidden_size, 1), self._at_rest(unknowns, inputs, derivatives=False), strict=True
        ):
            parts += [hidden] if at_rest.cell is None else [hidden, at_rest.cell]
        return torch.cat([*parts, inputs.repeat(1, self.skip)], 1)

    def expand_jacobian(self, unknowns: Tensor, inputs: Tensor) -> tuple[Tensor, Tensor]:
        """The readout sees hidden states and taps alone: the cells' share is left out."""
        width = self.hidden_size * (2 if self.kind == "lstm" else 1)
        rows = len(self.layers) * width
        by_unknown = unknowns.new_zeros(rows + self.skip * inputs.shape[1], self.size)
        by_input = unknowns.new_zeros(len(by_unknown), inputs.shape[1])
        for index in range(len(self.layers)):
            columns = slice(index * self.hidden_size, (index + 1) * self.hidden_size)
            by_unknown[index * width : index * width + self.hidden_size, columns].fill_diagonal_(1)
        by_input[rows:] = torch.eye(inputs.shape[1], dtype=unknowns.dtype).repeat(self.skip, 1)
        return by_unknown.expand(len(unknowns), -1, -1), by_input.expand(len(unknowns), -1, -1)

    @torch.no_grad()
    def residual(self, unknowns: Tensor, inputs: Tensor) -> Tensor:
        values = [one.value for one in self._at_rest(unknowns, inputs, derivatives=False)]
        return (values[0] if len(values) == 1 else torch.cat(values, 1)) - unknowns

    @torch.no_grad()
    def linearise(self, unknowns: Tensor, inputs: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        at_rest, size = self._at_rest(unknowns, inputs), self.hidden_size
        residual = torch.cat([one.value for one in at_rest], 1) - unknowns
        first = layer_weights(self.layers[0])
        by_input = weighted(first[0], at_rest[0].gains.input)
        if len(self.layers) == 1:
            jacobian = weighted(first[1], at_rest[0].gains.recurrent)
        else:
            by_input = nn.functional.pad(by_input, (0, 0, 0, self.size - size))
            jacobian = unknowns.new_zeros(len(unknowns), self.size, self.size)
            for index, (layer, one) in enumerate(zip(self.layers, at_rest, strict=True)):
                into, back, _, _ = layer_weights(layer)
                rows = slice(index * size, (index + 1) * size)
                jacobian[:, rows, rows] = weighted(back, one.gains.recurrent)
                if index:
                    jacobian[:, rows, (index - 1) * size : index * size] = weighted(into, one.gains.input)
        jacobian.diagonal(dim1=1, dim2=2).sub_(1)
        return residual, jacobian, by_input

    def _at_rest(self, unknowns: Tensor, inputs: Tensor, *, derivatives: bool = True) -> list[Equilibrium]:
        hidden = unknowns.split(self.hidden_size, 1)
        rows = zip(self.layers, hidden, [inputs, *hidden[:-1]], strict=True)
        return [equilibrium(self.kind, *one, derivatives=derivatives) for one in rows]

    @torch.no_grad()
    def curvature(self, unknowns: Tensor, inputs: Tensor, radius: float, *, fed: bool) -> Tensor:
        """√(Σ_i k_i²) with k_i a bound on the second derivative of v_i along any unit direction."""
        if self.kind == "relu":
            return unknowns.new_full(
                (len(unknowns),), torch.inf
            )  # a kink has no second derivative; regions are treated exactly
        bounds, below = [], inputs
        for index, (layer, hidden) in enumerate(zip(self.layers, unknowns.split(self.hidden_size, 1), strict=True)):
            bounds.append(_component_bounds(self.kind, layer, hidden, below, radius, fed or index > 0))
            below = hidden
        return torch.cat(bounds, 1).norm(dim=1)


def _component_bounds(
    kind: CellKind, layer: nn.RNNBase, hidden: Tensor, below: Tensor, radius: float, stacked: bool
) -> Float[Tensor, "N H"]:
    into, back, _, _ = layer_weights(layer)
    gates = len(back) // layer.hidden_size
    own = back.norm(dim=1).chunk(gates)
    # of a stacked layer, the unknowns below move the pre-activations too
    reach = torch.hypot(back.norm(dim=1), into.norm(dim=1)).chunk(gates) if stacked else own
    drive, recur = pre_activations(layer, hidden, below)
    if kind == "tanh":
        return (TANH_CURVATURE * reach[0].square()).expand(len(hidden), -1)
    if kind == "gru":
        inner = recur[:, 2 * layer.hidden_size :].abs() + own[2] * radius
        slope = reach[2] + inner * LOGISTIC_SLOPE * reach[0]
        bend = 2 * LOGISTIC_SLOPE * reach[0] * own[2] + inner * LOGISTIC_CURVATURE * reach[0].square()
        return TANH_CURVATURE * slope.square() + bend
    return _lstm_bounds(drive + recur, reach, radius)


def _lstm_bounds(gates: Tensor, reach: tuple[Tensor, ...], radius: float) -> Float[Tensor, "N H"]:
    """v = o tanh(C), C = i g (1 + e^f) in the pre-activations i, f, g, o: the chain rule with every factor at its largest."""
    enter, forget, candidate, _ = gates.chunk(4, -1)
    to_enter, to_forget, to_candidate, to_leave = reach
    odds = torch.exp((forget + to_forget * radius).clamp_max(200.0))
    most_in = torch.sigmoid(enter + to_enter * radius)
    most_new = torch.tanh(candidate.abs() + to_candidate * radius)
    wide = 1 + odds
    by_enter, by_forget, by_candidate = LOGISTIC_SLOPE * most_new * wide, most_in * most_new * odds, most_in * wide
    gradient = by_enter * to_enter + by_forget * to_forget + by_candidate * to_candidate
    bend = (
        LOGISTIC_CURVATURE * most_new * wide * to_enter.square()
        + by_forget * to_forget.square()
        + TANH_CURVATURE * by_candidate * to_candidate.square()
        + 2 * LOGISTIC_SLOPE * most_new * odds * to_enter * to_forget
        + 2 * LOGISTIC_SLOPE * wide * to_enter * to_candidate
        + 2 * most_in * odds * to_forget * to_candidate
    )
    cell = torch.sigmoid(enter) * torch.tanh(candidate) * (1 + torch.exp(forget.clamp_max(200.0)))
    slope = torch.cosh((cell.abs() - gradient * radius).clamp(0, 300)).pow(-2)  # of tanh, at the smallest |C| in reach
    curve = torch.minimum(2 * slope, slope.new_tensor(TANH_CURVATURE))
    return (
        LOGISTIC_CURVATURE * to_leave.square()
        + 2 * LOGISTIC_SLOPE * to_leave * slope * gradient
        + curve * gradient.square()
        + slope * bend
    )
