from __future__ import annotations

from datetime import UTC, datetime, timedelta

from mailsync.engine.fetch.neighbours import with_estimated_dates
from mailsync.engine.fetch.single_messages import placeholder
from mailsync.model import Message

NOON = datetime(2024, 3, 1, 12, tzinfo=UTC)


def dated(uid: int) -> Message:
    return placeholder(uid)._replace(internal_date=NOON + timedelta(hours=uid), parse_errors=())


def test_a_placeholder_without_a_date_has_that_of_the_nearest_message() -> None:
    messages = {m.uid: m for m in (dated(1), placeholder(2), placeholder(8), dated(9))}
    estimated = with_estimated_dates(messages, None)
    assert estimated[2].internal_date == dated(1).internal_date
    assert estimated[8].internal_date == dated(9).internal_date
    assert "internal_date" in estimated[8].parse_errors


def test_the_message_that_was_fetched_before_counts_too() -> None:
    estimated = with_estimated_dates({5: placeholder(5)}, dated(6))
    assert estimated[5].internal_date == dated(6).internal_date
    assert with_estimated_dates({5: placeholder(5)}, placeholder(6))[5].internal_date is None


def test_dates_of_the_server_and_rows_with_content_stay_as_they_are() -> None:
    unknown = placeholder(3)._replace(parse_errors=("internal_date",))
    messages = {1: dated(1), 2: dated(2)._replace(parse_errors=("unfetchable",)), 3: unknown}
    assert with_estimated_dates(messages, None) == messages
