"""``python -m tests.support.hanging worker``: mailsync with a fault that one word of a mail server triggers.

Reading a response with that word never ends, because of a regular expression whose time doubles with each
letter. It runs in C code that holds the GIL, so all other threads of the process stop too.
"""

from __future__ import annotations

import re

from mailsync.cli import main
from mailsync.imap.reader import Reader

WORD = b"X-READ-FOR-EVER"
_ENDLESS = re.compile(rb"(?:a+)+b")

_read_response = Reader.read_response


def endless_response(reader: Reader) -> list[bytes]:
    """Read a response as usual, but never return from one with the word."""
    response = _read_response(reader)
    if WORD in response[0]:
        _ENDLESS.match(b"a" * 100)
    return response


if __name__ == "__main__":
    Reader.read_response = endless_response  # type: ignore[method-assign]
    main()
