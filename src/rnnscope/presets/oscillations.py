"""Simulated oscillations (scope A1-A6, A9)."""

from rnnscope.evaluation.forecasting import Forecasting
from rnnscope.experiment import Experiment
from rnnscope.models.recurrent import GRU, LSTM, Elman
from rnnscope.presets.looks import forecaster
from rnnscope.tasks.oscillation import Oscillation
from rnnscope.tasks.split import Split
from rnnscope.training.gradient import BPTT


def sine() -> Experiment:
    """The row's protocol: windows of 50, 75/25 in time, three networks of 64 units and two layers, 100 epochs."""
    return Experiment(
        task=Oscillation(signal="sine"),
        models={"elman": Elman(), "lstm": LSTM(), "gru": GRU()},
        # the rate falls to a hundredth at the end: with a constant one the last weights' score depends on where training stops
        trainer=BPTT(epochs=100, batch_size=32, learning_rate=1e-3, schedule="cosine"),
        # trained on windows from a zero state, these networks drift when their state runs on (free-run RMSE .2 to .4 for .06):
        # forecasts re-run the last window, and the carried state is scored beside it
        analyses=forecaster(),
        evaluation=Forecasting(closed_loop=("window", "stream")),
    )


def _signal(name: str) -> Experiment:
    base = sine()
    return base.but(task=Oscillation(signal=name))


def cosine() -> Experiment:
    """`sine` with a cosine."""
    return _signal("cosine")


def combined() -> Experiment:
    """`sine` with two frequencies."""
    return _signal("combined")


def damped() -> Experiment:
    """`sine` with a decaying amplitude."""
    return _signal("damped")


def sine_quick() -> Experiment:
    """`sine` small enough for a first look."""
    return sine().but(models={"gru": GRU(hidden_size=16, num_layers=1)}, trainer=BPTT(epochs=15, learning_rate=5e-3))


def sine_best() -> Experiment:
    """What reaches the noise ceiling and keeps its phase for the whole test part."""
    return Experiment(
        # 100 steps of context average the noise down: taps over half a period came 3x closer to the ceiling than over a quarter
        task=Oscillation(signal="sine", window=200, split=Split(test_steps=238)),
        # the taps hold a linear autoregression, which is the right model of a sine; the cell may correct it
        models={"gru": GRU(hidden_size=16, num_layers=1, skip=100)},
        trainer=BPTT(
            # start from the ridge solution; its strength was chosen on rolling origins inside the training part
            readout_start="ridge",
            readout_ridge=0.03,
            # then train on what is asked: 100 steps of free run after 100 steps of context
            free_run=100,
            count="all",
            burn_in=99,
            optimizer="adamw",
            learning_rate=1e-3,
            schedule="cosine",
            epochs=10,
        ),
        analyses=forecaster(),
        evaluation=Forecasting(),
    )


def sine_small() -> Experiment:
    """A9: 16 units, 500 points on [0, 100], window 20, 80/20, a fifth of the training part for validation."""
    return Experiment(
        task=Oscillation(
            signal="sine", num_points=500, duration=100.0, noise_sd=0.0, window=20, split=Split(test=0.2, validation=0.2)
        ),
        models={"elman": Elman(hidden_size=16, num_layers=1)},
        trainer=BPTT(epochs=50),
        analyses=forecaster(),
        evaluation=Forecasting(closed_loop=("window", "stream")),
    )


def gru_regression() -> Experiment:
    """Regression of a noisy sine by a GRU, taught in two ways: on the next value alone, and on its own free runs."""
    return Experiment(
        # windows of half a period (100 of 200 steps): half of them is read, the other half can be run freely
        task=Oscillation(signal="sine", window=100),
        models={"one-step": GRU(hidden_size=32, num_layers=1), "multi-step": GRU(hidden_size=32, num_layers=1)},
        trainer=BPTT(epochs=60, learning_rate=3e-3, schedule="cosine"),
        trainers={
            # the loss is that of a forecast of 50 steps in which the network reads its own outputs
            "multi-step": BPTT(epochs=60, learning_rate=3e-3, schedule="cosine", free_run=50, count="all", burn_in=49)
        },
        analyses=forecaster(),
        # both ways of going on: the carried state and the window that is read again
        evaluation=Forecasting(closed_loop=("stream", "window")),
    )


def gru_regression_quick() -> Experiment:
    """`gru_regression` in a quarter of a minute."""
    base = gru_regression()
    short = {"epochs": 10, "learning_rate": 1e-2}
    return base.but(
        models={name: GRU(hidden_size=16, num_layers=1) for name in base.models},
        trainer=base.trainer.but(**short),
        trainers={name: trainer.but(**short) for name, trainer in base.trainers.items()},
    )
