"""The odd messages of the sample mailbox: malformed and unusual mail, as real mailboxes have it.

They are written as bytes, because the email package refuses to produce them.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

_TO = b"To: mara.koehler@example.com\r\n"
_TEXT = b"\r\nA message like any other.\r\n"


def odd_messages(begin: datetime) -> Iterator[tuple[str, bytes, tuple[str, ...], datetime]]:
    """Yield folder, bytes, flags and internal date of each message, one per hour from `begin` on."""
    for number, raw in enumerate(_all()):
        if number:  # the first message has no Message-ID
            raw = b"Message-ID: <odd-%d@example.org>\r\n" % number + raw
        yield "INBOX", raw, ("\\Seen",) if number % 2 else (), begin + timedelta(hours=number)


def _all() -> Iterator[bytes]:
    yield _simple(b"No Message-ID at all", date=b"Tue, 15 Apr 2025 09:00:00 +0200")
    yield _simple("Angebot für Prüfgeräte, als Latin-1".encode("latin-1"), name="Jürgen".encode("latin-1"))
    yield _simple("Rohes UTF-8: Grüße aus Łódź".encode(), name="Łucja Wiśniewska".encode())
    yield _simple(b"A broken date", date=b"Someday, 99 Foo 2025 25:61:61 +9999")
    yield _simple(b"=?x-martian-8?q?An_unknown_charset:_caf=E9?=")
    # Encoded words that split a letter between them.
    yield _simple(b"=?utf-8?b?R3LDvMM=?=\r\n =?utf-8?b?n2Ugdm9uIMM=?=\r\n =?utf-8?b?vGJlcmFsbA==?=")
    yield _simple(b"=?iso-2022-jp?B?GyRCPFVOaDNPRycbKEI=?= =?iso-2022-jp?B?GyRCJE4kKjRqJCQbKEI=?=")
    yield _simple(b"")
    yield b"From: nobody\r\n" + _TO + _TEXT
    yield (
        b"From: a group of us: anna@example.com, tom@example.com;\r\n"
        + _TO
        + b"Subject: From a group\r\n"
        + _TEXT
    )
    yield _simple(b"A subject that never ends " + b"and goes on " * 500)
    yield _simple(
        b"Many recipients",
        more=b"Cc: " + b",\r\n ".join(b"p%d@example.org" % n for n in range(1_100)) + b"\r\n",
    )
    yield _simple(b"Nested thirty times", body=_nested(30))
    yield _simple(b"A file name in pieces", body=_pieces())
    yield _simple(b"Fwd: an older message", body=_forwarded())
    yield _simple(b"A picture in the text", body=_related())
    yield b"Return-Path: <>\r\nFrom: MAILER-DAEMON (Mail Delivery System)\r\n" + _TO + _bounce()


def _simple(
    subject: bytes,
    *,
    name: bytes = b"Odd Mailer",
    date: bytes = b"Wed, 16 Apr 2025 10:00:00 +0000",
    more: bytes = b"",
    body: bytes = _TEXT,
) -> bytes:
    fields = b"From: " + name + b" <odd@example.org>\r\n" + _TO + b"Subject: " + subject + b"\r\n"
    return fields + b"Date: " + date + b"\r\n" + more + body


def _multipart(subtype: bytes, boundary: bytes, *parts: bytes) -> bytes:
    """The Content-Type field and the body of a multipart; each part has its own fields."""
    head = (
        b"MIME-Version: 1.0\r\nContent-Type: multipart/" + subtype + b'; boundary="' + boundary + b'"\r\n\r\n'
    )
    return (
        head
        + b"".join(b"--" + boundary + b"\r\n" + part + b"\r\n" for part in parts)
        + b"--"
        + boundary
        + b"--\r\n"
    )


def _nested(depth: int) -> bytes:
    body = b"Content-Type: text/plain\r\n\r\nAt the very bottom.\r\n"
    for level in range(depth):
        body = _multipart(b"mixed", b"level%d" % level, body)
    return body


def _pieces() -> bytes:
    return _multipart(
        b"mixed",
        b"pieces",
        b"Content-Type: text/plain; charset=utf-8\r\n\r\nSee the attachment.\r\n",
        b"Content-Type: application/pdf; name*0*=utf-8''%C3%9Cbersicht;\r\n name*1*=%20der%20Messwerte;\r\n"
        b' name*2=" 2025.pdf"\r\nContent-Disposition: attachment\r\nContent-Transfer-Encoding: base64\r\n\r\n'
        b"JVBERi0xLjQKJSVFT0YK\r\n",
    )


def _forwarded() -> bytes:
    inner = _simple(b"The older message", more=b"Message-ID: <older@example.org>\r\n")
    return _multipart(
        b"mixed",
        b"forwarded",
        b"Content-Type: text/plain\r\n\r\nFor your information.\r\n",
        b"Content-Type: message/rfc822\r\nContent-Disposition: attachment; filename=older.eml\r\n\r\n"
        + inner,
    )


def _related() -> bytes:
    return _multipart(
        b"related",
        b"related",
        b'Content-Type: text/html; charset=utf-8\r\n\r\n<p>Look: <img src="cid:dot@example.org"></p>\r\n',
        b"Content-Type: image/gif; name=dot.gif\r\nContent-ID: <dot@example.org>\r\n"
        b"Content-Disposition: inline\r\n"
        b"Content-Transfer-Encoding: base64\r\n\r\nR0lGODlhAQABAAAAACwAAAAAAQABAAACAkQBADs=\r\n",
    )


def _bounce() -> bytes:
    report = (
        b"Content-Type: message/delivery-status\r\n\r\nReporting-MTA: dns; mx.example.com\r\n\r\n"
        b"Final-Recipient: rfc822; gone@example.org\r\nAction: failed\r\nStatus: 5.1.1\r\n"
    )
    return b"Subject: Undelivered Mail Returned to Sender\r\nAuto-Submitted: auto-replied\r\n" + _multipart(
        b'report; report-type="delivery-status"',
        b"bounce",
        b"Content-Type: text/plain\r\n\r\nThe address gone@example.org does not exist.\r\n",
        report,
    )
