"""Hypothesis strategies of bytes that look like mail: well-made, broken, cut and joined."""

from __future__ import annotations

from hypothesis import strategies as st

from tests.support.mime_messages import generated

_BOUNDARIES = ("b", "b0", "b1", "=_x", "b b", "b--")
_TYPES = (
    "text/plain", "text/html", "TEXT/HTML", "text", "html", "text/calendar", "text/csv", "image/png",
    "application/octet-stream", "message/rfc822", "message/delivery-status", "multipart/mixed",
    "multipart/alternative", "multipart/related", "multipart/digest", "multipart", "multipart/*",
    '"text/html"', "???", "", "text/html (a comment)", "application/pgp-signature", "text/x-amp-html",
)  # fmt: skip
_PARAMETERS = (
    "charset=utf-8", 'charset="koi8-r"', "charset=x-no", "charset=iso-2022-jp", "charset*=us-ascii''utf-16",
    "charset=utf-7", 'name="a.pdf"', "name*=utf-8''%C3%9C.pdf", "filename*0=a; filename*1=b",
    "filename=a b.pdf", 'filename="=?utf-8?B?w5w=?="', 'filename="', "filename*=utf-8''%ED%A0%80",
    "filename*9*=x", "a", "=", "(", "boundary=b0", "boundary*=us-ascii''b0",
    *(f'boundary="{boundary}"' for boundary in _BOUNDARIES), "boundary=",
)  # fmt: skip
_ENCODINGS = (
    "7bit", "8bit", "base64", "BASE64", '"base64"', "quoted-printable", "x-uuencode", "uue", "binary", "x",
    "",
)  # fmt: skip
_SEPARATORS = ("; ", ";", " ", ", ", ";\r\n ", "\r\n\t", ";;", " ;")
_LINE_ENDS = ("\r\n", "\r\n", "\r\n", "\n", "\r")

_texts = st.sampled_from(
    (
        b"Hello", "Grüße".encode(), b"Gr\xfc\xdfe", b"\x1b$B2q5D\x1b(B", b"R3LDvMOfZQ==", b"R3LD", b"=C3=BC",
        b"=", b"begin 644 a.txt", b"#86)C", b"`", b"end", b"--", b"-- ", b"<meta charset=koi8-r>",
        b"From x Mon", b"\0", b"\xed\xa0\x80", b"+2AA-", b"\xff\xfeG\0", b" ", b"\t", b"", b"a: b", b":",
        b"x" * 300,
    )
)  # fmt: skip
_line_ends = st.sampled_from([end.encode() for end in _LINE_ENDS])


@st.composite
def _content_type(draw: st.DrawFn) -> bytes:
    pieces = [draw(st.sampled_from(_TYPES))]
    for parameter in draw(st.lists(st.sampled_from(_PARAMETERS), max_size=3)):
        pieces += [draw(st.sampled_from(_SEPARATORS)), parameter]
    return "".join(pieces).encode()


def _field(name: str, values: st.SearchStrategy[bytes]) -> st.SearchStrategy[bytes]:
    return st.tuples(st.sampled_from((": ", ":", " : ", ":\r\n ")), values).map(
        lambda pair: name.encode() + pair[0].encode() + pair[1]
    )


_field_lines = st.one_of(
    _field("Content-Type", _content_type()),
    _field("Content-Transfer-Encoding", st.sampled_from(_ENCODINGS).map(str.encode)),
    _field("Content-Disposition", _content_type().map(lambda value: b"attachment; " + value)),
    _field("Content-ID", st.sampled_from((b"<a@b>", b"<", b"a"))),
    _field("Subject", _texts),
)
_boundary_lines = st.sampled_from(
    [f"--{boundary}{end}".encode() for boundary in _BOUNDARIES for end in ("", "--", " ")]
)

lines = st.one_of(_field_lines, _boundary_lines, _texts, st.just(b""), st.binary(max_size=20))
"""One line without its end."""

header_lines = st.one_of(
    st.sampled_from(
        (b"X-Known: yes", b"To: a@b", b" ", b"\t \t", b" indented", b"--b", b">From a", b"Name of x: y")
    ),
    _texts.filter(lambda line: line.strip(b"\0 \t")),
    st.binary(min_size=1, max_size=20).filter(lambda line: not set(line) & {10, 13}),
)
"""One line that may stand in a header, and is neither empty nor a field of the content."""


@st.composite
def _pieced(draw: st.DrawFn) -> bytes:
    drawn = draw(st.lists(lines, max_size=25))
    end = draw(_line_ends)
    odd = draw(st.booleans())
    return b"".join(line + (draw(_line_ends) if odd else end) for line in drawn)


@st.composite
def _cut_and_joined(draw: st.DrawFn) -> bytes:
    raw = generated(draw(st.integers(0, 10_000))).raw
    start = draw(st.integers(0, len(raw)))
    stop = draw(st.integers(start, len(raw)))
    return (
        raw[:start]
        + draw(st.sampled_from((b"", raw[start:stop] * 2, b"\0", b"\r\n", b"\r\n\r\n")))
        + raw[stop:]
    )


@st.composite
def _nested(draw: st.DrawFn) -> bytes:
    parts = draw(st.lists(_pieced(), min_size=1, max_size=4))
    for boundary in draw(st.lists(st.sampled_from(_BOUNDARIES), min_size=1, max_size=3)):
        kind = draw(st.sampled_from(("mixed", "alternative", "related", "digest", "report", "*")))
        mark = f"\r\n--{boundary}\r\n".encode()
        whole = mark + mark.join(parts) + f"\r\n--{boundary}--\r\n".encode()
        parts = [f'Content-Type: multipart/{kind}; boundary="{boundary}"\r\n'.encode() + whole, *parts[:1]]
    return parts[0]


messages = st.one_of(st.binary(max_size=200), _pieced(), _nested(), _cut_and_joined())
"""Whole messages, most of them malformed."""
