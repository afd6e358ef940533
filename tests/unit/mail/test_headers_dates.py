"""Dates of headers and of IMAP."""

from __future__ import annotations

from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mailsync.mail.dates import parse_date, parse_internal_date
from mailsync.mail.headers import parse_headers

FUZZ = settings(derandomize=True, deadline=None, max_examples=300, database=None)

_PIECES = (
    "Tue, Mar 5 2024 2024-03-05 05/03/2024 08:15 8.15.00 AM GMT EST5EDT +0100 -- + ( ) ; T =?u?q?a?= 9999999"
).split()


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


# each is 08:15 UTC on 5 March 2024
_ZONES = [
    "08:15:00 +0000",
    "08:15:00 GMT",
    "08:15:00 UT",
    "08:15:00 UTC",
    "08:15:00Z",
    "08:15:00 z",
    '08:15:00 "GMT"',
    "08:15:00 [GMT]",
    "08:15:00 GMT.",
    "08:15:00 +0000 GMT",
    "08:15:00 GMT+0",
    "08:15:00 GMT Standard Time",
    "08:15:00 Coordinated Universal Time",
    "08:15:00 A",
    "08:15:00 -0000",
    "08:15:00 0000",
    "16:15:00 GMT+0800",
    "16:15:00 GMT+08:00",
    "16:15:00 GMT +0800",
    "16:15:00 GMT+8",
    "16:15:00 UTC+8",
    "16:15:00 +08:00",
    "16:15:00 +8:00",
    "16:15:00 +8",
    "16:15:00 +08",
    "16:15:00 +800",
    "16:15:00 + 0800",
    "16:15:00+0800",
    "16:15:00 0800",
    "16:15:00 08:00",
    "16:15:00 CST+0800",
    "16:15:00 CST +0800",
    "16:15:00 (GMT+8)",
    "16:15:00 +08:00:00",
    "16:15:00 +08:00[Asia/Singapore]",
    "02:45:00 UTC-05:30",
    "02:45:00 UTC-530",
    "03:15:00 \u22120500",
    "03:15:00 --0500",
    "05:15:00 +-0300",
    "09:15:00 ++0100",
    "03:15:00 EST",
    "03:15:00 EST5EDT",
    "03:15:00 EST-5",
    "03:15:00 EST-0500",
    "03:15:00 -0500 (EST)",
    "03:15:00 Eastern Standard Time",
    "04:15:00 EDT",
    "01:15:00 PDT",
    "09:15:00 CET",
    "09:15:00 cet",
    "09:15:00 MEZ",
    "09:15:00 MET",
    "09:15:00 BST+0100",
    "09:15:00 CET-1CEST",
    "10:15:00 CEST",
    "10:15:00 MESZ",
    "10:15:00 MEST",
    "11:15:00 MSK",
    "17:15:00 JST",
    "02:15:00 (CST)",
    "09:15:00 +0100 (W. Europe Standard Time)",
    "09:15:00 (local) +0100 (a (nested) one)",
    "09:15:00 +0100 (without an end",
    "00:15:00 -0800; sent by a robot",
    "00:15:00 -0800 and more",
]


@pytest.mark.parametrize("value", _ZONES)
def test_a_zone_is_read_in_all_forms_that_have_one_meaning(value: str) -> None:
    headers = parse_headers(f"Date: Tue, 5 Mar 2024 {value}\r\n".encode())
    assert (headers.sent_at, headers.errors) == (datetime(2024, 3, 5, 8, 15, tzinfo=UTC), ())


@pytest.mark.parametrize(
    "zone",
    [
        "IST",
        "BST",
        "AST",
        "J",
        "CSTT",
        "FOO",
        "(IST)",
        "%z",
        "+",
        "-",
        "?",
        "null",
        "Europe/Berlin",
        "W. Europe Standard Time",
        "GMT Daylight Time",
        "-+0500",
        "+0090",
        "+16",
        "EST+3",
        "IST+5",
        "UTC+5.5",
        "UTC +5.5",
        "+05 30",
        "+08000",
        "8",
    ],
)
def test_a_zone_that_cannot_be_read_makes_no_date_and_is_named(zone: str) -> None:
    headers = parse_headers(f"Date: Tue, 5 Mar 2024 08:15:00 {zone}\r\n".encode())
    assert (headers.sent_at, headers.errors) == (None, ("date",))


# each is 08:15 UTC on 5 March 2024; a missing zone is UTC
_FORMS = [
    "5 Mar 2024 08:15:00 +0000",
    "Fri, 5 Mar 2024 08:15:00 +0000",
    "Tue,5 Mar 2024 08:15:00 +0000",
    "Tue , 05  Mar\t2024 ,  08 : 15 : 00   +0000",
    "Tue. 5. Mar. 2024 8:15 +0000",
    "(Tue) Tue, (a) 5 (b) Mar (c) 2024 (d) 08:15:00 (e) +0000 (f)",
    '"Tue, 5 Mar 2024 08:15:00 +0000"',
    "=?utf-8?q?Tue,_5_Mar_2024_08:15:00_+0000?=",
    "Tue, 5 Mar 24 08:15:00 +0000",
    "Tue, 5 Mar 124 08:15:00 +0000",
    "5Mar2024 08:15:00 GMT",
    "05-Mar-2024 08:15:00",
    "05-MAR-24 08:15",
    "5 Mar 2024 08.15.00 +0000",
    "5 Mar 2024 09.15.00 +01:00",
    "5 Mar 2024 08:15:00.123 +0000",
    "Tuesday, March 5, 2024 8:15 AM",
    "Tuesday, March 5th, 2024 at 9:15:00\u202fa.m. GMT+1",
    "5 March 2024 8:15am",
    "Mon, 4 Mar 2024 8:15:00 PM -1200",
    "Tue Mar  5 08:15:00 2024",
    "Tue Mar  5 08:15:00 24",
    "Tue Mar 5 09:15:00 CET 2024",
    "Tue Mar 5 09:15:00 GMT+01:00 2024",
    "Tue Mar 5 09:15:00 2024 +0100",
    "Tue Mar 05 2024 09:15:00 GMT+0100 (Central European Standard Time)",
    "2024-03-05T08:15:00Z",
    "2024-03-05t08:15z",
    "2024-03-05T09:15:00.123+01:00",
    "2024-03-05 09:15:00,123456+01",
    "2024-03-05T09:15:00 01:00",
    "2024-03-05 08:15:00 +0000 UTC",
    "2024-03-05 09:15:00.123456789 +0100 CET m=+0.012345678",
    "20240305T081500Z",
    "20240305T0915+0100",
    "2024/03/05 08:15:00",
    "\u200e2024\u200e/\u200e03\u200e/\u200e05 08:15:00",
    "2024-03-05T08:15:00Z[UTC]",
    "2024-Mar-05 08:15:00",
    "05.03.2024 08:15",
    "5. 3. 2024 8:15:00",
    "2024年3月5日 17:15:00 +0900",
    "2024년 3월 5일 17:15:00 +0900",
    "Di, 5 Mär 2024 09:15:00 +0100",
    "5. März 2024 09:15:00 +0100",
    "mar. 5 mars 2024 09:15:00 +0100",
    "mar mar 05 09:15:00 CET 2024",
    "martes, 5 de marzo de 2024 9:15:00 CET",
    "вт, 5 мар 2024 11:15:00 +0300",
]


@pytest.mark.parametrize("value", _FORMS)
def test_a_date_is_read_in_all_forms_that_have_one_meaning(value: str) -> None:
    headers = parse_headers(f"Date: {value}\r\n".encode())
    assert (headers.sent_at, headers.errors) == (datetime(2024, 3, 5, 8, 15, tzinfo=UTC), ())


@pytest.mark.parametrize(
    ("value", "day"),
    [
        ("5 Sept 2024", datetime(2024, 9, 5)),
        ("5 September 2024 00:00 GMT", datetime(2024, 9, 5)),
        ("25/03/2024 00:00:00", datetime(2024, 3, 25)),
        ("3/25/2024 00:00:00", datetime(2024, 3, 25)),
        ("3/3/2024 12:00:00 AM", datetime(2024, 3, 3)),
        ("2024-03-05", datetime(2024, 3, 5)),
        ("Tue, 5 Mar 2024 24:00:00 +0000", datetime(2024, 3, 6)),
        ("1 Jan 49 00:00:00 +0000", datetime(2049, 1, 1)),
        ("1 Jan 50 00:00:00 +0000", datetime(1950, 1, 1)),
        ("5 Ágo 2024 00:00 +0000", datetime(2024, 8, 5)),
    ],
)
def test_days_are_read_by_their_numbers_and_names(value: str, day: datetime) -> None:
    headers = parse_headers(f"Date: {value}\r\n".encode())
    assert (headers.sent_at, headers.errors) == (day.replace(tzinfo=UTC), ())


@pytest.mark.parametrize(
    "value",
    [
        "05/03/2024 08:15:00",
        "05/03/24 08:15:00",
        "05-03-2024 08:15:00",
        "5 listopad 2024 08:15:00",
        "31 Apr 2024 08:15:00 +0000",
        "29 Feb 2023 08:15:00 +0000",
        "5 Mar 2024 24:00:01 +0000",
        "5 Mar 2024 08:60:00 +0000",
        "5 Mar 2024 13:15 AM",
        "5 Mar 2024 6 08:15:00 +0000",
        "5 Mar or 2024 08:15:00 +0000",
        "Mar 2024 08:15:00 +0000",
        "08:15:00 +0000",
        "1709626500",
        "2024-W10-2",
    ],
)
def test_a_date_with_no_or_several_meanings_is_none_and_named(value: str) -> None:
    headers = parse_headers(f"Date: {value}\r\n".encode())
    assert (headers.sent_at, headers.errors) == (None, ("date",))


@FUZZ
@given(
    st.datetimes(datetime(1900, 1, 3), datetime(2200, 12, 29)),
    st.sampled_from(["-0000", "+0000", "GMT", "UT", "EST", "PDT", "+0530", "-1200", "+1400"]),
    st.sampled_from(
        ["%a, %d %b %Y %H:%M:%S", "%d %b %Y %H:%M", "%a %d %B %Y %H:%M:%S", "%a, %d-%b-%Y %H:%M:%S"]
    ),
)
def test_well_made_dates_agree_with_the_standard_library(moment: datetime, zone: str, form: str) -> None:
    text = f"{moment.strftime(form)} {zone}"
    expected = parsedate_to_datetime(text)
    # the standard library returns a naive time for -0000
    expected = expected.replace(tzinfo=expected.tzinfo or UTC)
    assert parse_date(text) == expected


@pytest.mark.parametrize(
    ("rule", "text"),
    [
        ("an offset may follow a name", "Tue, 5 Mar 2024 16:15:00 GMT+0800"),
        ("an offset may have a colon", "Tue, 5 Mar 2024 16:15:00 +08:00"),
        ("an offset may be hours alone", "Tue, 5 Mar 2024 16:15:00 +8"),
        ("more names have one meaning", "Tue, 5 Mar 2024 09:15:00 CET"),
        ("an unknown zone is not UTC", "Tue, 5 Mar 2024 08:15:00 IST"),
        ("minutes of an offset end at 59", "Tue, 5 Mar 2024 08:15:00 +0090"),
        ("a zone in a comment counts", "Tue, 5 Mar 2024 02:15:00 (CST)"),
        ("the afternoon is later", "March 5, 2024 8:15:00 PM"),
        ("24:00 is the next day", "Tue, 5 Mar 2024 24:00:00 +0000"),
        ("a leap second is the second before", "Tue, 5 Mar 2024 23:59:60 +0000"),
        ("years from 50 on are of the 20th century", "Tue, 5 Mar 55 08:15:00 +0000"),
        ("three digits count from 1900", "Tue, 5 Mar 124 08:15:00 +0000"),
        ("months have names in other languages", "mar. 5 d\u00e9c. 2024 08:15:00 +0000"),
        ("ISO 8601 is read", "2024-03-05T08:15:00Z"),
    ],
)
def test_the_standard_library_differs_by_a_rule(rule: str, text: str) -> None:
    try:
        theirs = parsedate_to_datetime(text)
    except (TypeError, ValueError):
        theirs = None
    assert parse_date(text) != (theirs and theirs.replace(tzinfo=theirs.tzinfo or UTC)), rule


@FUZZ
@given(st.lists(st.sampled_from(_PIECES) | st.text(max_size=3), max_size=12).map(" ".join))
def test_any_text_is_a_date_or_none(text: str) -> None:
    moment = parse_date(text)
    assert moment is None or 1900 <= moment.year <= 2200


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        (b"17-Jul-1996 02:44:25 -0700", datetime(1996, 7, 17, 9, 44, 25)),
        (b" 1-JUL-1996 02:44:25 +0000", datetime(1996, 7, 1, 2, 44, 25)),
        (b'"17-Jul-1996 02:44:25 +0200"', datetime(1996, 7, 17, 0, 44, 25)),
        (b"17-Jul-1996 02:44:25", datetime(1996, 7, 17, 2, 44, 25)),
        (b"17-Jul-1996 02:44:60 +0000", datetime(1996, 7, 17, 2, 44, 59)),
        (b"17-Jul-1996 02:44:25 +02:00", datetime(1996, 7, 17, 0, 44, 25)),
        (b"17-Jul-1996 02:44:25 0200", datetime(1996, 7, 17, 0, 44, 25)),
        (b"17-Jul-1996 2:44 GMT", datetime(1996, 7, 17, 2, 44)),
        (b"Wed, 17 Jul 1996 02:44:25 -0700 (PDT)", datetime(1996, 7, 17, 9, 44, 25)),
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
        b"17-Jul-1996 02:44:25 IST",
        b"\xff\xfe",
    ],
)
def test_impossible_internal_dates_are_none(text: bytes) -> None:
    assert parse_internal_date(text) is None
