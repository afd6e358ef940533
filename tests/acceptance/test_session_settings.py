"""Whatever a database, a role or an environment sets, a session has the settings that the code depends on."""

from __future__ import annotations

from email.header import Header
from typing import Any

import psycopg
import pytest

from tests.acceptance.api import StartApi
from tests.acceptance.mirrors import add_account, mirrored, on_server, value
from tests.servers import mail
from tests.servers.dovecot import Dovecot
from tests.servers.programs import Mailsync

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
FOLDERS = {"INBOX": "INBOX", "&TxoBQQ-": "会Ł"}
SUBJECT = "会 in Łódź: 1 € \\ \\x00"


def by_the_database(database: Database) -> None:
    for name, setting in HOSTILE.items():
        database.execute(f"alter database {database.info.dbname} set {name} = '{setting}'".encode())


def by_the_role(database: Database) -> None:
    # in this database alone: other tests have the same role
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
