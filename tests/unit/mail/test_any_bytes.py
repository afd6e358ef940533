"""What holds for any bytes that a server may send as a message."""

from __future__ import annotations

import io
import re

from hypothesis import given, settings
from hypothesis import strategies as st

from mailsync.mail import mime
from mailsync.mail.headers import parse_headers
from mailsync.mail.mime import Parsed
from tests.support import mail_bytes

# what the API accepts as the number of a part
_PART = re.compile(r"[1-9]\d{0,4}(\.[1-9]\d{0,4})*")
_SURROGATE_OR_NUL = re.compile("[\0\ud800-\udfff]")

_more = settings(max_examples=200)


class _Chunked(io.BytesIO):
    """A file whose ``readline`` returns at most `size` bytes of a line."""

    def __init__(self, raw: bytes, size: int) -> None:
        super().__init__(raw)
        self._size = size

    def readline(self, limit: int | None = -1, /) -> bytes:
        return super().readline(min(limit or -1, self._size) if limit and limit > 0 else self._size)


def _parsed(raw: bytes, *, truncated: bool = False) -> Parsed:
    return mime.parse(io.BytesIO(raw), truncated=truncated)


@_more
@given(mail_bytes.messages)
def test_any_bytes_give_values_that_a_database_accepts(raw: bytes) -> None:
    parsed = _parsed(raw)
    texts = [parsed.text, parsed.html]
    for attachment in parsed.attachments:
        texts += [attachment.filename, attachment.content_type, attachment.content_id]
        assert attachment.size_bytes is not None and attachment.size_bytes >= 0
        assert _PART.fullmatch(attachment.part)
    assert not any(_SURROGATE_OR_NUL.search(text) for text in texts if text)
    numbers = [attachment.part for attachment in parsed.attachments]
    assert len(set(numbers)) == len(numbers)
    assert list(parsed.warnings) == sorted(set(parsed.warnings))
    assert ("no_text" in parsed.warnings) == (parsed.text is None and parsed.html is None)


@_more
@given(mail_bytes.messages, st.data())
def test_the_beginning_of_a_message_is_read_too(raw: bytes, data: st.DataObject) -> None:
    parsed = _parsed(raw[: data.draw(st.integers(0, len(raw)))], truncated=True)
    assert "truncated" in parsed.warnings


@_more
@given(
    mail_bytes.messages,
    st.sampled_from((b"x" * 9000, b"R3LD" * 3000, b"=C3" * 3000)),
    st.integers(4096, 9000),
)
def test_long_lines_may_come_in_pieces_of_any_size(raw: bytes, long: bytes, size: int) -> None:
    # boundaries and the names of fields come in one piece, because they are shorter
    raw = raw.replace(b"Hello", long).replace(b'"a.pdf"', b'"' + long + b'"')
    assert mime.parse(_Chunked(raw, size)) == _parsed(raw)


@_more
@given(st.lists(mail_bytes.header_lines, max_size=8), st.lists(mail_bytes.header_lines, max_size=8))
def test_rows_and_bodies_see_the_same_fields(before: list[bytes], behind: list[bytes]) -> None:
    # the line between ends the type, which another line might continue
    fields = [b"Subject: seen", b"Content-Type: text/html", b"X-Between: 1"]
    block = b"\r\n".join([*before, *fields, *behind, b"", b"body"])
    in_row = parse_headers(block).subject is not None
    in_body = _parsed(block).html is not None
    assert in_row == in_body
    assert in_row, "a line that is no field costs itself"
