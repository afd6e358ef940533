"""What holds for any bytes that a server may send as a message."""

from __future__ import annotations

import io
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mailsync.mail import mime
from mailsync.mail.headers import parse_headers
from mailsync.mail.mime import Parsed
from tests.support import mail_bytes
from tests.unit.growing.measuring import Worst, growth

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


# -- time ---------------------------------------------------------------------------------------------

_PLAIN = b"Content-Type: text/plain\r\n\r\n"
_BASE64 = b"Content-Transfer-Encoding: base64\r\n\r\n"
_OWN = b"Content-Type: multipart/mixed; boundary=b\r\n"
_ALTERNATIVE = b"Content-Type: multipart/alternative; boundary=b\r\n\r\n"
_JAPANESE = b"Content-Type: text/plain; charset=iso-2022-jp\r\n\r\n"

WORST = {
    "uuencoded files": Worst(_PLAIN, b"begin 644 a\r\n#86)C\r\n`\r\nend\r\n"),
    "beginnings of uuencoded files": Worst(_PLAIN, b"begin 644 a\r\n"),
    "a uuencoded file without an end": Worst(_PLAIN + b"begin 644 a\r\n", b"#86)C\r\n"),
    "beginnings with some data": Worst(_PLAIN, b"begin 644 a\r\n#86)C\r\n"),
    "lines that are no base64": Worst(_BASE64, b"never encoded!\r\n"),
    "base64 and other lines by turns": Worst(_BASE64, b"R3LD\r\n-- \r\n"),
    "base64 blocks": Worst(_BASE64, b"R3I=\r\n"),
    "a header without an end": Worst(b"", b"no field\r\n"),
    "blank continuation lines": Worst(b"Content-Type: text/plain\r\n", b" \r\n"),
    "own boundary in the header": Worst(_OWN, b"--b\r\n"),
    "boundaries of multiparts without empty lines": Worst(b"", _OWN + b"--b\r\n"),
    "parts that are only text": Worst(_OWN + b"\r\n", b"--b\r\nx\r\n"),
    "named alternatives": Worst(_ALTERNATIVE, b"--b\r\nContent-Type: text/html; name=a\r\n\r\nx\r\n"),
    "calendars": Worst(_ALTERNATIVE, b"--b\r\nContent-Type: text/calendar\r\n\r\nx\r\n"),
    "continuations of a boundary": Worst(b"Content-Type: multipart/mixed", b"; boundary*0=a"),
    "comments": Worst(b"Content-Type: text/plain", b" (a"),
    "escapes": Worst(_JAPANESE, b"\x1b$B\x1b(B"),
    "vendor rows": Worst(_JAPANESE + b"\x1b$B", b"-!"),
    "bytes that fit no charset": Worst(b"Content-Type: text/plain; charset=utf-8\r\n\r\n", b"\xc3\xbc\xff"),
    "boundaries inside of a text": Worst(_OWN + b"\r\n--b\r\n\r\n", b"--c\r\n--bb\r\n"),
}


@pytest.mark.parametrize("worst", WORST.values(), ids=WORST)
def test_odd_messages_take_linear_time(worst: Worst) -> None:
    measured = growth(_parsed, worst)
    assert measured.is_linear, measured
