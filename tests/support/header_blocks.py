"""Header blocks for tests: whole messages cut down to the answer of ``BODY[HEADER.FIELDS (...)]``."""

from __future__ import annotations

import random
import re
from collections.abc import Callable

from mailsync.mail.headers import HEADER_FIELDS
from tests.support.bulk_messages import varied_message

_FETCHED = {name.lower().encode() for name in HEADER_FIELDS}
_FIELD = re.compile(rb"[^\r\n]+\r\n(?:[ \t][^\r\n]*\r\n)*")


def fields_of(raw: bytes) -> bytes:
    """Return the fields that mailsync fetches, as a server would."""
    head = raw.partition(b"\r\n\r\n")[0] + b"\r\n"
    fields = [field for field in _FIELD.findall(head) if field.partition(b":")[0].lower() in _FETCHED]
    return b"".join(fields) + b"\r\n"


ODD_LINES = {
    "blanks": [b" \r\n", b"\t \r\n", b" \r\n\t\r\n"],
    "mbox line": [b"From relay@x.example Sun Apr  5 10:00:00 2026\r\n"],
    "unindented": [b"the rest of a value\r\n", b"the rest\r\n of: a value\r\n", b"the rest: of a value\r\n"],
    "no name": [b": nothing in front\r\n", b":\r\n Subject: none\r\n"],
    "8-bit name": ["Betreff-Prüfung: x\r\n".encode(), b"\xff\xfe: x\r\n"],
    "boundary": [b"--b\r\n", b"--=_part: 1\r\n"],
    "unknown field": [b"X-Y: z\r\n", b"X-Y:\r\n"],
}
"""Lines to put between the fields of a header, by kind."""


def odd_blocks(count: int, seed: int) -> list[tuple[bytes, frozenset[str]]]:
    """Return varied blocks that are odd in one to three ways, with the names of these.

    The names are those of ODD_LINES, "first line" (which begins with a blank), "blanks before the colon",
    "bare CRs" (which end all lines), "CR inside a value", "CR CR LF" (ends all lines), "line feeds", "BOM".
    """
    rng = random.Random(seed)
    blocks = []
    for block in varied_blocks(count, seed):
        kinds = frozenset(rng.sample([*ODD_LINES, *_CHANGES], rng.randint(1, 3)))
        if len(kinds & {"bare CRs", "CR CR LF", "line feeds", "CR inside a value"}) > 1:
            kinds -= {"CR CR LF", "line feeds", "CR inside a value"}
        fields = _FIELD.findall(block)
        for kind in sorted(kinds & ODD_LINES.keys()):
            fields.insert(rng.randint(0, len(fields)), rng.choice(ODD_LINES[kind]))
        changed = b"".join(fields) + b"\r\n"
        for kind, change in _CHANGES.items():
            if kind in kinds:
                changed = change(changed)
        blocks.append((changed, kinds))
    return blocks


_CHANGES: dict[str, Callable[[bytes], bytes]] = {
    "blanks before the colon": lambda block: re.sub(rb"\b(Subject|Message-ID|To):", rb"\1 \t:", block),
    "first line": lambda block: b" the rest of a line\r\n" + block,
    "CR inside a value": lambda block: re.sub(rb"(?m)^(Subject:[^ ]* \S+) ", rb"\1\r", block),
    "bare CRs": lambda block: block.replace(b"\r\n", b"\r"),
    "CR CR LF": lambda block: block.replace(b"\r\n", b"\r\r\n"),
    "line feeds": lambda block: block.replace(b"\r\n", b"\n"),
    "BOM": lambda block: b"\xef\xbb\xbf" + block,
}


def varied_blocks(count: int, seed: int) -> list[bytes]:
    """Return the blocks of `count` generated messages whose addresses seldom repeat."""
    rng = random.Random(seed)
    return [fields_of(varied_message(seed * 100_000 + number, rng)) for number in range(count)]
