"""Bifurcations of fixed points and cycles on a branch: what is watched, and what a crossing is called; bifurcation diagrams.

    fold             an eigenvalue +1 where the branch turns round in the parameter
    branch point     an eigenvalue +1 where it does not (transcritical, pitchfork)
    flip             an eigenvalue -1: a cycle of twice the period is born
    Neimark-Sacker   a complex pair of modulus 1: an invariant circle is born

(Kuznetsov, Elements of Applied Bifurcation Theory, chapter 4.)
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Bool, Complex, Float
from torch import Tensor

from rnnscope.core.errors import ConfigError
from rnnscope.core.system import DynamicalSystem
from rnnscope.dynamics.autonomous import check_counts, is_bounded
from rnnscope.dynamics.parameter_families import Parameter, SystemFamily, map_family
from rnnscope.dynamics.starts import default_starts

BifurcationKind = Literal["fold", "branch point", "flip", "Neimark-Sacker"]
ON_CIRCLE = 1e-12  # moduli within this of 1 do not count as outside
REAL = 1e-7  # imaginary parts below this, relative to the modulus, are rounding


@dataclass(frozen=True)
class Bifurcation:
    """A crossing of the unit circle on a branch.

    Attributes:
        kind: "fold", "branch point", "flip" or "Neimark-Sacker".
        parameter: p there. parameter_error: half the bracket that holds it.
        point: the state, (S,). eigenvalue: the critical one.
        direction: unit eigenvector of the critical eigenvalue, (S,) (its real part for a pair): where a new branch begins;
            continue it from point + a little of this.
        rotation_number: of a Neimark-Sacker point, arg(eigenvalue)/2π turns per step; 0 otherwise.
    """

    kind: BifurcationKind
    parameter: float
    parameter_error: float
    point: Float[Tensor, " S"]
    eigenvalue: complex
    direction: Float[Tensor, " S"]
    rotation_number: float

    @property
    def summary(self) -> str:
        """One line."""
        turn = f", {1 / self.rotation_number:.6g} steps per turn" if self.rotation_number else ""
        return f"{self.kind} at {self.parameter:.9g} ± {self.parameter_error:.0e} (eigenvalue {self.eigenvalue:.6g}{turn})"


def crossings(eigenvalues: Complex[Tensor, " S"]) -> tuple[int, int, int]:
    """What changes at a bifurcation: eigenvalues outside the unit circle, the signs of det(I - J) and det(I + J)."""
    outside = int((eigenvalues.abs() > 1 + ON_CIRCLE).sum())
    real = eigenvalues.real[eigenvalues.imag.abs() <= REAL * (1 + eigenvalues.abs())]
    return outside, int((real > 1 + ON_CIRCLE).sum()) % 2, int((real < -1 - ON_CIRCLE).sum()) % 2


def describe_crossing(
    jacobian: Float[Tensor, "S S"], parameter: float, error: float, point: Float[Tensor, " S"], turns: bool
) -> Bifurcation:
    """Name the crossing from the eigenvalue next to the unit circle; `turns`: whether the parameter turns round there."""
    eigenvalues, vectors = torch.linalg.eig(jacobian)
    critical = int((eigenvalues.abs() - 1).abs().argmin())
    value, direction = complex(eigenvalues[critical]), vectors[:, critical].real
    kind: BifurcationKind
    if abs(value.imag) > 1e-4:
        kind = "Neimark-Sacker"
    elif value.real < 0:
        kind = "flip"
    else:
        kind = "fold" if turns else "branch point"
    turn = abs(math.atan2(value.imag, value.real)) / (2 * math.pi) if kind == "Neimark-Sacker" else 0.0
    return Bifurcation(kind, parameter, error, point, value, direction / direction.norm(), turn)


@dataclass(frozen=True)
class BifurcationDiagram:
    """Where orbits run at each value of a parameter, after their transients.

    Attributes:
        values: of the parameter, (V,). outputs: G(h) at successive steps of each orbit, (V, N, K, Y), NaN where it diverged.
        diverged: (V, N). followed: whether each value began where the one before ended.
    """

    values: Float[Tensor, " V"]
    outputs: Float[Tensor, "V N K Y"]
    diverged: Bool[Tensor, "V N"]
    followed: bool


def bifurcation_diagram(
    system: DynamicalSystem | SystemFamily,
    values: Sequence[float],
    *,
    parameter: Parameter = "input",
    direction: Float[Tensor, " X"] | None = None,
    input: Float[Tensor, " X"] | None = None,
    weights: Sequence[str] | None = None,
    starts: Float[Tensor, "N S"] | None = None,
    num_starts: int = 16,
    num_transient: int = 500,
    num_points: int = 64,
    follow: bool = False,
    rng: torch.Generator | None = None,
) -> BifurcationDiagram:
    """Sample the attractors of a system along a parameter.

    Args:
        system: a system, or a function p -> system. values: p, in the order visited.
        parameter, direction, input, weights: what p is, see `map_family`.
        starts: the same at every value, (N, S); `default_starts` of the first value's system when None (`num_starts` of them).
        num_transient: steps dropped, >= 1. num_points: steps kept, K >= 1.
        follow: begin each value where the one before ended: going up and down then shows hysteresis.
        rng: of the default starts; a fresh one seeded 0 when None.

    Returns:
        `BifurcationDiagram`.

    Raises:
        ConfigError: no values, or counts out of range. ShapeError: arrays that do not fit.

    Example:
        >>> import torch, rnnscope as rs
        >>> logistic = lambda r: rs.System(lambda h, x: r * h * (1 - h), state_size=1)
        >>> found = bifurcation_diagram(logistic, [2.0, 3.2], starts=torch.tensor([[0.3]]), num_points=2)
        >>> found.outputs[:, 0, :, 0].sort(dim=1).values
        tensor([[0.5000, 0.5000],
                [0.5130, 0.7995]], dtype=torch.float64)
    """
    check_counts(num_transient=num_transient, num_points=num_points, num_starts=num_starts)
    if not len(values):
        raise ConfigError("no parameter values", "at least one", "give values, such as torch.linspace(0, 2, 200).tolist()")
    family = map_family(system, parameter, direction=direction, input=input, weights=weights)
    rng = torch.Generator().manual_seed(0) if rng is None else rng
    first = family(float(values[0]))
    begin = first.starts(default_starts(first.system, num_starts, rng, first.input) if starts is None else starts)
    state, outputs, lost = begin, [], []
    for value in values:
        map = family(float(value))
        state = map.advance(torch.where(is_bounded(state)[:, None], state, begin) if follow else begin, num_transient)
        orbit = map.orbits(state, num_points)
        state, gone = orbit[:, -1], ~is_bounded(orbit)
        with torch.no_grad():
            read = map.system.readout(orbit).double()
        outputs.append(torch.where(gone[:, None, None], torch.nan, read))
        lost.append(gone)
    grid = torch.tensor([float(v) for v in values], dtype=torch.float64)
    return BifurcationDiagram(grid, torch.stack(outputs), torch.stack(lost), follow)
