"""Dates of headers and of IMAP become UTC times (RFC 5322 §3.3, RFC 9051 date-time); pure.

Two regular expressions read the well-made forms. :mod:`mailsync.mail.date_reader` reads all others.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

from mailsync.mail.date_reader import read_date

_NAMES = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_MONTHS = {name: number for number, name in enumerate(_NAMES, start=1)}
_MONTHS |= {name.capitalize(): number for name, number in _MONTHS.items()}
# Postgres stores years that psycopg cannot read; these bounds are well within what both support
_FIRST_YEAR, _LAST_YEAR = 1900, 2200
_MAX_ZONE = 15 * 3600 + 59 * 60

_HEADER_DATE = re.compile(
    r"(?:[A-Za-z]{3},?\s+)?(\d{1,2})\s+([A-Za-z]{3})\s+(\d{4})\s+(\d\d):(\d\d)(?::(\d\d))?\s+"
    r"([+-]\d\d)([0-5]\d)\s*(?:\([^()]*\)\s*)?$",
    re.ASCII,
)
_INTERNAL_DATE = re.compile(
    rb'\s*+"?+\s*+(\d{1,2})[- ]([A-Za-z]{3})[- ](\d{4})\s+(\d\d):(\d\d):(\d\d)'
    rb'\s+([+-]\d\d)([0-5]\d)\s*+"?+\s*+$'
)


def parse_date(text: str) -> datetime | None:
    """Parse a Date header; None if it cannot be read, or is before 1900 or after 2200 (UTC).

    A missing zone counts as UTC. A zone that cannot be read, or is beyond ±15:59, makes the date unreadable.

    >>> parse_date("Fri, 21 Nov 1997 09:55:06 -0600 (CST)").isoformat()
    '1997-11-21T15:55:06+00:00'
    """
    match = _HEADER_DATE.match(text)
    if match is None:
        return _other_date(text)
    day, month, year, hour, minute, second, zone_hours, zone_minutes = match.groups()
    number = _MONTHS.get(month) or _MONTHS.get(month.lower())
    if number is None:
        return _other_date(text)
    return _utc(
        int(year),
        number,
        int(day),
        int(hour),
        int(minute),
        int(second or 0),
        _zone(int(zone_hours), int(zone_minutes), zone_hours),
    )


def parse_internal_date(text: bytes) -> datetime | None:
    """Parse INTERNALDATE; None if it cannot be read, or is before 1900 or after 2200 (UTC).

    Zones are read as in :func:`parse_date`.

    >>> parse_internal_date(b"17-Jul-1996 02:44:25 -0700").isoformat()
    '1996-07-17T09:44:25+00:00'
    """
    match = _INTERNAL_DATE.match(text)
    if match is None:
        return _other_date(text.decode("latin-1"))
    day, month, year, hour, minute, second, zone_hours, zone_minutes = match.groups()
    name = month.decode("ascii")
    return _utc(
        int(year),
        _MONTHS.get(name) or _MONTHS.get(name.lower(), 0),
        int(day),
        int(hour),
        int(minute),
        int(second),
        _zone(int(zone_hours), int(zone_minutes), zone_hours.decode("ascii")),
    )


def _zone(hours: int, minutes: int, sign: str) -> int:
    """Return seconds east of Greenwich; `sign` is the text of the hours, because int("-00") has no sign."""
    return hours * 3600 + (-minutes if sign[0] == "-" else minutes) * 60


def _other_date(text: str) -> datetime | None:
    parts = read_date(text)
    return None if parts is None else _utc(*parts)


def _utc(year: int, month: int, day: int, hour: int, minute: int, second: int, zone: int) -> datetime | None:
    if not -_MAX_ZONE <= zone <= _MAX_ZONE:
        return None
    if hour == 24 and minute == second == 0:  # midnight at the end of the day (ISO 8601)
        hour, zone = 0, zone - 86_400
    try:
        # datetime has no leap seconds: use the second before
        moment = datetime(year, month, day, hour, minute, 59 if second == 60 else second, tzinfo=UTC)
        if zone:
            moment -= timedelta(seconds=zone)
    except (ValueError, OverflowError):
        return None
    return moment if _FIRST_YEAR <= moment.year <= _LAST_YEAR else None
