"""Back-propagation through time in the open: the recurrences for a tanh network, in NumPy float64.

Forward, for t = 1 … T (Goodfellow, Bengio & Courville 2016, eqs. 10.8 to 10.11; U input -> hidden, W hidden -> hidden,
V hidden -> output):

    a_t = b + W h_{t-1} + U x_t        h_t = tanh(a_t)        o_t = c + V h_t

The loss of a step is l_t = ½ |o_t - y_t|² or, for a class y_t, l_t = -ln softmax(o_t)_{y_t}, and L = Σ_t w_t l_t with
weights w_t of the steps. Backward, for t = T … 1 (eqs. 10.18 to 10.28, with D_t = diag(1 - h_t²)):

    dL/do_t = w_t (o_t - y_t)      or      w_t (softmax(o_t) - onehot(y_t))
    dL/dh_t = Vᵀ dL/do_t + Wᵀ D_{t+1} dL/dh_{t+1}          (at t = T only the first term)
    dL/da_t = D_t dL/dh_t
    dL/dc = Σ_t dL/do_t            dL/dV = Σ_t dL/do_t h_tᵀ
    dL/db = Σ_t dL/da_t            dL/dW = Σ_t dL/da_t h_{t-1}ᵀ            dL/dU = Σ_t dL/da_t x_tᵀ

Axis names: B sequences, T time, X inputs, H hidden units, Y outputs. Sequences of a batch are independent; L is their sum.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float

LOSSES = ("squared", "cross_entropy")


@dataclass(frozen=True)
class ForwardPass:
    """The network run forward.

    Attributes:
        states: h_1 … h_T, (B, T, H). outputs: o_1 … o_T, (B, T, Y), before any softmax. start: h_0, (B, H).
    """

    states: Float[np.ndarray, "B T H"]
    outputs: Float[np.ndarray, "B T Y"]
    start: Float[np.ndarray, "B H"]


@dataclass(frozen=True)
class Backpropagation:
    """Gradients of L = Σ over sequences and steps of w_t l_t.

    Attributes:
        U: dL/dU, (H, X). W: dL/dW, (H, H). V: dL/dV, (Y, H). b: dL/db, (H,). c: dL/dc, (Y,).
        states: dL/dh_t of each sequence's own loss, t = 1 … T, (B, T, H). start: dL/dh_0, (B, H).
        inputs: dL/dx_t, (B, T, X). outputs: dL/do_t, (B, T, Y).
        losses: w_t l_t, (B, T). loss: L, their sum.
        forward: the forward pass.
    """

    U: Float[np.ndarray, "H X"]
    W: Float[np.ndarray, "H H"]
    V: Float[np.ndarray, "Y H"]
    b: Float[np.ndarray, " H"]
    c: Float[np.ndarray, " Y"]
    states: Float[np.ndarray, "B T H"]
    start: Float[np.ndarray, "B H"]
    inputs: Float[np.ndarray, "B T X"]
    outputs: Float[np.ndarray, "B T Y"]
    losses: Float[np.ndarray, "B T"]
    loss: float
    forward: ForwardPass


def run_forward(
    inputs: Float[np.ndarray, "B T X"],
    U: Float[np.ndarray, "H X"],
    W: Float[np.ndarray, "H H"],
    V: Float[np.ndarray, "Y H"],
    b: Float[np.ndarray, " H"],
    c: Float[np.ndarray, " Y"],
    *,
    start: Float[np.ndarray, "B H"] | None = None,
) -> ForwardPass:
    """h_t = tanh(b + W h_{t-1} + U x_t), o_t = c + V h_t.

    Args:
        inputs: x_1 … x_T, (B, T, X), T >= 1. U, W, V, b, c: the weights. start: h_0, (B, H); zeros when None.

    Raises:
        ValueError: arrays that do not fit each other.
    """
    x, U, W, V, b, c = (np.asarray(array, np.float64) for array in (inputs, U, W, V, b, c))
    _check_weights(x, U, W, V, b, c)
    state = np.zeros((len(x), len(W))) if start is None else np.asarray(start, np.float64)
    if state.shape != (len(x), len(W)):
        raise ValueError(f"start has shape {state.shape}, expected {(len(x), len(W))}: one state per sequence")
    first, states = state, np.empty((*x.shape[:2], len(W)))
    for t in range(x.shape[1]):
        state = states[:, t] = np.tanh(b + state @ W.T + x[:, t] @ U.T)
    return ForwardPass(states, states @ V.T + c, first)


def backpropagate(
    inputs: Float[np.ndarray, "B T X"],
    targets: np.ndarray,
    U: Float[np.ndarray, "H X"],
    W: Float[np.ndarray, "H H"],
    V: Float[np.ndarray, "Y H"],
    b: Float[np.ndarray, " H"],
    c: Float[np.ndarray, " Y"],
    *,
    loss: Literal["squared", "cross_entropy"] = "squared",
    step_weights: Float[np.ndarray, " T"] | None = None,
    start: Float[np.ndarray, "B H"] | None = None,
) -> Backpropagation:
    """All gradients of the loss of a tanh network, from the recurrences above. Cost: about twice the forward pass.

    Args:
        inputs: x_1 … x_T, (B, T, X), T >= 1.
        targets: y_1 … y_T: numbers (B, T, Y) for the squared error, classes 0 … Y - 1 as integers (B, T) for the cross entropy.
        U: (H, X). W: (H, H). V: (Y, H). b: (H,). c: (Y,).
        loss: "squared", l_t = ½ |o_t - y_t|², or "cross_entropy", l_t = -ln softmax(o_t)_{y_t}, in nats.
        step_weights: w_t, (T,); ones when None. Zeros but for a last 1 give the loss at the last step only.
        start: h_0, (B, H); zeros when None.

    Returns:
        `Backpropagation`, in float64.

    Raises:
        ValueError: arrays that do not fit each other, an unknown loss or a class out of range.

    References:
        Goodfellow, Bengio & Courville (2016), Deep Learning, section 10.2.2.

    Example:
        >>> import numpy as np
        >>> one = np.ones((1, 1))
        >>> found = backpropagate(np.zeros((1, 2, 1)), np.ones((1, 2, 1)), one, one, one, np.zeros(1), np.zeros(1))
        >>> found.loss, found.c.tolist(), found.states.ravel().tolist()
        (1.0, [-2.0], [-2.0, -1.0])
    """
    x, U, W, V = (np.asarray(array, np.float64) for array in (inputs, U, W, V))
    forward = run_forward(x, U, W, V, b, c, start=start)
    weights = np.ones(x.shape[1]) if step_weights is None else np.asarray(step_weights, np.float64)
    if weights.shape != (x.shape[1],):
        raise ValueError(f"step_weights has shape {weights.shape}, expected ({x.shape[1]},): one weight per step")
    losses, into_outputs = _output_gradients(forward.outputs, np.asarray(targets), loss, weights)
    into_states, into_sums = np.empty_like(forward.states), np.empty_like(forward.states)
    arriving = np.zeros_like(forward.start)  # Wᵀ dL/da_{t+1}
    for t in reversed(range(x.shape[1])):
        into_states[:, t] = into_outputs[:, t] @ V + arriving
        into_sums[:, t] = (1 - forward.states[:, t] ** 2) * into_states[:, t]
        arriving = into_sums[:, t] @ W
    before = np.concatenate([forward.start[:, None], forward.states[:, :-1]], 1)
    return Backpropagation(
        U=np.einsum("bth,btx->hx", into_sums, x),
        W=np.einsum("bth,btk->hk", into_sums, before),
        V=np.einsum("bty,bth->yh", into_outputs, forward.states),
        b=into_sums.sum((0, 1)),
        c=into_outputs.sum((0, 1)),
        states=into_states,
        start=arriving,
        inputs=into_sums @ U,
        outputs=into_outputs,
        losses=losses,
        loss=float(losses.sum()),
        forward=forward,
    )


def _output_gradients(
    outputs: np.ndarray, targets: np.ndarray, loss: str, weights: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """w_t l_t, (B, T), and dL/do_t, (B, T, Y)."""
    if loss == "squared":
        _check_targets(targets, outputs.shape)
        error = outputs - targets
        return weights * 0.5 * (error**2).sum(-1), weights[:, None] * error
    if loss != "cross_entropy":
        raise ValueError(f"loss is {loss!r}, expected one of {LOSSES}")
    _check_targets(targets, outputs.shape[:2])
    if targets.dtype.kind not in "iu" or targets.min() < 0 or targets.max() >= outputs.shape[2]:
        raise ValueError(
            f"classes are {targets.dtype} from {targets.min()} to {targets.max()}, expected integers from 0 to "
            f"{outputs.shape[2] - 1}: number them from 0, one output per class"
        )
    shifted = outputs - outputs.max(-1, keepdims=True)
    log_probs = shifted - np.log(np.exp(shifted).sum(-1, keepdims=True))
    chosen = targets[..., None]
    gradient = np.exp(log_probs)
    np.put_along_axis(gradient, chosen, np.take_along_axis(gradient, chosen, -1) - 1, -1)
    return -weights * np.take_along_axis(log_probs, chosen, -1)[..., 0], weights[:, None] * gradient


def _check_targets(targets: np.ndarray, wanted: tuple[int, ...]) -> None:
    if targets.shape != wanted:
        raise ValueError(
            f"targets has shape {targets.shape}, expected {wanted}: numbers (B, T, Y) for the squared error, classes (B, T) for "
            "the cross entropy"
        )


def _check_weights(x: np.ndarray, U: np.ndarray, W: np.ndarray, V: np.ndarray, b: np.ndarray, c: np.ndarray) -> None:
    found = (U.shape, W.shape, V.shape, b.shape, c.shape)
    hidden, outputs = (b.size, c.size)
    wanted = ((hidden, x.shape[-1]), (hidden, hidden), (outputs, hidden), (hidden,), (outputs,))
    if x.ndim != 3 or x.shape[1] < 1 or found != wanted:
        raise ValueError(
            f"inputs has shape {x.shape} and U, W, V, b, c have {found}, expected (B, T >= 1, X) with a batch axis and "
            "(H, X), (H, H), (Y, H), (H,), (Y,)"
        )
