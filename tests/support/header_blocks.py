"""Header blocks for tests: the answer of ``BODY[HEADER.FIELDS (...)]``, cut out of whole messages."""

from __future__ import annotations

import random
import re

from mailsync.mail.headers import HEADER_FIELDS
from tests.support.bulk_messages import varied_message

_ASKED = {name.lower().encode() for name in HEADER_FIELDS}
_FIELD = re.compile(rb"[^\r\n]+\r\n(?:[ \t][^\r\n]*\r\n)*")


def fields_of(raw: bytes) -> bytes:
    """The fields that mailsync asks for, as a server cuts them out."""
    head = raw.partition(b"\r\n\r\n")[0] + b"\r\n"
    kept = [field for field in _FIELD.findall(head) if field.partition(b":")[0].lower() in _ASKED]
    return b"".join(kept) + b"\r\n"


def varied_blocks(count: int, seed: int) -> list[bytes]:
    """Blocks of `count` generated messages with addresses that hardly repeat."""
    rng = random.Random(seed)
    return [fields_of(varied_message(seed * 100_000 + number, rng)) for number in range(count)]
