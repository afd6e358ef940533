"""The text, HTML and attachments of messages, most of them malformed."""

from __future__ import annotations

import base64
import io
import random
import re
import time
import tracemalloc
from base64 import b64encode, encodebytes

import pytest

from mailsync.mail import mime
from mailsync.mail.mime import Parsed, parse

PLAIN = b"Content-Type: text/plain; charset=utf-8\r\n"
PDF = b'Content-Type: application/pdf; name="a.pdf"\r\nContent-Transfer-Encoding: base64\r\n\r\nQUJD\r\n'


def read(message: bytes, *, truncated: bool = False) -> Parsed:
    return parse(io.BytesIO(message), truncated=truncated)


def multipart(*parts: bytes, kind: str = "mixed", boundary: str = "b") -> bytes:
    mark = b"--" + boundary.encode()
    head = f'Content-Type: multipart/{kind}; boundary="{boundary}"\r\n\r\n'.encode()
    return head + b"".join(mark + b"\r\n" + part + b"\r\n" for part in parts) + mark + b"--\r\n"


# -- well-formed messages ----------------------------------------------------------------------------


def test_an_alternative_gives_text_and_html_beside_an_attachment() -> None:
    body = multipart(
        PLAIN + b"\r\nHello",
        b"Content-Type: text/html\r\n"
        b"Content-Transfer-Encoding: quoted-printable\r\n\r\n<p>Gr=C3=BC=\r\n=C3=9Fe",
        kind="alternative",
        boundary="inner",
    )
    parsed = read(b"Subject: x\r\n" + multipart(body, PDF))
    assert (parsed.text, parsed.html, parsed.warnings) == ("Hello", "<p>Gr\u00fc\u00dfe", ())
    (pdf,) = parsed.attachments
    assert (pdf.part, pdf.filename, pdf.content_type, pdf.is_inline) == (
        "2",
        "a.pdf",
        "application/pdf",
        False,
    )


def test_parts_are_numbered_as_in_imap() -> None:
    inner = multipart(PLAIN + b"\r\ntext", PDF, boundary="i", kind="related")
    parsed = read(multipart(inner, PDF, b"Content-Type: message/rfc822\r\n\r\n" + inner))
    assert [(part.part, part.content_type) for part in parsed.attachments] == [
        ("1.2", "application/pdf"),
        ("2", "application/pdf"),
        ("3", "message/rfc822"),
    ]
    assert [part.part for part in read(PDF).attachments] == ["1"]


def test_texts_around_an_image_are_joined_but_not_alternatives_of_one_type() -> None:
    image = b"Content-Type: image/png\r\nContent-ID: <i@x>\r\n\r\nx"
    assert read(multipart(PLAIN + b"\r\none", image, PLAIN + b"\r\ntwo")).text == "one\ntwo"
    assert read(multipart(PLAIN + b"\r\none", PLAIN + b"\r\nbetter", kind="alternative")).text == "better"
    assert read(multipart(PLAIN + b"\r\none", PLAIN + b"\r\n", kind="alternative")).text == "one"


def leaf(kind: bytes, content: bytes) -> bytes:
    return b"Content-Type: text/" + kind + b"\r\n\r\n" + content


def test_the_last_alternative_replaces_one_inside_of_an_earlier_alternative() -> None:
    inner = multipart(leaf(b"plain", b"plain"), leaf(b"html", b"inner"), kind="alternative", boundary="i")
    parsed = read(multipart(inner, leaf(b"html", b"outer"), kind="alternative"))
    assert parsed[:2] == ("plain", "outer")
    related = multipart(leaf(b"html", b"inner"), kind="related", boundary="i")
    parsed = read(multipart(leaf(b"plain", b"plain"), related, leaf(b"html", b" "), kind="alternative"))
    assert parsed[:2] == ("plain", "inner")
    deep = multipart(inner, kind="related", boundary="r")
    parsed = read(multipart(leaf(b"plain", b"first"), leaf(b"html", b"x"), deep, kind="alternative"))
    assert parsed[:2] == ("plain", "inner")


def test_a_footer_inside_of_an_alternative_replaces_no_text() -> None:
    mixed = multipart(leaf(b"html", b"html"), leaf(b"plain", b"footer"), boundary="i")
    parsed = read(multipart(leaf(b"plain", b"plain"), mixed, kind="alternative"))
    assert parsed[:2] == ("plain\nfooter", "html")


def test_named_or_attached_text_counts_only_if_there_is_no_other() -> None:
    attached = b"Content-Disposition: attachment\r\n\r\nnotes"
    named = b"Content-Type: text/plain; name=log.txt\r\n\r\nlog"
    parsed = read(multipart(PLAIN + b"\r\nown", attached, named))
    assert (parsed.text, [part.part for part in parsed.attachments]) == ("own", ["2", "3"])
    alone = read(named)
    assert (alone.text, alone.attachments) == ("log", ())


def test_an_inline_image_and_a_signature() -> None:
    image = b"Content-Type: image/png\r\nContent-ID: <i@x>\r\n\r\nx"
    signature = b"Content-Type: application/pgp-signature; name=s.asc\r\n\r\nx"
    parsed = read(multipart(PLAIN + b"\r\nt", image, signature, kind="related"))
    assert [(part.content_id, part.is_inline) for part in parsed.attachments] == [("i@x", True)]


# -- malformed messages ------------------------------------------------------------------------------

BROKEN: dict[str, tuple[bytes, str | None, str | None, tuple[str, ...]]] = {
    "nothing at all": (b"", "", None, ()),
    "only a header": (b"Subject: x\r\n", "", None, ()),
    "only line ends": (b"\r\n\r\n\r\n", "", None, ()),
    "bare line feeds": (b"Subject: x\n\nHello\nyou\n", "Hello\nyou\n", None, ()),
    "no part to show": (PDF, None, None, ("no_text",)),
    "no empty line after the header": (b"A: x\r\nno colon\r\n", "no colon\n", None, ("header",)),
    "an mbox line first": (b"From a@b Mon\r\n" + PLAIN + b"\r\nx", "x", None, ()),
    "an unknown charset": (
        b"Content-Type: text/plain; charset=x-no\r\n\r\nG\xfc", "G\u00fc", None, ("charset",),
    ),
    "a charset that does not fit": (PLAIN + b"\r\nG\xfc!", "G\u00fc!", None, ("charset",)),
    "8 bit that is called ascii": (
        b"Content-Type: text/plain; charset=us-ascii\r\n\r\nG\xfc", "G\u00fc", None, (),
    ),
    "no charset, utf-8": (b"\r\nGr\xc3\xbc\xc3\x9fe", "Gr\u00fc\u00dfe", None, ()),
    "utf-7": (b"Content-Type: text/plain; charset=utf-7\r\n\r\nHi +2AA-", None, None, ()),
    "a charset that only HTML names": (
        b'Content-Type: text/html\r\n\r\n<meta charset="iso-8859-2"><b>\xb1</b>',
        None, '<meta charset="iso-8859-2"><b>\u0105</b>', (),
    ),
    "an unknown transfer encoding": (
        b"Content-Transfer-Encoding: x-uue\r\n\r\nabc", "abc", None, ("transfer_encoding",)
    ),
    "base64 that is none": (
        b"Content-Transfer-Encoding: base64\r\n\r\n100 %!", "100 %!", None, ("transfer_encoding",)
    ),
    "a content type that is none": (b"Content-Type: text\r\n\r\nabc", "abc", None, ()),
    "a NUL": (b"\r\na\0b", "a\ufffdb", None, ()),
    "a NUL in a boundary": (
        b'Content-Type: multipart/mixed; boundary="a\0b"\r\n\r\n--a\0b\r\n\r\nx\r\n--a\0b--', "x", None, ()
    ),
    "no boundary": (
        b"Content-Type: multipart/mixed\r\n\r\n--x\r\n\r\nabc", "--x\n\nabc", None, ("missing_boundary",),
    ),
    "another boundary": (
        b"Content-Type: multipart/mixed; boundary=a\r\n\r\nabc\r\n--b\r\n",
        "abc\n--b\n", None, ("missing_boundary", "unterminated"),
    ),
    "no last boundary": (
        b"Content-Type: multipart/mixed; boundary=a\r\n\r\n--a\r\n\r\nabc", "abc", None, ("unterminated",)
    ),
    "an inner multipart without its end": (
        multipart(b"Content-Type: multipart/mixed; boundary=i\r\n\r\n--i\r\n\r\nabc", PLAIN + b"\r\ndef"),
        "abc\ndef", None, ("unterminated",),
    ),
    "a boundary before the header's end": (
        multipart(b"Content-Type: text/plain", b"\r\nx"), "x", None, ("header",),
    ),
    "the same boundary inside": (multipart(multipart(b"\r\nx"), b"\r\ny"), "x\ny", None, ("unterminated",)),
    "a text that is neither plain nor HTML": (b"Content-Type: text/calendar\r\n\r\nBEGIN", "BEGIN", None, ()),
    "a delivery report": (
        multipart(b"\r\nfailed", b"Content-Type: message/delivery-status\r\n\r\nStatus: 5", kind="report"),
        "failed", None, (),
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", BROKEN)
def test_a_malformed_message_gives_what_it_has(case: str) -> None:
    message, text, html, warnings = BROKEN[case]
    parsed = read(message)
    if case == "utf-7":
        # a lone surrogate, which no database accepts
        assert parsed.text is not None
        assert "\ud800" not in parsed.text
        return
    assert (parsed.text, parsed.html, parsed.warnings) == (text, html, warnings)
    assert "truncated" in read(message, truncated=True).warnings


def test_five_hundred_nested_parts() -> None:
    message = b"\r\ninnermost"
    for depth in range(500):
        message = multipart(message, boundary=f"b{depth}")
    parsed = read(message)
    assert "too_deep" in parsed.warnings
    assert "no_text" in parsed.warnings


@pytest.mark.parametrize("boundary", ["b", "'b'"])
def test_single_quotes_around_a_boundary_may_belong_to_it(boundary: str) -> None:
    message = multipart(PLAIN + b"\r\nx", PDF, boundary=boundary).replace(b"\"'b'\"", b"'b'")
    parsed = read(message.replace(b'"b"', b"'b'"))
    assert (parsed.text, len(parsed.attachments), parsed.warnings) == ("x", 1, ())


@pytest.mark.parametrize("written", ['\\"b\\"', '""b""', "\u201cb\u201d", "\"'b'\"", '" b"', "\\'b\\'"])
def test_quotes_of_any_kind_around_a_boundary_are_none_of_it(written: str) -> None:
    message = multipart(PLAIN + b"\r\nx", PDF).replace(b'"b"', written.encode())
    parsed = read(message)
    assert (parsed.text, len(parsed.attachments), parsed.warnings) == ("x", 1, ())


def test_a_multipart_that_is_left_out_is_no_attachment() -> None:
    message = multipart(PLAIN + b"\r\nx")
    for depth in range(150):
        message = multipart(PLAIN + b"\r\ny", message, boundary=f"b{depth}")
    assert read(message).attachments == ()


def test_text_of_last_resort_makes_room_for_the_messages_own_text() -> None:
    log = b"Content-Disposition: attachment; filename=log.txt\r\n\r\n" + b"line\n" * (mime.MOST_TEXT // 4)
    parsed = read(multipart(log, PLAIN + b"\r\nown"))
    assert (parsed.text, parsed.warnings) == ("own", ())
    assert [part.filename for part in parsed.attachments] == ["log.txt"]


def test_a_hundred_thousand_parts() -> None:
    parsed = read(multipart(*[b"\r\nx"] * 100_000))
    assert parsed.warnings == ("too_many_parts",)
    assert parsed.text == "\n".join("x" * mime.MOST_PARTS)


def test_huge_headers_lose_no_text_and_take_no_memory() -> None:
    huge = (
        b"Content-Type: text/plain;\r\n" + b" x=y;\r\n" * 100_000 + b"X-Long: " + b"z" * 5_000_000 + b"\r\n"
    )
    message = io.BytesIO(huge + b"\r\nabc")
    tracemalloc.start()
    try:
        parsed = parse(message)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert (parsed.text, parsed.warnings) == ("abc", ())
    assert peak < 2_000_000


def test_attachments_take_no_memory_and_little_time() -> None:
    big = base64.encodebytes(bytes(8_000_000)).replace(b"\n", b"\r\n")
    pdf = b"Content-Type: application/pdf\r\nContent-Transfer-Encoding: base64\r\n\r\n" + big
    message = io.BytesIO(multipart(PLAIN + b"\r\nHello", pdf))
    began = time.process_time()
    parsed = parse(message)
    assert time.process_time() - began < 5
    assert parsed.text == "Hello"
    assert parsed.attachments[0].size_bytes == len(big)
    message.seek(0)
    tracemalloc.start()
    try:
        parse(message)
        assert tracemalloc.get_traced_memory()[1] < 2_000_000
    finally:
        tracemalloc.stop()


def test_too_much_text_is_cut() -> None:
    parsed = read(PLAIN + b"\r\n" + b"word " * 2_000_000)
    assert parsed.warnings == ("text_cut",)
    assert parsed.text is not None
    assert len(parsed.text) == mime.MOST_TEXT


@pytest.mark.parametrize(
    "hostile",
    [
        b"Content-Type: text/plain" + b";a" * 1_000_000 + b"\r\n\r\nx",
        b'Content-Type: text/plain; a="' + b"\\" * 1_000_000 + b"\r\n\r\nx",
        b"Content-Type: multipart/mixed; boundary=a\r\n\r\n" + b"--a \r\n" * 200_000,
        b"\r\n" + b" " * 3_000_000,
        b"Content-Transfer-Encoding: quoted-printable\r\n\r\n" + b" " * 3_000_000 + b"x",
        b"Content-Transfer-Encoding: base64\r\n\r\n" + b"A=" * 1_500_000,
        b"Content-Type: text/html\r\n\r\n" + b"<meta " * 500_000,
        b"Content-Type: multipart/mixed; boundary=a\r\n\r\n" + b"--a--\r\n" * 200_000,
    ],
)
def test_hostile_messages_take_linear_time(hostile: bytes) -> None:
    began = time.process_time()
    read(hostile)
    assert time.process_time() - began < 5


def test_random_bytes_never_raise() -> None:
    dice = random.Random(14)
    whole = multipart(multipart(PLAIN + b"\r\nabc", PDF, boundary="i"), PDF, b"\r\n=C3")
    words = [
        b"--b",
        b"--i--",
        b"\r\n",
        b"Content-Type:",
        b"multipart/mixed; boundary=",
        b"\0",
        b"\xff",
        b'"',
        b"=",
    ]
    for _ in range(2000):
        data = bytearray(whole)
        for _ in range(dice.randrange(1, 8)):
            start = dice.randrange(len(data))
            data[start : start + dice.randrange(10)] = dice.choice(words)
        parsed = read(bytes(data[: dice.randrange(1, len(data))]))
        for text in (parsed.text, parsed.html, *(part.filename for part in parsed.attachments)):
            assert text is None or "\0" not in text


_ENCODED = {
    "base64": b64encode(bytes(range(256)) * 200),
    "base64 in lines": encodebytes(bytes(range(256)) * 200),
    "base64 in lines of 75": b"\r\n".join(re.findall(b".{1,75}", b64encode(bytes(range(256)) * 200))),
    "short base64": b"AAEC\r\n",
    "base64 without padding": b"AAECAw",
}


@pytest.mark.parametrize("truncated", [False, True])
@pytest.mark.parametrize("content", _ENCODED.values(), ids=list(_ENCODED))
def test_a_file_in_base64_causes_no_warning(content: bytes, truncated: bool) -> None:
    message = _FILE % (b"base64", content)
    expected = ("no_text", "truncated") if truncated else ("no_text",)
    assert read(message, truncated=truncated).warnings == expected


@pytest.mark.parametrize("count", [1, 1_000])
@pytest.mark.parametrize("encoding", [b"base64", b"x-uuencode"])
def test_a_file_that_was_never_encoded_causes_a_warning(encoding: bytes, count: int) -> None:
    parsed = read(_FILE % (encoding, b"This is not encoded, at all!\r\n" * count))
    assert parsed.warnings == ("no_text", "transfer_encoding")
    assert [file.filename for file in parsed.attachments] == ["a.bin"]


@pytest.mark.parametrize("lines", [1, 1_000])
def test_a_uuencoded_file_causes_no_warning(lines: int) -> None:
    content = b"begin 644 a.bin\r\n" + b"%:&5L;&\\\r\n" * lines + b"`\r\nend\r\n"
    assert read(_FILE % (b"uuencode", content)).warnings == ("no_text",)


_FILE = (
    b"Content-Type: application/pdf; name=a.bin\r\nContent-Disposition: attachment\r\n"
    b"Content-Transfer-Encoding: %s\r\n\r\n%s"
)
