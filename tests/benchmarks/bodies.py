"""Bodies of well-made mail: ours beside the standard library's, on the same messages."""

from __future__ import annotations

import base64
import io
import quopri
import random
import time
from collections.abc import Callable, Iterable
from email import message_from_bytes, policy
from email.message import EmailMessage

from mailsync.mail import mime
from tests.benchmarks.bench import table
from tests.support.bulk_messages import varied_message

_WORDS = (
    "delivery Angebot sensor Rechnung meeting Prüfung results réunion order plan für und the a – 5 €".split()
)
_LATIN = [word for word in _WORDS if word not in ("–", "€")]
_JAPANESE = "会議 は 十時 から です よろしく お願い します plan results".split()
_SHORT_HEAD = (
    b"From: Ida Roth <ida@example.org>",
    b"To: bo@example.com",
    b"Subject: Tomorrow",
    b"Date: Tue, 5 Mar 2024 09:15:00 +0100",
    b"Message-ID: <1.a@example.org>",
)
_ATTACHMENT_BYTES = 1024 * 1024

_TEXT = '("text" "{0}" ("charset" "utf-8") NIL NIL "quoted-printable" {n} 3 NIL NIL NIL NIL)'
_PLAIN, _PAGE = (_TEXT.replace("{0}", subtype) for subtype in ("plain", "html"))
_FILE = (
    '("application" "pdf" ("name" "plan {n}.pdf") NIL NIL "base64" {n} NIL'
    ' ("attachment" ("filename" "plan {n}.pdf")) NIL NIL)'
)
_IMAGE = '("image" "png" ("name" "logo.png") "<{n}@a>" NIL "base64" {n} NIL ("inline" NIL) NIL NIL)'
_BOTH = f'({_PLAIN}{_PAGE} "alternative" ("boundary" "b{{n}}") NIL NIL NIL)'
_STRUCTURES = (
    _PLAIN,
    _PAGE,
    _BOTH,
    f'({_PLAIN}{_FILE} "mixed" ("boundary" "m{{n}}") NIL NIL NIL)',
    f'({_BOTH}{_FILE} "mixed" ("boundary" "m{{n}}") NIL NIL NIL)',
    f'({_PLAIN}({_PAGE}{_IMAGE} "related" ("boundary" "r{{n}}") NIL NIL NIL) "alternative" NIL NIL NIL NIL)',
)


def corpus(count: int, seed: int = 1) -> dict[str, list[bytes]]:
    """Return `count` messages of each kind, and a twentieth as many with an attachment of 1 MB."""
    rng = random.Random(seed)

    def messages(content: Callable[[random.Random], bytes], number: int = count) -> list[bytes]:
        return [_head(n, rng) + content(rng) for n in range(number)]

    return {
        "plain": messages(_plain),
        "quoted-printable": messages(_quoted_printable),
        "base64": messages(_base64),
        "alternative": messages(_alternative),
        "short": [b"\r\n".join(_SHORT_HEAD) + b"\r\n" + _plain_short(rng) for _ in range(count)],
        "ISO-8859-1": messages(lambda rng: _in_charset("iso-8859-1", _LATIN, rng)),
        "ISO-2022-JP": messages(lambda rng: _in_charset("iso-2022-jp", _JAPANESE, rng)),
        "attachment of 1 MB": messages(_with_attachment, max(1, count // 20)),
    }


def structures(count: int, seed: int = 1) -> list[bytes]:
    """Return BODYSTRUCTUREs of ordinary messages, whose names and numbers seldom repeat."""
    rng = random.Random(seed)
    return [rng.choice(_STRUCTURES).replace("{n}", str(rng.randrange(10**6))).encode() for _ in range(count)]


def run(count: int = 1000) -> None:
    """Print messages and megabytes per second of CPU time, and the ratio."""
    rows = []
    for name, messages in corpus(count).items():
        ours, theirs = _seconds(by_us, messages), _seconds(by_stdlib, messages)
        megabytes = sum(map(len, messages)) / 1e6
        rows.append(
            [name, *_rates(len(messages), megabytes, ours), *_rates(len(messages), megabytes, theirs)]
        )
        rows[-1].append(f"{theirs / ours:.1f}")
    heads = ("bodies", "mailsync", "MB/s", "standard library", "MB/s", "ratio")
    table("Bodies: text, HTML and the list of attachments, one process", heads, rows)


def by_us(raw: bytes) -> object:
    """Read a message by mailsync."""
    return mime.parse(io.BytesIO(raw))


def by_stdlib(raw: bytes) -> object:
    """Read the same of a message by the standard library."""
    message = message_from_bytes(raw, policy=policy.default)
    assert isinstance(message, EmailMessage)
    bodies = [message.get_body((kind,)) for kind in ("plain", "html")]
    texts = [None if body is None else body.get_content() for body in bodies]
    return texts, [(part.get_content_type(), part.get_filename()) for part in message.iter_attachments()]


def _seconds(read: Callable[[bytes], object], messages: Iterable[bytes]) -> float:
    began = time.process_time()
    for raw in messages:
        read(raw)
    return time.process_time() - began


def _rates(count: int, megabytes: float, seconds: float) -> list[str]:
    return [f"{count / seconds:,.0f}/s", f"{megabytes / seconds:,.1f}"]


# -- contents -------------------------------------------------------------------------------------------


def _head(n: int, rng: random.Random) -> bytes:
    """Return the header of a message as it arrives, 3.8 KB with the fields of its relays."""
    return varied_message(n, rng).partition(b"Content-Type:")[0]


def _text(rng: random.Random) -> str:
    lines = (" ".join(rng.choices(_WORDS, k=rng.randrange(4, 12))) for _ in range(rng.randrange(10, 80)))
    return "\r\n".join(lines) + "\r\n"


def _plain(rng: random.Random) -> bytes:
    return _part("text/plain; charset=utf-8", "8bit", _text(rng).encode())


def _plain_short(rng: random.Random) -> bytes:
    return _part("text/plain; charset=utf-8", "8bit", " ".join(rng.choices(_WORDS, k=5)).encode() + b"\r\n")


def _in_charset(charset: str, words: list[str], rng: random.Random) -> bytes:
    lines = (" ".join(rng.choices(words, k=8)) for _ in range(40))
    text = "".join(f"{line}\r\n" for line in lines)
    return _part(f"text/plain; charset={charset}", "8bit", text.encode(charset))


def _quoted_printable(rng: random.Random) -> bytes:
    encoded = quopri.encodestring(_text(rng).replace("\r\n", "\n").encode()).replace(b"\n", b"\r\n")
    return _part('text/plain; charset="utf-8"', "quoted-printable", encoded)


def _base64(rng: random.Random) -> bytes:
    return _part('text/plain; charset="utf-8"', "base64", _lines(_text(rng).encode()))


def _alternative(rng: random.Random, boundary: str = "=_alternative") -> bytes:
    page = f"<html><body><p>{_text(rng)}</p></body></html>\r\n"
    encoded = quopri.encodestring(page.replace("\r\n", "\n").encode()).replace(b"\n", b"\r\n")
    html = _part("text/html; charset=utf-8", "quoted-printable", encoded)
    return _multipart("alternative", boundary, _quoted_printable(rng), html)


def _with_attachment(rng: random.Random) -> bytes:
    file = _part(
        'application/pdf; name="plan.pdf"\r\nContent-Disposition: attachment; filename="plan.pdf"',
        "base64",
        _lines(rng.randbytes(_ATTACHMENT_BYTES * 3 // 4)),
    )
    return _multipart("mixed", "=_mixed", _alternative(rng), file)


def _part(kind: str, encoding: str, content: bytes) -> bytes:
    return f"Content-Type: {kind}\r\nContent-Transfer-Encoding: {encoding}\r\n\r\n".encode() + content


def _multipart(subtype: str, boundary: str, *parts: bytes) -> bytes:
    mark = f"--{boundary}".encode()
    head = f'Content-Type: multipart/{subtype}; boundary="{boundary}"\r\n\r\n'.encode()
    return head + b"".join(mark + b"\r\n" + part + b"\r\n" for part in parts) + mark + b"--\r\n"


def _lines(data: bytes) -> bytes:
    return base64.encodebytes(data).replace(b"\n", b"\r\n")
