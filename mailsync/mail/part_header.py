"""The header of one part of a message, and lines in it that are content after all (RFC 2045 §3)."""

from __future__ import annotations

from dataclasses import dataclass

from mailsync.mail.header_fields import END, OTHER, FieldReader, Line

_MOST_CONTENT = 64 * 1024
# in the header of a part, only fields that begin with "Content-" have a meaning (RFC 2046 §5.1)
_PREFIXES: tuple[bytes, ...] = (b"content-", b"mime-", b"x-")


@dataclass(slots=True)
class _Doubt:
    """Lines that are either a header or content: all from the first line on that is not a field."""

    values: dict[bytes, bytes]
    """The fields before these lines."""
    follows_known_field: bool
    content: bytearray
    is_full: bool = False
    is_content: bool = False


class PartHeader(FieldReader):
    """Reads the header of a part line by line.

    The empty line after a header may be missing, or all of the header. The content then begins at the first
    line that is not a field. From that line on up to 64 KiB are kept, until one of these decides:

    - An empty line. The lines are a header if a field that programs use precedes it (Content-Type,
      X-Mailer, …; in a message also From, Date, …), and content otherwise.
    - The end of the part. They are content.
    - 64 KiB without such a field. They are content, and what follows is content, too. If such a field is
      among them, they are taken for a header; of content that then ends without an empty line, only these
      64 KiB remain.
    """

    wanted = frozenset({b"content-type", b"content-transfer-encoding", b"content-disposition", b"content-id"})
    longest = 16 * 1024
    known_prefixes = _PREFIXES
    _doubt: _Doubt | None = None

    @property
    def is_empty(self) -> bool:
        """Whether no line was read."""
        return self.name is None

    @property
    def has_other_lines(self) -> bool:
        """Whether there were lines that are not fields."""
        return self._doubt is not None

    def feed(self, line: bytes, is_new_line: bool = True) -> Line:
        """Read one line; `is_new_line` is False for the rest of a long one. Returns END after the header."""
        kind = FieldReader.feed(self, line, is_new_line)  # super() takes longer
        if self._doubt is not None:
            return self._keep(self._doubt, kind, line)
        if kind is OTHER:
            self._doubt = _Doubt(super().values(), self.has_known_field, bytearray(line))
            self.has_known_field = False
        return kind

    def finish(self, *, at_empty_line: bool) -> bytes:
        """Decide what the lines were. Returns those that are content, with the empty line after them."""
        doubt = self._doubt
        if doubt is None:
            return b""
        if not doubt.is_content:
            if at_empty_line and (doubt.follows_known_field or self.has_known_field):
                return b""
            doubt.is_content = True
        first, _, rest = bytes(doubt.content).partition(b"\n")
        # blanks were written for the empty line
        return bytes(doubt.content) if first.strip() else rest

    def values(self) -> dict[bytes, bytes]:
        """Return the raw values by name, without those in lines that turned out to be content."""
        if self._doubt is not None and self._doubt.is_content:
            return self._doubt.values
        return super().values()

    def _keep(self, doubt: _Doubt, kind: Line, line: bytes) -> Line:
        if len(doubt.content) + len(line) <= _MOST_CONTENT and not doubt.is_full:
            doubt.content += line
        elif not self.has_known_field:
            doubt.content += line
            doubt.is_content = True
            return END
        else:
            doubt.is_full = True
        return kind


class MessageHeader(PartHeader):
    """Reads the header of a message."""

    known_names = frozenset(
        b"authentication-results bcc cc date delivered-to from in-reply-to message-id received received-spf"
        b" references reply-to return-path sender subject to".split()
    )
    known_prefixes = (*_PREFIXES, b"arc-", b"dkim-", b"list-", b"resent-")
