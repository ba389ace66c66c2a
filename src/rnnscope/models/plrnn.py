"""Piecewise-linear recurrent networks (PLRNN) as models of dynamical systems.

    shallow        z' = A∘z + W1 relu(W2 z + h2) + h1 + C e                     (Hess, Monfared, Brenner & Durstewitz 2023, ICML)
    clipped        z' = A∘z + W1 [relu(W2 z + h2) - relu(W2 z)] + h1 + C e      bounded when all |A| < 1
    almost linear  z' = A∘z + W1 φ(z) + h1 + C e, φ the identity, but relu on the last P components
                                                                                (Brenner, Hemmer, Monfared & Durstewitz 2024, NeurIPS)

The first Y components of z are what is observed. A driven step replaces them by the first Y inputs; e are the inputs after
these. The output is the first Y components of the new state. So a network that is fed its own outputs is exactly the autonomous
map above, and teacher forcing, generalised or not, is a matter of what it is fed (`core.forcing`).
"""

import math
from typing import Literal

import torch
from torch import Tensor, nn

from rnnscope.core.errors import ConfigError
from rnnscope.core.forcing import FusedForcing
from rnnscope.core.interfaces import ModelSpec, Signature
from rnnscope.core.loops import AffineFeedback, FusedClosedLoop
from rnnscope.core.padding import kept_steps
from rnnscope.core.piecewise import AffineReadout, PiecewiseLinear
from rnnscope.core.spec import NonNegative, Positive, PositiveFloat
from rnnscope.core.system import AnalyticJacobian, DynamicalSystem, FusedRollout, SequenceModel, rollout
from rnnscope.models.initialisation import fill_uniform
from rnnscope.numerics.plrnn_passes import PackedPLRNN, forced_pass, free_outputs

Form = Literal["shallow", "clipped", "almost_linear"]
FULL, SEVERAL = 3, 8  # observed variables that are taken for the whole state; components where there are fewer
FAR = 5.0  # standard deviations within which a unit is a straight wire


class PLRNN(ModelSpec):
    """A piecewise-linear network whose state contains what is observed.

    Fields:
        latent_size: M, components of the state, at least the number of outputs; 0: as many as outputs, but eight where fewer than
            three are observed, since a flow of fewer than three dimensions is never chaotic.
        memory: what is not observed begins as averages of what is, over up to this many steps.
        hidden_size: L >= 1, ReLUs of the forms shallow and clipped. num_relus: P >= 1, of the form almost_linear, at most M.
        form: shallow, clipped or almost_linear.
    """

    latent_size: NonNegative = 0
    memory: PositiveFloat = 30.0
    hidden_size: Positive = 50
    num_relus: Positive = 2
    form: Form = "shallow"

    def build(self, signature: Signature, rng: torch.Generator) -> "PiecewiseLinearNetwork":
        """A network that begins near persistence, z' ≈ z, so that the ReLUs need to learn the change of a step alone.

        A is U(.98, 1) for what is observed; W1 U(±.1/sqrt(L)), W2 and C U(±1/sqrt(M)), h1 U(±.01), and h2 U(±1), so that
        borders of regions lie where data of standard deviation 1 do. Components that are not observed begin as leaky averages
        of those that are, z_k' = a_k z_k + (1 - a_k) x, with time constants up to `memory`: filters of a series show the
        state behind it as its delays do (Sauer, Yorke & Casdagli 1991), and a fed network knows them after a few constants.
        """
        seen = signature.output_size
        size = self.latent_size or (seen if seen >= FULL else SEVERAL)
        if signature.input_size < signature.output_size:
            raise ConfigError(
                f"{signature.input_size} inputs and {signature.output_size} outputs",
                "at least as many inputs as outputs: a PLRNN puts out the next values of its first inputs",
                "set task.horizon=1 and task.head=point, or choose another model",
            )
        if size < signature.output_size:
            raise ConfigError(
                f"latent_size is {size}, and {signature.output_size} variables are observed",
                "at least as many components as observed variables",
                f"set latent_size={signature.output_size}",
            )
        if self.form == "almost_linear" and self.num_relus > size:
            raise ConfigError(f"num_relus is {self.num_relus}", f"at most the {size} components", f"set num_relus={size}")
        network = PiecewiseLinearNetwork(
            self.form, signature.input_size, size, signature.output_size, self.hidden_size, self.num_relus
        )
        with torch.no_grad():
            network.decay.copy_(0.98 + 0.02 * torch.rand(size, generator=rng))
        fill_uniform(network.out, 0.1 / math.sqrt(network.out.shape[1]), rng)
        fill_uniform(network.into, 1 / math.sqrt(size), rng)
        fill_uniform(network.bias, 1.0, rng)
        fill_uniform(network.by_input, 1 / math.sqrt(size), rng)
        fill_uniform(network.shift, 0.01, rng)
        if size > seen:
            network.remember(self.memory)
        return network


class PiecewiseLinearNetwork(
    DynamicalSystem,
    SequenceModel,
    FusedRollout,
    FusedForcing,
    FusedClosedLoop,
    AnalyticJacobian,
    PiecewiseLinear,
    AffineReadout,
):
    """The network of a `PLRNN`; see the module for its equations.

    Args:
        form: of them. input_size: X >= Y. state_size: M >= Y. output_size: Y. hidden_size: L. num_relus: P.

    Attributes:
        decay: A. out: W1. into: W2. shift: h1. bias: h2 (an almost-linear network has neither W2 nor h2). by_input: C.
    """

    def __init__(
        self, form: Form, input_size: int, state_size: int, output_size: int, hidden_size: int, num_relus: int
    ) -> None:
        super().__init__()
        linear = form == "almost_linear"
        units = state_size if linear else hidden_size
        self.form: Form = form
        self.input_size, self.state_size, self.output_size = input_size, state_size, output_size
        self.num_linear = state_size - num_relus if linear else 0
        self.decay = nn.Parameter(torch.zeros(state_size))
        self.out = nn.Parameter(torch.zeros(state_size, units))
        self.into = nn.Parameter(torch.zeros(0 if linear else units, state_size))
        self.shift = nn.Parameter(torch.zeros(state_size))
        self.bias = nn.Parameter(torch.zeros(0 if linear else units))
        self.by_input = nn.Parameter(torch.zeros(state_size, input_size - output_size))

    @torch.no_grad()
    def remember(self, longest: float) -> None:
        """Make each component that is not observed a leaky average of one that is, the last over `longest` steps.

        A unit is linear where its ReLU stays on: relu(x + 5) - 5 = x. At most half of the units serve so; with too few of them
        the last components stay without a source.
        """
        seen, hidden = self.output_size, self.state_size - self.output_size
        constants = longest ** (torch.arange(1, hidden + 1).to(self.decay) / hidden)
        decay = constants / (1 + constants)
        self.decay[seen:], self.out[seen:], self.shift[seen:] = decay, 0.0, 0.0
        wires = 2 if self.form == "clipped" else 1
        for k in range(hidden):
            source, unit, gain = k % seen, wires * k, 1 - decay[k]
            if self.form == "almost_linear":
                self.out[seen + k, source] = gain
            elif unit + wires <= len(self.bias) // 2:
                units = slice(unit, unit + wires)
                self.into[units], self.out[:, units] = 0.0, 0.0
                self.into[units, source] = 1.0
                # relu(x + 5) - relu(x) rises from x = -5 to 0, relu(x) - relu(x - 5) from there on
                self.bias[units] = torch.tensor([FAR, -FAR]).to(self.bias)[:wires]
                self.out[seen + k, units] = gain * torch.tensor([1.0, -1.0]).to(self.bias)[:wires]
                self.shift[seen + k] = -FAR * gain

    # the noun

    def initial_state(self, batch_size: int) -> Tensor:
        return self.decay.new_zeros(batch_size, self.state_size)

    def step(self, state: Tensor, input: Tensor) -> Tensor:
        forced = self._forced(state, input)
        further = input[:, self.output_size :] @ self.by_input.T
        return self.decay * forced + self._rectified(forced) @ self.out.T + self.shift + further

    def readout(self, state: Tensor) -> Tensor:
        return state[..., : self.output_size]

    def _forced(self, state: Tensor, input: Tensor) -> Tensor:
        """The state with what is observed put in."""
        return torch.cat([input[:, : self.output_size], state[:, self.output_size :]], -1)

    def _values(self, forced: Tensor) -> Tensor:
        """What each unit sees."""
        return forced if self.form == "almost_linear" else forced @ self.into.T + self.bias

    def _rectified(self, forced: Tensor) -> Tensor:
        values = self._values(forced)
        if self.form == "clipped":
            return torch.relu(values) - torch.relu(values - self.bias)
        if self.form == "shallow":
            return torch.relu(values)
        return torch.cat([values[:, : self.num_linear], torch.relu(values[:, self.num_linear :])], -1)

    # derivatives

    def _by_forced(self, forced: Tensor) -> Tensor:
        return self._matrices(self._pattern(forced))

    def state_jacobian(self, state: Tensor, input: Tensor) -> Tensor:
        found = self._by_forced(self._forced(state, input))
        found[:, :, : self.output_size] = 0
        return found

    def input_jacobian(self, state: Tensor, input: Tensor) -> Tensor:
        found = self._by_forced(self._forced(state, input))[:, :, : self.output_size]
        return torch.cat([found, self.by_input.expand(len(state), -1, -1)], 2)

    def readout_jacobian(self, state: Tensor) -> Tensor:
        return self.affine_readout()[0].expand(len(state), -1, -1)

    def affine_readout(self) -> tuple[Tensor, Tensor]:
        identity = torch.eye(self.output_size, self.state_size, dtype=self.decay.dtype, device=self.decay.device)
        return identity, self.decay.new_zeros(self.output_size)

    # regions

    def _pattern(self, forced: Tensor) -> Tensor:
        """Which ReLUs are on: L of a shallow network, 2 L of a clipped one (the second half without h2), P of an almost-linear one."""
        values = self._values(forced)
        if self.form == "clipped":
            return torch.cat([values, values - self.bias], -1) > 0
        return values[:, self.num_linear :] > 0

    def _matrices(self, pattern: Tensor) -> Tensor:
        """A + W1 D W2 of each pattern."""
        on = pattern.to(self.decay)
        if self.form == "almost_linear":
            gains = torch.cat([on.new_ones(len(on), self.num_linear), on], 1)
            found = self.out * gains[:, None, :]
        else:
            first, second = on.chunk(2, 1) if self.form == "clipped" else (on, 0.0 * on)
            found = (self.out * (first - second)[:, None, :]) @ self.into
        return found + torch.diag(self.decay)

    def affine(self, pattern: Tensor, input: Tensor) -> tuple[Tensor, Tensor]:
        matrix = self._matrices(pattern)
        on = pattern.to(self.decay)
        offset = self.shift + input[:, self.output_size :] @ self.by_input.T
        if self.form != "almost_linear":
            first = on.chunk(2, 1)[0] if self.form == "clipped" else on
            offset = offset + (first * self.bias) @ self.out.T
        offset = offset + (matrix[:, :, : self.output_size] @ input[:, : self.output_size, None])[:, :, 0]
        free = matrix.clone()
        free[:, :, : self.output_size] = 0
        return free, offset

    def boundaries(self, pattern: Tensor, input: Tensor) -> tuple[Tensor, Tensor]:
        if self.form == "almost_linear":
            rows = torch.eye(self.state_size, dtype=input.dtype, device=input.device)[self.num_linear :]
            offsets = input.new_zeros(len(rows))
        elif self.form == "clipped":
            rows, offsets = torch.cat([self.into, self.into]), torch.cat([self.bias, torch.zeros_like(self.bias)])
        else:
            rows, offsets = self.into, self.bias
        seen = self.output_size
        free = torch.cat([torch.zeros_like(rows[:, :seen]), rows[:, seen:]], 1)
        return free.expand(len(pattern), -1, -1), offsets + input[:, :seen] @ rows[:, :seen].T

    def region(self, state: Tensor, input: Tensor) -> Tensor:
        return self._pattern(self._forced(state, input))

    # whole sequences

    def systems(self) -> dict[str, DynamicalSystem]:
        return {"network": self}

    def forward(
        self,
        inputs: Tensor,
        lengths: Tensor | None = None,
        *,
        rng: torch.Generator | None = None,
        last: int | None = None,
    ) -> Tensor:
        outputs = rollout(self, inputs, keep_states=False).outputs
        return kept_steps(outputs, lengths, last)

    def packed(self) -> PackedPLRNN:
        """The weights, for the compiled passes."""
        return PackedPLRNN(self.form, self.num_linear, self.decay, self.out, self.into, self.shift, self.bias, self.by_input)

    def fused_rollout(self, inputs: Tensor, state: Tensor, rng: torch.Generator | None = None) -> tuple[Tensor, Tensor]:
        if inputs.device.type != "cpu":
            run = rollout(self, inputs, state, fused=False)
            return run.outputs, run.final_state
        return forced_pass(self.packed(), inputs, inputs.new_ones(inputs.shape[1]), state)

    def fused_forcing(
        self, inputs: Tensor, weights: Tensor, feedback: AffineFeedback, state: Tensor
    ) -> tuple[Tensor, Tensor] | None:
        if inputs.device.type != "cpu" or not self._is_plain(feedback):
            return None
        return forced_pass(self.packed(), inputs, weights, state)

    def fused_closed_loop(
        self, state: Tensor, input: Tensor, feedback: AffineFeedback, exogenous: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        matrices = (feedback.carry, feedback.from_output, feedback.from_exogenous)
        return free_outputs(self.packed(), state, input, matrices, self._is_plain(feedback), exogenous, self.output_size)

    def _is_plain(self, feedback: AffineFeedback) -> bool:
        """Whether the next input is (y, e)."""
        width, seen = self.input_size, self.output_size
        if feedback.num_exogenous != width - seen or feedback.carries:
            return False
        joined = torch.cat([feedback.from_output, feedback.from_exogenous], 1)
        return bool((joined == torch.eye(width, dtype=joined.dtype, device=joined.device)).all())
