"""Models of dynamical systems, trained by generalised teacher forcing and judged by what they generate (scope J, issue of training)."""

from rnnscope.analysis.attractors import AttractorMap
from rnnscope.analysis.fixed_points import FixedPointSearch
from rnnscope.analysis.lyapunov import LyapunovExponents
from rnnscope.analysis.reconstruction import Reconstruction
from rnnscope.core.interfaces import AnalysisSpec, TaskSpec
from rnnscope.evaluation.forecasting import Forecasting
from rnnscope.experiment import Experiment
from rnnscope.models.plrnn import PLRNN
from rnnscope.models.recurrent import LSTM
from rnnscope.models.reservoir import EchoState
from rnnscope.tasks.ode import Lorenz63, Lorenz96, ODETask, Rossler
from rnnscope.tasks.split import Split
from rnnscope.tasks.table import Table
from rnnscope.training.gradient import BPTT
from rnnscope.training.ridge import Ridge

SPLIT = Split(test=0.25, validation=0.2)
LORENZ = 1 / 0.9056  # a Lyapunov time, Viswanath (1998)


def forced(**changes: object) -> BPTT:
    """Generalised teacher forcing with settings tuned on Lorenz-63 and tried on few others (docs/results/training.md)."""
    settings: dict[str, object] = {
        # 50 epochs of 400 updates, whatever the length of the series
        "epochs": 50,
        "epoch_steps": 400,
        "batch_size": 16,
        "count": "all",
        # a window reads its own outputs but for 20 % at first, so that gradients of a chaotic orbit stay bounded, and for 2 % at
        # last: how little a system bears depends on how fast its errors grow, and free runs choose among the epochs
        "forcing_schedule": "cosine",
        "forcing_start": 0.2,
        "forcing": 0.02,
        # the rate falls by a factor of 500, over which the loss goes on falling
        "learning_rate": 5e-3,
        "schedule": "exponential",
        "final_rate": 2e-3,
        "clip_norm": 10.0,
        "retries": 3,
        # the loss goes on falling where free runs have long gone astray: choose by them
        "choose_by": "reconstruction",
        # one-step losses of the test part are of no interest here, and cost time
        "watch_test": False,
    }
    return BPTT(**(settings | changes))


def looks(lyapunov_time: float | None) -> dict[str, AnalysisSpec]:
    """Is it the same system? Where it goes and how it moves, how fast errors grow, what it turns around, where else it can go."""
    return {
        "reconstruction": Reconstruction(lyapunov_time=lyapunov_time, num_steps=25_000),
        # an exponent of the network beside the system's needs a thousand Lyapunov times
        "lyapunov": LyapunovExponents(num_steps=20_000, num_trajectories=8),
        # of a piecewise-linear network they are solved region by region
        "fixed_points": FixedPointSearch(num_starts=256),
        # whether other starts lead elsewhere: then it is no model of the whole system
        "attractors": AttractorMap(),
    }


def _model_of(task: ODETask, model: PLRNN | LSTM, trainer: BPTT, lyapunov_time: float | None) -> Experiment:
    name = "plrnn" if isinstance(model, PLRNN) else "lstm"
    return Experiment(
        task=task,
        models={name: model},
        trainer=trainer,
        analyses=looks(lyapunov_time),
        evaluation=Forecasting(lead_times=200, closed_loop_steps=200),
    )


def lorenz_plrnn() -> Experiment:
    """Lorenz-63, 100,000 points at dt .01: the setting of the literature's scores."""
    # the state is carried in scoring: a PLRNN that sees all of the system's state has no other
    task = Lorenz63(dt=0.01, duration=1000.0, window=200, protocol="stream", split=SPLIT)
    return _model_of(task, PLRNN(hidden_size=150), forced(), LORENZ)


def rossler_plrnn() -> Experiment:
    """Rössler, 100,000 points: rare spikes of z between long turns near the plane."""
    task = Rossler(dt=0.05, duration=5000.0, window=200, protocol="stream", split=SPLIT)
    return _model_of(task, PLRNN(hidden_size=100), forced(), 1 / 0.0714)  # Sprott (2003)


def lorenz96_plrnn() -> Experiment:
    """Lorenz-96 with 20 variables, 100,000 points: an attractor of about 13 dimensions."""
    # errors grow sevenfold in 30 steps: longer windows are only noise
    task = Lorenz96(size=20, dt=0.04, duration=4000.0, window=100, protocol="stream", split=SPLIT)
    # its largest exponent per unit time is 1.53 ± .02 (`rs.lyapunov_spectrum` of the flow, 8 paths of 400 units)
    return _model_of(task, PLRNN(hidden_size=200), forced(), 1 / 1.53)


def lorenz_lstm() -> Experiment:
    """`lorenz_plrnn` with an LSTM: the same options, fewer updates, and a state that is not the system's."""
    base = lorenz_plrnn()
    assert isinstance(base.task, Lorenz63)
    # noise on the inputs shows the network states beside the attractor, to which a free run strays
    trainer = forced(input_noise=0.01, epochs=30, epoch_steps=100)
    return _model_of(base.task.but(window=100), LSTM(hidden_size=64, num_layers=1), trainer, LORENZ)


def reconstruct() -> Experiment:
    """One's own recording of a dynamical system, every numeric column of a file."""
    return Experiment(
        # training reads the first 50 steps of a window and is judged by the others
        task=Table(target="*", window=200, protocol="stream", split=SPLIT),
        # without noise an echo state network is often the better one and always the faster; with it, or where a small system is to
        # be read, the other: the one is chosen whose free runs are nearest to what training may see
        models={"plrnn": PLRNN(hidden_size=150), "esn": EchoState(units=500)},
        trainer=forced(burn_in=50),
        trainers={"esn": Ridge(strengths=(1e-13, 1e-11, 1e-9, 1e-7, 1e-5, 1e-3), choose="reconstruction")},
        # what 500 units can be asked in a minute: attractors and the whole spectrum by `rnnscope analyze RUN`
        analyses={
            "reconstruction": Reconstruction(num_steps=25_000),
            "lyapunov": LyapunovExponents(num_steps=5000, num_trajectories=4),
            "fixed_points": FixedPointSearch(num_starts=128),
        },
        evaluation=Forecasting(lead_times=200, closed_loop_steps=200),
    )


def reconstruct_quick() -> Experiment:
    """`reconstruct` with a little training and short looks."""
    base = reconstruct()
    small = base.but(models={"plrnn": PLRNN(hidden_size=100), "esn": EchoState(units=200)})
    return _quick(small, base.task, forced(epochs=15, epoch_steps=100, burn_in=50))


def _quick(base: Experiment, task: TaskSpec, trainer: BPTT) -> Experiment:
    """A tenth of the points, a few seconds of training, and short looks."""
    (reconstruction,) = (a for a in base.analyses.values() if isinstance(a, Reconstruction))
    looked = {
        "reconstruction": reconstruction.but(num_steps=5000),
        "lyapunov": LyapunovExponents(num_steps=1500, num_trajectories=8),
        "fixed_points": FixedPointSearch(num_starts=32),
    }
    return base.but(task=task, trainer=trainer, analyses=looked)


def lorenz_plrnn_quick() -> Experiment:
    """`lorenz_plrnn` in half a minute."""
    base = lorenz_plrnn()
    assert isinstance(base.task, Lorenz63)
    return _quick(base, base.task.but(duration=200.0, window=100), forced(epochs=20, epoch_steps=150))


def rossler_plrnn_quick() -> Experiment:
    """`rossler_plrnn` in half a minute."""
    base = rossler_plrnn()
    assert isinstance(base.task, Rossler)
    return _quick(base, base.task.but(duration=1000.0, window=100), forced(epochs=20, epoch_steps=150))


def lorenz96_plrnn_quick() -> Experiment:
    """`lorenz96_plrnn` in half a minute."""
    base = lorenz96_plrnn()
    assert isinstance(base.task, Lorenz96)
    small = base.but(models={"plrnn": PLRNN(hidden_size=100)})
    return _quick(small, base.task.but(duration=400.0, window=30), forced(epochs=10, epoch_steps=100))


def lorenz_lstm_quick() -> Experiment:
    """`lorenz_lstm` in half a minute."""
    base = lorenz_lstm()
    assert isinstance(base.task, Lorenz63)
    small = base.but(models={"lstm": LSTM(hidden_size=32, num_layers=1)})
    return _quick(small, base.task.but(duration=100.0, window=30), forced(epochs=5, epoch_steps=60, input_noise=0.01))
