"""Header blocks for tests: whole messages cut down to the answer of ``BODY[HEADER.FIELDS (...)]``."""

from __future__ import annotations

import random
import re

from mailsync.mail.headers import HEADER_FIELDS
from tests.support.bulk_messages import varied_message

_FETCHED = {name.lower().encode() for name in HEADER_FIELDS}
_FIELD = re.compile(rb"[^\r\n]+\r\n(?:[ \t][^\r\n]*\r\n)*")


def fields_of(raw: bytes) -> bytes:
    """Return the fields that mailsync fetches, as a server would."""
    head = raw.partition(b"\r\n\r\n")[0] + b"\r\n"
    fields = [field for field in _FIELD.findall(head) if field.partition(b":")[0].lower() in _FETCHED]
    return b"".join(fields) + b"\r\n"


def varied_blocks(count: int, seed: int) -> list[bytes]:
    """Return the blocks of `count` generated messages whose addresses seldom repeat."""
    rng = random.Random(seed)
    return [fields_of(varied_message(seed * 100_000 + number, rng)) for number in range(count)]
