"""Echo state networks: the recurrence is drawn at random, and the readout is solved for (scope J)."""

from rnnscope.analysis.fixed_points import FixedPointSearch
from rnnscope.analysis.lyapunov import LyapunovExponents
from rnnscope.analysis.memory import Memory
from rnnscope.analysis.reconstruction import Reconstruction
from rnnscope.core.interfaces import AnalysisSpec
from rnnscope.evaluation.forecasting import Forecasting
from rnnscope.experiment import Experiment
from rnnscope.models.reservoir import EchoState
from rnnscope.tasks.laser import SantaFeLaser
from rnnscope.tasks.ode import Lorenz63, MackeyGlass
from rnnscope.tasks.split import Split
from rnnscope.training.ridge import Ridge

LORENZ_TIME = 1 / 0.9051  # Sprott (2003)
LASER_NETWORK = EchoState(units=1000, leak=0.75, input_scale=1.0, bias_scale=1.0, features="state_squares")
QUICK_MEMORY = Memory(num_pairs=2, num_steps=200, max_lag=4, capacity_lag=0)


def _looks(lyapunov_time: float | None = None) -> dict[str, AnalysisSpec]:
    """What a model of a chaotic system is asked. Cycles of 500 units take long: `rnnscope analyze RUN attractors`."""
    return {
        # the score that forecasts do not give: where free runs go and how they move
        "reconstruction": Reconstruction(lyapunov_time=lyapunov_time),
        # where it could stand still: the system's own points of rest, if it learned them, and others if it made some up
        "fixed_points": FixedPointSearch(),
        # the exponents of the network left alone, beside those of the system
        "lyapunov": LyapunovExponents(num_exponents=4, num_trajectories=4, num_steps=2000),
        # whether it forgets where it began (the echo state property), and how far back it remembers
        # (of gradients only the first lags: their norms take the products of matrices of 1000 x 1000)
        "memory": Memory(num_pairs=4, num_steps=300, max_lag=4, capacity_lag=40),
    }


def lorenz_esn() -> Experiment:
    """Lorenz-63 at dt .02 from 10,000 steps: 500 and 1000 units, valid for a dozen Lyapunov times."""
    return Experiment(
        task=Lorenz63(
            # 10,000 steps to train, 2000 to choose the ridge, 23,000 to score
            duration=700.0,
            split=Split(test_steps=23_000, validation=1 / 6),
            protocol="stream",
            window=200,
        ),
        # uniform weights and strong biases: with none, the units are odd functions, and forecasts last a tenth as long
        models={"esn_500": EchoState(units=500), "esn_1000": EchoState(units=1000)},
        # noise-free data: the least ridge that float64 can solve is near the best
        trainer=Ridge(strengths=(1e-14, 1e-13, 1e-12, 1e-10, 1e-8)),
        analyses=_looks(LORENZ_TIME),
        evaluation=Forecasting(lead_times=600, closed_loop_steps=1000, intervals="none"),
    )


def lorenz_esn_quick() -> Experiment:
    """The same with 200 units and 4000 steps."""
    full = lorenz_esn()
    return full.but(
        task=full.task.but(duration=200.0, split=Split(test_steps=5000, validation=0.2)),
        models={"esn": EchoState(units=200)},
        trainer=Ridge(strengths=(1e-12, 1e-10, 1e-8)),
        analyses={
            "reconstruction": Reconstruction(lyapunov_time=LORENZ_TIME, num_runs=2, num_steps=5000, num_starts=50),
            "fixed_points": FixedPointSearch(),
            "memory": QUICK_MEMORY,
        },
    )


def lorenz_esn_long() -> Experiment:
    """Lorenz-63 at dt .01 from 100,000 steps: does the network generate the attractor?"""
    full = lorenz_esn()
    return full.but(
        task=full.task.but(dt=0.01, duration=2000.0, split=Split(test_steps=80_000, validation=1 / 6)),
        models={"esn": EchoState(units=1000, features="state_squares")},
        trainer=Ridge(strengths=(1e-13, 1e-12, 1e-11, 1e-10)),
        # one long run: measures of densities and spectra fall towards their floors with its length
        # spectra are smoothed by 20 bins of 100,000 points, as others do who compare so many: 40 of the recording's 200,000
        analyses=full.analyses
        | {
            "reconstruction": Reconstruction(
                lyapunov_time=LORENZ_TIME, num_runs=1, num_steps=100_000, lead_steps=2500, smoothing=40.0
            )
        },
    )


def mackey_glass_esn() -> Experiment:
    """Mackey-Glass, τ = 17, seen through one variable: the reservoir's memory stands in for the delay."""
    return Experiment(
        task=MackeyGlass(duration=9000.0, split=Split(test_steps=4000, validation=0.2), protocol="stream", window=200),
        # slower units for a delay of 17 steps
        models={"esn": EchoState(units=1000, leak=0.5, spectral_radius=0.9)},
        # squared errors one step ahead fall where closed loops already go astray
        trainer=Ridge(strengths=(1e-14, 1e-13, 1e-12, 1e-11, 1e-10, 1e-8), choose="free_run"),
        # forecasts last longer than the 1000 steps that are looked at elsewhere
        analyses=_looks() | {"reconstruction": Reconstruction(lead_steps=2000)},
        # about three Lyapunov times
        evaluation=Forecasting(lead_times=600, closed_loop_steps=500, intervals="none"),
    )


def mackey_glass_esn_quick() -> Experiment:
    """The same with 200 units and 3000 steps."""
    full = mackey_glass_esn()
    return full.but(
        task=full.task.but(duration=4500.0, split=Split(test_steps=1000, validation=0.15)),
        models={"esn": EchoState(units=200, leak=0.5)},
        analyses=lorenz_esn_quick().analyses | {"reconstruction": Reconstruction(num_runs=2, num_steps=3000, num_starts=20)},
    )


def laser_esn() -> Experiment:
    """The Santa Fe laser: pulses that grow and collapse at moments hard to foresee; measured in whole numbers from 0 to 255."""
    return Experiment(
        task=SantaFeLaser(
            # outputs for the next 20 steps at once, beside closed loops of the first of them
            horizon=20,
            split=Split(test=0.25, validation=0.15),
            protocol="stream",
            window=200,
            season=8,
            # intensities are near 0 between pulses, and there the next pulse is decided: on a scale that shows it, closed loops stay
            # on the attractor, which on the plain scale they leave, with noise in training or without
            transform="log1p",
        ),
        # found on the validation part by `rnnscope tune`
        models={"esn": LASER_NETWORK},
        # of ridges that forecast alike, some let free runs fall to rest
        trainer=Ridge(strengths=(1e-8, 1e-7, 1e-6, 1e-5, 1e-4, 1e-3), choose="reconstruction"),
        num_seeds=5,
        analyses=_looks(),
        evaluation=Forecasting(lead_times=100, origins=400, closed_loop_steps=50, orders=(10, 20, 50, 100), intervals="none"),
    )


def laser_esn_quick() -> Experiment:
    """The same with 200 units, one seed."""
    full = laser_esn()
    return full.but(
        models={"esn": LASER_NETWORK.but(units=200)},
        num_seeds=1,
        analyses={"memory": QUICK_MEMORY},
        evaluation=full.evaluation.but(origins=50, orders=(20, 50)),
    )
