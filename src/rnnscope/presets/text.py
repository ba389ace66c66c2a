"""Characters and text: predict the next character of a string that repeats itself, and of any text."""

from rnnscope.analysis.automaton import AutomatonExtraction
from rnnscope.analysis.memory import Memory
from rnnscope.analysis.state_evolution import StateEvolution
from rnnscope.analysis.state_space import StateSpace
from rnnscope.core.interfaces import AnalysisSpec
from rnnscope.evaluation.text import TextScores
from rnnscope.experiment import Experiment
from rnnscope.models.recurrent import LSTM, Elman
from rnnscope.tasks.text import Characters, Text
from rnnscope.training.gradient import BPTT


def _characters(pattern: str, epochs: int = 200) -> Experiment:
    """An Elman network of 16 units on a string that repeats itself."""
    return Experiment(
        task=Characters(pattern=pattern),
        models={"elman": Elman(num_layers=1, hidden_size=16)},
        trainer=BPTT(
            # along the string with the state carried and detached, as it will run when it writes
            carry_state=True,
            truncation=20,
            batch_size=4,
            epochs=epochs,
            learning_rate=1e-2,
        ),
        # a string that repeats itself can be foretold: the free run must be exact
        evaluation=TextScores(free_run=100),
        analyses=_letters(),
        # steps this small gain nothing from a second thread
        threads=1,
    )


def _letters() -> dict[str, AnalysisSpec]:
    """What a small network on a small language has in its states."""
    return {
        # which of finitely many things it remembers, and how it goes from one to the next
        "automaton": AutomatonExtraction(),
        # the units, character by character
        "state_evolution": StateEvolution(),
        "state_space": StateSpace(),
        # how far back inputs matter, beside the number of characters that decide the next
        "memory": Memory(num_steps=300),
    }


def characters() -> Experiment:
    """One character decides the next."""
    return _characters("abc")


def characters_quick() -> Experiment:
    """`characters` in 40 epochs."""
    return _characters("abc", epochs=40)


def characters_abac() -> Experiment:
    """What follows an a depends on what came before it: one character must be remembered."""
    return _characters("abac")


def characters_abac_quick() -> Experiment:
    """`characters-abac` in 60 epochs."""
    return _characters("abac", epochs=60)


def characters_hello() -> Experiment:
    """Two characters decide the next; l and o come in several roles."""
    return _characters("hello world ")


def characters_hello_quick() -> Experiment:
    """`characters-hello` in 100 epochs."""
    return _characters("hello world ", epochs=100)


def text() -> Experiment:
    """Any text: an LSTM of 256 units along the text with its state carried."""
    return Experiment(
        task=Text(),
        models={"lstm": LSTM(num_layers=1, hidden_size=256)},
        trainer=BPTT(
            carry_state=True,
            batch_size=32,
            truncation=64,
            # 11,000 steps: five passes along 5 MB; on a shorter text, patience ends it
            epochs=50,
            epoch_steps=220,
            # the validation loss falls in steps, one a pass: here ten epochs can go by without a better one
            patience=20,
            # the better, the higher, up to here: 2.42, 2.28 bits per character after 6 million characters at 0.004, 0.008
            learning_rate=1.2e-2,
            schedule="cosine",
            warmup=0.02,
            watch_test=False,
        ),
        evaluation=TextScores(),
        analyses={"state_evolution": StateEvolution()},
        threads=1,
    )


def text_quick() -> Experiment:
    """`text` with 64 units on the first 100,000 characters."""
    full = text()
    return full.but(
        task=Text(most_characters=100_000),
        models={"lstm": LSTM(num_layers=1, hidden_size=64)},
        trainer=full.trainer.but(epochs=10, epoch_steps=200, batch_size=16),
        analyses={"state_evolution": StateEvolution(), "automaton": AutomatonExtraction()},
    )
