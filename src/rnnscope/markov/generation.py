"""Sequences from a noise-driven network: x_t ~ N(0, s² I), y_t = G(h_t) are logits, and the symbol is drawn from them or their argmax."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int

from rnnscope.core.driven import draw_symbols
from rnnscope.core.errors import TrainingError
from rnnscope.core.system import DynamicalSystem, rollout
from rnnscope.markov.emulation import InitialState, start_state

CHUNK = 8_000_000  # numbers of noise in memory at once


@dataclass(frozen=True)
class Generated:
    """Sequences of a network. The two readings are different things and are never mixed.

    Attributes:
        sampled: symbols drawn from softmax(y_t), (N, T): what training with Gumbel noise asked for.
        argmax: the most likely symbol at each step, (N, T): the network's noise input is then its only randomness.
        logits: y_t, (N, T, K), where asked for. largest_state: the largest |h| at the last step.
    """

    sampled: Int[np.ndarray, "N T"]
    argmax: Int[np.ndarray, "N T"]
    largest_state: float
    logits: Float[np.ndarray, "N T K"] | None = None


@torch.no_grad()
def generate(
    system: DynamicalSystem,
    num_sequences: int,
    num_steps: int,
    rng: torch.Generator,
    *,
    initial: InitialState = "zero",
    noise_scale: float = 1.0,
    temperature: float = 1.0,
    keep_logits: bool = False,
) -> Generated:
    """Draw sequences from a network.

    Args:
        system: driven by noise of size `system.input_size`. rng: a generator on the system's device.
        initial: zero or normal, see `EmulationData`. noise_scale: s, sd of the noise. temperature: τ > 0, symbols are drawn
            from softmax(y/τ). keep_logits: return them too.

    Raises:
        TrainingError: the states left the finite numbers.
    """
    like = system.initial_state(1)
    batch = max(1, CHUNK // max(1, num_steps * max(system.input_size, like.shape[1])))
    sampled, argmax, logits, largest = [], [], [], 0.0
    # one buffer for the noise: fresh memory for each batch takes longer than drawing the numbers
    buffer = like.new_empty(min(batch, num_sequences), num_steps, system.input_size)
    for first in range(0, num_sequences, batch):
        count = min(batch, num_sequences - first)
        state = start_state(system, count, initial, rng)
        noise = buffer[:count].normal_(generator=rng)
        run = rollout(system, noise.mul_(noise_scale) if noise_scale != 1 else noise, state, keep_states=False)
        if not torch.isfinite(run.outputs).all():
            raise TrainingError(
                f"the network's states left the finite numbers within {num_steps} steps",
                "bounded states",
                "sample shorter sequences, or train on longer ones: a ReLU network is bounded only as far as it was trained",
            )
        largest = max(largest, float(run.final_state.norm(dim=1).max()))
        argmax.append(run.outputs.argmax(-1).to(torch.int16).cpu().numpy())
        sampled.append(draw_symbols(run.outputs, rng, temperature).to(torch.int16).cpu().numpy())
        if keep_logits:
            logits.append(run.outputs.cpu().numpy())
    kept = np.concatenate(logits) if keep_logits else None
    return Generated(np.concatenate(sampled), np.concatenate(argmax), largest, kept)
