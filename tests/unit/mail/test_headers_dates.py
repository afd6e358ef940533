"""Dates of headers and of IMAP."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from mailsync.mail.dates import parse_internal_date
from mailsync.mail.headers import parse_headers


@pytest.mark.parametrize(
    ("value", "moment"),
    [
        (b"Fri, 21 Nov 1997 09:55:06 -0600", datetime(1997, 11, 21, 15, 55, 6)),
        (b"21 Nov 1997 09:55:06 +0530 (IST)", datetime(1997, 11, 21, 4, 25, 6)),
        (b"Fri, 21 nov 1997 09:55 GMT", datetime(1997, 11, 21, 9, 55)),
        (b"Fri, 21 Nov 97 09:55:06 EST", datetime(1997, 11, 21, 14, 55, 6)),
        (b"Fri, 21 Nov 1997 09:55:06 -0000", datetime(1997, 11, 21, 9, 55, 6)),
        (b"Fri, 21 Nov 1997 09:55:06", datetime(1997, 11, 21, 9, 55, 6)),
        (b"Fri, 21 Nov 1997 09:55:06 -0030", datetime(1997, 11, 21, 10, 25, 6)),
        (b"Fri, 21 Nov 1997 23:59:60 +0000", datetime(1997, 11, 21, 23, 59, 59)),
        (b"Fri Nov 21 09:55:06 1997", datetime(1997, 11, 21, 9, 55, 6)),
        (b"1997-11-21T09:55:06+01:00", datetime(1997, 11, 21, 8, 55, 6)),
        (b"Mon, 1 Jan 1900 00:00:00 +0000", datetime(1900, 1, 1)),
        (b"Wed, 31 Dec 2200 23:59:59 +0000", datetime(2200, 12, 31, 23, 59, 59)),
        (b"Mon, 1 Jan 2024 00:00:00 +1559", datetime(2023, 12, 31, 8, 1)),
    ],
)
def test_dates_become_utc(value: bytes, moment: datetime) -> None:
    headers = parse_headers(b"Date: " + value + b"\r\n")
    assert (headers.sent_at, headers.errors) == (moment.replace(tzinfo=UTC), ())


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"yesterday",
        b"Mon, 1 Jan 1900 00:00:00 +0001",
        b"Wed, 31 Dec 2200 23:59:59 -0001",
        b"Fri, 31 Dec 9999 23:59:59 -1200",
        b"Mon, 1 Jan 0001 00:00:00 +1400",
        b"Mon, 1 Jan 0000 00:00:00 +0000",
        b"Fri, 21 Nov 1997 09:55:06 +1600",
        b"Fri, 21 Nov 1997 09:55:06 -9999",
        b"Fri, 31 Feb 1997 09:55:06 +0000",
        b"Fri, 21 Foo 1997 09:55:06 +0000",
        b"Fri, 21 Nov 1997 25:61:61 +0000",
        b"Fri, 21 Nov 99999999999999999999 09:55:06 +0000",
        b"Fri, 21 Nov 1997 09:55:06 +" + b"9" * 5_000,
        b"(" * 5_000,
    ],
)
def test_impossible_dates_are_none_and_named(value: bytes) -> None:
    headers = parse_headers(b"Date: " + value + b"\r\n")
    assert (headers.sent_at, headers.errors) == (None, ("date",))


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        (b"17-Jul-1996 02:44:25 -0700", datetime(1996, 7, 17, 9, 44, 25)),
        (b" 1-JUL-1996 02:44:25 +0000", datetime(1996, 7, 1, 2, 44, 25)),
        (b'"17-Jul-1996 02:44:25 +0200"', datetime(1996, 7, 17, 0, 44, 25)),
        (b"17-Jul-1996 02:44:25", datetime(1996, 7, 17, 2, 44, 25)),
        (b"17-Jul-1996 02:44:60 +0000", datetime(1996, 7, 17, 2, 44, 59)),
    ],
)
def test_internal_dates_become_utc(text: bytes, moment: datetime) -> None:
    assert parse_internal_date(text) == moment.replace(tzinfo=UTC)


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"NIL",
        b"17-Foo-1996 02:44:25 -0700",
        b"00-Jan-0000 00:00:00 +0000",
        b"31-Dec-9999 23:59:59 -1200",
        b"01-Jan-1970 00:00:00 +2400",
        b"\xff\xfe",
    ],
)
def test_impossible_internal_dates_are_none(text: bytes) -> None:
    assert parse_internal_date(text) is None
