"""Transfer encodings: the result does not depend on how the bytes are cut into pieces."""

from __future__ import annotations

import base64
import quopri
import random

import pytest

from mailsync.mail import transfer_encoding

BINARY = bytes(range(256)) * 40
TEXT = ("Gr\u00fc\u00dfe, ein langer Satz = viele W\u00f6rter.  \r\n" * 50).encode()


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
        ("base64", base64.b64encode(b"a") + base64.b64encode(b"bc") + b"\r\n", b"abc"),
        ("base64", b"Y*W-J!j\r\n", b"abc"),
        ("base64", b"YWJjZ", b"abc"),
        ("base64", b"YWJjZA", b"abcd"),
        ("base64", b"=====", b""),
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
    assert transfer_encoding.named_in(header) == "Base64"
    assert transfer_encoding.named_in(b"Subject: none\r\n\r\n") == ""
