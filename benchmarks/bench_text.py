"""Text: what one-hot inputs cost a training step, how fast networks write, n-gram counting.

An LSTM of 256 units and 84 symbols, untrained weights, float32.

    training    a step of 32 x 64 characters, forward and backward: one-hot inputs and a product (what rnnscope does), and the same
                network with one number as input: the most that looking up rows of W instead could save
    writing     one stream and 256 streams: rnnscope's compiled loop and its loop in place; the plain loop of `step`; nn.LSTM called
                on one character at a time
    n-grams     counting 5 million characters up to order 6, and the probabilities of 250,000

    python benchmarks/bench_text.py [--quick] [--rounds N] [--threads N]
"""

from collections.abc import Callable

import numpy as np
import torch
from measure import Times, arguments, environment, interleave, ratio, table
from torch.nn.functional import cross_entropy, one_hot

import rnnscope as rs
from rnnscope.core.interfaces import Signature
from rnnscope.dynamics.symbol_sampling import sample_symbols
from rnnscope.models.recurrent_systems import RecurrentSystem

SYMBOLS, UNITS, BATCH, STEPS = 84, 256, 32, 64


def network() -> RecurrentSystem:
    return rs.LSTM(num_layers=1, hidden_size=UNITS).build(Signature(SYMBOLS, SYMBOLS), torch.Generator().manual_seed(0))


def rows(found: dict[str, Times], units: float, reference: str) -> list[list[str]]:
    best = {name: units / float(np.median(times.cpu)) for name, times in found.items()}
    return [[n, f"{best[n]:,.0f}", ratio(found[reference].cpu, found[n].cpu)] for n in found]


def training(rounds: int) -> None:
    """What the one-hot product costs: against a network with a single input, which a lookup could at best come down to."""
    symbols = torch.randint(SYMBOLS, (BATCH, STEPS + 1), generator=torch.Generator().manual_seed(1))
    narrow = rs.LSTM(num_layers=1, hidden_size=UNITS).build(Signature(1, SYMBOLS), torch.Generator().manual_seed(0))
    wide = network()

    def step(system: RecurrentSystem, inputs: torch.Tensor) -> None:
        system.zero_grad(set_to_none=True)
        cross_entropy(system(inputs).flatten(0, 1), symbols[:, 1:].flatten()).backward()

    found = interleave(
        {
            "one-hot": lambda: step(wide, one_hot(symbols[:, :-1], SYMBOLS).float()),
            "one number (bound of a lookup)": lambda: step(narrow, symbols[:, :-1, None].float()),
        },
        rounds,
    )
    table(["training step", "characters/s of CPU", "time of ours / theirs"], rows(found, BATCH * STEPS, "one-hot"))


def writing(rounds: int, batch: int, length: int) -> None:
    """Sampling, one stream or many."""
    system = network().eval()
    codes, state = torch.eye(SYMBOLS), system.initial_state(batch)

    def ours(fused: bool) -> Callable[[], object]:
        return lambda: sample_symbols(system, state, codes, length, torch.Generator().manual_seed(0), fused=fused)

    @torch.inference_mode()
    def by_hand() -> None:
        hidden, rng = None, torch.Generator().manual_seed(0)
        drawn = torch.zeros(batch, 1, dtype=torch.long)
        for _ in range(length):
            top, hidden = system.recurrent_layers()[0](codes[drawn], hidden)
            drawn = torch.multinomial(torch.softmax(system.head(top[:, 0]), -1), 1, generator=rng)

    found = interleave({"rnnscope": ours(True), "plain loop of step": ours(False), "nn.LSTM by hand": by_hand}, rounds)
    table([f"{batch} streams", "characters/s of CPU", "time of ours / theirs"], rows(found, batch * length, "rnnscope"))


def counting(rounds: int, length: int) -> None:
    """n-grams of a text with a natural spread of frequencies."""
    rng = np.random.default_rng(0)
    text = (SYMBOLS * rng.random(length) ** 3).astype(np.int64)
    rs.fit_ngrams(text[:1000], SYMBOLS, 6).predict(text[:100])  # compiled, or read from numba's cache
    counted = rs.fit_ngrams(text, SYMBOLS, 6)
    found = interleave(
        {"count": lambda: rs.fit_ngrams(text, SYMBOLS, 6), "predict": lambda: counted.predict(text[: length // 20])}, rounds
    )
    lines = [[n, f"{float(np.median(t.cpu)):.2f}"] for n, t in found.items()]
    table([f"orders 1 to 6, {length:,} characters", "seconds of CPU"], lines)


def main() -> None:
    options = arguments(__doc__)
    rounds = options.rounds or (2 if options.quick else 9)
    print(environment("numba"))
    training(rounds)
    writing(rounds, 1, 50 if options.quick else 2000)
    writing(rounds, 256, 5 if options.quick else 200)
    counting(1 if options.quick else 3, 50_000 if options.quick else 5_000_000)


if __name__ == "__main__":
    main()
