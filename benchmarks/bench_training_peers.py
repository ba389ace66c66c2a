"""Seconds per epoch of rnnscope's training beside PyTorch Lightning, darts, neuralforecast, Keras 3 (torch) and skorch.

The job is that of `job.py`, on the same windows, for every contestant; rnnscope, the hand-written loop and a hand-written
loop over a DataLoader take part. Each peer is used as its documentation shows, but leanly: no logger, progress bar,
checkpoint, summary or validation. What differs from one to another:

    darts           BlockRNNModel, which cuts its own windows from the series (sequences of 50, the last output read)
    neuralforecast  one series is one batch of its loader, from which it draws 32 windows a step at random with replacement:
                    "epoch" is 63 such steps; its decoder is one linear layer (decoder_layers=1), scaling is off
    Keras           its torch backend; an LSTM has one bias vector instead of two; the clip is by global norm

In turns, each is fitted for a warm-up epoch and then for a few that count: the time from the end of the warm-up epoch to
the end of the last one, so that building the trainer does not count, but all that happens between epochs does. Everything
runs in one process. The peers need an environment of their own (README.md); those that are missing are skipped.

    python benchmarks/bench_training_peers.py [--quick] [--rounds N] [--threads N]
"""

import importlib.metadata
import importlib.util
import logging
import os
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

os.environ["KERAS_BACKEND"] = "torch"

import numpy as np
import torch
from job import BATCH, CLIP, HIDDEN, LAYERS, RATE, WINDOW, HandLoop, Network, as_tensors, make_data, make_run
from measure import arguments, environment, ratio, table, turns
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from rnnscope.core.forecast import ForecastData

Stamps = list[tuple[float, float]]


@dataclass(frozen=True)
class Job:
    """One cell on one data set; `epochs` are fitted, the first as a warm-up."""

    cell: str
    data: ForecastData
    epochs: int

    @property
    def num_batches(self) -> int:
        return len(self.data.train) // BATCH

    def arrays(self) -> tuple[np.ndarray, np.ndarray]:
        inputs, targets = as_tensors(self.data)
        return inputs.numpy(), targets.numpy()

    def series(self) -> np.ndarray:
        """The scaled values from which the windows are cut."""
        return self.data.encoded.inputs[: len(self.data.train) + WINDOW, 0].numpy()


@dataclass(frozen=True)
class Fit:
    """What one fit shows: times at the end of each epoch, number of weights, training loss of the last epoch."""

    stamps: Stamps
    num_weights: int
    loss: float

    @property
    def seconds(self) -> tuple[float, float]:
        """Wall and CPU seconds an epoch, without the first."""
        assert len(self.stamps) > 1
        (wall, cpu), (wall_end, cpu_end) = self.stamps[0], self.stamps[-1]
        return (wall_end - wall) / (len(self.stamps) - 1), (cpu_end - cpu) / (len(self.stamps) - 1)


def stamp(stamps: Stamps) -> None:
    stamps.append((time.perf_counter(), time.process_time()))


def count(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters() if p.requires_grad)


def fit_rnnscope(job: Job) -> Fit:
    model, run = make_run(job.cell, job.data, job.epochs)
    stamps: Stamps = []
    loss = float("nan")
    for record in run:
        loss = record.values["train_loss"]
        stamp(stamps)
    return Fit(stamps, count(model), loss)


def fit_by_hand(job: Job) -> Fit:
    torch.manual_seed(0)
    model = Network(job.cell)
    loop = HandLoop(model, *as_tensors(job.data))
    stamps: Stamps = []
    loss = float("nan")
    for _ in range(job.epochs):
        loss = loop.epoch()
        stamp(stamps)
    return Fit(stamps, count(model), loss)


def fit_data_loader(job: Job) -> Fit:
    torch.manual_seed(0)
    model = Network(job.cell)
    loader = DataLoader(TensorDataset(*as_tensors(job.data)), BATCH, shuffle=True)
    optimizer = torch.optim.Adam(model.parameters(), lr=RATE)
    stamps: Stamps = []
    total = float("nan")
    for _ in range(job.epochs):
        total = 0.0
        for inputs, targets in loader:
            loss = nn.functional.mse_loss(model(inputs), targets)
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), CLIP)
            optimizer.step()
            total += loss.item() / job.num_batches
        stamp(stamps)
    return Fit(stamps, count(model), total)


def lightning_options(stamps: Stamps, num_batches: int) -> dict[str, Any]:
    """Arguments of a lean Trainer that notes the time whenever so many batches are done."""
    import pytorch_lightning as pl

    class Clock(pl.Callback):
        def on_train_batch_end(self, trainer: Any, *_: Any) -> None:
            if trainer.global_step % num_batches == 0:
                stamp(stamps)

    return {
        "accelerator": "cpu",
        "logger": False,
        "enable_checkpointing": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "gradient_clip_val": CLIP,
        "callbacks": [Clock()],
    }


def fit_lightning(job: Job) -> Fit:
    import pytorch_lightning as pl

    class Module(pl.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.network = Network(job.cell)

        def training_step(self, batch: Any, _: int) -> torch.Tensor:
            inputs, targets = batch
            loss = nn.functional.mse_loss(self.network(inputs), targets)
            self.log("loss", loss, on_step=False, on_epoch=True)
            return loss

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return torch.optim.Adam(self.parameters(), lr=RATE)

    torch.manual_seed(0)
    module, stamps = Module(), []
    loader = DataLoader(TensorDataset(*as_tensors(job.data)), BATCH, shuffle=True)
    trainer = pl.Trainer(max_epochs=job.epochs, **lightning_options(stamps, job.num_batches))
    trainer.fit(module, loader)
    return Fit(stamps, count(module), float(trainer.callback_metrics["loss"]))


def fit_darts(job: Job) -> Fit:
    from darts import TimeSeries
    from darts.models import BlockRNNModel

    stamps: Stamps = []
    model = BlockRNNModel(
        input_chunk_length=WINDOW,
        output_chunk_length=1,
        model=job.cell,
        hidden_dim=HIDDEN,
        n_rnn_layers=LAYERS,
        batch_size=BATCH,
        n_epochs=job.epochs,
        optimizer_kwargs={"lr": RATE},
        random_state=0,
        pl_trainer_kwargs=lightning_options(stamps, job.num_batches),
    )
    model.fit(TimeSeries.from_values(job.series()))
    return Fit(stamps, count(model.model), float(model.trainer.callback_metrics["train_loss"]))


def fit_neuralforecast(job: Job) -> Fit:
    import pandas as pd
    from neuralforecast import NeuralForecast, models
    from neuralforecast.losses.pytorch import MSE

    stamps: Stamps = []
    values = job.series()
    model = getattr(models, job.cell)(
        h=1,
        input_size=WINDOW,
        encoder_n_layers=LAYERS,
        encoder_hidden_size=HIDDEN,
        decoder_layers=1,
        loss=MSE(),
        max_steps=job.epochs * job.num_batches,
        learning_rate=RATE,
        batch_size=1,
        windows_batch_size=BATCH,
        scaler_type="identity",
        val_check_steps=job.epochs * job.num_batches,
        **lightning_options(stamps, job.num_batches),
    )
    frame = pd.DataFrame({"unique_id": "series", "ds": np.arange(len(values)), "y": values})
    forecast = NeuralForecast([model], freq=1)
    forecast.fit(frame)
    fitted = forecast.models[0]
    return Fit(stamps, count(fitted), float(np.mean([loss for _, loss in fitted.train_trajectories[-job.num_batches :]])))


def fit_keras(job: Job) -> Fit:
    import keras

    stamps: Stamps = []

    class Clock(keras.callbacks.Callback):
        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            stamp(stamps)

    layer = getattr(keras.layers, job.cell)
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [keras.Input((WINDOW, 1)), layer(HIDDEN, return_sequences=True), layer(HIDDEN), keras.layers.Dense(1)]
    )
    model.compile(optimizer=keras.optimizers.Adam(RATE, global_clipnorm=CLIP), loss="mse")
    found = model.fit(*job.arrays(), batch_size=BATCH, epochs=job.epochs, shuffle=True, verbose=0, callbacks=[Clock()])
    return Fit(stamps, model.count_params(), float(found.history["loss"][-1]))


def fit_skorch(job: Job) -> Fit:
    import skorch
    from skorch.callbacks import Callback, GradientNormClipping

    stamps: Stamps = []

    class Clock(Callback):
        def on_epoch_end(self, net: Any, **_: Any) -> None:
            stamp(stamps)

    torch.manual_seed(0)
    net = skorch.NeuralNetRegressor(
        Network(job.cell),
        max_epochs=job.epochs,
        batch_size=BATCH,
        optimizer=torch.optim.Adam,
        lr=RATE,
        iterator_train__shuffle=True,
        train_split=None,
        callbacks=[GradientNormClipping(gradient_clip_value=CLIP), Clock()],
        callbacks__print_log=None,
    )
    net.fit(*job.arrays())
    return Fit(stamps, count(net.module_), float(net.history[-1, "train_loss"]))


CONTESTANTS: dict[str, tuple[str, Callable[[Job], Fit]]] = {
    "rnnscope": ("rnnscope", fit_rnnscope),
    "hand loop": ("torch", fit_by_hand),
    "hand loop, DataLoader": ("torch", fit_data_loader),
    "skorch": ("skorch", fit_skorch),
    "Lightning": ("pytorch-lightning", fit_lightning),
    "darts": ("darts", fit_darts),
    "neuralforecast": ("neuralforecast", fit_neuralforecast),
    "Keras": ("keras", fit_keras),
}


def installed() -> dict[str, Callable[[Job], Fit]]:
    """Those whose package is here; says which are not."""
    found = {}
    for name, (package, fit) in CONTESTANTS.items():
        if importlib.util.find_spec(package.replace("-", "_")) is None:
            print(f"skipped: {name} ({package} is not installed; benchmarks/README.md says how)")
        else:
            found[name] = fit
    return found


def measure(job: Job, fitters: dict[str, Callable[[Job], Fit]], rounds: int) -> None:
    """All contestants on one cell, in turns, and the table."""
    fits: dict[str, list[Fit]] = {}
    warmup = Job(job.cell, make_data(96), 1)
    for fit in fitters.values():
        fit(warmup)
    for number in range(rounds):
        for name in turns(list(fitters), number):
            fits.setdefault(name, []).append(fitters[name](job))
    walls = {name: np.array([f.seconds[0] for f in fits[name]]) for name in fitters}
    cpus = {name: np.array([f.seconds[1] for f in fits[name]]) for name in fitters}
    rows = []
    for name in fitters:
        last = fits[name][-1]
        times = [f"{np.median(walls[name]):.3f}", ratio(walls[name], walls["hand loop"]), ratio(cpus[name], cpus["hand loop"])]
        faster = f"{np.median(walls[name] / walls['rnnscope']):.2f}"
        rows.append([name, *times, faster, str(last.num_weights), f"{last.loss:.4f}"])
    print(f"{job.cell}: {LAYERS} layers of {HIDDEN}, window {WINDOW}, batch {BATCH}, {len(job.data.train)} windows")
    headers = ["", "s/epoch", "to hand loop, wall", "to hand loop, CPU", "to rnnscope", "weights", f"loss, epoch {job.epochs}"]
    table(headers, rows)


def main() -> None:
    options = arguments(__doc__)
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    rounds = options.rounds or (2 if options.quick else 6)
    epochs = 2 if options.quick else 3
    data = make_data(192 if options.quick else 2016)
    packages = sorted({package for package, _ in CONTESTANTS.values()} - {"torch", "rnnscope"})
    print(environment(*packages))
    fitters = installed()
    print(f"{rounds} rounds of 1 + {epochs - 1} epochs; medians; ratios: median [quartiles] of the rounds' ratios\n")
    for cell in ("LSTM", "GRU"):
        measure(Job(cell, data, epochs), fitters, rounds)


if __name__ == "__main__":
    main()
