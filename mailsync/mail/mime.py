"""A message's bytes become its text, its HTML and a list of attachments (SPEC §14).

One pass over the lines, without recursion. Only text is kept, up to :data:`MOST_TEXT` bytes; attachments are
measured and skipped, so that memory does not grow with the message.
"""

from __future__ import annotations

from collections.abc import Sequence

from mailsync.mail import transfer_encoding
from mailsync.mail.files_in_text import take_files
from mailsync.mail.header_fields import END, FIELD
from mailsync.mail.line_ends import first_line, lines_of
from mailsync.mail.mime_part import Part, spellings_of
from mailsync.mail.open_multiparts import Multipart, OpenMultiparts
from mailsync.mail.parsed import Parsed, Section, Source
from mailsync.mail.part_header import MessageHeader, PartHeader
from mailsync.mail.shown_texts import divide, join_texts
from mailsync.model import Attachment

PARSER_VERSION = 2
"""The version of what :func:`parse` makes of a message. Raise it with each change after which text, HTML or
attachments of stored messages would differ: bodies of earlier versions are then fetched again (SPEC §14)."""
MOST_TEXT = 8 * 1024 * 1024
"""Bytes of encoded text that are kept of one message."""
DEEPEST = 100
MOST_PARTS = 1000

__all__ = ["PARSER_VERSION", "Parsed", "Section", "Source", "locate", "parse"]

_LONGEST_LINE = 64 * 1024
_LONGEST_BOUNDARY = 1000
_SAMPLE = 8 * 1024
"""Bytes at the beginning of a file that are compared with its encoding."""


def parse(source: Source, *, truncated: bool = False) -> Parsed:
    """Parse a message (RFC 5322, MIME); `truncated` says that it was cut. Malformed input never raises."""
    reader = _Reader()
    line, readline = first_line(source.readline, _LONGEST_LINE)
    is_new_line = True
    while line:
        reader.feed(line, is_new_line)
        is_new_line = line.endswith(b"\n")
        line = readline(_LONGEST_LINE)
    return reader.finish(truncated)


def locate(source: Source, number: str) -> Section | None:
    """Find the content of the part with this number, as :func:`parse` counts parts; None without such a part.

    The first one counts if several have the number. Malformed input never raises.
    """
    reader = _Reader(number)
    line, readline = first_line(source.readline, _LONGEST_LINE)
    is_new_line = True
    while line:
        reader.feed(line, is_new_line)
        reader.pass_line(line)
        is_new_line = line.endswith(b"\n")
        line = readline(_LONGEST_LINE)
    reader.finish(truncated=False)
    return reader.section


class _Reader:
    def __init__(self, wanted: str = "") -> None:
        self.section: Section | None = None
        self.offset = 0
        self.line_break = 0
        self._wanted = wanted
        self._files_in_text: list[str] = []
        self._starts: dict[int, int] = {}
        self._attachments: list[Attachment] = []
        self._open = OpenMultiparts()
        self._part: Part | None = Part("", "text/plain")
        self._in_header = True
        self._fields: PartHeader = MessageHeader()
        self._own_boundary: bytes | None = None
        self._count = 0
        self._room = MOST_TEXT
        self._leaves: list[Part] = []
        self._has_text = False
        self._warnings: set[str] = set()

    def feed(self, line: bytes, is_new_line: bool) -> None:
        """Read one line; `is_new_line` is False for the rest of a long one."""
        if is_new_line and line.startswith(b"--") and self._open and self._boundary(line):
            return
        if self._in_header:
            self._header(line, is_new_line)
        elif self._part is not None:
            self._content(self._part, line)

    def pass_line(self, line: bytes) -> None:
        """Keep the offset of the next line, behind one that was read."""
        self.offset += len(line)
        self.line_break = 2 if line.endswith(b"\r\n") else int(line.endswith(b"\n"))

    def finish(self, truncated: bool) -> Parsed:
        if self._in_header:
            self._leave_header(at_empty_line=False)
        self._end_part(is_cut=truncated)
        if not truncated and any(not multipart.closed for multipart in self._open):
            self._warnings.add("unterminated")
        if self._open:
            self._pop(0)
        if truncated:
            self._warnings.add("truncated")
        shown, files = divide(self._leaves)
        self._list_files(files)
        for part in shown:
            if part.data is not None and b"begin" in part.data and self._may_hold_files(part, files):
                self._take_files(part, part.data)
        text, html = join_texts(shown, self._warnings)
        if text is None and html is None:
            self._warnings.add("no_text")
        attachments = tuple(
            sorted(self._attachments, key=_place) if self._files_in_text else self._attachments
        )
        return Parsed(text, html, attachments, tuple(sorted(self._warnings)), frozenset(self._files_in_text))

    # -- headers -----------------------------------------------------------------------------------

    def _header(self, line: bytes, is_new_line: bool) -> None:
        kind = self._fields.feed(line, is_new_line)
        if kind is FIELD:
            return
        if kind is END:
            self._leave_header(at_empty_line=True)
        elif line.startswith(b"--") and self._is_own_boundary(line):
            # the lines in front of it are a header, because it names this boundary
            self._leave_header(at_empty_line=True)
            self.feed(line, is_new_line)

    def _is_own_boundary(self, line: bytes) -> bool:
        """Whether the line is a boundary of the multipart whose header is being read."""
        if self._own_boundary is None:
            value = self._fields.value(b"content-type")
            if not value:
                return False
            part = Part("", "text/plain", fields={b"content-type": value})
            part.read_header()
            # later lines cannot change the field, because this line does not continue it
            self._own_boundary = part.boundary if part.type.startswith("multipart/") else b""
        names = spellings_of(self._own_boundary) if self._own_boundary else ()
        delimiter = line.rstrip(b" \t\r\n")
        return any(delimiter in (b"--" + name, b"--" + name + b"--") for name in names)

    def _leave_header(self, *, at_empty_line: bool) -> None:
        """End the header, and read as content what was taken for a part of it."""
        content = b""
        if self._fields.has_other_lines:
            self._warnings.add("header")
            content = self._fields.finish(at_empty_line=at_empty_line)
        self._end_header()
        self.offset -= len(content)
        for line in lines_of(content) if content else ():
            self.feed(line, True)
            self.pass_line(line)

    def _end_header(self) -> None:
        part = self._part
        assert part is not None
        self._in_header = False
        part.fields = self._fields.values()
        part.read_header()
        if part.type.startswith("multipart/"):
            boundary = part.boundary
            if len(self._open) >= DEEPEST:
                self._warnings.add("too_deep")
            elif boundary and len(boundary) <= _LONGEST_BOUNDARY:
                before = Part("", "text/plain", type="text/plain", data=bytearray())
                self._open.push(Multipart(part, boundary, before))
                self._part = before
                return
            else:
                self._warnings.add("missing_boundary")
                part.type = "text/plain"
        if not part.number:
            part.number = "1"
        kind = part.kind
        if kind == "own" and not self._has_text:
            self._has_text = True
            self._drop_texts()
        if kind == "own" or (not self._has_text and kind not in ("file", "neither")):
            part.data = bytearray()
        elif kind != "neither" and transfer_encoding.can_misfit(part.encoding):
            part.data, part.is_sample = bytearray(), True

    def _drop_texts(self) -> None:
        """Make room for the message's own text: what would be shown without one is not needed."""
        for part in self._leaves:
            if part.data is not None and not part.is_sample:
                self._room += len(part.data)
                self._warnings.discard("text_cut")
                part.data = None

    # -- content -----------------------------------------------------------------------------------

    def _content(self, part: Part, line: bytes) -> None:
        length = len(line)
        part.size += length
        data = part.data
        if data is not None:
            if part.is_sample:
                data += line
                if len(data) >= _SAMPLE:
                    self._compare(part, data, is_whole=False)
                return
            if self._room < length:
                self._warnings.add("text_cut")
                line = line[: self._room]
                length = len(line)
            data += line
            self._room -= length

    def _compare(self, part: Part, sample: bytearray, *, is_whole: bool) -> None:
        """Compare the beginning of a file with its encoding; all of a large file would take too long."""
        if not transfer_encoding.fits(bytes(sample), part.encoding, is_whole=is_whole):
            self._warnings.add("transfer_encoding")
        part.data = None

    def _end_part(self, *, at_boundary: bool = False, is_cut: bool = False) -> None:
        part, self._part = self._part, None
        if part is None or (self._open and part is self._open[-1].before):
            return
        if part.is_sample and part.data is not None:
            self._compare(part, part.data, is_whole=not is_cut)
        line_break = self.line_break if at_boundary else 0
        if self._wanted:
            self._starts[id(part)] = self.offset - part.size
        if part.number == self._wanted and self.section is None:
            start = self.offset - part.size
            self.section = Section(start, max(start, self.offset - line_break), part.encoding)
        if at_boundary:
            # the line break before a boundary belongs to it
            if part.data is not None and part.data.endswith(b"\n"):
                del part.data[-2 if part.data.endswith(b"\r\n") else -1 :]
            part.size = max(0, part.size - 2)
        self._leaves.append(part)

    # -- files -------------------------------------------------------------------------------------

    def _list_files(self, files: Sequence[Part]) -> None:
        for part in files:
            self._attachments.append(part.attachment())
            if not transfer_encoding.is_known(part.encoding):
                self._warnings.add("transfer_encoding")

    def _may_hold_files(self, part: Part, files: Sequence[Part]) -> bool:
        is_plain = part.type == "text/plain" and transfer_encoding.is_as_it_is(part.encoding)
        return is_plain and part.number != "" and not any(part is file for file in files)

    def _take_files(self, part: Part, text: bytearray) -> None:
        """Turn the files between the lines of a text into attachments."""
        is_cut = part.size > len(text)
        files = take_files(text, part.number, is_cut=is_cut, most=MOST_PARTS - self._count)
        self._count += len(files)
        for start, end, attachment in files:
            self._attachments.append(attachment)
            self._files_in_text.append(attachment.part)
            if attachment.part == self._wanted and self.section is None:
                content = self._starts[id(part)]
                self.section = Section(content + start, content + end, "uuencode")

    # -- boundaries --------------------------------------------------------------------------------

    def _boundary(self, line: bytes) -> bool:
        found = self._open.boundary_in(line)
        if found is None:
            return False
        level, is_end = found
        if self._in_header:
            if not self._fields.is_empty:
                self._warnings.add("header")
            self._leave_header(at_empty_line=False)
        self._end_part(at_boundary=True)
        if level + 1 < len(self._open):
            if any(not multipart.closed for multipart in self._open[level + 1 :]):
                self._warnings.add("unterminated")
            self._pop(level + 1)
        self._part = None
        multipart = self._open[-1]
        if multipart.before is not None:
            assert multipart.before.data is not None
            self._room += len(multipart.before.data)
            multipart.before = None
        if is_end:
            multipart.closed = True
        else:
            self._begin_part(multipart)
        return True

    def _begin_part(self, multipart: Multipart) -> None:
        part = multipart.next_part()
        self._count += 1
        if self._count > MOST_PARTS:
            self._warnings.add("too_many_parts")
            return
        self._part = part
        self._in_header, self._fields, self._own_boundary = True, PartHeader(), None

    def _pop(self, level: int) -> None:
        for multipart in self._open[level:]:
            before = multipart.before
            if before is not None and before.data and before.data.strip():
                self._warnings.add("missing_boundary")
                self._leaves.append(before)
        self._open.close_from(level)


def _place(attachment: Attachment) -> list[int]:
    return [int(number) for number in attachment.part.split(".")]
