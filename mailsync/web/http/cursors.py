"""Cursors: a position in one list, as text that a client hands back as it is.

The text is URL-safe, 36 characters long, and holds a version, two numbers (the sort key of the row it stands
behind) and a check of both together with the list they are of: its name, its account, its filters. What
was changed on the way, or belongs to another list, is refused, and since a cursor only says where to begin,
none could show rows that its bearer may not list anyway. There is no secret in it and no state behind it.

Consumers keep the cursors of the feed for months, so **they stay valid**: over restarts, releases and changes
of ``API_TOKEN``. Version 1 is read for ever; whoever wants another layout gives it another number.
"""

from __future__ import annotations

import hashlib
import json
import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from datetime import UTC, datetime, timedelta

from mailsync.web.http.problems import BadRequest, FieldError

VERSION = 1

# 1 + 9 + 9 + 8 bytes: 36 characters without padding, so that no two texts mean the same
_NUMBER = 9
_CHECK = 8
_FOREIGN = "it is no cursor of this list with these filters; give a next_cursor as it came, or none"
_TEXT = re.compile(r"[A-Za-z0-9_-]{36}", re.ASCII)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


class Cursors:
    """The cursors of one list: its name, and in `scope` what else tells it from other lists.

    `scope` is account and filters, in JSON's types; `parameter` is the query parameter that brings a
    cursor, for errors.
    """

    def __init__(self, name: str, *scope: object, parameter: str = "cursor") -> None:
        self._list = json.dumps([name, *scope], ensure_ascii=False, separators=(",", ":")).encode()
        self._parameter = parameter

    def write(self, first: int, second: int) -> str:
        """The cursor of a position: a number of 64 bits, signed or not, and one from 0 to 2⁶³ − 1."""
        numbers = (number.to_bytes(_NUMBER, "big", signed=True) for number in (first, second))
        held = bytes([VERSION]) + b"".join(numbers)
        return urlsafe_b64encode(held + self._check(held)).decode()

    def read(self, text: str) -> tuple[int, int]:
        """The position; raises BadRequest (422) for what is no cursor of this list."""
        raw = urlsafe_b64decode(text) if _TEXT.fullmatch(text) else b""
        held, check = raw[:-_CHECK], raw[-_CHECK:]
        if not held or held[0] != VERSION or check != self._check(held):
            raise self.refusal(_FOREIGN)
        first = int.from_bytes(held[1 : 1 + _NUMBER], "big", signed=True)
        second = int.from_bytes(held[1 + _NUMBER :], "big", signed=True)
        # anybody can work a check out; what Postgres then gets must still be a number that it takes
        if not (-(1 << 63) <= first < 1 << 64 and 0 <= second < 1 << 63):
            raise self.refusal(_FOREIGN)
        return first, second

    def write_moment(self, at: datetime, row_id: int) -> str:
        """The cursor of a row that is sorted by a time, to the microsecond, and its id."""
        return self.write((at - _EPOCH) // _MICROSECOND, row_id)

    def read_moment(self, text: str) -> tuple[datetime, int]:
        """As :meth:`read`, of :meth:`write_moment`."""
        microseconds, row_id = self.read(text)
        try:
            return _EPOCH + timedelta(microseconds=microseconds), row_id
        except OverflowError:
            raise self.refusal(_FOREIGN) from None

    def refusal(self, reason: str) -> BadRequest:
        """The error (422) that tells why a cursor is not taken."""
        return BadRequest(422, [FieldError(detail=reason, parameter=self._parameter)])

    def _check(self, held: bytes) -> bytes:
        return hashlib.sha256(b"mailsync cursor\0" + self._list + b"\0" + held).digest()[:_CHECK]
