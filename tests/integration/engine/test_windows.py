"""Windows that roll, are narrowed, widened and removed: what expires, and what is fetched again."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import psycopg
import pytest

from mailsync.engine.retention import Retention
from mailsync.engine.turn import Turn
from mailsync.store import db, migrations
from tests.support import mail
from tests.support.mailboxes import Account
from tests.support.scripted import ScriptedServer
from tests.support.stored import assert_counts_are_true, new_account, settings_for
from tests.support.turns import Mirror

NOW = datetime.now(UTC)


def aged(user: Account, days: list[int], path: str = "INBOX") -> None:
    """Add messages of these ages, in this order; create the folder if there is none."""
    folder = user.folders.get(path.encode()) or user.create(path)
    for number in days:
        when = NOW - timedelta(days=number) + timedelta(hours=6)
        folder.add(mail.message(number), date=when.strftime("%d-%b-%Y %H:%M:%S +0000").encode())


def ages(mirror: Mirror, path: str = "INBOX") -> list[int]:
    """The ages in days of the folder's live rows, youngest first."""
    query = "select internal_date from messages where folder_id = %s and deleted_at is null order by 1 desc"
    rows = mirror.conn.execute(query, [mirror.folder(path).id])
    return [round((NOW - row[0]) / timedelta(days=1)) for row in rows]


def move_window(mirror: Mirror, days: int | None) -> None:
    """Change the window, as a person does."""
    mirror.conn.execute("update accounts set sync_window_days = %s, sync_since = null", [days])


def expire(mirror: Mirror) -> None:
    mirror.conn.execute("update upkeep set next_at = now()")
    work = Retention()
    while work.step(mirror.env):
        pass


def look_at_all(mirror: Mirror) -> None:
    """Take turns until everything is compared, including reconciles."""
    mirror.conn.execute("update folders set next_reconcile_at = now() - interval '1 second'")
    for _ in range(3):
        for turn in (mirror.hot, mirror.fill):
            ended = turn()
            assert isinstance(ended, Turn), ended
    assert not mirror.value("select count(*) from folders where tracked and status <> 'active'")
    for folder in mirror.conn.execute("select path from folders where tracked").fetchall():
        assert_counts_are_true(mirror.conn, mirror.folder(folder[0]))


def test_messages_that_a_narrowed_window_expires_return_with_their_ids_when_it_is_widened(
    database_url: str, scripted: ScriptedServer
) -> None:
    user = scripted.new_user()
    # as if mail had been moved in: old mail also has high UIDs
    aged(user, [9, 8, 1, 2, 7, 6, 3, 4, 5])
    with Mirror(database_url, scripted, user) as mirror:
        mirror.complete()
        ids = dict(mirror.conn.execute("select uid, id from messages").fetchall())
        assert ages(mirror) == [1, 2, 3, 4, 5, 6, 7, 8, 9]

        move_window(mirror, 4)
        look_at_all(mirror)
        assert ages(mirror) == [1, 2, 3, 4, 5, 6, 7, 8, 9], "rows expire by retention alone"
        assert mirror.value("select next_at <= now() from upkeep"), "which is due at once"
        expire(mirror)
        look_at_all(mirror)
        assert ages(mirror) == [1, 2, 3, 4], "and no reconcile brings them back"

        move_window(mirror, 7)
        look_at_all(mirror)
        assert ages(mirror) == [1, 2, 3, 4, 5, 6, 7]
        move_window(mirror, None)
        look_at_all(mirror)
        assert ages(mirror) == [1, 2, 3, 4, 5, 6, 7, 8, 9]
        assert mirror.value("select mirrored_since from accounts") is None
        assert dict(mirror.conn.execute("select uid, id from messages").fetchall()) == ids


def test_a_window_from_the_beginning_is_widened_in_folders_that_seemed_empty_too(
    database_url: str, scripted: ScriptedServer
) -> None:
    user = scripted.new_user()
    aged(user, [5, 1])
    aged(user, [9, 8, 7], "Old")
    user.create("Empty")
    with Mirror(database_url, scripted, user) as mirror:
        mirror.conn.execute("update accounts set sync_since = %s", [NOW - timedelta(days=2)])
        mirror.complete()
        assert (ages(mirror), ages(mirror, "Old")) == ([1], [])
        # old mail arrives, as by a move from elsewhere
        aged(user, [6], "Old")
        look_at_all(mirror)
        assert ages(mirror, "Old") == []

        mirror.conn.execute("update accounts set sync_since = %s", [NOW - timedelta(days=8)])
        look_at_all(mirror)
        assert (ages(mirror), ages(mirror, "Old")) == ([1, 5], [6, 7, 8])
        runs = mirror.value("select count(*) from sync_runs")
        mirror.hot()
        assert mirror.value("select count(*) from sync_runs") == runs, "and then it is quiet"


def test_a_window_set_and_taken_back_during_the_first_sync_leaves_no_hole(
    database_url: str, scripted: ScriptedServer
) -> None:
    user = scripted.new_user()
    aged(user, [4, 3, 2, 9, 1])
    with Mirror(database_url, scripted, user, fetch_batch=1) as mirror:
        mirror.configure(backfill_turn_max=0)
        mirror.hot()
        mirror.fill()
        assert ages(mirror) == [1]
        move_window(mirror, 3)
        mirror.hot()
        mirror.configure(backfill_turn_max=60)
        mirror.fill()
        assert ages(mirror) == [1, 2, 3]
        move_window(mirror, None)
        look_at_all(mirror)
        assert ages(mirror) == [1, 2, 3, 4, 9]


def test_a_rolling_window_is_no_wider_for_a_clock_that_was_set_back_a_little(
    database_url: str, scripted: ScriptedServer
) -> None:
    user = scripted.new_user()
    aged(user, [1])
    with Mirror(database_url, scripted, user) as mirror:
        move_window(mirror, 5)
        mirror.complete()
        mirror.conn.execute("update accounts set mirrored_since = mirrored_since + interval '10 minutes'")
        mirror.hot()
        assert mirror.folder().status == "active"


def test_accounts_that_had_a_window_before_the_migration_reach_no_further(
    empty_database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings, first = settings_for(empty_database_url), migrations.migrations()[0]
    with db.connect(settings, "test") as conn:
        with monkeypatch.context() as patch:
            patch.setattr(migrations, "migrations", lambda: [first])
            migrations.migrate(conn, settings)
        for email, since, days in (
            ("a@x.y", None, None), ("b@x.y", NOW, None), ("c@x.y", None, 30), ("d@x.y", None, 10**9),
            ("e@x.y", "-infinity", None),
        ):  # fmt: skip
            conn.execute(
                "insert into accounts"
                " (email, imap_host, imap_port, imap_security, username, sync_since, sync_window_days)"
                " values (%s, 'h', 993, 'tls', 'u', %s, %s)",
                [email, since, days],
            )
        migrations.migrate(conn, settings)
        reach = [row[0] for row in conn.execute("select mirrored_since from accounts order by email")]
    assert reach[:2] == [None, NOW]
    assert abs(reach[2] - (NOW - timedelta(days=30))) < timedelta(hours=6)
    # windows beyond the range of dates are limited to it
    assert [each.year for each in reach[3:]] == [(NOW - timedelta(days=36500)).year, 1900]


@pytest.mark.parametrize(
    "change",
    [
        "sync_window_days = 36501",
        "sync_since = '-infinity'",
        "sync_since = 'infinity'",
        "paused_at = 'infinity'",
    ],
)
def test_what_no_date_reaches_is_refused_where_it_is_written(database_url: str, change: str) -> None:
    settings = settings_for(database_url)
    with db.connect(settings, "test") as conn:
        new_account(conn, settings)
        with pytest.raises(psycopg.errors.CheckViolation):
            conn.execute(f"update accounts set {change}")
