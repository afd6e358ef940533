"""Cursors: positions survive the round trip, and nothing else is accepted."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailsync.web.http.cursors import Cursors
from mailsync.web.http.problems import BadRequest

NUMBERS = st.integers(-(1 << 63), (1 << 64) - 1), st.integers(0, (1 << 63) - 1)


@given(*NUMBERS)
def test_a_position_of_64_bits_survives(first: int, second: int) -> None:
    text = Cursors("events", None).write(first, second)
    assert re.fullmatch(r"[A-Za-z0-9_-]{36}", text)
    assert Cursors("events", None).read(text) == (first, second)


@given(st.datetimes(timezones=st.just(UTC)), NUMBERS[1])
def test_a_moment_survives_to_the_microsecond(at: datetime, row_id: int) -> None:
    cursors = Cursors("runs", 1)
    assert cursors.read_moment(cursors.write_moment(at, row_id)) == (at, row_id)


def test_a_moment_gives_the_same_cursor_in_any_time_zone() -> None:
    cursors, at = Cursors("runs", 1), datetime(2026, 5, 1, 12, tzinfo=UTC)
    assert cursors.write_moment(at.astimezone(timezone(timedelta(hours=-5))), 3) == cursors.write_moment(
        at, 3
    )


@given(st.text(max_size=60) | st.binary(min_size=27, max_size=27).map(lambda raw: raw.hex()[:36]))
def test_anything_but_a_cursor_is_refused_by_name(text: str) -> None:
    with pytest.raises(BadRequest) as refused:
        Cursors("events", None, parameter="after").read(text)
    assert (refused.value.status, [error.parameter for error in refused.value.errors]) == (422, ["after"])


@pytest.mark.parametrize(
    "other",
    [("events", 2), ("events", None), ("runs", 1), ("events",), ("events", 1, None), ("events", "1")],
)
def test_a_cursor_is_bound_to_its_list(other: tuple[str, *tuple[object, ...]]) -> None:
    text = Cursors("events", 1).write(5, 7)
    with pytest.raises(BadRequest, match="not a cursor of this list"):
        Cursors(*other).read(text)


def test_changing_any_letter_is_detected() -> None:
    cursors = Cursors("messages", 1, 5, None, "ünï")
    text = cursors.write(1_700_000_000_000_000, 99)
    for at in range(len(text)):
        for letter in "A_z9-":
            if text[at] != letter:
                with pytest.raises(BadRequest):
                    cursors.read(text[:at] + letter + text[at + 1 :])


@pytest.mark.parametrize(
    ("cursors", "numbers", "text"),
    [
        (Cursors("events", None), (5, 1), "AQAAAAAAAAAABQAAAAAAAAAAAQqHyzdhM7dy"),
        (Cursors("events", 3), ((1 << 40) + 1, 12_345), "AQAAAAEAAAAAAQAAAAAAAAAwOWPZIvPdlUUh"),
    ],
)
def test_cursors_are_those_of_the_first_release(
    cursors: Cursors, numbers: tuple[int, int], text: str
) -> None:
    """Consumers keep cursors for months: a change needs a new version, and this one must still be read."""
    assert cursors.write(*numbers) == text
    assert cursors.read(text) == numbers
