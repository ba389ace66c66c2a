"""Classifiers that cannot know the order of things, or see only the last of them: what a recurrent network must beat."""

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from rnnscope.core.labelled import LabelledData, LabelledSet
from rnnscope.evaluation.classification_scores import MAJORITY, SUMMARIES, Answers

MOST_VALUES = 8_000_000  # of the table on which a logistic regression is fitted
MOST_COLUMNS = 2000  # of it, where it holds the latest inputs
Features = Callable[[LabelledSet], Float[np.ndarray, "N P"]]


def baseline_answers(data: LabelledData, latest: tuple[int, ...], penalty: float) -> dict[str, dict[str, Answers]]:
    """Baselines fitted on the training part: name -> part -> answers.

    The majority class; logistic regressions on order-free summaries and on the K latest inputs; the task's own rules.
    """
    found = {MAJORITY: _majority(data)}
    found[SUMMARIES] = _logistic(data, summaries, penalty)
    longest = min(data.train.num_steps, max(1, MOST_COLUMNS // len(data.input_names)))
    for count in dict.fromkeys(min(k, longest) for k in latest):
        found[f"latest{count}"] = _logistic(data, _latest(count), penalty)
    parts = data.parts()
    for rule in data.train.rules:
        if all(rule in part.rules for part in parts.values()):
            found[rule] = {name: Answers(part.rules[rule].astype(int)) for name, part in parts.items()}
    return found


def _majority(data: LabelledData) -> dict[str, Answers]:
    shares = np.bincount(data.train.labels.numpy(force=True), minlength=len(data.class_names)) / len(data.train)
    return {
        name: Answers(np.full(len(part), int(shares.argmax())), np.tile(shares, (len(part), 1)))
        for name, part in data.parts().items()
    }


def summaries(part: LabelledSet) -> Float[np.ndarray, "N P"]:
    """Mean, standard deviation, lowest and highest value of each feature over a sequence's steps, and their number."""
    inputs = part.inputs.numpy(force=True)
    steps = part.num_steps
    lengths = np.full(len(part), steps) if part.lengths is None else part.lengths.numpy(force=True)
    real = (np.arange(steps) < lengths[:, None])[:, :, None]
    number = lengths[:, None].astype(float)
    mean = inputs.sum(1, dtype=np.float64) / number
    spread = np.sqrt((np.where(real, inputs - mean[:, None].astype(np.float32), 0) ** 2).sum(1) / number)
    lowest, highest = np.where(real, inputs, np.inf).min(1), np.where(real, inputs, -np.inf).max(1)
    return np.concatenate([mean, spread, lowest, highest, number], 1)


def _latest(count: int) -> Features:
    """The `count` last real inputs of each sequence, side by side; zeros before the first."""

    def features(part: LabelledSet) -> Float[np.ndarray, "N P"]:
        inputs = part.inputs.numpy(force=True)
        lengths = np.full(len(part), part.num_steps) if part.lengths is None else part.lengths.numpy(force=True)
        rows = lengths[:, None] - count + np.arange(count)
        taken = np.take_along_axis(inputs, np.maximum(rows, 0)[:, :, None], 1)
        return np.where((rows >= 0)[:, :, None], taken, 0.0).reshape(len(part), -1).astype(np.float64)

    return features


def _logistic(data: LabelledData, features: Features, penalty: float) -> dict[str, Answers]:
    """A logistic regression on standardised features, classes weighted as in the network's loss."""
    values = features(data.train)
    mean, sd = values.mean(0), values.std(0)
    kept = sd > 1e-9 * np.maximum(np.abs(mean), 1.0)
    if not kept.any():
        return _majority(data)

    def scaled(part: LabelledSet) -> Float[np.ndarray, "N P"]:
        found: np.ndarray = (features(part)[:, kept] - mean[kept]) / sd[kept]
        return found

    labels = data.train.labels.numpy(force=True)
    table = scaled(data.train)
    rows = _some_of_each_class(labels, max(len(data.class_names), MOST_VALUES // table.shape[1]))
    fitted = _fit(table[rows], labels[rows], data.class_weights, penalty)
    found = {}
    for name, part in data.parts().items():
        probabilities = np.zeros((len(part), len(data.class_names)))
        probabilities[:, fitted.classes_] = fitted.predict_proba(scaled(part))
        found[name] = Answers(probabilities.argmax(1), probabilities)
    return found


def _fit(values: Float[np.ndarray, "N P"], labels: Int[np.ndarray, " N"], weights: tuple[float, ...], penalty: float) -> Any:
    from sklearn.linear_model import LogisticRegression  # imported here: half a second that most uses do not need

    present = np.unique(labels)
    weighing = {int(k): weights[k] for k in present} if weights else None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a fit that has not quite converged is still a baseline
        return LogisticRegression(C=1 / penalty, max_iter=300, class_weight=weighing).fit(values, labels)


def _some_of_each_class(labels: Int[np.ndarray, " N"], most: int) -> np.ndarray:
    """Numbers of at most so many sequences, the first ones of each class alike."""
    if len(labels) <= most:
        return np.arange(len(labels))
    each = max(1, most // len(np.unique(labels)))
    return np.sort(np.concatenate([np.flatnonzero(labels == k)[:each] for k in np.unique(labels)]))
