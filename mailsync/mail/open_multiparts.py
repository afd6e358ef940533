"""The multiparts around the current line of a message, and their boundaries (RFC 2046 §5.1.1); pure."""

from __future__ import annotations

from dataclasses import dataclass, field

from mailsync.mail.mime_part import Alternatives, Part, spellings_of


@dataclass(slots=True)
class Multipart:
    """An open multipart; `before` is the text before its first boundary."""

    part: Part
    boundary: bytes
    before: Part | None
    identity: object = field(default_factory=object)
    children: int = 0
    closed: bool = False

    def next_part(self) -> Part:
        """Return the part that begins at a boundary."""
        self.children += 1
        prefix = f"{self.part.number}." if self.part.number else ""
        kind = self.part.type
        is_alternative = kind == "multipart/alternative"
        alternatives: Alternatives = ()
        if is_alternative or self.children == 1:
            # what is behind the first part of another multipart replaces nothing: it may be a footer
            alternatives = self.part.alternatives
        if is_alternative:
            alternatives = (*alternatives, (self.identity, self.children))
        return Part(
            f"{prefix}{self.children}",
            "message/rfc822" if kind == "multipart/digest" else "text/plain",
            kind,
            is_alternative or (self.children == 1 and self.part.is_alternative),
            alternatives,
        )


class OpenMultiparts(list[Multipart]):
    """The open multiparts, the outermost first."""

    def __init__(self) -> None:
        self._delimiters: dict[bytes, int] = {}
        self._closers: dict[bytes, int] = {}

    def push(self, multipart: Multipart) -> None:
        """Open a multipart."""
        self.append(multipart)
        self._index_boundaries()

    def close_from(self, level: int) -> None:
        """Forget those from `level` on, where 0 is the outermost."""
        del self[level:]
        self._index_boundaries()

    def boundary_in(self, line: bytes) -> tuple[int, bool] | None:
        """Return the level of the multipart of which `line` is a boundary, and whether the line ends it."""
        delimiter = line.rstrip(b" \t\r\n")
        level = self._delimiters.get(delimiter)
        if level is not None:
            return level, False
        level = self._closers.get(delimiter)
        return None if level is None else (level, True)

    def _index_boundaries(self) -> None:
        # if two multiparts have the same boundary, the inner one counts
        self._delimiters = {
            b"--" + boundary: i
            for i, multipart in enumerate(self)
            for boundary in spellings_of(multipart.boundary)
        }
        self._closers = {line + b"--": i for line, i in self._delimiters.items()}
