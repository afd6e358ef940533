"""Characters that let a line look different from what it says, as sets and as escapes for logs.

A server chooses what it says, and people read it in terminals and editors: controls steer these, direction
marks change the order of the text around them, and others cannot be seen at all.
"""

from __future__ import annotations

CONTROLS = frozenset(map(chr, (*range(0x20), *range(0x7F, 0xA0), 0x2028, 0x2029)))
"""Controls of ASCII and Latin-1, and the separators that some programs take for the end of a line."""

DIRECTIONS = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
"""Marks that change the direction of the text around them (UAX #9)."""

INVISIBLE = frozenset(
    map(
        chr,
        (
            0xAD, 0x180E, 0x200B, *range(0x2060, 0x2066), *range(0x206A, 0x2070), 0xFEFF,
            *range(0xFFF9, 0xFFFC), *range(0x1BCA0, 0x1BCA4), *range(0x1D173, 0x1D17B),
            *range(0xE0000, 0xE0080),
        ),
    )
)  # fmt: skip
"""Characters of no width: blanks, hyphens, marks and tags that nobody sees."""

JOINERS = frozenset("\u200c\u200d")
"""Characters of no width that are part of words in Persian and Indic scripts, and of emoji."""

_ESCAPES = {ord(char): repr(char)[1:-1] for char in CONTROLS | DIRECTIONS | INVISIBLE | JOINERS}


def escaped(text: str) -> str:
    r"""Return `text` as one line in which each of these characters is written as its escape.

    >>> escaped("INBOX\n\u202egnp.exe")
    'INBOX\\n\\u202egnp.exe'
    """
    return text.translate(_ESCAPES)
