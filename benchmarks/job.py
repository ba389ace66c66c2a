"""The training job of the benchmarks, and a hand-written torch loop for it.

Noisy sine, 2016 windows of 50 steps (63 full batches of 32), one step ahead; 2 layers of 64 units and a linear readout of
the last step; mean squared error, Adam at 1e-3, gradient norm clipped at 1.
"""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

import rnnscope as rs
from rnnscope.core.forecast import ForecastData
from rnnscope.core.interfaces import TrainingRun
from rnnscope.core.random import Streams

HIDDEN, LAYERS, WINDOW, BATCH, RATE, CLIP = 64, 2, 50, 32, 1e-3, 1.0
SPECS: dict[str, Callable[..., rs.LSTM | rs.GRU | rs.Elman]] = {"LSTM": rs.LSTM, "GRU": rs.GRU, "tanh": rs.Elman}
LAYER_KINDS = {"LSTM": nn.LSTM, "GRU": nn.GRU, "tanh": nn.RNN}


def make_data(num_windows: int) -> ForecastData:
    """The task with exactly so many training windows."""
    points = WINDOW + num_windows * 4 // 3
    data = rs.Oscillation(num_points=points, duration=points * 0.0314).prepare(Streams(0))
    assert len(data.train) == num_windows, len(data.train)
    assert data.validation is None
    return data


def make_run(cell: str, data: ForecastData, epochs: int = 1_000_000) -> tuple[nn.Module, TrainingRun]:
    """rnnscope's model and a training run that has done nothing yet."""
    spec = SPECS[cell](hidden_size=HIDDEN, num_layers=LAYERS)
    model = spec.build(data.signature, Streams(1).torch())
    trainer = rs.BPTT(epochs=epochs, batch_size=BATCH, learning_rate=RATE, clip_norm=CLIP, watch_test=False)
    return model, trainer.start(model, data, Streams(2))


def as_tensors(data: ForecastData) -> tuple[Tensor, Tensor]:
    """All windows (N, 50, 1) and their last targets (N, 1), as a hand-written script would hold them."""
    batch = data.train.gather(np.arange(len(data.train)))
    return batch.inputs.clone(), batch.targets[:, -1].clone()


class Network(nn.Module):
    """What a user would write: a torch layer and a linear readout of its last output."""

    def __init__(self, cell: str) -> None:
        super().__init__()
        self.recurrent = LAYER_KINDS[cell](1, HIDDEN, LAYERS, batch_first=True)
        self.readout = nn.Linear(HIDDEN, 1)

    def forward(self, inputs: Tensor) -> Tensor:
        return self.readout(self.recurrent(inputs)[0][:, -1])

    def copy_from(self, system: nn.Module) -> "Network":
        """Take over the weights of a rnnscope model."""
        named = dict(system.named_parameters())
        with torch.no_grad():
            for index in range(LAYERS):
                for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"):
                    getattr(self.recurrent, f"{name}_l{index}").copy_(named[f"layers.{index}.{name}_l0"])
            self.readout.weight.copy_(named["head.weight"])
            self.readout.bias.copy_(named["head.bias"])
        return self


class HandLoop:
    """The plain loop: tensors held in memory, a permutation an epoch, five lines a batch."""

    def __init__(self, model: nn.Module, inputs: Tensor, targets: Tensor, *, fused: bool | None = None) -> None:
        self.model, self.inputs, self.targets = model, inputs, targets
        self.optimizer = torch.optim.Adam(model.parameters(), lr=RATE, fused=fused)
        self.generator = torch.Generator().manual_seed(0)

    def epoch(self, order: Tensor | None = None) -> float:
        """One pass; returns the mean loss."""
        if order is None:
            order = torch.randperm(len(self.inputs), generator=self.generator)
        self.model.train()
        total = 0.0
        for chosen in order.split(BATCH):
            loss = nn.functional.mse_loss(self.model(self.inputs[chosen]), self.targets[chosen])
            self.optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(self.model.parameters(), CLIP)
            self.optimizer.step()
            total += loss.item() * len(chosen)
        return total / len(order)
