"""A session has the settings that the code needs, whatever a database, role or environment sets."""

from __future__ import annotations

from email.header import Header
from typing import Any

import psycopg
import pytest

from mailsync.store import db
from tests.support import mail
from tests.support.api import StartApi
from tests.support.dovecot import Dovecot
from tests.support.mirrors import add_account, mirrored, on_server, value
from tests.support.programs import Mailsync
from tests.support.stored import settings_for

Database = psycopg.Connection[Any]

HOSTILE = {
    "datestyle": "German, DMY",
    "client_encoding": "LATIN1",
    "intervalstyle": "sql_standard",
    "timezone": "Asia/Kathmandu",
    "bytea_output": "escape",
    "standard_conforming_strings": "off",
    "backslash_quote": "on",
    "extra_float_digits": "-15",
    "array_nulls": "off",
    "default_transaction_isolation": "serializable",
    "statement_timeout": "5s",
    "lock_timeout": "5s",
    "idle_session_timeout": "10s",
    "idle_in_transaction_session_timeout": "1s",
}
ENVIRONMENT: dict[str, str | None] = {
    "PGCLIENTENCODING": "LATIN1",
    "PGDATESTYLE": "SQL, DMY",
    "PGTZ": "America/Caracas",
    "PGOPTIONS": "-c intervalstyle=iso_8601 -c bytea_output=escape -c statement_timeout=4s",
}
EXPECTED = {
    "client_encoding": "UTF8",
    "datestyle": "ISO, YMD",
    "intervalstyle": "postgres",
    "timezone": "UTC",
    "bytea_output": "hex",
    "standard_conforming_strings": "on",
    "array_nulls": "on",
    "extra_float_digits": "1",
    "default_transaction_isolation": "read committed",
    "jit": "off",
    "search_path": "mailsync, pg_temp",
    "application_name": "mailsync-test",
    "statement_timeout": "45s",
    "lock_timeout": "10s",
    "idle_in_transaction_session_timeout": "5min",
    "idle_session_timeout": "0",
    "client_connection_check_interval": "5s",
    "default_transaction_read_only": "on",
    "synchronous_commit": "off",
    "work_mem": "11MB",
}
FOLDERS = {"INBOX": "INBOX", "&TxoBQQ-": "会Ł"}
SUBJECT = "会 in Łódź: 1 € \\ \\x00"


def by_the_database(database: Database) -> None:
    for name, setting in HOSTILE.items():
        database.execute(f"alter database {database.info.dbname} set {name} = '{setting}'".encode())


def by_the_role(database: Database) -> None:
    # only for this database, since other tests use the same role
    who = f"role {database.info.user} in database {database.info.dbname}"
    for name, setting in HOSTILE.items():
        database.execute(f"alter {who} set {name} = '{setting}'".encode())


@pytest.mark.parametrize("where", [by_the_database, by_the_role])
def test_hostile_settings_change_nothing(
    where: Any, mailsync: Mailsync, dovecot: Dovecot, database: Database, start_api: StartApi
) -> None:
    user = dovecot.new_user()
    dovecot.create(user, "&TxoBQQ-")
    headers = {
        "Subject": Header(SUBJECT, "utf-8").encode(),
        "From": Header("Łukasz 会", "utf-8").encode() + " <l@example.test>",
    }
    text = "Zażółć 会議\r\n".encode()
    for wire in FOLDERS:
        dovecot.seed(
            user,
            wire,
            [
                (mail.message(1, headers=headers, body=text), r"\Seen Work", mail.internal_date(1)),
                (mail.message(2, attachment=b"\x00\xff"), r"\Flagged", " 3-Feb-2021 04:05:06 +0545"),
            ],
        )
    where(database)
    mailsync.environment |= {name: given for name, given in ENVIRONMENT.items() if given}

    account = add_account(mailsync, dovecot, user)
    for command in (["preflight"], ["sync", user.name], ["verify", user.name], ["status"]):
        done = mailsync(*command)
        assert done.returncode == 0, done
    assert "all equal" in mailsync("verify", user.name).stdout

    assert mirrored(database, account) == on_server(dovecot, user, FOLDERS)
    assert value(database, "select from_name from messages where uid = 1 limit 1") == "Łukasz 会"
    assert value(database, "select sync_state from account_status") == "healthy"
    api = start_api()
    listed = api.call("GET", f"/v1/accounts/{account}/messages").json()["data"]
    found = {(m["subject"], m["internal_date"], tuple(m["flags"])) for m in listed}
    assert found == {
        (SUBJECT, "2024-01-01T00:07:00Z", ("Work", "\\Seen")),
        ("Message 2", "2021-02-02T22:20:06Z", ("\\Flagged",)),
    }
    number = next(m["id"] for m in listed if m["subject"] == SUBJECT)
    body = api.call("GET", f"/v1/messages/{number}/body")
    assert body.json()["body_text"].replace("\r\n", "\n") == "Zażółć 会議\n"
    worker = mailsync.start("worker", SYNC_INTERVAL="1s", LOG_FORMAT="json")
    worker.wait_for("Ready")
    dovecot.seed(user, "INBOX", [mail.message(3)])
    worker.wait_for(lambda: value(database, "select count(*) from messages where deleted_at is null") == 5)
    worker.terminate()
    assert worker.wait() == 0
    assert not [r for r in worker.records() if r["level"] in ("WARNING", "ERROR")]


def test_a_schema_that_is_made_under_hostile_settings_is_the_same(
    mailsync: Mailsync, empty_database_url: str, database: Database
) -> None:
    with psycopg.connect(empty_database_url, autocommit=True) as conn:
        by_the_database(conn)
    mailsync.environment |= {name: given for name, given in ENVIRONMENT.items() if given}
    done = mailsync("migrate", env={"DATABASE_URL": empty_database_url})
    assert done.returncode == 0, done
    expressions = (
        "select attname, pg_get_expr(adbin, adrelid) from pg_attrdef join pg_attribute on attrelid = adrelid"
        " and attnum = adnum where adrelid = 'mailsync.messages'::regclass order by attname"
    )
    with psycopg.connect(empty_database_url, options="-c standard_conforming_strings=on") as conn:
        assert conn.execute(expressions).fetchall() == database.execute(expressions).fetchall()


def test_what_a_session_needs_is_set_and_what_is_the_administrators_stays(
    database: Database, database_url: str
) -> None:
    """Read-only is how a failover is noticed, and synchronous_commit is the administrator's choice."""
    name = database.info.dbname
    for setting in ("default_transaction_read_only = on", "synchronous_commit = off", "work_mem = '11MB'"):
        database.execute(f"alter database {name} set {setting}".encode())
    by_the_database(database)
    newer = {} if database.info.server_version < 170_000 else {"transaction_timeout": "0"}
    expected = EXPECTED | newer
    with db.connect(settings_for(database_url, statement_timeout=45), "test", statement_timeout=90) as conn:
        shown = {name: conn.execute(f"show {name}".encode()).fetchone() for name in expected}  # type: ignore[misc]
        assert {name: row[0] for name, row in shown.items() if row} == expected
    with db.connect(settings_for(database_url), "test", statement_timeout=7) as conn:
        assert conn.execute("show statement_timeout").fetchone() == ("7s",)


@pytest.mark.parametrize("path", ["", " ", "public, other"])
def test_the_schema_and_temporary_tables_alone_are_on_the_search_path(
    path: str, database: Database, database_url: str
) -> None:
    database.execute("select set_config('search_path', %s, false)", [path])
    database.execute(f"alter database {database.info.dbname} set search_path from current".encode())
    with db.connect(settings_for(database_url), "test") as conn:
        assert value(conn, "show search_path") == "mailsync, pg_temp"
        assert value(conn, "select current_schema()") == "mailsync"
