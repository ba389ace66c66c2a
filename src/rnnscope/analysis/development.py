"""How the mechanism forms during training: the same measurements at every checkpoint, and the epoch at which the loss drops."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from rnnscope.analysis.driven_jacobian import driven_spectra
from rnnscope.core.driven import drive, switch_rate, symbol_shares
from rnnscope.core.errors import DataError
from rnnscope.core.system import DynamicalSystem
from rnnscope.dynamics.components import principal_components


@dataclass(frozen=True)
class Development:
    """Measurements at each checkpoint.

    Attributes:
        epochs: (E,), increasing. switch_rate: changes of argmax output per step, (E,).
        unstable_share: share of visited states whose Jacobian has an eigenvalue outside the unit circle, (E,).
        num_unstable: mean number of such eigenvalues, (E,). radius: mean spectral radius of the driven Jacobian, (E,).
        variance_shares: of the first three principal components of the driven states, (E, 3), zeros where S < 3.
        participation_ratio: (E,). mean_norm: mean |h|, (E,). symbol_shares: of the argmax outputs, (E, Y).
    """

    epochs: Int[Tensor, " E"]
    switch_rate: Float[Tensor, " E"]
    unstable_share: Float[Tensor, " E"]
    num_unstable: Float[Tensor, " E"]
    radius: Float[Tensor, " E"]
    variance_shares: Float[Tensor, "E 3"]
    participation_ratio: Float[Tensor, " E"]
    mean_norm: Float[Tensor, " E"]
    symbol_shares: Float[Tensor, "E Y"]


def development(
    checkpoints: Sequence[tuple[int, DynamicalSystem]],
    rng: torch.Generator,
    *,
    num_steps: int = 150,
    num_paths: int = 100,
    burn_in: int = 100,
    num_jacobians: int = 200,
) -> Development:
    """Drive every checkpoint with the same noise and measure it.

    Args:
        checkpoints: (epoch, system), at least one, all with the same outputs. num_steps, num_paths, burn_in: of the drive.
        num_jacobians: visited states at which the Jacobian is taken.

    Returns:
        `Development`, sorted by epoch. A checkpoint whose states are not finite gives nan.
    """
    if not checkpoints:
        raise DataError("no checkpoints", "at least one (epoch, system)", "let the trainer keep some")
    state, rows, shares = rng.get_state(), [], []
    ordered = sorted(checkpoints, key=lambda c: c[0])
    for _, system in ordered:
        rng.set_state(state)
        paths = drive(system, num_steps, num_paths, rng, burn_in=burn_in, keep_inputs=True)
        shares.append(symbol_shares(paths.symbols, system.output_size))
        rows.append(_measure(system, paths.states, paths.inputs, paths.symbols, num_jacobians))
    table = torch.tensor(rows, dtype=torch.float64)
    epochs = torch.tensor([epoch for epoch, _ in ordered])
    rate, unstable, number, radius = table[:, :4].unbind(1)
    return Development(epochs, rate, unstable, number, radius, table[:, 4:7], table[:, 7], table[:, 8], torch.stack(shares))


def _measure(
    system: DynamicalSystem, states: Tensor, inputs: Tensor | None, symbols: Tensor, num_jacobians: int
) -> list[float]:
    assert inputs is not None
    if states.shape[1] < 2 or not bool(torch.isfinite(states).all()):
        return [float("nan")] * 9
    components = principal_components(states)
    before, after = states[:, :-1].flatten(0, 1), inputs[:, 1:].flatten(0, 1)
    rows = torch.linspace(0, len(before) - 1, min(num_jacobians, len(before)), dtype=torch.float64).long()
    found = driven_spectra(system, before[rows], after[rows]).summary
    leading = [*components.explained_variance_ratio[:3].tolist(), 0.0, 0.0][:3]
    size = float(states.norm(dim=-1).mean())
    rate = switch_rate(symbols)
    return [
        rate,
        found["unstable_share"],
        found["num_unstable"],
        found["radius"],
        *leading,
        components.participation_ratio,
        size,
    ]


@dataclass(frozen=True)
class LossDrop:
    """Where the loss leaves its plateau.

    Attributes:
        epoch: index of the last loss on the plateau, or None when no drop was found.
        steepest: index in the middle of the steepest fall, or None.
        plateau: first index of the plateau before it, or None.
        drop: 1 - loss after / loss before, over `window` epochs from there; the largest seen even when none counts.
        window: epochs. reason: the verdict in words.
    """

    epoch: int | None
    steepest: int | None
    plateau: int | None
    drop: float
    window: int
    reason: str


def drop_epoch(
    losses: Sequence[float] | Float[np.ndarray, " E"], *, window: int | None = None, flat: float = 0.02, least: float = 0.1
) -> LossDrop:
    """The epoch at which a loss leaves a plateau.

    The rule. s = running median of ln loss over `window` epochs (centred, shorter at the ends). d_t = s_t - s_{t+window} is the
    relative fall ahead of epoch t. A plateau is a stretch of at least `window` epochs with d_t < `flat`. After the first plateau, the
    largest d_t is taken; it counts when it is at least ln 1/(1 - least) and three times the scatter of ln loss about s. With t* its
    place, the plateau is left at t + window for the last t <= t* with d_t < `flat`: until there the loss had fallen by less
    than that.

    Args:
        losses: positive, one per epoch. window: epochs; a fortieth of the run, at least 3, when None.
        flat: largest fall over a window that is still a plateau. least: smallest fall that counts as a drop.

    Returns:
        `LossDrop`; epoch None says why none was found. The first fall from initial values is not a drop from a plateau.
    """
    values = np.asarray(losses, np.float64)
    count = len(values)
    window = max(3, count // 40) if window is None else window
    if count < 3 * window or not np.all(values > 0) or not np.all(np.isfinite(values)):
        return LossDrop(None, None, None, 0.0, window, f"none found: needs {3 * window} finite positive losses, has {count}")
    logs = np.log(values)
    half = window // 2
    smooth = np.array([np.median(logs[max(0, t - half) : t + half + 1]) for t in range(count)])
    ahead = smooth[:-window] - smooth[window:]
    calm = np.lib.stride_tricks.sliding_window_view(ahead < flat, min(window, len(ahead))).all(1)
    if not calm.any():
        return LossDrop(
            None, None, None, float(1 - np.exp(-ahead.max())), window, "none found: the loss has no plateau to leave"
        )
    plateau = int(calm.argmax())
    steepest = plateau + int(ahead[plateau:].argmax())
    fall = float(ahead[steepest])
    drop = float(1 - np.exp(-fall))
    scatter = 1.4826 * float(np.median(np.abs(logs - smooth)))
    if fall < max(-np.log1p(-least), 3 * scatter):
        reason = f"none found: the largest fall after the plateau at epoch {plateau} is {100 * drop:.2g} % over {window} epochs"
        return LossDrop(None, None, plateau, drop, window, reason)
    still = np.flatnonzero(ahead[: steepest + 1] < flat)
    epoch, middle = min(int(still[-1]) + window, steepest + window), steepest + half
    reason = f"the loss leaves its plateau at epoch {epoch} and falls by {100 * drop:.3g} % within {window} epochs around epoch {middle}"
    return LossDrop(epoch, middle, plateau, drop, window, reason)
