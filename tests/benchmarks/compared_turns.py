"""Turns of one account, timed; :mod:`tests.benchmarks.compare` runs this in two checkouts.

It imports only what both have: settings, a connection, and the benchmarks' walker. Differences between server
and mirror are made in the mirror, so that the mailbox stays the same for both.
"""

from __future__ import annotations

import gc
import json
import os
import sys
import time
from collections.abc import Callable

from mailsync.config import Settings
from mailsync.store import db
from tests.benchmarks.turns import Walker, walker

QUIET_TURNS = 50
PLAIN = ("QRESYNC", "CONDSTORE", "ESEARCH")
_MISSING = 2000


def main(messages: int) -> None:
    """Print wall and CPU seconds of each case as JSON."""
    settings = Settings(
        database_url=os.environ["DATABASE_URL"],
        imap_encryption_key=os.environ["IMAP_ENCRYPTION_KEY"],
        imap_allow_private_hosts=True,
        imap_allow_plaintext=True,
        imap_max_commands_per_minute=1_000_000,
    )
    with db.connect(settings, "bench") as conn:
        row = conn.execute("select id from accounts").fetchone()
        assert row
        print(json.dumps(_cases(settings, row[0], messages)))


def _cases(settings: Settings, account_id: int, messages: int) -> list[tuple[str, float, float]]:
    missing = min(_MISSING, messages // 4)
    figures = []

    def case(name: str, work: Callable[[], object], times: int = 1) -> None:
        # a full collection takes 20 ms, and falls into another case when the number of objects changes
        gc.collect()
        gc.freeze()
        wall, cpu = time.perf_counter(), time.process_time()
        for _ in range(times):
            work()
        figures.append((name, (time.perf_counter() - wall) / times, (time.process_time() - cpu) / times))

    with walker(settings) as worker:
        worker.conn.execute("truncate folders cascade")
        worker.conn.execute("update accounts set next_discovery_at = now()")
        worker.hot(account_id)
        case("first sync", lambda: worker.fill(account_id))
        _settle(worker, account_id)
        case("a quiet turn", lambda: worker.hot(account_id), QUIET_TURNS)
        _forget(worker, messages - missing, "last_uid = %(last)s, uidnext = %(last)s + 1,")
        case(f"new mail, {missing:,} messages", lambda: worker.hot(account_id))
        _settle(worker, account_id)
        _forget(worker, messages - 800, "next_reconcile_at = now(),")
        case("reconcile, 800 messages missing", lambda: worker.hot(account_id))
        _settle(worker, account_id)
        worker.make_due()
        case("reconcile, nothing to repair", lambda: worker.hot(account_id))
    with walker(settings, *PLAIN) as worker:
        _settle(worker, account_id)
        worker.make_due("next_flag_scan_at = now(), next_reconcile_at")
        case("full flag scan, nothing to repair", lambda: worker.hot(account_id))
        _settle(worker, account_id)
        worker.conn.execute("update messages set flags = '{\\Answered}'")
        worker.make_due("next_flag_scan_at = now(), next_reconcile_at")
        case("full flag scan, every flag changed", lambda: worker.hot(account_id))
    return figures


def _settle(worker: Walker, account_id: int) -> None:
    worker.conn.execute("vacuum analyze messages")
    for _ in range(3):
        worker.hot(account_id)
    worker.conn.execute(
        "update folders set next_flag_scan_at = now() + interval '1 hour',"
        " next_reconcile_at = now() + interval '5 hours', last_reconcile_clean = true"
    )


def _forget(worker: Walker, last: int, also: str) -> None:
    """Delete the rows above a UID, as if those messages had not come."""
    worker.conn.execute("delete from messages where uid > %s", [last])
    worker.conn.execute(
        f"update folders set {also} server_messages = %(last)s, live_count = %(last)s,"  # type: ignore[call-overload]
        " live_unseen = (select count(*) from messages m where m.folder_id = folders.id and not m.is_seen),"
        " server_unseen = (select count(*) from messages m where m.folder_id = folders.id and not m.is_seen)"
        " where path = 'INBOX'",
        {"last": last},
    )


if __name__ == "__main__":
    main(int(sys.argv[1]))
