"""Predict the next character: of a string that repeats itself, or of any text file."""

import codecs
from pathlib import Path
from typing import Annotated

from pydantic import Field

from rnnscope.core.errors import ConfigError, DataError
from rnnscope.core.interfaces import TaskSpec
from rnnscope.core.random import Streams
from rnnscope.core.spec import FilePath, NonNegative, Positive
from rnnscope.core.text import Encoding, TextData, text_data
from rnnscope.core.vocabulary import shown

Share = Annotated[float, Field(gt=0.0, lt=1.0)]
MANUAL = "topics of the Python manual that this Python ships (pydoc_data.topics)"


class Characters(TaskSpec):
    """A string repeated over and over; at each step the next character is asked for.

    The first characters are the training part, the last ones the test part, neither shuffled.

    Fields:
        pattern: the string, of at least two distinct characters. num_characters: of the whole text, where it ends in the
            middle of the pattern if need be. validation_share, test_share: of it, in (0, 1).
        window: characters of a training window (with a carried state: see the trainer's truncation).
        encoding: what the network reads of a character: one_hot, or number: its bare number in the vocabulary, which gives
            characters an order and distances that they do not have.
    """

    pattern: Annotated[str, Field(min_length=1)] = "abc"
    num_characters: Positive = 600
    validation_share: Share = 0.2
    test_share: Share = 0.2
    window: Positive = 20
    encoding: Encoding = "one_hot"

    def prepare(self, streams: Streams) -> TextData:
        if len(set(self.pattern)) < 2:
            raise DataError(
                f"the pattern '{shown(self.pattern)}' has one distinct character",
                "at least two",
                "set task.pattern to a string in which there is something to predict",
            )
        if self.num_characters < 2 * len(self.pattern):
            raise DataError(
                f"task.num_characters is {self.num_characters} for a pattern of {len(self.pattern)} characters",
                f"at least {2 * len(self.pattern)}: the pattern twice",
                "set a larger task.num_characters",
            )
        text = (self.pattern * (self.num_characters // len(self.pattern) + 1))[: self.num_characters]
        return text_data(
            text,
            validation_share=self.validation_share,
            test_share=self.test_share,
            window=self.window,
            encoding=self.encoding,
            title=f"'{shown(self.pattern)}' over and over",
            pattern=self.pattern,
        )


class Text(TaskSpec):
    """Any text file, character by character.

    The file is cut into training, validation and test part in this order. The vocabulary is that of the training part; what occurs
    only later is read as one unknown symbol, and counts in the scores like any other.

    Fields:
        path: of the file; empty: topics of the Python manual that comes with Python, so that there is a text without a file.
        file_encoding: how the file's bytes are read, e.g. utf-8, latin-1. most_characters: use the first so many; 0: all.
        min_count: characters rarer than this in the training part become the unknown symbol too.
        validation_share, test_share: of the characters, in (0, 1). window, encoding: see `Characters`.
    """

    path: FilePath = ""
    file_encoding: str = "utf-8"
    most_characters: NonNegative = 0
    min_count: Positive = 1
    validation_share: Share = 0.05
    test_share: Share = 0.05
    window: Positive = 64
    encoding: Encoding = "one_hot"

    def prepare(self, streams: Streams) -> TextData:
        text = read_text(self.path, self.file_encoding) if self.path else manual()
        return text_data(
            text[: self.most_characters] if self.most_characters else text,
            validation_share=self.validation_share,
            test_share=self.test_share,
            window=self.window,
            min_count=self.min_count,
            encoding=self.encoding,
            title=(f"first {self.most_characters} characters of " if 0 < self.most_characters < len(text) else "")
            + (Path(self.path).name if self.path else MANUAL),
            notes=() if self.path else ("Your own text: --set task.path=book.txt",),
        )


def read_text(path: str, encoding: str = "utf-8") -> str:
    """The text of a file; ends of lines become one newline character, a byte order mark is dropped.

    Args:
        path: of the file. encoding: how its bytes are read.

    Raises:
        DataError: the file is missing, empty, binary, or not in that encoding. ConfigError: there is no such encoding.
    """
    try:
        name = codecs.lookup(encoding).name
        "".encode(name)  # some codecs are for bytes only
    except LookupError:
        raise ConfigError(
            f"task.file_encoding is '{encoding}'", "the name of an encoding, e.g. utf-8, latin-1", "set task.file_encoding"
        ) from None
    file = Path(path).expanduser()
    try:
        content = file.read_bytes()
    except OSError as error:
        raise DataError(f"'{path}' cannot be read: {error.strerror}", "a text file", "check task.path") from None
    wide = name.startswith(("utf-16", "utf-32"))
    if b"\0" in content and not wide:
        raise DataError(
            f"'{path}' is no text: byte {content.index(0) + 1} is zero",
            "a plain text file",
            "convert it to text first, or set task.file_encoding=utf-16 where it is text in that encoding",
        )
    try:
        text = content.decode("utf-8-sig" if name == "utf-8" else name)
    except UnicodeDecodeError as error:
        raise DataError(
            f"'{path}' is not {encoding}: byte {error.start + 1} ({content[error.start]:#04x}) fits no character",
            f"a text in {encoding}",
            "set task.file_encoding to the text's own, e.g. latin-1; a binary file cannot be used",
        ) from None
    if not text.strip():
        raise DataError(
            f"'{path}' is empty" if not text else f"'{path}' holds nothing but white space", "a text", "check task.path"
        )
    return text.replace("\r\n", "\n").replace("\r", "\n")


def manual() -> str:
    """Prose that every complete Python brings along: the topics of its manual, about half a million characters."""
    try:
        from pydoc_data.topics import topics
    except ImportError:
        raise DataError(
            "task.path is empty, and this Python comes without its manual's topics",
            "a text file",
            "set task.path=book.txt",
        ) from None
    return "\n\n".join(topics[name] for name in sorted(topics))
