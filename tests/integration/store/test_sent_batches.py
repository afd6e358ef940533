"""A batch whose commit is in flight does not get in the way of the next statement."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress

import pytest

from mailsync.errors import DatabaseSlow, DatabaseUnavailable, RowsRefused
from mailsync.model import Attachment, FolderState
from mailsync.store import attempts, db, messages
from mailsync.store.db import Connection
from mailsync.uidset import UidSet
from tests.support.stored import ATTACHMENT, message, new_account, new_folder, settings_for, store


@pytest.fixture
def conn(database_url: str) -> Iterator[Connection]:
    with db.connect(settings_for(database_url), "test") as conn:
        yield conn


@pytest.fixture
def folder(conn: Connection, database_url: str) -> FolderState:
    return new_folder(conn, new_account(conn, settings_for(database_url)))


def sent(conn: Connection, folder: FolderState, uid: int, *attachments: Attachment) -> messages.SentBatch:
    batch = [message(uid, attachments=attachments)]
    return messages.SentBatch(conn, folder, batch, lambda: None, announce=False)


def test_a_statement_finishes_the_batch_and_sees_its_rows(conn: Connection, folder: FolderState) -> None:
    batch = sent(conn, folder, 5)
    assert messages.live_uids(conn, folder, 1, 9) == UidSet.parse("5")
    assert batch.wait() == 1
    assert batch.wait() == 1


def test_a_transaction_and_another_batch_finish_it_too(conn: Connection, folder: FolderState) -> None:
    first = sent(conn, folder, 5)
    with db.transaction(conn):
        attempts.note_attempt(conn, folder, UidSet.parse("7"))
    second, third = sent(conn, folder, 6), sent(conn, folder, 7)
    assert [batch.wait() for batch in (third, first, second)] == [1, 1, 1]
    assert messages.live_uids(conn, folder, 1, 9) == UidSet.parse("5:7")


def test_a_statement_after_a_refused_batch_works_and_the_batch_keeps_its_error(
    conn: Connection, folder: FolderState
) -> None:
    # Postgres may refuse the rows even before all of the batch is sent
    batch = None
    while batch is None:
        with suppress(RowsRefused):
            batch = sent(conn, folder, 5, ATTACHMENT, ATTACHMENT)
    assert not messages.live_uids(conn, folder, 1, 9)
    assert store(conn, folder, message(6)) == 1
    with pytest.raises(RowsRefused):
        batch.wait()


@pytest.mark.parametrize("error", [ZeroDivisionError, KeyboardInterrupt, DatabaseSlow])
def test_an_error_while_the_cursor_is_sent_costs_that_batch_only(
    conn: Connection, folder: FolderState, error: type[BaseException]
) -> None:
    def fail() -> None:
        raise error("stop")

    first = sent(conn, folder, 5)
    with pytest.raises(error):
        messages.SentBatch(conn, folder, [message(6)], fail, announce=False)
    assert first.wait() == 1
    assert sent(conn, folder, 7).wait() == 1
    assert messages.live_uids(conn, folder, 1, 9) == UidSet.parse("5,7")


def test_a_batch_on_a_connection_that_is_closed_is_lost_with_it(
    conn: Connection, folder: FolderState
) -> None:
    batch = sent(conn, folder, 5)
    conn.close()
    for _ in range(2):
        with pytest.raises(DatabaseUnavailable):
            batch.wait()
