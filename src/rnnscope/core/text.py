"""Text as a sequence of symbols: the vocabulary, the parts of one text, and what a network reads of it.

A text is kept as numbers of symbols; a network reads them one-hot (or, as a named variant, as the bare number), and is asked at
each step for the next one. The loss is the cross-entropy -ln p(next symbol), in nats.
"""

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor
from torch.nn.functional import cross_entropy, one_hot

from rnnscope.core.errors import ConfigError, DataError
from rnnscope.core.fingerprint import digest
from rnnscope.core.interfaces import Batch, BatchSource, Probe, Signature, Stream, SupervisedData
from rnnscope.core.vocabulary import Vocabulary, codepoints, find_vocabulary, name_of, shown

LARGEST_BATCH = 2**24  # numbers in the inputs of a batch that is only looked at
Encoding = Literal["one_hot", "number"]


class SymbolWindows(BatchSource):
    """Windows of a text: numbers s … s+L-1 are read and s+1 … s+L are asked for; the last `counted` of them count.

    Args:
        data: the text. starts: first number of every window. length: L. counted: of each window's targets, the last so many.
    """

    def __init__(self, data: "TextData", starts: range | np.ndarray, length: int, counted: int) -> None:
        self.data, self.starts, self.length, self.counted = data, np.asarray(starts, np.int64), length, counted

    def __len__(self) -> int:
        return len(self.starts)

    def gather(self, indices: np.ndarray) -> Batch:
        numbers = self.data.numbers
        rows = torch.from_numpy(self.starts[indices]).to(numbers.device)[:, None]
        read = numbers[rows + torch.arange(self.length + 1, device=numbers.device)]
        return Batch(self.data.encode(read[:, :-1, None]), read[:, 1:].long(), self.counted)

    def batches(self, size: int) -> Iterator[Batch]:
        fitting = max(1, LARGEST_BATCH // (self.length * self.data.signature.input_size))
        yield from super().batches(min(size, fitting))


@dataclass(frozen=True)
class TextData(SupervisedData):
    """One text in three contiguous parts: training, validation, test.

    Attributes:
        numbers: of all symbols, (N,) int32. vocabulary: what they stand for.
        train_stop, validation_stop: the parts end before these numbers; the test part is the rest.
        window: characters of a training window, and of those that stand before a held-out stretch for the state to warm up on.
        encoding: what a network reads: `one_hot`, or the bare `number`.
        title: what this text is, in words. pattern: the string that it repeats, where it does.
        notes: for the data report.
    """

    numbers: Int[Tensor, " N"]
    vocabulary: Vocabulary
    train_stop: int
    validation_stop: int
    window: int
    encoding: Encoding = "one_hot"
    title: str = ""
    pattern: str = ""
    notes: tuple[str, ...] = field(default=())

    def __post_init__(self) -> None:
        if self.train_stop < self.window + 1:
            raise DataError(
                f"the training part has {self.train_stop} characters, and a window reads {self.window} and asks for the next",
                f"at least {self.window + 1} characters",
                "give a longer text, or set a smaller task.window",
            )
        if min(self.validation_stop - self.train_stop, len(self.numbers) - self.validation_stop) < 2:
            raise DataError(
                f"a text of {len(self.numbers)} characters leaves fewer than 2 for validation or test",
                "at least 2 characters in each part",
                "give a longer text, or larger task.validation_share and task.test_share",
            )
        first = self.numbers[: self.train_stop]
        if bool((first == first[0]).all()):
            raise DataError(
                f"every character of the training part is {name_of(self.vocabulary.symbols[int(first[0])])}",
                "at least two distinct characters",
                "give a text in which there is something to predict",
            )

    @property
    def signature(self) -> Signature:  # type: ignore[override]
        if self.encoding == "number":
            return Signature(1, len(self.vocabulary), ("number of the symbol",))
        names = tuple(shown(s) for s in self.vocabulary.symbols)
        return Signature(len(names), len(names), names)

    @property
    def feedback(self) -> None:  # type: ignore[override]
        """A text's closed loop is sampling: a drawn symbol is read next, which no matrix says."""
        return

    @property
    def spans(self) -> dict[str, tuple[int, int]]:
        """Part -> (first, stop): whose numbers are its targets; the very first character of the text is nobody's."""
        return {
            "train": (0, self.train_stop),
            "validation": (self.train_stop, self.validation_stop),
            "test": (self.validation_stop, len(self.numbers)),
        }

    @property
    def train(self) -> SymbolWindows:  # type: ignore[override]
        return SymbolWindows(self, range(0, self.train_stop - self.window, self.window), self.window, self.window)

    @property
    def validation(self) -> SymbolWindows:  # type: ignore[override]
        return self._held_out(*self.spans["validation"])

    @property
    def monitor(self) -> SymbolWindows:  # type: ignore[override]
        return self._held_out(*self.spans["test"])

    def _held_out(self, first: int, stop: int) -> SymbolWindows:
        """Windows whose counted targets tile a part; before them stands the text that leads there, for the state."""
        counted = min(4 * self.window, stop - first)
        context = min(self.window, first - 1)
        return SymbolWindows(self, range(first - 1 - context, stop - counted - context, counted), context + counted, counted)

    def streams(self) -> list[Stream]:
        part = self.numbers[: self.train_stop, None]
        return [Stream(part[:-1], part[1:])]

    def encode(self, inputs: Tensor) -> Tensor:
        """Numbers (…, 1) as a network reads them: (…, V) one-hot, or (…, 1)."""
        if self.encoding == "number":
            return inputs.float()
        return one_hot(inputs[..., 0].long(), len(self.vocabulary)).float()

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Cross-entropy of logits (B, T, V) and the numbers (B, T) or (B, T, 1) of the symbols that came, in nats."""
        return cross_entropy(outputs.reshape(-1, outputs.shape[-1]), targets.reshape(-1).long())

    def tally(self, outputs: Tensor, targets: Tensor) -> Tensor:
        right = outputs.reshape(-1, outputs.shape[-1]).argmax(1) == targets.reshape(-1)
        return torch.stack([right.sum(), right.new_tensor(right.numel(), dtype=torch.int64)])

    def rates(self, tally: Tensor) -> dict[str, float]:
        return {"accuracy": float(tally[0] / tally[1])}

    def probe(self, num_sequences: int, rng: torch.Generator) -> Probe:
        found = super().probe(num_sequences, rng)
        assert found.targets is not None
        return Probe(found.inputs, found.targets[:, :, None])

    def codes(self) -> Tensor:
        """(V, X): what a network reads of each symbol."""
        return self.encode(torch.arange(len(self.vocabulary))[:, None])

    def to(self, device: torch.device) -> "TextData":
        return dataclasses.replace(self, numbers=self.numbers.to(device))

    def symbols_of(self, part: str, most: int | None = None) -> Int[np.ndarray, " M"]:
        """The numbers of a part, at most so many."""
        first, stop = self.spans[part]
        return self.numbers[first : stop if most is None else min(stop, first + most)].numpy(force=True)

    def context_of(self, part: str, count: int) -> Int[np.ndarray, " M"]:
        """At most `count` numbers that stand right before a part."""
        first = self.spans[part][0]
        return self.numbers[max(0, first - count) : first].numpy(force=True)

    def describe(self) -> dict[str, Any]:
        words = self.vocabulary
        sizes = {name: stop - first for name, (first, stop) in self.spans.items()}
        unknown = {n: int((self.symbols_of(n) == len(words) - 1).sum()) for n in sizes} if words.has_unknown else {}
        found: dict[str, Any] = {
            "text": self.title,
            "begins": shown(words.decode(self.numbers[:60].numpy(force=True))),
            "characters": len(self.numbers),
            "characters per part": sizes,
            "distinct characters": len(words) - words.has_unknown,
            "read as the unknown symbol": unknown,
            "number of each character": {shown(s): n for s, n in words.numbers.items()},
            "character of each number": {str(n): shown(s) for s, n in words.numbers.items()},
            "a network reads": "one 1 among zeros" if self.encoding == "one_hot" else "the bare number of a symbol",
            "input shape": ["batch", "time", self.signature.input_size],
            "output shape (logits)": ["batch", "time", len(words)],
            "target shape (numbers of the next symbols)": ["batch", "time"],
            "window": self.window,
            "fingerprint": self.fingerprint(),
            "notes": list(self.notes),
        }
        return {key: value for key, value in found.items() if value not in ("", {}, [])}

    def fingerprint(self) -> str:
        """First 16 digits of the SHA-256 of the symbols and their numbers."""
        return digest((self.numbers, "".join(self.vocabulary.symbols).encode("utf-8", "surrogatepass")))

    def arrays(self) -> dict[str, np.ndarray]:
        return {
            "numbers": self.numbers.numpy(force=True),
            "vocabulary": codepoints("".join(self.vocabulary.symbols)),
            "first_of_part": np.array([first for first, _ in self.spans.values()]),
        }


def text_data(
    text: str,
    *,
    validation_share: float,
    test_share: float,
    window: int,
    min_count: int = 1,
    encoding: Encoding = "one_hot",
    title: str = "",
    pattern: str = "",
    notes: tuple[str, ...] = (),
) -> TextData:
    """A text cut into training, validation and test part, in this order, with the vocabulary of the training part.

    Args:
        validation_share, test_share: of the characters, in (0, 1), together below 1. window, encoding, title, pattern, notes: see
            `TextData`. min_count: rarer characters become the unknown symbol.

    Raises:
        ConfigError: the shares leave nothing to train on. DataError: the text is empty, shorter than a window, or of one
            distinct character.

    Example:
        >>> found = text_data("abc" * 20, validation_share=0.2, test_share=0.2, window=5)
        >>> found.spans["test"], found.vocabulary.symbols
        ((48, 60), ('a', 'b', 'c'))
    """
    if validation_share + test_share >= 1:
        raise ConfigError(
            f"task.validation_share + task.test_share = {validation_share + test_share:g}", "less than 1", "make one smaller"
        )
    if not text:
        raise DataError("the text is empty", "a text with characters in it", "give another file")
    held = round(len(text) * (validation_share + test_share))
    train_stop = len(text) - held
    validation_stop = len(text) - round(len(text) * test_share)
    vocabulary = find_vocabulary(text[:train_stop], text[train_stop:], min_count)
    numbers = torch.from_numpy(vocabulary.encode(text))
    return TextData(numbers, vocabulary, train_stop, validation_stop, window, encoding, title, pattern, notes)


def needed_memory(numbers: Int[np.ndarray, " N"], most: int = 64) -> int | None:
    """The smallest n such that the n latest symbols always decide the next one, over a whole sequence.

    Counted exactly: no two places of the sequence have the same n symbols and different successors.

    Args:
        numbers: symbols, N >= 2. most: largest n tried.

    Returns:
        n, 0 where all symbols are equal; None where even the `most` latest do not decide (or fewer, where the sequence ends).

    Example:
        >>> [needed_memory(np.array([ord(c) for c in s * 9])) for s in ("abc", "abac", "hello world ")]
        [1, 2, 2]
    """
    contexts = np.zeros(len(numbers), np.int64)  # number of the run of n symbols that ends before each place
    for n in range(min(most, len(numbers) - 2) + 1):
        pairs = np.unique(np.stack([contexts[n:], numbers[n:].astype(np.int64)]), axis=1)
        if len(np.unique(pairs[0])) == pairs.shape[1]:
            return n
        joined = contexts[n:-1] * (int(numbers.max()) + 1) + numbers[n:-1]
        contexts = np.concatenate([np.zeros(n + 1, np.int64), np.unique(joined, return_inverse=True)[1]])
    return None
