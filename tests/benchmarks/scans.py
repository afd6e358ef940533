"""Keeping a large folder correct: changed flags, deletions, full scans; with extensions and without."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from mailsync.config import Settings
from mailsync.store import accounts, db
from tests.benchmarks.bare import logged_in
from tests.benchmarks.bench import Bench, table, timed
from tests.benchmarks.turns import Cost, Walker, walker
from tests.support.dovecot import User

CHANGES = 10
PLAIN = ("QRESYNC", "CONDSTORE", "ESEARCH")


class Case(NamedTuple):
    """A kind of turn: hidden extensions, the change before it, and the server's main command."""

    name: str
    disabled_capabilities: tuple[str, ...]
    before: Callable[[Walker], None]
    bare: str


def run(bench: Bench, settings: Settings, user: User, count: int) -> None:
    """Print the table for a folder of `count` messages whose first sync is done."""
    with db.connect(settings, "bench") as conn:
        account_id = accounts.find(conn, user.name)
    rows = []
    for case in _cases(bench, user, count):
        with walker(settings, *case.disabled_capabilities) as worker:
            _settle(worker, account_id)
            modseq = worker.value("select highest_modseq from folders where path = 'INBOX'")
            case.before(worker)
            cost = worker.hot(account_id)
        server = _timed_bare(bench, user, case.bare.format(modseq=modseq))
        rows.append(_row(case, cost, server))
    table(
        f"Keeping {count:,} messages true: one turn",
        ("what", "mailsync", "CPU", "commands", "the server alone", "mailsync ÷ it"),
        rows,
    )


def _cases(bench: Bench, user: User, count: int) -> list[Case]:
    at = iter(range(1, 100))

    def uids() -> str:
        # spread over the folder, others each time
        offset = next(at)
        return ",".join(str(offset + n * (count // CHANGES)) for n in range(CHANGES))

    def flag(worker: Walker) -> None:
        bench.dovecot.store(user, "INBOX", uids(), r"\Flagged")

    def scan_due(worker: Walker) -> None:
        # with the safety net all of a priority folder is scanned, not only the newest
        worker.make_due("next_flag_scan_at = now(), next_reconcile_at")

    def flag_all(worker: Walker) -> None:
        bench.dovecot.store(user, "INBOX", "1:*", r"\Answered")

    def unflag_all(worker: Walker) -> None:
        scan_due(worker)
        bench.dovecot.store(user, "INBOX", "1:*", r"\Answered", "-FLAGS.SILENT")

    def expunge(worker: Walker) -> None:
        bench.dovecot.expunge(user, "INBOX", uids())

    def reconcile_due(worker: Walker) -> None:
        worker.make_due()

    def changed(vanished: str = "") -> str:
        return f"UID FETCH 1:{count} (UID FLAGS MODSEQ) (CHANGEDSINCE {{modseq}}{vanished})"

    esearch, search, scan = (
        "UID SEARCH RETURN (ALL) ALL",
        "UID SEARCH ALL",
        f"UID FETCH 1:{count} (UID FLAGS)",
    )
    return [
        Case("10 flags changed, CHANGEDSINCE", ("QRESYNC",), flag, changed()),
        Case("10 messages deleted, VANISHED", (), expunge, changed(" VANISHED")),
        Case("10 messages deleted, ESEARCH", ("QRESYNC",), expunge, esearch),
        Case("10 messages deleted, SEARCH", ("QRESYNC", "ESEARCH"), expunge, search),
        Case("reconcile, nothing to repair, ESEARCH", (), reconcile_due, esearch),
        Case("reconcile and full flag scan, nothing to repair", PLAIN, scan_due, scan),
        Case("every flag changed, CHANGEDSINCE", ("QRESYNC",), flag_all, changed()),
        Case("every flag changed, full scan", PLAIN, unflag_all, scan),
    ]


def _settle(worker: Walker, account_id: int) -> None:
    """Make the folder equal to the server's, so that the next turn does only the measured work."""
    worker.conn.execute("vacuum analyze messages")
    for _ in range(3):
        worker.hot(account_id)
    worker.conn.execute(
        "update folders set next_flag_scan_at = now() + interval '1 minute',"
        " next_reconcile_at = now() + interval '5 hours', last_reconcile_clean = true"
    )


def _timed_bare(bench: Bench, user: User, command: str) -> float:
    with logged_in(bench.dovecot, user) as bare:
        bare.command("EXAMINE INBOX")
        return min(timed(lambda: bare.command(command)) for _ in range(3))


def _row(case: Case, cost: Cost, server: float) -> tuple[str, ...]:
    return (
        case.name,
        f"{cost.wall * 1e3:,.0f} ms",
        f"{cost.cpu * 1e3:,.0f} ms",
        f"{cost.commands:.0f}",
        f"{server * 1e3:,.0f} ms",
        f"{cost.wall / server:.1f}",
    )
