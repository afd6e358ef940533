"""A line of the tables: a function that reads strangers' bytes, and its worst texts."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from tests.unit.growing.measuring import Read, Worst

Pair = tuple[bytes, bytes] | tuple[bytes, bytes, bytes]

# characters with a meaning in the grammars of mail and HTTP, for random texts
MARKS = (
    *b"( ) [ ] { } < > \" \\ ' , ; : . - _ = ? @ & % / * + ~ # ! | a A 0 1".split(),
    b" ", b"\t", b"\r", b"\n", b"\0", b"\xff", "é".encode(),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Reads:
    """A function that reads strangers' text.

    `read` calls the function with bytes, converted to the type of its argument. `worst` are the texts that
    would take a careless implementation the longest; random texts are built from their words and MARKS.
    """

    name: str
    read: Read
    worst: tuple[Worst, ...]

    def __str__(self) -> str:
        return self.name

    @property
    def words(self) -> list[bytes]:
        """The words of the worst texts, whole and split at their marks."""
        parts = {part for worst in self.worst for part in worst if part}
        split = {word for part in parts for word in re.findall(rb"[\w.+-]+ ?|[^\w.+-]", part)}
        return sorted(parts | split)


def reads(name: str, read: Read, *worst: Pair) -> Reads:
    """A line of a table; each of `worst` is a prefix, a unit to repeat, and perhaps a suffix."""
    return Reads(name, read, tuple(Worst(*parts) for parts in worst))


def as_text(read: Callable[[str], object]) -> Read:
    """For a function that takes text: each byte becomes one character."""
    return lambda raw: read(raw.decode("latin-1"))


def as_line(read: Callable[[list[bytes]], object]) -> Read:
    """For a function that takes a response: the bytes are one line without a literal."""
    return lambda raw: read([raw])


def as_response(read: Callable[[list[bytes]], object]) -> Read:
    """For a function that takes a response: NULs separate texts and literals, in turns."""

    def call(raw: bytes) -> object:
        parts = raw.split(b"\0")
        return read(parts if len(parts) % 2 else [*parts, b""])

    return call


def as_utf8(read: Callable[[str], object]) -> Read:
    """For a function that takes text: the bytes are UTF-8."""
    return lambda raw: read(raw.decode("utf-8", "replace"))


def as_distinct(read: Callable[[str], object]) -> Read:
    """For a function that takes text: each byte becomes a different character."""
    return lambda raw: read("".join(chr(0x4E00 + i % 50_000) for i in range(len(raw))))
