"""Windows of series as views: a batch is gathered when it is asked for, so memory stays that of the series."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from rnnscope.core.interfaces import Batch, BatchSource
from rnnscope.core.series import Span


@dataclass(frozen=True)
class EncodedSeries:
    """All series of a task, encoded, one after the other in one tensor.

    Attributes:
        inputs: u, (N, X) float32. targets: y, (N, Y) float32, row t answering inputs row t (zeros where there is none).
        offsets: first row of each series, and N at the end.
    """

    inputs: Float[Tensor, "N X"]
    targets: Float[Tensor, "N Y"]
    offsets: tuple[int, ...]

    def to(self, device: torch.device) -> "EncodedSeries":
        return EncodedSeries(self.inputs.to(device), self.targets.to(device), self.offsets)


class Windows(BatchSource):
    """Windows of `length` inputs that begin at given rows of the encoded series.

    Args:
        encoded: the series. starts: first row of every window, an integer array or a range. length: L >= 1.
    """

    def __init__(self, encoded: EncodedSeries, starts: np.ndarray | range, length: int) -> None:
        self.encoded, self.starts, self.length = encoded, starts, length
        self._inputs, self._targets = (_overlapping(t, length) for t in (encoded.inputs, encoded.targets))

    def __len__(self) -> int:
        return len(self.starts)

    def rows(self, indices: np.ndarray) -> np.ndarray:
        """First rows of the windows with these numbers."""
        if isinstance(self.starts, range):
            return self.starts.start + self.starts.step * indices.astype(np.int64)
        return self.starts[indices].astype(np.int64)

    def gather(self, indices: np.ndarray) -> Batch:
        first = torch.from_numpy(self.rows(indices)).to(self.encoded.inputs.device)
        return Batch(self._inputs[first], self._targets[first])

    def to(self, device: torch.device) -> "Windows":
        return Windows(self.encoded.to(device), self.starts, self.length)


def _overlapping(rows: Tensor, length: int) -> Tensor:
    """A view (N - L + 1, L, features) of all windows of a tensor (N, features): no copy."""
    count = max(0, len(rows) - length + 1)
    return rows.as_strided((count, length, rows.shape[1]), (rows.stride(0), rows.stride(0), rows.stride(1)))


class StreamSource(BatchSource):
    """For each span, everything from the start of its series to the span's end; only the span's own steps count."""

    def __init__(self, encoded: EncodedSeries, spans: Sequence[Span], first: int, horizon: int) -> None:
        self.encoded, self.spans, self.first, self.horizon = encoded, spans, first, horizon

    def __len__(self) -> int:
        return len(self.spans)

    def gather(self, indices: np.ndarray) -> Batch:
        (index,) = indices
        span = self.spans[index]
        offset = self.encoded.offsets[span.series]
        rows = slice(offset + self.first, offset + span.stop - self.horizon)
        return Batch(self.encoded.inputs[None, rows], self.encoded.targets[None, rows], len(span) - self.horizon + 1)

    def batches(self, size: int) -> Iterator[Batch]:
        for index in range(len(self)):
            yield self.gather(np.array([index]))


def window_starts(first: int, stop: int, length: int, horizon: int, stride: int) -> range:
    """Starts s of windows whose inputs s … s+length-1 and targets up to s+length-1+horizon all lie in [first, stop)."""
    return range(first, max(first, stop - length - horizon + 1), stride)
