"""Analysis: which frames of an image sequence moved the decision, and which pixels of them."""

from collections.abc import Iterator
from typing import Annotated, Any, Literal

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from rnnscope.analysis.evidence import Seen, half_of_evidence, look, pick, try_steps
from rnnscope.analysis.figures_saliency import FramesExample, saliency_course_figure, saliency_figure
from rnnscope.core.errors import ConfigError
from rnnscope.core.interfaces import AnalysisSpec, Findings, SequenceModel, Trained, TrainingData
from rnnscope.core.labelled import LabelledData
from rnnscope.core.random import Streams
from rnnscope.core.spec import Fraction
from rnnscope.core.tables import Figure

INCOMPLETE = 0.05  # residual beyond this share of the attributions' size is said to be too much


class Saliency(AnalysisSpec):
    """Integrated gradients of the margin between the chosen class and the runner-up, frame by frame, on image sequences.

    The size of a frame is Σ |A| over its pixels, as a share of the sequence's. Whether the frames with most evidence matter is
    tried: they are replaced by the baseline, and as many random frames for comparison.

    Fields:
        baseline: what a frame looks like that shows nothing: zero (black) or mean (of the training part).
        num_sequences: attributed, of all classes, 1 to 512. num_examples: drawn, 1 to 8. num_steps: points of the quadrature, 1
            to 4096. removed: share of the frames that are replaced, in [0, 1), at least one frame.
        part: whose sequences: test, or another of the task's parts.
    """

    baseline: Literal["zero", "mean"] = "zero"
    num_sequences: Annotated[int, Field(ge=1, le=512)] = 48
    num_examples: Annotated[int, Field(ge=1, le=8)] = 4
    num_steps: Annotated[int, Field(ge=1, le=4096)] = 32
    removed: Fraction = 0.1
    part: str = "test"

    def obstacle(self, model: SequenceModel, data: TrainingData) -> str:
        return "" if isinstance(data, LabelledData) and data.frame else "the task's inputs are no images"

    def run(self, trained: Trained, data: TrainingData, streams: Streams) -> Findings:
        assert isinstance(data, LabelledData)
        parts = data.parts()
        if self.part not in parts:
            raise ConfigError(f"saliency.part is '{self.part}'", f"one of: {', '.join(parts)}", "set saliency.part=test")
        chosen = pick(parts[self.part], self.num_sequences, streams.at("sequences").numpy())
        seen = look(trained.model, data, chosen, self.baseline, self.num_steps)
        tried = try_steps(trained.model, seen, self.removed, streams.at("frames").numpy())
        shares = frame_shares(seen.found.values)
        metrics = {**_metrics(seen, shares), **tried, "baseline": self.baseline, "num_points": self.num_steps}
        arrays = {
            "attributions": seen.found.values.numpy(),
            "share_of_frames": shares.numpy(),
            "residual": seen.found.residual.numpy(),
            "change": seen.found.change.numpy(),
            "decided": seen.decided.numpy(),
            "labels": seen.labels.numpy(),
            "lengths": seen.lengths.numpy(),
        }
        shown = _examples(seen, shares, data, self.num_examples)
        course = {"shares": shares.numpy(), "lengths": seen.lengths.numpy()}
        return Findings(tuple(_statements(metrics, self.part)), metrics, arrays, (), {"examples": shown, **course})

    def figures(self, findings: Findings) -> Iterator[Figure]:
        found = findings.results
        yield saliency_figure(found["examples"])
        yield saliency_course_figure(found["shares"], found["lengths"])


def frame_shares(values: Float[Tensor, "N T X"]) -> Float[Tensor, "N T"]:
    """Share of each frame in the absolute attribution of its sequence; equal shares where there is none at all.

    Example:
        >>> import torch
        >>> frame_shares(torch.tensor([[[1.0, -1.0], [6.0, 0.0]]])).tolist()
        [[0.25, 0.75]]
    """
    size = values.abs().sum(-1)
    total = size.sum(1, keepdim=True)
    return torch.where(total > 0, size / total.clamp(min=torch.finfo(size.dtype).tiny), 1.0 / size.shape[1])


def _metrics(seen: Seen, shares: Tensor) -> dict[str, Any]:
    found = seen.found
    relative = found.residual.abs() / found.values.abs().sum((1, 2)).clamp(min=1e-6)
    mean = shares.mean(0)
    return {
        "num_sequences": len(shares),
        "right": float((seen.decided == seen.labels).double().mean()),
        "half_in_frames": float(half_of_evidence(shares, seen.lengths).double().median()),
        "median_length": float(seen.lengths.double().median()),
        "share_by_frame": [float(v) for v in mean],
        "largest_frame": int(mean.argmax()) + 1,
        "smallest_frame": int(mean.argmin()) + 1,
        "relative_residual_median": float(relative.median()),
        "relative_residual_95": float(relative.quantile(0.95)),
    }


def _statements(found: dict[str, Any], part: str) -> Iterator[str]:
    where = "the test part" if part == "test" else f"'{part}'"
    shares, most, least = found["share_by_frame"], found["largest_frame"], found["smallest_frame"]
    count = len(shares)
    yield (
        f"On {found['num_sequences']} sequences of {where}, half of the attribution (its size, for the chosen class against the "
        f"runner-up) lies in {found['half_in_frames']:.0f} of {found['median_length']:.0f} frames (medians)."
    )
    if count > 1:
        yield (
            f"Frame {most} moved the decision most, with {100 * shares[most - 1]:.0f} % of the attribution on average, and frame "
            f"{least} least, with {100 * shares[least - 1]:.2g} %; equal shares would be {100 / count:.2g} %."
        )
    by_most, random = found["changed_by_most_evidence"], found["changed_by_random"]
    replaced = max(1, -int(-found["removed_share"] * found["median_length"] // 1))
    which = "the frame with most evidence for them" if replaced == 1 else f"the {replaced} frames with most evidence for them"
    other = "a random frame" if replaced == 1 else f"{replaced} random frames"
    those, none = (
        ("that frame counts", "no single frame decides") if replaced == 1 else ("those frames count", "no few frames decide")
    )
    word = f"{those} more than others" if by_most > 2 * random + 0.05 else f"{none} alone"
    blank = "black" if found["baseline"] == "zero" else "the mean frame"
    yield (
        f"With {which} made {blank}, {100 * by_most:.0f} % of the decisions change; with {other}, {100 * random:.0f} %: {word}."
    )
    enough = "" if found["relative_residual_95"] < INCOMPLETE else "; raise num_steps before reading single pixels"
    yield (
        f"Completeness: the attributions add up to the change of the margin from the baseline but for "
        f"{100 * found['relative_residual_median']:.2g} % of their summed size (median; for 95 % of the sequences less than "
        f"{100 * found['relative_residual_95']:.2g} %){enough}."
    )
    yield "An attribution says what moved this network's margin, not what causes the class; it depends on the baseline."


def _examples(seen: Seen, shares: Tensor, data: LabelledData, count: int) -> list[FramesExample]:
    """Sequences to be drawn, with what moved the decision."""
    found = []
    for row in seen.examples(count):
        length = int(seen.lengths[row])
        found.append(
            FramesExample(
                seen.inputs[row, :length].reshape(length, *data.frame).numpy(),
                seen.found.values[row, :length].reshape(length, *data.frame).numpy(),
                shares[row, :length].numpy(),
                data.class_names[int(seen.decided[row])],
                data.class_names[int(seen.labels[row])],
                float(seen.probability[row]),
            )
        )
    return found
