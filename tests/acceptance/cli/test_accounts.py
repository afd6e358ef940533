"""The life of an account on the command line: added, shown, paused, reset, given a new password, removed."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg
import pytest

from mailsync.core.advice import action_for
from tests.support import run_directory
from tests.support.account_client import lock_held
from tests.support.commands import EMAIL, add, on_a_terminal
from tests.support.dovecot import Dovecot
from tests.support.imap_server import User
from tests.support.mail import message
from tests.support.programs import Finished, Mailsync
from tests.support.scripted import ScriptedServer


def test_removing_asks_first_on_a_terminal(
    mailsync: Mailsync, dovecot: Dovecot, user: User, database: psycopg.Connection[Any]
) -> None:
    add(mailsync, dovecot, user)
    code, output = on_a_terminal(mailsync, ["remove-account", EMAIL], {"[y/N]:": "n"})
    assert code == 1, output
    assert output.splitlines()[-1] == "mailsync: nothing was deleted"
    assert database.execute("select deleting_at from accounts").fetchone() == (None,)
    code, output = on_a_terminal(mailsync, ["remove-account", EMAIL], {"[y/N]:": "y"})
    assert code == 0, output
    assert database.execute("select count(*) from accounts").fetchone() == (0,)


def test_the_state_of_an_account_is_shown_with_folders_lock_and_runs(
    mailsync: Mailsync, dovecot: Dovecot, user: User, database: psycopg.Connection[Any]
) -> None:
    dovecot.create(user, "Junk", "R&AOk-sum&AOk-s")
    dovecot.seed(user, "INBOX", [message(n) for n in range(3)])
    add(mailsync, dovecot, user)
    assert mailsync("sync", EMAIL).returncode == 0
    with lock_held(database, 1):
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
    for expected in (EMAIL, "healthy", "lock      free", "Résumés", "left out (junk)", "success"):
        assert expected in text


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
    assert "is paused; resume it with `mailsync resume-account`" in refused.stderr
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


@pytest.mark.parametrize("reason", ["auth_failed", "key_mismatch", "stuck"])
def test_a_broken_account_is_shown_with_the_command_that_helps(
    mailsync: Mailsync, database: psycopg.Connection[Any], reason: str
) -> None:
    args = ("--host", "localhost", "--no-verify", "--password-stdin")
    mailsync("add-account", EMAIL, *args, input="any-password\n")
    set_state = "update accounts set sync_state = 'broken', sync_state_reason = %s, sync_state_message = 'No'"
    database.execute(set_state, [reason])
    assert f"  {EMAIL}: No. {action_for(reason, EMAIL)}" in mailsync("status").stdout.splitlines()
    output = " ".join(mailsync("check-account", EMAIL).stdout.split())
    assert f"to do {action_for(reason, EMAIL)}" in output
    assert mailsync("check-account", EMAIL, "--json").json()["account"]["action"] == action_for(reason, EMAIL)


def test_what_changes_an_account_does_not_push_in_while_it_is_busy(
    mailsync: Mailsync, dovecot: Dovecot, user: User, database: psycopg.Connection[Any]
) -> None:
    add(mailsync, dovecot, user)
    waiting = "select count(*) from account_locks where not granted"

    def attempt(*command: str) -> Finished:
        return mailsync(command[0], EMAIL, *command[1:], input=f"{user.password}\n")

    with lock_held(database, 1), ThreadPoolExecutor(3) as people:
        attempts = [people.submit(attempt, "reset-account")]
        attempts.append(people.submit(attempt, "set-password", "--password-stdin"))
        run_directory.wait_until(lambda: database.execute(waiting).fetchone() == (2,), "the queue")
        attempts.append(people.submit(attempt, "remove-account", "--yes"))
        for future in attempts:
            done = future.result()
            assert done.returncode == 3, done
            (line,) = done.stderr.splitlines()
            assert "try again" in line
    # The removal has begun; running the command again completes it.
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
        counts = {}
        for table in tables:
            key = "id" if table == "accounts" else "account_id"
            query = f"select count(*) from {table} where {key} = %s"
            counts[table] = database.execute(query, [account_id]).fetchone()[0]  # type: ignore
        return counts

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
