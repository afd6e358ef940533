"""The header of one part of a message, collected line by line (RFC 5322 §2.2, RFC 2045 §3)."""

from __future__ import annotations

import enum
import re

_LONGEST_FIELD = 16 * 1024

_FIELD = re.compile(rb"([!-9;-~]+)[ \t]*:(.*)", re.DOTALL)
_KEPT = frozenset({b"content-type", b"content-transfer-encoding", b"content-disposition", b"content-id"})


class After(enum.Enum):
    """What a line of a header turned out to be."""

    FIELD = "field"
    END = "end"
    CONTENT = "content"


class PartHeader:
    """The raw ``values`` of the fields that describe a part, by lower-case name; ``lines`` counts fields."""

    def __init__(self) -> None:
        self.values: dict[bytes, bytes] = {}
        self.lines = 0
        self._field = b""

    def feed(self, line: bytes, is_new_line: bool) -> After:
        """Read one line; `is_new_line` is False for the rest of a long one. CONTENT means no empty line."""
        if not is_new_line or (line[:1] in b" \t" and self.lines and line.strip()):
            if self._field:
                value = self.values[self._field]
                self.values[self._field] = value + line[: max(0, _LONGEST_FIELD - len(value))]
            return After.FIELD
        if not line.strip():
            return After.END
        match = _FIELD.match(line)
        self.lines += 1
        if match is None:
            if self.lines == 1 and line.startswith(b"From "):
                return After.FIELD
            return After.CONTENT
        name = match[1].lower()
        # the first one counts if a field is repeated
        self._field = name if name in _KEPT and name not in self.values else b""
        if self._field:
            self.values[name] = match[2][:_LONGEST_FIELD]
        return After.FIELD
