"""Files that are uuencoded between the lines of a plain text, as Outlook sends them."""

from __future__ import annotations

import re
from typing import NamedTuple

from mailsync.mail.uuencode import EncodedFile, begin_file
from mailsync.model import Attachment

_BEGIN = re.compile(rb"^begin[ \t-]", re.MULTILINE)


class FileInText(NamedTuple):
    """A file as an attachment, and the place of its lines in the text."""

    start: int
    end: int
    attachment: Attachment


def take_files(text: bytearray, part: str, *, is_cut: bool, most: int) -> list[FileInText]:
    """Take the files out of the text of a part, at most `most`, and return them in their order.

    Their places are those in the text as it was. See :func:`files_in`. The files of part 2 are 2.1, 2.2 and
    so on, because a text has no parts of its own in IMAP (RFC 9051 §6.4.5.1).
    """
    found = files_in(bytes(text), is_cut=is_cut)[: max(0, most)]
    for start, end, _ in reversed(found):
        del text[start:end]
    return [
        FileInText(
            start,
            end,
            Attachment(f"{part}.{i}", file.name, file.content_type, end - start, None, is_inline=False),
        )
        for i, (start, end, file) in enumerate(found, 1)
    ]


def files_in(text: bytes, *, is_cut: bool = False) -> list[tuple[int, int, EncodedFile]]:
    """Find the files in a text that is not encoded, in their order; returns where each begins and ends.

    A file begins with a ``begin`` line, has at least one line of data, and ends with its ``end`` line or with
    the text, unless the text is cut.
    """
    found: list[tuple[int, int, EncodedFile]] = []
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
            found.append((start, position, file))
    return found


def _line_end(text: bytes, start: int) -> int:
    return text.find(b"\n", start) + 1 or len(text)
