"""``generate-key``, ``migrate`` and ``preflight``."""

from __future__ import annotations

import base64
from typing import Any

import psycopg

from mailsync.credentials import TokenOwner, TokenSet
from mailsync.model import Endpoint
from mailsync.store import accounts, db
from mailsync.store.accounts import NewAccount
from tests.support import planted
from tests.support.programs import ENCRYPTION_KEY, Mailsync
from tests.support.stored import settings_for


def test_a_schema_that_is_missing_is_one_line_that_says_what_to_do(
    mailsync: Mailsync, empty_database_url: str
) -> None:
    done = mailsync("list-accounts", env={"DATABASE_URL": empty_database_url})
    assert (done.returncode, done.stdout) == (1, "")
    (line,) = done.stderr.splitlines()
    wording = "the database's schema is missing or too old ("
    assert line.startswith(f"mailsync: {wording}")
    assert line.endswith("); run `mailsync migrate`; `mailsync preflight` lists everything that is missing")
    checked = mailsync("preflight", env={"DATABASE_URL": empty_database_url})
    assert checked.returncode == 1
    assert f"{wording}it lacks migration 0001_create_mirror" in checked.stdout


def test_a_key_is_32_random_bytes(mailsync: Mailsync) -> None:
    keys = {mailsync("generate-key").stdout.strip(), mailsync("generate-key", "--json").json()["key"]}
    assert len(keys) == 2
    assert all(len(base64.b64decode(key, validate=True)) == 32 for key in keys)


def test_migrate_makes_the_schema_and_a_second_time_does_nothing(
    mailsync: Mailsync, empty_database_url: str
) -> None:
    mailsync.environment["DATABASE_URL"] = empty_database_url
    before = mailsync("migrate", "--status", "--json")
    assert before.returncode == 1
    names = before.json()["pending"]
    assert names
    assert before.json()["applied"] == []
    assert "(pending)" in mailsync("migrate", "--status").stdout
    assert mailsync("migrate", "--json").json() == {"applied": names}
    assert mailsync("migrate").stdout == "The schema is up to date\n"
    after = mailsync("migrate", "--status", "--json")
    assert after.returncode == 0
    assert after.json() == {"applied": names, "pending": [], "differences": []}


DAMAGE = """
    drop index mailsync.messages_newest;
    alter table mailsync.messages disable row level security;
    alter table mailsync.folders drop column polled_at;
    drop function mailsync.account_lock_class() cascade;
"""
DAMAGED = [
    "row level security of messages is off; alter table mailsync.messages enable row level security",
    "column folders.polled_at is missing; restore it from a dump, or add it, empty:"
    " alter table mailsync.folders add column polled_at timestamp with time zone",
    "index messages_newest is missing; create index concurrently messages_newest on mailsync.messages"
    " using btree (account_id, internal_date DESC, id DESC) WHERE (deleted_at IS NULL)",
    "function account_lock_class() is missing; with mailsync first on search_path"
    " run its `create function` in sql/migrations/0001_create_mirror.sql",
    "view account_locks is missing; with mailsync first on search_path"
    " run its `create view` in sql/migrations/0001_create_mirror.sql",
    "view account_status is missing; with mailsync first on search_path"
    " run its `create view` in sql/migrations/0014_listen_between_turns.sql",
]


def test_what_is_missing_in_the_schema_is_named_one_line_each(
    mailsync: Mailsync, database: psycopg.Connection
) -> None:
    database.execute(DAMAGE)
    done = mailsync("preflight")
    assert done.returncode == 1
    assert [line for line in done.stdout.splitlines() if line.startswith("✗")] == [
        f"✗ Schema: {line}" for line in DAMAGED
    ]
    assert done.stderr == "mailsync: 6 checks failed\n"
    shown = mailsync("migrate", "--status")
    assert (shown.returncode, shown.stderr) == (1, "")
    assert [line for line in shown.stdout.splitlines() if line.startswith("✗")] == [
        f"✗ {line}" for line in DAMAGED
    ]
    listed = mailsync("migrate", "--status", "--json")
    assert listed.returncode == 1
    differences = listed.json()["differences"]
    assert [f"{row['difference']}; {row['remedy']}" for row in differences] == DAMAGED
    assert [row["harmful"] for row in differences] == [False, True, False, True, True, True]


def test_preflight_shows_a_line_for_each_check(mailsync: Mailsync) -> None:
    done = mailsync("preflight")
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert len(lines) == 6
    assert all(line.startswith("✓ ") for line in lines)
    for expected in (
        "Environment",
        "Database connected",
        "Lock self-test passed",
        "Schema",
        "Key",
        "Accounts: 0/20",
    ):
        assert any(expected in line for line in lines)


def test_preflight_for_production_wants_a_token_and_notes_that_there_is_no_account(
    mailsync: Mailsync,
) -> None:
    done = mailsync("preflight", "--production")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[-1] == "– No account yet; add one with `mailsync add-account`"
    done = mailsync("preflight", "--production", "--json", env={"API_TOKEN": None})
    assert done.returncode == 2
    assert done.stderr == "mailsync: 1 check failed\n"
    first, *others = done.json()["checks"]
    assert (first["name"], first["ok"], first["code"]) == ("environment", False, "config")
    assert first["text"].startswith("Environment: API_TOKEN: not set; give at least 16 characters")
    assert [(check["name"], check["ok"]) for check in others] == [
        (name, True) for name in ("database", "locks", "schema", "key", "accounts", "account")
    ]


def test_preflight_names_everything_that_is_missing_at_once(
    mailsync: Mailsync, empty_database_url: str
) -> None:
    settings = {"IMAP_ENCRYPTION_KEY": None, "API_TOKEN": "short", "SYNC_INTERVAL": "0", "PORT": "x"}
    done = mailsync("preflight", "--production", env={**settings, "DATABASE_URL": empty_database_url})
    assert done.returncode == 2, done
    assert done.stderr == "mailsync: 5 checks failed\n"
    wrong = [line for line in done.stdout.splitlines() if line.startswith("✗")]
    for line, expected in zip(
        wrong,
        (
            "Environment: IMAP_ENCRYPTION_KEY: not set; give 32 random bytes",
            "Environment: API_TOKEN: the value (a secret, not shown) is not accepted; give at least 16",
            'Environment: PORT: "x" is not accepted; give a whole number from 1 to 65535',
            'Environment: SYNC_INTERVAL: "0" is not accepted; give a duration from 1s to 1h',
            "Schema: the database's schema is missing or too old (it lacks migration 0001_create_mirror",
        ),
        strict=True,
    ):
        assert line.startswith(f"✗ {expected}")
    # Checks that need the schema or the key are left out; the others were made.
    assert [line for line in done.stdout.splitlines() if not line.startswith("✗")] == [
        "✓ Database connected",
        "✓ Lock self-test passed",
    ]


def test_preflight_leaves_out_what_needs_a_database_that_is_not_there(mailsync: Mailsync) -> None:
    missing = mailsync("preflight", env={"DATABASE_URL": None, "SYNC_RR_FOLDERS": "many"})
    assert missing.returncode == 2
    first, second = missing.stdout.splitlines()
    assert first.startswith("✗ Environment: DATABASE_URL: not set; give postgresql://")
    assert first.endswith("; or run `mailsync dev` here, which starts a Postgres")
    assert second.startswith('✗ Environment: SYNC_RR_FOLDERS: "many" is not accepted')
    closed = mailsync("preflight", env={"DATABASE_URL": "postgresql://u@127.0.0.1:9/x"})
    assert closed.returncode == 1
    assert [line[:12] for line in closed.stdout.splitlines()] == ["✓ Environmen", "✗ Database: "]


def test_preflight_says_which_check_failed_in_json_too(mailsync: Mailsync, empty_database_url: str) -> None:
    done = mailsync("preflight", "--json", env={"DATABASE_URL": empty_database_url})
    assert done.returncode == 1
    document = done.json()
    assert document["ok"] is False
    failed = [check for check in document["checks"] if not check["ok"]]
    assert [(check["name"], check["code"]) for check in failed] == [("schema", "schema")]


def test_a_wrong_key_is_one_check_that_names_the_accounts(
    mailsync: Mailsync, database: psycopg.Connection[Any]
) -> None:
    for name in ("ann", "bob"):
        added = mailsync(
            "add-account", f"{name}@example.test", "--host", "localhost", "--no-verify", "--password-stdin",
            input="a-password-of-theirs\n",
        )  # fmt: skip
        assert added.returncode == 0, added
    assert "✓ Key opens all 2 credentials" in mailsync("preflight").stdout
    other = planted.keep(base64.b64encode(b"another key for tests only, 32 b").decode())
    done = mailsync("preflight", env={"IMAP_ENCRYPTION_KEY": other})
    assert done.returncode == 1
    (line,) = [line for line in done.stdout.splitlines() if line.startswith("✗")]
    assert "IMAP_ENCRYPTION_KEY does not open the passwords or tokens of 2 of 2 accounts" in line
    assert "ann@example.test and 1 more" in line
    both = f"{other},{ENCRYPTION_KEY}"
    assert mailsync("preflight", env={"IMAP_ENCRYPTION_KEY": both}).returncode == 0


def test_preflight_names_the_oauth_clients_and_notes_the_one_that_accounts_need(
    mailsync: Mailsync, database_url: str
) -> None:
    clients = {
        f"OAUTH_CORP_{name}": value
        for name, value in (("CLIENT_ID", "abc"), ("TOKEN_URL", "https://login.example.com/token"))
    }
    assert "✓ OAuth clients: corp" in mailsync("preflight", env=clients).stdout
    settings = settings_for(database_url, imap_encryption_key=ENCRYPTION_KEY)
    with db.connect(settings, "test") as conn:
        account = NewAccount("a@example.com", Endpoint("imap.example.com", 993, "tls", "a@example.com"))
        tokens = TokenSet(TokenOwner("corp", "abc"), "refresh_token", "a refresh token")
        accounts.create(conn, account, tokens, settings)
    done = mailsync("preflight")
    assert done.returncode == 0
    note = (
        "– 1 account cannot sign in: OAUTH_CORP_CLIENT_ID is not set, and the account's tokens belong to abc"
    )
    assert note in done.stdout
