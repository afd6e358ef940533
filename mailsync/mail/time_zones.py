"""Time zones as they are written in dates: offsets, names, and both together; pure.

A name counts only if it means one offset everywhere. RFC 5322 §4.3 fixes those of North America, UT and GMT,
and makes the letters of the military zones UTC. Others, such as BST and IST, are used for several zones.
"""

from __future__ import annotations

import re

_UTC = frozenset({"z", "ut", "utc", "uct", "gmt"})
_HOURS = {
    -10: "hst",
    -9: "akst",
    -8: "pst akdt",
    -7: "mst pdt",
    -6: "cst mdt",
    -5: "est cdt",
    -4: "edt",
    -3: "brt",
    0: "z ut utc uct gmt wet a b c d e f g h i k l m n o p q r s t u v w x y",
    1: "cet mez met west",
    2: "cest mesz mest eet sast",
    3: "eest msk",
    4: "msd",
    5: "pkt",
    7: "wib",
    8: "hkt sgt awst",
    9: "jst kst",
    10: "aest",
    11: "aedt",
    12: "nzst",
    13: "nzdt",
}
_NAMES = {name: hours * 3600 for hours, names in _HOURS.items() for name in names.split()}
_PHRASES = {
    "coordinated universal time": 0,
    "universal time": 0,
    "greenwich mean time": 0,
    "gmt standard time": 0,
    "central european time": 3600,
    "central european standard time": 3600,
    "central european summer time": 7200,
    "eastern standard time": -5 * 3600,
    "eastern daylight time": -4 * 3600,
    "central daylight time": -5 * 3600,
    "mountain standard time": -7 * 3600,
    "mountain daylight time": -6 * 3600,
    "pacific standard time": -8 * 3600,
    "pacific daylight time": -7 * 3600,
    "japan standard time": 9 * 3600,
}
_OFFSET = re.compile(
    r"([a-z]*+)\s*+([+-]{0,2}+)\s*+(?:([0-9]{1,2}):([0-9]{2})(?::00)?|([0-9]{1,4}))(?![0-9:.])"
)
_PHRASE = re.compile(r"([a-z]++)(?:\s++[a-z]++)*+")
_NO_NUMBER = re.compile(r"(?!\S|\s*[0-9+-])")


def read_zone(text: str) -> int | None:
    """Return the seconds east of Greenwich of a zone in lower case; None if it cannot be read.

    Text after the zone is ignored. A number of hours and minutes wins over a name before it.

    >>> read_zone("gmt+0800"), read_zone("est5edt"), read_zone("ist")
    (28800, -18000, None)
    """
    match = _OFFSET.match(text)
    if match:
        return _offset(match)
    phrase = _PHRASE.match(text)
    if phrase is None:
        return None
    known = _PHRASES.get(" ".join(phrase[0].split()))
    if known is not None:
        return known
    name = phrase[1]
    # "gmt daylight time" is not GMT, "w. europe" not W, and "utc +5.5" not UTC
    if "time" in text or len(name) == 1 < len(text) or not _NO_NUMBER.match(text, phrase.end(1)):
        return None
    return _NAMES.get(name)


def _offset(match: re.Match[str]) -> int | None:
    name, signs, hours, minutes, digits = match.groups()
    is_short = bool(digits) and len(digits) <= 2
    if digits:
        hours, minutes = (digits, "0") if is_short else (digits[:-2], digits[-2:])
    # "+05 30" may be half an hour more than it seems
    is_divided = is_short and match.string[match.end() :].lstrip()[:1].isdigit()
    if int(minutes) > 59 or signs == "-+" or is_divided:
        return None
    seconds = int(hours) * 3600 + int(minutes) * 60
    # the last of two signs belongs to the number: programs wrote the first before a number with a sign
    signed = -seconds if signs[-1:] == "-" else seconds
    if is_short and name and name not in _UTC:
        # a name and hours have to agree, either as in RFC 5322 or as in POSIX, which counts to the west
        known = _NAMES.get(name)
        return known if known in (signed, -signed) else None
    if is_short and not signs and seconds:
        return None
    # a number without a sign had a plus, which means a blank in the data of forms
    return signed
