"""``mailsync_arrival_seconds``: from arrival to row, and what is no arrival."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from tests.support import mail
from tests.support.scripted import ScriptedServer
from tests.support.turns import Mirror, letters


def ago(**time: float) -> str:
    return (datetime.now(UTC) - timedelta(**time)).strftime("%d-%b-%Y %H:%M:%S +0000")


def counted(mirror: Mirror) -> tuple[float, float]:
    """Return how many arrivals were counted, and the sum of their seconds."""
    mirror.env.counters.store(mirror.conn)
    total = "select coalesce(sum(value), 0) from metric_counters where name = 'mailsync_arrival_seconds_{}'"
    return mirror.value(total.format("bucket")), mirror.value(total.format("sum"))


def test_a_message_that_was_only_moved_has_not_arrived(database_url: str, scripted: ScriptedServer) -> None:
    user = scripted.new_user()
    inbox = letters(user, 3)
    with Mirror(database_url, scripted, user) as mirror:
        mirror.complete()
        assert counted(mirror) == (0, 0)
        inbox.add(mail.message(10), date=ago(seconds=2))
        inbox.add(mail.message(11), date=ago(days=400))  # as a client moves, copies or imports it
        mirror.hot()
        assert mirror.value("select count(*) from messages") == 5
        arrivals, seconds = counted(mirror)
        assert arrivals == 1
        assert 2 <= seconds < 3600


def test_mail_that_came_while_no_worker_ran_counts_with_its_delay(
    database_url: str, scripted: ScriptedServer
) -> None:
    user = scripted.new_user()
    inbox = letters(user, 3)
    with Mirror(database_url, scripted, user) as mirror:
        mirror.complete()
        mirror.conn.execute("update accounts set overall_synced_at = now() - interval '3 hours'")
        inbox.add(mail.message(10), date=ago(hours=2))
        mirror.hot()
        arrivals, seconds = counted(mirror)
        assert arrivals == 1
        assert 7200 <= seconds < 9000
