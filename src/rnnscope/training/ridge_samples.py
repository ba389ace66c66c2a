"""What ridge regression sees of a task: features and targets, piece by piece, along whole series or over windows."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from rnnscope.core.errors import ConfigError
from rnnscope.core.interfaces import Stream, SupervisedData
from rnnscope.core.padding import last_steps
from rnnscope.core.system import DynamicalSystem, LinearReadout

BATCH = 256


@dataclass(frozen=True)
class Piece:
    """Features (N, P) and targets (N, Y) of some samples, float64; `held` ones lie in the last tenth of their stream."""

    features: np.ndarray
    targets: np.ndarray
    held: bool = False


class Samples:
    """Features of one network on one task.

    Args:
        readout, system: the same network as what it is to regression, and to loops. data: the task.
        along: whole series with the state carried, instead of windows. washout, block, state_noise, input_noise: see `Ridge`.
        rng: of the noise. like: a tensor of the network's dtype and device.

    Attributes:
        train, checks: the streams of the training and the validation part; empty on windows.
    """

    def __init__(
        self,
        readout: LinearReadout,
        system: DynamicalSystem,
        data: SupervisedData,
        like: Tensor,
        rng: torch.Generator,
        *,
        along: bool,
        washout: int,
        block: int,
        state_noise: float,
        input_noise: float,
    ) -> None:
        self.readout, self.system, self.data, self.like, self.rng = readout, system, data, like, rng
        self.washout, self.block, self.state_noise, self.input_noise = washout, block, state_noise, input_noise
        self.train: list[Stream] = data.exact_streams("train") if along else []
        self.checks: list[Stream] = data.exact_streams("validation") if self.train else []

    @property
    def validates(self) -> bool:
        """Whether the task has a validation part; without one, the last tenth of each stream can be held back."""
        return bool(self.checks) if self.train else self.data.validation is not None

    def expected(self) -> int:
        """About how many training samples there are."""
        if self.train:
            return sum(max(0, len(s.inputs) - self.washout) for s in self.train)
        return len(self.data.train) * self.data.train.gather(np.zeros(1, np.int32)).targets.shape[1]

    def training(self) -> Iterator[Piece]:
        """All of the training part."""
        if not self.train:
            yield from self._batches("train")
        for stream in self.train:
            yield from self._along(stream, self.washout, noisy=True)

    def choosing(self) -> Iterator[Piece]:
        """The validation part, or the last tenth of the training part."""
        if not self.train:
            yield from self._batches("validation")
        for stream in self.choosing_streams():
            yield from self._along(stream, len(stream.inputs) - (stream.counted or len(stream.inputs)))

    def choosing_streams(self) -> list[Stream]:
        """The streams of which the last `counted` steps choose, after a washout."""
        found = []
        for stream in self.checks or [Stream(s.inputs, s.targets, len(s.inputs) - tenth(s)) for s in self.train]:
            counted = stream.counted or len(stream.inputs)
            rows = slice(max(0, len(stream.inputs) - counted - self.washout), None)
            found.append(Stream(stream.inputs[rows], stream.targets[rows], counted))
        return found

    def states_at(self, stream: Stream, positions: list[int]) -> Tensor:
        """h after the inputs up to and with each position, ascending, (len(positions), S)."""
        answers = self._answers(stream.targets, (len(stream.inputs),))
        state, found = self.system.initial_state(1), []
        for start, stop in pairwise([0, *(p + 1 for p in positions)]):
            inputs = self.data.encode(stream.inputs[None, start:stop])
            _, state = self._features(inputs, state, before(answers)[None, start:stop], False)
            found.append(state)
        return torch.cat(found)

    def _along(self, stream: Stream, first: int, *, noisy: bool = False) -> Iterator[Piece]:
        """One stream from its step `first` on; what lies before warms the state up."""
        length = len(stream.inputs)
        answers = self._answers(stream.targets, (length,))
        previous, state = before(answers), self.system.initial_state(1)
        for start, stop in pairwise(sorted({*range(0, length, self.block), tenth(stream), length})):
            inputs = self.data.encode(stream.inputs[None, start:stop])
            features, state = self._features(inputs, state, previous[None, start:stop], noisy)
            rows = slice(max(0, first - start), None)
            yield piece(features[0, rows], answers[start:stop][rows], start >= tenth(stream))

    def _batches(self, part: Literal["train", "validation"]) -> Iterator[Piece]:
        """Windows, or whole sequences, from the initial state."""
        source = self.data.train if part == "train" else self.data.validation
        for batch in source.batches(BATCH) if source is not None else ():
            steps = batch.targets.shape[1]
            answers = self._answers(batch.targets, (len(batch.inputs), steps))
            whole = steps == batch.inputs.shape[1]
            previous = before(answers.transpose(0, 1)).transpose(0, 1) if whole else None
            features, _ = self._features(batch.inputs, self.system.initial_state(len(batch.inputs)), previous, part == "train")
            if batch.lengths is not None and not whole:
                features = last_steps(features, batch.lengths, steps)
            kept = min(steps, batch.counted) if part == "validation" else steps
            yield piece(features[:, -kept:].flatten(0, 1), answers[:, -kept:].flatten(0, 1))

    def _answers(self, targets: Tensor, shape: tuple[int, ...]) -> Tensor:
        """Targets as numbers (…, Y); classes become one-hot vectors."""
        size = self.system.output_size
        if not targets.is_floating_point():
            return torch.nn.functional.one_hot(targets.reshape(shape).long(), size).double()
        if targets.shape[-1] != size:
            raise ConfigError(
                f"the network has {size} outputs for {targets.shape[-1]} targets",
                "outputs that are to equal their targets (no Gaussian head)",
                "set task.head=point, or trainer.kind=bptt",
            )
        return targets.double()

    @torch.no_grad()
    def _features(self, inputs: Tensor, state: Tensor, previous: Tensor | None, noisy: bool) -> tuple[Tensor, Tensor]:
        inputs, fed = inputs.to(self.like), None if previous is None else previous.to(self.like)
        if noisy and self.input_noise:
            inputs = inputs + self.input_noise * self._normal(inputs)
        if not (noisy and self.state_noise):
            return self.readout.carried_features(inputs, state, fed)
        found = []
        for t in range(inputs.shape[1]):
            step = slice(t, t + 1)
            _, state = self.readout.carried_features(inputs[:, step], state, None if fed is None else fed[:, step])
            state = state + self.state_noise * self._normal(state)
            found.append(self.readout.state_features(state))
        return torch.stack(found, 1), state

    def _normal(self, like: Tensor) -> Tensor:
        return torch.randn(like.shape, generator=self.rng, dtype=like.dtype, device=like.device)


def tenth(stream: Stream) -> int:
    """The step at which the last tenth of a stream begins."""
    return len(stream.inputs) - len(stream.inputs) // 10


def before(answers: Tensor) -> Tensor:
    """y_{t-1} at each step t of the first axis: 0 at the first step and where it was not measured."""
    return torch.cat([torch.zeros_like(answers[:1]), answers[:-1].nan_to_num()])


def piece(features: Tensor, answers: Tensor, held: bool = False) -> Piece:
    """The samples whose targets are all known."""
    known = torch.isfinite(answers).all(-1)
    if not bool(known.all()):
        features, answers = features[known], answers[known]
    return Piece(features.double().cpu().numpy(), answers.cpu().numpy(), held)
