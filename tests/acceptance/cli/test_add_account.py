"""``add-account`` and ``set-password``: checks, prompts, the test of the connection, what is stored."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg
import pytest

from tests.support import planted
from tests.support.commands import EMAIL, add, on_a_terminal
from tests.support.dovecot import Dovecot
from tests.support.imap_server import User
from tests.support.programs import Finished, Mailsync


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
        "auth_method": "password",
        "oauth_provider": None,
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
    command = f"`mailsync set-password {EMAIL}` (over HTTP: PATCH)"
    line = f"mailsync: {EMAIL} already exists; to change its password: {command}\n"
    assert (again.returncode, again.stderr) == (1, line)


def test_no_more_accounts_than_allowed_however_many_try(
    mailsync: Mailsync, database: psycopg.Connection[Any]
) -> None:
    mailsync.environment["SYNC_MAX_ACCOUNTS"] = "2"

    def attempt(n: int) -> Finished:
        options = ["--host", "localhost", "--no-verify", "--password-stdin"]
        return mailsync("add-account", f"user{n}@example.test", *options, input="any-password\n")

    with ThreadPoolExecutor(4) as people:
        done = list(people.map(attempt, range(4)))
    assert sorted(finished.returncode for finished in done) == [0, 0, 1, 1]
    assert database.execute("select count(*) from accounts").fetchone() == (2,)
    refused = next(finished for finished in done if finished.returncode)
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
    assert "sync_since: expected a time in the past" in done.stderr


def test_what_is_missing_is_asked_for_on_a_terminal(
    mailsync: Mailsync, dovecot: Dovecot, user: User, database: psycopg.Connection[Any]
) -> None:
    answers = {
        "E-mail address:": EMAIL,
        "IMAP server of example.test:": dovecot.host,
        "Password of": user.password,
    }
    options = ["--port", str(dovecot.port), "--security", "plaintext", "--username", user.name]
    code, output = on_a_terminal(mailsync, ["add-account", *options], answers)
    assert code == 0, output
    assert f"✓ Added {EMAIL}" in output
    assert database.execute("select email, imap_host from accounts").fetchone() == (EMAIL, dovecot.host)


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


@pytest.mark.parametrize(
    ("args", "line"),
    [
        ((EMAIL, "--host", "localhost"), f"{EMAIL} already exists"),
        (("bob@example.test", "--host", "127.0.0.1:993"), "--port 993"),
        (("bob@example.test", "--host", "localhost", "--sync-since", "2999-01-01"), "in the past"),
    ],
)
def test_a_password_is_asked_for_only_after_everything_else_is_checked(
    mailsync: Mailsync, database: psycopg.Connection[Any], args: tuple[str, ...], line: str
) -> None:
    options = ["--host", "localhost", "--no-verify", "--password-stdin"]
    assert mailsync("add-account", EMAIL, *options, input="any-password\n").returncode == 0
    code, output = on_a_terminal(mailsync, ["add-account", *args], {})
    assert code in (1, 2)
    assert "Password of" not in output
    assert line in output
    assert database.execute("select count(*) from accounts").fetchone() == (1,)


def test_a_mistyped_domain_of_a_provider_is_asked_about(mailsync: Mailsync) -> None:
    answers = {
        "Did you mean ann@gmail.com?": "n",
        "IMAP server of gmial.com:": "localhost",
        "Password of": "any",
    }
    options = ["--no-verify"]
    code, output = on_a_terminal(mailsync, ["add-account", "ann@gmial.com", *options], answers)
    assert code == 0, output
    assert "Added ann@gmial.com" in output
    code, output = on_a_terminal(
        mailsync, ["add-account", "bob@gmial.com", *options], {"Did you mean": "", "Password of": "any"}
    )
    assert code == 0, output
    assert "Password of bob@gmail.com at imap.gmail.com" in output
    assert "Added bob@gmail.com" in output
