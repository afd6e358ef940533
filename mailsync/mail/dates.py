"""Dates of headers and of IMAP become UTC times (RFC 5322 §3.3, RFC 9051 date-time); pure."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_tz

_NAMES = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_MONTHS = {name: number for number, name in enumerate(_NAMES, start=1)}
_MONTHS |= {name.capitalize(): number for name, number in _MONTHS.items()}
# Postgres stores years that psycopg cannot read; these bounds are well within what both support
_FIRST_YEAR, _LAST_YEAR = 1900, 2200
_MAX_ZONE = 15 * 3600 + 59 * 60
_LONGEST = 200

_HEADER_DATE = re.compile(
    r"(?:[A-Za-z]{3},?\s+)?(\d{1,2})\s+([A-Za-z]{3})\s+(\d{4})\s+(\d\d):(\d\d)(?::(\d\d))?\s+"
    r"([+-]\d\d)(\d\d)\s*(?:\([^()]*\)\s*)?$",
    re.ASCII,
)
_INTERNAL_DATE = re.compile(
    rb'\s*+"?+\s*+(\d{1,2})[- ]([A-Za-z]{3})[- ](\d{4})\s+(\d\d?):(\d\d)(?::(\d\d))?'
    rb"(?:\s*([+-]\d\d):?(\d\d))?"
)


def parse_date(text: str) -> datetime | None:
    """Parse a Date header; None if it cannot be read, or is before 1900 or after 2200 (UTC).

    A missing or unknown zone counts as UTC; a zone beyond ±15:59 makes the date unreadable.

    >>> parse_date("Fri, 21 Nov 1997 09:55:06 -0600 (CST)").isoformat()
    '1997-11-21T15:55:06+00:00'
    """
    match = _HEADER_DATE.match(text)
    if match is None:
        return _other_date(text[:_LONGEST].strip())
    day, month, year, hour, minute, second, zone_hours, zone_minutes = match.groups()
    return _utc(
        int(year),
        _MONTHS.get(month) or _MONTHS.get(month.lower(), 0),
        int(day),
        int(hour),
        int(minute),
        int(second or 0),
        _zone(int(zone_hours), int(zone_minutes), zone_hours),
    )


def parse_internal_date(text: bytes) -> datetime | None:
    """Parse INTERNALDATE; None if it cannot be read, or is before 1900 or after 2200 (UTC).

    >>> parse_internal_date(b"17-Jul-1996 02:44:25 -0700").isoformat()
    '1996-07-17T09:44:25+00:00'
    """
    match = _INTERNAL_DATE.match(text)
    if match is None:
        return None
    day, month, year, hour, minute, second, zone_hours, zone_minutes = match.groups()
    name = month.decode("ascii")
    zone = 0 if zone_hours is None else _zone(int(zone_hours), int(zone_minutes), zone_hours.decode("ascii"))
    return _utc(
        int(year),
        _MONTHS.get(name) or _MONTHS.get(name.lower(), 0),
        int(day),
        int(hour),
        int(minute),
        int(second or 0),
        zone,
    )


def _zone(hours: int, minutes: int, sign: str) -> int:
    """Return seconds east of Greenwich; `sign` is the text of the hours, because int("-00") has no sign."""
    return hours * 3600 + (-minutes if sign[0] == "-" else minutes) * 60


def _utc(year: int, month: int, day: int, hour: int, minute: int, second: int, zone: int) -> datetime | None:
    if not -_MAX_ZONE <= zone <= _MAX_ZONE:
        return None
    try:
        # datetime has no leap seconds: use the second before
        moment = datetime(year, month, day, hour, minute, 59 if second == 60 else second, tzinfo=UTC)
        if zone:
            moment -= timedelta(seconds=zone)
    except (ValueError, OverflowError):
        return None
    return moment if _FIRST_YEAR <= moment.year <= _LAST_YEAR else None


def _other_date(text: str) -> datetime | None:
    """Parse rarer forms: zones by name, two-digit years, missing parts, ISO 8601."""
    try:
        parts = parsedate_tz(text)
    except (ValueError, TypeError, IndexError, OverflowError, AttributeError):
        parts = None
    if parts is not None:
        year, month, day, hour, minute, second = parts[:6]
        return _utc(year, month, day, hour, minute, second, parts[9] or 0)
    try:
        moment = datetime.fromisoformat(text)
        offset = moment.utcoffset() or timedelta()
        naive = moment.replace(tzinfo=None, microsecond=0)
        return _utc(*naive.timetuple()[:6], int(offset.total_seconds()))
    except (ValueError, OverflowError):
        return None
