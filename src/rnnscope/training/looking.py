"""What training runs look at besides the batches they learn from: the mean loss, and what the data count, on a whole part."""

import torch
from torch import Tensor

from rnnscope.core.interfaces import BatchSource, SequenceModel, SupervisedData

EVALUATION_BATCH = 1024  # sequences or windows read at a time


@torch.no_grad()
def look_at(model: SequenceModel, data: SupervisedData, source: BatchSource, part: str, size: int) -> dict[str, float]:
    """The mean loss, and rates where the data have them, as PART_loss and PART_NAME.

    Args:
        model: in evaluation mode. source: the sequences or windows of the part. size: how many are read at a time.
    """
    total, counted = 0.0, 0
    tallies: list[Tensor] = []
    for batch in source.batches(size):
        targets = batch.targets[:, -batch.counted :]
        weight = int(torch.isfinite(targets).sum())  # targets that were not measured are NaN
        if weight:
            outputs = model(batch.inputs, batch.lengths, last=batch.counted)
            total += float(data.loss(outputs, targets)) * weight
            counted += weight
            add_counts(data, outputs, targets, tallies)
    return {f"{part}_loss": total / max(1, counted)} | counted_rates(data, tallies, part)


def add_counts(data: SupervisedData, outputs: Tensor, targets: Tensor, tallies: list[Tensor]) -> None:
    """Keep the running sum of the data's counts, where they have any, in a list that holds it alone."""
    tally = data.tally(outputs, targets)
    if tally is not None:
        tallies[:] = [tally if not tallies else tallies[0] + tally]


def counted_rates(data: SupervisedData, tallies: list[Tensor], part: str) -> dict[str, float]:
    """What a running sum of counts means, as PART_NAME; nothing where the list is empty."""
    return {f"{part}_{name}": rate for total in tallies for name, rate in data.rates(total).items()}
