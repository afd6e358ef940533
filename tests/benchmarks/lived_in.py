"""The same work in a fresh database and in one that has lived, side by side, and imapflow with pg beside it.

Every round does each piece of work in both databases, one after the other in changing order, against the same
mailbox of the same Dovecot; what is printed is the median of the rounds.
"""

from __future__ import annotations

import math
import statistics
import time
from collections import defaultdict
from collections.abc import Sequence
from typing import TypeVar

from mailsync.accounts import manage
from mailsync.config import Settings
from mailsync.imap.parsing.message import Detail, items
from mailsync.store import accounts, db
from tests.benchmarks import lived_database, neighbour
from tests.benchmarks.bare import logged_in
from tests.benchmarks.bench import Bench, TooSlow, note, run_mailsync, table
from tests.benchmarks.large import Sizes, change_flags, expunge
from tests.benchmarks.node_client import NodeClient, NodeMissing
from tests.support.dovecot import User

LIMIT = 120.0
"""Seconds that a line may take; then it is ended and shown as too slow."""

FRESH, LIVED_IN = "fresh", "lived-in"
_T = TypeVar("_T")
_SETTINGS = ("server_version", "shared_buffers", "fsync", "synchronous_commit", "autovacuum")


class Times:
    """Seconds of each line, by work, program and database; infinite if too slow."""

    def __init__(self) -> None:
        self._seconds: dict[tuple[str, str], list[float]] = defaultdict(list)

    def add(self, what: str, kind: str, seconds: float) -> None:
        """Keep the seconds of one round."""
        self._seconds[what, kind].append(seconds)

    def has(self, what: str) -> bool:
        """Whether there is such a line."""
        return any(line == what for line, _ in self._seconds)

    def rate(self, what: str, kind: str, count: int) -> float:
        """Messages a second, the median of the rounds; 0 if too slow."""
        return count / statistics.median(self._seconds[what, kind])

    def shown(self, what: str, kind: str, count: int) -> str:
        """The rate as text."""
        rate = self.rate(what, kind, count)
        return f"{rate:,.0f}/s" if rate else f"> {LIMIT:.0f} s"


def run(bench: Bench, sizes: Sizes) -> None:
    """Print the tables."""
    times = Times()
    with bench.settings() as lived:
        note("making a database that has lived")
        began = time.perf_counter()
        lived_database.make(lived, sizes.held)
        print(
            f"\nA database that has lived: {sizes.held:,} messages of {lived_database.ACCOUNTS} accounts,"
            f" made in {time.perf_counter() - began:.0f} s"
        )
        # autovacuum is on from here, as in any database; the rows so far are vacuumed and analysed
        bench.set_autovacuum(True)
        try:
            _print_settings(lived)
            _first_syncs(bench, lived, sizes, times)
            _changes(bench, lived, sizes, times)
            _print_rates(sizes, times)
            neighbour.run(bench, lived, sizes, LIMIT)
        finally:
            bench.set_autovacuum(False)


def _print_settings(settings: Settings) -> None:
    with db.connect(settings, "bench") as conn:
        values = [conn.execute("select current_setting(%s)", [name]).fetchone() for name in _SETTINGS]
    print(", ".join(f"{name} {row[0]}" for name, row in zip(_SETTINGS, values, strict=True) if row))


# -- first syncs -----------------------------------------------------------------------------------------

_FIRST, _NODE = "first sync", "imapflow"


def _first_syncs(bench: Bench, lived: Settings, sizes: Sizes, times: Times) -> None:
    user, names = bench.spread_mailbox(sizes.first, sizes.folders)
    _warm(bench, user, names)
    node = _node()
    for number in range(sizes.rounds):
        with bench.settings() as fresh, bench.settings() as fresh_of_node:
            contenders: list[tuple[str, str, Settings]] = [
                (_FIRST, FRESH, fresh),
                (_FIRST, LIVED_IN, lived),
            ]
            if node:
                contenders += [(_NODE, FRESH, fresh_of_node), (_NODE, LIVED_IN, lived)]
            for what, kind, settings in _rotated(contenders, number):
                email = bench.add_account(settings, user, f"{what.replace(' ', '-')}{number}@example.test")
                bench.execute("checkpoint")
                note(f"{what}, {kind}, round {number + 1}")
                try:
                    if node and what == _NODE:
                        seconds = node.sync(bench, settings, user, email, LIMIT)
                    else:
                        seconds, _ = run_mailsync(settings, "sync", email, at_most=LIMIT)
                    _check_rows(settings, email, sizes.first)
                except TooSlow:
                    bench.end_backends(settings)
                    seconds = math.inf
                times.add(what, kind, seconds)
                # the removed account's rows are tombstones among the others
                with db.connect(settings, "bench") as conn:
                    manage.pause(conn, accounts.find(conn, email), None)


def _warm(bench: Bench, user: User, names: Sequence[str]) -> None:
    """Let the server read the mailbox once, so that its cache is warm for every program."""
    asked = items(Detail.FULL, frozenset({"CONDSTORE"})).decode().removesuffix(")") + " ENVELOPE)"
    with logged_in(bench.dovecot, user) as bare:
        for name in names:
            bare.command(f'EXAMINE "{name}"')
            bare.command(f"UID FETCH 1:* {asked}")


def _node() -> NodeClient | None:
    try:
        return NodeClient()
    except NodeMissing as missing:
        print(f"\nimapflow and pg are left out: {missing}", flush=True)
        return None


def _check_rows(settings: Settings, email: str, count: int) -> None:
    with db.connect(settings, "bench") as conn:
        row = conn.execute(
            "select count(*) from messages m join accounts a on a.id = m.account_id"
            " where a.email = %s and m.deleted_at is null and m.subject <> ''",
            [email],
        ).fetchone()
    assert row == (count,), f"{email} has {row} rows, not {count}"


# -- a large mailbox -------------------------------------------------------------------------------------

_FLAGS, _DELETED, _REMOVED = "every flag", "deleted", "removed"


def _changes(bench: Bench, lived: Settings, sizes: Sizes, times: Times) -> None:
    user, names = bench.spread_mailbox(sizes.large, sizes.folders)
    for number in range(sizes.rounds):
        with bench.settings() as fresh:
            databases = _rotated([(FRESH, fresh), (LIVED_IN, lived)], number)
            _round(bench, databases, user, names, sizes, times, number)


def _round(
    bench: Bench,
    databases: Sequence[tuple[str, Settings]],
    user: User,
    names: Sequence[str],
    sizes: Sizes,
    times: Times,
    number: int,
) -> None:
    """Mirror the large mailbox, change it, remove the account, and restore the mailbox."""
    email = f"large{number}@example.test"

    def measure(what: str, *command: str) -> None:
        for kind, settings in databases:
            bench.execute("checkpoint")
            note(f"{what}, {kind}, round {number + 1}")
            times.add(what, kind, _timed(bench, settings, *command))

    for _, settings in databases:
        bench.add_account(settings, user, email)
    # not shown: the server's cache is cold for the first program
    measure("prepared", "sync", email)
    flags = change_flags(bench, user, names, number)
    measure(_FLAGS, "sync", email)
    gone = expunge(bench, user, names, sizes.deleted)
    measure(_DELETED, "sync", email)
    for _, settings in databases:
        _check_rows(settings, email, sizes.large - sizes.deleted)
    measure(_REMOVED, "remove-account", email, "--yes")
    for name in names:
        bench.fill(user, name, gone, flags=flags)


def _timed(bench: Bench, settings: Settings, *command: str) -> float:
    """Run the command; if it is too slow, end it, and do the rest with fresh statistics."""
    try:
        return run_mailsync(settings, *command, at_most=LIMIT)[0]
    except TooSlow:
        bench.end_backends(settings)
        with db.connect(settings, "bench") as conn:
            conn.execute("analyze")
        run_mailsync(settings, *command)
        return math.inf


def _rotated(sequence: list[_T], number: int) -> list[_T]:
    at = number % len(sequence)
    return sequence[at:] + sequence[:at]


# -- what came of it -------------------------------------------------------------------------------------


def _print_rates(sizes: Sizes, times: Times) -> None:
    lines: list[tuple[str, str, int]] = [
        (f"first sync of {sizes.first:,} messages in {sizes.folders} folders", _FIRST, sizes.first),
        (f"all flags of {sizes.large:,} messages changed", _FLAGS, sizes.large),
        (f"{sizes.deleted:,} of {sizes.large:,} messages deleted", _DELETED, sizes.deleted),
        (
            f"an account of {sizes.large - sizes.deleted:,} messages removed",
            _REMOVED,
            sizes.large - sizes.deleted,
        ),
    ]
    table(
        f"Messages a second, in a fresh database and beside {sizes.held:,} messages of others",
        ("what", FRESH, LIVED_IN, "lived-in ÷ fresh"),
        [
            (
                title,
                times.shown(what, FRESH, count),
                times.shown(what, LIVED_IN, count),
                _ratio(times.rate(what, LIVED_IN, count), times.rate(what, FRESH, count)),
            )
            for title, what, count in lines
        ],
    )
    if times.has(_NODE):
        kinds = (FRESH, LIVED_IN)
        rates = {what: [times.rate(what, kind, sizes.first) for kind in kinds] for what in (_FIRST, _NODE)}
        pairs = zip(rates[_FIRST], rates[_NODE], strict=True)
        table(
            f"First sync of {sizes.first:,} messages in {sizes.folders} folders (warm server cache)",
            ("what", *kinds),
            [
                ("mailsync sync", *(times.shown(_FIRST, kind, sizes.first) for kind in kinds)),
                ("imapflow + pg, by 500", *(times.shown(_NODE, kind, sizes.first) for kind in kinds)),
                ("mailsync ÷ imapflow", *(_ratio(ours, theirs) for ours, theirs in pairs)),
            ],
        )


def _ratio(one: float, other: float) -> str:
    return f"{one / other:.2f}" if one and other else "–"
