"""Trajectories of differential equations (scope A7, A8)."""

from rnnscope.core.interfaces import ModelSpec
from rnnscope.evaluation.forecasting import Forecasting
from rnnscope.experiment import Experiment
from rnnscope.models.recurrent import GRU, LSTM, Elman
from rnnscope.presets.looks import forecaster, simulator
from rnnscope.tasks.ode import DrivenOscillator, Duffing, Lorenz63, Lorenz96, MackeyGlass, ODETask, Pendulum, Rossler, VanDerPol
from rnnscope.tasks.split import Split
from rnnscope.training.gradient import BPTT


def driven_oscillator() -> Experiment:
    """The row's protocol: windows of 50 levels, LSTM 64x2, 50 epochs. It loses to persistence, and the report says so."""
    return Experiment(
        task=DrivenOscillator(),
        models={"lstm": LSTM()},
        trainer=BPTT(epochs=50),
        analyses=forecaster(),
        evaluation=Forecasting(),
    )


def driven_oscillator_reduced() -> Experiment:
    """dt 0.002, t = 10: 5000 points."""
    return driven_oscillator().but(task=DrivenOscillator(dt=0.002, duration=10.0))


def driven_oscillator_euler() -> Experiment:
    """The map view: Euler's step, forcing as an input, x and v both seen."""
    return driven_oscillator().but(
        task=DrivenOscillator(dt=0.002, duration=10.0, method="euler", observed=("x", "v"), forcing_input=True, window=10),
        models={"lstm": LSTM(hidden_size=32, num_layers=1)},
        trainer=BPTT(epochs=20),
    )


def _smooth_trainer(epochs: int) -> BPTT:
    """For noise-free smooth systems: loss on every step after ten, a large rate that falls to a thousandth."""
    return BPTT(epochs=epochs, batch_size=64, learning_rate=1e-2, schedule="cosine", final_rate=1e-3, count="all", burn_in=10)


def driven_oscillator_best() -> Experiment:
    """Beats persistence and two-point extrapolation, and holds in closed loop from unseen initial values."""
    return Experiment(
        task=DrivenOscillator(
            # the target is the acceleration: a smooth function of level, velocity and forcing, all of which the network reads
            differences=2,
            forcing_input=True,
            # after its transient one trajectory alone does not show what other initial values do; with fewer than eight, it failed
            num_trajectories=16,
            spread=(2.0, 2.0),
            num_unseen=20,
            unseen_spread=(1.5, 1.5),
            stride=50,
            # the state is carried along in scoring, as it will be in use
            protocol="stream",
        ),
        models={"lstm": LSTM(hidden_size=32, num_layers=1)},
        trainer=_smooth_trainer(14),
        # without noise, errors change with the state rather than by chance: only adapting intervals keep their promise
        analyses=forecaster(),
        evaluation=Forecasting(intervals="adaptive"),
    )


def _readings(window: int, hidden_size: int, split: Split) -> Experiment:
    return Experiment(
        task=DrivenOscillator(dt=0.001, duration=20.0, window=window, split=split),
        models={"elman": Elman(hidden_size=hidden_size, num_layers=1)},
        trainer=BPTT(epochs=20, batch_size=64),
        # the original generates the whole rest of the trajectory from its first ten values
        analyses=forecaster(),
        evaluation=Forecasting(closed_loop=("window",), from_start=10, lead_times=0),
    )


def one_step() -> Experiment:
    """A8, model A: the network sees one value and predicts the next; it cannot know which way the oscillator moves."""
    return _readings(1, 32, Split())


def window_ten() -> Experiment:
    """A8, model B: the network sees ten values."""
    return _readings(10, 64, Split())


def one_step_leaky() -> Experiment:
    """The leak, for teaching: windows drawn at random, scaling fitted on everything."""
    return _readings(1, 32, Split(kind="leaky", test=0.2))


def window_ten_leaky() -> Experiment:
    """The leak with windows that overlap: nearly every test window has a neighbour one step off in training."""
    return _readings(10, 64, Split(kind="leaky", test=0.2))


def _chaotic(task: ODETask, epochs: int = 30, model: ModelSpec | None = None, lyapunov_time: float | None = None) -> Experiment:
    return Experiment(
        task=task,
        models={"gru": model or GRU(hidden_size=64, num_layers=1)},
        trainer=_smooth_trainer(epochs),
        analyses=simulator(lyapunov_time),
        evaluation=Forecasting(lead_times=200, closed_loop_steps=1000),
    )


def pendulum() -> Experiment:
    """Large swings from several angles; energy is conserved, so errors do not die out."""
    task = Pendulum(differences=2, num_trajectories=12, spread=(0.8, 0.3), num_unseen=10, stride=20)
    return _chaotic(task, 40, LSTM(hidden_size=32, num_layers=1))


def van_der_pol() -> Experiment:
    """Starts inside and outside the limit cycle."""
    return _chaotic(
        VanDerPol(differences=2, num_trajectories=12, spread=(2.0, 2.0), num_unseen=10, stride=20),
        40,
        LSTM(hidden_size=32, num_layers=1),
    )


def duffing() -> Experiment:
    """The forcing is an input."""
    return _chaotic(Duffing(differences=2, num_trajectories=4, spread=(0.5, 0.5), stride=10), 20)


def lorenz63() -> Experiment:
    """All three variables, first differences as targets."""
    return _chaotic(Lorenz63(differences=1, stride=5), lyapunov_time=1 / 0.9051)  # Sprott (2003)


def rossler() -> Experiment:
    """All three variables, first differences as targets."""
    return _chaotic(Rossler(differences=1, stride=5))


def lorenz96() -> Experiment:
    """All eight variables, first differences as targets."""
    return _chaotic(Lorenz96(differences=1, stride=5))


def mackey_glass() -> Experiment:
    """A delay equation seen through one variable: the past must be remembered, so the window covers three delays."""
    return _chaotic(MackeyGlass(window=60, stride=2))
