"""Long-range tasks: adding, copying, temporal order, delayed memory; and four ways of training on them side by side."""

import math
from dataclasses import dataclass

from rnnscope.analysis.evidence import Evidence
from rnnscope.analysis.memory import Memory
from rnnscope.core.interfaces import AnalysisSpec, EvaluationSpec, ModelSpec, TaskSpec, TrainerSpec
from rnnscope.evaluation.classification import Classification
from rnnscope.evaluation.steps import Steps
from rnnscope.experiment import Experiment
from rnnscope.models.recurrent import GRU, LSTM, Elman
from rnnscope.models.reservoir import EchoState
from rnnscope.tasks.long_range import Adding, Copy, MemoryDelay, TemporalOrder
from rnnscope.training.gradient import BPTT
from rnnscope.training.hessian_free import HessianFree
from rnnscope.training.ridge import Ridge

# a readout that sees the whole sequence needs no memory: it is no trivial answer to these tasks
SHORT = (1, 5)


def reach() -> dict[str, AnalysisSpec]:
    """A network that must carry something over many steps: over which lags does it, and do its gradients reach back?"""
    return {"memory": Memory(capacity_lag=0)}


def _one(task: TaskSpec, model: Elman | LSTM, trainer: TrainerSpec, evaluation: EvaluationSpec) -> Experiment:
    """One network on one task."""
    return Experiment(
        task=task,
        models={"lstm" if isinstance(model, LSTM) else "tanh": model},
        trainer=trainer,
        analyses=reach(),
        evaluation=evaluation,
        # steps this small gain nothing from a second thread
        threads=1,
    )


def adding() -> Experiment:
    """The adding problem over 100 steps."""
    return _one(
        Adding(),
        # gates that at first forget within 1 … 100 steps: with usual biases the error stays at the constant's for 4 to 9 epochs
        LSTM(hidden_size=64, num_layers=1, chrono=100),
        # a high rate, which falling ends the jitter
        BPTT(epochs=8, batch_size=50, learning_rate=1e-2, schedule="hold"),
        Steps(),
    )


def adding_quick() -> Experiment:
    """`adding` over 30 steps."""
    return _one(
        Adding(length=30, num_train=5000),
        LSTM(hidden_size=32, num_layers=1, chrono=30),
        BPTT(epochs=15, batch_size=50, learning_rate=1e-2, schedule="hold"),
        Steps(),
    ).but(analyses={})


def copy() -> Experiment:
    """Five symbols over 50 blanks."""
    return _one(
        Copy(length=50, num_copied=5, num_train=4000),
        LSTM(hidden_size=64, num_layers=1, chrono=60),
        # with 50 at a time it is still at 80 % of the symbols after 20 epochs
        BPTT(epochs=20, batch_size=25, learning_rate=1e-2, schedule="hold", count="all"),
        Steps(),
    )


def copy_quick() -> Experiment:
    """`copy` with three of four symbols over 10 blanks."""
    return _one(
        Copy(length=10, num_copied=3, num_symbols=4, num_train=3000),
        LSTM(hidden_size=32, num_layers=1, chrono=15),
        BPTT(epochs=12, batch_size=25, learning_rate=1e-2, schedule="hold", count="all"),
        Steps(latest=SHORT),
    ).but(analyses={})


def memory_delay() -> Experiment:
    """The input of 20 steps ago, at every step."""
    return _one(
        MemoryDelay(),
        # it hands every number on to the next step as it is; an LSTM of 64 units stays at the constant for 8 epochs
        Elman(hidden_size=100, num_layers=1, recurrent_init="orthogonal", bias_scale=0.0),
        BPTT(epochs=8, batch_size=50, learning_rate=3e-3, schedule="hold", count="all"),
        Steps(),
    )


def memory_delay_quick() -> Experiment:
    """`memory-delay` with the input of 10 steps ago."""
    return _one(
        MemoryDelay(length=10, num_train=2000),
        Elman(hidden_size=32, num_layers=1, recurrent_init="orthogonal", bias_scale=0.0),
        BPTT(epochs=15, batch_size=25, learning_rate=3e-3, schedule="hold", count="all"),
        Steps(latest=SHORT),
    ).but(analyses={})


def temporal_order() -> Experiment:
    """Two symbols among distractors over 100 steps."""
    return _one(
        TemporalOrder(),
        # with usual biases (forget_bias=1 too) the loss stays at chance for 10 epochs and more
        LSTM(hidden_size=64, num_layers=1, chrono=100),
        BPTT(epochs=6, batch_size=50, learning_rate=5e-3, schedule="hold"),
        Classification(latest=SHORT),
    ).but(analyses={**reach(), "evidence": Evidence()})


def temporal_order_quick() -> Experiment:
    """`temporal-order` over 30 steps."""
    return _one(
        TemporalOrder(length=30, num_train=4000),
        LSTM(hidden_size=32, num_layers=1, chrono=30),
        BPTT(epochs=8, batch_size=50, learning_rate=1e-2, schedule="hold"),
        Classification(latest=SHORT),
    ).but(analyses={})


@dataclass(frozen=True)
class Sizes:
    """How far the ways of training go: units, epochs (of gates, with momentum, of IRNN), outer steps, units of the reservoir."""

    units: int
    epochs: int
    momentum_epochs: int
    irnn_epochs: int
    outer_steps: int
    reservoir: int


def _side_by_side(name: str, base: Experiment, sizes: Sizes, *, chrono: float, drive: float) -> Experiment:
    """A task with every way of training.

    Args:
        chrono: the longest lag that gates begin with. drive: standard deviation of what a tanh unit gets of an
            input of 1 at the start.
    """
    adam = base.trainer
    assert isinstance(adam, BPTT)
    tanh = Elman(
        hidden_size=sizes.units,
        num_layers=1,
        recurrent_init="orthogonal",
        bias_scale=0.0,
        input_scale=drive * math.sqrt(3 * sizes.units),
    )
    momentum = BPTT(
        count=adam.count,
        batch_size=adam.batch_size,
        epochs=sizes.momentum_epochs,
        optimizer="sgd",
        # adding: 1e-3 leaves the plateau after 13 epochs instead of 8; a rate that does not fall ends in jitter
        learning_rate=3e-3,
        schedule="hold",
        # Sutskever et al. 2013: rising to 0.99, at the end 0.9
        momentum=0.99,
        momentum_schedule="rising",
        low_momentum=0.1,
    )
    models: dict[str, ModelSpec] = {
        "lstm": LSTM(hidden_size=sizes.units, num_layers=1, chrono=chrono),
        "gru": GRU(hidden_size=sizes.units, num_layers=1, chrono=chrono),
        "hessian_free": tanh.but(recurrent_init="sparse", recurrent_scale=1.1),
        # memory rests on a spectral radius near 1 and weak inputs
        "echo_state": EchoState(units=sizes.reservoir, spectral_radius=0.99, input_scale=0.1, bias_scale=0.1),
        "orthogonal": tanh,
        "esn_like": tanh.but(recurrent_init="sparse", recurrent_scale=1.1),
        "irnn": Elman(hidden_size=sizes.units, num_layers=1, nonlinearity="relu", recurrent_init="identity", bias_scale=0.0),
    }
    trainers: dict[str, TrainerSpec] = {
        "hessian_free": HessianFree(outer_steps=sizes.outer_steps, enough=0.005),
        "echo_state": Ridge(strengths=(1e-8, 1e-6, 1e-4, 1e-2), carry_state=False),
        "orthogonal": momentum,
        "esn_like": momentum,
        # at 3e-4 single batches reach losses of 1e5, at 1e-3 training leaves the finite numbers, over 200 steps with this rate too
        "irnn": adam.but(learning_rate=1e-4, epochs=sizes.irnn_epochs),
    }
    return base.but(
        name=name, models=models, trainer=adam.but(epochs=sizes.epochs), trainers=trainers, analyses={}, keep_data=False
    )


def four_ways() -> tuple[Experiment, ...]:
    """The four tasks, each with every way of training: about half an hour of one core."""
    sizes = Sizes(units=100, epochs=10, momentum_epochs=40, irnn_epochs=60, outer_steps=20, reservoir=500)
    # half of their sequences, and so half of the time
    order = temporal_order().but(task=TemporalOrder(num_train=5000))
    delay = memory_delay().but(task=MemoryDelay(num_train=5000))
    return (
        # inputs of standard deviation 1 at every unit (Martens & Sutskever 2011): with .3 momentum leaves the plateau later
        _side_by_side("adding", adding(), sizes, chrono=100, drive=1.0),
        # here that drives the units to their bounds, and memory out of them: Hessian-free stays at chance on copy, momentum on
        # temporal-order; small numbers pass tanh nearly unchanged
        _side_by_side("copy", copy(), sizes, chrono=60, drive=0.1),
        _side_by_side("temporal-order", order, sizes, chrono=100, drive=0.1),
        _side_by_side("memory-delay", delay, sizes, chrono=20, drive=0.1),
    )


def four_ways_quick() -> tuple[Experiment, ...]:
    """`four-ways` with short lengths, small networks and little training, in a minute."""
    sizes = Sizes(units=32, epochs=4, momentum_epochs=4, irnn_epochs=4, outer_steps=4, reservoir=100)
    order = temporal_order_quick().but(task=TemporalOrder(length=20, num_train=3000))
    delay = memory_delay_quick().but(task=MemoryDelay(length=10, num_train=1500))
    return (
        _side_by_side("adding", adding_quick().but(task=Adding(length=20, num_train=4000)), sizes, chrono=20, drive=1.0),
        _side_by_side("copy", copy_quick(), sizes, chrono=15, drive=0.1),
        _side_by_side("temporal-order", order, sizes, chrono=20, drive=0.1),
        _side_by_side("memory-delay", delay, sizes, chrono=10, drive=0.1),
    )
