"""A quiet tick of many accounts with many folders each, on one worker thread."""

from __future__ import annotations

import random
import shutil
import statistics
from contextlib import ExitStack

from mailsync.store import accounts, db
from tests.benchmarks.bare import logged_in
from tests.benchmarks.bench import Bench, table, timed
from tests.benchmarks.turns import walker
from tests.support.bulk_messages import varied_message
from tests.support.dovecot import User

ACCOUNTS, FOLDERS, TICKS = 200, 100, 5
STATUS = 'LIST "" "*" RETURN (STATUS (MESSAGES UIDNEXT UIDVALIDITY UNSEEN HIGHESTMODSEQ))'


def run(bench: Bench, count: int = ACCOUNTS, folders: int = FOLDERS) -> None:
    """Print the table."""
    users = _users(bench, count, folders)
    with bench.settings() as settings, ExitStack() as stack:
        settings = settings.model_copy(update={"sync_max_accounts": count})
        emails = [bench.add_account(settings, user) for user in users]
        with db.connect(settings, "bench") as conn:
            first = accounts.find(conn, emails[0])
        with walker(settings) as worker:
            worker.hot(first)
            worker.fill(first)
            for _ in range(2):
                worker.hot(first)
            _copy_rows(worker.conn, first)
            worker.tick()
            worker.conn.execute("vacuum analyze")
            costs = []
            for _ in range(TICKS):
                worker.conn.execute("update accounts set next_sync_at = now()")
                written = _folder_rows_written(worker.conn)
                costs.append(worker.tick())
                assert _folder_rows_written(worker.conn) == written, "a quiet tick writes no folder row"
        servers = [stack.enter_context(logged_in(bench.dovecot, user)) for user in users]
        for bare in servers:
            bare.command(STATUS)
        server = statistics.median(
            timed(lambda: [bare.command(STATUS) for bare in servers]) / count for _ in range(TICKS)
        )
    wall, cpu = (statistics.median(getattr(cost, name) for cost in costs) for name in ("wall", "cpu"))
    rows = [
        ("mailsync, a turn", f"{wall * 1e3:.1f} ms", f"{cpu * 1e3:.1f} ms", f"{costs[-1].commands:.0f}"),
        ("the server alone: the same LIST-STATUS", f"{server * 1e3:.1f} ms", "", "1"),
    ]
    title = f"A quiet tick of {count} accounts with {folders} folders each, an account of it"
    table(title, ("what", "wall", "CPU", "commands"), rows)
    print(f"\nmailsync ÷ server: {wall / server:.1f}; the whole tick: {wall * count:.1f} s")


def _users(bench: Bench, count: int, folders: int) -> list[User]:
    """Users with the same folders, two messages in each; copied on disk, which is faster than CREATE."""
    users = [bench.dovecot.new_user() for _ in range(count)]
    paths = [f"Folder {number}" for number in range(folders - 6)]
    bench.dovecot.create(users[0], "Drafts", "Sent", "Junk", "Trash", "Archive", *paths)
    rng = random.Random(folders)
    for path in ("INBOX", *paths):
        bench.dovecot.seed(users[0], path, [varied_message(n, rng) for n in range(2)])
    model = users[0].directory
    assert model is not None
    for user in users[1:]:
        assert user.directory is not None
        shutil.copytree(model, user.directory)
    for path in model.parent.rglob("*"):
        shutil.chown(path, model.stat().st_uid, model.stat().st_gid)
    return users


def _copy_rows(conn: db.Connection, first: int) -> None:
    """Every account has the folders of the first, as mirrored; none is due for the safety net."""
    conn.execute("delete from folders where account_id <> %s", [first])
    columns = ", ".join(
        row[0]
        for row in conn.execute(
            "select column_name from information_schema.columns where table_schema = current_schema()"
            " and table_name = 'folders' and column_name not in ('id', 'account_id')"
        )
    )
    conn.execute(
        f"insert into folders (account_id, {columns})"  # type: ignore[call-overload]
        f" select a.id, f.* from (select {columns} from folders where account_id = %s) f"
        " cross join accounts a where a.id <> %s",
        [first, first],
    )
    conn.execute(
        "update folders set next_reconcile_at = now() + interval '5 hours', last_reconcile_clean = true,"
        " last_reconciled_at = now()"
    )
    conn.execute(
        "update accounts set next_discovery_at = now() + interval '10 minutes', next_sync_at = now()"
    )


def _folder_rows_written(conn: db.Connection) -> int:
    conn.execute("select pg_stat_force_next_flush()")
    query = "select n_tup_upd + n_tup_ins from pg_stat_user_tables where relname = 'folders'"
    row = conn.execute(query).fetchone()
    assert row
    return int(row[0])
