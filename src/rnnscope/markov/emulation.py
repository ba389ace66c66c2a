"""Sequences of an HMM that a noise-driven network is to emulate: the shared ground of the task, its trainer and its scores."""

import dataclasses
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from rnnscope.core.fingerprint import digest
from rnnscope.core.interfaces import Probe, Signature, TrainingData
from rnnscope.core.system import DynamicalSystem
from rnnscope.markov.hmm import HMM
from rnnscope.numerics import markov_statistics as exact

InitialState = Literal["zero", "normal"]


@dataclass(frozen=True)
class SymbolSet:
    """Sequences of one part: symbols (N, T) and the states (N, T) that emitted them."""

    symbols: Int[np.ndarray, "N T"]
    states: Int[np.ndarray, "N T"]

    def __len__(self) -> int:
        return len(self.symbols)


@dataclass(frozen=True)
class ExactStatistics:
    """What sequences of the HMM have in expectation.

    Attributes:
        frequencies: of each symbol, (K,). output_transitions: P(next symbol | symbol), (K, K), NaN for symbols that never occur.
        volatility, volatility_sd: changes per sequence.
    """

    frequencies: Float[np.ndarray, " K"]
    output_transitions: Float[np.ndarray, "K K"]
    volatility: float
    volatility_sd: float


@dataclass(frozen=True)
class EmulationData(TrainingData):
    """An HMM, its sequences in three parts, and what drives the network.

    Attributes:
        hmm: the truth. train, validation, test: independent draws of equal length.
        noise_size: standard normal inputs per step, fresh at every step; they are the network's only randomness besides its output.
        initial_state: zero: the system's own; normal: each sequence starts from N(0, 1) in every unit.
    """

    hmm: HMM
    train: SymbolSet
    validation: SymbolSet
    test: SymbolSet
    noise_size: int
    initial_state: InitialState
    notes: tuple[str, ...] = ()

    @property
    def signature(self) -> Signature:  # type: ignore[override]
        names = tuple(f"noise {i + 1}" for i in range(self.noise_size))
        return Signature(self.noise_size, self.hmm.num_symbols, names)

    @property
    def num_steps(self) -> int:
        """T, of every part."""
        return int(self.train.symbols.shape[1])

    def to(self, device: torch.device) -> "EmulationData":
        # trainers put the sequences of each batch where the network is; the sets themselves stay small integers
        return self

    def probe(self, num_sequences: int, rng: torch.Generator) -> Probe:
        return Probe(torch.randn(num_sequences, self.num_steps, self.noise_size, generator=rng))

    def exact(self, num_steps: int | None = None) -> ExactStatistics:
        """The statistics that sequences of T steps (the task's when None) have in expectation."""
        steps = num_steps or self.num_steps
        parameters = (self.hmm.initial_probs, self.hmm.transition_matrix, self.hmm.emission_probs)
        return ExactStatistics(
            exact.symbol_frequencies(*parameters, steps),
            exact.output_transitions(*parameters, steps),
            *exact.volatility(*parameters, steps),
        )

    def describe(self) -> dict[str, Any]:
        found = self.exact()
        low, high = exact.entropy_rate(self.hmm.transition_matrix, self.hmm.emission_probs)
        bounds = f" ± {(high - low) / 2:.1g}" if high - low > 1e-4 else ""
        return {
            "states": self.hmm.num_states,
            "symbols": self.hmm.num_symbols,
            "sequences": {"train": len(self.train), "validation": len(self.validation), "test": len(self.test)},
            "steps per sequence": self.num_steps,
            "transition matrix": _rows(self.hmm.transition_matrix),
            "emission probabilities": _rows(self.hmm.emission_probs),
            "initial probabilities": _row(self.hmm.initial_probs),
            "exact symbol frequencies": _row(found.frequencies),
            "exact output transitions": _rows(found.output_transitions),
            "exact volatility": f"{found.volatility:.4f} changes per sequence, sd {found.volatility_sd:.2f}",
            "entropy rate": f"{(low + high) / 2:.4f}{bounds} nats per symbol",
            "network input": f"{self.noise_size} standard normal numbers per step, initial state {self.initial_state}",
            "fingerprint": fingerprint(self),
            "notes": list(self.notes),
        }

    def arrays(self) -> dict[str, np.ndarray]:
        found = {
            "initial_probs": self.hmm.initial_probs,
            "transition_matrix": self.hmm.transition_matrix,
            "emission_probs": self.hmm.emission_probs,
        }
        for name in ("train", "validation", "test"):
            part: SymbolSet = getattr(self, name)
            found |= {f"{name}_symbols": part.symbols, f"{name}_states": part.states}
        return found

    def but(self, **changes: Any) -> "EmulationData":
        """A copy with some fields changed."""
        return dataclasses.replace(self, **changes)


def fingerprint(data: EmulationData) -> str:
    """A short hash of all symbols."""
    return digest(part.symbols for part in (data.train, data.validation, data.test))


def _row(values: np.ndarray) -> str:
    return "[" + ", ".join(f"{v:.4g}" for v in values) + "]"


def _rows(matrix: np.ndarray) -> str:
    return "[" + ", ".join(_row(row) for row in matrix) + "]"


def start_state(system: DynamicalSystem, batch_size: int, initial: InitialState, rng: torch.Generator) -> Tensor:
    """h_0 of a batch of sequences."""
    zeros = system.initial_state(batch_size)
    if initial == "zero":
        return zeros
    return torch.randn(zeros.shape, generator=rng, dtype=zeros.dtype, device=zeros.device)
