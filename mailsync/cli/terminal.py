"""Text for a terminal: widths, tables, numbers and times as people read them."""

from __future__ import annotations

import shutil
import unicodedata
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

from mailsync.unprintable import CONTROLS, DIRECTIONS, INVISIBLE

GAP = "  "
LRM = "\u200e"
_LEAST_FLEXIBLE = 16
# without joiners, which names in Persian and in Indic scripts need to be readable
_HIDDEN = CONTROLS | DIRECTIONS | INVISIBLE


def printable(text: str) -> str:
    """`text` as one line that is what it looks like: U+FFFD replaces characters that steer or hide."""
    return "".join(
        "\ufffd" if c in _HIDDEN or unicodedata.category(c) == "Cs" else c
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
    """`text` cut to at most `columns`, with an ellipsis where something is missing.

    Text that runs from right to left stands between two LEFT-TO-RIGHT MARKs, so that the columns behind it
    keep their places.
    """
    text = cut(printable(text), columns)
    if not text.isascii() and any(unicodedata.bidirectional(c) in ("R", "AL", "AN") for c in text):
        return f"{LRM}{text}{LRM}"
    return text


def cut(text: str, columns: int) -> str:
    """As :func:`fit`, for text that was made safe before."""
    if width(text) <= columns:
        return text
    kept, used = "", 0
    for char in text:
        if used + _width_of(char) > columns - 1:
            break
        kept += char
        used += _width_of(char)
    return kept.rstrip() + "…"


def wrap(text: str, columns: int, indent: str) -> list[str]:
    """`text` in lines of at most `columns`, broken at blanks, each after `indent`; a long word is cut."""
    lines: list[str] = []
    line = ""
    for word in text.split():
        word = fit(word, columns - width(indent)) if width(word) > columns - width(indent) else word
        if line and width(indent) + width(line) + 1 + width(word) > columns:
            lines.append(indent + line)
            line = word
        else:
            line = f"{line} {word}" if line else word
    return [*lines, indent + line] if line else lines


def screen() -> tuple[int, int]:
    """Columns and lines of the terminal; COLUMNS and LINES win, 80 and 24 stand for what is unknown."""
    size = shutil.get_terminal_size((80, 24))
    return max(40, size.columns), size.lines


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
    flexible: str = "",
    columns: int = 0,
) -> str:
    """Rows under their heads, aligned, one line each.

    `numbers` are the heads put right, `limits` the widest columns. With `columns`, the column `flexible`
    gives way (down to 16) until a line fits.
    """
    limits = limits or {}
    right = set(numbers.split())
    raw = [[_cell(value) for value in row] for row in rows]
    most = [limits.get(head, 60) for head in heads]
    cells = [[fit(cell, limit) for cell, limit in zip(row, most, strict=True)] for row in raw]
    widths = [max(width(row[at]) for row in [list(heads), *cells]) for at in range(len(heads))]
    over = sum(widths) + len(GAP) * (len(heads) - 1) - columns
    if columns and flexible in heads and over > 0:
        at = heads.index(flexible)
        widths[at] = max(min(_LEAST_FLEXIBLE, widths[at]), widths[at] - over)
        for fitted, row in zip(cells, raw, strict=True):
            fitted[at] = fit(row[at], widths[at])
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


def ago(when: datetime | None, now: datetime) -> str:
    """``5min ago``; ``never`` for none."""
    return "never" if when is None else f"{span((now - when).total_seconds())} ago"


def due(when: datetime | None, now: datetime) -> str:
    """``in 5h``, or ``due now``; ``not planned`` for none."""
    if when is None:
        return "not planned"
    return "due now" if when <= now else f"in {span((when - now).total_seconds())}"
