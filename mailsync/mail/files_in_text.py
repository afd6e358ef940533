"""Files that are uuencoded between the lines of a plain text, as Outlook sends them."""

from __future__ import annotations

import re
from typing import NamedTuple

from mailsync.mail.uuencode import EncodedFile, begin_file

_BEGIN = re.compile(rb"^begin[ \t-]", re.MULTILINE)


class FileInText(NamedTuple):
    """A file and the place of its lines in the text."""

    start: int
    end: int
    file: EncodedFile


def files_in(text: bytes, *, is_cut: bool = False) -> list[FileInText]:
    """Find the files in a text whose transfer encoding has been removed, in their order.

    A file begins with a ``begin`` line, has at least one line of data, and ends with its ``end`` line or with
    the text, unless the text is cut.
    """
    found: list[FileInText] = []
    position = 0
    while match := _BEGIN.search(text, position):
        start, position = match.start(), _line_end(text, match.start())
        file = begin_file(text[start:position])
        if file is None:
            continue
        while position < len(text) and not file.has_ended:
            end = _line_end(text, position)
            if file.decode(text[position:end]) is None:
                break
            position = end
        if file.has_data and (file.has_ended or (position == len(text) and not is_cut)):
            found.append(FileInText(start, position, file))
    return found


def _line_end(text: bytes, start: int) -> int:
    return text.find(b"\n", start) + 1 or len(text)
