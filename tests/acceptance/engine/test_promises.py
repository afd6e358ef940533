"""The waits of docs/explanation/freshness.rst, measured on Dovecot with all extensions and without any.

A tick is a second here, and the intervals are scaled: what is promised within two minutes in priority folders
is promised within ten seconds, the least that can be set. What is promised within six hours is shown not to
be there after ten ticks, and to come with the tick at which it is due. Run it with ``-rP`` to read the table.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

import pytest

from mailsync.config import Settings
from mailsync.model import Endpoint
from mailsync.store import accounts
from tests.support import mail
from tests.support.dovecot import Dovecot
from tests.support.mirrors import is_healthy, value
from tests.support.programs import ENCRYPTION_KEY, Mailsync, Running
from tests.support.promises import TICK, Client, Database, Promise, Row, measure

SCAN, DISCOVERY = 10.0, 10.0
SLACK, USUAL_SLACK = 3 * TICK, 0.75 * TICK
"""Seconds that a busy machine may add, once and on average; one more tick each time exceeds the average."""
FILLERS, ROUND = 11, 3 * TICK
"""With this many folders a round takes three ticks: five folders a tick, without the priority ones."""
_IN = (
    "from messages m join folders f on f.account_id = m.account_id and f.id = m.folder_id"
    " where f.account_id = %s and f.path = %s"
)
_LIVE = f"select count(*) = 1 {_IN} and m.message_id = %s and m.deleted_at is null"
_GONE = f"select m.deleted_reason = 'expunged' {_IN} and m.uid = %s"
_FLAGS = f"select m.flags = %s {_IN} and m.uid = %s"


class Mailbox:
    """A user's mailbox with a priority folder and another one, and its mirror."""

    def __init__(
        self, kind: str, dovecot: Dovecot, database: Database, stack: contextlib.ExitStack, *more: str
    ) -> None:
        self.kind, self.dovecot, self.database = kind, dovecot, database
        self.user = dovecot.new_user()
        dovecot.create(self.user, "Work", *more)
        for first, path in ((0, "INBOX"), (100, "Work")):
            # the last one is read
            seeds = ((mail.message(first + n), r"\Seen" if n == 9 else "") for n in range(10))
            dovecot.seed(self.user, path, seeds)
        if "Rename me" in more:
            dovecot.seed(self.user, "Rename me", (mail.message(200 + n) for n in range(5)))
        self.client = Client(dovecot, self.user, stack)
        endpoint = Endpoint(dovecot.host, dovecot.port, "plaintext", self.user.name)
        # a dozen processes of the command line would take most of the test's time
        new = accounts.NewAccount(self.user.name, endpoint)
        settings = Settings.model_validate({"imap_encryption_key": ENCRYPTION_KEY})
        self.account = accounts.create(database, new, self.user.password, settings)

    def promise(
        self, change: str, within: float, act: Callable[[int], Row], times: int = 1, turns: int = 1
    ) -> Promise:
        """Format a cell of the table."""
        return Promise(self.account, change, self.kind, within, act, times, turns)

    # -- the n-th change of each kind, and the row that shows it -----------------------------------------

    def arrival(self, path: str) -> Callable[[int], Row]:
        """New mail."""

        def act(n: int) -> Row:
            number = n + (1000 if path == "INBOX" else 2000)
            self.client.append(path, mail.message(number))
            return _LIVE, (self.account, path, f"{number}@mail.test")

        return act

    def flag(self, path: str, *flags: str) -> Callable[[int], Row]:
        """Flags are set and removed again, of one message after another."""

        def act(n: int) -> Row:
            uid = n // 2 + 1
            self.client.store(path, uid, "-FLAGS" if n % 2 else "+FLAGS", " ".join(flags))
            return _FLAGS, ([] if n % 2 else sorted(flags), self.account, path, uid)

        return act

    def deletion(self, path: str) -> Callable[[int], Row]:
        """A message is expunged."""

        def act(n: int) -> Row:
            self.client.expunge(path, n + 1)
            return _GONE, (self.account, path, n + 1)

        return act

    def move(self, path: str) -> Callable[[int], Row]:
        """A message moves to another folder: gone here, and there."""

        def act(n: int) -> Row:
            self.client.move(path, n + 1, "Target")
            number = n + (0 if path == "INBOX" else 100)
            gone, there = (self.account, path, n + 1), (self.account, "Target", f"{number}@mail.test")
            return f"select ({_GONE}) and ({_LIVE})", (*gone, *there)

        return act

    def exchange(self, path: str) -> Callable[[int], Row]:
        """One message becomes read and another unread, so that UNSEEN stays the same."""

        def act(n: int) -> Row:
            self.client.store(path, 9, "+FLAGS", r"\Seen")
            self.client.store(path, 10, "-FLAGS", r"\Seen")
            return _FLAGS, ([], self.account, path, 10)

        return act

    def lost_row(self, path: str) -> Row:
        """Nothing changes on the server, but the mirror loses a row that its counts still include."""
        self.database.execute(
            "delete from messages m using folders f where f.id = m.folder_id and f.account_id = %s"
            " and m.account_id = f.account_id and f.path = %s and m.uid = 5",
            [self.account, path],
        )
        return f"select count(*) = 1 {_IN} and m.uid = 5 and m.deleted_at is null", (self.account, path)

    def falls_due(self, column: str, row: Row) -> Callable[[int], Row]:
        """Nothing happens except that a safety net is due; `row` shows the change before."""

        def act(n: int) -> Row:
            due = f"update folders set {column} = now() where account_id = %s and path = 'Work'"
            self.database.execute(due, [self.account])
            return row

        return act

    def created(self, n: int) -> Row:
        """A new folder with a message."""
        self.client.create(f"New {n}", mail.message(3000 + n))
        return _LIVE, (self.account, f"New {n}", f"{3000 + n}@mail.test")

    def renamed(self, n: int) -> Row:
        """A folder is renamed, and renamed back; its row stays the same."""
        names = ("Rename me", "Renamed")
        old, new = names if n % 2 == 0 else names[::-1]
        self.dovecot.rename(self.user, old, new)
        row = (
            "select count(*) = 1 and bool_and(path = %s and missing_since is null) from folders"
            " where account_id = %s and path = any(%s)"
        )
        return row, (new, self.account, list(names))

    def deleted(self, n: int) -> Row:
        """A folder is gone: its grace period begins."""
        self.dovecot.delete(self.user, f"Delete me {n}")
        row = "select missing_since is not null from folders where account_id = %s and path = %s"
        return row, (self.account, f"Delete me {n}")


@pytest.mark.long
def test_changes_are_seen_as_soon_as_promised(
    mailsync: Mailsync,
    dovecot_with: Callable[..., Dovecot],
    database: Database,
    start_worker: Callable[..., Running],
) -> None:
    rich, plain = dovecot_with(), dovecot_with(capabilities="IMAP4rev1")
    with contextlib.ExitStack() as stack:

        def on(server: Dovecot, *more: str) -> Mailbox:
            return Mailbox("none" if server is plain else "all extensions", server, database, stack, *more)

        starred = on(plain)
        promises = [
            *_seen_by_counts(lambda *more: on(rich, *more), any_folder=TICK, times=10),
            *_seen_by_counts(lambda *more: on(plain, *more), any_folder=ROUND, times=4),
            *_seen_by_modseq(on(rich)),
            starred.promise("star and keyword, priority folder", SCAN + TICK, starred.flag("INBOX", *_STAR)),
            *_folders_that_change(on(rich, *_TO_CHANGE), TICK, times=3),
            # STATUS of the old name fails, and the tick after it looks for the new one
            *_folders_that_change(on(plain, *_TO_CHANGE), 2 * TICK, times=2),
        ]
        for server, within in ((rich, TICK), (plain, DISCOVERY + TICK)):
            grown = on(server)
            # found in one turn, and filled in the next one of the same tick
            promises.append(grown.promise("new folder, with its mail", within, grown.created, 2, turns=2))
        exchanged = on(plain)
        exchange = exchanged.exchange("INBOX")
        promises.append(exchanged.promise("read and unread at once, priority folder", SCAN + TICK, exchange))
        worker = start_worker(
            SYNC_INTERVAL="1s",
            FLAG_SCAN_PRIORITY_INTERVAL="10s",
            DISCOVERY_INTERVAL="10s",
            SYNC_MAX_ACCOUNTS="30",
        )
        mirrors = [row[0] for row in database.execute("select id from accounts")]
        worker.wait_for(lambda: all(is_healthy(database, each) for each in mirrors))
        worker.wait_for(lambda: not value(database, _NETS_DUE))

        disabled_capabilities = starred.flag("Work", *_STAR)(0), exchanged.lost_row("Work")
        measure(promises, database, worker)
        print(*promises, sep="\n")
        seen = [value(database, query, *params) for query, params in disabled_capabilities]
        assert not any(seen), "what nothing shows waits for its safety net"

        def choose(n: int) -> Row:
            command = ("untrack-folder", "track-folder")[n]
            assert mailsync(command, starred.user.name, "Work").returncode == 0
            live = "select live_count = %s from folders where account_id = %s and path = 'Work'"
            return live, ([0, 10][n], starred.account)

        scanned = starred.falls_due("next_flag_scan_at", disabled_capabilities[0])
        compared = exchanged.falls_due("next_reconcile_at", disabled_capabilities[1])
        nets = [
            starred.promise("star and keyword, other folder, once due", TICK, scanned),
            exchanged.promise("row lost, counts equal, once due", TICK, compared),
        ]
        chosen = starred.promise("folder untracked, and tracked again", TICK, choose, 2)
        measure(nets, database, worker)
        measure([chosen], database, worker)

    print(*nets, chosen, sep="\n")
    late = [str(each) for each in [*promises, *nets, chosen] if not each.is_kept(SLACK, USUAL_SLACK)]
    assert not late, "\n".join(late)


def _seen_by_counts(mailbox: Callable[..., Mailbox], any_folder: float, times: int) -> Iterator[Promise]:
    """New mail, read marks, deletions and moves: UIDNEXT, UNSEEN and MESSAGES tell of them anywhere."""
    fresh = mailbox(*(f"Filler {number}" for number in range(FILLERS)))
    yield fresh.promise("new mail, priority folder", TICK, fresh.arrival("INBOX"), 10)
    yield fresh.promise("new mail, any folder", any_folder, fresh.arrival("Work"), times)
    read, gone, moved = mailbox(), mailbox(), mailbox("Target")
    for path, where in (("INBOX", "priority folder"), ("Work", "other folder")):
        yield read.promise(f"read and unread in turn, {where}", TICK, read.flag(path, r"\Seen"), 8)
        yield gone.promise(f"delete, {where}", TICK, gone.deletion(path), 8)
        yield moved.promise(f"move, {where}", TICK, moved.move(path), 8)


def _seen_by_modseq(starred: Mailbox) -> Iterator[Promise]:
    for path, where in (("INBOX", "priority folder"), ("Work", "other folder")):
        yield starred.promise(f"star and keyword, {where}", TICK, starred.flag(path, *_STAR), 8)


def _folders_that_change(mailbox: Mailbox, within: float, times: int) -> Iterator[Promise]:
    yield mailbox.promise("renamed folder", within, mailbox.renamed, times)
    yield mailbox.promise("deleted folder", within, mailbox.deleted, times)


_STAR = (r"\Flagged", "Later")
_TO_CHANGE = ("Rename me", *(f"Delete me {n}" for n in range(3)))
_NETS_DUE = (
    "select count(*) from folders where tracked and"
    " (next_reconcile_at <= now() or next_flag_scan_at <= now() and highest_modseq = 0)"
)
