"""One train step of a convolutional recurrent network: all frames in one call against a Python loop over the frames.

The loop is the usual way: at each time step the frames of that step go through the convolutions, the features are stacked and
read by nn.LSTM. Both have the same weights, the same batch, and the fused Adam; before timing, their losses and gradients must
agree. Steps alternate in one process.

    python benchmarks/bench_frames.py [--quick] [--rounds N] [--threads N]
"""

import numpy as np
import torch
from measure import arguments, environment, interleave, ratio, table
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from rnnscope.core.interfaces import Signature
from rnnscope.models.cnn_rnn import CNNRNN, FrameSystem

CLASSES, HIDDEN, CHANNELS = 10, 64, (16, 16)
# sequences, frames, channels, height and width
SIZES = {"small": (32, 10, 1, 16), "as usual": (16, 10, 3, 32), "long": (32, 50, 1, 16), "single": (1, 20, 3, 32)}


class FrameByFrame(nn.Module):
    """The convolutions called once per time step."""

    def __init__(self, side: int, channels: int) -> None:
        super().__init__()
        self.side, self.channels = side, channels
        self.look = nn.Sequential(
            nn.Conv2d(channels, CHANNELS[0], 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(CHANNELS[0], CHANNELS[1], 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Flatten(),
        )
        self.lstm = nn.LSTM(CHANNELS[1] * (side // 2) ** 2, HIDDEN, batch_first=True)
        self.head = nn.Linear(HIDDEN, CLASSES)

    def copy_from(self, model: FrameSystem) -> "FrameByFrame":
        """The weights of rnnscope's network, in the same order."""
        with torch.no_grad():
            for own, theirs in zip(self.parameters(), model.parameters(), strict=True):
                own.copy_(theirs)
        return self

    def forward(self, frames: Tensor) -> Tensor:
        found = [self.look(frames[:, t].view(-1, self.channels, self.side, self.side)) for t in range(frames.shape[1])]
        return self.head(self.lstm(torch.stack(found, 1))[0][:, -1])


class Step:
    """A train step that can be taken again and again."""

    def __init__(self, model: nn.Module, logits: object, frames: Tensor, labels: Tensor) -> None:
        self.model, self.logits, self.frames, self.labels = model, logits, frames, labels
        self.optimizer = torch.optim.Adam(model.parameters(), fused=True)

    def loss(self) -> Tensor:
        self.optimizer.zero_grad(set_to_none=True)
        loss = cross_entropy(self.logits(self.frames), self.labels)
        loss.backward()
        return loss.detach()

    def __call__(self) -> None:
        self.loss()
        self.optimizer.step()


def contestants(batch: int, steps: int, channels: int, side: int) -> tuple[Step, Step]:
    """rnnscope's step and the loop's, from equal weights."""
    rng = torch.Generator().manual_seed(0)
    pixels = channels * side * side
    model = CNNRNN(conv_channels=CHANNELS, hidden_size=HIDDEN).build(
        Signature(pixels, CLASSES, frame=(channels, side, side)), rng
    )
    assert isinstance(model, FrameSystem)
    frames, labels = torch.rand((batch, steps, pixels), generator=rng), torch.randint(CLASSES, (batch,), generator=rng)
    hand = FrameByFrame(side, channels).copy_from(model)
    return Step(model, lambda x: model(x, last=1)[:, 0], frames, labels), Step(hand, hand, frames, labels)


def difference(ours: Step, hand: Step) -> float:
    """Largest difference of loss and gradients."""
    losses = abs(float(ours.loss() - hand.loss()))
    pairs = zip(ours.model.parameters(), hand.model.parameters(), strict=True)
    return max(losses, *(float((a.grad - b.grad).abs().max()) for a, b in pairs))


def main() -> None:
    options = arguments(__doc__)
    rounds = options.rounds or (3 if options.quick else 20)
    print(environment())
    print(f"two 3x3 convolutions of {CHANNELS} channels, 2x2 max-pooling, LSTM of {HIDDEN}; {rounds} rounds")
    print("ms per train step are medians; ratios are frame by frame / all at once, median [quartiles] of the rounds' ratios\n")
    rows = []
    for name, sizes in SIZES.items():
        batch, steps, channels, side = sizes
        ours, hand = contestants(*sizes)
        apart = difference(ours, hand)
        times = interleave({"ours": ours, "hand": hand}, rounds, warmup=2)
        milliseconds = [f"{1e3 * np.median(times[k].wall):.1f}" for k in ("ours", "hand")]
        ratios = [ratio(times["hand"].wall, times["ours"].wall), ratio(times["hand"].cpu, times["ours"].cpu)]
        rows.append(
            [f"{name}: {batch} x {steps} frames of {channels} x {side} x {side}", *milliseconds, *ratios, f"{apart:.0e}"]
        )
    table(["batch", "all at once", "frame by frame", "ratio, wall", "ratio, CPU", "|Δ|"], rows)


if __name__ == "__main__":
    main()
