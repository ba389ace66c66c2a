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


def _one(task: TaskSpec, model: ModelSpec, trainer: TrainerSpec, evaluation: EvaluationSpec) -> Experiment:
    """One LSTM on one task."""
    return Experiment(
        task=task,
        models={"lstm": model},
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
        LSTM(hidden_size=64, num_layers=1, chrono=20),
        BPTT(epochs=20, batch_size=50, learning_rate=1e-2, schedule="hold", count="all"),
        Steps(),
    )


def memory_delay_quick() -> Experiment:
    """`memory-delay` with the input of 10 steps ago."""
    return _one(
        MemoryDelay(length=10, num_train=2000),
        LSTM(hidden_size=32, num_layers=1, chrono=10),
        BPTT(epochs=15, batch_size=25, learning_rate=1e-2, schedule="hold", count="all"),
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
    """How far the ways of training go: units, epochs of gradient descent (more with momentum), outer steps, reservoir units."""

    units: int
    epochs: int
    momentum_epochs: int
    outer_steps: int
    reservoir: int


def _side_by_side(name: str, base: Experiment, lag: int, sizes: Sizes) -> Experiment:
    """A task with every way of training. `lag`: over how many steps it asks to remember."""
    adam = base.trainer
    assert isinstance(adam, BPTT)
    tanh = Elman(hidden_size=sizes.units, num_layers=1, recurrent_init="orthogonal", bias_scale=0.0, input_scale=5.0)
    momentum = BPTT(
        count=adam.count,
        batch_size=adam.batch_size,
        epochs=sizes.momentum_epochs,
        optimizer="sgd",
        learning_rate=1e-3,
        # Sutskever et al. 2013: rising to 0.99, at the end 0.9
        momentum=0.99,
        momentum_schedule="rising",
        low_momentum=0.1,
    )
    models: dict[str, ModelSpec] = {
        "lstm": LSTM(hidden_size=sizes.units, num_layers=1, chrono=lag),
        "gru": GRU(hidden_size=sizes.units, num_layers=1, chrono=lag),
        # sparse, and inputs of standard deviation 1 (Martens & Sutskever 2011)
        "hessian_free": tanh.but(recurrent_init="sparse", recurrent_scale=1.1, input_scale=math.sqrt(3 * sizes.units)),
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
        # at 3e-4 single batches reach losses of 1e5, at 1e-3 training leaves the finite numbers
        "irnn": adam.but(learning_rate=1e-4, epochs=sizes.momentum_epochs),
    }
    return base.but(
        name=name, models=models, trainer=adam.but(epochs=sizes.epochs), trainers=trainers, analyses={}, keep_data=False
    )


def four_ways() -> tuple[Experiment, ...]:
    """The four tasks, each with every way of training."""
    sizes = Sizes(units=100, epochs=10, momentum_epochs=60, outer_steps=100, reservoir=500)
    tasks = (
        ("adding", adding(), 100),
        ("copy", copy(), 60),
        ("temporal-order", temporal_order(), 100),
        ("memory-delay", memory_delay(), 20),
    )
    return tuple(_side_by_side(name, base, lag, sizes) for name, base, lag in tasks)


def four_ways_quick() -> tuple[Experiment, ...]:
    """`four-ways` with short lengths, small networks and little training, in a minute."""
    sizes = Sizes(units=32, epochs=4, momentum_epochs=4, outer_steps=4, reservoir=100)
    tasks = (
        ("adding", adding_quick().but(task=Adding(length=20, num_train=4000)), 20),
        ("copy", copy_quick(), 15),
        ("temporal-order", temporal_order_quick().but(task=TemporalOrder(length=20, num_train=3000)), 20),
        ("memory-delay", memory_delay_quick().but(task=MemoryDelay(length=10, num_train=1500)), 10),
    )
    return tuple(_side_by_side(name, base, lag, sizes) for name, base, lag in tasks)
