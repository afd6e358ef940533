"""Small builders for the messages of the cases. Every line ends with CRLF, whatever the text says."""

from __future__ import annotations

from collections.abc import Mapping

from tests.support.cases.case import Case, Expected

Text = str | bytes

_FIELDS: dict[str, Text | None] = {
    "From": "Rosa Lind <rosa@sender.example>",
    "To": "Tim Baum <tim@example.org>",
    "Subject": "Case",
    "Date": "Tue, 05 Mar 2024 09:15:00 +0100",
    "Message-ID": "<case@sender.example>",
    "MIME-Version": "1.0",
}
PDF = b"%PDF-1.4 \xff\x00\n1 0 obj\n%%EOF"
"""The content of the file in :func:`with_file`."""
PDF_LINES = "JVBERi0xLjQg/wAKMSAwIG9iagolJUVPRg=="
"""The same in base64."""


def encoded(text: Text) -> bytes:
    """Return the text in UTF-8; bytes stay as they are."""
    return text.encode() if isinstance(text, str) else text


def lines(text: Text) -> bytes:
    """Return the text with CRLF line ends."""
    return encoded(text).replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")


def letter(content: Text = "\nThe body\n", **fields: Text | None) -> bytes:
    """Return a message: ordinary fields, and then `content`, which begins with further fields.

    `fields` replaces fields by name, ``_`` for ``-``; None leaves one out.
    """
    given = {name.replace("_", "-"): value for name, value in fields.items()}
    assert given.keys() <= _FIELDS.keys(), given
    head = b"".join(
        name.encode() + b": " + encoded(value) + b"\n"
        for name, value in (_FIELDS | given).items()
        if value is not None
    )
    return lines(head + encoded(content))


def multipart(*parts: Text, kind: str = "mixed", boundary: str = "b0", header: Text | None = None) -> bytes:
    """Return a multipart with its Content-Type, or with `header` in place of that line."""
    mark = b"--" + boundary.encode()
    head = f'Content-Type: multipart/{kind}; boundary="{boundary}"' if header is None else header
    opened = b"".join(mark + b"\n" + encoded(part) + b"\n" for part in parts)
    return encoded(head) + b"\n\n" + opened + mark + b"--\n"


def plain(text: str = "the plain words") -> bytes:
    """Return a part of plain text in UTF-8."""
    return f"Content-Type: text/plain; charset=utf-8\n\n{text}".encode()


def html(text: str = "<p>the html words</p>") -> bytes:
    """Return a part of HTML in UTF-8."""
    return f"Content-Type: text/html; charset=utf-8\n\n{text}".encode()


def pdf(header: Text) -> bytes:
    """Return a part in base64 that is described by `header`."""
    return encoded(header) + f"\nContent-Transfer-Encoding: base64\n\n{PDF_LINES}".encode()


def with_file(header: Text) -> bytes:
    """Return a message of a text, "The body", and a PDF file whose part has these fields."""
    return letter(multipart(plain("The body"), pdf(header)))


def table(cases: Mapping[str, tuple[bytes, str, Expected]]) -> list[Case]:
    """Return the cases of a table by name."""
    return [Case(name, *rest) for name, rest in cases.items()]
