"""Bits per character of networks and of n-grams on the held-out parts of a text, and how far free runs stay right."""

import math
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from rnnscope.core.interfaces import ModelResult, Scores
from rnnscope.core.system import DynamicalSystem, SequenceModel, rollout
from rnnscope.core.text import TextData
from rnnscope.dynamics.symbol_sampling import read_symbols, sample_symbols
from rnnscope.numerics.ngrams import NgramModel

UNIFORM, PARTS = "uniform", ("validation", "test")
WARM_UP = 1000  # characters read before a part, so that its first ones are predicted from a state that has read something
CHUNK = 4096
SHOWN = 400  # characters of the test part kept for figures
FEWEST_BLOCKS, MOST_BLOCKS, SHORTEST_BLOCK = 5, 100, 50


@dataclass(frozen=True)
class Answers:
    """What an answerer said about a part.

    Attributes:
        bits: -log2 of the probability given to each character that came, (M,). best: the symbol it found most probable, (M,).
    """

    bits: Float[np.ndarray, " M"]
    best: Int[np.ndarray, " M"]


@torch.no_grad()
def network_answers(model: SequenceModel, data: TextData, part: str, most: int) -> Answers:
    """A network's answers on a part, its state carried through the whole of it.

    A model without one recurrent system is scored on windows instead, each with the text before it as far as it was trained.
    """
    systems = list(model.systems().values())
    pieces = _stream_logits(systems[0], data, part, most) if len(systems) == 1 else _window_logits(model, data, part, most)
    bits, best = [], []
    for logits, symbols in pieces:
        bits.append(-torch.log_softmax(logits.double(), -1).gather(1, symbols[:, None].long())[:, 0] / math.log(2))
        best.append(logits.argmax(1))
    return Answers(torch.cat(bits).numpy(force=True), torch.cat(best).numpy(force=True))


def _stream_logits(system: DynamicalSystem, data: TextData, part: str, most: int) -> list[tuple[Tensor, Tensor]]:
    codes, wanted = data.codes(), torch.from_numpy(data.symbols_of(part, most)).long()
    read = torch.from_numpy(np.concatenate([data.context_of(part, WARM_UP), data.symbols_of(part, most)[:-1]])).long()
    warm = len(read) - len(wanted)  # one less than the context: its last character already asks for the part's first
    state, found = read_symbols(system, read[None, :warm], codes), []
    for asked, given in zip(wanted.split(CHUNK), read[warm:].split(CHUNK), strict=True):
        run = rollout(system, codes[given][None].to(state), state, keep_states=False)
        state = run.final_state
        found.append((run.outputs[0], asked))
    return found


def _window_logits(model: SequenceModel, data: TextData, part: str, most: int) -> list[tuple[Tensor, Tensor]]:
    source = data.validation if part == "validation" else data.monitor
    found = []
    for batch in source.batches(64):
        outputs = model(batch.inputs, last=batch.counted)
        found.append((outputs.flatten(0, 1), batch.targets[:, -batch.counted :].flatten()))
        if sum(len(asked) for _, asked in found) >= most:
            break
    return found


def ngram_answers(counted: NgramModel, data: TextData, part: str, most: int) -> list[Answers]:
    """Answers of the n-grams of order 1, 2, …, which see the text before the part too."""
    before = data.context_of(part, counted.order)
    p, best = counted.predict(np.concatenate([before, data.symbols_of(part, most)]), len(before))
    return [Answers(-np.log2(p[k]), best[k]) for k in range(counted.order)]


def result_of(answers: dict[str, Answers], data: TextData, most: int) -> ModelResult:
    """Scores and arrays of one answerer by part."""
    scores: dict[str, Scores] = {}
    arrays: dict[str, np.ndarray] = {}
    for part, found in answers.items():
        wanted = data.symbols_of(part, most)[: len(found.bits)]
        bits = float(found.bits.mean())
        right = found.best == wanted
        scores[part] = {"bits": bits, "perplexity": 2.0 ** min(bits, 1000.0), "accuracy": float(right.mean())}
        arrays[f"{part}_block_bits"] = block_means(found.bits)
    arrays["test_bits"], arrays["test_best"] = answers["test"].bits[:SHOWN], answers["test"].best[:SHOWN]
    return ModelResult(scores, arrays)


def uniform_answers(data: TextData, part: str, most: int) -> Answers:
    """Every symbol equally probable."""
    count = len(data.symbols_of(part, most))
    return Answers(np.full(count, math.log2(len(data.vocabulary))), np.zeros(count, np.int64))


def block_means(values: Float[np.ndarray, " M"]) -> Float[np.ndarray, " B"]:
    """Means over at most 100 blocks of equal length, at least 50 long; what is left over at the end belongs to no block.

    Neighbouring characters are alike in how hard they are; whole blocks are nearly independent.
    """
    length = max(SHORTEST_BLOCK, len(values) // MOST_BLOCKS)
    count = max(1, len(values) // length)
    length = min(length, len(values))
    return values[: count * length].reshape(count, length).mean(1)


def difference(own: ModelResult, other: ModelResult, part: str = "test") -> tuple[float, float]:
    """Bits per character that an answerer needs less than another, and the standard error of that, over blocks of text."""
    blocks = other.arrays[f"{part}_block_bits"] - own.arrays[f"{part}_block_bits"]
    mean = other.scores[part]["bits"] - own.scores[part]["bits"]
    if len(blocks) < FEWEST_BLOCKS:
        return mean, math.inf
    return mean, float(blocks.std(ddof=1)) / math.sqrt(len(blocks))


def best_ngram(references: dict[str, ModelResult]) -> str:
    """The n-gram with the fewest bits on the validation part."""
    return min((n for n in references if n != UNIFORM), key=lambda n: references[n].scores["validation"]["bits"])


def label(name: str) -> str:
    """An answerer's name in tables and legends."""
    if not name.startswith("ngram"):
        return {UNIFORM: "all symbols equally probable"}.get(name, name)
    order = int(name.removeprefix("ngram"))
    return "frequencies (1-gram)" if order == 1 else f"{order}-gram, from {order - 1} character{'s' if order > 2 else ''}"


@torch.no_grad()
def free_run(system: DynamicalSystem, data: TextData, num_steps: int, prompt: int) -> Int[np.ndarray, " N"]:
    """What a network writes after reading the characters before the test part, always taking the most probable one."""
    before = torch.from_numpy(data.context_of("test", prompt)).long()[None]
    codes = data.codes()
    state = read_symbols(system, before, codes)
    rng = torch.Generator().manual_seed(0)  # no draw decides anything at temperature 0
    return sample_symbols(system, state, codes, num_steps, rng, temperature=0.0)[0][0].numpy(force=True)


def ngram_free_run(counted: NgramModel, data: TextData, num_steps: int, prompt: int) -> list[np.ndarray]:
    """The same of the n-grams of every order."""
    found = []
    for order in range(counted.order):
        written = data.context_of("test", prompt).tolist()
        for _ in range(num_steps):
            recent = np.array([*written[-counted.order :], 0])  # the last stands for the one to be predicted
            written.append(int(counted.predict(recent, len(recent) - 1)[1][order, 0]))
        found.append(np.array(written[-num_steps:]))
    return found


def free_run_scores(written: Int[np.ndarray, " N"], data: TextData) -> Scores:
    """How many characters of a free run are those of the text, and how many before the first wrong one."""
    wanted = data.symbols_of("test", len(written))
    right = written[: len(wanted)] == wanted
    first = len(wanted) if right.all() else int(right.argmin())
    return {"right": float(right.mean()), "until_wrong": float(first), "characters": float(len(wanted))}
