"""The little of IMAP's grammar that the scripted server needs: reading arguments, writing strings."""

from __future__ import annotations

import re
from typing import TypeAlias

Token: TypeAlias = "bytes | list[Token]"

_LITERAL = re.compile(rb"\{(\d+)\+?\}\r\n")
_QUOTED = re.compile(rb'"((?:[^"\\]|\\.)*)"')
_ATOM = re.compile(rb"(?:[^\s()\[\]\"{]|\[[^\]]*\])+")  # BODY.PEEK[HEADER.FIELDS (DATE)]<0.9> is one


def tokens(text: bytes) -> list[Token]:
    """Split a command's arguments: atoms, quoted strings and literals as bytes, parentheses as lists.

    Raises ValueError where the text is no IMAP.
    """
    stack: list[list[Token]] = [[]]
    at = 0
    while at < len(text):
        char = text[at : at + 1]
        if char.isspace():
            at += 1
        elif char == b"(":
            stack.append([])
            at += 1
        elif char == b")" and len(stack) > 1:
            done = stack.pop()
            stack[-1].append(done)
            at += 1
        elif literal := _LITERAL.match(text, at):
            end = literal.end() + int(literal[1])
            stack[-1].append(text[literal.end() : end])
            at = end
        elif quoted := _QUOTED.match(text, at):
            stack[-1].append(re.sub(rb"\\(.)", rb"\1", quoted[1]))
            at = quoted.end()
        elif atom := _ATOM.match(text, at):
            stack[-1].append(atom[0])
            at = atom.end()
        else:
            raise ValueError(f"not IMAP at {text[at : at + 20]!r}")
    if len(stack) != 1:
        raise ValueError("a parenthesis is not closed")
    return stack[0]


def string(value: bytes | None) -> bytes:
    """An nstring: NIL, a quoted string where that can hold the value, else a literal."""
    if value is None:
        return b"NIL"
    if len(value) < 1000 and value.isascii() and not re.search(rb"[\r\n\0]", value):
        return b'"' + re.sub(rb'(["\\])', rb"\\\1", value) + b'"'
    return literal(value)


def literal(value: bytes) -> bytes:
    """A literal: its length, then its bytes."""
    return b"{%d}\r\n%s" % (len(value), value)


def in_set(text: bytes, top: int) -> list[tuple[int, int]]:
    """The ranges of a sequence-set, ``*`` standing for `top`; as RFC 9051 has it, ``9:*`` holds `top`."""
    ranges = []
    for part in text.split(b","):
        first, _, last = part.partition(b":")
        ends = sorted(top if end == b"*" else int(end) for end in (first, last or first))
        ranges.append((ends[0], ends[1]))
    return ranges


def as_set(numbers: list[int]) -> bytes:
    """Ascending numbers as a sequence-set with ranges: ``1:3,7``."""
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
