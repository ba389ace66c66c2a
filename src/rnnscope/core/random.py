"""Named random streams from one seed; no global generator is read or seeded anywhere.

A stream is identified by a path of names, e.g. ("training", "gru", "0"). Its seed is
SeedSequence(entropy=seed, spawn_key=words), `words` being the first 128 bits of SHA-256 of the joined path. So adding a
model or an analysis never shifts the numbers of another.
"""

import hashlib
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch


@dataclass(frozen=True)
class Streams:
    """The random streams of one experiment.

    Attributes:
        seed: the experiment's seed, a non-negative integer.
        path: names that already precede every stream drawn from this object.
    """

    seed: int
    path: tuple[str, ...] = ()

    def at(self, *names: str | int) -> "Streams":
        """The same streams below a further path."""
        return Streams(self.seed, (*self.path, *map(str, names)))

    def _sequence(self) -> np.random.SeedSequence:
        digest = hashlib.sha256("\x1f".join(self.path).encode()).digest()
        words = tuple(int.from_bytes(digest[i : i + 4], "little") for i in range(0, 16, 4))
        return np.random.SeedSequence(self.seed, spawn_key=words)

    def numpy(self) -> np.random.Generator:
        """A fresh NumPy generator (PCG64) at the start of this stream."""
        return np.random.Generator(np.random.PCG64(self._sequence()))

    def torch(self, device: torch.device | str = "cpu") -> torch.Generator:
        """A fresh torch generator at the start of this stream."""
        seed = int(self._sequence().generate_state(1, np.uint64)[0]) >> 1
        return torch.Generator(device=device).manual_seed(seed)


def numpy_state(generator: np.random.Generator) -> dict[str, Any]:
    """The state of a NumPy generator as JSON-able values (large integers as strings)."""
    state: Any = generator.bit_generator.state
    return {**state, "state": {k: str(v) for k, v in state["state"].items()}}


def set_numpy_state(generator: np.random.Generator, state: dict[str, Any]) -> None:
    """Put a generator back where `numpy_state` found it."""
    generator.bit_generator.state = {**state, "state": {k: int(v) for k, v in state["state"].items()}}
