"""Cursors: a position in one list, as opaque text that a client sends back unchanged.

The text is URL-safe and 36 characters long. It contains a version, two numbers (the sort key of the last row
that the client has seen) and a checksum over them and the list: its name, account and filters. A cursor that
was altered, or that belongs to another list, is refused. A cursor only says where a page begins, so it can
never reveal rows that its bearer could not list anyway; it holds no secret and needs no state.

Consumers keep cursors of the feed for months, so **cursors stay valid** across restarts, releases and changes
of ``API_TOKEN``. Never drop support for version 1; give a new layout a new version.
"""

from __future__ import annotations

import hashlib
import json
import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from datetime import UTC, datetime, timedelta

from mailsync.web.http.problems import BadRequest, FieldError

VERSION = 1

# 1 + 9 + 9 + 8 bytes are 36 characters without padding, so no two texts mean the same position
_NUMBER = 9
_CHECKSUM = 8
_FOREIGN = "not a cursor of this list with these filters; send a next_cursor unchanged, or leave it out"
_TEXT = re.compile(r"[A-Za-z0-9_-]{36}", re.ASCII)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


class Cursors:
    """The cursors of the list `name`, narrowed down by `scope`: account and filters, as JSON types.

    `parameter` is the query parameter that carries the cursor; errors name it.
    """

    def __init__(self, name: str, *scope: object, parameter: str = "cursor") -> None:
        self._list = json.dumps([name, *scope], ensure_ascii=False, separators=(",", ":")).encode()
        self._parameter = parameter

    def write(self, first: int, second: int) -> str:
        """The cursor for a position: `first` from −2⁶³ to 2⁶⁴ − 1, `second` from 0 to 2⁶³ − 1."""
        numbers = (number.to_bytes(_NUMBER, "big", signed=True) for number in (first, second))
        payload = bytes([VERSION]) + b"".join(numbers)
        return urlsafe_b64encode(payload + self._checksum(payload)).decode()

    def read(self, text: str) -> tuple[int, int]:
        """The position of a cursor. Raises BadRequest (422) unless it is a cursor of this list."""
        raw = urlsafe_b64decode(text) if _TEXT.fullmatch(text) else b""
        payload, checksum = raw[:-_CHECKSUM], raw[-_CHECKSUM:]
        if not payload or payload[0] != VERSION or checksum != self._checksum(payload):
            raise self.refusal(_FOREIGN)
        first = int.from_bytes(payload[1 : 1 + _NUMBER], "big", signed=True)
        second = int.from_bytes(payload[1 + _NUMBER :], "big", signed=True)
        # anybody can compute the checksum, so the numbers may still be too large for Postgres
        if not (-(1 << 63) <= first < 1 << 64 and 0 <= second < 1 << 63):
            raise self.refusal(_FOREIGN)
        return first, second

    def write_moment(self, at: datetime, row_id: int) -> str:
        """The cursor for a row in a list sorted by a time, in microseconds, and the row's id."""
        return self.write((at - _EPOCH) // _MICROSECOND, row_id)

    def read_moment(self, text: str) -> tuple[datetime, int]:
        """The time and id in a cursor by :meth:`write_moment`; raises BadRequest as :meth:`read` does."""
        microseconds, row_id = self.read(text)
        try:
            return _EPOCH + timedelta(microseconds=microseconds), row_id
        except OverflowError:
            raise self.refusal(_FOREIGN) from None

    def refusal(self, reason: str) -> BadRequest:
        """The error (422) that explains why a cursor is refused."""
        return BadRequest(422, [FieldError(detail=reason, parameter=self._parameter)])

    def _checksum(self, payload: bytes) -> bytes:
        return hashlib.sha256(b"mailsync cursor\0" + self._list + b"\0" + payload).digest()[:_CHECKSUM]
