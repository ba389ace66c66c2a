"""Analysis: which steps of a sequence moved the decision, and whether they really did."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from scipy.stats import binomtest
from torch import Tensor

from rnnscope.analysis.attribution import Attribution, integrated_gradients
from rnnscope.analysis.figures_evidence import Example, course_figure, examples_figure
from rnnscope.core.errors import ConfigError
from rnnscope.core.interfaces import AnalysisSpec, Findings, SequenceModel, Trained, TrainingData
from rnnscope.core.labelled import LabelledData, LabelledSet
from rnnscope.core.padding import real_steps
from rnnscope.core.random import Streams
from rnnscope.core.spec import Positive, PositiveFloat
from rnnscope.core.tables import Figure

CLEAR = 0.01  # p-value below which a difference is called one
INCOMPLETE = 0.05  # residual beyond this share of the margin's change is too much


class Evidence(AnalysisSpec):
    """Integrated gradients of the margin between the chosen class and the runner-up, step by step, on test sequences.

    Whether the steps with most evidence matter is tried: they are set to the baseline, and as many random steps for comparison.

    Fields:
        baseline: what "nothing" looks like: zero (the mean, where inputs were standardised) or mean (of the training part).
        num_sequences: attributed, of all classes. num_examples: drawn, 1 to 12. num_steps: points of the quadrature, 1 to 4096;
            more are taken where these do not suffice.
        removed: share of the steps that are set to the baseline, in (0, 1).
        part: whose sequences: test, or another of the task's parts.
    """

    baseline: Literal["zero", "mean"] = "zero"
    num_sequences: Positive = 128
    num_examples: Positive = 6
    num_steps: Positive = 64
    removed: PositiveFloat = 0.1
    part: str = "test"

    def obstacle(self, model: SequenceModel, data: TrainingData) -> str:
        return (
            "" if isinstance(data, LabelledData) else "the task has no labelled sequences, so there is no decision to explain"
        )

    def run(self, trained: Trained, data: TrainingData, streams: Streams) -> Findings:
        assert isinstance(data, LabelledData)
        if self.part not in data.parts():
            raise ConfigError(f"evidence.part is '{self.part}'", f"one of: {', '.join(data.parts())}", "set evidence.part=test")
        if not self.removed < 1 or self.num_examples > 12:
            raise ConfigError(
                f"evidence.removed is {self.removed:g}, num_examples {self.num_examples}", "below 1; 1 to 12", "change them"
            )
        chosen = pick(data.parts()[self.part], self.num_sequences, streams.at("sequences").numpy())
        seen = look(trained.model, data, chosen, self.baseline, self.num_steps)
        tried = try_steps(trained.model, seen, self.removed, streams.at("steps").numpy())
        numbers = {**_metrics(seen), **tried}
        arrays = {
            "evidence": seen.found.values.numpy(),
            "inputs": seen.inputs.numpy(),
            "decided": seen.decided.numpy(),
            "runner_up": seen.runner_up.numpy(),
            "labels": seen.labels.numpy(),
            "lengths": seen.lengths.numpy(),
        }
        statements = tuple(_statements(numbers, self.part))
        shown = _examples(seen, data, self.num_examples)
        return Findings(statements, {**numbers, "part": self.part}, arrays, (), {"seen": seen, "data": data, "examples": shown})

    def figures(self, findings: Findings) -> Iterator[Figure]:
        data, seen = findings.results["data"], findings.results["seen"]
        yield examples_figure(findings.results["examples"], data.input_names)
        yield course_figure(seen.found.by_step.numpy(), seen.lengths.numpy(), seen.decided.numpy(), data.class_names)


@dataclass(frozen=True)
class Seen:
    """Sequences with the network's decisions and their evidence. `probability`: of the class decided for."""

    inputs: Tensor
    lengths: Tensor
    labels: Tensor
    decided: Tensor
    runner_up: Tensor
    probability: Tensor
    start: Tensor
    found: Attribution

    def examples(self, count: int) -> list[int]:
        """Rows to be drawn, at most so many: as picked, the classes in turn; a mistake takes the last place where there is one."""
        chosen = list(range(min(count, len(self.inputs))))
        wrong = (self.decided != self.labels).nonzero()[:, 0].tolist()
        if wrong and not set(wrong) & set(chosen):
            chosen[-1] = wrong[0]
        return chosen


def pick(part: LabelledSet, count: int, rng: np.random.Generator) -> LabelledSet:
    """At most so many sequences, the classes in turn."""
    order = rng.permutation(len(part))
    labels = part.labels.numpy(force=True)[order]
    turn = np.zeros(len(order), int)
    for number in np.unique(labels):
        turn[labels == number] = np.arange((labels == number).sum())
    return part.take(order[np.argsort(turn, kind="stable")][:count])


@torch.no_grad()
def decide(model: SequenceModel, inputs: Tensor, lengths: Tensor) -> Tensor:
    """Logits, (N, C)."""
    return model(inputs, lengths, last=1)[:, -1]


def look(model: SequenceModel, data: LabelledData, part: LabelledSet, baseline: str, num_steps: int) -> Seen:
    """Decisions and their evidence."""
    inputs = part.inputs
    lengths = part.lengths if part.lengths is not None else torch.full((len(part),), part.num_steps)
    logits = decide(model, inputs, lengths)
    decided, runner_up = logits.topk(2, -1).indices.unbind(-1)
    start = training_mean(data) if baseline == "mean" else torch.zeros(inputs.shape[2])
    found = integrated_gradients(model, inputs, lengths, decided, baseline=start, num_steps=num_steps, against=runner_up)
    probability = logits.softmax(-1).amax(-1)
    return Seen(inputs, lengths, part.labels, decided, runner_up, probability, start, found)


def training_mean(data: LabelledData) -> Tensor:
    """(X,), over the real steps of the training part."""
    flat = data.train.inputs
    if data.train.lengths is None:
        return flat.mean((0, 1))
    return flat[real_steps(data.train.lengths, flat.shape[1])].mean(0)


def try_steps(model: SequenceModel, seen: Seen, share: float, rng: np.random.Generator) -> dict[str, float]:
    """How many decisions change when the steps with most evidence for them, or random ones, are set to the baseline.

    `changed_p` is of the one-sided sign test over the sequences that only one of the two changes.
    """
    there = real_steps(seen.lengths, seen.inputs.shape[1])
    count = (seen.lengths * share).ceil().long().clamp(min=1)
    evidence = seen.found.by_step.masked_fill(~there, -torch.inf)
    chance = torch.from_numpy(rng.random(evidence.shape)).masked_fill(~there, -torch.inf)
    changed: dict[str, Tensor] = {}
    for name, order in (("most_evidence", evidence), ("random", chance)):
        rank = order.argsort(1, descending=True).argsort(1)
        without = torch.where((rank < count[:, None])[..., None], seen.start.to(seen.inputs), seen.inputs)
        decided = decide(model, without, seen.lengths).argmax(-1)
        changed[name] = decided != seen.decided
    only = [int((changed[a] & ~changed[b]).sum()) for a, b in (("most_evidence", "random"), ("random", "most_evidence"))]
    p = float(binomtest(only[0], sum(only), alternative="greater").pvalue) if sum(only) else 1.0
    shares = {f"changed_by_{name}": float(one.double().mean()) for name, one in changed.items()}
    return {**shares, "changed_p": p, "removed_share": share}


def half_of_evidence(by_step: Tensor, lengths: Tensor) -> Tensor:
    """(N,), the fewest steps that hold half of the absolute evidence."""
    size = by_step.abs().sort(1, descending=True).values
    reached = size.cumsum(1) >= 0.5 * size.sum(1, keepdim=True)
    return torch.minimum(reached.int().argmax(1) + 1, lengths)


def _metrics(seen: Seen) -> dict[str, float]:
    found = seen.found
    relative = found.residual.abs() / found.change.abs().clamp(min=1e-6)
    half = half_of_evidence(found.by_step, seen.lengths).double()
    return {
        "num_sequences": float(len(seen.inputs)),
        "right": float((seen.decided == seen.labels).double().mean()),
        "half_in_steps": float(half.median()),
        "median_length": float(seen.lengths.double().median()),
        "relative_residual_median": float(relative.median()),
        "relative_residual_worst": float(relative.quantile(0.95)),
        "residual_worst": float(found.residual.abs().max()),
        "num_incomplete": float((relative > INCOMPLETE).sum()),
    }


def _statements(found: dict[str, float], part: str) -> Iterator[str]:
    where = "the test part" if part == "test" else f"'{part}'"
    yield (
        f"On {found['num_sequences']:.0f} sequences of {where}, half of the evidence for the chosen class against the runner-up "
        f"lies in {found['half_in_steps']:.0f} of {found['median_length']:.0f} steps (medians)."
    )
    most, random = found["changed_by_most_evidence"], found["changed_by_random"]
    share = f"{100 * found['removed_share']:.0f} %"
    p = found["changed_p"]
    if p >= CLEAR:
        word = f"no clear difference (p = {p:.2g})"
    elif most > 0.5:
        word = f"most decisions rest on these steps ({_p(p)})"
    else:
        word = f"these steps matter more than others, but half of the decisions or more stand without them ({_p(p)})"
    yield (
        f"With the {share} of steps that have most evidence set to the baseline, {100 * most:.0f} % of the decisions change; "
        f"with as many random steps, {100 * random:.0f} %: {word}."
    )
    worst, missed = found["relative_residual_worst"], found["num_incomplete"]
    enough = (
        f"; {missed:.0f} of them miss it by more than {100 * INCOMPLETE:.0f} %: do not read their single steps"
        if missed
        else ""
    )
    yield (
        f"Completeness: the attributions add up to the change of the margin from the baseline to within "
        f"{_percent(found['relative_residual_median'])} of it (median; for 95 % of the sequences to within {_percent(worst)}){enough}."
    )
    yield "Evidence says what moved this network's margin, not what causes the class; it depends on the baseline."


def _percent(share: float) -> str:
    return f"{100 * share:.2g} %" if share < 1 else f"{100 * share:.0f} %"


def _p(p: float) -> str:
    return "p < 0.001" if p < 1e-3 else f"p = {p:.1g}"


def _examples(seen: Seen, data: LabelledData, count: int) -> list[Example]:
    """Sequences to be drawn, with what moved the decision."""
    found = []
    for row in seen.examples(count):
        length = int(seen.lengths[row])
        found.append(
            Example(
                seen.inputs[row, :length].numpy(),
                seen.found.values[row, :length].numpy(),
                data.class_names[int(seen.decided[row])],
                data.class_names[int(seen.runner_up[row])],
                data.class_names[int(seen.labels[row])],
                float(seen.probability[row]),
            )
        )
    return found
