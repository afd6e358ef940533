"""Characters that make a line look different from its content, as sets and as escapes for logs.

Text from servers is read in terminals and editors. Control characters can steer these, direction marks change
the order of the text around them, and other characters cannot be seen.
"""

from __future__ import annotations

CONTROLS = frozenset(map(chr, (*range(0x20), *range(0x7F, 0xA0), 0x2028, 0x2029)))
"""Control characters of ASCII and Latin-1, and separators that some programs treat as line ends."""

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
"""Characters of no width: blanks, hyphens, marks and tags that cannot be seen."""

JOINERS = frozenset("\u200c\u200d")
"""Characters of no width that words in Persian and Indic scripts need, and emoji."""

_ESCAPES = {ord(char): repr(char)[1:-1] for char in CONTROLS | DIRECTIONS | INVISIBLE | JOINERS}


def escaped(text: str) -> str:
    r"""Return `text` as one line with an escape in place of each of these characters.

    >>> escaped("INBOX\n\u202egnp.exe")
    'INBOX\\n\\u202egnp.exe'
    """
    return text.translate(_ESCAPES)
