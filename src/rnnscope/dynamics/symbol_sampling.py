"""Sequences that a network writes when it reads what it drew: s_t ~ softmax(G(h_{t-1})/τ), h_t = F(h_{t-1}, code of s_t)."""

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from rnnscope.core.errors import ConfigError, TrainingError
from rnnscope.core.sampling import FusedSampling
from rnnscope.core.system import DynamicalSystem, rollout
from rnnscope.core.text import TextData
from rnnscope.numerics.symbol_kernels import draw_many

CHUNK = 4096  # symbols read at once


@torch.no_grad()
def read_symbols(
    system: DynamicalSystem, symbols: Int[Tensor, "B T"], codes: Float[Tensor, "V X"], state: Float[Tensor, "B S"] | None = None
) -> Float[Tensor, "B S"]:
    """The state after reading given symbols: any number of them, in chunks, so that memory does not grow with their number."""
    state = system.initial_state(len(symbols)) if state is None else state
    for piece in symbols.split(CHUNK, 1):
        if piece.shape[1]:
            state = rollout(system, codes[piece].to(state), state, keep_states=False).final_state
    return state


@torch.no_grad()
def sample_symbols(
    system: DynamicalSystem,
    state: Float[Tensor, "B S"],
    codes: Float[Tensor, "V X"],
    num_steps: int,
    rng: torch.Generator,
    *,
    temperature: float = 1.0,
    top_k: int = 0,
    banned: int = -1,
    fused: bool = True,
) -> tuple[Int[Tensor, "B N"], Float[Tensor, "B S"]]:
    """Let a network write on.

    Args:
        system: reads codes, puts out logits of the next symbol. state: after what was read so far.
        codes: what the system reads of each symbol. num_steps: N >= 1. rng: on the CPU.
        temperature: τ >= 0: below 1 the probable becomes more probable; 0 takes the most probable symbol.
        top_k: draw among the k most probable symbols (and those as probable as the k-th); 0: among all.
        banned: a symbol that is never drawn; -1: none. fused: allow the fast loop where the system has one.

    Returns:
        symbols (B, N) and the final state: pass it on to continue.

    Raises:
        ConfigError: a number out of range. TrainingError: the states left the finite numbers.
    """
    if not (num_steps >= 1 and 0 <= temperature < torch.inf and top_k >= 0):
        raise ConfigError(
            f"length {num_steps}, temperature {temperature:g}, top_k {top_k}",
            "length at least 1, temperature and top_k at least 0",
            "choose such numbers",
        )
    if not torch.isfinite(system.readout(state)).all():
        raise TrainingError("the network's outputs are not finite", "finite outputs", "train it at a smaller learning rate")
    uniforms = torch.rand(len(state), num_steps, generator=rng, dtype=torch.float64).to(state.device)
    if fused and isinstance(system, FusedSampling):
        return system.fused_sampling(state, codes, uniforms, temperature, top_k, banned)
    drawn = []
    for uniform in uniforms.unbind(1):
        drawn.append(draw(system.readout(state), uniform, temperature=temperature, top_k=top_k, banned=banned))
        state = system.step(state, codes[drawn[-1]].to(state))
    return torch.stack(drawn, 1), state


def draw(
    logits: Float[Tensor, "B V"], uniforms: Float[Tensor, " B"], *, temperature: float = 1.0, top_k: int = 0, banned: int = -1
) -> Int[Tensor, " B"]:
    """One symbol per row: the first whose cumulated probability under softmax(logits/τ) exceeds the uniform number.

    Example:
        >>> import torch
        >>> logits = torch.tensor([[0.0, 1.0, 3.0]]).expand(3, 3)
        >>> draw(logits, torch.tensor([0.0, 0.1, 0.9])).tolist(), draw(logits, torch.zeros(3), temperature=0.0).tolist()
        ([0, 1, 2], [2, 2, 2])
    """
    return draw_many(logits, uniforms, temperature, top_k, banned)


@dataclass(frozen=True)
class WrittenText:
    """What a network wrote.

    Attributes:
        texts: one per sequence, without the prompt. prompt: what the network read first. note: what to know about it; may be empty.
    """

    texts: tuple[str, ...]
    prompt: str
    note: str = ""


@torch.no_grad()
def write_text(
    system: DynamicalSystem,
    data: TextData,
    length: int,
    rng: torch.Generator,
    *,
    prompt: str = "",
    temperature: float = 1.0,
    top_k: int = 0,
    num_sequences: int = 1,
    reach: int | None = None,
) -> WrittenText:
    """Let a network that was trained on a text write.

    Args:
        system, data: the network and its text. length: characters to write, >= 1. rng: on the CPU.
        prompt: read first, however long; where it is empty, the first character is drawn by its frequency in the training part.
        temperature, top_k: see `sample_symbols`. num_sequences: how many texts, each after the same prompt.
        reach: characters over which training looked back; a longer prompt gets a note.

    Returns:
        `WrittenText`. The unknown symbol is never written.

    Raises:
        DataError: the prompt has a character that is not in the vocabulary. ConfigError: a number out of range.
    """
    if num_sequences < 1 or length < 1:
        raise ConfigError(f"{num_sequences} texts of {length} characters", "at least one of each", "ask for more")
    words, codes = data.vocabulary, data.codes()
    banned = len(words) - 1 if words.has_unknown else -1
    how: dict[str, Any] = {"temperature": temperature, "top_k": top_k, "banned": banned}
    if prompt:
        given = torch.from_numpy(words.encode_known(prompt)).long()[None]
        state = read_symbols(system, given, codes).expand(num_sequences, -1).contiguous()
        symbols = sample_symbols(system, state, codes, length, rng, **how)[0]
    else:
        counts = torch.bincount(torch.from_numpy(data.symbols_of("train")).long(), minlength=len(words)).double()
        uniforms = torch.rand(num_sequences, generator=rng, dtype=torch.float64)
        symbols = draw(counts.log().expand(num_sequences, -1), uniforms, **how)[:, None]
        if length > 1:
            state = read_symbols(system, symbols, codes)
            symbols = torch.cat([symbols, sample_symbols(system, state, codes, length - 1, rng, **how)[0]], 1)
    note = ""
    if reach is not None and len(prompt) > reach:
        note = (
            f"The prompt has {len(prompt)} characters and was read from its first; training looked back over {reach}, so that what "
            "stands further back may have no effect."
        )
    return WrittenText(tuple(words.decode(row) for row in symbols.numpy(force=True)), prompt, note)
