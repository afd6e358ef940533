"""A whole mailbox becomes rows equal to the server's messages, and a second sync writes nothing."""

from __future__ import annotations

from collections.abc import Iterator
from email.header import Header
from typing import Any

import psycopg
import pytest

from tests.support import mail
from tests.support.dovecot import Dovecot
from tests.support.imap_server import Seed, User
from tests.support.mirrors import add_account, mirrored, on_server, value
from tests.support.programs import Mailsync
from tests.support.run_directory import wait_until

MESSAGES = 10_000
# wire name: path
FOLDERS = {
    "INBOX": "INBOX",
    "Sent": "Sent",
    "Drafts": "Drafts",
    "Entw&APw-rfe": "Entwürfe",
    "R&AOk-sum&AOk-s": "Résumés",
    "&ZeVnLIqe-": "日本語",
    "&ZeVnLIqe-/&U,BTFw-": "日本語/台北",
    "&BB8EQAQ4BDIENQRC-": "Привет",
    "&2D3eAA-": "😀",
    "Q&-A": "Q&A",
    "With space": "With space",
    "Lists": "Lists",
    "Lists/postgres": "Lists/postgres",
    "Lists/postgres/hackers": "Lists/postgres/hackers",
    "Lists/postgres/hackers/2024": "Lists/postgres/hackers/2024",
    **{f"Projects/{n:02d}": f"Projects/{n:02d}" for n in range(1, 16)},
}
_SUBJECTS = ("Message %d", "Grüße Nr. %d", "会議 %d", "Re: " + "long word " * 12 + "%d", '"quoted" (%d) [x]')
_FLAGS = ("", r"\Seen", r"\Seen \Answered", r"\Flagged", r"\Seen $Forwarded", r"\Draft", "Work")


def seeds(first: int, count: int) -> Iterator[Seed]:
    """Messages from `first` on: subjects in several scripts, every flag, different dates."""
    for n in range(first, first + count):
        text = _SUBJECTS[n % len(_SUBJECTS)] % n
        headers = {"Subject": Header(text, None if text.isascii() else "utf-8").encode(linesep="\r\n")}
        yield mail.message(n, headers=headers), _FLAGS[n % len(_FLAGS)], mail.internal_date(n)


def fill(dovecot: Dovecot, user: User) -> None:
    """Put 10,000 messages into 30 folders: most of them in the inbox, one folder stays empty."""
    dovecot.create(user, *(wire for wire in FOLDERS if wire != "INBOX"), "Junk")
    first = 0
    for wire in FOLDERS:
        count = {"INBOX": 4_400, "With space": 0}.get(wire, 200)
        first += dovecot.seed(user, wire, seeds(first, count))
    assert first == MESSAGES
    dovecot.seed(user, "Junk", [mail.message(1)])


def writes(database: psycopg.Connection[Any]) -> list[tuple[Any, ...]]:
    """Inserts, updates and deletes of the mirror's tables so far."""
    # Postgres counts what a command wrote when its backend ends, which may be after the command
    others = "select count(*) from pg_stat_activity where datname = current_database() and state is not null"
    wait_until(lambda: value(database, others) == 1, "the end of the command's backend")
    value(database, "select pg_stat_force_next_flush()")
    return database.execute(
        "select relname, n_tup_ins, n_tup_upd, n_tup_del from pg_stat_user_tables"
        " where relname in ('messages', 'folders', 'attachments', 'fetch_attempts') order by 1"
    ).fetchall()


def versions(database: psycopg.Connection[Any]) -> set[tuple[Any, ...]]:
    """Every row's physical version."""
    return set(database.execute("select 'm', id, ctid::text, xmin::text from messages").fetchall()) | set(
        database.execute("select 'f', id, ctid::text, xmin::text from folders").fetchall()
    )


@pytest.mark.long
def test_ten_thousand_messages_in_thirty_folders_become_equal_rows_and_a_second_sync_writes_nothing(
    mailsync: Mailsync, dovecot: Dovecot, database: psycopg.Connection[Any]
) -> None:
    user = dovecot.new_user()
    fill(dovecot, user)
    account = add_account(mailsync, dovecot, user)

    first = mailsync("sync", user.name)
    assert first.returncode == 0, first

    rows, server = mirrored(database, account), on_server(dovecot, user, FOLDERS)
    assert sum(map(len, server.values())) == MESSAGES
    assert rows.keys() == server.keys()
    for path, mails in server.items():
        assert rows[path] == mails, path
    assert value(database, "select count(*) from messages") == MESSAGES
    assert value(database, "select sync_state from account_status") == "healthy"
    counts = "select count(*) from folders where tracked and live_count <> %s"
    assert value(database, counts + " and path <> 'INBOX' and path <> 'With space'", 200) == 0
    verified = mailsync("verify", user.name)
    assert verified.returncode == 0, verified

    before, versions_before = writes(database), versions(database)
    second = mailsync("sync", user.name)
    assert second.returncode == 0, second
    assert versions(database) == versions_before
    assert writes(database) == before
