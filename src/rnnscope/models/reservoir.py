"""The spec of echo state networks; their equation stands in `reservoir_system`."""

import math
from typing import Annotated, Literal

import numpy as np
import scipy.sparse
import torch
from pydantic import Field
from scipy.sparse.linalg import ArpackNoConvergence, eigs
from torch import Tensor

from rnnscope.core.errors import ConfigError
from rnnscope.core.interfaces import ModelSpec, Signature
from rnnscope.core.spec import NonNegative, NonNegativeFloat, Positive, PositiveFloat
from rnnscope.models.initialisation import fill_uniform
from rnnscope.models.reservoir_system import ReservoirFeatures, ReservoirSystem

_DENSE = 250  # units up to which all eigenvalues are computed


class EchoState(ModelSpec):
    """Echo state network: a fixed random reservoir of leaky tanh units and a linear readout (Jaeger 2001; Lukoševičius 2012).

    Train it with the trainer `ridge`. Back-propagation trains its readout alone.

    Fields:
        units: N, of each reservoir, >= 1. num_reservoirs: that many beside one another, read out together.
            stacked: they stand on one another instead: the first reads the input, each further one the reservoir below (deep
            echo state network, Gallicchio et al. 2017), and the readout sees them all.
        degree: connections that a unit receives from its reservoir (and, stacked, from the one below), 1 to units.
        weights: their distribution and that of input, bias and feedback: uniform on ±scale, or gaussian with sd scale.
        spectral_radius: of each reservoir's recurrent matrix, > 0.
        leak: a in (0, 1]: 1 forgets nothing of the new value; small values make slow units.
        input_scale: > 0; inputs are expected to have sd 1. input_degree: inputs that each unit reads; 0: all.
        bias_scale: >= 0. Without biases the units are odd functions and most of a forecast's length is lost.
        feedback_scale: of the previous output into the reservoir; 0: none. Forecasts in closed loop need none: their outputs
            come back as inputs.
        features: what is read out: state (h), state_squares (h and h²), mixed (h with every second unit squared).
        plasticity_epochs: passes of intrinsic plasticity over the training inputs before the readout is trained, which drives each
            unit's values towards a normal distribution of sd plasticity_sd at plasticity_rate (Schrauwen et al. 2008). 0: none.
    """

    units: Positive = 500
    num_reservoirs: Positive = 1
    stacked: bool = False
    degree: Positive = 10
    weights: Literal["uniform", "gaussian"] = "uniform"
    spectral_radius: PositiveFloat = 0.9
    leak: Annotated[float, Field(gt=0.0, le=1.0)] = 1.0
    input_scale: PositiveFloat = 0.5
    input_degree: NonNegative = 0
    bias_scale: NonNegativeFloat = 1.5
    feedback_scale: NonNegativeFloat = 0.0
    features: ReservoirFeatures = "state"
    plasticity_epochs: NonNegative = 0
    plasticity_rate: PositiveFloat = 1e-3
    plasticity_sd: PositiveFloat = 0.5

    def model_post_init(self, context: object) -> None:
        if self.degree > self.units:
            raise ConfigError(
                f"degree is {self.degree} in a reservoir of {self.units} units",
                "at most one connection from each unit",
                f"set degree={self.units} or fewer, or more units",
            )

    def build(self, signature: Signature, rng: torch.Generator) -> ReservoirSystem:
        """A network of these statistics, float64."""
        if self.input_degree > signature.input_size:
            raise ConfigError(
                f"input_degree is {self.input_degree}, and the task has {signature.input_size} inputs",
                "at most one connection from each input",
                "set input_degree=0 for all",
            )
        parts = [self._reservoir(rng) for _ in range(self.num_reservoirs)]
        sources = torch.cat([part + i * self.units for i, (part, _) in enumerate(parts)])
        recurrent = torch.cat([weights for _, weights in parts])
        total = len(sources)
        drive = self._input_weights(total, signature.input_size, rng)
        if self.stacked and self.num_reservoirs > 1:
            sources, recurrent = self._stack(sources, recurrent, rng)
            drive[self.units :] = 0
        system = ReservoirSystem(
            sources,
            recurrent,
            drive,
            self._drawn((total,), self.bias_scale, rng),
            torch.full((total,), self.leak, dtype=torch.float64),
            self._drawn((total, signature.output_size), self.feedback_scale, rng) if self.feedback_scale else None,
            signature.output_size,
            features=self.features,
            num_blocks=self.num_reservoirs if self.stacked else 1,
            plasticity=(self.plasticity_epochs, self.plasticity_rate, 0.0, self.plasticity_sd),
        )
        for parameter in system.head.parameters():
            fill_uniform(parameter, 1 / math.sqrt(system.num_features), rng)
        return system

    def _drawn(self, shape: tuple[int, ...], scale: float, rng: torch.Generator) -> Tensor:
        if self.weights == "gaussian":
            return scale * torch.randn(shape, generator=rng, dtype=torch.float64)
        return scale * (2 * torch.rand(shape, generator=rng, dtype=torch.float64) - 1)

    def _chosen(self, rows: int, among: int, count: int, rng: torch.Generator) -> Tensor:
        """`count` different numbers below `among` for each row, ascending."""
        return torch.rand(rows, among, generator=rng).argsort(1)[:, :count].sort(1).values

    def _reservoir(self, rng: torch.Generator) -> tuple[Tensor, Tensor]:
        """Sources and weights of one reservoir, scaled to its spectral radius."""
        sources = self._chosen(self.units, self.units, self.degree, rng)
        weights = self._drawn((self.units, self.degree), 1.0, rng)
        radius = spectral_radius(sources.numpy(), weights.numpy())
        if not radius > 1e-6:
            raise ConfigError(
                f"a reservoir of {self.units} units with {self.degree} connections each came out without any loop",
                "a recurrent matrix with a spectral radius above 0",
                "set degree larger",
            )
        return sources, weights * (self.spectral_radius / radius)

    def _input_weights(self, rows: int, inputs: int, rng: torch.Generator) -> Tensor:
        drive = self._drawn((rows, inputs), self.input_scale, rng)
        if not 0 < self.input_degree < inputs:
            return drive
        kept = self._chosen(rows, inputs, self.input_degree, rng)
        return torch.zeros_like(drive).scatter_(1, kept, drive.gather(1, kept))

    def _stack(self, sources: Tensor, recurrent: Tensor, rng: torch.Generator) -> tuple[Tensor, Tensor]:
        """Connections from the reservoir below added to those within; the first reservoir gets idle ones."""
        below = self._chosen(len(sources), self.units, self.degree, rng)
        level = torch.arange(len(sources)) // self.units
        weights = self._drawn(tuple(below.shape), self.input_scale, rng)
        weights[level == 0] = 0
        below = below + ((level - 1).clamp(min=0) * self.units)[:, None]
        return torch.cat([sources, below], 1), torch.cat([recurrent, weights], 1)


def spectral_radius(sources: np.ndarray, weights: np.ndarray) -> float:
    """The largest modulus of the eigenvalues of the matrix with these weights (N, k) at columns `sources` (N, k)."""
    units, degree = sources.shape
    matrix = scipy.sparse.csr_matrix((weights.ravel(), (np.repeat(np.arange(units), degree), sources.ravel())), (units, units))
    if units > _DENSE:
        # the eigenvalues of a random matrix fill a disk: several at its rim are sought, in a large space
        try:
            start = np.ones(units) / math.sqrt(units)
            found = eigs(matrix, k=4, ncv=min(units - 1, 80), v0=start, tol=1e-9, maxiter=300, return_eigenvectors=False)
            return float(np.abs(found).max())
        except ArpackNoConvergence:
            pass
    return float(np.abs(np.linalg.eigvals(matrix.toarray())).max())
