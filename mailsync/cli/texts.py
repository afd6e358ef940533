"""Text for a terminal: widths, tables, numbers and times as people read them."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

GAP = "  "
_BIDI = frozenset("\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


def printable(text: str) -> str:
    """`text` as one line that cannot steer the terminal: controls and direction marks become U+FFFD."""
    return "".join(
        "\ufffd" if unicodedata.category(c) in ("Cc", "Cs", "Zl", "Zp") or c in _BIDI else c
        for c in text.replace("\n", " ").replace("\t", " ")
    )


def width(text: str) -> int:
    """How many columns `text` takes: East Asian wide characters two, combining ones none."""
    if text.isascii():
        return len(text)
    return sum(map(_width_of, text))


def _width_of(char: str) -> int:
    if unicodedata.combining(char) or unicodedata.category(char) in ("Mn", "Me", "Cf"):
        return 0
    return 2 if unicodedata.east_asian_width(char) in "WF" else 1


def fit(text: str, columns: int) -> str:
    """`text` cut to at most `columns`, with an ellipsis where something is missing."""
    text = printable(text)
    if width(text) <= columns:
        return text
    kept, used = "", 0
    for char in text:
        if used + _width_of(char) > columns - 1:
            break
        kept += char
        used += _width_of(char)
    return kept.rstrip() + "…"


def pad(text: str, columns: int, *, right: bool = False) -> str:
    """`text` filled with blanks to `columns`; `right` puts it at the right edge."""
    blanks = " " * (columns - width(text))
    return blanks + text if right else text + blanks


def table(
    heads: Sequence[str],
    rows: Iterable[Sequence[object]],
    *,
    numbers: str = "",
    limits: dict[str, int] | None = None,
) -> str:
    """Rows under their heads, aligned; `numbers` are the heads put right, `limits` the widest columns."""
    limits = limits or {}
    right = set(numbers.split())
    cells = [
        [fit(_cell(value), limits.get(head, 60)) for head, value in zip(heads, row, strict=True)]
        for row in rows
    ]
    widths = [max(width(row[at]) for row in [list(heads), *cells]) for at in range(len(heads))]
    lines = [
        GAP.join(
            pad(cell, w, right=head in right) for cell, w, head in zip(row, widths, heads, strict=True)
        ).rstrip()
        for row in [list(heads), *cells]
    ]
    return "\n".join(lines)


def _cell(value: object) -> str:
    if value is None:
        return ""
    return f"{value:,}" if isinstance(value, int) else str(value)


def many(count: int, one: str, more: str | None = None) -> str:
    """``1 folder``, ``1,200 folders``."""
    return f"{count:,} {one if count == 1 else more or one + 's'}"


def span(seconds: float | None) -> str:
    """A duration in one unit: ``12s``, ``3min``, ``5h``, ``2d``; ``-`` for none."""
    if seconds is None:
        return "-"
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f}{unit}"
    return f"{max(0.0, seconds):.0f}s"


def moment(when: datetime | None) -> str:
    """``2025-05-02 10:00:01Z``; ``-`` for none."""
    return "-" if when is None else f"{when.astimezone(UTC):%Y-%m-%d %H:%M:%S}Z"
