"""``python -m tests.support.hanging worker``: mailsync with a fault that one word of a mail server triggers.

What reads a response that holds the word never comes to its end: a regular expression whose time doubles with
each letter. It is C code that holds the GIL, so no other thread of the process runs any more.
"""

from __future__ import annotations

import re

from mailsync.cli import main
from mailsync.imap.reader import Reader

WORD = b"X-READ-FOR-EVER"
_ENDLESS = re.compile(rb"(?:a+)+b")

_response = Reader.response


def endless_response(reader: Reader) -> list[bytes]:
    """Read a response as usual, but never return from one that holds the word."""
    parts = _response(reader)
    if WORD in parts[0]:
        _ENDLESS.match(b"a" * 100)
    return parts


if __name__ == "__main__":
    Reader.response = endless_response  # type: ignore[method-assign]
    main()
