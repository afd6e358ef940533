"""The numbered sections of docs/, which code cites as ``SPEC §10.7``, on whatever page they are."""

from __future__ import annotations

import re
from collections.abc import Iterator

from tests import ROOT

PAGES = sorted((ROOT / "docs").rglob("*.rst"))

_HEADING = re.compile(r"^(\S.*)\n([=\-~])\2{2,}$", re.MULTILINE)
_NUMBERED = re.compile(r"§((\d+)(?:\.\d+)?) (.*)")
_LEVELS = "=-~"


def sections() -> dict[str, str]:
    """Number → text of the section with its subsections. Raises ValueError for a number used twice."""
    found: dict[str, str] = {}
    for number, text in _numbered():
        if number in found:
            raise ValueError(f"there are two sections §{number}")
        found[number] = text
    for number, text in list(found.items()):
        whole = number.partition(".")[0]
        # a subsection may be on a page of its own
        if whole in found and text not in found[whole]:
            found[whole] += f"\n\n{text}"
    return dict(sorted(found.items(), key=lambda item: [int(part) for part in item[0].split(".")]))


def _numbered() -> Iterator[tuple[str, str]]:
    for page in PAGES:
        text = page.read_text("utf-8")
        headings = [
            found for found in _HEADING.finditer(text) if len(found[0].split("\n")[1]) >= len(found[1])
        ]
        for i, heading in enumerate(headings):
            title = _NUMBERED.fullmatch(heading[1])
            if title:
                level = _LEVELS.index(heading[2])
                ends = [after.start() for after in headings[i + 1 :] if _LEVELS.index(after[2]) <= level]
                yield title[1], text[heading.start() : min(ends, default=len(text))]
