"""Characters and their numbers, both ways; characters made visible for tables and messages."""

import unicodedata
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Int

from rnnscope.core.errors import DataError

UNKNOWN = "\N{REPLACEMENT CHARACTER}"


@dataclass(frozen=True)
class Vocabulary:
    """The symbols of a text, and the map between them and their numbers, both ways.

    Attributes:
        symbols: one character each, in the order of their numbers. The last is `UNKNOWN` where `has_unknown`: the one symbol that
            stands for every character that is not listed.
        has_unknown: whether it does.

    Example:
        >>> found = Vocabulary(("a", "b", "c"))
        >>> found.encode("cab").tolist(), found.decode(np.array([2, 0, 1]))
        ([2, 0, 1], 'cab')
    """

    symbols: tuple[str, ...]
    has_unknown: bool = False

    def __len__(self) -> int:
        return len(self.symbols)

    @cached_property
    def numbers(self) -> dict[str, int]:
        """Character -> number."""
        return {symbol: number for number, symbol in enumerate(self.symbols)}

    def encode(self, text: str) -> Int[np.ndarray, " N"]:
        """Numbers of the characters of a text; characters not listed become the unknown symbol, where there is one.

        Raises:
            DataError: a character is not in the vocabulary, and no symbol stands for such.
        """
        codes = codepoints(text)
        table = np.full(int(codes.max(initial=0)) + 1, -1, np.int32)
        for symbol, number in self.numbers.items():
            if ord(symbol) < len(table) and not (self.has_unknown and number == len(self) - 1):
                table[ord(symbol)] = number
        found = table[codes]
        strange = np.flatnonzero(found < 0)
        if len(strange) and not self.has_unknown:
            raise self._stranger(text[strange[0]], int(strange[0]))
        found[strange] = len(self) - 1
        return found

    def encode_known(self, text: str) -> Int[np.ndarray, " N"]:
        """As `encode`, but every character must be listed: what a user types is not to be replaced in silence."""
        known = set(self.symbols[: len(self) - 1] if self.has_unknown else self.symbols)
        for place, character in enumerate(text):
            if character not in known:
                raise self._stranger(character, place)
        return self.encode(text)

    def decode(self, numbers: Int[np.ndarray, " N"]) -> str:
        """The text that symbol numbers stand for."""
        return "".join(self.symbols[number] for number in numbers.tolist())

    def _stranger(self, character: str, place: int) -> DataError:
        listed = "".join(shown(s) for s in self.symbols[:100])
        return DataError(
            f"the character {name_of(character)} at position {place + 1} is not in the vocabulary",
            f"the characters that the network was trained on: {listed}{' …' if len(self) > 100 else ''}",
            "leave it out, or write it with these characters",
        )


def codepoints(text: str) -> Int[np.ndarray, " N"]:
    """Unicode numbers of the characters of a text."""
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32).astype(np.int64)


def shown(text: str) -> str:
    """A text with its control characters and spaces made visible, one sign for one character.

    Example:
        >>> shown("to be\\n")
        'to␣be⏎'
    """
    signs = {"\n": "⏎", "\t": "⇥", " ": "␣", "\r": "␍"}
    return "".join(signs.get(c, c if c.isprintable() else "·") for c in text)


def name_of(character: str) -> str:
    """A character in an error message: itself in quotes, and its number where it does not show."""
    if character.isprintable() and not character.isspace():
        return f"'{character}'"
    return f"'{shown(character)}' ({unicodedata.name(character, f'U+{ord(character):04X}').lower()})"


def find_vocabulary(train: str, held_out: str, min_count: int = 1) -> Vocabulary:
    """The characters that occur at least `min_count` times in the training part, in order of their Unicode number.

    Where other characters occur in either part, one more symbol, `UNKNOWN`, stands for all of them: a network cannot
    know in advance what it will meet.
    """
    codes, counts = np.unique(codepoints(train), return_counts=True)
    kept = codes[(counts >= min_count) & (codes != ord(UNKNOWN))]
    strangers = np.setdiff1d(np.unique(codepoints(train + held_out)), kept)
    symbols = tuple(chr(c) for c in kept)
    return Vocabulary((*symbols, UNKNOWN), True) if len(strangers) else Vocabulary(symbols)
