"""Sequences to be told apart: does a pattern occur in it, does an action follow a trigger?"""

from rnnscope.analysis.attractors import AttractorMap
from rnnscope.analysis.evidence import Evidence
from rnnscope.analysis.fixed_points import FixedPointSearch
from rnnscope.analysis.state_space import StateSpace
from rnnscope.core.interfaces import AnalysisSpec, ModelSpec
from rnnscope.evaluation.classification import Classification
from rnnscope.experiment import Experiment
from rnnscope.models.classifier import Classifier, Pooling
from rnnscope.models.recurrent import LSTM
from rnnscope.tasks.patterns import Pattern
from rnnscope.tasks.trigger_action import TriggerAction
from rnnscope.training.gradient import BPTT

# what is kept in mind drifts slowly: from 2000 steps orbits are still on their way, and to examine them takes minutes
SETTLED = AttractorMap(num_steps=10_000)


def detector() -> dict[str, AnalysisSpec]:
    """A network that must keep in mind that it saw something: which states does it keep, and what made it decide?"""
    return {
        # which steps moved the decision: those of the pattern, if it learned the pattern
        "evidence": Evidence(),
        # "seen" and "not seen" are to be stable states when zeros follow
        "attractors": SETTLED,
        "fixed_points": FixedPointSearch(),
        "state_space": StateSpace(),
    }


def pattern() -> Experiment:
    """As many sequences with 1 1 0 as without, and tests at 2.5 and 10 times the length."""
    return Experiment(
        # 2000 sequences (the usual size) leave 99.0 % at length 20, 10000 leave no mistake
        task=Pattern(num_sequences=10_000),
        models={"lstm": LSTM(hidden_size=64, num_layers=1)},
        # a fast start and a falling end
        trainer=BPTT(epochs=15, batch_size=32, learning_rate=3e-3, schedule="hold"),
        analyses=detector(),
        evaluation=Classification(),
        # steps this small gain nothing from a second thread
        threads=1,
    )


def pattern_quick() -> Experiment:
    """`pattern` with 4000 sequences and 32 units."""
    return pattern().but(
        task=Pattern(num_sequences=4000),
        models={"lstm": LSTM(hidden_size=32, num_layers=1)},
        trainer=BPTT(epochs=14, batch_size=32, learning_rate=1e-2, schedule="hold"),
        analyses={"evidence": Evidence(), "attractors": SETTLED},
    )


def pattern_unbalanced() -> Experiment:
    """Random sequences, half of them with the pattern planted, as usually generated: 1.4 % are without it."""
    return Experiment(
        task=Pattern(balance="original"),
        models={"lstm": LSTM(hidden_size=64, num_layers=1)},
        trainer=BPTT(epochs=30, batch_size=32, learning_rate=1e-3),
        analyses={"evidence": Evidence()},
        evaluation=Classification(),
        threads=1,
    )


def pattern_unbalanced_quick() -> Experiment:
    """`pattern-unbalanced` with ten epochs; it ends at the majority class as the long one does."""
    return pattern_unbalanced().but(trainer=BPTT(epochs=10, batch_size=32, learning_rate=1e-3), analyses={})


def pattern_unbalanced_best() -> Experiment:
    """The same generator, each class weighing alike in the loss, and ten times the sequences."""
    return pattern_unbalanced().but(
        # of 2000 sequences some 20 without the pattern are in training; weights alone then end below
        # a logistic regression
        task=Pattern(balance="original", class_weights="balanced", num_sequences=20_000),
        trainer=BPTT(epochs=12, batch_size=32, learning_rate=3e-3, schedule="hold"),
        analyses=detector(),
    )


def _trigger_action(models: dict[str, ModelSpec], task: TriggerAction, trainer: BPTT) -> Experiment:
    return Experiment(
        task=task, models=models, trainer=trainer, analyses={"evidence": Evidence()}, evaluation=Classification(), threads=2
    )


def _bilstm(hidden_size: int, num_layers: int, dropout: float, pooling: Pooling = "last") -> Classifier:
    return Classifier(
        cell="lstm", bidirectional=True, hidden_size=hidden_size, num_layers=num_layers, dropout=dropout, pooling=pooling
    )


def trigger_action() -> Experiment:
    """Five kinds of decoys in equal shares; a stacked bidirectional LSTM of 128 x 2."""
    return _trigger_action(
        {"bilstm": _bilstm(128, 2, 0.4)},
        # 200 test sequences of each decoy kind, so that 99 % can be told from 98 %
        TriggerAction(num_sequences=10_000),
        BPTT(epochs=10, batch_size=64, learning_rate=2e-3, schedule="hold"),
    )


def trigger_action_quick() -> Experiment:
    """`trigger-action` with one bidirectional layer of 32 units."""
    return _trigger_action(
        {"bilstm": _bilstm(32, 1, 0.0)},
        TriggerAction(num_sequences=6000),
        BPTT(epochs=12, batch_size=32, learning_rate=1e-2, schedule="hold"),
    )


def trigger_action_reading() -> Experiment:
    """Both final states against outputs[:, -1], which has of the backward direction what it knows after one step.

    All events lie in the first 20 of 120 steps: the backward direction ends right after reading them, the forward one must hold
    the answer over 100 steps of background. Whoever reads outputs[:, -1] has only the latter.
    """
    return _trigger_action(
        {"final_states": _bilstm(32, 1, 0.0), "last_output": _bilstm(32, 1, 0.0, "end")},
        # where the events may lie anywhere, the forward direction alone finds them, and both readings end at 100 %
        TriggerAction(num_steps=120, latest=20, num_sequences=2000),
        BPTT(epochs=20, batch_size=32, learning_rate=1e-2, schedule="hold"),
    )


def trigger_action_reading_quick() -> Experiment:
    """`trigger-action-reading` with 80 steps instead of 120, and fewer epochs."""
    return trigger_action_reading().but(
        task=TriggerAction(num_steps=80, latest=20, num_sequences=2000),
        trainer=BPTT(epochs=12, batch_size=32, learning_rate=1e-2, schedule="hold"),
        analyses={},
    )


def trigger_action_easy() -> Experiment:
    """The original: class 0 is background alone, so that any value above 0.5 decides; the decoys are a further test part."""
    return _trigger_action(
        {"bilstm": _bilstm(128, 2, 0.4)},
        TriggerAction(decoys=False),
        BPTT(epochs=10, batch_size=64, learning_rate=1e-3),
    )


def trigger_action_easy_quick() -> Experiment:
    """`trigger-action-easy` with one bidirectional layer of 32 units."""
    return _trigger_action(
        {"bilstm": _bilstm(32, 1, 0.0)},
        TriggerAction(decoys=False),
        BPTT(epochs=12, batch_size=64, learning_rate=1e-2, schedule="hold"),
    )
