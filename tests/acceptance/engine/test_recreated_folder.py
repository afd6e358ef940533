"""A folder that a user deletes, recreates and fills with the same mail keeps its rows (SPEC §11)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import psycopg
import pytest

from tests.support import mail
from tests.support.dovecot import Dovecot
from tests.support.mirrors import add_account, live_uids, mirrored, on_server, value
from tests.support.programs import Mailsync

Database = psycopg.Connection[Any]


def dated(n: int, flags: str = "") -> tuple[bytes, str, str]:
    return mail.message(n), flags, mail.internal_date(n)


@pytest.mark.parametrize("offered", [None, "IMAP4rev1"], ids=["all extensions", "none"])
def test_ids_and_bodies_survive_a_folder_that_is_recreated(
    offered: str | None,
    mailsync: Mailsync,
    dovecot_with: Callable[..., Dovecot],
    database: Database,
) -> None:
    dovecot = dovecot_with(capabilities=offered) if offered else dovecot_with()
    user = dovecot.new_user()
    dovecot.create(user, "Work")
    # 0 … 39 once, 40 twice
    dovecot.seed(user, "Work", [dated(n) for n in range(41)] + [dated(40)])
    account = add_account(mailsync, dovecot, user)
    assert mailsync("sync", user.name).returncode == 0
    folder = value(database, "select id from folders where path = 'Work'")
    query = "select subject, id from messages where folder_id = %s and deleted_at is null and uid <= 41"
    before = dict(database.execute(query, [folder]).fetchall())
    database.execute(
        "insert into message_bodies (account_id, message_pk, body_text) values (%s, %s, 'read once')",
        [account, before["Message 7"]],
    )
    uidvalidity = value(database, "select uidvalidity from folders where id = %s", folder)

    dovecot.delete(user, "Work")
    dovecot.create(user, "Work")
    # in another order, and read; 30 … 39 are deleted, 50 is new, 51 has the Message-ID of 5
    other = mail.message(51, headers={"Message-ID": "<5@mail.test>"})
    dovecot.seed(user, "Work", [dated(50), dated(40), dated(40), (other, "", mail.internal_date(51))])
    dovecot.seed(user, "Work", [dated(n, r"\Seen") for n in reversed(range(30))])
    synced = mailsync("sync", user.name, "--full")
    assert synced.returncode == 0, synced

    assert value(database, "select uidvalidity from folders where id = %s", folder) != uidvalidity
    assert live_uids(database, account, "Work") == list(range(1, 35))
    rows = database.execute(
        "select subject, id, is_seen from messages where folder_id = %s and deleted_at is null", [folder]
    ).fetchall()
    after = {subject: pk for subject, pk, _ in rows}
    assert {name: after[name] for name in before if name in after and name != "Message 40"} == {
        f"Message {n}": before[f"Message {n}"] for n in range(30)
    }
    old = set(before.values())
    assert not {pk for subject, pk, _ in rows if subject in ("Message 40", "Message 50", "Message 51")} & old
    assert sum(seen for _, _, seen in rows) == 30
    bodies = database.execute("select message_pk, body_text from message_bodies").fetchall()
    assert bodies == [(before["Message 7"], "read once")]
    gone = "select count(*) from messages where folder_id = %s and deleted_reason = 'uidvalidity_reset'"
    assert value(database, gone, folder) == 12
    assert mirrored(database, account)["Work"] == on_server(dovecot, user, {"Work": "Work"})["Work"]
    assert mailsync("verify", user.name).returncode == 0
