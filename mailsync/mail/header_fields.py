"""The lines of a header, for the columns of a message and for the parts of its body alike.

- A header ends at an empty line and nowhere else. A line of blanks continues it (obs-FWS, RFC 5322 §4.2).
- A line that begins with a blank continues the line above.
- A field is a name of printable ASCII characters, perhaps blanks, and a colon (RFC 5322 §2.2, §4.5).
- Any other line costs only itself and the lines that continue it: an mbox line, the rest of a value that was
  wrapped without a leading blank, a colon without a name, a first line that begins with a blank. No value
  changes, because such a line may be anything.
- A parameter without a leading blank (``boundary=x``) continues a Content-Type or Content-Disposition that
  ends with a semicolon.
- A line that begins with ``--`` is not a field, because it may be a boundary.
- The first field of a name counts, unless it is empty. Repeated lists of addresses are joined by semicolons.
"""

from __future__ import annotations

import enum
import re
from typing import ClassVar

from mailsync.mail.line_ends import lines_of, with_line_feeds

_NAME = re.compile(rb"(?!--)([!-9;-~]+)[ \t\r]*:")
_PARAMETER = re.compile(rb"(?!--)[^\s=;:\"]+=")
_WITH_PARAMETERS = (b"content-type", b"content-disposition")
_TAIL = 100
_CR = 13
_BLANKS = b" \t\r"  # a CR that does not end a line is a blank
_BOM = b"\xef\xbb\xbf"
_MBOX = (b"From ", b">From ")


class Line(enum.Enum):
    """A kind of line: a field or a line that continues one above, neither of them, or the empty line."""

    FIELD = "field"
    OTHER = "other"
    END = "end"


# looking up a member of an enumeration takes longer than matching a line
FIELD, OTHER, END = Line.FIELD, Line.OTHER, Line.END


class FieldReader:
    """Reads a header line by line and keeps the values of the fields that a subclass wants.

    Names are in lower case.
    """

    wanted: ClassVar[frozenset[bytes]]
    """The fields whose values are kept."""
    longest: ClassVar[int]
    """The most bytes of a value that are kept."""
    joined: ClassVar[frozenset[bytes]] = frozenset()
    """The fields that are joined by semicolons if they are repeated."""
    known_names: ClassVar[frozenset[bytes]] = frozenset()
    """Other fields that programs use, so that they show that this is a header and no text."""
    known_prefixes: ClassVar[tuple[bytes, ...]] = ()
    """The same, by the beginnings of names."""

    name: bytes | None = None
    """The current field, b"" in a line that is none, None before the first line."""
    has_known_field = False
    """Whether a field was wanted or known; others may be a word with a colon in a text."""
    cut: frozenset[bytes] = frozenset()
    """The fields that were longer than is kept."""
    _value: bytearray | None = None

    def __init__(self) -> None:
        self._values: dict[bytes, bytearray] = {}

    def feed(self, line: bytes, is_new_line: bool = True) -> Line:
        """Read one line, which is not b""; `is_new_line` is False for the rest of a long one."""
        if is_new_line and line[0] not in _BLANKS:
            match = _NAME.match(line)
            if match is None:
                return self._feed_other(line)
            name = match[1].lower()
            if b"=" in name and self._continues_parameters(line):
                return FIELD
            self.name = name
            if name in self.wanted:
                self._begin(name, line[match.end() :])
            else:
                self._value = None
                if not self.has_known_field:
                    self.has_known_field = name in self.known_names or name.startswith(self.known_prefixes)
        elif line[0] == _CR and is_new_line and not line.strip(b"\r\n"):
            return END
        elif self._value is not None:
            self._append(self._value, line)
        elif self.name is None:
            self.name = b""
            return OTHER
        return FIELD

    def read_block(self, block: bytes) -> None:
        """Read all of a header; empty lines before it are ignored."""
        for line in lines_of(with_line_feeds(block)):
            if self.feed(line) is END and self.name is not None:
                break

    def values(self) -> dict[bytes, bytes]:
        """Return the values so far by name, as sent: folded, and without leading blanks."""
        return {name: bytes(value) for name, value in self._values.items()}

    def value(self, name: bytes) -> bytes:
        """Return the value that this field has so far, or b""."""
        return bytes(self._values.get(name, b""))

    def _feed_other(self, line: bytes) -> Line:
        if line == b"\n":
            return END
        if self._continues_parameters(line):
            return FIELD
        is_first = self.name is None
        self.name, self._value = b"", None
        if is_first and line.startswith(_BOM) and line != _BOM:
            return FieldReader.feed(self, line[len(_BOM) :])
        return FIELD if is_first and line.startswith(_MBOX) else OTHER

    def _begin(self, name: bytes, rest: bytes) -> None:
        self.has_known_field = True
        value = self._values.get(name)
        if not value:
            self._value = self._values[name] = value = bytearray()
        elif name in self.joined and name not in self.cut:
            while value[-1] in b" \t\r\n":
                del value[-1]
            self._value = value
            rest = b"; " + rest.lstrip()
        else:
            self._value = None
            return
        self._append(value, rest)

    def _continues_parameters(self, line: bytes) -> bool:
        """Add a line without a leading blank to the field above, if it must be the rest of that field."""
        value = self._value
        if value is None or self.name not in _WITH_PARAMETERS or not _PARAMETER.match(line):
            return False
        if not value[-_TAIL:].rstrip().endswith(b";"):
            return False
        self._append(value, b" " + line)
        return True

    def _append(self, value: bytearray, line: bytes) -> None:
        if not value:
            line = line.lstrip()
        room = self.longest - len(value)
        if len(line) > room:
            assert self.name
            self.cut |= {self.name}
            self._value = None
            line = _whole_characters(line[:room])
        value += line


def _whole_characters(data: bytes) -> bytes:
    """Drop the beginning of a UTF-8 character from the end, so that the rest can be decoded."""
    for i in range(1, min(4, len(data)) + 1):
        if data[-i] >= 0xC0:
            return data[:-i]
        if data[-i] < 0x80:
            break
    return data
