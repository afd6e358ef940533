"""Text for a terminal: widths, tables, symbols, numbers and times as people read them."""

from __future__ import annotations

import difflib
import os
import shutil
import sys
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime

from mailsync.unprintable import CONTROLS, DIRECTIONS, INVISIBLE

GAP = "  "
LRM = "\u200e"
_WANTED_WIDTH, _LEAST_WIDTH = 24, 16
# Without the joiners, which names in Persian and in Indic scripts need to be readable.
_HIDDEN = CONTROLS | DIRECTIONS | INVISIBLE
_ASCII = str.maketrans({"✓": "ok:", "✗": "failed:", "–": "-", "…": "...", "★": "*"})


# -- symbols -------------------------------------------------------------------------------------------


def has_symbols() -> bool:
    """Whether the locale has ✓ and ✗.

    Python writes UTF-8 in the C locale too, so the variables decide: LC_ALL=C asks for ASCII. LANG=C alone
    does not, because Python then sets LC_CTYPE to C.UTF-8. Without any of them UTF-8 is assumed.
    """
    names = (os.environ.get(name) for name in ("LC_ALL", "LC_CTYPE", "LANG"))
    if next(filter(None, names), "") in ("C", "POSIX"):
        return False
    try:
        "✓✗…★".encode(getattr(sys.stdout, "encoding", None) or "utf-8")
    except UnicodeEncodeError:
        return False
    return True


def spell_symbols(text: str) -> str:
    """`text` with ✓ and ✗ as the words ``ok:`` and ``failed:`` where the locale lacks them."""
    return text if text.isascii() or has_symbols() else text.translate(_ASCII)


# -- widths --------------------------------------------------------------------------------------------


def printable(text: str) -> str:
    """`text` in one line that looks like what it is: U+FFFD replaces characters that steer or hide."""
    return "".join(
        "\ufffd" if c in _HIDDEN or unicodedata.category(c) == "Cs" else c
        for c in text.replace("\n", " ").replace("\t", " ")
    )


def width(text: str) -> int:
    """The number of columns that `text` takes: two for an East Asian wide character, none for a mark."""
    if text.isascii():
        return len(text)
    return sum(map(_width_of, text))


def _width_of(char: str) -> int:
    if unicodedata.combining(char) or unicodedata.category(char) in ("Mn", "Me", "Cf"):
        return 0
    return 2 if unicodedata.east_asian_width(char) in "WF" else 1


def fit(text: str, columns: int) -> str:
    """`text` in at most `columns`, with an ellipsis in place of what is left out.

    Right-to-left text is put between two LEFT-TO-RIGHT MARKs, so that the columns after it stay in place.
    """
    text = cut(printable(text), columns)
    if not text.isascii() and any(unicodedata.bidirectional(c) in ("R", "AL", "AN") for c in text):
        return f"{LRM}{text}{LRM}"
    return text


def cut(text: str, columns: int) -> str:
    """:func:`fit` for text that is printable already: cut between two words, or within the first one."""
    if width(text) <= columns:
        return text
    end = used = 0
    while used + _width_of(text[end]) <= columns - 1:
        used += _width_of(text[end])
        end += 1
    kept = text[:end]
    if text[end] != " " and (words := kept.rpartition(" ")[0].rstrip()):
        kept = words
    return kept.rstrip() + ("…" if has_symbols() else "~")


def wrap(text: str, columns: int, indent: str) -> list[str]:
    """`text` in lines of at most `columns`, each after `indent`, broken between words; a long word is cut."""
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
    """Columns and lines of the terminal; COLUMNS and LINES override it, and the default is 80 by 24."""
    size = shutil.get_terminal_size((80, 24))
    return max(40, size.columns), size.lines


def pad(text: str, columns: int, *, right: bool = False) -> str:
    """`text` filled with blanks to `columns`; `right` aligns it at the right edge."""
    blanks = " " * (columns - width(text))
    return blanks + text if right else text + blanks


def closest(text: str, known: Iterable[str]) -> str | None:
    """The name in `known` that `text` is probably a slip of, in any case of letters; None without one."""
    names = {name.casefold()[:100]: name for name in known}
    match = difflib.get_close_matches(text.casefold()[:100], names, n=1, cutoff=0.7)
    return names[match[0]] if match else None


# -- tables --------------------------------------------------------------------------------------------


def table(
    heads: Sequence[str],
    rows: Iterable[Sequence[object]],
    *,
    numbers: str = "",
    limits: Mapping[str, int] | None = None,
    flexible: str = "",
    drop: str = "",
    columns: int = 0,
) -> str:
    """Rows under their heads, aligned, one line each.

    `numbers` names the heads aligned right, `limits` the widest columns. Lines longer than `columns` lose the
    columns in `drop`, the least important first; then those in `flexible` become narrower. A number is never
    cut.
    """
    cells = [[_cell(value) for value in row] for row in rows]
    widths = []
    for i, head in enumerate(heads):
        widest = max((width(printable(row[i])) for row in cells), default=0)
        widths.append(max(width(head), min(widest, (limits or {}).get(head, 60))))
    shown = _fit_columns(heads, widths, flexible.split(), drop.split(), columns) if columns else heads
    right = set(numbers.split())
    lines = []
    for row in [list(heads), *cells]:
        parts = [
            pad(fit(cell, most), most, right=head in right)
            for cell, most, head in zip(row, widths, heads, strict=True)
            if head in shown
        ]
        lines.append(GAP.join(parts).rstrip())
    return "\n".join(lines)


def _fit_columns(
    heads: Sequence[str], widths: list[int], flexible: list[str], drop: list[str], columns: int
) -> Sequence[str]:
    """Make `widths` narrower until a line fits into `columns`; returns the heads that stay."""
    shown = list(heads)

    def excess() -> int:
        parts = [most for head, most in zip(heads, widths, strict=True) if head in shown]
        return sum(parts) + len(GAP) * (len(parts) - 1) - columns

    def spare(head: str, least: int) -> int:
        return max(0, widths[heads.index(head)] - least)

    for head in drop:
        if excess() <= (spare(flexible[0], _WANTED_WIDTH) if flexible else 0):
            break
        shown = [other for other in shown if other != head]
    for head, least in [
        *((head, _WANTED_WIDTH) for head in flexible[:1]),
        *((head, _LEAST_WIDTH) for head in reversed(flexible)),
    ]:
        widths[heads.index(head)] -= min(spare(head, least), max(0, excess()))
    return shown


def _cell(value: object) -> str:
    if value is None:
        return ""
    return f"{value:,}" if isinstance(value, int) else str(value)


# -- numbers and times ---------------------------------------------------------------------------------


def many(count: int, one: str, more: str | None = None) -> str:
    """``1 folder``, ``1,200 folders``."""
    return f"{count:,} {one if count == 1 else more or one + 's'}"


def span(seconds: float | None) -> str:
    """A duration in one unit: ``12s``, ``3min``, ``5h``, ``2d``; ``-`` for None."""
    if seconds is None:
        return "-"
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f}{unit}"
    return f"{max(0.0, seconds):.0f}s"


def rfc3339(when: datetime) -> str:
    """``2025-05-02T10:00:01.250000Z``: the time in UTC, with all that it has of the second."""
    return when.astimezone(UTC).isoformat().replace("+00:00", "Z")


def moment(when: datetime | None) -> str:
    """``2025-05-02T10:00:01Z``, to the second; ``-`` for None."""
    return "-" if when is None else rfc3339(when.replace(microsecond=0))


def ago(when: datetime | None, now: datetime) -> str:
    """``5min ago``; ``never`` for None."""
    return "never" if when is None else f"{span((now - when).total_seconds())} ago"


def due(when: datetime | None, now: datetime) -> str:
    """``in 5h``, or ``due now``; ``not planned`` for None."""
    if when is None:
        return "not planned"
    return "due now" if when <= now else f"in {span((when - now).total_seconds())}"
