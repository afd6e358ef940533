"""``sync`` and ``verify``: what they do, and what they report when they cannot."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest

from tests.support import planted
from tests.support.commands import EMAIL, add
from tests.support.dovecot import Dovecot
from tests.support.imap_server import User
from tests.support.mail import internal_date, message
from tests.support.programs import Mailsync
from tests.support.pymap_server import Pymap
from tests.support.scripted import ScriptedServer

FOLDERS = ("INBOX", "Sent", "Work", "R&AOk-sum&AOk-s")


@pytest.fixture
def user(dovecot: Dovecot) -> User:
    """A mailbox with 30 messages in each of four folders."""
    user = dovecot.new_user()
    dovecot.create(user, *FOLDERS[1:], "Junk")
    for folder in FOLDERS:
        flags = ("", r"\Seen", r"\Flagged $Forwarded")
        dovecot.seed(user, folder, [(message(n), flags[n % 3], internal_date(n)) for n in range(30)])
    dovecot.seed(user, "Junk", [message(1)])
    return user


def versions(database: psycopg.Connection[Any]) -> list[Any]:
    """Which version of each row there is: any write shows."""
    return [
        database.execute(f"select ctid::text, xmin::text from {table} order by id").fetchall()  # type: ignore
        for table in ("messages", "folders")
    ]


def test_a_sync_makes_rows_of_everything_and_a_second_one_writes_nothing(
    mailsync: Mailsync, dovecot: Dovecot, user: User, database: psycopg.Connection[Any]
) -> None:
    add(mailsync, dovecot, user)
    first = mailsync("sync", EMAIL)
    assert first.returncode == 0
    assert f"✓ {EMAIL}: 120 messages in 4 folders (120 new) in " in first.stdout
    assert sorted(first.stderr.splitlines()) == [
        "  INBOX: 30 messages",
        "  Résumés: 30 messages",
        "  Sent: 30 messages",
        "  Work: 30 messages",
    ]
    before = versions(database)
    second = mailsync("sync", EMAIL)
    assert "(nothing changed)" in second.stdout
    assert second.stderr == ""
    assert versions(database) == before
    equal = mailsync("verify", EMAIL)
    assert (equal.returncode, equal.stderr) == (0, "")
    assert equal.stdout == "✓ 120 messages in 4 folders compared with the server: all equal\n"
    assert versions(database) == before


def test_json_is_one_document_with_what_was_done(mailsync: Mailsync, dovecot: Dovecot, user: User) -> None:
    add(mailsync, dovecot, user)
    document = mailsync("sync", EMAIL, "--json").json()
    seconds = document.pop("seconds")
    assert seconds > 0
    assert document == {
        "email": EMAIL,
        "messages": 120,
        "folders": 4,
        "messages_new": 120,
        "flags_changed": 0,
        "messages_deleted": 0,
        "sync_state": "healthy",
        "sync_state_reason": None,
        "folder_errors": {},
        "limitations": {},
        "incomplete": [],
    }
    document = mailsync("verify", EMAIL, "--json").json()
    assert (document["equal"], document["messages"], document["differences"]) == (True, 120, 0)
    assert {folder["path"] for folder in document["folders"]} == {"INBOX", "Sent", "Work", "Résumés"}


def test_changes_on_the_server_are_differences_until_the_next_sync(
    mailsync: Mailsync, dovecot: Dovecot, user: User
) -> None:
    add(mailsync, dovecot, user)
    mailsync("sync", EMAIL)
    dovecot.append(user, "INBOX", message(99))
    dovecot.expunge(user, "Sent", "7:8")
    dovecot.store(user, "Work", "3", r"\Answered")
    done = mailsync("verify", EMAIL, "--json")
    assert done.returncode == 1
    counts = {folder["path"]: folder["counts"] for folder in done.json()["folders"]}
    assert counts == {"INBOX": {"missing": 1}, "Sent": {"extra": 2}, "Work": {"flags": 1}, "Résumés": {}}
    text = mailsync("verify", EMAIL).stdout
    assert "INBOX: 1 not mirrored\n  UID 31: not mirrored\n" in text
    assert "Sent: 2 gone on the server" in text
    assert "✗ 4 differences in " in text
    done = mailsync("sync", EMAIL)
    assert "(1 new, 1 with other flags, 2 deleted)" in done.stdout
    assert mailsync("verify", EMAIL).returncode == 0


def test_most_of_a_folder_is_gone_after_one_sync_that_looks_twice(
    mailsync: Mailsync, dovecot: Dovecot, user: User, database: psycopg.Connection[Any]
) -> None:
    add(mailsync, dovecot, user)
    dovecot.seed(user, "Sent", (message(n) for n in range(150)))
    mailsync("sync", EMAIL)
    dovecot.expunge(user, "Sent", "1:*")
    assert mailsync("sync", EMAIL).returncode == 0
    assert mailsync("verify", EMAIL).returncode == 0
    left = database.execute("select live_count, suspect_deletion from folders where path = 'Sent'").fetchall()
    assert left == [(0, None)]


def test_verify_sees_every_kind_of_spoilt_row_and_full_heals_what_it_compares(
    mailsync: Mailsync, dovecot: Dovecot, user: User, database: psycopg.Connection[Any]
) -> None:
    add(mailsync, dovecot, user)
    mailsync("sync", EMAIL)
    for change in (
        "set flags = array[chr(92) || 'Draft'] where uid = 1",
        "set size_bytes = size_bytes + 1 where uid = 2",
        "set internal_date = internal_date + interval '1 s' where uid = 3",
        "set deleted_at = now(), deleted_reason = 'expunged' where uid = 4",
        "set uid = 1000 where uid = 5",
    ):
        database.execute(
            f"update messages {change} and folder_id = (select id from folders where path = 'Work')"  # type: ignore
        )
    done = mailsync("verify", EMAIL, "--json")
    assert done.returncode == 1
    (work,) = [folder for folder in done.json()["folders"] if folder["path"] == "Work"]
    spoilt = {"flags": 1, "size_bytes": 1, "internal_date": 1, "missing": 2, "extra": 1}
    assert work["counts"] == spoilt | {"live_count": 1, "live_unseen": 1}
    kinds = {difference["kind"]: difference for difference in work["differences"]}
    assert (kinds["flags"]["uid"], kinds["flags"]["mirror"]) == (1, "\\Draft")
    assert kinds["extra"]["uid"] == 1000
    mailsync("sync", EMAIL, "--full")
    (work,) = [f for f in mailsync("verify", EMAIL, "--json").json()["folders"] if f["path"] == "Work"]
    assert set(work["counts"]) <= {"size_bytes", "internal_date", "extra"}


def test_full_looks_at_everything_even_when_nothing_seems_to_have_changed(
    mailsync: Mailsync, dovecot: Dovecot, user: User, database: psycopg.Connection[Any]
) -> None:
    add(mailsync, dovecot, user)
    mailsync("sync", EMAIL)
    database.execute("update messages set flags = '{}' where uid = 2")
    database.execute("update folders set path = 'Old name' where path = 'Work'")
    assert "(nothing changed)" in mailsync("sync", EMAIL).stdout
    done = mailsync("sync", EMAIL, "--full", "--json").json()
    assert (done["flags_changed"], done["messages_new"]) == (4, 0)
    assert database.execute("select count(*) from folders where path = 'Work'").fetchone() == (1,)
    assert mailsync("verify", EMAIL).returncode == 0


@pytest.mark.long
def test_a_server_without_extensions_is_synced_to_the_end_too(
    mailsync: Mailsync, pymap: Pymap, database: psycopg.Connection[Any]
) -> None:
    others = [f"Folder {n}" for n in range(12)]
    pymap.create(pymap.user, *others)
    for folder in ("INBOX", *others):
        pymap.seed(pymap.user, folder, [message(n) for n in range(5)])
    add(mailsync, pymap, pymap.user)
    done = mailsync("sync", EMAIL, env={"SYNC_RR_FOLDERS": "2"})
    assert f"✓ {EMAIL}: 65 messages in 13 folders (65 new)" in done.stdout
    assert mailsync("verify", EMAIL).returncode == 0
    for folder in others:
        pymap.seed(pymap.user, folder, [message(7)])
    done = mailsync("sync", EMAIL, env={"SYNC_RR_FOLDERS": "2"})
    assert "(12 new)" in done.stdout
    before = versions(database)
    assert "(nothing changed)" in mailsync("sync", EMAIL).stdout
    assert versions(database) == before


def test_a_rejected_password_is_code_4_and_other_failures_code_1(
    mailsync: Mailsync, scripted: ScriptedServer, database: psycopg.Connection[Any]
) -> None:
    user = scripted.new_user(EMAIL)
    add(mailsync, scripted, user)
    scripted.on("LOGIN", b"NO [AUTHENTICATIONFAILED] no such luck", times=1)
    done = mailsync("sync", EMAIL)
    assert done.returncode == 4
    assert done.stderr.startswith("mailsync: login failed: ")
    scripted.on("LOGIN", b"NO [UNAVAILABLE] no database", times=1)
    done = mailsync("sync", EMAIL)
    assert done.returncode == 1
    assert "no database" in done.stderr
    backoff = "select backoff_until > now() from accounts"
    assert database.execute(backoff).fetchone() == (True,)
    # A person asked for this sync, so it ignores the backoff.
    assert mailsync("sync", EMAIL).returncode == 0
    assert database.execute(backoff).fetchone() == (None,)


def test_a_command_with_another_key_fails_and_leaves_the_account_as_it_is(
    mailsync: Mailsync, dovecot: Dovecot, user: User, database: psycopg.Connection[Any]
) -> None:
    add(mailsync, dovecot, user)
    assert mailsync("sync", EMAIL).returncode == 0
    failed = mailsync("sync", EMAIL, env={"IMAP_ENCRYPTION_KEY": planted.keep("7a" * 32)})
    assert failed.returncode == 1
    assert "IMAP_ENCRYPTION_KEY" in failed.stderr
    assert database.execute("select sync_state from accounts").fetchall() == [("healthy",)]


def test_a_folder_that_cannot_be_read_costs_only_itself_and_makes_the_code_1(
    mailsync: Mailsync, scripted: ScriptedServer, database: psycopg.Connection[Any]
) -> None:
    user = scripted.new_user(EMAIL)
    for name in ("INBOX", "Bad", "Good"):
        user.create(name).add(message(1))
    add(mailsync, scripted, user)
    refuse = b"NO [NOPERM] not for you"
    scripted.on("EXAMINE", lambda r: r.tagged(refuse) if b"Bad" in r.text else r.default())
    done = mailsync("sync", EMAIL)
    assert done.returncode == 1
    assert "not for you" in done.stderr
    assert f"✗ {EMAIL}: 2 messages in 3 folders" in done.stdout
    checked = mailsync("verify", EMAIL, "--json")
    assert checked.returncode == 1
    assert {f["path"]: f["counts"] for f in checked.json()["folders"]} == {
        "INBOX": {},
        "Good": {},
        "Bad": {"unreadable": 1},
    }


def test_verify_takes_a_window_into_account(
    mailsync: Mailsync, dovecot: Dovecot, database: psycopg.Connection[Any]
) -> None:
    user = dovecot.new_user()
    old, new = "01-Jan-2020 10:00:00 +0000", "01-Jan-2024 10:00:00 +0000"
    dovecot.seed(user, "INBOX", [(message(n), "", old if n % 2 else new) for n in range(10)])
    add(mailsync, dovecot, user, "--sync-since", "2023-01-01")
    assert "5 messages in 1 folder (5 new)" in mailsync("sync", EMAIL).stdout
    done = mailsync("verify", EMAIL, "--json")
    assert (done.returncode, done.json()["messages"]) == (0, 5)
    database.execute("delete from messages where id = (select min(id) from messages)")
    assert mailsync("verify", EMAIL).returncode == 1
