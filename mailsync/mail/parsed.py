"""The parser's input and output: a message's source, its contents, and the place of a part."""

from __future__ import annotations

from typing import NamedTuple, Protocol

from mailsync.model import Attachment


class Source(Protocol):
    """A binary file, positioned at the beginning of the message."""

    def readline(self, limit: int, /) -> bytes:
        """Return the next line, or its first `limit` bytes; nothing at the end."""


class Parsed(NamedTuple):
    """The contents of a message. Lines end with ``\\n``; no text holds NUL or a lone surrogate.

    ``text`` and ``html`` are None if there is no such part. ``size_bytes`` of an attachment counts encoded
    bytes, as BODYSTRUCTURE does. A file between the lines of part 2 is part 2.1, which IMAP does not have;
    ``files_in_text`` names such parts. ``warnings`` is sorted and may hold: ``truncated`` (only a part of the
    message was given), ``text_cut`` (more text than is kept), ``no_text`` (no part to show), ``charset``
    (unknown, or the bytes do not fit), ``transfer_encoding`` (unknown, or the bytes do not fit), ``header``
    (a header has lines that are not fields, or no empty line after it), ``missing_boundary`` (a multipart
    names no boundary, or that boundary does not occur), ``unterminated`` (a multipart does not end),
    ``too_deep``, ``too_many_parts``.
    """

    text: str | None
    html: str | None
    attachments: tuple[Attachment, ...]
    warnings: tuple[str, ...]
    files_in_text: frozenset[str] = frozenset()


class Section(NamedTuple):
    """Where the content of a part is: offsets in the message in bytes, and the part's transfer encoding."""

    start: int
    end: int
    encoding: str
