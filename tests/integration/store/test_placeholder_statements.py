"""The statements for rows without content: which errors they distinguish, their costs, and the upgrade."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from psycopg import sql

from mailsync.errors import DatabaseUnavailable, MailsyncError, RowsRefused
from mailsync.store import attempts, db, folders, migrations
from mailsync.store.statements import statements, translated
from tests.support.scripted import ScriptedServer
from tests.support.stored import settings_for
from tests.support.turns import Mirror


@pytest.fixture
def mirror(database_url: str, scripted: ScriptedServer) -> Iterator[Mirror]:
    """A mirror of an empty mailbox, before its first sync."""
    with Mirror(database_url, scripted, scripted.new_user()) as mirror:
        yield mirror


@pytest.mark.parametrize(
    ("state", "kind"),
    [
        *[(state, RowsRefused) for state in ("22P02", "22021", "22001", "21000", "54000")],
        *[
            (state, DatabaseUnavailable)
            for state in (
                "53000",
                "53100",
                "53200",
                "53300",
                "53400",
                "57P01",
                "58000",
                "58030",
                "25006",
                "40001",
            )
        ],
        *[
            (state, MailsyncError)
            for state in ("XX000", "XX001", "XX002", "23514", "42501", "P0001", "0A000")
        ],
    ],
)
def test_only_a_refused_value_is_held_against_a_row(
    state: str, kind: type[MailsyncError], mirror: Mirror
) -> None:
    block = f"do $$ begin raise exception using errcode = '{state}'; end $$"
    with pytest.raises(psycopg.Error) as raised:
        mirror.conn.execute(block.encode())
    assert type(translated(raised.value)) is kind


@pytest.mark.parametrize("analysed", ["never", "empty", "others"])
def test_what_a_turn_asks_about_rows_without_content_reads_those_alone(analysed: str, mirror: Mirror) -> None:
    mirror.hot()
    folder = mirror.folder()
    mirror.conn.execute("alter table messages set (autovacuum_enabled = off)")
    if analysed == "empty":
        mirror.conn.execute("analyze")
    if analysed == "others":
        other = mirror.value(
            "insert into accounts (email, imap_host, imap_port, imap_security, username)"
            " values ('other@example.test', 'mail.test', 993, 'tls', 'other') returning id"
        )
        theirs = mirror.value(
            "insert into folders (account_id, wire_name, path) values (%s, 'INBOX', 'INBOX') returning id",
            other,
        )
        _fill(mirror, other, theirs, 50_000)
        mirror.conn.execute("analyze")
    _fill(mirror, mirror.account_id, folder.id, 20_000)
    uidvalidity = mirror.value("select uidvalidity from messages where account_id = %s", mirror.account_id)
    mirror.conn.execute("update folders set uidvalidity = %s", [uidvalidity])
    attempts.plan_retries(mirror.conn, mirror.folder(), range(1, 6))
    key = {"account_id": mirror.account_id, "folder_id": folder.id, "uidvalidity": uidvalidity}
    turn = {"account_id": mirror.account_id, "started_by": "test", "burst": 9.0, "refill": 1.0, "floor": 1.0,
            "kind": "sync", "survived": None, "silent_for": 120.0}  # fmt: skip
    costs = {
        name: _buffers(mirror, name, given)
        for name, given in {
            "count_without_content": {"account_id": mirror.account_id},
            "due_retries": {"account_id": mirror.account_id, "limit": 10},
            "replan_retries": key,
            "plan_retries": key | {"uids": [1, 2, 3, 4, 5]},
            "announce_content": key | {"uid": 6},
            "note_retry": key | {"uid": 1, "interval": 60.0},
            "begin_turn": turn,
        }.items()
    }
    print(costs)
    # five rows, each found by an index; and for the turn the account, its folders and runs
    assert {name: cost for name, cost in costs.items() if cost > 60} == {}
    assert attempts.count_without_content(mirror.conn, mirror.account_id) == 5


def _fill(mirror: Mirror, account_id: int, folder_id: int, count: int) -> None:
    mirror.conn.execute(
        "insert into messages (account_id, folder_id, uidvalidity, uid, internal_date, parse_errors)"
        " select %s, %s, 7, n, now(), case when n <= 5 then '{unfetchable}'::text[] else '{}' end"
        " from generate_series(1, %s) n",
        [account_id, folder_id, count],
    )


def _buffers(mirror: Mirror, name: str, given: dict[str, Any]) -> int:
    """The number of buffers that the statement reads; it is rolled back."""
    explain = sql.SQL("explain (analyze, buffers, format json) ") + statements()[name]
    with mirror.conn.transaction(force_rollback=True):
        # setting hint bits of new rows is not the statement's cost
        mirror.conn.execute(explain, given)
        row = mirror.conn.execute(explain, given).fetchone()
    assert row
    plan = row[0][0]["Plan"]
    return int(plan["Shared Hit Blocks"] + plan["Shared Read Blocks"])


def test_an_upgrade_blames_nothing_for_what_was_counted_before_and_plans_what_has_no_content(
    empty_database_url: str,
) -> None:
    settings = settings_for(empty_database_url)
    older = [m for m in migrations.migrations() if m.name < "0006"]
    with db.connect(settings, "test") as conn:
        conn.execute("create schema mailsync")
        for migration in older:
            with conn.transaction():
                conn.execute(migration.text.encode())
        row = conn.execute(
            "insert into accounts (email, imap_host, imap_port, imap_security, username)"
            " values ('a@example.com', 'imap.example.com', 993, 'tls', 'a') returning id"
        ).fetchone()
        assert row
        (folder_id,) = conn.execute(
            "insert into folders (account_id, wire_name, path, uidvalidity) values (%s, 'INBOX', 'INBOX', 7)"
            " returning id",
            [row[0]],
        ).fetchone() or (0,)
        for uid, errors in ((1, ["unfetchable"]), (2, ["unstorable", "flags"]), (3, ["date"])):
            conn.execute(
                "insert into messages (account_id, folder_id, uidvalidity, uid, internal_date, parse_errors)"
                " values (%s, %s, %s, %s, now(), %s)",
                [row[0], folder_id, 7, uid, errors],
            )
        conn.execute(
            "insert into fetch_attempts (account_id, folder_id, uidvalidity, uid, through_uid, attempts)"
            " values (%(a)s, %(f)s, %(v)s, 1, 1, 3), (%(a)s, %(f)s, %(v)s, 9, 9, 7)",
            {"a": row[0], "f": folder_id, "v": 7},
        )
        migrations.migrate(conn, settings)
        folder = next(iter(folders.load(conn, row[0])))
        due = attempts.due_retries(conn, folder.account_id, 9)
        assert sorted((retry.uid, retry.is_needed) for retry in due) == [(1, True), (2, True)]
        assert attempts.open_attempts(conn, folder) == [(9, 9, 1)]
        assert attempts.note_isolation(conn, folder, 9) == (1, 0)
