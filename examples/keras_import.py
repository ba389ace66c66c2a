"""Keras networks on a sine and on the driven oscillator, imported: the same numbers, scored and analysed as our own are.

    pip install 'rnnscope[keras]'
    python examples/keras_import.py [--epochs 20] [--out runs/keras]

Three networks, each a keras.Sequential of a SimpleRNN and a Dense layer: 16 units reading 20 values of a sine, 32 units reading one value
of the oscillator, 64 units reading ten. Each is trained by Keras on the training part that our preset has, saved, imported, compared
prediction by prediction, run in closed loop beside Keras's own, then put through the preset's scores, baselines and analyses.
"""

import argparse
import os
from pathlib import Path
from typing import Any

os.environ.setdefault("KERAS_BACKEND", "torch")

import keras
import numpy as np
import torch

import rnnscope as rs

NETWORKS = {"sine-small": (16, 20), "one-step": (32, 1), "window-ten": (64, 10)}  # preset -> units, window
GENERATED = 200  # steps of closed loop that are compared


def windows(source: Any, most: int = 4000) -> tuple[np.ndarray, np.ndarray]:
    """At most so many windows of a data set, spread over it, and the value that follows each, scaled as in the preset."""
    chosen = np.unique(np.linspace(0, len(source) - 1, min(most, len(source))).astype(int))
    batch = source.gather(chosen)
    return batch.inputs.numpy(), batch.targets[:, -1].numpy()


def trained(units: int, inputs: np.ndarray, targets: np.ndarray, epochs: int) -> keras.Model:
    """The plain Keras way."""
    keras.utils.set_random_seed(0)
    network = keras.Sequential(
        [keras.Input((None, inputs.shape[-1])), keras.layers.SimpleRNN(units), keras.layers.Dense(targets.shape[-1])]
    )
    network.compile(optimizer=keras.optimizers.Adam(1e-3), loss="mse")
    network.fit(inputs, targets, validation_split=0.2, epochs=epochs, batch_size=64, verbose=0)
    return network


def generated(predict: Any, start: np.ndarray) -> np.ndarray:
    """A rolling window: each prediction is read as the newest value."""
    window, made = start.copy(), []
    for _ in range(GENERATED):
        made.append(predict(window[None])[0])
        window = np.concatenate([window[1:], made[-1][None]])
    return np.array(made)


def main() -> None:
    words = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    words.add_argument("--epochs", type=int, default=20)
    words.add_argument("--out", type=Path, default=Path("runs"))
    words.add_argument("--only", choices=list(NETWORKS))
    given = words.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    for name, (units, window) in NETWORKS.items():
        if given.only not in (None, name):
            continue
        preset = rs.preset(name)
        data = preset.task.prepare(rs.Streams(preset.seed))
        model = trained(units, *windows(data.train), given.epochs)
        file = given.out / f"{name}.keras"
        model.save(file)
        network = rs.from_keras(file)

        def ours(inputs: np.ndarray, network: Any = network) -> np.ndarray:
            with torch.no_grad():
                return network(torch.from_numpy(inputs), last=1)[:, 0].numpy()

        def theirs(inputs: np.ndarray, model: Any = model) -> np.ndarray:
            return np.asarray(model.predict(inputs, verbose=0))

        inputs, _ = windows(data.monitor)
        one_step = np.abs(ours(inputs) - theirs(inputs)).max()
        start = inputs[0, -window:]
        loop = np.abs(generated(ours, start) - generated(theirs, start)).max()
        print(
            f"{name}: {len(inputs)} predictions differ by at most {one_step:.1e}, {GENERATED} steps of closed loop by {loop:.1e}"
        )
        run = rs.run(preset, out=given.out, models={"keras": rs.Imported.of(file)}, trainer=rs.Untrained())
        print(f"  {run.verdict}\n  {run.report}")


if __name__ == "__main__":
    main()
