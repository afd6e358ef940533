"""Changes of a mailbox reach its rows, from a server with all extensions and from one with none."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import psycopg
import pytest

from tests.support import mail
from tests.support.dovecot import Dovecot
from tests.support.mirrors import add_account, is_healthy, live_uids, value
from tests.support.programs import Mailsync, Running

Database = psycopg.Connection[Any]
_REASONS = (
    "select array_agg(distinct deleted_reason) from messages where folder_id = %s and deleted_at is not null"
)


@pytest.mark.parametrize("offered", [None, "IMAP4rev1"], ids=["all extensions", "none"])
def test_the_rows_follow_the_mailbox(
    offered: str | None,
    mailsync: Mailsync,
    dovecot_with: Callable[..., Dovecot],
    database: Database,
    start_worker: Callable[..., Running],
) -> None:
    dovecot = dovecot_with(capabilities=offered) if offered else dovecot_with()
    user = dovecot.new_user()
    dovecot.seed(user, "INBOX", (mail.message(n) for n in range(10)))
    dovecot.create(user, "Archive", "Old")
    dovecot.seed(user, "Archive", (mail.message(n) for n in range(5)))
    dovecot.seed(user, "Old", (mail.message(n) for n in range(3)))
    account = add_account(mailsync, dovecot, user)
    worker = start_worker(SYNC_INTERVAL="1s", DISCOVERY_INTERVAL="10s")
    worker.wait_for(lambda: is_healthy(database, account))

    def uids(path: str) -> list[int]:
        return live_uids(database, account, path)

    def folder(path: str, column: str = "id") -> Any:
        return value(database, f"select {column} from folders where path = %s", path)

    # new mail, flags and deletions, in folders of different kinds
    dovecot.append(user, "INBOX", mail.message(10))
    dovecot.append(user, "Archive", mail.message(5))
    worker.wait_for(lambda: uids("INBOX") == list(range(1, 12)) and uids("Archive") == list(range(1, 7)))
    dovecot.store(user, "INBOX", "2:4", r"\Seen")
    dovecot.store(user, "Archive", "1", r"\Seen")
    read = "select array_agg(uid order by uid) from messages where is_seen and folder_id = %s"
    worker.wait_for(lambda: value(database, read, folder("INBOX")) == [2, 3, 4])
    worker.wait_for(lambda: value(database, read, folder("Archive")) == [1])
    assert folder("INBOX", "live_unseen") == 8
    dovecot.expunge(user, "INBOX", "1,5")
    dovecot.expunge(user, "Archive", "6")
    worker.wait_for(lambda: uids("INBOX") == [2, 3, 4, 6, 7, 8, 9, 10, 11])
    worker.wait_for(lambda: uids("Archive") == [1, 2, 3, 4, 5])
    assert value(database, _REASONS, folder("INBOX")) == ["expunged"]

    # a folder that was recreated under its old name, with a new UIDVALIDITY
    before = folder("Old", "uidvalidity")
    dovecot.delete(user, "Old")
    dovecot.create(user, "Old")
    dovecot.seed(user, "Old", (mail.message(n) for n in range(20, 24)))
    worker.wait_for(lambda: uids("Old") == [1, 2, 3, 4])
    assert folder("Old", "uidvalidity") != before
    assert folder("Old", "live_count") == 4
    assert value(database, _REASONS, folder("Old")) == ["uidvalidity_reset"]

    # a new folder, and one that the user no longer wants
    dovecot.create(user, "New")
    dovecot.seed(user, "New", [mail.message(30)])
    done = mailsync("untrack-folder", user.name, "Archive")
    assert done.returncode == 0, done
    worker.wait_for(lambda: uids("New") == [1])
    worker.wait_for(lambda: not uids("Archive"))
    assert value(database, _REASONS, folder("Archive")) == ["expunged", "untracked"]
    kept = value(
        database, "select array_agg(id order by uid) from messages where folder_id = %s", folder("Archive")
    )
    done = mailsync("track-folder", user.name, "Archive")
    assert done.returncode == 0, done
    worker.wait_for(lambda: uids("Archive") == [1, 2, 3, 4, 5])
    ids = "select array_agg(id order by uid) from messages where folder_id = %s and deleted_at is null"
    assert value(database, ids, folder("Archive")) == kept[:5]

    worker.wait_for(lambda: is_healthy(database, account))
    assert mailsync("verify", user.name).returncode == 0
