"""The part of IMAP's grammar that the scripted server needs: parse arguments, write strings."""

from __future__ import annotations

import re
from typing import TypeAlias

Token: TypeAlias = "bytes | list[Token]"

_LITERAL = re.compile(rb"\{(\d+)\+?\}\r\n")
_QUOTED = re.compile(rb'"((?:[^"\\]|\\.)*)"')
_ATOM = re.compile(rb"(?:[^\s()\[\]\"{]|\[[^\]]*\])+")  # BODY.PEEK[HEADER.FIELDS (DATE)]<0.9> is one atom


def tokens(text: bytes) -> list[Token]:
    """Split a command's arguments: atoms, quoted strings and literals as bytes, parentheses as lists.

    Raises ValueError if the text is malformed.
    """
    stack: list[list[Token]] = [[]]
    position = 0
    while position < len(text):
        char = text[position : position + 1]
        if char.isspace():
            position += 1
        elif char == b"(":
            stack.append([])
            position += 1
        elif char == b")" and len(stack) > 1:
            done = stack.pop()
            stack[-1].append(done)
            position += 1
        elif literal := _LITERAL.match(text, position):
            end = literal.end() + int(literal[1])
            stack[-1].append(text[literal.end() : end])
            position = end
        elif quoted := _QUOTED.match(text, position):
            stack[-1].append(re.sub(rb"\\(.)", rb"\1", quoted[1]))
            position = quoted.end()
        elif atom := _ATOM.match(text, position):
            stack[-1].append(atom[0])
            position = atom.end()
        else:
            raise ValueError(f"not IMAP at {text[position : position + 20]!r}")
    if len(stack) != 1:
        raise ValueError("a parenthesis is not closed")
    return stack[0]


def string(value: bytes | None) -> bytes:
    """Return an nstring: NIL, a quoted string if it can hold the value, else a literal."""
    if value is None:
        return b"NIL"
    if len(value) < 1000 and value.isascii() and not re.search(rb"[\r\n\0]", value):
        return b'"' + re.sub(rb'(["\\])', rb"\\\1", value) + b'"'
    return literal(value)


def literal(value: bytes) -> bytes:
    """Return a literal."""
    return b"{%d}\r\n%s" % (len(value), value)


def in_set(text: bytes, top: int) -> list[tuple[int, int]]:
    """Return the ranges of a sequence-set. ``*`` is `top`, and ``9:*`` always includes it (RFC 9051 §9)."""
    ranges = []
    for part in text.split(b","):
        first, _, last = part.partition(b":")
        ends = sorted(top if end == b"*" else int(end) for end in (first, last or first))
        ranges.append((ends[0], ends[1]))
    return ranges


def as_set(numbers: list[int]) -> bytes:
    """Return ascending numbers as a sequence-set: ``1:3,7``."""
    parts: list[str] = []
    start = last = 0
    for number in [*numbers, 0]:
        if number == last + 1 and last:
            last = number
            continue
        if last:
            parts.append(str(start) if start == last else f"{start}:{last}")
        start = last = number
    return ",".join(parts).encode()
