"""Transfer encodings: the result does not depend on how the bytes are cut into pieces."""

from __future__ import annotations

import base64
import binascii
import quopri
import random
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailsync.mail import transfer_encoding
from tests.unit.mail.test_uuencode import uuencoded

BINARY = bytes(range(256)) * 40
TEXT = ("Gr\u00fc\u00dfe, ein langer Satz = viele W\u00f6rter.  \r\n" * 50).encode()


def in_lines(data: bytes, width: int, line_break: bytes) -> bytes:
    return line_break.join(data[start : start + width] for start in range(0, len(data), width))


def in_pieces(data: bytes, encoding: str, dice: random.Random) -> bytes:
    decoder, out, start = transfer_encoding.decoder(encoding), [], 0
    while start < len(data):
        size = dice.choice((1, 2, 3, 7, 100))
        out.append(decoder.feed(data[start : start + size]))
        start += size
    return b"".join([*out, decoder.finish()])


@pytest.mark.parametrize(
    ("encoding", "encoded", "plain"),
    [
        ("base64", base64.encodebytes(BINARY).replace(b"\n", b"\r\n"), BINARY),
        ("BASE64; name=x", base64.b64encode(BINARY), BINARY),
        ("'base64'", base64.urlsafe_b64encode(BINARY), BINARY),
        ("base64", base64.b64encode(BINARY * 10), BINARY * 10),
        ("base64", in_lines(base64.b64encode(BINARY), 75, b"\r\n"), BINARY),
        ("base64", in_lines(base64.b64encode(BINARY), 998, b"!\r\n "), BINARY),
        ("base64", in_lines(base64.b64encode(BINARY), 76, b"\r"), BINARY),
        ("base64", in_lines(base64.b64encode(BINARY), 76, b" \r\n\r\n"), BINARY),
        ("base64", in_lines(base64.b64encode(BINARY), 76, b"=\r\n"), BINARY),
        ("base64", in_lines(base64.b64encode(BINARY[:60]), 4, b" "), BINARY[:60]),
        ("base64", base64.b64encode(bytes(100_000)), bytes(100_000)),
        ("base64", base64.b64encode(b"a") + base64.b64encode(b"bc") + b"\r\n", b"abc"),
        ("base64", b"YWJjZ", b"abc"),
        ("base64", b"YWJjZA", b"abcd"),
        ("quoted-printable", quopri.encodestring(TEXT.replace(b"\r\n", b"\n")).replace(b"\n", b"\r\n"), TEXT),
        ("Quoted-Printable", b"soft=  \r\n break  \r\nend=", b"soft break\r\nend"),
        ("quoted-printable", b"=C3=BC=zz=4", "\u00fc=zz=4".encode()),
        ("8bit", BINARY, BINARY),
        ("binary", BINARY, BINARY),
        ("", BINARY, BINARY),
        ("x-strange", BINARY, BINARY),
    ],
)
def test_decoding_does_not_depend_on_the_pieces(encoding: str, encoded: bytes, plain: bytes) -> None:
    assert transfer_encoding.decode(encoded, encoding) == plain
    for seed in range(20):
        assert in_pieces(encoded, encoding, random.Random(seed)) == plain


def test_an_endless_line_is_decoded_in_pieces() -> None:
    decoder = transfer_encoding.decoder("quoted-printable")
    piece = b"abc=C3=BC =" * 10_000
    out = b"".join(decoder.feed(piece) for _ in range(20))
    rest = decoder.finish()
    assert len(rest) < 200_000
    assert out + rest == transfer_encoding.decode(piece * 20, "quoted-printable")


def test_a_header_names_its_encoding() -> None:
    header = b"Content-Type: text/plain\r\ncontent-transfer-encoding:\r\n Base64 ; x\r\n\r\n"
    assert transfer_encoding.named_in(header) == "base64"
    assert transfer_encoding.named_in(b'Content-Transfer-Encoding: "X-UUE"\r\n') == "x-uue"
    assert transfer_encoding.named_in(b"Subject: none\r\n\r\n") == ""


@pytest.mark.parametrize(
    ("encoding", "encode"),
    [
        ("base64", base64.b64encode),
        ("base64", base64.encodebytes),
        ("quoted-printable", lambda data: binascii.b2a_qp(data, istext=False)),
        ("x-uuencode", uuencoded),
        ("binary", bytes),
    ],
)
@given(data=st.binary(max_size=500), seed=st.integers(0, 2**32))
def test_what_was_encoded_is_decoded_in_any_pieces(
    encoding: str, encode: Callable[[bytes], bytes], data: bytes, seed: int
) -> None:
    assert in_pieces(encode(data), encoding, random.Random(seed)) == data


LINES = st.sampled_from(
    [
        *base64.encodebytes(BINARY[:200]).splitlines(keepends=True), b"SGVsbG8=\r\n", b"Dear all,\n",
        b"Rosa\r", b"\n", b"\r", b"> ", b"=", b"--", b"____", b"\xff", b" ",
        b"A" * 70_000, b"begin 644 x\n", b"end\r\n",
        b"begin-base64 644 x\n", b"====\n", *uuencoded(BINARY[:100]).splitlines(keepends=True),
    ]
)  # fmt: skip


@pytest.mark.parametrize("encoding", ["base64", "x-uuencode", "quoted-printable"])
@given(lines=st.lists(LINES, max_size=30), seed=st.integers(0, 2**32))
def test_any_bytes_decode_to_the_same_in_any_pieces(encoding: str, lines: list[bytes], seed: int) -> None:
    data = b"".join(lines)
    whole, pieces = transfer_encoding.decoder(encoding), transfer_encoding.decoder(encoding)
    cuts = sorted(random.Random(seed).choices(range(len(data) + 1), k=20))
    out = b"".join(pieces.feed(data[a:b]) for a, b in zip([0, *cuts], [*cuts, len(data)], strict=True))
    assert whole.feed(data) + whole.finish() == out + pieces.finish()
    assert whole.fits == pieces.fits
    transfer_encoding.decode_shown(data, encoding)
