"""Messages for tests: small, cheap, and the same in every run."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

_FIRST = datetime(2024, 1, 1, tzinfo=UTC)
_PEOPLE = ("ann", "bob", "carol", "dave", "eve", "frank", "grace")


def sent_at(n: int) -> datetime:
    """Return when message `n` was sent: seven minutes after the previous one."""
    return _FIRST + timedelta(minutes=7 * n)


def internal_date(n: int) -> str:
    """Return the INTERNALDATE of message `n` for APPEND."""
    return sent_at(n).strftime("%d-%b-%Y %H:%M:%S +0000")


def message(
    n: int, *, body: bytes = b"", headers: Mapping[str, str] | None = None, attachment: bytes | None = None
) -> bytes:
    """Return message `n`, with CRLF line ends.

    `headers` replaces or adds header fields; a value of None removes one. Text that is not ASCII becomes raw
    UTF-8, as careless senders write it. With `attachment`, the message is multipart/mixed.
    """
    fields: dict[str, str | None] = {
        "Message-ID": f"<{n}@mail.test>",
        "Date": format_datetime(sent_at(n)),
        "From": f"{_PEOPLE[n % 7].title()} <{_PEOPLE[n % 7]}@example.test>",
        "To": f"{_PEOPLE[(n + 1) % 7]}@example.test",
        "Subject": f"Message {n}",
        "MIME-Version": "1.0",
        "Content-Type": 'multipart/mixed; boundary="b"'
        if attachment is not None
        else "text/plain; charset=utf-8",
        **(headers or {}),
    }
    head = "".join(f"{name}: {value}\r\n" for name, value in fields.items() if value is not None)
    text = body or b"Text of message %d.\r\n" % n
    if attachment is not None:
        text = (
            b"--b\r\nContent-Type: text/plain\r\n\r\n" + text + b"\r\n--b\r\n"
            b'Content-Type: application/octet-stream; name="file.bin"\r\n'
            b'Content-Disposition: attachment; filename="file.bin"\r\n\r\n' + attachment + b"\r\n--b--\r\n"
        )
    return head.encode() + b"\r\n" + text
