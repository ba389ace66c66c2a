"""Trajectories of ordinary (and one delay) differential equations, observed on a fixed grid (scope A7, A8).

A right-hand side is written once, for NumPy arrays and torch tensors alike: `xp` is the module that holds sin, stack, …
"""

from abc import abstractmethod
from typing import Any

import numpy as np

from rnnscope.core.errors import ConfigError, DataError, unknown_name
from rnnscope.core.series import Series
from rnnscope.core.spec import NonNegative, NonNegativeFloat, Positive, PositiveFloat
from rnnscope.numerics.integrate import Method, integrate, integrate_delay
from rnnscope.tasks.forecasting import ForecastTask, Recording


class ODETask(ForecastTask):
    """Forecast what is observed of a simulated system.

    The first trajectory starts from `initial` and is split in time. Others start from initial + spread·U(-1, 1).

    Fields:
        dt: integration step. duration: of each trajectory, in the same unit. sample_every: steps between observations.
        method: rk4 (classical, order 4) or euler (order 1). transient: time dropped before the first observation.
        initial: state at time 0 (empty: the system's own). observed: names of the variables that are forecast (empty: all);
            the others are kept beside them.
        noise_sd: of Gaussian observation noise, relative to each variable's standard deviation.
        num_trajectories: training trajectories in all, the first included. num_unseen: test trajectories of which training
            sees nothing, scored as the test set "unseen". spread: half-width of the box of further initial values; unseen_spread:
            of the unseen ones (the same when not given). Further training trajectories end where the first one's training
            part ends: a damped system forgets its start, so that their later parts would show the test part.
    """

    dt: PositiveFloat
    duration: PositiveFloat
    sample_every: Positive = 1
    method: Method = "rk4"
    transient: NonNegativeFloat = 0.0
    initial: tuple[float, ...]
    observed: tuple[str, ...]
    noise_sd: NonNegativeFloat = 0.0
    num_trajectories: Positive = 1
    num_unseen: NonNegative = 0
    spread: tuple[NonNegativeFloat, ...] = (0.1,)
    unseen_spread: tuple[NonNegativeFloat, ...] | None = None

    @abstractmethod
    def variables(self) -> tuple[str, ...]:
        """Names of the state variables, in order."""

    @abstractmethod
    def derivative(self, state: Any, time: float, xp: Any, forcing: Any) -> Any:
        """f(state, time): (…, S) -> (…, S). `forcing` holds what `forcings` drew, one row a trajectory."""

    def forcings(self, count: int, rng: np.random.Generator) -> Any:
        """Parameters of the forcing per trajectory, for systems that have one."""
        return None

    def input_signal(self, times: np.ndarray, forcing: Any) -> np.ndarray | None:
        """The known input at the observed times, (count, T), or None for an autonomous system."""
        return None

    def record(self, rng: np.random.Generator) -> Recording:
        names = self.variables()
        for name in self.observed:
            if name not in names:
                raise unknown_name("variable", name, names)
        initial = self.initial or self.default_initial()
        if len(initial) != len(names):
            raise ConfigError(
                f"task.initial has {len(initial)} values", f"{len(names)}: {', '.join(names)}", "give one value each"
            )
        spread, unseen_spread = self.spread, self.unseen_spread or self.spread
        for box in (spread, unseen_spread):
            if len(box) not in (1, len(names)):
                raise ConfigError(f"task.spread has {len(box)} values", f"1 or {len(names)}", "give one, or one each")
        count = self.num_trajectories + self.num_unseen
        drawn = rng.uniform(-1, 1, (count, len(names)))
        widths = np.where(np.arange(count)[:, None] < self.num_trajectories, np.asarray(spread), np.asarray(unseen_spread))
        starts = np.asarray(initial) + widths * drawn
        starts[0] = initial
        forcing = self.forcings(count, rng)
        states, times = self.simulate(starts, forcing)
        self._check(states)
        series = self._observe(states, times, self.input_signal(times, forcing), rng)
        trained, unseen = series[1 : self.num_trajectories], series[self.num_trajectories :]
        return Recording(
            series[:1],
            trained,
            {"unseen": unseen} if unseen else {},
            self.dt * self.sample_every,
            notes=(
                f"{type(self).__name__}: {self.method}, dt = {self.dt:g}, {count} trajectories of {len(times)} observations",
            ),
        )

    def default_initial(self) -> tuple[float, ...]:
        """The state at time 0 where `initial` is empty."""
        return ()

    def num_steps(self) -> tuple[int, int]:
        """Integration steps dropped as transient, and kept."""
        kept = round(self.duration / self.dt)
        if kept <= self.sample_every:
            raise DataError(
                f"a duration of {self.duration:g} at dt {self.dt:g} gives {kept} steps",
                "at least two observations: a trajectory too short is no series",
                "set task.duration longer, or task.dt smaller",
            )
        return round(self.transient / self.dt), kept

    def simulate(self, starts: np.ndarray, forcing: Any) -> tuple[np.ndarray, np.ndarray]:
        """States at the observed times, (B, T, S), and the times."""
        skipped, kept = self.num_steps()
        with np.errstate(over="ignore", invalid="ignore"):
            path = integrate(lambda s, t: self.derivative(s, t, np, forcing), starts, self.dt, skipped + kept - 1, self.method)
        rows = np.arange(skipped, skipped + kept, self.sample_every)
        return path[:, rows], rows * self.dt

    def _check(self, states: np.ndarray) -> None:
        if not np.isfinite(states).all():
            _, step, _ = np.argwhere(~np.isfinite(states))[0]
            raise DataError(
                f"the integration left the finite numbers at observation {step}",
                "a stable step",
                "set task.dt smaller, or task.initial inside the basin of attraction",
            )

    def _observe(
        self, states: np.ndarray, times: np.ndarray, inputs: np.ndarray | None, rng: np.random.Generator
    ) -> list[Series]:
        names = self.variables()
        observed = self.observed or names
        seen = [names.index(n) for n in observed]
        found = []
        for b, path in enumerate(states):
            clean = path[:, seen]
            values = clean + self.noise_sd * clean.std(0) * rng.standard_normal(clean.shape) if self.noise_sd else clean
            known = np.empty((len(times), 0)) if inputs is None else inputs[b][:, None]
            hidden = {n: path[:, i] for i, n in enumerate(names) if n not in observed}
            found.append(
                Series(
                    values,
                    known,
                    times,
                    f"trajectory {b + 1}",
                    observed,
                    () if inputs is None else ("forcing",),
                    clean if self.noise_sd else None,
                    hidden,
                )
            )
        return found


class DrivenOscillator(ODETask):
    """x'' + 2γ x' + x = F cos(Ωt); the forcing is known as an input when `forcing_input` is set.

    Fields: gamma γ >= 0, frequency Ω, force F, and for further training trajectories the half-widths force_spread and
    frequency_spread of F and Ω. Without forcing and friction the energy ½(x² + v²) is conserved.
    """

    gamma: NonNegativeFloat = 0.2
    frequency: float = 0.5
    force: float = 1.0
    force_spread: NonNegativeFloat = 0.0
    frequency_spread: NonNegativeFloat = 0.0
    forcing_input: bool = False
    dt: PositiveFloat = 0.001
    duration: PositiveFloat = 20.0
    initial: tuple[float, ...] = (1.0, 0.0)
    observed: tuple[str, ...] = ("x",)

    def variables(self) -> tuple[str, ...]:
        return ("x", "v")

    def forcings(self, count: int, rng: np.random.Generator) -> np.ndarray:
        drawn = rng.uniform(-1, 1, (count, 2))
        drawn[0] = 0
        drawn[self.num_trajectories :] = 0
        return np.array([self.force, self.frequency]) + drawn * np.array([self.force_spread, self.frequency_spread])

    def input_signal(self, times: np.ndarray, forcing: np.ndarray) -> np.ndarray | None:
        return forcing[:, :1] * np.cos(forcing[:, 1:] * times) if self.forcing_input else None

    def derivative(self, state: Any, time: float, xp: Any, forcing: Any) -> Any:
        x, v = state[..., 0], state[..., 1]
        if forcing is None:
            drive: Any = self.force * float(np.cos(self.frequency * time))
        else:
            drive = forcing[:, 0] * np.cos(forcing[:, 1] * time)
        return xp.stack([v, drive - 2 * self.gamma * v - x], -1)


class Pendulum(ODETask):
    """θ'' = -sin θ - 2γ θ'. For γ = 0 the energy ½ω² - cos θ is conserved."""

    gamma: NonNegativeFloat = 0.0
    dt: PositiveFloat = 0.05
    duration: PositiveFloat = 100.0
    initial: tuple[float, ...] = (2.0, 0.0)
    observed: tuple[str, ...] = ("theta",)

    def variables(self) -> tuple[str, ...]:
        return ("theta", "omega")

    def derivative(self, state: Any, time: float, xp: Any, forcing: Any) -> Any:
        theta, omega = state[..., 0], state[..., 1]
        return xp.stack([omega, -xp.sin(theta) - 2 * self.gamma * omega], -1)


class VanDerPol(ODETask):
    """x'' - μ(1 - x²) x' + x = 0: one limit cycle, of amplitude near 2 for small μ."""

    mu: float = 1.0
    dt: PositiveFloat = 0.05
    duration: PositiveFloat = 100.0
    initial: tuple[float, ...] = (1.0, 0.0)
    observed: tuple[str, ...] = ("x",)

    def variables(self) -> tuple[str, ...]:
        return ("x", "v")

    def derivative(self, state: Any, time: float, xp: Any, forcing: Any) -> Any:
        x, v = state[..., 0], state[..., 1]
        return xp.stack([v, self.mu * (1 - x * x) * v - x], -1)


class Duffing(ODETask):
    """x'' + δ x' + α x + β x³ = F cos(Ωt); the defaults are chaotic (Guckenheimer & Holmes 1983). Energy is conserved at δ = F = 0."""

    alpha: float = -1.0
    beta: float = 1.0
    delta: NonNegativeFloat = 0.3
    force: float = 0.5
    frequency: float = 1.2
    forcing_input: bool = True
    dt: PositiveFloat = 0.02
    duration: PositiveFloat = 200.0
    initial: tuple[float, ...] = (1.0, 0.0)
    observed: tuple[str, ...] = ("x",)

    def variables(self) -> tuple[str, ...]:
        return ("x", "v")

    def input_signal(self, times: np.ndarray, forcing: Any) -> np.ndarray | None:
        count = self.num_trajectories + self.num_unseen
        return np.tile(self.force * np.cos(self.frequency * times), (count, 1)) if self.forcing_input else None

    def derivative(self, state: Any, time: float, xp: Any, forcing: Any) -> Any:
        x, v = state[..., 0], state[..., 1]
        drive = self.force * float(np.cos(self.frequency * time))
        return xp.stack([v, drive - self.delta * v - self.alpha * x - self.beta * x**3], -1)


class Lorenz63(ODETask):
    """x' = σ(y - x), y' = x(ρ - z) - y, z' = xy - βz (Lorenz 1963); divergence -(σ + 1 + β), largest exponent .9051."""

    sigma: float = 10.0
    rho: float = 28.0
    beta: float = 8 / 3
    dt: PositiveFloat = 0.02
    duration: PositiveFloat = 200.0
    transient: NonNegativeFloat = 20.0
    initial: tuple[float, ...] = (1.0, 1.0, 1.0)
    observed: tuple[str, ...] = ("x", "y", "z")

    def variables(self) -> tuple[str, ...]:
        return ("x", "y", "z")

    def derivative(self, state: Any, time: float, xp: Any, forcing: Any) -> Any:
        x, y, z = state[..., 0], state[..., 1], state[..., 2]
        return xp.stack([self.sigma * (y - x), x * (self.rho - z) - y, x * y - self.beta * z], -1)


class Rossler(ODETask):
    """x' = -y - z, y' = x + a y, z' = b + z(x - c) (Rössler 1976)."""

    a: float = 0.2
    b: float = 0.2
    c: float = 5.7
    dt: PositiveFloat = 0.05
    duration: PositiveFloat = 500.0
    transient: NonNegativeFloat = 50.0
    initial: tuple[float, ...] = (1.0, 1.0, 0.0)
    observed: tuple[str, ...] = ("x", "y", "z")

    def variables(self) -> tuple[str, ...]:
        return ("x", "y", "z")

    def derivative(self, state: Any, time: float, xp: Any, forcing: Any) -> Any:
        x, y, z = state[..., 0], state[..., 1], state[..., 2]
        return xp.stack([-y - z, x + self.a * y, self.b + z * (x - self.c)], -1)


class Lorenz96(ODETask):
    """x_i' = (x_{i+1} - x_{i-2}) x_{i-1} - x_i + F on a ring of `size` variables (Lorenz 1996); the quadratic part conserves Σ x²."""

    size: Positive = 8
    force: float = 8.0
    dt: PositiveFloat = 0.02
    duration: PositiveFloat = 100.0
    transient: NonNegativeFloat = 10.0
    initial: tuple[float, ...] = ()
    observed: tuple[str, ...] = ()

    def model_post_init(self, context: Any) -> None:
        if self.size < 4:
            raise ConfigError(f"task.size is {self.size}", "at least 4 variables on the ring", "set task.size=8")

    def default_initial(self) -> tuple[float, ...]:
        return tuple(self.force + 0.01 * (i == 0) for i in range(self.size))

    def variables(self) -> tuple[str, ...]:
        return tuple(f"x{i + 1}" for i in range(self.size))

    def derivative(self, state: Any, time: float, xp: Any, forcing: Any) -> Any:
        ahead, behind, two_behind = xp.roll(state, -1, -1), xp.roll(state, 1, -1), xp.roll(state, 2, -1)
        return (ahead - two_behind) * behind - state + self.force


class MackeyGlass(ODETask):
    """x' = β x(t-τ) / (1 + x(t-τ)ⁿ) - γ x (Mackey & Glass 1977); chaotic at the defaults. Started from a constant history."""

    beta: float = 0.2
    gamma: float = 0.1
    exponent: float = 10.0
    delay: PositiveFloat = 17.0
    dt: PositiveFloat = 0.1
    duration: PositiveFloat = 3000.0
    sample_every: Positive = 10
    transient: NonNegativeFloat = 200.0
    initial: tuple[float, ...] = (1.2,)
    observed: tuple[str, ...] = ("x",)

    def variables(self) -> tuple[str, ...]:
        return ("x",)

    def derivative(self, state: Any, time: float, xp: Any, forcing: Any) -> Any:
        raise ConfigError(
            "a delay equation has no right-hand side of the present state alone", "the delayed state", "use simulate"
        )

    def simulate(self, starts: np.ndarray, forcing: Any) -> tuple[np.ndarray, np.ndarray]:
        delay_steps = round(self.delay / self.dt)
        if delay_steps < 2 or self.method != "rk4":
            raise ConfigError(
                f"task.dt {self.dt:g} with delay {self.delay:g}, method {self.method}",
                "rk4 and dt <= delay/2",
                "set task.dt smaller",
            )
        skipped, kept = self.num_steps()
        history = np.repeat(starts, delay_steps + 1, axis=1)
        with np.errstate(over="ignore", invalid="ignore"):
            path = integrate_delay(
                lambda x, old: self.beta * old / (1 + np.abs(old) ** self.exponent) - self.gamma * x,
                history,
                self.dt,
                skipped + kept - 1,
                delay_steps,
            )
        rows = np.arange(skipped, skipped + kept, self.sample_every)
        return path[:, rows, None], rows * self.dt
