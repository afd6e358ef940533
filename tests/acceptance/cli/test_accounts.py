"""The life of an account on the command line: added, shown, paused, reset, given a new password, removed."""

from __future__ import annotations

import contextlib
import os
import pty
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg
import pytest

from mailsync.core.advice import action_for
from tests.support import planted, run_directory
from tests.support.dovecot import Dovecot
from tests.support.imap_server import User
from tests.support.mail import message
from tests.support.programs import Finished, Mailsync
from tests.support.scripted import ScriptedServer

EMAIL = "ann@example.test"


@pytest.fixture
def user(dovecot: Dovecot) -> User:
    return dovecot.new_user()


def add(mailsync: Mailsync, server: Any, user: Any, *args: str, email: str = EMAIL) -> Finished:
    where = ["--host", server.host, "--port", str(server.port), "--security", "plaintext"]
    options = [*where, "--username", user.name, "--password-stdin", *args]
    done = mailsync("add-account", email, *options, input=f"{user.password}\n")
    assert done.returncode == 0, done
    return done


@contextlib.contextmanager
def lock_held(database: psycopg.Connection[Any], account_id: int = 1) -> Iterator[None]:
    database.execute("set application_name = 'mailsync-worker'")
    database.execute("select pg_advisory_lock(hashtext(current_schema()), %s)", [account_id])
    yield
    database.execute("select pg_advisory_unlock(hashtext(current_schema()), %s)", [account_id])


def test_an_account_is_added_and_listed(mailsync: Mailsync, dovecot: Dovecot, user: User) -> None:
    done = add(mailsync, dovecot, user, "--name", "Ann at work", email="Ann@Example.Test")
    assert f"✓ Logged in at 127.0.0.1:{dovecot.port} (plaintext), 1 folder" in done.stdout
    assert f"✓ Added {EMAIL}" in done.stdout
    assert done.stderr == ""
    (listed,) = mailsync("list-accounts", "--json").json()["accounts"]
    assert (listed["email"], listed["display_name"], listed["sync_state"]) == (
        EMAIL,
        "Ann at work",
        "initial_sync",
    )
    table = mailsync("list-accounts").stdout
    assert EMAIL in table
    assert "initial_sync" in table


def test_adding_prints_one_json_document(mailsync: Mailsync, dovecot: Dovecot, user: User) -> None:
    document = add(mailsync, dovecot, user, "--json").json()
    assert document == {
        "account_id": 1,
        "email": EMAIL,
        "provider": None,
        "host": "127.0.0.1",
        "port": dovecot.port,
        "security": "plaintext",
        "username": user.name,
        "verified": True,
        "folders": 1,
    }


def test_the_password_may_come_from_the_environment(mailsync: Mailsync, dovecot: Dovecot, user: User) -> None:
    where = ["--host", dovecot.host, "--port", str(dovecot.port), "--security", "plaintext"]
    done = mailsync("add-account", user.name, *where, env={"IMAP_PASSWORD": user.password})
    assert done.returncode == 0, done


def test_the_password_is_stored_sealed(
    mailsync: Mailsync, dovecot: Dovecot, user: User, database: psycopg.Connection[Any]
) -> None:
    add(mailsync, dovecot, user)
    for table in ("accounts", "account_credentials", "sync_events"):
        rows = database.execute(f"select t::text from {table} t").fetchall()  # type: ignore[call-overload]
        assert rows
        assert user.password not in str(rows)
        assert user.password.encode().hex() not in str(rows)


def test_an_address_is_added_once(mailsync: Mailsync, dovecot: Dovecot, user: User) -> None:
    add(mailsync, dovecot, user)
    again = mailsync(
        "add-account", EMAIL.upper(), "--host", dovecot.host, "--password-stdin", input="any-password\n"
    )
    assert (again.returncode, again.stderr) == (1, f"mailsync: {EMAIL} exists already\n")


def test_no_more_accounts_than_allowed_however_many_try(
    mailsync: Mailsync, database: psycopg.Connection[Any]
) -> None:
    mailsync.environment["SYNC_MAX_ACCOUNTS"] = "2"

    def attempt(n: int) -> Finished:
        options = ["--host", "localhost", "--no-verify", "--password-stdin"]
        return mailsync("add-account", f"user{n}@example.test", *options, input="any-password\n")

    with ThreadPoolExecutor(4) as people:
        done = list(people.map(attempt, range(4)))
    assert sorted(one.returncode for one in done) == [0, 0, 1, 1]
    assert database.execute("select count(*) from accounts").fetchone() == (2,)
    refused = next(one for one in done if one.returncode)
    assert "2 accounts exist and SYNC_MAX_ACCOUNTS is 2" in refused.stderr


@pytest.mark.parametrize(
    ("given", "since", "days"),
    [
        ("90d", None, 90),
        ("0d", None, None),
        ("2025-01-31", "2025-01-31 00:00:00+00:00", None),
        (None, None, 30),
    ],
)
def test_how_far_back_mail_is_mirrored(
    mailsync: Mailsync,
    database: psycopg.Connection[Any],
    given: str | None,
    since: str | None,
    days: int | None,
) -> None:
    mailsync.environment["SYNC_WINDOW_DAYS"] = "30"
    option = ["--sync-since", given] if given else []
    done = mailsync(
        "add-account", EMAIL, "--host", "localhost", "--no-verify", "--password-stdin", *option,
        input="any-password\n",
    )  # fmt: skip
    assert done.returncode == 0, done
    row = database.execute("select sync_since at time zone 'UTC', sync_window_days from accounts").fetchone()
    assert row
    assert row[1] == days
    assert (f"{row[0]}+00:00" if row[0] else None) == since


def test_a_day_in_the_future_is_refused(mailsync: Mailsync) -> None:
    done = mailsync(
        "add-account", EMAIL, "--host", "localhost", "--sync-since", "2999-01-01", "--password-stdin",
        input="any-password\n",
    )  # fmt: skip
    assert done.returncode == 2
    assert "sync_since: it lies in the future" in done.stderr


def test_what_is_missing_is_asked_for_on_a_terminal(
    mailsync: Mailsync, dovecot: Dovecot, user: User, database: psycopg.Connection[Any]
) -> None:
    answers = {
        "E-mail address:": EMAIL,
        "IMAP server of example.test:": dovecot.host,
        "Password of": user.password,
    }
    options = ["--port", str(dovecot.port), "--security", "plaintext", "--username", user.name]
    code, said = on_a_terminal(mailsync, ["add-account", *options], answers)
    assert code == 0, said
    assert f"✓ Added {EMAIL}" in said
    assert database.execute("select email, imap_host from accounts").fetchone() == (EMAIL, dovecot.host)


def test_removing_asks_first_on_a_terminal(
    mailsync: Mailsync, dovecot: Dovecot, user: User, database: psycopg.Connection[Any]
) -> None:
    add(mailsync, dovecot, user)
    code, said = on_a_terminal(mailsync, ["remove-account", EMAIL], {"[y/N]:": "n"})
    assert code == 1, said
    assert said.splitlines()[-1] == "mailsync: nothing was deleted"
    assert database.execute("select deleting_at from accounts").fetchone() == (None,)
    code, said = on_a_terminal(mailsync, ["remove-account", EMAIL], {"[y/N]:": "y"})
    assert code == 0, said
    assert database.execute("select count(*) from accounts").fetchone() == (0,)


def test_the_state_of_an_account_is_shown_with_folders_lock_and_runs(
    mailsync: Mailsync, dovecot: Dovecot, user: User, database: psycopg.Connection[Any]
) -> None:
    dovecot.create(user, "Junk", "R&AOk-sum&AOk-s")
    dovecot.seed(user, "INBOX", [message(n) for n in range(3)])
    add(mailsync, dovecot, user)
    assert mailsync("sync", EMAIL).returncode == 0
    with lock_held(database):
        document = mailsync("check-account", EMAIL, "--json").json()
    assert document["account"]["sync_state"] == "healthy"
    assert document["account"]["messages"] == 3
    assert document["lock"]["pid"] == database.info.backend_pid
    assert {folder["path"]: folder["tracked"] for folder in document["folders"]} == {
        "INBOX": True,
        "Résumés": True,
        "Junk": False,
    }
    assert document["runs"][0]["status"] == "success"
    assert sum(run["messages_new"] for run in document["runs"]) == 3
    text = mailsync("check-account", EMAIL, "--verbose").stdout
    for said in (EMAIL, "healthy", "lock      free", "Résumés", "left out (junk)", "success"):
        assert said in text


def test_errors_of_the_last_runs_are_shown(mailsync: Mailsync, scripted: ScriptedServer) -> None:
    user = scripted.new_user(EMAIL)
    add(mailsync, scripted, user)
    scripted.on("LIST", b"NO [UNAVAILABLE] down for maintenance")
    assert mailsync("sync", EMAIL).returncode == 1
    assert "down for maintenance" in mailsync("check-account", EMAIL).stdout
    assert "down for maintenance" in mailsync("status").stdout


def test_a_paused_account_rests_until_it_is_resumed(
    mailsync: Mailsync, dovecot: Dovecot, user: User, database: psycopg.Connection[Any]
) -> None:
    add(mailsync, dovecot, user)
    assert mailsync("pause-account", EMAIL, "--reason", "on holiday").stdout == f"✓ Paused {EMAIL}\n"
    assert "paused (on holiday)" in mailsync("list-accounts").stdout
    mailsync("worker", "--once")
    refused = mailsync("sync", EMAIL)
    assert refused.returncode == 1
    assert "is paused; `mailsync resume-account` lets it go on" in refused.stderr
    assert database.execute("select count(*) from folders").fetchone() == (0,)
    assert mailsync("resume-account", EMAIL, "--json").json()["paused_at"] is None
    assert mailsync("sync", EMAIL).returncode == 0


def test_a_reset_clears_failures_and_a_resync_fetches_again(
    mailsync: Mailsync, dovecot: Dovecot, user: User, database: psycopg.Connection[Any]
) -> None:
    dovecot.seed(user, "INBOX", [message(n) for n in range(5)])
    add(mailsync, dovecot, user)
    mailsync("sync", EMAIL)
    before = database.execute("select id, uid from messages order by id").fetchall()
    database.execute(
        "update accounts set sync_state = 'broken', sync_state_reason = 'stuck', consecutive_failures = 9,"
        " backoff_until = now() + interval '1 day', currently_syncing = true"
    )
    database.execute("update messages set subject = 'spoilt'")
    assert mailsync("reset-account", EMAIL).returncode == 0
    state = "select sync_state, consecutive_failures, backoff_until, currently_syncing from accounts"
    assert database.execute(state).fetchone() == ("initial_sync", 0, None, False)
    mailsync("sync", EMAIL)
    assert database.execute("select count(*) from messages where subject = 'spoilt'").fetchone() == (5,)
    assert mailsync("reset-account", EMAIL, "--resync").returncode == 0
    mailsync("sync", EMAIL)
    assert database.execute("select count(*) from messages where subject = 'spoilt'").fetchone() == (0,)
    assert database.execute("select id, uid from messages order by id").fetchall() == before


@pytest.mark.parametrize(
    ("reason", "helps"),
    [
        ("auth_failed", f"give another one: `mailsync set-password {EMAIL}`"),
        ("key_mismatch", f"put its key into IMAP_ENCRYPTION_KEY, or run `mailsync set-password {EMAIL}`"),
        ("stuck", f"when its cause is gone: `mailsync reset-account {EMAIL}`"),
    ],
)
def test_a_broken_account_is_shown_with_the_command_that_helps(
    mailsync: Mailsync, database: psycopg.Connection[Any], reason: str, helps: str
) -> None:
    args = ("--host", "localhost", "--no-verify", "--password-stdin")
    mailsync("add-account", EMAIL, *args, input="any-password\n")
    set_state = "update accounts set sync_state = 'broken', sync_state_reason = %s, sync_state_message = 'No'"
    database.execute(set_state, [reason])
    assert f"  {EMAIL}: No ({helps})" in mailsync("status").stdout.splitlines()
    said = " ".join(mailsync("check-account", EMAIL).stdout.split())
    assert f"to do {action_for(reason, EMAIL)}" in said
    assert mailsync("check-account", EMAIL, "--json").json()["account"]["action"] == action_for(reason, EMAIL)


def test_a_new_password_is_tried_before_it_is_stored(
    mailsync: Mailsync, dovecot: Dovecot, user: User, database: psycopg.Connection[Any]
) -> None:
    add(mailsync, dovecot, user)
    sealed = "select ciphertext from account_credentials"
    before = database.execute(sealed).fetchone()
    wrong = mailsync("set-password", EMAIL, "--password-stdin", input="not-the-password\n")
    assert wrong.returncode == 4
    assert wrong.stderr.startswith("mailsync: login failed: ")
    assert database.execute(sealed).fetchone() == before
    user = dovecot.set_password(user, planted.keep("changed-" + user.password))
    assert mailsync("sync", EMAIL).returncode == 4
    done = mailsync("set-password", EMAIL, "--password-stdin", input=user.password + "\n")
    assert done.stdout == f"✓ The password of {EMAIL} works and is stored\n"
    assert database.execute("select sync_state_reason, backoff_until from accounts").fetchone() == (
        None,
        None,
    )
    assert mailsync("sync", EMAIL).returncode == 0


def test_a_new_password_without_a_test(mailsync: Mailsync, dovecot: Dovecot, user: User) -> None:
    add(mailsync, dovecot, user)
    done = mailsync("set-password", EMAIL, "--no-verify", "--json", env={"IMAP_PASSWORD": "any-password"})
    assert done.json() == {"account_id": 1, "email": EMAIL, "verified": False}
    assert mailsync("sync", EMAIL).returncode == 4


def test_what_changes_an_account_does_not_push_in_while_it_is_busy(
    mailsync: Mailsync, dovecot: Dovecot, user: User, database: psycopg.Connection[Any]
) -> None:
    add(mailsync, dovecot, user)
    waiting = "select count(*) from account_locks where not granted"

    def attempt(*command: str) -> Finished:
        return mailsync(command[0], EMAIL, *command[1:], input=f"{user.password}\n")

    with lock_held(database), ThreadPoolExecutor(3) as people:
        attempts = [people.submit(attempt, "reset-account")]
        attempts.append(people.submit(attempt, "set-password", "--password-stdin"))
        run_directory.wait_until(lambda: database.execute(waiting).fetchone() == (2,), "the queue")
        attempts.append(people.submit(attempt, "remove-account", "--yes"))
        for one in attempts:
            done = one.result()
            assert done.returncode == 3, done
            (line,) = done.stderr.splitlines()
            assert "try again" in line
    # the removal was begun, and is ended by asking again
    assert mailsync("list-accounts", "--json").json() == {"accounts": []}
    assert mailsync("remove-account", EMAIL, "--yes").returncode == 0
    assert database.execute("select count(*) from accounts").fetchone() == (0,)


def test_removing_deletes_every_row_of_the_account_and_of_no_other(
    mailsync: Mailsync, dovecot: Dovecot, database: psycopg.Connection[Any]
) -> None:
    for email in ("ann@example.test", "bob@example.test"):
        user = dovecot.new_user()
        dovecot.seed(user, "INBOX", [message(n, attachment=b"x") for n in range(4)])
        add(mailsync, dovecot, user, email=email)
        assert mailsync("sync", email).returncode == 0
    tables = "accounts account_credentials folders messages attachments sync_runs sync_events".split()

    def rows(account_id: int) -> dict[str, int]:
        found = {}
        for table in tables:
            key = "id" if table == "accounts" else "account_id"
            query = f"select count(*) from {table} where {key} = %s"
            found[table] = database.execute(query, [account_id]).fetchone()[0]  # type: ignore
        return found

    other = rows(2)
    assert all(rows(1).values())
    refused = mailsync("remove-account", "ann@example.test")
    assert refused.returncode == 2
    assert "ann@example.test and 4 mirrored messages would be deleted; add --yes" in refused.stderr
    done = mailsync("remove-account", "ann@example.test", "--yes")
    assert done.stdout == "✓ Removed ann@example.test and 4 mirrored messages\n"
    assert rows(1) == dict.fromkeys(tables, 0) | {"sync_events": 1}
    assert rows(2) == other
    assert mailsync("check-account", "ann@example.test").returncode == 1


def test_folders_are_left_out_and_taken_in_by_choice(
    mailsync: Mailsync, dovecot: Dovecot, user: User, database: psycopg.Connection[Any]
) -> None:
    dovecot.create(user, "Junk", "Work")
    for folder in ("INBOX", "Junk", "Work"):
        dovecot.seed(user, folder, [message(n) for n in range(2)])
    add(mailsync, dovecot, user)
    assert "No folder is known yet" in mailsync("list-folders", EMAIL).stdout
    mailsync("sync", EMAIL)

    def live() -> dict[str, int]:
        query = (
            "select f.path, count(*) from messages m join folders f on f.id = m.folder_id"
            " where deleted_at is null group by 1"
        )
        return dict(database.execute(query).fetchall())

    assert live() == {"INBOX": 2, "Work": 2}
    assert mailsync("track-folder", EMAIL, "Junk").returncode == 0
    done = mailsync("untrack-folder", EMAIL, "Work", "--json").json()
    assert (done["tracked"], done["tracked_by_user"]) == (False, False)
    mailsync("sync", EMAIL)
    assert live() == {"INBOX": 2, "Junk": 2}
    text = mailsync("list-folders", EMAIL).stdout
    assert "left out (by your choice)" in text
    mailsync("track-folder", EMAIL, "Work")
    mailsync("sync", EMAIL)
    assert live() == {"INBOX": 2, "Junk": 2, "Work": 2}
    refused = mailsync("untrack-folder", EMAIL, "inbox")
    assert refused.returncode == 2
    assert "INBOX is always mirrored" in refused.stderr
    unknown = mailsync("track-folder", EMAIL, "Nowhere")
    assert unknown.returncode == 1
    assert "no folder 'Nowhere'" in unknown.stderr


def on_a_terminal(mailsync: Mailsync, args: list[str], answers: dict[str, str]) -> tuple[int, str]:
    """Run a command on a pseudo terminal and answer its questions; returns its exit code and what it said."""
    ours, theirs = pty.openpty()
    process = run_directory.spawn(
        [sys.executable, "-m", "mailsync", *args],
        env=mailsync.environment | {"TERM": "xterm"},
        cwd=mailsync.directory,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
    )
    os.close(theirs)
    said, waiting = "", dict(answers)
    guard = threading.Timer(run_directory.PATIENCE, run_directory.end, [process.pid])
    guard.start()
    with contextlib.suppress(OSError):  # the end of a terminal is EIO
        while data := os.read(ours, 4096):
            said += data.decode(errors="replace")
            for question in [one for one in waiting if one in said]:
                os.write(ours, waiting.pop(question).encode() + b"\n")
    code = process.wait()
    guard.cancel()
    os.close(ours)
    run_directory.forget(process.pid)
    mailsync.printed.append(said)
    return code, said
