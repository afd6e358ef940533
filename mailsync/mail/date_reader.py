"""Reads the dates that RFC 5322 does not allow and programs send nevertheless; pure.

A date is divided at its time of day. The day, month and year come before, and the zone after; the year may
also follow the zone, as in ``Tue Mar  5 08:15:00 CET 2024``. Comments, weekdays and text after the zone are
ignored. A date with two readings, such as ``05/03/2024``, has none.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from mailsync.mail.date_words import CONNECTIVES, MONTHS, folded
from mailsync.mail.text import decode_words
from mailsync.mail.time_zones import read_zone

_LONGEST = 200
"""Characters of a date that are read."""

_DASHES = str.maketrans({"\u2212": "-", "\u2013": "-", "\u2010": "-", "\u2011": "-", '"': " "})
_TIME = re.compile(
    r"(?<![0-9:+-])([0-9]{1,2})\s*:\s*([0-9]{1,2})(?:\s*:\s*([0-9]{1,2}))?(?![0-9:])(?:[.,][0-9]+)?"
    r"(?:\s*([ap])\.?m\b\.?)?"
)
_DOTTED_TIME = re.compile(
    r"(?<=[0-9]\s)([0-9]{1,2})\.([0-9]{2})(?:\.([0-9]{2}))?(?![0-9.])(?:\s*([ap])\.?m\b\.?)?"
)
_COMPACT = re.compile(r"\s*([0-9]{4})([0-9]{2})([0-9]{2})[t\s]([0-9]{2}):?([0-9]{2}):?([0-9]{2})?(?![0-9])")
_EAST_ASIAN = re.compile(r"([0-9]{4})[年년]\s?([0-9]{1,2})[月월]\s?([0-9]{1,2})[日일]")
_PARENTHESIS = re.compile(r"[()]")
_LEADING_WORDS = re.compile(r"[^0-9]*")
_YEAR_FIRST = re.compile(r"([0-9]{4})([-/.])([0-9]{1,2})\2([0-9]{1,2})")
_YEAR_LAST = re.compile(r"([0-9]{1,2})([-/.])\s?([0-9]{1,2})\2\s?([0-9]{4})")
_WORD = re.compile(r"[0-9]+|[^\W\d_]+")
_LATER_YEAR = re.compile(r"(?<![\w:+.-])(?:(?:19|20|21)[0-9]{2}|[0-9]{2})(?![0-9:.])")

_Three = tuple[int, int, int]


class DateParts(NamedTuple):
    """A date as written, not checked against the calendar; ``zone`` is in seconds east of Greenwich."""

    year: int
    month: int
    day: int
    hour: int
    minute: int
    second: int
    zone: int


def read_date(text: str) -> DateParts | None:
    """Read a date in any form; None if there is none, or it has several readings, or an unknown zone.

    A missing time of day is midnight. A missing zone is UTC. A zone that only a comment names counts. Years
    of two and three digits are read as in RFC 5322 §4.3.

    >>> read_date("Tue Mar  5 08:15:00 CET 2024")
    DateParts(year=2024, month=3, day=5, hour=8, minute=15, second=0, zone=3600)
    """
    text = text[:_LONGEST]
    if "=?" in text:
        text = decode_words(text)
    text = folded(_EAST_ASIAN.sub(r"\1-\2-\3 ", text.translate(_DASHES)))
    bare = _without_comments(text)
    if match := _COMPACT.match(bare):
        year, month, day, hour, minute, second = (int(digits or 0) for digits in match.groups())
        zone = _zone(bare[match.end() :], text[match.end() :])
        return None if zone is None else DateParts(year, month, day, hour, minute, second, zone)
    match = _time(bare)
    if match is None:
        date = _day(bare, None)
        return DateParts(*date, 0, 0, 0, 0) if date else None
    clock = _time_of_day(match)
    before, after = bare[: match.start()], bare[match.end() :]
    year_after = _LATER_YEAR.search(after)
    date = _day(before, year_after[0] if year_after else None)
    if date is None or clock is None:
        return None
    if year_after and not _has_year(before):
        after = after[: year_after.start()] + after[year_after.end() :]
    zone = _zone(after, text[match.end() :])
    return None if zone is None else DateParts(*date, *clock, zone)


def _without_comments(text: str) -> str:
    """Replace comments by as many blanks, nested ones included; one without an end reaches to the end."""
    if "(" not in text:
        return text
    kept: list[str] = []
    depth = position = 0
    for match in _PARENTHESIS.finditer(text):
        start, end = match.span()
        kept.append(text[position:start] if depth == 0 else " " * (start - position))
        kept.append(" ")
        depth = depth + 1 if match[0] == "(" else max(0, depth - 1)
        position = end
    rest = text[position:]
    return "".join(kept) + (" " * len(rest) if depth else rest)


def _time(text: str) -> re.Match[str] | None:
    """Return the first match of a time of day; a later one is part of the zone."""
    match, dotted = _TIME.search(text), _DOTTED_TIME.search(text)
    return dotted if dotted and (match is None or dotted.start() < match.start()) else match


def _time_of_day(match: re.Match[str]) -> _Three | None:
    hour, minute, second = (int(digits or 0) for digits in match.groups()[:3])
    half = match[4]
    if half == "p" and hour < 12:
        hour += 12
    elif half == "a":
        if hour > 12:
            return None
        hour %= 12
    return hour, minute, second


def _zone(after: str, with_comments: str) -> int | None:
    """Return the zone's seconds; None if there is one that cannot be read."""
    zone = after.partition(";")[0].strip(" \t.,'[]").partition("[")[0]  # +01:00[Europe/Berlin]
    if zone:
        return read_zone(zone)
    comment = with_comments.strip()
    return read_zone(comment.strip("() ")) if comment.startswith("(") else 0


def _has_year(before: str) -> bool:
    return _numbers(before) != 1


def _numbers(before: str) -> int:
    return sum(word[0].isdigit() for word in _WORD.findall(before))


def _day(text: str, later_year: str | None) -> _Three | None:
    """Read year, month and day; `later_year` is used if `text` has no year."""
    text = text.strip()
    leading = _LEADING_WORDS.match(text)
    digits = text[leading.end() if leading else 0 :].rstrip(" ,t")
    if match := _YEAR_FIRST.fullmatch(digits):
        return int(match[1]), int(match[3]), int(match[4])
    if match := _YEAR_LAST.fullmatch(digits):
        return _with_year_last(int(match[1]), int(match[3]), int(match[4]), match[2])
    return _with_name(_WORD.findall(text), later_year)


def _with_year_last(first: int, second: int, year: int, separator: str) -> _Three | None:
    """Dots mean that the day comes first. With other separators, the order must follow from the numbers."""
    if separator == "." or first > 12 or first == second:
        return year, second, first
    return (year, first, second) if second > 12 else None


def _with_name(words: list[str], later_year: str | None) -> _Three | None:
    """Read words and numbers that name the month: day, month, year in each order that leaves no doubt."""
    numbers = [word for word in words if word[0].isdigit()]
    # the last one, because some weekdays are spelt like months, such as "mar." in French
    months = [MONTHS[word] for word in words if word in MONTHS]
    if not months:
        return None
    begun = False
    for word in words:
        begun = begun or word[0].isdigit()
        if begun and not word[0].isdigit() and word not in MONTHS and word not in CONNECTIVES:
            return None
    if len(numbers) == 1 and later_year:
        return _whole_year(later_year), months[-1], int(numbers[0])
    if len(numbers) != 2:
        return None
    day, year = numbers if len(numbers[0]) <= 2 else reversed(numbers)
    if len(day) > 2 or not 2 <= len(year) <= 4:
        return None
    return _whole_year(year), months[-1], int(day)


def _whole_year(digits: str) -> int:
    """Complete a year as RFC 5322 §4.3 says."""
    year = int(digits)
    if len(digits) == 2:
        return year + (2000 if year < 50 else 1900)
    return year + 1900 if len(digits) == 3 else year
