"""What a learner's errors on new tasks amount to, in words."""

import math

import numpy as np

from rnnscope.core.interfaces import ModelResult
from rnnscope.core.task_family import FamilyData
from rnnscope.evaluation.few_shot_scores import CONSTANT, LABELS, NORMAL, ORACLE, RANDOM, SHOT_MEAN, half_width

TRIVIAL = (CONSTANT, SHOT_MEAN)


def model_verdict(
    repeats: list[ModelResult],
    best: int,
    references: dict[str, ModelResult],
    rivals: dict[str, ModelResult],
    data: FamilyData,
    steps: tuple[int, ...],
) -> str:
    """Does it adapt, by how much is it better than answers that learned nothing of the family, and do its repeats agree?

    Args:
        repeats, best: of one model, and which of them is spoken of. rivals: other models of the experiment.
        steps: numbers of gradient steps, ascending, the first 0.
    """
    result = repeats[best]
    sentences = [transfer(result, references, data)] if data.is_one_task else []
    sentences.append(adapted(result, data, steps))
    sentences.append(against(result, references, rivals, data))
    worse = result.scores[f"K{data.shots[-1]}"].get("worse", 0.0)
    if worse > 0:
        sentences.append(
            f"Of {len(data.test)} test tasks {(count := round(worse * len(data.test)))} {'is' if count == 1 else 'are'} worse "
            f"after {steps[-1]} steps than before the first"
        )
    sentences += spoiled(result, data, steps)
    if len(repeats) > 1:
        sentences.append(over_repeats(repeats, references, data, steps))
    return ". ".join(sentences) + "."


def transfer(result: ModelResult, references: dict[str, ModelResult], data: FamilyData) -> str:
    """What one trained task is worth on another one, unadapted."""
    part = f"K{data.shots[-1]}"
    own, other = result.arrays[f"{part}_errors"][0], references[CONSTANT].arrays[f"{part}_errors"][0]
    text = {
        1: "What was learned on one task helps with the other: without adaptation it beats a constant",
        0: "What was learned on one task is worth a constant on the other",
        -1: "What was learned on one task does not transfer: without adaptation it loses to a constant",
    }[clearly_better(own, other)]
    return f"{text}, mean squared error {figure(own.mean())} against {figure(other.mean())}{_ratio(own.mean(), other.mean())}"


def adapted(result: ModelResult, data: FamilyData, steps: tuple[int, ...]) -> str:
    """Errors before and after adaptation, with intervals."""
    most = data.shots[-1]
    errors = result.arrays[f"K{most}_errors"]
    if len(errors) == 1:
        return f"From {most} examples, read without any gradient step, the mean squared error on new tasks is {interval(errors[0])}"
    parts = [f"{interval(errors[s])} after {s} step{'s' if s > 1 else ''}" for s in dict.fromkeys((steps[1], steps[-1]))]
    return f"From {most} examples the mean squared error is {figure(errors[0].mean())} before any gradient step, {' and '.join(parts)}"


def spoiled(result: ModelResult, data: FamilyData, steps: tuple[int, ...]) -> list[str]:
    """Where the same steps on fewer examples leave a mean error no smaller than it was before the first."""
    found = []
    for shots in data.shots[:-1]:
        errors = result.arrays[f"K{shots}_errors"]
        first, last = errors[0], errors[-1]
        if not last.mean() <= first.mean():
            share = f"{int((last > first).sum())} of {len(last)} tasks"
            found.append(
                f"From {shots} example{'s' if shots > 1 else ''} it does not gain on average: mean squared error {figure(first.mean())} "
                f"before and {figure(last.mean())} after {steps[-1]} steps ({share} are worse, the median task ends at "
                f"{figure(float(np.median(last)))})"
            )
    return found


def against(result: ModelResult, references: dict[str, ModelResult], rivals: dict[str, ModelResult], data: FamilyData) -> str:
    """Against the best trivial answer, a fine-tuned random start, and the other models, at the last step."""
    part = f"K{data.shots[-1]}_errors"
    own = result.arrays[part][-1]
    trivial = min(TRIVIAL, key=lambda name: references[name].arrays[part][-1].mean())
    learned_nothing = {f"the {LABELS[k]}": references[k] for k in (trivial, RANDOM)}
    others = learned_nothing | {f"'{name}'": rival for name, rival in rivals.items()}
    verbs = {1: "beats", 0: "is not clearly different from", -1: "loses to"}
    found = []
    for name, other in others.items():
        errors = other.arrays[part][-1]
        verb = verbs[clearly_better(own, errors)]
        found.append(f"{verb} {name} ({figure(errors.mean())}{_ratio(own.mean(), errors.mean())})")
    ceiling = references[ORACLE].arrays[part][-1].mean()
    return f"It {', '.join(found[:-1])} and {found[-1]}; a fit that knows the form reaches {figure(ceiling)}"


def over_repeats(
    repeats: list[ModelResult], references: dict[str, ModelResult], data: FamilyData, steps: tuple[int, ...]
) -> str:
    """Median and range of the repeats, and how many beat the trivial answers."""
    part = f"K{data.shots[-1]}"
    found = []
    for step in dict.fromkeys((steps[1], steps[-1])):
        values = [r.scores[part][f"step{step}"] for r in repeats]
        found.append(f"after {step}: {figure(min(values))} to {figure(max(values))}, median {figure(np.median(values))}")
    trivial = min((references[name].arrays[f"{part}_errors"][-1] for name in TRIVIAL), key=np.mean)
    beaten = sum(clearly_better(r.arrays[f"{part}_errors"][-1], trivial) > 0 for r in repeats)
    text = "; ".join(found)
    return f"Over {len(repeats)} repeats, {text}; {beaten} of {len(repeats)} beat the trivial answers"


def clearly_better(own: np.ndarray, other: np.ndarray) -> int:
    """1: smaller errors, the 95 % interval of the mean paired difference over tasks lying above 0; -1: larger; 0: neither."""
    if not np.isfinite(own).all():
        return -1 if np.isfinite(other).all() else 0
    if not np.isfinite(other).all():
        return 1
    difference = other - own
    error = NORMAL * float(difference.std(ddof=1)) / math.sqrt(len(difference)) if len(difference) > 1 else math.inf
    mean = float(difference.mean())
    return int(np.sign(mean)) if abs(mean) > error else 0


def interval(errors: np.ndarray) -> str:
    """0.084 [0.07, 0.10]: mean over tasks and its 95 % interval."""
    mean, half = float(errors.mean()), half_width(errors)
    return (
        f"{figure(mean)} [{figure(max(0.0, mean - half))}, {figure(mean + half)}]" if math.isfinite(half) else "that diverged"
    )


def figure(value: float) -> str:
    """Three digits; very small ones as 0."""
    return (
        "beyond all bounds" if not value < 1e6 else "0" if value < 1e-9 else f"{value:.3g}" if value < 100 else f"{value:.0f}"
    )


def _ratio(own: float, other: float) -> str:
    """, 12x less: how own compares, where both mean something."""
    if not (1e-9 < own < 1e6 and 1e-9 < other < 1e6):
        return ""
    ratio = max(own / other, other / own)
    digits = f"{ratio:.0f}" if ratio >= 100 else f"{ratio:.2g}"
    return f", {digits}x {'less' if own < other else 'more'}" if ratio > 1.05 else ""
