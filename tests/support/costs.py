"""The cost of a turn: commands sent, statements executed, bytes received, rows written."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from datetime import timedelta
from functools import cache

from mailsync.engine.turn import Turn
from mailsync.store import turns
from mailsync.store.statements import statements
from tests.support import mail
from tests.support.mailboxes import Folder
from tests.support.scripted import ScriptedServer
from tests.support.statements import counted
from tests.support.turns import Mirror

QUIET = ["claim_account", "try_lock", "begin_turn", "end_turn", "unlock"]
"""The statements of a tick that finds nothing new."""


@dataclass(frozen=True)
class Cost:
    """The cost of one tick of the worker, its claim included.

    ``commands`` are the lines that were sent, without tags. ``statements`` are the names of the statements
    that were executed, or the text if it has no name in sql/queries. ``runs`` counts the new rows of
    ``sync_runs``. ``folders`` are the folders whose rows were written.
    """

    commands: list[str]
    statements: list[str]
    bytes_in: int
    runs: int
    folders: list[str]

    @property
    def of_the_work(self) -> list[str]:
        """The statements without those that depend on time: looking for waiters, and the heartbeat."""
        return [name for name in self.statements if name not in ("lock_is_wanted", "heartbeat")]

    @property
    def names(self) -> list[str]:
        """The commands' names."""
        return [re.match(r"(?:UID )?\w+", line)[0] for line in self.commands]  # type: ignore[index]

    def __str__(self) -> str:
        said = ", ".join(f"{name} {times}" for name, times in Counter(self.names).items())
        totals = f"{len(self.statements)} statements, {self.bytes_in} bytes"
        return f"{len(self.commands)} commands ({said}), {totals}"


def tick(mirror: Mirror, server: ScriptedServer) -> Cost:
    """Take a hot turn as the worker does: claim the account that is due, and take its turn."""
    mirror.conn.execute("update accounts set next_sync_at = now()")
    started = turns.now(mirror.conn) + timedelta(minutes=1)
    before, runs, rows = len(server.journal.commands()), _runs(mirror), _versions(mirror)
    with counted(mirror.conn) as executed:
        claimed = turns.claim(mirror.conn, started, 60)
        turn = mirror.hot()
    assert claimed == mirror.account_id
    assert isinstance(turn, Turn), turn
    after = _versions(mirror)
    return Cost(
        [f"{c.name} {c.line.decode()}".strip() for c in server.journal.commands()[before:]],
        [_named().get(_shape(text), text) for text in executed],
        turn.run_result(None).bytes_in,
        _runs(mirror) - runs,
        sorted(path for path, version in after.items() if rows.get(path) != version),
    )


def asked(cost: Cost, name: str) -> list[str]:
    """The sequence sets of the commands of that name."""
    return [line.removeprefix(name).split()[0] for line in cost.commands if line.startswith(name)]


def filled(mirror: Mirror, folder: Folder, count: int) -> Folder:
    """Fill the folder with read messages, and insert their rows into the mirror, as if synced."""
    raw = mail.message(0)
    for _ in range(count):
        folder.add(raw, rb"\Seen")
    mirror.hot()
    mirror.conn.execute(
        "insert into messages (account_id, folder_id, uidvalidity, uid, internal_date, size_bytes, flags)"
        " select f.account_id, f.id, %s, n, now(), 100, array['\\Seen']"
        " from folders f, generate_series(1, %s) n",
        [folder.uidvalidity, count],
    )
    mirror.conn.execute(
        "update folders set status = 'active', uidvalidity = %(validity)s, last_uid = %(count)s,"
        " uidnext = %(count)s + 1, server_messages = %(count)s, server_unseen = 0,"
        " server_modseq = %(modseq)s, highest_modseq = %(modseq)s, live_count = %(count)s,"
        " live_unseen = 0, initial_done_at = now(),"
        " last_reconciled_at = now(), last_reconcile_clean = true,"
        " next_reconcile_at = now() + interval '1 hour', next_flag_scan_at = now() + interval '1 hour'",
        {"validity": folder.uidvalidity, "count": count, "modseq": folder.modseq},
    )
    mirror.conn.execute("analyze messages")
    mirror.hot()
    return folder


def _runs(mirror: Mirror) -> int:
    return int(mirror.value("select count(*) from sync_runs"))


def _versions(mirror: Mirror) -> dict[str, tuple[str, str]]:
    """The place and the transaction of each folder's row: any update changes both."""
    rows = mirror.conn.execute("select path, ctid::text, xmin::text from folders")
    return {path: (ctid, xmin) for path, ctid, xmin in rows}


@cache
def _named() -> dict[str, str]:
    return {_shape(text.as_string(None)): name for name, text in statements().items()}


def _shape(text: str) -> str:
    """The statement without the names of its parameters, which psycopg replaces by numbers."""
    return re.sub(r"%\(\w+\)s|\$\d+", "?", text).replace("%%", "%")
