"""``rotate-key`` re-encrypts all passwords or none, whatever happens meanwhile."""

from __future__ import annotations

import threading
from typing import Any

import psycopg
import pytest

from mailsync.errors import KeyMismatch
from mailsync.store import credentials, crypto, db, key_rotation
from mailsync.store.db import Connection
from tests.support.programs import ENCRYPTION_KEY, Mailsync
from tests.support.run_directory import PATIENCE, wait_until
from tests.support.stored import KEY, new_account, settings_for

OLD, NEW = bytes.fromhex(KEY), bytes(range(32))
Database = psycopg.Connection[Any]


def passwords(conn: Connection, key: bytes) -> dict[str, str]:
    """The passwords of all accounts by address, decrypted with this key only."""
    return {
        a.email: crypto.unseal([key], a.id, a.endpoint, a.key_id, a.ciphertext)
        for a in credentials.load(conn)
    }


def test_all_are_sealed_under_the_first_key_and_once_is_enough(database_url: str) -> None:
    settings = settings_for(database_url)
    with db.connect(settings, "test") as conn:
        for email in ("a@example.com", "b@example.com"):
            new_account(conn, settings, email)

        done = key_rotation.rotate(conn, [NEW, OLD])

        assert passwords(conn, NEW) == {"a@example.com": "secret", "b@example.com": "secret"}
        assert done.in_use == {crypto.key_id(NEW): 2} and done.unused == [crypto.key_id(OLD)]
        assert (done.resealed, done.credentials) == (2, 2)
        before = credentials.load(conn)
        assert key_rotation.rotate(conn, [NEW, OLD]).resealed == 0
        assert credentials.load(conn) == before


def test_one_that_does_not_open_leaves_all_as_they_are_and_is_named(database_url: str) -> None:
    settings = settings_for(database_url)
    with db.connect(settings, "test") as conn:
        for email in ("a@example.com", "b@example.com", "c@example.com"):
            new_account(conn, settings, email)
        conn.execute("update accounts set imap_host = 'evil.example.com' where email = 'b@example.com'")
        before = credentials.load(conn)
        with pytest.raises(KeyMismatch, match=r"^b@example\.com: .*; nothing was changed$"):
            key_rotation.rotate(conn, [NEW, OLD])
        assert credentials.load(conn) == before
        # an account that is being removed does not block the rotation
        conn.execute("update accounts set deleting_at = now() where email = 'b@example.com'")
        assert key_rotation.rotate(conn, [NEW, OLD]).resealed == 2


@pytest.mark.parametrize("begun", ["before", "after"])
def test_a_password_that_is_set_meanwhile_is_not_lost(database_url: str, begun: str) -> None:
    settings = settings_for(database_url)
    with db.connect(settings, "test") as conn, db.connect(settings, "test") as other:
        account = credentials.load(conn, new_account(conn, settings))[0]

        def set_password() -> None:
            credentials.store(other, account.id, account.endpoint, "another", [OLD])

        if begun == "before":
            other.execute("begin")
            set_password()
            rotating = threading.Thread(target=key_rotation.rotate, args=(conn, [NEW, OLD]))
            rotating.start()
            _wait_for_a_lock(database_url)
            other.execute("commit")
            rotating.join(PATIENCE)
            assert passwords(conn, NEW) == {"a@example.com": "another"}
        else:
            with db.transaction(conn):
                key_rotation.rotate(conn, [NEW, OLD])
                setting = threading.Thread(target=set_password)
                setting.start()
                _wait_for_a_lock(database_url)
            setting.join(PATIENCE)
            assert passwords(conn, OLD) == {"a@example.com": "another"}
            assert key_rotation.rotate(conn, [NEW, OLD]).resealed == 1


def test_the_command_says_what_it_did_and_which_key_may_go(mailsync: Mailsync, database: Database) -> None:
    for name in ("one", "two"):
        added = mailsync(
            "add-account", f"{name}@example.com", "--host", "127.0.0.1", "--port", "1143", "--security",
            "plaintext", "--password-stdin", "--no-verify", input="a password\n",
        )  # fmt: skip
        assert added.returncode == 0, added
    key = NEW.hex()
    both = {"IMAP_ENCRYPTION_KEY": f"{key},{ENCRYPTION_KEY}"}

    said = mailsync("rotate-key", env=both)
    assert said.returncode == 0 and "✓ 2 passwords sealed under key" in said.stdout, said
    assert "is no longer needed" in said.stdout
    again = mailsync("rotate-key", "--json", env=both).json()
    assert again["resealed"] == 0 and again["in_use"] == {again["key_id"]: 2}

    alone = mailsync("preflight", env={"IMAP_ENCRYPTION_KEY": key})
    assert "✓ Key opens all 2 credentials" in alone.stdout
    wrong = mailsync("preflight")
    assert wrong.returncode == 1 and wrong.stdout.count("✗") == 1 and "2 of 2 accounts" in wrong.stdout
    refused = mailsync("rotate-key")
    assert refused.returncode == 1 and refused.stderr.count("\n") == 1, refused
    assert "one@example.com" in refused.stderr and "nothing was changed" in refused.stderr


def _wait_for_a_lock(url: str) -> None:
    """Wait until a statement waits for a row lock."""
    with psycopg.connect(url, autocommit=True) as conn:
        query = (
            "select count(*) from pg_stat_activity"
            " where datname = current_database() and wait_event_type = 'Lock'"
        )
        wait_until(lambda: (conn.execute(query).fetchone() or [0])[0] > 0, "a waiting statement")
