"""Read a document's ``.. code-block::`` examples, with the section and line of each."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator
from typing import NamedTuple

from tests import ROOT

_DIRECTIVE = re.compile(r"( *)\.\. code-block:: *(\S*)\s*")
_OPTION = re.compile(r"\s+:[\w-]+:")
_UNDERLINE = re.compile(r"([=\-~^\"'.*+#])\1+")


class Block(NamedTuple):
    """One example: its language, its text without indentation, and the number of its first line.

    ``section`` is the title above it, or empty.
    """

    document: str
    section: str
    line: int
    language: str
    text: str

    @property
    def place(self) -> str:
        """Where the block is, for messages of tests."""
        return f"{self.document}:{self.line} ({self.section})"


def blocks(document: str, *languages: str) -> list[Block]:
    """The examples in these languages, or in any, of a document such as ``docs/howto/query.rst``, in order.

    Raises ValueError for a block without a language or without content.
    """
    all_blocks = _read(document, (ROOT / document).read_text())
    return [block for block in all_blocks if not languages or block.language in languages]


def _read(document: str, text: str) -> Iterator[Block]:
    lines = text.splitlines()
    section, place = "", 0
    while place < len(lines):
        line, place = lines[place], place + 1
        if place < len(lines) and _is_title(line, lines[place]):
            section = line.strip()
            continue
        directive = _DIRECTIVE.fullmatch(line)
        if not directive:
            continue
        indent, language = len(directive[1]), directive[2]
        while place < len(lines) and _OPTION.match(lines[place]):
            place += 1
        while place < len(lines) and not lines[place].strip():
            place += 1
        begin = place
        while place < len(lines) and (not lines[place].strip() or _indent(lines[place]) > indent):
            place += 1
        body = textwrap.dedent("\n".join(lines[begin:place])).strip("\n")
        if not language or not body:
            raise ValueError(f"{document}:{begin}: a code block without a language or content")
        yield Block(document, section, begin + 1, language, body + "\n")


def _is_title(line: str, below: str) -> bool:
    return bool(line.strip()) and bool(_UNDERLINE.fullmatch(below)) and len(below) >= len(line.rstrip())


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip(" "))
