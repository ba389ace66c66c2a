"""Memory: bits that pulses set and that are to be held until the next pulse (Sussillo & Barak 2013)."""

from rnnscope.core.interfaces import ModelSpec
from rnnscope.evaluation.steps import Steps
from rnnscope.experiment import Experiment
from rnnscope.models.recurrent import GRU, LSTM, Elman
from rnnscope.presets.looks import holder
from rnnscope.tasks.flip_flop import FlipFlop
from rnnscope.training.gradient import BPTT


def _flip_flop(name: str, model: ModelSpec, *, epochs: int, learning_rate: float) -> Experiment:
    """Three bits, 64 steps, a pulse at every second step on average: the test bed of fixed-point analyses."""
    return Experiment(
        task=FlipFlop(),
        models={name: model},
        trainer=BPTT(
            count="all",  # every step asks for an answer
            epochs=epochs,
            # at equal time 32 sequences per step ended lower than 64 (tanh: 6.7e-6 against 1.6e-5)
            batch_size=32,
            learning_rate=learning_rate,
            # a high rate crosses the plateau near 0.3, where only the latest inputs are used; falling, it ends the jitter
            schedule="hold",
        ),
        analyses=holder(),
        evaluation=Steps(),
        # steps this small gain nothing from a second thread
        threads=1,
    )


def flip_flop() -> Experiment:
    """The plain tanh network."""
    return _flip_flop("elman", Elman(num_layers=1), epochs=120, learning_rate=5e-3)


def flip_flop_gru() -> Experiment:
    """`flip-flop` with a gated recurrent unit."""
    return _flip_flop("gru", GRU(num_layers=1), epochs=80, learning_rate=1e-2)


def flip_flop_lstm() -> Experiment:
    """`flip-flop` with long short-term memory."""
    return _flip_flop("lstm", LSTM(num_layers=1), epochs=60, learning_rate=1e-2)


def flip_flop_quick() -> Experiment:
    """`flip-flop-gru` with 16 units, in half a minute."""
    return _flip_flop("gru", GRU(num_layers=1, hidden_size=16), epochs=50, learning_rate=2e-2)
