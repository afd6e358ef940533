"""Dates as programs write them; a date is right, or null, and never silently UTC."""

from __future__ import annotations

from tests.support.cases.building import Case, letter

_RIGHT = "2024-03-05T08:15:00Z"

_DATES: dict[str, tuple[str, str | None]] = {
    "ordinary": ("Tue, 5 Mar 2024 09:15:00 +0100", _RIGHT),
    "comment": ("Tue, 05 Mar 2024 09:15:00 +0100 (CET)", _RIGHT),
    "long-comment": ("Tue, 05 Mar 2024 09:15:00 +0100 (W. Europe Standard Time)", _RIGHT),
    "no-weekday": ("5 Mar 2024 09:15:00 +0100", _RIGHT),
    "no-seconds": ("Tue, 5 Mar 2024 09:15 +0100", _RIGHT),
    "full-names": ("Tuesday, 5 March 2024 09:15:00 +0100", _RIGHT),
    "two-digit-year": ("Tue, 5 Mar 24 09:15:00 +0100", _RIGHT),
    "gmt": ("Tue, 5 Mar 2024 08:15:00 GMT", _RIGHT),
    "zulu": ("Tue, 5 Mar 2024 08:15:00 Z", _RIGHT),
    "est": ("Tue, 5 Mar 2024 03:15:00 EST", _RIGHT),
    "pdt": ("Tue, 5 Mar 2024 01:15:00 PDT", _RIGHT),
    "est5edt": ("Tue, 5 Mar 2024 03:15:00 EST5EDT", _RIGHT),
    "zone-with-colon": ("Tue, 5 Mar 2024 09:15:00 +01:00", _RIGHT),
    "utc-plus-1": ("Tue, 5 Mar 2024 09:15:00 UTC+1", _RIGHT),
    "utc-minus-5-30": ("Tue, 5 Mar 2024 02:45:00 UTC-05:30", _RIGHT),
    "gmt-minus-0500": ("Tue, 5 Mar 2024 03:15:00 GMT-0500", _RIGHT),
    "offset-and-gmt": ("Tue, 5 Mar 2024 08:15:00 +0000 GMT", _RIGHT),
    "iso-8601": ("2024-03-05T08:15:00Z", _RIGHT),
    "iso-8601-offset": ("2024-03-05T09:15:00+01:00", _RIGHT),
    "iso-8601-fraction": ("2024-03-05T09:15:00.000+01:00", _RIGHT),
    "iso-8601-blank": ("2024-03-05 09:15:00 +0100", _RIGHT),
    "go": ("2024-03-05 08:15:00 +0000 UTC", _RIGHT),
    "asctime-with-zone": ("Tue Mar  5 09:15:00 2024 +0100", _RIGHT),
    "javascript": ("Tue Mar 05 2024 09:15:00 GMT+0100 (CET)", _RIGHT),
    "no-blank-behind-the-comma": ("Tue,5 Mar 2024 09:15:00 +0100", _RIGHT),
    "many-blanks": ("Tue,  5  Mar  2024  09:15:00   +0100", _RIGHT),
    "wrong-weekday": ("Fri, 5 Mar 2024 09:15:00 +0100", _RIGHT),
    "folded": ("Tue, 5 Mar 2024\n 09:15:00 +0100", _RIGHT),
    "sept-with-full-weekday": ("Thursday, 5 Sept 2024 10:15:00 +0200", "2024-09-05T08:15:00Z"),
    "day-31-of-february": ("Sat, 31 Feb 2024 09:15:00 +0100", None),
    "words": ("yesterday at noon", None),
    "empty-zone-word": ("Tue, 5 Mar 2024 09:15:00 Middle-Earth", None),
    "digits-and-slashes": ("05/03/2024 09:15", None),
}

DATES = [
    Case(f"date-{name}", letter(Date=value), value, {"sent_at": sent_at})
    for name, (value, sent_at) in _DATES.items()
]
