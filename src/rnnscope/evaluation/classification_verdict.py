"""What the numbers of a classification run say, in words."""

import numpy as np
from scipy.special import gammaln
from scipy.stats import mannwhitneyu

from rnnscope.core.interfaces import ModelResult, Scores
from rnnscope.core.labelled import LabelledData
from rnnscope.evaluation.classification_scores import (
    CLEAR,
    MAJORITY,
    beats_trivial,
    best_trivial,
    difference,
    label,
    rows_by_kind,
    standing,
)
from rnnscope.evaluation.steps import percent

CERTAIN, UNCLEAR = 1e-3, 0.05


def model_verdict(repeats: list[ModelResult], best: int, references: dict[str, ModelResult], data: LabelledData) -> str:
    """Does it beat every baseline, on which part; what does it get wrong; do its repeats agree?"""
    result = repeats[best]
    constant = one_answer(result, references, data)
    sentences = constant or [against_baselines(result, references, part, data) for part in data.tests]
    sentences += independence(result, references, data)
    sentences += worst_kinds(result, data)
    if len(repeats) > 1:
        sentences += over_repeats(repeats, references, data)
    return ". ".join(text[0].upper() + text[1:] for text in sentences) + "."


def against_baselines(result: ModelResult, references: dict[str, ModelResult], part: str, data: LabelledData) -> str:
    """One part: the network beside the best baseline."""
    own, where = result.scores[part], _on(part)
    rival = best_trivial(part, references, data)
    other = references[rival].scores[part]
    verb = {
        1: "it beats every baseline, the best of them being",
        0: "it is not clearly different from the best baseline,",
        -1: "it loses to",
    }[standing(result, references, part, data)]
    p = difference(result, references[rival], part, data)[1]
    text = (
        f"{where} {verb} {_the(label(rival))}: balanced accuracy {percent(own['balanced_accuracy'])} against "
        f"{percent(other['balanced_accuracy'])} ({_p(p)})"
    )
    return f"{text}; {_accuracy(own)}, MCC {own['mcc']:.3g}" if part == "test" else text


def one_answer(result: ModelResult, references: dict[str, ModelResult], data: LabelledData) -> list[str]:
    """Where it takes every test sequence for the same class."""
    decided = np.unique(np.concatenate([result.arrays[f"{part}_decided"] for part in data.tests]))
    if len(decided) > 1:
        return []
    same = decided[0] == references[MAJORITY].arrays["test_decided"][0]
    own = result.scores["test"]
    return [
        f"it answers '{data.class_names[decided[0]]}' to everything"
        f"{', and so equals the majority class' if same else ''}: on the test part {_accuracy(own)}, but balanced accuracy "
        f"{percent(own['balanced_accuracy'])}, and MCC 0"
    ]


def independence(result: ModelResult, references: dict[str, ModelResult], data: LabelledData) -> list[str]:
    """Where decisions on the test part have nothing to do with the labels: is there anything to learn at all?"""
    p, count = result.scores["test"]["p_independent"], len(data.tests["test"])
    if p < CLEAR:
        return []
    if least_p(data) >= CLEAR:
        return [f"the test part has too few sequences ({count}) to tell whether decisions depend on the labels"]
    if p < UNCLEAR:
        return [f"it is not clear whether its decisions depend on the labels (permutation p = {p:.2g}, {count} sequences)"]
    if ranks(result, data):
        return [
            f"its decisions on the test part show no relation to the labels (permutation p = {p:.2g}), though its probabilities rank "
            f"the classes (area under the ROC curve {result.scores['test']['auc']:.3f}): it learned something, but not where to decide"
        ]
    known = f"; {percent(result.scores['train']['accuracy'])} are right in training" if "train" in result.scores else ""
    seeing = [name for name, r in references.items() if r.scores["test"]["p_independent"] < CLEAR / len(references)]
    if seeing:
        finder = max(seeing, key=lambda n: references[n].scores["test"]["balanced_accuracy"])
        return [
            f"its decisions on the test part show no relation to the labels (permutation p = {p:.2g}){known}. It learned "
            f"nothing that carries over, though there is something to learn: {_the(label(finder))} gets a balanced accuracy of "
            f"{percent(references[finder].scores['test']['balanced_accuracy'])} there"
        ]
    return [
        f"there is nothing to learn as far as the {count} test sequences tell: labels show no relation to the inputs, "
        f"p = {p:.2g} (permutation test){known}, and what is above chance there was learned by heart"
    ]


def ranks(result: ModelResult, data: LabelledData) -> bool:
    """Whether probabilities of two classes are higher where they should be, by the Mann-Whitney test."""
    labels = data.tests["test"].labels.numpy(force=True) == 1
    if len(data.class_names) != 2 or labels.all() or not labels.any():
        return False
    score = result.arrays["test_probabilities"][:, 1]
    return bool(np.ptp(score) > 0 and mannwhitneyu(score[labels], score[~labels], alternative="greater").pvalue < CLEAR)


def least_p(data: LabelledData) -> float:
    """The p-value of perfect decisions on the test part: one over the number of ways to deal out its labels."""
    counts = np.bincount(data.tests["test"].labels.numpy(force=True))
    return float(np.exp(gammaln(counts + 1).sum() - gammaln(counts.sum() + 1)))


def worst_kinds(result: ModelResult, data: LabelledData) -> list[str]:
    """Which kind of example it gets wrong most, on each part that tells kinds apart."""
    found = []
    for part, held in data.tests.items():
        by_kind = result.scores.get(f"{part} by kind")
        if not by_kind:
            continue
        name = min(by_kind, key=lambda kind: by_kind[kind])
        count = {kind: len(rows) for kind, rows in rows_by_kind(held, data)}[name]
        text = f"'{name}' ({percent(by_kind[name])} of {count} right)" if by_kind[name] < 1 else "none (all are right)"
        found.append(f"{text} {_on(part)}")
    if found and all(min(kinds.values()) == 1 for part in data.tests if (kinds := result.scores.get(f"{part} by kind"))):
        return ["every kind of example is decided right" + (" on every part" if len(found) > 1 else "")]
    return [f"worst kind of example: {', '.join(found)}"] if found else []


def over_repeats(repeats: list[ModelResult], references: dict[str, ModelResult], data: LabelledData) -> list[str]:
    """Medians and ranges over the repeats."""
    ranges = []
    for part in data.tests:
        text = _spread([r.scores[part]["balanced_accuracy"] for r in repeats])
        if "worst_kind" in repeats[0].scores[part]:
            text += f", worst kind {_spread([r.scores[part]['worst_kind'] for r in repeats])}"
        ranges.append(f"{text} {_on(part)}")
    beaten = sum(beats_trivial(r, references, data) for r in repeats)
    return [
        f"over {len(repeats)} repeats the median (range) of the balanced accuracy is {'; '.join(ranges)}",
        f"{beaten} of {len(repeats)} beat every baseline{' on every part' if len(data.tests) > 1 else ''}",
    ]


def other_models(chosen: str, results: dict[str, list[ModelResult]], data: LabelledData) -> str:
    """How the models that were not chosen do; empty where there is one."""
    found = []
    for name, repeats in results.items():
        if name != chosen:
            scores = [
                f"{percent(float(np.median([r.scores[part]['balanced_accuracy'] for r in repeats])))} {_on(part)}"
                for part in data.tests
            ]
            found.append(f"{name} {', '.join(scores)}")
    return f" Balanced accuracy of the others: {'; '.join(found)}." if found else ""


def part_title(name: str, data: LabelledData) -> str:
    """A test part's heading."""
    head = "Test part" if name == "test" else f"Test part '{name}'"
    return f"{head}: {data.tests[name].title}" if data.tests[name].title else head


def interval(scores: Scores) -> str:
    """The accuracy's interval in words."""
    return f"{100 * scores['accuracy_low']:.1f} to {100 * scores['accuracy_high']:.1f} %"


def _on(part: str) -> str:
    return "on the test part" if part == "test" else f"on '{part}'"


def _accuracy(scores: Scores) -> str:
    return f"accuracy {percent(scores['accuracy'])} (95 % interval {interval(scores)})"


def _the(name: str) -> str:
    return name if name.startswith(("the ", "logistic", "any ")) else f"the {name}" if name == "majority class" else f"'{name}'"


def _spread(values: list[float]) -> str:
    low, high = percent(min(values)), percent(max(values))
    return f"{percent(float(np.median(values)))} ({low if low == high else f'{low} to {high}'})"


def _p(p: float) -> str:
    return "p < 0.001" if p < CERTAIN else f"p = {p:.2g}"
