"""Folders as a user and the command line see them: renamed, deleted, excluded, included again."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import psycopg
import pytest

from tests.support import mail
from tests.support.dovecot import Dovecot
from tests.support.mirrors import add_account, is_healthy, live_uids, mirrored, on_server, value
from tests.support.programs import Mailsync, Running

Database = psycopg.Connection[Any]


@pytest.mark.parametrize("offered", [None, "IMAP4rev1"], ids=["all extensions", "none"])
def test_rows_and_ids_follow_the_folders(
    offered: str | None,
    mailsync: Mailsync,
    dovecot_with: Callable[..., Dovecot],
    database: Database,
    start_worker: Callable[..., Running],
) -> None:
    dovecot = dovecot_with(capabilities=offered) if offered else dovecot_with()
    user = dovecot.new_user()
    dovecot.create(user, "Work", "Work/Sub", "Gone", "Junk")
    for path, count in (("INBOX", 3), ("Work", 25), ("Work/Sub", 4), ("Gone", 5), ("Junk", 6)):
        dovecot.seed(user, path, ((mail.message(n), "", mail.internal_date(n)) for n in range(count)))
    account = add_account(mailsync, dovecot, user)
    worker = start_worker(SYNC_INTERVAL="1s", DISCOVERY_INTERVAL="10s", FOLDER_MISSING_GRACE="0")
    worker.wait_for(lambda: is_healthy(database, account))

    def rows(path: str) -> list[tuple[int, int]]:
        query = (
            "select m.uid, m.id from messages m join folders f on f.id = m.folder_id"
            " where f.path = %s and m.deleted_at is null order by m.uid"
        )
        return database.execute(query, [path]).fetchall()

    before = {path: rows(path) for path in ("Work", "Work/Sub", "Gone")}

    dovecot.rename(user, "Work", "Job")
    worker.wait_for(lambda: rows("Job") == before["Work"] and rows("Job/Sub") == before["Work/Sub"])
    renamed = "select count(*) from sync_events where type = 'folder.renamed' and data ->> 'new' like 'Job%%'"
    assert value(database, renamed) == 2

    dovecot.delete(user, "Gone")
    worker.wait_for(
        lambda: value(database, "select status from folders where path = 'Gone'") == "missing", 15
    )
    worker.wait_for(lambda: not rows("Gone"))
    listed = mailsync("list-folders", user.name)
    assert "gone from server" in listed.stdout

    # junk is excluded until the user tracks it; its rows keep their ids when it comes back
    assert rows("Junk") == []
    assert mailsync("track-folder", user.name, "Junk").returncode == 0
    worker.wait_for(lambda: len(rows("Junk")) == 6)
    junk = rows("Junk")
    assert mailsync("untrack-folder", user.name, "Junk").returncode == 0
    worker.wait_for(lambda: not rows("Junk"))
    assert mailsync("track-folder", user.name, "Junk").returncode == 0
    worker.wait_for(lambda: rows("Junk") == junk)
    dovecot.append(user, "Junk", mail.message(9))
    worker.wait_for(lambda: len(live_uids(database, account, "Junk")) == 7)

    worker.wait_for(lambda: is_healthy(database, account))
    paths = {path: path for path in ("INBOX", "Job", "Job/Sub", "Junk")}
    there = on_server(dovecot, user, paths)
    assert {path: mails for path, mails in mirrored(database, account).items() if path in paths} == there
    assert mailsync("verify", user.name).returncode == 0


def test_a_choice_takes_effect_at_once_whatever_the_tick(
    mailsync: Mailsync, dovecot: Dovecot, database: Database, start_worker: Callable[..., Running]
) -> None:
    user = dovecot.new_user()
    dovecot.create(user, "Work")
    dovecot.seed(user, "Work", (mail.message(n) for n in range(3)))
    account = add_account(mailsync, dovecot, user)
    worker = start_worker(SYNC_INTERVAL="1h")
    worker.wait_for(lambda: is_healthy(database, account))
    assert mailsync("untrack-folder", user.name, "Work").returncode == 0
    worker.wait_for(lambda: not live_uids(database, account, "Work"))
    assert mailsync("track-folder", user.name, "Work").returncode == 0
    worker.wait_for(lambda: live_uids(database, account, "Work") == [1, 2, 3])


def test_the_number_of_folders_is_limited_and_said(
    mailsync: Mailsync, dovecot: Dovecot, database: Database
) -> None:
    user = dovecot.new_user()
    for path in ("A", "B", "C"):
        dovecot.create(user, path)
        dovecot.seed(user, path, [mail.message(0)])
    account = add_account(mailsync, dovecot, user)
    env: dict[str, str | None] = {"FOLDER_WARN_COUNT": "3"}
    synced = mailsync("sync", user.name, env=env)
    assert synced.returncode == 0, synced
    assert "FOLDER_WARN_COUNT" in synced.stderr
    assert "FOLDER_WARN_COUNT" not in mailsync("sync", user.name, "--full", env=env).stderr, "said once"
    for command in ("list-folders", "check-account"):
        assert "4 folders are more than FOLDER_WARN_COUNT (3)" in mailsync(command, user.name, env=env).stdout

    env = {"FOLDER_MAX_COUNT": "3"}
    assert mailsync("track-folder", user.name, "B").returncode == 0
    assert mailsync("sync", user.name, "--full", env=env).returncode == 0
    tracked = "select array_agg(path order by path) from folders where tracked"
    assert value(database, tracked) == ["B", "INBOX"]
    assert live_uids(database, account, "A") == [1]
    said = mailsync("list-folders", user.name, env=env).stdout
    assert "too_many_folders" in said
    assert "4 folders are more than FOLDER_MAX_COUNT (3)" in said

    assert mailsync("sync", user.name, "--full").returncode == 0
    assert value(database, tracked) == ["A", "B", "C", "INBOX"]
    assert mailsync("verify", user.name).returncode == 0
