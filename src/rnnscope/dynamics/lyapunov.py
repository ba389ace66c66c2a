"""Lyapunov spectra of dynamical systems: autonomous maps, flows, and driven networks."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor

from rnnscope.core.driven import in_double, rounding
from rnnscope.core.errors import ConfigError, DataError, ShapeError
from rnnscope.core.jacobians import state_jacobians
from rnnscope.core.system import AnalyticJacobian, DynamicalSystem, Push, TangentProducts
from rnnscope.dynamics.lyapunov_drive import Drive, Path, make_drive, make_starts
from rnnscope.dynamics.lyapunov_statistics import (
    Kind,
    blocked_error,
    classify,
    disagree,
    drifts,
    kaplan_yorke,
    resolution,
)
from rnnscope.numerics.tangent import Products, TangentFrame

WORST_ROUNDING = 1e-5  # relative rounding of a growth beyond which the smallest exponents are doubted
CACHED, HELD = 2**17, 2**22  # numbers of the Jacobians taken at once: in closed form; by backward passes
FEW = 0.5  # of the state's size: up to so many vectors are pushed on cheaper than by forming Jacobians
NUM_WINDOWS = 32


@dataclass(frozen=True)
class LyapunovSpectrum:
    """Lyapunov exponents, largest first, and what they say. Tensors are float64 on the CPU, in nats per step or per unit time.

    Attributes:
        exponents: λ, (K,). -inf: the product of Jacobians is singular (dead units, delays), nothing of that direction is left.
        standard_errors: of `exponents`, (K,), from block means within and between trajectories.
        per_trajectory: (B, K). local_exponents: finite-time exponents of W successive windows, (B, W, K), in order of time.
        halves: the exponents of the first and of the second half of the run, (2, K).
        sum_rule_error: |Σ λ - mean ln |det J||, where all S exponents are finite and were computed; None elsewhere.
        kaplan_yorke_dimension, kaplan_yorke_error: with standard error; nan where too few exponents were computed.
        kaplan_yorke_reason: how it came about, or why there is none.
        kind: "settles" (largest exponent negative: a fixed point or cycle; of a driven system: the input decides the state),
            "periodic" (a flow with one zero exponent), "quasi-periodic" (the largest compatible with zero), "chaotic" (positive)
            or "undecided" (compatible with zero within a large standard error).
        evidence: the numbers behind `kind`. outcome: whether the run has converged and its numbers can be trusted, in words.
        zero_tolerance: |λ| up to which an exponent is compatible with zero, (K,): 3 standard errors + 3 nats over the run.
        num_steps: steps of each trajectory that count. burn_in: steps before them. num_trajectories: B.
        interval: mean steps between orthonormalisations. worst_cancellation: the largest factor by which rounding grew in one.
        unit: "per step" or "per unit time". drive: what the inputs were, in words.
    """

    exponents: Float[Tensor, " K"]
    standard_errors: Float[Tensor, " K"]
    per_trajectory: Float[Tensor, "B K"]
    local_exponents: Float[Tensor, "B W K"]
    halves: Float[Tensor, "2 K"]
    sum_rule_error: float | None
    kaplan_yorke_dimension: float
    kaplan_yorke_error: float
    kaplan_yorke_reason: str
    kind: Kind
    evidence: str
    outcome: str
    zero_tolerance: Float[Tensor, " K"]
    num_steps: int
    burn_in: int
    num_trajectories: int
    interval: float
    worst_cancellation: float
    unit: str
    drive: str

    @property
    def summary(self) -> str:
        """One line for reports."""
        pairs = zip(self.exponents[:3].tolist(), self.standard_errors[:3].tolist(), strict=True)
        shown = ", ".join(f"{value:.4g} ± {error:.1g}" for value, error in pairs)
        more = ", …" if len(self.exponents) > 3 else ""
        return f"{self.kind} ({self.drive}): exponents {shown}{more} {self.unit}; {self.outcome}"


@dataclass(frozen=True)
class _Growth:
    """Mean ln growth per step in each window, (B, W, K), windows' lengths (W,), and mean ln |det J| where it was followed."""

    local: Float[Tensor, "B W K"]
    lengths: Float[Tensor, " W"]
    log_determinant: float | None


def lyapunov_spectrum(
    system: DynamicalSystem,
    *,
    num_steps: int = 10_000,
    num_exponents: int | None = None,
    inputs: Tensor | float | None = None,
    starts: Float[Tensor, "B S"] | None = None,
    num_trajectories: int = 8,
    burn_in: int | None = None,
    time_step: float | None = None,
    interval: int | None = None,
    rng: torch.Generator | None = None,
) -> LyapunovSpectrum:
    """Lyapunov exponents by QR of the tangent map, in float64, over several trajectories at once.

        λ_k = lim 1/T Σ_t ln |R_t,kk|,   J_t Q_{t-1} = Q_t R_t,   J_t = dF/dh at (h_{t-1}, x_t)

    (Benettin et al. 1980; Eckmann & Ruelle 1985). Several steps pass between two QR factorisations, as many as the conditioning
    allows: the cancellation on the way to each R_kk is held below 1e8, and a block of steps where it is larger is done again with
    fewer. The Jacobian is the system's own closed form where it has one. For a driven system these are the
    conditional exponents: perturbations of the state under the same inputs.

    Args:
        system: any dynamical system; a float64 copy is used, the caller's is left as it is.
        num_steps: T >= 2 of each trajectory, after the burn-in; no more than an input sequence holds.
        num_exponents: K, the largest ones; all S when None.
        inputs: of a driven system: one held vector (X,), a sequence (time, X) for all trajectories or (B, time, X), or a number,
            the standard deviation of white noise, fresh for each trajectory. None: input held at 0.
        starts: (B, S); the initial state + N(0, 0.05²) when None.
        num_trajectories: B where neither starts nor inputs say so.
        burn_in: steps dropped first, the tangent vectors aligning during the second half of them; max(100, num_steps/10), at
            most a fifth of an input sequence, when None.
        time_step: time of one step; exponents are then per unit time, and one zero exponent is taken for the flow's direction.
        interval: steps between factorisations, kept as given; chosen when None.
        rng: for starts, tangent vectors and noise; a fresh one seeded 0 when None.

    Returns:
        `LyapunovSpectrum`.

    Raises:
        ConfigError: an argument out of range. ShapeError: inputs or starts that do not fit.
        DataError: a trajectory or a Jacobian that is not finite.

    Example:
        >>> import torch, rnnscope as rs
        >>> halves = rs.System(lambda h, _: h * torch.tensor([0.5, 0.25]), state_size=2)
        >>> lyapunov_spectrum(halves, num_steps=100).exponents.exp().numpy().round(6).tolist()
        [0.5, 0.25]
    """
    rng = torch.Generator().manual_seed(0) if rng is None else rng
    size = system.state_size
    count = size if num_exponents is None else num_exponents
    _check(num_steps, count, size, num_trajectories, burn_in, time_step, interval)
    copy = in_double(system)
    initial = copy.initial_state(1).detach().double()
    drive = make_drive(copy, inputs, initial, rng)
    rows = _num_rows(drive, starts, num_trajectories)
    num_steps, burn_in = _lengths(drive, num_steps, burn_in)
    path = Path(copy, drive, make_starts(initial, starts, rows, rng))
    basis = torch.randn(rows, size, count, generator=rng, dtype=torch.float64, device=rng.device).to(initial.device)
    frame = TangentFrame(basis, interval, rounding(copy))
    _advance(path, None, burn_in // 2)
    _advance(path, frame, burn_in - burn_in // 2)
    frame.start_counting()
    growth = _measure(path, frame, num_steps)
    return _spectrum(growth, frame, drive, system, num_steps, burn_in, time_step)


def _check(
    num_steps: int,
    num_exponents: int,
    state_size: int,
    num_trajectories: int,
    burn_in: int | None,
    time_step: float | None,
    interval: int | None,
) -> None:
    for name, value, good, wanted in (
        ("num_steps", num_steps, num_steps >= 2, ">= 2"),
        ("num_exponents", num_exponents, 1 <= num_exponents <= state_size, f"1 to {state_size}, the size of the state"),
        ("num_trajectories", num_trajectories, num_trajectories >= 1, ">= 1"),
        ("burn_in", burn_in, burn_in is None or burn_in >= 0, ">= 0"),
        ("time_step", time_step, time_step is None or time_step > 0, "> 0"),
        ("interval", interval, interval is None or interval >= 1, ">= 1"),
    ):
        if not good:
            raise ConfigError(f"{name} is {value}", wanted, f"set {name} in that range")


def _num_rows(drive: Drive, starts: Tensor | None, num_trajectories: int) -> int:
    if starts is None:
        return drive.num_rows or num_trajectories
    if drive.num_rows not in (None, len(starts)):
        raise ShapeError(
            f"{len(starts)} starts and {drive.num_rows} input sequences", "as many of each", "give one start per sequence"
        )
    return len(starts)


def _lengths(drive: Drive, num_steps: int, burn_in: int | None) -> tuple[int, int]:
    """Steps that count, and steps before them."""
    if burn_in is None:
        burn_in = max(100, num_steps // 10)
        if drive.num_steps is not None:
            burn_in = min(burn_in, drive.num_steps // 5)
    if drive.num_steps is not None:
        if drive.num_steps < burn_in + 2:
            raise DataError(
                f"inputs of {drive.num_steps} steps with a burn-in of {burn_in}",
                "at least 2 steps after the burn-in",
                "give a longer sequence or a smaller burn_in",
            )
        num_steps = min(num_steps, drive.num_steps - burn_in)
    return num_steps, burn_in


class _Jacobians:
    """dF/dh along a block of the path, step by step, and ln |det| of each where it is followed. May be gone through again.

    Closed forms come a few steps at a time, which stay in the cache; backward passes pay for themselves over many rows.
    """

    def __init__(
        self, system: DynamicalSystem, states: Float[Tensor, "N B S"], inputs: Float[Tensor, "N B X"], follow: bool
    ) -> None:
        self.system, self.states, self.inputs, self.follow = system, states, inputs, follow
        held = CACHED if isinstance(system, AnalyticJacobian) else HELD
        self.at_once = max(1, held // (states.shape[1] * states.shape[2] ** 2))
        self.log_determinants: list[Tensor] = []

    def __iter__(self) -> Iterator[Tensor]:
        rows, done = self.states.shape[1], len(self.log_determinants)
        pairs = zip(self.states.split(self.at_once), self.inputs.split(self.at_once), strict=True)
        for number, (states, inputs) in enumerate(pairs):
            found = state_jacobians(self.system, states.flatten(0, 1), inputs.flatten(0, 1)).double()
            if self.follow and number >= done:
                pivots = torch.linalg.lu_factor_ex(found.mT).LU.diagonal(dim1=-2, dim2=-1)
                self.log_determinants.append(pivots.abs().log().sum())
            yield from found.unflatten(0, (-1, rows)).unbind(0)


def _products(system: DynamicalSystem, states: Float[Tensor, "N B S"], inputs: Float[Tensor, "N B X"]) -> Products | None:
    """dF/dh along a block of the path, applied to vectors; None where the system knows no way round the matrices."""
    found = system.tangent_products(states, inputs) if isinstance(system, TangentProducts) else None
    return None if found is None else [partial(_pushed, push) for push in found]


def _pushed(push: Push, vectors: Float[Tensor, "B K S"]) -> Float[Tensor, "B K S"]:
    return push(vectors, None)


def _advance(path: Path, frame: TangentFrame | None, num_steps: int) -> tuple[Tensor | None, Tensor]:
    """Walk on; ln growth (B, K) of the frame and the sum of ln |det J| over steps and trajectories, with a full frame."""
    rows, size = path.state.shape
    block = max(16, min(128, 4096 // rows))  # steps between two looks at the conditioning
    total, determinant = None, path.state.new_zeros((), dtype=torch.float64)
    for first in range(0, num_steps, block):
        states, inputs = path.walk(min(block, num_steps - first))
        if frame is None:
            continue
        num_vectors = frame.vectors.shape[1]
        jacobians = _Jacobians(path.system, states, inputs, num_vectors == size)
        few = num_vectors <= FEW * size
        growth = _advanced(frame, jacobians, _products(path.system, states, inputs) if few else None)
        total = growth if total is None else total + growth
        determinant = determinant + sum(jacobians.log_determinants)
    return total, determinant


def _advanced(frame: TangentFrame, jacobians: _Jacobians, products: Products | None) -> Tensor:
    try:
        return frame.advance(jacobians, products)
    except ArithmeticError as error:
        raise DataError(
            str(error),
            "finite derivatives whose products stay in the range of float64",
            "leave interval out; or mend the step where its derivative is infinite",
        ) from error


def _measure(path: Path, frame: TangentFrame, num_steps: int) -> _Growth:
    windows = min(NUM_WINDOWS, num_steps)
    edges = torch.linspace(0, num_steps, windows + 1, dtype=torch.float64).round().long()
    lengths = edges.diff()
    rows, size = path.state.shape
    pieces, determinants = [], []
    for length in lengths.tolist():
        growth, determinant = _advance(path, frame, length)
        assert growth is not None
        pieces.append(growth / length)
        determinants.append(determinant)
    full = frame.num_vectors == size
    mean = float(torch.stack(determinants).sum()) / (num_steps * rows) if full else None
    return _Growth(torch.stack(pieces, 1).cpu(), lengths.double(), mean)


def _spectrum(
    growth: _Growth,
    frame: TangentFrame,
    drive: Drive,
    system: DynamicalSystem,
    num_steps: int,
    burn_in: int,
    time_step: float | None,
) -> LyapunovSpectrum:
    weights = growth.lengths[:, None] / num_steps
    per_trajectory = (growth.local * weights).sum(1)
    order = per_trajectory.mean(0).argsort(descending=True, stable=True)
    local, per_trajectory = growth.local[..., order], per_trajectory[:, order]
    exponents, errors = per_trajectory.mean(0), blocked_error(local)
    middle = local.shape[1] // 2
    halves = torch.stack([part.mean((0, 1)) for part in (local[:, :middle], local[:, middle:])])
    verdict = classify(exponents, errors, local, num_steps, is_flow=time_step is not None, is_conditional=drive.is_conditional)
    dimension = kaplan_yorke(exponents, local, system.state_size)
    rate = 1.0 if time_step is None else 1 / time_step
    followed = growth.log_determinant if bool(torch.isfinite(exponents).all()) else None
    return LyapunovSpectrum(
        exponents * rate,
        errors * rate,
        per_trajectory * rate,
        local * rate,
        halves * rate,
        None if followed is None else abs(float(exponents.sum()) - followed) * rate,
        dimension.value,
        dimension.error,
        dimension.reason,
        verdict.kind,
        verdict.evidence,
        _outcome(local, exponents, frame, num_steps),
        resolution(errors, num_steps) * rate,
        num_steps,
        burn_in,
        len(local),
        frame.num_steps / max(1, frame.num_factorisations),
        frame.worst_cancellation,
        "per step" if time_step is None else "per unit time",
        drive.words,
    )


def _outcome(local: Tensor, exponents: Tensor, frame: TangentFrame, num_steps: int) -> str:
    """What stands against these numbers, with what to change; "converged" where nothing does."""
    said = []
    if frame.worst_cancellation * frame.rounding > WORST_ROUNDING:
        why = "the Jacobians are nearly singular" if frame.adaptive else "the interval is too long, leave it out"
        said.append(f"the smallest exponents are not to be trusted: cancellation of {frame.worst_cancellation:.0e}, {why}")
    moved = int(drifts(local, num_steps).sum())
    if moved:
        said.append(f"{moved} exponents differ between the halves of the run: raise burn_in or num_steps")
    if disagree(local, num_steps):
        said.append("trajectories differ by more than they fluctuate (several attractors?): see per_trajectory, choose starts")
    singular = int(torch.isinf(exponents).sum())
    if singular:
        said.append(f"{singular} exponents are -inf: the Jacobians' product is singular there")
    return "; ".join(said) or "converged: both halves and all trajectories agree"
