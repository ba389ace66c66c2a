"""Where the gradient of a loss goes in time: vanishing, exploding or healthy.

Axis names: B sequences, T time, N = T + 1 times 0 … T, L lags, R rows (a loss step and a sequence), X, Y, S as everywhere.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from rnnscope.core.driven import in_double
from rnnscope.core.errors import ConfigError, DataError, ShapeError
from rnnscope.core.system import DynamicalSystem, SequenceModel, check_state, only_system
from rnnscope.dynamics.sensitivity import percentiles

Loss = Literal["mse", "cross_entropy"] | Callable[[Tensor, Tensor], Tensor]
Flow = Literal["vanishing", "exploding", "healthy", "no gradient"]


@dataclass(frozen=True)
class GradientFlow:
    """Norms of dL/dh_t, each sequence with its own loss.

    Attributes:
        state_gradients: ||dL/dh_t|| at t = 0 … T, (B, N).
        losses: loss of each sequence, (B,).
        loss_steps: steps τ (1 … T) whose part of the loss was followed back, (M,).
        lags: 0 … (L,).
        log_relative: ln of ||dL_τ/dh_{τ-k}|| / ||dL_τ/dh_τ||, (R, L), L_τ being the loss through the output of step τ alone; -inf
            is an exact zero. Rows: τ by τ, sequence by sequence, without those whose gradient is zero at lag 0.
        flow: "vanishing", "exploding", "healthy" or "no gradient".
        vanishing_lag: the lag from which the median ratio stays below `vanish`; None where it does not.
        growth_rate: d ln(median ratio)/dk, nats per step, by least squares over the lags up to 1e-12; negative where it vanishes.
        parameter_norms: norm of the whole gradient with respect to the parameters, of the first sequences, (C,); None for a system
            without parameters.
        clip_norm: the bound of `clipped_share`, the share of these sequences whose gradient is longer, and of `cut_share`, the
            mean share of its length that clipping takes away; both None where parameter_norms is.
        vanish, explode: the criteria used.
    """

    state_gradients: Float[Tensor, "B N"]
    losses: Float[Tensor, " B"]
    loss_steps: Int[Tensor, " M"]
    lags: Int[Tensor, " L"]
    log_relative: Float[Tensor, "R L"]
    flow: Flow
    vanishing_lag: int | None
    growth_rate: float
    parameter_norms: Float[Tensor, " C"] | None
    clip_norm: float
    clipped_share: float | None
    cut_share: float | None
    vanish: float
    explode: float

    @property
    def time_percentiles(self) -> Float[Tensor, "3 N"]:
        """10th, 50th and 90th percentile of ||dL/dh_t|| over sequences."""
        return percentiles(self.state_gradients.log()).exp()

    @property
    def lag_percentiles(self) -> Float[Tensor, "3 L"]:
        """10th, 50th and 90th percentile of the ratio ||dL_τ/dh_{τ-k}|| / ||dL_τ/dh_τ|| over rows."""
        return percentiles(self.log_relative).exp()

    @property
    def statement(self) -> str:
        """What the gradient does, with the criterion."""
        last, factor = int(self.lags[-1]), math.exp(min(self.growth_rate, 700.0))
        if self.flow == "no gradient":
            return "no gradient: the loss does not depend on the states at any of the steps looked at"
        if self.flow == "exploding":
            return f"exploding: the gradient grows by a factor {factor:.3g} per step back in time, over {last} steps"
        if self.flow == "vanishing":
            return (
                f"vanishing beyond lag {self.vanishing_lag}: from there the gradient stays below {100 * self.vanish:g} % of its "
                f"size at the loss (a factor {factor:.3g} per step)"
            )
        return f"healthy up to lag {last}: the gradient stays above {100 * self.vanish:g} % and below {self.explode:g} times its size at the loss"


def gradient_flow(
    model: DynamicalSystem | SequenceModel,
    inputs: Float[Tensor, "B T X"],
    targets: Tensor,
    *,
    loss: Loss = "mse",
    last_only: bool = False,
    starts: Float[Tensor, "B S"] | None = None,
    clip_norm: float = 1.0,
    num_loss_steps: int = 8,
    most_clipped: int = 32,
    vanish: float = 0.01,
    explode: float = 10.0,
) -> GradientFlow:
    """||dL/dh_t|| over time, and by the lag from the step at which the loss is taken.

        dL/dh_{t} = Σ_{τ >= t} (dh_τ/dh_t)ᵀ dL/dh_τ|direct

    By time, all steps of the loss add up. By lag, the loss is followed back through one output at a time: through the last with
    `last_only`, else through `num_loss_steps` steps τ spread over the second half, so that every row has all lags up to T/2.

    Criterion, on the median over rows of r_k = ||dL_τ/dh_{τ-k}|| / ||dL_τ/dh_τ||: *exploding* where r exceeds `explode` at some
    lag and the fitted growth rate is positive; else *vanishing beyond lag k* where r stays below `vanish` from lag k on; else
    *healthy up to lag L*, the largest one looked at.

    Args:
        model: a dynamical system, or a model with exactly one inside; unrolled step by step as a float64 copy, so the caller's
            weights and gradients stay as they are.
        inputs: (B, T, X), T >= 1.
        targets: numbers (B, T, Y) for "mse", classes (B, T) for "cross_entropy"; with `last_only` the time axis may be missing.
        loss: "mse", the mean over steps and outputs; "cross_entropy" of softmax(outputs), the mean over steps, in nats; or a
            function (outputs (B, K, Y), targets) -> losses (B,), K being T or 1. A single number is taken as the mean over
            sequences.
        last_only: the loss at the last step alone.
        starts: h_0, (B, S); the initial state when None.
        clip_norm: > 0, the bound of gradient clipping (by norm) to be judged, on the gradients of the first `most_clipped`
            sequences, one backward pass each.
        vanish: in (0, 1). explode: > 1.

    Returns:
        `GradientFlow`.

    Raises:
        ConfigError: an unknown loss, a number out of range, a class out of range, a model with several systems. ShapeError:
        inputs, starts, targets or losses that do not fit. DataError: gradients that are not finite.

    References:
        Hochreiter (1991), diploma thesis, TU München. Bengio, Simard & Frasconi (1994). Pascanu, Mikolov & Bengio (2013), ICML.

    Example:
        >>> import torch, rnnscope as rs
        >>> decay = rs.System(lambda h, x: 0.5 * h + x, state_size=1, input_size=1)
        >>> found = gradient_flow(decay, torch.ones(2, 20, 1), torch.zeros(2, 1), last_only=True)
        >>> found.flow, found.vanishing_lag, round(found.growth_rate, 4)
        ('vanishing', 7, -0.6931)
    """
    if min(num_loss_steps, most_clipped) < 1 or not clip_norm > 0 or not 0 < vanish < 1 or not explode > 1:
        raise ConfigError(
            f"num_loss_steps {num_loss_steps}, most_clipped {most_clipped}, clip_norm {clip_norm}, vanish {vanish}, explode {explode}",
            "counts >= 1, clip_norm > 0, vanish in (0, 1), explode > 1",
            "change the argument that is out of range",
        )
    copy = in_double(model if isinstance(model, DynamicalSystem) else only_system(model)).requires_grad_(True)
    with torch.enable_grad():
        states, outputs = _unroll(copy, inputs, starts)
        losses = _losses(outputs[:, -1:] if last_only else outputs, _counted(targets, outputs, last_only), loss)
        steps = _loss_steps(len(states) - 1, last_only, num_loss_steps)
        state_gradients, log_relative = _norms(states, outputs, losses, steps)
        norms = _parameter_norms(copy, losses, most_clipped)
    if not bool(torch.isfinite(state_gradients).all()):
        raise DataError(
            "gradients that are not finite", "finite losses and gradients", "look at the inputs, or take fewer steps"
        )
    flow, lag, rate = _judge(log_relative, vanish, explode)
    return GradientFlow(
        state_gradients=state_gradients,
        losses=losses.detach(),
        loss_steps=steps,
        lags=torch.arange(log_relative.shape[1]),
        log_relative=log_relative,
        flow=flow,
        vanishing_lag=lag,
        growth_rate=rate,
        parameter_norms=norms,
        clip_norm=clip_norm,
        clipped_share=None if norms is None else float((norms > clip_norm).double().mean()),
        cut_share=None if norms is None else float((1 - clip_norm / norms.clamp_min(clip_norm)).mean()),
        vanish=vanish,
        explode=explode,
    )


def _unroll(system: DynamicalSystem, inputs: Tensor, starts: Tensor | None) -> tuple[list[Tensor], Tensor]:
    """h_0 … h_T as a list of graph nodes, and the outputs (B, T, Y)."""
    if inputs.ndim != 3 or inputs.shape[-1] != system.input_size or inputs.shape[1] < 1 or len(inputs) < 1:
        raise ShapeError(
            f"inputs of shape {tuple(inputs.shape)}",
            f"(batch >= 1, time >= 1, {system.input_size})",
            "put the axes in the order batch, time, feature",
        )
    start = system.initial_state(len(inputs)) if starts is None else starts
    check_state(system, start, len(inputs))
    device = system.initial_state(1).device
    states = [start.detach().to(device, torch.float64).requires_grad_()]
    driving = inputs.detach().to(device, torch.float64, copy=True).requires_grad_()  # a state may depend on inputs alone
    for x in driving.unbind(1):
        states.append(system.step(states[-1], x).double())
    return states, system.readout(torch.stack(states[1:], 1)).double()


def _counted(targets: Tensor, outputs: Tensor, last_only: bool) -> Tensor:
    """The targets of the counted steps, with a time axis."""
    targets = targets.detach().to(outputs.device)
    if not last_only:
        return targets
    whole = targets.ndim == (3 if targets.is_floating_point() else 2)
    return targets[:, -1:] if whole else targets[:, None]


def _losses(outputs: Tensor, targets: Tensor, loss: Loss) -> Float[Tensor, " B"]:
    """One loss per sequence."""
    if callable(loss):
        found = loss(outputs, targets)
        if found.ndim == 0:  # a mean over sequences: its gradient is 1/B of each sequence's own
            return found.expand(len(outputs))
        if tuple(found.shape) != (len(outputs),):
            raise ShapeError(
                f"losses of shape {tuple(found.shape)}", f"({len(outputs)},) or ()", "return one loss per sequence"
            )
        return found
    if loss == "mse":
        _check_targets(targets, tuple(outputs.shape))
        return ((outputs - targets) ** 2).flatten(1).mean(1)
    if loss != "cross_entropy":
        raise ConfigError(f"loss {loss!r}", "'mse', 'cross_entropy' or a function", "choose one of them")
    _check_targets(targets, tuple(outputs.shape[:2]))
    if targets.is_floating_point() or int(targets.min()) < 0 or int(targets.max()) >= outputs.shape[-1]:
        raise ConfigError(
            f"classes of type {targets.dtype}, {targets.min():g} to {targets.max():g}",
            f"integers from 0 to {outputs.shape[-1] - 1}",
            "number the classes from 0, one output per class",
        )
    return nn.functional.cross_entropy(outputs.transpose(1, 2), targets.long(), reduction="none").mean(1)


def _check_targets(targets: Tensor, wanted: tuple[int, ...]) -> None:
    if tuple(targets.shape) != wanted:
        raise ShapeError(
            f"targets of shape {tuple(targets.shape)}", f"{wanted}", "give one target per sequence and counted step"
        )


def _loss_steps(steps: int, last_only: bool, most: int) -> Int[Tensor, " M"]:
    """Steps τ in 1 … T to follow back."""
    if last_only:
        return torch.tensor([steps])
    return torch.linspace(-(-steps // 2), steps, most, dtype=torch.float64).round().long().unique()


def _norms(states: list[Tensor], outputs: Tensor, losses: Tensor, steps: Tensor) -> tuple[Tensor, Tensor]:
    """||dL/dh_t||, (B, N), and ln of the norms by lag relative to lag 0, (R, L)."""
    total = losses.sum()
    if not total.requires_grad:
        raise ConfigError("a loss that no gradient leaves", "a differentiable system and loss", "do not detach inside them")
    seeds, *gradients = torch.autograd.grad(total, [outputs, *states], retain_graph=True, materialize_grads=True)
    by_time = torch.stack([g.norm(dim=-1) for g in gradients], 1).detach()
    lags = int(steps[0]) + 1
    rows = []
    for step in steps.tolist():
        back = [states[step - k] for k in range(lags)]
        seed = torch.zeros_like(seeds)
        seed[:, step - 1] = seeds[:, step - 1]
        found = torch.autograd.grad(outputs, back, seed, retain_graph=True, materialize_grads=True)
        rows.append(torch.stack([g.norm(dim=-1) for g in found], 1).detach())
    norms = torch.cat(rows)
    norms = norms[norms[:, 0] > 0]
    return by_time, norms.log() - norms[:, :1].log()


def _parameter_norms(system: DynamicalSystem, losses: Tensor, most: int) -> Tensor | None:
    """Norm of each sequence's gradient with respect to all parameters, (C,)."""
    parameters = list(system.parameters())
    if not parameters:
        return None
    norms = []
    for own in losses[:most]:
        found = torch.autograd.grad(own, parameters, retain_graph=True, materialize_grads=True)
        norms.append(torch.stack([g.norm() for g in found]).norm())
    return torch.stack(norms).detach()


def _judge(log_relative: Float[Tensor, "R L"], vanish: float, explode: float) -> tuple[Flow, int | None, float]:
    """What the median does, the lag from which it stays below `vanish`, and its growth per step."""
    if not len(log_relative):
        return "no gradient", None, math.nan
    median = percentiles(log_relative)[1]
    kept = torch.nonzero(median > math.log(1e-12)).flatten()
    lags, values = kept.double(), median[kept]
    rate = -math.inf
    if len(kept) > 1:
        lags = lags - lags.mean()
        rate = float((lags * values).sum() / (lags**2).sum())
    last_above = int(torch.nonzero(median >= math.log(vanish))[-1])
    vanished = last_above + 1 if last_above + 1 < len(median) else None
    if float(median.max()) > math.log(explode) and rate > 0:
        return "exploding", vanished, rate
    return ("healthy" if vanished is None else "vanishing"), vanished, rate
