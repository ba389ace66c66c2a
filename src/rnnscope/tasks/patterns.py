"""Does a pattern occur in a binary sequence? With exactly as many sequences of either answer, or as usually generated."""

from typing import Annotated, Any, Literal

import numpy as np
from jaxtyping import Int
from pydantic import Field

from rnnscope.core.errors import ConfigError, DataError
from rnnscope.core.interfaces import TaskSpec
from rnnscope.core.labelled import ClassWeights, LabelledData, LabelledSet, class_weights, labelled_set, stratified_parts
from rnnscope.core.random import Streams
from rnnscope.core.spec import NonNegative, Positive, Probability
from rnnscope.numerics.pattern_strings import count_occurrences, count_strings, draw_strings

CLASSES = ("No Pattern", "Pattern")
KINDS = ("no pattern", "no pattern, all but its end", "pattern once", "pattern several times")
LONGEST_LOOKUP = 8

Symbol = Annotated[int, Field(ge=0, le=1)]
Share = Annotated[float, Field(gt=0.0, lt=1.0)]


class Pattern(TaskSpec):
    """Class 1 ("Pattern") if the pattern occurs anywhere in a binary sequence, class 0 ("No Pattern") if it does not.

    With balance=exact both classes have the same number of sequences. Those without the pattern are drawn uniformly from all
    binary sequences that are free of it, counted by the automaton that finds it; of those with it a share has it exactly
    once, which differs from class 0 by a single place. All are different, so that no test sequence is in the training part;
    where there are too few (110 in 8 steps: 88 without it) they repeat within a part, never between parts.

    Fields:
        pattern: of symbols 0 and 1, at least one. num_steps: length of the sequences, at least the pattern's.
        num_sequences: of all parts together. test_share: of them, in (0, 1); validation_share: of the rest. Stratified.
        balance: exact, or original: random sequences, in half of them the pattern planted; labelled by looking, which leaves
            few sequences (for 1 1 0 in 20 steps 1.4 %) without it. Then a balanced test part comes beside.
        once: share of class 1 with exactly one occurrence; None: as among all sequences with the pattern.
        lengths: of the training and validation sequences, in equal shares; num_steps when empty.
        further_steps: lengths of further test parts, each of num_further sequences, balanced.
        class_weights: in the loss: none, or balanced, so that each class counts alike.
    """

    pattern: Annotated[tuple[Symbol, ...], Field(min_length=1, max_length=50)] = (1, 1, 0)
    num_steps: Positive = 20
    num_sequences: Annotated[int, Field(ge=10)] = 2000
    test_share: Share = 0.2
    validation_share: Share = 0.15
    balance: Literal["exact", "original"] = "exact"
    once: Probability | None = 0.5
    lengths: tuple[Positive, ...] = ()
    further_steps: tuple[Positive, ...] = (50, 200)
    num_further: NonNegative = 1000
    class_weights: ClassWeights = "none"

    def model_post_init(self, context: Any) -> None:
        fields = {"num_steps": (self.num_steps,), "lengths": self.lengths, "further_steps": self.further_steps}
        for name, lengths in fields.items():
            if lengths and min(lengths) < len(self.pattern):
                raise ConfigError(
                    f"task.{name} has {min(lengths)} steps, fewer than the {len(self.pattern)} of the pattern",
                    f"at least {len(self.pattern)}",
                    f"set task.{name} to more, or give a shorter task.pattern",
                )
        if self.balance == "original" and self.lengths:
            raise ConfigError(
                "task.lengths is set, but balance=original has sequences of task.num_steps only",
                "no lengths",
                "leave task.lengths out, or set task.balance=exact",
            )

    def prepare(self, streams: Streams) -> LabelledData:
        at = streams.at("data")
        whole = sorted({*(self.lengths or (self.num_steps,)), self.num_steps})
        drawn = {steps: self._draw(steps, at.at("sequences", steps).numpy()) for steps in whole}
        train, validation = (_padded([drawn[s][i] for s in whole if len(drawn[s][i])]) for i in (0, 1))
        parts = {"train": train, "validation": validation, "test": _padded([drawn[self.num_steps][2]])}
        rng = at.at("further").numpy()
        if self.balance == "original" and self.num_further:
            parts["balanced"] = _padded([self._fresh(self.num_steps, rng, np.concatenate(drawn[self.num_steps][:2]))])
        for steps in dict.fromkeys(self.further_steps):
            if self.num_further and steps != self.num_steps:
                known = np.concatenate(drawn[steps][:2]) if steps in drawn else None
                parts[f"length {steps}"] = _padded([self._fresh(steps, rng, known)])
        return self._assembled(parts)

    def _draw(self, steps: int, rng: np.random.Generator) -> list[Int[np.ndarray, "N T"]]:
        """Training, validation and test sequences of one length."""
        test = self.test_share if steps == self.num_steps else 0.0
        lengths = self.lengths or (self.num_steps,)
        kept = self.num_sequences * (1 - self.test_share) / len(lengths) if steps in lengths else 0.0
        number = round(kept + self.num_sequences * test)
        strings = self._original(number, rng) if self.balance == "original" else self._different(steps, number, rng)
        held_out = self.num_sequences * test / number
        shares = ((1 - held_out) * (1 - self.validation_share), (1 - held_out) * self.validation_share, held_out)
        if not kept:
            return [strings[:0], strings[:0], self._filled(strings, steps, number, rng)]
        labels = (count_occurrences(strings, self.pattern) > 0).astype(int)
        parts = [strings[chosen] for chosen in stratified_parts(labels, shares, rng)]
        if self.balance == "original":
            return parts
        return [self._filled(part, steps, round(number * s), rng) for part, s in zip(parts, shares, strict=True)]

    def _original(self, count: int, rng: np.random.Generator) -> Int[np.ndarray, "N T"]:
        strings = rng.integers(0, 2, (count, self.num_steps))
        planted = np.arange(count // 2)
        starts = rng.integers(0, self.num_steps - len(self.pattern) + 1, len(planted))
        for k, symbol in enumerate(self.pattern):
            strings[planted, starts + k] = symbol
        return strings

    def _different(
        self, steps: int, count: int, rng: np.random.Generator, known: Int[np.ndarray, "M T"] | None = None
    ) -> Int[np.ndarray, "N T"]:
        """As many sequences without the pattern as with it, all different and none of them known; fewer where there are no more."""
        exist = self._exist(steps)
        without, some = count - count // 2, count // 2
        once = self.once if self.once is not None else exist[1] / max(1, exist[1] + exist[2])
        single = max(round(once * some), some - exist[2])
        pieces = []
        for occurrences, number in {0: without, 1: single, 2: some - single}.items():
            taken = _of(known, self.pattern, occurrences)
            drawn = draw_strings(self.pattern, steps, {occurrences}, min(number + len(taken), exist[occurrences]), rng)
            pieces.append(drawn[~_among(drawn, taken)][:number] if len(taken) else drawn)
        return np.concatenate(pieces)

    def _filled(
        self, strings: Int[np.ndarray, "N T"], steps: int, count: int, rng: np.random.Generator
    ) -> Int[np.ndarray, "M T"]:
        """Half of the count of each class; where too few exist they repeat within the part, never between parts."""
        if not count:
            return strings[:0]
        exist = self._exist(steps)
        labels = count_occurrences(strings, self.pattern) > 0
        pieces = []
        for rows, wanted in ((strings[~labels], count - count // 2), (strings[labels], count // 2)):
            if not len(rows):
                raise DataError(
                    f"of {steps} steps there are {exist[0]} sequences without the pattern and {exist[1] + exist[2]} with it, "
                    "too few for different ones in every part",
                    "some of each class for training, validation and test",
                    "raise task.num_steps, or give another task.pattern",
                )
            missing = wanted - len(rows)
            pieces.append(np.concatenate([rows, rng.choice(rows, missing)]) if missing > 1 else rows)
        return np.concatenate(pieces)

    def _exist(self, steps: int) -> list[int]:
        """How many sequences there are with no occurrence of the pattern, one, and several."""
        return [count_strings(self.pattern, steps, {k}) for k in range(3)]

    def _fresh(self, steps: int, rng: np.random.Generator, known: Int[np.ndarray, "M T"] | None) -> Int[np.ndarray, "N T"]:
        """A further test part, free of what training knows."""
        found = self._different(steps, self.num_further, rng, known)
        return self._filled(found, steps, self.num_further, rng)

    def _assembled(self, parts: dict[str, tuple[np.ndarray, np.ndarray]]) -> LabelledData:
        automaton = f"the automaton of {len(self.pattern) + 1} states"
        labels = {name: _labels(strings, lengths, self.pattern) for name, (strings, lengths) in parts.items()}
        rules = simple_rules(parts, labels["train"], len(self.pattern))
        sets: dict[str, LabelledSet] = {}
        for name, (strings, lengths) in parts.items():
            kinds = np.concatenate([kinds_of(s[None, :n], self.pattern) for s, n in zip(strings, lengths, strict=True)])
            same = int(lengths.min()) == strings.shape[1]
            sets[name] = labelled_set(
                strings[:, :, None].astype(np.float32),
                labels[name],
                lengths=None if same else lengths,
                kinds=kinds,
                rules={**{rule: answers[name] for rule, answers in rules.items()}, automaton: labels[name]},
                title=self._title(name, lengths),
            )
        written = " ".join(map(str, self.pattern))
        exist = self._exist(self.num_steps)
        return LabelledData(
            train=sets.pop("train"),
            validation=sets.pop("validation"),
            tests=sets,
            class_names=CLASSES,
            input_names=("symbol",),
            kind_names=KINDS,
            exact=automaton,
            class_weights=class_weights(labels["train"], 2, self.class_weights),
            rule=f"'{CLASSES[1]}' if {written} occurs",
            notes=(f"of all 2^{self.num_steps} sequences of {self.num_steps} steps, {exist[0]} are free of {written}",),
        )

    def _title(self, part: str, lengths: np.ndarray) -> str:
        mixture = "random, half of them with the pattern planted"
        how = mixture if self.balance == "original" and part == "test" else "as many with the pattern as without"
        return f"{int(lengths.max())} steps, {how}"


def kinds_of(strings: Int[np.ndarray, "N T"], pattern: tuple[int, ...]) -> Int[np.ndarray, " N"]:
    """Number of each string's kind in `KINDS`."""
    found = count_occurrences(strings, pattern)
    begun = count_occurrences(strings, pattern[:-1]) > 0 if len(pattern) > 1 else np.zeros(len(strings), bool)
    return np.where(found > 0, 1 + np.minimum(found, 2), begun.astype(int))


def simple_rules(
    parts: dict[str, tuple[np.ndarray, np.ndarray]], labels: Int[np.ndarray, " N"], width: int
) -> dict[str, dict[str, np.ndarray]]:
    """One-line rules, fitted to balanced accuracy on the training part: rule -> part -> its answers.

    Args:
        parts: name -> strings (N, T) and their lengths (N,). labels: of the part "train". width: symbols that the rules of the
            first and of the last inputs look at (at most 8).
    """
    width = min(width, LONGEST_LOOKUP)
    weights = 1 / np.bincount(labels, minlength=2).clip(1)[labels]
    shares = {name: strings.sum(1) / lengths for name, (strings, lengths) in parts.items()}
    level, above = _best_threshold(shares["train"], labels, weights)
    found = {
        f"share of ones {'at least' if above else 'below'} {level:.2f}": {
            name: ((share >= level) == above).astype(int) for name, share in shares.items()
        }
    }
    for which in ("first", "last"):
        codes = {name: _codes(strings, lengths, width, which == "last") for name, (strings, lengths) in parts.items()}
        votes = np.bincount(codes["train"], weights * (2 * labels - 1), minlength=2**width)
        symbols = "symbol" if width == 1 else f"{width} symbols"
        found[f"the {which} {symbols} alone"] = {name: (votes[code] > 0).astype(int) for name, code in codes.items()}
    return found


def _best_threshold(values: np.ndarray, labels: np.ndarray, weights: np.ndarray) -> tuple[float, bool]:
    """The level, and whether class 1 lies at or above it, that gets the most weight right."""
    levels = np.unique(values)
    right = np.array([(weights * ((values >= level) == labels)).sum() for level in levels])
    score = np.concatenate([right, weights.sum() - right])
    best = int(score.argmax())
    return float(levels[best % len(levels)]), best < len(levels)


def _codes(strings: np.ndarray, lengths: np.ndarray, width: int, from_end: bool) -> np.ndarray:
    """The first or last symbols of each string as one number."""
    start = np.maximum(lengths - width, 0) if from_end else np.zeros(len(strings), int)
    columns = start[:, None] + np.arange(width)
    return np.take_along_axis(strings, columns, 1) @ (1 << np.arange(width))


def _padded(pieces: list[np.ndarray]) -> tuple[Int[np.ndarray, "N T"], Int[np.ndarray, " N"]]:
    """Strings of several lengths in one array, zeros after their end, and the lengths."""
    longest = max(piece.shape[1] for piece in pieces)
    strings = [np.pad(piece, ((0, 0), (0, longest - piece.shape[1]))) for piece in pieces]
    return np.concatenate(strings), np.repeat([p.shape[1] for p in pieces], [len(p) for p in pieces])


def _labels(strings: np.ndarray, lengths: np.ndarray, pattern: tuple[int, ...]) -> Int[np.ndarray, " N"]:
    """1 where the pattern occurs within a string's length."""
    found = np.zeros(len(strings), int)
    for steps in np.unique(lengths):
        rows = lengths == steps
        found[rows] = count_occurrences(strings[rows, :steps], pattern) > 0
    return found


def _of(strings: Int[np.ndarray, "M T"] | None, pattern: tuple[int, ...], occurrences: int) -> np.ndarray:
    """Those of some strings with so many occurrences (2: two or more)."""
    if strings is None:
        return np.zeros((0, 1), int)
    return strings[np.minimum(count_occurrences(strings, pattern), 2) == occurrences]


def _among(strings: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Which strings are among the others."""
    known = {row.tobytes() for row in others.astype(np.int8)}
    return np.array([row.tobytes() in known for row in strings.astype(np.int8)])
